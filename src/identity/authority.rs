use super::credential::Body;
use super::{
    Credential, CredentialError, Intermediate, IntermediateRequest, IssuerId, Role, Scopes, SubjectId,
};
#[cfg(feature = "alloc")]
use super::{RevocationError, RevocationRequest};
use crate::crypto::{PublicKey, SignatureKey, SigningKey};
use crate::time::UnixSeconds;

/// Signs credentials. Lives with the operator or the manufacturer, never on a device.
#[derive(Debug)]
pub struct Authority {
    key: SigningKey,
    public: SignatureKey,
    issuer: IssuerId,
}

/// What a credential shall say.
#[derive(Clone, Copy, Debug)]
pub struct CredentialRequest {
    /// The issuer's own number for it, by which it is revoked.
    pub serial: u32,
    /// Whom it names.
    pub subject: SubjectId,
    /// For which end it is.
    pub role: Role,
    /// What it permits.
    pub scopes: Scopes,
    /// When it is signed.
    pub issued: UnixSeconds,
    /// The first second of its validity.
    pub not_before: UnixSeconds,
    /// The last second of its validity.
    pub not_after: UnixSeconds,
}

impl CredentialRequest {
    /// Asks for a credential that is valid from when it is signed: from `issued` to `not_after`, both included.
    ///
    /// The other fields can be changed before it is signed.
    pub const fn new(
        serial: u32,
        subject: SubjectId,
        role: Role,
        scopes: Scopes,
        issued: UnixSeconds,
        not_after: UnixSeconds,
    ) -> Self {
        Self { serial, subject, role, scopes, issued, not_before: issued, not_after }
    }
}

impl Authority {
    /// Makes an authority of its key. Costs one scalar multiplication.
    pub fn new(key: SigningKey) -> Self {
        let public = key.public_key();
        Self { key, public, issuer: IssuerId::of(&public) }
    }

    /// Returns the key that devices and backends trust.
    pub const fn public_key(&self) -> SignatureKey {
        self.public
    }

    /// Returns the id that its credentials carry.
    pub const fn issuer(&self) -> IssuerId {
        self.issuer
    }

    /// Returns the signing key, to store it.
    pub const fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    /// Signs a credential for the holder of `static_key`.
    ///
    /// The caller has made sure that the holder has the secret key: in person, or over an enrolment channel.
    ///
    /// # Errors
    /// [`CredentialError::TimeOutOfRange`] if a time is 2^35 or above, or the validity is empty.
    pub fn issue(
        &self,
        static_key: &PublicKey,
        request: &CredentialRequest,
    ) -> Result<Credential, CredentialError> {
        Body::new(self.issuer, request)?.sign_with(static_key, |message| self.key.sign(message))
    }

    /// Signs the certificate of an intermediate authority, which then signs credentials within its limits.
    ///
    /// The caller has made sure that the holder has the secret key, and is who may have this.
    ///
    /// # Errors
    /// [`CredentialError::TimeOutOfRange`] if a time is 2^35 or above, or the validity is empty.
    pub fn certify(
        &self,
        key: &SignatureKey,
        request: &IntermediateRequest,
    ) -> Result<Intermediate, CredentialError> {
        Intermediate::sign(self.issuer, key, request, |message| self.key.sign(message))
    }

    /// Signs a revocation list: the whole of what is revoked, and not only what is new.
    ///
    /// # Errors
    /// [`RevocationError::OutOfRange`] if the number is 0 or the time 2^35 or above, [`RevocationError::TooLong`] if the list
    /// is longer than [`MAX_REVOCATION_LIST`](crate::limits::MAX_REVOCATION_LIST), or its part for devices longer than
    /// [`MAX_BACKENDS_PART`](crate::limits::MAX_BACKENDS_PART).
    #[cfg(feature = "alloc")]
    pub fn revoke(&self, request: &RevocationRequest<'_>) -> Result<alloc::vec::Vec<u8>, RevocationError> {
        request.sign_with(self.issuer, |message| self.key.sign(message))
    }
}
