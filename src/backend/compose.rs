//! What goes into the next packet to a device.

use super::commands::CommandsSent;
use super::event::SlotRef;
use super::live::Live;
use super::paths::Trial;
use super::resume::NewTicket;
use super::{Backend, Path, Transmit};
use crate::codec::BufferTooSmall;
use crate::crypto::EphemeralSecret;
use crate::delivery::Inbox;
use crate::entropy::Entropy;
use crate::error::CallError;
use crate::framing::{AckWriter, Frame, FrameKind, FrameWriter, Lane, Settled, StreamAck, WallReading};
use crate::limits::MIN_MAX_PACKET;
use crate::session::SealError;
use crate::time::Instant;
use crate::wire::TAG_LEN;

/// After so many unreported packets an Ack is sent for its packet counter alone, so that the device's counters
/// stay short.
const REPORT_AFTER: u8 = 32;

/// The longest bitmap of an Ack, in bytes.
const MAX_BITMAP: usize = 32;
/// Every so many packets the Credit is told again, as any packet may be lost.
const CREDIT_EVERY: u64 = 8;

/// What a packet carried, to be forgotten once it is sealed.
#[derive(Default)]
struct Manifest {
    ack: bool,
    acked: u16,
    pong: bool,
    accept: bool,
    hint: bool,
    set: bool,
    refused: usize,
    credit: Option<u16>,
    ping: bool,
    ticket: bool,
    renewal: bool,
    closing: bool,
    commands: CommandsSent,
}

impl<P: Path> Live<P> {
    /// Tells whether there is anything to say to the device.
    pub(super) fn wants_to_send(&self) -> bool {
        self.proved && (self.closing.is_some() || self.owes_anything())
    }

    /// Tells whether there is anything to say but a Close.
    fn owes_anything(&self) -> bool {
        self.owes_packet
            || self.dirty != 0
            || self.unreported >= REPORT_AFTER
            || self.rare().is_some_and(|rare| {
                rare.pong.is_some()
                    || rare.wanted_set.is_some()
                    || rare.owes_accept
                    || rare.hint
                    || !rare.refused.is_empty()
                    || self.has_downlink()
            })
    }

    #[expect(clippy::too_many_arguments, reason = "what the session itself does not hold")]
    fn compose(
        &self,
        now: Instant,
        wall: Option<WallReading>,
        inbox: Option<&Inbox>,
        ticket: Option<&NewTicket>,
        renewal: Option<&[u8]>,
        random: [u8; 8],
        held: bool,
        payload: &mut [u8],
    ) -> (usize, Manifest) {
        let mut manifest = Manifest::default();
        let mut writer = FrameWriter::new(payload);
        if let Some(reason) = self.closing.filter(|_| !held) {
            manifest.closing = writer.push(&Frame::Close(reason)).is_ok();
            return (writer.len(), manifest);
        }
        let rare = self.rare();
        if rare.is_some_and(|rare| rare.owes_accept) {
            // Without a key there is nothing to answer any more.
            let key = self.session.rekey_accept();
            manifest.accept = key.is_none_or(|key| writer.push(&Frame::RekeyAccept(key.0)).is_ok());
        }
        if let Some(token) = rare.and_then(|rare| rare.pong) {
            manifest.pong = writer.push(&Frame::Pong(token)).is_ok();
        }
        // Any packet may be lost: each one to such a path has the token.
        if let Some(Trial { token, .. }) = self.trial() {
            manifest.ping = writer.push(&Frame::Ping(token.unwrap_or(random))).is_ok();
        }
        if let Some(downlink) = self.downlink().filter(|_| self.has_downlink()) {
            if self.is_validated() {
                manifest.commands = downlink.write(now, &mut writer);
            }
            downlink.clock.write(now, wall, &mut writer);
        }
        if let Some(index) = rare.and_then(|rare| rare.wanted_set) {
            manifest.set = writer.push(&Frame::DescriptorsRequest(index)).is_ok();
        }
        if rare.is_some_and(|rare| rare.hint) {
            manifest.hint = writer.push(&Frame::RekeyHint).is_ok();
        }
        for refused in rare.map_or(&[][..], |rare| &rare.refused) {
            if writer.push(&Frame::Refused(*refused)).is_err() {
                break;
            }
            manifest.refused = manifest.refused.saturating_add(1);
        }
        let repeat = self.session.next_counter().is_multiple_of(CREDIT_EVERY);
        if let Some(credit) = inbox.map(Inbox::credit).filter(|&credit| repeat || credit != self.told_credit)
        {
            manifest.credit = writer.push(&Frame::Credit(credit)).is_ok().then_some(credit);
        }
        manifest.renewal =
            renewal.is_some_and(|renewal| writer.push(&Frame::CredentialRenewal(renewal)).is_ok());
        manifest.ticket = ticket.is_some_and(|ticket| writer.push(&Frame::Ticket(ticket.frame())).is_ok());
        manifest.ack =
            writer.frame_with(FrameKind::Ack, |body| self.write_ack(inbox, body, &mut manifest.acked));
        (writer.len(), manifest)
    }

