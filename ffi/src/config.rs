//! Making a device, and destroying it.

use crate::entropy::{Source, vw_entropy_fn};
use crate::event::{vw_identity, vw_pin, vw_received_fn};
use crate::key_store::{KeyStore, vw_key_store};
use crate::memory::{self, Plain, Region};
use crate::names::Text;
use crate::rekey::{lane_policy, vw_rekey_policy};
use crate::slot::{self, Object};
use crate::status::*;
use alloc::sync::Arc;
use core::ffi::{c_char, c_void};
use core::fmt::Write;
use vitalwire::crypto::{Psk, PublicKey, SignatureKey, StaticDh, StaticSecret};
use vitalwire::delivery::LaneShares;
use vitalwire::device::{BackendPin, Device, DeviceConfig, DeviceMemory, StorageConfig};
use vitalwire::handshake::Limits;
use vitalwire::identity::{Credential, LocalIdentity, Time, TrustAnchors};
use vitalwire::limits::MAX_AUTHORITIES;
use vitalwire::storage::StorageKey;
use vitalwire::wire::{ConnectionId, PskId};
use vitalwire::{CallError, Duration, UnixSeconds};
use zeroize::{Zeroize, Zeroizing};

/// The length of a key, in bytes.
pub const VW_KEY_LEN: usize = 32;
/// The longest credential, in bytes.
pub const VW_CREDENTIAL_MAX: usize = 130;
/// How many lanes there are: alarm, event, trend, waveform.
pub const VW_LANES: usize = 4;
/// For `vw_config.spill_after_ms`: never.
pub const VW_SPILL_NEVER: u32 = 0xffff_ffff;
/// Bytes for `vw_poll_transmit` that always do for a handshake.
pub const VW_HANDSHAKE_PACKET_MAX: usize = 512;

/// The size of a device's opaque storage, in words of 64 bits.
#[cfg(target_pointer_width = "64")]
pub const VW_DEVICE_WORDS: usize = 1408;
/// The size of a device's opaque storage, in words of 64 bits.
#[cfg(target_pointer_width = "32")]
pub const VW_DEVICE_WORDS: usize = 1344;

const _: () = assert!(VW_CREDENTIAL_MAX == vitalwire::limits::MAX_CREDENTIAL);
const _: () = assert!(VW_HANDSHAKE_PACKET_MAX == vitalwire::limits::MAX_HELLO);
const _: () = assert!(VW_LANES == vitalwire::framing::Lane::ALL.len());

/// A device: opaque, in the caller's memory, and never moved. Its size is `sizeof (vw_device)`.
///
/// Declare it static, or on a stack that outlives it. One task uses it at a time; a second one gets `VW_ERROR_BUSY`.
#[repr(C)]
pub struct vw_device {
    /// Not for use.
    pub opaque: [u64; VW_DEVICE_WORDS],
}

