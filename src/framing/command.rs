//! Commands and their results, as frames.

use super::BootTag;
use crate::codec::{BufferTooSmall, DecodeError, Reader, Writer};
use crate::limits::{MAX_COMMAND_BODY, MAX_COMMAND_RESULT};
use crate::time::Instant;

/// A Command frame: asks the device's application to do something, once and before a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandFrame<'a> {
    /// Its number in this session, 1 or more, above every earlier one's.
    pub id: u64,
    /// The boot of which `deadline` is the time.
    pub boot: u32,
    /// That boot's tag.
    pub tag: BootTag,
    /// From when on the device refuses it, in the device's own milliseconds since that boot.
    pub deadline: Instant,
    /// What to do: the application's own code. From [`CONFIGURATION_KIND`] on it is configuration.
    pub kind: u16,
    /// How to do it, at most 256 bytes.
    pub body: &'a [u8],
}

/// The first kind of a command that is configuration, and needs that scope instead of the one for commands.
pub const CONFIGURATION_KIND: u16 = 0x8000;

/// Why a device did not even begin with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CommandRefusal {
    /// The backend's credential does not permit it, or the device's own.
    OutOfScope = 1,
    /// It is for another boot.
    OtherBoot = 2,
    /// Its deadline has passed.
    TooLate = 3,
    /// A later one has come before it.
    Superseded = 4,
}

impl CommandRefusal {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            1 => Ok(Self::OutOfScope),
            2 => Ok(Self::OtherBoot),
            3 => Ok(Self::TooLate),
            4 => Ok(Self::Superseded),
            _ => Err(DecodeError::OutOfRange),
        }
    }
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandResult<'a> {
    /// The application has done it, and says this about it, at most 64 bytes.
    Done(&'a [u8]),
    /// The application has tried, or declined, with a code of its own.
    Failed(u16),
    /// The device refused it: the application has not seen it.
    Refused(CommandRefusal),
}

/// A CommandResult frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandResultFrame<'a> {
    /// The command's number.
    pub id: u64,
    /// What became of it.
    pub result: CommandResult<'a>,
}

/// Reads a command's number.
fn command_id(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let id = reader.varint()?;
    if id == 0 { Err(DecodeError::OutOfRange) } else { Ok(id) }
}

/// Reads the rest, at most `max` bytes.
fn bounded<'a>(reader: &mut Reader<'a>, max: usize) -> Result<&'a [u8], DecodeError> {
    let body = reader.rest();
    if body.len() > max { Err(DecodeError::OutOfRange) } else { Ok(body) }
}

impl<'a> CommandFrame<'a> {
    //= SPEC.md#commands
    //# A reader MUST refuse a Command or CommandResult frame whose id is 0, whose body is longer than 256 or 64 bytes, or whose status or reason is unknown.
    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            id: command_id(reader)?,
            boot: reader.varint_as()?,
            tag: BootTag(reader.array()?),
            deadline: Instant::from_millis(reader.varint()?),
            kind: reader.varint_as()?,
            body: bounded(reader, MAX_COMMAND_BODY)?,
        })
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), BufferTooSmall> {
        out.varint(self.id)?;
        out.varint(self.boot.into())?;
        out.bytes(&self.tag.0)?;
        out.varint(self.deadline.as_millis())?;
        out.varint(self.kind.into())?;
        out.bytes(self.body)
    }
}

impl<'a> CommandResultFrame<'a> {
    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let id = command_id(reader)?;
        let result = match reader.u8()? {
            0 => CommandResult::Done(bounded(reader, MAX_COMMAND_RESULT)?),
            1 => CommandResult::Failed(reader.varint_as()?),
            2 => CommandResult::Refused(CommandRefusal::read(reader)?),
            _ => return Err(DecodeError::OutOfRange),
        };
        Ok(Self { id, result })
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), BufferTooSmall> {
        out.varint(self.id)?;
        match self.result {
            CommandResult::Done(body) => {
                out.u8(0)?;
                out.bytes(body)
            }
            CommandResult::Failed(code) => {
                out.u8(1)?;
                out.varint(code.into())
            }
            CommandResult::Refused(reason) => {
                out.u8(2)?;
                out.u8(reason as u8)
            }
        }
    }
}
