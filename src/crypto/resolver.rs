//! snow's primitives from our provider: exactly one copy of each cryptographic crate is in the tree.
//!
//! The resolver is made for one handshake. It hands snow the static key as something that can only compute
//! (so that it may live in a secure element), with its stored public key, and one ephemeral key made beforehand.

use super::provider::{self, Hasher, PreparedDh};
use super::{EphemeralSecret, PublicKey, StaticDh, TAG_LEN};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;
use snow::params::{
    BaseChoice, CipherChoice, DHChoice, HandshakeChoice, HandshakeModifierList, HandshakePattern, HashChoice,
    NoiseParams,
};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What the local side brings into one handshake.
pub(crate) struct LocalKeys {
    /// The static key; `None` in patterns without one.
    pub(crate) identity: Option<(Arc<dyn StaticDh>, PublicKey)>,
    /// The ephemeral key.
    pub(crate) ephemeral: EphemeralSecret,
}

pub(crate) struct Resolver {
    // snow asks for the static key's Dh first, then for the ephemeral's (builder.rs of the pinned version);
    // every vector test fails if that order changes.
    static_dh: Cell<Option<Box<dyn Dh>>>,
    ephemeral_dh: Cell<Option<Box<dyn Dh>>>,
}

impl Resolver {
    pub(crate) fn new(local: LocalKeys) -> Self {
        let static_dh: Box<dyn Dh> = match local.identity {
            Some((key, public)) => Box::new(Static { key, public }),
            None => Box::new(NoKey),
        };
        let (secret, prepared) = (local.ephemeral, PreparedDh::new());
        let ephemeral = Ephemeral { secret, prepared, public: PublicKey([0; 32]) };
        Self { static_dh: Cell::new(Some(static_dh)), ephemeral_dh: Cell::new(Some(Box::new(ephemeral))) }
    }
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(NoRandom))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        (*choice == DHChoice::Curve25519)
            .then(|| self.static_dh.take().or_else(|| self.ephemeral_dh.take()))?
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        (*choice == HashChoice::Blake2s).then(|| Box::new(Blake2s::new()) as Box<dyn Hash>)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        (*choice == CipherChoice::ChaChaPoly)
            .then(|| Box::new(ChaChaPoly(Zeroizing::new([0; 32]))) as Box<dyn Cipher>)
    }
}

/// snow must never draw randomness by itself: the ephemeral key is made beforehand.
struct NoRandom;

impl Random for NoRandom {
    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), snow::Error> {
        Err(snow::Error::Rng)
    }
}

/// The static key's place in a pattern without one.
struct NoKey;

impl Dh for NoKey {
    fn name(&self) -> &'static str {
        "25519"
    }
    fn pub_len(&self) -> usize {
        32
    }
    fn priv_len(&self) -> usize {
        32
    }
    fn set(&mut self, _: &[u8]) {}
    fn generate(&mut self, _: &mut dyn Random) -> Result<(), snow::Error> {
        Err(snow::Error::Dh)
    }
    fn pubkey(&self) -> &[u8] {
        &[0; 32]
    }
    fn privkey(&self) -> &[u8] {
        &[]
    }
    fn dh(&self, _: &[u8], _: &mut [u8]) -> Result<(), snow::Error> {
        Err(snow::Error::Dh)
    }
}

struct Static {
    key: Arc<dyn StaticDh>,
    public: PublicKey,
}

impl Dh for Static {
    fn name(&self) -> &'static str {
        "25519"
    }
    fn pub_len(&self) -> usize {
        32
    }
    fn priv_len(&self) -> usize {
        32
    }
    /// snow hands over the placeholder that its builder asks for; the true key never passes through snow.
    fn set(&mut self, _: &[u8]) {}
    fn generate(&mut self, _: &mut dyn Random) -> Result<(), snow::Error> {
        Err(snow::Error::Dh)
    }
    fn pubkey(&self) -> &[u8] {
        &self.public.0
    }
    fn privkey(&self) -> &[u8] {
        &[]
    }
    //= SPEC.md#handshake
    //# An end MUST reject an all-zero Diffie-Hellman result.
    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        let public = public_key(pubkey)?;
        // A key store of others may hand zeros through, so they are looked for here again.
        let shared = self.key.diffie_hellman(&public).ok();
        let shared = shared.filter(|shared| !bool::from(shared.bytes().ct_eq(&[0; 32])));
        match shared {
            Some(shared) => write_out(shared.bytes(), out),
            None if is_low_order(&public) => Err(snow::Error::Dh),
            None => Err(KEY_STORE_FAILED),
        }
    }
}

