//! A stored pin that cannot be read when the power comes back.

use crate::kit::*;
use crate::ward::Ward;
use vitalwire::backend::{Backend, BackendConfig};
use vitalwire::device::{DeviceConfig, DeviceEvent, StorageTrouble};
use vitalwire::framing::Lane;
use vitalwire::identity::{Role, Scopes, SubjectId, Time};
use vitalwire::limits::{PIN_READS, STORAGE_RETRY};
use vitalwire::storage::{Item, StorageReply};
use vitalwire::wire::Pattern;
use vitalwire::{Discard, Duration, UnixSeconds};

const PINNED: SubjectId = SubjectId([0xbe; 16]);
const OTHER: SubjectId = SubjectId([0xbf; 16]);
/// After the end of every credential.
const LATE: UnixSeconds = UnixSeconds(1_900_000_000);

/// A device without power, with a pin in its storage and no ticket. From now on another backend of the same authority
/// answers, the second value is the pinned one.
fn moved() -> (Ward, Backend<u64>) {
    let mut ward = Ward::new();
    ward.boot();
    ward.run(secs(2));
    assert_eq!(met(&ward, 0), [(Pattern::Xx, PINNED)]);
    ward.cut();
    ward.storage.memory.set_item(Item::Ticket, None);
    let other = ward.pki.identity(OTHER, Role::Backend, Scopes::COMMANDS);
    let mut other = Backend::new(BackendConfig::new(other, ward.pki.anchors(), ward.pki.time())).unwrap();
    other.set_ticket_keys(ticket_keys(2));
    let pinned = core::mem::replace(&mut ward.backend, other);
    (ward, pinned)
}

/// The first `reads` reads of the pin are answered so.
fn misread(ward: &mut Ward, reads: u8, answer: StorageReply<'static>) {
    ward.storage.misread = Some((Item::Pin, reads.into(), answer));
}

/// The pattern and the backend of each session since then.
fn met(ward: &Ward, from: usize) -> Vec<(Pattern, SubjectId)> {
    let connected = |event: &DeviceEvent| match event {
        DeviceEvent::Connected { pattern, backend, .. } => Some((*pattern, backend.identity.subject)),
        _ => None,
    };
    ward.events[from..].iter().filter_map(connected).collect()
}

fn is_connected(ward: &Ward) -> bool {
    ward.device.as_ref().unwrap().is_connected()
}

fn floor(ward: &Ward) -> UnixSeconds {
    ward.device.as_ref().unwrap().time().floor()
}

/// Ends a second before the read that follows so many vain ones.
fn nearly_read(reads: u8) -> Duration {
    ms(u64::from(reads) * STORAGE_RETRY.as_millis() - 1000)
}

/// Brings the pinned backend back and has everything delivered there.
fn go_home(mut ward: Ward, pinned: Backend<u64>) {
    let from = ward.events.len();
    ward.backend = pinned;
    ward.run(secs(700));
    ward.record(Lane::Alarm);
    ward.drain();
    ward.check();
    let sessions = met(&ward, from);
    assert!(!sessions.is_empty() && sessions.iter().all(|(_, backend)| *backend == PINNED), "{sessions:?}");
}

#[test]
fn a_pin_that_is_read_late_is_in_force_again() {
    //= SPEC.md#stored-pin
    //= type=test
    //# A device that reads its pin later than at its start MUST end a session that the pin or its time floor would not have allowed.
    for answer in [StorageReply::Failed, StorageReply::Value(Some(&[7; 40]))] {
        for reads in 1..PIN_READS {
            let (mut ward, pinned) = moved();
            let stored = ward.storage.memory.item(Item::Pin).unwrap().to_vec();
            misread(&mut ward, reads, answer);
            let from = ward.events.len();
            ward.boot();
            ward.record(Lane::Alarm);
            ward.run(nearly_read(reads));
            // It does not wait: its authority vouches for this one, too. But the pin stays.
            assert_eq!(met(&ward, from), [(Pattern::Xx, OTHER)]);
            assert!(is_connected(&ward));
            assert_eq!(ward.storage.memory.item(Item::Pin), Some(&stored[..]));
            ward.run(secs(2));
            assert!(!is_connected(&ward), "not the pinned one");
            ward.run(secs(300));
            assert_eq!(met(&ward, from).len(), 1, "never again");
            assert_eq!(ward.storage.memory.item(Item::Pin), Some(&stored[..]));
            let corrupt = ward.device.as_ref().unwrap().discards().of(Discard::CorruptStorage);
            let expected = if answer == StorageReply::Failed { 0 } else { reads };
            assert_eq!(corrupt, u32::from(expected));
            go_home(ward, pinned);
        }
    }
}

#[test]
fn a_session_with_the_pinned_backend_goes_on_when_the_pin_is_read_late() {
    let (mut ward, pinned) = moved();
    ward.backend = pinned;
    misread(&mut ward, 1, StorageReply::Failed);
    let from = ward.events.len();
    ward.boot();
    ward.run(secs(30));
    assert_eq!(met(&ward, from), [(Pattern::Xx, PINNED)]);
    assert!(is_connected(&ward));
    assert_eq!(ward.troubles(), [StorageTrouble::Failed]);
}

