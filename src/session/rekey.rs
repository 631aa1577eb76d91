//! The two ratchets: when to move, and the exchange of ephemeral keys.

use super::{Cold, Driver, Keep, Session, Side};
use crate::crypto::{AeadKey, ChainKey, EphemeralSecret, EpochKeys, NextSecret, PublicKey};
use crate::error::Discard;
use crate::limits::PREVIOUS_KEY_LIFE;
use crate::time::Instant;
use crate::wire::CounterLen;

/// What a backend does with a RekeyRequest that it accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RekeyAnswer {
    /// Answer it: hand a fresh ephemeral secret to [`Session::answer_dh`] and send the RekeyAccept that this gives.
    NeedsEphemeral,
    /// It is a copy of one that was answered: send the same RekeyAccept again.
    Repeat(PublicKey),
}

/// From what the next epoch's keys follow.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) enum NextEpoch {
    /// `n_e`: a hash ratchet, unless a DH ratchet comes first.
    Hash(NextSecret),
    /// `c_{e+1}` of an exchange that both ends have completed; `n_e` is gone.
    Dh(ChainKey),
}

impl NextEpoch {
    pub(super) fn keys(&self) -> EpochKeys {
        match self {
            Self::Hash(next) => next.ratchet().into_keys(),
            Self::Dh(chain) => chain.keys(),
        }
    }

    /// The key of the next epoch's packets, at the end that may receive them before it moves.
    pub(super) fn receive_key(&self, side: Side) -> Option<AeadKey> {
        match (side, self) {
            (Side::Device, _) => None,
            (Side::Backend, Self::Hash(next)) => Some(next.ratchet().device_to_backend()),
            (Side::Backend, Self::Dh(chain)) => Some(chain.device_to_backend()),
        }
    }
}

/// Where the exchange of ephemeral keys stands in the current epoch.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) enum Exchange {
    Idle,
    /// A device has asked.
    Requested {
        secret: EphemeralSecret,
        public: PublicKey,
    },
    /// A backend was asked and needs an ephemeral secret.
    Asked {
        device: PublicKey,
    },
    /// A backend has answered.
    Answered {
        device: PublicKey,
        backend: PublicKey,
    },
}

impl Driver {
    /// The next epoch has become the current one, by a DH ratchet or a hash ratchet.
    pub(super) const fn commit(&mut self, now: Instant, dh: bool, sent: u64) {
        if dh {
            (self.dh_at, self.dh_sent, self.dh_opened) = (now, sent, self.opened_in_all);
            (self.demanded, self.dh_due) = (false, false);
        }
        self.epoch_started = now;
        self.longest_before = self.longest;
        self.longest = CounterLen::One;
    }
}

/// The hash ratchet, and the move to the next epoch.
impl<const WORDS: usize, K: Keep> Session<WORDS, K> {
    /// Returns how many hash ratchets this end has done.
    pub fn hash_ratchets(&self) -> u32 {
        // Each epoch but the first came by one of the two.
        let hashed = self.epoch().saturating_sub(self.dh_ratchets().into());
        u32::try_from(hashed).unwrap_or(u32::MAX)
    }

    /// Returns how many DH ratchets this end has done.
    pub fn dh_ratchets(&self) -> u32 {
        self.keep.cold().dh_ratchets
    }

    fn exchange(&self) -> &Exchange {
        self.keep.rare().map_or(&Exchange::Idle, |rare| &rare.exchange)
    }

    /// Tells whether a device's next packet belongs to the next epoch.
    pub(super) fn must_move(&self, now: Instant) -> bool {
        let Some(driver) = self.keep.driver().filter(|_| self.side == Side::Device) else { return false };
        let due = match (&self.keep.cold().next, self.exchange()) {
            (NextEpoch::Dh(_), _) => true,
            //= SPEC.md#rekey
            //# A device MUST NOT start a hash ratchet while its RekeyRequest is unanswered.
            (NextEpoch::Hash(_), Exchange::Idle) => self.hash_due(now, driver),
            (NextEpoch::Hash(_), _) => false,
        };
        due && self.may_move(now, driver)
    }

    fn hash_due(&self, now: Instant, driver: &Driver) -> bool {
        let policy = &driver.policy;
        // Where a policy puts the hard stop below the ratchet, the ratchet still comes first.
        let packets = policy.hash_packets().min(self.packet_limit.into());
        self.sent_in_epoch() >= packets
            || u64::from(self.opened) >= packets
            || now.since(driver.epoch_started) >= policy.hash_age()
    }

