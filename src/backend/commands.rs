//! Commands to devices: in one session, on a validated path, before a deadline; never stored and forwarded.

use super::event::{BackendEvent, Received, SlotRef};
use super::live::Live;
use super::policy::SenderId;
use super::time_sync::SessionClock;
use super::{Backend, Path};
use crate::codec::varint_len;
use crate::error::{CallError, Discard};
use crate::framing::{CommandFrame, CommandRefusal, CommandResult, CommandResultFrame, Frame, FrameWriter};
use crate::identity::{Identity, Scopes};
use crate::limits::{
    COMMAND_RESULT_WAIT, INITIAL_RTO, MAX_COMMAND_BODY, MAX_COMMAND_LIFE, MAX_COMMANDS, MAX_RTO,
};
use crate::permission::command_scope;
use crate::time::{Duration, Instant};
use crate::wire::TAG_LEN;
use alloc::vec::Vec;

/// A command that was given to a device's session: [`BackendEvent::CommandEnded`] names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CommandId {
    shard: u8,
    session: SlotRef,
    number: u64,
}

impl CommandId {
    /// Returns its number in the session, from 1: the audit log names it so.
    pub(super) const fn number(self) -> u64 {
        self.number
    }
}

/// Something for a device to do, once and soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command<'a> {
    /// What: the application's own code. From [`CONFIGURATION_KIND`](crate::framing::CONFIGURATION_KIND) on it is
    /// configuration, and needs that scope instead of the one for commands.
    pub kind: u16,
    /// How, at most 256 bytes.
    pub body: &'a [u8],
    /// For how long from now on the device may begin it, at most an hour: by the device's clock, so whatever delays
    /// it on its way only shortens this.
    pub ttl: Duration,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CommandOutcome {
    /// The device has done it: [`Received::CommandDone`] came just before, with what it says.
    Done,
    /// The device's application has tried, or declined, with a code of its own.
    Failed(u16),
    /// The device refused it: it was not begun.
    Refused(CommandRefusal),
    /// It was never sent: nothing was heard of the device in time. It was not begun.
    NotSent,
    /// It was sent, and no result came: it may have been done or not. Ask the device, or look at it.
    Unknown,
}

/// A command without a result yet.
struct Underway {
    number: u64,
    kind: u16,
    body: Vec<u8>,
    /// When the application's time for it is over.
    expires: Instant,
    /// The boot and the deadline, once a stamp was there; each sending has the same.
    deadline: Option<Deadline>,
    /// When it is to be sent, or sent again.
    due: Instant,
    sends: u32,
}

#[derive(Clone, Copy)]
struct Deadline {
    boot: (u32, crate::framing::BootTag),
    at: Instant,
}

/// What a session has for its device besides records' acknowledgements.
#[derive(Default)]
pub(super) struct Downlink {
    numbers: u64,
    underway: Vec<Underway>,
    pub(super) clock: SessionClock,
    /// A command is to be sent.
    ready: bool,
}

impl Underway {
    /// When it is given up.
    fn ends(&self) -> Instant {
        if self.sends > 0 { self.expires + COMMAND_RESULT_WAIT } else { self.expires }
    }

    /// Returns its frame, if it may be sent now.
    fn frame(&self, now: Instant) -> Option<CommandFrame<'_>> {
        let Deadline { boot: (boot, tag), at: deadline } = self.deadline?;
        let frame = CommandFrame { id: self.number, boot, tag, deadline, kind: self.kind, body: &self.body };
        (self.due <= now).then_some(frame)
    }

    fn postpone(&mut self, now: Instant) {
        let doubled = INITIAL_RTO.saturating_mul(1u64.wrapping_shl(self.sends.min(6)));
        self.due = now + doubled.min(MAX_RTO);
    }
}

/// Which commands a packet carries: those with these numbers.
pub(super) type CommandsSent = [u64; MAX_COMMANDS];

impl Downlink {
    /// Returns when something will be due next; what is due already waits for its packet.
    pub(super) fn next_timer(&self, now: Instant) -> Option<Instant> {
        let waiting = |command: &&Underway| command.deadline.is_some() && command.due > now;
        let sends = self.underway.iter().filter(waiting).map(|command| command.due);
        let ends = self.underway.iter().map(Underway::ends);
        sends.chain(ends).chain(self.clock.next_timer(now)).min()
    }

