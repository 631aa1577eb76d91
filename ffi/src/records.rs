//! Records, as C writes them.

use crate::config::Inner;
use crate::memory::Plain;
use crate::status::*;
use vitalwire::Duration;
use vitalwire::framing::{
    Absence, Alarm, AlarmKind, AlarmLimits, Annotation, Event, Measurement, Mode, Phase, Priority, Quality,
    Record, Status, TrendBlock, Value, Values, WaveformBlock,
};
use vitalwire::limits::{MAX_BLOCK_SAMPLES, MAX_COMPONENTS, MAX_WAVEFORM_COMPONENTS};

/// The most values of a measurement, and components of a trend.
pub const VW_VALUES_MAX: usize = 8;
/// The most components of a waveform.
pub const VW_WAVEFORM_COMPONENTS_MAX: usize = 12;
/// The most points of one trend, and rows of samples of one waveform that are given at once.
pub const VW_BLOCK_MAX: usize = 1024;

const _: () = assert!(VW_VALUES_MAX == MAX_COMPONENTS);
const _: () = assert!(VW_WAVEFORM_COMPONENTS_MAX == MAX_WAVEFORM_COMPONENTS);
const _: () = assert!(VW_BLOCK_MAX == MAX_BLOCK_SAMPLES);

/// Measured on the patient.
pub const VW_MODE_REAL: u8 = 0;
/// Made by a test of the device.
pub const VW_MODE_TEST: u8 = 1;
/// Made for a demonstration.
pub const VW_MODE_DEMONSTRATION: u8 = 2;

/// There is a value, and it is valid.
pub const VW_VALUE_VALID: u8 = 0;
/// There is a value, and it is doubtful.
pub const VW_VALUE_QUESTIONABLE: u8 = 1;
/// There is a value, taken while the sensor calibrates.
pub const VW_VALUE_CALIBRATING: u8 = 2;
/// There is a value that is known to be wrong.
pub const VW_VALUE_INVALID: u8 = 3;
/// There is no value, and no reason is known.
pub const VW_ABSENT_UNKNOWN: u8 = 16;
/// There is no value: it was not measured.
pub const VW_ABSENT_NOT_MEASURED: u8 = 17;
/// There is no value: the sensor is off, or not on the patient.
pub const VW_ABSENT_SENSOR_OFF: u8 = 18;
/// There is no value: the measurement failed.
pub const VW_ABSENT_FAILED: u8 = 19;
/// There is no value: it is above what the device can measure.
pub const VW_ABSENT_OVERFLOW: u8 = 20;
/// There is no value: it is below what the device can measure.
pub const VW_ABSENT_UNDERFLOW: u8 = 21;
/// There is no value: it is withheld on purpose.
pub const VW_ABSENT_WITHHELD: u8 = 22;

/// The patient is the cause of an alarm.
pub const VW_ALARM_PHYSIOLOGICAL: u8 = 0;
/// The equipment is.
pub const VW_ALARM_TECHNICAL: u8 = 1;

/// Priority of an alarm: for information.
pub const VW_PRIORITY_INFORMATIONAL: u8 = 0;
/// Priority of an alarm: low.
pub const VW_PRIORITY_LOW: u8 = 1;
/// Priority of an alarm: medium.
pub const VW_PRIORITY_MEDIUM: u8 = 2;
/// Priority of an alarm: high.
pub const VW_PRIORITY_HIGH: u8 = 3;

/// Phase of an alarm: it has begun.
pub const VW_PHASE_START: u8 = 0;
/// Phase of an alarm: it goes on.
pub const VW_PHASE_CONTINUE: u8 = 1;
/// Phase of an alarm: it is over.
pub const VW_PHASE_END: u8 = 2;
/// Phase of an alarm: it is over, and signalled until somebody resets it.
pub const VW_PHASE_LATCHED: u8 = 3;
/// Phase of an alarm: somebody has acknowledged it.
pub const VW_PHASE_ACKNOWLEDGED: u8 = 4;
/// Phase of an alarm: its signal is paused or off.
pub const VW_PHASE_INACTIVATED: u8 = 5;

/// One value of a measurement.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct vw_value {
    /// The value in the scale of its component, if there is one.
    pub raw: i32,
    /// `VW_VALUE_…` or `VW_ABSENT_…`.
    pub state: u8,
}

