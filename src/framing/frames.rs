use super::{Frame, FrameKind};
#[cfg(feature = "backend")]
use super::{RecordsFrame, frame::is_zero};
use crate::codec::{BufferTooSmall, DecodeError, Reader, Writer, varint_len};

/// The bit of the type byte which says that a length follows.
const HAS_LENGTH: u8 = 0x80;

#[cfg(feature = "backend")]
const RECORDS: u8 = FrameKind::Records as u8;
#[cfg(feature = "backend")]
const PADDING: u8 = FrameKind::Padding as u8;

/// The frames of one payload, all of them checked: an iterator that cannot fail.
///
/// ```
/// use vitalwire::framing::{Frame, FrameWriter, Frames};
/// let mut payload = [0u8; 32];
/// let mut writer = FrameWriter::new(&mut payload);
/// writer.push(&Frame::Credit(8))?;
/// writer.push(&Frame::Ping([7; 8]))?;
/// let payload = writer.finish();
/// let frames: Vec<_> = Frames::parse(payload)?.collect();
/// assert_eq!(frames, [Frame::Credit(8), Frame::Ping([7; 8])]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: Reader<'a>,
}

impl<'a> Frames<'a> {
    /// Checks every frame of a payload, to the last byte of each body.
    ///
    /// # Errors
    /// [`DecodeError`] of the first malformed frame: nothing of the packet may then be acted on.
    pub fn parse(payload: &'a [u8]) -> Result<Self, DecodeError> {
        Self::parse_if(payload, |_| true)
    }

    /// Checks every frame of a payload, and that `may_come` permits each.
    ///
    /// # Errors
    /// [`DecodeError`] of the first malformed frame, [`DecodeError::UnknownMandatory`] for one that may not come.
    #[cfg_attr(feature = "backend", inline)]
    pub(crate) fn parse_if(
        payload: &'a [u8],
        may_come: impl Fn(&Frame<'a>) -> bool,
    ) -> Result<Self, DecodeError> {
        //= SPEC.md#frames
        //# A receiver MUST check all frames of a packet before it acts on any.
        let mut reader = Reader::new(payload);
        while !reader.is_empty() {
            if !may_come(&Self::read(&mut reader)?) {
                return Err(DecodeError::UnknownMandatory);
            }
        }
        Ok(Self { rest: Reader::new(payload) })
    }

    /// As [`Frames::parse_if`], and hands out the first frame as it was read to be checked: often there is but one that
    /// takes work.
    #[cfg(feature = "backend")]
    pub(crate) fn parse_split(
        payload: &'a [u8],
        may_come: impl Fn(&Frame<'a>) -> bool,
    ) -> Result<(Option<Frame<'a>>, Self), DecodeError> {
        if payload.is_empty() {
            return Ok((None, Self { rest: Reader::new(payload) }));
        }
        let mut reader = Reader::new(payload);
        let first = Self::read(&mut reader)?;
        if !may_come(&first) {
            return Err(DecodeError::UnknownMandatory);
        }
        let rest = Self::parse_if(reader.rest(), may_come)?;
        Ok((Some(first), rest))
    }

    fn read(reader: &mut Reader<'a>) -> Result<Frame<'a>, DecodeError> {
        let head = reader.u8()?;
        let body = if head & HAS_LENGTH != 0 { reader.prefixed(usize::MAX)? } else { reader.rest() };
        // What comes all the time is not moved about with the others.
        #[cfg(feature = "backend")]
        match head & !HAS_LENGTH {
            RECORDS => return RecordsFrame::parse(body).map(Frame::Records),
            PADDING if is_zero(body) => return Ok(Frame::Padding(body.len())),
            _ => {}
        }
        Frame::parse(head & !HAS_LENGTH, body)
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        Self::read(&mut self.rest).ok()
    }
}

impl core::iter::FusedIterator for Frames<'_> {}

/// Writes frames into the caller's payload bytes.
///
/// The last frame stands without its length, which is put in when another one follows it.
#[derive(Debug)]
pub struct FrameWriter<'a> {
    out: &'a mut [u8],
    len: usize,
    /// Where the last frame starts; everything from here to `len` is its type byte and body.
    last: Option<usize>,
}

impl<'a> FrameWriter<'a> {
    /// Starts at the front of `out`.
    pub const fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0, last: None }
    }

