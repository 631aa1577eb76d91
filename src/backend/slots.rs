//! Slots for handshakes and sessions, found by connection id without hashing, and their timers.

use super::Path;
use super::chunked::Chunked;
use super::event::SlotRef;
use super::halfopen::HalfOpen;
use super::live::Live;
use crate::time::Instant;
use crate::wire::{ConnectionId, DATA_BIT};
use alloc::boxed::Box;
use alloc::collections::VecDeque;

/// The length of a backend's connection ids: 20 bits of slot, 4 of shard, 16 of generation.
pub(super) const CONNECTION_ID_LEN: usize = 5;
const SLOT_BITS: u32 = 20;
const SHARD_BITS: u32 = 4;
/// No place in the timers.
const NONE: u32 = u32::MAX;

/// What a slot is used for.
// What most slots are used for lies in the slot itself: a packet finds it there.
#[allow(clippy::large_enum_variant)]
pub(super) enum Use<P> {
    Free,
    HalfOpen(Box<HalfOpen<P>>),
    Live(Live<P>),
}

/// When a slot is to be looked at. As bytes, so that it takes twelve.
#[derive(Clone, Copy)]
struct Timer {
    wake: [u8; 8],
    slot: u32,
}

impl Timer {
    const fn new(wake: Instant, slot: u32) -> Self {
        Self { wake: wake.as_millis().to_le_bytes(), slot }
    }

    const fn wake(&self) -> Instant {
        Instant::from_millis(u64::from_le_bytes(self.wake))
    }
}

/// In this order, what every packet touches lies together.
#[repr(C)]
pub(super) struct Slot<P> {
    /// How often the slot was used before: tells stale references.
    uses: u32,
    /// Its place in the timers.
    timer: u32,
    /// What tells its connection ids, over restarts too.
    generation: u16,
    used: Use<P>,
}

impl<P: Path> Slot<P> {
    /// Reads a little of each line of memory that opening a packet needs.
    pub(super) fn touch(&self) -> u64 {
        u64::from(self.uses) ^ self.live_here().map_or(0, Live::touch)
    }

    /// Returns the session that is in it.
    pub(super) const fn live_here(&self) -> Option<&Live<P>> {
        match &self.used {
            Use::Live(live) => Some(live),
            _ => None,
        }
    }
}

/// What a packet touches of a session lies in six cache lines.
const HOT: usize = 384;
const _: () = assert!(size_of::<Slot<core::net::SocketAddr>>() <= HOT);

/// The table of one shard. A slot never moves: so what was in one leaves no copy of its keys behind.
pub(super) struct Slots<P> {
    slots: Chunked<Slot<P>>,
    free: VecDeque<u32>,
    cap: u32,
    shard: u8,
    /// A heap, the earliest first: at most one entry for each slot, which knows its place.
    timers: Chunked<Timer>,
    used: u32,
}

impl<P: Path> Slots<P> {
    pub(super) const fn new(cap: u32, shard: u8) -> Self {
        Self { slots: Chunked::new(), free: VecDeque::new(), cap, shard, timers: Chunked::new(), used: 0 }
    }

    /// Takes a slot for a handshake. First come those that were never used, then those that were freed longest ago. `salt`
    /// is any number that nobody knew before: so a connection id from before a restart hardly ever meets one of today, and
    /// is answered with a Reset.
    pub(super) fn insert(&mut self, half: Box<HalfOpen<P>>, salt: u16) -> Option<SlotRef> {
        if self.used >= self.cap {
            return None;
        }
        let used = Use::HalfOpen(half);
        let grown = u32::try_from(self.slots.len()).ok()?;
        let at = if grown < self.cap {
            self.slots.push(Slot { uses: 0, timer: NONE, generation: salt, used });
            SlotRef { slot: grown, uses: 0 }
        } else {
            let slot = self.free.pop_front()?;
            let entry = self.slots.get_mut(slot)?;
            entry.used = used;
            // Always another one than last time.
            entry.generation = entry.generation.wrapping_add(1).wrapping_add(salt / 2);
            SlotRef { slot, uses: entry.uses }
        };
        self.used = self.used.saturating_add(1);
        Some(at)
    }

    fn entry(&self, at: SlotRef) -> Option<&Slot<P>> {
        self.slots.get(at.slot).filter(|slot| slot.uses == at.uses)
    }

    fn entry_mut(&mut self, at: SlotRef) -> Option<&mut Slot<P>> {
        self.slots.get_mut(at.slot).filter(|slot| slot.uses == at.uses)
    }

