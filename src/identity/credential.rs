//! The compact certificate: encoding, strict decoding, and the proof that one was verified.

use super::{CredentialError, Identity, IssuerId, Role, Scopes, SubjectId};
#[cfg(any(feature = "credentials", test))]
use crate::codec::encode_into;
use crate::codec::{DecodeError, Reader};
#[cfg(any(feature = "credentials", test))]
use crate::crypto::{Forged, SignatureKey};
use crate::crypto::{PublicKey, hash_parts};
use crate::limits::{MAX_CREDENTIAL, MAX_UNIX_SECONDS};
use crate::time::UnixSeconds;
use core::fmt;
#[cfg(any(feature = "credentials", test))]
use serde::Serialize;

const SIGNATURE_LEN: usize = 64;
const BODY_VERSION: u8 = 1;
/// What a signature begins with, so that no other message of an authority can be taken for a credential.
#[cfg(any(feature = "credentials", test))]
const DOMAIN: &[u8] = b"vitalwire/1 credential";

/// The signed fields, in the order of SPEC.md; postcard writes exactly these bytes. They are read by hand: a device then
/// needs no serde.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(any(feature = "credentials", test), derive(Serialize))]
pub(super) struct Body {
    version: u8,
    issuer: IssuerId,
    serial: u32,
    subject: SubjectId,
    role: u8,
    scopes: u32,
    issued: u64,
    not_before: u64,
    not_after: u64,
}

/// A credential as it is stored and sent: bytes that nobody has verified yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credential {
    bytes: [u8; MAX_CREDENTIAL],
    len: u8,
}

/// The first 16 bytes of BLAKE2s-256 of an encoded credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CredentialHash(pub [u8; 16]);

/// What a verified credential says. Only a successful verification makes one, or a pin that stands for it
/// ([`TrustAnchors::NONE`](super::TrustAnchors::NONE)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VerifiedCredential {
    identity: Identity,
    serial: u32,
    role: Role,
    scopes: Scopes,
    issued: UnixSeconds,
    not_after: UnixSeconds,
    static_key: PublicKey,
}

impl Body {
    #[cfg(any(feature = "credentials", test))]
    pub(super) fn new(issuer: IssuerId, request: &super::CredentialRequest) -> Result<Self, CredentialError> {
        let body = Self {
            version: BODY_VERSION,
            issuer,
            serial: request.serial,
            subject: request.subject,
            role: request.role as u8,
            scopes: request.scopes.bits(),
            issued: request.issued.0,
            not_before: request.not_before.0,
            not_after: request.not_after.0,
        };
        body.check_times()?;
        Ok(body)
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let body = Self {
            version: reader.u8()?,
            issuer: IssuerId(reader.array()?),
            serial: reader.varint_as()?,
            subject: SubjectId(reader.array()?),
            role: reader.u8()?,
            scopes: reader.varint_as()?,
            issued: reader.varint()?,
            not_before: reader.varint()?,
            not_after: reader.varint()?,
        };
        reader.finish()?;
        Ok(body)
    }

    fn check_times(&self) -> Result<(), CredentialError> {
        //= SPEC.md#credentials
        //# A reader MUST refuse a credential whose `not after` is below its `not before` or its `issued`.
        let ordered = self.not_before.max(self.issued) <= self.not_after;
        let in_range = self.not_after < MAX_UNIX_SECONDS;
        if ordered && in_range { Ok(()) } else { Err(CredentialError::TimeOutOfRange) }
    }

    /// Checks whom it is for, and when it holds.
    #[cfg(any(feature = "credentials", feature = "handshake", test))]
    fn check_claims(&self, role: Role, time: super::Time) -> Result<(), CredentialError> {
        //= SPEC.md#credentials
        //# A device MUST refuse a peer whose role is not backend, and a backend one whose role is not device.
        if self.role != role as u8 {
            return Err(CredentialError::WrongRole);
        }
        time.check(UnixSeconds(self.not_before.max(self.issued)), UnixSeconds(self.not_after))
    }

    /// What is left of it under the certificate of its issuer.
    #[cfg(any(feature = "credentials", test))]
    fn narrowed(self, delegation: super::Delegation) -> Result<Self, CredentialError> {
        //= SPEC.md#intermediate-authorities
        //# A verifier MUST refuse a credential whose role the certificate of its issuer does not name.
        if !delegation.covers(self.role) {
            return Err(CredentialError::WrongRole);
        }
        //= SPEC.md#intermediate-authorities
        //# A verifier MUST grant no scope, and no second of validity, that the certificate of the issuer lacks.
        let not_after = self.not_after.min(delegation.not_after().0);
        let not_before = self.not_before.max(delegation.not_before().0);
        // One that was issued after its issuer's end could raise the floor above everybody's validity.
        if self.issued.max(not_before) > not_after {
            return Err(CredentialError::Expired);
        }
        let scopes = self.scopes & delegation.scopes().bits();
        Ok(Self { not_before, not_after, scopes, ..self })
    }

