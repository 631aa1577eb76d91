//! The service front end: many sessions, no I/O.
//!
//! [`Backend`] owns the sessions of one shard, their handshakes and what is delivered and not yet committed. It
//! never opens a socket, reads a clock or keeps a generator; the application decides whom to let in, and stores.
//! See [`Backend`] for the run loop.

mod accept;
mod admission;
mod audit;
mod chunked;
mod claims;
mod commands;
mod compose;
mod config;
mod counters;
mod data;
mod descriptors;
mod devices;
mod drain;
mod event;
#[cfg(test)]
mod fleet;
mod grants;
mod halfopen;
mod index;
mod job;
mod live;
mod paths;
mod policy;
mod rate;
mod records;
mod renewal;
mod resume;
mod revocation;
mod sets;
mod slots;
mod time_sync;
mod warm;

pub use admission::{AdmissionLimit, AdmissionLimits, AdmissionStatus};
pub use claims::{ClaimOutcome, Claims, TicketClaim};
pub use commands::{Command, CommandId, CommandOutcome};
pub use config::{BackendConfig, Grant, Inbound, Path, Transmit};
pub use counters::{Counters, Metric, MetricKind};
pub use event::{BackendEvent, Batch, BatchRef, Committed, OwnedBatch, PendingId, Received};
pub use grants::BreakGlass;
pub use job::{HandshakeDone, HandshakeJob};
pub use policy::{Duty, Policy, Rules, SenderId};
pub use rate::Rate;
pub use renewal::RenewalOutcome;
pub use sets::SharedSet;
pub use slots::{shard_of, shard_of_hello};

use crate::audit::{AuditEvent, AuditQueue};
use crate::crypto::{Psk, TAG_LEN};
use crate::error::{CallError, CloseReason, Discard, Discards};
use crate::framing::WallReading;
use crate::handshake::{Responder, TicketKeys};
use crate::identity::{Identity, RevocationStore};
use crate::limits::HALF_OPEN_LIFE;
use crate::session::RekeyPolicy;
use crate::time::{Duration, Instant, UnixSeconds};
use crate::wire::{DATA_BIT, Hello, PacketKind, Pattern, PskId, Reset, Side};
use admission::Admission;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use counters::Totals;
use devices::{Device, Devices};
use drain::Drain;
use event::SlotRef;
use grants::Glasses;
use halfopen::CookieKeys;
use job::Enrolment;
use live::Youth;
use renewal::Renewal;
use sets::SetCache;
use slots::{Slots, Use};

/// Events that wait for the application, at the most.
const MAX_EVENTS: usize = 8192;
/// Handshake packets that wait to be sent, at the most.
const MAX_OUTGOING: usize = 2048;
/// Resets per second, at the most.
const RESETS_PER_SECOND: u32 = 100;

/// The end of many devices: one shard of a service.
///
/// # The run loop
/// Methods come in families: `handle_*` take in what happened, `poll_*` hand out what is to be done; the others are
/// the application's verbs. Every order of calls is legal. A turn of the loop:
///
/// 1. [`handle_packets`](Self::handle_packets) with all that came in; batches go to the sink;
/// 2. [`poll_handshake`](Self::poll_handshake) until `None`: run each job, here or on another thread, and hand its
///    result to [`handle_handshake`](Self::handle_handshake);
/// 3. [`poll_event`](Self::poll_event) until `None`: [`accept`](Self::accept) or [`refuse`](Self::refuse) who is
///    pending. If devices may resume ([`set_ticket_keys`](Self::set_ticket_keys)), [`claimed`](Self::claimed) who
///    wants to, and [`poll_early`](Self::poll_early) for batches until `None`;
/// 4. [`commit`](Self::commit) what is stored, [`release`](Self::release) what could not be, [`disown`](Self::disown)
///    what another node's session has taken over;
/// 5. [`poll_transmit`](Self::poll_transmit) until `None`;
/// 6. if there is an auditor: [`AuditLog::run`](crate::audit::AuditLog::run) with [`audit`](Self::audit);
/// 7. wait for packets, or until [`poll_timeout`](Self::poll_timeout), then [`handle_timeout`](Self::handle_timeout).
///
/// A record is acknowledged to the device after `commit`, never before.
pub struct Backend<P> {
    config: BackendConfig,
    responder: Arc<Responder>,
    /// That of the configuration, shared by the sessions.
    policy: Arc<RekeyPolicy>,
    slots: Slots<P>,
    devices: Devices,
    by_hello: BTreeMap<[u8; TAG_LEN], SlotRef>,
    /// How many handshakes of each identity wait for the application.
    pending_of: BTreeMap<Identity, usize>,
    half_open: u32,
    enrolments: BTreeMap<[u8; 8], Arc<Enrolment>>,
    jobs: VecDeque<HandshakeJob>,
    outgoing: VecDeque<(P, Vec<u8>)>,
    ready: VecDeque<SlotRef>,
    cookies: CookieKeys,
    admission: Admission,
    sets: SetCache,
    ticket_keys: Option<Arc<TicketKeys>>,
    /// Batches that rode in resumptions' Hellos.
    early: VecDeque<OwnedBatch>,
    revocations: RevocationStore,
    glasses: Glasses,
    renewals: BTreeMap<SlotRef, Renewal>,
    events: VecDeque<BackendEvent>,
    events_lost: u32,
    resets: (Instant, u32),
    /// The wall clock, and when it was told.
    wall: Option<(Instant, WallReading)>,
    drain: Option<Drain>,
    audit: AuditQueue,
    /// The latest time that was told.
    latest: Instant,
    /// When the clock for credentials was set.
    clock_set: Option<Instant>,
    totals: Totals,
    discards: Discards,
}

