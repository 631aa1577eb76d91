//! Records and descriptors that own what they say, for applications that keep or send them in another form.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::data::checked;
use super::descriptor::is_well_formed;
use super::{
    Alarm, AlarmLimits, Annotation, ChannelDescriptor, ChannelKind, Component, Event, ExtensionRecord, Gap,
    Measurement, Mode, Rate, Record, TrendBuf, WaveformBuf,
};
use crate::limits::{MAX_ANNOTATION_TEXT, MAX_RECORD};
use crate::time::Duration;

/// A [`Record`] that owns what it says.
///
/// It serialises like the record itself, and deserialises only to what could be encoded on some channel.
///
/// ```
/// use vitalwire::framing::{Measurement, Record, RecordBuf, Values};
/// let record = Record::from(Measurement::new(1, Values::valid(&[72])?));
/// let json = serde_json::to_string(&record)?;
/// assert_eq!(json, r#"{"measurement":{"channel":1,"mode":"real","values":[{"present":[72,"valid"]}]}}"#);
/// let owned: RecordBuf = serde_json::from_str(&json)?;
/// assert_eq!(owned.as_record(), record);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Record", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecordBuf {
    /// The values of a channel at one time.
    Measurement(Measurement),
    /// A series of values of a channel.
    Trend(TrendBuf),
    /// A run of samples of a channel.
    Waveform(WaveformBuf),
    /// Something that happened.
    Event(Event),
    /// An alarm condition, or a change of one.
    Alarm(Alarm),
    /// Records that do not exist any more.
    Gap(Gap),
    /// A remark on what was recorded.
    Annotation(AnnotationBuf),
    /// The limits at which a channel raises alarms.
    AlarmLimits(AlarmLimits),
    /// A record of a kind that this version does not know.
    Extension(ExtensionBuf),
}

impl RecordBuf {
    /// Borrows it as a record.
    pub fn as_record(&self) -> Record<'_> {
        match self {
            Self::Measurement(measurement) => Record::Measurement(*measurement),
            Self::Trend(block) => Record::Trend(block.as_block()),
            Self::Waveform(block) => Record::Waveform(block.as_block()),
            Self::Event(event) => Record::Event(*event),
            Self::Alarm(alarm) => Record::Alarm(*alarm),
            Self::Gap(gap) => Record::Gap(*gap),
            Self::Annotation(annotation) => Record::Annotation(annotation.as_annotation()),
            Self::AlarmLimits(limits) => Record::AlarmLimits(*limits),
            Self::Extension(extension) => Record::Extension(extension.as_extension()),
        }
    }
}

impl From<&Record<'_>> for RecordBuf {
    fn from(record: &Record<'_>) -> Self {
        match record {
            Record::Measurement(measurement) => Self::Measurement(*measurement),
            Record::Trend(block) => Self::Trend(block.into()),
            Record::Waveform(block) => Self::Waveform(block.into()),
            Record::Event(event) => Self::Event(*event),
            Record::Alarm(alarm) => Self::Alarm(*alarm),
            Record::Gap(gap) => Self::Gap(*gap),
            Record::Annotation(annotation) => Self::Annotation(annotation.into()),
            Record::AlarmLimits(limits) => Self::AlarmLimits(*limits),
            Record::Extension(extension) => Self::Extension(extension.into()),
        }
    }
}

/// An [`Annotation`] that owns its text; example at [`RecordBuf`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename = "Annotation", remote = "Self")]
pub struct AnnotationBuf {
    /// The channel that it is about; `None`: all of them.
    pub channel: Option<u8>,
    /// How it came to be.
    pub mode: Mode,
    /// What it says: an ISO/IEEE 11073-10101 code, or a private one; 0 if only the text says it.
    pub code: u32,
    /// How long what it is about lasted, from the record's time on.
    pub span: Duration,
    /// More in words, at most 128 bytes, without anything that tells who the patient is.
    pub text: String,
}

