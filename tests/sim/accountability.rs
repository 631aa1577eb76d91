//! Who did what, and why: commands, break-glass, policy, credentials and lists in the audit log of a backend; each kind of
//! entry that there is; and a backend whose log cannot be written.

use crate::app::{Answer, Policy as AppPolicy};
use crate::audit::{noted, two_tags_of_one_boot, two_users_of_one_ticket};
use crate::kit::*;
use crate::link::{To, Verdict};
use crate::world::{Setup, World};
use std::collections::BTreeSet;
use std::fs;
use vitalwire::audit::*;
use vitalwire::backend::*;
use vitalwire::framing::{CONFIGURATION_KIND, ClockQuality, Lane, WallReading};
use vitalwire::identity::*;
use vitalwire::limits::{AUDIT_ESSENTIAL_QUEUE, AUDIT_QUEUE};
use vitalwire::wire::PskId;
use vitalwire::{CallError, CloseReason, Duration, UnixSeconds};

const NURSE: SenderId = SenderId(7);
const STRANGER: SenderId = SenderId(0x0102_0304_0506_0708);
const REASON: u16 = 300;

/// How the log names a sender.
fn operator(sender: SenderId) -> OperatorId {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&sender.0.to_be_bytes());
    OperatorId(id)
}

/// A world whose only device may be commanded, with its identity.
fn connected(seed: u64) -> (World, LocalIdentity) {
    let policy = AppPolicy { scopes: Scopes::PUBLISH | Scopes::COMMANDS, ..AppPolicy::PROMPT };
    let mut world = Setup { policy, ticket_key: Some(1), ..Setup::new(seed) }.build();
    let mut identity = None;
    world.add(|config| identity = Some(config.identity.clone()));
    world.connect(0);
    world.run_to_connected(0);
    world.run(secs(1));
    (world, identity.unwrap())
}

fn rules() -> Rules {
    let mut rules = Rules::new(10);
    rules.allow_commands(Duty(1), 1..=9).unwrap();
    rules.allow_commands(Duty(1), CONFIGURATION_KIND..=u16::MAX).unwrap();
    rules.assign(NURSE, Duty(1)).unwrap();
    rules
}

fn command(kind: u16) -> Command<'static> {
    Command { kind, body: b"2 units", ttl: secs(20) }
}

fn take(world: &mut World) -> Vec<AuditEvent> {
    let mut events = noted(world);
    assert_eq!(events.pop(), Some(AuditEvent::Stopped {}));
    events
}

#[test]
fn the_log_says_who_commanded_what_and_what_became_of_it() {
    let (mut world, _) = connected(1);
    take(&mut world);
    let identity = world.identity(0);
    let give = |world: &mut World, sender: SenderId, kind: u16| {
        let now = world.now;
        world.backend.command_by(now, &rules(), sender, &identity, command(kind)).map(drop)
    };
    assert_eq!(give(&mut world, NURSE, 9), Ok(()));
    assert_eq!(give(&mut world, STRANGER, 9), Err(CallError::OutOfScope), "by policy");
    assert_eq!(give(&mut world, NURSE, CONFIGURATION_KIND), Err(CallError::OutOfScope), "by credential");
    let now = world.now;
    world.backend.command(now, &identity, command(2)).unwrap();
    let denied = world.backend.command(now, &identity, command(CONFIGURATION_KIND));
    assert_eq!(denied.err(), Some(CallError::OutOfScope));
    let long = Command { ttl: Duration::ZERO, ..command(1) };
    assert!(matches!(world.backend.command(now, &identity, long), Err(CallError::BadCommand(_))));
    world.run(secs(2));
    let given = world.nodes[0].commands.iter().find(|given| given.kind == 9).unwrap().id;
    world.node(0).device.command_result(given, Ok(b"")).unwrap();
    world.run(secs(100));
    let by = |sender| Some(operator(sender));
    let denied = |operator, command| AuditEvent::CommandDenied { identity, operator, command };
    let expected = [
        AuditEvent::Commanded { identity, operator: by(NURSE), command: 9, number: 1 },
        denied(by(STRANGER), 9),
        denied(by(NURSE), CONFIGURATION_KIND),
        AuditEvent::Commanded { identity, operator: None, command: 2, number: 2 },
        denied(None, CONFIGURATION_KIND),
        AuditEvent::CommandSettled { identity, number: 1, outcome: "done".into() },
        AuditEvent::CommandSettled { identity, number: 2, outcome: "unknown".into() },
    ];
    assert_eq!(take(&mut world), expected);
}

