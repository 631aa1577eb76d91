use serde::{Deserialize, Serialize};

use crate::codec::{BufferTooSmall, DecodeError, Reader, Writer};

/// A decimal number: `mantissa · 10^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Decimal {
    /// The digits.
    pub mantissa: i64,
    /// The power of ten.
    pub exponent: i8,
}

impl Decimal {
    /// One.
    pub const ONE: Self = Self::new(1, 0);
    /// Zero.
    pub const ZERO: Self = Self::new(0, 0);

    /// Makes `mantissa · 10^exponent`.
    pub const fn new(mantissa: i32, exponent: i8) -> Self {
        Self { mantissa: mantissa as i64, exponent }
    }

    /// Reads a decimal whose mantissa has 32 bits.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mantissa = i32::try_from(reader.signed()?).map_err(|_| DecodeError::OutOfRange)?;
        let exponent = i8::try_from(reader.signed()?).map_err(|_| DecodeError::OutOfRange)?;
        Ok(Self::new(mantissa, exponent))
    }

    pub(super) fn write(self, out: &mut Writer<'_>) -> Result<(), BufferTooSmall> {
        out.signed(self.mantissa)?;
        out.signed(self.exponent.into())
    }

    /// Returns the same number with this exponent, if its mantissa is then a whole number that fits.
    ///
    /// ```
    /// use vitalwire::framing::Decimal;
    /// assert_eq!(Decimal::new(368, -1).with_exponent(-2), Some(Decimal::new(3680, -2)));
    /// assert_eq!(Decimal::new(3680, -2).with_exponent(-1), Some(Decimal::new(368, -1)));
    /// assert_eq!(Decimal::new(3684, -2).with_exponent(-1), None);
    /// ```
    pub fn with_exponent(self, exponent: i8) -> Option<Self> {
        if exponent <= self.exponent {
            return Some(Self { mantissa: self.rescaled(exponent)?, exponent });
        }
        let places = u32::from(exponent.abs_diff(self.exponent));
        let mantissa = match 10i64.checked_pow(places) {
            Some(power) if self.mantissa.checked_rem(power)? == 0 => self.mantissa.checked_div(power)?,
            Some(_) => return None,
            None if self.mantissa == 0 => 0,
            None => return None,
        };
        Some(Self { mantissa, exponent })
    }

    /// Multiplies the mantissa so that the number has the smaller exponent `exponent`.
    pub(super) fn rescaled(self, exponent: i8) -> Option<i64> {
        let places = u32::try_from(i32::from(self.exponent).checked_sub(exponent.into())?).ok()?;
        if self.mantissa == 0 {
            return Some(0);
        }
        self.mantissa.checked_mul(10i64.checked_pow(places)?)
    }
}

/// Writes it in plain digits, with its precision: `2`, `2.0`, `2.00`; 2 · 10^1 as `20`.
///
/// ```
/// use vitalwire::framing::Decimal;
/// assert_eq!(Decimal::new(-5, -3).to_string(), "-0.005");
/// assert_eq!(Decimal::new(200, -2).to_string(), "2.00");
/// assert_eq!(Decimal::new(0, 2).to_string(), "0");
/// ```
impl core::fmt::Display for Decimal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let magnitude = self.mantissa.unsigned_abs();
        if self.mantissa < 0 {
            f.write_str("-")?;
        }
        let places = usize::from(self.exponent.unsigned_abs());
        if self.exponent >= 0 {
            write!(f, "{magnitude}")?;
            let places = if magnitude == 0 { 0 } else { places };
            return (0..places).try_for_each(|_| f.write_str("0"));
        }
        let point = u32::try_from(places).ok().and_then(|places| 10u64.checked_pow(places));
        match point.and_then(|one| Some((magnitude.checked_div(one)?, magnitude.checked_rem(one)?))) {
            Some((whole, fraction)) => write!(f, "{whole}.{fraction:0places$}"),
            // more places than a mantissa has digits
            None => write!(f, "0.{magnitude:0places$}"),
        }
    }
}
