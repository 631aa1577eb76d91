//! What a backend notes for an auditor, in real runs: every kind that it can cause, and nothing that it must not.

use crate::app::{Answer, Policy, content};
use crate::kit::*;
use crate::link::To;
use crate::puppet::PuppetDevice;
use crate::resume::with_ticket;
use crate::world::{Setup, World};
use vitalwire::audit::{AuditEvent, AuditLog, AuditSink, NodeId, SinkFailed, verify};
use vitalwire::backend::{ClaimOutcome, Command, TicketClaim};
use vitalwire::crypto::SigningKey;
use vitalwire::framing::Lane;
use vitalwire::identity::{Authority, IssuerId, Scopes, TrustAnchors};
use vitalwire::wire::{Pattern, PskId};
use vitalwire::{CloseReason, Discard, Duration, UnixSeconds};

/// Takes all that a backend has noted, as if it stopped now.
pub(crate) fn noted(world: &mut World) -> Vec<AuditEvent> {
    let now = world.now;
    let queue = world.backend.audit_stop(now);
    std::iter::from_fn(|| queue.pop()).map(|noted| noted.event).collect()
}

fn counted(events: &[AuditEvent], name: &str) -> u64 {
    let counts = events.iter().filter_map(|event| match event {
        AuditEvent::Strangers { counts }
        | AuditEvent::Tampering { counts }
        | AuditEvent::LimitsReached { counts } => Some(counts),
        _ => None,
    });
    counts.flatten().filter(|count| count.name.as_str() == name).map(|count| count.count).sum()
}

#[test]
fn a_session_is_noted_from_its_handshake_to_its_end() {
    let mut world = Setup { ticket_key: Some(1), ..Setup::new(1) }.connected();
    let identity = world.identity(0);
    world.run(secs(3));
    world.backend.hint_rekey(&identity).unwrap();
    world.run(secs(1));
    world.record(0, Lane::Event, &rate(1)).unwrap();
    world.run(secs(1));
    world.backend.disconnect(&identity, CloseReason::Application).unwrap();
    world.run(secs(5));
    let now = world.now;
    world.backend.drain(now, Duration::ZERO);
    world.run(secs(1));
    let events = noted(&mut world);
    let (scopes, serial) = (Scopes::PUBLISH, Some(serial_of(0)));
    let accepted = |pattern| AuditEvent::Accepted { identity, serial, pattern, scopes };
    let expected = [
        AuditEvent::TicketKeysSet {},
        accepted(Pattern::Xx),
        AuditEvent::Rekeyed { identity, ratchets: 1 },
        AuditEvent::Ended { identity, reason: CloseReason::Application },
        accepted(Pattern::Resume),
        AuditEvent::Draining { within: 0 },
        AuditEvent::Ended { identity, reason: CloseReason::Draining },
        AuditEvent::Drained { uncommitted: 0 },
    ];
    // After the drain the device tries to come back, which is no event.
    assert_eq!(events[..8], expected);
    assert_eq!(events.last(), Some(&AuditEvent::Stopped {}));
}

#[test]
fn who_is_turned_away_or_refused_is_noted_with_the_reason() {
    let mut world = Setup::new(2).build();
    world.app.policy.accept = Answer::Refuse;
    world.add(|_| {});
    world.connect(0);
    world.run(secs(2));
    let identity = world.identity(0);
    let events = noted(&mut world);
    assert_eq!(events[0], AuditEvent::TurnedAway { identity, reason: CloseReason::Refused });
    assert!(!events.iter().any(|event| matches!(event, AuditEvent::Accepted { .. })), "it never was online");

    let mut world = Setup::new(3).build();
    let pinned = world.pinned();
    world.add(pinned);
    let late = UnixSeconds(1_800_000_001);
    world.backend.set_wall_clock(late);
    world.connect(0);
    world.run(secs(2));
    let events = noted(&mut world);
    assert_eq!(events[0], AuditEvent::ClockSet { before: Some(CLOCK), after: late });
    assert_eq!(events[1], AuditEvent::Refused { reason: Discard::BadCredential.into() });
}