#[test]
fn the_log_says_who_broke_the_glass_why_and_what_for() {
    let (mut world, _) = connected(2);
    let identity = world.identity(0);
    let now = world.now;
    world.backend.regrant(now, &identity, Scopes::MEASUREMENTS).unwrap();
    take(&mut world);
    let scopes = Scopes::COMMANDS;
    let ask = |life| BreakGlass { scopes, by: NURSE, reason: REASON, life };
    assert!(world.backend.break_glass(now, &identity, ask(Duration::ZERO)).is_err());
    world.backend.break_glass(now, &identity, ask(secs(60))).unwrap();
    world.backend.command_by(now, &rules(), NURSE, &identity, command(1)).unwrap();
    world.backend.command(now, &identity, command(2)).unwrap();
    world.run(secs(1));
    let now = world.now;
    world.backend.end_break_glass(now, &identity).unwrap();
    world.node(0).device.disconnect();
    world.run(secs(1));
    let now = world.now;
    assert_eq!(world.backend.break_glass(now, &identity, ask(secs(60))), Err(CallError::NoSession));
    let operator = operator(NURSE);
    let asked = |outcome: &str| AuditEvent::BreakGlassAsked {
        identity,
        scopes,
        operator,
        reason: REASON,
        outcome: outcome.into(),
    };
    let used = AuditEvent::BreakGlassUsed { identity, scopes, operator };
    let policy = |scopes| AuditEvent::PolicyChanged { identity, scopes };
    let settled = |number| AuditEvent::CommandSettled { identity, number, outcome: "unknown".into() };
    let expected = [
        asked("BadGrant"),
        asked("Granted"),
        AuditEvent::BreakGlassGranted { identity, scopes, operator, seconds: 60 },
        policy(Scopes::MEASUREMENTS | Scopes::COMMANDS),
        AuditEvent::Commanded { identity, operator: Some(operator), command: 1, number: 1 },
        used.clone(),
        AuditEvent::Commanded { identity, operator: None, command: 2, number: 2 },
        used,
        AuditEvent::BreakGlassEnded { identity, operator },
        policy(Scopes::MEASUREMENTS),
        settled(1),
        settled(2),
        AuditEvent::Ended { identity, reason: CloseReason::Application },
        asked("NoSession"),
    ];
    assert_eq!(take(&mut world), expected);
}

