//! When to attempt to connect, when to give up, when to try again, and with which key.

use super::DeviceEvent;
use super::attempt::{Attempt, Stage};
use crate::entropy::Entropy;
use crate::error::{CloseReason, Discard};
use crate::handshake::reserve;
use crate::limits::{
    HANDSHAKE_RTO, HURRY_INTERVAL, MAX_RECONNECT_PAUSE, RESET_ASK_INTERVAL, RESET_INTERVAL, RESET_STARTS,
};
use crate::time::{Duration, Instant};
use crate::wire::TAG_LEN;
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
    /// An attempt could not start for want of heap: to be told.
    starved: bool,
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
    pub(super) fn hurry_alarm(&mut self, now: Instant) -> bool {
        let may = self.may_hurry(now);
        if may {
            self.cut_short(now);
        }
        may
    }

    /// Tells whether an alarm may cut a wait short, and takes note of it.
    pub(super) fn may_hurry(&mut self, now: Instant) -> bool {
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
        if reserve(size_of::<Attempt>()).is_err() {
            (self.retry, self.starved) = (Retry::At(now + HANDSHAKE_RTO), true);
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

    /// Tells once that an attempt could not start for want of heap.
    pub(super) fn take_starved(&mut self) -> bool {
        core::mem::take(&mut self.starved)
    }

    /// An attempt has led to a session.
    pub(super) fn joined(&mut self) {
        self.attempt = None;
        self.retry = Retry::No;
        self.heard();
    }

    /// The backend has shown that it has the session, too.
    pub(super) const fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// A Reply was refused: the reason to report should the attempt fail.
    pub(super) const fn refused(&mut self, reason: Discard) {
        self.last_error = Some(reason);
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
    pub(super) fn handle_reset(&mut self, now: Instant, tag: [u8; TAG_LEN]) -> bool {
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

    pub(super) fn fail(&mut self, at: Instant) -> DeviceEvent {
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
