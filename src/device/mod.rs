//! The firmware front end: one device, one backend, no I/O.
//!
//! [`Device`] owns the outbox, the session and the handshakes, and decides what goes into the next packet. It
//! never opens a socket, reads a clock or keeps a generator: see [`Device`] for the run loop.
//!
//! Functions with buffers or many paths of their own are marked `inline(never)`, here and where this module calls
//! `handshake` and `session`: merged into one, they would all take the stack of all, and spill their registers to it.

mod attempt;
mod backlog;
mod commands;
mod compose;
mod config;
mod connect;
mod event;
mod listen;
mod live;
mod pin;
mod receive;
mod record;
mod region;
#[cfg(any(feature = "credentials", test))]
mod renewal;
mod requests;
mod resume;
mod storage_config;
mod store;
mod stored;
mod tickets;
mod time_sync;

pub use commands::CommandId;
pub use config::{BackendPin, DeviceConfig, DeviceMemory, Link};
pub use event::{DeviceEvent, DeviceReceived, StorageTrouble};
pub use listen::Radio;
pub use storage_config::StorageConfig;

use crate::crypto::hash_parts;
use crate::delivery::{LaneFill, Outbox};
use crate::entropy::{Entropy, EntropyError};
use crate::error::{CallError, CloseReason, Discards};
use crate::framing::{BootTag, DescriptorSet, Lane, SetHash};
use crate::handshake::reserve;
use crate::identity::{Scopes, Time};
use crate::limits::MIN_MAX_PACKET;
use crate::session::Session;
use crate::time::{Duration, Instant, UnixSeconds};
use crate::wire::TAG_LEN;
use alloc::boxed::Box;
use connect::Connector;
use event::EventQueue;
use live::Live;
use record::Thinner;
use store::Store;
use tickets::Tickets;
use time_sync::LearnedClock;

/// A device's session has a window of 128 packets.
type DeviceSession = Session<2>;

/// A device's end of the protocol.
///
/// # The run loop
/// Methods come in families: `handle_*` take in what happened, `poll_*` hand out what is to be done; the others are
/// the application's verbs. Every order of calls is legal. A turn of the loop:
///
/// 1. take what came in: [`handle_packet`](Self::handle_packet), [`handle_link`](Self::handle_link), and
///    [`handle_timeout`](Self::handle_timeout) when the instant of `poll_timeout` has come;
/// 2. give records with [`record`](Self::record);
/// 3. with storage: ask [`poll_storage`](Self::poll_storage) and answer with
///    [`handle_storage`](Self::handle_storage) until it returns `None`;
/// 4. send: call [`poll_transmit`](Self::poll_transmit) until it returns `None`;
/// 5. look at [`poll_event`](Self::poll_event) until it returns `None`;
/// 6. sleep until a packet comes, or until [`poll_timeout`](Self::poll_timeout).
///
/// `now` is monotonic time since the device's boot: it also stamps the records.
///
/// The example `loopback` in the repository shows both ends on one screen. The chapter for authors of firmware is
/// [`guide::firmware`](crate::guide::firmware).
// In this order, so that what is used most is in reach of a short load instruction: the compiler sorts by alignment only.
#[repr(C)]
pub struct Device<'m> {
    link: Link,
    boot: u32,
    boot_tag: Option<BootTag>,
    scopes: Scopes,
    store: Option<Box<Store<'m>>>,
    set: DescriptorSet<'m>,
    set_hash: SetHash,
    /// How many commands the application was given, or refused, in this boot: makes their handles.
    command_handles: u32,
    connector: Connector,
    sent_tags: SentTags,
    thinner: Thinner,
    learned_clock: Option<LearnedClock>,
    live: Option<Live>,
    config: DeviceConfig,
    tickets: Tickets,
    /// In a box of its own, as the store is: a device is then moved about while it is made at little cost of stack.
    outbox: Box<Outbox<'m>>,
    discards: Discards,
    events: EventQueue,
}

/// The tags of the last packets that went out: only they make a Reset credible.
#[derive(Default)]
struct SentTags {
    tags: [[u8; TAG_LEN]; 4],
    next: usize,
}

