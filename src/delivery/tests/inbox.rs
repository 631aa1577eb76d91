use super::*;
use crate::limits::{ALARM_BATCHES, LEDGER_WINDOW, MAX_LEDGER_STREAMS, MAX_OUTSTANDING_BATCHES};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const TREND: StreamKey = key(1, Lane::Trend);

fn deliver(inbox: &mut Inbox, first: u64, count: u8) -> (BatchNumber, u64) {
    match inbox.offer(TREND, first, count) {
        Offer::Deliver { batch, fresh } => (batch, fresh),
        other => panic!("{other:?}"),
    }
}

//= SPEC.md#commit
//= type=test
//# A backend MUST NOT deliver a record again while an earlier delivery of it is neither committed nor released.
#[test]
fn delivers_only_the_fresh_records_of_a_mixed_batch() {
    let mut inbox = inbox();
    let (first, fresh) = deliver(&mut inbox, 10, 4);
    assert_eq!(fresh, 0b1111);
    let (second, fresh) = deliver(&mut inbox, 8, 4);
    assert_eq!(fresh, 0b0011);
    assert_eq!(inbox.offer(TREND, 9, 5), Offer::Awaiting);
    inbox.commit(first).unwrap();
    assert_eq!(inbox.offer(TREND, 9, 5), Offer::Awaiting, "9 still waits");
    inbox.release(second).unwrap();
    let (_, fresh) = deliver(&mut inbox, 9, 5);
    assert_eq!(fresh, 0b00001);
}

//= SPEC.md#acknowledgement
//= type=test
//# A backend MUST NOT acknowledge a record before its application has committed it.
//= SPEC.md#acknowledgement
//= type=test
//# A backend MUST acknowledge a settled record again when it comes again.
//= SPEC.md#commit
//= type=test
//# A backend MUST NOT deliver a record that is settled.
#[test]
fn acknowledges_what_is_committed_and_nothing_else() {
    let mut inbox = inbox();
    let (early, _) = deliver(&mut inbox, 0, 2);
    let (late, _) = deliver(&mut inbox, 2, 2);
    let ack = |inbox: &Inbox| inbox.ack_for(&TREND, 2).unwrap();
    assert_eq!((ack(&inbox).cumulative, ack(&inbox).settled.is_empty()), (0, true));
    inbox.commit(late).unwrap();
    assert_eq!((ack(&inbox).cumulative, ack(&inbox).stream), (0, 2));
    assert!(ack(&inbox).settles(2) && ack(&inbox).settles(3) && !ack(&inbox).settles(0));
    assert_eq!(inbox.offer(TREND, 2, 2), Offer::Repeated);
    inbox.release(early).unwrap();
    assert_eq!(ack(&inbox).cumulative, 0);
    let (early, _) = deliver(&mut inbox, 0, 2);
    inbox.commit(early).unwrap();
    assert_eq!(ack(&inbox).cumulative, 4);
    assert_eq!(inbox.offer(TREND, 0, 4), Offer::Repeated);
}

#[test]
fn stale_batch_numbers_are_harmless() {
    let mut first = inbox();
    let (batch, _) = deliver(&mut first, 0, 1);
    assert_eq!(first.mark(batch), first.release(batch));
    let (_, _) = deliver(&mut first, 0, 1);
    assert_eq!((first.mark(batch), first.commit(batch), first.release(batch)), (None, None, None));
    let mut second = Inbox::new(first.ledger().clone(), 1);
    let (_, _) = deliver(&mut second, 5, 1);
    assert_eq!(second.commit(batch), None, "of another generation");
    assert_eq!(second.outstanding(), 1);
}

//= SPEC.md#ledger
//= type=test
//# A backend MUST discard a Records frame with a sequence that is 256 or more above the cumulative one of its stream.
#[test]
fn discards_what_its_ledger_could_not_keep() {
    let mut inbox = inbox();
    assert_eq!(inbox.offer(TREND, LEDGER_WINDOW - 1, 2), Offer::Outside);
    assert_eq!(inbox.offer(TREND, u64::MAX, 64), Offer::Outside);
    let (batch, _) = deliver(&mut inbox, LEDGER_WINDOW - 1, 1);
    inbox.commit(batch).unwrap();
    assert!(inbox.ack_for(&TREND, 0).unwrap().settles(LEDGER_WINDOW - 1));
    let (batch, _) = deliver(&mut inbox, 0, 1);
    inbox.commit(batch).unwrap();
    deliver(&mut inbox, LEDGER_WINDOW, 1);
}

