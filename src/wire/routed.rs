//! The other handshake packets: Reply, Finish, Retry, Reset.

use super::data::read_connection_id;
use super::{ConnectionId, Cookie, PacketKind, TAG_LEN};
use crate::codec::{BufferTooSmall, Reader, Writer};
use crate::error::Discard;
use crate::limits::{MAX_HELLO, MAX_REPLY};

/// Makes a packet that is a connection id and a Noise message.
macro_rules! noise_packet {
    ($(#[$doc:meta])* $name:ident, $max:expr, #[$id_doc:meta]) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name<'p> {
            #[$id_doc]
            pub connection_id: ConnectionId,
            /// The Noise message.
            pub noise: &'p [u8],
        }

        impl<'p> $name<'p> {
            /// Takes a packet apart, for an end whose connection ids are `connection_id_len` bytes long.
            ///
            /// # Errors
            /// [`Discard::TooShort`], [`Discard::TooLong`], [`Discard::UnknownType`] for another type of packet,
            /// [`Discard::MalformedHeader`] if `connection_id_len` is above 8.
            pub fn parse(packet: &'p [u8], connection_id_len: usize) -> Result<Self, Discard> {
                if packet.len() > $max {
                    return Err(Discard::TooLong);
                }
                let mut reader = Reader::new(packet);
                let connection_id = read_start(&mut reader, PacketKind::$name, connection_id_len)?;
                Ok(Self { connection_id, noise: reader.rest() })
            }

            /// Writes the packet. With an empty `noise` this is the header alone, which the Noise message may then
            /// follow in place.
            ///
            /// # Errors
            /// [`BufferTooSmall`]; nothing is written then.
            pub fn write(&self, out: &mut Writer<'_>) -> Result<(), BufferTooSmall> {
                let start = out.len();
                write_start(out, PacketKind::$name, &self.connection_id)
                    .and_then(|()| out.bytes(self.noise))
                    .inspect_err(|_| out.truncate(start))
            }
        }
    };
}

//= SPEC.md#reply-finish
//# A Reply MUST NOT be longer than 288 bytes, three times the shortest Hello.
noise_packet! {
    /// The backend's answer to a Hello, with Noise message 2.
    ///
    /// ```
    /// use vitalwire::codec::{BufferTooSmall, Writer};
    /// use vitalwire::wire::{ConnectionId, Reply};
    /// let mut out = [0u8; 8];
    /// let mut writer = Writer::new(&mut out);
    /// let reply = Reply { connection_id: ConnectionId::EMPTY, noise: &[7; 4] };
    /// reply.write(&mut writer)?;
    /// assert_eq!(Reply::parse(writer.written(), 0), Ok(reply));
    /// # Ok::<(), BufferTooSmall>(())
    /// ```
    Reply, MAX_REPLY,
    /// The device's connection id.
}

noise_packet! {
    /// The device's second packet in the XX patterns, with Noise message 3. See [`Reply`] for an example.
    Finish, MAX_HELLO,
    /// The backend's connection id.
}

/// The part of a [`Retry`] that its MAC covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryHeader {
    /// The device's connection id.
    pub connection_id: ConnectionId,
    /// The cookie to send.
    pub cookie: Cookie,
}

impl RetryHeader {
    /// Writes all of a Retry but the MAC, which follows.
    ///
    /// # Errors
    /// [`BufferTooSmall`]; nothing is written then.
    pub fn write(&self, out: &mut Writer<'_>) -> Result<(), BufferTooSmall> {
        let start = out.len();
        write_start(out, PacketKind::Retry, &self.connection_id)
            .and_then(|()| out.bytes(&self.cookie.0))
            .inspect_err(|_| out.truncate(start))
    }
}

/// A Retry, taken apart: the backend is under load and asks for a Hello with this cookie. Not authenticated yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry<'p> {
    /// What it says.
    pub header: RetryHeader,
    /// What the MAC covers of this packet (the MAC of the Hello follows it).
    pub covered: &'p [u8],
    /// The MAC, which `handshake` verifies.
    pub mac: &'p [u8; TAG_LEN],
}

impl<'p> Retry<'p> {
    /// Takes a packet apart, for a device whose connection ids are `connection_id_len` bytes long.
    ///
    /// # Errors
    /// [`Discard::TooShort`], [`Discard::TooLong`] if bytes are left over, [`Discard::UnknownType`],
    /// [`Discard::MalformedHeader`] if `connection_id_len` is above 8.
    pub fn parse(packet: &'p [u8], connection_id_len: usize) -> Result<Self, Discard> {
        let (covered, mac) = packet.split_last_chunk::<TAG_LEN>().ok_or(Discard::TooShort)?;
        let mut reader = Reader::new(covered);
        let connection_id = read_start(&mut reader, PacketKind::Retry, connection_id_len)?;
        let cookie = Cookie(reader.array().map_err(|_| Discard::TooShort)?);
        reader.finish().map_err(|_| Discard::TooLong)?;
        Ok(Self { header: RetryHeader { connection_id, cookie }, covered, mac })
    }
}

/// A hint that the backend does not know the connection id of a packet. Closes nothing.
///
/// ```
/// use vitalwire::wire::Reset;
/// let reset = Reset { tag: [7; 16] };
/// assert_eq!(Reset::parse(&reset.to_bytes()), Ok(reset));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// The last 16 bytes of the packet that it answers.
    pub tag: [u8; TAG_LEN],
}

