//! A backend with real sessions, and the devices at their other ends.
//!
//! The devices are sessions without an outbox: their work is outside the clocks, but for seal + open.

use crate::common::{authority, identity, time};
use crate::records::{measurement, write_batch, write_introduction};
use std::time::Duration;
use vitalwire::backend::*;
use vitalwire::crypto::{Psk, PublicKey, ServiceKey, SessionSecrets, TicketKey};
use vitalwire::framing::{AckWriter, Frame, FrameKind, FrameWriter};
use vitalwire::handshake::*;
use vitalwire::identity::{Authority, LocalIdentity, Role, Scopes, TrustAnchors};
use vitalwire::limits::{MAX_HELLO, TICKET_LEN};
use vitalwire::session::{RekeyPolicy, Session, Side};
use vitalwire::wire::ConnectionId;
use vitalwire::{Instant, OsEntropy, UnixSeconds};

/// Handshakes at once.
const WAVE: usize = 256;
/// Packets a call, as `recvmmsg` may bring them.
pub(crate) const CALL: usize = 32;
/// A type of frame that no version knows.
const EXTENSION: u8 = 127;
/// The longest packet here.
pub(crate) const BUFFER: usize = 1280;

/// How a device comes.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Coming {
    Ik,
    Resume,
}

/// What a packet carries, in so many bytes of payload.
#[derive(Clone, Copy)]
pub(crate) enum Contents<'r> {
    Padding,
    /// One extension frame, whose bytes the backend hands to the application unread.
    Bytes,
    /// So many of this record, in the stream with this index.
    Records(u8, &'r [u8], usize),
}

pub(crate) struct Device {
    pub(crate) path: u64,
    session: Session<2>,
    id: ConnectionId,
    next: [u64; 2],
}

/// The processor time that arrivals took of the backend's thread: what else runs on the machine is not in it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Arrival {
    pub(crate) hellos: Duration,
    pub(crate) jobs: Duration,
    pub(crate) decisions: Duration,
    pub(crate) replies: Duration,
    pub(crate) data: Duration,
    pub(crate) acks: Duration,
}

impl Arrival {
    pub(crate) fn total(&self) -> Duration {
        self.hellos + self.jobs + self.decisions + self.replies + self.data + self.acks
    }
}

pub(crate) struct Fleet {
    pub(crate) backend: Backend<u64>,
    pub(crate) devices: Vec<Device>,
    pub(crate) now: Instant,
    pub(crate) batches: Vec<BatchRef>,
    authority: Authority,
    anchors: TrustAnchors,
    key: PublicKey,
    tickets: TicketKeys,
    claims: Claims,
}

/// A device before it has a session.
struct Newcomer {
    path: u64,
    local: LocalIdentity,
    ticket: Option<([u8; TICKET_LEN], Psk)>,
}

enum Waiting {
    Ik(AwaitingReply),
    Resume(AwaitingResume),
}

fn timed<R>(total: &mut Duration, work: impl FnOnce() -> R) -> R {
    let start = crate::measure::thread_time();
    let result = work();
    *total += crate::measure::thread_time().saturating_sub(start);
    result
}

/// Runs `work` on every item, on all cores.
fn in_parallel<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = items.len().div_ceil(cores).max(1);
    let mut parts: Vec<Vec<T>> = (0..cores).map(|_| Vec::new()).collect();
    for (index, item) in items.into_iter().enumerate() {
        parts[index / share].push(item);
    }
    std::thread::scope(|scope| {
        let part = |part: Vec<T>| scope.spawn(|| part.into_iter().map(&work).collect::<Vec<_>>());
        let threads: Vec<_> = parts.into_iter().map(part).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    })
}

fn service() -> ServiceKey {
    ServiceKey::from_bytes([3; 32])
}

fn ticket_keys() -> TicketKeys {
    TicketKeys::new(service(), TicketKey::from_bytes([4; 32]), None)
}

fn initiator<'a>(local: &'a LocalIdentity, anchors: &'a TrustAnchors, key: &'a PublicKey) -> Initiator<'a> {
    Initiator { backend_key: Some(key), ..Initiator::new(local, anchors) }
}

