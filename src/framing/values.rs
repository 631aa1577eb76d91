use serde::{Deserialize, Serialize};

use super::EncodeError;
use crate::codec::DecodeError;
use crate::limits::MAX_COMPONENTS;

/// How a value came to be: nothing but `Real` may reach a patient's record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Mode {
    /// Measured on the patient.
    #[default]
    Real = 0,
    /// Made by a test of the device.
    Test = 1,
    /// Made for a demonstration.
    Demonstration = 2,
}

impl Mode {
    pub(super) const fn from_code(code: u8) -> Result<Self, DecodeError> {
        match code {
            0 => Ok(Self::Real),
            1 => Ok(Self::Test),
            2 => Ok(Self::Demonstration),
            _ => Err(DecodeError::OutOfRange),
        }
    }
}

/// How far a value that is there can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Quality {
    /// Valid.
    #[default]
    Valid = 0,
    /// Doubtful: motion, weak signal, outside the specified conditions.
    Questionable = 1,
    /// Taken while the sensor calibrates.
    Calibrating = 2,
    /// Known to be wrong, and kept for inspection only.
    Invalid = 3,
}

impl Quality {
    pub(super) const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Valid,
            1 => Self::Questionable,
            2 => Self::Calibrating,
            _ => Self::Invalid,
        }
    }
}

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Absence {
    /// No reason is known.
    Unknown = 16,
    /// It was not measured.
    NotMeasured = 17,
    /// The sensor is off, or not on the patient.
    SensorOff = 18,
    /// The measurement was tried and failed.
    Failed = 19,
    /// Above what the device can measure.
    Overflow = 20,
    /// Below what the device can measure.
    Underflow = 21,
    /// Withheld on purpose.
    Withheld = 22,
}

impl Absence {
    /// Reads the code of a block: how far it is behind [`Absence::Unknown`].
    pub(super) const fn from_code(code: u8) -> Option<Self> {
        match Value::from_state(code.wrapping_add(Self::Unknown as u8)) {
            Ok(Value::Absent(absence)) => Some(absence),
            _ => None,
        }
    }
}

/// One value of a measurement: an integer in the channel's scale, or the reason why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// A value, and how far it can be trusted.
    Present(i32, Quality),
    /// No value.
    Absent(Absence),
}

impl Value {
    /// Returns the value if it is there and valid.
    ///
    /// ```
    /// use vitalwire::framing::{Absence, Quality, Value};
    /// assert_eq!(Value::Present(72, Quality::Valid).valid(), Some(72));
    /// assert_eq!(Value::Present(72, Quality::Questionable).valid(), None);
    /// assert_eq!(Value::Absent(Absence::SensorOff).valid(), None);
    /// ```
    pub const fn valid(self) -> Option<i32> {
        match self {
            Self::Present(raw, Quality::Valid) => Some(raw),
            _ => None,
        }
    }

    /// Returns the state byte.
    pub(super) const fn state(self) -> u8 {
        match self {
            Self::Present(_, quality) => quality as u8,
            Self::Absent(absence) => absence as u8,
        }
    }

    /// Reads a state byte; a value that is present is 0 until it is read.
    pub(super) const fn from_state(state: u8) -> Result<Self, DecodeError> {
        Ok(match state {
            0..=3 => Self::Present(0, Quality::from_bits(state)),
            16 => Self::Absent(Absence::Unknown),
            17 => Self::Absent(Absence::NotMeasured),
            18 => Self::Absent(Absence::SensorOff),
            19 => Self::Absent(Absence::Failed),
            20 => Self::Absent(Absence::Overflow),
            21 => Self::Absent(Absence::Underflow),
            22 => Self::Absent(Absence::Withheld),
            _ => return Err(DecodeError::OutOfRange),
        })
    }
}

/// The values of one measurement, 1 to 8, one for each component of its channel.
///
/// ```
/// use vitalwire::framing::{Absence, Quality, Value, Values};
/// let pressure = Values::valid(&[120, 80, 93]).unwrap();
/// assert_eq!(pressure[1], Value::Present(80, Quality::Valid));
/// assert!(Values::new(&[]).is_err());
/// assert_eq!(Values::from(Value::Absent(Absence::SensorOff)).len(), 1);
/// ```
#[derive(Clone, Copy)]
pub struct Values {
    values: [Value; MAX_COMPONENTS],
    len: u8,
}

