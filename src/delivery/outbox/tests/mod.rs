//! Single rules here, random sequences against a naive model in `model`.

mod full;
mod model;

use super::*;
use crate::codec::BufferTooSmall;
use crate::framing::{RecordsFrame, Settled};
use crate::limits::{LEDGER_WINDOW, MAX_BATCH_RECORDS, MAX_RECORD, MAX_RTO};

const fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn shares(each: usize) -> LaneShares {
    LaneShares { alarm: each, event: each, trend: each, waveform: each }
}

fn accept(outbox: &mut Outbox<'_>, now: Instant, lane: Lane, record: &[u8]) -> Result<Accepted, CallError> {
    let mut tx = outbox.begin(now, lane);
    tx.append_bytes(now, record)?;
    Ok(tx.commit())
}

fn accept_many(outbox: &mut Outbox<'_>, now: Instant, lane: Lane, count: u32) {
    for index in 0..count {
        accept(outbox, now, lane, &index.to_le_bytes()).unwrap();
    }
}

#[derive(Debug)]
struct Sent {
    first: u64,
    count: u8,
}

/// Cuts and books one batch.
fn send(outbox: &mut Outbox<'_>, now: Instant, lane: Lane, space: usize) -> Option<Sent> {
    let mut body = vec![0u8; space];
    let batch = outbox.next_batch(lane, lane.code(), &mut body)?;
    let frame = RecordsFrame::parse(&body[..batch.len]).unwrap();
    assert_eq!((frame.first, frame.count, frame.stream), (batch.first, batch.count, lane.code()));
    outbox.book(now, batch, 0);
    Some(Sent { first: batch.first, count: batch.count })
}

fn cumulative(cumulative: u64) -> StreamAck {
    StreamAck { stream: 0, cumulative, settled: Settled::NONE }
}

//= SPEC.md#record-ids
//= type=test
//# A device MUST give consecutive sequences, from 0, to the records of a stream, in the order in which it accepts them.
#[test]
fn accepts_all_or_nothing_with_consecutive_sequences() {
    let mut memory = [0u8; 400];
    let mut outbox = Outbox::new(&mut memory, shares(100)).unwrap();
    for expected in [0, 2, 4] {
        let mut tx = outbox.begin(at(1), Lane::Trend);
        tx.append_bytes(at(1), &[1; 4]).unwrap();
        tx.append_bytes(at(2), &[2; 4]).unwrap();
        assert_eq!(tx.count(), 2);
        drop(tx);
        let mut tx = outbox.begin(at(1), Lane::Trend);
        tx.append_bytes(at(1), &[1; 4]).unwrap();
        tx.append_bytes(at(2), &[2; 4]).unwrap();
        assert_eq!(tx.commit(), Accepted { lane: Lane::Trend, first: expected, count: 2 });
    }
    let before = outbox.fill(Lane::Trend);
    let mut tx = outbox.begin(at(1), Lane::Trend);
    tx.append_bytes(at(1), &[1; 4]).unwrap();
    tx.append_bytes(at(1), &[1; 4]).unwrap();
    assert_eq!(tx.append_bytes(at(1), &[1; 5]), Err(CallError::LaneFull));
    drop(tx);
    assert_eq!(outbox.fill(Lane::Trend), before);
    assert_eq!(accept(&mut outbox, at(1), Lane::Event, &[7]).unwrap().first, 0, "each lane counts by itself");
}

#[test]
fn records_up_to_the_limit_and_the_lane_fit() {
    let mut memory = vec![0u8; 3000];
    let lanes = LaneShares { alarm: 20, event: 0, trend: 1900, waveform: 1032 };
    let mut outbox = Outbox::new(&mut memory, lanes).unwrap();
    for (lane, fits) in [(Lane::Alarm, 12), (Lane::Trend, MAX_RECORD), (Lane::Waveform, MAX_RECORD)] {
        assert_eq!(accept(&mut outbox, at(0), lane, &vec![0; fits + 1]), Err(CallError::RecordTooLong));
        assert!(accept(&mut outbox, at(0), lane, &vec![9; fits]).is_ok());
        assert_eq!(accept(&mut outbox, at(0), lane, &vec![0; fits]), Err(CallError::LaneFull));
        assert_eq!(accept(&mut outbox, at(0), lane, &vec![0; fits + 1]), Err(CallError::RecordTooLong));
    }
    assert_eq!(accept(&mut outbox, at(0), Lane::Event, &[1]), Err(CallError::RecordTooLong));
    assert_eq!(accept(&mut outbox, at(0), Lane::Alarm, &[]), Err(CallError::BadRecord));
    assert_eq!(outbox.fill(Lane::Waveform).used, 1032);
}

