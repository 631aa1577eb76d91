//! Accepting records.

use crate::config::{Inner, vw_device};
use crate::device::{at, with};
use crate::memory;
use crate::names::lane;
use crate::records::*;
use crate::status::*;
use vitalwire::framing::{ExtensionRecord, Measurement, Record, Values};

/// Gives a record to the device.
///
/// # Safety
/// The contract of all calls.
unsafe fn accept(
    inner: &mut Inner,
    now: u64,
    lane_code: u8,
    time: u64,
    record: &Record<'_>,
    accepted: *mut vw_accepted,
) -> Outcome {
    if !accepted.is_null() {
        inner.check_out(accepted)?;
    }
    let ids = inner.device.record_at(at(now), lane(lane_code)?, at(time), record)?;
    // SAFETY: the caller has room for one, by contract.
    unsafe { inner.write_if(accepted, vw_accepted { first: ids.first, count: ids.count }) }?;
    Ok(VW_OK)
}

/// Gives the record to the device that C has written at `given`.
///
/// # Safety
/// The contract of all calls.
unsafe fn accept_given<T: Given>(
    device: *mut vw_device,
    now: u64,
    lane: u8,
    time: u64,
    given: *const T,
    accepted: *mut vw_accepted,
) -> vw_status {
    let work = |inner: &mut Inner| {
        // SAFETY: the caller has one there, with what it points to, by contract.
        unsafe {
            let record = memory::read(given)?.record(inner)?;
            accept(inner, now, lane, time, &record, accepted)
        }
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Accepts valid values of a numeric channel, 1 to 8 of them, measured at `time`. `accepted` may be NULL, as in
/// all calls that accept a record.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_record_values(
    device: *mut vw_device,
    now: u64,
    lane: u8,
    time: u64,
    channel: u8,
    values: *const i32,
    count: usize,
    accepted: *mut vw_accepted,
) -> vw_status {
    let work = |inner: &mut Inner| {
        // SAFETY: the caller's values, by contract.
        let values = Values::valid(unsafe { inner.list(values, count) }?)?;
        // SAFETY: the contract of all calls.
        unsafe { accept(inner, now, lane, time, &Measurement::new(channel, values).into(), accepted) }
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Accepts a measurement, of which each value may have a quality, or be absent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_record_measurement(
    device: *mut vw_device,
    now: u64,
    lane: u8,
    time: u64,
    measurement: *const vw_measurement,
    accepted: *mut vw_accepted,
) -> vw_status {
    // SAFETY: the contract of all calls.
    unsafe { accept_given(device, now, lane, time, measurement, accepted) }
}

/// Accepts a trend; `time` is that of offset 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_record_trend(
    device: *mut vw_device,
    now: u64,
    lane: u8,
    time: u64,
    trend: *const vw_trend,
    accepted: *mut vw_accepted,
) -> vw_status {
    // SAFETY: the contract of all calls.
    unsafe { accept_given(device, now, lane, time, trend, accepted) }
}

/// Accepts a run of samples; `time` is the first one's. What is too long for a packet becomes several records.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_record_waveform(
    device: *mut vw_device,
    now: u64,
    lane: u8,
    time: u64,
    waveform: *const vw_waveform,
    accepted: *mut vw_accepted,
) -> vw_status {
    // SAFETY: the contract of all calls.
    unsafe { accept_given(device, now, lane, time, waveform, accepted) }
}

/// Accepts an event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_record_event(
    device: *mut vw_device,
    now: u64,
    lane: u8,
    time: u64,
    event: *const vw_event_record,
    accepted: *mut vw_accepted,
) -> vw_status {
    // SAFETY: the contract of all calls.
    unsafe { accept_given(device, now, lane, time, event, accepted) }
}

/// Accepts an alarm.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_record_alarm(
    device: *mut vw_device,
    now: u64,
    lane: u8,
    time: u64,
    alarm: *const vw_alarm,
    accepted: *mut vw_accepted,
) -> vw_status {
    // SAFETY: the contract of all calls.
    unsafe { accept_given(device, now, lane, time, alarm, accepted) }
}

/// Accepts an annotation.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_record_annotation(
    device: *mut vw_device,
    now: u64,
    lane: u8,
    time: u64,
    annotation: *const vw_annotation,
    accepted: *mut vw_accepted,
) -> vw_status {
    // SAFETY: the contract of all calls.
    unsafe { accept_given(device, now, lane, time, annotation, accepted) }
}

/// Accepts alarm limits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_record_alarm_limits(
    device: *mut vw_device,
    now: u64,
    lane: u8,
    time: u64,
    limits: *const vw_alarm_limits,
    accepted: *mut vw_accepted,
) -> vw_status {
    // SAFETY: the contract of all calls.
    unsafe { accept_given(device, now, lane, time, limits, accepted) }
}

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
        let bytes = unsafe { inner.list(bytes, len) }?;
        // SAFETY: the contract of all calls.
        unsafe { accept(inner, now, lane, time, &ExtensionRecord { kind, bytes }.into(), accepted) }
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}
