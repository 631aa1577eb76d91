//! What goes to a path that is not validated, what load costs, and whose Finish counts.

use crate::app::{Answer, Policy};
use crate::kit::*;
use crate::puppet::PuppetDevice;
use crate::world::{Setup, World};
use vitalwire::Discard;
use vitalwire::backend::{BackendEvent, Inbound};
use vitalwire::framing::{Frame, Lane};

/// Hands a packet in from `path` and returns what goes out at once, with its path.
pub(crate) fn exchange(world: &mut World, path: u64, packet: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let now = world.now;
    let mut packet = packet.to_vec();
    let app = &mut world.app;
    world.backend.handle_packets(now, &mut [Inbound { path, packet: &mut packet }], &mut |received| {
        if let vitalwire::backend::Received::Batch(batch) = received {
            app.batch(now, &batch);
        }
    });
    answers(world)
}

fn answers(world: &mut World) -> Vec<(u64, Vec<u8>)> {
    let now = world.now;
    let mut sent = Vec::new();
    loop {
        let before = sent.len();
        let mut jobs = 0;
        while let Some(job) = world.backend.poll_handshake() {
            jobs += 1;
            let done = job.run(&mut world.rng);
            world.backend.handle_handshake(now, done);
        }
        while let Some(event) = world.backend.poll_event() {
            if let BackendEvent::Pending { pending, credential, .. } = event {
                world.app.pending(now, pending, credential.identity());
            }
            world.backend_events.push(event);
        }
        world.app.run(now, &mut world.backend);
        let mut out = [0; 1500];
        while let Some(transmit) = world.backend.poll_transmit(now, &mut world.rng, &mut out).unwrap() {
            sent.push((transmit.path, transmit.packet.to_vec()));
        }
        if jobs == 0 && sent.len() == before {
            return sent;
        }
    }
}

fn bytes_to(path: u64, sent: &[(u64, Vec<u8>)]) -> usize {
    sent.iter().filter(|(to, _)| *to == path).map(|(_, packet)| packet.len()).sum()
}

/// A puppet with a session, and the path it is at.
pub(crate) fn puppet(world: &mut World, ik: bool) -> PuppetDevice {
    let key = ik.then(|| world.backend_identity.public_key());
    let identity = world.pki.device(500);
    world.app.store.register(identity.identity().unwrap());
    PuppetDevice::new(identity, world.pki.anchors(), key)
}

pub(crate) fn establish(world: &mut World, puppet: &mut PuppetDevice, path: u64) {
    let hello = puppet.hello();
    let sent = exchange(world, path, &hello);
    let finish = puppet.reply(world.now, &sent[0].1);
    let packet = finish.unwrap_or_else(|| puppet.frames(world.now, &[Frame::Ping([1; 8])]));
    let sent = exchange(world, path, &packet);
    assert!(sent.iter().any(|(_, packet)| puppet.open(world.now, packet).is_some()));
}

#[test]
fn never_sends_more_than_three_times_to_an_unvalidated_path() {
    //= SPEC.md#admission
    //= type=test
    //# A backend MUST NOT send more than three times the bytes that it received on a path before that path is validated.
    for seed in seeds(30) {
        let mut world = Setup::new(seed).build();
        let mut recorded = Vec::new();
        for ik in [false, true] {
            let mut puppet = puppet(&mut world, ik);
            let hello = puppet.hello();
            recorded.push(hello.clone());
            let sent = exchange(&mut world, 1, &hello);
            if let Some(finish) = puppet.reply(world.now, &sent[0].1) {
                recorded.push(finish.clone());
                exchange(&mut world, 1, &finish);
            }
            for _ in 0..4 {
                recorded.push(puppet.frames(world.now, &[Frame::Ping([1; 8])]));
            }
            recorded.push(puppet.payload(world.now, &[0]));
            recorded.push(puppet.payload(world.now, &[]));
        }
        let mut rng = Rng::new(seed);
        let mut paths = std::collections::BTreeMap::<u64, (usize, usize)>::new();
        for step in 0..300u64 {
            // Each packet comes from some path, none of which ever echoes anything.
            let path = 10 + rng.below(5);
            let mut packet = recorded[rng.below(recorded.len() as u64) as usize].clone();
            match rng.below(4) {
                0 => packet.truncate(rng.below(packet.len() as u64 + 1) as usize),
                1 if !packet.is_empty() => {
                    let at = rng.below(packet.len() as u64) as usize;
                    packet[at] ^= 1 << rng.below(8);
                }
                _ => {}
            }
            paths.entry(path).or_default().0 += packet.len();
            for (to, answer) in exchange(&mut world, path, &packet) {
                paths.entry(to).or_default().1 += answer.len();
            }
            if step % 10 == 0 {
                world.run(ms(500));
            }
            for (path, (received, sent)) in &paths {
                assert!(*path == 1 || *sent <= 3 * received, "path {path}: {sent} for {received}");
            }
        }
    }
}

