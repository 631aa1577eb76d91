//! The codec of trend and waveform blocks: fixed predictors, adaptive Rice codes, and raw numbers.

use super::bits::{BitReader, BitWriter, ESCAPE};
use super::{Mode, Quality, Status};
use crate::codec::{BufferTooSmall, DecodeError};

/// How the integers of a series are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// Two's complement, all with the same number of bits.
    Raw,
    /// Rice codes of what remains after a predictor of this order, 0 to 3.
    Rice(u8),
}

impl Coding {
    /// Returns the code: 0 raw, 1 to 4 the orders 0 to 3.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Rice(order) => order.saturating_add(1),
        }
    }

    pub(super) const fn from_code(code: u8) -> Result<Self, DecodeError> {
        match code {
            0 => Ok(Self::Raw),
            1..=4 => Ok(Self::Rice(code.saturating_sub(1))),
            _ => Err(DecodeError::OutOfRange),
        }
    }
}

/// Maps a signed remainder to an unsigned one: 0, −1, 1, −2 → 0, 1, 2, 3.
const fn fold(value: i32) -> u32 {
    (value.wrapping_shl(1) ^ value.wrapping_shr(31)) as u32
}

const fn unfold(value: u32) -> i32 {
    (value.wrapping_shr(1) ^ (value & 1).wrapping_neg()) as i32
}

/// Predicts a number from up to three before it, modulo 2^32.
#[derive(Clone, Copy, Debug)]
struct Predictor {
    order: u8,
    /// How many numbers were seen, up to 3.
    seen: u8,
    /// The last difference of order 0, 1 and 2.
    last: [i32; 3],
}

impl Predictor {
    /// Starts with the first number of a series.
    const fn new(order: u8, first: i32) -> Self {
        Self { order, seen: 1, last: [first, 0, 0] }
    }

    /// Returns the prediction: order p extrapolates a polynomial of degree p − 1.
    const fn predict(&self) -> i32 {
        let order = if self.order < self.seen { self.order } else { self.seen };
        let [zeroth, first, second] = self.last;
        match order {
            0 => 0,
            1 => zeroth,
            2 => zeroth.wrapping_add(first),
            _ => zeroth.wrapping_add(first).wrapping_add(second),
        }
    }

    const fn update(&mut self, value: i32) {
        let first = value.wrapping_sub(self.last[0]);
        let second = if self.seen >= 2 { first.wrapping_sub(self.last[1]) } else { 0 };
        self.last = [value, first, second];
        self.seen = if self.seen < 3 { self.seen.wrapping_add(1) } else { 3 };
    }
}

/// The adaptive Rice code: its parameter follows the mean of the numbers before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rice {
    /// Eight times the running mean; below 2^35.
    mean: u64,
}

impl Rice {
    /// Starts with a parameter, 0 to 31.
    pub(super) const fn new(parameter: u32) -> Self {
        Self { mean: 8u64.wrapping_shl(parameter) }
    }

    /// Returns the parameter for the next number.
    const fn parameter(self) -> u32 {
        match self.mean.wrapping_shr(3).checked_ilog2() {
            Some(log) => log,
            None => 0,
        }
    }

    const fn update(&mut self, number: u32) {
        self.mean = self.mean.wrapping_sub(self.mean.wrapping_shr(3)).wrapping_add(number as u64);
    }

