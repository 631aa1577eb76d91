//! Record → Observation → JSON → Observation → record: nothing changes.

use super::super::{Bundle, Clock, Context, Trend, from_json, parse, to_json};
use super::{context, encoded};
use crate::clinical::{TimeQuality, mdc, mdc::unit, private};
use crate::framing::{
    Absence, Alarm, AlarmKind, AlarmLimits, Annotation, BatchRecord, ChannelDescriptor, ChannelKind,
    Component, Decimal, Event, Gap, GapReason, Lane, Measurement, Mode, Phase, Priority, Quality, Rate,
    Record, Status, TrendBlock, Value, Values, WaveformBlock,
};
use crate::time::{Duration, Instant};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const MODES: [Mode; 3] = [Mode::Real, Mode::Test, Mode::Demonstration];
const QUALITIES: [Quality; 4] =
    [Quality::Valid, Quality::Questionable, Quality::Calibrating, Quality::Invalid];
const ABSENCES: [Absence; 7] = [
    Absence::Unknown,
    Absence::NotMeasured,
    Absence::SensorOff,
    Absence::Failed,
    Absence::Overflow,
    Absence::Underflow,
    Absence::Withheld,
];
const PHASES: [Phase; 6] =
    [Phase::Start, Phase::Continue, Phase::End, Phase::Latched, Phase::Acknowledged, Phase::Inactivated];
const REASONS: [GapReason; 5] = [
    GapReason::Unknown,
    GapReason::OutboxFull,
    GapReason::PowerLoss,
    GapReason::StorageFailed,
    GapReason::Expired,
];

/// Codes with and without LOINC, private ones, and any other; few, so that they collide.
fn metric() -> impl Strategy<Value = u32> {
    const KNOWN: [u32; 8] = [
        mdc::ECG_HEART_RATE,
        mdc::PULS_RATE_NON_INV,
        mdc::PULS_OXIM_SAT_O2,
        mdc::TEMP_BODY,
        mdc::PRESS_BLD_NONINV_SYS,
        private::PULSE_OXIMETRY,
        0,
        7,
    ];
    prop_oneof![9 => select(&KNOWN[..]), 1 => any::<u32>()]
}

fn component() -> impl Strategy<Value = Component> {
    const UNITS: [u32; 6] = [unit::BEAT_PER_MIN, unit::PERCENT, unit::DEGC, unit::MMHG, 0, 999];
    let decimal = |mantissa: std::ops::RangeInclusive<i32>| (mantissa, -3i8..=2);
    let scale = decimal(-5000..=5000).prop_filter("not zero", |(mantissa, _)| *mantissa != 0);
    let offset = prop_oneof![Just((0, 0)), decimal(i32::MIN..=i32::MAX)];
    (metric(), select(&UNITS[..]), scale, offset).prop_map(|(metric, unit, scale, offset)| Component {
        metric,
        unit,
        scale: Decimal::new(scale.0, scale.1),
        offset: Decimal::new(offset.0, offset.1),
    })
}

#[derive(Clone, Debug)]
struct Channel {
    kind: ChannelKind,
    metric: u32,
    site: u32,
    rate: Rate,
    components: Vec<Component>,
}

impl Channel {
    fn descriptor(&self, number: u8) -> ChannelDescriptor<'_> {
        let list = self.components.as_slice().into();
        let descriptor = ChannelDescriptor::new(number, self.kind, self.metric, list);
        ChannelDescriptor { site: self.site, rate: Some(self.rate), ..descriptor }
    }
}

fn channel() -> impl Strategy<Value = Channel> {
    const KINDS: [ChannelKind; 4] =
        [ChannelKind::Numeric, ChannelKind::Waveform, ChannelKind::Event, ChannelKind::Alarm];
    let rate =
        (1u32..100_000, 1u32..1000).prop_map(|(numerator, denominator)| Rate { numerator, denominator });
    let site = select(vec![0, 0, mdc::HEAD_EAR]);
    (select(&KINDS[..]), metric(), site, rate, vec(component(), 1..5)).prop_map(
        |(kind, metric, site, rate, mut components)| {
            if kind == ChannelKind::Event {
                components.truncate(1);
            }
            Channel { kind, metric, site, rate, components }
        },
    )
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        (any::<i32>(), select(&QUALITIES[..])).prop_map(|(raw, quality)| Value::Present(raw, quality)),
        select(&ABSENCES[..]).prop_map(Value::Absent),
    ]
}

/// What a record is made of, whatever its channel permits.
#[derive(Clone, Debug)]
struct Parts {
    mode: Mode,
    values: Vec<Value>,
    quality: Quality,
    raw: Vec<i32>,
    absent: Vec<Option<Absence>>,
    numbers: [Option<i32>; 3],
    code: u32,
    big: u64,
    phase: Phase,
    text: String,
}

prop_compose! {
    fn parts()(
        mode in select(&MODES[..]),
        values in vec(value(), 4),
        quality in select(&QUALITIES[..]),
        raw in vec(any::<i32>(), 1..40),
        absent in vec(proptest::option::weighted(0.2, select(&ABSENCES[..])), 4),
        numbers in any::<[Option<i32>; 3]>(),
        code in metric(),
        big in 0..u64::MAX >> 1,
        phase in select(&PHASES[..]),
        text in "[a-zäß\"\\\\ \n€]{0,20}",
    ) -> Parts {
        Parts { mode, values, quality, raw, absent, numbers, code, big, phase, text }
    }
}

