//! Tickets between both front ends: resumption, early records, and everything that can go wrong with a ticket.

use crate::app::Answer;
use crate::kit::*;
use crate::link::{To, Verdict};
use crate::puppet::PuppetDevice;
use crate::world::{Setup, World};
use std::cell::Cell;
use std::rc::Rc;
use vitalwire::backend::{BackendEvent, ClaimOutcome};
use vitalwire::crypto::{Psk, ServiceKey, TicketKey};
use vitalwire::device::{DeviceConfig, DeviceEvent};
use vitalwire::framing::{Frame, FrameKind, FrameWriter, Frames, Lane};
use vitalwire::handshake::{Limits, Resumed, Resumption, TicketId, TicketKeys};
use vitalwire::session::{RekeyPolicy, Session, Side};
use vitalwire::wire::{ConnectionId, DataHeader, Pattern, PskId};
use vitalwire::{CloseReason, Discard, Instant};

fn patterns(world: &World) -> Vec<Pattern> {
    let connected = |event: &DeviceEvent| match event {
        DeviceEvent::Connected { pattern, .. } => Some(*pattern),
        _ => None,
    };
    world.nodes[0].events.iter().filter_map(connected).collect()
}

/// A device that had a full handshake, has a ticket, and has no session any more.
fn with_ticket(seed: u64) -> World {
    with_ticket_and(seed, |_| {}, |_| {})
}

fn with_ticket_and(
    seed: u64,
    setup: impl FnOnce(&mut Setup),
    change: impl FnOnce(&mut DeviceConfig),
) -> World {
    let mut world = Setup { ticket_key: Some(1), ..Setup::new(seed) };
    setup(&mut world);
    let mut world = world.build();
    world.add(change);
    if world.nodes.len() == 1 && !world.nodes[0].device.is_connected() {
        world.connect(0);
    }
    world.run_to_connected(0);
    world.record(0, Lane::Trend, &rate(1)).unwrap();
    world.drain(secs(5));
    world.run(secs(2));
    world.node(0).device.disconnect();
    world.run(secs(2));
    assert!(!world.nodes[0].device.is_connected());
    assert_eq!(world.backend.devices(), 0);
    world.link.log = Some(Vec::new());
    world
}

fn kinds(world: &World) -> Vec<u8> {
    let log = world.link.log.as_ref().unwrap();
    log.iter().map(|(_, _, packet)| packet[0]).filter(|first| first & 0x80 == 0).collect()
}

/// The Hellos of the log, with the time at which each was sent.
fn hellos(world: &World) -> Vec<(Instant, Vec<u8>)> {
    let log = world.link.log.as_ref().unwrap().iter();
    let hellos = log.filter(|(_, to, packet)| matches!(to, To::Backend(_)) && packet[0] == 0x11);
    hellos.map(|(at, _, packet)| (*at, packet.clone())).collect()
}

#[track_caller]
fn assert_whole(mut world: World) {
    world.record(0, Lane::Alarm, &alarm(99)).unwrap();
    world.wait_all_drained_and_check(secs(30));
}

#[test]
fn a_device_resumes_with_two_messages_as_often_as_it_likes() {
    let mut world = with_ticket(1);
    for round in 0..5 {
        world.connect(0);
        world.run_to_connected(0);
        world.record(0, Lane::Trend, &rate(round)).unwrap();
        world.drain(secs(5));
        world.run(secs(2));
        world.node(0).device.disconnect();
        world.run(secs(2));
    }
    assert_eq!(patterns(&world)[1..], [Pattern::Resume; 5]);
    assert_eq!(kinds(&world), [0x11, 0x12].repeat(5), "Hello and Reply, and nothing else");
    let online =
        |event: &&BackendEvent| matches!(event, BackendEvent::Connected { pattern: Pattern::Resume, .. });
    assert_eq!(world.backend_events.iter().filter(online).count(), 5);
    let ids: std::collections::BTreeSet<_> = world.app.claimed.iter().map(|(claim, _)| claim.id).collect();
    assert_eq!(ids.len(), 5, "each with a ticket of its own");
    //= SPEC.md#tickets
    //= type=test
    //# A ticket given in a resumed session MUST have the origin of the ticket that it was resumed with.
    assert!(
        world
            .app
            .claimed
            .iter()
            .all(|(claim, outcome)| { (claim.origin, *outcome) == (CLOCK, ClaimOutcome::New) })
    );
    world.connect(0);
    assert_whole(world);
}

