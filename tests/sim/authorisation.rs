//! What a device may do changes while it is connected: narrowed, widened, by policy, by break-glass; and who may command.

use crate::app::Policy as AppPolicy;
use crate::kit::*;
use crate::link::{Faults, To, Verdict};
use crate::world::{Setup, World};
use std::collections::BTreeMap;
use vitalwire::backend::*;
use vitalwire::framing::{CONFIGURATION_KIND, Lane};
use vitalwire::identity::{Identity, Scopes};
use vitalwire::limits::{MAX_BREAK_GLASS, MAX_BREAK_GLASS_LIFE, RESERVED_EVENTS};
use vitalwire::{CallError, Discard, Duration, UnixSeconds};

const NURSE: SenderId = SenderId(7);
const STRANGER: SenderId = SenderId(8);
const REASON: u16 = 3;

fn glass(scopes: Scopes, life: Duration) -> BreakGlass {
    BreakGlass { scopes, by: NURSE, reason: REASON, life }
}

impl World {
    fn regrant(&mut self, scopes: Scopes) -> Result<Scopes, CallError> {
        let (now, identity) = (self.now, self.identity(0));
        self.backend.regrant(now, &identity, scopes)
    }

    fn glass(&mut self, scopes: Scopes, life: Duration) -> Result<Scopes, CallError> {
        let (now, identity) = (self.now, self.identity(0));
        self.backend.break_glass(now, &identity, glass(scopes, life))
    }

    /// Tells whether an alarm gets through now.
    fn alarm_passes(&mut self) -> bool {
        let (now, before) = (self.now, self.app.store.stored.len());
        let refused = self.backend.discards().of(Discard::ScopeRefused);
        self.record(0, Lane::Alarm, &alarm(now.as_millis() as u32)).unwrap();
        self.run(secs(2));
        let passed = self.app.store.stored.len() > before;
        assert_eq!(self.backend.discards().of(Discard::ScopeRefused) > refused, !passed);
        passed
    }

    fn changes(&self) -> Vec<(Scopes, Scopes)> {
        let change = |event: &BackendEvent| match event {
            BackendEvent::ScopesChanged { before, scopes, .. } => Some((*before, *scopes)),
            _ => None,
        };
        self.backend_events.iter().filter_map(change).collect()
    }
}

#[test]
fn a_session_is_narrowed_and_widened_at_once_and_never_above_its_credential() {
    //= SPEC.md#authorisation
    //= type=test
    //# A backend MUST NOT grant a scope that the device's credential lacks.
    //= SPEC.md#authorisation
    //= type=test
    //# A backend MUST apply a changed grant to the sessions that there are, before it takes another record.
    let mut world = Setup::new(1).connected();
    assert!(world.alarm_passes());
    // On its way, when the grant changes.
    world.record(0, Lane::Event, &event(1)).unwrap();
    assert_eq!(world.regrant(Scopes::MEASUREMENTS), Ok(Scopes::MEASUREMENTS));
    world.run(secs(2));
    assert_eq!(world.app.store.stored.len(), 1);
    assert!(!world.alarm_passes());
    let everything = Scopes::from_bits(u32::MAX);
    let permitted = Scopes::PUBLISH | Scopes::COMMANDS;
    assert_eq!(world.regrant(everything), Ok(permitted), "what the credential says");
    assert!(world.alarm_passes());
    assert_eq!(world.regrant(Scopes::NONE), Ok(Scopes::NONE));
    assert!(!world.alarm_passes());
    assert_eq!(
        world.changes(),
        [
            (Scopes::PUBLISH, Scopes::MEASUREMENTS),
            (Scopes::MEASUREMENTS, permitted),
            (permitted, Scopes::NONE)
        ]
    );
    assert_eq!(world.regrant(Scopes::NONE), Ok(Scopes::NONE));
    assert_eq!(world.changes().len(), 3, "no change, no event");
    world.node(0).device.disconnect();
    world.run(secs(2));
    assert_eq!(world.regrant(Scopes::PUBLISH), Err(CallError::NoSession));
}

