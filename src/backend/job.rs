//! Handshake computation, apart from the data path: a job may run on any thread.

use super::event::SlotRef;
use crate::crypto::Psk;
use crate::entropy::Entropy;
use crate::handshake::{
    AuthenticHello, AwaitingFinish, Established, FinishFailure, HandshakeError, HelloRead, OpenedTicket,
    ReplyWritten, Responder, ResumeHello, ResumeRead, Resumed, TicketContents, TicketId,
};
use crate::identity::{Identity, Time};
use crate::limits::MAX_REPLY;
use crate::time::Duration;
use crate::wire::ConnectionId;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// One step of one handshake, to be run wherever there is time: it costs some Diffie-Hellman operations.
#[must_use = "run it and hand the result to Backend::handle_handshake"]
pub struct HandshakeJob {
    pub(super) at: SlotRef,
    pub(super) responder: Arc<Responder>,
    pub(super) time: Time,
    pub(super) work: Work,
}

/// The packets are Hellos whose MAC was verified before the job was given out.
pub(super) enum Work {
    Hello { packet: Vec<u8>, psk: Option<Arc<Enrolment>>, connection_id: ConnectionId },
    Reply { hello: HelloRead, psk: Option<Psk>, connection_id: ConnectionId },
    Finish { state: AwaitingFinish, noise: Vec<u8>, registered: Option<Identity> },
    Resume { packet: Vec<u8>, opened: OpenedTicket },
    ReplyResume { read: ResumeRead, connection_id: ConnectionId, age: Duration },
}

/// A factory secret and whom it was registered for.
#[derive(Debug)]
pub(super) struct Enrolment {
    pub(super) psk: Psk,
    pub(super) identity: Identity,
}

/// What a job has found, for [`Backend::handle_handshake`](super::Backend::handle_handshake).
#[must_use = "hand it to Backend::handle_handshake"]
pub struct HandshakeDone {
    pub(super) at: SlotRef,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    /// XX: a Reply to send, and what awaits the Finish.
    ReplyXx { state: AwaitingFinish, reply: Vec<u8> },
    /// IK: the device is known; the application decides.
    HelloIk(HelloRead),
    /// IK: a Reply to send, and the session.
    ReplyIk { established: Established, reply: Vec<u8> },
    /// XX: the device is known; the application decides.
    Finished(Established),
    /// A resumption's Hello was read: the ticket is to be claimed, with the hash of the Hello.
    Resume { read: ResumeRead, id: TicketId, hello: [u8; 32] },
    /// A resumption: a Reply to send, and the session.
    ReplyResume { resumed: Resumed, contents: TicketContents, reply: Vec<u8> },
    /// A Finish that may have been forged.
    FinishPending(AwaitingFinish, HandshakeError),
    /// The handshake is over.
    Failed(HandshakeError),
}

impl HandshakeJob {
    /// Computes. Randomness is drawn here and in `poll_transmit` only.
    pub fn run(self, rng: &mut dyn Entropy) -> HandshakeDone {
        let Self { at, responder, time, work } = self;
        let outcome = work.run(&responder, time, rng).unwrap_or_else(Outcome::Failed);
        HandshakeDone { at, outcome }
    }
}

impl Work {
    fn run(
        self,
        responder: &Responder,
        time: Time,
        rng: &mut dyn Entropy,
    ) -> Result<Outcome, HandshakeError> {
        match self {
            Self::Hello { packet, psk, connection_id } => {
                let hello = AuthenticHello::checked(&packet)?;
                let read = responder.read_hello(&hello, psk.as_ref().map(|known| &known.psk), time, rng)?;
                if read.peer().is_some() {
                    return Ok(Outcome::HelloIk(read));
                }
                write_reply(read, responder, connection_id, None)
            }
            Self::Reply { hello, psk, connection_id } => {
                write_reply(hello, responder, connection_id, psk.as_ref())
            }
            Self::Resume { packet, opened } => {
                let hello = ResumeHello::checked(&packet)?;
                let read = responder.read_resume(&hello, &opened, rng)?;
                Ok(Outcome::Resume { read, id: hello.id(), hello: hello.hash() })
            }
            Self::ReplyResume { read, connection_id, age } => {
                let contents = *read.contents();
                let mut out = [0u8; MAX_REPLY];
                let (resumed, len) = read.write_reply(responder, connection_id, age, &mut out)?;
                let reply = out.get(..len).unwrap_or_default().to_vec();
                Ok(Outcome::ReplyResume { resumed, contents, reply })
            }
            Self::Finish { state, noise, registered } => {
                match state.read_finish(responder, registered, time, &noise) {
                    Ok(established) => Ok(Outcome::Finished(established)),
                    Err(FinishFailure::Pending(state, error)) => Ok(Outcome::FinishPending(state, error)),
                    Err(FinishFailure::Dead(error)) => Err(error),
                }
            }
        }
    }
}

fn write_reply(
    hello: HelloRead,
    responder: &Responder,
    connection_id: ConnectionId,
    psk: Option<&Psk>,
) -> Result<Outcome, HandshakeError> {
    let mut out = [0u8; MAX_REPLY];
    let (written, len) = hello.write_reply(responder, connection_id, psk, &mut out)?;
    let reply = out.get(..len).unwrap_or_default().to_vec();
    Ok(match written {
        ReplyWritten::Established(established) => Outcome::ReplyIk { established, reply },
        ReplyWritten::AwaitingFinish(state) => Outcome::ReplyXx { state, reply },
    })
}