    /// Tells whether no frame was written yet.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the length of the payload as it is now.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns how long the body of one more frame may be, or `None` if not even an empty one fits.
    pub fn remaining(&self) -> Option<usize> {
        self.out.len().checked_sub(self.next_body())
    }

    /// Writes a frame.
    ///
    /// # Errors
    /// [`BufferTooSmall`] with the total length needed; nothing has changed.
    pub fn push(&mut self, frame: &Frame<'_>) -> Result<(), BufferTooSmall> {
        let start = self.next_body();
        let space = self.out.get_mut(start..).ok_or(BufferTooSmall { needed: start })?;
        let mut writer = Writer::new(space);
        frame
            .write_body(&mut writer)
            .map_err(|error| BufferTooSmall { needed: start.saturating_add(error.needed) })?;
        let written = writer.len();
        self.commit(frame.code(), written);
        Ok(())
    }

    /// Writes a frame whose body `write` puts directly into place; it returns the body's length, or `None` to
    /// write nothing. Tells whether a frame was written.
    ///
    /// ```
    /// use vitalwire::framing::{FrameKind, FrameWriter};
    /// let mut payload = [0u8; 8];
    /// let mut writer = FrameWriter::new(&mut payload);
    /// assert!(!writer.frame_with(FrameKind::Padding, |_| None));
    /// assert!(writer.frame_with(FrameKind::Padding, |body| Some(body.len())));
    /// assert_eq!(writer.finish().len(), 8);
    /// ```
    pub fn frame_with(&mut self, kind: FrameKind, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> bool {
        let Some(body) = self.out.get_mut(self.next_body()..) else { return false };
        let space = body.len();
        match write(body) {
            Some(len) if len <= space => {
                self.commit(kind as u8, len);
                true
            }
            _ => false,
        }
    }

    /// Fills up to a payload of `len` bytes with a Padding frame; does nothing if that long already or too long for the buffer.
    pub fn pad_to(&mut self, len: usize) {
        if let Some(zeros) = len.checked_sub(self.next_body()) {
            let _ = self.push(&Frame::Padding(zeros));
        }
    }

    /// Returns the payload.
    pub fn finish(self) -> &'a mut [u8] {
        self.out.get_mut(..self.len).unwrap_or_default()
    }

    /// Returns how long the length field of the last frame will be if another one follows, and its body's length.
    fn pending_length(&self) -> (usize, usize) {
        match self.last {
            Some(last) => {
                let body = self.len.saturating_sub(last).saturating_sub(1);
                (varint_len(body as u64), body)
            }
            None => (0, 0),
        }
    }

    /// Returns where the body of the next frame starts.
    fn next_body(&self) -> usize {
        self.len.saturating_add(self.pending_length().0).saturating_add(1)
    }

    /// Puts the last frame's length in and makes the body at [`FrameWriter::next_body`] the new last frame.
    fn commit(&mut self, kind: u8, body: usize) {
        let (field, last_body) = self.pending_length();
        if let Some(last) = self.last
            && let Some(bytes) = self.out.get_mut(last..self.len.saturating_add(field))
            && let Some((head, rest)) = bytes.split_first_mut()
        {
            // `rest` ends `field` bytes after the old body, so that this stays inside it
            rest.copy_within(..last_body, field);
            *head |= HAS_LENGTH;
            let mut writer = Writer::new(rest);
            let _ = writer.varint(last_body as u64);
        }
        let start = self.len.saturating_add(field);
        if let Some(head) = self.out.get_mut(start) {
            *head = kind;
        }
        self.last = Some(start);
        self.len = start.saturating_add(1).saturating_add(body);
    }
}