#[test]
fn a_session_that_is_not_proved_yet_does_not_bring_the_former_scopes_back() {
    for at in [150, 450] {
        // Accepted after 100 ms; the Reply is written after 200 ms more.
        let mut world = Setup { job_delay: (100, 100), ..Setup::new(2) }.build();
        world.add_pinned_if(true);
        world.link.filter = Some(Box::new(|to, packet| match to {
            To::Backend(_) if packet[0] & 0x80 != 0 => Verdict::Late(1_000),
            _ => Verdict::Pass,
        }));
        world.connect(0);
        world.run(ms(at));
        assert_eq!(world.backend.ratchets(&world.identity(0)), None, "nothing is proved");
        assert_eq!(world.regrant(Scopes::MEASUREMENTS), Ok(Scopes::MEASUREMENTS), "{at}");
        world.run(secs(3));
        let connected = world.backend_events.iter().find_map(|event| match event {
            BackendEvent::Connected { scopes, .. } => Some(*scopes),
            _ => None,
        });
        assert_eq!(connected, Some(Scopes::MEASUREMENTS), "{at}");
    }
}

fn may_command() -> AppPolicy {
    AppPolicy { scopes: Scopes::PUBLISH | Scopes::COMMANDS, ..AppPolicy::PROMPT }
}

fn command(kind: u16) -> Command<'static> {
    Command { kind, body: b"stop", ttl: secs(60) }
}

#[test]
fn commands_end_when_the_scope_for_them_goes() {
    let mut world = Setup { policy: may_command(), ..Setup::new(3) }.connected();
    world.run(secs(2));
    let (now, identity) = (world.now, world.identity(0));
    world.backend.command(now, &identity, command(1)).unwrap();
    world.run(secs(2));
    assert_eq!(world.nodes[0].commands.len(), 1, "sent, without a result yet");
    let (now, silent) = (world.now, world.identity(0));
    world.link.filter = Some(Box::new(|_, _| Verdict::Drop));
    world.backend.command(now, &silent, command(2)).unwrap();
    assert_eq!(world.regrant(Scopes::PUBLISH), Ok(Scopes::PUBLISH));
    world.link.filter = None;
    world.run(secs(100));
    let outcomes: Vec<_> = world
        .backend_events
        .iter()
        .filter_map(|event| match event {
            BackendEvent::CommandEnded { outcome, .. } => Some(*outcome),
            _ => None,
        })
        .collect();
    assert_eq!(outcomes, [CommandOutcome::Unknown, CommandOutcome::NotSent]);
    assert_eq!(world.nodes[0].commands.len(), 1, "the second one never went out");
    let now = world.now;
    assert_eq!(world.backend.command(now, &identity, command(1)), Err(CallError::OutOfScope));
    // A result that comes late is no result of anything any more.
    let id = world.nodes[0].commands[0].id;
    world.node(0).device.command_result(id, Ok(b"")).unwrap();
    world.run(secs(2));
    assert_eq!(world.backend.discards().of(Discard::Unsolicited), 1);
}

#[test]
fn a_sender_commands_what_the_policy_lets_him_and_every_attempt_is_told() {
    //= SPEC.md#authorisation
    //= type=test
    //# A backend MUST refuse a command that the policy of its operator does not permit to its sender.
    let mut world = Setup { policy: may_command(), ..Setup::new(4) }.connected();
    let mut rules = Rules::new(10);
    rules.allow_commands(Duty(1), 1..=9).unwrap();
    rules.allow_commands(Duty(1), CONFIGURATION_KIND..=u16::MAX).unwrap();
    rules.assign(NURSE, Duty(1)).unwrap();
    let identity = world.identity(0);
    let mut told = Vec::new();
    let mut give = |world: &mut World, sender: SenderId, kind: u16| {
        let now = world.now;
        let given = world.backend.command_by(now, &rules, sender, &identity, command(kind));
        world.run(secs(1));
        told.extend(world.backend_events.drain(..).filter(|event| {
            matches!(event, BackendEvent::Commanded { .. } | BackendEvent::CommandDenied { .. })
        }));
        given
    };
    let id = give(&mut world, NURSE, 9).unwrap();
    assert_eq!(give(&mut world, NURSE, 10), Err(CallError::OutOfScope), "not her kind");
    assert_eq!(give(&mut world, STRANGER, 9), Err(CallError::OutOfScope), "not his");
    assert_eq!(
        give(&mut world, NURSE, CONFIGURATION_KIND),
        Err(CallError::OutOfScope),
        "the policy does not make up for what the credentials lack"
    );
    let denied = |sender, kind| BackendEvent::CommandDenied { identity, sender, kind };
    assert_eq!(
        told,
        [
            BackendEvent::Commanded { identity, sender: NURSE, kind: 9, id },
            denied(NURSE, 10),
            denied(STRANGER, 9),
            denied(NURSE, CONFIGURATION_KIND)
        ]
    );
    assert_eq!(world.nodes[0].commands.len(), 1);
}

