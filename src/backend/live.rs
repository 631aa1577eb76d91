//! One session of a backend: what came in, and what it means.

use super::commands::Downlink;
use super::descriptors::{Assembly, SetSlot};
use super::devices::Seat;
use super::event::{BackendEvent, Received, SlotRef};
use super::halfopen::Origin;
use super::resume::{Descent, Lineage, TicketSent};
use super::{Backend, Path};
use crate::audit::AuditEvent;
use crate::crypto::{PublicKey, SessionSecrets};
use crate::delivery::{StreamKey, StreamTable};
use crate::error::{CloseReason, Discard};
use crate::framing::{Frame, Frames, RefusedFrame, Sender};
use crate::handshake::Limits;
use crate::identity::{Identity, Scopes};
use crate::limits::{AMPLIFICATION, HALF_OPEN_LIFE, INITIAL_CREDIT, MIN_MAX_PACKET, PATH_MEMORY};
use crate::session::{self, Driver, Keep, RekeyAnswer, RekeyPolicy, Session, Side};
use crate::time::{Duration, Instant};
use crate::wire::{ConnectionId, DataHeader, EpochBits, Pattern};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

/// How far a path may be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathState {
    Validated,
    Unvalidated(Trial),
}

/// Received from and sent to a path that is not validated, in bytes, and the token whose echo validates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trial {
    received: u64,
    sent: u64,
    pub(super) token: Option<[u8; 8]>,
}

impl Trial {
    const fn received(&mut self, len: u64) {
        self.received = self.received.saturating_add(len);
    }

    pub(super) const fn sent(&mut self, len: u64) {
        self.sent = self.sent.saturating_add(len);
    }
}

impl PathState {
    /// A path from which `received` bytes have come, and to which nothing has gone.
    pub(super) const fn unvalidated(received: u64) -> Self {
        Self::Unvalidated(Trial { received, sent: 0, token: None })
    }

    const fn received(&mut self, len: u64) {
        if let Self::Unvalidated(trial) = self {
            trial.received(len);
        }
    }

