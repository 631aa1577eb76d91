//! Records frames: accepted ⇒ encoding each record again gives the same bytes. What a block decodes to, encoded
//! afresh, decodes to the same again (its coding and parameters are the encoder's choice).
//!
//! Input: 0 and the world's descriptor set, or anything else and a set behind a length of two bytes ‖ body.

use crate::input::Input;
use crate::world::world;
use vitalwire::framing::*;

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let set = if input.u8() == 0 { Ok(world().channels()) } else { DescriptorSet::parse(input.long()) };
    let Ok(set) = set else { return };
    let body = input.rest();
    let Ok(frame) = RecordsFrame::parse(body) else { return };
    let decoded: Vec<_> = frame.records(&set).collect();
    assert!(decoded.len() <= usize::from(frame.count) + 1);
    let mut buffer = vec![0u8; body.len() + 16];
    let mut batch = BatchWriter::new(&mut buffer, frame.stream, frame.first);
    for (index, item) in decoded.iter().enumerate() {
        let Ok(BatchRecord { sequence, time, record }) = item else {
            assert_eq!(index, decoded.len() - 1, "the first error ends the iteration");
            return;
        };
        assert_eq!(*sequence, frame.first + index as u64);
        let mut out = [0u8; 1024];
        let len = encode_record(record, &set, &mut out).expect("an accepted record can be encoded");
        batch.push(*time, &out[..len]).expect("it came from a batch");
        check_block(record, &set);
    }
    assert_eq!(decoded.len(), usize::from(frame.count));
    assert_eq!(batch.finish(), body);
}

/// Encodes the rows of a block as if they were new.
fn check_block(record: &Record<'_>, set: &DescriptorSet<'_>) {
    let mut out = [0u8; 1024];
    match record {
        Record::Waveform(block) => {
            assert_eq!(block.rows().count(), block.len());
            let fresh = WaveformBuf::from(block);
            let encoded = encode_waveform(&fresh.as_block(), set, &mut out).expect("its channel permits it");
            assert!(encoded.taken >= 1);
        }
        Record::Trend(block) => {
            assert_eq!(block.rows().count(), block.len());
            let fresh = TrendBuf::from(block);
            let encoded = encode_trend(&fresh.as_block(), set, &mut out).expect("its channel permits it");
            assert!(encoded.taken >= 1);
        }
        _ => {}
    }
}
