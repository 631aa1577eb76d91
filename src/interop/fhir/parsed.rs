//! What was read from Observations, with memory of its own.

use super::FhirError;
use super::id::RecordId;
use crate::framing::{
    Absence, Alarm, AlarmLimits, Annotation, Event, Gap, Measurement, Mode, Record, Status, TrendBlock,
    Value, Values, WaveformBlock,
};
use crate::time::{Duration, Instant};

/// A record that was read from an Observation: [`parse`](super::parse).
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// Which record it is.
    pub id: RecordId,
    /// Its time, since the device's boot.
    pub time: Instant,
    /// What it says.
    pub content: Content,
}

/// What an Observation says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Content {
    /// A measurement.
    Measurement(Measurement),
    /// One point of a trend: [`Trend::of`] puts them together.
    TrendPoint(TrendSample),
    /// A run of samples.
    Waveform(Samples),
    /// An event.
    Event(Event),
    /// An alarm.
    Alarm(Alarm),
    /// A gap.
    Gap(Gap),
    /// A remark.
    Annotation(Note),
    /// The limits at which a channel raises alarms.
    AlarmLimits(AlarmLimits),
}

impl Content {
    /// Returns the record; a point of a trend is none by itself.
    pub fn record(&self) -> Option<Record<'_>> {
        Some(match self {
            Self::Measurement(measurement) => Record::Measurement(*measurement),
            Self::TrendPoint(_) => return None,
            Self::Waveform(samples) => Record::Waveform(samples.block()),
            Self::Event(event) => Record::Event(*event),
            Self::Alarm(alarm) => Record::Alarm(*alarm),
            Self::Gap(gap) => Record::Gap(*gap),
            Self::Annotation(note) => Record::Annotation(note.annotation()),
            Self::AlarmLimits(limits) => Record::AlarmLimits(*limits),
        })
    }
}

/// One point of a trend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrendSample {
    /// The channel's number.
    pub channel: u8,
    /// What holds for the values.
    pub status: Status,
    /// The values, in the scales of the channel's components.
    pub values: Values,
}

/// The points of one trend record.
///
/// ```
/// # use vitalwire::{Duration, Instant, framing::*, interop::fhir::{self, Context, Trend}};
/// # use vitalwire::identity::{Identity, IssuerId, SubjectId};
/// # let rate = [Component::new(147_842, 264_864)];
/// # let channel = ChannelDescriptor::new(1, ChannelKind::Numeric, 147_842, (&rate).into());
/// # let mut bytes = [0; 64];
/// # let len = encode_descriptors(&[channel], &mut bytes)?;
/// # let set = DescriptorSet::parse(&bytes[..len])?;
/// # let device = Identity { issuer: IssuerId([1; 8]), subject: SubjectId([2; 16]) };
/// # let (boot, tag, lane) = (7, BootTag([0; 4]), Lane::Trend);
/// # let context = Context { device, boot, tag, lane, set, subject: None, clock: None };
/// let points = [(0, 72), (1000, 73)].map(|(ms, raw)| TrendPoint { offset: Duration::from_millis(ms), raw });
/// let block = TrendBlock::new(1, &points);
/// let record = BatchRecord { sequence: 3, time: Instant::from_millis(60_000), record: Record::Trend(block) };
///
/// let observations = context.observations(&record)?;
/// let parsed: Result<Vec<_>, _> = observations.iter().map(|found| fhir::parse(found, &set)).collect();
/// let trend = Trend::of(&parsed?)?;
/// assert_eq!((trend.time, trend.block()), (record.time, block));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trend {
    /// The record's time.
    pub time: Instant,
    channel: u8,
    status: Status,
    offsets: Vec<Duration>,
    /// Point by point; 0 where a component is absent.
    values: Vec<i32>,
    absences: Vec<Option<Absence>>,
}

