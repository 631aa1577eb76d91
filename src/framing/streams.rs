use super::{EncodeError, Lane, SetHash, stream_index};
use crate::codec::{BufferTooSmall, DecodeError, Reader, Writer};
use crate::limits::MAX_STREAMS;

/// The random tag of a boot: tells two boots with the same number apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BootTag(pub [u8; 4]);

/// One stream of a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamEntry {
    /// The stream's index in this session, 0 to 15.
    pub index: u8,
    /// Its lane.
    pub lane: Lane,
    /// The oldest sequence that is still in the outbox, or the next one if it is empty.
    pub oldest: u64,
}

impl StreamEntry {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let index = stream_index(reader)?;
        let lane = Lane::from_code(reader.u8()?).ok_or(DecodeError::OutOfRange)?;
        Ok(Self { index, lane, oldest: reader.varint()? })
    }
}

/// The streams of one boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootStreams<'a> {
    /// The boot number.
    pub boot: u32,
    /// The boot's tag.
    pub tag: BootTag,
    /// The hash of the descriptor set of this boot's records.
    pub set: SetHash,
    streams: &'a [u8],
}

impl<'a> BootStreams<'a> {
    /// Reads one boot; `seen` has a bit per stream index.
    fn read(reader: &mut Reader<'a>, seen: &mut u16) -> Result<Self, DecodeError> {
        let boot = reader.varint_as()?;
        let tag = BootTag(reader.array()?);
        let set = SetHash(reader.array()?);
        let count = reader.varint_as::<usize>()?;
        if !(1..=Lane::ALL.len()).contains(&count) {
            return Err(DecodeError::OutOfRange);
        }
        let mut ahead = reader.clone();
        let mut previous = None;
        for _ in 0..count {
            //= SPEC.md#streams
            //# A reader MUST refuse a Streams frame in which the lanes of a boot do not ascend strictly or a stream index occurs twice.
            let entry = StreamEntry::read(&mut ahead)?;
            let bit = 1u16 << (entry.index & 15);
            if previous >= Some(entry.lane) || *seen & bit != 0 {
                return Err(DecodeError::NonCanonical);
            }
            previous = Some(entry.lane);
            *seen |= bit;
        }
        let streams = reader.bytes(reader.remaining().saturating_sub(ahead.remaining()))?;
        Ok(Self { boot, tag, set, streams })
    }

    /// Lists the boot's streams, in ascending order of their lanes.
    pub fn streams(&self) -> impl Iterator<Item = StreamEntry> + 'a {
        let mut reader = Reader::new(self.streams);
        core::iter::from_fn(move || StreamEntry::read(&mut reader).ok())
    }
}

/// A Streams frame: what the device's outbox still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamsFrame<'a> {
    /// Whether this names every stream that is still in the outbox.
    pub complete: bool,
    boots: &'a [u8],
}

impl<'a> StreamsFrame<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let complete = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(DecodeError::OutOfRange),
        };
        let boots = reader.clone().rest();
        let mut seen = 0;
        while !reader.is_empty() {
            BootStreams::read(&mut reader, &mut seen)?;
        }
        Ok(Self { complete, boots })
    }

    /// Lists the boots, in the order of the frame.
    pub fn boots(&self) -> impl Iterator<Item = BootStreams<'a>> + 'a {
        let mut reader = Reader::new(self.boots);
        core::iter::from_fn(move || BootStreams::read(&mut reader, &mut 0).ok())
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), BufferTooSmall> {
        out.u8(self.complete.into())?;
        out.bytes(self.boots)
    }
}

/// Writes the body of a Streams frame, boot by boot.
///
/// ```
/// use vitalwire::framing::*;
/// let mut payload = [0u8; 64];
/// let mut writer = FrameWriter::new(&mut payload);
/// writer.frame_with(FrameKind::Streams, |body| {
///     let mut streams = StreamsWriter::new(body, true).ok()?;
///     let alarms = StreamEntry { index: 0, lane: Lane::Alarm, oldest: 9 };
///     streams.push(7, BootTag([1, 2, 3, 4]), SetHash([0; 16]), &[alarms]).ok()?;
///     Some(streams.finish())
/// });
/// let payload = writer.finish();
/// let Some(Frame::Streams(streams)) = Frames::parse(payload)?.next() else { panic!("one Streams") };
/// assert!(streams.complete);
/// assert_eq!(streams.boots().next().map(|boot| boot.boot), Some(7));
/// # Ok::<(), vitalwire::codec::DecodeError>(())
/// ```
#[derive(Debug)]
pub struct StreamsWriter<'w> {
    out: Writer<'w>,
    seen: u16,
}

impl<'w> StreamsWriter<'w> {
    /// Starts a body; `complete` says that all streams of the outbox will be in it.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn new(out: &'w mut [u8], complete: bool) -> Result<Self, EncodeError> {
        let mut out = Writer::new(out);
        out.u8(complete.into())?;
        Ok(Self { out, seen: 0 })
    }

    /// Appends one boot with its streams, or nothing.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`]; [`EncodeError::OutOfRange`] unless there are 1 to 4 streams in ascending
    /// order of their lanes, with indices below 16 of which none was used before.
    pub fn push(
        &mut self,
        boot: u32,
        tag: BootTag,
        set: SetHash,
        streams: &[StreamEntry],
    ) -> Result<(), EncodeError> {
        let mut seen = self.seen;
        for entry in streams {
            let bit = 1u16 << (entry.index & 15);
            if usize::from(entry.index) >= MAX_STREAMS || seen & bit != 0 {
                return Err(EncodeError::OutOfRange);
            }
            seen |= bit;
        }
        if streams.is_empty() || !streams.is_sorted_by(|a, b| a.lane < b.lane) {
            return Err(EncodeError::OutOfRange);
        }
        let start = self.out.len();
        let mut write = || -> Result<(), BufferTooSmall> {
            self.out.varint(boot.into())?;
            self.out.bytes(&tag.0)?;
            self.out.bytes(&set.0)?;
            self.out.varint(streams.len() as u64)?;
            for entry in streams {
                self.out.varint(entry.index.into())?;
                self.out.u8(entry.lane.code())?;
                self.out.varint(entry.oldest)?;
            }
            Ok(())
        };
        if let Err(error) = write() {
            self.out.truncate(start);
            return Err(error.into());
        }
        self.seen = seen;
        Ok(())
    }

    /// Ends the body and returns its length.
    pub fn finish(self) -> usize {
        self.out.len()
    }
}
