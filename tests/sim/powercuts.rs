//! A device with storage, whose power is cut: what it said was stored is delivered, once.

use crate::kit::*;
use crate::storage::{Mishap, Storage};
use std::collections::{BTreeMap, BTreeSet};
use vitalwire::backend::*;
use vitalwire::delivery::{LanePolicy, Ledger, StreamKey};
use vitalwire::device::*;
use vitalwire::framing::{Lane, Record, SetHash};
use vitalwire::identity::{Identity, IssuerId, LocalIdentity, Scopes, SubjectId, Time};
use vitalwire::limits::{MAX_STORED_BOOTS, STORAGE_RETRY};
use vitalwire::storage::{BootTable, EntryHeader, Item, StorageKey, StorageReply, StorageRequest};
use vitalwire::wire::Pattern;
use vitalwire::{Discard, Duration, Instant, UnixSeconds};

const MEMORY: usize = 8192;

/// One device that reboots, its backend and the application's store.
pub(crate) struct Ward {
    pub(crate) pki: Pki,
    identity: LocalIdentity,
    rng: Rng,
    pub(crate) now: Instant,
    pub(crate) device: Option<Device<'static>>,
    pub(crate) storage: Storage,
    key: u8,
    set: Vec<u8>,
    pub(crate) backend: Backend<u64>,
    claims: Claims,
    linked: bool,
    /// Share of the packets that are lost.
    pub(crate) loss: f64,
    /// Share of the batches that the application fails to store.
    fails: f64,
    commits: bool,
    ledger: Ledger,
    pub(crate) delivered: BTreeMap<(StreamKey, u64), String>,
    /// What was accepted: no two are alike.
    pub(crate) accepted: BTreeMap<String, (Lane, u64)>,
    /// By this boot.
    present: BTreeMap<(Lane, u64), String>,
    /// One above the highest sequence that this boot said was stored.
    stored: BTreeMap<Lane, u64>,
    /// What must be delivered: it was said to be stored when the power went.
    pub(crate) promised: BTreeSet<String>,
    /// The boot of each accepted record.
    boot_of: BTreeMap<String, u32>,
    /// Boot, lane, first and end of what gap records have named.
    pub(crate) gaps: Vec<(u32, Lane, u64, u64)>,
    pub(crate) events: Vec<DeviceEvent>,
    boots: u32,
    next: i32,
    sets: BTreeSet<SetHash>,
    pub(crate) outbox: usize,
    /// Boot, tag and counter of every entry.
    sealed: BTreeSet<(u32, [u8; 4], u32)>,
    /// The storage returns what was stored.
    honest: bool,
    pub(crate) change: fn(&mut DeviceConfig),
}

impl Ward {
    pub(crate) fn new() -> Self {
        let mut pki = Pki::new(5);
        let backend = pki.backend();
        let identity = pki.device(0);
        let mut config = BackendConfig::new(backend, pki.anchors(), pki.time());
        config.max_sets = 8;
        let mut backend = Backend::new(config).unwrap();
        backend.set_ticket_keys(ticket_keys(1));
        Self {
            identity,
            rng: Rng::new(9),
            now: at(1_000),
            device: None,
            storage: Storage::default(),
            key: 1,
            set: descriptors(0),
            backend,
            claims: Claims::new(1000),
            pki,
            linked: true,
            loss: 0.0,
            fails: 0.0,
            commits: true,
            ledger: Ledger::default(),
            delivered: BTreeMap::new(),
            accepted: BTreeMap::new(),
            present: BTreeMap::new(),
            stored: BTreeMap::new(),
            promised: BTreeSet::new(),
            boot_of: BTreeMap::new(),
            gaps: Vec::new(),
            events: Vec::new(),
            boots: 0,
            next: 0,
            sets: BTreeSet::new(),
            outbox: MEMORY,
            sealed: BTreeSet::new(),
            honest: true,
            change: |_| {},
        }
    }

    /// The power comes back.
    pub(crate) fn boot(&mut self) {
        self.boots += 1;
        let mut config =
            DeviceConfig::new(self.identity.clone(), self.pki.anchors(), self.pki.time(), 1, self.outbox);
        config.smallest_packet = 300;
        config.policies = [LanePolicy::Refuse; 4];
        config.storage = Some(StorageConfig::new(StorageKey::from_bytes([self.key; 32]), MEMORY));
        (self.change)(&mut config);
        let memory = DeviceMemory {
            outbox: vec![0; self.outbox].leak(),
            descriptors: self.set.clone().leak(),
            backlog: vec![0; MEMORY].leak(),
        };
        let mut device = Device::new(config, memory).unwrap();
        device.connect(self.now);
        device.handle_link(self.now, self.link());
        self.device = Some(device);
    }

    fn link(&self) -> Link {
        if self.linked { Link::Up { max_packet: 300 } } else { Link::Down }
    }

