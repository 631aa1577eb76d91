//! Prints what records take: bytes per kind beside other encodings, bits per sample beside pco and zstd, speed.
//!
//! ```sh
//! cargo run --release --manifest-path benches/figures/Cargo.toml
//! ```
//!
//! Everything is measured here and now but for the rows marked as quoted, which are from `data/bytes_per_record.csv`.

mod calls;
#[path = "../../../tests/figures/measure.rs"]
mod measure;
mod others;
mod plain;
#[path = "../../../tests/figures/signals.rs"]
mod signals;
mod speed;

use measure::{BLOCK, BlockSizes, KindSizes};
use std::process::ExitCode;

/// Measured elsewhere: encoding, then bytes for heart rate, SpO2 with pulse, blood pressure, one second of ECG, and how.
const QUOTED: &str = include_str!("../../../data/bytes_per_record.csv");

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.split_first() {
        None => {
            bytes_per_kind();
            quoted();
            bits_per_sample();
            throughput();
        }
        Some((first, rest)) if first == "calls" => {
            if let Err(usage) = calls::run(rest) {
                eprintln!("{usage}");
                return ExitCode::from(2);
            }
        }
        Some(_) => {
            eprintln!(
                "usage: vitalwire-figures, which prints everything; `calls` is for benches/callgrind.sh"
            );
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Returns the quoted bytes of FHIR for a kind, if there are any.
fn fhir(kind: &str) -> Option<&'static str> {
    let column = match kind {
        "heart rate" => 1,
        "SpO2, pulse" => 2,
        "blood pressure, pulse" => 3,
        "ECG, 1 s of 360 Hz" => 4,
        _ => return None,
    };
    QUOTED.lines().find(|line| line.starts_with("FHIR R4 JSON minified,"))?.split(',').nth(column)
}

fn bytes_per_kind() {
    println!("bytes per kind of record, before sealing and sealed; mean where there are many");
    println!(
        "{:<31}{:>8}{:>7}{:>9}{:>8}{:>9} |{:>9}{:>8}{:>8}{:>8}{:>8}",
        "",
        "record",
        "(most)",
        "in batch",
        "packet",
        "share",
        "postcard",
        "SenML-C",
        "SenML-J",
        "JSON",
        "FHIR *"
    );
    for kind in measure::kinds() {
        let KindSizes { alone, greatest, in_batch, own_packet, packet_share } = kind.sizes();
        let plain = plain::sizes_of(kind.name).expect("each kind has its plain forms");
        let shown = |bytes: Option<f64>| bytes.map_or("-".to_owned(), |bytes| format!("{bytes:.0}"));
        println!(
            "{:<31}{alone:>8.1}{greatest:>7}{in_batch:>9.1}{own_packet:>8.1}{packet_share:>9.2} |{:>9}{:>8}{:>8}{:>8}{:>8}",
            kind.name,
            shown(Some(plain.postcard)),
            shown(plain.senml_cbor),
            shown(plain.senml_json),
            shown(Some(plain.json)),
            fhir(kind.name).unwrap_or("-"),
        );
    }
    println!(
        "record: alone. in batch: with the difference of its time. packet: sealed, with nothing else in it.\n\
         share: of packets as full as 1232 bytes and 64 records allow, header and tag counted.\n\
         The others are neither sealed nor batched. postcard, JSON: a struct with time, code, unit and exponent.\n\
         SenML-C, SenML-J: RFC 8428 in CBOR and JSON. The acceleration is made, all else is real or a usual value.\n\
         * FHIR R4 JSON, minified: quoted from data/bytes_per_record.csv, not measured here.\n"
    );
}

fn quoted() {
    println!("quoted from data/bytes_per_record.csv (data/PROVENANCE.md): bytes per record elsewhere");
    for (index, line) in QUOTED.lines().enumerate() {
        let mut fields = line.splitn(6, ',');
        let mut field = || fields.next().unwrap_or("");
        let [name, rate, oximeter, pressure, ecg, how] = std::array::from_fn(|_| field());
        println!("{name:<42}{rate:>8}{oximeter:>9}{pressure:>16}{ecg:>14}  {how}");
        if index == 0 {
            println!();
        }
    }
    println!();
}

fn bits_per_sample() {
    println!(
        "bits per sample in blocks of {BLOCK} that can be decoded alone; whole records, head and time counted"
    );
    println!(
        "{:<27}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8}{:>8} | entropy of values, differences, second differences",
        "", "raw", "here", "bytes", "(most)", "pco", "zstd", "limit"
    );
    let mut others = others::Others::new();
    let mut noise = Vec::new();
    for signal in signals::all() {
        let BlockSizes { bits_per_sample, mean, greatest, greatest_block } = measure::blocks(&signal, BLOCK);
        let [pco, zstd] = others.bits_per_sample(&signal.samples, BLOCK);
        let [values, first, second] = signals::entropies(&signal.samples);
        let limit = signals::limit(&signal);
        if signal.white {
            let raw = BLOCK * signal.raw_bits as usize / 8;
            noise.push(format!("{greatest_block} of {raw}"));
        }
        println!(
            "{:<27}{:>8}{bits_per_sample:>8.3}{mean:>8.1}{greatest:>8}{pco:>8.3}{zstd:>8.3}{limit:>8.3} | {values:>7.3}{first:>8.3}{second:>8.3}",
            signal.name, signal.raw_bits
        );
    }
    println!("greatest block of noise alone, without the record's head and index: {}", noise.join(", "));
    let off = signals::rr_millis()
        .iter()
        .zip(signals::rr_counts())
        .filter(|&(&millis, count)| (f64::from(count) * 7.8125).round_ties_even() as i32 != millis)
        .count();
    println!(
        "pco: level {}, standalone. zstd: level {}; both on 16-bit (insulin: 32-bit) numbers.\n\
         limit: the smallest entropy of the frequencies over the whole file. A code of single numbers cannot beat it after\n\
         that predictor, and a real one has to learn the frequencies in each block; a better predictor (ECG) can.\n\
         The RR intervals in the file are multiples of 7.8125 ms (a clock of 128 Hz), rounded to milliseconds, which\n\
         spreads them over more numbers; a device sends its own counts, with the scale in the descriptor, and needs no\n\
         codec for that. Times: of each beat, to the millisecond, as sums of the intervals. They are free here,\n\
         as the intervals tell them; pco and zstd get no times to encode.\n\
         {off} of the file's {} are rounded the other way. The glucose file counts whole mg/dL.\n",
        others::PCO_LEVEL,
        others::ZSTD_LEVEL,
        signals::rr_millis().len(),
    );
}

fn throughput() {
    println!("one second of ECG (360 samples), millions of samples per second, the fastest of many rounds");
    println!("{:<18}{:>9}{:>9}", "", "encode", "decode");
    for speed in speed::speeds(&signals::ecg()) {
        println!("{:<18}{:>9.2}{:>9.2}", speed.name, speed.encode / 1e6, speed.decode / 1e6);
    }
    println!(
        "Times depend on the machine and on who else works on it: compare within one run only, and see\n\
         benches/callgrind.sh for instruction counts, which do not."
    );
}
