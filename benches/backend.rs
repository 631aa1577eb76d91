//! Dispatch of a backend: packets with 64 bytes of payload from sessions in random order, 32 packets a call, at 1, 10 000
//! and 100 000 sessions, each with keys and packets of its own: padding only, a batch of one record, or of eight. What is
//! delivered is committed outside the clock.
//!
//! Every session comes from a real IK handshake, computed on all cores: 100 000 of them take a minute or two.
//! `VITALWIRE_SESSIONS=10000` measures so many sessions alone.

mod common;
#[path = "common/fleet.rs"]
mod fleet;

use common::{is_test, side_by_side, timed};
use criterion::{BenchmarkId, Criterion, Throughput};
use fleet::{CONTENTS, Fleet, PAYLOAD};
use std::hint::black_box;
use std::time::Duration;
use vitalwire::crypto::hazmat;

fn raw_open(iterations: u64) -> Duration {
    let (key, aad) = ([7; 32], [0x88, 1, 2, 3, 4, 5, 9]);
    let mut packet = vec![0x55; PAYLOAD];
    let tag = hazmat::seal(&key, 3, &aad, &mut packet).expect("short enough");
    timed(
        iterations,
        |count| vec![packet.clone(); count],
        |packet| {
            black_box(hazmat::open(&key, 3, &aad, packet, &tag)).expect("genuine");
        },
    )
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut group = criterion.benchmark_group("dispatch, 64 bytes");
    group.throughput(Throughput::Elements(1));
    let only = std::env::var("VITALWIRE_SESSIONS").ok().and_then(|count| count.parse().ok());
    let counts = match only {
        Some(count) => vec![count],
        None if is_test() => vec![1, 10, 100],
        None => vec![1, 10_000, 100_000],
    };
    let mut ratios: Vec<(usize, Fleet)> = Vec::new();
    for count in counts {
        let mut built = None;
        group.bench_function(BenchmarkId::new("sessions", count), |bencher| {
            // Built only if the filter lets this one run.
            let fleet = built.get_or_insert_with(|| Fleet::new(0, count));
            bencher.iter_custom(|iterations| fleet.dispatch(iterations, 8));
        });
        ratios.extend(built.map(|fleet| (count, fleet)));
    }
    group.finish();
    criterion.final_summary();
    println!("per packet of 64 bytes with so many records, and ratios to the raw AEAD's open");
    for (count, fleet) in &mut ratios {
        for contents in CONTENTS {
            side_by_side(
                &format!("{count} sessions, {contents}"),
                512,
                &mut [("raw", &mut raw_open), ("vitalwire", &mut |n| fleet.dispatch(n, contents))],
            );
        }
    }
}