    pub(crate) fn set_linked(&mut self, linked: bool) {
        self.linked = linked;
        let (now, link) = (self.now, self.link());
        if let Some(device) = &mut self.device {
            device.handle_link(now, link);
        }
    }

    /// The power goes: all but the storage is lost.
    pub(crate) fn cut(&mut self) {
        self.device = None;
        let present = core::mem::take(&mut self.present);
        for (lane, end) in core::mem::take(&mut self.stored) {
            let promised = (0..end).filter_map(|sequence| present.get(&(lane, sequence)));
            self.promised.extend(promised.cloned());
        }
    }

    /// Accepts a record; `false` if the power is off or there is no room.
    pub(crate) fn record(&mut self, lane: Lane) -> bool {
        let Some(device) = &mut self.device else { return false };
        self.next += 1;
        let record = match lane {
            Lane::Alarm => alarm(self.next as u32),
            _ => rate(self.next),
        };
        let Ok(ids) = device.record(self.now, lane, &record) else { return false };
        assert_eq!(ids.count, 1);
        let content = format!("{:?} {record:?}", self.now);
        self.present.insert((lane, ids.first), content.clone());
        self.boot_of.insert(content.clone(), self.boots);
        assert!(self.accepted.insert(content, (lane, ids.first)).is_none());
        true
    }

    /// Asks for and carries out what the device wants of its storage; `false` if the power went.
    fn serve(&mut self) -> bool {
        for asked in 0.. {
            assert!(asked < 5000, "asks without end");
            let Some(device) = &mut self.device else { return false };
            let boot = device.boot();
            let Some(request) = device.poll_storage(self.now, &mut self.rng) else { break };
            match request {
                StorageRequest::Append { entry, .. } => {
                    let header = EntryHeader::parse(entry).unwrap();
                    assert!(self.sealed.insert((header.boot, header.tag.0, header.counter)), "a nonce twice");
                }
                StorageRequest::Trim { region, through } if self.honest => {
                    for (_, entry) in self.storage.regions[region as usize].range(..=through) {
                        let header = EntryHeader::parse(entry).unwrap();
                        let stream = StreamKey { boot: header.boot, tag: header.tag, lane: region };
                        let mut all = header.first..header.end();
                        let settled = all.all(|sequence| self.delivered.contains_key(&(stream, sequence)));
                        assert!(settled || boot == Some(header.boot), "trimmed too early: {header:?}");
                    }
                }
                _ => {}
            }
            let answer = self.storage.handle(&request);
            let Some(answer) = answer else {
                self.note();
                self.cut();
                return false;
            };
            device.handle_storage(self.now, answer.as_reply());
            self.note();
        }
        self.note();
        true
    }

    /// Takes the device's events.
    fn note(&mut self) {
        let Some(device) = &mut self.device else { return };
        while let Some(event) = device.poll_event() {
            if let DeviceEvent::Stored { lane, through } = event {
                assert!(device.stored_through(lane) >= Some(through));
                self.stored.insert(lane, through + 1);
            }
            self.events.push(event);
        }
    }

    /// Everybody does what is to be done now.
    fn turn(&mut self) {
        for _ in 0..2000 {
            if !self.serve() {
                return;
            }
            let mut moved = false;
            let mut out = vec![0; 1500];
            while let Some(job) = self.backend.poll_handshake() {
                let done = job.run(&mut self.rng);
                self.backend.handle_handshake(self.now, done);
                moved = true;
            }
            while let Some(event) = self.backend.poll_event() {
                let ledger = self.ledger.clone();
                let grant = Grant { scopes: Scopes::PUBLISH, ledger, ..Grant::default() };
                if let BackendEvent::Resuming { pending, claim } = event {
                    let outcome = self.claims.claim(CLOCK, &claim);
                    assert!(matches!(outcome, ClaimOutcome::New | ClaimOutcome::Same), "used twice");
                    let _ = self.backend.claimed(self.now, pending, outcome, grant);
                    moved = true;
                } else if let BackendEvent::Pending { pending, .. } = event {
                    let _ = self.backend.accept(self.now, pending, grant);
                    moved = true;
                }
            }
            while let Some(batch) = self.backend.poll_early() {
                self.deliver(batch);
            }
            while let Some(transmit) = self.backend.poll_transmit(self.now, &mut self.rng, &mut out).unwrap()
            {
                moved = true;
                let mut packet = transmit.packet.to_vec();
                let lost = !self.linked || self.rng.chance(self.loss);
                if let Some(device) = self.device.as_mut().filter(|_| !lost) {
                    device.handle_packet(self.now, &mut packet, &mut |_| {});
                }
            }
            let device = self.device.as_mut().unwrap();
            let sent = device.poll_transmit(self.now, &mut self.rng, &mut out).unwrap().map(<[u8]>::to_vec);
            // A Hello may wait for its ticket to be erased.
            moved |= device.poll_storage(self.now, &mut self.rng).is_some();
            if let Some(packet) = sent {
                moved = true;
                if self.rng.chance(self.loss) {
                    continue;
                }
                let mut packet = packet;
                let mut batches = Vec::new();
                let mut inbound = [Inbound { path: u64::from(self.boots), packet: &mut packet }];
                self.backend.handle_packets(self.now, &mut inbound, &mut |received| {
                    if let Received::Batch(batch) = received {
                        batches.push(batch.to_owned());
                    }
                });
                for batch in batches {
                    self.deliver(batch);
                }
            }
            if !moved {
                self.note();
                return;
            }
        }
        panic!("talks without end");
    }

