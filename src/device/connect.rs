//! Attempts to connect: which pattern, when to repeat, when to give up, when to try again.

use super::live::{FinishRepeat, Joined, Live, Repeat};
use super::resume::{ResumeStep, Resuming};
use super::{Device, DeviceConfig, DeviceEvent};
use crate::entropy::Entropy;
use crate::error::{CallError, CloseReason, Discard};
use crate::framing::BootTag;
use crate::handshake::{
    AwaitingReply, AwaitingResume, Established, HandshakeError, Initiator, ReplyFailure, ReplyOutcome,
    ReplyRead,
};
use crate::limits::{
    HANDSHAKE_RTO, HANDSHAKE_SENDS, HURRY_INTERVAL, MAX_RECONNECT_PAUSE, RESET_ASK_INTERVAL, RESET_INTERVAL,
    RESET_STARTS, RESUME_SENDS,
};
use crate::time::{Duration, Instant};
use crate::wire::{Cookie, Reset, TAG_LEN};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Of so many attempts with a pinned key that fail in a row ...
const FALLBACK_EVERY: u32 = 4;
/// ... so many are IK, and then one is XX: the service may have a new key.
const PINNED_ATTEMPTS: u32 = 3;
/// A session that ends sooner counts as a failure: the next one waits.
const SHORT_SESSION: Duration = Duration::from_secs(60);

/// Whether and when to connect.
#[derive(Default)]
pub(super) struct Connector {
    wanted: bool,
    pub(super) attempt: Option<Box<Attempt>>,
    failures: u32,
    /// Sessions that the backend ended soon after they began, in a row.
    short_sessions: u32,
    /// Number of the attempt, to hedge its ephemeral key.
    serial: u32,
    retry: Retry,
    /// The backend has asked for this pause: a link that comes up does not end it.
    told: bool,
    /// The tag in the first credible Reset since a packet of the backend authenticated.
    suspicion: Option<[u8; TAG_LEN]>,
    last_ask: Option<Instant>,
    /// When the latest attempts were started by a Reset, and which of them is the earliest.
    reset_starts: [Option<Instant>; RESET_STARTS],
    next_reset_start: usize,
    /// When a link that came up cut a wait short.
    hurried: Option<Instant>,
    /// When an alarm did.
    alarmed: Option<Instant>,
    last_error: Option<Discard>,
}

/// When the next attempt starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Retry {
    /// Not by itself.
    #[default]
    No,
    /// After a pause since then, whose jitter is drawn with the next transmission.
    Pause(Instant, Duration),
    /// At this instant.
    At(Instant),
}

/// One attempt.
pub(super) struct Attempt {
    pub(super) stage: Stage,
    /// The Hello, to repeat it.
    pub(super) packet: Vec<u8>,
    pub(super) sends: u8,
    pub(super) due: Instant,
    pub(super) cookie: Option<Cookie>,
    pinned: bool,
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

/// Prolongs a wait by a random 0–50 % (SPEC.md, "Handshake timers"). A generator that fails costs the jitter only.
pub(super) fn prolonged(wait: Duration, rng: &mut dyn Entropy) -> Duration {
    let mut random = [0u8; 4];
    if rng.fill(&mut random).is_err() {
        return wait;
    }
    prolonged_by(wait, u32::from_le_bytes(random))
}

/// Prolongs a wait by 0–50 %, as `random` says.
pub(super) fn prolonged_by(wait: Duration, random: u32) -> Duration {
    wait + Duration::from_millis((wait.as_millis() / 2).saturating_mul(random.into()) >> 32)
}

/// `2^exponent` times `wait`.
pub(super) fn doubled(wait: Duration, exponent: u32) -> Duration {
    wait.saturating_mul(1u64.checked_shl(exponent.min(32)).unwrap_or(u64::MAX))
}

impl Connector {
    pub(super) fn want(&mut self, now: Instant) {
        self.wanted = true;
        self.failures = 0;
        self.start(now);
    }

    pub(super) fn cancel(&mut self) {
        self.wanted = false;
        self.attempt = None;
        self.retry = Retry::No;
    }

    /// The link is there again: what waits for a pause need not, but for a link that comes and goes all the time.
    pub(super) fn hurry(&mut self, now: Instant) {
        let waits = self.attempt.as_ref().map_or(self.retry != Retry::No, |attempt| attempt.due > now);
        //= SPEC.md#handshake-timers
        //# A device MUST NOT cut a wait short because its link came up more than once per 10 s.
        if !waits || self.hurried.is_some_and(|last| now.since(last) < HURRY_INTERVAL) {
            return;
        }
        self.hurried = Some(now);
        self.cut_short(now);
    }

