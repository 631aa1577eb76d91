//! Which signatures have verified here before, so that a device that comes again costs no Ed25519 operation.
//!
//! What is remembered is that operation and nothing else: that this key of an authority verifies this signature of this
//! message. Whether the authority is trusted, the role, the validity, the scopes and the revocation are decided each time.

use crate::crypto::{Forged, SignatureKey, hash_parts};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a digest begins with, so that no other hash of this library can be taken for one.
const DOMAIN: &[u8] = b"vitalwire verified signature";
/// Digests that share a place: a place that is full forgets the oldest of them.
const WAYS: usize = 8;

/// BLAKE2s-256 of domain, authority's key, signature and message. All of it is kept: whoever could find another credential
/// with the same digest would be believed.
type Digest = [u8; 32];

/// A table of fixed size. Only a signature that has just verified enters it, so strangers can push nobody out of it.
pub(crate) struct RememberedSignatures(Mutex<Vec<[Digest; WAYS]>>);

impl RememberedSignatures {
    /// Makes room for so many, rounded up to a multiple of 8; `None` for 0.
    pub(crate) fn new(signatures: u32) -> Option<Self> {
        let places = usize::try_from(signatures).ok()?.div_ceil(WAYS);
        (places > 0).then(|| Self(Mutex::new(vec![[[0; 32]; WAYS]; places])))
    }

    /// Verifies a signature, unless that was done before.
    //= SPEC.md#credentials
    //# A verifier that remembers which signatures have verified, by authority, static key and credential, MUST check all else each time: issuer, role, validity, scopes and revocation.
    pub(super) fn verify(
        &self,
        authority: &SignatureKey,
        message: &[u8],
        signature: &[u8; 64],
    ) -> Result<(), Forged> {
        let digest = hash_parts(&[DOMAIN, &authority.0, signature, message]);
        if place(&mut self.table(), &digest).is_some_and(|place| place.contains(&digest)) {
            return Ok(());
        }
        authority.verify(message, signature)?;
        self.remember(&digest);
        Ok(())
    }

    fn remember(&self, digest: &Digest) {
        // Another thread may have verified the same meanwhile.
        if let Some(place) = place(&mut self.table(), digest)
            && !place.contains(digest)
        {
            place.rotate_right(1);
            if let Some(first) = place.first_mut() {
                *first = *digest;
            }
        }
    }

    /// Returns how many it holds, and for how many there is room.
    #[cfg(test)]
    pub(crate) fn held(&self) -> (usize, usize) {
        let table = self.table();
        (table.iter().flatten().filter(|digest| **digest != [0; 32]).count(), table.len() * WAYS)
    }

    /// A thread that panicked has left whole digests behind: they are written in one go.
    fn table(&self) -> MutexGuard<'_, Vec<[Digest; WAYS]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a digest belongs.
fn place<'t>(table: &'t mut [[Digest; WAYS]], digest: &Digest) -> Option<&'t mut [Digest; WAYS]> {
    let number = digest.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))?;
    let index = number.checked_rem(table.len() as u64)?;
    table.get_mut(usize::try_from(index).ok()?)
}

