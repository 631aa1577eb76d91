//! A backend with real keys against devices that are driven by hand: genuine, forged, replayed and spliced packets,
//! authentic ones whose frames are the fuzzer's, and an application that commits, releases, accepts and refuses in
//! any order.
//!
//! Held: no panic; a packet that is no genuine news delivers nothing and connects nobody; a record is not delivered
//! while an earlier delivery of it is uncommitted, nor, to devices that never lied, after its commit; what is
//! delivered was sent; a path that nobody genuine uses gets at most three times its bytes; a command ends
//! once; the run loop comes to rest.
//!
//! Input: settings (1 byte) ‖ operations.

use crate::input::Input;
use crate::world::{CLOCK, PSK_ID, SeedRng, Shape, World, psk, time, world};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use vitalwire::backend::*;
use vitalwire::delivery::{Ledger, StreamKey};
use vitalwire::framing::*;
use vitalwire::handshake::{AwaitingReply, Established, ReplyFailure, ReplyOutcome};
use vitalwire::identity::{Identity, Scopes};
use vitalwire::limits::MAX_HELLO;
use vitalwire::session::{RekeyPolicy, Session, Side};
use vitalwire::wire::{ConnectionId, DataHeader};
use vitalwire::{CallError, CloseReason, Duration, Instant, UnixSeconds};

/// A record of a device.
type Id = (Identity, StreamKey, u64);

/// More packets than this at one instant are a loop.
const MAX_BURST: usize = 400;
/// Paths from here on are strangers': no genuine packet ever comes from there first.
const STRANGERS: u64 = 1000;

/// A device that does what the fuzzer says.
struct Hand {
    number: usize,
    path: u64,
    waiting: Option<(AwaitingReply, Shape)>,
    session: Option<Session<2>>,
    peer: ConnectionId,
    tag: [u8; 4],
    /// The next sequence of each lane, and the value of each record: (lane, sequence) → value.
    next: [u64; 4],
    sent: BTreeMap<(u8, u64), i32>,
    /// It has sent frames that no honest device sends, or its session was lost to a new tag: its streams are its own affair.
    lied: bool,
}

struct Sim {
    world: &'static World,
    backend: Backend<u64>,
    rng: SeedRng,
    now: Instant,
    hands: [Hand; 2],
    /// Packets to the backend.
    queue: Vec<(u64, Vec<u8>)>,
    past: Vec<Vec<u8>>,
    jobs: Vec<HandshakeJob>,
    done: Vec<HandshakeDone>,
    pending: Vec<(PendingId, usize)>,
    batches: Vec<(BatchRef, Vec<Id>)>,
    outstanding: BTreeSet<Id>,
    committed: BTreeSet<Id>,
    received_from: BTreeMap<u64, u64>,
    sent_to: BTreeMap<u64, u64>,
    /// What the application has stored, one ledger per device.
    ledgers: [Ledger; 2],
    commands: HashSet<CommandId>,
}

impl Hand {
    fn new(number: usize) -> Self {
        Self {
            number,
            path: number as u64,
            waiting: None,
            session: None,
            peer: ConnectionId::EMPTY,
            tag: [1; 4],
            next: [0; 4],
            sent: BTreeMap::new(),
            lied: false,
        }
    }

    fn hello(&mut self, shape: Shape, rng: &mut SeedRng) -> Vec<u8> {
        let world = world();
        let (psk, key) = (psk(), world.backend.public_key());
        let mut out = [0u8; MAX_HELLO];
        let initiator = world.initiator(self.number, shape, &psk, &key);
        let (waiting, len) = initiator.start(b"1", rng, &mut out).expect("the buffer is large enough");
        self.waiting = Some((waiting, shape));
        out[..len].to_vec()
    }

