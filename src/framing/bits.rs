use crate::codec::{BufferTooSmall, DecodeError};

/// The longest run of one bits: it says that a number with its own width follows.
pub(super) const ESCAPE: u32 = 16;

/// Writes bits, the highest bit of a byte first.
#[derive(Debug)]
pub(super) struct BitWriter<'a> {
    out: &'a mut [u8],
    len: usize,
    /// Bits that do not fill a byte yet, in the low `held` bits.
    acc: u64,
    held: u32,
}

impl<'a> BitWriter<'a> {
    pub(super) const fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0, acc: 0, held: 0 }
    }

    /// Writes the low `count` bits of `value`, at most 32.
    pub(super) fn bits(&mut self, value: u32, count: u32) -> Result<(), BufferTooSmall> {
        // at most 7 + 32 bits are held
        let mask = 1u64.wrapping_shl(count).wrapping_sub(1);
        self.acc = self.acc.wrapping_shl(count) | (u64::from(value) & mask);
        self.held = self.held.wrapping_add(count);
        while let Some(rest) = self.held.checked_sub(8) {
            self.byte(self.acc.wrapping_shr(rest) as u8)?;
            self.held = rest;
        }
        Ok(())
    }

    /// Writes `count` one bits, at most 16, and a zero bit behind fewer than 16.
    pub(super) fn unary(&mut self, count: u32) -> Result<(), BufferTooSmall> {
        if count < ESCAPE {
            let ones = 1u32.wrapping_shl(count).wrapping_sub(1);
            self.bits(ones.wrapping_shl(1), count.wrapping_add(1))
        } else {
            self.bits(u32::MAX, ESCAPE)
        }
    }

    fn byte(&mut self, byte: u8) -> Result<(), BufferTooSmall> {
        let needed = self.len.saturating_add(1);
        *self.out.get_mut(self.len).ok_or(BufferTooSmall { needed })? = byte;
        self.len = needed;
        Ok(())
    }

    /// Fills the last byte with zero bits and returns the length in bytes.
    pub(super) fn finish(mut self) -> Result<usize, BufferTooSmall> {
        if self.held > 0 {
            self.bits(0, 8u32.wrapping_sub(self.held))?;
        }
        Ok(self.len)
    }
}

/// Reads bits, the highest bit of a byte first.
#[derive(Clone, Copy, Debug)]
pub(super) struct BitReader<'a> {
    rest: &'a [u8],
    len: usize,
    /// Bits that are taken from `rest` and not read yet, in the high `held` bits; the others are zero.
    acc: u64,
    held: u32,
}

impl<'a> BitReader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, len: bytes.len(), acc: 0, held: 0 }
    }

    /// Holds as many bits as anything reads at once, 32, unless the end is near.
    fn refill(&mut self) {
        if self.held >= 32 {
            return;
        }
        while self.held <= 56
            && let Some((&byte, rest)) = self.rest.split_first()
        {
            self.acc |= u64::from(byte).wrapping_shl(56u32.wrapping_sub(self.held));
            self.held = self.held.wrapping_add(8);
            self.rest = rest;
        }
    }

    fn skip(&mut self, count: u32) -> Result<(), DecodeError> {
        self.held = self.held.checked_sub(count).ok_or(DecodeError::Truncated)?;
        self.acc = self.acc.wrapping_shl(count);
        Ok(())
    }

    /// Reads `count` bits, at most 32.
    pub(super) fn bits(&mut self, count: u32) -> Result<u32, DecodeError> {
        self.refill();
        // in two steps, as a shift by 64 is none
        let value = self.acc.wrapping_shr(1).wrapping_shr(63u32.wrapping_sub(count)) as u32;
        self.skip(count)?;
        Ok(value)
    }

    /// Reads one bits up to a zero bit, or 16 of them.
    pub(super) fn unary(&mut self) -> Result<u32, DecodeError> {
        self.refill();
        let ones = self.acc.leading_ones();
        if ones >= ESCAPE {
            self.skip(ESCAPE)?;
            return Ok(ESCAPE);
        }
        self.skip(ones.wrapping_add(1))?;
        Ok(ones)
    }

    /// Checks that the last byte is filled with zero bits, and returns how many bytes were read.
    pub(super) fn finish(self) -> Result<usize, DecodeError> {
        let unread = self.rest.len().saturating_add((self.held / 8) as usize);
        let padding = self.held % 8;
        if self.acc.wrapping_shr(1).wrapping_shr(63u32.wrapping_sub(padding)) != 0 {
            return Err(DecodeError::NonCanonical);
        }
        Ok(self.len.saturating_sub(unread))
    }
}
