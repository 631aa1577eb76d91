//! Live change of what a device may do, and break-glass: more than the operator's policy says, for a while, audited.

use super::event::{BackendEvent, SlotRef};
use super::halfopen::Verdict;
use super::live::Live;
use super::policy::{Policy, SenderId};
use super::slots::Use;
use super::{Backend, Path};
use crate::audit::AuditEvent;
use crate::error::CallError;
use crate::identity::{Identity, Scopes};
use crate::limits::{MAX_BREAK_GLASS, MAX_BREAK_GLASS_LIFE, RESERVED_EVENTS};
use crate::time::{Duration, Instant};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// A grant beyond the operator's policy, in an emergency: never beyond the device's credential, never for long, and never
/// without its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BreakGlass {
    /// What the device may do besides.
    pub scopes: Scopes,
    /// Who has asked for it.
    pub by: SenderId,
    /// Why: the service's own code. No free text, which might name a patient.
    pub reason: u16,
    /// For how long, at most 12 hours, by the clock of `now`: setting the wall clock changes nothing.
    pub life: Duration,
}

/// One that is in force.
struct Glass {
    granted: BreakGlass,
    until: Instant,
    /// The serial number of the credential that the device's latest session descends from.
    serial: u32,
}

/// All that are in force, and the room for their events.
#[derive(Default)]
pub(super) struct Glasses {
    in_force: BTreeMap<Identity, Glass>,
    /// When the first one ends.
    due: Option<Instant>,
    /// Events of break-glass that wait for the application, and those that are to come.
    reserved: usize,
}

impl Glasses {
    fn scopes(&self, identity: &Identity) -> Scopes {
        self.in_force.get(identity).map_or(Scopes::NONE, |glass| glass.granted.scopes)
    }

    /// Returns how many are in force.
    pub(super) fn len(&self) -> usize {
        self.in_force.len()
    }

    /// Returns who asked for the one that is in force over a device.
    pub(super) fn holder(&self, identity: &Identity) -> Option<SenderId> {
        self.in_force.get(identity).map(|glass| glass.granted.by)
    }

    fn remove(&mut self, identity: &Identity) -> Option<Glass> {
        let glass = self.in_force.remove(identity)?;
        self.due = self.in_force.values().map(|glass| glass.until).min();
        Some(glass)
    }

    /// A session of the device is proved.
    pub(super) fn proved(&mut self, identity: &Identity, serial: u32) {
        if let Some(glass) = self.in_force.get_mut(identity) {
            glass.serial = serial;
        }
    }

    /// The application has taken an event: one of break-glass gives its place back.
    pub(super) fn polled(&mut self, event: &BackendEvent) {
        if matches!(event, BackendEvent::BreakGlassUsed { .. } | BackendEvent::BreakGlassEnded { .. }) {
            self.reserved = self.reserved.saturating_sub(1);
        }
    }
}

impl<P: Path> Backend<P> {
    /// Changes what a device may do, at once and in whatever sessions and accepted handshakes it has here: never more than
    /// its credential says. Returns what holds now.
    ///
    /// Records out of scope are refused from now on, also those that are under way; commands that were not sent yet are
    /// not sent. A break-glass grant that is in force stays. The device's next session goes by its own [`Grant`](super::Grant).
    ///
    /// # Errors
    /// [`CallError::NoSession`] if it has neither a session nor an accepted handshake here.
    ///
    /// ```
    /// use vitalwire::backend::Backend;
    /// use vitalwire::identity::{Identity, Scopes};
    /// use vitalwire::{CallError, Instant};
    /// fn alarms_only(now: Instant, backend: &mut Backend<u64>, device: &Identity) -> Result<(), CallError> {
    ///     backend.regrant(now, device, Scopes::ALARMS).map(|_| ())
    /// }
    /// ```
    pub fn regrant(
        &mut self,
        now: Instant,
        identity: &Identity,
        scopes: Scopes,
    ) -> Result<Scopes, CallError> {
        let mut found = None;
        //= SPEC.md#authorisation
        //# A backend MUST apply a changed grant to the sessions that there are, before it takes another record.
        // A session that is not proved yet must not bring the former scopes back: it is young, and found by its Hello.
        let young: Vec<SlotRef> = self.by_hello.values().copied().collect();
        for at in young.into_iter().chain(self.devices.session_of(identity)) {
            let own = self.identity_of(at) == Some(*identity);
            match self.slots.get_mut(at) {
                Some(Use::HalfOpen(half)) if half.identity() == Some(*identity) => {
                    if let Some(Verdict::Accepted(grant)) = &mut half.verdict {
                        grant.scopes = scopes;
                        found = found.or(Some(scopes));
                    }
                }
                Some(Use::Live(live)) if own && live.closing.is_none() => {
                    found = Some(self.set_scopes(now, at, scopes));
                }
                _ => {}
            }
        }
        found.ok_or(CallError::NoSession)
    }

