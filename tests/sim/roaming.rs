//! Paths that change, two paths by turns, and packets that overtake thousands of others.

use crate::amplification::{establish, exchange, puppet};
use crate::app::Policy;
use crate::kit::*;
use crate::link::Faults;
use crate::puppet::PuppetDevice;
use crate::world::{Setup, World};
use vitalwire::Discard;
use vitalwire::framing::{Frame, Frames, Lane};

/// Sends frames from a path; returns what the backend answers: where to, and the token of its Ping.
fn say(
    world: &mut World,
    puppet: &mut PuppetDevice,
    path: u64,
    frames: &[Frame<'_>],
) -> Vec<(u64, Option<[u8; 8]>)> {
    let packet = puppet.frames(world.now, frames);
    exchange(world, path, &packet)
        .into_iter()
        .map(|(to, answer)| (to, token(world, puppet, &answer)))
        .collect()
}

fn token(world: &World, puppet: &mut PuppetDevice, answer: &[u8]) -> Option<[u8; 8]> {
    let payload = puppet.open(world.now, answer).unwrap();
    Frames::parse(&payload).unwrap().find_map(|frame| match frame {
        Frame::Ping(token) => Some(token),
        _ => None,
    })
}

/// A session that has validated paths 1 and 2, and is at 2.
fn on_two_paths(world: &mut World) -> PuppetDevice {
    let mut puppet = puppet(world, false);
    establish(world, &mut puppet, 1);
    let asked = say(world, &mut puppet, 2, &[]);
    let [(2, Some(token))] = asked[..] else { panic!("{asked:?}") };
    assert_eq!(say(world, &mut puppet, 2, &[Frame::Pong(token)]), []);
    puppet
}

const ASK: [Frame<'static>; 1] = [Frame::Ping([1; 8])];

#[test]
fn a_return_to_a_validated_path_needs_no_new_validation() {
    let mut world = Setup::new(1).build();
    let mut puppet = on_two_paths(&mut world);
    for round in 0..20 {
        for path in [1, 2] {
            assert_eq!(say(&mut world, &mut puppet, path, &[]), [], "round {round}: nothing is owed");
            assert_eq!(say(&mut world, &mut puppet, path, &ASK), [(path, None)], "round {round}");
        }
        world.run(secs(30));
    }
}

#[test]
fn a_path_that_was_left_long_ago_is_validated_again() {
    //= SPEC.md#paths
    //= type=test
    //# A backend MUST take a path that a session has left as unvalidated again once nothing has authenticated from there for 10 minutes.
    let mut world = Setup::new(2).build();
    let mut puppet = on_two_paths(&mut world);
    world.run(ms(599_999));
    assert_eq!(say(&mut world, &mut puppet, 1, &ASK), [(1, None)]);
    world.run(secs(300));
    assert_eq!(say(&mut world, &mut puppet, 1, &ASK), [(1, None)]);
    world.run(secs(300));
    let asked = say(&mut world, &mut puppet, 2, &ASK);
    assert!(matches!(asked[..], [(2, Some(_))]), "{asked:?}");
    assert_eq!(say(&mut world, &mut puppet, 1, &ASK), [(1, None)], "the one in use stays");
}

#[test]
fn an_echo_counts_for_the_path_to_which_its_token_went() {
    let mut world = Setup::new(3).build();
    let mut puppet = puppet(&mut world, false);
    establish(&mut world, &mut puppet, 1);
    let asked = say(&mut world, &mut puppet, 2, &ASK);
    let token = asked[0].1.unwrap();
    // Every other packet goes over the first path, and so does the echo.
    assert_eq!(say(&mut world, &mut puppet, 1, &[Frame::Pong([9; 8])]), []);
    assert_eq!(
        say(&mut world, &mut puppet, 2, &ASK),
        [(2, Some(token))],
        "the same token: no other was echoed"
    );
    assert_eq!(say(&mut world, &mut puppet, 1, &[Frame::Pong(token)]), []);
    assert_eq!(say(&mut world, &mut puppet, 2, &ASK), [(2, None)]);
    // A third path has a token of its own.
    let asked = say(&mut world, &mut puppet, 3, &ASK);
    assert!(matches!(asked[..], [(3, Some(other))] if other != token));
    assert_eq!(say(&mut world, &mut puppet, 3, &[Frame::Pong(token)]), []);
    assert!(matches!(say(&mut world, &mut puppet, 3, &ASK)[..], [(3, Some(_))]));
}

#[test]
fn copies_from_many_paths_do_not_displace_the_validated_ones() {
    let mut world = Setup::new(4).build();
    let mut puppet = on_two_paths(&mut world);
    // Somebody on the path forwards genuine packets from addresses that he invents.
    for path in 10..40 {
        let asked = say(&mut world, &mut puppet, path, &ASK);
        assert!(matches!(asked[..], [(to, Some(_))] if to == path));
    }
    assert_eq!(say(&mut world, &mut puppet, 2, &ASK), [(2, None)], "the latest validated path");
}

#[test]
fn an_overtaken_packet_moves_nothing() {
    let mut world = Setup::new(5).build();
    let mut puppet = on_two_paths(&mut world);
    let early = puppet.frames(world.now, &ASK);
    assert_eq!(say(&mut world, &mut puppet, 2, &ASK), [(2, None)]);
    for path in [1, 3] {
        let late = if path == 1 { early.clone() } else { puppet.frames(world.now, &ASK) };
        if path == 3 {
            assert_eq!(say(&mut world, &mut puppet, 2, &[]), []);
        }
        let answers = exchange(&mut world, path, &late);
        assert!(answers.iter().all(|(to, answer)| *to == 2 && token(&world, &mut puppet, answer).is_none()));
        assert_eq!(answers.len(), 1, "the Pong goes where the session is");
    }
}

#[test]
fn alternating_paths_keep_the_threefold_budget_each() {
    //= SPEC.md#admission
    //= type=test
    //# A backend MUST NOT send more than three times the bytes that it received on a path before that path is validated.
    for seed in seeds(40) {
        let mut world = Setup::new(seed).build();
        let mut puppet = puppet(&mut world, seed % 2 == 0);
        establish(&mut world, &mut puppet, 1);
        let mut rng = Rng::new(seed);
        let mut bytes = std::collections::BTreeMap::<u64, (usize, usize)>::new();
        let mut held = Vec::new();
        for _ in 0..300 {
            // A device that asks and asks and never echoes a token, from some paths; some packets come late.
            let frames = [Frame::Ping([1; 8]), Frame::Padding(rng.below(40) as usize)];
            held.push(puppet.frames(world.now, &frames[..rng.below(3) as usize]));
            let at = if rng.chance(0.8) { held.len() - 1 } else { rng.below(held.len() as u64) as usize };
            let packet = held.swap_remove(at);
            let path = 1 + rng.below(4);
            bytes.entry(path).or_default().0 += packet.len();
            for (to, answer) in exchange(&mut world, path, &packet) {
                bytes.entry(to).or_default().1 += answer.len();
            }
            if rng.chance(0.02) {
                world.run(secs(rng.below(900)));
            }
            for (path, (received, sent)) in &bytes {
                assert!(*path == 1 || *sent <= 3 * received, "path {path}: {sent} for {received}");
            }
        }
    }
}

#[test]
fn two_paths_by_turns_cost_no_more_packets_than_one() {
    let packets = |also: Option<u64>| {
        let mut world = Setup::new(6).build();
        world.add(|_| {});
        world.node(0).also = also;
        world.connect(0);
        world.run_to_connected(0);
        world.link.log = Some(Vec::new());
        for round in 0..500 {
            world.record(0, Lane::Trend, &rate(round)).unwrap();
            world.run(ms(700));
        }
        world.wait_all_drained_and_check(secs(10));
        let log = world.link.log.take().unwrap();
        assert!(log.iter().all(|(_, _, packet)| packet[0] & 0x80 != 0));
        (log.len(), log.iter().map(|(_, _, packet)| packet.len()).sum::<usize>())
    };
    let (one, both) = (packets(None), packets(Some(77)));
    println!("one path: {one:?}, two: {both:?} packets and bytes");
    assert!(both.0 <= one.0 + 4 && both.1 <= one.1 + 200, "{one:?} {both:?}");
}

#[test]
fn roams_through_many_networks_and_loses_nothing() {
    for seed in seeds(20) {
        let mut setup = Setup::new(seed);
        setup.faults = Faults { reorder: 0.2, duplicate: 0.1, ..Faults::loss(0.1) };
        setup.policy = Policy::SLOW;
        let mut world = setup.build();
        world.add(|_| {});
        world.connect(0);
        for round in 0..40u64 {
            let _ = world.record(0, Lane::Trend, &rate(round as i32));
            let _ = world.wave(0, 60);
            if round % 6 == 0 {
                let _ = world.record(0, Lane::Alarm, &alarm(round as u32));
            }
            let span = ms(world.rng.below(3_000));
            world.run(span);
            let path = 2000 + world.rng.below(5);
            let node = world.node(0);
            (node.also, node.path) = (if round % 3 == 0 { Some(node.path) } else { None }, path);
        }
        world.wait_all_drained_and_check(secs(400));
    }
}

#[test]
fn a_packet_may_be_late_by_a_window_and_no_more() {
    //= SPEC.md#replay-window
    //= type=test
    //# A receiver MUST discard a packet whose counter is authenticated already, or is at or below highest − W.
    let mut world = Setup::new(7).build();
    let mut puppet = puppet(&mut world, false);
    establish(&mut world, &mut puppet, 1);
    let (stale, replayed) = (Discard::StaleCounter, Discard::Replayed);
    // As long as no Ack says more, counters of one byte are 64: their depth is 128.
    let early = puppet.frames(world.now, &[]);
    for _ in 0..70 {
        say(&mut world, &mut puppet, 1, &[]);
    }
    exchange(&mut world, 1, &early);
    assert_eq!(world.backend.discards().total(), 0);
    let mut rng = Rng::new(7);
    let mut last: Vec<Vec<u8>> = Vec::new();
    for _ in 0..5 {
        // 1024 packets in any order: none is late by more than 1023.
        let mut packets: Vec<_> = (0..1024).map(|_| puppet.frames(world.now, &[])).collect();
        for at in (1..packets.len()).rev() {
            packets.swap(at, rng.below(at as u64 + 1) as usize);
        }
        packets.iter().for_each(|packet| drop(exchange(&mut world, 1, packet)));
        assert_eq!(world.backend.discards().total(), 0);
        last = packets;
    }
    last.iter().for_each(|packet| drop(exchange(&mut world, 1, packet)));
    assert_eq!(world.backend.discards().of(replayed), 1024);
    let late: Vec<_> = (0..3000).map(|_| puppet.frames(world.now, &[])).collect();
    exchange(&mut world, 1, &late[2999]);
    for packet in &late {
        exchange(&mut world, 1, packet);
    }
    // 1023 fall into the window, one comes twice, the others are too old.
    assert_eq!(world.backend.discards().of(stale), 3000 - 1024);
    assert_eq!(world.backend.discards().of(replayed), 1024 + 1);
}

#[test]
fn packets_that_thousands_overtake_cost_only_their_repetition() {
    for seed in seeds(4) {
        let mut setup = Setup::new(seed);
        setup.faults = Faults { reorder: 0.2, late: (1_000, 100_000), ..Faults::NONE };
        let mut world = setup.connected();
        for round in 0..6000 {
            let _ = world.record(0, Lane::Trend, &rate(round));
            let _ = world.record(0, Lane::Event, &event(round as u32));
            world.run(ms(25));
        }
        world.wait_all_drained_and_check(secs(300));
        world.run(secs(100));
        // Counters of one byte have a depth of 128: what is late by more seems forged, or to have come before.
        let discards = world.backend.discards();
        let late = discards.of(Discard::Forged) + discards.of(Discard::Replayed);
        assert!(late > 200, "{late} packets came too late");
    }
}
