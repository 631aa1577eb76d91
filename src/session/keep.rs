//! Where a session keeps what its packets hardly touch.
//!
//! A packet touches its keys, the window and the counters: these lie in [`Session`](super::Session) itself. The rest has
//! a place of its own, behind [`Keep`]: a device has it all [`Inline`], a backend with many sessions boxes it, and boxes
//! once more what a session mostly has not.

use super::rekey::{Exchange, NextEpoch};
use super::{Heard, PreviousEpoch, RekeyPolicy};
use crate::crypto::{AeadKey, ExporterSecret, ResumeSecret};
use crate::time::Instant;
use crate::wire::CounterLen;

/// Keeps the parts of a session that its packets hardly touch. Only this crate can implement it.
pub trait Keep {
    /// Returns what every session has.
    fn cold(&self) -> &Cold;
    /// Returns what every session has, to change it.
    fn cold_mut(&mut self) -> &mut Cold;
    /// Returns what few sessions have, if there is any.
    fn rare(&self) -> Option<&Rare>;
    /// Returns what few sessions have, if there is any, to change it.
    fn rare_mut(&mut self) -> Option<&mut Rare>;
    /// Returns what few sessions have, made now if there is none.
    fn make_rare(&mut self) -> &mut Rare;
    /// Takes note that nothing is left of what few sessions have.
    fn clear_rare(&mut self);
    /// Returns what a device needs to drive the rekeying.
    fn driver(&self) -> Option<&Driver>;
    /// Returns what a device needs to drive the rekeying, to change it.
    fn driver_mut(&mut self) -> Option<&mut Driver>;
    /// Returns when to rekey and to stop; the session's age excepted, which may be less.
    fn policy(&self) -> &RekeyPolicy;
}

/// What every session has and packets hardly touch.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Cold {
    /// The next epoch's key; a backend always has it ready, so that forgeries cost no derivation.
    pub(super) next_key: Option<AeadKey>,
    pub(super) next: NextEpoch,
    pub(super) resume: ResumeSecret,
    pub(super) handshake_hash: [u8; 32],
    /// From when on another DH ratchet may be answered, or begun.
    pub(super) answerable: Instant,
    pub(super) dh_ratchets: u32,
}

/// What a session has around a change of epochs only.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Rare {
    pub(super) previous: Option<PreviousEpoch>,
    pub(super) exchange: Exchange,
    /// The first news in the current epoch, if any. A backend without a previous epoch need not know it.
    pub(super) heard: Option<Heard>,
}

impl Rare {
    pub(crate) const fn new() -> Self {
        Self { previous: None, exchange: Exchange::Idle, heard: None }
    }
}

/// What a device needs to drive the rekeying.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Driver {
    pub(super) policy: RekeyPolicy,
    pub(super) epoch_started: Instant,
    /// The last DH ratchet, or the start: when it was committed, and what had been sent and opened by then.
    pub(super) dh_at: Instant,
    pub(super) dh_sent: u64,
    pub(super) dh_opened: u64,
    pub(super) opened_in_all: u64,
    /// The longest counter length used in this epoch, and in the one before.
    pub(super) longest: CounterLen,
    pub(super) longest_before: CounterLen,
    /// The peer's replay window, in packets.
    pub(super) peer_window: u16,
    /// A DH ratchet was asked for.
    pub(super) demanded: bool,
    /// The timer of the DH ratchet has fired.
    pub(super) dh_due: bool,
}

/// Keeps all of a session in one place: it needs no heap.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Inline {
    pub(super) cold: Cold,
    pub(super) rare: Rare,
    pub(super) driver: Driver,
    pub(super) exporter: ExporterSecret,
}

impl Keep for Inline {
    fn cold(&self) -> &Cold {
        &self.cold
    }
    fn cold_mut(&mut self) -> &mut Cold {
        &mut self.cold
    }
    fn rare(&self) -> Option<&Rare> {
        Some(&self.rare)
    }
    fn rare_mut(&mut self) -> Option<&mut Rare> {
        Some(&mut self.rare)
    }
    fn make_rare(&mut self) -> &mut Rare {
        &mut self.rare
    }
    fn clear_rare(&mut self) {}
    fn driver(&self) -> Option<&Driver> {
        Some(&self.driver)
    }
    fn driver_mut(&mut self) -> Option<&mut Driver> {
        Some(&mut self.driver)
    }
    fn policy(&self) -> &RekeyPolicy {
        &self.driver.policy
    }
}
