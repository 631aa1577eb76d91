//! Prints how long a flash lives when a device records ECG all day and its link is down for some hours.
//!
//! ```sh
//! cargo run --release --example wear
//! ```
//!
//! The device writes to flash what it cannot send: entries of ECG while the link is down, each alarm at once, and a ticket for each
//! session. When the region is full, it drops the oldest entry. When the link is back, it reads, sends and trims eight at a time.

use vitalwire::Instant;
use vitalwire::framing::{Lane, RunWriter};
use vitalwire::storage::{ENTRY_OVERHEAD, Item, StorageReply, StorageRequest};
use vitalwire_flash::model::{Ecc, Nor};
use vitalwire_flash::{Blocking, FlashStore, Layout};

/// A record of a second of 360 Hz ECG, in bytes: README.md of the library, `benches/figures`.
const SECOND_OF_ECG: usize = 207;
/// Erases that a page endures: usual in data sheets of external NOR flash. Flash inside processors often endures 10 000.
const ENDURANCE: f64 = 100_000.0;
const PAGE: usize = 4096;
const DAYS: u64 = 2;
const ALARMS_A_DAY: usize = 20;
const SESSIONS_A_DAY: usize = 48;

type Store = FlashStore<Blocking<Nor<8, PAGE>>>;

fn main() {
    println!(
        "ECG at {SECOND_OF_ECG} B/s, a record a second; pages of {PAGE} bytes, words of 8 bytes with ECC; {DAYS} days each,"
    );
    println!(
        "with {ALARMS_A_DAY} alarms and {SESSIONS_A_DAY} sessions a day; a page endures {ENDURANCE} erases."
    );
    println!();
    println!(
        "flash    records,  link down  region holds  pages erased  bytes written,  waveform region  items"
    );
    println!(
        "         bytes     hours/day  minutes       per day       erased / entry  lives, years     years"
    );
    for (name, pages, waveform) in [("64 KB", 16, 9), ("1 MB", 256, 40)] {
        // The first is what the usual settings of `StorageConfig` make of it.
        for records in [4, 6] {
            for hours in [1, 4, 24] {
                row(name, pages, waveform, records, hours);
            }
        }
    }
}

/// How long the sealed entry of so many records is, in bytes, as a device writes it.
fn entry_len(records: usize) -> usize {
    let mut space = [0; 4096];
    let mut run = RunWriter::new(&mut space);
    for second in 0..records as u64 {
        let time = Instant::from_millis(86_400_000 + second * 1_000);
        run.push(time, &[0x5A; SECOND_OF_ECG]).expect("an entry of a few records");
    }
    ENTRY_OVERHEAD + run.finish()
}

/// Lives through the days, and prints a line. The waveform region starts at a page, and has all that follow.
fn row(name: &str, pages: usize, waveform: usize, records: usize, hours: u64) {
    let len = entry_len(records);
    let at = |page: usize| (page * PAGE) as u32;
    let others = (waveform - 2) / 3;
    let layout = Layout {
        items: 0..at(2),
        regions: [
            at(2)..at(waveform - 2 * others),
            at(waveform - 2 * others)..at(waveform - others),
            at(waveform - others)..at(waveform),
            at(waveform)..at(pages),
        ],
    };
    let mut store =
        FlashStore::new(Blocking(Nor::new(pages, 1).with_ecc(Ecc::Yes)), layout).expect("the layout suits");
    let seconds = records as f64;
    let down = (hours as f64 * 3600.0 / seconds) as usize;
    let entry = vec![0x5A; len];
    let mut appended = 0_usize;
    for _ in 0..DAYS {
        for i in 0..down {
            append(&mut store, &entry);
            appended += 1;
            if i % (down / ALARMS_A_DAY) == 0 {
                alarm(&mut store);
            }
            if i % (down / SESSIONS_A_DAY) == 0 {
                session(&mut store);
            }
        }
        drain(&mut store);
    }
    let counters = store.counters();
    let wear = &store.flash_mut().0.wear;
    let bytes = (appended * len) as f64;
    let life = |wear: &[u64]| {
        // The mean: pages take turns.
        let a_day = wear.iter().sum::<u64>() as f64 / wear.len() as f64 / DAYS as f64;
        ENDURANCE / a_day / 365.25
    };
    let holds = (pages - waveform) as f64 * f64::from(Store::entries_per_page(len as u16)) * seconds / 60.0;
    println!(
        "{name:<8} {records}, {len:>5}  {hours:>9}  {holds:>12.1}  {:>12.0}  {:>6.2} / {:<5.2}  {:>15.1}  {:>5.1}",
        counters.pages_erased as f64 / DAYS as f64,
        counters.bytes_written as f64 / bytes,
        (counters.pages_erased as usize * PAGE) as f64 / bytes,
        life(&wear[waveform..]),
        life(&wear[..2]),
    );
}

/// Appends an entry of ECG; drops the oldest ones while there is no room.
fn append(store: &mut Store, entry: &[u8]) {
    let mut buf = [0; 2048];
    let append = StorageRequest::Append { region: Lane::Waveform, entry };
    while store.serve_blocking(append, &mut buf) == StorageReply::Full {
        let read = StorageRequest::Read { region: Lane::Waveform, after: None };
        let StorageReply::Entry { number, .. } = store.serve_blocking(read, &mut buf) else {
            panic!("full and empty");
        };
        let trim = StorageRequest::Trim { region: Lane::Waveform, through: number };
        assert_eq!(store.serve_blocking(trim, &mut buf), StorageReply::Done);
    }
}

/// Stores an alarm, and trims it when it is acknowledged.
fn alarm(store: &mut Store) {
    let append = StorageRequest::Append { region: Lane::Alarm, entry: &[0x5A; 100] };
    let StorageReply::Appended { number, .. } = store.serve_blocking(append, &mut []) else {
        panic!("no room for an alarm");
    };
    let trim = StorageRequest::Trim { region: Lane::Alarm, through: number };
    assert_eq!(store.serve_blocking(trim, &mut []), StorageReply::Done);
}

/// Takes a ticket, erases it before it is used, and stores the next.
fn session(store: &mut Store) {
    let mut buf = [0; 2048];
    let done = store.serve_blocking(StorageRequest::Delete { item: Item::Ticket }, &mut buf);
    assert_eq!(done, StorageReply::Done);
    let put = StorageRequest::Put { item: Item::Ticket, value: &[0x5A; 200] };
    assert_eq!(store.serve_blocking(put, &mut buf), StorageReply::Done);
}

/// Sends what is stored, and trims it eight entries at a time.
fn drain(store: &mut Store) {
    let (mut after, mut count) = (None, 0);
    let mut buf = [0; 2048];
    loop {
        let read = StorageRequest::Read { region: Lane::Waveform, after };
        let reply = store.serve_blocking(read, &mut buf);
        if let StorageReply::Entry { number, .. } = reply {
            after = Some(number);
            count += 1;
            if count % 8 != 0 {
                continue;
            }
        }
        let ended = reply == StorageReply::End;
        if let Some(through) = after {
            let trim = StorageRequest::Trim { region: Lane::Waveform, through };
            assert_eq!(store.serve_blocking(trim, &mut buf), StorageReply::Done);
        }
        if ended {
            return;
        }
    }
}
