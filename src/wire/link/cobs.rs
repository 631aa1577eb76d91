//! Packets on a serial line: COBS, with a zero before and after each.

use super::{LinkDiscard, LinkDiscards, LinkError};
use crate::codec::BufferTooSmall;
use crate::limits::MAX_PACKET;
use cobs::{DecodeResult, DecoderState};

/// Returns the most bytes that [`write_cobs`] makes of a packet of `len` bytes: one for each 254, and 2.
///
/// ```
/// assert_eq!(vitalwire::wire::link::cobs_len(254), 257);
/// assert_eq!(vitalwire::wire::link::cobs_len(255), 259);
/// ```
pub const fn cobs_len(len: usize) -> usize {
    len.saturating_add(len.div_ceil(254)).saturating_add(2)
}

/// Writes a packet for a serial line to the front of `out`, and returns what to send.
///
/// The line may take it in as many parts as it likes, one after the other. A part that is lost costs this packet, and
/// not the next one.
///
/// # Errors
/// [`LinkError::EmptyPacket`], [`LinkError::PacketTooLong`] above 65535 bytes, [`LinkError::BufferTooSmall`] if `out` is
/// shorter than [`cobs_len`] of the packet.
///
/// ```
/// let mut out = [0; 64];
/// assert_eq!(vitalwire::wire::link::write_cobs(&[0x80, 0, 7], &mut out)?, [0, 2, 0x80, 2, 7, 0]);
/// # Ok::<(), vitalwire::wire::link::LinkError>(())
/// ```
//= SPEC.md#serial-lines
//# A sender MUST send a zero before and after each packet.
pub fn write_cobs<'o>(packet: &[u8], out: &'o mut [u8]) -> Result<&'o mut [u8], LinkError> {
    if packet.is_empty() {
        return Err(LinkError::EmptyPacket);
    }
    if packet.len() > MAX_PACKET {
        return Err(LinkError::PacketTooLong { longest: MAX_PACKET });
    }
    let needed = cobs_len(packet.len());
    let too_small = BufferTooSmall { needed };
    let out = out.get_mut(..needed).ok_or(too_small)?;
    let len = match out.get_mut(1..needed.saturating_sub(1)) {
        Some(body) => cobs::try_encode(packet, body).map_err(|_| too_small)?,
        None => return Err(too_small.into()),
    };
    let frame = out.get_mut(..len.saturating_add(2)).ok_or(too_small)?;
    if let [first, .., last] = frame {
        (*first, *last) = (0, 0);
    }
    Ok(frame)
}

/// Finds the packets on a serial line that [`write_cobs`] made, whatever parts and garbage they come in.
///
/// `N` is the longest packet that may come: 512 or what the end announces as its largest packet, if that is more.
///
/// ```
/// use vitalwire::wire::link::{CobsDecoder, LinkDiscard};
/// let mut decoder = CobsDecoder::<1500>::new();
/// let mut packets = Vec::new();
/// // The boot loader's greeting, a packet in two parts.
/// for mut part in [&b"Loader 1.0\r\n\x00\x02\x80"[..], &[2, 7, 0]] {
///     while let Some(packet) = decoder.next(&mut part) {
///         packets.push(packet.to_vec());
///     }
/// }
/// assert_eq!(packets, [[0x80, 0, 7]]);
/// assert_eq!(decoder.discards().of(LinkDiscard::Garbled), 1);
/// ```
#[derive(Debug)]
pub struct CobsDecoder<const N: usize> {
    buffer: [u8; N],
    len: usize,
    state: DecoderState,
    /// Too long: wait for the next zero.
    skipping: bool,
    discards: LinkDiscards,
}

impl<const N: usize> Default for CobsDecoder<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> CobsDecoder<N> {
    /// Makes a decoder, which takes what comes before the first zero for the end of a packet.
    pub const fn new() -> Self {
        Self {
            buffer: [0; N],
            len: 0,
            state: DecoderState::Idle,
            skipping: false,
            discards: LinkDiscards::NONE,
        }
    }

    /// Takes bytes from the front of `part` until a packet is whole, and returns it; `None` if all were taken.
    ///
    /// Call it until it returns `None`. Garbage is never an error: it is counted in [`CobsDecoder::discards`].
    pub fn next(&mut self, part: &mut &[u8]) -> Option<&mut [u8]> {
        while let Some((&byte, rest)) = part.split_first() {
            *part = rest;
            if let Some(len) = self.take(byte) {
                return self.buffer.get_mut(..len);
            }
        }
        None
    }

    /// Returns how often each kind of garbage was discarded.
    pub const fn discards(&self) -> &LinkDiscards {
        &self.discards
    }

    /// Takes one byte, and returns the length of the packet that it ends.
    fn take(&mut self, byte: u8) -> Option<usize> {
        //= SPEC.md#serial-lines
        //# A receiver MUST begin with a new packet after every zero.
        if byte == 0 && core::mem::take(&mut self.skipping) {
            (self.len, self.state) = (0, DecoderState::Idle);
            return None;
        }
        if self.skipping {
            return None;
        }
        match self.state.feed(byte) {
            Ok(DecodeResult::NoData) => None,
            Ok(DecodeResult::DataContinue(byte)) => {
                match self.buffer.get_mut(self.len) {
                    Some(place) => {
                        *place = byte;
                        self.len = self.len.saturating_add(1);
                    }
                    //= SPEC.md#serial-lines
                    //# A receiver MUST discard a packet that is empty, longer than it accepts, or ends inside a block.
                    None => {
                        self.skipping = true;
                        self.discards.count(LinkDiscard::TooLong);
                    }
                }
                None
            }
            Ok(DecodeResult::DataComplete) => {
                let len = core::mem::take(&mut self.len);
                if len == 0 {
                    self.discards.count(LinkDiscard::TooShort);
                }
                (len > 0).then_some(len)
            }
            Err(_) => {
                self.len = 0;
                self.discards.count(LinkDiscard::Garbled);
                None
            }
        }
    }
}
