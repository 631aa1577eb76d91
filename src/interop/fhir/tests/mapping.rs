//! What a hospital reads.

use super::super::{Clock, Context, Extension, FhirError, systems, to_json};
use super::{LOINC, MDC, context, encoded, measured, numeric, record};
use crate::clinical::mdc::{self, unit};
use crate::clinical::{TimeQuality, WallTime, private};
use crate::framing::{
    Absence, Alarm, AlarmKind, ChannelDescriptor, ChannelKind, Component, Decimal, ExtensionRecord,
    Measurement, Mode, Phase, Priority, Quality, Rate, Record, TrendBlock, TrendPoint, Value, Values,
    WaveformBlock,
};
use crate::time::Duration;

const VALID: Quality = Quality::Valid;

fn heart_rate() -> Vec<u8> {
    numeric(mdc::ECG_HEART_RATE, &[Component::new(mdc::ECG_HEART_RATE, unit::BEAT_PER_MIN)])
}

fn blood_pressure() -> Vec<u8> {
    let parts = [
        (mdc::PRESS_BLD_NONINV_SYS, unit::MMHG),
        (mdc::PRESS_BLD_NONINV_DIA, unit::MMHG),
        (mdc::PRESS_BLD_NONINV_MEAN, unit::MMHG),
        (mdc::PULS_RATE_NON_INV, unit::BEAT_PER_MIN),
    ];
    numeric(mdc::PRESS_BLD_NONINV, &parts.map(|(metric, unit)| Component::new(metric, unit)))
}

#[test]
fn a_heart_rate_is_a_vital_sign() {
    let observation = measured(&heart_rate(), &[Value::Present(72, VALID)]);
    assert_eq!(observation.code.code_in(MDC), Some("147842"));
    assert_eq!(observation.code.code_in(LOINC), Some("8867-4"));
    assert_eq!(observation.category[0].code_in(systems::CATEGORY), Some("vital-signs"));
    assert_eq!(observation.meta.profile, ["http://hl7.org/fhir/StructureDefinition/heartrate"]);
    let value = observation.value_quantity.unwrap();
    assert_eq!(value.value.unwrap().as_str(), "72");
    assert_eq!((value.system.as_deref(), value.code.as_deref()), (Some(systems::UCUM), Some("/min")));
    assert_eq!(observation.effective_date_time.as_deref(), Some("2026-11-22T05:13:20.500Z"));
}

#[test]
fn a_profile_is_claimed_only_with_patient_and_date() {
    let set = heart_rate();
    let whole = context(&set);
    let values = record(Measurement::new(1, Values::valid(&[72]).unwrap()));
    let profiles =
        |context: &Context<'_>| context.observations(&values).unwrap().remove(0).meta.profile.len();
    assert_eq!(profiles(&whole), 1);
    assert_eq!(profiles(&Context { subject: None, ..whole.clone() }), 0);
    assert_eq!(profiles(&Context { clock: None, ..whole.clone() }), 0);
}

#[test]
fn a_profile_is_claimed_only_with_its_units() {
    // a heart rate in percent, whatever that is
    let set = numeric(mdc::ECG_HEART_RATE, &[Component::new(mdc::ECG_HEART_RATE, unit::PERCENT)]);
    let observation = measured(&set, &[Value::Present(72, VALID)]);
    assert!(observation.meta.profile.is_empty());
    assert_eq!(observation.code.code_in(LOINC), None);
}

#[test]
fn without_a_clock_the_date_is_absent_and_the_uptime_tells() {
    let set = heart_rate();
    let context = Context { clock: None, ..context(&set) };
    let values = record(Measurement::new(1, Values::valid(&[72]).unwrap()));
    let observation = context.observations(&values).unwrap().remove(0);
    assert_eq!(observation.effective_date_time, None);
    let json = to_json(&observation).unwrap();
    let element = r#""_effectiveDateTime":{"extension":[{"url":"urn:vitalwire:fhir:uptime","valueDecimal":1500},{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}]}"#;
    assert!(json.contains(element), "{json}");
}

#[test]
fn a_blood_pressure_has_components_and_no_value() {
    let values = [120, 80, 93, 70].map(|raw| Value::Present(raw, VALID));
    let observation = measured(&blood_pressure(), &values);
    assert_eq!(observation.code.code_in(LOINC), Some("85354-9"));
    assert_eq!(observation.value_quantity, None);
    let loinc: Vec<_> = observation.component.iter().map(|part| part.code.code_in(LOINC)).collect();
    // 8478-0 for the mean rests on one source, so its 11073 code has to do
    assert_eq!(loinc, [Some("8480-6"), Some("8462-4"), None, Some("8867-4")]);
    assert_eq!(observation.component[2].code.code_in(MDC), Some("150023"));
    assert_eq!(observation.meta.profile, ["http://hl7.org/fhir/StructureDefinition/bp"]);
}

