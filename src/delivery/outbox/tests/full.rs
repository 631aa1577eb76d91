//! Full lanes: what is given up, and that gap records tell of it.

use super::*;
use crate::codec::Reader;
use crate::framing::{Gap, GapReason};
use crate::limits::{DROP_SHARE, MIN_DROPPING_LANE};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What a gap record's head looks like.
const GAP: u8 = 6 << 5;

/// Takes a batch apart: sequences and records. A record but a gap begins with its length.
fn records(body: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let frame = RecordsFrame::parse(body).unwrap();
    let mut reader = Reader::new(frame.bytes);
    let mut records = Vec::new();
    for index in 0..u64::from(frame.count) {
        if index > 0 {
            reader.signed().unwrap();
        }
        let len = match reader.clone().rest().first() {
            Some(&GAP) => Gap::peek(reader.clone().rest()).unwrap().encode(&mut [0; 30]).unwrap(),
            Some(&len) => len.into(),
            None => panic!("a record is missing"),
        };
        records.push((frame.first + index, reader.bytes(len).unwrap().to_vec()));
    }
    reader.finish().unwrap();
    records
}

fn named(gap: &Gap) -> Range<u64> {
    assert_eq!((gap.lane, gap.reason), (None, GapReason::OutboxFull));
    gap.first..gap.first + gap.count
}

/// An outbox of which the trend lane drops the oldest.
fn dropping(memory: &mut [u8], trend: usize) -> Outbox<'_> {
    let lanes = LaneShares { alarm: 200, event: 200, trend, waveform: 200 };
    let mut outbox = Outbox::new(memory, lanes).unwrap();
    outbox.set_policy(Lane::Trend, LanePolicy::DropOldest).unwrap();
    outbox
}

/// A record of 20 bytes, 28 with its header.
fn trend(outbox: &mut Outbox<'_>, now: Instant) -> u64 {
    accept(outbox, now, Lane::Trend, &[20; 20]).unwrap().first
}

//= SPEC.md#full-lanes
//= type=test
//# A device MUST NOT give up a record of the alarm lane.
#[test]
fn alarms_are_refused_never_dropped_and_events_never_thinned() {
    let mut memory = [0u8; 4000];
    let mut outbox = Outbox::new(&mut memory, shares(1000)).unwrap();
    for policy in [LanePolicy::DropOldest, LanePolicy::Thin] {
        assert!(matches!(outbox.set_policy(Lane::Alarm, policy), Err(CallError::InvalidConfig(_))));
    }
    assert!(outbox.set_policy(Lane::Alarm, LanePolicy::Refuse).is_ok());
    assert!(matches!(outbox.set_policy(Lane::Event, LanePolicy::Thin), Err(CallError::InvalidConfig(_))));
    assert!(outbox.set_policy(Lane::Event, LanePolicy::DropOldest).is_ok());
    let mut accepted = 0;
    while accept(&mut outbox, at(0), Lane::Alarm, &[20; 20]).is_ok() {
        accepted += 1;
    }
    assert_eq!(accept(&mut outbox, at(0), Lane::Alarm, &[20; 20]), Err(CallError::LaneFull));
    let fill = outbox.fill(Lane::Alarm);
    assert_eq!((fill.records, fill.dropped), (accepted, 0));
}

#[test]
fn a_lane_without_room_for_gaps_refuses() {
    for (bytes, drops) in [(MIN_DROPPING_LANE - 1, false), (MIN_DROPPING_LANE, true)] {
        let mut memory = [0u8; 1000];
        let mut outbox = dropping(&mut memory, bytes);
        for _ in 0..MIN_DROPPING_LANE / 28 {
            let _ = accept(&mut outbox, at(0), Lane::Trend, &[20; 20]);
        }
        let result = accept(&mut outbox, at(0), Lane::Trend, &[20; 20]);
        assert_eq!(result.is_ok(), drops);
        assert_eq!(result.is_err(), result == Err(CallError::LaneFull));
    }
}

