//! What strangers and many handshakes meet, limit by limit. All of it at once is in `flood`.

use crate::amplification::{exchange, puppet};
use crate::app::{Answer, Policy};
use crate::kit::*;
use crate::puppet::PuppetDevice;
use crate::resume::{assert_whole, kinds, patterns, with_ticket_and};
use crate::world::{Setup, World};
use vitalwire::backend::{AdmissionLimit, AdmissionLimits, BackendConfig, BackendEvent, Inbound, Rate};
use vitalwire::framing::Lane;
use vitalwire::wire::Pattern;
use vitalwire::{Discard, Instant};

const HELLO: u8 = 0x11;
const REPLY: u8 = 0x12;
const RETRY: u8 = 0x14;

/// Somebody who knows the authority's key, and makes a new Hello each time.
fn stranger(world: &mut World) -> PuppetDevice {
    PuppetDevice::new(world.pki.device(900), world.pki.anchors(), None)
}

/// The first byte of what comes back, or 0.
fn answer(world: &mut World, path: u64, packet: &[u8]) -> u8 {
    exchange(world, path, packet).first().map_or(0, |(_, packet)| packet[0])
}

/// Hands a Hello in, and lets nobody do anything.
fn hand_in(world: &mut World, path: u64, packet: &[u8]) {
    let (now, mut packet) = (world.now, packet.to_vec());
    world.backend.handle_packets(now, &mut [Inbound { path, packet: &mut packet }], &mut |_| {});
}

fn reached(world: &World, limit: AdmissionLimit) -> u32 {
    let of = |event: &BackendEvent| match event {
        BackendEvent::LimitReached { limit: other, count } if *other == limit => *count,
        _ => 0,
    };
    world.backend_events.iter().map(of).sum()
}

/// Sends Hellos from the path until there is a cookie for it.
fn with_cookie(world: &mut World, puppet: &mut PuppetDevice, path: u64) {
    for _ in 0..20 {
        let hello = puppet.hello();
        let sent = exchange(world, path, &hello);
        if sent.first().is_some_and(|(_, packet)| packet[0] == RETRY && puppet.follow_retry(packet)) {
            return;
        }
    }
    panic!("no Retry");
}

#[test]
fn a_path_has_its_handshakes_then_is_asked_for_a_cookie_and_has_others_with_it() {
    //= SPEC.md#admission
    //= type=test
    //# A backend MUST limit the handshakes that it computes, in all and for each path.
    //= SPEC.md#admission
    //= type=test
    //# What was counted for Hellos without a valid cookie MUST NOT keep out one that has it.
    let mut world = Setup::new(1).build();
    world.run(ms(1));
    let mut flood = stranger(&mut world);
    let kinds: Vec<u8> = (0..20).map(|_| answer(&mut world, 5, &flood.hello())).collect();
    assert_eq!(kinds, [[REPLY; 8].as_slice(), &[RETRY; 12]].concat());
    assert_eq!(answer(&mut world, 6, &flood.hello()), REPLY, "another path has its own");
    assert_eq!(world.backend.discards().of(Discard::CookieRequired), 12);
    // The path was not the flood's: a device is there, who proves it.
    let mut device = puppet(&mut world, false);
    with_cookie(&mut world, &mut device, 5);
    let kinds: Vec<u8> = (0..10).map(|_| answer(&mut world, 5, &device.hello())).collect();
    assert_eq!(kinds, [[REPLY; 8].as_slice(), &[0; 2]].concat());
    assert_eq!(world.backend.discards().of(Discard::RateLimited), 2);
    world.run(secs(2));
    assert_eq!(answer(&mut world, 5, &device.hello()), REPLY, "one every 2 s");
    assert_eq!(answer(&mut world, 5, &device.hello()), 0);
}

