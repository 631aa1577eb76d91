//! How this device is set up: its identity, its memory, its policies.

use crate::line::LONGEST;
use crate::page::{PAGE_LEN, Page};
use crate::{Failure, board, telemetry};
use alloc::sync::Arc;
use cortex_m::singleton;
use vitalwire::crypto::{PublicKey, StaticSecret};
use vitalwire::delivery::LaneShares;
use vitalwire::device::{BackendPin, Device, DeviceConfig, DeviceMemory, StorageConfig};
use vitalwire::handshake::Limits;
use vitalwire::identity::{Credential, LocalIdentity, Time, TrustAnchors};
use vitalwire::session::RekeyPolicy;
use vitalwire::storage::{BOOTS_ITEM_MAX, DESCRIPTORS_OVERHEAD, StorageKey};
use vitalwire::{CallError, Duration, UnixSeconds};

/// How large packets are built. A line of 115 200 baud carries one in 22 ms: so long may an alarm have to wait.
pub const MAX_PACKET: u16 = 256;
/// A record fits a packet of this length: longer blocks are split.
const SMALLEST_PACKET: u16 = 128;
/// The ECG of an alarm, which comes at once, and some of the rest. What waits for longer is in the flash: that is what bridges an outage.
const SHARES: LaneShares = LaneShares { alarm: 128, event: 96, trend: 96, waveform: 960 };
const OUTBOX: usize = SHARES.alarm + SHARES.event + SHARES.trend + SHARES.waveform;
/// For each lane, what is read back from the flash: a record of any length and its header.
const LANE_BACKLOG: usize = SMALLEST_PACKET as usize - 36;
const SET: usize = telemetry::DESCRIPTORS_LEN + DESCRIPTORS_OVERHEAD;
const BACKLOG: usize = BOOTS_ITEM_MAX + SET + 4 * LANE_BACKLOG;
/// What a storage request reads into: the longest entry or item.
pub const STORAGE_BUFFER: usize = BOOTS_ITEM_MAX;
/// Alarms are stored at once; what is acknowledged within 2 s never gets to the flash.
const SPILL_AFTER: Duration = Duration::from_secs(2);
/// Often, to show it. A device that does not ask for it has one in 2^16 packets or 15 minutes.
const HASH_RATCHET_PACKETS: u64 = 24;

const TWICE: Failure = "the device was made twice";

/// Makes the device. It may be made once.
///
/// It lives in static memory, and what its making needs of the stack is free again when this returns: so the run loop's
/// stack is that of the device's operations only.
#[inline(never)]
pub fn device() -> Result<&'static mut Device<'static>, Failure> {
    let place = singleton!(: Option<Device<'static>> = None).ok_or(TWICE)?;
    let memory = memory()?;
    match Device::new(config()?, memory) {
        Ok(device) => Ok(place.insert(device)),
        Err(CallError::InvalidConfig(what)) => Err(what),
        Err(_) => Err("the device's memory"),
    }
}

fn memory() -> Result<DeviceMemory<'static>, Failure> {
    let outbox = singleton!(: [u8; OUTBOX] = [0; OUTBOX]).ok_or(TWICE)?;
    let backlog = singleton!(: [u8; BACKLOG] = [0; BACKLOG]).ok_or(TWICE)?;
    let descriptors = singleton!(: [u8; telemetry::DESCRIPTORS_LEN] = [0; telemetry::DESCRIPTORS_LEN]);
    let descriptors = descriptors.ok_or(TWICE)?;
    let len = telemetry::descriptors(descriptors).map_err(|_| "the descriptors")?;
    Ok(DeviceMemory { outbox, descriptors: &descriptors[..len], backlog })
}

#[inline(never)]
fn config() -> Result<DeviceConfig, Failure> {
    let page = Page::parse(board::page(PAGE_LEN)).ok_or("this device was never provisioned")?;
    let secret = StaticSecret::from_bytes(page.secret);
    let credential = Credential::from_bytes(page.credential).map_err(|_| "the device's credential")?;
    let identity = LocalIdentity::new(Arc::new(secret), PublicKey(page.public), credential);
    // It has no clock: it believes no credential that ended before it was made.
    let time = Time::floor_only(UnixSeconds(page.made));

    let mut config = DeviceConfig::new(identity, anchors(&page)?, time, 1, OUTBOX);
    config.pin = pin(&page)?;
    config.limits = Limits::SMALL_LINK;
    const _: () = assert!(Limits::SMALL_LINK.max_packet() as usize <= LONGEST);
    config.smallest_packet = SMALLEST_PACKET;
    config.shares = SHARES;
    let rekey = RekeyPolicy::default().hash_after_packets(HASH_RATCHET_PACKETS);
    config.rekey =
        rekey.and_then(|rekey| rekey.dh_interval(Duration::ZERO)).map_err(|_| "the rekey policy")?;
    // Records of one step share a packet.
    config.linger = [Duration::ZERO, Duration::from_millis(100), Duration::from_millis(100), Duration::ZERO];
    let mut storage = StorageConfig::new(StorageKey::from_bytes(page.storage_key), BACKLOG);
    storage.entry_len = BOOTS_ITEM_MAX;
    storage.set_len = SET;
    storage.backlog =
        LaneShares { alarm: LANE_BACKLOG, event: LANE_BACKLOG, trend: LANE_BACKLOG, waveform: LANE_BACKLOG };
    let after = Some(SPILL_AFTER);
    storage.spill_after = [Some(Duration::ZERO), after, after, after];
    config.storage = (!cfg!(feature = "without-storage")).then_some(storage);
    Ok(config)
}

/// Trusts whomever the authority has signed.
#[cfg(feature = "device")]
fn anchors(page: &Page<'_>) -> Result<TrustAnchors, Failure> {
    use vitalwire::crypto::SignatureKey;
    TrustAnchors::new(&[SignatureKey(page.authority)]).map_err(|_| "the authority's key")
}

/// Knows no backend before the first contact.
#[cfg(feature = "device")]
fn pin(_: &Page<'_>) -> Result<Option<BackendPin>, Failure> {
    Ok(None)
}

/// Trusts no authority, so that it needs no signatures.
#[cfg(not(feature = "device"))]
fn anchors(_: &Page<'_>) -> Result<TrustAnchors, Failure> {
    Ok(TrustAnchors::NONE)
}

/// Knows its backend, which whoever wrote the page has verified.
#[cfg(not(feature = "device"))]
fn pin(page: &Page<'_>) -> Result<Option<BackendPin>, Failure> {
    let credential =
        Credential::from_bytes(page.backend_credential).map_err(|_| "the backend's credential")?;
    let identity = credential.claimed_identity().ok_or("the backend's identity")?;
    Ok(Some(BackendPin { key: PublicKey(page.backend), identity, credential: Some(credential) }))
}
