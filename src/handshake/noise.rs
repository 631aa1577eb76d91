//! The only place where snow's state is held: one write or read per message, nothing reused after a failed write.

use super::{HandshakeError, reserve};
use crate::crypto::resolver::{KEY_STORE_FAILED, LocalKeys, Resolver, blank_state};
use crate::crypto::{EphemeralSecret, Psk, PublicKey, SessionSecrets};
use crate::identity::LocalIdentity;
use crate::limits::{HANDSHAKE_HEAP, TICKET_LEN};
use crate::wire::Pattern;
use alloc::boxed::Box;
use alloc::vec::Vec;
use snow::params::{
    BaseChoice, CipherChoice, DHChoice, HandshakeChoice, HandshakeModifier, HandshakeModifierList,
    HandshakePattern, HashChoice, NoiseParams,
};
use zeroize::Zeroizing;

/// What the prologue begins with: version and suite. The Hello header follows.
const PROLOGUE: &[u8] = b"vitalwire/1 25519 ChaChaPoly BLAKE2s";
/// The longest Hello header: 3 bytes and a connection id, then a psk id and a cookie, or a ticket.
const MAX_HELLO_HEADER: usize = 3 + 8 + TICKET_LEN;
const _: () = assert!(MAX_HELLO_HEADER >= 3 + 8 + 8 + 16);
/// What a blank state takes from the heap while it is made, rounded up: `nothing_of_a_handshake_stays_in_its_memory`
/// and `tests/starved.rs` would fail.
const WIPE_HEAP: usize = 48 * size_of::<usize>();

/// One side of one Noise handshake.
pub(super) struct Noise {
    state: Box<snow::HandshakeState>,
    pattern: Pattern,
    /// Room on the heap for the blank state that is written over this one at its end.
    room_to_wipe: Vec<u8>,
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
        Pattern::Resume => "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s",
    }
}

/// The choices that [`protocol_name`] names, put together here: snow's parser of names would be 2 KB of firmware.
fn params(pattern: Pattern) -> NoiseParams {
    let base = match pattern {
        Pattern::Xx | Pattern::XxPsk3(_) => HandshakePattern::XX,
        Pattern::Ik | Pattern::IkPsk2 => HandshakePattern::IK,
        Pattern::Resume => HandshakePattern::NN,
    };
    let psk = psk_location(pattern).map(HandshakeModifier::Psk);
    let modifiers = HandshakeModifierList { list: psk.into_iter().collect() };
    NoiseParams::new(
        protocol_name(pattern).into(),
        BaseChoice::Noise,
        HandshakeChoice { pattern: base, modifiers },
        DHChoice::Curve25519,
        CipherChoice::ChaChaPoly,
        HashChoice::Blake2s,
    )
}

/// The place of the psk in the pattern.
const fn psk_location(pattern: Pattern) -> Option<u8> {
    match pattern {
        Pattern::XxPsk3(_) => Some(3),
        Pattern::IkPsk2 => Some(2),
        Pattern::Resume => Some(0),
        Pattern::Xx | Pattern::Ik => None,
    }
}

impl Noise {
    /// Builds a state around an ephemeral key. A resumption has no static key.
    pub(super) fn new(
        side: NoiseSide,
        local: Option<&LocalIdentity>,
        setup: &NoiseSetup<'_>,
        ephemeral: EphemeralSecret,
    ) -> Result<Self, HandshakeError> {
        let room_to_wipe = reserve(WIPE_HEAP)?;
        drop(reserve(HANDSHAKE_HEAP)?);
        let identity = local.map(|local| (local.static_dh().clone(), local.public_key()));
        let resolver = Resolver::new(LocalKeys { identity, ephemeral });
        let mut prologue = [0u8; PROLOGUE.len() + MAX_HELLO_HEADER];
        let mut writer = crate::codec::Writer::new(&mut prologue);
        writer.bytes(PROLOGUE)?;
        writer.bytes(setup.hello_header)?;
        let prologue = writer.into_written();
        let state = build(side, setup, prologue, resolver).map_err(refused)?;
        Ok(Self { state: Box::new(state), pattern: setup.pattern, room_to_wipe })
    }

    pub(super) const fn pattern(&self) -> Pattern {
        self.pattern
    }

    /// Sets the psk that the responder found only after reading the Hello.
    pub(super) fn set_psk(&mut self, psk: &Psk) -> Result<(), HandshakeError> {
        let location = psk_location(self.pattern).ok_or(HandshakeError::BelowFloor)?;
        self.state.set_psk(usize::from(location), psk.bytes()).map_err(refused)
    }

