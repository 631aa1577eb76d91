use super::{
    AckFrame, CommandFrame, CommandResultFrame, RecordsFrame, StreamsFrame, TicketFrame, TimeSyncFrame,
    stream_index,
};
use crate::codec::{BufferTooSmall, DecodeError, Reader, Writer};
use crate::error::CloseReason;
use crate::limits::{MAX_BATCH_RECORDS, MAX_CREDENTIAL, MAX_DESCRIPTOR_SET};
use crate::time::Duration;

/// The lowest type of an extension frame: skipped by who does not know it.
const FIRST_EXTENSION: u8 = 64;

/// A device answers a CredentialRenewal with the hash of its credential, in so many bytes.
const RENEWAL_ANSWER: usize = 16;

/// The first 16 bytes of the BLAKE2s-256 hash of an encoded descriptor set.
///
/// A backend shares sets between devices by it, so it is as long as it takes that nobody finds a second set with the
/// hash of a given one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SetHash(pub [u8; 16]);

impl SetHash {
    /// Takes the front of the BLAKE2s-256 hash of an encoded set.
    ///
    /// ```
    /// use vitalwire::framing::SetHash;
    /// assert_eq!(SetHash::from_digest([7; 32]), SetHash([7; 16]));
    /// ```
    pub const fn from_digest(digest: [u8; 32]) -> Self {
        let ([front, _], _) = digest.as_chunks() else { return Self([0; 16]) };
        Self(*front)
    }
}

/// Which end sent something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Sender {
    /// The device.
    Device,
    /// The backend.
    Backend,
}

/// The type of a frame that this version knows, with its code on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
#[expect(missing_docs, reason = "Frame documents each")]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum FrameKind {
    Padding = 0,
    Ping = 1,
    Pong = 2,
    Ack = 3,
    Credit = 4,
    Streams = 5,
    Records = 6,
    Descriptors = 7,
    DescriptorsRequest = 8,
    RekeyRequest = 9,
    RekeyAccept = 10,
    RekeyHint = 11,
    Ticket = 12,
    CredentialRenewal = 13,
    TimeSync = 15,
    Command = 16,
    CommandResult = 17,
    Close = 18,
    Refused = 19,
    Listen = 20,
}

/// A part of an encoded descriptor set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorsFrame<'a> {
    /// The index of a stream that has the set, in this session.
    pub stream: u8,
    /// The length of the whole set, in bytes, 1 to 2048.
    pub total: u16,
    /// Where `bytes` belongs in the set.
    pub offset: u16,
    /// The set's bytes from `offset` on, at least one.
    pub bytes: &'a [u8],
}

/// Why the backend refused records for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RefusedReason {
    /// The device's scopes do not permit them.
    OutOfScope = 1,
    /// They could not be decoded.
    Undecodable = 2,
}

/// Records that the backend refused for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RefusedFrame {
    /// The stream's index in this session.
    pub stream: u8,
    /// The first refused sequence.
    pub first: u64,
    /// How many, 1 to 64.
    pub count: u8,
    /// Why.
    pub reason: RefusedReason,
}

