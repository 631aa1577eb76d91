//! Resumption with a ticket: NNpsk0, both sides (SPEC.md, "Resumption").

use super::initiator::noise_overhead;
use super::noise::{Noise, NoiseSetup, NoiseSide};
use super::payload::{Message, Payload};
use super::ticket::{OpenedTicket, TicketContents, TicketId, TicketKeys};
use super::{HandshakeError, HelloKey, Limits, Responder};
use crate::codec::{BufferTooSmall, Writer};
use crate::crypto::{EphemeralSecret, Psk, ServiceKey, SessionSecrets, TAG_LEN, hash_parts};
use crate::entropy::Entropy;
use crate::identity::LocalIdentity;
use crate::limits::{MAX_FAILED_READS, MAX_HELLO, MAX_REPLY, TICKET_LEN};
use crate::time::{Duration, UnixSeconds};
use crate::wire::{self, ConnectionId, Cookie, HelloHeader, Pattern};
use alloc::vec::Vec;

/// The longest header of a resumption's Hello, with its ticket.
const MAX_HEAD: usize = HelloHeader::MAX_LEN + TICKET_LEN;
/// Of a payload, without early records: Limits, and the type and length of the item with these.
const ITEMS_OVERHEAD: usize = 2 + 8 + 3;

/// What a device brings into a resumption.
///
/// The device must have erased the ticket wherever it is stored before the Hello is sent: a ticket is used once
/// (SPEC.md, "Tickets").
#[derive(Clone, Copy)]
pub struct Resumption<'a> {
    /// The device's own identity: it hedges the ephemeral key, and is not sent.
    pub local: &'a LocalIdentity,
    /// The ticket, as the backend sent it.
    pub ticket: &'a [u8; TICKET_LEN],
    /// Its psk, from [`ResumeSecret::ticket_psk`](crate::crypto::ResumeSecret::ticket_psk).
    pub psk: &'a Psk,
    /// The service's key, which came with the ticket.
    pub service: &'a ServiceKey,
    /// The connection id that the device wants to receive on.
    pub connection_id: ConnectionId,
    /// What the device accepts.
    pub limits: Limits,
    /// Frames to be delivered at once, at most [`Resumption::early_room`] bytes.
    ///
    /// # Security
    /// They have no forward secrecy: whoever learns the ticket's psk, or the service's ticket key, can read them.
    pub early: &'a [u8],
}

/// A resumption's Hello was written; its Reply is awaited.
pub struct AwaitingResume {
    noise: Noise,
    hello_key: HelloKey,
    hello_mac: [u8; TAG_LEN],
    connection_id: ConnectionId,
    failed_reads: u8,
}

/// A resumption's Reply could not be read.
pub enum ResumeFailure {
    /// It may have been a forgery: the handshake goes on.
    Pending(AwaitingResume, HandshakeError),
    /// The handshake is over: too many failures, or the backend wrote what no backend writes.
    Dead(HandshakeError),
}

/// What a finished resumption gives to both ends. Who the peer is stands in the ticket, or beside it on a device.
#[derive(Debug)]
pub struct Resumed {
    /// The seed of the session.
    pub secrets: SessionSecrets,
    /// The connection id that the peer wants to receive on.
    pub peer_connection_id: ConnectionId,
    /// What the peer accepts.
    pub peer_limits: Limits,
    /// The time since the full handshake: the session's age at its beginning.
    pub age: Duration,
}

