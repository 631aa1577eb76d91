//! The signals of `data/` and some made ones, as integers; and what is known about how small they can get.

use std::collections::HashMap;

/// A signal as a device would hand it to the encoder.
pub struct Signal {
    pub name: &'static str,
    pub samples: Vec<i32>,
    /// What a raw sample takes, in bits.
    pub raw_bits: u32,
    pub times: Times,
    /// Whether every number is as likely as any other.
    pub white: bool,
}

/// When the samples are.
#[derive(Clone, Copy)]
pub enum Times {
    /// By their index: a waveform.
    Counted,
    /// A trend with so many milliseconds between two points, which its channel says.
    Every(u64),
    /// A trend of intervals that are stamped at their later end; so many ten-thousandths of a millisecond are one.
    Intervals(u64),
}

/// Reads 16-bit little-endian samples.
pub fn samples(bytes: &[u8]) -> Vec<i32> {
    bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]).into()).collect()
}

/// MIT-BIH record 208: 300 s at 360 Hz, raw counts.
pub fn ecg() -> Vec<i32> {
    samples(include_bytes!("../../data/ecg_mitbih208_360hz.i16"))
}

/// Heart rate, one a second.
pub fn heart_rates() -> Vec<i32> {
    samples(include_bytes!("../../data/hr_1hz_from_pyhrv.i16"))
}

/// RR intervals in milliseconds: the device counted 1/128 s, and somebody rounded.
pub fn rr_millis() -> Vec<i32> {
    samples(include_bytes!("../../data/rr_ms_pyhrv.i16"))
}

/// One 1/128 s, in ten-thousandths of a millisecond.
const RR_TICK: u64 = 78_125;

/// The same intervals in the device's own unit: a channel with the scale 78125 · 10⁻⁴ ms sends these.
pub fn rr_counts() -> Vec<i32> {
    rr_millis().into_iter().map(|millis| (f64::from(millis) / 7.8125).round() as i32).collect()
}

/// A column of the glucose file: 1 glucose in mg/dL, 2 insulin in µU/min.
fn column(index: usize) -> Vec<i32> {
    let csv = include_str!("../../data/cgm_insulin_simglucose_adult005.csv");
    csv.lines()
        .skip(1)
        .map(|line| line.split(',').nth(index).and_then(|text| text.parse().ok()).expect("a number"))
        .collect()
}

/// White noise of so many bits, the same in every run.
pub fn noise(bits: u32) -> Vec<i32> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    std::iter::repeat_with(|| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> (64 - bits)) as i32 - (1 << (bits - 1))
    })
    .take(4096)
    .collect()
}

/// One second of acceleration at 50 Hz, x, y, z in thousandths of g: a walk with two steps a second, and noise.
///
/// Made, as no recording with a fitting licence is at hand.
pub fn acceleration() -> [Vec<i32>; 3] {
    let noise = noise(5);
    let axis = |offset: f64, swing: f64, phase: f64, from: usize| {
        (0..50)
            .map(|n| {
                let turn = std::f64::consts::TAU * 2.0 * f64::from(n) / 50.0 + phase;
                (offset + swing * turn.sin()) as i32 + noise[from + n as usize]
            })
            .collect()
    };
    [axis(40.0, 150.0, 0.0, 0), axis(-120.0, 90.0, 1.0, 50), axis(980.0, 300.0, 2.0, 100)]
}

/// Every signal of the table of bits per sample.
pub fn all() -> Vec<Signal> {
    let signal = |name, samples, times| Signal { name, samples, raw_bits: 16, times, white: false };
    let wave = |name, samples| signal(name, samples, Times::Counted);
    let trend = |name, samples, step| signal(name, samples, Times::Every(step));
    let mut all = vec![
        wave("ECG, MIT-BIH 208", ecg()),
        wave("PPG", samples(include_bytes!("../../data/ppg_peakdet.i16"))),
        signal("RR, ms, and times", rr_millis(), Times::Intervals(10_000)),
        signal("RR, 1/128 s, and times", rr_counts(), Times::Intervals(RR_TICK)),
        trend("RR, 1/128 s, without times", rr_counts(), 800),
        trend("heart rate, 1 Hz", heart_rates(), 1000),
        trend("glucose, mg/dL", column(1), 180_000),
        Signal { raw_bits: 32, ..trend("insulin, µU/min", column(2), 180_000) },
    ];
    for (name, raw_bits) in [("noise, 8 bits", 8), ("noise, 12 bits", 12), ("noise, 16 bits", 16)] {
        all.push(Signal { raw_bits, white: true, ..wave(name, noise(raw_bits)) });
    }
    all.push(wave("constant", vec![1024; 4096]));
    all
}

/// Returns the entropy of the numbers' frequencies, in bits per number.
pub fn entropy(numbers: &[i32]) -> f64 {
    let mut counts: HashMap<i32, f64> = HashMap::new();
    numbers.iter().for_each(|number| *counts.entry(*number).or_default() += 1.0);
    let all = numbers.len() as f64;
    counts.values().map(|count| count / all * (all / count).log2()).sum()
}

/// Returns the entropies of the numbers and of their first and second differences.
pub fn entropies(samples: &[i32]) -> [f64; 3] {
    let differences = |numbers: &[i32]| -> Vec<i32> {
        numbers.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect()
    };
    let first = differences(samples);
    [entropy(samples), entropy(&first), entropy(&differences(&first))]
}

/// The smallest of these: what an ideal code of single numbers would reach with the whole file's frequencies known
/// for nothing. A real code has to learn them in each block. White noise takes its bits, whatever a sample of it shows.
pub fn limit(signal: &Signal) -> f64 {
    if signal.white {
        return f64::from(signal.raw_bits);
    }
    entropies(&signal.samples).into_iter().fold(f64::INFINITY, f64::min)
}
