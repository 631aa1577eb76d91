use super::entry::{Header, NodeId};
use super::log::{AuditLog, AuditSink, LogState, SinkFailed, SyncPoint};
use super::verifier::{Broken, Verifier, VerifyError, Why, read_log};
use crate::crypto::SigningKey;
use crate::entropy::{Entropy, EntropyError};
use crate::limits::{AUDIT_FILE_LEN, AUDIT_MIN_FILE_LEN};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// When a file is synchronised with its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SyncPolicy {
    /// After every run that wrote something: a power cut loses what was noted since.
    #[default]
    EveryRun,
    /// With checkpoints only: a power cut loses a minute at the most.
    Checkpoints,
}

/// Why a file cannot be opened, or gone on with. It was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It could not be read or written.
    #[error("the audit log's file: {0}")]
    Io(#[from] io::Error),
    /// It is broken before its end. Keep it, and begin another one.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// It is another node's.
    #[error("this is the log of node {0}")]
    OtherNode(NodeId),
    /// The key file has no key that signs its next checkpoint: it is missing, or the log was cut.
    #[error("no key is kept that goes on with this log: the key file is missing, or the log was cut")]
    KeyLost,
    /// The generator is not ready.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// A log in a file, with its keys in another one beside it, named as it is with `.key` behind.
///
/// After a restart it goes on with the same chain. Half an entry at the end, from a power cut, is cut off, which the log
/// says ([`AuditEvent::Recovered`](super::AuditEvent::Recovered)). A file that is broken elsewhere is left alone. One process at a time
/// may have it open.
///
/// Before it is longer than [`AUDIT_FILE_LEN`] ([`AuditFile::set_max_len`]) it is closed: it ends with a checkpoint, gets
/// the number of its first entry behind its name (`audit.log.00000000000000000000`), and the log goes on in another file of
/// the old name, whose header has the last hash of the one before. [`AuditFile::closed`] lists them in their order. Nothing
/// is ever deleted: move closed files to where logs are kept; the last of them is needed here until the present file has
/// its first checkpoint.
///
/// # Security
/// The files are made readable to their owner only, where the system knows that. A key that was used is erased by
/// replacing the file; what the disk keeps of it below the file system is beyond this library.
#[derive(Debug)]
pub struct AuditFile {
    path: PathBuf,
    file: File,
    /// The sequence with which the present file begins; none while it has its closed name and the next one is not there.
    first: Option<u64>,
    most: u64,
    policy: SyncPolicy,
    /// What of the file is good.
    len: u64,
    /// Something may stand behind that.
    dirty: bool,
}

impl AuditFile {
    /// Opens a log, or begins one where there is none.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open(
        path: &Path,
        node: NodeId,
        policy: SyncPolicy,
        rng: &mut dyn Entropy,
    ) -> Result<(Self, AuditLog), FileError> {
        let file = options().truncate(false).open(path)?;
        let found = file.metadata()?.len();
        let sink = |file, first, len, dirty| Self {
            path: path.to_owned(),
            file,
            first: Some(first),
            most: AUDIT_FILE_LEN,
            policy,
            len,
            dirty,
        };
        if found >= Header::LEN as u64 {
            let (verifier, torn) = recover(&file, found)?;
            let (state, key) = resumed(&verifier, node, path)?;
            let mut log = AuditLog::resume(state, key);
            log.recovered(torn);
            let first = verifier.report().header.first;
            return Ok((sink(file, first, verifier.offset(), torn > 0), log));
        }
        let Some(last) = Self::closed(path)?.pop() else {
            // Nothing was ever logged.
            return Ok((sink(file, 0, 0, found > 0), AuditLog::new(node, rng)?));
        };
        // The node stopped between two files.
        let mut before = BufReader::new(File::open(&last)?);
        let (verifier, left) = read_log(&mut before, None, &mut |_, _| {})?;
        if left > 0 || verifier.report().unsigned > 0 {
            let sequence = verifier.report().header.first.saturating_add(verifier.report().entries);
            return Err(Broken { at: verifier.offset(), sequence, why: Why::NotClosed }.into());
        }
        let (mut state, key) = resumed(&verifier, node, path)?;
        let header = state.next_header(&key);
        state.head = header.hash();
        let file = start_file(path, &header.to_bytes())?;
        Ok((sink(file, header.first, Header::LEN as u64, false), AuditLog::resume(state, key)))
    }

    /// Says how long a file may be, in bytes; at least [`AUDIT_MIN_FILE_LEN`].
    pub fn set_max_len(&mut self, bytes: u64) {
        self.most = bytes.max(AUDIT_MIN_FILE_LEN);
    }

    /// Lists the closed files of the log at `path`, in the order in which they follow each other; the file at `path`
    /// itself comes after them. It only looks at names: that they do follow is for [`read_next`](super::read_next) to say.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn closed(path: &Path) -> io::Result<std::vec::Vec<PathBuf>> {
        let mut prefix = path.file_name().unwrap_or_default().to_owned();
        prefix.push(".");
        let mut found = std::vec::Vec::new();
        for entry in std::fs::read_dir(directory_of(path))? {
            let entry = entry?;
            let name = entry.file_name();
            let digits = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
            if digits.is_some_and(|digits| digits.len() == DIGITS && digits.iter().all(u8::is_ascii_digit)) {
                found.push(path.with_file_name(name));
            }
        }
        found.sort();
        Ok(found)
    }

    fn try_append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if core::mem::replace(&mut self.dirty, true) {
            self.file.set_len(self.len)?;
        }
        self.file.seek(SeekFrom::Start(self.len))?;
        self.file.write_all(bytes)?;
        self.len = self.len.saturating_add(bytes.len() as u64);
        self.dirty = false;
        Ok(())
    }

    fn try_begin(&mut self, header: &[u8]) -> io::Result<()> {
        if let Some(first) = self.first {
            let closed = with_suffix(&self.path, &std::format!(".{first:0DIGITS$}"));
            if closed.exists() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            std::fs::rename(&self.path, closed)?;
            self.first = None;
        }
        self.file = start_file(&self.path, header)?;
        self.first = header.first_chunk().and_then(Header::parse).map(|header| header.first);
        self.len = header.len() as u64;
        self.dirty = false;
        Ok(())
    }

    fn try_keep(&self, present: &SigningKey, next: Option<&SigningKey>) -> io::Result<()> {
        let next = next.map_or(&[][..], |next| next.expose());
        put_file(&keys_of(&self.path), &[present.expose(), next]).map(drop)
    }
}

