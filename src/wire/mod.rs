//! Packet headers: what stands in the clear, as pairs of a parsed and an emitted form (SPEC.md, "Packets").
//!
//! Owns the first byte, connection ids, truncated counters, and the layout of handshake packets around the Noise
//! message; in [`link`], how a packet crosses links that are no datagrams. Refuses to know keys: the MAC of a Hello or
//! Retry is split off here and checked in `handshake`, a data packet's tag in `session`.
//!
//! ```
//! use vitalwire::wire::{ConnectionId, CounterLen, DataHeader, PacketKind, Side};
//! let id = ConnectionId::new(&[1, 2, 3]).ok_or("longer than 8 bytes")?;
//! let header = DataHeader::new(5, 70_000, CounterLen::Two, id);
//! let mut packet = [0u8; 64];
//! header.write(&mut packet)?;
//! assert_eq!(packet[..6], [0b1_01_01_000, 1, 2, 3, 0x70, 0x11]);
//! assert_eq!(PacketKind::parse(&packet, Side::Device)?, PacketKind::Data);
//! assert_eq!(DataHeader::parse(&packet, 3)?, header);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod counter;
mod data;
mod hello;
pub mod link;
mod routed;

pub use counter::{CounterLen, counter_len_for, reconstruct};
pub use data::{DataHeader, EpochBits};
pub use hello::{Cookie, Hello, HelloHeader, Pattern, PskId};
pub use routed::{Finish, Reply, Reset, Retry, RetryHeader};

use crate::error::Discard;
use crate::limits::{MAX_CONNECTION_ID, MAX_PACKET, VERSION};
use core::fmt;

/// Length of a packet's tag and of a Hello's or Retry's MAC, in bytes (SPEC.md, "Conventions").
pub const TAG_LEN: usize = 16;

/// One of the two ends of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Side {
    /// The end that initiates: a medical device.
    Device,
    /// The end that answers: a service.
    Backend,
}

impl Side {
    /// Returns the other end.
    ///
    /// ```
    /// use vitalwire::wire::Side;
    /// assert_eq!(Side::Device.peer(), Side::Backend);
    /// ```
    pub const fn peer(self) -> Self {
        match self {
            Self::Device => Self::Backend,
            Self::Backend => Self::Device,
        }
    }
}

/// A connection id: 0 to 8 bytes of the receiver's own choice, by which it finds the session of a packet.
///
/// ```
/// use vitalwire::wire::ConnectionId;
/// assert_eq!(ConnectionId::new(b"ward7").unwrap().as_bytes(), b"ward7");
/// assert_eq!(ConnectionId::new(&[0; 9]), None);
/// assert!(ConnectionId::EMPTY.is_empty());
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    // Unused bytes are zero, so that the derived comparisons hold.
    bytes: [u8; MAX_CONNECTION_ID],
    // At most MAX_CONNECTION_ID.
    len: u8,
}

impl ConnectionId {
    /// No bytes at all: enough where a link has one session only.
    pub const EMPTY: Self = Self { bytes: [0; MAX_CONNECTION_ID], len: 0 };

    /// Makes a connection id, or `None` above 8 bytes.
    #[cfg_attr(feature = "backend", inline)]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut id = Self { bytes: [0; MAX_CONNECTION_ID], len: u8::try_from(bytes.len()).ok()? };
        let space = id.bytes.get_mut(..bytes.len())?;
        // So few that a call to copy them would take longer.
        space.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Some(id)
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len()).unwrap_or_default()
    }

    /// Returns the length in bytes: 0 to 8.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Tells whether it has no bytes.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionId(")?;
        for byte in self.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// What kind of packet the first byte announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PacketKind {
    /// A data packet, from both ends: [`DataHeader`].
    Data,
    /// The device's first handshake packet: [`Hello`].
    Hello,
    /// The backend's answer: [`Reply`].
    Reply,
    /// The device's second handshake packet, in the XX patterns: [`Finish`].
    Finish,
    /// The backend asks for a new Hello with a cookie: [`Retry`].
    Retry,
    /// The backend does not know the connection id: [`Reset`].
    Reset,
    /// A piece of a packet on a small link, from both ends ([`link`]); an end never sees one, only link adapters do.
    Fragment,
}

pub(crate) const DATA_BIT: u8 = 0b1000_0000;
/// The version that no packet has: it is the links' own.
const FRAGMENT_VERSION: u8 = 0;

impl PacketKind {
    /// Classifies a packet that `sender` sent, by its first byte and its length alone.
    ///
    /// # Errors
    /// [`Discard::TooShort`] if it is empty, [`Discard::TooLong`] above [`MAX_PACKET`], [`Discard::MalformedHeader`] if
    /// reserved bits are set, [`Discard::UnknownVersion`], [`Discard::UnknownType`], and [`Discard::WrongDirection`] for a
    /// packet that only the other end may send.
    pub fn parse(packet: &[u8], sender: Side) -> Result<Self, Discard> {
        let first = *packet.first().ok_or(Discard::TooShort)?;
        if packet.len() > MAX_PACKET {
            return Err(Discard::TooLong);
        }
        let kind = Self::of_first_byte(first)?;
        //= SPEC.md#packets
        //# A receiver MUST discard a packet that only its own side may send.
        match kind.only_sender() {
            Some(only) if only != sender => Err(Discard::WrongDirection),
            _ => Ok(kind),
        }
    }

