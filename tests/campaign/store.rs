//! The service's durable store, which all nodes share, and what it must hold in the end.

use crate::kit::{CLOCK, number_of, sample};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use vitalwire::backend::{Batch, ClaimOutcome, Claims, TicketClaim};
use vitalwire::delivery::{ClosedStream, Ledger, Mark, StreamKey};
use vitalwire::framing::{BootTag, GapReason, Lane, Record};
use vitalwire::identity::Identity;
use vitalwire::{Duration, Instant};

/// A record's id, by the number of its device and how often that was switched on before.
pub(crate) type Id = (usize, u32, Lane, u64);

/// The id of a gap record, with the boot number and tag of its stream.
type GapId = (usize, (u32, BootTag), Lane, u64);

/// What the world knows of a record that a device has accepted.
#[derive(Debug)]
pub(crate) struct Fact {
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
    /// An alarm has come through since.
    pub(crate) works: bool,
}

/// A batch as the application holds it until it is stored.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) unit: usize,
    identity: Identity,
    mark: Mark,
    fence: u64,
    closed: Vec<ClosedStream>,
    records: Vec<(u64, Came)>,
    /// It came in a Hello, which shows no session that works.
    pub(crate) early: bool,
}

/// A record of a batch.
#[derive(Clone, Debug)]
enum Came {
    /// One that the device's application gave.
    Given(Id),
    /// What a gap record of the device itself names.
    Gap(Range<u64>),
}

/// What the store keeps of a device: its ledger, and which session of which node has it.
#[derive(Default)]
struct Row {
    ledger: Ledger,
    fence: u64,
    node: usize,
}

pub(crate) struct Store {
    pub(crate) accepted: BTreeMap<Id, Fact>,
    /// By what they say: no two of a device are alike.
    contents: BTreeMap<(usize, String), Id>,
    stored: BTreeSet<Id>,
    /// What the gap records name that were stored, by the streams' ids, which need not be known yet.
    pub(crate) gaps: BTreeMap<GapId, Range<u64>>,
    /// How many records each device said that it gave up.
    pub(crate) dropped: BTreeMap<(usize, u32, Lane), usize>,
    /// Of each boot that ended, one above what was safe then in each lane.
    safe: BTreeMap<(usize, u32), [u64; 4]>,
    /// The latest sequence of each lane that was given to a record.
    latest: BTreeMap<(usize, u32, Lane), u64>,
    rows: BTreeMap<Identity, Row>,
    /// Which boot number and tag each boot has had.
    boots: BTreeMap<(usize, u32), (u32, BootTag)>,
    /// From acceptance to commit, of alarms under a bound.
    pub(crate) alarm_waits: [Vec<Duration>; 2],
    /// How often each device had been disturbed when an alarm came through that was accepted since.
    pub(crate) works: BTreeMap<usize, u32>,
    pub(crate) repeats: usize,
    claims: Claims,
    /// Until then no claim is answered.
    pub(crate) no_claims: Instant,
    /// Tickets that were claimed anew.
    pub(crate) resumed: usize,
}

