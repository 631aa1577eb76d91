//! Observations to records.

use super::context::candidates;
use super::id::{RecordId, lane_name};
use super::observation::{Observation, ObservationComponent};
use super::systems::{ALARM, CHANNEL, FIRST_SAMPLE, GAP, KIND, LANE, PART, RECORD, UPTIME};
use super::types::{CodeableConcept, Extension, SampledData};
use super::value::{Found, is, mode};
use super::write::{
    ALARM_KINDS, GAP_REASONS, PHASES, PRIORITIES, gap_codes, kind_code, period, phase_codes, priority_code,
};
use super::{FhirError, Kind, terms};
use crate::clinical::mdc;
use crate::framing::{
    Absence, Alarm, ChannelDescriptor, Component, Decimal, DescriptorSet, Event, Gap, Lane, Measurement,
    Quality, Record, Status, TrendPoint, Value, Values, WaveformBlock,
};
use crate::time::{Duration, Instant};

/// A record that was read from an Observation.
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
    /// One point of a trend: see [`trend_points`].
    TrendPoint(TrendSample),
    /// A run of samples.
    Waveform(Samples),
    /// An event.
    Event(Event),
    /// An alarm.
    Alarm(Alarm),
    /// A gap.
    Gap(Gap),
}

/// One point of a trend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrendSample {
    /// The channel's number.
    pub channel: u8,
    /// What holds for the point.
    pub status: Status,
    /// The value, in the scale of the channel's component.
    pub raw: i32,
}

/// The samples of a waveform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Samples {
    /// The channel's number.
    pub channel: u8,
    /// The index of the first sample, counted since boot.
    pub first_sample: u64,
    /// What holds for every sample.
    pub status: Status,
    /// The samples, in the scale of the channel's component.
    pub samples: Vec<i32>,
}

impl Samples {
    /// Returns the samples as a block.
    pub fn block(&self) -> WaveformBlock<'_> {
        let mut block = WaveformBlock::new(self.channel, self.first_sample, &self.samples);
        block.status = self.status;
        block
    }
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
        })
    }
}

/// Puts the points of one trend record together, in the order of their indices, and returns its time with them.
///
/// ```
/// # use vitalwire::{Duration, Instant, framing::*, interop::fhir::{self, Context}};
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
/// let record = Record::Trend(TrendBlock::new(1, &points));
/// let record = BatchRecord { sequence: 3, time: Instant::from_millis(60_000), record };
///
/// let observations = context.observations(&record)?;
/// let parsed: Result<Vec<_>, _> = observations.iter().map(|found| fhir::parse(found, &set)).collect();
/// assert_eq!(fhir::trend_points(&parsed?)?, (record.time, points.to_vec()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`FhirError::Unexpected`] unless they are the points 0, 1, 2 … of one record, in this order;
/// [`FhirError::Missing`] without any.
pub fn trend_points(points: &[Parsed]) -> Result<(Instant, Vec<TrendPoint>), FhirError> {
    const UNEXPECTED: FhirError = FhirError::Unexpected("identifier");
    let first = points.first().ok_or(FhirError::Missing("identifier"))?;
    let mut found = Vec::with_capacity(points.len());
    for (index, point) in (0u32..).zip(points) {
        let (Content::TrendPoint(here), Content::TrendPoint(there)) = (&point.content, &first.content) else {
            return Err(UNEXPECTED);
        };
        let same = (here.channel, here.status) == (there.channel, there.status);
        if !same || point.id != (RecordId { index: Some(index), ..first.id }) {
            return Err(UNEXPECTED);
        }
        let offset = point.time.as_millis().checked_sub(first.time.as_millis()).ok_or(UNEXPECTED)?;
        found.push(TrendPoint { offset: Duration::from_millis(offset), raw: here.raw });
    }
    Ok((first.time, found))
}

/// Reads an Observation that this library has written, with the descriptor set of its boot.
///
/// Elements that it does not know are skipped; the values of those that it knows have to be as it writes them.
/// [`Context`](super::Context) has an example.
///
/// # Errors
/// [`FhirError`]: what is missing or does not fit.
pub fn parse(observation: &Observation, set: &DescriptorSet<'_>) -> Result<Parsed, FhirError> {
    let names = &observation.identifier;
    let name = names.iter().find(|name| name.system.as_deref() == Some(RECORD));
    let id: RecordId =
        name.and_then(|name| name.value.as_deref()).ok_or(FhirError::Missing("identifier"))?.parse()?;
    let kind = observation.category.iter().find_map(|concept| concept.code_in(KIND));
    let kind = kind.and_then(Kind::of_name).ok_or(FhirError::Missing("category"))?;
    if id.index.is_some() != (kind == Kind::Trend) {
        return Err(FhirError::Unexpected("identifier"));
    }
    let reader = Reader { observation, set };
    let content = match kind {
        Kind::Measurement => Content::Measurement(reader.measurement()?),
        Kind::Trend => Content::TrendPoint(reader.trend_point()?),
        Kind::Waveform => Content::Waveform(reader.waveform()?),
        Kind::Event => Content::Event(reader.event()?),
        Kind::Alarm => Content::Alarm(reader.alarm()?),
        Kind::Gap => Content::Gap(reader.gap()?),
    };
    Ok(Parsed { id, time: reader.time()?, content })
}

