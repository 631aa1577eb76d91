//! The real signals of `data/`, through the codecs and back, with their sizes.

use super::*;
use crate::time::Duration;

fn read(bytes: &[u8]) -> Vec<i32> {
    bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]).into()).collect()
}

fn ecg() -> Vec<i32> {
    read(include_bytes!("../../../data/ecg_mitbih208_360hz.i16"))
}

fn column(csv: &str, index: usize) -> Vec<i32> {
    csv.lines().skip(1).map(|line| line.split(',').nth(index).unwrap().parse().unwrap()).collect()
}

/// Encodes samples in blocks of `len` and checks each; returns the length of each record.
fn waveform_sizes(samples: &[i32], len: usize) -> Vec<usize> {
    with_set(|set| {
        let blocks = samples.chunks(len).enumerate();
        blocks
            .map(|(index, samples)| {
                let block = WaveformBlock::new(ECG, (index * len) as u64, samples);
                let bytes = encode(&Record::Waveform(block), set).unwrap();
                let decoded = decode(&bytes, set).unwrap();
                assert_eq!(decoded, Record::Waveform(block));
                assert_eq!(encode(&decoded, set).unwrap(), bytes);
                bytes.len()
            })
            .collect()
    })
}

/// Encodes values in trend blocks of `len` points and checks each; returns the length of each record.
fn trend_sizes(channel: u8, values: &[i32], step: u64, len: usize) -> Vec<usize> {
    with_set(|set| {
        let blocks = values.chunks(len);
        blocks
            .map(|values| {
                let points: Vec<_> = values
                    .iter()
                    .enumerate()
                    .map(|(n, &raw)| TrendPoint { offset: Duration::from_millis(n as u64 * step), raw })
                    .collect();
                let block = TrendBlock::new(channel, &points);
                let bytes = encode(&Record::Trend(block), set).unwrap();
                let decoded = decode(&bytes, set).unwrap();
                assert_eq!(decoded, Record::Trend(block));
                assert_eq!(encode(&decoded, set).unwrap(), bytes);
                bytes.len()
            })
            .collect()
    })
}

fn bits_per_sample(name: &str, sizes: &[usize], samples: usize) -> f64 {
    let total: usize = sizes.iter().sum();
    let bits = total as f64 * 8.0 / samples as f64;
    let mean = total as f64 / sizes.len() as f64;
    println!(
        "{name}: {bits:.3} bits per sample, records of {mean:.1} bytes, at most {:?}",
        sizes.iter().max()
    );
    bits
}

/// The length of the record's difference of time in a batch: one second.
const SECOND: usize = 2;

#[test]
fn ecg_in_blocks_of_256_takes_at_most_4_63_bits_per_sample() {
    let samples = ecg();
    let sizes = waveform_sizes(&samples, 256);
    // whole records, with head, index and count
    assert!(bits_per_sample("record 208, 256 samples", &sizes, samples.len()) <= 4.63);
}

#[test]
fn one_second_of_ecg_takes_at_most_207_bytes_on_average() {
    let samples = ecg();
    let sizes = waveform_sizes(&samples, 360);
    bits_per_sample("record 208, 360 samples", &sizes, samples.len());
    println!("the first second: {} bytes", sizes[0] + SECOND);
    assert!(sizes.iter().map(|size| size + SECOND).sum::<usize>() <= 207 * sizes.len());
}

#[test]
fn ppg_takes_at_most_7_41_bits_per_sample() {
    let samples = read(include_bytes!("../../../data/ppg_peakdet.i16"));
    assert!(bits_per_sample("PPG, 256 samples", &waveform_sizes(&samples, 256), samples.len()) <= 7.41);
}

#[test]
fn sixty_heart_rates_take_at_most_42_bytes() {
    let values = read(include_bytes!("../../../data/hr_1hz_from_pyhrv.i16"));
    let sizes = trend_sizes(HEART_RATE, &values, 1000, 60);
    bits_per_sample("heart rate, 60 points", &sizes, values.len());
    println!("the first minute: {} bytes", sizes[0] + SECOND);
    assert!(sizes.iter().map(|size| size + SECOND).sum::<usize>() <= 42 * sizes.len());
}

#[test]
fn rr_intervals_round_trip_with_their_own_times() {
    let values = read(include_bytes!("../../../data/rr_ms_pyhrv.i16"));
    let sizes = trend_sizes(RR, &values, 800, 256);
    assert!(bits_per_sample("RR, 256 points", &sizes, values.len()) <= 8.2);
    // each point at the beat that ends it: the times cost nothing
    with_set(|set| {
        let mut offset = 0;
        let points: Vec<_> = values[..60]
            .iter()
            .map(|&raw| {
                offset += raw as u64;
                TrendPoint { offset: Duration::from_millis(offset - values[0] as u64), raw }
            })
            .collect();
        let block = Record::Trend(TrendBlock::new(RR, &points));
        let bytes = encode(&block, set).unwrap();
        println!("RR with times, 60 points: {} bytes", bytes.len());
        assert!(bytes.len() <= 70);
        assert_eq!(decode(&bytes, set).unwrap(), block);
    });
}

#[test]
fn glucose_and_insulin_round_trip() {
    let csv = include_str!("../../../data/cgm_insulin_simglucose_adult005.csv");
    for (name, index, most) in [("glucose", 1, 3.6), ("insulin", 2, 16.0)] {
        let values = column(csv, index);
        let bits = bits_per_sample(name, &trend_sizes(RR, &values, 180_000, 120), values.len());
        assert!(bits <= most);
    }
}

#[test]
fn single_measurements_take_the_bytes_they_should() {
    for (channel, values, most) in
        [(HEART_RATE, &[72][..], 5), (OXIMETER, &[98, 72], 9), (PRESSURE, &[120, 80, 93, 72], 13)]
    {
        let record = Record::Measurement(Measurement::new(channel, Values::valid(values).unwrap()));
        let size = with_set(|set| encode(&record, set).unwrap().len()) + SECOND;
        println!("{values:?}: {size} bytes");
        assert!(size <= most);
    }
}

#[test]
fn noise_never_expands_beyond_raw_and_one_percent() {
    let mut state = 1u32;
    let noise: Vec<i32> = core::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        i32::from((state >> 16) as i16)
    })
    .take(256)
    .collect();
    let size = waveform_sizes(&noise, 256)[0];
    println!("noise, 256 samples of 16 bits: {size} bytes");
    assert!(size <= 517);
}
