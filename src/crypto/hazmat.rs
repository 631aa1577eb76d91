//! The raw cipher, for measuring and for checking against published vectors. Nothing here keeps a nonce
//! unique, or a secret fresh.

use super::{EphemeralSecret, Forged, TAG_LEN, provider};

/// Encrypts `body` in place with ChaCha20-Poly1305 (RFC 8439) and the nonce `0000 ‖ counter` and returns the tag.
///
/// # Security
/// A counter that is used twice with one key gives away the messages and the key for forgeries.
pub fn seal(key: &[u8; 32], counter: u64, aad: &[u8], body: &mut [u8]) -> Option<[u8; TAG_LEN]> {
    provider::aead_seal(key, counter, aad, body)
}

/// Reverses [`seal`].
///
/// # Errors
/// [`Forged`]; `body` is then as it was.
pub fn open(
    key: &[u8; 32],
    counter: u64,
    aad: &[u8],
    body: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), Forged> {
    provider::aead_open(key, counter, aad, body, tag)
}

/// HKDF-BLAKE2s (RFC 5869 over RFC 7693), extract then expand.
pub fn hkdf(salt: &[u8; 32], ikm: &[u8], info: &[u8], out: &mut [u8]) -> bool {
    provider::hkdf_expand(&provider::hkdf_extract(salt, &[ikm]), &[info], out)
}

/// BLAKE2s-256 (RFC 7693).
pub fn blake2s(message: &[u8]) -> [u8; 32] {
    provider::hash(&[message])
}

/// HMAC-BLAKE2s with a 32-byte key (RFC 2104 over RFC 7693).
pub fn hmac_blake2s(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    provider::hmac(key, &[message])
}

/// Takes a key for one exchange from known bytes, as a published vector states it.
///
/// # Security
/// For vectors and measurements only. Every other ephemeral key comes from
/// [`EphemeralSecret::generate_hedged`], which draws it anew.
pub const fn ephemeral_secret(bytes: [u8; 32]) -> EphemeralSecret {
    EphemeralSecret::from_bytes(bytes)
}
