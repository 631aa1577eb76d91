//! Less than before: certificates and credentials that are narrowed, withdrawn or over, forged ones, and lists of others,
//! met by sessions, tickets and break-glass that there are already.

use crate::app::Policy;
use crate::kit::*;
use crate::link::{To, Verdict};
use crate::resume::{patterns, with_ticket_and};
use crate::revocation::{TOLD, certified, is_pending, ward_device};
use crate::world::{Setup, World};
use vitalwire::backend::{BackendEvent, BreakGlass, SenderId};
use vitalwire::crypto::{SigningKey, StaticSecret};
use vitalwire::device::DeviceEvent;
use vitalwire::framing::Lane;
use vitalwire::identity::*;
use vitalwire::wire::{Pattern, PskId};
use vitalwire::{CallError, CloseReason, Discard, UnixSeconds};

const WIDE: Scopes = Scopes::PUBLISH;
const NARROW: Scopes = Scopes::MEASUREMENTS;
const SENT_AWAY: DeviceEvent = DeviceEvent::Disconnected(CloseReason::Refused);

/// A world with a device of a ward's authority that is certified for all that devices publish.
fn ward_world(seed: u64) -> (World, Authority) {
    let mut world = Setup { ticket_key: Some(1), ..Setup::new(seed) }.build();
    let (ward, number) = ward_device(&mut world, WIDE);
    assert_eq!(number, 0);
    let anchors = certified(&world, &ward, WIDE);
    world.backend.set_anchors(anchors);
    world.connect(0);
    world.run_to_connected(0);
    world.run(secs(2));
    (world, ward)
}

/// Trust in a ward that may sign for these ends.
fn certified_for(world: &World, ward: &Authority, roles: Roles) -> TrustAnchors {
    let request = IntermediateRequest {
        serial: 1,
        roles,
        scopes: WIDE,
        issued: UnixSeconds(1_700_000_000),
        not_before: UnixSeconds(1_700_000_000),
        not_after: UnixSeconds(1_800_000_000),
    };
    let certificate = world.pki.authority.certify(&ward.public_key(), &request).unwrap();
    world.pki.anchors().with_intermediate(certificate.as_bytes(), world.pki.time()).unwrap()
}

/// The scopes of the latest session.
fn granted(world: &World) -> Option<Scopes> {
    world.backend_events.iter().rev().find_map(|event| match event {
        BackendEvent::Connected { scopes, .. } => Some(*scopes),
        _ => None,
    })
}

/// Lets a device record an alarm that need not arrive; tells whether it was stored.
fn alarm_passes(world: &mut World, number: usize) -> bool {
    let (now, before) = (world.now, world.app.store.stored.len());
    world.record(number, Lane::Alarm, &alarm(now.as_millis() as u32)).unwrap();
    world.run(secs(2));
    world.app.store.stored.len() > before
}

fn disconnect(world: &mut World, number: usize) {
    world.node(number).device.disconnect();
    world.run(secs(2));
}

