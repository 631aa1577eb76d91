//! A device and a backend of the library, with the flash between boots: power is cut at every write and erase, and what the
//! device said was stored is delivered, once.

mod common;
#[allow(dead_code, unreachable_pub, unused_imports)]
#[path = "../../../tests/sim/kit.rs"]
mod kit;
#[path = "../../../tests/sim/steps.rs"]
mod steps;

use common::{PAGES, Store, store};
use kit::*;
use std::collections::{BTreeMap, BTreeSet};
use steps::{hand_over, run_handshakes};
use vitalwire::backend::*;
use vitalwire::delivery::Ledger;
use vitalwire::device::*;
use vitalwire::framing::Lane;
use vitalwire::identity::{LocalIdentity, Scopes};
use vitalwire::storage::StorageKey;
use vitalwire::{Duration, Instant};
use vitalwire_flash::model::{Ecc, Nor};

const MEMORY: usize = 8192;
/// Small pages, so that they are filled and erased.
const PAGE: usize = 512;
const STORAGE_KEY: [u8; 32] = *b"a key that flash must not hold..";

/// One device that reboots, its backend and the application's store.
struct Ward {
    pki: Pki,
    identity: LocalIdentity,
    rng: Rng,
    now: Instant,
    device: Option<Device<'static>>,
    store: Option<Store<8, PAGE>>,
    backend: Backend<u64>,
    commits: bool,
    ledger: Ledger,
    boots: u32,
    next: i32,
    /// By this boot, and one above the highest sequence of a lane that it said was stored.
    present: BTreeMap<(Lane, u64), String>,
    stored: BTreeMap<Lane, u64>,
    /// What must be delivered: it was said to be stored when the power went.
    promised: BTreeSet<String>,
    delivered: BTreeSet<String>,
}

impl Ward {
    fn new(seed: u64) -> Self {
        let mut pki = Pki::new(5);
        let backend = pki.backend();
        let identity = pki.device(0);
        let mut config = BackendConfig::new(backend, pki.anchors(), pki.time());
        config.max_sets = 8;
        Self {
            identity,
            rng: Rng::new(seed),
            now: Instant::from_millis(1_000),
            device: None,
            store: Some(store(Nor::new(PAGES, seed).with_ecc(Ecc::UnreadableWhenCut))),
            backend: Backend::new(config).unwrap(),
            pki,
            commits: true,
            ledger: Ledger::default(),
            boots: 0,
            next: 0,
            present: BTreeMap::new(),
            stored: BTreeMap::new(),
            promised: BTreeSet::new(),
            delivered: BTreeSet::new(),
        }
    }

    fn flash(&mut self) -> &mut Nor<8, PAGE> {
        &mut self.store.as_mut().unwrap().flash_mut().0
    }

    /// The power comes back.
    fn boot(&mut self) {
        self.boots += 1;
        self.store = self.store.take().map(common::restart);
        let mut config =
            DeviceConfig::new(self.identity.clone(), self.pki.anchors(), self.pki.time(), 1, MEMORY);
        config.smallest_packet = 300;
        config.storage = Some(StorageConfig::new(StorageKey::from_bytes(STORAGE_KEY), MEMORY));
        let memory = DeviceMemory {
            outbox: vec![0; MEMORY].leak(),
            descriptors: descriptors(0).leak(),
            backlog: vec![0; MEMORY].leak(),
        };
        let mut device = Device::new(config, memory).unwrap();
        device.connect(self.now);
        device.handle_link(self.now, Link::Up { max_packet: 300 });
        self.device = Some(device);
    }

    /// The power goes.
    fn cut(&mut self) {
        self.device = None;
        let present = core::mem::take(&mut self.present);
        for (lane, end) in core::mem::take(&mut self.stored) {
            self.promised.extend((0..end).map(|sequence| present[&(lane, sequence)].clone()));
        }
    }

    fn record(&mut self, lane: Lane) {
        let Some(device) = &mut self.device else { return };
        self.next += 1;
        let record = if lane == Lane::Alarm { alarm(self.next as u32) } else { rate(self.next) };
        if let Ok(ids) = device.record(self.now, lane, &record) {
            self.present.insert((lane, ids.first), format!("{record:?}"));
        }
    }

    /// Carries out what the device wants of its storage; `false` if the power went.
    fn serve(&mut self) -> bool {
        let mut buf = [0; 2048];
        loop {
            let Some(device) = &mut self.device else { return false };
            while let Some(event) = device.poll_event() {
                if let DeviceEvent::Stored { lane, through } = event {
                    self.stored.insert(lane, through + 1);
                }
            }
            let Some(request) = device.poll_storage(self.now, &mut self.rng) else { return true };
            let store = self.store.as_mut().unwrap();
            let reply = store.serve_blocking(request, &mut buf);
            if store.flash_mut().0.is_off() {
                self.cut();
                return false;
            }
            device.handle_storage(self.now, reply);
        }
    }

