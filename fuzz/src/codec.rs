//! Waveform and trend blocks: what the encoder takes of any series decodes to exactly that, within the byte limit.
//!
//! Input: flags (bit 0 trend, bits 1–2 width of the series' numbers: 1, 2, 3 or 4 bytes, bit 3 they are
//! differences) ‖ byte limit (2 bytes) ‖ first index (2 bytes) ‖ numbers, big endian, sign-extended.

use crate::input::Input;
use crate::world::world;
use vitalwire::Duration;
use vitalwire::framing::*;

fn series(flags: u8, input: &mut Input<'_>) -> Vec<i32> {
    let width = usize::from(flags >> 1 & 3) + 1;
    let mut last = 0i32;
    input
        .rest()
        .chunks(width)
        .take(2500)
        .map(|chunk| {
            let number = chunk.iter().fold(0u32, |number, &byte| number << 8 | u32::from(byte));
            let shift = 32 - 8 * chunk.len() as u32;
            let number = (number << shift).cast_signed() >> shift;
            last = if flags & 8 != 0 { last.wrapping_add(number) } else { number };
            last
        })
        .collect()
}

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.u8();
    let limit = usize::from(input.u16() % 1100);
    let first = u64::from(input.u16()) << (flags >> 4);
    let numbers = series(flags, &mut input);
    if flags & 1 == 0 { waveform(&numbers, first, limit) } else { trend(&numbers, limit, flags) }
}

fn decode<'a>(bytes: &'a [u8], buffer: &'a mut Vec<u8>) -> Record<'a> {
    buffer.extend_from_slice(&[0, 0, 1, 0]);
    buffer.extend_from_slice(bytes);
    let frame = RecordsFrame::parse(buffer).expect("a frame around one record");
    let mut records = frame.records(&world().channels());
    let record = records.next().expect("one record").expect("what was encoded decodes").record;
    assert_eq!(records.next(), None, "the record ends where it says");
    record
}

fn waveform(samples: &[i32], first: u64, limit: usize) {
    let set = world().channels();
    let mut rest = samples;
    while !rest.is_empty() {
        let at = first + (samples.len() - rest.len()) as u64;
        let mut out = vec![0u8; limit];
        let block = WaveformBlock::new(3, at, rest);
        let encoded = match encode_waveform(&block, &set, &mut out) {
            Ok(encoded) => encoded,
            Err(EncodeError::BufferTooSmall(_)) => {
                assert!(limit < 24, "one sample takes at most 1 + 10 + 3 + 5 bytes");
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let mut buffer = Vec::new();
        let Record::Waveform(decoded) = decode(&out[..encoded.bytes], &mut buffer) else {
            panic!("another kind")
        };
        assert_eq!((decoded.first_sample, decoded.len()), (at, encoded.taken));
        assert!(decoded.samples().eq(rest[..encoded.taken].iter().copied()));
        rest = &rest[encoded.taken..];
        assert!(encoded.taken > 0);
    }
}

fn trend(numbers: &[i32], limit: usize, flags: u8) {
    let set = world().channels();
    // The low bits of a number are its step, the whole of it the value.
    let steps = [1000, 7, 1 << 20, 0x7fff_ffff][usize::from(flags >> 4 & 3)];
    let mut at = 0u64;
    let points: Vec<TrendPoint> = numbers
        .iter()
        .map(|&raw| {
            let point = TrendPoint { offset: Duration::from_millis(at), raw };
            at += if flags & 0x40 == 0 { steps } else { u64::from(raw.unsigned_abs()) % (steps + 1) };
            point
        })
        .collect();
    let channel = if flags & 0x80 == 0 { 0 } else { 2 };
    let mut rest = &points[..];
    while let Some(start) = rest.first().map(|point| point.offset.as_millis()) {
        let shifted: Vec<TrendPoint> = rest
            .iter()
            .map(|point| TrendPoint {
                offset: Duration::from_millis(point.offset.as_millis() - start),
                ..*point
            })
            .collect();
        let mut out = vec![0u8; limit];
        let encoded = match encode_trend(&TrendBlock::new(channel, &shifted), &set, &mut out) {
            Ok(encoded) => encoded,
            Err(EncodeError::BufferTooSmall(_)) => {
                assert!(limit < 24, "one point takes at most 1 + 3 + 5 + 5 bytes");
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let mut buffer = Vec::new();
        let Record::Trend(decoded) = decode(&out[..encoded.bytes], &mut buffer) else {
            panic!("another kind")
        };
        assert_eq!(decoded.len(), encoded.taken);
        assert!(decoded.points().eq(shifted[..encoded.taken].iter().copied()));
        rest = &rest[encoded.taken..];
        assert!(encoded.taken > 0);
    }
}
