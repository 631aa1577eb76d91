use super::super::ring::RecordState;
use super::*;
use crate::codec::Reader;
use proptest::prelude::*;
use std::collections::VecDeque;

#[derive(Clone, Debug)]
enum Step {
    Accept { lane: usize, lengths: Vec<usize>, commit: bool },
    Send { lane: usize, space: usize, book: bool },
    Ack { lane: usize, up: u64, bits: Vec<u8> },
    Refuse { lane: usize, up: u64, count: u8 },
    Pass { millis: u64 },
    SessionLost,
    Credit(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let lane = || 0..4usize;
    prop_oneof![
        6 => (lane(), proptest::collection::vec(1..70usize, 1..5), any::<bool>())
            .prop_map(|(lane, lengths, commit)| Step::Accept { lane, lengths, commit }),
        6 => (lane(), 5..300usize, proptest::bool::weighted(0.8))
            .prop_map(|(lane, space, book)| Step::Send { lane, space, book }),
        5 => (lane(), 0..8u64, proptest::collection::vec(0..12u8, 0..6))
            .prop_map(|(lane, up, bits)| Step::Ack { lane, up, bits }),
        1 => (lane(), 0..4u64, 1..6u8).prop_map(|(lane, up, count)| Step::Refuse { lane, up, count }),
        3 => (0..3000u64).prop_map(|millis| Step::Pass { millis }),
        1 => Just(Step::SessionLost),
        1 => (0..30u16).prop_map(Step::Credit),
    ]
}

#[derive(Clone, Debug)]
struct Kept {
    sequence: u64,
    time: u64,
    bytes: Vec<u8>,
    state: RecordState,
    sent: Option<u64>,
}

#[derive(Default)]
struct Model {
    lanes: [VecDeque<Kept>; 4],
    next: [u64; 4],
    sent_end: [u64; 4],
}

impl Model {
    fn oldest(&self, lane: usize) -> u64 {
        self.lanes[lane].front().map_or(self.next[lane], |kept| kept.sequence)
    }

    fn settle(&mut self, lane: usize, settled: impl Fn(u64) -> bool) -> u32 {
        let mut count = 0;
        for kept in &mut self.lanes[lane] {
            if kept.sent.is_some() && kept.state != RecordState::Settled && settled(kept.sequence) {
                kept.state = RecordState::Settled;
                count += 1;
            }
        }
        while self.lanes[lane].front().is_some_and(|kept| kept.state == RecordState::Settled) {
            self.lanes[lane].pop_front();
        }
        count
    }

    /// Takes over which records went back to the queue, and checks that they were in flight, long enough.
    fn take_requeued(&mut self, outbox: &Outbox<'_>, now: u64, least: u64) -> u32 {
        let mut count = 0;
        for lane in Lane::ALL {
            let ring = outbox.lanes.of(lane).ring();
            for (kept, (_, entry)) in self.lanes[lane.index()].iter_mut().zip(ring.walk(ring.oldest())) {
                if kept.state == RecordState::InFlight && entry.state == RecordState::Queued {
                    assert!(now - kept.sent.unwrap() >= least);
                    kept.state = RecordState::Queued;
                    count += 1;
                }
            }
        }
        count
    }

