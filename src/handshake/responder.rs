//! The backend's side.

use super::noise::{Noise, NoiseSetup, NoiseSide};
use super::payload::{MAX_PAYLOAD, Message, Payload};
use super::{Established, HandshakeError, HelloKey, Limits, is_ik};
use crate::codec::{BufferTooSmall, Writer};
use crate::crypto::{EphemeralSecret, HedgeKey, Psk, PublicKey, TAG_LEN};
use crate::entropy::Entropy;
#[cfg(all(feature = "std", feature = "backend"))]
use crate::identity::RememberedSignatures;
use crate::identity::{
    CredentialError, CredentialHash, Identity, LocalIdentity, Role, Time, TrustAnchors, VerifiedCredential,
};
#[cfg(all(feature = "std", feature = "backend"))]
use crate::limits::MAX_REMEMBERED_CREDENTIALS;
use crate::limits::{MAX_FAILED_READS, MAX_HELLO, MAX_REPLY, MIN_HELLO};
use crate::wire::{self, ConnectionId, HelloHeader, Pattern, PskId};
use alloc::sync::Arc;
use core::ops::RangeInclusive;

/// How long a Hello may be, in bytes.
//= SPEC.md#hello
//# A Hello MUST be at least 96 and at most 512 bytes long.
const HELLO_LEN: RangeInclusive<usize> = MIN_HELLO..=MAX_HELLO;

/// What a backend brings into every handshake.
#[derive(Clone, Debug)]
pub struct Responder {
    pub(super) local: LocalIdentity,
    anchors: TrustAnchors,
    pub(super) limits: Limits,
    /// Asked for once: a key store may take its time.
    pub(super) hedge: Arc<HedgeKey>,
    #[cfg(all(feature = "std", feature = "backend"))]
    remembered: Option<Arc<RememberedSignatures>>,
    backend_hello_key: HelloKey,
    authority_hello_keys: [Option<HelloKey>; crate::limits::MAX_AUTHORITIES],
}

/// A Hello whose MAC verified: worth a Diffie-Hellman operation.
#[derive(Clone, Copy, Debug)]
pub struct AuthenticHello<'p> {
    header: HelloHeader,
    header_bytes: &'p [u8],
    noise: &'p [u8],
    mac: [u8; TAG_LEN],
}

/// A Hello was read; the Reply comes next. In IK the device is known by now, in XX it is not.
pub struct HelloRead {
    noise: Noise,
    header: HelloHeader,
    peer: Option<VerifiedCredential>,
    peer_limits: Limits,
    offered: Option<CredentialHash>,
}

/// A Reply was written.
pub enum ReplyWritten {
    /// IK and IKpsk2: done, but unproved until a session packet authenticates.
    Established(Established),
    /// XX and XXpsk3: the Finish is awaited.
    AwaitingFinish(AwaitingFinish),
}

/// An XX Reply was written; its Finish is awaited.
pub struct AwaitingFinish {
    noise: Noise,
    header: HelloHeader,
    peer_limits: Limits,
    failed_reads: u8,
}

/// A Finish could not be read.
pub enum FinishFailure {
    /// It may have been a forgery: the handshake goes on.
    Pending(AwaitingFinish, HandshakeError),
    /// The handshake is over: too many failures, or a genuine Finish that must be refused.
    Dead(HandshakeError),
}

impl AuthenticHello<'_> {
    /// Returns the connection id that the device wants to receive on.
    pub const fn connection_id(&self) -> ConnectionId {
        self.header.connection_id
    }

    /// Returns the psk id, in XXpsk3.
    pub const fn psk_id(&self) -> Option<PskId> {
        self.header.pattern.psk_id()
    }

    /// Returns the cookie that the device was given in a Retry.
    pub const fn cookie(&self) -> Option<wire::Cookie> {
        self.header.cookie
    }

    /// Returns the Hello's MAC: what tells a repeated Hello from another.
    pub const fn mac(&self) -> [u8; TAG_LEN] {
        self.mac
    }
}

impl<'p> AuthenticHello<'p> {
    fn of(hello: &wire::Hello<'p>) -> Self {
        Self { header: hello.header, header_bytes: hello.header_bytes, noise: hello.noise, mac: *hello.mac }
    }

    /// Parses a Hello whose MAC [`Responder::check_hello`] has verified, once more: it was kept for a job.
    #[cfg(feature = "backend")]
    pub(crate) fn checked(packet: &'p [u8]) -> Result<Self, HandshakeError> {
        Ok(Self::of(&wire::Hello::parse(packet).map_err(|_| HandshakeError::Malformed)?))
    }
}

