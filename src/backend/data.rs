//! Data packets: opened, their frames handed on, and what they prove of their session.

use super::event::{BackendEvent, Received, SlotRef};
use super::live::{Live, NO_DEVICE};
use super::{Backend, Path};
use crate::audit::AuditEvent;
use crate::crypto::PublicKey;
use crate::delivery::StreamKey;
use crate::error::{CloseReason, Discard};
use crate::framing::{Frame, Frames, Sender};
use crate::identity::Identity;
use crate::session::RekeyAnswer;
use crate::time::Instant;
use crate::wire::{DataHeader, EpochBits, Pattern};
use alloc::vec::Vec;

impl<P: Path> Backend<P> {
    pub(super) fn handle_data<'b>(
        &mut self,
        now: Instant,
        path: P,
        packet: &'b mut [u8],
        sink: &mut dyn FnMut(Received<'b>),
    ) -> Result<(), Discard> {
        let header = DataHeader::parse(packet, super::slots::CONNECTION_ID_LEN)?;
        let len = packet.len() as u64;
        let Some(at) = self.slots.find(&header.connection_id()) else {
            self.answer_reset(now, path, packet);
            return Err(Discard::UnknownConnection);
        };
        let live = self.slots.live_mut(at).ok_or(Discard::NotAccepted)?;
        // What is not looked at need not be fetched: only a packet of another epoch can be the first of its own.
        let is_current = header.epoch() == EpochBits::of(live.session.epoch());
        let ratchets = if is_current { 0 } else { live.session.dh_ratchets() };
        let opened = live.session.open(now, &header, packet);
        if let Some(reason) = live.session.closed() {
            self.end_session(at, reason);
            return Err(Discard::SessionClosed);
        }
        let opened = opened?;
        let (counter, epoch, advanced) = (opened.counter, opened.epoch, opened.epoch_advanced);
        live.unreported = live.unreported.saturating_add(1);
        live.owes_packet |= advanced;
        let mut rekeyed = None;
        if advanced {
            if let Some(rare) = live.rare_mut() {
                rare.owes_accept = false;
            }
            let done = live.session.dh_ratchets();
            self.totals.rekeyed(done != ratchets);
            rekeyed = Some(done).filter(|done| *done != ratchets);
        }
        let first = !live.proved;
        live.owes_packet |= first;
        live.follow(now, &path, len, opened.newest, first);
        live.confirmed();
        let closing = live.closing.is_some();
        let payload: &'b [u8] = opened.payload;
        if let Some(ratchets) = rekeyed
            && let Some(identity) = self.identity_of(at)
        {
            self.audit.note(now, AuditEvent::Rekeyed { identity, ratchets });
        }
        // Else the timers that there are come early enough.
        if first || advanced {
            self.reschedule(now, at);
        }
        if first && !self.prove(at) {
            return Err(Discard::SessionClosed);
        }
        if closing {
            self.wake(at);
            return Err(Discard::SessionClosed);
        }
        //= SPEC.md#frames
        //# A receiver MUST check all frames of a packet before it acts on any.
        let frames = Frames::parse_split(payload, |frame| frame.allowed_from(Sender::Device));
        let Ok((mut next, mut frames)) = frames else {
            //= SPEC.md#frames
            //# A receiver MUST close the session with reason 2 on a malformed frame or an unknown type below 64.
            self.close(at, CloseReason::ProtocolViolation);
            return Err(Discard::MalformedFrames);
        };
        while let Some(frame) = next {
            if !matches!(frame, Frame::Padding(_)) {
                self.handle_frame(now, at, counter, epoch, frame, sink);
            }
            next = frames.next();
        }
        self.after(now, at);
        Ok(())
    }

    pub(super) fn handle_frame<'b>(
        &mut self,
        now: Instant,
        at: SlotRef,
        counter: u64,
        epoch: u64,
        frame: Frame<'b>,
        sink: &mut dyn FnMut(Received<'b>),
    ) {
        let Some(live) = self.slots.live_mut(at) else { return };
        match frame {
            Frame::Ping(token) => live.make_rare().pong = Some(token),
            Frame::Pong(echo) => live.echoed(echo),
            Frame::Ack(ack) => {
                live.session.peer_acked(ack.packet);
                live.ticket_acked(ack.packet);
            }
            Frame::Streams(streams) => self.handle_streams(at, counter, &streams),
            Frame::Records(records) => {
                if let Err(discard) = self.handle_records(at, records, sink) {
                    self.discards.count(discard);
                }
            }
            Frame::Descriptors(piece) => self.handle_descriptors(at, &piece),
            Frame::RekeyRequest(key) => {
                match live.session.handle_rekey_request(now, epoch, PublicKey(key)) {
                    // poll_transmit makes the ephemeral key.
                    Ok(RekeyAnswer::NeedsEphemeral | RekeyAnswer::Repeat(_)) => {
                        live.make_rare().owes_accept = true;
                    }
                    Err(discard) => {
                        // So that the device does not take this end for dead.
                        live.owes_packet = true;
                        self.discards.count(discard);
                    }
                }
            }
            Frame::Listen(window) => live.listen = window.as_millis().try_into().unwrap_or(u32::MAX),
            Frame::TimeSync(frame) => self.handle_time_sync(now, at, &frame),
            Frame::CommandResult(result) => self.handle_command_result(at, result, sink),
            Frame::CredentialRenewal(hash) => self.handle_renewal_answer(at, hash),
            Frame::Close(reason) => self.end_session(at, reason),
            //= SPEC.md#frames
            //# A receiver MUST skip and count an unknown frame of type 64 or above.
            Frame::Extension { kind, body } => {
                self.discards.count(Discard::UnknownExtension);
                if let Some(identity) = self.identity_of(at) {
                    sink(Received::Extension { identity, kind, body });
                }
            }
            _ => {}
        }
    }