#[test]
fn a_changed_policy_reaches_each_session() {
    let mut world = Setup::new(5).build();
    for number in 0..3 {
        world.add(|_| {});
        world.connect(number);
        world.run_to_connected(number);
    }
    let mut rules = Rules::new(10);
    rules.allow_devices(Scopes::MEASUREMENTS);
    rules.allow_device(world.identity(1), Scopes::from_bits(u32::MAX)).unwrap();
    world.backend.apply_policy(world.now, &rules);
    world.run(ms(1));
    let changed: BTreeMap<Identity, Scopes> = world
        .backend_events
        .iter()
        .filter_map(|event| match event {
            BackendEvent::ScopesChanged { identity, scopes, .. } => Some((*identity, *scopes)),
            _ => None,
        })
        .collect();
    let expected = [
        (world.identity(0), Scopes::MEASUREMENTS),
        (world.identity(1), Scopes::PUBLISH | Scopes::COMMANDS),
        (world.identity(2), Scopes::MEASUREMENTS),
    ];
    assert_eq!(changed, expected.into());
    assert!(!world.alarm_passes());
}

#[test]
fn break_glass_adds_to_the_policy_for_its_time_and_survives_a_lost_session() {
    //= SPEC.md#authorisation
    //= type=test
    //# A backend MUST end break-glass when its time is over, before it takes another record.
    let policy = AppPolicy { scopes: Scopes::MEASUREMENTS, ..AppPolicy::PROMPT };
    let mut world = Setup { policy, ..Setup::new(6) }.connected();
    assert!(!world.alarm_passes());
    let start = world.now;
    let both = Scopes::MEASUREMENTS | Scopes::ALARMS;
    let granted = Scopes::ALARMS | Scopes::CONFIGURATION;
    assert_eq!(world.glass(granted, secs(100)), Ok(both), "its credential has no configuration");
    assert!(world.alarm_passes());
    // Clocks that jump change nothing, nor does a lost session, nor a narrower policy.
    world.backend.set_wall_clock(UnixSeconds(CLOCK.0 + 50_000));
    assert_eq!(world.regrant(Scopes::NONE), Ok(Scopes::ALARMS));
    world.node(0).device.disconnect();
    world.run(secs(1));
    world.connect(0);
    world.run_to_connected(0);
    assert!(world.alarm_passes());
    world.run_until(start + ms(99_999), |_| false);
    world.backend_events.clear();
    // The last record within its time, and the first one after.
    let identity = world.identity(0);
    world.run_until(start + secs(100), |_| false);
    world.run(ms(1));
    let ended = BackendEvent::BreakGlassEnded { identity, by: NURSE, reason: REASON };
    assert!(world.backend_events.contains(&ended), "{:?}", world.backend_events);
    assert!(!world.alarm_passes());
    assert_eq!(world.changes(), [(both, Scopes::MEASUREMENTS)]);
    let now = world.now;
    assert_eq!(world.backend.end_break_glass(now, &identity), Err(CallError::StaleHandle));
}

#[test]
fn break_glass_ends_on_time_even_if_nobody_calls_for_it() {
    let policy = AppPolicy { scopes: Scopes::MEASUREMENTS, ..AppPolicy::PROMPT };
    let mut world = Setup { policy, ..Setup::new(7) }.connected();
    assert!(!world.alarm_passes(), "and the backend knows the descriptors now");
    let refused = world.backend.discards().of(Discard::ScopeRefused);
    world.glass(Scopes::ALARMS, secs(5)).unwrap();
    let mut held = Vec::new();
    world.link.log = Some(Vec::new());
    world.link.filter = Some(Box::new(|_, _| Verdict::Drop));
    world.record(0, Lane::Alarm, &alarm(1)).unwrap();
    world.run(ms(500));
    held.extend(world.link.log.take().unwrap().into_iter().map(|(_, to, packet)| (to, packet)));
    // The packet comes at the end of the time, and nothing else was called since.
    world.now = world.now + ms(4_500);
    for (to, packet) in held {
        world.deliver(to, packet);
    }
    assert!(world.app.tasks.is_empty(), "nothing was delivered");
    assert!(world.backend.discards().of(Discard::ScopeRefused) > refused);
}

