//! Every pattern, every loss, every answer of the application.

use crate::app::{Answer, Policy};
use crate::kit::*;
use crate::link::{Faults, To, Verdict};
use crate::world::{Setup, World, discards};
use std::cell::Cell;
use std::rc::Rc;
use vitalwire::backend::BackendEvent;
use vitalwire::device::{DeviceEvent, Link};
use vitalwire::framing::Lane;
use vitalwire::wire::{Pattern, PskId};
use vitalwire::{CloseReason, Discard};

fn patterns(world: &World, number: usize) -> Vec<Pattern> {
    let connected = |event: &DeviceEvent| match event {
        DeviceEvent::Connected { pattern, .. } => Some(*pattern),
        _ => None,
    };
    world.nodes[number].events.iter().filter_map(connected).collect()
}

fn hellos(world: &World, number: usize) -> usize {
    let path = To::Backend(world.nodes[number].path);
    let log = world.link.log.as_ref().unwrap();
    log.iter().filter(|(_, to, packet)| *to == path && packet[0] == 0x11).count()
}

#[test]
fn first_contact_is_xx_and_then_ik() {
    let mut world = Setup::new(1).connected();
    world.connect(0);
    world.run(secs(2));
    assert_eq!(patterns(&world, 0), [Pattern::Xx, Pattern::Ik]);
    world.record(0, Lane::Trend, &rate(60)).unwrap();
    world.wait_all_drained_and_check(secs(5));
    assert_eq!(world.backend.devices(), 1);
}

#[test]
fn psk_patterns_connect() {
    let mut world = Setup::new(2).build();
    let id = PskId([3; 8]);
    world.add(|config| config.psk = Some((id, psk(5))));
    let identity = world.identity(0);
    world.backend.enrol(id, psk(5), identity);
    world.app.psks.insert(0, 5);
    world.connect(0);
    world.run_to_connected(0);
    world.connect(0);
    world.run(secs(2));
    assert_eq!(patterns(&world, 0), [Pattern::XxPsk3(id), Pattern::IkPsk2]);
}

#[test]
fn refuses_xxpsk3_of_another_identity() {
    //= SPEC.md#no-downgrade
    //= type=test
    //# In XXpsk3 and IKpsk2 a backend MUST refuse a credential that does not name the identity for which the psk was registered.
    let mut world = Setup::new(2).build();
    let id = PskId([3; 8]);
    world.add(|config| config.psk = Some((id, psk(5))));
    world.add(|_| {});
    let other = world.identity(1);
    world.backend.enrol(id, psk(5), other);
    world.connect(0);
    world.run(secs(60));
    assert!(!world.nodes[0].device.is_connected());
    assert!(world.backend.discards().of(Discard::BelowFloor) > 0);
    assert!(world.backend_events.contains(&BackendEvent::HandshakeRefused(Discard::BelowFloor)));
}

#[test]
fn refuses_a_pattern_without_the_registered_psk() {
    //= SPEC.md#no-downgrade
    //= type=test
    //# A backend MUST refuse an identity for which its application registered a psk, in a pattern without one.
    for pinned in [false, true] {
        let mut world = Setup::new(3).build();
        world.add_pinned_if(pinned);
        world.app.psks.insert(0, 5);
        world.connect(0);
        world.run(secs(30));
        assert!(!world.nodes[0].device.is_connected(), "pinned {pinned}");
        assert!(world.backend.discards().of(Discard::BelowFloor) > 0);
        assert!(!world.backend_events.iter().any(|event| matches!(event, BackendEvent::Connected { .. })));
    }
}

#[test]
fn never_falls_below_the_psk_floor() {
    //= SPEC.md#no-downgrade
    //= type=test
    //# A device with a psk floor MUST NOT start or accept a pattern without psk: IKpsk2 falls back to XXpsk3 only.
    //= SPEC.md#no-downgrade
    //= type=test
    //# Loss, Retry and Reset MUST NOT lower the floor.
    let mut world = Setup::new(4).build();
    let pin = world.pinned();
    world.add(|config| {
        pin(config);
        config.psk = Some((PskId([3; 8]), psk(5)));
    });
    world.link.log = Some(Vec::new());
    world.link.faults = Faults::loss(1.0);
    world.connect(0);
    world.run(secs(3600));
    let log = world.link.log.take().unwrap();
    let seen: std::collections::BTreeSet<u8> = log.iter().map(|(_, _, packet)| packet[1]).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [3, 4], "XXpsk3 and IKpsk2 only");
}

#[test]
fn comes_back_to_the_pinned_key_after_a_long_outage() {
    // The backend knows this device's IKpsk2 key and no factory secret: XXpsk3 can never succeed.
    let mut world = Setup::new(5).build();
    let pin = world.pinned();
    world.add(|config| {
        pin(config);
        config.psk = Some((PskId([3; 8]), psk(5)));
    });
    world.app.psks.insert(0, 5);
    world.link.faults = Faults::loss(1.0);
    world.connect(0);
    world.run(secs(1200));
    world.link.faults = Faults::NONE;
    world.run(secs(1500));
    assert!(world.nodes[0].device.is_connected());
}

