//! What the two ends tell each other about their clocks, as a frame.

use super::{BootTag, Sender};
use crate::codec::{BufferTooSmall, DecodeError, Reader, Writer};
use crate::limits::MAX_UNIX_MILLIS;
use crate::time::{Duration, Instant};
use serde::{Deserialize, Serialize};

/// How good a wall clock is, with its code on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ClockQuality {
    /// Nobody knows: it may be years off.
    Unknown = 0,
    /// Somebody set it by hand: as good as that person.
    SetByHand = 1,
    /// Computed from other clocks.
    Estimated = 2,
    /// Synchronised with UTC.
    Synchronised = 3,
}

/// A reading of a wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct WallReading {
    /// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds (POSIX), below 2^45.
    pub unix_millis: u64,
    /// How good the clock is.
    pub quality: ClockQuality,
    /// By how much it is off at most, to either side; below 2^32 ms. Means nothing below [`ClockQuality::Estimated`].
    pub error: Duration,
}

/// Names an earlier TimeSync frame of the other end, so that it learns the round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeEcho {
    /// That frame's `sent`.
    pub sent: Instant,
    /// For how long its receiver has held it since it arrived.
    pub held: Duration,
}

/// A TimeSync frame: a stamp of the sender's monotonic clock, and what goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeSyncFrame {
    /// Whether the other end is to answer with a TimeSync frame that echoes this one.
    pub ask: bool,
    /// When this frame was written, on the sender's monotonic clock.
    pub sent: Instant,
    /// The boot of which `sent` is the time: in a device's frames, and only there.
    pub boot: Option<(u32, BootTag)>,
    /// The frame that this one answers.
    pub echo: Option<TimeEcho>,
    /// The sender's wall clock at `sent`, if it has one.
    pub wall: Option<WallReading>,
}

const ASK: u8 = 1;
const BOOT: u8 = 1 << 1;
const ECHO: u8 = 1 << 2;
const WALL: u8 = 1 << 3;

impl WallReading {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let unix_millis = reader.varint()?;
        if unix_millis >= MAX_UNIX_MILLIS {
            return Err(DecodeError::OutOfRange);
        }
        let quality = match reader.u8()? {
            0 => ClockQuality::Unknown,
            1 => ClockQuality::SetByHand,
            2 => ClockQuality::Estimated,
            3 => ClockQuality::Synchronised,
            _ => return Err(DecodeError::OutOfRange),
        };
        let error = Duration::from_millis(reader.varint_as::<u32>()?.into());
        Ok(Self { unix_millis, quality, error })
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), BufferTooSmall> {
        out.varint(self.unix_millis.min(MAX_UNIX_MILLIS.saturating_sub(1)))?;
        out.u8(self.quality as u8)?;
        out.varint(self.error.as_millis().min(u32::MAX.into()))
    }
}

impl TimeSyncFrame {
    /// A stamp with nothing else.
    pub const fn stamp(sent: Instant) -> Self {
        Self { ask: false, sent, boot: None, echo: None, wall: None }
    }

    /// Tells whether `sender` may send it: a device names its boot, a backend has none.
    pub(super) fn allowed_from(&self, sender: Sender) -> bool {
        self.boot.is_some() == (sender == Sender::Device)
    }

    //= SPEC.md#time
    //# A reader MUST refuse a TimeSync frame with reserved flags, a wall clock of 2^45 ms or more, or an unknown quality.
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let flags = reader.u8()?;
        if flags & !(ASK | BOOT | ECHO | WALL) != 0 {
            return Err(DecodeError::OutOfRange);
        }
        let sent = Instant::from_millis(reader.varint()?);
        let mut frame = Self { ask: flags & ASK != 0, ..Self::stamp(sent) };
        if flags & BOOT != 0 {
            frame.boot = Some((reader.varint_as()?, BootTag(reader.array()?)));
        }
        if flags & ECHO != 0 {
            let sent = Instant::from_millis(reader.varint()?);
            frame.echo = Some(TimeEcho { sent, held: Duration::from_millis(reader.varint()?) });
        }
        if flags & WALL != 0 {
            frame.wall = Some(WallReading::read(reader)?);
        }
        Ok(frame)
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), BufferTooSmall> {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = flag(self.ask, ASK)
            | flag(self.boot.is_some(), BOOT)
            | flag(self.echo.is_some(), ECHO)
            | flag(self.wall.is_some(), WALL);
        out.u8(flags)?;
        out.varint(self.sent.as_millis())?;
        if let Some((boot, tag)) = self.boot {
            out.varint(boot.into())?;
            out.bytes(&tag.0)?;
        }
        if let Some(echo) = self.echo {
            out.varint(echo.sent.as_millis())?;
            out.varint(echo.held.as_millis())?;
        }
        self.wall.map_or(Ok(()), |wall| wall.write(out))
    }
}
