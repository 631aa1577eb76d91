//! The header of a data packet.

use super::{ConnectionId, CounterLen, DATA_BIT, TAG_LEN};
use crate::codec::{BufferTooSmall, Reader, Writer};
use crate::error::Discard;
use crate::limits::{MAX_CONNECTION_ID, MAX_PACKET};

/// An epoch modulo 4, as the header of a data packet tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EpochBits(u8);

impl EpochBits {
    /// Takes the low two bits of an epoch.
    ///
    /// ```
    /// use vitalwire::wire::EpochBits;
    /// assert_eq!(EpochBits::of(6), EpochBits::of(2));
    /// ```
    pub const fn of(epoch: u64) -> Self {
        Self((epoch & 3) as u8)
    }

    pub(super) fn of_first_byte(first: u8) -> Result<Self, Discard> {
        //= SPEC.md#packets
        //# A receiver MUST discard a data packet whose reserved bits are not zero.
        if first & 0b111 != 0 {
            return Err(Discard::MalformedHeader);
        }
        Ok(Self(first >> 5 & 3))
    }
}

/// The header of a data packet: all that stands before the ciphertext, and its associated data.
///
/// `1 EE LL 000` ‖ connection id ‖ the low L bytes of the packet counter (SPEC.md, "Packets"). See the
/// [module](super) for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DataHeader {
    epoch: EpochBits,
    counter_len: CounterLen,
    // Below 2^(8L).
    truncated: u32,
    connection_id: ConnectionId,
}

impl DataHeader {
    /// The longest header, in bytes.
    pub const MAX_LEN: usize = 1 + MAX_CONNECTION_ID + 4;

    /// Makes the header of the packet with this epoch and counter, both of which it truncates.
    pub const fn new(epoch: u64, counter: u64, counter_len: CounterLen, connection_id: ConnectionId) -> Self {
        let truncated = counter as u32 & mask(counter_len);
        Self { epoch: EpochBits::of(epoch), counter_len, truncated, connection_id }
    }

    /// Reads the header of a packet for an end whose connection ids are `connection_id_len` bytes long.
    ///
    /// # Errors
    /// [`Discard::TooShort`] if there is no room for header and tag, [`Discard::TooLong`] above [`MAX_PACKET`],
    /// [`Discard::MalformedHeader`] if it is no data packet, if reserved bits are set, or if `connection_id_len` is above 8.
    #[cfg_attr(feature = "backend", inline)]
    pub fn parse(packet: &[u8], connection_id_len: usize) -> Result<Self, Discard> {
        if packet.len() > MAX_PACKET {
            return Err(Discard::TooLong);
        }
        let (&first, rest) = packet.split_first().ok_or(Discard::TooShort)?;
        if first & DATA_BIT == 0 {
            return Err(Discard::MalformedHeader);
        }
        let epoch = EpochBits::of_first_byte(first)?;
        let counter_len = match first >> 3 & 3 {
            0 => CounterLen::One,
            1 => CounterLen::Two,
            2 => CounterLen::Three,
            _ => CounterLen::Four,
        };
        if connection_id_len > MAX_CONNECTION_ID {
            return Err(Discard::MalformedHeader);
        }
        let (id, rest) = rest.split_at_checked(connection_id_len).ok_or(Discard::TooShort)?;
        let connection_id = ConnectionId::new(id).ok_or(Discard::MalformedHeader)?;
        // The tag is longer than a counter, so these four bytes are there if the packet is long enough.
        let low = *rest.first_chunk().ok_or(Discard::TooShort)?;
        if rest.len() < counter_len.bytes().saturating_add(TAG_LEN) {
            return Err(Discard::TooShort);
        }
        let truncated = u32::from_le_bytes(low) & mask(counter_len);
        Ok(Self { epoch, counter_len, truncated, connection_id })
    }

    /// Writes the header to the front of `out` and returns its length.
    ///
    /// # Errors
    /// [`BufferTooSmall`].
    pub fn write(&self, out: &mut [u8]) -> Result<usize, BufferTooSmall> {
        let needed = self.header_len();
        if out.len() < needed {
            return Err(BufferTooSmall { needed });
        }
        let mut writer = Writer::new(out);
        let len_bits = match self.counter_len {
            CounterLen::One => 0,
            CounterLen::Two => 1,
            CounterLen::Three => 2,
            CounterLen::Four => 3,
        };
        writer.u8(DATA_BIT | self.epoch.0 << 5 | len_bits << 3)?;
        writer.bytes(self.connection_id.as_bytes())?;
        let counter = self.truncated.to_le_bytes();
        writer.bytes(counter.get(..self.counter_len.bytes()).unwrap_or_default())?;
        Ok(writer.len())
    }

