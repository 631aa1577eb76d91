//! Randomness. **A stand-in**: this emulated board has no generator, so its host's is asked over semihosting.
//!
//! In a device, [`HostEntropy`] gives way to the driver of a hardware generator that has passed its health tests, or to
//! a DRBG that was seeded from one at this boot. What must not be there is a constant, a seed in the image, a counter,
//! the time, or the chip's serial number.

use cortex_m_semihosting::syscall;
use vitalwire::{Entropy, EntropyError};

/// The host's file that is read.
const SOURCE: &[u8] = b"/dev/urandom\0";
/// Open for reading, in binary: the mode's number in semihosting.
const READ_BINARY: usize = 1;
const NO_FILE: usize = usize::MAX;

/// The host's generator.
pub struct HostEntropy {
    file: usize,
    /// What was drawn last: a generator that repeats itself has failed.
    last: [u8; 16],
}

impl HostEntropy {
    /// Opens it, and draws a first block to compare with.
    ///
    /// # Errors
    /// If it does not answer: a device must not start a handshake then. It shows the fault, and tries again.
    pub fn open() -> Result<Self, EntropyError> {
        // SAFETY: a name that ends in a zero, which its length does not count.
        let file = unsafe { syscall!(OPEN, SOURCE.as_ptr(), READ_BINARY, SOURCE.len() - 1) };
        if file == NO_FILE {
            return Err(EntropyError);
        }
        let mut source = Self { file, last: [0; 16] };
        source.draw(&mut [0; 16])?;
        Ok(source)
    }

    fn draw(&mut self, out: &mut [u8; 16]) -> Result<(), EntropyError> {
        // SAFETY: the buffer is ours, and as long as is said.
        let missing = unsafe { syscall!(READ, self.file, out.as_mut_ptr(), out.len()) };
        if missing != 0 || *out == self.last {
            return Err(EntropyError);
        }
        self.last = *out;
        Ok(())
    }
}

impl Entropy for HostEntropy {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in out.chunks_mut(16) {
            let mut block = [0; 16];
            self.draw(&mut block)?;
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        Ok(())
    }
}
