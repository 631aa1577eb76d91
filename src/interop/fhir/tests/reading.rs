//! What is not as we write it.

use super::super::{Content, Extension, FhirError, Observation, Trend, from_json, parse, to_json};
use super::{context, encoded, measured, numeric, record};
use crate::clinical::mdc::{self, unit};
use crate::framing::{
    ChannelDescriptor, ChannelKind, Component, Decimal, DescriptorSet, Measurement, Mode, Quality, Rate,
    TrendBlock, TrendPoint, Value, Values, WaveformBlock,
};
use crate::time::Duration;

const VALID: Quality = Quality::Valid;

fn temperature() -> Vec<u8> {
    numeric(mdc::TEMP_BODY, &[Component::scaled(mdc::TEMP_BODY, unit::DEGC, -2)])
}

/// Writes 36.80 °C, changes the text, and reads it.
fn read_with(from: &str, to: &str) -> Result<Value, FhirError> {
    let set = temperature();
    let text = to_json(&measured(&set, &[Value::Present(3680, VALID)])).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    let observation: Observation = from_json(&text.replace(from, to))?;
    match parse(&observation, &DescriptorSet::parse(&set).unwrap())?.content {
        Content::Measurement(measurement) => Ok(measurement.values[0]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn reads_equal_numbers_of_another_form() {
    for text in ["36.80", "36.8", "36.800", "3680e-2", "0.3680E2"] {
        assert_eq!(read_with("36.80", text).unwrap(), Value::Present(3680, VALID), "{text}");
    }
}

#[test]
fn refuses_numbers_that_the_channel_cannot_tell() {
    assert!(matches!(read_with("36.80", "36.801"), Err(FhirError::Scale)));
    assert!(matches!(read_with("36.80", "21474836.48"), Err(FhirError::Scale)));
    assert_eq!(read_with("36.80", "21474836.47").unwrap(), Value::Present(i32::MAX, VALID));
    assert!(matches!(read_with("36.80", "1e100"), Err(FhirError::Scale)));
    assert!(matches!(read_with("36.80", "1e1000"), Err(FhirError::Number)));
    assert!(matches!(read_with("36.80", "\"36.80\""), Err(FhirError::Json(_))));
}

#[test]
fn refuses_another_unit() {
    assert!(matches!(read_with(r#""code":"Cel""#, r#""code":"[degF]""#), Err(FhirError::Unit)));
    assert!(matches!(read_with("http://unitsofmeasure.org", "urn:x"), Err(FhirError::Unit)));
}

#[test]
fn skips_elements_that_it_does_not_know() {
    let with = r#""status":"final","issued":"2026-11-22T05:13:20Z","method":{"text":"x"},"#;
    assert_eq!(read_with(r#""status":"final","#, with).unwrap(), Value::Present(3680, VALID));
}

#[test]
fn what_was_withdrawn_or_changed_is_no_record_any_more() {
    for status in
        ["registered", "preliminary", "amended", "corrected", "cancelled", "entered-in-error", "unknown"]
    {
        let changed = read_with(r#""status":"final""#, &format!(r#""status":"{status}""#));
        assert!(matches!(changed, Err(FhirError::Unexpected("status"))), "{status}");
    }
}

#[test]
fn what_changes_the_meaning_is_not_skipped() {
    let added = |element: &str| read_with(r#""status":"final""#, &format!(r#""status":"final",{element}"#));
    let negated = r#""modifierExtension":[{"url":"urn:x:negated","valueBoolean":true}]"#;
    assert!(matches!(added(negated), Err(FhirError::Unexpected("modifierExtension"))));
    let rules = added(r#""implicitRules":"urn:x:rules""#);
    assert!(matches!(rules, Err(FhirError::Unexpected("implicitRules"))));
    for comparator in ["<", ">="] {
        let below = format!(r#""value":36.80,"comparator":"{comparator}""#);
        let below = read_with(r#""value":36.80"#, &below);
        assert!(matches!(below, Err(FhirError::Unexpected("valueQuantity.comparator"))), "{comparator}");
    }
    let set = numeric(
        mdc::PRESS_BLD_NONINV,
        &[
            Component::new(mdc::PRESS_BLD_NONINV_SYS, unit::MMHG),
            Component::new(mdc::PRESS_BLD_NONINV_DIA, unit::MMHG),
        ],
    );
    let mut pressure = measured(&set, &[Value::Present(120, VALID), Value::Present(80, VALID)]);
    assert!(parse(&pressure, &DescriptorSet::parse(&set).unwrap()).is_ok());
    pressure.component[1].modifier_extension.push(Extension::default());
    let changed = parse(&pressure, &DescriptorSet::parse(&set).unwrap());
    assert!(matches!(changed, Err(FhirError::Unexpected("modifierExtension"))));
}

#[test]
fn refuses_other_resources() {
    assert!(matches!(
        read_with(r#""resourceType":"Observation""#, r#""resourceType":"Device""#),
        Err(FhirError::Json(_))
    ));
    assert!(matches!(read_with(r#""resourceType":"Observation","#, ""), Err(FhirError::Json(_))));
    assert!(matches!(read_with(r#""status":"final""#, r#""status":"done""#), Err(FhirError::Json(_))));
    // an Observation of somebody else
    assert!(matches!(read_with("urn:vitalwire:record", "urn:x"), Err(FhirError::Missing("identifier"))));
    assert!(matches!(read_with("urn:vitalwire:fhir:kind", "urn:x"), Err(FhirError::Missing("category"))));
    assert!(matches!(read_with("urn:vitalwire:fhir:uptime", "urn:x"), Err(FhirError::Missing(_))));
    assert!(matches!(read_with("\"150364\"", "\"150365\""), Err(FhirError::NoChannel)));
    assert!(matches!(read_with("\"150364\"", "\"+150364\""), Err(FhirError::Missing("code"))));
    assert!(matches!(
        read_with(r#""code":"measurement""#, r#""code":"trend""#),
        Err(FhirError::Unexpected("identifier"))
    ));
}

#[test]
fn test_data_is_never_taken_for_real() {
    let set = temperature();
    let mut measurement = Measurement::new(1, Values::valid(&[3680]).unwrap());
    measurement.mode = Mode::Test;
    let mut observation = context(&set).observations(&record(measurement)).unwrap().remove(0);
    let set = DescriptorSet::parse(&set).unwrap();
    // either mark alone is not what we write
    let tag = std::mem::take(&mut observation.meta.tag);
    assert!(matches!(parse(&observation, &set), Err(FhirError::Unexpected("meta"))));
    observation.meta.tag = tag;
    observation.meta.security.clear();
    assert!(matches!(parse(&observation, &set), Err(FhirError::Unexpected("meta"))));
}

#[test]
fn a_value_with_a_reason_for_its_absence_is_refused() {
    let set = temperature();
    let absent = measured(&set, &[Value::Absent(crate::framing::Absence::Failed)]);
    let mut both = measured(&set, &[Value::Present(3680, VALID)]);
    both.data_absent_reason = absent.data_absent_reason;
    let found = parse(&both, &DescriptorSet::parse(&set).unwrap());
    assert!(matches!(found, Err(FhirError::Unexpected("dataAbsentReason"))));
}

#[test]
fn a_quality_that_it_does_not_know_is_refused() {
    let set = temperature();
    let text = to_json(&measured(&set, &[Value::Present(3680, Quality::Questionable)])).unwrap();
    let other: Observation = from_json(&text.replace("questionable", "alarm-inhibited")).unwrap();
    let found = parse(&other, &DescriptorSet::parse(&set).unwrap());
    assert!(matches!(found, Err(FhirError::Unexpected("interpretation"))));
}

#[test]
fn channels_with_one_code_are_told_apart_by_site_and_number() {
    let parts = [Component::scaled(mdc::TEMP_BODY, unit::DEGC, -2)];
    let of = |number, site| {
        let mut channel =
            ChannelDescriptor::new(number, ChannelKind::Numeric, mdc::TEMP_BODY, (&parts).into());
        channel.site = site;
        channel
    };
    let bytes = encoded(&[of(1, 0), of(2, mdc::HEAD_EAR), of(3, 0)]);
    let set = DescriptorSet::parse(&bytes).unwrap();
    let written = |channel| {
        let measurement = Measurement::new(channel, Values::valid(&[3680]).unwrap());
        context(&bytes).observations(&record(measurement)).unwrap().remove(0)
    };
    for channel in 1..=3 {
        let observation = written(channel);
        assert_eq!(observation.extension.len(), usize::from(channel != 2));
        let Content::Measurement(found) = parse(&observation, &set).unwrap().content else { panic!() };
        assert_eq!(found.channel, channel);
    }
    let mut unclear = written(1);
    unclear.extension.clear();
    assert!(matches!(parse(&unclear, &set), Err(FhirError::Ambiguous)));
}

#[test]
fn samples_have_to_be_numbers_in_the_channels_scale() {
    let component = Component {
        offset: Decimal::new(5, 0),
        ..Component::scaled(mdc::ECG_ELEC_POTL_I, unit::MILLI_VOLT, -3)
    };
    let parts = [component];
    let mut channel = ChannelDescriptor::new(1, ChannelKind::Waveform, component.metric, (&parts).into());
    channel.rate = Some(Rate::per_second(250));
    let bytes = encoded(&[channel]);
    let set = DescriptorSet::parse(&bytes).unwrap();
    let samples = [12, -3];
    let block = WaveformBlock::new(1, 0, &samples);
    let text = to_json(&context(&bytes).observations(&record(block)).unwrap()[0]).unwrap();
    let read = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} is not in {text}");
        parse(&from_json(&text.replace(from, to)).unwrap(), &set)
    };
    assert!(read("12 -3", "12 -4").is_ok());
    for data in ["12 E", "12  3", "12 3 ", "", "12 3.0", "12 +3", "12 2147483648"] {
        let found = read("12 -3", data);
        assert!(matches!(found, Err(FhirError::Unexpected("valueSampledData.data"))), "{data}");
    }
    let many = vec!["1"; 1025].join(" ");
    assert!(matches!(read("12 -3", &many), Err(FhirError::Unexpected("valueSampledData.data"))));
    assert!(read("12 -3", &vec!["1"; 1024].join(" ")).is_ok());
    assert!(matches!(read(r#""period":4"#, r#""period":5"#), Err(FhirError::Scale)));
    assert!(matches!(read(r#""factor":0.001"#, r#""factor":0.01"#), Err(FhirError::Scale)));
    assert!(matches!(read(r#""value":5,"#, r#""value":6,"#), Err(FhirError::Scale)));
    assert!(matches!(read(r#""dimensions":1"#, r#""dimensions":2"#), Err(FhirError::Scale)));
    assert!(matches!(read(r#""code":"mV""#, r#""code":"uV""#), Err(FhirError::Unit)));
}

#[test]
fn points_of_different_records_are_no_trend() {
    let set = temperature();
    let points = [3680, 3690, 3700].map(|raw| TrendPoint { offset: Duration::ZERO, raw });
    let written = |sequence| {
        let mut record = record(TrendBlock::new(1, &points));
        record.sequence = sequence;
        context(&set).observations(&record).unwrap()
    };
    let set = DescriptorSet::parse(&set).unwrap();
    let parsed =
        |list: &[Observation]| list.iter().map(|found| parse(found, &set).unwrap()).collect::<Vec<_>>();
    let mut list = parsed(&written(1));
    assert!(Trend::of(&list).is_ok());
    assert!(matches!(Trend::of(&[]), Err(FhirError::Missing(_))));
    assert!(matches!(Trend::of(&list[1..]), Err(FhirError::Unexpected(_))));
    list.swap(1, 2);
    assert!(matches!(Trend::of(&list), Err(FhirError::Unexpected(_))));
    list.swap(1, 2);
    list[2] = parsed(&written(2)).remove(2);
    assert!(matches!(Trend::of(&list), Err(FhirError::Unexpected(_))));
}
