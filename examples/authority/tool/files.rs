//! Files: secrets are their owner's only, and nothing is overwritten but what says so.

use super::args::Failure;
use std::fmt::Display;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use zeroize::Zeroizing;

pub fn at(path: &Path, error: impl Display) -> Failure {
    Failure::Refused(format!("{}: {error}", path.display()))
}

/// Reads a file of no more than `most` bytes.
pub fn read_at_most(path: &Path, most: usize) -> Result<Vec<u8>, Failure> {
    let file = File::open(path).map_err(|error| at(path, error))?;
    let mut bytes = Vec::new();
    let limit = most as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| at(path, error))?;
    if bytes.len() > most { Err(at(path, format!("longer than {most} bytes"))) } else { Ok(bytes) }
}

/// Reads a public key: exactly 32 bytes.
pub fn read_key(path: &Path) -> Result<[u8; 32], Failure> {
    read_at_most(path, 32)?.try_into().map_err(|_| at(path, "a key has 32 bytes"))
}

/// Reads a secret key, if nobody else may, into memory that is wiped afterwards.
pub fn read_secret(path: &Path) -> Result<Zeroizing<[u8; 32]>, Failure> {
    let mut file = File::open(path).map_err(|error| at(path, error))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let mode = file.metadata().map_err(|error| at(path, error))?.mode();
        if mode & 0o077 != 0 {
            return Err(at(path, format!("others may read it (mode {:o}): chmod 600", mode & 0o777)));
        }
    }
    let mut key = Zeroizing::new([0u8; 32]);
    let whole = file.read_exact(&mut *key).is_ok() && file.read(&mut [0]).is_ok_and(|more| more == 0);
    if whole { Ok(key) } else { Err(at(path, "a key has 32 bytes")) }
}

/// Makes sure that a file can be written, before anything is signed or noted.
pub fn check_new(path: &Path) -> Result<(), Failure> {
    if path.exists() {
        return Err(at(path, "is there already: nothing was signed"));
    }
    match path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) {
        Some(parent) => {
            Err(at(path, format!("there is no directory {}: nothing was signed", parent.display())))
        }
        None => Ok(()),
    }
}

pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write(path, bytes, 0o644)
}

/// A secret is its owner's from its first byte on.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write(path, bytes, 0o600)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(path).map_err(|error| at(path, error))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| at(path, error))
}

/// Puts a file in the place of the one before, whole or not at all.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let next = path.with_extension("next");
    let _ = fs::remove_file(&next);
    write_new(&next, bytes)?;
    fs::rename(&next, path).map_err(|error| at(path, error))
}

pub fn append(path: &Path, line: &str) -> Result<(), Failure> {
    let mut file = OpenOptions::new().append(true).open(path).map_err(|error| at(path, error))?;
    file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| at(path, error))
}

pub fn make_directory(path: &Path) -> Result<(), Failure> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| at(path, error))
}
