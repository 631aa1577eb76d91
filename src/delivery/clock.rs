//! What a device's stamps mean in wall-clock time, as far as is known.

use super::StreamKey;
use crate::framing::{BootTag, ClockQuality, WallReading};
use crate::limits::{CLOCK_DRIFT_CHANGE_PPM, CLOCK_DRIFT_PPM, MAX_CLOCK_BOOTS, MAX_CLOCK_READINGS};
use crate::time::{Duration, Instant};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// One exchange of TimeSync frames, as the backend saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ClockReading {
    /// The device's boot.
    pub boot: u32,
    /// That boot's tag.
    pub tag: BootTag,
    /// What the device's monotonic clock said.
    pub device: Instant,
    /// The backend's wall clock when it heard of it.
    pub arrived: WallReading,
    /// It was said at most so long before.
    pub round_trip: Duration,
}

/// A wall-clock time that follows from a device's stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds (POSIX).
    pub unix_millis: u64,
    /// By how much it may be off, to either side; as far as the backend's clock was right, and the device's ran on.
    pub error: Duration,
    /// What it rests on: at most [`ClockQuality::Estimated`].
    pub quality: ClockQuality,
}

/// What an exchange told a [`ClockMap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Something new: store the map.
    New,
    /// Nothing that was not known better already.
    Known,
    /// It contradicts the one before by so much at least: one of the two clocks was set, or stood still. Store the map.
    Jump(Duration),
}

/// At `device`, the wall clock was within `low` and `high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Anchor {
    device: u64,
    low: i64,
    high: i64,
    quality: ClockQuality,
    /// It contradicts the one before.
    jump: bool,
}

/// The readings of one boot, in the order of the device's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct BootClock {
    boot: u32,
    tag: BootTag,
    anchors: Vec<Anchor>,
}

/// Maps a device's stamps to wall-clock time: keep one per identity, durably, beside its ledger.
///
/// It is fed with the exchanges of [`BackendEvent::Clock`](crate::backend::BackendEvent::Clock), and never changes a
/// stamp. Between two exchanges an answer covers what either of them says, so a clock that was set in between makes
/// it wide there and nowhere else. Before the first and after the last one it widens with the drift: 500 ppm, or what
/// was measured and 50 ppm for what the temperature does. A boot that never had an exchange has no answer
/// ([`ClockMap::bounds`] may tell what it lies between).
///
/// ```
/// use vitalwire::delivery::{ClockMap, ClockReading, Observed};
/// use vitalwire::framing::{BootTag, ClockQuality, WallReading};
/// use vitalwire::{Duration, Instant};
///
/// let mut clock = ClockMap::default();
/// let tag = BootTag([7; 4]);
/// let arrived = WallReading {
///     unix_millis: 1_780_000_000_000,
///     quality: ClockQuality::Synchronised,
///     error: Duration::from_millis(5),
/// };
/// let device = Instant::from_millis(60_000);
/// let reading = ClockReading { boot: 3, tag, device, arrived, round_trip: Duration::from_millis(40) };
/// assert_eq!(clock.observe(&reading), Observed::New);
///
/// // A record of ten seconds before.
/// let mapped = clock.wall_time(3, tag, Instant::from_millis(50_000)).unwrap();
/// assert_eq!(mapped.unix_millis, 1_779_999_989_980);
/// assert_eq!(mapped.error, Duration::from_millis(20 + 5 + 5)); // half the round trip, the backend's, drift
/// assert_eq!(clock.wall_time(2, tag, Instant::ZERO), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<BootClock>", into = "Vec<BootClock>")]
pub struct ClockMap {
    boots: Vec<BootClock>,
}

/// A range of wall-clock times, in milliseconds since 1970.
#[derive(Clone, Copy)]
struct Range {
    low: i64,
    high: i64,
    quality: ClockQuality,
}

impl Range {
    fn hull(self, other: Self) -> Self {
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            quality: self.quality.min(other.quality),
        }
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// How much slower (below zero) or faster the wall clock runs than the device's, in parts per 2^30.
#[derive(Clone, Copy)]
struct Rate {
    low: i64,
    high: i64,
}

const PARTS: i128 = 1 << 30;

const fn parts(ppm: u64) -> i64 {
    ((ppm as i64).saturating_mul(1 << 30)) / 1_000_000
}

impl Rate {
    /// Nothing was measured.
    const ASSUMED: Self = Self { low: -parts(CLOCK_DRIFT_PPM), high: parts(CLOCK_DRIFT_PPM) };

