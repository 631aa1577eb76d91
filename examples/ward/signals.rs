//! What the devices measure: recorded signals, cut into facts whose time follows from their place in the source.
//!
//! `data/PROVENANCE.md` says where the recordings come from. A source that ends begins again. Device n starts at a
//! place of its own in each of them, so that no two devices send the same.

use vitalwire::clinical::{
    Channel, HeartRate, InterstitialGlucose, Lead, RrInterval, Scale, WaveformChannel,
};
use vitalwire::framing::{
    Alarm, ChannelDescriptor, Decimal, Lane, Measurement, Phase, Priority, Rate, Record, TrendBlock,
    TrendPoint, WaveformBlock, encode_descriptors,
};
use vitalwire::{Duration, Instant};

/// 16-bit little-endian samples, as they lie in the file.
const ECG: &[u8] = include_bytes!("../../data/ecg_mitbih208_360hz.i16");
const PPG: &[u8] = include_bytes!("../../data/ppg_peakdet.i16");
const HEART_RATE: &[u8] = include_bytes!("../../data/hr_1hz_from_pyhrv.i16");
const RR: &[u8] = include_bytes!("../../data/rr_ms_pyhrv.i16");
/// seconds, glucose in mg/dL, insulin.
const GLUCOSE: &str = include_str!("../../data/cgm_insulin_simglucose_adult005.csv");

/// Lead II stands for MLII; (x − 1024) / 200 mV.
static ECG_CHANNEL: WaveformChannel<1> = WaveformChannel::ecg(
    Signal::Ecg.channel(),
    Lead::II,
    Rate::per_second(360),
    Scale::new(Decimal::new(5, -3)).offset(Decimal::new(-512, -2)),
);
static PPG_CHANNEL: WaveformChannel<1> =
    WaveformChannel::plethysmogram(Signal::Ppg.channel(), Rate::per_second(40), Scale::ONE);
const HEART_RATE_CHANNEL: Channel<HeartRate> = Channel::new(Signal::HeartRate.channel());
const RR_CHANNEL: Channel<RrInterval> = Channel::new(Signal::Rr.channel());
const GLUCOSE_CHANNEL: Channel<InterstitialGlucose> = Channel::new(Signal::Glucose.channel());

/// A channel of a device. Its number is the channel number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Signal {
    /// ECG at 360 Hz, in blocks of half a second.
    Ecg = 1,
    /// Photoplethysmogram at 40 Hz, in blocks of half a second.
    Ppg = 2,
    /// Heart rate, once a second.
    HeartRate = 3,
    /// The time between two beats, at each beat.
    Rr = 4,
    /// Glucose, five values in a trend block. The source has one in 3 minutes; here it is one in 3 seconds.
    Glucose = 5,
}

/// What one record says, with its time and bytes of its own: the form in which the ward compares.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    pub lane: Lane,
    pub channel: u8,
    pub time: Instant,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Waveform {
        first: u64,
        samples: Vec<i32>,
    },
    Measurement(Measurement),
    Trend(Vec<TrendPoint>),
    Alarm(Alarm),
    /// Something that no device of the ward sends.
    Other(String),
}

impl Fact {
    /// Copies a record that was delivered.
    pub fn of(lane: Lane, time: Instant, record: &Record<'_>) -> Self {
        let (channel, content) = match record {
            Record::Waveform(block) => {
                let samples = block.samples().collect();
                (block.channel, Content::Waveform { first: block.first_sample, samples })
            }
            Record::Measurement(measurement) => (measurement.channel, Content::Measurement(*measurement)),
            Record::Trend(block) => (block.channel, Content::Trend(block.points().collect())),
            Record::Alarm(alarm) => (alarm.channel, Content::Alarm(*alarm)),
            other => (0, Content::Other(format!("{other:?}"))),
        };
        Self { lane, channel, time, content }
    }

    /// Names its signal and what kind of record it is.
    pub fn kind(&self) -> (Option<Signal>, &'static str) {
        let signal = Signal::of_channel(self.channel);
        match &self.content {
            Content::Waveform { .. } => (signal, "waveform"),
            Content::Measurement(_) => (signal, "measurement"),
            Content::Trend(_) => (signal, "trend"),
            Content::Alarm(_) => (signal, "alarm"),
            Content::Other(_) => (None, "other"),
        }
    }