    pub(super) fn get_mut(&mut self, at: SlotRef) -> Option<&mut Use<P>> {
        self.entry_mut(at).map(|slot| &mut slot.used)
    }

    pub(super) fn live(&self, at: SlotRef) -> Option<&Live<P>> {
        match &self.entry(at)?.used {
            Use::Live(live) => Some(live),
            _ => None,
        }
    }

    pub(super) fn live_mut(&mut self, at: SlotRef) -> Option<&mut Live<P>> {
        match self.get_mut(at)? {
            Use::Live(live) => Some(live),
            _ => None,
        }
    }

    pub(super) fn half_open(&self, at: SlotRef) -> Option<&HalfOpen<P>> {
        match &self.entry(at)?.used {
            Use::HalfOpen(half) => Some(half),
            _ => None,
        }
    }

    pub(super) fn half_open_mut(&mut self, at: SlotRef) -> Option<&mut HalfOpen<P>> {
        match self.get_mut(at)? {
            Use::HalfOpen(half) => Some(half),
            _ => None,
        }
    }

    /// Frees the slot of a handshake, and returns that.
    pub(super) fn take_half_open(&mut self, at: SlotRef) -> Option<Box<HalfOpen<P>>> {
        let used = self.get_mut(at)?;
        if !matches!(used, Use::HalfOpen(_)) {
            return None;
        }
        let taken = core::mem::replace(used, Use::Free);
        self.free(at);
        match taken {
            Use::HalfOpen(half) => Some(half),
            _ => None,
        }
    }

    /// Frees a slot; its references and its connection id are stale from now on. A session is dropped where it lies,
    /// which wipes its keys there.
    pub(super) fn free(&mut self, at: SlotRef) {
        let Some(entry) = self.entry_mut(at) else { return };
        entry.used = Use::Free;
        entry.uses = entry.uses.wrapping_add(1);
        self.free.push_back(at.slot);
        self.used = self.used.saturating_sub(1);
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
        self.iter().map(|(at, _)| at)
    }

    /// Returns how many slots are in use.
    pub(super) const fn used(&self) -> u32 {
        self.used
    }

    /// Finds the slot of a connection id that this shard gave out and that is still in use.
    pub(super) fn find(&self, id: &ConnectionId) -> Option<SlotRef> {
        let (slot, shard, generation) = split(id)?;
        let entry = self.slots.get(slot)?;
        let used = shard == self.shard && generation == entry.generation && !matches!(entry.used, Use::Free);
        used.then_some(SlotRef { slot, uses: entry.uses })
    }

    /// Returns the slot that a data packet names, whatever is in it.
    pub(super) fn peek(&self, packet: &[u8]) -> Option<&Slot<P>> {
        let (first, rest) = packet.split_first()?;
        let [a, b, c, ..] = *rest.first_chunk::<CONNECTION_ID_LEN>()?;
        let slot = u32::from_le_bytes([a, b, c, 0]) & ((1 << SLOT_BITS) - 1);
        if first & DATA_BIT == 0 { None } else { self.slots.get(slot) }
    }

