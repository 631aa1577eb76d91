//! Many sessions in one shard: what each takes from the heap, and that a packet takes nothing.
//!
//! The handshakes are left out: a session begins where its Reply is written. From there on all is as in a service.

use super::devices::Device;
use super::halfopen::Verdict;
use super::live::{Cold, Joined};
use super::resume::{Lineage, TicketSent};
use super::slots::Slot;
use super::{Backend, BackendConfig, BatchRef, Committed, Grant, Inbound, Path, Received};
use crate::crypto::{SessionSecrets, SigningKey, StaticSecret, hash_parts};
use crate::entropy::{Entropy, EntropyError};
use crate::framing::{
    BatchWriter, BootTag, ChannelDescriptor, ChannelKind, Component, DescriptorsFrame, Frame, FrameKind,
    FrameWriter, Lane, RecordsFrame, SetHash, StreamEntry, StreamsWriter, encode_descriptors,
};
use crate::handshake::{Limits, TicketContents};
use crate::identity::{
    Authority, CredentialRequest, Identity, IssuerId, LocalIdentity, Role, Scopes, SubjectId, Time,
    TrustAnchors,
};
use crate::limits::HALF_OPEN_LIFE;
use crate::session::{RekeyPolicy, Session, Side};
use crate::time::{Instant, UnixSeconds};
use crate::wire::{ConnectionId, Pattern};
use allocation_counter::{AllocationInfo, measure};
use core::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;

const NOW: Instant = Instant::from_millis(1000);
const CLOCK: UnixSeconds = UnixSeconds(1_750_000_000);
const RECORDS: u64 = 4;

/// A generator that gives something else each time.
struct Counting(u8);

impl Entropy for Counting {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.0 = self.0.wrapping_add(1);
        out.fill(self.0);
        Ok(())
    }
}

fn authority() -> Authority {
    Authority::new(SigningKey::from_bytes([1; 32]))
}

static ISSUER: LazyLock<IssuerId> = LazyLock::new(|| authority().issuer());

fn backend<P: Path>() -> Backend<P> {
    let authority = authority();
    let anchors = TrustAnchors::new(&[authority.public_key()]).unwrap();
    let request = CredentialRequest::new(1, SubjectId([9; 16]), Role::Backend, Scopes::PUBLISH, CLOCK, CLOCK);
    let local = LocalIdentity::issue(&authority, StaticSecret::from_bytes([2; 32]), &request).unwrap();
    Backend::new(BackendConfig::new(local, anchors, Time::known(CLOCK))).unwrap()
}

fn identity(number: u32) -> Identity {
    let mut subject = [0; 16];
    subject[..4].copy_from_slice(&number.to_be_bytes());
    Identity { issuer: *ISSUER, subject: SubjectId(subject) }
}

/// A device, as far as its session goes: one boot, a stream in each lane, all with one descriptor set.
struct Peer<P> {
    path: P,
    session: Session<2>,
    id: ConnectionId,
    next: [u64; Lane::ALL.len()],
}

impl<P: Path> Peer<P> {
    /// Lets a device in, and hears its first packet, which proves the session.
    fn join(backend: &mut Backend<P>, number: u32, path: P) -> Self {
        let mut mac = [0; 16];
        mac[..4].copy_from_slice(&number.to_le_bytes());
        let at = backend.begin(Instant::ZERO, path.clone(), mac, None).unwrap();
        let secrets = || SessionSecrets::new(hash_parts(&[&number.to_le_bytes()]), &[3; 64]);
        let contents = TicketContents {
            identity: identity(number),
            serial: number,
            scopes: Scopes::PUBLISH,
            not_after: UnixSeconds(CLOCK.0 + 86_400),
            revocation: 0,
            origin: CLOCK,
            psk_proved: false,
        };
        let joined = Joined {
            secrets: secrets(),
            identity: identity(number),
            scopes: Scopes::PUBLISH,
            serial: number,
            peer_connection_id: ConnectionId::EMPTY,
            peer_limits: Limits::DEVICE,
            pattern: Pattern::Ik,
            rekey: RekeyPolicy::default(),
            lineage: Lineage { contents: Some(contents), resumed: false },
        };
        let grant = Grant { scopes: Scopes::PUBLISH, ..Grant::default() };
        backend.establish(NOW, at, joined, Verdict::Accepted(grant), Some(vec![0; 200]));
        let id = backend.slots.connection_id(at);
        let session = Session::new(NOW, Side::Device, secrets(), 1024, RekeyPolicy::default());
        let mut peer = Self { path, session, id, next: [0; _] };
        let mut packet = peer.introduce();
        assert_eq!(peer.deliver(backend, &mut packet), None);
        peer
    }

