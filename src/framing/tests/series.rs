//! Waveform and trend blocks: lossless for any series, strict, within the limit.

use super::*;
use crate::codec::DecodeError;
use crate::framing::predictor::Predictor;
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

/// Which components of three are absent.
fn any_absences() -> impl Strategy<Value = Vec<(usize, Absence)>> {
    proptest::collection::vec((0..3usize, 0..7u8), 0..4).prop_map(|absences| {
        absences.into_iter().map(|(at, code)| (at, Absence::from_code(code).unwrap())).collect()
    })
}

proptest! {
    #[test]
    fn any_rows_of_a_waveform_round_trip_in_blocks_of_any_limit(
        series in any_series(),
        others in any_series(),
        noise in proptest::collection::vec(any::<i16>(), 1..600),
        absences in any_absences(),
        limit in 60usize..1100,
    ) {
        with_set(|set| {
            let rows = series.iter().zip(&others).zip(&noise);
            let samples: Vec<i32> = rows.flat_map(|((&a, &b), &c)| [a, b, c.into()]).collect();
            let mut block = WaveformBlock::interleaved(MOTION, 7, 3, &samples);
            for &(component, reason) in &absences {
                block = block.without(component, reason);
            }
            let mut out = vec![0; limit];
            while !block.is_empty() {
                let encoded = encode_waveform(&block, set, &mut out).unwrap();
                let Ok(Record::Waveform(decoded)) = decode(&out[..encoded.bytes], set) else {
                    panic!("not decoded")
                };
                prop_assert!(decoded.rows().eq(block.rows().take(encoded.taken)));
                for component in 0..4 {
                    prop_assert_eq!(decoded.absence(component), block.absence(component));
                    let samples = block.component(component).take(encoded.taken);
                    prop_assert!(decoded.component(component).eq(samples));
                }
                prop_assert_eq!(&encode(&Record::Waveform(decoded), set).unwrap(), &out[..encoded.bytes]);
                block = block.rest(encoded.taken);
            }
            Ok(())
        })?;
    }

    #[test]
    fn any_compound_trend_round_trips_in_blocks_of_any_limit(
        points in any_points(),
        others in any_series(),
        intervals in any::<bool>(),
        absences in any_absences(),
        limit in 60usize..1100,
    ) {
        with_set(|set| {
            let absences = absences.into_iter().filter(|&(component, _)| component < 2).collect::<Vec<_>>();
            let mut rows: Vec<_> = points.iter().zip(&others).map(|(point, &other)| (point.offset, [point.raw, other])).collect();
            if intervals {
                for at in 1..rows.len() {
                    rows[at].1[0] = (rows[at].0.as_millis() - rows[at - 1].0.as_millis()) as i32;
                }
            }
            let mut out = vec![0; limit];
            while let Some(&(start, _)) = rows.first() {
                let offsets: Vec<_> = rows
                    .iter()
                    .map(|(offset, _)| Duration::from_millis(offset.as_millis() - start.as_millis()))
                    .collect();
                let values: Vec<_> = rows.iter().flat_map(|row| row.1).collect();
                let mut block = TrendBlock::compound(OXIMETER, 2, &offsets, &values);
                for &(component, reason) in &absences {
                    block = block.without(component, reason);
                }
                let encoded = encode_trend(&block, set, &mut out).unwrap();
                prop_assert!(encoded.bytes <= limit.min(MAX_RECORD) && encoded.taken > 0);
                let decoded = decode(&out[..encoded.bytes], set).unwrap();
                let taken = TrendBlock::compound(OXIMETER, 2, &offsets[..encoded.taken], &values[..2 * encoded.taken]);
                let taken = absences.iter().fold(taken, |taken, &(component, reason)| taken.without(component, reason));
                prop_assert_eq!(&decoded, &Record::Trend(taken));
                prop_assert_eq!(&encode(&decoded, set).unwrap(), &out[..encoded.bytes]);
                rows.drain(..encoded.taken);
            }
            Ok(())
        })?;
    }

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
    fn altered_blocks_never_panic_and_yield_what_they_declare(
        points in any_points(),
        changes in proptest::collection::vec(any::<(prop::sample::Index, u8)>(), 1..4),
        kind in prop_oneof![Just(ECG), Just(HEART_RATE), Just(RR)],
    ) {
        with_set(|set| {
            let samples: Vec<_> = points.iter().map(|point| point.raw).collect();
            let mut out = [0; MAX_RECORD];
            let len = match kind {
                ECG => encode_waveform(&WaveformBlock::new(ECG, 9, &samples), set, &mut out),
                channel => encode_trend(&TrendBlock::new(channel, &points), set, &mut out),
            };
            let bytes = &mut out[..len.unwrap().bytes];
            for (at, change) in changes {
                let at = at.index(bytes.len());
                bytes[at] ^= change;
            }
            match decode(bytes, set) {
                Ok(Record::Waveform(block)) => prop_assert_eq!(block.samples().count(), block.len()),
                Ok(Record::Trend(block)) => prop_assert_eq!(block.points().count(), block.len()),
                _ => {}
            }
            if let Ok(record) = decode(bytes, set) {
                prop_assert_eq!(&encode(&record, set).unwrap(), bytes);
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
        // head and index take 2 bytes, the front 14 bits, coding and width 9 bits
        prop_assert!(bytes.len() <= 2 + (14 + 9 + 200 * width as usize).div_ceil(8));
    }
}

/// The front of a block: real, valid, a number of rows; then the coding of its only component.
pub(super) fn front(coding: u32, count: u32) -> [(u32, u32); 4] {
    [(0, 2), (0, 2), (count - 1, 10), (coding, 4)]
}

/// The coding of predictor 1, the last value.
const LAST: u32 = 3;

#[test]
fn a_waveform_block_reads_as_written_in_the_text() {
    // the first sample 50 in 7 bits; parameter 2; code 1 0 01: 1 · 4 + 1 = 5 = fold(−3)
    let fields = [&front(LAST, 2)[..], &[(6, 5), (50, 7), (2, 5), (0b10_01, 4)]].concat();
    let bytes = bits(&[0x63, 5], &fields);
    assert_eq!(bytes, [0x63, 5, 0b0000_0000, 0b0000_0100, 0b1100_1100, 0b1100_1000, 0b0101_0010]);
    with_set(|set| {
        let Ok(Record::Waveform(block)) = decode(&bytes, set) else { panic!("not decoded") };
        assert_eq!((block.first_sample, block.status), (5, Status::REAL));
        assert!(block.samples().eq([50, 47]));
        for len in 0..bytes.len() {
            assert_eq!(decode(&bytes[..len], set), Err(DecodeError::Truncated));
        }
        assert_eq!(decode(&[&bytes[..], &[0]].concat(), set), Err(DecodeError::TrailingBytes));
    });
}

#[test]
fn predictors_weigh_differences_as_the_table_says() {
    // samples 0, 80, 240, 480 and the prediction of the one after them
    let weights = [
        None,
        Some([0, 0, 0]),
        Some([8, 0, 0]),
        Some([16, -8, 0]),
        Some([12, -6, 0]),
        Some([8, -2, 0]),
        Some([15, -10, 2]),
        Some([9, 0, -2]),
        Some([2, -2, 0]),
        Some([8, -4, 0]),
        Some([6, -2, 0]),
        Some([10, -8, 2]),
        Some([17, -14, 4]),
        Some([4, 4, 0]),
    ];
    for (number, weights) in weights.into_iter().enumerate() {
        let mut predictor = Predictor::new(number as u8, 0);
        [80, 240, 480].into_iter().for_each(|value| predictor.update(value));
        let expected = weights.map_or(0, |[a, b, c]| 480 + (a * 240 + b * 160 + c * 80) / 8);
        assert_eq!(predictor.predict(), expected, "{number}");
    }
    // halves round up: 8 + (2·3 − 2·1 + 4) / 8 = 8 + 1, and −8 + (−2·3 + 2·1 + 4) / 8 = −8 + 0
    for (first, second, predicted) in [(5i32, 8, 9), (-5, -8, -8)] {
        let mut predictor = Predictor::new(8, first.signum() * 4);
        [first, second].into_iter().for_each(|value| predictor.update(value));
        assert_eq!(predictor.predict(), predicted);
    }
}

//= SPEC.md#blocks
//= type=test
//# A reader MUST refuse a block whose last byte is not filled with zero bits.
#[test]
fn rejects_filling_that_is_not_zero() {
    let block = |filling| {
        let fields = [&front(LAST, 2)[..], &[(5, 5), (25, 6), (2, 5), (0b10_01, 4), (filling, 2)]].concat();
        with_set(|set| decode(&bits(&[0x63, 5], &fields), set).map(|_| ()))
    };
    assert_eq!(block(0), Ok(()));
    for filling in 1..4 {
        assert_eq!(block(filling), Err(DecodeError::NonCanonical));
    }
}

//= SPEC.md#blocks
//= type=test
//# A reader MUST refuse an unknown reason of absence.
#[test]
fn rejects_unknown_reasons_of_absence() {
    with_set(|set| {
        for reason in 0..8 {
            let bytes = bits(&[0x63, 0], &[&front(1, 5)[..], &[(reason, 3)]].concat());
            let decoded = decode(&bytes, set);
            assert_eq!(decoded.is_ok(), reason < 7, "{reason}");
            if let Ok(Record::Waveform(block)) = decoded {
                assert_eq!(
                    (block.len(), block.absence(0).map(|absence| absence as u32)),
                    (5, Some(16 + reason))
                );
                assert_eq!(block.rows().map(|row| row.get(0)).collect::<Vec<_>>(), [None; 5]);
            }
        }
    });
}

#[test]
fn every_coding_is_known() {
    with_set(|set| {
        for coding in 2..16 {
            let bytes =
                bits(&[0x63, 0], &[&front(coding, 3)[..], &[(0, 5), (0, 1), (0, 5), (0, 2)]].concat());
            let Ok(Record::Waveform(block)) = decode(&bytes, set) else { panic!("{coding}") };
            assert!(block.samples().eq([0, 0, 0]));
        }
    });
}

//= SPEC.md#blocks
//= type=test
//# A reader MUST refuse a sized number whose width is not the smallest.
#[test]
fn rejects_sized_numbers_wider_than_needed() {
    let first = |width: u32, value: u32| {
        let bytes = bits(&[0x63, 0], &[&front(2, 1)[..], &[(width - 1, 5), (value, width), (0, 5)]].concat());
        with_set(|set| {
            decode(&bytes, set).map(|record| match record {
                Record::Waveform(block) => block.samples().next().unwrap(),
                _ => panic!("not a waveform"),
            })
        })
    };
    assert_eq!(first(1, 0), Ok(0));
    assert_eq!(first(1, 1), Ok(-1));
    assert_eq!(first(2, 0), Err(DecodeError::NonCanonical));
    assert_eq!(first(2, 1), Ok(1));
    assert_eq!(first(2, 2), Ok(-2));
    assert_eq!(first(2, 3), Err(DecodeError::NonCanonical));
    assert_eq!(first(32, 0x8000_0000), Ok(i32::MIN));
    assert_eq!(first(31, 0x3fff_ffff), Ok(0x3fff_ffff));
    assert_eq!(first(32, 0x3fff_ffff), Err(DecodeError::NonCanonical));
}

/// A block of first sample 0 and `codes` of the numbers behind it, by predictor 1.
fn coded(count: u32, parameter: u32, codes: &[(u32, u32)]) -> Result<Vec<i32>, DecodeError> {
    let bytes =
        bits(&[0x63, 0], &[&front(LAST, count)[..], &[(0, 5), (0, 1), (parameter, 5)], codes].concat());
    with_set(|set| {
        decode(&bytes, set).map(|record| match record {
            Record::Waveform(block) => block.samples().collect(),
            _ => panic!("not a waveform"),
        })
    })
}

//= SPEC.md#blocks
//= type=test
//# A reader MUST refuse a code that is escaped without need, or whose number exceeds 32 bits.
#[test]
fn rejects_needless_escapes_and_too_large_numbers() {
    let escaped = |width: u32, low: u32| coded(2, 4, &[(0xffff, 16), (width, 5), (low, width)]);
    // 256 = 16 · 2^4 and 255 = fold(128) and fold(−128)
    assert_eq!(escaped(8, 0), Ok(vec![0, 128]));
    assert_eq!(escaped(7, 127), Err(DecodeError::NonCanonical));
    assert_eq!(escaped(31, 0x7fff_ffff), Ok(vec![0, i32::MIN]));
    assert_eq!(coded(2, 31, &[(0b10, 2), (0, 31)]), Ok(vec![0, 1 << 30]));
    assert_eq!(coded(2, 31, &[(0b110, 3), (0, 31)]), Err(DecodeError::OutOfRange));
    // behind a run, one more than the number in the code: six zeros make the mean flat, then a run of none
    let flat = [(0, 1), (0, 1), (0, 1), (0, 1), (0, 1), (0, 1)];
    let behind = |low: u32| coded(8, 0, &[&flat[..], &[(0, 1), (0xffff, 16), (31, 5), (low, 31)]].concat());
    assert_eq!(behind(0x7fff_fffe).map(|samples| samples[7]), Ok(i32::MIN));
    assert_eq!(behind(0x7fff_ffff), Err(DecodeError::OutOfRange));
}

//= SPEC.md#blocks
//= type=test
//# A reader MUST refuse a run of more zeros than there are numbers left.
#[test]
fn rejects_runs_beyond_the_end() {
    // the mean starts at 64 64ths, and is below 16 behind the fifth zero: 64, 48, 36, 27, 21, 16, 12
    let zeros = [(0, 1); 6];
    let run = |count: u32, codes: &[(u32, u32)]| coded(count, 0, &[&zeros[..], codes].concat());
    // 3 zeros: 4 = 1 00
    assert_eq!(run(10, &[(0b110, 3), (0b00, 2)]), Ok(vec![0; 10]));
    assert_eq!(run(9, &[(0b110, 3), (0b00, 2)]), Err(DecodeError::OutOfRange));
    // 3 zeros, and the fourth number is 2 = fold(1): 1 in the code
    assert_eq!(run(11, &[(0b110, 3), (0b00, 2), (0b10, 2)]).map(|samples| samples[10]), Ok(1));
    // no zero, then 1 = fold(−1)
    assert_eq!(run(8, &[(0, 1), (0, 1)]).map(|samples| samples[7]), Ok(-1));
    assert_eq!(run(1024, &[(0xffff, 16), (0, 16)]), Err(DecodeError::OutOfRange));
}

#[test]
fn a_block_takes_at_most_1024_samples() {
    for (len, taken) in [
        (MAX_BLOCK_SAMPLES - 1, MAX_BLOCK_SAMPLES - 1),
        (MAX_BLOCK_SAMPLES, MAX_BLOCK_SAMPLES),
        (MAX_BLOCK_SAMPLES + 1, MAX_BLOCK_SAMPLES),
    ] {
        let samples = vec![7; len];
        let mut out = [0; 1024];
        with_set(|set| {
            let encoded = encode_waveform(&WaveformBlock::new(ECG, 0, &samples), set, &mut out).unwrap();
            assert_eq!(encoded.taken, taken);
            assert!(decode(&out[..encoded.bytes], set).is_ok());
        });
    }
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