    /// What two readings say: never better than the change that a temperature makes.
    fn between(first: &Anchor, last: &Anchor) -> Self {
        let elapsed = i128::from(last.device.saturating_sub(first.device));
        let rate = |wall: i64| {
            let excess = i128::from(wall).saturating_sub(elapsed).saturating_mul(PARTS);
            i64::try_from(excess.checked_div(elapsed).unwrap_or(0)).unwrap_or(i64::MAX)
        };
        let change = parts(CLOCK_DRIFT_CHANGE_PPM);
        let low = rate(last.low.saturating_sub(first.high)).saturating_sub(change);
        let high = rate(last.high.saturating_sub(first.low)).saturating_add(change);
        let measured = Self { low: low.max(Self::ASSUMED.low), high: high.min(Self::ASSUMED.high) };
        if elapsed > 0 && measured.low <= measured.high { measured } else { Self::ASSUMED }
    }

    /// Returns the wall-clock time that goes by while the device's clock goes from `from` to `to`: at least, at most.
    fn span(self, from: u64, to: u64) -> (i64, i64) {
        let elapsed = i128::from(to).saturating_sub(i128::from(from));
        let drift = |rate: i64| {
            let product = elapsed.saturating_mul(i128::from(rate));
            (product.div_euclid(PARTS), product.saturating_add(PARTS).saturating_sub(1).div_euclid(PARTS))
        };
        let (one, other) = (drift(self.low), drift(self.high));
        let clamp = |value: i128| i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX });
        let low = clamp(elapsed.saturating_add(one.0.min(other.0)));
        (low, clamp(elapsed.saturating_add(one.1.max(other.1))))
    }
}

impl Anchor {
    fn of(reading: &ClockReading) -> Self {
        let WallReading { unix_millis, quality, error } = reading.arrived;
        let (wall, error) = (signed(unix_millis), signed(error.as_millis()));
        Self {
            device: reading.device.as_millis(),
            low: wall.saturating_sub(signed(reading.round_trip.as_millis())).saturating_sub(error),
            high: wall.saturating_add(error),
            quality,
            jump: false,
        }
    }

    fn reach(&self, rate: Rate, device: u64) -> Range {
        let (least, most) = rate.span(self.device, device);
        Range {
            low: self.low.saturating_add(least),
            high: self.high.saturating_add(most),
            quality: self.quality.min(ClockQuality::Estimated),
        }
    }

    /// Returns by how much two ranges miss each other.
    fn misses(&self, range: Range) -> Option<Duration> {
        let gap = self.low.saturating_sub(range.high).max(range.low.saturating_sub(self.high));
        (gap > 0).then(|| Duration::from_millis(gap.unsigned_abs()))
    }
}

impl BootClock {
    /// Returns the rate that holds around an anchor: measured over its neighbours without a jump between.
    fn rate_at(&self, index: usize) -> Rate {
        let before = self.anchors.get(..=index).unwrap_or_default();
        let begin = before.iter().rposition(|anchor| anchor.jump).unwrap_or(0);
        let after = self.anchors.get(index.saturating_add(1)..).unwrap_or_default();
        let run = after.iter().take_while(|anchor| !anchor.jump).count();
        let end = index.saturating_add(run);
        match (self.anchors.get(begin), self.anchors.get(end)) {
            (Some(first), Some(last)) => Rate::between(first, last),
            _ => Rate::ASSUMED,
        }
    }

    fn reach(&self, index: usize, device: u64) -> Option<Range> {
        Some(self.anchors.get(index)?.reach(self.rate_at(index), device))
    }

    /// Returns what the readings around `device` say of it.
    fn range(&self, device: u64) -> Option<Range> {
        let next = self.anchors.partition_point(|anchor| anchor.device < device);
        let before = next.checked_sub(1).and_then(|index| self.reach(index, device));
        let after = self.reach(next, device);
        match (before, after) {
            (Some(before), Some(after)) => Some(before.hull(after)),
            (one, other) => one.or(other),
        }
    }

