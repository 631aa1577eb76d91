//! Annotations and alarm limits.

use super::*;
use crate::codec::DecodeError;
use crate::limits::MAX_ANNOTATION_TEXT;
use crate::time::Duration;

/// An extension record with this content.
fn extension(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[0xe0 | kind, content.len() as u8], content].concat()
}

#[test]
fn encodes_as_the_specification_shows() {
    with_set(|set| {
        let mut remark = Annotation::new(67_109_132);
        remark.channel = Some(ECG);
        remark.span = Duration::from_secs(12);
        let bytes = [0xe1, 8, 4, 3, 0x8c, 0x82, 0x80, 0x20, 0xe0, 0x5d];
        assert_eq!(encode(&remark.into(), set).unwrap(), bytes);
        let mut limits = AlarmLimits::new(HEART_RATE);
        (limits.low, limits.high) = (Some(50), Some(120));
        assert_eq!(encode(&limits.into(), set).unwrap(), [0xe2, 5, 1, 0x0c, 0x64, 0xf0, 1]);
    });
}

//= SPEC.md#extension
//= type=test
//# An encoder MUST NOT write content of its own under a kind that this version knows.
#[test]
fn known_kinds_are_not_written_as_opaque_content() {
    with_set(|set| {
        for kind in 0..=255 {
            let record = Record::Extension(ExtensionRecord { kind, bytes: &[1, 0] });
            let expected = if matches!(kind, 1 | 2) { Err(EncodeError::OutOfRange) } else { Ok(()) };
            assert_eq!(encode(&record, set).map(|_| ()), expected, "{kind}");
        }
    });
}

//= SPEC.md#annotation
//= type=test
//# A reader MUST refuse an annotation whose reserved flags are not zero, that names a channel which is not in the descriptor set, or whose text is not UTF-8 of at most 128 bytes.
#[test]
fn refuses_annotations_that_break_a_rule() {
    with_set(|set| {
        assert!(decode(&extension(1, &[0, 9, 0, b'a']), set).is_ok());
        let refused = |content: &[u8]| decode(&extension(1, content), set).unwrap_err();
        for reserved in [8, 16, 32, 64, 128] {
            assert_eq!(refused(&[reserved, 9, 0]), DecodeError::OutOfRange, "{reserved}");
        }
        assert_eq!(refused(&[3, 9, 0]), DecodeError::OutOfRange); // there is no mode 3
        assert_eq!(refused(&[4, 99, 9, 0]), DecodeError::OutOfRange); // nor a channel 99
        assert_eq!(refused(&[0, 9, 0, 0xff]), DecodeError::OutOfRange);
        assert_eq!(refused(&[0, 9, 0, 0xc3]), DecodeError::OutOfRange); // half a character
        assert_eq!(refused(&[0, 9]), DecodeError::Truncated);
        assert_eq!(refused(&[0, 9, 0x80, 0x80, 0x80, 0x80, 0x10]), DecodeError::OutOfRange);
        for (len, fits) in [(127, true), (128, true), (129, false)] {
            assert_eq!(MAX_ANNOTATION_TEXT, 128);
            let content = [&[0, 9, 0][..], &vec![b'x'; len]].concat();
            let bytes = [&[0xe1][..], &long_prefix(content.len()), &content].concat();
            assert_eq!(decode(&bytes, set).is_ok(), fits, "{len}");
        }
    });
}

fn long_prefix(len: usize) -> Vec<u8> {
    if len < 128 { vec![len as u8] } else { vec![len as u8 | 0x80, (len >> 7) as u8] }
}

#[test]
fn an_encoder_refuses_what_a_reader_would() {
    with_set(|set| {
        let text = "x".repeat(MAX_ANNOTATION_TEXT + 1);
        let remark = Annotation::new(9);
        let check = |remark: Annotation<'_>, expected| assert_eq!(encode(&remark.into(), set), Err(expected));
        check(Annotation { text: &text, ..remark }, EncodeError::OutOfRange);
        check(Annotation { span: Duration::from_millis(1 << 32), ..remark }, EncodeError::OutOfRange);
        check(Annotation { channel: Some(99), ..remark }, EncodeError::UnknownChannel);
        let longest = Annotation { text: &text[1..], span: Duration::from_millis(u32::MAX.into()), ..remark };
        assert!(encode(&longest.into(), set).is_ok());
        let limits = AlarmLimits { low: Some(50), high: Some(40), ..AlarmLimits::new(HEART_RATE) };
        assert_eq!(encode(&limits.into(), set), Err(EncodeError::OutOfRange));
        assert_eq!(encode(&AlarmLimits::new(99).into(), set), Err(EncodeError::UnknownChannel));
        let component = AlarmLimits { component: 1, ..AlarmLimits::new(HEART_RATE) };
        assert_eq!(encode(&component.into(), set), Err(EncodeError::OutOfRange));
    });
}

//= SPEC.md#alarm-limits
//= type=test
//# A reader MUST refuse alarm limits whose channel does not have the component, or whose low limit is above the high one.
#[test]
fn refuses_limits_that_break_a_rule() {
    with_set(|set| {
        for (channel, component, fits) in [
            (HEART_RATE, 0, true),
            (HEART_RATE, 1, false),
            (PRESSURE, 3, true),
            (PRESSURE, 4, false),
            (99, 0, false),
        ] {
            assert_eq!(decode(&extension(2, &[channel, component << 4]), set).is_ok(), fits, "{channel}");
        }
        for (low, high, fits) in [(49, 50, true), (50, 50, true), (51, 50, false)] {
            let content = [HEART_RATE, 12, low * 2, high * 2];
            assert_eq!(decode(&extension(2, &content), set).is_ok(), fits, "{low}");
        }
        assert_eq!(decode(&extension(2, &[HEART_RATE, 3]), set).unwrap_err(), DecodeError::OutOfRange);
        assert_eq!(decode(&extension(2, &[HEART_RATE, 0, 1]), set).unwrap_err(), DecodeError::TrailingBytes);
        assert_eq!(decode(&extension(2, &[HEART_RATE, 4]), set).unwrap_err(), DecodeError::Truncated);
    });
}

#[test]
fn limits_are_ordered_by_what_they_mean() {
    let falling = [Component { scale: Decimal::new(-1, 0), ..Component::new(9, 0) }];
    let channel = ChannelDescriptor::new(1, ChannelKind::Numeric, 9, (&falling).into());
    let mut bytes = [0; 64];
    let len = encode_descriptors(&[channel], &mut bytes).unwrap();
    let set = DescriptorSet::parse(&bytes[..len]).unwrap();
    // 50 to 120 in physical values
    let limits = AlarmLimits { low: Some(-50), high: Some(-120), ..AlarmLimits::new(1) };
    let bytes = encode(&limits.into(), &set).unwrap();
    assert_eq!(decode(&bytes, &set).unwrap(), limits.into());
    let inverted = AlarmLimits { low: limits.high, high: limits.low, ..limits };
    assert_eq!(encode(&inverted.into(), &set), Err(EncodeError::OutOfRange));
    let content = [1, 12, 239, 1, 99]; // -120, -50
    assert_eq!(decode(&extension(2, &content), &set).unwrap_err(), DecodeError::OutOfRange);
}
