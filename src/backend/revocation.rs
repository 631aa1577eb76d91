//! Revocation: lists taken, and what they end (SPEC.md, "Revocation lists").

use super::event::{BackendEvent, PendingId, SlotRef};
use super::halfopen::{HalfOpen, Stage, Verdict};
use super::slots::Use;
use super::{Backend, Path};
use crate::audit::{AuditEvent, Name};
use crate::error::{CloseReason, Discard};
use crate::identity::{
    Identity, IssuerId, ListTaken, RevocationError, RevocationStore, TrustAnchors, VerifiedRevocations,
};
use crate::time::Instant;
use alloc::vec::Vec;

impl<P> HalfOpen<P> {
    /// Returns whose credential or ticket it has shown, while it waits for the application.
    fn holder(&self) -> Option<(Identity, u32)> {
        match &self.stage {
            Stage::AcceptHello(hello) => hello.peer().map(|peer| (peer.identity(), peer.serial())),
            Stage::AcceptFinish(established) => {
                Some((established.peer.identity(), established.peer.serial()))
            }
            Stage::AcceptResume(read, _) => Some((read.contents().identity, read.contents().serial)),
            Stage::Working | Stage::AwaitingFinish(_) => None,
        }
    }
}

impl<P: Path> Backend<P> {
    /// Puts a revocation list in force, at once: sessions and handshakes of what it revokes end with
    /// [`CloseReason::Revoked`], and from now on each handshake and each ticket is held against it.
    ///
    /// Give the same list to each shard of each node, in any order: one that has missed a list needs only a later one. Keep
    /// [`Backend::revocations`] durably, and put it in force again before the first packet after a restart. Looks at each
    /// session once. Where there is no room for another issuer's list, those of issuers that are no longer trusted go.
    ///
    /// # Errors
    /// As [`RevocationStore::take`]; nothing has changed then that is of use.
    ///
    /// ```
    /// use vitalwire::backend::Backend;
    /// use vitalwire::identity::{RevocationError, Time, TrustAnchors};
    /// use vitalwire::Instant;
    /// fn take(
    ///     now: Instant, backend: &mut Backend<u64>, anchors: &TrustAnchors, time: Time, file: &[u8],
    /// ) -> Result<u64, RevocationError> {
    ///     let list = anchors.verify_revocations(file, time)?;
    ///     backend.revoke(now, &list)?;
    ///     Ok(list.number()) // store the file, give it to the other shards and nodes
    /// }
    /// ```
    pub fn revoke(
        &mut self,
        now: Instant,
        list: &VerifiedRevocations<'_>,
    ) -> Result<ListTaken, RevocationError> {
        let (issuer, number) = (list.issuer(), list.number());
        let taken = self.take_list(list).inspect_err(|error| {
            let reason = Name::of_variant(error);
            self.audit.note(now, AuditEvent::RevocationListRefused { issuer, number, reason });
        })?;
        if taken == ListTaken::Known {
            return Ok(ListTaken::Known);
        }
        self.config.time.raise_floor_to_list(list);
        self.push_event(BackendEvent::RevocationList { issuer, number });
        //= SPEC.md#revocation-lists
        //# A backend MUST close the sessions of credentials that a new list revokes, and refuse their handshakes, in whatever state.
        let revoked: Vec<_> = self
            .slots
            .iter()
            .filter_map(|(at, used)| {
                let (identity, serial) = match used {
                    Use::Free => return None,
                    Use::HalfOpen(half) => half.holder()?,
                    Use::Live(live) => (self.identity_of(at)?, live.descent.serial()),
                };
                self.is_revoked(&identity, serial).then_some((at, identity, serial))
            })
            .collect();
        for (at, identity, serial) in revoked {
            self.end_revoked(now, at, identity, serial);
        }
        self.end_revoked_glasses(now);
        Ok(ListTaken::New)
    }

