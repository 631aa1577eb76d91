//! A device and a backend, both genuine, over a hostile network, with an application that stores late and fails at
//! times.
//!
//! The device's descriptor set grows at times. With settings it has storage and gets tickets, and listens in windows only. The
//! backend sends commands and compares clocks.
//!
//! Held: what is delivered was recorded, unaltered, under its own time; each record is committed once, and delivered
//! once per failed store; forgeries and replays have no effect; once the network is faithful and the application stores
//! all, everything arrives within half an hour of virtual time and both ends are in step. What lanes trend and waveform
//! have given up for newer records is named by gap records, and only that may be missing.
//!
//! A command is done once at the most, in its time; what is said of its end is what happened.
//!
//! Input: settings (1 byte) ‖ operations.

use crate::input::Input;
use crate::world::{CLOCK, FURTHER, PSK_ID, SeedRng, hand_over, psk, world};
use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use vitalwire::backend::*;
use vitalwire::crypto::{ServiceKey, StorageKey, TicketKey};
use vitalwire::delivery::{Ledger, StreamKey};
use vitalwire::device::{
    BackendPin, CommandId as Handle, Device, DeviceMemory, DeviceReceived, Link, StorageConfig,
};
use vitalwire::framing::*;
use vitalwire::handshake::TicketKeys;
use vitalwire::identity::Scopes;
use vitalwire::session::RekeyPolicy;
use vitalwire::storage::{MemoryStorage, StorageReply};
use vitalwire::wire::ConnectionId;
use vitalwire::{CallError, CloseReason, Duration, Instant};

const MAX_BURST: usize = 400;
/// How long healing may take: the pause after a refusal is 5 minutes, an attempt half a minute, a dead backend is noticed
/// after one.
const HEALING: Duration = Duration::from_secs(30 * 60);

type Id = (u8, u64);

struct Sim<'m> {
    device: Device<'m>,
    backend: Backend<u64>,
    now: Instant,
    rng: SeedRng,
    max_packet: u16,
    path: u64,
    /// Packets under way, to the backend and to the device, and all that ever were.
    to_backend: Vec<Vec<u8>>,
    to_device: Vec<Vec<u8>>,
    past: [Vec<Vec<u8>>; 2],
    recorded: BTreeMap<Id, (u64, Vec<i32>)>,
    next_value: i32,
    first_sample: u64,
    batches: Vec<(BatchRef, StreamKey, Vec<Id>)>,
    outstanding: BTreeSet<Id>,
    committed: BTreeSet<Id>,
    /// Gap records that are not committed yet, and what those name that are.
    gaps: BTreeMap<Id, Gap>,
    named: Vec<(StreamKey, Range<u64>)>,
    /// The application refuses who comes.
    refusing: bool,
    /// What the application has stored.
    ledger: Ledger,
    psk: bool,
    /// How often the device's descriptor set has grown.
    grown: usize,
    /// The device's storage, if it has one, and whether it fails now.
    disk: Option<MemoryStorage>,
    failing: bool,
    claims: Claims,
    /// The commands that have not ended, by their bodies, and those that were begun.
    commands: HashMap<CommandId, u32>,
    next_command: u32,
    begun: BTreeSet<u32>,
    /// Commands that the device has not answered yet.
    unanswered: Vec<Handle>,
}

