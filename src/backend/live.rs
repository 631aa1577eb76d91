//! One session of a backend: what came in, and what it means.

use super::SharedSet;
use super::commands::Downlink;
use super::descriptors::Assembly;
use super::devices::Seat;
use super::event::{BackendEvent, Received, SlotRef};
use super::halfopen::Origin;
use super::resume::{Lineage, TicketGiving};
use super::{Backend, Path};
use crate::audit::AuditEvent;
use crate::crypto::{PublicKey, SessionSecrets};
use crate::delivery::{IndexedStream, StreamKey, StreamTable};
use crate::error::{CloseReason, Discard};
use crate::framing::{Frame, Frames, RefusedFrame, Sender};
use crate::handshake::Limits;
use crate::identity::{Identity, Scopes};
use crate::limits::{AMPLIFICATION, HALF_OPEN_LIFE, INITIAL_CREDIT, MIN_MAX_PACKET, PATH_MEMORY};
use crate::session::{RekeyAnswer, RekeyPolicy, Session, Side};
use crate::time::{Duration, Instant};
use crate::wire::{ConnectionId, DataHeader, Pattern};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A backend's session has a window of 1024 packets.
pub(super) type BackendSession = Session<16>;

/// How far a path may be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathState {
    Validated,
    /// Received and sent there so far, in bytes, and the token whose echo validates it.
    Unvalidated {
        received: u64,
        sent: u64,
        token: Option<[u8; 8]>,
    },
}

impl PathState {
    /// A path from which `received` bytes have come, and to which nothing has gone.
    pub(super) const fn unvalidated(received: u64) -> Self {
        Self::Unvalidated { received, sent: 0, token: None }
    }

    const fn received(&mut self, len: u64) {
        if let Self::Unvalidated { received, .. } = self {
            *received = received.saturating_add(len);
        }
    }

    /// Takes an echo; it counts for the path to which its token went.
    fn echoed(&mut self, echo: [u8; 8]) {
        if matches!(self, Self::Unvalidated { token: Some(token), .. } if *token == echo) {
            *self = Self::Validated;
        }
    }
}

/// The path that a session had before the present one: a device may use both by turns.
pub(super) struct Spare<P> {
    path: P,
    state: PathState,
    last_heard: Instant,
}

/// What a handshake gives to a session: a full one, or a resumption.
pub(super) struct Joined {
    pub(super) secrets: SessionSecrets,
    pub(super) identity: Identity,
    pub(super) scopes: Scopes,
    /// The serial number of the credential that the full handshake showed.
    pub(super) serial: u32,
    pub(super) peer_connection_id: ConnectionId,
    pub(super) peer_limits: Limits,
    pub(super) pattern: Pattern,
    /// With the session age that is left.
    pub(super) rekey: RekeyPolicy,
    pub(super) lineage: Lineage,
}

/// One session.
pub(super) struct Live<P> {
    pub(super) session: BackendSession,
    pub(super) path: P,
    pub(super) path_state: PathState,
    spare: Option<Box<Spare<P>>>,
    pub(super) peer_connection_id: ConnectionId,
    pub(super) peer_limits: Limits,
    pub(super) identity: Identity,
    pub(super) pattern: Pattern,
    /// What it may do now: of what its credential permits, what is granted.
    pub(super) scopes: Scopes,
    pub(super) allowed: Scopes,
    pub(super) granted: Scopes,
    pub(super) serial: u32,
    pub(super) device: Option<u32>,
    /// Which of its device's sessions it is.
    number: u64,
    /// The application's own number for this session.
    pub(super) fence: u64,
    /// Until copies of the handshake's packets can hardly come any more.
    pub(super) origin: Option<Origin>,
    pub(super) proved: bool,
    last_heard: Instant,
    pub(super) born: Instant,
    pub(super) streams: StreamTable,
    /// The Streams frame that rode in the Hello is complete.
    pub(super) names_all: bool,
    /// The descriptor sets of the stream indices, as far as they are known.
    pub(super) sets: Vec<Arc<SharedSet>>,
    pub(super) assembly: Option<Box<Assembly>>,
    /// Stream indices that an Ack must name, as bits.
    pub(super) dirty: u16,
    pub(super) owes_packet: bool,
    pub(super) owes_accept: bool,
    pub(super) hint: bool,
    pub(super) unreported: u32,
    pub(super) pong: Option<[u8; 8]>,
    /// The stream index whose descriptor set the device is to send.
    pub(super) wanted_set: Option<u8>,
    pub(super) refused: Vec<RefusedFrame>,
    pub(super) told_credit: u16,
    pub(super) lineage: Lineage,
    pub(super) ticket: TicketGiving,
    pub(super) closing: Option<CloseReason>,
    /// Its Close waits, as the node drains and not all is settled.
    pub(super) close_held: bool,
    /// Commands and stamps, if there ever were any.
    pub(super) downlink: Option<Box<Downlink>>,
    /// For how long the device listens after each of its packets; zero: always.
    listen: Duration,
    /// The slot is in the queue of those that have something to send.
    pub(super) queued: bool,
}

