use core::ops::{BitAnd, BitOr};
use serde::{Deserialize, Serialize};

/// A set of permissions (SPEC.md, "Credentials"). Nothing is permitted that is not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Scopes(u32);

impl Scopes {
    /// No permission.
    pub const NONE: Self = Self(0);
    /// Publish measurements and trends.
    pub const MEASUREMENTS: Self = Self(1);
    /// Publish waveforms.
    pub const WAVEFORMS: Self = Self(1 << 1);
    /// Publish events.
    pub const EVENTS: Self = Self(1 << 2);
    /// Publish alarms.
    pub const ALARMS: Self = Self(1 << 3);
    /// Receive commands.
    pub const COMMANDS: Self = Self(1 << 4);
    /// Receive configuration.
    pub const CONFIGURATION: Self = Self(1 << 5);
    /// Publish everything: measurements, waveforms, events, alarms.
    pub const PUBLISH: Self = Self(0b1111);

    /// Makes a set from its bits; unknown ones are kept and grant nothing.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Returns the bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Tells whether all of `other` is permitted.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Tells whether any of `other` is permitted.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Scopes {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Scopes {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}
