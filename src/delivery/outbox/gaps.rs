//! What a full lane gives up, and the gap records that tell of it.

use super::lane::LaneQueue;
use super::policy::{LanePolicy, Level};
use super::ring::{HEADER, RecordState, Stage};
use crate::error::CallError;
use crate::framing::{EncodeError, Gap, GapReason};
use crate::limits::{DROP_SHARE, MAX_PENDING_GAPS, MIN_DROPPING_LANE};
use crate::time::Instant;

/// A run of sequences: the first, and one above the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    first: u64,
    end: u64,
}

impl Run {
    const fn of(sequence: u64) -> Self {
        Self { first: sequence, end: sequence.saturating_add(1) }
    }

    /// How many sequences are between two runs, `None` if they overlap or are neighbours.
    const fn distance(self, other: Self) -> Option<u64> {
        let up = other.first.saturating_sub(self.end);
        let down = self.first.saturating_sub(other.end);
        match up.saturating_add(down) {
            0 => None,
            distance => Some(distance),
        }
    }

    fn hull(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), end: self.end.max(other.end) }
    }
}

/// Runs that no gap record names yet: at most [`MAX_PENDING_GAPS`], apart from each other.
#[derive(Debug, Default)]
struct PendingGaps {
    runs: [PackedRun; MAX_PENDING_GAPS],
    /// Runs became one with what is between them.
    #[cfg(test)]
    blurred: bool,
}

/// A run in 12 bytes. One that is empty is a free place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct PackedRun {
    /// The first sequence: low and high half.
    first: [u32; 2],
    /// Below 2^32: a lane would have to lose records for years.
    count: u32,
}

impl From<Run> for PackedRun {
    fn from(run: Run) -> Self {
        let count = run.end.saturating_sub(run.first);
        Self {
            first: [run.first as u32, (run.first >> 32) as u32],
            count: u32::try_from(count).unwrap_or(u32::MAX),
        }
    }
}

impl From<PackedRun> for Run {
    fn from(PackedRun { first: [low, high], count }: PackedRun) -> Self {
        let first = u64::from(high) << 32 | u64::from(low);
        Self { first, end: first.saturating_add(count.into()) }
    }
}

impl PackedRun {
    const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl PendingGaps {
    /// Adds a run. Where there is no room for one more, it becomes one with its nearest neighbour, and names what is
    /// between them, too.
    fn add(&mut self, run: Run) {
        let mut run = run;
        // each turn but the last empties a slot
        for _ in 0..=MAX_PENDING_GAPS {
            for known in self.runs.iter_mut().filter(|known| !known.is_empty()) {
                if Run::from(*known).distance(run).is_none() {
                    run = run.hull(core::mem::take(known).into());
                }
            }
            if let Some(free) = self.runs.iter_mut().find(|known| known.is_empty()) {
                *free = run.into();
                return;
            }
            #[cfg(test)]
            {
                self.blurred = true;
            }
            if let Some(known) = self.runs.iter_mut().min_by_key(|known| Run::from(**known).distance(run)) {
                run = run.hull(core::mem::take(known).into());
            }
        }
    }

    fn lowest(&self) -> Option<Run> {
        self.iter().min()
    }

    fn remove(&mut self, run: Run) {
        for known in self.runs.iter_mut().filter(|known| Run::from(**known) == run) {
            *known = PackedRun::default();
        }
    }

    fn len(&self) -> u32 {
        self.iter().fold(0, |count, _| count.saturating_add(1))
    }

    fn iter(&self) -> impl Iterator<Item = Run> + '_ {
        self.runs.iter().filter(|run| !run.is_empty()).map(|run| Run::from(*run))
    }
}

/// What a lane has given up.
#[derive(Debug, Default)]
pub(super) struct GivenUp {
    pub(super) policy: LanePolicy,
    pub(super) level: Level,
    pending: PendingGaps,
    /// Spans what was given up while in flight, and of which nothing was heard since.
    held: Option<Run>,
    /// What is full now will be stored instead.
    pub(super) spills: bool,
    /// The lowest sequence that was given up, and may not be named yet by a gap record that is stored or settled.
    unnamed: Option<u64>,
    /// One above the last gap record's sequence.
    written_end: u64,
    dropped: u64,
    /// Since the application was told last: the first sequence, and how many.
    untold: Option<(u64, u32)>,
}

