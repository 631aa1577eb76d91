//! Descriptor sets: which stream has which, and how one arrives in pieces.

use super::event::{BackendEvent, SlotRef};
use super::live::Live;
use super::{Backend, Path, SharedSet};
use crate::delivery::{IndexedStream, NamedSet, StreamKey, StreamsCheck};
use crate::error::{CallError, CloseReason};
use crate::framing::{BootTag, DescriptorsFrame, SetHash, StreamsFrame};
use crate::limits::MAX_DESCRIPTOR_SET;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A descriptor set that arrives in pieces, in any order.
pub(super) struct Assembly {
    hash: SetHash,
    bytes: Vec<u8>,
    /// Which bytes have arrived.
    there: [u64; MAX_DESCRIPTOR_SET / 64],
}

impl Assembly {
    fn new(hash: SetHash, piece: &DescriptorsFrame<'_>) -> Self {
        let total = usize::from(piece.total).min(MAX_DESCRIPTOR_SET);
        Self { hash, bytes: alloc::vec![0; total], there: [0; _] }
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

/// The set that a session has a name of: the one that all share, or an empty one until it has arrived.
#[derive(Clone)]
pub(super) struct SetSlot(Arc<SharedSet>);

impl SetSlot {
    pub(super) fn known(&self) -> Option<&Arc<SharedSet>> {
        Some(&self.0).filter(|set| !set.as_bytes().is_empty())
    }
}

impl From<SetHash> for SetSlot {
    fn from(hash: SetHash) -> Self {
        Self(Arc::new(SharedSet::awaited(hash)))
    }
}

impl NamedSet for SetSlot {
    fn hash(&self) -> SetHash {
        self.0.hash()
    }
}

impl<P: Path> Live<P> {
    /// Returns a set that the session uses, if it has arrived.
    pub(super) fn set(&self, hash: SetHash) -> Option<&Arc<SharedSet>> {
        self.streams.sets().find(|(_, _, set)| set.hash() == hash)?.2.known()
    }

    /// Returns the largest set that is known of this stream's boot.
    pub(super) fn sister_set(&self, stream: &StreamKey) -> Option<Arc<SharedSet>> {
        let of_boot = self.sets_of(stream.boot, stream.tag);
        of_boot.max_by_key(|set| set.as_bytes().len()).cloned()
    }

    /// Lists the known sets of a boot.
    fn sets_of(&self, boot: u32, tag: BootTag) -> impl Iterator<Item = &Arc<SharedSet>> {
        let of_boot = self.streams.sets().filter(move |(own, own_tag, _)| (*own, *own_tag) == (boot, tag));
        of_boot.filter_map(|(_, _, set)| set.known())
    }

    /// Takes a set for the indices that stand for it, and sees to an Ack that names them, which shows that it is known.
    /// Tells whether it goes with what else is known of its boots.
    fn learn(&mut self, set: &Arc<SharedSet>) -> bool {
        let hash = set.hash();
        for slot in self.streams.sets_mut().filter(|slot| slot.hash() == hash) {
            *slot = SetSlot(set.clone());
        }
        //= SPEC.md#growing-sets
        //# A backend MUST close the session with reason 2 where it knows two sets of a boot and neither has every channel of the other unchanged.
        let goes_with = |other: &Arc<SharedSet>| {
            let (set, other) = (set.set(), other.set());
            set.extends(&other) || other.extends(&set)
        };
        let all_good = |known: IndexedStream| self.sets_of(known.key.boot, known.key.tag).all(goes_with);
        let good = self.streams.iter().filter(|known| known.set == hash).all(all_good);
        self.acknowledge(hash);
        good
    }

    /// Sees to an Ack that names the indices with this set.
    fn acknowledge(&mut self, hash: SetHash) {
        let indices = self.streams.iter().filter(|known| known.set == hash);
        let bits = indices.fold(0, |bits, known| bits | 1u16.checked_shl(known.index.into()).unwrap_or(0));
        self.dirty |= bits;
    }
}

impl<P: Path> Backend<P> {
    /// Makes a descriptor set known before any device sends it, and keeps it for good: of a known model, or one that was
    /// stored with records. Devices that have it then never send it.
    ///
    /// # Errors
    /// [`CallError::BadDescriptors`]; [`CallError::InvalidConfig`] if it does not fit
    /// [`BackendConfig::max_sets`](super::BackendConfig::max_sets) and
    /// [`max_set_bytes`](super::BackendConfig::max_set_bytes) with what was preloaded before.
    ///
    /// ```
    /// use vitalwire::{CallError, backend::{Backend, Path}};
    /// /// Gives a backend that starts what the one before it knew.
    /// fn hand_over<P: Path>(old: &Backend<P>, new: &mut Backend<P>) -> Result<(), CallError> {
    ///     for set in old.descriptor_sets() {
    ///         let hash = new.preload_descriptors(set.as_bytes())?;
    ///         assert!(new.descriptors(hash).is_some());
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn preload_descriptors(&mut self, descriptors: &[u8]) -> Result<SetHash, CallError> {
        self.sets.preload(SharedSet::new(descriptors.to_vec()).ok_or(CallError::BadDescriptors)?)
    }

    /// Lists the descriptor sets that this shard remembers: those of its devices' models, and what was preloaded. The
    /// example is at [`preload_descriptors`](Self::preload_descriptors).
    pub fn descriptor_sets(&self) -> impl Iterator<Item = &Arc<SharedSet>> {
        self.sets.iter()
    }

    /// Finds a descriptor set that this shard remembers. The example is at
    /// [`preload_descriptors`](Self::preload_descriptors).
    pub fn descriptors(&self, hash: SetHash) -> Option<&Arc<SharedSet>> {
        self.sets.get(hash)
    }

    pub(super) fn handle_streams(&mut self, at: SlotRef, counter: u64, streams: &StreamsFrame<'_>) {
        let Some(live) = self.slots.live_mut(at) else { return };
        let check = live.streams.handle_streams(counter, streams);
        let mut good = check != StreamsCheck::Contradiction;
        for boot in streams.boots() {
            match live.set(boot.set).cloned().or_else(|| self.sets.find(boot.set)) {
                Some(set) => good = good && live.learn(&set),
                //= SPEC.md#descriptors-frame
                //# A backend MUST ask for the set of an index that it lacks whenever a Streams frame names the index or a Records frame comes under it.
                None => live.make_rare().wanted_set = boot.streams().next().map(|stream| stream.index),
            }
        }
        if !good {
            return self.close(at, CloseReason::ProtocolViolation);
        }
        if check == StreamsCheck::Overtaken {
            return;
        }
        //= SPEC.md#early-records
        //# A backend MUST NOT take the Streams frame of a Hello as complete before the session is proved.
        let mut streams = *streams;
        if !live.proved {
            if let Some(youth) = live.youth_mut() {
                youth.names_all = streams.complete;
            }
            streams.complete = false;
        }
        let device = live.device();
        let Some(device) = device.and_then(|device| self.devices.get_mut(device)) else { return };
        let identity = device.identity;
        if let Some(conflict) = device.inbox.handle_streams(&streams).conflict {
            self.push_event(BackendEvent::TagConflict { identity, conflict });
        }
    }

    //= SPEC.md#descriptors-frame
    //# A backend MUST take the pieces of a set in any order, and close the session with reason 2 where the whole does not have the hash or is no descriptor set.
    pub(super) fn handle_descriptors(&mut self, at: SlotRef, piece: &DescriptorsFrame<'_>) {
        let Some(live) = self.slots.live_mut(at) else { return };
        let Some(hash) = live.streams.get(piece.stream).map(|known| known.set) else { return };
        if live.set(hash).is_some() {
            // The device has not heard that it has arrived.
            return live.acknowledge(hash);
        }
        if let Some(set) = self.sets.find(hash) {
            // Another device has brought it meanwhile.
            return self.learn(at, &set);
        }
        let fits =
            |assembly: &Assembly| assembly.hash == hash && assembly.bytes.len() == usize::from(piece.total);
        let rare = live.make_rare();
        let mut assembly = match rare.assembly.take().filter(|assembly| fits(assembly)) {
            Some(assembly) => assembly,
            None => Box::new(Assembly::new(hash, piece)),
        };
        if !assembly.add(piece) {
            let end = usize::from(piece.offset).saturating_add(piece.bytes.len());
            if end == assembly.bytes.len() {
                // The device is through, and something was lost or comes late.
                rare.wanted_set = Some(piece.stream);
            }
            rare.assembly = Some(assembly);
            return;
        }
        rare.wanted_set = None;
        let Some(set) = SharedSet::new(assembly.bytes).filter(|set| set.hash() == hash) else {
            self.close(at, CloseReason::ProtocolViolation);
            return;
        };
        let set = Arc::new(set);
        self.learn(at, &set);
        self.sets.learn(set);
    }

    fn learn(&mut self, at: SlotRef, set: &Arc<SharedSet>) {
        if self.slots.live_mut(at).is_some_and(|live| !live.learn(set)) {
            self.close(at, CloseReason::ProtocolViolation);
        }
    }
}
