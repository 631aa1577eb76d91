//! Records and descriptors in JSON: what is read can be encoded on some channel, decodes to the same, and is written the
//! same; a record that came in bytes comes back from JSON.
//!
//! Input: 0 and the JSON text of a record, 1 and that of a descriptor, or 2 and the input of target `records`.

use crate::blocks::{body, decode};
use crate::input::Input;
use crate::world::world;
use vitalwire::framing::*;

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.u8() {
        0 => record(input.rest()),
        1 => descriptor(input.rest()),
        _ => bytes(input),
    }
}

fn record(json: &[u8]) {
    let Ok(record) = serde_json::from_slice::<RecordBuf>(json) else { return };
    written(&record);
    let set = set_for(&record.as_record());
    let set = DescriptorSet::parse(&set).expect("it was encoded here");
    let mut out = [0u8; 1024];
    let (len, whole) = match &record {
        RecordBuf::Trend(block) => {
            let encoded =
                encode_trend(&block.as_block(), &set, &mut out).expect("what is read can be encoded");
            (encoded.bytes, encoded.taken == block.as_block().len())
        }
        RecordBuf::Waveform(block) => {
            let encoded =
                encode_waveform(&block.as_block(), &set, &mut out).expect("what is read can be encoded");
            (encoded.bytes, encoded.taken == block.as_block().len())
        }
        record => {
            (encode_record(&record.as_record(), &set, &mut out).expect("what is read can be encoded"), true)
        }
    };
    let body = body(&out[..len]);
    let decoded = decode(&body, &set).expect("what was encoded decodes");
    if whole {
        assert_eq!(decoded, record.as_record());
    }
    written(&RecordBuf::from(&decoded));
}

/// A record is written and read as it is, borrowed or not.
fn written(record: &RecordBuf) {
    let text = serde_json::to_string(record).expect("it can be written");
    assert_eq!(serde_json::to_string(&record.as_record()).ok().as_ref(), Some(&text));
    assert_eq!(serde_json::from_str::<RecordBuf>(&text).as_ref().ok(), Some(record));
}

/// The encoded set of a channel that permits the record.
fn set_for(record: &Record<'_>) -> Vec<u8> {
    let (number, kind, count) = match record {
        Record::Measurement(one) => (one.channel, ChannelKind::Numeric, one.values.len()),
        Record::Trend(block) => (block.channel, ChannelKind::Numeric, block.components()),
        Record::Waveform(block) => (block.channel, ChannelKind::Waveform, block.components()),
        Record::Event(event) => (event.channel, ChannelKind::Event, 1),
        Record::Alarm(alarm) => (alarm.channel, ChannelKind::Numeric, 1),
        Record::AlarmLimits(limits) => (limits.channel, ChannelKind::Waveform, 12),
        Record::Annotation(annotation) => (annotation.channel.unwrap_or(0), ChannelKind::Event, 0),
        _ => (0, ChannelKind::Event, 0),
    };
    let components = vec![Component::new(1, 2); count];
    let mut channel = ChannelDescriptor::new(number, kind, 1, components.as_slice().into());
    channel.rate = (kind == ChannelKind::Waveform).then(|| Rate::per_second(1));
    let mut out = vec![0u8; 512];
    let len = encode_descriptors(&[channel], &mut out).expect("the channel is consistent");
    out.truncate(len);
    out
}

fn descriptor(json: &[u8]) {
    let Ok(descriptor) = serde_json::from_slice::<DescriptorBuf>(json) else { return };
    let mut out = [0u8; 4096];
    let channel = descriptor.as_descriptor();
    // a set has at most 2048 bytes
    let Ok(len) = encode_descriptors(&[channel], &mut out) else {
        assert!(descriptor.extensions.len() > 1500);
        return;
    };
    let set = DescriptorSet::parse(&out[..len]).expect("what was encoded decodes");
    assert!(set.channels().eq([channel]));
    let text = serde_json::to_string(&channel).expect("it can be written");
    assert_eq!(serde_json::from_str::<DescriptorBuf>(&text).ok(), Some(descriptor));
}

fn bytes(mut input: Input<'_>) {
    let set = if input.u8() == 0 { Ok(world().channels()) } else { DescriptorSet::parse(input.long()) };
    let Ok(set) = set else { return };
    for channel in set.channels() {
        let owned = DescriptorBuf::from(&channel);
        let text = serde_json::to_string(&owned).expect("it can be written");
        assert_eq!(serde_json::from_str::<DescriptorBuf>(&text).ok(), Some(owned));
    }
    let Ok(frame) = RecordsFrame::parse(input.rest()) else { return };
    for record in frame.records(&set) {
        let Ok(record) = record else { return };
        let owned = RecordBuf::from(&record.record);
        assert_eq!(owned.as_record(), record.record);
        written(&owned);
    }
}
