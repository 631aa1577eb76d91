//! The device's half: records in the caller's bytes, until the backend has settled them.

mod accept;
mod flights;
mod gaps;
mod lane;
mod naming;
mod policy;
mod queue;
mod ring;
mod rtt;
mod shares;
mod stored;

#[cfg(test)]
mod tests;

pub use accept::{Accepted, LaneTx};
pub use policy::{LaneNotice, LanePolicy};
pub use queue::{Backlog, LoadRefusal, Queue, StoredRun};
pub use shares::LaneShares;

use crate::error::CallError;
use crate::framing::{Lane, StreamAck};
use crate::limits::{ALARM_FLIGHTS, INITIAL_CREDIT, MAX_FLIGHTS};
use crate::time::{Duration, Instant};
use flights::{Flight, Flights};
use lane::LaneQueue;
use rtt::RttEstimator;

/// Keeps records from their acceptance until the backend has settled them, and sends them again as often as it takes.
///
/// It owns one ring of the caller's bytes per lane, the retransmission timers and the record ids of the current
/// boot. It knows records as opaque bytes, and nothing of packets and sessions.
///
/// Verbs for the application ([`begin`](Self::begin)), [`next_batch`](Self::next_batch) and
/// [`book`](Self::book) to send, `handle_*` for what the other end and the clock say, `poll_*` for deadlines.
/// No order of calls is illegal. The module's example shows a round.
#[derive(Debug)]
pub struct Outbox<'m> {
    lanes: Lanes<'m>,
    backlogs: Lanes<'m>,
    flights: Flights,
    rtt: RttEstimator,
    credit: u16,
    named_at: Instant,
}

/// A batch that was written but does not count as sent until it is handed to [`Outbox::book`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a batch that is not booked counts as never sent"]
pub struct CutBatch {
    /// Which queue it comes from.
    pub queue: Queue,
    /// The first record's sequence.
    pub first: u64,
    /// How many records, 1 to 64.
    pub count: u8,
    /// The length of the Records frame's body, in bytes.
    pub len: usize,
}

/// What an Ack did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum AckOutcome {
    /// So many records were settled that had not been before; often none.
    Settled(u32),
    /// It names records that were never sent: nothing has changed.
    Contradiction,
}

/// How full a lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LaneFill {
    /// Records in the lane, those included that were settled out of order and wait for older ones.
    pub records: u32,
    /// Records that wait to be sent, or sent again.
    pub queued: u32,
    /// Bytes in use.
    pub used: usize,
    /// The lane's bytes.
    pub capacity: usize,
    /// Records that were given up since the boot, as [`LanePolicy`] says.
    pub dropped: u64,
    /// Gaps of which no record is written yet.
    pub gaps: u32,
}

impl<'m> Outbox<'m> {
    /// Splits `memory` into the lanes.
    ///
    /// # Errors
    /// [`CallError::InvalidConfig`] if the shares are more than the memory.
    pub fn new(memory: &'m mut [u8], shares: LaneShares) -> Result<Self, CallError> {
        let mut outbox = Self::empty();
        outbox.give_memory(memory, shares)?;
        Ok(outbox)
    }

    /// Makes an outbox that has no memory: it takes no record before [`Outbox::give_memory`].
    #[inline(always)] // so that it is made where it is to be
    pub(crate) fn empty() -> Self {
        Self {
            lanes: Lanes::empty(),
            backlogs: Lanes::empty(),
            flights: Flights::new(),
            rtt: RttEstimator::new(),
            credit: INITIAL_CREDIT,
            named_at: Instant::ZERO,
        }
    }

    /// Splits `memory` into the lanes, which must be empty.
    pub(crate) fn give_memory(&mut self, memory: &'m mut [u8], shares: LaneShares) -> Result<(), CallError> {
        self.lanes.give(memory, shares)
    }

    /// Lets records of a lane wait up to `linger` for more of them, to share a packet. Zero at first.
    pub fn set_linger(&mut self, lane: Lane, linger: Duration) {
        self.lanes.of_mut(lane).set_linger(linger);
    }

    /// Starts to accept records, all or none: nothing counts before [`LaneTx::commit`].
    pub fn begin(&mut self, now: Instant, lane: Lane) -> LaneTx<'_, 'm> {
        LaneTx::new(now, lane, self.lanes.of_mut(lane))
    }

    /// Returns the most urgent lane that has something live to send now in a Records frame body of up to `space` bytes.
    ///
    /// A lane is ready when its oldest record has waited for the lane's linger time, when it fills `space`, or
    /// when something is to be sent again. A lane whose next record does not fit is passed over.
    pub fn ready_lane(&self, now: Instant, space: usize) -> Option<Lane> {
        Lane::ALL.iter().copied().find(|&lane| self.is_ready(now, lane, space))
    }

