//! The command-line authority of `examples/authority`: each command, its files, and everything that it must refuse.

#![allow(
    unreachable_pub,
    reason = "the modules of a program are private: `pub` says what the others may use"
)]

#[path = "../../examples/authority/tool/mod.rs"]
mod tool;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use vitalwire::crypto::{SignatureKey, StaticSecret};
use vitalwire::identity::*;
use vitalwire::{OsEntropy, UnixSeconds};

const NOW: u64 = 1_750_000_000;
const DAY: u64 = 86_400;

/// A directory of one test, with an authority in `a`, and a device's and a backend's keys.
struct Desk {
    root: PathBuf,
    now: u64,
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// What a command has answered.
struct Answer {
    code: u8,
    out: String,
    errors: String,
}

impl Desk {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("vitalwire-authority-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let root = std::env::temp_dir().join(name);
        fs::create_dir_all(&root).unwrap();
        let desk = Self { root, now: NOW };
        for name in ["device", "backend"] {
            let key = StaticSecret::generate(&mut OsEntropy).unwrap().public_key();
            fs::write(desk.path(&format!("{name}.pub")), key.0).unwrap();
        }
        desk.good("create a");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Runs a command; a word that names a file of the desk stands for its path.
    fn run(&self, line: &str) -> Answer {
        let words: Vec<OsString> = line
            .split_whitespace()
            .enumerate()
            .map(|(at, word)| match word {
                word if at == 0 || word.starts_with('-') => word.into(),
                "a" | "b" | "device.pub" | "backend.pub" => self.path(word).into(),
                word if word.contains('/') || word.contains('.') => self.path(word).into(),
                word => word.into(),
            })
            .collect();
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let code = tool::run(words, UnixSeconds(self.now), &mut out, &mut errors);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Answer { code, out: text(out), errors: text(errors) }
    }

    #[track_caller]
    fn good(&self, line: &str) -> String {
        let Answer { code, out, errors } = self.run(line);
        assert_eq!((code, errors.as_str()), (0, ""), "{line}");
        out
    }

    /// Expects a refusal whose message has `why` in it.
    #[track_caller]
    fn bad(&self, code: u8, line: &str, why: &str) {
        let answer = self.run(line);
        assert_eq!((answer.code, answer.out.as_str()), (code, ""), "{line}: {}", answer.errors);
        assert!(answer.errors.contains(why), "{line}: {}", answer.errors);
        assert_eq!(answer.errors.lines().count(), 1, "{}", answer.errors);
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn anchors(&self) -> TrustAnchors {
        TrustAnchors::new(&[SignatureKey(self.bytes("a/authority.pub").try_into().unwrap())]).unwrap()
    }

    fn issue_device(&self, out: &str) -> String {
        self.good(&format!("issue a --key device.pub --role device --scopes publish,commands --out {out}"))
    }
}

#[test]
fn help_says_what_there_is() {
    let desk = Desk::new();
    let overview = desk.good("--help");
    let commands = ["create", "intermediate", "issue", "renew", "revoke", "list", "inspect", "verify"];
    for command in commands {
        assert!(overview.contains(&format!("  {command} ")), "{command}");
        let help = desk.good(&format!("{command} --help"));
        assert!(help.contains(&format!("usage: authority {command} ")), "{help}");
        // Each option that stands in the text is taken, and no other.
        for word in help.split(|c: char| !(c.is_ascii_lowercase() || c == '-')) {
            if let Some(option) = word.strip_prefix("--").filter(|option| !option.is_empty()) {
                let answer = desk.run(&format!("{command} --{option}"));
                assert!(!answer.errors.contains("invalid option"), "{command} --{option}: {}", answer.errors);
            }
        }
        desk.bad(2, &format!("{command} --nonsense"), "invalid option '--nonsense'");
    }
    desk.bad(2, "", "which command?");
    desk.bad(2, "sign", "there is no command `sign`");
}

#[test]
fn a_credential_is_issued_that_everybody_can_verify() {
    let desk = Desk::new();
    let shown = desk.issue_device("d.credential");
    assert!(shown.contains("serial      1\n") && shown.contains("scopes      publish,commands\n"), "{shown}");
    let key = vitalwire::crypto::PublicKey(desk.bytes("device.pub").try_into().unwrap());
    let time = Time::known(UnixSeconds(NOW));
    let verified = desk.anchors().verify(&desk.bytes("d.credential"), &key, Role::Device, time).unwrap();
    assert_eq!(verified.scopes(), Scopes::PUBLISH | Scopes::COMMANDS);
    assert_eq!(verified.not_after().0, NOW + 1825 * DAY);
    desk.good(
        "issue a --key backend.pub --role backend --scopes commands --days 30 --out b.credential \
         --subject 000102030405060708090a0b0c0d0e0f",
    );
    let shown = desk.good("inspect b.credential");
    assert!(shown.contains("Backend") && shown.contains("000102030405060708090a0b0c0d0e0f"), "{shown}");
    assert!(
        shown.contains("not after   2025-07-15 (1752592000)") && shown.contains("not verified"),
        "{shown}"
    );
    assert!(desk.good("verify b.credential --key backend.pub --trust a/authority.pub").starts_with("good"));
    let list = desk.good("list a");
    assert!(list.contains("     1  Device") && list.contains("     2  Backend"), "{list}");
    assert_eq!(list.matches("good, until").count(), 2);
}

#[test]
fn an_intermediate_authority_signs_within_its_limits() {
    let desk = Desk::new();
    desk.good("create b");
    desk.good("intermediate a --key b/authority.pub --scopes alarms --days 10 --out b.certificate");
    desk.good("issue b --key device.pub --role device --scopes publish --out d.credential");
    let verify = "verify d.credential --key device.pub --trust a/authority.pub";
    desk.bad(1, verify, "unknown issuer");
    let shown = desk.good(&format!("{verify} --intermediate b.certificate"));
    let until = NOW + 10 * DAY;
    assert!(shown.starts_with(&format!("good: scopes alarms, until 2025-06-25 ({until})\n")), "{shown}");
    desk.bad(1, &format!("{verify} --intermediate b.certificate --at {}", until + 1), "expired");
    desk.good("issue b --key backend.pub --role backend --scopes none --out x.credential");
    let backend =
        "verify x.credential --key backend.pub --trust a/authority.pub --intermediate b.certificate";
    desk.bad(1, backend, "wrong role");
    assert!(desk.good("inspect b.certificate").contains("roles       devices\n  scopes      alarms\n"));
    assert!(desk.good("verify b.certificate --trust a/authority.pub").starts_with("good"));
    desk.bad(1, "verify b.certificate --trust b/authority.pub", "unknown issuer");
    desk.bad(
        1,
        "intermediate a --key a/authority.pub --scopes none --out c.certificate",
        "not certify itself",
    );
    let ward = IssuerId::of(&SignatureKey(desk.bytes("b/authority.pub").try_into().unwrap()));
    desk.good(&format!("revoke a --issuer {ward}"));
    desk.bad(1, &format!("{verify} --intermediate b.certificate --list a/revocations"), "revoked");
    desk.bad(1, "verify b.certificate --trust a/authority.pub --list a/revocations", "revoked");
    desk.bad(1, "revoke b --issuer 0102030405060708", "has not certified 0102030405060708");
    assert!(desk.good("list a").contains(&format!("authority {ward}  revoked")));
}

#[test]
fn renewal_keeps_subject_role_and_key() {
    let mut desk = Desk::new();
    desk.issue_device("d.credential");
    desk.now += 2000 * DAY;
    let old = "verify d.credential --key device.pub --trust a/authority.pub";
    desk.bad(1, old, "expired: good until 2030-06-14 (1907680000), and it is 2030-12-06");
    desk.good("renew a --credential d.credential --key device.pub --out e.credential --scopes alarms");
    let verified = desk.good("verify e.credential --key device.pub --trust a/authority.pub");
    assert!(verified.contains("scopes alarms"), "{verified}");
    let subject = |file: &str| {
        let shown = desk.good(&format!("inspect {file}"));
        shown.lines().find(|line| line.contains("subject")).unwrap().to_owned()
    };
    assert_eq!(subject("d.credential"), subject("e.credential"));
    assert!(desk.good("inspect e.credential").contains("serial      2\n"));
    desk.bad(
        1,
        "renew a --credential d.credential --key backend.pub --out f.credential",
        "than the one of --key",
    );
    desk.good("create b");
    desk.bad(1, "renew b --credential d.credential --key device.pub --out f.credential", "unknown issuer");
    desk.good("revoke a --serial 1");
    let revoked = "renew a --credential d.credential --key device.pub --out f.credential";
    desk.bad(1, revoked, "serial 1 is revoked");
    assert!(!desk.path("f.credential").exists());
    assert!(desk.good("list a").contains("     1  Device"));
    assert!(desk.good("list a").contains("  revoked, until"));
}

#[test]
fn lists_grow_are_numbered_and_old_ones_are_refused() {
    let desk = Desk::new();
    desk.issue_device("d.credential");
    desk.good("issue a --key backend.pub --role backend --scopes none --out b.credential");
    let verify = "verify d.credential --key device.pub --trust a/authority.pub";
    let noted = desk.good("revoke a --serial 100-199 --serial 7");
    assert!(noted.contains("note: nothing was issued yet with serial 100-199\n"), "{noted}");
    desk.good(&format!("{verify} --list a/revocations"));
    fs::copy(desk.path("a/revocations"), desk.path("first.list")).unwrap();
    let shown = desk.good("revoke a --serial 1 --serial 2");
    assert!(!shown.contains("note:"), "{shown}");
    assert!(shown.contains("revocation list 2\n"), "{shown}");
    assert!(
        shown.contains("backends    1 serials: 2\n")
            && shown.contains("devices     103 serials: 1-2 7 100-199"),
        "{shown}"
    );
    desk.bad(1, &format!("{verify} --list a/revocations"), "d.credential: revoked");
    let backend = "verify b.credential --key backend.pub --trust a/authority.pub";
    desk.bad(1, &format!("{backend} --list a/revocations"), "b.credential: revoked");
    let rolled_back = "rolled back: list 2 of this issuer is known already";
    desk.bad(1, "verify first.list --trust a/authority.pub --list a/revocations", rolled_back);
    desk.bad(1, &format!("{verify} --list a/revocations --list first.list"), rolled_back);
    assert!(desk.good("verify a/revocations --trust a/authority.pub --list first.list").starts_with("good"));
    let part = desk.good("verify a/revocations.devices --trust a/authority.pub");
    assert!(part.contains("backends    1 serials: 2\n") && part.contains("not in this part"), "{part}");
    assert!(desk.good("inspect a/revocations.devices").contains("revocation list 2, the part for devices"));
    desk.bad(1, &format!("{verify} --list a/revocations.devices"), "only a part of the list");
    assert!(desk.good("revoke a --refresh").contains("revocation list 3\n"));
    // The directory is put back to what it was: the register knows better.
    fs::copy(desk.path("first.list"), desk.path("a/revocations")).unwrap();
    desk.bad(1, "revoke a --serial 9", "rolled back: list 3 of this issuer is known already");
    fs::remove_file(desk.path("a/revocations")).unwrap();
    let gone = "is gone; the register knows of list 3";
    desk.bad(1, "issue a --key device.pub --role device --scopes none --out e.credential", gone);
}

#[test]
fn damaged_and_foreign_files_are_refused() {
    let desk = Desk::new();
    desk.good("create b");
    desk.issue_device("d.credential");
    desk.good("revoke a --serial 1");
    for name in ["d.credential", "a/revocations"] {
        let mut bytes = desk.bytes(name);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(desk.path("bad.file"), &bytes).unwrap();
        let answer = desk.run("verify bad.file --key device.pub --trust a/authority.pub");
        assert_eq!(answer.code, 1, "{name} {}", answer.out);
        fs::write(desk.path("bad.file"), &bytes[..middle]).unwrap();
        desk.bad(1, "verify bad.file --key device.pub --trust a/authority.pub", "malformed");
        desk.bad(1, &format!("verify {name} --key device.pub --trust b/authority.pub"), "unknown issuer");
    }
    desk.bad(1, "inspect bad.file", "neither a credential, nor a certificate, nor a revocation list");
    desk.bad(1, "inspect gone.file", "gone.file: ");
    desk.bad(1, "verify gone.file --trust a/authority.pub", "gone.file: ");
    desk.bad(1, "issue a --key gone.file --role device --scopes none --out e.file", "gone.file: ");
    desk.bad(
        1,
        "issue a --key d.credential --role device --scopes none --out e.file",
        "longer than 32 bytes",
    );
    fs::write(desk.path("short.pub"), [1; 31]).unwrap();
    desk.bad(1, "issue a --key short.pub --role device --scopes none --out e.file", "a key has 32 bytes");
    desk.bad(1, "list c.d", "`authority create` makes an authority");
    desk.bad(1, "verify short.pub --trust a/authority.pub", "neither a credential, nor a certificate");
    let verify = "verify d.credential --key device.pub --trust a/authority.pub";
    desk.bad(1, &format!("{verify} --intermediate short.pub"), "no certificate of an authority");
    fs::copy(desk.path("b/authority.pub"), desk.path("a/authority.pub")).unwrap();
    desk.bad(1, "list a", "do not belong together");
    fs::write(desk.path("b/register"), "issued 1 what\n").unwrap();
    desk.bad(1, "list b", "line 1 is damaged");
    fs::write(desk.path("b/register"), "listed 1").unwrap();
    desk.bad(1, "list b", "its last line is cut off");
}

#[test]
fn wrong_arguments_are_named() {
    let desk = Desk::new();
    for (line, why) in [
        ("issue a", "--role is missing"),
        ("issue --role device", "which directory?"),
        ("issue a --role nurse --key device.pub", "--role is device or backend, not `nurse`"),
        ("issue a --role device", "--scopes is missing"),
        ("issue a --role device --scopes all", "there is no scope `all`"),
        ("issue a --role device --scopes none --days 0", "--days takes a number from 1 to 36500, not `0`"),
        ("issue a --role device --scopes none --days x", "not `x`"),
        ("issue a --role device --scopes none --subject 01", "--subject takes 16 bytes in hex"),
        ("issue a --role device --role backend", "--role comes twice"),
        ("issue a --key", "missing argument for option '--key'"),
        ("issue a --role device --scopes none --out x.y", "--key is missing"),
        ("intermediate a --key device.pub --roles all --scopes none", "--roles is devices, backends or both"),
        ("revoke a", "what is to be revoked"),
        ("revoke a --serial 9-7", "--serial takes a number, or two"),
        ("revoke a --serial 4294967296", "--serial takes a number"),
        ("revoke a --issuer 01", "--issuer takes 8 bytes in hex"),
        ("verify", "whom do you trust"),
        ("verify --trust a/authority.pub", "which file?"),
        ("inspect", "which file?"),
        ("list a b", "unexpected argument"),
    ] {
        desk.bad(2, line, why);
    }
}

#[test]
fn nothing_is_overwritten_and_no_serial_given_twice() {
    let desk = Desk::new();
    let key = desk.bytes("a/authority.key");
    desk.bad(1, "create a", "authority.key: ");
    assert_eq!(desk.bytes("a/authority.key"), key);
    desk.issue_device("d.credential");
    let before = desk.bytes("d.credential");
    let again = "issue a --key device.pub --role device --scopes none --out d.credential";
    desk.bad(1, again, "is there already: nothing was signed");
    assert_eq!(desk.bytes("d.credential"), before);
    let nowhere = "issue a --key device.pub --role device --scopes none --out gone.d/e.credential";
    desk.bad(1, nowhere, "there is no directory");
    assert!(desk.issue_device("e.credential").contains("serial      2\n"));
    // Somebody else is at work, or was, and lost his power.
    fs::write(desk.path("a/lock"), "").unwrap();
    desk.bad(1, "list a", "is the authority in use?");
    fs::remove_file(desk.path("a/lock")).unwrap();
    desk.good("list a");
    assert!(!desk.path("a/lock").exists());
}

#[cfg(unix)]
#[test]
fn a_key_that_others_may_read_is_refused_and_none_is_printed() {
    use std::os::unix::fs::PermissionsExt;
    let desk = Desk::new();
    let path = desk.path("a/authority.key");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for mode in [0o640, 0o604, 0o620, 0o644] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        desk.bad(1, "list a", "others may read it");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let secret: String = desk.bytes("a/authority.key").iter().map(|byte| format!("{byte:02x}")).collect();
    desk.issue_device("d.credential");
    for line in ["list a", "inspect a/authority.pub", "revoke a --serial 1", "inspect d.credential"] {
        assert!(!desk.good(line).contains(&secret), "{line}");
    }
    fs::write(&path, [1; 33]).unwrap();
    desk.bad(1, "list a", "a key has 32 bytes");
}
