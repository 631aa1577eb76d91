//! Commands to devices, and what is known to be done to them: insulin pumps were made to take recorded, repeated and
//! delayed packets, and those of strangers.

use crate::app::Policy;
use crate::facing::*;
use crate::kit::*;
use crate::link::{Faults, To, Verdict};
use crate::world::{Given, Setup, World, given};
use std::collections::BTreeMap;
use vitalwire::backend::{BackendEvent, Command, CommandId, CommandOutcome};
use vitalwire::device::{Device, DeviceConfig, DeviceEvent, DeviceMemory};
use vitalwire::framing::*;
use vitalwire::identity::Scopes;
use vitalwire::{CallError, CloseReason, Discard, Duration};

const BOLUS: u16 = 7;
const TTL: Duration = secs(10);

fn may_command() -> Policy {
    Policy { scopes: Scopes::PUBLISH | Scopes::COMMANDS, ..Policy::PROMPT }
}

/// A device that may be commanded, in a session.
fn ready(seed: u64, faults: Faults) -> World {
    Setup { policy: may_command(), faults, ..Setup::new(seed) }.connected()
}

impl World {
    fn command(&mut self, body: &[u8], ttl: Duration) -> CommandId {
        let (now, identity) = (self.now, self.identity(0));
        self.backend.command(now, &identity, Command { kind: BOLUS, body, ttl }).unwrap()
    }

    /// What became of the commands, in the order in which they ended.
    fn outcomes(&self) -> Vec<CommandOutcome> {
        self.ended().into_values().collect()
    }

    fn ended(&self) -> BTreeMap<String, CommandOutcome> {
        let mut ended = BTreeMap::new();
        for event in &self.backend_events {
            if let BackendEvent::CommandEnded { id, outcome, .. } = event {
                assert!(ended.insert(format!("{id:?}"), *outcome).is_none(), "{id:?} ended twice");
            }
        }
        ended
    }

    /// Lets the device's application do all that it was given and not done yet.
    fn obey(&mut self, done: &mut usize) {
        let given: Vec<Given> = self.nodes[0].commands[*done..].to_vec();
        for command in given {
            let _ = self.node(0).device.command_result(command.id, Ok(&command.body));
            *done += 1;
        }
    }

    /// Runs, and obeys at every tenth of a second.
    fn run_and_obey(&mut self, span: Duration, done: &mut usize) {
        let end = self.now + span;
        while self.now < end {
            self.run(ms(100));
            self.obey(done);
        }
    }
}

#[test]
fn a_command_is_done_and_its_result_comes_back() {
    let mut world = ready(1, Faults::NONE);
    let start = world.now;
    world.command(b"2 units", TTL);
    world.run(secs(1));
    let given = world.nodes[0].commands.clone();
    assert_eq!(given.len(), 1);
    assert_eq!((given[0].kind, &given[0].body[..]), (BOLUS, &b"2 units"[..]));
    // Not later than the backend meant, and not much earlier.
    assert!(given[0].deadline <= start + TTL && given[0].deadline > start + secs(9));
    assert!(world.outcomes().is_empty(), "nobody has answered");
    world.node(0).device.command_result(given[0].id, Ok(b"given")).unwrap();
    assert_eq!(world.node(0).device.command_result(given[0].id, Err(1)), Err(CallError::StaleHandle));
    world.run(secs(1));
    assert_eq!(world.outcomes(), [CommandOutcome::Done]);
    assert_eq!(world.done, [b"given"]);
    world.command(b"again", TTL);
    world.run(secs(1));
    let id = world.nodes[0].commands[1].id;
    world.node(0).device.command_result(id, Err(9)).unwrap();
    world.run(secs(100));
    assert_eq!(world.outcomes(), [CommandOutcome::Done, CommandOutcome::Failed(9)]);
    assert_eq!(world.nodes[0].commands.len(), 2);
}

