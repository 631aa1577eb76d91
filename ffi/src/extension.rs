//! Records of kinds that the library does not know.

use crate::config::{Inner, vw_device};
use crate::device::with;
use crate::records::accept;
use crate::status::*;
use crate::vw_accepted;
use vitalwire::framing::ExtensionRecord;

/// Accepts a record of which only the application and its backend know what the content means. `VW_ERROR_BAD_RECORD` for a
/// kind that has a call of its own: 1 and 2, `vw_record_annotation` and `vw_record_alarm_limits`; later versions go on from
/// 3. `VW_ERROR_OUT_OF_SCOPE` unless the credential permits records of every kind.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_record_extension(
    device: *mut vw_device,
    now: u64,
    lane: u8,
    time: u64,
    kind: u8,
    bytes: *const u8,
    len: usize,
    accepted: *mut vw_accepted,
) -> vw_status {
    let work = |inner: &mut Inner| {
        // SAFETY: the caller's bytes, by contract.
        let bytes = unsafe { inner.bytes(bytes, len) }?;
        // SAFETY: the contract of all calls.
        unsafe { accept(inner, now, lane, time, &ExtensionRecord { kind, bytes }.into(), accepted) }
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}
