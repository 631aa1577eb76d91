//! The contract without power cuts: capacity, erasure, wear, damage, dropped futures.

mod common;

use common::{Oracle, PAGES, Random, Request, layout, restart, store};
use vitalwire::framing::Lane;
use vitalwire::storage::{Item, StorageReply, StorageRequest};
use vitalwire_flash::model::{Ecc, Fault, Nor};
use vitalwire_flash::{Blocking, FlashStore, Layout, LayoutError};

#[test]
fn garbage_at_the_first_start_is_as_good_as_nothing() {
    for seed in 0..20 {
        for ecc in [Ecc::No, Ecc::Yes] {
            let mut store = store(Nor::<8, 512>::new(PAGES, seed).with_ecc(ecc).with_garbage());
            let (mut oracle, mut random) = (Oracle::default(), Random(seed));
            oracle.settle(&mut store, None);
            assert!(store.counters().damaged > 0);
            let mut buf = [0; 512];
            for _ in 0..300 {
                let request = oracle.draw(&mut random, 170);
                assert!(oracle.take(&request, store.serve_blocking(request.lend(), &mut buf)), "{request:?}");
            }
            oracle.settle(&mut restart(store), None);
        }
    }
}

#[test]
fn a_worn_page_loses_nothing_else() {
    let mut failed = 0;
    for page in 0..PAGES {
        for fault in [Fault::Loud, Fault::Silent] {
            for seed in 0..4 {
                let mut store = store(Nor::<8, 512>::new(PAGES, seed).with_ecc(Ecc::Yes));
                let (mut oracle, mut random) = (Oracle::default(), Random(seed));
                let mut buf = [0; 512];
                for round in 0..500 {
                    if round == 50 * seed {
                        store.flash_mut().0.wear_out(page, fault);
                    }
                    let request = oracle.draw(&mut random, 170);
                    if !oracle.take(&request, store.serve_blocking(request.lend(), &mut buf)) {
                        failed += 1;
                        assert!(store.counters().failures > 0 || oracle.full > 0, "{request:?}");
                        oracle.settle(&mut store, Some(&request));
                    }
                    if round % 100 == 99 {
                        store = restart(store);
                        oracle.settle(&mut store, None);
                    }
                }
                // Lanes that have two good pages left work on.
                for region in Lane::ALL {
                    let pages = layout(1).regions[region.index()].clone();
                    if pages.len() - usize::from(pages.contains(&(page as u32))) >= 2 {
                        let trim = StorageRequest::Trim { region, through: u64::MAX };
                        assert_eq!(store.serve_blocking(trim, &mut buf), StorageReply::Done);
                        let append = StorageRequest::Append { region, entry: &[1; 100] };
                        let reply = store.serve_blocking(append, &mut buf);
                        assert!(
                            matches!(reply, StorageReply::Appended { .. }),
                            "{reply:?}, {page}, {region:?}"
                        );
                    }
                }
            }
        }
    }
    assert!(failed > 0);
}

#[test]
fn a_flash_that_does_not_answer_is_not_empty() {
    let mut store = store(Nor::<4, 512>::new(PAGES, 1));
    let mut buf = [0; 512];
    let put = StorageRequest::Put { item: Item::Pin, value: b"pin" };
    assert_eq!(store.serve_blocking(put, &mut buf), StorageReply::Done);
    for start_anew in [false, true] {
        if start_anew {
            store = restart(store);
        }
        store.flash_mut().0.turn_off();
        for request in [
            StorageRequest::Read { region: Lane::Alarm, after: None },
            StorageRequest::Get { item: Item::Pin },
            StorageRequest::Append { region: Lane::Trend, entry: b"entry" },
            put,
            StorageRequest::Delete { item: Item::Pin },
        ] {
            // An empty region is known to be empty once it was read.
            let reply = store.serve_blocking(request, &mut buf);
            assert_eq!(reply, StorageReply::Failed, "{request:?}");
        }
        store.flash_mut().0.turn_on();
        let reply = store.serve_blocking(StorageRequest::Get { item: Item::Pin }, &mut buf);
        assert_eq!(reply, StorageReply::Value(Some(b"pin")));
    }
}

