//! What our own records take. The test beside this holds these figures, the report of `benches/figures` prints them.
//!
//! Nothing but the public interface of `framing` is used, and every block that is encoded here is decoded and compared.

use crate::signals::{self, Signal, Times};
use vitalwire::crypto::SessionSecrets;
use vitalwire::framing::*;
use vitalwire::session::{RekeyPolicy, Session, Side};
use vitalwire::wire::ConnectionId;
use vitalwire::{Duration, Instant};

/// The samples of a block in the table of bits per sample.
pub const BLOCK: usize = 256;
/// The packet that full packets are measured with: what fits an IPv6 path without asking.
const MAX_PACKET: usize = 1232;

// The channels of the set; each kind of record has its own.
const HEART_RATE: u8 = 0;
const OXIMETER: u8 = 1;
const PRESSURE: u8 = 2;
const TEMPERATURE: u8 = 3;
const GLUCOSE: u8 = 4;
pub const WAVE: u8 = 5;
const BOLUS: u8 = 6;
const AXES: u8 = 7;
const TREND: u8 = 8;

/// Encodes the descriptor set of these channels; `times` are those of the trend channel.
pub fn encode_set(times: Times) -> Vec<u8> {
    let (step, tick) = match times {
        Times::Every(step) => (Some(step), 10_000),
        Times::Intervals(tick) => (None, tick),
        Times::Counted => (None, 10_000),
    };
    let trend = [Component {
        scale: Decimal::new(i32::try_from(tick).expect("short"), -4),
        ..Component::new(147_240, 264_338)
    }];
    const PER_MINUTE: u32 = 264_864;
    const MMHG: u32 = 266_016;
    let rate = [Component::new(147_842, PER_MINUTE)];
    let oximeter = [Component::new(150_456, 262_688), Component::new(149_530, PER_MINUTE)];
    let pressure = [
        Component::new(150_021, MMHG),
        Component::new(150_022, MMHG),
        Component::new(150_023, MMHG),
        Component::new(149_546, PER_MINUTE),
    ];
    let temperature = [Component::scaled(150_364, 268_192, -1)];
    let glucose = [Component::new(160_212, 264_274)];
    let volt = [Component {
        scale: Decimal::new(5, -3),
        offset: Decimal::new(-512, -2),
        ..Component::new(131_330, 266_418)
    }];
    let dose = [Component::scaled(8_417_860, 266_016, -2)];
    let axes = [Component::scaled(8_417_861, 0, -3); 3];
    let numeric = |number, list| ChannelDescriptor::new(number, ChannelKind::Numeric, 147_842, list);
    let wave = |number, list| ChannelDescriptor::new(number, ChannelKind::Waveform, 131_330, list);
    let mut channels = vec![
        numeric(HEART_RATE, (&rate).into()),
        numeric(OXIMETER, (&oximeter).into()),
        numeric(PRESSURE, (&pressure).into()),
        numeric(TEMPERATURE, (&temperature).into()),
        numeric(GLUCOSE, (&glucose).into()),
        wave(WAVE, (&volt).into()),
        ChannelDescriptor::new(BOLUS, ChannelKind::Event, 8_417_860, (&dose).into()),
        wave(AXES, (&axes).into()),
        numeric(TREND, (&trend).into()),
    ];
    channels[0].rate = Some(Rate::per_second(1));
    channels[5].rate = Some(Rate::per_second(360));
    channels[7].rate = Some(Rate::per_second(50));
    channels[8].rate =
        step.map(|step| Rate { numerator: 1000, denominator: u32::try_from(step).expect("short") });
    let mut out = vec![0; 1024];
    let len = encode_descriptors(&channels, &mut out).expect("the channels are consistent");
    out.truncate(len);
    out
}

/// Encodes a record, decodes it again and compares.
pub fn encode(record: &Record<'_>, set: &DescriptorSet<'_>) -> Vec<u8> {
    let mut out = [0; 1024];
    let len = encode_record(record, set, &mut out).expect("the record fits its channel");
    let (bytes, mut body) = (&out[..len], [0; 1100]);
    let mut batch = BatchWriter::new(&mut body, 0, 0);
    batch.push(Instant::ZERO, bytes).expect("there is room");
    let frame = RecordsFrame::parse(batch.finish()).expect("it was written here");
    let decoded: Vec<_> = frame.records(set).collect::<Result<_, _>>().expect("it was written here");
    assert!(decoded.len() == 1 && decoded[0].record == *record, "not what was encoded");
    bytes.to_vec()
}

/// A kind of record, with one or more examples.
pub struct Kind {
    pub name: &'static str,
    /// The time between two such, in milliseconds.
    pub step: u64,
    /// Each example, encoded.
    pub items: Vec<Vec<u8>>,
}