impl Values {
    /// Takes 1 to 8 values.
    ///
    /// # Errors
    /// [`EncodeError::OutOfRange`] for any other number.
    pub fn new(values: &[Value]) -> Result<Self, EncodeError> {
        let mut all = Self::from(Value::Absent(Absence::Unknown));
        let space = all.values.get_mut(..values.len()).ok_or(EncodeError::OutOfRange)?;
        space.copy_from_slice(values);
        all.len = values.len() as u8;
        if values.is_empty() { Err(EncodeError::OutOfRange) } else { Ok(all) }
    }

    /// Makes so many values that are all 0 and valid; `None` unless there are 1 to 8.
    pub(super) const fn zeros(len: usize) -> Option<Self> {
        if len == 0 || len > MAX_COMPONENTS {
            return None;
        }
        Some(Self { values: [Value::Present(0, Quality::Valid); MAX_COMPONENTS], len: len as u8 })
    }

    /// Returns them, to be changed.
    pub(super) fn all_mut(&mut self) -> &mut [Value] {
        self.values.get_mut(..self.len.into()).unwrap_or_default()
    }

    /// Makes so many values that are absent, 1 to 8 of them.
    pub(super) const fn absent(len: usize) -> Self {
        let len = if len < MAX_COMPONENTS { len } else { MAX_COMPONENTS };
        Self { values: [Value::Absent(Absence::Unknown); MAX_COMPONENTS], len: len as u8 }
    }

    /// Changes a value, if there is such a one.
    pub(super) fn set(&mut self, component: usize, value: Value) {
        if let Some(place) = self.all_mut().get_mut(component) {
            *place = value;
        }
    }

    /// Takes 1 to 8 values that are all valid.
    ///
    /// # Errors
    /// [`EncodeError::OutOfRange`] for any other number.
    pub fn valid(raw: &[i32]) -> Result<Self, EncodeError> {
        let mut all = [Value::Absent(Absence::Unknown); MAX_COMPONENTS];
        for (value, &raw) in all.iter_mut().zip(raw) {
            *value = Value::Present(raw, Quality::Valid);
        }
        Self::new(all.get(..raw.len()).ok_or(EncodeError::OutOfRange)?)
    }
}

/// Takes 1 to 8 values; any other number does not compile.
///
/// ```
/// use vitalwire::framing::{Absence, Quality, Value, Values};
/// let values = Values::from([Value::Present(97, Quality::Valid), Value::Absent(Absence::NotMeasured)]);
/// assert_eq!(values.len(), 2);
/// ```
///
/// ```compile_fail
/// let none: [vitalwire::framing::Value; 0] = [];
/// let values = vitalwire::framing::Values::from(none);
/// ```
impl<const N: usize> From<[Value; N]> for Values {
    fn from(values: [Value; N]) -> Self {
        const { assert!(N > 0 && N <= MAX_COMPONENTS) }
        let mut all = Self::from(Value::Absent(Absence::Unknown));
        for (place, value) in all.values.iter_mut().zip(values) {
            *place = value;
        }
        all.len = N as u8;
        all
    }
}

impl From<Value> for Values {
    fn from(value: Value) -> Self {
        let mut values = [Value::Absent(Absence::Unknown); MAX_COMPONENTS];
        if let Some(first) = values.first_mut() {
            *first = value;
        }
        Self { values, len: 1 }
    }
}

impl core::ops::Deref for Values {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        self.values.get(..self.len.into()).unwrap_or_default()
    }
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Values {}

impl core::fmt::Debug for Values {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// What holds for every value of a block that is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Status {
    /// How the samples came to be.
    pub mode: Mode,
    /// How far they can be trusted.
    pub quality: Quality,
}

impl Status {
    /// Real and valid.
    pub const REAL: Self = Self { mode: Mode::Real, quality: Quality::Valid };
}
