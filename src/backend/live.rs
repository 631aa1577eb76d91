//! One session of a backend: what came in, and what it means.

use super::event::{BackendEvent, Batch, BatchRef, Received, SharedSet, SlotRef};
use super::{Backend, BackendConfig, Path};
use crate::crypto::{PublicKey, TAG_LEN, hash_parts};
use crate::delivery::{Offer, StreamKey, StreamTable, StreamsCheck};
use crate::error::{CloseReason, Discard};
use crate::framing::{
    DescriptorSet, DescriptorsFrame, Frame, Frames, RecordsFrame, RefusedFrame, RefusedReason, Sender,
    SetHash, StreamsFrame,
};
use crate::handshake::{Established, Limits};
use crate::identity::{Identity, Scopes};
use crate::limits::{AMPLIFICATION, INITIAL_CREDIT, MAX_DESCRIPTOR_SET};
use crate::permission::permits;
use crate::session::{RekeyAnswer, Session, Side};
use crate::time::{Duration, Instant};
use crate::wire::{ConnectionId, DataHeader, Pattern};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A backend's session has a window of 1024 packets.
pub(super) type BackendSession = Session<16>;

/// The Reply of an IK handshake that is not proved yet, to be repeated.
pub(super) struct HelloCache {
    pub(super) mac: [u8; TAG_LEN],
    pub(super) reply: Vec<u8>,
}

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

/// One session.
pub(super) struct Live<P> {
    pub(super) session: BackendSession,
    pub(super) path: P,
    pub(super) path_state: PathState,
    pub(super) peer_connection_id: ConnectionId,
    pub(super) peer_limits: Limits,
    pub(super) identity: Identity,
    pub(super) pattern: Pattern,
    pub(super) scopes: Scopes,
    pub(super) device: Option<u32>,
    pub(super) hello: Option<HelloCache>,
    pub(super) proved: bool,
    last_heard: Instant,
    born: Instant,
    pub(super) streams: StreamTable,
    /// The descriptor set of each stream index.
    sets: Vec<(u8, SetHash)>,
    assembly: Option<Box<Assembly>>,
    /// Stream indices that an Ack must name, as bits.
    pub(super) dirty: u16,
    pub(super) owes_packet: bool,
    pub(super) owes_accept: bool,
    pub(super) hint: bool,
    pub(super) unreported: u32,
    pub(super) pong: Option<[u8; 8]>,
    pub(super) wanted_set: Option<SetHash>,
    pub(super) refused: Vec<RefusedFrame>,
    pub(super) told_credit: u16,
    pub(super) closing: Option<CloseReason>,
    /// The slot is in the queue of those that have something to send.
    pub(super) queued: bool,
}

/// A descriptor set that arrives in pieces, in order.
struct Assembly {
    hash: SetHash,
    bytes: Vec<u8>,
}

/// Refusals that wait to be sent, at the most; more come again with the records.
const MAX_REFUSED: usize = 8;

impl<P: Path> Live<P> {
    #[allow(clippy::too_many_arguments, reason = "called once; a struct would repeat the fields")]
    pub(super) fn new(
        now: Instant,
        established: Established,
        path: P,
        granted: Scopes,
        device: Option<u32>,
        hello: Option<HelloCache>,
        closing: Option<CloseReason>,
        config: &BackendConfig,
    ) -> Self {
        let Established { secrets, peer, peer_connection_id, peer_limits, pattern } = established;
        let path_state = match &hello {
            None => PathState::Validated,
            Some(_) => PathState::Unvalidated { received: 0, sent: 0, token: None },
        };
        Self {
            session: BackendSession::new(now, Side::Backend, secrets, peer_limits.window(), config.rekey),
            path,
            path_state,
            peer_connection_id,
            peer_limits,
            identity: peer.identity(),
            pattern,
            scopes: peer.scopes() & granted,
            device,
            owes_packet: hello.is_none(),
            proved: false,
            hello,
            last_heard: now,
            born: now,
            streams: StreamTable::default(),
            sets: Vec::new(),
            assembly: None,
            dirty: 0,
            owes_accept: false,
            hint: false,
            unreported: 0,
            pong: None,
            wanted_set: None,
            refused: Vec::new(),
            told_credit: INITIAL_CREDIT,
            closing,
            queued: false,
        }
    }

