#[cfg(all(feature = "handshake", feature = "credentials"))]
use super::{Authority, CredentialError, CredentialRequest};
use super::{Credential, Identity};
use crate::crypto::PublicKey;
#[cfg(feature = "handshake")]
use crate::crypto::StaticDh;
#[cfg(all(feature = "handshake", feature = "credentials"))]
use crate::crypto::StaticSecret;
#[cfg(feature = "handshake")]
use alloc::sync::Arc;
use core::fmt;

/// An end's own identity: its static key, the public half stored beside it, and its credential.
#[derive(Clone)]
pub struct LocalIdentity {
    #[cfg(feature = "handshake")]
    static_dh: Arc<dyn StaticDh>,
    public_key: PublicKey,
    credential: Credential,
}

impl LocalIdentity {
    /// Puts an identity together. `public_key` must be the one of `static_dh`; it is stored, not computed again.
    ///
    /// A wrong `public_key` harms nobody else: every handshake fails.
    #[cfg(feature = "handshake")]
    pub fn new(static_dh: Arc<dyn StaticDh>, public_key: PublicKey, credential: Credential) -> Self {
        Self { static_dh, public_key, credential }
    }

    /// Signs a credential for a key that this process holds, and puts both together: for a station that provisions
    /// devices, for tests and demonstrations.
    ///
    /// Elsewhere the authority and the key are on different machines: [`Authority::issue`] and [`LocalIdentity::new`]. Costs
    /// two scalar multiplications.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    ///
    /// ```
    /// use vitalwire::crypto::{SigningKey, StaticSecret};
    /// use vitalwire::identity::{Authority, CredentialRequest, LocalIdentity, Role, Scopes, SubjectId};
    /// use vitalwire::{OsEntropy, UnixSeconds};
    /// let authority = Authority::new(SigningKey::generate(&mut OsEntropy)?);
    /// let (today, tomorrow) = (UnixSeconds(1_750_000_000), UnixSeconds(1_750_086_400));
    /// let subject = SubjectId(*b"patch-0000000001");
    /// let request = CredentialRequest::new(1, subject, Role::Device, Scopes::PUBLISH, today, tomorrow);
    /// let patch = LocalIdentity::issue(&authority, StaticSecret::generate(&mut OsEntropy)?, &request)?;
    /// assert_eq!(patch.identity().map(|identity| identity.subject), Some(subject));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(all(feature = "handshake", feature = "credentials"))]
    pub fn issue(
        authority: &Authority,
        secret: StaticSecret,
        request: &CredentialRequest,
    ) -> Result<Self, CredentialError> {
        let public_key = secret.public_key();
        let credential = authority.issue(&public_key, request)?;
        Ok(Self::new(Arc::new(secret), public_key, credential))
    }

    /// Returns the static public key.
    pub const fn public_key(&self) -> PublicKey {
        self.public_key
    }

    /// Returns the credential.
    pub const fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Returns the credential, to renew it.
    #[cfg(all(feature = "pinned-device", any(feature = "credentials", test)))]
    pub(crate) const fn credential_mut(&mut self) -> &mut Credential {
        &mut self.credential
    }

    /// Returns whom the own credential names.
    pub fn identity(&self) -> Option<Identity> {
        self.credential.claimed_identity()
    }

    #[cfg(feature = "handshake")]
    pub(crate) fn static_dh(&self) -> &Arc<dyn StaticDh> {
        &self.static_dh
    }
}

impl fmt::Debug for LocalIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalIdentity").field("credential", &self.credential).finish_non_exhaustive()
    }
}
