//! A device's storage, in memory: it survives reboots, and its power can be cut at every request.

use vitalwire::framing::Lane;
use vitalwire::storage::{Item, MemoryStorage, StorageReply, StorageRequest};

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

/// The memory chip and its driver.
#[derive(Clone, Debug, Default)]
pub(crate) struct Storage {
    pub(crate) memory: MemoryStorage,
    /// How many requests there were.
    pub(crate) requests: u64,
    /// What happens at the request with this number.
    pub(crate) mishap: Option<(u64, Mishap)>,
    /// An item of which no deletion is done.
    pub(crate) stuck: Option<Item>,
    /// An item whose next reads, so many, are answered with this.
    pub(crate) misread: Option<(Item, u32, StorageReply<'static>)>,
    /// Every request fails.
    pub(crate) broken: bool,
}

impl Storage {
    /// Does what is asked; `None` if the power was cut at this request: the device and all its memory are gone.
    pub(crate) fn handle(&mut self, request: StorageRequest<'_>) -> Option<StorageReply<'_>> {
        let number = self.requests;
        self.requests += 1;
        let mishap = self.mishap.filter(|(at, _)| *at == number).map(|(_, mishap)| mishap);
        let stuck = matches!(request, StorageRequest::Delete { item } if self.stuck == Some(item));
        if self.broken || stuck || mishap == Some(Mishap::FailBefore) {
            return Some(StorageReply::Failed);
        }
        if mishap == Some(Mishap::CutBefore) {
            return None;
        }
        let reply = match &mut self.misread {
            Some((item, left, answer)) if request == (StorageRequest::Get { item: *item }) && *left > 0 => {
                *left -= 1;
                *answer
            }
            _ => self.memory.serve(request),
        };
        match mishap {
            Some(Mishap::CutAfter) => None,
            Some(_) => Some(StorageReply::Failed),
            None => Some(reply),
        }
    }

    /// How many entries there are in all regions.
    pub(crate) fn entries(&self) -> usize {
        self.all().count()
    }

    /// The entries of all regions, with their numbers.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Lane, u64, &[u8])> {
        let of = |lane| self.memory.entries(lane).map(move |(number, bytes)| (lane, number, bytes));
        Lane::ALL.into_iter().flat_map(of)
    }
}

#[test]
fn a_cut_leaves_the_whole_entry_or_none() {
    let append = StorageRequest::Append { region: Lane::Event, entry: b"entry" };
    for (mishap, there) in [(Mishap::CutBefore, 0), (Mishap::CutAfter, 1)] {
        let mut storage = Storage { mishap: Some((1, mishap)), ..Storage::default() };
        assert_eq!(storage.handle(append), Some(StorageReply::Appended { number: 1, free: u32::MAX }));
        assert_eq!(storage.handle(append), None);
        assert_eq!(storage.entries(), 1 + there);
    }
}
