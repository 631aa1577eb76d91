//! Verifies and shows audit logs.
//!
//! `cargo run --example audit -- verify FILE`

use std::error::Error;
use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::Path;
use std::process::ExitCode;
use vitalwire::audit::{
    AuditEvent, AuditFile, AuditQueue, NodeId, SyncPolicy, Verifier, VerifyError, read_log,
};
use vitalwire::crypto::SignatureKey;
use vitalwire::{Instant, OsEntropy};

const HELP: &str = "\
Verifies and shows the audit log of a vitalwire node. SPEC.md, section \"Audit log\", says what it proves.

usage: cargo run --example audit -- verify FILE [--key HEX] [--head HEX] [--entries N]
       cargo run --example audit -- show FILE
       cargo run --example audit -- try FILE

  verify          checks every hash, sequence and signature
    --key HEX     the log must begin with this key, which was noted when the log was begun
    --head HEX    an entry of the log must have this hash, which the node told somebody earlier
    --entries N   there must be at least so many entries
  show            prints the entries, one a line, as far as they verify
  try             makes a small log to try the others with; goes on with it if it is there
  --help          this text

Ends with 0 if all is well, 1 if the log is broken or lacks what was asked for, 2 if it could not be looked at.";

/// What goes wrong: the log is broken, or could not be looked at.
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
    let (code, text) = match run(&words) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Fault::Broken(text)) => (1, text),
        Err(Fault::Trouble(text)) => (2, text),
    };
    eprintln!("audit: {text}");
    ExitCode::from(code)
}

fn run(words: &[&str]) -> Result<(), Fault> {
    match words {
        [] | ["--help" | "-h", ..] => {
            println!("{HELP}");
            Ok(())
        }
        ["verify", file, options @ ..] => check(file, options),
        ["show", file] => show(file),
        ["try", file] => make(file),
        other => Err(Fault::Trouble(format!("{:?} is not understood; --help says more", other.join(" ")))),
    }
}

fn open(file: &str) -> Result<BufReader<File>, Fault> {
    File::open(file).map(BufReader::new).map_err(|error| Fault::Trouble(format!("{file}: {error}")))
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn said(error: VerifyError) -> Fault {
    match error {
        VerifyError::Broken(broken) => Fault::Broken(broken.to_string()),
        other => Fault::Trouble(other.to_string()),
    }
}

fn check(file: &str, options: &[&str]) -> Result<(), Fault> {
    let (mut key, mut head, mut least) = (None, None, 0);
    for option in options.chunks(2) {
        match option {
            ["--key", value] => key = Some(SignatureKey(hash(value)?)),
            ["--head", value] => head = Some(hash(value)?),
            ["--entries", value] => {
                least = value.parse().map_err(|_| Fault::Trouble(format!("{value:?} is no number")))?
            }
            other => {
                return Err(Fault::Trouble(format!(
                    "{:?} is not understood; --help says more",
                    other.join(" ")
                )));
            }
        }
    }
    let mut found = head.is_none();
    let each = &mut |verifier: &Verifier, _| found |= Some(verifier.report().head) == head;
    let (verifier, left) = read_log(&mut open(file)?, key.as_ref(), each).map_err(said)?;
    let report = verifier.finish(left);
    if !found {
        let text = "no entry has the hash that the node told earlier: the log was cut, or is another one";
        return Err(Fault::Broken(text.into()));
    }
    if report.entries < least {
        return Err(Fault::Broken(format!(
            "there are {} entries, and not {least}: the log was cut",
            report.entries
        )));
    }
    println!("node       {}", report.header.node);
    println!(
        "first key  {}{}",
        hex(&report.header.key.0),
        if key.is_some() { "" } else { "  (not compared: give --key)" }
    );
    println!(
        "entries    {} from number {}, {} of them checkpoints",
        report.entries, report.header.first, report.checkpoints
    );
    println!("unsigned   {} entries after the last checkpoint: nothing proves these", report.unsigned);
    println!("head       {}", hex(&report.head));
    if report.torn > 0 {
        println!("torn       {} bytes of half an entry at the end", report.torn);
    }
    println!("verified");
    Ok(())
}

fn show(file: &str) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    let mut written = Ok(());
    let mut print = |_: &Verifier, entry| {
        if written.is_ok() {
            written = writeln!(out, "{entry}");
        }
    };
    let (_, left) = read_log(&mut open(file)?, None, &mut print).map_err(said)?;
    if let Err(error) = written {
        // Nobody reads on: `| head`.
        return if error.kind() == std::io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error.into()) };
    }
    if left > 0 {
        eprintln!("audit: {left} bytes of half an entry at the end");
    }
    Ok(())
}

/// A node that starts, meets with strangers and stops.
fn make(file: &str) -> Result<(), Fault> {
    let now = Instant::ZERO;
    let (mut sink, mut log) =
        AuditFile::open(Path::new(file), NodeId(*b"try-node"), SyncPolicy::EveryRun, &mut OsEntropy)?;
    let mut queue = AuditQueue::default();
    queue.note(now, AuditEvent::Started { version: env!("CARGO_PKG_VERSION").into() });
    queue.note(now, AuditEvent::Refused { reason: vitalwire::Discard::BadCredential.into() });
    queue.note(now, AuditEvent::Stopped {});
    log.run(now, &mut queue, &mut sink, &mut OsEntropy)?;
    log.checkpoint(now, &mut sink, &mut OsEntropy)?;
    println!("{} entries; the head is {}", log.state().sequence, hex(&log.state().head));
    Ok(())
}
