//! Handshakes under way: Hello, cookies, jobs, Finish. What the application says of them is in `accept`.

use super::admission::{AdmissionLimit, Admitted};
use super::event::{BackendEvent, SlotRef};
use super::job::{Enrolment, HandshakeDone, HandshakeJob, Outcome, Work};
use super::slots::{CONNECTION_ID_LEN, Use};
use super::{Backend, Grant, Path};
use crate::crypto::TAG_LEN;
use crate::entropy::Entropy;
use crate::error::{CallError, CloseReason, Discard};
use crate::handshake::{
    AwaitingFinish, Established, HandshakeError, HelloRead, ResumeRead, TicketId, path_cookie,
};
use crate::identity::Identity;
use crate::limits::{COOKIE_KEY_LIFE, HALF_OPEN_LIFE, MAX_FINISH_ANSWERS};
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
    pub(super) finish: Option<(P, u64)>,
    /// Whom the psk of XXpsk3 was registered for.
    pub(super) registered: Option<Identity>,
    pub(super) identity: Option<Identity>,
    /// The device's entry, kept for this handshake.
    pub(super) held: Option<u32>,
    pub(super) verdict: Option<Verdict>,
    /// A resumption's early records, once the ticket is claimed.
    pub(super) early: Vec<u8>,
    /// Its Hello had a valid cookie.
    pub(super) proven: bool,
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
        if let Some(half) = self.slots.half_open_mut(at) {
            half.proven = proven;
        }
        let connection_id = self.slots.connection_id(at);
        self.job(at, Work::Hello { packet: packet.to_vec(), psk, connection_id });
        Ok(())
    }

    /// Asks for a cookie behind a Hello of IK that was read.
    pub(super) fn ask_for_cookie(&mut self, now: Instant, at: SlotRef, connection_id: ConnectionId) {
        let Some(half) = self.slots.half_open(at) else { return };
        let (path, mac, responder) = (half.path.clone(), half.origin.mac, self.responder.clone());
        // Above the rate of Retries there is silence: the device repeats its Hello.
        let _ = self.send_retry(now, path, responder.backend_hello_key(), connection_id, mac);
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
            proven: false,
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
