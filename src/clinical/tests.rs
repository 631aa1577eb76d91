//! Tests of typed channels: what they make fits its channel, and comes back over the wire.

use super::*;
use crate::codec::BufferTooSmall;
use crate::framing::{
    Absence, AlarmKind, BatchWriter, ChannelDescriptor, ChannelKind, Component, Decimal, DescriptorSet,
    EncodeError, Event, Measurement, Mode, Phase, Priority, Quality, Rate, Record, RecordBuf, RecordsFrame,
    Status, TrendBlock, TrendPoint, Value, Values, encode_descriptors, encode_record,
};
use crate::time::{Duration, Instant};

/// Encodes a record on these channels, and decodes it as a backend would.
fn over_the_wire(channels: &[ChannelDescriptor<'_>], record: &Record<'_>) -> RecordBuf {
    with_set(channels, |set| {
        let mut bytes = [0; 256];
        let len = encode_record(record, set, &mut bytes).unwrap();
        let mut body = [0; 300];
        let mut batch = BatchWriter::new(&mut body, 0, 0);
        batch.push(Instant::ZERO, &bytes[..len]).unwrap();
        let frame = RecordsFrame::parse(batch.finish()).unwrap();
        let decoded: Vec<_> = frame.records(set).collect::<Result<_, _>>().unwrap();
        RecordBuf::from(&decoded[0].record)
    })
}

fn with_set<R>(channels: &[ChannelDescriptor<'_>], with: impl FnOnce(&DescriptorSet<'_>) -> R) -> R {
    let mut bytes = [0; 512];
    let len = encode_descriptors(channels, &mut bytes).unwrap();
    with(&DescriptorSet::parse(&bytes[..len]).unwrap())
}

/// Holds what every kind has to keep: codes that are known, with a unit that they are usually in.
fn check_kind<K: Kind>() -> ChannelDescriptor<'static> {
    let descriptor = Channel::<K>::new(200).at(mdc::UPEXT_FINGER).sampled(Rate::per_second(1)).descriptor();
    assert!(term(K::METRIC).is_some(), "{}", K::METRIC);
    for component in K::COMPONENTS {
        let term = term(component.metric).unwrap();
        assert_eq!(term.unit, if term.unit == 0 { 0 } else { component.unit }, "{}", term.name);
        assert!(unit(component.unit).is_some(), "{}", term.name);
        assert_eq!((component.scale.mantissa, component.offset), (1, Decimal::ZERO));
    }
    assert_eq!((descriptor.site, descriptor.rate), (mdc::UPEXT_FINGER, Some(Rate::per_second(1))));
    with_set(&[descriptor], |set| assert_eq!(set.channel(200), Some(descriptor)));
    descriptor
}

fn check_quantity<Q: Quantity>(value: Q::Value)
where
    Q::Value: PartialEq + core::fmt::Debug,
{
    let channels = [check_kind::<Q>()];
    let channel = Channel::<Q>::new(200);
    let back = |measurement: Measurement| {
        let RecordBuf::Measurement(back) = over_the_wire(&channels, &measurement.into()) else { panic!() };
        assert_eq!(back, measurement);
        (read::<Q>(&channels[0], &back), channel.read(&back))
    };
    assert_eq!(back(channel.measured(value)), (Some(value), Some(value)));
    // nothing but what is real and valid reads as a value
    assert_eq!(back(channel.questionable(value)), (None, None));
    assert_eq!(back(channel.rated(value, Quality::Calibrating)), (None, None));
    assert_eq!(back(channel.absent(Absence::SensorOff)), (None, None));
    assert_eq!(back(channel.test(value)), (None, None));
    assert_eq!(back(channel.demonstration(value)), (None, None));
    check_rated(channel, value);
    check_trend(channel, value);
    assert_eq!(channel.absent(Absence::Failed).values.len(), Q::COMPONENTS.len());
    let first = Q::First::from_raw(17);
    assert_eq!(Q::COMPONENTS[0].scale.exponent, Q::First::EXPONENT);
    for alarm in
        [channel.too_high(Priority::High, first, first), channel.too_low(Priority::Low, first, first)]
    {
        let RecordBuf::Alarm(back) = over_the_wire(&channels, &alarm.into()) else { panic!() };
        assert_eq!((back, back.value), (alarm, Some(17)));
    }
    let limits = channel.limits(Some(first), None);
    let RecordBuf::AlarmLimits(back) = over_the_wire(&channels, &limits.into()) else { panic!() };
    assert_eq!((back, back.low, back.high), (limits, Some(17), None));
}

