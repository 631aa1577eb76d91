//! Descriptor sets: accepted ⇒ encoding the channels again gives the same bytes, and each is found by its number.
//!
//! Input: encoded set.

use vitalwire::framing::*;

pub fn run(data: &[u8]) {
    let Ok(set) = DescriptorSet::parse(data) else { return };
    let channels: Vec<ChannelDescriptor<'_>> = set.channels().collect();
    let mut out = vec![0u8; data.len() + 16];
    let len = encode_descriptors(&channels, &mut out).expect("an accepted set can be encoded");
    assert_eq!(out[..len], *data);
    for number in 0..=u8::MAX {
        let listed = channels.iter().find(|channel| channel.number == number);
        assert_eq!(set.channel(number).as_ref(), listed);
    }
    for channel in &channels {
        assert_eq!(channel.components.iter().count(), channel.components.len());
        for component in channel.components.iter() {
            for raw in [i32::MIN, -1, 0, 1, i32::MAX] {
                let _ = component.physical(raw);
            }
        }
        if let Some(rate) = channel.rate {
            let _ = (rate.span(u64::MAX), rate.span(1), rate.period_ms());
        }
    }
}
