use serde::Serialize;

use super::frame::record_count;
use super::{DescriptorSet, Record, stream_index};
use crate::codec::{BufferTooSmall, DecodeError, Reader, Writer};
use crate::limits::MAX_BATCH_RECORDS;
use crate::time::Instant;

/// Writes a batch, the body of a Records frame, record by record.
///
/// ```
/// use vitalwire::Instant;
/// use vitalwire::framing::BatchWriter;
/// let mut body = [0u8; 32];
/// let mut batch = BatchWriter::new(&mut body, 1, 1000);
/// batch.push(Instant::from_millis(5_000), &[0x01, 0x90, 0x01])?;
/// batch.push(Instant::from_millis(6_000), &[0x01, 0x92, 0x01])?;
/// assert_eq!(batch.count(), 2);
/// // stream, first sequence (2 bytes), count, time (2), record (3), difference of time (2), record (3)
/// assert_eq!(batch.finish().len(), 1 + 2 + 1 + 2 + 3 + 2 + 3);
/// # Ok::<(), vitalwire::codec::BufferTooSmall>(())
/// ```
#[derive(Debug)]
pub struct BatchWriter<'w> {
    out: Writer<'w>,
    stream: u8,
    first: u64,
    count: u8,
    /// Where the count stands.
    count_at: usize,
    last: Instant,
}

impl<'w> BatchWriter<'w> {
    /// Starts a batch of the stream with index `stream`, whose first record has the sequence `first`.
    ///
    /// Nothing is written before the first record is pushed, so that this cannot fail.
    pub const fn new(out: &'w mut [u8], stream: u8, first: u64) -> Self {
        Self { out: Writer::new(out), stream, first, count: 0, count_at: 0, last: Instant::ZERO }
    }

    /// Appends an encoded record with its time.
    ///
    /// # Errors
    /// [`BufferTooSmall`] with the total length needed if it does not fit, or with `usize::MAX` if the batch has
    /// 64 records, its sequences are exhausted, or the step in time is more than 2^63 ms; nothing has changed.
    pub fn push(&mut self, time: Instant, record: &[u8]) -> Result<(), BufferTooSmall> {
        const FULL: BufferTooSmall = BufferTooSmall { needed: usize::MAX };
        let count = self.count.saturating_add(1);
        if usize::from(count) > MAX_BATCH_RECORDS || self.first.checked_add(count.into()).is_none() {
            return Err(FULL);
        }
        let start = self.out.len();
        let result = if self.count == 0 {
            self.write_first(time, record)
        } else {
            let (now, last) = (i128::from(time.as_millis()), i128::from(self.last.as_millis()));
            let step = i64::try_from(now.saturating_sub(last)).map_err(|_| FULL)?;
            self.out.signed(step).and_then(|()| self.out.bytes(record))
        };
        if let Err(error) = result {
            self.out.truncate(start);
            // the record's own length may not have been looked at yet
            return Err(BufferTooSmall { needed: error.needed.max(start.saturating_add(record.len())) });
        }
        self.count = count;
        self.last = time;
        Ok(())
    }

    fn write_first(&mut self, time: Instant, record: &[u8]) -> Result<(), BufferTooSmall> {
        self.out.varint(self.stream.into())?;
        self.out.varint(self.first)?;
        self.count_at = self.out.len();
        self.out.u8(0)?;
        self.out.varint(time.as_millis())?;
        self.out.bytes(record)
    }

    /// Returns how many records were pushed.
    pub const fn count(&self) -> u8 {
        self.count
    }

    /// Returns how many bytes are free.
    pub const fn remaining(&self) -> usize {
        self.out.remaining()
    }

    /// Ends the batch and returns the body; it is empty if nothing was pushed, and no frame then.
    pub fn finish(self) -> &'w mut [u8] {
        let (count, at) = (self.count, self.count_at);
        let body = self.out.into_written();
        // a number up to 64 is one byte as a varint
        if let Some(byte) = body.get_mut(at) {
            *byte = count;
        }
        body
    }
}