/// What a session starts with, besides the handshake's own.
pub(super) struct Start<P> {
    pub(super) path: P,
    pub(super) path_state: PathState,
    pub(super) granted: Scopes,
    pub(super) seat: Option<Seat>,
    pub(super) fence: u64,
    pub(super) origin: Origin,
    pub(super) closing: Option<CloseReason>,
    /// A ticket of the device was misused.
    pub(super) misused: bool,
}

/// Refusals that wait to be sent, at the most; more come again with the records.
const MAX_REFUSED: usize = 8;

impl<P: Path> Live<P> {
    pub(super) fn new(now: Instant, joined: Joined, start: Start<P>) -> Self {
        let Joined {
            secrets,
            identity,
            scopes,
            serial,
            peer_connection_id,
            peer_limits,
            pattern,
            rekey,
            lineage,
        } = joined;
        let Start { path, path_state, granted, seat, fence, origin, closing, misused } = start;
        Self {
            session: BackendSession::new(now, Side::Backend, secrets, peer_limits.window(), rekey),
            path,
            path_state,
            spare: None,
            peer_connection_id,
            peer_limits,
            identity,
            pattern,
            scopes: scopes & granted,
            allowed: scopes,
            granted,
            serial,
            device: seat.map(|seat| seat.at),
            number: seat.map_or(0, |seat| seat.number),
            fence,
            origin: Some(origin),
            proved: false,
            last_heard: now,
            born: now,
            streams: StreamTable::default(),
            names_all: false,
            sets: Vec::new(),
            assembly: None,
            dirty: 0,
            owes_packet: true,
            owes_accept: false,
            hint: false,
            unreported: 0,
            pong: None,
            wanted_set: None,
            refused: Vec::new(),
            told_credit: INITIAL_CREDIT,
            lineage,
            ticket: TicketGiving::new(misused),
            closing,
            close_held: false,
            downlink: None,
            listen: Duration::ZERO,
            queued: false,
        }
    }

    /// When the session ends if nothing more is heard.
    pub(super) fn idle_at(&self, own: Limits) -> Instant {
        //= SPEC.md#handshake-timers
        //# A backend MUST forget a session that is not proved 20 s after its Reply.
        let idle = own.idle_timeout().min(self.peer_limits.idle_timeout());
        if self.proved { self.last_heard + idle } else { self.born + HALF_OPEN_LIFE }
    }

    /// How many bytes may go to the present path now.
    //= SPEC.md#admission
    //# A backend MUST NOT send more than three times the bytes that it received on a path before that path is validated.
    pub(super) fn budget(&self) -> u64 {
        match self.path_state {
            PathState::Validated => u64::MAX,
            PathState::Unvalidated { received, sent, .. } => {
                let budget = received.saturating_mul(AMPLIFICATION).saturating_sub(sent);
                // What is too little for any frame waits until more comes from there.
                if budget < MIN_MAX_PACKET as u64 { 0 } else { budget }
            }
        }
    }

