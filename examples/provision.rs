//! Makes an authority, a backend and some devices, writes their keys and credentials to files, and reads them back.
//!
//! `cargo run --example provision -- keys --devices 2`

use std::error::Error;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;
use vitalwire::crypto::{PublicKey, SignatureKey, SigningKey, StaticSecret};
use vitalwire::identity::{
    Authority, Credential, CredentialRequest, LocalIdentity, Role, Scopes, SubjectId, Time, TrustAnchors,
};
use vitalwire::{Entropy, OsEntropy, UnixSeconds};
use zeroize::Zeroizing;

const HELP: &str = "\
Makes an authority, a backend and devices, and writes them to a directory.

usage: cargo run --example provision -- DIRECTORY [--devices N]

  DIRECTORY       made if it is not there; no file in it is ever overwritten
  --devices N     1 to 1000 (2)
  --help          this text

  authority.key   secret: keep it off line; it signs credentials    authority.pub   what everybody trusts
  NAME.key        secret: stays on NAME    NAME.pub   its public key    NAME.credential   signed by the authority

Secrets are 32 raw bytes, readable by their owner only. None is printed.";

const YEAR: u64 = 365 * 86_400;

fn main() -> ExitCode {
    let (directory, devices) = match arguments(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("provision: {error}; --help says more");
            return ExitCode::from(2);
        }
    };
    match provision(&directory, devices) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("provision: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Option<(PathBuf, usize)>, String> {
    let (mut directory, mut devices) = (None, 2);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--help" | "-h" => return Ok(None),
            "--devices" => {
                let number = words.next().and_then(|text| text.parse().ok());
                let number = number.filter(|number| (1..=1000).contains(number));
                devices = number.ok_or("--devices takes a number from 1 to 1000")?;
            }
            option if option.starts_with('-') => return Err(format!("unknown argument `{option}`")),
            path if directory.is_none() => directory = Some(PathBuf::from(path)),
            path => return Err(format!("one directory is enough, what is `{path}`?")),
        }
    }
    directory.map(|directory| Some((directory, devices))).ok_or_else(|| "which directory?".to_owned())
}

fn provision(directory: &Path, devices: usize) -> Result<(), Box<dyn Error>> {
    let names: Vec<(String, Role)> = std::iter::once(("backend".to_owned(), Role::Backend))
        .chain((1..=devices).map(|n| (format!("device-{n:04}"), Role::Device)))
        .collect();
    let files = names.iter().map(|(name, _)| name.as_str()).chain(["authority"]);
    for path in files.flat_map(|name| ["key", "pub", "credential"].map(|kind| file(directory, name, kind))) {
        if path.exists() {
            return Err(format!("{} is there already: nothing was made", path.display()).into());
        }
    }
    make_directory(directory)?;

    // The authority: its key belongs off line, in a safe.
    let authority = Authority::new(SigningKey::generate(&mut OsEntropy)?);
    write(&file(directory, "authority", "key"), authority.signing_key().expose(), Secrecy::Secret)?;
    write(&file(directory, "authority", "pub"), &authority.public_key().0, Secrecy::Public)?;

    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    for (serial, (name, role)) in (1u32..).zip(&names) {
        // A device makes its own key, where it can: then the secret never leaves it.
        let secret = StaticSecret::generate(&mut OsEntropy)?;
        let public = secret.public_key();
        let mut subject = SubjectId([0; 16]);
        OsEntropy.fill(&mut subject.0)?;
        let (scopes, years) = match role {
            Role::Device => (Scopes::PUBLISH, 5),
            Role::Backend => (Scopes::NONE, 1),
        };
        let credential = authority.issue(
            &public,
            &CredentialRequest {
                serial,
                subject,
                role: *role,
                scopes,
                issued: UnixSeconds(now),
                not_before: UnixSeconds(now),
                not_after: UnixSeconds(now + years * YEAR),
            },
        )?;
        write(&file(directory, name, "key"), secret.expose(), Secrecy::Secret)?;
        write(&file(directory, name, "pub"), &public.0, Secrecy::Public)?;
        write(&file(directory, name, "credential"), credential.as_bytes(), Secrecy::Public)?;
    }

    // Everything below is what a device or a backend does when it starts: it needs its own files and authority.pub.
    let trusted = SignatureKey(*read_key(&file(directory, "authority", "pub"))?);
    let anchors = TrustAnchors::new(&[trusted])?;
    println!("{}  trusts {}", directory.display(), authority.issuer());
    for (name, role) in &names {
        let identity = load(directory, name)?;
        let time = Time::known(UnixSeconds(now));
        let verified =
            anchors.verify(identity.credential().as_bytes(), &identity.public_key(), *role, time)?;
        println!(
            "{name:<12}  {role:?}  {}  serial {}  credential of {} bytes, valid until {} (Unix time)",
            verified.identity(),
            verified.serial(),
            identity.credential().as_bytes().len(),
            verified.not_after().0
        );
    }
    Ok(())
}

/// Reads an identity as a device or backend does at its start.
fn load(directory: &Path, name: &str) -> Result<LocalIdentity, Box<dyn Error>> {
    let secret = StaticSecret::from_bytes(*read_key(&file(directory, name, "key"))?);
    // The public key is stored too, as computing it takes a scalar multiplication.
    let public = PublicKey(*read_key(&file(directory, name, "pub"))?);
    let path = file(directory, name, "credential");
    let credential = Credential::from_bytes(&fs::read(&path).map_err(|error| at(&path, error))?)
        .map_err(|error| at(&path, error))?;
    Ok(LocalIdentity::new(Arc::new(secret), public, credential))
}

fn file(directory: &Path, name: &str, kind: &str) -> PathBuf {
    directory.join(format!("{name}.{kind}"))
}

fn at(path: &Path, error: impl std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Secrecy {
    Secret,
    Public,
}

/// Writes a file that must not be there yet. A secret is its owner's from its first byte on.
fn write(path: &Path, bytes: &[u8], secrecy: Secrecy) -> Result<(), String> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(if secrecy == Secrecy::Secret { 0o600 } else { 0o644 });
    }
    let mut file = options.open(path).map_err(|error| at(path, error))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| at(path, error))
}

/// Reads exactly 32 bytes, into memory that is wiped afterwards.
fn read_key(path: &Path) -> Result<Zeroizing<[u8; 32]>, String> {
    let mut file = File::open(path).map_err(|error| at(path, error))?;
    let mut key = Zeroizing::new([0u8; 32]);
    let whole = file.read_exact(&mut *key).is_ok() && file.read(&mut [0]).is_ok_and(|more| more == 0);
    if whole { Ok(key) } else { Err(at(path, "a key has 32 bytes")) }
}

fn make_directory(path: &Path) -> Result<(), String> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path).map_err(|error| at(path, error))
}
