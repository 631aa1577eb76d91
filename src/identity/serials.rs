//! Runs of serial numbers, ascending and apart: what a revocation list holds.

use crate::codec::{DecodeError, Reader};
use core::ops::RangeInclusive;

/// Serial numbers as a revocation list has them, in ascending runs that do not touch.
///
/// Each run is a varint, twice its distance from the lowest number at which it could begin; one more if it has more than
/// one number, and then a varint, how many more than two. So there is one encoding for each set, a serial 63 or less
/// behind the one before takes one byte, and 8 191 or less, two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SerialRuns<'a>(&'a [u8]);

impl<'a> SerialRuns<'a> {
    /// Takes over encoded runs once each of them decodes.
    ///
    /// # Errors
    /// A [`DecodeError`] for anything that is not runs of 32-bit numbers.
    //= SPEC.md#revocation-lists
    //# A reader MUST refuse a list with a serial of 2^32 or above, or with bytes that are no run.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor { reader: Reader::new(bytes), next: 0 };
        while !cursor.reader.is_empty() {
            cursor.run()?;
        }
        Ok(Self(bytes))
    }

    /// Lists the runs.
    pub fn iter(&self) -> impl Iterator<Item = RangeInclusive<u32>> + 'a {
        let mut cursor = Cursor { reader: Reader::new(self.0), next: 0 };
        // Every run was decoded before, so this ends at the end of the bytes.
        core::iter::from_fn(move || cursor.run().ok())
    }

    /// Tells whether a serial is in one of them. Reads from the front.
    pub fn contains(&self, serial: u32) -> bool {
        self.iter().take_while(|run| *run.start() <= serial).any(|run| run.contains(&serial))
    }

    /// Counts the serials.
    pub fn count(&self) -> u64 {
        let len =
            |run: RangeInclusive<u32>| u64::from(run.end().saturating_sub(*run.start())).saturating_add(1);
        self.iter().map(len).fold(0, u64::saturating_add)
    }

    /// Tells whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the encoded runs.
    pub(super) const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }
}

struct Cursor<'a> {
    reader: Reader<'a>,
    /// The lowest number at which the next run can begin.
    next: u64,
}

impl Cursor<'_> {
    fn run(&mut self) -> Result<RangeInclusive<u32>, DecodeError> {
        let step = self.reader.varint()?;
        let first = self.next.checked_add(step >> 1).ok_or(DecodeError::OutOfRange)?;
        let last = match step & 1 {
            0 => Some(first),
            _ => self.reader.varint()?.checked_add(1).and_then(|more| more.checked_add(first)),
        };
        let last = last.and_then(|last| u32::try_from(last).ok()).ok_or(DecodeError::OutOfRange)?;
        let first = u32::try_from(first).map_err(|_| DecodeError::OutOfRange)?;
        self.next = u64::from(last).saturating_add(2);
        Ok(first..=last)
    }
}

/// Writes runs in any order, which may overlap, as one set of runs that do not touch.
#[cfg(feature = "alloc")]
pub(super) fn encode_runs(runs: &[RangeInclusive<u32>], out: &mut alloc::vec::Vec<u8>) {
    use alloc::vec::Vec;
    let mut sorted: Vec<(u64, u64)> = runs
        .iter()
        .filter(|run| !run.is_empty())
        .map(|run| ((*run.start()).into(), (*run.end()).into()))
        .collect();
    sorted.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (first, last) in sorted {
        match joined.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => joined.push((first, last)),
        }
    }
    let mut next = 0u64;
    let mut put = |value: u64| {
        let mut bytes = [0u8; 10];
        let mut writer = crate::codec::Writer::new(&mut bytes);
        if writer.varint(value).is_ok() {
            out.extend_from_slice(writer.written());
        }
    };
    for (first, last) in joined {
        let step = first.saturating_sub(next).saturating_mul(2);
        match last.saturating_sub(first).checked_sub(1) {
            None => put(step),
            Some(more) => {
                put(step | 1);
                put(more);
            }
        }
        next = last.saturating_add(2);
    }
}