    fn deliver(&mut self, batch: OwnedBatch) {
        if !self.commits || self.rng.chance(self.fails) {
            self.backend.release(self.now, batch.handle());
            return;
        }
        let mark = batch.as_batch().mark();
        for closed in batch.as_batch().closed() {
            let entries = self.storage.regions.iter().flat_map(|region| region.values());
            let mut headers = entries.filter_map(|entry| EntryHeader::parse(entry));
            let StreamKey { boot, tag, lane } = closed.stream;
            let of_it = headers.find(|header| (header.boot, header.tag, header.lane) == (boot, tag, lane));
            assert!(!self.honest || of_it.is_none(), "closed, and still stored: {of_it:?}");
            self.ledger.close(closed);
        }
        let fresh = self.ledger.apply(&mark).unwrap();
        self.sets.insert(batch.as_batch().descriptors().hash());
        assert_eq!(fresh, mark.mask, "delivered twice: {mark:?}");
        for record in batch.as_batch().records() {
            if let Record::Gap(gap) = &record.record {
                let StreamKey { boot, lane, .. } = mark.stream;
                self.gaps.push((boot, lane, gap.first, gap.first + gap.count));
            }
            let content = format!("{:?} {:?}", record.time, record.record);
            let before = self.delivered.insert((mark.stream, record.sequence), content);
            assert!(before.is_none(), "delivered twice");
        }
        self.backend.commit(self.now, batch.handle());
    }

    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.turn();
            let device = self.device.as_ref().and_then(|device| device.poll_timeout());
            let due = [device, self.backend.poll_timeout()].into_iter().flatten().min();
            match due {
                Some(due) if due <= end => {
                    assert!(due > self.now, "spins at {:?}", self.now);
                    self.now = due;
                }
                _ => break,
            }
            self.backend.handle_timeout(self.now);
        }
        self.now = end;
    }

    fn is_drained(&self) -> bool {
        self.device.as_ref().is_some_and(|device| device.is_drained())
    }

    /// Runs until all is delivered.
    #[track_caller]
    pub(crate) fn drain(&mut self) {
        for _ in 0..200 {
            self.run(ms(500));
            if self.is_drained() {
                self.run(ms(500));
                return;
            }
        }
        let device = self.device.as_ref().unwrap();
        let fills: Vec<_> = Lane::ALL.iter().map(|&lane| device.fill(lane)).collect();
        let discards = crate::world::discards(device.discards());
        let backend = crate::world::discards(self.backend.discards());
        panic!("not drained: {fills:?} {discards:?} {backend:?} {} entries", self.storage.entries());
    }

    /// Nothing that was said to be stored is lost, and what arrived is what was accepted.
    #[track_caller]
    pub(crate) fn check(&self) {
        let mut arrived = BTreeSet::new();
        for ((stream, sequence), content) in &self.delivered {
            if content.contains("Gap(") {
                continue;
            }
            assert_eq!(self.accepted.get(content), Some(&(stream.lane, *sequence)), "{stream:?}");
            assert!(arrived.insert(content), "{content} came twice");
        }
        let lost =
            self.promised.iter().filter(|content| !arrived.contains(content) && !self.is_named(content));
        let lost: Vec<_> = lost.collect();
        assert!(lost.is_empty(), "{} were stored and are lost: {:?}", lost.len(), lost[0]);
    }

    /// Tells whether a gap record has named an accepted record.
    pub(crate) fn is_named(&self, content: &str) -> bool {
        let (lane, sequence) = self.accepted[content];
        let boot = self.boot_of[content];
        let names = |gap: &(u32, Lane, u64, u64)| {
            (gap.0, gap.1) == (boot, lane) && gap.2 <= sequence && sequence < gap.3
        };
        self.gaps.iter().any(names)
    }

    fn table(&self) -> BootTable {
        let mut item = self.storage.items[&Item::Boots].clone();
        BootTable::open(&StorageKey::from_bytes([self.key; 32]), &mut item).unwrap()
    }

    pub(crate) fn troubles(&self) -> Vec<StorageTrouble> {
        let trouble = |event: &DeviceEvent| match event {
            DeviceEvent::StorageTrouble(trouble) => Some(*trouble),
            _ => None,
        };
        self.events.iter().filter_map(trouble).collect()
    }
}

