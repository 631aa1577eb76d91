//! Records to Observations.

use super::context::Context;
use super::id::lane_name;
use super::observation::{Observation, ObservationComponent, ReferenceRange};
use super::systems::{ALARM, FIRST_SAMPLE, GAP, KIND, LANE, PART, RATE, SAMPLES, SPAN, UCUM};
use super::types::{CodeableConcept, Extension, Quantity, Ratio, SampledData};
use super::value::{Amount, Outcome, own, reason};
use super::{FhirError, Kind, Number, terms};
use crate::clinical::mdc;
use crate::framing::{
    Absence, Alarm, AlarmKind, AlarmLimits, Annotation, BatchRecord, ChannelDescriptor, Component, Decimal,
    Event, Gap, GapReason, Measurement, Mode, Phase, Priority, Rate, TrendBlock, Value, WaveformBlock,
};
use crate::time::{Duration, Instant};

impl Context<'_> {
    pub(super) fn measurement(
        &self,
        record: &BatchRecord<'_>,
        measurement: &Measurement,
    ) -> Result<Observation, FhirError> {
        let channel = self.channel(measurement.channel, Kind::Measurement)?;
        let code = terms::observation_code(&channel);
        let base = self.base(record, None, Kind::Measurement, measurement.mode, code);
        self.numeric(base, &channel, Kind::Measurement, record.time, &measurement.values)
    }

    pub(super) fn trend(
        &self,
        record: &BatchRecord<'_>,
        block: &TrendBlock<'_>,
    ) -> Result<Vec<Observation>, FhirError> {
        let channel = self.channel(block.channel, Kind::Trend)?;
        let point = |(index, (offset, point)): (u32, (Duration, Measurement))| {
            let code = terms::observation_code(&channel);
            let base = self.base(record, Some(index), Kind::Trend, point.mode, code);
            self.numeric(base, &channel, Kind::Trend, record.time + offset, &point.values)
        };
        (0u32..).zip(block.measurements()).map(point).collect()
    }

    /// Writes the values of a numeric channel at one time.
    fn numeric(
        &self,
        mut observation: Observation,
        channel: &ChannelDescriptor<'_>,
        kind: Kind,
        time: Instant,
        values: &[Value],
    ) -> Result<Observation, FhirError> {
        if values.len() != channel.components.len() {
            return Err(FhirError::WrongKind);
        }
        self.set_time(&mut observation, time, None)?;
        self.set_channel(&mut observation, kind, channel);
        self.set_profile(&mut observation, channel);
        let outcomes = channel.components.iter().zip(values).map(|(component, &value)| {
            let outcome = Outcome::of(&component, value)?;
            Ok((component, outcome))
        });
        put_all(&mut observation, channel, outcomes)?;
        Ok(observation)
    }

    pub(super) fn waveform(
        &self,
        record: &BatchRecord<'_>,
        block: &WaveformBlock<'_>,
    ) -> Result<Observation, FhirError> {
        let channel = self.channel(block.channel, Kind::Waveform)?;
        let rate = channel.rate.ok_or(FhirError::WrongKind)?;
        let code = terms::observation_code(&channel);
        let mut observation = self.base(record, None, Kind::Waveform, block.status.mode, code);
        let span = rate.span(block.len().saturating_sub(1) as u64);
        self.set_time(&mut observation, record.time, Some(record.time + span))?;
        self.set_channel(&mut observation, Kind::Waveform, &channel);
        let mut first = Extension::new(FIRST_SAMPLE);
        first.value_decimal = Some(block.first_sample.into());
        observation.extension.push(first);
        let (period, exact) = period(rate).ok_or(FhirError::WrongKind)?;
        if !exact {
            observation.extension.push(rate_extension(rate));
        }
        if block.components() != channel.components.len() {
            return Err(FhirError::WrongKind);
        }
        if (0..block.components()).all(|at| block.absence(at).is_some()) {
            let mut samples = Extension::new(SAMPLES);
            samples.value_unsigned_int = Some(u32::try_from(block.len()).map_err(|_| FhirError::WrongKind)?);
            observation.extension.push(samples);
        }
        let outcomes = channel.components.iter().enumerate().map(|(at, component)| {
            if let Some(absence) = block.absence(at) {
                return Ok((component, Outcome::absent(absence)));
            }
            let samples = sampled(&component, &period, block.component(at));
            Ok((component, Outcome::present(Amount::Samples(samples), block.status.quality)))
        });
        put_all(&mut observation, &channel, outcomes)?;
        Ok(observation)
    }

    pub(super) fn event(&self, record: &BatchRecord<'_>, event: &Event) -> Result<Observation, FhirError> {
        let channel = self.channel(event.channel, Kind::Event)?;
        let code = terms::channel_concept(&channel);
        let mut observation = self.base(record, None, Kind::Event, event.mode, code);
        self.set_time(&mut observation, record.time, None)?;
        self.set_channel(&mut observation, Kind::Event, &channel);
        observation.value_codeable_concept = Some(terms::concept(event.code, None));
        if let Some(raw) = event.value {
            let component = channel.components.iter().next().ok_or(FhirError::WrongKind)?;
            let mut code = own(PART, "amount");
            code.coding.extend(terms::component_code(&component, Some(&observation.code)).coding);
            let amount = Value::Present(raw, Default::default());
            observation.component.push(Outcome::of(&component, amount)?.component(code));
        }
        Ok(observation)
    }

    pub(super) fn alarm(&self, record: &BatchRecord<'_>, alarm: &Alarm) -> Result<Observation, FhirError> {
        let channel = self.channel(alarm.channel, Kind::Alarm)?;
        let code = terms::concept(alarm.code, None);
        let mut observation = self.base(record, None, Kind::Alarm, alarm.mode, code);
        self.set_time(&mut observation, record.time, None)?;
        self.set_channel(&mut observation, Kind::Alarm, &channel);
        let (phase, state) = phase_codes(alarm.phase);
        observation.component = vec![
            part(terms::concept(mdc::ATTR_ALERT_TYPE, None), own(ALARM, kind_code(alarm.kind))),
            part(terms::concept(mdc::ATTR_ALARM_PRIORITY, None), own(ALARM, priority_code(alarm.priority))),
            part(terms::concept(mdc::ATTR_EVENT_PHASE, None), own(ALARM, phase)),
            part(terms::concept(mdc::ATTR_ALARM_STATE, None), own(ALARM, state)),
            part(own(PART, "source"), terms::channel_concept(&channel)),
        ];
        if (alarm.value, alarm.low_limit, alarm.high_limit) != (None, None, None) {
            let component = channel.components.iter().next().ok_or(FhirError::WrongKind)?;
            observation.component.push(alarm_value(&component, alarm)?);
        }
        Ok(observation)
    }

    pub(super) fn gap(&self, record: &BatchRecord<'_>, gap: &Gap) -> Result<Observation, FhirError> {
        let mut observation = self.base(record, None, Kind::Gap, Mode::Real, own(KIND, Kind::Gap.name()));
        self.set_time(&mut observation, record.time, None)?;
        let (standard, ours) = gap_codes(gap.reason);
        let mut why = reason(standard, None);
        why.coding.extend(own(GAP, ours).coding);
        observation.data_absent_reason = Some(why);
        let lane = gap.lane.map(|lane| part(own(PART, "lane"), own(LANE, lane_name(lane))));
        observation.component.extend(lane);
        observation.component.extend([count("first", gap.first), count("count", gap.count)]);
        Ok(observation)
    }

    pub(super) fn annotation(
        &self,
        record: &BatchRecord<'_>,
        annotation: &Annotation<'_>,
    ) -> Result<Observation, FhirError> {
        let kind = Kind::Annotation;
        let mut observation = self.base(record, None, kind, annotation.mode, own(KIND, kind.name()));
        let end = (annotation.span > Duration::ZERO).then(|| record.time + annotation.span);
        self.set_time(&mut observation, record.time, end)?;
        if let Some(period) = &mut observation.effective_period {
            let mut span = Extension::new(SPAN);
            span.value_decimal = Some(annotation.span.as_millis().into());
            period.extension.push(span);
        }
        match annotation.code {
            0 => observation.data_absent_reason = Some(reason("as-text", None)),
            code => observation.value_codeable_concept = Some(terms::concept(code, None)),
        }
        if !annotation.text.is_empty() {
            observation.note.push(super::types::Annotation { text: annotation.text.to_owned() });
        }
        if let Some(number) = annotation.channel {
            let channel = self.channel(number, kind)?;
            self.set_channel(&mut observation, kind, &channel);
            observation.component.push(part(own(PART, "source"), terms::channel_concept(&channel)));
        }
        Ok(observation)
    }

    pub(super) fn alarm_limits(
        &self,
        record: &BatchRecord<'_>,
        limits: &AlarmLimits,
    ) -> Result<Observation, FhirError> {
        let kind = Kind::AlarmLimits;
        let channel = self.channel(limits.channel, kind)?;
        let component = channel.components.iter().nth(limits.component.into()).ok_or(FhirError::WrongKind)?;
        let mut observation = self.base(record, None, kind, limits.mode, own(KIND, kind.name()));
        self.set_time(&mut observation, record.time, None)?;
        self.set_channel(&mut observation, kind, &channel);
        let mut code = own(PART, "value");
        code.coding.extend(terms::concept(component.metric, Some(component.unit)).coding);
        observation.component = vec![
            part(own(PART, "source"), terms::channel_concept(&channel)),
            count("component", limits.component.into()),
            ObservationComponent {
                code,
                data_absent_reason: Some(reason("not-applicable", None)),
                reference_range: range(&component, limits.low, limits.high)?,
                ..ObservationComponent::default()
            },
        ];
        Ok(observation)
    }
}

