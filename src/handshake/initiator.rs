//! The device's side.

use super::noise::{Noise, NoiseSetup, NoiseSide};
use super::payload::{CredentialItem, MAX_PAYLOAD, Message, Payload};
use super::{Established, HandshakeError, HelloKey, Limits, is_ik};
use crate::codec::{BufferTooSmall, Writer};
use crate::crypto::{EphemeralSecret, Psk, PublicKey, TAG_LEN};
use crate::entropy::Entropy;
use crate::identity::{Credential, Identity, LocalIdentity, Role, Time, TrustAnchors};
use crate::limits::{MAX_FAILED_READS, MAX_HELLO, MAX_REPLY, MIN_HELLO};
use crate::wire::{self, ConnectionId, Cookie, HelloHeader, Pattern, PskId};

/// What a device brings into a handshake.
#[derive(Clone, Copy)]
pub struct Initiator<'a> {
    /// The device's own identity.
    pub local: &'a LocalIdentity,
    /// Whom the device trusts.
    pub anchors: &'a TrustAnchors,
    /// The backend that must answer, if one is expected: part of the floor.
    pub expected: Option<Identity>,
    /// The backend's static key: chooses IK (or IKpsk2) over XX (or XXpsk3).
    pub backend_key: Option<&'a PublicKey>,
    /// The backend's credential, if the device has it: saves its bytes in an IK Reply.
    pub backend_credential: Option<&'a Credential>,
    /// The pre-shared key and its id: chooses the psk form of the pattern. The id is sent in XXpsk3 alone.
    pub psk: Option<(PskId, &'a Psk)>,
    /// The connection id that the device wants to receive on.
    pub connection_id: ConnectionId,
    /// What the device accepts.
    pub limits: Limits,
    /// The cookie of a Retry.
    pub cookie: Option<Cookie>,
    /// Which of the anchors keys the Hello MAC of XX; an index, taken modulo their number.
    pub anchor_index: usize,
}

/// A Hello was written; its Reply is awaited.
pub struct AwaitingReply {
    noise: Noise,
    hello_key: HelloKey,
    hello_mac: [u8; TAG_LEN],
    connection_id: ConnectionId,
    failed_reads: u8,
    has_cookie: bool,
    /// Kept in XX and XXpsk3, where everybody can write a Reply that Noise accepts: see `restart`.
    ephemeral: Option<EphemeralSecret>,
}

/// A Reply was read.
pub enum ReplyOutcome {
    /// IK and IKpsk2: the handshake is done.
    Established(Established),
    /// XX and XXpsk3: a Finish must be written.
    Finish(ReplyRead),
}

/// An XX Reply was read; the Finish comes next.
pub struct ReplyRead {
    noise: Noise,
    peer: crate::identity::VerifiedCredential,
    peer_connection_id: ConnectionId,
    peer_limits: Limits,
}

/// A Reply could not be read.
pub enum ReplyFailure {
    /// It may have been a forgery: the handshake goes on.
    Pending(AwaitingReply, HandshakeError),
    /// The handshake is over: too many failures, or a genuine Reply that must be refused.
    Dead(HandshakeError),
}

