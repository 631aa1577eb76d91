//! Prints FHIR R4 resources of every record kind, one JSON text per line, such as a service would send to a hospital.
//!
//! ```sh
//! cargo run --example fhir --features fhir > resources.ndjson
//! ```
//! `tests/fhir` validates them with R4 implementations of others.

use std::error::Error;
use std::io::Write;
use vitalwire::clinical::{TimeQuality, mdc, mdc::unit, private};
use vitalwire::framing::*;
use vitalwire::identity::{Identity, IssuerId, SubjectId};
use vitalwire::interop::fhir::{self, Bundle, Clock, Context, DeviceInfo, FhirError, Pseudonym, Subject};
use vitalwire::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A numeric channel whose components have these metrics, units and exponents.
const fn components<const N: usize>(of: [(u32, u32, i8); N]) -> [Component; N] {
    let mut list = [Component::new(0, 0); N];
    let mut at = 0;
    while at < N {
        list[at] = Component::scaled(of[at].0, of[at].1, of[at].2);
        at += 1;
    }
    list
}

/// Encodes the channels of a bedside monitor with a pump, which tells every kind of record.
fn descriptor_set() -> Result<Vec<u8>> {
    let heart_rate = components([(mdc::ECG_HEART_RATE, unit::BEAT_PER_MIN, 0)]);
    let oximetry = components([
        (mdc::PULS_OXIM_SAT_O2, unit::PERCENT, 0),
        (mdc::PULS_OXIM_PULS_RATE, unit::BEAT_PER_MIN, 0),
    ]);
    let pressure = components([
        (mdc::PRESS_BLD_NONINV_SYS, unit::MMHG, 0),
        (mdc::PRESS_BLD_NONINV_DIA, unit::MMHG, 0),
        (mdc::PRESS_BLD_NONINV_MEAN, unit::MMHG, 0),
        (mdc::PULS_RATE_NON_INV, unit::BEAT_PER_MIN, 0),
    ]);
    let temperature = components([(mdc::TEMP_BODY, unit::DEGC, -2)]);
    let respiration = components([(mdc::RESP_RATE, unit::RESP_PER_MIN, 0)]);
    let glucose = components([(mdc::CONC_GLU_ISF, unit::MILLI_G_PER_DL, 0)]);
    let weight = components([(mdc::MASS_BODY_ACTUAL, unit::KILO_G, -1)]);
    let ecg = [Component {
        metric: mdc::ECG_ELEC_POTL_II,
        unit: unit::MILLI_VOLT,
        scale: Decimal::new(5, -3),
        offset: Decimal::new(-5120, -3),
    }];
    let pleth = components([(mdc::PULS_OXIM_PLETH, unit::DIMLESS, -4)]);
    let bolus = components([(mdc::INS_BOLUS, unit::INTL_UNIT, -2)]);
    let steps = components([(private::STEP_COUNT, unit::STEP, 0)]);
    let numeric = |number, metric, list| ChannelDescriptor::new(number, ChannelKind::Numeric, metric, list);
    let leads = components([
        (mdc::ECG_ELEC_POTL_I, unit::MILLI_VOLT, -3),
        (mdc::ECG_ELEC_POTL_II, unit::MILLI_VOLT, -3),
        (mdc::ECG_ELEC_POTL_III, unit::MILLI_VOLT, -3),
    ]);
    let mut channels = [
        numeric(1, mdc::ECG_HEART_RATE, (&heart_rate).into()),
        numeric(2, private::PULSE_OXIMETRY, (&oximetry).into()),
        numeric(3, mdc::PRESS_BLD_NONINV, (&pressure).into()),
        numeric(4, mdc::TEMP_BODY, (&temperature).into()),
        numeric(5, mdc::RESP_RATE, (&respiration).into()),
        numeric(6, mdc::CONC_GLU_ISF, (&glucose).into()),
        numeric(7, mdc::MASS_BODY_ACTUAL, (&weight).into()),
        ChannelDescriptor::new(8, ChannelKind::Waveform, mdc::ECG_ELEC_POTL_II, (&ecg).into()),
        ChannelDescriptor::new(9, ChannelKind::Waveform, mdc::PULS_OXIM_PLETH, (&pleth).into()),
        ChannelDescriptor::new(10, ChannelKind::Event, mdc::INS_BOLUS, (&bolus).into()),
        ChannelDescriptor::new(11, ChannelKind::Event, mdc::AI_TYPE_SENSOR_FALL, (&[]).into()),
        ChannelDescriptor::new(12, ChannelKind::Alarm, private::DEVICE_STATUS, (&[]).into()),
        numeric(13, private::STEP_COUNT, (&steps).into()),
        numeric(14, mdc::TEMP_BODY, (&temperature).into()), // a second probe, elsewhere
        numeric(15, mdc::TEMP_BODY, (&temperature).into()), // a third, of which only its number tells
        ChannelDescriptor::new(16, ChannelKind::Waveform, mdc::ECG_ELEC_POTL, (&leads).into()),
    ];
    channels[0].rate = Some(Rate::per_second(1));
    channels[2].site = mdc::UPEXT_ARM_UPPER;
    channels[7].rate = Some(Rate::per_second(360)); // a period that no decimal holds
    channels[8].rate = Some(Rate { numerator: 125, denominator: 2 }); // one that a decimal does
    channels[13].site = mdc::HEAD_EAR;
    channels[15].rate = Some(Rate::per_second(500));
    let mut bytes = vec![0; vitalwire::limits::MAX_DESCRIPTOR_SET];
    let len = encode_descriptors(&channels, &mut bytes)?;
    bytes.truncate(len);
    Ok(bytes)
}

