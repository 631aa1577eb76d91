use super::{Absence, Measurement, TrendBlock, Value, Values};
use crate::limits::MAX_WAVEFORM_COMPONENTS;
use crate::time::Duration;

/// The values of all components of a block at one time.
///
/// ```
/// use vitalwire::framing::{Absence, WaveformBlock};
/// // leads I and II, the electrode of II is off
/// let block = WaveformBlock::interleaved(3, 0, 2, &[12, 0, 13, 0]).without(1, Absence::SensorOff);
/// let rows: Vec<_> = block.rows().collect();
/// assert_eq!(rows[1].get(0), Some(13));
/// assert_eq!(rows[1].get(1), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Row {
    values: [i32; MAX_WAVEFORM_COMPONENTS],
    /// One bit per component.
    present: u16,
    len: u8,
}

impl Row {
    pub(super) const fn new(len: u8) -> Self {
        Self { values: [0; MAX_WAVEFORM_COMPONENTS], present: 0, len }
    }

    pub(super) fn set(&mut self, component: u8, value: i32) {
        if let Some(place) = self.values.get_mut(usize::from(component)) {
            *place = value;
            self.present |= 1u16.wrapping_shl(component.into());
        }
    }

    /// Returns how many components there are, absent ones included.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Tells whether there is no component, which no block has.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the raw value of a component, or `None` if it is absent or there is no such component.
    pub fn get(&self, component: usize) -> Option<i32> {
        let present = u32::try_from(component).ok().and_then(|shift| self.present.checked_shr(shift))? & 1;
        self.values.get(component).copied().filter(|_| present != 0)
    }

    /// Lists the components in order; absent ones as `None`.
    pub fn iter(&self) -> impl Iterator<Item = Option<i32>> + '_ {
        (0..self.len()).map(|component| self.get(component))
    }
}

impl core::fmt::Debug for Row {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Which components of a block are absent, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Absences([Option<Absence>; MAX_WAVEFORM_COMPONENTS]);

impl Absences {
    pub(super) const NONE: Self = Self([None; MAX_WAVEFORM_COMPONENTS]);

    pub(super) fn get(&self, component: usize) -> Option<Absence> {
        self.0.get(component).copied().flatten()
    }

    pub(super) fn set(&mut self, component: usize, reason: Absence) {
        if let Some(place) = self.0.get_mut(component) {
            *place = Some(reason);
        }
    }
}

impl<'a> TrendBlock<'a> {
    /// Lists the points as measurements, each with its time since the time of the record.
    ///
    /// Quality, mode and what is absent come along, so that a point is judged just as a measurement is.
    ///
    /// ```
    /// use vitalwire::Duration;
    /// use vitalwire::framing::{Absence, TrendBlock, Value};
    /// let block = TrendBlock::compound(2, 2, &[Duration::ZERO], &[98, 0]).without(1, Absence::SensorOff);
    /// let (_, measurement) = block.measurements().next().unwrap();
    /// assert_eq!(measurement.values[1], Value::Absent(Absence::SensorOff));
    /// ```
    pub fn measurements(&self) -> impl Iterator<Item = (Duration, Measurement)> + Clone + 'a {
        let (channel, status) = (self.channel, self.status);
        let mut absences = Absences::NONE;
        for component in 0..self.components() {
            if let Some(reason) = self.absence(component) {
                absences.set(component, reason);
            }
        }
        self.rows().map(move |(offset, row)| {
            let mut values = Values::absent(row.len());
            for (component, raw) in row.iter().enumerate() {
                let value = match raw {
                    Some(raw) => Value::Present(raw, status.quality),
                    None => Value::Absent(absences.get(component).unwrap_or(Absence::Unknown)),
                };
                values.set(component, value);
            }
            (offset, Measurement { channel, mode: status.mode, values })
        })
    }
}