struct Reader<'o, 's> {
    observation: &'o Observation,
    set: &'o DescriptorSet<'s>,
}

impl<'o, 's> Reader<'o, 's> {
    fn time(&self) -> Result<Instant, FhirError> {
        let at = self.observation.effective_date_time_element.as_ref().map(|element| &element.extension);
        let period = self.observation.effective_period.as_ref().map(|period| &period.extension);
        let extensions = at.or(period).ok_or(FhirError::Missing("effective.extension"))?;
        let uptime = Extension::find(extensions, UPTIME).and_then(|found| found.value_decimal.as_ref());
        let uptime = uptime.ok_or(FhirError::Missing("effective.extension"))?;
        uptime.whole().map(Instant::from_millis).ok_or(FhirError::Time)
    }

    /// Finds the channel that has this code.
    fn channel(&self, kind: Kind, code: &CodeableConcept) -> Result<ChannelDescriptor<'s>, FhirError> {
        let metric = terms::code(code).ok_or(FhirError::Missing("code"))?;
        let site = match &self.observation.body_site {
            Some(site) => terms::code(site).ok_or(FhirError::Unexpected("bodySite"))?,
            None => 0,
        };
        let number = Extension::find(&self.observation.extension, CHANNEL)
            .map(|found| found.value_unsigned_int.ok_or(FhirError::Unexpected("extension")))
            .transpose()?;
        let fits = |found: &ChannelDescriptor<'_>| number.is_none_or(|it| it == u32::from(found.number));
        let mut found = candidates(self.set, kind, metric, site).filter(fits);
        let channel = found.next().ok_or(FhirError::NoChannel)?;
        if found.next().is_some() { Err(FhirError::Ambiguous) } else { Ok(channel) }
    }

    /// Lists what is said about each component of a channel, in their order.
    fn parts(&self, channel: &ChannelDescriptor<'_>) -> Result<Vec<(Component, Found<'o>)>, FhirError> {
        let primary = terms::primary(channel);
        let mut rest = self.observation.component.iter();
        let mut parts = Vec::with_capacity(channel.components.len());
        for (at, component) in channel.components.iter().enumerate() {
            if primary == Some(at) {
                parts.push((component, Found::from(self.observation)));
                continue;
            }
            let part = rest.next().ok_or(FhirError::Missing("component"))?;
            if terms::code(&part.code) != Some(component.metric) {
                return Err(FhirError::Unexpected("component.code"));
            }
            parts.push((component, Found::from(part)));
        }
        if rest.next().is_some() { Err(FhirError::Unexpected("component")) } else { Ok(parts) }
    }

    fn measurement(&self) -> Result<Measurement, FhirError> {
        let channel = self.channel(Kind::Measurement, &self.observation.code)?;
        let parts = self.parts(&channel)?;
        let values: Result<Vec<_>, _> =
            parts.iter().map(|(component, found)| found.value(component)).collect();
        let values = Values::new(&values?)?;
        Ok(Measurement { channel: channel.number, mode: mode(&self.observation.meta)?, values })
    }

    fn trend_point(&self) -> Result<TrendSample, FhirError> {
        let channel = self.channel(Kind::Trend, &self.observation.code)?;
        let parts = self.parts(&channel)?;
        let (component, found) = parts.first().ok_or(FhirError::WrongKind)?;
        let Value::Present(raw, quality) = found.value(component)? else {
            return Err(FhirError::Missing("valueQuantity")); // a point has a value
        };
        let status = Status { mode: mode(&self.observation.meta)?, quality };
        Ok(TrendSample { channel: channel.number, status, raw })
    }

    fn waveform(&self) -> Result<Samples, FhirError> {
        let channel = self.channel(Kind::Waveform, &self.observation.code)?;
        let parts = self.parts(&channel)?;
        let (component, found) = parts.first().ok_or(FhirError::WrongKind)?;
        let (data, quality) = found.samples()?;
        let samples = samples(&channel, component, data)?;
        let first = Extension::find(&self.observation.extension, FIRST_SAMPLE);
        let first = first.and_then(|first| first.value_decimal.as_ref()?.whole());
        let first_sample = first.ok_or(FhirError::Missing("extension"))?;
        let status = Status { mode: mode(&self.observation.meta)?, quality };
        Ok(Samples { channel: channel.number, first_sample, status, samples })
    }

    fn event(&self) -> Result<Event, FhirError> {
        let channel = self.channel(Kind::Event, &self.observation.code)?;
        let code = self.observation.value_codeable_concept.as_ref().and_then(terms::code);
        let code = code.ok_or(FhirError::Missing("valueCodeableConcept"))?;
        let value = match self.part("amount") {
            None => None,
            Some(part) => present(&channel, part)?,
        };
        Ok(Event { channel: channel.number, mode: mode(&self.observation.meta)?, code, value })
    }

    fn alarm(&self) -> Result<Alarm, FhirError> {
        const SOURCE: FhirError = FhirError::Missing("component (source)");
        let source = self.part("source").and_then(|part| part.value_codeable_concept.as_ref());
        let channel = self.channel(Kind::Alarm, source.ok_or(SOURCE)?)?;
        let code = terms::code(&self.observation.code).ok_or(FhirError::Missing("code"))?;
        let kind = self.attribute(mdc::ATTR_ALERT_TYPE)?;
        let priority = self.attribute(mdc::ATTR_ALARM_PRIORITY)?;
        let phase = (self.attribute(mdc::ATTR_EVENT_PHASE)?, self.attribute(mdc::ATTR_ALARM_STATE)?);
        let missing = || FhirError::Unexpected("component.valueCodeableConcept");
        let kind = ALARM_KINDS.into_iter().find(|found| kind_code(*found) == kind).ok_or_else(missing)?;
        let priority = PRIORITIES.into_iter().find(|found| priority_code(*found) == priority);
        let phase = PHASES.into_iter().find(|found| phase_codes(*found) == phase).ok_or_else(missing)?;
        let mut alarm = Alarm::new(channel.number, kind, priority.ok_or_else(missing)?, phase, code);
        alarm.mode = mode(&self.observation.meta)?;
        if let Some(part) = self.part("value") {
            alarm.value = present(&channel, part)?;
            let component = channel.components.iter().next().ok_or(FhirError::WrongKind)?;
            if let Some(range) = part.reference_range.first() {
                let raw = |limit| terms::raw(&component, limit);
                alarm.low_limit = range.low.as_ref().map(raw).transpose()?;
                alarm.high_limit = range.high.as_ref().map(raw).transpose()?;
            }
        }
        Ok(alarm)
    }

    fn gap(&self) -> Result<Gap, FhirError> {
        let reason = self.observation.data_absent_reason.as_ref();
        let reason = reason.and_then(|reason| reason.code_in(GAP));
        let reason = GAP_REASONS.into_iter().find(|found| Some(gap_codes(*found).1) == reason);
        let number = |name: &'static str| {
            let quantity = self.part(name).and_then(|part| part.value_quantity.as_ref());
            let number = quantity.and_then(|quantity| quantity.value.as_ref()?.whole());
            number.ok_or(FhirError::Missing("component (first, count)"))
        };
        let lane = self.part("lane").map(|part| {
            let lane = part.value_codeable_concept.as_ref().and_then(|lane| lane.code_in(LANE));
            let lane = Lane::ALL.into_iter().find(|found| Some(lane_name(*found)) == lane);
            lane.ok_or(FhirError::Unexpected("component (lane)"))
        });
        let reason = reason.ok_or(FhirError::Unexpected("dataAbsentReason"))?;
        Ok(Gap { lane: lane.transpose()?, first: number("first")?, count: number("count")?, reason })
    }

    /// Finds one of our own components.
    fn part(&self, name: &str) -> Option<&'o ObservationComponent> {
        self.observation.component.iter().find(|part| is(&part.code, PART, name))
    }

    /// Finds what an alarm says about one of its attributes.
    fn attribute(&self, code: u32) -> Result<&'o str, FhirError> {
        let part = self.observation.component.iter().find(|part| terms::code(&part.code) == Some(code));
        let value = part.and_then(|part| part.value_codeable_concept.as_ref()?.code_in(ALARM));
        value.ok_or(FhirError::Missing("component (attribute of an alarm)"))
    }
}

