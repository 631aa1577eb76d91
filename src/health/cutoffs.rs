//! The cutoffs of the health tests, from the assessed min-entropy (NIST SP 800-90B, sections 4.4.1 and 4.4.2).

use crate::error::CallError;
use crate::limits::MIN_SAMPLE_ENTROPY;

/// How often a healthy source may be refused by chance: 2^-30 per test. The standard recommends 2^-20 to 2^-40.
pub(super) const FALSE_ALARM_LOG2: u32 = 30;
/// 2^(-1/1000): what a thousandth of a bit does to a probability.
const MILLIBIT: f64 = 0.999_307_092_990_452_5;
/// The min-entropy that goes into a block of 256 bits, in thousandths of a bit: 64 bits more than come out
/// (SP 800-90C, section 3.1, asks for that where output is to have full entropy).
const BLOCK_MILLIBITS: u32 = 320_000;

/// From how many equal samples on a source is stuck or biased; from an assessment of the source.
///
/// Make it a constant, as the page's example does: the compiler then does the arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct HealthLimits {
    sample_bits: u8,
    repetitions: u16,
    window: u16,
    in_window: u16,
    samples_per_block: u16,
}

impl HealthLimits {
    /// Computes the limits for samples of `sample_bits` bits, 1 to 32, with an assessed min-entropy of
    /// `entropy_millibits` thousandths of a bit each.
    ///
    /// Repetition count: `C = 1 + ⌈−log2 α / H⌉`. Adaptive proportion: `C = 1 + critbinom(W, 2^−H, 1 − α)`, with a
    /// window W of 1024 samples of one bit, or 512 larger ones. α = 2^-30.
    ///
    /// # Errors
    /// [`CallError::InvalidConfig`] if the bits are not 1 to 32, the entropy is below 100 thousandths
    /// ([`MIN_SAMPLE_ENTROPY`]), or above what so many bits can hold.
    ///
    /// ```
    /// use vitalwire::health::HealthLimits;
    /// let limits = HealthLimits::new(8, 4_000)?;
    /// assert_eq!((limits.repetitions(), limits.window(), limits.in_window()), (9, 512, 71));
    /// assert_eq!(limits.samples_per_block(), 80); // 80 × 4 bits for 32 bytes
    /// # Ok::<(), vitalwire::CallError>(())
    /// ```
    pub const fn new(sample_bits: u8, entropy_millibits: u16) -> Result<Self, CallError> {
        if sample_bits == 0 || sample_bits > 32 {
            return Err(CallError::InvalidConfig("a sample has between 1 and 32 bits"));
        }
        if entropy_millibits < MIN_SAMPLE_ENTROPY
            || entropy_millibits > (sample_bits as u16).saturating_mul(1000)
        {
            return Err(CallError::InvalidConfig("the assessed min-entropy of a sample is out of range"));
        }
        let window = if sample_bits == 1 { 1024 } else { 512 };
        Ok(Self {
            sample_bits,
            repetitions: repetition_cutoff(entropy_millibits, FALSE_ALARM_LOG2),
            window,
            in_window: proportion_cutoff(window, entropy_millibits, FALSE_ALARM_LOG2),
            // At most 3200.
            samples_per_block: BLOCK_MILLIBITS.div_ceil(entropy_millibits as u32) as u16,
        })
    }

    /// Returns from how many equal samples in a row on the source is stuck.
    pub const fn repetitions(&self) -> u16 {
        self.repetitions
    }

    /// Returns how many samples the adaptive proportion test counts in: 1024 of one bit, or 512.
    pub const fn window(&self) -> u16 {
        self.window
    }

    /// Returns from how many samples on that equal the first one of a window the source is biased.
    pub const fn in_window(&self) -> u16 {
        self.in_window
    }

    /// Returns how many samples go into 32 bytes of output.
    pub const fn samples_per_block(&self) -> u16 {
        self.samples_per_block
    }

    /// The bits of a sample that count.
    pub(super) const fn mask(&self) -> u32 {
        u32::MAX.wrapping_shr(32u32.wrapping_sub(self.sample_bits as u32))
    }
}

/// `1 + ⌈−log2 α / H⌉` (SP 800-90B, section 4.4.1).
pub(super) const fn repetition_cutoff(entropy_millibits: u16, alpha_log2: u32) -> u16 {
    let in_a_row = alpha_log2.saturating_mul(1000).div_ceil(if entropy_millibits == 0 {
        1
    } else {
        entropy_millibits as u32
    });
    (in_a_row as u16).saturating_add(1)
}

/// `1 + critbinom(W, 2^−H, 1 − α)` (SP 800-90B, section 4.4.2): one above the smallest number that a binomial variable
/// exceeds with a probability of at most α.
pub(super) const fn proportion_cutoff(window: u16, entropy_millibits: u16, alpha_log2: u32) -> u16 {
    let (mut p, mut left) = (1.0f64, entropy_millibits);
    while left > 0 {
        p *= MILLIBIT;
        left = left.saturating_sub(1);
    }
    // Relative to the most likely number, so that nothing that matters is too small for a float.
    let mode = (window as f64 * p) as u16;
    let mut total = 0.0;
    let (mut number, mut term) = (mode, 1.0);
    while number <= window && term > 0.0 {
        total += term;
        term *= ratio(window, number, p);
        number = number.saturating_add(1);
    }
    let (mut number, mut term) = (mode, 1.0);
    while number > 0 && term > 0.0 {
        number = number.saturating_sub(1);
        term /= ratio(window, number, p);
        total += term;
    }
    let mut allowed = total;
    let mut halvings = alpha_log2;
    while halvings > 0 {
        allowed /= 2.0;
        halvings = halvings.saturating_sub(1);
    }
    // Up to where nothing of weight is left, and down again as long as the sum of what lies above is allowed.
    let (mut number, mut term) = (mode, 1.0);
    while number < window && term > NEGLIGIBLE {
        term *= ratio(window, number, p);
        number = number.saturating_add(1);
    }
    let mut above = term;
    while number > mode && above <= allowed {
        number = number.saturating_sub(1);
        term /= ratio(window, number, p);
        above += term;
    }
    number.saturating_add(1)
}

/// How much less likely than the most likely number is not worth counting.
const NEGLIGIBLE: f64 = 1e-200;

/// `P(number + 1) / P(number)` of a binomial variable.
const fn ratio(window: u16, number: u16, p: f64) -> f64 {
    window.saturating_sub(number) as f64 / number.saturating_add(1) as f64 * (p / (1.0 - p))
}
