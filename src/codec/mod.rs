//! The one bounded reader and writer: integers, varints, length-prefixed bytes, strict postcard.
//!
//! Everything that comes from the network is read through [`Reader`]; everything that goes there is written
//! through [`Writer`] into the caller's bytes. Both refuse instead of panicking, and reading is strict:
//! a varint that is not the shortest one for its value is an error, as are bytes left over
//! ([`Reader::finish`]). Knows nothing of what the bytes mean.

mod reader;
mod strict;
mod writer;

pub use reader::Reader;
pub use strict::{decode_strict, encode_into};
pub use writer::Writer;

/// Why bytes could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DecodeError {
    /// The input ended inside a value.
    #[error("the input ended inside a value")]
    Truncated,
    /// Bytes were left over after the last value.
    #[error("bytes were left over after the last value")]
    TrailingBytes,
    /// A value was not encoded in its one canonical form.
    #[error("a value was not in its canonical form")]
    NonCanonical,
    /// A value is outside the range that its field allows.
    #[error("a value is outside its range")]
    OutOfRange,
    /// A mandatory type or kind is not known to this version.
    #[error("a mandatory type is unknown")]
    UnknownMandatory,
}

/// The caller's buffer is too small; nothing in it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the buffer is too small: {needed} bytes are needed")]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BufferTooSmall {
    /// The length that would have been enough, in bytes.
    pub needed: usize,
}

/// Maps a signed integer to an unsigned one so that small magnitudes stay small: 0, −1, 1, −2 → 0, 1, 2, 3.
///
/// ```
/// assert_eq!(vitalwire::codec::zigzag(-2), 3);
/// assert_eq!(vitalwire::codec::unzigzag(3), -2);
/// ```
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Reverses [`zigzag`].
pub const fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ (value & 1).wrapping_neg() as i64
}

/// Returns how many bytes the canonical varint of `value` takes: 1 to 10.
pub const fn varint_len(value: u64) -> usize {
    let bits = u64::BITS.saturating_sub((value | 1).leading_zeros());
    bits.div_ceil(7) as usize
}
