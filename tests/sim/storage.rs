//! A device's storage, in memory: it survives reboots, and its power can be cut at every request.

use std::collections::BTreeMap;
use vitalwire::framing::Lane;
use vitalwire::storage::{Item, StorageReply, StorageRequest};

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// The power goes before it takes effect.
    CutBefore,
    /// The power goes when it has taken effect, before the answer.
    CutAfter,
    /// It fails and has done nothing.
    FailBefore,
    /// It fails and was done all the same.
    FailAfter,
}

impl Mishap {
    pub(crate) const ALL: [Self; 4] = [Self::CutBefore, Self::CutAfter, Self::FailBefore, Self::FailAfter];
}

/// An answer that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Appended { number: u64, free: u32 },
    Entry { number: u64, bytes: Vec<u8> },
    End,
    Value(Option<Vec<u8>>),
    Full,
    Failed,
}

impl Answer {
    pub(crate) fn as_reply(&self) -> StorageReply<'_> {
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

/// The memory chip and its driver.
#[derive(Clone, Debug, Default)]
pub(crate) struct Storage {
    /// The entries of each region, by their numbers.
    pub(crate) regions: [BTreeMap<u64, Vec<u8>>; 4],
    pub(crate) items: BTreeMap<Item, Vec<u8>>,
    next: [u64; 4],
    /// Bytes of entries that a region takes; `None` is no bound.
    pub(crate) capacity: [Option<usize>; 4],
    /// How many requests there were.
    pub(crate) requests: u64,
    /// What happens at the request with this number.
    pub(crate) mishap: Option<(u64, Mishap)>,
    /// An item of which no deletion is done.
    pub(crate) stuck: Option<Item>,
    /// An item whose next reads, so many, are answered with this.
    pub(crate) misread: Option<(Item, u32, Answer)>,
    /// Every request fails.
    pub(crate) broken: bool,
    /// Bytes written by appends and puts, for wear figures.
    pub(crate) written: u64,
}

impl Storage {
    /// Does what is asked; `None` if the power was cut at this request: the device and all its memory are gone.
    pub(crate) fn handle(&mut self, request: &StorageRequest<'_>) -> Option<Answer> {
        let number = self.requests;
        self.requests += 1;
        let mishap = self.mishap.filter(|(at, _)| *at == number).map(|(_, mishap)| mishap);
        if self.broken {
            return Some(Answer::Failed);
        }
        match mishap {
            Some(Mishap::CutBefore) => None,
            Some(Mishap::FailBefore) => Some(Answer::Failed),
            Some(Mishap::CutAfter) => {
                self.execute(request);
                None
            }
            Some(Mishap::FailAfter) => {
                self.execute(request);
                Some(Answer::Failed)
            }
            None => Some(self.execute(request)),
        }
    }

    /// Bytes of entries in a region.
    pub(crate) fn used(&self, lane: Lane) -> usize {
        self.regions[lane as usize].values().map(Vec::len).sum()
    }

    /// How many entries there are in all regions.
    pub(crate) fn entries(&self) -> usize {
        self.regions.iter().map(BTreeMap::len).sum()
    }

    fn execute(&mut self, request: &StorageRequest<'_>) -> Answer {
        match *request {
            StorageRequest::Append { region, entry } => {
                let lane = region as usize;
                let free = self.capacity[lane].map(|capacity| capacity.saturating_sub(self.used(region)));
                if free.is_some_and(|free| free < entry.len()) {
                    return Answer::Full;
                }
                self.written += entry.len() as u64;
                self.next[lane] += 1;
                let number = self.next[lane];
                self.regions[lane].insert(number, entry.to_vec());
                let free = free.map_or(u32::MAX, |free| (free - entry.len()) as u32);
                Answer::Appended { number, free }
            }
            StorageRequest::Read { region, after } => {
                let from = after.map_or(0, |after| after.saturating_add(1));
                match self.regions[region as usize].range(from..).next() {
                    Some((&number, bytes)) => Answer::Entry { number, bytes: bytes.clone() },
                    None => Answer::End,
                }
            }
            StorageRequest::Trim { region, through } => {
                self.regions[region as usize].retain(|&number, _| number > through);
                Answer::Done
            }
            StorageRequest::Put { item, value } => {
                self.written += value.len() as u64;
                self.items.insert(item, value.to_vec());
                Answer::Done
            }
            StorageRequest::Get { item }
                if self.misread.as_ref().is_some_and(|(of, n, _)| *of == item && *n > 0) =>
            {
                let (_, left, answer) = self.misread.as_mut().unwrap();
                *left -= 1;
                answer.clone()
            }
            StorageRequest::Get { item } => Answer::Value(self.items.get(&item).cloned()),
            StorageRequest::Delete { item } if self.stuck == Some(item) => Answer::Failed,
            StorageRequest::Delete { item } => {
                self.items.remove(&item);
                Answer::Done
            }
            _ => Answer::Failed,
        }
    }
}

#[test]
fn a_cut_leaves_the_whole_entry_or_none() {
    let append = StorageRequest::Append { region: Lane::Event, entry: b"entry" };
    for (mishap, there) in [(Mishap::CutBefore, 0), (Mishap::CutAfter, 1)] {
        let mut storage = Storage { mishap: Some((1, mishap)), ..Storage::default() };
        assert_eq!(storage.handle(&append), Some(Answer::Appended { number: 1, free: u32::MAX }));
        assert_eq!(storage.handle(&append), None);
        assert_eq!(storage.entries(), 1 + there);
    }
}
