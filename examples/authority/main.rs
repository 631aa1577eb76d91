//! An authority on the command line: makes its key, certifies others, issues, renews and revokes credentials.
//!
//! `cargo run --example authority -- --help`

#![allow(
    unreachable_pub,
    reason = "the modules of a program are private: `pub` says what the others may use"
)]

mod tool;

use std::process::ExitCode;
use std::time::SystemTime;
use vitalwire::UnixSeconds;

fn main() -> ExitCode {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let words = std::env::args_os().skip(1).collect();
    ExitCode::from(tool::run(words, UnixSeconds(now), &mut std::io::stdout(), &mut std::io::stderr()))
}
