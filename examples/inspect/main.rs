//! Prints the records of captured batches and packets, one per line: `--help` says more.
//!
//! `inspector/` does the work, and `tests/inspect/` tests it; this file has the command line and the files.

#![allow(
    unreachable_pub,
    reason = "the modules of a program are private: `pub` says what the others may use"
)]

mod inspector;

use inspector::{Format, Inspector, Tally};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::process::ExitCode;

const HELP: &str = "\
Prints the records of captured batches and packets, one per line.

usage: cargo run --release --example inspect -- [options] FILE
       FILE is a capture, or `-` for the standard input

  --json        one JSON object per line
  --fhir        FHIR R4 resources, one per line (needs the feature `fhir`)
  --keys FILE   session keys: a file with a line {\"keys\": ...} as below
  --identity ID whose the records are, for FHIR, where the capture does not say it:
                ISSUER/SUBJECT, 8 and 16 bytes
  --help        this text

A capture is text, one entry per line. All bytes are hex.
  {\"set\": \"...\"}           a descriptor set: batches and records below are read with it
  {\"batch\": \"...\"}         the body of a Records frame. It may have a \"hash\": of a set that stands above it
                         (the first 16 bytes of its BLAKE2s-256); and, to be shown, \"device\" (a text), \"identity\"
                         (as above), \"boot\" (a number), \"tag\" (4 bytes) and \"lane\". FHIR needs the last four
  {\"record\": \"...\"}        one record alone, without time and sequence
  0123abcd...            a line that is nothing but hex is a batch, too
  {\"packet\": \"...\"}        a packet. It may have \"from\": \"device\" or \"backend\", \"connection_id\": \"...\" and
                         \"counter\": N; what is left out is tried
  {\"keys\": {...}}          a session begins: \"handshake_hash\" (32 bytes) and \"split_keys\" (64 bytes) as in SPEC.md,
                         \"Key schedule\", and where it came to DH ratchets, \"ephemeral\": [\"...\"], secret keys of
                         either end's RekeyRequests or RekeyAccepts. The line may have the device's \"identity\"
  # ...                  a comment
Whole JSON documents of the form of tests/vectors/packets.json and records.json are read as well.

As JSON, \"record\" is the library's own serialised form, which reads back as a RecordBuf; \"meaning\" has the names
of its codes, and its values as decimal texts. As FHIR, nobody is named as the subject: a capture does not know.

Both ratchets are followed as far as the packets and keys go, streams and descriptor sets are learned from the
packets. Without keys the headers of packets are shown.

Keys open everything that was said in a session. The library does not hand them out: they come from a test, or from
an end that was built to log them for its owner. Delete such files when they have served.

The exit code is 0 if everything could be read, 1 if not (what was wrong is on the standard error, with the number of
the line; the rest is printed), 2 for wrong arguments or a file that cannot be read.";

/// What was asked for.
#[derive(Default)]
struct Args {
    format: Format,
    keys: Option<String>,
    identity: Option<String>,
    file: String,
}

impl Args {
    /// Reads the command line; `Ok(None)` means that help was asked for.
    fn parse(words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut args = Self::default();
        let mut words = words.peekable();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--help" | "-h" => return Ok(None),
                "--json" => args.format = Format::Json,
                "--fhir" => args.format = Format::Fhir,
                "--keys" => args.keys = Some(words.next().ok_or("--keys needs a file after it")?),
                "--identity" => {
                    args.identity = Some(words.next().ok_or("--identity needs ISSUER/SUBJECT after it")?);
                }
                option if option.starts_with('-') && option != "-" => {
                    return Err(format!("unknown argument `{option}`"));
                }
                _ if !args.file.is_empty() => return Err(format!("one file at a time, not also `{word}`")),
                _ => args.file = word,
            }
        }
        if args.file.is_empty() {
            return Err("which file? `-` is the standard input".into());
        }
        Ok(Some(args))
    }
}

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            // whoever closes the pipe has read enough
            let _ = writeln!(io::stdout(), "{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => return refuse(&format!("{error}; --help says how")),
    };
    match run(&args) {
        Ok(Ok(tally)) if tally.problems == 0 => ExitCode::SUCCESS,
        Ok(Ok(tally)) => {
            complain(&tally.to_string());
            ExitCode::FAILURE
        }
        Ok(Err(error)) => refuse(&error),
        // The reader of the pipe has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => refuse(&format!("cannot write: {error}")),
    }
}

fn refuse(error: &str) -> ExitCode {
    complain(error);
    ExitCode::from(2)
}

/// Says it on the standard error, if anybody listens there.
fn complain(what: &str) {
    let _ = writeln!(io::stderr(), "inspect: {what}");
}

/// Inspects the file. The outer error is of writing, the inner one of reading.
fn run(args: &Args) -> io::Result<Result<Tally, String>> {
    let mut inspector = match Inspector::new(args.format) {
        Ok(inspector) => inspector,
        Err(error) => return Ok(Err(error)),
    };
    if let Some(file) = &args.keys {
        let text = std::fs::read_to_string(file).map_err(|error| error.to_string());
        if let Err(error) = text.and_then(|text| inspector.take_keys(&text)) {
            return Ok(Err(format!("{file}: {error}")));
        }
    }
    if let Some(identity) = &args.identity
        && let Err(error) = inspector.take_identity(identity)
    {
        return Ok(Err(format!("--identity: {error}")));
    }
    let mut input: Box<dyn BufRead> = if args.file == "-" {
        Box::new(io::stdin().lock())
    } else {
        match File::open(&args.file) {
            Ok(file) => Box::new(BufReader::new(file)),
            Err(error) => return Ok(Err(format!("{}: {error}", args.file))),
        }
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let result = inspector.read_all(&mut input, &mut out, &mut io::stderr().lock())?;
    out.flush()?;
    Ok(result.map_err(|error| format!("{}: {error}", args.file)))
}
