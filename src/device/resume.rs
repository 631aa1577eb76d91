//! Resumption with a ticket, and the records that ride in its Hello (SPEC.md, "Resumption", "Early records").

use super::attempt::{Attempt, Stage, attempt_context};
use super::connect::Connector;
use super::live::{Joined, REPORT_AFTER};
use super::tickets::{Peer, Prepared, Ticket};
use super::{Device, DeviceEvent};
use crate::codec::BufferTooSmall;
use crate::delivery::CutBatch;
use crate::entropy::Entropy;
use crate::error::{CallError, CloseReason, Discard};
use crate::framing::{
    BootTag, FrameKind, FrameWriter, Lane, SetHash, StreamEntry, StreamsWriter, TicketFrame,
};
use crate::handshake::{ResumeFailure, Resumed, Resumption, TicketId, copied};
use crate::limits::MAX_HELLO;
use crate::session::RekeyPolicy;
use crate::time::{Duration, Instant};
use crate::wire::{Cookie, Pattern};

/// How long an attempt waits for the storage to erase the ticket, before it goes on without it.
const STORAGE_PATIENCE: Duration = Duration::from_secs(2);
/// Batches in one Hello, at the most: one per lane.
const MAX_BATCHES: usize = Lane::ALL.len();

/// Of the ticket in use, what the session will need, and what went along in the Hello.
pub(super) struct Resuming {
    pub(super) peer: Peer,
    psk_proved: bool,
    early: Early,
}

/// The records in a Hello.
#[derive(Default)]
struct Early {
    batches: [Option<CutBatch>; MAX_BATCHES],
    /// The lanes that the Streams frame names, with the descriptor set of that time.
    named: [Option<Lane>; MAX_BATCHES],
    set: Option<SetHash>,
}

/// What became of the wish to resume.
pub(super) enum ResumeStep {
    /// There is no ticket: a full handshake.
    Full,
    /// The storage has to erase it first.
    Wait,
    /// The Hello is written; its length.
    Sent(usize),
}

impl Connector {
    /// The storage has answered: an attempt that waits for it need not any more.
    pub(super) fn storage_answered(&mut self, now: Instant) {
        if let Some(attempt) = &mut self.attempt
            && attempt.patience.is_some()
            && matches!(attempt.stage, Stage::Start)
        {
            attempt.due = attempt.due.min(now);
        }
    }
}

impl Attempt {
    /// Goes on with a full handshake: the ticket is used up.
    pub(super) fn fall_back(&mut self, now: Instant, cookie: Option<Cookie>) {
        self.stage = Stage::Start;
        self.resuming = None;
        self.cookie = cookie;
        self.due = now;
        self.sends = 0;
    }
}

