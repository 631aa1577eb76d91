//! Records as FHIR R4, by the library's `interop::fhir`.

#[cfg(feature = "fhir")]
pub use with_feature::{check, lines};
#[cfg(not(feature = "fhir"))]
pub use without_feature::{check, lines};

#[cfg(feature = "fhir")]
mod with_feature {
    use super::super::entry::Labels;
    use vitalwire::framing::{BatchRecord, DescriptorSet};
    use vitalwire::interop::fhir::{Context, to_json};

    /// Tells whether FHIR can be written.
    pub const fn check() -> Result<(), &'static str> {
        Ok(())
    }

    /// Lists a record's Observations, each as JSON without line breaks. Nobody is named as their subject: a capture
    /// does not know.
    pub fn lines(
        record: &BatchRecord<'_>,
        set: &DescriptorSet<'_>,
        labels: &Labels,
    ) -> Result<Vec<String>, String> {
        let Labels { identity, boot, tag, lane, .. } = labels;
        let missing = |name| format!("FHIR needs the {name} of the records, which the capture does not say");
        let context = Context {
            device: identity.ok_or_else(|| missing("device's identity (see --identity)"))?,
            boot: boot.ok_or_else(|| missing("boot"))?,
            tag: tag.ok_or_else(|| missing("boot's tag"))?,
            lane: lane.ok_or_else(|| missing("lane"))?,
            set: *set,
            subject: None,
            clock: None,
        };
        let observations = context.observations(record).map_err(|error| error.to_string())?;
        observations.iter().map(|one| to_json(one).map_err(|error| error.to_string())).collect()
    }
}

#[cfg(not(feature = "fhir"))]
mod without_feature {
    use super::super::entry::Labels;
    use vitalwire::framing::{BatchRecord, DescriptorSet};

    /// What is said where the feature is not there.
    const ABSENT: &str = "built without the feature `fhir`: build it with `--features fhir`";

    /// Tells whether FHIR can be written.
    pub const fn check() -> Result<(), &'static str> {
        Err(ABSENT)
    }

    /// Lists nothing.
    pub fn lines(_: &BatchRecord<'_>, _: &DescriptorSet<'_>, _: &Labels) -> Result<Vec<String>, String> {
        Err(ABSENT.into())
    }
}
