//! Resumption: tickets given, tickets taken, and what rides in a Hello (SPEC.md, "Resumption", "Early records").

use super::claims::{ClaimOutcome, TicketClaim};
use super::event::{BackendEvent, OwnedBatch, PendingId, Received, SlotRef};
use super::halfopen::{Stage, Verdict};
use super::job::Work;
use super::live::{Joined, Live};
use super::{Backend, Grant, Path};
use crate::audit::AuditEvent;
use crate::crypto::{TAG_LEN, hash_parts};
use crate::entropy::Entropy;
use crate::error::{CallError, CloseReason, Discard};
use crate::framing::{Frame, Frames, StreamsFrame, TicketFrame};
use crate::handshake::{HandshakeError, ResumeRead, Resumed, TicketContents, TicketId, TicketKeys};
use crate::identity::{CredentialError, Identity, Scopes};
use crate::limits::{CLOCK_TOLERANCE_SECS, MAX_RTO, TICKET_LEN, TICKET_SENDS};
use crate::time::{Duration, Instant, UnixSeconds};
use crate::wire::ConnectionId;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Early batches that wait for the application, at the most; those beyond come again in their sessions.
const MAX_EARLY: usize = 4096;
/// A ticket is sent again after so long, doubling, if no Ack shows that it has arrived.
const TICKET_REPEAT: Duration = Duration::from_secs(4);

/// From which full handshake a session descends: what its tickets say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lineage {
    /// `None` on a backend without a clock: it gives no tickets.
    pub(super) contents: Option<TicketContents>,
    /// It began with a ticket.
    pub(super) resumed: bool,
}

/// A [`Lineage`] without what its session knows anyway.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descent {
    not_after: UnixSeconds,
    revocation: u64,
    origin: UnixSeconds,
    serial: u32,
    scopes: Scopes,
    psk_proved: bool,
    /// False on a backend without a clock.
    known: bool,
    pub(super) resumed: bool,
    ticket: TicketGiving,
}

impl Descent {
    /// `serial` and `scopes` are those of the credential that the full handshake showed.
    pub(super) fn new(lineage: Lineage, serial: u32, scopes: Scopes, misused: bool) -> Self {
        let Lineage { contents, resumed } = lineage;
        let known = contents.is_some();
        let (not_after, revocation, origin, psk_proved) = match contents {
            Some(TicketContents { not_after, revocation, origin, psk_proved, .. }) => {
                (not_after, revocation, origin, psk_proved)
            }
            None => (UnixSeconds(0), 0, UnixSeconds(0), false),
        };
        let ticket = TicketGiving::new(misused);
        Self { not_after, revocation, origin, serial, scopes, psk_proved, known, resumed, ticket }
    }

    /// Returns the serial number of the credential that the full handshake showed.
    pub(super) const fn serial(&self) -> u32 {
        self.serial
    }

    /// Returns what that credential permits.
    pub(super) const fn scopes(&self) -> Scopes {
        self.scopes
    }

    /// Lowers what that credential permits, and until when.
    pub(super) fn narrow(&mut self, (scopes, not_after): (Scopes, UnixSeconds)) {
        self.scopes = self.scopes & scopes;
        self.not_after = self.not_after.min(not_after);
    }

    /// Returns what the session's tickets say.
    pub(super) fn contents(&self, identity: Identity) -> Option<TicketContents> {
        let Self { not_after, revocation, origin, serial, scopes, psk_proved, known, .. } = *self;
        known.then_some(TicketContents {
            identity,
            serial,
            scopes,
            not_after,
            revocation,
            origin,
            psk_proved,
        })
    }
}

/// The ticket of a session: whether the device is to get one.
#[derive(Clone, Copy, Debug)]
struct TicketGiving {
    owed: bool,
    misused: bool,
    /// The DH ratchets that the last one has seen, modulo 2^16.
    ratchets: u16,
}

