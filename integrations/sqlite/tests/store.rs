//! One file, one or two nodes, and batches stored in whatever order.

mod common;

use common::*;
use std::fs;
use tempfile::TempDir;
use vitalwire::backend::{Batch, ClaimOutcome, TicketClaim};
use vitalwire::delivery::{Ledger, StreamKey};
use vitalwire::framing::Lane;
use vitalwire::handshake::TicketId;
use vitalwire::identity::{Identity, IssuerId, SubjectId};
use vitalwire::{Duration, Instant, UnixSeconds};
use vitalwire_sqlite::{Opened, Store, StoreError, Stored};

const SEED: u64 = 42;

struct Bench {
    dir: TempDir,
    pki: Pki,
    patch: Patch,
    rng: Rng,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let (mut pki, now) = (Pki::new(SEED), Instant::from_millis(1_000));
        let patch = Patch::new(&mut pki, 1, now);
        Self { dir: tempfile::tempdir().unwrap(), pki, patch, rng: Rng(SEED), now }
    }

    fn node(&self) -> Node {
        Node::start(&self.pki, &self.dir.path().join("store.db"))
    }

    fn opened(&self, node: &mut Node) -> Opened {
        node.store.open_session(&self.patch.identity()).unwrap()
    }

    /// Exchanges packets with this node, which does not store, until it has `batches`.
    fn deliver(&mut self, node: &mut Node, batches: usize) {
        for _ in 0..10_000 {
            if node.queue.len() >= batches {
                return;
            }
            let mut out = [0u8; 1500];
            while let Some(packet) =
                self.patch.device.poll_transmit(self.now, &mut self.rng, &mut out).unwrap()
            {
                node.handle(self.now, self.patch.path, packet, &mut self.rng);
            }
            for (_, packet) in node.transmit(self.now, &mut self.rng) {
                self.patch.device.handle_packet(self.now, &mut packet.clone(), &mut |_| {});
            }
            self.now = self.now + Duration::from_millis(20);
        }
        panic!("it takes too long");
    }

    /// Runs with this node until the device has nothing left.
    fn drain(&mut self, node: &mut Node) {
        let Self { patch, rng, now, .. } = self;
        run(now, patch, node, rng, &mut |_, outcome| assert!(outcome.is_ok()), &mut |patch, _| {
            patch.device.is_drained()
        });
    }

    fn record(&mut self, count: usize) {
        (0..count).for_each(|_| self.patch.record(self.now));
    }

    /// Asserts that the store has just what the device has accepted in this boot.
    fn assert_stored(&self, store: &mut Store) {
        let stored = stored(store, &self.patch.identity());
        let stored = stored.into_iter().map(|((key, sequence), text)| ((key.lane, sequence), text));
        assert_eq!(stored.collect::<std::collections::BTreeMap<_, _>>(), self.patch.accepted);
    }
}

#[test]
fn stores_each_record_once_in_any_order_of_batches() {
    let mut bench = Bench::new();
    let mut node = bench.node();
    bench.record(40);
    bench.deliver(&mut node, 5);
    let copies = node.queue.clone();
    let mut new = 0;
    while let Some(last) = node.queue.len().checked_sub(1) {
        let (batch, stored) = node.store_at(bench.now, last);
        let (stored, records) = (stored.unwrap(), sequences(&batch.as_batch()).len() as u32);
        assert_eq!(stored, Stored { new: records, ..Stored::default() });
        new += stored.new;
    }
    assert!(new > 10);
    for batch in &copies {
        let stored = node.store.store(&batch.as_batch()).unwrap();
        assert_eq!((stored.new, stored.collisions), (0, 0));
        assert_eq!(stored.repeats as usize, sequences(&batch.as_batch()).len());
    }
    bench.drain(&mut node);
    bench.assert_stored(&mut node.store);
}

#[test]
fn the_ledger_tells_repeats_when_the_records_are_deleted() {
    // What was handed on and deleted must not come again: the table is not what tells.
    let mut bench = Bench::new();
    let mut node = bench.node();
    bench.record(8);
    bench.deliver(&mut node, 1);
    let copy = node.queue[0].clone();
    node.store_at(bench.now, 0).1.unwrap();
    node.store.connection().execute("DELETE FROM records", []).unwrap();
    assert_eq!(node.store.store(&copy.as_batch()).unwrap().new, 0);
    assert!(stored(&mut node.store, &bench.patch.identity()).is_empty());
}

