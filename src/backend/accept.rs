//! The application's word on a handshake, and the session that comes of it.

use super::admission::AdmissionLimit;
use super::event::{BackendEvent, PendingId, SlotRef};
use super::halfopen::{HalfOpen, Stage, Verdict};
use super::job::Work;
use super::live::{Joined, Live, Start};
use super::paths::PathState;
use super::resume::Lineage;
use super::slots::Use;
use super::{Backend, BackendConfig, Grant, Path};
use crate::audit::AuditEvent;
use crate::error::{CallError, CloseReason, Discard};
use crate::handshake::{Established, Resumed, TicketContents};
use crate::identity::{Identity, Scopes, VerifiedCredential};
use crate::limits::{HALF_OPEN_LIFE, MAX_HALF_OPEN_PER_IDENTITY, PENDING_LIFE};
use crate::session::RekeyPolicy;
use crate::time::{Duration, Instant, UnixSeconds};
use crate::wire::{ConnectionId, Pattern};
use alloc::vec::Vec;

impl Joined {
    /// What a full handshake gives; `clock` is its time, `revocation` the number of the list that it was held against.
    pub(super) fn full(
        established: Established,
        clock: Option<UnixSeconds>,
        rekey: RekeyPolicy,
        revocation: u64,
    ) -> Self {
        let Established { secrets, peer, peer_connection_id, peer_limits, pattern } = established;
        let contents = clock.map(|origin| contents_of(&peer, pattern, origin, revocation));
        Self {
            secrets,
            identity: peer.identity(),
            scopes: peer.scopes(),
            serial: peer.serial(),
            peer_connection_id,
            peer_limits,
            pattern,
            rekey,
            lineage: Lineage { contents, resumed: false },
        }
    }

    /// What a resumption gives: the same identity and scopes, of the full handshake before it.
    pub(super) fn resumed(resumed: Resumed, contents: TicketContents, rekey: RekeyPolicy) -> Self {
        let Resumed { secrets, peer_connection_id, peer_limits, .. } = resumed;
        Self {
            secrets,
            identity: contents.identity,
            scopes: contents.scopes,
            serial: contents.serial,
            peer_connection_id,
            peer_limits,
            pattern: Pattern::Resume,
            rekey,
            //= SPEC.md#tickets
            //# A ticket given in a resumed session MUST have the origin of the ticket that it was resumed with.
            lineage: Lineage { contents: Some(contents), resumed: true },
        }
    }

    /// Lowers what the handshake gives to what its issuer may give by now, and to the time that the credential has left;
    /// `false` if the issuer is no longer trusted.
    //= SPEC.md#intermediate-authorities
    //# A backend MUST hold the sessions that there are, and tickets, to the certificates that it has now.
    fn limit(&mut self, config: &BackendConfig) -> bool {
        let Some((scopes, not_after)) = config.anchors.most_for_devices(&self.identity.issuer) else {
            self.scopes = Scopes::NONE;
            return false;
        };
        self.scopes = self.scopes & scopes;
        if let Some(contents) = &mut self.lineage.contents {
            contents.not_after = contents.not_after.min(not_after);
            //= SPEC.md#validity
            //# A backend with a clock MUST end a session when the time is over that its device's credential had left at its beginning.
            let left = contents.not_after.0.saturating_sub(config.time.now().0).saturating_add(1);
            let left = Duration::from_secs(left).min(self.rekey.longest_session());
            self.rekey = self.rekey.session_age(left).unwrap_or(self.rekey);
        }
        true
    }
}

fn contents_of(
    peer: &VerifiedCredential,
    pattern: Pattern,
    origin: UnixSeconds,
    revocation: u64,
) -> TicketContents {
    TicketContents {
        identity: peer.identity(),
        serial: peer.serial(),
        scopes: peer.scopes(),
        not_after: peer.not_after(),
        revocation,
        origin,
        psk_proved: matches!(pattern, Pattern::XxPsk3(_) | Pattern::IkPsk2),
    }
}

impl<P: Path> Backend<P> {
    /// The device is known: asks the application, unless its credential is revoked.
    pub(super) fn await_accept(&mut self, now: Instant, at: SlotRef, stage: Stage) {
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
        let proven = self.slots.half_open(at).is_some_and(|half| half.proven);
        // Anybody can send an old Hello of IK or of a resumption again, only who reads what is sent to its path one with a
        // cookie, and nobody an XX Finish: each finds room where those before it have none.
        let shares: u8 = match &stage {
            Stage::AcceptFinish(_) => 3,
            Stage::AcceptHello(_) if proven => 2,
            _ => 1,
        };
        let most = MAX_HALF_OPEN_PER_IDENTITY.saturating_mul(shares.into());
        let pending = self.pending_of.entry(identity).or_default();
        if *pending >= most {
            let discard = self.limited(now, AdmissionLimit::Identity);
            self.discards.count(discard);
            //= SPEC.md#admission
            //# A backend that has no place for a Hello of IK without a valid cookie, as others of its identity have them, MUST answer it with a Retry if it may send one.
            if let (Stage::AcceptHello(hello), false) = (&stage, proven) {
                self.ask_for_cookie(now, at, hello.connection_id());
            }
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
    pub(super) fn replied(&mut self, now: Instant, at: SlotRef, established: Established, reply: Vec<u8>) {
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
        let mut joined = joined;
        let trusted = joined.limit(&self.config);
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
            None if !trusted => Some(CloseReason::Refused),
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

    /// The time of a handshake is over. If the application was asked, it is told that it has not decided.
    pub(super) fn expire(&mut self, at: SlotRef) {
        let asked = |half: &HalfOpen<P>| !matches!(half.stage, Stage::Working | Stage::AwaitingFinish(_));
        if self.slots.half_open(at).is_some_and(asked) {
            self.discards.count(Discard::NotAccepted);
            self.push_event(BackendEvent::HandshakeRefused(Discard::NotAccepted));
        }
        self.drop_half_open(at);
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
}
