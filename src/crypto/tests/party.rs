//! One end of a Noise handshake under snow with our resolver, and the exchange of messages between two.

use crate::crypto::resolver::{LocalKeys, Resolver};
use crate::crypto::{EphemeralSecret, StaticSecret};
use alloc::sync::Arc;
use snow::resolvers::CryptoResolver;
use snow::{Builder, HandshakeState};
use std::boxed::Box;
use std::format;
use std::vec::Vec;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Initiator,
    Responder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Xx,
    Ik,
    XxPsk3,
    IkPsk2,
    NnPsk0,
}

/// Static secrets of the fixed parties of [`Party::of`].
pub(super) const DEVICE: [u8; 32] = [0x11; 32];
pub(super) const BACKEND: [u8; 32] = [0x22; 32];

impl Pattern {
    pub(super) const ALL: [Self; 5] = [Self::Xx, Self::Ik, Self::XxPsk3, Self::IkPsk2, Self::NnPsk0];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Xx => "XX",
            Self::Ik => "IK",
            Self::XxPsk3 => "XXpsk3",
            Self::IkPsk2 => "IKpsk2",
            Self::NnPsk0 => "NNpsk0",
        }
    }

    pub(super) const fn psk_slot(self) -> Option<u8> {
        match self {
            Self::Xx | Self::Ik => None,
            Self::XxPsk3 => Some(3),
            Self::IkPsk2 => Some(2),
            Self::NnPsk0 => Some(0),
        }
    }

    /// The number of handshake messages.
    pub(super) const fn messages(self) -> usize {
        match self {
            Self::Xx | Self::XxPsk3 => 3,
            Self::Ik | Self::IkPsk2 | Self::NnPsk0 => 2,
        }
    }

    /// Two ends that agree on everything, the initiator first.
    pub(super) fn pair(self) -> (HandshakeState, HandshakeState) {
        (Party::of(self, Role::Initiator).build(), Party::of(self, Role::Responder).build())
    }
}

/// All that one end brings.
pub(super) struct Party {
    pub(super) pattern: Pattern,
    pub(super) role: Role,
    pub(super) prologue: Vec<u8>,
    pub(super) identity: Option<[u8; 32]>,
    pub(super) ephemeral: [u8; 32],
    pub(super) remote: Option<[u8; 32]>,
    pub(super) psk: Option<[u8; 32]>,
}

impl Party {
    /// A device or backend with fixed keys.
    pub(super) fn of(pattern: Pattern, role: Role) -> Self {
        let (identity, ephemeral) = match role {
            Role::Initiator => (DEVICE, [0x33; 32]),
            Role::Responder => (BACKEND, [0x44; 32]),
        };
        let pinned = matches!(pattern, Pattern::Ik | Pattern::IkPsk2) && role == Role::Initiator;
        Self {
            pattern,
            role,
            prologue: b"prologue".to_vec(),
            identity: (pattern != Pattern::NnPsk0).then_some(identity),
            ephemeral,
            remote: pinned.then(|| StaticSecret::from_bytes(BACKEND).public_key().0),
            psk: pattern.psk_slot().map(|_| [0x55; 32]),
        }
    }

    pub(super) fn resolver(&self) -> Resolver {
        let identity = self.identity.map(|secret| {
            let secret = StaticSecret::from_bytes(secret);
            let public = secret.public_key();
            (Arc::new(secret) as _, public)
        });
        Resolver::new(LocalKeys { identity, ephemeral: EphemeralSecret::from_bytes(self.ephemeral) })
    }

    pub(super) fn build(&self) -> HandshakeState {
        self.build_with(Box::new(self.resolver()))
    }

    pub(super) fn build_with(&self, resolver: Box<dyn CryptoResolver + Send>) -> HandshakeState {
        let name = format!("Noise_{}_25519_ChaChaPoly_BLAKE2s", self.pattern.name());
        let mut builder = Builder::with_resolver(name.parse().unwrap(), resolver);
        builder = builder.prologue(&self.prologue).unwrap();
        if self.identity.is_some() {
            // A placeholder: the resolver brings the key.
            builder = builder.local_private_key(&[0; 32]).unwrap();
        }
        if let Some(remote) = &self.remote {
            builder = builder.remote_public_key(remote).unwrap();
        }
        if let Some(slot) = self.pattern.psk_slot() {
            builder = builder.psk(slot, self.psk.as_ref().unwrap()).unwrap();
        }
        match self.role {
            Role::Initiator => builder.build_initiator().unwrap(),
            Role::Responder => builder.build_responder().unwrap(),
        }
    }
}

pub(super) fn write(state: &mut HandshakeState, payload: &[u8]) -> Result<Vec<u8>, snow::Error> {
    let mut message = [0; 1024];
    let length = state.write_message(payload, &mut message)?;
    Ok(message[..length].to_vec())
}

pub(super) fn read(state: &mut HandshakeState, message: &[u8]) -> Result<Vec<u8>, snow::Error> {
    let mut payload = [0; 1024];
    let length = state.read_message(message, &mut payload)?;
    Ok(payload[..length].to_vec())
}