    /// Tells whether a queue has something to send now; see [`Outbox::ready_lane`].
    pub fn is_ready(&self, now: Instant, queue: impl Into<Queue>, space: usize) -> bool {
        self.ready_at(queue.into(), space).is_some_and(|at| at <= now)
    }

    /// Returns when some queue will be ready ([`Outbox::is_ready`]): already past if one is.
    #[inline(never)]
    pub fn poll_ready(&self, space: usize) -> Option<Instant> {
        Queue::ALL.iter().copied().filter_map(|queue| self.ready_at(queue, space)).min()
    }

    fn ready_at(&self, queue: Queue, space: usize) -> Option<Instant> {
        (self.room(queue.lane()) > 0).then(|| self.queue(queue).ready_at(space)).flatten()
    }

    /// Returns how many more batches of this lane may be booked now. All lanes but alarm share theirs, and a batch
    /// of any lane takes from every lane's.
    pub fn room(&self, lane: Lane) -> usize {
        let free = MAX_FLIGHTS.saturating_sub(self.flights.iter().count());
        if lane == Lane::Alarm {
            return free;
        }
        //= SPEC.md#batches
        //# A device MUST NOT have more Records frames of other lanes than alarm in flight than the latest Credit says, or one where it says 0.
        let allowed = usize::from(self.credit.max(1)).min(MAX_FLIGHTS.saturating_sub(ALARM_FLIGHTS));
        let bulk = self.flights.iter().filter(|flight| flight.queue.lane() != Lane::Alarm).count();
        allowed.saturating_sub(bulk).min(free)
    }

    /// Writes the body of a Records frame with the oldest run of queued records of a queue that fits `out`, under
    /// the stream index `stream`.
    ///
    /// Nothing changes: hand the batch to [`Outbox::book`] once its packet is sure to go out, before the next one
    /// is cut. `None` if nothing may be sent or fits.
    pub fn next_batch(&self, queue: impl Into<Queue>, stream: u8, out: &mut [u8]) -> Option<CutBatch> {
        let queue = queue.into();
        if self.room(queue.lane()) == 0 {
            return None;
        }
        let cut = self.queue(queue).cut(stream, out)?;
        Some(CutBatch { queue, first: cut.first, count: cut.count, len: cut.len })
    }

    /// Counts a batch as sent, and starts its timer.
    ///
    /// `jitter` is any random number; it prolongs the time-out by up to a half. Records of the batch that were
    /// settled or booked since it was cut are left alone.
    pub fn book(&mut self, now: Instant, batch: CutBatch, jitter: u32) {
        let CutBatch { queue: from, first, count, .. } = batch;
        let queue = self.queue_mut(from);
        let (pending, sends) = queue.mark_sent(now, first, count);
        if pending == 0 {
            return;
        }
        //= SPEC.md#retransmission
        //# A device MUST wait at least the time-out of RFC 6298, between 200 ms and 60 s, before it sends a record again in the same session, unless the backend has asked for its descriptor set since.
        //# The wait of a flight that is not overtaken MUST double with each of the first two repetitions of a record, and with each expiry since the last measurement or the beginning of the session, up to 60 s.
        let time_out = self.rtt.time_out(sends);
        let prolonged = (time_out.as_millis() / 2).saturating_mul(jitter.into()) >> 32;
        let mut flight = Flight::new(from, first, pending, sends, now);
        flight.set_wait(time_out + Duration::from_millis(prolonged));
        if !self.flights.book(flight) {
            let queue = self.queue_mut(from);
            for sequence in flight.sequences() {
                queue.requeue(sequence, false);
            }
        }
    }

    /// Settles what an Ack of the current session says about the stream of a queue: for a live one also what is in its
    /// backlog.
    #[inline(never)]
    pub fn handle_ack(&mut self, now: Instant, queue: impl Into<Queue>, ack: &StreamAck) -> AckOutcome {
        let queue = queue.into();
        let outcome = self.handle_former_ack(now, queue, ack);
        if outcome != AckOutcome::Contradiction {
            self.queue_mut(queue).hear(ack.cumulative);
        }
        outcome
    }

    /// Settles what an Ack says under a name that the stream had before [`Outbox::handle_renamed`]: it does not show
    /// that the backend knows the present one.
    pub fn handle_former_ack(
        &mut self,
        now: Instant,
        queue: impl Into<Queue>,
        ack: &StreamAck,
    ) -> AckOutcome {
        let queue = queue.into();
        let lane = queue.lane();
        let sister = match queue {
            Queue::Live(_) if self.backlog(lane) == Backlog::Own => Some(Queue::Backlog(lane)),
            _ => None,
        };
        let sister_end = sister.map_or(0, |sister| self.queue(sister).sent_end);
        //= SPEC.md#acknowledgement
        //# A device MUST ignore what an Ack says about a stream if it names a sequence of it that was never sent.
        if self.queue(queue).contradicts(ack, sister_end) {
            return AckOutcome::Contradiction;
        }
        let mut settled = self.settle(now, queue, ack);
        if let Some(sister) = sister {
            settled = settled.saturating_add(self.settle(now, sister, ack));
        }
        if let Queue::Live(_) = queue {
            self.lanes.of_mut(lane).raise_floor(ack.cumulative);
            self.follow_backlog(lane);
        }
        AckOutcome::Settled(settled)
    }