#[test]
fn a_certificate_that_is_narrowed_narrows_sessions_and_tickets_at_once() {
    //= SPEC.md#intermediate-authorities
    //= type=test
    //# A backend MUST hold the sessions that there are, and tickets, to the certificates that it has now.
    let (mut world, ward) = ward_world(1);
    assert!(alarm_passes(&mut world, 0));
    let narrow = certified(&world, &ward, NARROW);
    world.backend.set_anchors(narrow);
    assert!(!alarm_passes(&mut world, 0));
    let identity = world.identity(0);
    let changed = BackendEvent::ScopesChanged { identity, before: WIDE, scopes: NARROW };
    assert_eq!(world.count(|event| *event == changed), 1);
    let (now, all) = (world.now, Scopes::from_bits(u32::MAX));
    assert_eq!(world.backend.regrant(now, &identity, all), Ok(NARROW), "the operator cannot give it back");
    let life = secs(60);
    let glass = BreakGlass { scopes: all, by: SenderId(1), reason: 1, life };
    assert_eq!(world.backend.break_glass(now, &identity, glass), Ok(NARROW), "nor break-glass");
    // Given back, it holds from the next full handshake on; a ticket of the narrowed session says what that had.
    let wide = certified(&world, &ward, WIDE);
    world.backend.set_anchors(wide);
    assert!(!alarm_passes(&mut world, 0));
    disconnect(&mut world, 0);
    world.connect(0);
    world.run_to_connected(0);
    assert_eq!(patterns(&world), [Pattern::Xx, Pattern::Resume]);

    // A ticket from before, at a node that has another certificate.
    let (mut world, ward) = ward_world(2);
    disconnect(&mut world, 0);
    world.backend = world.another_node();
    let narrow = certified(&world, &ward, NARROW);
    world.backend.set_anchors(narrow);
    world.connect(0);
    world.run_to_connected(0);
    world.run(secs(2));
    assert_eq!((patterns(&world).last(), granted(&world)), (Some(&Pattern::Resume), Some(NARROW)));
    assert!(!alarm_passes(&mut world, 0));
}

#[test]
fn who_has_lost_the_issuer_is_sent_away_in_whatever_state() {
    let (mut world, _) = ward_world(3);
    let roots = world.pki.anchors();
    world.add(|_| {});
    world.connect(1);
    world.run_to_connected(1);
    // On its way while it happens.
    world.record(0, Lane::Alarm, &alarm(1)).unwrap();
    world.backend.set_anchors(roots);
    world.run(secs(2));
    assert!(world.app.store.stored.is_empty() && world.nodes[0].events.contains(&SENT_AWAY));
    assert!(world.nodes[1].device.is_connected() && alarm_passes(&mut world, 1));
    // Its credential is of no use, nor is the ticket of one that was away.
    let (mut away, ward) = ward_world(15);
    disconnect(&mut away, 0);
    let for_backends = certified_for(&away, &ward, Roles::BACKENDS);
    for (world, anchors) in [(&mut world, roots), (&mut away, for_backends)] {
        world.backend.set_anchors(anchors);
        let asked = world.count(is_pending);
        let before = world.backend.discards().of(Discard::BadCredential);
        disconnect(world, 0);
        world.connect(0);
        world.run(secs(400));
        assert_eq!(world.count(is_pending), asked, "nobody is asked");
        assert!(world.backend.discards().of(Discard::BadCredential) > before);
        assert!(!world.nodes[0].device.is_connected());
    }

    // One that waits for the application, and one whose Reply is under way.
    for (at, job_delay) in [(300, 0), (600, 400)] {
        let policy = Policy { accept_delay: (500, 500), ..Policy::PROMPT };
        let mut world = Setup { policy, job_delay: (job_delay, job_delay), ..Setup::new(4) }.build();
        let (ward, number) = ward_device(&mut world, WIDE);
        let anchors = certified(&world, &ward, WIDE);
        world.backend.set_anchors(anchors);
        world.connect(number);
        world.run(ms(at));
        let roots = world.pki.anchors();
        world.backend.set_anchors(roots);
        world.run(secs(20));
        assert_eq!(world.count(|event| matches!(event, BackendEvent::Connected { .. })), 0, "{at}");
        assert!(!world.nodes[number].device.is_connected(), "{at}");
    }
}

/// Credentials for devices that hold until so long after the beginning.
fn short(world: &mut World, number: usize, life: u64) -> LocalIdentity {
    let request = CredentialRequest::new(
        serial_of(number),
        subject(number),
        Role::Device,
        WIDE,
        UnixSeconds(1_700_000_000),
        UnixSeconds(CLOCK.0 + life),
    );
    let secret = StaticSecret::generate(&mut world.rng).unwrap();
    LocalIdentity::issue(&world.pki.authority, secret, &request).unwrap()
}

