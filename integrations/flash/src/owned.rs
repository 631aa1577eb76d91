//! Requests and replies that own their bytes: to draw them at random, to keep one, or to alter it.
#![allow(
    clippy::panic,
    reason = "for tests and fuzzing, which are to stop at a request that they do not know"
)]

use vitalwire::framing::Lane;
use vitalwire::storage::{Item, StorageReply, StorageRequest};

/// A request that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// An entry for a region.
    Append(Lane, Vec<u8>),
    /// The oldest entry of a region above this number.
    Read(Lane, Option<u64>),
    /// A region is not needed up to this number.
    Trim(Lane, u64),
    /// A value for an item.
    Put(Item, Vec<u8>),
    /// The value of an item.
    Get(Item),
    /// Erase an item.
    Delete(Item),
}

impl From<StorageRequest<'_>> for Asked {
    fn from(request: StorageRequest<'_>) -> Self {
        match request {
            StorageRequest::Append { region, entry } => Self::Append(region, entry.to_vec()),
            StorageRequest::Read { region, after } => Self::Read(region, after),
            StorageRequest::Trim { region, through } => Self::Trim(region, through),
            StorageRequest::Put { item, value } => Self::Put(item, value.to_vec()),
            StorageRequest::Get { item } => Self::Get(item),
            StorageRequest::Delete { item } => Self::Delete(item),
            other => panic!("an unknown request: {other:?}"),
        }
    }
}

impl Asked {
    /// Returns the request, without a copy.
    pub fn lend(&self) -> StorageRequest<'_> {
        match self {
            Self::Append(region, entry) => StorageRequest::Append { region: *region, entry },
            Self::Read(region, after) => StorageRequest::Read { region: *region, after: *after },
            Self::Trim(region, through) => StorageRequest::Trim { region: *region, through: *through },
            Self::Put(item, value) => StorageRequest::Put { item: *item, value },
            Self::Get(item) => StorageRequest::Get { item: *item },
            Self::Delete(item) => StorageRequest::Delete { item: *item },
        }
    }
}

/// A reply that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// The entry is stored.
    Appended {
        /// Under this number.
        number: u64,
        /// How many bytes of entries the region will still take.
        free: u32,
    },
    /// The entry asked for.
    Entry {
        /// Its number.
        number: u64,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// There is no such entry.
    End,
    /// The value, if there is one.
    Value(Option<Vec<u8>>),
    /// There is no room.
    Full,
    /// The hardware has failed.
    Failed,
}

impl From<StorageReply<'_>> for Answer {
    fn from(reply: StorageReply<'_>) -> Self {
        match reply {
            StorageReply::Done => Self::Done,
            StorageReply::Appended { number, free } => Self::Appended { number, free },
            StorageReply::Entry { number, bytes } => Self::Entry { number, bytes: bytes.to_vec() },
            StorageReply::End => Self::End,
            StorageReply::Value(value) => Self::Value(value.map(<[u8]>::to_vec)),
            StorageReply::Full => Self::Full,
            StorageReply::Failed => Self::Failed,
            other => panic!("an unknown reply: {other:?}"),
        }
    }
}

impl Answer {
    /// Returns the reply, without a copy.
    pub fn lend(&self) -> StorageReply<'_> {
        match self {
            Self::Done => StorageReply::Done,
            Self::Appended { number, free } => StorageReply::Appended { number: *number, free: *free },
            Self::Entry { number, bytes } => StorageReply::Entry { number: *number, bytes },
            Self::End => StorageReply::End,
            Self::Value(value) => StorageReply::Value(value.as_deref()),
            Self::Full => StorageReply::Full,
            Self::Failed => StorageReply::Failed,
        }
    }
}
