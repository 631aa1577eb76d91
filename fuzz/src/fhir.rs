//! FHIR resources: what is read and written again reads the same; a record that has a FHIR form comes back from it.
//!
//! Input: 0 and the JSON text of a bundle, or anything else and the body of a Records frame.

use crate::world::world;
use vitalwire::framing::*;
use vitalwire::identity::{Identity, IssuerId, SubjectId};
use vitalwire::interop::fhir::{self, Bundle, Content, Context, FhirError, Trend};

/// A context with the world's descriptor set.
pub fn context() -> Context<'static> {
    Context {
        device: Identity { issuer: IssuerId([1; 8]), subject: SubjectId([2; 16]) },
        boot: 7,
        tag: BootTag([3; 4]),
        lane: Lane::Event,
        set: world().channels(),
        subject: None,
        clock: None,
    }
}

pub fn run(data: &[u8]) {
    match data.split_first() {
        Some((0, text)) => {
            if let Ok(text) = std::str::from_utf8(text) {
                json(text);
            }
        }
        Some((_, body)) => records(body),
        None => {}
    }
}

fn json(text: &str) {
    let Ok(bundle) = fhir::from_json::<Bundle>(text) else { return };
    let again = fhir::to_json(&bundle).expect("what was read can be written");
    assert_eq!(fhir::from_json::<Bundle>(&again).expect("what was written can be read"), bundle);
    for observation in bundle.observations() {
        let Ok(parsed) = fhir::parse(observation, &world().channels()) else { continue };
        if let Some(record) = parsed.content.record() {
            same(&BatchRecord { sequence: parsed.id.sequence, time: parsed.time, record });
        }
    }
}

fn records(body: &[u8]) {
    let Ok(frame) = RecordsFrame::parse(body) else { return };
    for record in frame.records(&world().channels()) {
        let Ok(record) = record else { return };
        same(&record);
    }
}

/// Writes a record, and reads it.
fn same(record: &BatchRecord<'_>) {
    let context = context();
    let written = match context.observations(record) {
        Ok(written) => written,
        Err(FhirError::NoForm | FhirError::Number) => return,
        Err(error) => panic!("{record:?}: {error}"),
    };
    let text = fhir::to_json(&Bundle::batch(None, written)).expect("it can be written");
    let read: Bundle = fhir::from_json(&text).expect("it can be read");
    let parsed: Vec<_> = read
        .observations()
        .map(|found| fhir::parse(found, &context.set).expect("it is as we write it"))
        .collect();
    match &record.record {
        Record::Trend(block) => {
            let trend = Trend::of(&parsed).expect("they are the points of one record");
            if (0..block.components()).any(|component| block.absence(component).is_none()) {
                assert_eq!(trend.block(), *block);
            }
        }
        // where nothing is there, there is no quality
        Record::Waveform(block)
            if (0..block.components()).all(|component| block.absence(component).is_some()) =>
        {
            assert!(matches!(parsed[0].content, Content::Waveform(_)));
        }
        record => assert_eq!(parsed[0].content.record().as_ref(), Some(record)),
    }
}
