use serde::{Deserialize, Serialize};

use super::{Absence, Lane, Mode, TrendBlock, Value, Values, WaveformBlock};
use crate::time::Duration;

/// One clinical fact.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Record<'a> {
    /// The values of a channel at one time.
    Measurement(Measurement),
    /// A series of values of a channel.
    Trend(TrendBlock<'a>),
    /// A run of samples of a channel.
    Waveform(WaveformBlock<'a>),
    /// Something that happened.
    Event(Event),
    /// An alarm condition, or a change of one.
    Alarm(Alarm),
    /// Records that do not exist any more.
    Gap(Gap),
    /// A remark on what was recorded.
    Annotation(Annotation<'a>),
    /// The limits at which a channel raises alarms.
    AlarmLimits(AlarmLimits),
    /// A record of a kind that this version does not know.
    Extension(ExtensionRecord<'a>),
}

/// The values of a numeric channel at one time.
///
/// ```
/// use vitalwire::framing::{Absence, Measurement, Value, Values};
/// let heart_rate = Measurement::new(1, Values::valid(&[72]).unwrap());
/// let lead_off = Measurement::new(1, Value::Absent(Absence::SensorOff).into());
/// assert_ne!(heart_rate, lead_off);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measurement {
    /// The channel's number.
    pub channel: u8,
    /// How the values came to be.
    pub mode: Mode,
    /// One value for each component of the channel.
    pub values: Values,
}

impl Measurement {
    /// Makes a measurement on the patient.
    pub const fn new(channel: u8, values: Values) -> Self {
        Self { channel, mode: Mode::Real, values }
    }

    /// Says that a component has no value, and why; changes nothing where there is no such component.
    ///
    /// ```
    /// use vitalwire::clinical::{Channel, NonInvasivePressure, Pressure};
    /// use vitalwire::framing::{Absence, Value};
    /// const CUFF: Channel<NonInvasivePressure> = Channel::new(1);
    /// let pressure = Pressure { systolic: 120, diastolic: 80, mean: None, pulse: None };
    /// let measured = CUFF.measured(pressure).without(3, Absence::Failed); // the pulse was not found
    /// assert_eq!(measured.values[2..], [Value::Absent(Absence::NotMeasured), Value::Absent(Absence::Failed)]);
    /// ```
    #[must_use]
    pub fn without(mut self, component: usize, reason: Absence) -> Self {
        self.values.set(component, Value::Absent(reason));
        self
    }
}

/// Something that happened: a dose, a fall, a key press, a change of status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Event {
    /// The number of an event channel.
    pub channel: u8,
    /// How it came to be.
    pub mode: Mode,
    /// What happened: an ISO/IEEE 11073-10101 code, or one of the channel's own.
    pub code: u32,
    /// How much, in the scale of the channel's first component.
    pub value: Option<i32>,
}

/// Whether the patient or the equipment is the cause of an alarm (IEC 60601-1-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum AlarmKind {
    /// The patient.
    Physiological = 0,
    /// The equipment.
    Technical = 1,
}

/// How urgent an alarm is (IEC 60601-1-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Priority {
    /// For information.
    Informational = 0,
    /// Low: awareness is required.
    Low = 1,
    /// Medium: prompt response is required.
    Medium = 2,
    /// High: immediate response is required.
    High = 3,
}

/// Where in its life an alarm condition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Phase {
    /// It has begun.
    Start = 0,
    /// It goes on.
    Continue = 1,
    /// It is over.
    End = 2,
    /// It is over, and signalled until somebody resets it.
    Latched = 3,
    /// Somebody has acknowledged it.
    Acknowledged = 4,
    /// Its signal is paused or off.
    Inactivated = 5,
}

/// An alarm condition, or a change of one.
///
/// ```
/// use vitalwire::framing::{Alarm, AlarmKind, Phase, Priority};
/// let mut alarm = Alarm::new(1, AlarmKind::Physiological, Priority::High, Phase::Start, 0x0003_0a42);
/// alarm.value = Some(162);
/// alarm.high_limit = Some(150);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Alarm {
    /// The number of the channel that is the source: of any kind.
    pub channel: u8,
    /// How it came to be.
    pub mode: Mode,
    /// The patient or the equipment.
    pub kind: AlarmKind,
    /// How urgent it is.
    pub priority: Priority,
    /// Where in its life it is.
    pub phase: Phase,
    /// What it is: an ISO/IEEE 11073-10101 code, or one of the channel's own.
    pub code: u32,
    /// The value that raised it, in the scale of the channel's first component.
    pub value: Option<i32>,
    /// The low limit, in the same scale.
    pub low_limit: Option<i32>,
    /// The high limit, in the same scale.
    pub high_limit: Option<i32>,
}

