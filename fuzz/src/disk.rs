//! A device's storage in memory, which the fuzzer may damage.

use std::collections::BTreeMap;
use vitalwire::framing::Lane;
use vitalwire::storage::{Item, StorageReply, StorageRequest};

/// A request that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Append(Lane, Vec<u8>),
    Read(Lane, Option<u64>),
    Trim(Lane, u64),
    Put(Item, Vec<u8>),
    Get(Item),
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

/// A reply that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    Appended { number: u64, free: u32 },
    Entry { number: u64, bytes: Vec<u8> },
    End,
    Value(Option<Vec<u8>>),
    Full,
    Failed,
}

impl Answer {
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

/// What survives a reboot.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub regions: [BTreeMap<u64, Vec<u8>>; 4],
    pub items: BTreeMap<Item, Vec<u8>>,
    pub next: [u64; 4],
    /// Bytes of entries that a region takes.
    pub capacity: Option<usize>,
}

impl Disk {
    /// Does what the contract says.
    pub fn serve(&mut self, asked: &Asked) -> Answer {
        match asked {
            Asked::Append(lane, entry) => {
                let region = &mut self.regions[lane.index()];
                let used: usize = region.values().map(Vec::len).sum();
                if self.capacity.is_some_and(|capacity| used + entry.len() > capacity) {
                    return Answer::Full;
                }
                let next = &mut self.next[lane.index()];
                *next += 1;
                region.insert(*next, entry.clone());
                Answer::Appended { number: *next, free: u32::MAX }
            }
            Asked::Read(lane, after) => {
                let from = after.map_or(0, |after| after.saturating_add(1));
                let next = self.regions[lane.index()].range(from..).next();
                let entry =
                    |(&number, bytes): (&u64, &Vec<u8>)| Answer::Entry { number, bytes: bytes.clone() };
                next.map_or(Answer::End, entry)
            }
            Asked::Trim(lane, through) => {
                self.regions[lane.index()].retain(|number, _| number > through);
                Answer::Done
            }
            Asked::Put(item, value) => {
                self.items.insert(*item, value.clone());
                Answer::Done
            }
            Asked::Get(item) => Answer::Value(self.items.get(item).cloned()),
            Asked::Delete(item) => {
                self.items.remove(item);
                Answer::Done
            }
        }
    }

    /// Every entry, with its lane and number.
    pub fn entries(&self) -> impl Iterator<Item = (Lane, u64, &Vec<u8>)> {
        Lane::ALL.into_iter().flat_map(|lane| {
            self.regions[lane.index()].iter().map(move |(number, bytes)| (lane, *number, bytes))
        })
    }
}
