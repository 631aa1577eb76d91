//! Values with their quality, absence and mode: the same for Observations and their components.

use super::observation::{Observation, ObservationComponent};
use super::systems::{
    ABSENCE, ACT_REASON, DATA_ABSENT_REASON, INVALID_VALUE, MEASUREMENT_STATUS, MODE, PRIVATE,
};
use super::types::{CodeableConcept, Coding, Extension, Meta, Quantity, SampledData};
use super::{FhirError, terms};
use crate::framing::{Absence, Component, Mode, Quality, Value};

/// What was measured.
pub(super) enum Amount {
    Quantity(Quantity),
    Samples(SampledData),
}

/// What an Observation or a component says about its value.
#[derive(Default)]
pub(super) struct Outcome {
    quantity: Option<Quantity>,
    samples: Option<SampledData>,
    absent: Option<CodeableConcept>,
    interpretation: Vec<CodeableConcept>,
}

impl Outcome {
    /// Writes an amount that is there.
    ///
    /// What is known to be wrong is no value for a reader who looks no further: as HL7's IG "Personal Health Device"
    /// has it, it is absent because of an error; the number stands in an extension.
    pub(super) fn present(amount: Amount, quality: Quality) -> Self {
        let status = |code: &str| vec![CodeableConcept::from(Coding::new(MEASUREMENT_STATUS, code))];
        let interpretation = match quality {
            Quality::Valid => Vec::new(),
            Quality::Questionable => status("questionable"),
            Quality::Calibrating => status("calibration-ongoing"),
            Quality::Invalid => {
                let mut extension = Extension::new(INVALID_VALUE);
                match amount {
                    Amount::Quantity(quantity) => extension.value_quantity = Some(quantity),
                    Amount::Samples(samples) => extension.value_sampled_data = Some(Box::new(samples)),
                }
                let mut reason = reason("error", Some("invalid"));
                reason.extension.push(extension);
                return Self { absent: Some(reason), ..Self::default() };
            }
        };
        let (quantity, samples) = match amount {
            Amount::Quantity(quantity) => (Some(quantity), None),
            Amount::Samples(samples) => (None, Some(samples)),
        };
        Self { quantity, samples, absent: None, interpretation }
    }

    /// Writes that there is no value, and why.
    pub(super) fn absent(absence: Absence) -> Self {
        let (standard, own) = absence_codes(absence);
        Self { absent: Some(reason(standard, Some(own))), ..Self::default() }
    }

    /// Writes a value of a measurement.
    pub(super) fn of(component: &Component, value: Value) -> Result<Self, FhirError> {
        Ok(match value {
            Value::Present(raw, quality) => {
                Self::present(Amount::Quantity(terms::quantity(component, raw)?), quality)
            }
            Value::Absent(absence) => Self::absent(absence),
        })
    }

    pub(super) fn put(self, observation: &mut Observation) {
        observation.value_quantity = self.quantity;
        observation.value_sampled_data = self.samples;
        observation.data_absent_reason = self.absent;
        observation.interpretation = self.interpretation;
    }

    pub(super) fn component(self, code: CodeableConcept) -> ObservationComponent {
        ObservationComponent {
            code,
            value_quantity: self.quantity,
            value_sampled_data: self.samples,
            data_absent_reason: self.absent,
            interpretation: self.interpretation,
            ..ObservationComponent::default()
        }
    }
}

/// Makes a reason why there is no value: R4's code, and ours if it says more.
pub(super) fn reason(standard: &str, own: Option<&str>) -> CodeableConcept {
    let mut concept = CodeableConcept::from(Coding::new(DATA_ABSENT_REASON, standard));
    concept.coding.extend(own.map(|own| Coding::new(ABSENCE, own)));
    concept
}

const ABSENCES: [Absence; 7] = [
    Absence::Unknown,
    Absence::NotMeasured,
    Absence::SensorOff,
    Absence::Failed,
    Absence::Overflow,
    Absence::Underflow,
    Absence::Withheld,
];

/// Returns R4's code and our own one.
const fn absence_codes(absence: Absence) -> (&'static str, &'static str) {
    match absence {
        Absence::Unknown => ("unknown", "unknown"),
        Absence::NotMeasured => ("not-performed", "not-measured"),
        // nothing can have been measured
        Absence::SensorOff => ("not-performed", "sensor-off"),
        Absence::Failed => ("error", "failed"),
        // R4's words for what 11073-20601 writes as +INFINITY and −INFINITY
        Absence::Overflow => ("positive-infinity", "overflow"),
        Absence::Underflow => ("negative-infinity", "underflow"),
        Absence::Withheld => ("masked", "withheld"),
    }
}

/// The value of an Observation or of a component, to be read.
pub(super) struct Found<'a> {
    quantity: Option<&'a Quantity>,
    samples: Option<&'a SampledData>,
    absent: Option<&'a CodeableConcept>,
    interpretation: &'a [CodeableConcept],
}

