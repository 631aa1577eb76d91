//! What a device asks of its storage, sans-IO: requests and replies, so that any flash driver fits.
//!
//! Storage has one *region* per lane, which is a first-in first-out log of entries, and a few small *items*. A
//! driver needs no second write to a word and no rewriting in place: a region is appended to, and trimmed from
//! the front.
//!
//! Beside the requests are the sealed forms of what is stored: [`EntryHeader`] for entries, [`BootTable`] for the item
//! that names their boots. Nothing leaves in plaintext.
//!
//! # The driver's contract
//! - One request at a time: the device repeats it until its reply comes.
//! - A reply of success means that what was asked survives a power cut from now on.
//! - A power cut during an append leaves the whole entry or none; during a put, the old value or the new one. What is
//!   found damaged is skipped.
//! - Entry numbers of a region ascend, also over power cuts.
//! - Nothing that was not trimmed is overwritten: a region that has no room answers [`StorageReply::Full`].
//!
//! `MemoryStorage` (with `alloc`) is the driver for tests and simulators; `integrations/flash` is one for NOR flash.

mod boots;
#[cfg(any(feature = "alloc", test))]
mod memory;
mod seal;
#[cfg(test)]
mod tests;

pub use crate::crypto::StorageKey;
pub use boots::{
    BOOTS_ITEM_MAX, BootTable, DESCRIPTORS_OVERHEAD, StoredBoot, open_descriptors, open_pin, open_ticket,
    seal_descriptors, seal_pin, seal_ticket,
};
#[cfg(any(feature = "alloc", test))]
pub use memory::MemoryStorage;
pub use seal::{ENTRY_OVERHEAD, EntryHeader, ITEM_OVERHEAD, SegmentKey};

use crate::framing::Lane;

/// A small value that is kept by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Item {
    /// The boots of which entries may be stored.
    Boots,
    /// The ticket for the next resumption.
    Ticket,
    /// The backend's pin, and the time floor.
    Pin,
    /// The encoded descriptor set of an earlier boot, by its number in the boots' item.
    Descriptors(u8),
}

/// What the device asks of its storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageRequest<'a> {
    /// Append an entry to a region. Answer with `Appended`, `Full` or `Failed`.
    Append {
        /// Which region.
        region: Lane,
        /// The entry, sealed.
        entry: &'a [u8],
    },
    /// Hand out the oldest entry of a region whose number is above `after`, if that is given. Answer with `Entry`, `End` or
    /// `Failed`.
    Read {
        /// Which region.
        region: Lane,
        /// The number of the entry before.
        after: Option<u64>,
    },
    /// The entries of a region up to this number, and it too, are not needed any more. Answer with `Done` or `Failed`.
    Trim {
        /// Which region.
        region: Lane,
        /// The number of the last one.
        through: u64,
    },
    /// Keep a value in the place of an earlier one. Answer with `Done`, `Full` or `Failed`.
    Put {
        /// Its name.
        item: Item,
        /// The value.
        value: &'a [u8],
    },
    /// Hand out a value. Answer with `Value` or `Failed`.
    Get {
        /// Its name.
        item: Item,
    },
    /// Erase a value, so that no later read of the memory finds it where the hardware permits that. Answer with `Done` or
    /// `Failed`.
    Delete {
        /// Its name.
        item: Item,
    },
}

/// What the storage answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageReply<'a> {
    /// It is done, and survives a power cut.
    Done,
    /// The entry is stored under this number.
    Appended {
        /// Its number: above that of every earlier entry of the region.
        number: u64,
        /// How many bytes of entries the region will still take, as far as the driver knows; `u32::MAX` if it does not.
        free: u32,
    },
    /// The entry asked for.
    Entry {
        /// Its number.
        number: u64,
        /// Its bytes, as they were appended.
        bytes: &'a [u8],
    },
    /// There is no such entry.
    End,
    /// The value, or `None` if there is none.
    Value(Option<&'a [u8]>),
    /// There is no room; nothing has changed.
    Full,
    /// The hardware has failed; what was asked may be done or not.
    Failed,
}
