use super::{
    Alarm, AlarmKind, ChannelKind, DescriptorSet, EncodeError, Encoded, Event, Gap, GapReason, Lane,
    Measurement, Mode, Phase, Priority, Record, Shape, TrendBlock, Value, Values, WaveformBlock,
    encode_trend, encode_waveform,
};
use crate::codec::{BufferTooSmall, DecodeError, Reader, Writer, varint_len};
use crate::limits::MAX_RECORD;

/// A measurement of which every value is real and valid.
const KIND_MEASUREMENT: u8 = 0;
/// Any other measurement.
const KIND_QUALIFIED: u8 = 1;
pub(super) const KIND_TREND: u8 = 2;
pub(super) const KIND_WAVEFORM: u8 = 3;
const KIND_EVENT: u8 = 4;
const KIND_ALARM: u8 = 5;
const KIND_GAP: u8 = 6;
const KIND_EXTENSION: u8 = 7;

/// The number in a head which says that the true one follows.
const ESCAPED: u8 = 31;

/// Returns how long a head is.
pub(super) const fn head_len(number: u8) -> usize {
    if number < ESCAPED { 1 } else { varint_len(number as u64).saturating_add(1) }
}

/// Writes a head: the kind in the high 3 bits, the number in the low 5 bits, or behind it from 31 on.
pub(super) fn write_head(kind: u8, number: u8, out: &mut Writer<'_>) -> Result<(), BufferTooSmall> {
    out.u8(kind << 5 | number.min(ESCAPED))?;
    if number < ESCAPED { Ok(()) } else { out.varint(number.into()) }
}

#[cfg_attr(feature = "backend", inline)]
fn read_head(reader: &mut Reader<'_>) -> Result<(u8, u8), DecodeError> {
    let head = reader.u8()?;
    let number = match head & ESCAPED {
        ESCAPED => {
            let number = reader.varint_as()?;
            //= SPEC.md#records
            //# A reader MUST refuse an escaped number below 31.
            if number < ESCAPED {
                return Err(DecodeError::NonCanonical);
            }
            number
        }
        number => number,
    };
    Ok((head >> 5, number))
}

/// Encodes a record to the front of `out` and returns its length, at most 1024 bytes.
///
/// # Errors
/// [`EncodeError::BufferTooSmall`]; [`EncodeError::UnknownChannel`] and [`EncodeError::WrongKind`] if the record does not fit
/// its channel; [`EncodeError::OutOfRange`] if a value is not allowed or the record is longer than any may be.
///
/// ```
/// use vitalwire::framing::*;
/// let rate = [Component::new(147_842, 264_864)];
/// let channel = ChannelDescriptor::new(1, ChannelKind::Numeric, 147_842, (&rate).into());
/// let mut set = [0u8; 64];
/// let len = encode_descriptors(&[channel], &mut set)?;
/// let set = DescriptorSet::parse(&set[..len])?;
///
/// let heart_rate = Record::Measurement(Measurement::new(1, Values::valid(&[72])?));
/// let mut out = [0u8; 16];
/// let len = encode_record(&heart_rate, &set, &mut out)?;
/// assert_eq!(out[..len], [0x01, 0x90, 0x01]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn encode_record(
    record: &Record<'_>,
    set: &DescriptorSet<'_>,
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    let space = out.len();
    let (encoded, len) = match record {
        Record::Trend(block) => (encode_trend(block, set, out)?, block.len()),
        Record::Waveform(block) => (encode_waveform(block, set, out)?, block.len()),
        _ => return encode_plain_record(record, set, out),
    };
    whole(encoded, len, space)
}

/// Refuses what did not fit in whole.
fn whole(encoded: Encoded, len: usize, space: usize) -> Result<usize, EncodeError> {
    match encoded.taken == len {
        true => Ok(encoded.bytes),
        false if space >= MAX_RECORD => Err(EncodeError::OutOfRange),
        false => Err(BufferTooSmall { needed: space.saturating_add(1) }.into()),
    }
}

/// Encodes a trend in whole, and nothing else.
#[cfg(feature = "pinned-device")]
pub(crate) fn encode_trend_record(
    record: &Record<'_>,
    set: &DescriptorSet<'_>,
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    let Record::Trend(block) = record else { return Err(EncodeError::WrongKind) };
    let space = out.len();
    whole(encode_trend(block, set, out)?, block.len(), space)
}

