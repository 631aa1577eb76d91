//! The operator's policy: what each device may do, and who may command it. Deny by default.

use super::commands::{Command, CommandId};
use super::event::BackendEvent;
use super::{Backend, Path};
use crate::error::CallError;
use crate::identity::{Identity, Scopes};
use crate::time::Instant;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

/// Who of the service gives a command or breaks the glass, by the service's own number. Never a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SenderId(pub u64);

/// A part that staff and programs of the service play, such as nurse or dosing system: the service's own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Duty(pub u16);

/// What the operator lets devices and staff do. It only ever narrows what the credentials permit.
pub trait Policy {
    /// Returns what a device may do, of the scopes that its credential permits: for [`Grant::scopes`](super::Grant::scopes).
    fn scopes(&self, device: &Identity, permitted: Scopes) -> Scopes;

    /// Tells whether `sender` may have a device do a command of this kind.
    fn permits_command(&self, sender: SenderId, device: &Identity, kind: u16) -> bool;
}

/// A policy as a table: scopes for all devices or for single ones, duties of senders, kinds of commands of duties. What it
/// does not name is denied.
///
/// ```
/// use vitalwire::backend::{Duty, Policy, Rules, SenderId};
/// use vitalwire::identity::{Identity, IssuerId, Scopes, SubjectId};
/// const NURSE: Duty = Duty(1);
/// let pump = Identity { issuer: IssuerId([1; 8]), subject: SubjectId([2; 16]) };
/// let mut rules = Rules::new(1000);
/// rules.allow_devices(Scopes::MEASUREMENTS | Scopes::ALARMS);
/// rules.allow_device(pump, Scopes::PUBLISH | Scopes::COMMANDS)?;
/// rules.allow_commands(NURSE, 1..=9)?;
/// rules.assign(SenderId(7), NURSE)?;
/// assert!(rules.permits_command(SenderId(7), &pump, 9));
/// assert!(!rules.permits_command(SenderId(7), &pump, 10));
/// assert!(!rules.permits_command(SenderId(8), &pump, 9));
/// # Ok::<(), vitalwire::CallError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rules {
    cap: usize,
    all: Scopes,
    devices: BTreeMap<Identity, Scopes>,
    duties: BTreeMap<SenderId, Vec<Duty>>,
    kinds: BTreeMap<Duty, Vec<RangeInclusive<u16>>>,
    entries: usize,
}

impl Rules {
    /// Makes a table that permits nothing, with room for `cap` entries.
    pub const fn new(cap: usize) -> Self {
        Self {
            cap,
            all: Scopes::NONE,
            devices: BTreeMap::new(),
            duties: BTreeMap::new(),
            kinds: BTreeMap::new(),
            entries: 0,
        }
    }

    /// Says what devices may do that have no entry of their own.
    pub fn allow_devices(&mut self, scopes: Scopes) {
        self.all = scopes;
    }

    /// Says what one device may do, in the place of what holds for all.
    ///
    /// # Errors
    /// [`CallError::BadGrant`] if the table is full; nothing has changed then.
    pub fn allow_device(&mut self, device: Identity, scopes: Scopes) -> Result<(), CallError> {
        if !self.devices.contains_key(&device) {
            self.take_entry()?;
        }
        self.devices.insert(device, scopes);
        Ok(())
    }

    /// Lets all who have a duty give commands of these kinds.
    ///
    /// # Errors
    /// As [`Rules::allow_device`].
    pub fn allow_commands(&mut self, duty: Duty, kinds: RangeInclusive<u16>) -> Result<(), CallError> {
        self.take_entry()?;
        self.kinds.entry(duty).or_default().push(kinds);
        Ok(())
    }

    /// Gives a sender a duty, besides those that he has.
    ///
    /// # Errors
    /// As [`Rules::allow_device`].
    pub fn assign(&mut self, sender: SenderId, duty: Duty) -> Result<(), CallError> {
        self.take_entry()?;
        self.duties.entry(sender).or_default().push(duty);
        Ok(())
    }

    /// Takes all duties from a sender.
    pub fn dismiss(&mut self, sender: SenderId) {
        let duties = self.duties.remove(&sender).map_or(0, |duties| duties.len());
        self.entries = self.entries.saturating_sub(duties);
    }

    /// Forgets the entry of a device: what holds for all holds for it.
    pub fn forget_device(&mut self, device: &Identity) {
        if self.devices.remove(device).is_some() {
            self.entries = self.entries.saturating_sub(1);
        }
    }

    fn take_entry(&mut self) -> Result<(), CallError> {
        if self.entries >= self.cap {
            return Err(CallError::BadGrant("the table of rules is full"));
        }
        self.entries = self.entries.saturating_add(1);
        Ok(())
    }
}