/// What a record says, and when.
pub(crate) fn content(unit: usize, time: Instant, record: &Record<'_>) -> String {
    if let Record::Waveform(block) = record {
        let expected = (block.first_sample..).map(|index| sample(unit, index));
        assert!(block.samples().zip(expected).all(|(a, b)| a == b), "altered samples");
        return format!("wave {} {}", block.first_sample, block.len());
    }
    format!("{time:?} {record:?}")
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            accepted: BTreeMap::new(),
            contents: BTreeMap::new(),
            stored: BTreeSet::new(),
            gaps: BTreeMap::new(),
            dropped: BTreeMap::new(),
            safe: BTreeMap::new(),
            latest: BTreeMap::new(),
            rows: BTreeMap::new(),
            boots: BTreeMap::new(),
            alarm_waits: Default::default(),
            works: BTreeMap::new(),
            repeats: 0,
            claims: Claims::new(10_000),
            no_claims: Instant::ZERO,
            resumed: 0,
        }
    }

    /// Claims a ticket, for any node.
    pub(crate) fn claim(&mut self, now: Instant, claim: &TicketClaim) -> ClaimOutcome {
        if now < self.no_claims {
            return ClaimOutcome::Unavailable;
        }
        let outcome = self.claims.claim(CLOCK, claim);
        assert_ne!(outcome, ClaimOutcome::Other, "an honest device used a ticket twice");
        self.resumed += usize::from(outcome == ClaimOutcome::New);
        outcome
    }

    pub(crate) fn accept(&mut self, id: Id, content: String, alarm: Option<(Instant, Option<Due>)>) {
        let latest = self.latest.insert((id.0, id.1, id.2), id.3);
        assert!(latest.is_none_or(|latest| latest < id.3), "{id:?} after {latest:?}");
        assert!(self.contents.insert((id.0, content), id).is_none(), "{id:?} says what another one said");
        let fact = Fact { may_be_lost: false, alarm };
        assert!(self.accepted.insert(id, fact).is_none(), "{id:?} was given twice");
    }

    /// Reads a batch, and checks that each record in it is what its device has accepted, under its own id.
    pub(crate) fn read(&mut self, batch: &Batch<'_>) -> Pending {
        let (identity, mark) = (batch.identity(), batch.mark());
        let StreamKey { boot, tag, lane } = mark.stream;
        let unit = number_of(&identity);
        let mut records = Vec::new();
        for record in batch.records() {
            if let Record::Gap(gap) = &record.record {
                let (stream, named) = mark.stream.named_by(gap);
                let sequence = record.sequence;
                assert_eq!((stream, gap.reason), (mark.stream, GapReason::OutboxFull));
                assert!(lane != Lane::Alarm && named.start < named.end && named.end <= sequence, "{gap:?}");
                records.push((sequence, Came::Gap(named)));
                continue;
            }
            let content = content(unit, record.time, &record.record);
            let key = (unit, content);
            let id = *self.contents.get(&key).unwrap_or_else(|| panic!("foreign or altered: {key:?}"));
            assert_eq!((id.2, id.3), (lane, record.sequence), "{key:?} has the id of another one");
            let known = self.boots.entry((unit, id.1)).or_insert((boot, tag));
            assert_eq!(*known, (boot, tag), "one boot has two numbers or tags");
            records.push((record.sequence, Came::Given(id)));
        }
        assert!(!records.is_empty(), "an empty batch was delivered");
        Pending {
            unit,
            identity,
            mark,
            fence: batch.fence(),
            closed: batch.closed().to_vec(),
            records,
            early: false,
        }
    }

    /// One transaction: the records, and the mark; `false` if the batch's session has lost the device to another one.
    /// `disturbed`: how often it was, so far.
    pub(crate) fn transaction(
        &mut self,
        now: Instant,
        node: usize,
        pending: Pending,
        disturbed: u32,
    ) -> bool {
        let Pending { unit, identity, mark, fence, closed, records, early } = pending;
        let row = self.rows.entry(identity).or_default();
        let owns = row.fence == fence && row.node == node;
        if !owns && row.fence + 1 != fence {
            return false;
        }
        (row.fence, row.node) = (fence, node);
        let ledger = &mut row.ledger;
        closed.iter().for_each(|closed| ledger.close(closed));
        let fresh = ledger.apply(&mark).expect("the ledger has room");
        for (sequence, came) in records {
            if fresh >> (sequence - mark.first) & 1 == 0 {
                self.repeats += 1;
                continue;
            }
            let id = match came {
                Came::Given(id) => id,
                Came::Gap(named) => {
                    let StreamKey { boot, tag, lane } = mark.stream;
                    let id = (unit, (boot, tag), lane, sequence);
                    assert!(self.gaps.insert(id, named).is_none(), "{id:?} was stored twice");
                    continue;
                }
            };
            assert!(self.stored.insert(id), "{id:?} was stored twice");
            let Some((at, due)) = self.accepted[&id].alarm else { continue };
            let Some(due) = due.filter(|due| due.disturbed == disturbed) else { continue };
            if !early {
                self.works.insert(id.0, disturbed);
            }
            self.alarm_waits[usize::from(due.works)].push(now.since(at));
            assert!(now <= due.by, "{id:?} of {at:?} was stored at {now:?}, due {:?}", due.by);
        }
        true
    }

    /// What a session begins with: the ledger, and its fence.
    pub(crate) fn open(&self, identity: &Identity) -> (Ledger, u64) {
        self.rows.get(identity).map_or((Ledger::default(), 1), |row| (row.ledger.clone(), row.fence + 1))
    }

    /// The power of a device is gone, and with it what is only in its memory.
    pub(crate) fn power_cut(&mut self, unit: usize, boot: u32, safe: [u64; 4]) {
        self.safe.insert((unit, boot), safe);
        let first = (unit, boot, Lane::Alarm, 0);
        let last = (unit, boot, Lane::Waveform, u64::MAX);
        for (id, fact) in self.accepted.range_mut(first..=last) {
            fact.may_be_lost |= id.3 >= safe[id.2.code() as usize];
        }
    }

    pub(crate) fn has(&self, id: &Id) -> bool {
        self.stored.contains(id)
    }

    pub(crate) fn stored(&self) -> usize {
        self.stored.len()
    }

    /// Returns the ids that must have been stored and were not.
    pub(crate) fn missing(&self) -> Vec<Id> {
        let named = self.named();
        let wanted = self.accepted.iter().filter(|(_, fact)| !fact.may_be_lost);
        wanted.map(|(id, _)| *id).filter(|id| !self.has(id) && !named.contains(id)).collect()
    }

    /// Gap records by their ids, as far as their boots are known from other records; and what they name.
    fn gaps_by_id(&self) -> impl Iterator<Item = (Id, &Range<u64>)> {
        let boots: BTreeMap<_, _> =
            self.boots.iter().map(|((unit, boot), stream)| ((*unit, *stream), *boot)).collect();
        self.gaps.iter().filter_map(move |((unit, stream, lane, sequence), named)| {
            Some(((*unit, *boots.get(&(*unit, *stream))?, *lane, *sequence), named))
        })
    }

    /// The ids that gap records name.
    fn named(&self) -> BTreeSet<Id> {
        self.gaps_by_id()
            .flat_map(|((unit, boot, lane, _), named)| named.clone().map(move |seq| (unit, boot, lane, seq)))
            .collect()
    }

    /// Checks that each stream has all sequences from 0: of records that were given, or of the device's own gap records,
    /// which came, or are named by another one, or went with the power; that gap records name nothing else; and that no
    /// more is missing than devices said that they gave up. Returns how many of the records that were given.
    pub(crate) fn check_gaps(&self) -> usize {
        let (named, gaps): (_, BTreeSet<_>) = (self.named(), self.gaps_by_id().map(|(id, _)| id).collect());
        let mut ends: BTreeMap<_, u64> = BTreeMap::new();
        for &(unit, boot, lane, sequence) in self.accepted.keys().chain(&gaps) {
            let end = ends.entry((unit, boot, lane)).or_default();
            *end = (*end).max(sequence + 1);
        }
        for id in &gaps {
            assert!(!self.accepted.contains_key(id), "{id:?} is a gap and something else");
        }
        for id in &named {
            assert!(ends.get(&(id.0, id.1, id.2)).is_some_and(|end| id.3 < *end), "{id:?} was never given");
        }
        let mut missing = 0;
        for ((unit, boot, lane), end) in ends {
            let safe = self.safe.get(&(unit, boot)).map(|safe| safe[lane.code() as usize]);
            let mut dropped = 0;
            for id in (0..end).map(|sequence| (unit, boot, lane, sequence)) {
                let accounted =
                    gaps.contains(&id) || named.contains(&id) || safe.is_some_and(|safe| id.3 >= safe);
                assert!(accounted || self.accepted.contains_key(&id), "nobody knows what {id:?} was");
                dropped +=
                    usize::from(named.contains(&id) && self.accepted.contains_key(&id) && !self.has(&id));
            }
            let told = self.dropped.get(&(unit, boot, lane)).copied().unwrap_or(0);
            assert!(dropped <= told, "{lane:?} of {unit}, boot {boot}: {dropped} missing, {told} dropped");
            missing += dropped;
        }
        missing
    }

    /// Checks that no two boots of a device have the same streams.
    pub(crate) fn check_streams(&self) {
        let streams: BTreeSet<_> =
            self.boots.iter().map(|((unit, _), stream)| (*unit, stream.0, stream.1.0)).collect();
        assert_eq!(streams.len(), self.boots.len(), "two boots have the same number and tag");
    }
}
