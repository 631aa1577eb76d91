//! Storage at rest where the generator is as bad as it can be.

use crate::kit::*;
use crate::storage::Storage;
use std::collections::BTreeMap;
use vitalwire::device::{Device, DeviceConfig, DeviceMemory, StorageConfig};
use vitalwire::framing::Lane;
use vitalwire::identity::Time;
use vitalwire::storage::{BootTable, Item, StorageKey, StorageRequest};
use vitalwire::{Entropy, UnixSeconds};

const MEMORY: usize = 8192;

/// Gives the same bytes after each start, or each time.
struct Stuck(Option<Rng>);

impl Entropy for Stuck {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), vitalwire::EntropyError> {
        match &mut self.0 {
            Some(rng) => rng.fill(out),
            None => {
                out.fill(7);
                Ok(())
            }
        }
    }
}

#[test]
fn no_salt_comes_twice_where_the_generator_repeats_itself() {
    //= SPEC.md#stored-entries
    //= type=test
    //# A device MUST NOT use a salt twice, also where its generator gives the same bytes after each start.
    for constant in [false, true] {
        let mut pki = Pki::new(5);
        let (identity, pin) = (pki.device(0), pin_of(&pki.backend()));
        let (mut storage, now) = (Storage::default(), at(1_000));
        // Each salt, and what was sealed under it.
        let mut items: BTreeMap<[u8; 32], Vec<u8>> = BTreeMap::new();
        let mut entries: BTreeMap<[u8; 32], u32> = BTreeMap::new();
        for start in 0..5 {
            let mut rng = Stuck((!constant).then(|| Rng::new(3)));
            let mut config = DeviceConfig::new(identity.clone(), pki.anchors(), pki.time(), 1, MEMORY);
            // Each start stores the pin anew, with a higher floor.
            (config.pin, config.time) = (Some(pin), Time::floor_only(UnixSeconds(1_000 + u64::from(start))));
            config.storage = Some(StorageConfig::new(StorageKey::from_bytes([1; 32]), MEMORY));
            let memory = DeviceMemory {
                outbox: vec![0; MEMORY].leak(),
                descriptors: descriptors(0).leak(),
                backlog: vec![0; MEMORY].leak(),
            };
            let mut device = Device::new(config, memory).unwrap();
            for code in 0..3 {
                device.record(now, Lane::Alarm, &alarm(10 * start + code)).unwrap();
                while let Some(request) = device.poll_storage(now, &mut rng) {
                    if let StorageRequest::Put { value, .. } = &request {
                        let salt = value[1..33].try_into().unwrap();
                        let known = items.insert(salt, value.to_vec());
                        assert!(known.is_none_or(|known| known == *value), "two values under one salt");
                    }
                    let reply = storage.handle(request).unwrap();
                    device.handle_storage(now, reply);
                }
            }
            assert!(device.is_all_stored());
        }
        assert!(storage.memory.item(Item::Pin).is_some());
        let mut boots = storage.memory.item(Item::Boots).unwrap().to_vec();
        let table = BootTable::open(&StorageKey::from_bytes([1; 32]), &mut boots).unwrap();
        for boot in table.boots() {
            assert_eq!(entries.insert(boot.salt, boot.number), None, "two boots with one key");
        }
        assert_eq!(entries.len(), 5);
    }
}