fn pick<T: Copy>(of: &[T], by: u64) -> T {
    of[(by % of.len() as u64) as usize]
}

/// Makes every record that the channel permits, writes it, reads it, and compares.
fn check(context: &Context<'_>, number: u8, channel: &Channel, parts: &Parts) {
    let Parts { mode, quality, code, big, .. } = *parts;
    let status = Status { mode, quality };
    let width = channel.components.len();
    let rows = parts.raw.len().div_ceil(width);
    let raw: Vec<i32> = parts.raw.iter().copied().cycle().take(rows * width).collect();
    let offsets: Vec<_> = (0..rows as u64).map(|row| Duration::from_millis(row * (big % 5000))).collect();
    // where nothing is there, there is no quality either
    let mut absent = parts.absent[..width].to_vec();
    absent[0] = absent[0].filter(|_| quality == Quality::Valid || absent.iter().any(Option::is_none));
    if quality != Quality::Valid && absent.iter().all(Option::is_some) {
        absent[0] = None;
    }
    let absences = || absent.iter().enumerate().filter_map(|(at, absence)| Some((at, (*absence)?)));
    let time = Instant::from_millis(big % 1_000_000_000_000);
    let same = |record: Record<'_>| {
        let record = BatchRecord { sequence: big, time, record };
        let written = context.observations(&record).unwrap();
        let text = to_json(&Bundle::transaction(None, written)).unwrap();
        let read: Bundle = from_json(&text).unwrap();
        let parsed: Vec<_> = read.observations().map(|found| parse(found, &context.set).unwrap()).collect();
        assert!(parsed.iter().all(|found| (found.id.sequence, found.id.lane) == (big, context.lane)));
        if let Record::Trend(block) = record.record {
            let trend = Trend::of(&parsed).unwrap();
            assert_eq!(trend.block(), block);
            assert!(trend.block().rows().eq(block.rows()));
            assert_eq!(trend.time, time);
        } else {
            assert_eq!(parsed.len(), 1);
            assert_eq!(parsed[0].time, time);
            assert_eq!(parsed[0].content.record(), Some(record.record));
        }
    };
    match channel.kind {
        ChannelKind::Numeric => {
            let values = Values::new(&parts.values[..width]).unwrap();
            same(Measurement { channel: number, mode, values }.into());
            let block = TrendBlock::compound(number, width, &offsets, &raw);
            let mut block = absences().fold(block, |block, (at, absence)| block.without(at, absence));
            block.status = status;
            same(block.into());
        }
        ChannelKind::Waveform => {
            let block = WaveformBlock::interleaved(number, big, width, &raw);
            let mut block = absences().fold(block, |block, (at, absence)| block.without(at, absence));
            block.status = status;
            same(block.into());
        }
        ChannelKind::Event => {
            same(Event { channel: number, mode, code, value: parts.numbers[0] }.into());
        }
        ChannelKind::Alarm => {}
    }
    let kind = pick(&[AlarmKind::Physiological, AlarmKind::Technical], big);
    let priorities = [Priority::Informational, Priority::Low, Priority::Medium, Priority::High];
    let mut alarm = Alarm::new(number, kind, pick(&priorities, big), parts.phase, code);
    alarm.mode = mode;
    [alarm.value, alarm.low_limit, alarm.high_limit] = parts.numbers;
    same(alarm.into());
    let mut limits = AlarmLimits::new(number);
    limits.component = (big % width as u64) as u8;
    (limits.mode, limits.low, limits.high) = (mode, parts.numbers[1], parts.numbers[2]);
    same(limits.into());
    let lane = [None, Some(Lane::Alarm), Some(Lane::Event), Some(Lane::Trend), Some(Lane::Waveform)];
    same(Gap { lane: pick(&lane, big), first: big, count: big + 1, reason: pick(&REASONS, big) }.into());
    let span = Duration::from_millis(if big.is_multiple_of(2) { 0 } else { big & u64::from(u32::MAX) });
    let about = Some(number).filter(|_| big.is_multiple_of(3));
    same(Annotation { channel: about, mode, code, span, text: &parts.text }.into());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_record_comes_back_as_it_was(
        channels in vec((channel(), parts()), 1..5),
        clock in proptest::option::of(0u64..200_000_000_000_000),
        error in any::<u32>(),
    ) {
        // sets are told apart by their numbers only, so the same code twice is in it
        let described: Vec<_> = (0u8..).zip(&channels).map(|(number, (channel, _))| channel.descriptor(number)).collect();
        let set = encoded(&described);
        let mut context = context(&set);
        context.clock = clock.map(|millis| Clock::new(millis).with_quality(TimeQuality::Estimated { error: Duration::from_millis(error.into()) }));
        for (number, (channel, parts)) in (0u8..).zip(&channels) {
            check(&context, number, channel, parts);
        }
    }
}