checked!(AnnotationBuf, "a text of more than 128 bytes, or a span of 2^32 ms or more", |annotation| {
    annotation.text.len() <= MAX_ANNOTATION_TEXT && u32::try_from(annotation.span.as_millis()).is_ok()
});

impl AnnotationBuf {
    /// Borrows it as an annotation.
    pub fn as_annotation(&self) -> Annotation<'_> {
        let Self { channel, mode, code, span, ref text } = *self;
        Annotation { channel, mode, code, span, text }
    }
}

impl From<&Annotation<'_>> for AnnotationBuf {
    fn from(annotation: &Annotation<'_>) -> Self {
        let Annotation { channel, mode, code, span, text } = *annotation;
        Self { channel, mode, code, span, text: text.into() }
    }
}

/// An [`ExtensionRecord`] that owns its content; example at [`RecordBuf`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename = "Extension", remote = "Self")]
pub struct ExtensionBuf {
    /// Its kind.
    pub kind: u8,
    /// Its content.
    #[serde(with = "super::data::bytes")]
    pub bytes: Vec<u8>,
}

checked!(ExtensionBuf, "too long, or of a kind with a record of its own", |extension| {
    extension.bytes.len() < MAX_RECORD && !super::extension::is_known(extension.kind)
});

impl ExtensionBuf {
    /// Borrows it as an extension record.
    pub fn as_extension(&self) -> ExtensionRecord<'_> {
        ExtensionRecord { kind: self.kind, bytes: &self.bytes }
    }
}

impl From<&ExtensionRecord<'_>> for ExtensionBuf {
    fn from(extension: &ExtensionRecord<'_>) -> Self {
        Self { kind: extension.kind, bytes: extension.bytes.to_vec() }
    }
}

/// A [`ChannelDescriptor`] that owns what it says.
///
/// ```
/// use vitalwire::clinical::mdc;
/// use vitalwire::framing::{ChannelDescriptor, ChannelKind, Component, DescriptorBuf};
/// let rate = [Component::new(mdc::ECG_HEART_RATE, mdc::unit::BEAT_PER_MIN)];
/// let channel = ChannelDescriptor::new(1, ChannelKind::Numeric, mdc::ECG_HEART_RATE, (&rate).into());
/// let owned: DescriptorBuf = serde_json::from_str(&serde_json::to_string(&channel)?)?;
/// assert_eq!(owned.as_descriptor(), channel);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "ChannelDescriptor", remote = "Self")]
pub struct DescriptorBuf {
    /// The number that its records name it by.
    pub number: u8,
    /// What kind of records it has.
    pub kind: ChannelKind,
    /// What it is as a whole: an ISO/IEEE 11073-10101 code, partition · 65536 + term.
    pub metric: u32,
    /// Where on the body: an ISO/IEEE 11073-10101 code, 0 if it is not said.
    pub site: u32,
    /// How often it is sampled.
    pub rate: Option<Rate>,
    /// Its quantities.
    pub components: Vec<Component>,
    /// Further fields: each a varint type and prefixed bytes, in strictly ascending order of type.
    #[serde(with = "super::data::bytes")]
    pub extensions: Vec<u8>,
}

checked!(DescriptorBuf, "kind, rate, components and further fields do not go together", |descriptor| {
    is_well_formed(&descriptor.as_descriptor())
});

impl DescriptorBuf {
    /// Borrows it as a descriptor.
    pub fn as_descriptor(&self) -> ChannelDescriptor<'_> {
        let Self { number, kind, metric, site, rate, ref components, ref extensions } = *self;
        ChannelDescriptor {
            number,
            kind,
            metric,
            site,
            rate,
            components: (&components[..]).into(),
            extensions,
        }
    }
}

impl From<&ChannelDescriptor<'_>> for DescriptorBuf {
    fn from(channel: &ChannelDescriptor<'_>) -> Self {
        let ChannelDescriptor { number, kind, metric, site, rate, components, extensions } = *channel;
        let components = components.iter().collect();
        Self { number, kind, metric, site, rate, components, extensions: extensions.to_vec() }
    }
}
