//! Revocation lists: strict decoding, the proof that one was verified, and their signing.
//!
//! A list has two parts: one for backends, which devices get as well, and one for devices. The signature covers the
//! hashes of both, so a device that has the one part and the hash of the other can verify it.

#[cfg(feature = "alloc")]
use super::serials::encode_runs;
use super::{IssuerId, SerialRuns, Time, TrustAnchors};
use crate::codec::{DecodeError, Reader, Writer};
use crate::crypto::hash_parts;
use crate::limits::{
    CLOCK_TOLERANCE_SECS, MAX_BACKENDS_PART, MAX_REVOCATION_LIST, MAX_REVOKED_ISSUERS, MAX_UNIX_SECONDS,
};
use crate::time::UnixSeconds;
#[cfg(feature = "alloc")]
use alloc::vec::Vec;
#[cfg(feature = "alloc")]
use core::ops::RangeInclusive;

const VERSION: u8 = 1;
const SIGNATURE_LEN: usize = 64;
/// What a signature begins with, so that no other message of an authority can be taken for a list.
const DOMAIN: &[u8] = b"vitalwire/1 revocation";
/// Version, issuer, number, issued, two hashes.
const MESSAGE_MAX: usize = DOMAIN.len() + 1 + 8 + 10 + 5 + 2 * 32;

/// How much of a revocation list there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ListForm {
    /// Both parts: for backends.
    Whole = 1,
    /// The part for backends, and the hash of the other: for devices.
    Backends = 2,
}

/// Why a revocation list was refused, or could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RevocationError {
    /// The bytes are no list of this version.
    #[error("malformed revocation list")]
    Malformed,
    /// The list, or its part for backends, is too long.
    #[error("the revocation list is too long")]
    TooLong,
    /// The number is 0, or a time is 2^35 or above.
    #[error("a number or time is out of range")]
    OutOfRange,
    /// The issuer is not one of the trusted authorities.
    #[error("unknown issuer")]
    UnknownIssuer,
    /// The signature does not cover this list.
    #[error("bad signature")]
    BadSignature,
    /// It was issued in the future, or beyond the validity of its issuer's own certificate.
    #[error("issued in the future, or beyond the issuer's own validity")]
    NotYetValid,
    /// It has no part for devices: a backend needs the whole list.
    #[error("only a part of the list")]
    Partial,
    /// A later list of this issuer is known: somebody brings an old one again.
    #[error("rolled back: list {known} of this issuer is known already")]
    Rollback {
        /// The number of the list that is known.
        known: u64,
    },
    /// Another list of this issuer has the same number: the authority's key, or its register, is in two hands.
    #[error("another list of this issuer has the same number")]
    Conflict,
    /// There are lists of as many issuers as may be kept.
    #[error("lists of too many issuers")]
    TooManyIssuers,
}

/// A verified revocation list; only [`TrustAnchors::verify_revocations`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedRevocations<'a>(List<'a>);

/// A list that decodes.
#[derive(Clone, Copy, Debug)]
struct List<'a> {
    issuer: IssuerId,
    number: u64,
    issued: UnixSeconds,
    signature: &'a [u8; SIGNATURE_LEN],
    backends: &'a [u8],
    issuers: &'a [[u8; 8]],
    backend_serials: SerialRuns<'a>,
    /// The part for devices, or its hash.
    devices: Result<SerialRuns<'a>, [u8; 32]>,
    bytes: &'a [u8],
}

impl From<DecodeError> for RevocationError {
    fn from(_: DecodeError) -> Self {
        Self::Malformed
    }
}

