//! New credentials over a live session: taken, refused, lost on the way.

use crate::facing::Facing;
use crate::kit::*;
use crate::link::{To, Verdict};
use crate::resume::{patterns, with_ticket_and};
use crate::world::{Setup, World};
use std::cell::Cell;
use std::rc::Rc;
use vitalwire::backend::{BackendEvent, RenewalOutcome};
use vitalwire::crypto::{SigningKey, StaticSecret};
use vitalwire::device::DeviceEvent;
use vitalwire::framing::{Frame, Frames, Lane};
use vitalwire::identity::*;
use vitalwire::limits::RENEWAL_SENDS;
use vitalwire::wire::Pattern;
use vitalwire::{CallError, Discard, UnixSeconds};

/// A world whose only device is connected, with its identity.
fn connected(seed: u64) -> (World, LocalIdentity) {
    let mut world = Setup::new(seed).build();
    let mut identity = None;
    world.add(|config| identity = Some(config.identity.clone()));
    world.connect(0);
    world.run_to_connected(0);
    (world, identity.unwrap())
}

impl World {
    fn renew(&mut self, credential: &Credential) -> Result<(), CallError> {
        let (now, identity) = (self.now, self.identity(0));
        self.backend.renew(now, &identity, credential)
    }

    fn renewals(&self) -> Vec<RenewalOutcome> {
        let ended = |event: &BackendEvent| match event {
            BackendEvent::RenewalEnded { outcome, .. } => Some(*outcome),
            _ => None,
        };
        self.backend_events.iter().filter_map(ended).collect()
    }

    fn latest_shown(&self) -> Option<VerifiedCredential> {
        let shown = |event: &BackendEvent| match event {
            BackendEvent::Pending { credential, .. } => Some(*credential),
            _ => None,
        };
        self.backend_events.iter().rev().find_map(shown)
    }
}

#[test]
fn a_renewed_credential_is_used_from_the_next_handshake_on() {
    let (mut world, identity) = connected(1);
    let new = world.pki.renewed(&identity, |request| request.scopes = Scopes::MEASUREMENTS | Scopes::EVENTS);
    world.record(0, Lane::Trend, &rate(1)).unwrap();
    world.renew(&new).unwrap();
    world.run(secs(2));
    assert_eq!(world.renewals(), [RenewalOutcome::Taken]);
    assert!(world.nodes[0].events.contains(&DeviceEvent::CredentialRenewed));
    assert_eq!(world.nodes[0].device.credential(), &new);
    assert!(world.nodes[0].device.is_connected(), "the session goes on");
    let now = world.now;
    let alarm = world.node(0).device.record(now, Lane::Alarm, &alarm(1));
    assert_eq!(alarm.err(), Some(CallError::OutOfScope), "what the new one lacks would be lost soon");
    world.connect(0);
    world.run(secs(2));
    let shown = world.latest_shown().unwrap();
    assert_eq!((shown.serial(), shown.not_after()), (3, UnixSeconds(1_900_000_000)));
    world.record(0, Lane::Event, &event(1)).unwrap();
    world.wait_all_drained_and_check(secs(5));
    // The old one can go now.
    let list = world.pki.list(1, &[serial_of(0)..=serial_of(0)]);
    let list = world.pki.anchors().verify_revocations(&list, world.pki.time()).unwrap();
    world.backend.revoke(world.now, &list).unwrap();
    world.run(secs(5));
    assert!(world.nodes[0].device.is_connected());
}

#[test]
fn wider_scopes_hold_from_the_next_handshake_on_and_nothing_is_lost_before() {
    let mut world = Setup::new(2).build();
    let narrow = world.pki.identity(subject(0), Role::Device, Scopes::MEASUREMENTS);
    world.app.store.register(narrow.identity().unwrap());
    let identity = narrow.clone();
    world.add(|config| config.identity = narrow);
    world.connect(0);
    world.run_to_connected(0);
    let new = world.pki.renewed(&identity, |request| request.scopes = Scopes::PUBLISH);
    world.renew(&new).unwrap();
    world.run(secs(2));
    assert_eq!(world.renewals(), [RenewalOutcome::Taken]);
    let now = world.now;
    let refused = world.node(0).device.record(now, Lane::Alarm, &alarm(1));
    assert_eq!(refused.err(), Some(CallError::OutOfScope), "the backend would refuse it in this session");
    world.connect(0);
    world.run(secs(2));
    world.record(0, Lane::Alarm, &alarm(2)).unwrap();
    world.wait_all_drained_and_check(secs(5));
}

