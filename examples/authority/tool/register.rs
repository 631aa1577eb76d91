//! What an authority has signed: one text file that only grows, and the latest revocation list.

use super::args::Failure;
use super::files::{append, at, read_at_most, replace};
use super::show;
use std::fs::{self, File, OpenOptions};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use vitalwire::UnixSeconds;
use vitalwire::identity::*;
use vitalwire::limits::MAX_REVOCATION_LIST;

/// One line of the register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Issued {
        serial: u32,
        subject: SubjectId,
        role: Role,
        scopes: Scopes,
        not_after: UnixSeconds,
    },
    Certified {
        serial: u32,
        issuer: IssuerId,
    },
    /// A list was signed with this number.
    Listed {
        number: u64,
    },
}

/// The longest register that is read, in bytes: some hundred thousand lines.
const MAX_REGISTER: usize = 64 << 20;

pub struct Register {
    path: PathBuf,
    list_path: PathBuf,
    entries: Vec<Entry>,
    revoked: Vec<RangeInclusive<u32>>,
    issuers: Vec<IssuerId>,
    number: u64,
    lock: Lock,
}

/// Nobody else works on the register meanwhile.
struct Lock(PathBuf);

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Entry {
    fn line(&self) -> String {
        match self {
            Self::Issued { serial, subject, role, scopes, not_after } => {
                format!("issued {serial} {subject} {} {} {}\n", *role as u8, scopes.bits(), not_after.0)
            }
            Self::Certified { serial, issuer } => format!("certified {serial} {issuer}\n"),
            Self::Listed { number } => format!("listed {number}\n"),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["issued", serial, subject, role, scopes, not_after] => Some(Self::Issued {
                serial: serial.parse().ok()?,
                subject: SubjectId(show::unhex(subject, "").ok()?),
                role: Role::from_code(role.parse().ok()?)?,
                scopes: Scopes::from_bits(scopes.parse().ok()?),
                not_after: UnixSeconds(not_after.parse().ok()?),
            }),
            ["certified", serial, issuer] => Some(Self::Certified {
                serial: serial.parse().ok()?,
                issuer: IssuerId(show::unhex(issuer, "").ok()?),
            }),
            ["listed", number] => Some(Self::Listed { number: number.parse().ok()? }),
            _ => None,
        }
    }

    const fn serial(&self) -> Option<u32> {
        match self {
            Self::Issued { serial, .. } | Self::Certified { serial, .. } => Some(*serial),
            Self::Listed { .. } => None,
        }
    }
}