    pub(super) fn may_move(&self, now: Instant, driver: &Driver) -> bool {
        //= SPEC.md#epochs
        //# A device MUST NOT move to the next epoch before it has authenticated a backend packet of the current one.
        let Some(heard) = self.heard() else { return false };
        //= SPEC.md#epochs
        //# A device MUST NOT move to the next epoch while the previous epoch's receive key lives, or while packets of the previous epoch that it sent may still be inside the backend's reorder depth.
        let depth = driver.longest_before.reach().min(u64::from(driver.peer_window));
        self.previous().is_none()
            && (self.epoch == 0
                || now.since(heard.since) >= PREVIOUS_KEY_LIFE
                || self.sent_in_epoch() >= depth)
    }
}

/// The DH ratchet, at the device.
impl<const WORDS: usize, K: Keep> Session<WORDS, K> {
    /// Asks for a DH ratchet as soon as the policy's interval allows: on the application's wish, or on a RekeyHint.
    ///
    /// Does nothing on a backend (which sends a RekeyHint instead) or while an exchange is under way.
    pub fn request_rekey(&mut self) {
        if self.may_start_dh()
            && let Some(driver) = self.keep.driver_mut()
        {
            driver.demanded = true;
        }
    }

    /// Tells whether the device should call [`Session::start_dh`] now.
    pub fn wants_dh(&self, now: Instant) -> bool {
        self.may_start_dh()
            && self.keep.driver().is_some_and(|driver| driver.dh_due || now >= self.dh_deadline(driver))
    }

    /// Starts a DH ratchet with a fresh ephemeral secret and returns the RekeyRequest to send.
    ///
    /// `None`, and the secret is wiped, if this is no device, or an exchange is under way, or the session is closed.
    #[inline(never)]
    pub fn start_dh(&mut self, secret: EphemeralSecret) -> Option<PublicKey> {
        if !self.may_start_dh() {
            return None;
        }
        let public = secret.public_key();
        self.keep.make_rare().exchange = Exchange::Requested { secret, public };
        Some(public)
    }

    /// Returns the unanswered RekeyRequest, to be sent again on the retransmission timer.
    pub fn rekey_request(&self) -> Option<PublicKey> {
        match self.exchange() {
            Exchange::Requested { public, .. } => Some(*public),
            _ => None,
        }
    }

    /// Takes a RekeyAccept from a packet of `packet_epoch`. The device moves with one of its next packets.
    ///
    /// # Errors
    /// [`Discard::UntimelyRekey`] if it answers nothing, or holds a low-order point; nothing has changed then.
    #[inline(never)]
    pub fn handle_rekey_accept(
        &mut self,
        now: Instant,
        packet_epoch: u64,
        backend: PublicKey,
    ) -> Result<(), Discard> {
        //= SPEC.md#rekey
        //# A RekeyRequest or RekeyAccept MUST be ignored unless its packet's epoch is the current one.
        let (
            true,
            Exchange::Requested { secret, public },
            Cold { next: NextEpoch::Hash(next), handshake_hash, .. },
        ) = (packet_epoch == self.epoch(), self.exchange(), self.keep.cold())
        else {
            return Err(Discard::UntimelyRekey);
        };
        //= SPEC.md#rekey
        //# A RekeyRequest or RekeyAccept with a low-order point MUST be ignored.
        let shared = secret.diffie_hellman(&backend).map_err(|_| Discard::UntimelyRekey)?;
        let epoch = self.epoch().saturating_add(1);
        let chain = next.ratchet_dh(&shared, handshake_hash, epoch, public, &backend);
        let answerable = now + self.keep.policy().interval();
        //= SPEC.md#rekey
        //# Once c_(e+1) exists, both ends MUST erase the ephemeral secret and n_e, a hash ratchet's n_e when it commits.
        let cold = self.keep.cold_mut();
        cold.next = NextEpoch::Dh(chain);
        cold.answerable = answerable;
        self.keep.make_rare().exchange = Exchange::Idle;
        Ok(())
    }

    fn may_start_dh(&self) -> bool {
        matches!((self.side, self.closed), (Side::Device, None))
            && matches!((self.exchange(), &self.keep.cold().next), (Exchange::Idle, NextEpoch::Hash(_)))
    }

    /// From when on a DH ratchet is wanted.
    fn dh_deadline(&self, driver: &Driver) -> Instant {
        let earliest = self.keep.cold().answerable;
        let sent = self.sending.next.saturating_sub(driver.dh_sent);
        let opened = driver.opened_in_all.saturating_sub(driver.dh_opened);
        if driver.demanded || sent.max(opened) >= driver.policy.dh_packets() {
            return earliest;
        }
        earliest.max(driver.dh_at + driver.policy.dh_age())
    }

