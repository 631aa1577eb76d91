use core::fmt;

use serde::{Deserialize, Serialize};

use crate::framing::Decimal;

/// What the bits of an SFLOAT or a FLOAT can say instead of a number (ISO/IEEE 11073-20601).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Special {
    /// Not a number: there is no value.
    NotANumber,
    /// There is a value, but not at this resolution.
    NotAtThisResolution,
    /// Above what can be said.
    PositiveInfinity,
    /// Below what can be said.
    NegativeInfinity,
    /// Reserved by the standard; means nothing.
    Reserved,
}

impl fmt::Display for Special {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NotANumber => "NaN",
            Self::NotAtThisResolution => "NRes",
            Self::PositiveInfinity => "+INF",
            Self::NegativeInfinity => "-INF",
            Self::Reserved => "Reserved",
        })
    }
}

/// What an SFLOAT or a FLOAT says.
///
/// ```
/// use vitalwire::clinical::{Number, SFloat, Special};
/// use vitalwire::framing::Decimal;
/// assert_eq!(SFloat::from_bits(0xf014).number(), Number::Finite(Decimal::new(20, -1)));
/// assert_eq!(SFloat::from_bits(0x07ff).number(), Number::Special(Special::NotANumber));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Number {
    /// A number, with its precision: 2, 2.0 and 2.00 differ.
    Finite(Decimal),
    /// Anything else.
    Special(Special),
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finite(decimal) => decimal.fmt(f),
            Self::Special(special) => special.fmt(f),
        }
    }
}

/// The number has more digits, or another exponent, than an SFLOAT or a FLOAT can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the number does not fit exactly")]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DoesNotFit;

/// How wide mantissa and exponent are.
#[derive(Clone, Copy)]
struct Layout {
    mantissa_bits: u32,
    exponent_bits: u32,
}

impl Layout {
    /// The largest mantissa: at exponent 0, it and the ones next to it are not numbers.
    const fn largest(self) -> i64 {
        (1i64 << self.mantissa_bits.saturating_sub(1)).saturating_sub(1)
    }

    const fn largest_exponent(self) -> i64 {
        (1i64 << self.exponent_bits.saturating_sub(1)).saturating_sub(1)
    }

    /// Reads the bits, which are the exponent and then the mantissa, each in two's complement.
    const fn number(self, bits: u32) -> Number {
        let unused = 32u32.saturating_sub(self.mantissa_bits);
        let mantissa = ((bits << unused) as i32 >> unused) as i64;
        let above = unused.saturating_sub(self.exponent_bits);
        let exponent = (bits << above) as i32 >> 32u32.saturating_sub(self.exponent_bits);
        if exponent != 0 {
            return Number::Finite(Decimal { mantissa, exponent: exponent as i8 });
        }
        let special = match self.largest().saturating_sub(mantissa.saturating_abs()) {
            0 if mantissa > 0 => Special::NotANumber,
            1 if mantissa > 0 => Special::PositiveInfinity,
            1 => Special::NegativeInfinity,
            0 => Special::Reserved,
            -1 => Special::NotAtThisResolution,
            _ => return Number::Finite(Decimal { mantissa, exponent: 0 }),
        };
        Number::Special(special)
    }

    const fn special(self, special: Special) -> u32 {
        let largest = self.largest() as u32;
        let sign = 1 << self.mantissa_bits.saturating_sub(1);
        match special {
            Special::NotANumber => largest,
            Special::PositiveInfinity => largest.saturating_sub(1),
            Special::NotAtThisResolution => sign,
            Special::Reserved => sign | 1,
            Special::NegativeInfinity => sign | 2,
        }
    }

    /// Tells whether these are the mantissa and the exponent of a number.
    const fn fits(self, mantissa: i64, exponent: i64) -> bool {
        // two's complement reaches one further down
        let lowest = self.largest().saturating_neg().saturating_sub(1);
        let largest = self.largest_exponent();
        let reserved = exponent == 0 && mantissa.saturating_abs() >= self.largest().saturating_sub(1);
        mantissa >= lowest
            && mantissa <= self.largest()
            && exponent >= largest.saturating_neg().saturating_sub(1)
            && exponent <= largest
            && !reserved
    }