#[test]
fn an_encoder_that_fails_or_lies_changes_nothing() {
    let mut memory = [0u8; 400];
    let mut outbox = Outbox::new(&mut memory, shares(100)).unwrap();
    let mut tx = outbox.begin(at(0), Lane::Event);
    assert_eq!(tx.append(at(0), |_| Err(CallError::BadRecord)), Err(CallError::BadRecord));
    assert_eq!(tx.append(at(0), |space| Ok(space.len() + 1)), Err(CallError::RecordTooLong));
    let short = |space: &mut [u8]| Err(BufferTooSmall { needed: space.len() + 1 }.into());
    assert_eq!(tx.append(at(0), short), Err(CallError::RecordTooLong), "the lane never has more");
    tx.append_bytes(at(0), &[1]).unwrap();
    assert_eq!(tx.append(at(0), short), Err(CallError::LaneFull));
    assert_eq!(tx.commit().count, 1);
}

//= SPEC.md#batches
//= type=test
//# A device MUST prefer an alarm that is ready to any other record, an event to a trend, and a trend to a waveform.
#[test]
fn an_alarm_goes_with_the_next_batch_and_has_its_own_space() {
    let mut memory = vec![0u8; 40_000];
    let mut outbox = Outbox::new(&mut memory, shares(10_000)).unwrap();
    outbox.handle_credit(u16::MAX);
    for lane in [Lane::Waveform, Lane::Trend, Lane::Event] {
        while accept(&mut outbox, at(0), lane, &[3; 50]).is_ok() {}
        assert_eq!(outbox.ready_lane(at(0), 100), Some(lane));
    }
    while let Some(lane) = outbox.ready_lane(at(0), 100) {
        send(&mut outbox, at(0), lane, 100).unwrap();
    }
    for _ in 0..ALARM_FLIGHTS {
        assert!(accept(&mut outbox, at(0), Lane::Alarm, &[1; 20]).is_ok());
        assert_eq!(outbox.ready_lane(at(0), 100), Some(Lane::Alarm));
        assert_eq!(send(&mut outbox, at(0), Lane::Alarm, 100).map(|batch| batch.count), Some(1));
    }
    accept(&mut outbox, at(0), Lane::Alarm, &[1; 20]).unwrap();
    assert_eq!(outbox.ready_lane(at(0), 100), None, "all flights are taken");
}

#[test]
fn no_lane_sends_when_alarms_hold_every_flight() {
    let mut memory = vec![0u8; 40_000];
    let mut outbox = Outbox::new(&mut memory, shares(10_000)).unwrap();
    accept_many(&mut outbox, at(0), Lane::Alarm, 40);
    accept_many(&mut outbox, at(0), Lane::Trend, 1);
    for _ in 0..MAX_FLIGHTS {
        send(&mut outbox, at(0), Lane::Alarm, 12).unwrap();
    }
    assert_eq!((outbox.ready_lane(at(0), 100), outbox.poll_ready(100)), (None, None));
    assert!(send(&mut outbox, at(0), Lane::Trend, 100).is_none());
    outbox.handle_ack(at(0), Lane::Alarm, &cumulative(1));
    assert_eq!(outbox.ready_lane(at(0), 100), Some(Lane::Alarm));
}

//= SPEC.md#batches
//= type=test
//# A device MUST NOT have more Records frames of other lanes than alarm in flight than the latest Credit says, or one where it says 0.
#[test]
fn credit_bounds_all_lanes_but_alarm() {
    for (credit, allowed) in [(0, 1), (1, 1), (3, 3), (24, 24), (25, 24), (u16::MAX, 24)] {
        let mut memory = vec![0u8; 40_000];
        let mut outbox = Outbox::new(&mut memory, shares(10_000)).unwrap();
        outbox.handle_credit(credit);
        accept_many(&mut outbox, at(0), Lane::Event, 20);
        accept_many(&mut outbox, at(0), Lane::Trend, 20);
        accept_many(&mut outbox, at(0), Lane::Alarm, 1);
        let mut sent = 0;
        while outbox.ready_lane(at(0), 100).is_some_and(|lane| send(&mut outbox, at(0), lane, 12).is_some()) {
            sent += 1;
        }
        assert_eq!(sent, allowed + 1, "and one alarm");
    }
}

