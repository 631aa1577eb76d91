//! Whom an end trusts, and what time it is for credentials.

use super::{Credential, CredentialError, IssuerId, Role, VerifiedCredential};
use crate::crypto::{PublicKey, SignatureKey};
use crate::limits::{CLOCK_TOLERANCE_SECS, MAX_AUTHORITIES};
use crate::time::UnixSeconds;

/// The authorities that an end trusts: one to four.
#[derive(Clone, Copy, Debug)]
pub struct TrustAnchors {
    keys: [Option<(IssuerId, SignatureKey)>; MAX_AUTHORITIES],
}

/// What an end knows of the time: its clock, if it has one, and the floor that it keeps.
///
/// The floor is the latest `issued` of any credential that this end accepted. Store it durably and never lower it.
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
    //# The floor MUST NOT go backward, and nothing but an accepted credential raises it.
    pub fn raise_floor(&mut self, accepted: &VerifiedCredential) {
        self.floor = self.floor.max(accepted.issued());
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
    pub(super) fn check(self, from: UnixSeconds, not_after: UnixSeconds) -> Result<(), CredentialError> {
        let now = self.now();
        //= SPEC.md#validity
        //# A verifier MUST refuse a credential whose `not after` is below now.
        if not_after < now {
            return Err(CredentialError::Expired);
        }
        //= SPEC.md#validity
        //# A verifier with a clock MUST refuse a credential whose `not before` or `issued` is more than 300 s above now.
        if self.clock.is_some() && from.0 > now.0.saturating_add(CLOCK_TOLERANCE_SECS) {
            return Err(CredentialError::NotYetValid);
        }
        Ok(())
    }
}

impl TrustAnchors {
    /// Trusts these authorities.
    ///
    /// # Errors
    /// [`CredentialError::BadAnchors`] for none, more than four, or two with the same issuer id.
    pub fn new(keys: &[SignatureKey]) -> Result<Self, CredentialError> {
        let mut anchors = Self { keys: [None; MAX_AUTHORITIES] };
        if keys.is_empty() || keys.len() > MAX_AUTHORITIES {
            return Err(CredentialError::BadAnchors);
        }
        for (slot, key) in anchors.keys.iter_mut().zip(keys) {
            *slot = Some((IssuerId::of(key), *key));
        }
        let mut ids = anchors.keys.iter().flatten().map(|(id, _)| id);
        while let Some(id) = ids.next() {
            if ids.clone().any(|other| other == id) {
                return Err(CredentialError::BadAnchors);
            }
        }
        Ok(anchors)
    }

    /// Lists the trusted keys.
    pub fn keys(&self) -> impl Iterator<Item = &SignatureKey> {
        self.keys.iter().flatten().map(|(_, key)| key)
    }

    /// Verifies a credential for the holder of `static_key`: format, issuer, role, validity, then the signature.
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
        Credential::verify(bytes, static_key, role, time, |issuer| {
            let mut known = self.keys.iter().flatten();
            let found = known.find(|(id, _)| id == issuer);
            found.map(|(_, key)| key).ok_or(CredentialError::UnknownIssuer)
        })
    }
}