#[test]
fn on_a_hostile_link_nothing_is_done_twice_or_late_and_every_outcome_is_true() {
    //= SPEC.md#commands
    //= type=test
    //# A backend MUST compute a command's deadline as the device's clock at least is by now, plus what is left of the command's time.
    let mut all = BTreeMap::new();
    for seed in seeds(6) {
        let mut world = ready(seed, Faults::HOSTILE);
        let (mut done, mut sent) = (0, 0u32);
        let mut meant = BTreeMap::new();
        for round in 0..30u8 {
            let (now, identity) = (world.now, world.identity(0));
            let ttl = ms(1 + world.rng.below(4_000));
            let command = Command { kind: BOLUS, body: &[round], ttl };
            match world.backend.command(now, &identity, command) {
                Ok(id) => {
                    meant.insert(round, (format!("{id:?}"), now + ttl));
                    sent += 1;
                }
                Err(error) => assert_eq!(error, CallError::TooManyCommands),
            }
            world.run_and_obey(secs(2), &mut done);
        }
        world.run_and_obey(secs(200), &mut done);
        let ended = world.ended();
        assert_eq!(ended.len(), sent as usize, "each comes to one end");
        let mut times: BTreeMap<u8, u32> = BTreeMap::new();
        for given in &world.nodes[0].commands {
            *times.entry(given.body[0]).or_default() += 1;
            assert!(given.deadline <= meant[&given.body[0]].1, "a deadline was prolonged");
        }
        for (round, (id, _)) in &meant {
            let times = times.get(round).copied().unwrap_or(0);
            match ended[id] {
                CommandOutcome::Done => assert_eq!(times, 1),
                CommandOutcome::Unknown => assert!(times <= 1),
                _ => assert_eq!(times, 0, "{:?} and yet it was done", ended[id]),
            }
            *all.entry(format!("{:?}", ended[id])).or_insert(0) += 1;
        }
    }
    println!("{all:?}");
    assert!(all["Done"] > 40 && all.len() > 1, "{all:?}");
}

#[test]
fn recorded_commands_do_nothing_in_this_session_or_another_one_or_after_a_reboot() {
    //= SPEC.md#commands
    //= type=test
    //# A device MUST NOT do a command twice; it answers a repeated id with the same result, as long as it is among the last 4.
    let mut world = ready(2, Faults::NONE);
    world.link.log = Some(Vec::new());
    world.command(b"once", TTL);
    let mut done = 0;
    world.run_and_obey(secs(2), &mut done);
    assert_eq!((done, world.outcomes()), (1, vec![CommandOutcome::Done]));
    let log = world.link.log.take().unwrap();
    let recorded: Vec<_> =
        log.into_iter().filter(|(_, to, _)| *to == To::Device(0)).map(|(.., p)| p).collect();
    assert!(!recorded.is_empty());
    let replay = |world: &mut World| {
        for packet in &recorded {
            world.deliver(To::Device(0), packet.clone());
        }
        world.run(secs(1));
        assert_eq!(world.nodes[0].commands.len(), 1, "a recorded command was taken");
    };
    replay(&mut world);
    assert!(world.nodes[0].device.discards().of(Discard::Replayed) > 0);
    // In a new session of the same boot.
    world.node(0).device.disconnect();
    world.run(secs(1));
    world.connect(0);
    world.run_to_connected(0);
    replay(&mut world);
    // In a device that has rebooted and says the same boot number.
    let identity = world.pki.device(0);
    let config = DeviceConfig::new(identity, world.pki.anchors(), world.pki.time(), 7, 16_384);
    let memory =
        DeviceMemory { outbox: vec![0; 16_384].leak(), descriptors: descriptors(0).leak(), backlog: &mut [] };
    let (now, up) = (world.now, world.up());
    let node = world.node(0);
    node.device = Device::new(config, memory).unwrap();
    node.device.handle_link(now, up);
    world.connect(0);
    world.run_to_connected(0);
    replay(&mut world);
}

#[test]
fn a_jammer_that_holds_a_command_back_makes_it_fail() {
    //= SPEC.md#commands
    //= type=test
    //# A device MUST refuse a command whose deadline is not later than its own clock.
    let mut world = ready(3, Faults::NONE);
    // A command that is answered: now there is a stamp, and the next one goes out at once.
    world.command(b"1", TTL);
    let mut done = 0;
    world.run_and_obey(secs(2), &mut done);
    for late in [9_500, 10_100, 30_000] {
        let before = world.nodes[0].commands.len();
        let outcomes = world.outcomes().len();
        world.link.filter = Some(Box::new(move |to, _| match to {
            To::Device(_) => Verdict::Late(late),
            To::Backend(_) => Verdict::Pass,
        }));
        world.command(b"2", TTL);
        world.run_and_obey(ms(late + 100), &mut done);
        world.link.filter = None;
        world.run_and_obey(secs(100), &mut done);
        let taken = world.nodes[0].commands.len() - before;
        let outcome = world.outcomes()[outcomes];
        if late < 10_000 {
            assert_eq!((taken, outcome), (1, CommandOutcome::Done));
        } else {
            assert_eq!((taken, outcome), (0, CommandOutcome::Refused(CommandRefusal::TooLate)), "{late}");
        }
    }
    let too_late = DeviceEvent::CommandRefused { kind: BOLUS, reason: CommandRefusal::TooLate };
    assert_eq!(world.nodes[0].events.iter().filter(|event| **event == too_late).count(), 2);
}

