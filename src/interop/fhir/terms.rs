//! Codes and units as FHIR writes them.

use super::FhirError;
use super::systems::{LOINC, MDC, PRIVATE, UCUM};
use super::types::{CodeableConcept, Coding, Quantity};
use crate::clinical::{self, Evidence};
use crate::framing::{ChannelDescriptor, Component};

/// Tells whether a code is none of the public ISO/IEEE 11073-10101 codes.
///
/// Partition 0 has none, partition 1024 is private, and so are the terms from 0xf000 on in the others.
const fn is_private(code: u32) -> bool {
    matches!(code >> 16, 0 | 1024) || code & 0xffff >= 0xf000
}

const fn system(code: u32) -> &'static str {
    if is_private(code) { PRIVATE } else { MDC }
}

/// Writes a code with its reference identifier.
fn mdc_coding(code: u32) -> Coding {
    let mut coding = Coding::new(system(code), &code.to_string());
    coding.display = clinical::term(code).map(|term| term.refid.to_owned());
    coding
}

/// Lists the LOINC codes that are known to mean the same from more than one source.
///
/// With another unit than the usual one they may not: LOINC has one code for mg/dL of glucose, another for mmol/L.
fn loinc(code: u32, unit: Option<u32>) -> &'static [&'static str] {
    match clinical::term(code) {
        Some(term)
            if term.loinc_evidence == Evidence::Confirmed && unit.is_none_or(|unit| unit == term.unit) =>
        {
            term.loinc
        }
        _ => &[],
    }
}

/// Writes a code in every system that has it; `unit` is that of the value, if it has one.
fn codings(code: u32, unit: Option<u32>) -> impl Iterator<Item = Coding> {
    let loinc = loinc(code, unit).iter().map(|code| Coding::new(LOINC, code));
    core::iter::once(mdc_coding(code)).chain(loinc)
}

/// Writes a code in every system that has it, and says what it means.
pub(super) fn concept(code: u32, unit: Option<u32>) -> CodeableConcept {
    let text = clinical::term(code).map(|term| term.name.to_owned());
    CodeableConcept { coding: codings(code, unit).collect(), text, ..CodeableConcept::default() }
}

/// Writes the code of a channel as a whole, with the LOINC codes that go with its own unit, if it has one.
pub(super) fn channel_concept(channel: &ChannelDescriptor<'_>) -> CodeableConcept {
    let own = channel.components.iter().find(|component| component.metric == channel.metric);
    concept(channel.metric, own.map(|own| own.unit))
}

/// Reads the code that [`concept`] wrote: the first one of the two systems.
pub(super) fn code(concept: &CodeableConcept) -> Option<u32> {
    let known = |coding: &&Coding| matches!(coding.system.as_deref(), Some(MDC | PRIVATE));
    let coding = concept.coding.iter().find(known)?;
    let text = coding.code.as_deref()?;
    let code = text.parse().ok()?;
    (coding.system.as_deref() == Some(system(code)) && code.to_string() == text).then_some(code)
}

/// Writes a unit.
pub(super) fn unit_concept(unit: u32) -> Option<CodeableConcept> {
    let quantity = with_unit(unit);
    Some(Coding { system: quantity.system, code: Some(quantity.code?), display: quantity.unit }.into())
}

/// Makes a quantity that has no value yet: in UCUM, or in the code of a unit that UCUM is not known for.
pub(super) fn with_unit(unit: u32) -> Quantity {
    let (name, system, code) = match clinical::unit(unit) {
        Some(known) => (known.ucum.to_owned(), UCUM, known.ucum.to_owned()),
        None if unit == 0 => return Quantity::default(),
        None => (unit.to_string(), system(unit), unit.to_string()),
    };
    Quantity { unit: Some(name), system: Some(system.to_owned()), code: Some(code), ..Quantity::default() }
}

/// Writes a raw value as the physical one.
pub(super) fn quantity(component: &Component, raw: i32) -> Result<Quantity, FhirError> {
    let value = component.physical(raw).ok_or(FhirError::Number)?;
    Ok(Quantity { value: Some(value.into()), ..with_unit(component.unit) })
}

/// Recovers the raw value.
pub(super) fn raw(component: &Component, quantity: &Quantity) -> Result<i32, FhirError> {
    let expected = with_unit(component.unit);
    if (&quantity.system, &quantity.code) != (&expected.system, &expected.code) {
        return Err(FhirError::Unit);
    }
    if quantity.comparator.is_some() {
        return Err(FhirError::Unexpected("valueQuantity.comparator"));
    }
    let value = quantity.value.as_ref().ok_or(FhirError::Missing("valueQuantity.value"))?;
    component.raw(value.decimal()?).ok_or(FhirError::Scale)
}