    fn cut_short(&mut self, now: Instant) {
        if let Some(attempt) = &mut self.attempt {
            attempt.due = attempt.due.min(now);
        } else if self.retry != Retry::No && !self.told {
            self.start(now);
        }
    }

    /// An alarm was accepted and there is no session for it: a pause ends, as far as the backend did not ask for it, and
    /// a waiting Hello is sent again. Tells whether it is so: it is at most so often.
    fn hurry_alarm(&mut self, now: Instant) -> bool {
        let may = self.may_hurry(now);
        if may {
            self.cut_short(now);
        }
        may
    }

    /// Tells whether an alarm may cut a wait short, and takes note of it.
    fn may_hurry(&mut self, now: Instant) -> bool {
        let recently = self.alarmed.is_some_and(|last| now.since(last) < HURRY_INTERVAL);
        if !recently {
            self.alarmed = Some(now);
        }
        !recently
    }

    fn start(&mut self, now: Instant) {
        if self.attempt.is_some() {
            return;
        }
        self.serial = self.serial.wrapping_add(1);
        (self.retry, self.told) = (Retry::No, false);
        self.attempt = Some(Box::new(Attempt {
            stage: Stage::Start,
            packet: Vec::new(),
            sends: 0,
            due: now,
            cookie: None,
            pinned: self.failures % FALLBACK_EVERY < PINNED_ATTEMPTS,
            serial: self.serial,
            patience: None,
            resuming: None,
        }));
    }

    /// A session that had been confirmed has ended; it lasted so long.
    pub(super) fn session_ended(&mut self, now: Instant, reason: CloseReason, lasted: Duration) {
        self.short_sessions = if lasted < SHORT_SESSION { self.short_sessions.saturating_add(1) } else { 0 };
        if !self.wanted || self.attempt.is_some() {
            return;
        }
        let pause = match reason {
            CloseReason::Revoked => return self.wanted = false,
            CloseReason::Refused => MAX_RECONNECT_PAUSE,
            CloseReason::Draining => HANDSHAKE_RTO,
            // The own end's limits.
            CloseReason::Idle
            | CloseReason::SessionAge
            | CloseReason::PacketLimit
            | CloseReason::ForgeryLimit => return self.start(now),
            _ if self.short_sessions == 0 => return self.start(now),
            _ => doubled(HANDSHAKE_RTO, self.short_sessions).min(MAX_RECONNECT_PAUSE),
        };
        self.retry = Retry::Pause(now, pause);
        self.told = matches!(reason, CloseReason::Refused | CloseReason::Draining);
    }

    /// A session has ended that the backend never confirmed: at this time.
    pub(super) fn session_failed(&mut self, at: Instant) -> Option<DeviceEvent> {
        self.attempt.is_none().then(|| self.fail(at))
    }

    /// A packet of the backend has authenticated: whatever a Reset said of the packets before, it was wrong.
    pub(super) const fn heard(&mut self) {
        self.suspicion = None;
    }

    /// A credible Reset came: the first one makes the device ask, which this tells; a second one starts a parallel
    /// attempt, one per interval. A bit that flips in the connection id of one packet makes a credible Reset too.
    //= SPEC.md#reset
    //# A Reset MUST NOT close a session; it may start three parallel handshakes in 180 s.
    //= SPEC.md#reset
    //# A device MUST NOT start that handshake before it has credible Resets for two packets, with no packet authenticated between them.
    #[inline(never)]
    fn handle_reset(&mut self, now: Instant, tag: [u8; TAG_LEN]) -> bool {
        let within = |last: Option<Instant>, span| last.is_some_and(|last| now.since(last) < span);
        if !self.wanted || self.attempt.is_some() {
            return false;
        }
        if self.suspicion.get_or_insert(tag) != &tag {
            if let Some(earliest) = self.reset_starts.get_mut(self.next_reset_start)
                && !within(*earliest, RESET_INTERVAL)
            {
                *earliest = Some(now);
                self.next_reset_start = self.next_reset_start.wrapping_add(1) % RESET_STARTS;
                self.start(now);
            }
            return false;
        }
        let ask = !within(self.last_ask, RESET_ASK_INTERVAL);
        if ask {
            self.last_ask = Some(now);
        }
        ask
    }

