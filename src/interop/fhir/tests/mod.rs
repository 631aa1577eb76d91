mod mapping;
mod names;
mod numbers;
mod reading;
mod round_trip;

use super::{Clock, Context, Observation, Pseudonym, Subject};
use crate::framing::{
    BatchRecord, BootTag, ChannelDescriptor, ChannelKind, Component, DescriptorSet, Lane, Measurement,
    Record, Value, Values, encode_descriptors,
};
use crate::identity::{Identity, IssuerId, SubjectId};
use crate::limits::MAX_DESCRIPTOR_SET;
use crate::time::Instant;

const LOINC: &str = "http://loinc.org";
const MDC: &str = "urn:iso:std:iso:11073:10101";

/// Encodes a set.
fn encoded(channels: &[ChannelDescriptor<'_>]) -> Vec<u8> {
    let mut bytes = vec![0; MAX_DESCRIPTOR_SET];
    let len = encode_descriptors(channels, &mut bytes).unwrap();
    bytes.truncate(len);
    bytes
}

/// Encodes a set of one numeric channel with these components.
fn numeric(metric: u32, components: &[Component]) -> Vec<u8> {
    encoded(&[ChannelDescriptor::new(1, ChannelKind::Numeric, metric, components.into())])
}

/// A context with everything in it.
fn context(set: &[u8]) -> Context<'_> {
    Context {
        device: Identity { issuer: IssuerId([0x11; 8]), subject: SubjectId([0x22; 16]) },
        boot: 7,
        tag: BootTag([0xc0, 0xff, 0xee, 1]),
        lane: Lane::Event,
        set: DescriptorSet::parse(set).unwrap(),
        subject: Some(Subject::patient(Pseudonym::new("0123456789abcdef").unwrap())),
        clock: Some(Clock::new(1_795_324_399_000)),
    }
}

fn record<'a>(record: impl Into<Record<'a>>) -> BatchRecord<'a> {
    BatchRecord { sequence: 41, time: Instant::from_millis(1_500), record: record.into() }
}

/// Writes a measurement of channel 1.
fn measured(set: &[u8], values: &[Value]) -> Observation {
    let measurement = Measurement::new(1, Values::new(values).unwrap());
    context(set).observations(&record(measurement)).unwrap().remove(0)
}
