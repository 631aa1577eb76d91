//! The device's first packet.

use super::data::read_connection_id;
use super::{ConnectionId, PacketKind, TAG_LEN};
use crate::codec::{BufferTooSmall, Reader, Writer};
use crate::error::Discard;
use crate::limits::{MAX_CONNECTION_ID, MAX_HELLO, MIN_HELLO, TICKET_LEN};

/// Names the pre-shared key of an enrolment, so that the backend finds it before it knows who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PskId(pub [u8; 8]);

/// A backend's proof that a path works, opaque to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cookie(pub [u8; TAG_LEN]);

/// The Noise pattern of a handshake, with what its Hello header must name.
///
/// ```
/// use vitalwire::wire::{Pattern, PskId};
/// assert_eq!(Pattern::XxPsk3(PskId([1; 8])).byte(), 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Pattern {
    /// XX: first contact, only the authority is known.
    Xx,
    /// IK: the backend's key is known.
    Ik,
    /// XXpsk3: enrolment with a factory secret, which its id names.
    XxPsk3(PskId),
    /// IKpsk2: the backend's key is known, with a per-device secret.
    IkPsk2,
    /// NNpsk0: resumption with a ticket, which stands behind the header.
    Resume,
}

impl Pattern {
    /// Returns the pattern byte (SPEC.md, "Handshake").
    pub const fn byte(self) -> u8 {
        match self {
            Self::Xx => 1,
            Self::Ik => 2,
            Self::XxPsk3(_) => 3,
            Self::IkPsk2 => 4,
            Self::Resume => 5,
        }
    }

    /// Returns the psk id, which XXpsk3 has and no other pattern.
    pub const fn psk_id(self) -> Option<PskId> {
        match self {
            Self::XxPsk3(id) => Some(id),
            Self::Xx | Self::Ik | Self::IkPsk2 | Self::Resume => None,
        }
    }
}

const COOKIE_BIT: u8 = 0b01_0000;
const PSK_BIT: u8 = 0b10_0000;

/// The header of a Hello: from its first byte to its cookie. Its bytes are part of the Noise prologue.
///
/// ```
/// use vitalwire::codec::{BufferTooSmall, Writer};
/// use vitalwire::wire::{ConnectionId, HelloHeader, Pattern};
/// let header = HelloHeader { pattern: Pattern::Xx, connection_id: ConnectionId::EMPTY, cookie: None };
/// let mut out = [0u8; HelloHeader::MAX_LEN];
/// let mut writer = Writer::new(&mut out);
/// header.write(&mut writer)?;
/// assert_eq!(writer.written(), [0x11, 1, 0]);
/// # Ok::<(), BufferTooSmall>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HelloHeader {
    /// The pattern, with the psk id where there is one.
    pub pattern: Pattern,
    /// The id that the device wants to receive on.
    pub connection_id: ConnectionId,
    /// The cookie of the backend's Retry.
    pub cookie: Option<Cookie>,
}

impl HelloHeader {
    /// The longest header, in bytes.
    pub const MAX_LEN: usize = 3 + MAX_CONNECTION_ID + 8 + TAG_LEN;

    /// Writes the header; the Noise message and the MAC follow it.
    ///
    /// # Errors
    /// [`BufferTooSmall`]; nothing is written then.
    pub fn write(&self, out: &mut Writer<'_>) -> Result<(), BufferTooSmall> {
        let start = out.len();
        self.try_write(out).inspect_err(|_| out.truncate(start))
    }