    /// Asks the operator's policy anew about each device that has a session here, after the policy has changed.
    pub fn apply_policy(&mut self, now: Instant, policy: &dyn Policy) {
        let all: Vec<SlotRef> = self.slots.iter().map(|(at, _)| at).collect();
        let (mut asked, mut changed) = (0u32, 0u32);
        for at in all {
            let holder = self.identity_of(at);
            match self.slots.get_mut(at) {
                Some(Use::HalfOpen(half)) => {
                    // Its credential is not at hand here; what that lacks it never gets.
                    if let (Some(identity), Some(Verdict::Accepted(grant))) =
                        (half.identity(), &mut half.verdict)
                    {
                        let before = grant.scopes;
                        grant.scopes = policy.scopes(&identity, Scopes::from_bits(u32::MAX));
                        asked = asked.saturating_add(1);
                        changed = changed.saturating_add((before != grant.scopes).into());
                    }
                }
                Some(Use::Live(live)) => {
                    if let Some(identity) = holder {
                        let before = live.scopes;
                        let granted = policy.scopes(&identity, live.descent.scopes());
                        let after = self.set_scopes(now, at, granted);
                        asked = asked.saturating_add(1);
                        changed = changed.saturating_add((before != after).into());
                    }
                }
                _ => {}
            }
        }
        self.audit.note(now, AuditEvent::PolicyApplied { asked, changed });
    }

    /// Lets a device do more than the operator's policy says, for a while and on this shard: never more than its credential
    /// says. Returns what holds now.
    ///
    /// It outlasts the device's session, and ends with its time, with [`Backend::end_break_glass`], or when the credential
    /// is revoked. Another one takes the place of the one before. That it begins and that it ends are events that are
    /// never lost: where there is no room for both, nothing is granted. The audit log has that somebody asked, who and
    /// why, also if it was refused, and each command that only this permits.
    ///
    /// # Errors
    /// [`CallError::NoSession`] without a proved session; [`CallError::BadGrant`] if the time is none or above 12 hours, or
    /// 256 are in force; [`CallError::AuditBacklog`] if too many of these events wait: poll them.
    ///
    /// ```
    /// use vitalwire::backend::{Backend, BreakGlass, SenderId};
    /// use vitalwire::identity::{Identity, Scopes};
    /// use vitalwire::{CallError, Duration, Instant};
    /// const RESUSCITATION: u16 = 3;
    /// fn emergency(
    ///     now: Instant, backend: &mut Backend<u64>, monitor: &Identity, physician: SenderId,
    /// ) -> Result<Scopes, CallError> {
    ///     backend.break_glass(now, monitor, BreakGlass {
    ///         scopes: Scopes::WAVEFORMS | Scopes::COMMANDS,
    ///         by: physician,
    ///         reason: RESUSCITATION,
    ///         life: Duration::from_secs(3600),
    ///     })
    /// }
    /// ```
    pub fn break_glass(
        &mut self,
        now: Instant,
        identity: &Identity,
        grant: BreakGlass,
    ) -> Result<Scopes, CallError> {
        let found = self.check_glass(identity, &grant);
        self.note_asked(now, identity, &grant, found.err());
        let at = found?;
        self.end_glass(now, identity);
        let until = now + grant.life;
        let serial = self.slots.live(at).map_or(0, |live| live.descent.serial());
        self.glasses.reserved = self.glasses.reserved.saturating_add(2);
        self.glasses.in_force.insert(*identity, Glass { granted: grant, until, serial });
        self.glasses.due = Some(self.glasses.due.map_or(until, |due| due.min(until)));
        let BreakGlass { scopes, by, reason, life } = grant;
        self.tell(BackendEvent::BreakGlassUsed { identity: *identity, by, reason, scopes, life });
        Ok(self.review_scopes(now, at))
    }

