//! The replay window of one direction.

use crate::error::Discard;

const WORD: u64 = u64::BITS as u64;

/// Remembers which of the last `64 × WORDS` packet counters have authenticated (SPEC.md, "Replay window").
///
/// A ring of bits: advancing clears whole words, so it costs at most `WORDS + 1` steps. Exactly `64 × WORDS` counters
/// are told apart, all of them usable.
///
/// ```
/// use vitalwire::Discard;
/// use vitalwire::session::ReplayWindow;
/// let mut window = ReplayWindow::<2>::new();
/// window.check(7)?;
/// // … the packet authenticates …
/// window.mark(7);
/// assert_eq!(window.check(7), Err(Discard::Replayed));
/// window.mark(7 + 128);
/// assert_eq!(window.check(7), Err(Discard::StaleCounter));
/// assert_eq!(window.check(8), Ok(()));
/// # Ok::<(), Discard>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "backend", repr(C))]
pub struct ReplayWindow<const WORDS: usize> {
    // The highest counter marked so far: its bit is set, unless none is marked.
    top: u64,
    // The bit of a counter is at counter modulo the window's size.
    bits: [u64; WORDS],
}

impl<const WORDS: usize> ReplayWindow<WORDS> {
    /// How many counters the window holds.
    pub const SIZE: u64 = {
        assert!(WORDS >= 1 && WORDS <= 128, "SPEC.md, Limits: 64 to 8192 packets");
        WORDS as u64 * WORD
    };

    /// Makes a window that has seen nothing.
    pub const fn new() -> Self {
        Self { top: 0, bits: [0; WORDS] }
    }

    /// Reads what tells where the rest is.
    #[cfg(feature = "backend")]
    pub(super) const fn touch(&self) -> u64 {
        self.top
    }

    /// Reads the word of the counter that comes next.
    #[cfg(feature = "backend")]
    pub(super) fn touch_next(&self) -> u64 {
        self.bits.get(Self::word(self.top.wrapping_add(1) / WORD)).copied().unwrap_or(0)
    }

    /// Returns the highest counter marked so far.
    pub fn highest(&self) -> Option<u64> {
        (self.top != 0 || self.is_set(0)).then_some(self.top)
    }

    fn is_set(&self, counter: u64) -> bool {
        self.bits.get(Self::word(counter / WORD)).is_some_and(|word| word & bit(counter) != 0)
    }

    /// Tells whether a packet with this counter may be opened. Changes nothing.
    ///
    /// # Errors
    /// [`Discard::StaleCounter`] if the counter is too old to be told apart, [`Discard::Replayed`] if it is marked.
    pub fn check(&self, counter: u64) -> Result<(), Discard> {
        let Some(highest) = self.highest() else { return Ok(()) };
        //= SPEC.md#replay-window
        //# A receiver MUST discard a packet whose counter is authenticated already, or is at or below highest − W.
        if counter > highest {
            Ok(())
        } else if highest.wrapping_sub(counter) >= Self::SIZE {
            Err(Discard::StaleCounter)
        } else if self.is_set(counter) {
            Err(Discard::Replayed)
        } else {
            Ok(())
        }
    }

    /// Marks a counter whose packet has authenticated. A stale one is left alone.
    pub fn mark(&mut self, counter: u64) {
        match self.highest() {
            Some(highest) if counter <= highest => {
                if highest.wrapping_sub(counter) >= Self::SIZE {
                    return;
                }
            }
            Some(highest) => {
                self.clear(highest.saturating_add(1), counter);
                self.top = counter;
            }
            None => self.top = counter,
        }
        if let Some(word) = self.bits.get_mut(Self::word(counter / WORD)) {
            *word |= bit(counter);
        }
    }

    /// Clears the bits of the counters `first` to `last`, both inclusive.
    fn clear(&mut self, first: u64, last: u64) {
        if last.wrapping_sub(first) >= Self::SIZE {
            self.bits = [0; WORDS];
            return;
        }
        let (first_word, last_word) = (first / WORD, last / WORD);
        for index in first_word..=last_word {
            let mut mask = u64::MAX;
            if index == first_word {
                mask &= u64::MAX << (first % WORD);
            }
            if index == last_word {
                mask &= u64::MAX >> (WORD - 1).wrapping_sub(last % WORD);
            }
            if let Some(word) = self.bits.get_mut(Self::word(index)) {
                *word &= !mask;
            }
        }
    }

    /// The place in the ring of the word that holds the counters from `64 × index` on.
    const fn word(index: u64) -> usize {
        // The divisor is WORDS, which SIZE proves to be at least 1.
        match index.checked_rem(Self::SIZE / WORD) {
            Some(place) => place as usize,
            None => 0,
        }
    }
}

impl<const WORDS: usize> Default for ReplayWindow<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

const fn bit(counter: u64) -> u64 {
    1 << (counter % WORD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn discards_replayed_and_stale_counters() {
        //= SPEC.md#replay-window
        //= type=test
        //# A receiver MUST discard a packet whose counter is authenticated already, or is at or below highest − W.
        let mut window = ReplayWindow::<2>::new();
        assert_eq!(window.check(u64::MAX), Ok(()));
        window.mark(1000);
        assert_eq!(window.check(1000), Err(Discard::Replayed));
        assert_eq!(window.check(1000 - 127), Ok(()));
        assert_eq!(window.check(1000 - 128), Err(Discard::StaleCounter));
        assert_eq!(window.check(1000 - 129), Err(Discard::StaleCounter));
        window.mark(1000 - 128);
        assert_eq!(window.check(1001), Ok(()));
        window.mark(u64::MAX);
        assert_eq!(window.check(u64::MAX), Err(Discard::Replayed));
        assert_eq!(window.check(u64::MAX - 127), Ok(()));
        assert_eq!(window.check(u64::MAX - 128), Err(Discard::StaleCounter));
        assert_eq!(window.highest(), Some(u64::MAX));
    }

    fn matches_model<const WORDS: usize>(steps: &[(bool, u64)]) {
        let size = ReplayWindow::<WORDS>::SIZE;
        let mut window = ReplayWindow::<WORDS>::new();
        let mut seen = BTreeSet::<u64>::new();
        for &(back, by) in steps {
            let highest = seen.last().copied();
            let base = highest.unwrap_or(0);
            let counter = if back { base.saturating_sub(by) } else { base.saturating_add(by) };
            let expected = match highest {
                Some(highest) if counter + size <= highest => Err(Discard::StaleCounter),
                _ if seen.contains(&counter) => Err(Discard::Replayed),
                _ => Ok(()),
            };
            assert_eq!(window.check(counter), expected, "{WORDS} {counter} {highest:?}");
            if expected.is_ok() {
                window.mark(counter);
                seen.insert(counter);
            }
            assert_eq!(window.highest(), seen.last().copied());
        }
    }

    proptest! {
        #[test]
        fn equals_a_set(steps in proptest::collection::vec((any::<bool>(), prop_oneof![0u64..4, 0u64..80, 0u64..300]), 0..300)) {
            matches_model::<1>(&steps);
            matches_model::<2>(&steps);
            matches_model::<3>(&steps);
            matches_model::<16>(&steps);
        }
    }
}