impl<'a> List<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, RevocationError> {
        if bytes.len() > MAX_REVOCATION_LIST {
            return Err(RevocationError::TooLong);
        }
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(RevocationError::Malformed);
        }
        let form = reader.u8()?;
        let issuer = IssuerId(reader.array()?);
        let (number, issued) = (reader.varint()?, UnixSeconds(reader.varint()?));
        //= SPEC.md#revocation-lists
        //# A reader MUST refuse a list whose number is 0 or whose time is 2^35 or above.
        if number == 0 || issued.0 >= MAX_UNIX_SECONDS {
            return Err(RevocationError::OutOfRange);
        }
        let signature = reader.bytes(SIGNATURE_LEN)?.first_chunk().ok_or(RevocationError::Malformed)?;
        //= SPEC.md#revocation-lists
        //# A reader MUST refuse a list of more than 65 536 bytes, and one whose part for backends has more than 256 bytes or names more than 16 issuers.
        let backends = reader.prefixed(MAX_BACKENDS_PART)?;
        let devices = match form {
            form if form == ListForm::Whole as u8 => Ok(SerialRuns::parse(reader.rest())?),
            form if form == ListForm::Backends as u8 => Err(reader.array()?),
            _ => return Err(RevocationError::Malformed),
        };
        reader.finish()?;
        let mut part = Reader::new(backends);
        let count = usize::from(part.u8()?);
        if count > MAX_REVOKED_ISSUERS {
            return Err(RevocationError::TooLong);
        }
        let (issuers, _) = part.bytes(count.saturating_mul(8))?.as_chunks::<8>();
        //= SPEC.md#revocation-lists
        //# A reader MUST refuse a list whose issuers do not ascend strictly.
        if !issuers.is_sorted_by(|a, b| a < b) {
            return Err(RevocationError::Malformed);
        }
        let backend_serials = SerialRuns::parse(part.rest())?;
        Ok(Self { issuer, number, issued, signature, backends, issuers, backend_serials, devices, bytes })
    }

    fn devices_hash(&self) -> [u8; 32] {
        self.devices.map_or_else(|hash| hash, |serials| hash_parts(&[serials.as_bytes()]))
    }

    /// Hands out the signed message.
    fn with_message<R>(&self, with: impl FnOnce(&[u8]) -> R) -> Result<R, RevocationError> {
        let hashes = [hash_parts(&[self.backends]), self.devices_hash()];
        with_message(self.issuer, self.number, self.issued, &hashes, with)
    }
}

fn with_message<R>(
    issuer: IssuerId,
    number: u64,
    issued: UnixSeconds,
    [backends, devices]: &[[u8; 32]; 2],
    with: impl FnOnce(&[u8]) -> R,
) -> Result<R, RevocationError> {
    let mut message = [0u8; MESSAGE_MAX];
    let mut writer = Writer::new(&mut message);
    let written = writer.bytes(DOMAIN).and_then(|()| {
        writer.u8(VERSION)?;
        writer.bytes(&issuer.0)?;
        writer.varint(number)?;
        writer.varint(issued.0)?;
        writer.bytes(backends)?;
        writer.bytes(devices)
    });
    written.map_err(|_| RevocationError::OutOfRange)?;
    Ok(with(writer.written()))
}

impl TrustAnchors {
    /// Verifies a revocation list, whole or the part for devices: format, issuer, time, then the signature.
    ///
    /// Whether it is older than one that is known, [`RevocationStore::take`](super::RevocationStore::take) tells. The
    /// time is judged by the clock only: a list never expires.
    ///
    /// # Errors
    /// The first [`RevocationError`] in that order.
    pub fn verify_revocations<'a>(
        &self,
        bytes: &'a [u8],
        time: Time,
    ) -> Result<VerifiedRevocations<'a>, RevocationError> {
        let list = List::parse(bytes)?;
        //= SPEC.md#revocation-lists
        //# A verifier MUST refuse a list of an issuer that it does not trust.
        let (key, delegation) = self.authority(&list.issuer).map_err(|_| RevocationError::UnknownIssuer)?;
        //= SPEC.md#revocation-lists
        //# A verifier with a clock MUST refuse a list whose `issued` is more than 300 s above now.
        let future =
            time.clock().is_some() && list.issued.0 > time.now().0.saturating_add(CLOCK_TOLERANCE_SECS);
        //= SPEC.md#revocation-lists
        //# A verifier MUST refuse a list that an intermediate authority issued after the end of its certificate.
        let late = delegation.is_some_and(|delegation| list.issued > delegation.not_after());
        if future || late {
            return Err(RevocationError::NotYetValid);
        }
        //= SPEC.md#revocation-lists
        //# A verifier MUST check a list's signature before it takes anything from it.
        list.with_message(|message| key.verify(message, list.signature))?
            .map_err(|_| RevocationError::BadSignature)?;
        Ok(VerifiedRevocations(list))
    }
}

impl<'a> VerifiedRevocations<'a> {
    /// Returns who has signed it.
    pub const fn issuer(&self) -> IssuerId {
        self.0.issuer
    }

    /// Returns its number: later lists of the issuer have higher ones.
    pub const fn number(&self) -> u64 {
        self.0.number
    }

    /// Returns when it was signed: raises the time floor of an end without a clock.
    pub const fn issued(&self) -> UnixSeconds {
        self.0.issued
    }

    /// Tells how much of the list this is.
    pub const fn form(&self) -> ListForm {
        if self.0.devices.is_ok() { ListForm::Whole } else { ListForm::Backends }
    }

