//! Why `sequential-storage` is not underneath: what its map does on the model.
//!
//! Its queue and the map's remove need flash whose words can be written twice (`MultiwriteNorFlash`), which flash with ECC is
//! not, and the queue can only give room back by overwriting or by such a second write. The map alone could hold the items. But a
//! page erase that is cut may leave any bits (`embedded-storage`: "contents of the page are undefined"). Such a page looks
//! closed to the map, and its repair then erases the page to which the items have just been moved.

mod common;

use common::{PAGES, Random, restart, store};
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use sequential_storage::cache::{Cache, Uncached};
use sequential_storage::map::{MapConfig, MapStorage};
use vitalwire::storage::{Item, StorageReply, StorageRequest};
use vitalwire_flash::Blocking;
use vitalwire_flash::model::{Ecc, Nor};

type Flash = Blocking<Nor<8, 512>>;

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("the model does not wait"),
    }
}

type Map = MapStorage<u8, Flash, Cache<Uncached, Uncached, Uncached, u8>>;

fn map(flash: Flash) -> Map {
    MapStorage::new(flash, MapConfig::new(0..3 * 512), Cache::new_uncached())
}

/// A pin is stored once, and another value again and again until power goes. Returns whether the pin is still there.
fn keeps_the_pin(seed: u64, cut: u64) -> bool {
    let mut random = Random(seed);
    let mut flash = Nor::<8, 512>::new(PAGES, seed).with_ecc(Ecc::Yes);
    flash.cut_after(cut);
    let mut store = map(Blocking(flash));
    let mut buf = [0; 256];
    now(store.store_item(&mut buf, &1, &0x1234_u64)).unwrap();
    while now(store.store_item(&mut buf, &2, &random.next())).is_ok() {}
    let (mut flash, _) = store.destroy();
    flash.0.turn_on();
    let mut store = map(flash);
    // It repairs what it finds when something is stored.
    let _ = now(store.store_item(&mut buf, &2, &0_u64));
    now(store.fetch_item::<u64>(&mut buf, &1)) == Ok(Some(0x1234))
}

/// If this fails, that crate has changed: it may do for the items then.
#[test]
fn its_map_loses_items_when_an_erase_is_cut() {
    let cuts = (0..20).flat_map(|seed| (100..300).map(move |cut| (seed, cut)));
    let lost = cuts.filter(|(seed, cut)| !keeps_the_pin(*seed, *cut)).count();
    println!("{lost} of 4000 cuts have lost an item that was stored long before");
    assert!(lost > 0);
}

/// The same for the items here.
#[test]
fn the_items_survive_the_same() {
    for (seed, cut) in (0..20).flat_map(|seed| (100..300).map(move |cut| (seed, cut))) {
        let (mut random, mut buf) = (Random(seed), [0; 64]);
        let mut flash = Nor::<8, 512>::new(PAGES, seed).with_ecc(Ecc::Yes);
        flash.cut_after(cut);
        let mut store = store(flash);
        let put = StorageRequest::Put { item: Item::Pin, value: b"pin" };
        assert_eq!(store.serve_blocking(put, &mut buf), StorageReply::Done);
        loop {
            let value = random.next().to_le_bytes();
            let put = StorageRequest::Put { item: Item::Ticket, value: &value };
            if store.serve_blocking(put, &mut buf) != StorageReply::Done {
                break;
            }
        }
        let get = StorageRequest::Get { item: Item::Pin };
        assert_eq!(restart(store).serve_blocking(get, &mut buf), StorageReply::Value(Some(b"pin")));
    }
}
