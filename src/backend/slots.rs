//! Slots for handshakes and sessions, found by connection id without hashing, and their timers.

use super::event::SlotRef;
use super::halfopen::HalfOpen;
use super::live::Live;
use crate::time::Instant;
use crate::wire::ConnectionId;
use alloc::boxed::Box;
use alloc::collections::{BinaryHeap, VecDeque};
use alloc::vec::Vec;
use core::cmp::Reverse;

/// The length of a backend's connection ids: 20 bits of slot, 4 of shard, 16 of generation.
pub(super) const CONNECTION_ID_LEN: usize = 5;
const SLOT_BITS: u32 = 20;
const SHARD_BITS: u32 = 4;

/// What a slot is used for.
pub(super) enum Use<P> {
    Free,
    HalfOpen(Box<HalfOpen<P>>),
    Live(Box<Live<P>>),
}

struct Slot<P> {
    /// How often the slot was used before: tells stale references.
    uses: u32,
    /// What tells its connection ids, over restarts too.
    generation: u16,
    used: Use<P>,
    /// The earliest entry of this slot in the timer heap.
    wake: Instant,
}

/// The table of one shard.
pub(super) struct Slots<P> {
    slots: Vec<Slot<P>>,
    free: VecDeque<u32>,
    cap: u32,
    shard: u8,
    timers: BinaryHeap<Reverse<(Instant, SlotRef)>>,
    used: u32,
}

impl<P> Slots<P> {
    pub(super) fn new(cap: u32, shard: u8) -> Self {
        Self { slots: Vec::new(), free: VecDeque::new(), cap, shard, timers: BinaryHeap::new(), used: 0 }
    }

    /// Takes a slot. First come those that were never used, then those that were freed longest ago. `salt` is any
    /// number that nobody knew before: so a connection id from before a restart hardly ever meets one of today, and
    /// is answered with a Reset.
    pub(super) fn insert(&mut self, used: Use<P>, salt: u16) -> Option<SlotRef> {
        if self.used >= self.cap {
            return None;
        }
        let grown = u32::try_from(self.slots.len()).ok()?;
        let at = if grown < self.cap {
            self.slots.push(Slot { uses: 0, generation: salt, used, wake: Instant::FAR_FUTURE });
            SlotRef { slot: grown, uses: 0 }
        } else {
            let slot = self.free.pop_front()?;
            let entry = self.slots.get_mut(slot as usize)?;
            entry.used = used;
            entry.wake = Instant::FAR_FUTURE;
            // Always another one than last time.
            entry.generation = entry.generation.wrapping_add(1).wrapping_add(salt / 2);
            SlotRef { slot, uses: entry.uses }
        };
        self.used = self.used.saturating_add(1);
        Some(at)
    }

    fn entry(&self, at: SlotRef) -> Option<&Slot<P>> {
        self.slots.get(at.slot as usize).filter(|slot| slot.uses == at.uses)
    }

    fn entry_mut(&mut self, at: SlotRef) -> Option<&mut Slot<P>> {
        self.slots.get_mut(at.slot as usize).filter(|slot| slot.uses == at.uses)
    }

    pub(super) fn get(&self, at: SlotRef) -> Option<&Use<P>> {
        self.entry(at).map(|slot| &slot.used)
    }

    pub(super) fn get_mut(&mut self, at: SlotRef) -> Option<&mut Use<P>> {
        self.entry_mut(at).map(|slot| &mut slot.used)
    }

    pub(super) fn live_mut(&mut self, at: SlotRef) -> Option<&mut Live<P>> {
        match self.get_mut(at)? {
            Use::Live(live) => Some(live),
            _ => None,
        }
    }

    pub(super) fn half_open_mut(&mut self, at: SlotRef) -> Option<&mut HalfOpen<P>> {
        match self.get_mut(at)? {
            Use::HalfOpen(half) => Some(half),
            _ => None,
        }
    }

    /// Frees a slot; its references and its connection id are stale from now on.
    pub(super) fn remove(&mut self, at: SlotRef) -> Option<Use<P>> {
        let entry = self.entry_mut(at)?;
        if matches!(entry.used, Use::Free) {
            return None;
        }
        let used = core::mem::replace(&mut entry.used, Use::Free);
        entry.uses = entry.uses.wrapping_add(1);
        self.free.push_back(at.slot);
        self.used = self.used.saturating_sub(1);
        Some(used)
    }

