//! A device's storage in memory, which the fuzzer may damage.

use vitalwire::framing::Lane;
use vitalwire::storage::MemoryStorage;
pub use vitalwire_flash::owned::{Answer, Asked};

/// Every entry, with its lane and number.
pub fn entries(disk: &MemoryStorage) -> impl Iterator<Item = (Lane, u64, &[u8])> {
    let of = |lane| disk.entries(lane).map(move |(number, bytes)| (lane, number, bytes));
    Lane::ALL.into_iter().flat_map(of)
}