    const fn bits(self, mantissa: i64, exponent: i64) -> u32 {
        let mask = (1u32 << self.mantissa_bits).saturating_sub(1);
        let exponent = (exponent as u32) << 32u32.saturating_sub(self.exponent_bits);
        let below = 32u32.saturating_sub(self.exponent_bits).saturating_sub(self.mantissa_bits);
        (exponent >> below) | (mantissa as u32 & mask)
    }

    const fn exact(self, decimal: Decimal) -> Result<u32, DoesNotFit> {
        let exponent = decimal.exponent as i64;
        if self.fits(decimal.mantissa, exponent) {
            Ok(self.bits(decimal.mantissa, exponent))
        } else {
            Err(DoesNotFit)
        }
    }

    /// Drops as few digits as it takes.
    const fn rounded(self, decimal: Decimal) -> u32 {
        let highest = self.largest_exponent();
        let lowest = highest.saturating_neg().saturating_sub(1);
        let (mut mantissa, mut exponent) = (decimal.mantissa, decimal.exponent as i64);
        if mantissa == 0 {
            let nearest = if exponent < lowest { lowest } else { highest };
            return self.bits(0, if self.fits(0, exponent) { exponent } else { nearest });
        }
        while exponent > highest && mantissa.saturating_abs() <= self.largest() {
            mantissa = mantissa.saturating_mul(10);
            exponent = exponent.saturating_sub(1);
        }
        // the rest of the division by each power of ten, so that nothing is rounded twice
        let mut dropped = 0i64;
        while exponent.saturating_add(dropped) <= highest {
            let rounded = divided(mantissa, dropped);
            if self.fits(rounded, exponent.saturating_add(dropped)) {
                return self.bits(rounded, exponent.saturating_add(dropped));
            }
            dropped = dropped.saturating_add(1);
        }
        self.special(if mantissa < 0 { Special::NegativeInfinity } else { Special::PositiveInfinity })
    }
}

/// Divides by 10^digits, and rounds halves away from zero.
const fn divided(mantissa: i64, digits: i64) -> i64 {
    let Some(power) = 10i64.checked_pow(if digits > 18 { 19 } else { digits as u32 }) else { return 0 };
    let magnitude = mantissa.unsigned_abs();
    let power = power.unsigned_abs();
    let (Some(quotient), Some(rest)) = (magnitude.checked_div(power), magnitude.checked_rem(power)) else {
        return 0;
    };
    // a quotient of 10^18 or less and one, or the mantissa itself, has 63 bits, but for the lowest i64
    let rounded = quotient.saturating_add((rest >= power.saturating_sub(rest)) as u64);
    if rounded > i64::MAX.unsigned_abs() {
        return mantissa;
    }
    if mantissa < 0 { (rounded as i64).saturating_neg() } else { rounded as i64 }
}