impl SentTags {
    fn note(&mut self, packet: &[u8]) {
        let (Some(tag), Some(slot)) = (packet.last_chunk::<TAG_LEN>(), self.tags.get_mut(self.next)) else {
            return;
        };
        *slot = *tag;
        self.next = self.next.wrapping_add(1) % 4;
    }

    fn contains(&self, tag: &[u8; TAG_LEN]) -> bool {
        *tag != [0; TAG_LEN] && self.tags.contains(tag)
    }
}

/// Returns the hash of an encoded set.
fn hash_of(set: DescriptorSet<'_>) -> SetHash {
    SetHash::from_digest(hash_parts(&[set.as_bytes()]))
}

/// Makes an outbox that has no memory yet, in a function of its own for the sake of the stack.
#[inline(never)]
fn boxed_outbox<'m>() -> Result<Box<Outbox<'m>>, CallError> {
    reserve(size_of::<Outbox<'m>>()).map_err(attempt::local_error)?;
    Ok(Box::new(Outbox::empty()))
}

/// Makes the state of the storage, likewise.
#[inline(never)]
fn boxed_store<'m>(
    config: StorageConfig,
    entry: &'m mut [u8],
    set: &'m mut [u8],
    boot: u32,
    brought_pin: bool,
) -> Result<Box<Store<'m>>, CallError> {
    reserve(size_of::<Store<'m>>()).map_err(attempt::local_error)?;
    Ok(Box::new(Store::new(config, entry, set, boot, brought_pin)))
}

impl<'m> Device<'m> {
    /// Makes a device from its configuration and the caller's memory. What it keeps on the heap for its life it takes here:
    /// the state of its outbox, and of its storage if it has any.
    ///
    /// # Errors
    /// [`CallError::InvalidConfig`] says which value is wrong. [`CallError::OutOfMemory`] if the heap has no room for it.
    #[inline(never)]
    pub fn new(mut config: DeviceConfig, memory: DeviceMemory<'m>) -> Result<Self, CallError> {
        config.check()?;
        let set = DescriptorSet::parse(memory.descriptors)
            .map_err(|_| CallError::InvalidConfig("the descriptor set is malformed"))?;
        let mut outbox = boxed_outbox()?;
        outbox.give_memory(memory.outbox, config.shares)?;
        let mut store = None;
        if let Some(storage) = config.storage.take() {
            storage.check(&config, memory.backlog.len(), memory.descriptors.len())?;
            const TOO_SMALL: CallError = CallError::InvalidConfig("the backlog memory is too small");
            let (entry, rest) = memory.backlog.split_at_mut_checked(storage.entry_len).ok_or(TOO_SMALL)?;
            let (set, backlog) = rest.split_at_mut_checked(storage.set_len).ok_or(TOO_SMALL)?;
            outbox.give_backlog(backlog, storage.backlog)?;
            store = Some(boxed_store(storage, entry, set, config.boot, config.pin.is_some())?);
        }
        for (lane, linger) in Lane::ALL.iter().copied().zip(config.linger) {
            outbox.set_linger(lane, linger);
        }
        for (lane, policy) in Lane::ALL.iter().copied().zip(config.policies) {
            outbox.set_policy(lane, policy)?;
        }
        Ok(Self {
            scopes: config.identity.credential().claimed_scopes(),
            boot: config.boot,
            tickets: Tickets::new(store.is_some()),
            store,
            config,
            set,
            set_hash: hash_of(set),
            outbox,
            boot_tag: None,
            link: Link::Down,
            connector: Connector::default(),
            live: None,
            events: EventQueue::default(),
            discards: Discards::default(),
            sent_tags: SentTags::default(),
            thinner: Thinner::default(),
            command_handles: 0,
            learned_clock: None,
        })
    }

