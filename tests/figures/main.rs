//! The deterministic figures of README.md: what records and blocks of real signals take, at the most.
//!
//! The measuring is shared with the report that prints them beside other encodings:
//! `cargo run --release --manifest-path benches/figures/Cargo.toml`. Times are not held here.

#![allow(
    unreachable_pub,
    reason = "the modules of a program are private: `pub` says what the others may use"
)]

#[allow(dead_code, reason = "the report prints more than is held here")]
mod measure;
#[allow(dead_code, reason = "as above")]
mod signals;

use measure::{BLOCK, BlockSizes, KindSizes};
use vitalwire::limits::MAX_RECORD;

/// Bytes that a record adds to a batch, mean over its examples: kind, the most it may be.
const IN_BATCH: [(&str, f64); 11] = [
    ("heart rate", 5.0),
    ("SpO2, pulse", 7.0),
    ("blood pressure, pulse", 12.0),
    ("temperature", 6.0),
    ("glucose", 6.0),
    ("event: bolus", 12.0),
    ("alarm", 13.0),
    ("gap", 8.0),
    ("ECG, 1 s of 360 Hz", 207.0),
    ("60 heart rates, 1 Hz", 43.0),
    ("acceleration, 1 s of 3 x 50 Hz", 137.0),
];

/// Bits per sample in blocks of 256, whole records counted: signal, the most it may be.
const BITS: [(&str, f64); 9] = [
    ("ECG, MIT-BIH 208", 4.63),
    ("PPG", 7.34),
    ("RR, ms, and times", 8.0),
    ("RR, 1/128 s, and times", 5.09),
    ("RR, 1/128 s, without times", 5.09),
    ("heart rate, 1 Hz", 4.73),
    ("glucose, mg/dL", 2.47),
    ("insulin, µU/min", 1.7),
    ("constant", 0.35),
];

/// How far above the limit of its frequencies (`signals::limit`) a signal may be, in bits per sample.
const ABOVE_LIMIT: [(&str, f64); 2] = [("glucose, mg/dL", 0.19), ("RR, 1/128 s, without times", 0.23)];

/// What a record has besides the samples of its block, at the most: head, index, status, count, coding.
const HEAD: usize = 7;

fn kind(name: &str) -> KindSizes {
    let kinds = measure::kinds();
    kinds.iter().find(|kind| kind.name == name).unwrap_or_else(|| panic!("no kind {name}")).sizes()
}

fn signal(name: &str) -> signals::Signal {
    signals::all()
        .into_iter()
        .find(|signal| signal.name == name)
        .unwrap_or_else(|| panic!("no signal {name}"))
}

fn blocks(name: &str) -> BlockSizes {
    measure::blocks(&signal(name), BLOCK)
}

#[test]
fn records_take_no_more_bytes_than_they_should() {
    assert_eq!(measure::kinds().len(), IN_BATCH.len(), "each kind has a bound");
    for (name, most) in IN_BATCH {
        let KindSizes { in_batch, alone, .. } = kind(name);
        println!("{name}: {alone:.2} alone, {in_batch:.2} in a batch, at most {most}");
        assert!(in_batch <= most, "{name} adds {in_batch:.2} bytes to a batch");
    }
}

#[test]
fn blocks_take_no_more_bits_than_they_should() {
    for (name, most) in BITS {
        let bits = blocks(name).bits_per_sample;
        println!("{name}: {bits:.3} bits per sample, at most {most}");
        assert!(bits <= most, "{name} takes {bits:.3} bits per sample");
    }
}

#[test]
fn what_few_values_make_up_comes_close_to_its_limit() {
    for (name, most) in ABOVE_LIMIT {
        let limit = signals::limit(&signal(name));
        let above = blocks(name).bits_per_sample - limit;
        println!("{name}: {above:.3} bits above {limit:.3}, at most {most}");
        assert!(above <= most, "{name} is {above:.3} bits above its limit");
    }
}

#[test]
fn noise_never_expands_beyond_raw_and_one_percent() {
    for bits in [8, 12, 16] {
        let signal = signal(&format!("noise, {bits} bits"));
        // blocks as long as a record may be; in short ones the few bytes of the head weigh more
        let len = (MAX_RECORD - HEAD) * 8 / bits;
        let long = measure::blocks(&signal, len);
        let short = measure::blocks(&signal, BLOCK);
        println!(
            "noise of {bits} bits: at most {} bytes for {len}, {} for 256, {} of these the block",
            long.greatest, short.greatest, short.greatest_block
        );
        // one percent more, in whole bytes
        let most = |len: usize| (len * bits * 101).div_ceil(800);
        assert!(long.greatest <= most(len), "{} bytes", long.greatest);
        assert!(short.greatest_block <= most(BLOCK), "{} bytes in a block", short.greatest_block);
        assert!(short.greatest <= BLOCK * bits / 8 + HEAD, "{} bytes", short.greatest);
    }
}

#[test]
fn a_full_packet_makes_its_overhead_small() {
    for kind in measure::kinds() {
        let KindSizes { in_batch, packet_share, own_packet, .. } = kind.sizes();
        println!("{}: {own_packet:.1} in a packet of its own, {packet_share:.2} of a full one", kind.name);
        assert!(in_batch < packet_share && packet_share <= own_packet, "{}", kind.name);
    }
}
