//! Tests of frames, records and codecs: one set of channels serves all.

#[cfg(feature = "backend")]
mod checked;
mod extensions;
mod frames;
mod records;
#[cfg(feature = "alloc")]
mod serialised;
mod series;
mod signals;
mod trends;

use super::*;
use crate::time::Instant;

/// Heart rate at 1 Hz.
const HEART_RATE: u8 = 1;
/// SpO2 with pulse rate.
const OXIMETER: u8 = 2;
/// ECG at 360 Hz.
const ECG: u8 = 3;
/// Blood pressure: systolic, diastolic, mean, with pulse rate.
const PRESSURE: u8 = 4;
/// Infusion pump events, with a volume.
const PUMP: u8 = 5;
/// Key presses.
const KEYS: u8 = 6;
/// The device itself.
const EQUIPMENT: u8 = 7;
/// Acceleration along three axes, 50 Hz.
const MOTION: u8 = 8;
/// RR intervals, without a rate, behind the escape.
const RR: u8 = 200;

/// Calls `with` with a set that has every kind of channel.
fn with_set<R>(with: impl FnOnce(&DescriptorSet<'_>) -> R) -> R {
    let rate = Component::new(147_842, 264_864);
    let pulse = [Component::new(150_456, 262_688), rate];
    let pressure = [150_021, 150_022, 150_023].map(|metric| Component::new(metric, 266_016));
    let pressure = [pressure[0], pressure[1], pressure[2], rate];
    let ecg = [Component {
        scale: Decimal::new(5, -3),
        offset: Decimal::new(-5120, -3),
        ..Component::new(131_329, 266_418)
    }];
    let motion = [8_456_155, 8_456_156, 8_456_157].map(|metric| Component::scaled(metric, 268_768, -2));
    let volume = [Component::scaled(157_884, 263_762, -2)];
    let numeric =
        |number, components| ChannelDescriptor::new(number, ChannelKind::Numeric, 150_020, components);
    let one = [rate];
    let channels = [
        ChannelDescriptor { rate: Some(Rate::per_second(1)), ..numeric(HEART_RATE, (&one).into()) },
        numeric(OXIMETER, (&pulse).into()),
        ChannelDescriptor {
            rate: Some(Rate::per_second(360)),
            site: 459_248,
            ..ChannelDescriptor::new(ECG, ChannelKind::Waveform, 131_329, (&ecg).into())
        },
        numeric(PRESSURE, (&pressure).into()),
        ChannelDescriptor {
            extensions: &[3, 1, 9, 64, 2, 1, 1],
            ..ChannelDescriptor::new(PUMP, ChannelKind::Event, 69_985, (&volume).into())
        },
        ChannelDescriptor::new(KEYS, ChannelKind::Event, 0xf000_0001, (&[]).into()),
        ChannelDescriptor::new(EQUIPMENT, ChannelKind::Alarm, 69_798, (&[]).into()),
        ChannelDescriptor {
            rate: Some(Rate::per_second(50)),
            ..ChannelDescriptor::new(MOTION, ChannelKind::Waveform, 8_456_155, (&motion).into())
        },
        numeric(RR, (&one).into()),
    ];
    let mut bytes = [0; 512];
    let len = encode_descriptors(&channels, &mut bytes).unwrap();
    let set = DescriptorSet::parse(&bytes[..len]).unwrap();
    assert!(set.channels().eq(channels));
    for channel in channels {
        assert_eq!(set.channel(channel.number), Some(channel));
    }
    with(&set)
}

/// Encodes one record.
fn encode(record: &Record<'_>, set: &DescriptorSet<'_>) -> Result<Vec<u8>, EncodeError> {
    let mut out = [0; 1100];
    let len = encode_record(record, set, &mut out)?;
    Ok(out[..len].to_vec())
}

/// Puts encoded records into a batch, one second apart.
fn batch(records: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut out = vec![0; 100_000];
    let mut batch = BatchWriter::new(&mut out, 3, 70);
    for (index, record) in records.iter().enumerate() {
        batch.push(Instant::from_millis(1_000_000 + 1000 * index as u64), record.as_ref()).unwrap();
    }
    batch.finish().to_vec()
}

/// Decodes one record that stands alone.
fn decode<'a>(bytes: &'a [u8], set: &DescriptorSet<'_>) -> Result<Record<'a>, crate::codec::DecodeError> {
    let frame = RecordsFrame { stream: 0, first: 0, count: 1, base: Instant::ZERO, bytes };
    let mut records = frame.records(set);
    let record = records.next().unwrap()?.record;
    records.next().map_or(Ok(record), |error| Err(error.unwrap_err()))
}

/// Puts bit fields, each a value and its number of bits, behind `head`.
fn bits(head: &[u8], fields: &[(u32, u32)]) -> Vec<u8> {
    let mut space = [0; 256];
    let mut writer = super::bits::BitWriter::new(&mut space);
    for &(value, count) in fields {
        writer.bits(value, count).unwrap();
    }
    let len = writer.finish().unwrap();
    [head, &space[..len]].concat()
}
