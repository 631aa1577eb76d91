use super::*;
use crate::framing::{BootTag, RunReader, RunWriter, SetHash};
use crate::limits::MAX_STORED_BOOTS;
use crate::time::Instant;

const TAG: BootTag = BootTag([1, 2, 3, 4]);

fn key(byte: u8) -> StorageKey {
    StorageKey::from_bytes([byte; 32])
}

fn boot(number: u32) -> StoredBoot {
    StoredBoot { number, tag: TAG, place: 0, set: SetHash([number as u8; 16]), salt: [7; 32] }
}

fn header() -> EntryHeader {
    EntryHeader { lane: Lane::Trend, boot: 5, tag: TAG, counter: 3, first: 70, count: 2 }
}

fn entry() -> Vec<u8> {
    let mut buffer = [0; 200];
    let mut run = RunWriter::new(EntryHeader::body(&mut buffer));
    run.push(Instant::from_millis(1_000), b"the one").unwrap();
    run.push(Instant::from_millis(900), b"the other").unwrap();
    let len = run.finish();
    let len = header().seal(&SegmentKey::new(&key(1), &[7; 32]), &mut buffer, len).unwrap();
    buffer[..len].to_vec()
}

fn open(entry: &mut [u8], key: &StorageKey) -> Option<Vec<(Instant, Vec<u8>)>> {
    let header = EntryHeader::parse(entry)?;
    let body = header.open(&SegmentKey::new(key, &[7; 32]), entry).ok()?;
    RunReader::new(body).map(|record| record.ok().map(|(time, bytes)| (time, bytes.to_vec()))).collect()
}

#[test]
fn an_entry_reads_back_and_nothing_else_does() {
    let entry = entry();
    assert_eq!(EntryHeader::parse(&entry), Some(header()));
    let records = open(&mut entry.clone(), &key(1)).unwrap();
    assert_eq!(records[0], (Instant::from_millis(1_000), b"the one".to_vec()));
    assert_eq!(records[1], (Instant::from_millis(900), b"the other".to_vec()));
    assert_eq!(open(&mut entry.clone(), &key(2)), None);
    for at in 0..entry.len() {
        for bit in 0..8 {
            let mut altered = entry.clone();
            altered[at] ^= 1 << bit;
            assert_eq!(open(&mut altered, &key(1)), None, "bit {bit} of byte {at}");
        }
        assert_eq!(open(&mut entry[..at].to_vec(), &key(1)), None, "{at} bytes");
    }
    assert!(!entry.windows(7).any(|bytes| bytes == b"the one"));
}

#[test]
fn the_table_of_boots_reads_back_and_nothing_else_does() {
    let mut table = BootTable::new(9, TAG);
    for number in 0..MAX_STORED_BOOTS as u32 {
        assert!(!table.is_full());
        assert!(table.push(boot(number)));
    }
    assert!(table.is_full() && !table.push(boot(99)));
    let mut buffer = [0; BOOTS_ITEM_MAX];
    assert_eq!(table.seal(&key(1), [1; 32], &mut buffer[..BOOTS_ITEM_MAX - 1]), None);
    let len = table.seal(&key(1), [1; 32], &mut buffer).unwrap();
    assert_eq!(len, BOOTS_ITEM_MAX);
    assert_eq!(BootTable::open(&key(1), &mut buffer.clone()), Ok(table.clone()));
    assert!(BootTable::open(&key(2), &mut buffer.clone()).is_err());
    for at in (0..len).step_by(7) {
        let mut altered = buffer;
        altered[at] ^= 1;
        assert!(BootTable::open(&key(1), &mut altered).is_err());
        assert!(BootTable::open(&key(1), &mut buffer[..at].to_vec()).is_err());
    }
    table.retain(|boot| boot.number != 3);
    assert!(table.push(boot(99)));
    assert_eq!(table.find(99, TAG).unwrap().1.place, 3, "the place that became free");
    assert_eq!(table.boots().map(|boot| boot.number).last(), Some(99));
}

