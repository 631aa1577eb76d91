//! A device that reboots, its storage, and a backend with ticket keys: what the targets `storage` and `tickets` share.
//!
//! The storage does its work, fails, lies, loses power, is damaged or put back to an earlier image; the store of claims
//! answers as it should, or not; Hellos are replayed and altered.
//!
//! Held:
//! - No panic, and both run loops come to rest.
//! - No counter of entries is used twice for one boot and tag, and no salt of an item twice.
//! - As long as the storage is honest: an entry that can be opened is not trimmed before its records are settled, nor does
//!   its boot or its descriptor set go before; and what the device said is stored arrives, whatever happens to its power.
//! - What is delivered was recorded, unaltered, under its time and sequence; not after its commit, unless the storage was
//!   put back. Everything that is sent decodes.
//! - A ticket goes into one Hello only, and it is not in storage then; nothing of a Hello is delivered unless the claim was new.
//! - In the end, with an honest storage, everything drains and is stored.
//!
//! Input: settings (1 byte) ‖ operations.

use crate::disk::{Answer, Asked, entries};
use crate::input::Input;
use crate::world::{CLOCK, SeedRng, World, hand_over, world};
use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};
use vitalwire::backend::*;
use vitalwire::crypto::{ServiceKey, StorageKey, TicketKey};
use vitalwire::delivery::{Ledger, StreamKey};
use vitalwire::device::*;
use vitalwire::framing::*;
use vitalwire::handshake::{TicketId, TicketKeys};
use vitalwire::identity::Scopes;
use vitalwire::storage::{BootTable, EntryHeader, ITEM_OVERHEAD, Item, MemoryStorage, SegmentKey};
use vitalwire::wire::Hello;
use vitalwire::{CallError, CloseReason, Discard, Duration, Instant};

/// More packets or requests than this at one instant are a loop.
const MAX_BURST: usize = 600;
/// How long it may take until all is drained in the end.
const HEALING: Duration = Duration::from_secs(45 * 60);

const KEY: [u8; 32] = [0x77; 32];

pub fn storage_key() -> StorageKey {
    StorageKey::from_bytes(KEY)
}

/// What was recorded.
#[derive(Clone, Copy, Debug)]
struct Given {
    life: usize,
    lane: Lane,
    sequence: u64,
    millis: u64,
}

struct Rig {
    world: &'static World,
    disk: MemoryStorage,
    image: Option<MemoryStorage>,
    backend: Backend<u64>,
    now: Instant,
    rng: SeedRng,
    settings: u8,
    lives: usize,
    /// Each value is recorded once.
    given: BTreeMap<i32, Given>,
    /// Values that the device said are stored.
    promised: BTreeSet<i32>,
    /// The records' values; a gap has none.
    committed: BTreeMap<(StreamKey, u64), Option<i32>>,
    /// What the committed gap records name.
    named: Vec<(StreamKey, Range<u64>)>,
    /// The boot of each life, once it was known.
    boots: BTreeMap<usize, u32>,
    arrived: BTreeSet<i32>,
    ledger: Ledger,
    held: Vec<OwnedBatch>,
    hold: bool,
    claims: Claims,
    claim: Option<ClaimOutcome>,
    hellos: BTreeMap<TicketId, Vec<u8>>,
    past: Vec<Vec<u8>>,
    counters: BTreeMap<(u32, [u8; 4], u32), Vec<u8>>,
    salts: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The storage was damaged or put back, or has lied: it need not keep its promises.
    tampered: bool,
    /// Entries of this life of which the storage said that it had failed.
    orphans: BTreeSet<Vec<u8>>,
    /// In this life the device has given the storage up: it uses none of what an earlier life left there.
    without_storage: bool,
}

/// How the storage behaves in one call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Honest,
    Hostile,
}

struct PowerCut;

/// What a record says, if it is no gap.
fn value(record: &Record<'_>) -> Option<i32> {
    match record {
        Record::Measurement(measurement) => Some(measurement.values[0].valid().expect("valid")),
        Record::Gap(_) => None,
        other => panic!("another kind: {other:?}"),
    }
}