impl<P: Path> Backend<P> {
    /// Makes a shard without sessions.
    ///
    /// # Errors
    /// [`CallError::InvalidConfig`] says which value is wrong.
    pub fn new(config: BackendConfig) -> Result<Self, CallError> {
        config.check()?;
        let responder = Responder::new(config.identity.clone(), config.anchors, config.limits);
        #[cfg(feature = "std")]
        let responder = responder.remembering(config.remembered_credentials);
        Ok(Self {
            responder: Arc::new(responder),
            policy: Arc::new(config.rekey),
            slots: Slots::new(config.max_sessions, config.shard),
            devices: Devices::new(&config.identity.static_dh().hedge_key()),
            by_hello: BTreeMap::new(),
            pending_of: BTreeMap::new(),
            half_open: 0,
            enrolments: BTreeMap::new(),
            jobs: VecDeque::new(),
            outgoing: VecDeque::new(),
            ready: VecDeque::new(),
            cookies: CookieKeys::default(),
            admission: Admission::new(config.admission),
            sets: SetCache::new(config.max_sets, config.max_set_bytes),
            ticket_keys: None,
            early: VecDeque::new(),
            revocations: RevocationStore::default(),
            glasses: Glasses::default(),
            renewals: BTreeMap::new(),
            events: VecDeque::new(),
            events_lost: 0,
            resets: (Instant::ZERO, 0),
            wall: None,
            drain: None,
            audit: AuditQueue::new(config.shard),
            latest: Instant::ZERO,
            clock_set: None,
            totals: Totals::default(),
            discards: Discards::default(),
            config,
        })
    }

    /// Registers a factory secret and the device that has it: it may enrol with XXpsk3.
    pub fn enrol(&mut self, id: PskId, psk: Psk, identity: Identity) {
        self.enrolments.insert(id.0, Arc::new(Enrolment { psk, identity }));
        self.note(AuditEvent::Enrolled { psk: id, identity });
    }

    /// Forgets a factory secret; handshakes under way keep it.
    pub fn forget_enrolment(&mut self, id: PskId) {
        if self.enrolments.remove(&id.0).is_some() {
            self.note(AuditEvent::EnrolmentForgotten { psk: id });
        }
    }