#[test]
fn early_records_arrive_with_the_hello_alone() {
    //= SPEC.md#early-records
    //= type=test
    //# A device MUST NOT put other frames than Streams, Records, Descriptors and Padding into a Hello.
    let mut world = with_ticket(2);
    world.link.filter = Some(Box::new(|to, packet| match to {
        To::Backend(_) if packet[0] & 0x80 != 0 => Verdict::Drop,
        _ => Verdict::Pass,
    }));
    world.record(0, Lane::Alarm, &alarm(7)).unwrap();
    world.record(0, Lane::Event, &event(8)).unwrap();
    world.connect(0);
    world.run(secs(5));
    assert_eq!(world.app.early, 2, "one batch per lane");
    assert_eq!(world.app.store.stored.len(), 1 + 2, "stored before any packet of the session has come");
    assert!(
        !world
            .backend_events
            .iter()
            .any(|event| { matches!(event, BackendEvent::Connected { pattern: Pattern::Resume, .. }) })
    );
    assert!(!world.nodes[0].device.is_drained());
    world.link.filter = None;
    world.wait_all_drained_and_check(secs(90));
    assert_whole(world);
}

#[test]
fn a_long_outbox_fills_the_hello_and_the_rest_follows() {
    let mut world = with_ticket(3);
    for code in 0..40 {
        world.record(0, Lane::Alarm, &alarm(code)).unwrap();
        world.record(0, Lane::Trend, &rate(code as i32)).unwrap();
    }
    world.wave(0, 700).unwrap();
    world.connect(0);
    world.run_to_connected(0);
    let (_, hello) = hellos(&world).remove(0);
    assert!(hello.len() > 400 && hello.len() <= 512, "{}", hello.len());
    assert!(world.app.early > 0);
    assert_whole(world);
}

#[test]
fn survives_one_fault_at_every_position_of_a_resumption() {
    for verdict in [Verdict::Drop, Verdict::Twice, Verdict::Late(1500), Verdict::Late(30_000)] {
        for position in 0..7 {
            let mut world = with_ticket(4);
            let count = Rc::new(Cell::new(0));
            let counted = count.clone();
            world.link.filter = Some(Box::new(move |_, _| {
                counted.set(counted.get() + 1);
                if counted.get() - 1 == position { verdict } else { Verdict::Pass }
            }));
            world.record(0, Lane::Alarm, &alarm(1)).unwrap();
            world.connect(0);
            world.wait_all_drained_and_check(secs(60));
            world.run(secs(60));
            assert!(world.nodes[0].device.is_connected());
            assert_eq!(patterns(&world)[1], Pattern::Resume, "{verdict:?} at {position}");
            assert_whole(world);
        }
    }
}

#[test]
fn a_lost_reply_is_sent_again_and_never_costs_a_record() {
    //= SPEC.md#resumption
    //= type=test
    //# A device whose resumption is refused or not answered MUST go on with a full handshake at once, in the same attempt.
    for lost in 0..5 {
        let mut world = with_ticket(5);
        let count = Rc::new(Cell::new(0));
        world.link.filter = Some(Box::new(move |_, packet| {
            if packet[0] == 0x12 && packet.len() < 100 {
                count.set(count.get() + 1);
                return if count.get() <= lost { Verdict::Drop } else { Verdict::Pass };
            }
            Verdict::Pass
        }));
        world.record(0, Lane::Alarm, &alarm(1)).unwrap();
        world.connect(0);
        let start = world.now;
        world.run_to_connected(0);
        let resumes: Vec<_> = hellos(&world).into_iter().filter(|(_, hello)| hello[1] == 5).collect();
        assert!(resumes.iter().all(|(_, hello)| *hello == resumes[0].1), "byte for byte");
        let expected = if lost < 3 { Pattern::Resume } else { Pattern::Ik };
        assert_eq!(patterns(&world)[1], expected);
        assert!(world.now.since(start) < secs(11), "{:?}", world.now.since(start));
        assert!(world.app.claimed.len() == 1, "the copies reach the same handshake");
        world.wait_all_drained_and_check(secs(20));
        assert_whole(world);
    }
}