#[test]
fn the_burst_in_all_is_halved_for_who_proves_nothing() {
    let mut setup = Setup::new(2);
    setup.backend = |config| config.admission.handshakes = Rate::per_second(10, 20);
    let mut world = setup.build();
    world.run(ms(1));
    let mut device = puppet(&mut world, false);
    device.rng = Rng::new(7);
    let mut flood = stranger(&mut world);
    let kinds: Vec<u8> = (0..20).map(|path| answer(&mut world, 100 + path, &flood.hello())).collect();
    assert_eq!(kinds, [[REPLY; 10].as_slice(), &[RETRY; 10]].concat());
    assert!(world.backend.admission(world.now).under_load);
    // Ten are left, each for another path that has proved itself.
    for number in 0..12 {
        let hello = device.hello();
        let sent = exchange(&mut world, number, &hello);
        assert_eq!(sent[0].1[0], RETRY);
        assert!(device.follow_retry(&sent[0].1));
        let kind = answer(&mut world, number, &device.hello());
        assert_eq!(kind, if number < 10 { REPLY } else { 0 }, "{number}");
        device.cookie = None;
    }
    assert_eq!(world.backend.admission(world.now).handshakes_left, 0);
    world.run(ms(1_100));
    assert_eq!(world.backend.admission(world.now).handshakes_left, 11);
    assert_eq!(answer(&mut world, 200, &flood.hello()), REPLY);
}

#[test]
fn limits_are_told_once_a_second_with_their_count() {
    let mut world = Setup::new(3).build();
    world.run(ms(1));
    let mut flood = stranger(&mut world);
    let times = |world: &World| {
        let told = |event: &&BackendEvent| matches!(event, BackendEvent::LimitReached { .. });
        world.backend_events.iter().filter(told).count()
    };
    for _ in 0..500 {
        let _ = answer(&mut world, 5, &flood.hello());
    }
    assert_eq!((times(&world), reached(&world, AdmissionLimit::Cookie)), (1, 1), "the first at once");
    world.run(secs(1));
    world.backend.handle_timeout(world.now);
    world.settle();
    assert_eq!((times(&world), reached(&world, AdmissionLimit::Cookie)), (2, 492), "all of them");
    world.run(secs(5));
    world.backend.handle_timeout(world.now);
    world.settle();
    assert_eq!(times(&world), 2, "nothing more was refused");
}

#[test]
fn above_the_rate_of_hellos_none_is_read_and_data_flows() {
    let mut setup = Setup::new(4);
    setup.backend = |config| config.admission.hellos = Rate::per_second(5, 5);
    let mut world = setup.connected();
    world.run(secs(2));
    let mut flood = stranger(&mut world);
    let mut garbage = flood.hello();
    *garbage.last_mut().unwrap() ^= 1;
    for _ in 0..20 {
        hand_in(&mut world, 9, &garbage);
    }
    assert_eq!(world.backend.discards().of(Discard::BadHelloMac), 5);
    assert_eq!(world.backend.discards().of(Discard::RateLimited), 15);
    world.record(0, Lane::Alarm, &alarm(1)).unwrap();
    world.wait_all_drained_and_check(secs(1));
    world.run(secs(2));
    world.backend.handle_timeout(world.now);
    world.settle();
    assert_eq!(reached(&world, AdmissionLimit::Hellos), 15);
}

#[test]
fn garbage_uses_up_no_path() {
    let mut world = Setup::new(5).build();
    world.run(ms(1));
    let mut flood = stranger(&mut world);
    for _ in 0..1000 {
        let mut garbage = flood.hello();
        garbage[40] ^= 1;
        assert_eq!(answer(&mut world, 5, &garbage), 0);
    }
    assert_eq!(answer(&mut world, 5, &flood.hello()), REPLY);
}

#[test]
fn retries_have_a_rate_too() {
    let mut setup = Setup::new(6);
    setup.backend = |config| config.admission.retries = Rate::per_second(3, 3);
    let mut world = setup.build();
    world.run(ms(1));
    let mut flood = stranger(&mut world);
    let kinds: Vec<u8> = (0..14).map(|_| answer(&mut world, 5, &flood.hello())).collect();
    assert_eq!(kinds, [[REPLY; 8].as_slice(), &[RETRY; 3], &[0; 3]].concat());
    world.run(secs(1));
    assert_eq!(answer(&mut world, 5, &flood.hello()), RETRY);
}

#[test]
fn answers_for_anybody_leave_room_for_those_that_were_computed() {
    let mut world = Setup::new(7).build();
    world.run(ms(1));
    let mut flood = stranger(&mut world);
    let hello: Vec<Vec<u8>> = (0..9).map(|_| flood.hello()).collect();
    for hello in &hello {
        hand_in(&mut world, 5, hello);
    }
    // Nobody polls.
    for _ in 0..3000 {
        hand_in(&mut world, 5, &hello[8]);
        let mut data = [0x80; 64];
        data[1] = 7;
        hand_in(&mut world, 5, &data);
    }
    let now = world.now;
    assert_eq!(world.backend.admission(now).answers, 1024, "half of the queue");
    let sent = exchange(&mut world, 6, &flood.hello());
    assert!(sent.iter().any(|(path, packet)| *path == 6 && packet[0] == REPLY));
    let status = world.backend.admission(now);
    assert_eq!((status.answers, status.jobs, status.half_open), (0, 0, 9));
}

