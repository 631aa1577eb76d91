//! A hardware generator whose raw samples are tested while it runs.

use crate::memory::{self, Region};
use crate::slot::{self, Object};
use crate::status::*;
use core::ffi::c_void;
use vitalwire::health::{HealthError, HealthLimits, HealthTested, NoiseSource};
use vitalwire::{Entropy, EntropyError};

/// The size of a `vw_health`, in words of 64 bits.
pub const VW_HEALTH_WORDS: usize = 18;

/// Neither health test has failed.
pub const VW_HEALTH_GOOD: u8 = 0;
/// One sample came too often in a row.
pub const VW_HEALTH_STUCK: u8 = 1;
/// One sample came too often within a window.
pub const VW_HEALTH_BIASED: u8 = 2;
/// A failure that this header does not know.
pub const VW_HEALTH_OTHER: u8 = 255;

/// A tested random source: opaque, in the caller's memory, and never moved.
#[repr(C)]
pub struct vw_health {
    /// Not for use.
    pub opaque: [u64; VW_HEALTH_WORDS],
}

/// Waits, not for ever, for the generator's next raw sample, stores it in `sample` and returns 0, or returns anything else
/// if there is none.
pub type vw_sample_fn = Option<unsafe extern "C" fn(context: *mut c_void, sample: *mut u32) -> i32>;

/// The caller's generator.
struct Sampler {
    take: unsafe extern "C" fn(context: *mut c_void, sample: *mut u32) -> i32,
    context: *mut c_void,
}

impl NoiseSource for Sampler {
    fn sample(&mut self) -> Result<u32, EntropyError> {
        let mut sample = 0;
        // SAFETY: the caller gave this function for this, with the context that it wants.
        let failed = unsafe { (self.take)(self.context, &raw mut sample) };
        if failed == 0 { Ok(sample) } else { Err(EntropyError) }
    }
}

type Tested = HealthTested<Sampler>;

impl Object for Tested {
    type Storage = vw_health;
    const MAGIC: u32 = 0x7677_6448;
}

/// Makes a tested random source in `health`, of `size` bytes: `sizeof (vw_health)`. Its samples have `sample_bits` bits, 1 to
/// 32, of which an assessment of the hardware (NIST SP 800-90B) has found `entropy_millibits` thousandths of a bit of
/// min-entropy, 100 or more.
///
/// The health tests of SP 800-90B, section 4.4, look at each sample, and 1024 of them must pass before the first byte. Where
/// a test fails, the source is not used again. What passes is hashed. It finds a generator that breaks, not one that was
/// never good: take raw samples, from before any conditioning in hardware.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_health_init(
    health: *mut vw_health,
    size: usize,
    sample: vw_sample_fn,
    context: *mut c_void,
    sample_bits: u8,
    entropy_millibits: u16,
) -> vw_status {
    let make = || {
        if size != size_of::<vw_health>() {
            return Err(VW_ERROR_BAD_LENGTH);
        }
        let source = Sampler { take: sample.ok_or(VW_ERROR_NULL)?, context };
        Ok(HealthTested::new(source, HealthLimits::new(sample_bits, entropy_millibits)?))
    };
    // SAFETY: the caller's storage, by contract.
    unsafe { slot::make::<Tested>(health, make) }
}

/// Runs the start-up test, or what is left of it; `vw_health_fill` does it otherwise. `VW_ERROR_ENTROPY` if a test fails, or
/// the generator has no sample.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_health_start_up(health: *mut vw_health) -> vw_status {
    let work = |tested: &mut Tested| tested.start_up().map(|()| VW_OK).map_err(|_| VW_ERROR_ENTROPY);
    // SAFETY: the caller's storage, by contract.
    unsafe { slot::with(health, work) }
}

/// Fills `out` with random bytes: give it as `vw_config.entropy`, with the `vw_health` as `vw_config.entropy_context`. Returns
/// `VW_OK`, which is 0, or an error: then `out` has zeros, or is as it was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_health_fill(health: *mut c_void, out: *mut u8, len: usize) -> i32 {
    let own = Region::new(health, size_of::<vw_health>());
    let work = |tested: &mut Tested| {
        if own.overlaps(Region::new(out, len)) {
            return Err(VW_ERROR_OVERLAP);
        }
        // SAFETY: the caller's buffer, by contract, and not the source's memory.
        let out = unsafe { memory::buffer(out, len) }?;
        tested.fill(out).map(|()| VW_OK).map_err(|_| VW_ERROR_ENTROPY)
    };
    // SAFETY: the caller's storage, by contract.
    unsafe { slot::with(health.cast(), work) as i32 }
}

/// Tells what a test has found: a `VW_HEALTH_…`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_health_failure(health: *mut vw_health, failure: *mut u8) -> vw_status {
    let own = Region::new(health, size_of::<vw_health>());
    let work = |tested: &mut Tested| {
        if own.overlaps(Region::new(failure, 1)) {
            return Err(VW_ERROR_OVERLAP);
        }
        let found = match tested.failure() {
            None => VW_HEALTH_GOOD,
            Some(HealthError::Stuck) => VW_HEALTH_STUCK,
            Some(HealthError::Biased) => VW_HEALTH_BIASED,
            Some(_) => VW_HEALTH_OTHER,
        };
        // SAFETY: the caller has room for one, by contract.
        unsafe { memory::write(failure, found) }?;
        Ok(VW_OK)
    };
    // SAFETY: the caller's storage, by contract.
    unsafe { slot::with(health, work) }
}

/// Ends the source, and wipes its state. A device that it feeds ends first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_health_destroy(health: *mut vw_health) -> vw_status {
    // SAFETY: the caller's storage, by contract.
    unsafe { slot::destroy::<Tested>(health, |_| Ok(VW_OK)) }
}
