use serde::{Deserialize, Serialize};

/// A delivery class, in the order of priority.
///
/// ```
/// use vitalwire::framing::Lane;
/// assert!(Lane::Alarm < Lane::Waveform);
/// assert_eq!(Lane::from_code(2), Some(Lane::Trend));
/// assert_eq!(Lane::ALL[Lane::Trend.index()], Lane::Trend);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Lane {
    /// Alarms: never dropped, never behind anything else.
    Alarm = 0,
    /// Events and single measurements.
    Event = 1,
    /// Trends: series of measurements.
    Trend = 2,
    /// Waveforms.
    Waveform = 3,
}

impl Lane {
    /// Every lane, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Alarm, Self::Event, Self::Trend, Self::Waveform];

    /// Returns its place in [`Lane::ALL`], 0 to 3.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Returns its code on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Reads a code.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Alarm),
            1 => Some(Self::Event),
            2 => Some(Self::Trend),
            3 => Some(Self::Waveform),
            _ => None,
        }
    }
}