/// Holds that what is not valid or not real reads with these words and never without.
fn check_rated<Q: Quantity>(channel: Channel<Q>, value: Q::Value)
where
    Q::Value: PartialEq + core::fmt::Debug,
{
    let rated = |quality, mode| Some(Reading { value, quality, mode });
    for quality in [Quality::Valid, Quality::Questionable, Quality::Calibrating, Quality::Invalid] {
        assert_eq!(channel.read_rated(&channel.rated(value, quality)), rated(quality, Mode::Real));
    }
    assert_eq!(channel.read_rated(&channel.test(value)), rated(Quality::Valid, Mode::Test));
    let demonstration = channel.read_rated(&channel.demonstration(value));
    assert_eq!(demonstration, rated(Quality::Valid, Mode::Demonstration));
    assert_eq!(channel.read_rated(&channel.absent(Absence::SensorOff)), None);
}

/// Holds that a trend of a kind comes back over the wire, in its times and nothing but its own words.
fn check_trend<Q: Quantity>(channel: Channel<Q>, value: Q::Value)
where
    Q::Value: PartialEq + core::fmt::Debug,
{
    let channels = [channel.descriptor()];
    let points = [0, 1000, 2500].map(|ms| (Duration::from_millis(ms), value));
    let (mut times, mut space) = ([Duration::ZERO; 3], [0; 24]);
    let block = channel.trend(&points, &mut times, &mut space).unwrap();
    for (mode, quality) in [
        (Mode::Real, Quality::Valid),
        (Mode::Real, Quality::Questionable),
        (Mode::Real, Quality::Invalid),
        (Mode::Test, Quality::Valid),
    ] {
        let mut block = block;
        block.status = Status { mode, quality };
        let RecordBuf::Trend(back) = over_the_wire(&channels, &block.into()) else { panic!() };
        let read: Vec<_> = read_trend::<Q>(channels[0], &back.as_block()).collect();
        let good = (mode, quality) == (Mode::Real, Quality::Valid);
        assert_eq!(read, points.map(|(offset, value)| (offset, good.then_some(value))));
        assert_eq!(channel.read_trend(&block).collect::<Vec<_>>(), read);
    }
    let other = Channel::<Q>::new(201);
    assert!(other.read_trend(&block).all(|(_, value)| value.is_none()));
}

fn check_happening<H: Happening>(events: &[H::Event])
where
    H::Event: PartialEq + core::fmt::Debug,
{
    let channels = [check_kind::<H>()];
    let channel = Channel::<H>::new(200);
    for &event in events {
        let record = channel.happened(event);
        assert!(term(record.code).is_some(), "{event:?}");
        let RecordBuf::Event(back) = over_the_wire(&channels, &record.into()) else { panic!() };
        assert_eq!(back, record);
        assert_eq!(read_event::<H>(&channels[0], &back), Some(event));
        assert_eq!(channel.read_event(&back), Some(event));
        let test = Event { mode: Mode::Test, ..back };
        assert_eq!(channel.read_event(&test), None);
        assert_eq!(channel.read_event(&Event { code: 1, ..back }), None);
        assert_eq!(channel.read_event(&Event { channel: 3, ..back }), None);
    }
}

#[test]
fn every_quantity_comes_back_over_the_wire() {
    check_quantity::<HeartRate>(72);
    check_quantity::<PulseRate>(72);
    check_quantity::<CuffPulseRate>(72);
    check_quantity::<RrInterval>(833);
    check_quantity::<OxygenSaturation>(97);
    check_quantity::<PerfusionIndex>(Hundredths(321));
    check_quantity::<BodyTemperature>(Hundredths(3684));
    check_quantity::<CoreTemperature>(Hundredths(3702));
    check_quantity::<RespirationRate>(14);
    check_quantity::<ThoracicRespirationRate>(14);
    check_quantity::<CapnographicRespirationRate>(14);
    check_quantity::<EndTidalCo2>(38);
    check_quantity::<InterstitialGlucose>(105);
    check_quantity::<CapillaryGlucose>(105);
    check_quantity::<Weight>(Hundredths(7_250));
    check_quantity::<Steps>(10_432);
    check_quantity::<Battery>(81);
    check_quantity::<InsulinBasal>(Thousandths(850));
    for pulse in [Some(72), None] {
        check_quantity::<PulseOximetry>(Oximetry { saturation: 97, pulse });
        for mean in [Some(93), None] {
            check_quantity::<NonInvasivePressure>(Pressure { systolic: 120, diastolic: 80, mean, pulse });
            check_quantity::<ArterialPressure>(InvasivePressure { systolic: 120, diastolic: 80, mean });
        }
    }
    check_quantity::<Acceleration>(Axes { x: Hundredths(-3), y: Hundredths(981), z: Hundredths(40) });
    for volume in [Some(Hundredths(5000)), None] {
        check_quantity::<Infusion>(InfusionState {
            rate: Hundredths(1250),
            to_be_infused: volume,
            remaining: Some(Hundredths(1)),
            total: volume,
        });
    }
    for accuracy in [Some(12), None] {
        check_quantity::<Location>(Position {
            latitude: TenMillionths(-900_000_000),
            longitude: TenMillionths(1_800_000_000),
            altitude: accuracy,
            accuracy,
        });
    }
}