/// Encodes any record but a trend or a waveform: these need the codec of blocks.
pub(crate) fn encode_plain_record(
    record: &Record<'_>,
    set: &DescriptorSet<'_>,
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    let space = out.len();
    let mut writer = Writer::new(out.get_mut(..space.min(MAX_RECORD)).unwrap_or_default());
    match write_record(record, set, &mut writer) {
        Err(EncodeError::BufferTooSmall(error)) if error.needed > MAX_RECORD => Err(EncodeError::OutOfRange),
        Err(error) => Err(error),
        Ok(()) => Ok(writer.len()),
    }
}

fn write_record(
    record: &Record<'_>,
    set: &DescriptorSet<'_>,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    let find = |number| set.shape(number).ok_or(EncodeError::UnknownChannel);
    let check = |fits: bool| if fits { Ok(()) } else { Err(EncodeError::WrongKind) };
    match record {
        Record::Measurement(measurement) => {
            check(measurement_fits(find(measurement.channel)?, measurement.values.len()))?;
            write_measurement(measurement, out)?;
        }
        Record::Event(event) => {
            check(event_fits(find(event.channel)?, event.value.is_some()))?;
            write_head(KIND_EVENT, event.channel, out)?;
            out.u8(event.mode as u8 | u8::from(event.value.is_some()) << 2)?;
            out.varint(event.code.into())?;
            write_optional(event.value, out)?;
        }
        Record::Alarm(alarm) => {
            check(alarm_fits(find(alarm.channel)?, alarm_values(alarm).iter().any(Option::is_some)))?;
            write_alarm(alarm, out)?;
        }
        Record::Gap(gap) => write_gap(gap, out)?,
        Record::Annotation(_) | Record::AlarmLimits(_) | Record::Extension(_) => {
            super::extension::write(record, set, |extension| {
                write_head(KIND_EXTENSION, extension.kind, out)?;
                Ok(out.prefixed(extension.bytes)?)
            })?;
        }
        Record::Trend(_) | Record::Waveform(_) => return Err(EncodeError::WrongKind),
    }
    Ok(())
}

fn write_measurement(measurement: &Measurement, out: &mut Writer<'_>) -> Result<(), BufferTooSmall> {
    let values = &*measurement.values;
    //= SPEC.md#records
    //# An encoder MUST write the one form of a record that a reader accepts.
    if measurement.mode == Mode::Real && values.iter().all(|value| value.valid().is_some()) {
        write_head(KIND_MEASUREMENT, measurement.channel, out)?;
    } else {
        write_head(KIND_QUALIFIED, measurement.channel, out)?;
        out.u8(measurement.mode as u8)?;
        values.iter().try_for_each(|value| out.u8(value.state()))?;
    }
    values.iter().try_for_each(|value| match value {
        Value::Present(raw, _) => out.signed((*raw).into()),
        Value::Absent(_) => Ok(()),
    })
}

pub(super) fn write_optional(value: Option<i32>, out: &mut Writer<'_>) -> Result<(), BufferTooSmall> {
    value.map_or(Ok(()), |value| out.signed(value.into()))
}

const fn alarm_values(alarm: &Alarm) -> [Option<i32>; 3] {
    [alarm.value, alarm.low_limit, alarm.high_limit]
}

fn write_alarm(alarm: &Alarm, out: &mut Writer<'_>) -> Result<(), BufferTooSmall> {
    write_head(KIND_ALARM, alarm.channel, out)?;
    out.u8(alarm.mode as u8
        | (alarm.phase as u8) << 2
        | (alarm.priority as u8) << 5
        | (alarm.kind as u8) << 7)?;
    let [value, low, high] = alarm_values(alarm);
    out.u8(u8::from(value.is_some()) | u8::from(low.is_some()) << 1 | u8::from(high.is_some()) << 2)?;
    out.varint(alarm.code.into())?;
    [value, low, high].into_iter().try_for_each(|value| write_optional(value, out))
}

fn measurement_fits(channel: Shape, values: usize) -> bool {
    channel.kind == ChannelKind::Numeric && usize::from(channel.components) == values
}

fn event_fits(channel: Shape, value: bool) -> bool {
    channel.kind == ChannelKind::Event && (!value || channel.components > 0)
}

const fn alarm_fits(channel: Shape, values: bool) -> bool {
    !values || channel.components > 0
}

