//! One attempt to connect: its packets, from the Hello to the session.

use super::connect::{doubled, prolonged};
use super::live::{FinishRepeat, Joined, Live, Repeat};
use super::resume::{ResumeStep, Resuming};
use super::{Device, DeviceConfig, DeviceEvent};
use crate::entropy::Entropy;
use crate::error::{CallError, CloseReason, Discard};
use crate::framing::BootTag;
use crate::handshake::{
    AwaitingReply, AwaitingResume, Established, HandshakeError, Initiator, ReplyFailure, ReplyOutcome,
    ReplyRead, copied, reserve,
};
use crate::limits::{HANDSHAKE_RTO, HANDSHAKE_SENDS, RESUME_SENDS};
use crate::time::Instant;
use crate::wire::{Cookie, Reset};
use alloc::vec::Vec;

/// One attempt.
pub(super) struct Attempt {
    pub(super) stage: Stage,
    /// The Hello, to repeat it.
    pub(super) packet: Vec<u8>,
    pub(super) sends: u8,
    pub(super) due: Instant,
    pub(super) cookie: Option<Cookie>,
    pub(super) pinned: bool,
    pub(super) serial: u32,
    /// How long the storage may take to erase the ticket.
    pub(super) patience: Option<Instant>,
    pub(super) resuming: Option<Resuming>,
}

pub(super) enum Stage {
    /// A Hello must be made.
    Start,
    Hello(AwaitingReply),
    /// A resumption's Hello was sent.
    Resume(AwaitingResume),
    /// A Finish must be made.
    Reply(ReplyRead),
    /// Between two states, or dead.
    Gone,
}

impl Attempt {
    /// Tells whether the packet at hand was sent as often as it may be.
    pub(super) fn is_exhausted(&self) -> bool {
        let most = if matches!(self.stage, Stage::Resume(_)) { RESUME_SENDS } else { HANDSHAKE_SENDS };
        self.sends >= most
    }

    pub(super) fn note_sent(&mut self, now: Instant, rng: &mut dyn Entropy) {
        let wait = doubled(HANDSHAKE_RTO, self.sends.into());
        self.sends = self.sends.saturating_add(1);
        self.due = now + prolonged(wait, rng);
    }

    /// A message could not be made, and nothing was sent. The heap may have room for it later.
    pub(super) fn not_begun(&mut self, now: Instant, error: HandshakeError) -> CallError {
        if error == HandshakeError::OutOfMemory {
            self.due = now + HANDSHAKE_RTO;
        }
        local_error(error)
    }
}

/// The settings of an attempt.
fn initiator<'c>(config: &'c DeviceConfig, attempt: &Attempt) -> Initiator<'c> {
    // A device without authorities has nobody but its pin.
    let pin = config.pin.as_ref().filter(|_| attempt.pinned || config.anchors.is_empty());
    //= SPEC.md#no-downgrade
    //# A device with a psk floor MUST NOT start or accept a pattern without psk: IKpsk2 falls back to XXpsk3 only.
    //= SPEC.md#no-downgrade
    //# Loss, Retry and Reset MUST NOT lower the floor.
    Initiator {
        local: &config.identity,
        anchors: &config.anchors,
        expected: config.expected_backend(),
        backend_key: pin.map(|pin| &pin.key),
        backend_credential: pin.and_then(|pin| pin.credential.as_ref()),
        psk: config.psk.as_ref().map(|(id, psk)| (*id, psk)),
        connection_id: config.connection_id,
        limits: config.limits,
        cookie: attempt.cookie,
        anchor_index: usize::try_from(attempt.serial.wrapping_sub(1)).unwrap_or(0),
    }
}

pub(super) fn local_error(error: HandshakeError) -> CallError {
    match error {
        HandshakeError::BufferTooSmall(error) => error.into(),
        HandshakeError::Entropy(error) => error.into(),
        HandshakeError::OutOfMemory => CallError::OutOfMemory,
        _ => CallError::InvalidConfig("the static key store failed"),
    }
}

