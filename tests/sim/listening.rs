//! Devices whose radio is off most of the time, and links that come and go.

use crate::app::Policy;
use crate::facing::*;
use crate::kit::*;
use crate::link::{Faults, To};
use crate::world::{Setup, World};
use vitalwire::device::{DeviceConfig, Link, Radio};
use vitalwire::framing::*;
use vitalwire::identity::Scopes;
use vitalwire::{Duration, Instant};

const WINDOW: Duration = ms(200);

/// A device that wakes each minute for 200 ms with a record, `minutes` times; returns its packets and the backend's.
fn wake_each_minute(world: &mut World, minutes: u64) -> (usize, usize) {
    world.run_to_connected(0);
    world.run(secs(5));
    world.link.log = Some(Vec::new());
    for minute in 0..minutes {
        world.node(0).asleep = false;
        world.record(0, Lane::Trend, &rate(minute as i32 % 100)).unwrap();
        world.run(WINDOW);
        world.node(0).asleep = true;
        world.run(secs(60));
    }
    let log = world.link.log.take().unwrap();
    let up = log.iter().filter(|(_, to, _)| matches!(to, To::Backend(_))).count();
    (up, log.len() - up)
}

fn sleeper(seed: u64, faults: Faults, commit: (u64, u64), listen: Option<Duration>) -> World {
    let policy = Policy { commit_delay: commit, ..Policy::PROMPT };
    let mut world = Setup { policy, faults, ..Setup::new(seed) }.build();
    world.add(|config: &mut DeviceConfig| config.listen = listen);
    world.connect(0);
    world
}

#[test]
fn a_device_that_wakes_each_minute_delivers_everything_with_one_packet_a_record() {
    // Acknowledged in the same window, and in the next one where the application takes its time.
    for commit in [(0, 50), (150, 400)] {
        let mut world = sleeper(1, Faults::NONE, commit, Some(WINDOW));
        let (up, down) = wake_each_minute(&mut world, 120);
        println!("commit {commit:?}: {up} up, {down} down");
        // The backend says one packet more for each of the eight hash ratchets of two hours.
        assert!(up <= 122 && down <= 130, "{up} up, {down} down");
        world.node(0).asleep = false;
        world.wait_all_drained_and_check(secs(10));
        assert_eq!(world.nodes[0].events.len(), 1, "one session");
    }
    // Who does not tell it, is sent acknowledgements that it does not hear, and repeats its records.
    let bytes = |listen| {
        let mut world = sleeper(1, Faults::NONE, (150, 400), listen);
        wake_each_minute(&mut world, 120);
        world.bytes[&1000].0
    };
    let (told, silent) = (bytes(Some(WINDOW)), bytes(None));
    println!("{told} bytes with the window told, {silent} without");
    assert!(told * 4 < silent * 3, "{told} {silent}");
}

#[test]
fn what_is_lost_is_repeated_with_the_next_window_and_not_much_more() {
    for seed in seeds(4) {
        let faults = Faults { loss: 0.1, ..Faults::NONE };
        let mut world = sleeper(seed, faults, (0, 50), Some(WINDOW));
        let (up, _) = wake_each_minute(&mut world, 120);
        assert!(up <= 170, "{up} up for 120 records");
        world.node(0).asleep = false;
        world.wait_all_drained_and_check(secs(200));
    }
}

#[test]
fn commands_wait_for_the_device_to_speak() {
    let policy = Policy { scopes: Scopes::PUBLISH | Scopes::COMMANDS, ..Policy::PROMPT };
    let mut world = Setup { policy, ..Setup::new(3) }.build();
    world.add(|config: &mut DeviceConfig| config.listen = Some(WINDOW));
    world.connect(0);
    world.run_to_connected(0);
    world.record(0, Lane::Event, &event(1)).unwrap();
    world.run(secs(30));
    let identity = world.identity(0);
    let command = vitalwire::backend::Command { kind: 1, body: b"", ttl: secs(600) };
    world.link.log = Some(Vec::new());
    world.backend.command(world.now, &identity, command).unwrap();
    world.run(secs(120));
    assert!(world.link.log.as_ref().unwrap().is_empty(), "nothing is sent to a radio that is off");
    // It asks for a stamp in one window, and commands in the one that the answer opens.
    world.record(0, Lane::Event, &event(2)).unwrap();
    world.run(secs(1));
    assert_eq!(world.nodes[0].commands.len(), 1);
}

//= SPEC.md#listening
//= type=test
//# A backend MUST NOT send to a device that has told a window, but within half of the window after it has heard it; a Close excepted.
#[test]
fn a_backend_speaks_in_the_first_half_of_the_window_only() {
    for (delay, speaks) in [(99, true), (100, true), (101, false), (5_000, false)] {
        let mut against = Against::new(4);
        against.frames(&[Frame::Listen(WINDOW), Frame::Ping([1; 8])]);
        against.world.now = against.world.now + ms(delay);
        against.world.link.log.as_mut().unwrap().clear();
        let identity = against.puppet.identity.identity().unwrap();
        against.world.backend.hint_rekey(&identity).unwrap();
        against.world.settle();
        let sent = against.world.link.log.as_ref().unwrap().len();
        assert_eq!(sent, usize::from(speaks), "{delay}");
        // What waited comes with the next packet; who listens always is not waited for.
        let frames = against.frames(&[Frame::Listen(Duration::ZERO)]);
        assert_eq!(frames.contains(&"RekeyHint".to_string()), !speaks);
        against.world.now = against.world.now + secs(60);
        against.world.backend.hint_rekey(&identity).unwrap();
        against.world.link.log.as_mut().unwrap().clear();
        against.world.settle();
        assert_eq!(against.world.link.log.as_ref().unwrap().len(), 1);
    }
}

