//! Randomness as the caller brings it. No generator is kept inside: a cloned snapshot would repeat it.

/// A source of cryptographically secure random bytes.
///
/// # Security
/// Firmware must back this with a hardware generator that passed its health tests, or with a DRBG seeded
/// from one; a generator that repeats its output after a reboot breaks the handshake's ephemeral keys, though
/// these are hedged with the static secret (SPEC.md, "Ephemeral keys").
pub trait Entropy {
    /// Fills `out` with random bytes.
    ///
    /// # Errors
    /// [`EntropyError`] if the source failed its health test or is not ready; nothing in `out` may be used then.
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