    /// Takes a larger descriptor set, as the device has got a sensor; records may have its new channels at once.
    ///
    /// Within a boot a set only grows: it has every channel of the one before, unchanged byte for byte, and others with
    /// numbers of their own. A channel whose rate or scale changes gets a new number. So what waits in the outbox stays
    /// as it is; a session goes on, and the backend asks for the new set if it lacks it. A session has room for three
    /// changes; the one after that begins a new session, and the old one's end is reported with
    /// [`CloseReason::Application`].
    ///
    /// # Errors
    /// [`CallError::BadDescriptors`] if it is malformed or does not extend the present one; nothing has changed then.
    ///
    /// ```
    /// # use vitalwire::framing::{ChannelDescriptor, ChannelKind, Component, encode_descriptors};
    /// use vitalwire::{CallError, Instant, device::Device};
    /// fn plug_in<'m>(now: Instant, device: &mut Device<'m>, space: &'m mut [u8]) -> Result<(), CallError> {
    ///     let rate = [Component::new(147_842, 264_864)];
    ///     let saturation = [Component::new(150_456, 262_688)];
    ///     let channels = [
    ///         ChannelDescriptor::new(1, ChannelKind::Numeric, 147_842, (&rate).into()), // was there before
    ///         ChannelDescriptor::new(2, ChannelKind::Numeric, 150_456, (&saturation).into()),
    ///     ];
    ///     let len = encode_descriptors(&channels, space)?;
    ///     device.extend_descriptors(now, &space[..len])
    /// }
    /// ```
    #[inline(never)]
    pub fn extend_descriptors(&mut self, now: Instant, descriptors: &'m [u8]) -> Result<(), CallError> {
        let set = DescriptorSet::parse(descriptors).map_err(|_| CallError::BadDescriptors)?;
        //= SPEC.md#growing-sets
        //# A device MUST NOT give a boot a set that lacks a channel of an earlier set of that boot, or has it changed.
        if !set.extends(&self.set) {
            return Err(CallError::BadDescriptors);
        }
        if set == self.set {
            return Ok(());
        }
        (self.set, self.set_hash) = (set, hash_of(set));
        self.outbox.handle_renamed();
        //= SPEC.md#growing-sets
        //# A device whose set has grown MUST give its streams new indices in a session in which it has named them with the old set, or begin a new session.
        if let Some(live) = &mut self.live
            && !live.renew_indices(now)
            && live.closing.is_none()
        {
            self.end_session(now, CloseReason::Application);
            self.connector.want(now);
        }
        Ok(())
    }

    /// Says that the link went down, came up, or carries packets of another size now.
    #[inline(never)]
    pub fn handle_link(&mut self, now: Instant, link: Link) {
        if self.link == Link::Down && link != Link::Down {
            self.connector.hurry(now);
        }
        self.link = link;
        if link == Link::Down {
            self.end_closing();
        }
    }

    /// Asks for a session, and for a new one whenever it ends, until [`Device::disconnect`]. If there is one, a new
    /// one is made beside it.
    #[inline(never)]
    pub fn connect(&mut self, now: Instant) {
        self.connector.want(now);
    }

    /// Ends the session, with a Close to the backend, and asks for no other.
    #[inline(never)]
    pub fn disconnect(&mut self) {
        self.connector.cancel();
        if let Some(live) = &mut self.live {
            live.closing = Some(CloseReason::Application);
            if self.link == Link::Down || !live.may_send() {
                self.end_closing();
            }
        }
    }

    /// Ends a session that cannot be told so any more.
    #[inline(never)]
    fn end_closing(&mut self) {
        let Some(live) = self.live.as_ref().filter(|live| live.closing.is_some()) else { return };
        let told = live.closing.filter(|_| live.confirmed);
        // Where it is: to take it out would be to move it over the stack.
        self.live = None;
        self.outbox.handle_session_lost();
        if let Some(reason) = told {
            self.events.push(DeviceEvent::Disconnected(reason));
        }
    }

    /// Takes a packet from the backend; what the application should see goes to `sink`.
    ///
    /// Hostile input is never an error: it is counted in [`Device::discards`] and changes nothing else. Where the packet
    /// came from is not asked: the backend's address is the caller's, and no packet changes it.
    //= SPEC.md#paths
    //# A device MUST NOT move its backend's address.
    pub fn handle_packet<'b>(
        &mut self,
        now: Instant,
        packet: &'b mut [u8],
        sink: &mut dyn FnMut(DeviceReceived<'b>),
    ) {
        if let Err(discard) = self.receive(now, packet, sink) {
            self.discards.count(discard);
        }
        self.note_settled();
    }