#[test]
fn refused_records_and_ended_commands_are_noted() {
    let policy = Policy { scopes: Scopes::COMMANDS, ..Policy::PROMPT };
    let mut world = Setup { policy, ..Setup::new(4) }.connected();
    let (now, identity) = (world.now, world.identity(0));
    world.record(0, Lane::Event, &rate(1)).unwrap();
    let command = Command { kind: 1, body: b"2 units", ttl: secs(2) };
    world.backend.command(now, &identity, command).unwrap();
    world.run(secs(90));
    let events = noted(&mut world);
    let refused = |event: &&AuditEvent| matches!(event, AuditEvent::ScopeRefused { identity: of, boot: 7, lane: Lane::Event, first: 0, count: 1, .. } if *of == identity);
    assert_eq!(events.iter().filter(refused).count(), 1);
    let given = AuditEvent::Commanded { identity, operator: None, command: 1, number: 1 };
    let ended = AuditEvent::CommandSettled { identity, number: 1, outcome: "unknown".into() };
    for expected in [given, ended] {
        assert_eq!(events.iter().filter(|event| **event == expected).count(), 1, "{expected:?}");
    }
}

/// What is noted when two devices come with the same identity and boot.
pub(crate) fn two_tags_of_one_boot() -> Vec<AuditEvent> {
    let mut world = Setup::new(5).connected();
    world.record(0, Lane::Event, &rate(1)).unwrap();
    world.drain(secs(5));
    let identity = world.identity(0);
    let double = world.pki.device(0);
    world.add(|config| config.identity = double);
    world.app.store.register(identity);
    let now = world.now;
    world.app.store.expected.insert((0, Lane::Trend, 0), content(0, now, &rate(2)));
    world.node(1).device.record(now, Lane::Trend, &rate(2)).unwrap();
    world.connect(1);
    world.run(secs(2));
    noted(&mut world)
}

/// What is noted when a ticket that another node has seen comes again; with whose it is.
pub(crate) fn two_users_of_one_ticket() -> (Vec<AuditEvent>, TicketClaim) {
    let mut world = with_ticket(6);
    world.connect(0);
    world.run_to_connected(0);
    world.run(secs(3));
    let claim = world.app.claimed[0].0;
    let thief = TicketClaim { hello: [9; 32], ..claim };
    assert_eq!(world.app.claims.claim(CLOCK, &thief), ClaimOutcome::Other);
    world.node(0).device.disconnect();
    world.settle();
    world.connect(0);
    world.run(secs(2));
    (noted(&mut world), claim)
}

#[test]
fn two_tags_of_one_boot_and_two_users_of_one_ticket_are_noted() {
    let events = two_tags_of_one_boot();
    let conflict = |event: &AuditEvent| matches!(event, AuditEvent::TagConflict { identity, boot: 7, known, named } if number_of(identity) == 0 && known != named);
    assert!(events.iter().any(conflict), "{events:?}");
    let (events, claim) = two_users_of_one_ticket();
    let conflict = AuditEvent::TicketConflict { identity: claim.identity, origin: claim.origin };
    assert!(events.contains(&conflict), "{events:?}");
    assert!(events.contains(&AuditEvent::Refused { reason: Discard::TicketReused.into() }));
}

#[test]
fn strangers_and_replays_are_counted_and_cost_one_entry_a_minute() {
    let mut world = Setup::new(7).connected();
    noted(&mut world);
    world.link.log = Some(Vec::new());
    world.record(0, Lane::Event, &rate(1)).unwrap();
    world.drain(secs(5));
    let log = world.link.log.take().unwrap();
    let (_, _, packet) = log.iter().find(|(_, to, _)| matches!(to, To::Backend(_))).unwrap().clone();
    for round in 0..1_000u64 {
        world.deliver(To::Backend(7), packet.clone());
        let mut stranger = vec![0x11; 120];
        stranger[1] = 1;
        stranger[40..48].copy_from_slice(&round.to_le_bytes());
        world.deliver(To::Backend(8), stranger);
        if round == 500 {
            world.run(secs(61));
            let now = world.now;
            assert_eq!(world.backend.audit(now).len(), 2);
            world.run(secs(1));
        }
    }
    let now = world.now;
    assert_eq!(world.backend.audit(now).len(), 2, "within the next minute");
    let events = noted(&mut world);
    assert_eq!(counted(&events, "Replayed"), 1_000);
    let strangers: u64 =
        ["BadHelloMac", "MalformedHeader", "ShortHello"].map(|name| counted(&events, name)).iter().sum();
    assert_eq!((strangers, events.len()), (1_000, 5));
}

#[test]
fn limits_that_are_reached_are_counted() {
    let mut setup = Setup::new(8);
    setup.backend = |config| config.max_half_open = 1;
    setup.policy.accept = Answer::Never;
    let mut world = setup.build();
    let anchors = world.pki.anchors();
    for number in 0..5u64 {
        let identity = world.pki.device(number as usize);
        let mut device = PuppetDevice::new(identity, anchors, None);
        device.rng = Rng::new(number);
        let hello = device.hello();
        world.deliver(To::Backend(number), hello);
        world.settle();
    }
    let events = noted(&mut world);
    assert_eq!(counted(&events, "CookieRequired") + counted(&events, "TooManyPending"), 4);
}