/// What a device needs to know. Begin with `vw_config_init`, and fill in at least `secret_key`, `credential`,
/// `authorities`, `boot`, `outbox`, `descriptors` and `entropy`.
///
/// Keys and credentials are copied: wipe yours. `outbox`, `backlog` and `descriptors` stay in use until
/// `vw_device_destroy`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct vw_config {
    /// Set by `vw_config_init`.
    pub size: usize,

    /// The device's X25519 static key, 32 bytes. NULL: `key_store` has it.
    pub secret_key: *const u8,
    /// Where the key is kept otherwise.
    pub key_store: vw_key_store,
    /// The public half, 32 bytes; with NULL it is computed from `secret_key`, which costs some milliseconds.
    pub public_key: *const u8,
    /// The device's own credential.
    pub credential: *const u8,
    /// Its length in bytes.
    pub credential_len: usize,

    /// The authorities that are trusted: Ed25519 public keys of 32 bytes, one behind the other.
    pub authorities: *const u8,
    /// How many, 1 to 4.
    pub authority_count: usize,
    /// The only backend that may answer; NULL: any that an authority vouches for.
    pub expected: *const vw_identity,
    /// The backend, as the last `VW_EVENT_CONNECTED` told it; NULL: not known. With storage the device keeps it itself.
    pub pin: *const vw_pin,
    /// A pre-shared key of 32 bytes that every handshake must prove; NULL: none.
    pub psk: *const u8,
    /// Its id, 8 bytes.
    pub psk_id: *const u8,

    /// The wall clock in seconds since 1970, if the device has one that it trusts; 0: it has none.
    pub wall_clock: u64,
    /// The time floor, as the last `VW_EVENT_CONNECTED` told it.
    pub time_floor: u64,
    /// This boot's number: one more than at the boot before. With storage it counts only if that is empty.
    pub boot: u32,

    /// The connection id to receive on; of no bytes on a link of one's own.
    pub connection_id: *const u8,
    /// Its length, 0 to 8 bytes.
    pub connection_id_len: usize,
    /// The longest packet that the device accepts, in bytes, 64 or more. Usually 1232.
    pub max_packet: u16,
    /// The replay window, in packets, 64 to 8192. Usually 128.
    pub window: u16,
    /// After so many seconds without a packet of the backend a session ends. Usually 7200.
    pub idle_seconds: u32,
    /// The smallest `max_packet` that any link of this device will have: no record is made longer. 64 or more.
    pub smallest_packet: u16,
    /// For how long the device listens after each of its packets, if its radio is off otherwise; 0: it always listens.
    pub listen_ms: u32,
    /// When to rekey.
    pub rekey: vw_rekey_policy,

    /// How `outbox` is shared among the lanes, in bytes; all 0: as usual.
    pub lane_bytes: [usize; VW_LANES],
    /// How long each lane's records may wait for more of them to share a packet.
    pub linger_ms: [u32; VW_LANES],
    /// What happens when a lane is full: `VW_POLICY_…`. Usually REFUSE, REFUSE, DROP_OLDEST, DROP_OLDEST.
    pub policies: [u8; VW_LANES],
    /// How much of a lane one channel may take, in percent, 1 to 100.
    pub quotas: [u8; VW_LANES],

    /// What storage is sealed with, 32 bytes; NULL: there is no storage, records are kept in RAM only.
    pub storage_key: *const u8,
    /// The longest entry in storage, in bytes; 0: as usual.
    pub entry_len: usize,
    /// Bytes for a descriptor set that is stored or read; 0: as usual.
    pub set_len: usize,
    /// How the rest of `backlog` is shared among the lanes, in bytes; all 0: as usual.
    pub backlog_bytes: [usize; VW_LANES],
    /// How long each lane's records may wait for their acknowledgement before they are stored: 0 at once,
    /// `VW_SPILL_NEVER` never. Usually 0, 5000, 5000, 5000.
    pub spill_after_ms: [u32; VW_LANES],

    /// Where records wait until they are committed.
    pub outbox: *mut u8,
    /// Its length.
    pub outbox_len: usize,
    /// The encoded descriptor set, from `vw_descriptors_encode`.
    pub descriptors: *const u8,
    /// Its length.
    pub descriptors_len: usize,
    /// For what is written to and read from storage; of no bytes without storage.
    pub backlog: *mut u8,
    /// Its length.
    pub backlog_len: usize,

    /// The random source.
    pub entropy: vw_entropy_fn,
    /// What it is called with.
    pub entropy_context: *mut c_void,
    /// Takes the backend's commands; NULL: they are left to expire.
    pub received: vw_received_fn,
    /// What it is called with.
    pub received_context: *mut c_void,
}

// SAFETY: integers, pointers and nullable functions.
unsafe impl Plain for vw_config {}