impl Sim<'_> {
    fn note(&mut self, accepted: vitalwire::delivery::Accepted, records: Vec<(u64, Vec<i32>)>) {
        assert_eq!(accepted.count as usize, records.len());
        for (index, record) in records.into_iter().enumerate() {
            let id = (accepted.lane.code(), accepted.first + index as u64);
            assert_eq!(self.recorded.insert(id, record), None, "an id twice");
        }
    }

    fn record(&mut self, lane: Lane) {
        self.next_value += 1;
        let values = Values::valid(&[self.next_value]).expect("one value");
        // Every other one on the newest channel.
        let newest = self.grown > 0 && self.next_value % 2 == 0;
        let channel = if newest { FURTHER + self.grown as u8 - 1 } else { 0 };
        let record = Record::Measurement(Measurement::new(channel, values));
        let content = vec![channel.into(), self.next_value];
        match self.device.record(self.now, lane, &record) {
            Ok(accepted) => self.note(accepted, vec![(self.now.as_millis(), content)]),
            Err(error) => assert_eq!(error, CallError::LaneFull),
        }
    }

    /// A waveform that fits one record.
    fn waveform(&mut self, samples: &[i32]) {
        if samples.is_empty() {
            return;
        }
        let block = WaveformBlock::new(3, self.first_sample, samples);
        match self.device.record(self.now, Lane::Waveform, &Record::Waveform(block)) {
            Ok(accepted) => {
                self.first_sample += samples.len() as u64;
                self.note(accepted, vec![(self.now.as_millis(), samples.to_vec())]);
            }
            Err(error) => assert_eq!(error, CallError::LaneFull),
        }
    }

    fn serve_storage(&mut self) {
        let Some(disk) = &mut self.disk else { return };
        for burst in 0.. {
            assert!(burst < MAX_BURST, "the device never stops asking");
            let Some(request) = self.device.poll_storage(self.now, &mut self.rng) else { break };
            let reply = if self.failing { StorageReply::Failed } else { disk.serve(request) };
            self.device.handle_storage(self.now, reply);
        }
    }

    fn command(&mut self, input: &mut Input<'_>) {
        let identity = world().devices[0].identity().expect("a genuine credential");
        self.next_command += 1;
        let body = self.next_command.to_le_bytes();
        let ttl = Duration::from_millis(1 + u64::from(input.u16()));
        let kind = u16::from(input.u8()) << 8;
        match self.backend.command(self.now, &identity, Command { kind, body: &body, ttl }) {
            Ok(id) => assert_eq!(self.commands.insert(id, self.next_command), None, "an id twice"),
            Err(error) => assert!(matches!(error, CallError::NoSession | CallError::TooManyCommands)),
        }
    }

    fn command_ended(&mut self, id: CommandId, outcome: CommandOutcome) {
        let number = self.commands.remove(&id).expect("it ends once");
        let begun = self.begun.contains(&number);
        match outcome {
            CommandOutcome::Done | CommandOutcome::Failed(_) => assert!(begun, "{outcome:?}, and not begun"),
            CommandOutcome::Refused(_) | CommandOutcome::NotSent => assert!(!begun, "{outcome:?}, and begun"),
            CommandOutcome::Unknown => {}
            other => panic!("an unknown outcome: {other:?}"),
        }
    }

    fn poll_device(&mut self) {
        self.serve_storage();
        for burst in 0.. {
            assert!(burst < MAX_BURST, "the device never stops sending");
            let mut out = [0u8; 1500];
            match self.device.poll_transmit(self.now, &mut self.rng, &mut out).expect("a large buffer") {
                Some(packet) => self.to_backend.push(packet.to_vec()),
                None => break,
            }
        }
        while self.device.poll_event().is_some() {}
        self.serve_storage();
    }

    fn poll_backend(&mut self) {
        while let Some(job) = self.backend.poll_handshake() {
            let done = job.run(&mut self.rng);
            self.backend.handle_handshake(self.now, done);
        }
        while let Some(event) = self.backend.poll_event() {
            let pending = match event {
                BackendEvent::Pending { pending, .. } | BackendEvent::Resuming { pending, .. } => pending,
                BackendEvent::CommandEnded { id, outcome, .. } => {
                    self.command_ended(id, outcome);
                    continue;
                }
                _ => continue,
            };
            if self.refusing {
                self.backend.refuse(self.now, pending, CloseReason::Refused).expect("it is pending");
                continue;
            }
            let (ledger, psk) = (self.ledger.clone(), self.psk.then(psk));
            let grant = Grant { scopes: Scopes::from_bits(0x3f), ledger, psk, ..Grant::default() };
            let decided = match event {
                BackendEvent::Resuming { claim, .. } => {
                    let outcome = self.claims.claim(CLOCK, &claim);
                    self.backend.claimed(self.now, pending, outcome, grant)
                }
                _ => self.backend.accept(self.now, pending, grant),
            };
            decided.expect("it is pending");
        }
        while let Some(job) = self.backend.poll_handshake() {
            let done = job.run(&mut self.rng);
            self.backend.handle_handshake(self.now, done);
        }
        while let Some(batch) = self.backend.poll_early() {
            self.deliver(&batch);
        }
        for burst in 0.. {
            assert!(burst < MAX_BURST, "the backend never stops sending");
            let mut out = [0u8; 1500];
            let sent = self.backend.poll_transmit(self.now, &mut self.rng, &mut out).expect("a large buffer");
            let Some(sent) = sent else { break };
            if sent.path == self.path {
                self.to_device.push(sent.packet.to_vec());
            }
        }
    }

    fn give_device(&mut self, packet: &[u8]) {
        let mut copy = packet.to_vec();
        let (now, begun, unanswered) = (self.now, &mut self.begun, &mut self.unanswered);
        let next = self.next_command;
        self.device.handle_packet(now, &mut copy, &mut |received| {
            if let DeviceReceived::Command { id, body, deadline, .. } = received {
                let number = u32::from_le_bytes(body.try_into().expect("as it was given"));
                assert!((1..=next).contains(&number) && deadline > now);
                assert!(begun.insert(number), "a command twice");
                unanswered.push(id);
            }
        });
    }

    fn answer_commands(&mut self) {
        for (index, id) in core::mem::take(&mut self.unanswered).into_iter().enumerate() {
            let result = if index % 2 == 0 { Ok(&b"done"[..]) } else { Err(7) };
            let answered = self.device.command_result(id, result);
            assert!(matches!(answered, Ok(()) | Err(CallError::StaleHandle)));
            assert_eq!(self.device.command_result(id, result), Err(CallError::StaleHandle), "answered twice");
        }
    }

    fn give_backend(&mut self, path: u64, packet: &[u8]) -> usize {
        let batches = hand_over(&mut self.backend, self.now, path, packet);
        let count = batches.len();
        batches.iter().for_each(|batch| self.deliver(batch));
        count
    }

    fn deliver(&mut self, owned: &OwnedBatch) {
        let batch = owned.as_batch();
        let lane = batch.stream().lane.code();
        let mut ids = Vec::new();
        for record in batch.records() {
            let id = (lane, record.sequence);
            assert!(!self.committed.contains(&id), "delivered after its commit");
            assert!(self.outstanding.insert(id), "delivered twice");
            ids.push(id);
            let values: Vec<i32> = match &record.record {
                Record::Measurement(measurement) => {
                    let values = measurement.values.iter().map(|value| value.valid().expect("valid"));
                    [measurement.channel.into()].into_iter().chain(values).collect()
                }
                Record::Waveform(block) => block.samples().collect(),
                Record::Gap(gap) => {
                    assert!(!self.recorded.contains_key(&id), "an id twice");
                    self.gaps.insert(id, *gap);
                    continue;
                }
                _ => panic!("another kind"),
            };
            assert_eq!(self.recorded.get(&id), Some(&(record.time.as_millis(), values)), "never recorded");
        }
        self.batches.push((batch.handle(), batch.stream(), ids));
    }

    fn settle(&mut self, at: usize, stored: bool) {
        let (batch, stream, ids) = self.batches.remove(at);
        for id in &ids {
            assert!(self.outstanding.remove(id));
        }
        if stored {
            let Committed::Settled(mark) = self.backend.commit(self.now, batch) else {
                panic!("it was outstanding")
            };
            assert_eq!(mark.mask.count_ones() as usize, ids.len());
            let fresh = self.ledger.apply(&mark).expect("the ledger is not full");
            // While it waited, a lane that gives up may have: later batches have settled what is below theirs then.
            let gives_up = matches!(mark.stream.lane, Lane::Trend | Lane::Waveform);
            assert!(fresh == mark.mask || gives_up, "a repeat");
            for id in ids.into_iter().filter(|id| fresh >> (id.1 - mark.first) & 1 == 1) {
                self.named.extend(self.gaps.get(&id).map(|gap| stream.named_by(gap)));
                self.committed.insert(id);
            }
        } else {
            self.backend.release(self.now, batch);
        }
    }

    fn link(&mut self, max_packet: u16) {
        self.max_packet = max_packet;
        let link = if max_packet == 0 { Link::Down } else { Link::Up { max_packet } };
        self.device.handle_link(self.now, link);
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let op = input.u8();
        match op & 15 {
            0 => self.poll_device(),
            1 => self.poll_backend(),
            2 | 3 if !self.to_backend.is_empty() => {
                // In order, or any one; the old ones get lost.
                let at = if op & 0x80 == 0 { 0 } else { input.below(self.to_backend.len()) };
                let packet = self.to_backend.remove(at);
                self.give_backend(self.path, &packet);
                self.past[0].push(packet);
            }
            4 | 5 if !self.to_device.is_empty() => {
                let at = if op & 0x80 == 0 { 0 } else { input.below(self.to_device.len()) };
                let packet = self.to_device.remove(at);
                self.give_device(&packet);
                self.past[1].push(packet);
            }
            6 => {
                let kept = if op & 0x10 == 0 { &mut self.to_backend } else { &mut self.to_device };
                kept.retain(|_| input.u8() & 1 == 1);
            }
            7 => self.exchange(),
            8 => {
                let lane = Lane::ALL[usize::from(op >> 4 & 3)];
                (0..1 + input.below(24)).for_each(|_| self.record(lane));
            }
            9 => {
                let samples: Vec<i32> =
                    input.take(usize::from(op >> 4) * 4).iter().map(|&byte| byte.into()).collect();
                self.waveform(&samples);
            }
            10 => {
                let step = u64::from(input.u16());
                self.now = self.now + Duration::from_millis(if op & 0x80 == 0 { step } else { step * 40 });
                self.device.handle_timeout(self.now);
                self.backend.handle_timeout(self.now);
            }
            11 if !self.batches.is_empty() => {
                let at = input.below(self.batches.len());
                self.settle(at, op & 0x30 != 0);
            }
            12 => self.hostile(op, input),
            13 => match op >> 4 & 7 {
                0 => self.link(0),
                1 => self.link(128 + u16::from(input.u8()) * 4),
                2 => self.device.rekey(),
                3 => {
                    let identity = world().devices[0].identity().expect("a genuine credential");
                    let _ = self.backend.hint_rekey(&identity);
                }
                4 => {
                    let identity = world().devices[0].identity().expect("a genuine credential");
                    let _ = self.backend.disconnect(&identity, CloseReason::Draining);
                }
                5 => self.path = input.below(4) as u64,
                6 => self.device.connect(self.now),
                _ => self.refusing = !self.refusing,
            },
            14 if op & 0x80 != 0 => {
                if let Some(set) = world().grown.get(self.grown) {
                    self.device.extend_descriptors(self.now, set).expect("it extends the one before");
                    self.grown += 1;
                }
            }
            14 => match op >> 4 {
                1 => self.command(input),
                2 => self.answer_commands(),
                3 => self.compare_clocks(),
                4 => self.failing = !self.failing,
                5 => self.device.store_all(),
                6 => drop((self.device.radio(self.now), self.device.wall_time(self.now))),
                _ => self.device.disconnect(),
            },
            _ => self.device.connect(self.now),
        }
    }

    fn compare_clocks(&mut self) {
        let wall = WallReading {
            unix_millis: CLOCK.0 * 1000 + self.now.as_millis(),
            quality: ClockQuality::Synchronised,
            error: Duration::from_millis(20),
        };
        self.backend.set_wall_time(self.now, wall);
        let identity = world().devices[0].identity().expect("a genuine credential");
        let connected = self.device.is_connected();
        assert_eq!(self.device.sync_time(self.now).is_ok(), connected);
        let _ = self.backend.sync_time(self.now, &identity);
    }

    /// Replays and forgeries.
    fn hostile(&mut self, op: u8, input: &mut Input<'_>) {
        let to_device = op & 0x10 != 0;
        let replay = op & 0x20 != 0;
        let from = match (to_device, replay) {
            (_, true) => &self.past[usize::from(to_device)],
            (true, false) => &self.to_device,
            (false, false) => &self.to_backend,
        };
        if from.is_empty() {
            return;
        }
        let mut packet = from[input.below(from.len())].clone();
        if !replay && !input.mutate(&mut packet) {
            return;
        }
        let connected = self.device.is_connected();
        if to_device {
            self.give_device(&packet);
            assert!(replay || self.device.is_connected() == connected);
        } else {
            let path = if op & 0x40 == 0 { 77 } else { self.path };
            let count = self.give_backend(path, &packet);
            assert!(replay || count == 0, "a batch out of a forgery");
        }
    }

    /// Panics if a record is neither committed nor named by a gap record that is.
    fn check_nothing_lost(&self) {
        for lane in Lane::ALL {
            let missing =
                self.recorded.keys().filter(|id| id.0 == lane.code() && !self.committed.contains(id));
            let mut count = 0;
            for id in missing {
                let named =
                    self.named.iter().any(|(stream, range)| stream.lane == lane && range.contains(&id.1));
                assert!(named, "{id:?} was lost");
                count += 1;
            }
            assert!(count <= self.device.fill(lane).dropped, "{count} of {lane:?} are missing");
            let gives_up = matches!(lane, Lane::Trend | Lane::Waveform);
            assert!(gives_up || count == 0, "{lane:?} has given up {count}");
        }
    }

    /// All packets arrive, in order, both ways, and the application stores what it got.
    fn exchange(&mut self) {
        self.poll_device();
        for packet in core::mem::take(&mut self.to_backend) {
            self.give_backend(self.path, &packet);
            self.past[0].push(packet);
        }
        self.poll_backend();
        for packet in core::mem::take(&mut self.to_device) {
            self.give_device(&packet);
            self.past[1].push(packet);
        }
        self.serve_storage();
    }

    fn heal(&mut self) {
        (self.refusing, self.failing) = (false, false);
        self.to_backend.clear();
        self.to_device.clear();
        if self.max_packet == 0 {
            self.link(512);
        }
        self.device.connect(self.now);
        let end = self.now + HEALING;
        for round in 0.. {
            assert!(round < 20_000, "no end of rounds");
            self.exchange();
            while !self.batches.is_empty() {
                self.settle(0, true);
            }
            self.answer_commands();
            self.exchange();
            if self.device.is_drained() && self.device.is_connected() {
                break;
            }
            let timers =
                [self.device.poll_timeout(), self.backend.poll_timeout()].into_iter().flatten().min();
            let next = timers.expect("somebody must have something to wait for");
            self.now = next.max(self.now + Duration::from_millis(1));
            assert!(self.now <= end, "not healed in time: drained {}", self.device.is_drained());
            self.device.handle_timeout(self.now);
            self.backend.handle_timeout(self.now);
        }
        self.exchange();
        self.check_nothing_lost();
        self.check_in_step();
    }

    /// The secrets agree: a rekey goes through, and another record after it.
    fn check_in_step(&mut self) {
        let identity = world().devices[0].identity().expect("a genuine credential");
        for _ in 0..2 {
            let before = self.device.ratchets().1;
            // A ratchet waits for the interval of 60 s, and for the previous epoch's packets, at most 120 s.
            for _ in 0..40 {
                // Again and again: the wish ends with a session that another attempt replaces.
                self.device.rekey();
                self.record(Lane::Event);
                self.exchange();
                while !self.batches.is_empty() {
                    self.settle(0, true);
                }
                self.exchange();
                if self.device.ratchets().1 > before {
                    break;
                }
                self.now = self.now + Duration::from_secs(10);
                self.device.handle_timeout(self.now);
                self.backend.handle_timeout(self.now);
            }
        }
        assert!(self.device.is_connected() && self.device.is_drained());
        let ratchets = self.device.ratchets();
        assert_eq!(Some(ratchets), self.backend.ratchets(&identity));
        // A session that another attempt has replaced meanwhile starts to count anew.
        assert!(ratchets.1 > 0, "a DH ratchet was asked for");
        self.check_nothing_lost();
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
    if settings & 32 != 0 {
        config.connection_id = ConnectionId::new(b"abc").expect("3 bytes");
    }
    let mut backend_config = world.backend_config();
    if settings & 8 != 0 {
        let policy =
            RekeyPolicy::default().hash_after_packets(3).and_then(|policy| policy.dh_after_packets(9));
        config.rekey = policy.and_then(|policy| policy.dh_interval(Duration::ZERO)).expect("low");
        backend_config.rekey = config.rekey;
    }
    if settings & 16 != 0 {
        (backend_config.max_sessions, backend_config.max_half_open) = (8, 3);
    }
    let mut backend = Backend::new(backend_config).expect("the configuration is valid");
    backend.enrol(PSK_ID, psk(), world.devices[0].identity().expect("a genuine credential"));
    let mut backlog = vec![0u8; 2 * 1088 + 4 * 400];
    let disk = (settings & 64 != 0).then(MemoryStorage::default);
    if settings & 64 != 0 {
        config.storage = Some(StorageConfig::new(StorageKey::from_bytes([0x77; 32]), backlog.len()));
        let keys = TicketKeys::new(ServiceKey::from_bytes([1; 32]), TicketKey::from_bytes([2; 32]), None);
        backend.set_ticket_keys(keys);
    }
    config.listen = (settings & 128 != 0).then(|| Duration::from_millis(400));
    let memory = DeviceMemory { outbox: &mut outbox, descriptors: &world.set, backlog: &mut backlog };
    let mut sim = Sim {
        device: Device::new(config, memory).expect("the configuration is valid"),
        backend,
        now: Instant::from_millis(1000),
        rng: SeedRng(1),
        max_packet: 0,
        path: 1,
        to_backend: Vec::new(),
        to_device: Vec::new(),
        past: [Vec::new(), Vec::new()],
        recorded: BTreeMap::new(),
        next_value: 0,
        first_sample: 0,
        batches: Vec::new(),
        outstanding: BTreeSet::new(),
        committed: BTreeSet::new(),
        gaps: BTreeMap::new(),
        named: Vec::new(),
        refusing: false,
        ledger: Ledger::default(),
        psk: settings & 1 != 0,
        grown: 0,
        disk,
        failing: false,
        claims: Claims::new(1000),
        commands: HashMap::new(),
        next_command: 0,
        begun: BTreeSet::new(),
        unanswered: Vec::new(),
    };
    sim.link(512);
    sim.device.connect(sim.now);
    for _ in 0..150 {
        if input.is_empty() {
            break;
        }
        sim.step(&mut input);
    }
    sim.heal();
}