//= SPEC.md#commit
//= type=test
//# A backend MUST keep room for at least 16 batches of the alarm lane that no other lane takes.
#[test]
fn is_bounded_and_keeps_room_for_alarms() {
    let mut inbox = inbox();
    let bulk = MAX_OUTSTANDING_BATCHES - ALARM_BATCHES;
    for id in 0..bulk as u64 {
        assert_eq!(inbox.room(Lane::Trend), bulk - id as usize);
        deliver(&mut inbox, id, 1);
    }
    assert_eq!(inbox.offer(TREND, bulk as u64, 1), Offer::Full);
    assert_eq!(inbox.offer(TREND, 0, bulk as u8), Offer::Awaiting);
    for id in 0..ALARM_BATCHES as u64 {
        assert!(matches!(inbox.offer(key(1, Lane::Alarm), id, 1), Offer::Deliver { .. }));
    }
    assert_eq!(inbox.offer(key(1, Lane::Alarm), ALARM_BATCHES as u64, 1), Offer::Full);
    assert_eq!(usize::from(inbox.credit()), bulk);
    inbox.handle_session();
    assert_eq!(inbox.credit(), 0, "all room is taken by what an earlier session brought");
}

//= SPEC.md#stream-names
//= type=test
//# A backend MUST take every sequence below the oldest one that a Streams frame names as settled.
//= SPEC.md#stream-names
//= type=test
//# A backend MUST keep the ledger state of a stream until a complete Streams frame names no stream of its boot.
#[test]
fn streams_frames_settle_open_and_close() {
    let mut inbox = Inbox::new(Ledger::default(), 0);
    assert_eq!(inbox.offer(TREND, 0, 1), Offer::Unnamed);
    let trend = |oldest| [StreamEntry { index: 0, lane: Lane::Trend, oldest }];
    let name = |inbox: &mut Inbox, complete, boot, oldest| {
        with_streams(complete, &[(boot, TAG, &trend(oldest))], |frame| inbox.handle_streams(frame))
    };
    assert_eq!(name(&mut inbox, true, 1, 40), Named::default());
    assert_eq!(inbox.offer(TREND, 38, 2), Offer::Repeated);
    let (batch, fresh) = deliver(&mut inbox, 38, 3);
    assert_eq!((fresh, inbox.mark(batch).unwrap().settled_below), (0b100, 40));
    name(&mut inbox, true, 1, 20);
    assert_eq!(inbox.ledger().stream(&TREND).unwrap().cumulative(), 40, "never backward");
    name(&mut inbox, false, 2, 0);
    assert_eq!(inbox.ledger().streams().len(), 2);
    let alarm = [StreamEntry { index: 1, lane: Lane::Alarm, oldest: 0 }];
    with_streams(true, &[(1, TAG, &alarm), (2, TAG, &trend(0))], |frame| inbox.handle_streams(frame));
    assert_eq!(inbox.offer(TREND, 38, 2), Offer::Repeated, "another stream of its boot was named");
    name(&mut inbox, true, 2, 0);
    assert_eq!(inbox.offer(TREND, 40, 1), Offer::Unnamed);
    // The batch of the closed stream still ends well, and opens nothing.
    assert_eq!(inbox.commit(batch).map(|mark| mark.mask), Some(0b100));
    assert_eq!(inbox.ledger().streams().len(), 1);
}

//= SPEC.md#ledger
//= type=test
//# A backend MUST hand out a closed stream with every batch that it delivers until one of these is committed.
#[test]
fn hands_out_closed_streams_until_a_batch_with_them_is_committed() {
    let event = |oldest| [StreamEntry { index: 1, lane: Lane::Event, oldest }];
    let trend = [StreamEntry { index: 0, lane: Lane::Trend, oldest: 0 }];
    let name = |inbox: &mut Inbox, boot, entries: &[StreamEntry]| {
        with_streams(true, &[(boot, TAG, entries)], |frame| inbox.handle_streams(frame));
    };
    let closed = |inbox: &Inbox| inbox.closed().collect::<Vec<_>>();
    let mut known = Ledger::default();
    known.apply(&Mark { stream: key(0, Lane::Event), settled_below: 3, first: 5, mask: 0b11 }).unwrap();
    let mut inbox = Inbox::new(known, 0);
    let (end, stream) = (7, key(0, Lane::Event));
    name(&mut inbox, 1, &trend);
    assert_eq!(closed(&inbox), [ClosedStream { stream, end }]);
    let (with, _) = deliver(&mut inbox, 0, 1);
    let (released, _) = deliver(&mut inbox, 1, 1);
    inbox.release(released).unwrap();
    assert_eq!(closed(&inbox).len(), 1, "a batch that was not stored has told nobody");
    // Another one is closed while the first batch waits.
    name(&mut inbox, 0, &event(9));
    let later = [ClosedStream { stream, end }, ClosedStream { stream: TREND, end: 0 }];
    assert_eq!(closed(&inbox), later);
    inbox.commit(with).unwrap();
    assert_eq!(closed(&inbox), later[1..], "that batch came without it");
    // The stream that was opened again and closed again has another end.
    name(&mut inbox, 1, &trend);
    assert_eq!(closed(&inbox)[1], ClosedStream { stream, end: 9 });
    let (all, _) = deliver(&mut inbox, 2, 1);
    inbox.commit(all).unwrap();
    assert!(closed(&inbox).is_empty());
    for boot in 10..200 {
        name(&mut inbox, boot, &event(0));
    }
    assert_eq!(closed(&inbox).len(), MAX_LEDGER_STREAMS, "bounded, whatever a device says");
}

