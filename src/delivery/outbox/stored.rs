//! What a lane's queue knows of storage.

use super::lane::{Cut, LaneQueue};
use super::queue::{Backlog, LoadRefusal};
use super::ring::{Cursor, Entry, HEADER, RecordState, Stage};
use crate::error::CallError;
use crate::framing::RunWriter;
use crate::limits::MAX_BATCH_RECORDS;
use crate::time::Instant;

impl LaneQueue<'_> {
    /// The oldest sequence of the stream that is not settled: here, or only in storage.
    pub(super) fn base(&self) -> u64 {
        self.floor.unwrap_or(self.ring.first())
    }

    /// Tells whether nothing is left to send, to hear of, or to write.
    pub(super) fn is_empty(&self) -> bool {
        self.ring.records() == 0 && self.floor.is_none() && self.given_up.is_done()
    }

    /// Below this, each record is stored or settled, or was given up and is named by such a gap record.
    pub(super) fn stored_end(&self) -> u64 {
        let end = self.unstored_from();
        //= SPEC.md#full-lanes
        //# A device MUST NOT report a record as stored before each record below it that it has given up is named by a gap record that is stored or settled.
        self.given_up.unnamed(end).map_or(end, |unnamed| unnamed.min(end))
    }

    /// Below this, each record is stored, settled or given up.
    pub(super) fn unstored_from(&self) -> u64 {
        self.next_unstored().map_or(self.ring.end(), |(at, _)| at.sequence)
    }

    /// Returns the oldest record that is neither stored nor settled.
    pub(super) fn next_unstored(&self) -> Option<(Cursor, Entry)> {
        let from = if self.stored.sequence <= self.ring.first() { self.ring.oldest() } else { self.stored };
        self.ring.walk(from).find(|(_, entry)| entry.state != RecordState::Settled)
    }

    pub(super) fn copy_unstored(&self, out: &mut [u8]) -> Option<Cut> {
        let (start, _) = self.next_unstored()?;
        let mut run = RunWriter::new(out);
        let open = self.ring.walk(start).take(MAX_BATCH_RECORDS);
        for (_, entry) in open.take_while(|(_, entry)| entry.state != RecordState::Settled) {
            if run.push(entry.time, self.ring.record(entry)).is_err() {
                break;
            }
        }
        let count = run.count();
        let len = run.finish();
        (count > 0).then_some(Cut { first: start.sequence, count, len })
    }

    pub(super) fn note_stored(&mut self, end: u64) {
        let from = if self.stored.sequence <= self.ring.first() { self.ring.oldest() } else { self.stored };
        self.stored = self.ring.seek(from, end);
        self.forget_named();
    }

    /// Bytes of records that are neither stored nor settled, headers included.
    pub(super) fn unstored_bytes(&self) -> usize {
        let Some((start, _)) = self.next_unstored() else { return 0 };
        let open = self.ring.walk(start).filter(|(_, entry)| entry.state != RecordState::Settled);
        open.map(|(_, entry)| entry.len.saturating_add(HEADER)).fold(0, usize::saturating_add)
    }

    /// Frees the oldest records, as far as they are stored, up to a quarter of the lane.
    pub(super) fn evict(&mut self, stage: &mut Stage) -> u32 {
        let (before, stored) = (self.ring.used(), self.stored.sequence);
        let enough = self.ring.capacity() / 4;
        let mut count = 0u32;
        while let Some(entry) = self.ring.entry(self.ring.oldest())
            && (entry.state == RecordState::Settled
                || before.saturating_sub(self.ring.used()) < enough && self.ring.first() < stored)
        {
            if entry.state != RecordState::Settled {
                self.floor.get_or_insert(self.ring.first());
            }
            if entry.state == RecordState::Queued {
                self.leave_queue(entry);
            }
            self.ring.drop_oldest(stage);
            count = count.saturating_add(1);
        }
        self.mend_cursors();
        count
    }

    /// Cursors to what was freed point to the oldest record from now on.
    pub(super) fn mend_cursors(&mut self) {
        let first = self.ring.first();
        for cursor in [&mut self.cursor, &mut self.stored] {
            if cursor.sequence <= first {
                *cursor = self.ring.oldest();
            }
        }
    }

    /// All that is in storage only is settled below `first`.
    pub(super) fn raise_floor(&mut self, first: u64) {
        self.floor = self.floor.map(|floor| floor.max(first)).filter(|floor| *floor < self.ring.first());
    }

    /// What is in storage only is lost below `first`: the stream has to be named anew.
    pub(super) fn skip_to(&mut self, first: u64) {
        if self.floor.is_some_and(|floor| floor < first) {
            self.raise_floor(first);
            self.note_refused(first);
            self.sent_end = self.sent_end.max(first);
        }
    }

    pub(super) const fn binding(&self) -> Backlog {
        self.binding
    }

    /// Another stream comes into this backlog, which is empty, or the same one goes on behind records that are lost.
    pub(super) fn bind(&mut self, binding: Backlog, first: u64) {
        let moved_on = self.binding == Backlog::Earlier && binding == Backlog::Earlier;
        self.binding = binding;
        self.ring.restart(first);
        self.cursor = self.ring.oldest();
        self.stored = self.cursor;
        (self.queued, self.queued_bytes, self.repeats) = (0, 0, 0);
        // Earlier boots may have sent any of their records; of the present one the live queue knows.
        self.sent_end = if binding == Backlog::Earlier { u64::MAX } else { first };
        if moved_on {
            self.note_refused(first);
        } else {
            self.refused_end = 0;
            self.forget_name();
        }
    }

    pub(super) fn load(&mut self, sequence: u64, time: Instant, record: &[u8]) -> Result<(), LoadRefusal> {
        if sequence != self.ring.end() {
            return Err(LoadRefusal::NotNext);
        }
        if record.len() > self.ring.longest_record() {
            return Err(LoadRefusal::TooLong);
        }
        let mut stage = self.stage();
        let appended = self.ring.append(&mut stage, time, &mut |space| {
            let short = crate::codec::BufferTooSmall { needed: record.len() };
            space.get_mut(..record.len()).ok_or(short)?.copy_from_slice(record);
            Ok::<usize, CallError>(record.len())
        });
        appended.map_err(|_| LoadRefusal::NoRoom)?;
        self.commit(Instant::ZERO, stage);
        // It may have been sent before.
        let at = self.ring.seek(self.cursor, sequence);
        if let Some(entry) = self.ring.entry(at) {
            self.ring.update(entry, RecordState::Queued, 1);
            self.repeats = self.repeats.saturating_add(1);
        }
        Ok(())
    }
}
