//! The device's side.

use super::noise::{Noise, NoiseSetup, NoiseSide};
use super::payload::{CredentialItem, MAX_PAYLOAD, Message, Payload};
use super::{Established, HandshakeError, HelloKey, Limits, is_ik};
use crate::codec::{BufferTooSmall, Writer, varint_len};
use crate::crypto::{EphemeralSecret, Psk, PublicKey, TAG_LEN, hash_parts};
use crate::entropy::Entropy;
use crate::identity::{Credential, CredentialHash, Identity, LocalIdentity, Role, Time, TrustAnchors};
use crate::limits::{MAX_FAILED_READS, MAX_HELLO, MAX_REPLY, MIN_HELLO};
use crate::wire::{self, ConnectionId, Cookie, HelloHeader, Pattern, PskId};

/// What a device brings into a handshake.
#[derive(Clone, Copy)]
pub struct Initiator<'a> {
    /// The device's own identity.
    pub local: &'a LocalIdentity,
    /// Whom the device trusts; if nobody, then the holder of `backend_key`, as `backend_credential` names it.
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
    offered: Option<CredentialHash>,
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

impl<'a> Initiator<'a> {
    /// Makes the settings of a first contact, XX: no backend is known or expected, no psk, no connection id, the usual
    /// limits of a device.
    ///
    /// ```
    /// use vitalwire::crypto::PublicKey;
    /// use vitalwire::handshake::Initiator;
    /// use vitalwire::identity::{LocalIdentity, TrustAnchors};
    /// fn of_a_known_backend<'a>(
    ///     local: &'a LocalIdentity,
    ///     anchors: &'a TrustAnchors,
    ///     key: &'a PublicKey,
    /// ) -> Initiator<'a> {
    ///     Initiator { backend_key: Some(key), ..Initiator::new(local, anchors) } // IK
    /// }
    /// ```
    pub const fn new(local: &'a LocalIdentity, anchors: &'a TrustAnchors) -> Self {
        Self {
            local,
            anchors,
            expected: None,
            backend_key: None,
            backend_credential: None,
            psk: None,
            connection_id: ConnectionId::EMPTY,
            limits: Limits::DEVICE,
            cookie: None,
            anchor_index: 0,
        }
    }
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
    /// `context` distinguishes the attempt (boot tag, attempt number): together with the Hello's header it hedges the
    /// ephemeral key. [`MAX_HELLO`](crate::limits::MAX_HELLO) bytes are always enough.
    ///
    /// # Errors
    /// [`HandshakeError::BufferTooSmall`] with the exact length, before anything is drawn or written;
    /// [`HandshakeError::BelowFloor`] without anchors and `backend_key`;
    /// [`HandshakeError::Entropy`]; [`HandshakeError::KeyStore`]; [`HandshakeError::Noise`] if the pinned backend key is
    /// a low-order point.
    #[inline(never)]
    pub fn start(
        &self,
        context: &[u8],
        rng: &mut dyn Entropy,
        out: &mut [u8],
    ) -> Result<(AwaitingReply, usize), HandshakeError> {
        //= SPEC.md#pinned-trust
        //# A device without authorities MUST NOT start XX or XXpsk3.
        if self.anchors.is_empty() && !is_ik(self.pattern()) {
            return Err(HandshakeError::BelowFloor);
        }
        let (mut head, mut items) = ([0u8; HelloHeader::MAX_LEN], [0u8; MAX_PAYLOAD]);
        let head = self.hello_header(&mut head)?;
        let items = self.hello_items(head.len(), &mut items)?;
        let needed = [head.len(), noise_overhead(self.pattern()), items.len(), TAG_LEN].iter().sum();
        if out.len() < needed {
            return Err(BufferTooSmall { needed }.into());
        }
        let hedge = self.local.static_dh().hedge_key();
        let context = hash_parts(&[&(context.len() as u64).to_le_bytes(), context, head]);
        let ephemeral = EphemeralSecret::generate_hedged(rng, &hedge, &context)?;
        self.start_with(ephemeral, head, items, out)
    }