//= SPEC.md#full-lanes
//= type=test
//# A device MUST name each record that it gives up in a gap record, unless the record is acknowledged in its flight.
#[test]
fn ten_thousand_drops_make_one_gap_record() {
    let mut memory = [0u8; 3400];
    let mut outbox = dropping(&mut memory, 2800);
    let mut accepted = Vec::new();
    for minute in 0..10_200 {
        accepted.push(trend(&mut outbox, at(minute)));
        if minute % 7 == 0 {
            outbox.handle_timeout(at(minute));
        }
    }
    assert!(outbox.fill(Lane::Trend).dropped > 10_000);
    let (mut gaps, mut told, mut now) = (Vec::new(), BTreeSet::new(), 20_000);
    while !outbox.is_empty() {
        now += 10;
        outbox.handle_timeout(at(now));
        let mut body = [0u8; 400];
        let batch = outbox.next_batch(Lane::Trend, 0, &mut body).unwrap();
        outbox.book(at(now), batch, 0);
        for (sequence, record) in records(&body[..batch.len]) {
            told.insert(sequence);
            if record[0] == GAP {
                let range = named(&Gap::peek(&record).unwrap());
                assert!(!range.contains(&sequence));
                gaps.push(range);
            }
        }
        outbox.handle_ack(at(now), Lane::Trend, &cumulative(batch.first + u64::from(batch.count)));
    }
    assert!(gaps.len() <= 2, "{gaps:?}");
    for id in accepted {
        let named = gaps.iter().filter(|range| range.contains(&id)).count();
        assert_eq!(named + usize::from(told.contains(&id)), 1, "{id}");
    }
}

#[test]
fn a_drop_frees_an_eighth_of_the_lane_and_counts() {
    let mut memory = [0u8; 3400];
    let mut outbox = dropping(&mut memory, 2800);
    for _ in 0..100 {
        trend(&mut outbox, at(0));
    }
    assert_eq!(outbox.fill(Lane::Trend).used, 2800);
    assert_eq!(trend(&mut outbox, at(0)), 100);
    let dropped = 2800usize.div_ceil(DROP_SHARE).div_ceil(28) as u32;
    let fill = outbox.fill(Lane::Trend);
    assert_eq!((fill.records, fill.dropped, fill.gaps), (101 - dropped, u64::from(dropped), 1));
    assert_eq!(outbox.poll_notice(), Some(LaneNotice::NearlyFull(Lane::Trend)));
    let notice = LaneNotice::Dropped { lane: Lane::Trend, first: 0, count: dropped };
    assert_eq!(outbox.poll_notice(), Some(notice));
    assert_eq!(outbox.poll_notice(), None);
    // from three quarters down to a half, nothing is new
    let mut notices = Vec::new();
    while outbox.fill(Lane::Trend).records > 0 {
        outbox.handle_timeout(at(0));
        let Some(batch) = send(&mut outbox, at(0), Lane::Trend, 100) else { panic!("nothing to send") };
        outbox.handle_ack(at(0), Lane::Trend, &cumulative(batch.first + u64::from(batch.count)));
        notices.extend(outbox.poll_notice().map(|notice| (notice, outbox.fill(Lane::Trend).used)));
    }
    let [(LaneNotice::Eased(Lane::Trend), used)] = notices[..] else { panic!("{notices:?}") };
    assert!((1200..=1400).contains(&used), "{used}");
}

