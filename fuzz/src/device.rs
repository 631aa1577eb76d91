//! A device with real keys against a backend that is driven by hand: genuine, forged and replayed packets, and
//! authentic ones whose frames are the fuzzer's.
//!
//! With settings it has storage, whose answers are the fuzzer's, and listens in windows. The backend's commands name its boot.
//!
//! Held: no panic; a packet that is no genuine news is counted as discarded and neither connects nor disconnects;
//! a buffer that is too small costs nothing; every packet fits the link; every record that is sent was recorded, under
//! its own id and time; a command is given out once; an answer of the storage that nobody asked for is counted; the run
//! loop comes to rest.
//!
//! Input: settings (1 byte) ‖ operations.

use crate::disk::{Answer, Asked};
use crate::input::Input;
use crate::world::{PSK_ID, SeedRng, World, anchor, psk, time, world};
use std::collections::{BTreeMap, BTreeSet};
use vitalwire::crypto::{EphemeralSecret, HedgeKey, PublicKey, SignatureKey, StorageKey};
use vitalwire::device::*;
use vitalwire::framing::*;
use vitalwire::handshake::{AwaitingFinish, Established, HelloKey, ReplyWritten};
use vitalwire::limits::{MAX_HELLO, MAX_REPLY, TICKET_LEN};
use vitalwire::session::{RekeyPolicy, Session, Side};
use vitalwire::storage::MemoryStorage;
use vitalwire::wire::{ConnectionId, DataHeader, Finish, Hello, PacketKind};
use vitalwire::{CallError, Duration, Instant, UnixSeconds};

/// More packets than this at one instant are a loop.
const MAX_BURST: usize = 400;

/// A backend that does what the fuzzer says.
struct Hand {
    world: &'static World,
    session: Option<Session<16>>,
    waiting: Option<AwaitingFinish>,
    last_hello: Vec<u8>,
    rng: SeedRng,
    heard: Vec<Vec<u8>>,
    asked: bool,
    /// The device's boot, as it has named it.
    boot: (u32, BootTag),
    sessions: u64,
}

struct Sim<'m> {
    device: Device<'m>,
    hand: Hand,
    now: Instant,
    max_packet: u16,
    rng: SeedRng,
    /// What the device was given: measurements by (lane, sequence).
    records: BTreeMap<(u8, u64), (u64, i32)>,
    next_value: i32,
    first_sample: u64,
    /// Packets to the device: not delivered yet, and all that ever were.
    queue: Vec<Vec<u8>>,
    past: Vec<Vec<u8>>,
    disk: Option<MemoryStorage>,
    /// Commands that came: their handles, and (session, number).
    commands: Vec<CommandId>,
    begun: BTreeSet<(u8, u8)>,
}

impl Hand {
    fn connection_id(&self) -> ConnectionId {
        ConnectionId::new(&[7; 5]).expect("5 bytes")
    }

    fn establish(&mut self, now: Instant, done: Established) {
        let window = done.peer_limits.window();
        self.sessions += 1;
        self.session = Some(Session::new(now, Side::Backend, done.secrets, window, RekeyPolicy::default()));
    }

