//! Truncated packet counters (SPEC.md, "Packet counter").

/// How many low bytes of the packet counter a data packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CounterLen {
    /// 1 byte.
    One = 1,
    /// 2 bytes.
    Two = 2,
    /// 3 bytes.
    Three = 3,
    /// 4 bytes.
    Four = 4,
}

impl CounterLen {
    /// Every length, ascending.
    pub const ALL: [Self; 4] = [Self::One, Self::Two, Self::Three, Self::Four];

    /// Returns the length in bytes.
    pub const fn bytes(self) -> usize {
        self as usize
    }

    /// Returns how far a packet may be from the expected counter and still be told apart: 2^(8L−1).
    pub const fn reach(self) -> u64 {
        match self {
            Self::One => 1 << 7,
            Self::Two => 1 << 15,
            Self::Three => 1 << 23,
            Self::Four => 1 << 31,
        }
    }
}

/// Returns the smallest length that `next` can be sent with when the peer has authenticated `acked`.
///
/// `None` if the peer has heard nothing of the last 2^30 packets: the session must be closed then.
///
/// ```
/// use vitalwire::wire::{CounterLen, counter_len_for};
/// assert_eq!(counter_len_for(63, 0), Some(CounterLen::One));
/// assert_eq!(counter_len_for(64, 0), Some(CounterLen::Two));
/// assert_eq!(counter_len_for(1 << 30, 0), None);
/// ```
pub fn counter_len_for(next: u64, acked: u64) -> Option<CounterLen> {
    //= SPEC.md#packet-counter
    //# A sender MUST choose a counter length L of 1 to 4 such that next − A < 2^(8L−2), and close the session where there is none.
    let ahead = next.saturating_sub(acked);
    CounterLen::ALL.into_iter().find(|len| ahead < len.reach() / 2)
}

/// Returns the counter with the received low bytes that is nearest to `expected`.
///
/// It is the one in `[expected − 2^(8L−1), expected + 2^(8L−1))`; where that would be negative, the one above it.
/// Bytes of `truncated` above `len` do not count.
///
/// ```
/// use vitalwire::wire::{CounterLen, reconstruct};
/// assert_eq!(reconstruct(0x1_02, 0x01, CounterLen::One), 0x1_01);
/// assert_eq!(reconstruct(0x1_02, 0xf0, CounterLen::One), 0x0_f0);
/// assert_eq!(reconstruct(2, 0xf0, CounterLen::One), 0xf0);
/// ```
pub fn reconstruct(expected: u64, truncated: u32, len: CounterLen) -> u64 {
    let span = len.reach().wrapping_mul(2);
    // The distance modulo the span, read as a signed number of L bytes.
    let shift = span.leading_zeros().saturating_add(1);
    let distance = (u64::from(truncated).wrapping_sub(expected) << shift).cast_signed() >> shift;
    let nearest = expected.wrapping_add_signed(distance);
    match expected.checked_add_signed(distance) {
        Some(nearest) => nearest,
        None if distance < 0 => nearest.wrapping_add(span),
        None => nearest.wrapping_sub(span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Searches outward from `expected`, below first, for a counter with these low bytes.
    fn naive(expected: u64, truncated: u32, len: CounterLen) -> u64 {
        let span = 1i128 << (8 * len.bytes());
        let low = i128::from(truncated) % span;
        let expected = i128::from(expected);
        let mut best: Option<i128> = None;
        let base = expected - expected % span + low;
        for candidate in [base - span, base, base + span] {
            if candidate < 0 || candidate > i128::from(u64::MAX) {
                continue;
            }
            let nearer = |best: i128| {
                let (new, old) = ((candidate - expected).abs(), (best - expected).abs());
                new < old || (new == old && candidate < best)
            };
            if best.is_none_or(nearer) {
                best = Some(candidate);
            }
        }
        u64::try_from(best.unwrap()).unwrap()
    }

    #[test]
    fn picks_the_smallest_length_with_two_bits_to_spare() {
        //= SPEC.md#packet-counter
        //= type=test
        //# A sender MUST choose a counter length L of 1 to 4 such that next − A < 2^(8L−2), and close the session where there is none.
        for acked in [0, 1, 1 << 40] {
            for len in CounterLen::ALL {
                let limit = 1u64 << (8 * len.bytes() - 2);
                assert_eq!(counter_len_for(acked + limit - 1, acked), Some(len));
                assert_eq!(counter_len_for(acked + limit, acked), CounterLen::ALL.get(len.bytes()).copied());
                assert_ne!(counter_len_for(acked + limit + 1, acked), Some(len));
            }
        }
        assert_eq!(counter_len_for(0, 5), Some(CounterLen::One));
    }

    #[test]
    fn reconstructs_at_the_edges_of_the_span() {
        for len in CounterLen::ALL {
            let (reach, expected) = (len.reach(), 1u64 << 40);
            for counter in [expected - reach, expected - 1, expected, expected + reach - 1] {
                assert_eq!(reconstruct(expected, counter as u32, len), counter);
            }
            assert_eq!(reconstruct(expected, (expected + reach) as u32, len), expected - reach);
            assert_eq!(reconstruct(0, u32::MAX, len), 2 * reach - 1);
            assert_eq!(reconstruct(u64::MAX, 0, len), u64::MAX - (2 * reach - 1));
        }
    }

    fn any_len() -> impl Strategy<Value = CounterLen> {
        proptest::sample::select(&CounterLen::ALL[..])
    }

    proptest! {
        #[test]
        fn reconstructs_the_nearest(expected in prop_oneof![any::<u64>(), 0u64..70_000], truncated: u32, len in any_len()) {
            prop_assert_eq!(reconstruct(expected, truncated, len), naive(expected, truncated, len));
        }

        #[test]
        fn receiver_finds_what_the_sender_chose(acked in 0..u64::MAX / 2, heard_later in 0u64..1 << 30, ahead in 0u64..1 << 30) {
            // The receiver has heard `acked` or something newer, up to the packet before this one.
            let next = acked + ahead + 1;
            if let Some(len) = counter_len_for(next, acked) {
                let expected = acked + 1 + heard_later % (ahead + 1);
                prop_assert_eq!(reconstruct(expected, next as u32, len), next);
            }
        }
    }
}
