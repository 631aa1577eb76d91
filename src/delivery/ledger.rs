use alloc::boxed::Box;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::StreamState;
use crate::framing::{BootTag, Gap, Lane};
use crate::limits::MAX_LEDGER_STREAMS;
use core::ops::Range;

/// Which stream of a device: a boot, told apart by its tag, and a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "(u32, [u8; 4], u8)", try_from = "(u32, [u8; 4], u8)")]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct StreamKey {
    /// The boot number.
    pub boot: u32,
    /// The boot's random tag.
    pub tag: BootTag,
    /// The lane.
    pub lane: Lane,
}

impl From<StreamKey> for (u32, [u8; 4], u8) {
    fn from(key: StreamKey) -> Self {
        (key.boot, key.tag.0, key.lane.code())
    }
}

impl TryFrom<(u32, [u8; 4], u8)> for StreamKey {
    type Error = LedgerError;

    fn try_from((boot, tag, lane): (u32, [u8; 4], u8)) -> Result<Self, LedgerError> {
        let lane = Lane::from_code(lane).ok_or(LedgerError::Malformed)?;
        Ok(Self { boot, tag: BootTag(tag), lane })
    }
}

impl StreamKey {
    /// Returns which records a gap names that came in this stream: the stream, and its sequences.
    ///
    /// A record that was delivered exists, whatever a gap says (SPEC.md, "Full lanes"): take away those that are stored.
    ///
    /// ```
    /// use vitalwire::delivery::StreamKey;
    /// use vitalwire::framing::{BootTag, Gap, GapReason, Lane};
    /// let trend = StreamKey { boot: 3, tag: BootTag([1, 2, 3, 4]), lane: Lane::Trend };
    /// let gap = Gap { lane: None, first: 100, count: 20, reason: GapReason::OutboxFull };
    /// assert_eq!(trend.named_by(&gap), (trend, 100..120));
    /// let gap = Gap { lane: Some(Lane::Waveform), ..gap };
    /// assert_eq!(trend.named_by(&gap).0, StreamKey { lane: Lane::Waveform, ..trend });
    /// ```
    pub fn named_by(&self, gap: &Gap) -> (Self, Range<u64>) {
        let stream = Self { lane: gap.lane.unwrap_or(self.lane), ..*self };
        (stream, gap.sequences())
    }
}

/// The record ids that one delivered batch brought, for the application's own transaction.
///
/// Apply it to the stored [`Ledger`] in the transaction that stores the records: then each is stored exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Mark {
    /// The stream.
    pub stream: StreamKey,
    /// All sequences below this are settled, as the device said when it named the stream.
    pub settled_below: u64,
    /// The first sequence.
    pub first: u64,
    /// Bit i stands for record `first + i`.
    pub mask: u64,
}

/// A stream that its device has closed, for the application's own transaction: see [`Ledger::close`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ClosedStream {
    /// The stream.
    pub stream: StreamKey,
    /// The highest sequence that was settled when the device closed it, plus one.
    pub end: u64,
}

/// Which records of one device are settled: what the backend's application keeps durably, one per identity.
///
/// It is a few dozen bytes per stream and bounded ([`MAX_LEDGER_STREAMS`]). It serialises with serde; what is
/// read back is checked.
///
/// ```
/// use vitalwire::delivery::{Ledger, Mark, StreamKey};
/// use vitalwire::framing::{BootTag, Lane};
/// let stream = StreamKey { boot: 3, tag: BootTag([1, 2, 3, 4]), lane: Lane::Trend };
/// let mut ledger = Ledger::default();
/// let mark = Mark { stream, settled_below: 0, first: 10, mask: 0b111 };
/// assert_eq!(ledger.apply(&mark)?, 0b111, "all three are new");
/// let again = Mark { first: 12, mask: 0b11, ..mark };
/// assert_eq!(ledger.apply(&again)?, 0b10, "record 12 was there already");
/// # Ok::<(), vitalwire::delivery::LedgerError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<(StreamKey, StreamState)>", try_from = "Vec<(StreamKey, StreamState)>")]
pub struct Ledger {
    /// In ascending order of boot and tag.
    boots: Box<[Boot]>,
}

/// The streams of one boot: a device has few, and mostly all its lanes in each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Boot {
    boot: u32,
    tag: [u8; 4],
    /// The lanes of which there is a stream, as bits.
    known: u8,
    /// What is settled of each lane: all below.
    next: [u64; LANES],
    /// What is settled beyond: mostly nothing.
    above: Option<Box<[[u64; 4]; LANES]>>,
}