impl Newcomer {
    /// A device with a credential, and with a ticket of another node if it is to resume.
    fn new(authority: &Authority, tickets: &TicketKeys, path: u64, coming: Coming) -> Self {
        let subject = u32::try_from(path).expect("fewer than 2^32 devices");
        let local = identity(authority, subject, Role::Device);
        let ticket = (coming == Coming::Resume).then(|| {
            let secrets = SessionSecrets::new([1; 32], &[2; 64]);
            let session =
                Session::<2>::new(Instant::ZERO, Side::Device, secrets, 1024, RekeyPolicy::default());
            let resume = session.resume_secret(0).expect("the present epoch");
            let clock = time().now();
            let contents = TicketContents {
                identity: local.identity().expect("it has one"),
                serial: subject,
                scopes: Scopes::PUBLISH,
                not_after: UnixSeconds(clock.0 + 1000),
                revocation: 0,
                origin: clock,
                psk_proved: false,
            };
            let mut id = TicketId([0; 16]);
            id.0[..8].copy_from_slice(&path.to_le_bytes());
            (tickets.seal(id, &contents, resume), resume.ticket_psk(&id.0))
        });
        Self { path, local, ticket }
    }

    fn start(&self, anchors: &TrustAnchors, key: &PublicKey, hello: &mut [u8]) -> (Waiting, usize) {
        let Some((ticket, psk)) = &self.ticket else {
            let started = initiator(&self.local, anchors, key).start(b"1", &mut OsEntropy, hello);
            let (waiting, len) = started.expect("room");
            return (Waiting::Ik(waiting), len);
        };
        let resumption = Resumption {
            local: &self.local,
            ticket,
            psk,
            service: &service(),
            connection_id: ConnectionId::EMPTY,
            limits: Limits::DEVICE,
            early: &[],
        };
        let (waiting, len) = resumption.start(b"1", &mut OsEntropy, hello).expect("room");
        (Waiting::Resume(waiting), len)
    }

    fn finish(
        self,
        now: Instant,
        anchors: &TrustAnchors,
        key: &PublicKey,
        waiting: Waiting,
        reply: &[u8],
    ) -> Device {
        let (secrets, id, limits) = match waiting {
            Waiting::Ik(waiting) => {
                match waiting.read_reply(&initiator(&self.local, anchors, key), time(), reply) {
                    Ok(ReplyOutcome::Established(done)) => {
                        (done.secrets, done.peer_connection_id, done.peer_limits)
                    }
                    _ => panic!("a genuine Reply"),
                }
            }
            Waiting::Resume(waiting) => match waiting.read_reply(reply) {
                Ok(done) => (done.secrets, done.peer_connection_id, done.peer_limits),
                Err(_) => panic!("a genuine Reply"),
            },
        };
        let session = Session::new(now, Side::Device, secrets, limits.window(), RekeyPolicy::default());
        Device { path: self.path, session, id, next: [0; 2] }
    }
}

impl Device {
    /// Seals what `write` writes; returns the packet's length.
    fn seal(&mut self, now: Instant, out: &mut [u8], write: impl FnOnce(&mut FrameWriter<'_>)) -> usize {
        let head = self.session.header_len(&self.id);
        let mut writer = FrameWriter::new(&mut out[head..]);
        write(&mut writer);
        let payload = writer.len();
        let len = self.session.seal(now, &self.id, out, payload).expect("far from the limits").len();
        // As an Ack from time to time does: the counters stay as short as they are in use.
        self.session.peer_acked(self.session.next_counter().saturating_sub(1));
        len
    }

    /// The first packet of a session, with a first record.
    fn introduce(&mut self, now: Instant, record: &[u8], out: &mut [u8]) -> usize {
        self.next[0] = 1;
        self.seal(now, out, |writer| {
            write_introduction(writer);
            write_batch(writer, now, 0, 0, record, 1);
        })
    }

    /// A packet whose payload has `len` bytes.
    pub(crate) fn packet(
        &mut self,
        now: Instant,
        contents: Contents<'_>,
        len: usize,
        out: &mut [u8],
    ) -> usize {
        let mut first = 0;
        if let Contents::Records(stream, _, count) = contents {
            let next = &mut self.next[usize::from(stream)];
            first = *next;
            *next += count as u64;
        }
        self.seal(now, out, |writer| {
            if let Contents::Records(stream, record, count) = contents {
                write_batch(writer, now, stream, first, record, count);
            }
            if let Contents::Bytes = contents {
                let body = &[0x55; BUFFER][..len - 1];
                writer.push(&Frame::Extension { kind: EXTENSION, body }).expect("room");
            }
            writer.pad_to(len);
            assert!(writer.len() >= len);
        })
    }
}

impl Fleet {
    /// A backend without devices, with room for `room` of them.
    pub(crate) fn empty(room: usize) -> Self {
        let authority = authority();
        let anchors = TrustAnchors::new(&[authority.public_key()]).expect("one anchor");
        let local = identity(&authority, u32::MAX, Role::Backend);
        let key = local.public_key();
        let mut config = BackendConfig::new(local, anchors, time());
        // A wave stays below the quarter from which cookies are asked for.
        config.max_half_open = 8 * WAVE as u32;
        config.max_sessions = config.max_sessions.max(u32::try_from(room + WAVE).expect("a sane number"));
        let mut backend = Backend::new(config).expect("the configuration is valid");
        backend.set_ticket_keys(ticket_keys());
        Self {
            backend,
            devices: Vec::with_capacity(room),
            now: Instant::from_millis(1000),
            batches: Vec::new(),
            authority,
            anchors,
            key,
            tickets: ticket_keys(),
            claims: Claims::new(room + 1),
        }
    }

