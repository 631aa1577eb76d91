//! The two ratchets: when to move, and the exchange of ephemeral keys.

use super::{Session, Side};
use crate::crypto::{AeadKey, ChainKey, EphemeralSecret, EpochKeys, NextSecret, PublicKey};
use crate::error::Discard;
use crate::limits::PREVIOUS_KEY_LIFE;
use crate::session::RekeyPolicy;
use crate::time::Instant;

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

/// What the ratchets need and packets do not.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Rekey {
    pub(super) next: NextEpoch,
    pub(super) exchange: Exchange,
    pub(super) policy: RekeyPolicy,
    handshake_hash: [u8; 32],
    epoch_started: Instant,
    /// The last DH ratchet, or the start: when it was committed, and what had been sent and opened by then.
    dh_at: Instant,
    dh_sent: u64,
    dh_opened: u64,
    /// When the last exchange was answered.
    pub(super) answered_at: Option<Instant>,
    /// A DH ratchet was asked for.
    demanded: bool,
    /// The timer of the DH ratchet has fired.
    dh_due: bool,
    hash_ratchets: u32,
    dh_ratchets: u32,
}

impl Rekey {
    pub(super) fn new(now: Instant, next: NextEpoch, handshake_hash: [u8; 32], policy: RekeyPolicy) -> Self {
        Self {
            next,
            exchange: Exchange::Idle,
            policy,
            handshake_hash,
            epoch_started: now,
            dh_at: now,
            dh_sent: 0,
            dh_opened: 0,
            answered_at: None,
            demanded: false,
            dh_due: false,
            hash_ratchets: 0,
            dh_ratchets: 0,
        }
    }

    /// The next epoch has become the current one; `next` follows it.
    pub(super) fn commit(&mut self, now: Instant, next: NextEpoch, sent: u64, opened: u64) {
        match core::mem::replace(&mut self.next, next) {
            NextEpoch::Hash(_) => self.hash_ratchets = self.hash_ratchets.saturating_add(1),
            NextEpoch::Dh(_) => {
                self.dh_ratchets = self.dh_ratchets.saturating_add(1);
                (self.dh_at, self.dh_sent, self.dh_opened) = (now, sent, opened);
                (self.demanded, self.dh_due) = (false, false);
            }
        }
        self.exchange = Exchange::Idle;
        self.epoch_started = now;
    }
}

/// The hash ratchet, and the move to the next epoch.
impl<const WORDS: usize> Session<WORDS> {
    /// Returns how many hash ratchets this end has done.
    pub const fn hash_ratchets(&self) -> u32 {
        self.rekey.hash_ratchets
    }

    /// Returns how many DH ratchets this end has done.
    pub const fn dh_ratchets(&self) -> u32 {
        self.rekey.dh_ratchets
    }

    /// Tells whether a device's next packet belongs to the next epoch.
    pub(super) fn must_move(&self, now: Instant) -> bool {
        self.side == Side::Device
            && match (&self.rekey.next, &self.rekey.exchange) {
                (NextEpoch::Dh(_), _) => true,
                //= SPEC.md#rekey
                //# A device MUST NOT start a hash ratchet while its RekeyRequest is unanswered.
                (NextEpoch::Hash(_), Exchange::Idle) => self.hash_due(now),
                (NextEpoch::Hash(_), _) => false,
            }
            && self.may_move(now)
    }

    fn hash_due(&self, now: Instant) -> bool {
        let policy = &self.rekey.policy;
        // Where a policy puts the hard stop below the ratchet, the ratchet still comes first.
        let packets = policy.hash_packets().min(policy.packet_limit());
        self.sent_in_epoch() >= packets
            || self.receiving.opened >= packets
            || now.since(self.rekey.epoch_started) >= policy.hash_age()
    }