#[test]
fn a_resumption_under_way_does_not_get_past_a_pin_that_is_read_late() {
    let (mut ward, pinned) = moved();
    // The storage works otherwise: it can delete the ticket.
    misread(&mut ward, 3, StorageReply::Value(Some(&[7; 40])));
    let from = ward.events.len();
    ward.boot();
    ward.run(nearly_read(3));
    assert!(is_connected(&ward) && ward.storage.memory.item(Item::Ticket).is_some());
    ward.device.as_mut().unwrap().disconnect();
    ward.run(ms(100));
    // The first Hello is lost, with the ticket of the other backend; the pin is read before the second one.
    ward.loss = 1.0;
    let now = ward.now;
    ward.device.as_mut().unwrap().connect(now);
    ward.run(ms(500));
    assert!(ward.storage.memory.item(Item::Ticket).is_none(), "it is in use");
    ward.run(ms(500));
    ward.loss = 0.0;
    ward.run(secs(100));
    assert_eq!(met(&ward, from).len(), 1, "{:?}", met(&ward, from));
    go_home(ward, pinned);
}

#[test]
fn a_pin_that_never_can_be_read_stays_for_the_next_boot() {
    //= SPEC.md#stored-pin
    //= type=test
    //# A device MUST NOT overwrite or delete a stored pin before it has read it, but to forget the backend.
    let (mut ward, pinned) = moved();
    let stored = ward.storage.memory.item(Item::Pin).unwrap().to_vec();
    misread(&mut ward, u8::MAX, StorageReply::Failed);
    let from = ward.events.len();
    ward.boot();
    ward.run(secs(300));
    assert_eq!(met(&ward, from), [(Pattern::Xx, OTHER)]);
    assert_eq!(ward.storage.misread.as_ref().unwrap().1, u32::from(u8::MAX - PIN_READS), "asked no more");
    assert_eq!(ward.troubles(), [StorageTrouble::Failed, StorageTrouble::PinUnreadable]);
    assert_eq!(ward.storage.memory.item(Item::Pin), Some(&stored[..]));
    // The next boot can read it.
    ward.cut();
    ward.storage.misread = None;
    let from = ward.events.len();
    ward.boot();
    ward.run(secs(300));
    assert_eq!(met(&ward, from), []);
    go_home(ward, pinned);
}

#[test]
fn a_pin_that_never_can_be_opened_counts_as_none() {
    let (mut ward, _) = moved();
    ward.storage.memory.set_item(Item::Pin, Some(&[7; 40]));
    let from = ward.events.len();
    ward.boot();
    ward.run(secs(60));
    assert_eq!(met(&ward, from), [(Pattern::Xx, OTHER)]);
    assert_eq!(ward.troubles(), [StorageTrouble::Corrupt]);
    ward.cut();
    ward.storage.memory.set_item(Item::Ticket, None);
    let from = ward.events.len();
    ward.boot();
    ward.run(secs(2));
    assert_eq!(met(&ward, from), [(Pattern::Ik, OTHER)]);
}

#[test]
fn no_failure_lowers_the_floor_of_the_configuration() {
    fn backend(config: &mut DeviceConfig) {
        config.expected = Some(pin_of(&Pki::new(5).backend()).identity);
    }
    fn pin(config: &mut DeviceConfig) {
        config.pin = Some(pin_of(&Pki::new(5).backend()));
    }
    for change in [backend, pin] {
        let (mut ward, pinned) = moved();
        misread(&mut ward, u8::MAX, StorageReply::Failed);
        ward.change = change;
        let from = ward.events.len();
        ward.boot();
        ward.run(secs(300));
        assert_eq!(met(&ward, from), []);
        go_home(ward, pinned);
    }
}

#[test]
fn the_higher_floor_of_time_counts_whenever_the_pin_is_read() {
    // Stores a pin and a floor that no credential reaches.
    fn far(config: &mut DeviceConfig) {
        config.pin = Some(pin_of(&Pki::new(5).backend()));
        config.time = Time::floor_only(LATE);
    }
    let none = |config: &mut DeviceConfig| config.time = Time::floor_only(UnixSeconds(0));
    let higher = |config: &mut DeviceConfig| config.time = Time::floor_only(UnixSeconds(LATE.0 + 1));
    let mut ward = Ward::new();
    ward.change = far;
    ward.boot();
    ward.run(secs(2));
    ward.cut();
    ward.change = none;
    misread(&mut ward, 1, StorageReply::Failed);
    let from = ward.events.len();
    ward.boot();
    ward.run(secs(9));
    assert!(floor(&ward) < LATE && is_connected(&ward));
    ward.run(secs(200));
    assert_eq!((floor(&ward), met(&ward, from).len()), (LATE, 1));
    assert!(!is_connected(&ward), "its credential is over by that floor");
    ward.cut();
    ward.change = higher;
    misread(&mut ward, 1, StorageReply::Failed);
    ward.boot();
    for _ in 0..20 {
        assert_eq!(floor(&ward).0, LATE.0 + 1);
        ward.run(secs(1));
    }
}

#[test]
fn a_backend_that_is_forgotten_before_the_pin_was_read_is_forgotten() {
    for (reads, wait) in [(0, secs(0)), (1, secs(5)), (PIN_READS, secs(100))] {
        let (mut ward, _) = moved();
        misread(&mut ward, reads, StorageReply::Failed);
        ward.set_linked(false);
        ward.boot();
        if wait > Duration::ZERO {
            ward.run(wait);
        }
        ward.device.as_mut().unwrap().forget_backend();
        ward.run(secs(15));
        assert!(ward.storage.memory.item(Item::Pin).is_none(), "{reads}");
        ward.set_linked(true);
        let from = ward.events.len();
        ward.run(secs(30));
        assert_eq!(met(&ward, from), [(Pattern::Xx, OTHER)]);
    }
}
