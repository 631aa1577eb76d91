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
}

/// The devices of one shard that have a session or an uncommitted batch.
#[derive(Default)]
pub(super) struct Devices {
    by_identity: BTreeMap<Identity, u32>,
    entries: Vec<Option<Device>>,
    free: Vec<u32>,
    generation: u32,
}

impl Devices {
    /// Finds or makes the entry of a device that gets a session; `None` if its ledger and ours do not fit together.
    pub(super) fn enter(&mut self, identity: Identity, ledger: Ledger) -> Option<u32> {
        if let Some(&at) = self.by_identity.get(&identity) {
            let device = self.entries.get_mut(at as usize)?.as_mut()?;
            device.inbox.merge(&ledger).ok()?;
            device.sessions = device.sessions.saturating_add(1);
            return Some(at);
        }
        self.generation = self.generation.wrapping_add(1);
        let inbox = Inbox::new(ledger, self.generation);
        let device = Device { identity, inbox, current: None, sessions: 1 };
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

    /// Keeps the entry of a device, if there is one, for a handshake that waits for the application: what is committed
    /// meanwhile is not in the ledger that the application may have read already. Give it back with `leave`.
    pub(super) fn hold(&mut self, identity: &Identity) -> Option<u32> {
        let at = *self.by_identity.get(identity)?;
        let device = self.get_mut(at)?;
        device.sessions = device.sessions.saturating_add(1);
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

    /// Forgets a device that has neither session nor uncommitted batch.
    pub(super) fn tidy(&mut self, at: u32) {
        let idle = |device: &Device| device.sessions == 0 && device.inbox.outstanding() == 0;
        if let Some(slot) = self.entries.get_mut(at as usize)
            && let Some(device) = slot.take_if(|device| idle(device))
        {
            self.by_identity.remove(&device.identity);
            self.free.push(at);
        }
    }

    /// Finds the proved session of an identity.
    pub(super) fn session_of(&self, identity: &Identity) -> Option<SlotRef> {
        self.by_identity.get(identity).and_then(|&at| self.get(at)).and_then(|device| device.current)
    }

    pub(super) fn len(&self) -> usize {
        self.by_identity.len()
    }
}