impl Register {
    pub fn open(directory: &Path, authority: &Authority) -> Result<Self, Failure> {
        let lock = directory.join("lock");
        let opened = OpenOptions::new().write(true).create_new(true).open(&lock);
        opened.map_err(|error| {
            at(&lock, format!("{error}: is the authority in use? If no other command runs, remove this file"))
        })?;
        let lock = Lock(lock);
        let path = directory.join("register");
        let text = String::from_utf8(read_at_most(&path, MAX_REGISTER)?);
        let text = text.map_err(|_| at(&path, "not a register"))?;
        let mut entries = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let entry = Entry::parse(line).ok_or_else(|| at(&path, format!("line {number} is damaged")))?;
            entries.push(entry);
        }
        if !text.is_empty() && !text.ends_with('\n') {
            return Err(at(&path, "its last line is cut off"));
        }
        let numbers = entries.iter().filter_map(|entry| match entry {
            Entry::Listed { number } => Some(*number),
            _ => None,
        });
        let number = numbers.max().unwrap_or(0);
        let list_path = directory.join("revocations");
        let mut register =
            Self { path, list_path, entries, revoked: Vec::new(), issuers: Vec::new(), number, lock };
        register.read_list(authority)?;
        Ok(register)
    }

    /// Reads the latest list, which must be the one that the register knows of.
    fn read_list(&mut self, authority: &Authority) -> Result<(), Failure> {
        if self.number == 0 && File::open(&self.list_path).is_err() {
            return Ok(());
        }
        if !self.list_path.exists() {
            let why = format!("is gone; the register knows of list {}: bring it back", self.number);
            return Err(at(&self.list_path, why));
        }
        let bytes = read_at_most(&self.list_path, MAX_REVOCATION_LIST)?;
        let anchors = TrustAnchors::new(&[authority.public_key()]).map_err(Failure::refused)?;
        let any_time = Time::floor_only(UnixSeconds(0));
        let list = anchors.verify_revocations(&bytes, any_time);
        let list = list.map_err(|error| at(&self.list_path, error))?;
        // One more than the register says: it was signed, and the line was not written any more.
        if list.number() < self.number {
            let error = RevocationError::Rollback { known: self.number };
            return Err(at(&self.list_path, error));
        }
        self.number = list.number();
        self.issuers = list.issuers().collect();
        let devices = list.devices().ok_or_else(|| at(&self.list_path, RevocationError::Partial))?;
        self.revoked = list.backends().iter().chain(devices.iter()).collect();
        Ok(())
    }

    pub const fn number(&self) -> u64 {
        self.number
    }

    pub fn list_path(&self) -> &Path {
        &self.list_path
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn is_revoked(&self, serial: u32) -> bool {
        self.revoked.iter().any(|run| run.contains(&serial))
    }

    /// Tells whether anything was issued with one of these serials.
    pub fn has_issued(&self, run: &RangeInclusive<u32>) -> bool {
        self.entries.iter().filter_map(Entry::serial).any(|serial| run.contains(&serial))
    }

    pub fn next_serial(&self) -> Result<u32, Failure> {
        let highest = self.entries.iter().filter_map(Entry::serial).max().unwrap_or(0);
        highest.checked_add(1).ok_or_else(|| Failure::Refused("there is no serial left".into()))
    }

    pub fn append(&mut self, entry: &Entry) -> Result<(), Failure> {
        append(&self.path, &entry.line())?;
        self.entries.push(entry.clone());
        Ok(())
    }

    /// Signs the next list: what was revoked before, and this.
    pub fn revoke(
        &mut self,
        authority: &Authority,
        now: UnixSeconds,
        runs: &[RangeInclusive<u32>],
        issuers: &[IssuerId],
    ) -> Result<Vec<u8>, Failure> {
        for id in issuers {
            let certified = |entry: &Entry| matches!(entry, Entry::Certified { issuer, .. } if issuer == id);
            if !self.entries.iter().any(certified) {
                return Err(Failure::Refused(format!("this authority has not certified {id}")));
            }
        }
        let issuers: Vec<IssuerId> = self.issuers.iter().chain(issuers).copied().collect();
        let all: Vec<_> = self.revoked.iter().chain(runs).cloned().collect();
        // Each of a backend's serials goes into the part for devices to know; all others into the other one.
        let backends: Vec<_> = self
            .entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Issued { serial, role: Role::Backend, .. } => Some(*serial),
                _ => None,
            })
            .filter(|serial| all.iter().any(|run| run.contains(serial)))
            .map(|serial| serial..=serial)
            .collect();
        let number = self.number.saturating_add(1);
        let request =
            RevocationRequest { number, issued: now, issuers: &issuers, backends: &backends, devices: &all };
        let list = authority.revoke(&request).map_err(Failure::refused)?;
        let anchors = TrustAnchors::new(&[authority.public_key()]).map_err(Failure::refused)?;
        let short = anchors
            .verify_revocations(&list, Time::floor_only(UnixSeconds(0)))
            .map_err(Failure::refused)?
            .for_devices();
        replace(&self.list_path, &list)?;
        replace(&self.list_path.with_extension("devices"), &short)?;
        self.append(&Entry::Listed { number })?;
        self.number = number;
        Ok(list)
    }

    /// Says what an entry is, and what has become of it.
    pub fn line(&self, entry: &Entry, now: UnixSeconds) -> String {
        let _ = &self.lock;
        match entry {
            Entry::Issued { serial, subject, role, scopes, not_after } => {
                let state = match () {
                    () if self.is_revoked(*serial) => "revoked",
                    () if *not_after < now => "expired",
                    () => "good",
                };
                let (scopes, until) = (show::scope_names(*scopes), show::date(*not_after));
                format!("{serial:>6}  {role:?} {subject}  {state}, until {until}, scopes {scopes}")
            }
            Entry::Certified { serial, issuer } => {
                let state = if self.issuers.contains(issuer) { "revoked" } else { "good" };
                format!("{serial:>6}  authority {issuer}  {state}")
            }
            Entry::Listed { number } => format!("        revocation list {number}"),
        }
    }
}