fn with_life(seed: u64, life: u64) -> World {
    let mut world = Setup { ticket_key: Some(1), ..Setup::new(seed) }.build();
    let identity = short(&mut world, 0, life);
    world.add(|config| config.identity = identity);
    world.connect(0);
    world.run_to_connected(0);
    world.run(secs(2));
    world
}

#[test]
fn a_session_ends_with_the_credential_that_it_was_made_with() {
    //= SPEC.md#validity
    //= type=test
    //# A backend with a clock MUST end a session when the time is over that its device's credential had left at its beginning.
    for resumed in [false, true] {
        let mut world = with_life(5, 3600);
        if resumed {
            world.set_clock(1800);
            disconnect(&mut world, 0);
            world.connect(0);
            world.run_to_connected(0);
            assert_eq!(patterns(&world).last(), Some(&Pattern::Resume));
        }
        let begun = world.now;
        // What is set meanwhile changes nothing.
        world.backend.set_wall_clock(UnixSeconds(CLOCK.0 - 30 * 86_400));
        let left = if resumed { 1800 } else { 3600 };
        world.run_until(begun + secs(left - 10), |_| false);
        assert!(alarm_passes(&mut world, 0), "to the last second");
        world.run_until(begun + secs(left + 2), |_| false);
        let identity = world.identity(0);
        let over = BackendEvent::Disconnected { identity, reason: CloseReason::SessionAge };
        assert_eq!(world.count(|event| *event == over), 1, "{resumed}");
        world.set_clock(3600 + 10);
        let stored = world.app.store.stored.len();
        world.record(0, Lane::Alarm, &alarm(9)).unwrap();
        world.run(secs(600));
        assert_eq!(world.app.store.stored.len(), stored);
        assert!(!world.nodes[0].device.is_drained(), "it keeps what it could not send");
        assert!(world.backend.discards().of(Discard::BadCredential) > 0, "it has come again, expired");
    }
}

#[test]
fn a_clock_that_is_set_back_brings_no_expired_ticket_or_credential_back() {
    let mut world = with_life(6, 100);
    disconnect(&mut world, 0);
    // Another device's credential was issued later: that is the floor.
    world.backend.set_wall_clock(UnixSeconds(CLOCK.0 + 250));
    let request = CredentialRequest::new(
        77,
        subject(1),
        Role::Device,
        WIDE,
        UnixSeconds(CLOCK.0 + 200),
        UnixSeconds(CLOCK.0 + 90_000),
    );
    let secret = StaticSecret::generate(&mut world.rng).unwrap();
    let late = LocalIdentity::issue(&world.pki.authority, secret, &request).unwrap();
    world.add(|config| config.identity = late);
    world.connect(1);
    world.run_to_connected(1);
    world.backend.set_wall_clock(UnixSeconds(CLOCK.0 + 50));
    let asked = world.count(is_pending);
    world.connect(0);
    world.run(secs(60));
    assert!(world.backend.discards().of(Discard::ExpiredTicket) > 0);
    assert!(world.backend.discards().of(Discard::BadCredential) > 0);
    assert_eq!(world.count(is_pending), asked);
    assert!(!world.nodes[0].device.is_connected());
    assert!(world.nodes[1].device.is_connected());
}

fn break_the_glass(world: &mut World) {
    let (now, identity) = (world.now, world.identity(0));
    let glass = BreakGlass { scopes: Scopes::COMMANDS, by: SenderId(1), reason: 1, life: secs(3600) };
    world.backend.break_glass(now, &identity, glass).unwrap();
}

#[test]
fn break_glass_of_a_device_that_is_away_ends_with_its_credential() {
    let mut world = Setup::new(7).connected();
    break_the_glass(&mut world);
    disconnect(&mut world, 0);
    world.revoke(1, &[5]);
    world.run(ms(1));
    let ended = |world: &World| world.count(|event| matches!(event, BackendEvent::BreakGlassEnded { .. }));
    assert_eq!(ended(&world), 0, "somebody else's");
    world.revoke(2, &[0]);
    world.run(ms(1));
    assert_eq!(ended(&world), 1);
    let (now, identity) = (world.now, world.identity(0));
    assert_eq!(world.backend.end_break_glass(now, &identity), Err(CallError::StaleHandle));
}