/// Reads a value that is there and valid, or unknown.
fn present(channel: &ChannelDescriptor<'_>, part: &ObservationComponent) -> Result<Option<i32>, FhirError> {
    let component = channel.components.iter().next().ok_or(FhirError::WrongKind)?;
    match Found::from(part).value(&component)? {
        Value::Present(raw, Quality::Valid) => Ok(Some(raw)),
        Value::Absent(Absence::Unknown) => Ok(None),
        _ => Err(FhirError::Unexpected("component")),
    }
}

/// Reads samples that are in the channel's scale.
fn samples(
    channel: &ChannelDescriptor<'_>,
    component: &Component,
    data: &SampledData,
) -> Result<Vec<i32>, FhirError> {
    let (period, _) = channel.rate.and_then(period).ok_or(FhirError::WrongKind)?;
    let unit = terms::with_unit(component.unit);
    if (&data.origin.system, &data.origin.code) != (&unit.system, &unit.code) {
        return Err(FhirError::Unit);
    }
    let origin = data.origin.value.as_ref().map(|value| value.decimal()).transpose()?;
    let factor = data.factor.as_ref().map(|factor| factor.decimal()).transpose()?;
    let scale = (origin.unwrap_or(Decimal::ZERO), factor.unwrap_or(Decimal::ONE));
    if scale != (component.offset, component.scale) || data.period != period || data.dimensions != 1 {
        return Err(FhirError::Scale);
    }
    let text = data.data.as_deref().ok_or(FhirError::Missing("valueSampledData.data"))?;
    let unexpected = || FhirError::Unexpected("valueSampledData.data");
    text.split(' ').map(|sample| sample.parse().map_err(|_| unexpected())).collect()
}