/// The values of a numeric channel at one time.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct vw_measurement {
    /// The channel's number.
    pub channel: u8,
    /// `VW_MODE_…`.
    pub mode: u8,
    /// How many values, 1 to 8: one for each component of the channel.
    pub count: u8,
    /// The values.
    pub values: [vw_value; VW_VALUES_MAX],
}

/// A series of values of a numeric channel.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct vw_trend {
    /// The channel's number.
    pub channel: u8,
    /// `VW_MODE_…`.
    pub mode: u8,
    /// How far the values can be trusted: `VW_VALUE_…`.
    pub quality: u8,
    /// How many components each point has, as the channel.
    pub components: u8,
    /// 0 for a component that is there, or `VW_ABSENT_…` for one that is missing in the whole series.
    pub absent: [u8; VW_VALUES_MAX],
    /// The points' times since the record's time, in milliseconds, ascending.
    pub offsets_ms: *const u64,
    /// The values: those of all components at the first time, then those at the next.
    pub values: *const i32,
    /// How many points, 1 to 1024.
    pub points: usize,
}

/// A run of samples of a waveform channel.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct vw_waveform {
    /// The channel's number.
    pub channel: u8,
    /// `VW_MODE_…`.
    pub mode: u8,
    /// How far the samples can be trusted: `VW_VALUE_…`.
    pub quality: u8,
    /// How many components each row has, as the channel.
    pub components: u8,
    /// 0 for a component that is there, or `VW_ABSENT_…` for one that is missing in the whole run.
    pub absent: [u8; VW_WAVEFORM_COMPONENTS_MAX],
    /// The index of the first row, counted since boot.
    pub first_sample: u64,
    /// The samples: those of all components at the first time, then those at the next.
    pub samples: *const i32,
    /// How many rows.
    pub rows: usize,
}

/// Something that happened.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct vw_event_record {
    /// The number of an event channel.
    pub channel: u8,
    /// `VW_MODE_…`.
    pub mode: u8,
    /// Whether `value` counts, 0 or 1.
    pub has_value: u8,
    /// What happened: an ISO/IEEE 11073-10101 code, or one of the channel's own.
    pub code: u32,
    /// How much, in the scale of the channel's first component.
    pub value: i32,
}

/// An alarm condition, or a change of one (IEC 60601-1-8).
#[derive(Clone, Copy)]
#[repr(C)]
pub struct vw_alarm {
    /// The number of the channel that is the source.
    pub channel: u8,
    /// `VW_MODE_…`.
    pub mode: u8,
    /// `VW_ALARM_…`.
    pub kind: u8,
    /// `VW_PRIORITY_…`.
    pub priority: u8,
    /// `VW_PHASE_…`.
    pub phase: u8,
    /// Whether `value` counts, 0 or 1.
    pub has_value: u8,
    /// Whether `low_limit` counts, 0 or 1.
    pub has_low_limit: u8,
    /// Whether `high_limit` counts, 0 or 1.
    pub has_high_limit: u8,
    /// What it is: an ISO/IEEE 11073-10101 code, or one of the channel's own.
    pub code: u32,
    /// The value that raised it, in the scale of the channel's first component.
    pub value: i32,
    /// The low limit, in the same scale.
    pub low_limit: i32,
    /// The high limit, in the same scale.
    pub high_limit: i32,
}

/// A remark on the signal. Nothing that tells who the patient is belongs into it.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct vw_annotation {
    /// Whether it is about `channel` only, 0 or 1.
    pub has_channel: u8,
    /// The channel's number.
    pub channel: u8,
    /// `VW_MODE_…`.
    pub mode: u8,
    /// What it says: an ISO/IEEE 11073-10101 code, or a private one; 0 if only the text says it.
    pub code: u32,
    /// How long what it is about lasted, from the record's time on.
    pub span_ms: u32,
    /// More in words, UTF-8.
    pub text: *const u8,
    /// Its length, at most 128 bytes.
    pub text_len: usize,
}

/// The limits at which the device raises alarms from here on.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct vw_alarm_limits {
    /// The channel's number.
    pub channel: u8,
    /// Which of its components, from 0 on.
    pub component: u8,
    /// `VW_MODE_…`.
    pub mode: u8,
    /// Whether there is a low limit, 0 or 1.
    pub has_low: u8,
    /// Whether there is a high limit, 0 or 1.
    pub has_high: u8,
    /// The low limit, in the scale of the component.
    pub low: i32,
    /// The high limit, in the scale of the component.
    pub high: i32,
}