#[test]
fn a_renewal_for_somebody_else_is_not_even_sent() {
    let (mut world, _) = connected(3);
    let other = world.pki.device(5);
    let new = world.pki.renewed(&other, |_| {});
    assert!(matches!(world.renew(&new), Err(CallError::BadGrant(_))));
    world.node(0).device.disconnect();
    world.run(secs(2));
    let own = world.pki.device(0);
    let new = world.pki.renewed(&own, |_| {});
    assert_eq!(world.renew(&new), Err(CallError::NoSession));
}

/// What a device makes of a credential in a frame: the hash that it answers, and whether its own has changed.
fn answered(make: impl FnOnce(&Authority, &LocalIdentity) -> Vec<u8>) -> (Vec<u8>, bool) {
    let mut authority = None;
    let mut identity = None;
    let mut facing = Facing::with(|config| {
        authority = Some(Authority::new(SigningKey::generate(&mut Rng::new(1)).unwrap()));
        identity = Some(config.identity.clone());
    });
    let (authority, identity) = (authority.unwrap(), identity.unwrap());
    facing = facing.connect();
    facing.payloads();
    let bytes = make(&authority, &identity);
    facing.frames(&[Frame::CredentialRenewal(&bytes)]);
    let answers: Vec<_> = facing
        .payloads()
        .iter()
        .flat_map(|payload| Frames::parse(payload).unwrap())
        .filter_map(|frame| match frame {
            Frame::CredentialRenewal(hash) => Some(hash.to_vec()),
            _ => None,
        })
        .collect();
    let changed = facing.device.credential() != identity.credential();
    let event = std::iter::from_fn(|| facing.device.poll_event())
        .any(|event| event == DeviceEvent::CredentialRenewed);
    assert_eq!(changed, event);
    assert_eq!(answers.len(), 1, "it answers in any case");
    let bad = facing.device.discards().of(Discard::BadCredential);
    assert_eq!(bad == 1, !changed && bytes != identity.credential().as_bytes());
    (answers[0].clone(), changed)
}

#[test]
fn a_device_takes_its_own_renewal_only_and_says_what_it_has() {
    //= SPEC.md#renewal
    //= type=test
    //# A device MUST NOT take a renewed credential unless an authority that it trusts has signed it for the device's own static key, issuer and subject, and issued it no earlier than the present one.
    //= SPEC.md#renewal
    //= type=test
    //# A device MUST answer a CredentialRenewal frame with the hash of the credential that it has, whether it has taken the new one or not.
    let request = |identity: &LocalIdentity| {
        let subject = identity.identity().unwrap().subject;
        let (issued, until) = (UnixSeconds(1_700_086_400), UnixSeconds(1_900_000_000));
        CredentialRequest::new(9, subject, Role::Device, Scopes::PUBLISH, issued, until)
    };
    let with = |change: fn(&mut CredentialRequest)| {
        let mut hashes = Vec::new();
        let (answer, changed) = answered(|authority, identity| {
            let mut request = request(identity);
            change(&mut request);
            let new = authority.issue(&identity.public_key(), &request).unwrap();
            hashes = vec![identity.credential().hash().0.to_vec(), new.hash().0.to_vec()];
            new.as_bytes().to_vec()
        });
        assert_eq!(answer, hashes[usize::from(changed)]);
        changed
    };
    assert!(with(|_| {}));
    assert!(with(|request| request.issued = UnixSeconds(1_700_000_000)), "issued in the same second");
    assert!(!with(|request| request.issued = UnixSeconds(1_699_999_999)), "older than the present one");
    assert!(!with(|request| request.subject.0[15] ^= 1));
    assert!(!with(|request| request.role = Role::Backend));
    assert!(!with(|request| request.not_after = UnixSeconds(CLOCK.0 - 1)), "expired");
    assert!(!with(|request| request.not_before = UnixSeconds(CLOCK.0 + 301)), "not valid yet");
    let stranger = Authority::new(SigningKey::from_bytes([9; 32]));
    let (answer, changed) = answered(|_, identity| {
        stranger.issue(&identity.public_key(), &request(identity)).unwrap().as_bytes().to_vec()
    });
    assert!(!changed && answer.len() == 16);
    let (_, changed) = answered(|authority, identity| {
        let other = StaticSecret::from_bytes([3; 32]).public_key();
        authority.issue(&other, &request(identity)).unwrap().as_bytes().to_vec()
    });
    assert!(!changed, "for another key");
    let (_, changed) = answered(|authority, identity| {
        let new = authority.issue(&identity.public_key(), &request(identity)).unwrap();
        let mut forged = new.as_bytes().to_vec();
        forged[20] ^= 1;
        forged
    });
    assert!(!changed, "forged");
    assert!(!answered(|_, _| vec![]).1);
    assert!(!answered(|_, _| vec![1; 130]).1);
    let mut present = Vec::new();
    let (answer, changed) = answered(|_, identity| {
        present = identity.credential().hash().0.to_vec();
        identity.credential().as_bytes().to_vec()
    });
    assert_eq!((answer, changed), (present, false), "it has it already");
}