#[test]
fn every_event_comes_back_over_the_wire() {
    check_happening::<Fall>(&[()]);
    check_happening::<PersonalAlarm>(&[()]);
    check_happening::<PatientMark>(&[()]);
    check_happening::<InhalerActuation>(&[31]);
    check_happening::<InsulinBolus>(&[Thousandths(1500)]);
    check_happening::<GlucoseCalibration>(&[108]);
    check_happening::<Zone>(&[ZoneEvent::Entered(17), ZoneEvent::Left(17)]);
    check_happening::<Pump>(&[
        PumpEvent::Started,
        PumpEvent::Stopped,
        PumpEvent::NearlyComplete,
        PumpEvent::Complete,
        PumpEvent::Obstructed,
        PumpEvent::Status(PumpStatus::NotInfusing),
        PumpEvent::Status(PumpStatus::Infusing),
        PumpEvent::Status(PumpStatus::Paused),
    ]);
    check_happening::<DeviceStatus>(&[
        DeviceEvent::Started,
        DeviceEvent::SelfTestPassed,
        DeviceEvent::SelfTestFailed,
        DeviceEvent::Calibrated,
        DeviceEvent::SensorApplied,
        DeviceEvent::SensorRemoved,
        DeviceEvent::LeadOff,
        DeviceEvent::SensorDisconnected,
        DeviceEvent::CommunicationLost,
        DeviceEvent::BatteryLow,
        DeviceEvent::ChargingStarted,
        DeviceEvent::ChargingEnded,
    ]);
    check_kind::<Equipment>();
    assert_eq!(Equipment::KIND, ChannelKind::Alarm);
}

#[test]
fn a_missing_component_is_not_measured_and_never_zero() {
    let cuff = Channel::<NonInvasivePressure>::new(1);
    let measured = cuff.measured(Pressure { systolic: 120, diastolic: 80, mean: None, pulse: None });
    let missing = Value::Absent(Absence::NotMeasured);
    assert_eq!(measured.values[2..], [missing, missing]);
    // whichever reason an optional one has, the value reads without it
    let mut values = [Value::Present(120, Quality::Valid); 4];
    values[2] = Value::Absent(Absence::Failed);
    values[3] = Value::Present(66, Quality::Questionable);
    let measured = Measurement::new(1, Values::from(values));
    assert_eq!(
        cuff.read(&measured),
        Some(Pressure { systolic: 120, diastolic: 120, mean: None, pulse: None })
    );
    // but not without one that has to be there
    values[1] = Value::Absent(Absence::Failed);
    assert_eq!(cuff.read(&Measurement::new(1, Values::from(values))), None);
}

