use super::{BufferTooSmall, zigzag};

/// Writes values to the front of the caller's bytes, never past their end.
///
/// ```
/// use vitalwire::codec::{BufferTooSmall, Writer};
/// let mut out = [0u8; 3];
/// let mut writer = Writer::new(&mut out);
/// writer.varint(150)?;
/// assert_eq!(writer.bytes(&[1, 2]), Err(BufferTooSmall { needed: 4 }));
/// writer.u8(7)?;
/// assert_eq!(writer.into_written(), &[0x96, 0x01, 7]);
/// # Ok::<(), BufferTooSmall>(())
/// ```
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// Starts at the front of `out`.
    pub const fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    /// Returns how many bytes were written.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Tells whether nothing was written yet.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns how many bytes are free.
    pub const fn remaining(&self) -> usize {
        self.out.len().saturating_sub(self.len)
    }

    /// Takes back what was written after `len` (a value that [`Writer::len`] gave earlier).
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Returns what was written.
    pub fn into_written(self) -> &'a mut [u8] {
        self.out.get_mut(..self.len).unwrap_or_default()
    }

    /// Returns what was written so far.
    pub fn written(&self) -> &[u8] {
        self.out.get(..self.len).unwrap_or_default()
    }

    /// Reserves the next `len` bytes and returns them, zeroed.
    ///
    /// # Errors
    /// [`BufferTooSmall`] with the total length needed; nothing is written.
    pub fn reserve(&mut self, len: usize) -> Result<&mut [u8], BufferTooSmall> {
        let needed = self.len.saturating_add(len);
        let space = self.out.get_mut(self.len..needed).ok_or(BufferTooSmall { needed })?;
        space.fill(0);
        self.len = needed;
        Ok(space)
    }

    /// Writes `bytes`.
    ///
    /// # Errors
    /// [`BufferTooSmall`] with the total length needed; nothing is written.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), BufferTooSmall> {
        self.reserve(bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    /// Writes one byte.
    ///
    /// # Errors
    /// As [`Writer::bytes`].
    pub fn u8(&mut self, value: u8) -> Result<(), BufferTooSmall> {
        self.bytes(&[value])
    }

    /// Writes a little-endian `u16`.
    ///
    /// # Errors
    /// As [`Writer::bytes`].
    pub fn u16(&mut self, value: u16) -> Result<(), BufferTooSmall> {
        self.bytes(&value.to_le_bytes())
    }

    /// Writes a little-endian `u32`.
    ///
    /// # Errors
    /// As [`Writer::bytes`].
    pub fn u32(&mut self, value: u32) -> Result<(), BufferTooSmall> {
        self.bytes(&value.to_le_bytes())
    }

    /// Writes the canonical (shortest) unsigned LEB128 varint, as postcard does.
    ///
    /// # Errors
    /// As [`Writer::bytes`].
    pub fn varint(&mut self, value: u64) -> Result<(), BufferTooSmall> {
        let space = self.reserve(super::varint_len(value))?;
        let mut rest = value;
        for byte in space.iter_mut() {
            *byte = (rest as u8) | 0x80;
            rest >>= 7;
        }
        if let Some(last) = space.last_mut() {
            *last &= 0x7f;
        }
        Ok(())
    }

    /// Writes a zigzag varint.
    ///
    /// # Errors
    /// As [`Writer::bytes`].
    pub fn signed(&mut self, value: i64) -> Result<(), BufferTooSmall> {
        self.varint(zigzag(value))
    }

    /// Writes a varint length and the bytes, or nothing.
    ///
    /// # Errors
    /// As [`Writer::bytes`].
    pub fn prefixed(&mut self, bytes: &[u8]) -> Result<(), BufferTooSmall> {
        let start = self.len;
        self.varint(bytes.len() as u64)?;
        self.bytes(bytes).inspect_err(|_| self.len = start)
    }
}