impl<'a> Record<'a> {
    /// Reads one record; how far it reaches follows from the channel's descriptor.
    #[cfg_attr(feature = "backend", inline)]
    pub(super) fn decode(reader: &mut Reader<'a>, set: &DescriptorSet<'_>) -> Result<Self, DecodeError> {
        let (kind, number) = read_head(reader)?;
        if kind > KIND_QUALIFIED {
            return Self::decode_other(kind, number, reader, set);
        }
        let mut values = Values::zeros(numeric(number, set)?).ok_or(DecodeError::OutOfRange)?;
        let mode = read_measurement(kind, values.all_mut(), reader)?;
        Ok(Self::Measurement(Measurement { channel: number, mode, values }))
    }

    /// Reads one record as [`Record::decode`] does, but makes nothing of a measurement.
    #[cfg(feature = "backend")]
    #[inline]
    pub(super) fn check(
        reader: &mut Reader<'a>,
        set: &DescriptorSet<'_>,
    ) -> Result<Option<Self>, DecodeError> {
        let (kind, number) = read_head(reader)?;
        match kind {
            KIND_MEASUREMENT => {
                for _ in 0..numeric(number, set)? {
                    read_raw(reader)?;
                }
                Ok(None)
            }
            KIND_QUALIFIED => {
                let mut values = Values::zeros(numeric(number, set)?).ok_or(DecodeError::OutOfRange)?;
                read_measurement(kind, values.all_mut(), reader).map(|_| None)
            }
            _ => Self::decode_other(kind, number, reader, set).map(Some),
        }
    }

    #[cfg_attr(feature = "backend", inline(never))]
    fn decode_other(
        kind: u8,
        number: u8,
        reader: &mut Reader<'a>,
        set: &DescriptorSet<'_>,
    ) -> Result<Self, DecodeError> {
        let start = reader.remaining().saturating_add(head_len(number));
        let record = match kind {
            KIND_TREND => Self::Trend(TrendBlock::read(number, reader, set)?),
            KIND_WAVEFORM => Self::Waveform(WaveformBlock::read(number, reader, set)?),
            KIND_EVENT => Self::Event(read_event(number, set, reader)?),
            KIND_ALARM => Self::Alarm(read_alarm(number, set, reader)?),
            KIND_GAP => Self::Gap(read_gap(number, reader)?),
            //= SPEC.md#extension
            //# A receiver MUST skip and report an extension record of a kind that it does not know, and read on behind it.
            _ => super::extension::read(number, reader.prefixed(MAX_RECORD)?, set)?,
        };
        //= SPEC.md#records
        //# A reader MUST refuse a record of more than 1024 bytes.
        if start.saturating_sub(reader.remaining()) > MAX_RECORD {
            return Err(DecodeError::OutOfRange);
        }
        Ok(record)
    }
}

#[cfg_attr(feature = "backend", inline)]
fn read_raw(reader: &mut Reader<'_>) -> Result<i32, DecodeError> {
    i32::try_from(reader.signed()?).map_err(|_| DecodeError::OutOfRange)
}

pub(super) fn read_optional(present: bool, reader: &mut Reader<'_>) -> Result<Option<i32>, DecodeError> {
    if present { read_raw(reader).map(Some) } else { Ok(None) }
}

/// Returns how many values a measurement of this channel has, 1 to 8.
#[cfg_attr(feature = "backend", inline)]
fn numeric(number: u8, set: &DescriptorSet<'_>) -> Result<usize, DecodeError> {
    //= SPEC.md#records
    //# A reader MUST refuse a record whose channel is not in the descriptor set or does not permit it.
    let channel = set.shape(number).filter(|channel| channel.kind == ChannelKind::Numeric);
    channel.map(|channel| channel.components.into()).ok_or(DecodeError::OutOfRange)
}

/// Reads a measurement's values; they are 0 and valid before. It is always shorter than a record may be.
#[cfg_attr(feature = "backend", inline)]
fn read_measurement(kind: u8, values: &mut [Value], reader: &mut Reader<'_>) -> Result<Mode, DecodeError> {
    let mut mode = Mode::Real;
    if kind == KIND_QUALIFIED {
        mode = Mode::from_code(reader.u8()?)?;
        for value in &mut *values {
            *value = Value::from_state(reader.u8()?)?;
        }
        //= SPEC.md#measurement
        //# A reader MUST refuse a qualified measurement that is real and has only valid values.
        if mode == Mode::Real && values.iter().all(|value| value.valid().is_some()) {
            return Err(DecodeError::NonCanonical);
        }
    }
    for value in values {
        if let Value::Present(raw, _) = value {
            *raw = read_raw(reader)?;
        }
    }
    Ok(mode)
}

