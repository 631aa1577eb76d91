use super::bits::{BitReader, BitWriter, ESCAPE};
use crate::codec::{BufferTooSmall, DecodeError};

/// The mean below which runs of zeros are coded, in 64ths.
const FLAT: u64 = 16;

/// What both ends know of the numbers before: their running mean, of the last four above all.
#[derive(Clone, Copy, Debug)]
struct Mean {
    /// In 64ths; below 2^39.
    mean: u64,
}

impl Mean {
    /// Starts with a parameter, 0 to 31.
    const fn new(parameter: u32) -> Self {
        Self { mean: 64u64.wrapping_shl(parameter) }
    }

    /// Returns the parameter for the next number, 0 to 31.
    const fn parameter(self) -> u32 {
        match self.mean.wrapping_add(32).wrapping_shr(6).checked_ilog2() {
            Some(log) => log,
            None => 0,
        }
    }

    const fn is_flat(self) -> bool {
        self.mean < FLAT
    }

    /// Goes on behind `number`; one outlier alone counts as if it had just been escaped.
    fn update(&mut self, number: u32, parameter: u32) {
        let counted = u64::from(number).min(u64::from(ESCAPE).wrapping_shl(parameter));
        self.mean = self.mean.wrapping_sub(self.mean.wrapping_shr(2)).wrapping_add(counted.wrapping_shl(4));
    }
}

/// Returns how many bits the code of a number takes.
const fn code_len(number: u32, parameter: u32) -> u32 {
    let quotient = number.wrapping_shr(parameter);
    if quotient < ESCAPE {
        quotient.wrapping_add(1).wrapping_add(parameter)
    } else {
        // the number is not 0
        ESCAPE.wrapping_add(5).wrapping_add(31).wrapping_sub(number.leading_zeros())
    }
}

/// Returns how many bits the length of a run takes.
const fn run_len(zeros: u32) -> u32 {
    match zeros.wrapping_add(1).checked_ilog2() {
        Some(log) => log.wrapping_mul(2).wrapping_add(1),
        None => 0,
    }
}

/// Counts the bits that numbers will take.
#[derive(Clone, Copy, Debug)]
pub(super) struct RiceSize {
    mean: Mean,
    bits: u64,
    /// How many zeros the run has that is under way.
    run: Option<u32>,
}

impl RiceSize {
    /// Starts with a parameter, 0 to 31.
    pub(super) const fn new(parameter: u32) -> Self {
        Self { mean: Mean::new(parameter), bits: 0, run: None }
    }

    /// Takes one more number.
    pub(super) fn push(&mut self, number: u32) {
        let parameter = self.mean.parameter();
        let run = self.run.or(self.mean.is_flat().then_some(0));
        self.run = None;
        let bits = match (run, number.checked_sub(1)) {
            (None, _) => code_len(number, parameter),
            (Some(zeros), Some(less)) => run_len(zeros).wrapping_add(code_len(less, parameter)),
            (Some(zeros), None) => {
                self.run = Some(zeros.wrapping_add(1));
                0
            }
        };
        self.bits = self.bits.saturating_add(bits.into());
        self.mean.update(number, parameter);
    }

    /// Returns how many bits the numbers take if none follows.
    pub(super) fn bits(&self) -> u64 {
        self.bits.saturating_add(self.run.map_or(0, run_len).into())
    }
}

/// Writes numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct RiceWriter {
    mean: Mean,
    /// How many zeros of the run are still to come.
    zeros: u32,
    /// A run has told that the number behind it is not zero.
    ended: bool,
}

impl RiceWriter {
    /// Starts with a parameter, 0 to 31.
    pub(super) const fn new(parameter: u32) -> Self {
        Self { mean: Mean::new(parameter), zeros: 0, ended: false }
    }

