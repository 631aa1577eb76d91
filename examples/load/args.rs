//! The command line.

pub const HELP: &str = "\
Many devices send measurements to a backend of several shards, over UDP on this machine.

usage: cargo run --release --example load -- [options]

  --devices N   devices, 1 to 100000                                    (10000)
  --shards N    shards of the backend, each with a thread, 1 to 16      (2)
  --seconds N   how long they measure once all are connected, 1 to 3600 (20)
  --rate N      measurements a second of each device, 1 to 100          (1)
  --ramp N      seconds over which they come, 0 to 600                  (10)
  --socket N    devices that share a socket, as behind a gateway, 1 to 1000  (20)
  --help        this text

Prints sessions, records and packets a second, how long it takes from the measurement to the commit, and what the
service takes of memory and of the processor. The exit code is 0 if every record arrived exactly once, 1 if not, 2 for
wrong arguments.";

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Args {
    pub devices: usize,
    pub shards: usize,
    pub seconds: u64,
    pub rate: u64,
    pub ramp: u64,
    pub per_socket: usize,
}

impl Args {
    /// Reads the command line; `Ok(None)` means that help was asked for.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut args = Self { devices: 10_000, shards: 2, seconds: 20, rate: 1, ramp: 10, per_socket: 20 };
        while let Some(word) = words.next() {
            let (name, attached) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (word.as_str(), None),
            };
            let (least, most) = match name {
                "--help" | "-h" if attached.is_none() => return Ok(None),
                "--devices" => (1, 100_000),
                "--shards" => (1, 16),
                "--seconds" => (1, 3600),
                "--rate" => (1, 100),
                "--ramp" => (0, 600),
                "--socket" => (1, 1000),
                _ => return Err(format!("unknown argument `{word}`")),
            };
            let text =
                attached.or_else(|| words.next()).ok_or_else(|| format!("{name} needs a number after it"))?;
            let value = text.parse::<u64>().ok().filter(|value| (least..=most).contains(value));
            let value =
                value.ok_or_else(|| format!("{name} takes a number from {least} to {most}, not `{text}`"))?;
            match name {
                "--devices" => args.devices = value as usize,
                "--shards" => args.shards = value as usize,
                "--seconds" => args.seconds = value,
                "--rate" => args.rate = value,
                "--ramp" => args.ramp = value,
                _ => args.per_socket = value as usize,
            }
        }
        Ok(Some(args))
    }
}