    /// What it says, now that it has passed.
    #[cfg(any(feature = "credentials", feature = "handshake", test))]
    fn passed(&self, static_key: &PublicKey, role: Role, scopes: Scopes) -> VerifiedCredential {
        VerifiedCredential {
            identity: Identity { issuer: self.issuer, subject: self.subject },
            serial: self.serial,
            role,
            scopes,
            issued: UnixSeconds(self.issued),
            not_after: UnixSeconds(self.not_after),
            static_key: *static_key,
        }
    }

    /// Writes the signed message, domain ‖ body ‖ static key, and hands it to `with`; then the bytes of the body.
    #[cfg(any(feature = "credentials", test))]
    pub(super) fn sign_with(
        &self,
        static_key: &PublicKey,
        sign: impl FnOnce(&[u8]) -> [u8; SIGNATURE_LEN],
    ) -> Result<Credential, CredentialError> {
        let mut body = [0u8; MAX_CREDENTIAL];
        let body = encode_into(self, &mut body).map_err(|_| CredentialError::Malformed)?;
        let mut message = [0u8; MESSAGE_MAX];
        let signature = sign(signed_message(body, static_key, &mut message)?);
        let mut bytes = [0u8; MAX_CREDENTIAL];
        let mut writer = crate::codec::Writer::new(&mut bytes);
        writer.bytes(body).map_err(|_| CredentialError::Malformed)?;
        writer.bytes(&signature).map_err(|_| CredentialError::Malformed)?;
        let len = writer.len() as u8;
        Ok(Credential { bytes, len })
    }
}

#[cfg(any(feature = "credentials", test))]
const MESSAGE_MAX: usize = DOMAIN.len() + MAX_CREDENTIAL + 32;

#[cfg(any(feature = "credentials", test))]
fn signed_message<'m>(
    body: &[u8],
    static_key: &PublicKey,
    out: &'m mut [u8; MESSAGE_MAX],
) -> Result<&'m [u8], CredentialError> {
    let mut writer = crate::codec::Writer::new(out);
    for part in [DOMAIN, body, &static_key.0] {
        writer.bytes(part).map_err(|_| CredentialError::Malformed)?;
    }
    Ok(writer.into_written())
}

