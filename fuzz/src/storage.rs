//! A device with storage: what is stored is the fuzzer's, or the device's own and damaged, or put back.
//!
//! The first byte chooses. Odd: one of the parsers, alone: what is accepted is what was sealed, or is written again the
//! same. Even: reboots, see [`crate::rig`].

use crate::input::Input;
use crate::rig;
use crate::world::world;
use vitalwire::framing::{BootTag, Lane, RunReader, RunWriter, SetHash};
use vitalwire::limits::MAX_BATCH_RECORDS;
use vitalwire::storage::*;

const SALT: [u8; 32] = [4; 32];

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.u8();
    match choice & 7 {
        0 | 2 | 4 | 6 => rig::run(&mut input, choice >> 1),
        1 => boots(&mut input),
        3 => entry(&mut input),
        5 => items(&mut input),
        _ => records(input.rest()),
    }
}

fn table() -> BootTable {
    let mut table = BootTable::new(9, BootTag([9; 4]));
    for number in [3, 5, 9] {
        let (tag, set) = (BootTag([number; 4]), SetHash([number; 16]));
        table.push(StoredBoot { number: number.into(), tag, place: 0, set, salt: [number; 32] });
    }
    table
}

fn boots(input: &mut Input<'_>) {
    let (key, table) = (rig::storage_key(), table());
    let mut item = vec![0; BOOTS_ITEM_MAX];
    let len = table.seal(&key, SALT, &mut item).expect("room");
    item.truncate(len);
    let opened = if input.u8() & 1 == 0 {
        let altered = input.mutate(&mut item);
        let opened = BootTable::open(&key, &mut item);
        assert_eq!(opened.is_ok(), !altered);
        opened
    } else {
        BootTable::open(&key, &mut input.rest().to_vec())
    };
    assert!(opened.is_err() || opened == Ok(table));
}

fn entry(input: &mut Input<'_>) {
    let key = SegmentKey::new(&rig::storage_key(), &SALT);
    let header =
        EntryHeader { lane: Lane::Trend, boot: 3, tag: BootTag([3; 4]), counter: 7, first: 100, count: 5 };
    let mut entry = vec![0; ENTRY_OVERHEAD + 40];
    EntryHeader::body(&mut entry).fill(0x31);
    let len = header.seal(&key, &mut entry, 40).expect("room");
    entry.truncate(len);
    let altered = if input.u8() & 1 == 0 {
        input.mutate(&mut entry)
    } else {
        let raw = input.rest().to_vec();
        core::mem::replace(&mut entry, raw.clone()) != raw
    };
    let Some(parsed) = EntryHeader::parse(&entry) else { return assert!(altered) };
    assert!((1..=64).contains(&parsed.count) && parsed.end() >= parsed.first);
    match parsed.open(&key, &mut entry) {
        Ok(body) => {
            assert!(!altered, "an altered entry was opened");
            assert_eq!(body, [0x31; 40]);
            assert_eq!(parsed, header);
        }
        Err(_) => assert!(altered, "the genuine entry was not opened"),
    }
}

/// Items are opened as what they were sealed as, and as nothing else.
fn items(input: &mut Input<'_>) {
    let key = rig::storage_key();
    let set = &world().set;
    let mut item = vec![0; set.len() + DESCRIPTORS_OVERHEAD];
    let len = seal_descriptors(&key, (3, BootTag([3; 4])), SALT, set, &mut item).expect("room");
    assert_eq!(len, item.len());
    let boot = (u32::from(input.u8()), BootTag([input.u8(); 4]));
    let altered = input.u8() & 1 == 1 && input.mutate(&mut item);
    assert!(open_ticket(&key, &mut item.clone()).is_err());
    assert!(BootTable::open(&key, &mut item.clone()).is_err());
    let right = boot == (3, BootTag([3; 4])) && !altered;
    let opened = open_descriptors(&key, boot, &mut item);
    assert_eq!(opened.is_ok(), right);
    assert!(opened.is_err() || opened == Ok(set));
}

/// Accepted ⇒ written again, the same bytes.
fn records(bytes: &[u8]) {
    let records: Result<Vec<_>, _> = RunReader::new(bytes).collect();
    let Ok(records) = records else { return };
    let late = records.iter().any(|(time, _)| time.as_millis() > i64::MAX.unsigned_abs());
    if late || records.len() > MAX_BATCH_RECORDS {
        return;
    }
    let mut out = vec![0; bytes.len()];
    let mut writer = RunWriter::new(&mut out);
    for (time, record) in records {
        writer.push(time, record).expect("the writer needs no more than the reader had");
    }
    assert_eq!(writer.finish(), bytes.len());
    assert_eq!(out, bytes);
}