#[test]
fn a_hello_that_comes_again_at_another_node_delivers_nothing_twice() {
    //= SPEC.md#early-records
    //= type=test
    //# A backend MUST NOT deliver early records unless the claim was new.
    let mut world = with_ticket(6);
    world.record(0, Lane::Alarm, &alarm(1)).unwrap();
    world.connect(0);
    world.run_to_connected(0);
    world.drain(secs(5));
    let (_, hello) = hellos(&world).remove(0);
    let stored = world.app.store.stored.len();
    // The other node has never seen it; a third one neither, and a restarted one has forgotten it.
    for _ in 0..3 {
        let mut first = world.another_node();
        std::mem::swap(&mut first, &mut world.backend);
        let answers = world.link.log.as_ref().unwrap().len();
        world.deliver(To::Backend(77), hello.clone());
        world.settle();
        assert_eq!(world.app.claimed.last().unwrap().1, ClaimOutcome::Same);
        let log = &world.link.log.as_ref().unwrap()[answers..];
        assert_eq!(log.len(), 1, "answered afresh");
        assert_eq!(log[0].2[0], 0x12);
        assert!(log[0].2.len() < hello.len(), "and not amplified");
        assert!(world.backend.poll_early().is_none());
        std::mem::swap(&mut first, &mut world.backend);
    }
    // At the same node, too, once the handshake is forgotten there.
    world.run(secs(25));
    world.deliver(To::Backend(77), hello);
    world.settle();
    assert_eq!(world.app.claimed.last().unwrap().1, ClaimOutcome::Same);
    world.run(secs(25));
    assert_eq!(world.app.store.stored.len(), stored);
    let connected =
        world.backend_events.iter().filter(|event| matches!(event, BackendEvent::Connected { .. }));
    assert_eq!(connected.count(), 2, "a copy is never online");
    assert!(world.nodes[0].device.is_connected());
    assert_whole(world);
}

#[test]
fn an_old_hello_that_was_held_back_changes_nothing_of_a_later_boot() {
    //= SPEC.md#early-records
    //= type=test
    //# A backend MUST ignore early records of a boot below the highest one that the device's ledger knows, or with another tag than this.
    let mut world = with_ticket(7);
    world.link.filter = Some(Box::new(|to, packet| match to {
        To::Backend(_) if packet[0] == 0x11 && packet[1] == 5 => Verdict::Drop,
        _ => Verdict::Pass,
    }));
    world.record(0, Lane::Alarm, &alarm(1)).unwrap();
    world.connect(0);
    world.wait_all_drained_and_check(secs(60));
    let (_, hello) = hellos(&world).remove(0);
    world.node(0).device.disconnect();
    world.run(secs(2));
    assert_eq!(world.backend.devices(), 0);
    // The device has rebooted meanwhile, and its old streams are closed.
    let identity = world.identity(0);
    let stream = vitalwire::delivery::StreamKey {
        boot: 8,
        tag: vitalwire::framing::BootTag([1; 4]),
        lane: Lane::Alarm,
    };
    let ledger = world.app.store.ledgers.get_mut(&identity).unwrap();
    ledger.retain(|_| false);
    ledger.settle_below(stream, 5).unwrap();
    let stored = world.app.store.stored.len();
    world.deliver(To::Backend(1000), hello);
    world.settle();
    assert_eq!(world.app.claimed.last().unwrap().1, ClaimOutcome::New, "nobody had seen it");
    world.run(secs(5));
    assert_eq!((world.app.early, world.app.store.stored.len()), (0, stored));
}

