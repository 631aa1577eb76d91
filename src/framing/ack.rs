use super::{EncodeError, stream_index};
use crate::codec::{DecodeError, Reader, Writer};

/// The longest bitmap of an Ack, in bytes.
const MAX_BITMAP: usize = 32;

/// Which of the 256 sequences after a cumulative one are settled.
///
/// ```
/// use vitalwire::framing::Settled;
/// let mut settled = Settled::default();
/// settled.insert(200);
/// assert!(settled.contains(200) && !settled.contains(199));
/// assert_eq!(settled.iter().collect::<Vec<_>>(), [200]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Settled([u64; 4]);

impl Settled {
    /// Nothing above the cumulative sequence is settled.
    pub const NONE: Self = Self([0; 4]);

    /// Adds the sequence `cumulative + 1 + bit`.
    pub fn insert(&mut self, bit: u8) {
        if let Some(word) = self.0.get_mut(usize::from(bit >> 6)) {
            *word |= 1 << (bit & 63);
        }
    }

    /// Tells whether `cumulative + 1 + bit` is settled.
    pub fn contains(&self, bit: u8) -> bool {
        self.0.get(usize::from(bit >> 6)).is_some_and(|word| word >> (bit & 63) & 1 == 1)
    }

    /// Tells whether nothing is settled.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }

    /// Lists the bits that are set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=u8::MAX).filter(|&bit| self.contains(bit))
    }

    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.last() == Some(&0) {
            return Err(DecodeError::NonCanonical);
        }
        let mut words = [0u64; 4];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks(8)) {
            for &byte in chunk.iter().rev() {
                *word = *word << 8 | u64::from(byte);
            }
        }
        Ok(Self(words))
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        let mut bytes = [0u8; MAX_BITMAP];
        for (chunk, word) in bytes.chunks_mut(8).zip(self.0) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        let len = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last.saturating_add(1));
        Ok(out.prefixed(bytes.get(..len).unwrap_or_default())?)
    }
}

/// What is settled of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamAck {
    /// The stream's index in this session.
    pub stream: u8,
    /// All sequences below this one are settled; this one is not.
    pub cumulative: u64,
    /// The settled ones above.
    pub settled: Settled,
}

impl StreamAck {
    /// Tells whether this acknowledges `sequence`.
    ///
    /// ```
    /// use vitalwire::framing::{Settled, StreamAck};
    /// let mut settled = Settled::NONE;
    /// settled.insert(1);
    /// let ack = StreamAck { stream: 0, cumulative: 5, settled };
    /// assert!(ack.settles(4) && !ack.settles(5) && !ack.settles(6) && ack.settles(7));
    /// ```
    pub fn settles(&self, sequence: u64) -> bool {
        match sequence.checked_sub(self.cumulative) {
            None => true,
            Some(above) => match above.checked_sub(1) {
                None => false,
                Some(bit) => u8::try_from(bit).is_ok_and(|bit| self.settled.contains(bit)),
            },
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let stream = stream_index(reader)?;
        let cumulative = reader.varint()?;
        let settled = Settled::read(reader.prefixed(MAX_BITMAP)?)?;
        Ok(Self { stream, cumulative, settled })
    }
}

/// An Ack frame: the highest packet counter heard, and what is settled of each stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckFrame<'a> {
    /// The highest packet counter of the other direction that was authenticated; 0 until something was heard.
    pub packet: u64,
    streams: &'a [u8],
}

impl<'a> AckFrame<'a> {
    /// Makes an Ack that names no streams: a device's.
    pub const fn of_packet(packet: u64) -> Self {
        Self { packet, streams: &[] }
    }

    pub(super) fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let packet = reader.varint()?;
        let streams = reader.clone().rest();
        let mut previous = None;
        while !reader.is_empty() {
            //= SPEC.md#ack
            //# A reader MUST refuse an Ack whose stream indices do not ascend strictly or whose bitmap ends in a zero byte.
            let ack = StreamAck::read(&mut reader)?;
            if previous >= Some(ack.stream) {
                return Err(DecodeError::NonCanonical);
            }
            previous = Some(ack.stream);
        }
        Ok(Self { packet, streams })
    }

    /// Lists what is settled of each stream, in ascending order of their indices.
    pub fn streams(&self) -> impl Iterator<Item = StreamAck> + 'a {
        let mut reader = Reader::new(self.streams);
        core::iter::from_fn(move || StreamAck::read(&mut reader).ok())
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), crate::codec::BufferTooSmall> {
        out.varint(self.packet)?;
        out.bytes(self.streams)
    }
}

/// Writes the body of an Ack frame, stream by stream.
///
/// ```
/// use vitalwire::framing::{AckWriter, Frame, FrameKind, FrameWriter, Frames, Settled, StreamAck};
/// let mut payload = [0u8; 64];
/// let mut writer = FrameWriter::new(&mut payload);
/// writer.frame_with(FrameKind::Ack, |body| {
///     let mut ack = AckWriter::new(body, 1234).ok()?;
///     ack.push(&StreamAck { stream: 2, cumulative: 77, settled: Settled::NONE }).ok()?;
///     Some(ack.finish())
/// });
/// let payload = writer.finish();
/// let Some(Frame::Ack(ack)) = Frames::parse(payload)?.next() else { panic!("one Ack") };
/// assert_eq!(ack.packet, 1234);
/// assert_eq!(ack.streams().next().map(|stream| stream.cumulative), Some(77));
/// # Ok::<(), vitalwire::codec::DecodeError>(())
/// ```
#[derive(Debug)]
pub struct AckWriter<'w> {
    out: Writer<'w>,
    previous: Option<u8>,
}

impl<'w> AckWriter<'w> {
    /// Starts a body with the highest packet counter that was authenticated.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`].
    pub fn new(out: &'w mut [u8], packet: u64) -> Result<Self, EncodeError> {
        let mut out = Writer::new(out);
        out.varint(packet)?;
        Ok(Self { out, previous: None })
    }

    /// Appends one stream, or nothing.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`]; [`EncodeError::OutOfRange`] if the index is too large or not above the last one.
    pub fn push(&mut self, ack: &StreamAck) -> Result<(), EncodeError> {
        if self.previous >= Some(ack.stream) || usize::from(ack.stream) >= crate::limits::MAX_STREAMS {
            return Err(EncodeError::OutOfRange);
        }
        let start = self.out.len();
        let mut write = || {
            self.out.varint(ack.stream.into())?;
            self.out.varint(ack.cumulative)?;
            ack.settled.write(&mut self.out)
        };
        match write() {
            Ok(()) => self.previous = Some(ack.stream),
            Err(error) => {
                self.out.truncate(start);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Ends the body and returns its length.
    pub fn finish(self) -> usize {
        self.out.len()
    }
}
