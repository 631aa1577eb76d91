use super::gaps::GivenUp;
use super::queue::Backlog;
use super::ring::{Cursor, Entry, RecordState, Ring, Stage};
use crate::codec::varint_len;
use crate::framing::{BatchWriter, StreamAck};
use crate::limits::{LEDGER_WINDOW, MAX_BATCH_RECORDS};
use crate::time::{Duration, Instant};

/// One lane's records and how far each of them has come.
///
/// It knows nothing of flights: who marks a record in flight books it there.
#[derive(Debug)]
pub(super) struct LaneQueue<'m> {
    pub(super) ring: Ring<'m>,
    /// No record in front of this one is queued.
    pub(super) cursor: Cursor,
    /// All records in front of this one are stored or settled.
    pub(super) stored: Cursor,
    /// The oldest sequence of the stream that is not settled, where that record is in storage only.
    pub(super) floor: Option<u64>,
    /// Whose records these are, in a backlog.
    pub(super) binding: Backlog,
    pub(super) queued: u32,
    pub(super) queued_bytes: usize,
    /// How many of the queued records were sent before.
    pub(super) repeats: u32,
    linger: Duration,
    /// Since when the oldest queued record waits to be sent for the first time, at the latest.
    waiting_since: Instant,
    /// One above the highest sequence that was ever sent.
    pub(super) sent_end: u64,
    /// One above the highest sequence that was refused, lost or given up.
    pub(super) refused_end: u64,
    /// Below this, the backend has told that all is settled; `None` until it has told anything in this session.
    told: Option<u64>,
    /// The oldest sequence that the last Streams frame of this session named.
    named: Option<u64>,
    pub(super) given_up: GivenUp,
}

/// Whether the backend knows where this lane's stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    Known,
    /// It was told, and has not shown yet that it heard.
    Unconfirmed,
    Due,
}

/// What a batch takes of its lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) first: u64,
    pub(super) count: u8,
    pub(super) len: usize,
}

impl<'m> LaneQueue<'m> {
    #[inline]
    pub(super) fn new(bytes: &'m mut [u8]) -> Self {
        let ring = Ring::new(bytes);
        Self {
            cursor: ring.oldest(),
            stored: ring.oldest(),
            floor: None,
            binding: Backlog::Unbound,
            ring,
            queued: 0,
            queued_bytes: 0,
            repeats: 0,
            linger: Duration::ZERO,
            waiting_since: Instant::ZERO,
            sent_end: 0,
            refused_end: 0,
            told: None,
            named: None,
            given_up: GivenUp::default(),
        }
    }

    /// Takes memory for its records, of which there are none yet.
    pub(super) fn give(&mut self, bytes: &'m mut [u8]) {
        self.ring = Ring::new(bytes);
        (self.cursor, self.stored) = (self.ring.oldest(), self.ring.oldest());
    }