impl Rig {
    fn new(settings: u8) -> Self {
        let world = world();
        let mut backend = Backend::new(world.backend_config()).expect("the configuration is valid");
        if settings & 1 != 0 {
            let keys = TicketKeys::new(ServiceKey::from_bytes([1; 32]), TicketKey::from_bytes([2; 32]), None);
            backend.set_ticket_keys(keys);
        }
        let capacity = if settings & 2 != 0 { 700 } else { usize::MAX };
        let disk = MemoryStorage::new([capacity; 4], usize::MAX);
        Self {
            world,
            disk,
            image: None,
            backend,
            now: Instant::from_millis(1000),
            rng: SeedRng(1),
            settings,
            lives: 0,
            given: BTreeMap::new(),
            promised: BTreeSet::new(),
            committed: BTreeMap::new(),
            named: Vec::new(),
            boots: BTreeMap::new(),
            arrived: BTreeSet::new(),
            ledger: Ledger::default(),
            held: Vec::new(),
            hold: false,
            claims: Claims::new(if settings & 4 != 0 { 2 } else { 1000 }),
            claim: None,
            hellos: BTreeMap::new(),
            past: Vec::new(),
            counters: BTreeMap::new(),
            salts: BTreeMap::new(),
            tampered: false,
            orphans: BTreeSet::new(),
            without_storage: false,
        }
    }

    fn table(&self, item: Option<&[u8]>) -> Option<BootTable> {
        BootTable::open(&storage_key(), &mut item?.to_vec()).ok()
    }

    /// The header of an entry, if it can be opened with a table.
    fn open(&self, table: &BootTable, lane: Lane, entry: &[u8]) -> Option<EntryHeader> {
        let header = EntryHeader::parse(entry).filter(|header| header.lane == lane)?;
        let (_, boot) = table.find(header.boot, header.tag)?;
        let key = SegmentKey::new(&storage_key(), &boot.salt);
        header.open(&key, &mut entry.to_vec()).ok()?;
        Some(header)
    }

    fn is_settled(&self, header: &EntryHeader) -> bool {
        let stream = StreamKey { boot: header.boot, tag: header.tag, lane: header.lane };
        (header.first..header.end()).all(|sequence| self.committed.contains_key(&(stream, sequence)))
    }

    /// Looks at what the device wants of its storage.
    fn audit(&mut self, asked: &Asked) {
        match asked {
            Asked::Append(lane, entry) => {
                let header = EntryHeader::parse(entry).expect("the device writes whole entries");
                assert_eq!(header.lane, *lane);
                let name = (header.boot, header.tag.0, header.counter);
                let known = self.counters.entry(name).or_insert_with(|| entry.clone());
                assert_eq!(known, entry, "a counter was used twice");
                if !self.tampered {
                    let table = self.table(self.disk.item(Item::Boots)).expect("it was stored");
                    assert!(self.open(&table, *lane, entry).is_some(), "nobody could open this entry");
                }
            }
            Asked::Put(item, value) => {
                let salt = value[..ITEM_OVERHEAD - 16].to_vec();
                let known = self.salts.entry(salt).or_insert_with(|| value.clone());
                assert_eq!(known, value, "a salt was used twice");
                if self.tampered {
                    return;
                }
                let before = self.table(self.disk.item(Item::Boots));
                let after = if *item == Item::Boots { self.table(Some(&value[..])) } else { before.clone() };
                let (Some(before), Some(after)) = (before, after) else { return };
                for (lane, number, entry) in entries(&self.disk) {
                    let Some(header) = self.open(&before, lane, entry) else { continue };
                    let listed = after.find(header.boot, header.tag);
                    let mut kept = listed.is_some();
                    if let (Item::Descriptors(place), Some((_, boot))) = (item, listed) {
                        let own = (header.boot, header.tag) == (after.latest, after.latest_tag);
                        kept = boot.place != *place || own;
                    }
                    let settled = self.is_settled(&header) || self.orphans.contains(entry);
                    assert!(kept || settled, "entry {number} of {lane:?} can be read no more");
                }
            }
            Asked::Trim(lane, through) if !self.tampered => {
                let Some(table) = self.table(self.disk.item(Item::Boots)) else { return };
                for (number, entry) in self.disk.entries(*lane).take_while(|(number, _)| number <= through) {
                    let Some(header) = self.open(&table, *lane, entry) else { continue };
                    let settled = self.is_settled(&header) || self.orphans.contains(entry);
                    assert!(settled, "entry {number} of {lane:?} is trimmed and not settled: {header:?}");
                }
            }
            _ => {}
        }
    }

