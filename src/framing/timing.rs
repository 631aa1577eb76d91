//! The times of a trend's points: a period, a list of steps, or what intervals add up to.

use super::Decimal;
use super::bits::{BitReader, BitWriter};
use super::rice::RiceReader;
use super::series::{read_sized, sized_len, write_sized};
use super::trend::List;
use crate::codec::{BufferTooSmall, DecodeError};
use crate::time::Duration;

/// The longest time between two points, in milliseconds.
pub(super) const MAX_STEP: u64 = i32::MAX as u64;

/// Returns the time from one point to the next, in milliseconds, if it is in range.
pub(super) fn step(one: Duration, next: Duration) -> Option<u32> {
    let step = next.as_millis().checked_sub(one.as_millis())?;
    (step <= MAX_STEP).then_some(step as u32)
}

/// What the values of a component add up to, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Intervals {
    scale: Decimal,
    sum: i64,
}

impl Intervals {
    /// Starts with the scale of a component, whose mantissa has 32 bits; those beyond 9 places have no intervals.
    pub(super) fn of(scale: Decimal) -> Option<Self> {
        let fits = scale.exponent.unsigned_abs() <= 9 && i32::try_from(scale.mantissa).is_ok();
        fits.then_some(Self { scale, sum: 0 })
    }

    /// Adds a value and returns the sum, times the scale, rounded to the nearest.
    pub(super) fn next(&mut self, value: i32) -> Option<i64> {
        self.sum = self.sum.checked_add(value.into())?;
        let mantissa = self.scale.mantissa;
        let power = 10i64.checked_pow(u32::from(self.scale.exponent.unsigned_abs()))?;
        if self.scale.exponent >= 0 {
            return self.sum.checked_mul(mantissa)?.checked_mul(power);
        }
        // Whole powers and the rest apart: no division is wider than 64 bits. The rest's product is below 2^62, the other
        // one below 2^73.
        let rest = self.sum.checked_rem_euclid(power)?.checked_mul(mantissa)?;
        let rest = rest.checked_mul(2)?.checked_add(power)?.checked_div_euclid(power.checked_mul(2)?)?;
        let whole = i128::from(self.sum.checked_div_euclid(power)?).checked_mul(mantissa.into())?;
        i64::try_from(whole.checked_add(rest.into())?).ok()
    }
}

/// Where the times of the points come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timing {
    /// The channel's own period.
    Nominal,
    /// A period, in milliseconds.
    Regular(u32),
    /// A list that starts with this step, in milliseconds.
    Listed(u32),
    /// The values of the first component, as those of a channel of intervals between heart beats are.
    Intervals,
}

impl Timing {
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Nominal => 0,
            Self::Regular(_) => 1,
            Self::Listed(_) => 2,
            Self::Intervals => 3,
        }
    }

    /// Finds the shortest way to write the steps of the first `rows` points.
    pub(super) fn of(
        list: List<'_>,
        rows: usize,
        nominal: Option<u32>,
        intervals: Option<Intervals>,
    ) -> Self {
        let mut steps = list.steps(rows);
        match steps.next() {
            None => Self::Nominal,
            Some(first) if steps.all(|step| step == first) => {
                if Some(first) == nominal {
                    Self::Nominal
                } else {
                    Self::Regular(first)
                }
            }
            Some(_) if intervals.is_some_and(|intervals| list.is_intervals(rows, intervals)) => {
                Self::Intervals
            }
            Some(first) => Self::Listed(first),
        }
    }

    /// Returns how many bits it takes, without the list.
    pub(super) fn bits(self) -> u64 {
        match self {
            Self::Nominal | Self::Intervals => 2,
            Self::Regular(step) | Self::Listed(step) => sized_len(step as i32).saturating_add(2),
        }
    }

    pub(super) fn write(self, out: &mut BitWriter<'_>) -> Result<(), BufferTooSmall> {
        out.bits(self.code().into(), 2)?;
        match self {
            Self::Nominal | Self::Intervals => Ok(()),
            // steps have 31 bits
            Self::Regular(step) | Self::Listed(step) => write_sized(step as i32, out),
        }
    }

    pub(super) fn read(
        bits: &mut BitReader<'_>,
        count: usize,
        nominal: Option<u32>,
    ) -> Result<Self, DecodeError> {
        let step =
            |bits: &mut BitReader<'_>| u32::try_from(read_sized(bits)?).map_err(|_| DecodeError::OutOfRange);
        //= SPEC.md#trend
        //# A reader MUST refuse timing 0 of more than one point without a period, timing 1 where 0 fits, and timings 2 and 3 where all steps are alike.
        //# A reader MUST refuse timing 1 of one point, timings 2 and 3 of fewer than three, and timing 3 without numbers of component 0.
        let timing = match bits.bits(2)? {
            0 if count == 1 || nominal.is_some() => Self::Nominal,
            1 if count > 1 => Self::Regular(step(bits)?),
            2 if count > 2 => Self::Listed(step(bits)?),
            3 if count > 2 => Self::Intervals,
            _ => return Err(DecodeError::OutOfRange),
        };
        match timing {
            Self::Regular(step) if Some(step) == nominal => Err(DecodeError::NonCanonical),
            timing => Ok(timing),
        }
    }
}

