//! Trend blocks of 1 to 8 components, with all timings: what the encoder takes of any points decodes to exactly these,
//! within the byte limit, and to the same bytes again; any bytes are refused or encode again to the same. A decoded
//! block is encoded with the set of another rate only if its times stay the same.
//!
//! Input: 0 for numbers, else bytes ‖ shape ‖ timing (bits 0–1 rate, bits 2–4 steps, bits 5–7 how many points have the first
//! step) ‖ numbers, or what follows the head of a record.

use crate::blocks::{Shape, body, decode};
use crate::input::Input;
use vitalwire::Duration;
use vitalwire::framing::*;

/// None, one of a second, one that is no whole number of milliseconds, and the longest.
fn rates() -> [Option<Rate>; 4] {
    let slow = Some(Rate { numerator: 1000, denominator: 0x7fff_ffff });
    [None, Some(Rate::per_second(1)), Some(Rate::per_second(3)), slow]
}

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let bytes = input.u8() != 0;
    let shape = Shape::read(&mut input, 8);
    let timing = input.u8();
    let sets = rates().map(|rate| shape.set(ChannelKind::Numeric, rate));
    let sets = sets.each_ref().map(|set| DescriptorSet::parse(set).expect("it was encoded here"));
    let set = &sets[usize::from(timing & 3)];
    if bytes {
        let head: &[u8] = if shape.number < 31 { &[0x40 | 3] } else { &[0x5f, 200, 1] };
        let body = body(&[head, input.rest()].concat());
        if let Some(Record::Trend(block)) = decode(&body, set) {
            afresh(&block, set);
            sets.iter().for_each(|other| elsewhere(&block, other));
        }
        return;
    }
    let numbers = shape.numbers(&mut input);
    let offsets = offsets(&shape, &numbers, timing);
    encode(&shape, &offsets, &numbers, set);
}

/// The times of the points since the first.
fn offsets(shape: &Shape, numbers: &[i32], timing: u8) -> Vec<u64> {
    let mut at = 0u64;
    let rows = numbers.chunks(shape.components).enumerate();
    rows.map(|(index, row)| {
        let number = row[0].unsigned_abs() & 0x7fff_ffff;
        let own = match timing >> 2 & 7 {
            0 => 1000,
            1 => 7,
            2 => 0x7fff_ffff,
            3 => number,           // intervals, if not negative
            4 => number % 5 + 998, // jitter
            5 => number ^ 1,
            6 => 0,
            _ => number.rotate_left(16) & 0x7fff_ffff,
        };
        let first = usize::from(timing >> 5);
        let step = if index <= first && first > 0 { 1000 } else { own };
        at += if index == 0 { 0 } else { u64::from(step) };
        at
    })
    .collect()
}

fn encode(shape: &Shape, offsets: &[u64], numbers: &[i32], set: &DescriptorSet<'_>) {
    let mut taken = 0;
    while taken < offsets.len() {
        let start = offsets[taken];
        let times: Vec<_> = offsets[taken..].iter().map(|at| Duration::from_millis(at - start)).collect();
        let numbers = &numbers[taken * shape.components..];
        let mut block = TrendBlock::compound(shape.number, shape.components, &times, numbers);
        block.status = shape.status;
        for (component, reason) in shape.absences.iter().enumerate() {
            block = reason.map_or(block, |reason| block.without(component, reason));
        }
        let mut out = vec![0u8; shape.limit];
        let encoded = match encode_trend(&block, set, &mut out) {
            Ok(encoded) => encoded,
            Err(error) => return shape.check_refusal(error, 8 * 3 + 14 + 2),
        };
        assert!((1..=block.len().min(1024)).contains(&encoded.taken) && encoded.bytes <= 1024);
        let body = body(&out[..encoded.bytes]);
        let Some(Record::Trend(decoded)) = decode(&body, set) else { panic!("it does not decode") };
        assert_eq!((decoded.status, decoded.len()), (shape.status, encoded.taken));
        assert!((0..shape.components).all(|c| decoded.absence(c) == shape.absences[c]));
        let expected = times.iter().copied().zip(numbers.chunks(shape.components).map(|row| shape.row(row)));
        let found = decoded.rows().map(|(at, row)| (at, row.iter().collect::<Vec<_>>()));
        assert!(found.eq(expected.take(encoded.taken)));
        if shape.components == 1 && shape.absences[0].is_none() {
            simple(&decoded, &times, &out[..encoded.bytes], encoded.taken == block.len(), set);
        }
        taken += encoded.taken;
    }
}

/// A list of points says the same as a compound of one component.
fn simple(block: &TrendBlock<'_>, times: &[Duration], bytes: &[u8], whole: bool, set: &DescriptorSet<'_>) {
    let points: Vec<_> = block.points().collect();
    assert!(points.iter().map(|point| &point.offset).eq(&times[..points.len()]));
    let mut listed = TrendBlock::new(block.channel, &points);
    listed.status = block.status;
    let mut out = [0u8; 1024];
    let encoded = encode_trend(&listed, set, &mut out).expect("its channel permits it");
    if whole {
        assert_eq!(out[..encoded.bytes], *bytes);
    }
}

/// Encodes the points of a block as if they were new.
fn afresh(block: &TrendBlock<'_>, set: &DescriptorSet<'_>) {
    let owned = TrendBuf::from(block);
    let mut out = [0u8; 1024];
    let encoded = encode_trend(&owned.as_block(), set, &mut out).expect("its channel permits it");
    let body = body(&out[..encoded.bytes]);
    let Some(Record::Trend(again)) = decode(&body, set) else { panic!("it does not decode") };
    assert!(again.rows().eq(block.rows().take(encoded.taken)));
}

/// Encodes a decoded block with another set.
fn elsewhere(block: &TrendBlock<'_>, set: &DescriptorSet<'_>) {
    let mut out = [0u8; 1024];
    let Ok(encoded) = encode_trend(block, set, &mut out) else { return };
    let body = body(&out[..encoded.bytes]);
    let Some(Record::Trend(again)) = decode(&body, set) else { panic!("it does not decode") };
    assert_eq!(again, *block);
}
