//! What a device knows of one lane's region in its storage.

use crate::framing::{BootTag, Lane, SetHash};

/// Entries of one stream, oldest first: which of them may be trimmed once which sequences are settled.
///
/// It never forgets an entry: where there are too many, it trims several together.
#[derive(Debug)]
pub(super) struct Marks<const N: usize> {
    /// Those behind the last one are [`Mark::NONE`].
    marks: [Mark; N],
}

/// How many entries of the present boot are told apart.
const OWN_MARKS: usize = 6;
/// Of an earlier one: only those whose records are in the backlog.
const LOADED_MARKS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    /// The entry's number.
    number: u64,
    /// One above its last sequence, so that it is not 0.
    end: u64,
}

impl Mark {
    /// Half the memory of an `Option`'s.
    const NONE: Self = Self { number: 0, end: 0 };

    const fn is_some(&self) -> bool {
        self.end != 0
    }
}

impl<const N: usize> Marks<N> {
    const NEW: Self = Self { marks: [Mark::NONE; N] };

    /// Adds an entry behind the others.
    pub(super) fn push(&mut self, number: u64, end: u64) {
        let mark = Mark { number, end: end.max(1) };
        if let Some(free) = self.marks.iter_mut().find(|mark| !mark.is_some()) {
            *free = mark;
        } else if let Some(last) = self.marks.last_mut() {
            *last = mark;
        }
    }

    /// Lets an entry be trimmed with the last one; `false` if there is none.
    pub(super) fn join(&mut self, number: u64) -> bool {
        let Some(last) = self.marks.iter_mut().rev().find(|mark| mark.is_some()) else { return false };
        last.number = number;
        true
    }

    /// Takes out the entries of which everything is settled, as `base` is the oldest sequence that is not. Returns the
    /// number of the last of them.
    //= SPEC.md#earlier-boots
    //# A device MUST NOT trim an entry that it can open before each of its records is settled, or is in the RAM of the boot that sealed the entry.
    pub(super) fn take_settled(&mut self, base: u64) -> Option<u64> {
        let mut last = None;
        while let Some(&mark) = self.marks.first().filter(|mark| mark.is_some())
            && mark.end <= base
        {
            last = Some(mark.number);
            self.marks.rotate_left(1);
            if let Some(freed) = self.marks.last_mut() {
                *freed = Mark::NONE;
            }
        }
        last
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.marks.iter().any(Mark::is_some)
    }
}

/// How far the entries of earlier boots have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Earlier {
    /// There may be more to read.
    Reading,
    /// All were read.
    Read,
    /// All were read, settled and trimmed.
    Gone,
}

/// An earlier boot's stream, as a session names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StreamName {
    pub(super) boot: u32,
    pub(super) tag: BootTag,
    pub(super) lane: Lane,
    pub(super) set: SetHash,
}

/// For what reading waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Nothing,
    /// For the backlog to move on from this sequence.
    Move(u64),
    /// For the backlog to be empty.
    Empty,
}

#[derive(Debug)]
pub(super) struct Region {
    pub(super) earlier: Earlier,
    /// The last entry of earlier boots that was read.
    pub(super) after: Option<u64>,
    /// Whose records are in the backlog, if it is an earlier boot.
    pub(super) bound: Option<StreamName>,
    pub(super) loaded: Marks<LOADED_MARKS>,
    /// The first entry of the present boot.
    pub(super) own_first: Option<u64>,
    /// The last entry of the present boot that was read back in whole.
    pub(super) own_after: Option<u64>,
    pub(super) own: Marks<OWN_MARKS>,
    pub(super) wait: Wait,
    /// Up to where the region may be trimmed.
    pub(super) trim: Option<u64>,
    /// Up to where it was.
    pub(super) trimmed: Option<u64>,
    pub(super) full: bool,
    /// A record did not fit the lane's memory: what is there is to be stored at once.
    pub(super) pressed: bool,
    /// The application is to be told how far records are stored.
    pub(super) report: bool,
}

impl Region {
    pub(super) const NEW: Self = Self {
        earlier: Earlier::Reading,
        after: None,
        bound: None,
        loaded: Marks::NEW,
        own_first: None,
        own_after: None,
        own: Marks::NEW,
        wait: Wait::Nothing,
        trim: None,
        trimmed: None,
        full: false,
        pressed: false,
        report: false,
    };

    /// Passes over an entry of earlier boots from which nothing is wanted.
    pub(super) fn skip(&mut self, number: u64) {
        self.after = Some(number);
        if !self.loaded.join(number) {
            self.trim = self.trim.max(Some(number));
        }
    }

    /// Tells whether reading must wait, where the backlog spans `first` to `end`.
    pub(super) fn waits(&self, (first, end): (u64, u64)) -> bool {
        match self.wait {
            Wait::Nothing => false,
            Wait::Move(from) => from == first && first != end,
            Wait::Empty => first != end,
        }
    }

    /// Takes note of what is settled: `backlog` of what was read of earlier boots, `base` of the present one.
    pub(super) fn note_settled(&mut self, backlog: u64, base: u64) {
        self.trim = self.trim.max(self.loaded.take_settled(backlog));
        if self.earlier == Earlier::Read && self.loaded.is_empty() && self.trim == self.trimmed {
            self.earlier = Earlier::Gone;
        }
        // Until then a trim would take earlier boots' entries along.
        if self.earlier == Earlier::Gone {
            self.trim = self.trim.max(self.own.take_settled(base));
        }
    }

    /// Tells whether nothing is stored.
    pub(super) fn is_empty(&self) -> bool {
        self.earlier == Earlier::Gone && self.own.is_empty() && self.trim == self.trimmed
    }

    /// Returns up to where to trim, if something is to be.
    pub(super) fn to_trim(&self) -> Option<u64> {
        self.trim.filter(|_| self.trim > self.trimmed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_never_forget_an_entry() {
        let mut marks = Marks::<8>::NEW;
        for number in 0..20 {
            marks.push(number, 10 * (number + 1));
        }
        assert_eq!(marks.take_settled(9), None);
        assert_eq!(marks.take_settled(35), Some(2));
        assert_eq!(marks.take_settled(199), Some(6), "the others are trimmed together");
        assert_eq!(marks.take_settled(200), Some(19));
        assert!(marks.is_empty() && !marks.join(1));
    }

    #[test]
    fn the_present_boots_entries_wait_for_those_of_earlier_ones() {
        let mut region = Region::NEW;
        region.own.push(8, 5);
        region.skip(3);
        region.note_settled(0, 5);
        assert_eq!(region.to_trim(), Some(3));
        region.earlier = Earlier::Read;
        region.note_settled(0, 5);
        assert_eq!((region.earlier, region.to_trim()), (Earlier::Read, Some(3)), "not confirmed yet");
        region.trimmed = Some(3);
        region.note_settled(0, 5);
        assert_eq!((region.earlier, region.to_trim()), (Earlier::Gone, Some(8)));
        assert!(!region.is_empty());
        region.trimmed = Some(8);
        assert!(region.is_empty());
    }
}
