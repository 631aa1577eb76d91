//! One entry per identity: what is delivered and what committed, across its sessions.

use super::chunked::Chunked;
use super::event::SlotRef;
use super::index::{Index, NONE};
use crate::crypto::HedgeKey;
use crate::delivery::{Inbox, Ledger, Pending};
use crate::identity::Identity;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// The room for batches of so many devices that wait for the application is kept for others, once it is free.
const MAX_SPARE_ROOMS: usize = 1024;

pub(super) struct Device {
    pub(super) identity: Identity,
    pub(super) inbox: Inbox,
    /// The next device with the same place in the index.
    pub(super) next: u32,
    /// The proved session; [`OFFLINE`] if there is none.
    current: SlotRef,
    /// Sessions that refer to this entry, and handshakes that may become one: a few of an identity at a time.
    sessions: u16,
    /// How many sessions it was given, and the number of the latest one that was proved. Without any there is only a
    /// handshake that waits.
    given: u32,
    proved: u32,
}

/// No slot has this number.
const OFFLINE: SlotRef = SlotRef { slot: u32::MAX, uses: 0 };

/// A session's place: its device's entry, and which of the device's sessions it is, in the order of their acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) at: u32,
    pub(super) number: u32,
}

impl Device {
    /// Returns the proved session.
    pub(super) fn current(&self) -> Option<SlotRef> {
        Some(self.current).filter(|current| *current != OFFLINE)
    }

    /// Sets the proved session, and returns the one before.
    pub(super) fn take_over(&mut self, at: SlotRef) -> Option<SlotRef> {
        let before = self.current();
        self.current = at;
        before
    }

    /// Reads a little of each line of memory that a delivery needs; with `deep` of what lies behind that.
    pub(super) fn touch(&self, deep: bool) -> u64 {
        let [first, ..] = self.identity.issuer.0;
        self.inbox.touch(deep) ^ u64::from(first) ^ u64::from(self.next) ^ u64::from(self.proved)
    }

    /// A session is proved, unless one that was accepted later has been: the device has made no use of the earlier one
    /// since, so its packets are late.
    //= SPEC.md#handshake-timers
    //# A backend MUST end a session that is not proved when one that it has accepted later is, and deliver nothing of it.
    pub(super) fn prove(&mut self, number: u32) -> bool {
        let in_order = number > self.proved;
        self.proved = self.proved.max(number);
        in_order
    }
}

/// The devices of one shard that have a session, an uncommitted batch, or a handshake that waits for the application.
pub(super) struct Devices {
    by_identity: Index,
    entries: Chunked<Option<Device>>,
    free: Vec<u32>,
    generation: u32,
    /// How many entries had a session.
    entered: usize,
    /// Room for batches that wait, of devices that have none now: so a batch takes nothing from the heap.
    // Boxed, as an inbox has it: nothing is allocated when it changes hands.
    #[allow(clippy::vec_box)]
    spare_rooms: Vec<Box<Pending>>,
}

impl Devices {
    /// Makes an empty list. Who knows the secret could choose identities that are slow to find.
    pub(super) fn new(secret: &HedgeKey) -> Self {
        Self {
            by_identity: Index::new(secret),
            entries: Chunked::new(),
            free: Vec::new(),
            generation: 0,
            entered: 0,
            spare_rooms: Vec::new(),
        }
    }