/// One frame, as in SPEC.md, "Frames".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame<'a> {
    /// So many zero bytes.
    Padding(usize),
    /// Asks for a Pong with the same token.
    Ping([u8; 8]),
    /// Answers a Ping with its token.
    Pong([u8; 8]),
    /// What was heard and what is settled.
    Ack(AckFrame<'a>),
    /// How many Records frames the backend is willing to hold uncommitted.
    Credit(u16),
    /// What is in the device's outbox.
    Streams(StreamsFrame<'a>),
    /// A batch of records.
    Records(RecordsFrame<'a>),
    /// A part of a descriptor set.
    Descriptors(DescriptorsFrame<'a>),
    /// Asks for the descriptor set of the stream with this index.
    DescriptorsRequest(u8),
    /// The device's fresh X25519 public key.
    RekeyRequest([u8; 32]),
    /// The backend's fresh X25519 public key.
    RekeyAccept([u8; 32]),
    /// Asks the device to rekey.
    RekeyHint,
    /// A ticket for the device's next resumption.
    Ticket(TicketFrame<'a>),
    /// A new credential for the device; from the device, the hash of the one that it has.
    CredentialRenewal(&'a [u8]),
    /// What the sender's clock says.
    TimeSync(TimeSyncFrame),
    /// Something to be done by the device's application.
    Command(CommandFrame<'a>),
    /// What became of a command.
    CommandResult(CommandResultFrame<'a>),
    /// Records refused for good.
    Refused(RefusedFrame),
    /// For how long the device listens after each of its packets, below 2^32 ms; zero: always.
    Listen(Duration),
    /// Ends the session.
    Close(CloseReason),
    /// A frame of type 64 or above, which this version does not know.
    Extension {
        /// Its type, 64 to 127.
        kind: u8,
        /// Its body.
        body: &'a [u8],
    },
}

impl<'a> Frame<'a> {
    /// Reads the body of a frame of type `kind`, strictly.
    pub(super) fn parse(kind: u8, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let frame = match kind {
            0 if is_zero(body) => Self::Padding(reader.rest().len()),
            0 => return Err(DecodeError::NonCanonical),
            1 => Self::Ping(reader.array()?),
            2 => Self::Pong(reader.array()?),
            3 => Self::Ack(AckFrame::parse(reader.rest())?),
            4 => Self::Credit(reader.varint_as()?),
            5 => Self::Streams(StreamsFrame::parse(reader.rest())?),
            6 => Self::Records(RecordsFrame::parse(reader.rest())?),
            7 => Self::Descriptors(DescriptorsFrame::parse(reader.rest())?),
            8 => Self::DescriptorsRequest(stream_index(&mut reader)?),
            9 => Self::RekeyRequest(reader.array()?),
            10 => Self::RekeyAccept(reader.array()?),
            11 => Self::RekeyHint,
            12 => Self::Ticket(TicketFrame::parse(reader.rest())?),
            13 => Self::CredentialRenewal(reader.rest()),
            15 => Self::TimeSync(TimeSyncFrame::parse(&mut reader)?),
            16 => Self::Command(CommandFrame::parse(&mut reader)?),
            17 => Self::CommandResult(CommandResultFrame::parse(&mut reader)?),
            18 => Self::Close(CloseReason::from_code(reader.u8()?)),
            19 => Self::Refused(RefusedFrame::parse(&mut reader)?),
            20 => Self::Listen(Duration::from_millis(reader.varint_as::<u32>()?.into())),
            //= SPEC.md#frames
            //# A receiver MUST skip and count an unknown frame of type 64 or above.
            FIRST_EXTENSION..=127 => Self::Extension { kind, body: reader.rest() },
            _ => return Err(DecodeError::UnknownMandatory),
        };
        //= SPEC.md#conventions
        //# A reader MUST refuse bytes that are left over after the last value of a structure.
        reader.finish()?;
        Ok(frame)
    }

    /// Returns the type code on the wire.
    pub const fn code(&self) -> u8 {
        (match self {
            Self::Padding(_) => FrameKind::Padding,
            Self::Ping(_) => FrameKind::Ping,
            Self::Pong(_) => FrameKind::Pong,
            Self::Ack(_) => FrameKind::Ack,
            Self::Credit(_) => FrameKind::Credit,
            Self::Streams(_) => FrameKind::Streams,
            Self::Records(_) => FrameKind::Records,
            Self::Descriptors(_) => FrameKind::Descriptors,
            Self::DescriptorsRequest(_) => FrameKind::DescriptorsRequest,
            Self::RekeyRequest(_) => FrameKind::RekeyRequest,
            Self::RekeyAccept(_) => FrameKind::RekeyAccept,
            Self::RekeyHint => FrameKind::RekeyHint,
            Self::Ticket(_) => FrameKind::Ticket,
            Self::CredentialRenewal(_) => FrameKind::CredentialRenewal,
            Self::TimeSync(_) => FrameKind::TimeSync,
            Self::Command(_) => FrameKind::Command,
            Self::CommandResult(_) => FrameKind::CommandResult,
            Self::Close(_) => FrameKind::Close,
            Self::Refused(_) => FrameKind::Refused,
            Self::Listen(_) => FrameKind::Listen,
            Self::Extension { kind, .. } => return *kind,
        }) as u8
    }

    /// Tells whether `sender` may send such a frame.
    ///
    /// ```
    /// use vitalwire::framing::{Frame, Sender};
    /// assert!(Frame::RekeyHint.allowed_from(Sender::Backend));
    /// assert!(!Frame::RekeyHint.allowed_from(Sender::Device));
    /// ```
    pub fn allowed_from(&self, sender: Sender) -> bool {
        //= SPEC.md#frames
        //# A receiver MUST treat a frame that only its own side may send, and a device's Ack that names streams, as malformed.
        match self {
            Self::Streams(_)
            | Self::Records(_)
            | Self::Descriptors(_)
            | Self::RekeyRequest(_)
            | Self::CommandResult(_)
            | Self::Listen(_) => sender == Sender::Device,
            Self::Credit(_)
            | Self::DescriptorsRequest(_)
            | Self::RekeyAccept(_)
            | Self::RekeyHint
            | Self::Ticket(_)
            | Self::Command(_)
            | Self::Refused(_) => sender == Sender::Backend,
            //= SPEC.md#renewal
            //# A reader MUST refuse a CredentialRenewal frame of a device that has not 16 bytes, and one of a backend that has more than 130.
            Self::CredentialRenewal(body) => match sender {
                Sender::Device => body.len() == RENEWAL_ANSWER,
                Sender::Backend => body.len() <= MAX_CREDENTIAL,
            },
            Self::TimeSync(frame) => frame.allowed_from(sender),
            Self::Ack(ack) => sender == Sender::Backend || ack.streams().next().is_none(),
            Self::Padding(_) | Self::Ping(_) | Self::Pong(_) | Self::Close(_) | Self::Extension { .. } => {
                true
            }
        }
    }

    /// Writes the body.
    pub(super) fn write_body(&self, out: &mut Writer<'_>) -> Result<(), BufferTooSmall> {
        match self {
            Self::Padding(len) => out.reserve(*len).map(|_| ()),
            Self::Ping(token) | Self::Pong(token) => out.bytes(token),
            Self::Ack(ack) => ack.write(out),
            Self::Credit(frames) => out.varint(u64::from(*frames)),
            Self::Streams(streams) => streams.write(out),
            Self::Records(records) => records.write(out),
            Self::Descriptors(part) => part.write(out),
            Self::DescriptorsRequest(stream) => out.varint(u64::from(*stream)),
            Self::RekeyRequest(key) | Self::RekeyAccept(key) => out.bytes(key),
            Self::RekeyHint => Ok(()),
            Self::Ticket(ticket) => ticket.write(out),
            Self::Close(reason) => out.u8(reason.code()),
            Self::CredentialRenewal(body) => out.bytes(body),
            Self::TimeSync(frame) => frame.write(out),
            Self::Command(command) => command.write(out),
            Self::CommandResult(result) => result.write(out),
            Self::Refused(refused) => refused.write(out),
            Self::Listen(window) => out.varint(window.as_millis().min(u32::MAX.into())),
            Self::Extension { body, .. } => out.bytes(body),
        }
    }
}

impl<'a> DescriptorsFrame<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let stream = stream_index(&mut reader)?;
        let total: u16 = reader.varint_as()?;
        let offset: u16 = reader.varint_as()?;
        let bytes = reader.rest();
        //= SPEC.md#descriptors-frame
        //# A reader MUST refuse a Descriptors frame without bytes, or whose bytes reach beyond the total length.
        let end = usize::from(offset).saturating_add(bytes.len());
        if bytes.is_empty() || end > usize::from(total) || usize::from(total) > MAX_DESCRIPTOR_SET {
            return Err(DecodeError::OutOfRange);
        }
        Ok(Self { stream, total, offset, bytes })
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), BufferTooSmall> {
        out.varint(self.stream.into())?;
        out.varint(self.total.into())?;
        out.varint(self.offset.into())?;
        out.bytes(self.bytes)
    }
}

impl RefusedFrame {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let stream = stream_index(reader)?;
        let first = reader.varint()?;
        let count = record_count(reader, first)?;
        let reason = match reader.u8()? {
            1 => RefusedReason::OutOfScope,
            2 => RefusedReason::Undecodable,
            _ => return Err(DecodeError::OutOfRange),
        };
        Ok(Self { stream, first, count, reason })
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), BufferTooSmall> {
        out.varint(self.stream.into())?;
        out.varint(self.first)?;
        out.varint(self.count.into())?;
        out.u8(self.reason as u8)
    }
}

/// Tells whether all bytes are zero.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    // The last eight bytes may be looked at twice.
    let (words, rest) = bytes.as_chunks::<8>();
    let rest = bytes.last_chunk().map_or_else(
        || rest.iter().fold(0, |any, byte| any | u64::from(*byte)),
        |last| u64::from_ne_bytes(*last),
    );
    words.iter().fold(rest, |any, word| any | u64::from_ne_bytes(*word)) == 0
}

/// Reads a number of records, 1 to 64, that start at the sequence `first`.
pub(super) fn record_count(reader: &mut Reader<'_>, first: u64) -> Result<u8, DecodeError> {
    let count: u8 = reader.varint_as()?;
    //= SPEC.md#records-frame
    //# A reader MUST refuse a number of records outside 1 to 64, and sequences that would exceed 2^64 − 2.
    if count == 0 || usize::from(count) > MAX_BATCH_RECORDS || first.checked_add(count.into()).is_none() {
        return Err(DecodeError::OutOfRange);
    }
    Ok(count)
}