    /// Sets the deadlines of commands that wait for a stamp, and tells what is to be sent now.
    fn refresh(&mut self, now: Instant) {
        let mut waits = false;
        for command in self.underway.iter_mut().filter(|command| command.deadline.is_none()) {
            //= SPEC.md#commands
            //# A backend MUST compute a command's deadline as the device's clock at least is by now, plus what is left of the command's time.
            match self.clock.device_now(now) {
                Some((boot, device)) if now < command.expires => {
                    command.deadline = Some(Deadline { boot, at: device + command.expires.since(now) });
                    command.due = now;
                }
                _ => waits = true,
            }
        }
        self.clock.refresh(now, waits);
        self.ready = self.underway.iter().any(|command| command.frame(now).is_some());
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// Writes the commands that are due and fit.
    pub(super) fn write(&self, now: Instant, writer: &mut FrameWriter<'_>) -> CommandsSent {
        let mut sent = CommandsSent::default();
        let due = self.underway.iter().filter_map(|command| command.frame(now));
        for (slot, frame) in sent.iter_mut().zip(due) {
            if writer.push(&Frame::Command(frame)).is_ok() {
                *slot = frame.id;
            }
        }
        sent
    }

    /// Takes note of what a sealed packet carries. What did not fit comes with the next one; if nothing did, later.
    pub(super) fn sent(&mut self, now: Instant, sent: &CommandsSent) {
        let none = *sent == CommandsSent::default();
        for command in self.underway.iter_mut().filter(|command| command.frame(now).is_some()) {
            let carried = sent.contains(&command.number);
            if carried || none {
                command.postpone(now);
            }
            command.sends = command.sends.saturating_add(carried.into());
        }
        self.ready = self.underway.iter().any(|command| command.frame(now).is_some());
    }

    /// Takes out those whose time is over, or all, and says what became of each.
    fn take_ended(&mut self, now: Option<Instant>) -> Option<(u64, CommandOutcome)> {
        self.take(|command| now.is_none_or(|now| command.ends() <= now))
    }

    fn take(&mut self, ended: impl Fn(&Underway) -> bool) -> Option<(u64, CommandOutcome)> {
        let command = self.underway.remove(self.underway.iter().position(ended)?);
        //= SPEC.md#commands
        //# A backend MUST report a command that was sent and has no result as unknown.
        let outcome = if command.sends > 0 { CommandOutcome::Unknown } else { CommandOutcome::NotSent };
        Some((command.number, outcome))
    }
}

impl<P: Path> Live<P> {
    /// Tells whether there is a command or a stamp to be sent, and a path on which it may be.
    //= SPEC.md#commands
    //# A backend MUST NOT send a command on a path that is not validated.
    pub(super) fn has_downlink(&self) -> bool {
        let Some(downlink) = self.downlink() else { return false };
        downlink.clock.is_ready() || downlink.is_ready() && self.is_validated()
    }

    /// Returns when the downlink is to be looked at.
    pub(super) fn downlink_timer(&self, now: Instant) -> Option<Instant> {
        self.downlink()?.next_timer(now)
    }

    pub(super) fn downlink(&self) -> Option<&Downlink> {
        self.rare()?.downlink.as_deref()
    }

    /// Returns the downlink, if there ever was anything for it.
    pub(super) fn known_downlink(&mut self) -> Option<&mut Downlink> {
        self.rare_mut()?.downlink.as_deref_mut()
    }

    pub(super) fn downlink_mut(&mut self) -> &mut Downlink {
        self.make_rare().downlink.get_or_insert_default()
    }
}

/// Longest header, type, id below 2^35, boot, tag, deadline below 2^49 ms, kind.
const OVERHEAD: usize = 1 + 8 + 4 + 1 + 5 + 5 + 4 + 7 + 3;

impl<P: Path> Backend<P> {
    /// Has a device do something, once, in its present session, and tells what became of it in one
    /// [`BackendEvent::CommandEnded`].
    ///
    /// It is not stored and forwarded: it ends with the session. The device learns a deadline in its own clock, so
    /// the session first asks for a stamp if it has none. Later commands may overtake: the device then refuses the
    /// earlier one.
    ///
    /// # Errors
    /// [`CallError::NoSession`] if the device has no proved session here; [`CallError::OutOfScope`] unless the own
    /// credential and the device's grant have the scope that the kind needs; [`CallError::BadCommand`] if the body is
    /// too long or the time is none or above an hour; [`CallError::TooManyCommands`] if four are under way.
    ///
    /// ```
    /// use vitalwire::backend::{Backend, Command, CommandId};
    /// use vitalwire::{CallError, Duration, Instant, identity::Identity};
    /// fn stop(now: Instant, backend: &mut Backend<u64>, pump: &Identity) -> Result<CommandId, CallError> {
    ///     backend.command(now, pump, Command { kind: 1, body: b"", ttl: Duration::from_secs(10) })
    /// }
    /// ```
    pub fn command(
        &mut self,
        now: Instant,
        identity: &Identity,
        command: Command<'_>,
    ) -> Result<CommandId, CallError> {
        self.give_command(now, identity, None, command)
    }

    /// As [`Self::command`], for whoever is named; the audit log says so.
    pub(super) fn give_command(
        &mut self,
        now: Instant,
        identity: &Identity,
        sender: Option<SenderId>,
        command: Command<'_>,
    ) -> Result<CommandId, CallError> {
        let given = self.begin_command(now, identity, command);
        self.note_command(now, *identity, sender, command.kind, given);
        given
    }

