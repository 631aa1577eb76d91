//! Certificates of intermediate authorities: what a root lets another authority sign.

use super::Role;
#[cfg(any(feature = "intermediates", test))]
use super::Time;
#[cfg(any(feature = "credentials", test))]
use super::{CredentialError, IssuerId, Scopes};
#[cfg(any(feature = "credentials", test))]
use crate::codec::{DecodeError, Reader, Writer};
#[cfg(any(feature = "credentials", test))]
use crate::crypto::SignatureKey;
#[cfg(any(feature = "credentials", test))]
use crate::limits::{MAX_INTERMEDIATE, MAX_UNIX_SECONDS};
#[cfg(any(feature = "credentials", test))]
use crate::time::UnixSeconds;
use core::num::NonZeroU8;
use core::ops::BitOr;

#[cfg(any(feature = "credentials", test))]
const VERSION: u8 = 1;
#[cfg(any(feature = "credentials", test))]
const SIGNATURE_LEN: usize = 64;
/// What a signature begins with, so that no other message of an authority can be taken for a certificate.
#[cfg(any(feature = "credentials", test))]
const DOMAIN: &[u8] = b"vitalwire/1 authority";
#[cfg(any(feature = "credentials", test))]
const MESSAGE_MAX: usize = DOMAIN.len() + MAX_INTERMEDIATE;

/// For which ends an authority may sign: at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Roles(NonZeroU8);

impl Roles {
    /// Devices only.
    pub const DEVICES: Self = Self(NonZeroU8::MIN);
    /// Backends only.
    pub const BACKENDS: Self = Self(NonZeroU8::MIN.saturating_add(1));
    /// Both.
    pub const BOTH: Self = Self(NonZeroU8::MIN.saturating_add(2));

    /// Reads the bits: 1 devices, 2 backends.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match NonZeroU8::new(bits) {
            Some(roles) if bits <= 3 => Some(Self(roles)),
            _ => None,
        }
    }

    /// Returns the bits: 1 devices, 2 backends.
    pub const fn bits(self) -> u8 {
        self.0.get()
    }

    /// Tells whether `role` is among them.
    ///
    /// ```
    /// use vitalwire::identity::{Role, Roles};
    /// assert!(Roles::DEVICES.contains(Role::Device) && !Roles::DEVICES.contains(Role::Backend));
    /// assert_eq!(Roles::DEVICES | Roles::BACKENDS, Roles::BOTH);
    /// ```
    pub const fn contains(self, role: Role) -> bool {
        self.bits() & role as u8 != 0
    }
}

impl BitOr for Roles {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(any(feature = "intermediates", test))]
pub(super) use delegation::Delegation;

#[cfg(any(feature = "intermediates", test))]
mod delegation {
    use super::{Role, Roles, Scopes, UnixSeconds};

    /// What a verified certificate delegates, in as few bytes as there are: a device keeps them.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::identity) struct Delegation {
        pub(super) roles: Roles,
        /// The place of the authority that signed, among the anchors.
        pub(super) above: u8,
        pub(super) scopes: [u8; 4],
        pub(super) not_before: Seconds,
        pub(super) not_after: Seconds,
    }

    /// A time below 2^35.
    type Seconds = [u8; 5];

    const fn seconds(packed: Seconds) -> UnixSeconds {
        let [a, b, c, d, e] = packed;
        UnixSeconds(u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]))
    }

    pub(super) const fn packed(seconds: UnixSeconds) -> Seconds {
        let [a, b, c, d, e, ..] = seconds.0.to_le_bytes();
        [a, b, c, d, e]
    }

    impl Delegation {
        /// Tells whether credentials of this role's code may be signed.
        pub(in crate::identity) fn covers(self, role: u8) -> bool {
            Role::from_code(role).is_some_and(|role| self.roles.contains(role))
        }

        pub(in crate::identity) fn above(self) -> usize {
            self.above.into()
        }

        pub(in crate::identity) const fn scopes(self) -> Scopes {
            Scopes::from_bits(u32::from_le_bytes(self.scopes))
        }

        pub(in crate::identity) const fn not_before(self) -> UnixSeconds {
            seconds(self.not_before)
        }

        pub(in crate::identity) const fn not_after(self) -> UnixSeconds {
            seconds(self.not_after)
        }
    }
}