    fn seal(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0u8; payload.len() + 32];
        let head = self.session.header_len(&self.id);
        out[head..head + payload.len()].copy_from_slice(payload);
        let len = self.session.seal(NOW, &self.id, &mut out, payload.len()).unwrap().len();
        out.truncate(len);
        self.session.peer_acked(self.session.next_counter() - 1);
        out
    }

    fn introduce(&mut self) -> Vec<u8> {
        let rate = [Component::new(147_842, 264_864)];
        let channel = ChannelDescriptor::new(0, ChannelKind::Numeric, 147_842, (&rate).into());
        let (mut set, mut payload) = ([0u8; 64], [0u8; 256]);
        let len = encode_descriptors(&[channel], &mut set).unwrap();
        let set = &set[..len];
        let mut writer = FrameWriter::new(&mut payload);
        writer.frame_with(FrameKind::Streams, |body| {
            let mut streams = StreamsWriter::new(body, true).ok()?;
            let entry = |(lane, index): (Lane, u8)| StreamEntry { index, lane, oldest: 0 };
            let entries: Vec<_> = Lane::ALL.into_iter().zip(0..).map(entry).collect();
            streams.push(1, BootTag([1; 4]), SetHash::from_digest(hash_parts(&[set])), &entries).ok()?;
            Some(streams.finish())
        });
        let descriptors = DescriptorsFrame { stream: 0, total: len as u16, offset: 0, bytes: set };
        writer.push(&Frame::Descriptors(descriptors)).unwrap();
        let payload = writer.finish().to_vec();
        self.seal(&payload)
    }

    /// The next batch of a lane.
    fn records(&mut self, lane: usize) -> Vec<u8> {
        let mut body = [0u8; 64];
        let mut batch = BatchWriter::new(&mut body, lane as u8, self.next[lane]);
        for _ in 0..RECORDS {
            batch.push(NOW, &[0x00, 0x90, 0x01]).unwrap();
        }
        self.next[lane] += RECORDS;
        let mut payload = [0u8; 64];
        let mut writer = FrameWriter::new(&mut payload);
        writer.push(&Frame::Records(RecordsFrame::parse(batch.finish()).unwrap())).unwrap();
        let payload = writer.finish().to_vec();
        self.seal(&payload)
    }

    fn deliver(&self, backend: &mut Backend<P>, packet: &mut [u8]) -> Option<BatchRef> {
        let mut delivered = None;
        backend.handle_packets(NOW, &mut [Inbound { path: self.path.clone(), packet }], &mut |received| {
            if let Received::Batch(batch) = received {
                assert_eq!(batch.records().count() as u64, RECORDS);
                delivered = Some(batch.handle());
            }
        });
        delivered
    }
}

/// Sends what the shard has to say; returns how many packets that was.
fn transmit<P: Path>(backend: &mut Backend<P>) -> usize {
    let mut out = [0u8; 1500];
    let mut sent = 0;
    while backend.poll_transmit(NOW, &mut Counting(0), &mut out).unwrap().is_some() {
        sent += 1;
    }
    sent
}