impl Responder {
    /// Puts a responder together; derives its Hello keys.
    pub fn new(local: LocalIdentity, anchors: TrustAnchors, limits: Limits) -> Self {
        let backend_hello_key = HelloKey::from_backend(&local.public_key());
        let mut authority_hello_keys = [const { None }; crate::limits::MAX_AUTHORITIES];
        for (slot, key) in authority_hello_keys.iter_mut().zip(anchors.keys()) {
            *slot = Some(HelloKey::from_authority(key));
        }
        let hedge = Arc::new(local.static_dh().hedge_key());
        Self {
            local,
            anchors,
            limits,
            hedge,
            #[cfg(all(feature = "std", feature = "backend"))]
            remembered: None,
            backend_hello_key,
            authority_hello_keys,
        }
    }

    /// Remembers of so many credentials that their signature has verified, in 32 bytes each: their devices' next full
    /// handshakes cost no Ed25519 operation. 0: none, as [`Responder::new`] has it.
    ///
    /// Authority, role, validity and scopes are checked each time. Clones of the responder, on whatever thread, share the
    /// table. What it forgets when it is full is verified anew: give it a third more than there are devices.
    ///
    /// ```
    /// use vitalwire::handshake::{Limits, Responder};
    /// # fn example(local: vitalwire::identity::LocalIdentity, anchors: vitalwire::identity::TrustAnchors) {
    /// let responder = Responder::new(local, anchors, Limits::BACKEND).remembering(16_384); // 512 KiB
    /// # }
    /// ```
    #[cfg(all(feature = "std", feature = "backend"))]
    #[must_use]
    pub fn remembering(mut self, credentials: u32) -> Self {
        self.remembered =
            RememberedSignatures::new(credentials.min(MAX_REMEMBERED_CREDENTIALS)).map(Arc::new);
        self
    }

    /// The same end, which trusts others from now on. What it remembers of signatures stays true.
    #[cfg(feature = "backend")]
    pub(crate) fn trusting(&self, anchors: TrustAnchors) -> Self {
        let fresh = Self::new(self.local.clone(), anchors, self.limits);
        Self {
            #[cfg(feature = "std")]
            remembered: self.remembered.clone(),
            ..fresh
        }
    }

    /// Returns how many credentials it remembers, and for how many there is room.
    #[cfg(all(feature = "std", feature = "backend", test))]
    pub(crate) fn remembered(&self) -> (usize, usize) {
        self.remembered.as_ref().map_or((0, 0), |remembered| remembered.held())
    }

    /// Verifies a device's credential.
    fn verify(
        &self,
        bytes: &[u8],
        key: &PublicKey,
        time: Time,
    ) -> Result<VerifiedCredential, CredentialError> {
        #[cfg(all(feature = "std", feature = "backend"))]
        if let Some(remembered) = &self.remembered {
            return self.anchors.verify_remembering(bytes, key, Role::Device, time, remembered);
        }
        self.anchors.verify(bytes, key, Role::Device, time)
    }

    /// Returns the limits that the backend announces.
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// Returns the key of the Hellos of IK.
    #[cfg(feature = "backend")]
    pub(crate) const fn backend_hello_key(&self) -> &HelloKey {
        &self.backend_hello_key
    }

