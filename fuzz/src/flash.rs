//! Flash with any content under `integrations/flash`: garbage, and page heads and records with any numbers and right CRCs.
//!
//! Held: no panic; what a first start finds is what every later one finds; from there on, the contract of
//! [`vitalwire::storage`]: numbers ascend, what was taken is read as it was until it is trimmed, also after a restart.
//!
//! Input: size of words and pages (1 byte), number of pieces (1 byte) ‖ pieces of content ‖ requests.

use crate::disk::{Answer, Asked};
use crate::input::Input;
use std::collections::BTreeMap;
use vitalwire::framing::Lane;
use vitalwire::storage::{Item, StorageReply, StorageRequest};
use vitalwire_flash::model::{Ecc, Nor};
use vitalwire_flash::{Blocking, FlashStore, Layout};

/// Items on two pages, then two, two, three and four for the lanes.
const PAGES: usize = 13;
const ITEMS: [Item; 5] = [Item::Boots, Item::Ticket, Item::Pin, Item::Descriptors(0), Item::Descriptors(7)];

type Store<const W: usize, const E: usize> = FlashStore<Blocking<Nor<W, E>>>;

/// CRC-32 (ISO 3309), bit by bit.
fn crc(parts: &[&[u8]]) -> u32 {
    !parts.iter().copied().flatten().fold(!0u32, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| {
                if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 }
            },
        )
    })
}

/// A number that is small, or near some power of two.
fn number(input: &mut Input<'_>) -> u64 {
    let low = u64::from(input.u8());
    (1u64 << input.below(64)).wrapping_sub(128).wrapping_add(low)
}

/// Writes a piece of content: the numbers that belong to a page's place, or any.
fn piece<const W: usize, const E: usize>(flash: &mut Nor<W, E>, input: &mut Input<'_>) {
    use embedded_storage::nor_flash::NorFlash;
    let choice = input.u8();
    let page = input.below(PAGES);
    let unit = W.max(8);
    let (start, pages) = match page {
        0..2 => (0, 2),
        2..4 => (2, 2),
        4..6 => (4, 2),
        6..9 => (6, 3),
        _ => (9, 4),
    };
    let sequence = if choice & 8 == 0 {
        pages * (1 + u64::from(input.u8())) + (page - start) as u64
    } else {
        let number = number(input);
        (number - number % pages).wrapping_add((page - start) as u64)
    };
    let (mut at, bytes) = match choice & 7 {
        0..4 => {
            let first = if choice & 16 == 0 { sequence << 16 } else { number(input) };
            flash.erase((page * E) as u32, ((page + 1) * E) as u32).expect("it is in range");
            let fields = [&b"VWf1"[..], &sequence.to_le_bytes(), &first.to_le_bytes()].concat();
            (0, [&fields[..], &crc(&[&fields]).to_le_bytes()].concat())
        }
        4..6 => {
            let place = 24usize.div_ceil(unit) + input.below(E / unit);
            let at = (sequence << 16).wrapping_add(place as u64);
            let kind = 1 + choice / 16 % 3;
            let payload =
                if kind == 2 { number(input).to_le_bytes().to_vec() } else { input.short().to_vec() };
            let len = payload.len() as u16 + if choice & 128 == 0 { 0 } else { u16::from(input.u8()) << 4 };
            let about = [len as u8, (len >> 8) as u8, kind];
            let check = (crc(&[&at.to_le_bytes(), &about]) >> 24) as u8;
            let crc = crc(&[&at.to_le_bytes(), &about, &payload]);
            (place * unit, [&about[..], &[check], &crc.to_le_bytes(), &payload].concat())
        }
        _ => (usize::from(input.u16()) % E / unit * unit, input.long().to_vec()),
    };
    let mut bytes = bytes;
    bytes.resize(bytes.len().next_multiple_of(W), 0xff);
    at += page * E;
    if at >= PAGES * E {
        return;
    }
    bytes.truncate(PAGES * E - at);
    flash.write(at as u32, &bytes).expect("it is in range");
}

fn open<const W: usize, const E: usize>(flash: Nor<W, E>) -> Store<W, E> {
    let page = E as u32;
    let layout = Layout {
        items: 0..2 * page,
        regions: [2 * page..4 * page, 4 * page..6 * page, 6 * page..9 * page, 9 * page..13 * page],
    };
    FlashStore::new(Blocking(flash), layout).expect("the layout suits")
}

#[derive(Default, Debug, PartialEq, Eq)]
struct Held {
    regions: [BTreeMap<u64, Vec<u8>>; 4],
    items: BTreeMap<Item, Vec<u8>>,
}