#[test]
fn a_new_path_gets_three_times_until_it_echoes_a_token() {
    let mut world = Setup::new(1).build();
    let mut puppet = puppet(&mut world, false);
    establish(&mut world, &mut puppet, 1);
    let (mut received, mut sent) = (0, 0);
    let mut token = None;
    for _ in 0..50 {
        let packet = puppet.frames(world.now, &[Frame::Ping([1; 8]), Frame::Padding(20)]);
        received += packet.len();
        for (path, answer) in exchange(&mut world, 2, &packet) {
            assert_eq!(path, 2);
            sent += answer.len();
            let payload = puppet.open(world.now, &answer).unwrap();
            let frames = vitalwire::framing::Frames::parse(&payload).unwrap();
            let ping = frames.filter_map(|frame| match frame {
                Frame::Ping(token) => Some(token),
                _ => None,
            });
            let pings: Vec<_> = ping.collect();
            assert_eq!(pings.len(), 1, "every packet has the token");
            assert!(token.is_none_or(|token| token == pings[0]));
            token = Some(pings[0]);
        }
        assert!(sent <= 3 * received);
    }
    let wrong = puppet.frames(world.now, &[Frame::Pong([9; 8])]);
    exchange(&mut world, 2, &wrong);
    let answer = puppet.frames(world.now, &[Frame::Pong(token.unwrap())]);
    exchange(&mut world, 2, &answer);
    let packet = puppet.frames(world.now, &[Frame::Ping([1; 8])]);
    let sent = exchange(&mut world, 2, &packet);
    let payload = puppet.open(world.now, &sent[0].1).unwrap();
    let mut frames = vitalwire::framing::Frames::parse(&payload).unwrap();
    assert!(!frames.any(|frame| matches!(frame, Frame::Ping(_))), "the path is validated");
}

#[test]
fn a_finish_does_not_validate_a_path_that_others_read_the_reply_of() {
    //= SPEC.md#admission
    //= type=test
    //# A backend MUST NOT take a path as validated by a Finish or a first packet from there if the Reply went to another path as well.
    // A malicious device: its Hello from a victim's path, a copy from its own, so that it gets the Reply.
    for ik in [false, true] {
        let (victim, own) = (1, 2);
        let mut world = Setup::new(2).build();
        let mut puppet = puppet(&mut world, ik);
        let hello = puppet.hello();
        let mut received = hello.len();
        let mut sent = bytes_to(victim, &exchange(&mut world, victim, &hello));
        let copies = exchange(&mut world, own, &hello);
        let finish = puppet.reply(world.now, &copies[0].1);
        let finish = finish.unwrap_or_else(|| puppet.frames(world.now, &[Frame::Ping([1; 8])]));
        received += finish.len();
        sent += bytes_to(victim, &exchange(&mut world, victim, &finish));
        assert!(sent <= 3 * received);
        for _ in 0..100 {
            let packet = puppet.payload(world.now, &[]);
            received += packet.len();
            sent += bytes_to(victim, &exchange(&mut world, victim, &packet));
            assert!(sent <= 3 * received, "{sent} for {received}");
            world.run(ms(10));
        }
        let packet = puppet.frames(world.now, &[Frame::Ping([1; 8])]);
        let answer = exchange(&mut world, victim, &packet);
        let payload = puppet.open(world.now, &answer[0].1).unwrap();
        let mut frames = vitalwire::framing::Frames::parse(&payload).unwrap();
        assert!(frames.any(|frame| matches!(frame, Frame::Ping(_))), "still asks for the token");
    }
}

