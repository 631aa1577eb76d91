use super::DeviceConfig;
use crate::delivery::LaneShares;
use crate::error::CallError;
use crate::framing::{Lane, longest_run_of_one};
use crate::limits::MAX_RECORD;
use crate::storage::{BOOTS_ITEM_MAX, DESCRIPTORS_OVERHEAD, ENTRY_OVERHEAD, StorageKey};
use crate::time::Duration;

/// The default of [`StorageConfig::entry_len`]: an entry with one record of any length.
const ENTRY_LEN: usize = 1088;

/// How a device uses its storage.
///
/// [`DeviceMemory::backlog`](super::DeviceMemory::backlog) is split into `entry_len`, `set_len` and the four shares of
/// `backlog`.
///
/// ```
/// use vitalwire::device::StorageConfig;
/// use vitalwire::storage::StorageKey;
/// // The key: 32 random bytes that are kept where who reads the flash does not look.
/// let storage = StorageConfig::new(StorageKey::from_bytes([7; 32]), 8192);
/// assert!(storage.memory_len() <= 8192);
/// ```
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct StorageConfig {
    /// Seals what is stored.
    pub key: StorageKey,
    /// The longest entry, in bytes. It must hold the longest record, and the table of boots:
    /// [`BOOTS_ITEM_MAX`].
    pub entry_len: usize,
    /// Bytes for a descriptor set that is stored or read back: the longest set's and
    /// [`DESCRIPTORS_OVERHEAD`].
    pub set_len: usize,
    /// How much memory each lane has for what is read back; each must hold the longest record and 8 bytes.
    pub backlog: LaneShares,
    /// How long a record may wait for its acknowledgement before it is stored: alarm, event, trend, waveform. Zero stores
    /// it at once, `None` never does. A lane whose memory gets full is stored before.
    ///
    /// Each entry wears the flash, and a record that is acknowledged in time never gets there.
    pub spill_after: [Option<Duration>; 4],
}

impl StorageConfig {
    /// The usual settings for `memory_len` bytes: alarms are stored at once, other records after 5 s.
    pub const fn new(key: StorageKey, memory_len: usize) -> Self {
        let rest = memory_len.saturating_sub(2 * ENTRY_LEN);
        let share = rest / 4;
        let after = Some(Duration::from_secs(5));
        Self {
            key,
            entry_len: ENTRY_LEN,
            set_len: ENTRY_LEN,
            backlog: LaneShares { alarm: share, event: share, trend: share, waveform: share },
            spill_after: [Some(Duration::ZERO), after, after, after],
        }
    }

    /// Returns how many bytes of memory these settings need.
    pub const fn memory_len(&self) -> usize {
        let LaneShares { alarm, event, trend, waveform } = self.backlog;
        let lanes = alarm.saturating_add(event).saturating_add(trend).saturating_add(waveform);
        self.entry_len.saturating_add(self.set_len).saturating_add(lanes)
    }

    pub(super) fn spill_after(&self, lane: Lane) -> Option<Duration> {
        self.spill_after.get(lane.index()).copied().flatten()
    }

    pub(super) fn check(&self, config: &DeviceConfig, memory: usize, set: usize) -> Result<(), CallError> {
        let record = config.record_limit().min(MAX_RECORD);
        let LaneShares { alarm, event, trend, waveform } = self.backlog;
        let smallest = alarm.min(event).min(trend).min(waveform);
        if memory < self.memory_len() {
            return Err(CallError::InvalidConfig("the storage settings need more memory than `backlog`"));
        }
        if self.entry_len < BOOTS_ITEM_MAX.max(ENTRY_OVERHEAD.saturating_add(longest_run_of_one(record))) {
            return Err(CallError::InvalidConfig("the storage's entry_len is too small"));
        }
        if self.set_len < set.saturating_add(DESCRIPTORS_OVERHEAD) {
            return Err(CallError::InvalidConfig("the storage's set_len is below the descriptor set's"));
        }
        if smallest < record.saturating_add(8) {
            return Err(CallError::InvalidConfig("a lane's backlog is too small for its longest record"));
        }
        Ok(())
    }
}
