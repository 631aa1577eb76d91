//! What the devices of these tables record: heart rates, trends of them, and an ECG.

use std::sync::LazyLock;
use vitalwire::framing::*;
use vitalwire::{Duration, Instant};

/// A channel of heart rates, and one of ECG at 360 Hz.
pub(crate) static SET: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let (rate, ecg) = ([Component::new(147_842, 264_864)], [Component::new(131_329, 266_418)]);
    let mut channels = [
        ChannelDescriptor::new(0, ChannelKind::Numeric, 147_842, (&rate).into()),
        ChannelDescriptor::new(3, ChannelKind::Waveform, 131_329, (&ecg).into()),
    ];
    channels[0].rate = Some(Rate::per_second(1));
    channels[1].rate = Some(Rate::per_second(360));
    let mut out = vec![0u8; 128];
    let len = encode_descriptors(&channels, &mut out).expect("the channels are consistent");
    out.truncate(len);
    out
});

fn encode(record: &Record<'_>) -> Vec<u8> {
    let mut out = vec![0u8; 1024];
    let set = DescriptorSet::parse(&SET).expect("it was encoded here");
    let len = encode_record(record, &set, &mut out).expect("it fits its channel");
    out.truncate(len);
    out
}

/// A heart rate.
pub(crate) fn measurement() -> Vec<u8> {
    encode(&Record::Measurement(Measurement::new(0, Values::valid(&[72]).expect("one value"))))
}

/// A minute of heart rates, one a second.
pub(crate) fn trend() -> Vec<u8> {
    let point = |n: u64| TrendPoint { offset: Duration::from_secs(n), raw: 72 + (n * n % 5) as i32 };
    let points: Vec<TrendPoint> = (0..60).map(point).collect();
    encode(&Record::Trend(TrendBlock::new(0, &points)))
}

/// 256 samples of MIT-BIH record 208, raw counts at 360 Hz (`data/PROVENANCE.md`).
pub(crate) fn waveform() -> Vec<u8> {
    let bytes = include_bytes!("../../../data/ecg_mitbih208_360hz.i16");
    let samples = bytes.chunks_exact(2).take(256).map(|pair| i16::from_le_bytes([pair[0], pair[1]]).into());
    let samples: Vec<i32> = samples.collect();
    encode(&Record::Waveform(WaveformBlock::new(3, 90_000, &samples)))
}

/// Reads a record to the last value; returns how many values it has.
pub(crate) fn values(record: &Record<'_>) -> usize {
    match record {
        Record::Waveform(block) => std::hint::black_box(block.samples().count()),
        Record::Trend(block) => std::hint::black_box(block.points().count()),
        record => {
            std::hint::black_box(record);
            1
        }
    }
}

/// Writes the frames that a session begins with: a stream of trends and one of waveforms, and the descriptors.
pub(crate) fn write_introduction(writer: &mut FrameWriter<'_>) {
    let hash = SetHash::from_digest(vitalwire::crypto::hazmat::blake2s(&SET));
    writer.frame_with(FrameKind::Streams, |body| {
        let mut streams = StreamsWriter::new(body, true).ok()?;
        let entries = [
            StreamEntry { index: 0, lane: Lane::Trend, oldest: 0 },
            StreamEntry { index: 1, lane: Lane::Waveform, oldest: 0 },
        ];
        streams.push(1, BootTag([1; 4]), hash, &entries).ok()?;
        Some(streams.finish())
    });
    let total = SET.len().try_into().expect("a small set");
    let descriptors = DescriptorsFrame { stream: 0, total, offset: 0, bytes: &SET };
    writer.push(&Frame::Descriptors(descriptors)).expect("room");
}

/// Writes a batch of the stream: the record so many times, from this sequence on.
pub(crate) fn write_batch(
    writer: &mut FrameWriter<'_>,
    now: Instant,
    stream: u8,
    first: u64,
    record: &[u8],
    count: usize,
) {
    let written = writer.frame_with(FrameKind::Records, |body| {
        let mut batch = BatchWriter::new(body, stream, first);
        for _ in 0..count {
            batch.push(now, record).ok()?;
        }
        Some(batch.finish().len())
    });
    assert!(written, "the batch fits its packet");
}