/// Writes all records there are to Observations.
fn observations(context: &Context<'_>) -> Result<Vec<fhir::Observation>> {
    let points = [(0, 72), (1000, 73), (2500, 71)]
        .map(|(ms, raw)| TrendPoint { offset: Duration::from_millis(ms), raw });
    let samples: Vec<i32> = (0..360).map(|n| 1024 + n * n % 71).collect();
    let leads = WaveformBlock::interleaved(16, 0, 3, &samples[..30]);
    let offsets = [Duration::ZERO, Duration::from_secs(2)];
    let saturations = TrendBlock::compound(2, 2, &offsets, &[97, 71, 96, 72]);
    let mut artefact = Annotation::new(private::EVT_ARTEFACT);
    (artefact.channel, artefact.span, artefact.text) =
        (Some(8), Duration::from_secs(12), "electrodes \"changed\"");
    let remark = Annotation { text: "patient eats", ..Annotation::new(0) };
    let mut limits = AlarmLimits::new(1);
    (limits.low, limits.high) = (Some(50), Some(120));
    let real = |channel, values: Values| Record::Measurement(Measurement::new(channel, values));
    let with = |value: Value| Values::from(value);
    let mut test = Measurement::new(1, Values::valid(&[60])?);
    test.mode = Mode::Test;
    let mut demonstration = TrendBlock::new(1, &points);
    demonstration.status = Status { mode: Mode::Demonstration, quality: Quality::Questionable };
    let mut invalid = WaveformBlock::new(9, 0, &samples[..8]);
    invalid.status.quality = Quality::Invalid;
    let mut tachycardia =
        Alarm::new(1, AlarmKind::Physiological, Priority::High, Phase::Start, mdc::EVT_ECG_SINUS_TACHY);
    (tachycardia.value, tachycardia.low_limit, tachycardia.high_limit) = (Some(162), Some(50), Some(150));
    let battery = Alarm::new(12, AlarmKind::Technical, Priority::Low, Phase::Latched, mdc::EVT_BATT_LO);
    let event = |channel, code, value| Record::Event(Event { channel, mode: Mode::Real, code, value });
    let gap = |lane, reason| Record::Gap(Gap { lane, first: 7, count: 3, reason });

    let mut records = vec![
        real(1, Values::valid(&[72])?),
        real(2, Values::valid(&[97, 71])?),
        real(3, Values::valid(&[120, 80, 93, 70])?),
        real(4, Values::valid(&[3680])?),
        real(5, with(Value::Present(14, Quality::Questionable))),
        real(6, with(Value::Present(112, Quality::Calibrating))),
        real(7, with(Value::Present(705, Quality::Invalid))),
        real(3, Values::new(&[Value::Absent(Absence::Failed); 4])?),
        real(13, Values::valid(&[4211])?),
        real(14, Values::valid(&[3711])?),
        real(15, Values::valid(&[3652])?),
        Record::Measurement(test),
        Record::Trend(TrendBlock::new(1, &points)),
        Record::Trend(demonstration),
        Record::Waveform(WaveformBlock::new(8, 3600, &samples)),
        Record::Waveform(WaveformBlock::new(9, 125, &samples[..125])),
        Record::Waveform(invalid),
        Record::Waveform(leads),
        Record::Waveform(leads.without(2, Absence::SensorOff)),
        Record::Trend(saturations),
        Record::Trend(saturations.without(1, Absence::NotMeasured)),
        Record::Annotation(artefact),
        Record::Annotation(remark),
        Record::AlarmLimits(limits),
        Record::AlarmLimits(AlarmLimits { component: 1, ..AlarmLimits::new(3) }),
        event(10, mdc::INS_BOLUS, Some(425)),
        event(11, mdc::AI_TYPE_SENSOR_FALL, None),
        event(11, 7, None), // a code of the device's own
        Record::Alarm(tachycardia),
        Record::Alarm(Alarm { phase: Phase::Acknowledged, value: None, ..tachycardia }),
        Record::Alarm(battery),
        gap(None, GapReason::PowerLoss),
        gap(Some(Lane::Trend), GapReason::Unknown),
    ];
    let absences = [
        Absence::Unknown,
        Absence::NotMeasured,
        Absence::SensorOff,
        Absence::Failed,
        Absence::Overflow,
        Absence::Underflow,
        Absence::Withheld,
    ];
    records.extend(absences.map(|absence| real(1, with(Value::Absent(absence)))));
    let mut all = Vec::new();
    for (sequence, record) in (0u64..).zip(records) {
        let time = Instant::from_millis(1_500 + sequence * 1000);
        all.extend(context.observations(&BatchRecord { sequence, time, record })?);
    }
    Ok(all)
}

