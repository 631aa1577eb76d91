//! Random bytes from a raw hardware source that is tested while it runs: what [`Entropy`] asks of firmware.
//!
//! Owns the continuous health tests of NIST SP 800-90B (January 2018), section 4.4, the start-up test of its section
//! 4.3, and a conditioner. It knows no hardware: that is the caller's [`NoiseSource`].
//!
//! ```
//! use vitalwire::health::{HealthLimits, HealthTested, NoiseSource};
//! use vitalwire::{Entropy, EntropyError};
//!
//! /// The generator's registers, as the chip's manual names them.
//! struct Trng;
//! # impl Trng {
//! #     fn has_seed_error(&self) -> bool { false }
//! #     fn is_ready(&self) -> bool { true }
//! #     fn data(&mut self) -> u32 { let mut b = [0; 4]; vitalwire::OsEntropy.fill(&mut b).unwrap(); u32::from_le_bytes(b) }
//! # }
//!
//! impl NoiseSource for Trng {
//!     fn sample(&mut self) -> Result<u32, EntropyError> {
//!         // Bounded: a generator that never gets ready must not hang the device.
//!         for _ in 0..10_000 {
//!             if self.has_seed_error() {
//!                 return Err(EntropyError);
//!             }
//!             if self.is_ready() {
//!                 return Ok(self.data());
//!             }
//!         }
//!         Err(EntropyError)
//!     }
//! }
//!
//! // 32 bits per sample, of which an assessment found 8 bits of min-entropy. Computed by the compiler.
//! const LIMITS: HealthLimits = match HealthLimits::new(32, 8_000) {
//!     Ok(limits) => limits,
//!     Err(_) => panic!("the assessed min-entropy is out of range"),
//! };
//!
//! let mut rng = HealthTested::new(Trng, LIMITS);
//! rng.start_up()?; // at boot; the first `fill` does it otherwise
//! let mut key = [0; 32];
//! rng.fill(&mut key)?; // and `device.poll_transmit(now, &mut rng, …)`
//! assert_eq!(rng.failure(), None);
//! # Ok::<(), EntropyError>(())
//! ```

mod cutoffs;
#[cfg(test)]
mod tests;

pub use cutoffs::HealthLimits;

use crate::crypto::hash_parts;
use crate::entropy::{Entropy, EntropyError};
use crate::limits::START_UP_SAMPLES;
use zeroize::{Zeroize, Zeroizing};

/// A raw source of noise: what the hardware gives, before anything smooths it.
pub trait NoiseSource {
    /// Waits for the next sample and returns it, in the lowest bits that [`HealthLimits::new`] was told of.
    ///
    /// # Errors
    /// [`EntropyError`] if the hardware reports a fault, or has no sample after a bounded wait. That may pass: the next
    /// call tries again.
    fn sample(&mut self) -> Result<u32, EntropyError>;
}

impl<S: NoiseSource + ?Sized> NoiseSource for &mut S {
    fn sample(&mut self) -> Result<u32, EntropyError> {
        (**self).sample()
    }
}

/// What a health test has found: the source is not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum HealthError {
    /// One sample came too often in a row (repetition count test, SP 800-90B, section 4.4.1).
    #[error("the random source is stuck")]
    Stuck,
    /// One sample came too often within a window (adaptive proportion test, SP 800-90B, section 4.4.2).
    #[error("the random source is biased")]
    Biased,
}

/// An [`Entropy`] over a raw source that is tested with each sample.
///
/// - **Start-up**: nothing is given out before 1024 samples in a row have passed both tests; these are thrown away.
/// - **Continuously**: each sample goes through the repetition count test and the adaptive proportion test.
/// - **Failing closed**: where a test fails, this call and all later ones return [`EntropyError`], and
///   [`HealthTested::failure`] says why. Only a new start of the device, with a new value of this type, tries again.
/// - **Conditioning**: each 32 bytes of output are a BLAKE2s-256 hash over fresh samples with at least 320 bits of
///   assessed min-entropy, and over the state before. Nothing is stretched. BLAKE2s is not among the conditioning components
///   that SP 800-90B calls vetted.
/// - The state is wiped on drop, and moves on with each block: who reads it learns nothing of what was given out.
///
/// # Security
/// The tests find a source that breaks, not one that was never good: the min-entropy comes from an assessment of the
/// hardware (SP 800-90B, section 3), over the samples as they are read here. Take the raw output where the chip
/// offers it; after a conditioner in hardware everything looks healthy.
///
/// Healthy sources are refused too, by chance: each test with a probability of at most 2^-30 per sample or window.
pub struct HealthTested<S> {
    source: S,
    limits: HealthLimits,
    state: Zeroizing<[u8; 32]>,
    /// How many samples of the start-up test are still to come.
    starting: u16,
    repetition: Repetition,
    proportion: Proportion,
    failure: Option<HealthError>,
}