impl Initiator<'_> {
    /// Returns the pattern that these settings lead to.
    pub const fn pattern(&self) -> Pattern {
        match (self.backend_key, self.psk) {
            (Some(_), Some(_)) => Pattern::IkPsk2,
            (Some(_), None) => Pattern::Ik,
            (None, Some((id, _))) => Pattern::XxPsk3(id),
            (None, None) => Pattern::Xx,
        }
    }

    /// Writes a Hello to the front of `out` and returns the state that awaits its Reply, and the Hello's length.
    ///
    /// `context` distinguishes the attempt (boot tag, attempt number): it hedges the ephemeral key.
    ///
    /// # Errors
    /// [`HandshakeError::BufferTooSmall`] if `out` is shorter than [`MAX_HELLO`]; [`HandshakeError::Entropy`];
    /// [`HandshakeError::Noise`] if the static key store fails.
    pub fn start(
        &self,
        context: &[u8],
        rng: &mut dyn Entropy,
        out: &mut [u8],
    ) -> Result<(AwaitingReply, usize), HandshakeError> {
        let hedge = self.local.static_dh().hedge_key();
        self.start_with(EphemeralSecret::generate_hedged(rng, &hedge, context)?, out)
    }

    fn start_with(
        &self,
        ephemeral: EphemeralSecret,
        out: &mut [u8],
    ) -> Result<(AwaitingReply, usize), HandshakeError> {
        if out.len() < MAX_HELLO {
            return Err(BufferTooSmall { needed: MAX_HELLO }.into());
        }
        let pattern = self.pattern();
        let hello_key = match self.backend_key {
            Some(key) => HelloKey::from_backend(key),
            None => {
                let anchors = self.anchors.keys().count().max(1);
                let index = self.anchor_index.checked_rem(anchors).unwrap_or(0);
                let anchor = self.anchors.keys().nth(index).ok_or(HandshakeError::BelowFloor)?;
                HelloKey::from_authority(anchor)
            }
        };
        let header = HelloHeader { pattern, connection_id: self.connection_id, cookie: self.cookie };
        let mut writer = Writer::new(out);
        header.write(&mut writer)?;
        let header_len = writer.len();
        let (head, body) = out.split_at_mut_checked(header_len).ok_or(HandshakeError::Malformed)?;
        let setup = NoiseSetup {
            pattern,
            hello_header: head,
            remote_static: self.backend_key,
            psk: self.psk.as_ref().map(|(_, psk)| *psk),
        };
        let ik = is_ik(pattern);
        let copy = (!ik).then(|| ephemeral.duplicate());
        let noise = Noise::new(NoiseSide::Initiator, self.local, &setup, ephemeral)?;
        let own = self.local.credential();
        let payload = Payload {
            connection_id: None,
            limits: Some(self.limits),
            credential: ik.then(|| own.as_bytes()),
            known: self.backend_credential.filter(|_| ik).map(Credential::hash),
        };
        // The payload is as long as the whole Hello lacks: its header, an ephemeral key and the MAC are there.
        // So is Noise's own tag in XXpsk3, whose first payload is encrypted already; IK is never short.
        let tag = if pattern.psk_id().is_some() { TAG_LEN } else { 0 };
        let min = MIN_HELLO.saturating_sub(header_len).saturating_sub(32 + TAG_LEN + tag);
        let mut items = [0u8; MAX_PAYLOAD];
        let items = payload.write(min, &mut items)?;
        let (noise, len) = noise.write(items, body)?;
        let len = header_len.saturating_add(len);
        let total = len.saturating_add(TAG_LEN);
        let (hello, rest) = out.split_at_mut_checked(len).ok_or(HandshakeError::Malformed)?;
        let hello_mac = hello_key.hello_mac(hello);
        *rest.first_chunk_mut().ok_or(BufferTooSmall { needed: total })? = hello_mac;
        let state = AwaitingReply {
            noise,
            hello_key,
            hello_mac,
            connection_id: self.connection_id,
            failed_reads: 0,
            has_cookie: self.cookie.is_some(),
            ephemeral: copy,
        };
        Ok((state, total))
    }

    /// Verifies the backend's credential against the anchors, the role and the floor.
    fn verify_peer(
        &self,
        item: CredentialItem<'_>,
        key: &PublicKey,
        time: Time,
    ) -> Result<crate::identity::VerifiedCredential, HandshakeError> {
        let bytes = match item {
            CredentialItem::Full(bytes) => bytes,
            CredentialItem::Known(hash) => self
                .backend_credential
                .filter(|known| known.hash() == hash)
                .map(Credential::as_bytes)
                .ok_or(HandshakeError::Malformed)?,
        };
        let peer = self.anchors.verify(bytes, key, Role::Backend, time)?;
        //= SPEC.md#no-downgrade
        //# A device MUST refuse a backend that is not the expected one.
        if self.expected.is_some_and(|expected| expected != peer.identity()) {
            return Err(HandshakeError::BelowFloor);
        }
        Ok(peer)
    }
}

impl AwaitingReply {
    /// Returns the pattern that is run.
    pub const fn pattern(&self) -> Pattern {
        self.noise.pattern()
    }

    /// Returns the cookie of a Retry for this Hello, if the attempt may follow it.
    //= SPEC.md#retry
    //# A device MUST ignore a Retry whose MAC does not verify for its own latest Hello.
    pub fn follow_retry(&self, packet: &[u8]) -> Option<Cookie> {
        let retry = wire::Retry::parse(packet, self.connection_id.len()).ok()?;
        let authentic = retry.header.connection_id == self.connection_id
            && self.hello_key.verify_retry(retry.covered, &self.hello_mac, retry.mac);
        //= SPEC.md#retry
        //# A device MUST follow at most one Retry per attempt, and none after a valid Reply.
        (authentic && !self.has_cookie).then_some(retry.header.cookie)
    }

    /// Reads a Reply. `config` is what the Hello was made with.
    ///
    /// # Errors
    /// [`ReplyFailure::Pending`] gives the state back after what may be a forgery, at most
    /// [`MAX_FAILED_READS`] times; [`ReplyFailure::Dead`] ends the handshake.
    #[allow(clippy::result_large_err, reason = "the state comes back by value: that is the typestate")]
    pub fn read_reply(
        mut self,
        config: &Initiator<'_>,
        time: Time,
        packet: &[u8],
    ) -> Result<ReplyOutcome, ReplyFailure> {
        let noise = match wire::Reply::parse(packet, self.connection_id.len()) {
            Ok(reply) if reply.connection_id == self.connection_id => reply.noise,
            _ => return Err(ReplyFailure::Pending(self, HandshakeError::Malformed)),
        };
        let mut items = [0u8; MAX_REPLY];
        let items = match self.noise.read(noise, &mut items) {
            Ok(items) => items,
            Err(error) => return Err(self.failed(error)),
        };
        match Self::check_reply(&self.noise, config, time, items) {
            Ok(reply) => self.accept_reply(reply).map_err(ReplyFailure::Dead),
            Err(error) => Err(self.restart(config, error)),
        }
    }