    /// Returns how many bits `number` takes, and goes on to the next.
    pub(super) const fn cost(&mut self, number: u32) -> u64 {
        let parameter = self.parameter();
        let quotient = number.wrapping_shr(parameter);
        self.update(number);
        if quotient < ESCAPE {
            quotient.wrapping_add(1).wrapping_add(parameter) as u64
        } else {
            ESCAPE.wrapping_add(32) as u64
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

/// Returns what remains of each number but the first after prediction.
fn remainders(values: impl Iterator<Item = i32>, order: u8) -> impl Iterator<Item = u32> {
    let mut predictor: Option<Predictor> = None;
    values.filter_map(move |value| match &mut predictor {
        None => {
            predictor = Some(Predictor::new(order, value));
            None
        }
        Some(predictor) => {
            let remainder = fold(value.wrapping_sub(predictor.predict()));
            predictor.update(value);
            Some(remainder)
        }
    })
}

/// Returns the order, up to `max`, whose remainders have the smallest sum.
fn best_order(values: impl Iterator<Item = i32> + Clone, max: u8) -> u8 {
    (0..=max)
        .min_by_key(|&order| {
            remainders(values.clone(), order).fold(0u64, |sum, number| sum.saturating_add(number.into()))
        })
        .unwrap_or(0)
}

/// Returns how many bits `value` takes in two's complement, 1 to 32.
const fn width(value: i32) -> u32 {
    let magnitude = value ^ value.wrapping_shr(31);
    33u32.wrapping_sub(magnitude.leading_zeros())
}

/// How a series will be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) coding: Coding,
    /// How many numbers: the first so many.
    pub(super) taken: usize,
    /// The first Rice parameter, or the width less one.
    parameter: u32,
}

/// Plans the longest prefix of `values` that fits `limit` bytes, and its shortest coding.
///
/// `others` returns how many bits everything but the series takes with so many numbers, which never shrinks; it
/// is asked for 1, 2, 3 and so on.
pub(super) fn plan(
    values: impl Iterator<Item = i32> + Clone,
    max_order: u8,
    limit: usize,
    mut others: impl FnMut(usize) -> u64,
) -> Option<Plan> {
    let limit = (limit as u64).saturating_mul(8);
    let order = best_order(values.clone(), max_order);
    let parameter = first_parameter(remainders(values.clone(), order));
    let first = values.clone().next()?;
    let mut rice = Rice::new(parameter);
    // the first number has a width of its own; then come 5 bits and the codes
    let mut rice_bits = sized_len(first).saturating_add(5);
    let mut raw_width = 1;
    let mut best = Plan { coding: Coding::Raw, taken: 0, parameter: 0 };
    let mut remainders = remainders(values.clone(), order);
    for (index, value) in values.enumerate() {
        let taken = index.saturating_add(1);
        if index > 0 {
            rice_bits = rice_bits.saturating_add(rice.cost(remainders.next()?));
        }
        raw_width = raw_width.max(width(value));
        let raw_bits = u64::from(raw_width).saturating_mul(taken as u64).saturating_add(5);
        if others(taken).saturating_add(raw_bits.min(rice_bits)) > limit {
            break;
        }
        best = if raw_bits < rice_bits {
            Plan { coding: Coding::Raw, taken, parameter: raw_width.saturating_sub(1) }
        } else {
            // a predictor of order p needs p numbers before
            let order = order.min(u8::try_from(index).unwrap_or(u8::MAX));
            Plan { coding: Coding::Rice(order), taken, parameter }
        };
    }
    (best.taken > 0).then_some(best)
}

/// Returns how many bits a number takes with its own width in front.
pub(super) const fn sized_len(value: i32) -> u64 {
    width(value).wrapping_add(5) as u64
}

/// Writes a number with its own width in front.
pub(super) fn write_sized(value: i32, out: &mut BitWriter<'_>) -> Result<(), BufferTooSmall> {
    let width = width(value);
    out.bits(width.saturating_sub(1), 5)?;
    out.bits(value as u32, width)
}

/// Reads a number with its own width in front.
pub(super) fn read_sized(bits: &mut BitReader<'_>) -> Result<i32, DecodeError> {
    let found = bits.bits(5)?.saturating_add(1);
    let value = read_signed(found, bits)?;
    //= SPEC.md#blocks
    //# A reader MUST refuse a sized number whose width is not the smallest.
    if found == width(value) { Ok(value) } else { Err(DecodeError::NonCanonical) }
}

/// Reads a number in two's complement of `width` bits, 1 to 32.
fn read_signed(width: u32, bits: &mut BitReader<'_>) -> Result<i32, DecodeError> {
    let unused = 32u32.wrapping_sub(width);
    Ok((bits.bits(width)?.wrapping_shl(unused) as i32).wrapping_shr(unused))
}

/// What stands in front of the series of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockHead {
    pub(super) status: Status,
    pub(super) coding: Coding,
    /// 1 to 1024.
    pub(super) count: usize,
}

impl BlockHead {
    /// How many bits it takes.
    pub(super) const BITS: u64 = 17;