impl Resumption<'_> {
    /// Returns how many bytes of early records fit a Hello, for a connection id of this length.
    pub const fn early_room(connection_id_len: usize) -> usize {
        let others = 3 + TICKET_LEN + 32 + TAG_LEN + ITEMS_OVERHEAD + TAG_LEN;
        MAX_HELLO.saturating_sub(others.saturating_add(connection_id_len))
    }

    /// Writes a Hello to the front of `out` and returns the state that awaits its Reply, and the Hello's length.
    ///
    /// `context` distinguishes the attempt, as in [`Initiator::start`](super::Initiator::start).
    ///
    /// # Errors
    /// [`HandshakeError::BufferTooSmall`] with the exact length ([`MAX_HELLO`] is always enough), or if there are too many
    /// early records; [`HandshakeError::Entropy`]. Nothing was drawn or written then.
    #[inline(never)]
    pub fn start(
        &self,
        context: &[u8],
        rng: &mut dyn Entropy,
        out: &mut [u8],
    ) -> Result<(AwaitingResume, usize), HandshakeError> {
        let (mut head, mut items) = ([0u8; MAX_HEAD], [0u8; MAX_HELLO]);
        let mut writer = Writer::new(&mut head);
        let Self { connection_id, .. } = *self;
        HelloHeader { pattern: Pattern::Resume, connection_id, cookie: None }.write(&mut writer)?;
        writer.bytes(self.ticket)?;
        let head = writer.into_written();
        let early = (!self.early.is_empty()).then_some(self.early);
        let items =
            Payload { limits: Some(self.limits), early, ..Payload::default() }.write(0, &mut items)?;
        let needed = [head.len(), noise_overhead(Pattern::Resume), items.len(), TAG_LEN].iter().sum();
        if needed > MAX_HELLO || out.len() < needed {
            return Err(BufferTooSmall { needed }.into());
        }
        let hedge = self.local.static_dh().hedge_key();
        let context = hash_parts(&[&(context.len() as u64).to_le_bytes(), context, head]);
        let ephemeral = EphemeralSecret::generate_hedged(rng, &hedge, &context)?;
        let setup = setup(head, self.psk);
        let noise = Noise::new(NoiseSide::Initiator, None, &setup, ephemeral)?;
        let (to, body) = out.split_at_mut_checked(head.len()).ok_or(HandshakeError::Malformed)?;
        to.copy_from_slice(head);
        let (noise, len) = noise.write(items, body)?;
        let len = head.len().saturating_add(len);
        let (hello, rest) = out.split_at_mut_checked(len).ok_or(HandshakeError::Malformed)?;
        let hello_key = HelloKey::from_service(self.service);
        let hello_mac = hello_key.hello_mac(hello);
        *rest.first_chunk_mut().ok_or(HandshakeError::Malformed)? = hello_mac;
        let state = AwaitingResume { noise, hello_key, hello_mac, connection_id, failed_reads: 0 };
        Ok((state, len.saturating_add(TAG_LEN)))
    }
}

fn setup<'a>(hello_header: &'a [u8], psk: &'a Psk) -> NoiseSetup<'a> {
    NoiseSetup { pattern: Pattern::Resume, hello_header, remote_static: None, psk: Some(psk) }
}

impl AwaitingResume {
    /// Returns the cookie of a Retry for this Hello: the backend does not take the ticket, and a full handshake is to
    /// begin with that cookie.
    pub fn refused(&self, packet: &[u8]) -> Option<Cookie> {
        let retry = wire::Retry::parse(packet, self.connection_id.len()).ok()?;
        let authentic = retry.header.connection_id == self.connection_id
            && self.hello_key.verify_retry(retry.covered, &self.hello_mac, retry.mac);
        authentic.then_some(retry.header.cookie)
    }