#[test]
fn a_finish_from_elsewhere_moves_the_session_to_a_path_that_is_not_validated() {
    let mut world = Setup::new(9).build();
    let mut puppet = puppet(&mut world, false);
    let hello = puppet.hello();
    let sent = exchange(&mut world, 1, &hello);
    let finish = puppet.reply(world.now, &sent[0].1).unwrap();
    let sent = exchange(&mut world, 2, &finish);
    assert!(bytes_to(2, &sent) > 0 && bytes_to(1, &sent) == 0);
    let payload = puppet.open(world.now, &sent[0].1).unwrap();
    let mut frames = vitalwire::framing::Frames::parse(&payload).unwrap();
    assert!(frames.any(|frame| matches!(frame, Frame::Ping(_))));
}

#[test]
fn copies_and_forgeries_of_a_finish_cost_next_to_nothing() {
    //= SPEC.md#handshake-timers
    //= type=test
    //# A backend MUST answer at most 16 copies of a Finish, only byte-identical ones, and none after a data packet of the session has authenticated.
    let mut world = Setup::new(3).build();
    let mut puppet = puppet(&mut world, false);
    establish(&mut world, &mut puppet, 1);
    let finish = puppet.finish.clone().unwrap();
    let mut forged = finish.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert!((0..100).all(|_| exchange(&mut world, 7, &forged).is_empty()), "a forgery is not answered");
    let answered = (0..100).filter(|_| !exchange(&mut world, 7, &finish).is_empty()).count();
    assert_eq!(answered, 16);
    assert_eq!(world.backend.discards().of(Discard::DuplicateHello), 200);
    world.run(secs(1));
    // After a word of the device nobody needs the repetition.
    let mut puppet = self::puppet(&mut world, false);
    establish(&mut world, &mut puppet, 1);
    let finish = puppet.finish.clone().unwrap();
    let packet = puppet.frames(world.now, &[Frame::Ping([1; 8])]);
    exchange(&mut world, 1, &packet);
    assert!(exchange(&mut world, 1, &finish).is_empty());
}

#[test]
fn under_load_only_a_cookie_gets_a_computation() {
    //= SPEC.md#admission
    //= type=test
    //# Under load a backend MUST NOT spend a Diffie-Hellman operation on a Hello of a full handshake without a valid cookie.
    //= SPEC.md#retry
    //= type=test
    //# A device MUST follow at most one Retry per attempt, and none after a valid Reply.
    let mut setup = Setup::new(4);
    setup.backend = |config| config.max_half_open = 16;
    let mut world = setup.build();
    world.run(ms(1));
    for number in 0..5 {
        let mut flood = PuppetDevice::new(world.pki.device(900 + number), world.pki.anchors(), None);
        flood.rng = Rng::new(number as u64);
        let hello = flood.hello();
        let sent = exchange(&mut world, 50 + number as u64, &hello);
        assert_eq!(sent[0].1[0], 0x12, "the first quarter gets a Reply");
    }
    let mut puppet = puppet(&mut world, false);
    let hello = puppet.hello();
    let sent = exchange(&mut world, 1, &hello);
    assert_eq!(sent[0].1[0], 0x14);
    assert!(sent[0].1.len() < hello.len());
    assert_eq!(world.backend.discards().of(Discard::CookieRequired), 1);
    assert!(puppet.follow_retry(&sent[0].1));
    let with_cookie = puppet.hello();
    assert!(!puppet.follow_retry(&sent[0].1), "one Retry per attempt");
    puppet.cookie = None;
    let _ = puppet.follow_retry(&sent[0].1);
    let elsewhere = exchange(&mut world, 2, &with_cookie);
    assert_eq!(elsewhere[0].1[0], 0x14, "a cookie holds for its path alone");
    let sent = exchange(&mut world, 1, &with_cookie);
    assert_eq!(sent[0].1[0], 0x12);
    // A device does all that by itself.
    world.add(|_| {});
    world.connect(0);
    world.run_to_connected(0);
    assert_eq!(world.nodes[0].events.len(), 1);
}

