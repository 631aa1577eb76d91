use super::{Item, StorageReply, StorageRequest};
use crate::framing::Lane;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use zeroize::Zeroize;

/// Serves the storage requests of a device from memory.
///
/// For tests, for simulators, and for devices whose memory outlives a restart of their firmware. It keeps the contract of
/// [this module](crate::storage) as long as the value lives; a power cut is a new device with the same storage. A clone is
/// an image of the whole: a test puts it back, and has a storage that was rolled back.
///
/// What a device hands out is sealed, so nothing here is secret. A deleted or replaced item is overwritten with zeros.
///
/// Each region and the items have a capacity in bytes, of what was handed over alone: the heap takes some more for each
/// entry. No entry of a device is shorter than [`ENTRY_OVERHEAD`](super::ENTRY_OVERHEAD), so the number of entries is
/// bounded too.
///
/// ```
/// use vitalwire::framing::Lane;
/// use vitalwire::storage::{MemoryStorage, StorageReply, StorageRequest};
/// // 1 KiB for each lane, 4 KiB for the items.
/// let mut storage = MemoryStorage::new([1024; 4], 4096);
/// let append = StorageRequest::Append { region: Lane::Alarm, entry: b"sealed" };
/// assert_eq!(storage.serve(append), StorageReply::Appended { number: 1, free: 1018 });
/// // The device reboots, and asks for what is there.
/// let read = StorageRequest::Read { region: Lane::Alarm, after: None };
/// assert_eq!(storage.serve(read), StorageReply::Entry { number: 1, bytes: b"sealed" });
/// // A test damages it.
/// storage.set_entry(Lane::Alarm, 1, Some(b"sEaled"));
/// assert!(storage.entries(Lane::Alarm).eq([(1, &b"sEaled"[..])]));
/// ```
///
/// With a [`Device`](crate::device::Device), the whole driver is:
/// ```
/// # #[cfg(feature = "pinned-device")] mod driver {
/// # use vitalwire::{Entropy, Instant, device::Device, storage::MemoryStorage};
/// fn serve(now: Instant, device: &mut Device<'_>, storage: &mut MemoryStorage, rng: &mut dyn Entropy) {
///     while let Some(request) = device.poll_storage(now, rng) {
///         let reply = storage.serve(request);
///         device.handle_storage(now, reply);
///     }
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryStorage {
    regions: [Region; Lane::ALL.len()],
    items: BTreeMap<Item, Vec<u8>>,
    capacity: usize,
}

#[derive(Clone)]
struct Region {
    entries: BTreeMap<u64, Vec<u8>>,
    /// The highest number that was given.
    last: u64,
    /// Bytes of all entries.
    used: usize,
    capacity: usize,
}

impl Region {
    const fn new(capacity: usize) -> Self {
        Self { entries: BTreeMap::new(), last: 0, used: 0, capacity }
    }

    fn append(&mut self, entry: &[u8]) -> StorageReply<'static> {
        let free = self.capacity.saturating_sub(self.used).checked_sub(entry.len());
        let (Some(free), Some(number)) = (free, self.last.checked_add(1)) else { return StorageReply::Full };
        self.set(number, Some(entry));
        StorageReply::Appended { number, free: u32::try_from(free).unwrap_or(u32::MAX) }
    }

    fn set(&mut self, number: u64, entry: Option<&[u8]>) {
        let before = match entry {
            Some(entry) => {
                self.last = self.last.max(number);
                self.used = self.used.saturating_add(entry.len());
                self.entries.insert(number, entry.to_vec())
            }
            None => self.entries.remove(&number),
        };
        self.used = self.used.saturating_sub(before.map_or(0, |before| before.len()));
    }

    fn read(&self, after: Option<u64>) -> StorageReply<'_> {
        let Some(from) = after.map_or(Some(0), |after| after.checked_add(1)) else {
            return StorageReply::End;
        };
        let next = self.entries.range(from..).next();
        next.map_or(StorageReply::End, |(number, bytes)| StorageReply::Entry { number: *number, bytes })
    }

    fn trim(&mut self, through: u64) {
        while let Some(first) = self.entries.first_entry().filter(|first| *first.key() <= through) {
            self.used = self.used.saturating_sub(first.remove().len());
        }
    }
}

impl MemoryStorage {
    /// Makes an empty storage: how many bytes of entries each region takes, in the order of [`Lane::ALL`], and how many
    /// bytes of items there may be.
    pub const fn new(regions: [usize; 4], items: usize) -> Self {
        let [alarm, event, trend, waveform] = regions;
        let regions = [Region::new(alarm), Region::new(event), Region::new(trend), Region::new(waveform)];
        Self { regions, items: BTreeMap::new(), capacity: items }
    }