#[test]
fn break_glass_is_bounded_and_asks_for_a_session() {
    let mut world = Setup::new(8).connected();
    for (life, good) in [
        (Duration::ZERO, false),
        (ms(1), true),
        (ms(MAX_BREAK_GLASS_LIFE.as_millis() - 1), true),
        (MAX_BREAK_GLASS_LIFE, true),
        (ms(MAX_BREAK_GLASS_LIFE.as_millis() + 1), false),
    ] {
        assert_eq!(world.glass(Scopes::NONE, life).is_ok(), good, "{life:?}");
    }
    world.run(ms(1));
    let used = |event: &&BackendEvent| matches!(event, BackendEvent::BreakGlassUsed { .. });
    let ended = |event: &&BackendEvent| matches!(event, BackendEvent::BreakGlassEnded { .. });
    assert_eq!(world.backend_events.iter().filter(used).count(), 3);
    assert_eq!(
        world.backend_events.iter().filter(ended).count(),
        2,
        "each takes the place of the one before"
    );
    world.node(0).device.disconnect();
    world.run(secs(2));
    assert_eq!(world.glass(Scopes::NONE, secs(1)), Err(CallError::NoSession));
    let (now, identity) = (world.now, world.identity(0));
    assert_eq!(world.backend.end_break_glass(now, &identity), Ok(()));
}

#[test]
fn break_glass_is_told_even_when_events_are_lost() {
    //= SPEC.md#authorisation
    //= type=test
    //# A backend MUST NOT grant break-glass unless it has room for the events that tell of its beginning and of its end.
    let mut world = Setup::new(9).connected();
    let (now, identity) = (world.now, world.identity(0));
    // Nobody polls: the queue for all others runs over.
    for round in 0..20_000 {
        let scopes = if round % 2 == 0 { Scopes::MEASUREMENTS } else { Scopes::PUBLISH };
        world.backend.regrant(now, &identity, scopes).unwrap();
    }
    let mut granted = 0;
    let refused = loop {
        match world.glass(Scopes::COMMANDS, secs(1)) {
            Ok(_) => granted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((refused, granted), (CallError::AuditBacklog, RESERVED_EVENTS / 2));
    assert_eq!(RESERVED_EVENTS / 2, MAX_BREAK_GLASS);
    world.backend.end_break_glass(now, &identity).unwrap();
    let events: Vec<_> = std::iter::from_fn(|| world.backend.poll_event()).collect();
    let count = |is: fn(&BackendEvent) -> bool| events.iter().filter(|event| is(event)).count();
    assert_eq!(count(|event| matches!(event, BackendEvent::BreakGlassUsed { .. })), granted);
    assert_eq!(count(|event| matches!(event, BackendEvent::BreakGlassEnded { .. })), granted);
    let lost = events.iter().find_map(|event| match event {
        BackendEvent::EventsLost(lost) => Some(*lost as usize),
        _ => None,
    });
    let changes = count(|event| matches!(event, BackendEvent::ScopesChanged { .. }));
    assert_eq!(lost.unwrap() + changes, 20_000 + 2 * granted, "what was lost is counted");
    assert!(world.glass(Scopes::COMMANDS, secs(1)).is_ok(), "there is room again");
}

#[test]
fn a_hostile_link_does_not_keep_a_narrowed_device_in() {
    for seed in seeds(3) {
        let mut world = Setup { faults: Faults::HOSTILE, ..Setup::new(seed) }.connected();
        for code in 0..20 {
            world.record(0, Lane::Alarm, &alarm(code)).unwrap();
        }
        world.app.policy.scopes = Scopes::MEASUREMENTS;
        world.regrant(Scopes::MEASUREMENTS).unwrap();
        let stored = world.app.store.stored.len();
        world.run(secs(60));
        let late = world.app.store.stored.len() - stored;
        assert!(late <= world.app.store.stored.len() && world.nodes[0].device.is_drained());
        let alarms = world.app.store.stored.keys().filter(|(_, stream, _)| stream.lane == Lane::Alarm);
        assert_eq!(alarms.count(), stored, "what came before the change, and nothing since");
    }
}
