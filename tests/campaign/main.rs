//! The campaign: thousands of seeded runs in virtual time, in each of which many things go wrong.
//!
//! Devices of all kinds with their records in four lanes, on links that lose, repeat, reorder, delay, alter and replay
//! packets, shrink, go and come, some of them in pieces of 20 bytes; devices sleep, roam, use two paths by turns, and
//! lose their power; of the two nodes of the service each dies now and then, and devices are sent from one to the
//! other; the application is slow, and fails to store. Some devices
//! resume with tickets, whose keys change and whose claims cannot be asked at times; some listen only after they have
//! spoken; and now and then one is told to do something. Then all is well again, and in the end there must be, in the
//! store that the nodes share:
//!
//! - each record that a device accepted, once, and unaltered; but for what was only in the memory of a device whose
//!   power went, at any request to its storage too, and for what a full lane gave up and a gap record names ([`store`]);
//! - nothing else, and in the order in which it was accepted; what a device has freed has been stored;
//! - each alarm by its time, where nothing disturbed its device ([`world`]);
//! - no session was shown twice, and no ticket was used twice;
//! - and each command was done at most once and in time, and reported once, and truly ([`orders`]).
//!
//! A seed that fails prints the command that runs it alone; with `VITALWIRE_TRACE=1` that tells what happens. On demand,
//! `VITALWIRE_SEEDS=n` runs n times as many seeds.

/// Tells what happens, if asked.
macro_rules! trace {
    ($($what:tt)*) => {
        if *crate::TRACED {
            println!($($what)*);
        }
    };
}

#[allow(dead_code)]
#[path = "../sim/kit.rs"]
mod kit;
#[allow(dead_code)]
#[path = "../sim/link.rs"]
mod link;
mod orders;
mod plan;
#[allow(dead_code)]
#[path = "../sim/storage.rs"]
mod storage;
mod store;
mod unit;
mod world;

use plan::Plan;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};
use world::{Outcome, World};

static TRACED: LazyLock<bool> = LazyLock::new(|| std::env::var_os("VITALWIRE_TRACE").is_some());
const RUNS: u64 = 2_000;

fn run(plan: &Plan) -> Outcome {
    let mut memory = world::memory(plan);
    World::new(plan, &mut memory).run()
}

/// Runs all seeds on all processors.
fn campaign(seeds: Vec<u64>, test: &str, run: impl Fn(u64) -> Outcome + Sync) -> Vec<Outcome> {
    let (next, outcomes, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |count| count.get()) {
            scope.spawn(|| {
                while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match catch_unwind(AssertUnwindSafe(|| run(seed))) {
                        Ok(outcome) => outcomes.lock().unwrap().push(outcome),
                        Err(_) => {
                            println!(
                                "VITALWIRE_SEED={seed} cargo test --test campaign {test} -- --nocapture"
                            );
                            failed.lock().unwrap().push(seed);
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} runs failed", failed.len(), seeds.len());
    outcomes.into_inner().unwrap()
}

/// As in the simulation: from 1 to `count`, `VITALWIRE_SEEDS` times as many, or `VITALWIRE_SEED` alone; from
/// `VITALWIRE_FIRST` on, if that is given.
fn seeds(count: u64) -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let (first, times) = (number("VITALWIRE_FIRST").unwrap_or(1), number("VITALWIRE_SEEDS").unwrap_or(1));
    number("VITALWIRE_SEED").map_or_else(|| (first..first + count * times).collect(), |seed| vec![seed])
}

fn sum(outcomes: &[Outcome], of: impl Fn(&Outcome) -> u64) -> u64 {
    outcomes.iter().map(of).sum()
}

#[test]
fn nothing_is_lost_whatever_happens() {
    let outcomes = campaign(seeds(RUNS), "nothing_is_lost", |seed| run(&Plan::new(seed)));
    println!(
        "{} runs: {} boots, {} sessions, {} records accepted, {} stored, {} of them came again after a commit",
        outcomes.len(),
        sum(&outcomes, |outcome| outcome.boots.into()),
        sum(&outcomes, |outcome| outcome.sessions as u64),
        sum(&outcomes, |outcome| outcome.accepted as u64),
        sum(&outcomes, |outcome| outcome.stored as u64),
        sum(&outcomes, |outcome| outcome.repeats as u64),
    );
    println!(
        "{} records given up by full lanes, {} gap records",
        sum(&outcomes, |outcome| outcome.dropped as u64),
        sum(&outcomes, |outcome| outcome.gaps as u64),
    );
    println!(
        "{} resumptions, {} batches in their Hellos; {} commands, {} done",
        sum(&outcomes, |outcome| outcome.resumed as u64),
        sum(&outcomes, |outcome| outcome.early as u64),
        sum(&outcomes, |outcome| outcome.commands[0] as u64),
        sum(&outcomes, |outcome| outcome.commands[1] as u64),
    );
    for (works, name) in ["after a disturbance", "in a session that works"].into_iter().enumerate() {
        let mut waits: Vec<_> = outcomes.iter().flat_map(|outcome| &outcome.alarm_waits[works]).collect();
        waits.sort();
        if let (Some(last), count) = (waits.last(), waits.len()) {
            let at = |share: usize| waits[(count - 1) * share / 1000].as_millis();
            let (half, most, nearly) = (at(500), at(990), at(999));
            let last = last.as_millis();
            println!("{count} alarms {name}: {half}, {most}, {nearly}, {last} ms (50, 99, 99.9 %, longest)");
        }
    }
}

#[test]
fn what_faults_cost() {
    let per_record = |outcomes: &[Outcome]| {
        let stored = sum(outcomes, |outcome| outcome.stored as u64) as f64;
        [0, 1].map(|way| {
            let packets = sum(outcomes, |outcome| outcome.air.packets[way]) as f64;
            let bytes = sum(outcomes, |outcome| outcome.air.bytes[way]) as f64;
            [packets / stored, bytes / stored]
        })
    };
    let bad = per_record(&campaign(seeds(100), "what_faults_cost", |seed| run(&Plan::new(seed))));
    let good = per_record(&campaign(seeds(100), "what_faults_cost", |seed| run(&Plan::new(seed).perfect())));
    for (way, name) in ["up", "down"].into_iter().enumerate() {
        let ([packets, bytes], [least_packets, least_bytes]) = (bad[way], good[way]);
        println!(
            "{name}: {packets:.2} packets, {bytes:.1} bytes a record; without faults {least_packets:.2}, {least_bytes:.1}"
        );
        assert!(packets > least_packets && packets < 20.0 * least_packets);
    }
}
