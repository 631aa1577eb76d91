//! Seals and opens data packets, moves from epoch to epoch, refuses replays, and stops at hard limits.
//!
//! Owns the traffic keys, the packet counters, the replay window and the two ratchets of one end of one session
//! (SPEC.md, "Session"). Knows nothing of handshakes: it starts from [`SessionSecrets`], wherever they come from.
//! Knows nothing of frames: the front end carries [`Session::rekey_request`] and [`Session::rekey_accept`] inside
//! packets and hands in what arrives. Needs no heap and no random source: ephemeral secrets are handed in.
//!
//! # The rules of the house
//! - A packet is checked against the window, opened, and only then marked. A failed open changes nothing but a count.
//! - A counter is used once; no call can set one.
//! - The device drives: it moves its sending to the next epoch inside [`Session::seal`], the backend follows inside
//!   [`Session::open`].
//! - Every call takes the time; a clock that stands still or steps backward only means that nothing has elapsed.
//!
//! # Memory
//! Keys are kept as 32 bytes each, not expanded. What a packet touches (keys, window, counters) lies together; where the
//! rest lies is the second parameter of [`Session`]. A [`Backend`](crate::backend::Backend) has it elsewhere.
//!
//! ```
//! use vitalwire::crypto::SessionSecrets;
//! use vitalwire::session::{RekeyPolicy, Session, Side};
//! use vitalwire::wire::{ConnectionId, DataHeader};
//! use vitalwire::Instant;
//!
//! // Both ends hold these after a handshake.
//! let secrets = || SessionSecrets::new([1; 32], &[2; 64]);
//! let now = Instant::ZERO;
//! let mut device = Session::<2>::new(now, Side::Device, secrets(), 1024, RekeyPolicy::default());
//! let mut backend = Session::<16>::new(now, Side::Backend, secrets(), 128, RekeyPolicy::default());
//!
//! // The payload is put where the packet needs it and sealed in place.
//! let id = ConnectionId::new(&[0, 0, 0, 0, 7]).ok_or("longer than 8 bytes")?;
//! let mut out = [0u8; 64];
//! let start = device.header_len(&id);
//! out[start..start + 5].copy_from_slice(b"72bpm");
//! let packet = device.seal(now, &id, &mut out, 5)?;
//! assert_eq!(packet.len(), 5 + 23);
//!
//! let header = DataHeader::parse(packet, id.len())?;
//! let opened = backend.open(now, &header, packet)?;
//! assert_eq!(opened.payload, b"72bpm");
//! assert_eq!(backend.highest_received(), 0); // goes into the next Ack
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(test)]
mod explore;
mod keep;
mod packets;
mod policy;
mod rekey;
#[cfg(test)]
mod tests;
mod window;

pub use crate::wire::Side;
pub use keep::Inline;
pub use packets::{Opened, SealError};
pub use policy::RekeyPolicy;
pub use rekey::RekeyAnswer;
pub use window::ReplayWindow;

#[cfg(feature = "backend")]
pub(crate) use keep::{Cold, Driver, Keep, Rare};

use crate::crypto::{AeadKey, EpochKeys, ExporterSecret, ResumeSecret, SessionSecrets};
use crate::error::CloseReason;
use crate::limits::PREVIOUS_KEY_LIFE;
use crate::time::Instant;
use crate::wire::CounterLen;
#[cfg(not(feature = "backend"))]
use keep::{Cold, Driver, Keep, Rare};
use rekey::{Exchange, NextEpoch};

/// One end of a session, with a replay window of `64 × WORDS` packets. See the [module](self).
///
/// `K` says where those parts lie that packets hardly touch: [`Inline`] here, unless a [`Backend`](crate::backend::Backend)
/// has them elsewhere.
///
/// Methods that begin with `handle_` take what arrived, `poll_timeout` tells when [`Session::handle_timeout`] is due;
/// every order of calls is legal.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
// With many sessions, what opening touches lies together: all up to the window.
#[cfg_attr(feature = "backend", repr(C))]
pub struct Session<const WORDS: usize, K = Inline> {
    pub(crate) keep: K,
    /// When the session reaches its greatest age.
    expires: Instant,
    /// Packets opened in the current epoch.
    opened: u32,
    /// Packets per epoch and direction, at the most.
    packet_limit: u32,
    /// One needs some packets at least, so there are never so many within a session's age.
    epoch: u32,
    /// The previous epoch's key may be alive: [`Rare`] is worth a look.
    previous_lives: bool,
    side: Side,
    closed: Option<CloseReason>,
    receiving: Receiving<WORDS>,
    sending: Sending,
}

