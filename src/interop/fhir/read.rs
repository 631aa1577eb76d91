//! Observations to records.

use super::context::candidates;
use super::id::{RecordId, lane_name};
use super::observation::{Observation, ObservationComponent, ObservationStatus};
use super::parsed::{Content, Note, Parsed, Samples, TrendSample};
use super::systems::{ALARM, CHANNEL, FIRST_SAMPLE, GAP, KIND, LANE, PART, RECORD, SAMPLES, SPAN, UPTIME};
use super::types::{CodeableConcept, Extension, SampledData};
use super::value::{Found, is, mode};
use super::write::{
    ALARM_KINDS, GAP_REASONS, PHASES, PRIORITIES, gap_codes, kind_code, period, phase_codes, priority_code,
};
use super::{FhirError, Kind, terms};
use crate::clinical::mdc;
use crate::framing::{
    Absence, Alarm, AlarmLimits, ChannelDescriptor, Component, Decimal, DescriptorSet, Event, Gap, Lane,
    Measurement, Quality, Status, Value, Values,
};
use crate::limits::{MAX_ANNOTATION_TEXT, MAX_BLOCK_SAMPLES};
use crate::time::{Duration, Instant};

/// Reads an Observation that this library has written, with the descriptor set of its boot.
///
/// Elements that it does not know are skipped; the values of those that it knows have to be as it writes them. What is
/// not final any more (withdrawn, amended), or has an element that changes its meaning (a modifier extension, implicit
/// rules, a comparator such as `<`), is refused.
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
    refuse_changed(observation)?;
    let reader = Reader { observation, set };
    let content = match kind {
        Kind::Measurement => Content::Measurement(reader.measurement()?),
        Kind::Trend => Content::TrendPoint(reader.trend_point()?),
        Kind::Waveform => Content::Waveform(reader.waveform()?),
        Kind::Event => Content::Event(reader.event()?),
        Kind::Alarm => Content::Alarm(reader.alarm()?),
        Kind::Gap => Content::Gap(reader.gap()?),
        Kind::Annotation => Content::Annotation(reader.annotation()?),
        Kind::AlarmLimits => Content::AlarmLimits(reader.alarm_limits()?),
    };
    Ok(Parsed { id, time: reader.time()?, content })
}