#[test]
fn a_store_that_is_down_costs_a_full_handshake_and_no_time() {
    //= SPEC.md#resumption
    //= type=test
    //# A backend MUST NOT answer a resumption, nor deliver anything of it, before the store has claimed its ticket.
    let mut world = with_ticket(8);
    world.app.claims_down = true;
    world.record(0, Lane::Alarm, &alarm(1)).unwrap();
    world.connect(0);
    let start = world.now;
    world.run_to_connected(0);
    assert!(world.now.since(start) < secs(1));
    assert_eq!(patterns(&world)[1], Pattern::Ik);
    assert_eq!(kinds(&world), [0x11, 0x14, 0x11, 0x12], "refused with a Retry");
    assert_eq!(world.app.early, 0);
    assert!(world.backend.discards().of(Discard::TicketUnclaimed) == 1);
    assert!(world.backend_events.contains(&BackendEvent::HandshakeRefused(Discard::TicketUnclaimed)));
    world.wait_all_drained_and_check(secs(10));
    assert_whole(world);
}

#[test]
fn a_store_that_says_nothing_gets_no_answer_out_of_the_backend() {
    let mut world = with_ticket(9);
    world.app.policy.accept = Answer::Never;
    world.record(0, Lane::Alarm, &alarm(1)).unwrap();
    world.connect(0);
    world.run(secs(40));
    assert!(!world.nodes[0].device.is_connected());
    assert_eq!(world.app.early, 0);
    assert!(kinds(&world).iter().all(|kind| *kind == 0x11));
    world.app.policy.accept = Answer::Accept;
    world.wait_all_drained_and_check(secs(60));
    assert_whole(world);
}

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

#[test]
fn altered_hellos_are_counted_and_change_nothing() {
    let mut world = with_ticket(19);
    world.link.filter = Some(Box::new(|_, _| Verdict::Drop));
    world.record(0, Lane::Alarm, &alarm(1)).unwrap();
    world.connect(0);
    world.settle();
    let (_, hello) = hellos(&world).remove(0);
    let sent = world.link.log.as_ref().unwrap().len();
    for at in 0..hello.len() {
        for bit in [0, 3, 7] {
            let mut altered = hello.clone();
            altered[at] ^= 1 << bit;
            let before = world.backend.discards().total();
            world.deliver(To::Backend(5), altered);
            world.settle();
            assert_eq!(world.backend.discards().total(), before + 1, "byte {at}");
        }
    }
    for len in 0..hello.len() {
        world.deliver(To::Backend(5), hello[..len].to_vec());
        world.settle();
    }
    assert_eq!(world.link.log.as_ref().unwrap().len(), sent, "no answer");
    assert!(world.app.claimed.is_empty(), "nothing was claimed");
    world.link.filter = None;
    world.run_to_connected(0);
    assert_eq!(patterns(&world)[1], Pattern::Resume);
    world.wait_all_drained_and_check(secs(10));
    assert_whole(world);
}

#[test]
fn under_load_copies_need_a_cookie_and_new_tickets_do_not() {
    let mut world = with_ticket_and(20, |setup| setup.backend = |config| config.max_half_open = 4, |_| {});
    world.connect(0);
    world.run_to_connected(0);
    let (_, hello) = hellos(&world).remove(0);
    world.run(secs(25));
    // Two strangers are half open: above a quarter of four.
    let anchors = world.pki.anchors();
    for number in [600, 601] {
        let identity = world.pki.device(number);
        let mut stranger = PuppetDevice::new(identity, anchors, None);
        stranger.rng = Rng::new(number as u64);
        let first = stranger.hello();
        world.deliver(To::Backend(number as u64), first);
        world.settle();
    }
    let before = world.link.log.as_ref().unwrap().len();
    world.deliver(To::Backend(77), hello);
    world.settle();
    let answers: Vec<u8> =
        world.link.log.as_ref().unwrap()[before..].iter().map(|(_, _, packet)| packet[0]).collect();
    assert_eq!(answers, [0x14], "no Diffie-Hellman operation for a copy");
    world.node(0).device.disconnect();
    world.settle();
    world.connect(0);
    world.run_to_connected(0);
    assert_eq!(patterns(&world)[1..], [Pattern::Resume; 2]);
    assert_whole(world);
}