fn main() -> Result<()> {
    let bytes = descriptor_set()?;
    let pseudonym = Pseudonym::new("6f1c2b3a-9d4e-4f50-8a61-7b2c3d4e5f60")?;
    let synchronised = TimeQuality::Synchronised { error: Duration::from_millis(250) };
    let whole = Context {
        device: Identity { issuer: IssuerId(*b"hospital"), subject: SubjectId(*b"a monitor's uuid") },
        boot: 7,
        tag: BootTag([0xc0, 0xff, 0xee, 0x01]),
        lane: Lane::Event,
        set: DescriptorSet::parse(&bytes)?,
        subject: Some(Subject::patient(pseudonym.clone())),
        clock: Some(Clock::new(1_795_324_399_000).with_quality(synchronised)),
    };
    let no_clock = Context { clock: None, lane: Lane::Alarm, ..whole.clone() };
    let elsewhere = Subject::identifier("urn:oid:2.999.1", pseudonym)?;
    let by_identifier = Context { subject: Some(elsewhere), lane: Lane::Trend, ..whole.clone() };
    let no_subject = Context { subject: None, lane: Lane::Waveform, ..whole.clone() };

    let info = DeviceInfo {
        name: Some("Bed 4"),
        manufacturer: Some("Example Corp."),
        model: Some("X1"),
        ..DeviceInfo::default()
    };
    let device = whole.device_resource(&info);
    let resources: Vec<std::result::Result<String, FhirError>> = vec![
        fhir::to_json(&device),
        fhir::to_json(&Bundle::collection(Some(device.clone()), observations(&whole)?)),
        fhir::to_json(&Bundle::transaction(Some(device.clone()), observations(&by_identifier)?)),
        fhir::to_json(&Bundle::batch(Some(device), observations(&no_clock)?)),
        fhir::to_json(&Bundle::batch(None, observations(&no_subject)?)),
    ];
    let mut out = std::io::stdout().lock();
    for resource in resources {
        writeln!(out, "{}", resource?)?;
    }
    Ok(())
}
