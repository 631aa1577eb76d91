//! Records, batches and descriptor sets.

use super::*;
use crate::codec::DecodeError;
use crate::limits::{
    MAX_BATCH_RECORDS, MAX_CHANNELS, MAX_DESCRIPTOR_SET, MAX_RECORD, MAX_WAVEFORM_COMPONENTS,
};
use proptest::prelude::*;

pub(super) fn any_mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Real), Just(Mode::Test), Just(Mode::Demonstration)]
}

fn any_value() -> impl Strategy<Value = Value> {
    let raw = || prop_oneof![any::<i32>(), -100..300i32];
    prop_oneof![
        4 => raw().prop_map(|raw| Value::Present(raw, Quality::Valid)),
        1 => (raw(), 1..4u8).prop_map(|(raw, quality)| Value::Present(raw, Quality::from_bits(quality))),
        1 => (16..23u8).prop_map(|state| Value::from_state(state).unwrap()),
    ]
}

/// Records of every kind but the blocks.
pub(super) fn any_record() -> impl Strategy<Value = Record<'static>> {
    let measurement =
        prop_oneof![Just((HEART_RATE, 1)), Just((OXIMETER, 2)), Just((PRESSURE, 4)), Just((RR, 1))]
            .prop_flat_map(|(channel, count)| {
                (Just(channel), any_mode(), proptest::collection::vec(any_value(), count))
            })
            .prop_map(|(channel, mode, values)| {
                Record::Measurement(Measurement { channel, mode, values: Values::new(&values).unwrap() })
            });
    let event = (any_mode(), any::<u32>(), any::<Option<i32>>()).prop_map(|(mode, code, value)| {
        let channel = if value.is_some() { PUMP } else { KEYS };
        Record::Event(Event { channel, mode, code, value })
    });
    let phase = prop_oneof![
        Just(Phase::Start),
        Just(Phase::Continue),
        Just(Phase::End),
        Just(Phase::Latched),
        Just(Phase::Acknowledged),
        Just(Phase::Inactivated)
    ];
    let priority = prop_oneof![
        Just(Priority::Informational),
        Just(Priority::Low),
        Just(Priority::Medium),
        Just(Priority::High)
    ];
    let kind = prop_oneof![Just(AlarmKind::Physiological), Just(AlarmKind::Technical)];
    let values = (any::<Option<i32>>(), any::<Option<i32>>(), any::<Option<i32>>());
    let alarm = (any_mode(), kind, priority, phase, any::<u32>(), values).prop_map(
        |(mode, kind, priority, phase, code, (value, low_limit, high_limit))| {
            let empty = value.or(low_limit).or(high_limit).is_none();
            let channel = if empty { EQUIPMENT } else { RR };
            let alarm = Alarm::new(channel, kind, priority, phase, code);
            Record::Alarm(Alarm { mode, value, low_limit, high_limit, ..alarm })
        },
    );
    let lane = prop_oneof![Just(None), (0..4u8).prop_map(Lane::from_code)];
    let reason = prop_oneof![
        Just(GapReason::Unknown),
        Just(GapReason::OutboxFull),
        Just(GapReason::PowerLoss),
        Just(GapReason::StorageFailed),
        Just(GapReason::Expired)
    ];
    let gap = (lane, any::<u32>(), 1..u64::MAX >> 1, reason).prop_map(|(lane, first, count, reason)| {
        Record::Gap(Gap { lane, first: first.into(), count, reason })
    });
    let extension = (0..=255u8)
        .prop_filter("kinds that are known have content of their own", |kind| ![1, 2].contains(kind))
        .prop_map(|kind| Record::Extension(ExtensionRecord { kind, bytes: b"what later versions say" }));
    let limits = (any_mode(), 0..4u8, any::<Option<i32>>(), any::<Option<i32>>()).prop_map(
        |(mode, component, one, other)| {
            let (low, high) = if one > other && other.is_some() { (other, one) } else { (one, other) };
            Record::AlarmLimits(AlarmLimits { channel: PRESSURE, component, mode, low, high })
        },
    );
    let channel = prop_oneof![Just(None), Just(Some(ECG)), Just(Some(RR))];
    let texts = prop_oneof![Just(""), Just("electrodes changed"), Just("Ωμέγα ✓")];
    let annotation = (channel, any_mode(), any::<u32>(), any::<u32>(), texts).prop_map(
        |(channel, mode, code, span, text)| {
            let span = crate::time::Duration::from_millis(span.into());
            Record::Annotation(Annotation { channel, mode, code, span, text })
        },
    );
    prop_oneof![
        4 => measurement, 1 => event, 2 => alarm, 1 => gap, 1 => extension, 1 => limits, 1 => annotation
    ]
}