    /// Takes a packet of the backend; returns a Finish.
    fn take(&mut self, now: Instant, packet: &[u8]) -> Option<Vec<u8>> {
        let world = world();
        match packet[0] {
            0x12 => {
                let (waiting, shape) = self.waiting.take()?;
                let (psk, key) = (psk(), world.backend.public_key());
                let initiator = world.initiator(self.number, shape, &psk, &key);
                match waiting.read_reply(&initiator, time(), packet) {
                    Ok(ReplyOutcome::Established(done)) => self.establish(now, done),
                    Ok(ReplyOutcome::Finish(read)) => {
                        let mut out = [0u8; MAX_HELLO];
                        let local = &world.devices[self.number];
                        let (done, len) =
                            read.write_finish(local, &mut out).expect("the buffer is large enough");
                        self.establish(now, done);
                        return Some(out[..len].to_vec());
                    }
                    Err(ReplyFailure::Pending(waiting, _)) => self.waiting = Some((waiting, shape)),
                    Err(ReplyFailure::Dead(_)) => {}
                }
            }
            first if first & 0x80 != 0 => {
                let header = DataHeader::parse(packet, 0).expect("a backend writes nothing malformed");
                let mut packet = packet.to_vec();
                let opened = self.session.as_mut()?.open(now, &header, &mut packet).ok()?;
                let frames = Frames::parse(opened.payload).expect("a backend writes nothing malformed");
                let mut answers = Vec::new();
                let stamp = TimeSyncFrame::stamp(now);
                for frame in frames {
                    assert!(frame.allowed_from(Sender::Backend));
                    match frame {
                        Frame::Ping(token) => answers.push(Frame::Pong(token)),
                        Frame::Command(command) => {
                            let result = CommandResult::Done(b"done");
                            answers.push(Frame::CommandResult(CommandResultFrame { id: command.id, result }));
                        }
                        Frame::TimeSync(asked) if asked.ask => {
                            let echo = Some(TimeEcho { sent: asked.sent, held: Duration::ZERO });
                            let boot = Some((1, BootTag(self.tag)));
                            answers.push(Frame::TimeSync(TimeSyncFrame { boot, echo, ..stamp }));
                        }
                        Frame::Close(_) => {
                            self.session = None;
                            return None;
                        }
                        _ => {}
                    }
                }
                return if answers.is_empty() { None } else { self.seal_frames(now, &answers) };
            }
            _ => {}
        }
        None
    }

    fn establish(&mut self, now: Instant, done: Established) {
        let window = done.peer_limits.window();
        self.peer = done.peer_connection_id;
        self.session = Some(Session::new(now, Side::Device, done.secrets, window, RekeyPolicy::default()));
    }

    fn seal(&mut self, now: Instant, payload: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![0u8; payload.len() + 64];
        let session = self.session.as_mut()?;
        let head = session.header_len(&self.peer);
        out[head..head + payload.len()].copy_from_slice(payload);
        session.seal(now, &self.peer, &mut out, payload.len()).ok().map(|packet| packet.to_vec())
    }

    fn seal_frames(&mut self, now: Instant, frames: &[Frame<'_>]) -> Option<Vec<u8>> {
        let mut payload = [0u8; 1200];
        let mut writer = FrameWriter::new(&mut payload);
        for frame in frames {
            writer.push(frame).expect("room");
        }
        let len = writer.finish().len();
        self.seal(now, &payload[..len])
    }

    fn set_hash(&self) -> SetHash {
        SetHash::from_digest(vitalwire::crypto::hazmat::blake2s(&world().set))
    }

    /// Streams and Descriptors, as a device begins a session. The oldest sequences stay 0: nothing is ever settled so.
    fn introduce(&mut self, now: Instant) -> Option<Vec<u8>> {
        let hash = self.set_hash();
        let mut body = [0u8; 128];
        let mut writer = StreamsWriter::new(&mut body, true).expect("room");
        let entries = Lane::ALL.map(|lane| StreamEntry { index: lane.code(), lane, oldest: 0 });
        writer.push(1, BootTag(self.tag), hash, &entries).expect("room");
        let len = writer.finish();
        let payload = [&[0x80 | FrameKind::Streams as u8, len as u8], &body[..len]].concat();
        let Some(Frame::Streams(streams)) = Frames::parse(&payload).expect("well-formed").next() else {
            return None;
        };
        let set = &world().set;
        let descriptors = DescriptorsFrame { stream: 0, total: set.len() as u16, offset: 0, bytes: set };
        self.seal_frames(now, &[Frame::Streams(streams), Frame::Descriptors(descriptors)])
    }

    /// A Records frame of the next records of a lane, or of earlier ones again.
    fn records(&mut self, now: Instant, lane: Lane, count: u8, back: u64) -> Option<Vec<u8>> {
        let next = &mut self.next[lane.index()];
        let first = next.saturating_sub(back);
        *next = (*next).max(first + u64::from(count));
        let mut body = [0u8; 1100];
        let mut batch = BatchWriter::new(&mut body, lane.code(), first);
        for index in 0..u64::from(count) {
            let sequence = first + index;
            let known = self.sent.len() as i32;
            let value = *self.sent.entry((lane.code(), sequence)).or_insert(known);
            let values = Values::valid(&[value]).expect("one value");
            let record = Record::Measurement(Measurement::new(0, values));
            let mut out = [0u8; 16];
            let len = encode_record(&record, &world().channels(), &mut out).expect("it fits its channel");
            batch.push(now, &out[..len]).expect("room");
        }
        let body = batch.finish().to_vec();
        let frame = RecordsFrame::parse(&body).expect("well-formed");
        self.seal_frames(now, &[Frame::Records(frame)])
    }
}

impl Sim {
    fn who(&self, identity: Identity) -> usize {
        let is = |local: &vitalwire::identity::LocalIdentity| local.identity() == Some(identity);
        self.world.devices.iter().position(is).expect("nobody else has a credential")
    }