    /// Takes an echo; it counts for the path to which its token went.
    fn echoed(&mut self, echo: [u8; 8]) {
        if matches!(self, Self::Unvalidated(Trial { token: Some(token), .. }) if *token == echo) {
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

/// One session: what a data packet touches. It lies in its slot; the rest is [`Cold`], and read through this.
///
/// In this order, what every packet touches lies together: all before the session's window.
#[repr(C)]
pub(super) struct Live<P> {
    pub(super) path: P,
    last_heard: Instant,
    /// Its device's entry, or [`NO_DEVICE`].
    device: u32,
    /// Stream indices that an Ack must name, as bits.
    pub(super) dirty: u16,
    pub(super) told_credit: u16,
    pub(super) unreported: u8,
    pub(super) closing: Option<CloseReason>,
    pub(super) proved: bool,
    validated: bool,
    pub(super) owes_packet: bool,
    /// The slot is in the queue of those that have something to send.
    pub(super) queued: bool,
    /// There is a [`Rare`].
    has_rare: bool,
    pub(super) session: Session<16, Box<Cold<P>>>,
}

/// What a session has besides.
///
/// In this order, what a delivery looks at lies together: all up to the scopes.
#[repr(C)]
pub(super) struct Cold<P> {
    /// The stream indices, and the descriptor sets as far as they are known.
    pub(super) streams: StreamTable<SetSlot>,
    /// The application's own number for this session.
    pub(super) fence: u64,
    /// What it may do now: of what its credential permits, what is granted.
    pub(super) scopes: Scopes,
    idle_secs: u32,
    /// For how many milliseconds the device listens after each of its packets; zero: always.
    listen: u32,
    /// The largest packet that the device takes, in bytes.
    pub(super) max_packet: u16,
    pub(super) peer_connection_id: ConnectionId,
    session: session::Cold,
    ratchet: Option<Box<session::Rare>>,
    policy: Arc<RekeyPolicy>,
    rare: Option<Box<Rare<P>>>,
    pub(super) descent: Descent,
}

/// What a session has at times: when it is young, changes its path, or has more to say than an Ack.
pub(super) struct Rare<P> {
    pub(super) youth: Option<Box<Youth>>,
    spare: Option<Box<Spare<P>>>,
    trial: Option<Trial>,
    pub(super) ticket: Option<TicketSent>,
    pub(super) assembly: Option<Box<Assembly>>,
    /// Commands and stamps, if there ever were any.
    pub(super) downlink: Option<Box<Downlink>>,
    pub(super) refused: Vec<RefusedFrame>,
    pub(super) pong: Option<[u8; 8]>,
    /// The stream index whose descriptor set the device is to send.
    pub(super) wanted_set: Option<u8>,
    pub(super) owes_accept: bool,
    pub(super) hint: bool,
    /// Whose session it is, if it is no longer, or never was, that of a device here.
    pub(super) outcast: Option<Identity>,
    /// What the operator grants, where break-glass grants more.
    granted: Option<Scopes>,
}

/// No device has so high a place.
const NO_DEVICE: u32 = u32::MAX;

/// What is kept of the handshake until copies of its packets can hardly come any more.
pub(super) struct Youth {
    pub(super) origin: Origin,
    pub(super) born: Instant,
    pub(super) pattern: Pattern,
    /// Which of its device's sessions it is.
    number: u32,
    /// The Streams frame that rode in the Hello is complete.
    pub(super) names_all: bool,
}

impl<P> Rare<P> {
    const fn new() -> Self {
        Self {
            youth: None,
            spare: None,
            trial: None,
            ticket: None,
            assembly: None,
            downlink: None,
            refused: Vec::new(),
            pong: None,
            wanted_set: None,
            owes_accept: false,
            hint: false,
            outcast: None,
            granted: None,
        }
    }

    fn is_empty(&self) -> bool {
        let Self { youth, spare, trial, ticket, assembly, downlink, refused, pong, wanted_set, .. } = self;
        let Self { owes_accept, hint, outcast, granted, .. } = self;
        let boxes = youth.is_none() && spare.is_none() && assembly.is_none() && downlink.is_none();
        boxes
            && trial.is_none()
            && ticket.is_none()
            && refused.is_empty()
            && pong.is_none()
            && wanted_set.is_none()
            && !owes_accept
            && !hint
            && outcast.is_none()
            && granted.is_none()
    }
}

impl<P> Keep for Box<Cold<P>> {
    fn cold(&self) -> &session::Cold {
        &self.session
    }
    fn cold_mut(&mut self) -> &mut session::Cold {
        &mut self.session
    }
    fn rare(&self) -> Option<&session::Rare> {
        self.ratchet.as_deref()
    }
    fn rare_mut(&mut self) -> Option<&mut session::Rare> {
        self.ratchet.as_deref_mut()
    }
    fn make_rare(&mut self) -> &mut session::Rare {
        self.ratchet.get_or_insert_with(|| Box::new(session::Rare::new()))
    }
    fn clear_rare(&mut self) {
        self.ratchet = None;
    }
    // The device drives.
    fn driver(&self) -> Option<&Driver> {
        None
    }
    fn driver_mut(&mut self) -> Option<&mut Driver> {
        None
    }
    fn policy(&self) -> &RekeyPolicy {
        &self.policy
    }
}

impl<P> Deref for Live<P> {
    type Target = Cold<P>;

    fn deref(&self) -> &Cold<P> {
        &self.session.keep
    }
}

impl<P> DerefMut for Live<P> {
    fn deref_mut(&mut self) -> &mut Cold<P> {
        &mut self.session.keep
    }
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
    /// The policy of all sessions, whatever age is left to this one.
    pub(super) policy: Arc<RekeyPolicy>,
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
        let Start { path, path_state, granted, seat, fence, origin, closing, misused, policy } = start;
        let keep = |session| {
            Box::new(Cold {
                session,
                ratchet: None,
                policy,
                rare: None,
                peer_connection_id,
                max_packet: peer_limits.max_packet(),
                // At most a week.
                idle_secs: peer_limits.idle_timeout().as_secs() as u32,
                scopes: scopes & granted,
                fence,
                streams: StreamTable::empty(),
                descent: Descent::new(lineage, serial, scopes, misused),
                listen: 0,
            })
        };
        let mut live = Self {
            session: Session::with_keep(now, Side::Backend, secrets, rekey, keep),
            path,
            last_heard: now,
            device: seat.map_or(NO_DEVICE, |seat| seat.at),
            dirty: 0,
            told_credit: INITIAL_CREDIT,
            unreported: 0,
            closing,
            proved: false,
            validated: true,
            owes_packet: true,
            queued: false,
            has_rare: false,
        };
        live.set_path_state(path_state);
        if seat.is_none() {
            live.make_rare().outcast = Some(identity);
        }
        let number = seat.map_or(0, |seat| seat.number);
        live.make_rare().youth =
            Some(Box::new(Youth { origin, born: now, pattern, number, names_all: false }));
        live
    }

    /// Returns what the session has at times. Most sessions have nothing there, and look nowhere for it.
    pub(super) fn rare(&self) -> Option<&Rare<P>> {
        if self.has_rare { self.session.keep.rare.as_deref() } else { None }
    }

    pub(super) fn rare_mut(&mut self) -> Option<&mut Rare<P>> {
        if self.has_rare { self.session.keep.rare.as_deref_mut() } else { None }
    }

    pub(super) fn make_rare(&mut self) -> &mut Rare<P> {
        self.has_rare = true;
        self.session.keep.rare.get_or_insert_with(|| Box::new(Rare::new()))
    }

    /// Gives up the room for what a session has at times, if it is empty.
    pub(super) fn tidy(&mut self) {
        if self.rare().is_some_and(Rare::is_empty) {
            self.session.keep.rare = None;
            self.has_rare = false;
        }
    }

    /// Reads a little of each line of memory that opening a packet needs.
    pub(super) const fn touch(&self) -> u64 {
        self.last_heard.as_millis() ^ self.device as u64 ^ self.session.touch()
    }

    /// The same of what lies behind that, by now: the word of the window, and what a delivery needs.
    pub(super) fn touch_cold(&self) -> u64 {
        self.session.touch_window() ^ self.fence ^ self.streams.touch()
    }

    /// Returns the entry of its device, unless it is there only to be closed.
    pub(super) fn device(&self) -> Option<u32> {
        (self.device != NO_DEVICE).then_some(self.device)
    }

    /// Returns what the operator grants, of what the credential permits.
    pub(super) fn granted(&self) -> Scopes {
        self.rare().and_then(|rare| rare.granted).unwrap_or(self.scopes)
    }

    /// Sets what it may do: what the operator grants and, for a while, `besides`, of what its credential permits.
    pub(super) fn grant(&mut self, granted: Scopes, besides: Scopes) {
        let allowed = self.descent.scopes();
        self.scopes = allowed & (granted | besides);
        let granted = allowed & granted;
        if granted != self.scopes {
            self.make_rare().granted = Some(granted);
        } else if let Some(rare) = self.rare_mut() {
            rare.granted = None;
        }
    }

    pub(super) fn youth(&self) -> Option<&Youth> {
        self.rare()?.youth.as_deref()
    }

    pub(super) fn youth_mut(&mut self) -> Option<&mut Youth> {
        self.rare_mut()?.youth.as_deref_mut()
    }

    /// Tells whether the device is known to be where its packets come from.
    pub(super) const fn is_validated(&self) -> bool {
        self.validated
    }

    /// Returns what was received from and sent to the present path, if it is not validated.
    pub(super) fn trial(&self) -> Option<&Trial> {
        if self.validated { None } else { self.rare()?.trial.as_ref() }
    }

    pub(super) fn trial_mut(&mut self) -> Option<&mut Trial> {
        if self.validated { None } else { self.rare_mut()?.trial.as_mut() }
    }

    fn path_state(&self) -> PathState {
        match (self.validated, self.trial()) {
            (true, _) => PathState::Validated,
            (false, Some(trial)) => PathState::Unvalidated(*trial),
            (false, None) => PathState::unvalidated(0),
        }
    }

    fn set_path_state(&mut self, state: PathState) {
        self.validated = state == PathState::Validated;
        match state {
            PathState::Unvalidated(trial) => self.make_rare().trial = Some(trial),
            PathState::Validated => {
                if let Some(rare) = self.rare_mut() {
                    rare.trial = None;
                }
            }
        }
    }

    /// When the session ends if nothing more is heard.
    pub(super) fn idle_at(&self, own: Limits) -> Instant {
        if !self.proved {
            //= SPEC.md#handshake-timers
            //# A backend MUST forget a session that is not proved 20 s after its Reply.
            return self.youth().map_or(self.last_heard, |youth| youth.born) + HALF_OPEN_LIFE;
        }
        self.last_heard + own.idle_timeout().min(Duration::from_secs(self.idle_secs.into()))
    }

    /// How many bytes may go to the present path now.
    //= SPEC.md#admission
    //# A backend MUST NOT send more than three times the bytes that it received on a path before that path is validated.
    pub(super) fn budget(&self) -> u64 {
        match self.path_state() {
            PathState::Validated => u64::MAX,
            PathState::Unvalidated(Trial { received, sent, .. }) => {
                let budget = received.saturating_mul(AMPLIFICATION).saturating_sub(sent);
                // What is too little for any frame waits until more comes from there.
                if budget < MIN_MAX_PACKET as u64 { 0 } else { budget }
            }
        }
    }

    /// Takes note of an authentic packet of `len` bytes from `path`; `first`: of this session.
    fn follow(&mut self, now: Instant, path: &P, len: u64, newest: bool, first: bool) {
        // A clock that has gone back must not make the session seem idle when it is right again.
        let heard = self.last_heard.max(now);
        let last_heard = core::mem::replace(&mut self.last_heard, heard);
        if self.path == *path {
            //= SPEC.md#admission
            //# A backend MUST NOT take a path as validated by a Finish or a first packet from there if the Reply went to another path as well.
            if first && self.youth().is_some_and(|youth| youth.origin.sole_path) {
                // The device has read the Reply that was sent to this path.
                self.set_path_state(PathState::Validated);
            }
            if let Some(trial) = self.trial_mut() {
                trial.received(len);
            }
            return;
        }
        let (mut state, mut news) = (self.path_state(), false);
        let mut other = self.make_rare().spare.take();
        if let Some(spare) = other.as_mut().filter(|spare| spare.path == *path) {
            spare.state.received(len);
            //= SPEC.md#paths
            //# A backend MUST take a path that a session has left as unvalidated again once nothing has authenticated from there for 10 minutes.
            if now.since(spare.last_heard) >= PATH_MEMORY {
                spare.state = PathState::unvalidated(len);
                news = newest;
            }
            spare.last_heard = now;
            if newest {
                core::mem::swap(&mut self.path, &mut spare.path);
                core::mem::swap(&mut state, &mut spare.state);
                spare.last_heard = last_heard;
            }
        } else if newest {
            let path = core::mem::replace(&mut self.path, path.clone());
            let former = Spare { path, state, last_heard };
            news = true;
            match &mut other {
                // Nobody who sends copies from many paths takes the place of a validated one.
                Some(spare) if spare.state == PathState::Validated && state != PathState::Validated => {}
                Some(spare) => **spare = former,
                None => other = Some(Box::new(former)),
            }
            state = PathState::unvalidated(len);
        }
        self.set_path_state(state);
        self.make_rare().spare = other;
        self.owes_packet |= news;
    }

    /// Takes a Pong.
    fn echoed(&mut self, echo: [u8; 8]) {
        let mut state = self.path_state();
        state.echoed(echo);
        self.set_path_state(state);
        if let Some(spare) = self.rare_mut().and_then(|rare| rare.spare.as_mut()) {
            spare.state.echoed(echo);
        }
    }

    /// Tells whether the device listens: what is sent after the first half of its window may come too late.
    //= SPEC.md#listening
    //# A backend MUST NOT send to a device that has told a window, but within half of the window after it has heard it; a Close excepted.
    pub(super) fn is_listening(&self, now: Instant) -> bool {
        let half = u64::from(self.listen / 2);
        self.listen == 0 || now.since(self.last_heard).as_millis() <= half
    }

    /// What is kept of the handshake for a device that has not heard of the session is of no use now.
    fn confirmed(&mut self) {
        if let Some(youth) = self.youth_mut() {
            youth.origin.finish_answers = 0;
            youth.origin.reply = Vec::new();
        }
    }

    /// An Ack for this stream is due, under the latest of its indices that an Ack may name.
    pub(super) fn mark_stream(&mut self, stream: &StreamKey) {
        //= SPEC.md#descriptors-frame
        //# A backend MUST NOT name a stream index in an Ack while it lacks the set of that index.
        let may_name = |index: &u8| matches!(self.streams.find(*index), Some((key, set)) if key == *stream && set.known().is_some());
        if let Some(index) = self.streams.indices().rev().find(may_name) {
            self.mark_dirty(index);
        }
    }

    pub(super) fn mark_dirty(&mut self, index: u8) {
        self.dirty |= 1u16.checked_shl(index.into()).unwrap_or(0);
    }

    pub(super) fn refuse(&mut self, refused: RefusedFrame) {
        let waiting = &mut self.make_rare().refused;
        if waiting.len() < MAX_REFUSED {
            waiting.push(refused);
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
