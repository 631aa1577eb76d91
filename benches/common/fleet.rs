//! Real sessions of one shard and their devices, for the benches of the backend.

use crate::common::{Walk, authority, identity, time};
use std::hint::black_box;
use std::time::Duration;
use vitalwire::backend::*;
use vitalwire::crypto::{PublicKey, hazmat};
use vitalwire::framing::*;
use vitalwire::handshake::{AwaitingReply, Established, Initiator, ReplyOutcome};
use vitalwire::identity::{Authority, LocalIdentity, Role, Scopes, TrustAnchors};
use vitalwire::limits::MAX_HELLO;
use vitalwire::session::{RekeyPolicy, Session, Side};
use vitalwire::wire::ConnectionId;
use vitalwire::{Instant, OsEntropy};

/// When the sessions begin.
const BEGIN: Instant = Instant::from_millis(1000);
/// When packets come: what is kept of handshakes for a while is gone.
pub(crate) const NOW: Instant = Instant::from_millis(61_000);
pub(crate) const PAYLOAD: usize = 64;
/// Handshakes at once.
const BATCH: usize = 256;
/// Records of a batch; 0: no batch at all.
pub(crate) const CONTENTS: [usize; 3] = [0, 1, 8];
/// Packets a call.
pub(crate) const CALL: usize = 32;

pub(crate) struct Device {
    path: u64,
    session: Session<2>,
    id: ConnectionId,
    next: u64,
}

/// One shard, and the devices that it serves.
pub(crate) struct Fleet {
    pub(crate) backend: Backend<u64>,
    devices: Vec<Device>,
    walk: Walk,
    pub(crate) batches: Vec<BatchRef>,
}

/// Runs `work` on every item, on all cores.
fn in_parallel<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut parts: Vec<Vec<T>> = (0..cores).map(|_| Vec::new()).collect();
    let share = items.len().div_ceil(cores).max(1);
    for (index, item) in items.into_iter().enumerate() {
        parts[index / share].push(item);
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = parts
            .into_iter()
            .map(|part| scope.spawn(|| part.into_iter().map(&work).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    })
}

fn initiator<'a>(local: &'a LocalIdentity, anchors: &'a TrustAnchors, key: &'a PublicKey) -> Initiator<'a> {
    Initiator { backend_key: Some(key), ..Initiator::new(local, anchors) }
}

fn encode_set() -> Vec<u8> {
    let rate = [Component::new(147_842, 264_864)];
    let channel = ChannelDescriptor::new(0, ChannelKind::Numeric, 147_842, (&rate).into());
    let mut out = vec![0u8; 64];
    let len = encode_descriptors(&[channel], &mut out).expect("the channel is consistent");
    out.truncate(len);
    out
}

impl Device {
    fn new(path: u64, done: Established) -> Self {
        let window = done.peer_limits.window();
        let session = Session::new(BEGIN, Side::Device, done.secrets, window, RekeyPolicy::default());
        Self { path, session, id: done.peer_connection_id, next: 0 }
    }

    fn seal(&mut self, now: Instant, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![0u8; payload.len() + 32];
        let head = self.session.header_len(&self.id);
        out[head..head + payload.len()].copy_from_slice(payload);
        let len =
            self.session.seal(now, &self.id, &mut out, payload.len()).expect("far from the limits").len();
        out.truncate(len);
        // As an Ack from time to time does.
        self.session.peer_acked(self.session.next_counter().saturating_sub(1));
        out
    }

    /// Streams and Descriptors: the first packet of a session.
    fn introduce(&mut self) -> Vec<u8> {
        let set = encode_set();
        let hash = SetHash::from_digest(hazmat::blake2s(&set));
        let mut payload = [0u8; 256];
        let mut writer = FrameWriter::new(&mut payload);
        writer.frame_with(FrameKind::Streams, |body| {
            let mut streams = StreamsWriter::new(body, true).ok()?;
            let entry = StreamEntry { index: 0, lane: Lane::Trend, oldest: 0 };
            streams.push(1, BootTag([1; 4]), hash, &[entry]).ok()?;
            Some(streams.finish())
        });
        let descriptors = DescriptorsFrame { stream: 0, total: set.len() as u16, offset: 0, bytes: &set };
        writer.push(&Frame::Descriptors(descriptors)).expect("room");
        let payload = writer.finish().to_vec();
        self.seal(BEGIN, &payload)
    }

    /// A batch of the next records, padded to 64 bytes.
    fn records(&mut self, count: usize) -> Vec<u8> {
        if count == 0 {
            let mut payload = [0u8; PAYLOAD];
            let mut writer = FrameWriter::new(&mut payload);
            writer.push(&Frame::Padding(PAYLOAD - 1)).expect("room");
            assert_eq!(writer.finish().len(), PAYLOAD);
            return self.seal(NOW, &payload);
        }
        let mut body = [0u8; PAYLOAD];
        let mut batch = BatchWriter::new(&mut body, 0, self.next);
        for _ in 0..count {
            batch.push(NOW, &[0x00, 0x90, 0x01]).expect("room");
        }
        self.next += count as u64;
        let body = batch.finish().to_vec();
        let records = RecordsFrame::parse(&body).expect("well-formed");
        let mut payload = [0u8; PAYLOAD];
        let mut writer = FrameWriter::new(&mut payload);
        // Type, length and body of the padding, then type and body of the records.
        writer.push(&Frame::Padding(PAYLOAD - 2 - 1 - body.len())).expect("room");
        writer.push(&Frame::Records(records)).expect("room");
        let payload = writer.finish().to_vec();
        assert_eq!(payload.len(), PAYLOAD);
        self.seal(NOW, &payload)
    }
}

