//! Handshakes under way: Hello, cookies, jobs, and the application's word.

use super::admission::{AdmissionLimit, Admitted};
use super::event::{BackendEvent, PendingId, SlotRef};
use super::job::{Enrolment, HandshakeDone, HandshakeJob, Outcome, Work};
use super::live::{Joined, Live, PathState, Start};
use super::slots::{CONNECTION_ID_LEN, Use};
use super::{Backend, Grant, Path};
use crate::audit::AuditEvent;
use crate::crypto::TAG_LEN;
use crate::entropy::Entropy;
use crate::error::{CallError, CloseReason, Discard};
use crate::handshake::{
    AwaitingFinish, Established, HandshakeError, HelloRead, ResumeRead, TicketId, path_cookie,
};
use crate::identity::Identity;
use crate::limits::{
    COOKIE_KEY_LIFE, HALF_OPEN_LIFE, MAX_FINISH_ANSWERS, MAX_HALF_OPEN_PER_IDENTITY, PENDING_LIFE,
};
use crate::time::{Duration, Instant};
use crate::wire::{ConnectionId, Cookie, Finish};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A handshake that is not a session yet.
pub(super) struct HalfOpen<P> {
    pub(super) path: P,
    pub(super) origin: Origin,
    pub(super) stage: Stage,
    /// Where the Finish at hand came from, and its length.
    finish: Option<(P, u64)>,
    /// Whom the psk of XXpsk3 was registered for.
    registered: Option<Identity>,
    identity: Option<Identity>,
    /// The device's entry, kept for this handshake.
    held: Option<u32>,
    pub(super) verdict: Option<Verdict>,
    /// A resumption's early records, once the ticket is claimed.
    pub(super) early: Vec<u8>,
    pub(super) expires: Instant,
}

impl<P> HalfOpen<P> {
    pub(super) const fn identity(&self) -> Option<Identity> {
        self.identity
    }
}

/// What a handshake leaves to its session for a while, to recognise its packets when they come again.
pub(super) struct Origin {
    pub(super) mac: [u8; TAG_LEN],
    /// The Reply, until it is known to have arrived.
    pub(super) reply: Vec<u8>,
    /// The tag of the Finish, in XX.
    pub(super) finish_tag: Option<[u8; TAG_LEN]>,
    /// How many more copies of the Finish are answered.
    pub(super) finish_answers: u8,
    /// The Reply went to one path only, so that whoever has read it is there.
    pub(super) sole_path: bool,
}

impl<P> HalfOpen<P> {
    /// Tells whether a Reply was sent.
    pub(super) const fn is_answered(&self) -> bool {
        !self.origin.reply.is_empty()
    }

    /// Tells whether it waits for the application.
    pub(super) const fn is_pending(&self) -> bool {
        matches!(self.stage, Stage::AcceptHello(_) | Stage::AcceptFinish(_) | Stage::AcceptResume(..))
    }
}

pub(super) enum Stage {
    /// A job has the state.
    Working,
    AwaitingFinish(AwaitingFinish),
    /// IK: the application decides, then the Reply is written.
    AcceptHello(HelloRead),
    /// XX: the application decides.
    AcceptFinish(Established),
    /// A resumption: the application claims the ticket, then the Reply is written.
    AcceptResume(ResumeRead, TicketId),
}

/// What the application said.
pub(super) enum Verdict {
    Accepted(Grant),
    Refused(CloseReason),
}

/// The rotating keys of path cookies.
#[derive(Default)]
pub(super) struct CookieKeys {
    current: Option<([u8; 32], Instant)>,
    previous: Option<[u8; 32]>,
}

impl CookieKeys {
    /// Draws a new key when the present one is old enough.
    pub(super) fn rotate(&mut self, now: Instant, rng: &mut dyn Entropy) -> Result<(), CallError> {
        if self.current.is_some_and(|(_, since)| now.since(since) < COOKIE_KEY_LIFE) {
            return Ok(());
        }
        let mut key = [0u8; 32];
        rng.fill(&mut key)?;
        // A key that was not rotated in time has expired as well.
        self.previous = self
            .current
            .filter(|(_, since)| now.since(*since) < COOKIE_KEY_LIFE.saturating_mul(2))
            .map(|(key, _)| key);
        self.current = Some((key, now));
        Ok(())
    }

