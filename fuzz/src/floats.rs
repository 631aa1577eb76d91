//! SFLOAT, FLOAT and decimals: bits, value, text, JSON and FHIR's numbers say the same, and rounding is off by half a digit
//! at most.
//!
//! Input: bits (4 bytes) ‖ exponent ‖ mantissa (8 bytes) ‖ text of a number.

use crate::input::Input;
use vitalwire::clinical::{Float, Number, SFloat};
use vitalwire::framing::Decimal;
use vitalwire::interop::fhir;

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let bits = u32::from(input.u16()) << 16 | u32::from(input.u16());
    let exponent = input.u8().cast_signed();
    let mantissa = input.take(8).iter().fold(0i64, |mantissa, &byte| mantissa << 8 | i64::from(byte));
    let text = input.rest();

    let short = SFloat::from_bits(bits as u16);
    assert_eq!(SFloat::try_from(short.number()).map(SFloat::to_bits), Ok(bits as u16));
    let long = Float::from_bits(bits);
    assert_eq!(Float::try_from(long.number()).map(Float::to_bits), Ok(bits));
    comes_back(&short);
    comes_back(&long);
    for number in [short.number(), long.number()] {
        comes_back(&number);
        if let Number::Finite(decimal) = number {
            check_decimal(decimal);
            assert_eq!(number.to_string(), decimal.to_string());
        }
    }
    if let Some(decimal) = short.decimal() {
        assert_eq!(SFloat::rounded(decimal), short);
        // whatever an SFLOAT says, a FLOAT can say
        assert_eq!(Float::exact(decimal).ok().and_then(Float::decimal), Some(decimal));
    }
    if let Some(decimal) = long.decimal() {
        assert_eq!(Float::rounded(decimal), long);
    }
    check_decimal(Decimal { mantissa, exponent });
    check_decimal(Decimal { mantissa: mantissa >> (bits & 63), exponent });
    if let Ok(text) = std::str::from_utf8(text)
        && let Ok(number) = fhir::Number::parse(text)
    {
        assert_eq!(fhir::from_json::<fhir::Number>(text).ok().as_ref(), Some(&number));
        if let Ok(decimal) = number.decimal() {
            check_decimal(decimal);
        }
    }
}

fn comes_back<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(one: &T) {
    let text = serde_json::to_string(one).expect("it can be written");
    assert_eq!(serde_json::from_str::<T>(&text).expect("it can be read"), *one);
}

fn check_decimal(decimal: Decimal) {
    comes_back(&decimal);
    let number = fhir::Number::from(decimal);
    assert_eq!(number.decimal().ok(), Some(decimal));
    assert_eq!(fhir::Number::parse(number.as_str()).ok().as_ref(), Some(&number));
    // the text has the digits and the places
    let text = decimal.to_string();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    assert_eq!(text.starts_with('-'), decimal.mantissa < 0);
    let places = text.split_once('.').map_or(0, |(_, places)| places.len());
    assert_eq!(places, usize::try_from(-i32::from(decimal.exponent)).unwrap_or(0));
    let shown = digits.trim_start_matches('0');
    let mantissa =
        if decimal.mantissa == 0 { String::new() } else { decimal.mantissa.unsigned_abs().to_string() };
    let zeros = if mantissa.is_empty() { 0 } else { usize::try_from(decimal.exponent).unwrap_or(0) };
    assert_eq!(shown, mantissa + &"0".repeat(zeros));
    for exponent in [i8::MIN, -9, 0, 9, i8::MAX] {
        if let Some(same) = decimal.with_exponent(exponent) {
            assert_eq!(same.exponent, exponent);
            assert_eq!(same.with_exponent(decimal.exponent), Some(decimal));
        }
    }
    check_rounding(
        decimal,
        SFloat::exact(decimal).ok().map(SFloat::number),
        SFloat::rounded(decimal).number(),
        (2047, 7),
    );
    check_rounding(
        decimal,
        Float::exact(decimal).ok().map(Float::number),
        Float::rounded(decimal).number(),
        (8_388_607, 127),
    );
}

/// `largest` is the largest mantissa and the largest exponent.
fn check_rounding(decimal: Decimal, exact: Option<Number>, rounded: Number, largest: (i64, i8)) {
    if let Some(exact) = exact {
        assert_eq!(exact, Number::Finite(decimal));
        assert_eq!(rounded, exact);
    }
    let Number::Finite(rounded) = rounded else {
        // too large: at the largest exponent, too
        assert!(i32::from(decimal.exponent) + 19 > i32::from(largest.1));
        return;
    };
    let dropped = i32::from(rounded.exponent) - i32::from(decimal.exponent);
    if decimal.mantissa == 0 {
        assert_eq!(rounded.mantissa, 0);
    } else if dropped < 0 {
        assert_eq!(decimal.with_exponent(rounded.exponent), Some(rounded));
    } else if let Some(step) = 10i128.checked_pow(dropped as u32).filter(|&step| step < 1 << 60) {
        let off = i128::from(rounded.mantissa) * step - i128::from(decimal.mantissa);
        assert!(off.abs() * 2 <= step, "{decimal:?} is not {rounded:?}");
        // one digit more would not have fitted, or is below the lowest exponent
        let finer = i128::from(decimal.mantissa) * 10 / step;
        let lowest = rounded.exponent == -largest.1 - 1;
        assert!(
            dropped == 0 || lowest || finer.abs() >= i128::from(largest.0) - 10,
            "{decimal:?}, {rounded:?}"
        );
    }
}