    /// Finds or makes the entry of a device that gets a session, and numbers that; `None` if its ledger and ours do not
    /// fit together.
    pub(super) fn enter(&mut self, identity: Identity, ledger: Ledger) -> Option<Seat> {
        let at = self.find_or_insert(identity)?;
        let device = self.entries.get_mut(at)?.as_mut()?;
        if device.inbox.merge(&ledger).is_err() {
            self.tidy(at);
            return None;
        }
        device.sessions = device.sessions.saturating_add(1);
        if device.given == 0 {
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
        if let Some(at) = self.by_identity.find(&self.entries, &identity) {
            return Some(at);
        }
        self.generation = self.generation.wrapping_add(1);
        let inbox = Inbox::new(Ledger::default(), self.generation);
        let device =
            Device { identity, inbox, next: NONE, current: OFFLINE, sessions: 0, given: 0, proved: 0 };
        let at = match self.free.pop() {
            Some(at) => {
                *self.entries.get_mut(at)? = Some(device);
                at
            }
            None => {
                let at = u32::try_from(self.entries.len()).ok()?;
                self.entries.push(Some(device));
                at
            }
        };
        self.by_identity.insert(&mut self.entries, &identity, at);
        Some(at)
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut Device> {
        self.entries.get_mut(at)?.as_mut()
    }

    pub(super) fn get(&self, at: u32) -> Option<&Device> {
        self.entries.get(at)?.as_ref()
    }

    /// A session of the device has ended.
    pub(super) fn leave(&mut self, at: u32, session: SlotRef) {
        if let Some(device) = self.get_mut(at) {
            device.sessions = device.sessions.saturating_sub(1);
            if device.current == session {
                device.current = OFFLINE;
            }
        }
        self.tidy(at);
    }

    /// Finds the device that has brought a batch, and its inbox with room for it.
    pub(super) fn receiving(&mut self, at: u32) -> Option<(Identity, &mut Inbox)> {
        let device = self.entries.get_mut(at)?.as_mut()?;
        device.inbox.lend(|| self.spare_rooms.pop());
        Some((device.identity, &mut device.inbox))
    }

    /// Forgets a device that has neither session nor handshake nor uncommitted batch, and what an idle one needs not.
    pub(super) fn tidy(&mut self, at: u32) {
        let Some(device) = self.get_mut(at) else { return };
        let gone = device.sessions == 0 && device.inbox.outstanding() == 0;
        let (identity, entered, room) = (device.identity, device.given > 0, device.inbox.reclaim());
        if self.spare_rooms.len() < MAX_SPARE_ROOMS {
            self.spare_rooms.extend(room);
        }
        if gone {
            self.by_identity.remove(&mut self.entries, &identity, at);
            if let Some(entry) = self.entries.get_mut(at) {
                *entry = None;
            }
            self.free.push(at);
            if entered {
                self.entered = self.entered.saturating_sub(1);
            }
        }
    }

    /// Finds the proved session of an identity.
    pub(super) fn session_of(&self, identity: &Identity) -> Option<SlotRef> {
        self.get(self.by_identity.find(&self.entries, identity)?)?.current()
    }

    /// Counts the batches that are delivered and neither committed nor released.
    pub(super) fn outstanding(&self) -> u32 {
        let of_all =
            (0u32..).map_while(|at| self.entries.get(at)).flatten().map(|device| device.inbox.outstanding());
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

    fn devices() -> Devices {
        Devices::new(&HedgeKey::from_bytes([5; 32]))
    }

    fn identity(number: u32) -> Identity {
        let mut subject = [0; 16];
        subject[..4].copy_from_slice(&number.to_le_bytes());
        Identity { issuer: IssuerId([1; 8]), subject: SubjectId(subject) }
    }

    #[test]
    fn finds_each_device_and_no_other() {
        let mut devices = devices();
        let mut there = std::collections::BTreeMap::new();
        let mut random = 1u64;
        for step in 0..20_000 {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let number = (random >> 33) as u32 % 700;
            let found = devices.by_identity.find(&devices.entries, &identity(number));
            assert_eq!(found, there.get(&number).copied(), "step {step}");
            // More come than go at first, later more go.
            if found.is_none() && (random >> 20) % 10 < if step < 10_000 { 7 } else { 3 } {
                there.insert(number, devices.enter(identity(number), Ledger::default()).unwrap().at);
            } else if let Some(at) = found {
                devices.leave(at, SlotRef { slot: 0, uses: 0 });
                there.remove(&number);
            }
            assert_eq!((devices.len(), devices.by_identity.len() as usize), (there.len(), there.len()));
        }
        assert!(there.len() > 50);
        for (number, at) in there {
            assert_eq!(devices.by_identity.find(&devices.entries, &identity(number)), Some(at));
        }
    }

    #[test]
    fn sessions_are_proved_in_the_order_of_their_acceptance() {
        let identity = Identity { issuer: IssuerId([1; 8]), subject: SubjectId([2; 16]) };
        let mut devices = devices();
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
        let mut devices = devices();
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
