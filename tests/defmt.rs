//! What firmware logs has a `defmt` form, also what is added later, and no secret gets into a log.

use defmt::Format;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use vitalwire::crypto::*;
use vitalwire::device::{BackendPin, DeviceReceived, Link, Radio, StorageConfig};
use vitalwire::handshake::{Limits, TicketId};
use vitalwire::health::{HealthError, HealthLimits};
use vitalwire::identity::*;
use vitalwire::storage::{Item, StorageReply, StorageRequest};
use vitalwire::wire::{ConnectionId, PacketKind, Pattern, PskId, Side};
use vitalwire::*;

/// Compiles only if each type has a form, and returns their names.
macro_rules! formatted {
    ($($type:ty),+ $(,)?) => {{
        fn is_format<T: Format>() {}
        $(is_format::<$type>();)+
        vec![$(stringify!($type)),+]
    }};
}

/// Every error, event and discard. [`every_error_event_and_discard_is_in_the_list`] finds what is missing.
fn errors_events_and_discards() -> Vec<&'static str> {
    let mut names = formatted! {
        CallError, CloseReason, Discard, Discards, EntropyError, HealthError,
        codec::BufferTooSmall, codec::DecodeError,
        crypto::DhError, crypto::Forged,
        clinical::DeviceEvent, clinical::DoesNotFit, clinical::PumpEvent, clinical::ZoneEvent,
        delivery::AckOutcome, delivery::ClockMapError, delivery::LaneNotice, delivery::LedgerError,
        delivery::LoadRefusal,
        framing::CommandRefusal, framing::EncodeError, framing::Event, framing::GapReason, framing::RefusedReason,
        handshake::FinishFailure, handshake::HandshakeError, handshake::ReplyFailure, handshake::ResumeFailure,
        identity::CredentialError, identity::RevocationError,
        session::SealError,
        wire::link::LinkDiscard, wire::link::LinkDiscards, wire::link::LinkError,
        device::DeviceEvent, device::StorageTrouble,
        backend::BackendEvent, backend::ClaimOutcome, backend::CommandOutcome, backend::RenewalOutcome,
        audit::AuditError, audit::AuditEvent, audit::SinkFailed, audit::Why,
    };
    #[cfg(feature = "fhir")]
    names.extend(formatted!(interop::fhir::FhirError));
    #[cfg(not(feature = "fhir"))]
    names.push("interop::fhir::FhirError");
    names
}

/// What firmware logs beside: states, settings, ids, requests.
#[test]
fn plain_types_have_a_form() {
    formatted! {
        Instant, Duration, UnixSeconds, HealthLimits, Link, Radio, BackendPin, StorageConfig, DeviceReceived<'_>,
        StorageRequest<'_>, StorageReply<'_>, Item, Identity, IssuerId, SubjectId, Role, Scopes, Time, Credential,
        CredentialHash, VerifiedCredential, Pattern, PskId, Side, PacketKind, ConnectionId, Limits, TicketId,
        device::CommandId, delivery::Accepted, delivery::LaneFill, delivery::LanePolicy, delivery::LaneShares,
        delivery::Mark, delivery::StreamKey, delivery::TagConflict, framing::Lane, framing::BootTag,
        framing::SetHash, framing::Alarm, framing::Gap, framing::Decimal, session::RekeyPolicy,
        backend::Received<'_>, backend::BatchRef, backend::PendingId, backend::CommandId, backend::TicketClaim,
        PublicKey, SignatureKey, identity::ListTaken,
    };
}

/// The type names that the test below looks for, beside whatever derives `thiserror::Error`.
const ENDINGS: [&str; 11] = [
    "Error", "Event", "Discard", "Discards", "Trouble", "Reason", "Refusal", "Failure", "Failed", "Notice",
    "Outcome",
];
/// What ends so and is neither: what a handshake came to, with the keys that it made; and what needs an operating system
/// with files.
const OTHERS: [&str; 3] = ["ReplyOutcome", "FileError", "VerifyError"];

#[test]
fn every_error_event_and_discard_is_in_the_list() {
    let mut sources = Vec::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut sources);
    let declared: BTreeSet<String> = sources.iter().flat_map(|text| declared(text)).collect();
    let listed = errors_events_and_discards();
    let listed: BTreeSet<String> =
        listed.iter().map(|name| name.rsplit("::").next().unwrap().trim().to_owned()).collect();
    let others = OTHERS.iter().map(|name| (*name).to_owned()).collect();
    let missing: Vec<_> =
        declared.difference(&listed).filter(|name| !BTreeSet::contains(&others, *name)).collect();
    assert!(missing.is_empty(), "give them `defmt::Format`, and put them into the list: {missing:?}");
    let gone: Vec<_> = listed.difference(&declared).collect();
    assert!(gone.is_empty(), "the scan does not find them: {gone:?}");
}

