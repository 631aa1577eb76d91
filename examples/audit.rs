//! Verifies and shows audit logs.
//!
//! `cargo run --example audit -- verify FILE`

use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vitalwire::audit::{
    AuditEvent, AuditFile, AuditQueue, Entry, NodeId, SyncPolicy, Verifier, VerifyError, read_log, read_next,
};
use vitalwire::crypto::SignatureKey;
use vitalwire::identity::{Identity, IssuerId, SubjectId};
use vitalwire::{CloseReason, Instant, OsEntropy};

const HELP: &str = "\
Verifies and shows the audit log of a vitalwire node. SPEC.md, section \"Audit log\", says what it proves.

usage: cargo run --example audit -- verify FILE... [--key HEX] [--head HEX] [--entries N]
       cargo run --example audit -- show FILE...
       cargo run --example audit -- try FILE [N]

  verify          checks every hash, sequence and signature, and that each file follows from the one before
    --key HEX     the log must begin with this key, which was noted when the log was begun, or the file
    --head HEX    an entry of the log must have this hash, which the node told somebody earlier
    --entries N   the log must go on to at least so many entries, counted from its very beginning
  show            prints the entries, one a line, as far as they verify
  try             makes a small log to try the others with, of N sessions (1), in files of 8 KiB; goes on with it
                  if it is there
  --help          this text

FILE is what the node writes to: the files that it has closed, FILE.00000000000000000000 and so on, are taken first. Those
that were moved elsewhere are given by name, in their order: verify old/audit.log.0* audit.log. Then nothing is added.

Ends with 0 if all is well, 1 if the log is broken or lacks what was asked for, 2 if it could not be looked at.";

/// What goes wrong: the log is broken, or could not be looked at.
#[derive(Debug, PartialEq)]
enum Fault {
    Broken(String),
    Trouble(String),
}

impl<E: Error> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Trouble(error.to_string())
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (code, text) = match run(&words, &mut io::stdout().lock()) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Fault::Broken(text)) => (1, text),
        Err(Fault::Trouble(text)) => (2, text),
    };
    eprintln!("audit: {text}");
    ExitCode::from(code)
}

fn run(words: &[&str], out: &mut dyn Write) -> Result<(), Fault> {
    match words {
        [] | ["--help" | "-h", ..] => Ok(writeln!(out, "{HELP}")?),
        ["verify", rest @ ..] => {
            let (files, options) = split(rest)?;
            check(&files, options, out)
        }
        ["show", rest @ ..] => {
            let (files, options) = split(rest)?;
            if options.is_empty() { show(&files, out) } else { Err(not_understood(options)) }
        }
        ["try", file] => make(file, 1, out),
        ["try", file, count] => make(file, number(count)?, out),
        other => Err(not_understood(other)),
    }
}

fn not_understood(words: &[&str]) -> Fault {
    Fault::Trouble(format!("{:?} is not understood; --help says more", words.join(" ")))
}

/// The files, and the options behind them. With a single one come those that the node has closed.
fn split<'a, 'b>(words: &'a [&'b str]) -> Result<(Vec<PathBuf>, &'a [&'b str]), Fault> {
    let options = words.iter().position(|word| word.starts_with("--")).unwrap_or(words.len());
    let (files, options) = words.split_at(options);
    let mut files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
    if let [file] = &files[..] {
        let closed = AuditFile::closed(file)
            .map_err(|error| Fault::Trouble(format!("{}: {error}", file.display())))?;
        files.splice(0..0, closed);
    }
    if files.is_empty() {
        Err(Fault::Trouble("which file? --help says more".into()))
    } else {
        Ok((files, options))
    }
}

fn hash(text: &str) -> Result<[u8; 32], Fault> {
    let fault = || Fault::Trouble(format!("{text:?} is not 64 hexadecimal digits"));
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(fault());
    }
    let mut out = [0; 32];
    for (at, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| fault())?;
    }
    Ok(out)
}

