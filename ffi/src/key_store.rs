use core::ffi::c_void;
use vitalwire::crypto::{DhError, HedgeKey, PublicKey, SharedSecret, StaticDh};
use zeroize::Zeroizing;

/// Computes X25519 of the device's static key and `public_key` into `shared` (32 bytes each) and returns 0, or returns
/// anything else if it cannot.
pub type vw_dh_fn =
    Option<unsafe extern "C" fn(context: *mut c_void, public_key: *const u8, shared: *mut u8) -> i32>;

/// Where the device's static key is kept, if that shows it to nobody: a secure element.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct vw_key_store {
    /// Does what needs the key; NULL if `vw_config.secret_key` has it.
    pub diffie_hellman: vw_dh_fn,
    /// What `diffie_hellman` is called with.
    pub context: *mut c_void,
    /// 32 secret bytes that hedge ephemeral keys against a weak generator; copied. NULL: there are none.
    pub hedge_key: *const u8,
}

/// The caller's key store.
pub(crate) struct KeyStore {
    pub(crate) exchange:
        unsafe extern "C" fn(context: *mut c_void, public_key: *const u8, shared: *mut u8) -> i32,
    pub(crate) context: *mut c_void,
    pub(crate) hedge_key: Zeroizing<[u8; 32]>,
}

// SAFETY: it is called only inside calls on its device, of which there is one at a time; C keeps the device in one thread
// or hands it over as a whole.
unsafe impl Send for KeyStore {}
// SAFETY: as above.
unsafe impl Sync for KeyStore {}

impl StaticDh for KeyStore {
    fn diffie_hellman(&self, public: &PublicKey) -> Result<SharedSecret, DhError> {
        let mut shared = Zeroizing::new([0; 32]);
        // SAFETY: the caller gave this function for this; both pointers have 32 bytes.
        let failed = unsafe { (self.exchange)(self.context, public.0.as_ptr(), shared.as_mut_ptr()) };
        // All zero: a low-order point (RFC 7748, section 6.1), or a store that wrote nothing.
        let blank = shared.iter().fold(0, |all, byte| all | byte) == 0;
        if failed != 0 || blank { Err(DhError) } else { Ok(SharedSecret::from_bytes(*shared)) }
    }

    fn hedge_key(&self) -> HedgeKey {
        HedgeKey::from_bytes(*self.hedge_key)
    }
}