    fn settle(&mut self, now: Instant, queue: Queue, ack: &StreamAck) -> u32 {
        //= SPEC.md#acknowledgement
        //# A device MUST keep a record until it is acknowledged, refused or given up.
        let settled = self.queue_mut(queue).settle(|sequence| ack.settles(sequence));
        //= SPEC.md#retransmission
        //# A device MUST NOT measure a round-trip time on a record that it sent more than once, or that is acknowledged after its wait is over.
        let heard = self.flights.settle(now, queue, ack);
        self.review_held(queue);
        if let Some(sent_at) = heard.in_time {
            self.rtt.sample(now.since(sent_at));
        }
        if let (Some(latest), Some(reorder)) = (heard.latest, self.rtt.reorder()) {
            self.flights.overtake(latest, reorder, self.rtt.undoubled());
        }
        settled
    }

    /// Gives up records that the backend refused for good, and returns how many were given up.
    ///
    /// The next Streams frame then names the stream's new oldest record, and is due at once.
    #[inline(never)]
    pub fn handle_refused(&mut self, queue: impl Into<Queue>, first: u64, count: u8) -> u32 {
        let queue = queue.into();
        let mut refused = self.refuse(queue, first, count.into());
        if let Queue::Live(lane) = queue
            && self.backlog(lane) == Backlog::Own
        {
            refused = refused.saturating_add(self.refuse(Queue::Backlog(lane), first, count.into()));
            self.follow_backlog(lane);
        }
        if refused > 0 {
            //= SPEC.md#refused-records
            //# A device MUST then name the stream's new oldest sequence in a Streams frame, repeated until an Ack has passed the refused ones.
            self.queue_mut(queue).note_refused(first.saturating_add(count.into()));
        }
        refused
    }

    fn refuse(&mut self, queue: Queue, first: u64, count: u64) -> u32 {
        //= SPEC.md#refused-records
        //# A device MUST NOT send a refused record again.
        let refused = self
            .queue_mut(queue)
            .settle(|sequence| sequence.checked_sub(first).is_some_and(|offset| offset < count));
        let held = self.queue(queue).held();
        let given_up = self.flights.forget(queue, first, count, |sequence| held.contains(&sequence));
        self.review_held(queue);
        refused.saturating_add(given_up)
    }

    /// Takes the Credit of the current session: how many Records frames the backend holds, alarms not counted.
    pub fn handle_credit(&mut self, frames: u16) {
        self.credit = frames;
    }

    /// Puts the records of expired flights back into the queue and returns how many. Harmless at any time.
    #[inline(never)]
    pub fn handle_timeout(&mut self, now: Instant) -> u32 {
        self.flights.rebase(now);
        for &queue in &Queue::ALL {
            self.queue_mut(queue).rebase(now);
        }
        let mut requeued = 0u32;
        while let Some(flight) = self.flights.take_one(|flight| flight.deadline() <= now) {
            if !flight.is_overtaken() {
                self.rtt.expired(now, flight.sent_at);
            }
            requeued = requeued.saturating_add(self.requeue(&flight, false));
        }
        for &lane in &Lane::ALL {
            self.lanes.of_mut(lane).write_gaps(now);
        }
        requeued
    }

    /// Lets flights whose wait is over wait for `window` more, once each: their acknowledgement may have waited for the
    /// device to listen, and comes now that it sends something else.
    pub fn excuse(&mut self, now: Instant, window: Duration) {
        self.flights.excuse(now, now + window);
    }

    /// Tells whether a record waits that was never sent.
    pub fn has_fresh(&self) -> bool {
        Lane::ALL.iter().copied().any(|lane| self.lanes.of(lane).has_fresh())
    }