struct Ephemeral {
    secret: EphemeralSecret,
    prepared: PreparedDh,
    public: PublicKey,
}

impl Dh for Ephemeral {
    fn name(&self) -> &'static str {
        "25519"
    }
    fn pub_len(&self) -> usize {
        32
    }
    fn priv_len(&self) -> usize {
        32
    }
    fn set(&mut self, _: &[u8]) {}
    fn generate(&mut self, _: &mut dyn Random) -> Result<(), snow::Error> {
        self.public = PublicKey(self.prepared.public(self.secret.bytes()));
        Ok(())
    }
    fn pubkey(&self) -> &[u8] {
        &self.public.0
    }
    fn privkey(&self) -> &[u8] {
        &[]
    }
    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        let public = public_key(pubkey)?;
        let shared = self.prepared.exchange(self.secret.bytes(), &public.0).map_err(|_| snow::Error::Dh)?;
        write_out(&shared, out)
    }
}

/// How a failed key store is told through snow. snow itself makes this error only if its random source fails, and the
/// one that it is given here is never asked.
pub(crate) const KEY_STORE_FAILED: snow::Error = snow::Error::Rng;

/// Tells whether every exchange with this key gives zero; asked only after one has failed.
fn is_low_order(public: &PublicKey) -> bool {
    provider::x25519(&[1; 32], &public.0).is_err()
}

/// snow passes its 56-byte key buffers; the first 32 bytes count.
fn public_key(bytes: &[u8]) -> Result<PublicKey, snow::Error> {
    bytes.first_chunk::<32>().map(|key| PublicKey(*key)).ok_or(snow::Error::Dh)
}

fn write_out(shared: &[u8; 32], out: &mut [u8]) -> Result<(), snow::Error> {
    out.first_chunk_mut::<32>().ok_or(snow::Error::Dh)?.copy_from_slice(shared);
    Ok(())
}

/// BLAKE2s, and Noise's HKDF over it.
enum Blake2s {
    Hashing(Hasher),
    /// The handshake is over: from this chaining key these two keys were split. snow splits for its own cipher states, and
    /// again when asked for the keys; the second time costs nothing. Wiped like the hash, whose place it takes.
    Split(Zeroizing<[u8; 32]>, Zeroizing<[u8; 64]>),
}

impl Blake2s {
    fn new() -> Self {
        Self::Hashing(Hasher::new())
    }
}

impl Hash for Blake2s {
    fn name(&self) -> &'static str {
        "BLAKE2s"
    }
    fn block_len(&self) -> usize {
        64
    }
    fn hash_len(&self) -> usize {
        32
    }
    fn reset(&mut self) {
        *self = Self::new();
    }
    fn input(&mut self, data: &[u8]) {
        if let Self::Hashing(hasher) = self {
            hasher.update(data);
        }
    }
    /// snow calls `reset` before it hashes anything more.
    fn result(&mut self, out: &mut [u8]) {
        if let (Self::Hashing(hasher), Some(out)) = (self, out.first_chunk_mut::<32>()) {
            hasher.finish(out);
        }
    }

    fn hmac(&mut self, key: &[u8], data: &[u8], out: &mut [u8]) {
        if let Some(out) = out.first_chunk_mut::<32>() {
            *out = provider::hmac(&padded(key), &[data]);
        }
    }

    /// Noise's HKDF (Noise specification, section 4.3) is that of RFC 5869 with an empty `info`.
    fn hkdf(
        &mut self,
        chaining_key: &[u8],
        input_key_material: &[u8],
        outputs: usize,
        out1: &mut [u8],
        out2: &mut [u8],
        out3: &mut [u8],
    ) {
        let chaining_key = padded(chaining_key);
        let is_split = input_key_material.is_empty() && outputs == 2;
        let mut okm = Zeroizing::new([0u8; 96]);
        match self {
            Self::Split(from, keys) if is_split && *from == chaining_key => {
                for (to, from) in okm.iter_mut().zip(keys.iter()) {
                    *to = *from;
                }
            }
            _ => {
                let prk = Zeroizing::new(provider::hkdf_extract(&chaining_key, &[input_key_material]));
                let wanted = outputs.min(3).saturating_mul(32);
                provider::hkdf_expand(&prk, &[], okm.get_mut(..wanted).unwrap_or_default());
            }
        }
        for (out, key) in [out1, out2, out3].into_iter().zip(okm.chunks(32)).take(outputs) {
            for (to, from) in out.iter_mut().zip(key) {
                *to = *from;
            }
        }
        if is_split && let Some(keys) = okm.first_chunk() {
            *self = Self::Split(chaining_key, Zeroizing::new(*keys));
        }
    }
}

