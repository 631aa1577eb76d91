use crate::error::CallError;
use crate::limits::MAX_RECORD;
use crate::time::Instant;
use zeroize::Zeroize;

/// Bytes in front of each record: 10 bits length − 1, 2 bits state, 4 bits transmissions, 48 bits time.
pub(super) const HEADER: usize = 8;
/// The latest time that a header holds, in milliseconds: 8900 years.
const MAX_TIME: u64 = (1 << 48) - 1;
/// Transmissions are counted up to this.
pub(super) const MAX_SENDS: u8 = 15;
/// The value of the state bits that says: nothing more up to the end of the bytes.
const SKIP: u64 = 3;

/// What became of a record so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordState {
    Queued,
    InFlight,
    Settled,
}

/// Where a record is. It stays right while records are appended and while older ones are freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) sequence: u64,
    at: usize,
}

/// A record's header, read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    at: usize,
    pub(super) len: usize,
    pub(super) state: RecordState,
    pub(super) sends: u8,
    pub(super) time: Instant,
}

/// Records of consecutive sequences in the caller's bytes, oldest first, each in one contiguous piece.
///
/// It knows nothing of lanes, flights and time-outs.
#[derive(Debug)]
pub(super) struct Ring<'m> {
    bytes: &'m mut [u8],
    /// Where the oldest record is; 0 if there is none.
    tail: usize,
    /// Where free space begins; equal to `tail` if there is none left, 0 if there is no record.
    head: usize,
    records: u32,
    first: u64,
}

/// Records that are written behind the last one but do not count yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage {
    head: usize,
    pub(super) records: u32,
}

impl<'m> Ring<'m> {
    pub(super) fn new(bytes: &'m mut [u8]) -> Self {
        Self { bytes, tail: 0, head: 0, records: 0, first: 0 }
    }