    fn of_first_byte(first: u8) -> Result<Self, Discard> {
        if first & DATA_BIT != 0 {
            EpochBits::of_first_byte(first)?;
            return Ok(Self::Data);
        }
        //= SPEC.md#packets
        //# A receiver MUST discard a handshake packet of another version or of an unknown type.
        match first >> 4 {
            VERSION => {}
            FRAGMENT_VERSION => return Ok(Self::Fragment),
            _ => return Err(Discard::UnknownVersion),
        }
        match first & 0x0f {
            1 => Ok(Self::Hello),
            2 => Ok(Self::Reply),
            3 => Ok(Self::Finish),
            4 => Ok(Self::Retry),
            5 => Ok(Self::Reset),
            _ => Err(Discard::UnknownType),
        }
    }

    /// Returns the first byte of a handshake packet; `None` for a data packet or fragment, whose first byte varies.
    pub const fn first_byte(self) -> Option<u8> {
        let kind = match self {
            Self::Data | Self::Fragment => return None,
            Self::Hello => 1,
            Self::Reply => 2,
            Self::Finish => 3,
            Self::Retry => 4,
            Self::Reset => 5,
        };
        Some(VERSION << 4 | kind)
    }

    /// Returns the only end that may send this kind, or `None` if both may.
    pub const fn only_sender(self) -> Option<Side> {
        match self {
            Self::Hello | Self::Finish => Some(Side::Device),
            Self::Reply | Self::Retry | Self::Reset => Some(Side::Backend),
            Self::Data | Self::Fragment => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn discards_other_versions_and_unknown_types() {
        //= SPEC.md#packets
        //= type=test
        //# A receiver MUST discard a handshake packet of another version or of an unknown type.
        for first in 0..0x80u8 {
            let result = PacketKind::parse(&[first], Side::Device);
            match (first >> 4, first & 0x0f) {
                (0, _) => assert_eq!(result, Ok(PacketKind::Fragment)),
                (1, 1 | 3) => assert_eq!(result.unwrap().first_byte(), Some(first)),
                (1, 2 | 4 | 5) => assert_eq!(result, Err(Discard::WrongDirection)),
                (1, _) => assert_eq!(result, Err(Discard::UnknownType)),
                _ => assert_eq!(result, Err(Discard::UnknownVersion)),
            }
        }
    }

    #[test]
    fn discards_packets_that_only_the_own_side_may_send() {
        //= SPEC.md#packets
        //= type=test
        //# A receiver MUST discard a packet that only its own side may send.
        for (first, sender) in [
            (0x11, Side::Device),
            (0x12, Side::Backend),
            (0x13, Side::Device),
            (0x14, Side::Backend),
            (0x15, Side::Backend),
        ] {
            assert!(PacketKind::parse(&[first], sender).is_ok());
            assert_eq!(PacketKind::parse(&[first], sender.peer()), Err(Discard::WrongDirection));
        }
        for first in [0x00, 0x0f, 0x80] {
            assert!(PacketKind::parse(&[first], Side::Device).is_ok());
            assert!(PacketKind::parse(&[first], Side::Backend).is_ok());
        }
    }

    #[test]
    fn classifies_by_length_at_the_limits() {
        assert_eq!(PacketKind::parse(&[], Side::Device), Err(Discard::TooShort));
        let packet = vec![0x80u8; MAX_PACKET + 1];
        assert_eq!(PacketKind::parse(&packet, Side::Device), Err(Discard::TooLong));
        assert_eq!(PacketKind::parse(&packet[1..], Side::Device), Ok(PacketKind::Data));
        assert_eq!(PacketKind::parse(&packet[2..], Side::Device), Ok(PacketKind::Data));
    }

    #[test]
    fn connection_id_holds_at_most_eight_bytes() {
        assert_eq!(ConnectionId::new(&[7; 7]).unwrap().len(), 7);
        assert_eq!(ConnectionId::new(&[7; 8]).unwrap().as_bytes(), [7; 8]);
        assert_eq!(ConnectionId::new(&[7; 9]), None);
        assert_ne!(ConnectionId::new(&[0; 1]), ConnectionId::new(&[0; 2]));
        assert_eq!(format!("{:?}", ConnectionId::new(&[0xab, 1]).unwrap()), "ConnectionId(ab01)");
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), len in 0usize..12) {
            for sender in [Side::Device, Side::Backend] {
                let _ = PacketKind::parse(&bytes, sender);
            }
            let _ = DataHeader::parse(&bytes, len);
            let _ = Hello::parse(&bytes);
            let _ = Reply::parse(&bytes, len);
            let _ = Finish::parse(&bytes, len);
            let _ = Retry::parse(&bytes, len);
            let _ = Reset::parse(&bytes);
        }
    }
}
