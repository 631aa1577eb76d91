//! Devices that reboot, two nodes that restart, and a balancer that sends packets now here, now there.

mod common;

use common::*;
use std::collections::BTreeMap;
use std::path::Path;
use vitalwire::framing::Lane;
use vitalwire::identity::Identity;
use vitalwire::{Duration, Instant};
use vitalwire_sqlite::{Store, StoreError};

const DEVICES: u8 = 3;
const TICK: Duration = Duration::from_millis(100);
/// Five minutes.
const TICKS: u64 = 3_000;

/// What a device had accepted in one boot, and whether all of it must have arrived.
struct Boot {
    accepted: BTreeMap<(Lane, u64), String>,
    complete: bool,
}

/// What happened in a run, to show that it tests what it says.
#[derive(Debug, Default)]
struct Tally {
    stored: u32,
    repeats: u32,
    lost_ownership: u32,
    failed: u32,
    reboots: u32,
    restarts: u32,
    flips: u32,
    outstanding_at_restart: usize,
}

struct World<'d> {
    file: &'d Path,
    pki: Pki,
    patches: Vec<Patch>,
    /// Which node the balancer sends each device's packets to.
    node_of: Vec<usize>,
    nodes: Vec<Node>,
    /// For how many ticks a node's database is slow: nothing is stored there.
    slow: [u64; 2],
    boots: BTreeMap<(Identity, u32), Boot>,
    now: Instant,
    rng: Rng,
    tally: Tally,
}

impl<'d> World<'d> {
    fn new(seed: u64, file: &'d Path) -> Self {
        let (mut pki, now) = (Pki::new(seed), Instant::from_millis(1_000));
        let patches: Vec<Patch> = (0..DEVICES).map(|number| Patch::new(&mut pki, number, now)).collect();
        let nodes = vec![Node::start(&pki, file), Node::start(&pki, file)];
        let (node_of, boots, rng) = (vec![0; patches.len()], BTreeMap::new(), Rng(seed));
        let (slow, tally) = ([0; 2], Tally::default());
        Self { file, pki, patches, node_of, nodes, slow, boots, now, rng, tally }
    }

    /// Things go wrong for a while.
    fn disturb(&mut self) {
        for number in 0..self.patches.len() {
            if self.rng.one_in(8) {
                self.patches[number].record(self.now);
            }
            if self.rng.one_in(300) {
                // In the middle of whatever goes on.
                self.node_of[number] ^= 1;
                self.tally.flips += 1;
            }
            if self.rng.one_in(400) {
                // A new session, mostly at the other node.
                let patch = &mut self.patches[number];
                patch.device.disconnect();
                patch.device.connect(self.now);
                self.node_of[number] = self.rng.below(2) as usize;
                self.tally.flips += 1;
            }
            if self.rng.one_in(600) {
                self.reboot(number);
            }
        }
        let node = self.rng.below(2) as usize;
        if self.rng.one_in(80) {
            self.slow[node] = self.rng.below(150);
        }
        if self.rng.one_in(200) {
            // The disk is full, or has room again.
            let pages = if self.rng.one_in(2) { 1 } else { 1_000_000 };
            self.nodes[node].store.connection().pragma_update(None, "max_page_count", pages).unwrap();
        }
        if self.rng.one_in(300) {
            let node = self.rng.below(2) as usize;
            self.tally.outstanding_at_restart += self.nodes[node].queue.len();
            self.nodes[node] = Node::start(&self.pki, self.file);
            self.tally.restarts += 1;
        }
    }

    fn reboot(&mut self, number: usize) {
        self.keep(number);
        self.patches[number].reboot(self.now);
        self.tally.reboots += 1;
    }

    /// Remembers what a device had accepted in its present boot.
    fn keep(&mut self, number: usize) {
        let patch = &self.patches[number];
        let boot = Boot { accepted: patch.accepted.clone(), complete: patch.device.is_drained() };
        self.boots.insert((patch.identity(), patch.boot), boot);
    }

