//! A backend on a serial line, for the device of `examples/firmware`: it serves the device through a scenario, compares
//! each record with the recording that both share, and fails if anything is missing or different.
//!
//! `examples/firmware/run` starts it with an emulated device. With a board on a serial adapter:
//!
//! ```text
//! stty -F /dev/ttyUSB0 115200 raw -echo
//! cargo run --example serial_backend -- --page page.bin --serial /dev/ttyUSB0
//! ```
//!
//! It makes new keys in each run (but for `--fixed-keys`), writes the device's share of them to `page.bin`, and waits two minutes for the device:
//! write the page to the board (`board.rs` in the firmware says where it looks for it), and start that.
#![allow(unreachable_pub, reason = "a program, in modules")]

mod host;
mod keys;
mod line;
mod oracle;
#[allow(dead_code, reason = "shared with the firmware")]
mod page;
mod scenario;
#[path = "../service/mod.rs"]
mod service;
#[allow(dead_code, reason = "shared with the firmware")]
mod telemetry;

use host::Host;
use keys::{Keys, Source};
use line::Line;
use scenario::SCENARIOS;
use std::net::TcpListener;
use std::process::ExitCode;
use std::{env, fs};

const HELP: &str = "usage: serial_backend --page FILE [options]

Serves the device of examples/firmware over a serial line through a scenario. Exit code 0: each record has arrived,
byte for byte; 1: not.

  --page FILE          where to write the page that the device gets when it is made
  --listen FILE        waits for an emulator on a TCP port of 127.0.0.1, and writes its number to the file
  --connect ADDRESS    connects to an emulator that waits on a TCP port
  --serial PATH        opens a serial line, set up before with stty
  --scenario NAME      whole (default), plain, noise, vanish, reset or figures
  --fixed-keys         the same keys in each run, for a device that measures itself
  --seed N             of the noise, default 1
  --help               this text";

type Failure = Box<dyn std::error::Error>;

enum Transport {
    Listen(String),
    Connect(String),
    Serial(String),
}

struct Options {
    page: String,
    transport: Transport,
    scenario: String,
    seed: u64,
    keys: Source,
}

impl Options {
    fn parse() -> Result<Self, Failure> {
        let (mut page, mut transport, mut scenario, mut seed) = (None, None, "whole".to_owned(), 1);
        let mut keys = Source::Random;
        let mut words = env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--page" => page = Some(value()?),
                "--listen" => transport = Some(Transport::Listen(value()?)),
                "--connect" => transport = Some(Transport::Connect(value()?)),
                "--serial" => transport = Some(Transport::Serial(value()?)),
                "--scenario" => scenario = value()?,
                "--fixed-keys" => keys = Source::Fixed,
                "--seed" => seed = value()?.parse()?,
                _ => return Err(format!("unknown option {word}; --help lists them").into()),
            }
        }
        let page = page.ok_or("--page is needed")?;
        let transport = transport.ok_or("--listen, --connect or --serial is needed")?;
        Ok(Self { page, transport, scenario, seed, keys })
    }
}

fn main() -> ExitCode {
    if env::args().any(|word| word == "--help") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match Options::parse().and_then(|options| serve(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("backend: FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(options: &Options) -> Result<(), Failure> {
    let known = SCENARIOS.iter().find(|(name, _)| *name == options.scenario);
    let (_, scenario) = known.ok_or("there is no such scenario; --help lists them")?;
    let (keys, page) = Keys::make(options.keys)?;
    write_whole(&options.page, &page)?;
    let mut line = match &options.transport {
        Transport::Listen(file) => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            write_whole(file, listener.local_addr()?.port().to_string().as_bytes())?;
            Line::accept(&listener)?
        }
        Transport::Connect(address) => Line::connect(address)?,
        Transport::Serial(path) => Line::open(path)?,
    };
    if options.scenario == "noise" {
        line.disturb(options.seed, 500);
    }
    let mut host = Host::new(line, keys)?;
    scenario(&mut host)?;
    println!("backend: {}; noise hit {} bytes", host.oracle, host.line.hits());
    Ok(())
}

/// Writes a file so that who waits for it never reads half of it.
fn write_whole(path: &str, bytes: &[u8]) -> Result<(), Failure> {
    let draft = format!("{path}.draft");
    fs::write(&draft, bytes)?;
    Ok(fs::rename(&draft, path)?)
}
