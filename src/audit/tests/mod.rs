//! The log: every kind of event, what alterations it shows, and sinks, files and queues that fail or fill up.

mod chain;
mod files;
mod queues;
mod rotation;
mod vectors;

use super::*;
use crate::entropy::{Entropy, EntropyError};
use crate::error::{CloseReason, Discard};
use crate::framing::{BootTag, ClockQuality, Lane, WallReading};
use crate::identity::{Identity, IssuerId, Scopes, SubjectId};
use crate::time::{Duration, Instant, UnixSeconds};
use crate::wire::{Pattern, PskId};
use alloc::vec::Vec;

pub(super) const NODE: NodeId = NodeId(*b"ward-7-a");

/// Counts up: other bytes with each call, the same in each run.
pub(super) struct Counting(pub(super) u8);

impl Entropy for Counting {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.0 = self.0.wrapping_add(1);
        out.fill(self.0);
        Ok(())
    }
}

/// Keeps what it is given; `fails` says how many calls to append from now on it refuses.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) bytes: Vec<u8>,
    pub(super) fails: u32,
    /// How long a file may be, about; none: there is one file.
    pub(super) most: Option<usize>,
    /// The files that were closed.
    pub(super) closed: Vec<Vec<u8>>,
    /// Every key that it was given: an intruder of that time has it.
    pub(super) keys: Vec<crate::crypto::SigningKey>,
}