#[test]
fn a_node_that_loses_the_device_stores_nothing_more() {
    let mut bench = Bench::new();
    let (mut a, mut b) = (bench.node(), bench.node());
    bench.record(40);
    bench.deliver(&mut a, 4);
    a.store_at(bench.now, 0).1.unwrap();
    // The device is sent to node B, which reads ledger and fence; A still has three batches to store, and stores one.
    bench.patch.device.disconnect();
    bench.patch.device.connect(bench.now);
    bench.deliver(&mut b, 2);
    let kept = a.queue[1].clone();
    a.store_at(bench.now, 0).1.unwrap();
    // B's first stored batch makes it the owner: what A has stored since B has read the ledger is not stored again.
    let (batch, outcome) = b.store_at(bench.now, 0);
    let stored = outcome.unwrap();
    assert!(stored.repeats > 0 && stored.collisions == 0, "{stored:?}");
    assert_eq!((stored.new + stored.repeats) as usize, sequences(&batch.as_batch()).len());
    let before = bench.opened(&mut b);
    while !a.queue.is_empty() {
        assert!(matches!(a.store_at(bench.now, 0).1, Err(StoreError::NotOwner)));
    }
    assert_eq!(bench.opened(&mut b), before, "nothing has changed");
    assert_eq!(a.backend.devices(), 1, "its session is closed when the Close is sent");
    a.transmit(bench.now, &mut bench.rng);
    assert_eq!(a.backend.devices(), 0);
    bench.record(5);
    bench.drain(&mut b);
    bench.assert_stored(&mut b.store);
    // Back at A: a batch of its earlier session is still no good.
    bench.patch.device.disconnect();
    bench.patch.device.connect(bench.now);
    bench.record(5);
    bench.drain(&mut a);
    assert!(matches!(a.store.store(&kept.as_batch()), Err(StoreError::NotOwner)));
    bench.assert_stored(&mut a.store);
    // Among others in one transaction, it alone is refused.
    bench.record(40);
    bench.deliver(&mut a, 2);
    let batches = [a.queue[0].as_batch(), kept.as_batch(), a.queue[1].as_batch()];
    let outcomes = a.store.store_all(&batches).unwrap();
    assert!(matches!(&outcomes[..], [Ok(_), Err(StoreError::NotOwner), Ok(_)]), "{outcomes:?}");
    bench.drain(&mut a);
    bench.assert_stored(&mut a.store);
}

#[test]
fn opening_a_session_takes_nothing_from_the_owner() {
    // As often as somebody replays a Hello.
    let mut bench = Bench::new();
    let (mut a, mut b) = (bench.node(), bench.node());
    bench.record(20);
    bench.deliver(&mut a, 3);
    for _ in 0..3 {
        a.store_at(bench.now, 0).1.unwrap();
        assert_eq!(bench.opened(&mut b).fence, 2);
    }
    // A node that was started anew is another owner, though it has read the same fence.
    let copy = {
        bench.record(4);
        bench.deliver(&mut a, 1);
        a.queue[0].clone()
    };
    drop(a);
    let mut restarted = bench.node();
    assert!(matches!(restarted.store.store(&copy.as_batch()), Err(StoreError::NotOwner)));
}

#[test]
fn a_session_without_a_fence_stores_nothing() {
    let mut bench = Bench::new();
    let mut node = bench.node();
    // An application that forgets the fence hears of it at the first batch.
    node.fences = false;
    bench.record(4);
    bench.deliver(&mut node, 1);
    assert!(matches!(node.store_at(bench.now, 0).1, Err(StoreError::NotOwner)));
}

#[test]
fn a_device_that_boots_often_never_fills_its_ledger() {
    let mut bench = Bench::new();
    let mut node = bench.node();
    for boot in 1..40 {
        bench.record(4);
        bench.drain(&mut node);
        let ledger = bench.opened(&mut node).ledger;
        assert!(ledger.streams().all(|(key, _)| key.boot == boot), "{ledger:?}");
        bench.assert_rows(&mut node.store, boot as usize * 4);
        bench.patch.reboot(bench.now);
    }
}

impl Bench {
    fn assert_rows(&self, store: &mut Store, rows: usize) {
        assert_eq!(stored(store, &self.patch.identity()).len(), rows);
    }
}

