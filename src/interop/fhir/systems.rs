//! The URIs of code systems, identifiers and extensions.

/// ISO/IEEE 11073-10101 codes, in decimal: partition · 65536 + term.
pub const MDC: &str = "urn:iso:std:iso:11073:10101";
/// LOINC.
pub const LOINC: &str = "http://loinc.org";
/// Units: UCUM.
pub const UCUM: &str = "http://unitsofmeasure.org";
/// Kinds of observations: `vital-signs`.
pub const CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/observation-category";
/// Why a value is not there.
pub const DATA_ABSENT_REASON: &str = "http://terminology.hl7.org/CodeSystem/data-absent-reason";
/// How far a value can be trusted: `questionable`, `calibration-ongoing` (HL7 IG "Point-of-Care Devices", which IG
/// "Personal Health Device" uses as well).
pub const MEASUREMENT_STATUS: &str = "http://hl7.org/fhir/uv/pocd/CodeSystem/measurement-status";
/// Why data is used: `HTEST` marks test data.
pub const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";

/// The identifier of an Observation: [`RecordId`](super::RecordId).
pub const RECORD: &str = "urn:vitalwire:record";
/// The identifier of a Device: issuer and subject of its credential, in hexadecimal, with a slash between them.
pub const DEVICE: &str = "urn:vitalwire:device";
/// Codes that are no public 11073-10101 codes: those below 65 536, in partition 1024, or with a term from 61 440 on.
pub const PRIVATE: &str = "urn:vitalwire:code";
/// The kind of record: `measurement`, `trend`, `waveform`, `event`, `alarm`, `gap`, `annotation`, `alarm-limits`.
pub const KIND: &str = "urn:vitalwire:fhir:kind";
/// How the values came to be, if not on the patient: `test`, `demonstration`.
pub const MODE: &str = "urn:vitalwire:fhir:mode";
/// Why a value is not there, as exactly as the record says.
pub const ABSENCE: &str = "urn:vitalwire:fhir:absence";
/// What a component is that has no public code: `amount`, `source`, `value`, `component`, `lane`, `first`, `count`;
/// and the type of a reference range: `alarm-limits`.
pub const PART: &str = "urn:vitalwire:fhir:part";
/// What alarms say: priorities, phases, states, types.
pub const ALARM: &str = "urn:vitalwire:fhir:alarm";
/// Lanes: `alarm`, `event`, `trend`, `waveform`.
pub const LANE: &str = "urn:vitalwire:fhir:lane";
/// Why records do not exist any more.
pub const GAP: &str = "urn:vitalwire:fhir:gap";

/// Extension of the effective time, `valueDecimal`: milliseconds since the device's boot.
pub const UPTIME: &str = "urn:vitalwire:fhir:uptime";
/// Extension of the effective time, `valueCode`: where it comes from, `unknown`, `set-by-hand`, `estimated` or
/// `synchronised`.
pub const CLOCK_QUALITY: &str = "urn:vitalwire:fhir:clock-quality";
/// Extension of the effective time, `valueQuantity`: how far it may be wrong, in milliseconds.
pub const CLOCK_ERROR: &str = "urn:vitalwire:fhir:clock-error";
/// Extension of the Observation, `valueUnsignedInt`: the channel's number, where its code does not tell it.
pub const CHANNEL: &str = "urn:vitalwire:fhir:channel";
/// Extension of the Observation, `valueDecimal`: the index of the first sample, counted since boot.
pub const FIRST_SAMPLE: &str = "urn:vitalwire:fhir:first-sample";
/// Extension of the Observation, `valueUnsignedInt`: how many samples there would be, where no component has any.
pub const SAMPLES: &str = "urn:vitalwire:fhir:samples";
/// Extension of the effective period, `valueDecimal`: how many milliseconds an annotation is about.
pub const SPAN: &str = "urn:vitalwire:fhir:span";
/// Extension of the Observation, `valueRatio`: samples in seconds, where the period is no finite decimal.
pub const RATE: &str = "urn:vitalwire:fhir:rate";
/// Extension of `dataAbsentReason`: a value that is known to be wrong, and kept for inspection only.
pub const INVALID_VALUE: &str = "urn:vitalwire:fhir:invalid-value";
/// HL7's extension for an element that has no value, `valueCode`.
pub const ABSENT_ELEMENT: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";