/// Nothing is delegated to anybody, and the compiler knows it: this takes no byte of a device.
#[cfg(not(any(feature = "intermediates", test)))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delegation {}

#[cfg(all(feature = "credentials", not(any(feature = "intermediates", test))))]
impl Delegation {
    pub(super) const fn covers(self, _: u8) -> bool {
        match self {}
    }

    pub(super) const fn above(self) -> usize {
        match self {}
    }

    pub(super) const fn scopes(self) -> Scopes {
        match self {}
    }

    pub(super) const fn not_before(self) -> UnixSeconds {
        match self {}
    }

    pub(super) const fn not_after(self) -> UnixSeconds {
        match self {}
    }
}

/// What a certificate of an intermediate authority shall say.
#[cfg(any(feature = "credentials", test))]
#[derive(Clone, Copy, Debug)]
pub struct IntermediateRequest {
    /// The root's own number for it, for its records. What is revoked is the key: the whole issuer.
    pub serial: u32,
    /// For which ends it may sign credentials.
    pub roles: Roles,
    /// What its credentials may permit at the most.
    pub scopes: Scopes,
    /// When it is signed.
    pub issued: UnixSeconds,
    /// The first second of its validity.
    pub not_before: UnixSeconds,
    /// The last second of its validity, and of that of its credentials.
    pub not_after: UnixSeconds,
}

/// The certificate of an intermediate authority: bytes that nobody has verified yet. [`TrustAnchors::with_intermediate`]
/// verifies it.
///
/// [`TrustAnchors::with_intermediate`]: super::TrustAnchors::with_intermediate
#[cfg(any(feature = "credentials", test))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intermediate {
    bytes: [u8; MAX_INTERMEDIATE],
    len: u8,
    issuer: IssuerId,
    key: SignatureKey,
    fields: IntermediateFields,
}

/// What a certificate claims.
#[cfg(any(feature = "credentials", test))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct IntermediateFields {
    serial: u32,
    roles: Roles,
    scopes: Scopes,
    issued: UnixSeconds,
    not_before: UnixSeconds,
    not_after: UnixSeconds,
}

#[cfg(any(feature = "credentials", test))]
impl Intermediate {
    pub(super) fn sign(
        issuer: IssuerId,
        key: &SignatureKey,
        request: &IntermediateRequest,
        sign: impl FnOnce(&[u8]) -> [u8; SIGNATURE_LEN],
    ) -> Result<Self, CredentialError> {
        let mut message = [0u8; MESSAGE_MAX];
        let mut writer = Writer::new(&mut message);
        let mut write = || {
            writer.bytes(DOMAIN)?;
            writer.u8(VERSION)?;
            writer.bytes(&issuer.0)?;
            writer.varint(request.serial.into())?;
            writer.bytes(&key.0)?;
            writer.u8(request.roles.bits())?;
            writer.varint(request.scopes.bits().into())?;
            [request.issued, request.not_before, request.not_after]
                .into_iter()
                .try_for_each(|time| writer.varint(time.0))
        };
        write().map_err(|_| CredentialError::TimeOutOfRange)?;
        let message = writer.into_written();
        let signature = sign(message);
        let mut bytes = [0u8; MAX_INTERMEDIATE];
        let mut writer = Writer::new(&mut bytes);
        let body = message.get(DOMAIN.len()..).unwrap_or_default();
        let written = writer.bytes(body).and_then(|()| writer.bytes(&signature));
        written.map_err(|_| CredentialError::TimeOutOfRange)?;
        Self::from_bytes(writer.into_written())
    }