#[test]
fn a_refused_device_hears_it_inside_a_resumed_session() {
    let mut world = with_ticket(21);
    world.app.policy.accept = Answer::Refuse;
    world.record(0, Lane::Alarm, &alarm(1)).unwrap();
    world.connect(0);
    world.run(secs(10));
    assert!(world.nodes[0].events.contains(&DeviceEvent::Disconnected(CloseReason::Refused)));
    assert_eq!(world.app.early, 0, "nothing of it is delivered");
    world.app.policy.accept = Answer::Accept;
    world.wait_all_drained_and_check(secs(400));
    assert_eq!(*patterns(&world).last().unwrap(), Pattern::Ik, "and its ticket is gone");
}

/// Somebody with a ticket and its psk: a device, or who has read its memory.
struct Holder {
    identity: vitalwire::identity::LocalIdentity,
    ticket: [u8; 122],
    psk: [Psk; 1],
    service: ServiceKey,
    misused: bool,
}

const PATH: u64 = 4;

fn exchange(world: &mut World, path: u64, packet: Vec<u8>) -> Vec<Vec<u8>> {
    world.link.log.as_mut().unwrap().clear();
    world.deliver(To::Backend(path), packet);
    world.settle();
    let log = world.link.log.as_ref().unwrap();
    log.iter().map(|(.., packet)| packet.clone()).collect()
}

/// Runs a full handshake by hand and keeps the ticket, as often as a thief has read the memory.
fn full(world: &mut World, puppet: &mut PuppetDevice) -> Holder {
    let hello = puppet.hello();
    let reply = exchange(world, PATH, hello).remove(0);
    let finish = puppet.reply(world.now, &reply).unwrap();
    let packet = exchange(world, PATH, finish).remove(0);
    let payload = puppet.open(world.now, &packet).unwrap();
    let frame = Frames::parse(&payload).unwrap().find_map(|frame| match frame {
        Frame::Ticket(ticket) => Some(ticket),
        _ => None,
    });
    let frame = frame.expect("the first packet of a session has a ticket");
    let session = &puppet.session.as_ref().unwrap().0;
    Holder {
        identity: puppet.identity.clone(),
        ticket: *frame.ticket,
        psk: [session.resume_secret(0).unwrap().ticket_psk(&TicketId::of(frame.ticket).0)],
        service: ServiceKey::from_bytes(*frame.service_key),
        misused: frame.misused,
    }
}

struct Joined {
    session: Session<2>,
    id: ConnectionId,
}

impl Holder {
    fn hello(&self, seed: u64, early: &[u8]) -> (vitalwire::handshake::AwaitingResume, Vec<u8>) {
        let resumption = Resumption {
            local: &self.identity,
            ticket: &self.ticket,
            psk: &self.psk[0],
            service: &self.service,
            connection_id: ConnectionId::EMPTY,
            limits: Limits::DEVICE,
            early,
        };
        let mut out = [0; 512];
        let (state, len) = resumption.start(b"holder", &mut Rng::new(seed), &mut out).unwrap();
        (state, out[..len].to_vec())
    }