#[test]
fn a_full_disk_acknowledges_nothing_and_loses_nothing() {
    let mut bench = Bench::new();
    let mut node = bench.node();
    let pages: i64 = node.store.connection().query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    node.store.connection().pragma_update(None, "max_page_count", pages + 2).unwrap();
    let mut full = 0;
    for _ in 0..40 {
        bench.record(4);
        let Bench { patch, rng, now, .. } = &mut bench;
        let mut rounds = 0;
        let mut seen = |_: &Batch<'_>, outcome: &Outcome| match outcome {
            Ok(_) => {}
            Err(StoreError::Full) => full += 1,
            Err(error) => panic!("{error}"),
        };
        run(now, patch, &mut node, rng, &mut seen, &mut |patch, _| {
            rounds += 1;
            patch.device.is_drained() || rounds > 200
        });
    }
    assert!(full > 0, "it never was full");
    assert!(!bench.patch.device.is_drained(), "what was not stored was acknowledged");
    node.store.connection().pragma_update(None, "max_page_count", 1_000_000).unwrap();
    bench.drain(&mut node);
    bench.assert_stored(&mut node.store);
}

#[test]
fn what_the_ledger_does_not_take_is_not_stored() {
    let mut bench = Bench::new();
    let mut node = bench.node();
    bench.record(4);
    bench.deliver(&mut node, 1);
    // Somebody has filled the ledger with streams that the device never closed.
    let mut full = Ledger::default();
    for boot in 100..100 + vitalwire::limits::MAX_LEDGER_STREAMS as u32 {
        let key = StreamKey { boot, tag: vitalwire::framing::BootTag([0; 4]), lane: Lane::Event };
        full.settle_below(key, 1).unwrap();
    }
    let batch = node.queue[0].clone();
    set_ledger(&mut node.store, &bench, &postcard::to_allocvec(&full).unwrap());
    let refused = node.store.store(&batch.as_batch());
    assert!(matches!(refused, Err(StoreError::Ledger(_))), "{refused:?}");
    set_ledger(&mut node.store, &bench, &[1, 2, 3]);
    let refused = node.store.store(&batch.as_batch());
    assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{refused:?}");
    assert!(matches!(node.store.open_session(&bench.patch.identity()), Err(StoreError::Corrupt(_))));
    let rows: i64 =
        node.store.connection().query_row("SELECT count(*) FROM records", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0);
}

fn set_ledger(store: &mut Store, bench: &Bench, bytes: &[u8]) {
    let identity = bench.patch.identity();
    let sql = "INSERT INTO devices (issuer, subject, fence, owner, ledger) VALUES (?1, ?2, 0, x'', ?3)
               ON CONFLICT DO UPDATE SET ledger = ?3";
    let values = vitalwire_sqlite::rusqlite::params![identity.issuer.0, identity.subject.0, bytes];
    store.connection().execute(sql, values).unwrap();
}

#[test]
fn a_contradicting_set_of_one_boot_is_reported() {
    let mut bench = Bench::new();
    let mut node = bench.node();
    bench.record(8);
    bench.deliver(&mut node, 2);
    let later = node.queue.pop().unwrap();
    assert!(!node.store_at(bench.now, 0).1.unwrap().contradicting_set);
    // The first set that was stored of this boot said that channel 1 is another metric.
    let other = descriptors(149_530);
    let swap = "UPDATE descriptor_sets SET descriptors = ?1, set_hash = x'00112233445566778899aabbccddeeff'";
    node.store.connection().pragma_update(None, "foreign_keys", false).unwrap();
    node.store.connection().execute(swap, [other]).unwrap();
    let swap = "UPDATE boots SET set_hash = x'00112233445566778899aabbccddeeff'";
    node.store.connection().execute(swap, []).unwrap();
    let stored = node.store.store(&later.as_batch()).unwrap();
    assert!(stored.contradicting_set && stored.new > 0, "{stored:?}");
}

#[test]
fn says_what_is_wrong_with_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file.db");
    fs::write(&file, "this is no database, and long enough to be looked at as one, as SQLite does").unwrap();
    assert!(matches!(Store::open(&file), Err(StoreError::Corrupt(_))));
    let file = dir.path().join("foreign.db");
    let foreign = vitalwire_sqlite::rusqlite::Connection::open(&file).unwrap();
    foreign.execute_batch("CREATE TABLE accounts (name TEXT)").unwrap();
    drop(foreign);
    let before = fs::read(&file).unwrap();
    assert!(matches!(Store::open(&file), Err(StoreError::Foreign)));
    assert_eq!(fs::read(&file).unwrap(), before, "it was changed");
    let file = dir.path().join("newer.db");
    Store::open(&file).unwrap().connection().pragma_update(None, "user_version", 2).unwrap();
    assert!(matches!(Store::open(&file), Err(StoreError::Version { found: 2, known: 1 })));
    assert!(Store::open(dir.path().join("no/such/directory.db")).is_err());
    // A store that is damaged in the middle.
    let file = dir.path().join("damaged.db");
    drop(Store::open(&file).unwrap());
    let mut bytes = fs::read(&file).unwrap();
    let len = bytes.len();
    bytes[100..len].fill(0x55);
    fs::write(&file, bytes).unwrap();
    let damaged = Store::open(&file).and_then(|mut store| store.descriptor_sets());
    assert!(matches!(damaged, Err(StoreError::Corrupt(_))), "{damaged:?}");
}

