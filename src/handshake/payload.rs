//! The items inside Noise messages (SPEC.md, "Handshake payload").

use super::HandshakeError;
use crate::codec::{BufferTooSmall, Reader, Writer, varint_len};
use crate::identity::CredentialHash;
use crate::limits::{
    BACKEND_WINDOW, DEVICE_WINDOW, IDLE_TIMEOUT, MAX_CREDENTIAL, MAX_HELLO, MAX_PACKET, MAX_WINDOW,
    MIN_MAX_PACKET,
};
use crate::time::Duration;
use crate::wire::ConnectionId;

const CONNECTION_ID: u64 = 1;
const LIMITS: u64 = 2;
const CREDENTIAL: u64 = 3;
const KNOWN_CREDENTIAL: u64 = 4;
const EARLY_RECORDS: u64 = 5;
const AGE: u64 = 6;
const PADDING: u64 = 63;
const FIRST_EXTENSION: u64 = 64;
/// The greatest idle time-out, in seconds: a week.
const MAX_IDLE_SECS: u32 = 604_800;
/// The smallest replay window.
const MIN_WINDOW: u16 = 64;

/// What an end accepts, as it tells the other during the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Limits {
    max_packet: u16,
    window: u16,
    idle_secs: u32,
}

impl Limits {
    /// Checks and makes limits: the largest packet in bytes (64–65535), the replay window in packets (64–8192), and
    /// the idle time-out (1 s to a week, whole seconds).
    pub fn new(max_packet: u16, window: u16, idle: Duration) -> Option<Self> {
        let idle_secs = u32::try_from(idle.as_secs()).ok()?;
        let fits = usize::from(max_packet) >= MIN_MAX_PACKET
            && (MIN_WINDOW..=MAX_WINDOW).contains(&window)
            && (1..=MAX_IDLE_SECS).contains(&idle_secs);
        fits.then_some(Self { max_packet, window, idle_secs })
    }

    /// The usual limits of a device on an IP link.
    pub const DEVICE: Self =
        Self { max_packet: 1232, window: DEVICE_WINDOW, idle_secs: IDLE_TIMEOUT.as_secs() as u32 };

    /// The limits of a device on a link with fragments, of 20 bytes or more: no packet is longer than 512 bytes, as
    /// long as a handshake's may be, so one [`Reassembler`](crate::wire::link::Reassembler) of 512 bytes takes all.
    pub const SMALL_LINK: Self = Self { max_packet: MAX_HELLO as u16, ..Self::DEVICE };

    /// The usual limits of a backend.
    pub const BACKEND: Self =
        Self { max_packet: 1500, window: BACKEND_WINDOW, idle_secs: IDLE_TIMEOUT.as_secs() as u32 };

    /// Returns the largest packet that the end accepts, in bytes.
    pub const fn max_packet(self) -> u16 {
        self.max_packet
    }

    /// Returns the end's replay window, in packets.
    pub const fn window(self) -> u16 {
        self.window
    }

    /// Returns after how long without an authenticated packet the end drops the session.
    pub const fn idle_timeout(self) -> Duration {
        Duration::from_secs(self.idle_secs as u64)
    }

    fn read(bytes: &[u8]) -> Result<Self, HandshakeError> {
        let mut reader = Reader::new(bytes);
        let (max_packet, window, idle) = (reader.varint_as()?, reader.varint_as()?, reader.varint()?);
        reader.finish()?;
        Self::new(max_packet, window, Duration::from_secs(idle)).ok_or(HandshakeError::Malformed)
    }

    fn write(self, writer: &mut Writer<'_>) -> Result<(), BufferTooSmall> {
        writer.varint(self.max_packet.into())?;
        writer.varint(self.window.into())?;
        writer.varint(self.idle_secs.into())
    }
}

/// Which message a payload belongs to: decides what may and must stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    HelloXx,
    HelloIk,
    ReplyXx,
    ReplyIk,
    Finish,
    HelloResume,
    ReplyResume,
}

/// The credential of a payload, or the statement that the other end has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CredentialItem<'a> {
    Full(&'a [u8]),
    Known(CredentialHash),
}

/// The items of one payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Payload<'a> {
    pub(super) connection_id: Option<ConnectionId>,
    pub(super) limits: Option<Limits>,
    pub(super) credential: Option<&'a [u8]>,
    pub(super) known: Option<CredentialHash>,
    /// Frames, in a resumption's Hello.
    pub(super) early: Option<&'a [u8]>,
    /// Seconds since the full handshake, in a resumption's Reply.
    pub(super) age_secs: Option<u32>,
}

impl Message {
    const fn may_have(self, item: u64) -> bool {
        matches!(
            (self, item),
            (_, PADDING)
                | (Self::HelloXx, LIMITS)
                | (Self::HelloIk, LIMITS | CREDENTIAL | KNOWN_CREDENTIAL)
                | (Self::ReplyXx, CONNECTION_ID | LIMITS | CREDENTIAL)
                | (Self::ReplyIk, CONNECTION_ID | LIMITS | CREDENTIAL | KNOWN_CREDENTIAL)
                | (Self::Finish, CREDENTIAL)
                | (Self::HelloResume, LIMITS | EARLY_RECORDS)
                | (Self::ReplyResume, CONNECTION_ID | LIMITS | AGE)
        )
    }
}

