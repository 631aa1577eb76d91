use super::event::{AuditEvent, Trouble};
use super::fields::{Count, Name};
use crate::error::{Discard, Discards};
use crate::framing::WallReading;
use crate::limits::{
    AUDIT_ALIKE, AUDIT_ESSENTIAL_QUEUE, AUDIT_INTERVAL, AUDIT_QUEUE, CLOCK_DRIFT_PPM, CLOCK_JUMP_MILLIS,
};
use crate::time::{Instant, UnixSeconds};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

/// An event that waits to be logged, with the time when it was noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// The node's own clock.
    pub at: Instant,
    /// The wall clock, if it is known.
    pub wall: Option<WallReading>,
    /// Which shard it happened on.
    pub shard: u8,
    /// What happened.
    pub event: AuditEvent,
}

/// Events that wait for an [`AuditLog`](super::AuditLog), bounded.
///
/// Usual events take at most [`AUDIT_QUEUE`](crate::limits::AUDIT_QUEUE) places, essential ones
/// [`AUDIT_ESSENTIAL_QUEUE`](crate::limits::AUDIT_ESSENTIAL_QUEUE) more. What finds no room is lost and counted, and the log says so
/// in its place ([`AuditEvent::Lost`]). What anybody can cause as often as he likes is noted
/// [`AUDIT_ALIKE`](crate::limits::AUDIT_ALIKE) times per [`AUDIT_INTERVAL`](crate::limits::AUDIT_INTERVAL), and then counted.
#[derive(Debug, Default)]
pub struct AuditQueue {
    shard: u8,
    waiting: VecDeque<Noted>,
    /// How many of them are usual ones.
    usual: usize,
    lost_usual: u64,
    lost_essential: u64,
    lost_at: Instant,
    /// Over the queue's life, for the metrics.
    lost: u64,
    /// When the present interval began.
    since: Instant,
    /// How often cheap kinds came in the present interval.
    alike: BTreeMap<u8, u64>,
    /// The discards that have been told.
    told: Discards,
    told_events_lost: u64,
    wall: Option<(Instant, WallReading)>,
}

impl AuditQueue {
    /// Makes the queue of a shard.
    pub fn new(shard: u8) -> Self {
        Self { shard, ..Self::default() }
    }

    /// Notes an event, to be logged with the time of now.
    pub fn note(&mut self, now: Instant, event: AuditEvent) {
        if event.is_cheap() {
            let count = self.alike.entry(event.code()).or_default();
            *count = count.saturating_add(1);
            if *count > AUDIT_ALIKE {
                return;
            }
        }
        let usual = !event.is_essential();
        let most = if usual { AUDIT_QUEUE } else { AUDIT_ESSENTIAL_QUEUE };
        let taken = if usual { self.usual } else { self.essential() };
        if taken >= most {
            let lost = if usual { &mut self.lost_usual } else { &mut self.lost_essential };
            *lost = lost.saturating_add(1);
            self.lost = self.lost.saturating_add(1);
            self.lost_at = now;
            return;
        }
        // Where the log lacks something, it says so.
        let lost = self.take_lost();
        self.waiting.extend(lost);
        self.usual = self.usual.saturating_add(usize::from(usual));
        let noted = Noted { at: now, wall: self.wall_at(now), shard: self.shard, event };
        self.waiting.push_back(noted);
    }

    /// Tells the wall-clock time: entries carry it from now on, as far as it goes on by `now`. A jump is noted.
    pub fn set_wall_time(&mut self, now: Instant, wall: WallReading) {
        let jump = self.wall_at(now).zip(self.wall).and_then(|(expected, (since, _))| {
            let by = i64::try_from(wall.unix_millis)
                .ok()?
                .checked_sub(i64::try_from(expected.unix_millis).ok()?)?;
            let drift = now.since(since).as_millis().saturating_mul(CLOCK_DRIFT_PPM).div_ceil(1_000_000);
            (by.unsigned_abs() > drift.saturating_add(CLOCK_JUMP_MILLIS)).then_some(by)
        });
        if let Some(millis) = jump {
            // Its own time is that of before.
            self.note(now, AuditEvent::ClockJumped { millis });
        }
        self.wall = Some((now, wall));
    }