#[test]
fn a_stamp_that_is_held_back_only_shortens_the_time() {
    let mut world = ready(4, Faults::NONE);
    world.link.filter = Some(Box::new(|to, _| match to {
        To::Device(_) => Verdict::Pass,
        To::Backend(_) => Verdict::Late(4_000),
    }));
    let start = world.now;
    world.command(b"x", TTL);
    let mut done = 0;
    world.run_and_obey(secs(60), &mut done);
    let deadline = world.nodes[0].commands[0].deadline;
    assert!(deadline <= start + secs(7) && deadline > start + secs(5), "{deadline:?}");
    assert_eq!(world.outcomes(), [CommandOutcome::Done]);
}

#[test]
fn a_suppressed_result_is_told_as_unknown_and_a_command_that_never_went_out_as_not_sent() {
    //= SPEC.md#commands
    //= type=test
    //# A backend MUST report a command that was sent and has no result as unknown.
    let mut world = ready(5, Faults::NONE);
    let mut done = 0;
    world.command(b"1", TTL);
    world.run_and_obey(secs(2), &mut done);
    // Results do not come through.
    world.link.filter = Some(Box::new(|to, _| match to {
        To::Device(_) => Verdict::Pass,
        To::Backend(_) => Verdict::Drop,
    }));
    world.command(b"2", TTL);
    world.run_and_obey(secs(69), &mut done);
    assert_eq!((done, world.outcomes()), (2, vec![CommandOutcome::Done]));
    world.run_and_obey(secs(2), &mut done);
    assert_eq!((done, world.outcomes()), (2, vec![CommandOutcome::Done, CommandOutcome::Unknown]));
    assert!(world.nodes[0].device.discards().of(Discard::RepeatedCommand) > 3);
    // A device that nothing was heard of: without a stamp nothing is sent.
    let mut world = ready(6, Faults::NONE);
    world.link.filter = Some(Box::new(|_, _| Verdict::Drop));
    world.command(b"3", TTL);
    world.run_and_obey(secs(11), &mut 0);
    assert_eq!((world.nodes[0].commands.len(), world.outcomes()), (0, vec![CommandOutcome::NotSent]));
}

#[test]
fn commands_end_with_their_session() {
    //= SPEC.md#commands
    //= type=test
    //# A command MUST end with its session.
    let mut world = ready(7, Faults::NONE);
    world.command(b"1", secs(3000));
    world.run(secs(1));
    assert_eq!(world.nodes[0].commands.len(), 1);
    let identity = world.identity(0);
    world.backend.disconnect(&identity, CloseReason::Application).unwrap();
    let refused = world.backend.command(world.now, &identity, Command { kind: 1, body: b"", ttl: TTL });
    assert_eq!(refused, Err(CallError::NoSession));
    world.run(secs(120));
    assert!(world.nodes[0].device.is_connected(), "there is another session");
    assert_eq!((world.nodes[0].commands.len(), world.outcomes()), (1, vec![CommandOutcome::Unknown]));
    let old = world.nodes[0].commands[0].id;
    assert_eq!(world.node(0).device.command_result(old, Ok(b"late")), Err(CallError::StaleHandle));
    // The next session's command has the same number, and is another one.
    world.command(b"2", TTL);
    world.run(secs(1));
    assert_eq!(world.node(0).device.command_result(old, Ok(b"late")), Err(CallError::StaleHandle));
    let mut done = 1;
    world.run_and_obey(secs(2), &mut done);
    assert_eq!(world.outcomes(), [CommandOutcome::Unknown, CommandOutcome::Done]);
}

