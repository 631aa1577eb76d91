//! When a ticket is given, lost, renewed and refused.

use crate::kit::*;
use crate::link::{To, Verdict};
use crate::resume::{assert_whole, hellos, patterns, with_ticket, with_ticket_and};
use crate::world::{Setup, World};
use std::cell::Cell;
use std::rc::Rc;
use vitalwire::crypto::{ServiceKey, TicketKey};
use vitalwire::device::DeviceEvent;
use vitalwire::framing::Lane;
use vitalwire::handshake::{Limits, TicketKeys};
use vitalwire::wire::{Pattern, PskId};
use vitalwire::{CloseReason, Discard, Instant};

#[test]
fn expired_tickets_are_refused_at_once() {
    //= SPEC.md#tickets
    //= type=test
    //# A backend MUST refuse a ticket after its credential's `not after`, 7 days after its origin, or when a session of that origin would have reached its greatest age.
    for (later, expected) in
        [(24 * 3600 - 1, Pattern::Resume), (24 * 3600, Pattern::Ik), (9 * 86_400, Pattern::Ik)]
    {
        let mut world = with_ticket(10);
        world.set_clock(later);
        world.connect(0);
        let start = world.now;
        world.run_to_connected(0);
        assert_eq!(patterns(&world)[1], expected, "{later}");
        assert!(world.now.since(start) < secs(1));
        let refused = world.backend.discards().of(Discard::ExpiredTicket);
        assert_eq!(refused, u32::from(expected == Pattern::Ik));
    }
    let mut world = with_ticket(10);
    world.node(0).device.set_wall_clock(Some(vitalwire::UnixSeconds(CLOCK.0 + 24 * 3600 + 1)));
    world.connect(0);
    world.run_to_connected(0);
    assert_eq!(hellos(&world)[0].1[1], 2, "a device with a clock does not even try");
}

#[test]
fn resumed_sessions_end_with_the_age_of_their_full_handshake() {
    let mut world = with_ticket(11);
    world.set_clock(23 * 3600);
    world.connect(0);
    world.run_to_connected(0);
    let start = world.now;
    world.set_clock(24 * 3600);
    let ended = |world: &mut World| {
        world.nodes[0].events.contains(&DeviceEvent::Disconnected(CloseReason::SessionAge))
    };
    assert!(world.run_until(start + secs(3601), ended));
    assert!(world.now.since(start) >= secs(3590));
    world.run_to_connected(0);
    assert_eq!(patterns(&world)[1..], [Pattern::Resume, Pattern::Ik], "then credentials are shown again");
    assert_whole(world);
}

#[test]
fn tickets_survive_a_rotation_and_not_two_nor_another_fleet() {
    let fleet = |service: u8, key: u8| {
        let service = ServiceKey::from_bytes([service; 32]);
        TicketKeys::new(service, TicketKey::from_bytes([key; 32]), None)
    };
    let rotated = |times: u8| {
        let mut keys = fleet(0x5e, 1);
        (0..times).for_each(|number| keys.rotate(TicketKey::from_bytes([100 + number; 32])));
        keys
    };
    for (keys, expected, discard, within) in [
        (rotated(1), Pattern::Resume, None, 1),
        (rotated(2), Pattern::Ik, Some(Discard::BadTicket), 1),
        (fleet(0x5e, 9), Pattern::Ik, Some(Discard::BadTicket), 1),
        // Another service key: strangers hear silence.
        (fleet(0x77, 1), Pattern::Ik, Some(Discard::BadHelloMac), 11),
    ] {
        let mut world = with_ticket(12);
        world.backend.set_ticket_keys(keys);
        world.record(0, Lane::Alarm, &alarm(1)).unwrap();
        world.connect(0);
        let start = world.now;
        world.run_to_connected(0);
        assert_eq!(patterns(&world)[1], expected);
        assert!(world.now.since(start) < secs(within), "{:?}", world.now.since(start));
        for reason in [Discard::BadTicket, Discard::BadHelloMac] {
            assert_eq!(world.backend.discards().of(reason) > 0, Some(reason) == discard);
        }
        world.wait_all_drained_and_check(secs(10));
        assert_whole(world);
    }
}

#[test]
fn a_backend_without_ticket_keys_gives_none() {
    let mut world = with_ticket_and(13, |setup| setup.ticket_key = None, |_| {});
    world.connect(0);
    world.run_to_connected(0);
    assert_eq!(patterns(&world), [Pattern::Xx, Pattern::Ik]);
}

#[test]
fn a_device_without_room_for_a_ticket_gets_none() {
    let mut world = with_ticket_and(
        14,
        |setup| setup.max_packet = 180,
        |config| config.limits = Limits::new(180, 128, secs(7200)).unwrap(),
    );
    world.connect(0);
    world.run_to_connected(0);
    assert_eq!(patterns(&world), [Pattern::Xx, Pattern::Ik]);
    assert_whole(world);
}

