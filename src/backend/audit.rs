//! What an auditor should hear of: noted where it happens, not where the application looks.

use super::event::BackendEvent;
use super::{Backend, Path};
use super::{BreakGlass, CommandId, RenewalOutcome, SenderId};
use crate::audit::{AuditEvent, AuditQueue, Name, OperatorId};
use crate::error::CallError;
use crate::identity::Identity;
use crate::permission::command_scope;
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
            BackendEvent::CommandEnded { identity, id, outcome } => {
                AuditEvent::CommandSettled { identity, number: id.number(), outcome: outcome.name().into() }
            }
            BackendEvent::Drained { uncommitted } => AuditEvent::Drained { uncommitted },
            BackendEvent::RevocationList { issuer, number } => AuditEvent::RevocationList { issuer, number },
            BackendEvent::Revoked { identity, serial } => {
                AuditEvent::Revoked { identity, serial: Some(serial) }
            }
            BackendEvent::RenewalEnded { identity, serial, outcome: RenewalOutcome::Taken } => {
                AuditEvent::Renewed { identity, serial }
            }
            BackendEvent::RenewalEnded { identity, serial, outcome } => {
                AuditEvent::RenewalFailed { identity, serial, outcome: Name::of_variant(&outcome) }
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
            // Noted with those commands for which nobody was named.
            BackendEvent::Commanded { .. } | BackendEvent::CommandDenied { .. } => return,
            // Questions to the application, whose answers are noted; clocks of devices; what is counted.
            BackendEvent::Pending { .. }
            | BackendEvent::Resuming { .. }
            | BackendEvent::Clock { .. }
            | BackendEvent::LimitReached { .. }
            | BackendEvent::EventsLost(_) => return,
        };
        self.note(noted);
    }

    /// Notes who gave which command, or was denied it.
    pub(super) fn note_command(
        &mut self,
        now: Instant,
        identity: Identity,
        sender: Option<SenderId>,
        command: u16,
        given: Result<CommandId, CallError>,
    ) {
        let by = sender.map(operator);
        let event = match given {
            Ok(id) => AuditEvent::Commanded { identity, operator: by, command, number: id.number() },
            Err(CallError::OutOfScope) => AuditEvent::CommandDenied { identity, operator: by, command },
            Err(_) => return,
        };
        self.audit.note(now, event);
        if given.is_ok() {
            self.note_glass_use(now, &identity, sender, command);
        }
    }

    /// Notes a command that only break-glass permits.
    fn note_glass_use(&mut self, now: Instant, identity: &Identity, sender: Option<SenderId>, command: u16) {
        let scopes = command_scope(command);
        let live = self.devices.session_of(identity).and_then(|at| self.slots.live(at));
        if live.is_none_or(|live| live.granted().contains(scopes)) {
            return;
        }
        let Some(by) = sender.or_else(|| self.glasses.holder(identity)) else { return };
        let event = AuditEvent::BreakGlassUsed { identity: *identity, scopes, operator: operator(by) };
        self.audit.note(now, event);
    }

    /// Notes that somebody asked for break-glass, and what was said to it.
    pub(super) fn note_asked(
        &mut self,
        now: Instant,
        identity: &Identity,
        asked: &BreakGlass,
        refused: Option<CallError>,
    ) {
        let BreakGlass { scopes, by, reason, .. } = *asked;
        let outcome = refused.map_or_else(|| Name::from("Granted"), |error| Name::of_variant(&error));
        let operator = operator(by);
        let event = AuditEvent::BreakGlassAsked { identity: *identity, scopes, operator, reason, outcome };
        self.audit.note(now, event);
    }

    fn serial_of(&self, identity: &Identity) -> Option<u32> {
        let at = self.devices.session_of(identity)?;
        self.slots.live(at)?.descent.contents(*identity).map(|contents| contents.serial)
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