    /// When the session ends if nothing more is heard.
    pub(super) fn idle_at(&self, own: Limits) -> Instant {
        let idle = own.idle_timeout().min(self.peer_limits.idle_timeout());
        if self.proved { self.last_heard + idle } else { self.born + idle.min(Duration::from_secs(60)) }
    }

    /// How many bytes may go to the present path now.
    //= SPEC.md#admission
    //# A backend MUST NOT send more than three times the bytes that it received on a path before that path is validated.
    pub(super) fn budget(&self) -> u64 {
        match self.path_state {
            PathState::Validated => u64::MAX,
            PathState::Unvalidated { received, sent, .. } => {
                received.saturating_mul(AMPLIFICATION).saturating_sub(sent)
            }
        }
    }

    fn follow(&mut self, path: &P, len: u64, newest: bool, first: bool) {
        if self.path == *path {
            if first {
                // The device has read the Reply that was sent to this path.
                self.path_state = PathState::Validated;
            }
            if let PathState::Unvalidated { received, .. } = &mut self.path_state {
                *received = received.saturating_add(len);
            }
        } else if newest {
            self.path = path.clone();
            self.path_state = PathState::Unvalidated { received: len, sent: 0, token: None };
            self.owes_packet = true;
        }
    }

    /// The descriptor set of a stream index, by hash.
    pub(super) fn set_of(&self, index: u8) -> Option<SetHash> {
        self.sets.iter().find(|(known, _)| *known == index).map(|(_, hash)| *hash)
    }

    /// An Ack for this stream is due.
    pub(super) fn settled(&mut self, stream: &StreamKey) {
        let index = self.streams.iter().find(|(_, key)| key == stream).map(|(index, _)| index);
        if let Some(index) = index {
            self.mark_dirty(index);
        }
    }

    fn mark_dirty(&mut self, index: u8) {
        self.dirty |= 1u16.checked_shl(index.into()).unwrap_or(0);
    }

    fn refuse(&mut self, refused: RefusedFrame) {
        if self.refused.len() < MAX_REFUSED {
            self.refused.push(refused);
        }
    }
}

