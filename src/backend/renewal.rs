//! New credentials for devices in their sessions (SPEC.md, "Renewal").

use super::event::{BackendEvent, SlotRef};
use super::{Backend, Path};
use crate::error::{CallError, Discard};
use crate::identity::{Credential, Identity};
use crate::limits::{MAX_RTO, RENEWAL_SENDS};
use crate::time::{Duration, Instant};

/// A renewal is sent again after so long, doubling, if no answer comes.
const REPEAT: Duration = Duration::from_secs(4);

/// What became of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RenewalOutcome {
    /// The device has it, and shows it in its next full handshake. Whether it is stored too, only its firmware knows.
    Taken,
    /// The device keeps the one that it has: it does not trust this one, or was made without authorities.
    Refused,
    /// No answer came. It may have been taken: the serial of the device's next full handshake tells.
    Unanswered,
}

/// A renewal under way.
pub(super) struct Renewal {
    credential: Credential,
    due: Instant,
    sends: u8,
}

impl Renewal {
    pub(super) fn frame(&self, now: Instant) -> Option<&[u8]> {
        (self.due <= now && self.sends < RENEWAL_SENDS).then(|| self.credential.as_bytes())
    }

    pub(super) fn sent(&mut self, now: Instant) {
        let wait = REPEAT.saturating_mul(1u64.wrapping_shl(self.sends.into())).min(MAX_RTO);
        self.sends = self.sends.saturating_add(1);
        self.due = now + wait;
    }
}

impl<P: Path> Backend<P> {
    /// Gives a device a new credential, in its present session: the device takes it if an authority that it trusts has
    /// signed it for the device's own key and name, and uses it from its next full handshake on. One
    /// [`BackendEvent::RenewalEnded`] tells what became of it.
    ///
    /// The session stays what it is, with the scopes and the serial of the old credential: revoke that only when the device
    /// has shown the new one. Another renewal takes the place of one under way, whose outcome is then not told.
    ///
    /// # Errors
    /// [`CallError::NoSession`] if the device has no proved session here; [`CallError::BadGrant`] if the credential names
    /// somebody else.
    ///
    /// ```
    /// use vitalwire::backend::Backend;
    /// use vitalwire::identity::{Credential, Identity};
    /// use vitalwire::{CallError, Instant};
    /// fn renew(
    ///     now: Instant, backend: &mut Backend<u64>, device: &Identity, new: &Credential,
    /// ) -> Result<(), CallError> {
    ///     backend.renew(now, device, new)
    /// }
    /// ```
    pub fn renew(
        &mut self,
        now: Instant,
        identity: &Identity,
        credential: &Credential,
    ) -> Result<(), CallError> {
        let at = self.devices.session_of(identity).ok_or(CallError::NoSession)?;
        if self.slots.live_mut(at).is_none_or(|live| live.closing.is_some()) {
            return Err(CallError::NoSession);
        }
        if credential.claimed_identity() != Some(*identity) {
            return Err(CallError::BadGrant("the credential names somebody else"));
        }
        self.renewals.insert(at, Renewal { credential: *credential, due: now, sends: 0 });
        self.tend_renewal(now, at);
        Ok(())
    }

    /// Sees to a renewal that is to be sent, to be sent again, or to be given up.
    pub(super) fn tend_renewal(&mut self, now: Instant, at: SlotRef) {
        let Some(Renewal { due, sends, .. }) = self.renewals.get(&at) else { return };
        let (due, sends) = (*due, *sends);
        if due > now {
            self.slots.schedule(at, due);
        } else if sends >= RENEWAL_SENDS {
            self.end_renewal(at, RenewalOutcome::Unanswered);
        } else if let Some(live) = self.slots.live_mut(at) {
            live.owes_packet = true;
            self.wake(at);
        }
    }

    /// A packet went out with it.
    pub(super) fn renewal_sent(&mut self, now: Instant, at: SlotRef) {
        if let Some(renewal) = self.renewals.get_mut(&at) {
            renewal.sent(now);
            let due = renewal.due;
            self.slots.schedule(at, due);
        }
    }

    /// The device says which credential it has.
    pub(super) fn handle_renewal_answer(&mut self, at: SlotRef, hash: &[u8]) {
        let Some(renewal) = self.renewals.get(&at).filter(|renewal| renewal.sends > 0) else {
            return self.discards.count(Discard::Unsolicited);
        };
        let taken = renewal.credential.hash().0 == *hash;
        self.end_renewal(at, if taken { RenewalOutcome::Taken } else { RenewalOutcome::Refused });
    }

    /// Ends a renewal, if one is under way.
    pub(super) fn end_renewal(&mut self, at: SlotRef, outcome: RenewalOutcome) {
        let Some(renewal) = self.renewals.remove(&at) else { return };
        let Some(identity) = renewal.credential.claimed_identity() else { return };
        let serial = renewal.credential.claimed_serial();
        self.push_event(BackendEvent::RenewalEnded { identity, serial, outcome });
    }
}
