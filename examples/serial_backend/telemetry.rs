//! What the monitor measures: recorded signals, and what is said of them. Firmware and backend share this file, so that
//! the backend knows, byte for byte, what must come.
//!
//! The recordings are excerpts of `data/`: an ECG of the MIT-BIH Arrhythmia Database (record 208) and a heart rate from
//! pyHRV. `data/NOTICE` names their authors and licences. An excerpt that ends begins again.

use vitalwire::clinical::{Channel, HeartRate, Lead, Scale, WaveformChannel};
use vitalwire::framing::{
    Alarm, ChannelDescriptor, Decimal, EncodeError, Measurement, Phase, Priority, Rate, TrendPoint,
    encode_descriptors,
};
use vitalwire::{Duration, Instant};

/// The time of one ECG block.
pub const STEP: Duration = Duration::from_millis(250);
/// Samples of an ECG block: 250 ms at 360 Hz.
pub const BLOCK: usize = 90;
/// Steps between two heart rates.
pub const STEPS_PER_RATE: u32 = 4;
/// Heart rates of a trend.
pub const TREND: usize = 4;
/// Blocks that are sent at once when an alarm begins.
pub const STRIP: u32 = 12;
/// Heart rates from here on raise an alarm, in beats per minute.
const HIGH_LIMIT: i32 = 71;

pub const ECG_CHANNEL: u8 = 1;
pub const RATE_CHANNEL: u8 = 2;
pub const TREND_CHANNEL: u8 = 3;
/// Bytes that always hold the descriptor set.
pub const DESCRIPTORS_LEN: usize = 128;

/// What the backend may ask the monitor to do.
pub mod command {
    /// Says which boot this is: the result is the boot's number (u32, little endian) and the command's body.
    pub const IDENTIFY: u16 = 1;
    /// Does a DH ratchet.
    pub const REKEY: u16 = 2;
    /// Stops measuring, and resets the device when nothing can be lost by it.
    pub const REBOOT: u16 = 3;
    /// Stops measuring, closes the session when all is delivered, and ends the run. No device would have this.
    pub const FINISH: u16 = 4;
    /// What the device answers to other kinds.
    pub const UNKNOWN_KIND: u16 = 0xfffe;
}

static ECG: [u8; 2 * 16 * BLOCK] = excerpt(include_bytes!("../../data/ecg_mitbih208_360hz.i16"), 0);
static RATES: [u8; 2 * 64] = excerpt(include_bytes!("../../data/hr_1hz_from_pyhrv.i16"), 2 * 572);

/// Cuts it when it is compiled, so that the image holds no more.
const fn excerpt<const N: usize>(file: &[u8], start: usize) -> [u8; N] {
    let mut bytes = [0; N];
    let mut at = 0;
    while at < N {
        bytes[at] = file[start + at];
        at += 1;
    }
    bytes
}

/// Returns a sample; an excerpt that ends begins again.
fn sample(excerpt: &[u8], index: u64) -> i32 {
    let at = (index % (excerpt.len() as u64 / 2)) as usize * 2;
    match excerpt.get(at..at + 2) {
        Some(&[low, high]) => i16::from_le_bytes([low, high]).into(),
        _ => 0,
    }
}

/// Returns the sample of the ECG at this place, in counts.
pub fn ecg_sample(index: u64) -> i32 {
    sample(&ECG, index)
}

/// Returns an ECG block of this boot, and the index of its first sample.
pub fn ecg_block(number: u32) -> (u64, [i32; BLOCK]) {
    let first = u64::from(number) * BLOCK as u64;
    (first, core::array::from_fn(|n| ecg_sample(first + n as u64)))
}

/// Returns the heart rate of a second of this boot, per minute.
pub fn heart_rate(second: u32) -> i32 {
    sample(&RATES, second.into())
}

pub fn measurement(second: u32) -> Measurement {
    Channel::<HeartRate>::new(RATE_CHANNEL).measured(heart_rate(second))
}

/// Returns the points of a trend of this boot.
pub fn trend(number: u32) -> [TrendPoint; TREND] {
    core::array::from_fn(|n| TrendPoint {
        offset: Duration::from_secs(n as u64),
        raw: heart_rate(number * TREND as u32 + n as u32),
    })
}

/// Returns the alarm that the heart rate of this second begins or ends, if it does.
pub fn alarm(second: u32) -> Option<Alarm> {
    let is_high = |rate| rate >= HIGH_LIMIT;
    let rate = heart_rate(second);
    let before = second.checked_sub(1).is_some_and(|before| is_high(heart_rate(before)));
    let phase = match (before, is_high(rate)) {
        (false, true) => Phase::Start,
        (true, false) => Phase::End,
        _ => return None,
    };
    let channel = Channel::<HeartRate>::new(RATE_CHANNEL);
    Some(Alarm { phase, ..channel.too_high(Priority::Medium, rate, HIGH_LIMIT) })
}

/// Writes the descriptors of the monitor's channels and returns their length.
pub fn descriptors(out: &mut [u8]) -> Result<usize, EncodeError> {
    // Lead II stands for MLII; (x − 1024) / 200 mV.
    let scale = Scale::new(Decimal::new(5, -3)).offset(Decimal::new(-512, -2));
    let ecg = WaveformChannel::ecg(ECG_CHANNEL, Lead::II, Rate::per_second(360), scale);
    let channels: [ChannelDescriptor<'_>; 3] = [
        ecg.descriptor(),
        Channel::<HeartRate>::new(RATE_CHANNEL).descriptor(),
        Channel::<HeartRate>::new(TREND_CHANNEL).sampled(Rate::per_second(1)).descriptor(),
    ];
    encode_descriptors(&channels, out)
}

/// Returns when a step of the monitor is due, in its own time.
pub fn step_time(started: Instant, step: u32) -> Instant {
    started + Duration::from_millis(u64::from(step) * STEP.as_millis())
}