    /// Counts a failure that a forger may have caused.
    //= SPEC.md#handshake-errors
    //# A failed read of a Reply or Finish MUST leave the handshake pending, at most 16 times.
    fn failed(mut self, error: HandshakeError) -> ReplyFailure {
        self.failed_reads = self.failed_reads.saturating_add(1);
        if self.failed_reads > MAX_FAILED_READS {
            return ReplyFailure::Dead(error);
        }
        ReplyFailure::Pending(self, error)
    }

    /// Goes back to the state after the Hello: Noise accepted the Reply and the credential did not pass.
    ///
    /// In XX and XXpsk3 everybody who sees a Hello can write such a Reply. So the Noise state, which has moved on,
    /// is made again from the same ephemeral key; the Hello stays the same, byte for byte. In IK and IKpsk2 only
    /// the backend can have written it, and the handshake is over.
    fn restart(self, config: &Initiator<'_>, error: HandshakeError) -> ReplyFailure {
        let Some(ephemeral) = self.ephemeral else { return ReplyFailure::Dead(error) };
        let mut hello = [0u8; MAX_HELLO];
        match config.start_with(ephemeral, &mut hello) {
            Ok((fresh, _)) if fresh.hello_mac == self.hello_mac => {
                Self { failed_reads: self.failed_reads, ..fresh }.failed(error)
            }
            _ => ReplyFailure::Dead(error),
        }
    }

    fn check_reply(
        noise: &Noise,
        config: &Initiator<'_>,
        time: Time,
        items: &[u8],
    ) -> Result<CheckedReply, HandshakeError> {
        let message = if is_ik(noise.pattern()) { Message::ReplyIk } else { Message::ReplyXx };
        let payload = Payload::read(message, items)?;
        let peer = config.verify_peer(payload.credential_item()?, &noise.remote_static()?, time)?;
        let peer_connection_id = payload.connection_id.ok_or(HandshakeError::Malformed)?;
        let peer_limits = payload.limits.ok_or(HandshakeError::Malformed)?;
        Ok(CheckedReply { peer, peer_connection_id, peer_limits })
    }

    fn accept_reply(self, reply: CheckedReply) -> Result<ReplyOutcome, HandshakeError> {
        let CheckedReply { peer, peer_connection_id, peer_limits } = reply;
        let pattern = self.noise.pattern();
        if is_ik(pattern) {
            let secrets = self.noise.into_secrets()?;
            let done = Established { secrets, peer, peer_connection_id, peer_limits, pattern };
            return Ok(ReplyOutcome::Established(done));
        }
        Ok(ReplyOutcome::Finish(ReplyRead { noise: self.noise, peer, peer_connection_id, peer_limits }))
    }
}

/// What a Reply says, once its credential has passed.
struct CheckedReply {
    peer: crate::identity::VerifiedCredential,
    peer_connection_id: ConnectionId,
    peer_limits: Limits,
}

impl ReplyRead {
    /// Writes the Finish to the front of `out` and returns what was established, and the Finish's length.
    ///
    /// # Errors
    /// [`HandshakeError::BufferTooSmall`] if `out` is shorter than [`MAX_HELLO`] (the handshake is lost then, as
    /// after any failed write); [`HandshakeError::Noise`] if the static key store fails.
    pub fn write_finish(
        self,
        local: &LocalIdentity,
        out: &mut [u8],
    ) -> Result<(Established, usize), HandshakeError> {
        if out.len() < MAX_HELLO {
            return Err(BufferTooSmall { needed: MAX_HELLO }.into());
        }
        let payload = Payload { credential: Some(local.credential().as_bytes()), ..Payload::default() };
        let mut items = [0u8; MAX_PAYLOAD];
        let items = payload.write(0, &mut items)?;
        let mut writer = Writer::new(out);
        wire::Finish { connection_id: self.peer_connection_id, noise: &[] }.write(&mut writer)?;
        let head = writer.len();
        let body = out.get_mut(head..).ok_or(HandshakeError::Malformed)?;
        let pattern = self.noise.pattern();
        let (noise, len) = self.noise.write(items, body)?;
        let established = Established {
            secrets: noise.into_secrets()?,
            peer: self.peer,
            peer_connection_id: self.peer_connection_id,
            peer_limits: self.peer_limits,
            pattern,
        };
        Ok((established, head.saturating_add(len)))
    }
}