fn read_event(channel: u8, set: &DescriptorSet<'_>, reader: &mut Reader<'_>) -> Result<Event, DecodeError> {
    let flags = reader.u8()?;
    let has_value = flags & 4 != 0;
    let fits = set.shape(channel).is_some_and(|channel| event_fits(channel, has_value));
    //= SPEC.md#event
    //# A reader MUST refuse an event whose reserved flags are not zero.
    if flags > 7 || !fits {
        return Err(DecodeError::OutOfRange);
    }
    Ok(Event {
        channel,
        mode: Mode::from_code(flags & 3)?,
        code: reader.varint_as()?,
        value: read_optional(has_value, reader)?,
    })
}

fn read_alarm(channel: u8, set: &DescriptorSet<'_>, reader: &mut Reader<'_>) -> Result<Alarm, DecodeError> {
    let flags = reader.u8()?;
    let present = reader.u8()?;
    let fits = set.shape(channel).is_some_and(|channel| alarm_fits(channel, present != 0));
    //= SPEC.md#alarm
    //# A reader MUST refuse an alarm of unknown phase, or whose reserved flags are not zero.
    if present > 7 || !fits {
        return Err(DecodeError::OutOfRange);
    }
    let phase = match flags >> 2 & 7 {
        0 => Phase::Start,
        1 => Phase::Continue,
        2 => Phase::End,
        3 => Phase::Latched,
        4 => Phase::Acknowledged,
        5 => Phase::Inactivated,
        _ => return Err(DecodeError::OutOfRange),
    };
    let priority = match flags >> 5 & 3 {
        0 => Priority::Informational,
        1 => Priority::Low,
        2 => Priority::Medium,
        _ => Priority::High,
    };
    let kind = if flags >> 7 == 0 { AlarmKind::Physiological } else { AlarmKind::Technical };
    Ok(Alarm {
        channel,
        mode: Mode::from_code(flags & 3)?,
        kind,
        priority,
        phase,
        code: reader.varint_as()?,
        value: read_optional(present & 1 != 0, reader)?,
        low_limit: read_optional(present & 2 != 0, reader)?,
        high_limit: read_optional(present & 4 != 0, reader)?,
    })
}

fn write_gap(gap: &Gap, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    if gap.count == 0 || gap.first.checked_add(gap.count).is_none() {
        return Err(EncodeError::OutOfRange);
    }
    write_head(KIND_GAP, gap.lane.map_or(0, |lane| lane.code().saturating_add(1)), out)?;
    out.varint(gap.first)?;
    out.varint(gap.count)?;
    Ok(out.u8(gap.reason as u8)?)
}

impl Gap {
    /// Encodes a gap record to the front of `out` and returns its length; it needs no descriptor set.
    pub(crate) fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut writer = Writer::new(out);
        write_gap(self, &mut writer)?;
        Ok(writer.len())
    }

    /// Reads an encoded record if it is a gap.
    pub(crate) fn peek(record: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(record);
        let (kind, number) = read_head(&mut reader).ok()?;
        (kind == KIND_GAP).then(|| read_gap(number, &mut reader).ok()).flatten()
    }
}

/// Returns the channel of an encoded measurement, trend, waveform, event or alarm.
pub(crate) fn peek_channel(record: &[u8]) -> Option<u8> {
    let (kind, number) = read_head(&mut Reader::new(record)).ok()?;
    (kind < KIND_GAP).then_some(number)
}

fn read_gap(lane: u8, reader: &mut Reader<'_>) -> Result<Gap, DecodeError> {
    let lane = match lane.checked_sub(1) {
        None => None,
        Some(code) => Some(Lane::from_code(code).ok_or(DecodeError::OutOfRange)?),
    };
    let first = reader.varint()?;
    let count = reader.varint()?;
    //= SPEC.md#gap
    //# A reader MUST refuse a gap of no sequences, or whose sequences would exceed 2^64 − 2.
    if count == 0 || first.checked_add(count).is_none() {
        return Err(DecodeError::OutOfRange);
    }
    let reason = match reader.u8()? {
        0 => GapReason::Unknown,
        1 => GapReason::OutboxFull,
        2 => GapReason::PowerLoss,
        3 => GapReason::StorageFailed,
        4 => GapReason::Expired,
        _ => return Err(DecodeError::OutOfRange),
    };
    Ok(Gap { lane, first, count, reason })
}