    /// Gives up what was repeated often enough, and starts what is due. `session_gone`: none, or it seems dead.
    pub(super) fn handle_timeout(&mut self, now: Instant, session_gone: bool) -> Option<DeviceEvent> {
        if let Some(attempt) = &mut self.attempt {
            if matches!(attempt.stage, Stage::Resume(_)) && attempt.is_exhausted() && attempt.due <= now {
                //= SPEC.md#resumption
                //# A device whose resumption is refused or not answered MUST go on with a full handshake at once, in the same attempt.
                attempt.fall_back(now, None);
            }
            let dead = matches!(attempt.stage, Stage::Gone);
            if dead || (attempt.is_exhausted() && attempt.due <= now) {
                // A device that slept has paused meanwhile.
                let ended = if dead { now } else { attempt.due };
                return Some(self.fail(ended));
            }
            return None;
        }
        let due = match self.retry {
            Retry::No => true,
            Retry::Pause(..) => false,
            Retry::At(at) => at <= now,
        };
        if due {
            // A session that has answered meanwhile needs no other.
            self.retry = Retry::No;
            if self.wanted && session_gone {
                self.start(now);
            }
        }
        None
    }

    fn fail(&mut self, at: Instant) -> DeviceEvent {
        self.attempt = None;
        self.failures = self.failures.saturating_add(1);
        if self.wanted {
            let pause = doubled(HANDSHAKE_RTO, self.failures).min(MAX_RECONNECT_PAUSE);
            self.retry = Retry::Pause(at, pause);
        }
        DeviceEvent::ConnectFailed(self.last_error.take())
    }

    /// Draws the jitter of a pause, if that is still to be done: a random 50–100 % of it is waited.
    pub(super) fn settle_pause(&mut self, rng: &mut dyn Entropy) -> bool {
        let Retry::Pause(since, pause) = self.retry else { return false };
        let half = Duration::from_millis(pause.as_millis() / 2);
        let jitter = prolonged(pause, rng).as_millis().saturating_sub(pause.as_millis());
        self.retry = Retry::At(since + half + Duration::from_millis(jitter));
        true
    }

    /// Returns until when a Reply to the Hello that was sent is waited for.
    pub(super) fn answer_due(&self) -> Option<Instant> {
        let attempt = self.attempt.as_ref()?;
        matches!(attempt.stage, Stage::Hello(_) | Stage::Resume(_)).then_some(attempt.due)
    }

    /// Tells whether another session is wanted, and nothing is under way for it yet.
    pub(super) fn is_resting(&self) -> bool {
        self.wanted && self.attempt.is_none() && self.retry == Retry::No
    }

    pub(super) fn poll_timeout(&self, up: bool) -> Option<Instant> {
        match (&self.attempt, self.retry) {
            (Some(attempt), _) if up || attempt.is_exhausted() => Some(attempt.due),
            // A link that comes up ends a pause, or lets it go on: nobody need wake before.
            (None, Retry::At(at)) if up => Some(at),
            // The pause is settled by the next poll_transmit.
            (None, Retry::Pause(since, _)) if up => Some(since),
            _ => None,
        }
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
                let (state, len) = started.map_err(|error| {
                    attempt.stage = Stage::Start;
                    local_error(error)
                })?;
                attempt.stage = Stage::Hello(state);
                attempt.packet = out.get(..len).unwrap_or_default().to_vec();
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
                let (established, len) =
                    reply.write_finish(&self.config.identity, out).map_err(local_error)?;
                let finish = out.get(..len).unwrap_or_default().to_vec();
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
        self.connector.attempt = None;
        self.connector.retry = Retry::No;
        // A Reset for what was sent before says nothing of this session.
        self.sent_tags = super::SentTags::default();
        self.connector.heard();
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
        self.connector.failures = 0;
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
                self.connector.last_error = Some(error.discard());
                Err(error.discard())
            }
            Err(ReplyFailure::Dead(error)) => {
                self.connector.last_error = Some(error.discard());
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

impl Attempt {
    /// Tells whether the packet at hand was sent as often as it may be.
    fn is_exhausted(&self) -> bool {
        let most = if matches!(self.stage, Stage::Resume(_)) { RESUME_SENDS } else { HANDSHAKE_SENDS };
        self.sends >= most
    }

    pub(super) fn note_sent(&mut self, now: Instant, rng: &mut dyn Entropy) {
        let wait = doubled(HANDSHAKE_RTO, self.sends.into());
        self.sends = self.sends.saturating_add(1);
        self.due = now + prolonged(wait, rng);
    }
}

/// Copies a kept packet to the front of `out`.
pub(super) fn copy_packet(packet: &[u8], out: &mut [u8]) -> Result<usize, CallError> {
    let needed = packet.len();
    let space = out.get_mut(..needed).ok_or(crate::codec::BufferTooSmall { needed })?;
    space.copy_from_slice(packet);
    Ok(needed)
}