/// What must fit besides what is there: the longest entry, and a checkpoint, which is at most 163 bytes.
const ROOM: u64 = Verifier::LONGEST as u64 + 256;
const _: () = assert!(Header::LEN as u64 + ROOM < AUDIT_MIN_FILE_LEN);
/// How many digits a closed file has behind its name: as many as any sequence has.
const DIGITS: usize = 20;

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn keys_of(path: &Path) -> PathBuf {
    with_suffix(path, ".key")
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// For files that only their owner may read, where the system knows that.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Puts a whole file in the place of another one, or of none: after a power cut it is there, or the former one is.
fn put_file(path: &Path, parts: &[&[u8]]) -> io::Result<File> {
    let fresh = with_suffix(path, ".new");
    let mut file = options().truncate(true).open(&fresh)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    // The new name survives a power cut, too, where a directory can be synchronised.
    if cfg!(unix) {
        File::open(directory_of(path))?.sync_all()?;
    }
    Ok(file)
}

/// Begins a file with its header.
fn start_file(path: &Path, header: &[u8]) -> io::Result<File> {
    put_file(path, &[header])
}

/// Returns where a log that was verified goes on, and the key for it.
fn resumed(verifier: &Verifier, node: NodeId, path: &Path) -> Result<(LogState, SigningKey), FileError> {
    let report = verifier.report();
    if report.header.node != node {
        return Err(FileError::OtherNode(report.header.node));
    }
    let key = read_keys(&keys_of(path))?.into_iter().find(|key| key.public_key() == report.next_key);
    let key = key.ok_or(FileError::KeyLost)?;
    let sequence = report.header.first.saturating_add(report.entries);
    Ok((LogState { node, sequence, head: report.head, unsigned: report.unsigned }, key))
}

/// Verifies what is there, and tells how many bytes at the end are half an entry.
fn recover(file: &File, found: u64) -> Result<(Verifier, u64), FileError> {
    let read = |bytes: u64| {
        let mut from = BufReader::new(file);
        from.seek(SeekFrom::Start(0))?;
        read_log(&mut from.take(bytes), None, &mut |_, _| {})
    };
    match read(found) {
        Ok(done) => Ok(done),
        Err(VerifyError::Broken(Broken { at, why: Why::HashMismatch | Why::TooLong, .. }))
            if at > 0 && is_last(file, at, found)? =>
        {
            // A disk may write the blocks of an entry in any order.
            let (verifier, _) = read(at).map_err(FileError::from)?;
            Ok((verifier, found.saturating_sub(at)))
        }
        Err(error) => Err(error.into()),
    }
}

/// Tells whether nothing can stand behind the entry at this offset.
fn is_last(mut file: &File, at: u64, found: u64) -> io::Result<bool> {
    let left = found.saturating_sub(at);
    if left > Verifier::LONGEST as u64 {
        return Ok(false);
    }
    let mut len = [0; 2];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut len)?;
    Ok(u64::from(u16::from_le_bytes(len)).saturating_add(34) >= left)
}

fn read_keys(path: &Path) -> io::Result<std::vec::Vec<SigningKey>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(std::vec::Vec::new()),
        Err(error) => return Err(error),
    };
    let mut keys = std::vec::Vec::new();
    let mut bytes = Zeroizing::new([0u8; 32]);
    while keys.len() < 2 && file.read_exact(&mut *bytes).is_ok() {
        keys.push(SigningKey::from_bytes(*bytes));
    }
    Ok(keys)
}

impl From<VerifyError> for FileError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Broken(broken) => Self::Broken(broken),
            VerifyError::Read(error) => Self::Io(error),
        }
    }
}

impl AuditSink for AuditFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), SinkFailed> {
        self.try_append(bytes).map_err(|_| SinkFailed)
    }

    fn sync(&mut self, at: SyncPoint) -> Result<(), SinkFailed> {
        match (at, self.policy) {
            (SyncPoint::Run, SyncPolicy::Checkpoints) => Ok(()),
            _ => self.file.sync_data().map_err(|_| SinkFailed),
        }
    }

    fn is_full(&self) -> bool {
        self.len.saturating_add(ROOM) > self.most
    }

    fn begin(&mut self, header: &[u8]) -> Result<(), SinkFailed> {
        self.try_begin(header).map_err(|_| SinkFailed)
    }

    fn keep_keys(&mut self, present: &SigningKey, next: Option<&SigningKey>) -> Result<(), SinkFailed> {
        self.try_keep(present, next).map_err(|_| SinkFailed)
    }
}