    /// Takes a packet of the device; returns the Reply to a Hello.
    fn take(&mut self, now: Instant, packet: &[u8]) -> Option<Vec<u8>> {
        let world = self.world;
        match PacketKind::parse(packet, Side::Device).expect("a device writes nothing malformed") {
            PacketKind::Hello => {
                self.last_hello = packet.to_vec();
                // A ticket out of the fuzzer's hands: nobody can open it.
                if Hello::parse(packet).expect("a device's own Hello").ticket.is_some() {
                    return None;
                }
                let (hello, _) = world.responder.check_hello(packet).expect("a device's own Hello");
                let psk = psk();
                let early = hello.psk_id().is_some().then_some(&psk);
                let read = world.responder.read_hello(&hello, early, time(), &mut self.rng).expect("genuine");
                let late = (read.pattern() == vitalwire::wire::Pattern::IkPsk2).then_some(&psk);
                let mut out = [0u8; MAX_REPLY];
                let id = self.connection_id();
                let (next, len) = read.write_reply(&world.responder, id, late, &mut out).expect("genuine");
                match next {
                    ReplyWritten::Established(done) => self.establish(now, done),
                    ReplyWritten::AwaitingFinish(waiting) => self.waiting = Some(waiting),
                }
                Some(out[..len].to_vec())
            }
            PacketKind::Finish => {
                let finish = Finish::parse(packet, 5).expect("a device's own Finish");
                let registered = world.devices[0].identity();
                // A repeated Finish, or one to a Reply that a later Hello has overtaken, finds nothing.
                let done =
                    self.waiting.take()?.read_finish(&world.responder, registered, time(), finish.noise);
                if let Ok(done) = done {
                    self.establish(now, done);
                }
                None
            }
            PacketKind::Data => {
                let header = DataHeader::parse(packet, 5).expect("a device's own packet");
                let mut packet = packet.to_vec();
                let session = self.session.as_mut()?;
                let opened = session.open(now, &header, &mut packet).ok()?;
                let epoch = opened.epoch;
                let payload = opened.payload.to_vec();
                let frames = Frames::parse(&payload).expect("a device writes nothing malformed");
                for frame in frames {
                    assert!(frame.allowed_from(Sender::Device));
                    match frame {
                        Frame::RekeyRequest(key) => {
                            let _ = session.handle_rekey_request(now, epoch, PublicKey(key));
                            if session.needs_ephemeral() {
                                let hedge = HedgeKey::from_bytes([1; 32]);
                                let secret = EphemeralSecret::generate_hedged(&mut self.rng, &hedge, b"");
                                let _ = session.answer_dh(now, secret.expect("never fails"));
                            }
                            self.asked = true;
                        }
                        Frame::Ack(ack) => session.peer_acked(ack.packet),
                        Frame::Streams(streams) => {
                            let latest = streams.boots().max_by_key(|boot| boot.boot);
                            self.boot = latest.map_or(self.boot, |latest| (latest.boot, latest.tag));
                        }
                        _ => {}
                    }
                }
                self.heard.push(payload);
                None
            }
            _ => panic!("a device sends no such packet"),
        }
    }

    fn seal(&mut self, now: Instant, payload: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![0u8; payload.len() + 64];
        let session = self.session.as_mut()?;
        let id = ConnectionId::EMPTY;
        let head = session.header_len(&id);
        out[head..head + payload.len()].copy_from_slice(payload);
        session.seal(now, &id, &mut out, payload.len()).ok().map(|packet| packet.to_vec())
    }

    /// What an honest backend would say: all is settled up to what was heard.
    fn answer(&mut self, now: Instant) -> Option<Vec<u8>> {
        let mut payload = [0u8; 400];
        let mut writer = FrameWriter::new(&mut payload);
        let session = self.session.as_ref()?;
        if let Some(key) = session.rekey_accept().filter(|_| core::mem::take(&mut self.asked)) {
            writer.push(&Frame::RekeyAccept(key.0)).expect("room");
        }
        let mut ends = BTreeMap::new();
        for payload in core::mem::take(&mut self.heard) {
            for frame in Frames::parse(&payload).expect("checked before") {
                if let Frame::Records(records) = frame {
                    let end = ends.entry(records.stream).or_insert(0);
                    *end = records.first.saturating_add(records.count.into()).max(*end);
                }
            }
        }
        let highest = session.highest_received();
        writer.frame_with(FrameKind::Ack, |body| {
            let mut ack = AckWriter::new(body, highest).ok()?;
            for (stream, cumulative) in ends {
                ack.push(&StreamAck { stream, cumulative, settled: Settled::NONE }).ok()?;
            }
            Some(ack.finish())
        });
        let len = writer.finish().len();
        self.seal(now, &payload[..len])
    }
}