    /// Hands the record of this fact to `with`.
    pub fn with_record<R>(&self, with: impl FnOnce(&Record<'_>) -> R) -> Option<R> {
        Some(match &self.content {
            Content::Waveform { first, samples } => {
                with(&Record::Waveform(WaveformBlock::new(self.channel, *first, samples)))
            }
            Content::Measurement(measurement) => with(&Record::Measurement(*measurement)),
            Content::Trend(points) => with(&Record::Trend(TrendBlock::new(self.channel, points))),
            Content::Alarm(alarm) => with(&Record::Alarm(*alarm)),
            Content::Other(_) => return None,
        })
    }
}

impl Signal {
    pub const fn channel(self) -> u8 {
        self as u8
    }

    pub fn descriptor(self) -> ChannelDescriptor<'static> {
        match self {
            Self::Ecg => ECG_CHANNEL.descriptor(),
            Self::Ppg => PPG_CHANNEL.descriptor(),
            Self::HeartRate => HEART_RATE_CHANNEL.descriptor(),
            Self::Rr => RR_CHANNEL.descriptor(),
            Self::Glucose => GLUCOSE_CHANNEL.descriptor(),
        }
    }

    pub fn of_channel(channel: u8) -> Option<Self> {
        [Self::Ecg, Self::Ppg, Self::HeartRate, Self::Rr, Self::Glucose]
            .into_iter()
            .find(|signal| signal.channel() == channel)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Ecg => "ECG",
            Self::Ppg => "PPG",
            Self::HeartRate => "heart rate",
            Self::Rr => "RR interval",
            Self::Glucose => "glucose",
        }
    }

    pub const fn unit(self) -> &'static str {
        match self {
            Self::Ecg => "mV/200",
            Self::Ppg => "1",
            Self::HeartRate => "/min",
            Self::Rr => "ms",
            Self::Glucose => "mg/dL",
        }
    }

    /// Samples per second and samples per block, of a waveform.
    pub const fn block(self) -> Option<(u32, usize)> {
        match self {
            Self::Ecg => Some((360, 180)),
            Self::Ppg => Some((40, 20)),
            _ => None,
        }
    }

    /// The source of a waveform, as it lies in the file.
    const fn file(self) -> &'static [u8] {
        match self {
            Self::Ecg => ECG,
            Self::Ppg => PPG,
            Self::HeartRate => HEART_RATE,
            Self::Rr => RR,
            Self::Glucose => &[],
        }
    }

    /// The two bytes of a sample in the source, from the place on where a device starts.
    fn bytes(self, start: usize, index: u64) -> [u8; 2] {
        let file = self.file();
        let at = (start + index as usize) % (file.len() / 2) * 2;
        [file[at], file[at + 1]]
    }

    fn sample(self, start: usize, index: u64) -> i32 {
        i16::from_le_bytes(self.bytes(start, index)).into()
    }
}

/// What one device measures, for how long, and from which place in the sources on.
#[derive(Clone, Copy, Debug)]
pub struct Patient {
    pub device: usize,
    pub signals: &'static [Signal],
    /// Heart rates from here on raise an alarm.
    pub high_limit: Option<i32>,
    /// The largest packet of the device's link.
    pub max_packet: u16,
    pub measured: Duration,
}

impl Patient {
    /// Four kinds of devices take turns.
    pub const fn of(device: usize, measured: Duration) -> Self {
        let (signals, high_limit, max_packet): (&[Signal], _, _) = match device % 4 {
            // a bedside monitor
            0 => (&[Signal::Ecg, Signal::HeartRate, Signal::Rr], Some(85), 1232),
            // a pulse oximeter
            1 => (&[Signal::Ppg, Signal::HeartRate], None, 1232),
            // a glucose sensor and a wrist band behind one radio
            2 => (&[Signal::Glucose, Signal::HeartRate, Signal::Rr, Signal::Ppg], Some(90), 1232),
            // a patch on a radio with small packets: an ECG block takes several records
            _ => (&[Signal::Ecg, Signal::Ppg], None, 128),
        };
        Self { device, signals, high_limit, max_packet, measured }
    }

    fn start(&self, signal: Signal) -> usize {
        (self.device * 7919 + signal as usize * 104_729) % (signal.file().len() / 2).max(1)
    }

    /// Lists everything that the device measures, in the order in which it is there: the instant, and the fact.
    pub fn facts(&self) -> Vec<(Instant, Fact)> {
        let mut facts: Vec<_> = self.signals.iter().flat_map(|&signal| self.facts_of(signal)).collect();
        facts.sort_by_key(|(ready, _)| *ready);
        facts
    }

