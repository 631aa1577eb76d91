//! Who is who: authorities, credentials, scopes, and the rule of validity.
//!
//! An identity is the pair (issuer, subject). A [`Credential`] binds it to a static key, a [`Role`] and
//! [`Scopes`], under an authority's Ed25519 signature. A [`VerifiedCredential`] can only be made by a successful
//! verification, so whoever holds one need not check again. Knows nothing of handshakes or packets.
//!
//! ```
//! use vitalwire::crypto::{SigningKey, StaticSecret};
//! use vitalwire::identity::*;
//! use vitalwire::{OsEntropy, UnixSeconds};
//! let mut rng = OsEntropy;
//! let authority = Authority::new(SigningKey::generate(&mut rng)?);
//! let static_key = StaticSecret::generate(&mut rng)?.public_key();
//! let credential = authority.issue(&static_key, &CredentialRequest {
//!     serial: 1,
//!     subject: SubjectId(*b"patch-0000000001"),
//!     role: Role::Device,
//!     scopes: Scopes::MEASUREMENTS | Scopes::ALARMS,
//!     issued: UnixSeconds(1_700_000_000),
//!     not_before: UnixSeconds(1_700_000_000),
//!     not_after: UnixSeconds(1_800_000_000),
//! })?;
//! assert!(credential.as_bytes().len() <= 130);
//! let anchors = TrustAnchors::new(&[authority.public_key()])?;
//! let time = Time::known(UnixSeconds(1_750_000_000));
//! let verified = anchors.verify(credential.as_bytes(), &static_key, Role::Device, time)?;
//! assert!(verified.scopes().contains(Scopes::ALARMS));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(any(feature = "credentials", test))]
mod authority;
mod credential;
mod intermediate;
mod local;
#[cfg(all(feature = "std", feature = "backend"))]
mod remembered;
#[cfg(any(feature = "credentials", test))]
mod revocation;
#[cfg(all(feature = "alloc", any(feature = "credentials", test)))]
mod revocation_store;
mod scopes;
#[cfg(any(feature = "credentials", test))]
mod serials;
mod trust;

#[cfg(any(feature = "credentials", test))]
pub use authority::{Authority, CredentialRequest};
pub use credential::{Credential, CredentialHash, VerifiedCredential};
pub use intermediate::Roles;
#[cfg(any(feature = "credentials", test))]
pub use intermediate::{Intermediate, IntermediateRequest};
pub use local::LocalIdentity;
#[cfg(all(feature = "std", feature = "backend"))]
pub(crate) use remembered::RememberedSignatures;
#[cfg(all(feature = "alloc", any(feature = "credentials", test)))]
pub use revocation::RevocationRequest;
#[cfg(any(feature = "credentials", test))]
pub use revocation::{ListForm, RevocationError, VerifiedRevocations};
#[cfg(all(feature = "alloc", any(feature = "credentials", test)))]
pub use revocation_store::{ListTaken, RevocationStore};
pub use scopes::Scopes;
#[cfg(any(feature = "credentials", test))]
pub use serials::SerialRuns;
pub use trust::{Time, TrustAnchors};

use crate::crypto::{SignatureKey, hash_parts};
use core::fmt;
use intermediate::Delegation;
use serde::{Deserialize, Serialize};

/// Names an authority: the first 8 bytes of BLAKE2s-256 of its Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IssuerId(pub [u8; 8]);

/// Names a device or backend within its issuer: 16 bytes, such as a UUID. Never a patient's name or number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SubjectId(pub [u8; 16]);

/// Who somebody is: (issuer, subject).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Identity {
    /// The authority.
    pub issuer: IssuerId,
    /// The name that the authority gave.
    pub subject: SubjectId,
}

/// Which end a credential is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Role {
    /// A device: initiates.
    Device = 1,
    /// A backend: responds.
    Backend = 2,
}

/// Why a credential was refused, or could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CredentialError {
    /// The bytes are no credential of this version.
    #[error("malformed credential")]
    Malformed,
    /// The issuer is not one of the trusted authorities.
    #[error("unknown issuer")]
    UnknownIssuer,
    /// The signature does not cover this credential and static key.
    #[error("bad signature")]
    BadSignature,
    /// The credential is for the other end.
    #[error("wrong role")]
    WrongRole,
    /// `not_after` has passed.
    #[error("expired")]
    Expired,
    /// `not_before` has not come, or it was issued in the future.
    #[error("not valid yet")]
    NotYetValid,
    /// A time is 2^35 or above, or the validity is empty.
    #[error("a time is out of range")]
    TimeOutOfRange,
    /// No authority was given, more than [`crate::limits::MAX_AUTHORITIES`], two with one issuer id, or more intermediate
    /// ones than there is room for.
    #[error("one to four distinct authorities are needed, and room for the intermediate ones")]
    BadAnchors,
}

impl IssuerId {
    /// Returns the id of the authority with this key.
    pub fn of(key: &SignatureKey) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = hash_parts(&[&key.0]);
        Self([a, b, c, d, e, f, g, h])
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for IssuerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for IssuerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssuerId({self})")
    }
}

impl fmt::Display for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubjectId({self})")
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.issuer, self.subject)
    }
}

impl Role {
    /// Reads the code of a credential's role field.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Device),
            2 => Some(Self::Backend),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