/// Refuses what somebody has withdrawn or changed, or has given another meaning.
///
/// R4 (section "Extensibility") wants a reader to refuse a modifier extension that it does not know.
fn refuse_changed(observation: &Observation) -> Result<(), FhirError> {
    if observation.status != ObservationStatus::Final {
        return Err(FhirError::Unexpected("status"));
    }
    if observation.implicit_rules.is_some() {
        return Err(FhirError::Unexpected("implicitRules"));
    }
    let modified = observation.component.iter().any(|part| !part.modifier_extension.is_empty());
    if modified || !observation.modifier_extension.is_empty() {
        return Err(FhirError::Unexpected("modifierExtension"));
    }
    Ok(())
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
        let values: Result<Vec<_>, _> =
            parts.iter().map(|(component, found)| found.value(component)).collect();
        let values = Values::new(&values?)?;
        let qualities = values.iter().filter_map(|value| match value {
            Value::Present(_, quality) => Some(*quality),
            Value::Absent(_) => None,
        });
        let status = Status { mode: mode(&self.observation.meta)?, quality: common(qualities)? };
        Ok(TrendSample { channel: channel.number, status, values })
    }

    fn waveform(&self) -> Result<Samples, FhirError> {
        let channel = self.channel(Kind::Waveform, &self.observation.code)?;
        let mut components = Vec::with_capacity(channel.components.len());
        let mut qualities = Vec::new();
        for (component, found) in self.parts(&channel)? {
            components.push(match found.samples()? {
                Ok((data, quality)) => {
                    qualities.push(quality);
                    Ok(samples(&channel, &component, data)?)
                }
                Err(absence) => Err(absence),
            });
        }
        let extension = |url| Extension::find(&self.observation.extension, url);
        let rows = match components.iter().find_map(|found| found.as_ref().ok()) {
            Some(samples) => samples.len(),
            None => {
                let rows = extension(SAMPLES).and_then(|found| found.value_unsigned_int);
                usize::try_from(rows.ok_or(FhirError::Missing("extension"))?).unwrap_or(usize::MAX)
            }
        };
        if rows > MAX_BLOCK_SAMPLES {
            return Err(FhirError::Unexpected("valueSampledData.data"));
        }
        let first = extension(FIRST_SAMPLE).and_then(|first| first.value_decimal.as_ref()?.whole());
        let first_sample = first.ok_or(FhirError::Missing("extension"))?;
        let status = Status { mode: mode(&self.observation.meta)?, quality: common(qualities.into_iter())? };
        Samples::new(channel.number, first_sample, status, rows, &components)
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
        let source = self.source(Kind::Alarm)?;
        let channel = source.ok_or(FhirError::Missing("component (source)"))?;
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
            (alarm.low_limit, alarm.high_limit) = range(&component, part)?;
        }
        Ok(alarm)
    }

    fn gap(&self) -> Result<Gap, FhirError> {
        let reason = self.observation.data_absent_reason.as_ref();
        let reason = reason.and_then(|reason| reason.code_in(GAP));
        let reason = GAP_REASONS.into_iter().find(|found| Some(gap_codes(*found).1) == reason);
        let lane = self.part("lane").map(|part| {
            let lane = part.value_codeable_concept.as_ref().and_then(|lane| lane.code_in(LANE));
            let lane = Lane::ALL.into_iter().find(|found| Some(lane_name(*found)) == lane);
            lane.ok_or(FhirError::Unexpected("component (lane)"))
        });
        let reason = reason.ok_or(FhirError::Unexpected("dataAbsentReason"))?;
        Ok(Gap {
            lane: lane.transpose()?,
            first: self.number("first")?,
            count: self.number("count")?,
            reason,
        })
    }

    /// Finds the channel that a component names as the source.
    fn source(&self, kind: Kind) -> Result<Option<ChannelDescriptor<'s>>, FhirError> {
        let Some(part) = self.part("source") else { return Ok(None) };
        let concept = part.value_codeable_concept.as_ref();
        self.channel(kind, concept.ok_or(FhirError::Missing("component (source)"))?).map(Some)
    }

    fn annotation(&self) -> Result<Note, FhirError> {
        let code = match &self.observation.value_codeable_concept {
            Some(concept) => terms::code(concept).ok_or(FhirError::Unexpected("valueCodeableConcept"))?,
            None => 0,
        };
        let span = match &self.observation.effective_period {
            None => Duration::ZERO,
            Some(period) => {
                let span = Extension::find(&period.extension, SPAN);
                let span = span.and_then(|span| span.value_decimal.as_ref()?.whole());
                Duration::from_millis(span.ok_or(FhirError::Missing("effectivePeriod.extension"))?)
            }
        };
        let text = self.observation.note.first().map(|note| note.text.clone()).unwrap_or_default();
        if text.len() > MAX_ANNOTATION_TEXT || span.as_millis() > u32::MAX.into() {
            return Err(FhirError::Unexpected("note or effectivePeriod"));
        }
        let channel = self.source(Kind::Annotation)?.map(|channel| channel.number);
        Ok(Note { channel, mode: mode(&self.observation.meta)?, code, span, text })
    }

    fn alarm_limits(&self) -> Result<AlarmLimits, FhirError> {
        let source = self.source(Kind::AlarmLimits)?;
        let channel = source.ok_or(FhirError::Missing("component (source)"))?;
        let mut limits = AlarmLimits::new(channel.number);
        limits.mode = mode(&self.observation.meta)?;
        let component = self.number("component")?;
        limits.component = u8::try_from(component).map_err(|_| FhirError::Unexpected("component"))?;
        let component = channel.components.iter().nth(limits.component.into());
        let component = component.ok_or(FhirError::Unexpected("component"))?;
        let part = self.part("value").ok_or(FhirError::Missing("component (value)"))?;
        (limits.low, limits.high) = range(&component, part)?;
        Ok(limits)
    }

    /// Reads one of our own components that is a number.
    fn number(&self, name: &'static str) -> Result<u64, FhirError> {
        let quantity = self.part(name).and_then(|part| part.value_quantity.as_ref());
        let exact = quantity.filter(|quantity| quantity.comparator.is_none());
        let number = exact.and_then(|quantity| quantity.value.as_ref()?.whole());
        number.ok_or(FhirError::Missing("component (a number)"))
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

/// Reads the limits of an alarm.
fn range(
    component: &Component,
    part: &ObservationComponent,
) -> Result<(Option<i32>, Option<i32>), FhirError> {
    let Some(range) = part.reference_range.first() else { return Ok((None, None)) };
    let raw = |limit| terms::raw(component, limit);
    Ok((range.low.as_ref().map(raw).transpose()?, range.high.as_ref().map(raw).transpose()?))
}

/// Returns the one quality of all values of a block; where none is there, there is nothing to doubt.
fn common(mut qualities: impl Iterator<Item = Quality>) -> Result<Quality, FhirError> {
    let first = qualities.next().unwrap_or_default();
    if qualities.all(|quality| quality == first) {
        Ok(first)
    } else {
        Err(FhirError::Unexpected("interpretation"))
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
    let sample = |text: &str| match text.parse() {
        Ok(sample) if !text.starts_with('+') => Ok(sample),
        _ => Err(unexpected()),
    };
    text.split(' ').map(sample).collect()
}
