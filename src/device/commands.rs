//! Commands of the backend: each is done at most once, in its session and its boot, and before its deadline.

use super::live::Live;
use super::{Device, DeviceEvent, DeviceReceived};
use crate::codec::varint_len;
use crate::error::{CallError, Discard};
use crate::framing::{CommandFrame, CommandRefusal, CommandResult, CommandResultFrame, Frame, FrameWriter};
use crate::limits::{MAX_COMMAND_RESULT, MAX_COMMANDS};
use crate::permission::command_scope;
use crate::time::Instant;

/// A command that the application was given: to be answered with
/// [`Device::command_result`], once. A stale one is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CommandId(u32);

impl CommandId {
    /// Returns the handle as a number, to pass it on where no Rust type goes: to C, or through a queue of bytes.
    pub const fn code(self) -> u32 {
        self.0
    }

    /// Takes the number of [`CommandId::code`] back. One that no command has is stale, and so harmless.
    ///
    /// ```
    /// use vitalwire::device::CommandId;
    /// assert_eq!(CommandId::from_code(7).code(), 7);
    /// ```
    pub const fn from_code(code: u32) -> Self {
        Self(code)
    }
}

/// A result as it is kept, so that each repetition of it is the same.
#[derive(Clone, Copy)]
enum Kept {
    /// The application is at it.
    Pending,
    Done {
        len: usize,
        bytes: [u8; MAX_COMMAND_RESULT],
    },
    Failed(u16),
    Refused(CommandRefusal),
}

#[derive(Clone, Copy)]
struct Entry {
    id: u64,
    handle: CommandId,
    kept: Kept,
    /// The result is to be sent.
    due: bool,
}

impl Entry {
    /// How long the body of the frame with its result is.
    fn frame_len(&self) -> usize {
        let body = match self.kept {
            Kept::Pending => 0,
            Kept::Done { len, .. } => len,
            Kept::Failed(code) => varint_len(code.into()),
            Kept::Refused(_) => 1,
        };
        varint_len(self.id).saturating_add(1).saturating_add(body)
    }
}

/// The last commands of a session with their results.
#[derive(Default)]
pub(super) struct CommandTable {
    entries: [Option<Entry>; MAX_COMMANDS],
    /// The highest id that was ever seen.
    highest: u64,
    /// An id that came after a higher one, to be refused.
    late: Option<u64>,
}

/// What a command's id says.
enum Meeting {
    New,
    Repeated,
    Superseded,
}

/// Which results a packet carries: a bit for each entry, and one for the late id.
#[derive(Clone, Copy, Default)]
pub(super) struct ResultsSent(u8);

const LATE: u8 = 1 << 7;
const _: () = assert!(MAX_COMMANDS < 8);

impl CommandTable {
    fn meet(&mut self, id: u64) -> Meeting {
        if let Some(entry) = self.entries.iter_mut().flatten().find(|entry| entry.id == id) {
            //= SPEC.md#commands
            //# A device MUST NOT do a command twice; it answers a repeated id with the same result, as long as it is among the last 4.
            entry.due = !matches!(entry.kept, Kept::Pending);
            return Meeting::Repeated;
        }
        //= SPEC.md#commands
        //# A device MUST refuse a command whose id is below that of another command of the session, if it has not seen it before.
        if id <= self.highest {
            self.late = Some(id);
            return Meeting::Superseded;
        }
        self.highest = id;
        Meeting::New
    }

    /// Keeps a new command in the place of the oldest one.
    fn keep(&mut self, id: u64, handle: CommandId, kept: Kept) {
        let due = !matches!(kept, Kept::Pending);
        let oldest = self.entries.iter_mut().min_by_key(|entry| entry.map_or(0, |entry| entry.id));
        if let Some(slot) = oldest {
            *slot = Some(Entry { id, handle, kept, due });
        }
    }

    /// Tells whether a result is to be sent that fits a frame with a body of `space` bytes.
    pub(super) fn is_due(&self, space: usize) -> bool {
        let fits = |entry: &Entry| entry.due && entry.frame_len() <= space;
        self.late.is_some() || self.entries.iter().flatten().any(fits)
    }

    /// Writes the results that are due and fit.
    pub(super) fn write(&self, writer: &mut FrameWriter<'_>) -> ResultsSent {
        let mut sent = ResultsSent::default();
        for (index, entry) in self.entries.iter().enumerate() {
            let Some(entry) = entry.as_ref().filter(|entry| entry.due) else { continue };
            let result = match &entry.kept {
                Kept::Pending => continue,
                Kept::Done { len, bytes } => CommandResult::Done(bytes.get(..*len).unwrap_or_default()),
                Kept::Failed(code) => CommandResult::Failed(*code),
                Kept::Refused(reason) => CommandResult::Refused(*reason),
            };
            let frame = CommandResultFrame { id: entry.id, result };
            if writer.push(&Frame::CommandResult(frame)).is_ok() {
                sent.0 |= 1u8.wrapping_shl(index as u32);
            }
        }
        if let Some(id) = self.late {
            let result = CommandResult::Refused(CommandRefusal::Superseded);
            if writer.push(&Frame::CommandResult(CommandResultFrame { id, result })).is_ok() {
                sent.0 |= LATE;
            }
        }
        sent
    }