    /// Resumes from `path`: the session, or `None` if refused.
    fn resume(&self, world: &mut World, seed: u64, path: u64) -> Option<Joined> {
        let (state, hello) = self.hello(seed, &[]);
        let answer = exchange(world, path, hello).remove(0);
        if answer[0] == 0x14 {
            assert!(state.refused(&answer).is_some(), "the Retry is genuine");
            return None;
        }
        let Ok(Resumed { secrets, peer_connection_id, peer_limits, .. }) = state.read_reply(&answer) else {
            panic!("a Reply");
        };
        let policy = RekeyPolicy::default();
        let session = Session::new(world.now, Side::Device, secrets, peer_limits.window(), policy);
        Some(Joined { session, id: peer_connection_id })
    }
}

impl Joined {
    /// Sends a Ping and returns the kinds of frames that come back.
    fn ping(&mut self, world: &mut World, path: u64) -> Vec<String> {
        let mut out = [0; 200];
        let head = self.session.header_len(&self.id);
        let mut writer = FrameWriter::new(&mut out[head..]);
        writer.push(&Frame::Ping([1; 8])).unwrap();
        let len = writer.len();
        let packet = self.session.seal(world.now, &self.id, &mut out, len).unwrap().to_vec();
        let mut frames = Vec::new();
        for answer in exchange(world, path, packet) {
            frames.extend(self.open(world.now, answer));
        }
        frames
    }

    fn open(&mut self, now: Instant, mut packet: Vec<u8>) -> Vec<String> {
        let Ok(header) = DataHeader::parse(&packet, 0) else { return Vec::new() };
        let Ok(opened) = self.session.open(now, &header, &mut packet) else { return Vec::new() };
        Frames::parse(opened.payload).unwrap().map(|frame| format!("{frame:?}")).collect()
    }
}

fn puppet_world(seed: u64) -> (World, PuppetDevice) {
    let mut world = Setup { ticket_key: Some(1), ..Setup::new(seed) }.build();
    let identity = world.pki.device(500);
    world.app.store.register(identity.identity().unwrap());
    world.link.log = Some(Vec::new());
    let puppet = PuppetDevice::new(identity, world.pki.anchors(), None);
    (world, puppet)
}

#[test]
fn a_stolen_ticket_is_found_out_whoever_uses_it_first() {
    //= SPEC.md#resumption
    //= type=test
    //# After other a backend MUST close the sessions that were resumed from the ticket's origin.
    let close = format!("{:?}", Frame::Close(CloseReason::TicketConflict));
    for proved in [true, false] {
        let (mut world, mut puppet) = puppet_world(22);
        let holder = full(&mut world, &mut puppet);
        assert!(!holder.misused);
        let mut first = holder.resume(&mut world, 1, PATH).expect("a new ticket");
        if proved {
            assert!(!first.ping(&mut world, PATH).is_empty());
        }
        // The other one comes, from elsewhere and with a Hello of his own.
        assert!(holder.resume(&mut world, 2, 66).is_none());
        assert_eq!(world.app.claimed.last().unwrap().1, ClaimOutcome::Other);
        let conflict = |event: &BackendEvent| matches!(event, BackendEvent::TicketConflict { .. });
        assert!(world.backend_events.iter().any(conflict));
        assert!(world.backend.discards().of(Discard::TicketReused) == 1);
        if proved {
            // The session ended with a Close in the very exchange that told.
            let told: Vec<Vec<u8>> =
                world.link.log.as_ref().unwrap().iter().map(|(.., packet)| packet.clone()).collect();
            let frames: Vec<String> =
                told.into_iter().flat_map(|packet| first.open(world.now, packet)).collect();
            assert!(frames.contains(&close), "{frames:?}");
        }
        let answers = first.ping(&mut world, PATH);
        assert!(answers.is_empty(), "the first one is out: {answers:?}");
        // Nobody has a ticket of this origin that is good for anything; nor is a copy of the first one's own Hello,
        // long after: the thief may have been the first.
        assert!(holder.resume(&mut world, 3, 66).is_none());
        world.run(secs(30));
        assert!(holder.resume(&mut world, 1, PATH).is_none());
        // Its owner shows its credential, and is told.
        world.run(secs(1));
        world.set_clock(1);
        let next = full(&mut world, &mut puppet);
        assert!(next.misused);
        assert!(next.resume(&mut world, 4, PATH).is_some());
        let again = full(&mut world, &mut puppet);
        assert!(!again.misused, "once it has shown that it knows");
    }
}

