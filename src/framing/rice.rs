use super::bits::{BitReader, BitWriter, ESCAPE};
use crate::codec::{BufferTooSmall, DecodeError};

/// The adaptive Rice code: its parameter follows the mean of the numbers before, the last four above all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rice {
    /// Four times the running mean; below 2^34.
    mean: u64,
}

impl Rice {
    /// Starts with a parameter, 0 to 31.
    pub(super) const fn new(parameter: u32) -> Self {
        Self { mean: 4u64.wrapping_shl(parameter) }
    }

    /// Returns the parameter for the next number.
    const fn parameter(self) -> u32 {
        // floor(log2(mean / 4)), and 0 for a mean below 4
        61u32.saturating_sub((self.mean | 4).leading_zeros())
    }

    const fn update(&mut self, number: u32) {
        self.mean = self.mean.wrapping_sub(self.mean.wrapping_shr(2)).wrapping_add(number as u64);
    }

    /// Returns how many bits `number` takes, and goes on to the next.
    pub(super) const fn cost(&mut self, number: u32) -> u32 {
        let parameter = self.parameter();
        let quotient = number.wrapping_shr(parameter);
        self.update(number);
        if quotient < ESCAPE {
            quotient.wrapping_add(1).wrapping_add(parameter)
        } else {
            ESCAPE.wrapping_add(32)
        }
    }

    pub(super) fn write(&mut self, number: u32, out: &mut BitWriter<'_>) -> Result<(), BufferTooSmall> {
        let parameter = self.parameter();
        let quotient = number.wrapping_shr(parameter);
        self.update(number);
        out.unary(quotient.min(ESCAPE))?;
        if quotient < ESCAPE { out.bits(number, parameter) } else { out.bits(number, 32) }
    }

    pub(super) fn read(&mut self, bits: &mut BitReader<'_>) -> Result<u32, DecodeError> {
        let parameter = self.parameter();
        let quotient = bits.unary()?;
        let number = if quotient < ESCAPE {
            let high = u64::from(quotient).wrapping_shl(parameter);
            //= SPEC.md#blocks
            //# A reader MUST refuse a Rice code that is escaped without need, or whose number exceeds 32 bits.
            u32::try_from(high).map_err(|_| DecodeError::OutOfRange)? | bits.bits(parameter)?
        } else {
            let number = bits.bits(32)?;
            if number.wrapping_shr(parameter) < ESCAPE {
                return Err(DecodeError::NonCanonical);
            }
            number
        };
        self.update(number);
        Ok(number)
    }
}

/// Returns the parameter that suits the first few of `numbers`.
pub(super) fn first_parameter(numbers: impl Iterator<Item = u32>) -> u32 {
    let (mut sum, mut count) = (0u64, 0u64);
    for number in numbers.take(8) {
        sum = sum.saturating_add(number.into());
        count = count.saturating_add(1);
    }
    sum.checked_div(count).and_then(u64::checked_ilog2).unwrap_or(0)
}
