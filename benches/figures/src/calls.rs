//! Encodes or decodes blocks of ECG so many times, for benches/callgrind.sh to count instructions.

use crate::{measure, signals, speed};
use std::hint::black_box;
use vitalwire::framing::DescriptorSet;

/// What the words after `calls` must be.
const USAGE: &str = "usage: vitalwire-figures calls encode|decode SAMPLES TIMES, SAMPLES from 1 to 1024";

/// Does what `encode|decode SAMPLES TIMES` says: blocks of so many samples of record 208, in turn.
pub fn run(words: &[String]) -> Result<(), &'static str> {
    let [what, samples, times] = words else { return Err(USAGE) };
    let (Ok(len @ 1..=1024), Ok(times)) = (samples.parse::<usize>(), times.parse::<usize>()) else {
        return Err(USAGE);
    };
    let set = measure::encode_set(signals::Times::Every(1000));
    let set = DescriptorSet::parse(&set).expect("it was encoded here");
    let ecg = signals::ecg();
    // The same preparation for any number of times, so that the difference of two runs is the calls.
    let blocks: Vec<&[i32]> = ecg.chunks_exact(len).take(50).collect();
    let mut out = [0; 1024];
    let mut bodies = Vec::new();
    for (n, block) in (0..).zip(&blocks) {
        let bytes = speed::encode(block, n * len as u64, &set, &mut out);
        bodies.push(speed::batch(&out[..bytes]));
    }
    for index in (0..blocks.len()).cycle().take(times) {
        match what.as_str() {
            "encode" => {
                black_box(speed::encode(black_box(blocks[index]), (index * len) as u64, &set, &mut out));
            }
            "decode" => {
                black_box(speed::decode(black_box(&bodies[index]), &set));
            }
            _ => return Err(USAGE),
        }
    }
    Ok(())
}