/// A profile of the vital signs of HL7 FHIR R4 ("Vital Signs").
pub(super) struct VitalSign {
    /// The LOINC code that the profile asks for.
    loinc: &'static str,
    /// The profile's address.
    pub(super) profile: &'static str,
    /// The units that it allows, in UCUM.
    units: &'static [&'static str],
    /// The components that it asks for, in LOINC; none: a value.
    components: &'static [&'static str],
}

macro_rules! vital_sign {
    ($loinc:literal, $profile:literal, $units:expr, $components:expr) => {
        VitalSign {
            loinc: $loinc,
            profile: concat!("http://hl7.org/fhir/StructureDefinition/", $profile),
            units: &$units,
            components: &$components,
        }
    };
}

const VITAL_SIGNS: [VitalSign; 6] = [
    vital_sign!("8867-4", "heartrate", ["/min"], []),
    vital_sign!("9279-1", "resprate", ["/min"], []),
    vital_sign!("2708-6", "oxygensat", ["%"], []),
    vital_sign!("8310-5", "bodytemp", ["Cel", "[degF]"], []),
    vital_sign!("29463-7", "bodyweight", ["g", "kg", "[lb_av]"], []),
    vital_sign!("85354-9", "bp", ["mm[Hg]"], ["8480-6", "8462-4"]),
];

impl VitalSign {
    fn of(code: u32, unit: Option<u32>) -> Option<&'static Self> {
        VITAL_SIGNS.iter().find(|sign| loinc(code, unit).contains(&sign.loinc))
    }

    /// Finds the vital sign that a channel's Observations are, with codes and units as the profile asks.
    pub(super) fn of_channel(channel: &ChannelDescriptor<'_>) -> Option<&'static Self> {
        let own = primary(channel).and_then(|at| channel.components.iter().nth(at));
        let sign = match &own {
            Some(own) => Self::of(own.metric, Some(own.unit))?,
            None => Self::of(channel.metric, None)?,
        };
        let unit = |component: &Component| {
            clinical::unit(component.unit).is_some_and(|unit| sign.units.contains(&unit.ucum))
        };
        // each component once, as the profile has it
        let once = |code: &&str| {
            let is_it = |part: &Component| loinc(part.metric, Some(part.unit)).contains(code);
            let mut found = channel.components.iter().filter(is_it);
            found.next().is_some_and(|part| unit(&part)) && found.next().is_none()
        };
        let holds = match own {
            Some(own) => sign.components.is_empty() && unit(&own),
            None => !sign.components.is_empty() && sign.components.iter().all(once),
        };
        holds.then_some(sign)
    }
}

/// Returns the component whose value is the Observation's own; the others are its components.
///
/// It is the one with the channel's own metric. A channel with a private code that starts with a vital sign
/// (saturation with pulse rate) lends its Observation to that, so that a hospital finds it.
pub(super) fn primary(channel: &ChannelDescriptor<'_>) -> Option<usize> {
    let alone = |metric: u32| {
        let mut at = channel.components.iter().enumerate().filter(|(_, part)| part.metric == metric);
        let (first, _) = at.next()?;
        at.next().is_none().then_some(first)
    };
    alone(channel.metric).or_else(|| {
        let first = channel.components.iter().next()?;
        let lent = is_private(channel.metric)
            && VitalSign::of(first.metric, Some(first.unit)).is_some()
            && channel.components.iter().all(|part| part.metric != channel.metric);
        lent.then(|| alone(first.metric)).flatten()
    })
}

/// Writes the Observation's code: the channel's, and that of the component whose value it has.
pub(super) fn observation_code(channel: &ChannelDescriptor<'_>) -> CodeableConcept {
    let own = primary(channel).and_then(|at| channel.components.iter().nth(at));
    match own {
        Some(own) if own.metric != channel.metric => {
            let mut code = concept(channel.metric, None);
            code.coding.extend(codings(own.metric, Some(own.unit)));
            code
        }
        own => concept(channel.metric, own.map(|own| own.unit)),
    }
}

/// Writes the code of a component beside the Observation's own value, without what that has already.
///
/// R4 forbids one code for both (obs-7), as with two pulse rates of different origin.
pub(super) fn component_code(component: &Component, beside: Option<&CodeableConcept>) -> CodeableConcept {
    let mut code = concept(component.metric, Some(component.unit));
    if let Some(observation) = beside {
        code.coding.retain(|coding| !observation.coding.contains(coding));
    }
    code
}