//= SPEC.md#full-lanes
//= type=test
//# A device MUST then name the stream's new oldest sequence in a Streams frame, repeated until an Ack has passed what was given up.
//= SPEC.md#full-lanes
//= type=test
//# A device MUST NOT name an oldest sequence of a stream that is above one in flight, given up or not.
#[test]
fn what_is_given_up_in_flight_is_lost_only_if_no_ack_comes() {
    for answered in [true, false] {
        let mut memory = [0u8; 3400];
        let mut outbox = dropping(&mut memory, 2800);
        for _ in 0..100 {
            trend(&mut outbox, at(0));
        }
        // records 0 to 3 are in flight
        outbox.streams_sent(at(0), Lane::ALL);
        assert_eq!(send(&mut outbox, at(0), Lane::Trend, 100).unwrap().count, 4);
        outbox.handle_ack(at(0), Lane::Trend, &cumulative(0));
        trend(&mut outbox, at(0));
        let oldest = 100 + 1 - u64::from(outbox.fill(Lane::Trend).records);
        assert_eq!(oldest, 13);
        assert_eq!(outbox.fill(Lane::Trend).dropped, 9);
        assert_eq!(outbox.streams().collect::<Vec<_>>(), [(Lane::Trend, 0)]);
        assert!(!outbox.streams_due(at(1)), "nothing new to name");
        let lost = if answered {
            assert_eq!(outbox.handle_ack(at(1), Lane::Trend, &cumulative(4)), AckOutcome::Settled(0));
            4..13
        } else {
            outbox.handle_timeout(at(1000));
            0..13
        };
        assert_eq!(outbox.fill(Lane::Trend).dropped, lost.end - lost.start);
        assert_eq!(outbox.streams().collect::<Vec<_>>(), [(Lane::Trend, 13)]);
        assert!(outbox.streams_due(at(1)), "the ledger has to pass what was given up");
        outbox.streams_sent(at(1000), Lane::ALL);
        assert!(!outbox.streams_due(at(1000)) && !outbox.is_named(Lane::Trend));
        assert_eq!(outbox.handle_ack(at(1000), Lane::Trend, &cumulative(13)), AckOutcome::Settled(0));
        assert!(outbox.is_named(Lane::Trend));
        outbox.handle_timeout(at(1000));
        let mut gap = None;
        while let Some(batch) = outbox.next_batch(Lane::Trend, 0, &mut [0; 300]) {
            let mut body = [0; 300];
            outbox.book(at(1000), outbox.next_batch(Lane::Trend, 0, &mut body).unwrap(), 0);
            gap = gap.or(records(&body[..batch.len]).iter().find_map(|(_, record)| Gap::peek(record)));
        }
        assert_eq!(gap.map(|gap| named(&gap)), Some(lost));
    }
}

#[test]
fn thousands_of_drops_do_not_stop_the_window() {
    let mut memory = [0u8; 3400];
    let mut outbox = dropping(&mut memory, 2800);
    trend(&mut outbox, at(0));
    send(&mut outbox, at(0), Lane::Trend, 100).unwrap();
    for _ in 0..5000 {
        trend(&mut outbox, at(0));
    }
    // The first one is in flight still: nothing above 255 may go.
    assert_eq!((outbox.ready_lane(at(0), 100), outbox.streams().next()), (None, Some((Lane::Trend, 0))));
    outbox.handle_timeout(at(1000));
    let oldest = outbox.streams().next().unwrap().1;
    assert!(oldest > 4000);
    assert_eq!(send(&mut outbox, at(1000), Lane::Trend, 100).unwrap().first, oldest);
    // The backend has heard the name, and settled all below.
    assert_eq!(outbox.handle_ack(at(1000), Lane::Trend, &cumulative(oldest)), AckOutcome::Settled(0));
}

#[test]
fn a_thinning_lane_takes_fewer_the_fuller_it_is() {
    let mut memory = [0u8; 3400];
    let mut outbox = dropping(&mut memory, 2800);
    outbox.set_policy(Lane::Trend, LanePolicy::Thin).unwrap();
    let mut changes = vec![(0, 1)];
    for count in 1..=100 {
        trend(&mut outbox, at(0));
        let thinning = outbox.thinning(Lane::Trend);
        if changes.last().unwrap().1 != thinning {
            changes.push((count, thinning));
        }
    }
    assert_eq!(changes, [(0, 1), (50, 2), (75, 4), (88, 8)]);
    trend(&mut outbox, at(0));
    assert!(outbox.fill(Lane::Trend).dropped > 0, "and drops when it is full");
    assert_eq!(outbox.thinning(Lane::Event), 1);
}