    pub(super) fn make<P: Path>(&self, path: &P) -> Option<Cookie> {
        self.current.as_ref().map(|(key, _)| path.with_bytes(|bytes| path_cookie(key, bytes)))
    }

    fn verify<P: Path>(&self, now: Instant, path: &P, cookie: Cookie) -> bool {
        let age = self.current.as_ref().map_or(Duration::ZERO, |(_, since)| now.since(*since));
        let current = self.current.as_ref().filter(|_| age < COOKIE_KEY_LIFE.saturating_mul(2));
        let previous = self.previous.as_ref().filter(|_| age < COOKIE_KEY_LIFE);
        let mut valid = false;
        for key in current.into_iter().map(|(key, _)| key).chain(previous) {
            valid |= path.with_bytes(|bytes| crate::handshake::verify_cookie(key, bytes, cookie));
        }
        valid
    }
}

impl<P: Path> Backend<P> {
    pub(super) fn handle_hello(&mut self, now: Instant, path: P, packet: &[u8]) -> Result<(), Discard> {
        let responder = self.responder.clone();
        let (hello, key) = responder.check_hello(packet).map_err(HandshakeError::discard)?;
        self.answer_duplicate(hello.mac(), &path)?;
        //= SPEC.md#draining
        //# A backend that drains MUST NOT answer a Hello but a copy of one that it has answered before.
        if self.is_draining() {
            return Err(Discard::Draining);
        }
        let psk = match hello.psk_id() {
            Some(id) => Some(self.enrolments.get(&id.0).cloned().ok_or(Discard::BelowFloor)?),
            None => None,
        };
        let proven = hello.cookie().is_some_and(|cookie| self.cookies.verify(now, &path, cookie));
        match self.admit_full(now, &path, proven) {
            Admitted::Yes => self.make_room(now)?,
            Admitted::No(limit) => return Err(self.limited(now, limit)),
            //= SPEC.md#admission
            //# Under load a backend MUST NOT spend a Diffie-Hellman operation on a Hello of a full handshake without a valid cookie.
            Admitted::Prove => {
                self.send_retry(now, path, key, hello.connection_id(), hello.mac())?;
                return Err(self.limited(now, AdmissionLimit::Cookie));
            }
        }
        let registered = psk.as_ref().map(|known: &Arc<Enrolment>| known.identity);
        let at = self.begin(now, path, hello.mac(), registered)?;
        let connection_id = self.slots.connection_id(at);
        self.job(at, Work::Hello { packet: packet.to_vec(), psk, connection_id });
        Ok(())
    }

    /// Answers a Hello that was answered before, and refuses one that is being worked on.
    pub(super) fn answer_duplicate(&mut self, mac: [u8; TAG_LEN], path: &P) -> Result<(), Discard> {
        let Some(at) = self.by_hello.get(&mac).copied() else { return Ok(()) };
        //= SPEC.md#handshake-timers
        //# A backend MUST answer a byte-identical Hello with the same Reply, and no other Hello with it.
        if self.has_spare_answers()
            && let Some(reply) = self.cached_reply(at, path)
        {
            self.send_raw(path.clone(), reply);
        }
        Err(Discard::DuplicateHello)
    }

