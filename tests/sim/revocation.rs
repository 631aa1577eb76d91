//! Revoked credentials: sessions, handshakes of every pattern and in every state, tickets; and lists that come late, again,
//! or from the past.

use crate::app::Policy;
use crate::kit::*;
use crate::link::{To, Verdict};
use crate::resume::{patterns, with_ticket, with_ticket_and};
use crate::world::{Setup, World};
use vitalwire::backend::BackendEvent;
use vitalwire::crypto::{SigningKey, StaticSecret};
use vitalwire::device::DeviceEvent;
use vitalwire::framing::Lane;
use vitalwire::identity::*;
use vitalwire::wire::{Pattern, PskId};
use vitalwire::{CloseReason, Discard, UnixSeconds};

pub(crate) const TOLD: DeviceEvent = DeviceEvent::Disconnected(CloseReason::Revoked);

impl World {
    pub(crate) fn take_list(&mut self, list: &[u8]) -> Result<ListTaken, RevocationError> {
        let list = self.pki.anchors().verify_revocations(list, self.pki.time())?;
        self.backend.revoke(self.now, &list)
    }

    /// Puts a list in force that revokes the credentials of these devices.
    pub(crate) fn revoke(&mut self, number: u64, devices: &[usize]) {
        let serials: Vec<_> = devices.iter().map(|&device| serial_of(device)..=serial_of(device)).collect();
        let list = self.pki.list(number, &serials);
        assert_eq!(self.take_list(&list), Ok(ListTaken::New));
    }

    pub(crate) fn count(&self, is: impl Fn(&BackendEvent) -> bool) -> usize {
        self.backend_events.iter().filter(|event| is(event)).count()
    }

    fn turned_away(&self, number: usize) -> usize {
        let event = BackendEvent::Revoked { identity: self.identity(number), serial: serial_of(number) };
        self.count(|known| *known == event)
    }
}

fn is_connected(event: &BackendEvent) -> bool {
    matches!(event, BackendEvent::Connected { .. })
}

pub(crate) fn is_pending(event: &BackendEvent) -> bool {
    matches!(event, BackendEvent::Pending { .. } | BackendEvent::Resuming { .. })
}

#[test]
fn a_list_ends_the_sessions_of_what_it_revokes_and_no_other() {
    //= SPEC.md#revocation-lists
    //= type=test
    //# A backend MUST close the sessions of credentials that a new list revokes, and refuse their handshakes, in whatever state.
    let mut world = Setup::new(1).build();
    for number in 0..3 {
        assert_eq!(world.add(|_| {}), number);
        world.connect(number);
        world.run_to_connected(number);
    }
    // On its way while the list comes: it is out by then.
    world.record(1, Lane::Alarm, &alarm(1)).unwrap();
    world.revoke(1, &[1]);
    world.run(secs(2));
    assert!(world.app.store.stored.is_empty(), "nothing of a revoked device is taken any more");
    assert!(world.nodes[1].events.contains(&TOLD));
    let id = world.identity(1);
    let gone = BackendEvent::Disconnected { identity: id, reason: CloseReason::Revoked };
    assert_eq!((world.turned_away(1), world.count(|event| *event == gone)), (1, 1));
    let in_force = BackendEvent::RevocationList { issuer: id.issuer, number: 1 };
    assert_eq!(world.count(|event| *event == in_force), 1);
    assert_eq!(world.backend.discards().of(Discard::Revoked), 1);
    for other in [0, 2] {
        world.record(other, Lane::Alarm, &alarm(2)).unwrap();
        assert_eq!(world.turned_away(other), 0);
    }
    world.run(secs(2));
    assert_eq!(world.app.store.stored.len(), 2);
    assert!(world.nodes[0].device.is_connected() && !world.nodes[1].device.is_connected());
    let hellos = world.count(is_pending);
    world.run(secs(3600));
    assert_eq!(
        world.count(is_pending),
        hellos,
        "it does not come again by itself, and nobody is asked about it"
    );
}

#[test]
fn handshakes_of_every_pattern_are_refused_with_the_reason_and_nobody_is_asked() {
    let id = PskId([3; 8]);
    for (pinned, with_psk) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut world = Setup::new(2).build();
        let pin = world.pinned();
        world.add(|config| {
            config.psk = with_psk.then(|| (id, psk(5)));
            if pinned {
                pin(config);
            }
        });
        let identity = world.identity(0);
        if with_psk {
            world.backend.enrol(id, psk(5), identity);
            world.app.psks.insert(0, 5);
        }
        world.revoke(1, &[0]);
        world.connect(0);
        world.run(secs(30));
        // IKpsk2's Reply needs the psk, which the application has: nobody asks it.
        let told = world.nodes[0].events.contains(&TOLD);
        assert_eq!(told, !(pinned && with_psk), "{pinned} {with_psk} {:?}", world.nodes[0].events);
        assert!(world.turned_away(0) >= 1);
        assert_eq!((world.count(is_pending), world.count(is_connected)), (0, 0));
        assert_eq!(world.backend.devices(), 0);
    }
}