/// Records of all lanes, some delivered, some stored, then a power cut, and another boot that delivers the rest.
fn story(ward: &mut Ward) {
    ward.boot();
    for lane in Lane::ALL {
        ward.record(lane);
    }
    ward.run(secs(2));
    ward.commits = false;
    for _ in 0..3 {
        for lane in Lane::ALL {
            ward.record(lane);
        }
        ward.run(secs(4));
    }
    ward.cut();
    ward.commits = true;
}

/// Boots as often as it takes, and delivers.
fn aftermath(ward: &mut Ward) {
    ward.cut();
    ward.storage.mishap = None;
    ward.boot();
    ward.record(Lane::Alarm);
    ward.record(Lane::Trend);
    ward.drain();
    ward.check();
}

#[test]
fn what_was_stored_is_delivered_by_the_next_boot() {
    //= SPEC.md#stored-boots
    //= type=test
    //# A device MUST give each boot a number that is one above the latest one that its storage knows.
    let mut ward = Ward::new();
    story(&mut ward);
    assert_eq!(ward.promised.len(), 13, "alarms at once, the others after 5 s: {:?}", ward.promised);
    let before = ward.delivered.len();
    assert_eq!(before, 4);
    aftermath(&mut ward);
    assert_eq!(ward.delivered.len(), 4 + 9 + 2);
    assert_eq!(ward.troubles(), []);
    assert_eq!(ward.storage.entries(), 0, "all trimmed");
    ward.record(Lane::Trend);
    ward.drain();
    assert!(ward.ledger.streams().len() <= 4, "earlier streams are closed: {:?}", ward.ledger);
    assert_eq!((ward.table().latest, ward.table().boots().count()), (2, 1));
}

#[test]
fn a_mishap_at_any_request_loses_nothing_that_was_stored() {
    //= SPEC.md#stored-entries
    //= type=test
    //# A device MUST NOT seal two entries of a boot with the same counter.
    //= SPEC.md#earlier-boots
    //= type=test
    //# A device MUST NOT trim an entry that it can open before each of its records is settled, or is in the RAM of the boot that sealed the entry.
    //= SPEC.md#earlier-boots
    //= type=test
    //# A device MUST NOT send a complete Streams frame that does not name a stream of which an entry may be stored.
    let mut plain = Ward::new();
    story(&mut plain);
    let first = plain.storage.requests;
    aftermath(&mut plain);
    let all = plain.storage.requests;
    println!("{first} requests in the first boot, {all} in all");
    assert!(first > 10 && all > first + 20);
    for at in 0..all {
        for mishap in Mishap::ALL {
            println!("{mishap:?} at {at}");
            let mut ward = Ward::new();
            ward.storage.mishap = Some((at, mishap));
            story(&mut ward);
            ward.boot();
            ward.record(Lane::Event);
            ward.run(secs(20));
            if ward.device.is_none() {
                ward.boot();
                ward.run(secs(20));
            }
            aftermath(&mut ward);
        }
    }
}

#[test]
fn hours_without_a_link_go_to_storage_and_come_back() {
    let mut ward = Ward::new();
    ward.outbox = 3000;
    ward.boot();
    ward.set_linked(false);
    for round in 0..1500 {
        assert!(ward.record(Lane::Trend), "round {round}");
        if round % 50 == 0 {
            assert!(ward.record(Lane::Alarm));
        }
        ward.run(secs(1));
    }
    let stored = ward.stored[&Lane::Trend];
    assert!(stored > 1400, "{stored}");
    let entries = ward.storage.regions[Lane::Trend as usize].len();
    assert!(entries < 400, "{entries} entries: several records share one");
    ward.set_linked(true);
    ward.drain();
    assert_eq!(ward.delivered.len(), 1530);
    assert_eq!(ward.backend.discards().of(Discard::OutsideLedger), 0);
    assert_eq!(ward.storage.entries(), 0);
    ward.check();

    // And with a power cut before the link comes back, and another in the middle of delivering.
    ward.set_linked(false);
    for _ in 0..1000 {
        assert!(ward.record(Lane::Trend));
        ward.run(secs(1));
    }
    ward.cut();
    ward.boot();
    ward.set_linked(false);
    for _ in 0..1000 {
        assert!(ward.record(Lane::Trend));
        ward.run(secs(1));
    }
    ward.set_linked(true);
    ward.run(ms(20));
    ward.cut();
    assert!(ward.promised.len() > 1900);
    ward.boot();
    ward.drain();
    ward.check();
    assert_eq!(ward.storage.entries(), 0);
}

#[test]
fn another_key_opens_nothing_and_hurts_nothing() {
    let mut ward = Ward::new();
    story(&mut ward);
    ward.key = 2;
    ward.honest = false;
    ward.promised.clear();
    ward.boot();
    ward.record(Lane::Event);
    ward.drain();
    assert_eq!(ward.troubles(), [StorageTrouble::Unreadable, StorageTrouble::Corrupt]);
    let device = ward.device.as_ref().unwrap();
    assert!(device.discards().of(Discard::CorruptStorage) >= 4);
    assert_eq!(ward.storage.entries(), 0, "what nobody can open is given up");
    // From here on it works.
    ward.commits = false;
    ward.record(Lane::Alarm);
    ward.run(secs(1));
    ward.cut();
    ward.commits = true;
    ward.boot();
    ward.drain();
    ward.check();
    assert_eq!(ward.promised.len(), 1);
}