impl fmt::Debug for RememberedSignatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RememberedSignatures(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{PublicKey, SigningKey};
    use crate::identity::*;
    use crate::time::UnixSeconds;

    const HOLDER: PublicKey = PublicKey([0x42; 32]);
    const NOW: UnixSeconds = UnixSeconds(1_750_000_000);

    fn authority(seed: u8) -> Authority {
        Authority::new(SigningKey::from_bytes([seed; 32]))
    }

    fn request(serial: u32) -> CredentialRequest {
        let (from, until) = (UnixSeconds(NOW.0 - 100), UnixSeconds(NOW.0 + 100));
        CredentialRequest::new(serial, SubjectId([7; 16]), Role::Device, Scopes::PUBLISH, from, until)
    }

    fn is_held(remembered: &RememberedSignatures, digest: &Digest) -> bool {
        remembered.table().iter().flatten().any(|held| held == digest)
    }

    fn held(remembered: &RememberedSignatures) -> usize {
        remembered.held().0
    }

    /// Puts a credential in as if its signature had verified, which it need not.
    fn pretend(remembered: &RememberedSignatures, authority: &Authority, credential: &[u8]) {
        let (raw, signature) = credential.split_at(credential.len() - 64);
        let message = [b"vitalwire/1 credential", raw, &HOLDER.0].concat();
        remembered.remember(&hash_parts(&[DOMAIN, &authority.public_key().0, signature, &message]));
    }

    #[test]
    fn one_signature_is_verified_once() {
        let (authority, remembered) = (authority(1), RememberedSignatures::new(64).unwrap());
        let anchors = TrustAnchors::new(&[authority.public_key()]).unwrap();
        let mut bytes = authority.issue(&HOLDER, &request(1)).unwrap().as_bytes().to_vec();
        let verify = |bytes: &[u8]| {
            anchors.verify_remembering(bytes, &HOLDER, Role::Device, Time::known(NOW), &remembered)
        };
        let anew = anchors.verify(&bytes, &HOLDER, Role::Device, Time::known(NOW));
        for _ in 0..3 {
            assert_eq!(verify(&bytes), anew);
            assert_eq!(held(&remembered), 1);
        }
        // That the second time skips it shows only in a signature that is wrong.
        *bytes.last_mut().unwrap() ^= 1;
        assert_eq!(verify(&bytes), Err(CredentialError::BadSignature));
        pretend(&remembered, &authority, &bytes);
        assert_eq!(verify(&bytes), anew);
    }

    #[test]
    fn whatever_differs_is_verified_anew() {
        //= SPEC.md#credentials
        //= type=test
        //# A verifier that remembers which signatures have verified, by authority, static key and credential, MUST check all else each time: issuer, role, validity, scopes and revocation.
        let (known, other) = (authority(1), authority(2));
        let remembered = RememberedSignatures::new(64).unwrap();
        let anchors = TrustAnchors::new(&[known.public_key(), other.public_key()]).unwrap();
        let time = Time::known(NOW);
        let bytes = known.issue(&HOLDER, &request(1)).unwrap().as_bytes().to_vec();
        let verify = |bytes: &[u8], key: &PublicKey, role: Role, time: Time| {
            anchors.verify_remembering(bytes, key, role, time, &remembered)
        };
        assert!(verify(&bytes, &HOLDER, Role::Device, time).is_ok());
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let anew = anchors.verify(&changed, &HOLDER, Role::Device, time);
            assert!(anew.is_err());
            assert_eq!(verify(&changed, &HOLDER, Role::Device, time), anew, "bit {bit}");
        }
        for bit in 0..256 {
            let mut key = HOLDER;
            key.0[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                verify(&bytes, &key, Role::Device, time),
                Err(CredentialError::BadSignature),
                "bit {bit}"
            );
        }
        assert_eq!(held(&remembered), 1, "what was refused is not remembered");
        // The same bytes under another authority's key: the digest is another.
        let message = [b"vitalwire/1 credential", &bytes[..bytes.len() - 64], &HOLDER.0].concat();
        let signature = bytes.last_chunk().unwrap();
        assert!(remembered.verify(&known.public_key(), &message, signature).is_ok());
        assert!(remembered.verify(&other.public_key(), &message, signature).is_err());
    }

    #[test]
    fn all_but_the_signature_is_checked_each_time() {
        let (root, ward) = (authority(1), authority(2));
        let remembered = RememberedSignatures::new(64).unwrap();
        let time = Time::known(NOW);
        let anchors = TrustAnchors::new(&[root.public_key()]).unwrap();
        let certified = |scopes: Scopes, not_after: u64| {
            let request = IntermediateRequest {
                serial: 1,
                roles: Roles::DEVICES,
                scopes,
                issued: UnixSeconds(NOW.0 - 100),
                not_before: UnixSeconds(NOW.0 - 100),
                not_after: UnixSeconds(not_after),
            };
            let certificate = root.certify(&ward.public_key(), &request).unwrap();
            anchors.with_intermediate(certificate.as_bytes(), time).unwrap()
        };
        let verify = |anchors: &TrustAnchors, bytes: &[u8], role: Role, time: Time| {
            anchors.verify_remembering(bytes, &HOLDER, role, time, &remembered)
        };
        let bytes = root.issue(&HOLDER, &request(1)).unwrap().as_bytes().to_vec();
        let below = ward.issue(&HOLDER, &request(2)).unwrap().as_bytes().to_vec();
        let wide = certified(Scopes::PUBLISH, NOW.0 + 100);
        assert!(verify(&wide, &bytes, Role::Device, time).is_ok());
        assert_eq!(verify(&wide, &below, Role::Device, time).unwrap().scopes(), Scopes::PUBLISH);
        assert_eq!(held(&remembered), 2);

        assert_eq!(verify(&wide, &bytes, Role::Backend, time), Err(CredentialError::WrongRole));
        let later = Time::known(UnixSeconds(NOW.0 + 101));
        assert_eq!(verify(&wide, &bytes, Role::Device, later), Err(CredentialError::Expired));
        let earlier = Time::known(UnixSeconds(NOW.0 - 1000));
        assert_eq!(verify(&wide, &bytes, Role::Device, earlier), Err(CredentialError::NotYetValid));
        let others = TrustAnchors::new(&[authority(3).public_key()]).unwrap();
        assert_eq!(verify(&others, &bytes, Role::Device, time), Err(CredentialError::UnknownIssuer));
        assert_eq!(verify(&anchors, &below, Role::Device, time), Err(CredentialError::UnknownIssuer));
        let narrow = certified(Scopes::ALARMS, NOW.0 + 1);
        let narrowed = verify(&narrow, &below, Role::Device, time).unwrap();
        assert_eq!((narrowed.scopes(), narrowed.not_after()), (Scopes::ALARMS, UnixSeconds(NOW.0 + 1)));
    }

    #[test]
    fn table_is_bounded_and_forgets_the_oldest_of_a_place() {
        assert!(RememberedSignatures::new(0).is_none());
        let remembered = RememberedSignatures::new(17).unwrap();
        let size = |remembered: &RememberedSignatures| {
            let table = remembered.table();
            (table.len(), table.capacity())
        };
        let before = size(&remembered);
        assert_eq!(before.0, 3);
        let digests: Vec<Digest> = (0..1000u32).map(|number| hash_parts(&[&number.to_le_bytes()])).collect();
        for digest in &digests {
            remembered.remember(digest);
            remembered.remember(digest);
            assert!(is_held(&remembered, digest));
        }
        assert_eq!(size(&remembered), before);
        assert_eq!(held(&remembered), 24);
        // Of each place, the eight that came last.
        for index in 0..3 {
            let mut of_place = digests
                .iter()
                .rev()
                .filter(|digest| u64::from_le_bytes(*digest.first_chunk().unwrap()) % 3 == index);
            assert!(of_place.by_ref().take(WAYS).all(|digest| is_held(&remembered, digest)));
            assert!(of_place.all(|digest| !is_held(&remembered, digest)));
        }
    }
}