    /// Reads a Reply.
    ///
    /// # Errors
    /// [`ResumeFailure::Pending`] gives the state back after what may be a forgery, at most [`MAX_FAILED_READS`] times;
    /// [`ResumeFailure::Dead`] ends the handshake.
    #[allow(clippy::result_large_err, reason = "the state comes back by value: that is the typestate")]
    #[inline(never)]
    pub fn read_reply(mut self, packet: &[u8]) -> Result<Resumed, ResumeFailure> {
        let noise = match wire::Reply::parse(packet, self.connection_id.len()) {
            Ok(reply) if reply.connection_id == self.connection_id => reply.noise,
            _ => return Err(ResumeFailure::Pending(self, HandshakeError::Malformed)),
        };
        let mut items = [0u8; MAX_REPLY];
        //= SPEC.md#handshake-errors
        //# A failed read of a Reply or Finish MUST leave the handshake pending, at most 16 times.
        let items = match self.noise.read(noise, &mut items) {
            Ok(items) => items,
            Err(error) => {
                self.failed_reads = self.failed_reads.saturating_add(1);
                if self.failed_reads > MAX_FAILED_READS {
                    return Err(ResumeFailure::Dead(error));
                }
                return Err(ResumeFailure::Pending(self, error));
            }
        };
        // Only who knows the psk can have written it.
        self.accept_reply(items).map_err(ResumeFailure::Dead)
    }

    #[inline(never)]
    fn accept_reply(self, items: &[u8]) -> Result<Resumed, HandshakeError> {
        let payload = Payload::read(Message::ReplyResume, items)?;
        Ok(Resumed {
            peer_connection_id: payload.connection_id.ok_or(HandshakeError::Malformed)?,
            peer_limits: payload.limits.ok_or(HandshakeError::Malformed)?,
            age: Duration::from_secs(payload.age_secs.ok_or(HandshakeError::Malformed)?.into()),
            secrets: self.noise.into_secrets()?,
        })
    }
}

/// A resumption's Hello whose MAC verified: worth opening its ticket.
#[derive(Clone, Copy, Debug)]
pub struct ResumeHello<'p> {
    header: HelloHeader,
    header_bytes: &'p [u8],
    ticket: &'p [u8; TICKET_LEN],
    noise: &'p [u8],
    mac: [u8; TAG_LEN],
    packet: &'p [u8],
}

/// A resumption's Hello was read; the ticket must be claimed, and then the Reply comes.
pub struct ResumeRead {
    noise: Noise,
    header: HelloHeader,
    contents: TicketContents,
    peer_limits: Limits,
    early: Vec<u8>,
}

impl ResumeHello<'_> {
    /// Returns the connection id that the device wants to receive on.
    pub const fn connection_id(&self) -> ConnectionId {
        self.header.connection_id
    }

    /// Returns the Hello's MAC: what tells a repeated Hello from another.
    pub const fn mac(&self) -> [u8; TAG_LEN] {
        self.mac
    }

    /// Returns the ticket's id, to claim it.
    pub const fn id(&self) -> TicketId {
        TicketId::of(self.ticket)
    }

    /// Computes BLAKE2s-256 of the whole Hello, with which the ticket is claimed.
    pub fn hash(&self) -> [u8; 32] {
        hash_parts(&[self.packet])
    }

    /// Opens the ticket.
    ///
    /// # Errors
    /// As [`TicketKeys::open`].
    pub fn open(&self, keys: &TicketKeys, clock: UnixSeconds) -> Result<OpenedTicket, HandshakeError> {
        keys.open(self.ticket, clock)
    }
}

impl TicketKeys {
    /// Parses a resumption's Hello and checks its MAC.
    ///
    /// # Errors
    /// [`HandshakeError::Malformed`] for a bad header or length, or another pattern; [`HandshakeError::HelloMac`] for strangers.
    pub fn check_hello<'p>(&self, packet: &'p [u8]) -> Result<ResumeHello<'p>, HandshakeError> {
        let hello = wire::Hello::parse(packet).map_err(|_| HandshakeError::Malformed)?;
        let ticket = hello.ticket.ok_or(HandshakeError::Malformed)?;
        //= SPEC.md#hello
        //# A backend MUST NOT answer a Hello whose MAC does not verify.
        if !self.hello_key().verify_hello(hello.covered, hello.mac) {
            return Err(HandshakeError::HelloMac);
        }
        Ok(ResumeHello::of(&hello, ticket, packet))
    }
}