#[test]
fn garbage_in_any_item_or_entry_costs_only_what_it_was() {
    //= SPEC.md#stored-entries
    //= type=test
    //# A device MUST skip and count an entry that it cannot open.
    let mut full = Ward::new();
    story(&mut full);
    let image = full.storage.clone();
    let mut rng = Rng::new(3);
    let places: Vec<(usize, u64)> =
        (0..4).flat_map(|lane| image.regions[lane].keys().map(move |number| (lane, *number))).collect();
    assert!(places.len() >= 6, "{places:?}");
    for (lane, number) in places {
        for kind in 0..4 {
            let mut ward = Ward::new();
            story(&mut ward);
            ward.honest = false;
            let bytes = ward.storage.regions[lane].get_mut(&number).unwrap();
            match kind {
                0 => bytes.clear(),
                1 => bytes.truncate(20),
                2 => *bytes = (0..2000).map(|_| rng.next() as u8).collect(),
                _ => {
                    let at = rng.below(bytes.len() as u64) as usize;
                    bytes[at] ^= 1 << rng.below(8);
                }
            }
            let promised = ward.promised.len();
            ward.promised.clear();
            ward.boot();
            ward.drain();
            assert_eq!(ward.troubles(), [StorageTrouble::Corrupt]);
            let device = ward.device.as_ref().unwrap();
            assert_eq!(device.discards().of(Discard::CorruptStorage), 1, "lane {lane} entry {number} {kind}");
            assert!(ward.delivered.len() + 3 >= promised && ward.delivered.len() < promised);
            assert_eq!(ward.storage.entries(), 0);
            ward.check();
        }
    }
    for item in [Item::Boots, Item::Descriptors(0)] {
        let mut ward = Ward::new();
        story(&mut ward);
        ward.honest = false;
        ward.storage.items.insert(item, (0..3000).map(|_| rng.next() as u8).collect());
        ward.promised.clear();
        ward.boot();
        ward.record(Lane::Trend);
        ward.drain();
        ward.check();
        assert_eq!(ward.storage.entries(), 0);
    }
}

#[test]
fn broken_storage_leaves_a_device_that_works_from_ram() {
    //= SPEC.md#stored-boots
    //= type=test
    //# A device whose storage fails before that MUST draw a fresh tag for the boot, and keep its records in RAM only.
    let mut ward = Ward::new();
    ward.storage.broken = true;
    ward.boot();
    for lane in Lane::ALL {
        assert!(ward.record(lane));
    }
    ward.drain();
    assert_eq!(ward.troubles(), [StorageTrouble::Unavailable]);
    assert_eq!(ward.delivered.len(), 4);
    assert!(ward.device.as_ref().unwrap().stored_through(Lane::Alarm).is_none());
    let first = *ward.delivered.keys().next().unwrap();
    ward.cut();
    ward.boot();
    ward.record(Lane::Alarm);
    ward.drain();
    ward.check();
    let tags: BTreeSet<_> = ward.delivered.keys().map(|(stream, _)| stream.tag).collect();
    assert_eq!(tags.len(), 2, "the same number, and a fresh tag: {first:?}");

    // It breaks later.
    let mut ward = Ward::new();
    ward.boot();
    ward.record(Lane::Alarm);
    ward.drain();
    ward.storage.broken = true;
    ward.commits = false;
    for _ in 0..5 {
        ward.record(Lane::Alarm);
        ward.run(secs(20));
    }
    assert_eq!(ward.troubles(), [StorageTrouble::Failed], "reported once");
    let asked = ward.storage.requests;
    ward.run(STORAGE_RETRY);
    assert!(ward.storage.requests - asked <= 2, "not asked again and again");
    ward.storage.broken = false;
    ward.run(STORAGE_RETRY + secs(1));
    assert_eq!(ward.device.as_ref().unwrap().stored_through(Lane::Alarm), Some(5));
    ward.commits = true;
    ward.drain();
    ward.check();
}

