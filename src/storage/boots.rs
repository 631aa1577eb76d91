//! The boots of which entries may be stored.

use super::seal::{ITEM_OVERHEAD, Purpose, item_body, open_item, seal_item};
use crate::codec::{DecodeError, Reader, Writer};
use crate::crypto::{Forged, StorageKey};
use crate::framing::{BootTag, SetHash};
use crate::limits::{MAX_DESCRIPTOR_SET, MAX_STORED_BOOTS};

/// Number, tag, place of the descriptors, hash of the set, salt.
const BOOT_LEN: usize = 4 + 4 + 1 + 16 + 32;
/// The longest value of [`Item::Boots`](super::Item::Boots), in bytes.
pub const BOOTS_ITEM_MAX: usize = ITEM_OVERHEAD + 4 + 4 + MAX_STORED_BOOTS * BOOT_LEN;

/// A boot of which entries may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBoot {
    /// Its number.
    pub number: u32,
    /// Its tag.
    pub tag: BootTag,
    /// Which [`Item::Descriptors`](super::Item::Descriptors) has its descriptor set, 0 to 15.
    pub place: u8,
    /// The hash of that set.
    pub set: SetHash,
    /// The salt of its entries' key.
    pub salt: [u8; 32],
}

/// The table of boots, oldest first, and who the latest boot is, whether or not it has stored anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootTable {
    /// The latest boot's number.
    pub latest: u32,
    /// Its tag.
    pub latest_tag: BootTag,
    boots: [Option<StoredBoot>; MAX_STORED_BOOTS],
}

impl BootTable {
    /// Makes an empty table.
    pub const fn new(latest: u32, latest_tag: BootTag) -> Self {
        Self { latest, latest_tag, boots: [None; MAX_STORED_BOOTS] }
    }

    /// Lists the boots, oldest first.
    pub fn boots(&self) -> impl Iterator<Item = &StoredBoot> {
        self.boots.iter().flatten()
    }

    /// Finds a boot and returns its place in [`BootTable::boots`].
    pub fn find(&self, number: u32, tag: BootTag) -> Option<(usize, &StoredBoot)> {
        self.boots().enumerate().find(|(_, boot)| (boot.number, boot.tag) == (number, tag))
    }

    /// Appends a boot, with the first place for descriptors that no other has; `false` if the table is full.
    pub fn push(&mut self, mut boot: StoredBoot) -> bool {
        let taken = |place: u8| self.boots().any(|other| other.place == place);
        let Some(place) = (0..MAX_STORED_BOOTS as u8).find(|&place| !taken(place)) else { return false };
        boot.place = place;
        let free = self.boots.iter_mut().find(|slot| slot.is_none());
        free.map(|slot| *slot = Some(boot)).is_some()
    }

    /// Keeps those boots for which `keep` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&StoredBoot) -> bool) {
        let mut kept = [None; MAX_STORED_BOOTS];
        for (slot, boot) in kept.iter_mut().zip(self.boots().filter(|boot| keep(boot))) {
            *slot = Some(*boot);
        }
        self.boots = kept;
    }

    /// Tells whether another boot finds no room.
    pub fn is_full(&self) -> bool {
        self.boots.iter().all(Option::is_some)
    }

    /// Says that this boot's descriptor set is another one now.
    pub fn set_hash(&mut self, number: u32, tag: BootTag, set: SetHash) {
        for boot in self.boots.iter_mut().flatten() {
            if (boot.number, boot.tag) == (number, tag) {
                boot.set = set;
            }
        }
    }

    /// Writes the sealed item to the front of `buffer` and returns its length; `salt` must be fresh random bytes.
    /// `None` if it does not fit: [`BOOTS_ITEM_MAX`] bytes always do.
    pub fn seal(&self, key: &StorageKey, salt: [u8; 32], buffer: &mut [u8]) -> Option<usize> {
        let mut out = Writer::new(item_body(buffer));
        out.u32(self.latest).ok()?;
        out.bytes(&self.latest_tag.0).ok()?;
        for boot in self.boots() {
            out.u32(boot.number).ok()?;
            out.bytes(&boot.tag.0).ok()?;
            out.u8(boot.place).ok()?;
            out.bytes(&boot.set.0).ok()?;
            out.bytes(&boot.salt).ok()?;
        }
        let len = out.len();
        seal_item(key, Purpose::Boots, salt, buffer, len)
    }

    /// Opens a sealed item in place.
    ///
    /// # Errors
    /// [`Forged`], whatever was wrong.
    pub fn open(key: &StorageKey, item: &mut [u8]) -> Result<Self, Forged> {
        let content = open_item(key, Purpose::Boots, item)?;
        Self::parse(content).map_err(|_| Forged)
    }

    fn parse(content: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(content);
        let mut table = Self::new(reader.u32()?, BootTag(reader.array()?));
        let mut slots = table.boots.iter_mut();
        while !reader.is_empty() {
            let slot = slots.next().ok_or(DecodeError::OutOfRange)?;
            *slot = Some(StoredBoot {
                number: reader.u32()?,
                tag: BootTag(reader.array()?),
                place: Some(reader.u8()?)
                    .filter(|place| usize::from(*place) < MAX_STORED_BOOTS)
                    .ok_or(DecodeError::OutOfRange)?,
                set: SetHash(reader.array()?),
                salt: reader.array()?,
            });
        }
        Ok(table)
    }
}

/// What a stored descriptor set takes besides its bytes.
pub const DESCRIPTORS_OVERHEAD: usize = ITEM_OVERHEAD;

/// Seals a boot's descriptor set into the front of `buffer` and returns the length; `salt` must be fresh random bytes.
/// `None` if it does not fit.
pub fn seal_descriptors(
    key: &StorageKey,
    boot: (u32, BootTag),
    salt: [u8; 32],
    set: &[u8],
    buffer: &mut [u8],
) -> Option<usize> {
    item_body(buffer).get_mut(..set.len())?.copy_from_slice(set);
    seal_item(key, Purpose::Descriptors(boot.0, boot.1), salt, buffer, set.len())
}

/// Opens a stored descriptor set in place.
///
/// # Errors
/// [`Forged`], whatever was wrong.
pub fn open_descriptors<'i>(
    key: &StorageKey,
    boot: (u32, BootTag),
    item: &'i mut [u8],
) -> Result<&'i [u8], Forged> {
    let set = open_item(key, Purpose::Descriptors(boot.0, boot.1), item)?;
    if set.len() > MAX_DESCRIPTOR_SET { Err(Forged) } else { Ok(set) }
}
