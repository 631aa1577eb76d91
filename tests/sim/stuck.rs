//! An application that answers nobody, or stores nothing: what its devices meet with, and what the others do.

use crate::app::{Answer, Policy};
use crate::kit::*;
use crate::link::To;
use crate::world::{Setup, World};
use vitalwire::backend::BackendEvent;
use vitalwire::framing::Lane;
use vitalwire::{Discard, Duration};

const UNANSWERED: BackendEvent = BackendEvent::HandshakeRefused(Discard::NotAccepted);

/// The kinds of packets that have gone to a device.
fn heard(world: &mut World, number: usize) -> Vec<u8> {
    let log = world.link.log.replace(Vec::new()).unwrap();
    log.iter().filter(|(_, to, _)| *to == To::Device(number)).map(|(.., packet)| packet[0]).collect()
}

#[test]
fn a_device_of_a_registry_that_never_answers_hears_nothing_and_is_counted() {
    for pinned in [false, true] {
        let mut world = Setup { ticket_key: Some(1), ..Setup::new(1) }.build();
        world.add_pinned_if(pinned);
        world.link.log = Some(Vec::new());
        world.app.policy.accept = Answer::Never;
        world.connect(0);
        world.run(secs(29));
        let replies = heard(&mut world, 0);
        assert!(replies.iter().all(|kind| *kind == 0x12), "nothing but the Reply of XX: {replies:?}");
        assert_eq!(replies.is_empty(), pinned);
        assert_eq!(world.count(|event| *event == UNANSWERED), 0, "there is time left");
        let asked = world.backend.counters().half_open;
        assert!(asked >= 1);
        world.run(secs(3));
        assert!(world.count(|event| *event == UNANSWERED) >= 1);
        let refused = world.backend.counters().discards.of(Discard::NotAccepted) as usize;
        assert!(refused >= world.count(|event| *event == UNANSWERED));
        // However long it goes on: no more than two of it wait.
        for _ in 0..100 {
            world.run(secs(30));
            let status = world.backend.admission(world.now);
            assert!(status.half_open <= 5 && status.pending_identities <= 1, "{status:?}");
            assert!(status.known_hellos <= 5 && status.jobs == 0 && status.answers == 0, "{status:?}");
        }
        world.app.policy.accept = Answer::Accept;
        let end = world.now + secs(400);
        assert!(world.run_until(end, |world| world.nodes[0].device.is_connected()));
    }
}

#[test]
fn a_store_of_claims_that_never_answers_is_counted_and_costs_a_full_handshake() {
    let mut world = crate::resume::with_ticket(2);
    world.app.policy.accept = Answer::Never;
    world.connect(0);
    world.run(secs(6));
    world.app.policy.accept = Answer::Accept;
    world.run_to_connected(0);
    world.run(secs(40));
    assert_eq!(world.count(|event| *event == UNANSWERED), 1);
    assert!(world.app.claimed.is_empty());
}

#[test]
fn an_application_that_never_commits_holds_its_own_devices_only() {
    const ROUNDS: i32 = 600;
    let mut setup = Setup::new(3);
    setup.policy.commit_delay = (10, 20);
    let mut world = setup.build();
    for number in 0..4 {
        world.add(|_| {});
        world.connect(number);
        world.run_to_connected(number);
    }
    // One device's storage hangs: what is delivered of it is kept, and nothing becomes of it.
    let mut kept = Vec::new();
    let mut most = 0;
    let mut accepted = 0;
    for round in 0..ROUNDS {
        accepted += usize::from(world.record(0, Lane::Trend, &rate(round)).is_ok());
        for number in 1..4 {
            world.record(number, Lane::Trend, &rate(round)).unwrap();
        }
        let end = world.now + ms(500);
        world.run_until(end, |world| {
            let hangs = world.app.tasks.extract_if(.., |(_, task)| task.device() == Some(0));
            kept.extend(hangs);
            false
        });
        most = most.max(world.backend.counters().outstanding_batches);
    }
    let delivered = kept.len();
    assert!((1..=64).contains(&delivered), "its credit is used up: {delivered} batches");
    assert_eq!(world.backend.discards().of(Discard::Backpressure), 0, "it is told that there is no room");
    assert!(most <= delivered as u64 + 12, "{most} batches wait in all");
    assert!(world.nodes[0].device.fill(Lane::Trend).queued > 0 && !world.nodes[0].device.is_drained());
    assert!(world.app.store.stored.keys().all(|(number, ..)| *number != 0), "nothing is acknowledged");
    world.run(secs(2));
    for number in 1..4 {
        assert!(world.nodes[number].device.is_drained(), "{number} is not held up");
    }
    // Nothing new is delivered of it, however long it takes, but for what comes again.
    let repeats = world.app.store.repeats;
    world.run(Duration::from_secs(600));
    assert_eq!(world.app.store.repeats, repeats);
    assert_eq!(world.backend.counters().outstanding_batches, delivered as u64);
    assert!(world.nodes[0].device.is_connected(), "the session is alive");
    // It stores at last, and all of it arrives, once.
    world.app.tasks.extend(kept);
    world.wait_all_drained_and_check(secs(600));
    let of_it = world.app.store.stored.keys().filter(|(number, ..)| *number == 0).count();
    assert_eq!(of_it, accepted);
}

#[test]
fn handshakes_that_nobody_decides_leave_the_others_their_places() {
    let mut setup = Setup::new(4);
    setup.policy = Policy { accept: Answer::Never, ..Policy::PROMPT };
    setup.backend = |config| config.max_half_open = 16;
    let mut world = setup.build();
    let pin = world.pinned();
    for _ in 0..24 {
        world.add(&pin);
    }
    for number in 0..20 {
        world.connect(number);
    }
    let mut full = false;
    for _ in 0..20 {
        world.run(secs(1));
        let half_open = world.backend.admission(world.now).half_open;
        assert!(half_open <= 16);
        full |= half_open == 16;
    }
    assert!(full, "the attack works");
    assert!(world.backend.discards().of(Discard::TooManyPending) > 0);
    // The registry is back for those that come from now on; what it was asked before stays unanswered.
    for number in 0..20 {
        world.node(number).device.disconnect();
    }
    world.app.policy.accept = Answer::Accept;
    for number in 20..24 {
        world.connect(number);
    }
    let end = world.now + secs(60);
    let all = world.run_until(end, |world| world.nodes[20..].iter().all(|node| node.device.is_connected()));
    assert!(all, "{:?}", world.backend.admission(world.now));
}

#[test]
fn handshakes_and_young_sessions_leave_nothing_behind_however_they_end() {
    let mut world = Setup { ticket_key: Some(1), ..Setup::new(5) }.build();
    let pin = world.pinned();
    for _ in 0..4 {
        world.add(&pin);
    }
    // One leaves at once, one is refused, one waits in vain, and one stays.
    world.connect(0);
    world.connect(3);
    world.run_to_connected(0);
    world.run_to_connected(3);
    world.node(0).device.disconnect();
    world.app.policy.accept = Answer::Refuse;
    world.connect(1);
    world.run(secs(2));
    world.app.policy.accept = Answer::Never;
    world.connect(2);
    world.run(secs(1));
    assert!(
        world.backend.admission(world.now).known_hellos >= 2,
        "the one that waits, and the one that stays"
    );
    for number in 0..3 {
        world.node(number).device.disconnect();
    }
    world.run(secs(60));
    let status = world.backend.admission(world.now);
    assert_eq!((status.known_hellos, status.half_open, status.pending_identities), (0, 0, 0), "{status:?}");
    assert_eq!(world.backend.counters().sessions, 1);
}