    fn begin_command(
        &mut self,
        now: Instant,
        identity: &Identity,
        command: Command<'_>,
    ) -> Result<CommandId, CallError> {
        let at = self.devices.session_of(identity).ok_or(CallError::NoSession)?;
        let own = self.config.identity.credential().claimed_scopes();
        let shard = self.config.shard;
        let live = self.slots.live_mut(at).ok_or(CallError::NoSession)?;
        if live.closing.is_some() {
            return Err(CallError::NoSession);
        }
        if !(own & live.scopes).contains(command_scope(command.kind)) {
            return Err(CallError::OutOfScope);
        }
        let room = usize::from(live.max_packet).saturating_sub(OVERHEAD).saturating_sub(TAG_LEN);
        if command.body.len() > room.min(MAX_COMMAND_BODY) {
            return Err(CallError::BadCommand("its body is too long"));
        }
        if command.ttl == Duration::ZERO || command.ttl > MAX_COMMAND_LIFE {
            return Err(CallError::BadCommand("its time is none, or more than an hour"));
        }
        let downlink = live.downlink_mut();
        let next = downlink.numbers.saturating_add(1);
        // So the device, which remembers as many, never forgets one that still waits for its result.
        let oldest = downlink.underway.iter().map(|command| command.number).min().unwrap_or(next);
        if next.saturating_sub(oldest) >= MAX_COMMANDS as u64 {
            return Err(CallError::TooManyCommands);
        }
        downlink.numbers = next;
        downlink.underway.push(Underway {
            number: next,
            kind: command.kind,
            body: command.body.to_vec(),
            expires: now + command.ttl,
            deadline: None,
            due: now,
            sends: 0,
        });
        self.tend_downlink(now, at);
        Ok(CommandId { shard, session: at, number: next })
    }

    /// Does what time or a stamp requires of the downlink, and sees to its timer.
    pub(super) fn tend_downlink(&mut self, now: Instant, at: SlotRef) {
        let shard = self.config.shard;
        while let Some(identity) = self.identity_of(at)
            && let Some(live) = self.slots.live_mut(at)
            && let Some((number, outcome)) =
                live.known_downlink().and_then(|downlink| downlink.take_ended(Some(now)))
        {
            let id = CommandId { shard, session: at, number };
            self.push_event(BackendEvent::CommandEnded { identity, id, outcome });
        }
        let Some(live) = self.slots.live_mut(at) else { return };
        let Some(downlink) = live.known_downlink() else { return };
        downlink.refresh(now);
        let timer = downlink.next_timer(now);
        if live.wants_to_send() {
            self.wake(at);
        }
        if let Some(timer) = timer {
            self.slots.schedule(at, timer.max(now + Duration::from_millis(1)));
        }
    }

    /// Reports the commands that a session's scopes do not permit any more: they are not sent, or not again.
    pub(super) fn end_commands_beyond(&mut self, now: Instant, at: SlotRef, scopes: Scopes) {
        let shard = self.config.shard;
        let beyond = |command: &Underway| !scopes.contains(command_scope(command.kind));
        while let Some(identity) = self.identity_of(at)
            && let Some(live) = self.slots.live_mut(at)
            && let Some((number, outcome)) = live.known_downlink().and_then(|downlink| downlink.take(beyond))
        {
            let id = CommandId { shard, session: at, number };
            self.push_event(BackendEvent::CommandEnded { identity, id, outcome });
        }
        self.tend_downlink(now, at);
    }

    /// Reports the commands of a session that has ended.
    //= SPEC.md#commands
    //# A command MUST end with its session.
    pub(super) fn end_commands(&mut self, at: SlotRef, identity: Identity, mut downlink: Downlink) {
        let shard = self.config.shard;
        while let Some((number, outcome)) = downlink.take_ended(None) {
            let id = CommandId { shard, session: at, number };
            self.push_event(BackendEvent::CommandEnded { identity, id, outcome });
        }
    }

    pub(super) fn handle_command_result<'b>(
        &mut self,
        at: SlotRef,
        frame: CommandResultFrame<'b>,
        sink: &mut dyn FnMut(Received<'b>),
    ) {
        let shard = self.config.shard;
        let Some(identity) = self.identity_of(at) else { return };
        let Some(live) = self.slots.live_mut(at) else { return };
        let ended = live.known_downlink().and_then(|downlink| {
            let asked = |command: &Underway| command.number == frame.id && command.sends > 0;
            let index = downlink.underway.iter().position(asked)?;
            Some(downlink.underway.remove(index))
        });
        if ended.is_none() {
            return self.discards.count(Discard::Unsolicited);
        }
        let id = CommandId { shard, session: at, number: frame.id };
        let outcome = match frame.result {
            CommandResult::Done(body) => {
                sink(Received::CommandDone { identity, id, body });
                CommandOutcome::Done
            }
            CommandResult::Failed(code) => CommandOutcome::Failed(code),
            CommandResult::Refused(reason) => CommandOutcome::Refused(reason),
        };
        self.push_event(BackendEvent::CommandEnded { identity, id, outcome });
    }
}

/// The overhead above has room for an id and a kind of any length that occurs.
const _: () = assert!(varint_len(u16::MAX as u64) <= 3);