#[test]
fn a_limit_refuses_no_ticket() {
    //= SPEC.md#admission
    //= type=test
    //# A backend MUST NOT refuse a ticket because a limit is reached.
    // The path's rate, the rate of all, and the cap.
    let limits: [fn(&mut BackendConfig); 3] = [
        |config| config.admission.per_path = Rate::per_minute(30, 1),
        |config| config.admission.handshakes = Rate::per_second(1, 4),
        |config| config.max_half_open = 1,
    ];
    for (number, limit) in limits.into_iter().enumerate() {
        let mut world = with_ticket_and(8, |setup| setup.backend = limit, |_| {});
        world.run(secs(10));
        let mut flood = stranger(&mut world);
        match number {
            0 => {
                world.connect(0);
                world.run_to_connected(0);
                world.run(ms(300));
                world.node(0).device.disconnect();
                world.run(ms(100));
            }
            1 => {
                assert_eq!([50, 51].map(|path| answer(&mut world, path, &flood.hello())), [REPLY; 2]);
                with_cookie(&mut world, &mut flood, 52);
                assert_eq!([(); 2].map(|()| answer(&mut world, 52, &flood.hello())), [REPLY; 2]);
            }
            _ => assert_eq!(answer(&mut world, 50, &flood.hello()), REPLY),
        }
        let refused = |world: &World| {
            let discards = world.backend.discards();
            discards.of(Discard::RateLimited) + discards.of(Discard::TooManyPending)
        };
        let before = refused(&world);
        world.link.log = Some(Vec::new());
        world.connect(0);
        world.run(ms(500));
        assert_eq!(kinds(&world), [HELLO], "limit {number}: in silence");
        assert_eq!(refused(&world), before + 1, "limit {number}");
        world.run_to_connected(0);
        assert_eq!(patterns(&world).last(), Some(&Pattern::Resume), "limit {number}");
        assert!(!kinds(&world).contains(&RETRY), "limit {number}");
        assert_whole(world);
    }
}

#[test]
fn at_the_cap_the_oldest_that_awaits_its_finish_makes_room() {
    let mut setup = Setup::new(9);
    setup.backend = |config| config.max_half_open = 4;
    let mut world = setup.build();
    world.run(ms(1));
    let mut flood = stranger(&mut world);
    let mut cookies = Vec::new();
    // Five paths prove themselves while there is room for the load, then take the rest.
    for path in [10, 11] {
        assert_eq!(answer(&mut world, path, &flood.hello()), REPLY);
    }
    for path in 12..18 {
        let sent = exchange(&mut world, path, &flood.hello());
        assert!(flood.follow_retry(&sent[0].1));
        cookies.push((path, flood.cookie.take()));
    }
    let mut proven = |world: &mut World, index: usize| {
        let (path, cookie) = cookies[index];
        flood.cookie = cookie;
        answer(world, path, &flood.hello())
    };
    assert_eq!([proven(&mut world, 0), proven(&mut world, 1)], [REPLY; 2]);
    assert_eq!(proven(&mut world, 2), 0, "all four are young");
    assert_eq!(world.backend.discards().of(Discard::TooManyPending), 1);
    world.run(ms(1_999));
    assert_eq!(proven(&mut world, 2), 0);
    world.run(ms(1));
    assert_eq!([2, 3, 4, 5].map(|index| proven(&mut world, index)), [REPLY; 4]);
    assert_eq!(world.backend.admission(world.now).half_open, 4);
    assert_eq!(proven(&mut world, 0), 0, "these are young again");
    assert_eq!(world.backend.discards().of(Discard::TooManyPending), 7, "who made room is counted");
    world.run(secs(21));
    assert_eq!(world.backend.admission(world.now).half_open, 0);
}