    /// Parses a Hello and checks its MAC; also returns the key that verified it, for a Retry.
    ///
    /// # Errors
    /// [`HandshakeError::Malformed`] for a bad header or length; [`HandshakeError::HelloMac`] for strangers.
    pub fn check_hello<'p>(
        &self,
        packet: &'p [u8],
    ) -> Result<(AuthenticHello<'p>, &HelloKey), HandshakeError> {
        if !HELLO_LEN.contains(&packet.len()) {
            return Err(HandshakeError::Malformed);
        }
        let hello = wire::Hello::parse(packet).map_err(|_| HandshakeError::Malformed)?;
        let candidates = match hello.header.pattern {
            Pattern::Ik | Pattern::IkPsk2 => [Some(&self.backend_hello_key), None, None, None],
            Pattern::Xx | Pattern::XxPsk3(_) => self.authority_hello_keys.each_ref().map(Option::as_ref),
            // TicketKeys::check_hello is for these.
            Pattern::Resume => [None; 4],
        };
        //= SPEC.md#hello
        //# A backend MUST NOT answer a Hello whose MAC does not verify.
        let key = candidates
            .into_iter()
            .flatten()
            .find(|key| key.verify_hello(hello.covered, hello.mac))
            .ok_or(HandshakeError::HelloMac)?;
        Ok((AuthenticHello::of(&hello), key))
    }

    /// Reads a Hello; in IK this is where Diffie-Hellman operations are spent. `psk` is the one registered for [`AuthenticHello::psk_id`], in XXpsk3.
    ///
    /// # Errors
    /// [`HandshakeError`]; the handshake is over and nothing is kept.
    pub fn read_hello(
        &self,
        hello: &AuthenticHello<'_>,
        psk: Option<&Psk>,
        time: Time,
        rng: &mut dyn Entropy,
    ) -> Result<HelloRead, HandshakeError> {
        let pattern = hello.header.pattern;
        if pattern.psk_id().is_some() != psk.is_some() {
            return Err(HandshakeError::BelowFloor);
        }
        let setup = NoiseSetup { pattern, hello_header: hello.header_bytes, remote_static: None, psk };
        let ephemeral = EphemeralSecret::generate_hedged(rng, &self.hedge, &hello.mac)?;
        let mut noise = Noise::new(NoiseSide::Responder, Some(&self.local), &setup, ephemeral)?;
        let mut items = [0u8; MAX_HELLO];
        let items = noise.read(hello.noise, &mut items)?;
        let message = if is_ik(pattern) { Message::HelloIk } else { Message::HelloXx };
        let payload = Payload::read(message, items)?;
        let peer = match payload.credential {
            Some(bytes) => Some(self.verify(bytes, &noise.remote_static()?, time)?),
            None => None,
        };
        let peer_limits = payload.limits.ok_or(HandshakeError::Malformed)?;
        Ok(HelloRead { noise, header: hello.header, peer, peer_limits, offered: payload.known })
    }
}

impl HelloRead {
    /// Returns the device, verified: in IK and IKpsk2.
    pub const fn peer(&self) -> Option<&VerifiedCredential> {
        self.peer.as_ref()
    }

    /// Returns the pattern that is run.
    pub const fn pattern(&self) -> Pattern {
        self.header.pattern
    }

    /// Returns the device's connection id: in a Retry that answers the Hello.
    #[cfg(feature = "backend")]
    pub(crate) const fn connection_id(&self) -> ConnectionId {
        self.header.connection_id
    }

    #[cfg(test)]
    pub(super) const fn pretend_offered(&mut self, hash: CredentialHash) {
        self.offered = Some(hash);
    }

    /// Returns the exact length of the Reply, in bytes.
    pub fn reply_len(&self, responder: &Responder, connection_id: ConnectionId) -> usize {
        let mut items = [0u8; MAX_PAYLOAD];
        let items = self.reply_items(responder, connection_id, &mut items).map_or(MAX_REPLY, <[u8]>::len);
        self.reply_len_with(items)
    }

    fn reply_len_with(&self, items: usize) -> usize {
        let static_key = if is_ik(self.header.pattern) { 0 } else { 32 + TAG_LEN };
        [1, self.header.connection_id.len(), 32, static_key, items, TAG_LEN].iter().sum()
    }

