//! What is revoked, by the latest list of each issuer: numbers never go backward.

use super::{IssuerId, RevocationError, TrustAnchors, VerifiedRevocations};
use crate::limits::MAX_ANCHORS;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

/// What became of a list that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ListTaken {
    /// It is in force now, in the place of the one before.
    New,
    /// It was in force already.
    Known,
}

/// The latest revocation list of each issuer.
///
/// Lists are whole: one that was missed is made good by the next one. Keep the bytes of [`lists`](Self::lists) durably,
/// and take them again after a restart, before the first packet: what was lost can be rolled back.
///
/// ```
/// use vitalwire::crypto::SigningKey;
/// use vitalwire::identity::*;
/// use vitalwire::{OsEntropy, UnixSeconds};
/// let authority = Authority::new(SigningKey::generate(&mut OsEntropy)?);
/// let anchors = TrustAnchors::new(&[authority.public_key()])?;
/// let time = Time::known(UnixSeconds(1_750_000_000));
/// let list = |number, devices| authority.revoke(&RevocationRequest {
///     number,
///     issued: UnixSeconds(1_750_000_000),
///     issuers: &[],
///     backends: &[],
///     devices,
/// });
/// let (first, second) = (list(1, &[7..=7])?, list(2, &[7..=7, 100..=199])?);
/// let mut store = RevocationStore::default();
/// store.take(&anchors.verify_revocations(&second, time)?)?;
/// assert!(store.is_revoked(&anchors, &authority.issuer(), 150));
/// let old = store.take(&anchors.verify_revocations(&first, time)?);
/// assert_eq!(old, Err(RevocationError::Rollback { known: 2 }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct RevocationStore {
    lists: BTreeMap<IssuerId, Kept>,
}

#[derive(Clone, Debug)]
struct Kept {
    number: u64,
    digest: [u8; 32],
    issuers: Vec<IssuerId>,
    /// Of both parts, each ascending.
    runs: [Vec<RangeInclusive<u32>>; 2],
    bytes: Vec<u8>,
}

impl RevocationStore {
    /// Puts a whole list in force, in the place of the issuer's one before.
    ///
    /// # Errors
    /// [`RevocationError::Partial`], [`RevocationError::Rollback`], [`RevocationError::Conflict`] or
    /// [`RevocationError::TooManyIssuers`]; nothing has changed then.
    pub fn take(&mut self, list: &VerifiedRevocations<'_>) -> Result<ListTaken, RevocationError> {
        let devices = list.devices().ok_or(RevocationError::Partial)?;
        let (issuer, number, digest) = (list.issuer(), list.number(), list.digest());
        //= SPEC.md#revocation-lists
        //# A verifier MUST refuse a list with a lower number than the highest that it has taken of the issuer, and another list with the same number.
        match self.lists.get(&issuer) {
            Some(kept) if number < kept.number => {
                return Err(RevocationError::Rollback { known: kept.number });
            }
            Some(kept) if number == kept.number && digest != kept.digest => {
                return Err(RevocationError::Conflict);
            }
            Some(kept) if number == kept.number => return Ok(ListTaken::Known),
            None if self.lists.len() >= MAX_ANCHORS => return Err(RevocationError::TooManyIssuers),
            _ => {}
        }
        let runs = [list.backends().iter().collect(), devices.iter().collect()];
        let (issuers, bytes) = (list.issuers().collect(), list.as_bytes().to_vec());
        self.lists.insert(issuer, Kept { number, digest, issuers, runs, bytes });
        Ok(ListTaken::New)
    }

    /// Makes room: forgets the lists of issuers that are no longer trusted, and how far they had come.
    #[cfg(feature = "backend")]
    pub(crate) fn forget_untrusted(&mut self, anchors: &TrustAnchors) {
        self.lists.retain(|issuer, _| anchors.authority(issuer).is_ok());
    }

    /// Tells whether a credential is revoked: by its serial, or its whole issuer by the authority above it.
    ///
    /// A serial counts in whichever part it stands. Costs a binary search of each part.
    //= SPEC.md#revocation-lists
    //# A verifier MUST refuse a credential whose serial is in the latest list of its issuer, or whose issuer is in the latest list of the authority that has certified it.
    pub fn is_revoked(&self, anchors: &TrustAnchors, issuer: &IssuerId, serial: u32) -> bool {
        if self.lists.is_empty() {
            return false;
        }
        let own = self.lists.get(issuer).is_some_and(|kept| kept.runs.iter().any(|runs| holds(runs, serial)));
        own || self.is_issuer_revoked(anchors, issuer)
    }

    /// Tells whether all that an authority has signed is revoked.
    pub fn is_issuer_revoked(&self, anchors: &TrustAnchors, issuer: &IssuerId) -> bool {
        //= SPEC.md#revocation-lists
        //# A verifier MUST NOT take an issuer as revoked by another list than that of the authority which has certified it.
        let above = anchors.authority_above(issuer).and_then(|above| self.lists.get(&above));
        above.is_some_and(|kept| kept.issuers.contains(issuer))
    }

    /// Returns the number of the list that is in force of an issuer; 0 if there is none.
    pub fn number(&self, issuer: &IssuerId) -> u64 {
        self.lists.get(issuer).map_or(0, |kept| kept.number)
    }

    /// Lists what is in force: issuer, number, and the encoded list, to be kept durably.
    pub fn lists(&self) -> impl Iterator<Item = (IssuerId, u64, &[u8])> {
        self.lists.iter().map(|(issuer, kept)| (*issuer, kept.number, &kept.bytes[..]))
    }
}

fn holds(runs: &[RangeInclusive<u32>], serial: u32) -> bool {
    let at = runs.partition_point(|run| *run.end() < serial);
    runs.get(at).is_some_and(|run| run.contains(&serial))
}
