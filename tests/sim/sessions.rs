//! Several sessions: clones, replays, roaming, many devices.

use crate::app::Policy;
use crate::kit::*;
use crate::link::{Faults, To, Verdict};
use crate::world::{Setup, World};
use vitalwire::backend::{BackendEvent, Committed, Grant, Inbound, Received};
use vitalwire::device::DeviceEvent;
use vitalwire::framing::Lane;
use vitalwire::{CloseReason, Discard};

fn connected(world: &World) -> usize {
    world.backend_events.iter().filter(|event| matches!(event, BackendEvent::Connected { .. })).count()
}

#[test]
fn a_session_is_displaced_only_when_the_new_one_is_proved() {
    //= SPEC.md#handshake-timers
    //= type=test
    //# A backend MUST NOT displace, show as online or audit as accepted a session that is not proved.
    for pinned in [false, true] {
        let mut world = Setup::new(1).build();
        let pin = world.pinned();
        world.add(|_| {});
        world.connect(0);
        world.run_to_connected(0);
        // A copy of the device, on another path; its last flight to the backend is lost.
        let clone = {
            let mut pki = Pki::new(1);
            pki.backend();
            pki.device(0)
        };
        world.add(|config| {
            config.identity = clone;
            config.boot = 8;
            if pinned {
                pin(config);
            }
        });
        world.link.filter = Some(Box::new(move |to, packet| {
            let proof = if pinned { packet[0] & 0x80 != 0 } else { packet[0] == 0x13 };
            if to == To::Backend(1001) && proof { Verdict::Drop } else { Verdict::Pass }
        }));
        world.connect(1);
        world.run(secs(5));
        assert_eq!(connected(&world), 1, "not shown as online");
        for _ in 0..3 {
            world.record(0, Lane::Trend, &rate(1)).unwrap();
            world.run(secs(1));
        }
        assert!(world.nodes[0].device.is_connected() && world.nodes[0].device.is_drained());
        world.link.filter = None;
        world.run(secs(30));
        let id = world.identity(0);
        let replaced = BackendEvent::Disconnected { identity: id, reason: CloseReason::Replaced };
        assert!(world.backend_events.contains(&replaced));
        let told = DeviceEvent::Disconnected(CloseReason::Replaced);
        assert!(world.nodes[0].events.contains(&told), "the copy on another path learns it");
    }
}

/// As when a device has lost its power: what it sent in a session before comes after the one that it has now.
#[test]
fn a_session_that_is_proved_late_takes_nothing_from_a_newer_one() {
    //= SPEC.md#handshake-timers
    //= type=test
    //# A backend MUST end a session that is not proved when one that it has accepted later is, and deliver nothing of it.
    let mut world = Setup::new(1).build();
    let pin = world.pinned();
    let boots = [7, 8].map(|boot| {
        let identity = {
            let mut pki = Pki::new(1);
            pki.backend();
            pki.device(0)
        };
        let pin = &pin;
        world.add(move |config| {
            (config.identity, config.boot) = (identity, boot);
            pin(config);
        })
    });
    world.record(boots[0], Lane::Event, &event(1)).unwrap();
    world.link.filter = Some(Box::new(|to, packet| {
        let late = to == To::Backend(1000) && packet[0] & 0x80 != 0;
        if late { Verdict::Late(5_000) } else { Verdict::Pass }
    }));
    world.connect(boots[0]);
    world.run(secs(1));
    world.node(boots[0]).asleep = true;
    world.connect(boots[1]);
    world.run_to_connected(boots[1]);
    world.run(secs(10));
    assert!(world.backend.discards().of(Discard::SessionClosed) > 0, "the packets of before came");
    assert_eq!(connected(&world), 1, "{:?}", world.backend_events);
    let ended = |event: &BackendEvent| matches!(event, BackendEvent::Disconnected { .. });
    assert!(!world.backend_events.iter().any(ended));
    let (id, events) = (world.identity(0), world.nodes[boots[1]].events.len());
    assert!(world.backend.ratchets(&id).is_some() && events == 1);
    assert_eq!(world.app.store.ledgers[&id].streams().len(), 0, "nothing of it was stored");
}

#[test]
fn two_copies_of_a_device_do_not_fight_without_end() {
    let mut world = Setup::new(2).build();
    world.add(|_| {});
    let clone = {
        let mut pki = Pki::new(2);
        pki.backend();
        pki.device(0)
    };
    world.add(|config| config.identity = clone);
    world.link.log = Some(Vec::new());
    world.connect(0);
    world.connect(1);
    world.run(secs(3600));
    let log = world.link.log.as_ref().unwrap();
    let hellos = log.iter().filter(|(_, _, packet)| packet[0] == 0x11).count();
    assert!(hellos < 150, "{hellos} handshakes in an hour");
}

#[test]
fn a_replayed_hello_displaces_nothing() {
    let mut world = Setup::new(3).build();
    let pin = world.pinned();
    world.add(pin);
    world.link.log = Some(Vec::new());
    world.connect(0);
    world.run_to_connected(0);
    world.run(secs(100));
    let log = world.link.log.take().unwrap();
    let hello = log.iter().find(|(_, _, packet)| packet[0] == 0x11).unwrap().2.clone();
    for _ in 0..30 {
        world.deliver(To::Backend(66), hello.clone());
        world.run(secs(3));
        world.record(0, Lane::Trend, &rate(1)).unwrap();
    }
    world.wait_all_drained_and_check(secs(5));
    assert_eq!(connected(&world), 1);
    assert_eq!(world.nodes[0].events.len(), 1, "{:?}", world.nodes[0].events);
    let (received, sent) = world.bytes[&66];
    assert!(sent <= 3 * received);
    // The ghosts are gone.
    world.run(secs(60));
    assert_eq!(world.backend.devices(), 1);
}