    /// Takes packets as they came in, many a call; what the application should see goes to `sink`.
    ///
    /// Hostile input is never an error: it is counted in [`Backend::discards`] and changes nothing else.
    pub fn handle_packets<'b>(
        &mut self,
        now: Instant,
        packets: &mut [Inbound<'b, P>],
        sink: &mut dyn FnMut(Received<'b>),
    ) {
        self.latest = self.latest.max(now);
        self.end_due_glasses(now);
        for group in packets.chunks_mut(warm::GROUP) {
            self.warm(group);
            for inbound in group {
                let packet = core::mem::take(&mut inbound.packet);
                self.totals.received(packet.len());
                if let Err(discard) = self.handle_packet(now, inbound.path.clone(), packet, sink) {
                    self.discards.count(discard);
                }
            }
        }
    }

    fn handle_packet<'b>(
        &mut self,
        now: Instant,
        path: P,
        packet: &'b mut [u8],
        sink: &mut dyn FnMut(Received<'b>),
    ) -> Result<(), Discard> {
        // Nearly all are: their header is read in whole there.
        if packet.first().is_some_and(|first| first & DATA_BIT != 0) {
            return self.handle_data(now, path, packet, sink);
        }
        match PacketKind::parse(packet, Side::Device)? {
            PacketKind::Data => self.handle_data(now, path, packet, sink),
            PacketKind::Hello => {
                let pattern = Hello::parse(packet)?.header.pattern;
                self.admit_hello(now)?;
                match pattern {
                    Pattern::Resume => self.handle_resume(now, path, packet),
                    _ => self.handle_hello(now, path, packet),
                }
            }
            PacketKind::Finish => self.handle_finish(path, packet),
            PacketKind::Reply | PacketKind::Retry | PacketKind::Reset => Err(Discard::WrongDirection),
            PacketKind::Fragment => Err(Discard::UnknownType),
        }
    }

    /// Settles a batch that the application has stored; the device hears of it.
    ///
    /// Harmless for a batch whose session has ended meanwhile: its records are then recognised when they come again.
    pub fn commit(&mut self, now: Instant, batch: BatchRef) -> Committed {
        self.take(now, batch, true).map_or(Committed::Stale, Committed::Settled)
    }

    /// Gives up a batch that the application failed to store: its records are delivered again.
    pub fn release(&mut self, now: Instant, batch: BatchRef) {
        self.take(now, batch, false);
    }

    /// Gives up a batch whose session has lost the device to another node, as the application's store says, and ends
    /// that session if it is still the device's session here: with reason [`CloseReason::Replaced`].
    ///
    /// A stale batch is harmless, and one of an earlier session ends no later one.
    pub fn disown(&mut self, now: Instant, batch: BatchRef) {
        let device = self.devices.get(batch.device).filter(|_| batch.shard == self.config.shard);
        let session = device.filter(|device| device.inbox.is_current(batch.number)).and_then(Device::current);
        self.take(now, batch, false);
        if let Some(at) = session {
            self.close(at, CloseReason::Replaced);
        }
    }

    fn take(&mut self, now: Instant, batch: BatchRef, stored: bool) -> Option<crate::delivery::Mark> {
        if batch.shard != self.config.shard {
            return None;
        }
        let device = self.devices.get_mut(batch.device)?;
        let mark =
            if stored { device.inbox.commit(batch.number)? } else { device.inbox.release(batch.number)? };
        let current = device.current();
        self.totals.settled(&mark, stored);
        self.devices.tidy(batch.device);
        if let Some(at) = current
            && let Some(live) = self.slots.live_mut(at)
        {
            if stored {
                live.mark_stream(&mark.stream);
            }
            // A Close may have waited for it.
            if stored || live.closing.is_some() {
                self.wake(at);
            }
        }
        let _ = now;
        Some(mark)
    }

    /// Does what time requires: ends what has expired, erases old keys.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.latest = self.latest.max(now);
        self.tell_limits(now);
        self.tend_drain(now);
        self.end_due_glasses(now);
        while let Some(at) = self.slots.pop_timer(now) {
            match self.slots.get_mut(at) {
                Some(Use::HalfOpen(half)) => {
                    let expires = half.expires;
                    if expires <= now {
                        self.expire(at);
                    } else {
                        self.slots.schedule(at, expires);
                    }
                }
                Some(Use::Live(live)) => {
                    live.session.handle_timeout(now);
                    let grown = |youth: &mut Box<Youth>| youth.born + HALF_OPEN_LIFE <= now;
                    let youth = live.rare_mut().and_then(|rare| rare.youth.take_if(grown));
                    if let Some(youth) = youth {
                        self.by_hello.remove(&youth.origin.mac);
                    }
                    live.tidy();
                    let (closed, idle) = (live.session.closed(), live.idle_at(self.config.limits));
                    let next = live.session.poll_timeout().map_or(idle, |timer| timer.min(idle));
                    let next = live.youth().map_or(next, |youth| next.min(youth.born + HALF_OPEN_LIFE));
                    if let Some(reason) = closed {
                        self.end_session(at, reason);
                    } else if idle <= now {
                        self.end_session(at, CloseReason::Idle);
                    } else {
                        self.slots.schedule(at, next.max(now + Duration::from_millis(1)));
                        self.tend_downlink(now, at);
                        self.tend_renewal(now, at);
                    }
                }
                _ => {}
            }
        }
    }

    /// Returns the latest time at which the backend must be called again if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.slots.next_timer().into_iter().chain(self.glass_due()).chain(self.drain_timer()).min()
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<BackendEvent> {
        if let Some(event) = self.events.pop_front() {
            self.glasses.polled(&event);
            return Some(event);
        }
        let lost = core::mem::take(&mut self.events_lost);
        (lost > 0).then_some(BackendEvent::EventsLost(lost))
    }

