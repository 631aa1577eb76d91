//! Waveform and trend blocks: lossless for any series, strict, within the limit.

use super::*;
use crate::codec::DecodeError;
use crate::limits::{MAX_BLOCK_SAMPLES, MAX_RECORD};
use crate::time::Duration;
use proptest::prelude::*;

/// Series of every nature: any numbers, small steps, constants, noise of some width.
fn any_series() -> impl Strategy<Value = Vec<i32>> {
    let walk = (any::<i32>(), 1..10_000i32).prop_flat_map(|(start, step)| {
        proptest::collection::vec(-step..=step, 1..600).prop_map(move |steps| {
            let mut value = start;
            steps
                .iter()
                .map(|step| {
                    value = value.wrapping_add(*step);
                    value
                })
                .collect()
        })
    });
    prop_oneof![
        proptest::collection::vec(any::<i32>(), 1..600),
        proptest::collection::vec(-3..3i32, 1..1100),
        (any::<i32>(), 1usize..1100).prop_map(|(value, len)| vec![value; len]),
        walk,
    ]
}

fn any_points() -> impl Strategy<Value = Vec<TrendPoint>> {
    let steps = prop_oneof![
        Just(vec![1000u64; 1100]),
        Just(vec![250u64; 1100]),
        proptest::collection::vec(990u64..1010, 1100),
        proptest::collection::vec(0u64..0x8000_0000, 1100),
        (0usize..600).prop_map(|regular| {
            let mut steps = vec![1000; 1100];
            steps[regular..].fill(7);
            steps
        }),
    ];
    (any_series(), steps).prop_map(|(values, steps)| {
        let mut offset = 0;
        values
            .into_iter()
            .zip(steps)
            .map(|(raw, step)| {
                let point = TrendPoint { offset: Duration::from_millis(offset), raw };
                offset += step;
                point
            })
            .collect()
    })
}

fn any_status() -> impl Strategy<Value = Status> {
    let mode = prop_oneof![Just(Mode::Real), Just(Mode::Test), Just(Mode::Demonstration)];
    (mode, 0..4u8).prop_map(|(mode, quality)| Status { mode, quality: Quality::from_bits(quality) })
}

proptest! {
    //= SPEC.md#blocks
    //= type=test
    //# An encoder MUST keep every sample: decoding yields exactly the samples that were taken.
    #[test]
    fn any_waveform_round_trips_in_blocks_of_any_limit(
        samples in any_series(),
        limit in 24usize..1100,
        first in 0..u64::MAX - 2000,
        status in any_status(),
    ) {
        with_set(|set| {
            let mut rest = &samples[..];
            let mut index = first;
            let mut out = vec![0; limit];
            while !rest.is_empty() {
                let mut block = WaveformBlock::new(ECG, index, rest);
                block.status = status;
                let encoded = encode_waveform(&block, set, &mut out).unwrap();
                prop_assert!(encoded.bytes <= limit.min(MAX_RECORD) && encoded.taken > 0);
                let Ok(Record::Waveform(decoded)) = decode(&out[..encoded.bytes], set) else {
                    panic!("not decoded")
                };
                prop_assert_eq!((decoded.first_sample, decoded.status, decoded.len()), (index, status, encoded.taken));
                prop_assert!(decoded.samples().eq(rest[..encoded.taken].iter().copied()));
                prop_assert_eq!(&encode(&Record::Waveform(decoded), set).unwrap(), &out[..encoded.bytes]);
                rest = &rest[encoded.taken..];
                index += encoded.taken as u64;
            }
            Ok(())
        })?;
    }

    #[test]
    fn any_trend_round_trips_in_blocks_of_any_limit(
        points in any_points(),
        limit in 36usize..1100,
        status in any_status(),
        channel in prop_oneof![Just(HEART_RATE), Just(RR)],
    ) {
        with_set(|set| {
            let mut rest = points;
            let mut out = vec![0; limit];
            while !rest.is_empty() {
                let start = rest[0].offset;
                for point in &mut rest {
                    point.offset = Duration::from_millis(point.offset.as_millis() - start.as_millis());
                }
                let mut block = TrendBlock::new(channel, &rest);
                block.status = status;
                let encoded = encode_trend(&block, set, &mut out).unwrap();
                prop_assert!(encoded.bytes <= limit.min(MAX_RECORD) && encoded.taken > 0);
                let decoded = decode(&out[..encoded.bytes], set).unwrap();
                let mut taken = TrendBlock::new(channel, &rest[..encoded.taken]);
                taken.status = status;
                prop_assert_eq!(&decoded, &Record::Trend(taken));
                prop_assert_eq!(&encode(&decoded, set).unwrap(), &out[..encoded.bytes]);
                rest.drain(..encoded.taken);
            }
            Ok(())
        })?;
    }

    #[test]
    fn samples_of_any_width_never_expand_beyond_raw_and_one_percent(
        (width, samples) in (1u32..=31).prop_flat_map(|width| {
            let range = -(1i32 << (width - 1))..=((1i64 << (width - 1)) - 1) as i32;
            (Just(width), proptest::collection::vec(range, 200))
        }),
    ) {
        let bytes = with_set(|set| encode(&Record::Waveform(WaveformBlock::new(ECG, 0, &samples)), set)).unwrap();
        // head, index, count and flags take 5 bytes, the width 5 bits
        prop_assert!(bytes.len() <= 5 + (5 + 200 * width as usize).div_ceil(8));
    }
}

