use serde::{Deserialize, Serialize};

use super::low_bits;
use crate::framing::{Settled, StreamAck};
use crate::limits::LEDGER_WINDOW;

/// Which sequences of one stream are settled: all below a cumulative one, and some of the next 255.
///
/// It is what an Ack frame carries and what the ledger keeps. The sequence `cumulative` itself is never settled.
///
/// ```
/// use vitalwire::delivery::StreamState;
/// let mut state = StreamState::starting_at(10);
/// assert!(state.insert(12));
/// assert!(!state.insert(12), "settled already");
/// assert_eq!(state.cumulative(), 10);
/// assert!(state.insert(10) && state.insert(11));
/// assert_eq!(state.cumulative(), 13);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StreamState {
    /// The lowest sequence that is not settled.
    next: u64,
    /// Bit i of the whole (low word first) stands for `next + 1 + i`.
    settled: [u64; 4],
}

impl StreamState {
    /// Makes the state in which all below `next` is settled and nothing else.
    pub const fn starting_at(next: u64) -> Self {
        Self { next, settled: [0; 4] }
    }

    /// Puts together what [`StreamState::into_parts`] took apart.
    pub(super) const fn of_parts(next: u64, settled: [u64; 4]) -> Self {
        Self { next, settled }
    }

    /// Returns the cumulative sequence and the bits above it.
    pub(super) const fn into_parts(self) -> (u64, [u64; 4]) {
        (self.next, self.settled)
    }

    /// Returns the lowest sequence that is not settled; all below it is.
    pub const fn cumulative(&self) -> u64 {
        self.next
    }

    /// Makes the part of an Ack frame that tells this state, for the stream with this index.
    pub fn to_ack(&self, stream: u8) -> StreamAck {
        let mut settled = Settled::NONE;
        let holes = self.settled != [0; 4];
        for bit in (0..=u8::MAX).filter(|_| holes) {
            if self.bits_from(bit.into()) & 1 == 1 {
                settled.insert(bit);
            }
        }
        StreamAck { stream, cumulative: self.next, settled }
    }

    /// Tells whether `sequence` is settled.
    pub fn contains(&self, sequence: u64) -> bool {
        self.mask(sequence) & 1 == 1
    }

    /// Tells whether `sequence` is so far up that it cannot be kept: [`LEDGER_WINDOW`] or more above the
    /// cumulative one.
    pub const fn is_beyond_window(&self, sequence: u64) -> bool {
        sequence >= self.next.saturating_add(LEDGER_WINDOW)
    }

    /// Returns the highest settled sequence plus one.
    pub fn end(&self) -> u64 {
        let top = self.settled.iter().zip([0u64, 64, 128, 192]).rev().find(|(word, _)| **word != 0);
        match top {
            None => self.next,
            Some((word, base)) => {
                let highest = base.saturating_add(u64::from(63u32.saturating_sub(word.leading_zeros())));
                self.next.saturating_add(highest).saturating_add(2)
            }
        }
    }

    /// Returns which of the 64 sequences from `first` on are settled: bit i stands for `first + i`.
    pub fn mask(&self, first: u64) -> u64 {
        let below = low_bits(self.next.saturating_sub(first));
        if self.settled == [0; 4] {
            return below;
        }
        let base = self.next.saturating_add(1);
        let above = match base.checked_sub(first) {
            Some(up) => u32::try_from(up).ok().and_then(|up| self.bits_from(0).checked_shl(up)).unwrap_or(0),
            None => self.bits_from(first.saturating_sub(base)),
        };
        below | above
    }

    /// Settles one sequence. Returns whether it was not settled before; one beyond the window is not taken.
    pub fn insert(&mut self, sequence: u64) -> bool {
        if sequence < self.next || self.is_beyond_window(sequence) {
            return false;
        }
        if sequence == self.next {
            self.settle_below(sequence.saturating_add(1));
            return true;
        }
        let bit = sequence.saturating_sub(self.next).saturating_sub(1);
        let Some(word) = usize::try_from(bit / 64).ok().and_then(|word| self.settled.get_mut(word)) else {
            return false;
        };
        let flag = 1u64.wrapping_shl((bit % 64) as u32);
        let fresh = *word & flag == 0;
        *word |= flag;
        fresh
    }

    /// Settles `first + i` for each bit i of `mask`. Returns those that were not settled before.
    pub fn insert_mask(&mut self, first: u64, mask: u64) -> u64 {
        let run = u64::from(mask.trailing_ones());
        let plain = first == self.next && mask == low_bits(run) && self.settled == [0; 4];
        if let Some(next) = first.checked_add(run).filter(|_| plain) {
            // The next ones in order, as they mostly come.
            self.next = next;
            return mask;
        }
        let mut fresh = 0u64;
        for bit in 0..64u32 {
            let flag = 1u64.wrapping_shl(bit);
            if mask & flag != 0 && first.checked_add(u64::from(bit)).is_some_and(|id| self.insert(id)) {
                fresh |= flag;
            }
        }
        fresh
    }