#[test]
fn a_boot_that_finds_the_table_full_stores_once_an_older_one_is_drained() {
    //= SPEC.md#earlier-boots
    //= type=test
    //# A device MUST begin a new session where it has no stream index left for a stream of an earlier boot.
    let mut ward = Ward::new();
    ward.commits = false;
    for _ in 0..MAX_STORED_BOOTS {
        ward.boot();
        // A boot that stores nothing takes no place.
        ward.run(ms(10));
        ward.cut();
        ward.boot();
        ward.record(Lane::Alarm);
        ward.record(Lane::Event);
        ward.run(secs(6));
        ward.cut();
    }
    assert!(ward.table().is_full());
    assert_eq!(ward.table().latest, 2 * MAX_STORED_BOOTS as u32);
    ward.boot();
    ward.record(Lane::Alarm);
    ward.run(secs(6));
    assert_eq!(ward.troubles(), [StorageTrouble::TooManyBoots]);
    assert!(!ward.stored.contains_key(&Lane::Alarm));
    ward.commits = true;
    ward.run(secs(60));
    ward.commits = false;
    ward.record(Lane::Alarm);
    ward.run(secs(1));
    assert!(ward.stored.contains_key(&Lane::Alarm), "there is room again");
    ward.commits = true;
    ward.drain();
    ward.check();
    assert_eq!(ward.delivered.len(), 2 * MAX_STORED_BOOTS + 2, "over several sessions, as indices run out");
    assert_eq!(ward.table().boots().count(), 1);
}

#[test]
fn a_full_region_leaves_the_lane_its_ram() {
    let mut ward = Ward::new();
    ward.storage.capacity[Lane::Trend as usize] = Some(600);
    ward.outbox = 4000;
    ward.boot();
    ward.set_linked(false);
    let mut taken = 0;
    while ward.record(Lane::Trend) {
        taken += 1;
        ward.run(secs(1));
        assert!(taken < 1000);
    }
    assert_eq!(ward.troubles(), [StorageTrouble::Full(Lane::Trend)]);
    assert!(taken > 60, "{taken}");
    ward.set_linked(true);
    ward.drain();
    ward.check();
    assert_eq!(ward.delivered.len(), taken);
    assert_eq!(ward.storage.entries(), 0);
}

#[test]
fn an_earlier_boots_records_are_read_with_its_own_set() {
    for known in [false, true] {
        let mut ward = Ward::new();
        if known {
            ward.boot();
            ward.record(Lane::Trend);
            ward.drain();
        }
        story(&mut ward);
        // Another firmware, with another set.
        ward.set = descriptors(3);
        aftermath(&mut ward);
        assert_eq!(ward.sets.len(), 2);
        assert_eq!(ward.troubles(), []);
    }
    // The backend has forgotten the old set: it has to come from storage.
    let mut ward = Ward::new();
    ward.linked = false;
    ward.boot();
    for lane in Lane::ALL {
        ward.record(lane);
    }
    ward.run(secs(7));
    ward.cut();
    ward.set = descriptors(3);
    ward.linked = true;
    aftermath(&mut ward);
    assert_eq!(ward.sets.len(), 2);
    assert_eq!(ward.delivered.len(), 6);
}

#[test]
fn a_set_that_grows_is_stored_before_records_that_need_it() {
    //= SPEC.md#stored-boots
    //= type=test
    //# A device MUST NOT append an entry before the table of boots that names its boot, and that boot's descriptor set, are stored.
    let mut ward = Ward::new();
    ward.linked = false;
    ward.boot();
    ward.record(Lane::Alarm);
    ward.run(secs(1));
    let now = ward.now;
    let device = ward.device.as_mut().unwrap();
    device.extend_descriptors(now, descriptors(2).leak()).unwrap();
    let record = further(1, 77);
    let ids = device.record(now, Lane::Alarm, &record).unwrap();
    let content = format!("{now:?} {record:?}");
    ward.present.insert((Lane::Alarm, ids.first), content.clone());
    ward.accepted.insert(content, (Lane::Alarm, ids.first));
    ward.run(secs(1));
    ward.cut();
    assert_eq!(ward.promised.len(), 2);
    ward.linked = true;
    aftermath(&mut ward);
}

#[test]
fn nothing_readable_is_stored() {
    let mut ward = Ward::new();
    story(&mut ward);
    let texts: Vec<Vec<u8>> = vec![ward.set[..20].to_vec(), vec![ward.key; 16]];
    let entries = ward.storage.regions.iter().flat_map(|region| region.values());
    for stored in entries.chain(ward.storage.items.values()) {
        for text in &texts {
            assert!(!stored.windows(text.len()).any(|bytes| bytes == text));
        }
    }
    // The same records, stored twice, have nothing in common but their headers.
    let entry = |ward: &Ward| ward.storage.regions[0].values().next().unwrap().clone();
    let (a, mut other) = (entry(&ward), Ward::new());
    other.rng = Rng::new(77);
    story(&mut other);
    let b = entry(&other);
    let header = EntryHeader::parse(&a).unwrap();
    assert_eq!((header.lane, header.boot, header.first), (Lane::Alarm, 1, 1));
    assert_eq!(a.len(), b.len());
    let same = a[23..].iter().zip(&b[23..]).filter(|(a, b)| a == b).count();
    assert!(same < 8, "{same} bytes are the same");
}