impl Trend {
    /// Puts the points of one record together.
    ///
    /// # Errors
    /// [`FhirError::Unexpected`] unless they are the points 0, 1, 2 … of one record, in this order, in which the same
    /// components are absent; [`FhirError::Missing`] without any.
    pub fn of(points: &[Parsed]) -> Result<Self, FhirError> {
        const UNEXPECTED: FhirError = FhirError::Unexpected("identifier");
        let Some((first, Content::TrendPoint(head))) = points.first().map(|first| (first, &first.content))
        else {
            return Err(FhirError::Missing("identifier"));
        };
        let mut trend = Self {
            time: first.time,
            channel: head.channel,
            status: head.status,
            offsets: Vec::with_capacity(points.len()),
            values: Vec::with_capacity(points.len().saturating_mul(head.values.len())),
            absences: absences(&head.values),
        };
        for (index, point) in (0u32..).zip(points) {
            let Content::TrendPoint(here) = &point.content else { return Err(UNEXPECTED) };
            let same = (here.channel, here.status) == (head.channel, head.status);
            let id = RecordId { index: Some(index), ..first.id };
            if !same || point.id != id || absences(&here.values) != trend.absences {
                return Err(UNEXPECTED);
            }
            let offset = point.time.as_millis().checked_sub(first.time.as_millis()).ok_or(UNEXPECTED)?;
            trend.offsets.push(Duration::from_millis(offset));
            trend.values.extend(here.values.iter().map(|value| match value {
                Value::Present(raw, _) => *raw,
                Value::Absent(_) => 0,
            }));
        }
        Ok(trend)
    }

    /// Returns the points as a block.
    pub fn block(&self) -> TrendBlock<'_> {
        let block = TrendBlock::compound(self.channel, self.absences.len(), &self.offsets, &self.values);
        let mut block =
            listed(&self.absences).fold(block, |block, (component, reason)| block.without(component, reason));
        block.status = self.status;
        block
    }
}

fn absences(values: &Values) -> Vec<Option<Absence>> {
    let absence = |value: &Value| match value {
        Value::Present(..) => None,
        Value::Absent(absence) => Some(*absence),
    };
    values.iter().map(absence).collect()
}

fn listed(absences: &[Option<Absence>]) -> impl Iterator<Item = (usize, Absence)> {
    absences.iter().enumerate().filter_map(|(component, absence)| Some((component, (*absence)?)))
}

/// The samples of a waveform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Samples {
    channel: u8,
    first_sample: u64,
    status: Status,
    /// Row by row; 0 where a component is absent.
    samples: Vec<i32>,
    absences: Vec<Option<Absence>>,
}

impl Samples {
    /// Puts the samples of each component together.
    pub(super) fn new(
        channel: u8,
        first_sample: u64,
        status: Status,
        rows: usize,
        components: &[Result<Vec<i32>, Absence>],
    ) -> Result<Self, FhirError> {
        let mut samples = Vec::with_capacity(rows.saturating_mul(components.len()));
        for row in 0..rows {
            for component in components {
                samples.push(match component {
                    Ok(list) => {
                        let sample = list.get(row).filter(|_| list.len() == rows);
                        *sample.ok_or(FhirError::Unexpected("valueSampledData.data"))?
                    }
                    Err(_) => 0,
                });
            }
        }
        let absences = components.iter().map(|component| component.as_ref().err().copied()).collect();
        Ok(Self { channel, first_sample, status, samples, absences })
    }

    /// Returns the samples as a block.
    pub fn block(&self) -> WaveformBlock<'_> {
        let components = self.absences.len();
        let block = WaveformBlock::interleaved(self.channel, self.first_sample, components, &self.samples);
        let mut block =
            listed(&self.absences).fold(block, |block, (component, reason)| block.without(component, reason));
        block.status = self.status;
        block
    }
}

/// A remark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The channel that it is about; `None`: all of them.
    pub channel: Option<u8>,
    /// How it came to be.
    pub mode: Mode,
    /// What it says; 0 if only the text says it.
    pub code: u32,
    /// How long what it is about lasted.
    pub span: Duration,
    /// More in words.
    pub text: String,
}

impl Note {
    /// Returns the remark as an annotation.
    pub fn annotation(&self) -> Annotation<'_> {
        Annotation {
            channel: self.channel,
            mode: self.mode,
            code: self.code,
            span: self.span,
            text: &self.text,
        }
    }
}
