use crate::codec::{BufferTooSmall, DecodeError, Reader, Writer, varint_len};
use crate::limits::{MAX_BATCH_RECORDS, MAX_RECORD};
use crate::time::Instant;

/// Writes encoded records with their times and lengths, as a device stores them: they can be read without their
/// descriptor set.
///
/// ```
/// use vitalwire::{Instant, framing::{RunReader, RunWriter}};
/// let mut space = [0u8; 64];
/// let mut run = RunWriter::new(&mut space);
/// run.push(Instant::from_millis(1_000), b"one")?;
/// run.push(Instant::from_millis(990), b"two")?;
/// let len = run.finish();
/// let records: Vec<_> = RunReader::new(&space[..len]).collect::<Result<_, _>>().unwrap();
/// assert_eq!(records[1], (Instant::from_millis(990), &b"two"[..]));
/// # Ok::<(), vitalwire::codec::BufferTooSmall>(())
/// ```
#[derive(Debug)]
pub struct RunWriter<'w> {
    out: Writer<'w>,
    count: u8,
    last: u64,
}

impl<'w> RunWriter<'w> {
    /// Starts at the front of `out`.
    pub const fn new(out: &'w mut [u8]) -> Self {
        Self { out: Writer::new(out), count: 0, last: 0 }
    }

    /// Appends a record, or nothing.
    ///
    /// # Errors
    /// [`BufferTooSmall`] if there is no room, or there are 64 records already.
    pub fn push(&mut self, time: Instant, record: &[u8]) -> Result<(), BufferTooSmall> {
        if usize::from(self.count) >= MAX_BATCH_RECORDS {
            return Err(BufferTooSmall { needed: usize::MAX });
        }
        let start = self.out.len();
        let time = time.as_millis().min(i64::MAX.unsigned_abs());
        let step = time.cast_signed().saturating_sub(self.last.cast_signed());
        let mut write = || {
            self.out.signed(step)?;
            self.out.prefixed(record)
        };
        if let Err(error) = write() {
            self.out.truncate(start);
            return Err(error);
        }
        self.count = self.count.saturating_add(1);
        self.last = time;
        Ok(())
    }

    /// Returns how many records there are.
    pub const fn count(&self) -> u8 {
        self.count
    }

    /// Ends the run and returns its length in bytes.
    pub fn finish(self) -> usize {
        self.out.len()
    }
}

/// Returns how many bytes a run of one record of `len` bytes takes at the most.
pub const fn longest_run_of_one(len: usize) -> usize {
    // The time takes up to 10 bytes.
    10usize.saturating_add(varint_len(len as u64)).saturating_add(len)
}

/// Reads what a [`RunWriter`] wrote; after an error it ends.
#[derive(Clone, Debug)]
pub struct RunReader<'a> {
    rest: Reader<'a>,
    last: u64,
    done: bool,
}

impl<'a> RunReader<'a> {
    /// Reads from the front of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: Reader::new(bytes), last: 0, done: false }
    }

    fn read(&mut self) -> Result<(Instant, &'a [u8]), DecodeError> {
        let step = self.rest.signed()?;
        self.last = self.last.checked_add_signed(step).ok_or(DecodeError::OutOfRange)?;
        let record = self.rest.prefixed(MAX_RECORD)?;
        if record.is_empty() {
            return Err(DecodeError::OutOfRange);
        }
        Ok((Instant::from_millis(self.last), record))
    }
}

impl<'a> Iterator for RunReader<'a> {
    type Item = Result<(Instant, &'a [u8]), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done || self.rest.is_empty() {
            return None;
        }
        let item = self.read();
        self.done = item.is_err();
        Some(item)
    }
}
