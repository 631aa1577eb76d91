use super::{DhError, HedgeKey, PublicKey, SharedSecret, StaticSecret};

/// Holds a static X25519 key and computes with it: in memory, in a secure element or in an HSM.
///
/// ```
/// use vitalwire::crypto::{DhError, HedgeKey, PublicKey, SharedSecret, StaticDh, StaticSecret};
/// struct Element(StaticSecret); // stands for a chip that never shows its key
/// impl StaticDh for Element {
///     fn diffie_hellman(&self, public: &PublicKey) -> Result<SharedSecret, DhError> {
///         self.0.diffie_hellman(public)
///     }
///     fn hedge_key(&self) -> HedgeKey {
///         HedgeKey::from_bytes([7; 32]) // a second secret that the chip keeps for this
///     }
/// }
/// ```
pub trait StaticDh: Send + Sync {
    /// Exchanges with `public` (RFC 7748, section 6.1).
    ///
    /// # Errors
    /// [`DhError`] if the result is all zero or the key store failed.
    fn diffie_hellman(&self, public: &PublicKey) -> Result<SharedSecret, DhError>;

    /// Returns a secret that hedges this identity's ephemeral keys against a weak generator.
    ///
    /// A key store that cannot give one returns zeros; the ephemeral keys then rest on the generator alone. A device asks
    /// for it in each handshake, a backend once, when it starts.
    fn hedge_key(&self) -> HedgeKey;
}

impl StaticDh for StaticSecret {
    fn diffie_hellman(&self, public: &PublicKey) -> Result<SharedSecret, DhError> {
        Self::diffie_hellman(self, public)
    }

    fn hedge_key(&self) -> HedgeKey {
        Self::hedge_key(self)
    }
}