#[test]
fn commands_are_refused_to_the_caller_without_scope_session_or_room() {
    let mut world = ready(8, Faults::NONE);
    let (now, identity) = (world.now, world.identity(0));
    let mut ask = |kind, len, ttl| {
        world.backend.command(now, &identity, Command { kind, body: &vec![0; len], ttl }).map(|_| ())
    };
    assert_eq!(ask(CONFIGURATION_KIND, 0, TTL), Err(CallError::OutOfScope));
    assert!(matches!(ask(1, 257, TTL), Err(CallError::BadCommand(_))));
    assert!(matches!(ask(1, 0, Duration::ZERO), Err(CallError::BadCommand(_))));
    assert!(matches!(ask(1, 0, secs(3601)), Err(CallError::BadCommand(_))));
    for _ in 0..4 {
        assert_eq!(ask(1, 256, secs(3600)), Ok(()));
    }
    assert_eq!(ask(1, 0, TTL), Err(CallError::TooManyCommands));
    // A device to which the application grants no commands.
    let mut world = Setup::new(8).build();
    world.add(|_| {});
    world.connect(0);
    let identity = world.identity(0);
    let ask = |world: &mut World| {
        world.backend.command(world.now, &identity, Command { kind: 1, body: b"", ttl: TTL }).map(|_| ())
    };
    assert_eq!(ask(&mut world), Err(CallError::NoSession));
    world.run_to_connected(0);
    assert_eq!(ask(&mut world), Err(CallError::OutOfScope));
}

/// A backend with a puppet that may be commanded.
fn commanded(seed: u64) -> Against {
    let mut against = Against::new(seed);
    against.world.app.policy = may_command();
    // Its session was accepted without the scope: another one.
    let hello = against.puppet.hello();
    let reply = Against::exchange(&mut against.world, hello).remove(0);
    let now = against.world.now;
    let finish = against.puppet.reply(now, &reply).unwrap();
    let first = Against::exchange(&mut against.world, finish).remove(0);
    against.puppet.open(now, &first).unwrap();
    against
}

fn stamp(sent: u64) -> Frame<'static> {
    let boot = Some((3, BootTag([4; 4])));
    Frame::TimeSync(TimeSyncFrame { boot, ..TimeSyncFrame::stamp(at(sent)) })
}

#[test]
fn of_two_stamps_the_one_that_was_delayed_less_counts() {
    let mut against = commanded(11);
    against.frames(&[stamp(1_000)]);
    // A newer one that was held back on its way: it says less.
    against.world.now = against.world.now + secs(10);
    against.frames(&[stamp(2_000)]);
    let identity = against.puppet.identity.identity().unwrap();
    let command = Command { kind: BOLUS, body: b"", ttl: TTL };
    against.world.backend.command(against.world.now, &identity, command).unwrap();
    let frames = against.frames(&[Frame::Ping([1; 8])]);
    // 10 s after the first one, less 500 ppm for the drift.
    let deadline = format!("deadline: {:?}", at(1_000 + 10_000 - 5 + 10_000));
    assert!(frames.iter().any(|frame| frame.contains(&deadline)), "{frames:?}");
}