    /// Takes a slot for a handshake.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        path: P,
        mac: [u8; TAG_LEN],
        registered: Option<Identity>,
    ) -> Result<SlotRef, Discard> {
        let [low, high, ..] = mac;
        let origin = Origin {
            mac,
            reply: Vec::new(),
            finish_tag: None,
            finish_answers: MAX_FINISH_ANSWERS,
            sole_path: true,
        };
        let half = HalfOpen {
            path,
            origin,
            stage: Stage::Working,
            finish: None,
            registered,
            identity: None,
            held: None,
            verdict: None,
            early: Vec::new(),
            expires: now + HALF_OPEN_LIFE,
        };
        let at = self
            .slots
            .insert(Box::new(half), u16::from_le_bytes([low, high]))
            .ok_or(Discard::TooManyPending)?;
        self.half_open = self.half_open.saturating_add(1);
        self.by_hello.insert(mac, at);
        self.slots.schedule(at, now + HALF_OPEN_LIFE);
        Ok(at)
    }

    /// Returns the Reply to a Hello that has come again, unless it is known to have arrived.
    fn cached_reply(&mut self, at: SlotRef, path: &P) -> Option<Vec<u8>> {
        let (origin, same_path) = match self.slots.get_mut(at)? {
            Use::HalfOpen(half) => (&mut half.origin, *path == half.path),
            Use::Live(live) => {
                let same_path = *path == live.path;
                (&mut live.youth_mut()?.origin, same_path)
            }
            Use::Free => return None,
        };
        if origin.reply.is_empty() {
            return None;
        }
        origin.sole_path &= same_path;
        Some(origin.reply.clone())
    }

    pub(super) fn job(&mut self, at: SlotRef, work: Work) {
        let responder = self.responder.clone();
        self.jobs.push_back(HandshakeJob { at, responder, time: self.config.time, work });
    }

    pub(super) fn handle_finish(&mut self, path: P, packet: &[u8]) -> Result<(), Discard> {
        let finish = Finish::parse(packet, CONNECTION_ID_LEN)?;
        let at = self.slots.find(&finish.connection_id).ok_or(Discard::UnknownConnection)?;
        let tag = packet.last_chunk::<TAG_LEN>().copied();
        match self.slots.get_mut(at) {
            Some(Use::HalfOpen(half)) => match core::mem::replace(&mut half.stage, Stage::Working) {
                Stage::AwaitingFinish(state) => {
                    half.finish = Some((path, packet.len() as u64));
                    half.origin.finish_tag = tag;
                    let registered = half.registered;
                    self.job(at, Work::Finish { state, noise: finish.noise.to_vec(), registered });
                    Ok(())
                }
                other => {
                    half.stage = other;
                    Err(Discard::NotAccepted)
                }
            },
            //= SPEC.md#handshake-timers
            //# A backend MUST answer at most 16 copies of a Finish, only byte-identical ones, and none after a data packet of the session has authenticated.
            // The device repeats its Finish: it has not heard of the session yet. A copy proves nothing, so only a few
            // are answered, and none once the device has shown that it did hear.
            Some(Use::Live(live)) => {
                let origin =
                    live.youth_mut().map(|youth| &mut youth.origin).filter(|origin| origin.finish_tag == tag);
                let answers = origin.map(|origin| &mut origin.finish_answers).filter(|answers| **answers > 0);
                if let Some(answers) = answers {
                    *answers = answers.saturating_sub(1);
                    live.owes_packet = true;
                    self.wake(at);
                }
                Err(Discard::DuplicateHello)
            }
            _ => Err(Discard::UnknownConnection),
        }
    }

    /// Returns the next handshake computation to be done, here or on another thread.
    pub fn poll_handshake(&mut self) -> Option<HandshakeJob> {
        self.jobs.pop_front()
    }

    /// Takes the result of a handshake computation.
    pub fn handle_handshake(&mut self, now: Instant, done: HandshakeDone) {
        let at = done.at;
        if self.slots.half_open_mut(at).is_none() {
            return; // it has expired meanwhile
        }
        match done.outcome {
            Outcome::ReplyXx { state, reply } => {
                let Some(half) = self.slots.half_open_mut(at) else { return };
                half.stage = Stage::AwaitingFinish(state);
                half.origin.reply = reply.clone();
                let path = half.path.clone();
                self.send_raw(path, reply);
                self.note_awaiting(now, at);
            }
            Outcome::HelloIk(hello) => self.await_accept(now, at, Stage::AcceptHello(hello)),
            Outcome::Finished(established) => self.await_accept(now, at, Stage::AcceptFinish(established)),
            Outcome::ReplyIk { established, reply } => self.replied(now, at, established, reply),
            Outcome::Resume { read, id, hello } => self.await_claim(now, at, read, id, hello),
            Outcome::ReplyResume { resumed, contents, reply } => {
                self.replied_resume(now, at, resumed, contents, reply);
            }
            Outcome::FinishPending(state, error) => {
                self.discards.count(error.discard());
                if let Some(half) = self.slots.half_open_mut(at) {
                    half.stage = Stage::AwaitingFinish(state);
                    (half.finish, half.origin.finish_tag) = (None, None);
                }
            }
            Outcome::Failed(error) => {
                self.discards.count(error.discard());
                self.push_event(BackendEvent::HandshakeRefused(error.discard()));
                self.drop_half_open(at);
            }
        }
    }

    fn await_accept(&mut self, now: Instant, at: SlotRef, stage: Stage) {
        let (credential, pattern) = match &stage {
            Stage::AcceptHello(hello) => match hello.peer() {
                Some(peer) => (*peer, hello.pattern()),
                None => return,
            },
            Stage::AcceptFinish(established) => (established.peer, established.pattern),
            _ => return,
        };
        if self.hold_pending(now, at, credential.identity(), stage) {
            let (identity, serial) = (credential.identity(), credential.serial());
            if self.is_revoked(&identity, serial) {
                self.note_revoked(identity, serial);
                let _ = self.decide(now, PendingId(at), Verdict::Refused(CloseReason::Revoked));
                return;
            }
            self.push_event(BackendEvent::Pending { pending: PendingId(at), credential, pattern });
        }
    }

    /// Keeps a handshake of a known identity for the application to decide; tells whether there is room.
    pub(super) fn hold_pending(
        &mut self,
        now: Instant,
        at: SlotRef,
        identity: Identity,
        stage: Stage,
    ) -> bool {
        // Anybody can send an old Hello of IK or of a resumption again, but nobody an XX Finish: it finds room.
        let most = match &stage {
            Stage::AcceptFinish(_) => MAX_HALF_OPEN_PER_IDENTITY.saturating_mul(2),
            _ => MAX_HALF_OPEN_PER_IDENTITY,
        };
        let pending = self.pending_of.entry(identity).or_default();
        if *pending >= most {
            let discard = self.limited(now, AdmissionLimit::Identity);
            self.discards.count(discard);
            self.drop_half_open(at);
            return false;
        }
        *pending = pending.saturating_add(1);
        let held = self.devices.hold(&identity);
        if let Some(half) = self.slots.half_open_mut(at) {
            half.held = held;
            half.stage = stage;
            half.identity = Some(identity);
            half.expires = now + PENDING_LIFE;
        }
        self.slots.schedule(at, now + PENDING_LIFE);
        true
    }

    /// Lets a device in, with what it may do and what is known of its records.
    ///
    /// # Errors
    /// [`CallError::StaleHandle`] if it has expired or was decided already; nothing has changed then.
    pub fn accept(&mut self, now: Instant, pending: PendingId, grant: Grant) -> Result<(), CallError> {
        self.decide(now, pending, Verdict::Accepted(grant))
    }

    /// Turns a device away: with a Close inside a session of its own, never by silence.
    ///
    /// # Errors
    /// As [`Backend::accept`].
    pub fn refuse(&mut self, now: Instant, pending: PendingId, reason: CloseReason) -> Result<(), CallError> {
        self.decide(now, pending, Verdict::Refused(reason))
    }

    pub(super) fn decide(
        &mut self,
        now: Instant,
        pending: PendingId,
        verdict: Verdict,
    ) -> Result<(), CallError> {
        let at = pending.0;
        let half = self.slots.half_open_mut(at).ok_or(CallError::StaleHandle)?;
        let turned_away = match (&verdict, &half.stage, half.identity) {
            (_, Stage::Working | Stage::AwaitingFinish(_), _) | (Verdict::Accepted(_), ..) | (.., None) => {
                None
            }
            (Verdict::Refused(reason), _, Some(identity)) => {
                Some(AuditEvent::TurnedAway { identity, reason: *reason })
            }
        };
        if let Some(event) = turned_away {
            self.audit.note(now, event);
        }
        match core::mem::replace(&mut half.stage, Stage::Working) {
            Stage::AcceptHello(hello) => {
                let psk = match &verdict {
                    Verdict::Accepted(grant) => grant.psk.as_ref().map(crate::crypto::Psk::duplicate),
                    Verdict::Refused(_) => None,
                };
                half.verdict = Some(verdict);
                let connection_id: ConnectionId = self.slots.connection_id(at);
                self.job(at, Work::Reply { hello, psk, connection_id });
                Ok(())
            }
            Stage::AcceptFinish(established) => {
                //= SPEC.md#no-downgrade
                //# A backend MUST refuse an identity for which its application registered a psk, in a pattern without one.
                let floor = matches!(&verdict, Verdict::Accepted(grant) if grant.psk.is_some());
                let verdict = if floor && established.pattern.psk_id().is_none() {
                    self.discards.count(Discard::BelowFloor);
                    self.push_event(BackendEvent::HandshakeRefused(Discard::BelowFloor));
                    Verdict::Refused(CloseReason::Refused)
                } else {
                    verdict
                };
                let joined = self.full(established);
                self.establish(now, at, joined, verdict, None);
                Ok(())
            }
            // A ticket is claimed before anybody is let in.
            Stage::AcceptResume(read, _) if matches!(verdict, Verdict::Refused(_)) => {
                half.verdict = Some(verdict);
                self.write_resume_reply(at, read);
                Ok(())
            }
            other => {
                half.stage = other;
                Err(CallError::StaleHandle)
            }
        }
    }

    /// IK: the Reply is written.
    fn replied(&mut self, now: Instant, at: SlotRef, established: Established, reply: Vec<u8>) {
        let Some(half) = self.slots.half_open_mut(at) else { return };
        let path = half.path.clone();
        let verdict = half.verdict.take().unwrap_or(Verdict::Refused(CloseReason::Refused));
        let joined = self.full(established);
        self.establish(now, at, joined, verdict, Some(reply.clone()));
        self.send_raw(path, reply);
    }

    /// Takes note of an accepted credential.
    fn full(&mut self, established: Established) -> Joined {
        self.config.time.raise_floor(&established.peer);
        let revocation = self.list_number(&established.peer.identity().issuer);
        Joined::full(established, self.config.time.clock(), self.config.rekey, revocation)
    }

    /// Turns a handshake into a session, in its slot. `reply` is IK's or a resumption's: such a session is not proved yet.
    pub(super) fn establish(
        &mut self,
        now: Instant,
        at: SlotRef,
        joined: Joined,
        verdict: Verdict,
        reply: Option<Vec<u8>>,
    ) {
        //= SPEC.md#handshake-timers
        //# A backend MUST complete the handshake of a device that its application refuses, and close that session with the reason.
        let proved = reply.is_none();
        let (grant, closing) = match verdict {
            Verdict::Accepted(grant) => (grant, None),
            Verdict::Refused(reason) => (Grant::default(), Some(reason)),
        };
        let identity = joined.identity;
        // A list may have come while the Reply was computed.
        let closing = match closing {
            None if self.is_revoked(&identity, joined.serial) => {
                self.note_revoked(identity, joined.serial);
                Some(CloseReason::Revoked)
            }
            closing => closing,
        };
        let seat = match closing {
            None => self.devices.enter(identity, grant.ledger),
            Some(_) => None,
        };
        let closing = closing.or(seat.is_none().then_some(CloseReason::Refused));
        let Some(slot) = self.slots.get_mut(at) else { return };
        let Use::HalfOpen(half) = core::mem::replace(slot, Use::Free) else { return };
        let HalfOpen { path, mut origin, finish, held, .. } = *half;
        let (path, path_state) = match finish {
            //= SPEC.md#admission
            //# A backend MUST NOT take a path as validated by a Finish or a first packet from there if the Reply went to another path as well.
            // Whoever wrote the Finish has read the Reply.
            Some((from, _)) if from == path && origin.sole_path => (path, PathState::Validated),
            Some((from, received)) => (from, PathState::unvalidated(received)),
            None => (path, PathState::unvalidated(0)),
        };
        origin.reply = reply.unwrap_or_default();
        let (granted, fence, misused) = (grant.scopes, grant.fence, grant.ticket_misused);
        let policy = self.policy.clone();
        let start = Start { path, path_state, granted, seat, fence, origin, closing, misused, policy };
        *slot = Use::Live(Live::new(now, joined, start));
        self.review_scopes(now, at);
        self.half_open = self.half_open.saturating_sub(1);
        if let Some(held) = held {
            self.devices.leave(held, at);
        }
        self.slots.schedule(at, now + HALF_OPEN_LIFE);
        if proved {
            self.prove(at);
        }
    }

    /// One handshake or unproved session less of this identity.
    pub(super) fn forget_pending(&mut self, identity: Identity) {
        if let Some(pending) = self.pending_of.get_mut(&identity) {
            *pending = pending.saturating_sub(1);
            if *pending == 0 {
                self.pending_of.remove(&identity);
            }
        }
    }

    /// Forgets a handshake.
    pub(super) fn drop_half_open(&mut self, at: SlotRef) {
        if let Some(half) = self.slots.take_half_open(at) {
            self.by_hello.remove(&half.origin.mac);
            self.jobs.retain(|job| job.at != at);
            if let Some(identity) = half.identity {
                self.forget_pending(identity);
            }
            if let Some(held) = half.held {
                self.devices.leave(held, at);
            }
            self.half_open = self.half_open.saturating_sub(1);
        }
    }
}