#[test]
fn the_log_has_renewals_lists_and_policies_with_their_outcome() {
    let (mut world, own) = connected(3);
    take(&mut world);
    let identity = world.identity(0);
    let issuer = identity.issuer;
    // One that has expired, one that is good, one that the device never hears of.
    let expired = world.pki.renewed(&own, |request| request.not_after = UnixSeconds(CLOCK.0 - 1));
    let good = world.pki.renewed(&own, |_| {});
    let unheard = world.pki.renewed(&own, |_| {});
    for credential in [expired, good] {
        let now = world.now;
        world.backend.renew(now, &identity, &credential).unwrap();
        world.run(secs(3));
    }
    let now = world.now;
    world.backend.renew(now, &identity, &unheard).unwrap();
    world.link.filter = Some(Box::new(|to, _| match to {
        To::Backend(_) => Verdict::Pass,
        _ => Verdict::Drop,
    }));
    world.run(secs(300));
    world.link.filter = None;
    let first = serial_of(0) + 1;
    let failed =
        |serial, outcome: &str| AuditEvent::RenewalFailed { identity, serial, outcome: outcome.into() };
    let mut events = take(&mut world);
    events.retain(|event| !matches!(event, AuditEvent::Ended { .. } | AuditEvent::Accepted { .. }));
    assert_eq!(
        events,
        [
            failed(first, "Refused"),
            AuditEvent::Renewed { identity, serial: first + 1 },
            failed(first + 2, "Unanswered"),
        ]
    );
    world.run(secs(300));
    take(&mut world);
    let mut rules = Rules::new(1);
    rules.allow_devices(Scopes::ALARMS);
    let now = world.now;
    world.backend.apply_policy(now, &rules);
    world.backend.apply_policy(now, &rules);
    let (old, new, fork) =
        (world.pki.list(1, &[]), world.pki.list(2, &[serial_of(0)..=100]), world.pki.list(2, &[200..=201]));
    let give = |world: &mut World, list: &[u8]| {
        let list = world.pki.anchors().verify_revocations(list, world.pki.time()).unwrap();
        world.backend.revoke(world.now, &list)
    };
    assert_eq!(give(&mut world, &new), Ok(ListTaken::New));
    assert_eq!(give(&mut world, &new), Ok(ListTaken::Known));
    assert!(give(&mut world, &old).is_err() && give(&mut world, &fork).is_err());
    let refused =
        |number, reason: &str| AuditEvent::RevocationListRefused { issuer, number, reason: reason.into() };
    let expected = [
        AuditEvent::PolicyChanged { identity, scopes: Scopes::ALARMS },
        AuditEvent::PolicyApplied { asked: 1, changed: 1 },
        AuditEvent::PolicyApplied { asked: 1, changed: 0 },
        AuditEvent::RevocationList { issuer, number: 2 },
    ];
    let events = take(&mut world);
    assert_eq!(events[..4], expected);
    assert!(matches!(events[4], AuditEvent::Revoked { identity: of, .. } if of == identity));
    let lists: Vec<_> =
        events.iter().filter(|event| matches!(event, AuditEvent::RevocationListRefused { .. })).collect();
    assert_eq!(lists, [&refused(1, "Rollback"), &refused(2, "Conflict")]);
}

/// A shift on a ward: a node starts, has a device that is commanded, rekeyed, renewed, narrowed and revoked, and stops.
fn a_shift() -> Vec<AuditEvent> {
    let (mut world, own) = connected(4);
    let (now, identity) = (world.now, world.identity(0));
    world.backend.audit(now).note(now, AuditEvent::Started { version: "1.2.3".into() });
    let psk_id = PskId([3; 8]);
    world.backend.enrol(psk_id, psk(3), identity);
    world.backend.forget_enrolment(psk_id);
    let wall = |unix_millis| WallReading { unix_millis, quality: ClockQuality::Synchronised, error: ms(10) };
    world.backend.set_wall_time(now, wall(1_750_000_000_000));
    world.backend.set_wall_time(now, wall(1_750_000_090_000));
    world.backend.set_wall_clock(UnixSeconds(CLOCK.0 + 500));
    world.backend.set_anchors(world.pki.anchors());
    world.backend.hint_rekey(&identity).unwrap();
    world.run(secs(1));
    for (number, expired) in [true, false].into_iter().enumerate() {
        let until = if expired { CLOCK.0 - 1 } else { 1_900_000_000 + number as u64 };
        let new = world.pki.renewed(&own, |request| request.not_after = UnixSeconds(until));
        let now = world.now;
        world.backend.renew(now, &identity, &new).unwrap();
        world.run(secs(3));
    }
    // A packet that comes again, and strangers.
    world.link.log = Some(Vec::new());
    world.record(0, Lane::Event, &event(1)).unwrap();
    world.drain(secs(5));
    let log = world.link.log.take().unwrap();
    let (_, _, packet) = log.iter().find(|(_, to, _)| matches!(to, To::Backend(_))).unwrap().clone();
    world.deliver(To::Backend(7), packet);
    world.deliver(To::Backend(8), vec![0x11; 120]);
    let now = world.now;
    world.backend.apply_policy(now, &Rules::new(1));
    world.record(0, Lane::Event, &event(2)).unwrap();
    world.run(secs(1));
    let glass = BreakGlass { scopes: Scopes::COMMANDS, by: NURSE, reason: REASON, life: secs(30) };
    let now = world.now;
    world.backend.break_glass(now, &identity, glass).unwrap();
    world.backend.command_by(now, &rules(), NURSE, &identity, command(1)).unwrap();
    for _ in 0..40 {
        let _ = world.backend.command_by(now, &rules(), STRANGER, &identity, command(1));
    }
    // Strangers and staff are counted by the minute.
    world.run(secs(61));
    let now = world.now;
    world.backend.audit(now);
    let list = |number, runs: &[_]| world.pki.list(number, runs);
    for list in [list(2, &[1..=50]), list(1, &[])] {
        let list = world.pki.anchors().verify_revocations(&list, world.pki.time()).unwrap();
        let _ = world.backend.revoke(world.now, &list);
    }
    world.run(secs(2));
    world.app.policy.accept = Answer::Refuse;
    world.pki.renewed(&own, |request| request.serial = 60);
    let late = world.pki.device(1);
    world.add(|config| config.identity = late);
    world.connect(1);
    world.run(secs(3));
    let now = world.now;
    world.backend.drain(now, secs(1));
    world.run(secs(3));
    noted(&mut world)
}

