use super::{DecodeError, unzigzag, varint_len};

/// Reads values from the front of a byte slice, never past its end.
///
/// ```
/// use vitalwire::codec::{DecodeError, Reader};
/// let mut reader = Reader::new(&[0x96, 0x01, 7]);
/// assert_eq!(reader.varint()?, 150);
/// assert_eq!(reader.u8()?, 7);
/// reader.finish()?;
/// // 0x80 0x00 also means zero, but is not the shortest form
/// assert_eq!(Reader::new(&[0x80, 0x00]).varint(), Err(DecodeError::NonCanonical));
/// # Ok::<(), DecodeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns how many bytes are left.
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Tells whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes all that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    /// Takes the next `len` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left; the reader stays where it was.
    #[cfg_attr(feature = "backend", inline)]
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        //= SPEC.md#conventions
        //# A reader MUST refuse a structure that ends before its last value.
        let (head, tail) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = tail;
        Ok(head)
    }

    /// Takes the next `N` bytes as an array.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    #[cfg_attr(feature = "backend", inline)]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = tail;
        Ok(*head)
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    #[cfg_attr(feature = "backend", inline)]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// Takes a little-endian `u16`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer than 2 bytes are left.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    /// Takes a little-endian `u32`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer than 4 bytes are left.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Takes an unsigned LEB128 varint of at most 64 bits, as postcard writes it.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if it does not end, [`DecodeError::NonCanonical`] if a shorter form exists,
    /// [`DecodeError::OutOfRange`] above `u64::MAX`.
    #[cfg_attr(feature = "backend", inline)]
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        // Most values are so small.
        if let [byte @ 0..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok((*byte).into());
        }
        #[cfg(feature = "backend")]
        if let [low, high @ 1..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*low & 0x7f) | u64::from(*high) << 7);
        }
        #[cfg(feature = "backend")]
        if let Some(read) = self.wide_varint() {
            return read;
        }
        self.long_varint()
    }

    /// Reads a varint without a step for each byte, if it has at most 8 and as many are left.
    #[cfg(feature = "backend")]
    fn wide_varint(&mut self) -> Option<Result<u64, DecodeError>> {
        let word = u64::from_le_bytes(*self.rest.first_chunk()?);
        let ends = !word & 0x8080_8080_8080_8080;
        // From the lowest bit up to the one that says that no byte follows.
        let mask = ends ^ ends.wrapping_sub(1);
        let used = mask.count_ones() / 8;
        if ends == 0 {
            return None;
        }
        // Sevens of bits, then fourteens, then twenty-eights move together.
        let sevens = word & mask & 0x7f7f_7f7f_7f7f_7f7f;
        let pairs = (sevens & 0x007f_007f_007f_007f) | (sevens & 0x7f00_7f00_7f00_7f00) >> 1;
        let fours = (pairs & 0x0000_3fff_0000_3fff) | (pairs & 0x3fff_0000_3fff_0000) >> 2;
        let value = (fours & 0x0fff_ffff) | (fours >> 32) << 28;
        //= SPEC.md#conventions
        //# A reader MUST refuse a varint that is not the shortest encoding of its value.
        if used > 1 && value >> used.wrapping_sub(1).wrapping_mul(7) == 0 {
            return Some(Err(DecodeError::NonCanonical));
        }
        self.rest = self.rest.get(used as usize..)?;
        Some(Ok(value))
    }

    fn long_varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for (index, &byte) in self.rest.iter().take(10).enumerate() {
            let low = u64::from(byte & 0x7f);
            if index == 9 && byte > 1 {
                return Err(DecodeError::OutOfRange);
            }
            value |= low << (7u32.saturating_mul(index as u32));
            if byte & 0x80 == 0 {
                //= SPEC.md#conventions
                //# A reader MUST refuse a varint that is not the shortest encoding of its value.
                let used = index.saturating_add(1);
                if used != varint_len(value) {
                    return Err(DecodeError::NonCanonical);
                }
                self.bytes(used)?;
                return Ok(value);
            }
        }
        Err(DecodeError::Truncated)
    }

    /// Takes a varint that fits `T`.
    ///
    /// # Errors
    /// As [`Reader::varint`], and [`DecodeError::OutOfRange`] if the value does not fit.
    #[cfg_attr(feature = "backend", inline)]
    pub fn varint_as<T: TryFrom<u64>>(&mut self) -> Result<T, DecodeError> {
        let before = self.rest;
        //= SPEC.md#conventions
        //# A reader MUST refuse a value outside the range that its field allows.
        T::try_from(self.varint()?).map_err(|_| {
            self.rest = before;
            DecodeError::OutOfRange
        })
    }

    /// Takes a zigzag varint.
    ///
    /// # Errors
    /// As [`Reader::varint`].
    #[cfg_attr(feature = "backend", inline)]
    pub fn signed(&mut self) -> Result<i64, DecodeError> {
        self.varint().map(unzigzag)
    }

    /// Takes a varint length and as many bytes.
    ///
    /// # Errors
    /// As [`Reader::varint`]; [`DecodeError::OutOfRange`] above `max`, [`DecodeError::Truncated`] if fewer are left.
    pub fn prefixed(&mut self, max: usize) -> Result<&'a [u8], DecodeError> {
        let mut ahead = self.clone();
        let len: usize = ahead.varint_as()?;
        if len > max {
            return Err(DecodeError::OutOfRange);
        }
        let bytes = ahead.bytes(len)?;
        *self = ahead;
        Ok(bytes)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`DecodeError::TrailingBytes`] if anything is left.
    pub fn finish(self) -> Result<(), DecodeError> {
        //= SPEC.md#conventions
        //# A reader MUST refuse bytes that are left over after the last value of a structure.
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Writer, zigzag};
    use proptest::prelude::*;

    #[test]
    fn rejects_varint_above_64_bits() {
        let max = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Reader::new(&max).varint(), Ok(u64::MAX));
        let above = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(Reader::new(&above).varint(), Err(DecodeError::OutOfRange));
    }

    #[test]
    fn failed_reads_leave_the_reader_in_place() {
        let mut reader = Reader::new(&[0x05, 1, 2]);
        assert_eq!(reader.prefixed(8), Err(DecodeError::Truncated));
        assert_eq!(reader.prefixed(4), Err(DecodeError::OutOfRange));
        assert_eq!(reader.remaining(), 3);
    }

    proptest! {
        /// What is read in one step is what is read byte by byte, refusals included.
        #[cfg(feature = "backend")]
        #[test]
        fn wide_reads_equal_narrow_ones(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 0x80u8.., Just(0x80), Just(0)], 0..16),
        ) {
            let (mut reader, mut narrow) = (Reader::new(&bytes), Reader::new(&bytes));
            prop_assert_eq!(reader.varint(), narrow.long_varint());
            prop_assert_eq!(reader.remaining(), narrow.remaining());
        }

        #[test]
        fn varint_round_trips_and_matches_postcard(value: u64) {
            let mut buf = [0u8; 10];
            let mut writer = Writer::new(&mut buf);
            writer.varint(value).unwrap();
            let bytes = writer.into_written();
            prop_assert_eq!(bytes.len(), varint_len(value));
            let mut other = [0u8; 10];
            prop_assert_eq!(&*bytes, &*postcard::to_slice(&value, &mut other).unwrap());
            let mut reader = Reader::new(bytes);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert!(reader.finish().is_ok());
        }

        #[test]
        fn zigzag_round_trips(value: i64) {
            prop_assert_eq!(unzigzag(zigzag(value)), value);
        }

        //= SPEC.md#conventions
        //= type=test
        //# A reader MUST refuse a varint that is not the shortest encoding of its value.
        #[test]
        fn accepted_varints_are_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut reader = Reader::new(&bytes);
            if let Ok(value) = reader.varint() {
                let used = bytes.len() - reader.remaining();
                let mut buf = [0u8; 10];
                let mut writer = Writer::new(&mut buf);
                writer.varint(value).unwrap();
                prop_assert_eq!(&bytes[..used], &*writer.into_written());
            }
        }
    }
}
