//! BLAKE2s, HMAC and HKDF: the same code under both providers, as AWS-LC has no BLAKE2s.
//!
//! Built on the block interface of the crate `blake2`: its hasher keeps a full block back until more comes, so that the
//! two hashed pads of an HMAC key, which most derivations need more than once, could not be copied out of it.

use blake2::Blake2sVarCore;
use blake2::digest::block_api::{Buffer, UpdateCore, VariableOutputCore};
use zeroize::Zeroizing;

/// A BLAKE2s-256 under way (RFC 7693); wiped when it is dropped.
pub(in crate::crypto) struct Hasher {
    core: Blake2sVarCore,
    buffer: Zeroizing<Buffer<Blake2sVarCore>>,
}

impl Hasher {
    pub(in crate::crypto) fn new() -> Self {
        Self::from_core(Blake2sVarCore::new_with_params(&[], &[], 0, 32))
    }

    fn from_core(core: Blake2sVarCore) -> Self {
        Self { core, buffer: Zeroizing::new(Buffer::<Blake2sVarCore>::default()) }
    }

    pub(in crate::crypto) fn update(&mut self, bytes: &[u8]) {
        let Self { core, buffer } = self;
        buffer.digest_blocks(bytes, |blocks| core.update_blocks(blocks));
    }

    /// Writes the hash to `out`; nothing more may be hashed then.
    pub(in crate::crypto) fn finish(&mut self, out: &mut [u8; 32]) {
        self.core.finalize_variable_core(&mut self.buffer, out.into());
    }
}

/// BLAKE2s-256 over the concatenation of `parts` (RFC 7693).
pub(in crate::crypto) fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    let mut out = [0; 32];
    hasher.finish(&mut out);
    out
}

/// A key of HMAC-BLAKE2s (RFC 2104), its two pads hashed: as good as the key, and wiped like it.
///
/// Written here because the crates `hmac` and `hkdf` (both 0.13) leave the padded key in memory. Here it has one place,
/// which is wiped, and BLAKE2s wipes its own state. What remains: where the compiler copies such a state rather than hand
/// it over, the copy left behind is not wiped, nor is the last block, which `blake2` pads in a place of its own.
struct HmacKey {
    inner: Blake2sVarCore,
    outer: Blake2sVarCore,
}

impl HmacKey {
    fn new(key: &[u8; 32]) -> Self {
        let hashed = |pad: &[u8; 64]| {
            let mut core = Blake2sVarCore::new_with_params(&[], &[], 0, 32);
            core.update_blocks(core::slice::from_ref(pad.into()));
            core
        };
        Self { inner: hashed(&padded(key, 0x36)), outer: hashed(&padded(key, 0x5c)) }
    }

    /// Writes the MAC of the concatenation of all parts, which must not be empty, to `out`: BLAKE2s marks its last block,
    /// and behind a hashed pad one more must come.
    fn mac(&self, parts: &[&[&[u8]]], out: &mut [u8; 32]) {
        let mut inner = Hasher::from_core(self.inner.clone());
        parts.iter().copied().flatten().for_each(|part| inner.update(part));
        inner.finish(out);
        self.finish(out);
    }

    /// Turns the inner hash into the MAC.
    fn finish(&self, out: &mut [u8; 32]) {
        let mut outer = Hasher::from_core(self.outer.clone());
        outer.update(out);
        outer.finish(out);
    }
}

/// The key, followed by zeros, each byte xored with `byte`.
fn padded(key: &[u8; 32], byte: u8) -> Zeroizing<[u8; 64]> {
    let mut pad = Zeroizing::new([byte; 64]);
    for (to, from) in pad.iter_mut().zip(key) {
        *to ^= from;
    }
    pad
}

/// HMAC-BLAKE2s over the concatenation of `parts` (RFC 2104).
pub(in crate::crypto) fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut out = [0; 32];
    let hashed = HmacKey::new(key);
    if parts.iter().all(|part| part.is_empty()) {
        let mut inner = Hasher::new();
        inner.update(&*padded(key, 0x36));
        inner.finish(&mut out);
        hashed.finish(&mut out);
    } else {
        hashed.mac(&[parts], &mut out);
    }
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
    let key = HmacKey::new(prk);
    let mut previous = Zeroizing::new([0u8; 32]);
    let mut block = Zeroizing::new([0u8; 32]);
    for (index, chunk) in (1..=255u8).zip(out.chunks_mut(32)) {
        let chained: &[u8] = if index == 1 { &[] } else { previous.as_slice() };
        key.mac(&[&[chained], info, &[&[index]]], &mut block);
        previous.copy_from_slice(block.as_slice());
        for (to, from) in chunk.iter_mut().zip(block.iter()) {
            *to = *from;
        }
    }
    true
}