/// What the examples of a kind take.
pub struct KindSizes {
    /// Mean and greatest length of the records themselves.
    pub alone: f64,
    pub greatest: usize,
    /// What it adds to a batch: its time is a difference there.
    pub in_batch: f64,
    /// The whole packet that carries just one.
    pub own_packet: f64,
    /// Its share of packets that are as full as 1232 bytes and 64 records allow.
    pub packet_share: f64,
}

/// Every kind of the table, encoded.
pub fn kinds() -> Vec<Kind> {
    let set = encode_set(Times::Every(1000));
    let set = DescriptorSet::parse(&set).expect("it was encoded here");
    let one = |record: Record<'_>| vec![encode(&record, &set)];
    let measured = |channel, raw: &[i32]| {
        one(Record::Measurement(Measurement::new(channel, Values::valid(raw).expect("up to 8 values"))))
    };
    let wave = |first, samples| encode(&Record::Waveform(WaveformBlock::new(WAVE, first, samples)), &set);
    let mut alarm = Alarm::new(HEART_RATE, AlarmKind::Physiological, Priority::High, Phase::Start, 196_650);
    (alarm.value, alarm.high_limit) = (Some(162), Some(150));
    let bolus = Event { channel: BOLUS, mode: Mode::Real, code: 8_417_862, value: Some(250) };
    let gap = Gap { lane: None, first: 900, count: 12, reason: GapReason::OutboxFull };
    let ecg = signals::ecg();
    let seconds = ecg.chunks(360).enumerate();
    let [x, y, z] = signals::acceleration();
    let rows: Vec<i32> = x.iter().zip(y).zip(z).flat_map(|((x, y), z)| [*x, y, z]).collect();
    let minutes = signals::heart_rates();
    let trend = |values: &[i32]| {
        let points = points(values, Times::Every(1000));
        encode(&Record::Trend(TrendBlock::new(TREND, &points)), &set)
    };
    vec![
        Kind { name: "heart rate", step: 1000, items: measured(HEART_RATE, &[72]) },
        Kind { name: "SpO2, pulse", step: 1000, items: measured(OXIMETER, &[98, 72]) },
        Kind { name: "blood pressure, pulse", step: 900_000, items: measured(PRESSURE, &[120, 80, 93, 72]) },
        Kind { name: "temperature", step: 60_000, items: measured(TEMPERATURE, &[368]) },
        Kind { name: "glucose", step: 300_000, items: measured(GLUCOSE, &[104]) },
        Kind { name: "event: bolus", step: 3_600_000, items: one(Record::Event(bolus)) },
        Kind { name: "alarm", step: 60_000, items: one(Record::Alarm(alarm)) },
        Kind { name: "gap", step: 60_000, items: one(Record::Gap(gap)) },
        Kind {
            name: "ECG, 1 s of 360 Hz",
            step: 1000,
            items: seconds.map(|(second, samples)| wave(360 * second as u64, samples)).collect(),
        },
        Kind {
            name: "60 heart rates, 1 Hz",
            step: 60_000,
            items: minutes.chunks_exact(60).map(trend).collect(),
        },
        Kind {
            name: "acceleration, 1 s of 3 x 50 Hz",
            step: 1000,
            items: one(Record::Waveform(WaveformBlock::interleaved(AXES, 0, 3, &rows))),
        },
    ]
}

/// Makes points, the first at the time of its record.
fn points(values: &[i32], times: Times) -> Vec<TrendPoint> {
    let mut ticks = 0;
    let point = |(n, &raw): (usize, &i32)| {
        let millis = match times {
            Times::Counted => 0,
            Times::Every(step) => n as u64 * step,
            Times::Intervals(tick) => {
                ticks += if n == 0 { 0 } else { raw as u64 };
                (ticks * tick + 5_000) / 10_000
            }
        };
        TrendPoint { offset: Duration::from_millis(millis), raw }
    };
    values.iter().enumerate().map(point).collect()
}

impl Kind {
    /// Measures it.
    pub fn sizes(&self) -> KindSizes {
        let count = self.items.len() as f64;
        let lengths = self.items.iter().map(Vec::len);
        let mut session = Sealer::new();
        let in_batch = self.items.iter().map(|item| self.added(item)).sum::<usize>() as f64;
        let own_packet =
            self.items.iter().map(|item| session.packet(&mut std::iter::once(item), self.step).0);
        KindSizes {
            alone: lengths.clone().sum::<usize>() as f64 / count,
            greatest: lengths.max().unwrap_or(0),
            in_batch: in_batch / count,
            own_packet: own_packet.sum::<usize>() as f64 / count,
            packet_share: self.packet_share(),
        }
    }

