use serde::{Deserialize, Serialize};

use crate::codec::{BufferTooSmall, DecodeError, Reader, Writer};

/// A decimal number: `mantissa · 10^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
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

    /// Solves self = offset + scale · raw, if raw is a whole number of 32 bits.
    pub(super) fn raw(self, scale: Self, offset: Self) -> Option<i32> {
        let exponent = self.exponent.min(offset.exponent);
        let (numerator, exponent) = match offset.mantissa {
            0 => (i128::from(self.mantissa), self.exponent),
            _ => (self.wide(exponent)?.checked_sub(offset.wide(exponent)?)?, exponent),
        };
        if numerator == 0 {
            return Some(0);
        }
        let places = i32::from(exponent).checked_sub(scale.exponent.into())?;
        let factor = 10i128.checked_pow(places.unsigned_abs())?;
        let (numerator, denominator) = if places >= 0 {
            (numerator.checked_mul(factor)?, scale.mantissa.into())
        } else {
            (numerator, i128::from(scale.mantissa).checked_mul(factor)?)
        };
        if numerator.checked_rem(denominator)? != 0 {
            return None;
        }
        i32::try_from(numerator.checked_div(denominator)?).ok()
    }

    /// Returns the mantissa that the number has with the smaller exponent `exponent`.
    fn wide(self, exponent: i8) -> Option<i128> {
        let places = u32::try_from(i32::from(self.exponent).checked_sub(exponent.into())?).ok()?;
        if self.mantissa == 0 {
            return Some(0);
        }
        i128::from(self.mantissa).checked_mul(10i128.checked_pow(places)?)
    }

    /// Multiplies the mantissa so that the number has the smaller exponent `exponent`.
    pub(super) fn rescaled(self, exponent: i8) -> Option<i64> {
        self.wide(exponent).and_then(|mantissa| i64::try_from(mantissa).ok())
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