/// A waveform block of two samples with order 1: head, index, count, flags, first sample, parameter and one code.
const TWO: [u8; 6] = [0x63, 5, 2, 0x20, 0x64, 0b00010_101];

#[test]
fn a_waveform_block_reads_as_written_in_the_text() {
    // parameter 2; unary 1, then 2 bits 01: 1 · 4 + 1 = 5 = fold(−3); 50 − 3 = 47
    let bytes = [0x63, 5, 2, 0x20, 0x64, 0b0001_0100, 0b1000_0000];
    with_set(|set| {
        let Ok(Record::Waveform(block)) = decode(&bytes, set) else { panic!("not decoded") };
        assert_eq!((block.first_sample, block.status), (5, Status::REAL));
        assert!(block.samples().eq([50, 47]));
        assert_eq!(decode(&TWO, set), Err(DecodeError::Truncated));
    });
}

//= SPEC.md#blocks
//= type=test
//# A reader MUST refuse a block whose last byte is not filled with zero bits.
#[test]
fn rejects_filling_that_is_not_zero() {
    let bytes = [0x63, 5, 2, 0x20, 0x64, 0b0001_0100, 0b1100_0000];
    with_set(|set| assert_eq!(decode(&bytes, set), Err(DecodeError::NonCanonical)));
}

//= SPEC.md#blocks
//= type=test
//# A reader MUST refuse a block of no samples, or of more than 1024.
#[test]
fn rejects_blocks_of_no_samples_and_of_too_many() {
    with_set(|set| {
        assert_eq!(decode(&[0x63, 0, 0, 0x00, 0], set), Err(DecodeError::OutOfRange));
        assert_eq!(decode(&[0x42, 0, 0x00, 0], set), Err(DecodeError::OutOfRange));
        for (len, taken) in [
            (MAX_BLOCK_SAMPLES - 1, MAX_BLOCK_SAMPLES - 1),
            (MAX_BLOCK_SAMPLES, MAX_BLOCK_SAMPLES),
            (MAX_BLOCK_SAMPLES + 1, MAX_BLOCK_SAMPLES),
        ] {
            let samples = vec![7; len];
            let mut out = [0; 1024];
            let encoded = encode_waveform(&WaveformBlock::new(ECG, 0, &samples), set, &mut out).unwrap();
            assert_eq!(encoded.taken, taken);
            assert!(decode(&out[..encoded.bytes], set).is_ok());
        }
        // 1025 samples of order 1 that never change: one bit each
        let mut bytes = vec![0x63, 0, 0x81, 0x08, 0x20, 0, 0];
        bytes.extend([0; 130]);
        assert_eq!(decode(&bytes, set), Err(DecodeError::OutOfRange));
    });
}

//= SPEC.md#blocks
//= type=test
//# A reader MUST refuse an order that is not below the number of samples.
#[test]
fn rejects_orders_without_enough_samples() {
    with_set(|set| {
        for count in 1..=4u8 {
            for order in 0..=3u8 {
                let bytes = [0x63, 0, count, (order + 1) << 4, 0, 0];
                assert_eq!(decode(&bytes, set).is_ok(), order < count, "order {order} with {count}");
            }
        }
    });
}