#[test]
fn break_glass_outlasts_a_credential_that_the_device_has_replaced() {
    let mut world = Setup::new(8).build();
    let mut identity = None;
    world.add(|config| identity = Some(config.identity.clone()));
    world.connect(0);
    world.run_to_connected(0);
    break_the_glass(&mut world);
    let new = world.pki.renewed(&identity.unwrap(), |_| {});
    let (now, id) = (world.now, world.identity(0));
    world.backend.renew(now, &id, &new).unwrap();
    world.run(secs(2));
    disconnect(&mut world, 0);
    world.connect(0);
    world.run_to_connected(0);
    world.run(secs(2));
    world.revoke(1, &[0]);
    world.run(secs(2));
    assert!(world.nodes[0].device.is_connected(), "it has shown the other one");
    assert_eq!(world.backend.end_break_glass(world.now, &id), Ok(()), "the emergency goes on");
}

#[test]
fn who_is_revoked_does_not_wait_for_a_drain() {
    let mut setup = Setup::new(9);
    setup.policy = Policy { commits: false, ..Policy::PROMPT };
    let mut world = setup.connected();
    world.record(0, Lane::Trend, &rate(1)).unwrap();
    world.run(secs(1));
    let now = world.now;
    world.backend.drain(now, secs(600));
    world.run(secs(598));
    assert!(world.nodes[0].device.is_connected(), "its batch is not committed");
    world.revoke(1, &[0]);
    world.run(ms(500));
    assert!(world.nodes[0].events.contains(&TOLD), "{:?}", world.nodes[0].events);
}

#[test]
fn a_revoked_device_whose_close_was_lost_learns_it_by_resets_or_by_silence() {
    const RESET: u8 = 0x15;
    for resets_are_lost in [false, true] {
        let mut world = Setup::new(10).connected();
        world.revoke(1, &[0]);
        world.link.fault_at(0, Verdict::Drop);
        world.run(secs(600));
        assert!(world.nodes[0].device.is_connected(), "it has nothing to say, and hears nothing");
        world.link.filter = Some(Box::new(move |_, packet| match packet[0] {
            RESET if resets_are_lost => Verdict::Drop,
            _ => Verdict::Pass,
        }));
        world.record(0, Lane::Alarm, &alarm(1)).unwrap();
        world.run(secs(8));
        let told = |world: &World| world.nodes[0].events.contains(&TOLD);
        assert_eq!(told(&world), !resets_are_lost, "{:?}", world.nodes[0].events);
        world.run(secs(112));
        assert!(told(&world), "{:?}", world.nodes[0].events);
        assert!(world.backend.discards().of(Discard::UnknownConnection) >= 2);
        assert!(world.app.store.stored.is_empty() && !world.nodes[0].device.is_drained());
    }
}

#[test]
fn a_revoked_device_with_a_psk_hears_silence_and_then_the_reason() {
    let mut world = Setup::new(11).build();
    let (pin, id) = (world.pinned(), PskId([3; 8]));
    world.add(|config| {
        config.psk = Some((id, psk(5)));
        pin(config);
    });
    let identity = world.identity(0);
    world.backend.enrol(id, psk(5), identity);
    world.app.psks.insert(0, 5);
    world.revoke(1, &[0]);
    world.link.log = Some(Vec::new());
    world.connect(0);
    let told = |world: &mut World| world.nodes[0].events.contains(&TOLD);
    let end = world.now + secs(600);
    assert!(world.run_until(end, told), "{:?}", world.nodes[0].events);
    let log = world.link.log.take().unwrap();
    let tried: Vec<u8> = log.iter().filter(|(.., packet)| packet[0] == 0x11).map(|(.., p)| p[1]).collect();
    assert_eq!((tried.first(), tried.last()), (Some(&4), Some(&3)), "IKpsk2, at last XXpsk3");
    assert_eq!(world.count(is_pending), 0, "nobody is asked");
}

