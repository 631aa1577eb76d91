//! Storage that is damaged, broken, full or under another key: it costs what it held, and nothing else.

use crate::kit::*;
use crate::ward::*;
use std::collections::BTreeSet;
use vitalwire::Discard;
use vitalwire::device::*;
use vitalwire::framing::Lane;
use vitalwire::limits::{MAX_STORED_BOOTS, STORAGE_RETRY, TABLE_READS};
use vitalwire::storage::{EntryHeader, Item, StorageReply};

#[test]
fn another_key_opens_nothing_and_hurts_nothing() {
    let mut ward = Ward::new();
    story(&mut ward);
    ward.key = 2;
    ward.honest = false;
    ward.promised.clear();
    ward.boot();
    ward.record(Lane::Event);
    ward.drain();
    assert_eq!(ward.troubles(), [StorageTrouble::Unreadable, StorageTrouble::Corrupt]);
    let device = ward.device.as_ref().unwrap();
    assert!(device.discards().of(Discard::CorruptStorage) >= 4);
    assert_eq!(ward.storage.entries(), 0, "what nobody can open is given up");
    // From here on it works.
    ward.commits = false;
    ward.record(Lane::Alarm);
    ward.run(secs(1));
    ward.cut();
    ward.commits = true;
    ward.boot();
    ward.drain();
    ward.check();
    assert_eq!(ward.promised.len(), 1);
}

#[test]
fn a_table_that_is_misread_is_read_again_before_all_that_is_stored_is_given_up() {
    //= SPEC.md#stored-boots
    //= type=test
    //# A device MUST NOT overwrite a table of boots that it cannot open before it has read it 4 times.
    for reads in 0..=TABLE_READS {
        let mut ward = Ward::new();
        story(&mut ward);
        let from = ward.events.len();
        assert!(!ward.promised.is_empty());
        ward.storage.misread = Some((Item::Boots, reads.into(), StorageReply::Value(Some(&[7; 80]))));
        ward.honest = reads < TABLE_READS;
        if !ward.honest {
            ward.promised.clear();
        }
        ward.boot();
        ward.record(Lane::Event);
        ward.drain();
        ward.check();
        let unreadable = DeviceEvent::StorageTrouble(StorageTrouble::Unreadable);
        assert_eq!(ward.events[from..].contains(&unreadable), !ward.honest, "{reads} reads in vain");
    }
}

#[test]
fn garbage_in_any_item_or_entry_costs_only_what_it_was() {
    //= SPEC.md#stored-entries
    //= type=test
    //# A device MUST skip and count an entry that it cannot open.
    let mut full = Ward::new();
    story(&mut full);
    let mut rng = Rng::new(3);
    let places: Vec<_> = full.storage.all().map(|(lane, number, _)| (lane, number)).collect();
    assert!(places.len() >= 6, "{places:?}");
    for (lane, number) in places {
        for kind in 0..4 {
            let mut ward = Ward::new();
            story(&mut ward);
            ward.honest = false;
            let entry = ward.storage.memory.entries(lane).find(|(at, _)| *at == number);
            let mut bytes = entry.unwrap().1.to_vec();
            match kind {
                0 => bytes.clear(),
                1 => bytes.truncate(20),
                2 => bytes = (0..2000).map(|_| rng.next() as u8).collect(),
                _ => {
                    let at = rng.below(bytes.len() as u64) as usize;
                    bytes[at] ^= 1 << rng.below(8);
                }
            }
            ward.storage.memory.set_entry(lane, number, Some(&bytes));
            let promised = ward.promised.len();
            ward.promised.clear();
            ward.boot();
            ward.drain();
            assert_eq!(ward.troubles(), [StorageTrouble::Corrupt]);
            let device = ward.device.as_ref().unwrap();
            assert_eq!(device.discards().of(Discard::CorruptStorage), 1, "{lane:?} entry {number} {kind}");
            assert!(ward.delivered.len() + 3 >= promised && ward.delivered.len() < promised);
            assert_eq!(ward.storage.entries(), 0);
            ward.check();
        }
    }
    for item in [Item::Boots, Item::Descriptors(0)] {
        let mut ward = Ward::new();
        story(&mut ward);
        ward.honest = false;
        let garbage: Vec<u8> = (0..3000).map(|_| rng.next() as u8).collect();
        ward.storage.memory.set_item(item, Some(&garbage));
        ward.promised.clear();
        ward.boot();
        ward.record(Lane::Trend);
        ward.drain();
        ward.check();
        assert_eq!(ward.storage.entries(), 0);
    }
}

#[test]
fn broken_storage_leaves_a_device_that_works_from_ram() {
    //= SPEC.md#stored-boots
    //= type=test
    //# A device whose storage fails before that MUST draw a fresh tag for the boot, and keep its records in RAM only.
    let mut ward = Ward::new();
    ward.storage.broken = true;
    ward.boot();
    for lane in Lane::ALL {
        assert!(ward.record(lane));
    }
    ward.drain();
    assert_eq!(ward.troubles(), [StorageTrouble::Unavailable]);
    assert_eq!(ward.delivered.len(), 4);
    assert!(ward.device.as_ref().unwrap().stored_through(Lane::Alarm).is_none());
    let first = *ward.delivered.keys().next().unwrap();
    ward.cut();
    ward.boot();
    ward.record(Lane::Alarm);
    ward.drain();
    ward.check();
    let tags: BTreeSet<_> = ward.delivered.keys().map(|(stream, _)| stream.tag).collect();
    assert_eq!(tags.len(), 2, "the same number, and a fresh tag: {first:?}");

    // It breaks later.
    let mut ward = Ward::new();
    ward.boot();
    ward.record(Lane::Alarm);
    ward.drain();
    ward.storage.broken = true;
    ward.commits = false;
    for _ in 0..5 {
        ward.record(Lane::Alarm);
        ward.run(secs(20));
    }
    assert_eq!(ward.troubles(), [StorageTrouble::Failed], "reported once");
    let asked = ward.storage.requests;
    ward.run(STORAGE_RETRY);
    assert!(ward.storage.requests - asked <= 2, "not asked again and again");
    ward.storage.broken = false;
    ward.run(STORAGE_RETRY + secs(1));
    assert_eq!(ward.device.as_ref().unwrap().stored_through(Lane::Alarm), Some(5));
    ward.commits = true;
    ward.drain();
    ward.check();
}

