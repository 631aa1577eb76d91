//! Waveform blocks of 1 to 12 components: what the encoder takes of any rows decodes to exactly these, within the byte
//! limit, and to the same bytes again; any bytes are refused or encode again to the same.
//!
//! Input: 0 for numbers, else bytes ‖ shape ‖ index of the first row: 8 bytes, big endian, shifted right by the 6 low bits of
//! a further byte ‖ numbers, or what follows the head of a record.

use crate::blocks::{Shape, body, decode};
use crate::input::Input;
use vitalwire::framing::*;

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let bytes = input.u8() != 0;
    let shape = Shape::read(&mut input, 12);
    let set = shape.set(ChannelKind::Waveform, Some(Rate::per_second(360)));
    let set = DescriptorSet::parse(&set).expect("it was encoded here");
    let first = input.take(8).iter().fold(0u64, |first, &byte| first << 8 | u64::from(byte));
    let first = first >> (input.u8() & 63);
    if bytes {
        let head: &[u8] = if shape.number < 31 { &[0x60 | 3] } else { &[0x7f, 200, 1] };
        let body = body(&[head, input.rest()].concat());
        if let Some(Record::Waveform(block)) = decode(&body, &set) {
            afresh(&block, &set);
        }
        return;
    }
    let numbers = shape.numbers(&mut input);
    let rows = (numbers.len() / shape.components) as u64;
    encode(&shape, first.min(u64::MAX - rows), &numbers, &set);
}

fn encode(shape: &Shape, first: u64, numbers: &[i32], set: &DescriptorSet<'_>) {
    let mut rest = WaveformBlock::interleaved(shape.number, first, shape.components, numbers);
    rest.status = shape.status;
    for (component, reason) in shape.absences.iter().enumerate() {
        rest = reason.map_or(rest, |reason| rest.without(component, reason));
    }
    let mut rows = numbers.chunks(shape.components).map(|row| shape.row(row));
    let mut at = first;
    while !rest.is_empty() {
        let mut out = vec![0u8; shape.limit];
        let encoded = match encode_waveform(&rest, set, &mut out) {
            Ok(encoded) => encoded,
            Err(error) => return shape.check_refusal(error, 8 * (3 + 10) + 14),
        };
        assert!((1..=rest.len().min(1024)).contains(&encoded.taken) && encoded.bytes <= 1024);
        let body = body(&out[..encoded.bytes]);
        let Some(Record::Waveform(block)) = decode(&body, set) else { panic!("it does not decode") };
        assert_eq!((block.first_sample, block.status, block.len()), (at, shape.status, encoded.taken));
        assert!((0..shape.components).all(|component| block.absence(component) == shape.absences[component]));
        for row in block.rows() {
            assert_eq!(Some(row.iter().collect::<Vec<_>>()), rows.next());
        }
        for component in 0..shape.components {
            let column = block.rows().filter_map(|row| row.get(component));
            assert!(block.component(component).eq(column));
        }
        at += encoded.taken as u64;
        rest = rest.rest(encoded.taken);
    }
    assert_eq!(rows.next(), None);
}

/// Encodes the rows of a block as if they were new.
fn afresh(block: &WaveformBlock<'_>, set: &DescriptorSet<'_>) {
    let owned = WaveformBuf::from(block);
    let mut out = [0u8; 1024];
    let encoded = encode_waveform(&owned.as_block(), set, &mut out).expect("its channel permits it");
    let body = body(&out[..encoded.bytes]);
    let Some(Record::Waveform(again)) = decode(&body, set) else { panic!("it does not decode") };
    assert!(again.rows().eq(block.rows().take(encoded.taken)));
}