    fn hello_header<'o>(&self, out: &'o mut [u8; HelloHeader::MAX_LEN]) -> Result<&'o [u8], BufferTooSmall> {
        let mut writer = Writer::new(out);
        let Self { connection_id, cookie, .. } = *self;
        HelloHeader { pattern: self.pattern(), connection_id, cookie }.write(&mut writer)?;
        Ok(writer.into_written())
    }

    /// Writes the payload of a Hello, padded so that the Hello is long enough.
    fn hello_items<'o>(
        &self,
        header_len: usize,
        out: &'o mut [u8; MAX_PAYLOAD],
    ) -> Result<&'o [u8], BufferTooSmall> {
        let pattern = self.pattern();
        let ik = is_ik(pattern);
        let payload = Payload {
            connection_id: None,
            limits: Some(self.limits),
            credential: ik.then(|| self.local.credential().as_bytes()),
            known: self.offered(),
            ..Payload::default()
        };
        let others = [header_len, noise_overhead(pattern), TAG_LEN].iter().sum();
        payload.write(MIN_HELLO.saturating_sub(others), out)
    }

    /// The backend's credential that an IK Hello offers.
    fn offered(&self) -> Option<CredentialHash> {
        self.backend_credential.filter(|_| is_ik(self.pattern())).map(Credential::hash)
    }

    fn hello_key(&self) -> Result<HelloKey, HandshakeError> {
        if let Some(key) = self.backend_key {
            return Ok(HelloKey::from_backend(key));
        }
        let anchors = self.anchors.keys().count().max(1);
        let index = self.anchor_index.checked_rem(anchors).unwrap_or(0);
        let anchor = self.anchors.keys().nth(index).ok_or(HandshakeError::BelowFloor)?;
        Ok(HelloKey::from_authority(anchor))
    }

    /// Writes a Hello of these parts; `out` is long enough.
    fn start_with(
        &self,
        ephemeral: EphemeralSecret,
        head: &[u8],
        items: &[u8],
        out: &mut [u8],
    ) -> Result<(AwaitingReply, usize), HandshakeError> {
        let pattern = self.pattern();
        let hello_key = self.hello_key()?;
        let setup = NoiseSetup {
            pattern,
            hello_header: head,
            remote_static: self.backend_key,
            psk: self.psk.as_ref().map(|(_, psk)| *psk),
        };
        let copy = (!is_ik(pattern)).then(|| ephemeral.duplicate());
        let noise = Noise::new(NoiseSide::Initiator, Some(self.local), &setup, ephemeral)?;
        let (to, body) = out.split_at_mut_checked(head.len()).ok_or(HandshakeError::Malformed)?;
        to.copy_from_slice(head);
        let (noise, len) = noise.write(items, body)?;
        let len = head.len().saturating_add(len);
        let (hello, rest) = out.split_at_mut_checked(len).ok_or(HandshakeError::Malformed)?;
        let hello_mac = hello_key.hello_mac(hello);
        *rest.first_chunk_mut().ok_or(HandshakeError::Malformed)? = hello_mac;
        let state = AwaitingReply {
            noise,
            hello_key,
            hello_mac,
            connection_id: self.connection_id,
            failed_reads: 0,
            has_cookie: self.cookie.is_some(),
            offered: self.offered(),
            ephemeral: copy,
        };
        Ok((state, len.saturating_add(TAG_LEN)))
    }

    /// Makes the state after a Hello again, from the same ephemeral key.
    #[inline(never)]
    fn start_again(&self, ephemeral: EphemeralSecret) -> Result<AwaitingReply, HandshakeError> {
        let (mut head, mut items) = ([0u8; HelloHeader::MAX_LEN], [0u8; MAX_PAYLOAD]);
        let head = self.hello_header(&mut head)?;
        let items = self.hello_items(head.len(), &mut items)?;
        let mut hello = [0u8; MAX_HELLO];
        self.start_with(ephemeral, head, items, &mut hello).map(|(state, _)| state)
    }

    /// Verifies a credential against the anchors; where there are none, against the pin.
    #[inline(never)]
    fn trust(
        &self,
        bytes: &[u8],
        key: &PublicKey,
        time: Time,
    ) -> Result<crate::identity::VerifiedCredential, HandshakeError> {
        if !self.anchors.is_empty() {
            return Ok(self.anchors.verify(bytes, key, Role::Backend, time)?);
        }
        let pinned = self.backend_credential.filter(|_| self.backend_key == Some(key));
        Ok(pinned.ok_or(HandshakeError::BelowFloor)?.vouch(bytes, key, Role::Backend, time)?)
    }

    /// Verifies the backend's credential against the anchors, the role and the floor.
    #[inline(never)]
    fn verify_peer(
        &self,
        offered: Option<CredentialHash>,
        item: CredentialItem<'_>,
        key: &PublicKey,
        time: Time,
    ) -> Result<crate::identity::VerifiedCredential, HandshakeError> {
        let bytes = match item {
            CredentialItem::Full(bytes) => bytes,
            CredentialItem::Known(hash) => self
                .backend_credential
                .filter(|known| offered == Some(hash) && known.hash() == hash)
                .map(Credential::as_bytes)
                .ok_or(HandshakeError::Malformed)?,
        };
        let peer = self.trust(bytes, key, time)?;
        //= SPEC.md#no-downgrade
        //# A device MUST refuse a backend that is not the expected one.
        if self.expected.is_some_and(|expected| expected != peer.identity()) {
            return Err(HandshakeError::BelowFloor);
        }
        Ok(peer)
    }
}

