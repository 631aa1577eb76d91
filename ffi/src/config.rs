//! Making a device, and destroying it.

use crate::entropy::{Source, vw_entropy_fn};
use crate::event::{vw_identity, vw_pin, vw_received_fn};
use crate::key_store::vw_key_store;
use crate::memory::{self, Plain, Region};
use crate::names::Text;
use crate::rekey::vw_rekey_policy;
use crate::settings::{Failure, settings};
use crate::slot::{self, Object, Slot};
use crate::status::*;
use core::ffi::{c_char, c_void};
use core::fmt::Write;
use vitalwire::CallError;
use vitalwire::device::{Device, DeviceMemory};
use vitalwire::handshake::Limits;
use zeroize::Zeroize;

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
pub const VW_DEVICE_WORDS: usize = 608;
/// The size of a device's opaque storage, in words of 64 bits.
#[cfg(target_pointer_width = "32")]
pub const VW_DEVICE_WORDS: usize = 536;

const _: () = assert!(VW_CREDENTIAL_MAX == vitalwire::limits::MAX_CREDENTIAL);
const _: () = assert!(VW_HANDSHAKE_PACKET_MAX == vitalwire::limits::MAX_HELLO);
const _: () = assert!(VW_LANES == vitalwire::framing::Lane::ALL.len());
// That it is enough is `Object::FITS`. A device of this build may have no use for what another one needs.
const _: () = assert!(
    size_of::<vw_device>() / 3 * 2 <= size_of::<Slot<Inner>>(),
    "the storage is much larger than the device: lower VW_DEVICE_WORDS"
);

/// A device: opaque, in the caller's memory, and never moved. Its size is `sizeof (vw_device)`.
///
/// Declare it static, or on a stack that outlives it. One task uses it at a time; a second one gets `VW_ERROR_BUSY`.
#[repr(C)]
pub struct vw_device {
    /// Not for use.
    pub opaque: [u64; VW_DEVICE_WORDS],
}

/// What a device needs to know. Begin with `vw_config_init`, and fill in at least `secret_key`, `credential`,
/// `authorities` (or `pin`), `boot`, `outbox`, `descriptors` and `entropy`.
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
    /// How many, 1 to 4. 0: none, and no signature is ever verified; `pin` with a credential is needed then, and this
    /// backend is trusted until somebody provisions the device anew. A library without the feature `authorities` takes 0
    /// only.
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
/// With `VW_ERROR_INVALID_CONFIG`, `why` says in words which value is wrong; it may be NULL. 80 bytes do. It is none of the
/// device's memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_device_init(
    device: *mut vw_device,
    size: usize,
    config: *const vw_config,
    why: *mut c_char,
    why_len: usize,
) -> vw_status {
    let make = |place: *mut Inner| {
        // SAFETY: the caller has one there, by contract.
        let config = unsafe { memory::read(config) }?;
        if size != size_of::<vw_device>() || config.size != size_of::<vw_config>() {
            return Err(VW_ERROR_BAD_LENGTH);
        }
        let regions = regions(device, &config);
        let why_len = if why.is_null() { 0 } else { why_len };
        if regions.iter().any(|own| own.overlaps(Region::new(why, why_len))) {
            return Err(VW_ERROR_OVERLAP);
        }
        // SAFETY: the caller's buffer, by contract, and none of the device's memory.
        let mut why = unsafe { Text::new(why, why_len) }?;
        // SAFETY: the caller's memory is what the configuration says, and left alone from here on, by contract.
        unsafe { write_inner(place, regions, &config) }.map_err(|error| {
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
    let made = unsafe { slot::make_at::<Inner>(device, make) };
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

/// The device's memory: the descriptors come last.
fn regions(device: *mut vw_device, config: &vw_config) -> [Region; 4] {
    [
        Region::new(device, size_of::<vw_device>()),
        Region::new(config.outbox, config.outbox_len),
        Region::new(config.backlog, config.backlog_len),
        Region::new(config.descriptors, config.descriptors_len),
    ]
}

/// Makes the device, in its place.
///
/// # Safety
/// Everything that `config` points to is there, and the memory is the device's from here on. `place` is aligned, and large
/// enough for one.
unsafe fn write_inner(
    place: *mut Inner,
    regions: [Region; 4],
    config: &vw_config,
) -> Result<vw_status, Failure> {
    let fill = config.entropy.ok_or(VW_ERROR_NULL)?;
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
            descriptors: memory::list(config.descriptors, config.descriptors_len)?,
            backlog: memory::buffer(config.backlog, config.backlog_len)?,
        }
    };
    let made = Inner {
        device: Device::new(settings, memory)?,
        entropy: Source { fill, context: config.entropy_context },
        received: config.received,
        received_context: config.received_context,
        regions,
        outbox: (config.outbox, config.outbox_len),
        backlog: (config.backlog, config.backlog_len),
    };
    // SAFETY: what this function asks of its caller.
    unsafe { place.write(made) };
    Ok(VW_OK)
}