    /// A backend with so many sessions, resumed with real tickets.
    pub(crate) fn new(count: usize) -> Self {
        let mut fleet = Self::empty(count);
        fleet.admit(count, Coming::Resume, Cores::All);
        fleet.grow_up();
        fleet
    }

    /// Lets the devices acknowledge their tickets, and a minute pass: what is kept of handshakes for a while is gone then,
    /// as it is for most sessions of a service.
    fn grow_up(&mut self) {
        let now = self.now;
        let ack = |device: &mut Device| {
            let mut packet = vec![0u8; BUFFER];
            let len = device.seal(now, &mut packet, |writer| {
                let written = writer
                    .frame_with(FrameKind::Ack, |body| AckWriter::new(body, 0).ok().map(AckWriter::finish));
                assert!(written);
            });
            packet.truncate(len);
            (device.path, packet)
        };
        let mut packets: Vec<_> = self.devices.iter_mut().map(ack).collect();
        self.deliver(&mut packets);
        self.settle();
        self.now = self.now + vitalwire::Duration::from_secs(60);
        self.backend.handle_timeout(self.now);
        self.settle();
    }

    /// Lets so many new devices come, in waves; each sends its first record, which is committed and acknowledged.
    pub(crate) fn admit(&mut self, count: usize, coming: Coming, cores: Cores) -> Arrival {
        let mut took = Arrival::default();
        let end = self.devices.len() + count;
        while self.devices.len() < end {
            let first = self.devices.len();
            self.wave(first..end.min(first + WAVE), coming, cores, &mut took);
        }
        took
    }

    fn wave(&mut self, paths: std::ops::Range<usize>, coming: Coming, cores: Cores, took: &mut Arrival) {
        let (first, count) = (paths.start as u64, paths.len());
        let Self { authority, anchors, key, tickets, .. } = &*self;
        let started = in_parallel(paths.collect(), |path| {
            let newcomer = Newcomer::new(authority, tickets, path as u64, coming);
            let mut hello = vec![0u8; MAX_HELLO];
            let (waiting, len) = newcomer.start(anchors, key, &mut hello);
            hello.truncate(len);
            (newcomer, waiting, hello)
        });
        let (mut waiting, mut hellos) = (Vec::new(), Vec::new());
        for (newcomer, state, hello) in started {
            hellos.push((newcomer.path, hello));
            waiting.push(Some((newcomer, state)));
        }
        timed(&mut took.hellos, || self.deliver(&mut hellos));
        timed(&mut took.jobs, || self.run_jobs(cores));
        timed(&mut took.decisions, || self.decide());
        timed(&mut took.jobs, || self.run_jobs(cores));
        let replies = timed(&mut took.replies, || self.transmit());
        let replies = replies.into_iter().map(|(path, reply)| {
            let index = usize::try_from(path - first).expect("of this wave");
            (waiting[index].take().expect("one Reply each"), reply)
        });
        let (now, Self { anchors, key, .. }) = (self.now, &*self);
        let arrived = in_parallel(replies.collect(), |((newcomer, state), reply)| {
            newcomer.finish(now, anchors, key, state, &reply)
        });
        assert_eq!(arrived.len(), count, "everybody gets a Reply: {:?}", self.backend.discards());
        let record = measurement();
        let mut packets = Vec::new();
        for mut device in arrived {
            let mut packet = vec![0u8; BUFFER];
            let len = device.introduce(now, &record, &mut packet);
            packet.truncate(len);
            packets.push((device.path, packet));
            self.devices.push(device);
        }
        timed(&mut took.data, || {
            self.deliver(&mut packets);
            assert_eq!(self.batches.len(), count, "everybody's record is delivered");
            self.commit();
        });
        let acks = timed(&mut took.acks, || {
            while self.backend.poll_event().is_some() {}
            self.transmit()
        });
        assert!(acks.len() >= count, "everybody gets an Ack");
        self.now = self.now + vitalwire::Duration::from_millis(count as u64);
        assert_eq!(self.devices.len(), self.backend.devices());
    }