#[test]
fn a_list_that_comes_while_the_application_thinks_comes_in_time() {
    for pinned in [false, true] {
        let policy = Policy { accept_delay: (500, 500), ..Policy::PROMPT };
        let mut world = Setup { policy, ..Setup::new(3) }.build();
        world.add_pinned_if(pinned);
        world.connect(0);
        world.run(ms(300));
        assert_eq!(world.count(is_pending), 1);
        world.revoke(1, &[0]);
        world.run(secs(5));
        assert_eq!((world.turned_away(0), world.count(is_connected)), (1, 0), "{pinned}");
        assert!(world.nodes[0].events.contains(&TOLD));
    }
}

#[test]
fn a_list_that_comes_while_the_reply_is_computed_or_under_way_comes_in_time() {
    // Jobs take 400 ms: the Hello is read after 400, the Reply written after 800.
    for at in [100, 600, 900] {
        let mut world = Setup { job_delay: (400, 400), ..Setup::new(4) }.build();
        world.add_pinned_if(true);
        world.link.filter = Some(Box::new(move |to, _| match to {
            To::Device(_) => Verdict::Late(500),
            _ => Verdict::Pass,
        }));
        world.connect(0);
        world.run(ms(at));
        world.revoke(1, &[0]);
        world.run(secs(60));
        assert!(world.turned_away(0) >= 1, "{at}");
        assert_eq!(world.count(is_connected), 0, "{at}");
        assert!(world.nodes[0].events.contains(&TOLD), "{at} {:?}", world.nodes[0].events);
    }
}

#[test]
fn tickets_of_a_revoked_credential_are_refused() {
    //= SPEC.md#revocation-lists
    //= type=test
    //# A backend MUST refuse a ticket whose credential is revoked.
    let mut world = with_ticket(5);
    let asked = world.count(is_pending);
    world.revoke(7, &[0]);
    world.record(0, Lane::Alarm, &alarm(5)).unwrap();
    world.connect(0);
    world.run(secs(5));
    assert!(world.backend_events.contains(&BackendEvent::HandshakeRefused(Discard::Revoked)));
    assert_eq!(
        (world.turned_away(0), world.count(is_pending)),
        (2, asked),
        "the ticket, then the credential"
    );
    assert_eq!((world.app.early, world.app.claimed.len()), (0, 0));
    assert_eq!(patterns(&world), [Pattern::Xx], "it hears the reason, and is never connected");
    assert!(world.nodes[0].events.contains(&TOLD));
    // One that waits for its claim when the list comes.
    let slow = |setup: &mut Setup| setup.policy.accept_delay = (500, 500);
    let mut world = with_ticket_and(6, slow, |_| {});
    world.connect(0);
    world.run(ms(300));
    let asked = world.count(|event| matches!(event, BackendEvent::Resuming { .. }));
    assert_eq!(asked, 1);
    world.revoke(7, &[0]);
    world.run(secs(5));
    assert!(!world.nodes[0].device.is_connected() && world.nodes[0].events.contains(&TOLD));
    assert_eq!(world.count(|event| matches!(event, BackendEvent::Resuming { .. })), 1);
}

#[test]
fn tickets_tell_the_number_of_the_list_at_their_origin() {
    let mut world = with_ticket_and(7, |_| {}, |_| {});
    world.revoke(9, &[5]);
    world.connect(0);
    world.run_to_connected(0);
    assert_eq!(world.app.claimed[0].0.revocation, 0, "there was none");
    world.set_clock(24 * 3600);
    world.run(secs(24 * 3600 + 10));
    world.node(0).device.disconnect();
    world.run(secs(2));
    world.connect(0);
    world.run_to_connected(0);
    world.run(secs(2));
    world.node(0).device.disconnect();
    world.run(secs(2));
    world.connect(0);
    world.run_to_connected(0);
    let (claim, _) = world.app.claimed.last().unwrap();
    assert_eq!((claim.revocation, claim.origin > CLOCK), (9, true));
}

#[test]
fn an_old_list_brings_nobody_back_and_a_missed_one_is_not_needed() {
    let mut world = Setup::new(8).connected();
    let lists: Vec<_> = [(1, 7u32), (2, serial_of(0)), (3, serial_of(0))]
        .map(|(number, serial)| world.pki.list(number, &[serial..=serial]))
        .into();
    // Another node has had the second list; this one gets the third at once.
    assert_eq!(world.take_list(&lists[2]), Ok(ListTaken::New));
    assert_eq!(world.take_list(&lists[2]), Ok(ListTaken::Known));
    for old in [&lists[0], &lists[1]] {
        assert_eq!(world.take_list(old), Err(RevocationError::Rollback { known: 3 }));
    }
    let forked = world.pki.list(3, &[]);
    assert_eq!(world.take_list(&forked), Err(RevocationError::Conflict));
    let mut cut = lists[2].clone();
    cut.pop();
    assert!(world.take_list(&cut).is_err());
    world.run(secs(2));
    assert!(!world.nodes[0].device.is_connected());
    assert_eq!(world.turned_away(0), 1);
    // What is kept puts a node that has restarted where it was.
    let kept: Vec<Vec<u8>> = world.backend.revocations().lists().map(|(.., bytes)| bytes.into()).collect();
    world.restart_backend();
    for list in &kept {
        assert_eq!(world.take_list(list), Ok(ListTaken::New));
    }
    world.connect(0);
    world.run(secs(10));
    assert_eq!(world.count(is_connected), 0);
    // A list that is whole may leave out a credential: its device comes again.
    let empty = world.pki.list(4, &[]);
    assert_eq!(world.take_list(&empty), Ok(ListTaken::New));
    world.connect(0);
    world.run_to_connected(0);
}