#[test]
fn a_value_reads_in_the_scale_and_order_of_its_device() {
    let mmhg = mdc::unit::MMHG;
    let components = [
        Component::scaled(mdc::PRESS_BLD_NONINV_DIA, mmhg, -1),
        Component { offset: Decimal::new(100, 0), ..Component::new(mdc::PRESS_BLD_NONINV_SYS, mmhg) },
    ];
    let channel =
        ChannelDescriptor::new(5, ChannelKind::Numeric, mdc::PRESS_BLD_NONINV, (&components).into());
    let measured = |raw: &[i32]| Measurement::new(5, Values::valid(raw).unwrap());
    let pressure = Pressure { systolic: 120, diastolic: 80, mean: None, pulse: None };
    assert_eq!(read::<NonInvasivePressure>(&channel, &measured(&[800, 20])), Some(pressure));
    // 80.5 mmHg is no whole number
    assert_eq!(read::<NonInvasivePressure>(&channel, &measured(&[805, 20])), None);
    assert_eq!(read::<NonInvasivePressure>(&channel, &measured(&[800, i32::MAX])), None);
    assert_eq!(read::<NonInvasivePressure>(&channel, &measured(&[800])), None);
    assert_eq!(read::<ArterialPressure>(&channel, &measured(&[800, 20])), None);
    let other = ChannelDescriptor { number: 6, ..channel };
    assert_eq!(read::<NonInvasivePressure>(&other, &measured(&[800, 20])), None);

    // another unit is another thing: kPa
    let kilopascal = [Component::new(mdc::CONC_AWAY_CO2_ET, 265_987)];
    let channel =
        ChannelDescriptor::new(5, ChannelKind::Numeric, mdc::CONC_AWAY_CO2_ET, (&kilopascal).into());
    assert_eq!(read::<EndTidalCo2>(&channel, &measured(&[5])), None);
    let bolus = [Component::scaled(mdc::INS_BOLUS, mdc::unit::INTL_UNIT, -1)];
    let channel = ChannelDescriptor::new(5, ChannelKind::Event, mdc::INS_BOLUS, (&bolus).into());
    let event = Event { channel: 5, mode: Mode::Real, code: mdc::INS_BOLUS, value: Some(15) };
    assert_eq!(read_event::<InsulinBolus>(&channel, &event), Some(Thousandths(1500)));
}

#[test]
fn a_value_reads_in_any_scale_and_offset_of_a_kind() {
    /// Half degrees above 20 °C.
    struct Halves;
    impl Kind for Halves {
        const KIND: ChannelKind = ChannelKind::Numeric;
        const METRIC: u32 = mdc::TEMP_BODY;
        const COMPONENTS: &'static [Component] = &[Component {
            metric: mdc::TEMP_BODY,
            unit: mdc::unit::DEGC,
            scale: Decimal::new(5, -1),
            offset: Decimal::new(20, 0),
        }];
    }
    impl Quantity for Halves {
        type Value = i32;
        type First = i32;
        fn to_values(value: i32) -> Values {
            Values::valid(&[value]).unwrap()
        }
        fn from_values(values: &[Value]) -> Option<i32> {
            values[0].valid()
        }
    }
    let tenths = [Component::scaled(mdc::TEMP_BODY, mdc::unit::DEGC, -1)];
    let channel = ChannelDescriptor::new(1, ChannelKind::Numeric, mdc::TEMP_BODY, (&tenths).into());
    let read = |raw| read::<Halves>(&channel, &Measurement::new(1, Values::valid(&[raw]).unwrap()));
    assert_eq!(read(365), Some(33)); // 36.5 °C = 20 °C + 33 · 0.5 °C
    assert_eq!(read(366), None);
    assert_eq!(read(200), Some(0));
    assert_eq!(read(-100), Some(-60));
}

#[test]
fn no_value_is_read_that_does_not_fit_its_own_scale() {
    // each exponent with the largest values: exact, or none
    for exponent in i8::MIN..=i8::MAX {
        let component = [Component::scaled(mdc::TEMP_BODY, mdc::unit::DEGC, exponent)];
        let channel = ChannelDescriptor::new(1, ChannelKind::Numeric, mdc::TEMP_BODY, (&component).into());
        for raw in [0, 1, -1, 3684, i32::MAX, i32::MIN] {
            let read =
                read::<BodyTemperature>(&channel, &Measurement::new(1, Values::valid(&[raw]).unwrap()));
            let places = i32::from(exponent) + 2;
            let expected = match raw {
                0 => Some(0),
                _ if places < 0 => None, // none of these ends with a zero
                _ => 10i128
                    .checked_pow(places as u32)
                    .and_then(|factor| i32::try_from(i128::from(raw).checked_mul(factor)?).ok()),
            };
            assert_eq!(read, expected.map(Hundredths), "{raw}e{exponent}");
        }
    }
}

#[test]
fn two_components_of_a_kind_are_not_guessed_at() {
    let twice = [
        Component::scaled(mdc::TEMP_BODY, mdc::unit::DEGC, -2),
        Component::scaled(mdc::TEMP_BODY, mdc::unit::DEGC, -1),
    ];
    let channel = ChannelDescriptor::new(1, ChannelKind::Numeric, mdc::TEMP_BODY, (&twice).into());
    let measured = Measurement::new(1, Values::valid(&[3684, 412]).unwrap());
    assert_eq!(read::<BodyTemperature>(&channel, &measured), None);
}