#[test]
fn a_device_is_told_that_its_ticket_was_misused() {
    let mut world = with_ticket(23);
    world.connect(0);
    world.run_to_connected(0);
    let (claim, _) = world.app.claimed[0];
    // A thief has come to another node.
    let theft = vitalwire::backend::TicketClaim { hello: [9; 32], ..claim };
    assert_eq!(world.app.claims.claim(world.app.clock, &theft), ClaimOutcome::Other);
    let identity = world.identity(0);
    world.backend.disconnect(&identity, CloseReason::TicketConflict).unwrap();
    world.run(secs(1));
    world.set_clock(1);
    world.run_to_connected(0);
    world.run(secs(2));
    assert_eq!(patterns(&world)[1..], [Pattern::Resume, Pattern::Ik]);
    assert!(world.nodes[0].events.contains(&DeviceEvent::Disconnected(CloseReason::TicketConflict)));
    assert!(world.nodes[0].events.contains(&DeviceEvent::TicketMisused));
    assert_whole(world);
}

#[test]
fn early_frames_of_other_kinds_close_the_session() {
    //= SPEC.md#early-records
    //= type=test
    //# A backend MUST close a session with reason 2 whose early records hold another frame than Streams, Records, Descriptors and Padding, or a malformed one.
    let mut ping = [0; 16];
    let mut writer = FrameWriter::new(&mut ping);
    writer.push(&Frame::Ping([1; 8])).unwrap();
    let ping = writer.finish().to_vec();
    let close = format!("{:?}", Frame::Close(CloseReason::ProtocolViolation));
    for (early, bad) in [(&ping[..], true), (&[63, 1], true), (&[FrameKind::Padding as u8, 0, 0], false)] {
        let (mut world, mut puppet) = puppet_world(24);
        let holder = full(&mut world, &mut puppet);
        let (state, hello) = holder.hello(1, early);
        let reply = exchange(&mut world, PATH, hello).remove(0);
        let Ok(resumed) = state.read_reply(&reply) else { panic!("a Reply") };
        let session = Session::new(world.now, Side::Device, resumed.secrets, 1024, RekeyPolicy::default());
        let mut joined = Joined { session, id: resumed.peer_connection_id };
        assert_eq!(joined.ping(&mut world, PATH).contains(&close), bad, "{early:02x?}");
        assert!(world.backend.poll_early().is_none());
    }
}

#[test]
fn an_old_hello_that_was_held_back_makes_nobody_forget_a_stream() {
    //= SPEC.md#early-records
    //= type=test
    //# A backend MUST NOT take the Streams frame of a Hello as complete before the session is proved.
    let mut world = with_ticket(31);
    world.link.filter = Some(Box::new(|to, packet| match to {
        To::Backend(_) if packet[0] == 0x11 && packet[1] == 5 => Verdict::Drop,
        _ => Verdict::Pass,
    }));
    // Its Hello names trend and alarm. The event lane is opened after it.
    world.record(0, Lane::Alarm, &alarm(1)).unwrap();
    world.connect(0);
    world.wait_all_drained_and_check(secs(60));
    world.record(0, Lane::Event, &event(1)).unwrap();
    world.wait_all_drained_and_check(secs(60));
    let (_, hello) = hellos(&world).remove(0);
    assert_eq!(hello[1], 5);
    world.deliver(To::Backend(1000), hello);
    world.settle();
    assert_eq!(world.app.claimed.last().unwrap().1, ClaimOutcome::New, "nobody had seen it");
    world.run(secs(2));
    world.record(0, Lane::Event, &event(2)).unwrap();
    world.wait_all_drained_and_check(secs(20));
    let lanes = |world: &World| {
        let ledger = &world.app.store.ledgers[&world.identity(0)];
        ledger.streams().map(|(key, _)| key.lane).collect::<Vec<_>>()
    };
    assert_eq!(lanes(&world), [Lane::Alarm, Lane::Event, Lane::Trend]);
    assert_whole(world);
}