    fn reply_items<'o>(
        &self,
        responder: &Responder,
        connection_id: ConnectionId,
        out: &'o mut [u8; MAX_PAYLOAD],
    ) -> Result<&'o [u8], BufferTooSmall> {
        let credential = responder.local.credential();
        let known = self.offered.filter(|&hash| hash == credential.hash());
        let payload = Payload {
            connection_id: Some(connection_id),
            limits: Some(responder.limits),
            credential: known.is_none().then(|| credential.as_bytes()),
            known,
            ..Payload::default()
        };
        payload.write(0, out)
    }

    /// Writes the Reply to the front of `out` and returns the next state, and the Reply's length.
    ///
    /// `psk` is the one registered for the device: required in IKpsk2, refused in IK, ignored in XX and XXpsk3.
    ///
    /// # Errors
    /// [`HandshakeError::BufferTooSmall`] if `out` is shorter than [`HelloRead::reply_len`] said ([`MAX_REPLY`] is always
    /// enough); [`HandshakeError::BelowFloor`] if the psk and the pattern do not go together;
    /// [`HandshakeError::KeyStore`]; [`HandshakeError::Noise`] for a low-order point. The handshake is over.
    pub fn write_reply(
        mut self,
        responder: &Responder,
        connection_id: ConnectionId,
        psk: Option<&Psk>,
        out: &mut [u8],
    ) -> Result<(ReplyWritten, usize), HandshakeError> {
        let mut items = [0u8; MAX_PAYLOAD];
        let items = self.reply_items(responder, connection_id, &mut items)?;
        let needed = self.reply_len_with(items.len());
        if out.len() < needed {
            return Err(BufferTooSmall { needed }.into());
        }
        match (self.header.pattern, psk) {
            (Pattern::IkPsk2, Some(psk)) => self.noise.set_psk(psk)?,
            //= SPEC.md#no-downgrade
            //# A backend MUST refuse an identity for which its application registered a psk, in a pattern without one.
            (Pattern::IkPsk2, None) | (Pattern::Ik, Some(_)) => return Err(HandshakeError::BelowFloor),
            _ => {}
        }
        let mut writer = Writer::new(out);
        wire::Reply { connection_id: self.header.connection_id, noise: &[] }.write(&mut writer)?;
        let head = writer.len();
        //= SPEC.md#reply-finish
        //# A Reply MUST NOT be longer than 288 bytes, three times the shortest Hello.
        if needed > MAX_REPLY {
            return Err(HandshakeError::Malformed);
        }
        let body = out.get_mut(head..needed).ok_or(HandshakeError::Malformed)?;
        let (noise, len) = self.noise.write(items, body)?;
        let len = head.saturating_add(len);
        let next = match self.peer {
            Some(peer) => ReplyWritten::Established(Established {
                secrets: noise.into_secrets()?,
                peer,
                peer_connection_id: self.header.connection_id,
                peer_limits: self.peer_limits,
                pattern: self.header.pattern,
            }),
            None => ReplyWritten::AwaitingFinish(AwaitingFinish {
                noise,
                header: self.header,
                peer_limits: self.peer_limits,
                failed_reads: 0,
            }),
        };
        Ok((next, len))
    }
}

impl AwaitingFinish {
    /// Returns the psk id of the Hello, in XXpsk3.
    pub const fn psk_id(&self) -> Option<PskId> {
        self.header.pattern.psk_id()
    }

    /// Reads a Finish. `registered` is the identity for which the psk of XXpsk3 was registered.
    ///
    /// In XX the caller must still refuse an identity for which a psk is registered (SPEC.md, "No downgrade"): only now
    /// does it know who asks.
    ///
    /// # Errors
    /// [`FinishFailure::Pending`] gives the state back after what may be a forgery, at most
    /// [`MAX_FAILED_READS`] times; [`FinishFailure::Dead`] ends the handshake.
    #[allow(clippy::result_large_err, reason = "the state comes back by value: that is the typestate")]
    pub fn read_finish(
        mut self,
        responder: &Responder,
        registered: Option<Identity>,
        time: Time,
        noise: &[u8],
    ) -> Result<Established, FinishFailure> {
        //= SPEC.md#handshake-errors
        //# A failed read of a Reply or Finish MUST leave the handshake pending, at most 16 times.
        let mut items = [0u8; MAX_HELLO];
        let read = if noise.len() > MAX_HELLO { Err(HandshakeError::Malformed) } else { Ok(()) };
        let items = match read.and_then(|()| self.noise.read(noise, &mut items)) {
            Ok(items) => items,
            Err(error) => {
                self.failed_reads = self.failed_reads.saturating_add(1);
                if self.failed_reads > MAX_FAILED_READS {
                    return Err(FinishFailure::Dead(error));
                }
                return Err(FinishFailure::Pending(self, error));
            }
        };
        self.accept_finish(responder, registered, time, items).map_err(FinishFailure::Dead)
    }

    fn accept_finish(
        self,
        responder: &Responder,
        registered: Option<Identity>,
        time: Time,
        items: &[u8],
    ) -> Result<Established, HandshakeError> {
        let payload = Payload::read(Message::Finish, items)?;
        let credential = payload.credential.ok_or(HandshakeError::Malformed)?;
        let key: PublicKey = self.noise.remote_static()?;
        let peer = responder.verify(credential, &key, time)?;
        //= SPEC.md#no-downgrade
        //# In XXpsk3 and IKpsk2 a backend MUST refuse a credential that does not name the identity for which the psk was registered.
        if self.header.pattern.psk_id().is_some() && registered != Some(peer.identity()) {
            return Err(HandshakeError::BelowFloor);
        }
        Ok(Established {
            secrets: self.noise.into_secrets()?,
            peer,
            peer_connection_id: self.header.connection_id,
            peer_limits: self.peer_limits,
            pattern: self.header.pattern,
        })
    }
}