    /// What the storage answers in a bad mood.
    fn hostile(&mut self, asked: &Asked, input: &mut Input<'_>) -> Result<Answer, PowerCut> {
        let choice = input.u8();
        if choice & 15 > 7 {
            self.tampered = true;
        }
        Ok(match choice & 15 {
            0..4 => self.disk.serve(asked.lend()).into(),
            4 => Answer::Failed,
            5 => {
                self.disk.serve(asked.lend());
                if let Asked::Append(_, entry) = asked {
                    self.orphans.insert(entry.clone());
                }
                Answer::Failed
            }
            6 if matches!(asked, Asked::Append(..) | Asked::Put(..)) => Answer::Full,
            6 => Answer::Failed,
            7 => {
                if choice & 0x10 != 0 {
                    self.disk.serve(asked.lend());
                }
                return Err(PowerCut);
            }
            8 => Answer::Entry { number: input.u8().into(), bytes: input.short().to_vec() },
            9 => Answer::Value(Some(input.long().to_vec())),
            10 => [Answer::Done, Answer::End, Answer::Value(None), Answer::Full][input.below(4)].clone(),
            11 => {
                let number =
                    if choice & 0x10 == 0 { input.u8().into() } else { u64::MAX - u64::from(input.u8()) };
                Answer::Appended { number, free: input.u16().into() }
            }
            12 => match self.disk.serve(asked.lend()).into() {
                Answer::Entry { number, mut bytes } => {
                    input.mutate(&mut bytes);
                    Answer::Entry { number, bytes }
                }
                Answer::Value(Some(mut value)) => {
                    input.mutate(&mut value);
                    Answer::Value(Some(value))
                }
                other => other,
            },
            13 => {
                // Another genuine entry, under any number.
                let all: Vec<_> = entries(&self.disk).map(|(.., bytes)| bytes.to_vec()).collect();
                let number = u64::from(input.u8());
                let bytes = all.get(input.below(all.len().max(1))).cloned();
                bytes.map_or(Answer::End, |bytes| Answer::Entry { number, bytes })
            }
            14 => {
                // Another genuine item.
                let all: Vec<_> = self.disk.items().map(|(_, value)| value.to_vec()).collect();
                Answer::Value(all.get(input.below(all.len().max(1))).cloned())
            }
            // It says that it was done, and it was not.
            _ => Answer::Done,
        })
    }

    /// Alters what is stored.
    fn damage(&mut self, input: &mut Input<'_>) {
        self.tampered = true;
        let choice = input.u8();
        let lane = Lane::ALL[usize::from(choice >> 6)];
        let disk = &mut self.disk;
        if choice & 8 != 0 {
            let names = [Item::Boots, Item::Ticket, Item::Descriptors(choice >> 6), Item::Descriptors(0)];
            let item = names[usize::from(choice >> 4 & 3)];
            let value = |name| disk.item(name).map(<[u8]>::to_vec);
            let new = match choice & 7 {
                0 => None,
                1 => Some(input.long().to_vec()),
                2 => value(names[input.below(4)]).or_else(|| value(item)),
                _ => value(item).map(|mut value| {
                    input.mutate(&mut value);
                    value
                }),
            };
            return disk.set_item(item, new.as_deref());
        }
        let stored: Vec<(u64, Vec<u8>)> =
            disk.entries(lane).map(|(number, bytes)| (number, bytes.to_vec())).collect();
        if stored.is_empty() {
            return;
        }
        let (at, mut entry) = stored[input.below(stored.len())].clone();
        let (other, second) = &stored[input.below(stored.len())];
        match choice & 7 {
            0 => disk.set_entry(lane, at, None),
            1 => {
                // Two in the wrong order, or one twice.
                if choice & 16 == 0 {
                    disk.set_entry(lane, *other, Some(&entry));
                }
                disk.set_entry(lane, at, Some(second));
            }
            2 => {
                stored.iter().filter(|(number, _)| *number > at).for_each(|(number, _)| {
                    disk.set_entry(lane, *number, None);
                });
            }
            // Into another region.
            3 => disk.set_entry(Lane::ALL[(lane.index() + 1) & 3], at, Some(&entry)),
            4 => disk.set_entry(lane, at, Some(input.long())),
            _ => {
                input.mutate(&mut entry);
                disk.set_entry(lane, at, Some(&entry));
            }
        }
    }