#[test]
fn refuses_another_backend_than_the_expected_one() {
    //= SPEC.md#no-downgrade
    //= type=test
    //# A device MUST refuse a backend that is not the expected one.
    let mut world = Setup::new(6).build();
    world.add(|_| {});
    let other = world.identity(0);
    world.add(move |config| config.expected = Some(other));
    world.connect(1);
    world.run(secs(60));
    assert!(!world.nodes[1].device.is_connected());
    assert!(world.nodes[1].events.contains(&DeviceEvent::ConnectFailed(Some(Discard::BelowFloor))));
}

/// Loses, repeats or delays the n-th packet of a connection, for every n.
#[test]
fn survives_one_fault_at_every_position_of_a_handshake() {
    for pinned in [false, true] {
        for verdict in [Verdict::Drop, Verdict::Twice, Verdict::Late(1500), Verdict::Late(30_000)] {
            for position in 0..8 {
                let mut world = Setup::new(7).build();
                world.add_pinned_if(pinned);
                world.link.fault_at(position, verdict);
                world.connect(0);
                world.record(0, Lane::Alarm, &alarm(1)).unwrap();
                world.wait_all_drained_and_check(secs(60));
                world.run(secs(60));
                assert!(world.nodes[0].device.is_connected());
                let online = |event: &&BackendEvent| matches!(event, BackendEvent::Connected { .. });
                let sessions = world.backend_events.iter().filter(online).count();
                assert!(sessions <= 2, "{sessions} sessions: pinned {pinned}, {verdict:?} at {position}");
            }
        }
    }
}

#[test]
fn repeats_a_finish_until_the_backend_has_accepted() {
    let mut setup = Setup::new(8);
    setup.policy = Policy { accept_delay: (9_000, 9_000), ..Policy::PROMPT };
    let mut world = setup.build();
    world.link.log = Some(Vec::new());
    world.add(|_| {});
    world.connect(0);
    world.run_to_connected(0);
    let log = world.link.log.take().unwrap();
    let finishes: Vec<_> = log.iter().filter(|(_, _, packet)| packet[0] == 0x13).collect();
    assert!(finishes.len() > 2);
    assert!(finishes.iter().all(|(_, _, packet)| *packet == finishes[0].2), "byte for byte");
    assert_eq!(log.iter().filter(|(_, _, packet)| packet[0] == 0x11).count(), 1);
}

#[test]
fn answers_a_repeated_hello_with_the_same_reply_and_no_other() {
    //= SPEC.md#handshake-timers
    //= type=test
    //# A backend MUST answer a byte-identical Hello with the same Reply, and no other Hello with it.
    for pinned in [false, true] {
        let mut world = Setup::new(9).build();
        world.add_pinned_if(pinned);
        world.link.log = Some(Vec::new());
        world.link.filter = Some(Box::new(|to, _| match to {
            To::Device(_) => Verdict::Drop,
            To::Backend(_) => Verdict::Pass,
        }));
        world.connect(0);
        world.run(secs(40));
        let log = world.link.log.take().unwrap();
        let (mut hello, mut reply): (Option<Vec<u8>>, Option<Vec<u8>>) = (None, None);
        let mut pairs = std::collections::BTreeMap::new();
        for (_, _, packet) in log {
            match packet[0] {
                0x11 => hello = Some(packet),
                0x12 => {
                    reply = Some(packet.clone());
                    let before = pairs.insert(hello.clone().unwrap(), packet.clone());
                    assert!(before.is_none_or(|before| before == packet));
                }
                _ => {}
            }
        }
        assert!(reply.is_some() && pairs.len() > 1);
        let replies: std::collections::BTreeSet<_> = pairs.values().collect();
        assert_eq!(replies.len(), pairs.len());
    }
}

#[test]
fn a_late_copy_of_a_hello_starts_nothing() {
    for pinned in [false, true] {
        let mut world = Setup::new(10).build();
        world.add_pinned_if(pinned);
        world.link.log = Some(Vec::new());
        world.connect(0);
        world.run_to_connected(0);
        world.run(secs(3));
        let hello = world.link.log.take().unwrap()[0].2.clone();
        assert_eq!(hello[0], 0x11);
        let pending = |world: &World| {
            world.backend_events.iter().filter(|event| matches!(event, BackendEvent::Pending { .. })).count()
        };
        assert_eq!(pending(&world), 1);
        world.deliver(To::Backend(5), hello);
        assert!(world.backend.poll_handshake().is_none(), "no computation");
        world.run(secs(1));
        assert_eq!(pending(&world), 1);
        assert_eq!(world.bytes.get(&5).unwrap().1, 0, "no answer");
    }
}