//= SPEC.md#ledger
//= type=test
//# A device MUST NOT send a sequence that is 256 or more above the oldest unsettled one of its stream.
#[test]
fn never_sends_beyond_the_ledger_window() {
    let mut memory = vec![0u8; 40_000];
    let mut outbox = Outbox::new(&mut memory, shares(10_000)).unwrap();
    accept_many(&mut outbox, at(0), Lane::Event, 300);
    let mut highest = 0;
    while let Some(batch) = send(&mut outbox, at(0), Lane::Event, 1000) {
        assert!(usize::from(batch.count) <= MAX_BATCH_RECORDS);
        highest = batch.first + u64::from(batch.count) - 1;
    }
    assert_eq!(highest, LEDGER_WINDOW - 1);
    outbox.handle_ack(at(1), Lane::Event, &cumulative(1));
    let batch = send(&mut outbox, at(1), Lane::Event, 1000).unwrap();
    assert_eq!((batch.first, batch.count), (LEDGER_WINDOW, 1));
}

//= SPEC.md#acknowledgement
//= type=test
//# A device MUST ignore what an Ack says about a stream if it names a sequence of it that was never sent.
#[test]
fn never_settles_what_was_never_sent() {
    let mut memory = [0u8; 4000];
    let mut outbox = Outbox::new(&mut memory, shares(1000)).unwrap();
    assert_eq!(outbox.handle_ack(at(0), Lane::Event, &cumulative(1)), AckOutcome::Contradiction);
    accept_many(&mut outbox, at(0), Lane::Event, 3);
    assert_eq!(outbox.handle_ack(at(0), Lane::Event, &cumulative(1)), AckOutcome::Contradiction);
    // stream, first, count, time, record of 4, difference of time, record of 4
    assert_eq!(send(&mut outbox, at(0), Lane::Event, 13).map(|batch| batch.count), Some(2));
    let mut settled = Settled::NONE;
    settled.insert(1);
    let third = StreamAck { stream: 0, cumulative: 0, settled };
    for nonsense in [cumulative(3), cumulative(u64::MAX), third] {
        assert_eq!(outbox.handle_ack(at(0), Lane::Event, &nonsense), AckOutcome::Contradiction);
    }
    assert_eq!(outbox.handle_refused(Lane::Event, 2, 64), 0);
    assert_eq!(outbox.handle_ack(at(0), Lane::Trend, &cumulative(1)), AckOutcome::Contradiction);
    assert_eq!(outbox.fill(Lane::Event).records, 3);
    assert_eq!(outbox.handle_ack(at(0), Lane::Event, &cumulative(2)), AckOutcome::Settled(2));
    assert_eq!(outbox.handle_ack(at(0), Lane::Event, &cumulative(2)), AckOutcome::Settled(0));
}

//= SPEC.md#acknowledgement
//= type=test
//# A device MUST keep a record until it is acknowledged, refused or given up.
//= SPEC.md#retransmission
//= type=test
//# The wait of a flight that is not overtaken MUST double with each of the first two repetitions of a record, and with each expiry since the last measurement or the beginning of the session, up to 60 s.
#[test]
fn sends_again_with_doubling_waits_until_acknowledged() {
    let mut memory = [0u8; 400];
    let mut outbox = Outbox::new(&mut memory, shares(100)).unwrap();
    accept_many(&mut outbox, at(0), Lane::Trend, 1);
    let mut now = at(0);
    for doubling in 0..40u32 {
        assert!(send(&mut outbox, now, Lane::Trend, 100).is_some());
        assert!(send(&mut outbox, now, Lane::Trend, 100).is_none());
        let wait = outbox.poll_timeout().unwrap().since(now);
        assert_eq!(wait, Duration::from_secs(1 << doubling.min(16)).min(MAX_RTO));
        assert_eq!(outbox.handle_timeout(now + Duration::from_millis(wait.as_millis() - 1)), 0);
        now = now + wait;
        assert_eq!(outbox.handle_timeout(now), 1);
    }
    assert_eq!(
        outbox.handle_ack(now, Lane::Trend, &cumulative(1)),
        AckOutcome::Settled(1),
        "a late Ack counts"
    );
    assert!(outbox.is_empty() && !outbox.is_in_flight());
}

