//! Dispatch of a backend: packets with 64 bytes of payload from sessions in random order, 32 packets a call, at 1, 10 000
//! and 100 000 sessions, each with keys and packets of its own: padding only, a batch of one record, or of eight. What is
//! delivered is committed outside the clock. The raw AEAD opens packets of as many keys in random order, too.
//!
//! Every session comes from a real IK handshake, computed on all cores: 100 000 of them take a minute or two.
//! `VITALWIRE_SESSIONS=10000` measures so many sessions alone.

mod common;
#[path = "common/fleet.rs"]
mod fleet;

use common::{Walk, is_test, key_of, side_by_side, timed_by};
use criterion::{BenchmarkId, Criterion, Throughput};
use fleet::{CALL, CONTENTS, Fleet, PAYLOAD};
use std::hint::black_box;
use std::time::Duration;
use vitalwire::crypto::hazmat;

/// The same of the bare cipher: a table of keys, gone through in random order.
struct Raw {
    keys: Vec<[u8; 32]>,
    walk: Walk,
}

impl Raw {
    fn new(count: usize) -> Self {
        Self { keys: (0..count).map(key_of).collect(), walk: Walk::new(count, 2) }
    }

    fn open(&mut self, iterations: u64) -> Duration {
        let aad = [0x88, 1, 2, 3, 4, 5, 9];
        let Self { keys, walk } = self;
        timed_by(
            iterations,
            CALL,
            |count| {
                let sealed = || {
                    let (next, mut packet) = (walk.next(), vec![0x55; PAYLOAD]);
                    // The key is made anew, so that the table's is not in the cache because of this.
                    let tag = hazmat::seal(&key_of(next), 3, &aad, &mut packet).expect("short enough");
                    (next, packet, tag)
                };
                std::iter::repeat_with(sealed).take(count).collect()
            },
            |(next, packet, tag)| {
                black_box(hazmat::open(&keys[*next], 3, &aad, packet, tag)).expect("genuine");
            },
        )
    }
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
        let mut raw = Raw::new(*count);
        for contents in CONTENTS {
            side_by_side(
                &format!("{count} sessions, {contents}"),
                512,
                &mut [("raw", &mut |n| raw.open(n)), ("vitalwire", &mut |n| fleet.dispatch(n, contents))],
            );
        }
    }
}