proptest! {
    #[test]
    fn records_round_trip_in_batches(records in proptest::collection::vec(any_record(), 1..=MAX_BATCH_RECORDS)) {
        with_set(|set| {
            let encoded: Vec<_> = records.iter().map(|record| encode(record, set).unwrap()).collect();
            let body = batch(&encoded);
            let frame = RecordsFrame::parse(&body).unwrap();
            let decoded: Result<Vec<_>, _> = frame.records(set).collect();
            let decoded = decoded.unwrap();
            prop_assert_eq!(decoded.len(), records.len());
            for (index, (decoded, record)) in decoded.iter().zip(&records).enumerate() {
                prop_assert_eq!(decoded.sequence, 70 + index as u64);
                prop_assert_eq!(decoded.time, Instant::from_millis(1_000_000 + 1000 * index as u64));
                prop_assert_eq!(&decoded.record, record);
            }
            Ok(())
        })?;
    }

    //= SPEC.md#records
    //= type=test
    //# An encoder MUST write the one form of a record that a reader accepts.
    #[test]
    fn accepted_records_are_canonical(
        record in any_record(),
        change in any::<(prop::sample::Index, u8)>(),
        tail in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        with_set(|set| {
            let mut altered = encode(&record, set).unwrap();
            let at = change.0.index(altered.len());
            altered[at] ^= change.1;
            for bytes in [&altered, &tail] {
                if let Ok(record) = decode(bytes, set) {
                    prop_assert_eq!(&encode(&record, set).unwrap(), bytes);
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn any_bytes_as_a_batch_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        with_set(|set| {
            if let Ok(frame) = RecordsFrame::parse(&body) {
                prop_assert!(frame.records(set).count() <= MAX_BATCH_RECORDS + 1);
            }
            Ok(())
        })?;
    }

    #[test]
    fn any_bytes_as_a_set_never_panic_and_are_canonical(
        change in any::<(prop::sample::Index, u8)>(),
        noise in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut altered = with_set(|set| set.as_bytes().to_vec());
        let at = change.0.index(altered.len());
        altered[at] = change.1;
        for bytes in [altered, [&[1], &noise[..]].concat()] {
            if let Ok(set) = DescriptorSet::parse(&bytes) {
                let channels: Vec<_> = set.channels().collect();
                let mut out = [0; MAX_DESCRIPTOR_SET];
                let len = encode_descriptors(&channels, &mut out).unwrap();
                prop_assert_eq!(&out[..len], &bytes);
            }
        }
    }

    #[test]
    fn times_step_in_both_directions(times in proptest::collection::vec(0..i64::MAX as u64, 1..20)) {
        let mut out = [0; 1024];
        let mut batch = BatchWriter::new(&mut out, 0, 0);
        for &time in &times {
            batch.push(Instant::from_millis(time), &[0x01, 0]).unwrap();
        }
        let body = batch.finish();
        let frame = RecordsFrame::parse(body).unwrap();
        let read: Vec<_> = with_set(|set| frame.records(set).map(|r| r.unwrap().time.as_millis()).collect());
        prop_assert_eq!(read, times);
    }
}

#[test]
fn missing_is_never_zero() {
    with_set(|set| {
        let of = |value: Value| {
            encode(&Record::Measurement(Measurement::new(HEART_RATE, value.into())), set).unwrap()
        };
        assert_eq!(of(Value::Present(0, Quality::Valid)), [0x01, 0]);
        // kind 1, mode real, state 18, and nothing behind it
        assert_eq!(of(Value::Absent(Absence::SensorOff)), [0x21, 0, 18]);
        assert_eq!(of(Value::Present(0, Quality::Invalid)), [0x21, 0, 3, 0]);
    });
}

//= SPEC.md#measurement
//= type=test
//# A reader MUST refuse a qualified measurement that is real and has only valid values.
#[test]
fn rejects_needlessly_qualified_measurements() {
    with_set(|set| {
        assert!(decode(&[0x21, 1, 0, 5], set).is_ok());
        assert_eq!(decode(&[0x21, 0, 0, 5], set), Err(DecodeError::NonCanonical));
        assert_eq!(decode(&[0x21, 3, 1, 5], set), Err(DecodeError::OutOfRange));
        assert_eq!(decode(&[0x21, 0, 4, 5], set), Err(DecodeError::OutOfRange));
        assert_eq!(decode(&[0x21, 0, 23], set), Err(DecodeError::OutOfRange));
    });
}

//= SPEC.md#records
//= type=test
//# A reader MUST refuse an escaped number below 31.
#[test]
fn rejects_needlessly_escaped_channels() {
    with_set(|set| {
        assert!(decode(&[0x1f, 0xc8, 0x01, 0], set).is_ok());
        assert_eq!(decode(&[0x1f, 0x01, 0], set), Err(DecodeError::NonCanonical));
        assert_eq!(decode(&[0xff, 31, 0], set).map(|_| ()), Ok(()));
        assert_eq!(decode(&[0xff, 30, 0], set), Err(DecodeError::NonCanonical));
    });
}

//= SPEC.md#records
//= type=test
//# A reader MUST refuse a record whose channel is not in the descriptor set or does not permit it.
#[test]
fn rejects_records_that_do_not_fit_their_channel() {
    let alarm = Alarm::new(EQUIPMENT, AlarmKind::Technical, Priority::Low, Phase::Start, 7);
    with_set(|set| {
        let one = Values::valid(&[1]).unwrap();
        let measure = |channel| Record::Measurement(Measurement::new(channel, one));
        for (record, error, bytes) in [
            (measure(9), EncodeError::UnknownChannel, &[0x09, 0][..]),
            (measure(ECG), EncodeError::WrongKind, &[0x03, 0]),
            (measure(OXIMETER), EncodeError::WrongKind, &[0x02, 0]),
            (
                Record::Waveform(WaveformBlock::new(HEART_RATE, 0, &[1])),
                EncodeError::WrongKind,
                &[0x61, 0, 2, 0, 0, 0],
            ),
            (Record::Trend(TrendBlock::new(OXIMETER, &[])), EncodeError::WrongKind, &[0x42, 2, 0, 0, 0]),
            (
                Record::Event(Event { channel: KEYS, mode: Mode::Real, code: 0, value: Some(1) }),
                EncodeError::WrongKind,
                &[0x86, 4, 0, 2],
            ),
            (
                Record::Alarm(Alarm { value: Some(1), ..alarm }),
                EncodeError::WrongKind,
                &[0xa7, 0xa0, 1, 7, 2],
            ),
        ] {
            assert_eq!(encode(&record, set), Err(error), "{record:?}");
            assert!(decode(bytes, set).is_err(), "{record:?}");
        }
        // the same, as they should be
        assert!(decode(&[0x86, 0, 0], set).is_ok());
        assert_eq!(decode(&[0xa7, 0xa0, 0, 7], set), Ok(Record::Alarm(alarm)));
    });
}

//= SPEC.md#event
//= type=test
//# A reader MUST refuse an event whose reserved flags are not zero.
#[test]
fn rejects_events_with_reserved_flags() {
    with_set(|set| {
        for flags in 0..=255u8 {
            let bytes = [0x85, flags, 9, 4];
            let good = flags & !6 == 0 && flags & 2 == 0 && flags & 4 != 0 || matches!(flags, 5 | 6);
            assert_eq!(decode(&bytes, set).is_ok(), good, "{flags}");
        }
    });
}

//= SPEC.md#alarm
//= type=test
//# A reader MUST refuse an alarm of unknown phase, or whose reserved flags are not zero.
#[test]
fn rejects_alarms_of_unknown_phase_or_with_reserved_flags() {
    with_set(|set| {
        for flags in 0..=255u8 {
            let good = flags & 3 != 3 && flags >> 2 & 7 <= 5;
            assert_eq!(decode(&[0xa7, flags, 0, 7], set).is_ok(), good, "{flags}");
        }
        assert!(decode(&[0xa1, 0, 7, 7, 1, 2, 3], set).is_ok());
        assert_eq!(decode(&[0xa1, 0, 8, 7], set), Err(DecodeError::OutOfRange));
    });
}

//= SPEC.md#gap
//= type=test
//# A reader MUST refuse a gap of no sequences, or whose sequences would exceed 2^64 − 2.
#[test]
fn rejects_gaps_of_no_sequences_or_beyond_the_last() {
    with_set(|set| {
        let gap = |first, count| {
            let gap = Record::Gap(Gap { lane: None, first, count, reason: GapReason::Expired });
            encode(&gap, set).map(|bytes| assert_eq!(decode(&bytes, set).unwrap(), gap))
        };
        assert_eq!(gap(5, 0), Err(EncodeError::OutOfRange));
        assert_eq!(gap(u64::MAX - 1, 1), Ok(()));
        assert_eq!(gap(u64::MAX, 1), Err(EncodeError::OutOfRange));
        assert_eq!(decode(&[0xc0, 5, 0, 1], set), Err(DecodeError::OutOfRange));
        assert_eq!(decode(&[0xc5, 5, 1, 1], set), Err(DecodeError::OutOfRange));
        assert_eq!(decode(&[0xc0, 5, 1, 5], set), Err(DecodeError::OutOfRange));
    });
}

//= SPEC.md#records
//= type=test
//# A reader MUST refuse a record of more than 1024 bytes.
#[test]
fn rejects_records_longer_than_the_limit() {
    with_set(|set| {
        let content = vec![0; MAX_RECORD];
        // head and length take 3 bytes
        for (len, good) in [(MAX_RECORD - 4, true), (MAX_RECORD - 3, true), (MAX_RECORD - 2, false)] {
            let record = Record::Extension(ExtensionRecord { kind: 3, bytes: &content[..len] });
            assert_eq!(encode(&record, set).is_ok(), good);
            let bytes = [&[0xe3, len as u8 | 0x80, (len >> 7) as u8], &content[..len]].concat();
            assert_eq!(decode(&bytes, set).is_ok(), good, "{len}");
        }
    });
}

//= SPEC.md#records-frame
//= type=test
//# A reader MUST refuse a number of records outside 1 to 64, and sequences that would exceed 2^64 − 2.
#[test]
fn rejects_counts_and_sequences_out_of_range() {
    for (count, good) in [(0, false), (1, true), (63, true), (64, true), (65, false)] {
        assert_eq!(RecordsFrame::parse(&[0, 0, count, 0, 1]).is_ok(), good, "{count}");
    }
    let mut out = [0; 64];
    let mut batch = BatchWriter::new(&mut out, 0, u64::MAX - 1);
    assert!(batch.push(Instant::ZERO, &[1, 0]).is_ok());
    assert!(batch.push(Instant::ZERO, &[1, 0]).is_err());
    let body = batch.finish();
    assert!(RecordsFrame::parse(body).is_ok());
    body[10] = 2;
    assert_eq!(RecordsFrame::parse(body), Err(DecodeError::OutOfRange));
}

#[test]
fn a_batch_takes_at_most_64_records() {
    let mut out = [0; 1024];
    let mut batch = BatchWriter::new(&mut out, 0, 0);
    for _ in 0..MAX_BATCH_RECORDS {
        batch.push(Instant::ZERO, &[1, 0]).unwrap();
    }
    assert!(batch.push(Instant::ZERO, &[1, 0]).is_err());
    assert_eq!(batch.finish().len(), 4 + 64 * 2 + 63);
}

#[test]
fn a_record_that_does_not_fit_leaves_the_batch_as_it_was() {
    let mut out = [0; 12];
    let mut batch = BatchWriter::new(&mut out, 0, 0);
    assert!(batch.push(Instant::ZERO, &[0; 9]).is_err());
    assert_eq!((batch.count(), batch.remaining()), (0, 12));
    batch.push(Instant::from_millis(5), &[1, 0]).unwrap();
    assert!(batch.push(Instant::from_millis(9), &[1, 2, 3, 4, 5, 6]).is_err());
    batch.push(Instant::from_millis(6), &[1, 2]).unwrap();
    // the step in time counts from the record before, not from the one that was refused
    assert_eq!(batch.finish(), [0, 0, 2, 5, 1, 0, 2, 1, 2]);
}

//= SPEC.md#records-frame
//= type=test
//# A reader MUST refuse a time below 0 or above 2^64 − 1.
#[test]
fn rejects_times_out_of_range() {
    with_set(|set| {
        let mut body = vec![0, 0, 2, 0, 1, 0, 1, 1, 0];
        let outcome =
            |body: &[u8]| RecordsFrame::parse(body).unwrap().records(set).last().unwrap().map(|_| ());
        assert_eq!(outcome(&body), Err(DecodeError::OutOfRange));
        body[3] = 1;
        assert_eq!(outcome(&body), Ok(()));
    });
}

//= SPEC.md#conventions
//= type=test
//# A reader MUST refuse a structure that ends before its last value.
#[test]
fn rejects_records_that_end_early() {
    let points = [(0, 72), (812, 71), (1600, 90)]
        .map(|(at, raw)| TrendPoint { offset: crate::time::Duration::from_millis(at), raw });
    let mut alarm = Alarm::new(HEART_RATE, AlarmKind::Physiological, Priority::High, Phase::Start, 196_648);
    (alarm.value, alarm.high_limit) = (Some(162), Some(150));
    let records = [
        Record::Measurement(Measurement::new(HEART_RATE, Values::valid(&[72]).unwrap())),
        Record::Trend(TrendBlock::new(HEART_RATE, &points)),
        Record::Waveform(WaveformBlock::new(ECG, 70, &[50, 47, 9, -4000])),
        Record::Event(Event { channel: PUMP, mode: Mode::Real, code: 70_000, value: Some(-300) }),
        Record::Alarm(alarm),
        Record::Gap(Gap { lane: Some(Lane::Trend), first: 400, count: 9, reason: GapReason::OutboxFull }),
        Record::Extension(ExtensionRecord { kind: 77, bytes: b"later" }),
    ];
    with_set(|set| {
        for record in &records {
            let bytes = encode(record, set).unwrap();
            assert_eq!(decode(&bytes, set).as_ref(), Ok(record));
            for len in 0..bytes.len() {
                let outcome = decode(&bytes[..len], set).map(|_| ());
                assert_eq!(outcome, Err(DecodeError::Truncated), "{record:?}, {len}");
            }
        }
    });
}

//= SPEC.md#conventions
//= type=test
//# A reader MUST refuse bytes that are left over after the last value of a structure.
#[test]
fn rejects_bytes_behind_the_last_record() {
    with_set(|set| {
        let outcome: Vec<_> = RecordsFrame::parse(&[0, 0, 1, 0, 1, 0, 9])
            .unwrap()
            .records(set)
            .map(|r| r.map(|_| ()))
            .collect();
        assert_eq!(outcome, [Ok(()), Err(DecodeError::TrailingBytes)]);
    });
}

//= SPEC.md#descriptors
//= type=test
//# A reader MUST refuse a set of more than 2048 bytes or 64 channels, or whose channel numbers do not ascend strictly.
#[test]
fn rejects_sets_too_large_or_out_of_order() {
    let key = |number| ChannelDescriptor::new(number, ChannelKind::Event, 1, (&[]).into());
    let set = |channels: &[ChannelDescriptor<'_>]| {
        let mut out = vec![0; 3000];
        let len = encode_descriptors(channels, &mut out)?;
        assert!(DescriptorSet::parse(&out[..len]).is_ok());
        Ok(len)
    };
    for (count, good) in [(MAX_CHANNELS - 1, true), (MAX_CHANNELS, true), (MAX_CHANNELS + 1, false)] {
        let channels: Vec<_> = (0..count).map(|number| key(number as u8)).collect();
        assert_eq!(set(&channels).is_ok(), good);
    }
    assert_eq!(set(&[key(1), key(1)]), Err(EncodeError::OutOfRange));
    assert_eq!(set(&[key(2), key(1)]), Err(EncodeError::OutOfRange));
    // format, number, 2 bytes of length, 5 bytes, and a field of 3 bytes and its content
    for (len, good) in [(2047, true), (2048, true), (2049, false)] {
        let mut extensions = vec![9, (len - 12) as u8 | 0x80, ((len - 12) >> 7) as u8];
        extensions.resize(len - 9, 0);
        let channel = ChannelDescriptor { extensions: &extensions, ..key(1) };
        assert_eq!(set(&[channel]).ok(), good.then_some(len), "{len}");
        let mut bytes = vec![1, 1, (len - 4) as u8 | 0x80, ((len - 4) >> 7) as u8, 3, 1, 0, 0, 0];
        bytes.extend(&extensions);
        assert_eq!(DescriptorSet::parse(&bytes).is_ok(), good, "{len}");
    }
}

//= SPEC.md#descriptors
//= type=test
//# A reader MUST refuse a channel whose kind, rate and number of components do not go together as the table says.
#[test]
fn rejects_channels_that_are_inconsistent() {
    let component = [Component::new(1, 2); MAX_WAVEFORM_COMPONENTS + 1];
    let rate = Some(Rate::per_second(1));
    for (kind, rate, counts) in [
        (ChannelKind::Numeric, None, 1..=8),
        (ChannelKind::Numeric, rate, 1..=8),
        (ChannelKind::Waveform, rate, 1..=12),
        (ChannelKind::Event, None, 0..=1),
        (ChannelKind::Alarm, None, 0..=8),
    ] {
        for count in 0..=13 {
            let channel =
                ChannelDescriptor { rate, ..ChannelDescriptor::new(1, kind, 1, component[..count].into()) };
            let good = encode_descriptors(&[channel], &mut [0; 256]).is_ok();
            assert_eq!(good, counts.contains(&count), "{kind:?} with {count}");
        }
    }
    let without_rate = ChannelDescriptor::new(1, ChannelKind::Waveform, 1, component[..1].into());
    assert!(encode_descriptors(&[without_rate], &mut [0; 256]).is_err());
}

//= SPEC.md#descriptors
//= type=test
//# A reader MUST skip further fields of types that it does not know, and refuse fields whose types do not ascend strictly.
#[test]
fn skips_unknown_fields_of_a_channel() {
    let with = |extensions| {
        let channel = ChannelDescriptor {
            extensions,
            ..ChannelDescriptor::new(1, ChannelKind::Event, 1, (&[]).into())
        };
        encode_descriptors(&[channel], &mut [0; 256])
    };
    assert!(with(&[1, 0, 2, 1, 0xff]).is_ok());
    assert!(with(&[2, 0, 1, 1, 0xff]).is_err());
    assert!(with(&[2, 2, 1]).is_err());
}

//= SPEC.md#extension
//= type=test
//# A receiver MUST skip and report an extension record of a kind that it does not know, and read on behind it.
#[test]
fn skips_unknown_kinds_and_reads_on() {
    with_set(|set| {
        let body = batch(&[&[0xe9, 3, 7, 7, 7][..], &[0x01, 0x90, 0x01]]);
        let records: Vec<_> =
            RecordsFrame::parse(&body).unwrap().records(set).map(|r| r.unwrap().record).collect();
        let heart_rate = Measurement::new(HEART_RATE, Values::valid(&[72]).unwrap());
        assert_eq!(
            records,
            [Record::Extension(ExtensionRecord { kind: 9, bytes: &[7; 3] }), Record::Measurement(heart_rate)]
        );
    });
}

#[test]
fn rejects_zero_scale_and_unknown_format() {
    let zero = [Component { scale: Decimal::ZERO, ..Component::new(1, 1) }];
    let channel = ChannelDescriptor::new(1, ChannelKind::Numeric, 1, (&zero).into());
    assert_eq!(encode_descriptors(&[channel], &mut [0; 64]), Err(EncodeError::OutOfRange));
    assert_eq!(DescriptorSet::parse(&[2]), Err(DecodeError::UnknownMandatory));
    assert_eq!(DescriptorSet::parse(&[]), Err(DecodeError::Truncated));
    assert_eq!(DescriptorSet::parse(&[1]), Ok(DescriptorSet::EMPTY));
}

#[test]
fn a_set_fits_a_buffer_of_exactly_its_length_or_says_so() {
    with_set(|set| {
        let channels: Vec<_> = set.channels().collect();
        let len = set.as_bytes().len();
        // one byte more is asked for, as the length of a channel is not known before it is written
        assert_eq!(encode_descriptors(&channels, &mut vec![0; len + 1]), Ok(len));
        for short in 0..len {
            let error = encode_descriptors(&channels, &mut vec![0; short]);
            assert!(matches!(error, Err(EncodeError::BufferTooSmall(e)) if e.needed > short));
        }
    });
}

#[test]
fn physical_values_are_exact() {
    let ecg = with_set(|set| set.channel(ECG).unwrap().components.iter().next().unwrap());
    // (1224 − 1024) / 200 mV
    assert_eq!(ecg.physical(1224), Some(Decimal::new(1000, -3)));
    let offset = Component { offset: Decimal::new(-40, 0), ..Component::scaled(1, 1, -1) };
    assert_eq!(offset.physical(5), Some(Decimal::new(-395, -1)));
    let far = Component { offset: Decimal::new(1, 127), ..Component::scaled(1, 1, -128) };
    assert_eq!(far.physical(5), None);
}