    fn tick(&mut self, loss: bool) {
        let Self { now, rng, nodes, patches, slow, .. } = self;
        for (number, patch) in patches.iter_mut().enumerate() {
            let mut out = [0u8; 1500];
            while let Some(packet) = patch.device.poll_transmit(*now, rng, &mut out).unwrap() {
                if !(loss && rng.one_in(10)) {
                    nodes[self.node_of[number]].handle(*now, number as u64, packet, rng);
                }
            }
        }
        for (node, slow) in nodes.iter_mut().zip(slow) {
            node.turn(*now, rng);
            *slow = slow.saturating_sub(1);
            // Storing takes a while, and is not done in order.
            while *slow == 0 && !node.queue.is_empty() && !rng.one_in(3) {
                let outcomes: Vec<Outcome> = if rng.one_in(2) {
                    let at = rng.below(node.queue.len() as u64) as usize;
                    vec![node.store_at(*now, at).1]
                } else {
                    match node.store_all(*now) {
                        Ok(all) => all.into_iter().map(|(_, outcome)| outcome).collect(),
                        Err(error) => vec![Err(error)],
                    }
                };
                for outcome in outcomes {
                    match outcome {
                        Ok(stored) => {
                            assert_eq!(stored.collisions, 0, "the ledger had forgotten a stored record");
                            self.tally.stored += stored.new;
                            self.tally.repeats += stored.repeats;
                        }
                        Err(StoreError::NotOwner) => self.tally.lost_ownership += 1,
                        Err(StoreError::Full) => self.tally.failed += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            for (path, mut packet) in node.transmit(*now, rng) {
                if !(loss && rng.one_in(10)) {
                    patches[path as usize].device.handle_packet(*now, &mut packet, &mut |_| {});
                }
            }
        }
        *now = *now + TICK;
    }

    fn check(&mut self) {
        let mut store = Store::open(self.file).unwrap();
        let mut rows = 0;
        for patch in &self.patches {
            let identity = patch.identity();
            let stored = stored(&mut store, &identity);
            rows += stored.len() as u32;
            let mut found = BTreeMap::<u32, BTreeMap<(Lane, u64), String>>::new();
            for ((key, sequence), text) in stored {
                let twice = found.entry(key.boot).or_default().insert((key.lane, sequence), text);
                assert_eq!(twice, None, "one boot with two tags");
            }
            for (boot, found) in &found {
                let accepted = &self.boots[&(identity, *boot)].accepted;
                assert!(
                    found.iter().all(|(id, text)| accepted.get(id) == Some(text)),
                    "not what it accepted"
                );
            }
            for ((_, number), boot) in self.boots.range((identity, 0)..=(identity, u32::MAX)) {
                let found = found.get(number).map_or(0, BTreeMap::len);
                assert!(!boot.complete || found == boot.accepted.len(), "boot {number}: {found} records");
            }
        }
        assert_eq!(rows, self.tally.stored, "each record was new once");
    }
}

#[test]
fn reboots_restarts_and_two_nodes_lose_nothing_and_double_nothing() {
    let mut sum = Tally::default();
    for seed in 1..=6 {
        println!("seed {seed}");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("store.db");
        let mut world = World::new(seed, &file);
        for _ in 0..TICKS {
            world.disturb();
            world.tick(true);
        }
        for node in &mut world.nodes {
            node.store.connection().pragma_update(None, "max_page_count", 1_000_000).unwrap();
        }
        for _ in 0..20 * TICKS {
            if world.patches.iter().all(|patch| patch.device.is_drained()) {
                break;
            }
            world.tick(false);
        }
        for number in 0..world.patches.len() {
            assert!(world.patches[number].device.is_drained(), "device {number} still waits");
            world.keep(number);
        }
        world.check();
        let tally = world.tally;
        println!("{tally:?}");
        sum.stored += tally.stored;
        sum.repeats += tally.repeats;
        sum.lost_ownership += tally.lost_ownership;
        sum.failed += tally.failed;
        sum.reboots += tally.reboots;
        sum.restarts += tally.restarts;
        sum.flips += tally.flips;
        sum.outstanding_at_restart += tally.outstanding_at_restart;
    }
    println!("{sum:?}");
    assert!(
        sum.stored > 1_000 && sum.reboots > 10 && sum.restarts > 10 && sum.flips > 50,
        "too little happened"
    );
    assert!(
        sum.repeats > 0 && sum.lost_ownership > 0 && sum.failed > 0 && sum.outstanding_at_restart > 0,
        "too little happened"
    );
}