#[test]
fn glucose_in_another_unit_is_no_glucose_in_ours() {
    const MMOL_PER_L: u32 = 4 << 16 | 0xf001;
    let component = [Component::scaled(mdc::CONC_GLU_ISF, MMOL_PER_L, -1)];
    let channel = ChannelDescriptor::new(1, ChannelKind::Numeric, mdc::CONC_GLU_ISF, (&component).into());
    let measured = Measurement::new(1, Values::valid(&[58]).unwrap()); // 5.8 mmol/L
    assert_eq!(read::<InterstitialGlucose>(&channel, &measured), None);
    assert_eq!(read_rated::<InterstitialGlucose>(&channel, &measured), None);
    let points = [TrendPoint { offset: Duration::ZERO, raw: 58 }];
    let block = TrendBlock::new(1, &points);
    assert!(read_trend::<InterstitialGlucose>(channel, &block).all(|(_, value)| value.is_none()));
}

#[test]
fn one_doubtful_component_makes_a_reading_doubtful() {
    let cuff = Channel::<NonInvasivePressure>::new(1);
    let mut values = [Value::Present(120, Quality::Valid); 4];
    values[1] = Value::Present(80, Quality::Questionable);
    values[3] = Value::Absent(Absence::Failed);
    let measured = Measurement::new(1, Values::from(values));
    assert_eq!(cuff.read(&measured), None);
    let reading = cuff.read_rated(&measured).unwrap();
    let pressure = Pressure { systolic: 120, diastolic: 80, mean: Some(120), pulse: None };
    assert_eq!((reading.value, reading.quality), (pressure, Quality::Questionable));
}

#[test]
fn a_component_that_comes_and_goes_is_refused_in_a_trend() {
    let channel = Channel::<PulseOximetry>::new(1);
    let at = |ms, pulse| (Duration::from_millis(ms), Oximetry { saturation: 97, pulse });
    let (mut times, mut space) = ([Duration::ZERO; 2], [7; 4]);
    for points in [[at(0, Some(60)), at(1, None)], [at(0, None), at(1, Some(60))]] {
        assert_eq!(channel.trend(&points, &mut times, &mut space).unwrap_err(), EncodeError::OutOfRange);
    }
    assert_eq!(channel.trend(&[], &mut times, &mut space).unwrap_err(), EncodeError::OutOfRange);
    let block = channel.trend(&[at(0, None), at(1, None)], &mut times, &mut space).unwrap();
    assert_eq!(block.absence(1), Some(Absence::NotMeasured));
    let points = [at(0, None), at(1, None)];
    let short = channel.trend(&points, &mut times[..1], &mut [0; 4]).unwrap_err();
    assert_eq!(short, BufferTooSmall { needed: 2 }.into());
    let short = channel.trend(&points, &mut [Duration::ZERO; 2], &mut space[..3]).unwrap_err();
    assert_eq!(short, BufferTooSmall { needed: 4 }.into());
}

#[test]
fn limits_name_their_component() {
    let pump = Channel::<Infusion>::new(3);
    let limits = pump.limits_of(mdc::VOL_FLUID_TBI_REMAIN, Some(Hundredths(500)), None).unwrap();
    assert_eq!((limits.component, limits.low, limits.high), (2, Some(500), None));
    assert_eq!(over_the_wire(&[pump.descriptor()], &limits.into()), RecordBuf::AlarmLimits(limits));
    assert_eq!(pump.limits_of(mdc::VOL_FLUID_TBI_REMAIN, Some(5), None), None);
    assert_eq!(pump.limits_of(mdc::ECG_HEART_RATE, Some(Hundredths(5)), None), None);
}

