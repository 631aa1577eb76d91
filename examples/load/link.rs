//! What the two processes tell each other, and the clock that they share.

use crate::Failure;
use crate::args::Args;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};
use vitalwire::crypto::{PublicKey, SigningKey};
use vitalwire::framing::{ChannelDescriptor, ChannelKind, Component, encode_descriptors};
use vitalwire::identity::{Authority, CredentialRequest, Role, Scopes, SubjectId};
use vitalwire::{Instant, UnixSeconds};

/// The wall clock of credentials: fixed, so that nothing here expires.
pub const TODAY: UnixSeconds = UnixSeconds(1_750_000_000);
/// The length of the devices' connection ids.
pub const DEVICE_ID: usize = 3;

/// The system's clock, from a start that both processes know.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: u64,
}

impl Clock {
    pub fn start() -> Result<Self, Failure> {
        Ok(Self { start: SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros().try_into()? })
    }

    pub fn micros(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        u64::try_from(now).unwrap_or(u64::MAX).saturating_sub(self.start)
    }

    pub fn now(&self) -> Instant {
        Instant::from_millis(self.micros() / 1000)
    }
}

/// What the devices' process must know.
pub struct Orders {
    pub args: Args,
    pub clock: Clock,
    pub server: SocketAddr,
    pub backend: PublicKey,
    pub authority: SigningKey,
}

impl Orders {
    pub fn to_line(&self) -> String {
        let Args { devices, shards, seconds, rate, ramp, per_socket } = self.args;
        format!(
            "{devices} {shards} {seconds} {rate} {ramp} {per_socket} {} {} {} {}\n",
            self.clock.start,
            self.server,
            hex(&self.backend.0),
            hex(self.authority.expose())
        )
    }

    pub fn parse(line: &str) -> Result<Self, Failure> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let &[devices, shards, seconds, rate, ramp, per_socket, start, server, backend, authority] =
            words.as_slice()
        else {
            return Err("start it without that argument".into());
        };
        Ok(Self {
            args: Args {
                devices: devices.parse()?,
                shards: shards.parse()?,
                seconds: seconds.parse()?,
                rate: rate.parse()?,
                ramp: ramp.parse()?,
                per_socket: per_socket.parse()?,
            },
            clock: Clock { start: start.parse()? },
            server: server.parse()?,
            backend: PublicKey(bytes(backend)?),
            authority: SigningKey::from_bytes(bytes(authority)?),
        })
    }
}

/// What one device says at the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub device: usize,
    pub recorded: u64,
    /// Measurements for which the outbox had no room.
    pub refused: u64,
    pub drained: bool,
    pub sessions: u32,
}

impl Tally {
    pub fn to_line(self) -> String {
        let Self { device, recorded, refused, drained, sessions } = self;
        format!("tally {device} {recorded} {refused} {drained} {sessions}")
    }

    /// Reads a line; other lines are progress, and are shown.
    pub fn parse(line: &str) -> Option<Self> {
        let tally = line.strip_prefix("tally ").and_then(|rest| {
            let mut words = rest.split(' ');
            Some(Self {
                device: words.next()?.parse().ok()?,
                recorded: words.next()?.parse().ok()?,
                refused: words.next()?.parse().ok()?,
                drained: words.next()?.parse().ok()?,
                sessions: words.next()?.parse().ok()?,
            })
        });
        if tally.is_none() {
            println!("{line}");
        }
        tally
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes(hex: &str) -> Result<[u8; 32], Failure> {
    let mut out = [0u8; 32];
    if hex.len() != 64 {
        return Err("a key has 64 digits".into());
    }
    for (index, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * index..2 * index + 2).ok_or("no digits")?, 16)?;
    }
    Ok(out)
}

pub fn subject(role: Role, number: usize) -> SubjectId {
    let mut subject = [0u8; 16];
    subject[0] = role as u8;
    subject[8..].copy_from_slice(&(number as u64).to_be_bytes());
    SubjectId(subject)
}

pub fn number(subject: SubjectId) -> usize {
    let mut number = [0u8; 8];
    number.copy_from_slice(&subject.0[8..]);
    u64::from_be_bytes(number) as usize
}

/// What is to be signed for the device or backend of this number.
pub fn request(role: Role, number: usize) -> CredentialRequest {
    let not_after = UnixSeconds(TODAY.0 + 86_400);
    CredentialRequest::new(number as u32, subject(role, number), role, Scopes::PUBLISH, TODAY, not_after)
}

/// The authority that both processes have.
pub fn signer(orders: &Orders) -> Authority {
    Authority::new(SigningKey::from_bytes(*orders.authority.expose()))
}

/// Channel 1: a heart rate and, in the place of a second value, what tells the measurement from all others.
pub fn descriptors() -> Result<Vec<u8>, Failure> {
    // MDC_ECG_HEART_RATE in MDC_DIM_BEAT_PER_MIN, three values of it: when, which, how much.
    let component = Component::new(147_842, 264_864);
    let components = [component, component, component];
    let channel = ChannelDescriptor::new(1, ChannelKind::Numeric, 147_842, (&components).into());
    let mut out = vec![0u8; 256];
    let len = encode_descriptors(&[channel], &mut out)?;
    out.truncate(len);
    Ok(out)
}