    fn check(&self, outbox: &Outbox<'_>) {
        let mut in_flight = 0;
        for lane in Lane::ALL {
            let queue = outbox.lanes.of(lane);
            let ring = queue.ring();
            let kept = &self.lanes[lane.index()];
            assert_eq!(ring.walk(ring.oldest()).count(), kept.len());
            for (kept, (cursor, entry)) in kept.iter().zip(ring.walk(ring.oldest())) {
                assert_eq!((cursor.sequence, entry.state), (kept.sequence, kept.state));
                assert_eq!((entry.time, ring.record(entry)), (at(kept.time), &*kept.bytes));
                assert_eq!(entry.sends > 0, kept.sent.is_some());
            }
            let fill = outbox.fill(lane);
            let queued: Vec<_> = kept.iter().filter(|kept| kept.state == RecordState::Queued).collect();
            assert_eq!((fill.records as usize, fill.queued as usize), (kept.len(), queued.len()));
            assert!(fill.used <= fill.capacity);
            assert!(fill.used >= kept.iter().map(|kept| kept.bytes.len() + 8).sum());
            assert_eq!(
                outbox.streams().find(|(named, _)| *named == lane).map(|(_, oldest)| oldest),
                (self.next[lane.index()] > 0).then(|| self.oldest(lane.index()))
            );
            in_flight += kept.iter().filter(|kept| kept.state == RecordState::InFlight).count();
            // A lane with something to send says so, whatever happened before.
            let sendable =
                queued.first().is_some_and(|kept| kept.sequence < self.oldest(lane.index()) + LEDGER_WINDOW);
            assert_eq!(outbox.lanes.of(lane).ready_at(2000).is_some(), sendable);
        }
        let flights: Vec<_> = outbox.flights.iter().collect();
        let pending: usize = flights.iter().map(|flight| flight.pending.count_ones() as usize).sum();
        assert_eq!(pending, in_flight, "each record in flight is in exactly one flight");
        assert!(flights.iter().all(|flight| flight.pending != 0) && flights.len() <= MAX_FLIGHTS);
        assert_eq!(outbox.is_in_flight(), in_flight > 0);
    }
}

fn run(steps: Vec<Step>) {
    const SHARES: LaneShares = LaneShares { alarm: 90, event: 200, trend: 333, waveform: 3000 };
    let mut memory = vec![0xaa; 3623 + 10];
    let mut outbox = Outbox::new(&mut memory, SHARES).unwrap();
    let mut model = Model::default();
    let (mut now, mut fill) = (5u64, 0u8);
    for step in steps {
        match step {
            Step::Accept { lane: l, lengths, commit } => {
                let lane = Lane::ALL[l];
                let mut staged = Vec::new();
                let empty = model.lanes[l].is_empty();
                let mut tx = outbox.begin(at(now), lane);
                let mut failed = false;
                for len in lengths {
                    fill = fill.wrapping_add(1);
                    let bytes = vec![fill; len];
                    match tx.append_bytes(at(now + u64::from(fill % 3)), &bytes) {
                        Ok(()) => staged.push((now + u64::from(fill % 3), bytes)),
                        Err(error) => {
                            assert_eq!(error, CallError::LaneFull);
                            assert!(!empty || !staged.is_empty(), "an empty lane takes any record");
                            failed = true;
                            break;
                        }
                    }
                }
                if commit && !failed {
                    let accepted = tx.commit();
                    assert_eq!((accepted.first, accepted.count as usize), (model.next[l], staged.len()));
                    for (time, bytes) in staged {
                        let (sequence, state) = (model.next[l], RecordState::Queued);
                        model.lanes[l].push_back(Kept { sequence, time, bytes, state, sent: None });
                        model.next[l] += 1;
                    }
                }
            }
            Step::Send { lane: l, space, book } => {
                let lane = Lane::ALL[l];
                let mut body = vec![0u8; space];
                let bulk = outbox.flights.iter().filter(|flight| flight.queue.lane() != Lane::Alarm).count();
                let flights = outbox.flights.iter().count();
                let Some(batch) = outbox.next_batch(lane, 5, &mut body) else { continue };
                assert!(flights < MAX_FLIGHTS);
                assert!(lane == Lane::Alarm || bulk < usize::from(outbox.credit.max(1)).min(24));
                let frame = RecordsFrame::parse(&body[..batch.len]).unwrap();
                let oldest = model.oldest(l);
                let start = model.lanes[l].iter().position(|kept| kept.state == RecordState::Queued).unwrap();
                let (mut reader, mut time) = (Reader::new(frame.bytes), frame.base.as_millis());
                assert_eq!(frame.first, model.lanes[l][start].sequence, "the oldest queued one comes first");
                for index in 0..usize::from(batch.count) {
                    let kept = &mut model.lanes[l][start + index];
                    assert_eq!(kept.sequence, frame.first + index as u64, "consecutive");
                    assert!(kept.sequence < oldest + LEDGER_WINDOW);
                    assert_eq!(kept.state, RecordState::Queued);
                    if index > 0 {
                        time = time.checked_add_signed(reader.signed().unwrap()).unwrap();
                    }
                    assert_eq!((time, reader.bytes(kept.bytes.len()).unwrap()), (kept.time, &*kept.bytes));
                    if book {
                        (kept.state, kept.sent) = (RecordState::InFlight, Some(now));
                    }
                }
                assert!(reader.is_empty());
                if book {
                    outbox.book(at(now), batch, u32::MAX / 3);
                    model.sent_end[l] = model.sent_end[l].max(frame.first + u64::from(batch.count));
                }
            }
            Step::Ack { lane: l, up, bits } => {
                let mut settled = Settled::NONE;
                bits.iter().for_each(|bit| settled.insert(*bit));
                let ack =
                    StreamAck { stream: 5, cumulative: model.oldest(l).saturating_sub(2) + up, settled };
                let highest =
                    bits.iter().max().map_or(ack.cumulative, |bit| ack.cumulative + u64::from(*bit) + 2);
                let outcome = outbox.handle_ack(at(now), Lane::ALL[l], &ack);
                if highest > model.sent_end[l] {
                    assert_eq!(outcome, AckOutcome::Contradiction);
                } else {
                    assert_eq!(
                        outcome,
                        AckOutcome::Settled(model.settle(l, |sequence| ack.settles(sequence)))
                    );
                }
            }
            Step::Refuse { lane: l, up, count } => {
                let first = model.oldest(l) + up;
                let gone = first..first + u64::from(count);
                let refused = outbox.handle_refused(Lane::ALL[l], first, count);
                assert_eq!(refused, model.settle(l, |sequence| gone.contains(&sequence)));
            }
            Step::Pass { millis } => {
                now += millis;
                let requeued = outbox.handle_timeout(at(now));
                assert_eq!(requeued, model.take_requeued(&outbox, now, 200));
                assert!(outbox.poll_timeout().is_none_or(|deadline| deadline > at(now)));
            }
            Step::SessionLost => {
                let requeued = outbox.handle_session_lost();
                assert_eq!(requeued, model.take_requeued(&outbox, now, 0));
                assert!(!outbox.is_in_flight());
            }
            Step::Credit(credit) => outbox.handle_credit(credit),
        }
        model.check(&outbox);
    }
    assert_eq!(memory[3623..], [0xaa; 10], "nothing is written outside the shares");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn equals_the_naive_model(steps in proptest::collection::vec(step(), 0..150)) {
        run(steps);
    }
}