#[test]
fn a_transaction_that_makes_room_keeps_what_it_staged() {
    let mut memory = [0u8; 3400];
    let mut outbox = dropping(&mut memory, 2800);
    for _ in 0..97 {
        trend(&mut outbox, at(0));
    }
    for commit in [false, true] {
        let mut tx = outbox.begin(at(0), Lane::Trend);
        for number in 0..90u8 {
            tx.append_bytes(at(number.into()), &[number; 20]).unwrap();
        }
        if commit {
            let accepted = tx.commit();
            assert_eq!((accepted.first, accepted.count), (97, 90));
        }
    }
    let mut tx = outbox.begin(at(0), Lane::Trend);
    let staged = (0..200).take_while(|_| tx.append_bytes(at(0), &[1; 20]).is_ok()).count();
    assert_eq!(staged, 100, "more than the lane holds is refused");
    drop(tx);
    for _ in 0..3 {
        assert!(accept(&mut outbox, at(0), Lane::Trend, &[1; 1000]).is_ok());
    }
}

#[derive(Clone, Debug)]
enum Step {
    Accept { many: u8, len: u8 },
    Send { space: usize },
    Arrive { which: usize },
    Lose { which: usize },
    Ack,
    Pass { millis: u64 },
    SessionLost,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..12u8, 8..32u8).prop_map(|(many, len)| Step::Accept { many, len }),
        6 => (40..300usize).prop_map(|space| Step::Send { space }),
        5 => any::<usize>().prop_map(|which| Step::Arrive { which }),
        1 => any::<usize>().prop_map(|which| Step::Lose { which }),
        4 => Just(Step::Ack),
        3 => (0..1500u64).prop_map(|millis| Step::Pass { millis }),
        1 => Just(Step::SessionLost),
    ]
}

/// A packet on its way.
struct Packet {
    number: u64,
    session: u32,
    oldest: Option<u64>,
    records: Vec<(u64, Vec<u8>)>,
}

/// The naive backend: a set of settled ids and what was delivered.
#[derive(Default)]
struct Backend {
    settled: BTreeSet<u64>,
    below: u64,
    newest_name: (u32, u64),
    delivered: BTreeMap<u64, Vec<u8>>,
    gaps: Vec<(u64, Range<u64>)>,
    session: u32,
}

impl Backend {
    fn arrive(&mut self, packet: Packet) {
        if packet.session != self.session {
            return;
        }
        if let Some(oldest) = packet.oldest
            && (packet.session, packet.number) >= self.newest_name
        {
            self.newest_name = (packet.session, packet.number);
            self.below = self.below.max(oldest);
        }
        for (sequence, record) in packet.records {
            self.advance();
            if sequence >= self.below + LEDGER_WINDOW
                || sequence < self.below
                || !self.settled.insert(sequence)
            {
                continue;
            }
            if record[0] == GAP {
                self.gaps.push((sequence, named(&Gap::peek(&record).unwrap())));
            } else {
                assert!(self.delivered.insert(sequence, record).is_none());
            }
        }
        self.advance();
    }

    fn advance(&mut self) {
        self.settled = self.settled.split_off(&self.below);
        while self.settled.remove(&self.below) {
            self.below += 1;
        }
    }

    fn ack(&self) -> StreamAck {
        let mut settled = Settled::NONE;
        for sequence in &self.settled {
            settled.insert((sequence - self.below - 1) as u8);
        }
        StreamAck { stream: 2, cumulative: self.below, settled }
    }
}

#[derive(Default)]
struct Trial {
    now: u64,
    packets: u64,
    session: u32,
    air: Vec<Packet>,
    backend: Backend,
    accepted: BTreeMap<u64, Vec<u8>>,
    /// What was delivered, and acknowledged while the device still had it.
    heard: BTreeSet<u64>,
    /// There were so many gaps at once that some may have become one, with what is between them.
    loose: bool,
}

impl Trial {
    fn send(&mut self, outbox: &mut Outbox<'_>, space: usize) -> bool {
        outbox.handle_timeout(at(self.now));
        let mut body = vec![0u8; space];
        let due = outbox.streams_due(at(self.now)) || !outbox.is_named(Lane::Trend);
        let oldest = due.then(|| outbox.streams().next().map(|(_, oldest)| oldest)).flatten();
        let cut = outbox.next_batch(Lane::Trend, 2, &mut body);
        if oldest.is_some() {
            outbox.streams_sent(at(self.now), [Lane::Trend]);
        }
        let sent = cut.map(|batch| records(&body[..batch.len])).unwrap_or_default();
        if let Some(batch) = cut {
            outbox.book(at(self.now), batch, u32::MAX / 2);
        }
        self.packets += 1;
        let packet = Packet { number: self.packets, session: self.session, oldest, records: sent };
        self.air.push(packet);
        cut.is_some()
    }