    /// Takes what the backend delivered.
    fn deliver(&mut self, owned: OwnedBatch) {
        let batch = owned.as_batch();
        for record in batch.records() {
            let id = (batch.stream(), record.sequence);
            let value = value(&record.record);
            if let Some(value) = value {
                let given = self.given.get(&value).expect("never recorded");
                let name = (given.lane, given.sequence, given.millis);
                assert_eq!(name, (batch.stream().lane, record.sequence, record.time.as_millis()));
            }
            let known = self.committed.get(&id);
            assert!(known.is_none_or(|known| *known == value), "one id, two records");
            assert!(self.tampered || known.is_none(), "delivered after its commit");
        }
        self.held.push(owned);
        if !self.hold {
            self.commit();
        }
    }

    fn commit(&mut self) {
        for owned in core::mem::take(&mut self.held) {
            let batch = owned.as_batch();
            let Committed::Settled(mark) = self.backend.commit(self.now, batch.handle()) else { continue };
            batch.closed().iter().for_each(|closed| self.ledger.close(closed));
            self.ledger.apply(&mark).expect("the ledger is not full");
            for record in batch.records() {
                let value = value(&record.record);
                self.committed.insert((batch.stream(), record.sequence), value);
                self.arrived.extend(value);
                if let Record::Gap(gap) = &record.record {
                    self.named.push(batch.stream().named_by(gap));
                }
            }
        }
    }

    fn grant(&self) -> Grant {
        Grant { scopes: Scopes::PUBLISH, ledger: self.ledger.clone(), ..Grant::default() }
    }

    fn run_jobs(&mut self) {
        while let Some(job) = self.backend.poll_handshake() {
            let done = job.run(&mut self.rng);
            self.backend.handle_handshake(self.now, done);
        }
    }

    fn backend_to_rest(&mut self) {
        self.run_jobs();
        for turn in 0.. {
            assert!(turn < MAX_BURST, "events without end");
            let Some(event) = self.backend.poll_event() else { break };
            match event {
                BackendEvent::Pending { pending, .. } => {
                    self.backend.accept(self.now, pending, self.grant()).expect("it is pending");
                    self.run_jobs();
                }
                BackendEvent::Resuming { pending, claim } => {
                    let outcome = self.claim.unwrap_or_else(|| self.claims.claim(CLOCK, &claim));
                    self.backend.claimed(self.now, pending, outcome, self.grant()).expect("it is pending");
                    self.run_jobs();
                    for turn in 0.. {
                        let Some(batch) = self.backend.poll_early() else { break };
                        assert_eq!(outcome, ClaimOutcome::New, "delivered without a claim");
                        assert!(turn < 4, "a Hello has a batch per lane at the most");
                        self.deliver(batch);
                    }
                }
                _ => {}
            }
        }
        assert!(self.backend.poll_early().is_none(), "delivered without a claim");
    }

    /// Hands a packet to the backend; only what the device has sent may be delivered.
    fn give_backend(&mut self, path: u64, packet: &[u8]) -> usize {
        let batches = hand_over(&mut self.backend, self.now, path, packet);
        let count = batches.len();
        batches.into_iter().for_each(|batch| self.deliver(batch));
        self.backend_to_rest();
        count
    }

