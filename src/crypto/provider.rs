//! The seam: every call into a cryptographic crate, as free functions over byte arrays.
//!
//! A second provider is a second module with these same functions and these same bytes.

use super::{DhError, Forged, TAG_LEN};
use blake2::Blake2s256;
use blake2::digest::Digest;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce, Tag};
use zeroize::Zeroizing;

/// ChaCha20-Poly1305 nonce: 4 zero bytes, then the 64-bit counter, little endian (Noise specification, section 12.3).
fn nonce(counter: u64) -> Nonce {
    let mut nonce = Nonce::default();
    for (to, from) in nonce.iter_mut().skip(4).zip(counter.to_le_bytes()) {
        *to = from;
    }
    nonce
}

/// Encrypts `body` in place (RFC 8439, section 2.8) and returns the tag; `None` above the cipher's 256 GiB.
pub(super) fn aead_seal(key: &[u8; 32], counter: u64, aad: &[u8], body: &mut [u8]) -> Option<[u8; TAG_LEN]> {
    let cipher = ChaCha20Poly1305::new(<&Key>::from(key));
    let tag = cipher.encrypt_inout_detached(&nonce(counter), aad, body.into()).ok()?;
    Some(tag.into())
}

/// Decrypts `body` in place, or leaves it as it was and fails.
pub(super) fn aead_open(
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

/// BLAKE2s-256 over the concatenation of `parts` (RFC 7693).
pub(super) fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Blake2s256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// HMAC-BLAKE2s over the concatenation of all parts (RFC 2104), into `out`.
///
/// Written here because the crates `hmac` and `hkdf` (both 0.13) leave the padded key in memory. Here it has one place,
/// which is wiped, and BLAKE2s wipes its own state. What remains: `finalize_into` takes that state by value, so where
/// the compiler copies it rather than hand it over, the copy left behind is not wiped.
fn hmac_into(key: &[u8; 32], parts: &[&[&[u8]]], out: &mut [u8; 32]) {
    let mut pad = Zeroizing::new([0u8; 64]);
    for (to, from) in pad.iter_mut().zip(key) {
        *to = *from;
    }
    pad.iter_mut().for_each(|byte| *byte ^= 0x36);
    let mut inner = Blake2s256::new();
    inner.update(pad.as_slice());
    for part in parts.iter().copied().flatten() {
        inner.update(part);
    }
    inner.finalize_into(out.into());

    pad.iter_mut().for_each(|byte| *byte ^= 0x36 ^ 0x5c);
    let mut outer = Blake2s256::new();
    outer.update(pad.as_slice());
    outer.update(out.as_slice());
    outer.finalize_into(out.into());
}

/// HMAC-BLAKE2s over the concatenation of `parts` (RFC 2104).
pub(super) fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut out = [0; 32];
    hmac_into(key, &[parts], &mut out);
    out
}

/// HKDF-Extract over BLAKE2s (RFC 5869, section 2.2); the key material is the concatenation of `ikm`.
pub(super) fn hkdf_extract(salt: &[u8; 32], ikm: &[&[u8]]) -> [u8; 32] {
    hmac(salt, ikm)
}

/// HKDF-Expand over BLAKE2s (RFC 5869, section 2.3); at most 8160 bytes, or `false`.
pub(super) fn hkdf_expand(prk: &[u8; 32], info: &[&[u8]], out: &mut [u8]) -> bool {
    if out.len() > 255 * 32 {
        return false;
    }
    let mut previous = Zeroizing::new([0u8; 32]);
    let mut block = Zeroizing::new([0u8; 32]);
    for (index, chunk) in (1..=255u8).zip(out.chunks_mut(32)) {
        let chained: &[u8] = if index == 1 { &[] } else { previous.as_slice() };
        hmac_into(prk, &[&[chained], info, &[&[index]]], &mut block);
        previous.copy_from_slice(block.as_slice());
        for (to, from) in chunk.iter_mut().zip(block.iter()) {
            *to = *from;
        }
    }
    true
}

/// X25519 of `secret` and the base point (RFC 7748, section 6.1).
pub(super) fn x25519_public(secret: &[u8; 32]) -> [u8; 32] {
    let secret = x25519_dalek::StaticSecret::from(*secret);
    x25519_dalek::PublicKey::from(&secret).to_bytes()
}

/// X25519 (RFC 7748, section 6.1), with the all-zero check.
pub(super) fn x25519(secret: &[u8; 32], public: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, DhError> {
    let secret = x25519_dalek::StaticSecret::from(*secret);
    let shared = secret.diffie_hellman(&x25519_dalek::PublicKey::from(*public));
    if shared.was_contributory() { Ok(Zeroizing::new(shared.to_bytes())) } else { Err(DhError) }
}

/// The Ed25519 public key of a 32-byte seed (RFC 8032, section 5.1.5).
#[cfg(any(feature = "credentials", test))]
pub(super) fn ed25519_public(seed: &[u8; 32]) -> [u8; 32] {
    ed25519_dalek::SigningKey::from_bytes(seed).verifying_key().to_bytes()
}

/// Signs with Ed25519 (RFC 8032, section 5.1.6).
#[cfg(any(feature = "credentials", test))]
pub(super) fn ed25519_sign(seed: &[u8; 32], message: &[u8]) -> [u8; 64] {
    use ed25519_dalek::Signer;
    ed25519_dalek::SigningKey::from_bytes(seed).sign(message).to_bytes()
}

/// Verifies strictly: canonical `s`, no low-order `A` or `R` (RFC 8032, section 5.1.7 and the rules of ed25519-dalek's
/// `verify_strict`).
#[cfg(any(feature = "credentials", test))]
pub(super) fn ed25519_verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), Forged> {
    let key = ed25519_dalek::VerifyingKey::from_bytes(public).map_err(|_| Forged)?;
    let signature = ed25519_dalek::Signature::from_bytes(signature);
    key.verify_strict(message, &signature).map_err(|_| Forged)
}
