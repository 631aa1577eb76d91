//! One entry per identity: what is delivered and what committed, across its sessions.

use super::event::SlotRef;
use crate::delivery::{Inbox, Ledger};
use crate::identity::Identity;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

pub(super) struct Device {
    pub(super) identity: Identity,
    pub(super) inbox: Inbox,
    /// The proved session.
    pub(super) current: Option<SlotRef>,
    /// Sessions that refer to this entry, and handshakes that may become one.
    sessions: u32,
    /// How many sessions it was given, and the number of the latest one that was proved.
    given: u64,
    proved: u64,
    /// It had a session, and not only a handshake that waits.
    entered: bool,
}

/// A session's place: its device's entry, and which of the device's sessions it is, in the order of their acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) at: u32,
    pub(super) number: u64,
}

impl Device {
    /// A session is proved, unless one that was accepted later has been: the device has made no use of the earlier one
    /// since, so its packets are late.
    //= SPEC.md#handshake-timers
    //# A backend MUST end a session that is not proved when one that it has accepted later is, and deliver nothing of it.
    pub(super) fn prove(&mut self, number: u64) -> bool {
        let in_order = number > self.proved;
        self.proved = self.proved.max(number);
        in_order
    }
}

/// The devices of one shard that have a session, an uncommitted batch, or a handshake that waits for the application.
#[derive(Default)]
pub(super) struct Devices {
    by_identity: BTreeMap<Identity, u32>,
    entries: Vec<Option<Device>>,
    free: Vec<u32>,
    generation: u32,
    /// How many entries had a session.
    entered: usize,
}

impl Devices {
    /// Finds or makes the entry of a device that gets a session, and numbers that; `None` if its ledger and ours do not
    /// fit together.
    pub(super) fn enter(&mut self, identity: Identity, ledger: Ledger) -> Option<Seat> {
        let at = self.find_or_insert(identity)?;
        let device = self.entries.get_mut(at as usize)?.as_mut()?;
        if device.inbox.merge(&ledger).is_err() {
            self.tidy(at);
            return None;
        }
        device.sessions = device.sessions.saturating_add(1);
        if !device.entered {
            device.entered = true;
            self.entered = self.entered.saturating_add(1);
        }
        device.given = device.given.saturating_add(1);
        Some(Seat { at, number: device.given })
    }

    /// Keeps an entry for the device of a handshake that waits for the application: what other sessions commit
    /// meanwhile is not in the ledger that the application may have read already. Give it back with `leave`.
    pub(super) fn hold(&mut self, identity: &Identity) -> Option<u32> {
        let at = self.find_or_insert(*identity)?;
        let device = self.get_mut(at)?;
        device.sessions = device.sessions.saturating_add(1);
        Some(at)
    }

    fn find_or_insert(&mut self, identity: Identity) -> Option<u32> {
        if let Some(&at) = self.by_identity.get(&identity) {
            return Some(at);
        }
        self.generation = self.generation.wrapping_add(1);
        let inbox = Inbox::new(Ledger::default(), self.generation);
        let device =
            Device { identity, inbox, current: None, sessions: 0, given: 0, proved: 0, entered: false };
        let at = match self.free.pop() {
            Some(at) => {
                *self.entries.get_mut(at as usize)? = Some(device);
                at
            }
            None => {
                let at = u32::try_from(self.entries.len()).ok()?;
                self.entries.push(Some(device));
                at
            }
        };
        self.by_identity.insert(identity, at);
        Some(at)
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut Device> {
        self.entries.get_mut(at as usize)?.as_mut()
    }

    pub(super) fn get(&self, at: u32) -> Option<&Device> {
        self.entries.get(at as usize)?.as_ref()
    }

    /// A session of the device has ended.
    pub(super) fn leave(&mut self, at: u32, session: SlotRef) {
        if let Some(device) = self.get_mut(at) {
            device.sessions = device.sessions.saturating_sub(1);
            if device.current == Some(session) {
                device.current = None;
            }
        }
        self.tidy(at);
    }

    /// Forgets a device that has neither session nor handshake nor uncommitted batch.
    pub(super) fn tidy(&mut self, at: u32) {
        let idle = |device: &Device| device.sessions == 0 && device.inbox.outstanding() == 0;
        if let Some(slot) = self.entries.get_mut(at as usize)
            && let Some(device) = slot.take_if(|device| idle(device))
        {
            self.by_identity.remove(&device.identity);
            self.free.push(at);
            if device.entered {
                self.entered = self.entered.saturating_sub(1);
            }
        }
    }

    /// Finds the proved session of an identity.
    pub(super) fn session_of(&self, identity: &Identity) -> Option<SlotRef> {
        self.by_identity.get(identity).and_then(|&at| self.get(at)).and_then(|device| device.current)
    }

    /// Counts the batches that are delivered and neither committed nor released.
    pub(super) fn outstanding(&self) -> u32 {
        let of_all = self.entries.iter().flatten().map(|device| device.inbox.outstanding());
        of_all.fold(0u32, |sum, of_one| sum.saturating_add(u32::try_from(of_one).unwrap_or(u32::MAX)))
    }

    /// Counts the devices that have or had a session; a handshake that waits shows nobody as online.
    pub(super) const fn len(&self) -> usize {
        self.entered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::{Offer, StreamKey};
    use crate::framing::{BootTag, Lane};
    use crate::identity::{IssuerId, SubjectId};

    #[test]
    fn sessions_are_proved_in_the_order_of_their_acceptance() {
        let identity = Identity { issuer: IssuerId([1; 8]), subject: SubjectId([2; 16]) };
        let mut devices = Devices::default();
        let seats = [(); 3].map(|()| devices.enter(identity, Ledger::default()).unwrap());
        let entry = devices.get_mut(seats[0].at).unwrap();
        assert!(entry.prove(seats[1].number));
        assert!(!entry.prove(seats[0].number), "the device has begun another one since");
        assert!(entry.prove(seats[2].number));
    }

    #[test]
    fn a_handshake_that_waits_hears_what_other_sessions_commit() {
        let identity = Identity { issuer: IssuerId([1; 8]), subject: SubjectId([2; 16]) };
        let stream = StreamKey { boot: 1, tag: BootTag([3; 4]), lane: Lane::Event };
        let mut devices = Devices::default();
        // The application reads its ledger for one handshake: nothing is stored yet. Then another one is quicker.
        let held = devices.hold(&identity).unwrap();
        assert_eq!(devices.len(), 0, "nobody is online");
        let mut read = Ledger::default();
        read.settle_below(stream, 0).unwrap();
        let quick = devices.enter(identity, read.clone()).unwrap().at;
        assert_eq!(devices.len(), 1);
        let inbox = &mut devices.get_mut(quick).unwrap().inbox;
        let Offer::Deliver { batch, .. } = inbox.offer(stream, 0, 1) else { panic!("it is fresh") };
        inbox.commit(batch).unwrap();
        devices.leave(quick, SlotRef { slot: 1, uses: 1 });
        // The first one's session comes with the ledger of before.
        let slow = devices.enter(identity, read).unwrap().at;
        devices.leave(held, SlotRef { slot: 0, uses: 1 });
        assert_eq!(devices.get_mut(slow).unwrap().inbox.offer(stream, 0, 1), Offer::Repeated);
        devices.leave(slow, SlotRef { slot: 0, uses: 1 });
        assert_eq!((devices.len(), devices.by_identity.len()), (0, 0));
    }
}