#[test]
fn cookies_expire() {
    let mut setup = Setup::new(5);
    setup.backend = |config| config.max_half_open = 1;
    let mut world = setup.build();
    world.run(ms(1));
    for (age, valid) in [(0, true), (119, true), (241, false)] {
        let mut flood = PuppetDevice::new(world.pki.device(900), world.pki.anchors(), None);
        flood.rng = Rng::new(age);
        let hello = flood.hello();
        assert_eq!(exchange(&mut world, 50, &hello)[0].1[0], 0x12);
        let mut puppet = puppet(&mut world, false);
        puppet.rng = Rng::new(age + 7);
        let hello = puppet.hello();
        let sent = exchange(&mut world, 1, &hello);
        assert_eq!(sent[0].1[0], 0x14);
        assert!(puppet.follow_retry(&sent[0].1));
        // The half-open one expires meanwhile; another takes its place. Nobody polls the backend in between.
        world.now = world.now + secs(age);
        if age > 0 {
            world.backend.handle_timeout(world.now);
        }
        flood.rng = Rng::new(age + 70);
        let hello = flood.hello();
        let now = world.now;
        if age > 0 {
            let mut packet = hello.clone();
            world.backend.handle_packets(now, &mut [Inbound { path: 50, packet: &mut packet }], &mut |_| {});
        }
        let mut hello = puppet.hello();
        let before = world.backend.discards().clone();
        world.backend.handle_packets(now, &mut [Inbound { path: 1, packet: &mut hello }], &mut |_| {});
        let refused =
            world.backend.discards().of(Discard::CookieRequired) - before.of(Discard::CookieRequired);
        assert_eq!(refused, u32::from(!valid), "after {age} s");
        world.run(secs(400));
    }
}

#[test]
fn half_open_handshakes_and_jobs_are_capped_and_expire() {
    let mut setup = Setup::new(6);
    setup.backend = |config| config.max_half_open = 400;
    setup.policy = Policy { accept: Answer::Never, ..Policy::PROMPT };
    let mut world = setup.build();
    let mut puppet = puppet(&mut world, false);
    let mut jobs = 0;
    for second in 0..300 {
        for path in 3 * second..3 * second + 3 {
            let mut hello = puppet.hello();
            let now = world.now;
            world.backend.handle_packets(now, &mut [Inbound { path, packet: &mut hello }], &mut |_| {});
        }
        // Nobody runs the jobs, nobody polls.
        world.now = world.now + secs(1);
        world.backend.handle_timeout(world.now);
    }
    while world.backend.poll_handshake().is_some() {
        jobs += 1;
    }
    assert!((40..=101).contains(&jobs), "{jobs} jobs wait");
    world.run(secs(30));
    assert_eq!(world.backend.poll_timeout(), None);
}

#[test]
fn an_unknown_connection_gets_a_shorter_reset_and_not_many() {
    //= SPEC.md#reset
    //= type=test
    //# A Reset MUST be shorter than the packet that it answers.
    let mut world = Setup::new(7).build();
    for len in 0..64 {
        let mut packet = vec![7; len];
        if let Some(first) = packet.first_mut() {
            *first = 0x80;
        }
        for (_, reset) in exchange(&mut world, 3, &packet) {
            assert!(reset.len() < len);
            assert_eq!(reset[0], 0x15);
            assert_eq!(reset[1..], packet[len - 16..]);
        }
    }
    world.run(secs(2));
    let answered = (0..1000).filter(|_| !exchange(&mut world, 3, &[0x80; 40]).is_empty()).count();
    assert_eq!(answered, 100, "rate-limited");
}

#[test]
fn alarms_are_not_held_up_by_a_new_path() {
    let mut world = Setup::new(8).connected();
    world.node(0).path = 77;
    world.record(0, Lane::Alarm, &alarm(1)).unwrap();
    world.wait_all_drained_and_check(secs(1));
}