#[test]
fn no_command_goes_to_a_path_that_is_not_validated() {
    //= SPEC.md#commands
    //= type=test
    //# A backend MUST NOT send a command on a path that is not validated.
    const ELSEWHERE: u64 = 77;
    let mut against = commanded(9);
    against.frames(&[stamp(1000)]);
    // A newest packet from elsewhere: the session moves there.
    let told = |against: &mut Against, frame: Frame<'_>| {
        let now = against.world.now;
        let padding = Frame::Padding(400);
        let packet = against.puppet.frames(now, &[frame, padding]);
        against.world.link.log.as_mut().unwrap().clear();
        against.world.deliver(To::Backend(ELSEWHERE), packet);
        against.world.settle();
        let log = against.world.link.log.clone().unwrap();
        let packets = log.iter().filter(|(_, to, _)| *to == To::Device(usize::MAX));
        let payloads: Vec<_> = packets.filter_map(|(.., packet)| against.puppet.open(now, packet)).collect();
        let frames = payloads.iter().flat_map(|payload| Frames::parse(payload).unwrap());
        frames
            .map(|frame| match frame {
                Frame::Command(command) => format!("Command {:?}", command.deadline),
                Frame::Ping(token) => format!("Ping {}", u64::from_le_bytes(token)),
                other => format!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    let identity = against.puppet.identity.identity().unwrap();
    let frames = told(&mut against, stamp(1001));
    let token = frames.iter().find_map(|frame| frame.strip_prefix("Ping ")).unwrap().parse::<u64>().unwrap();
    let now = against.world.now;
    against.world.backend.command(now, &identity, Command { kind: BOLUS, body: b"", ttl: TTL }).unwrap();
    for _ in 0..3 {
        let frames = told(&mut against, Frame::Ping([1; 8]));
        assert!(!frames.is_empty() && !frames.iter().any(|frame| frame.starts_with("Command")), "{frames:?}");
    }
    let frames = told(&mut against, Frame::Pong(token.to_le_bytes()));
    assert!(frames.contains(&format!("Command {:?}", at(11_001))), "{frames:?}");
}

/// Gives a device frames of a puppet backend; returns what its application is given, and what it says.
fn tell(facing: &mut Facing, frames: &[Frame<'_>]) -> (Vec<Given>, Vec<String>) {
    let mut packet = facing.puppet.frames(facing.now, frames);
    let mut commands = Vec::new();
    facing.device.handle_packet(facing.now, &mut packet, &mut |received| commands.extend(given(received)));
    (commands, facing.said())
}

/// A device with these scopes, a backend with those, and the device's boot tag.
fn facing(device: Scopes, backend: Scopes) -> (Facing, BootTag) {
    let mut facing = Facing::between(false, device, backend).connect();
    let ask = TimeSyncFrame { ask: true, ..TimeSyncFrame::stamp(at(5)) };
    let packet = facing.puppet.frames(facing.now, &[Frame::TimeSync(ask)]);
    facing.give(&packet);
    facing.now = facing.now + ms(30);
    let payload = facing.payloads().remove(0);
    let Some(Frame::TimeSync(stamp)) = Frames::parse(&payload).unwrap().next() else { panic!("a stamp") };
    //= SPEC.md#time
    //= type=test
    //# A device MUST answer a TimeSync frame that asks, with the next packet.
    assert_eq!(stamp.echo, Some(TimeEcho { sent: at(5), held: ms(30) }));
    assert_eq!((stamp.sent, stamp.ask), (facing.now, false));
    let (boot, tag) = stamp.boot.unwrap();
    assert_eq!(boot, u32::MAX);
    (facing, tag)
}

fn command(id: u64, tag: BootTag) -> CommandFrame<'static> {
    CommandFrame { id, boot: u32::MAX, tag, deadline: at(60_000), kind: BOLUS, body: b"do" }
}

fn refused(id: u64, reason: CommandRefusal) -> String {
    let frame = CommandResultFrame { id, result: CommandResult::Refused(reason) };
    format!("{:?}", Frame::CommandResult(frame))
}

#[test]
fn a_device_refuses_who_has_no_scope_and_other_boots_and_what_is_late() {
    //= SPEC.md#commands
    //= type=test
    //# A device MUST refuse a command unless the backend's credential and its own have the scope that the kind needs.
    use CommandRefusal::*;
    let (both, none) = (Scopes::COMMANDS | Scopes::CONFIGURATION, Scopes::NONE);
    let configure = |id, tag| CommandFrame { kind: CONFIGURATION_KIND, ..command(id, tag) };
    for (device, backend, commands, configures) in [
        (both, none, false, false),
        (none, both, false, false),
        (Scopes::PUBLISH, Scopes::PUBLISH, false, false),
        (both, Scopes::COMMANDS, true, false),
        (both, Scopes::CONFIGURATION, false, true),
        (Scopes::COMMANDS, both, true, false),
    ] {
        let (mut facing, tag) = facing(device, backend);
        for (frame, permitted) in [(command(1, tag), commands), (configure(2, tag), configures)] {
            let (given, said) = tell(&mut facing, &[Frame::Command(frame)]);
            assert_eq!(given.len(), usize::from(permitted));
            if !permitted {
                assert_eq!(said, [refused(frame.id, OutOfScope)]);
            }
        }
        let refusals = 2 - u32::from(commands) - u32::from(configures);
        assert_eq!(facing.device.discards().of(Discard::CommandRefused), refusals);
    }
    //= SPEC.md#commands
    //= type=test
    //# A device MUST refuse a command of another boot number or boot tag than its present ones.
    let (mut facing, tag) = facing(both, both);
    let mut id = 0;
    let mut check = |change: &dyn Fn(&mut CommandFrame<'static>), expected| {
        id += 1;
        let mut frame = command(id, tag);
        change(&mut frame);
        let (given, said) = tell(&mut facing, &[Frame::Command(frame)]);
        let reason = given.is_empty().then(|| said.join(" "));
        assert_eq!(reason, Option::map(expected, |reason| refused(id, reason)));
    };
    let now = at(40);
    check(&|frame| frame.boot -= 1, Some(OtherBoot));
    check(&|frame| frame.tag.0[3] ^= 1, Some(OtherBoot));
    check(&|frame| frame.deadline = now, Some(TooLate));
    check(&|frame| frame.deadline = at(0), Some(TooLate));
    check(&|frame| frame.deadline = now + ms(1), None);
    check(&|_| {}, None);
}

#[test]
fn a_device_does_each_id_once_in_order_and_repeats_its_result_to_the_byte() {
    //= SPEC.md#commands
    //= type=test
    //# A device MUST refuse a command whose id is below that of another command of the session, if it has not seen it before.
    let (mut facing, tag) = facing(Scopes::COMMANDS, Scopes::COMMANDS);
    let (given, said) = tell(&mut facing, &[Frame::Command(command(2, tag))]);
    assert!(given.len() == 1 && said.is_empty());
    // Repeated before it is answered: nothing is said.
    assert_eq!(tell(&mut facing, &[Frame::Command(command(2, tag))]), (vec![], vec![]));
    facing.device.command_result(given[0].id, Ok(b"done")).unwrap();
    let first = facing.said();
    let done = CommandResultFrame { id: 2, result: CommandResult::Done(b"done") };
    assert_eq!(first, [format!("{:?}", Frame::CommandResult(done))]);
    // Repeated with another body, a later deadline, an hour later: the same result.
    for frame in [command(2, tag), CommandFrame { body: b"more", deadline: at(u64::MAX), ..command(2, tag) }]
    {
        facing.now = facing.now + secs(1800);
        assert_eq!(tell(&mut facing, &[Frame::Command(frame)]), (vec![], first.clone()));
    }
    let late = CommandFrame { deadline: at(u64::MAX), ..command(1, tag) };
    let (given, said) = tell(&mut facing, &[Frame::Command(late)]);
    assert_eq!((given, said), (vec![], vec![refused(1, CommandRefusal::Superseded)]));
    // Refused ones count, too, and keep their answer; four are remembered.
    let other = CommandFrame { boot: 1, ..command(3, tag) };
    assert_eq!(tell(&mut facing, &[Frame::Command(other)]).1, [refused(3, CommandRefusal::OtherBoot)]);
    let right = CommandFrame { deadline: at(u64::MAX), ..command(3, tag) };
    assert_eq!(
        tell(&mut facing, &[Frame::Command(right)]),
        (vec![], vec![refused(3, CommandRefusal::OtherBoot)])
    );
    let next = |id| CommandFrame { deadline: at(u64::MAX), ..command(id, tag) };
    let (given, _) = tell(&mut facing, &[Frame::Command(next(4)), Frame::Command(next(5))]);
    assert_eq!(given.len(), 2);
    assert_eq!(tell(&mut facing, &[Frame::Command(next(2))]).1, first);
    let (given, _) = tell(&mut facing, &[Frame::Command(next(6))]);
    assert_eq!(given.len(), 1);
    assert_eq!(tell(&mut facing, &[Frame::Command(next(2))]).1, [refused(2, CommandRefusal::Superseded)]);
    // A result that is too long is the caller's mistake.
    let long = facing.device.command_result(given[0].id, Ok(&[0; 65]));
    assert!(matches!(long, Err(CallError::BadCommand(_))));
    facing.device.command_result(given[0].id, Ok(&[0; 64])).unwrap();
    assert_eq!(facing.said().len(), 1);
}

#[test]
fn a_stamp_of_another_boot_is_ignored() {
    //= SPEC.md#time
    //= type=test
    //# A backend MUST ignore a stamp of another boot than that of the session's first one.
    let mut against = Against::new(10);
    let stamp = |boot, sent| {
        let frame = TimeSyncFrame { ask: true, ..TimeSyncFrame::stamp(at(sent)) };
        Frame::TimeSync(TimeSyncFrame { boot: Some((boot, BootTag([4; 4]))), ..frame })
    };
    let answers = |frames: Vec<String>| frames.iter().any(|frame| frame.starts_with("TimeSync"));
    assert!(answers(against.frames(&[stamp(3, 1000)])));
    assert!(!answers(against.frames(&[stamp(4, 1001)])));
    assert_eq!(against.world.backend.discards().of(Discard::ImplausibleTime), 1);
    assert!(answers(against.frames(&[stamp(3, 900)])), "an older one does no harm");
    against.assert_unharmed();
}
