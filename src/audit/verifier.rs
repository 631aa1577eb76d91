use super::entry::{Entry, HASH_LEN, Header, Kind, LENGTH_LEN, hash_of, verify_checkpoint};
use crate::crypto::SignatureKey;
use crate::limits::AUDIT_MAX_ENTRY;
use core::fmt;

/// What a log that verifies has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// How it begins: the first one, of several files.
    pub header: Header,
    /// How many files it is in.
    pub files: u64,
    /// How many entries, checkpoints included.
    pub entries: u64,
    /// How many checkpoints.
    pub checkpoints: u64,
    /// How many entries stand behind the last checkpoint: nothing proves that they are as they were written.
    pub unsigned: u64,
    /// The hash of the last entry. Compare it with what the node told somebody outside.
    pub head: [u8; 32],
    /// The key that will sign the next checkpoint.
    pub next_key: SignatureKey,
    /// Bytes of half an entry at the end: the node stopped while it wrote, or the log was cut there.
    pub torn: u64,
}

/// Why a log is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Why {
    /// It does not begin as a log of this version.
    #[error("this does not begin as an audit log")]
    NotALog,
    /// It does not begin with the key that the auditor noted.
    #[error("the log does not begin with the key that was noted")]
    OtherKey,
    /// An entry is longer than any may be.
    #[error("an entry is longer than any may be")]
    TooLong,
    /// An entry's hash does not follow from it and the one before: one of them was altered, or some were removed.
    #[error("the hash does not follow from the entry and the one before")]
    HashMismatch,
    /// An entry is not written as it must be.
    #[error("the entry is malformed")]
    Malformed,
    /// An entry's sequence is not one above the one before.
    #[error("the sequence is not one above the one before")]
    SequenceGap,
    /// A checkpoint is not signed by the key that the one before named: the log was written anew.
    #[error("the checkpoint is not signed by the key that the one before named")]
    BadSignature,
    /// The file before does not end with a checkpoint, as one does that the node closed: its end was cut off, or it is
    /// the node's present one.
    #[error("the file before does not end with a checkpoint: its end was cut off, or it is the last one")]
    NotClosed,
    /// A file of another node stands among them.
    #[error("the file is another node's")]
    OtherNode,
    /// A file does not begin with the entry with which it should.
    #[error(
        "the file does not begin where the one before ends: one is missing, was cut, or is in the wrong place"
    )]
    FileGap,
    /// A file does not begin with the hash and key with which the one before ends: one of them was replaced.
    #[error("the file does not follow from the one before: one of them was replaced")]
    OtherFile,
}

/// Where a log is broken, and why. What stands before is verified as far as its checkpoints go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// How many bytes stand before the entry.
    pub at: u64,
    /// The sequence that the entry should have.
    pub sequence: u64,
    /// What is wrong.
    pub why: Why,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken at byte {}, entry {}: {}", self.at, self.sequence, self.why)
    }
}

impl core::error::Error for Broken {}

/// What a [`Verifier`] made of the bytes that it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is not all of an entry: show it more.
    NeedsMore,
    /// An entry of so many bytes, which is as it should be.
    Entry(usize, Entry),
}

/// Verifies a log entry by entry, for those who bring their own reader; else see [`verify`].
#[derive(Clone, Debug)]
pub struct Verifier {
    report: Report,
    offset: u64,
    sequence: u64,
}

impl Verifier {
    /// How many bytes the longest entry takes: show it as many at once, or all that are left.
    pub const LONGEST: usize = LENGTH_LEN + AUDIT_MAX_ENTRY + HASH_LEN;