/// A device, and what C gave it.
pub(crate) struct Inner {
    pub(crate) device: Device<'static>,
    pub(crate) entropy: Source,
    pub(crate) received: vw_received_fn,
    pub(crate) received_context: *mut c_void,
    /// The device's storage, outbox, backlog and descriptors.
    regions: [Region; 4],
    outbox: (*mut u8, usize),
    backlog: (*mut u8, usize),
}

impl Object for Inner {
    type Storage = vw_device;
    const MAGIC: u32 = 0x7677_6456;
}

impl Inner {
    /// Checks that a buffer of the caller shares no byte with the device's memory.
    pub(crate) fn apart<T>(&self, pointer: *const T, len: usize) -> Result<(), vw_status> {
        let region = Region::new(pointer, len);
        let shared = self.regions.iter().any(|own| own.overlaps(region));
        if shared { Err(VW_ERROR_OVERLAP) } else { Ok(()) }
    }

    /// Takes a list that is none of the device's memory.
    ///
    /// # Safety
    /// As for [`memory::list`].
    pub(crate) unsafe fn list<'a, T: Plain>(
        &self,
        pointer: *const T,
        count: usize,
    ) -> Result<&'a [T], vw_status> {
        self.apart(pointer, count.saturating_mul(size_of::<T>()))?;
        // SAFETY: passed on.
        unsafe { memory::list(pointer, count) }
    }

    /// Takes bytes that are none of the device's memory.
    ///
    /// # Safety
    /// As for [`memory::bytes`].
    pub(crate) unsafe fn bytes<'a>(&self, pointer: *const u8, len: usize) -> Result<&'a [u8], vw_status> {
        self.apart(pointer, len)?;
        // SAFETY: passed on.
        unsafe { memory::bytes(pointer, len) }
    }

    /// Checks that a value can be written there, outside the device's memory.
    pub(crate) fn check_out<T>(&self, pointer: *mut T) -> Result<(), vw_status> {
        memory::check_out(pointer)?;
        self.apart(pointer, size_of::<T>())
    }

    /// Writes a value outside the device's memory.
    ///
    /// # Safety
    /// As for [`memory::write`].
    pub(crate) unsafe fn write<T>(&self, pointer: *mut T, value: T) -> Result<(), vw_status> {
        self.check_out(pointer)?;
        // SAFETY: passed on.
        unsafe { memory::write(pointer, value) }
    }

    /// Writes a value outside the device's memory, unless nobody wants it.
    ///
    /// # Safety
    /// As for [`memory::write`], unless it is null.
    pub(crate) unsafe fn write_if<T>(&self, pointer: *mut T, value: T) -> Result<(), vw_status> {
        if pointer.is_null() {
            return Ok(());
        }
        // SAFETY: passed on.
        unsafe { self.write(pointer, value) }
    }

    /// Takes a larger descriptor set; the old one is not used any more.
    pub(crate) fn note_descriptors(&mut self, set: &[u8]) {
        if let Some(region) = self.regions.last_mut() {
            *region = Region::new(set.as_ptr(), set.len());
        }
    }
}

