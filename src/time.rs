//! Time as the caller tells it: milliseconds since an origin of the caller's choice.
//!
//! The library never reads a clock. Every operation saturates, and a clock that stands still or steps
//! backward is harmless: an earlier `now` simply means that nothing has elapsed.

use serde::{Deserialize, Serialize};

use core::ops::{Add, Sub};

/// A point in the caller's monotonic time, in milliseconds since an origin of the caller's choice (such as boot).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instant(u64);

/// A span of time in milliseconds.
// Transparent, so that the C API may take a list of milliseconds for a list of spans.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Duration(u64);

impl Instant {
    /// The origin.
    pub const ZERO: Self = Self(0);
    /// The far future: a deadline that never comes.
    pub const FAR_FUTURE: Self = Self(u64::MAX);

    /// Returns the earliest of those that there are. One loop over a slice: chains of iterators are long in firmware.
    pub(crate) fn earliest(of: &[Option<Self>]) -> Option<Self> {
        of.iter().flatten().min().copied()
    }

    /// Makes an instant from milliseconds since the origin.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since the origin.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns the time since `earlier`, or zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
}

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// Makes a span from milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Makes a span from seconds, saturating.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Returns the whole milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns the whole seconds, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// Multiplies, saturating.
    pub const fn saturating_mul(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }

    /// Returns the smaller of the two.
    pub fn min(self, other: Self) -> Self {
        Ord::min(self, other)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Adds, saturating at [`Instant::FAR_FUTURE`].
    // Not inlined: 64 bits, and in many places of what must be small.
    #[inline(never)]
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    /// Subtracts, saturating at [`Instant::ZERO`].
    #[inline(never)]
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Add for Duration {
    type Output = Self;

    #[inline(never)]
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// Seconds since 1970-01-01T00:00:00Z, without leap seconds (POSIX): the time in credentials.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct UnixSeconds(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturates_at_both_ends() {
        assert_eq!(Instant::ZERO - Duration::from_secs(1), Instant::ZERO);
        assert_eq!(Instant::FAR_FUTURE + Duration::from_secs(1), Instant::FAR_FUTURE);
        assert_eq!(Instant::ZERO.since(Instant::FAR_FUTURE), Duration::ZERO);
        assert_eq!(Duration::from_secs(u64::MAX).as_millis(), u64::MAX);
    }
}
