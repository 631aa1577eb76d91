//! Sleep, outages and fleets: when a device is to wake, and when it tries again.

use crate::app::{Answer, Policy};
use crate::kit::*;
use crate::link::{Faults, To, Verdict};
use crate::world::{Setup, World};
use vitalwire::Instant;
use vitalwire::backend::BackendEvent;
use vitalwire::device::*;
use vitalwire::framing::Lane;

fn hellos(world: &World) -> usize {
    world.link.log.as_ref().unwrap().iter().filter(|(_, _, packet)| packet[0] == 0x11).count()
}

/// A device alone, to which nobody answers.
fn lonely(number: usize, pinned: bool) -> Device<'static> {
    let mut pki = Pki::new(number as u64);
    let backend = pki.backend();
    let identity = pki.device(number);
    let mut config = DeviceConfig::new(identity, pki.anchors(), pki.time(), 1, 2048);
    config.pin = pinned.then(|| pin_of(&backend));
    let memory =
        DeviceMemory { outbox: vec![0; 2048].leak(), descriptors: descriptors(0).leak(), backlog: &mut [] };
    let mut device = Device::new(config, memory).unwrap();
    device.handle_link(at(0), Link::Up { max_packet: 1200 });
    device.connect(at(0));
    device
}

/// Calls a device when it says so, until `end`; hands every packet with its time to `sent`, which may say stop.
fn run_alone(
    device: &mut Device<'_>,
    end: Instant,
    rng: &mut Rng,
    mut sent: impl FnMut(Instant, &[u8]) -> bool,
) {
    let mut now = at(0);
    let mut out = [0; 1500];
    loop {
        while let Some(packet) = device.poll_transmit(now, rng, &mut out).unwrap() {
            if sent(now, packet) {
                return;
            }
        }
        while device.poll_event().is_some() {}
        match device.poll_timeout() {
            Some(due) if due <= end => now = due,
            _ => return,
        }
    }
}

#[test]
fn a_device_that_overslept_does_at_once_what_is_due() {
    // Awake for so long while something is lost, then asleep for hours.
    let lost: [fn(To, &[u8]) -> bool; 3] = [
        |_, _| true,
        |to, _| matches!(to, To::Device(_)),
        |to, packet| matches!(to, To::Device(_)) && packet[0] & 0x80 != 0,
    ];
    for pinned in [false, true] {
        for (which, lost) in lost.into_iter().enumerate() {
            for awake in [0, 500, 1_200, 3_000, 6_000, 12_000, 20_000, 40_000, 100_000, 1_000_000] {
                let mut world = Setup::new(awake).build();
                world.add_pinned_if(pinned);
                world.record(0, Lane::Trend, &rate(1)).unwrap();
                world.link.filter =
                    Some(Box::new(
                        move |to, packet| {
                            if lost(to, packet) { Verdict::Drop } else { Verdict::Pass }
                        },
                    ));
                world.connect(0);
                world.run(ms(awake));
                world.node(0).asleep = true;
                world.run(secs(5 * 3600));
                world.link.filter = None;
                world.link.log = Some(Vec::new());
                world.node(0).asleep = false;
                let end = world.now + ms(400);
                let connected = world.run_until(end, |world| world.nodes[0].device.is_connected());
                assert!(connected, "pinned {pinned}, loss {which}, awake for {awake} ms");
                assert!(hellos(&world) <= 2);
                world.wait_all_drained_and_check(secs(3));
            }
        }
    }
}

#[test]
fn a_device_that_wakes_for_seconds_now_and_then_gets_through() {
    // Half of all packets are lost, and the radio is on for 4 s in 10 minutes.
    for seed in seeds(10) {
        let mut setup = Setup::new(seed);
        setup.faults = Faults::loss(0.5);
        let mut world = setup.build();
        world.add(|_| {});
        world.record(0, Lane::Trend, &rate(1)).unwrap();
        world.connect(0);
        let mut wakes = 0;
        while !world.nodes[0].device.is_drained() {
            wakes += 1;
            assert!(wakes < 30, "seed {seed}");
            world.run(secs(4));
            world.node(0).asleep = true;
            world.run(secs(600));
            world.node(0).asleep = false;
        }
    }
}

