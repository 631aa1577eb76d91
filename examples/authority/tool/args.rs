//! The command line: what each command takes, and its help.

use lexopt::Arg;
use std::ffi::OsString;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Why a command was not done.
#[derive(Debug)]
pub enum Failure {
    /// The arguments are wrong.
    Usage(String),
    /// What was asked for cannot or must not be done.
    Refused(String),
}

impl Failure {
    pub fn refused(error: impl Display) -> Self {
        Self::Refused(error.to_string())
    }
}

pub const HELP: &[(&str, &str)] = &[
    (
        "create",
        "\
Makes a new authority.

usage: authority create DIRECTORY

  authority.key   secret, 32 raw bytes, readable by you only: keep it off line
  authority.pub   what everybody trusts
  register        each credential, certificate and revocation, a line each

No file is overwritten. The other commands need the directory, but `inspect` and `verify`.",
    ),
    (
        "intermediate",
        "\
Certifies another authority, which then signs in the place of this one, within limits.

usage: authority intermediate DIRECTORY --key FILE --scopes LIST --out FILE [--roles ROLES] [--days N]

  --key FILE      the other authority's authority.pub
  --scopes LIST   the most that its credentials permit: see `issue`
  --out FILE      where the certificate goes
  --roles ROLES   devices, backends or both     (devices)
  --days N        its validity, 1 to 36500      (730)

Who wants it back revokes it by its issuer id: see `revoke`.",
    ),
    (
        "issue",
        "\
Signs a credential for the holder of a static key. Make sure first that it is the holder's.

usage: authority issue DIRECTORY --key FILE --role ROLE --scopes LIST --out FILE [--subject HEX] [--days N]

  --key FILE      the X25519 public key, 32 raw bytes
  --role ROLE     device or backend
  --scopes LIST   some of measurements, waveforms, events, alarms, commands, configuration with commas between; or
                  publish, which is the first four; or none
  --out FILE      where the credential goes
  --subject HEX   16 bytes, such as a UUID; never a patient's name or number    (random)
  --days N        its validity, 1 to 36500                                      (1825; a backend: 365)",
    ),
    (
        "renew",
        "\
Signs a new credential with the subject, the role and the key of an old one, which may have expired.

usage: authority renew DIRECTORY --credential FILE --key FILE --out FILE [--scopes LIST] [--days N]

  --credential FILE   the old one: of this authority, not revoked
  --key FILE          the X25519 public key that it is for
  --out FILE          where the new one goes
  --scopes LIST       as for `issue`                      (those of the old one)
  --days N            its validity from now, 1 to 36500   (1825; a backend: 365)

The old one stays good until it expires or is revoked.",
    ),
    (
        "revoke",
        "\
Revokes credentials, or whole intermediate authorities, by a new revocation list.

usage: authority revoke DIRECTORY [--serial N|N-M]… [--issuer HEX]… [--refresh]

  --serial N      a credential's serial; or all from N to M, whether they were issued or not
  --issuer HEX    an authority that this one has certified
  --refresh       signs the list anew with the next number, even if nothing is added

Writes DIRECTORY/revocations, for backends, and DIRECTORY/revocations.devices, the part for devices. Give the same file
to each node. What is revoked stays so.",
    ),
    (
        "list",
        "\
Lists what the authority has signed, and what has become of it.

usage: authority list DIRECTORY",
    ),
    (
        "inspect",
        "\
Shows what a file claims: a credential, a certificate or a revocation list. Verifies nothing.

usage: authority inspect FILE",
    ),
    (
        "verify",
        "\
Verifies a credential, a certificate or a revocation list as a backend does.

usage: authority verify FILE --trust FILE… [--key FILE] [--intermediate FILE]… [--list FILE]… [--at SECONDS]

  --trust FILE          the authority.pub of somebody you trust
  --key FILE            of a credential: the X25519 public key that it is for
  --intermediate FILE   a certificate to go by
  --list FILE           a revocation list to go by; an older one than this is refused
  --at SECONDS          the time to go by, since 1970     (now)",
    ),
];

