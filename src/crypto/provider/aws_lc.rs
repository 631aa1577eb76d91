//! AWS-LC, by the crate `aws-lc-rs`: for services on processors that its assembly knows.
//!
//! AWS-LC takes memory from C's allocator for each key, and `aws-lc-rs` a little from Rust's, which it expects to get.
//! Where there is none left, the pure Rust provider does the work, or the operation fails as for a forgery; nothing
//! panics and nothing is let through.

use super::pure;
use crate::crypto::{DhError, Forged, TAG_LEN};
use alloc::vec::Vec;
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use std::sync::OnceLock;
use zeroize::{Zeroize, Zeroizing};

/// What [`PROVIDER`](crate::crypto::PROVIDER) says.
pub(in crate::crypto) const NAME: &str = "aws-lc-rs";

/// AWS-LC's form of a key, in 584 bytes of heap; wiped when it is dropped.
///
/// Made for each packet, which costs a tenth of the time of one with 64 bytes; a session that kept its four would be 2 KB
/// larger (`cargo bench --features aws-lc-rs --bench provider`).
fn cipher(key: &[u8; 32]) -> Option<LessSafeKey> {
    UnboundKey::new(&CHACHA20_POLY1305, key).ok().map(LessSafeKey::new)
}

/// ChaCha20-Poly1305 nonce: 4 zero bytes, then the 64-bit counter, little endian (Noise specification, section 12.3).
fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    for (to, from) in nonce.iter_mut().skip(4).zip(counter.to_le_bytes()) {
        *to = from;
    }
    Nonce::assume_unique_for_key(nonce)
}

/// Encrypts `body` in place (RFC 8439, section 2.8) and returns the tag; `None` above the cipher's 256 GiB.
pub(in crate::crypto) fn aead_seal(
    key: &[u8; 32],
    counter: u64,
    aad: &[u8],
    body: &mut [u8],
) -> Option<[u8; TAG_LEN]> {
    let Some(cipher) = cipher(key) else { return pure::aead_seal(key, counter, aad, body) };
    let tag = cipher.seal_in_place_separate_tag(nonce(counter), Aad::from(aad), body).ok()?;
    tag.as_ref().try_into().ok()
}

/// Decrypts `body` in place, or leaves it as it was and fails.
///
/// AWS-LC decrypts before it has checked the tag, and clears the buffer if that is wrong. So a copy of the ciphertext is
/// kept, on the stack up to the length of a usual packet, and put back.
pub(in crate::crypto) fn aead_open(
    key: &[u8; 32],
    counter: u64,
    aad: &[u8],
    body: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), Forged> {
    let Some(cipher) = cipher(key) else { return pure::aead_open(key, counter, aad, body, tag) };
    let len = body.len();
    let mut open = |copy: &mut [u8]| {
        let copy = copy.get_mut(..len).ok_or(Forged)?;
        copy.copy_from_slice(body);
        let opened = cipher.open_in_place_separate_tag(nonce(counter), Aad::from(aad), tag, body);
        opened.map(drop).map_err(|_| {
            body.copy_from_slice(copy);
            Forged
        })
    };
    match len {
        0..=128 => open(&mut [0; 128]),
        129..=512 => open(&mut [0; 512]),
        513..=2048 => open(&mut [0; 2048]),
        _ => {
            let mut copy = Vec::new();
            if copy.try_reserve_exact(len).is_err() {
                return pure::aead_open(key, counter, aad, body, tag);
            }
            copy.resize(len, 0);
            open(&mut copy)
        }
    }
}

/// Above what `aws-lc-rs` takes from Rust's heap for an exchange or a signature, in bytes.
const HEAP: usize = 256;

/// Tells whether Rust's heap has [`HEAP`] bytes: without them `aws-lc-rs` would abort the process.
fn has_heap() -> bool {
    let mut room = Vec::<u8>::new();
    let reserved = room.try_reserve_exact(HEAP).is_ok();
    core::hint::black_box(&room); // or the compiler may leave the attempt out
    reserved
}

/// AWS-LC's form of an X25519 secret, made at the first use and kept beside the bytes.
///
/// Making it computes the public key, a seventh of the time of an exchange. AWS-LC wipes it when it is dropped.
pub(in crate::crypto) struct PreparedDh(OnceLock<Option<PrivateKey>>);