    /// Takes note of what a sealed packet carries.
    pub(super) fn sent(&mut self, sent: ResultsSent) {
        for (index, entry) in self.entries.iter_mut().enumerate() {
            if let Some(entry) = entry
                && sent.0 & 1u8.wrapping_shl(index as u32) != 0
            {
                entry.due = false;
            }
        }
        if sent.0 & LATE != 0 {
            self.late = None;
        }
    }
}

/// What stands around the body of a result in a packet of its own: type, id below 2^35, status.
const RESULT_OVERHEAD: usize = 1 + 5 + 1;

impl Device<'_> {
    /// Answers a command that came as [`DeviceReceived::Command`]: what was done, with a few bytes on it (at most
    /// 64), or the application's own code of why not. Its deadline may have passed meanwhile: say what happened.
    ///
    /// # Errors
    /// [`CallError::StaleHandle`] if it was answered already, or its session has ended: nobody waits for it.
    /// [`CallError::BadCommand`] if the bytes are more than 64, or than fit the smallest packet.
    ///
    /// ```
    /// use vitalwire::{CallError, Instant, device::{CommandId, Device}};
    /// fn stop_pump(now: Instant, deadline: Instant, id: CommandId, device: &mut Device<'_>) -> Result<(), CallError> {
    ///     // Looked at again here: the command may have waited in the application.
    ///     let result = if now < deadline { Ok(&b"stopped"[..]) } else { Err(1) };
    ///     device.command_result(id, result)
    /// }
    /// ```
    pub fn command_result(&mut self, id: CommandId, result: Result<&[u8], u16>) -> Result<(), CallError> {
        let room = self.config.packet_room().saturating_sub(RESULT_OVERHEAD).min(MAX_COMMAND_RESULT);
        let table = self.live.as_mut().map(|live| &mut live.commands).ok_or(CallError::StaleHandle)?;
        let entry = table.entries.iter_mut().flatten().find(|entry| entry.handle == id);
        let entry =
            entry.filter(|entry| matches!(entry.kept, Kept::Pending)).ok_or(CallError::StaleHandle)?;
        entry.kept = match result {
            Err(code) => Kept::Failed(code),
            Ok(body) => {
                let mut bytes = [0; MAX_COMMAND_RESULT];
                let space = bytes.get_mut(..body.len()).filter(|_| body.len() <= room);
                let space = space.ok_or(CallError::BadCommand("its result is too long"))?;
                space.copy_from_slice(body);
                Kept::Done { len: body.len(), bytes }
            }
        };
        entry.due = true;
        Ok(())
    }

    pub(super) fn handle_command<'b>(
        &mut self,
        now: Instant,
        command: CommandFrame<'b>,
        sink: &mut dyn FnMut(DeviceReceived<'b>),
    ) {
        let Some(live) = &mut self.live else { return };
        match live.commands.meet(command.id) {
            Meeting::New => {}
            Meeting::Repeated => return self.discards.count(Discard::RepeatedCommand),
            Meeting::Superseded => return self.refuse_command(command.kind, CommandRefusal::Superseded),
        }
        self.command_handles = self.command_handles.wrapping_add(1);
        let handle = CommandId(self.command_handles);
        if let Some(reason) = self.refusal(now, &command) {
            if let Some(live) = &mut self.live {
                live.commands.keep(command.id, handle, Kept::Refused(reason));
            }
            return self.refuse_command(command.kind, reason);
        }
        if let Some(live) = &mut self.live {
            live.commands.keep(command.id, handle, Kept::Pending);
        }
        let CommandFrame { kind, body, deadline, .. } = command;
        sink(DeviceReceived::Command { id: handle, kind, body, deadline });
    }

    /// Says why a new command must not be done.
    fn refusal(&self, now: Instant, command: &CommandFrame<'_>) -> Option<CommandRefusal> {
        //= SPEC.md#commands
        //# A device MUST refuse a command unless the backend's credential and its own have the scope that the kind needs.
        let needed = command_scope(command.kind);
        let peer = self.live.as_ref().map(Live::peer_scopes)?;
        if !(peer & self.scopes).contains(needed) {
            return Some(CommandRefusal::OutOfScope);
        }
        //= SPEC.md#commands
        //# A device MUST refuse a command of another boot number or boot tag than its present ones.
        if command.boot != self.boot || self.boot_tag != Some(command.tag) {
            return Some(CommandRefusal::OtherBoot);
        }
        //= SPEC.md#commands
        //# A device MUST refuse a command whose deadline is not later than its own clock.
        (command.deadline <= now).then_some(CommandRefusal::TooLate)
    }

    fn refuse_command(&mut self, kind: u16, reason: CommandRefusal) {
        self.discards.count(Discard::CommandRefused);
        self.events.push(DeviceEvent::CommandRefused { kind, reason });
    }
}
