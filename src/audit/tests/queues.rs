//! Queues that fill up, sinks that fail, generators that do, and clocks that jump.

use super::*;
use crate::error::Discards;
use crate::limits::{AUDIT_ALIKE, AUDIT_ESSENTIAL_QUEUE, AUDIT_INTERVAL, AUDIT_QUEUE, CLOCK_JUMP_MILLIS};

fn usual(number: u32) -> AuditEvent {
    AuditEvent::Rekeyed { identity: identity(1), ratchets: number }
}

fn essential(number: u64) -> AuditEvent {
    AuditEvent::RevocationList { issuer: IssuerId([1; 8]), number }
}

fn drained(queue: &mut AuditQueue) -> Vec<AuditEvent> {
    core::iter::from_fn(|| queue.pop()).map(|noted| noted.event).collect()
}

#[test]
fn usual_events_cannot_crowd_out_essential_ones_and_losses_are_told_where_they_were() {
    let mut queue = AuditQueue::default();
    for number in 0..AUDIT_QUEUE as u32 + 3 {
        queue.note(at(1), usual(number));
    }
    assert_eq!((queue.len(), queue.lost()), (AUDIT_QUEUE, 3));
    for number in 0..AUDIT_ESSENTIAL_QUEUE as u64 {
        queue.note(at(2), essential(number));
    }
    // The first essential one came after the loss, which stands before it.
    let all = AUDIT_QUEUE + AUDIT_ESSENTIAL_QUEUE;
    assert_eq!(queue.len(), all, "one place tells of the loss");
    assert_eq!(queue.lost(), 4, "so the last essential one found none");
    let events = drained(&mut queue);
    assert_eq!(events[AUDIT_QUEUE], AuditEvent::Lost { usual: 3, essential: 0 });
    assert_eq!(events[AUDIT_QUEUE + 1], essential(0));
    assert_eq!(events[all], AuditEvent::Lost { usual: 0, essential: 1 });
    assert_eq!(events.len(), all + 1);
    assert!(queue.is_empty());
    queue.note(at(3), usual(0));
    assert_eq!(drained(&mut queue), [usual(0)], "there is room again");
}

#[test]
fn what_anybody_can_cause_is_noted_some_times_and_then_counted() {
    let mut queue = AuditQueue::default();
    let refused = || AuditEvent::Refused { reason: Discard::BadCredential.into() };
    for _ in 0..AUDIT_ALIKE + 500 {
        queue.note(at(5), refused());
    }
    assert_eq!(queue.len() as u64, AUDIT_ALIKE);
    drained(&mut queue);
    queue.count(at(5) + AUDIT_INTERVAL, &Discards::default(), 0, false);
    assert_eq!(drained(&mut queue), [AuditEvent::Suppressed { kind: 5, count: 500 }]);
    queue.note(at(70_000), refused());
    assert_eq!(drained(&mut queue), [refused()], "a new interval");
}

#[test]
fn discards_are_told_as_counts_once_in_an_interval() {
    let mut queue = AuditQueue::default();
    let mut discards = Discards::default();
    for discard in [Discard::BadHelloMac, Discard::Replayed, Discard::Replayed, Discard::TooManyPending] {
        discards.count(discard);
    }
    discards.count(Discard::AwaitingCommit); // everyday life
    queue.count(at(AUDIT_INTERVAL.as_millis() - 1), &discards, 2, false);
    assert!(queue.is_empty());
    queue.count(at(AUDIT_INTERVAL.as_millis()), &discards, 2, false);
    let count = |name: &str, count| Count { name: name.into(), count };
    let expected = [
        AuditEvent::Strangers { counts: alloc::vec![count("BadHelloMac", 1)] },
        AuditEvent::Tampering { counts: alloc::vec![count("Replayed", 2)] },
        AuditEvent::LimitsReached { counts: alloc::vec![count("TooManyPending", 1), count("EventsLost", 2)] },
    ];
    assert_eq!(drained(&mut queue), expected);
    discards.count(Discard::Replayed);
    queue.count(at(60_001), &discards, 2, true);
    assert_eq!(drained(&mut queue), [AuditEvent::Tampering { counts: alloc::vec![count("Replayed", 1)] }]);
    queue.count(at(500_000), &discards, 2, false);
    assert!(queue.is_empty(), "nothing has happened");
}