#[test]
fn reports_one_boot_with_two_tags_and_a_full_ledger() {
    let mut inbox = Inbox::new(Ledger::default(), 0);
    let other = BootTag([9; 4]);
    let trend = |index| [StreamEntry { index, lane: Lane::Trend, oldest: 0 }];
    let named = with_streams(true, &[(3, TAG, &trend(0))], |frame| inbox.handle_streams(frame));
    assert_eq!(named.conflict, None);
    let named = with_streams(true, &[(3, other, &trend(0))], |frame| inbox.handle_streams(frame));
    assert_eq!(named.conflict, Some(TagConflict { boot: 3, known: TAG, named: other }));
    let both: [(u32, BootTag, &[StreamEntry]); 2] = [(4, TAG, &trend(0)), (4, other, &trend(1))];
    let named = with_streams(true, &both, |frame| inbox.handle_streams(frame));
    assert_eq!(named.conflict, Some(TagConflict { boot: 4, known: TAG, named: other }));
    for boot in 100..100 + MAX_LEDGER_STREAMS as u32 - 2 {
        let named = with_streams(false, &[(boot, TAG, &trend(0))], |frame| inbox.handle_streams(frame));
        assert_eq!(named, Named::default());
    }
    let named = with_streams(false, &[(999, TAG, &trend(0))], |frame| inbox.handle_streams(frame));
    assert_eq!(named.refused, 1);
}

//= SPEC.md#stream-names
//= type=test
//# A backend MUST treat a Streams frame that gives an index another stream or set, or a stream with the same set another index, than an earlier one of the session as malformed.
//= SPEC.md#stream-names
//= type=test
//# A backend MUST ignore a Streams frame in a packet whose counter is below that of another Streams frame of the session, but for its indices.
#[test]
fn indices_never_change_within_a_session() {
    let mut table = StreamTable::default();
    let entry = |index, lane| StreamEntry { index, lane, oldest: 0 };
    let mut take = |packet, boot, entries: &[StreamEntry]| {
        with_streams(true, &[(boot, TAG, entries)], |frame| table.handle_streams(packet, frame))
    };
    assert_eq!(take(5, 1, &[entry(0, Lane::Alarm), entry(1, Lane::Trend)]), StreamsCheck::Taken);
    assert_eq!(take(5, 1, &[entry(1, Lane::Trend)]), StreamsCheck::Taken);
    assert_eq!(take(4, 1, &[entry(2, Lane::Waveform)]), StreamsCheck::Overtaken);
    assert_eq!(take(6, 1, &[entry(1, Lane::Event)]), StreamsCheck::Contradiction);
    assert_eq!(take(6, 1, &[entry(3, Lane::Trend)]), StreamsCheck::Contradiction);
    assert_eq!(take(6, 2, &[entry(1, Lane::Trend)]), StreamsCheck::Contradiction, "of another boot");
    let twice: [(u32, BootTag, &[StreamEntry]); 2] =
        [(7, TAG, &[entry(8, Lane::Trend)]), (7, TAG, &[entry(9, Lane::Trend)])];
    let check = with_streams(true, &twice, |frame| table.handle_streams(9, frame));
    assert_eq!(check, StreamsCheck::Contradiction);
    assert_eq!(table.get(2).map(|known| known.key), Some(key(1, Lane::Waveform)));
    assert_eq!(table.get(15), None);
}

