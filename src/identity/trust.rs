//! Whom an end trusts, and what time it is for credentials.

#[cfg(any(feature = "intermediates", test))]
use super::Intermediate;
#[cfg(feature = "backend")]
use super::Scopes;
#[cfg(any(feature = "credentials", test))]
use super::{Credential, IssuerId};
use super::{CredentialError, Delegation, Role, VerifiedCredential};
use crate::crypto::{PublicKey, SignatureKey};
use crate::limits::MAX_ANCHORS;
#[cfg(any(feature = "credentials", test))]
use crate::limits::MAX_AUTHORITIES;
use crate::time::UnixSeconds;

/// The authorities that an end trusts: one to four, or none ([`TrustAnchors::NONE`]), and the intermediate ones that they
/// have certified.
#[derive(Clone, Copy, Debug)]
pub struct TrustAnchors {
    anchors: [Option<Anchor>; MAX_ANCHORS],
}

/// One authority. Its id is the hash of its key: on a device, memory is dearer than a hash for each verification.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    key: SignatureKey,
    /// What one that is not trusted for itself may do.
    delegation: Option<Delegation>,
}

/// What an end knows of the time: its clock, if it has one, and the floor that it keeps.
///
/// The floor is the latest `issued` of any credential or revocation list that this end accepted. Store it durably and never lower it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Time {
    clock: Option<UnixSeconds>,
    floor: UnixSeconds,
}

impl Time {
    /// An end with a clock and no floor yet.
    pub const fn known(clock: UnixSeconds) -> Self {
        Self { clock: Some(clock), floor: UnixSeconds(0) }
    }

    /// An end without a clock: it goes by the floor alone.
    pub const fn floor_only(floor: UnixSeconds) -> Self {
        Self { clock: None, floor }
    }

    /// Adds a floor, as it was stored; a lower one than there is changes nothing.
    #[must_use]
    pub const fn with_floor(self, floor: UnixSeconds) -> Self {
        if floor.0 > self.floor.0 { Self { clock: self.clock, floor } } else { self }
    }

    /// Raises the floor to `issued` of an accepted credential; never lowers it.
    //= SPEC.md#validity
    //# The floor MUST NOT go backward, and nothing but an accepted credential or revocation list raises it.
    pub fn raise_floor(&mut self, accepted: &VerifiedCredential) {
        self.floor = self.floor.max(accepted.issued());
    }

    /// Raises the floor to `issued` of a revocation list that was taken; never lowers it.
    #[cfg(any(feature = "credentials", test))]
    pub fn raise_floor_to_list(&mut self, taken: &super::VerifiedRevocations<'_>) {
        self.floor = self.floor.max(taken.issued());
    }

    /// Sets the clock, when the end has learned the time, or takes it away.
    pub const fn set_clock(&mut self, clock: Option<UnixSeconds>) {
        self.clock = clock;
    }

    /// Returns the wall clock, if there is one.
    pub const fn clock(&self) -> Option<UnixSeconds> {
        self.clock
    }

    /// Returns the time by which validity is judged: the later of clock and floor.
    pub fn now(&self) -> UnixSeconds {
        self.clock.unwrap_or_default().max(self.floor)
    }

    /// Returns the floor, to store it.
    pub const fn floor(&self) -> UnixSeconds {
        self.floor
    }

    /// Checks a validity (both ends inclusive) as SPEC.md, "Validity", says; `from` is the later of `not before` and
    /// `issued`: one issued in the future would raise the floor above the validity of everybody else's.
    #[cfg(any(feature = "credentials", feature = "handshake", test))]
    pub(super) fn check(self, from: UnixSeconds, not_after: UnixSeconds) -> Result<(), CredentialError> {
        let now = self.now();
        //= SPEC.md#validity
        //# A verifier MUST refuse a credential whose `not after` is below now.
        if not_after < now {
            return Err(CredentialError::Expired);
        }
        //= SPEC.md#validity
        //# A verifier with a clock MUST refuse a credential whose `not before` or `issued` is more than 300 s above now.
        if self.clock.is_some() && from.0 > now.0.saturating_add(crate::limits::CLOCK_TOLERANCE_SECS) {
            return Err(CredentialError::NotYetValid);
        }
        Ok(())
    }
}