impl Reset {
    /// Its length in bytes: one less than the shortest data packet's.
    pub const LEN: usize = 1 + TAG_LEN;

    /// Takes a packet apart.
    ///
    /// # Errors
    /// [`Discard::TooShort`], [`Discard::TooLong`] if bytes are left over, [`Discard::UnknownType`].
    pub fn parse(packet: &[u8]) -> Result<Self, Discard> {
        let mut reader = Reader::new(packet);
        read_start(&mut reader, PacketKind::Reset, 0)?;
        let tag = reader.array().map_err(|_| Discard::TooShort)?;
        reader.finish().map_err(|_| Discard::TooLong)?;
        Ok(Self { tag })
    }

    /// Returns the packet.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut packet = [0; Self::LEN];
        let [first, tag @ ..] = &mut packet;
        *first = PacketKind::Reset.first_byte().unwrap_or_default();
        tag.copy_from_slice(&self.tag);
        packet
    }
}

fn read_start(reader: &mut Reader<'_>, kind: PacketKind, id_len: usize) -> Result<ConnectionId, Discard> {
    if Some(reader.u8().map_err(|_| Discard::TooShort)?) != kind.first_byte() {
        return Err(Discard::UnknownType);
    }
    read_connection_id(reader, id_len)
}

fn write_start(out: &mut Writer<'_>, kind: PacketKind, id: &ConnectionId) -> Result<(), BufferTooSmall> {
    out.u8(kind.first_byte().unwrap_or_default())?;
    out.bytes(id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reply_is_at_most_288_bytes_long() {
        //= SPEC.md#reply-finish
        //= type=test
        //# A Reply MUST NOT be longer than 288 bytes, three times the shortest Hello.
        let packet = [0x12u8; MAX_REPLY + 1];
        assert!(Reply::parse(&packet[..MAX_REPLY - 1], 0).is_ok());
        assert!(Reply::parse(&packet[..MAX_REPLY], 0).is_ok());
        assert_eq!(Reply::parse(&packet, 0), Err(Discard::TooLong));
    }

    #[test]
    fn finish_is_at_most_512_bytes_long() {
        let packet = [0x13u8; MAX_HELLO + 1];
        assert!(Finish::parse(&packet[..MAX_HELLO - 1], 0).is_ok());
        assert!(Finish::parse(&packet[..MAX_HELLO], 0).is_ok());
        assert_eq!(Finish::parse(&packet, 0), Err(Discard::TooLong));
    }

    #[test]
    fn retry_and_reset_have_one_length() {
        let packet = [0x14u8; 1 + 2 + 32 + 1];
        assert_eq!(Retry::parse(&packet, 2), Err(Discard::TooLong));
        assert!(Retry::parse(&packet[..35], 2).is_ok());
        for len in 0..35 {
            assert_eq!(Retry::parse(&packet[..len], 2), Err(Discard::TooShort), "{len}");
        }
        let packet = [0x15u8; 18];
        assert_eq!(Reset::parse(&packet), Err(Discard::TooLong));
        assert!(Reset::parse(&packet[..17]).is_ok());
        assert_eq!(Reset::parse(&packet[..16]), Err(Discard::TooShort));
    }

    #[test]
    fn each_parser_takes_its_own_type_only() {
        for first in 0..=255u8 {
            let packet = [first; 33];
            assert_eq!(Reply::parse(&packet, 4).is_ok(), first == 0x12);
            assert_eq!(Finish::parse(&packet, 4).is_ok(), first == 0x13);
            assert_eq!(Retry::parse(&packet, 0).is_ok(), first == 0x14);
            assert_eq!(Reset::parse(&packet[..17]).is_ok(), first == 0x15);
        }
    }

    proptest! {
        #[test]
        fn round_trip(id in proptest::collection::vec(any::<u8>(), 0..=8), noise in proptest::collection::vec(any::<u8>(), 0..200),
                      cookie: [u8; 16], mac: [u8; 16]) {
            let connection_id = ConnectionId::new(&id).unwrap();
            let mut out = [0u8; 256];

            let mut writer = Writer::new(&mut out);
            let reply = Reply { connection_id, noise: &noise };
            reply.write(&mut writer).unwrap();
            prop_assert_eq!(Reply::parse(writer.written(), id.len()), Ok(reply));

            let mut writer = Writer::new(&mut out);
            let finish = Finish { connection_id, noise: &noise };
            finish.write(&mut writer).unwrap();
            prop_assert_eq!(Finish::parse(writer.written(), id.len()), Ok(finish));

            let mut writer = Writer::new(&mut out);
            let header = RetryHeader { connection_id, cookie: Cookie(cookie) };
            header.write(&mut writer).unwrap();
            let covered = writer.len();
            writer.bytes(&mac).unwrap();
            let packet = writer.written();
            prop_assert_eq!(Retry::parse(packet, id.len()), Ok(Retry { header, covered: &packet[..covered], mac: &mac }));

            let mut small = vec![0u8; covered - 1];
            let mut writer = Writer::new(&mut small);
            prop_assert!(header.write(&mut writer).is_err());
            prop_assert_eq!(writer.len(), 0);
        }
    }
}
