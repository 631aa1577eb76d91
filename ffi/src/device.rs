//! The run loop and the questions.

use crate::config::{Inner, vw_device};
use crate::event::{vw_event, vw_received};
use crate::memory;
use crate::names::{VW_NEVER, lane};
use crate::slot;
use crate::status::*;
use vitalwire::codec::BufferTooSmall;
use vitalwire::device::{CommandId, Link, Radio};
use vitalwire::identity::Credential;
use vitalwire::{CallError, Discard, Duration, Instant, UnixSeconds};

/// Works with a device.
///
/// # Safety
/// The contract of all calls.
pub(crate) unsafe fn with(device: *mut vw_device, work: impl FnOnce(&mut Inner) -> Outcome) -> vw_status {
    // SAFETY: passed on.
    unsafe { slot::with::<Inner>(device, work) }
}

pub(crate) const fn at(now: u64) -> Instant {
    Instant::from_millis(now)
}

/// Takes a packet from the backend, and decrypts it in place. What it has for the application goes to
/// `vw_config.received`.
///
/// Hostile input is no error: it is counted (`vw_discards`) and changes nothing else. `now` is monotonic time since boot
/// in milliseconds, here and everywhere.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_handle_packet(
    device: *mut vw_device,
    now: u64,
    packet: *mut u8,
    len: usize,
) -> vw_status {
    let work = |inner: &mut Inner| {
        inner.apart(packet, len)?;
        // SAFETY: the caller's packet, by contract, and none of the device's memory.
        let packet = unsafe { memory::buffer(packet, len) }?;
        let (received, context) = (inner.received, inner.received_context);
        inner.device.handle_packet(at(now), packet, &mut |what| {
            let Some((what, received)) = vw_received::new(&what).zip(received) else { return };
            // SAFETY: the caller gave this function for this.
            unsafe { received(context, &raw const what) };
        });
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Writes the next packet to send into `out`, and its length into `len`: 0 if there is nothing to send now. Call it until
/// then. Random bytes are drawn here, and the handshake's heap is used here and in `vw_handle_packet`.
///
/// With `VW_ERROR_BUFFER_TOO_SMALL`, `len` says how much is needed. 512 bytes always do for a handshake, and the link's
/// `max_packet` for data.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_poll_transmit(
    device: *mut vw_device,
    now: u64,
    out: *mut u8,
    out_len: usize,
    len: *mut usize,
) -> vw_status {
    let work = |inner: &mut Inner| {
        inner.check_out(len)?;
        inner.apart(out, out_len)?;
        // SAFETY: the caller's buffer, by contract, and none of the device's memory.
        let out = unsafe { memory::buffer(out, out_len) }?;
        let (sent, status) = match inner.device.poll_transmit(at(now), &mut inner.entropy, out) {
            Ok(packet) => (packet.map_or(0, <[u8]>::len), VW_OK),
            Err(CallError::BufferTooSmall(BufferTooSmall { needed })) => (needed, VW_ERROR_BUFFER_TOO_SMALL),
            Err(error) => (0, error.into()),
        };
        // SAFETY: the caller has room for one, by contract.
        unsafe { inner.write(len, sent) }?;
        Ok(status)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Does what time requires. Early, late and repeated calls are harmless.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_handle_timeout(device: *mut vw_device, now: u64) -> vw_status {
    let work = |inner: &mut Inner| {
        inner.device.handle_timeout(at(now));
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Tells until when the device may sleep if nothing else happens; it may have passed already. `VW_NEVER`: only a
/// record, a packet or the link gives it anything to do.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_poll_timeout(device: *mut vw_device, when: *mut u64) -> vw_status {
    let work = |inner: &mut Inner| {
        let timer = inner.device.poll_timeout().map_or(VW_NEVER, Instant::as_millis);
        // SAFETY: the caller has room for one, by contract.
        unsafe { inner.write(when, timer) }?;
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Tells until when the radio has to listen: 0 if it may be off, `VW_NEVER` as long as nothing else is said. Ask
/// when `vw_poll_transmit` has nothing more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_poll_radio(device: *mut vw_device, now: u64, until: *mut u64) -> vw_status {
    let work = |inner: &mut Inner| {
        let listen = match inner.device.radio(at(now)) {
            Radio::Off => 0,
            Radio::Listen { until } => until.map_or(VW_NEVER, Instant::as_millis),
        };
        // SAFETY: the caller has room for one, by contract.
        unsafe { inner.write(until, listen) }?;
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Writes the next event; of kind `VW_EVENT_NONE` if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_poll_event(device: *mut vw_device, event: *mut vw_event) -> vw_status {
    let work = |inner: &mut Inner| {
        inner.check_out(event)?;
        let next = inner.device.poll_event().map_or(vw_event::NONE, vw_event::from);
        // SAFETY: the caller has room for one, by contract.
        unsafe { inner.write(event, next) }?;
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Says that the link is up and how large packets it carries, 64 bytes or more; or, with 0, that it is down.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_handle_link(device: *mut vw_device, now: u64, max_packet: u16) -> vw_status {
    let work = |inner: &mut Inner| {
        let link = if max_packet == 0 { Link::Down } else { Link::Up { max_packet } };
        inner.device.handle_link(at(now), link);
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Asks for a session, and for a new one whenever it ends, until `vw_disconnect`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_connect(device: *mut vw_device, now: u64) -> vw_status {
    let work = |inner: &mut Inner| {
        inner.device.connect(at(now));
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Ends the session with a packet that says so, and asks for no other.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_disconnect(device: *mut vw_device) -> vw_status {
    let work = |inner: &mut Inner| {
        inner.device.disconnect();
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Asks for new keys from a fresh Diffie-Hellman exchange. Does nothing without a session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_rekey(device: *mut vw_device) -> vw_status {
    let work = |inner: &mut Inner| {
        inner.device.rekey();
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Tells how often the present session has rekeyed: by hashing, and by Diffie-Hellman. Each may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_ratchets(device: *mut vw_device, hash: *mut u32, dh: *mut u32) -> vw_status {
    let work = |inner: &mut Inner| {
        let (hash_count, dh_count) = inner.device.ratchets();
        // SAFETY: the caller has room for them, by contract.
        unsafe {
            inner.write_if(hash, hash_count)?;
            inner.write_if(dh, dh_count)?;
        }
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

#[cfg(feature = "authorities")]
fn own_credential(inner: &Inner) -> Result<Credential, vw_status> {
    Ok(*inner.device.credential())
}

#[cfg(not(feature = "authorities"))]
fn own_credential(_: &Inner) -> Result<Credential, vw_status> {
    Err(VW_ERROR_NOT_KNOWN)
}

/// Writes the device's own credential, of at most `VW_CREDENTIAL_MAX` bytes; `credential_len` tells how many.
///
/// `VW_ERROR_BUFFER_TOO_SMALL`: nothing was written but how many they are. `VW_ERROR_NOT_KNOWN` from a library without the
/// feature `authorities`: its devices take no other credential than that of their configuration.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_credential(
    device: *mut vw_device,
    out: *mut u8,
    out_len: usize,
    credential_len: *mut usize,
) -> vw_status {
    let work = |inner: &mut Inner| {
        inner.check_out(credential_len)?;
        inner.apart(out, out_len)?;
        let credential = own_credential(inner)?;
        let bytes = credential.as_bytes();
        // SAFETY: the caller's memory, by contract.
        let place = unsafe {
            inner.write(credential_len, bytes.len())?;
            memory::buffer(out, out_len)?
        };
        place.get_mut(..bytes.len()).ok_or(VW_ERROR_BUFFER_TOO_SMALL)?.copy_from_slice(bytes);
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Forgets the backend that the device is pinned to, and its ticket. Only where somebody has physical access, or by an
/// authorised command.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_forget_backend(device: *mut vw_device) -> vw_status {
    let work = |inner: &mut Inner| {
        inner.device.forget_backend();
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Takes a larger descriptor set: every channel of the present one unchanged, and more. It stays in use until
/// `vw_device_destroy`; the old one's memory is free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_extend_descriptors(
    device: *mut vw_device,
    now: u64,
    descriptors: *const u8,
    len: usize,
) -> vw_status {
    let work = |inner: &mut Inner| {
        // SAFETY: the caller leaves it alone until the device is destroyed, by contract.
        let set: &'static [u8] = unsafe { inner.list(descriptors, len) }?;
        inner.device.extend_descriptors(at(now), set)?;
        inner.note_descriptors(set);
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Answers a command: it was done, and `body`, at most 64 bytes, says more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_command_done(
    device: *mut vw_device,
    id: u32,
    body: *const u8,
    len: usize,
) -> vw_status {
    let work = |inner: &mut Inner| {
        // SAFETY: the caller's bytes, by contract.
        let body = unsafe { inner.list(body, len) }?;
        inner.device.command_result(CommandId::from_code(id), Ok(body))?;
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Answers a command: it was not done; `code` is the application's own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_command_failed(device: *mut vw_device, id: u32, code: u16) -> vw_status {
    let work = |inner: &mut Inner| {
        inner.device.command_result(CommandId::from_code(id), Err(code))?;
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Asks: is there a confirmed session?
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_is_connected(device: *mut vw_device) -> vw_status {
    // SAFETY: the contract of all calls.
    unsafe { with(device, |inner| yes_if(inner.device.is_connected())) }
}

/// Asks: has the backend committed every record, those in storage included?
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_is_drained(device: *mut vw_device) -> vw_status {
    // SAFETY: the contract of all calls.
    unsafe { with(device, |inner| yes_if(inner.device.is_drained())) }
}

/// How full a lane is.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct vw_lane_fill {
    /// Records in the lane.
    pub records: u32,
    /// Records that wait to be sent, or sent again.
    pub queued: u32,
    /// Bytes in use.
    pub used: usize,
    /// The lane's bytes.
    pub capacity: usize,
    /// Records that were given up since the boot.
    pub dropped: u64,
    /// Gaps of which no record is written yet.
    pub gaps: u32,
}

/// Tells how full a lane is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_fill(device: *mut vw_device, code: u8, fill: *mut vw_lane_fill) -> vw_status {
    let work = |inner: &mut Inner| {
        let now = inner.device.fill(lane(code)?);
        let out = vw_lane_fill {
            records: now.records,
            queued: now.queued,
            used: now.used,
            capacity: now.capacity,
            dropped: now.dropped,
            gaps: now.gaps,
        };
        // SAFETY: the caller has room for one, by contract.
        unsafe { inner.write(fill, out) }?;
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Tells for how long a lane's oldest record has waited, in milliseconds; `VW_NEVER` if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_longest_wait(
    device: *mut vw_device,
    now: u64,
    code: u8,
    wait: *mut u64,
) -> vw_status {
    let work = |inner: &mut Inner| {
        let longest = inner.device.longest_wait(at(now), lane(code)?);
        // SAFETY: the caller has room for one, by contract.
        unsafe { inner.write(wait, longest.map_or(VW_NEVER, Duration::as_millis)) }?;
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Tells this boot's number; `VW_ERROR_NOT_KNOWN` before storage has answered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_boot(device: *mut vw_device, boot: *mut u32) -> vw_status {
    let work = |inner: &mut Inner| {
        let number = inner.device.boot().ok_or(VW_ERROR_NOT_KNOWN)?;
        // SAFETY: the caller has room for one, by contract.
        unsafe { inner.write(boot, number) }?;
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Tells how often packets, or parts of them, were discarded for this reason (`vw_discard_name`).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_discards(device: *mut vw_device, discard: u16, count: *mut u32) -> vw_status {
    let work = |inner: &mut Inner| {
        let reason = Discard::ALL.get(usize::from(discard)).ok_or(VW_ERROR_BAD_VALUE)?;
        // SAFETY: the caller has room for one, by contract.
        unsafe { inner.write(count, inner.device.discards().of(*reason)) }?;
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Tells the device the wall clock, in seconds since 1970, from a source that it trusts; 0: it has none. Credentials are
/// judged by it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_set_wall_clock(device: *mut vw_device, unix_seconds: u64) -> vw_status {
    let work = |inner: &mut Inner| {
        inner.device.set_wall_clock((unix_seconds != 0).then_some(UnixSeconds(unix_seconds)));
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Tells the time floor, in seconds since 1970: store it, and never go below it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_time_floor(device: *mut vw_device, unix_seconds: *mut u64) -> vw_status {
    let work = |inner: &mut Inner| {
        // SAFETY: the caller has room for one, by contract.
        unsafe { inner.write(unix_seconds, inner.device.time().floor().0) }?;
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Asks the backend for the wall-clock time; `vw_wall_time` has it when the answer came.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_sync_time(device: *mut vw_device, now: u64) -> vw_status {
    let work = |inner: &mut Inner| {
        inner.device.sync_time(at(now))?;
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// A reading of the backend's clock.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct vw_wall_reading {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub unix_millis: u64,
    /// By how much it is off at most, in milliseconds. Means nothing if `quality` is below 2.
    pub error_ms: u64,
    /// 0 unknown, 1 set by hand, 2 estimated, 3 synchronised.
    pub quality: u8,
}

/// Tells the wall-clock time as the backend told it: for displays, never for credentials. `VW_ERROR_NOT_KNOWN` before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_wall_time(
    device: *mut vw_device,
    now: u64,
    reading: *mut vw_wall_reading,
) -> vw_status {
    let work = |inner: &mut Inner| {
        let wall = inner.device.wall_time(at(now)).ok_or(VW_ERROR_NOT_KNOWN)?;
        let out = vw_wall_reading {
            unix_millis: wall.unix_millis,
            error_ms: wall.error.as_millis(),
            quality: wall.quality as u8,
        };
        // SAFETY: the caller has room for one, by contract.
        unsafe { inner.write(reading, out) }?;
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}