#[test]
fn an_overtaken_batch_does_not_wait_twice_as_long() {
    let mut memory = [0u8; 4000];
    let mut outbox = Outbox::new(&mut memory, shares(1000)).unwrap();
    // SRTT 80 ms, RTTVAR 40 ms: a time-out of 240 ms, and a reorder time of 40 ms
    accept_many(&mut outbox, at(0), Lane::Trend, 1);
    send(&mut outbox, at(0), Lane::Trend, 9).unwrap();
    outbox.handle_ack(at(80), Lane::Trend, &cumulative(1));
    // a trend expires, so that everything waits 480 ms
    accept_many(&mut outbox, at(1000), Lane::Trend, 1);
    send(&mut outbox, at(1000), Lane::Trend, 9).unwrap();
    assert_eq!(outbox.handle_timeout(at(1240)), 1);
    let record = |outbox: &mut Outbox<'_>, millis, lane| {
        accept_many(outbox, at(millis), lane, 1);
        send(outbox, at(millis), lane, 9).unwrap();
    };
    send(&mut outbox, at(1240), Lane::Trend, 9).unwrap();
    record(&mut outbox, 1260, Lane::Alarm);
    record(&mut outbox, 1281, Lane::Event);
    assert_eq!(outbox.poll_timeout(), Some(at(1240 + 480)));
    // an alarm that was sent 20 ms later says nothing of the trend
    outbox.handle_ack(at(1340), Lane::Alarm, &cumulative(1));
    assert_eq!(outbox.poll_timeout(), Some(at(1240 + 480)));
    // an event that was sent 41 ms later does; the measurements of 80 ms make RTTVAR 30 and 22 ms
    outbox.handle_ack(at(1361), Lane::Event, &cumulative(1));
    assert_eq!(outbox.poll_timeout(), Some(at(1240 + 200)));
    assert_eq!(outbox.handle_timeout(at(1439)), 0);
    assert_eq!(outbox.handle_timeout(at(1440)), 1);
    assert_eq!(outbox.time_out(), Duration::from_millis(200), "nothing has doubled");
    // what was sent twice overtakes nothing, as its Ack may be that of the first time
    record(&mut outbox, 1380, Lane::Event);
    send(&mut outbox, at(1440), Lane::Trend, 9).unwrap();
    let usual = outbox.poll_timeout();
    outbox.handle_ack(at(1450), Lane::Trend, &cumulative(2));
    assert_eq!(outbox.poll_timeout(), usual);
}

#[test]
fn jitter_prolongs_the_wait_by_up_to_a_half() {
    for (jitter, millis) in [(0, 1000), (1 << 31, 1250), (u32::MAX, 1499)] {
        let mut memory = [0u8; 400];
        let mut outbox = Outbox::new(&mut memory, shares(100)).unwrap();
        accept_many(&mut outbox, at(0), Lane::Trend, 1);
        let batch = outbox.next_batch(Lane::Trend, 2, &mut [0; 100]).unwrap();
        outbox.book(at(0), batch, jitter);
        assert_eq!(outbox.poll_timeout(), Some(at(millis)));
    }
}

//= SPEC.md#retransmission
//= type=test
//# A device MUST NOT measure a round-trip time on a record that it sent more than once, or that is acknowledged after its wait is over.
#[test]
fn measures_only_records_sent_once_and_acknowledged_in_time() {
    let mut memory = [0u8; 4000];
    let mut outbox = Outbox::new(&mut memory, shares(1000)).unwrap();
    accept_many(&mut outbox, at(0), Lane::Trend, 1);
    send(&mut outbox, at(0), Lane::Trend, 100).unwrap();
    // The device slept: the Ack waited in the radio.
    outbox.handle_ack(at(1_200_000), Lane::Trend, &cumulative(1));
    assert_eq!(outbox.round_trip(), None);

    accept_many(&mut outbox, at(0), Lane::Trend, 1);
    send(&mut outbox, at(2_000_000), Lane::Trend, 100).unwrap();
    outbox.handle_timeout(at(2_005_000));
    send(&mut outbox, at(2_005_000), Lane::Trend, 100).unwrap();
    outbox.handle_ack(at(2_005_010), Lane::Trend, &cumulative(2));
    assert_eq!(outbox.round_trip(), None);

    accept_many(&mut outbox, at(0), Lane::Trend, 2);
    send(&mut outbox, at(3_000_000), Lane::Trend, 9).unwrap();
    send(&mut outbox, at(3_000_300), Lane::Trend, 9).unwrap();
    outbox.handle_ack(at(3_000_400), Lane::Trend, &cumulative(4));
    assert_eq!(outbox.round_trip(), Some(Duration::from_millis(100)), "the latest of what one Ack settles");
}