    /// Tells in which session a grant would take effect, if it may.
    fn check_glass(&self, identity: &Identity, grant: &BreakGlass) -> Result<SlotRef, CallError> {
        let at = self.devices.session_of(identity).ok_or(CallError::NoSession)?;
        if self.slots.live(at).is_none_or(|live| live.closing.is_some()) {
            return Err(CallError::NoSession);
        }
        if grant.life == Duration::ZERO || grant.life > MAX_BREAK_GLASS_LIFE {
            return Err(CallError::BadGrant("its time is none, or more than 12 hours"));
        }
        let again = self.glasses.in_force.contains_key(identity);
        if self.glasses.in_force.len() >= MAX_BREAK_GLASS && !again {
            return Err(CallError::BadGrant("256 are in force already"));
        }
        //= SPEC.md#authorisation
        //# A backend MUST NOT grant break-glass unless it has room for the events that tell of its beginning and of its end.
        if self.glasses.reserved.saturating_add(2) > RESERVED_EVENTS {
            return Err(CallError::AuditBacklog);
        }
        Ok(at)
    }

    /// Ends a device's break-glass grant before its time.
    ///
    /// # Errors
    /// [`CallError::StaleHandle`] if none is in force.
    pub fn end_break_glass(&mut self, now: Instant, identity: &Identity) -> Result<(), CallError> {
        if self.end_glass(now, identity) { Ok(()) } else { Err(CallError::StaleHandle) }
    }

    pub(super) fn end_glass(&mut self, now: Instant, identity: &Identity) -> bool {
        let Some(Glass { granted, .. }) = self.glasses.remove(identity) else { return false };
        let BreakGlass { by, reason, .. } = granted;
        // Its place was kept when it was granted.
        self.tell(BackendEvent::BreakGlassEnded { identity: *identity, by, reason });
        let young: Vec<SlotRef> = self.by_hello.values().copied().collect();
        for at in young.into_iter().chain(self.devices.session_of(identity)) {
            if self.identity_of(at) == Some(*identity) {
                self.review_scopes(now, at);
            }
        }
        true
    }

    /// Ends the break-glass grants of devices whose credential is revoked, whether they have a session or not.
    pub(super) fn end_revoked_glasses(&mut self, now: Instant) {
        let glasses = self.glasses.in_force.iter();
        let revoked = glasses.filter(|(identity, glass)| self.is_revoked(identity, glass.serial));
        let revoked: Vec<Identity> = revoked.map(|(identity, _)| *identity).collect();
        for identity in revoked {
            self.end_glass(now, &identity);
        }
    }

    /// Pushes an event for which a place was kept: it is never lost.
    fn tell(&mut self, event: BackendEvent) {
        self.note_event(&event);
        self.events.push_back(event);
    }

    /// Ends the break-glass grants whose time is over.
    //= SPEC.md#authorisation
    //# A backend MUST end break-glass when its time is over, before it takes another record.
    pub(super) fn end_due_glasses(&mut self, now: Instant) {
        while self.glasses.due.is_some_and(|due| due <= now) {
            let over = self.glasses.in_force.iter().find(|(_, glass)| glass.until <= now);
            let Some(identity) = over.map(|(identity, _)| *identity) else { return };
            self.end_glass(now, &identity);
        }
    }

    /// Returns when the next break-glass grant ends.
    pub(super) const fn glass_due(&self) -> Option<Instant> {
        self.glasses.due
    }

    /// Sets a session's scopes as credential, policy and break-glass are now; returns them.
    //= SPEC.md#authorisation
    //# A backend MUST NOT grant a scope that the device's credential lacks.
    pub(super) fn review_scopes(&mut self, now: Instant, at: SlotRef) -> Scopes {
        let granted = self.slots.live(at).map_or(Scopes::NONE, Live::granted);
        self.set_scopes(now, at, granted)
    }

    /// As [`Self::review_scopes`], with what the policy grants from now on.
    fn set_scopes(&mut self, now: Instant, at: SlotRef, granted: Scopes) -> Scopes {
        let Some(identity) = self.identity_of(at) else { return Scopes::NONE };
        let Some(live) = self.slots.live_mut(at) else { return Scopes::NONE };
        let before = live.scopes;
        live.grant(granted, self.glasses.scopes(&identity));
        let scopes = live.scopes;
        if before != scopes && live.proved {
            self.push_event(BackendEvent::ScopesChanged { identity, before, scopes });
        }
        if !scopes.contains(before) {
            self.end_commands_beyond(now, at, scopes);
        }
        scopes
    }
}
