//! What the application's ledger forgets, and when: closings and marks, stored in any order.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Of two boots, as closing is by the boot.
const STREAMS: [StreamKey; 2] = [key(1, Lane::Event), key(2, Lane::Trend)];

#[derive(Clone, Debug)]
enum Step {
    Record(usize),
    /// A complete Streams frame.
    Name,
    Offer(usize),
    /// Stores one of the batches that wait, and commits it.
    Store(usize),
    /// The device hears how far a lane has come.
    Ack(usize),
    /// The backend begins again with what is stored.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let lane = 0..STREAMS.len();
    prop_oneof![
        3 => lane.clone().prop_map(Step::Record),
        1 => Just(Step::Name),
        4 => lane.clone().prop_map(Step::Offer),
        3 => (0..8usize).prop_map(Step::Store),
        3 => lane.prop_map(Step::Ack),
        1 => Just(Step::Restart),
    ]
}

struct World {
    next: [u64; 2],
    outbox: [BTreeSet<u64>; 2],
    inbox: Inbox,
    waiting: Vec<(BatchNumber, Vec<ClosedStream>)>,
    durable: Ledger,
    stored: BTreeSet<(Lane, u64)>,
    restarts: u32,
}

impl World {
    /// Names the streams that have something, and only those.
    fn name(&mut self) {
        let streams = STREAMS.into_iter().zip(&self.outbox).zip(0u8..);
        let entries: Vec<_> = streams
            .filter_map(|((stream, outbox), index)| {
                let oldest = *outbox.first()?;
                Some((stream.boot, [StreamEntry { index, lane: stream.lane, oldest }]))
            })
            .collect();
        let boots: Vec<_> = entries.iter().map(|(boot, entry)| (*boot, TAG, &entry[..])).collect();
        if !boots.is_empty() {
            with_streams(true, &boots, |frame| self.inbox.handle_streams(frame));
        }
    }

    fn offer(&mut self, lane: usize) {
        let Some(&first) = self.outbox[lane].first() else { return };
        if self.inbox.ledger().stream(&STREAMS[lane]).is_none() {
            self.name();
        }
        let run = self.outbox[lane].iter().zip(first..).take_while(|(id, at)| *id == at).take(64).count();
        if let Offer::Deliver { batch, .. } = self.inbox.offer(STREAMS[lane], first, run as u8) {
            self.waiting.push((batch, self.inbox.closed().collect()));
        }
    }

    /// The application's transaction.
    fn store(&mut self, at: usize) {
        let (batch, closed) = self.waiting.swap_remove(at);
        let mark = self.inbox.mark(batch).unwrap();
        closed.iter().for_each(|closed| self.durable.close(closed));
        let new = self.durable.apply(&mark).unwrap();
        for bit in (0..64).filter(|bit| mask_has(mark.mask, *bit)) {
            let id = (mark.stream.lane, mark.first + bit);
            assert_eq!(self.stored.insert(id), mask_has(new, bit), "{id:?}");
        }
        self.inbox.commit(batch).unwrap();
    }

    fn ack(&mut self, lane: usize) {
        if let Some(ack) = self.inbox.ack_for(&STREAMS[lane], 0) {
            self.outbox[lane].retain(|id| !ack.settles(*id));
        }
    }

    fn restart(&mut self) {
        self.restarts += 1;
        self.inbox = Inbox::new(self.durable.clone(), self.restarts);
        self.waiting.clear();
        self.name();
    }
}

fn mask_has(mask: u64, bit: u64) -> bool {
    mask >> bit & 1 == 1
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn a_ledger_that_forgets_closed_streams_still_tells_each_record_as_new_once(
        steps in proptest::collection::vec(step(), 0..120),
    ) {
        let mut world = World {
            next: [0; 2],
            outbox: Default::default(),
            inbox: Inbox::new(Ledger::default(), 0),
            waiting: Vec::new(),
            durable: Ledger::default(),
            stored: BTreeSet::new(),
            restarts: 0,
        };
        for step in steps {
            match step {
                Step::Record(lane) => {
                    world.outbox[lane].insert(world.next[lane]);
                    world.next[lane] += 1;
                }
                Step::Name => world.name(),
                Step::Offer(lane) => world.offer(lane),
                Step::Store(at) if !world.waiting.is_empty() => world.store(at % world.waiting.len()),
                Step::Store(_) => {}
                Step::Ack(lane) => world.ack(lane),
                Step::Restart => world.restart(),
            }
        }
        // In the end everything arrives.
        world.restart();
        for _ in 0..100 {
            for lane in 0..STREAMS.len() {
                world.offer(lane);
                while !world.waiting.is_empty() {
                    world.store(0);
                }
                world.ack(lane);
            }
        }
        prop_assert!(world.outbox.iter().all(BTreeSet::is_empty));
        let accepted: u64 = world.next.iter().sum();
        prop_assert_eq!(world.stored.len() as u64, accepted);
    }
}
