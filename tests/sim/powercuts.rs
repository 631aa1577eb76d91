//! A device with storage, whose power is cut: what it said was stored is delivered, once.

use crate::kit::*;
use crate::storage::{Answer, Mishap, Storage};
use std::collections::{BTreeMap, BTreeSet};
use vitalwire::backend::*;
use vitalwire::delivery::{Ledger, StreamKey};
use vitalwire::device::*;
use vitalwire::framing::{Lane, Record, SetHash};
use vitalwire::identity::{LocalIdentity, Scopes};
use vitalwire::limits::{MAX_STORED_BOOTS, STORAGE_RETRY};
use vitalwire::storage::{BootTable, EntryHeader, Item, StorageKey, StorageReply, StorageRequest};
use vitalwire::{Discard, Duration, Instant};

const MEMORY: usize = 8192;

/// One device that reboots, its backend and the application's store.
struct Ward {
    pki: Pki,
    identity: LocalIdentity,
    rng: Rng,
    now: Instant,
    device: Option<Device<'static>>,
    storage: Storage,
    key: u8,
    set: Vec<u8>,
    backend: Backend<u64>,
    linked: bool,
    commits: bool,
    ledger: Ledger,
    delivered: BTreeMap<(StreamKey, u64), String>,
    /// What was accepted: no two are alike.
    accepted: BTreeMap<String, (Lane, u64)>,
    /// By this boot.
    present: BTreeMap<(Lane, u64), String>,
    /// One above the highest sequence that this boot said was stored.
    stored: BTreeMap<Lane, u64>,
    /// What must be delivered: it was said to be stored when the power went.
    promised: BTreeSet<String>,
    events: Vec<DeviceEvent>,
    boots: u32,
    next: i32,
    sets: BTreeSet<SetHash>,
    outbox: usize,
    change: fn(&mut DeviceConfig),
}

impl Ward {
    fn new() -> Self {
        let mut pki = Pki::new(5);
        let backend = pki.backend();
        let identity = pki.device(0);
        let mut config = BackendConfig::new(backend, pki.anchors(), pki.time());
        config.max_sets = 8;
        Self {
            identity,
            rng: Rng::new(9),
            now: at(1_000),
            device: None,
            storage: Storage::default(),
            key: 1,
            set: descriptors(0),
            backend: Backend::new(config).unwrap(),
            pki,
            linked: true,
            commits: true,
            ledger: Ledger::default(),
            delivered: BTreeMap::new(),
            accepted: BTreeMap::new(),
            present: BTreeMap::new(),
            stored: BTreeMap::new(),
            promised: BTreeSet::new(),
            events: Vec::new(),
            boots: 0,
            next: 0,
            sets: BTreeSet::new(),
            outbox: MEMORY,
            change: |_| {},
        }
    }

    /// The power comes back.
    fn boot(&mut self) {
        self.boots += 1;
        let mut config =
            DeviceConfig::new(self.identity.clone(), self.pki.anchors(), self.pki.time(), 1, self.outbox);
        config.smallest_packet = 300;
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

    fn set_linked(&mut self, linked: bool) {
        self.linked = linked;
        let (now, link) = (self.now, self.link());
        if let Some(device) = &mut self.device {
            device.handle_link(now, link);
        }
    }

    /// The power goes: all but the storage is lost.
    fn cut(&mut self) {
        self.device = None;
        let present = core::mem::take(&mut self.present);
        for (lane, end) in core::mem::take(&mut self.stored) {
            self.promised.extend((0..end).map(|sequence| present[&(lane, sequence)].clone()));
        }
    }

    /// Accepts a record; `false` if the power is off or there is no room.
    fn record(&mut self, lane: Lane) -> bool {
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
        assert!(self.accepted.insert(content, (lane, ids.first)).is_none());
        true
    }

    /// Asks for and carries out what the device wants of its storage; `false` if the power went.
    fn serve(&mut self) -> bool {
        loop {
            let Some(device) = &mut self.device else { return false };
            let Some(request) = device.poll_storage(self.now, &mut self.rng) else { break };
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
                if let BackendEvent::Pending { pending, .. } = event {
                    let ledger = self.ledger.clone();
                    let grant = Grant { scopes: Scopes::PUBLISH, ledger, ..Grant::default() };
                    let _ = self.backend.accept(self.now, pending, grant);
                    moved = true;
                }
            }
            while let Some(transmit) = self.backend.poll_transmit(self.now, &mut self.rng, &mut out).unwrap() {
                moved = true;
                let mut packet = transmit.packet.to_vec();
                if let Some(device) = self.device.as_mut().filter(|_| self.linked) {
                    device.handle_packet(self.now, &mut packet, &mut |_| {});
                }
            }
            let device = self.device.as_mut().unwrap();
            let sent = device.poll_transmit(self.now, &mut self.rng, &mut out).unwrap();
            if let Some(packet) = sent {
                moved = true;
                let mut packet = packet.to_vec();
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
        if !self.commits {
            self.backend.release(self.now, batch.handle());
            return;
        }
        let mark = batch.as_batch().mark();
        for closed in batch.as_batch().closed() {
            self.ledger.close(closed);
        }
        let fresh = self.ledger.apply(&mark).unwrap();
        self.sets.insert(batch.as_batch().descriptors().hash());
        assert_eq!(fresh, mark.mask, "delivered twice: {mark:?}");
        for record in batch.as_batch().records() {
            let content = format!("{:?} {:?}", record.time, record.record);
            let before = self.delivered.insert((mark.stream, record.sequence), content);
            assert!(before.is_none(), "delivered twice");
        }
        self.backend.commit(self.now, batch.handle());
    }

    fn run(&mut self, span: Duration) {
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
    fn drain(&mut self) {
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
    fn check(&self) {
        let mut arrived = BTreeSet::new();
        for ((stream, sequence), content) in &self.delivered {
            assert_eq!(self.accepted.get(content), Some(&(stream.lane, *sequence)), "{stream:?}");
            assert!(arrived.insert(content), "{content} came twice");
        }
        let lost: Vec<_> = self.promised.iter().filter(|content| !arrived.contains(content)).collect();
        assert!(lost.is_empty(), "{} were stored and are lost: {:?}", lost.len(), lost[0]);
    }

    fn table(&self) -> BootTable {
        let mut item = self.storage.items[&Item::Boots].clone();
        BootTable::open(&StorageKey::from_bytes([self.key; 32]), &mut item).unwrap()
    }

    fn troubles(&self) -> Vec<StorageTrouble> {
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