impl Device<'_> {
    /// Writes a Hello, a Finish, or the repetition of one.
    #[inline(never)]
    pub(super) fn transmit_handshake(
        &mut self,
        now: Instant,
        tag: BootTag,
        rng: &mut dyn Entropy,
        out: &mut [u8],
    ) -> Result<Option<usize>, CallError> {
        if self.connector.take_starved() {
            return Err(CallError::OutOfMemory);
        }
        self.connector.settle_pause(rng);
        if let Some(len) = self.live.as_mut().map_or(Ok(None), |live| live.repeat_finish(now, rng, out))? {
            return Ok(Some(len));
        }
        let Some(attempt) = &self.connector.attempt else { return Ok(None) };
        if attempt.due > now {
            return Ok(None);
        }
        if matches!(attempt.stage, Stage::Start) {
            match self.start_resumption(now, tag, rng, out)? {
                ResumeStep::Full => {}
                ResumeStep::Wait => return Ok(None),
                ResumeStep::Sent(len) => return Ok(Some(len)),
            }
        }
        let Some(attempt) = &mut self.connector.attempt else { return Ok(None) };
        match core::mem::replace(&mut attempt.stage, Stage::Gone) {
            Stage::Start => {
                let context = attempt_context(tag, attempt.serial);
                let started = initiator(&self.config, attempt).start(&context, rng, out);
                let kept = started
                    .and_then(|(state, len)| Ok((state, copied(out.get(..len).unwrap_or_default())?, len)));
                let (state, packet, len) = kept.map_err(|error| {
                    attempt.stage = Stage::Start;
                    attempt.not_begun(now, error)
                })?;
                attempt.stage = Stage::Hello(state);
                attempt.packet = packet;
                attempt.note_sent(now, rng);
                Ok(Some(len))
            }
            sent @ (Stage::Hello(_) | Stage::Resume(_)) => {
                attempt.stage = sent;
                let len = copy_packet(&attempt.packet, out)?;
                attempt.note_sent(now, rng);
                Ok(Some(len))
            }
            Stage::Reply(reply) => {
                let needed = reply.finish_len(&self.config.identity);
                if out.len() < needed {
                    attempt.stage = Stage::Reply(reply);
                    return Err(crate::codec::BufferTooSmall { needed }.into());
                }
                // Before the handshake moves on: a Finish that cannot be repeated is not sent.
                let mut finish = match reserve(needed) {
                    Ok(room) => room,
                    Err(error) => {
                        attempt.stage = Stage::Reply(reply);
                        return Err(attempt.not_begun(now, error));
                    }
                };
                let (established, len) =
                    reply.write_finish(&self.config.identity, out).map_err(local_error)?;
                finish.extend_from_slice(out.get(..len).unwrap_or_default());
                let due = now + prolonged(HANDSHAKE_RTO, rng);
                self.establish(now, established, Some(FinishRepeat { packet: finish, sends: 1, due }));
                Ok(Some(len))
            }
            Stage::Gone => Ok(None),
        }
    }

    #[inline(never)]
    fn establish(&mut self, now: Instant, established: Established, finish: Option<FinishRepeat>) {
        self.config.time.raise_floor(&established.peer);
        self.join(now, Joined::new(established, self.config.rekey), finish);
    }

    /// Puts a new session in the place of an earlier one.
    #[inline(never)]
    pub(super) fn join(&mut self, now: Instant, joined: Joined, finish: Option<FinishRepeat>) {
        self.connector.joined();
        self.scopes = self.config.identity.credential().claimed_scopes();
        // A Reset for what was sent before says nothing of this session.
        self.sent_tags = super::SentTags::default();
        if self.live.is_some() {
            self.events.push(DeviceEvent::Disconnected(CloseReason::Replaced));
        }
        self.outbox.handle_session_lost();
        self.live = Some(Live::new(now, joined, finish));
    }

    /// A session has shown that the backend has it too.
    #[inline(never)]
    pub(super) fn connected(&mut self) {
        let Some(live) = &self.live else { return };
        let event = live.connected(&self.config);
        self.connector.succeeded();
        if let DeviceEvent::Connected { backend, .. } = event {
            self.config.pin = Some(backend);
        }
        self.events.push(event);
    }

    /// An alarm was accepted: what stands between it and the backend is tried again at once.
    pub(super) fn hurry_alarm(&mut self, now: Instant) {
        let works = |live: &Live| live.confirmed && live.seems_dead_at().is_none_or(|at| at > now);
        if self.link == super::Link::Down {
            return;
        }
        if self.live.as_ref().is_some_and(works) {
            if let Some(live) =
                self.live.as_mut().filter(|live| live.set_wanted.is_some() && live.descriptors.due > now)
                && self.connector.may_hurry(now)
            {
                live.descriptors.due = now;
            }
        } else if self.connector.hurry_alarm(now)
            && let Some(finish) = self.live.as_mut().and_then(|live| live.finish.as_mut())
        {
            finish.due = finish.due.min(now);
        }
    }

    #[inline(never)]
    pub(super) fn handle_reply(&mut self, now: Instant, packet: &[u8]) -> Result<(), Discard> {
        let attempt = self.connector.attempt.as_mut().ok_or(Discard::Unsolicited)?;
        if matches!(attempt.stage, Stage::Resume(_)) {
            return self.handle_resume_reply(now, packet);
        }
        let state = match core::mem::replace(&mut attempt.stage, Stage::Gone) {
            Stage::Hello(state) => state,
            other => {
                attempt.stage = other;
                return Err(Discard::Unsolicited);
            }
        };
        let outcome = state.read_reply(&initiator(&self.config, attempt), self.config.time, packet);
        match outcome {
            Ok(ReplyOutcome::Established(established)) => {
                self.establish(now, established, None);
                Ok(())
            }
            Ok(ReplyOutcome::Finish(reply)) => {
                attempt.stage = Stage::Reply(reply);
                attempt.due = now;
                attempt.sends = 0;
                Ok(())
            }
            Err(ReplyFailure::Pending(state, error)) => {
                attempt.stage = Stage::Hello(state);
                self.connector.refused(error.discard());
                Err(error.discard())
            }
            Err(ReplyFailure::Dead(error)) => {
                self.connector.refused(error.discard());
                let failed = self.connector.fail(now);
                self.events.push(failed);
                Err(error.discard())
            }
        }
    }

    #[inline(never)]
    pub(super) fn handle_retry(&mut self, now: Instant, packet: &[u8]) -> Result<(), Discard> {
        let attempt = self.connector.attempt.as_mut().ok_or(Discard::Unsolicited)?;
        if let Stage::Resume(state) = &attempt.stage {
            let cookie = state.refused(packet).ok_or(Discard::Unsolicited)?;
            attempt.fall_back(now, Some(cookie));
            return Ok(());
        }
        let Stage::Hello(state) = &attempt.stage else { return Err(Discard::Unsolicited) };
        attempt.cookie = Some(state.follow_retry(packet).ok_or(Discard::Unsolicited)?);
        attempt.stage = Stage::Start;
        attempt.due = now;
        attempt.sends = 0;
        Ok(())
    }

    //= SPEC.md#reset
    //# A device MUST ignore a Reset whose tag is not one of the last four that it sent.
    #[inline(never)]
    pub(super) fn handle_reset(&mut self, now: Instant, packet: &[u8]) -> Result<(), Discard> {
        let reset = Reset::parse(packet)?;
        let live = self.live.as_mut().filter(|_| self.sent_tags.contains(&reset.tag));
        let live = live.ok_or(Discard::Unsolicited)?;
        if self.connector.handle_reset(now, reset.tag) {
            live.prove = Some(Repeat::now(now));
        }
        Ok(())
    }
}

/// What tells an attempt from all others: it hedges the ephemeral key.
pub(super) fn attempt_context(tag: BootTag, serial: u32) -> [u8; 8] {
    let mut context = [0u8; 8];
    for (to, from) in context.iter_mut().zip(tag.0.into_iter().chain(serial.to_le_bytes())) {
        *to = from;
    }
    context
}

/// Copies a kept packet to the front of `out`.
pub(super) fn copy_packet(packet: &[u8], out: &mut [u8]) -> Result<usize, CallError> {
    let needed = packet.len();
    let space = out.get_mut(..needed).ok_or(crate::codec::BufferTooSmall { needed })?;
    space.copy_from_slice(packet);
    Ok(needed)
}