impl Fleet {
    /// Makes a shard with so many sessions.
    pub(crate) fn new(shard: u8, count: usize) -> Self {
        let authority = authority();
        let anchors = TrustAnchors::new(&[authority.public_key()]).expect("one anchor");
        let local = identity(&authority, u32::MAX, Role::Backend);
        let key = local.public_key();
        let mut config = BackendConfig::new(local, anchors, time());
        // The fleet connects at one instant.
        (config.max_half_open, config.admission) = (8 * BATCH as u32, AdmissionLimits::UNLIMITED);
        config.shard = shard;
        let backend = Backend::new(config).expect("the configuration is valid");
        let mut fleet = Self {
            backend,
            devices: Vec::with_capacity(count),
            walk: Walk::new(count, 1),
            batches: Vec::new(),
        };
        while fleet.devices.len() < count {
            let first = fleet.devices.len() as u64;
            let last = count.min(fleet.devices.len() + BATCH) as u64;
            fleet.connect(&authority, &anchors, &key, (first..last).collect());
        }
        fleet.backend.handle_timeout(NOW);
        fleet
    }

    fn run_jobs(&mut self) {
        let jobs: Vec<HandshakeJob> = std::iter::from_fn(|| self.backend.poll_handshake()).collect();
        for done in in_parallel(jobs, |job| job.run(&mut OsEntropy)) {
            self.backend.handle_handshake(BEGIN, done);
        }
    }

    fn deliver(&mut self, path: u64, packet: &mut [u8]) {
        self.backend.handle_packets(BEGIN, &mut [Inbound { path, packet }], &mut |_| {});
    }

    fn connect(&mut self, authority: &Authority, anchors: &TrustAnchors, key: &PublicKey, paths: Vec<u64>) {
        let first = paths[0];
        let started = in_parallel(paths, |path| {
            let local = identity(authority, path as u32, Role::Device);
            let mut hello = [0u8; MAX_HELLO];
            let (waiting, len) =
                initiator(&local, anchors, key).start(b"1", &mut OsEntropy, &mut hello).expect("room");
            (path, local, waiting, hello[..len].to_vec())
        });
        let mut waiting: Vec<Option<(LocalIdentity, AwaitingReply)>> = Vec::new();
        for (path, local, state, mut hello) in started {
            self.deliver(path, &mut hello);
            waiting.push(Some((local, state)));
        }
        self.run_jobs();
        while let Some(event) = self.backend.poll_event() {
            if let BackendEvent::Pending { pending, .. } = event {
                let grant = Grant { scopes: Scopes::PUBLISH, ..Grant::default() };
                self.backend.accept(BEGIN, pending, grant).expect("it is pending");
            }
        }
        self.run_jobs();
        let mut replies = Vec::new();
        let mut out = [0u8; 1500];
        while let Some(sent) = self.backend.poll_transmit(BEGIN, &mut OsEntropy, &mut out).expect("room") {
            let (local, state) = waiting[(sent.path - first) as usize].take().expect("one Reply each");
            replies.push((sent.path, local, state, sent.packet.to_vec()));
        }
        let devices = in_parallel(replies, |(path, local, state, reply)| {
            match state.read_reply(&initiator(&local, anchors, key), time(), &reply) {
                Ok(ReplyOutcome::Established(done)) => Device::new(path, done),
                _ => panic!("a genuine Reply"),
            }
        });
        for mut device in devices {
            let mut packet = device.introduce();
            self.deliver(device.path, &mut packet);
            self.devices.push(device);
        }
        self.settle(BEGIN);
        assert_eq!(self.devices.len() as u64, self.backend.devices() as u64);
    }

    /// Commits what was delivered, and takes what the backend has to say.
    pub(crate) fn settle(&mut self, now: Instant) {
        for batch in self.batches.drain(..) {
            assert!(matches!(self.backend.commit(now, batch), Committed::Settled(_)));
        }
        while self.backend.poll_event().is_some() {}
        let mut out = [0u8; 1500];
        while self.backend.poll_transmit(now, &mut OsEntropy, &mut out).expect("room").is_some() {}
    }

    /// The next packets of sessions in random order. At most 48 batches of one device may be outstanding.
    pub(crate) fn packets(&mut self, count: usize, records: usize) -> Vec<(u64, Vec<u8>)> {
        let next = |fleet: &mut Self| {
            let device = &mut fleet.devices[fleet.walk.next()];
            (device.path, device.records(records))
        };
        (0..count).map(|_| next(self)).collect()
    }

    /// Time per packet of `handle_packets`, commits and answers not counted.
    pub(crate) fn dispatch(&mut self, iterations: u64, contents: usize) -> Duration {
        let mut total = Duration::ZERO;
        let mut left = iterations;
        while left > 0 {
            let mut packets = self.packets(left.min(CALL as u64) as usize, contents);
            left -= packets.len() as u64;
            let mut inbound: Vec<_> =
                packets.iter_mut().map(|(path, packet)| Inbound { path: *path, packet }).collect();
            let Self { backend, batches, .. } = self;
            let mut records = 0;
            let start = std::time::Instant::now();
            backend.handle_packets(NOW, &mut inbound, &mut |received| {
                if let Received::Batch(batch) = received {
                    records += batch.records().count();
                    batches.push(batch.handle());
                }
            });
            total += start.elapsed();
            assert_eq!(black_box(records), inbound.len() * contents);
            self.settle(NOW);
        }
        total
    }
}
