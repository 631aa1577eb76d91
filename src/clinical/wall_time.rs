use serde::{Deserialize, Serialize};

use crate::framing::ClockQuality;
use crate::time::{Duration, UnixSeconds};

/// How good a wall-clock time is.
///
/// A device stamps records with the time since its boot, and these stamps are never changed. A wall-clock time is
/// computed from such a stamp, or was there already when the device had a clock; either way it says how good it is.
///
/// ```
/// use vitalwire::Duration;
/// use vitalwire::clinical::TimeQuality;
/// let synchronised = TimeQuality::Synchronised { error: Duration::from_millis(20) };
/// assert_eq!(synchronised.error(), Some(Duration::from_millis(20)));
/// assert_eq!(TimeQuality::SetByHand.error(), None);
/// assert_eq!(synchronised.weaker(TimeQuality::SetByHand), TimeQuality::SetByHand);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TimeQuality {
    /// Nobody knows: it may be years off.
    #[default]
    Unknown,
    /// Somebody set the clock by hand: as good as that person and the clock.
    SetByHand,
    /// Computed from other times, with a clock that drifts: off by so much at most, as far as the drift is known.
    Estimated {
        /// The bound of the error, to either side.
        error: Duration,
    },
    /// From a clock that is synchronised with UTC: off by so much at most.
    Synchronised {
        /// The bound of the error, to either side.
        error: Duration,
    },
}

impl TimeQuality {
    /// Returns the bound of the error, if there is one.
    pub const fn error(self) -> Option<Duration> {
        match self {
            Self::Unknown | Self::SetByHand => None,
            Self::Estimated { error } | Self::Synchronised { error } => Some(error),
        }
    }

    /// Takes over the quality of a clock as it is told on the wire, off by `error` at most.
    pub const fn of_clock(quality: ClockQuality, error: Duration) -> Self {
        match quality {
            ClockQuality::Unknown => Self::Unknown,
            ClockQuality::SetByHand => Self::SetByHand,
            ClockQuality::Estimated => Self::Estimated { error },
            ClockQuality::Synchronised => Self::Synchronised { error },
        }
    }

    /// Returns the worse of two: what holds for a time that rests on both.
    pub fn weaker(self, other: Self) -> Self {
        let rank = |quality: Self| match quality {
            Self::Unknown => (0, 0),
            Self::SetByHand => (1, 0),
            Self::Estimated { error } => (2, u64::MAX.saturating_sub(error.as_millis())),
            Self::Synchronised { error } => (3, u64::MAX.saturating_sub(error.as_millis())),
        };
        let ((one, first), (two, second)) = (rank(self), rank(other));
        let weaker = if (one, first) <= (two, second) { self } else { other };
        // the kind of the weaker one, and the larger error of both
        match (weaker, self.error().max(other.error())) {
            (Self::Estimated { .. }, Some(error)) => Self::Estimated { error },
            (Self::Synchronised { .. }, Some(error)) => Self::Synchronised { error },
            (weaker, _) => weaker,
        }
    }
}

/// A wall-clock time, and how good it is.
///
/// ```
/// use vitalwire::{Duration, UnixSeconds};
/// use vitalwire::clinical::{TimeQuality, WallTime};
/// let quality = TimeQuality::Estimated { error: Duration::from_secs(3) };
/// let time = WallTime::from_unix_millis(1_780_000_000_250, quality);
/// assert_eq!(time.unix_seconds(), UnixSeconds(1_780_000_000));
/// assert_eq!(time.later(Duration::from_secs(1)).unix_millis, 1_780_000_001_250);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WallTime {
    /// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds (POSIX).
    pub unix_millis: u64,
    /// How good it is.
    pub quality: TimeQuality,
}

impl WallTime {
    /// Takes milliseconds since 1970-01-01T00:00:00Z.
    pub const fn from_unix_millis(unix_millis: u64, quality: TimeQuality) -> Self {
        Self { unix_millis, quality }
    }

    /// Returns it in seconds, rounded down.
    pub const fn unix_seconds(self) -> UnixSeconds {
        UnixSeconds(Duration::from_millis(self.unix_millis).as_secs())
    }

    /// Returns the time that is later by so much, of the same quality.
    pub const fn later(self, by: Duration) -> Self {
        Self { unix_millis: self.unix_millis.saturating_add(by.as_millis()), quality: self.quality }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weaker_of_two_never_promises_more_than_either() {
        let error = Duration::from_millis;
        let all = [
            TimeQuality::Unknown,
            TimeQuality::SetByHand,
            TimeQuality::Estimated { error: error(900) },
            TimeQuality::Estimated { error: error(30) },
            TimeQuality::Synchronised { error: error(500) },
            TimeQuality::Synchronised { error: error(5) },
        ];
        for one in all {
            assert_eq!(one.weaker(one), one);
            for other in all {
                let weaker = one.weaker(other);
                assert_eq!(weaker, other.weaker(one));
                for each in [one, other] {
                    assert!(weaker.error().is_none_or(|bound| each.error().is_some_and(|own| own <= bound)));
                }
            }
        }
        let estimated = all[3].weaker(all[4]);
        assert_eq!(estimated, TimeQuality::Estimated { error: error(500) });
    }

    #[test]
    fn times_come_back_from_each_format() {
        let time =
            WallTime::from_unix_millis(9, TimeQuality::Synchronised { error: Duration::from_millis(20) });
        let json = serde_json::to_string(&time).unwrap();
        assert_eq!(json, r#"{"unix_millis":9,"quality":{"synchronised":{"error":20}}}"#);
        assert_eq!(serde_json::from_str::<WallTime>(&json).unwrap(), time);
        let mut space = [0; 64];
        let bytes = postcard::to_slice(&time, &mut space).unwrap();
        assert_eq!(postcard::from_bytes::<WallTime>(bytes).unwrap(), time);
        let mut cbor = Vec::new();
        ciborium::into_writer(&time, &mut cbor).unwrap();
        assert_eq!(ciborium::from_reader::<WallTime, _>(&cbor[..]).unwrap(), time);
    }
}