impl GivenUp {
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn pending(&self) -> u32 {
        self.pending.len()
    }

    #[cfg(test)]
    pub(super) const fn is_blurred(&self) -> bool {
        self.pending.blurred
    }

    pub(super) fn take_untold(&mut self) -> Option<(u64, u32)> {
        self.untold.take()
    }

    /// Tells whether nothing is left to hear of, or to write.
    pub(super) fn is_done(&self) -> bool {
        self.held.is_none() && self.pending.len() == 0
    }

    /// Returns the lowest sequence that no gap record below `durable_end` names.
    pub(super) fn unnamed(&self, durable_end: u64) -> Option<u64> {
        self.unnamed.filter(|_| !self.is_done() || durable_end < self.written_end)
    }

    fn must_name(&mut self, sequence: u64) {
        self.unnamed = Some(self.unnamed.map_or(sequence, |unnamed| unnamed.min(sequence)));
    }

    fn add(&mut self, run: Run) {
        self.must_name(run.first);
        self.pending.add(run);
    }

    fn hold(&mut self, run: Run) {
        self.must_name(run.first);
        self.held = Some(self.held.map_or(run, |held| held.hull(run)));
    }

    /// Takes note that a record does not exist any more, and nobody has acknowledged it.
    fn lose(&mut self, sequence: u64) {
        self.add(Run::of(sequence));
        self.dropped = self.dropped.saturating_add(1);
        let (first, count) = self.untold.unwrap_or((sequence, 0));
        self.untold = Some((first.min(sequence), count.saturating_add(1)));
    }
}