impl<'a> Payload<'a> {
    /// Reads a payload strictly.
    //= SPEC.md#handshake-payload
    //# A reader MUST refuse an item of unknown type below 64, an item that does not belong into its message, and items out of order.
    pub(super) fn read(message: Message, bytes: &'a [u8]) -> Result<Self, HandshakeError> {
        let mut payload = Self::default();
        let mut reader = Reader::new(bytes);
        let mut last = 0;
        while !reader.is_empty() {
            let item = reader.varint()?;
            let content = reader.prefixed(MAX_PACKET)?;
            if item <= last || (item < FIRST_EXTENSION && !message.may_have(item)) {
                return Err(HandshakeError::Malformed);
            }
            last = item;
            match item {
                CONNECTION_ID => {
                    let id = ConnectionId::new(content).ok_or(HandshakeError::Malformed)?;
                    payload.connection_id = Some(id);
                }
                LIMITS => payload.limits = Some(Limits::read(content)?),
                CREDENTIAL => payload.credential = Some(content),
                KNOWN_CREDENTIAL => {
                    let hash = content.try_into().map_err(|_| HandshakeError::Malformed)?;
                    payload.known = Some(CredentialHash(hash));
                }
                EARLY_RECORDS => payload.early = Some(content),
                AGE => {
                    let mut reader = Reader::new(content);
                    payload.age_secs = Some(reader.varint_as()?);
                    reader.finish()?;
                }
                PADDING if content.iter().any(|&byte| byte != 0) => return Err(HandshakeError::Malformed),
                _ => {}
            }
        }
        payload.require(message)?;
        Ok(payload)
    }

    //= SPEC.md#handshake-payload
    //# A reader MUST refuse a message that lacks an item which the table requires in it (KnownCredential may stand for Credential only in an IK Reply, and only if the Hello offered that hash).
    fn require(&self, message: Message) -> Result<(), HandshakeError> {
        let complete = match message {
            Message::HelloXx => self.limits.is_some(),
            Message::HelloIk => self.limits.is_some() && self.credential.is_some(),
            Message::ReplyXx => {
                self.connection_id.is_some() && self.limits.is_some() && self.credential.is_some()
            }
            Message::ReplyIk => {
                self.connection_id.is_some()
                    && self.limits.is_some()
                    && (self.credential.is_some() != self.known.is_some())
            }
            Message::Finish => self.credential.is_some(),
            Message::HelloResume => self.limits.is_some(),
            Message::ReplyResume => {
                self.connection_id.is_some() && self.limits.is_some() && self.age_secs.is_some()
            }
        };
        if complete { Ok(()) } else { Err(HandshakeError::Malformed) }
    }

    /// Returns the credential of a Reply, in whichever form.
    pub(super) fn credential_item(&self) -> Result<CredentialItem<'a>, HandshakeError> {
        match (self.credential, self.known) {
            (Some(bytes), _) => Ok(CredentialItem::Full(bytes)),
            (None, Some(hash)) => Ok(CredentialItem::Known(hash)),
            (None, None) => Err(HandshakeError::Malformed),
        }
    }

    /// Writes the items in order, then padding until the payload has at least `min_len` bytes.
    pub(super) fn write<'o>(&self, min_len: usize, out: &'o mut [u8]) -> Result<&'o [u8], BufferTooSmall> {
        let mut writer = Writer::new(out);
        if let Some(id) = &self.connection_id {
            writer.varint(CONNECTION_ID)?;
            writer.prefixed(id.as_bytes())?;
        }
        if let Some(limits) = self.limits {
            let mut content = [0u8; 16];
            let mut inner = Writer::new(&mut content);
            limits.write(&mut inner)?;
            writer.varint(LIMITS)?;
            writer.prefixed(inner.into_written())?;
        }
        if let Some(credential) = self.credential {
            writer.varint(CREDENTIAL)?;
            writer.prefixed(credential)?;
        }
        if let Some(hash) = self.known {
            writer.varint(KNOWN_CREDENTIAL)?;
            writer.prefixed(&hash.0)?;
        }
        if let Some(early) = self.early {
            writer.varint(EARLY_RECORDS)?;
            writer.prefixed(early)?;
        }
        if let Some(age) = self.age_secs {
            writer.varint(AGE)?;
            writer.varint(varint_len(age.into()) as u64)?;
            writer.varint(age.into())?;
        }
        //= SPEC.md#handshake-payload
        //# A device MUST pad a Hello that would be shorter than 96 bytes.
        if writer.len() < min_len {
            let short = min_len.saturating_sub(writer.len()).saturating_sub(2);
            writer.varint(PADDING)?;
            writer.varint(short.min(127) as u64)?;
            writer.reserve(short.min(127))?;
        }
        Ok(writer.into_written())
    }
}

/// Room for any payload that this version writes: ids, limits, a credential, a hash, padding.
pub(super) const MAX_PAYLOAD: usize = MAX_CREDENTIAL + 160;