#[test]
fn a_boot_that_finds_the_table_full_stores_once_an_older_one_is_drained() {
    //= SPEC.md#earlier-boots
    //= type=test
    //# A device MUST begin a new session where it has no stream index left for a stream of an earlier boot.
    let mut ward = Ward::new();
    ward.commits = false;
    for _ in 0..MAX_STORED_BOOTS {
        ward.boot();
        // A boot that stores nothing takes no place.
        ward.run(ms(10));
        ward.cut();
        ward.boot();
        ward.record(Lane::Alarm);
        ward.record(Lane::Event);
        ward.run(secs(6));
        ward.cut();
    }
    assert!(ward.table().is_full());
    assert_eq!(ward.table().latest, 2 * MAX_STORED_BOOTS as u32);
    ward.boot();
    ward.record(Lane::Alarm);
    ward.run(secs(6));
    assert_eq!(ward.troubles(), [StorageTrouble::TooManyBoots]);
    assert!(!ward.stored.contains_key(&Lane::Alarm));
    ward.commits = true;
    ward.run(secs(60));
    ward.commits = false;
    ward.record(Lane::Alarm);
    ward.run(secs(1));
    assert!(ward.stored.contains_key(&Lane::Alarm), "there is room again");
    ward.commits = true;
    ward.drain();
    ward.check();
    assert_eq!(ward.delivered.len(), 2 * MAX_STORED_BOOTS + 2, "over several sessions, as indices run out");
    assert_eq!(ward.table().boots().count(), 1);
}

#[test]
fn a_full_region_leaves_the_lane_its_ram() {
    let mut ward = Ward::new();
    ward.storage.memory.set_capacity(Lane::Trend, 600);
    ward.outbox = 4000;
    ward.boot();
    ward.set_linked(false);
    let mut taken = 0;
    while ward.record(Lane::Trend) {
        taken += 1;
        ward.run(secs(1));
        assert!(taken < 1000);
    }
    assert_eq!(ward.troubles(), [StorageTrouble::Full(Lane::Trend)]);
    assert!(taken > 60, "{taken}");
    ward.set_linked(true);
    ward.drain();
    ward.check();
    assert_eq!(ward.delivered.len(), taken);
    assert_eq!(ward.storage.entries(), 0);
}

#[test]
fn nothing_readable_is_stored() {
    let mut ward = Ward::new();
    story(&mut ward);
    let texts: Vec<Vec<u8>> = vec![ward.set[..20].to_vec(), vec![ward.key; 16]];
    let entries = ward.storage.all().map(|(.., entry)| entry);
    for stored in entries.chain(ward.storage.memory.items().map(|(_, item)| item)) {
        for text in &texts {
            assert!(!stored.windows(text.len()).any(|bytes| bytes == text));
        }
    }
    // The same records, stored twice, have nothing in common but their headers.
    let entry = |ward: &Ward| ward.storage.memory.entries(Lane::Alarm).next().unwrap().1.to_vec();
    let (a, mut other) = (entry(&ward), Ward::new());
    other.rng = Rng::new(77);
    story(&mut other);
    let b = entry(&other);
    let header = EntryHeader::parse(&a).unwrap();
    assert_eq!((header.lane, header.boot, header.first), (Lane::Alarm, 1, 1));
    assert_eq!(a.len(), b.len());
    let same = a[23..].iter().zip(&b[23..]).filter(|(a, b)| a == b).count();
    assert!(same < 8, "{same} bytes are the same");
}

#[test]
fn an_answer_that_nobody_asked_for_is_counted() {
    //= SPEC.md#stored-boots
    //= type=test
    //# A device with storage MUST NOT send or store anything of a boot before it has read back that boot's number and tag.
    let mut ward = Ward::new();
    ward.boot();
    let now = ward.now;
    let device = ward.device.as_mut().unwrap();
    device.handle_storage(now, StorageReply::Done);
    assert_eq!(device.discards().of(Discard::UnaskedReply), 1);
    let first = format!("{:?}", device.poll_storage(now, &mut ward.rng));
    assert_eq!(format!("{:?}", device.poll_storage(now, &mut ward.rng)), first, "until it is answered");
    let mut out = [0; 1500];
    assert_eq!(device.poll_transmit(now, &mut ward.rng, &mut out), Ok(None), "nothing before that");
    assert_eq!((device.boot(), device.poll_timeout()), (None, None));
    // The wrong kind of answer is a failure.
    device.handle_storage(now, StorageReply::End);
    assert!(device.poll_storage(now, &mut ward.rng).is_none());
    assert!(device.boot().is_some());
    ward.note();
    assert_eq!(ward.troubles(), [StorageTrouble::Unavailable]);
}