#[test]
fn what_the_operator_does_is_noted() {
    let mut world = Setup::new(9).connected();
    noted(&mut world);
    let identity = world.identity(0);
    let id = PskId([3; 8]);
    world.backend.enrol(id, psk(3), identity);
    world.backend.forget_enrolment(id);
    world.backend.forget_enrolment(id);
    world.backend.set_ticket_keys(ticket_keys(2));
    let wall = |unix_millis| vitalwire::framing::WallReading {
        unix_millis,
        quality: vitalwire::framing::ClockQuality::Synchronised,
        error: ms(10),
    };
    let now = world.now;
    world.backend.set_wall_time(now, wall(1_750_000_000_000));
    world.backend.set_wall_time(now, wall(1_750_000_090_000));
    world.backend.set_wall_clock(UnixSeconds(CLOCK.0 + 500));
    world.backend.regrant(now, &identity, Scopes::NONE).unwrap();
    let other = Authority::new(SigningKey::from_bytes([8; 32])).public_key();
    let keys = [world.pki.authority.public_key(), other];
    world.backend.set_anchors(TrustAnchors::new(&keys).unwrap());
    let expected = [
        AuditEvent::Enrolled { psk: id, identity },
        AuditEvent::EnrolmentForgotten { psk: id },
        AuditEvent::TicketKeysSet {},
        AuditEvent::ClockJumped { millis: 90_000 },
        AuditEvent::ClockSet { before: Some(CLOCK), after: UnixSeconds(CLOCK.0 + 500) },
        AuditEvent::PolicyChanged { identity, scopes: Scopes::NONE },
        AuditEvent::AnchorsSet { issuers: keys.iter().map(IssuerId::of).collect() },
        AuditEvent::Stopped {},
    ];
    assert_eq!(noted(&mut world), expected);
}

#[test]
fn an_application_that_takes_no_events_leaves_nothing_out_of_the_log() {
    let mut world = Setup::new(10).connected();
    noted(&mut world);
    let identity = world.identity(0);
    let now = world.now;
    world.backend.disconnect(&identity, CloseReason::Application).unwrap();
    let mut out = [0; 1500];
    while world.backend.poll_transmit(now, &mut world.rng, &mut out).unwrap().is_some() {}
    assert_eq!(noted(&mut world)[0], AuditEvent::Ended { identity, reason: CloseReason::Application });
}

struct Memory(Vec<u8>);

impl AuditSink for Memory {
    fn append(&mut self, bytes: &[u8]) -> Result<(), SinkFailed> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

#[test]
fn a_log_has_no_values_keys_or_addresses() {
    //= SPEC.md#audit-log
    //= type=test
    //# A log MUST NOT have records, their values, keys or network addresses in it.
    let mut world = Setup { ticket_key: Some(1), ..Setup::new(11) }.build();
    world.nodes.clear();
    world.add(|_| {});
    // An address and a value that occur nowhere else.
    let path = 0x7a7b_7c7d_7172_7374u64;
    world.node(0).path = path;
    world.connect(0);
    world.run_to_connected(0);
    let value = 0x1357_9bdf;
    world.record(0, Lane::Event, &event(value)).unwrap();
    world.backend.enrol(PskId([4; 8]), psk(0x66), world.identity(0));
    world.run(secs(3));
    world.node(0).device.disconnect();
    world.run(secs(70));
    let mut log = AuditLog::new(NodeId(*b"somewher"), &mut world.rng).unwrap();
    let (now, mut sink) = (world.now, Memory(Vec::new()));
    log.run(now, world.backend.audit_stop(now), &mut sink, &mut world.rng).unwrap();
    log.checkpoint(now, &mut sink, &mut world.rng).unwrap();
    let report = verify(&mut sink.0.as_slice(), None).unwrap();
    assert!(report.entries >= 5);
    let has = |needle: &[u8]| sink.0.windows(needle.len()).any(|window| window == needle);
    assert!(has(&world.identity(0).subject.0), "a device is named");
    for (what, bytes) in [
        ("address", &path.to_le_bytes()[..]),
        ("address", &path.to_be_bytes()[..]),
        ("ticket key", &[1; 16][..]),
        ("psk", &[0x66; 16][..]),
        ("the service's static key", &world.backend_identity.public_key().0[..]),
        ("a value", &value.to_le_bytes()[..]),
        ("a value", &[0xdf, 0xb7, 0xde, 0x9a, 0x01][..]),
    ] {
        assert!(!has(bytes), "{what}");
    }
}
