//! Compares what was stored with the source files. It trusts no counter of the library.

use crate::charts::Chart;
use crate::device::Logbook;
use crate::signals::{Content, Fact, Patient, Signal};
use std::collections::{BTreeMap, HashMap, HashSet};
use vitalwire::Instant;
use vitalwire::framing::Lane;

/// As many waveforms that wait make an alarm one under load.
pub const LOAD: u32 = 8;

/// What became of one channel (or of the alarms): samples of waveforms, else records.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub measured: u64,
    pub correct: u64,
}

/// What became of one device's records.
#[derive(Debug, Default)]
pub struct Verdict {
    pub sent: u64,
    pub delivered: u64,
    /// Records that were accepted and never stored, and facts or samples that never arrived.
    pub lost: u64,
    /// Records that reached the application though they were stored, by id or by content.
    pub twice: u64,
    /// Records that differ from the source.
    pub altered: u64,
    /// Records that this device never sent.
    pub foreign: u64,
    /// Records that were in RAM only when the power failed, and had not been delivered.
    pub unstored: u64,
    /// Latencies of alarms that were raised while waveforms waited.
    pub alarms_behind_waveforms: Vec<u64>,
    pub channels: BTreeMap<(Option<Signal>, &'static str), Tally>,
    /// From acceptance to commit, in milliseconds of the ward's clock.
    pub latencies: Vec<(Lane, u64)>,
}

impl Verdict {
    pub const fn is_good(&self) -> bool {
        self.lost == 0 && self.twice == 0 && self.altered == 0 && self.foreign == 0
    }
}

/// What a fact that is no waveform is recognised by.
type Key = (Lane, u8, Instant);

/// Judges one device by its chart; the logbook gives the ids, and the time of acceptance.
pub fn judge(patient: &Patient, chart: &Chart, log: &Logbook) -> Verdict {
    let mut verdict = Verdict { twice: chart.repeats, ..Verdict::default() };
    let mut accepted = HashMap::new();
    for given in &log.accepted {
        let ids = given.ids;
        for sequence in ids.first..ids.first + u64::from(ids.count) {
            accepted.insert((log.boots[given.boot].number, ids.lane, sequence), given);
        }
    }
    verdict.sent = accepted.len() as u64;
    let from: HashMap<u32, Instant> = log.boots.iter().map(|boot| (boot.number, boot.from)).collect();

    let mut expected: HashMap<Key, Fact> = HashMap::new();
    let facts = patient.facts();
    for (_, fact) in facts.iter().cloned() {
        if !matches!(fact.content, Content::Waveform { .. }) {
            verdict.channels.entry(heading(&fact)).or_default().measured += 1;
            expected.insert((fact.lane, fact.channel, fact.time), fact);
        }
    }
    let mut missing: HashMap<Signal, Vec<bool>> = HashMap::new();
    for &signal in patient.signals.iter().filter(|signal| signal.block().is_some()) {
        let samples = patient.samples_of(signal);
        verdict.channels.entry((Some(signal), "samples")).or_default().measured = samples;
        missing.insert(signal, vec![true; samples as usize]);
    }

    let mut seen: HashSet<(u32, Lane, u64)> = HashSet::new();
    let mut gone: HashSet<Key> = HashSet::new();
    for stored in &chart.stored {
        let id = (stored.boot, stored.lane, stored.sequence);
        if !seen.insert(id) {
            verdict.twice += 1;
            continue;
        }
        let Some((given, from)) = accepted.get(&id).zip(from.get(&stored.boot)) else {
            verdict.foreign += 1;
            continue;
        };
        let latency = stored.at.since(given.at).as_millis();
        verdict.latencies.push((stored.lane, latency));
        if stored.lane == Lane::Alarm && given.behind >= LOAD {
            verdict.alarms_behind_waveforms.push(latency);
        }
        // From the device's clock to the ward's.
        let time = *from + stored.fact.time.since(Instant::ZERO);
        let fact = Fact { time, ..stored.fact.clone() };
        if let Content::Waveform { first, samples } = &fact.content {
            verdict.judge_waveform(patient, &fact, *first, samples, &mut missing);
            continue;
        }
        let key = (fact.lane, fact.channel, fact.time);
        match expected.remove(&key) {
            Some(measured) if measured == fact => {
                gone.insert(key);
                verdict.channels.entry(heading(&fact)).or_default().correct += 1;
            }
            Some(_) => verdict.altered += 1,
            None if gone.contains(&key) => verdict.twice += 1,
            None => verdict.foreign += 1,
        }
    }
    verdict.delivered = seen.len() as u64;
    for (id, given) in accepted.iter().filter(|(id, _)| !seen.contains(*id)) {
        let (_, lane, sequence) = *id;
        let safe = log.boots[given.boot].safe.map(|safe| safe[lane.index()]);
        if safe.is_none_or(|through| through.is_some_and(|through| sequence <= through)) {
            verdict.lost += 1;
            continue;
        }
        verdict.unstored += 1;
        let Some((_, fact)) = facts.get(given.fact) else { continue };
        match &fact.content {
            Content::Waveform { first, samples } => {
                let range = *first as usize..*first as usize + samples.len();
                if let Some(missing) = Signal::of_channel(fact.channel)
                    .and_then(|signal| missing.get_mut(&signal)?.get_mut(range))
                {
                    missing.fill(false);
                }
            }
            _ => drop(expected.remove(&(fact.lane, fact.channel, fact.time))),
        }
    }
    // What the device did not even accept is lost as well.
    let samples: usize =
        missing.values().map(|missing| missing.iter().filter(|missing| **missing).count()).sum();
    verdict.lost = verdict.lost.max(expected.len() as u64 + u64::from(samples > 0));
    verdict
}

impl Verdict {
    fn judge_waveform(
        &mut self,
        patient: &Patient,
        fact: &Fact,
        first: u64,
        samples: &[i32],
        missing: &mut HashMap<Signal, Vec<bool>>,
    ) {
        let signal = Signal::of_channel(fact.channel);
        let Some((signal, missing)) = signal.and_then(|signal| Some((signal, missing.get_mut(&signal)?)))
        else {
            self.foreign += 1;
            return;
        };
        let range = usize::try_from(first).ok().map(|first| first..first.saturating_add(samples.len()));
        let Some(missing) = range.and_then(|range| missing.get_mut(range)) else {
            self.foreign += 1;
            return;
        };
        if !patient.is_in_source(signal, first, samples)
            || patient.time_of_sample(signal, first) != Some(fact.time)
        {
            self.altered += 1;
            return;
        }
        if missing.iter().any(|missing| !missing) {
            self.twice += 1;
            return;
        }
        missing.fill(false);
        self.channels.entry((Some(signal), "samples")).or_default().correct += samples.len() as u64;
    }
}

fn heading(fact: &Fact) -> (Option<Signal>, &'static str) {
    match fact.content {
        Content::Alarm(_) => (None, "alarms"),
        _ => (Signal::of_channel(fact.channel), "records"),
    }
}