    /// Returns the number that a slot's connection id is.
    pub(super) fn number(&self, at: SlotRef) -> u64 {
        let generation = self.entry(at).map_or(0, |slot| slot.generation);
        u64::from(at.slot)
            | u64::from(self.shard) << SLOT_BITS
            | u64::from(generation) << (SLOT_BITS + SHARD_BITS)
    }

    pub(super) fn connection_id(&self, at: SlotRef) -> ConnectionId {
        let [a, b, c, d, e, ..] = self.number(at).to_le_bytes();
        ConnectionId::new(&[a, b, c, d, e]).unwrap_or_default()
    }

    /// Lists the slots that are in use.
    pub(super) fn in_use(&self) -> impl Iterator<Item = SlotRef> + '_ {
        let used = |(slot, entry): (u32, &Slot<P>)| {
            (!matches!(entry.used, Use::Free)).then_some(SlotRef { slot, uses: entry.uses })
        };
        (0u32..).zip(&self.slots).filter_map(used)
    }

    /// Returns how many slots are in use.
    pub(super) const fn used(&self) -> u32 {
        self.used
    }

    /// Finds the slot of a connection id that this shard gave out and that is still in use.
    pub(super) fn find(&self, id: &ConnectionId) -> Option<SlotRef> {
        let (slot, shard, generation) = split(id)?;
        let entry = self.slots.get(slot as usize)?;
        let used = shard == self.shard && generation == entry.generation && !matches!(entry.used, Use::Free);
        used.then_some(SlotRef { slot, uses: entry.uses })
    }

    /// Lists the slots in use: for what concerns all of them, which is rare.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SlotRef, &Use<P>)> {
        let used = (0u32..).zip(&self.slots).filter(|(_, entry)| !matches!(entry.used, Use::Free));
        used.map(|(slot, entry)| (SlotRef { slot, uses: entry.uses }, &entry.used))
    }

    /// Sees to it that the slot is looked at again at `at_latest`.
    pub(super) fn schedule(&mut self, at: SlotRef, at_latest: Instant) {
        let Some(entry) = self.entry_mut(at).filter(|entry| at_latest < entry.wake) else { return };
        entry.wake = at_latest;
        self.timers.push(Reverse((at_latest, at)));
    }

    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the next slot whose time has come; schedule it again after looking at it.
    pub(super) fn pop_timer(&mut self, now: Instant) -> Option<SlotRef> {
        while self.next_timer().is_some_and(|at| at <= now) {
            let Reverse((wake, at)) = self.timers.pop()?;
            // An entry that was overtaken by an earlier one, or whose slot is gone, is passed over.
            if let Some(entry) = self.entry_mut(at).filter(|entry| entry.wake == wake) {
                entry.wake = Instant::FAR_FUTURE;
                return Some(at);
            }
        }
        None
    }
}

/// Takes a backend's connection id apart: slot, shard, generation.
fn split(id: &ConnectionId) -> Option<(u32, u8, u16)> {
    let &[a, b, c, d, e] = id.as_bytes() else { return None };
    let number = u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]);
    let slot = (number as u32) & ((1 << SLOT_BITS) - 1);
    let shard = (number >> SLOT_BITS) as u8 & ((1 << SHARD_BITS) - 1);
    Some((slot, shard, (number >> (SLOT_BITS + SHARD_BITS)) as u16))
}

/// Tells the shard of a data packet or Finish from its bytes alone; `None` for a Hello, which any shard may take.
///
/// ```
/// use vitalwire::backend::shard_of;
/// assert_eq!(shard_of(&[0x80, 0, 0, 0x30, 0, 0, 7]), Some(3));
/// assert_eq!(shard_of(&[0x11, 1, 0]), None);
/// ```
pub fn shard_of(packet: &[u8]) -> Option<u8> {
    const FINISH: u8 = 0x13;
    let (first, rest) = packet.split_first()?;
    if first & 0x80 == 0 && *first != FINISH {
        return None;
    }
    let id = ConnectionId::new(rest.get(..CONNECTION_ID_LEN)?)?;
    split(&id).map(|(_, shard, _)| shard)
}
