//! The codes of C, and what they mean in words.

use crate::memory;
use crate::status::*;
use core::ffi::c_char;
use core::fmt::{self, Write};
use vitalwire::Discard;
use vitalwire::framing::Lane;

/// No time, no number: something never happens, or there is none.
pub const VW_NEVER: u64 = 0xffff_ffff_ffff_ffff;

/// Alarms: never dropped, never behind anything else.
pub const VW_LANE_ALARM: u8 = 0;
/// Events and single measurements.
pub const VW_LANE_EVENT: u8 = 1;
/// Trends: series of measurements.
pub const VW_LANE_TREND: u8 = 2;
/// Waveforms.
pub const VW_LANE_WAVEFORM: u8 = 3;

/// A full lane refuses: `VW_ERROR_LANE_FULL`.
pub const VW_POLICY_REFUSE: u8 = 0;
/// A full lane gives up its oldest records, and a gap record names them.
pub const VW_POLICY_DROP_OLDEST: u8 = 1;
/// A fuller lane takes fewer records: `VW_ERROR_THINNED`. When it is full, the oldest are dropped.
pub const VW_POLICY_THIN: u8 = 2;

/// Reads the code of a lane.
pub(crate) fn lane(code: u8) -> Result<Lane, vw_status> {
    Lane::from_code(code).ok_or(VW_ERROR_BAD_VALUE)
}

/// Text in a caller's buffer, cut off where it ends, with a zero behind it.
pub(crate) struct Text<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl<'a> Text<'a> {
    /// # Safety
    /// As for [`memory::buffer`].
    pub(crate) unsafe fn new(out: *mut c_char, len: usize) -> Result<Self, vw_status> {
        // SAFETY: passed on.
        let out: &'a mut [u8] = unsafe { memory::buffer(out.cast(), len) }?;
        if let Some(first) = out.first_mut() {
            *first = 0;
        }
        Ok(Self { out, len: 0 })
    }
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            let Some([place, end, ..]) = self.out.get_mut(self.len..) else { return Ok(()) };
            (*place, *end) = (byte, 0);
            self.len = self.len.saturating_add(1);
        }
        Ok(())
    }
}

/// Returns the name of a status, such as `"VW_ERROR_LANE_FULL"`; for a number that is none, `"?"`. Static.
#[unsafe(no_mangle)]
pub extern "C" fn vw_error_name(status: i32) -> *const c_char {
    let name = STATUS_NAMES.iter().find(|(known, _)| *known as i32 == status);
    name.map_or(c"?", |(_, name)| name).as_ptr()
}

macro_rules! status_names {
    ($($name:ident),* $(,)?) => {
        const STATUS_NAMES: &[(vw_status, &core::ffi::CStr)] = &[$((
            vw_status::$name,
            // A zero stands at the end and nowhere else.
            match core::ffi::CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                Ok(name) => name,
                Err(_) => c"?",
            },
        )),*];
    };
}

status_names! {
    VW_OK, VW_YES,
    VW_ERROR_NULL, VW_ERROR_MISALIGNED, VW_ERROR_BAD_LENGTH, VW_ERROR_NOT_INITIALISED, VW_ERROR_MOVED,
    VW_ERROR_BUSY, VW_ERROR_BAD_VALUE, VW_ERROR_OVERLAP, VW_ERROR_INTERNAL, VW_ERROR_OUT_OF_MEMORY,
    VW_ERROR_BUFFER_TOO_SMALL, VW_ERROR_ENTROPY, VW_ERROR_INVALID_CONFIG, VW_ERROR_LANE_FULL,
    VW_ERROR_THINNED, VW_ERROR_QUOTA_EXCEEDED, VW_ERROR_RECORD_TOO_LONG, VW_ERROR_BAD_RECORD,
    VW_ERROR_BAD_DESCRIPTORS, VW_ERROR_OUT_OF_SCOPE, VW_ERROR_STALE_HANDLE, VW_ERROR_BAD_COMMAND,
    VW_ERROR_TOO_MANY_COMMANDS, VW_ERROR_NO_SESSION, VW_ERROR_NOT_KNOWN,
    VW_ERROR_MALFORMED_CREDENTIAL, VW_ERROR_CREDENTIAL_TIME, VW_ERROR_BAD_ANCHORS,
    VW_ERROR_EMPTY_PACKET, VW_ERROR_PACKET_TOO_LONG, VW_ERROR_LINK_TOO_SMALL, VW_ERROR_OTHER,
}

/// Writes what a reason for a discard is in words, with a zero behind it; cut off if `out` is too short.
/// `VW_ERROR_BAD_VALUE` for a number that is none: they go from 0 up, without a gap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_discard_name(discard: u16, out: *mut c_char, len: usize) -> vw_status {
    crate::slot::caught(|| {
        // SAFETY: the caller's buffer, by contract.
        let mut text = unsafe { Text::new(out, len) }?;
        let reason = Discard::ALL.get(usize::from(discard)).ok_or(VW_ERROR_BAD_VALUE)?;
        write!(text, "{reason}").map_err(|_| VW_ERROR_OTHER)?;
        Ok(VW_OK)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ffi::CStr;

    fn name(status: i32) -> &'static str {
        // SAFETY: static, with a zero at the end.
        unsafe { CStr::from_ptr(vw_error_name(status)) }.to_str().unwrap_or_default()
    }

    #[test]
    fn every_status_of_the_source_has_its_name() {
        let source = include_str!("status.rs");
        let declared = source.lines().filter_map(|line| line.trim().split_once(" = "));
        let declared: Vec<_> = declared.filter(|(name, _)| name.starts_with("VW_")).collect();
        assert_eq!(declared.len(), STATUS_NAMES.len());
        for (declared, code) in declared {
            let code = code.trim_end_matches(',').parse().unwrap_or(1000);
            assert_eq!(name(code), declared);
        }
        assert_eq!(name(1000), "?");
    }

    #[test]
    fn discards_are_named_and_cut_off() {
        let mut out = [1 as c_char; 8];
        // SAFETY: the buffer is there.
        unsafe {
            assert_eq!(vw_discard_name(Discard::TooShort as u16, out.as_mut_ptr(), out.len()), VW_OK);
            assert_eq!(CStr::from_ptr(out.as_ptr()).to_bytes(), b"too sho");
            assert_eq!(vw_discard_name(u16::MAX, out.as_mut_ptr(), out.len()), VW_ERROR_BAD_VALUE);
            assert_eq!(vw_discard_name(0, core::ptr::null_mut(), 1), VW_ERROR_NULL);
        }
    }
}