impl Device<'_> {
    /// Begins an attempt with the ticket, if there is one that may be used.
    #[inline(never)]
    pub(super) fn start_resumption(
        &mut self,
        now: Instant,
        tag: BootTag,
        rng: &mut dyn Entropy,
        out: &mut [u8],
    ) -> Result<ResumeStep, CallError> {
        let Some(attempt) = &mut self.connector.attempt else { return Ok(ResumeStep::Full) };
        // A cookie comes from a Retry: this attempt has begun already.
        if attempt.cookie.is_some() {
            return Ok(ResumeStep::Full);
        }
        match self.tickets.prepare(now, &self.config) {
            Prepared::No => return Ok(ResumeStep::Full),
            Prepared::Wait => {
                let patience = *attempt.patience.get_or_insert(now + STORAGE_PATIENCE);
                if patience <= now {
                    return Ok(ResumeStep::Full);
                }
                attempt.due = patience;
                return Ok(ResumeStep::Wait);
            }
            Prepared::Ready => {}
        }
        // Before the ticket is taken: too small a buffer changes nothing.
        if out.len() < MAX_HELLO {
            return Err(BufferTooSmall { needed: MAX_HELLO }.into());
        }
        let context = attempt_context(tag, attempt.serial);
        let Some(held) = self.tickets.take() else { return Ok(ResumeStep::Full) };
        let mut space = [0u8; MAX_HELLO];
        let room = Resumption::early_room(self.config.connection_id.len());
        let (len, early) = self.compose_early(now, tag, space.get_mut(..room).unwrap_or_default());
        let Ticket { ticket, psk, service, peer, psk_proved, .. } = &held;
        let resumption = Resumption {
            local: &self.config.identity,
            ticket,
            psk,
            service,
            connection_id: self.config.connection_id,
            limits: self.config.limits,
            early: space.get(..len).unwrap_or_default(),
        };
        let Some(attempt) = &mut self.connector.attempt else { return Ok(ResumeStep::Full) };
        let started = resumption
            .start(&context, rng, out)
            .and_then(|(state, len)| Ok((state, copied(out.get(..len).unwrap_or_default())?, len)));
        let (state, packet, len) = match started {
            Ok(started) => started,
            Err(error) => {
                // Nothing was sent: it is as good as before.
                self.tickets.keep(held);
                return Err(attempt.not_begun(now, error));
            }
        };
        let peer = Peer { scopes: self.config.granted(peer.scopes), ..*peer };
        attempt.resuming = Some(Resuming { peer, psk_proved: *psk_proved, early });
        attempt.stage = Stage::Resume(state);
        attempt.packet = packet;
        attempt.note_sent(now, rng);
        self.book_early(now);
        // They have been sent once now. Should the resumption fail they are in the queue.
        self.outbox.handle_discarded();
        Ok(ResumeStep::Sent(len))
    }

    /// Writes what waits in the outbox, the most urgent lane first. With a session there is none: it takes them.
    #[inline(never)]
    fn compose_early(&self, now: Instant, tag: BootTag, out: &mut [u8]) -> (usize, Early) {
        let mut early = Early::default();
        let room = out.len();
        if self.live.is_some() || !Lane::ALL.iter().copied().any(|lane| self.outbox.is_ready(now, lane, room))
        {
            return (0, early);
        }
        let mut entries = [StreamEntry { index: 0, lane: Lane::Alarm, oldest: 0 }; MAX_BATCHES];
        let mut count = 0usize;
        for (slot, (lane, oldest)) in entries.iter_mut().zip(self.outbox.streams()) {
            *slot = StreamEntry { index: lane.code(), lane, oldest };
            count = count.saturating_add(1);
        }
        let entries = entries.get(..count).unwrap_or_default();
        //= SPEC.md#early-records
        //# A device MUST NOT put other frames than Streams, Records, Descriptors and Padding into a Hello.
        let mut writer = FrameWriter::new(out);
        let complete = self.names_all_streams();
        let named = writer.frame_with(FrameKind::Streams, |body| {
            let mut streams = StreamsWriter::new(body, complete).ok()?;
            streams.push(self.boot, tag, self.set_hash, entries).ok()?;
            Some(streams.finish())
        });
        if !named {
            return (0, early);
        }
        let mut slots = early.batches.iter_mut();
        for &lane in &Lane::ALL {
            let mut cut = None;
            if self.outbox.is_ready(now, lane, writer.remaining().unwrap_or(0)) {
                writer.frame_with(FrameKind::Records, |body| {
                    cut = self.outbox.next_batch(lane, lane.code(), body);
                    cut.map(|batch| batch.len)
                });
            }
            if let (Some(batch), Some(slot)) = (cut, slots.next()) {
                *slot = Some(batch);
            }
        }
        let len = writer.len();
        if early.batches.iter().flatten().next().is_none() {
            return (0, early);
        }
        for (slot, entry) in early.named.iter_mut().zip(entries) {
            *slot = Some(entry.lane);
        }
        early.set = Some(self.set_hash);
        (len, early)
    }

    fn book_early(&mut self, now: Instant) {
        let resuming = self.connector.attempt.as_ref().and_then(|attempt| attempt.resuming.as_ref());
        let Some(resuming) = resuming else { return };
        for batch in resuming.early.batches.into_iter().flatten() {
            self.outbox.book(now, batch, 0);
        }
    }

    /// Takes a Reply to a resumption.
    #[inline(never)]
    pub(super) fn handle_resume_reply(&mut self, now: Instant, packet: &[u8]) -> Result<(), Discard> {
        let attempt = self.connector.attempt.as_mut().ok_or(Discard::Unsolicited)?;
        let state = match core::mem::replace(&mut attempt.stage, Stage::Gone) {
            Stage::Resume(state) => state,
            other => {
                attempt.stage = other;
                return Err(Discard::Unsolicited);
            }
        };
        match state.read_reply(packet) {
            Ok(resumed) => match (attempt.resuming.take(), policy_after(&self.config.rekey, &resumed)) {
                (Some(resuming), Some(rekey)) => {
                    self.resumed(now, resumed, resuming, rekey);
                    Ok(())
                }
                _ => {
                    attempt.fall_back(now, None);
                    Err(Discard::ExpiredTicket)
                }
            },
            Err(ResumeFailure::Pending(state, error)) => {
                attempt.stage = Stage::Resume(state);
                Err(error.discard())
            }
            Err(ResumeFailure::Dead(error)) => {
                attempt.fall_back(now, None);
                Err(error.discard())
            }
        }
    }

    fn resumed(&mut self, now: Instant, resumed: Resumed, resuming: Resuming, rekey: RekeyPolicy) {
        let Resumed { secrets, peer_connection_id, peer_limits, .. } = resumed;
        let Resuming { peer, psk_proved, early } = resuming;
        let pattern = Pattern::Resume;
        let joined = Joined { secrets, peer, peer_connection_id, peer_limits, pattern, psk_proved, rekey };
        self.join(now, joined, None);
        let Some(set) = early.set else { return };
        let Some(live) = &mut self.live else { return };
        live.named = true;
        if set != self.set_hash {
            // The Hello named the streams with the set of that time.
            live.renew_indices(now);
            return;
        }
        // They are on their way in this session, and come again if no Ack names them.
        self.outbox.streams_sent(now, early.named.into_iter().flatten());
        for batch in early.batches.into_iter().flatten() {
            self.outbox.book(now, batch, 0);
        }
    }

    /// Keeps a ticket that the backend has sent in a packet of `epoch`.
    #[inline(never)]
    pub(super) fn handle_ticket(&mut self, epoch: u64, frame: &TicketFrame<'_>) {
        let Some(live) = self.live.as_mut().filter(|live| !live.renewed) else { return };
        // One of the epoch before may be from before a DH ratchet. The backend sends another.
        let Some(resume) = live.session.resume_secret(epoch).filter(|_| epoch == live.session.epoch()) else {
            return;
        };
        let ticket = Ticket {
            ticket: *frame.ticket,
            psk: resume.ticket_psk(&TicketId::of(frame.ticket).0),
            service: crate::crypto::ServiceKey::from_bytes(*frame.service_key),
            peer: live.peer,
            expires: frame.expires,
            dies: Some(live.ends()),
            psk_proved: live.psk_proved,
            own: self.config.identity.credential().hash(),
        };
        // An Ack of its packet tells the backend that it has arrived.
        live.unreported = live.unreported.max(REPORT_AFTER);
        let first_news = frame.misused && !core::mem::replace(&mut live.misuse_told, frame.misused);
        self.tickets.keep(ticket);
        if first_news {
            self.events.push(DeviceEvent::TicketMisused);
        }
    }

    /// Forgets the ticket if a DH ratchet was committed since the last call.
    //= SPEC.md#tickets
    //# A device MUST forget the tickets of a session when a DH ratchet of it commits.
    pub(super) fn check_ratchets(&mut self) {
        let Some(live) = &mut self.live else { return };
        let ratchets = live.session.dh_ratchets();
        if core::mem::replace(&mut live.dh_seen, ratchets) != ratchets {
            self.tickets.forget();
        }
    }

    /// Forgets the ticket of a device that the backend does not want.
    pub(super) fn forget_ticket_after(&mut self, reason: CloseReason) {
        if matches!(reason, CloseReason::Refused | CloseReason::Revoked | CloseReason::TicketConflict) {
            self.tickets.forget();
        }
    }
}

/// The rekey policy of a resumed session, or `None` if its age is over.
fn policy_after(policy: &RekeyPolicy, resumed: &Resumed) -> Option<RekeyPolicy> {
    policy.resumed_after(resumed.age)
}
