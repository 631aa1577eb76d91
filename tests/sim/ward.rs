//! A device with storage that reboots, its backend and the application: for the tests of what survives a power cut.

use crate::kit::*;
use crate::steps::{hand_over, run_handshakes};
use crate::storage::Storage;
use std::collections::{BTreeMap, BTreeSet};
use vitalwire::backend::*;
use vitalwire::delivery::{LanePolicy, Ledger, StreamKey};
use vitalwire::device::*;
use vitalwire::framing::{Lane, Record, SetHash};
use vitalwire::identity::{LocalIdentity, Scopes};
use vitalwire::storage::{BootTable, EntryHeader, Item, StorageKey, StorageRequest};
use vitalwire::{Duration, Instant};

pub(crate) const MEMORY: usize = 8192;

/// One device that reboots, its backend and the application's store.
pub(crate) struct Ward {
    pub(crate) pki: Pki,
    pub(crate) identity: LocalIdentity,
    pub(crate) rng: Rng,
    pub(crate) now: Instant,
    pub(crate) device: Option<Device<'static>>,
    pub(crate) storage: Storage,
    pub(crate) key: u8,
    pub(crate) set: Vec<u8>,
    pub(crate) backend: Backend<u64>,
    pub(crate) claims: Claims,
    pub(crate) linked: bool,
    /// Share of the packets that are lost.
    pub(crate) loss: f64,
    /// Share of the batches that the application fails to store.
    pub(crate) fails: f64,
    pub(crate) commits: bool,
    pub(crate) ledger: Ledger,
    pub(crate) delivered: BTreeMap<(StreamKey, u64), String>,
    /// What was accepted: no two are alike.
    pub(crate) accepted: BTreeMap<String, (Lane, u64)>,
    /// By this boot.
    pub(crate) present: BTreeMap<(Lane, u64), String>,
    /// One above the highest sequence that this boot said was stored.
    pub(crate) stored: BTreeMap<Lane, u64>,
    /// What must be delivered: it was said to be stored when the power went.
    pub(crate) promised: BTreeSet<String>,
    /// The boot of each accepted record.
    pub(crate) boot_of: BTreeMap<String, u32>,
    /// Boot, lane, first and end of what gap records have named.
    pub(crate) gaps: Vec<(u32, Lane, u64, u64)>,
    pub(crate) events: Vec<DeviceEvent>,
    pub(crate) boots: u32,
    pub(crate) next: i32,
    pub(crate) sets: BTreeSet<SetHash>,
    pub(crate) outbox: usize,
    /// Boot, tag and counter of every entry.
    pub(crate) sealed: BTreeSet<(u32, [u8; 4], u32)>,
    /// The storage returns what was stored.
    pub(crate) honest: bool,
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

    pub(crate) fn link(&self) -> Link {
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
    pub(crate) fn serve(&mut self) -> bool {
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
                    for (_, entry) in
                        self.storage.memory.entries(region).take_while(|(number, _)| *number <= through)
                    {
                        let header = EntryHeader::parse(entry).unwrap();
                        let stream = StreamKey { boot: header.boot, tag: header.tag, lane: region };
                        let mut all = header.first..header.end();
                        let settled = all.all(|sequence| self.delivered.contains_key(&(stream, sequence)));
                        assert!(settled || boot == Some(header.boot), "trimmed too early: {header:?}");
                    }
                }
                _ => {}
            }
            let Some(reply) = self.storage.handle(request) else {
                self.note();
                self.cut();
                return false;
            };
            device.handle_storage(self.now, reply);
            self.note();
        }
        self.note();
        true
    }

    /// Takes the device's events.
    pub(crate) fn note(&mut self) {
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
    pub(crate) fn turn(&mut self) {
        for _ in 0..2000 {
            if !self.serve() {
                return;
            }
            let mut moved = run_handshakes(&mut self.backend, self.now, &mut self.rng);
            let mut out = vec![0; 1500];
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
                for batch in hand_over(&mut self.backend, self.now, self.boots.into(), packet) {
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

    pub(crate) fn deliver(&mut self, batch: OwnedBatch) {
        if !self.commits || self.rng.chance(self.fails) {
            self.backend.release(self.now, batch.handle());
            return;
        }
        let mark = batch.as_batch().mark();
        for closed in batch.as_batch().closed() {
            let mut headers = self.storage.all().filter_map(|(.., entry)| EntryHeader::parse(entry));
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

    pub(crate) fn is_drained(&self) -> bool {
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

    pub(crate) fn table(&self) -> BootTable {
        let mut item = self.storage.memory.item(Item::Boots).unwrap().to_vec();
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
pub(crate) fn story(ward: &mut Ward) {
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
pub(crate) fn aftermath(ward: &mut Ward) {
    ward.cut();
    ward.storage.mishap = None;
    ward.boot();
    ward.record(Lane::Alarm);
    ward.record(Lane::Trend);
    ward.drain();
    ward.check();
}
