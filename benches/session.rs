//! Seal, open and both, of telemetry sizes: the raw AEAD, this library's session, and snow's TransportState on the
//! pure Rust AEAD. `open` includes parsing the header and the replay window; at the end the ratios, measured in turn.

mod common;

use common::{SIZES, side_by_side, snow_session, timed};
use criterion::{BenchmarkId, Criterion, Throughput};
use std::hint::black_box;
use std::time::Duration;
use vitalwire::Instant;
use vitalwire::crypto::{PROVIDER, SessionSecrets, hazmat};
use vitalwire::session::{RekeyPolicy, Session, Side};
use vitalwire::wire::{ConnectionId, DataHeader};

const KEY: [u8; 32] = [7; 32];
const AAD: [u8; 7] = [0x88, 1, 2, 3, 4, 5, 9];
const NOW: Instant = Instant::from_millis(1000);

fn connection_id() -> ConnectionId {
    ConnectionId::new(&[1, 2, 3, 4, 5]).expect("5 bytes")
}

/// Two ends, made anew before they reach the limit of an epoch.
struct Pair {
    device: Session<2>,
    backend: Session<16>,
}

impl Pair {
    fn new() -> Self {
        let secrets = || SessionSecrets::new([1; 32], &[2; 64]);
        let policy = RekeyPolicy::default();
        Self {
            device: Session::new(NOW, Side::Device, secrets(), 1024, policy),
            backend: Session::new(NOW, Side::Backend, secrets(), 128, policy),
        }
    }

    /// As an Ack does from time to time: the counters stay as short as they are in use.
    fn acknowledge(&mut self) {
        if self.device.next_counter() > 1 << 23 {
            *self = Self::new();
        }
        self.device.peer_acked(self.device.next_counter().saturating_sub(1));
    }

    fn seal(&mut self, out: &mut [u8], len: usize) -> usize {
        self.device.seal(NOW, &connection_id(), out, len).expect("far from the limits").len()
    }

    fn open(&mut self, packet: &mut [u8]) {
        let header = DataHeader::parse(packet, 5).expect("it was sealed here");
        black_box(self.backend.open(NOW, &header, packet).expect("it was sealed here"));
    }
}

/// The three contenders at one size; each method works in place where its library does.
struct Bench {
    len: usize,
    buffer: Vec<u8>,
    opened: Vec<u8>,
    counter: u64,
    pair: Pair,
    snow: (snow::TransportState, snow::TransportState),
}

impl Bench {
    fn new(len: usize) -> Self {
        let (buffer, opened) = (vec![0x55; len + 64], vec![0x55; len + 64]);
        Self { len, buffer, opened, counter: 0, pair: Pair::new(), snow: snow_session() }
    }

    fn seal_raw(&mut self, iterations: u64) -> Duration {
        let Self { len, buffer, .. } = self;
        timed(
            iterations,
            |count| vec![(); count],
            |()| {
                self.counter += 1;
                black_box(hazmat::seal(&KEY, self.counter, &AAD, &mut buffer[..*len]));
            },
        )
    }

    fn seal(&mut self, iterations: u64) -> Duration {
        let Self { len, buffer, pair, .. } = self;
        let pair = core::cell::RefCell::new(pair);
        timed(
            iterations,
            |count| {
                pair.borrow_mut().acknowledge();
                vec![(); count]
            },
            |()| {
                black_box(pair.borrow_mut().seal(buffer, *len));
            },
        )
    }

    fn seal_snow(&mut self, iterations: u64) -> Duration {
        let Self { len, buffer, opened, snow, .. } = self;
        timed(
            iterations,
            |count| vec![(); count],
            |()| {
                black_box(snow.0.write_message(&opened[..*len], buffer).expect("room"));
            },
        )
    }

    fn open_raw(&mut self, iterations: u64) -> Duration {
        let mut packet = self.buffer[..self.len].to_vec();
        let tag = hazmat::seal(&KEY, 3, &AAD, &mut packet).expect("short enough");
        timed(
            iterations,
            |count| vec![packet.clone(); count],
            |packet| {
                black_box(hazmat::open(&KEY, 3, &AAD, packet, &tag)).expect("genuine");
            },
        )
    }