impl Policy for Rules {
    fn scopes(&self, device: &Identity, permitted: Scopes) -> Scopes {
        self.devices.get(device).copied().unwrap_or(self.all) & permitted
    }

    fn permits_command(&self, sender: SenderId, _: &Identity, kind: u16) -> bool {
        let duties = self.duties.get(&sender).into_iter().flatten();
        duties.filter_map(|duty| self.kinds.get(duty)).flatten().any(|kinds| kinds.contains(&kind))
    }
}

impl<P: Path> Backend<P> {
    /// Has a device do something, if the operator's policy lets `sender` command it: as [`Backend::command`], with an event
    /// that says who gave it, or was refused.
    ///
    /// # Errors
    /// [`CallError::OutOfScope`] if the policy says no, before anything else; then as [`Backend::command`].
    pub fn command_by(
        &mut self,
        now: Instant,
        policy: &dyn Policy,
        sender: SenderId,
        identity: &Identity,
        command: Command<'_>,
    ) -> Result<CommandId, CallError> {
        let (kind, device) = (command.kind, *identity);
        //= SPEC.md#authorisation
        //# A backend MUST refuse a command that the policy of its operator does not permit to its sender.
        let given = match policy.permits_command(sender, identity, kind) {
            true => self.give_command(now, identity, Some(sender), command),
            false => {
                let denied = Err(CallError::OutOfScope);
                self.note_command(now, device, Some(sender), kind, denied);
                denied
            }
        };
        match given {
            Ok(id) => self.push_event(BackendEvent::Commanded { identity: device, sender, kind, id }),
            Err(CallError::OutOfScope) => {
                self.push_event(BackendEvent::CommandDenied { identity: device, sender, kind });
            }
            Err(_) => {}
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{IssuerId, SubjectId};

    fn device(number: u8) -> Identity {
        Identity { issuer: IssuerId([1; 8]), subject: SubjectId([number; 16]) }
    }

    #[test]
    fn an_empty_table_permits_nothing() {
        let rules = Rules::new(10);
        assert_eq!(rules.scopes(&device(1), Scopes::from_bits(u32::MAX)), Scopes::NONE);
        assert!((0..=u16::MAX).all(|kind| !rules.permits_command(SenderId(0), &device(1), kind)));
    }

    #[test]
    fn an_entry_of_a_device_takes_the_place_of_what_holds_for_all() {
        let mut rules = Rules::new(10);
        rules.allow_devices(Scopes::PUBLISH);
        rules.allow_device(device(1), Scopes::ALARMS).unwrap();
        let everything = Scopes::from_bits(u32::MAX);
        assert_eq!(rules.scopes(&device(1), everything), Scopes::ALARMS);
        assert_eq!(rules.scopes(&device(2), everything), Scopes::PUBLISH);
        assert_eq!(rules.scopes(&device(2), Scopes::EVENTS), Scopes::EVENTS, "never above the credential");
        rules.forget_device(&device(1));
        assert_eq!(rules.scopes(&device(1), everything), Scopes::PUBLISH);
    }

    #[test]
    fn duties_add_up_and_go_together() {
        let mut rules = Rules::new(10);
        rules.allow_commands(Duty(1), 1..=2).unwrap();
        rules.allow_commands(Duty(2), 40_000..=40_000).unwrap();
        rules.assign(SenderId(5), Duty(1)).unwrap();
        rules.assign(SenderId(5), Duty(2)).unwrap();
        rules.assign(SenderId(6), Duty(2)).unwrap();
        let of = |rules: &Rules, sender: u64| {
            [0, 1, 2, 3, 40_000].map(|kind| rules.permits_command(SenderId(sender), &device(1), kind))
        };
        assert_eq!(of(&rules, 5), [false, true, true, false, true]);
        assert_eq!(of(&rules, 6), [false, false, false, false, true]);
        rules.dismiss(SenderId(5));
        assert_eq!(of(&rules, 5), [false; 5]);
    }

    #[test]
    fn the_table_is_bounded_and_gives_room_back() {
        let mut rules = Rules::new(3);
        rules.allow_device(device(1), Scopes::NONE).unwrap();
        rules.allow_device(device(1), Scopes::ALARMS).unwrap();
        rules.assign(SenderId(1), Duty(1)).unwrap();
        rules.assign(SenderId(1), Duty(2)).unwrap();
        let full = Err(CallError::BadGrant("the table of rules is full"));
        assert_eq!(rules.allow_device(device(2), Scopes::NONE), full);
        assert_eq!(rules.allow_commands(Duty(1), 0..=1), full);
        assert_eq!(rules.assign(SenderId(2), Duty(1)), full);
        rules.dismiss(SenderId(1));
        rules.forget_device(&device(1));
        (0..3).for_each(|kind| rules.allow_commands(Duty(1), kind..=kind).unwrap());
        assert_eq!(rules.allow_commands(Duty(1), 0..=1), full);
    }
}
