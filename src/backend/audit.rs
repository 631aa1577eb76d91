//! What an auditor should hear of: noted where it happens, not where the application looks.

use super::event::BackendEvent;
use super::{Backend, Path};
use super::{RenewalOutcome, SenderId};
use crate::audit::{AuditEvent, AuditQueue, OperatorId};
use crate::identity::Identity;
use crate::time::Instant;

impl<P: Path> Backend<P> {
    /// Returns the queue of events for an auditor: hand it to [`AuditLog::run`](crate::audit::AuditLog::run), once in a turn of the
    /// run loop. The backend notes in it by itself what it sees; the application notes what only it knows, beginning
    /// with [`AuditEvent::Started`].
    ///
    /// What strangers send is not noted one by one: every minute there is an event with counts.
    pub fn audit(&mut self, now: Instant) -> &mut AuditQueue {
        self.audit.count(now, &self.discards, self.totals.events_lost, false);
        &mut self.audit
    }

    /// As [`Backend::audit`], before the node stops: counts that were not noted yet are, and [`AuditEvent::Stopped`] is the
    /// last event.
    pub fn audit_stop(&mut self, now: Instant) -> &mut AuditQueue {
        self.audit.count(now, &self.discards, self.totals.events_lost, true);
        self.audit.note(now, AuditEvent::Stopped {});
        &mut self.audit
    }

    /// Notes an event for the auditor, with the time of the latest call.
    pub(super) fn note(&mut self, event: AuditEvent) {
        self.audit.note(self.latest, event);
    }

    /// Notes what the application is told, as far as an auditor may ask for it. A new event does not compile before it
    /// has found its place here.
    pub(super) fn note_event(&mut self, event: &BackendEvent) {
        let noted = match *event {
            BackendEvent::Connected { identity, scopes, pattern } => {
                AuditEvent::Accepted { identity, serial: self.serial_of(&identity), pattern, scopes }
            }
            BackendEvent::Disconnected { identity, reason } => AuditEvent::Ended { identity, reason },
            BackendEvent::HandshakeRefused(discard) => AuditEvent::Refused { reason: discard.into() },
            BackendEvent::TicketConflict { identity, origin, .. } => {
                AuditEvent::TicketConflict { identity, origin }
            }
            BackendEvent::ScopeRefused { identity, stream, first, count } => {
                let (boot, tag, lane) = (stream.boot, stream.tag, stream.lane);
                AuditEvent::ScopeRefused { identity, boot, tag, lane, first, count }
            }
            BackendEvent::TagConflict { identity, conflict } => AuditEvent::TagConflict {
                identity,
                boot: conflict.boot,
                known: conflict.known,
                named: conflict.named,
            },
            BackendEvent::CommandEnded { identity, outcome, .. } => {
                AuditEvent::CommandEnded { identity, outcome: outcome.name().into() }
            }
            BackendEvent::Drained { uncommitted } => AuditEvent::Drained { uncommitted },
            BackendEvent::RevocationList { issuer, number } => AuditEvent::RevocationList { issuer, number },
            BackendEvent::Revoked { identity, serial } => {
                AuditEvent::Revoked { identity, serial: Some(serial) }
            }
            BackendEvent::RenewalEnded { identity, serial, outcome: RenewalOutcome::Taken } => {
                AuditEvent::Renewed { identity, serial }
            }
            BackendEvent::ScopesChanged { identity, scopes, .. } => {
                AuditEvent::PolicyChanged { identity, scopes }
            }
            BackendEvent::BreakGlassUsed { identity, by, scopes, life, .. } => {
                AuditEvent::BreakGlassGranted {
                    identity,
                    scopes,
                    operator: operator(by),
                    seconds: life.as_secs(),
                }
            }
            BackendEvent::BreakGlassEnded { identity, by, .. } => {
                AuditEvent::BreakGlassEnded { identity, operator: operator(by) }
            }
            // Who commands is the application's to note: the log has no kind for it yet.
            BackendEvent::Commanded { .. } | BackendEvent::CommandDenied { .. } => return,
            // Nothing has changed, as far as is known.
            BackendEvent::RenewalEnded { .. } => return,
            // Questions to the application, whose answers are noted; clocks of devices; what is counted.
            BackendEvent::Pending { .. }
            | BackendEvent::Resuming { .. }
            | BackendEvent::Clock { .. }
            | BackendEvent::LimitReached { .. }
            | BackendEvent::EventsLost(_) => return,
        };
        self.note(noted);
    }

    fn serial_of(&mut self, identity: &Identity) -> Option<u32> {
        let at = self.devices.session_of(identity)?;
        self.slots.live_mut(at)?.lineage.contents.map(|contents| contents.serial)
    }
}

/// A sender's number as the log names operators: behind eight zero bytes, big endian.
fn operator(sender: SenderId) -> OperatorId {
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().skip(8).zip(sender.0.to_be_bytes()) {
        *to = from;
    }
    OperatorId(id)
}