/// Puts each component's value where it belongs: one to the Observation itself, if its code is its own.
fn put_all(
    observation: &mut Observation,
    channel: &ChannelDescriptor<'_>,
    outcomes: impl Iterator<Item = Result<(Component, Outcome), FhirError>>,
) -> Result<(), FhirError> {
    let primary = terms::primary(channel);
    for (at, outcome) in outcomes.enumerate() {
        let (component, outcome) = outcome?;
        if primary == Some(at) {
            outcome.put(observation);
        } else {
            let code = terms::component_code(&component, primary.map(|_| &observation.code));
            observation.component.push(outcome.component(code));
        }
    }
    Ok(())
}

/// Writes samples as they are, with what turns them into physical values.
fn sampled(component: &Component, period: &Number, samples: impl Iterator<Item = i32>) -> SampledData {
    let mut data = String::new();
    for sample in samples {
        if !data.is_empty() {
            data.push(' ');
        }
        data.push_str(&sample.to_string());
    }
    SampledData {
        origin: Quantity { value: Some(component.offset.into()), ..terms::with_unit(component.unit) },
        period: period.clone(),
        factor: (component.scale != Decimal::ONE).then(|| component.scale.into()),
        dimensions: 1,
        data: Some(data),
    }
}

/// Returns the time between two samples in milliseconds, to nine places, and whether that is exact.
pub(super) fn period(rate: Rate) -> Option<(Number, bool)> {
    let numerator = u128::from(rate.numerator);
    let span = u128::from(rate.denominator).checked_mul(1000)?;
    let of = |places: u32| -> Option<(u128, u128)> {
        let scaled = span.checked_mul(10u128.checked_pow(places)?)?;
        Some((scaled.checked_div(numerator)?, scaled.checked_rem(numerator)?))
    };
    let number = |mantissa: u128, places: i8| -> Option<Number> {
        Some(Decimal { mantissa: i64::try_from(mantissa).ok()?, exponent: places.checked_neg()? }.into())
    };
    for places in 0..=9i8 {
        if let (quotient, 0) = of(places.unsigned_abs().into())? {
            return Some((number(quotient, places)?, true));
        }
    }
    let (quotient, rest) = of(9)?;
    let up = u128::from(rest.checked_mul(2)? >= numerator);
    Some((number(quotient.checked_add(up)?, 9)?, false))
}