#[test]
fn a_ticket_that_is_lost_is_sent_again() {
    let mut world = Setup { ticket_key: Some(1), ..Setup::new(15) }.build();
    world.add(|_| {});
    // The first three session packets of the backend are lost.
    let count = Rc::new(Cell::new(0));
    world.link.filter = Some(Box::new(move |to, packet| {
        if matches!(to, To::Device(_)) && packet[0] & 0x80 != 0 && packet.len() > 180 {
            count.set(count.get() + 1);
            return if count.get() <= 2 { Verdict::Drop } else { Verdict::Pass };
        }
        Verdict::Pass
    }));
    world.connect(0);
    world.run_to_connected(0);
    for value in 0..30 {
        world.record(0, Lane::Trend, &rate(value)).unwrap();
        world.run(secs(2));
    }
    world.node(0).device.disconnect();
    world.run(secs(1));
    world.connect(0);
    world.run_to_connected(0);
    assert_eq!(patterns(&world), [Pattern::Xx, Pattern::Resume]);
    assert_whole(world);
}

#[test]
fn tickets_stop_once_one_has_arrived() {
    let mut world = Setup { ticket_key: Some(1), ..Setup::new(16) }.build();
    world.add(|_| {});
    world.link.log = Some(Vec::new());
    world.connect(0);
    world.run_to_connected(0);
    for value in 0..60 {
        world.record(0, Lane::Trend, &rate(value)).unwrap();
        world.run(secs(2));
    }
    let log = world.link.log.take().unwrap();
    let with_ticket = |(_, to, packet): &&(Instant, To, Vec<u8>)| {
        matches!(to, To::Device(_)) && packet[0] & 0x80 != 0 && packet.len() > 180
    };
    assert_eq!(log.iter().filter(with_ticket).count(), 1);
}

#[test]
fn a_dh_ratchet_brings_a_new_ticket() {
    //= SPEC.md#tickets
    //= type=test
    //# A device MUST forget the tickets of a session when a DH ratchet of it commits.
    for new_one_arrives in [true, false] {
        let mut world = with_ticket(17);
        world.connect(0);
        world.run_to_connected(0);
        world.record(0, Lane::Trend, &rate(1)).unwrap();
        world.drain(secs(5));
        world.run(secs(100));
        let identity = world.identity(0);
        world.backend.hint_rekey(&identity).unwrap();
        world.settle();
        if !new_one_arrives {
            // Nothing else of the backend's is as long.
            world.link.filter = Some(Box::new(|to, packet| match to {
                To::Device(_) if packet.len() > 180 => Verdict::Drop,
                _ => Verdict::Pass,
            }));
        }
        // The last packet of the old epoch, and the first of the new one.
        while world.nodes[0].device.ratchets().1 == 0 {
            assert!(world.now < at(400_000), "the ratchet moves");
            world.record(0, Lane::Trend, &rate(2)).unwrap();
            world.run(ms(100));
        }
        world.run(secs(3));
        world.link.filter = None;
        world.node(0).device.disconnect();
        world.run(secs(2));
        world.connect(0);
        world.run_to_connected(0);
        let expected = if new_one_arrives { Pattern::Resume } else { Pattern::Ik };
        assert_eq!(patterns(&world)[1..], [Pattern::Resume, expected]);
        assert_whole(world);
    }
}

#[test]
fn the_psk_floor_holds_through_resumptions() {
    //= SPEC.md#resumption
    //= type=test
    //# A backend MUST refuse a ticket whose full handshake proved no psk for an identity for which its application registered one.
    // A session that proved the psk hands it on.
    let id = PskId([3; 8]);
    let mut world = Setup { ticket_key: Some(1), ..Setup::new(18) }.build();
    let pin = world.pinned();
    world.add(|config| {
        pin(config);
        config.psk = Some((id, psk(5)));
    });
    world.app.psks.insert(0, 5);
    for _ in 0..3 {
        world.connect(0);
        world.run_to_connected(0);
        world.run(secs(2));
        world.node(0).device.disconnect();
        world.run(secs(2));
    }
    assert_eq!(patterns(&world), [Pattern::IkPsk2, Pattern::Resume, Pattern::Resume]);
    // One that did not has no ticket for a backend that wants it now.
    let mut world = with_ticket(18);
    world.app.psks.insert(0, 5);
    world.connect(0);
    world.run(secs(60));
    assert!(!world.nodes[0].device.is_connected());
    assert!(world.backend.discards().of(Discard::BelowFloor) > 1);
    assert_eq!(world.app.early, 0);
}