const LANES: usize = Lane::ALL.len();

impl Boot {
    const fn bit(lane: Lane) -> u8 {
        1u8.wrapping_shl(lane.index() as u32)
    }

    fn state(&self, lane: Lane) -> Option<StreamState> {
        let next = self.next.get(lane.index()).filter(|_| self.known & Self::bit(lane) != 0)?;
        let above = self.above.as_ref().and_then(|above| above.get(lane.index()));
        Some(StreamState::of_parts(*next, above.copied().unwrap_or_default()))
    }

    fn set(&mut self, lane: Lane, state: StreamState) {
        self.known |= Self::bit(lane);
        let (next, bits) = state.into_parts();
        if let Some(own) = self.next.get_mut(lane.index()) {
            *own = next;
        }
        self.set_above(lane, bits);
    }

    fn forget(&mut self, lane: Lane) {
        self.set(lane, StreamState::default());
        self.known &= !Self::bit(lane);
    }

    fn set_above(&mut self, lane: Lane, bits: [u64; 4]) {
        if bits != [0; 4] {
            self.above.get_or_insert_default();
        }
        if let Some(above) = &mut self.above {
            if let Some(own) = above.get_mut(lane.index()) {
                *own = bits;
            }
            if **above == [[0; 4]; LANES] {
                self.above = None;
            }
        }
    }

    fn key(&self, lane: Lane) -> StreamKey {
        StreamKey { boot: self.boot, tag: BootTag(self.tag), lane }
    }
}

/// Why a ledger did not take something; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LedgerError {
    /// It has [`MAX_LEDGER_STREAMS`] streams already.
    #[error("the ledger has no room for another stream")]
    Full,
    /// A record is too far above the stream's first unsettled one to be kept.
    #[error("a record is beyond the ledger's window")]
    BeyondWindow,
    /// A stored ledger is not one.
    #[error("the stored ledger is malformed")]
    Malformed,
}

impl From<Ledger> for Vec<(StreamKey, StreamState)> {
    fn from(ledger: Ledger) -> Self {
        ledger.streams().collect()
    }
}

impl TryFrom<Vec<(StreamKey, StreamState)>> for Ledger {
    type Error = LedgerError;

    fn try_from(streams: Vec<(StreamKey, StreamState)>) -> Result<Self, LedgerError> {
        let ascending = streams.is_sorted_by(|(a, _), (b, _)| a < b);
        if !ascending || streams.len() > MAX_LEDGER_STREAMS {
            return Err(LedgerError::Malformed);
        }
        let mut ledger = Self::default();
        for (key, state) in streams {
            ledger.put(key, state)?;
        }
        Ok(ledger)
    }
}

/// The streams of a ledger.
struct Streams<'l> {
    boots: core::slice::Iter<'l, Boot>,
    boot: Option<&'l Boot>,
    lanes: core::slice::Iter<'static, Lane>,
    left: usize,
}