    pub(super) fn write(&self, out: &mut BitWriter<'_>) -> Result<(), BufferTooSmall> {
        out.bits(self.status.mode as u32, 2)?;
        out.bits(self.status.quality as u32, 2)?;
        out.bits(self.coding.code().into(), 3)?;
        out.bits(self.count.saturating_sub(1) as u32, 10)
    }

    pub(super) fn read(bits: &mut BitReader<'_>) -> Result<Self, DecodeError> {
        let mode = Mode::from_code(bits.bits(2)? as u8)?;
        let quality = Quality::from_bits(bits.bits(2)? as u8);
        let coding = Coding::from_code(bits.bits(3)? as u8)?;
        let count = (bits.bits(10)? as usize).saturating_add(1);
        Ok(Self { status: Status { mode, quality }, coding, count })
    }
}

/// Writes the numbers as planned.
pub(super) fn write(
    values: impl Iterator<Item = i32>,
    plan: &Plan,
    out: &mut BitWriter<'_>,
) -> Result<(), BufferTooSmall> {
    //= SPEC.md#blocks
    //# An encoder MUST keep every sample: decoding yields exactly the samples that were taken.
    let mut values = values.take(plan.taken);
    match plan.coding {
        Coding::Raw => {
            out.bits(plan.parameter, 5)?;
            values.try_for_each(|value| out.bits(value as u32, plan.parameter.saturating_add(1)))
        }
        Coding::Rice(order) => {
            let Some(first) = values.next() else { return Ok(()) };
            write_sized(first, out)?;
            out.bits(plan.parameter, 5)?;
            let mut rice = Rice::new(plan.parameter);
            remainders(core::iter::once(first).chain(values), order)
                .try_for_each(|number| rice.write(number, out))
        }
    }
}

/// Reads a series, number by number.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeriesReader<'a> {
    bits: BitReader<'a>,
    left: usize,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Raw { width: u32 },
    First { value: i32, rice: Rice, order: u8 },
    Rice { rice: Rice, predictor: Predictor },
}

impl<'a> SeriesReader<'a> {
    /// Starts to read `count` numbers.
    pub(super) fn new(mut bits: BitReader<'a>, coding: Coding, count: usize) -> Result<Self, DecodeError> {
        let state = match coding {
            Coding::Raw => State::Raw { width: bits.bits(5)?.saturating_add(1) },
            Coding::Rice(order) => {
                //= SPEC.md#blocks
                //# A reader MUST refuse an unknown coding, and an order that is not below the number of samples.
                if usize::from(order) >= count {
                    return Err(DecodeError::NonCanonical);
                }
                let value = read_sized(&mut bits)?;
                State::First { value, rice: Rice::new(bits.bits(5)?), order }
            }
        };
        Ok(Self { bits, left: count, state })
    }

    /// Reads one number, or `None` at the end.
    pub(super) fn read(&mut self) -> Result<Option<i32>, DecodeError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        Ok(Some(match &mut self.state {
            State::Raw { width } => read_signed(*width, &mut self.bits)?,
            State::First { value, rice, order } => {
                let (value, rice) = (*value, *rice);
                self.state = State::Rice { rice, predictor: Predictor::new(*order, value) };
                value
            }
            State::Rice { rice, predictor } => {
                let value = predictor.predict().wrapping_add(unfold(rice.read(&mut self.bits)?));
                predictor.update(value);
                value
            }
        }))
    }

    pub(super) const fn left(&self) -> usize {
        self.left
    }

    /// Reads all that is left and returns the bits behind it.
    ///
    /// The work is bounded by the count.
    pub(super) fn check(mut self) -> Result<BitReader<'a>, DecodeError> {
        while self.read()?.is_some() {}
        Ok(self.bits)
    }
}