/// The scan sees what it has to see.
#[test]
fn the_scan_finds_enums_structs_and_what_macros_declare() {
    let text = "\
        #[derive(Debug, thiserror::Error)]\n#[error(\"x\")]\npub struct Forged;\n\
        /// Doc.\npub enum NewEvent {\n}\npub struct Plain;\npub(crate) struct InnerError;\n\
        counted! {\n    /// Doc.\n    Discard {\n        A => \"a\",\n    }\n}\n\
        events! {\n    Kind = x,\n    /// Doc.\n    DeviceEvent {\n        A = x;\n    }\n}\n\
        #[cfg(test)]\nmod tests {\n    pub struct TestError;\n}\n";
    assert_eq!(declared(text), ["Forged", "NewEvent", "Discard", "DeviceEvent"]);
}

/// Lists what a file declares with `pub` outside its tests: what derives `thiserror::Error` or ends as one of
/// [`ENDINGS`]. A declaration within a macro of this crate has the form `Name {` alone on its line.
fn declared(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut names = Vec::new();
    let mut is_error = false;
    for line in text.lines().map(str::trim) {
        let declaration = line.strip_prefix("pub enum ").or_else(|| line.strip_prefix("pub struct "));
        let alone = line.strip_suffix(" {").filter(|name| name.chars().all(char::is_alphanumeric));
        if let Some(rest) = declaration.or(alone.filter(|name| name.starts_with(char::is_uppercase))) {
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
            let ends = ENDINGS.iter().any(|ending| name.ends_with(ending));
            if !name.is_empty() && (ends || (is_error && declaration.is_some())) {
                names.push(name);
            }
        }
        is_error = line.contains("thiserror::Error")
            || (is_error && (line.starts_with('#') || line.starts_with("//")));
    }
    names
}

fn read(directory: &PathBuf, sources: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            read(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            sources.push(fs::read_to_string(path).unwrap());
        }
    }
}

/// What a value's form puts into a log: the texts are left out, as on the wire; the values are there.
fn logged(value: &impl Format) -> Vec<u8> {
    defmt::export::fetch_bytes();
    defmt::println!("{}", value);
    defmt::export::fetch_bytes()
}

/// Four bytes of `secret` in a row, in any order of a word, are too many.
fn shows(log: &[u8], secret: &[u8]) -> bool {
    secret.windows(4).any(|part| {
        let reversed: Vec<u8> = part.iter().rev().copied().collect();
        log.windows(4).any(|seen| seen == part || seen == reversed)
    })
}

const SECRET: [u8; 32] = {
    let mut bytes = [0; 32];
    let mut at = 0;
    while at < 32 {
        bytes[at] = 0x80 ^ (at as u8).wrapping_mul(37).wrapping_add(11);
        at += 1;
    }
    bytes
};

#[test]
fn this_test_would_see_a_secret_that_shows() {
    assert!(shows(&logged(&SECRET), &SECRET));
    assert!(shows(&logged(&CredentialHash(*SECRET.first_chunk().unwrap())), &SECRET));
    let word = u32::from_le_bytes(*SECRET.first_chunk().unwrap());
    assert!(shows(&logged(&word), &SECRET));
}

#[test]
fn no_secret_gets_into_a_log() {
    let logs = [
        logged(&StaticSecret::from_bytes(SECRET)),
        logged(&SharedSecret::from_bytes(SECRET)),
        logged(&Psk::from_bytes(SECRET)),
        logged(&HedgeKey::from_bytes(SECRET)),
        logged(&StorageKey::from_bytes(SECRET)),
        logged(&TicketKey::from_bytes(SECRET)),
        logged(&ServiceKey::from_bytes(SECRET)),
        logged(&SigningKey::from_bytes(SECRET)),
        logged(&hazmat::ephemeral_secret(SECRET)),
        // Settings that hold one.
        logged(&StorageConfig::new(StorageKey::from_bytes(SECRET), 8192)),
    ];
    for (number, log) in logs.iter().enumerate() {
        assert!(!shows(log, &SECRET), "value {number}: {log:?}");
        assert!(!log.is_empty(), "value {number}");
    }
}

#[test]
fn bodies_and_stored_bytes_are_not_logged_but_their_length_is() {
    let requests = [
        StorageRequest::Append { region: framing::Lane::Alarm, entry: &SECRET },
        StorageRequest::Put { item: Item::Pin, value: &SECRET },
    ];
    let replies = [StorageReply::Entry { number: 1, bytes: &SECRET }, StorageReply::Value(Some(&SECRET))];
    let received = DeviceReceived::Extension { kind: 64, body: &SECRET };
    let mut logs = vec![logged(&received)];
    logs.extend(requests.iter().map(logged));
    logs.extend(replies.iter().map(logged));
    for log in logs {
        assert!(!shows(&log, &SECRET) && log.contains(&32), "{log:?}");
    }
}

/// Public keys are no secret, but long: four bytes, as in `Debug`.
#[test]
fn a_public_key_is_short() {
    let log = logged(&PublicKey(SECRET));
    assert!(!shows(&log, &SECRET[4..]) && log.windows(4).any(|seen| seen == &SECRET[..4]), "{log:?}");
}

#[test]
fn discards_that_did_not_happen_are_left_out() {
    let (none, mut some) = (Discards::default(), Discards::default());
    some.count(Discard::Forged);
    assert!(logged(&none).len() < 16, "{} reasons would be long", Discard::ALL.len());
    assert!(logged(&some).len() > logged(&none).len());
}
