//! The service's durable store, which all nodes share, and what it must hold in the end.

use crate::kit::{number_of, sample};
use std::collections::{BTreeMap, BTreeSet};
use vitalwire::backend::Batch;
use vitalwire::delivery::{Ledger, Mark};
use vitalwire::framing::{BootTag, Lane, Record};
use vitalwire::identity::Identity;
use vitalwire::{Duration, Instant};

/// A record's id, by the number of its device and of the boot.
pub(crate) type Id = (usize, u32, Lane, u64);

/// What the world knows of a record that a device has accepted.
#[derive(Debug)]
pub(crate) struct Fact {
    content: String,
    /// A power cut may have taken it.
    pub(crate) may_be_lost: bool,
    /// For alarms: when it was accepted, and the bound, if the link works.
    pub(crate) alarm: Option<(Instant, Option<Due>)>,
}

/// By when an alarm must be stored, as long as its device has been disturbed so often and no more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    pub(crate) by: Instant,
    pub(crate) disturbed: u32,
    pub(crate) kind: usize,
}

/// A batch as the application holds it until it is stored.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) unit: usize,
    identity: Identity,
    mark: Mark,
    records: Vec<(u64, String)>,
}

#[derive(Default)]
pub(crate) struct Store {
    pub(crate) accepted: BTreeMap<Id, Fact>,
    stored: BTreeMap<Id, String>,
    pub(crate) ledgers: BTreeMap<Identity, Ledger>,
    tags: BTreeMap<(usize, u32), BootTag>,
    /// From acceptance to commit, of alarms under a bound.
    pub(crate) alarm_waits: Vec<Duration>,
    pub(crate) repeats: usize,
}

/// What a record says, and when.
pub(crate) fn content(unit: usize, time: Instant, record: &Record<'_>) -> String {
    if let Record::Waveform(block) = record {
        let expected = (block.first_sample..).map(|index| sample(unit, index));
        assert!(block.samples().zip(expected).all(|(a, b)| a == b), "altered samples");
        return "wave".into();
    }
    format!("{time:?} {record:?}")
}

impl Store {
    pub(crate) fn accept(&mut self, id: Id, content: String, alarm: Option<(Instant, Option<Due>)>) {
        let fact = Fact { content, may_be_lost: false, alarm };
        assert!(self.accepted.insert(id, fact).is_none(), "{id:?} was given twice");
    }

    /// Reads a batch, and checks that each record in it is what its device has accepted.
    pub(crate) fn read(&self, batch: &Batch<'_>) -> Pending {
        let (identity, mark) = (batch.identity(), batch.mark());
        let unit = number_of(&identity);
        let mut records = Vec::new();
        for record in batch.records() {
            let id = (unit, mark.stream.boot, mark.stream.lane, record.sequence);
            let fact = self.accepted.get(&id).unwrap_or_else(|| panic!("{id:?} is foreign"));
            let content = content(unit, record.time, &record.record);
            assert_eq!(fact.content, content, "{id:?} was altered");
            records.push((record.sequence, content));
        }
        assert!(!records.is_empty(), "an empty batch was delivered");
        Pending { unit, identity, mark, records }
    }

    /// One transaction: the records, and the mark. `disturbed`: how often their device was, so far.
    pub(crate) fn transaction(&mut self, now: Instant, pending: Pending, disturbed: u32) {
        let Pending { unit, identity, mark, records } = pending;
        let stream = mark.stream;
        let tag = self.tags.entry((unit, stream.boot)).or_insert(stream.tag);
        assert_eq!(*tag, stream.tag, "two tags of one boot");
        let fresh = self.ledgers.entry(identity).or_default().apply(&mark).expect("the ledger has room");
        for (sequence, content) in records {
            let id = (unit, stream.boot, stream.lane, sequence);
            if fresh >> (sequence - mark.first) & 1 == 0 {
                self.repeats += 1;
                continue;
            }
            assert!(self.stored.insert(id, content).is_none(), "{id:?} was stored twice");
            let Some((at, due)) = self.accepted[&id].alarm else { continue };
            let Some(due) = due.filter(|due| due.disturbed == disturbed) else { continue };
            self.alarm_waits.push(now.since(at));
            if now.since(at) > crate::kit::secs(2) {
                println!("SLOW {} {:?}", due.kind, now.since(at).as_millis() / 1000);
            } else {
                println!("FAST {}", due.kind);
            }
            assert!(now <= due.by, "{id:?} of {at:?} was stored at {now:?}, due {:?}", due.by);
        }
    }

    /// The power of a device is gone, and with it what is only in its memory.
    pub(crate) fn power_cut(&mut self, unit: usize, boot: u32, survives: impl Fn(&Id) -> bool) {
        let first = (unit, boot, Lane::Alarm, 0);
        let last = (unit, boot, Lane::Waveform, u64::MAX);
        for (id, fact) in self.accepted.range_mut(first..=last) {
            fact.may_be_lost |= !survives(id);
        }
    }

    pub(crate) fn has(&self, id: &Id) -> bool {
        self.stored.contains_key(id)
    }

    pub(crate) fn stored(&self) -> usize {
        self.stored.len()
    }

    /// Returns the ids that must have been stored and were not.
    pub(crate) fn missing(&self) -> Vec<Id> {
        let wanted = self.accepted.iter().filter(|(_, fact)| !fact.may_be_lost);
        wanted.map(|(id, _)| *id).filter(|id| !self.has(id)).collect()
    }

    /// Checks that the sequences of each stream were given one after the other, from 0.
    pub(crate) fn check_sequences(&self) {
        let mut next = BTreeMap::new();
        for &(unit, boot, lane, sequence) in self.accepted.keys() {
            let next = next.entry((unit, boot, lane)).or_insert(0);
            assert_eq!(sequence, *next);
            *next += 1;
        }
        let streams: BTreeSet<_> = self.stored.keys().map(|id| (id.0, id.1)).collect();
        assert!(streams.iter().all(|boot| self.tags.contains_key(boot)));
    }
}