/// A key of HMAC in 32 bytes, which it has: a shorter one is followed by zeros (RFC 2104, section 2).
fn padded(key: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut padded = Zeroizing::new([0u8; 32]);
    for (to, from) in padded.iter_mut().zip(key) {
        *to = *from;
    }
    padded
}

struct ChaChaPoly(Zeroizing<[u8; 32]>);

impl Cipher for ChaChaPoly {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }

    fn set(&mut self, key: &[u8; 32]) {
        *self.0 = *key;
    }

    /// Returns 0 and writes nothing if `out` is too small.
    ///
    /// snow checks that beforehand for a payload, but for a static key it forgets the tag: a message buffer that ends
    /// inside that tag gives a short message and no error. Who writes messages brings a buffer that is large enough by
    /// construction; `tests/failed_reads.rs` holds what happens otherwise.
    fn encrypt(&self, nonce: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let Some((body, rest)) = out.split_at_mut_checked(plaintext.len()) else { return 0 };
        let Some(tag_out) = rest.first_chunk_mut::<TAG_LEN>() else { return 0 };
        body.copy_from_slice(plaintext);
        let Some(tag) = provider::aead_seal(&self.0, nonce, authtext, body) else { return 0 };
        *tag_out = tag;
        plaintext.len().saturating_add(TAG_LEN)
    }

    fn decrypt(
        &self,
        nonce: u64,
        authtext: &[u8],
        ciphertext: &[u8],
        out: &mut [u8],
    ) -> Result<usize, snow::Error> {
        let (body, tag) = ciphertext.split_last_chunk::<TAG_LEN>().ok_or(snow::Error::Decrypt)?;
        let out = out.get_mut(..body.len()).ok_or(snow::Error::Decrypt)?;
        out.copy_from_slice(body);
        provider::aead_open(&self.0, nonce, authtext, out, tag).map_err(|_| snow::Error::Decrypt)?;
        Ok(body.len())
    }
}

/// Makes a handshake state that knows nothing, to be written over one that knows secrets. Its parts take no heap.
pub(crate) fn blank_state() -> Option<snow::HandshakeState> {
    let params = NoiseParams::new(
        alloc::string::String::new(), // hashed by `NoHash` only
        BaseChoice::Noise,
        HandshakeChoice {
            pattern: HandshakePattern::NN,
            modifiers: HandshakeModifierList { list: Vec::new() },
        },
        DHChoice::Curve25519,
        CipherChoice::ChaChaPoly,
        HashChoice::Blake2s,
    );
    snow::Builder::with_resolver(params, Box::new(Blank)).build_responder().ok()
}

struct Blank;

impl CryptoResolver for Blank {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(NoRandom))
    }
    fn resolve_dh(&self, _: &DHChoice) -> Option<Box<dyn Dh>> {
        Some(Box::new(NoKey))
    }
    fn resolve_hash(&self, _: &HashChoice) -> Option<Box<dyn Hash>> {
        Some(Box::new(NoHash))
    }
    fn resolve_cipher(&self, _: &CipherChoice) -> Option<Box<dyn Cipher>> {
        Some(Box::new(NoCipher))
    }
}

struct NoHash;

impl Hash for NoHash {
    fn name(&self) -> &'static str {
        "BLAKE2s"
    }
    fn block_len(&self) -> usize {
        64
    }
    fn hash_len(&self) -> usize {
        32
    }
    fn reset(&mut self) {}
    fn input(&mut self, _: &[u8]) {}
    fn result(&mut self, out: &mut [u8]) {
        out.fill(0);
    }
}

struct NoCipher;

impl Cipher for NoCipher {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }
    fn set(&mut self, _: &[u8; 32]) {}
    fn encrypt(&self, _: u64, _: &[u8], _: &[u8], _: &mut [u8]) -> usize {
        0
    }
    fn decrypt(&self, _: u64, _: &[u8], _: &[u8], _: &mut [u8]) -> Result<usize, snow::Error> {
        Err(snow::Error::Decrypt)
    }
}
