//! The outbox: accepting a record, cutting a batch of what waits, settling it; alone and behind 190 older ones in flight.

use criterion::{BenchmarkId, Criterion, Throughput};
use std::time::Duration;
use vitalwire::Instant;
use vitalwire::delivery::{LaneShares, Outbox};
use vitalwire::framing::{Lane, Settled, StreamAck};

/// What a heart rate takes.
const RECORD: [u8; 5] = [7; 5];
/// The body of a Records frame in a packet for an IP link.
const SPACE: usize = 1200;
/// Records of a round: those of one batch.
const COUNT: u64 = 60;

fn accept(outbox: &mut Outbox<'_>, now: Instant, count: u64) {
    for _ in 0..count {
        let mut tx = outbox.begin(now, Lane::Event);
        tx.append_bytes(now, &RECORD).expect("there is room");
        assert!(tx.commit().count == 1);
    }
}

/// Sends all that is queued, and returns the next sequence.
fn send(outbox: &mut Outbox<'_>, now: Instant) -> u64 {
    let (mut body, mut end) = ([0u8; SPACE], 0);
    while let Some(batch) = outbox.next_batch(Lane::Event, 1, &mut body) {
        end = batch.first + u64::from(batch.count);
        outbox.book(now, batch, 0);
    }
    end
}

fn settle(outbox: &mut Outbox<'_>, now: Instant, cumulative: u64) {
    let ack = StreamAck { stream: 1, cumulative, settled: Settled::NONE };
    outbox.handle_ack(now, Lane::Event, &ack);
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let now = Instant::from_millis(1_000);
    let mut group = criterion.benchmark_group("outbox");
    group.throughput(Throughput::Elements(COUNT));
    for waiting in [0, 190] {
        let mut memory = vec![0u8; 32 * 1024];
        group.bench_function(BenchmarkId::new("accept, send and settle 60 records", waiting), |bencher| {
            let mut outbox =
                Outbox::new(&mut memory, LaneShares::of_total(32 * 1024)).expect("the shares fit");
            accept(&mut outbox, now, waiting);
            send(&mut outbox, now);
            bencher.iter(|| {
                accept(&mut outbox, now, COUNT);
                let next = send(&mut outbox, now);
                settle(&mut outbox, now, next.saturating_sub(waiting));
            });
            assert_eq!(u64::from(outbox.fill(Lane::Event).records), waiting);
        });
    }
    group.finish();
    criterion.final_summary();
}