    /// Returns when the next flight expires.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.flights.iter().map(|flight| flight.deadline()).min()
    }

    /// Puts everything in flight back into the queue, as a new session is needed or begins, and returns how many.
    ///
    /// What was measured of the round-trip time is kept; its doublings, credit and what the backend knows of the streams
    /// are not.
    #[inline(never)]
    pub fn handle_session_lost(&mut self) -> u32 {
        //= SPEC.md#retransmission
        //# A device MUST queue every record in flight again when a new session begins.
        let requeued = self.handle_discarded();
        self.rtt.restart();
        self.credit = INITIAL_CREDIT;
        for &queue in &Queue::ALL {
            self.queue_mut(queue).forget_name();
        }
        requeued
    }

    /// Puts everything in flight back into the queue, as the backend most likely had to discard it for want of
    /// the descriptor set, which it has now; returns how many.
    pub fn handle_discarded(&mut self) -> u32 {
        let mut requeued = 0u32;
        while let Some(flight) = self.flights.take_one(|_| true) {
            requeued = requeued.saturating_add(self.requeue(&flight, true));
        }
        requeued
    }

    fn requeue(&mut self, flight: &Flight, forget_backoff: bool) -> u32 {
        let queue = self.queue_mut(flight.queue);
        let mut back = 0u32;
        for sequence in flight.sequences() {
            if queue.requeue(sequence, forget_backoff) {
                back = back.saturating_add(1);
            } else {
                queue.lose_held(sequence);
            }
        }
        self.review_held(flight.queue);
        back
    }

    /// Tells how full a lane is.
    pub fn fill(&self, lane: Lane) -> LaneFill {
        let queue = self.lanes.of(lane);
        let ring = queue.ring();
        LaneFill {
            records: ring.records(),
            queued: queue.queued(),
            used: ring.used(),
            capacity: ring.capacity(),
            dropped: queue.given_up.dropped(),
            gaps: queue.given_up.pending(),
        }
    }

    /// Tells whether every record of the present boot is settled, every one that was read back, and every one that was
    /// given up is covered by a settled gap record.
    pub fn is_empty(&self) -> bool {
        Queue::ALL.iter().copied().all(|queue| self.queue(queue).is_empty())
    }

    /// Tells whether an alarm waits to be sent, or for its acknowledgement.
    pub fn has_alarm(&self) -> bool {
        [Queue::Live(Lane::Alarm), Queue::Backlog(Lane::Alarm)]
            .into_iter()
            .any(|queue| !self.queue(queue).is_empty())
    }

    /// Tells whether anything waits for its acknowledgement.
    pub fn is_in_flight(&self) -> bool {
        self.flights.iter().next().is_some()
    }

    /// Returns for how long the lane's oldest record that is not settled has existed, by its own time.
    pub fn longest_wait(&self, now: Instant, lane: Lane) -> Option<Duration> {
        let ring = self.lanes.of(lane).ring();
        ring.entry(ring.oldest()).map(|entry| now.since(entry.time))
    }

    /// Returns the smoothed round-trip time, the application's commit included, once it was measured.
    pub fn round_trip(&self) -> Option<Duration> {
        self.rtt.srtt()
    }

    /// Returns the present retransmission time-out of a record that is sent for the first time, without jitter.
    pub fn time_out(&self) -> Duration {
        self.rtt.time_out(1)
    }
}

/// One queue per lane.
#[derive(Debug)]
struct Lanes<'m> {
    alarm: LaneQueue<'m>,
    event: LaneQueue<'m>,
    trend: LaneQueue<'m>,
    waveform: LaneQueue<'m>,
}

impl<'m> Lanes<'m> {
    #[inline(always)]
    fn empty() -> Self {
        Self {
            alarm: LaneQueue::new(&mut []),
            event: LaneQueue::new(&mut []),
            trend: LaneQueue::new(&mut []),
            waveform: LaneQueue::new(&mut []),
        }
    }

    /// Gives each lane, all of which must be empty, its share.
    fn give(&mut self, memory: &'m mut [u8], shares: LaneShares) -> Result<(), CallError> {
        const TOO_MUCH: CallError =
            CallError::InvalidConfig("the lanes' shares are more than the outbox memory");
        let mut rest = memory;
        for &lane in &Lane::ALL {
            let (bytes, after) =
                core::mem::take(&mut rest).split_at_mut_checked(shares.of(lane)).ok_or(TOO_MUCH)?;
            rest = after;
            self.of_mut(lane).give(bytes);
        }
        Ok(())
    }

    // Not inlined, and `of_mut` becomes the same code: it is called in many places.
    #[inline(never)]
    const fn of(&self, lane: Lane) -> &LaneQueue<'m> {
        match lane {
            Lane::Alarm => &self.alarm,
            Lane::Event => &self.event,
            Lane::Trend => &self.trend,
            Lane::Waveform => &self.waveform,
        }
    }

    #[inline(never)]
    const fn of_mut(&mut self, lane: Lane) -> &mut LaneQueue<'m> {
        match lane {
            Lane::Alarm => &mut self.alarm,
            Lane::Event => &mut self.event,
            Lane::Trend => &mut self.trend,
            Lane::Waveform => &mut self.waveform,
        }
    }
}
