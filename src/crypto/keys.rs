//! Typed keys: redacted in `Debug`, not `Clone`, wiped on drop.

use super::provider::{self, PreparedDh};
use super::{DhError, Forged, TAG_LEN, expand, extract};
use crate::entropy::{Entropy, EntropyError};
use core::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Makes a 32-byte secret with a purpose of its own, and says who may bring its bytes: anyone where they are kept or
/// agreed upon elsewhere, only this crate where they must be drawn anew. `with` names what the provider makes of the bytes
/// once and keeps beside them.
macro_rules! secret {
    ($(#[$doc:meta])* $([with $prepared:ty])? $name:ident from $vis:vis bytes) => {
        $(#[$doc])*
        // Only this crate's own tests copy secrets: the exploration of the rekey machine forks whole sessions.
        #[cfg_attr(test, derive(Clone))]
        #[derive(Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; 32] $(, $prepared)?);

        impl $name {
            /// Takes over the bytes of an existing secret. The caller's copy stays the caller's to wipe.
            $vis const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes $(, <$prepared>::new())?)
            }
        }

        redacted! { $name }
    };
}

secret! {
    /// An X25519 static secret key (RFC 7748), as stored by a device or backend.
    [with PreparedDh]
    StaticSecret from pub bytes
}
secret! {
    /// An X25519 secret key that is used for one exchange.
    EphemeralSecret from pub(crate) bytes
}
secret! {
    /// The result of one Diffie-Hellman exchange.
    SharedSecret from pub bytes
}
secret! {
    /// A pre-shared key of 256 bits, mixed into a handshake beside the Diffie-Hellman results.
    ///
    /// # Security
    /// A key that was printed on a label needs at least 128 bits of entropy: it can be guessed off line.
    Psk from pub bytes
}
secret! {
    /// A key for ChaCha20-Poly1305 (RFC 8439): one direction of one epoch.
    AeadKey from pub(crate) bytes
}
secret! {
    /// Hedges fresh random bytes with something that an attacker on the generator does not know.
    HedgeKey from pub bytes
}
secret! {
    /// What a device seals its storage with. Who erases it has erased what is stored.
    StorageKey from pub bytes
}
secret! {
    /// Seals tickets: shared by the nodes of a service, and rotated ([`TicketKeys`](crate::handshake::TicketKeys)).
    ///
    /// # Security
    /// Whoever has it can open every ticket sealed under it, and so read early records and resume as any of the
    /// devices.
    TicketKey from pub bytes
}
secret! {
    /// From it the MAC key of resumptions' Hellos follows: one per service, told to each device with its ticket.
    ///
    /// It is no secret from those devices: it keeps out strangers, not insiders.
    ServiceKey from pub bytes
}
#[cfg(any(feature = "credentials", test))]
secret! {
    /// An Ed25519 signing seed (RFC 8032): the authority's key.
    SigningKey from pub bytes
}

/// An X25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct PublicKey(pub [u8; 32]);

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "PublicKey({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

/// An Ed25519 public key: what a device or backend trusts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct SignatureKey(pub [u8; 32]);

impl fmt::Debug for SignatureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "SignatureKey({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

#[cfg(any(feature = "credentials", test))]
impl SignatureKey {
    /// Verifies strictly: canonical encodings only, no low-order points, no batch shortcuts.
    ///
    /// # Errors
    /// [`Forged`], whatever was wrong.
    //= SPEC.md#credentials
    //# A verifier MUST verify Ed25519 strictly: canonical encodings, no low-order points.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), Forged> {
        provider::ed25519_verify(&self.0, message, signature)
    }
}

#[cfg(any(feature = "credentials", test))]
impl SigningKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`EntropyError`] if the generator is not ready.
    pub fn generate(rng: &mut dyn Entropy) -> Result<Self, EntropyError> {
        let mut key = Self([0; 32]);
        rng.fill(&mut key.0)?;
        Ok(key)
    }

    /// Returns the public key. Costs one scalar multiplication.
    pub fn public_key(&self) -> SignatureKey {
        SignatureKey(provider::ed25519_public(&self.0))
    }

    /// Signs a message (RFC 8032, section 5.1.6: deterministic).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        provider::ed25519_sign(&self.0, message)
    }

    /// Shows the seed, to store it.
    ///
    /// # Security
    /// Whoever has it can make credentials for anyone.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl StaticSecret {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`EntropyError`] if the generator is not ready.
    pub fn generate(rng: &mut dyn Entropy) -> Result<Self, EntropyError> {
        let mut key = Self::from_bytes([0; 32]);
        rng.fill(&mut key.0)?;
        Ok(key)
    }

    /// Returns the public key. Costs one scalar multiplication, so store it beside the secret.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.1.public(&self.0))
    }

    /// Exchanges with `public` (RFC 7748, section 6.1).
    ///
    /// # Errors
    /// [`DhError`] if the result is all zero, as for every low-order point.
    pub fn diffie_hellman(&self, public: &PublicKey) -> Result<SharedSecret, DhError> {
        self.1.exchange(&self.0, &public.0).map(|shared| SharedSecret(*shared))
    }

    /// Shows the key, to store it.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Derives the key that hedges this identity's ephemeral keys.
    pub fn hedge_key(&self) -> HedgeKey {
        HedgeKey(*expand::<32>(&extract(&[0; 32], &[&self.0]), "hedge", [&[], &[]]))
    }
}