    fn open(&mut self, iterations: u64) -> Duration {
        let Self { len, buffer, pair, .. } = self;
        let pair = core::cell::RefCell::new(pair);
        timed(
            iterations,
            |count| {
                let mut pair = pair.borrow_mut();
                pair.acknowledge();
                let sealed = |_| {
                    let packet = pair.seal(buffer, *len);
                    buffer[..packet].to_vec()
                };
                (0..count).map(sealed).collect()
            },
            |packet: &mut Vec<u8>| pair.borrow_mut().open(packet),
        )
    }

    fn open_snow(&mut self, iterations: u64) -> Duration {
        let Self { len, buffer, opened, snow: (sender, receiver), .. } = self;
        timed(
            iterations,
            |count| {
                let mut sealed = |_| {
                    let packet = sender.write_message(&opened[..*len], buffer).expect("room");
                    buffer[..packet].to_vec()
                };
                (0..count).map(&mut sealed).collect()
            },
            |packet: &mut Vec<u8>| {
                let mut out = [0u8; 1100];
                black_box(receiver.read_message(packet, &mut out).expect("genuine"));
            },
        )
    }

    fn both_raw(&mut self, iterations: u64) -> Duration {
        let Self { len, buffer, .. } = self;
        timed(
            iterations,
            |count| vec![(); count],
            |()| {
                self.counter += 1;
                let body = &mut buffer[..*len];
                let tag = hazmat::seal(&KEY, self.counter, &AAD, body).expect("short enough");
                hazmat::open(&KEY, self.counter, &AAD, black_box(body), &tag).expect("genuine");
            },
        )
    }

    fn both(&mut self, iterations: u64) -> Duration {
        let Self { len, buffer, pair, .. } = self;
        let pair = core::cell::RefCell::new(pair);
        timed(
            iterations,
            |count| {
                pair.borrow_mut().acknowledge();
                vec![(); count]
            },
            |()| {
                let mut pair = pair.borrow_mut();
                let packet = pair.seal(buffer, *len);
                pair.open(black_box(&mut buffer[..packet]));
            },
        )
    }

    fn both_snow(&mut self, iterations: u64) -> Duration {
        let Self { len, buffer, opened, snow: (sender, receiver), .. } = self;
        timed(
            iterations,
            |count| vec![(); count],
            |()| {
                let packet = sender.write_message(&opened[..*len], buffer).expect("room");
                black_box(receiver.read_message(&buffer[..packet], opened).expect("genuine"));
            },
        )
    }
}

type Work = fn(&mut Bench, u64) -> Duration;

const WORK: [(&str, [(&str, Work); 3]); 3] = [
    ("seal", [("raw", Bench::seal_raw), ("vitalwire", Bench::seal), ("snow", Bench::seal_snow)]),
    ("open", [("raw", Bench::open_raw), ("vitalwire", Bench::open), ("snow", Bench::open_snow)]),
    ("both", [("raw", Bench::both_raw), ("vitalwire", Bench::both), ("snow", Bench::both_snow)]),
];

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for (what, contenders) in WORK {
        let mut group = criterion.benchmark_group(what);
        for len in SIZES {
            group.throughput(Throughput::Bytes(len as u64));
            for (name, work) in contenders {
                let mut bench = Bench::new(len);
                group.bench_function(BenchmarkId::new(name, len), |bencher| {
                    bencher.iter_custom(|iterations| work(&mut bench, iterations));
                });
            }
        }
    }
    criterion.final_summary();
    println!(
        "vitalwire and the raw AEAD on {PROVIDER}; time of each, and ratio to the raw AEAD, measured in turn"
    );
    for (what, [raw, vitalwire, snow]) in WORK {
        for len in SIZES {
            let (mut a, mut b, mut c) = (Bench::new(len), Bench::new(len), Bench::new(len));
            side_by_side(
                &format!("{what} {len} bytes"),
                512,
                &mut [
                    (raw.0, &mut |n| raw.1(&mut a, n)),
                    (vitalwire.0, &mut |n| vitalwire.1(&mut b, n)),
                    (snow.0, &mut |n| snow.1(&mut c, n)),
                ],
            );
        }
    }
}