//= SPEC.md#retransmission
//= type=test
//# A device MUST queue every record in flight again when a new session begins.
#[test]
fn a_lost_session_puts_everything_back_at_once_and_keeps_the_measurement() {
    let mut memory = [0u8; 4000];
    let mut outbox = Outbox::new(&mut memory, shares(1000)).unwrap();
    accept_many(&mut outbox, at(0), Lane::Trend, 3);
    send(&mut outbox, at(0), Lane::Trend, 9).unwrap();
    outbox.handle_ack(at(50), Lane::Trend, &cumulative(1));
    send(&mut outbox, at(60), Lane::Trend, 100).unwrap();
    outbox.streams_sent(at(60), Lane::ALL);
    assert_eq!(outbox.handle_session_lost(), 2);
    assert_eq!(outbox.fill(Lane::Trend).queued, 2);
    assert_eq!(outbox.round_trip(), Some(Duration::from_millis(50)));
    assert!(outbox.streams_due(at(60)));
    assert_eq!(outbox.ready_lane(at(60), 100), Some(Lane::Trend));
    // The backend may have committed them before: a late Ack in the new session still counts.
    assert_eq!(outbox.handle_ack(at(70), Lane::Trend, &cumulative(3)), AckOutcome::Settled(2));
    assert!(outbox.is_empty());
    assert_eq!(outbox.ready_lane(at(70), 100), None);
}

#[test]
fn equal_and_backward_time_is_harmless() {
    let mut memory = [0u8; 4000];
    let mut outbox = Outbox::new(&mut memory, shares(1000)).unwrap();
    outbox.set_linger(Lane::Trend, Duration::from_secs(5));
    accept_many(&mut outbox, at(1_000_000), Lane::Event, 1);
    accept_many(&mut outbox, at(1_000_000), Lane::Trend, 1);
    send(&mut outbox, at(1_000_000), Lane::Event, 100).unwrap();
    assert_eq!(outbox.handle_timeout(at(0)), 0);
    assert_eq!(outbox.poll_timeout(), Some(at(1000)), "no farther away than it was");
    assert_eq!(outbox.poll_ready(100), Some(at(5000)));
    assert_eq!(outbox.longest_wait(at(0), Lane::Trend), Some(Duration::ZERO));
    assert_eq!(outbox.handle_timeout(at(1000)), 1);
    assert_eq!(outbox.handle_timeout(Instant::FAR_FUTURE), 0);
}

#[test]
fn lingers_until_old_enough_or_a_packet_is_full() {
    let mut memory = [0u8; 4000];
    let mut outbox = Outbox::new(&mut memory, shares(1000)).unwrap();
    outbox.set_linger(Lane::Trend, Duration::from_millis(200));
    accept_many(&mut outbox, at(0), Lane::Trend, 1);
    accept_many(&mut outbox, at(150), Lane::Trend, 1);
    assert_eq!((outbox.ready_lane(at(199), 50), outbox.poll_ready(50)), (None, Some(at(200))));
    assert_eq!(outbox.ready_lane(at(200), 50), Some(Lane::Trend));
    assert_eq!(outbox.ready_lane(at(0), 14), Some(Lane::Trend), "a small packet is full");
    send(&mut outbox, at(200), Lane::Trend, 50).unwrap();
    outbox.handle_timeout(at(60_000));
    assert_eq!(outbox.ready_lane(at(60_000), 50), Some(Lane::Trend), "what is sent again does not linger");
    assert_eq!(outbox.ready_lane(at(60_000), 7), None, "nothing fits");
}

#[test]
fn a_record_that_does_not_fit_the_packet_does_not_hold_up_other_lanes() {
    let mut memory = [0u8; 4000];
    let mut outbox = Outbox::new(&mut memory, shares(1000)).unwrap();
    accept(&mut outbox, at(0), Lane::Alarm, &[1; 200]).unwrap();
    accept(&mut outbox, at(0), Lane::Trend, &[2; 20]).unwrap();
    assert_eq!(outbox.ready_lane(at(0), 100), Some(Lane::Trend));
    assert_eq!(outbox.ready_lane(at(0), 300), Some(Lane::Alarm));
}