#[test]
fn a_registry_that_never_answers_holds_up_nobody_else_and_fills_nothing() {
    let mut setup = Setup::new(10);
    setup.backend = |config| config.max_half_open = 32;
    let mut world = setup.build();
    let pin = world.pinned();
    for _ in 0..60 {
        world.add(&pin);
    }
    world.connect(0);
    world.run_to_connected(0);
    let devices = world.backend.devices();
    world.app.policy = Policy { accept: Answer::Never, ..Policy::PROMPT };
    for number in 1..60 {
        world.connect(number);
    }
    let mut most = (0, 0);
    for step in 0..300 {
        world.run(ms(500));
        let status = world.backend.admission(world.now);
        assert!(status.half_open <= 32 && status.jobs <= 32 && status.pending_identities <= 33);
        assert!(status.known_hellos <= 64 && status.answers == 0);
        most = (most.0.max(status.half_open), most.1.max(world.backend.devices()));
        // Who is in is served.
        world.record(0, Lane::Trend, &rate(step)).unwrap();
        world.run(ms(500));
        assert!(world.nodes[0].device.is_drained(), "{step}");
    }
    assert_eq!(most.0, 32, "the attack works");
    assert!(most.1 <= devices + 32);
    // The registry is back.
    world.app.policy = Policy::PROMPT;
    let end = world.now + secs(400);
    let all = world.run_until(end, |world| world.nodes.iter().all(|node| node.device.is_connected()));
    assert!(all, "all get in");
    assert_eq!(world.backend.devices(), 60);
    world.wait_all_drained_and_check(secs(10));
}

#[test]
fn an_invalid_rate_is_refused() {
    let world = Setup::new(11).build();
    let mut config =
        BackendConfig::new(world.backend_identity.clone(), world.pki.anchors(), world.pki.time());
    config.admission.per_prefix = Rate::per_second(0, 5);
    assert!(vitalwire::backend::Backend::<u64>::new(config.clone()).is_err());
    config.admission.per_prefix = Rate::per_second(1, 0);
    assert!(vitalwire::backend::Backend::<u64>::new(config.clone()).is_err());
    config.admission = AdmissionLimits::UNLIMITED;
    assert!(vitalwire::backend::Backend::<u64>::new(config).is_ok());
}

#[test]
fn addresses_of_one_host_share_a_rate_once_they_are_proven() {
    use std::net::SocketAddr;
    use vitalwire::backend::Backend;
    let mut world = Setup::new(12).build();
    let mut config =
        BackendConfig::new(world.backend_identity.clone(), world.pki.anchors(), world.pki.time());
    config.admission.per_prefix = Rate::per_minute(1, 3);
    config.max_half_open = 100;
    let mut backend: Backend<SocketAddr> = Backend::new(config).unwrap();
    let mut flood = stranger(&mut world);
    let now = Instant::from_millis(1000);
    let mut answer = |path: SocketAddr, packet: &[u8]| {
        let mut packet = packet.to_vec();
        backend.handle_packets(now, &mut [Inbound { path, packet: &mut packet }], &mut |_| {});
        while let Some(job) = backend.poll_handshake() {
            let done = job.run(&mut world.rng);
            backend.handle_handshake(now, done);
        }
        let mut out = [0; 1500];
        let sent = backend.poll_transmit(now, &mut world.rng, &mut out).unwrap();
        sent.map(|transmit| transmit.packet.to_vec())
    };
    answer("[2001:db8::]:1".parse().unwrap(), &[0]);
    // Above a quarter of the cap: cookies.
    for port in 0..26 {
        answer(SocketAddr::from(([203, 0, 113, 7], port)), &flood.hello());
    }
    let mut proven = |path: &str| {
        let path: SocketAddr = path.parse().unwrap();
        flood.cookie = None;
        let retry = answer(path, &flood.hello()).unwrap();
        assert!(flood.follow_retry(&retry), "{path}");
        answer(path, &flood.hello()).map_or(0, |packet| packet[0])
    };
    let ports = ["198.51.100.7:1", "198.51.100.7:2", "198.51.100.7:3", "198.51.100.7:4"];
    assert_eq!(ports.map(&mut proven), [REPLY, REPLY, REPLY, 0]);
    assert_eq!(proven("198.51.100.8:4"), REPLY, "another host");
    assert_eq!(proven("[::ffff:198.51.100.7]:9"), 0, "the same one, as IPv6 writes it");
    let site = ["[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1", "[2001:db8:0:3::1]:1", "[2001:db8:0:ff::1]:1"];
    assert_eq!(site.map(&mut proven), [REPLY, REPLY, REPLY, 0], "56 bits");
    assert_eq!(proven("[2001:db8:0:100::1]:1"), REPLY);
}
