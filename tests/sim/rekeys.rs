//! Both ratchets under loss, with lowered limits.

use crate::delivery::workload;
use crate::kit::*;
use crate::link::Faults;
use crate::world::Setup;
use vitalwire::framing::Lane;
use vitalwire::session::RekeyPolicy;

fn eager(policy: RekeyPolicy) -> RekeyPolicy {
    let policy = policy.hash_after_packets(20).unwrap().dh_after_packets(50).unwrap();
    policy.dh_interval(secs(2)).unwrap().hash_after(secs(30)).unwrap()
}

#[test]
fn rekeys_of_both_kinds_lose_nothing() {
    let mut one_session = 0;
    for seed in seeds(25) {
        let mut setup = Setup::new(seed);
        setup.faults = if seed == 1 { Faults::NONE } else { Faults::HOSTILE };
        setup.backend = |config| config.rekey = eager(config.rekey);
        let mut world = setup.build();
        for number in 0..2 {
            world.add(|config| config.rekey = eager(config.rekey));
            world.connect(number);
        }
        // The previous key lives for two minutes at the longest: time enough for several moves.
        for _ in 0..12 {
            workload(&mut world, 2, 12);
            world.run(secs(30));
        }
        let (hash, dh) = world.nodes[0].device.ratchets();
        world.link.faults = Faults::NONE;
        world.wait_all_drained_and_check(secs(300));
        // A corrupted connection id earns a Reset, and that a new session, which begins at epoch 0.
        if world.nodes[0].events.len() == 1 {
            assert!(hash >= 1 && dh >= 1, "{hash} hash, {dh} DH ratchets");
            one_session += 1;
        }
        let identity = world.identity(0);
        assert_eq!(world.backend.ratchets(&identity), Some(world.nodes[0].device.ratchets()));
    }
    assert!(one_session > 0);
}

#[test]
fn a_hint_and_a_wish_make_a_dh_ratchet() {
    let mut world = Setup::new(1).connected();
    let identity = world.identity(0);
    world.backend.hint_rekey(&identity).unwrap();
    world.run(secs(1));
    world.record(0, Lane::Trend, &rate(1)).unwrap();
    world.run(secs(1));
    assert_eq!(world.nodes[0].device.ratchets().1, 1);
    world.run(secs(130));
    world.node(0).device.rekey();
    world.run(secs(1));
    world.record(0, Lane::Trend, &rate(1)).unwrap();
    world.run(secs(1));
    assert_eq!(world.nodes[0].device.ratchets().1, 2);
    assert_eq!(world.backend.ratchets(&identity), Some((0, 2)));
}

#[test]
fn a_request_that_comes_too_early_neither_floods_nor_kills_the_session() {
    // The device's policy allows a ratchet every 5 s, the backend's only every 60 s.
    let mut world = Setup::new(2).build();
    world.add(|config| config.rekey = config.rekey.dh_interval(secs(5)).unwrap());
    world.connect(0);
    world.run_to_connected(0);
    world.node(0).device.rekey();
    world.run(secs(1));
    world.record(0, Lane::Trend, &rate(1)).unwrap();
    world.run(secs(6));
    world.node(0).device.rekey();
    world.link.log = Some(Vec::new());
    world.run(secs(200));
    let sent = world.link.log.as_ref().unwrap().len();
    assert!(sent < 40, "{sent} packets");
    let log = world.link.log.as_ref().unwrap();
    assert!(log.iter().all(|(_, _, packet)| packet[0] != 0x11), "no new handshake");
    world.record(0, Lane::Trend, &rate(1)).unwrap();
    world.wait_all_drained_and_check(secs(5));
    assert_eq!(world.nodes[0].device.ratchets().1, 2);
}

#[test]
fn a_lost_first_packet_of_an_epoch_is_survived() {
    for lost in 0..4 {
        let mut world = Setup::new(3).build();
        world.add(|config| config.rekey = config.rekey.hash_after(secs(60)).unwrap());
        world.connect(0);
        world.run_to_connected(0);
        for round in 0..4 {
            world.record(0, Lane::Trend, &rate(round)).unwrap();
            world.run(secs(35));
        }
        let mut dropped = 0;
        world.link.filter = Some(Box::new(move |_, _| {
            dropped += 1;
            if dropped <= lost { crate::link::Verdict::Drop } else { crate::link::Verdict::Pass }
        }));
        for round in 0..20 {
            world.record(0, Lane::Trend, &rate(round)).unwrap();
            world.run(secs(40));
        }
        world.wait_all_drained_and_check(secs(60));
        assert!(world.nodes[0].device.ratchets().0 >= 3);
    }
}