    /// Takes note of an authentic packet of `len` bytes from `path`; `first`: of this session.
    fn follow(&mut self, now: Instant, path: &P, len: u64, newest: bool, first: bool) {
        let last_heard = core::mem::replace(&mut self.last_heard, now);
        if self.path == *path {
            //= SPEC.md#admission
            //# A backend MUST NOT take a path as validated by a Finish or a first packet from there if the Reply went to another path as well.
            if first && self.origin.as_ref().is_some_and(|origin| origin.sole_path) {
                // The device has read the Reply that was sent to this path.
                self.path_state = PathState::Validated;
            }
            self.path_state.received(len);
            return;
        }
        if let Some(spare) = self.spare.as_mut().filter(|spare| spare.path == *path) {
            spare.state.received(len);
            //= SPEC.md#paths
            //# A backend MUST take a path that a session has left as unvalidated again once nothing has authenticated from there for 10 minutes.
            if now.since(spare.last_heard) >= PATH_MEMORY {
                spare.state = PathState::unvalidated(len);
                self.owes_packet |= newest;
            }
            spare.last_heard = now;
            if newest {
                core::mem::swap(&mut self.path, &mut spare.path);
                core::mem::swap(&mut self.path_state, &mut spare.state);
                spare.last_heard = last_heard;
            }
        } else if newest {
            let path = core::mem::replace(&mut self.path, path.clone());
            let state = core::mem::replace(&mut self.path_state, PathState::unvalidated(len));
            self.owes_packet = true;
            let former = Spare { path, state, last_heard };
            match &mut self.spare {
                // Nobody who sends copies from many paths takes the place of a validated one.
                Some(spare) if spare.state == PathState::Validated && state != PathState::Validated => {}
                Some(spare) => **spare = former,
                None => self.spare = Some(Box::new(former)),
            }
        }
    }

    /// Tells whether the device listens: what is sent after the first half of its window may come too late.
    //= SPEC.md#listening
    //# A backend MUST NOT send to a device that has told a window, but within half of the window after it has heard it; a Close excepted.
    pub(super) fn is_listening(&self, now: Instant) -> bool {
        let half = self.listen.as_millis() / 2;
        self.listen == Duration::ZERO || now.since(self.last_heard).as_millis() <= half
    }

    /// What is kept of the handshake for a device that has not heard of the session is of no use now.
    fn confirmed(&mut self) {
        if let Some(origin) = &mut self.origin {
            origin.finish_answers = 0;
            origin.reply = Vec::new();
        }
    }

    /// An Ack for this stream is due, under the latest of its indices that an Ack may name.
    pub(super) fn mark_stream(&mut self, stream: &StreamKey) {
        //= SPEC.md#descriptors-frame
        //# A backend MUST NOT name a stream index in an Ack while it lacks the set of that index.
        let may_name = |known: &IndexedStream| known.key == *stream && self.set(known.set).is_some();
        let latest = self.streams.iter().rev().find(may_name).map(|known| known.index);
        if let Some(index) = latest {
            self.mark_dirty(index);
        }
    }

    pub(super) fn mark_dirty(&mut self, index: u8) {
        self.dirty |= 1u16.checked_shl(index.into()).unwrap_or(0);
    }