    /// Marks a session as proved; an older one of the same identity ends. `false` if a newer one is proved already, and
    /// this one has ended.
    //= SPEC.md#handshake-timers
    //# A backend MUST NOT displace, show as online or audit as accepted a session that is not proved.
    pub(super) fn prove(&mut self, at: SlotRef) -> bool {
        let Some(identity) = self.identity_of(at) else { return false };
        let Some(live) = self.slots.live_mut(at) else { return false };
        let (number, entry) = (live.youth().map_or(0, |youth| youth.number), live.device());
        if entry.and_then(|entry| self.devices.get_mut(entry)).is_some_and(|device| !device.prove(number)) {
            self.end_session(at, CloseReason::Replaced);
            return false;
        }
        let Some(live) = self.slots.live_mut(at) else { return false };
        live.proved = true;
        self.totals.online = self.totals.online.saturating_add(1);
        let mut early: Vec<StreamKey> = Vec::new();
        if live.descent.resumed {
            // What rode in the Hello may be committed by now.
            early.extend(live.streams.iter().map(|known| known.key));
            early.iter().for_each(|key| live.mark_stream(key));
        }
        let scopes = live.scopes;
        let (names_all, pattern) = live
            .youth_mut()
            .map_or((false, Pattern::Xx), |youth| (core::mem::take(&mut youth.names_all), youth.pattern));
        let (device, path, serial) = (live.device(), live.path.clone(), live.descent.serial());
        self.forget_pending(identity);
        self.wake(at);
        // Without a device it is there only to be closed.
        let Some(device) = device.and_then(|device| self.devices.get_mut(device)) else { return true };
        device.inbox.handle_session();
        self.glasses.proved(&identity, serial);
        if names_all {
            device.inbox.close_others(early.iter().copied());
        }
        let older = device.take_over(at);
        if let Some(older) = older {
            self.displace(older, &path);
        }
        self.push_event(BackendEvent::Connected { identity, scopes, pattern });
        true
    }

    /// Ends a session that `path` has a newer one of. At the same path the device has given it up already;
    /// elsewhere may be a copy of the device, which is told.
    fn displace(&mut self, older: SlotRef, path: &P) {
        let identity = self.identity_of(older);
        let Some((live, identity)) =
            self.slots.live_mut(older).zip(identity).filter(|(live, _)| live.path != *path)
        else {
            return self.end_session(older, CloseReason::Replaced);
        };
        live.closing = Some(CloseReason::Replaced);
        let device = live.device();
        live.device = NO_DEVICE;
        live.make_rare().outcast = Some(identity);
        if let Some(device) = device {
            self.devices.leave(device, older);
        }
        self.push_event(BackendEvent::Disconnected { identity, reason: CloseReason::Replaced });
        self.wake(older);
    }

    /// Returns whose session it is.
    pub(super) fn identity_of(&self, at: SlotRef) -> Option<Identity> {
        let live = self.slots.live(at)?;
        match live.device() {
            Some(device) => self.devices.get(device).map(|device| device.identity),
            None => live.rare()?.outcast,
        }
    }

    /// Sees to it that a session is looked at when its next timer is due.
    fn reschedule(&mut self, now: Instant, at: SlotRef) {
        let own = self.config.limits;
        let Some(live) = self.slots.live(at) else { return };
        let wake = live.idle_at(own);
        let wake = live.session.poll_timeout().map_or(wake, |timer| timer.min(wake));
        self.slots.schedule(at, wake.max(now));
    }

    /// Sees to a session's queue after something came from its device.
    fn after(&mut self, now: Instant, at: SlotRef) {
        self.sync_if_due(now, at);
        if self.slots.live(at).is_some_and(Live::wants_to_send) {
            self.wake(at);
        }
    }
}