/// A device with this window, told to a puppet backend.
fn listening(window: Option<Duration>) -> Facing {
    let mut facing = Facing::with(|config| config.listen = window);
    facing.device.connect(facing.now);
    facing
}

//= SPEC.md#listening
//= type=test
//# A device that has told a window MUST listen for that long after each of its packets.
#[test]
fn the_radio_is_on_for_the_window_and_for_handshakes() {
    let until = |at: Instant| Radio::Listen { until: Some(at) };
    let mut facing = listening(Some(WINDOW));
    facing.device.handle_link(facing.now, Link::Down);
    assert_eq!(facing.device.radio(facing.now), Radio::Off);
    facing.device.handle_link(facing.now, Link::Up { max_packet: 1200 });
    let hello = facing.poll().unwrap();
    let Radio::Listen { until: Some(end) } = facing.device.radio(facing.now) else { panic!("a handshake") };
    assert_eq!(Some(end), facing.device.poll_timeout());
    let reply = facing.puppet.reply(facing.now, &hello, None);
    facing.give(&reply);
    let finish = facing.poll().unwrap();
    let Radio::Listen { until: Some(end) } = facing.device.radio(facing.now) else { panic!("a Finish") };
    assert!(end >= facing.now + secs(1));
    facing.puppet.finish(facing.now, &finish);
    facing.frames(&[Frame::Ack(AckFrame::of_packet(0))]);
    assert_eq!(facing.device.radio(facing.now), Radio::Off, "nothing is expected");
    facing.device.record(facing.now, Lane::Trend, &rate(1)).unwrap();
    assert!(facing.said().contains(&format!("{:?}", Frame::Listen(WINDOW))));
    assert_eq!(facing.device.radio(facing.now), until(facing.now + WINDOW));
    assert_eq!(facing.device.radio(facing.now + ms(199)), until(facing.now + WINDOW));
    assert_eq!(facing.device.radio(facing.now + WINDOW), Radio::Off);
    facing.device.handle_link(facing.now, Link::Down);
    assert_eq!(facing.device.radio(facing.now), Radio::Off);
    // Without a window a session always listens; without a session nothing does.
    let mut facing = Facing::connected();
    assert_eq!(facing.device.radio(facing.now), Radio::Listen { until: None });
    facing.device.disconnect();
    facing.said();
    assert_eq!(facing.device.radio(facing.now), Radio::Off);
}

#[test]
fn the_window_is_told_until_it_is_known() {
    let mut facing = listening(Some(WINDOW)).connect();
    let told = |facing: &mut Facing| {
        facing.now = facing.now + secs(100);
        facing.device.record(facing.now, Lane::Trend, &rate(1)).unwrap();
        facing.said().contains(&format!("{:?}", Frame::Listen(WINDOW)))
    };
    assert!(told(&mut facing) && told(&mut facing));
    facing.frames(&[Frame::Ack(AckFrame::of_packet(0))]);
    assert!(told(&mut facing), "nothing may have been heard");
    facing.frames(&[Frame::Ack(AckFrame::of_packet(1))]);
    assert!(!told(&mut facing));
}

#[test]
fn a_link_that_flaps_a_thousand_times_loses_nothing_and_hammers_nobody() {
    //= SPEC.md#handshake-timers
    //= type=test
    //# A device MUST NOT cut a wait short because its link came up more than once per 10 s.
    let flap = |world: &mut World, number: u64| {
        let (now, up) = (world.now, world.up());
        world.node(0).device.handle_link(now, Link::Down);
        world.run(ms(50));
        let now = world.now;
        world.node(0).device.handle_link(now, up);
        world.run(ms(30 + number % 40));
    };
    // Without an answer: only so many Hellos, whatever the link does.
    let mut world = Setup::new(5).build();
    world.add(|_| {});
    world.link.faults = Faults::loss(1.0);
    world.link.log = Some(Vec::new());
    world.connect(0);
    let begin = world.now;
    (0..1000).for_each(|number| flap(&mut world, number));
    let seconds = world.now.since(begin).as_secs();
    let hellos = world.link.log.take().unwrap().len() as u64;
    assert!((90..120).contains(&seconds) && hellos <= 32, "{hellos} Hellos in {seconds} s");
    // With an answer: one session, and all records.
    let mut world = Setup::new(6).connected();
    world.link.log = Some(Vec::new());
    for number in 0..1000 {
        if number % 10 == 0 {
            world.record(0, Lane::Trend, &rate(1)).unwrap();
        }
        flap(&mut world, number);
    }
    world.wait_all_drained_and_check(secs(60));
    assert_eq!(world.nodes[0].events.len(), 1, "one session");
    let log = world.link.log.take().unwrap();
    let up = log.iter().filter(|(_, to, _)| matches!(to, To::Backend(_))).count();
    assert!(up <= 130, "{up} packets for 100 records");
}