impl Sim<'_> {
    /// The storage answers as it should.
    fn serve(&mut self) {
        let Some(disk) = &mut self.disk else { return };
        for burst in 0.. {
            assert!(burst < MAX_BURST, "the device never stops asking");
            let Some(request) = self.device.poll_storage(self.now, &mut self.rng) else { break };
            let reply = disk.serve(request);
            self.device.handle_storage(self.now, reply);
        }
    }

    /// The storage answers with anything, asked for or not.
    fn answer_storage(&mut self, input: &mut Input<'_>) {
        let choice = input.u8();
        let asked = self.device.poll_storage(self.now, &mut self.rng).map(Asked::from);
        let answer = match (choice & 7, &asked, &mut self.disk) {
            (0, ..) => Answer::Failed,
            (1, ..) => Answer::Full,
            (2, ..) => Answer::Done,
            (3, ..) => Answer::Appended { number: input.u16().into(), free: 0 },
            (4, ..) => Answer::Entry { number: input.u8().into(), bytes: input.short().to_vec() },
            (5, ..) => Answer::Value((choice & 8 == 0).then(|| input.short().to_vec())),
            (_, Some(asked), Some(disk)) => disk.serve(asked.lend()).into(),
            _ => Answer::End,
        };
        let before = self.device.discards().total();
        self.device.handle_storage(self.now, answer.lend());
        assert!(asked.is_some() || self.device.discards().total() == before + 1, "an unasked reply");
    }

    /// Turns of the run loop until nothing is left; packets reach the hand, or are lost.
    fn drain(&mut self, lost: bool) {
        for turn in 0.. {
            assert!(turn < 40, "the run loop never ends");
            self.serve();
            self.transmit(lost);
            while self.device.poll_event().is_some() {}
            let _ = (self.device.radio(self.now), self.device.wall_time(self.now));
            let due = self.device.poll_timeout();
            if self.device.poll_storage(self.now, &mut self.rng).is_none() {
                let idle = self.max_packet == 0 || due.is_none_or(|at| at > self.now);
                return assert!(idle, "nothing is left to do, and the timer is due: a run loop would spin");
            }
            assert!(
                due.is_some_and(|at| at <= self.now),
                "there is something to ask, and nobody wakes for it"
            );
        }
    }

    fn transmit(&mut self, lost: bool) {
        for burst in 0.. {
            assert!(burst < MAX_BURST, "the device never stops sending");
            let mut out = [0u8; 1500];
            let sent = self.device.poll_transmit(self.now, &mut self.rng, &mut out).expect("a large buffer");
            let Some(packet) = sent else { break };
            if packet[0] & 0x80 != 0 {
                assert!(packet.len() <= usize::from(self.max_packet), "longer than the link permits");
            } else {
                assert!(packet.len() <= MAX_HELLO);
            }
            if !lost {
                let packet = packet.to_vec();
                let reply = self.hand.take(self.now, &packet);
                self.queue.extend(reply);
            }
        }
        self.check_records();
    }

    /// Every record that arrived is one that the device was given.
    fn check_records(&self) {
        let set = self.hand.world.channels();
        for payload in &self.hand.heard {
            for frame in Frames::parse(payload).expect("checked before") {
                let Frame::Records(frame) = frame else { continue };
                for item in frame.records(&set) {
                    let item = item.expect("a device writes nothing malformed");
                    if let Record::Measurement(measurement) = item.record {
                        let given = self.records.get(&(frame.stream, item.sequence));
                        let value = measurement.values[0].valid().expect("valid");
                        assert_eq!(given, Some(&(item.time.as_millis(), value)));
                    }
                }
            }
        }
    }

    fn deliver(&mut self, packet: &[u8]) {
        let mut copy = packet.to_vec();
        let (now, begun, commands) = (self.now, &mut self.begun, &mut self.commands);
        self.device.handle_packet(now, &mut copy, &mut |received| {
            let DeviceReceived::Command { id, body, deadline, .. } = received else { return };
            assert!(deadline > now, "too late");
            commands.push(id);
            // The hand's own: session and number are in the body, too.
            if let Ok([b'h', b'a', b'n', b'd', session, number]) = <[u8; 6]>::try_from(body) {
                assert!(begun.insert((session, number)), "a command twice");
            }
        });
    }

    /// Delivers what must have no effect but a count.
    fn deliver_hostile(&mut self, packet: &[u8]) {
        let before = (self.device.discards().total(), self.device.is_connected(), self.device.ratchets());
        self.deliver(packet);
        let after = (self.device.discards().total(), self.device.is_connected(), self.device.ratchets());
        assert_eq!(after, (before.0 + 1, before.1, before.2));
    }

    fn record(&mut self, lane: Lane) {
        self.next_value += 1;
        let values = Values::valid(&[self.next_value]).expect("one value");
        let record = Record::Measurement(Measurement::new(0, values));
        if let Ok(accepted) = self.device.record(self.now, lane, &record) {
            assert_eq!((accepted.lane, accepted.count), (lane, 1));
            let known = (self.now.as_millis(), self.next_value);
            assert_eq!(self.records.insert((lane.code(), accepted.first), known), None, "an id twice");
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let op = input.u8();
        match op & 15 {
            0 | 1 => self.drain(op & 0x80 != 0),
            2 => {
                let lane = Lane::ALL[usize::from(op >> 4 & 3)];
                (0..1 + input.below(40)).for_each(|_| self.record(lane));
            }
            3 => {
                let samples: Vec<i32> =
                    input.short().iter().map(|&byte| i32::from(byte) << (op >> 4)).collect();
                let block = WaveformBlock::new(3, self.first_sample, &samples);
                if self.device.record(self.now, Lane::Waveform, &Record::Waveform(block)).is_ok() {
                    self.first_sample += samples.len() as u64;
                }
            }
            4 | 5 if !self.queue.is_empty() => {
                let packet = self.queue.remove(input.below(self.queue.len()));
                let before = self.device.discards().total();
                self.deliver(&packet);
                // What came too early may be news later.
                if self.device.discards().total() == before {
                    self.past.push(packet);
                }
            }
            6 if !self.queue.is_empty() => {
                let mut packet = self.queue[input.below(self.queue.len())].clone();
                if input.mutate(&mut packet) {
                    self.deliver_hostile(&packet);
                }
            }
            7 if !self.past.is_empty() => {
                let packet = self.past[input.below(self.past.len())].clone();
                // A Reply again, and a data packet again, are never news. (A Retry or Reset may be.)
                if packet[0] & 0x80 != 0 { self.deliver_hostile(&packet) } else { self.deliver(&packet) }
            }
            8 => {
                let packet = input.long().to_vec();
                self.deliver(&packet);
            }
            // An authentic packet with any payload.
            9 => {
                let payload = input.long();
                if let Some(packet) = self.hand.seal(self.now, payload) {
                    self.queue.push(packet);
                }
            }
            10 => self.queue.extend(self.hand.answer(self.now)),
            11 => {
                let step = u64::from(input.u16());
                self.now = self.now + Duration::from_millis(if op & 0x80 == 0 { step } else { step * 200 });
                self.device.handle_timeout(self.now);
            }
            12 => match op >> 4 & 7 {
                0 => self.link(Link::Down),
                1 => self.link(Link::Up { max_packet: 64 + u16::from(input.u8()) }),
                2 => self.device.disconnect(),
                3 => self.device.rekey(),
                4 => self.hand.session = None,
                5 => self.small_buffer(usize::from(input.u16() % 600)),
                7 if op & 0x80 != 0 => self.answer_storage(input),
                7 => self.answer_commands(input),
                _ => self.device.connect(self.now),
            },
            13 => self.retry(),
            14 => {
                let mut reset = vec![0x15];
                reset.extend_from_slice(input.take(16));
                self.deliver(&reset);
            }
            _ => {
                let ticket = [input.u8(); TICKET_LEN];
                let expires = UnixSeconds(crate::world::CLOCK.0 + 900);
                let ticket = TicketFrame { misused: false, ticket: &ticket, service_key: &[1; 32], expires };
                let (number, (boot, tag)) = (input.u8(), self.hand.boot);
                let body = [b'h', b'a', b'n', b'd', self.hand.sessions as u8, number];
                let deadline = self.now + Duration::from_millis(u64::from(input.u8()) * 100);
                let command = CommandFrame { id: number.into(), boot, tag, deadline, kind: 1, body: &body };
                let ask = TimeSyncFrame { ask: true, ..TimeSyncFrame::stamp(self.now) };
                let frames = [
                    Frame::RekeyHint,
                    Frame::Credit(number.into()),
                    Frame::Ping([3; 8]),
                    Frame::Ticket(ticket),
                    Frame::Command(command),
                    Frame::TimeSync(ask),
                ];
                let mut payload = [0u8; 256];
                let mut writer = FrameWriter::new(&mut payload);
                writer.push(&frames[input.below(6)]).expect("room");
                let len = writer.finish().len();
                self.queue.extend(self.hand.seal(self.now, &payload[..len]));
            }
        }
    }

    fn answer_commands(&mut self, input: &mut Input<'_>) {
        let _ = self.device.sync_time(self.now);
        for id in core::mem::take(&mut self.commands) {
            let len = usize::from(input.u8() & 0x7f);
            let body = vec![9; len];
            let result = if len == 0 { Err(300) } else { Ok(&body[..]) };
            match self.device.command_result(id, result) {
                Ok(()) => assert!(len <= 64),
                Err(CallError::BadCommand(_)) => self.commands.push(id),
                Err(error) => assert_eq!(error, CallError::StaleHandle),
            }
        }
    }

    fn link(&mut self, link: Link) {
        self.max_packet = match link {
            Link::Down => 0,
            Link::Up { max_packet } => max_packet,
        };
        self.device.handle_link(self.now, link);
    }

    /// A buffer that is too small costs nothing, and one of the size that the error names will do.
    fn small_buffer(&mut self, len: usize) {
        let mut out = vec![0u8; len];
        match self.device.poll_transmit(self.now, &mut self.rng, &mut out) {
            Ok(Some(packet)) => {
                let packet = packet.to_vec();
                let reply = self.hand.take(self.now, &packet);
                self.queue.extend(reply);
            }
            Ok(None) => {}
            Err(CallError::BufferTooSmall(error)) => {
                assert!(error.needed > len);
                let mut out = vec![0u8; error.needed];
                let packet =
                    self.device.poll_transmit(self.now, &mut self.rng, &mut out).expect("as asked for");
                let packet = packet.expect("there was something to send").to_vec();
                let reply = self.hand.take(self.now, &packet);
                self.queue.extend(reply);
            }
            Err(error) => panic!("{error}"),
        }
        self.check_records();
    }

    /// A genuine Retry to the latest Hello.
    fn retry(&mut self) {
        if self.hand.last_hello.is_empty() {
            return;
        }
        let ik = self.hand.last_hello[1].is_multiple_of(2);
        let key = if ik {
            HelloKey::from_backend(&PublicKey(anchor(crate::world::Shape::Ik)))
        } else {
            HelloKey::from_authority(&SignatureKey(anchor(crate::world::Shape::Xx)))
        };
        let mut packet = [[0x14].as_slice(), &[0xcc; 16]].concat();
        let mac = key.retry_mac(&packet, self.hand.last_hello.last_chunk().expect("it ends in a MAC"));
        packet.extend_from_slice(&mac);
        self.queue.push(packet);
    }
}