#[test]
fn backs_off_while_nobody_answers() {
    let mut world = Setup::new(11).build();
    world.add(|_| {});
    world.link.log = Some(Vec::new());
    world.link.faults = Faults::loss(1.0);
    world.connect(0);
    world.run(secs(3600));
    let sent = world.link.log.as_ref().unwrap().len();
    assert!((40..120).contains(&sent), "{sent} packets in an hour");
}

#[test]
fn backs_off_when_a_finish_is_never_answered() {
    let mut setup = Setup::new(12);
    setup.policy = Policy { accept: Answer::Never, ..Policy::PROMPT };
    let mut world = setup.build();
    world.add(|_| {});
    world.link.log = Some(Vec::new());
    world.connect(0);
    world.run(secs(3600));
    assert!(hellos(&world, 0) < 60, "{} Hellos in an hour", hellos(&world, 0));
    assert!(!world.nodes[0].events.iter().any(|event| matches!(event, DeviceEvent::Disconnected(_))));
    assert!(world.nodes[0].events.iter().any(|event| matches!(event, DeviceEvent::ConnectFailed(_))));
}

#[test]
fn backs_off_when_every_session_is_closed_at_once() {
    let mut world = Setup::new(13).build();
    world.add(|_| {});
    world.link.log = Some(Vec::new());
    world.connect(0);
    let identity = world.identity(0);
    let end = world.now + secs(3600);
    world.run_until(end, |world| {
        let _ = world.backend.disconnect(&identity, CloseReason::Application);
        world.nodes[0].events.clear();
        false
    });
    assert!(hellos(&world, 0) < 60, "{} Hellos in an hour", hellos(&world, 0));
}

#[test]
fn a_refused_device_learns_it_inside_a_session() {
    //= SPEC.md#handshake-timers
    //= type=test
    //# A backend MUST complete the handshake of a device that its application refuses, and close that session with the reason.
    for pinned in [false, true] {
        let mut setup = Setup::new(14);
        setup.policy = Policy { accept: Answer::Refuse, ..Policy::PROMPT };
        let mut world = setup.build();
        world.add_pinned_if(pinned);
        world.record(0, Lane::Trend, &rate(1)).unwrap();
        world.link.log = Some(Vec::new());
        world.connect(0);
        world.run(secs(100));
        let events = &world.nodes[0].events;
        assert_eq!(events[..], [DeviceEvent::Disconnected(CloseReason::Refused)], "pinned {pinned}");
        assert_eq!(hellos(&world, 0), 1, "it waits for minutes");
        assert_eq!(world.backend.devices(), 0);
        world.app.policy.accept = Answer::Accept;
        world.wait_all_drained_and_check(secs(400));
    }
}

#[test]
fn link_down_during_a_handshake_costs_nothing() {
    for packets in 0..5 {
        let mut world = Setup::new(15).build();
        world.add(|_| {});
        let count = Rc::new(Cell::new(0));
        let counted = count.clone();
        world.link.filter = Some(Box::new(move |_, _| {
            counted.set(counted.get() + 1);
            Verdict::Pass
        }));
        world.connect(0);
        let end = world.now + secs(5);
        world.run_until(end, |_| count.get() >= packets);
        let (now, up) = (world.now, world.up());
        world.node(0).device.handle_link(now, Link::Down);
        world.link.clear();
        world.run(secs(1800));
        let now = world.now;
        world.node(0).device.handle_link(now, up);
        world.record(0, Lane::Trend, &rate(60)).unwrap();
        world.wait_all_drained_and_check(secs(150));
    }
}

#[test]
fn the_application_may_take_its_time_and_forget() {
    let mut setup = Setup::new(16);
    setup.policy = Policy { accept: Answer::Never, ..Policy::PROMPT };
    let mut world = setup.build();
    let pin = world.pinned();
    for _ in 0..4 {
        world.add(&pin);
    }
    (0..4).for_each(|number| world.connect(number));
    world.run(secs(2));
    let pending: Vec<_> = world
        .backend_events
        .iter()
        .filter_map(|event| match event {
            BackendEvent::Pending { pending, .. } => Some(*pending),
            _ => None,
        })
        .collect();
    assert_eq!(pending.len(), 4);
    world.run(secs(40));
    for pending in pending {
        let now = world.now;
        let stale = world.backend.accept(now, pending, Default::default());
        assert_eq!(stale, Err(vitalwire::CallError::StaleHandle));
        let stale = world.backend.refuse(now, pending, CloseReason::Refused);
        assert_eq!(stale, Err(vitalwire::CallError::StaleHandle));
    }
    assert_eq!(world.backend.devices(), 0);
    world.app.policy.accept = Answer::Accept;
    world.run(secs(400));
    assert!(
        world.nodes.iter().all(|node| node.device.is_connected()),
        "{:?}",
        discards(world.backend.discards())
    );
}