    fn ack(&mut self, outbox: &mut Outbox<'_>) {
        let ack = self.backend.ack();
        let kept_from = outbox.lanes.of(Lane::Trend).ring().first();
        let outcome = outbox.handle_ack(at(self.now), Lane::Trend, &ack);
        assert!(matches!(outcome, AckOutcome::Settled(_)), "{ack:?}");
        let kept = self.backend.delivered.keys().filter(|sequence| **sequence >= kept_from);
        self.heard.extend(kept.filter(|sequence| ack.settles(**sequence)));
    }

    fn step(&mut self, outbox: &mut Outbox<'_>, step: Step) {
        match step {
            Step::Accept { many, len } => {
                for _ in 0..many {
                    let mut record = vec![self.accepted.len() as u8; len.into()];
                    record[0] = len;
                    let accepted = accept(outbox, at(self.now), Lane::Trend, &record);
                    let sequence = accepted.expect("there is always room").first;
                    assert!(self.accepted.insert(sequence, record).is_none());
                }
            }
            Step::Send { space } => {
                self.send(outbox, space);
            }
            Step::Arrive { which } if !self.air.is_empty() => {
                let packet = self.air.swap_remove(which % self.air.len());
                self.backend.arrive(packet);
            }
            Step::Lose { which } if !self.air.is_empty() => {
                self.air.swap_remove(which % self.air.len());
            }
            Step::Arrive { .. } | Step::Lose { .. } => {}
            Step::Ack => self.ack(outbox),
            Step::Pass { millis } => {
                self.now += millis;
                outbox.handle_timeout(at(self.now));
            }
            Step::SessionLost => {
                outbox.handle_session_lost();
                self.session += 1;
                self.backend.session = self.session;
            }
        }
    }

    fn finish(&mut self, outbox: &mut Outbox<'_>) {
        for round in 0.. {
            assert!(round < 1000, "it does not end: {:?}", outbox.fill(Lane::Trend));
            while self.send(outbox, 300) {}
            for packet in std::mem::take(&mut self.air) {
                self.backend.arrive(packet);
            }
            self.ack(outbox);
            if outbox.is_empty() {
                self.loose = outbox.lanes.of(Lane::Trend).given_up.is_blurred();
                return;
            }
            self.now += 1000;
        }
    }

    fn check(&self) {
        let Backend { delivered, gaps, .. } = &self.backend;
        // A gap record that was given up after it was sent: a later one names it and all that it names.
        let stands = |own: u64| !gaps.iter().any(|(_, range)| range.contains(&own));
        for (own, range) in gaps {
            assert!(range.end <= *own && !self.accepted.contains_key(own), "a gap names what came before it");
        }
        for (sequence, record) in &self.accepted {
            let naming = || gaps.iter().filter(|(_, range)| range.contains(sequence));
            let covered = naming().count();
            let exact = naming().filter(|(own, _)| stands(*own)).count();
            assert!(self.loose || exact == covered.min(1), "{sequence} is named {exact} times: {gaps:?}");
            match delivered.get(sequence) {
                Some(copy) => assert_eq!(copy, record),
                None => assert!(covered > 0, "{sequence} is neither delivered nor named: {gaps:?}"),
            }
            if !self.loose {
                assert!(
                    covered == 0 || !self.heard.contains(sequence),
                    "{sequence} was acknowledged, and is named"
                );
            }
        }
        assert!(delivered.keys().all(|sequence| self.accepted.contains_key(sequence)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    //= SPEC.md#full-lanes
    //= type=test
    //# A device that gives up a gap record MUST cover all that it names, and itself, with a later one.
    #[test]
    fn every_record_is_delivered_once_or_named_by_a_gap(steps in proptest::collection::vec(step(), 0..250)) {
        let mut memory = vec![0u8; 1400];
        let mut outbox = dropping(&mut memory, 800);
        let mut trial = Trial::default();
        for step in steps {
            trial.step(&mut outbox, step);
        }
        trial.finish(&mut outbox);
        trial.check();
    }
}