/// The steps of time of an encoded block.
#[derive(Clone, Copy, Debug)]
pub(super) enum Steps<'a> {
    Period(u32),
    Listed {
        rice: RiceReader,
        bits: BitReader<'a>,
        step: u32,
        first: bool,
    },
    /// And the time so far.
    Intervals {
        sum: Intervals,
        offset: i64,
    },
}

impl Steps<'_> {
    /// Tells whether an encoded block says these steps on a channel of this period and scale, too: timing 0 says the
    /// period, timing 1 another one, and timing 3 counts in the scale.
    pub(super) fn stand_in(&self, block: &[u8], nominal: Option<u32>, intervals: Option<Intervals>) -> bool {
        let period = match *self {
            Self::Period(period) => period,
            Self::Intervals { sum, .. } => return intervals == Some(sum),
            Self::Listed { .. } => return true,
        };
        // the timing is behind the 14 bits of the front
        let timing = block.get(1).map(|byte| byte & 3);
        (timing == Some(Timing::Nominal.code())) == (nominal == Some(period))
    }

    /// Reads the step to a point whose first component is `value`.
    pub(super) fn read(&mut self, value: Option<i32>) -> Result<u32, DecodeError> {
        //= SPEC.md#trend
        //# A reader MUST refuse a step of time below 0 or above 2^31 − 1 milliseconds.
        let checked = |step: i64| {
            let step = i32::try_from(step).ok().and_then(|step| u32::try_from(step).ok());
            step.ok_or(DecodeError::OutOfRange)
        };
        match self {
            Self::Period(period) => Ok(*period),
            Self::Intervals { sum, offset } => {
                let next = value.and_then(|value| sum.next(value)).ok_or(DecodeError::OutOfRange)?;
                let step = checked(next.checked_sub(*offset).ok_or(DecodeError::OutOfRange)?)?;
                *offset = next;
                Ok(step)
            }
            Self::Listed { rice, bits, step, first } => {
                if !core::mem::take(first) {
                    let change = crate::codec::unzigzag(rice.read(bits)?.into());
                    *step = checked(i64::from(*step).saturating_add(change))?;
                }
                Ok(*step)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, in numbers that are wide enough.
    fn exact(scale: Decimal, sum: i64) -> Option<i64> {
        let power = 10i128.pow(u32::from(scale.exponent.unsigned_abs()));
        let product = i128::from(sum) * i128::from(scale.mantissa);
        let scaled =
            if scale.exponent < 0 { (product * 2 + power).div_euclid(power * 2) } else { product * power };
        i64::try_from(scaled).ok()
    }

    proptest! {
        #[test]
        fn sums_are_rounded_to_the_nearest(
            mantissa in any::<i32>(),
            exponent in -9i8..=9,
            before in -(1i64 << 42)..1 << 42,
            value in any::<i32>(),
        ) {
            let scale = Decimal::new(mantissa, exponent);
            let mut intervals = Intervals { sum: before, ..Intervals::of(scale).unwrap() };
            prop_assert_eq!(intervals.next(value), exact(scale, before + i64::from(value)));
        }
    }
}