#[test]
fn saturation_with_pulse_is_found_as_a_saturation() {
    let parts = [(mdc::PULS_OXIM_SAT_O2, unit::PERCENT), (mdc::PULS_OXIM_PULS_RATE, unit::BEAT_PER_MIN)];
    let set = numeric(private::PULSE_OXIMETRY, &parts.map(|(metric, unit)| Component::new(metric, unit)));
    let observation = measured(&set, &[Value::Present(97, VALID), Value::Present(71, VALID)]);
    let loinc = observation.code.coding.iter().filter(|coding| coding.system.as_deref() == Some(LOINC));
    assert_eq!(loinc.filter_map(|coding| coding.code.as_deref()).collect::<Vec<_>>(), ["2708-6", "59408-5"]);
    assert_eq!(observation.value_quantity.unwrap().value.unwrap().as_str(), "97");
    assert_eq!(observation.component[0].code.code_in(LOINC), Some("8867-4"));
    assert_eq!(observation.meta.profile, ["http://hl7.org/fhir/StructureDefinition/oxygensat"]);
}

#[test]
fn a_component_has_no_code_of_the_value_beside_it() {
    // obs-7: two pulse rates share one LOINC code
    let parts = [mdc::ECG_HEART_RATE, mdc::PULS_RATE_NON_INV];
    let set = numeric(mdc::ECG_HEART_RATE, &parts.map(|metric| Component::new(metric, unit::BEAT_PER_MIN)));
    let observation = measured(&set, &[Value::Present(72, VALID), Value::Present(71, VALID)]);
    assert_eq!(observation.code.code_in(LOINC), Some("8867-4"));
    assert_eq!(observation.component[0].code.code_in(LOINC), None);
    assert_eq!(observation.component[0].code.code_in(MDC), Some("149546"));
}

#[test]
fn absent_values_have_a_reason_and_no_number() {
    let reasons = [
        (Absence::Unknown, "unknown"),
        (Absence::NotMeasured, "not-performed"),
        (Absence::SensorOff, "not-performed"),
        (Absence::Failed, "error"),
        (Absence::Overflow, "positive-infinity"),
        (Absence::Underflow, "negative-infinity"),
        (Absence::Withheld, "masked"),
    ];
    for (absence, code) in reasons {
        let observation = measured(&heart_rate(), &[Value::Absent(absence)]);
        assert_eq!(observation.value_quantity, None);
        let reason = observation.data_absent_reason.unwrap();
        assert_eq!(reason.code_in(systems::DATA_ABSENT_REASON), Some(code));
    }
}

#[test]
fn quality_is_told_as_hl7_tells_it() {
    let status = |quality| {
        let observation = measured(&heart_rate(), &[Value::Present(72, quality)]);
        assert_eq!(observation.value_quantity.is_some(), observation.data_absent_reason.is_none());
        let codes = observation.interpretation.iter();
        codes.filter_map(|code| code.code_in(systems::MEASUREMENT_STATUS).map(str::to_owned)).next()
    };
    assert_eq!(status(Quality::Valid), None);
    assert_eq!(status(Quality::Questionable).as_deref(), Some("questionable"));
    assert_eq!(status(Quality::Calibrating).as_deref(), Some("calibration-ongoing"));
    assert_eq!(status(Quality::Invalid), None);
}

#[test]
fn an_invalid_value_is_no_value() {
    let observation = measured(&heart_rate(), &[Value::Present(720, Quality::Invalid)]);
    assert_eq!(observation.value_quantity, None);
    let reason = observation.data_absent_reason.unwrap();
    assert_eq!(reason.code_in(systems::DATA_ABSENT_REASON), Some("error"));
    assert_eq!(reason.extension[0].url, systems::INVALID_VALUE);
}