/// The ids of records that were accepted: `count` consecutive sequences of the lane.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct vw_accepted {
    /// The first one's sequence.
    pub first: u64,
    /// How many.
    pub count: u32,
}

// SAFETY: integers and pointers.
unsafe impl Plain for vw_measurement {}
// SAFETY: integers and pointers.
unsafe impl Plain for vw_trend {}
// SAFETY: integers and pointers.
unsafe impl Plain for vw_waveform {}
// SAFETY: integers and pointers.
unsafe impl Plain for vw_event_record {}
// SAFETY: integers and pointers.
unsafe impl Plain for vw_alarm {}
// SAFETY: integers and pointers.
unsafe impl Plain for vw_annotation {}
// SAFETY: integers and pointers.
unsafe impl Plain for vw_alarm_limits {}

fn mode(code: u8) -> Result<Mode, vw_status> {
    match code {
        VW_MODE_REAL => Ok(Mode::Real),
        VW_MODE_TEST => Ok(Mode::Test),
        VW_MODE_DEMONSTRATION => Ok(Mode::Demonstration),
        _ => Err(VW_ERROR_BAD_VALUE),
    }
}

fn quality(code: u8) -> Result<Quality, vw_status> {
    match code {
        VW_VALUE_VALID => Ok(Quality::Valid),
        VW_VALUE_QUESTIONABLE => Ok(Quality::Questionable),
        VW_VALUE_CALIBRATING => Ok(Quality::Calibrating),
        VW_VALUE_INVALID => Ok(Quality::Invalid),
        _ => Err(VW_ERROR_BAD_VALUE),
    }
}

fn absence(code: u8) -> Result<Absence, vw_status> {
    match code {
        VW_ABSENT_UNKNOWN => Ok(Absence::Unknown),
        VW_ABSENT_NOT_MEASURED => Ok(Absence::NotMeasured),
        VW_ABSENT_SENSOR_OFF => Ok(Absence::SensorOff),
        VW_ABSENT_FAILED => Ok(Absence::Failed),
        VW_ABSENT_OVERFLOW => Ok(Absence::Overflow),
        VW_ABSENT_UNDERFLOW => Ok(Absence::Underflow),
        VW_ABSENT_WITHHELD => Ok(Absence::Withheld),
        _ => Err(VW_ERROR_BAD_VALUE),
    }
}

fn value(value: &vw_value) -> Result<Value, vw_status> {
    if value.state < VW_ABSENT_UNKNOWN {
        Ok(Value::Present(value.raw, quality(value.state)?))
    } else {
        absence(value.state).map(Value::Absent)
    }
}

const fn present(has: u8, value: i32) -> Option<i32> {
    if has == 0 { None } else { Some(value) }
}

fn status(mode_code: u8, quality_code: u8) -> Result<Status, vw_status> {
    Ok(Status { mode: mode(mode_code)?, quality: quality(quality_code)? })
}

/// What C gives a call as a record.
pub(crate) trait Given: Plain {
    /// Makes the record.
    ///
    /// # Safety
    /// The lists that it points to are there, and nobody changes them for `'a`.
    unsafe fn record<'a>(&self, inner: &Inner) -> Result<Record<'a>, vw_status>;
}

impl Given for vw_measurement {
    unsafe fn record<'a>(&self, _: &Inner) -> Result<Record<'a>, vw_status> {
        let mut values = [Value::Absent(Absence::Unknown); VW_VALUES_MAX];
        let listed = values.get_mut(..self.count.into()).ok_or(VW_ERROR_BAD_LENGTH)?;
        for (to, from) in listed.iter_mut().zip(&self.values) {
            *to = value(from)?;
        }
        let (mode, values) = (mode(self.mode)?, Values::new(listed)?);
        Ok(Measurement { channel: self.channel, mode, values }.into())
    }
}