#[test]
fn a_commit_is_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path().join("store.db")).unwrap();
    let setting = |store: &mut Store, name: &str| {
        store.connection().pragma_query_value(None, name, |row| row.get::<_, String>(0)).or_else(|_| {
            store
                .connection()
                .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
                .map(|n| n.to_string())
        })
    };
    assert_eq!(setting(&mut store, "journal_mode").unwrap(), "wal");
    assert_eq!(setting(&mut store, "synchronous").unwrap(), "2");
}

fn claim_of(device: u8, ticket: u8, hello: u8, origin: u64) -> TicketClaim {
    TicketClaim {
        identity: Identity { issuer: IssuerId([1; 8]), subject: SubjectId([device; 16]) },
        id: TicketId([ticket; 16]),
        hello: [hello; 32],
        origin: UnixSeconds(origin),
        expires: UnixSeconds(2_000),
        serial: 1,
        revocation: 0,
    }
}

#[test]
fn a_ticket_is_claimed_once_on_all_nodes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("store.db");
    let (now, expires) = (UnixSeconds(1_000), UnixSeconds(2_000));
    drop(Store::open(&file).unwrap());
    for ticket in 0..20u8 {
        let claims: Vec<ClaimOutcome> = std::thread::scope(|scope| {
            let claim = |hello: u8| {
                let mut store = Store::open(&file).unwrap();
                store.claim_ticket(&claim_of(ticket, ticket, hello, 900), now).unwrap()
            };
            let threads: Vec<_> = (0..4).map(|hello| scope.spawn(move || claim(hello))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(claims.iter().filter(|claim| **claim == ClaimOutcome::New).count(), 1, "{claims:?}");
        assert_eq!(claims.iter().filter(|claim| **claim == ClaimOutcome::Other).count(), 3, "{claims:?}");
    }
    let mut store = Store::open(&file).unwrap();
    assert!(matches!(store.claim_ticket(&claim_of(0, 0, 0, 900), expires), Err(StoreError::Expired)));
    assert_eq!(store.forget_expired(UnixSeconds(1_999)).unwrap(), 0);
    assert_eq!(store.forget_expired(expires).unwrap(), 20);
}

#[test]
fn a_misuse_voids_all_tickets_of_its_origin_and_no_later_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path().join("store.db")).unwrap();
    let mut claim = |device, ticket, hello, origin| {
        let claim = claim_of(device, ticket, hello, origin);
        let outcome = store.claim_ticket(&claim, UnixSeconds(1_000)).unwrap();
        (outcome, store.is_ticket_misused(&claim.identity).unwrap())
    };
    assert_eq!(claim(1, 1, 1, 900), (ClaimOutcome::New, false));
    assert_eq!(claim(1, 1, 1, 900), (ClaimOutcome::Same, false));
    assert_eq!(claim(1, 1, 9, 900), (ClaimOutcome::Other, true));
    assert_eq!(claim(1, 1, 1, 900), (ClaimOutcome::Other, true), "the thief may have been the first");
    assert_eq!(claim(1, 2, 2, 900), (ClaimOutcome::Other, true), "another ticket of the origin");
    assert_eq!(claim(1, 3, 3, 899), (ClaimOutcome::Other, true), "an earlier one");
    assert_eq!(claim(2, 4, 4, 900), (ClaimOutcome::New, false), "another device");
    assert_eq!(claim(1, 5, 5, 901), (ClaimOutcome::New, false), "a later full handshake, which was told");
    assert_eq!(claim(1, 5, 6, 901), (ClaimOutcome::Other, true), "misused once more");
}

#[test]
fn several_processes_may_make_the_file_at_once() {
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("store.db");
        let opened = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| Store::open(&file).map(drop))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(opened.iter().all(Result::is_ok), "{opened:?}");
    }
}