#[test]
fn an_answer_that_nobody_asked_for_is_counted() {
    //= SPEC.md#stored-boots
    //= type=test
    //# A device with storage MUST NOT send or store anything of a boot before it has read back that boot's number and tag.
    let mut ward = Ward::new();
    ward.boot();
    let now = ward.now;
    let device = ward.device.as_mut().unwrap();
    device.handle_storage(now, StorageReply::Done);
    assert_eq!(device.discards().of(Discard::UnaskedReply), 1);
    let first = format!("{:?}", device.poll_storage(now, &mut ward.rng));
    assert_eq!(format!("{:?}", device.poll_storage(now, &mut ward.rng)), first, "until it is answered");
    let mut out = [0; 1500];
    assert_eq!(device.poll_transmit(now, &mut ward.rng, &mut out), Ok(None), "nothing before that");
    assert_eq!((device.boot(), device.poll_timeout()), (None, None));
    // The wrong kind of answer is a failure.
    device.handle_storage(now, StorageReply::End);
    assert!(device.poll_storage(now, &mut ward.rng).is_none());
    assert!(device.boot().is_some());
    ward.note();
    assert_eq!(ward.troubles(), [StorageTrouble::Unavailable]);
}

#[test]
fn a_live_alarm_goes_before_an_earlier_boots() {
    let mut ward = Ward::new();
    ward.linked = false;
    ward.boot();
    for _ in 0..100 {
        ward.record(Lane::Alarm);
        ward.run(ms(10));
    }
    ward.cut();
    ward.boot();
    ward.record(Lane::Alarm);
    let mut order = Vec::new();
    ward.set_linked(true);
    let mut before = 0;
    for _ in 0..2000 {
        ward.run(ms(1));
        if ward.delivered.len() > before {
            before = ward.delivered.len();
            order.push(ward.delivered.keys().any(|(stream, _)| stream.boot == 2));
        }
    }
    assert_eq!(order.first(), Some(&true));
    ward.drain();
    ward.check();
    assert_eq!(ward.delivered.len(), 101);
}

#[test]
fn anything_may_happen_and_nothing_that_was_stored_is_lost() {
    for seed in seeds(60) {
        let mut ward = Ward::new();
        let mut rng = Rng::new(seed);
        ward.rng = Rng::new(seed ^ 0xabc);
        ward.outbox = 1500 + rng.below(4000) as usize;
        ward.loss = [0.0, 0.1, 0.3][rng.below(3) as usize];
        ward.fails = [0.0, 0.2][rng.below(2) as usize];
        if rng.chance(0.3) {
            ward.storage.capacity = [Some(1500), Some(1500), Some(3000), Some(3000)];
        }
        for _ in 0..120 {
            if ward.device.is_none() {
                ward.storage.mishap = None;
                ward.boot();
            }
            match rng.below(16) {
                0 => ward.cut(),
                1 | 2 => {
                    let mishap = Mishap::ALL[rng.below(4) as usize];
                    ward.storage.mishap = Some((ward.storage.requests + rng.below(12), mishap));
                }
                3 | 4 => {
                    let linked = !ward.linked;
                    ward.set_linked(linked);
                }
                5 => ward.set = descriptors(rng.below(3) as u8),
                6..=8 => ward.run(ms(rng.below(20_000))),
                9 | 10 => ward.run(ms(rng.below(100))),
                11 => ward.commits = rng.chance(0.7),
                _ => {
                    let lane = Lane::ALL[rng.below(4) as usize];
                    for _ in 0..rng.below(80) {
                        ward.record(lane);
                        ward.run(ms(1));
                    }
                }
            }
        }
        (ward.commits, ward.loss, ward.fails) = (true, 0.05, 0.0);
        ward.set_linked(true);
        aftermath(&mut ward);
        ward.record(Lane::Alarm);
        ward.drain();
        assert_eq!(ward.storage.entries(), 0);
        let discards = [&ward.backend.discards().of(Discard::OutsideLedger)];
        assert_eq!(discards, [&0]);
        assert!(ward.ledger.streams().len() < 100);
    }
}

#[test]
fn a_planned_reboot_loses_nothing() {
    let mut ward = Ward::new();
    // Waveforms are never stored, but for this.
    ward.change = |config| {
        if let Some(storage) = &mut config.storage {
            storage.spill_after = [None; 4];
        }
    };
    ward.boot();
    ward.commits = false;
    for lane in Lane::ALL {
        ward.record(lane);
    }
    ward.run(secs(20));
    assert_eq!(ward.storage.entries(), 0);
    assert!(!ward.device.as_ref().unwrap().is_all_stored());
    ward.device.as_mut().unwrap().store_all();
    ward.record(Lane::Waveform);
    ward.run(ms(0));
    assert!(ward.device.as_ref().unwrap().is_all_stored());
    ward.cut();
    assert_eq!(ward.promised.len(), 5);
    ward.commits = true;
    aftermath(&mut ward);
}