    /// Everybody does what is to be done now.
    fn turn(&mut self) {
        for _ in 0..2000 {
            if !self.serve() {
                return;
            }
            let mut moved = run_handshakes(&mut self.backend, self.now, &mut self.rng);
            let mut out = vec![0; 1500];
            while let Some(event) = self.backend.poll_event() {
                if let BackendEvent::Pending { pending, .. } = event {
                    let ledger = self.ledger.clone();
                    let grant = Grant { scopes: Scopes::PUBLISH, ledger, ..Grant::default() };
                    let _ = self.backend.accept(self.now, pending, grant);
                    moved = true;
                }
            }
            let device = self.device.as_mut().unwrap();
            while let Some(transmit) = self.backend.poll_transmit(self.now, &mut self.rng, &mut out).unwrap()
            {
                moved = true;
                device.handle_packet(self.now, &mut transmit.packet.to_vec(), &mut |_| {});
            }
            if let Some(packet) = device.poll_transmit(self.now, &mut self.rng, &mut out).unwrap() {
                moved = true;
                let packet = packet.to_vec();
                for batch in hand_over(&mut self.backend, self.now, self.boots.into(), packet) {
                    self.deliver(batch);
                }
            }
            if !moved {
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
        assert_eq!(self.ledger.apply(&mark).unwrap(), mark.mask, "delivered twice: {mark:?}");
        for record in batch.as_batch().records() {
            assert!(self.delivered.insert(format!("{:?}", record.record)), "delivered twice");
        }
        self.backend.commit(self.now, batch.handle());
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.turn();
            let device = self.device.as_ref().and_then(Device::poll_timeout);
            match [device, self.backend.poll_timeout()].into_iter().flatten().min() {
                Some(due) if due <= end => self.now = self.now.max(due),
                _ => break,
            }
            self.backend.handle_timeout(self.now);
        }
        self.now = end;
    }

    /// Records of all lanes, some delivered, some stored; then a power cut, and a boot that delivers the rest.
    fn story(&mut self) {
        self.boot();
        for lane in Lane::ALL {
            self.record(lane);
        }
        self.run(Duration::from_secs(2));
        self.commits = false;
        for _ in 0..12 {
            for lane in Lane::ALL {
                self.record(lane);
            }
            self.run(Duration::from_secs(2));
        }
        self.cut();
        self.commits = true;
        self.boot();
        self.record(Lane::Event);
        self.run(Duration::from_secs(20));
        if self.device.is_none() {
            self.boot();
            self.run(Duration::from_secs(20));
        }
    }

    /// Boots without a cut, until all is delivered.
    fn drain(&mut self) {
        self.cut();
        self.boot();
        self.record(Lane::Alarm);
        for _ in 0..200 {
            self.run(Duration::from_millis(500));
            if self.device.as_ref().unwrap().is_drained() {
                self.run(Duration::from_millis(500));
                let lost = self.promised.difference(&self.delivered).collect::<Vec<_>>();
                assert!(lost.is_empty(), "stored and lost: {lost:?}");
                return;
            }
        }
        panic!("not drained");
    }
}

#[test]
fn what_was_stored_survives_a_cut_at_every_write_and_erase() {
    let mut plain = Ward::new(1);
    plain.story();
    plain.drain();
    assert!(plain.promised.len() > 9, "{:?}", plain.promised);
    let operations = plain.flash().operations;
    println!("{operations} writes and erases; of each page {:?}", plain.flash().wear);
    assert!(plain.flash().wear.iter().any(|wear| *wear > 1));
    for cut in 0..operations {
        println!("cut at {cut}");
        let mut ward = Ward::new(1 + cut);
        ward.flash().cut_after(cut);
        ward.story();
        ward.drain();
    }
}

#[test]
fn the_flash_never_holds_a_key_or_a_record() {
    let mut ward = Ward::new(1);
    ward.story();
    let image = ward.flash().image();
    assert!(!image.windows(8).any(|bytes| bytes == &STORAGE_KEY[..8]));
    // The descriptor set is not secret, and yet is not stored readable.
    let set = descriptors(0);
    assert!(!image.windows(12).any(|bytes| set.windows(12).any(|part| part == bytes)));
    assert!(image.iter().filter(|byte| **byte != 0xFF).count() > 500, "nothing is there");
}
