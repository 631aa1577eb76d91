//! The command line.

use std::path::PathBuf;
use std::time::Duration;

pub const HELP: &str = "\
A ward of devices sends real signals to a backend over UDP, through a relay that does its worst.

usage: cargo run --release --example ward -- [options]

  --devices N      devices in the ward, 1 to 100              (8)
  --seconds N      how long they measure, 1 to 3600, by the clock on the wall  (20)
  --speed N        how many times faster the ward's clock runs, 1 to 60        (30)
  --seed N         fixes the relay's decisions: the fate of the n-th packet of each link  (1)
  --loss P         percent of packets that are dropped, 0 to 90                (20)
  --duplicate P    percent of packets that come twice to four times, 0 to 100  (30)
  --reorder P      percent of packets that are held back, 0 to 100             (30)
  --attack P       percent of packets upon which the relay corrupts, as many upon which it replays,
                   splices and forges, 0 to 20                                 (3)
  --strangers N    packets that strangers send for each one of the ward's devices, 0 to 100  (20)
  --audit FILE     keeps the audit log in FILE, for `cargo run --example audit`; else it is removed at the end
  --capture FILE   writes what the backend stored to FILE, for `cargo run --example inspect`
  --provider       tells which crypto provider this program was compiled with, and how to choose the other
  --help           this text

Of every four devices one changes between two networks, one sleeps most of the time, and one has storage and boots
three times: its power fails, and later it is updated. Half way the backend dies and another one takes its place: it
knows only what was stored. Who comes back resumes with a ticket.

Besides, there are a flood of strangers from many ports, two impostors, a device that is revoked after a quarter of the
time and comes again and again, and one that sends and is commanded what its credential does not permit. The backend
writes an audit log, which is verified at the end and compared with its counters.

The devices, the backend, its storage and the relay share one clock. With the default speed, 20 seconds are 10 minutes of
signal. The exit code is 0 if every record arrived exactly once and unaltered, but for what a device had in RAM only when
its power failed, nothing was accepted that should not be, the audit log has what was refused, and the devices rekeyed as
often as they should; 1 if not; 2 for wrong arguments.";

/// What is known of the crypto provider.
pub fn provider() -> String {
    let other = match cfg!(feature = "aws-lc-rs") {
        true => "without the feature `aws-lc-rs` it is pure Rust",
        false => "with `--features aws-lc-rs` it is AWS-LC",
    };
    format!("crypto provider: {}, chosen when this was compiled; {other}", vitalwire::crypto::PROVIDER)
}

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Asked {
    Run(Args),
    Help,
    Provider,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Args {
    pub devices: usize,
    pub seconds: u64,
    pub speed: u64,
    pub seed: u64,
    pub loss: u64,
    pub duplicate: u64,
    pub reorder: u64,
    pub attack: u64,
    pub strangers: u64,
    pub audit: Option<PathBuf>,
    pub capture: Option<PathBuf>,
}

impl Args {
    /// Reads the command line.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Asked, String> {
        let mut args = Self {
            devices: 8,
            seconds: 20,
            speed: 30,
            seed: 1,
            loss: 20,
            duplicate: 30,
            reorder: 30,
            attack: 3,
            strangers: 20,
            audit: None,
            capture: None,
        };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--help" | "-h" => return Ok(Asked::Help),
                "--provider" => return Ok(Asked::Provider),
                _ => {}
            }
            let known = |name: &str| OPTIONS.iter().find(|(option, ..)| *option == name);
            let (name, attached) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (word.as_str(), None),
            };
            if let "--capture" | "--audit" = name {
                let file = attached.or_else(|| words.next()).filter(|file| !file.is_empty());
                let file = file.ok_or_else(|| format!("{name} needs a file after it"))?.into();
                *(if name == "--audit" { &mut args.audit } else { &mut args.capture }) = Some(file);
                continue;
            }
            if let ("--provider" | "--help", Some(_)) = (name, &attached) {
                return Err(format!("{name} takes no value"));
            }
            let &(name, least, most) = known(name).ok_or_else(|| format!("unknown argument `{word}`"))?;
            let text =
                attached.or_else(|| words.next()).ok_or_else(|| format!("{name} needs a number after it"))?;
            let value = text.parse::<u64>().ok().filter(|value| (least..=most).contains(value));
            let value =
                value.ok_or_else(|| format!("{name} takes a number from {least} to {most}, not `{text}`"))?;
            match name {
                "--devices" => args.devices = value as usize,
                "--seconds" => args.seconds = value,
                "--speed" => args.speed = value,
                "--seed" => args.seed = value,
                "--loss" => args.loss = value,
                "--duplicate" => args.duplicate = value,
                "--reorder" => args.reorder = value,
                "--strangers" => args.strangers = value,
                _ => args.attack = value,
            }
        }
        Ok(Asked::Run(args))
    }

    /// How long the devices measure, by the clock on the wall.
    pub const fn playing(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// How long they measure, by the ward's clock.
    pub const fn measured(&self) -> vitalwire::Duration {
        vitalwire::Duration::from_secs(self.seconds * self.speed)
    }
}

/// Name, least and greatest value.
const OPTIONS: [(&str, u64, u64); 9] = [
    ("--devices", 1, 100),
    ("--seconds", 1, 3600),
    ("--speed", 1, 60),
    ("--seed", 0, u64::MAX),
    ("--loss", 0, 90),
    ("--duplicate", 0, 100),
    ("--reorder", 0, 100),
    ("--attack", 0, 20),
    ("--strangers", 0, 100),
];