/// Fills a configuration with the usual values; `size` is `sizeof (vw_config)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_config_init(config: *mut vw_config, size: usize) -> vw_status {
    slot::caught(|| {
        if size != size_of::<vw_config>() {
            return Err(VW_ERROR_BAD_LENGTH);
        }
        let none = core::ptr::null();
        let limits = Limits::DEVICE;
        let usual = vw_config {
            size,
            secret_key: none,
            key_store: vw_key_store { diffie_hellman: None, context: core::ptr::null_mut(), hedge_key: none },
            public_key: none,
            credential: none,
            credential_len: 0,
            authorities: none,
            authority_count: 0,
            expected: core::ptr::null(),
            pin: core::ptr::null(),
            psk: none,
            psk_id: none,
            wall_clock: 0,
            time_floor: 0,
            boot: 0,
            connection_id: none,
            connection_id_len: 0,
            max_packet: limits.max_packet(),
            window: limits.window(),
            idle_seconds: u32::try_from(limits.idle_timeout().as_secs()).unwrap_or(u32::MAX),
            smallest_packet: limits.max_packet(),
            listen_ms: 0,
            rekey: vw_rekey_policy::MAXIMA,
            lane_bytes: [0; VW_LANES],
            linger_ms: [0; VW_LANES],
            policies: [
                crate::VW_POLICY_REFUSE,
                crate::VW_POLICY_REFUSE,
                crate::VW_POLICY_DROP_OLDEST,
                crate::VW_POLICY_DROP_OLDEST,
            ],
            quotas: [100; VW_LANES],
            storage_key: none,
            entry_len: 0,
            set_len: 0,
            backlog_bytes: [0; VW_LANES],
            spill_after_ms: [0, 5000, 5000, 5000],
            outbox: core::ptr::null_mut(),
            outbox_len: 0,
            descriptors: none,
            descriptors_len: 0,
            backlog: core::ptr::null_mut(),
            backlog_len: 0,
            entropy: None,
            entropy_context: core::ptr::null_mut(),
            received: None,
            received_context: core::ptr::null_mut(),
        };
        // SAFETY: the caller has room for one, by contract.
        unsafe { memory::write(config, usual) }?;
        Ok(VW_OK)
    })
}

/// Makes a device in `device`, of `size` bytes: `sizeof (vw_device)`. What was in that memory is forgotten.
///
/// With `VW_ERROR_INVALID_CONFIG`, `why` says in words which value is wrong; it may be NULL. 80 bytes do.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_device_init(
    device: *mut vw_device,
    size: usize,
    config: *const vw_config,
    why: *mut c_char,
    why_len: usize,
) -> vw_status {
    let make = || {
        // SAFETY: the caller's buffer, by contract.
        let mut why = unsafe { Text::new(why, if why.is_null() { 0 } else { why_len }) }?;
        // SAFETY: the caller has one there, by contract.
        let config = unsafe { memory::read(config) }?;
        if size != size_of::<vw_device>() || config.size != size_of::<vw_config>() {
            return Err(VW_ERROR_BAD_LENGTH);
        }
        // SAFETY: the caller's memory is what the configuration says, and left alone from here on, by contract.
        unsafe { inner(device, &config) }.map_err(|error| {
            if let Failure::Call(CallError::InvalidConfig(reason)) = error {
                // What does not fit is cut off.
                let _ = why.write_str(reason);
            }
            error.status()
        })
    };
    let reserved = crate::budget::reserve();
    if reserved != VW_OK {
        return reserved;
    }
    // SAFETY: the caller's storage, by contract.
    let made = unsafe { slot::make::<Inner>(device, make) };
    if made != VW_OK {
        crate::budget::release();
    }
    made
}

/// Ends the device at once, and wipes it, its outbox and its backlog. It says nothing to the backend: `vw_disconnect`
/// does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_device_destroy(device: *mut vw_device) -> vw_status {
    let mut regions = [(core::ptr::null_mut(), 0); 2];
    let note = |inner: &mut Inner| {
        regions = [inner.outbox, inner.backlog];
        Ok(VW_OK)
    };
    // SAFETY: the caller's storage, by contract.
    let status = unsafe { slot::destroy::<Inner>(device, note) };
    if status == VW_OK {
        crate::budget::release();
        for (pointer, len) in regions {
            // SAFETY: the device is gone; the memory is what the configuration said.
            if let Ok(buffer) = unsafe { memory::buffer(pointer, len) } {
                buffer.zeroize();
            }
        }
    }
    status
}

/// Why no device was made.
enum Failure {
    Status(vw_status),
    Call(CallError),
}

impl Failure {
    fn status(&self) -> vw_status {
        match self {
            Self::Status(status) => *status,
            Self::Call(error) => (*error).into(),
        }
    }
}