#[test]
fn a_sink_that_fails_loses_nothing_that_finds_room() {
    let mut log = AuditLog::new(NODE, &mut Counting(0)).unwrap();
    let (mut queue, mut sink, mut rng) = (AuditQueue::default(), Memory::default(), Counting(40));
    sink.fails = 3;
    for number in 0..5 {
        queue.note(at(1), usual(number));
        let ran = log.run(at(1), &mut queue, &mut sink, &mut rng);
        assert_eq!(ran.is_err(), number < 3);
    }
    let noted: Vec<_> = (0..5).map(usual).collect();
    let found = events(&sink.bytes);
    assert_eq!(found[0], AuditEvent::SinkFailed { times: 3 });
    assert_eq!(found[1..], noted);
    // In the middle of a checkpoint.
    for step in 0..4 {
        sink.fails = step;
        while log.checkpoint(at(1), &mut sink, &mut rng).is_err() {}
        queue.note(at(1), usual(0));
        while log.run(at(1), &mut queue, &mut sink, &mut rng).is_err() {}
    }
    let report = read_back(&sink.bytes).1;
    assert_eq!((report.checkpoints, report.torn), (4, 0));
}

#[test]
fn a_sink_that_never_works_is_bounded() {
    let mut log = AuditLog::new(NODE, &mut Counting(0)).unwrap();
    let (mut queue, mut sink, mut rng) = (AuditQueue::default(), Memory::default(), Counting(40));
    sink.fails = u32::MAX;
    for number in 0..2 * AUDIT_QUEUE as u32 {
        queue.note(at(1), usual(number));
        assert!(log.run(at(1), &mut queue, &mut sink, &mut rng).is_err());
    }
    assert_eq!((queue.len(), queue.lost()), (AUDIT_QUEUE, AUDIT_QUEUE as u64));
    sink.fails = 0;
    log.run(at(1), &mut queue, &mut sink, &mut rng).unwrap();
    let found = events(&sink.bytes);
    assert_eq!(found.len(), AUDIT_QUEUE + 2);
    assert_eq!(found.last(), Some(&AuditEvent::Lost { usual: AUDIT_QUEUE as u64, essential: 0 }));
}

struct Broken;

impl Entropy for Broken {
    fn fill(&mut self, _: &mut [u8]) -> Result<(), EntropyError> {
        Err(EntropyError)
    }
}

#[test]
fn without_randomness_entries_go_on_and_a_checkpoint_is_missing() {
    let mut log = AuditLog::new(NODE, &mut Counting(0)).unwrap();
    let (mut queue, mut sink) = (AuditQueue::default(), Memory::default());
    queue.note(at(1), usual(1));
    log.run(at(1), &mut queue, &mut sink, &mut Broken).unwrap();
    queue.note(at(2), usual(2));
    let late = at(1) + AUDIT_INTERVAL;
    assert_eq!(log.run(late, &mut queue, &mut sink, &mut Broken), Err(AuditError::Entropy(EntropyError)));
    assert_eq!(read_back(&sink.bytes).1.unsigned, 2);
    log.run(late, &mut queue, &mut sink, &mut Counting(1)).unwrap();
    assert_eq!(read_back(&sink.bytes).1.unsigned, 0);
}

#[test]
fn a_wall_clock_that_jumps_is_noted_and_one_that_drifts_is_not() {
    let mut queue = AuditQueue::default();
    queue.set_wall_time(at(0), wall(1_000_000));
    // An hour later, off by the drift that is allowed, and a little.
    let hour = 3_600_000;
    let most = 1_800 + CLOCK_JUMP_MILLIS;
    queue.set_wall_time(at(hour), wall(1_000_000 + hour + most));
    assert!(queue.is_empty());
    queue.set_wall_time(at(hour), wall(1_000_000 + hour + 2 * most + 1));
    assert_eq!(drained(&mut queue), [AuditEvent::ClockJumped { millis: most as i64 + 1 }]);
    queue.set_wall_time(at(hour + 1_000), wall(5));
    assert!(matches!(drained(&mut queue)[..], [AuditEvent::ClockJumped { millis }] if millis < -3_000_000));
}

#[test]
fn a_clock_for_credentials_that_is_set_wrong_is_noted() {
    let mut queue = AuditQueue::default();
    let (noon, second) = (UnixSeconds(1_750_000_000), |s: u64| UnixSeconds(1_750_000_000 + s));
    queue.clock_set(at(1_000), None, None, noon);
    queue.clock_set(at(61_000), Some((noon, at(1_000))), Some(noon), second(61));
    assert_eq!(
        drained(&mut queue),
        [AuditEvent::ClockSet { before: None, after: noon }],
        "a minute has passed"
    );
    queue.clock_set(at(121_000), Some((second(61), at(61_000))), Some(second(61)), second(500));
    assert_eq!(drained(&mut queue), [AuditEvent::ClockSet { before: Some(second(61)), after: second(500) }]);
}