#[test]
fn alarms_say_who_is_the_cause_and_begin() {
    let battery = Channel::<Battery>::new(9).battery_low(Priority::Low, 9, 10);
    assert_eq!((battery.kind, battery.code), (AlarmKind::Technical, mdc::EVT_BATT_LO));
    assert_eq!((battery.value, battery.low_limit, battery.high_limit), (Some(9), Some(10), None));
    let high = Channel::<HeartRate>::new(1).too_high(Priority::High, 162, 150);
    assert_eq!((high.kind, high.phase, high.code), (AlarmKind::Physiological, Phase::Start, mdc::EVT_HI));
    assert_eq!((high.low_limit, high.high_limit), (None, Some(150)));
    let low = Channel::<HeartRate>::new(1).too_low(Priority::High, 32, 40);
    assert_eq!((low.code, low.low_limit, low.high_limit), (mdc::EVT_LO, Some(40), None));
    let off = Channel::<HeartRate>::new(1).lead_off(Priority::Medium);
    assert_eq!((off.kind, off.code, off.value), (AlarmKind::Technical, mdc::EVT_LEAD_OFF, None));
    let equipment = Channel::<Equipment>::new(2);
    let lost = equipment.technical(Priority::Medium, mdc::EVT_COMM_LOST);
    assert_eq!(over_the_wire(&[equipment.descriptor()], &lost.into()), RecordBuf::Alarm(lost));
}

#[test]
fn waveforms_have_the_scale_of_their_converter() {
    let scale = Scale::new(Decimal::new(5, -3)).offset(Decimal::new(-5120, -3));
    let rate = Rate::per_second(360);
    let mut leads: Vec<u32> = Lead::TWELVE.iter().map(|lead| lead.metric()).collect();
    for lead in Lead::TWELVE.into_iter().chain([Lead::Unspecified]) {
        assert_eq!(term(lead.metric()).unwrap().unit, mdc::unit::MILLI_VOLT);
        let ecg = WaveformChannel::ecg(3, lead, rate, scale).at(mdc::TRUNK_BREAST);
        let component = ecg.descriptor().components.iter().next().unwrap();
        assert_eq!(component.physical(1224), Some(Decimal::new(1000, -3)));
        let record = Record::from(ecg.block(7, &[1224, 1225, 1220]));
        assert_eq!(over_the_wire(&[ecg.descriptor()], &record).as_record(), record);
    }
    leads.dedup();
    assert_eq!(leads.len(), 12);
    let others = [
        WaveformChannel::plethysmogram(1, Rate::per_second(64), Scale::ONE),
        WaveformChannel::respiration(2, Rate::per_second(32), Scale::ONE),
        WaveformChannel::arterial_pressure(4, Rate::per_second(125), Scale::new(Decimal::new(1, -1))),
    ];
    let channels: Vec<_> = others.iter().map(WaveformChannel::descriptor).collect();
    for (channel, described) in others.iter().zip(&channels) {
        assert!(term(described.metric).is_some());
        let record = Record::from(channel.block(0, &[1, -1, 5]));
        assert_eq!(over_the_wire(&channels, &record).as_record(), record);
        let off = Record::from(channel.lead_off(Priority::Low));
        assert_eq!(over_the_wire(&channels, &off).as_record(), off);
    }
    let axes = WaveformChannel::acceleration(5, Rate::per_second(50), Scale::new(Decimal::new(1, -2)));
    let rows = Record::from(axes.rows(10, &[[1, 981, -4], [2, 979, -3]]));
    assert_eq!(over_the_wire(&[axes.descriptor()], &rows).as_record(), rows);
    let metrics: Vec<_> = axes.descriptor().components.iter().map(|component| component.metric).collect();
    assert_eq!(metrics, [mdc::HF_3D_ACC_X, mdc::HF_3D_ACC_Y, mdc::HF_3D_ACC_Z]);
}

#[test]
fn twelve_leads_travel_together_and_each_keeps_its_place() {
    let ecg = WaveformChannel::leads(3, Lead::TWELVE, Rate::per_second(500), Scale::ONE);
    let rows = [core::array::from_fn(|lead| lead as i32), core::array::from_fn(|lead| -(lead as i32))];
    for block in [ecg.rows(70, &rows), ecg.rows(70, &rows).without(7, Absence::SensorOff)] {
        let RecordBuf::Waveform(back) = over_the_wire(&[ecg.descriptor()], &block.into()) else { panic!() };
        let back = back.as_block();
        assert_eq!((back.first_sample, back.components(), back), (70, 12, block));
        for (component, lead) in (0..12).zip(Lead::TWELVE) {
            assert_eq!(ecg.descriptor().components.iter().nth(component).unwrap().metric, lead.metric());
            let samples: Vec<_> = back.component(component).collect();
            let lead = component as i32;
            assert_eq!(samples, if block.absence(component).is_some() { vec![] } else { vec![lead, -lead] });
        }
    }
}