/// A ticket that was sent and of which no receipt was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct TicketSent {
    again: Instant,
    sends: u8,
    /// The counter of the packet that carried the last one.
    counter: u64,
}

impl TicketSent {
    /// One that went out in this packet.
    #[cfg(test)]
    pub(super) const fn test(counter: u64) -> Self {
        Self { again: Instant::ZERO, sends: 1, counter }
    }
}

/// A ticket that goes into a packet.
pub(super) struct NewTicket {
    ticket: [u8; TICKET_LEN],
    keys: Arc<TicketKeys>,
    expires: UnixSeconds,
    misused: bool,
}

impl NewTicket {
    pub(super) fn frame(&self) -> TicketFrame<'_> {
        let Self { ticket, keys, expires, misused } = self;
        let service_key = keys.service_key().bytes();
        TicketFrame { misused: *misused, ticket, service_key, expires: *expires }
    }
}

impl TicketGiving {
    /// A new session gets a ticket with its first packet.
    const fn new(misused: bool) -> Self {
        Self { owed: true, misused, ratchets: 0 }
    }
}

impl<P: Path> Live<P> {
    /// A ticket went out in the packet with this counter.
    pub(super) fn ticket_sent(&mut self, now: Instant, counter: u64) {
        let sent = &mut self.make_rare().ticket;
        let sends = sent.map_or(0, |sent| sent.sends);
        let wait = TICKET_REPEAT.saturating_mul(1u64.wrapping_shl(sends.into())).min(MAX_RTO);
        *sent = Some(TicketSent { again: now + wait, sends: sends.saturating_add(1), counter });
        if sends.saturating_add(1) >= TICKET_SENDS {
            self.ticket_done();
        }
    }

    /// The device has authenticated packets up to this counter.
    pub(super) fn ticket_acked(&mut self, counter: u64) {
        if self.rare().and_then(|rare| rare.ticket).is_some_and(|sent| counter >= sent.counter) {
            self.ticket_done();
        }
    }

    fn ticket_done(&mut self) {
        self.descent.ticket.owed = false;
        if let Some(rare) = self.rare_mut() {
            rare.ticket = None;
        }
        // The device may have no more to say for long.
        self.tidy();
    }

    /// Tells whether the device is to get a ticket now.
    fn owes_ticket(&mut self, now: Instant) -> bool {
        // After a DH ratchet the device has forgotten its ticket, and gets another.
        let ratchets = self.session.dh_ratchets() as u16;
        if core::mem::replace(&mut self.descent.ticket.ratchets, ratchets) != ratchets {
            self.ticket_done();
            self.descent.ticket.owed = true;
        }
        self.descent.ticket.owed
            && self.rare().and_then(|rare| rare.ticket).is_none_or(|sent| sent.again <= now)
    }
}

impl<P: Path> Live<P> {
    fn descends_from(&self, origin: UnixSeconds) -> bool {
        let Descent { known, resumed, origin: own, .. } = self.descent;
        resumed && known && own == origin
    }
}

impl<P: Path> Backend<P> {
    /// Gives the shard the ticket keys that the nodes of the service share, now or when they are rotated: from now on
    /// devices get tickets, and may resume with them.
    ///
    /// The application then has two more duties: to answer [`BackendEvent::Resuming`] with [`Backend::claimed`], and to
    /// ask [`Backend::poll_early`] for batches. The wall clock must be known ([`BackendConfig::time`](super::BackendConfig::time)).
    pub fn set_ticket_keys(&mut self, keys: TicketKeys) {
        self.ticket_keys = Some(Arc::new(keys));
        self.note(AuditEvent::TicketKeysSet {});
    }

    /// Returns the next batch that rode in a resumption's Hello: store and commit it like one of the sink.
    pub fn poll_early(&mut self) -> Option<OwnedBatch> {
        self.early.pop_front()
    }

