//! What is said of each kind of record.

use super::*;

/// Channels of every kind, for the tests of what is said.
pub fn monitor() -> Vec<u8> {
    let rate = [Component::new(mdc::ECG_HEART_RATE, unit::BEAT_PER_MIN)];
    let oximeter = [
        Component::new(mdc::PULS_OXIM_SAT_O2, unit::PERCENT),
        Component::new(mdc::PULS_OXIM_PULS_RATE, unit::BEAT_PER_MIN),
    ];
    let leads = [
        Component::scaled(mdc::ECG_ELEC_POTL_I, unit::MILLI_VOLT, -3),
        Component::scaled(mdc::ECG_ELEC_POTL_II, unit::MILLI_VOLT, -3),
    ];
    let bolus = [Component::scaled(mdc::INS_BOLUS, unit::INTL_UNIT, -2)];
    let unnamed = [Component::new(70_000, 70_001)];
    let mut channels = [
        ChannelDescriptor::new(1, ChannelKind::Numeric, mdc::ECG_HEART_RATE, (&rate).into()),
        ChannelDescriptor::new(2, ChannelKind::Numeric, private::PULSE_OXIMETRY, (&oximeter).into()),
        ChannelDescriptor::new(3, ChannelKind::Waveform, mdc::ECG_ELEC_POTL, (&leads).into()),
        ChannelDescriptor::new(4, ChannelKind::Event, mdc::INS_BOLUS, (&bolus).into()),
        ChannelDescriptor::new(5, ChannelKind::Numeric, 70_000, (&unnamed).into()),
    ];
    channels[2].rate = Some(Rate::per_second(250));
    let mut out = vec![0; 512];
    let len = encode_descriptors(&channels, &mut out).unwrap();
    out.truncate(len);
    out
}

/// A capture of one batch of the monitor.
pub fn captured(records: &[Record<'_>], labels: &Json) -> String {
    let set = monitor();
    let mut body = vec![0; 2048];
    let mut batch = BatchWriter::new(&mut body, 0, 5);
    for record in records {
        let mut bytes = [0; 1024];
        let len = encode_record(record, &DescriptorSet::parse(&set).unwrap(), &mut bytes).unwrap();
        batch.push(Instant::from_millis(1_500), &bytes[..len]).unwrap();
    }
    let mut line = labels.clone();
    line["batch"] = hex(batch.finish()).into();
    format!("{}\n{line}\n", json!({ "set": hex(&set) }))
}

/// Says one record of the monitor, without sequence and time.
fn said<'a>(record: impl Into<Record<'a>>) -> String {
    let (tally, out, errors) = inspect(Format::Text, &captured(&[record.into()], &json!({})));
    assert_eq!((tally.problems, errors.as_str(), out.lines().count()), (0, "", 1), "{out}");
    out.trim_end().split_once("1.500 s  ").unwrap().1.to_owned()
}

#[test]
fn names_quantities_units_and_reasons() {
    let measured = |channel, values: &[Value]| said(Measurement::new(channel, Values::new(values).unwrap()));
    let rate = measured(1, &[Value::Present(72, Quality::Valid)]);
    assert_eq!(rate, "measurement channel 1 heart rate, from the ECG: 72 /min");
    let pair = measured(2, &[Value::Present(97, Quality::Questionable), Value::Absent(Absence::SensorOff)]);
    let named = |code| term(code).unwrap().name;
    let (both, saturation, pulse) =
        (named(private::PULSE_OXIMETRY), named(mdc::PULS_OXIM_SAT_O2), named(mdc::PULS_OXIM_PULS_RATE));
    let expected =
        format!("measurement channel 2 {both}: {saturation} 97 % [questionable], {pulse} absent: sensor off");
    assert_eq!(pair, expected);
    let unnamed = measured(5, &[Value::Present(-3, Quality::Valid)]);
    assert_eq!(unnamed, "measurement channel 5 code 1:4464: -3 unit 1:4465");
}

#[test]
fn says_first_what_is_not_of_the_patient() {
    let mut measurement = Measurement::new(1, Values::valid(&[60]).unwrap());
    measurement.mode = Mode::Test;
    assert_eq!(said(measurement), "*** TEST *** measurement channel 1 heart rate, from the ECG: 60 /min");
    let mut block = WaveformBlock::interleaved(3, 0, 2, &[1, 2]);
    block.status = Status { mode: Mode::Demonstration, quality: Quality::Invalid };
    let text = said(Record::Waveform(block));
    assert!(
        text.starts_with("*** DEMONSTRATION *** waveform channel 3 ECG, lead not said: [invalid]"),
        "{text}"
    );
    let (_, out, _) = inspect(Format::Json, &captured(&[Record::Waveform(block)], &json!({})));
    assert_eq!(json_lines(&out)[0]["meaning"]["not_real"], "demonstration");
    let (_, out, _) = inspect(
        Format::Json,
        &captured(&[Record::Waveform(WaveformBlock::interleaved(3, 0, 2, &[1, 2]))], &json!({})),
    );
    assert_eq!(json_lines(&out)[0]["meaning"].get("not_real"), None);
}