    /// Writes the next message to the front of `out` and returns its length.
    //= SPEC.md#handshake-errors
    //# A failed write, or a failed read of a Hello, MUST destroy the handshake state.
    pub(super) fn write(mut self, payload: &[u8], out: &mut [u8]) -> Result<(Self, usize), HandshakeError> {
        let len = self.state.write_message(payload, out).map_err(refused)?;
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
        let len = self.state.read_message(message, payload).map_err(refused)?;
        payload.get(..len).ok_or(HandshakeError::Noise)
    }

    /// Returns the peer's static key, once a message that carries it was read.
    pub(super) fn remote_static(&self) -> Result<PublicKey, HandshakeError> {
        let key = self.state.get_remote_static().and_then(<[u8]>::first_chunk::<32>);
        key.map(|key| PublicKey(*key)).ok_or(HandshakeError::Noise)
    }

    fn wipe(&mut self) {
        self.room_to_wipe = Vec::new();
        if let Some(blank) = blank_state() {
            *self.state = blank;
        }
        // Nobody reads it any more; without this the compiler might leave out the writing.
        core::hint::black_box(&mut *self.state);
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

/// Says no more than whose fault it was.
fn refused(error: snow::Error) -> HandshakeError {
    if error == KEY_STORE_FAILED { HandshakeError::KeyStore } else { HandshakeError::Noise }
}

/// Writes a state without secrets over the one that ends: snow leaves the chaining key, from which the session's
/// secrets follow, and the psk in the memory that it gives back.
impl Drop for Noise {
    fn drop(&mut self) {
        self.wipe();
    }
}

fn build(
    side: NoiseSide,
    setup: &NoiseSetup<'_>,
    prologue: &[u8],
    resolver: Resolver,
) -> Result<snow::HandshakeState, snow::Error> {
    let params = params(setup.pattern);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::StaticSecret;
    use crate::identity::{Authority, CredentialRequest, Role, Scopes, SubjectId};
    use crate::time::UnixSeconds;
    use alloc::sync::Arc;

    fn noise(side: NoiseSide) -> Noise {
        let secret = StaticSecret::from_bytes([1; 32]);
        let public = secret.public_key();
        let zero = UnixSeconds(0);
        let credential = Authority::new(crate::crypto::SigningKey::from_bytes([2; 32]))
            .issue(
                &public,
                &CredentialRequest {
                    serial: 0,
                    subject: SubjectId([0; 16]),
                    role: Role::Device,
                    scopes: Scopes::NONE,
                    issued: zero,
                    not_before: zero,
                    not_after: zero,
                },
            )
            .unwrap();
        let local = LocalIdentity::new(Arc::new(secret), public, credential);
        let psk = Psk::from_bytes([3; 32]);
        let pattern = Pattern::XxPsk3(crate::wire::PskId([0; 8]));
        let setup = NoiseSetup { pattern, hello_header: &[], remote_static: None, psk: Some(&psk) };
        let ephemeral = EphemeralSecret::from_bytes([4 + side as u8; 32]);
        Noise::new(side, Some(&local), &setup, ephemeral).unwrap()
    }

    #[test]
    fn choices_are_those_that_the_name_says() {
        let id = crate::wire::PskId([0; 8]);
        for pattern in [Pattern::Xx, Pattern::Ik, Pattern::XxPsk3(id), Pattern::IkPsk2, Pattern::Resume] {
            assert_eq!(params(pattern), protocol_name(pattern).parse::<NoiseParams>().unwrap());
        }
    }

    #[test]
    fn nothing_of_a_handshake_stays_in_its_memory() {
        let (mut device, mut backend) = (noise(NoiseSide::Initiator), noise(NoiseSide::Responder));
        let (mut message, mut payload) = ([0u8; 256], [0u8; 256]);
        for device_writes in [true, false, true] {
            let (writer, mut reader) = if device_writes { (device, backend) } else { (backend, device) };
            let (writer, len) = writer.write(&[], &mut message).unwrap();
            reader.read(&message[..len], &mut payload).unwrap();
            (device, backend) = if device_writes { (writer, reader) } else { (reader, writer) };
        }
        let secret = |noise: &mut Noise| noise.state.dangerously_get_raw_split();
        assert_eq!(secret(&mut device), secret(&mut backend));
        for noise in [&mut device, &mut backend] {
            noise.wipe();
            assert_eq!(noise.state.get_handshake_hash(), [0; 32]);
            assert_eq!(secret(noise), ([0; 32], [0; 32]));
            assert!(noise.state.get_remote_static().is_none());
        }
    }
}
