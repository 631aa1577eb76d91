//! Encoding and decoding, per kind of record, and the throughput of waveform blocks on a real ECG.

mod common;

use criterion::{BenchmarkId, Criterion, Throughput};
use std::hint::black_box;
use std::time::Duration;
use vitalwire::framing::*;
use vitalwire::{Duration as Millis, Instant};

/// MIT-BIH record 208, 360 Hz, as raw counts (`data/PROVENANCE.md`).
fn ecg() -> Vec<i32> {
    let bytes = include_bytes!("../data/ecg_mitbih208_360hz.i16");
    bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]).into()).collect()
}

fn encode_set() -> Vec<u8> {
    let one = |metric, unit| [Component::new(metric, unit)];
    let (rate, ecg, dose) = (one(147_842, 264_864), one(131_329, 266_418), one(1, 2));
    let pair = [Component::new(150_456, 262_688), Component::new(149_530, 264_864)];
    let mut channels = [
        ChannelDescriptor::new(0, ChannelKind::Numeric, 147_842, (&rate).into()),
        ChannelDescriptor::new(1, ChannelKind::Numeric, 150_456, (&pair).into()),
        ChannelDescriptor::new(3, ChannelKind::Waveform, 131_329, (&ecg).into()),
        ChannelDescriptor::new(4, ChannelKind::Event, 1, (&dose).into()),
    ];
    channels[0].rate = Some(Rate::per_second(1));
    channels[2].rate = Some(Rate::per_second(360));
    let mut out = vec![0u8; 256];
    let len = encode_descriptors(&channels, &mut out).expect("the channels are consistent");
    out.truncate(len);
    out
}

fn encode(record: &Record<'_>, set: &DescriptorSet<'_>, out: &mut [u8]) -> usize {
    encode_record(record, set, out).expect("it fits its channel")
}

/// A Records frame of one record.
fn frame(record: &Record<'_>, set: &DescriptorSet<'_>) -> Vec<u8> {
    let (mut bytes, mut body) = ([0u8; 1024], [0u8; 1100]);
    let len = encode(record, set, &mut bytes);
    let mut batch = BatchWriter::new(&mut body, 2, 1000);
    batch.push(Instant::from_millis(86_400_000), &bytes[..len]).expect("room");
    batch.finish().to_vec()
}

/// Decodes every record, and every sample in it.
fn decode(body: &[u8], set: &DescriptorSet<'_>) {
    for item in RecordsFrame::parse(body).expect("well-formed").records(set) {
        match item.expect("well-formed").record {
            Record::Waveform(block) => assert!(black_box(block.samples().count()) > 0),
            Record::Trend(block) => assert!(black_box(block.points().count()) > 0),
            record => drop(black_box(record)),
        }
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let set = encode_set();
    let set = DescriptorSet::parse(&set).expect("it was encoded here");
    let ecg = ecg();
    let points: Vec<TrendPoint> =
        (0..60).map(|n| TrendPoint { offset: Millis::from_secs(n), raw: 72 + (n * n % 5) as i32 }).collect();
    let mut alarm = Alarm::new(0, AlarmKind::Physiological, Priority::High, Phase::Start, 0x0003_0a42);
    (alarm.value, alarm.high_limit) = (Some(162), Some(150));
    let qualified =
        Values::new(&[Value::Present(97, Quality::Questionable), Value::Absent(Absence::SensorOff)]);
    let qualified = Measurement { channel: 1, mode: Mode::Real, values: qualified.expect("two values") };
    let records = [
        ("heart rate", Record::Measurement(Measurement::new(0, Values::valid(&[72]).expect("one value")))),
        ("qualified pair", Record::Measurement(qualified)),
        ("event", Record::Event(Event { channel: 4, mode: Mode::Real, code: 70_000, value: Some(12) })),
        ("alarm", Record::Alarm(alarm)),
        ("gap", Record::Gap(Gap { lane: None, first: 900, count: 12, reason: GapReason::OutboxFull })),
        ("60 heart rates", Record::Trend(TrendBlock::new(0, &points))),
        ("256 of ECG", Record::Waveform(WaveformBlock::new(3, 90_000, &ecg[..256]))),
    ];
    let mut group = criterion.benchmark_group("encode");
    for (name, record) in &records {
        let mut out = [0u8; 1024];
        group.bench_function(*name, |bencher| bencher.iter(|| black_box(encode(record, &set, &mut out))));
    }
    group.finish();
    let mut group = criterion.benchmark_group("decode");
    for (name, record) in &records {
        let body = frame(record, &set);
        group.bench_function(*name, |bencher| bencher.iter(|| decode(black_box(&body), &set)));
    }
    group.finish();

    // A minute of ECG in blocks of 256, samples per second.
    let minute = &ecg[..(60 * 360).min(ecg.len())];
    let mut group = criterion.benchmark_group("ECG in blocks of 256");
    group.throughput(Throughput::Elements(minute.len() as u64));
    let blocks = || {
        minute
            .chunks(256)
            .enumerate()
            .map(|(index, samples)| Record::Waveform(WaveformBlock::new(3, index as u64 * 256, samples)))
    };
    group.bench_function(BenchmarkId::from_parameter("encode"), |bencher| {
        let mut out = [0u8; 1024];
        bencher.iter(|| blocks().map(|block| encode(&block, &set, &mut out)).sum::<usize>());
    });
    let bodies: Vec<Vec<u8>> = blocks().map(|block| frame(&block, &set)).collect();
    group.bench_function(BenchmarkId::from_parameter("decode"), |bencher| {
        bencher.iter(|| bodies.iter().for_each(|body| decode(body, &set)));
    });
    group.finish();
    criterion.final_summary();
}