    fn facts_of(&self, signal: Signal) -> Vec<(Instant, Fact)> {
        let channel = signal.channel();
        let start = self.start(signal);
        let end = Instant::ZERO + self.measured;
        let mut facts = Vec::new();
        match signal {
            Signal::Ecg | Signal::Ppg => {
                let (rate, len) = signal.block().unwrap_or((1, 1));
                for block in 0.. {
                    let first = block * len as u64;
                    let time = Instant::ZERO + Rate::per_second(rate).span(first);
                    let ready = Instant::ZERO + Rate::per_second(rate).span(first + len as u64);
                    if ready > end {
                        break;
                    }
                    let samples = (first..first + len as u64).map(|n| signal.sample(start, n)).collect();
                    let content = Content::Waveform { first, samples };
                    facts.push((ready, Fact { lane: Lane::Waveform, channel, time, content }));
                }
            }
            Signal::HeartRate => {
                let mut alarming = false;
                for second in 0..self.measured.as_secs() {
                    // a little after the full second, so that it has a packet of its own
                    let time = Instant::from_millis(second * 1000 + 700);
                    let rate = signal.sample(start, second);
                    let content = Content::Measurement(HEART_RATE_CHANNEL.measured(rate));
                    facts.push((time, Fact { lane: Lane::Trend, channel, time, content }));
                    let Some(limit) = self.high_limit else { continue };
                    if (rate >= limit) != alarming {
                        alarming = rate >= limit;
                        let content = Content::Alarm(above_limit(rate, limit, alarming));
                        facts.push((time, Fact { lane: Lane::Alarm, channel, time, content }));
                    }
                }
            }
            Signal::Rr => {
                let mut time = Instant::ZERO;
                for beat in 0.. {
                    let interval = signal.sample(start, beat);
                    time = time + Duration::from_millis(u64::from(interval.unsigned_abs().max(1)));
                    if time > end {
                        break;
                    }
                    let content = Content::Measurement(RR_CHANNEL.measured(interval));
                    facts.push((time, Fact { lane: Lane::Event, channel, time, content }));
                }
            }
            Signal::Glucose => {
                const STEP: u64 = 3000;
                let source = glucose();
                for block in 0.. {
                    let time = Instant::from_millis(block * 5 * STEP + 100);
                    let ready = time + Duration::from_millis(4 * STEP);
                    if ready > end || source.is_empty() {
                        break;
                    }
                    let point = |n: u64| TrendPoint {
                        offset: Duration::from_millis(n * STEP),
                        raw: source[(self.device * 61 + (block * 5 + n) as usize) % source.len()],
                    };
                    let content = Content::Trend((0..5).map(point).collect());
                    facts.push((ready, Fact { lane: Lane::Trend, channel, time, content }));
                }
            }
        }
        facts
    }

    /// Encodes the device's descriptor set.
    pub fn descriptors(&self) -> Result<Vec<u8>, String> {
        let mut channels: Vec<_> = self.signals.iter().map(|signal| signal.descriptor()).collect();
        channels.sort_by_key(|channel| channel.number);
        let mut set = [0u8; 256];
        let len = encode_descriptors(&channels, &mut set).map_err(|error| error.to_string())?;
        Ok(set[..len].to_vec())
    }

    /// How many samples of a waveform the device has.
    pub fn samples_of(&self, signal: Signal) -> u64 {
        let Some((rate, len)) = signal.block().filter(|_| self.signals.contains(&signal)) else { return 0 };
        let samples = self.measured.as_millis() * u64::from(rate) / 1000;
        samples - samples % len as u64
    }

    /// The time of a waveform record that begins with this sample: its block may have been split.
    pub fn time_of_sample(&self, signal: Signal, first: u64) -> Option<Instant> {
        let (rate, len) = signal.block()?;
        let rate = Rate::per_second(rate);
        let before = first % len as u64;
        Some(Instant::ZERO + rate.span(first - before) + rate.span(before))
    }

    /// Tells whether delivered samples are, byte for byte, those of the source file.
    pub fn is_in_source(&self, signal: Signal, first: u64, samples: &[i32]) -> bool {
        let start = self.start(signal);
        (first..).zip(samples).all(|(index, &sample)| {
            i16::try_from(sample).is_ok_and(|sample| sample.to_le_bytes() == signal.bytes(start, index))
        })
    }
}

fn above_limit(rate: i32, limit: i32, begins: bool) -> Alarm {
    let phase = if begins { Phase::Start } else { Phase::End };
    Alarm { phase, ..HEART_RATE_CHANNEL.too_high(Priority::Medium, rate, limit) }
}

/// Reads the second column.
fn glucose() -> Vec<i32> {
    let column = |line: &str| line.split(',').nth(1)?.parse().ok();
    GLUCOSE.lines().skip(1).filter_map(column).collect()
}