#[test]
fn what_a_hello_says_of_all_streams_counts_once_its_session_is_proved() {
    let mut world = with_ticket(32);
    // A stream of an earlier boot, which the device has closed.
    let identity = world.identity(0);
    let tag = vitalwire::framing::BootTag([1; 4]);
    let stream = vitalwire::delivery::StreamKey { boot: 0, tag, lane: Lane::Event };
    let ledger = world.app.store.ledgers.get_mut(&identity).unwrap();
    ledger.settle_below(stream, 5).unwrap();
    world.record(0, Lane::Alarm, &alarm(1)).unwrap();
    world.connect(0);
    world.link.filter = Some(Box::new(|to, packet| match to {
        To::Backend(_) if packet[0] & 0x80 != 0 => Verdict::Drop,
        _ => Verdict::Pass,
    }));
    world.run(secs(3));
    assert_eq!((world.app.early, world.app.closed.len()), (1, 0), "not proved yet");
    world.link.filter = None;
    world.record(0, Lane::Alarm, &alarm(2)).unwrap();
    world.wait_all_drained_and_check(secs(20));
    assert_eq!(patterns(&world)[1], Pattern::Resume);
    assert!(!world.app.closed.is_empty() && world.app.closed.iter().all(|closed| *closed == stream));
}

#[test]
fn a_device_with_a_window_hears_the_reply_to_its_resumption() {
    use vitalwire::device::Radio;
    let mut world = with_ticket_and(33, |_| {}, |config| config.listen = Some(secs(1)));
    world.link.filter = Some(Box::new(|to, _| match to {
        To::Device(_) => Verdict::Drop,
        To::Backend(_) => Verdict::Pass,
    }));
    world.connect(0);
    world.run(ms(10));
    assert_eq!(hellos(&world).len(), 1);
    let now = world.now;
    let Radio::Listen { until: Some(until) } = world.node(0).device.radio(now) else { panic!("a handshake") };
    assert!(until >= now + ms(900), "until the Hello is repeated");
}

#[test]
fn replayed_hellos_do_not_keep_their_device_out() {
    let mut world = Setup::new(34).build();
    let pin = world.pinned();
    world.add(pin);
    world.link.log = Some(Vec::new());
    for _ in 0..2 {
        world.connect(0);
        world.run_to_connected(0);
        world.node(0).device.disconnect();
        world.run(secs(30));
    }
    let old: Vec<Vec<u8>> = hellos(&world).into_iter().map(|(_, hello)| hello).collect();
    assert_eq!(old.len(), 2);
    assert!(old.iter().all(|hello| hello[1] == 2), "IK");

    // Somebody who has recorded them takes both places, whenever they are free.
    let flood =
        |world: &mut World| old.iter().for_each(|hello| world.deliver(To::Backend(66), hello.clone()));
    flood(&mut world);
    world.settle();
    world.connect(0);
    let start = world.now;
    while !world.nodes[0].device.is_connected() {
        flood(&mut world);
        world.run(ms(500));
        assert!(world.now.since(start) < secs(200), "kept out");
    }
    assert!(world.backend.discards().of(Discard::TooManyPending) > 0, "the attack works");
    world.record(0, Lane::Alarm, &alarm(1)).unwrap();
    world.wait_all_drained_and_check(secs(20));
}

#[test]
fn no_ticket_id_comes_twice_where_the_generator_repeats_itself() {
    let (mut world, mut puppet) = puppet_world(35);
    full(&mut world, &mut puppet);
    let mut ids = [1, 2].map(|_| {
        // A copy of the machine goes on from the same state.
        world.rng = Rng::new(7);
        TicketId::of(&full(&mut world, &mut puppet).ticket)
    });
    ids.sort();
    assert_ne!(ids[0], ids[1]);
}