    /// Settles every sequence below `oldest`. Never goes backward.
    pub fn settle_below(&mut self, oldest: u64) {
        let Some(up) = oldest.checked_sub(self.next).filter(|up| *up > 0) else {
            return;
        };
        // After this shift, bit 0 stands for `oldest` itself; then its run of settled ones is taken too.
        self.shift_down(up.saturating_sub(1));
        let run = self.trailing_ones();
        self.next = oldest.saturating_add(run);
        self.shift_down(run.saturating_add(1));
    }

    /// Settles all that `other` has settled.
    pub fn merge(&mut self, other: &Self) {
        let (mut high, low) = if self.next >= other.next { (*self, *other) } else { (*other, *self) };
        for bit in 0..LEDGER_WINDOW {
            let id = low.next.saturating_add(1).saturating_add(bit);
            if low.contains(id) {
                high.insert(id);
            }
        }
        *self = high;
    }

    /// Returns 64 bits of the bitmap, from bit `start` on.
    fn bits_from(&self, start: u64) -> u64 {
        let word = usize::try_from(start / 64).unwrap_or(usize::MAX);
        let shift = (start % 64) as u32;
        let at = |index: usize| self.settled.get(index).copied().unwrap_or(0);
        let high = at(word.saturating_add(1)).checked_shl(64u32.saturating_sub(shift)).unwrap_or(0);
        at(word).wrapping_shr(shift) | high
    }

    fn shift_down(&mut self, by: u64) {
        let shifted = [0u64, 64, 128, 192].map(|bit| self.bits_from(by.saturating_add(bit)));
        self.settled = shifted;
    }

    fn trailing_ones(&self) -> u64 {
        let mut ones = 0u64;
        for word in self.settled {
            ones = ones.saturating_add(u64::from(word.trailing_ones()));
            if word != u64::MAX {
                break;
            }
        }
        ones
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn window_edges_are_exact() {
        let mut state = StreamState::starting_at(5);
        assert!(!state.insert(5 + LEDGER_WINDOW));
        assert!(!state.is_beyond_window(5 + LEDGER_WINDOW - 1));
        assert!(state.insert(5 + LEDGER_WINDOW - 1));
        assert_eq!(state.end(), 5 + LEDGER_WINDOW);
        assert!(state.contains(5 + LEDGER_WINDOW - 1) && !state.contains(5 + LEDGER_WINDOW));
        for id in 5..5 + LEDGER_WINDOW - 1 {
            assert!(state.insert(id));
        }
        assert_eq!(state, StreamState::starting_at(5 + LEDGER_WINDOW));
    }

    #[test]
    fn the_end_of_the_sequence_space_is_harmless() {
        let mut state = StreamState::starting_at(u64::MAX - 1);
        state.insert_mask(u64::MAX - 2, u64::MAX);
        state.settle_below(u64::MAX);
        state.insert(u64::MAX);
        assert_eq!(state.mask(u64::MAX) & 2, 0);
        state.merge(&StreamState { next: u64::MAX, settled: [u64::MAX; 4] });
        assert_eq!(state.cumulative(), u64::MAX);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64, u64),
        Below(u64),
        Merge(Vec<u64>),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u64..500, any::<u64>()).prop_map(|(first, mask)| Step::Insert(first, mask)),
            (0u64..500, any::<u64>()).prop_map(|(first, mask)| Step::Insert(first, mask & (mask >> 7))),
            (0u64..500).prop_map(Step::Below),
            proptest::collection::vec(0u64..400, 0..40).prop_map(Step::Merge),
        ]
    }

    proptest! {
        #[test]
        fn equals_a_set_of_sequences(steps in proptest::collection::vec(step(), 0..30)) {
            let mut state = StreamState::default();
            let mut model = BTreeSet::new();
            let next = |model: &BTreeSet<u64>| (0..).find(|id| !model.contains(id)).unwrap();
            for step in steps {
                match step {
                    Step::Insert(first, mask) => {
                        let mut fresh = 0u64;
                        for bit in 0..64 {
                            let id = first + bit;
                            if mask >> bit & 1 == 1 && id < next(&model) + LEDGER_WINDOW && model.insert(id) {
                                fresh |= 1 << bit;
                            }
                        }
                        prop_assert_eq!(state.insert_mask(first, mask), fresh);
                    }
                    Step::Below(oldest) => {
                        state.settle_below(oldest);
                        model.extend(0..oldest);
                    }
                    Step::Merge(ids) => {
                        let mut other = StreamState::default();
                        let taken = ids.into_iter().filter(|id| { other.insert(*id); other.contains(*id) });
                        model.extend(taken.collect::<Vec<_>>());
                        state.merge(&other);
                    }
                }
                prop_assert_eq!(state.cumulative(), next(&model));
                prop_assert_eq!(state.end(), model.last().map_or(0, |last| last + 1));
                for id in 0..600 {
                    prop_assert_eq!(state.contains(id), model.contains(&id));
                }
                let ack = state.to_ack(3);
                for id in 0..800 {
                    prop_assert_eq!(ack.settles(id), state.contains(id));
                }
            }
        }
    }
}
