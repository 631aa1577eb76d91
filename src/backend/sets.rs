//! The descriptor sets that a shard knows: one copy each, for all devices that have it.

use crate::crypto::hash_parts;
use crate::error::CallError;
use crate::framing::{DescriptorSet, SetHash, Shape};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A descriptor set that devices share.
#[derive(Debug, PartialEq, Eq)]
pub struct SharedSet {
    hash: SetHash,
    bytes: Vec<u8>,
    /// So that a record's channel need not be read anew each time.
    shapes: Box<[Shape]>,
}

impl SharedSet {
    /// Checks an encoded set; `None` if it is none.
    pub(super) fn new(bytes: Vec<u8>) -> Option<Self> {
        let shapes = DescriptorSet::parse(&bytes).ok()?.shapes();
        Some(Self { hash: SetHash::from_digest(hash_parts(&[&bytes])), bytes, shapes })
    }

    /// Names a set that has not arrived: no set is empty.
    pub(super) fn awaited(hash: SetHash) -> Self {
        Self { hash, bytes: Vec::new(), shapes: Box::default() }
    }

    /// Returns the set.
    pub fn set(&self) -> DescriptorSet<'_> {
        DescriptorSet::checked_before(&self.bytes, &self.shapes)
    }

    /// Returns its hash: under this an application may store it, once for all records that refer to it.
    pub const fn hash(&self) -> SetHash {
        self.hash
    }

    /// Returns the encoded set: what [`DescriptorSet::parse`] and
    /// [`Backend::preload_descriptors`](super::Backend::preload_descriptors) take.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Sets by their hashes, bounded in number and bytes.
///
/// Sessions and batches keep the sets that they use themselves. So forgetting one costs the next session of a device
/// that has it one more transfer, and nothing else.
pub(super) struct SetCache {
    sets: BTreeMap<SetHash, Cached>,
    bytes: usize,
    max_sets: usize,
    max_bytes: usize,
    /// Counts up with every use.
    clock: u64,
}

struct Cached {
    set: Arc<SharedSet>,
    used: u64,
    /// The application brought it: it is not forgotten.
    preloaded: bool,
}

impl SetCache {
    pub(super) const fn new(max_sets: usize, max_bytes: usize) -> Self {
        Self { sets: BTreeMap::new(), bytes: 0, max_sets, max_bytes, clock: 0 }
    }

