use super::{Credential, Identity};
use crate::crypto::PublicKey;
#[cfg(feature = "handshake")]
use crate::crypto::StaticDh;
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

    /// Returns the static public key.
    pub const fn public_key(&self) -> PublicKey {
        self.public_key
    }

    /// Returns the credential.
    pub const fn credential(&self) -> &Credential {
        &self.credential
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