    fn packets_of_backend(&mut self) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        for burst in 0.. {
            assert!(burst < MAX_BURST, "the backend never stops sending");
            let mut out = [0u8; 1500];
            let sent = self.backend.poll_transmit(self.now, &mut self.rng, &mut out).expect("a large buffer");
            let Some(sent) = sent else { break };
            if sent.path == 1 {
                packets.push(sent.packet.to_vec());
            }
        }
        packets
    }

    fn note_hello(&mut self, packet: &[u8]) {
        let Ok(hello) = Hello::parse(packet) else { return };
        let Some(ticket) = hello.ticket else { return };
        let known = self.hellos.entry(TicketId::of(ticket)).or_insert_with(|| packet.to_vec());
        assert!(self.tampered || known == packet, "a ticket in two Hellos");
        let stored = self.disk.item(Item::Ticket).is_some();
        assert!(self.tampered || self.without_storage || !stored, "the ticket is still in storage");
    }
}

/// One boot of the device.
struct Life<'r, 'm> {
    rig: &'r mut Rig,
    device: Device<'m>,
    number: usize,
}

impl Life<'_, '_> {
    fn record(&mut self, lane: Lane) {
        let rig = &mut *self.rig;
        let value = rig.given.len() as i32;
        let record = Record::Measurement(Measurement::new(0, Values::valid(&[value]).expect("one value")));
        match self.device.record(rig.now, lane, &record) {
            Ok(accepted) => {
                let given =
                    Given { life: self.number, lane, sequence: accepted.first, millis: rig.now.as_millis() };
                rig.given.insert(value, given);
            }
            Err(error) => assert_eq!(error, CallError::LaneFull),
        }
    }

    fn serve(&mut self, input: &mut Input<'_>, mood: Mood) -> Result<(), PowerCut> {
        for burst in 0.. {
            assert!(burst < MAX_BURST, "the device never stops asking");
            let rig = &mut *self.rig;
            let Some(request) = self.device.poll_storage(rig.now, &mut rig.rng) else { break };
            let asked = Asked::from(request);
            rig.audit(&asked);
            let again = self.device.poll_storage(rig.now, &mut rig.rng).map(Asked::from);
            assert_eq!(again.as_ref(), Some(&asked), "a request stands until its answer");
            let honest = mood == Mood::Honest || input.is_empty();
            let answer =
                if honest { rig.disk.serve(asked.lend()).into() } else { rig.hostile(&asked, input)? };
            self.device.handle_storage(rig.now, answer.lend());
        }
        self.note_promises();
        Ok(())
    }

    fn note_promises(&mut self) {
        self.rig.boots.extend(self.device.boot().map(|boot| (self.number, boot)));
        if self.rig.tampered {
            return;
        }
        for lane in Lane::ALL {
            let Some(through) = self.device.stored_through(lane) else { continue };
            let given = self.rig.given.iter().filter(|(_, given)| {
                given.life == self.number && given.lane == lane && given.sequence <= through
            });
            self.rig.promised.extend(given.map(|(value, _)| *value));
        }
    }

    /// Packets of the device to the backend, and back; some of them are lost.
    fn exchange(&mut self, lost: [bool; 2]) {
        self.note_events();
        for burst in 0.. {
            assert!(burst < MAX_BURST, "the device never stops sending");
            let mut out = [0u8; 1500];
            let rig = &mut *self.rig;
            let sent = self.device.poll_transmit(rig.now, &mut rig.rng, &mut out).expect("a large buffer");
            let Some(packet) = sent else { break };
            let packet = packet.to_vec();
            rig.note_hello(&packet);
            if !lost[0] {
                rig.give_backend(1, &packet);
            }
            if rig.past.len() < 40 && packet[0] & 0x80 == 0 {
                rig.past.push(packet);
            }
        }
        for packet in self.rig.packets_of_backend() {
            if !lost[1] {
                let mut copy = packet;
                self.device.handle_packet(self.rig.now, &mut copy, &mut |_| {});
            }
        }
        self.note_events();
    }