    /// Returns how many sets there are, and their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.sets.len(), self.bytes)
    }

    /// Finds a set that a device names.
    pub(super) fn find(&mut self, hash: SetHash) -> Option<Arc<SharedSet>> {
        self.clock = self.clock.saturating_add(1);
        let cached = self.sets.get_mut(&hash)?;
        cached.used = self.clock;
        Some(cached.set.clone())
    }

    pub(super) fn get(&self, hash: SetHash) -> Option<&Arc<SharedSet>> {
        self.sets.get(&hash).map(|cached| &cached.set)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<SharedSet>> {
        self.sets.values().map(|cached| &cached.set)
    }

    /// Keeps a set that a device has sent, if there is or can be made room for it.
    pub(super) fn learn(&mut self, set: Arc<SharedSet>) {
        if self.find(set.hash).is_none() {
            self.insert(Cached { set, used: self.clock, preloaded: false });
        }
    }

    /// Keeps a set that the application brings, for good.
    pub(super) fn preload(&mut self, set: SharedSet) -> Result<SetHash, CallError> {
        let hash = set.hash;
        if let Some(cached) = self.sets.get_mut(&hash) {
            cached.preloaded = true;
            return Ok(hash);
        }
        if self.insert(Cached { set: Arc::new(set), used: 0, preloaded: true }) {
            Ok(hash)
        } else {
            Err(CallError::InvalidConfig("the preloaded descriptor sets do not fit the cache"))
        }
    }

    fn insert(&mut self, cached: Cached) -> bool {
        let len = cached.set.bytes.len();
        while self.sets.len() >= self.max_sets || self.bytes.saturating_add(len) > self.max_bytes {
            // First those that no session and no batch has, the one first that was not named for the longest time.
            let rank = |cached: &Cached| (Arc::strong_count(&cached.set) > 1, cached.used);
            let others = self.sets.iter().filter(|(_, cached)| !cached.preloaded);
            let Some(hash) = others.min_by_key(|(_, cached)| rank(cached)).map(|(hash, _)| *hash) else {
                return false;
            };
            if let Some(old) = self.sets.remove(&hash) {
                self.bytes = self.bytes.saturating_sub(old.set.bytes.len());
            }
        }
        self.bytes = self.bytes.saturating_add(len);
        self.sets.insert(cached.set.hash, cached);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::{ChannelDescriptor, ChannelKind, Component, encode_descriptors};

    /// A set with one channel of its own: 13 bytes for each below 128.
    fn set(number: u8) -> SharedSet {
        let quantity = [Component::new(147_842, 264_864)];
        let channel = ChannelDescriptor::new(number, ChannelKind::Numeric, 147_842, (&quantity).into());
        let mut bytes = [0; 64];
        let len = encode_descriptors(&[channel], &mut bytes).unwrap();
        SharedSet::new(bytes[..len].to_vec()).unwrap()
    }

    fn numbers(cache: &SetCache) -> Vec<u8> {
        let mut numbers: Vec<u8> =
            cache.iter().map(|set| set.set().channels().next().unwrap().number).collect();
        numbers.sort();
        numbers
    }

    #[test]
    fn forgets_first_what_nobody_uses_and_was_not_named_for_long() {
        let mut cache = SetCache::new(3, 10_000);
        for number in [1, 2, 3] {
            cache.learn(Arc::new(set(number)));
        }
        let held = cache.find(set(1).hash()).unwrap();
        cache.learn(Arc::new(set(4)));
        assert_eq!(numbers(&cache), [1, 3, 4], "2 was not named for the longest time");
        assert!(cache.find(set(3).hash()).is_some());
        cache.learn(Arc::new(set(5)));
        cache.learn(Arc::new(set(6)));
        assert_eq!(numbers(&cache), [1, 5, 6], "1 is in use");
        drop(held);
        cache.learn(Arc::new(set(7)));
        assert_eq!(numbers(&cache), [5, 6, 7]);
    }

    #[test]
    fn forgets_a_set_in_use_rather_than_refuse_a_new_one() {
        let mut cache = SetCache::new(2, 10_000);
        let held = [1, 2].map(|number| {
            cache.learn(Arc::new(set(number)));
            cache.find(set(number).hash()).unwrap()
        });
        cache.learn(Arc::new(set(3)));
        assert_eq!(numbers(&cache), [2, 3]);
        assert_eq!(held[0].set().channels().next().unwrap().number, 1, "who has it keeps it");
    }

    #[test]
    fn keeps_within_its_bytes_exactly() {
        let len = set(1).as_bytes().len();
        let mut cache = SetCache::new(100, 2 * len);
        cache.learn(Arc::new(set(1)));
        cache.learn(Arc::new(set(2)));
        assert_eq!(numbers(&cache), [1, 2]);
        cache.learn(Arc::new(set(2)));
        assert_eq!(numbers(&cache), [1, 2], "the same one again takes no more room");
        cache.learn(Arc::new(set(3)));
        assert_eq!(cache.bytes, numbers(&cache).len() * len);
        let mut tight = SetCache::new(100, 2 * len - 1);
        tight.learn(Arc::new(set(1)));
        tight.learn(Arc::new(set(2)));
        assert_eq!(numbers(&tight), [2]);
    }

    #[test]
    fn what_was_preloaded_stays() {
        let mut cache = SetCache::new(2, 10_000);
        cache.learn(Arc::new(set(1)));
        assert_eq!(cache.preload(set(1)), Ok(set(1).hash()), "known already, and kept from now on");
        for number in 2..20 {
            cache.learn(Arc::new(set(number)));
        }
        assert_eq!(numbers(&cache), [1, 19]);
        assert!(cache.preload(set(30)).is_ok());
        assert!(matches!(cache.preload(set(31)), Err(CallError::InvalidConfig(_))));
        cache.learn(Arc::new(set(32)));
        assert_eq!(numbers(&cache), [1, 30]);
    }

    #[test]
    fn only_descriptor_sets_become_shared() {
        assert_eq!(SharedSet::new(Vec::from([2])), None);
        let one = set(1);
        assert_eq!(one.hash(), SetHash::from_digest(hash_parts(&[one.as_bytes()])));
        assert_eq!(DescriptorSet::parse(one.as_bytes()), Ok(one.set()));
    }
}