    pub(super) fn dh_timer(&self) -> Option<Instant> {
        let driver = self.keep.driver()?;
        (self.may_start_dh() && !driver.dh_due).then(|| self.dh_deadline(driver))
    }

    pub(super) fn handle_dh_timer(&mut self, now: Instant) {
        if self.dh_timer().is_some_and(|at| now >= at)
            && let Some(driver) = self.keep.driver_mut()
        {
            driver.dh_due = true;
        }
    }
}

/// The DH ratchet, at the backend.
impl<const WORDS: usize, K: Keep> Session<WORDS, K> {
    /// Takes a RekeyRequest from a packet of `packet_epoch`.
    ///
    /// # Errors
    /// [`Discard::UntimelyRekey`] if it is of another epoch, if another request came first, or if the last answer is too
    /// recent; nothing has changed then.
    pub fn handle_rekey_request(
        &mut self,
        now: Instant,
        packet_epoch: u64,
        device: PublicKey,
    ) -> Result<RekeyAnswer, Discard> {
        //= SPEC.md#rekey
        //# A RekeyRequest or RekeyAccept MUST be ignored unless its packet's epoch is the current one.
        if self.side != Side::Backend || packet_epoch != self.epoch() {
            return Err(Discard::UntimelyRekey);
        }
        let answerable = now >= self.keep.cold().answerable;
        match *self.exchange() {
            //= SPEC.md#rekey
            //# A backend MUST answer the first RekeyRequest of an epoch and repeat the same RekeyAccept for every copy of it.
            Exchange::Answered { device: first, backend } if first == device => {
                Ok(RekeyAnswer::Repeat(backend))
            }
            Exchange::Asked { device: first } if first == device => Ok(RekeyAnswer::NeedsEphemeral),
            //= SPEC.md#rekey
            //# A backend MUST ignore another RekeyRequest in the same epoch, and one that comes within 60 s of the last one that it answered (a policy may lower this).
            Exchange::Idle if answerable => {
                self.keep.make_rare().exchange = Exchange::Asked { device };
                Ok(RekeyAnswer::NeedsEphemeral)
            }
            _ => Err(Discard::UntimelyRekey),
        }
    }

    /// Tells whether a RekeyRequest waits for [`Session::answer_dh`].
    pub fn needs_ephemeral(&self) -> bool {
        matches!(self.exchange(), Exchange::Asked { .. })
    }

    /// Answers the RekeyRequest with a fresh ephemeral secret and returns the RekeyAccept to send.
    ///
    /// # Errors
    /// [`Discard::UntimelyRekey`] if no request waits, or if it held a low-order point, in which case it is forgotten.
    pub fn answer_dh(&mut self, now: Instant, secret: EphemeralSecret) -> Result<PublicKey, Discard> {
        let (&Exchange::Asked { device }, Cold { next: NextEpoch::Hash(next), handshake_hash, .. }) =
            (self.exchange(), self.keep.cold())
        else {
            return Err(Discard::UntimelyRekey);
        };
        //= SPEC.md#rekey
        //# A RekeyRequest or RekeyAccept with a low-order point MUST be ignored.
        let Ok(shared) = secret.diffie_hellman(&device) else {
            self.keep.make_rare().exchange = Exchange::Idle;
            self.tidy_rare();
            return Err(Discard::UntimelyRekey);
        };
        let backend = secret.public_key();
        let epoch = self.epoch().saturating_add(1);
        let chain = next.ratchet_dh(&shared, handshake_hash, epoch, &device, &backend);
        let answerable = now + self.keep.policy().interval();
        let side = self.side;
        //= SPEC.md#rekey
        //# Once c_(e+1) exists, both ends MUST erase the ephemeral secret and n_e, a hash ratchet's n_e when it commits.
        let cold = self.keep.cold_mut();
        cold.next = NextEpoch::Dh(chain);
        cold.answerable = answerable;
        cold.next_key = cold.next.receive_key(side);
        self.keep.make_rare().exchange = Exchange::Answered { device, backend };
        Ok(backend)
    }

    /// Returns the RekeyAccept of the current epoch, if one was given.
    pub fn rekey_accept(&self) -> Option<PublicKey> {
        match self.exchange() {
            Exchange::Answered { backend, .. } => Some(*backend),
            _ => None,
        }
    }
}