/// Appends until the region is full; returns how many entries it took.
fn fill<const W: usize, const E: usize>(store: &mut common::Store<W, E>, region: Lane, len: usize) -> u32 {
    let (mut count, mut buf) = (0, [0; 16]);
    let entry = vec![0xA5; len];
    let mut left = u32::MAX;
    loop {
        match store.serve_blocking(StorageRequest::Append { region, entry: &entry }, &mut buf) {
            StorageReply::Appended { free, .. } => {
                assert!(free <= left);
                left = free;
                count += 1;
            }
            reply => {
                assert_eq!(reply, StorageReply::Full);
                return count;
            }
        }
    }
}

#[test]
fn capacity_is_exact() {
    // A page of 4096 bytes has a head of 24; an entry of 500 takes 512 with its head and padding, one of 50 takes 64.
    assert_eq!(FlashStore::<Blocking<Nor<8, 4096>>>::entries_per_page(500), 7);
    assert_eq!(FlashStore::<Blocking<Nor<8, 4096>>>::entries_per_page(50), 63);
    assert_eq!(FlashStore::<Blocking<Nor<32, 4096>>>::entries_per_page(500), 7);
    let mut store = store(Nor::<8, 4096>::new(PAGES, 1));
    // Four pages: 28 would leave 488 bytes at the end, more than the 160 that are kept.
    assert_eq!(fill(&mut store, Lane::Waveform, 500), 28);
    // Two pages: 126 would leave 40 bytes; 16 x (63 + 3) are kept, which costs 16 entries.
    assert_eq!(fill(&mut store, Lane::Alarm, 50), 110);
    // The longest: a page without its head and the record's. The last page is kept for watermarks, for two fill it.
    assert_eq!(fill(&mut store, Lane::Event, 4096 - 24 - 8), 1);
    assert_eq!(fill(&mut store, Lane::Trend, 4096 - 24 - 7), 0);
    // The shortest are no longer than watermarks: the last page is kept for these.
    assert_eq!(fill(&mut store, Lane::Trend, 0), 2 * 254);
    // A start changes nothing about it.
    let mut store = restart(store);
    assert_eq!(fill(&mut store, Lane::Waveform, 500), 0);
}

#[test]
fn a_full_region_is_trimmed_one_by_one() {
    for len in [0, 8, 100, 300] {
        let mut store = store(Nor::<4, 512>::new(PAGES, 1));
        let mut buf = [0; 512];
        for _ in 0..3 {
            fill(&mut store, Lane::Waveform, len);
            let mut trimmed = 0;
            while let StorageReply::Entry { number, .. } =
                store.serve_blocking(StorageRequest::Read { region: Lane::Waveform, after: None }, &mut buf)
            {
                let request = StorageRequest::Trim { region: Lane::Waveform, through: number };
                assert_eq!(store.serve_blocking(request, &mut buf), StorageReply::Done, "after {trimmed}");
                trimmed += 1;
                // What comes at once where there is room again must not take the room for watermarks.
                if trimmed > 200 {
                    break;
                }
                if trimmed % 3 == 0 {
                    fill(&mut store, Lane::Waveform, len);
                }
            }
        }
    }
}

/// Returns whether a part of a secret is in the memory.
fn holds(image: &[u8], secret: &[u8]) -> bool {
    secret.windows(6).any(|part| image.windows(6).any(|bytes| bytes == part))
}

#[test]
fn a_deleted_item_is_gone_from_the_memory() {
    let secrets: Vec<Vec<u8>> = (0..4).map(|i| Random(i).bytes(40)).collect();
    let mut store = store(Nor::<8, 512>::new(PAGES, 1).with_ecc(Ecc::Yes));
    let mut buf = [0; 512];
    for secret in &secrets {
        store.serve_blocking(StorageRequest::Put { item: Item::Pin, value: b"pin" }, &mut buf);
        let put = StorageRequest::Put { item: Item::Ticket, value: secret };
        assert_eq!(store.serve_blocking(put, &mut buf), StorageReply::Done);
    }
    assert!(holds(store.flash_mut().0.image(), &secrets[0]));
    // Power goes at each operation of the delete, which is asked for again.
    for cut in 0..20 {
        let mut store = store.clone();
        store.flash_mut().0.cut_after(cut);
        let delete = StorageRequest::Delete { item: Item::Ticket };
        let done = store.serve_blocking(delete, &mut buf) == StorageReply::Done;
        let mut store = if done { store } else { restart(store) };
        if !done {
            assert_eq!(store.serve_blocking(delete, &mut buf), StorageReply::Done);
        }
        for secret in &secrets {
            assert!(!holds(store.flash_mut().0.image(), secret), "cut {cut}");
        }
        let get = StorageRequest::Get { item: Item::Pin };
        assert_eq!(restart(store).serve_blocking(get, &mut buf), StorageReply::Value(Some(b"pin")));
    }
}