fn number(text: &str) -> Result<u64, Fault> {
    text.parse().map_err(|_| Fault::Trouble(format!("{text:?} is no number")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads all files, each behind the one before. Returns the verifier, and what is left over of the last one.
fn read(
    files: &[PathBuf],
    key: Option<&SignatureKey>,
    each: &mut dyn FnMut(&Verifier, Entry),
) -> Result<(Verifier, u64), Fault> {
    let mut done = None;
    for path in files {
        let named = |error: VerifyError| match error {
            VerifyError::Broken(broken) => Fault::Broken(format!("{}: {broken}", path.display())),
            other => Fault::Trouble(format!("{}: {other}", path.display())),
        };
        let mut file = BufReader::new(File::open(path).map_err(|error| named(error.into()))?);
        let read = match done {
            None => read_log(&mut file, key, each),
            Some(before) => read_next(before, &mut file, each),
        };
        done = Some(read.map_err(named)?);
    }
    done.ok_or_else(|| Fault::Trouble("there is no file".into()))
}

fn check(files: &[PathBuf], options: &[&str], out: &mut dyn Write) -> Result<(), Fault> {
    let (mut key, mut head, mut least) = (None, None, 0);
    for option in options.chunks(2) {
        match option {
            ["--key", value] => key = Some(SignatureKey(hash(value)?)),
            ["--head", value] => head = Some(hash(value)?),
            ["--entries", value] => least = number(value)?,
            other => return Err(not_understood(other)),
        }
    }
    let mut found = head.is_none();
    let each = &mut |verifier: &Verifier, _| found |= Some(verifier.report().head) == head;
    let (verifier, left) = read(files, key.as_ref(), each)?;
    let report = verifier.finish(left);
    if !found {
        let text = "no entry has the hash that the node told earlier: the log was cut, or is another one";
        return Err(Fault::Broken(text.into()));
    }
    let reached = report.header.first + report.entries;
    if reached < least {
        return Err(Fault::Broken(format!(
            "the log ends after {reached} entries, and not {least}: it was cut"
        )));
    }
    writeln!(out, "node       {}", report.header.node)?;
    let compared = if key.is_some() { "" } else { "  (not compared: give --key)" };
    writeln!(out, "first key  {}{compared}", hex(&report.header.key.0))?;
    writeln!(out, "files      {}", report.files)?;
    let (entries, first, checkpoints) = (report.entries, report.header.first, report.checkpoints);
    writeln!(out, "entries    {entries} from number {first}, {checkpoints} of them checkpoints")?;
    if first > 0 {
        let before = hex(&report.header.previous);
        writeln!(out, "before     {first} entries, which are not here; the last one's hash is {before}")?;
    }
    writeln!(out, "unsigned   {} entries after the last checkpoint: nothing proves these", report.unsigned)?;
    writeln!(out, "head       {}", hex(&report.head))?;
    if report.torn > 0 {
        writeln!(out, "torn       {} bytes of half an entry at the end", report.torn)?;
    }
    Ok(writeln!(out, "verified")?)
}

fn show(files: &[PathBuf], out: &mut dyn Write) -> Result<(), Fault> {
    let mut written = Ok(());
    let mut print = |_: &Verifier, entry| {
        if written.is_ok() {
            written = writeln!(out, "{entry}");
        }
    };
    let (_, left) = read(files, None, &mut print)?;
    if let Err(error) = written {
        // Nobody reads on: `| head`.
        return if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error.into()) };
    }
    if left > 0 {
        eprintln!("audit: {left} bytes of half an entry at the end");
    }
    Ok(())
}

/// A node that starts, meets with a stranger, has some sessions and stops.
fn make(file: &str, sessions: u64, out: &mut dyn Write) -> Result<(), Fault> {
    let now = Instant::ZERO;
    let (mut sink, mut log) =
        AuditFile::open(Path::new(file), NodeId(*b"try-node"), SyncPolicy::Checkpoints, &mut OsEntropy)?;
    sink.set_max_len(8 << 10);
    let mut queue = AuditQueue::default();
    queue.note(now, AuditEvent::Started { version: env!("CARGO_PKG_VERSION").into() });
    queue.note(now, AuditEvent::Refused { reason: vitalwire::Discard::BadCredential.into() });
    for number in 0..sessions {
        let mut subject = SubjectId([0; 16]);
        subject.0[8..].copy_from_slice(&number.to_be_bytes());
        let identity = Identity { issuer: IssuerId([1; 8]), subject };
        queue.note(now, AuditEvent::Ended { identity, reason: CloseReason::Idle });
        log.run(now, &mut queue, &mut sink, &mut OsEntropy)?;
    }
    queue.note(now, AuditEvent::Stopped {});
    log.run(now, &mut queue, &mut sink, &mut OsEntropy)?;
    log.checkpoint(now, &mut sink, &mut OsEntropy)?;
    Ok(writeln!(out, "{} entries; the head is {}", log.state().sequence, hex(&log.state().head))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A directory of one test, with a log in several files.
    struct Desk(PathBuf);

    impl Desk {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("vitalwire-auditor-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&root);
            fs::create_dir(&root).unwrap();
            let desk = Self(root);
            desk.run(&["try", &desk.log(), "300"]).unwrap();
            desk
        }

        fn log(&self) -> String {
            self.0.join("audit.log").display().to_string()
        }

        /// The closed files and the present one.
        fn files(&self) -> Vec<String> {
            let closed = AuditFile::closed(Path::new(&self.log())).unwrap();
            closed.iter().map(|path| path.display().to_string()).chain([self.log()]).collect()
        }

        fn run(&self, words: &[&str]) -> Result<String, Fault> {
            let mut out = Vec::new();
            run(words, &mut out).map(|()| String::from_utf8(out).unwrap())
        }

        fn verify(&self, files: &[String], options: &[&str]) -> Result<String, Fault> {
            let files = files.iter().map(String::as_str);
            let words: Vec<_> = ["verify"].into_iter().chain(files).chain(options.iter().copied()).collect();
            self.run(&words)
        }

        #[track_caller]
        fn broken(&self, files: &[String], file: &str, why: &str) {
            let Err(Fault::Broken(said)) = self.verify(files, &[]) else { panic!("{files:?} verifies") };
            assert!(said.starts_with(file) && said.contains(why), "{said}");
        }
    }

    impl Drop for Desk {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_files_of_a_log_verify_together_and_are_found_beside_the_present_one() {
        let desk = Desk::new("good");
        let files = desk.files();
        assert!(files.len() > 3, "{files:?}");
        let said = desk.verify(&[desk.log()], &[]).unwrap();
        assert!(said.ends_with("verified\n") && said.contains(&format!("files      {}\n", files.len())));
        assert_eq!(said, desk.verify(&files, &[]).unwrap());
        let shown = desk.run(&["show", &desk.log()]).unwrap();
        assert_eq!(shown.lines().filter(|line| line.contains("session ended")).count(), 300);
        // Another run goes on with it.
        let made = desk.run(&["try", &desk.log()]).unwrap();
        let head = made.trim().rsplit(' ').next().unwrap();
        let entries = made.split(' ').next().unwrap();
        desk.verify(&[desk.log()], &["--head", head, "--entries", entries]).unwrap();
        // Old files were put away: what is left begins later, and says so.
        let rest = desk.verify(&files[1..], &[]).unwrap();
        assert!(rest.contains("which are not here"), "{rest}");
    }

    #[test]
    fn a_file_that_is_missing_moved_or_cut_is_named() {
        let desk = Desk::new("bad");
        let files = desk.files();
        let place = "is missing, was cut, or is in the wrong place";
        let missing = [&files[..1], &files[2..]].concat();
        desk.broken(&missing, &files[2], place);
        let mut swapped = files.clone();
        swapped.swap(1, 2);
        desk.broken(&swapped, &files[2], place);
        let whole = fs::read(&files[1]).unwrap();
        fs::write(&files[1], &whole[..whole.len() - 7]).unwrap();
        desk.broken(&[desk.log()], &files[2], "does not end with a checkpoint");
        let mut altered = whole.clone();
        altered[whole.len() / 2] ^= 1;
        fs::write(&files[1], &altered).unwrap();
        desk.broken(&[desk.log()], &files[1], "the hash does not follow");
        fs::remove_file(&files[1]).unwrap();
        desk.broken(&[desk.log()], &files[2], place);
    }

    #[test]
    fn what_was_noted_elsewhere_is_compared() {
        let desk = Desk::new("noted");
        let files = desk.files();
        let said = desk.verify(&files, &[]).unwrap();
        let value = |name: &str| {
            let line = said.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(if name == "first" { 2 } else { 1 }).unwrap().to_owned()
        };
        let (key, head, entries) = (value("first"), value("head"), value("entries"));
        let options = ["--key", &key, "--head", &head, "--entries", &entries];
        desk.verify(&files, &options).unwrap();
        // The end is cut off, at the end of a file: only who was told more sees it.
        let cut = &files[..files.len() - 1];
        desk.verify(cut, &["--key", &key]).unwrap();
        for (options, why) in
            [(["--head", &head], "no entry has the hash"), (["--entries", &entries], "it was cut")]
        {
            let Err(Fault::Broken(said)) = desk.verify(cut, &options) else { panic!("{options:?}") };
            assert!(said.contains(why), "{said}");
        }
        // Its beginning is.
        let Err(Fault::Broken(said)) = desk.verify(&files[1..], &["--key", &key]) else { panic!() };
        assert!(said.contains("does not begin with the key that was noted"), "{said}");
    }

    #[test]
    fn bad_words_are_told() {
        let desk = Desk::new("words");
        let log = desk.log();
        for words in [
            &["verify"][..],
            &["verify", "--key"],
            &["verify", &log, "--key"],
            &["verify", &log, "--key", "12"],
            &["verify", &log, "--entries", "many"],
            &["show", &log, "--key", "12"],
            &["verify", "/nowhere/audit.log"],
            &["verify", &desk.0.join("none").display().to_string()],
            &["try", &log, "x"],
            &["burn", &log],
        ] {
            let result = desk.run(words);
            assert!(matches!(result, Err(Fault::Trouble(_))), "{words:?}: {result:?}");
        }
        assert!(desk.run(&["--help"]).unwrap().contains("usage:"));
    }
}
