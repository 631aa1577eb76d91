//! Records as FHIR R4, by the library's `interop::fhir`.

use vitalwire::framing::{BatchRecord, DescriptorSet};

/// What is said where the feature is not there.
const ABSENT: &str = "built without the feature `fhir`";

/// Tells whether FHIR can be written.
pub const fn check() -> Result<(), &'static str> {
    Err(ABSENT)
}

/// Lists a record's resources, each as JSON without line breaks; `device` is the pseudonymous subject.
pub fn lines(
    _record: &BatchRecord<'_>,
    _set: &DescriptorSet<'_>,
    _device: &str,
) -> Result<Vec<String>, String> {
    Err(ABSENT.into())
}