impl AuditSink for Memory {
    fn append(&mut self, bytes: &[u8]) -> Result<(), SinkFailed> {
        if self.fails > 0 {
            self.fails -= 1;
            return Err(SinkFailed);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.most.is_some_and(|most| self.bytes.len() >= most)
    }

    fn begin(&mut self, header: &[u8]) -> Result<(), SinkFailed> {
        if self.fails > 0 {
            self.fails -= 1;
            return Err(SinkFailed);
        }
        self.closed.push(core::mem::replace(&mut self.bytes, header.to_vec()));
        Ok(())
    }

    fn keep_keys(
        &mut self,
        present: &crate::crypto::SigningKey,
        _: Option<&crate::crypto::SigningKey>,
    ) -> Result<(), SinkFailed> {
        self.keys.push(crate::crypto::SigningKey::from_bytes(*present.expose()));
        Ok(())
    }
}

pub(super) fn identity(subject: u8) -> Identity {
    Identity { issuer: IssuerId([0x1a; 8]), subject: SubjectId([subject; 16]) }
}

/// One event of each kind, in the order of their codes.
pub(super) fn one_of_each() -> Vec<AuditEvent> {
    let device = identity(2);
    let operator = OperatorId([0x0f; 16]);
    let scopes = Scopes::PUBLISH;
    let tag = BootTag([1, 2, 3, 4]);
    let counts = |discard: Discard| alloc::vec![Count { name: discard.into(), count: 300 }];
    alloc::vec![
        AuditEvent::Started { version: "0.1.0".into() },
        AuditEvent::Stopped {},
        AuditEvent::Accepted { identity: device, serial: Some(7), pattern: Pattern::Ik, scopes },
        AuditEvent::TurnedAway { identity: device, reason: CloseReason::Refused },
        AuditEvent::Refused { reason: Discard::BadCredential.into() },
        AuditEvent::Ended { identity: device, reason: CloseReason::Idle },
        AuditEvent::Strangers { counts: counts(Discard::BadHelloMac) },
        AuditEvent::Tampering { counts: counts(Discard::Replayed) },
        AuditEvent::LimitsReached { counts: counts(Discard::TooManyPending) },
        AuditEvent::ScopeRefused {
            identity: device,
            boot: 300,
            tag,
            lane: Lane::Alarm,
            first: 1 << 40,
            count: 3
        },
        AuditEvent::TagConflict { identity: device, boot: 4, known: tag, named: BootTag([9; 4]) },
        AuditEvent::TicketConflict { identity: device, origin: UnixSeconds(1_750_000_000) },
        AuditEvent::Rekeyed { identity: device, ratchets: 2 },
        AuditEvent::CommandEnded { identity: device, outcome: "refused".into() },
        AuditEvent::Renewed { identity: device, serial: 8 },
        AuditEvent::Revoked { identity: device, serial: None },
        AuditEvent::RevocationList { issuer: device.issuer, number: 12 },
        AuditEvent::PolicyChanged { identity: device, scopes: Scopes::NONE },
        AuditEvent::BreakGlassGranted { identity: device, scopes, operator, seconds: 900 },
        AuditEvent::BreakGlassUsed { identity: device, scopes, operator },
        AuditEvent::BreakGlassEnded { identity: device, operator },
        AuditEvent::ClockSet { before: Some(UnixSeconds(1)), after: UnixSeconds(1_750_000_000) },
        AuditEvent::ClockJumped { millis: -61_000 },
        AuditEvent::TicketKeysSet {},
        AuditEvent::Enrolled { psk: PskId([5; 8]), identity: device },
        AuditEvent::EnrolmentForgotten { psk: PskId([5; 8]) },
        AuditEvent::Draining { within: 60_000 },
        AuditEvent::Drained { uncommitted: 2 },
        AuditEvent::SinkFailed { times: 3 },
        AuditEvent::Lost { usual: 70_000, essential: 1 },
        AuditEvent::Suppressed { kind: 5, count: 1_000 },
        AuditEvent::Recovered { bytes: 17 },
        AuditEvent::Commanded { identity: device, operator: Some(operator), command: 32_768, number: 3 },
        AuditEvent::CommandDenied { identity: device, operator: None, command: 9 },
        AuditEvent::CommandSettled { identity: device, number: 3, outcome: "done".into() },
        AuditEvent::BreakGlassAsked {
            identity: device,
            scopes,
            operator,
            reason: 300,
            outcome: "Granted".into(),
        },
        AuditEvent::RenewalFailed { identity: device, serial: 8, outcome: "Unanswered".into() },
        AuditEvent::RevocationListRefused { issuer: device.issuer, number: 2, reason: "Rollback".into() },
        AuditEvent::PolicyApplied { asked: 1_000, changed: 1 },
        AuditEvent::AnchorsSet { issuers: alloc::vec![device.issuer, IssuerId([0x1b; 8])] },
    ]
}

pub(super) fn wall(unix_millis: u64) -> WallReading {
    WallReading { unix_millis, quality: ClockQuality::Synchronised, error: Duration::from_millis(50) }
}

pub(super) fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// Reads a log back: all entries, and the report.
pub(super) fn read_back(bytes: &[u8]) -> (Vec<Entry>, Report) {
    let mut entries = Vec::new();
    let (verifier, left) = read_log(&mut &bytes[..], None, &mut |_, entry| entries.push(entry)).unwrap();
    (entries, verifier.finish(left))
}

/// The events of a log.
pub(super) fn events(bytes: &[u8]) -> Vec<AuditEvent> {
    let event = |entry: Entry| match entry.kind {
        Kind::Event(event) => Some(event),
        _ => None,
    };
    read_back(bytes).0.into_iter().filter_map(event).collect()
}

#[test]
fn every_kind_comes_back_as_it_was_noted() {
    let sample = one_of_each();
    let codes: Vec<_> = sample.iter().map(|event| (event.code(), event.name())).collect();
    assert_eq!(codes, AuditEvent::KINDS, "one of each kind");
    let mut log = AuditLog::new(NODE, &mut Counting(0)).unwrap();
    let (mut queue, mut sink) = (AuditQueue::new(3), Memory::default());
    queue.set_wall_time(at(10), wall(1_763_800_000_000));
    sample.iter().for_each(|event| queue.note(at(1_010), event.clone()));
    log.run(at(2_000), &mut queue, &mut sink, &mut Counting(9)).unwrap();
    assert_eq!(events(&sink.bytes), sample);
    let (entries, _) = read_back(&sink.bytes);
    let first = &entries[0];
    assert_eq!((first.at, first.unix_millis, first.shard), (at(1_010), Some(1_763_800_001_000), 3));
    assert_eq!(first.quality, ClockQuality::Synchronised);
    // A version that does not know a kind passes over it, and still verifies the rest.
    let mut unknown = super::entry::event_body(
        32,
        &Noted { at: at(1), wall: None, shard: 0, event: AuditEvent::Stopped {} },
    );
    *unknown.last_mut().unwrap() = 200;
    unknown.extend([1, 2, 3]);
    assert_eq!(Entry::parse(&unknown).unwrap().kind, Kind::Unknown { code: 200, len: 3 });
}

#[test]
fn a_malformed_entry_is_refused() {
    for event in one_of_each() {
        let body = super::entry::event_body(5, &Noted { at: at(1), wall: Some(wall(2)), shard: 0, event });
        assert!(Entry::parse(&body).is_ok());
        let longer = [&body[..], &[0]].concat();
        assert!(Entry::parse(&longer).is_err(), "trailing byte: {body:?}");
        for len in 0..body.len() {
            assert!(Entry::parse(&body[..len]).is_err(), "{len} of {body:?}");
        }
    }
}

#[test]
fn words_have_no_control_characters_and_are_short() {
    let name = Name::from("a b\n\u{1b}[31mä0123456789012345678901234567890123456789");
    assert_eq!(name.as_str(), "ab[31m01234567890123456789012345");
    assert_eq!(Name::from(Discard::BadHelloMac).as_str(), "BadHelloMac");
}

#[test]
fn shows_entries_in_words() {
    let entry = |event, wall| {
        let noted = Noted { at: at(61_005), wall, shard: 2, event };
        Entry::parse(&super::entry::event_body(9, &noted)).unwrap().to_string()
    };
    assert_eq!(
        entry(
            AuditEvent::Ended { identity: identity(2), reason: CloseReason::Idle },
            Some(wall(951_782_400_123))
        ),
        "9 2000-02-29T00:00:00.123Z up 61.005s shard 2: session ended \
         identity=1a1a1a1a1a1a1a1a/02020202020202020202020202020202 reason=Idle"
    );
    assert_eq!(
        entry(AuditEvent::Strangers { counts: alloc::vec![Count { name: "Forged".into(), count: 3 }] }, None),
        "9 no-wall-time up 61.005s shard 2: packets of strangers counts=Forged 3"
    );
    for (millis, text) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_763_823_600_000, "2025-11-22T15:00:00.000Z"),
        (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ] {
        assert_eq!(super::show::utc(millis), text);
    }
    assert_eq!(super::show::utc(u64::MAX).len(), 24);
}
