//! Ten thousand devices and a backend of several shards over UDP on this machine: how much, how fast, in how much memory.
//! `--help` says more.
//!
//! The devices run in a process of their own, so that what is said of time and memory is the service's. Read `service.rs`
//! for how a service routes packets to shards, `devices.rs` for the other side.

#![allow(
    unreachable_pub,
    reason = "the modules of a program are private: `pub` says what the others may use"
)]

mod args;
mod devices;
mod histogram;
mod link;
mod report;
mod service;

use args::{Args, HELP};
use link::{Orders, Tally};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The word that makes this program the process of the devices.
const DEVICES: &str = "--be-the-devices";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == DEVICES) {
        return match devices::run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("load: the devices: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let args = match Args::parse(words.into_iter()) {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("load: {error}; --help lists the options");
            return ExitCode::from(2);
        }
    };
    let failures = match run(&args) {
        Ok(failures) => failures,
        Err(error) => vec![error.to_string()],
    };
    if failures.is_empty() {
        println!("\nPASSED: every record arrived, once");
        return ExitCode::SUCCESS;
    }
    println!("\nFAILED");
    failures.iter().for_each(|failure| println!("  {failure}"));
    ExitCode::FAILURE
}

fn run(args: &Args) -> Result<Vec<String>, Failure> {
    let service = service::Service::start(args)?;
    let mut child = spawn(&service.orders(args))?;
    let output = child.stdout.take().ok_or("the devices have no output")?;
    // What the devices say, as it comes: progress, and in the end what each has recorded.
    let reader = thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).filter_map(|line| Tally::parse(&line)).collect()
    });
    let watched = service.watch(&mut child);
    let tallies: Vec<Tally> = reader.join().map_err(|_| "the reader panicked")?;
    let summary = service.stop()?;
    watched?;
    Ok(report::print(args, &summary, &tallies))
}

fn spawn(orders: &Orders) -> Result<Child, Failure> {
    let program = std::env::current_exe()?;
    let mut child =
        Command::new(program).arg(DEVICES).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    // Through a pipe: the authority's key is among it.
    let mut input = child.stdin.take().ok_or("the devices have no input")?;
    input.write_all(orders.to_line().as_bytes())?;
    Ok(child)
}
