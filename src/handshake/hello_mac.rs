use crate::crypto::{PublicKey, ServiceKey, SignatureKey, TAG_LEN, expand, extract, mac_parts, verify_mac};
use core::fmt;

/// The key of the Hello's MAC: derived from what the device trusts already, so that scanners hear silence.
///
/// It is no secret from those who know that public key; it keeps out strangers, not insiders.
#[derive(Clone, PartialEq, Eq)]
pub struct HelloKey([u8; 32]);

impl HelloKey {
    /// For XX and XXpsk3: from the authority's key.
    pub fn from_authority(authority: &SignatureKey) -> Self {
        Self::from_anchor(&authority.0)
    }

    /// For IK and IKpsk2: from the backend's static key.
    pub fn from_backend(backend: &PublicKey) -> Self {
        Self::from_anchor(&backend.0)
    }

    /// For resumptions: from the service key that comes with each ticket.
    pub fn from_service(service: &ServiceKey) -> Self {
        Self::from_anchor(service.bytes())
    }

    fn from_anchor(anchor: &[u8; 32]) -> Self {
        Self(*expand::<32>(&extract(&[0; 32], &[anchor]), "hello mac", [&[], &[]]))
    }

    /// Computes a Hello's MAC over all that stands before it.
    pub(crate) fn hello_mac(&self, hello: &[u8]) -> [u8; TAG_LEN] {
        mac_parts(&self.0, &[hello])
    }

    /// Tells whether a Hello's MAC is right.
    pub fn verify_hello(&self, hello: &[u8], mac: &[u8; TAG_LEN]) -> bool {
        verify_mac(&self.0, &[hello], mac)
    }

    /// Computes a Retry's MAC, which binds it to one Hello.
    pub fn retry_mac(&self, retry: &[u8], hello_mac: &[u8; TAG_LEN]) -> [u8; TAG_LEN] {
        mac_parts(&self.0, &[retry, hello_mac])
    }

    /// Tells whether a Retry answers the Hello with this MAC.
    pub(crate) fn verify_retry(&self, retry: &[u8], hello_mac: &[u8; TAG_LEN], mac: &[u8; TAG_LEN]) -> bool {
        verify_mac(&self.0, &[retry, hello_mac], mac)
    }
}

impl fmt::Debug for HelloKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HelloKey(…)")
    }
}