    /// Lists the slots in use: for what concerns all of them, which is rare.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SlotRef, &Use<P>)> {
        let all = (0u32..).map_while(|slot| Some((slot, self.slots.get(slot)?)));
        let used = all.filter(|(_, entry)| !matches!(entry.used, Use::Free));
        used.map(|(slot, entry)| (SlotRef { slot, uses: entry.uses }, &entry.used))
    }

    /// Sees to it that the slot is looked at again at `at_latest`.
    pub(super) fn schedule(&mut self, at: SlotRef, at_latest: Instant) {
        let Some(place) = self.entry(at).map(|entry| entry.timer) else { return };
        let place = match self.timers.get_mut(place) {
            Some(timer) if timer.wake() <= at_latest => return,
            Some(timer) => {
                *timer = Timer::new(at_latest, at.slot);
                place
            }
            None => {
                self.timers.push(Timer::new(at_latest, at.slot));
                (self.timers.len() as u32).wrapping_sub(1)
            }
        };
        self.rise(place);
    }

    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers.get(0).map(Timer::wake)
    }

    /// Takes the next slot whose time has come; schedule it again after looking at it.
    pub(super) fn pop_timer(&mut self, now: Instant) -> Option<SlotRef> {
        while let Some(&timer) = self.timers.get(0)
            && timer.wake() <= now
        {
            let slot = timer.slot;
            self.remove_first();
            let Some(entry) = self.slots.get_mut(slot) else { continue };
            entry.timer = NONE;
            // That of a slot that was freed is passed over.
            if !matches!(entry.used, Use::Free) {
                return Some(SlotRef { slot, uses: entry.uses });
            }
        }
        None
    }

    /// Puts an entry in its place in the heap.
    fn place(&mut self, at: u32, entry: Timer) {
        if let Some(to) = self.timers.get_mut(at) {
            *to = entry;
        }
        if let Some(slot) = self.slots.get_mut(entry.slot) {
            slot.timer = at;
        }
    }

    /// Moves an entry up until none that is later is above it.
    fn rise(&mut self, mut at: u32) {
        let Some(&entry) = self.timers.get(at) else { return };
        while at > 0 {
            let above = at.wrapping_sub(1) / 2;
            let Some(&parent) = self.timers.get(above).filter(|parent| parent.wake() > entry.wake()) else {
                break;
            };
            self.place(at, parent);
            at = above;
        }
        self.place(at, entry);
    }

    /// Takes the earliest entry out of the heap.
    fn remove_first(&mut self) {
        let Some(entry) = self.timers.pop() else { return };
        let mut at = 0u32;
        if self.timers.len() == 0 {
            return;
        }
        loop {
            let left = at.saturating_mul(2).saturating_add(1);
            let right = left.saturating_add(1);
            let child = |at: u32| self.timers.get(at).map(|child| (child.wake(), at));
            let Some((wake, lower)) = [child(left), child(right)].into_iter().flatten().min() else { break };
            if wake >= entry.wake() {
                break;
            }
            let Some(&child) = self.timers.get(lower) else { break };
            self.place(at, child);
            at = lower;
        }
        self.place(at, entry);
    }

    /// How many entries the timers have.
    #[cfg(test)]
    pub(super) fn timers(&self) -> usize {
        self.timers.len()
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

/// Tells which of `shards` shards is to take a Hello that comes from `path`; 0 if there are none.
///
/// Any shard could, but copies of a Hello must meet the one that answered it, and a cookie the one that gave it: both come
/// from the same path. It spreads paths evenly, and is no defence: whoever can choose his path can choose his shard.
///
/// ```
/// use vitalwire::backend::shard_of_hello;
/// let shards: Vec<u8> = (0..100u64).map(|path| shard_of_hello(&path, 4)).collect();
/// assert!((0..4).all(|shard| shards.iter().filter(|own| **own == shard).count() > 10));
/// ```
pub fn shard_of_hello<P: Path>(path: &P, shards: u8) -> u8 {
    // FNV-1a, 64 bits; the product's high half is even where the low one is not.
    let hash = path.with_bytes(|bytes| {
        let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
    });
    let spread = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    // Below `shards`, as a share of 2^32.
    ((spread >> 32).wrapping_mul(shards.into()) >> 32) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_order_with_one_entry_a_slot() {
        const SLOTS: u32 = 200;
        let mut slots = Slots::<u64>::new(SLOTS, 0);
        for _ in 0..SLOTS {
            slots.slots.push(Slot { uses: 0, timer: NONE, generation: 0, used: Use::Free });
        }
        let mut due = std::collections::BTreeMap::new();
        let mut random = 1u64;
        for step in 0..20_000u32 {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let (slot, wake) = ((random >> 33) as u32 % SLOTS, Instant::from_millis(random >> 50));
            if step % 3 == 0 {
                let first = due.iter().map(|(slot, wake)| (*wake, *slot)).min();
                assert_eq!(slots.next_timer(), first.map(|(wake, _)| wake), "step {step}");
                if let Some(Timer { slot, .. }) = slots.timers.get(0).copied() {
                    slots.remove_first();
                    slots.slots.get_mut(slot).unwrap().timer = NONE;
                    due.remove(&slot);
                }
            } else {
                slots.schedule(SlotRef { slot, uses: 0 }, wake);
                let known = due.entry(slot).or_insert(wake);
                *known = wake.min(*known);
            }
            assert_eq!(slots.timers(), due.len(), "step {step}");
        }
        assert!(due.len() > 50);
        // A stale reference sets no timer.
        slots.schedule(SlotRef { slot: 0, uses: 1 }, Instant::ZERO);
        assert_ne!(slots.next_timer(), Some(Instant::ZERO));
    }
}
