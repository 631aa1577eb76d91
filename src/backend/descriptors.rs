//! Descriptor sets: which stream has which, and how one arrives in pieces.

use super::event::{BackendEvent, SharedSet, SlotRef};
use super::live::Live;
use super::{Backend, Path};
use crate::crypto::hash_parts;
use crate::delivery::StreamsCheck;
use crate::error::CloseReason;
use crate::framing::{DescriptorSet, DescriptorsFrame, SetHash, StreamsFrame};
use crate::limits::MAX_DESCRIPTOR_SET;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The descriptor set of one stream of a session.
pub(super) struct StreamSet {
    index: u8,
    hash: SetHash,
    set: Option<Arc<SharedSet>>,
}

/// A descriptor set that arrives in pieces, in any order.
pub(super) struct Assembly {
    hash: SetHash,
    bytes: Vec<u8>,
    /// Which bytes have arrived.
    there: [u64; MAX_DESCRIPTOR_SET / 64],
}

impl Assembly {
    fn new(piece: &DescriptorsFrame<'_>) -> Self {
        let total = usize::from(piece.total).min(MAX_DESCRIPTOR_SET);
        Self { hash: piece.hash, bytes: alloc::vec![0; total], there: [0; _] }
    }

    /// Takes a piece; tells whether the set is complete now.
    fn add(&mut self, piece: &DescriptorsFrame<'_>) -> bool {
        let start = usize::from(piece.offset);
        for (at, byte) in (start..).zip(piece.bytes) {
            if let (Some(to), Some(word)) = (self.bytes.get_mut(at), self.there.get_mut(at / 64)) {
                *to = *byte;
                *word |= 1u64.wrapping_shl(at as u32);
            }
        }
        let there: u32 = self.there.iter().map(|word| word.count_ones()).sum();
        there as usize == self.bytes.len()
    }
}

/// The first 8 bytes of BLAKE2s-256 of an encoded set.
fn set_hash(bytes: &[u8]) -> SetHash {
    let [a, b, c, d, e, f, g, h, ..] = hash_parts(&[bytes]);
    SetHash([a, b, c, d, e, f, g, h])
}

impl<P: Path> Live<P> {
    /// Returns the descriptor set of a stream index and its hash; `None` inside if it has not arrived.
    pub(super) fn set_of(&self, index: u8) -> Option<(SetHash, Option<Arc<SharedSet>>)> {
        self.sets.iter().find(|known| known.index == index).map(|known| (known.hash, known.set.clone()))
    }

    /// Tells whether a stream waits for this set.
    fn lacks(&self, hash: SetHash) -> bool {
        self.sets.iter().any(|known| known.hash == hash && known.set.is_none())
    }

    /// Gives the set to the streams that wait for it.
    fn learn(&mut self, hash: SetHash, set: &Arc<SharedSet>) {
        for known in self.sets.iter_mut().filter(|known| known.hash == hash) {
            known.set = Some(set.clone());
        }
        self.acknowledge(hash);
    }

    /// Sees to an Ack that names the streams with this set, which shows that it is known.
    fn acknowledge(&mut self, hash: SetHash) {
        for at in 0..self.sets.len() {
            let index = self.sets.get(at).filter(|known| known.hash == hash).map(|known| known.index);
            if let Some(index) = index {
                self.mark_dirty(index);
            }
        }
    }
}

impl<P: Path> Backend<P> {
    pub(super) fn handle_streams(&mut self, at: SlotRef, counter: u64, streams: &StreamsFrame<'_>) {
        let Some(live) = self.slots.live_mut(at) else { return };
        match live.streams.handle_streams(counter, streams) {
            StreamsCheck::Taken => {}
            StreamsCheck::Overtaken => return,
            StreamsCheck::Contradiction => {
                self.close(at, CloseReason::ProtocolViolation);
                return;
            }
        }
        for boot in streams.boots() {
            let set = self.sets.get(&boot.set.0);
            for stream in boot.streams() {
                live.sets.retain(|known| known.index != stream.index);
                live.sets.push(StreamSet { index: stream.index, hash: boot.set, set: set.cloned() });
                if set.is_some() {
                    live.mark_dirty(stream.index);
                }
            }
        }
        let (identity, device) = (live.identity, live.device);
        let Some(device) = device.and_then(|device| self.devices.get_mut(device)) else { return };
        if let Some(conflict) = device.inbox.handle_streams(streams).conflict {
            self.push_event(BackendEvent::TagConflict { identity, conflict });
        }
    }

    //= SPEC.md#descriptors-frame
    //# A backend MUST take the pieces of a set in any order, and close the session with reason 2 where the whole does not have the hash or is no descriptor set.
    pub(super) fn handle_descriptors(&mut self, at: SlotRef, piece: &DescriptorsFrame<'_>) {
        let Some(live) = self.slots.live_mut(at) else { return };
        if !live.lacks(piece.hash) {
            // The device has not heard that it has arrived.
            return live.acknowledge(piece.hash);
        }
        if let Some(set) = self.sets.get(&piece.hash.0) {
            // Another device has brought it meanwhile.
            return live.learn(piece.hash, set);
        }
        let fits = |assembly: &Assembly| {
            assembly.hash == piece.hash && assembly.bytes.len() == usize::from(piece.total)
        };
        let mut assembly = match live.assembly.take().filter(|assembly| fits(assembly)) {
            Some(assembly) => assembly,
            None => Box::new(Assembly::new(piece)),
        };
        if !assembly.add(piece) {
            let end = usize::from(piece.offset).saturating_add(piece.bytes.len());
            if end == assembly.bytes.len() {
                // The device is through, and something was lost or comes late.
                live.wanted_set = Some(piece.hash);
            }
            live.assembly = Some(assembly);
            return;
        }
        live.wanted_set = None;
        let (hash, bytes) = (assembly.hash, assembly.bytes);
        if set_hash(&bytes) != hash || DescriptorSet::parse(&bytes).is_err() {
            self.close(at, CloseReason::ProtocolViolation);
            return;
        }
        let set = Arc::new(SharedSet(bytes));
        live.learn(hash, &set);
        self.know_set(hash, set);
    }

    /// Keeps a set for all devices that have it; makes room by forgetting those that no session and no batch uses.
    fn know_set(&mut self, hash: SetHash, set: Arc<SharedSet>) {
        if self.sets.len() >= super::MAX_SETS {
            self.sets.retain(|_, set| Arc::strong_count(set) > 1);
        }
        if self.sets.len() < super::MAX_SETS {
            self.sets.insert(hash.0, set);
        }
    }
}