impl EphemeralSecret {
    /// Makes a key for one exchange, hedged against a weak generator: `HKDF(rng ‖ hedge key ‖ context)`.
    ///
    /// # Errors
    /// [`EntropyError`] if the generator is not ready.
    pub fn generate_hedged(
        rng: &mut dyn Entropy,
        hedge: &HedgeKey,
        context: &[u8],
    ) -> Result<Self, EntropyError> {
        let mut fresh = zeroize::Zeroizing::new([0u8; 32]);
        rng.fill(&mut *fresh)?;
        Ok(Self(*expand::<32>(&extract(&hedge.0, &[&*fresh]), "ephemeral", [context, &[]])))
    }

    /// Returns the public key.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(provider::x25519_public(&self.0))
    }

    /// Exchanges with `public`. Borrows: on an error the key may be tried with another peer's public key.
    ///
    /// # Errors
    /// [`DhError`] if the result is all zero.
    pub fn diffie_hellman(&self, public: &PublicKey) -> Result<SharedSecret, DhError> {
        provider::x25519(&self.0, &public.0).map(|shared| SharedSecret(*shared))
    }
}

#[cfg(feature = "handshake")]
impl EphemeralSecret {
    /// Makes the one copy that a restarted handshake needs; wiped like the original.
    pub(crate) const fn duplicate(&self) -> Self {
        Self(self.0)
    }

    pub(super) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl SharedSecret {
    pub(super) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TicketKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`EntropyError`] if the generator is not ready.
    pub fn generate(rng: &mut dyn Entropy) -> Result<Self, EntropyError> {
        let mut key = Self([0; 32]);
        rng.fill(&mut key.0)?;
        Ok(key)
    }

    /// Derives the key of one ticket: `Derive(ticket key, "ticket", id)`.
    #[cfg(feature = "handshake")]
    pub(crate) fn of_ticket(&self, id: &[u8; 16]) -> AeadKey {
        AeadKey(*expand::<32>(&self.0, "ticket", [id, &[]]))
    }
}

#[cfg(feature = "backend")]
impl HedgeKey {
    /// Derives the key of a table of identities, so that nobody outside can choose those that collide in it.
    pub(crate) fn table_key(&self) -> [u8; 32] {
        *expand::<32>(&self.0, "table", [&[], &[]])
    }
}

#[cfg(feature = "handshake")]
impl ServiceKey {
    pub(crate) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(feature = "handshake")]
impl Psk {
    #[cfg(feature = "backend")]
    /// Makes the copy that a handshake job takes along; wiped like the original.
    pub(crate) const fn duplicate(&self) -> Self {
        Self(self.0)
    }

    pub(crate) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl AeadKey {
    /// Encrypts `body` in place; the nonce is 4 zero bytes and `counter` in little endian.
    ///
    /// # Security
    /// A counter must never be used twice with one key. The session module sees to that; nothing else seals packets.
    pub(crate) fn seal(&self, counter: u64, aad: &[u8], body: &mut [u8]) -> Option<[u8; TAG_LEN]> {
        provider::aead_seal(&self.0, counter, aad, body)
    }

    /// Decrypts `body` in place, or fails and leaves it as it was.
    pub(crate) fn open(
        &self,
        counter: u64,
        aad: &[u8],
        body: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Forged> {
        provider::aead_open(&self.0, counter, aad, body, tag)
    }
}

impl StorageKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`EntropyError`] if the generator is not ready.
    pub fn generate(rng: &mut dyn Entropy) -> Result<Self, EntropyError> {
        let mut key = Self([0; 32]);
        rng.fill(&mut key.0)?;
        Ok(key)
    }

    /// Shows the key, to keep it where the storage's own reader does not look.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Derives the key for what has this salt and purpose: `Derive(Extract(salt, storage key), label, "")`.
    pub(crate) fn derive(&self, salt: &[u8; 32], label: &str) -> AeadKey {
        AeadKey(*expand::<32>(&extract(salt, &[&self.0]), label, [&[], &[]]))
    }
}