#[test]
fn lists_of_others_and_forged_ones_end_nobody() {
    let (mut world, ward) = ward_world(12);
    world.add(|_| {});
    world.connect(1);
    world.run_to_connected(1);
    let anchors = certified(&world, &ward, WIDE);
    let (root, time) = (world.pki.authority.issuer(), world.pki.time());
    let request = |number, issuers| RevocationRequest {
        number,
        issued: CLOCK,
        issuers,
        backends: &[0..=u32::MAX],
        devices: &[0..=u32::MAX],
    };
    // A stranger's; one of a stranger that names the root; one with a bit flipped.
    let stranger = Authority::new(SigningKey::from_bytes([0x55; 32]));
    let list = stranger.revoke(&request(1, &[])).unwrap();
    assert_eq!(anchors.verify_revocations(&list, time).err(), Some(RevocationError::UnknownIssuer));
    let mut forged = list.clone();
    forged[2..10].copy_from_slice(&root.0);
    assert_eq!(anchors.verify_revocations(&forged, time).err(), Some(RevocationError::BadSignature));
    // The ward's own: it revokes the ward's devices, and neither the root's, nor the root, nor itself as an issuer.
    let issuers = {
        let mut issuers = [root, ward.issuer()];
        issuers.sort();
        issuers
    };
    let list =
        ward.revoke(&RevocationRequest { devices: &[], backends: &[], ..request(1, &issuers) }).unwrap();
    let list = anchors.verify_revocations(&list, time).unwrap();
    assert_eq!(world.backend.revoke(world.now, &list), Ok(ListTaken::New));
    world.run(secs(2));
    assert!(world.nodes.iter().all(|node| node.device.is_connected()));
    let list = ward.revoke(&request(2, &[])).unwrap();
    let list = anchors.verify_revocations(&list, time).unwrap();
    assert_eq!(world.backend.revoke(world.now, &list), Ok(ListTaken::New));
    world.run(secs(2));
    assert!(world.nodes[0].events.contains(&TOLD) && world.nodes[1].device.is_connected());
    // Again, from before, and another one with its number: as it was.
    for (number, devices, result) in [
        (2, vec![0..=u32::MAX], Ok(ListTaken::Known)),
        (1, vec![], Err(RevocationError::Rollback { known: 2 })),
        (2, vec![], Err(RevocationError::Conflict)),
    ] {
        let list = ward.revoke(&RevocationRequest {
            devices: &devices,
            backends: if devices.is_empty() { &[] } else { &[0..=u32::MAX] },
            ..request(number, &[])
        });
        let list = list.unwrap();
        let list = anchors.verify_revocations(&list, time).unwrap();
        assert_eq!(world.backend.revoke(world.now, &list), result);
    }
    world.connect(0);
    world.run(secs(400));
    assert!(!world.nodes[0].device.is_connected() && world.nodes[1].device.is_connected());
}

#[test]
fn authorities_that_come_and_go_leave_room_for_the_next_ones_list() {
    let mut world = Setup::new(16).build();
    world.revoke(5, &[7]);
    for number in 0..40u8 {
        let ward = Authority::new(SigningKey::from_bytes([number; 32]));
        let anchors = certified(&world, &ward, WIDE);
        world.backend.set_anchors(anchors);
        let list =
            RevocationRequest { number: 1, issued: CLOCK, issuers: &[], backends: &[], devices: &[1..=9] };
        let list = ward.revoke(&list).unwrap();
        let list = anchors.verify_revocations(&list, world.pki.time()).unwrap();
        assert_eq!(world.backend.revoke(world.now, &list), Ok(ListTaken::New), "ward {number}");
        assert!(world.backend.revocations().is_revoked(&anchors, &ward.issuer(), 5));
    }
    let old = world.pki.list(4, &[]);
    assert_eq!(
        world.take_list(&old),
        Err(RevocationError::Rollback { known: 5 }),
        "the root is trusted still"
    );
}

