use super::FhirError;
use crate::framing::Decimal;
use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::value::RawValue;

/// A FHIR `decimal`: a JSON number with exactly the digits that it was written with.
///
/// FHIR asks implementations to keep the precision: 2, 2.0 and 2.00 say different things. So a number never goes
/// through a binary float here. It can be written to and read from JSON text with `serde_json` only.
///
/// ```
/// use vitalwire::framing::Decimal;
/// use vitalwire::interop::fhir::Number;
/// let temperature = Number::from(Decimal::new(3680, -2));
/// assert_eq!(temperature.as_str(), "36.80");
/// assert_eq!(temperature.decimal()?, Decimal::new(3680, -2));
/// assert_ne!(Number::parse("36.8")?, temperature);
/// assert!(Number::parse("36,8").is_err());
/// # Ok::<(), vitalwire::interop::fhir::FhirError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Number(String);

/// The most places behind the point that are written out; smaller numbers get an exponent.
const MAX_PLACES: usize = 18;

impl Number {
    /// Reads a number as JSON writes it.
    ///
    /// # Errors
    /// [`FhirError::Number`] if it is none.
    pub fn parse(text: &str) -> Result<Self, FhirError> {
        Parts::of(text).ok_or(FhirError::Number)?;
        Ok(Self(text.to_owned()))
    }

    /// Returns the digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the number with its precision: `36.80` is 3680 · 10^−2.
    ///
    /// # Errors
    /// [`FhirError::Number`] if the digits do not fit 64 bits, or the exponent does not fit 8.
    pub fn decimal(&self) -> Result<Decimal, FhirError> {
        self.try_decimal().ok_or(FhirError::Number)
    }

    fn try_decimal(&self) -> Option<Decimal> {
        let parts = Parts::of(&self.0)?;
        let mut mantissa = 0i64;
        for digit in parts.integer.bytes().chain(parts.fraction.bytes()) {
            let digit = i64::from(digit.checked_sub(b'0')?);
            let digit = if parts.negative { digit.checked_neg()? } else { digit };
            mantissa = mantissa.checked_mul(10)?.checked_add(digit)?;
        }
        let exponent = if parts.exponent.is_empty() { 0 } else { parts.exponent.parse::<i64>().ok()? };
        let exponent = exponent.checked_sub(i64::try_from(parts.fraction.len()).ok()?)?;
        Some(Decimal { mantissa, exponent: i8::try_from(exponent).ok()? })
    }

    /// Returns the number if it is a whole one from 0 to 2^64 − 1, written without point and exponent.
    pub(super) fn whole(&self) -> Option<u64> {
        self.0.parse().ok()
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self(number.to_string())
    }
}

impl From<Decimal> for Number {
    /// Writes every digit that the exponent asks for; only large and tiny numbers get an exponent of their own.
    fn from(decimal: Decimal) -> Self {
        let digits = decimal.mantissa.unsigned_abs().to_string();
        let sign = if decimal.mantissa < 0 { "-" } else { "" };
        let places = usize::from(decimal.exponent.unsigned_abs());
        if decimal.exponent == 0 {
            return Self(format!("{sign}{digits}"));
        }
        if decimal.exponent > 0 || places > MAX_PLACES {
            return Self(format!("{sign}{digits}e{}", decimal.exponent));
        }
        let digits = format!("{digits:0>width$}", width = places.saturating_add(1));
        let (integer, fraction) = digits.split_at(digits.len().saturating_sub(places));
        Self(format!("{sign}{integer}.{fraction}"))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.0.clone()).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(raw.get()).map_err(de::Error::custom)
    }
}

/// The parts of a JSON number (RFC 8259, section 6).
struct Parts<'a> {
    negative: bool,
    integer: &'a str,
    fraction: &'a str,
    exponent: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (rest, exponent) = match rest.split_once(['e', 'E']) {
            Some((rest, exponent)) => (rest, Some(exponent)),
            None => (rest, None),
        };
        let (integer, fraction) = match rest.split_once('.') {
            Some((integer, fraction)) => (integer, Some(fraction)),
            None => (rest, None),
        };
        let whole = digits(integer) && (integer == "0" || !integer.starts_with('0'));
        let unsigned = exponent.map(|exponent| exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
        let valid = whole && fraction.is_none_or(digits) && unsigned.is_none_or(digits);
        valid.then(|| Self {
            negative,
            integer,
            fraction: fraction.unwrap_or_default(),
            exponent: exponent.unwrap_or_default(),
        })
    }
}