#[test]
fn a_stream_has_an_index_per_set() {
    let mut table = StreamTable::default();
    let mut take = |packet, index, set: u8| {
        let entry = StreamEntry { index, lane: Lane::Trend, oldest: 0 };
        let boots = [(1, TAG, SetHash([set; 16]), &[entry][..])];
        with_sets(true, &boots, |frame| table.handle_streams(packet, frame))
    };
    assert_eq!(take(1, 2, 7), StreamsCheck::Taken);
    assert_eq!(take(2, 6, 8), StreamsCheck::Taken, "the set has grown");
    assert_eq!(take(3, 2, 8), StreamsCheck::Contradiction, "an index has another set");
    assert_eq!(take(3, 10, 8), StreamsCheck::Contradiction, "a stream has two indices with one set");
    assert_eq!(take(1, 2, 7), StreamsCheck::Overtaken);
    let indices = |table: &StreamTable| table.iter().map(|known| known.index).collect::<Vec<_>>();
    assert_eq!(indices(&table), [2, 6], "an overtaken frame says nothing of what is newest");
    let set = |index| table.get(index).map(|known| known.set);
    assert_eq!((set(2), set(6)), (Some(SetHash([7; 16])), Some(SetHash([8; 16]))));
}

#[derive(Clone, Debug)]
enum Step {
    Offer { first: u64, count: u8 },
    Commit(usize),
    Release(usize),
    Oldest(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..300u64, 1..=64u8).prop_map(|(first, count)| Step::Offer { first, count }),
        3 => (0..100usize).prop_map(Step::Commit),
        1 => (0..100usize).prop_map(Step::Release),
        1 => (0..200u64).prop_map(Step::Oldest),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn equals_sets_of_ids(steps in proptest::collection::vec(step(), 0..200)) {
        let mut inbox = inbox();
        let mut settled = BTreeSet::new();
        let mut waiting: BTreeMap<BatchNumber, BTreeSet<u64>> = BTreeMap::new();
        let mut all_batches = Vec::new();
        for step in steps {
            match step {
                Step::Offer { first, count } => {
                    let cumulative = (0u64..).find(|id| !settled.contains(id)).unwrap();
                    let first = cumulative.saturating_sub(40) + first;
                    let ids: BTreeSet<u64> = (first..first + u64::from(count)).collect();
                    let unsettled: BTreeSet<u64> = ids.difference(&settled).copied().collect();
                    let fresh: BTreeSet<u64> =
                        unsettled.iter().filter(|id| !waiting.values().any(|ids| ids.contains(id))).copied().collect();
                    match inbox.offer(TREND, first, count) {
                        Offer::Deliver { batch, fresh: mask } => {
                            let delivered: BTreeSet<u64> =
                                (0..64).filter(|bit| mask >> bit & 1 == 1).map(|bit| first + bit).collect();
                            prop_assert!(!fresh.is_empty());
                            prop_assert_eq!(&delivered, &fresh, "each fresh id, and no other");
                            prop_assert!(waiting.insert(batch, delivered).is_none());
                            all_batches.push(batch);
                        }
                        Offer::Repeated => prop_assert!(unsettled.is_empty()),
                        Offer::Awaiting => prop_assert!(fresh.is_empty() && !unsettled.is_empty()),
                        Offer::Outside => prop_assert!(*ids.last().unwrap() >= cumulative + LEDGER_WINDOW),
                        Offer::Full => prop_assert_eq!(waiting.len(), MAX_OUTSTANDING_BATCHES - ALARM_BATCHES),
                        Offer::Unnamed => prop_assert!(false, "it was named"),
                    }
                }
                Step::Commit(at) if !all_batches.is_empty() => {
                    let batch = all_batches[at % all_batches.len()];
                    let ids = waiting.remove(&batch);
                    prop_assert_eq!(inbox.commit(batch).is_some(), ids.is_some());
                    settled.extend(ids.into_iter().flatten());
                }
                Step::Release(at) if !all_batches.is_empty() => {
                    let batch = all_batches[at % all_batches.len()];
                    prop_assert_eq!(inbox.release(batch).is_some(), waiting.remove(&batch).is_some());
                }
                Step::Oldest(oldest) => {
                    let entry = [StreamEntry { index: 0, lane: Lane::Trend, oldest }];
                    with_streams(false, &[(1, TAG, &entry)], |frame| inbox.handle_streams(frame));
                    settled.extend(0..oldest);
                }
                Step::Commit(_) | Step::Release(_) => {}
            }
            prop_assert_eq!(inbox.outstanding(), waiting.len());
            let ack = inbox.ack_for(&TREND, 0).unwrap();
            for id in 0..800 {
                prop_assert_eq!(ack.settles(id), settled.contains(&id));
            }
        }
    }
}
