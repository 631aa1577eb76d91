//! The flash of a device that reboots: a map in memory that outlives the device. `integrations/flash` has a real driver.

use std::collections::BTreeMap;
use vitalwire::storage::{Item, StorageReply, StorageRequest};

/// Bytes of entries that the region of each lane takes.
const REGION: usize = 256 * 1024;

#[derive(Debug, Default)]
pub struct Flash {
    regions: [Region; 4],
    items: BTreeMap<Item, Vec<u8>>,
}

#[derive(Debug, Default)]
struct Region {
    entries: BTreeMap<u64, Vec<u8>>,
    used: usize,
    next: u64,
}

impl Flash {
    /// Does what a device asks for.
    pub fn serve(&mut self, request: StorageRequest<'_>) -> StorageReply<'_> {
        match request {
            StorageRequest::Append { region, entry } => {
                let region = &mut self.regions[region.index()];
                if region.used + entry.len() > REGION {
                    return StorageReply::Full;
                }
                region.used += entry.len();
                region.next += 1;
                region.entries.insert(region.next, entry.to_vec());
                StorageReply::Appended { number: region.next, free: (REGION - region.used) as u32 }
            }
            StorageRequest::Read { region, after } => {
                let from = after.map_or(0, |after| after + 1);
                let entry = self.regions[region.index()].entries.range(from..).next();
                entry.map_or(StorageReply::End, |(number, bytes)| StorageReply::Entry {
                    number: *number,
                    bytes,
                })
            }
            StorageRequest::Trim { region, through } => {
                let region = &mut self.regions[region.index()];
                region.entries = region.entries.split_off(&(through + 1));
                region.used = region.entries.values().map(Vec::len).sum();
                StorageReply::Done
            }
            StorageRequest::Put { item, value } => {
                self.items.insert(item, value.to_vec());
                StorageReply::Done
            }
            StorageRequest::Get { item } => StorageReply::Value(self.items.get(&item).map(Vec::as_slice)),
            StorageRequest::Delete { item } => {
                self.items.remove(&item);
                StorageReply::Done
            }
            _ => StorageReply::Failed,
        }
    }
}
