//! How fast one second of ECG is encoded and decoded, beside pco and zstd, all in turns in the same run.

use crate::measure::{WAVE, encode_set};
use crate::others::{Others, little_endian};
use std::hint::black_box;
use std::time::{Duration, Instant};
use vitalwire::framing::*;

/// Samples per block: a second.
const LEN: usize = 360;
/// How often everything is run through; the fastest counts.
const ROUNDS: usize = 15;

/// Samples per second.
pub struct Speed {
    pub name: &'static str,
    pub encode: f64,
    pub decode: f64,
}

/// Encodes a block into `out`.
pub fn encode(samples: &[i32], index: u64, set: &DescriptorSet<'_>, out: &mut [u8]) -> usize {
    encode_waveform(&WaveformBlock::new(WAVE, index, samples), set, out).expect("there is room").bytes
}

/// Puts an encoded record into a batch, as it arrives.
pub fn batch(record: &[u8]) -> Vec<u8> {
    let mut body = [0; 1100];
    let mut batch = BatchWriter::new(&mut body, 1, 1000);
    batch.push(vitalwire::Instant::from_millis(86_400_000), record).expect("room");
    batch.finish().to_vec()
}

/// Decodes every sample of a batch and sums them up.
pub fn decode(body: &[u8], set: &DescriptorSet<'_>) -> i64 {
    let frame = RecordsFrame::parse(body).expect("it was written here");
    let mut sum = 0;
    for item in frame.records(set) {
        if let Record::Waveform(block) = item.expect("it was written here").record {
            sum += block.samples().map(i64::from).sum::<i64>();
        }
    }
    sum
}

/// Measures all three.
pub fn speeds(ecg: &[i32]) -> Vec<Speed> {
    let set = encode_set(crate::signals::Times::Every(1000));
    let set = DescriptorSet::parse(&set).expect("it was encoded here");
    let mut others = Others::new();
    let blocks: Vec<&[i32]> = ecg.chunks_exact(LEN).collect();
    let bytes: Vec<Vec<u8>> = blocks.iter().map(|block| little_endian(block, true)).collect();
    let mut out = [0; 1024];
    let bodies: Vec<Vec<u8>> = (0..)
        .zip(&blocks)
        .map(|(n, block)| {
            let len = encode(block, n * LEN as u64, &set, &mut out);
            batch(&out[..len])
        })
        .collect();
    let narrow: Vec<Vec<i16>> =
        blocks.iter().map(|block| block.iter().map(|&x| x as i16).collect()).collect();
    let pco: Vec<Vec<u8>> = narrow.iter().map(|block| others.pco(block)).collect();
    let zstd: Vec<Vec<u8>> = bytes.iter().map(|block| others.zstd(block)).collect();

    let mut best = [Duration::MAX; 6];
    for _ in 0..ROUNDS {
        let mut time = |slot: usize, work: &mut dyn FnMut()| {
            let start = Instant::now();
            work();
            best[slot] = best[slot].min(start.elapsed());
        };
        time(0, &mut || {
            for (n, block) in (0..).zip(&blocks) {
                black_box(encode(black_box(block), n * LEN as u64, &set, &mut out));
            }
        });
        time(1, &mut || {
            black_box(bodies.iter().map(|body| decode(black_box(body), &set)).sum::<i64>());
        });
        time(2, &mut || narrow.iter().for_each(|block| drop(black_box(others.pco(black_box(block))))));
        time(3, &mut || pco.iter().for_each(|block| drop(black_box(others.un_pco::<i16>(black_box(block))))));
        time(4, &mut || bytes.iter().for_each(|block| drop(black_box(others.zstd(black_box(block))))));
        time(5, &mut || {
            zstd.iter().for_each(|block| drop(black_box(others.un_zstd(black_box(block), 2 * LEN))));
        });
    }
    let rate = |slot: usize| (blocks.len() * LEN) as f64 / best[slot].as_secs_f64();
    ["vitalwire", "pco, level 12", "zstd, level 19"]
        .into_iter()
        .enumerate()
        .map(|(n, name)| Speed { name, encode: rate(2 * n), decode: rate(2 * n + 1) })
        .collect()
}
