use crate::framing::Lane;

/// How many bytes of the outbox each lane gets, for itself alone.
///
/// A record takes 8 bytes besides its own. A lane of 0 bytes takes no records.
///
/// ```
/// use vitalwire::delivery::{LaneShares, Outbox};
/// let mut memory = [0u8; 2048];
/// let shares = LaneShares { alarm: 256, event: 256, trend: 512, waveform: 1024 };
/// assert!(Outbox::new(&mut memory, shares).is_ok());
/// assert!(Outbox::new(&mut memory[1..], shares).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LaneShares {
    /// Bytes for alarms.
    pub alarm: usize,
    /// Bytes for events and single measurements.
    pub event: usize,
    /// Bytes for trends.
    pub trend: usize,
    /// Bytes for waveforms.
    pub waveform: usize,
}

impl LaneShares {
    /// Splits `total` bytes: an eighth for alarms and for events, a quarter for trends, the rest for waveforms.
    pub const fn of_total(total: usize) -> Self {
        let (alarm, event, trend) = (total / 8, total / 8, total / 4);
        let waveform = total.saturating_sub(alarm).saturating_sub(event).saturating_sub(trend);
        Self { alarm, event, trend, waveform }
    }

    pub(super) const fn of(&self, lane: Lane) -> usize {
        match lane {
            Lane::Alarm => self.alarm,
            Lane::Event => self.event,
            Lane::Trend => self.trend,
            Lane::Waveform => self.waveform,
        }
    }
}