macro_rules! float {
    ($(#[$doc:meta])* $name:ident: $bits:ty, $mantissa_bits:literal, $exponent_bits:literal) => {
        $(#[$doc])*
        ///
        /// Two of them are equal if their bits are: 2 and 2.0 are not.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(into = "Number", try_from = "Number")]
        pub struct $name($bits);

        impl $name {
            const LAYOUT: Layout = Layout { mantissa_bits: $mantissa_bits, exponent_bits: $exponent_bits };

            /// Takes the bits; all of them mean something.
            pub const fn from_bits(bits: $bits) -> Self {
                Self(bits)
            }

            /// Returns the bits.
            pub const fn to_bits(self) -> $bits {
                self.0
            }

            /// Returns what it says, exactly.
            pub const fn number(self) -> Number {
                Self::LAYOUT.number(self.0 as u32)
            }

            /// Returns the number, exactly, if it is one.
            pub const fn decimal(self) -> Option<Decimal> {
                match self.number() {
                    Number::Finite(decimal) => Some(decimal),
                    Number::Special(_) => None,
                }
            }

            /// Takes a number with its precision.
            ///
            /// # Errors
            /// [`DoesNotFit`] if its mantissa has too many digits, or its exponent is too large or too small. At
            /// exponent 0 the two largest mantissas, and the three lowest ones, say something else.
            pub const fn exact(decimal: Decimal) -> Result<Self, DoesNotFit> {
                match Self::LAYOUT.exact(decimal) {
                    Ok(bits) => Ok(Self(bits as $bits)),
                    Err(error) => Err(error),
                }
            }

            /// Takes a number with as many of its digits as fit, halves rounded away from zero; infinity if it is too
            /// large, and zero if it is too small.
            pub const fn rounded(decimal: Decimal) -> Self {
                Self(Self::LAYOUT.rounded(decimal) as $bits)
            }

            /// Makes what is not a number.
            pub const fn special(special: Special) -> Self {
                Self(Self::LAYOUT.special(special) as $bits)
            }
        }

        impl From<$name> for Number {
            fn from(float: $name) -> Self {
                float.number()
            }
        }

        impl TryFrom<Number> for $name {
            type Error = DoesNotFit;

            fn try_from(number: Number) -> Result<Self, DoesNotFit> {
                match number {
                    Number::Finite(decimal) => Self::exact(decimal),
                    Number::Special(special) => Ok(Self::special(special)),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.number().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.number())
            }
        }
    };
}

float! {
    /// A 16-bit number of ISO/IEEE 11073-20601: 4 bits of exponent to the base 10, then 12 bits of mantissa.
    ///
    /// Bluetooth health devices send it.
    ///
    /// ```
    /// use vitalwire::clinical::{SFloat, Special};
    /// use vitalwire::framing::Decimal;
    /// let two = SFloat::exact(Decimal::new(200, -2))?;
    /// assert_eq!((two.to_bits(), two.to_string()), (0xe0c8, "2.00".into()));
    /// assert!(SFloat::exact(Decimal::new(36_841, -3)).is_err());
    /// assert_eq!(SFloat::rounded(Decimal::new(36_841, -3)).to_string(), "36.8");
    /// assert_eq!(SFloat::special(Special::NotANumber).decimal(), None);
    /// # Ok::<(), vitalwire::clinical::DoesNotFit>(())
    /// ```
    SFloat: u16, 12, 4
}

float! {
    /// A 32-bit number of ISO/IEEE 11073-20601: 8 bits of exponent to the base 10, then 24 bits of mantissa.
    ///
    /// ```
    /// use vitalwire::clinical::Float;
    /// use vitalwire::framing::Decimal;
    /// let temperature = Float::exact(Decimal::new(3684, -2))?;
    /// assert_eq!((temperature.to_bits(), temperature.to_string()), (0xfe00_0e64, "36.84".into()));
    /// # Ok::<(), vitalwire::clinical::DoesNotFit>(())
    /// ```
    Float: u32, 24, 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Rows of `data/sfloat_vectors.csv`: kind, bits in hex, mantissa, exponent or what it is, how it is written.
    fn vectors() -> Vec<[String; 5]> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/sfloat_vectors.csv");
        let text = std::fs::read_to_string(path).unwrap();
        let rows = text.lines().skip(1);
        rows.map(|row| row.split(',').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap()).collect()
    }

    #[test]
    fn holds_the_vectors_of_the_personal_health_device_guide() {
        let vectors = vectors();
        assert_eq!(vectors.len(), 24);
        for [kind, bits, mantissa, exponent, written] in vectors {
            let bits = u32::from_str_radix(&bits, 16).unwrap();
            let number = match exponent.as_str() {
                "NaN" => Number::Special(Special::NotANumber),
                "NRes" => Number::Special(Special::NotAtThisResolution),
                "+INF" => Number::Special(Special::PositiveInfinity),
                "-INF" => Number::Special(Special::NegativeInfinity),
                "Reserved" => Number::Special(Special::Reserved),
                exponent => {
                    let number = Decimal::new(mantissa.parse().unwrap(), exponent.parse().unwrap());
                    assert_eq!(number.to_string(), written);
                    Number::Finite(number)
                }
            };
            if kind == "SFLOAT" {
                assert_eq!(SFloat::from_bits(bits as u16).number(), number, "{bits:x}");
                assert_eq!(SFloat::try_from(number).unwrap().to_bits(), bits as u16);
            } else {
                assert_eq!(Float::from_bits(bits).number(), number, "{bits:x}");
                assert_eq!(Float::try_from(number).unwrap().to_bits(), bits);
            }
        }
    }

    #[test]
    fn every_sfloat_comes_back() {
        let mut special = 0;
        for bits in 0..=u16::MAX {
            let number = SFloat::from_bits(bits).number();
            assert_eq!(SFloat::try_from(number).unwrap().to_bits(), bits);
            match number {
                Number::Finite(decimal) => assert_eq!(SFloat::rounded(decimal).to_bits(), bits),
                Number::Special(_) => special += 1,
            }
        }
        assert_eq!(special, 5);
    }

    #[test]
    fn exact_refuses_what_rounded_changes() {
        let cases = [
            (2045, 0, Some("2045")),
            (2046, 0, None),
            (-2045, 0, Some("-2045")),
            (-2046, 0, None),
            (2047, -1, Some("204.7")),
            (2048, -1, None),
            (-2048, -1, Some("-204.8")),
            (-2049, -1, None),
            (1, 7, Some("10000000")),
            (1, 8, None),
            (1, -8, Some("0.00000001")),
            (1, -9, None),
        ];
        for (mantissa, exponent, written) in cases {
            let decimal = Decimal::new(mantissa, exponent);
            let exact = SFloat::exact(decimal);
            assert_eq!(exact.ok().map(|float| float.to_string()).as_deref(), written, "{decimal:?}");
            assert_eq!(exact.is_ok(), SFloat::rounded(decimal).decimal() == Some(decimal));
        }
    }

    #[test]
    fn rounds_to_the_digits_that_fit() {
        let rounded = |mantissa, exponent| SFloat::rounded(Decimal { mantissa, exponent }).to_string();
        assert_eq!(rounded(36_841, -3), "36.8");
        assert_eq!(rounded(-36_850, -3), "-36.9"); // the half goes away from zero
        assert_eq!(rounded(20_449_999, -4), "2045"); // and nothing is rounded twice
        assert_eq!(rounded(2046, 0), "2050");
        assert_eq!(rounded(1, 9), "1000000000");
        assert_eq!(rounded(204, 9), "+INF");
        assert_eq!(rounded(-204, 9), "-INF");
        assert_eq!(rounded(204, 8), "20400000000");
        assert_eq!(rounded(4, -9), "0.00000000");
        assert_eq!(rounded(5, -9), "0.00000001");
        assert_eq!(rounded(0, 100), "0");
        assert_eq!(rounded(0, -100), "0.00000000");
        assert_eq!(rounded(i64::MIN, -128), "0.00000000");
        assert_eq!(rounded(i64::MIN, -18), "-9.22");
        assert_eq!(rounded(i64::MAX, 127), "+INF");
    }

    proptest! {
        #[test]
        fn every_float_comes_back(bits in any::<u32>()) {
            let number = Float::from_bits(bits).number();
            prop_assert_eq!(Float::try_from(number).unwrap().to_bits(), bits);
            if let Number::Finite(decimal) = number {
                prop_assert_eq!(Float::rounded(decimal).to_bits(), bits);
            }
        }

        #[test]
        fn rounding_is_off_by_half_a_digit_at_most(mantissa in any::<i64>(), exponent in -9i8..=0) {
            let decimal = Decimal { mantissa, exponent };
            let Some(rounded) = Float::rounded(decimal).decimal() else { panic!("{decimal:?}") };
            let step = 10i128.pow((rounded.exponent - exponent) as u32);
            let off = i128::from(rounded.mantissa) * step - i128::from(mantissa);
            prop_assert!(off.abs() * 2 <= step, "{} {}", rounded.mantissa, rounded.exponent);
            // one digit more would not have fitted
            let finer = i128::from(mantissa) / (step / 10).max(1);
            prop_assert!(step == 1 || finer.abs() > 838_860 * 10 - 20);
        }
    }
}
