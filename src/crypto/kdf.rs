//! HKDF and hashing over BLAKE2s with the protocol's domain separation.

use super::provider;
use zeroize::Zeroizing;

/// What is hashed or authenticated, in pieces that are simply concatenated.
pub(crate) type HashParts<'a> = &'a [&'a [u8]];

/// HKDF-Extract (RFC 5869): `salt` is a hash or an earlier secret, `ikm` the new material.
pub(crate) fn extract(salt: &[u8; 32], ikm: HashParts<'_>) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(provider::hkdf_extract(salt, ikm))
}

/// HKDF-Expand (RFC 5869) with the info `"vitalwire/1 " ‖ label ‖ context…`, to a fixed short length.
///
/// `N` is a compile-time length of at most 8160, so this cannot fail.
pub(crate) fn expand<const N: usize>(prk: &[u8; 32], label: &str, context: [&[u8]; 2]) -> Zeroizing<[u8; N]> {
    const { assert!(N <= 255 * 32) };
    let mut out = Zeroizing::new([0u8; N]);
    let [first, second] = context;
    let done = provider::hkdf_expand(prk, &[b"vitalwire/1 ", label.as_bytes(), first, second], &mut *out);
    debug_assert!(done);
    out
}

/// BLAKE2s-256 of the concatenated parts.
pub(crate) fn hash_parts(parts: HashParts<'_>) -> [u8; 32] {
    provider::hash(parts)
}