#[test]
fn a_list_from_the_future_is_refused_and_raises_nothing() {
    let mut world = Setup::new(9).connected();
    let issued = UnixSeconds(CLOCK.0 + 400_000_000);
    let request =
        RevocationRequest { number: 1, issued, issuers: &[], backends: &[], devices: &[0..=u32::MAX] };
    let list = world.pki.authority.revoke(&request).unwrap();
    assert_eq!(world.take_list(&list), Err(RevocationError::NotYetValid));
    world.node(0).device.disconnect();
    world.run(secs(1));
    world.connect(0);
    world.run_to_connected(0);
}

#[test]
fn a_clock_that_jumps_back_does_not_bring_a_revoked_device_back() {
    let mut world = Setup::new(10).connected();
    world.revoke(1, &[0]);
    world.backend.set_wall_clock(UnixSeconds(CLOCK.0 - 40_000_000));
    world.run(secs(2));
    world.connect(0);
    world.run(secs(10));
    assert!(!world.nodes[0].device.is_connected());
    let connected = world.count(is_connected);
    world.backend.set_wall_clock(UnixSeconds(CLOCK.0 + 10_000_000));
    world.connect(0);
    world.run(secs(10));
    assert_eq!(world.count(is_connected), connected);
}

/// A ward's authority under the root, and a device of it.
pub(crate) fn ward_device(world: &mut World, scopes: Scopes) -> (Authority, usize) {
    let ward = Authority::new(SigningKey::from_bytes([0x77; 32]));
    let request = CredentialRequest::new(
        1,
        subject(world.nodes.len()),
        Role::Device,
        scopes,
        UnixSeconds(1_700_000_000),
        UnixSeconds(1_800_000_000),
    );
    let identity = LocalIdentity::issue(&ward, StaticSecret::from_bytes([0x66; 32]), &request).unwrap();
    world.app.store.register(identity.identity().unwrap());
    let number = world.add(move |config| config.identity = identity);
    (ward, number)
}

pub(crate) fn certified(world: &World, ward: &Authority, scopes: Scopes) -> TrustAnchors {
    let request = IntermediateRequest {
        serial: 900,
        roles: Roles::DEVICES,
        scopes,
        issued: UnixSeconds(1_700_000_000),
        not_before: UnixSeconds(1_700_000_000),
        not_after: UnixSeconds(1_800_000_000),
    };
    let certificate = world.pki.authority.certify(&ward.public_key(), &request).unwrap();
    world.pki.anchors().with_intermediate(certificate.as_bytes(), world.pki.time()).unwrap()
}

#[test]
fn devices_of_an_intermediate_authority_come_within_its_scopes_until_it_is_revoked() {
    let mut world = Setup::new(11).build();
    let (ward, number) = ward_device(&mut world, Scopes::PUBLISH);
    world.connect(number);
    world.run(secs(30));
    assert!(!world.nodes[number].device.is_connected(), "nobody knows the ward");
    assert!(world.backend.discards().of(Discard::BadCredential) > 0);
    let anchors = certified(&world, &ward, Scopes::MEASUREMENTS | Scopes::COMMANDS);
    world.backend.set_anchors(anchors);
    world.run_to_connected(number);
    let granted = world.backend_events.iter().find_map(|event| match event {
        BackendEvent::Connected { scopes, .. } => Some(*scopes),
        _ => None,
    });
    assert_eq!(granted, Some(Scopes::MEASUREMENTS), "of what the application grants, too");
    // The device thinks that it may; the record is refused, and reported.
    let now = world.now;
    world.node(number).device.record(now, Lane::Alarm, &alarm(1)).unwrap();
    world.run(secs(2));
    assert!(world.app.store.stored.is_empty());
    assert_eq!(world.count(|event| matches!(event, BackendEvent::ScopeRefused { .. })), 1);
    let issuers = [ward.issuer()];
    let request =
        RevocationRequest { number: 1, issued: CLOCK, issuers: &issuers, backends: &[], devices: &[] };
    let list = world.pki.authority.revoke(&request).unwrap();
    let list = anchors.verify_revocations(&list, world.pki.time()).unwrap();
    world.backend.revoke(world.now, &list).unwrap();
    world.run(secs(2));
    assert!(world.nodes[number].events.contains(&TOLD));
    let anew = certified(&world, &ward, Scopes::PUBLISH);
    world.backend.set_anchors(anew);
    world.connect(number);
    world.run(secs(30));
    assert!(!world.nodes[number].device.is_connected(), "another certificate changes nothing");
}
