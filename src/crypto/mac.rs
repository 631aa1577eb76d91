//! MACs that are no packet's tag: the Hello's filter, Retries and cookies.

use super::kdf::HashParts;
use super::{TAG_LEN, provider};
use subtle::ConstantTimeEq;

/// HMAC-BLAKE2s of the concatenated parts, its first 16 bytes: filters and cookies, never the AEAD's tag.
pub(crate) fn mac_parts(key: &[u8; 32], parts: HashParts<'_>) -> [u8; TAG_LEN] {
    let full = provider::hmac(key, parts);
    let mut tag = [0u8; TAG_LEN];
    for (to, from) in tag.iter_mut().zip(full) {
        *to = from;
    }
    tag
}

/// Compares a MAC in constant time.
pub(crate) fn verify_mac(key: &[u8; 32], parts: HashParts<'_>, mac: &[u8; TAG_LEN]) -> bool {
    mac_parts(key, parts).ct_eq(mac).into()
}