/// What so many sessions keep on the heap once each has delivered from four streams, all is committed and
/// acknowledged, and the copies of its handshake can come no more.
fn resident<P: Path>(count: u32, path: impl Fn(u32) -> P) -> AllocationInfo {
    let mut kept = None;
    let info = measure(|| {
        let mut backend = backend();
        for number in 0..count {
            let mut peer = Peer::join(&mut backend, number, path(number));
            for round in 0..2 * Lane::ALL.len() {
                let mut packet = peer.records(round % Lane::ALL.len());
                let batch = peer.deliver(&mut backend, &mut packet).unwrap();
                assert!(matches!(backend.commit(NOW, batch), Committed::Settled(_)));
            }
            assert!(transmit(&mut backend) >= 1, "the device hears that all has come");
            while backend.poll_event().is_some() {}
            while backend.audit(NOW).pop().is_some() {}
        }
        // The timer of the handshake comes first, and sets that of the session.
        backend.handle_timeout(Instant::ZERO + HALF_OPEN_LIFE);
        backend.handle_timeout(NOW + HALF_OPEN_LIFE);
        assert_eq!(backend.slots.timers(), count as usize);
        assert_eq!(backend.devices(), count as usize);
        assert_eq!(backend.discards().total(), 0);
        kept = Some(backend);
    });
    drop(kept);
    info
}

#[test]
fn a_hundred_thousand_sessions_take_so_many_bytes_each() {
    const COUNT: u32 = 100_000;
    let address = |number: u32| SocketAddr::from((Ipv4Addr::from(number), 4433));
    println!("in its slot {} bytes", size_of::<Slot<SocketAddr>>());
    println!(
        "behind it {} bytes, its device's entry {}",
        size_of::<Cold<SocketAddr>>(),
        size_of::<Option<Device>>()
    );
    let info = resident(COUNT, address);
    let each = info.bytes_current as f64 / f64::from(COUNT);
    println!("{each:.1} bytes a session, in {:.2} pieces", info.count_current as f64 / f64::from(COUNT));
    assert!(each <= 800.0, "{each} bytes a session");
}

#[test]
fn a_ticket_that_has_arrived_leaves_nothing_behind() {
    let mut backend = backend();
    Peer::join(&mut backend, 1, 1u64);
    let at = backend.slots.in_use().next().unwrap();
    backend.slots.live_mut(at).unwrap().make_rare().ticket = Some(TicketSent::test(3));
    backend.handle_timeout(Instant::ZERO + HALF_OPEN_LIFE);
    backend.handle_timeout(NOW + HALF_OPEN_LIFE);
    let live = backend.slots.live_mut(at).unwrap();
    live.ticket_acked(2);
    assert!(live.rare().is_some(), "it is on its way");
    live.ticket_acked(3);
    assert!(live.rare().is_none());
}

#[test]
fn a_packet_takes_nothing_from_the_heap() {
    const PEERS: u32 = 50;
    let mut backend = backend();
    let mut peers: Vec<_> = (0..PEERS).map(|n| Peer::join(&mut backend, n, u64::from(n))).collect();
    for round in 0..12 {
        let mut packets: Vec<_> = peers
            .iter_mut()
            .flat_map(|peer| (0..4).map(|lane| (peer.path, peer.records(lane))).collect::<Vec<_>>())
            .collect();
        let mut inbound: Vec<_> =
            packets.iter_mut().map(|(path, packet)| Inbound { path: *path, packet }).collect();
        let mut batches = Vec::with_capacity(inbound.len());
        let info = measure(|| {
            backend.handle_packets(NOW, &mut inbound, &mut |received| {
                if let Received::Batch(batch) = received {
                    assert_eq!(batch.records().count() as u64, RECORDS);
                    batches.push(batch.handle());
                }
            });
            for batch in &batches {
                assert!(matches!(backend.commit(NOW, *batch), Committed::Settled(_)));
            }
            transmit(&mut backend);
        });
        assert_eq!(batches.len(), packets.len());
        assert!(round > 0 || info.count_total > 0, "the first round shows that allocations are counted");
        // The first rounds fill what is kept for the later ones.
        assert!(round < 2 || info.count_total == 0, "{} allocations in round {round}", info.count_total);
    }
}