    /// Changes how many bytes of entries a region takes; what is there stays.
    pub fn set_capacity(&mut self, region: Lane, bytes: usize) {
        self.region_mut(region).capacity = bytes;
    }

    /// Does what the device asks for, by the contract of [this module](crate::storage).
    ///
    /// Answers `Full` where a capacity would be exceeded, and never `Failed`.
    pub fn serve(&mut self, request: StorageRequest<'_>) -> StorageReply<'_> {
        match request {
            StorageRequest::Append { region, entry } => self.region_mut(region).append(entry),
            StorageRequest::Read { region, after } => self.region(region).read(after),
            StorageRequest::Trim { region, through } => {
                self.region_mut(region).trim(through);
                StorageReply::Done
            }
            StorageRequest::Put { item, value } => {
                let others = self.items().filter(|(name, _)| *name != item).map(|(_, value)| value.len());
                let needed = others.fold(value.len(), usize::saturating_add);
                if needed > self.capacity {
                    return StorageReply::Full;
                }
                self.set_item(item, Some(value));
                StorageReply::Done
            }
            StorageRequest::Get { item } => StorageReply::Value(self.item(item)),
            StorageRequest::Delete { item } => {
                self.set_item(item, None);
                StorageReply::Done
            }
        }
    }

    /// Returns the entries of a region with their numbers, the oldest first.
    pub fn entries(&self, region: Lane) -> impl DoubleEndedIterator<Item = (u64, &[u8])> {
        self.region(region).entries.iter().map(|(number, bytes)| (*number, bytes.as_slice()))
    }

    /// Returns how many bytes of entries a region holds.
    pub fn used(&self, region: Lane) -> usize {
        self.region(region).used
    }

    /// Returns all items, sorted.
    pub fn items(&self) -> impl DoubleEndedIterator<Item = (Item, &[u8])> {
        self.items.iter().map(|(item, value)| (*item, value.as_slice()))
    }

    /// Returns an item, if it is there.
    pub fn item(&self, item: Item) -> Option<&[u8]> {
        self.items.get(&item).map(Vec::as_slice)
    }

    /// Puts any bytes in the place of an entry, or takes it away, whatever the contract and the capacity say: to restore
    /// what was kept elsewhere, or to damage it in a test.
    ///
    /// Later entries have numbers above this one.
    pub fn set_entry(&mut self, region: Lane, number: u64, entry: Option<&[u8]>) {
        self.region_mut(region).set(number, entry);
    }

    /// Puts any bytes in the place of an item, or takes it away, whatever the capacity says.
    pub fn set_item(&mut self, item: Item, value: Option<&[u8]>) {
        let before = match value {
            Some(value) => self.items.insert(item, value.to_vec()),
            None => self.items.remove(&item),
        };
        if let Some(mut before) = before {
            before.as_mut_slice().zeroize();
        }
    }

    const fn region(&self, lane: Lane) -> &Region {
        let [alarm, event, trend, waveform] = &self.regions;
        match lane {
            Lane::Alarm => alarm,
            Lane::Event => event,
            Lane::Trend => trend,
            Lane::Waveform => waveform,
        }
    }

    const fn region_mut(&mut self, lane: Lane) -> &mut Region {
        let [alarm, event, trend, waveform] = &mut self.regions;
        match lane {
            Lane::Alarm => alarm,
            Lane::Event => event,
            Lane::Trend => trend,
            Lane::Waveform => waveform,
        }
    }
}

/// Makes an empty storage that takes all that the heap gives: for tests.
impl Default for MemoryStorage {
    fn default() -> Self {
        Self::new([usize::MAX; 4], usize::MAX)
    }
}

/// Shows how much is there, not the bytes.
impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let regions = Lane::ALL.map(|lane| (lane, self.region(lane).entries.len(), self.used(lane)));
        f.debug_struct("MemoryStorage")
            .field("lanes_entries_bytes", &regions)
            .field("items", &self.items.keys())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append<'a>(storage: &'a mut MemoryStorage, entry: &[u8]) -> StorageReply<'a> {
        storage.serve(StorageRequest::Append { region: Lane::Trend, entry })
    }

    fn numbers(storage: &MemoryStorage) -> Vec<u64> {
        storage.entries(Lane::Trend).map(|(number, _)| number).collect()
    }

    #[test]
    fn a_region_is_read_from_any_place_and_trimmed_from_the_front() {
        let mut storage = MemoryStorage::default();
        for byte in 1..=4u8 {
            let reply = append(&mut storage, &[byte; 3]);
            assert_eq!(reply, StorageReply::Appended { number: byte.into(), free: u32::MAX });
        }
        let trim = StorageRequest::Trim { region: Lane::Trend, through: 2 };
        assert_eq!(storage.serve(trim), StorageReply::Done);
        let mut read = |after| match storage.serve(StorageRequest::Read { region: Lane::Trend, after }) {
            StorageReply::Entry { number, bytes } => Some((number, bytes.to_vec())),
            reply => {
                assert_eq!(reply, StorageReply::End);
                None
            }
        };
        assert_eq!(read(None), Some((3, vec![3; 3])));
        assert_eq!(read(Some(3)), Some((4, vec![4; 3])));
        assert_eq!((read(Some(4)), read(Some(u64::MAX))), (None, None));
        assert_eq!(storage.used(Lane::Trend), 6);
        // Another lane's region has numbers and room of its own.
        let other = storage.serve(StorageRequest::Append { region: Lane::Alarm, entry: b"a" });
        assert_eq!(other, StorageReply::Appended { number: 1, free: u32::MAX });
    }

    #[test]
    fn numbers_are_not_given_again_after_a_trim_of_everything() {
        let mut storage = MemoryStorage::default();
        append(&mut storage, b"one");
        storage.serve(StorageRequest::Trim { region: Lane::Trend, through: u64::MAX });
        assert!(numbers(&storage).is_empty());
        append(&mut storage, b"two");
        assert_eq!(numbers(&storage), [2]);
    }

    #[test]
    fn a_full_region_keeps_what_it_has() {
        let mut storage = MemoryStorage::new([0, 0, 10, 0], 0);
        assert_eq!(append(&mut storage, &[1; 4]), StorageReply::Appended { number: 1, free: 6 });
        assert_eq!(append(&mut storage, &[2; 7]), StorageReply::Full);
        assert_eq!(append(&mut storage, &[2; 6]), StorageReply::Appended { number: 2, free: 0 });
        assert_eq!(append(&mut storage, &[3; 1]), StorageReply::Full);
        assert_eq!(numbers(&storage), [1, 2]);
        storage.serve(StorageRequest::Trim { region: Lane::Trend, through: 1 });
        assert_eq!(append(&mut storage, &[3; 4]), StorageReply::Appended { number: 3, free: 0 });
        storage.set_capacity(Lane::Trend, 5);
        assert_eq!(append(&mut storage, &[]), StorageReply::Appended { number: 4, free: 0 });
        assert_eq!(storage.used(Lane::Trend), 10);
    }

    #[test]
    fn the_last_number_is_followed_by_none() {
        let mut storage = MemoryStorage::default();
        storage.set_entry(Lane::Trend, u64::MAX, Some(b"restored"));
        assert_eq!(append(&mut storage, b"more"), StorageReply::Full);
        assert_eq!(numbers(&storage), [u64::MAX]);
    }

    #[test]
    fn items_are_replaced_and_deleted_within_their_capacity() {
        let mut storage = MemoryStorage::new([0; 4], 8);
        let put = |item, value| StorageRequest::Put { item, value };
        assert_eq!(storage.serve(put(Item::Boots, b"12345")), StorageReply::Done);
        assert_eq!(storage.serve(put(Item::Pin, b"1234")), StorageReply::Full);
        assert_eq!(storage.serve(put(Item::Boots, b"123456789")), StorageReply::Full);
        assert_eq!(
            storage.serve(put(Item::Boots, b"12345678")),
            StorageReply::Done,
            "in the place of the old"
        );
        let get = StorageRequest::Get { item: Item::Boots };
        assert_eq!(storage.serve(get), StorageReply::Value(Some(b"12345678")));
        assert_eq!(storage.serve(StorageRequest::Delete { item: Item::Boots }), StorageReply::Done);
        assert_eq!(storage.serve(get), StorageReply::Value(None));
        assert_eq!(storage.serve(put(Item::Pin, b"1234")), StorageReply::Done);
        assert!(storage.items().eq([(Item::Pin, &b"1234"[..])]));
    }

    #[test]
    fn a_clone_is_an_image_that_later_requests_do_not_change() {
        let mut storage = MemoryStorage::default();
        append(&mut storage, b"one");
        let image = storage.clone();
        append(&mut storage, b"two");
        storage.set_entry(Lane::Trend, 1, None);
        assert_eq!((numbers(&storage), numbers(&image)), (vec![2], vec![1]));
        assert_eq!((storage.used(Lane::Trend), image.used(Lane::Trend)), (3, 3));
        assert!(!format!("{image:?}").contains("111, 110"), "no bytes are shown");
    }
}