    fn deliver(&mut self, packets: &mut [(u64, Vec<u8>)]) {
        for call in packets.chunks_mut(CALL) {
            let mut inbound: Vec<_> =
                call.iter_mut().map(|(path, packet)| Inbound { path: *path, packet }).collect();
            self.receive(&mut inbound);
        }
    }

    /// Hands packets to the backend; the records of what it delivers are read. Returns how many values
    /// there were; bytes handed over count as one.
    pub(crate) fn receive(&mut self, inbound: &mut [Inbound<'_, u64>]) -> usize {
        let Self { backend, batches, now, .. } = self;
        let mut values = 0;
        backend.handle_packets(*now, inbound, &mut |received| match received {
            Received::Batch(batch) => {
                values += batch.records().map(|item| crate::records::values(&item.record)).sum::<usize>();
                batches.push(batch.handle());
            }
            Received::Extension { body, .. } => values += usize::from(!std::hint::black_box(body).is_empty()),
            _ => {}
        });
        values
    }

    pub(crate) fn commit(&mut self) {
        for batch in self.batches.drain(..) {
            assert!(matches!(self.backend.commit(self.now, batch), Committed::Settled(_)));
        }
    }

    fn run_jobs(&mut self, cores: Cores) {
        let jobs: Vec<HandshakeJob> = std::iter::from_fn(|| self.backend.poll_handshake()).collect();
        let run = |job: HandshakeJob| job.run(&mut OsEntropy);
        let done: Vec<HandshakeDone> = match cores {
            Cores::One => jobs.into_iter().map(run).collect(),
            Cores::All => in_parallel(jobs, run),
        };
        for done in done {
            self.backend.handle_handshake(self.now, done);
        }
    }

    /// Accepts everybody, as an application does whose registry knows them all.
    fn decide(&mut self) {
        let grant = || Grant { scopes: Scopes::PUBLISH, ..Grant::default() };
        while let Some(event) = self.backend.poll_event() {
            match event {
                BackendEvent::Pending { pending, .. } => {
                    self.backend.accept(self.now, pending, grant()).expect("it is pending");
                }
                BackendEvent::Resuming { pending, claim } => {
                    let outcome = self.claims.claim(time().now(), &claim);
                    self.backend.claimed(self.now, pending, outcome, grant()).expect("it is pending");
                }
                _ => {}
            }
        }
    }

    fn transmit(&mut self) -> Vec<(u64, Vec<u8>)> {
        let mut sent = Vec::new();
        let mut out = [0u8; 1500];
        while let Some(next) = self.backend.poll_transmit(self.now, &mut OsEntropy, &mut out).expect("room") {
            sent.push((next.path, next.packet.to_vec()));
        }
        sent
    }

    /// Takes what the backend has to say, after a stretch of work.
    pub(crate) fn settle(&mut self) {
        self.commit();
        while self.backend.poll_event().is_some() {}
        self.transmit();
    }
}

/// Where the backend's handshake jobs run.
#[derive(Clone, Copy)]
pub(crate) enum Cores {
    One,
    All,
}