#[test]
fn a_pin_and_a_time_floor_survive_a_power_cut() {
    let mut ward = Ward::new();
    ward.boot();
    ward.run(secs(2));
    let floor = ward.device.as_ref().unwrap().time().floor();
    assert!(floor > UnixSeconds(0));
    ward.cut();
    let pattern = |ward: &Ward, from: usize| {
        let connected = |event: &DeviceEvent| match event {
            DeviceEvent::Connected { pattern, .. } => Some(*pattern),
            _ => None,
        };
        ward.events[from..].iter().find_map(connected)
    };
    // Without its ticket it still knows the backend, and what time it is at least.
    ward.storage.items.remove(&Item::Ticket);
    let from = ward.events.len();
    ward.change = |config| config.time = Time::floor_only(UnixSeconds(0));
    ward.boot();
    ward.run(ms(0));
    assert_eq!(ward.device.as_ref().unwrap().time().floor(), floor);
    ward.run(secs(2));
    assert_eq!(pattern(&ward, from), Some(Pattern::Ik));
    // Forgotten on request, for good.
    ward.device.as_mut().unwrap().forget_backend();
    ward.run(secs(1));
    assert!(!ward.storage.items.contains_key(&Item::Pin) && !ward.storage.items.contains_key(&Item::Ticket));
    ward.cut();
    let from = ward.events.len();
    ward.boot();
    ward.run(secs(2));
    assert_eq!(pattern(&ward, from), Some(Pattern::Xx));
    //= SPEC.md#stored-pin
    //= type=test
    //# A device MUST NOT use a stored pin of another identity than the expected one.
    ward.cut();
    ward.storage.items.remove(&Item::Ticket);
    ward.change = |config| {
        let other = Identity { issuer: IssuerId([9; 8]), subject: SubjectId([9; 16]) };
        config.expected = Some(other);
    };
    let from = ward.events.len();
    ward.boot();
    ward.run(secs(5));
    assert_eq!(pattern(&ward, from), None, "an XX that the floor refuses");
    assert!(!ward.storage.items.contains_key(&Item::Pin), "it is of no use any more");
}

#[test]
fn a_ticket_survives_a_power_cut_and_is_used_once() {
    let mut ward = Ward::new();
    ward.boot();
    ward.record(Lane::Event);
    ward.run(secs(2));
    assert!(ward.storage.items.contains_key(&Item::Ticket));
    //= SPEC.md#stored-ticket
    //= type=test
    //# A device MUST have its storage confirm that a stored ticket is deleted before it sends the Hello.
    for round in 0..5 {
        let copy = ward.storage.items[&Item::Ticket].clone();
        ward.cut();
        ward.boot();
        ward.record(Lane::Alarm);
        ward.run(secs(2));
        let resumed =
            |event: &&DeviceEvent| matches!(event, DeviceEvent::Connected { pattern: Pattern::Resume, .. });
        assert_eq!(ward.events.iter().filter(resumed).count(), round + 1);
        assert_ne!(ward.storage.items[&Item::Ticket], copy, "another one by now");
    }
    ward.drain();
    ward.check();
    // Without an answer to the deletion, nothing is resumed.
    ward.cut();
    ward.storage.stuck = Some(Item::Ticket);
    ward.boot();
    let before = ward.events.len();
    ward.record(Lane::Alarm);
    ward.run(secs(10));
    let patterns: Vec<_> =
        ward.events[before..].iter().filter(|event| matches!(event, DeviceEvent::Connected { .. })).collect();
    assert!(matches!(patterns[..], [DeviceEvent::Connected { pattern: Pattern::Ik, .. }]), "{patterns:?}");
    ward.storage.stuck = None;
    ward.drain();
    ward.check();
}

#[test]
fn several_earlier_boots_have_sets_of_their_own() {
    // The n-th boot stores records of these lanes only.
    let one: [&[Lane]; 3] = [&[Lane::Trend]; 3];
    let apart: [&[Lane]; 3] = [&[Lane::Event], &[Lane::Trend], &[Lane::Alarm]];
    for lanes in [[&Lane::ALL[..]; 3], apart, one] {
        for lost in [0.0, 0.3] {
            let mut ward = Ward::new();
            ward.linked = false;
            let mut accepted = 0;
            for (boot, lanes) in lanes.iter().enumerate() {
                ward.set = descriptors(boot as u8);
                ward.boot();
                for lane in *lanes {
                    assert!(ward.record(*lane));
                    accepted += 1;
                }
                ward.run(secs(7));
                ward.cut();
            }
            ward.set = descriptors(9);
            ward.linked = true;
            ward.loss = lost;
            ward.boot();
            ward.record(Lane::Trend);
            ward.run(secs(300));
            ward.loss = 0.0;
            // What was lost comes again after a minute, three sets one after the other.
            ward.run(secs(300));
            ward.drain();
            ward.check();
            assert_eq!(ward.delivered.len(), accepted + 1);
            assert_eq!(ward.sets.len(), 4);
        }
    }
}
