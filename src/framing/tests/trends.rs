//! The times of trends: strict, and the same wherever the block goes.

use super::series::front;
use super::*;
use crate::codec::DecodeError;
use crate::time::Duration;

/// A trend of zeros of order 0: front, timing, first value, parameter, codes.
fn trend(head: &[u8], count: u32, timing: &[(u32, u32)]) -> Result<(), DecodeError> {
    let zeros = [(2, 4), (0, 5), (0, 1), (0, 5), (0, count - 1)];
    let bytes = bits(head, &[&front(0, count)[..3], timing, &zeros].concat());
    with_set(|set| decode(&bytes, set).map(|_| ()))
}

//= SPEC.md#trend
//= type=test
//# A reader MUST refuse timing 0 of more than one point without a period, timing 1 where 0 fits, and timings 2 and 3 where all steps are alike.
#[test]
fn rejects_timings_that_are_longer_than_needed() {
    let heart_rate = |count, timing: &[(u32, u32)]| trend(&[0x41], count, timing);
    let rr = |count, timing: &[(u32, u32)]| trend(&[0x5f, 0xc8, 0x01], count, timing);
    // the channel's own second
    assert_eq!(heart_rate(2, &[(0, 2)]), Ok(()));
    assert_eq!(heart_rate(2, &[(1, 2), (10, 5), (1000, 11)]), Err(DecodeError::NonCanonical));
    assert_eq!(heart_rate(2, &[(1, 2), (10, 5), (1001, 11)]), Ok(()));
    // a list of equal steps; parameter 0, codes 0; then of different steps
    assert_eq!(heart_rate(3, &[(2, 2), (10, 5), (1001, 11), (0, 5), (0, 1)]), Err(DecodeError::NonCanonical));
    assert_eq!(heart_rate(3, &[(2, 2), (10, 5), (1001, 11), (0, 5), (0b10, 2)]), Ok(()));
    // intervals that are all zero
    assert_eq!(heart_rate(3, &[(3, 2)]), Err(DecodeError::NonCanonical));
    // RR has no period, but one point needs none
    assert_eq!(rr(1, &[(0, 2)]), Ok(()));
    assert_eq!(rr(2, &[(0, 2)]), Err(DecodeError::OutOfRange));
}

//= SPEC.md#trend
//= type=test
//# A reader MUST refuse timing 1 of one point, timings 2 and 3 of fewer than three, and timing 3 without numbers of component 0.
#[test]
fn rejects_timings_without_what_they_need() {
    let step = [(10, 5), (1000, 11), (0, 5)];
    assert_eq!(
        trend(&[0x5f, 0xc8, 0x01], 1, &[&[(1, 2)], &step[..2]].concat()),
        Err(DecodeError::OutOfRange)
    );
    for count in [1, 2] {
        let list = [&[(2, 2)], &step[..]].concat();
        assert_eq!(trend(&[0x5f, 0xc8, 0x01], count, &list), Err(DecodeError::OutOfRange));
        assert_eq!(trend(&[0x41], count, &[(3, 2)]), Err(DecodeError::OutOfRange));
    }
    // component 0 absent, for the second reason, and component 1 raw, of one bit
    let absent = [&front(0, 3)[..3], &[(3, 2), (1, 4), (1, 3), (0, 4), (0, 5), (0b010, 3)]].concat();
    let outcome = with_set(|set| decode(&bits(&[0x42], &absent), set).map(|_| ()));
    assert_eq!(outcome, Err(DecodeError::OutOfRange));
    // the same with a period of 1 ms
    let regular = [(1, 2), (1, 5), (1, 2)];
    let regular = [&absent[..3], &regular, &absent[4..]].concat();
    assert_eq!(with_set(|set| decode(&bits(&[0x42], &regular), set).map(|_| ())), Ok(()));
}