#[test]
fn a_put_that_was_cut_is_gone_after_the_delete_too() {
    let secret = Random(9).bytes(100);
    for seed in 0..30 {
        let mut store = store(Nor::<8, 512>::new(PAGES, seed).with_ecc(Ecc::Yes));
        let mut buf = [0; 512];
        store.serve_blocking(StorageRequest::Put { item: Item::Pin, value: b"pin" }, &mut buf);
        store.flash_mut().0.cut_after(1);
        let put = StorageRequest::Put { item: Item::Ticket, value: &secret };
        assert_eq!(store.serve_blocking(put, &mut buf), StorageReply::Failed);
        let mut store = restart(store);
        let delete = StorageRequest::Delete { item: Item::Ticket };
        assert_eq!(store.serve_blocking(delete, &mut buf), StorageReply::Done);
        assert!(!holds(store.flash_mut().0.image(), &secret), "seed {seed}");
    }
}

#[test]
fn items_that_do_not_fit_change_nothing() {
    let mut store = store(Nor::<8, 512>::new(PAGES, 1));
    let mut buf = [0; 512];
    let big = [7; 200];
    for (i, expected) in [StorageReply::Done, StorageReply::Done, StorageReply::Full].into_iter().enumerate()
    {
        let put = StorageRequest::Put { item: Item::Descriptors(i as u8), value: &big };
        assert_eq!(store.serve_blocking(put, &mut buf), expected);
    }
    let erased = store.counters().pages_erased;
    let put = StorageRequest::Put { item: Item::Descriptors(2), value: &big };
    assert_eq!(store.serve_blocking(put, &mut buf), StorageReply::Full);
    assert_eq!(store.counters().pages_erased, erased, "what cannot be done must not wear the flash");
    for i in 0..2 {
        let get = StorageRequest::Get { item: Item::Descriptors(i) };
        assert_eq!(store.serve_blocking(get, &mut buf), StorageReply::Value(Some(&big)));
    }
    // The buffer is smaller than the value.
    let get = StorageRequest::Get { item: Item::Descriptors(0) };
    assert_eq!(store.serve_blocking(get, &mut [0; 199]), StorageReply::Failed);
    assert_eq!(store.serve_blocking(get, &mut [0; 200]), StorageReply::Value(Some(&big)));
}

#[test]
fn an_entry_that_has_aged_is_skipped_and_counted() {
    for bits in 1..=255 {
        let mut store = store(Nor::<8, 512>::new(PAGES, 1));
        let mut buf = [0; 512];
        for i in 0..20_u8 {
            let append = StorageRequest::Append { region: Lane::Waveform, entry: &[i; 40] };
            assert!(matches!(store.serve_blocking(append, &mut buf), StorageReply::Appended { .. }));
        }
        // The first page of the region: 24 bytes of head, then 48 for each entry, of which the fourth is hit.
        let offset = usize::from(bits) % 48;
        store.flash_mut().0.flip(9 * 512 + 24 + 3 * 48 + offset, bits);
        let mut store = restart(store);
        let (mut after, mut found) = (None, Vec::new());
        while let StorageReply::Entry { number, bytes } =
            store.serve_blocking(StorageRequest::Read { region: Lane::Waveform, after }, &mut buf)
        {
            after = Some(number);
            found.push(bytes[0]);
        }
        assert_eq!(found, (0..20).filter(|i| *i != 3).collect::<Vec<_>>());
        if offset >= 8 {
            assert_eq!(store.counters().damaged, 1);
        }
    }
}