    fn note_events(&mut self) {
        while let Some(event) = self.device.poll_event() {
            self.rig.without_storage |= event == DeviceEvent::StorageTrouble(StorageTrouble::Unavailable);
        }
    }

    fn advance(&mut self, step: Duration) {
        self.rig.now = self.rig.now + step;
        self.device.handle_timeout(self.rig.now);
        self.rig.backend.handle_timeout(self.rig.now);
        self.rig.backend_to_rest();
    }

    /// Does what the input says until the next reboot, or its end.
    fn step(&mut self, input: &mut Input<'_>) -> Result<(), PowerCut> {
        let op = input.u8();
        match op & 15 {
            0 => self.exchange([op & 0x10 != 0, op & 0x20 != 0]),
            1 => self.serve(input, Mood::Honest)?,
            2 => self.serve(input, Mood::Hostile)?,
            3 => {
                let lane = Lane::ALL[usize::from(op >> 4 & 3)];
                (0..1 + input.below(24)).for_each(|_| self.record(lane));
            }
            4 => {
                let step = u64::from(input.u16());
                self.advance(Duration::from_millis(if op & 0x80 == 0 { step } else { step * 40 }));
            }
            5 => return Err(PowerCut),
            6 => self.rig.damage(input),
            7 if op & 0x10 == 0 => self.rig.image = Some(self.rig.disk.clone()),
            7 => {
                if let Some(image) = self.rig.image.clone() {
                    (self.rig.disk, self.rig.tampered) = (image, true);
                    return Err(PowerCut);
                }
            }
            8 => {
                let link = if op & 0x10 == 0 { Link::Down } else { Link::Up { max_packet: 512 } };
                self.device.handle_link(self.rig.now, link);
            }
            9 if op & 0x10 == 0 => self.device.disconnect(),
            9 => self.device.connect(self.rig.now),
            10 if op & 0x10 == 0 => self.device.store_all(),
            10 => {
                // An answer, asked for or not.
                let answer = Answer::Entry { number: input.u8().into(), bytes: input.short().to_vec() };
                self.rig.tampered = true;
                self.device.handle_storage(self.rig.now, answer.lend());
            }
            11 => {
                let identity = self.rig.world.devices[0].identity().expect("a genuine credential");
                match op >> 4 & 3 {
                    0 => self.device.rekey(),
                    1 => self.rig.backend.hint_rekey(&identity).unwrap_or(()),
                    2 => self.rig.backend.disconnect(&identity, CloseReason::Draining).unwrap_or(()),
                    _ => {
                        let key = TicketKey::from_bytes([input.u8(); 32]);
                        let keys = TicketKeys::new(ServiceKey::from_bytes([1; 32]), key, None);
                        self.rig.backend.set_ticket_keys(keys);
                    }
                }
            }
            12 if op & 0x10 == 0 => self.rig.hold = !self.rig.hold,
            12 => self.rig.commit(),
            13 => {
                use ClaimOutcome::{Other, Same, Unavailable};
                self.rig.claim = [None, Some(Same), Some(Other), Some(Unavailable)][usize::from(op >> 4 & 3)];
            }
            14 if !self.rig.past.is_empty() => {
                let mut packet = self.rig.past[input.below(self.rig.past.len())].clone();
                if op & 0x10 != 0 && input.mutate(&mut packet) {
                    let devices = self.rig.backend.devices();
                    assert_eq!(self.rig.give_backend(77, &packet), 0, "a batch out of a forgery");
                    assert_eq!(self.rig.backend.devices(), devices);
                } else {
                    assert_eq!(self.rig.give_backend(77, &packet), 0, "a batch out of a replay");
                }
            }
            _ => {
                self.serve(input, Mood::Honest)?;
                self.exchange([false; 2]);
                self.serve(input, Mood::Honest)?;
                self.exchange([false; 2]);
            }
        }
        Ok(())
    }

