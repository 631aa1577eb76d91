//! Frames, and the clinical records inside them.
//!
//! The payload of a data packet is a sequence of frames ([`Frames`], [`FrameWriter`]). A Records frame carries a
//! batch ([`RecordsFrame`], [`BatchWriter`]) of records ([`Record`], [`encode_record`]), which mean what the
//! channels of a [`DescriptorSet`] say. Everything is bounded, strict and without heap. Knows nothing of packets,
//! sessions and acknowledgement policy: it turns bytes into values and back.

mod ack;
mod batch;
mod bits;
mod command;
mod data;
mod decimal;
mod descriptor;
mod extension;
mod frame;
mod frames;
mod lane;
#[cfg(feature = "alloc")]
mod owned;
#[cfg(feature = "alloc")]
mod owned_blocks;
mod predictor;
mod record;
mod record_codec;
mod rice;
mod row;
mod run;
mod series;
mod streams;
#[cfg(test)]
mod tests;
mod ticket;
mod time_sync;
mod timing;
mod trend;
mod values;
mod waveform;

pub use ack::{AckFrame, AckWriter, Settled, StreamAck};
pub use batch::{BatchRecord, BatchRecords, BatchWriter, RecordsFrame};
pub use command::{CONFIGURATION_KIND, CommandFrame, CommandRefusal, CommandResult, CommandResultFrame};
pub use decimal::Decimal;
pub(crate) use descriptor::Shape;
pub use descriptor::{
    ChannelDescriptor, ChannelKind, Component, Components, DescriptorSet, Rate, encode_descriptors,
};
pub use frame::{DescriptorsFrame, Frame, FrameKind, RefusedFrame, RefusedReason, Sender, SetHash};
pub use frames::{FrameWriter, Frames};
pub use lane::Lane;
#[cfg(feature = "alloc")]
pub use owned::{AnnotationBuf, DescriptorBuf, ExtensionBuf, RecordBuf};
#[cfg(feature = "alloc")]
pub use owned_blocks::{TrendBuf, WaveformBuf};
pub use record::{
    Alarm, AlarmKind, AlarmLimits, Annotation, Event, ExtensionRecord, Gap, GapReason, Measurement, Phase,
    Priority, Record,
};
pub use record_codec::encode_record;
pub(crate) use record_codec::peek_channel;
#[cfg(feature = "pinned-device")]
pub(crate) use record_codec::{encode_plain_record, encode_trend_record};
pub use row::Row;
pub use run::{RunReader, RunWriter, longest_run_of_one};
pub use streams::{BootStreams, BootTag, StreamEntry, StreamsFrame, StreamsWriter};
pub use ticket::TicketFrame;
pub use time_sync::{ClockQuality, TimeEcho, TimeSyncFrame, WallReading};
pub use trend::{TrendBlock, TrendPoint, encode_trend};
pub use values::{Absence, Mode, Quality, Status, Value, Values};
pub use waveform::{WaveformBlock, encode_waveform};

use crate::codec::{BufferTooSmall, DecodeError, Reader};
use crate::limits::MAX_STREAMS;

/// Why something could not be encoded; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum EncodeError {
    /// The caller's buffer is too small.
    #[error(transparent)]
    BufferTooSmall(#[from] BufferTooSmall),
    /// The descriptor set does not have this channel.
    #[error("the descriptor set does not have this channel")]
    UnknownChannel,
    /// The record does not fit the kind, the components or the rate of its channel.
    #[error("the record does not fit its channel")]
    WrongKind,
    /// A value is outside the range that its field allows.
    #[error("a value is outside its range")]
    OutOfRange,
}

/// How much of a block was encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The length of the record, in bytes.
    pub bytes: usize,
    /// How many rows of samples, or points, it holds: the first so many.
    pub taken: usize,
}

/// Reads a stream index.
fn stream_index(reader: &mut Reader<'_>) -> Result<u8, DecodeError> {
    let index: u8 = reader.varint_as()?;
    //= SPEC.md#conventions
    //# A reader MUST refuse a value outside the range that its field allows.
    if usize::from(index) < MAX_STREAMS { Ok(index) } else { Err(DecodeError::OutOfRange) }
}
