use super::entry::{Header, NodeId};
use super::log::{AuditLog, AuditSink, LogState, SinkFailed, SyncPoint};
use super::verifier::{Broken, Verifier, VerifyError, Why, read_log};
use crate::crypto::SigningKey;
use crate::entropy::{Entropy, EntropyError};
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
/// # Security
/// The key file is made readable to its owner only, where the system knows that. A key that was used is erased by
/// replacing the file; what the disk keeps of it below the file system is beyond this library.
#[derive(Debug)]
pub struct AuditFile {
    file: File,
    keys: PathBuf,
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
        let mut keys = path.as_os_str().to_owned();
        keys.push(".key");
        let keys = PathBuf::from(keys);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let found = file.metadata()?.len();
        if found < Header::LEN as u64 {
            // Nothing was ever logged.
            let log = AuditLog::new(node, rng)?;
            return Ok((Self { file, keys, policy, len: 0, dirty: found > 0 }, log));
        }
        let (verifier, torn) = recover(&file, found)?;
        let report = verifier.report();
        if report.header.node != node {
            return Err(FileError::OtherNode(report.header.node));
        }
        let key = read_keys(&keys)?.into_iter().find(|key| key.public_key() == report.next_key);
        let key = key.ok_or(FileError::KeyLost)?;
        let sequence = report.header.first.saturating_add(report.entries);
        let state = LogState { node, sequence, head: report.head, unsigned: report.unsigned };
        let mut log = AuditLog::resume(state, key);
        log.recovered(torn);
        Ok((Self { file, keys, policy, len: verifier.offset(), dirty: torn > 0 }, log))
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

    fn try_keep(&self, present: &SigningKey, next: Option<&SigningKey>) -> io::Result<()> {
        let mut fresh = self.keys.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&fresh)?;
        file.write_all(present.expose())?;
        if let Some(next) = next {
            file.write_all(next.expose())?;
        }
        file.sync_all()?;
        std::fs::rename(&fresh, &self.keys)?;
        // The new name survives a power cut, too, where a directory can be synchronised.
        if let Some(directory) = self.keys.parent().filter(|_| cfg!(unix)) {
            let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
            File::open(directory)?.sync_all()?;
        }
        Ok(())
    }
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

    fn keep_keys(&mut self, present: &SigningKey, next: Option<&SigningKey>) -> Result<(), SinkFailed> {
        self.try_keep(present, next).map_err(|_| SinkFailed)
    }
}
