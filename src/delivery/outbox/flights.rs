use super::queue::Queue;
use crate::framing::StreamAck;
use crate::limits::{MAX_BATCH_RECORDS, MAX_FLIGHTS};
use crate::time::{Duration, Instant};

/// A batch that was sent and is not settled in whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) queue: Queue,
    pub(super) first: u64,
    /// Bit i: record `first + i` is in flight.
    pub(super) pending: u64,
    pub(super) sent_at: Instant,
    /// How long it may take from then on, in milliseconds.
    wait: u32,
    /// How often the most often sent of its records was sent.
    pub(super) sends: u8,
    /// [`OVERTAKEN`], [`EXCUSED`].
    marks: u8,
}

/// A batch that was sent later has been acknowledged: this one is most likely lost.
const OVERTAKEN: u8 = 1;
/// Its wait was over while nobody listened, and was prolonged once.
const EXCUSED: u8 = 2;

// There are 32 of them.
const _: () = assert!(size_of::<Option<Flight>>() <= 32);

impl Flight {
    pub(super) fn new(queue: Queue, first: u64, pending: u64, sends: u8, sent_at: Instant) -> Self {
        Self { queue, first, pending, sent_at, wait: 0, sends, marks: 0 }
    }

    pub(super) const fn is_overtaken(&self) -> bool {
        self.marks & OVERTAKEN != 0
    }

    const fn is_excused(&self) -> bool {
        self.marks & EXCUSED != 0
    }

    /// When its wait is over.
    pub(super) fn deadline(&self) -> Instant {
        self.sent_at + Duration::from_millis(self.wait.into())
    }

    pub(super) fn set_wait(&mut self, wait: Duration) {
        self.wait = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
    }

    /// Lists the sequences that are in flight.
    pub(super) fn sequences(&self) -> impl Iterator<Item = u64> + use<> {
        let (first, pending) = (self.first, self.pending);
        (0..MAX_BATCH_RECORDS as u64)
            .filter(move |bit| pending.wrapping_shr(*bit as u32) & 1 == 1)
            .map(move |bit| first.saturating_add(bit))
    }

    /// Takes out those for which `gone` holds, and tells how many there were.
    fn take(&mut self, gone: impl Fn(u64) -> bool) -> u32 {
        let before = self.pending;
        for sequence in self.sequences() {
            if gone(sequence) {
                let bit = sequence.saturating_sub(self.first) as u32;
                self.pending &= !1u64.wrapping_shl(bit);
            }
        }
        before.count_ones().saturating_sub(self.pending.count_ones())
    }
}

/// When the latest batch was sent, of those of which an Ack settles something.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    /// Sent once (Karn's rule).
    pub(super) latest: Option<Instant>,
    /// And settled in time: after its deadline the answer may have waited for a device that was asleep.
    pub(super) in_time: Option<Instant>,
}

/// What is in flight: at most [`MAX_FLIGHTS`] batches.
#[derive(Debug)]
pub(super) struct Flights {
    slots: [Option<Flight>; MAX_FLIGHTS],
}

impl Flights {
    pub(super) const fn new() -> Self {
        Self { slots: [None; MAX_FLIGHTS] }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Flight> {
        self.slots.iter().flatten()
    }

    /// Books a flight; tells whether there was a slot.
    pub(super) fn book(&mut self, flight: Flight) -> bool {
        let free = self.slots.iter_mut().find(|slot| slot.is_none());
        free.map(|slot| *slot = Some(flight)).is_some()
    }

    /// Takes out what an Ack settles.
    pub(super) fn settle(&mut self, now: Instant, queue: Queue, ack: &StreamAck) -> Heard {
        let mut heard = Heard::default();
        for slot in &mut self.slots {
            let Some(flight) = slot.as_mut().filter(|flight| flight.queue == queue) else { continue };
            let settled = flight.take(|sequence| ack.settles(sequence));
            if settled > 0 && flight.sends == 1 {
                heard.latest = heard.latest.max(Some(flight.sent_at));
                if now <= flight.deadline() && !flight.is_excused() {
                    heard.in_time = heard.in_time.max(Some(flight.sent_at));
                }
            }
            if flight.pending == 0 {
                *slot = None;
            }
        }
        heard
    }

    /// Shortens the wait of all that was sent more than `reorder` before `latest`, to `wait` since its sending.
    pub(super) fn overtake(&mut self, latest: Instant, reorder: Duration, wait: Duration) {
        for flight in self.slots.iter_mut().flatten() {
            if flight.sent_at + reorder < latest {
                flight.marks |= OVERTAKEN;
                let left = Duration::from_millis(flight.wait.into());
                flight.set_wait(left.min(wait));
            }
        }
    }

    /// Takes out a range of sequences, and tells how many of them were given up.
    pub(super) fn forget(
        &mut self,
        queue: Queue,
        first: u64,
        count: u64,
        is_given_up: impl Fn(u64) -> bool,
    ) -> u32 {
        let mut taken = 0u32;
        for slot in &mut self.slots {
            let Some(flight) = slot.as_mut().filter(|flight| flight.queue == queue) else { continue };
            let gone = |sequence: u64| sequence.checked_sub(first).is_some_and(|offset| offset < count);
            taken = taken.saturating_add(flight.take(|sequence| is_given_up(sequence) && gone(sequence)));
            flight.take(gone);
            if flight.pending == 0 {
                *slot = None;
            }
        }
        taken
    }

    /// Returns the lowest sequence of a queue, not below `from`, that is in flight.
    pub(super) fn lowest(&self, queue: Queue, from: u64) -> Option<u64> {
        let flights = self.iter().filter(|flight| flight.queue == queue);
        flights.filter_map(|flight| flight.sequences().find(|sequence| *sequence >= from)).min()
    }

    /// Lets those whose wait is over wait until `deadline`, once each.
    pub(super) fn excuse(&mut self, now: Instant, deadline: Instant) {
        let over = |flight: &&mut Flight| flight.deadline() <= now && flight.marks == 0;
        for flight in self.slots.iter_mut().flatten().filter(over) {
            flight.set_wait(deadline.since(flight.sent_at));
            flight.marks |= EXCUSED;
        }
    }

    /// Takes out one flight for which `ended` holds.
    pub(super) fn take_one(&mut self, ended: impl Fn(&Flight) -> bool) -> Option<Flight> {
        let slot = self.slots.iter_mut().find(|slot| slot.as_ref().is_some_and(&ended))?;
        slot.take()
    }

    /// Makes a clock that stepped back harmless: no deadline is farther away than it was when it was set.
    pub(super) fn rebase(&mut self, now: Instant) {
        for flight in self.slots.iter_mut().flatten() {
            if flight.sent_at > now {
                flight.sent_at = now;
            }
        }
    }
}
