//! A node sends its devices away: what each of them and its records meet with.

use crate::app::{Answer, Policy};
use crate::kit::*;
use crate::link::{To, Verdict};
use crate::resume::{kinds, patterns};
use crate::world::{Setup, World};
use vitalwire::backend::BackendEvent;
use vitalwire::device::DeviceEvent;
use vitalwire::framing::Lane;
use vitalwire::wire::Pattern;
use vitalwire::{CloseReason, Discard};

fn drained(world: &World) -> Vec<u32> {
    let drained = |event: &BackendEvent| match event {
        BackendEvent::Drained { uncommitted } => Some(*uncommitted),
        _ => None,
    };
    world.backend_events.iter().filter_map(drained).collect()
}

fn ended(world: &World, number: usize) -> Vec<CloseReason> {
    let ended = |event: &DeviceEvent| match event {
        DeviceEvent::Disconnected(reason) => Some(*reason),
        _ => None,
    };
    world.nodes[number].events.iter().filter_map(ended).collect()
}

/// The other node takes over; what the first one has not committed is not known there.
fn hand_over(world: &mut World) {
    world.backend = world.another_node();
    world.app.crash();
}

#[test]
fn a_drained_device_comes_back_with_its_ticket_within_a_second() {
    let mut world = Setup { ticket_key: Some(1), ..Setup::new(1) }.connected();
    world.record(0, Lane::Event, &rate(1)).unwrap();
    world.drain(secs(5));
    world.run(secs(3));
    let now = world.now;
    world.backend.drain(now, vitalwire::Duration::ZERO);
    assert!(world.backend.is_draining());
    world.settle();
    assert_eq!(drained(&world), [0]);
    hand_over(&mut world);
    world.run(ms(1_200));
    assert_eq!(ended(&world, 0), [CloseReason::Draining]);
    assert_eq!(patterns(&world), [Pattern::Xx, Pattern::Resume]);
    world.record(0, Lane::Event, &rate(2)).unwrap();
    world.wait_all_drained_and_check(secs(5));
}

#[test]
fn a_draining_node_answers_no_hello_and_burns_no_ticket() {
    //= SPEC.md#draining
    //= type=test
    //# A backend that drains MUST NOT answer a Hello but a copy of one that it has answered before.
    let mut world = Setup { ticket_key: Some(1), ..Setup::new(2) }.connected();
    world.add(|_| {});
    world.run(secs(3));
    let now = world.now;
    world.backend.drain(now, secs(2));
    world.link.log = Some(Vec::new());
    world.connect(1);
    // The first device is sent away within 2 s, and tries to come back for some seconds.
    world.run(secs(4));
    assert!(world.backend.discards().of(Discard::Draining) >= 4, "an XX and a resumption, both repeated");
    assert!(!kinds(&world).iter().any(|first| first & 0x0f == 2 || first & 0x0f == 4), "Reply or Retry");
    assert!(world.app.claimed.is_empty());
    assert_eq!((drained(&world), world.backend.devices()), (vec![0], 0));
    hand_over(&mut world);
    // The very same Hellos are answered there.
    world.run(secs(12));
    assert!(world.nodes.iter().all(|node| node.device.is_connected()));
    assert_eq!(patterns(&world), [Pattern::Xx, Pattern::Resume]);
}

#[test]
fn a_close_waits_for_the_commit_and_its_acknowledgement() {
    //= SPEC.md#draining
    //= type=test
    //# A backend that drains MUST hold a Close back while a batch of its device is neither committed nor released, while a commit is not acknowledged, and while the device does not listen, but not beyond the given time.
    // One is delivered before the time of the device, and committed after it.
    for seed in 1..=20 {
        let mut setup = Setup { ticket_key: Some(1), ..Setup::new(seed) };
        setup.policy = Policy { commit_delay: (3_000, 3_000), ..Policy::PROMPT };
        let mut world = setup.connected();
        world.record(0, Lane::Event, &rate(1)).unwrap();
        world.run(ms(500));
        let now = world.now;
        world.backend.drain(now, secs(4));
        world.run(ms(2_400));
        assert!(ended(&world, 0).is_empty() && drained(&world).is_empty(), "the batch is not committed yet");
        world.run(ms(1_700));
        assert_eq!(ended(&world, 0), [CloseReason::Draining], "seed {seed}");
        assert!(world.nodes[0].device.is_drained(), "the acknowledgement came before the Close");
        assert_eq!(drained(&world), [0]);
    }
}