    /// Writes the Ack: the packet counter, and those dirty streams that fit. If not even one fits, its bitmap is cut:
    /// what is not told now is told when the records come again.
    fn write_ack(&self, inbox: Option<&Inbox>, body: &mut [u8], acked: &mut u16) -> Option<usize> {
        let mut ack = AckWriter::new(body, self.session.highest_received()).ok()?;
        let mut empty = true;
        for index in 0..u16::BITS as u8 {
            let bit = 1u16.checked_shl(index.into()).unwrap_or(0);
            if self.dirty & bit == 0 {
                continue;
            }
            let stream =
                self.streams.find(index).zip(inbox).and_then(|((key, _), inbox)| inbox.ack_for(&key, index));
            if let Some(stream) = stream {
                let mut shorter = (0..MAX_BITMAP).rev().map(|bytes| cut_bitmap(&stream, bytes));
                let fits =
                    ack.push(&stream).is_ok() || empty && shorter.any(|shorter| ack.push(&shorter).is_ok());
                if !fits {
                    break;
                }
                empty = false;
            }
            *acked |= bit;
        }
        Some(ack.finish())
    }
}

/// Keeps the first `bytes` bytes of a bitmap.
fn cut_bitmap(stream: &StreamAck, bytes: usize) -> StreamAck {
    let mut settled = Settled::NONE;
    for bit in stream.settled.iter().take_while(|bit| usize::from(*bit) < bytes.saturating_mul(8)) {
        settled.insert(bit);
    }
    StreamAck { settled, ..*stream }
}

impl<P: Path> Backend<P> {
    /// Puts a session into the queue of those that have something to send.
    pub(super) fn wake(&mut self, at: SlotRef) {
        if let Some(live) = self.slots.live_mut(at)
            && !live.queued
        {
            live.queued = true;
            self.ready.push_back(at);
        }
    }