    pub(super) fn may_move(&self, now: Instant) -> bool {
        //= SPEC.md#epochs
        //# A device MUST NOT move to the next epoch before it has authenticated a backend packet of the current one.
        let Some(heard) = self.receiving.heard else { return false };
        //= SPEC.md#epochs
        //# A device MUST NOT move to the next epoch while the previous epoch's receive key lives, or while packets of the previous epoch that it sent may still be inside the backend's reorder depth.
        let depth = self.sending.longest_before.reach().min(u64::from(self.sending.peer_window));
        self.receiving.previous.is_none()
            && (self.epoch == 0
                || now.since(heard.since) >= PREVIOUS_KEY_LIFE
                || self.sent_in_epoch() >= depth)
    }
}

/// The DH ratchet, at the device.
impl<const WORDS: usize> Session<WORDS> {
    /// Asks for a DH ratchet as soon as the policy's interval allows: on the application's wish, or on a RekeyHint.
    ///
    /// Does nothing on a backend (which sends a RekeyHint instead) or while an exchange is under way.
    pub const fn request_rekey(&mut self) {
        if self.may_start_dh() {
            self.rekey.demanded = true;
        }
    }

    /// Tells whether the device should call [`Session::start_dh`] now.
    pub fn wants_dh(&self, now: Instant) -> bool {
        self.may_start_dh() && (self.rekey.dh_due || now >= self.dh_deadline())
    }

    /// Starts a DH ratchet with a fresh ephemeral secret and returns the RekeyRequest to send.
    ///
    /// `None`, and the secret is wiped, if this is no device, or an exchange is under way, or the session is closed.
    pub fn start_dh(&mut self, secret: EphemeralSecret) -> Option<PublicKey> {
        if !self.may_start_dh() {
            return None;
        }
        let public = secret.public_key();
        self.rekey.exchange = Exchange::Requested { secret, public };
        Some(public)
    }

    /// Returns the unanswered RekeyRequest, to be sent again on the retransmission timer.
    pub const fn rekey_request(&self) -> Option<PublicKey> {
        match &self.rekey.exchange {
            Exchange::Requested { public, .. } => Some(*public),
            _ => None,
        }
    }

    /// Takes a RekeyAccept from a packet of `packet_epoch`. The device moves with one of its next packets.
    ///
    /// # Errors
    /// [`Discard::UntimelyRekey`] if it answers nothing, or holds a low-order point; nothing has changed then.
    pub fn handle_rekey_accept(
        &mut self,
        now: Instant,
        packet_epoch: u64,
        backend: PublicKey,
    ) -> Result<(), Discard> {
        let rekey = &mut self.rekey;
        //= SPEC.md#rekey
        //# A RekeyRequest or RekeyAccept MUST be ignored unless its packet's epoch is the current one.
        let (true, Exchange::Requested { secret, public }, NextEpoch::Hash(next)) =
            (packet_epoch == self.epoch, &rekey.exchange, &rekey.next)
        else {
            return Err(Discard::UntimelyRekey);
        };
        //= SPEC.md#rekey
        //# A RekeyRequest or RekeyAccept with a low-order point MUST be ignored.
        let shared = secret.diffie_hellman(&backend).map_err(|_| Discard::UntimelyRekey)?;
        let epoch = self.epoch.saturating_add(1);
        let chain = next.ratchet_dh(&shared, &rekey.handshake_hash, epoch, public, &backend);
        //= SPEC.md#rekey
        //# Once c_(e+1) exists, both ends MUST erase the ephemeral secret and n_e, a hash ratchet's n_e when it commits.
        rekey.next = NextEpoch::Dh(chain);
        rekey.exchange = Exchange::Idle;
        rekey.answered_at = Some(now);
        Ok(())
    }

    const fn may_start_dh(&self) -> bool {
        matches!(
            (self.side, self.closed, &self.rekey.exchange, &self.rekey.next),
            (Side::Device, None, Exchange::Idle, NextEpoch::Hash(_))
        )
    }