    fn try_write(&self, out: &mut Writer<'_>) -> Result<(), BufferTooSmall> {
        let psk_id = self.pattern.psk_id();
        let psk_bit = if psk_id.is_some() { PSK_BIT } else { 0 };
        let cookie_bit = if self.cookie.is_some() { COOKIE_BIT } else { 0 };
        out.u8(PacketKind::Hello.first_byte().unwrap_or_default())?;
        out.u8(self.pattern.byte())?;
        out.u8(self.connection_id.len() as u8 | cookie_bit | psk_bit)?;
        out.bytes(self.connection_id.as_bytes())?;
        if let Some(PskId(id)) = psk_id {
            out.bytes(&id)?;
        }
        if let Some(Cookie(cookie)) = self.cookie {
            out.bytes(&cookie)?;
        }
        Ok(())
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Discard> {
        let short = |_| Discard::TooShort;
        if Some(reader.u8().map_err(short)?) != PacketKind::Hello.first_byte() {
            return Err(Discard::UnknownType);
        }
        let pattern = reader.u8().map_err(short)?;
        let flags = reader.u8().map_err(short)?;
        if flags & 0b1100_0000 != 0 || (flags & PSK_BIT != 0) != (pattern == 3) {
            return Err(Discard::MalformedHeader);
        }
        //= SPEC.md#hello
        //# A Hello of pattern 5 MUST NOT have a cookie.
        if pattern == 5 && flags & COOKIE_BIT != 0 {
            return Err(Discard::MalformedHeader);
        }
        let connection_id = read_connection_id(reader, usize::from(flags & 0x0f))?;
        let pattern = match pattern {
            1 => Pattern::Xx,
            2 => Pattern::Ik,
            3 => Pattern::XxPsk3(PskId(reader.array().map_err(short)?)),
            4 => Pattern::IkPsk2,
            5 => Pattern::Resume,
            _ => return Err(Discard::UnknownType),
        };
        let cookie =
            if flags & COOKIE_BIT != 0 { Some(Cookie(reader.array().map_err(short)?)) } else { None };
        Ok(Self { pattern, connection_id, cookie })
    }
}

/// A Hello, taken apart. Nothing in it is authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'p> {
    /// The header.
    pub header: HelloHeader,
    /// The ticket: in a resumption, and in no other.
    pub ticket: Option<&'p [u8; TICKET_LEN]>,
    /// The header as bytes, and the ticket if there is one: for the prologue.
    pub header_bytes: &'p [u8],
    /// Noise message 1.
    pub noise: &'p [u8],
    /// All that the MAC covers: the packet without the MAC.
    pub covered: &'p [u8],
    /// The MAC, which `handshake` verifies.
    pub mac: &'p [u8; TAG_LEN],
}