#[test]
fn nobody_need_wake_while_the_link_is_down() {
    for state in 0..4 {
        let mut world = Setup::new(state).build();
        world.add(|_| {});
        world.connect(0);
        match state {
            // A session with a record in flight; one that is idle; an attempt; a pause.
            0 => {
                world.run_to_connected(0);
                world.link.faults.loss = 1.0;
                world.record(0, Lane::Trend, &rate(1)).unwrap();
                world.run(secs(3));
            }
            1 => world.run_to_connected(0),
            2 => world.settle(),
            _ => {
                world.link.faults.loss = 1.0;
                world.run(secs(100));
            }
        }
        let now = world.now;
        world.node(0).device.handle_link(now, Link::Down);
        world.settle();
        let mut wakes = Vec::new();
        while let Some(due) = world.nodes[0].device.poll_timeout().filter(|due| *due < now + secs(86_400)) {
            wakes.push(due);
            assert!(wakes.len() < 10, "state {state}: {wakes:?}");
            world.now = due;
            world.node(0);
            world.settle();
        }
        // The session's end, and an attempt's.
        assert!(wakes.len() <= 2, "state {state}: {wakes:?}");
        world.link.faults.loss = 0.0;
        let (now, up) = (world.now, world.up());
        world.node(0).device.handle_link(now, up);
        let end = now + secs(2);
        assert!(world.run_until(end, |world| world.nodes[0].device.is_connected()), "state {state}");
    }
}

#[test]
fn a_fleet_comes_back_from_an_outage_spread_over_the_pause() {
    // 1000 devices that lost their backend at the same moment; it is back after an hour.
    const FLEET: usize = 1000;
    let mut bins = [0usize; 11];
    let mut first_second = 0;
    let back = at(3_600_000);
    let mut second_attempts = std::collections::BTreeMap::<u64, usize>::new();
    for number in 0..FLEET {
        let (mut device, mut rng) = (lonely(number, false), Rng::new(number as u64));
        let mut first: Option<Vec<u8>> = None;
        let mut second = None;
        run_alone(&mut device, back + secs(400), &mut rng, |now, packet| {
            assert_eq!(packet[0], 0x11);
            if first.get_or_insert_with(|| packet.to_vec()) != packet {
                second.get_or_insert(now);
            }
            if now < back {
                return false;
            }
            let late = now.since(back).as_millis();
            bins[(late / 30_000) as usize] += 1;
            first_second += usize::from(late < 1000);
            true
        });
        *second_attempts.entry(second.unwrap().as_millis() / 1000).or_default() += 1;
    }
    println!("first Hellos after the outage, per 30 s: {bins:?}");
    println!("first Hellos of the second attempts, per second: {second_attempts:?}");
    // A pause is 150 to 300 s, an attempt before it 15 to 22.5 s.
    assert_eq!(bins.iter().sum::<usize>(), FLEET);
    assert!(bins[..8].iter().all(|&count| (50..=200).contains(&count)), "{bins:?}");
    assert!(first_second <= FLEET / 50, "{first_second} in the first second");
    assert!(second_attempts.values().all(|&count| count < FLEET / 3), "{second_attempts:?}");
}

#[test]
fn devices_that_asked_at_the_same_time_look_for_a_new_session_at_different_times() {
    let mut world = Setup::new(3).build();
    let pin = world.pinned();
    for number in 0..50 {
        world.add(&pin);
        world.connect(number);
    }
    world.run(secs(10));
    world.link.faults.loss = 1.0;
    for number in 0..50 {
        assert!(world.nodes[number].device.is_connected());
        world.record(number, Lane::Trend, &rate(1)).unwrap();
    }
    world.link.log = Some(Vec::new());
    let start = world.now;
    world.run(secs(95));
    let mut first = std::collections::BTreeMap::new();
    for (sent, to, packet) in world.link.log.as_ref().unwrap() {
        if packet[0] == 0x11 {
            first.entry(*to).or_insert(sent.since(start));
        }
    }
    assert_eq!(first.len(), 50);
    for third in 0..3 {
        let span = secs(60 + 10 * third)..secs(71 + 10 * third);
        let count = first.values().filter(|after| span.contains(after)).count();
        assert!((6..=30).contains(&count), "{count} in {span:?}");
    }
}