    /// Notes that the clock for credentials was set, if it is not as expected.
    /// `known`: what it showed when it was set before, and when that was.
    pub(crate) fn clock_set(
        &mut self,
        now: Instant,
        known: Option<(UnixSeconds, Instant)>,
        before: Option<UnixSeconds>,
        after: UnixSeconds,
    ) {
        // Seconds are rounded at both ends.
        let as_expected = known.is_some_and(|(showed, since)| {
            showed.0.saturating_add(now.since(since).as_secs()).abs_diff(after.0) <= 2
        });
        if !as_expected && before != Some(after) {
            self.note(now, AuditEvent::ClockSet { before, after });
        }
    }

    fn wall_at(&self, now: Instant) -> Option<WallReading> {
        let (since, wall) = self.wall?;
        let elapsed = now.since(since).as_millis();
        Some(WallReading { unix_millis: wall.unix_millis.saturating_add(elapsed), ..wall })
    }

    /// Notes what was only counted, if the interval is over; `all`: in any case.
    pub(crate) fn count(&mut self, now: Instant, discards: &Discards, events_lost: u64, all: bool) {
        if now.since(self.since) < AUDIT_INTERVAL && !all {
            return;
        }
        self.since = now;
        for (kind, count) in core::mem::take(&mut self.alike) {
            let count = count.saturating_sub(AUDIT_ALIKE);
            if count > 0 {
                self.note(now, AuditEvent::Suppressed { kind, count });
            }
        }
        let risen = |discard: Discard| u64::from(discards.of(discard).saturating_sub(self.told.of(discard)));
        let mut noted = Vec::new();
        for trouble in Trouble::ALL {
            let of_it = Discard::ALL.iter().filter(|discard| Trouble::of(**discard) == Some(trouble));
            let mut counts: Vec<Count> = of_it
                .map(|&discard| Count { name: discard.into(), count: risen(discard) })
                .filter(|count| count.count > 0)
                .collect();
            let lost = events_lost.saturating_sub(self.told_events_lost);
            if trouble == Trouble::Limits && lost > 0 {
                counts.push(Count { name: Name::from("EventsLost"), count: lost });
            }
            if !counts.is_empty() {
                noted.push(trouble.event(counts));
            }
        }
        self.told = discards.clone();
        self.told_events_lost = events_lost;
        noted.into_iter().for_each(|event| self.note(now, event));
    }

    /// When counts are to be noted, if there is anything to count.
    pub fn next_counts(&self) -> Instant {
        self.since + AUDIT_INTERVAL
    }

    /// Returns what was lost since this was told, as an event.
    fn take_lost(&mut self) -> Option<Noted> {
        let (usual, essential) =
            (core::mem::take(&mut self.lost_usual), core::mem::take(&mut self.lost_essential));
        let at = self.lost_at;
        let event = AuditEvent::Lost { usual, essential };
        (usual > 0 || essential > 0).then(|| Noted { at, wall: self.wall_at(at), shard: self.shard, event })
    }

    /// Takes the event that waits longest.
    pub fn pop(&mut self) -> Option<Noted> {
        let Some(noted) = self.waiting.pop_front() else { return self.take_lost() };
        if !noted.event.is_essential() {
            self.usual = self.usual.saturating_sub(1);
        }
        Some(noted)
    }

    /// Returns how many events wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns how many of them are essential ones.
    pub(crate) fn essential(&self) -> usize {
        self.waiting.len().saturating_sub(self.usual)
    }

    /// Tells whether nothing waits, and no loss is to be told.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.lost_usual == 0 && self.lost_essential == 0
    }

    /// Returns how many events were lost since the queue was made.
    pub const fn lost(&self) -> u64 {
        self.lost
    }
}