#[test]
fn a_drain_that_is_over_says_what_is_not_committed() {
    let mut setup = Setup { ticket_key: Some(1), ..Setup::new(3) };
    setup.policy = Policy { commit_delay: (3_000, 3_000), ..Policy::PROMPT };
    let mut world = setup.connected();
    world.record(0, Lane::Event, &rate(1)).unwrap();
    world.run(ms(500));
    let now = world.now;
    world.backend.drain(now, secs(60));
    // There is less time than was thought: another call begins anew.
    world.backend.drain(now, ms(100));
    world.run(ms(90));
    assert!(drained(&world).is_empty() && ended(&world, 0).is_empty());
    world.run(ms(210));
    assert_eq!((drained(&world), ended(&world, 0)), (vec![1], vec![CloseReason::Draining]));
    // It can be committed all the same: the next node's ledger then has it.
    world.run(secs(4));
    assert_eq!((world.backend.devices(), drained(&world).len()), (0, 1));
    hand_over(&mut world);
    world.wait_all_drained_and_check(secs(30));
}

#[test]
fn a_released_batch_holds_no_close_back() {
    let mut setup = Setup { ticket_key: Some(1), ..Setup::new(4) };
    setup.policy = Policy { commit_delay: (1_000, 1_000), release: 1.0, ..Policy::PROMPT };
    let mut world = setup.connected();
    world.record(0, Lane::Event, &rate(1)).unwrap();
    world.run(ms(100));
    let now = world.now;
    world.backend.drain(now, secs(60));
    world.run(secs(61));
    assert_eq!((drained(&world), world.backend.devices()), (vec![0], 0));
    world.app.policy = Policy::PROMPT;
    hand_over(&mut world);
    world.wait_all_drained_and_check(secs(30));
}

#[test]
fn a_sleeping_device_is_sent_away_when_it_is_heard() {
    let mut world = Setup { ticket_key: Some(1), ..Setup::new(5) }.build();
    world.add(|config| config.listen = Some(ms(1_000)));
    world.connect(0);
    world.run_to_connected(0);
    world.record(0, Lane::Event, &rate(1)).unwrap();
    world.drain(secs(5));
    world.run(secs(5));
    world.link.log = Some(Vec::new());
    let now = world.now;
    world.backend.drain(now, secs(30));
    world.run(secs(29));
    assert!(world.link.log.as_ref().unwrap().is_empty(), "nothing is said to who does not listen");
    world.record(0, Lane::Event, &rate(2)).unwrap();
    world.run(ms(300));
    assert_eq!(ended(&world, 0), [CloseReason::Draining], "now it listens");
    assert_eq!(drained(&world), [0]);
    hand_over(&mut world);
    world.wait_all_drained_and_check(secs(10));
}

#[test]
fn a_device_whose_close_was_lost_learns_it_by_a_reset() {
    let mut world = Setup { ticket_key: Some(1), ..Setup::new(6) }.connected();
    world.run(secs(3));
    world.link.filter = Some(Box::new(|to, _| match to {
        To::Device(_) => Verdict::Drop,
        To::Backend(_) => Verdict::Pass,
    }));
    let now = world.now;
    world.backend.drain(now, vitalwire::Duration::ZERO);
    world.run(ms(100));
    world.link.filter = None;
    assert_eq!(drained(&world), [0]);
    hand_over(&mut world);
    assert!(world.nodes[0].device.is_connected(), "it does not know");
    world.record(0, Lane::Event, &rate(1)).unwrap();
    world.wait_all_drained_and_check(secs(5));
    assert_eq!(patterns(&world), [Pattern::Xx, Pattern::Resume]);
}

#[test]
fn a_handshake_under_way_ends_with_the_drain() {
    let mut world = Setup::new(7).build();
    world.app.policy.accept = Answer::Never;
    world.add(|_| {});
    world.connect(0);
    world.run(ms(500));
    let now = world.now;
    world.backend.drain(now, secs(5));
    world.run(ms(4_900));
    assert!(drained(&world).is_empty(), "the application may still accept");
    world.run(ms(200));
    assert_eq!(drained(&world), [0]);
    assert_eq!(world.backend.devices(), 0);
}
