//! The extension records that this version knows: annotations and alarm limits.

use super::record_codec::{read_optional, write_optional};
use super::{AlarmLimits, Annotation, Component, DescriptorSet, EncodeError, ExtensionRecord, Mode, Record};
use crate::codec::{DecodeError, Reader, Writer};
use crate::limits::MAX_ANNOTATION_TEXT;
use crate::time::Duration;

const ANNOTATION: u8 = 1;
const ALARM_LIMITS: u8 = 2;

/// Longer than any content that is written here: flags, channel, code, span and text.
const MAX_CONTENT: usize = 16 + MAX_ANNOTATION_TEXT;

/// Tells whether extensions of this kind have a record of their own.
pub(super) const fn is_known(kind: u8) -> bool {
    matches!(kind, ANNOTATION | ALARM_LIMITS)
}

/// Writes one of these records as the kind and the content of an extension: to `with`.
pub(super) fn write(
    record: &Record<'_>,
    set: &DescriptorSet<'_>,
    with: impl FnOnce(&ExtensionRecord<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let mut content = [0u8; MAX_CONTENT];
    let mut out = Writer::new(&mut content);
    let kind = match record {
        Record::Annotation(annotation) => {
            write_annotation(annotation, set, &mut out)?;
            ANNOTATION
        }
        Record::AlarmLimits(limits) => {
            write_limits(limits, set, &mut out)?;
            ALARM_LIMITS
        }
        //= SPEC.md#extension
        //# An encoder MUST NOT write content of its own under a kind that this version knows.
        Record::Extension(extension) if is_known(extension.kind) => {
            return Err(EncodeError::OutOfRange);
        }
        Record::Extension(extension) => return with(extension),
        _ => return Err(EncodeError::WrongKind),
    };
    with(&ExtensionRecord { kind, bytes: out.written() })
}

/// Reads the content of an extension of this kind.
pub(super) fn read<'a>(
    kind: u8,
    bytes: &'a [u8],
    set: &DescriptorSet<'_>,
) -> Result<Record<'a>, DecodeError> {
    match kind {
        ANNOTATION => read_annotation(bytes, set).map(Record::Annotation),
        ALARM_LIMITS => read_limits(bytes, set).map(Record::AlarmLimits),
        _ => Ok(Record::Extension(ExtensionRecord { kind, bytes })),
    }
}

fn write_annotation(
    annotation: &Annotation<'_>,
    set: &DescriptorSet<'_>,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    let span = u32::try_from(annotation.span.as_millis()).map_err(|_| EncodeError::OutOfRange)?;
    if annotation.text.len() > MAX_ANNOTATION_TEXT {
        return Err(EncodeError::OutOfRange);
    }
    out.u8(annotation.mode as u8 | u8::from(annotation.channel.is_some()) << 2)?;
    if let Some(channel) = annotation.channel {
        set.channel(channel).ok_or(EncodeError::UnknownChannel)?;
        out.u8(channel)?;
    }
    out.varint(annotation.code.into())?;
    out.varint(span.into())?;
    Ok(out.bytes(annotation.text.as_bytes())?)
}

fn read_annotation<'a>(bytes: &'a [u8], set: &DescriptorSet<'_>) -> Result<Annotation<'a>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let flags = reader.u8()?;
    let channel = if flags & 4 != 0 { Some(reader.u8()?) } else { None };
    let code = reader.varint_as()?;
    let span: u32 = reader.varint_as()?;
    let text = reader.rest();
    let known = channel.is_none_or(|channel| set.channel(channel).is_some());
    //= SPEC.md#annotation
    //# A reader MUST refuse an annotation whose reserved flags are not zero, that names a channel which is not in the descriptor set, or whose text is not UTF-8 of at most 128 bytes.
    if flags > 7 || !known || text.len() > MAX_ANNOTATION_TEXT {
        return Err(DecodeError::OutOfRange);
    }
    let text = core::str::from_utf8(text).map_err(|_| DecodeError::OutOfRange)?;
    let mode = Mode::from_code(flags & 3)?;
    Ok(Annotation { channel, mode, code, span: Duration::from_millis(span.into()), text })
}

/// Tells whether the channel has the component, and the limits go together: as physical values.
fn limits_fit(limits: &AlarmLimits, set: &DescriptorSet<'_>) -> bool {
    let channel = set.channel(limits.channel);
    let component = channel.and_then(|channel| channel.components.iter().nth(limits.component.into()));
    let ordered = |component: Component| match limits.low.zip(limits.high) {
        Some((low, high)) if component.scale.mantissa < 0 => low >= high,
        Some((low, high)) => low <= high,
        None => true,
    };
    component.is_some_and(ordered)
}

fn write_limits(
    limits: &AlarmLimits,
    set: &DescriptorSet<'_>,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    set.channel(limits.channel).ok_or(EncodeError::UnknownChannel)?;
    if limits.component > 15 || !limits_fit(limits, set) {
        return Err(EncodeError::OutOfRange);
    }
    let present = u8::from(limits.low.is_some()) << 2 | u8::from(limits.high.is_some()) << 3;
    out.u8(limits.channel)?;
    out.u8(limits.mode as u8 | present | limits.component << 4)?;
    write_optional(limits.low, out)?;
    Ok(write_optional(limits.high, out)?)
}

fn read_limits(bytes: &[u8], set: &DescriptorSet<'_>) -> Result<AlarmLimits, DecodeError> {
    let mut reader = Reader::new(bytes);
    let channel = reader.u8()?;
    let flags = reader.u8()?;
    let limits = AlarmLimits {
        channel,
        component: flags >> 4,
        mode: Mode::from_code(flags & 3)?,
        low: read_optional(flags & 4 != 0, &mut reader)?,
        high: read_optional(flags & 8 != 0, &mut reader)?,
    };
    reader.finish()?;
    //= SPEC.md#alarm-limits
    //# A reader MUST refuse alarm limits whose channel does not have the component, or whose low limit is above the high one.
    if limits_fit(&limits, set) { Ok(limits) } else { Err(DecodeError::OutOfRange) }
}
