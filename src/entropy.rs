//! Randomness as the caller brings it. No generator is kept inside: a cloned snapshot would repeat it.

/// A source of cryptographically secure random bytes.
///
/// # Security
/// Keys are as good as what this gives. On a computer it is the operating system's (below). Firmware must:
///
/// 1. take it from a hardware generator, or a DRBG that is seeded from one at each start; never from a constant, a serial
///    number, the time, or a seed that came with the image;
/// 2. test the generator while it runs, as NIST SP 800-90B, section 4.4, says (repetition count, adaptive proportion):
///    [`HealthTested`](crate::health::HealthTested) does;
/// 3. at boot wait until it is ready and has passed 1024 samples, before anything draws from it;
/// 4. fail closed: return [`EntropyError`], and nothing else, from the first failed test until the next start;
/// 5. never go on from a copied state: no generator's state in flash, or in a RAM image that is restored or cloned.
///
/// A generator that repeats its output after a reboot breaks what rests on it alone; ephemeral keys and the salts of stored
/// values are hedged with secrets of the device as a second line (SPEC.md, "Ephemeral keys" and "Stored entries"). The
/// guide says what is and what is not (`guide::firmware`, "Randomness").
///
/// # The operating system's
/// With the feature `std` there is `OsEntropy`. No constructor of this library takes a seed: what is to repeat itself, such
/// as a test, implements this trait.
///
/// ```
/// use vitalwire::{Entropy, EntropyError, crypto::StaticSecret};
/// /// A generator that is not ready.
/// struct Cold;
/// impl Entropy for Cold {
///     fn fill(&mut self, _: &mut [u8]) -> Result<(), EntropyError> {
///         Err(EntropyError)
///     }
/// }
/// assert_eq!(StaticSecret::generate(&mut Cold).err(), Some(EntropyError)); // no key rather than a poor one
/// ```
pub trait Entropy {
    /// Fills `out` with random bytes.
    ///
    /// # Errors
    /// [`EntropyError`] if the source failed its health test or is not ready; nothing in `out` may be used then. The
    /// caller has lost nothing, and asks again later.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError>;
}

/// The random source failed or is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the random source failed or is not ready")]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EntropyError;

impl<T: Entropy + ?Sized> Entropy for &mut T {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        (**self).fill(out)
    }
}

/// The operating system's generator.
#[cfg(any(feature = "std", test))]
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

#[cfg(any(feature = "std", test))]
impl Entropy for OsEntropy {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(out).map_err(|_| EntropyError)
    }
}