/// What sealing touches.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Sending {
    key: AeadKey,
    /// The counter of the next packet.
    next: u64,
    /// The highest of our counters that the peer said it has authenticated.
    acked: u64,
    /// `next` when the epoch began.
    epoch_start: u64,
}

/// What opening touches.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
#[cfg_attr(feature = "backend", repr(C))]
struct Receiving<const WORDS: usize> {
    key: AeadKey,
    window: ReplayWindow<WORDS>,
    failed: u64,
}

/// Something has authenticated in the current epoch.
#[derive(Clone, Copy, Debug)]
struct Heard {
    /// When that was, the first time.
    since: Instant,
    /// The lowest counter of the current epoch's packets so far.
    lowest: u64,
}

/// What is left of the epoch before, for its late packets.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct PreviousEpoch {
    key: AeadKey,
    resume: ResumeSecret,
    opened: u32,
}

/// Orders an epoch's traffic keys: (send, receive).
fn by_side(side: Side, device_to_backend: AeadKey, backend_to_device: AeadKey) -> (AeadKey, AeadKey) {
    match side {
        Side::Device => (device_to_backend, backend_to_device),
        Side::Backend => (backend_to_device, device_to_backend),
    }
}

impl<const WORDS: usize> Session<WORDS> {
    /// Starts a session in epoch 0. Its age is counted from `now`.
    ///
    /// `peer_window` is the replay window that the peer announced, in packets.
    pub fn new(
        now: Instant,
        side: Side,
        secrets: SessionSecrets,
        peer_window: u16,
        policy: RekeyPolicy,
    ) -> Self {
        let exporter = secrets.chain.exporter();
        let driver = Driver {
            policy,
            epoch_started: now,
            dh_at: now,
            dh_sent: 0,
            dh_opened: 0,
            opened_in_all: 0,
            longest: CounterLen::One,
            longest_before: CounterLen::One,
            peer_window,
            demanded: false,
            dh_due: false,
        };
        let keep = |cold| Inline { cold, rare: Rare::new(), driver, exporter };
        Self::with_keep(now, side, secrets, policy, keep)
    }

    /// Returns the secret from which keys for other uses of this session are derived. Epoch 0's, for the whole session.
    pub const fn exporter(&self) -> &ExporterSecret {
        &self.keep.exporter
    }
}

impl<const WORDS: usize, K: Keep> Session<WORDS, K> {
    /// Starts a session whose parts lie where `keep` puts them. It reaches its greatest age by the policy given here.
    pub(crate) fn with_keep(
        now: Instant,
        side: Side,
        secrets: SessionSecrets,
        policy: RekeyPolicy,
        keep: impl FnOnce(Cold) -> K,
    ) -> Self {
        let SessionSecrets { chain, handshake_hash } = secrets;
        //= SPEC.md#key-schedule
        //# An end MUST erase c_e as soon as the epoch's keys are derived, and n_e as soon as c_(e+1) is; where c_(e+1) is n_e itself, when the ratchet commits.
        let EpochKeys { device_to_backend, backend_to_device, resume, next } = chain.into_keys();
        let (send, receive) = by_side(side, device_to_backend, backend_to_device);
        let next = NextEpoch::Hash(next);
        let next_key = next.receive_key(side);
        let answerable = Instant::ZERO;
        let cold = Cold { next_key, next, resume, handshake_hash, answerable, dh_ratchets: 0 };
        Self {
            sending: Sending { key: send, next: 0, acked: 0, epoch_start: 0 },
            receiving: Receiving { key: receive, window: ReplayWindow::new(), failed: 0 },
            epoch: 0,
            expires: now + policy.age_limit(),
            packet_limit: policy.packet_limit(),
            opened: 0,
            previous_lives: false,
            side,
            closed: None,
            keep: keep(cold),
        }
    }

    /// Reads a little of each line of memory that opening a packet needs, but for the window. It reads no key: that
    /// lies between what it reads, and is no longer than a line.
    #[cfg(feature = "backend")]
    pub(crate) const fn touch(&self) -> u64 {
        self.expires.as_millis() ^ self.epoch as u64 ^ self.receiving.window.touch()
    }

    /// Reads the word of the window that the next packet needs.
    #[cfg(feature = "backend")]
    pub(crate) fn touch_window(&self) -> u64 {
        self.receiving.window.touch_next()
    }

    /// Returns which end this is.
    pub const fn side(&self) -> Side {
        self.side
    }

    /// Returns the current epoch: the one that this end sends in.
    pub const fn epoch(&self) -> u64 {
        self.epoch as u64
    }

    /// Returns the counter that the next sealed packet will have.
    pub const fn next_counter(&self) -> u64 {
        self.sending.next
    }

    /// Returns the highest authenticated packet counter, or 0 before the first: what our Ack frames tell.
    pub fn highest_received(&self) -> u64 {
        self.receiving.window.highest().unwrap_or(0)
    }

