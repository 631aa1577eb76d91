//! Noise handshakes with credentials inside, as typestates that consume themselves.
//!
//! Owns the patterns XX, IK, XXpsk3 and IKpsk2, the Hello MAC and what stands in the messages' payloads. Turns a
//! static key, a credential and randomness into [`Established`]: session secrets and a verified peer. A [`Resumption`]
//! needs none of these: it runs NNpsk0 under a ticket, which the backend has sealed for itself ([`TicketKeys`]). Knows
//! nothing of timers, retransmission or sessions; `device` and `backend` drive it.
//!
//! ```text
//! device    Initiator::start ── Hello ──▶ Responder::read_hello        backend
//!           AwaitingReply ◀── Reply ──── HelloRead::write_reply
//!           (XX) ReplyRead ── Finish ──▶ AwaitingFinish::read_finish
//!           Established                  Established
//!
//! device    Resumption::start ── Hello ──▶ TicketKeys::check_hello, open; Responder::read_resume   backend
//!           AwaitingResume ◀──── Reply ─── ResumeRead::write_reply
//!           Resumed                        Resumed
//! ```
//!
//! Heap: snow boxes its primitives and keeps its pattern in vectors. One end's handshake takes at most 2 KB at any time,
//! also while it refuses forged Replies and while its secrets are written over at the end, and gives all of it back
//! (`tests/heap.rs` measures it: 1.8 KB on a 64-bit host). Where the heap has no room for it the handshake does not
//! begin, and says so: [`HandshakeError::OutOfMemory`].

#[cfg(feature = "backend")]
mod cookie;
mod hello_mac;
mod initiator;
mod noise;
mod payload;
mod responder;
mod resume;
mod ticket;

#[cfg(feature = "backend")]
pub(crate) use cookie::{path_cookie, verify_cookie};
pub use hello_mac::HelloKey;
pub use initiator::{AwaitingReply, Initiator, ReplyFailure, ReplyOutcome, ReplyRead};
pub use payload::Limits;
pub use responder::{AuthenticHello, AwaitingFinish, FinishFailure, HelloRead, ReplyWritten, Responder};
pub use resume::{AwaitingResume, ResumeFailure, ResumeHello, ResumeRead, Resumed, Resumption};

pub use ticket::{OpenedTicket, TicketContents, TicketId, TicketKeys};

#[cfg(test)]
mod tests;

use crate::codec::{BufferTooSmall, DecodeError};
use crate::crypto::SessionSecrets;
use crate::entropy::EntropyError;
use crate::error::Discard;
use crate::identity::{CredentialError, VerifiedCredential};
use crate::wire::{ConnectionId, Pattern};
use alloc::vec::Vec;

/// What a finished handshake gives to both ends.
#[derive(Debug)]
pub struct Established {
    /// The seed of the session.
    pub secrets: SessionSecrets,
    /// The peer, verified.
    pub peer: VerifiedCredential,
    /// The connection id that the peer wants to receive on.
    pub peer_connection_id: ConnectionId,
    /// What the peer accepts.
    pub peer_limits: Limits,
    /// The pattern that was run.
    pub pattern: Pattern,
}

/// Why a handshake message could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum HandshakeError {
    /// The Noise message did not authenticate, or a Diffie-Hellman result was all zero.
    #[error("the Noise message could not be read")]
    Noise,
    /// The packet or its payload is malformed.
    #[error("the handshake payload is malformed")]
    Malformed,
    /// The Hello's MAC does not verify: the sender does not know what it must know.
    #[error("the Hello's MAC does not verify")]
    HelloMac,
    /// The own static key store failed: nothing that the peer did.
    #[error("the own static key store failed")]
    KeyStore,
    /// The peer's credential was refused.
    #[error("the peer's credential was refused: {0}")]
    Credential(#[from] CredentialError),
    /// The peer, or the pattern, is below the configured floor.
    #[error("the peer or the pattern is below the floor")]
    BelowFloor,
    /// The ticket was not sealed under one of the keys at hand.
    #[error("the ticket cannot be opened")]
    BadTicket,
    /// The ticket's time is over.
    #[error("the ticket has expired")]
    ExpiredTicket,
    /// The random source failed; nothing was sent.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The caller's buffer is too small; nothing was written.
    #[error(transparent)]
    BufferTooSmall(#[from] BufferTooSmall),
    /// The heap has less than [`HANDSHAKE_HEAP`](crate::limits::HANDSHAKE_HEAP) in one piece; nothing was written.
    #[error("not enough heap for a handshake")]
    OutOfMemory,
}

impl From<DecodeError> for HandshakeError {
    fn from(_: DecodeError) -> Self {
        Self::Malformed
    }
}

impl HandshakeError {
    /// Returns the reason under which a packet with this error is counted.
    pub const fn discard(self) -> Discard {
        match self {
            Self::Noise | Self::KeyStore | Self::Entropy(_) | Self::BufferTooSmall(_) | Self::OutOfMemory => {
                Discard::HandshakeFailed
            }
            Self::Malformed => Discard::MalformedPayload,
            Self::HelloMac => Discard::BadHelloMac,
            Self::Credential(_) => Discard::BadCredential,
            Self::BelowFloor => Discard::BelowFloor,
            Self::BadTicket => Discard::BadTicket,
            Self::ExpiredTicket => Discard::ExpiredTicket,
        }
    }
}

/// Takes room for so many bytes from the heap, empty, or says that there is not enough of it.
///
/// snow's boxes and vectors abort where the heap has no room. So who begins a handshake asks for as much as it will take
/// first, and gives it back at once. Between the two nobody else may take it: where interrupts or other threads
/// share the heap, it must be larger than what they all need.
pub(crate) fn reserve(len: usize) -> Result<Vec<u8>, HandshakeError> {
    let mut room = Vec::new();
    room.try_reserve_exact(len).map_err(|_| HandshakeError::OutOfMemory)?;
    // Room that is given back unused would be optimised away, and with it the question.
    Ok(core::hint::black_box(room))
}

/// Copies bytes to the heap, or says that there is not enough of it.
#[cfg(feature = "device")]
pub(crate) fn copied(bytes: &[u8]) -> Result<Vec<u8>, HandshakeError> {
    let mut copy = reserve(bytes.len())?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// Tells whether the device is known after the first message, and the handshake done after the second.
const fn is_ik(pattern: Pattern) -> bool {
    matches!(pattern, Pattern::Ik | Pattern::IkPsk2)
}