#[test]
fn damaged_images_never_panic() {
    let mut whole = store(Nor::<4, 512>::new(PAGES, 1));
    let (mut oracle, mut random, mut buf) = (Oracle::default(), Random(1), [0; 512]);
    for _ in 0..400 {
        let request = oracle.draw(&mut random, 170);
        oracle.take(&request, whole.serve_blocking(request.lend(), &mut buf));
    }
    for seed in 0..300 {
        let mut random = Random(seed);
        let mut store = whole.clone();
        let bytes = PAGES as u64 * 512;
        for _ in 0..1 << random.below(9) {
            let (offset, bits) = (random.below(bytes), random.next() as u8);
            store.flash_mut().0.flip(offset as usize, bits);
        }
        let mut store = restart(store);
        for _ in 0..60 {
            let request = oracle.draw(&mut random, 170);
            store.serve_blocking(request.lend(), &mut buf);
        }
    }
}

#[test]
fn a_format_leaves_nothing() {
    let mut store = store(Nor::<8, 512>::new(PAGES, 1).with_garbage());
    store.format_blocking().unwrap();
    assert!(store.flash_mut().0.image().iter().all(|byte| *byte == 0xFF));
    Oracle::default().settle(&mut store, None);
}

#[test]
fn layouts_are_checked() {
    let new = |change: fn(&mut Layout)| {
        let mut layout = layout(512);
        change(&mut layout);
        FlashStore::new(Blocking(Nor::<8, 512>::new(PAGES, 1)), layout).err()
    };
    assert_eq!(new(|_| {}), None);
    assert_eq!(new(|l| l.items.start = 8), Some(LayoutError::NotAligned));
    assert_eq!(new(|l| l.regions[3].end += 512), Some(LayoutError::OutOfBounds));
    assert_eq!(new(|l| l.regions[0].start -= 512), Some(LayoutError::Overlap));
    assert_eq!(new(|l| l.regions[0].end -= 512), Some(LayoutError::Pages));
    assert_eq!(new(|l| l.items.end = 512), Some(LayoutError::Pages));
    assert_eq!(new(|l| l.regions[1] = 0..0), None);
}

#[test]
fn a_lane_without_pages_is_full_and_empty() {
    let mut layout = layout(512);
    layout.regions[0] = 0..0;
    layout.items = 0..0;
    let mut store = FlashStore::new(Blocking(Nor::<8, 512>::new(PAGES, 1)), layout).unwrap();
    let mut buf = [0; 8];
    for (request, reply) in [
        (Request::Append(Lane::Alarm, vec![1]), StorageReply::Full),
        (Request::Read(Lane::Alarm, None), StorageReply::End),
        (Request::Trim(Lane::Alarm, 7), StorageReply::Done),
        (Request::Put(Item::Pin, vec![1]), StorageReply::Full),
        (Request::Get(Item::Pin), StorageReply::Value(None)),
        (Request::Delete(Item::Pin), StorageReply::Done),
    ] {
        assert_eq!(store.serve_blocking(request.lend(), &mut buf), reply);
    }
}

/// CRC-32 (ISO 3309).
fn crc(bytes: &[u8]) -> [u8; 4] {
    let crc = bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 })
    });
    (!crc).to_le_bytes()
}

/// Found by the fuzz target `flash`: a page head that says that more is trimmed than was ever there made what was
/// appended later go with the next restart.
#[test]
fn a_watermark_ahead_of_its_place_trims_nothing() {
    use embedded_storage::nor_flash::NorFlash;
    for ahead in [1, 1 << 20, u64::MAX - (2 << 16)] {
        let mut flash = Nor::<8, 512>::new(PAGES, 1);
        let fields = [&b"VWf1"[..], &2u64.to_le_bytes(), &((2 << 16) + ahead).to_le_bytes()].concat();
        let head = [&fields[..], &crc(&fields)].concat();
        flash.write(2 * 512, &head).unwrap();
        let mut store = store(flash);
        let (append, mut buf) = (StorageRequest::Append { region: Lane::Alarm, entry: b"new" }, [0; 512]);
        let StorageReply::Appended { number, .. } = store.serve_blocking(append, &mut buf) else { panic!() };
        let read = StorageRequest::Read { region: Lane::Alarm, after: None };
        let reply = restart(store).serve_blocking(read, &mut buf);
        assert_eq!(reply, StorageReply::Entry { number, bytes: b"new" }, "{ahead}");
    }
}