    /// Writes a number; `ahead` lists it and all that follow.
    pub(super) fn write<I: Iterator<Item = u32>>(
        &mut self,
        number: u32,
        ahead: impl FnOnce() -> I,
        out: &mut BitWriter<'_>,
    ) -> Result<(), BufferTooSmall> {
        let parameter = self.mean.parameter();
        let is_flat = self.mean.is_flat();
        self.mean.update(number, parameter);
        if let Some(zeros) = self.zeros.checked_sub(1) {
            self.zeros = zeros;
            return Ok(());
        }
        let ended = core::mem::take(&mut self.ended);
        if is_flat && !ended {
            let zeros = ahead().take_while(|&number| number == 0).count() as u32;
            let (log, length) = (zeros.wrapping_add(1).ilog2(), zeros.wrapping_add(1));
            out.unary(log)?;
            out.bits(length, log)?;
            if let Some(rest) = zeros.checked_sub(1) {
                (self.zeros, self.ended) = (rest, true);
                return Ok(());
            }
        }
        let number = if is_flat || ended { number.wrapping_sub(1) } else { number };
        Self::code(number, parameter, out)
    }

    fn code(number: u32, parameter: u32, out: &mut BitWriter<'_>) -> Result<(), BufferTooSmall> {
        let quotient = number.wrapping_shr(parameter);
        out.unary(quotient.min(ESCAPE))?;
        if quotient < ESCAPE {
            return out.bits(number, parameter);
        }
        let width = number.checked_ilog2().unwrap_or(0);
        out.bits(width, 5)?;
        out.bits(number, width)
    }
}

/// Reads numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct RiceReader {
    mean: Mean,
    /// How many numbers are to come.
    left: u32,
    /// How many of these are zeros of the run.
    zeros: u32,
    /// A run has told that the number behind it is not zero.
    ended: bool,
}

impl RiceReader {
    /// Starts to read `count` numbers, with a parameter, 0 to 31.
    pub(super) const fn new(parameter: u32, count: u32) -> Self {
        Self { mean: Mean::new(parameter), left: count, zeros: 0, ended: false }
    }

    /// Reads one of the numbers.
    pub(super) fn read(&mut self, bits: &mut BitReader<'_>) -> Result<u32, DecodeError> {
        let parameter = self.mean.parameter();
        let number = self.number(parameter, bits)?;
        self.mean.update(number, parameter);
        self.left = self.left.saturating_sub(1);
        Ok(number)
    }

    fn number(&mut self, parameter: u32, bits: &mut BitReader<'_>) -> Result<u32, DecodeError> {
        let is_flat = self.mean.is_flat();
        if let Some(zeros) = self.zeros.checked_sub(1) {
            self.zeros = zeros;
            return Ok(0);
        }
        let ended = core::mem::take(&mut self.ended);
        if is_flat && !ended {
            let log = bits.unary()?;
            let zeros = (1u32.wrapping_shl(log) | bits.bits(log)?).wrapping_sub(1);
            //= SPEC.md#blocks
            //# A reader MUST refuse a run of more zeros than there are numbers left.
            if zeros > self.left {
                return Err(DecodeError::OutOfRange);
            }
            if let Some(rest) = zeros.checked_sub(1) {
                (self.zeros, self.ended) = (rest, true);
                return Ok(0);
            }
        }
        let number = Self::code(parameter, bits)?;
        //= SPEC.md#blocks
        //# A reader MUST refuse a code that is escaped without need, or whose number exceeds 32 bits.
        if is_flat || ended { number.checked_add(1).ok_or(DecodeError::OutOfRange) } else { Ok(number) }
    }

    fn code(parameter: u32, bits: &mut BitReader<'_>) -> Result<u32, DecodeError> {
        let quotient = bits.unary()?;
        if quotient < ESCAPE {
            let high = u64::from(quotient).wrapping_shl(parameter);
            return Ok(u32::try_from(high).map_err(|_| DecodeError::OutOfRange)? | bits.bits(parameter)?);
        }
        let width = bits.bits(5)?;
        let number = 1u32.wrapping_shl(width) | bits.bits(width)?;
        if number.wrapping_shr(parameter) < ESCAPE { Err(DecodeError::NonCanonical) } else { Ok(number) }
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