#[test]
fn a_link_that_flaps_does_not_end_a_pause_that_the_backend_asked_for() {
    let mut setup = Setup::new(1);
    setup.policy = Policy { accept: Answer::Refuse, ..Policy::PROMPT };
    let mut world = setup.build();
    world.add(|_| {});
    world.link.log = Some(Vec::new());
    world.connect(0);
    for _ in 0..140 {
        world.run(ms(900));
        let (now, up) = (world.now, world.up());
        world.node(0).device.handle_link(now, Link::Down);
        world.run(ms(100));
        world.node(0).device.handle_link(now, up);
    }
    assert_eq!(hellos(&world), 1);
    world.run(secs(170));
    assert_eq!(hellos(&world), 2, "and it comes back afterwards");
    // Its own pause ends with the link.
    world.app.policy.accept = Answer::Accept;
    world.link.faults.loss = 1.0;
    let now = world.now;
    world.node(0).device.connect(now);
    world.run(secs(900));
    world.link.faults.loss = 0.0;
    let (now, up) = (world.now, world.up());
    world.node(0).device.handle_link(now, Link::Down);
    world.node(0).device.handle_link(now, up);
    let end = now + ms(500);
    assert!(world.run_until(end, |world| world.nodes[0].device.is_connected()));
}

#[test]
fn damage_in_a_connection_id_starts_no_handshake() {
    //= SPEC.md#reset
    //= type=test
    //# A device MUST NOT start that handshake before it has credible Resets for two packets, with no packet authenticated between them.
    let mut world = Setup::new(4).connected();
    world.record(0, Lane::Trend, &rate(0)).unwrap();
    world.drain(secs(5));
    world.link.log = Some(Vec::new());
    let mut count = 0;
    world.link.filter = Some(Box::new(move |to, packet| {
        let up = matches!(to, To::Backend(_)) && packet[0] & 0x80 != 0;
        count += usize::from(up);
        if up && count % 3 == 0 { Verdict::Flip(8 + count % 40) } else { Verdict::Pass }
    }));
    for round in 0..200 {
        world.record(0, Lane::Trend, &rate(round)).unwrap();
        world.run(secs(5));
    }
    world.wait_all_drained_and_check(secs(30));
    let log = world.link.log.as_ref().unwrap();
    let resets = log.iter().filter(|(_, _, packet)| packet[0] == 0x15).count();
    assert!(resets > 50, "{resets} Resets");
    assert_eq!(hellos(&world), 0);
    // It asks at most once a minute: Resets make no storm.
    let up = log.iter().filter(|(_, to, _)| matches!(to, To::Backend(_))).count();
    assert!(up < 200 + 2 * resets, "{up} packets");
    let connected = |event: &&BackendEvent| matches!(event, BackendEvent::Connected { .. });
    assert_eq!(world.backend_events.iter().filter(connected).count(), 1);
}

#[test]
fn a_device_that_says_nothing_learns_of_a_restart_in_its_first_wake() {
    for seed in seeds(5) {
        let mut world = Setup::new(seed).connected();
        world.run(secs(600));
        world.restart_backend();
        world.run(secs(600));
        world.record(0, Lane::Alarm, &alarm(1)).unwrap();
        let start = world.now;
        world.drain(secs(2));
        // The alarm, its Reset; a Ping, its Reset; Hello, Reply; the alarm, a request for the descriptors; these, an Ack.
        let round_trip = ms(42);
        let took = world.now.since(start);
        assert!(took <= round_trip.saturating_mul(5), "{took:?}");
    }
}

#[test]
fn an_alarm_does_not_wait_for_the_end_of_a_pause() {
    for pinned in [false, true] {
        let mut world = Setup::new(9).build();
        world.add_pinned_if(pinned);
        world.link.log = Some(Vec::new());
        world.link.faults.loss = 1.0;
        world.connect(0);
        world.run(secs(3600));
        // An alarm each second makes no storm of a dead link.
        let before = hellos(&world);
        for round in 0..100 {
            world.record(0, Lane::Alarm, &alarm(round)).unwrap();
            world.run(secs(1));
        }
        let during = hellos(&world) - before;
        assert!((8..=30).contains(&during), "{during} Hellos");
        world.run(secs(15));
        world.link.faults.loss = 0.0;
        world.record(0, Lane::Alarm, &alarm(1000)).unwrap();
        world.wait_all_drained_and_check(ms(400));
    }
}