#[test]
fn forged_intermediates_let_nobody_in() {
    let time = Time::known(CLOCK);
    let mut world = Setup::new(13).build();
    let (ward, number) = ward_device(&mut world, WIDE);
    let anchors = certified(&world, &ward, WIDE);
    let request = IntermediateRequest {
        serial: 1,
        roles: Roles::DEVICES,
        scopes: WIDE,
        issued: UnixSeconds(1_700_000_000),
        not_before: UnixSeconds(1_700_000_000),
        not_after: UnixSeconds(1_800_000_000),
    };
    // Certified by an intermediate authority, by a stranger, by itself in the root's name.
    let below = Authority::new(SigningKey::from_bytes([0x55; 32]));
    let certificate = ward.certify(&below.public_key(), &request).unwrap();
    let refused = |anchors: &TrustAnchors, bytes: &[u8]| anchors.with_intermediate(bytes, time).err();
    assert_eq!(refused(&anchors, certificate.as_bytes()), Some(CredentialError::UnknownIssuer));
    let certificate = below.certify(&below.public_key(), &request).unwrap();
    assert_eq!(refused(&anchors, certificate.as_bytes()), Some(CredentialError::UnknownIssuer));
    let mut bytes = certificate.as_bytes().to_vec();
    bytes[1..9].copy_from_slice(&world.pki.authority.issuer().0);
    assert_eq!(refused(&anchors, &bytes), Some(CredentialError::BadSignature));
    // One that is good, but for backends: its devices are refused, end to end.
    let for_backends = certified_for(&world, &ward, Roles::BACKENDS);
    world.backend.set_anchors(for_backends);
    world.connect(number);
    world.run(secs(60));
    // And one whose authority signs in the root's name, while the ward is trusted.
    world.backend.set_anchors(anchors);
    world.node(number).device.disconnect();
    let before = world.backend.discards().of(Discard::BadCredential);
    assert!(before > 0);
    let secret = StaticSecret::from_bytes([0x44; 32]);
    let key = secret.public_key();
    let (issued, not_after) = (UnixSeconds(1_700_000_000), UnixSeconds(1_800_000_000));
    let request = CredentialRequest::new(9, subject(1), Role::Device, WIDE, issued, not_after);
    let mut bytes = ward.issue(&key, &request).unwrap().as_bytes().to_vec();
    bytes[1..9].copy_from_slice(&world.pki.authority.issuer().0);
    let forged = Credential::from_bytes(&bytes).unwrap();
    let identity = LocalIdentity::new(std::sync::Arc::new(secret), key, forged);
    let forger = world.add(|config| config.identity = identity);
    world.connect(forger);
    world.run(secs(60));
    assert!(world.backend.discards().of(Discard::BadCredential) > before);
    assert_eq!(world.count(is_pending), 0, "nobody is asked");
    assert!(world.nodes.iter().all(|node| !node.device.is_connected()));
}

#[test]
fn a_device_that_ignores_its_narrower_credential_is_ended_by_a_list() {
    // The old credential says more than the new one. What it gave goes on until it is revoked, and no longer.
    let mut identity = None;
    let mut world = with_ticket_and(14, |_| {}, |config| identity = Some(config.identity.clone()));
    let narrow = world.pki.renewed(&identity.unwrap(), |request| request.scopes = NARROW);
    world.connect(0);
    world.run_to_connected(0);
    let (now, id) = (world.now, world.identity(0));
    world.link.filter = Some(Box::new(|to, _| match to {
        To::Device(_) => Verdict::Drop,
        _ => Verdict::Pass,
    }));
    world.backend.renew(now, &id, &narrow).unwrap();
    world.run(secs(40));
    world.link.filter = None;
    assert!(alarm_passes(&mut world, 0), "the session stays what it is");
    world.revoke(1, &[0]);
    assert!(!alarm_passes(&mut world, 0));
    assert!(world.nodes[0].events.contains(&TOLD));
}
