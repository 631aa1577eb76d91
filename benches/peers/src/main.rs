//! vitalwire beside its peers, in one process, in turn. README.md says what each row contains.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml [--features aws-lc-rs] [-- OPTIONS]
//! ```

mod aead;
#[path = "../../common/mod.rs"]
mod common;
mod decode;
mod fleet;
mod handshakes;
mod measure;
mod memory;
mod noise;
mod own;
mod passes;
mod records;
mod sessions;
mod storm;
mod tls;
mod wireguard;

use measure::Effort;
use std::process::ExitCode;
use vitalwire::crypto::PROVIDER;

const USAGE: &str = "\
usage: vitalwire-peers [--quick] [--table N]... [--devices N]

  --quick      small counts, some seconds: shows that everything works, the figures mean nothing
  --table N    this table only, 1 to 6; may be given more than once
  --devices N  devices in the reconnect storm (table 5): 10000, or 500 with --quick
  --help       this text

  1 seal + open   2 many sessions   3 handshakes   4 memory   5 reconnect storm   6 decoding

Build with --features aws-lc-rs for vitalwire on AWS-LC; without it, it runs on the pure Rust crates.";

struct Options {
    effort: Effort,
    tables: Vec<u32>,
    devices: usize,
}

/// What the words of the command line ask for; `Err` says which is wrong.
fn options(words: &[String]) -> Result<Option<Options>, String> {
    let (mut quick, mut tables, mut devices) = (false, Vec::new(), None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut number = |most: u32| {
            let value = words.next().ok_or_else(|| format!("{word} needs a number"))?;
            let number = value.parse().ok().filter(|number| (1..=most).contains(number));
            number.ok_or_else(|| format!("{word} takes a number from 1 to {most}, not {value:?}"))
        };
        match word.as_str() {
            "--help" | "-h" => return Ok(None),
            "--quick" => quick = true,
            "--table" => tables.push(number(6)?),
            // The most that a shard has room for, less the handshakes under way.
            "--devices" => devices = Some(number(1_000_000)? as usize),
            _ => return Err(format!("unknown option {word:?}")),
        }
    }
    if tables.is_empty() {
        tables = (1..=6).collect();
    }
    let effort = Effort { quick };
    Ok(Some(Options { effort, tables, devices: devices.unwrap_or(effort.of(10_000, 500)) }))
}

/// The size of the largest cache, if the system tells.
fn last_level_cache() -> String {
    let size = |index: u32| {
        std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size")).ok()
    };
    let largest = (0..8).filter_map(size).next_back();
    largest.map_or_else(|| "unknown".into(), |size| size.trim().to_owned())
}

fn print_head(words: &[String]) {
    let feature = if cfg!(feature = "aws-lc-rs") { " --features aws-lc-rs" } else { "" };
    let words = if words.is_empty() { String::new() } else { format!(" -- {}", words.join(" ")) };
    println!("cargo run --release --manifest-path benches/peers/Cargo.toml{feature}{words}");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let avx2 = if cfg!(target_feature = "avx2") { "with AVX2" } else { "for the baseline processor" };
    println!(
        "vitalwire on {PROVIDER}; built {avx2}; {cores} cores, last-level cache {}; medians of rounds in turn",
        last_level_cache()
    );
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let options = match options(&words) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("error: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    print_head(&words);
    if options.effort.quick {
        println!("--quick: these figures mean nothing");
    }
    for table in options.tables {
        print!("\n{table}. ");
        match table {
            1 => passes::print(options.effort),
            2 => sessions::print(options.effort),
            3 => handshakes::print(options.effort),
            4 => memory::print(options.effort),
            5 => storm::print(options.devices),
            _ => decode::print(options.effort),
        }
    }
    ExitCode::SUCCESS
}