impl LaneQueue<'_> {
    /// Starts to stage records.
    pub(super) fn stage(&mut self) -> Stage {
        let stage = self.ring.stage();
        self.mend_cursors();
        stage
    }

    /// Returns the oldest sequence that is not settled, those included that were given up in flight; or the next one.
    pub(super) fn oldest(&self) -> u64 {
        //= SPEC.md#full-lanes
        //# A device MUST NOT name an oldest sequence of a stream that is above one in flight, given up or not.
        self.below_held(self.base())
    }

    fn below_held(&self, sequence: u64) -> u64 {
        self.given_up.held.map_or(sequence, |held| held.first.min(sequence))
    }

    /// Spans the sequences that were given up in flight.
    pub(super) fn held(&self) -> core::ops::Range<u64> {
        self.given_up.held.map_or(0..0, |held| held.first..held.end)
    }

    /// Forgets what a gap record names that is stored or settled.
    pub(super) fn forget_named(&mut self) {
        self.given_up.unnamed = self.given_up.unnamed(self.unstored_from());
    }

    /// Returns how many bytes of the lane nothing but their acknowledgement can free, and 0 while storage can.
    pub(super) fn pressing(&self) -> usize {
        if self.given_up.spills {
            0
        } else if self.stored.sequence > self.ring.first() {
            self.unstored_bytes()
        } else {
            self.ring.used()
        }
    }

    fn may_drop(&self) -> bool {
        let policy = self.given_up.policy != LanePolicy::Refuse && !self.given_up.spills;
        policy && self.ring.capacity() >= MIN_DROPPING_LANE
    }

    /// Makes room: what is stored leaves the memory first. Then the oldest records of an eighth of the lane are given up,
    /// as the policy permits it. Tells whether there is more room.
    pub(super) fn make_room(&mut self, stage: &mut Stage) -> bool {
        if self.evict(stage) > 0 {
            return true;
        }
        if !self.may_drop() {
            return false;
        }
        let target = self.ring.capacity() / DROP_SHARE;
        let (mut freed, mut any) = (0usize, false);
        while let Some(entry) = self.ring.entry(self.ring.oldest())
            && (freed < target || entry.state == RecordState::Settled)
        {
            let sequence = self.ring.first();
            if entry.state != RecordState::Settled {
                //= SPEC.md#full-lanes
                //# A device that gives up a gap record MUST cover all that it names, and itself, with a later one.
                let gap = Gap::peek(self.ring.record(entry)).filter(|gap| gap.lane.is_none());
                if let Some(gap) = gap {
                    let end = gap.first.saturating_add(gap.count);
                    self.given_up.add(Run { first: gap.first, end });
                    self.given_up.add(Run::of(sequence));
                }
            }
            match entry.state {
                RecordState::Settled => {}
                // Whether it has arrived shows when its flight ends.
                RecordState::InFlight => self.given_up.hold(Run::of(sequence)),
                RecordState::Queued => {
                    self.leave_queue(entry);
                    self.given_up.lose(sequence);
                }
            }
            let end = sequence.saturating_add(1);
            self.sent_end = self.sent_end.max(end);
            self.refused_end = self.refused_end.max(end);
            freed = freed.saturating_add(HEADER).saturating_add(entry.len);
            self.ring.drop_oldest(stage);
            any = true;
        }
        self.mend_cursors();
        any
    }

    /// Takes note that the flight of a record has ended without an answer: it is lost if it was given up meanwhile.
    pub(super) fn lose_held(&mut self, sequence: u64) {
        if self.held().contains(&sequence) {
            self.given_up.lose(sequence);
        }
    }

    /// Takes note of the lowest sequence in flight of those that were given up so.
    pub(super) fn hold_from(&mut self, lowest: Option<u64>) {
        let held = self.given_up.held.zip(lowest);
        let left = held.map(|(held, first)| Run { first, end: held.end });
        self.given_up.held = left.filter(|left| left.first < left.end);
    }

    /// Writes gap records for what was lost, once the ones before are stored or settled.
    //= SPEC.md#full-lanes
    //# A device MUST name each record that it gives up in a gap record, unless the record is acknowledged in its flight.
    pub(super) fn write_gaps(&mut self, now: Instant) {
        if self.below_held(self.unstored_from()) < self.given_up.written_end {
            return;
        }
        // Room is made by giving up more, which may add to the runs, so the turns are counted.
        for _ in 0..MAX_PENDING_GAPS.saturating_mul(2) {
            let Some(run) = self.given_up.pending.lowest() else { return };
            let count = run.end.saturating_sub(run.first);
            let gap = Gap { lane: None, first: run.first, count, reason: GapReason::OutboxFull };
            let mut stage = self.stage();
            let mut encode = |space: &mut [u8]| match gap.encode(space) {
                Err(EncodeError::BufferTooSmall(error)) => Err(error.into()),
                result => result.map_err(|_| CallError::BadRecord),
            };
            match self.ring.append(&mut stage, now, &mut encode) {
                Ok(()) => {
                    self.commit(now, stage);
                    self.given_up.pending.remove(run);
                    self.given_up.written_end = self.ring.end();
                }
                Err(CallError::LaneFull) if self.make_room(&mut stage) => {}
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn pending_gaps_are_exact_while_they_fit_and_never_forget(
            runs in proptest::collection::vec((0u64..400, 1u64..20), 1..40)
        ) {
            let (mut gaps, mut model, mut exact) = (PendingGaps::default(), BTreeSet::new(), true);
            for (first, count) in runs {
                gaps.add(Run { first, end: first + count });
                model.extend(first..first + count);
                let apart = model.iter().filter(|id| **id == 0 || !model.contains(&(*id - 1))).count();
                exact &= apart <= MAX_PENDING_GAPS;
                let mut named = BTreeSet::new();
                for run in gaps.iter() {
                    for id in run.first..run.end {
                        prop_assert!(named.insert(id), "named twice");
                    }
                }
                prop_assert!(named.is_superset(&model));
                if exact {
                    prop_assert_eq!(&named, &model);
                    prop_assert_eq!((gaps.len() as usize, gaps.blurred), (apart, false));
                }
                prop_assert_eq!(gaps.lowest().map(|run| run.first), named.first().copied());
            }
            while let Some(run) = gaps.lowest() {
                gaps.remove(run);
            }
            prop_assert_eq!(gaps.len(), 0);
        }
    }
}