/// What Noise adds to the payload of its first message: an ephemeral key, in IK a static key with its tag, and a tag
/// wherever the payload is encrypted (in XXpsk3 under a key that everybody can compute).
pub(super) const fn noise_overhead(pattern: Pattern) -> usize {
    match pattern {
        Pattern::Xx => 32,
        Pattern::XxPsk3(_) | Pattern::Resume => 32 + TAG_LEN,
        Pattern::Ik | Pattern::IkPsk2 => 32 + 32 + TAG_LEN + TAG_LEN,
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
    #[inline(never)]
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
        //= SPEC.md#handshake-errors
        //# Nothing from a Noise message MUST be used before the whole message has been read successfully.
        let items = match self.noise.read(noise, &mut items) {
            Ok(items) => items,
            Err(error) => return Err(self.failed(error)),
        };
        match self.check_reply(config, time, items) {
            Ok(reply) => self.accept_reply(reply).map_err(ReplyFailure::Dead),
            Err(error) => Err(self.restart(config, error)),
        }
    }

    /// Counts a failure that a forger may have caused.
    //= SPEC.md#handshake-errors
    //# A failed read of a Reply or Finish MUST leave the handshake pending, at most 16 times.
    #[inline(never)]
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
    ///
    /// The ephemeral key has met several peers' keys then. That is as if the Hello had reached several backends: nothing
    /// was ever encrypted under what came of the refused ones, their states are gone, and each Noise key follows from
    /// the peer's ephemeral key too.
    //= SPEC.md#handshake-errors
    //# A device MUST treat an XX or XXpsk3 Reply whose payload or credential does not pass like one that failed to read.
    #[inline(never)]
    fn restart(self, config: &Initiator<'_>, error: HandshakeError) -> ReplyFailure {
        let Self { ephemeral: Some(ephemeral), noise, hello_mac, failed_reads, .. } = self else {
            return ReplyFailure::Dead(error);
        };
        // Before the new state: the heap need not have room for both.
        drop(noise);
        match config.start_again(ephemeral) {
            Ok(fresh) if fresh.hello_mac == hello_mac => Self { failed_reads, ..fresh }.failed(error),
            _ => ReplyFailure::Dead(error),
        }
    }

    #[inline(never)]
    fn check_reply(
        &self,
        config: &Initiator<'_>,
        time: Time,
        items: &[u8],
    ) -> Result<CheckedReply, HandshakeError> {
        let message = if is_ik(self.pattern()) { Message::ReplyIk } else { Message::ReplyXx };
        let payload = Payload::read(message, items)?;
        let key = self.noise.remote_static()?;
        let peer = config.verify_peer(self.offered, payload.credential_item()?, &key, time)?;
        let peer_connection_id = payload.connection_id.ok_or(HandshakeError::Malformed)?;
        let peer_limits = payload.limits.ok_or(HandshakeError::Malformed)?;
        Ok(CheckedReply { peer, peer_connection_id, peer_limits })
    }

    #[inline(never)]
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
    /// Returns the exact length of the Finish, in bytes.
    pub fn finish_len(&self, local: &LocalIdentity) -> usize {
        let credential = local.credential().as_bytes().len();
        let item = varint_len(credential as u64).saturating_add(1);
        [1, self.peer_connection_id.len(), 32 + TAG_LEN, item, credential, TAG_LEN].iter().sum()
    }

    /// Writes the Finish to the front of `out` and returns what was established, and the Finish's length.
    ///
    /// # Errors
    /// [`HandshakeError::BufferTooSmall`] if `out` is shorter than [`ReplyRead::finish_len`] said, and
    /// [`HandshakeError::KeyStore`]. The handshake is lost then, as after any failed write.
    #[inline(never)]
    pub fn write_finish(
        self,
        local: &LocalIdentity,
        out: &mut [u8],
    ) -> Result<(Established, usize), HandshakeError> {
        let needed = self.finish_len(local);
        if out.len() < needed {
            return Err(BufferTooSmall { needed }.into());
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