fn rate_extension(rate: Rate) -> Extension {
    let amount = |number: u32, unit: Quantity| Quantity { value: Some(u64::from(number).into()), ..unit };
    let seconds = Quantity {
        unit: Some("s".to_owned()),
        system: Some(UCUM.to_owned()),
        code: Some("s".to_owned()),
        ..Quantity::default()
    };
    let mut extension = Extension::new(RATE);
    extension.value_ratio = Some(Ratio {
        numerator: amount(rate.numerator, terms::with_unit(mdc::unit::DIMLESS)),
        denominator: amount(rate.denominator, seconds),
    });
    extension
}

fn part(code: CodeableConcept, value: CodeableConcept) -> ObservationComponent {
    ObservationComponent { code, value_codeable_concept: Some(value), ..ObservationComponent::default() }
}

fn alarm_value(component: &Component, alarm: &Alarm) -> Result<ObservationComponent, FhirError> {
    let mut code = own(PART, "value");
    code.coding.extend(terms::concept(component.metric, Some(component.unit)).coding);
    let value =
        alarm.value.map_or(Value::Absent(Absence::Unknown), |raw| Value::Present(raw, Default::default()));
    let mut part = Outcome::of(component, value)?.component(code);
    part.reference_range = range(component, alarm.low_limit, alarm.high_limit)?;
    Ok(part)
}