impl Given for vw_trend {
    unsafe fn record<'a>(&self, inner: &Inner) -> Result<Record<'a>, vw_status> {
        let components = usize::from(self.components);
        let numbers = self.points.checked_mul(components).ok_or(VW_ERROR_BAD_LENGTH)?;
        // SAFETY: the caller's lists, by contract. A `Duration` is a number of milliseconds (`repr(transparent)`).
        let (offsets, values) = unsafe {
            let offsets: &[u64] = inner.list(self.offsets_ms, self.points)?;
            let offsets = core::slice::from_raw_parts(offsets.as_ptr().cast::<Duration>(), offsets.len());
            (offsets, inner.list(self.values, numbers)?)
        };
        let mut block = TrendBlock::compound(self.channel, components, offsets, values);
        for (component, code) in missing(&self.absent) {
            block = block.without(component, absence(code)?);
        }
        block.status = status(self.mode, self.quality)?;
        Ok(block.into())
    }
}

impl Given for vw_waveform {
    unsafe fn record<'a>(&self, inner: &Inner) -> Result<Record<'a>, vw_status> {
        let components = usize::from(self.components);
        let count = self.rows.checked_mul(components).ok_or(VW_ERROR_BAD_LENGTH)?;
        // SAFETY: the caller's samples, by contract.
        let samples = unsafe { inner.list(self.samples, count) }?;
        let mut block = WaveformBlock::interleaved(self.channel, self.first_sample, components, samples);
        for (component, code) in missing(&self.absent) {
            block = block.without(component, absence(code)?);
        }
        block.status = status(self.mode, self.quality)?;
        Ok(block.into())
    }
}

/// The components that are missing in a whole block, and the codes of the reasons.
fn missing(absent: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    absent.iter().copied().enumerate().filter(|(_, code)| *code != 0)
}

impl Given for vw_event_record {
    unsafe fn record<'a>(&self, _: &Inner) -> Result<Record<'a>, vw_status> {
        let value = present(self.has_value, self.value);
        Ok(Event { channel: self.channel, mode: mode(self.mode)?, code: self.code, value }.into())
    }
}

impl Given for vw_alarm {
    unsafe fn record<'a>(&self, _: &Inner) -> Result<Record<'a>, vw_status> {
        let kind = match self.kind {
            VW_ALARM_PHYSIOLOGICAL => AlarmKind::Physiological,
            VW_ALARM_TECHNICAL => AlarmKind::Technical,
            _ => return Err(VW_ERROR_BAD_VALUE),
        };
        let priority = match self.priority {
            VW_PRIORITY_INFORMATIONAL => Priority::Informational,
            VW_PRIORITY_LOW => Priority::Low,
            VW_PRIORITY_MEDIUM => Priority::Medium,
            VW_PRIORITY_HIGH => Priority::High,
            _ => return Err(VW_ERROR_BAD_VALUE),
        };
        let phase = match self.phase {
            VW_PHASE_START => Phase::Start,
            VW_PHASE_CONTINUE => Phase::Continue,
            VW_PHASE_END => Phase::End,
            VW_PHASE_LATCHED => Phase::Latched,
            VW_PHASE_ACKNOWLEDGED => Phase::Acknowledged,
            VW_PHASE_INACTIVATED => Phase::Inactivated,
            _ => return Err(VW_ERROR_BAD_VALUE),
        };
        let alarm = Alarm {
            mode: mode(self.mode)?,
            value: present(self.has_value, self.value),
            low_limit: present(self.has_low_limit, self.low_limit),
            high_limit: present(self.has_high_limit, self.high_limit),
            ..Alarm::new(self.channel, kind, priority, phase, self.code)
        };
        Ok(alarm.into())
    }
}

impl Given for vw_annotation {
    unsafe fn record<'a>(&self, inner: &Inner) -> Result<Record<'a>, vw_status> {
        // SAFETY: the caller's text, by contract.
        let text = unsafe { inner.list(self.text, self.text_len) }?;
        let annotation = Annotation {
            channel: (self.has_channel != 0).then_some(self.channel),
            mode: mode(self.mode)?,
            span: Duration::from_millis(self.span_ms.into()),
            text: core::str::from_utf8(text).map_err(|_| VW_ERROR_BAD_VALUE)?,
            ..Annotation::new(self.code)
        };
        Ok(annotation.into())
    }
}

impl Given for vw_alarm_limits {
    unsafe fn record<'a>(&self, _: &Inner) -> Result<Record<'a>, vw_status> {
        let limits = AlarmLimits {
            component: self.component,
            mode: mode(self.mode)?,
            low: present(self.has_low, self.low),
            high: present(self.has_high, self.high),
            ..AlarmLimits::new(self.channel)
        };
        Ok(limits.into())
    }
}