    /// Hands packets in; returns how many batches came out.
    fn deliver(&mut self, path: u64, packets: &[Vec<u8>]) -> usize {
        let mut copies: Vec<Vec<u8>> = packets.to_vec();
        let mut inbound: Vec<_> = copies.iter_mut().map(|packet| Inbound { path, packet }).collect();
        *self.received_from.entry(path).or_default() += packets.iter().map(|p| p.len() as u64).sum::<u64>();
        let mut batches = Vec::new();
        self.backend.handle_packets(self.now, &mut inbound, &mut |received| {
            if let Received::Batch(batch) = received {
                batches.push(batch.to_owned());
            }
        });
        let count = batches.len();
        for owned in batches {
            let batch = owned.as_batch();
            let hand = &self.hands[self.who(batch.identity())];
            let ids: Vec<_> =
                batch.records().map(|record| (batch.identity(), batch.stream(), record.sequence)).collect();
            assert_eq!(ids.len() as u32, batch.mark().mask.count_ones());
            for (id, record) in ids.iter().zip(batch.records()) {
                assert!(self.outstanding.insert(*id), "delivered again before its commit");
                if hand.lied {
                    continue;
                }
                assert!(!self.committed.contains(id), "delivered again after its commit");
                let sent = hand.sent.get(&(id.1.lane.code(), id.2));
                let Record::Measurement(measurement) = &record.record else { panic!("another kind") };
                assert_eq!(measurement.values[0].valid().as_ref(), sent.as_ref().copied());
            }
            self.batches.push((batch.handle(), ids));
        }
        count
    }

    fn deliver_hostile(&mut self, packet: Vec<u8>) {
        let before = (self.backend.discards().total(), self.backend.devices());
        let finish = packet.first() == Some(&0x13);
        let path = STRANGERS + (packet.len() as u64 & 1);
        assert_eq!(self.deliver(path, &[packet]), 0, "a batch out of a hostile packet");
        // A Finish is counted when its job is done.
        assert!(finish || self.backend.discards().total() > before.0, "a hostile packet was not counted");
        assert_eq!(self.backend.devices(), before.1);
    }

    fn events(&mut self) {
        while let Some(event) = self.backend.poll_event() {
            match event {
                BackendEvent::Pending { pending, credential, .. } => {
                    self.pending.push((pending, self.who(credential.identity())));
                }
                BackendEvent::CommandEnded { id, .. } => assert!(self.commands.remove(&id), "it ends once"),
                _ => {}
            }
        }
    }