    /// Returns what an example adds to a batch that has the same one before it.
    fn added(&self, record: &[u8]) -> usize {
        let mut body = vec![0; 4096];
        let mut batch = BatchWriter::new(&mut body, 1, 1000);
        let start = Instant::from_millis(86_400_000);
        batch.push(start, record).expect("room");
        let before = batch.remaining();
        let next = start + Duration::from_millis(self.step);
        batch.push(next, record).expect("room");
        before - batch.remaining()
    }

    fn packet_share(&self) -> f64 {
        let mut session = Sealer::new();
        let repeats = 64usize.div_ceil(self.items.len());
        let all: Vec<&Vec<u8>> = (0..repeats).flat_map(|_| &self.items).collect();
        let (mut rest, mut bytes) = (all.as_slice(), 0);
        while !rest.is_empty() {
            let (packet, taken) = session.packet(&mut rest.iter().copied(), self.step);
            bytes += packet;
            rest = &rest[taken..];
        }
        bytes as f64 / (repeats * self.items.len()) as f64
    }
}

/// Seals packets to a backend with a connection id of 5 bytes.
struct Sealer(Session<2>);

impl Sealer {
    fn new() -> Self {
        let secrets = SessionSecrets::new([1; 32], &[2; 64]);
        Self(Session::new(Instant::ZERO, Side::Device, secrets, 1024, RekeyPolicy::default()))
    }

    /// Seals a packet with as many of these records as fit; returns its length and how many they were.
    fn packet(&mut self, records: &mut dyn Iterator<Item = &Vec<u8>>, step: u64) -> (usize, usize) {
        let id = ConnectionId::new(&[7; 5]).expect("5 bytes");
        // all packets before this one were acknowledged, as on a good link
        self.0.peer_acked(self.0.next_counter().saturating_sub(1));
        let mut out = [0; MAX_PACKET];
        let (head, space) = (self.0.header_len(&id), MAX_PACKET - self.0.overhead(&id));
        let mut taken = 0;
        let mut writer = FrameWriter::new(&mut out[head..head + space]);
        assert!(writer.frame_with(FrameKind::Records, |body| {
            let mut batch = BatchWriter::new(body, 1, 1000);
            for record in records {
                let time = Instant::from_millis(86_400_000 + taken as u64 * step);
                if batch.push(time, record).is_err() {
                    break;
                }
                taken += 1;
            }
            Some(batch.finish().len())
        }));
        let len = writer.finish().len();
        let packet = self.0.seal(Instant::ZERO, &id, &mut out, len).expect("the session is young");
        assert!(taken > 0, "not even one record fits a packet");
        (packet.len(), taken)
    }
}

/// What a signal takes, cut into blocks that can be decoded alone: whole records, with head, time and count.
pub struct BlockSizes {
    pub bits_per_sample: f64,
    pub mean: f64,
    pub greatest: usize,
    /// The greatest of the blocks themselves: of a waveform without the record's head and the index of the first row.
    pub greatest_block: usize,
}

/// Encodes a signal in blocks of `len` samples; each is decoded and compared.
pub fn blocks(signal: &Signal, len: usize) -> BlockSizes {
    let set = encode_set(signal.times);
    let set = DescriptorSet::parse(&set).expect("it was encoded here");
    // The whole record, and how much of it is not the block.
    let size = |(index, samples): (usize, &[i32])| match signal.times {
        Times::Counted => {
            let first = (index * len) as u64;
            let bytes = encode(&Record::Waveform(WaveformBlock::new(WAVE, first, samples)), &set);
            (bytes.len(), 1 + varint_len(first))
        }
        times => {
            let bytes = encode(&Record::Trend(TrendBlock::new(TREND, &points(samples, times))), &set);
            (bytes.len(), 1)
        }
    };
    let sizes: Vec<(usize, usize)> = signal.samples.chunks(len).enumerate().map(size).collect();
    let total = sizes.iter().map(|(bytes, _)| bytes).sum::<usize>() as f64;
    BlockSizes {
        bits_per_sample: total * 8.0 / signal.samples.len() as f64,
        mean: total / sizes.len() as f64,
        greatest: sizes.iter().map(|(bytes, _)| *bytes).max().unwrap_or(0),
        greatest_block: sizes.iter().map(|(bytes, front)| bytes - front).max().unwrap_or(0),
    }
}

/// The length of a varint: 7 bits a byte.
fn varint_len(number: u64) -> usize {
    (64 - number.leading_zeros() as usize).div_ceil(7).max(1)
}