impl From<vw_status> for Failure {
    fn from(status: vw_status) -> Self {
        Self::Status(status)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

const fn wrong(what: &'static str) -> Failure {
    Failure::Call(CallError::InvalidConfig(what))
}

fn shares([alarm, event, trend, waveform]: [usize; VW_LANES]) -> LaneShares {
    LaneShares { alarm, event, trend, waveform }
}

/// Makes the device.
///
/// # Safety
/// Everything that `config` points to is there, and the memory is the device's from here on.
unsafe fn inner(device: *mut vw_device, config: &vw_config) -> Result<Inner, Failure> {
    let fill = config.entropy.ok_or(VW_ERROR_NULL)?;
    let regions = [
        Region::new(device, size_of::<vw_device>()),
        Region::new(config.outbox, config.outbox_len),
        Region::new(config.backlog, config.backlog_len),
        Region::new(config.descriptors, config.descriptors_len),
    ];
    let mut others = regions.iter();
    while let Some(region) = others.next() {
        if others.clone().any(|other| region.overlaps(*other)) {
            return Err(VW_ERROR_OVERLAP.into());
        }
    }
    // SAFETY: what this function asks of its caller.
    let settings = unsafe { settings(config) }?;
    // SAFETY: as above; apart from each other, as just checked.
    let memory = unsafe {
        DeviceMemory {
            outbox: memory::buffer(config.outbox, config.outbox_len)?,
            descriptors: memory::bytes(config.descriptors, config.descriptors_len)?,
            backlog: memory::buffer(config.backlog, config.backlog_len)?,
        }
    };
    Ok(Inner {
        device: Device::new(settings, memory)?,
        entropy: Source { fill, context: config.entropy_context },
        received: config.received,
        received_context: config.received_context,
        regions,
        outbox: (config.outbox, config.outbox_len),
        backlog: (config.backlog, config.backlog_len),
    })
}

/// Reads the settings.
///
/// # Safety
/// Everything that `config` points to is there.
unsafe fn settings(config: &vw_config) -> Result<DeviceConfig, Failure> {
    // SAFETY: what this function asks of its caller.
    let (identity, anchors, storage) =
        unsafe { (local_identity(config)?, anchors(config)?, storage(config)?) };
    let clock = (config.wall_clock != 0).then_some(UnixSeconds(config.wall_clock));
    let mut time = Time::floor_only(UnixSeconds(config.time_floor));
    time.set_clock(clock);
    let mut settings = DeviceConfig::new(identity, anchors, time, config.boot, config.outbox_len);
    // SAFETY: what this function asks of its caller.
    unsafe {
        settings.expected = memory::read_if(config.expected)?.map(vw_identity::identity);
        settings.pin = match memory::read_if(config.pin)? {
            Some(pin) => Some(BackendPin::try_from(&pin)?),
            None => None,
        };
        settings.psk = match memory::read_if(config.psk.cast::<[u8; 32]>())? {
            Some(psk) => {
                let psk = Zeroizing::new(psk);
                let id = memory::read(config.psk_id.cast::<[u8; 8]>())?;
                Some((PskId(id), Psk::from_bytes(*psk)))
            }
            None => None,
        };
        let id = memory::bytes(config.connection_id, config.connection_id_len)?;
        settings.connection_id =
            ConnectionId::new(id).ok_or(wrong("the connection id is longer than 8 bytes"))?;
    }
    let idle = Duration::from_secs(config.idle_seconds.into());
    settings.limits = Limits::new(config.max_packet, config.window, idle)
        .ok_or(wrong("max_packet, window or idle_seconds is out of range"))?;
    settings.rekey = config.rekey.policy()?;
    settings.smallest_packet = config.smallest_packet;
    if config.lane_bytes != [0; VW_LANES] {
        settings.shares = shares(config.lane_bytes);
    }
    settings.linger = config.linger_ms.map(|ms| Duration::from_millis(ms.into()));
    for (policy, code) in settings.policies.iter_mut().zip(config.policies) {
        *policy = lane_policy(code)?;
    }
    settings.quotas = config.quotas;
    settings.listen = (config.listen_ms != 0).then(|| Duration::from_millis(config.listen_ms.into()));
    settings.storage = storage;
    Ok(settings)
}

/// # Safety
/// As for [`settings`].
unsafe fn local_identity(config: &vw_config) -> Result<LocalIdentity, Failure> {
    // SAFETY: what this function asks of its caller.
    let (secret, public, credential) = unsafe {
        (
            memory::read_if(config.secret_key.cast::<[u8; 32]>())?.map(Zeroizing::new),
            memory::read_if(config.public_key.cast::<[u8; 32]>())?.map(PublicKey),
            memory::bytes(config.credential, config.credential_len)?,
        )
    };
    let credential = Credential::from_bytes(credential).map_err(vw_status::from)?;
    let (key, public): (Arc<dyn StaticDh>, PublicKey) = match (secret, config.key_store.diffie_hellman) {
        (Some(secret), _) => {
            let secret = StaticSecret::from_bytes(*secret);
            let public = public.unwrap_or_else(|| secret.public_key());
            (Arc::new(secret), public)
        }
        (None, Some(exchange)) => {
            // SAFETY: what this function asks of its caller.
            let hedge = unsafe { memory::read_if(config.key_store.hedge_key.cast::<[u8; 32]>()) }?;
            let hedge_key = Zeroizing::new(hedge.unwrap_or([0; 32]));
            let store = KeyStore { exchange, context: config.key_store.context, hedge_key };
            (Arc::new(store), public.ok_or(VW_ERROR_NULL)?)
        }
        (None, None) => return Err(VW_ERROR_NULL.into()),
    };
    Ok(LocalIdentity::new(key, public, credential))
}

/// # Safety
/// As for [`settings`].
unsafe fn anchors(config: &vw_config) -> Result<TrustAnchors, Failure> {
    if config.authority_count > MAX_AUTHORITIES {
        return Err(VW_ERROR_BAD_ANCHORS.into());
    }
    // SAFETY: what this function asks of its caller.
    let keys: &[[u8; 32]] = unsafe { memory::list(config.authorities.cast(), config.authority_count) }?;
    let mut all = [SignatureKey([0; 32]); MAX_AUTHORITIES];
    for (to, from) in all.iter_mut().zip(keys) {
        *to = SignatureKey(*from);
    }
    let all = all.get(..keys.len()).unwrap_or_default();
    TrustAnchors::new(all).map_err(|error| vw_status::from(error).into())
}

/// # Safety
/// As for [`settings`].
unsafe fn storage(config: &vw_config) -> Result<Option<StorageConfig>, Failure> {
    // SAFETY: what this function asks of its caller.
    let Some(key) = unsafe { memory::read_if(config.storage_key.cast::<[u8; 32]>()) }? else {
        return Ok(None);
    };
    let key = Zeroizing::new(key);
    let mut storage = StorageConfig::new(StorageKey::from_bytes(*key), config.backlog_len);
    if config.entry_len != 0 {
        storage.entry_len = config.entry_len;
    }
    if config.set_len != 0 {
        storage.set_len = config.set_len;
    }
    if config.backlog_bytes != [0; VW_LANES] {
        storage.backlog = shares(config.backlog_bytes);
    }
    storage.spill_after =
        config.spill_after_ms.map(|ms| (ms != VW_SPILL_NEVER).then(|| Duration::from_millis(ms.into())));
    Ok(Some(storage))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::Slot;

    /// That it is enough is checked when it compiles (`Object::FITS`).
    #[test]
    fn the_storage_is_hardly_larger_than_the_device() {
        let (storage, needed) = (size_of::<vw_device>(), size_of::<Slot<Inner>>());
        println!("a device takes {needed} of {storage} bytes");
        assert!(storage - needed <= storage / 5, "{needed} bytes are needed: lower VW_DEVICE_WORDS");
    }
}