pub fn overview() -> String {
    let mut text = String::from(
        "\
An authority: signs credentials of devices and backends, and says which are no longer good.

usage: authority COMMAND …

",
    );
    for (name, help) in HELP {
        let first = help.lines().next().unwrap_or_default();
        text += &format!("  {name:<13} {first}\n");
    }
    text + "\nauthority COMMAND --help says more of one. The exit code is 0 if it is done and good, 1 if it is refused or \
fails, 2 for\nwrong arguments. No secret is ever printed, and no file overwritten but the revocation lists.\n"
}

/// Which options each command knows: names, and whether a value follows.
const OPTIONS: &[(&str, &[&str])] = &[
    ("create", &[]),
    ("intermediate", &["key", "scopes", "out", "roles", "days"]),
    ("issue", &["key", "role", "scopes", "out", "subject", "days"]),
    ("renew", &["credential", "key", "out", "scopes", "days"]),
    ("revoke", &["serial", "issuer"]),
    ("list", &[]),
    ("inspect", &[]),
    ("verify", &["trust", "key", "intermediate", "list", "at"]),
];
/// Those that may come more than once.
const REPEATED: [&str; 5] = ["serial", "issuer", "trust", "intermediate", "list"];

/// The words of one command.
#[derive(Default)]
pub struct Args {
    place: Option<PathBuf>,
    options: Vec<(String, OsString)>,
    refresh: bool,
}

impl Args {
    /// Reads them; `None` if help is asked for.
    pub fn parse(command: &str, words: impl Iterator<Item = OsString>) -> Result<Option<Self>, Failure> {
        let known = OPTIONS.iter().find(|(name, _)| *name == command).map_or(&[][..], |(_, known)| known);
        let usage = |error: lexopt::Error| Failure::Usage(error.to_string());
        let mut parser = lexopt::Parser::from_args(words);
        let mut args = Self::default();
        while let Some(arg) = parser.next().map_err(usage)? {
            match arg {
                Arg::Short('h') | Arg::Long("help") => return Ok(None),
                Arg::Long("refresh") if command == "revoke" => args.refresh = true,
                Arg::Long(name) if known.contains(&name) => {
                    let name = name.to_owned();
                    if !REPEATED.contains(&&*name) && args.options.iter().any(|(known, _)| *known == name) {
                        return Err(Failure::Usage(format!("--{name} comes twice")));
                    }
                    args.options.push((name, parser.value().map_err(usage)?));
                }
                Arg::Value(value) if args.place.is_none() => args.place = Some(value.into()),
                other => return Err(usage(other.unexpected())),
            }
        }
        Ok(Some(args))
    }

    pub fn directory(&self) -> Result<&Path, Failure> {
        self.place.as_deref().ok_or_else(|| Failure::Usage("which directory?".into()))
    }

    /// The file of an option, or the one that stands alone.
    pub fn file(&self, name: &str) -> Result<&Path, Failure> {
        if name == "file" {
            return self.place.as_deref().ok_or_else(|| Failure::Usage("which file?".into()));
        }
        self.paths(name).next().ok_or_else(|| Failure::Usage(format!("--{name} is missing")))
    }

    pub fn paths(&self, name: &str) -> impl Iterator<Item = &Path> {
        self.options.iter().filter(move |(known, _)| known == name).map(|(_, value)| Path::new(value))
    }

    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        // What is no text is no number and no name either: it is refused as such.
        self.options
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.to_str().unwrap_or("?"))
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub fn needed(&self, name: &str) -> Result<&str, Failure> {
        self.text(name).ok_or_else(|| Failure::Usage(format!("--{name} is missing")))
    }

    pub fn number(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Failure> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse().ok().filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(Failure::Usage(format!(
                "--{name} takes a number from {} to {}, not `{text}`",
                range.start(),
                range.end()
            ))),
        }
    }

    pub const fn flag(&self, name: &str) -> bool {
        matches!(name.as_bytes(), b"refresh") && self.refresh
    }
}
