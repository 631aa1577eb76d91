//! Pure Rust: the crates of RustCrypto and dalek. The default, and the only one without `std`.

use crate::crypto::{DhError, Forged, TAG_LEN};
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce, Tag};
use zeroize::{Zeroize, Zeroizing};

/// What [`PROVIDER`](crate::crypto::PROVIDER) says.
pub(in crate::crypto) const NAME: &str = "pure Rust";

/// ChaCha20-Poly1305 nonce: 4 zero bytes, then the 64-bit counter, little endian (Noise specification, section 12.3).
fn nonce(counter: u64) -> Nonce {
    let mut nonce = Nonce::default();
    for (to, from) in nonce.iter_mut().skip(4).zip(counter.to_le_bytes()) {
        *to = from;
    }
    nonce
}

/// Encrypts `body` in place (RFC 8439, section 2.8) and returns the tag; `None` above the cipher's 256 GiB.
pub(in crate::crypto) fn aead_seal(
    key: &[u8; 32],
    counter: u64,
    aad: &[u8],
    body: &mut [u8],
) -> Option<[u8; TAG_LEN]> {
    let cipher = ChaCha20Poly1305::new(<&Key>::from(key));
    let tag = cipher.encrypt_inout_detached(&nonce(counter), aad, body.into()).ok()?;
    Some(tag.into())
}

/// Decrypts `body` in place, or leaves it as it was and fails.
pub(in crate::crypto) fn aead_open(
    key: &[u8; 32],
    counter: u64,
    aad: &[u8],
    body: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), Forged> {
    let cipher = ChaCha20Poly1305::new(<&Key>::from(key));
    let tag = <&Tag>::from(tag);
    cipher.decrypt_inout_detached(&nonce(counter), aad, body.into(), tag).map_err(|_| Forged)
}

/// What is kept of an X25519 secret between exchanges: nothing, these crates work on its bytes.
pub(in crate::crypto) struct PreparedDh;

impl PreparedDh {
    pub(in crate::crypto) const fn new() -> Self {
        Self
    }

    /// X25519 of `secret` and the base point (RFC 7748, section 6.1).
    pub(in crate::crypto) fn public(&self, secret: &[u8; 32]) -> [u8; 32] {
        let secret = x25519_dalek::StaticSecret::from(*secret);
        x25519_dalek::PublicKey::from(&secret).to_bytes()
    }

    /// X25519 (RFC 7748, section 6.1), with the all-zero check.
    pub(in crate::crypto) fn exchange(
        &self,
        secret: &[u8; 32],
        public: &[u8; 32],
    ) -> Result<Zeroizing<[u8; 32]>, DhError> {
        let secret = x25519_dalek::StaticSecret::from(*secret);
        let shared = secret.diffie_hellman(&x25519_dalek::PublicKey::from(*public));
        if shared.was_contributory() { Ok(Zeroizing::new(shared.to_bytes())) } else { Err(DhError) }
    }
}

impl Zeroize for PreparedDh {
    fn zeroize(&mut self) {}
}

/// The Ed25519 public key of a 32-byte seed (RFC 8032, section 5.1.5).
#[cfg(any(feature = "credentials", test))]
pub(in crate::crypto) fn ed25519_public(seed: &[u8; 32]) -> [u8; 32] {
    ed25519_dalek::SigningKey::from_bytes(seed).verifying_key().to_bytes()
}

/// Signs with Ed25519 (RFC 8032, section 5.1.6).
#[cfg(any(feature = "credentials", test))]
pub(in crate::crypto) fn ed25519_sign(seed: &[u8; 32], message: &[u8]) -> [u8; 64] {
    use ed25519_dalek::Signer;
    ed25519_dalek::SigningKey::from_bytes(seed).sign(message).to_bytes()
}

/// Verifies strictly: canonical `s`, no low-order `A` or `R` (RFC 8032, section 5.1.7 and the rules of ed25519-dalek's
/// `verify_strict`).
#[cfg(any(feature = "credentials", test))]
pub(in crate::crypto) fn ed25519_verify(
    public: &[u8; 32],
    message: &[u8],
    signature: &[u8; 64],
) -> Result<(), Forged> {
    let key = ed25519_dalek::VerifyingKey::from_bytes(public).map_err(|_| Forged)?;
    let signature = ed25519_dalek::Signature::from_bytes(signature);
    key.verify_strict(message, &signature).map_err(|_| Forged)
}