#[test]
fn unproved_sessions_of_one_identity_are_capped() {
    //= SPEC.md#admission
    //= type=test
    //# A backend MUST keep at most two half-open handshakes per identity for a Hello that may be a replay, four for one of IK with a valid cookie, six in all, and a capped number of all identities.
    //= SPEC.md#handshake-timers
    //= type=test
    //# A backend MUST forget a session that is not proved 20 s after its Reply.
    let mut world = Setup::new(4).build();
    let key = world.backend_identity.public_key();
    let identity = world.pki.device(0);
    world.app.store.register(identity.identity().unwrap());
    let mut puppet = crate::puppet::PuppetDevice::new(identity, world.pki.anchors(), Some(key));
    for path in 0..10 {
        let hello = puppet.hello();
        world.deliver(To::Backend(path), hello);
        world.run(ms(100));
    }
    let pending = world.backend_events.iter().filter(|event| matches!(event, BackendEvent::Pending { .. }));
    assert_eq!(pending.count(), 2);
    assert_eq!(world.backend.discards().of(Discard::TooManyPending), 8);
    world.run(secs(21));
    let hello = puppet.hello();
    world.deliver(To::Backend(1), hello);
    world.run(ms(100));
    let pending = world.backend_events.iter().filter(|event| matches!(event, BackendEvent::Pending { .. }));
    assert_eq!(pending.count(), 3, "they expire");
    assert_eq!(connected(&world), 0);
}

#[test]
fn a_device_that_roams_is_followed() {
    for seed in seeds(10) {
        let mut setup = Setup::new(seed);
        setup.faults = Faults { reorder: 0.2, ..Faults::loss(0.2) };
        let mut world = setup.build();
        world.add(|_| {});
        world.connect(0);
        for round in 0..60 {
            if round % 10 == 9 {
                world.node(0).path += 100;
            }
            world.record(0, Lane::Trend, &rate(round)).unwrap();
            world.run(ms(700));
        }
        world.link.faults = Faults::NONE;
        world.wait_all_drained_and_check(secs(100));
        let connects = |event: &&DeviceEvent| matches!(event, DeviceEvent::Connected { .. });
        assert_eq!(world.nodes[0].events.iter().filter(connects).count(), 1, "one session for all paths");
    }
}

#[test]
fn serves_a_thousand_devices() {
    let mut setup = Setup::new(5);
    setup.policy = Policy { commit_delay: (0, 100), ..Policy::PROMPT };
    setup.backend = |config| config.max_half_open = 8192;
    let mut world = setup.build();
    for number in 0..1000 {
        world.add(|_| {});
        world.connect(number);
        world.record(number, Lane::Trend, &rate(number as i32)).unwrap();
    }
    world.wait_all_drained_and_check(secs(60));
    assert_eq!(world.backend.devices(), 1000);
    assert_eq!(world.app.store.stored.len(), 1000);
}

#[test]
fn the_session_table_is_bounded_and_reused() {
    let mut setup = Setup::new(6);
    setup.backend = |config| config.max_sessions = 4;
    let mut world = setup.build();
    let pin = world.pinned();
    for number in 0..8 {
        world.add(&pin);
        world.connect(number);
        world.run(ms(300));
    }
    assert_eq!(world.nodes.iter().filter(|node| node.device.is_connected()).count(), 4);
    (0..4).for_each(|number| world.node(number).device.disconnect());
    world.run(secs(300));
    assert!(world.nodes[4..].iter().all(|node| node.device.is_connected()));
}

#[test]
fn stale_handles_are_harmless() {
    let mut setup = Setup::new(7);
    setup.policy = Policy { commits: false, ..Policy::PROMPT };
    let mut world = setup.build();
    world.add(|_| {});
    world.backend.preload_descriptors(&descriptors(0)).unwrap();
    world.connect(0);
    world.run_to_connected(0);
    world.record(0, Lane::Trend, &rate(1)).unwrap();
    world.link.log = Some(Vec::new());
    world.settle();
    let packet = world.link.log.take().unwrap().remove(0).2;
    let mut handle = None;
    let now = world.now;
    let mut bytes = packet;
    world.backend.handle_packets(now, &mut [Inbound { path: 1000, packet: &mut bytes }], &mut |received| {
        if let Received::Batch(batch) = received {
            handle = Some(batch.handle());
        }
    });
    let handle = handle.unwrap();
    world.backend.release(now, handle);
    assert_eq!(world.backend.commit(now, handle), Committed::Stale);
    world.backend.release(now, handle);
    assert_eq!(world.backend.commit(now, handle), Committed::Stale);
    let mut other = Setup::new(8).build();
    assert_eq!(other.backend.commit(now, handle), Committed::Stale);
    let pending = world.backend_events.iter().find_map(|event| match event {
        BackendEvent::Pending { pending, .. } => Some(*pending),
        _ => None,
    });
    let decided = world.backend.accept(now, pending.unwrap(), Grant::default());
    assert_eq!(decided, Err(vitalwire::CallError::StaleHandle));
    let elsewhere = other.backend.accept(now, pending.unwrap(), Grant::default());
    assert_eq!(elsewhere, Err(vitalwire::CallError::StaleHandle));
}