    /// Begins with the first bytes of the log. `key` is the one that the auditor noted when the log was begun, if he has.
    ///
    /// # Errors
    /// [`Broken`] with [`Why::NotALog`] or [`Why::OtherKey`].
    pub fn new(header: &[u8], key: Option<&SignatureKey>) -> Result<Self, Broken> {
        let broken = |why| Broken { at: 0, sequence: 0, why };
        let header = header.first_chunk().and_then(Header::parse).ok_or(broken(Why::NotALog))?;
        if key.is_some_and(|key| *key != header.key) {
            return Err(broken(Why::OtherKey));
        }
        let report = Report {
            header,
            files: 1,
            entries: 0,
            checkpoints: 0,
            unsigned: 0,
            head: header.hash(),
            next_key: header.key,
            torn: 0,
        };
        Ok(Self { report, offset: Header::LEN as u64, sequence: header.first })
    }

    /// Takes the entry that these bytes begin with.
    ///
    /// # Errors
    /// [`Broken`] says where and why; there is nothing behind it that could be verified.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, Broken> {
        let broken = |why| Broken { at: self.offset, sequence: self.sequence, why };
        let Some((len, rest)) = bytes.split_first_chunk::<LENGTH_LEN>() else { return Ok(Step::NeedsMore) };
        let len = usize::from(u16::from_le_bytes(*len));
        //= SPEC.md#audit-log
        //# A verifier MUST refuse an entry whose hash, sequence or signature does not follow from what stands before it.
        if len > AUDIT_MAX_ENTRY {
            return Err(broken(Why::TooLong));
        }
        let Some((body, rest)) = rest.split_at_checked(len) else { return Ok(Step::NeedsMore) };
        let Some(hash) = rest.first_chunk::<HASH_LEN>() else { return Ok(Step::NeedsMore) };
        if *hash != hash_of(&self.report.head, body) {
            return Err(broken(Why::HashMismatch));
        }
        let entry = Entry::parse(body).map_err(|_| broken(Why::Malformed))?;
        if entry.sequence != self.sequence {
            return Err(broken(Why::SequenceGap));
        }
        if let Kind::Checkpoint { next } = entry.kind {
            if !verify_checkpoint(&self.report.head, body, &self.report.next_key) {
                return Err(broken(Why::BadSignature));
            }
            self.report.next_key = next;
            self.report.checkpoints = self.report.checkpoints.saturating_add(1);
            self.report.unsigned = 0;
        } else {
            self.report.unsigned = self.report.unsigned.saturating_add(1);
        }
        self.report.head = *hash;
        self.report.entries = self.report.entries.saturating_add(1);
        self.sequence = self.sequence.saturating_add(1);
        let taken = LENGTH_LEN.saturating_add(len).saturating_add(HASH_LEN);
        self.offset = self.offset.saturating_add(taken as u64);
        Ok(Step::Entry(taken, entry))
    }

    /// Goes on with the next file, which begins with these bytes. Of the one before, so many bytes are left over that are
    /// not all of an entry.
    ///
    /// # Errors
    /// [`Broken`] with [`Why::NotALog`], or the reason why this is not the file that follows.
    //= SPEC.md#audit-log
    //# A verifier MUST refuse a file that does not follow from the one before it, and one before it that no checkpoint ends.
    pub fn follow(&mut self, left: u64, header: &[u8]) -> Result<(), Broken> {
        let broken = |why| Broken { at: 0, sequence: self.sequence, why };
        let report = &mut self.report;
        let header = header.first_chunk().and_then(Header::parse).ok_or(broken(Why::NotALog))?;
        if header.node != report.header.node {
            return Err(broken(Why::OtherNode));
        }
        if left > 0 || report.unsigned > 0 {
            return Err(broken(Why::NotClosed));
        }
        if header.first != self.sequence {
            return Err(broken(Why::FileGap));
        }
        if header.previous != report.head || header.key != report.next_key {
            return Err(broken(Why::OtherFile));
        }
        report.head = header.hash();
        report.files = report.files.saturating_add(1);
        self.offset = Header::LEN as u64;
        Ok(())
    }

    /// Returns what was verified so far.
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// Returns how many bytes were verified, of the present file.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Ends: so many bytes are left, which are not all of an entry.
    pub const fn finish(mut self, left: u64) -> Report {
        self.report.torn = left;
        self.report
    }
}