pub fn run(data: &[u8]) {
    let world = world();
    let mut input = Input::new(data);
    let settings = input.u8();
    let mut outbox = vec![0u8; 4096];
    let mut config = world.device_config(0, outbox.len());
    config.smallest_packet = 128;
    config.psk = (settings & 1 != 0).then(|| (PSK_ID, psk()));
    config.pin = (settings & 2 != 0).then(|| BackendPin {
        key: world.backend.public_key(),
        identity: world.backend.identity().expect("a genuine credential"),
        credential: (settings & 4 != 0).then(|| *world.backend.credential()),
    });
    if settings & 8 != 0 {
        let policy =
            RekeyPolicy::default().hash_after_packets(3).and_then(|policy| policy.dh_after_packets(9));
        config.rekey = policy.and_then(|policy| policy.dh_interval(Duration::ZERO)).expect("low");
    }
    if settings & 16 != 0 {
        config.linger = [Duration::from_millis(200); 4];
    }
    let mut backlog = vec![0u8; 2 * 1088 + 4 * 400];
    let disk = (settings & 32 != 0).then(MemoryStorage::default);
    if settings & 32 != 0 {
        config.storage = Some(StorageConfig::new(StorageKey::from_bytes([0x77; 32]), backlog.len()));
    }
    config.listen = (settings & 64 != 0).then(|| Duration::from_millis(400));
    let memory = DeviceMemory { outbox: &mut outbox, descriptors: &world.set, backlog: &mut backlog };
    let device = Device::new(config, memory).expect("the configuration is valid");
    let hand = Hand {
        world,
        session: None,
        waiting: None,
        last_hello: Vec::new(),
        rng: SeedRng(2),
        heard: Vec::new(),
        asked: false,
        boot: (1, BootTag([0; 4])),
        sessions: 0,
    };
    let mut sim = Sim {
        device,
        hand,
        now: Instant::from_millis(1000),
        max_packet: 0,
        rng: SeedRng(1),
        records: BTreeMap::new(),
        next_value: 0,
        first_sample: 0,
        queue: Vec::new(),
        past: Vec::new(),
        disk,
        commands: Vec::new(),
        begun: BTreeSet::new(),
    };
    sim.link(Link::Up { max_packet: 512 });
    sim.device.connect(sim.now);
    for _ in 0..200 {
        if input.is_empty() {
            break;
        }
        sim.step(&mut input);
    }
    sim.drain(false);
}
