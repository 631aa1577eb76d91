//! What a device takes from the heap, and that it gives everything back. A binary of its own: the allocator counts for
//! the whole process, so there is one test, and nothing else runs beside it.
#![allow(clippy::undocumented_unsafe_blocks)] // each block hands over memory of this test

mod common;

use common::{TODAY, World};
use core::ptr::null_mut;
use peak_alloc::PeakAlloc;
use std::collections::BTreeMap;
use vitalwire::backend::{Backend, BackendEvent, BatchRef, Claims, Grant, Inbound, Received};
use vitalwire::delivery::Ledger;
use vitalwire::identity::Scopes;
use vitalwire::{Duration, Instant, OsEntropy};
use vitalwire_c::vw_status::*;
use vitalwire_c::*;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// What the device holds, and held at the most.
#[derive(Default)]
struct Meter {
    held: usize,
    peak: usize,
}

impl Meter {
    fn call<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = HEAP.current_usage();
        HEAP.reset_peak_usage();
        let result = work();
        self.peak = self.peak.max(self.held + HEAP.peak_usage().saturating_sub(before));
        self.held = (self.held + HEAP.current_usage()).saturating_sub(before);
        result
    }
}

/// A storage driver of maps.
#[derive(Default)]
struct Storage {
    items: BTreeMap<u8, Vec<u8>>,
    entries: [BTreeMap<u64, Vec<u8>>; VW_LANES],
    last: u64,
}

impl Storage {
    /// Serves a request; the bytes are what the reply points to.
    fn serve(&mut self, request: &vw_storage_request) -> (vw_storage_reply, Vec<u8>) {
        let data = match request.len {
            0 => Vec::new(),
            len => unsafe { core::slice::from_raw_parts(request.data, len) }.to_vec(),
        };
        let region = &mut self.entries[usize::from(request.lane)];
        let mut reply =
            vw_storage_reply { kind: VW_REPLY_DONE, free: u32::MAX, number: 0, data: null_mut(), len: 0 };
        let mut bytes = Vec::new();
        match request.kind {
            VW_STORAGE_APPEND => {
                self.last += 1;
                region.insert(self.last, data);
                (reply.kind, reply.number) = (VW_REPLY_APPENDED, self.last);
            }
            VW_STORAGE_READ => {
                let from = if request.has_number == 0 { 0 } else { request.number + 1 };
                match region.range(from..).next() {
                    Some((number, entry)) => {
                        (reply.kind, reply.number) = (VW_REPLY_ENTRY, *number);
                        bytes.clone_from(entry);
                    }
                    None => reply.kind = VW_REPLY_END,
                }
            }
            VW_STORAGE_TRIM => *region = region.split_off(&(request.number + 1)),
            VW_STORAGE_PUT => drop(self.items.insert(request.item, data)),
            VW_STORAGE_GET => match self.items.get(&request.item) {
                Some(value) => {
                    reply.kind = VW_REPLY_VALUE;
                    bytes.clone_from(value);
                }
                None => reply.kind = VW_REPLY_NO_VALUE,
            },
            VW_STORAGE_DELETE => drop(self.items.remove(&request.item)),
            other => panic!("request {other}"),
        }
        (reply.data, reply.len) = (bytes.as_ptr(), bytes.len());
        (reply, bytes)
    }
}

/// Both ends, joined in memory.
struct Pair {
    world: World,
    backend: Backend<()>,
    claims: Claims,
    ledger: Ledger,
    storage: Storage,
    meter: Meter,
    now: u64,
    pattern: u8,
    batches: usize,
}

impl Pair {
    fn boot(&mut self) {
        let key = [9; 32];
        let mut config = self.world.config();
        config.storage_key = key.as_ptr();
        config.rekey.dh_interval_ms = 0;
        config.backlog = self.world.backlog.as_mut_ptr();
        config.backlog_len = self.world.backlog.len();
        let (world, meter) = (&mut self.world, &mut self.meter);
        assert_eq!(meter.call(|| world.init(&config)), VW_OK);
        let device = self.world.device();
        unsafe {
            self.serve();
            assert_eq!(vw_handle_link(device, self.now, 1232), VW_OK);
            assert_eq!(vw_connect(device, self.now), VW_OK);
        }
    }

    fn serve(&mut self) {
        let device = self.world.device();
        loop {
            let mut request = std::mem::MaybeUninit::uninit();
            let status =
                self.meter.call(|| unsafe { vw_poll_storage(device, self.now, request.as_mut_ptr()) });
            assert_eq!(status, VW_OK);
            let request = unsafe { request.assume_init() };
            if request.kind == VW_STORAGE_NONE {
                return;
            }
            let (reply, _bytes) = self.storage.serve(&request);
            let status = self.meter.call(|| unsafe { vw_handle_storage(device, self.now, &reply) });
            assert_eq!(status, VW_OK);
        }
    }