impl PreparedDh {
    pub(in crate::crypto) const fn new() -> Self {
        Self(OnceLock::new())
    }

    fn key(&self, secret: &[u8; 32]) -> Option<&PrivateKey> {
        self.0.get_or_init(|| PrivateKey::from_private_key(&X25519, secret).ok()).as_ref()
    }

    /// X25519 of `secret`, the same at each call, and the base point (RFC 7748, section 6.1).
    pub(in crate::crypto) fn public(&self, secret: &[u8; 32]) -> [u8; 32] {
        let public = self.key(secret).and_then(|key| key.compute_public_key().ok());
        public
            .and_then(|public| public.as_ref().try_into().ok())
            .unwrap_or_else(|| pure::PreparedDh::new().public(secret))
    }

    /// X25519 (RFC 7748, section 6.1), with the all-zero check, of `secret`, the same at each call.
    pub(in crate::crypto) fn exchange(
        &self,
        secret: &[u8; 32],
        public: &[u8; 32],
    ) -> Result<Zeroizing<[u8; 32]>, DhError> {
        let Some(key) = self.key(secret).filter(|_| has_heap()) else {
            return pure::PreparedDh::new().exchange(secret, public);
        };
        agree(key, UnparsedPublicKey::new(&X25519, public), DhError, |shared| {
            shared.first_chunk::<32>().map(|shared| Zeroizing::new(*shared)).ok_or(DhError)
        })
    }
}

impl Zeroize for PreparedDh {
    fn zeroize(&mut self) {
        self.0.take();
    }
}

/// The Ed25519 public key of a 32-byte seed (RFC 8032, section 5.1.5).
#[cfg(any(feature = "credentials", test))]
pub(in crate::crypto) fn ed25519_public(seed: &[u8; 32]) -> [u8; 32] {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok();
    pair.and_then(|pair| pair.public_key().as_ref().try_into().ok())
        .unwrap_or_else(|| pure::ed25519_public(seed))
}

/// Signs with Ed25519 (RFC 8032, section 5.1.6).
#[cfg(any(feature = "credentials", test))]
pub(in crate::crypto) fn ed25519_sign(seed: &[u8; 32], message: &[u8]) -> [u8; 64] {
    use aws_lc_rs::signature::Ed25519KeyPair;
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok().filter(|_| has_heap());
    let signature = pair.and_then(|pair| pair.try_sign(message).ok());
    signature
        .and_then(|signature| signature.as_ref().try_into().ok())
        .unwrap_or_else(|| pure::ed25519_sign(seed, message))
}

/// Verifies strictly, as ed25519-dalek's `verify_strict`: canonical encodings, no low-order `A` or `R`.
///
/// AWS-LC checks that `s` is canonical, and compares `R` as bytes with the canonical encoding of the point that it should
/// be (RFC 8032, section 5.1.7, without the cofactor). It lets low-order points pass, so they are refused here.
#[cfg(any(feature = "credentials", test))]
pub(in crate::crypto) fn ed25519_verify(
    public: &[u8; 32],
    message: &[u8],
    signature: &[u8; 64],
) -> Result<(), Forged> {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    let r = signature.first_chunk::<32>().ok_or(Forged)?;
    if !is_strict(public) || !is_strict(r) {
        return Err(Forged);
    }
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).map_err(|_| Forged)
}

/// p = 2^255 - 19, little endian.
#[cfg(any(feature = "credentials", test))]
const P: [u8; 32] = {
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
};

/// The y coordinates of the eight points of low order: of order 4 (both signs of x), 1, 2, and 8 (four points).
#[cfg(any(feature = "credentials", test))]
const LOW_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    {
        let mut minus_one = P;
        minus_one[0] = 0xec;
        minus_one
    },
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
];

/// Tells whether the bytes are no low-order point, and canonical: y below p. Points are public, so this may take its time.
#[cfg(any(feature = "credentials", test))]
fn is_strict(point: &[u8; 32]) -> bool {
    let mut y = *point;
    let [.., last] = &mut y;
    *last &= 0x7f; // the sign of x
    y.iter().rev().lt(P.iter().rev()) && !LOW_ORDER.contains(&y)
}