//= SPEC.md#trend
//= type=test
//# A reader MUST refuse a step of time below 0 or above 2^31 − 1 milliseconds.
#[test]
fn rejects_steps_of_time_out_of_range() {
    let list = |width: u32, first: u32, change: (u32, u32)| {
        trend(&[0x41], 3, &[(2, 2), (width - 1, 5), (first, width), (0, 5), change])
    };
    // code 10 = 1 = fold(−1), code 110 = 2 = fold(1)
    assert_eq!(list(2, 1, (0b10, 2)), Ok(()));
    assert_eq!(list(1, 0, (0b10, 2)), Err(DecodeError::OutOfRange));
    assert_eq!(list(32, 0x7fff_fffe, (0b110, 3)), Ok(()));
    assert_eq!(list(32, 0x7fff_ffff, (0b110, 3)), Err(DecodeError::OutOfRange));
    assert_eq!(list(1, 1, (0b110, 3)), Err(DecodeError::OutOfRange));
}

#[test]
fn encoding_a_trend_refuses_times_that_descend_or_do_not_start_at_zero() {
    let at = |offsets: &[u64]| {
        let points: Vec<_> = offsets
            .iter()
            .map(|&offset| TrendPoint { offset: Duration::from_millis(offset), raw: 0 })
            .collect();
        with_set(|set| encode(&Record::Trend(TrendBlock::new(RR, &points)), set)).map(|_| ())
    };
    assert_eq!(at(&[0, 5, 5]), Ok(()));
    assert_eq!(at(&[0, 0x7fff_ffff]), Ok(()));
    assert_eq!(at(&[0, 0x8000_0000]), Err(EncodeError::OutOfRange));
    assert_eq!(at(&[0, 5, 4]), Err(EncodeError::OutOfRange));
    assert_eq!(at(&[1, 2]), Err(EncodeError::OutOfRange));
    assert_eq!(at(&[]), Err(EncodeError::OutOfRange));
}

#[test]
fn a_decoded_trend_goes_only_where_its_times_stay_the_same() {
    let component = [Component::new(147_842, 264_864)];
    let set_of = |rate| {
        let mut channel = ChannelDescriptor::new(RR, ChannelKind::Numeric, 1, (&component).into());
        channel.rate = rate;
        let mut bytes = [0; 64];
        let len = encode_descriptors(&[channel], &mut bytes).unwrap();
        bytes[..len].to_vec()
    };
    let sets = [None, Some(Rate::per_second(1)), Some(Rate::per_second(2))].map(set_of);
    let sets = sets.each_ref().map(|set| DescriptorSet::parse(set).unwrap());
    let at = |millis: [u64; 3]| millis.map(|at| TrendPoint { offset: Duration::from_millis(at), raw: 72 });
    let [none, second, half] = &sets;
    let encoded =
        |points: &[TrendPoint], set| encode(&Record::Trend(TrendBlock::new(RR, points)), set).unwrap();
    // the period of the channel, and that of no channel but one
    let period = encoded(&at([0, 1000, 2000]), second);
    let step = encoded(&at([0, 1000, 2000]), none);
    // what has no period
    let point = encoded(&at([0; 3])[..1], second);
    let list = encoded(&at([0, 500, 1001]), none);
    let refused = Err(EncodeError::WrongKind);
    for (bytes, from, to, outcome) in [
        (&period, second, second, Ok(&period)),
        (&period, second, none, refused),
        (&period, second, half, refused),
        (&step, none, none, Ok(&step)),
        (&step, none, half, Ok(&step)),
        (&step, none, second, refused), // where it has a shorter form
        (&point, second, none, Ok(&point)),
        (&list, none, second, Ok(&list)),
    ] {
        let record = decode(bytes, from).unwrap();
        assert_eq!(encode(&record, to).as_ref(), outcome.as_ref().copied());
        // as a list of points it goes everywhere
        let again = encode(&RecordBuf::from(&record).as_record(), to).unwrap();
        assert_eq!(decode(&again, to).as_ref(), Ok(&record));
    }
}