impl TrustAnchors {
    /// Trusts nobody: for a device that goes by the pin in its configuration (SPEC.md, "Pinned trust").
    ///
    /// # Security
    /// No signature is verified then. The pin's key and its credential are those that whoever provisions the device has
    /// verified; they hold until somebody provisions it anew, whatever the authority does meanwhile.
    pub const NONE: Self = Self { anchors: [None; MAX_ANCHORS] };

    /// Tells whether there is no authority.
    pub fn is_empty(&self) -> bool {
        // Without `credentials` there is no way to name one, and the compiler may know it.
        cfg!(not(any(feature = "credentials", test))) || self.keys().next().is_none()
    }

    /// Trusts these authorities.
    ///
    /// # Errors
    /// [`CredentialError::BadAnchors`] for none, more than four, or two with the same issuer id.
    #[cfg(any(feature = "credentials", test))]
    pub fn new(keys: &[SignatureKey]) -> Result<Self, CredentialError> {
        if keys.is_empty() || keys.len() > MAX_AUTHORITIES {
            return Err(CredentialError::BadAnchors);
        }
        keys.iter().try_fold(Self::NONE, |anchors, key| match anchors.find(&IssuerId::of(key)) {
            Some(_) => Err(CredentialError::BadAnchors),
            None => anchors.with(Anchor { key: *key, delegation: None }),
        })
    }

    /// Trusts an intermediate authority as well, within what its certificate permits. Another certificate of the same key
    /// takes the place of the one before.
    ///
    /// No byte of a handshake changes: each end has the certificates that it needs in its configuration.
    ///
    /// # Errors
    /// As [`TrustAnchors::verify`], where the certificate stands for the credential;
    /// [`CredentialError::BadAnchors`] if there is no room (with the feature `backend` for 16 authorities in all, without it
    /// for 4), or if the key is trusted for itself already.
    ///
    /// ```
    /// use vitalwire::crypto::SigningKey;
    /// use vitalwire::identity::*;
    /// use vitalwire::{OsEntropy, UnixSeconds};
    /// let root = Authority::new(SigningKey::generate(&mut OsEntropy)?);
    /// let ward = Authority::new(SigningKey::generate(&mut OsEntropy)?);
    /// let certificate = root.certify(&ward.public_key(), &IntermediateRequest {
    ///     serial: 1,
    ///     roles: Roles::DEVICES,
    ///     scopes: Scopes::MEASUREMENTS,
    ///     issued: UnixSeconds(1_700_000_000),
    ///     not_before: UnixSeconds(1_700_000_000),
    ///     not_after: UnixSeconds(1_800_000_000),
    /// })?;
    /// let time = Time::known(UnixSeconds(1_750_000_000));
    /// let anchors = TrustAnchors::new(&[root.public_key()])?.with_intermediate(certificate.as_bytes(), time)?;
    /// assert_eq!(anchors.authority_above(&ward.issuer()), Some(root.issuer()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(any(feature = "intermediates", test))]
    pub fn with_intermediate(&self, certificate: &[u8], time: Time) -> Result<Self, CredentialError> {
        let (key, delegation) = Intermediate::verify(certificate, time, |issuer| {
            //= SPEC.md#intermediate-authorities
            //# A verifier MUST refuse a certificate that is not signed by an authority which it trusts for itself.
            let mut roots =
                (0u8..).zip(&self.anchors).filter_map(|(at, anchor)| Some((at, anchor.as_ref()?)));
            let root =
                roots.find(|(_, root)| root.delegation.is_none() && IssuerId::of(&root.key) == *issuer);
            root.map(|(at, root)| (at, &root.key)).ok_or(CredentialError::UnknownIssuer)
        })?;
        let mut anchors = *self;
        let known = anchors.anchors.iter_mut().flatten().find(|anchor| anchor.key == key);
        match known.map(|anchor| anchor.delegation.as_mut()) {
            Some(Some(known)) => {
                *known = delegation;
                Ok(anchors)
            }
            Some(None) => Err(CredentialError::BadAnchors),
            None => anchors.with(Anchor { key, delegation: Some(delegation) }),
        }
    }