//= SPEC.md#blocks
//= type=test
//# A reader MUST refuse a Rice code that is escaped without need, or whose number exceeds 32 bits.
#[test]
fn rejects_needless_escapes_and_too_large_numbers() {
    let block = |parameter: u32, code: &dyn Fn(&mut super::super::bits::BitWriter<'_>)| {
        let mut bytes = vec![0x63, 0, 2, 0x20, 0];
        let mut space = [0; 16];
        let mut bits = super::super::bits::BitWriter::new(&mut space);
        bits.bits(parameter, 5).unwrap();
        code(&mut bits);
        let len = bits.finish().unwrap();
        bytes.extend(&space[..len]);
        with_set(|set| decode(&bytes, set).map(|_| ()))
    };
    let escaped = |number: u32| {
        block(4, &|bits| {
            bits.unary(20).unwrap();
            bits.bits(number, 32).unwrap();
        })
    };
    assert_eq!(escaped(20 << 4), Ok(()));
    assert_eq!(escaped((20 << 4) - 1), Err(DecodeError::NonCanonical));
    let large = |quotient: u32| {
        block(31, &|bits| {
            bits.unary(quotient).unwrap();
            bits.bits(0, 31).unwrap();
        })
    };
    assert_eq!(large(1), Ok(()));
    assert_eq!(large(2), Err(DecodeError::OutOfRange));
}

//= SPEC.md#trend
//= type=test
//# A reader MUST refuse a timing that is not the first one in the table that fits the points.
#[test]
fn rejects_timings_that_are_longer_than_needed() {
    with_set(|set| {
        // heart rate: two points, the channel's own second
        assert!(decode(&[0x41, 2, 0x80, 0, 0], set).is_ok());
        assert_eq!(decode(&[0x41, 2, 0x90, 0xe8, 0x07, 0, 0], set), Err(DecodeError::NonCanonical));
        assert!(decode(&[0x41, 2, 0x90, 0xe9, 0x07, 0, 0], set).is_ok());
        // a list of equal steps
        assert_eq!(decode(&[0x41, 3, 0xa0, 0xe9, 0x07, 0, 0, 0], set), Err(DecodeError::NonCanonical));
        // RR has no period, but one point needs none
        assert!(decode(&[0x5f, 0xc8, 0x01, 1, 0x40, 0, 0], set).is_ok());
        assert_eq!(decode(&[0x5f, 0xc8, 0x01, 2, 0x40, 0, 0], set), Err(DecodeError::OutOfRange));
        assert_eq!(decode(&[0x5f, 0xc8, 0x01, 1, 0x50, 9, 0, 0], set), Err(DecodeError::OutOfRange));
    });
}

//= SPEC.md#trend
//= type=test
//# A reader MUST refuse a step of time below 0 or above 2^31 − 1 milliseconds.
#[test]
fn rejects_steps_of_time_out_of_range() {
    with_set(|set| {
        let steps = |first: &[u8], bits: &[u8]| {
            let mut bytes = vec![0x41, 3, 0xa0];
            bytes.extend(first);
            bytes.push(0);
            bytes.extend(bits);
            decode(&bytes, set).map(|_| ())
        };
        // parameter 0; code 10 = 1 = fold(−1); then parameter 0 and two codes 0
        let down = [0b0000_0100, 0b0000_0000];
        assert_eq!(steps(&[1], &down), Ok(()));
        assert_eq!(steps(&[0], &down), Err(DecodeError::OutOfRange));
        // parameter 0; code 110 = 2 = fold(1)
        let up = [0b0000_0110, 0b0000_0000];
        assert_eq!(steps(&[0xfe, 0xff, 0xff, 0xff, 0x07], &up), Ok(()));
        assert_eq!(steps(&[0xff, 0xff, 0xff, 0xff, 0x07], &up), Err(DecodeError::OutOfRange));
        assert_eq!(steps(&[0x80, 0x80, 0x80, 0x80, 0x08], &down), Err(DecodeError::OutOfRange));
    });
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
fn a_space_too_small_for_one_sample_is_refused() {
    with_set(|set| {
        let block = WaveformBlock::new(ECG, 1 << 40, &[i32::MIN]);
        let needed = encode(&Record::Waveform(block), set).unwrap().len();
        let mut out = vec![0; needed - 1];
        assert!(matches!(encode_waveform(&block, set, &mut out), Err(EncodeError::BufferTooSmall(_))));
        assert!(matches!(encode_waveform(&block, set, &mut []), Err(EncodeError::BufferTooSmall(_))));
    });
}