/// Handshakes that are refused, and more of them than a shard takes.
fn a_siege() -> Vec<AuditEvent> {
    let mut setup = Setup::new(5);
    setup.backend = |config| config.max_half_open = 1;
    let mut world = setup.build();
    let pinned = world.pinned();
    world.add(pinned);
    world.backend.set_wall_clock(UnixSeconds(1_800_000_001));
    world.connect(0);
    world.run(secs(2));
    let pinned = world.pinned();
    world.app.policy.accept = Answer::Never;
    world.backend.set_wall_clock(CLOCK);
    for number in 1..4 {
        world.add(&pinned);
        world.connect(number);
    }
    world.run(secs(1));
    noted(&mut world)
}

/// More than there is room for, a sink that fails, and a file that a power cut has torn.
fn a_bad_disk() -> Vec<AuditEvent> {
    let (mut world, _) = connected(6);
    let (now, identity) = (world.now, world.identity(0));
    for round in 0..AUDIT_ESSENTIAL_QUEUE {
        let scopes = if round % 2 == 0 { Scopes::MEASUREMENTS } else { Scopes::PUBLISH };
        world.backend.regrant(now, &identity, scopes).unwrap();
    }
    let directory = std::env::temp_dir().join(format!("vitalwire-sim-audit-{}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir(&directory).unwrap();
    let path = directory.join("audit.log");
    let open =
        || AuditFile::open(&path, NodeId(*b"ward-7-a"), SyncPolicy::EveryRun, &mut Rng::new(9)).unwrap();
    let (file, mut log) = open();
    let mut sink = Failing { file, fails: true };
    let queue = world.backend.audit(now);
    assert!(log.run(now, queue, &mut sink, &mut world.rng).is_err());
    sink.fails = false;
    log.run(now, queue, &mut sink, &mut world.rng).unwrap();
    queue.note(now, AuditEvent::Stopped {});
    log.run(now, queue, &mut sink, &mut world.rng).unwrap();
    let torn = fs::read(&path).unwrap();
    fs::write(&path, &torn[..torn.len() - 1]).unwrap();
    let (mut file, mut log) = open();
    log.run(now, world.backend.audit_stop(now), &mut file, &mut world.rng).unwrap();
    let mut events = Vec::new();
    let each = &mut |_: &Verifier, entry: Entry| match entry.kind {
        Kind::Event(event) => events.push(event),
        Kind::Checkpoint { .. } => {}
        other => panic!("{other:?}"),
    };
    read_log(&mut fs::File::open(&path).unwrap(), None, each).unwrap();
    let _ = fs::remove_dir_all(&directory);
    events
}

struct Failing {
    file: AuditFile,
    fails: bool,
}

impl AuditSink for Failing {
    fn append(&mut self, bytes: &[u8]) -> Result<(), SinkFailed> {
        if self.fails { Err(SinkFailed) } else { self.file.append(bytes) }
    }

    fn keep_keys(
        &mut self,
        present: &vitalwire::crypto::SigningKey,
        next: Option<&vitalwire::crypto::SigningKey>,
    ) -> Result<(), SinkFailed> {
        self.file.keep_keys(present, next)
    }
}

#[test]
fn every_kind_is_caused_by_a_real_run() {
    // What this version does not write any more: of before commands were numbered.
    let former = [14];
    let runs = [a_shift(), a_siege(), a_bad_disk(), two_tags_of_one_boot(), two_users_of_one_ticket().0];
    let caused: BTreeSet<u8> = runs.iter().flatten().map(AuditEvent::code).collect();
    let missing: Vec<_> =
        AuditEvent::KINDS.iter().filter(|(code, _)| caused.contains(code) == former.contains(code)).collect();
    assert!(missing.is_empty(), "no run causes these, or one does that should not: {missing:?}");
}

/// Keeps what it is given, unless it is told to fail.
#[derive(Default)]
struct Memory {
    bytes: Vec<u8>,
    fails: bool,
}

impl AuditSink for Memory {
    fn append(&mut self, bytes: &[u8]) -> Result<(), SinkFailed> {
        if self.fails {
            return Err(SinkFailed);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

#[test]
fn a_backend_goes_on_while_its_log_cannot_be_written_and_says_afterwards_what_is_missing() {
    let (mut world, _) = connected(7);
    let identity = world.identity(0);
    let mut sink = Memory { fails: true, ..Memory::default() };
    let mut log = AuditLog::new(NodeId(*b"ward-7-a"), &mut world.rng).unwrap();
    let (mut refused, mut failed) = (0, 0);
    for round in 0..20u64 {
        world.record(0, Lane::Event, &event(round as u32)).unwrap();
        world.run(secs(1));
        let now = world.now;
        for _ in 0..60 {
            let scopes = if refused % 2 == 0 { Scopes::MEASUREMENTS } else { Scopes::PUBLISH };
            world.backend.regrant(now, &identity, scopes).unwrap();
            refused += 1;
        }
        world.backend.regrant(now, &identity, Scopes::PUBLISH).unwrap();
        failed += u32::from(log.run(now, world.backend.audit(now), &mut sink, &mut world.rng).is_err());
        let counters = world.backend.counters();
        assert!(counters.audit_waiting <= (AUDIT_QUEUE + AUDIT_ESSENTIAL_QUEUE) as u64);
    }
    world.wait_all_drained_and_check(secs(10));
    assert_eq!(world.app.store.stored.len(), 20, "records go on");
    let counters = world.backend.counters();
    assert!(counters.audit_lost > 0);
    assert_eq!(counters.audit_essential_waiting, AUDIT_ESSENTIAL_QUEUE as u64);
    sink.fails = false;
    let now = world.now;
    log.run(now, world.backend.audit(now), &mut sink, &mut world.rng).unwrap();
    assert_eq!(world.backend.counters().audit_waiting, 0);
    let (mut lost, mut told) = (0, 0);
    let each = &mut |_: &Verifier, entry: Entry| match entry.kind {
        Kind::Event(AuditEvent::Lost { usual, essential }) => lost += usual + essential,
        Kind::Event(AuditEvent::SinkFailed { times }) => told += times,
        _ => {}
    };
    read_log(&mut sink.bytes.as_slice(), None, each).unwrap();
    assert_eq!((lost, told), (counters.audit_lost, failed));
}
