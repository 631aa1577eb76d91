//! What a storage must hold by its contract, kept naively, and checked against a store.
#![allow(dead_code)]

use std::collections::BTreeMap;
use vitalwire::framing::Lane;
use vitalwire::storage::{Item, StorageReply, StorageRequest};
pub(crate) use vitalwire_flash::owned::Asked as Request;
use vitalwire_flash::{Blocking, FlashStore, Layout, model::Nor};

pub(crate) type Store<const W: usize, const E: usize> = FlashStore<Blocking<Nor<W, E>>>;

/// Items on two pages, then two, two, three and four pages for the lanes: 13 pages.
pub(crate) const PAGES: usize = 13;

pub(crate) fn layout(page: u32) -> Layout {
    Layout {
        items: 0..2 * page,
        regions: [2 * page..4 * page, 4 * page..6 * page, 6 * page..9 * page, 9 * page..13 * page],
    }
}

pub(crate) fn store<const W: usize, const E: usize>(flash: Nor<W, E>) -> Store<W, E> {
    FlashStore::new(Blocking(flash), layout(E as u32)).unwrap()
}

/// Starts anew with what is in the flash.
pub(crate) fn restart<const W: usize, const E: usize>(store: Store<W, E>) -> Store<W, E> {
    let mut flash = store.into_inner().0;
    flash.turn_on();
    self::store(flash)
}

/// SplitMix64.
#[derive(Clone)]
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// What was acknowledged.
#[derive(Clone, Default)]
pub(crate) struct Oracle {
    pub regions: [BTreeMap<u64, Vec<u8>>; 4],
    pub highest: [u64; 4],
    pub items: BTreeMap<Item, Vec<u8>>,
    pub full: u64,
}

impl Oracle {
    /// Draws a request that suits what is there.
    pub(crate) fn draw(&self, random: &mut Random, longest: u64) -> Request {
        let region = Lane::ALL[random.below(4) as usize];
        let entries = &self.regions[region.index()];
        let items = [Item::Boots, Item::Ticket, Item::Pin, Item::Descriptors(0), Item::Descriptors(7)];
        let item = items[random.below(5) as usize];
        match random.below(100) {
            0..45 => {
                let len = random.below(longest) as usize;
                // Zeros and ones too: they look most like erased words and cut ones.
                let entry = match random.below(8) {
                    0 => vec![0xFF; len],
                    1 => vec![0; len],
                    _ => random.bytes(len),
                };
                Request::Append(region, entry)
            }
            45..65 => {
                let ahead = random.below(1 + entries.len() as u64 / 2) as usize;
                let through = entries.keys().nth(ahead).copied().unwrap_or(0);
                Request::Trim(region, if random.below(20) == 0 { u64::MAX } else { through })
            }
            65..78 => {
                let after = entries.keys().nth(random.below(9) as usize).copied();
                Request::Read(region, after)
            }
            78..88 => {
                let len = random.below(longest / 3) as usize;
                Request::Put(item, random.bytes(len))
            }
            88..93 => Request::Get(item),
            _ => Request::Delete(item),
        }
    }

    /// Takes a reply, and checks it. Returns false if it is `Failed`.
    pub(crate) fn take(&mut self, request: &Request, reply: StorageReply<'_>) -> bool {
        if reply == StorageReply::Failed {
            return false;
        }
        match (request, reply) {
            (Request::Append(..) | Request::Put(..), StorageReply::Full) => self.full += 1,
            (Request::Append(region, entry), StorageReply::Appended { number, .. }) => {
                let highest = &mut self.highest[region.index()];
                assert!(number > *highest, "{number} after {highest}");
                *highest = number;
                self.regions[region.index()].insert(number, entry.clone());
            }
            (Request::Read(region, after), reply) => {
                let from = after.map_or(0, |after| after.saturating_add(1));
                let expected = self.regions[region.index()].range(from..).next();
                let expected = expected.map_or(StorageReply::End, |(number, bytes)| StorageReply::Entry {
                    number: *number,
                    bytes,
                });
                assert_eq!(reply, expected);
            }
            (Request::Trim(region, through), StorageReply::Done) => {
                self.regions[region.index()].retain(|number, _| number > through);
            }
            (Request::Put(item, value), StorageReply::Done) => {
                self.items.insert(*item, value.clone());
            }
            (Request::Get(item), StorageReply::Value(value)) => {
                assert_eq!(value, self.items.get(item).map(Vec::as_slice));
            }
            (Request::Delete(item), StorageReply::Done) => {
                self.items.remove(item);
            }
            (request, reply) => panic!("{reply:?} to {request:?}"),
        }
        true
    }

    /// Compares with everything that a store holds, after a start during which `doubt` was asked and not answered; takes over
    /// what became of that.
    pub(crate) fn settle<const W: usize, const E: usize>(
        &mut self,
        store: &mut Store<W, E>,
        doubt: Option<&Request>,
    ) {
        let mut buf = vec![0; E];
        for region in Lane::ALL {
            let known = &self.regions[region.index()];
            let mut found = BTreeMap::new();
            let mut after = None;
            loop {
                match store.serve_blocking(StorageRequest::Read { region, after }, &mut buf) {
                    StorageReply::Entry { number, bytes } => {
                        assert!(after.is_none_or(|after| number > after));
                        after = Some(number);
                        found.insert(number, bytes.to_vec());
                    }
                    reply => {
                        assert_eq!(reply, StorageReply::End);
                        break;
                    }
                }
            }
            let mut extra = 0;
            for (number, bytes) in &found {
                if let Some(known) = known.get(number) {
                    assert_eq!(bytes, known, "entry {number} is altered");
                } else {
                    extra += 1;
                    assert!(*number > self.highest[region.index()], "entry {number} came back");
                    assert_eq!(doubt, Some(&Request::Append(region, bytes.clone())), "a foreign entry");
                }
            }
            assert!(extra <= 1, "an entry is there twice");
            for number in known.keys().filter(|number| !found.contains_key(number)) {
                let doubted =
                    matches!(doubt, Some(Request::Trim(r, through)) if *r == region && number <= through);
                assert!(doubted, "entry {number} of {region:?} is lost");
            }
            let highest = self.highest[region.index()].max(after.unwrap_or(0));
            self.highest[region.index()] = highest;
            self.regions[region.index()] = found;
        }
        let all = [Item::Boots, Item::Ticket, Item::Pin, Item::Descriptors(0), Item::Descriptors(7)];
        for item in all {
            let StorageReply::Value(value) = store.serve_blocking(StorageRequest::Get { item }, &mut buf)
            else {
                panic!("no answer for {item:?}");
            };
            let old = self.items.get(&item).map(Vec::as_slice);
            if value != old {
                match doubt {
                    Some(Request::Put(of, new)) if *of == item => assert_eq!(value, Some(&new[..])),
                    Some(Request::Delete(of)) if *of == item => assert_eq!(value, None),
                    _ => panic!("{item:?} has changed"),
                }
                match value.map(<[u8]>::to_vec) {
                    Some(value) => self.items.insert(item, value),
                    None => self.items.remove(&item),
                };
            }
        }
    }
}