    fn observe(&mut self, new: Anchor) -> Observed {
        let at = self.anchors.partition_point(|anchor| anchor.device < new.device);
        let before = at.checked_sub(1).and_then(|index| self.reach(index, new.device));
        let after = self.reach(at, new.device);
        let missed = before.and_then(|range| new.misses(range));
        let missed_after = after.and_then(|range| new.misses(range));
        let width = |low: i64, high: i64| high.saturating_sub(low);
        let known = before.is_some_and(|range| {
            width(range.low, range.high) <= width(new.low, new.high)
                && range.quality >= new.quality.min(ClockQuality::Estimated)
        });
        if missed.is_none() && missed_after.is_none() && known {
            return Observed::Known;
        }
        let jump = missed.is_some();
        if let Some(next) = self.anchors.get_mut(at) {
            next.jump = missed_after.is_some();
        }
        self.anchors.insert(at, Anchor { jump, ..new });
        if self.anchors.len() > MAX_CLOCK_READINGS {
            self.thin();
        }
        missed.or(missed_after).map_or(Observed::New, Observed::Jump)
    }

    /// Drops the reading that is closest to its neighbours; neither the first nor the last one.
    fn thin(&mut self) {
        let gap = |window: &[Anchor]| match window {
            [before, _, after] => after.device.saturating_sub(before.device),
            _ => u64::MAX,
        };
        let gaps = self.anchors.windows(3).map(gap).enumerate();
        let Some((index, _)) = gaps.min_by_key(|(_, gap)| *gap) else { return };
        let dropped = self.anchors.remove(index.saturating_add(1));
        if let Some(next) = self.anchors.get_mut(index.saturating_add(1)) {
            next.jump |= dropped.jump;
        }
    }

    fn is_sound(&self) -> bool {
        let sorted = self.anchors.is_sorted_by(|a, b| a.device <= b.device);
        let ranges = self.anchors.iter().all(|anchor| anchor.low <= anchor.high);
        sorted && ranges && (1..=MAX_CLOCK_READINGS).contains(&self.anchors.len())
    }
}

impl ClockMap {
    /// Takes an exchange, and tells whether the map has to be stored again.
    pub fn observe(&mut self, reading: &ClockReading) -> Observed {
        let anchor = Anchor::of(reading);
        let same = |known: &&mut BootClock| known.boot == reading.boot && known.tag == reading.tag;
        if let Some(known) = self.boots.iter_mut().find(same) {
            return known.observe(anchor);
        }
        if self.boots.len() >= MAX_CLOCK_BOOTS {
            self.boots.remove(0);
        }
        self.boots.push(BootClock { boot: reading.boot, tag: reading.tag, anchors: alloc::vec![anchor] });
        Observed::New
    }

    /// Returns the wall-clock time of a device's stamp, or `None` if no exchange of that boot is known.
    pub fn wall_time(&self, boot: u32, tag: BootTag, stamp: Instant) -> Option<Mapped> {
        let known = self.boots.iter().find(|known| known.boot == boot && known.tag == tag)?;
        let Range { low, high, quality } = known.range(stamp.as_millis())?;
        let (low, high) = (u64::try_from(low).unwrap_or(0), u64::try_from(high).unwrap_or(0));
        let unix_millis = low.midpoint(high);
        Some(Mapped { unix_millis, error: Duration::from_millis(high.saturating_sub(unix_millis)), quality })
    }

    /// Returns the wall-clock time of a record of a stream; see [`ClockMap::wall_time`].
    pub fn wall_time_of(&self, stream: &StreamKey, stamp: Instant) -> Option<Mapped> {
        self.wall_time(stream.boot, stream.tag, stamp)
    }

    /// Returns between which wall-clock times a boot without any exchange lies, as far as boots with one are known
    /// before and after it: in milliseconds since 1970. It holds as long as boot numbers ascend.
    pub fn bounds(&self, boot: u32) -> (Option<u64>, Option<u64>) {
        let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
        let earlier = self.boots.iter().filter(|known| known.boot < boot).max_by_key(|known| known.boot);
        let later = self.boots.iter().filter(|known| known.boot > boot).min_by_key(|known| known.boot);
        let after = earlier.and_then(|known| known.anchors.last()).map(|anchor| unsigned(anchor.low));
        // It was over when the later one began.
        let before = later.and_then(|known| known.range(0)).map(|range| unsigned(range.high));
        (after, before)
    }
}

impl From<ClockMap> for Vec<BootClock> {
    fn from(map: ClockMap) -> Self {
        map.boots
    }
}

/// A stored clock map is damaged: take an empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the clock map is damaged")]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ClockMapError;

impl TryFrom<Vec<BootClock>> for ClockMap {
    type Error = ClockMapError;

    fn try_from(boots: Vec<BootClock>) -> Result<Self, ClockMapError> {
        let sound = boots.len() <= MAX_CLOCK_BOOTS && boots.iter().all(BootClock::is_sound);
        if sound { Ok(Self { boots }) } else { Err(ClockMapError) }
    }
}