#[test]
fn test_data_has_a_label() {
    let set = heart_rate();
    for (mode, labels) in [(Mode::Real, 0), (Mode::Test, 1), (Mode::Demonstration, 1)] {
        let mut measurement = Measurement::new(1, Values::valid(&[72]).unwrap());
        measurement.mode = mode;
        let observation = context(&set).observations(&record(measurement)).unwrap().remove(0);
        // and is nobody's: a profile of vital signs needs a subject as well
        assert_eq!(observation.subject.is_some(), mode == Mode::Real);
        assert_eq!(observation.meta.profile.is_empty(), mode != Mode::Real);
        let security = &observation.meta.security;
        assert_eq!(security.iter().filter(|label| label.code.as_deref() == Some("HTEST")).count(), labels);
    }
}

#[test]
fn precision_is_that_of_the_channel() {
    let set = numeric(mdc::TEMP_BODY, &[Component::scaled(mdc::TEMP_BODY, unit::DEGC, -2)]);
    let json = to_json(&measured(&set, &[Value::Present(3680, VALID)])).unwrap();
    assert!(json.contains(r#""valueQuantity":{"value":36.80,"unit":"Cel""#), "{json}");
}

#[test]
fn a_waveform_tells_scale_and_period() {
    let component = Component {
        metric: mdc::ECG_ELEC_POTL_II,
        unit: unit::MILLI_VOLT,
        scale: Decimal::new(5, -3),
        offset: Decimal::new(-5120, -3),
    };
    let parts = [component];
    let mut channel = ChannelDescriptor::new(1, ChannelKind::Waveform, component.metric, (&parts).into());
    let samples = [1024, 1030, -7];
    let block = WaveformBlock::new(1, 9, &samples);
    let mut written = |rate| {
        channel.rate = Some(rate);
        let set = encoded(&[channel]);
        context(&set).observations(&record(block)).unwrap().remove(0)
    };
    let observation = written(Rate { numerator: 125, denominator: 2 });
    let data = observation.value_sampled_data.unwrap();
    assert_eq!(data.data.as_deref(), Some("1024 1030 -7"));
    assert_eq!((data.period.as_str(), data.factor.unwrap().as_str()), ("16", "0.005"));
    assert_eq!(data.origin.value.unwrap().as_str(), "-5.120");
    assert_eq!(observation.effective_period.unwrap().end.as_deref(), Some("2026-11-22T05:13:20.532Z"));
    // no decimal holds the period of 360 Hz, so the rate stands beside it
    let observation = written(Rate::per_second(360));
    assert_eq!(observation.value_sampled_data.unwrap().period.as_str(), "2.777777778");
    let rate = observation.extension.iter().find(|extension| extension.url == systems::RATE).unwrap();
    assert_eq!(rate.value_ratio.as_ref().unwrap().numerator.value.as_ref().unwrap().as_str(), "360");
}

#[test]
fn an_alarm_tells_what_it_is_and_its_limits() {
    let set = heart_rate();
    let mut alarm = Alarm::new(1, AlarmKind::Physiological, Priority::High, Phase::Start, mdc::EVT_HI);
    (alarm.value, alarm.high_limit) = (Some(162), Some(150));
    let observation = context(&set).observations(&record(alarm)).unwrap().remove(0);
    assert_eq!(observation.code.code_in(MDC), Some("196648"));
    let attribute = |code: &str| {
        let part = observation.component.iter().find(|part| part.code.code_in(MDC) == Some(code)).unwrap();
        part.value_codeable_concept.as_ref().unwrap().code_in(systems::ALARM).unwrap()
    };
    assert_eq!(attribute("68484"), "high");
    assert_eq!(attribute("68482"), "active");
    assert_eq!(attribute("68481"), "start");
    assert_eq!(attribute("68485"), "physiological");
    let value = observation.component.last().unwrap();
    assert_eq!(value.code.code_in(LOINC), Some("8867-4"));
    let high = value.reference_range[0].high.as_ref().unwrap();
    assert_eq!((high.value.as_ref().unwrap().as_str(), &value.reference_range[0].low), ("150", &None));
}

#[test]
fn private_codes_are_not_passed_off_as_public_ones() {
    for metric in [7, private::STEP_COUNT, 2 << 16 | 0xf000] {
        let set = numeric(metric, &[Component::new(metric, unit::STEP)]);
        let observation = measured(&set, &[Value::Present(1, VALID)]);
        assert_eq!(observation.code.code_in(MDC), None, "{metric}");
        assert_eq!(observation.code.code_in(systems::PRIVATE), Some(metric.to_string().as_str()));
    }
}

#[test]
fn refuses_records_that_do_not_fit() {
    let set = heart_rate();
    let context = context(&set);
    let error = |of: Record<'_>| context.observations(&record(of)).unwrap_err();
    let two = Measurement::new(1, Values::valid(&[72, 73]).unwrap());
    assert!(matches!(error(two.into()), FhirError::WrongKind));
    let elsewhere = Measurement::new(9, Values::valid(&[72]).unwrap());
    assert!(matches!(error(elsewhere.into()), FhirError::UnknownChannel(9)));
    let samples = [1, 2];
    assert!(matches!(error(WaveformBlock::new(1, 0, &samples).into()), FhirError::WrongKind));
    assert!(matches!(error(ExtensionRecord { kind: 99, bytes: &[] }.into()), FhirError::NoForm));
    // neither scale nor offset is out of range, but their sum is
    let wide = Component {
        scale: Decimal::new(1, 100),
        offset: Decimal::new(1, -100),
        ..Component::new(mdc::ECG_HEART_RATE, unit::BEAT_PER_MIN)
    };
    let set = numeric(mdc::ECG_HEART_RATE, &[wide]);
    let values = record(Measurement::new(1, Values::valid(&[72]).unwrap()));
    assert!(matches!(super::context(&set).observations(&values), Err(FhirError::Number)));
}

#[test]
fn each_observation_tells_how_good_its_time_is() {
    let set = heart_rate();
    let error = Duration::from_millis(250);
    for (quality, code, bound) in [
        (TimeQuality::Unknown, "unknown", None),
        (TimeQuality::SetByHand, "set-by-hand", None),
        (TimeQuality::Estimated { error }, "estimated", Some("250")),
        (TimeQuality::Synchronised { error }, "synchronised", Some("250")),
    ] {
        let clock = Clock::from(WallTime::from_unix_millis(1_795_324_399_000, quality));
        let context = Context { clock: Some(clock), ..context(&set) };
        let measurement = Measurement::new(1, Values::valid(&[72]).unwrap());
        let observation = context.observations(&record(measurement)).unwrap().remove(0);
        let extensions = &observation.effective_date_time_element.as_ref().unwrap().extension;
        let of = |url| Extension::find(extensions, url);
        assert_eq!(of(systems::CLOCK_QUALITY).unwrap().value_code.as_deref(), Some(code));
        let told = of(systems::CLOCK_ERROR).map(|found| found.value_quantity.as_ref().unwrap());
        assert_eq!(told.map(|told| told.value.as_ref().unwrap().as_str()), bound);
        assert!(told.is_none_or(|told| told.code.as_deref() == Some("ms")));
    }
}

#[test]
fn points_of_a_trend_have_their_own_times() {
    let set = heart_rate();
    let points = [0, 1000, 61_500].map(|ms| TrendPoint { offset: Duration::from_millis(ms), raw: 72 });
    let found = context(&set).observations(&record(TrendBlock::new(1, &points))).unwrap();
    let times: Vec<_> = found.iter().map(|point| point.effective_date_time.as_deref().unwrap()).collect();
    assert_eq!(times, ["2026-11-22T05:13:20.500Z", "2026-11-22T05:13:21.500Z", "2026-11-22T05:14:22.000Z"]);
    let mut names: Vec<_> = found.iter().map(|point| point.identifier[0].value.clone()).collect();
    names.dedup();
    assert_eq!(names.len(), 3);
}

#[test]
fn glucose_in_another_unit_has_no_code_of_ours() {
    // LOINC 99504-3 is glucose in mg/dL; the unit here is one of the device's own, for mmol/L
    for (own, expected) in [(unit::MILLI_G_PER_DL, Some("99504-3")), (4 << 16 | 0xf001, None)] {
        let set = numeric(mdc::CONC_GLU_ISF, &[Component::scaled(mdc::CONC_GLU_ISF, own, -1)]);
        let glucose = measured(&set, &[Value::Present(58, VALID)]);
        assert_eq!(glucose.code.code_in(LOINC), expected);
        let alarm = Alarm::new(1, AlarmKind::Physiological, Priority::High, Phase::Start, mdc::EVT_LO);
        let alarm = Alarm { low_limit: Some(39), ..alarm };
        let alarm = context(&set).observations(&record(alarm)).unwrap().remove(0);
        for part in &alarm.component {
            let value = part.value_codeable_concept.as_ref().and_then(|value| value.code_in(LOINC));
            assert!(value.is_none_or(|code| Some(code) == expected), "{value:?}");
            assert!(part.code.code_in(LOINC).is_none_or(|code| Some(code) == expected));
        }
    }
}