    /// Returns the length of the header in bytes: 2 to 13.
    pub const fn header_len(&self) -> usize {
        header_len(self.counter_len, &self.connection_id)
    }

    /// Returns the epoch modulo 4.
    pub const fn epoch(&self) -> EpochBits {
        self.epoch
    }

    /// Returns how many bytes of the counter it carries.
    pub const fn counter_len(&self) -> CounterLen {
        self.counter_len
    }

    /// Returns the low bytes of the counter.
    pub const fn truncated(&self) -> u32 {
        self.truncated
    }

    /// Returns the connection id.
    pub const fn connection_id(&self) -> ConnectionId {
        self.connection_id
    }
}

/// The bits of a counter that are sent.
const fn mask(len: CounterLen) -> u32 {
    match len {
        CounterLen::One => 0xff,
        CounterLen::Two => 0xffff,
        CounterLen::Three => 0xff_ffff,
        CounterLen::Four => 0xffff_ffff,
    }
}

/// The length of a header with this counter length and connection id.
pub(crate) const fn header_len(counter_len: CounterLen, connection_id: &ConnectionId) -> usize {
    counter_len.bytes().saturating_add(connection_id.len()).saturating_add(1)
}

pub(super) fn read_connection_id(reader: &mut Reader<'_>, len: usize) -> Result<ConnectionId, Discard> {
    if len > MAX_CONNECTION_ID {
        return Err(Discard::MalformedHeader);
    }
    let bytes = reader.bytes(len).map_err(|_| Discard::TooShort)?;
    ConnectionId::new(bytes).ok_or(Discard::MalformedHeader)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn discards_reserved_bits() {
        //= SPEC.md#packets
        //= type=test
        //# A receiver MUST discard a data packet whose reserved bits are not zero.
        for first in 0x80..=0xffu8 {
            let mut packet = [0u8; 40];
            packet[0] = first;
            let parsed = DataHeader::parse(&packet, 0);
            assert_eq!(parsed.is_ok(), first & 7 == 0, "{first:08b}");
        }
        assert_eq!(DataHeader::parse(&[0x84; 40], 0), Err(Discard::MalformedHeader));
        assert_eq!(DataHeader::parse(&[0x11; 40], 0), Err(Discard::MalformedHeader));
    }

    #[test]
    fn needs_room_for_header_and_tag() {
        for (first, len) in [(0x80u8, 1), (0x88, 2), (0x90, 3), (0x98, 4)] {
            for id_len in 0..=8 {
                let mut packet = vec![0u8; 1 + id_len + len + TAG_LEN];
                packet[0] = first;
                assert_eq!(DataHeader::parse(&packet, id_len).unwrap().header_len(), 1 + id_len + len);
                packet.pop();
                assert_eq!(DataHeader::parse(&packet, id_len), Err(Discard::TooShort));
            }
        }
        assert_eq!(DataHeader::parse(&[0x80; 40], 9), Err(Discard::MalformedHeader));
    }

    proptest! {
        #[test]
        fn round_trips(epoch: u64, counter: u64, len in proptest::sample::select(&CounterLen::ALL[..]),
                       id in proptest::collection::vec(any::<u8>(), 0..=8)) {
            let id = ConnectionId::new(&id).unwrap();
            let header = DataHeader::new(epoch, counter, len, id);
            let mut packet = [0u8; DataHeader::MAX_LEN + TAG_LEN];
            prop_assert_eq!(header.write(&mut packet), Ok(header.header_len()));
            prop_assert_eq!(DataHeader::parse(&packet, id.len()), Ok(header));
            prop_assert_eq!(header.epoch(), EpochBits::of(epoch));
            let needed = header.header_len();
            prop_assert_eq!(header.write(&mut packet[..needed - 1]), Err(BufferTooSmall { needed }));
        }

        #[test]
        fn accepted_headers_are_written_identically(bytes in proptest::collection::vec(any::<u8>(), 18..40), id_len in 0usize..=8) {
            if let Ok(header) = DataHeader::parse(&bytes, id_len) {
                let mut out = [0u8; DataHeader::MAX_LEN];
                let len = header.write(&mut out).unwrap();
                prop_assert_eq!(&bytes[..len], &out[..len]);
            }
        }
    }
}
