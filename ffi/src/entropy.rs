use core::ffi::c_void;
use vitalwire::{Entropy, EntropyError};

/// Fills `out` with `len` random bytes and returns 0, or returns anything else if it cannot: then nothing in `out` is
/// used, and the call that needed it returns `VW_ERROR_ENTROPY`.
///
/// It must be a hardware generator that passed its health tests, or a DRBG seeded from one. It may be called in
/// `vw_poll_transmit` and `vw_poll_storage` only, and must not call back into the device.
pub type vw_entropy_fn = Option<unsafe extern "C" fn(context: *mut c_void, out: *mut u8, len: usize) -> i32>;

/// The caller's generator.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    pub(crate) fill: unsafe extern "C" fn(context: *mut c_void, out: *mut u8, len: usize) -> i32,
    pub(crate) context: *mut c_void,
}

impl Entropy for Source {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        // SAFETY: the caller gave this function for this, with the context that it wants.
        let failed = unsafe { (self.fill)(self.context, out.as_mut_ptr(), out.len()) };
        if failed == 0 { Ok(()) } else { Err(EntropyError) }
    }
}