#[test]
fn a_descriptor_set_belongs_to_its_boot() {
    let mut buffer = [0; 3 + DESCRIPTORS_OVERHEAD];
    let len = seal_descriptors(&key(1), (4, TAG), [2; 32], b"set", &mut buffer).unwrap();
    assert_eq!(len, buffer.len());
    assert_eq!(open_descriptors(&key(1), (4, TAG), &mut buffer.clone()), Ok(&b"set"[..]));
    assert!(open_descriptors(&key(1), (5, TAG), &mut buffer.clone()).is_err());
    assert_eq!(seal_descriptors(&key(1), (4, TAG), [2; 32], b"sets", &mut buffer), None);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The content of the item "ticket", field by field as in SPEC.md; `device::tickets` holds its own form to it.
fn stored_ticket() -> (Vec<u8>, serde_json::Value) {
    let (psk_proved, scopes, end) = (true, 0x0102_0304_u32, 1_750_000_000_u64);
    let fields: [(&str, usize, u8); 6] = [
        ("ticket", 122, 0x11),
        ("psk", 32, 0x22),
        ("service_key", 32, 0x33),
        ("backend_key", 32, 0x44),
        ("issuer", 8, 0x55),
        ("subject", 16, 0x66),
    ];
    let mut content = vec![1, u8::from(psk_proved)];
    let mut contents = serde_json::json!({ "psk_proved": psk_proved, "scopes": scopes, "end": end });
    for (name, len, first) in fields {
        let bytes: Vec<u8> = (first..).take(len).collect();
        contents[name] = hex(&bytes).into();
        content.extend(bytes);
    }
    content.extend(scopes.to_le_bytes());
    content.extend(end.to_le_bytes());
    content.extend([0x77; 16]);
    contents["own_hash"] = hex(&[0x77; 16]).into();
    (content, contents)
}

/// One of each sealed form, for who reads an earlier firmware's storage.
#[test]
fn vectors_of_storage() {
    let records = [(1_000u64, &b"the one"[..]), (900, b"the other")];
    let listed: Vec<_> = records
        .iter()
        .map(|(time, record)| serde_json::json!({ "time": time, "record": hex(record) }))
        .collect();
    let mut table = BootTable::new(9, TAG);
    assert!(table.push(boot(4)) && table.push(boot(5)));
    let boots: Vec<_> = table
        .boots()
        .map(|boot| {
            serde_json::json!({
                "number": boot.number, "tag": hex(&boot.tag.0), "place": boot.place,
                "set": hex(&boot.set.0), "salt": hex(&boot.salt),
            })
        })
        .collect();
    let mut item = [0; BOOTS_ITEM_MAX];
    let len = table.seal(&key(1), [3; 32], &mut item).unwrap();
    let item = hex(&item[..len]);
    let mut set = [0; 64];
    let set_len = seal_descriptors(&key(1), (5, TAG), [2; 32], b"set", &mut set).unwrap();
    let (content, contents) = stored_ticket();
    let mut ticket = [0; 272 + ITEM_OVERHEAD];
    let ticket_len = seal_ticket(&key(1), [4; 32], &content, &mut ticket).unwrap();
    assert_eq!(open_ticket(&key(1), &mut ticket.clone()), Ok(&content[..]));
    assert!(open_ticket(&key(2), &mut ticket.clone()).is_err());
    let floor = 1_750_000_000u64;
    let pinned = [&[1][..], &[0x11; 32], &[0x22; 8], &[0x33; 16], &floor.to_le_bytes()].concat();
    let mut pin = [0; 65 + ITEM_OVERHEAD];
    let pin_len = seal_pin(&key(1), [5; 32], &pinned, &mut pin).unwrap();
    assert_eq!(open_pin(&key(1), &mut pin.clone()), Ok(&pinned[..]));
    assert!(open_ticket(&key(1), &mut pin.clone()).is_err(), "each item has a key of its own");
    let vector = serde_json::json!({
        "storage_key": hex(&[1; 32]),
        "entry": {
            "lane": header().lane.code(), "boot": header().boot, "tag": hex(&TAG.0),
            "counter": header().counter, "first": header().first, "salt": hex(&[7; 32]),
            "records": listed, "entry": hex(&entry()),
        },
        "boots": {
            "latest": 9, "latest_tag": hex(&TAG.0), "boots": boots, "salt": hex(&[3; 32]), "item": item,
        },
        "descriptors": {
            "boot": 5, "tag": hex(&TAG.0), "salt": hex(&[2; 32]), "set": hex(b"set"),
            "item": hex(&set[..set_len]),
        },
        "pin": {
            "salt": hex(&[5; 32]), "key": hex(&[0x11; 32]), "issuer": hex(&[0x22; 8]),
            "subject": hex(&[0x33; 16]), "floor": floor, "item": hex(&pin[..pin_len]),
        },
        "ticket": {
            "salt": hex(&[4; 32]), "ticket": contents, "content": hex(&content),
            "item": hex(&ticket[..ticket_len]),
        },
    });
    crate::test_vectors::compare_or_bless("storage.json", &vector);
}
