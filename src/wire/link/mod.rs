//! Adapters for links that are not datagrams of a good size: fragments (BLE, LoRa), delimited streams (TCP), serial lines.
//!
//! Owns how a packet crosses one link, between a device and that link's far end: a phone, a gateway, the service's
//! socket. Refuses to know what is in the packet, who sent it and whether it is genuine. It is no part of
//! [`Device`](crate#where-to-start) or `Backend`, which see whole packets only: firmware puts it between its device and
//! its radio, a relay between its radio and its network (SPEC.md, "Links").
//!
//! | link | out | in |
//! |---|---|---|
//! | carries 20 bytes or more in a piece, keeps their borders | [`Fragmenter`] | [`Reassembler`] |
//! | a reliable stream of bytes (TCP, an L2CAP channel) | [`write_delimited`] | [`DelimitedDecoder`] |
//! | an unreliable stream of bytes (UART, RS-485) | [`write_cobs`] | [`CobsDecoder`] |
//!
//! # Firmware on a small link
//! Tell the device `Link::Up { max_packet }` with what it shall build, 64 or more, not with what the link carries;
//! set `DeviceConfig::smallest_packet` to the same. Then each packet of `poll_transmit` goes through
//! [`Fragmenter::split`], and each fragment to the radio; what the radio receives goes through
//! [`Reassembler::handle`], and what that returns to `handle_packet`.
//!
//! How large a packet to choose: each has 18 bytes of header and tag or more whatever its length, and costs an answer;
//! each fragment has 2. So on a link that acknowledges and keeps the order (BLE), take as many bytes as the alarm lane
//! can wait for: over 20 bytes, 60 heart rates with all answers take 890 bytes in packets of up to 244 bytes, and 3661
//! in packets of 64 (example `ble`). On one that loses (LoRa), each lost fragment costs its whole packet: stay at a few
//! fragments, or at the link's own size, where packets travel whole with no byte more. The backend's packets are as long
//! as `DeviceConfig::limits` allow, 1232 bytes usually: set them to `Limits::SMALL_LINK`, or to what the device's reassembly
//! buffer takes, and no more than 576 if the link may carry only 20 bytes.
//!
//! When the link's size changes, tell the fragmenter ([`Fragmenter::set_max_packet`]), and the device only if its own
//! number follows from it. When the link breaks, drop the [`Outgoing`] packet, and [`Reassembler::reset`]: what was lost
//! is repeated by the protocol. A relay drops a packet that `split` refuses, as a network does. The example
//! `ble` in the repository shows both ends.
//!
//! # Security
//! Nothing here is authenticated: a link that is to be trusted would need keys of its own, and the packets need no
//! link to be trusted. Who can send on the link can displace half a packet, have a forged packet put together, or cut
//! what a stream carries. Each of these ends in the loss of packets, or in packets that fail to authenticate, as on any
//! network; none reads or alters a record, and none takes more memory or time than the one buffer of the link and
//! one copy of each byte. Packets need no checksum besides their tag: noise on a line makes at most failed packets, of
//! which a session survives 2^36 (SPEC.md, "Hard stops"). A line of 1 Mbit/s would have to carry nothing else for over
//! 100 days, and a session lives for one.

mod cobs;
mod delimited;
mod fragment;
mod reassembler;
#[cfg(test)]
mod tests;

pub use cobs::{CobsDecoder, cobs_len, write_cobs};
pub use delimited::{DelimitedDecoder, write_delimited};
pub use fragment::{Fragmenter, Outgoing};
pub use reassembler::Reassembler;

use crate::codec::BufferTooSmall;

/// Why a packet cannot cross a link; nothing has changed.
///
/// ```
/// use vitalwire::wire::link::{Fragmenter, LinkError};
/// assert_eq!(Fragmenter::new(19).err(), Some(LinkError::LinkTooSmall));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LinkError {
    /// The caller's buffer is too small.
    #[error(transparent)]
    BufferTooSmall(#[from] BufferTooSmall),
    /// The link carries fewer than 20 bytes.
    #[error("the link carries fewer than 20 bytes")]
    LinkTooSmall,
    /// There is no packet without a byte.
    #[error("the packet is empty")]
    EmptyPacket,
    /// The packet is longer than this link can carry.
    #[error("the packet is longer than {longest} bytes, the most that this link carries")]
    PacketTooLong {
        /// The longest packet, in bytes.
        longest: usize,
    },
    /// The stream has lost its borders: its connection must be closed.
    #[error("the stream has a length that no packet has: close the connection")]
    OutOfSync,
}

/// Why bytes from a link were discarded. Nothing changed but a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LinkDiscard {
    /// Nothing, or a fragment without a payload.
    TooShort,
    /// More than the buffer holds.
    TooLong,
    /// A fragment that contradicts the others of its packet: another size, or past the last one.
    Mismatched,
    /// A copy of a fragment.
    Repeated,
    /// A fragment of a packet that a newer one has displaced.
    Stale,
    /// Half a packet, when a newer one began.
    Displaced,
    /// Half a packet, of which nothing came for too long.
    TimedOut,
    /// A COBS frame that ends too early.
    Garbled,
}

impl LinkDiscard {
    /// Every reason, in order.
    pub const ALL: [Self; 8] = [
        Self::TooShort,
        Self::TooLong,
        Self::Mismatched,
        Self::Repeated,
        Self::Stale,
        Self::Displaced,
        Self::TimedOut,
        Self::Garbled,
    ];
}

/// How often each [`LinkDiscard`] happened.
///
/// ```
/// use vitalwire::Instant;
/// use vitalwire::wire::link::{LinkDiscard, Reassembler};
/// let mut reassembler = Reassembler::<512>::new();
/// assert_eq!(reassembler.handle(Instant::ZERO, &mut []), None);
/// assert_eq!(reassembler.discards().of(LinkDiscard::TooShort), 1);
/// assert_eq!(reassembler.discards().total(), 1);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkDiscards([u32; LinkDiscard::ALL.len()]);

impl LinkDiscards {
    const NONE: Self = Self([0; LinkDiscard::ALL.len()]);

    fn count(&mut self, discard: LinkDiscard) {
        if let Some(count) = self.0.get_mut(discard as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// Returns how often `discard` happened; at most 2^32 − 1.
    pub fn of(&self, discard: LinkDiscard) -> u32 {
        self.0.get(discard as usize).copied().unwrap_or(0)
    }

    /// Returns the sum over all reasons.
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, &count| sum.saturating_add(count.into()))
    }
}