    /// Writes the next packet to send into `out`, or returns `None` if there is nothing to send now.
    ///
    /// Call it until it returns `None`, after whatever was handed in. Randomness is drawn here and in
    /// [`HandshakeJob::run`](super::HandshakeJob::run) only.
    ///
    /// # Errors
    /// [`CallError::BufferTooSmall`] if `out` is smaller than the packet at hand (1500 bytes always do): nothing is
    /// sealed then, and the packet comes with the next call. [`CallError::Entropy`] if the random source failed.
    pub fn poll_transmit<'o>(
        &mut self,
        now: Instant,
        rng: &mut dyn Entropy,
        out: &'o mut [u8],
    ) -> Result<Option<Transmit<'o, P>>, CallError> {
        self.handle_timeout(now);
        // Without a new key, cookies expire and none are given: whoever is here already is served.
        let _ = self.cookies.rotate(now, rng);
        self.admission.seed(rng);
        if let Some((path, packet)) = self.outgoing.front() {
            let needed = packet.len();
            let space = out.get_mut(..needed).ok_or(BufferTooSmall { needed })?;
            space.copy_from_slice(packet);
            let path = path.clone();
            self.outgoing.pop_front();
            self.totals.sent(needed);
            return Ok(out.get(..needed).map(|packet| Transmit { path, packet }));
        }
        while let Some(&at) = self.ready.front() {
            let sent = match self.transmit_session(now, at, rng, out) {
                Ok(sent) => sent,
                Err(error) => {
                    // Nobody else waits for it.
                    self.ready.rotate_left(1);
                    return Err(error);
                }
            };
            // It stays in the queue while it has more to say.
            let more = sent.is_some() && self.slots.live_mut(at).is_some_and(|live| live.wants_to_send());
            self.ready.pop_front();
            if more {
                self.ready.push_back(at);
            } else if let Some(live) = self.slots.live_mut(at) {
                live.queued = false;
            }
            if let Some((path, len)) = sent {
                self.totals.sent(len);
                return Ok(out.get(..len).map(|packet| Transmit { path, packet }));
            }
        }
        self.report_drained();
        Ok(None)
    }

    fn transmit_session(
        &mut self,
        now: Instant,
        at: SlotRef,
        rng: &mut dyn Entropy,
        out: &mut [u8],
    ) -> Result<Option<(P, usize)>, CallError> {
        let Some(live) = self.slots.live_mut(at).filter(|live| live.wants_to_send()) else { return Ok(None) };
        if live.session.needs_ephemeral() {
            let hedge = self.config.identity.static_dh().hedge_key();
            let id = self.slots.connection_id(at);
            let secret = EphemeralSecret::generate_hedged(rng, &hedge, id.as_bytes())?;
            let Some(live) = self.slots.live_mut(at) else { return Ok(None) };
            if let Err(discard) = live.session.answer_dh(now, secret) {
                live.make_rare().owes_accept = false;
                self.discards.count(discard);
            }
        }
        let wall = self.wall_reading(now);
        let held = self.holds_close(now, at);
        let Some(live) = self.slots.live_mut(at) else { return Ok(None) };
        if (live.closing.is_none() || held) && !live.is_listening(now) {
            return Ok(None); // until the device is heard again
        }
        if held && !live.owes_anything() {
            return Ok(None); // until its batches are settled
        }
        if live.budget() == 0 {
            // What is owed waits until more comes from there.
            if let Some(reason) = live.closing.filter(|_| !held) {
                self.end_session(at, reason);
            }
            return Ok(None);
        }
        let mut random = [0u8; 8];
        if matches!(live.trial(), Some(Trial { token: None, .. })) {
            rng.fill(&mut random)?;
        }
        let max = usize::from(live.max_packet);
        let max = max.min(usize::try_from(live.budget()).unwrap_or(usize::MAX));
        if out.len() < max.min(MIN_MAX_PACKET) {
            return Err(BufferTooSmall { needed: max.min(MIN_MAX_PACKET) }.into());
        }
        let head = live.session.header_len(&live.peer_connection_id);
        let end = max.min(out.len()).saturating_sub(TAG_LEN);
        let ticket = self.new_ticket(now, at, end.saturating_sub(head), rng);
        let renewal = self.renewals.get(&at).and_then(|renewal| renewal.frame(now));
        let Some(live) = self.slots.live_mut(at) else { return Ok(None) };
        let inbox = live.device().and_then(|device| self.devices.get(device)).map(|device| &device.inbox);
        let payload = out.get_mut(head..end).unwrap_or_default();
        let (len, manifest) = live.compose(now, wall, inbox, ticket.as_ref(), renewal, random, held, payload);
        if len == 0 {
            return Ok(None);
        }
        let id = live.peer_connection_id;
        let sealed = match live.session.seal(now, &id, out, len) {
            Ok(packet) => packet.len(),
            Err(SealError::Closed(reason)) => {
                self.end_session(at, reason);
                return Ok(None);
            }
            Err(SealError::BufferTooSmall(error)) => return Err(error.into()),
            Err(SealError::PacketTooLong) => return Ok(None),
        };
        live.sent(now, &manifest, random, sealed);
        self.totals.tickets_given = self.totals.tickets_given.saturating_add(manifest.ticket.into());
        let timer = live.downlink_timer(now);
        let (path, closing) = (live.path.clone(), live.closing.filter(|_| manifest.closing));
        if let Some(reason) = closing {
            self.end_session(at, reason);
        } else if let Some(timer) = timer {
            self.slots.schedule(at, timer);
        }
        if manifest.renewal {
            self.renewal_sent(now, at);
        }
        Ok(Some((path, sealed)))
    }
}

impl<P: Path> Live<P> {
    fn sent(&mut self, now: Instant, manifest: &Manifest, random: [u8; 8], len: usize) {
        self.owes_packet = false;
        let validated = self.is_validated();
        if manifest.ticket {
            let counter = self.session.next_counter().saturating_sub(1);
            self.ticket_sent(now, counter);
        }
        if manifest.ack {
            self.unreported = 0;
            self.dirty &= !manifest.acked;
        }
        if let Some(credit) = manifest.credit {
            self.told_credit = credit;
        }
        if let Some(trial) = self.trial_mut() {
            trial.sent(len as u64);
            if manifest.ping {
                trial.token.get_or_insert(random);
            }
        }
        let Some(rare) = self.rare_mut() else { return };
        if let Some(downlink) = &mut rare.downlink {
            downlink.clock.sent(now);
            if validated {
                downlink.sent(now, &manifest.commands);
            }
        }
        rare.owes_accept &= !manifest.accept;
        rare.hint &= !manifest.hint;
        if manifest.pong {
            rare.pong = None;
        }
        if manifest.set {
            rare.wanted_set = None;
        }
        rare.refused.drain(..manifest.refused.min(rare.refused.len()));
        self.tidy();
    }
}

/// Lanes are named here only so that a new one cannot be forgotten: an Ack has a bit for each stream index.
const _: () = assert!(Lane::ALL.len() <= u16::BITS as usize);