    pub(super) fn refuse(&mut self, refused: RefusedFrame) {
        if self.refused.len() < MAX_REFUSED {
            self.refused.push(refused);
        }
    }
}

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
        let ratchets = live.session.dh_ratchets();
        let opened = live.session.open(now, &header, packet);
        if let Some(reason) = live.session.closed() {
            self.end_session(at, reason);
            return Err(Discard::SessionClosed);
        }
        let opened = opened?;
        let (counter, epoch) = (opened.counter, opened.epoch);
        live.unreported = live.unreported.saturating_add(1);
        live.owes_packet |= opened.epoch_advanced;
        if opened.epoch_advanced {
            live.owes_accept = false;
            let done = live.session.dh_ratchets();
            self.totals.rekeyed(done != ratchets);
            if done != ratchets {
                let event = AuditEvent::Rekeyed { identity: live.identity, ratchets: done };
                self.audit.note(now, event);
            }
        }
        let first = !live.proved;
        live.owes_packet |= first;
        live.follow(now, &path, len, opened.newest, first);
        live.confirmed();
        let closing = live.closing.is_some();
        let payload: &'b [u8] = opened.payload;
        if first && !self.prove(at) {
            return Err(Discard::SessionClosed);
        }
        if closing {
            self.wake(at);
            return Err(Discard::SessionClosed);
        }
        //= SPEC.md#frames
        //# A receiver MUST check all frames of a packet before it acts on any.
        let frames = Frames::parse(payload)
            .ok()
            .filter(|frames| frames.clone().all(|frame| frame.allowed_from(Sender::Device)));
        let Some(frames) = frames else {
            //= SPEC.md#frames
            //# A receiver MUST close the session with reason 2 on a malformed frame or an unknown type below 64.
            self.close(at, CloseReason::ProtocolViolation);
            return Err(Discard::MalformedFrames);
        };
        for frame in frames {
            self.handle_frame(now, at, counter, epoch, frame, sink);
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
            Frame::Ping(token) => live.pong = Some(token),
            Frame::Pong(echo) => {
                live.path_state.echoed(echo);
                if let Some(spare) = &mut live.spare {
                    spare.state.echoed(echo);
                }
            }
            Frame::Ack(ack) => {
                live.session.peer_acked(ack.packet);
                live.ticket.acked(ack.packet);
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
                    Ok(RekeyAnswer::NeedsEphemeral | RekeyAnswer::Repeat(_)) => live.owes_accept = true,
                    Err(discard) => {
                        // So that the device does not take this end for dead.
                        live.owes_packet = true;
                        self.discards.count(discard);
                    }
                }
            }
            Frame::Listen(window) => live.listen = window,
            Frame::TimeSync(frame) => self.handle_time_sync(now, at, &frame),
            Frame::CommandResult(result) => self.handle_command_result(at, result, sink),
            Frame::CredentialRenewal(hash) => self.handle_renewal_answer(at, hash),
            Frame::Close(reason) => self.end_session(at, reason),
            //= SPEC.md#frames
            //# A receiver MUST skip and count an unknown frame of type 64 or above.
            Frame::Extension { kind, body } => {
                let identity = live.identity;
                self.discards.count(Discard::UnknownExtension);
                sink(Received::Extension { identity, kind, body });
            }
            _ => {}
        }
    }

    /// Marks a session as proved; an older one of the same identity ends. `false` if a newer one is proved already, and
    /// this one has ended.
    //= SPEC.md#handshake-timers
    //# A backend MUST NOT displace, show as online or audit as accepted a session that is not proved.
    pub(super) fn prove(&mut self, at: SlotRef) -> bool {
        let Some(live) = self.slots.live_mut(at) else { return false };
        let (number, entry) = (live.number, live.device);
        if entry.and_then(|entry| self.devices.get_mut(entry)).is_some_and(|device| !device.prove(number)) {
            self.end_session(at, CloseReason::Replaced);
            return false;
        }
        let Some(live) = self.slots.live_mut(at) else { return false };
        live.proved = true;
        self.totals.online = self.totals.online.saturating_add(1);
        let mut early: Vec<StreamKey> = Vec::new();
        if live.lineage.resumed {
            // What rode in the Hello may be committed by now.
            early.extend(live.streams.iter().map(|known| known.key));
            early.iter().for_each(|key| live.mark_stream(key));
        }
        let names_all = core::mem::take(&mut live.names_all);
        let (identity, scopes, pattern) = (live.identity, live.scopes, live.pattern);
        let (device, path) = (live.device, live.path.clone());
        self.forget_pending(identity);
        self.wake(at);
        // Without a device it is there only to be closed.
        let Some(device) = device.and_then(|device| self.devices.get_mut(device)) else { return true };
        device.inbox.handle_session();
        if names_all {
            device.inbox.close_others(early.iter().copied());
        }
        let older = device.current.replace(at);
        if let Some(older) = older {
            self.displace(older, &path);
        }
        self.push_event(BackendEvent::Connected { identity, scopes, pattern });
        true
    }

    /// Ends a session that `path` has a newer one of. At the same path the device has given it up already;
    /// elsewhere may be a copy of the device, which is told.
    fn displace(&mut self, older: SlotRef, path: &P) {
        let Some(live) = self.slots.live_mut(older).filter(|live| live.path != *path) else {
            return self.end_session(older, CloseReason::Replaced);
        };
        live.closing = Some(CloseReason::Replaced);
        let (identity, device) = (live.identity, live.device.take());
        if let Some(device) = device {
            self.devices.leave(device, older);
        }
        self.push_event(BackendEvent::Disconnected { identity, reason: CloseReason::Replaced });
        self.wake(older);
    }

    /// Sees to a session's timers and queue after something happened to it.
    fn after(&mut self, now: Instant, at: SlotRef) {
        self.sync_if_due(now, at);
        let own = self.config.limits;
        let Some(live) = self.slots.live_mut(at) else { return };
        let wake = live.idle_at(own);
        let wake = live.session.poll_timeout().map_or(wake, |timer| timer.min(wake));
        let sends = live.wants_to_send();
        self.slots.schedule(at, wake.max(now));
        if sends {
            self.wake(at);
        }
    }
}