/// The first 8 bytes of BLAKE2s-256 of an encoded set.
fn set_hash(bytes: &[u8]) -> SetHash {
    let [a, b, c, d, e, f, g, h, ..] = hash_parts(&[bytes]);
    SetHash([a, b, c, d, e, f, g, h])
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
        let opened = live.session.open(now, &header, packet);
        if let Some(reason) = live.session.closed() {
            self.end_session(at, reason);
            return Err(Discard::SessionClosed);
        }
        let opened = opened?;
        let (counter, epoch) = (opened.counter, opened.epoch);
        live.last_heard = now;
        live.unreported = live.unreported.saturating_add(1);
        live.owes_packet |= opened.epoch_advanced;
        if opened.epoch_advanced {
            live.owes_accept = false;
        }
        let first = !live.proved && live.hello.is_some();
        live.follow(&path, len, opened.newest, first);
        live.owes_packet |= first;
        let payload: &'b [u8] = opened.payload;
        if first {
            if let Some(hello) = live.hello.take() {
                self.by_hello.remove(&hello.mac);
            }
            self.prove(at);
        }
        //= SPEC.md#frames
        //# A receiver MUST check all frames of a packet before it acts on any.
        let frames = Frames::parse(payload)
            .ok()
            .filter(|frames| frames.clone().all(|frame| frame.allowed_from(Sender::Device)));
        let Some(frames) = frames else {
            self.close(at, CloseReason::ProtocolViolation);
            return Err(Discard::MalformedFrames);
        };
        for frame in frames {
            self.handle_frame(now, at, counter, epoch, frame, sink);
        }
        self.after(now, at);
        Ok(())
    }

    fn handle_frame<'b>(
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
                if let PathState::Unvalidated { token: Some(token), .. } = live.path_state
                    && token == echo
                {
                    live.path_state = PathState::Validated;
                }
            }
            Frame::Ack(ack) => live.session.peer_acked(ack.packet),
            Frame::Streams(streams) => self.handle_streams(at, counter, &streams),
            Frame::Records(records) => {
                if let Err(discard) = self.handle_records(at, records, sink) {
                    self.discards.count(discard);
                }
            }
            Frame::Descriptors(piece) => self.handle_descriptors(at, &piece),
            Frame::RekeyRequest(key) => {
                match live.session.handle_rekey_request(now, epoch, PublicKey(key)) {
                    Ok(RekeyAnswer::Repeat(_)) => live.owes_accept = true,
                    // poll_transmit makes the ephemeral key.
                    Ok(_) => live.owes_accept = true,
                    Err(discard) => self.discards.count(discard),
                }
            }
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

    fn handle_streams(&mut self, at: SlotRef, counter: u64, streams: &StreamsFrame<'_>) {
        let Some(live) = self.slots.live_mut(at) else { return };
        match live.streams.handle_streams(counter, streams) {
            StreamsCheck::Taken => {}
            StreamsCheck::Overtaken => return,
            StreamsCheck::Contradiction => {
                self.close(at, CloseReason::ProtocolViolation);
                return;
            }
        }
        let mut wanted = None;
        for boot in streams.boots() {
            let known = self.sets.contains_key(&boot.set.0);
            if !known {
                wanted = Some(boot.set);
            }
            for stream in boot.streams() {
                live.sets.retain(|(index, _)| *index != stream.index);
                live.sets.push((stream.index, boot.set));
                if known {
                    live.mark_dirty(stream.index);
                }
            }
        }
        live.wanted_set = wanted;
        let (identity, device) = (live.identity, live.device);
        let Some(device) = device.and_then(|device| self.devices.get_mut(device)) else { return };
        if let Some(conflict) = device.inbox.handle_streams(streams).conflict {
            self.push_event(BackendEvent::TagConflict { identity, conflict });
        }
    }

    fn handle_descriptors(&mut self, at: SlotRef, piece: &DescriptorsFrame<'_>) {
        let Some(live) = self.slots.live_mut(at) else { return };
        if self.sets.contains_key(&piece.hash.0) || live.sets.iter().all(|(_, hash)| *hash != piece.hash) {
            return;
        }
        let fresh = || Box::new(Assembly { hash: piece.hash, bytes: Vec::new() });
        if piece.offset == 0 {
            live.assembly = Some(fresh());
        }
        let Some(assembly) = live.assembly.as_mut().filter(|assembly| assembly.hash == piece.hash) else {
            return;
        };
        // Pieces come in order; after a loss the set is asked for again.
        if assembly.bytes.len() != usize::from(piece.offset) {
            live.wanted_set = Some(piece.hash);
            return;
        }
        assembly.bytes.extend_from_slice(piece.bytes);
        let total = usize::from(piece.total).min(MAX_DESCRIPTOR_SET);
        if assembly.bytes.len() < total {
            return;
        }
        let Some(assembly) = live.assembly.take() else { return };
        live.wanted_set = None;
        if set_hash(&assembly.bytes) != assembly.hash || DescriptorSet::parse(&assembly.bytes).is_err() {
            self.close(at, CloseReason::ProtocolViolation);
            return;
        }
        let indices = live.sets.iter().filter(|(_, hash)| *hash == assembly.hash).map(|(index, _)| *index);
        let indices: Vec<u8> = indices.collect();
        for index in indices {
            live.mark_dirty(index);
        }
        self.know_set(assembly.hash, assembly.bytes);
    }

    /// Keeps a set for all devices that have it; makes room by forgetting those that nobody uses.
    fn know_set(&mut self, hash: SetHash, bytes: Vec<u8>) {
        if self.sets.len() >= super::MAX_SETS {
            self.sets.retain(|_, set| Arc::strong_count(set) > 1);
        }
        if self.sets.len() < super::MAX_SETS {
            self.sets.insert(hash.0, Arc::new(SharedSet(bytes)));
        }
    }

    fn handle_records<'b>(
        &mut self,
        at: SlotRef,
        frame: RecordsFrame<'b>,
        sink: &mut dyn FnMut(Received<'b>),
    ) -> Result<(), Discard> {
        let live = self.slots.live_mut(at).ok_or(Discard::UnknownConnection)?;
        if live.closing.is_some() {
            return Err(Discard::SessionClosed);
        }
        let stream = live.streams.key(frame.stream).ok_or(Discard::UnknownStream)?;
        let hash = live.set_of(frame.stream).ok_or(Discard::UnknownStream)?;
        let Some(set) = self.sets.get(&hash.0).cloned() else {
            live.wanted_set = Some(hash);
            return Err(Discard::UnknownDescriptors);
        };
        let index = live.device.ok_or(Discard::NotAccepted)?;
        let device = self.devices.get_mut(index).ok_or(Discard::NotAccepted)?;
        // Whatever became of the records: the device hears how far its stream has come.
        live.mark_dirty(frame.stream);
        if let Some(refused) = check_records(&frame, &set.set(), live.scopes) {
            live.refuse(refused);
            return Err(self.refused(at, stream, refused));
        }
        match device.inbox.offer(stream, frame.first, frame.count) {
            Offer::Deliver { batch: number, .. } => {
                let mark = device.inbox.mark(number).ok_or(Discard::Backpressure)?;
                let batch = BatchRef { shard: self.config.shard, device: index, number };
                sink(Received::Batch(Batch { batch, identity: live.identity, mark, frame, set }));
                Ok(())
            }
            Offer::Repeated => Err(Discard::RepeatedRecords),
            Offer::Awaiting => Err(Discard::AwaitingCommit),
            Offer::Unnamed => Err(Discard::UnknownStream),
            Offer::Outside => Err(Discard::OutsideLedger),
            Offer::Full => Err(Discard::Backpressure),
        }
    }

    /// Reports a refusal; a malformed record is a discard only, as it may be a mistake of the firmware.
    fn refused(&mut self, at: SlotRef, stream: StreamKey, refused: RefusedFrame) -> Discard {
        let RefusedFrame { first, count, reason, .. } = refused;
        if reason != RefusedReason::OutOfScope {
            return Discard::MalformedRecords;
        }
        if let Some(live) = self.slots.live_mut(at) {
            let identity = live.identity;
            self.push_event(BackendEvent::ScopeRefused { identity, stream, first, count });
        }
        Discard::ScopeRefused
    }

    /// Marks a session as proved; an older one of the same identity ends.
    //= SPEC.md#handshake-timers
    //# A backend MUST NOT displace, show as online or audit as accepted a session that is not proved.
    pub(super) fn prove(&mut self, at: SlotRef) {
        let Some(live) = self.slots.live_mut(at) else { return };
        live.proved = true;
        let Some(index) = live.device else { return };
        let (identity, scopes, pattern) = (live.identity, live.scopes, live.pattern);
        let Some(device) = self.devices.get_mut(index) else { return };
        device.inbox.handle_session();
        let older = device.current.replace(at);
        if let Some(older) = older {
            self.end_session(older, CloseReason::Replaced);
        }
        self.push_event(BackendEvent::Connected { identity, scopes, pattern });
        self.wake(at);
    }

    /// Sees to a session's timers and queue after something happened to it.
    fn after(&mut self, now: Instant, at: SlotRef) {
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

/// Decodes every record and checks its scope; returns the first run that must be refused.
fn check_records(frame: &RecordsFrame<'_>, set: &DescriptorSet<'_>, scopes: Scopes) -> Option<RefusedFrame> {
    let mut run: Option<RefusedFrame> = None;
    let mut next = frame.first;
    for record in frame.records(set) {
        let reason = match &record {
            Ok(record) if permits(scopes, &record.record) => None,
            Ok(_) => Some(RefusedReason::OutOfScope),
            Err(_) => Some(RefusedReason::Undecodable),
        };
        match (reason, &mut run) {
            (None, None) => {}
            (None, Some(_)) => break,
            (Some(reason), Some(run)) if run.reason == reason => run.count = run.count.saturating_add(1),
            (Some(_), Some(_)) => break,
            (Some(reason), None) => {
                run = Some(RefusedFrame { stream: frame.stream, first: next, count: 1, reason });
            }
        }
        if record.is_err() {
            break;
        }
        next = next.saturating_add(1);
    }
    run
}