    /// Asks a device for a DH ratchet.
    ///
    /// # Errors
    /// [`CallError::NoSession`] if it has no proved session here.
    pub fn hint_rekey(&mut self, identity: &Identity) -> Result<(), CallError> {
        let at = self.devices.session_of(identity).ok_or(CallError::NoSession)?;
        let live = self.slots.live_mut(at).ok_or(CallError::NoSession)?;
        live.make_rare().hint = true;
        self.wake(at);
        Ok(())
    }

    /// Ends a device's session, with a Close to it.
    ///
    /// # Errors
    /// [`CallError::NoSession`] if it has no proved session here.
    pub fn disconnect(&mut self, identity: &Identity, reason: CloseReason) -> Result<(), CallError> {
        let at = self.devices.session_of(identity).ok_or(CallError::NoSession)?;
        self.close(at, reason);
        Ok(())
    }

    /// Sets the wall clock, by which credentials are judged.
    pub fn set_wall_clock(&mut self, clock: UnixSeconds) {
        let before = self.config.time.clock();
        self.audit.clock_set(self.latest, before.zip(self.clock_set), before, clock);
        self.clock_set = Some(self.latest).filter(|latest| *latest > Instant::ZERO);
        self.config.time.set_clock(Some(clock));
    }

    /// Returns how often each kind of packet was discarded.
    pub const fn discards(&self) -> &Discards {
        &self.discards
    }

    /// Returns how many identities have a session or uncommitted batches here.
    pub fn devices(&self) -> usize {
        self.devices.len()
    }

    /// Returns the ratchets done in a device's present session: (hash, DH).
    pub fn ratchets(&mut self, identity: &Identity) -> Option<(u32, u32)> {
        let at = self.devices.session_of(identity)?;
        let live = self.slots.live_mut(at)?;
        Some((live.session.hash_ratchets(), live.session.dh_ratchets()))
    }

    /// Lets the device know why, then ends its session.
    fn close(&mut self, at: SlotRef, reason: CloseReason) {
        if let Some(live) = self.slots.live_mut(at) {
            // What is more than a drain does not wait as that may.
            if live.closing.is_none_or(|closing| closing == CloseReason::Draining) {
                live.closing = Some(reason);
            }
            self.wake(at);
        }
    }

    fn end_session(&mut self, at: SlotRef, reason: CloseReason) {
        let Some(identity) = self.identity_of(at) else { return };
        let Some(live) = self.slots.live_mut(at) else { return };
        let (device, proved) = (live.device(), live.proved);
        let mac = live.youth().map(|youth| youth.origin.mac);
        let downlink = live.rare_mut().and_then(|rare| rare.downlink.take());
        self.slots.free(at);
        if let Some(downlink) = downlink {
            self.end_commands(at, identity, *downlink);
        }
        self.end_renewal(at, RenewalOutcome::Unanswered);
        if let Some(mac) = mac {
            self.by_hello.remove(&mac);
        }
        if !proved {
            self.forget_pending(identity);
        }
        if proved {
            self.totals.online = self.totals.online.saturating_sub(1);
        }
        let Some(device) = device else { return };
        self.devices.leave(device, at);
        if proved {
            self.push_event(BackendEvent::Disconnected { identity, reason });
        }
    }

    fn push_event(&mut self, event: BackendEvent) {
        self.note_event(&event);
        self.totals.event(&event);
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(event);
        } else {
            self.events_lost = self.events_lost.saturating_add(1);
            self.totals.events_lost = self.totals.events_lost.saturating_add(1);
        }
    }

    fn send_raw(&mut self, path: P, packet: Vec<u8>) {
        if self.outgoing.len() < MAX_OUTGOING {
            self.outgoing.push_back((path, packet));
        } else {
            self.discards.count(Discard::TooManyPending);
        }
    }

    /// Tells whoever sends to an unknown connection id that it is unknown: at most so often, and in fewer bytes.
    fn answer_reset(&mut self, now: Instant, path: P, packet: &[u8]) {
        let (since, count) = &mut self.resets;
        if now.since(*since) >= Duration::from_secs(1) {
            (*since, *count) = (now, 0);
        }
        //= SPEC.md#reset
        //# A Reset MUST be shorter than the packet that it answers.
        let spare = self.outgoing.len() < MAX_OUTGOING / 2;
        if *count >= RESETS_PER_SECOND || packet.len() <= Reset::LEN || !spare {
            return;
        }
        if let Some(tag) = packet.last_chunk::<TAG_LEN>() {
            *count = count.saturating_add(1);
            let reset = Reset { tag: *tag }.to_bytes().to_vec();
            self.send_raw(path, reset);
        }
    }
}