//= SPEC.md#stream-names
//= type=test
//# A device MUST send a Streams frame before the first Records frame of a stream in a session, and repeat it until an Ack of that session names the stream.
#[test]
fn names_a_stream_until_the_backend_has_heard() {
    let mut memory = [0u8; 4000];
    let mut outbox = Outbox::new(&mut memory, shares(1000)).unwrap();
    assert!(!outbox.streams_due(at(0)) && outbox.streams().next().is_none());
    accept_many(&mut outbox, at(0), Lane::Trend, 2);
    assert!(outbox.streams_due(at(0)));
    assert_eq!(outbox.streams().collect::<Vec<_>>(), [(Lane::Trend, 0)]);
    outbox.streams_sent(at(0), Lane::ALL);
    assert!(!outbox.streams_due(at(999)));
    assert!(outbox.streams_due(at(1000)), "a time-out later");
    outbox.streams_sent(at(1000), Lane::ALL);
    accept_many(&mut outbox, at(1000), Lane::Alarm, 1);
    assert!(outbox.streams_due(at(1000)), "the alarm lane is new");
    outbox.streams_sent(at(1000), Lane::ALL);
    for lane in [Lane::Alarm, Lane::Trend] {
        outbox.handle_ack(at(1100), lane, &cumulative(0));
    }
    assert!(!outbox.streams_due(at(100_000)));
    outbox.handle_session_lost();
    assert!(outbox.streams_due(at(1100)));
}

//= SPEC.md#refused-records
//= type=test
//# A device MUST NOT send a refused record again.
//= SPEC.md#refused-records
//= type=test
//# A device MUST then name the stream's new oldest sequence in a Streams frame, repeated until an Ack has passed the refused ones.
#[test]
fn names_the_new_oldest_after_a_refusal() {
    let mut memory = [0u8; 4000];
    let mut outbox = Outbox::new(&mut memory, shares(1000)).unwrap();
    accept_many(&mut outbox, at(0), Lane::Event, 4);
    outbox.streams_sent(at(0), Lane::ALL);
    send(&mut outbox, at(0), Lane::Event, 100).unwrap();
    outbox.handle_ack(at(0), Lane::Event, &cumulative(1));
    assert!(!outbox.streams_due(at(5000)));
    assert_eq!(outbox.handle_refused(Lane::Event, 1, 2), 2);
    assert_eq!(outbox.handle_refused(Lane::Event, 1, 2), 0, "a second copy does nothing");
    assert_eq!(outbox.handle_timeout(at(5000)), 1, "only the fourth record is still in flight");
    assert!(outbox.streams_due(at(0)));
    assert_eq!(outbox.streams().collect::<Vec<_>>(), [(Lane::Event, 3)]);
    outbox.streams_sent(at(0), Lane::ALL);
    outbox.handle_ack(at(0), Lane::Event, &cumulative(1));
    assert!(outbox.streams_due(at(5000)), "the backend has not moved");
    outbox.handle_ack(at(5000), Lane::Event, &cumulative(3));
    assert!(!outbox.streams_due(at(50_000)));
    assert_eq!(outbox.fill(Lane::Event).records, 1);
}

#[test]
fn a_batch_that_is_not_booked_was_never_sent() {
    let mut memory = [0u8; 4000];
    let mut outbox = Outbox::new(&mut memory, shares(1000)).unwrap();
    accept_many(&mut outbox, at(0), Lane::Event, 2);
    let batch = outbox.next_batch(Lane::Event, 1, &mut [0; 100]).unwrap();
    assert_eq!(outbox.next_batch(Lane::Event, 1, &mut [0; 100]), Some(batch));
    assert_eq!(outbox.handle_ack(at(0), Lane::Event, &cumulative(1)), AckOutcome::Contradiction);
    assert!(!outbox.is_in_flight());
    outbox.book(at(0), batch, 0);
    outbox.handle_ack(at(0), Lane::Event, &cumulative(1));
    outbox.book(at(0), batch, 0);
    assert_eq!(
        outbox.fill(Lane::Event),
        LaneFill { records: 1, queued: 0, used: 12, capacity: 1000, dropped: 0, gaps: 0 }
    );
}

#[test]
fn an_outbox_is_small_besides_its_memory() {
    assert!(size_of::<Outbox<'_>>() <= 4352, "{} bytes", size_of::<Outbox<'_>>());
}
