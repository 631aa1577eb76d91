//! The seam: every call into a cryptographic crate, as functions over byte arrays.
//!
//! There are two providers with the same functions, the same bytes and the same refusals: [`pure`], the default, and
//! with the feature `aws-lc-rs` [`aws_lc`]. Which one is used is decided when the crate is compiled. Only this crate's
//! own tests decide at run time, so that the two can meet in one process. BLAKE2s is the same code under both.

use super::DhError;
use zeroize::Zeroizing;

#[cfg(feature = "aws-lc-rs")]
mod aws_lc;
mod blake2s;
#[cfg(all(feature = "aws-lc-rs", test))]
mod either;
#[cfg_attr(feature = "aws-lc-rs", allow(dead_code, reason = "stands in where memory ran out"))]
mod pure;

#[cfg(all(feature = "aws-lc-rs", not(test)))]
use aws_lc as chosen;
#[cfg(all(feature = "aws-lc-rs", test))]
use either as chosen;
#[cfg(not(feature = "aws-lc-rs"))]
use pure as chosen;

#[cfg(feature = "handshake")]
pub(in crate::crypto) use blake2s::Hasher;
pub(in crate::crypto) use blake2s::{hash, hkdf_expand, hkdf_extract, hmac};
pub(in crate::crypto) use chosen::{NAME, PreparedDh, aead_open, aead_seal};
#[cfg(any(feature = "credentials", test))]
pub(in crate::crypto) use chosen::{ed25519_public, ed25519_sign, ed25519_verify};
#[cfg(all(feature = "aws-lc-rs", test))]
pub(crate) use either::{Provider, take_calls, with_provider};

/// X25519 of `secret` and the base point (RFC 7748, section 6.1), for a secret that is used this once.
pub(in crate::crypto) fn x25519_public(secret: &[u8; 32]) -> [u8; 32] {
    PreparedDh::new().public(secret)
}

/// X25519 (RFC 7748, section 6.1) with the all-zero check, for a secret that is used this once.
pub(in crate::crypto) fn x25519(
    secret: &[u8; 32],
    public: &[u8; 32],
) -> Result<Zeroizing<[u8; 32]>, DhError> {
    PreparedDh::new().exchange(secret, public)
}

/// Of a copied secret nothing is prepared yet.
#[cfg(test)]
impl Clone for PreparedDh {
    fn clone(&self) -> Self {
        Self::new()
    }
}
