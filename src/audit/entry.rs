//! The bytes of a log: header, entries, and how each is bound to the one before.

use super::event::AuditEvent;
use super::fields::put_varint;
use super::queue::Noted;
use crate::codec::{DecodeError, Reader};
use crate::crypto::{SignatureKey, SigningKey, hash_parts};
use crate::framing::ClockQuality;
use crate::limits::{AUDIT_MAX_ENTRY, MAX_UNIX_MILLIS};
use crate::time::Instant;
use alloc::vec::Vec;

/// Names a node in its log: 8 bytes that the operator chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId(pub [u8; 8]);

const MAGIC: [u8; 8] = *b"vwaudit1";
const HEADER_LABEL: &[u8] = b"vitalwire/1 audit header";
const ENTRY_LABEL: &[u8] = b"vitalwire/1 audit entry";
const CHECKPOINT_LABEL: &[u8] = b"vitalwire/1 audit checkpoint";
/// The code of a checkpoint's kind.
const CHECKPOINT: u8 = 0;
pub(super) const HASH_LEN: usize = 32;
const KEY_LEN: usize = 32;
const SIGNATURE_LEN: usize = 64;
/// The length of an entry in front of it.
pub(super) const LENGTH_LEN: usize = 2;

/// What a log, or one file of it, begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which node's log it is.
    pub node: NodeId,
    /// The sequence of the first entry.
    pub first: u64,
    /// The hash of the entry before the first one; zero in a new log.
    pub previous: [u8; 32],
    /// The key that signs the first checkpoint.
    pub key: SignatureKey,
}

impl Header {
    /// Its length, in bytes.
    pub const LEN: usize = 8 + 8 + 8 + HASH_LEN + KEY_LEN;

    /// Writes it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.node.0);
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.previous);
        out.extend_from_slice(&self.key.0);
        out
    }

    /// Reads it; `None` if these bytes begin no log of this version.
    pub fn parse(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.array().ok()? != MAGIC {
            return None;
        }
        Some(Self {
            node: NodeId(reader.array().ok()?),
            first: u64::from_le_bytes(reader.array().ok()?),
            previous: reader.array().ok()?,
            key: SignatureKey(reader.array().ok()?),
        })
    }

    /// Returns the hash from which the first entry's follows.
    pub(super) fn hash(&self) -> [u8; 32] {
        hash_parts(&[HEADER_LABEL, &self.to_bytes()])
    }
}

/// An entry of a log, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number: each is one above the one before.
    pub sequence: u64,
    /// When it was noted, by the node's own clock, which counts from the node's start.
    pub at: Instant,
    /// When, in milliseconds since 1970, if the node knew.
    pub unix_millis: Option<u64>,
    /// How good the node took its wall clock for.
    pub quality: ClockQuality,
    /// The shard where it happened.
    pub shard: u8,
    /// What it says.
    pub kind: Kind,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// All up to here is signed.
    Checkpoint {
        /// The key that signs the next checkpoint.
        next: SignatureKey,
    },
    /// Something happened.
    Event(AuditEvent),
    /// An event of a kind that this version does not know.
    Unknown {
        /// The code of its kind.
        code: u8,
        /// How many bytes it has.
        len: usize,
    },
}

fn put_front(sequence: u64, at: Instant, wall: Option<(u64, ClockQuality)>, shard: u8, out: &mut Vec<u8>) {
    put_varint(sequence, out);
    put_varint(at.as_millis(), out);
    match wall {
        None => out.push(0),
        Some((unix_millis, quality)) => {
            out.push((quality as u8).saturating_add(1));
            put_varint(unix_millis.min(MAX_UNIX_MILLIS.saturating_sub(1)), out);
        }
    }
    out.push(shard);
}

fn wall_of(noted: &Noted) -> Option<(u64, ClockQuality)> {
    noted.wall.map(|wall| (wall.unix_millis, wall.quality))
}

/// Writes the body of an event's entry.
pub(super) fn event_body(sequence: u64, noted: &Noted) -> Vec<u8> {
    let mut out = Vec::new();
    put_front(sequence, noted.at, wall_of(noted), noted.shard, &mut out);
    out.push(noted.event.code());
    noted.event.put(&mut out);
    out
}

/// Writes the body of a checkpoint: `next` is the key of the one after it.
pub(super) fn checkpoint_body(
    sequence: u64,
    at: Instant,
    wall: Option<(u64, ClockQuality)>,
    previous: &[u8; 32],
    key: &SigningKey,
    next: &SignatureKey,
) -> Vec<u8> {
    let mut out = Vec::new();
    put_front(sequence, at, wall, 0, &mut out);
    out.push(CHECKPOINT);
    out.extend_from_slice(&next.0);
    let signature = key.sign(&signed(previous, &out));
    out.extend_from_slice(&signature);
    out
}

/// What a checkpoint's signature is over: the chain up to it, and its own body before the signature.
fn signed(previous: &[u8; 32], body: &[u8]) -> [u8; 32] {
    hash_parts(&[CHECKPOINT_LABEL, previous, body])
}

/// Verifies the signature of a checkpoint's body.
pub(super) fn verify_checkpoint(previous: &[u8; 32], body: &[u8], key: &SignatureKey) -> bool {
    let Some((rest, signature)) = body.split_last_chunk::<SIGNATURE_LEN>() else { return false };
    key.verify(&signed(previous, rest), signature).is_ok()
}

/// Returns the hash of an entry.
pub(super) fn hash_of(previous: &[u8; 32], body: &[u8]) -> [u8; 32] {
    hash_parts(&[ENTRY_LABEL, previous, body])
}

/// Writes an entry as it stands in the log: length, body, hash.
pub(super) fn framed(body: &[u8], hash: &[u8; 32]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap_or(u16::MAX);
    let mut out = Vec::with_capacity(body.len().saturating_add(LENGTH_LEN).saturating_add(HASH_LEN));
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(body);
    out.extend_from_slice(hash);
    out
}

impl Entry {
    /// Reads the body of an entry, strictly.
    ///
    /// # Errors
    /// [`DecodeError`], where it is not written as SPEC.md says.
    pub fn parse(body: &[u8]) -> Result<Self, DecodeError> {
        if body.len() > AUDIT_MAX_ENTRY {
            return Err(DecodeError::OutOfRange);
        }
        let mut reader = Reader::new(body);
        let sequence = reader.varint()?;
        let at = Instant::from_millis(reader.varint()?);
        let (quality, known) = match reader.u8()? {
            0 => (ClockQuality::Unknown, false),
            1 => (ClockQuality::Unknown, true),
            2 => (ClockQuality::SetByHand, true),
            3 => (ClockQuality::Estimated, true),
            4 => (ClockQuality::Synchronised, true),
            _ => return Err(DecodeError::OutOfRange),
        };
        let unix_millis = if known { Some(reader.varint()?) } else { None };
        if unix_millis.is_some_and(|millis| millis >= MAX_UNIX_MILLIS) {
            return Err(DecodeError::OutOfRange);
        }
        let shard = reader.u8()?;
        let code = reader.u8()?;
        let kind = if code == CHECKPOINT {
            let next = SignatureKey(reader.array()?);
            reader.array::<SIGNATURE_LEN>()?;
            Kind::Checkpoint { next }
        } else {
            match AuditEvent::take(code, &mut reader)? {
                Some(event) => Kind::Event(event),
                None => Kind::Unknown { code, len: reader.rest().len() },
            }
        };
        reader.finish()?;
        Ok(Self { sequence, at, unix_millis, quality, shard, kind })
    }
}
