//! The only place where snow's state is held: one write or read per message, nothing reused after a failed write.

use super::HandshakeError;
use crate::crypto::resolver::{LocalKeys, Resolver};
use crate::crypto::{EphemeralSecret, Psk, PublicKey, SessionSecrets};
use crate::identity::LocalIdentity;
use crate::wire::Pattern;
use alloc::boxed::Box;
use zeroize::Zeroizing;

/// What the prologue begins with: version and suite. The Hello header follows.
const PROLOGUE: &[u8] = b"vitalwire/1 25519 ChaChaPoly BLAKE2s";
/// The longest Hello header: 3 bytes, connection id, psk id, cookie.
const MAX_HELLO_HEADER: usize = 3 + 8 + 8 + 16;

/// One side of one Noise handshake.
pub(super) struct Noise {
    state: Box<snow::HandshakeState>,
    pattern: Pattern,
}

/// What the builder needs beside the local identity.
pub(super) struct NoiseSetup<'a> {
    pub(super) pattern: Pattern,
    pub(super) hello_header: &'a [u8],
    /// The backend's key: the initiator's in IK.
    pub(super) remote_static: Option<&'a PublicKey>,
    /// The psk, if it is known already.
    pub(super) psk: Option<&'a Psk>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NoiseSide {
    Initiator,
    Responder,
}

const fn protocol_name(pattern: Pattern) -> &'static str {
    match pattern {
        Pattern::Xx => "Noise_XX_25519_ChaChaPoly_BLAKE2s",
        Pattern::Ik => "Noise_IK_25519_ChaChaPoly_BLAKE2s",
        Pattern::XxPsk3(_) => "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s",
        Pattern::IkPsk2 => "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s",
    }
}

/// The place of the psk in the pattern.
const fn psk_location(pattern: Pattern) -> Option<u8> {
    match pattern {
        Pattern::XxPsk3(_) => Some(3),
        Pattern::IkPsk2 => Some(2),
        Pattern::Xx | Pattern::Ik => None,
    }
}

impl Noise {
    /// Builds a state around an ephemeral key.
    pub(super) fn new(
        side: NoiseSide,
        local: &LocalIdentity,
        setup: &NoiseSetup<'_>,
        ephemeral: EphemeralSecret,
    ) -> Result<Self, HandshakeError> {
        let identity = Some((local.static_dh().clone(), local.public_key()));
        let resolver = Resolver::new(LocalKeys { identity, ephemeral });
        let mut prologue = [0u8; PROLOGUE.len() + MAX_HELLO_HEADER];
        let mut writer = crate::codec::Writer::new(&mut prologue);
        writer.bytes(PROLOGUE)?;
        writer.bytes(setup.hello_header)?;
        let prologue = writer.into_written();
        let state = build(side, setup, prologue, resolver).map_err(|_| HandshakeError::Noise)?;
        Ok(Self { state: Box::new(state), pattern: setup.pattern })
    }

    pub(super) const fn pattern(&self) -> Pattern {
        self.pattern
    }

    /// Sets the psk that the responder found only after reading the Hello.
    pub(super) fn set_psk(&mut self, psk: &Psk) -> Result<(), HandshakeError> {
        let location = psk_location(self.pattern).ok_or(HandshakeError::BelowFloor)?;
        self.state.set_psk(usize::from(location), psk.bytes()).map_err(|_| HandshakeError::Noise)
    }

    /// Writes the next message to the front of `out` and returns its length.
    //= SPEC.md#handshake-errors
    //# A failed write, or a failed read of a Hello, MUST destroy the handshake state.
    pub(super) fn write(mut self, payload: &[u8], out: &mut [u8]) -> Result<(Self, usize), HandshakeError> {
        let len = self.state.write_message(payload, out).map_err(|_| HandshakeError::Noise)?;
        Ok((self, len))
    }

    /// Reads the next message; its payload goes to `payload`.
    ///
    /// After a failure the same message may be tried again with other bytes (SPEC.md, "Handshake errors").
    pub(super) fn read<'p>(
        &mut self,
        message: &[u8],
        payload: &'p mut [u8],
    ) -> Result<&'p [u8], HandshakeError> {
        let len = self.state.read_message(message, payload).map_err(|_| HandshakeError::Noise)?;
        payload.get(..len).ok_or(HandshakeError::Noise)
    }

    /// Returns the peer's static key, once a message that carries it was read.
    pub(super) fn remote_static(&self) -> Result<PublicKey, HandshakeError> {
        let key = self.state.get_remote_static().and_then(<[u8]>::first_chunk::<32>);
        key.map(|key| PublicKey(*key)).ok_or(HandshakeError::Noise)
    }

    /// Ends the handshake and derives the session secrets.
    pub(super) fn into_secrets(mut self) -> Result<SessionSecrets, HandshakeError> {
        if !self.state.is_handshake_finished() {
            return Err(HandshakeError::Noise);
        }
        let hash = self.state.get_handshake_hash().first_chunk::<32>();
        let hash = *hash.ok_or(HandshakeError::Noise)?;
        let (first, second) = self.state.dangerously_get_raw_split();
        let (first, second) = (Zeroizing::new(first), Zeroizing::new(second));
        let mut keys = Zeroizing::new([0u8; 64]);
        for (to, from) in keys.iter_mut().zip(first.iter().chain(second.iter())) {
            *to = *from;
        }
        Ok(SessionSecrets::new(hash, &keys))
    }
}

fn build(
    side: NoiseSide,
    setup: &NoiseSetup<'_>,
    prologue: &[u8],
    resolver: Resolver,
) -> Result<snow::HandshakeState, snow::Error> {
    let params = protocol_name(setup.pattern).parse()?;
    // The placeholder satisfies snow's check; the resolver's key does the work.
    let mut builder = snow::Builder::with_resolver(params, Box::new(resolver))
        .prologue(prologue)?
        .local_private_key(&[0; 32])?;
    if let Some(key) = setup.remote_static {
        builder = builder.remote_public_key(&key.0)?;
    }
    if let (Some(psk), Some(location)) = (setup.psk, psk_location(setup.pattern)) {
        builder = builder.psk(location, psk.bytes())?;
    }
    match side {
        NoiseSide::Initiator => builder.build_initiator(),
        NoiseSide::Responder => builder.build_responder(),
    }
}