/// A Records frame: a batch of consecutive records of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordsFrame<'a> {
    /// The stream's index in this session.
    pub stream: u8,
    /// The sequence of the first record.
    pub first: u64,
    /// How many records, 1 to 64.
    pub count: u8,
    /// The time of the first record.
    pub base: Instant,
    /// The records, with their differences of time.
    pub bytes: &'a [u8],
}

impl<'a> RecordsFrame<'a> {
    /// Reads the body of a Records frame; the records themselves are not looked at.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let stream = stream_index(&mut reader)?;
        let first = reader.varint()?;
        let count = record_count(&mut reader, first)?;
        let base = Instant::from_millis(reader.varint()?);
        if reader.is_empty() {
            return Err(DecodeError::Truncated);
        }
        Ok(Self { stream, first, count, base, bytes: reader.rest() })
    }

    /// Decodes the records one by one, as the channels of `set` say.
    ///
    /// The first error ends it. After the last record an error still comes if bytes are left over; so a batch
    /// is good only if all items are.
    pub fn records<'s>(&self, set: &DescriptorSet<'s>) -> BatchRecords<'a, 's> {
        BatchRecords {
            rest: Reader::new(self.bytes),
            set: *set,
            sequence: self.first,
            time: self.base,
            left: self.count,
            first: true,
            done: false,
        }
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), BufferTooSmall> {
        out.varint(self.stream.into())?;
        out.varint(self.first)?;
        out.varint(self.count.into())?;
        out.varint(self.base.as_millis())?;
        out.bytes(self.bytes)
    }
}

/// One record of a batch, with its sequence and its time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BatchRecord<'a> {
    /// Its sequence in the stream.
    pub sequence: u64,
    /// Its time, since the device's boot.
    pub time: Instant,
    /// The record.
    pub record: Record<'a>,
}

/// The records of a batch: see [`RecordsFrame::records`].
#[derive(Clone, Debug)]
pub struct BatchRecords<'a, 's> {
    rest: Reader<'a>,
    set: DescriptorSet<'s>,
    sequence: u64,
    time: Instant,
    left: u8,
    first: bool,
    done: bool,
}

impl<'a> BatchRecords<'a, '_> {
    #[cfg_attr(feature = "backend", inline)]
    fn read_time(&mut self) -> Result<(), DecodeError> {
        if !core::mem::take(&mut self.first) {
            let step = self.rest.signed()?;
            //= SPEC.md#records-frame
            //# A reader MUST refuse a time below 0 or above 2^64 − 1.
            let time = self.time.as_millis().checked_add_signed(step).ok_or(DecodeError::OutOfRange)?;
            self.time = Instant::from_millis(time);
        }
        Ok(())
    }

    #[cfg_attr(feature = "backend", inline)]
    fn read(&mut self) -> Result<BatchRecord<'a>, DecodeError> {
        self.read_time()?;
        let record = Record::decode(&mut self.rest, &self.set)?;
        let sequence = self.sequence;
        self.sequence = sequence.saturating_add(1);
        Ok(BatchRecord { sequence, time: self.time, record })
    }

    /// Goes on to what comes next: a record, which `read` reads, or the error at the end.
    #[cfg_attr(feature = "backend", inline)]
    fn step<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Option<Result<T, DecodeError>> {
        if self.done {
            return None;
        }
        let item = match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Some(read(self))
            }
            None => {
                self.done = true;
                self.rest.clone().finish().err().map(Err)
            }
        };
        self.done |= matches!(item, Some(Err(_)));
        item
    }

    /// Reads what comes next as the iterator does, and tells what `permits` says of the record: of `None` if it is a
    /// measurement, whose values are read and not kept, as most records are measurements.
    #[cfg(feature = "backend")]
    #[inline]
    pub(crate) fn check_next(
        &mut self,
        permits: impl FnOnce(Option<&Record<'a>>) -> bool,
    ) -> Option<Result<bool, DecodeError>> {
        self.step(|records| {
            records.read_time()?;
            Record::check(&mut records.rest, &records.set).map(|other| permits(other.as_ref()))
        })
    }
}

impl<'a> Iterator for BatchRecords<'a, '_> {
    type Item = Result<BatchRecord<'a>, DecodeError>;

    #[cfg_attr(feature = "backend", inline)]
    fn next(&mut self) -> Option<Self::Item> {
        self.step(Self::read)
    }
}