fn list<const W: usize, const E: usize>(store: &mut Store<W, E>) -> Held {
    let (mut held, mut buf) = (Held::default(), vec![0; 2 * E]);
    for region in Lane::ALL {
        let mut after = None;
        loop {
            match store.serve_blocking(StorageRequest::Read { region, after }, &mut buf) {
                StorageReply::Entry { number, bytes } => {
                    assert!(after.is_none_or(|after| number > after), "it does not ascend");
                    after = Some(number);
                    held.regions[region.index()].insert(number, bytes.to_vec());
                }
                reply => break assert_eq!(reply, StorageReply::End),
            }
        }
    }
    for item in ITEMS {
        match store.serve_blocking(StorageRequest::Get { item }, &mut buf) {
            StorageReply::Value(Some(value)) => drop(held.items.insert(item, value.to_vec())),
            reply => assert_eq!(reply, StorageReply::Value(None)),
        }
    }
    held
}

fn draw<const E: usize>(input: &mut Input<'_>, held: &Held) -> Asked {
    let op = input.u8();
    let lane = Lane::ALL[usize::from(op >> 4 & 3)];
    let item = ITEMS[usize::from(op >> 4) % 5];
    let numbers: Vec<u64> = held.regions[lane.index()].keys().copied().collect();
    let any = |input: &mut Input<'_>| match numbers.get(input.below(numbers.len() + 1)) {
        Some(known) => *known,
        None => number(input),
    };
    match op & 15 {
        0..6 => Asked::Append(lane, vec![input.u8(); usize::from(input.u8()) * E / 512]),
        6..8 => Asked::Trim(lane, any(input)),
        8 => Asked::Read(lane, None),
        9 => Asked::Read(lane, Some(any(input))),
        10..13 => Asked::Put(item, vec![input.u8(); usize::from(input.u8()) * E / 512]),
        13 => Asked::Get(item),
        _ => Asked::Delete(item),
    }
}

fn play<const W: usize, const E: usize>(input: &mut Input<'_>) {
    let seed = input.u8();
    let mut flash = Nor::<W, E>::new(PAGES, seed.into());
    if seed & 1 == 1 {
        flash = flash.with_garbage();
    }
    for _ in 0..input.below(32) {
        piece(&mut flash, input);
    }
    let ecc = if seed & 2 == 0 { Ecc::No } else { Ecc::Yes };
    let mut store = open(flash.with_ecc(ecc));
    let mut held = list(&mut store);
    let mut highest: [u64; 4] =
        core::array::from_fn(|lane| held.regions[lane].keys().next_back().copied().unwrap_or(0));
    let mut buf = vec![0; 2 * E];
    for _ in 0..200 {
        if input.is_empty() {
            break;
        }
        let asked = draw::<E>(input, &held);
        if input.u8() & 15 == 15 {
            store = open(store.into_inner().0);
            assert_eq!(list(&mut store), held, "after a restart");
        }
        match (&asked, Answer::from(store.serve_blocking(asked.lend(), &mut buf))) {
            // No power is cut and no page worn: what is in the way is passed over, in time.
            (_, Answer::Failed) => held = list(&mut store),
            (Asked::Append(..) | Asked::Put(..), Answer::Full) => {}
            (Asked::Append(lane, entry), Answer::Appended { number, .. }) => {
                assert!(
                    number > core::mem::replace(&mut highest[lane.index()], number),
                    "it does not ascend"
                );
                held.regions[lane.index()].insert(number, entry.clone());
            }
            (Asked::Read(lane, after), answer) => {
                let from = after.map_or(0, |after| after.saturating_add(1));
                let next = held.regions[lane.index()].range(from..).next();
                let entry =
                    |(&number, bytes): (&u64, &Vec<u8>)| Answer::Entry { number, bytes: bytes.clone() };
                assert_eq!(answer, next.map_or(Answer::End, entry));
            }
            (Asked::Trim(lane, through), Answer::Done) => {
                held.regions[lane.index()].retain(|number, _| number > through);
            }
            (Asked::Put(item, value), Answer::Done) => drop(held.items.insert(*item, value.clone())),
            (Asked::Get(item), answer) => assert_eq!(answer, Answer::Value(held.items.get(item).cloned())),
            (Asked::Delete(item), Answer::Done) => drop(held.items.remove(item)),
            (asked, answer) => panic!("{answer:?} to {asked:?}"),
        }
    }
    assert_eq!(list(&mut store), held, "in the end");
    assert_eq!(list(&mut open(store.into_inner().0)), held, "after a restart");
}

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(5) {
        0 => play::<8, 512>(&mut input),
        1 => play::<1, 256>(&mut input),
        2 => play::<4, 1024>(&mut input),
        3 => play::<32, 1024>(&mut input),
        _ => play::<256, 4096>(&mut input),
    }
}