    /// Takes over encoded bytes, unverified, once they decode strictly.
    ///
    /// # Errors
    /// [`CredentialError::Malformed`] for anything that is not exactly one certificate of this version,
    /// [`CredentialError::TimeOutOfRange`] for a time of 2^35 or above, or an empty validity.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CredentialError> {
        let (raw, _) = bytes.split_last_chunk::<SIGNATURE_LEN>().ok_or(CredentialError::Malformed)?;
        let (issuer, key, fields) = Self::read(raw).map_err(|_| CredentialError::Malformed)?;
        //= SPEC.md#intermediate-authorities
        //# A reader MUST refuse a certificate whose `not after` is below its `not before` or its `issued`, or that names no role or an unknown one.
        let IntermediateFields { issued, not_before, not_after, .. } = fields;
        if issued.max(not_before) > not_after || not_after.0 >= MAX_UNIX_SECONDS {
            return Err(CredentialError::TimeOutOfRange);
        }
        let mut copy = [0u8; MAX_INTERMEDIATE];
        copy.get_mut(..bytes.len()).ok_or(CredentialError::Malformed)?.copy_from_slice(bytes);
        Ok(Self { bytes: copy, len: bytes.len() as u8, issuer, key, fields })
    }

    fn read(raw: &[u8]) -> Result<(IssuerId, SignatureKey, IntermediateFields), DecodeError> {
        let mut reader = Reader::new(raw);
        if reader.u8()? != VERSION {
            return Err(DecodeError::UnknownMandatory);
        }
        let issuer = IssuerId(reader.array()?);
        let serial = reader.varint_as()?;
        let key = SignatureKey(reader.array()?);
        let fields = IntermediateFields {
            serial,
            roles: Roles::from_bits(reader.u8()?).ok_or(DecodeError::OutOfRange)?,
            scopes: Scopes::from_bits(reader.varint_as()?),
            issued: UnixSeconds(reader.varint()?),
            not_before: UnixSeconds(reader.varint()?),
            not_after: UnixSeconds(reader.varint()?),
        };
        reader.finish()?;
        Ok((issuer, key, fields))
    }

    #[cfg(any(feature = "intermediates", test))]
    pub(super) fn verify<'k>(
        bytes: &[u8],
        time: Time,
        root: impl FnOnce(&IssuerId) -> Result<(u8, &'k SignatureKey), CredentialError>,
    ) -> Result<(SignatureKey, Delegation), CredentialError> {
        let Self { issuer, key, fields, .. } = Self::from_bytes(bytes)?;
        let (above, root) = root(&issuer)?;
        let IntermediateFields { roles, scopes, issued, not_before, not_after, .. } = fields;
        time.check(issued.max(not_before), not_after)?;
        let (raw, signature) = bytes.split_last_chunk::<SIGNATURE_LEN>().ok_or(CredentialError::Malformed)?;
        let mut message = [0u8; MESSAGE_MAX];
        let mut writer = Writer::new(&mut message);
        let written = writer.bytes(DOMAIN).and_then(|()| writer.bytes(raw));
        written.map_err(|_| CredentialError::Malformed)?;
        root.verify(writer.written(), signature).map_err(|_| CredentialError::BadSignature)?;
        let delegation = Delegation {
            roles,
            above,
            scopes: scopes.bits().to_le_bytes(),
            not_before: delegation::packed(not_before),
            not_after: delegation::packed(not_after),
        };
        Ok((key, delegation))
    }

    /// Returns the encoded bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Returns the authority that claims to have signed it.
    pub const fn issuer(&self) -> IssuerId {
        self.issuer
    }

    /// Returns the key that it is for.
    pub const fn key(&self) -> SignatureKey {
        self.key
    }

    /// Returns what it claims.
    pub const fn claims(&self) -> IntermediateRequest {
        let IntermediateFields { serial, roles, scopes, issued, not_before, not_after } = self.fields;
        IntermediateRequest { serial, roles, scopes, issued, not_before, not_after }
    }
}