    /// From when on a DH ratchet is wanted.
    fn dh_deadline(&self) -> Instant {
        let Rekey { policy, answered_at, .. } = &self.rekey;
        let earliest = answered_at.map_or(Instant::ZERO, |at| at + policy.interval());
        let sent = self.sending.next.saturating_sub(self.rekey.dh_sent);
        let opened = self.receiving.opened_in_all.saturating_sub(self.rekey.dh_opened);
        if self.rekey.demanded || sent.max(opened) >= policy.dh_packets() {
            return earliest;
        }
        earliest.max(self.rekey.dh_at + policy.dh_age())
    }

    pub(super) fn dh_timer(&self) -> Option<Instant> {
        (self.may_start_dh() && !self.rekey.dh_due).then(|| self.dh_deadline())
    }

    pub(super) fn handle_dh_timer(&mut self, now: Instant) {
        if self.dh_timer().is_some_and(|at| now >= at) {
            self.rekey.dh_due = true;
        }
    }
}

/// The DH ratchet, at the backend.
impl<const WORDS: usize> Session<WORDS> {
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
        if self.side != Side::Backend || packet_epoch != self.epoch {
            return Err(Discard::UntimelyRekey);
        }
        let rekey = &mut self.rekey;
        match rekey.exchange {
            //= SPEC.md#rekey
            //# A backend MUST answer the first RekeyRequest of an epoch and repeat the same RekeyAccept for every copy of it.
            Exchange::Answered { device: first, backend } if first == device => {
                Ok(RekeyAnswer::Repeat(backend))
            }
            Exchange::Asked { device: first } if first == device => Ok(RekeyAnswer::NeedsEphemeral),
            //= SPEC.md#rekey
            //# A backend MUST ignore another RekeyRequest in the same epoch, and one that comes within 60 s of the last one that it answered (a policy may lower this).
            Exchange::Idle if rekey.answered_at.is_none_or(|at| now.since(at) >= rekey.policy.interval()) => {
                rekey.exchange = Exchange::Asked { device };
                Ok(RekeyAnswer::NeedsEphemeral)
            }
            _ => Err(Discard::UntimelyRekey),
        }
    }

    /// Tells whether a RekeyRequest waits for [`Session::answer_dh`].
    pub const fn needs_ephemeral(&self) -> bool {
        matches!(self.rekey.exchange, Exchange::Asked { .. })
    }

    /// Answers the RekeyRequest with a fresh ephemeral secret and returns the RekeyAccept to send.
    ///
    /// # Errors
    /// [`Discard::UntimelyRekey`] if no request waits, or if it held a low-order point, in which case it is forgotten.
    pub fn answer_dh(&mut self, now: Instant, secret: EphemeralSecret) -> Result<PublicKey, Discard> {
        let rekey = &mut self.rekey;
        let (Exchange::Asked { device }, NextEpoch::Hash(next)) = (&rekey.exchange, &rekey.next) else {
            return Err(Discard::UntimelyRekey);
        };
        let device = *device;
        //= SPEC.md#rekey
        //# A RekeyRequest or RekeyAccept with a low-order point MUST be ignored.
        let Ok(shared) = secret.diffie_hellman(&device) else {
            rekey.exchange = Exchange::Idle;
            return Err(Discard::UntimelyRekey);
        };
        let backend = secret.public_key();
        let epoch = self.epoch.saturating_add(1);
        let chain = next.ratchet_dh(&shared, &rekey.handshake_hash, epoch, &device, &backend);
        //= SPEC.md#rekey
        //# Once c_(e+1) exists, both ends MUST erase the ephemeral secret and n_e, a hash ratchet's n_e when it commits.
        rekey.next = NextEpoch::Dh(chain);
        rekey.exchange = Exchange::Answered { device, backend };
        rekey.answered_at = Some(now);
        self.receiving.next_key = self.rekey.next.receive_key(self.side);
        Ok(backend)
    }

    /// Returns the RekeyAccept of the current epoch, if one was given.
    pub const fn rekey_accept(&self) -> Option<PublicKey> {
        match &self.rekey.exchange {
            Exchange::Answered { backend, .. } => Some(*backend),
            _ => None,
        }
    }
}