#[test]
fn a_credential_frame_of_the_wrong_length_ends_the_session() {
    //= SPEC.md#renewal
    //= type=test
    //# A reader MUST refuse a CredentialRenewal frame of a device that has not 16 bytes, and one of a backend that has more than 130.
    for (len, good) in [(129, true), (130, true), (131, false)] {
        let mut facing = Facing::connected();
        facing.frames(&[Frame::CredentialRenewal(&vec![1; len])]);
        let closed = facing.said().iter().any(|frame| frame.starts_with("Close"));
        assert_eq!(closed, !good, "{len}");
    }
    for (len, good) in [(15, false), (16, true), (17, false)] {
        let mut against = crate::facing::Against::new(7);
        let frames = against.frames(&[Frame::CredentialRenewal(&vec![1; len])]);
        assert_eq!(frames.iter().any(|frame| frame.starts_with("Close")), !good, "{len}");
        assert_eq!(against.world.backend.discards().of(Discard::Unsolicited), u32::from(good));
    }
}

#[test]
fn lost_renewals_and_answers_come_again_and_end_at_last() {
    for (lose_answers, lost) in
        [(false, 0), (false, 2), (false, 3), (true, 1), (true, 3), (true, 99), (false, 99)]
    {
        let (mut world, identity) = connected(4);
        let new = world.pki.renewed(&identity, |_| {});
        world.run(secs(5));
        let sent = Rc::new(Cell::new(0u32));
        let count = sent.clone();
        let mut left = lost;
        world.link.filter = Some(Box::new(move |to, packet| {
            // A renewal is the only long packet here.
            let renewal = matches!(to, To::Device(_)) && packet.len() > 110;
            count.set(count.get() + u32::from(renewal));
            let hit = if lose_answers { matches!(to, To::Backend(_)) } else { renewal };
            let lose = hit && left > 0;
            left -= u32::from(lose);
            if lose { Verdict::Drop } else { Verdict::Pass }
        }));
        world.renew(&new).unwrap();
        world.run(secs(100));
        world.run(ms(1)); // the last event is polled
        let taken = lost < u32::from(RENEWAL_SENDS);
        let expected = if taken { RenewalOutcome::Taken } else { RenewalOutcome::Unanswered };
        assert_eq!(world.renewals(), [expected], "{lose_answers} {lost}");
        assert!(sent.get() <= RENEWAL_SENDS.into(), "{}", sent.get());
        let has = world.nodes[0].device.credential() == &new;
        assert_eq!(has, taken || lose_answers, "it is taken once, whatever becomes of the answers");
        let events = world.nodes[0].events.iter().filter(|event| **event == DeviceEvent::CredentialRenewed);
        assert_eq!(events.count(), usize::from(has));
    }
}

#[test]
fn a_session_that_ends_ends_its_renewal() {
    let (mut world, identity) = connected(5);
    let new = world.pki.renewed(&identity, |_| {});
    world.link.filter = Some(Box::new(|to, _| match to {
        To::Device(_) => Verdict::Drop,
        To::Backend(_) => Verdict::Pass,
    }));
    world.renew(&new).unwrap();
    world.run(ms(100));
    world.node(0).device.disconnect();
    world.run(secs(1));
    assert_eq!(world.renewals(), [RenewalOutcome::Unanswered]);
    assert_eq!(world.nodes[0].device.credential(), identity.credential());
}

#[test]
fn a_ticket_of_the_old_credential_is_not_used_any_more() {
    let mut identity = None;
    let mut world = with_ticket_and(6, |_| {}, |config| identity = Some(config.identity.clone()));
    world.connect(0);
    world.run_to_connected(0);
    world.run(secs(2));
    let new = world.pki.renewed(&identity.unwrap(), |_| {});
    world.renew(&new).unwrap();
    world.run(secs(2));
    // A DH ratchet brings another ticket, which is of the old credential, too.
    let id = world.identity(0);
    world.backend.hint_rekey(&id).unwrap();
    world.run(secs(120));
    world.node(0).device.disconnect();
    world.run(secs(2));
    world.connect(0);
    world.run_to_connected(0);
    assert_eq!(patterns(&world), [Pattern::Xx, Pattern::Resume, Pattern::Ik]);
    assert_eq!(world.latest_shown().unwrap().serial(), 3);
}