    fn turn(&mut self) {
        let device = self.world.device();
        let now = Instant::from_millis(self.now);
        self.serve();
        loop {
            let (mut out, mut len) = ([0; 1500], 0);
            let status = self.meter.call(|| unsafe {
                vw_poll_transmit(device, self.now, out.as_mut_ptr(), out.len(), &mut len)
            });
            assert_eq!(status, VW_OK);
            if len == 0 {
                break;
            }
            let mut stored: Vec<BatchRef> = Vec::new();
            let inbound = Inbound { path: (), packet: &mut out[..len] };
            let ledger = &mut self.ledger;
            self.backend.handle_packets(now, &mut [inbound], &mut |received| {
                if let Received::Batch(batch) = received {
                    ledger.apply(&batch.mark()).unwrap();
                    stored.push(batch.handle());
                }
            });
            self.batches += stored.len();
            for batch in stored {
                self.backend.commit(now, batch);
            }
        }
        self.handshakes(now);
        while let Some(event) = self.backend.poll_event() {
            let scopes = Scopes::PUBLISH | Scopes::COMMANDS;
            let grant = Grant { scopes, ledger: self.ledger.clone(), ..Grant::default() };
            match event {
                BackendEvent::Pending { pending, .. } => self.backend.accept(now, pending, grant).unwrap(),
                BackendEvent::Resuming { pending, claim } => {
                    let outcome = self.claims.claim(TODAY, &claim);
                    self.backend.claimed(now, pending, outcome, grant).unwrap();
                }
                _ => {}
            }
        }
        self.handshakes(now);
        let mut out = [0; 1500];
        self.backend.handle_timeout(now);
        while let Some(transmit) = self.backend.poll_transmit(now, &mut OsEntropy, &mut out).unwrap() {
            let mut packet = transmit.packet.to_vec();
            let status = self
                .meter
                .call(|| unsafe { vw_handle_packet(device, self.now, packet.as_mut_ptr(), packet.len()) });
            assert_eq!(status, VW_OK);
        }
        let mut event = std::mem::MaybeUninit::<vw_event>::uninit();
        loop {
            assert_eq!(unsafe { vw_poll_event(device, event.as_mut_ptr()) }, VW_OK);
            let event = unsafe { event.assume_init() };
            match event.kind {
                VW_EVENT_NONE => break,
                VW_EVENT_CONNECTED => self.pattern = event.pattern,
                _ => {}
            }
        }
        self.now += Duration::from_millis(20).as_millis();
    }

    fn handshakes(&mut self, now: Instant) {
        while let Some(job) = self.backend.poll_handshake() {
            self.backend.handle_handshake(now, job.run(&mut OsEntropy));
        }
    }

    fn until(&mut self, what: &str, done: impl Fn(&mut Self) -> bool) {
        let end = self.now + 60_000;
        while !done(self) {
            assert!(self.now < end, "{what}");
            self.turn();
        }
    }

    fn record(&mut self, value: i32) {
        let (device, now) = (self.world.device(), self.now);
        let status = self
            .meter
            .call(|| unsafe { vw_record_values(device, now, VW_LANE_EVENT, now, 1, &value, 1, null_mut()) });
        assert_eq!(status, VW_OK);
    }

    fn destroy(&mut self) {
        let device = self.world.device();
        assert_eq!(self.meter.call(|| unsafe { vw_device_destroy(device) }), VW_OK);
        assert_eq!(self.meter.held, 0, "the device has kept something");
    }
}

#[test]
fn a_device_takes_no_more_than_half_of_its_share_and_gives_it_back() {
    let world = World::new();
    let mut pair = Pair {
        backend: world.service().backend,
        world,
        claims: Claims::new(10),
        ledger: Ledger::default(),
        storage: Storage::default(),
        meter: Meter::default(),
        now: 1000,
        pattern: 0,
        batches: 0,
    };
    let drained = |pair: &mut Pair| unsafe { vw_is_drained(pair.world.device()) } == VW_YES;
    pair.boot();
    pair.record(72);
    pair.until("the first record", drained);
    assert_eq!((pair.pattern, pair.batches), (1, 1));
    assert_eq!(unsafe { vw_rekey(pair.world.device()) }, VW_OK);
    pair.until("the ratchet", |pair| {
        let mut dh = 0;
        let status = unsafe { vw_ratchets(pair.world.device(), null_mut(), &raw mut dh) };
        if dh == 0 && drained(pair) {
            pair.record(80); // the device moves with one of its next packets
        }
        status == VW_OK && dh > 0
    });
    let first = pair.meter.peak;
    assert_eq!(unsafe { vw_handle_link(pair.world.device(), pair.now, 0) }, VW_OK);
    pair.record(73);
    assert_eq!(unsafe { vw_store_all(pair.world.device()) }, VW_OK);
    pair.serve();
    assert_eq!(unsafe { vw_is_all_stored(pair.world.device()) }, VW_YES);
    pair.destroy();

    // The next boot, with what storage has.
    pair.boot();
    assert!(!drained(&mut pair), "the storage has a record");
    pair.until("the stored record", drained);
    assert_eq!(pair.pattern, 5, "it resumes");
    pair.destroy();
    let sizes = (size_of::<vw_device>(), first, pair.meter.peak);
    println!("device, heap for XX, heap at the most: {sizes:?} bytes");
    assert!(pair.meter.peak * 2 <= VW_HEAP_PER_DEVICE, "{sizes:?}");
}
