//! BLAKE2s, HMAC and HKDF: the same code under both providers, as AWS-LC has no BLAKE2s.

use blake2::Blake2s256;
use blake2::digest::Digest;
use zeroize::Zeroizing;

/// BLAKE2s-256 over the concatenation of `parts` (RFC 7693).
pub(in crate::crypto) fn hash(parts: &[&[u8]]) -> [u8; 32] {
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
pub(in crate::crypto) fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut out = [0; 32];
    hmac_into(key, &[parts], &mut out);
    out
}

/// HKDF-Extract over BLAKE2s (RFC 5869, section 2.2); the key material is the concatenation of `ikm`.
pub(in crate::crypto) fn hkdf_extract(salt: &[u8; 32], ikm: &[&[u8]]) -> [u8; 32] {
    hmac(salt, ikm)
}

/// HKDF-Expand over BLAKE2s (RFC 5869, section 2.3); at most 8160 bytes, or `false`.
pub(in crate::crypto) fn hkdf_expand(prk: &[u8; 32], info: &[&[u8]], out: &mut [u8]) -> bool {
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
