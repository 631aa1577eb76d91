//! Keys, derivation and the ciphers, behind one small seam.
//!
//! Owns every secret type and the single place (`provider`) where a cryptographic crate is called: by default the pure
//! Rust ones, with the feature `aws-lc-rs` AWS-LC ([`PROVIDER`]). Knows nothing of packets, sessions or messages. Only
//! this module and `handshake` name snow.

/// Says of a secret no more than its name.
macro_rules! redacted {
    ($name:ident) => {
        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }

        #[cfg(feature = "defmt")]
        impl defmt::Format for $name {
            fn format(&self, f: defmt::Formatter<'_>) {
                defmt::write!(f, "{=str}(..)", stringify!($name));
            }
        }
    };
}

pub mod hazmat;
mod kdf;
mod keys;
#[cfg(feature = "handshake")]
mod mac;
mod provider;
#[cfg(feature = "handshake")]
pub(crate) mod resolver;
mod schedule;
#[cfg(feature = "handshake")]
mod static_dh;
#[cfg(test)]
mod tests;

pub(crate) use kdf::hash_parts;
pub(crate) use kdf::{expand, extract};
#[cfg(any(feature = "credentials", test))]
pub use keys::SigningKey;
pub use keys::{AeadKey, EphemeralSecret, HedgeKey, Psk, PublicKey, SharedSecret, StaticSecret};
pub use keys::{ServiceKey, SignatureKey, StorageKey, TicketKey};
#[cfg(feature = "handshake")]
pub(crate) use mac::{mac_parts, verify_mac};
#[cfg(all(feature = "aws-lc-rs", test))]
pub(crate) use provider::{Provider, take_calls, with_provider};
pub use schedule::{ChainKey, EpochKeys, ExporterSecret, NextSecret, ResumeSecret, SessionSecrets};
#[cfg(feature = "handshake")]
pub use static_dh::StaticDh;

/// Names the provider of the AEAD, X25519 and Ed25519 that this build has: `"pure Rust"` or `"aws-lc-rs"`. For reports.
///
/// Bytes and refusals are the same; the time is not (crate documentation, "The crypto provider").
///
/// ```
/// use vitalwire::crypto::PROVIDER;
/// assert_eq!(PROVIDER, if cfg!(feature = "aws-lc-rs") { "aws-lc-rs" } else { "pure Rust" });
/// ```
pub const PROVIDER: &str = provider::NAME;

/// Length of an authentication tag, in bytes (RFC 8439, section 2.8). Tags are never truncated.
pub const TAG_LEN: usize = 16;

/// A packet or message did not authenticate. Nothing more is said, so that all failures look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("authentication failed")]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Forged;

/// A Diffie-Hellman result was all zero (the other side sent a low-order point), or the key store failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Diffie-Hellman operation failed")]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DhError;