    fn drain(&mut self, input: &mut Input<'_>) {
        let small = input.u8() & 0x80 != 0;
        for burst in 0.. {
            assert!(burst < MAX_BURST, "the backend never stops sending");
            let mut out = vec![0u8; if small { usize::from(input.u8()) } else { 1500 }];
            let now = self.now;
            let sent = match self.backend.poll_transmit(now, &mut self.rng, &mut out) {
                Ok(Some(sent)) => sent,
                Ok(None) => break,
                Err(CallError::BufferTooSmall(error)) => {
                    assert!(small && error.needed > out.len());
                    if input.is_empty() {
                        return;
                    }
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            let (path, packet) = (sent.path, sent.packet.to_vec());
            let to = self.sent_to.entry(path).or_default();
            *to += packet.len() as u64;
            if path >= STRANGERS {
                let got = self.received_from.get(&path).copied().unwrap_or(0);
                assert!(*to <= 3 * got, "{to} bytes went to a path that sent {got}");
            }
            for hand in 0..2 {
                if self.hands[hand].path == path
                    && let Some(answer) = self.hands[hand].take(now, &packet)
                {
                    self.queue.push((path, answer));
                }
            }
        }
        self.events();
        self.backend.handle_timeout(self.now);
        if let Some(at) = self.backend.poll_timeout() {
            assert!(at > self.now, "nothing is left to do, and the timer is due: a run loop would spin");
        }
    }

    fn run_jobs(&mut self, hold: bool) {
        while let Some(job) = self.backend.poll_handshake() {
            self.jobs.push(job);
        }
        if hold {
            return;
        }
        for job in core::mem::take(&mut self.jobs) {
            self.done.push(job.run(&mut self.rng));
        }
        for done in core::mem::take(&mut self.done) {
            self.backend.handle_handshake(self.now, done);
        }
        self.events();
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let op = input.u8();
        let hand = usize::from(op >> 4 & 1);
        match op & 15 {
            0 => {
                let shape = Shape::ALL[usize::from(op >> 5 & 3)];
                let hello = self.hands[hand].hello(shape, &mut self.rng);
                self.queue.push((self.hands[hand].path, hello));
            }
            1 => {
                // Many packets in one call, as far as they come from one path.
                let Some(&(path, _)) = self.queue.first() else { return };
                let (now, later) =
                    core::mem::take(&mut self.queue).into_iter().partition(|(from, _)| *from == path);
                self.queue = later;
                let packets: Vec<Vec<u8>> = Vec::into_iter(now).map(|(_, packet)| packet).collect();
                let before = self.backend.discards().total();
                self.deliver(path, &packets);
                // What came too early may be news later.
                if self.backend.discards().total() == before {
                    self.past.extend(packets);
                }
            }
            2 if !self.queue.is_empty() => {
                let (path, packet) = self.queue.remove(input.below(self.queue.len()));
                let before = self.backend.discards().total();
                self.deliver(path, core::slice::from_ref(&packet));
                if self.backend.discards().total() == before {
                    self.past.push(packet);
                }
            }
            3 if !self.queue.is_empty() => {
                let mut packet = self.queue[input.below(self.queue.len())].1.clone();
                if input.mutate(&mut packet) {
                    self.deliver_hostile(packet);
                }
            }
            4 if !self.past.is_empty() => {
                // A replay: a Hello that has expired may start another handshake, but nothing is delivered.
                let packet = self.past[input.below(self.past.len())].clone();
                let path = if op & 0x20 == 0 { STRANGERS } else { self.hands[hand].path };
                let data = packet[0] & 0x80 != 0;
                let count = self.deliver(path, &[packet]);
                assert!(!data || count == 0, "a batch out of a replay");
            }
            5 => self.run_jobs(op & 0x80 != 0),
            6 if !self.pending.is_empty() => {
                let (pending, who) = self.pending[input.below(self.pending.len())];
                let mut grant = Grant {
                    scopes: Scopes::from_bits(0x3f),
                    ledger: self.ledgers[who].clone(),
                    ..Grant::default()
                };
                if op & 0x80 != 0 {
                    grant.psk = Some(psk());
                }
                let result = if op & 0x60 == 0x60 {
                    self.backend.refuse(self.now, pending, CloseReason::Refused)
                } else {
                    self.backend.accept(self.now, pending, grant)
                };
                assert!(matches!(result, Ok(()) | Err(CallError::StaleHandle)));
            }
            7 => self.drain(input),
            8 => {
                let introduced = self.hands[hand].introduce(self.now);
                self.queue.extend(introduced.map(|packet| (self.hands[hand].path, packet)));
            }
            9 => {
                let lane = Lane::ALL[usize::from(op >> 5 & 3)];
                let (count, back) = (1 + input.u8() % 32, u64::from(input.u8() & 0x3f));
                let packet = self.hands[hand].records(self.now, lane, count, back);
                self.queue.extend(packet.map(|packet| (self.hands[hand].path, packet)));
            }
            10 => {
                // An authentic packet with any payload.
                let payload = input.long();
                self.hands[hand].lied = true;
                let packet = self.hands[hand].seal(self.now, payload);
                self.queue.extend(packet.map(|packet| (self.hands[hand].path, packet)));
            }
            11 | 12 if !self.batches.is_empty() => {
                let at = input.below(self.batches.len());
                let (batch, ids) = self.batches[at].clone();
                if op & 1 == 1 {
                    if let Committed::Settled(mark) = self.backend.commit(self.now, batch) {
                        assert_eq!(mark.mask.count_ones() as usize, ids.len());
                        let who = self.who(ids[0].0);
                        let _ = self.ledgers[who].apply(&mark);
                        self.committed.extend(ids.iter().copied());
                    }
                } else {
                    self.backend.release(self.now, batch);
                }
                for id in &ids {
                    self.outstanding.remove(id);
                }
                if op & 0x80 == 0 {
                    self.batches.remove(at);
                } else {
                    // It stays here as a stale handle; it stands for no records any more.
                    self.batches[at].1.clear();
                    if let Committed::Settled(_) = self.backend.commit(self.now, batch) {
                        panic!("a batch was settled twice");
                    }
                    self.batches.remove(at);
                }
            }
            13 => {
                let step = u64::from(input.u16());
                self.now = self.now + Duration::from_millis(if op & 0x80 == 0 { step } else { step * 60 });
                self.backend.handle_timeout(self.now);
            }
            14 => self.odd(op, hand, input),
            _ => {
                let packet = input.long().to_vec();
                if packet.first() != Some(&0x11) || packet.len() < 96 {
                    self.deliver(STRANGERS + 7, &[packet]);
                }
            }
        }
    }

    fn odd(&mut self, op: u8, hand: usize, input: &mut Input<'_>) {
        let identity = self.world.devices[hand].identity().expect("a genuine credential");
        match op >> 5 {
            0 => self.hands[hand].path = input.below(6) as u64 * 2 + hand as u64,
            1 => self.backend.disconnect(&identity, CloseReason::Application).unwrap_or(()),
            2 => self.backend.hint_rekey(&identity).unwrap_or(()),
            3 => self.hands[hand].session = None,
            4 => self.backend.set_wall_clock(UnixSeconds(CLOCK.0 + u64::from(input.u16()) / 32)),
            5 => {
                // A packet of one session under the connection id of the other.
                let peer = self.hands[1 - hand].peer;
                let payload = [FrameKind::Ping as u8, 1, 2, 3, 4, 5, 6, 7, 8];
                let sealed = self.hands[hand].seal(self.now, &payload).filter(|_| peer.len() == 5);
                if let Some(mut packet) = sealed.filter(|packet| packet[1..6] != *peer.as_bytes()) {
                    packet[1..6].copy_from_slice(peer.as_bytes());
                    self.deliver_hostile(packet);
                }
            }
            6 => {
                // The device has lost its storage: same boot, another tag.
                let tag = self.hands[hand].tag[0];
                self.hands[hand].tag = [tag.wrapping_add(1); 4];
                self.hands[hand].lied = true;
            }
            _ if input.below(2) == 1 => {
                let body = input.short();
                let ttl = Duration::from_millis(u64::from(input.u16()) * 60);
                let command = Command { kind: u16::from(op) << 8, body, ttl };
                match self.backend.command(self.now, &identity, command) {
                    Ok(id) => assert!(self.commands.insert(id), "an id twice"),
                    Err(error) => assert!(matches!(
                        error,
                        CallError::NoSession
                            | CallError::OutOfScope
                            | CallError::BadCommand(_)
                            | CallError::TooManyCommands
                    )),
                }
                let unix_millis = (CLOCK.0 + u64::from(input.u8())) * 1000;
                let error = Duration::from_millis(20);
                let wall = WallReading { unix_millis, quality: ClockQuality::Synchronised, error };
                self.backend.set_wall_time(self.now, wall);
                let _ = self.backend.sync_time(self.now, &identity);
            }
            _ => {
                let _ = (self.backend.ratchets(&identity), self.backend.devices());
                self.backend.forget_enrolment(PSK_ID);
            }
        }
    }
}

pub fn run(data: &[u8]) {
    let world = world();
    let mut input = Input::new(data);
    let settings = input.u8();
    let mut config = world.backend_config();
    if settings & 1 != 0 {
        (config.max_sessions, config.max_half_open) = (4, 3);
    }
    if settings & 2 != 0 {
        config.shard = 5;
    }
    let mut backend = Backend::new(config).expect("the configuration is valid");
    if settings & 4 != 0 {
        backend.enrol(PSK_ID, psk(), world.devices[0].identity().expect("a genuine credential"));
    }
    let mut sim = Sim {
        world,
        backend,
        rng: SeedRng(1),
        now: Instant::from_millis(1000),
        hands: [Hand::new(0), Hand::new(1)],
        queue: Vec::new(),
        past: Vec::new(),
        jobs: Vec::new(),
        done: Vec::new(),
        pending: Vec::new(),
        batches: Vec::new(),
        outstanding: BTreeSet::new(),
        committed: BTreeSet::new(),
        received_from: BTreeMap::new(),
        sent_to: BTreeMap::new(),
        ledgers: Default::default(),
        commands: HashSet::new(),
    };
    for _ in 0..200 {
        if input.is_empty() {
            break;
        }
        sim.step(&mut input);
    }
    sim.run_jobs(false);
    sim.drain(&mut Input::new(&[]));
}