    pub(super) fn ring(&self) -> &Ring<'m> {
        &self.ring
    }

    pub(super) fn ring_mut(&mut self) -> &mut Ring<'m> {
        &mut self.ring
    }

    pub(super) fn queued(&self) -> u32 {
        self.queued
    }

    pub(super) fn set_linger(&mut self, linger: Duration) {
        self.linger = linger;
    }

    /// Tells whether a record waits that was never sent.
    pub(super) fn has_fresh(&self) -> bool {
        self.queued > self.repeats
    }

    /// Takes over what was staged.
    pub(super) fn commit(&mut self, now: Instant, stage: Stage) {
        let first_new = self.ring.end();
        if self.queued == 0 {
            self.waiting_since = now;
        }
        self.ring.commit(stage);
        let from = self.ring.seek(self.cursor, first_new);
        let bytes: usize = self.ring.walk(from).map(|(_, entry)| wire_len(entry)).sum();
        self.queued = self.queued.saturating_add(stage.records);
        self.queued_bytes = self.queued_bytes.saturating_add(bytes);
    }

    /// Returns the oldest queued record, unless the window forbids to send it.
    fn next_queued(&self) -> Option<(Cursor, Entry)> {
        let next = self.ring.walk(self.cursor).find(|(_, entry)| entry.state == RecordState::Queued);
        next.filter(|(cursor, _)| self.is_inside_window(cursor.sequence))
    }

    //= SPEC.md#ledger
    //# A device MUST NOT send a sequence that is 256 or more above the oldest unsettled one of its stream.
    fn is_inside_window(&self, sequence: u64) -> bool {
        sequence < self.oldest().saturating_add(LEDGER_WINDOW)
    }

    /// Returns when this lane has something to send in a Records frame of `space` bytes.
    pub(super) fn ready_at(&self, space: usize) -> Option<Instant> {
        let (cursor, entry) = self.next_queued()?;
        let header = batch_header_len(cursor.sequence, entry.time);
        if header.saturating_add(entry.len) > space {
            return None;
        }
        let fills =
            header.saturating_add(self.queued_bytes) >= space || self.queued as usize >= MAX_BATCH_RECORDS;
        if fills || self.repeats > 0 {
            return Some(Instant::ZERO);
        }
        Some(self.waiting_since + self.linger)
    }

    /// Writes the oldest run of queued records that fits.
    pub(super) fn cut(&self, stream: u8, out: &mut [u8]) -> Option<Cut> {
        let (start, _) = self.next_queued()?;
        let mut batch = BatchWriter::new(out, stream, start.sequence);
        let run = self.ring.walk(start).take(MAX_BATCH_RECORDS).take_while(|(at, entry)| {
            entry.state == RecordState::Queued && self.is_inside_window(at.sequence)
        });
        for (_, entry) in run {
            if batch.push(entry.time, self.ring.record(entry)).is_err() {
                break;
            }
        }
        let count = batch.count();
        let len = batch.finish().len();
        (count > 0).then_some(Cut { first: start.sequence, count, len })
    }

    /// Marks those of `count` records from `first` on that are still queued as sent. Returns them, bit i for
    /// `first + i`, and how often the most often sent of them was sent.
    pub(super) fn mark_sent(&mut self, now: Instant, first: u64, count: u8) -> (u64, u8) {
        let (mut pending, mut sends) = (0u64, 0u8);
        let mut cursor = self.ring.seek(self.cursor, first);
        while let Some(entry) = self.ring.entry(cursor)
            && let Some(bit) =
                cursor.sequence.checked_sub(first).filter(|bit| *bit < u64::from(count.min(64)))
        {
            if entry.state == RecordState::Queued {
                self.leave_queue(entry);
                let sent = entry.sends.saturating_add(1);
                self.ring.update(entry, RecordState::InFlight, sent);
                pending |= 1u64.wrapping_shl(bit as u32);
                sends = sends.max(sent);
            }
            cursor = cursor.after(entry);
            self.sent_end = self.sent_end.max(cursor.sequence);
        }
        let from = self.cursor;
        let next = self.ring.walk(from).find(|(_, entry)| entry.state == RecordState::Queued);
        self.cursor = next.map_or_else(|| self.ring.seek(from, u64::MAX), |(at, _)| at);
        self.waiting_since = now;
        (pending, sends)
    }

    /// Puts a record in flight back into the queue.
    pub(super) fn requeue(&mut self, sequence: u64, forget_backoff: bool) -> bool {
        let from = if sequence >= self.cursor.sequence { self.cursor } else { self.ring.oldest() };
        let at = self.ring.seek(from, sequence);
        // one that was given up meanwhile is not found
        let found = self.ring.entry(at).filter(|_| at.sequence == sequence);
        let Some(entry) = found.filter(|entry| entry.state == RecordState::InFlight) else {
            return false;
        };
        let sends = if forget_backoff { entry.sends.min(1) } else { entry.sends };
        self.ring.update(entry, RecordState::Queued, sends);
        self.queued = self.queued.saturating_add(1);
        self.queued_bytes = self.queued_bytes.saturating_add(wire_len(entry));
        self.repeats = self.repeats.saturating_add(1);
        if at.sequence < self.cursor.sequence {
            self.cursor = at;
        }
        true
    }

    /// Tells whether an Ack names a sequence that was never sent, `other_end` and above from another queue.
    pub(super) fn contradicts(&self, ack: &StreamAck, other_end: u64) -> bool {
        let highest = ack.settled.iter().last();
        let end =
            highest.map_or(ack.cumulative, |bit| ack.cumulative.saturating_add(bit.into()).saturating_add(2));
        end > self.sent_end.max(other_end)
    }

    /// Takes note that the backend knows this stream in this session, and how far.
    pub(super) fn hear(&mut self, cumulative: u64) {
        self.told = self.told.max(Some(cumulative));
    }

    /// Takes note that records below `end` were refused.
    pub(super) fn note_refused(&mut self, end: u64) {
        self.refused_end = self.refused_end.max(end);
        self.named = None;
    }

    /// The backend knows nothing of this stream's present name.
    pub(super) fn forget_name(&mut self) {
        self.told = None;
        self.named = None;
    }

    pub(super) fn note_named(&mut self) {
        self.named = self.is_open().then(|| self.oldest());
    }

    /// Tells whether this is a stream to be named: a lane that has ever held a record, or an earlier boot's.
    pub(super) fn is_open(&self) -> bool {
        match self.binding {
            Backlog::Unbound => self.ring.end() > 0,
            Backlog::Earlier => true,
            Backlog::Own => false,
        }
    }

    pub(super) fn naming(&self) -> Naming {
        //= SPEC.md#full-lanes
        //# A device MUST then name the stream's new oldest sequence in a Streams frame, repeated until an Ack has passed what was given up.
        let needed = self.refused_end.min(self.oldest());
        if !self.is_open() || self.told.is_some_and(|told| told >= needed) {
            Naming::Known
        } else if self.named.is_some_and(|named| named >= needed) {
            Naming::Unconfirmed
        } else {
            Naming::Due
        }
    }

    /// Settles the records for which `settled` holds, as far as they were sent, and frees what can be freed.
    pub(super) fn settle(&mut self, settled: impl Fn(u64) -> bool) -> u32 {
        let mut count = 0u32;
        let mut cursor = self.ring.oldest();
        while let Some(entry) = self.ring.entry(cursor).filter(|_| cursor.sequence < self.sent_end) {
            if entry.sends > 0 && entry.state != RecordState::Settled && settled(cursor.sequence) {
                if entry.state == RecordState::Queued {
                    self.leave_queue(entry);
                }
                self.ring.update(entry, RecordState::Settled, entry.sends);
                count = count.saturating_add(1);
            }
            cursor = cursor.after(entry);
        }
        self.ring.free_settled();
        self.mend_cursors();
        count
    }

    /// A clock that stepped back must not make a record wait longer.
    pub(super) fn rebase(&mut self, now: Instant) {
        self.waiting_since = self.waiting_since.min(now);
    }

    pub(super) fn leave_queue(&mut self, entry: Entry) {
        self.queued = self.queued.saturating_sub(1);
        self.queued_bytes = self.queued_bytes.saturating_sub(wire_len(entry));
        if entry.sends > 0 {
            self.repeats = self.repeats.saturating_sub(1);
        }
    }
}

/// What a record takes in a Records frame, with a short time difference.
fn wire_len(entry: Entry) -> usize {
    entry.len.saturating_add(1)
}

/// What stands in front of the first record of a Records frame.
fn batch_header_len(first: u64, base: Instant) -> usize {
    varint_len(first).saturating_add(varint_len(base.as_millis())).saturating_add(2)
}