impl<'p> ResumeHello<'p> {
    const fn of(hello: &wire::Hello<'p>, ticket: &'p [u8; TICKET_LEN], packet: &'p [u8]) -> Self {
        Self {
            header: hello.header,
            header_bytes: hello.header_bytes,
            ticket,
            noise: hello.noise,
            mac: *hello.mac,
            packet,
        }
    }

    /// Parses a Hello whose MAC [`TicketKeys::check_hello`] has verified, once more: it was kept for a job.
    #[cfg(feature = "backend")]
    pub(crate) fn checked(packet: &'p [u8]) -> Result<Self, HandshakeError> {
        let hello = wire::Hello::parse(packet).map_err(|_| HandshakeError::Malformed)?;
        let ticket = hello.ticket.ok_or(HandshakeError::Malformed)?;
        Ok(Self::of(&hello, ticket, packet))
    }
}

impl Responder {
    /// Reads a resumption's Hello; costs no Diffie-Hellman operation.
    ///
    /// Nothing may be answered or delivered before the ticket is claimed.
    ///
    /// # Errors
    /// [`HandshakeError`]; the handshake is over and nothing is kept.
    pub fn read_resume(
        &self,
        hello: &ResumeHello<'_>,
        ticket: &OpenedTicket,
        rng: &mut dyn Entropy,
    ) -> Result<ResumeRead, HandshakeError> {
        let ephemeral = EphemeralSecret::generate_hedged(rng, &self.hedge, &hello.mac)?;
        let setup = setup(hello.header_bytes, &ticket.psk);
        let mut noise = Noise::new(NoiseSide::Responder, None, &setup, ephemeral)?;
        let mut items = [0u8; MAX_HELLO];
        let items = noise.read(hello.noise, &mut items)?;
        let payload = Payload::read(Message::HelloResume, items)?;
        Ok(ResumeRead {
            noise,
            header: hello.header,
            contents: ticket.contents,
            peer_limits: payload.limits.ok_or(HandshakeError::Malformed)?,
            early: payload.early.unwrap_or_default().to_vec(),
        })
    }
}

impl ResumeRead {
    /// Returns what the ticket says of the device.
    pub const fn contents(&self) -> &TicketContents {
        &self.contents
    }

    /// Returns the connection id that the device wants to receive on.
    pub const fn connection_id(&self) -> ConnectionId {
        self.header.connection_id
    }

    /// Takes the early records out: frames, to be delivered only if the ticket was never claimed before.
    pub fn take_early(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.early)
    }

    /// Writes the Reply to the front of `out` and returns what was established, and the Reply's length.
    ///
    /// `age` is the time since the ticket's origin.
    ///
    /// # Errors
    /// [`HandshakeError::BufferTooSmall`] ([`MAX_REPLY`] is always enough); [`HandshakeError::Noise`] for a low-order point.
    /// The handshake is over.
    pub fn write_reply(
        self,
        responder: &Responder,
        connection_id: ConnectionId,
        age: Duration,
        out: &mut [u8],
    ) -> Result<(Resumed, usize), HandshakeError> {
        let mut items = [0u8; 64];
        let payload = Payload {
            connection_id: Some(connection_id),
            limits: Some(responder.limits),
            age_secs: Some(u32::try_from(age.as_secs()).unwrap_or(u32::MAX)),
            ..Payload::default()
        };
        let items = payload.write(0, &mut items)?;
        let mut writer = Writer::new(out);
        wire::Reply { connection_id: self.header.connection_id, noise: &[] }.write(&mut writer)?;
        let head = writer.len();
        let needed = [head, noise_overhead(Pattern::Resume), items.len()].iter().sum();
        let body = out.get_mut(head..needed).ok_or(BufferTooSmall { needed })?;
        let (noise, len) = self.noise.write(items, body)?;
        let resumed = Resumed {
            secrets: noise.into_secrets()?,
            peer_connection_id: self.header.connection_id,
            peer_limits: self.peer_limits,
            age,
        };
        Ok((resumed, head.saturating_add(len)))
    }
}
