//! Records as HL7 FHIR R4 (4.0.1) resources, and back.
//!
//! For services that hand on to a hospital what devices tell: [`Context::observations`] writes a record as
//! Observations, [`parse`] reads them again, exactly, down to the last digit. [`Bundle`] puts them together for an
//! upload that may be repeated. Knows no HTTP: what it gives is JSON text ([`to_json`], [`from_json`]).
//!
//! | record | resource |
//! |---|---|
//! | measurement | Observation, `valueQuantity`; several components: `component` |
//! | … of a vital sign | with its LOINC code, category `vital-signs` and, with subject and clock, the R4 profile in `meta` |
//! | … absent | `dataAbsentReason` and no value |
//! | … questionable, calibrating | `interpretation` `questionable`, `calibration-ongoing` |
//! | … invalid | `dataAbsentReason` `error`; the number stands in an extension of it |
//! | trend | one Observation like a measurement for each point: profiles of vital signs allow nothing else |
//! | waveform | Observation, `valueSampledData` with the raw samples, `effectivePeriod`; several components (leads, axes): `component` |
//! | event | Observation of the channel's code, `valueCodeableConcept`; an amount as `component` |
//! | alarm | Observation of the alarm's code, components for priority, phase, state, type, source and value; limits as `referenceRange` |
//! | gap | Observation with `dataAbsentReason` |
//! | annotation | Observation, the code in `valueCodeableConcept`, the text in `note` |
//! | alarm limits | Observation, `referenceRange` of a component without value |
//! | other extension | none: [`FhirError::NoForm`] |
//! | descriptor set | Device ([`Context::device_resource`]) |
//!
//! Test and demonstration data has the security label `HTEST` and no subject, so that nobody takes it for a patient's.
//! SPEC.md, "FHIR", has the whole mapping, so that other implementations write the same.
//!
//! # Codes
//! `code` has the ISO/IEEE 11073-10101 code in decimal and, where more than one source says that they mean the
//! same, the LOINC codes. Codes that are nobody's public ones have the system [`systems::PRIVATE`]. Units are UCUM's;
//! one without an entry in [`clinical`](crate::clinical) has its 11073 code. Extensions and codes of our own have
//! URNs ([`systems`]).
//!
//! # Numbers
//! FHIR asks that decimals keep their precision: 36.80 is not 36.8. So no number goes through a binary float;
//! [`Number`] keeps the digits, by way of `serde_json`'s feature `raw_value`. Its `arbitrary_precision` would change
//! how every other user of `serde_json` in the same program reads numbers, `raw_value` changes nothing.
//!
//! # Security
//! Patient identity is never on vitalwire's wire. Here a patient is a [`Pseudonym`], which refuses whatever a person
//! could read. The resources say what a device measured, and when: that is health data all the same.
//!
//! # Licences
//! This material contains content from LOINC (<http://loinc.org>). LOINC is copyright © Regenstrief Institute, Inc.
//! and the Logical Observation Identifiers Names and Codes (LOINC) Committee and is available at no cost under the
//! license at <http://loinc.org/license>. LOINC® is a registered United States trademark of Regenstrief Institute, Inc.
//! It contains UCUM codes (<http://unitsofmeasure.org>): UCUM is Copyright © 1999 Regenstrief Institute, Inc. and The
//! UCUM Organization. All rights reserved. FHIR® is a registered trademark of HL7. `data/NOTICE` has the details.

mod bundle;
mod clock;
mod context;
mod device;
mod error;
mod id;
mod number;
mod observation;
mod parsed;
mod read;
mod subject;
pub mod systems;
mod terms;
#[cfg(test)]
mod tests;
mod types;
mod value;
mod write;

pub use bundle::{Bundle, BundleKind, Entry, Request, Resource};
pub use clock::Clock;
pub use context::{Context, DeviceInfo};
pub use device::{Device, DeviceName, DeviceProperty};
pub use error::FhirError;
pub use id::RecordId;
pub use number::Number;
pub use observation::{Observation, ObservationComponent, ObservationStatus, ReferenceRange};
pub use parsed::{Content, Note, Parsed, Samples, Trend, TrendSample};
pub use read::parse;
pub use subject::{Pseudonym, Subject};
pub use types::{
    Annotation, CodeableConcept, Coding, Element, Extension, Identifier, Meta, Period, Quantity, Ratio,
    Reference, SampledData,
};

use crate::framing::{ChannelDescriptor, ChannelKind};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Writes a resource as JSON text, on one line.
///
/// # Errors
/// [`FhirError::Json`] if it cannot be written, as with an [`Other`](Resource::Other) that is no JSON.
///
/// ```
/// use vitalwire::interop::fhir::{self, Coding};
/// let coding = Coding::new("http://loinc.org", "8867-4");
/// let text = fhir::to_json(&coding)?;
/// assert_eq!(text, r#"{"system":"http://loinc.org","code":"8867-4"}"#);
/// assert_eq!(fhir::from_json::<Coding>(&text)?, coding);
/// # Ok::<(), fhir::FhirError>(())
/// ```
pub fn to_json<T: Serialize>(resource: &T) -> Result<String, FhirError> {
    Ok(serde_json::to_string(resource)?)
}

/// Reads a resource from JSON text; [`to_json`] has an example.
///
/// # Errors
/// [`FhirError::Json`].
pub fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, FhirError> {
    Ok(serde_json::from_str(text)?)
}

/// The kinds of records that have a form of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Measurement,
    Trend,
    Waveform,
    Event,
    Alarm,
    Gap,
    Annotation,
    AlarmLimits,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Measurement,
        Self::Trend,
        Self::Waveform,
        Self::Event,
        Self::Alarm,
        Self::Gap,
        Self::Annotation,
        Self::AlarmLimits,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Measurement => "measurement",
            Self::Trend => "trend",
            Self::Waveform => "waveform",
            Self::Event => "event",
            Self::Alarm => "alarm",
            Self::Gap => "gap",
            Self::Annotation => "annotation",
            Self::AlarmLimits => "alarm-limits",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Tells whether a channel may have such records.
    fn fits(self, channel: &ChannelDescriptor<'_>) -> bool {
        match self {
            Self::Measurement | Self::Trend => channel.kind == ChannelKind::Numeric,
            Self::Waveform => channel.kind == ChannelKind::Waveform,
            Self::Event => channel.kind == ChannelKind::Event,
            Self::Alarm | Self::Annotation | Self::AlarmLimits => true,
            Self::Gap => false,
        }
    }
}