    /// Takes the highest counter that the peer says it has authenticated, from its Ack frame.
    ///
    /// A value that is lower than an earlier one, or that was never sent, is ignored.
    pub fn peer_acked(&mut self, counter: u64) {
        if counter < self.sending.next {
            self.sending.acked = self.sending.acked.max(counter);
        }
    }

    /// Returns why the session has stopped, if it has.
    pub const fn closed(&self) -> Option<CloseReason> {
        self.closed
    }

    /// Returns how many packets failed to open.
    pub const fn failed_opens(&self) -> u64 {
        self.receiving.failed
    }

    /// Returns the seed of tickets of an epoch, while that epoch's receive key lives: the current and the previous one.
    pub fn resume_secret(&self, epoch: u64) -> Option<&ResumeSecret> {
        if epoch == self.epoch() {
            return Some(&self.keep.cold().resume);
        }
        let previous = self.previous()?;
        (epoch.checked_add(1) == Some(self.epoch())).then_some(&previous.resume)
    }

    /// Returns when [`Session::handle_timeout`] is due: the previous epoch's key dies, a DH ratchet becomes due, or the
    /// session reaches its greatest age.
    ///
    /// The hash ratchet needs no timer: it is a matter of the next packet, so it wakes no sleeping device.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.closed.is_some() {
            return None;
        }
        Instant::earliest(&[Some(self.expires), self.previous_expiry(), self.dh_timer()])
    }

    /// Does what is due by now. Harmless at any time.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.closed.is_some() {
            return;
        }
        //= SPEC.md#hard-stops
        //# An end MUST close a session 24 hours after its full handshake, counted through all resumptions.
        if now >= self.expires {
            self.close(CloseReason::SessionAge);
        }
        //= SPEC.md#epochs
        //# An end MUST erase the previous epoch's receive key at that point.
        if self.previous_expiry().is_some_and(|at| now >= at) {
            self.drop_previous();
        }
        self.handle_dh_timer(now);
    }

    fn close(&mut self, reason: CloseReason) -> CloseReason {
        *self.closed.get_or_insert(reason)
    }

    fn previous(&self) -> Option<&PreviousEpoch> {
        if self.previous_lives { self.keep.rare()?.previous.as_ref() } else { None }
    }

    fn heard(&self) -> Option<Heard> {
        self.keep.rare()?.heard
    }

    /// Erases the previous epoch's receive key.
    fn drop_previous(&mut self) {
        self.previous_lives = false;
        if let Some(rare) = self.keep.rare_mut() {
            rare.previous = None;
        }
        self.tidy_rare();
    }

    /// Gives up the room for what few sessions have, if it is empty.
    fn tidy_rare(&mut self) {
        let idle = |rare: &Rare| rare.previous.is_none() && matches!(rare.exchange, Exchange::Idle);
        if self.keep.rare().is_some_and(idle) {
            self.keep.clear_rare();
        }
    }

    fn previous_expiry(&self) -> Option<Instant> {
        self.previous()?;
        self.heard().map(|heard| heard.since + PREVIOUS_KEY_LIFE)
    }

    fn sent_in_epoch(&self) -> u64 {
        self.sending.next.saturating_sub(self.sending.epoch_start)
    }

    /// Makes the next epoch the current one.
    fn advance(&mut self, now: Instant) {
        //= SPEC.md#rekey
        //# Once c_(e+1) exists, both ends MUST erase the ephemeral secret and n_e, a hash ratchet's n_e when it commits.
        // Everything below overwrites the old secrets, which wipes them.
        let cold = self.keep.cold_mut();
        let EpochKeys { device_to_backend, backend_to_device, resume, next } = cold.next.keys();
        let (send, receive) = by_side(self.side, device_to_backend, backend_to_device);
        let previous = PreviousEpoch {
            key: core::mem::replace(&mut self.receiving.key, receive),
            resume: core::mem::replace(&mut cold.resume, resume),
            opened: self.opened,
        };
        let dh = matches!(cold.next, NextEpoch::Dh(_));
        cold.next = NextEpoch::Hash(next);
        cold.next_key = cold.next.receive_key(self.side);
        cold.dh_ratchets = cold.dh_ratchets.saturating_add(dh.into());
        self.opened = 0;
        self.previous_lives = true;
        self.sending.key = send;
        self.sending.epoch_start = self.sending.next;
        self.epoch = self.epoch.saturating_add(1);
        if let Some(driver) = self.keep.driver_mut() {
            driver.commit(now, dh, self.sending.next);
        }
        let rare = self.keep.make_rare();
        rare.previous = Some(previous);
        rare.exchange = Exchange::Idle;
        rare.heard = None;
    }
}
