use super::super::{Extension, FhirError, Number, Quantity, from_json, to_json};
use crate::framing::Decimal;
use proptest::prelude::*;

#[test]
fn keeps_the_digits() {
    for text in ["2", "2.0", "2.00", "-0.0", "36.80", "0.001", "1e3", "1E+3", "-12.5e-7", "0"] {
        assert_eq!(Number::parse(text).unwrap().as_str(), text);
        let json = format!(r#"{{"url":"x","valueDecimal":{text}}}"#);
        let extension: Extension = from_json(&json).unwrap();
        assert_eq!(to_json(&extension).unwrap(), json);
    }
}

#[test]
fn precisions_differ() {
    let number = |text| Number::parse(text).unwrap();
    assert_ne!(number("2"), number("2.0"));
    assert_eq!(number("2.00").decimal().unwrap(), Decimal::new(200, -2));
    assert_eq!(number("-12.5e-7").decimal().unwrap(), Decimal::new(-125, -8));
    assert_eq!(number("-0.0").decimal().unwrap(), Decimal::new(0, -1));
}

#[test]
fn writes_the_precision_of_the_exponent() {
    let text = |mantissa, exponent| Number::from(Decimal::new(mantissa, exponent)).to_string();
    assert_eq!(text(3680, -2), "36.80");
    assert_eq!(text(-5, -3), "-0.005");
    assert_eq!(text(0, -1), "0.0");
    assert_eq!(text(5, 0), "5");
    assert_eq!(text(5, 2), "5e2");
    assert_eq!(text(1, -18), "0.000000000000000001");
    assert_eq!(text(1, -19), "1e-19");
    assert_eq!(Number::from(u64::MAX).as_str(), "18446744073709551615");
}

#[test]
fn refuses_what_json_does_not_call_a_number() {
    for text in [
        "", "-", "+1", "01", "1.", ".5", "1e", "1e+", "0x1", "NaN", "1 ", " 1", "1,5", "--1", "1e1.5",
        "1.2.3",
    ] {
        assert!(matches!(Number::parse(text), Err(FhirError::Number)), "{text}");
    }
    for text in [r#""72""#, "true", "null", "[]", "{}"] {
        let json = format!(r#"{{"value":{text}}}"#);
        let found = from_json::<Quantity>(&json);
        assert!(found.is_err() || found.unwrap().value.is_none() && text == "null", "{text}");
    }
}

#[test]
fn refuses_numbers_that_do_not_fit() {
    for text in ["9223372036854775808", "1e128", "1e-129", "1e99999999999999999999", "0.1e-128"] {
        assert!(matches!(Number::parse(text).unwrap().decimal(), Err(FhirError::Number)), "{text}");
    }
    assert_eq!(Number::parse("-9223372036854775808").unwrap().decimal().unwrap().mantissa, i64::MIN);
}

proptest! {
    #[test]
    fn a_decimal_comes_back_as_it_was(mantissa: i64, exponent: i8) {
        let decimal = Decimal { mantissa, exponent };
        prop_assert_eq!(Number::from(decimal).decimal().unwrap(), decimal);
    }

    #[test]
    fn any_text_is_a_number_or_refused(text in "[-+0-9.eE]{0,12}") {
        let ours = Number::parse(&text).is_ok();
        prop_assert_eq!(ours, serde_json::from_str::<serde_json::Number>(&text).is_ok(), "{}", text);
    }
}
