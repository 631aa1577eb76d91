//! Two cores against one: the same packets through one shard on one thread, and through two shards on two threads.
//!
//! A router thread reads the shard of each packet from its bytes ([`shard_of`]) and hands packets over in calls of 32, as a
//! service does that has one socket. Half of the sessions are on each shard; the one-thread run has both shards in turn.
//! `VITALWIRE_SESSIONS=2000` sets the number of sessions.

mod common;
#[expect(dead_code, reason = "the bench of one shard measures more")]
#[path = "common/fleet.rs"]
mod fleet;

use common::is_test;
use fleet::{CALL, Fleet, NOW};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};
use vitalwire::backend::{Inbound, Received, shard_of};

const SHARDS: usize = 2;
const RECORDS: usize = 1;

type Packets = Vec<(u64, Vec<u8>)>;

/// Takes in what the router sends until it hangs up; returns how many batches that brought.
fn serve(fleet: &mut Fleet, calls: &Receiver<Packets>) -> usize {
    let before = fleet.batches.len();
    while let Ok(mut call) = calls.recv() {
        let mut inbound: Vec<_> =
            call.iter_mut().map(|(path, packet)| Inbound { path: *path, packet }).collect();
        let Fleet { backend, batches, .. } = fleet;
        backend.handle_packets(NOW, &mut inbound, &mut |received| {
            if let Received::Batch(batch) = received {
                assert_eq!(batch.records().count(), RECORDS);
                batches.push(batch.handle());
            }
        });
    }
    fleet.batches.len() - before
}

/// Packets for all shards, mixed.
fn packets(fleets: &mut [Fleet], count: usize) -> Packets {
    let mut parts: Vec<Packets> = fleets.iter_mut().map(|fleet| fleet.packets(count, RECORDS)).collect();
    (0..count).flat_map(|_| parts.iter_mut().filter_map(Vec::pop).collect::<Vec<_>>()).collect()
}

/// Routes packets to as many threads as given; returns how long that took until all were served.
fn run(fleets: &mut [Fleet], packets: Packets, threads: usize) -> Duration {
    let count = packets.len();
    let start = Instant::now();
    let served: usize = std::thread::scope(|scope| {
        let mut senders = Vec::new();
        let workers: Vec<_> = fleets
            .chunks_mut(SHARDS / threads)
            .map(|own| {
                let calls: Vec<_> = own
                    .iter()
                    .map(|_| {
                        let (sender, receiver) = sync_channel::<Packets>(1024);
                        senders.push(sender);
                        receiver
                    })
                    .collect();
                scope.spawn(move || -> usize {
                    own.iter_mut().zip(&calls).map(|(fleet, calls)| serve(fleet, calls)).sum()
                })
            })
            .collect();
        let mut calls: Vec<Packets> = (0..SHARDS).map(|_| Vec::with_capacity(CALL)).collect();
        for packet in packets {
            let shard = usize::from(shard_of(&packet.1).expect("a data packet names its shard"));
            calls[shard].push(packet);
            if calls[shard].len() == CALL {
                let call = std::mem::replace(&mut calls[shard], Vec::with_capacity(CALL));
                senders[shard].send(call).expect("the worker lives");
            }
        }
        for (sender, call) in senders.into_iter().zip(calls) {
            sender.send(call).expect("the worker lives");
        }
        workers.into_iter().map(|worker| worker.join().expect("no panic")).sum()
    });
    let time = start.elapsed();
    assert_eq!(served, count, "every packet brought its batch");
    time
}

fn main() {
    let sessions = std::env::var("VITALWIRE_SESSIONS").ok().and_then(|count| count.parse().ok());
    let sessions = sessions.unwrap_or(if is_test() { 10 } else { 10_000 });
    let (turns, count) = if is_test() { (1, 16) } else { (201, 4096) };
    let mut fleets: Vec<Fleet> =
        (0..SHARDS).map(|shard| Fleet::new(shard as u8, (sessions / SHARDS).max(1))).collect();
    let mut times: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..turns {
        for (threads, times) in [1, SHARDS].into_iter().zip(&mut times) {
            let packets = packets(&mut fleets, count / SHARDS);
            let each = packets.len() as f64;
            times.push(run(&mut fleets, packets, threads).as_secs_f64() * 1e9 / each);
            fleets.iter_mut().for_each(|fleet| fleet.settle(NOW));
        }
    }
    let mut ratios: Vec<f64> = times[0].iter().zip(&times[1]).map(|(one, two)| one / two).collect();
    for times in times.iter_mut().chain([&mut ratios]) {
        times.sort_by(f64::total_cmp);
    }
    let quartile = |times: &[f64]| times[times.len() / 4];
    println!(
        "{sessions} sessions on {SHARDS} shards, 64-byte packets of one record, {} cores",
        std::thread::available_parallelism().map_or(1, usize::from)
    );
    println!("one thread   {:>6.0} ns a packet", quartile(&times[0]));
    println!("two threads  {:>6.0} ns a packet", quartile(&times[1]));
    println!("two threads do {:.2} times the work of one (median of {turns} turns)", ratios[turns / 2]);
}
