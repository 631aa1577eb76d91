//! The bodies of the fuzz targets, one module each, with a `run` that takes the fuzzer's bytes.
//!
//! They live here and not in `fuzz_targets/`, so that `cargo test` replays the seeds through the same code on a
//! stable compiler. Everything is deterministic: keys are fixed, and "random" bytes come from [`world::SeedRng`].

pub mod backend;
pub mod blocks;
pub mod credential;
pub mod descriptors;
pub mod device;
pub mod disk;
pub mod fhir;
pub mod flash;
pub mod floats;
pub mod frames;
pub mod headers;
pub mod initiator;
pub mod input;
pub mod links;
pub mod pair;
pub mod records;
pub mod responder;
pub mod rig;
pub mod serialised;
pub mod session;
pub mod storage;
pub mod tickets;
pub mod trend;
pub mod waveform;
pub mod world;

/// Runs a target.
pub type Target = fn(&[u8]);

/// Every target, by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("backend", backend::run),
    ("credential", credential::run),
    ("descriptors", descriptors::run),
    ("device", device::run),
    ("fhir", fhir::run),
    ("flash", flash::run),
    ("floats", floats::run),
    ("frames", frames::run),
    ("headers", headers::run),
    ("initiator", initiator::run),
    ("links", links::run),
    ("pair", pair::run),
    ("records", records::run),
    ("responder", responder::run),
    ("serialised", serialised::run),
    ("session", session::run),
    ("storage", storage::run),
    ("tickets", tickets::run),
    ("trend", trend::run),
    ("waveform", waveform::run),
];