    fn take_list(&mut self, list: &VerifiedRevocations<'_>) -> Result<ListTaken, RevocationError> {
        match self.revocations.take(list) {
            // As many authorities as can be trusted at once have gone since the first list.
            Err(RevocationError::TooManyIssuers) => {
                self.revocations.forget_untrusted(&self.config.anchors);
                self.revocations.take(list)
            }
            taken => taken,
        }
    }

    /// Returns the revocation lists in force: their bytes are to be kept durably.
    pub const fn revocations(&self) -> &RevocationStore {
        &self.revocations
    }

    /// Changes whom the backend trusts, at once: after an intermediate authority got another certificate, or an authority
    /// is to go.
    ///
    /// Sessions whose issuer may give fewer scopes now are narrowed ([`BackendEvent::ScopesChanged`]); those whose issuer
    /// is no longer trusted end with [`CloseReason::Refused`]. Tickets are held against it, too. What is given anew holds
    /// from a device's next full handshake on, as does an earlier end of validity. Looks at each session once.
    pub fn set_anchors(&mut self, anchors: TrustAnchors) {
        self.config.anchors = anchors;
        self.responder = alloc::sync::Arc::new(self.responder.trusting(anchors));
        self.note(AuditEvent::AnchorsSet { issuers: anchors.issuers().collect() });
        let all: Vec<SlotRef> = self.slots.in_use().collect();
        all.into_iter().for_each(|at| self.review_issuer(at));
    }

    /// Holds a session against the anchors that there are now. A handshake is, when it becomes one.
    fn review_issuer(&mut self, at: SlotRef) {
        let Some(identity) = self.identity_of(at) else { return };
        let most = self.config.anchors.most_for_devices(&identity.issuer);
        let Some(live) = self.slots.live_mut(at) else { return };
        match most {
            Some(most) => {
                live.descent.narrow(most);
                self.review_scopes(self.latest, at);
            }
            None if live.proved => self.close(at, CloseReason::Refused),
            None => self.end_session(at, CloseReason::Refused),
        }
    }

    pub(super) fn is_revoked(&self, identity: &Identity, serial: u32) -> bool {
        self.revocations.is_revoked(&self.config.anchors, &identity.issuer, serial)
    }

    /// Returns the number of the list that a full handshake of today is held against.
    pub(super) fn list_number(&self, issuer: &IssuerId) -> u64 {
        self.revocations.number(issuer)
    }

    /// Somebody was turned away, or is about to be, as his credential is revoked.
    pub(super) fn note_revoked(&mut self, identity: Identity, serial: u32) {
        self.discards.count(Discard::Revoked);
        self.push_event(BackendEvent::Revoked { identity, serial });
    }

    fn end_revoked(&mut self, now: Instant, at: SlotRef, identity: Identity, serial: u32) {
        self.note_revoked(identity, serial);
        match self.slots.get_mut(at) {
            Some(Use::HalfOpen(half)) if matches!(half.stage, Stage::AcceptResume(..)) => {
                self.refuse_revoked_ticket(at);
            }
            Some(Use::HalfOpen(_)) => {
                // It waits for the application, whose word comes too late then.
                let _ = self.decide(now, PendingId(at), Verdict::Refused(CloseReason::Revoked));
            }
            Some(Use::Live(live)) if live.proved => self.close(at, CloseReason::Revoked),
            _ => self.end_session(at, CloseReason::Revoked),
        }
    }

    /// The credential of a ticket is revoked: its device is to show the one that it has now.
    //= SPEC.md#revocation-lists
    //# A backend MUST refuse a ticket whose credential is revoked.
    pub(super) fn refuse_revoked_ticket(&mut self, at: SlotRef) {
        let Some(half) = self.slots.half_open_mut(at) else { return };
        let Stage::AcceptResume(read, _) = &half.stage else { return };
        let (path, id, mac) = (half.path.clone(), read.connection_id(), half.origin.mac);
        self.push_event(BackendEvent::HandshakeRefused(Discard::Revoked));
        self.drop_half_open(at);
        self.refuse_ticket(self.latest, path, id, mac);
    }
}