impl Iterator for Streams<'_> {
    type Item = (StreamKey, StreamState);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let boot = match self.boot {
                Some(boot) => boot,
                None => self.boots.next()?,
            };
            self.boot = Some(boot);
            match self.lanes.next() {
                Some(lane) => {
                    if let Some(state) = boot.state(*lane) {
                        self.left = self.left.saturating_sub(1);
                        return Some((boot.key(*lane), state));
                    }
                }
                None => (self.boot, self.lanes) = (None, Lane::ALL.iter()),
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Streams<'_> {}

impl Ledger {
    /// Returns what is settled of a stream, if it is known.
    pub fn stream(&self, key: &StreamKey) -> Option<StreamState> {
        self.boots.get(self.place(key).ok()?)?.state(key.lane)
    }

    /// Reads a little of the newest boot, which is the last one.
    #[cfg(feature = "backend")]
    pub(crate) fn touch(&self) -> u64 {
        self.boots.last().map_or(0, |boot| {
            let [first, ..] = boot.next;
            first ^ u64::from(boot.boot) ^ u64::from(boot.known)
        })
    }

    /// Lists the streams in ascending order of their keys.
    pub fn streams(&self) -> impl ExactSizeIterator<Item = (StreamKey, StreamState)> + '_ {
        Streams { boots: self.boots.iter(), boot: None, lanes: Lane::ALL.iter(), left: self.count() }
    }

    fn count(&self) -> usize {
        self.boots.iter().fold(0, |count, boot| count.saturating_add(boot.known.count_ones() as usize))
    }

    /// Finds the boot of a stream, or where it belongs.
    fn place(&self, key: &StreamKey) -> Result<usize, usize> {
        self.boots.binary_search_by_key(&(key.boot, key.tag.0), |boot| (boot.boot, boot.tag))
    }

    /// Settles the records of a mark and returns those that were not settled before, bit i for `first + i`: these
    /// are to be stored, the others are repeats.
    ///
    /// # Errors
    /// [`LedgerError::Full`] or [`LedgerError::BeyondWindow`]; nothing has changed.
    pub fn apply(&mut self, mark: &Mark) -> Result<u64, LedgerError> {
        let mut state = self.stream(&mark.stream).unwrap_or_default();
        state.settle_below(mark.settled_below);
        let top = u64::from(63u32.saturating_sub(mark.mask.leading_zeros()));
        if mark.mask != 0 && mark.first.checked_add(top).is_none_or(|last| state.is_beyond_window(last)) {
            return Err(LedgerError::BeyondWindow);
        }
        let fresh = state.insert_mask(mark.first, mark.mask);
        self.put(mark.stream, state)?;
        Ok(fresh)
    }

    /// Settles all sequences of a stream below `oldest`, as a device says in a Streams frame; a stream that is not
    /// known yet becomes so.
    ///
    /// # Errors
    /// [`LedgerError::Full`].
    pub fn settle_below(&mut self, key: StreamKey, oldest: u64) -> Result<(), LedgerError> {
        let mut state = self.stream(&key).unwrap_or_default();
        state.settle_below(oldest);
        self.put(key, state)
    }

    /// Settles all that `other` has settled: where two nodes served the same device.
    ///
    /// # Errors
    /// [`LedgerError::Full`].
    pub fn merge(&mut self, other: &Self) -> Result<(), LedgerError> {
        let unknown = other.streams().filter(|(key, _)| self.stream(key).is_none()).count();
        if self.count().saturating_add(unknown) > MAX_LEDGER_STREAMS {
            return Err(LedgerError::Full);
        }
        for (key, theirs) in other.streams() {
            let mut state = self.stream(&key).unwrap_or_default();
            state.merge(&theirs);
            self.put(key, state)?;
        }
        Ok(())
    }

    /// Forgets the streams for which `keep` does not hold: a device that names all its streams has closed the others.
    pub fn retain(&mut self, mut keep: impl FnMut(&StreamKey) -> bool) {
        self.forget(|key, _| !keep(key));
    }

    /// Forgets the streams for which `gone` holds, and the boots of which none is left.
    fn forget(&mut self, mut gone: impl FnMut(&StreamKey, StreamState) -> bool) {
        for boot in &mut self.boots {
            for lane in Lane::ALL {
                if boot.state(lane).is_some_and(|state| gone(&boot.key(lane), state)) {
                    boot.forget(lane);
                }
            }
        }
        if self.boots.iter().any(|boot| boot.known == 0) {
            let mut boots = core::mem::take(&mut self.boots).into_vec();
            boots.retain(|boot| boot.known != 0);
            self.boots = boots.into_boxed_slice();
        }
    }

    /// Forgets a stream that its device has closed, unless a record from its end on is settled: then the device has
    /// opened it again meanwhile, and what was stored since must be remembered. So closings and marks may be applied
    /// in any order.
    ///
    /// Call it in the transaction that stores a batch, with each of [`Batch::closed`](crate::backend::Batch::closed),
    /// before [`Ledger::apply`]: else the ledger of a device that boots often is [`LedgerError::Full`] one day.
    ///
    /// ```
    /// use vitalwire::delivery::{ClosedStream, Ledger, Mark, StreamKey};
    /// use vitalwire::framing::{BootTag, Lane};
    /// let stream = StreamKey { boot: 3, tag: BootTag([1, 2, 3, 4]), lane: Lane::Trend };
    /// let mut ledger = Ledger::default();
    /// ledger.apply(&Mark { stream, settled_below: 0, first: 0, mask: 0b111 })?;
    /// ledger.close(&ClosedStream { stream, end: 2 });
    /// assert!(ledger.stream(&stream).is_some(), "record 2 was stored after it was closed");
    /// ledger.close(&ClosedStream { stream, end: 3 });
    /// assert!(ledger.stream(&stream).is_none());
    /// # Ok::<(), vitalwire::delivery::LedgerError>(())
    /// ```
    pub fn close(&mut self, closed: &ClosedStream) {
        self.forget(|key, state| *key == closed.stream && state.end() <= closed.end);
    }

    /// Returns another tag under which the ledger knows this boot number: no device has one boot twice, unless it
    /// was copied or its storage was reset.
    pub fn other_tag(&self, boot: u32, tag: BootTag) -> Option<BootTag> {
        let other = self.boots.iter().find(|known| known.boot == boot && known.tag != tag.0);
        other.map(|known| BootTag(known.tag))
    }

    /// Keeps what is settled of a stream.
    fn put(&mut self, key: StreamKey, state: StreamState) -> Result<(), LedgerError> {
        let at = self.place(&key);
        let known = at.ok().and_then(|at| self.boots.get(at)?.state(key.lane)).is_some();
        if !known && self.count() >= MAX_LEDGER_STREAMS {
            return Err(LedgerError::Full);
        }
        let at = at.unwrap_or_else(|at| {
            let mut boots = core::mem::take(&mut self.boots).into_vec();
            // No room that is never used: most devices have one boot.
            boots.reserve_exact(1);
            boots.insert(at, Boot { boot: key.boot, tag: key.tag.0, ..Boot::default() });
            self.boots = boots.into_boxed_slice();
            at
        });
        self.boots.get_mut(at).ok_or(LedgerError::Full)?.set(key.lane, state);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LEDGER_WINDOW;

    fn key(boot: u32) -> StreamKey {
        StreamKey { boot, tag: BootTag([9; 4]), lane: Lane::Event }
    }

    #[test]
    fn reads_back_what_it_wrote_and_nothing_malformed() {
        let mut ledger = Ledger::default();
        for boot in [5, 1, 3] {
            ledger.settle_below(key(boot), 7).unwrap();
            ledger.apply(&Mark { stream: key(boot), settled_below: 0, first: 9, mask: 5 }).unwrap();
        }
        let mut buffer = [0u8; 512];
        let bytes = postcard::to_slice(&ledger, &mut buffer).unwrap();
        assert_eq!(postcard::from_bytes::<Ledger>(bytes), Ok(ledger.clone()));
        let mut streams = Vec::from(ledger);
        streams.reverse();
        assert_eq!(Ledger::try_from(streams), Err(LedgerError::Malformed));
        let lane_of_four = postcard::to_slice(&(1u32, [0u8; 4], 4u8), &mut buffer).unwrap();
        assert!(postcard::from_bytes::<StreamKey>(lane_of_four).is_err());
    }

    #[test]
    fn holds_as_many_streams_as_its_limit() {
        let mut ledger = Ledger::default();
        for boot in 0..MAX_LEDGER_STREAMS as u32 {
            assert_eq!(ledger.settle_below(key(boot), 1), Ok(()));
        }
        let full = ledger.clone();
        assert_eq!(ledger.settle_below(key(1000), 1), Err(LedgerError::Full));
        let mark = Mark { stream: key(1000), settled_below: 0, first: 0, mask: 1 };
        assert_eq!(ledger.apply(&mark), Err(LedgerError::Full));
        let mut other = Ledger::default();
        other.settle_below(key(2), 50).unwrap();
        other.settle_below(key(2000), 1).unwrap();
        assert_eq!(ledger.merge(&other), Err(LedgerError::Full));
        assert_eq!(ledger, full, "nothing has changed");
        ledger.retain(|key| key.boot != 0);
        assert_eq!(ledger.merge(&other), Ok(()));
        assert_eq!(ledger.stream(&key(2)).unwrap().cumulative(), 50);
    }

    #[test]
    fn refuses_a_mark_beyond_its_window_whole() {
        let mut ledger = Ledger::default();
        let mark = Mark { stream: key(1), settled_below: 0, first: LEDGER_WINDOW - 1, mask: 0b11 };
        assert_eq!(ledger.apply(&mark), Err(LedgerError::BeyondWindow));
        assert_eq!(ledger, Ledger::default());
        assert_eq!(ledger.apply(&Mark { mask: 0b01, ..mark }), Ok(0b01));
        assert_eq!(ledger.apply(&Mark { settled_below: 1, ..mark }), Ok(0b10), "the device moved on");
        let far = Mark { first: u64::MAX, settled_below: u64::MAX - 3, ..mark };
        assert_eq!(ledger.apply(&far), Err(LedgerError::BeyondWindow), "no sequence above 2^64 − 1");
    }

    #[test]
    fn knows_a_boot_with_two_tags() {
        let mut ledger = Ledger::default();
        ledger.settle_below(key(4), 1).unwrap();
        assert_eq!(ledger.other_tag(4, BootTag([9; 4])), None);
        assert_eq!(ledger.other_tag(4, BootTag([8; 4])), Some(BootTag([9; 4])));
        assert_eq!(ledger.other_tag(5, BootTag([8; 4])), None);
    }
}