#[test]
fn prints_blocks_by_component() {
    let block = WaveformBlock::interleaved(3, 50, 2, &[-120, 900, 15, 1000]);
    let both = "waveform channel 3 ECG, lead not said: 2 rows from 50: \
        ECG, lead I in mV -0.120 0.015; ECG, lead II in mV 0.900 1.000";
    assert_eq!(said(Record::Waveform(block)), both);
    let one = said(Record::Waveform(block.without(1, Absence::SensorOff)));
    assert!(one.ends_with("ECG, lead I in mV -0.120 0.015; ECG, lead II absent: sensor off"), "{one}");

    let (_, out, _) = inspect(
        Format::Json,
        &captured(&[Record::Waveform(block.without(1, Absence::SensorOff))], &json!({})),
    );
    let components = &json_lines(&out)[0]["meaning"]["components"];
    let first = json!({ "metric": "ECG, lead I", "unit": "mV", "values": ["-0.120", "0.015"] });
    assert_eq!(components[0], first);
    assert_eq!(components[1]["values"], Json::Null);
}

#[test]
fn says_when_the_points_of_a_trend_are() {
    let second = Duration::from_secs(1);
    let regular = [Duration::ZERO, second, second + second];
    let text = said(Record::Trend(TrendBlock::compound(2, 2, &regular, &[97, 71, 96, 72, 96, 73])));
    assert!(text.contains(": 3 points every 1000 ms: ") && text.ends_with(" in /min 71 72 73"), "{text}");
    let irregular = [(0, 72), (900, 71), (2500, 70)]
        .map(|(ms, raw)| TrendPoint { offset: Duration::from_millis(ms), raw });
    let text = said(Record::Trend(TrendBlock::new(1, &irregular)));
    assert!(text.ends_with(": 3 points at 0 900 2500 ms: in /min 72 71 70"), "{text}");
    let text = said(Record::Trend(TrendBlock::new(1, &irregular[..1])));
    assert!(text.ends_with(": 1 points at its time: in /min 72"), "{text}");
}

#[test]
fn says_events_alarms_limits_annotations_and_gaps() {
    let bolus = Event { channel: 4, mode: Mode::Real, code: mdc::INS_BOLUS, value: Some(425) };
    let name = term(mdc::INS_BOLUS).unwrap().name;
    let unit = vitalwire::clinical::unit(unit::INTL_UNIT).unwrap().ucum;
    assert_eq!(said(bolus), format!("event channel 4 {name}: {name}, 4.25 {unit}"));
    let mut alarm =
        Alarm::new(1, AlarmKind::Physiological, Priority::High, Phase::Start, mdc::EVT_ECG_SINUS_TACHY);
    (alarm.value, alarm.high_limit) = (Some(162), Some(150));
    let name = term(mdc::EVT_ECG_SINUS_TACHY).unwrap().name;
    let expected = format!(
        "alarm channel 1 heart rate, from the ECG: physiological, high priority, start: {name}, \
         value 162 /min, high limit 150 /min"
    );
    assert_eq!(said(alarm), expected);
    let (_, out, _) = inspect(Format::Json, &captured(&[alarm.into()], &json!({})));
    let meaning = &json_lines(&out)[0]["meaning"];
    assert_eq!(meaning["code"], name);
    let values = json!({ "value": "162", "high_limit": "150" });
    assert_eq!(
        (&meaning["components"][0]["unit"], &meaning["components"][0]["values"]),
        (&json!("/min"), &values)
    );

    let mut limits = AlarmLimits::new(2);
    (limits.component, limits.low) = (1, Some(50));
    let pulse = term(mdc::PULS_OXIM_PULS_RATE).unwrap().name;
    let text = said(limits);
    assert!(text.starts_with("alarm limits channel 2 "), "{text}");
    assert!(text.ends_with(&format!(": {pulse}, low 50 /min, high none")), "{text}");

    let mut remark = Annotation::new(private::EVT_ARTEFACT);
    (remark.channel, remark.span, remark.text) = (Some(3), Duration::from_secs(12), "moved\nagain\u{1b}[2J");
    let text = said(remark);
    let expected =
        r#"annotation channel 3 ECG, lead not said: artefact for 12000 ms "moved\nagain\u{1b}[2J""#;
    assert_eq!(text, expected, "on one line, and without control characters");
    assert_eq!(said(Annotation::new(private::EVT_PATIENT_MARK)), "annotation: marked by the patient");

    let gap = Gap { lane: Some(Lane::Trend), first: 7, count: 3, reason: GapReason::PowerLoss };
    assert_eq!(said(gap), "gap: 3 records of trend from 7 on: power loss");
}