/// Writes the limits of an alarm; none at all without limits.
fn range(
    component: &Component,
    low: Option<i32>,
    high: Option<i32>,
) -> Result<Vec<ReferenceRange>, FhirError> {
    if (low, high) == (None, None) {
        return Ok(Vec::new());
    }
    let limit = |raw: Option<i32>| raw.map(|raw| terms::quantity(component, raw)).transpose();
    let kind = Some(own(PART, "alarm-limits"));
    Ok(vec![ReferenceRange { low: limit(low)?, high: limit(high)?, kind }])
}

fn count(name: &str, number: u64) -> ObservationComponent {
    let quantity = Quantity { value: Some(number.into()), ..terms::with_unit(mdc::unit::DIMLESS) };
    ObservationComponent {
        code: own(PART, name),
        value_quantity: Some(quantity),
        ..ObservationComponent::default()
    }
}

pub(super) const ALARM_KINDS: [AlarmKind; 2] = [AlarmKind::Physiological, AlarmKind::Technical];

pub(super) const fn kind_code(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::Physiological => "physiological",
        AlarmKind::Technical => "technical",
    }
}

pub(super) const PRIORITIES: [Priority; 4] =
    [Priority::Informational, Priority::Low, Priority::Medium, Priority::High];

pub(super) const fn priority_code(priority: Priority) -> &'static str {
    match priority {
        Priority::Informational => "informational",
        Priority::Low => "low",
        Priority::Medium => "medium",
        Priority::High => "high",
    }
}

pub(super) const PHASES: [Phase; 6] =
    [Phase::Start, Phase::Continue, Phase::End, Phase::Latched, Phase::Acknowledged, Phase::Inactivated];

/// Returns the phase of the condition, and the state of its signal.
pub(super) const fn phase_codes(phase: Phase) -> (&'static str, &'static str) {
    match phase {
        Phase::Start => ("start", "active"),
        Phase::Continue => ("continue", "active"),
        Phase::End => ("end", "inactive"),
        Phase::Latched => ("end", "latched"),
        Phase::Acknowledged => ("continue", "acknowledged"),
        Phase::Inactivated => ("continue", "inactivated"),
    }
}

pub(super) const GAP_REASONS: [GapReason; 5] = [
    GapReason::Unknown,
    GapReason::OutboxFull,
    GapReason::PowerLoss,
    GapReason::StorageFailed,
    GapReason::Expired,
];

/// Returns R4's code and our own one.
pub(super) const fn gap_codes(reason: GapReason) -> (&'static str, &'static str) {
    match reason {
        GapReason::Unknown => ("unknown", "unknown"),
        GapReason::OutboxFull => ("error", "outbox-full"),
        GapReason::PowerLoss => ("error", "power-loss"),
        GapReason::StorageFailed => ("error", "storage-failed"),
        // dropped on purpose: a step of the workflow, which R4 calls an error of it
        GapReason::Expired => ("error", "expired"),
    }
}