    /// Writes the next packet to send into `out` and returns it, or `None` if there is nothing to send now.
    ///
    /// Call it until it returns `None`. Randomness is drawn here and in [`Device::poll_storage`] only.
    ///
    /// # Errors
    /// [`CallError::BufferTooSmall`] if `out` is too small for what must be sent: nothing is sealed then and no
    /// counter is used. 512 bytes always do for a handshake, and the link's `max_packet` for data.
    /// [`CallError::Entropy`] if the random source failed and nothing can be sent without it: data can. Nothing is lost;
    /// call again after a pause of your own, as [`Device::poll_timeout`] knows of none.
    #[inline(never)]
    pub fn poll_transmit<'o>(
        &mut self,
        now: Instant,
        rng: &mut dyn Entropy,
        out: &'o mut [u8],
    ) -> Result<Option<&'o [u8]>, CallError> {
        let up = self.link != Link::Down;
        if up {
            // First, so that a pause which is over by now starts its attempt in this very call.
            self.connector.settle_pause(rng);
        }
        self.handle_timeout(now);
        if up && self.connector.settle_pause(rng) {
            // An attempt failed while the device slept, and so has the pause after it passed.
            self.handle_timeout(now);
        }
        let Link::Up { max_packet } = self.link else { return Ok(None) };
        if !self.may_name_boot() {
            // The storage's answer is what is waited for; or the generator, and then somebody must hear of it.
            return if self.starved_until().is_some() { Err(EntropyError.into()) } else { Ok(None) };
        }
        let tag = self.ensure_boot_tag(rng)?;
        let max_packet = usize::from(max_packet).max(MIN_MAX_PACKET);
        let had_session = self.live.is_some();
        let (mut len, starved) = match self.transmit_handshake(now, tag, rng, out) {
            // A session goes on beside a handshake that cannot be made.
            Err(CallError::Entropy(error)) => (None, Some(error)),
            other => (other?, None),
        };
        if len.is_none() {
            len = self.transmit_session(now, tag, max_packet, rng, out)?;
        }
        if len.is_none() && had_session && self.live.is_none() {
            // It has just reached a limit: the next handshake need not wait for another call.
            len = self.transmit_handshake(now, tag, rng, out)?;
        }
        let Some(len) = len else { return starved.map_or(Ok(None), |error| Err(error.into())) };
        let packet = out.get(..len).unwrap_or_default();
        self.sent_tags.note(packet);
        Ok(Some(packet))
    }

    /// Draws the boot tag, before the first record id leaves the device.
    fn ensure_boot_tag(&mut self, rng: &mut dyn Entropy) -> Result<BootTag, CallError> {
        if let Some(tag) = self.boot_tag {
            return Ok(tag);
        }
        let mut tag = BootTag([0; 4]);
        rng.fill(&mut tag.0)?;
        self.boot_tag = Some(tag);
        Ok(tag)
    }

    /// Does what time requires: retransmissions, rekeying, the end of idle sessions, new attempts.
    ///
    /// Early, late and repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.excuse_silence(now);
        for &lane in &Lane::ALL {
            self.review_spilling(lane);
        }
        self.outbox.handle_timeout(now);
        self.tend_stamps(now);
        if let Some(live) = &mut self.live {
            live.session.handle_timeout(now);
            if let Some(reason) = live.ended(now, self.config.limits) {
                self.end_session(now, reason);
            }
        }
        let seems_dead = |live: &Live| live.seems_dead_at().is_some_and(|at| at <= now);
        let dead = self.live.as_ref().is_none_or(seems_dead);
        if let Some(event) = self.connector.handle_timeout(now, dead) {
            self.events.push(event);
        }
    }

    /// Returns the latest time at which the device must be called again if nothing else happens; it may have passed
    /// already.
    ///
    /// A device may sleep until then, with its radio off if it expects no answer. One that wakes later loses time and
    /// nothing else: what is due is done at once. `None`, and while the link is down nearly always, means that only a
    /// record, a packet or a link that comes up gives it anything to do.
    ///
    /// ```
    /// use vitalwire::{Duration, Instant, device::Device};
    /// /// How long firmware may sleep, with a watchdog of an hour.
    /// fn nap(now: Instant, device: &Device<'_>) -> Duration {
    ///     let wake = device.poll_timeout().unwrap_or(Instant::FAR_FUTURE);
    ///     wake.since(now).min(Duration::from_secs(3600))
    /// }
    /// ```
    #[inline(never)]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.may_name_boot() {
            // The storage's answer is what is waited for, or the generator.
            return self.starved_until();
        }
        let store = self.store.as_ref();
        let storage = store.and_then(|store| store.poll_timeout(&self.outbox, self.set_hash));
        let storage = if self.has_request() { Some(Instant::ZERO) } else { storage };
        let up = self.link != Link::Down;
        let handshake = self.connector.poll_timeout(up);
        let live = self.live.as_ref().and_then(|live| self.live_timeout(live, up));
        Instant::earliest(&[handshake, live, storage])
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<DeviceEvent> {
        let event = self.events.pop().or_else(|| self.stored_event());
        event.or_else(|| self.outbox.poll_notice().map(DeviceEvent::from))
    }

    /// Drops the session and puts what was in flight back into the queue.
    fn end_session(&mut self, now: Instant, reason: CloseReason) {
        let Some(live) = &self.live else { return };
        let (confirmed, age) = (live.confirmed, live.age(now));
        let failed_at = live.failed_at(now, self.config.limits);
        self.live = None;
        self.outbox.handle_session_lost();
        if confirmed {
            self.events.push(DeviceEvent::Disconnected(reason));
            self.connector.session_ended(now, reason, age);
        } else if let Some(failed) = self.connector.session_failed(failed_at) {
            self.events.push(failed);
        }
    }

    /// Asks for a DH ratchet at the next opportunity. Does nothing without a session.
    pub fn rekey(&mut self) {
        if let Some(live) = &mut self.live {
            live.session.request_rekey();
        }
    }

    /// Tells whether a session is confirmed: records flow.
    pub fn is_connected(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.confirmed)
    }

    /// Tells how full a lane is.
    pub fn fill(&self, lane: Lane) -> LaneFill {
        self.outbox.fill(lane)
    }

    /// Returns for how long a lane's oldest record has waited.
    pub fn longest_wait(&self, now: Instant, lane: Lane) -> Option<Duration> {
        self.outbox.longest_wait(now, lane)
    }

    /// Tells whether the backend's application has committed every record, those in storage included.
    pub fn is_drained(&self) -> bool {
        self.outbox.is_empty() && self.store.as_ref().is_none_or(|store| store.is_empty())
    }

    /// Returns this boot's number, once it is known: with storage not before that has answered.
    pub fn boot(&self) -> Option<u32> {
        self.may_name_boot().then_some(self.boot)
    }

    /// Tells whether this boot has its number and tag for good.
    fn may_name_boot(&self) -> bool {
        self.store.as_ref().is_none_or(|store| store.is_settled())
    }

    /// Returns how often each kind of packet was discarded.
    pub const fn discards(&self) -> &Discards {
        &self.discards
    }

    /// Returns the ratchets done in the present session: (hash, DH).
    pub fn ratchets(&self) -> (u32, u32) {
        self.live.as_ref().map_or((0, 0), |live| (live.session.hash_ratchets(), live.session.dh_ratchets()))
    }

    /// Returns what the device knows of the time: store its floor.
    pub const fn time(&self) -> Time {
        self.config.time
    }

    /// Tells the device the wall-clock time as it learned it, or takes it away; used for credentials only. A source of
    /// its own, never [`Device::wall_time`].
    //= SPEC.md#time
    //# A device MUST NOT judge a credential by the time of a TimeSync frame.
    pub fn set_wall_clock(&mut self, clock: Option<UnixSeconds>) {
        self.config.time.set_clock(clock);
    }
}