    /// Lists the authorities that are revoked: those count that the issuer has certified.
    pub fn issuers(&self) -> impl Iterator<Item = IssuerId> + 'a {
        self.0.issuers.iter().map(|id| IssuerId(*id))
    }

    /// Returns the serials of the issuer's credentials for backends that are revoked.
    pub const fn backends(&self) -> SerialRuns<'a> {
        self.0.backend_serials
    }

    /// Returns the serials of the issuer's credentials for devices that are revoked, if this is the whole list.
    pub fn devices(&self) -> Option<SerialRuns<'a>> {
        self.0.devices.ok()
    }

    /// Returns the encoded list: keep it, and give it to the other nodes.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0.bytes
    }

    /// Returns what tells this list from any other, the same for both forms: BLAKE2s-256 of the signed message.
    pub fn digest(&self) -> [u8; 32] {
        self.0.with_message(|message| hash_parts(&[message])).unwrap_or_default()
    }

    /// Writes the form for devices: the part for backends, with the hash of the other.
    #[cfg(feature = "alloc")]
    pub fn for_devices(&self) -> Vec<u8> {
        let List { issuer, number, issued, signature, backends, .. } = self.0;
        let mut out = head(ListForm::Backends, issuer, number, issued, signature, backends);
        out.extend_from_slice(&self.0.devices_hash());
        out
    }
}

#[cfg(feature = "alloc")]
fn head(
    form: ListForm,
    issuer: IssuerId,
    number: u64,
    issued: UnixSeconds,
    signature: &[u8; SIGNATURE_LEN],
    backends: &[u8],
) -> Vec<u8> {
    let mut bytes = [0u8; 1 + 1 + 8 + 10 + 10 + SIGNATURE_LEN + 2 + MAX_BACKENDS_PART];
    let mut writer = Writer::new(&mut bytes);
    let written = writer.u8(VERSION).and_then(|()| {
        writer.u8(form as u8)?;
        writer.bytes(&issuer.0)?;
        writer.varint(number)?;
        writer.varint(issued.0)?;
        writer.bytes(signature)?;
        writer.prefixed(backends)
    });
    // The buffer has room for the longest part, and longer ones were refused.
    debug_assert!(written.is_ok());
    writer.written().to_vec()
}

/// What a revocation list shall say: all that is revoked, in any order.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug)]
pub struct RevocationRequest<'a> {
    /// Its number, 1 or more: above that of each list before.
    pub number: u64,
    /// When it is signed.
    pub issued: UnixSeconds,
    /// Intermediate authorities that are revoked with all that they have signed.
    pub issuers: &'a [IssuerId],
    /// Serials of credentials for backends.
    pub backends: &'a [RangeInclusive<u32>],
    /// Serials of credentials for devices. One in the wrong part counts on backends all the same, and not on devices.
    pub devices: &'a [RangeInclusive<u32>],
}

#[cfg(feature = "alloc")]
impl RevocationRequest<'_> {
    pub(super) fn sign_with(
        &self,
        issuer: IssuerId,
        sign: impl FnOnce(&[u8]) -> [u8; SIGNATURE_LEN],
    ) -> Result<Vec<u8>, RevocationError> {
        let Self { number, issued, .. } = *self;
        if number == 0 || issued.0 >= MAX_UNIX_SECONDS {
            return Err(RevocationError::OutOfRange);
        }
        let mut issuers = self.issuers.to_vec();
        issuers.sort_unstable();
        issuers.dedup();
        let count =
            u8::try_from(issuers.len()).ok().filter(|&count| usize::from(count) <= MAX_REVOKED_ISSUERS);
        let mut backends = Vec::from([count.ok_or(RevocationError::TooLong)?]);
        issuers.iter().for_each(|id| backends.extend_from_slice(&id.0));
        encode_runs(self.backends, &mut backends);
        if backends.len() > MAX_BACKENDS_PART {
            return Err(RevocationError::TooLong);
        }
        let mut devices = Vec::new();
        encode_runs(self.devices, &mut devices);
        let hashes = [hash_parts(&[&backends]), hash_parts(&[&devices])];
        let signature = with_message(issuer, number, issued, &hashes, sign)?;
        let mut out = head(ListForm::Whole, issuer, number, issued, &signature, &backends);
        out.append(&mut devices);
        if out.len() > MAX_REVOCATION_LIST { Err(RevocationError::TooLong) } else { Ok(out) }
    }
}