    /// With an honest storage, network and application, all arrives.
    fn heal(&mut self) {
        let none = &mut Input::new(&[]);
        (self.rig.hold, self.rig.claim) = (false, None);
        self.rig.commit();
        if self.rig.tampered {
            // A descriptor set that is damaged and that the backend never had: its operator gives it one.
            for set in &self.rig.world.grown {
                self.rig.backend.preload_descriptors(set).expect("there is room");
            }
        }
        let end = self.rig.now + HEALING;
        for round in 0.. {
            assert!(round < 5_000, "no end of rounds");
            let _ = self.serve(none, Mood::Honest);
            self.exchange([false; 2]);
            let _ = self.serve(none, Mood::Honest);
            self.exchange([false; 2]);
            if self.device.is_drained() && self.device.is_connected() {
                break;
            }
            let timers = [self.device.poll_timeout(), self.rig.backend.poll_timeout()];
            let next = timers.into_iter().flatten().min().expect("somebody must have something to wait for");
            let next = next.max(self.rig.now + Duration::from_millis(1));
            if next > end {
                let (connected, drained) = (self.device.is_connected(), self.device.is_drained());
                let discards = |discards: &vitalwire::Discards| {
                    discards.iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>()
                };
                let (here, there) = (discards(self.device.discards()), discards(self.rig.backend.discards()));
                let left: Vec<_> = entries(&self.rig.disk).map(|(lane, number, _)| (lane, number)).collect();
                panic!("connected {connected}, drained {drained}, stored {left:?}, {here:?}, {there:?}");
            }
            self.advance(next.since(self.rig.now));
        }
        assert!(self.device.is_all_stored(), "drained, and not settled or stored");
        let rig = &*self.rig;
        for (value, given) in &rig.given {
            let owed = given.life == self.number || !rig.tampered && rig.promised.contains(value);
            let named = || {
                rig.named.iter().any(|(stream, range)| {
                    (stream.lane, Some(&stream.boot)) == (given.lane, rig.boots.get(&given.life))
                        && range.contains(&given.sequence)
                })
            };
            let gives_up = matches!(given.lane, Lane::Trend | Lane::Waveform);
            assert!(!owed || rig.arrived.contains(value) || gives_up && named(), "{given:?} was lost");
        }
        let malformed = rig.backend.discards().of(Discard::MalformedFrames);
        assert_eq!(malformed, 0, "a device writes nothing malformed");
    }
}

/// Lives once, until the power goes or the input ends.
fn live(rig: &mut Rig, input: &mut Input<'_>, last: bool) {
    let world = rig.world;
    let (mut outbox, mut backlog) = (vec![0u8; 3072], vec![0u8; 2 * 1088 + 4 * 400]);
    let mut config = world.device_config(0, outbox.len());
    config.smallest_packet = 128;
    let mut storage = StorageConfig::new(storage_key(), backlog.len());
    if rig.settings & 8 != 0 {
        storage.spill_after = [Some(Duration::ZERO); 4];
    }
    config.storage = Some(storage);
    let grown = rig.settings & 16 != 0;
    let descriptors = if grown { &world.grown[rig.lives % 5] } else { &world.set };
    let memory = DeviceMemory { outbox: &mut outbox, descriptors, backlog: &mut backlog };
    let device = Device::new(config, memory).expect("the configuration is valid");
    rig.lives += 1;
    rig.orphans.clear();
    rig.without_storage = false;
    let number = rig.lives;
    let mut life = Life { rig, device, number };
    life.device.handle_link(life.rig.now, Link::Up { max_packet: 512 });
    life.device.connect(life.rig.now);
    if last {
        return life.heal();
    }
    for _ in 0..150 {
        if input.is_empty() || life.step(input).is_err() {
            return;
        }
    }
}

pub fn run(input: &mut Input<'_>, settings: u8) {
    let mut rig = Rig::new(settings);
    for _ in 0..30 {
        if input.is_empty() {
            break;
        }
        live(&mut rig, input, false);
    }
    live(&mut rig, input, true);
}