impl<'a> From<&'a Observation> for Found<'a> {
    fn from(from: &'a Observation) -> Self {
        Self {
            quantity: from.value_quantity.as_ref(),
            samples: from.value_sampled_data.as_ref(),
            absent: from.data_absent_reason.as_ref(),
            interpretation: &from.interpretation,
        }
    }
}

impl<'a> From<&'a ObservationComponent> for Found<'a> {
    fn from(from: &'a ObservationComponent) -> Self {
        Self {
            quantity: from.value_quantity.as_ref(),
            samples: from.value_sampled_data.as_ref(),
            absent: from.data_absent_reason.as_ref(),
            interpretation: &from.interpretation,
        }
    }
}

impl<'a> Found<'a> {
    /// Reads a value of a measurement.
    pub(super) fn value(&self, component: &Component) -> Result<Value, FhirError> {
        let (quantity, quality) = match self.absent {
            None => (self.quantity, self.quality()?),
            Some(reason) => match self.absence(reason)? {
                Some(absence) => return Ok(Value::Absent(absence)),
                None => (invalid(reason).and_then(|found| found.value_quantity.as_ref()), Quality::Invalid),
            },
        };
        let quantity = quantity.ok_or(FhirError::Missing("valueQuantity"))?;
        Ok(Value::Present(terms::raw(component, quantity)?, quality))
    }

    /// Reads samples with their quality, or why there are none.
    pub(super) fn samples(&self) -> Result<Result<(&'a SampledData, Quality), Absence>, FhirError> {
        let (samples, quality) = match self.absent {
            None => (self.samples, self.quality()?),
            Some(reason) => match self.absence(reason)? {
                Some(absence) => return Ok(Err(absence)),
                None => {
                    (invalid(reason).and_then(|found| found.value_sampled_data.as_deref()), Quality::Invalid)
                }
            },
        };
        Ok(Ok((samples.ok_or(FhirError::Missing("valueSampledData"))?, quality)))
    }

    /// Returns why there is no value, or `None` if the value is invalid.
    fn absence(&self, reason: &CodeableConcept) -> Result<Option<Absence>, FhirError> {
        const UNEXPECTED: FhirError = FhirError::Unexpected("dataAbsentReason");
        if self.quantity.is_some() || self.samples.is_some() {
            return Err(UNEXPECTED);
        }
        let own = reason.code_in(ABSENCE).ok_or(UNEXPECTED)?;
        if own == "invalid" {
            return Ok(None);
        }
        let found = ABSENCES.into_iter().find(|&absence| absence_codes(absence).1 == own);
        found.map(Some).ok_or(UNEXPECTED)
    }

    fn quality(&self) -> Result<Quality, FhirError> {
        let mut codes = self.interpretation.iter().filter_map(|concept| concept.code_in(MEASUREMENT_STATUS));
        match codes.next() {
            None => Ok(Quality::Valid),
            Some("questionable") => Ok(Quality::Questionable),
            Some("calibration-ongoing") => Ok(Quality::Calibrating),
            Some(_) => Err(FhirError::Unexpected("interpretation")),
        }
    }
}

fn invalid(reason: &CodeableConcept) -> Option<&Extension> {
    Extension::find(&reason.extension, INVALID_VALUE)
}

/// Marks what is no patient's, so that nobody takes it for that.
pub(super) fn mark(meta: &mut Meta, mode: Mode) {
    let own = match mode {
        Mode::Real => return,
        Mode::Test => "test",
        Mode::Demonstration => "demonstration",
    };
    let mut label = Coding::new(ACT_REASON, "HTEST");
    label.display = Some("test health data".to_owned());
    meta.security.push(label);
    meta.tag.push(Coding::new(MODE, own));
}

/// Reads how the values came to be; test data of an unknown kind is refused, never taken for real.
pub(super) fn mode(meta: &Meta) -> Result<Mode, FhirError> {
    let has = |coding: &Coding, system, code| {
        coding.system.as_deref() == Some(system) && coding.code.as_deref() == Some(code)
    };
    let test = meta.security.iter().any(|label| has(label, ACT_REASON, "HTEST"));
    let tag = |code| meta.tag.iter().any(|tag| has(tag, MODE, code));
    match (test, tag("test"), tag("demonstration")) {
        (false, false, false) => Ok(Mode::Real),
        (true, true, false) => Ok(Mode::Test),
        (true, false, true) => Ok(Mode::Demonstration),
        _ => Err(FhirError::Unexpected("meta")),
    }
}

/// Tells whether a concept is one of ours.
pub(super) fn is(concept: &CodeableConcept, system: &str, code: &str) -> bool {
    concept.code_in(system) == Some(code)
}

/// Makes one of our own concepts.
pub(super) fn own(system: &str, code: &str) -> CodeableConcept {
    debug_assert_ne!(system, PRIVATE, "those are numbers");
    Coding::new(system, code).into()
}
