//! Finds a device by its identity: a hash table that grows by one bucket at a time, so that no insertion waits for all.

use super::chunked::Chunked;
use super::devices::Device;
use crate::crypto::{HedgeKey, hash_parts};
use crate::identity::Identity;

/// The end of a chain.
pub(super) const NONE: u32 = u32::MAX;

/// Heads of chains of devices with equal hashes (linear hashing: Litwin 1980). A chain runs through [`Device::next`].
///
/// The hash is keyed with a secret of the service: nobody can choose identities that fall into one chain.
pub(super) struct Index {
    key: [u8; 32],
    buckets: Chunked<u32>,
    count: u32,
}

impl Index {
    pub(super) fn new(secret: &HedgeKey) -> Self {
        Self { key: secret.table_key(), buckets: Chunked::new(), count: 0 }
    }

    #[cfg(test)]
    pub(super) const fn len(&self) -> u32 {
        self.count
    }

    fn hash(&self, identity: &Identity) -> u32 {
        let [a, b, c, d, ..] = hash_parts(&[&self.key, &identity.issuer.0, &identity.subject.0]);
        u32::from_le_bytes([a, b, c, d])
    }

    /// The bucket of a hash: its low bits, one fewer where that bucket is not there yet.
    fn bucket(&self, hash: u32) -> u32 {
        let there = self.buckets.len() as u32;
        let mask = there.checked_next_power_of_two().unwrap_or(0).wrapping_sub(1);
        let bucket = hash & mask;
        if bucket < there { bucket } else { hash & (mask >> 1) }
    }

    pub(super) fn find(&self, entries: &Chunked<Option<Device>>, identity: &Identity) -> Option<u32> {
        let mut at = *self.buckets.get(self.bucket(self.hash(identity)))?;
        while at != NONE {
            let device = entries.get(at)?.as_ref()?;
            if device.identity == *identity {
                return Some(at);
            }
            at = device.next;
        }
        None
    }

    /// Adds a device that is not there yet.
    pub(super) fn insert(&mut self, entries: &mut Chunked<Option<Device>>, identity: &Identity, at: u32) {
        if self.count as usize >= self.buckets.len() {
            self.split(entries);
        }
        self.count = self.count.saturating_add(1);
        self.link(entries, self.bucket(self.hash(identity)), at);
    }

    fn link(&mut self, entries: &mut Chunked<Option<Device>>, bucket: u32, at: u32) {
        if let Some(head) = self.buckets.get_mut(bucket)
            && let Some(Some(device)) = entries.get_mut(at)
        {
            device.next = core::mem::replace(head, at);
        }
    }

    /// Adds a bucket, and moves there what belongs there of the one bucket where it was before.
    fn split(&mut self, entries: &mut Chunked<Option<Device>>) {
        let new = self.buckets.len() as u32;
        self.buckets.push(NONE);
        // The new one's number without its highest bit.
        let Some(old) = new.checked_ilog2().map(|top| new & !1u32.wrapping_shl(top)) else { return };
        let mut at = self.buckets.get_mut(old).map_or(NONE, |head| core::mem::replace(head, NONE));
        while let Some(Some(device)) = entries.get(at) {
            let (next, bucket) = (device.next, self.bucket(self.hash(&device.identity)));
            self.link(entries, bucket, at);
            at = next;
        }
    }

    /// Takes a device out.
    pub(super) fn remove(&mut self, entries: &mut Chunked<Option<Device>>, identity: &Identity, at: u32) {
        let Some(Some(next)) = entries.get(at).map(|entry| entry.as_ref().map(|device| device.next)) else {
            return;
        };
        let bucket = self.bucket(self.hash(identity));
        let Some(head) = self.buckets.get_mut(bucket) else { return };
        if *head == at {
            *head = next;
            self.count = self.count.saturating_sub(1);
            return;
        }
        let mut before = *head;
        while let Some(Some(device)) = entries.get_mut(before) {
            if device.next == at {
                device.next = next;
                self.count = self.count.saturating_sub(1);
                return;
            }
            before = device.next;
        }
    }
}