    #[cfg(any(feature = "credentials", test))]
    fn with(mut self, anchor: Anchor) -> Result<Self, CredentialError> {
        let free = self.anchors.iter_mut().find(|slot| slot.is_none());
        *free.ok_or(CredentialError::BadAnchors)? = Some(anchor);
        Ok(self)
    }

    #[cfg(any(feature = "credentials", test))]
    fn find(&self, issuer: &IssuerId) -> Option<&Anchor> {
        self.anchors.iter().flatten().find(|anchor| IssuerId::of(&anchor.key) == *issuer)
    }

    /// Lists the keys that are trusted for themselves, without the intermediate ones.
    pub fn keys(&self) -> impl Iterator<Item = &SignatureKey> {
        let roots = self.anchors.iter().flatten().filter(|anchor| anchor.delegation.is_none());
        roots.map(|anchor| &anchor.key)
    }

    /// Lists the authorities, intermediate ones included.
    #[cfg(feature = "backend")]
    pub(crate) fn issuers(&self) -> impl Iterator<Item = IssuerId> {
        self.anchors.iter().flatten().map(|anchor| IssuerId::of(&anchor.key))
    }

    /// Returns the authority that has certified an intermediate one; `None` for any other issuer.
    #[cfg(any(feature = "credentials", test))]
    pub fn authority_above(&self, issuer: &IssuerId) -> Option<IssuerId> {
        let above = self.find(issuer)?.delegation?.above();
        self.anchors.get(above)?.map(|root| IssuerId::of(&root.key))
    }

    /// Returns the key of an authority that is trusted, and what is delegated to it if it is an intermediate one.
    #[cfg(any(feature = "credentials", test))]
    pub(super) fn authority(
        &self,
        issuer: &IssuerId,
    ) -> Result<(&SignatureKey, Option<Delegation>), CredentialError> {
        let anchor = self.find(issuer).ok_or(CredentialError::UnknownIssuer)?;
        Ok((&anchor.key, anchor.delegation))
    }

    /// Returns the most that credentials of this issuer give to devices: scopes, and the last second of validity. `None` if
    /// it is not trusted with devices.
    #[cfg(feature = "backend")]
    pub(crate) fn most_for_devices(&self, issuer: &IssuerId) -> Option<(Scopes, UnixSeconds)> {
        match self.authority(issuer).ok()?.1 {
            None => Some((Scopes::from_bits(u32::MAX), UnixSeconds(u64::MAX))),
            Some(delegation) if !delegation.covers(Role::Device as u8) => None,
            Some(delegation) => Some((delegation.scopes(), delegation.not_after())),
        }
    }

    /// Verifies a credential for the holder of `static_key`: format, issuer, role, validity, then the signature. One of an
    /// intermediate authority counts with what that authority's certificate permits, too.
    ///
    /// # Errors
    /// The first [`CredentialError`] in that order.
    pub fn verify(
        &self,
        bytes: &[u8],
        static_key: &PublicKey,
        role: Role,
        time: Time,
    ) -> Result<VerifiedCredential, CredentialError> {
        //= SPEC.md#credentials
        //# A verifier MUST refuse a credential of an issuer that it does not trust.
        #[cfg(any(feature = "credentials", test))]
        return Credential::verify(
            bytes,
            static_key,
            role,
            time,
            |issuer| self.authority(issuer),
            SignatureKey::verify,
        );
        // Nobody is trusted then: there is no way to name an authority.
        #[cfg(not(any(feature = "credentials", test)))]
        {
            let _ = (bytes, static_key, role, time);
            Err(CredentialError::UnknownIssuer)
        }
    }

    /// Verifies as [`TrustAnchors::verify`] does, but for a signature that has verified before.
    #[cfg(all(feature = "std", feature = "backend"))]
    pub(crate) fn verify_remembering(
        &self,
        bytes: &[u8],
        static_key: &PublicKey,
        role: Role,
        time: Time,
        remembered: &super::RememberedSignatures,
    ) -> Result<VerifiedCredential, CredentialError> {
        let verify = |authority: &SignatureKey, message: &[u8], signature: &[u8; 64]| {
            remembered.verify(authority, message, signature)
        };
        Credential::verify(bytes, static_key, role, time, |issuer| self.authority(issuer), verify)
    }
}