    /// The oldest record's sequence, or the next one if there is no record.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The sequence that the next record gets.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.records))
    }

    pub(super) fn records(&self) -> u32 {
        self.records
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes that no record can use now, headers and skipped ends included.
    pub(super) fn used(&self) -> usize {
        if self.records == 0 {
            0
        } else if self.head > self.tail {
            self.head.saturating_sub(self.tail)
        } else {
            self.bytes.len().saturating_sub(self.tail.saturating_sub(self.head))
        }
    }

    /// The longest record that the empty ring holds.
    pub(super) fn longest_record(&self) -> usize {
        self.bytes.len().saturating_sub(HEADER).min(MAX_RECORD)
    }

    pub(super) fn oldest(&self) -> Cursor {
        Cursor { sequence: self.first, at: self.tail }
    }

    /// Finds a record that is not older than `from`.
    pub(super) fn seek(&self, from: Cursor, sequence: u64) -> Cursor {
        let mut cursor = if from.sequence >= self.first { from } else { self.oldest() };
        while cursor.sequence < sequence
            && let Some(entry) = self.entry(cursor)
        {
            cursor = cursor.after(entry);
        }
        cursor
    }

    /// Reads the header at `cursor`, if there is a record.
    pub(super) fn entry(&self, cursor: Cursor) -> Option<Entry> {
        if cursor.sequence < self.first || cursor.sequence >= self.end() {
            return None;
        }
        let here = self.header(cursor.at).filter(|header| header >> 10 & 3 != SKIP);
        let (at, header) = match here {
            Some(header) => (cursor.at, header),
            None => (0, self.header(0)?),
        };
        let state = match header >> 10 & 3 {
            0 => RecordState::Queued,
            1 => RecordState::InFlight,
            _ => RecordState::Settled,
        };
        Some(Entry {
            at,
            len: ((header & 0x3ff) as usize).saturating_add(1),
            state,
            sends: (header >> 12 & 0xf) as u8,
            time: Instant::from_millis(header >> 16),
        })
    }

    /// Lists the records from `cursor` on.
    pub(super) fn walk(&self, cursor: Cursor) -> impl Iterator<Item = (Cursor, Entry)> + '_ {
        let mut next = cursor;
        core::iter::from_fn(move || {
            let entry = self.entry(next)?;
            let here = next;
            next = here.after(entry);
            Some((here, entry))
        })
    }

    pub(super) fn record(&self, entry: Entry) -> &[u8] {
        let start = entry.at.saturating_add(HEADER);
        self.bytes.get(start..start.saturating_add(entry.len)).unwrap_or_default()
    }

    pub(super) fn update(&mut self, entry: Entry, state: RecordState, sends: u8) {
        self.write_header(entry.at, entry.len, state, sends, entry.time);
    }

    /// Frees the settled records at the old end.
    pub(super) fn free_settled(&mut self) {
        while let Some(entry) = self.entry(self.oldest()).filter(|entry| entry.state == RecordState::Settled)
        {
            self.free_entry(entry);
        }
    }

    /// Frees the oldest record and wipes its bytes. Nothing is staged.
    fn free_entry(&mut self, entry: Entry) {
        let next = self.oldest().after(entry);
        self.wipe(entry.at, next.at);
        (self.first, self.tail) = (next.sequence, next.at);
        self.records = self.records.saturating_sub(1);
        if self.records == 0 {
            (self.tail, self.head) = (0, 0);
        }
    }

    /// Begins anew, without records; the next one gets this sequence.
    pub(super) fn restart(&mut self, first: u64) {
        self.wipe(0, self.bytes.len());
        (self.tail, self.head, self.records, self.first) = (0, 0, 0, first);
    }

    fn wipe(&mut self, from: usize, to: usize) {
        self.bytes.get_mut(from..to).unwrap_or_default().zeroize();
    }

    pub(super) fn stage(&mut self) -> Stage {
        if self.records == 0 {
            (self.tail, self.head) = (0, 0);
        }
        Stage { head: self.head, records: 0 }
    }

    /// Frees the oldest record, whatever its state is. What is staged stays where it is.
    pub(super) fn drop_oldest(&mut self, stage: &mut Stage) {
        let Some(entry) = self.entry(self.oldest()) else { return };
        let next = self.oldest().after(entry);
        self.wipe(entry.at, next.at);
        (self.first, self.tail) = (next.sequence, next.at);
        self.records = self.records.saturating_sub(1);
        if self.records == 0 {
            self.tail = self.head; // where the staged ones begin
            if stage.records == 0 {
                *stage = self.stage();
            }
        }
    }

    /// Lets `fill` write a record behind what is staged.
    pub(super) fn append(
        &mut self,
        stage: &mut Stage,
        time: Instant,
        fill: &mut dyn FnMut(&mut [u8]) -> Result<usize, CallError>,
    ) -> Result<(), CallError> {
        // Free are [head, end) and [0, tail), or only [head, tail).
        let empty = self.records == 0 && stage.records == 0;
        let wrapped = !empty && stage.head <= self.tail;
        let end = if wrapped { self.tail } else { self.bytes.len() };
        let room_here = end.saturating_sub(stage.head).saturating_sub(HEADER);
        let room_front = if wrapped { 0 } else { self.tail.saturating_sub(HEADER) };

        // The record's length is known only afterwards: it is written where there is more room, and moved to the
        // nearer place if it fits there, so that little is skipped.
        let room = room_here.max(room_front).min(MAX_RECORD);
        let at = if room_here >= room_front { stage.head } else { 0 };
        let start = at.saturating_add(HEADER);
        let longest = self.longest_record();
        let space = self.bytes.get_mut(start..start.saturating_add(room)).unwrap_or_default();
        let len = match fill(space) {
            Ok(0) => return Err(CallError::BadRecord),
            Ok(len) if len <= room => len,
            Ok(_) => return Err(CallError::RecordTooLong),
            Err(CallError::BufferTooSmall(short)) => {
                let hopeless = short.needed > longest || room >= longest;
                return Err(if hopeless { CallError::RecordTooLong } else { CallError::LaneFull });
            }
            Err(error) => return Err(error),
        };
        let moved = at != stage.head && len <= room_here;
        let at = if moved {
            let to = stage.head.saturating_add(HEADER);
            if to.saturating_add(len) <= self.bytes.len() {
                self.bytes.copy_within(start..start.saturating_add(len), to);
                self.wipe(start.max(to.saturating_add(len)), start.saturating_add(len));
            }
            stage.head
        } else {
            if at != stage.head {
                self.write_word(stage.head, SKIP << 10);
            }
            at
        };
        self.write_header(at, len, RecordState::Queued, 0, time);
        stage.head = at.saturating_add(HEADER).saturating_add(len);
        stage.records = stage.records.saturating_add(1);
        Ok(())
    }

    /// Makes the staged records count.
    pub(super) fn commit(&mut self, stage: Stage) {
        self.head = stage.head;
        self.records = self.records.saturating_add(stage.records);
    }

    fn header(&self, at: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    }

    fn write_header(&mut self, at: usize, len: usize, state: RecordState, sends: u8, time: Instant) {
        let state = match state {
            RecordState::Queued => 0,
            RecordState::InFlight => 1,
            RecordState::Settled => 2u64,
        };
        let len = len.saturating_sub(1) as u64 & 0x3ff;
        let sends = u64::from(sends.min(MAX_SENDS));
        self.write_word(at, len | state << 10 | sends << 12 | time.as_millis().min(MAX_TIME) << 16);
    }

    /// Writes nothing where less than a header is left: a reader goes to the front there by itself.
    fn write_word(&mut self, at: usize, word: u64) {
        if let Some(header) = self.bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
            *header = word.to_le_bytes();
        }
    }
}

impl Cursor {
    /// Where the record behind `entry`, the one here, is.
    pub(super) fn after(self, entry: Entry) -> Self {
        Self {
            sequence: self.sequence.saturating_add(1),
            at: entry.at.saturating_add(HEADER).saturating_add(entry.len),
        }
    }
}
