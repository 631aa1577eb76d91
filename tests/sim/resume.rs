//! Resumption between both front ends: two messages, early records, and loss, repetition and delay of the Hello.

use crate::app::Answer;
use crate::kit::*;
use crate::link::{To, Verdict};
use crate::world::{Setup, World};
use std::cell::Cell;
use std::rc::Rc;
use vitalwire::backend::{BackendEvent, ClaimOutcome};
use vitalwire::device::{DeviceConfig, DeviceEvent};
use vitalwire::framing::Lane;
use vitalwire::wire::Pattern;
use vitalwire::{CloseReason, Discard, Instant};

pub(crate) fn patterns(world: &World) -> Vec<Pattern> {
    let connected = |event: &DeviceEvent| match event {
        DeviceEvent::Connected { pattern, .. } => Some(*pattern),
        _ => None,
    };
    world.nodes[0].events.iter().filter_map(connected).collect()
}

/// A device that had a full handshake, has a ticket, and has no session any more.
pub(crate) fn with_ticket(seed: u64) -> World {
    with_ticket_and(seed, |_| {}, |_| {})
}

pub(crate) fn with_ticket_and(
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

pub(crate) fn kinds(world: &World) -> Vec<u8> {
    let log = world.link.log.as_ref().unwrap();
    log.iter().map(|(_, _, packet)| packet[0]).filter(|first| first & 0x80 == 0).collect()
}

/// The Hellos of the log, with the time at which each was sent.
pub(crate) fn hellos(world: &World) -> Vec<(Instant, Vec<u8>)> {
    let log = world.link.log.as_ref().unwrap().iter();
    let hellos = log.filter(|(_, to, packet)| matches!(to, To::Backend(_)) && packet[0] == 0x11);
    hellos.map(|(at, _, packet)| (*at, packet.clone())).collect()
}

#[track_caller]
pub(crate) fn assert_whole(mut world: World) {
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
            world.link.fault_at(position, verdict);
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

/// A device whose resumption did not get through, and that went on without; and its Hello, with an alarm in it.
fn with_hello_held_back(seed: u64) -> (World, Vec<u8>) {
    let mut world = with_ticket(seed);
    world.link.filter = Some(Box::new(|to, packet| match to {
        To::Backend(_) if packet[0] == 0x11 && packet[1] == 5 => Verdict::Drop,
        _ => Verdict::Pass,
    }));
    world.record(0, Lane::Alarm, &alarm(1)).unwrap();
    world.connect(0);
    world.wait_all_drained_and_check(secs(60));
    let (_, hello) = hellos(&world).remove(0);
    assert_eq!(hello[1], 5);
    (world, hello)
}

#[test]
fn an_old_hello_that_was_held_back_changes_nothing_of_a_later_boot() {
    //= SPEC.md#early-records
    //= type=test
    //# A backend MUST ignore early records of a boot below the highest one that the device's ledger knows, or with another tag than this.
    let (mut world, hello) = with_hello_held_back(7);
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
    // Its resumptions keep the places of its identity: the full handshake behind them is asked for a cookie, and finds one.
    let kinds = kinds(&world);
    assert!(kinds.starts_with(&[0x11; 3]) && !kinds.contains(&0x12), "{kinds:02x?}");
    world.app.policy.accept = Answer::Accept;
    world.wait_all_drained_and_check(secs(60));
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

#[test]
fn an_old_hello_that_was_held_back_makes_nobody_forget_a_stream() {
    //= SPEC.md#early-records
    //= type=test
    //# A backend MUST NOT take the Streams frame of a Hello as complete before the session is proved.
    // The Hello names trend and alarm. The event lane is opened after it.
    let (mut world, hello) = with_hello_held_back(31);
    world.record(0, Lane::Event, &event(1)).unwrap();
    world.wait_all_drained_and_check(secs(60));
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