/// Why a log could not be verified to its end.
#[cfg(feature = "std")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// It is broken.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// It could not be read.
    #[error("the log cannot be read: {0}")]
    Read(#[from] std::io::Error),
}

/// Verifies a log from its first byte to its last. `key` is the one that the auditor noted when the log was begun, if he
/// has: without it a log that was written anew from the beginning verifies, too.
///
/// # Errors
/// [`VerifyError`].
#[cfg(feature = "std")]
pub fn verify(reader: &mut dyn std::io::Read, key: Option<&SignatureKey>) -> Result<Report, VerifyError> {
    read_log(reader, key, &mut |_, _| {}).map(|(verifier, left)| verifier.finish(left))
}

/// Bytes that are read at once.
#[cfg(feature = "std")]
const AT_ONCE: u64 = 16 * Verifier::LONGEST as u64;

/// Verifies a log and hands out its entries as it comes to them, each with the verifier behind it: that has the
/// entry's hash as its report's head. Returns the verifier, and how many bytes are left over that are not all of an entry.
///
/// # Errors
/// As [`verify`]: the entries before were handed out already.
#[cfg(feature = "std")]
pub fn read_log(
    reader: &mut dyn std::io::Read,
    key: Option<&SignatureKey>,
    each: &mut dyn FnMut(&Verifier, Entry),
) -> Result<(Verifier, u64), VerifyError> {
    let verifier = Verifier::new(&read_header(reader)?, key)?;
    read_entries(verifier, reader, each)
}

/// Goes on with the next file of a log: `before` is what [`read_log`], or this, returned for the one before.
///
/// ```no_run
/// use std::fs::File;
/// use vitalwire::audit::{Report, VerifyError, read_log, read_next};
/// fn verify(first: &mut File, others: &mut [File]) -> Result<Report, VerifyError> {
///     let mut done = read_log(first, None, &mut |_, _| {})?;
///     for file in others {
///         done = read_next(done, file, &mut |_, _| {})?;
///     }
///     let (verifier, left) = done;
///     Ok(verifier.finish(left))
/// }
/// ```
///
/// # Errors
/// As [`verify`], and if the file does not follow.
#[cfg(feature = "std")]
pub fn read_next(
    before: (Verifier, u64),
    reader: &mut dyn std::io::Read,
    each: &mut dyn FnMut(&Verifier, Entry),
) -> Result<(Verifier, u64), VerifyError> {
    let (mut verifier, left) = before;
    verifier.follow(left, &read_header(reader)?)?;
    read_entries(verifier, reader, each)
}

#[cfg(feature = "std")]
fn read_header(reader: &mut dyn std::io::Read) -> std::io::Result<alloc::vec::Vec<u8>> {
    use std::io::Read as _;
    let mut header = alloc::vec::Vec::new();
    reader.take(Header::LEN as u64).read_to_end(&mut header)?;
    Ok(header)
}

#[cfg(feature = "std")]
fn read_entries(
    mut verifier: Verifier,
    reader: &mut dyn std::io::Read,
    each: &mut dyn FnMut(&Verifier, Entry),
) -> Result<(Verifier, u64), VerifyError> {
    use std::io::Read as _;
    let mut buffer: alloc::vec::Vec<u8> = alloc::vec::Vec::new();
    let mut start = 0usize;
    let mut ended = false;
    loop {
        match verifier.step(buffer.get(start..).unwrap_or_default())? {
            Step::Entry(taken, entry) => {
                start = start.saturating_add(taken);
                each(&verifier, entry);
            }
            Step::NeedsMore if ended => {
                return Ok((verifier, buffer.len().saturating_sub(start) as u64));
            }
            Step::NeedsMore => {
                buffer.drain(..start.min(buffer.len()));
                start = 0;
                ended = reader.take(AT_ONCE).read_to_end(&mut buffer)? == 0;
            }
        }
    }
}