    /// Takes a resumption's Hello.
    pub(super) fn handle_resume(&mut self, now: Instant, path: P, packet: &[u8]) -> Result<(), Discard> {
        // Without keys, or without a clock to tell an expired ticket, this end does not speak the pattern.
        let keys = self.ticket_keys.clone().ok_or(Discard::UnknownType)?;
        let clock = self.config.time.clock().ok_or(Discard::UnknownType)?;
        let hello = keys.check_hello(packet).map_err(HandshakeError::discard)?;
        self.answer_duplicate(hello.mac(), &path)?;
        if self.is_draining() {
            return Err(Discard::Draining);
        }
        self.may_resume(now)?;
        let opened = hello.open(&keys, clock).and_then(|opened| {
            let TicketContents { identity, origin, not_after, .. } = opened.contents;
            let most = self.config.anchors.most_for_devices(&identity.issuer);
            let (_, of_issuer) = most.ok_or(HandshakeError::Credential(CredentialError::UnknownIssuer))?;
            // SPEC.md, "Tickets": a session of that origin would be too old already.
            let is_young = self.config.rekey.resumed_after(age_of(origin, clock)).is_some();
            // The clock may have been set back.
            let is_valid = not_after.min(of_issuer) >= self.config.time.now();
            if is_young && is_valid { Ok(opened) } else { Err(HandshakeError::ExpiredTicket) }
        });
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.refuse_ticket(now, path, hello.connection_id(), hello.mac());
                return Err(error.discard());
            }
        };
        self.admit_resume(now, &path, &opened.contents.identity, &hello.id())?;
        let at = self.begin(now, path, hello.mac(), None)?;
        self.job(at, Work::Resume { packet: packet.to_vec(), opened });
        Ok(())
    }

    /// Tells the device to come with a full handshake, at once: its ticket is not taken.
    pub(super) fn refuse_ticket(
        &mut self,
        now: Instant,
        path: P,
        connection_id: ConnectionId,
        hello_mac: [u8; TAG_LEN],
    ) {
        let Some(keys) = self.ticket_keys.clone() else { return };
        let _ = self.send_retry(now, path, keys.hello_key(), connection_id, hello_mac);
    }

    /// The Hello was read: the application claims the ticket.
    //= SPEC.md#resumption
    //# A backend MUST NOT answer a resumption, nor deliver anything of it, before the store has claimed its ticket.
    pub(super) fn await_claim(
        &mut self,
        now: Instant,
        at: SlotRef,
        read: ResumeRead,
        id: TicketId,
        hello: [u8; 32],
    ) {
        let TicketContents { identity, serial, revocation, origin, .. } = *read.contents();
        let expires = UnixSeconds(read.contents().expires().0.saturating_add(CLOCK_TOLERANCE_SECS));
        if self.hold_pending(now, at, identity, Stage::AcceptResume(read, id)) {
            if self.is_revoked(&identity, serial) {
                self.note_revoked(identity, serial);
                return self.refuse_revoked_ticket(at);
            }
            let claim = TicketClaim { identity, id, hello, origin, expires, serial, revocation };
            self.push_event(BackendEvent::Resuming { pending: PendingId(at), claim });
        }
    }

    /// Says what the store made of the claim of [`BackendEvent::Resuming`], and what is granted to the device if it may
    /// resume: as with [`Backend::accept`]. To turn the device away for good use [`Backend::refuse`].
    ///
    /// # Errors
    /// [`CallError::StaleHandle`] if it has expired, was decided already or is no resumption; nothing has changed then.
    pub fn claimed(
        &mut self,
        now: Instant,
        pending: PendingId,
        outcome: ClaimOutcome,
        grant: Grant,
    ) -> Result<(), CallError> {
        let at = pending.0;
        let loaded = self.is_loaded(now);
        let half = self.slots.half_open_mut(at).ok_or(CallError::StaleHandle)?;
        let (mut read, id) = match core::mem::replace(&mut half.stage, Stage::Working) {
            Stage::AcceptResume(read, id) => (read, id),
            other => {
                half.stage = other;
                return Err(CallError::StaleHandle);
            }
        };
        let contents = *read.contents();
        let (path, mac) = (half.path.clone(), half.origin.mac);
        self.charge_claim(now, &contents.identity, &id, outcome == ClaimOutcome::New);
        let refused = match outcome {
            //= SPEC.md#resumption
            //# A backend MUST refuse a ticket whose full handshake proved no psk for an identity for which its application registered one.
            _ if grant.psk.is_some() && !contents.psk_proved => Some(Discard::BelowFloor),
            ClaimOutcome::New => None,
            // Anybody can send a Hello again that he has seen, from any path.
            ClaimOutcome::Same if loaded => Some(Discard::CookieRequired),
            ClaimOutcome::Same => None,
            ClaimOutcome::Other => Some(Discard::TicketReused),
            ClaimOutcome::Unavailable => Some(Discard::TicketUnclaimed),
        };
        if let Some(discard) = refused {
            self.discards.count(discard);
            self.push_event(BackendEvent::HandshakeRefused(discard));
            self.drop_half_open(at);
            self.refuse_ticket(now, path, read.connection_id(), mac);
            if outcome == ClaimOutcome::Other {
                self.end_lineage(&contents, id);
            }
            return Ok(());
        }
        //= SPEC.md#early-records
        //# A backend MUST NOT deliver early records unless the claim was new.
        let early = read.take_early();
        let Some(half) = self.slots.half_open_mut(at) else { return Err(CallError::StaleHandle) };
        half.early = if outcome == ClaimOutcome::New { early } else { Vec::new() };
        half.verdict = Some(Verdict::Accepted(grant));
        self.write_resume_reply(at, read);
        Ok(())
    }

    /// Has the Reply to a resumption written.
    pub(super) fn write_resume_reply(&mut self, at: SlotRef, read: ResumeRead) {
        let clock = self.config.time.clock().unwrap_or_default();
        let age = age_of(read.contents().origin, clock);
        let connection_id = self.slots.connection_id(at);
        self.job(at, Work::ReplyResume { read, connection_id, age });
    }

    /// Two have tickets of this origin: what was resumed from it ends.
    //= SPEC.md#resumption
    //# After other a backend MUST close the sessions that were resumed from the ticket's origin.
    fn end_lineage(&mut self, contents: &TicketContents, id: TicketId) {
        let TicketContents { identity, origin, .. } = *contents;
        // Sessions that are not proved are young: all of them are found by their Hello.
        let young: Vec<SlotRef> = self.by_hello.values().copied().collect();
        for at in young {
            let Some(live) = self.slots.live(at) else { continue };
            if live.descends_from(origin) && !live.proved && self.identity_of(at) == Some(identity) {
                self.end_session(at, CloseReason::TicketConflict);
            }
        }
        if let Some(at) = self.devices.session_of(&identity)
            && self.slots.live(at).is_some_and(|live| live.descends_from(origin))
        {
            self.close(at, CloseReason::TicketConflict);
        }
        self.push_event(BackendEvent::TicketConflict { identity, origin, id });
    }

    /// The Reply to a resumption is written.
    pub(super) fn replied_resume(
        &mut self,
        now: Instant,
        at: SlotRef,
        resumed: Resumed,
        contents: TicketContents,
        reply: Vec<u8>,
    ) {
        let Some(rekey) = self.config.rekey.resumed_after(resumed.age) else {
            return self.drop_half_open(at);
        };
        let Some(half) = self.slots.half_open_mut(at) else { return };
        let path = half.path.clone();
        let early = core::mem::take(&mut half.early);
        let verdict = half.verdict.take().unwrap_or(Verdict::Refused(CloseReason::Refused));
        self.establish(now, at, Joined::resumed(resumed, contents, rekey), verdict, Some(reply.clone()));
        self.send_raw(path, reply);
        self.deliver_early(now, at, &early);
    }

    /// Delivers what rode in the Hello of a resumption, whose ticket nobody has claimed before.
    fn deliver_early(&mut self, now: Instant, at: SlotRef, payload: &[u8]) {
        let open = self.slots.live_mut(at).is_some_and(|live| live.closing.is_none());
        if payload.is_empty() || !open || self.early.len() >= MAX_EARLY {
            return;
        }
        let may_ride = |frame: &Frame<'_>| {
            matches!(frame, Frame::Streams(_) | Frame::Records(_) | Frame::Descriptors(_) | Frame::Padding(_))
        };
        let Ok(frames) = Frames::parse_if(payload, may_ride) else {
            //= SPEC.md#early-records
            //# A backend MUST close a session with reason 2 whose early records hold another frame than Streams, Records, Descriptors and Padding, or a malformed one.
            self.discards.count(Discard::MalformedFrames);
            return self.close(at, CloseReason::ProtocolViolation);
        };
        let stale = frames.clone().any(|frame| match frame {
            Frame::Streams(streams) => self.is_overtaken(at, &streams),
            _ => false,
        });
        if stale {
            self.discards.count(Discard::RepeatedRecords);
            return;
        }
        let mut batches = Vec::new();
        for frame in frames {
            self.handle_frame(now, at, 0, 0, frame, &mut |received| {
                if let Received::Batch(batch) = received {
                    batches.push(batch.to_owned());
                }
            });
        }
        self.early.extend(batches);
    }

    /// Tells whether the ledger knows of a later boot than a Streams frame has, or the same one under another tag: then
    /// the Hello was held back for long, and its streams may be closed and forgotten.
    //= SPEC.md#early-records
    //# A backend MUST ignore early records of a boot below the highest one that the device's ledger knows, or with another tag than this.
    fn is_overtaken(&mut self, at: SlotRef, streams: &StreamsFrame<'_>) -> bool {
        let device = self.slots.live(at).and_then(Live::device);
        let Some(device) = device.and_then(|device| self.devices.get(device)) else { return true };
        streams.boots().any(|named| {
            let later = |boot, tag| boot > named.boot || boot == named.boot && tag != named.tag;
            device.inbox.ledger().streams().any(|(known, _)| later(known.boot, known.tag))
        })
    }

    /// Makes a ticket for a session, if one is due and `room` suffices.
    pub(super) fn new_ticket(
        &mut self,
        now: Instant,
        at: SlotRef,
        room: usize,
        rng: &mut dyn Entropy,
    ) -> Option<NewTicket> {
        let keys = self.ticket_keys.clone()?;
        let clock = self.config.time.clock()?;
        let identity = self.identity_of(at)?;
        let live = self.slots.live_mut(at)?;
        let due = live.owes_ticket(now) && live.closing.is_none();
        let contents = live.descent.contents(identity).filter(|_| due && room >= TICKET_ROOM)?;
        let age = age_of(contents.origin, clock);
        let left = self.config.rekey.resumed_after(age)?.longest_session();
        let expires = UnixSeconds(contents.expires().0.min(clock.0.saturating_add(left.as_secs())));
        let resume = live.session.resume_secret(live.session.epoch())?;
        let mut fresh = [0u8; 16];
        rng.fill(&mut fresh).ok()?;
        // Hedged with the session's secret: a generator that repeats itself, as in a copied machine, gives no id twice.
        let digest = hash_parts(&[b"vitalwire ticket id", resume.ticket_psk(&fresh).bytes()]);
        let id = TicketId(*digest.first_chunk()?);
        let ticket = keys.seal(id, &contents, resume);
        Some(NewTicket { ticket, keys, expires, misused: live.descent.ticket.misused })
    }
}

/// The frame, its type and length, and an Ack behind it.
const TICKET_ROOM: usize = TicketFrame::MAX_LEN + 3 + 32;

fn age_of(origin: UnixSeconds, clock: UnixSeconds) -> Duration {
    Duration::from_secs(clock.0.saturating_sub(origin.0))
}
