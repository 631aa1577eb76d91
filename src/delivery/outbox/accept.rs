use super::lane::LaneQueue;
use super::ring::Stage;
use crate::error::CallError;
use crate::framing::Lane;
use crate::time::Instant;

/// Records that are being accepted: all of them with [`LaneTx::commit`], or none.
///
/// ```
/// use vitalwire::delivery::{LaneShares, Outbox};
/// use vitalwire::{CallError, Instant, framing::Lane};
/// let mut memory = [0u8; 256];
/// let mut outbox = Outbox::new(&mut memory, LaneShares::of_total(256))?;
/// let now = Instant::from_millis(5);
///
/// let mut tx = outbox.begin(now, Lane::Trend);
/// tx.append(now, |space| { space[..3].copy_from_slice(b"one"); Ok(3) })?;
/// drop(tx); // changed its mind
///
/// let mut tx = outbox.begin(now, Lane::Trend);
/// tx.append_bytes(now, b"two")?;
/// assert_eq!(tx.append_bytes(now, &[0; 100]), Err(CallError::RecordTooLong));
/// let accepted = tx.commit();
/// assert_eq!((accepted.first, accepted.count), (0, 1));
/// # Ok::<(), CallError>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping it accepts nothing"]
pub struct LaneTx<'t, 'm> {
    now: Instant,
    lane: Lane,
    queue: &'t mut LaneQueue<'m>,
    stage: Stage,
}

/// The ids of accepted records: `count` consecutive sequences of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Accepted {
    /// The lane.
    pub lane: Lane,
    /// The first record's sequence.
    pub first: u64,
    /// How many records.
    pub count: u32,
}

impl<'t, 'm> LaneTx<'t, 'm> {
    pub(super) fn new(now: Instant, lane: Lane, queue: &'t mut LaneQueue<'m>) -> Self {
        let stage = queue.stage();
        Self { now, lane, queue, stage }
    }

    /// Appends a record that `encode` writes to the front of the space it is given; it returns the length.
    ///
    /// `time` is the record's own, kept to 48 bits of milliseconds. The space is at most
    /// [`MAX_RECORD`](crate::limits::MAX_RECORD) bytes long, and shorter where the lane has less left. Where the
    /// lane's policy is to drop the oldest ([`LanePolicy`](super::LanePolicy)), `encode` is called again with more space
    /// after it returned [`CallError::BufferTooSmall`]; what was given up for that stays so if nothing is committed.
    ///
    /// # Errors
    /// [`CallError::LaneFull`] or [`CallError::RecordTooLong`] where `encode` returns
    /// [`CallError::BufferTooSmall`]; [`CallError::BadRecord`] for an empty record; any other error of `encode`.
    /// What was appended before stays.
    pub fn append(
        &mut self,
        time: Instant,
        mut encode: impl FnMut(&mut [u8]) -> Result<usize, CallError>,
    ) -> Result<(), CallError> {
        loop {
            match self.queue.ring_mut().append(&mut self.stage, time, &mut encode) {
                // each turn gives up a record at least
                Err(CallError::LaneFull) if self.queue.make_room(&mut self.stage) => {}
                result => return result,
            }
        }
    }

    /// Appends a record that is encoded already.
    ///
    /// # Errors
    /// As [`LaneTx::append`].
    pub fn append_bytes(&mut self, time: Instant, record: &[u8]) -> Result<(), CallError> {
        self.append(time, |space| {
            let short = crate::codec::BufferTooSmall { needed: record.len() };
            space.get_mut(..record.len()).ok_or(short)?.copy_from_slice(record);
            Ok(record.len())
        })
    }

    /// Returns how many records were appended.
    pub fn count(&self) -> u32 {
        self.stage.records
    }

    /// Accepts what was appended, and returns its ids.
    pub fn commit(self) -> Accepted {
        //= SPEC.md#record-ids
        //# A device MUST give consecutive sequences, from 0, to the records of a stream, in the order in which it accepts them.
        let (first, count) = (self.queue.ring().end(), self.stage.records);
        self.queue.commit(self.now, self.stage);
        Accepted { lane: self.lane, first, count }
    }
}