impl Credential {
    /// Takes over encoded bytes, unverified, once they decode strictly.
    ///
    /// # Errors
    /// [`CredentialError::Malformed`] for anything that is not exactly one credential of this version,
    /// [`CredentialError::TimeOutOfRange`] for a time of 2^35 or above, or an empty validity.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CredentialError> {
        Self::split(bytes)?;
        let mut copy = [0u8; MAX_CREDENTIAL];
        copy.get_mut(..bytes.len()).ok_or(CredentialError::Malformed)?.copy_from_slice(bytes);
        Ok(Self { bytes: copy, len: bytes.len() as u8 })
    }

    /// Returns the encoded bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Returns the hash by which an end says that it holds this credential already.
    pub fn hash(&self) -> CredentialHash {
        CredentialHash::of(self.as_bytes())
    }

    /// Reads whom an unverified credential claims to name: for displays and look-ups, never for decisions.
    pub fn claimed_identity(&self) -> Option<Identity> {
        let (body, ..) = Self::split(self.as_bytes()).ok()?;
        Some(Identity { issuer: body.issuer, subject: body.subject })
    }

    /// Reads the scopes that an unverified credential claims: an end may go by its own, never by another's.
    pub fn claimed_scopes(&self) -> Scopes {
        Self::split(self.as_bytes()).map_or(Scopes::NONE, |(body, ..)| Scopes::from_bits(body.scopes))
    }

    /// Puts the bytes of a verified credential in the place of this one, its own, if they name the same and were issued no
    /// earlier; tells whether that is so.
    #[cfg(all(feature = "pinned-device", any(feature = "credentials", test)))]
    pub(crate) fn renew(&mut self, bytes: &[u8], verified: &VerifiedCredential) -> bool {
        let Ok((own, ..)) = Self::split(self.as_bytes()) else { return false };
        let same = own.issuer == verified.identity.issuer && own.subject == verified.identity.subject;
        if let Some(room) = self.bytes.get_mut(..bytes.len())
            && same
            && own.issued <= verified.issued.0
        {
            room.copy_from_slice(bytes);
            self.len = bytes.len() as u8;
            return true;
        }
        false
    }

    /// Reads the serial number that an unverified credential claims.
    #[cfg(feature = "backend")]
    pub(crate) fn claimed_serial(&self) -> u32 {
        Self::split(self.as_bytes()).map_or(0, |(body, ..)| body.serial)
    }

    /// Apart from its callers, which are many: a device's flash has it once.
    #[inline(never)]
    fn split(bytes: &[u8]) -> Result<(Body, &[u8], &[u8; SIGNATURE_LEN]), CredentialError> {
        if bytes.len() > MAX_CREDENTIAL {
            return Err(CredentialError::Malformed);
        }
        let (raw, signature) = bytes.split_last_chunk::<SIGNATURE_LEN>().ok_or(CredentialError::Malformed)?;
        let body = Body::read(raw).map_err(|_| CredentialError::Malformed)?;
        if body.version != BODY_VERSION || Role::from_code(body.role).is_none() {
            return Err(CredentialError::Malformed);
        }
        body.check_times()?;
        Ok((body, raw, signature))
    }

    /// Checks everything, with the key that `authority` finds for the issuer; `verify` is asked about the signature, last.
    #[cfg(any(feature = "credentials", test))]
    pub(super) fn verify<'k>(
        bytes: &[u8],
        static_key: &PublicKey,
        role: Role,
        time: super::Time,
        authority: impl FnOnce(
            &IssuerId,
        ) -> Result<(&'k SignatureKey, Option<super::Delegation>), CredentialError>,
        verify: impl FnOnce(&SignatureKey, &[u8], &[u8; SIGNATURE_LEN]) -> Result<(), Forged>,
    ) -> Result<VerifiedCredential, CredentialError> {
        let (body, raw, signature) = Self::split(bytes)?;
        let (authority, delegation) = authority(&body.issuer)?;
        let body = delegation.map_or(Ok(body), |delegation| body.narrowed(delegation))?;
        body.check_claims(role, time)?;
        //= SPEC.md#credentials
        //# A verifier MUST check a credential's signature over the bytes as received and the static key that Noise authenticated.
        let mut message = [0u8; MESSAGE_MAX];
        let message = signed_message(raw, static_key, &mut message)?;
        verify(authority, message, signature).map_err(|_| CredentialError::BadSignature)?;
        Ok(body.passed(static_key, role, Scopes::from_bits(body.scopes)))
    }

    /// Checks everything but the signature, for the holder of a pinned key; this is the credential that was pinned with it.
    #[cfg(feature = "handshake")]
    pub(crate) fn vouch(
        &self,
        bytes: &[u8],
        static_key: &PublicKey,
        role: Role,
        time: super::Time,
    ) -> Result<VerifiedCredential, CredentialError> {
        let (pinned, ..) = Self::split(self.as_bytes())?;
        let (body, ..) = Self::split(bytes)?;
        //= SPEC.md#pinned-trust
        //# A device without authorities MUST refuse a credential that names another issuer or subject than the pinned one, and grant no scope that the pinned one lacks.
        if (body.issuer, body.subject) != (pinned.issuer, pinned.subject) {
            return Err(CredentialError::UnknownIssuer);
        }
        body.check_claims(role, time)?;
        //= SPEC.md#pinned-trust
        //# A device without authorities MUST NOT raise its floor above the `issued` of the pinned credential.
        let body = Body { issued: body.issued.min(pinned.issued), ..body };
        Ok(body.passed(static_key, role, Scopes::from_bits(body.scopes) & Scopes::from_bits(pinned.scopes)))
    }
}

impl CredentialHash {
    /// Hashes encoded bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = [0u8; 16];
        for (to, from) in hash.iter_mut().zip(hash_parts(&[bytes])) {
            *to = from;
        }
        Self(hash)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.claimed_identity() {
            Some(identity) => write!(f, "Credential(unverified, {identity})"),
            None => f.write_str("Credential(malformed)"),
        }
    }
}

impl VerifiedCredential {
    /// Returns whom it names.
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// Returns the issuer's serial number.
    pub const fn serial(&self) -> u32 {
        self.serial
    }

    /// Returns the role.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Returns what it permits.
    pub const fn scopes(&self) -> Scopes {
        self.scopes
    }

    /// Returns when the authority signed it: raises the time floor of an end without a clock.
    pub const fn issued(&self) -> UnixSeconds {
        self.issued
    }

    /// Returns the last second of its validity.
    pub const fn not_after(&self) -> UnixSeconds {
        self.not_after
    }

    /// Returns the static key that it binds.
    pub const fn static_key(&self) -> PublicKey {
        self.static_key
    }
}
