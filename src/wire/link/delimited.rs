//! Packets on a reliable stream of bytes: a length in front of each.

use super::LinkError;
use crate::codec::Writer;
use crate::limits::MAX_PACKET;

/// Length of the length, in bytes.
const PREFIX_LEN: usize = 2;

/// Writes a packet for a stream to the front of `out`, with its length in front, and returns what to send.
///
/// The stream may take it in as many parts as it likes, one after the other.
///
/// # Errors
/// [`LinkError::EmptyPacket`], [`LinkError::PacketTooLong`] above 65535 bytes, [`LinkError::BufferTooSmall`] if `out` is
/// shorter than the packet and 2 bytes.
///
/// ```
/// let mut out = [0; 64];
/// assert_eq!(vitalwire::wire::link::write_delimited(b"packet", &mut out)?, b"\x06\x00packet");
/// # Ok::<(), vitalwire::wire::link::LinkError>(())
/// ```
pub fn write_delimited<'o>(packet: &[u8], out: &'o mut [u8]) -> Result<&'o mut [u8], LinkError> {
    if packet.is_empty() {
        return Err(LinkError::EmptyPacket);
    }
    let len = u16::try_from(packet.len()).map_err(|_| LinkError::PacketTooLong { longest: MAX_PACKET })?;
    let mut writer = Writer::new(out);
    writer.bytes(&len.to_le_bytes())?;
    writer.bytes(packet)?;
    Ok(writer.into_written())
}

/// Finds the packets in a stream that [`write_delimited`] made, whatever parts it comes in.
///
/// `N` is the longest packet that may come: 512 or what the end announces as its largest packet, if that is more. A
/// decoder serves one connection, from its first byte on.
///
/// ```
/// use vitalwire::wire::link::{DelimitedDecoder, LinkError};
/// let mut decoder = DelimitedDecoder::<1500>::new();
/// let mut packets = Vec::new();
/// for mut part in [&b"\x06\x00pac"[..], b"ket\x01", b"\x00x"] {
///     while let Some(packet) = decoder.next(&mut part)? {
///         packets.push(packet.to_vec());
///     }
/// }
/// assert_eq!(packets, [&b"packet"[..], b"x"]);
///
/// let mut part = &b"\x00\x00"[..];
/// assert_eq!(decoder.next(&mut part), Err(LinkError::OutOfSync)); // close the connection
/// # Ok::<(), LinkError>(())
/// ```
#[derive(Clone, Debug)]
pub struct DelimitedDecoder<const N: usize> {
    buffer: [u8; N],
    prefix: [u8; PREFIX_LEN],
    /// How many bytes of the length and the packet are there.
    filled: usize,
    failed: bool,
}

impl<const N: usize> Default for DelimitedDecoder<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> DelimitedDecoder<N> {
    /// Makes a decoder for a new connection.
    pub const fn new() -> Self {
        Self { buffer: [0; N], prefix: [0; PREFIX_LEN], filled: 0, failed: false }
    }

    /// Takes bytes from the front of `part` until a packet is whole, and returns it; `None` if all were taken.
    ///
    /// Call it until it returns `None`.
    ///
    /// # Errors
    /// [`LinkError::OutOfSync`] if a length is 0 or above `N`: where the next packet begins cannot be known any more.
    /// The connection must be closed; every further call returns the same and takes nothing.
    pub fn next(&mut self, part: &mut &[u8]) -> Result<Option<&mut [u8]>, LinkError> {
        //= SPEC.md#streams-of-bytes
        //# A receiver MUST close a stream in which a length is 0 or above the longest packet that it accepts.
        if self.failed {
            return Err(LinkError::OutOfSync);
        }
        let started = self.filled;
        self.filled = self.filled.saturating_add(take(part, &mut self.prefix, started));
        let Some(filled) = self.filled.checked_sub(PREFIX_LEN) else { return Ok(None) };
        let len = usize::from(u16::from_le_bytes(self.prefix));
        let Some(packet) = self.buffer.get_mut(..len).filter(|packet| !packet.is_empty()) else {
            self.failed = true;
            return Err(LinkError::OutOfSync);
        };
        let filled = filled.saturating_add(take(part, packet, filled));
        if filled < len {
            self.filled = filled.saturating_add(PREFIX_LEN);
            return Ok(None);
        }
        self.filled = 0;
        Ok(Some(packet))
    }

    /// Tells whether a packet has begun and is not whole: the end of the stream cuts it off then.
    pub const fn is_inside(&self) -> bool {
        self.filled != 0
    }
}

/// Moves bytes from the front of `part` to `to`, of which `filled` are there; returns how many.
fn take(part: &mut &[u8], to: &mut [u8], filled: usize) -> usize {
    let place = to.get_mut(filled..).unwrap_or_default();
    let count = place.len().min(part.len());
    if let (Some(place), Some((bytes, rest))) = (place.get_mut(..count), part.split_at_checked(count)) {
        place.copy_from_slice(bytes);
        *part = rest;
    }
    count
}
