//! Knows what must come: every record is compared with the recording that firmware and backend share.

use crate::telemetry::{self, STEPS_PER_RATE, STRIP, TREND};
use std::collections::{BTreeMap, BTreeSet};
use vitalwire::backend::Batch;
use vitalwire::framing::{Alarm, Lane, Phase, Record, encode_record};

/// What came of one boot.
#[derive(Default)]
pub struct Boot {
    /// The samples of the ECG that are there: the first one's index, and behind the last one's.
    ecg: BTreeMap<u64, u64>,
    pub rates: BTreeSet<u64>,
    pub trends: BTreeSet<u64>,
    pub alarms: BTreeSet<u64>,
    /// By how many ECG blocks, accepted before it, the fastest alarm has overtaken.
    pub overtaken: u32,
}

/// What came of all boots.
#[derive(Default)]
pub struct Oracle {
    pub boots: BTreeMap<u32, Boot>,
    pub records: u32,
    /// The first record that was not as it must be.
    pub wrong: Option<String>,
}

impl Oracle {
    /// Compares the new records of a batch; bit n of `new` stands for the n-th sequence of it.
    pub fn check(&mut self, batch: &Batch<'_>, new: u64) {
        let (stream, first) = (batch.stream(), batch.mark().first);
        for record in batch.records().filter(|record| new >> (record.sequence - first) & 1 == 1) {
            self.records += 1;
            let boot = self.boots.entry(stream.boot).or_default();
            let is_right = boot.check(stream.lane, record.sequence, &record.record)
                && encodes_equally(batch, &record.record, record.sequence);
            if !is_right {
                let what = format!("boot {}, {:?} {}: {record:?}", stream.boot, stream.lane, record.sequence);
                self.wrong.get_or_insert(what);
            }
        }
    }

    /// Tells what is missing of a boot that is over.
    pub fn missing(&self, number: u32) -> Option<String> {
        match self.boots.get(&number) {
            Some(boot) => boot.missing().map(|what| format!("boot {number}: {what}")),
            None => Some(format!("boot {number} as a whole")),
        }
    }

    pub fn boot(&self, number: u32) -> Option<&Boot> {
        self.boots.get(&number)
    }
}

/// Compares the bytes, too: of what came, and of what the recording gives. A block that the device has split, as its
/// outbox had no room for it in one piece, may be encoded in another way than the same samples by themselves.
fn encodes_equally(batch: &Batch<'_>, record: &Record<'_>, sequence: u64) -> bool {
    let set = batch.descriptors().set();
    let (mut left, mut right) = ([0; 1024], [0; 1024]);
    let Ok(len) = encode_record(record, &set, &mut left) else { return false };
    let second = sequence as u32;
    let expected = match record {
        Record::Measurement(_) => {
            encode_record(&Record::Measurement(telemetry::measurement(second)), &set, &mut right)
        }
        Record::Trend(_) => {
            let points = telemetry::trend(second);
            let block = vitalwire::framing::TrendBlock::new(telemetry::TREND_CHANNEL, &points);
            encode_record(&Record::Trend(block), &set, &mut right)
        }
        Record::Waveform(block) if block.len() != telemetry::BLOCK => return true,
        Record::Waveform(block) => {
            let samples: Vec<_> =
                (block.first_sample..).take(block.len()).map(telemetry::ecg_sample).collect();
            let block =
                vitalwire::framing::WaveformBlock::new(telemetry::ECG_CHANNEL, block.first_sample, &samples);
            encode_record(&Record::Waveform(block), &set, &mut right)
        }
        Record::Alarm(_) => match alarm(sequence) {
            Some((_, alarm)) => encode_record(&Record::Alarm(alarm), &set, &mut right),
            None => return false,
        },
        _ => return false,
    };
    expected.is_ok_and(|expected| left[..len] == right[..expected])
}

/// Returns the n-th alarm of a boot, and its second.
fn alarm(number: u64) -> Option<(u32, Alarm)> {
    let alarms = (0..100_000).filter_map(|second| Some((second, telemetry::alarm(second)?)));
    alarms.into_iter().nth(usize::try_from(number).ok()?)
}

/// How many strips the alarms until this second, included, have begun.
fn strips(second: u32) -> u32 {
    let begins = |second: &u32| telemetry::alarm(*second).is_some_and(|alarm| alarm.phase == Phase::Start);
    (0..=second).filter(begins).count() as u32
}

impl Boot {
    fn check(&mut self, lane: Lane, sequence: u64, record: &Record<'_>) -> bool {
        match (lane, record) {
            (Lane::Event, Record::Measurement(measurement)) => {
                self.rates.insert(sequence) && *measurement == telemetry::measurement(sequence as u32)
            }
            (Lane::Trend, Record::Trend(block)) => {
                let expected = telemetry::trend(sequence as u32);
                self.trends.insert(sequence) && block.points().eq(expected)
            }
            (Lane::Waveform, Record::Waveform(block)) => {
                let (first, end) = (block.first_sample, block.first_sample + block.len() as u64);
                block.channel == telemetry::ECG_CHANNEL
                    && self.ecg.insert(first, end).is_none()
                    && block.samples().eq((first..end).map(telemetry::ecg_sample))
            }
            (Lane::Alarm, Record::Alarm(came)) => {
                let Some((second, expected)) = alarm(sequence) else { return false };
                if expected.phase == Phase::Start {
                    // It was accepted after the strip and after the blocks of its own second.
                    let before = (second + 1) * STEPS_PER_RATE + STRIP * strips(second);
                    self.overtaken = self.overtaken.max(before.saturating_sub(self.ecg.len() as u32));
                }
                self.alarms.insert(sequence) && *came == expected
            }
            _ => false,
        }
    }

    fn missing(&self) -> Option<String> {
        let mut end = 0;
        for (&from, &to) in &self.ecg {
            if from != end {
                return Some(format!("the ECG from sample {end} to {from}"));
            }
            end = to;
        }
        let rates = self.rates.len() as u64;
        for (name, set) in [("rate", &self.rates), ("trend", &self.trends), ("alarm", &self.alarms)] {
            if set.last().is_some_and(|&last| last + 1 != set.len() as u64) {
                return Some(format!("a {name} before the last of {}", set.len()));
            }
        }
        // What was measured at the same time must be there together.
        let trends = rates / TREND as u64;
        let alarms = (0..rates as u32).filter(|&second| telemetry::alarm(second).is_some()).count();
        let steps = u64::from(STEPS_PER_RATE);
        let strips = u64::from(STRIP) * u64::from(if rates == 0 { 0 } else { strips(rates as u32 - 1) });
        let blocks = end / telemetry::BLOCK as u64;
        if self.trends.len() as u64 != trends || self.alarms.len() != alarms {
            return Some(format!("trends or alarms: {} and {}", self.trends.len(), self.alarms.len()));
        }
        if !(rates * steps..(rates + 1) * steps).contains(&(blocks.saturating_sub(strips))) {
            return Some(format!("ECG blocks: {blocks} came with {rates} rates"));
        }
        None
    }
}

/// For a line of the log.
impl std::fmt::Display for Oracle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, boot) in &self.boots {
            let Boot { ecg, rates, trends, alarms, .. } = boot;
            let (ecg, rates, trends, alarms) = (ecg.len(), rates.len(), trends.len(), alarms.len());
            write!(f, "boot {number}: {ecg} ECG blocks, {rates} rates, {trends} trends, {alarms} alarms; ")?;
        }
        write!(f, "{} records", self.records)
    }
}