impl Alarm {
    /// Makes a real alarm without value and limits.
    pub const fn new(channel: u8, kind: AlarmKind, priority: Priority, phase: Phase, code: u32) -> Self {
        Self {
            channel,
            mode: Mode::Real,
            kind,
            priority,
            phase,
            code,
            value: None,
            low_limit: None,
            high_limit: None,
        }
    }
}

/// Why records do not exist any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum GapReason {
    /// No reason is known.
    Unknown = 0,
    /// The outbox was full, and the oldest were dropped.
    OutboxFull = 1,
    /// They were lost with the power.
    PowerLoss = 2,
    /// The storage failed.
    StorageFailed = 3,
    /// They were too old to be of use.
    Expired = 4,
}

/// Sequences of a stream whose records do not exist any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Gap {
    /// The lane of the stream, of the same boot; `None`: the stream that this record is in.
    pub lane: Option<Lane>,
    /// The first sequence that is missing.
    pub first: u64,
    /// How many are missing, at least 1.
    pub count: u64,
    /// Why.
    pub reason: GapReason,
}

impl Gap {
    /// Returns the sequences that it names.
    ///
    /// ```
    /// use vitalwire::framing::{Gap, GapReason};
    /// let gap = Gap { lane: None, first: 7, count: 3, reason: GapReason::OutboxFull };
    /// assert!(gap.sequences().eq([7, 8, 9]));
    /// ```
    pub const fn sequences(&self) -> core::ops::Range<u64> {
        self.first..self.first.saturating_add(self.count)
    }
}

/// A remark on what was recorded, by the device or somebody at it: a symptom, an artefact, a change of electrodes.
///
/// # Security
/// The text is for remarks on the signal. Nothing that tells who the patient is belongs into it: no name, no date of
/// birth, no number of a record. A device that lets people type has to see to that.
///
/// ```
/// use vitalwire::Duration;
/// use vitalwire::framing::{Annotation, Record};
/// let mut remark = Annotation::new(67_109_132); // VW_EVT_ARTEFACT
/// remark.channel = Some(3);
/// remark.span = Duration::from_secs(12);
/// remark.text = "electrodes changed";
/// let record = Record::from(remark);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Annotation<'a> {
    /// The channel that it is about; `None`: all of them.
    pub channel: Option<u8>,
    /// How it came to be.
    pub mode: Mode,
    /// What it says: an ISO/IEEE 11073-10101 code, or a private one; 0 if only the text says it.
    pub code: u32,
    /// How long what it is about lasted, from the record's time on, at most 2^32 − 1 ms; zero: a moment.
    pub span: Duration,
    /// More in words, at most 128 bytes; may be empty.
    pub text: &'a str,
}

impl Annotation<'_> {
    /// Makes a real annotation of the record's moment and of no channel, without text.
    pub const fn new(code: u32) -> Self {
        Self { channel: None, mode: Mode::Real, code, span: Duration::ZERO, text: "" }
    }
}

/// The limits at which a device raises alarms from here on: what it is set to, not that something happened.
///
/// ```
/// use vitalwire::framing::{AlarmLimits, Record};
/// let mut limits = AlarmLimits::new(1);
/// limits.low = Some(50);
/// limits.high = Some(120);
/// let record = Record::from(limits);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct AlarmLimits {
    /// The channel's number.
    pub channel: u8,
    /// Which of its components, from 0 on.
    pub component: u8,
    /// How they came to be.
    pub mode: Mode,
    /// The low limit, in the scale of the component; `None`: there is none.
    pub low: Option<i32>,
    /// The high limit, in the scale of the component; `None`: there is none.
    pub high: Option<i32>,
}

impl AlarmLimits {
    /// Says that the first component of a channel has no limits.
    pub const fn new(channel: u8) -> Self {
        Self { channel, component: 0, mode: Mode::Real, low: None, high: None }
    }
}

/// A record of a kind that this version does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename = "Extension")]
pub struct ExtensionRecord<'a> {
    /// Its kind.
    pub kind: u8,
    /// Its content.
    #[serde(serialize_with = "super::data::bytes::serialize")]
    pub bytes: &'a [u8],
}

/// Each kind of record is a [`Record`].
macro_rules! records {
    ($($name:ident($kind:ty)),*) => {$(
        impl<'a> From<$kind> for Record<'a> {
            fn from(record: $kind) -> Self {
                Self::$name(record)
            }
        }
    )*};
}

records! {
    Measurement(Measurement), Trend(TrendBlock<'a>), Waveform(WaveformBlock<'a>), Event(Event), Alarm(Alarm),
    Gap(Gap), Annotation(Annotation<'a>), AlarmLimits(AlarmLimits), Extension(ExtensionRecord<'a>)
}
