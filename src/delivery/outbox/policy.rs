//! What a lane does when it is full, and how it says how full it is.

use super::ring::{HEADER, RecordState};
use super::{Outbox, Queue};
use crate::error::CallError;
use crate::framing::{Lane, peek_channel};

/// What happens to a record that does not fit its lane.
///
/// An alarm is never dropped: its lane refuses, so that the caller knows at once. So does every lane of fewer than
/// [`MIN_DROPPING_LANE`](crate::limits::MIN_DROPPING_LANE) bytes, as it has no room for gap records.
///
/// ```
/// use vitalwire::delivery::{LanePolicy, LaneShares, Outbox};
/// use vitalwire::{Instant, framing::Lane};
/// let mut memory = [0u8; 4096];
/// let mut outbox = Outbox::new(&mut memory, LaneShares::of_total(4096))?;
/// outbox.set_policy(Lane::Trend, LanePolicy::DropOldest)?;
/// for minute in 0..1000 {
///     let now = Instant::from_millis(minute * 60_000);
///     let mut tx = outbox.begin(now, Lane::Trend);
///     tx.append_bytes(now, &[7; 20])?; // there is always room for the newest
///     let _ = tx.commit();
/// }
/// let fill = outbox.fill(Lane::Trend);
/// assert_eq!((fill.dropped + u64::from(fill.records), fill.gaps), (1000, 1));
/// # Ok::<(), vitalwire::CallError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LanePolicy {
    /// The caller gets [`CallError::LaneFull`].
    #[default]
    Refuse,
    /// The oldest records make room, an eighth of the lane at once, and a gap record names them.
    DropOldest,
    /// A fuller lane takes fewer records of each channel: one of 2 measurements, trends or waveforms when it is half full,
    /// one of 4 from three quarters on, one of 8 from seven eighths on. The others are refused with
    /// [`CallError::Thinned`]: they have no id, and no gap names them. When it is full, the oldest are dropped.
    Thin,
}

impl LanePolicy {
    /// The usual policies of the lanes alarm, event, trend and waveform.
    pub const USUAL: [Self; 4] = [Self::Refuse, Self::Refuse, Self::DropOldest, Self::DropOldest];
}

/// Something about a lane that the application should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LaneNotice {
    /// Three quarters of the lane are in use.
    NearlyFull(Lane),
    /// No more than half of it is in use again.
    Eased(Lane),
    /// Records were given up since the last notice of that.
    Dropped {
        /// Their lane.
        lane: Lane,
        /// The lowest sequence among them.
        first: u64,
        /// How many; not always neighbours.
        count: u32,
    },
}

/// What was told of a lane last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Level {
    #[default]
    Easy,
    NearlyFull,
}

impl Outbox<'_> {
    /// Says what happens when a lane is full: at first, every lane refuses.
    ///
    /// # Errors
    /// [`CallError::InvalidConfig`] for an alarm lane that does not refuse, and for an event lane that thins.
    pub fn set_policy(&mut self, lane: Lane, policy: LanePolicy) -> Result<(), CallError> {
        //= SPEC.md#full-lanes
        //# A device MUST NOT give up a record of the alarm lane.
        if lane == Lane::Alarm && policy != LanePolicy::Refuse {
            return Err(CallError::InvalidConfig("the alarm lane always refuses"));
        }
        if lane == Lane::Event && policy == LanePolicy::Thin {
            return Err(CallError::InvalidConfig("events cannot be thinned"));
        }
        self.lanes.of_mut(lane).given_up.policy = policy;
        Ok(())
    }

    /// Returns of how many records of a channel a lane takes one now: 1, 2, 4 or 8.
    pub fn thinning(&self, lane: Lane) -> u8 {
        let queue = self.lanes.of(lane);
        if queue.given_up.policy != LanePolicy::Thin {
            return 1;
        }
        let (used, whole) = (queue.pressing(), queue.ring().capacity());
        match used.saturating_mul(8).checked_div(whole).unwrap_or(0) {
            0..4 => 1,
            4..6 => 2,
            6 => 4,
            _ => 8,
        }
    }

    /// Returns how many bytes of a lane the unsettled measurements, trends, waveforms, events and alarms of a channel take.
    ///
    /// It looks at each record of the lane, unless the lane uses no more than `enough` bytes: it returns 0 then.
    pub fn held_by(&self, lane: Lane, channel: u8, enough: usize) -> usize {
        let ring = self.lanes.of(lane).ring();
        if ring.used() <= enough {
            return 0;
        }
        ring.walk(ring.oldest())
            .filter(|(_, entry)| entry.state != RecordState::Settled)
            .filter(|(_, entry)| peek_channel(ring.record(*entry)) == Some(channel))
            .fold(0, |sum, (_, entry)| sum.saturating_add(HEADER).saturating_add(entry.len))
    }

    /// Returns what is new about the lanes: the most urgent lane first, until `None`.
    ///
    /// What was dropped since the last call is one notice per lane. A level that came and went between two calls is not told.
    pub fn poll_notice(&mut self) -> Option<LaneNotice> {
        Lane::ALL.into_iter().find_map(|lane| {
            let queue = self.lanes.of_mut(lane);
            let (used, whole) = (queue.pressing(), queue.ring().capacity());
            let level = match queue.given_up.level {
                Level::Easy if whole > 0 && used >= whole.saturating_sub(whole / 4) => Level::NearlyFull,
                Level::NearlyFull if used <= whole / 2 => Level::Easy,
                level => level,
            };
            if core::mem::replace(&mut queue.given_up.level, level) != level {
                return Some(match level {
                    Level::NearlyFull => LaneNotice::NearlyFull(lane),
                    Level::Easy => LaneNotice::Eased(lane),
                });
            }
            let (first, count) = queue.given_up.take_untold()?;
            Some(LaneNotice::Dropped { lane, first, count })
        })
    }

    /// Takes over which of the records that were given up in flight are still so.
    pub(super) fn review_held(&mut self, queue: Queue) {
        let held = self.queue(queue).held();
        if !held.is_empty() {
            let lowest = self.flights.lowest(queue, held.start);
            self.queue_mut(queue).hold_from(lowest);
        }
    }
}