//= SPEC.md#trend
//= type=test
//# A reader MUST refuse timing 3 where the exponent of component 0's scale is beyond −9 to 9.
#[test]
fn intervals_count_in_the_scale_of_the_channel() {
    for (mantissa, exponent, per_second) in
        [(1, 0, 1000.0), (9_765_625, -7, 1024.0), (78_125, -4, 128.0), (2, 1, 50.0), (-1, 0, -1000.0)]
    {
        let component = [Component {
            scale: Decimal::new(mantissa, exponent),
            offset: Decimal::new(7, 0),
            ..Component::new(147_240, 264_338)
        }];
        let channel = ChannelDescriptor::new(9, ChannelKind::Numeric, 147_240, (&component).into());
        let mut bytes = [0; 64];
        let len = encode_descriptors(&[channel], &mut bytes).unwrap();
        let set = DescriptorSet::parse(&bytes[..len]).unwrap();
        // beats every second or so, in ticks; the times are those of the ticks, to the millisecond
        let ticks = (0..200).map(|n| (per_second * (0.8 + f64::from(n * n % 17) / 50.0)) as i32);
        let mut sum = 0i64;
        let mut points: Vec<TrendPoint> = ticks
            .map(|raw| {
                sum += i64::from(raw);
                let offset = (sum as f64 * 1000.0 / per_second + 0.5).floor() as u64;
                TrendPoint { offset: Duration::from_millis(offset), raw }
            })
            .collect();
        points.insert(0, TrendPoint { offset: Duration::ZERO, raw: points[0].raw });
        let record = Record::Trend(TrendBlock::new(9, &points));
        let encoded = encode(&record, &set).unwrap();
        assert_eq!(decode(&encoded, &set).unwrap(), record);
        // mode, quality and count are 14 bits
        assert_eq!(encoded[2] & 3, 3, "timing 3");
        points[100].offset = Duration::from_millis(points[100].offset.as_millis() + 1);
        let record = Record::Trend(TrendBlock::new(9, &points));
        let encoded = encode(&record, &set).unwrap();
        assert_eq!((decode(&encoded, &set).unwrap(), encoded[2] & 3), (record, 2));
    }
    for (exponent, good) in [(-10, false), (-9, true), (9, true), (10, false)] {
        let component = [Component::scaled(147_240, 264_338, exponent)];
        let channel = ChannelDescriptor::new(1, ChannelKind::Numeric, 147_240, (&component).into());
        let mut bytes = [0; 64];
        let len = encode_descriptors(&[channel], &mut bytes).unwrap();
        let set = DescriptorSet::parse(&bytes[..len]).unwrap();
        // two zeros and a one: by predictor 0, with parameter 0
        let fields = [(0, 2), (0, 2), (2, 10), (3, 2), (2, 4), (0, 5), (0, 1), (0, 5), (0, 1), (0b110, 3)];
        let decoded = decode(&bits(&[0x41], &fields), &set).map(|_| ());
        let expected = match exponent {
            // the one is 0 ms, so that both steps are alike
            -9 => Err(DecodeError::NonCanonical),
            _ if good => Ok(()),
            _ => Err(DecodeError::OutOfRange),
        };
        assert_eq!(decoded, expected, "{exponent}");
    }
}

#[test]
fn one_point_of_a_long_list_takes_no_more_than_one_point_alone() {
    let points = [0, 1 << 30, 1 << 30].map(|at| TrendPoint { offset: Duration::from_millis(at), raw: 72 });
    with_set(|set| {
        let mut out = [0; 64];
        let alone = encode_trend(&TrendBlock::new(HEART_RATE, &points[..1]), set, &mut out).unwrap();
        let first = encode_trend(&TrendBlock::new(HEART_RATE, &points), set, &mut out[..alone.bytes]);
        assert_eq!(first, Ok(alone));
    });
}