impl<'p> Hello<'p> {
    /// Takes a packet apart.
    ///
    /// # Errors
    /// [`Discard::ShortHello`] below [`MIN_HELLO`] bytes, [`Discard::TooLong`] above [`MAX_HELLO`],
    /// [`Discard::UnknownType`] for another type of packet or an unknown pattern, [`Discard::MalformedHeader`].
    pub fn parse(packet: &'p [u8]) -> Result<Self, Discard> {
        //= SPEC.md#hello
        //# A Hello MUST be at least 96 and at most 512 bytes long.
        if packet.len() < MIN_HELLO {
            return Err(Discard::ShortHello);
        }
        if packet.len() > MAX_HELLO {
            return Err(Discard::TooLong);
        }
        let (covered, mac) = packet.split_last_chunk::<TAG_LEN>().ok_or(Discard::ShortHello)?;
        let mut reader = Reader::new(covered);
        let header = HelloHeader::read(&mut reader)?;
        let ticket = match header.pattern {
            Pattern::Resume => {
                let bytes = reader.bytes(TICKET_LEN).map_err(|_| Discard::TooShort)?;
                Some(bytes.first_chunk().ok_or(Discard::TooShort)?)
            }
            _ => None,
        };
        let noise = reader.rest();
        let header_bytes = covered.get(..covered.len().saturating_sub(noise.len())).unwrap_or_default();
        Ok(Self { header, ticket, header_bytes, noise, covered, mac })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(header: &HelloHeader, len: usize) -> Vec<u8> {
        let mut packet = vec![0xaau8; len];
        header.write(&mut Writer::new(&mut packet)).unwrap();
        packet
    }

    fn plain() -> HelloHeader {
        HelloHeader { pattern: Pattern::Ik, connection_id: ConnectionId::EMPTY, cookie: None }
    }

    #[test]
    fn is_96_to_512_bytes_long() {
        //= SPEC.md#hello
        //= type=test
        //# A Hello MUST be at least 96 and at most 512 bytes long.
        for (len, expected) in [
            (95, Some(Discard::ShortHello)),
            (96, None),
            (97, None),
            (511, None),
            (512, None),
            (513, Some(Discard::TooLong)),
        ] {
            assert_eq!(Hello::parse(&packet(&plain(), len)).err(), expected, "{len}");
        }
    }

    #[test]
    fn names_a_psk_in_pattern_3_and_no_other() {
        for pattern in 0..=255u8 {
            for flags in [0, PSK_BIT] {
                let mut packet = packet(&plain(), 256);
                packet[1] = pattern;
                packet[2] = flags;
                let expected = match (pattern, flags) {
                    (1 | 2 | 4 | 5, 0) | (3, PSK_BIT) => None,
                    (3, _) | (_, PSK_BIT) => Some(Discard::MalformedHeader),
                    _ => Some(Discard::UnknownType),
                };
                assert_eq!(Hello::parse(&packet).err(), expected, "{pattern} {flags}");
            }
        }
    }

    #[test]
    fn discards_reserved_flags_and_long_connection_ids() {
        for flags in 0..=255u8 {
            let mut packet = packet(&plain(), 128);
            packet[2] = flags;
            let fine = flags & 0b1110_0000 == 0 && flags & 0x0f <= 8;
            assert_eq!(Hello::parse(&packet).is_ok(), fine, "{flags:08b}");
        }
    }

    #[test]
    fn a_resumption_has_a_ticket_and_no_cookie() {
        //= SPEC.md#hello
        //= type=test
        //# A Hello of pattern 5 MUST NOT have a cookie.
        let header = HelloHeader { pattern: Pattern::Resume, ..plain() };
        let mut bytes = packet(&header, 256);
        let hello = Hello::parse(&bytes).unwrap();
        assert_eq!(hello.ticket, Some(&[0xaa; TICKET_LEN]));
        assert_eq!(hello.header_bytes, &bytes[..3 + TICKET_LEN]);
        assert_eq!(hello.noise.len(), 256 - 3 - TICKET_LEN - TAG_LEN);
        for len in MIN_HELLO..256 {
            let expected = (len < 3 + TICKET_LEN + TAG_LEN).then_some(Discard::TooShort);
            assert_eq!(Hello::parse(&bytes[..len]).err(), expected, "{len}");
        }
        bytes[2] = COOKIE_BIT;
        assert_eq!(Hello::parse(&bytes).err(), Some(Discard::MalformedHeader));
        for pattern in 1..=4 {
            bytes[1] = pattern;
            bytes[2] = if pattern == 3 { PSK_BIT } else { 0 };
            assert_eq!(Hello::parse(&bytes).unwrap().ticket, None);
        }
    }

    fn any_header() -> impl Strategy<Value = HelloHeader> {
        let pattern = prop_oneof![
            Just(Pattern::Xx),
            Just(Pattern::Ik),
            any::<[u8; 8]>().prop_map(|id| Pattern::XxPsk3(PskId(id))),
            Just(Pattern::IkPsk2)
        ];
        let id = proptest::collection::vec(any::<u8>(), 0..=8).prop_map(|id| ConnectionId::new(&id).unwrap());
        (pattern, id, any::<Option<[u8; 16]>>()).prop_map(|(pattern, connection_id, cookie)| HelloHeader {
            pattern,
            connection_id,
            cookie: cookie.map(Cookie),
        })
    }

    proptest! {
        #[test]
        fn round_trips(header in any_header(), len in MIN_HELLO..=MAX_HELLO) {
            let packet = packet(&header, len);
            let hello = Hello::parse(&packet).unwrap();
            prop_assert_eq!(hello.header, header);
            prop_assert_eq!([hello.header_bytes, hello.noise, hello.mac].concat(), &packet[..]);
            prop_assert_eq!([hello.covered, hello.mac].concat(), &packet[..]);
            prop_assert!(hello.noise.iter().all(|&byte| byte == 0xaa));
            let mut small = vec![0u8; hello.header_bytes.len() - 1];
            let mut writer = Writer::new(&mut small);
            prop_assert!(header.write(&mut writer).is_err());
            prop_assert_eq!(writer.len(), 0);
        }

        #[test]
        fn accepted_headers_are_written_identically(start in any::<[u8; 3]>(), rest in proptest::collection::vec(any::<u8>(), 125)) {
            let mut packet = [&start[..], &rest].concat();
            packet[0] = 0x11;
            packet[1] &= 3;
            if let Ok(hello) = Hello::parse(&packet) {
                let mut out = [0u8; HelloHeader::MAX_LEN];
                let mut writer = Writer::new(&mut out);
                hello.header.write(&mut writer).unwrap();
                prop_assert_eq!(writer.written(), hello.header_bytes);
            }
        }
    }
}