impl<S> core::fmt::Debug for HealthTested<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("HealthTested")
            .field("limits", &self.limits)
            .field("starting", &self.starting)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

impl<S: NoiseSource> HealthTested<S> {
    /// Takes over a source; reads nothing of it yet.
    pub fn new(source: S, limits: HealthLimits) -> Self {
        Self {
            source,
            limits,
            state: Zeroizing::new([0; 32]),
            starting: START_UP_SAMPLES,
            repetition: Repetition { last: 0, count: 0 },
            proportion: Proportion { first: 0, seen: 0, count: 0 },
            failure: None,
        }
    }

    /// Runs the start-up test, or what is left of it. Does nothing once that has passed.
    ///
    /// # Errors
    /// [`EntropyError`] if a test fails: for good, see [`HealthTested::failure`]. Or if the source has no sample: then the
    /// next call goes on.
    pub fn start_up(&mut self) -> Result<(), EntropyError> {
        while self.starting > 0 {
            self.tested()?;
            self.starting = self.starting.saturating_sub(1);
        }
        Ok(())
    }

    /// Returns what a test has found, if one has failed. `None` after an [`EntropyError`] means that the source itself
    /// had no sample.
    pub const fn failure(&self) -> Option<HealthError> {
        self.failure
    }

    /// Tells whether the start-up test has passed, and nothing has failed since.
    pub const fn is_ready(&self) -> bool {
        self.starting == 0 && self.failure.is_none()
    }

    /// Reads a sample and tests it.
    fn tested(&mut self) -> Result<u32, EntropyError> {
        if self.failure.is_some() {
            return Err(EntropyError);
        }
        let sample = self.source.sample()? & self.limits.mask();
        if self.repetition.count(sample) >= self.limits.repetitions() {
            self.failure = Some(HealthError::Stuck);
        } else if self.proportion.count(sample, self.limits.window()) >= self.limits.in_window() {
            self.failure = Some(HealthError::Biased);
        }
        match self.failure {
            Some(_) => Err(EntropyError),
            None => Ok(sample),
        }
    }

    /// Makes the next 32 bytes.
    fn block(&mut self) -> Result<Zeroizing<[u8; 32]>, EntropyError> {
        for _ in 0..self.limits.samples_per_block() {
            // One hash per sample is slow where each has little entropy, and needs no buffer of raw noise.
            let sample = Zeroizing::new(self.tested()?.to_le_bytes());
            *self.state = hash_parts(&[b"vitalwire noise", &*self.state, &*sample]);
        }
        let block = Zeroizing::new(hash_parts(&[b"vitalwire noise out", &*self.state]));
        *self.state = hash_parts(&[b"vitalwire noise next", &*self.state]);
        Ok(block)
    }
}

impl<S: NoiseSource> Entropy for HealthTested<S> {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        let filled = self.start_up().and_then(|()| {
            out.chunks_mut(32).try_for_each(|part| {
                let block = self.block()?;
                part.iter_mut().zip(block.iter()).for_each(|(to, from)| *to = *from);
                Ok(())
            })
        });
        if filled.is_err() {
            out.zeroize();
        }
        filled
    }
}

/// The repetition count test: how often the latest sample came in a row.
#[derive(Clone, Copy)]
struct Repetition {
    last: u32,
    count: u16,
}

impl Repetition {
    /// Takes a sample and returns how often it came in a row, this time included.
    fn count(&mut self, sample: u32) -> u16 {
        if self.count > 0 && sample == self.last {
            self.count = self.count.saturating_add(1);
        } else {
            *self = Self { last: sample, count: 1 };
        }
        self.count
    }
}

/// The adaptive proportion test: how often a window's first sample has come in it.
#[derive(Clone, Copy)]
struct Proportion {
    first: u32,
    /// How many samples of the window have come.
    seen: u16,
    count: u16,
}

impl Proportion {
    /// Takes a sample and returns how often the first one of the window came, the first time included.
    fn count(&mut self, sample: u32, window: u16) -> u16 {
        if self.seen == 0 || self.seen >= window {
            *self = Self { first: sample, seen: 1, count: 1 };
        } else {
            self.seen = self.seen.saturating_add(1);
            if sample == self.first {
                self.count = self.count.saturating_add(1);
            }
        }
        self.count
    }
}
