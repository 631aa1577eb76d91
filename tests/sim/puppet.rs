//! Ends that hold real keys and say what the test wants: authenticated, and malicious.

use crate::kit::{CLOCK, Rng};
use vitalwire::crypto::{Psk, PublicKey};
use vitalwire::framing::{Frame, FrameWriter};
use vitalwire::handshake::*;
use vitalwire::identity::{LocalIdentity, Time, TrustAnchors};
use vitalwire::session::{RekeyPolicy, Session, Side};
use vitalwire::wire::{ConnectionId, Cookie, DataHeader};
use vitalwire::{Instant, UnixSeconds};

/// A device that is driven by hand.
pub(crate) struct PuppetDevice {
    pub(crate) identity: LocalIdentity,
    anchors: TrustAnchors,
    pub(crate) backend_key: Option<PublicKey>,
    pub(crate) cookie: Option<Cookie>,
    pub(crate) connection_id: ConnectionId,
    pub(crate) limits: Limits,
    pub(crate) rng: Rng,
    awaiting: Option<AwaitingReply>,
    pub(crate) finish: Option<Vec<u8>>,
    pub(crate) session: Option<(Session<2>, ConnectionId)>,
}

impl PuppetDevice {
    pub(crate) fn new(
        identity: LocalIdentity,
        anchors: TrustAnchors,
        backend_key: Option<PublicKey>,
    ) -> Self {
        Self {
            identity,
            anchors,
            backend_key,
            cookie: None,
            connection_id: ConnectionId::EMPTY,
            limits: Limits::DEVICE,
            rng: Rng::new(99),
            awaiting: None,
            finish: None,
            session: None,
        }
    }

    fn initiator(&self) -> Initiator<'_> {
        Initiator {
            backend_key: self.backend_key.as_ref(),
            connection_id: self.connection_id,
            limits: self.limits,
            cookie: self.cookie,
            ..Initiator::new(&self.identity, &self.anchors)
        }
    }

    pub(crate) fn hello(&mut self) -> Vec<u8> {
        let mut out = [0; 512];
        let mut rng = self.rng.clone();
        let (awaiting, len) = self.initiator().start(b"puppet", &mut rng, &mut out).unwrap();
        (self.rng, self.awaiting) = (rng, Some(awaiting));
        out[..len].to_vec()
    }

    /// Takes a Retry's cookie.
    pub(crate) fn follow_retry(&mut self, packet: &[u8]) -> bool {
        let cookie = self.awaiting.as_ref().and_then(|awaiting| awaiting.follow_retry(packet));
        self.cookie = cookie;
        cookie.is_some()
    }

    /// Takes a Reply; returns the Finish, in XX.
    pub(crate) fn reply(&mut self, now: Instant, packet: &[u8]) -> Option<Vec<u8>> {
        let awaiting = self.awaiting.take()?;
        let outcome = awaiting.read_reply(&self.initiator(), Time::known(CLOCK), packet);
        let mut out = [0; 512];
        let (established, finish) = match outcome.ok()? {
            ReplyOutcome::Established(established) => (established, None),
            ReplyOutcome::Finish(read) => {
                let (established, len) = read.write_finish(&self.identity, &mut out).unwrap();
                (established, Some(out[..len].to_vec()))
            }
        };
        let window = established.peer_limits.window();
        let session = Session::new(now, Side::Device, established.secrets, window, RekeyPolicy::default());
        self.session = Some((session, established.peer_connection_id));
        self.finish = finish.clone();
        finish
    }

    /// Seals frames of any kind.
    pub(crate) fn frames(&mut self, now: Instant, frames: &[Frame<'_>]) -> Vec<u8> {
        self.payload(now, &payload_of(frames))
    }

    /// Seals any payload.
    pub(crate) fn payload(&mut self, now: Instant, payload: &[u8]) -> Vec<u8> {
        let (session, id) = self.session.as_mut().unwrap();
        seal(session, now, id, payload)
    }

    /// Opens a packet of the backend.
    pub(crate) fn open(&mut self, now: Instant, packet: &[u8]) -> Option<Vec<u8>> {
        open(&mut self.session.as_mut()?.0, now, &self.connection_id, packet)
    }
}

/// A backend that is driven by hand.
pub(crate) struct PuppetBackend {
    responder: Responder,
    rng: Rng,
    awaiting: Option<AwaitingFinish>,
    pub(crate) session: Option<(Session<16>, ConnectionId)>,
}

pub(crate) const PUPPET_ID: [u8; 8] = [9; 8];

impl PuppetBackend {
    pub(crate) fn new(identity: LocalIdentity, anchors: TrustAnchors) -> Self {
        let responder = Responder::new(identity, anchors, Limits::BACKEND);
        Self { responder, rng: Rng::new(77), awaiting: None, session: None }
    }

    fn time() -> Time {
        Time::known(UnixSeconds(CLOCK.0))
    }

    /// Answers a Hello.
    pub(crate) fn reply(&mut self, now: Instant, hello: &[u8], psk: Option<&Psk>) -> Vec<u8> {
        let (authentic, _) = self.responder.check_hello(hello).unwrap();
        let read = self.responder.read_hello(&authentic, None, Self::time(), &mut self.rng).unwrap();
        let mut out = [0; 512];
        let id = ConnectionId::new(&PUPPET_ID).unwrap();
        let (written, len) = read.write_reply(&self.responder, id, psk, &mut out).unwrap();
        match written {
            ReplyWritten::Established(established) => self.establish(now, established),
            ReplyWritten::AwaitingFinish(awaiting) => self.awaiting = Some(awaiting),
        }
        out[..len].to_vec()
    }

    pub(crate) fn finish(&mut self, now: Instant, finish: &[u8]) {
        let parsed = vitalwire::wire::Finish::parse(finish, PUPPET_ID.len()).unwrap();
        let awaiting = self.awaiting.take().unwrap();
        let read = awaiting.read_finish(&self.responder, None, Self::time(), parsed.noise);
        self.establish(now, read.ok().unwrap());
    }

    fn establish(&mut self, now: Instant, established: Established) {
        let window = established.peer_limits.window();
        let session = Session::new(now, Side::Backend, established.secrets, window, RekeyPolicy::default());
        self.session = Some((session, established.peer_connection_id));
    }

    pub(crate) fn frames(&mut self, now: Instant, frames: &[Frame<'_>]) -> Vec<u8> {
        self.payload(now, &payload_of(frames))
    }

    pub(crate) fn payload(&mut self, now: Instant, payload: &[u8]) -> Vec<u8> {
        let (session, id) = self.session.as_mut().unwrap();
        seal(session, now, id, payload)
    }

    pub(crate) fn open(&mut self, now: Instant, packet: &[u8]) -> Option<Vec<u8>> {
        let id = ConnectionId::new(&PUPPET_ID).unwrap();
        open(&mut self.session.as_mut()?.0, now, &id, packet)
    }
}

fn payload_of(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut out = [0; 1400];
    let mut writer = FrameWriter::new(&mut out);
    for frame in frames {
        writer.push(frame).unwrap();
    }
    writer.finish().to_vec()
}

fn seal<const W: usize>(
    session: &mut Session<W>,
    now: Instant,
    id: &ConnectionId,
    payload: &[u8],
) -> Vec<u8> {
    let mut out = [0; 1500];
    let head = session.header_len(id);
    out[head..head + payload.len()].copy_from_slice(payload);
    session.seal(now, id, &mut out, payload.len()).unwrap().to_vec()
}

fn open<const W: usize>(
    session: &mut Session<W>,
    now: Instant,
    id: &ConnectionId,
    packet: &[u8],
) -> Option<Vec<u8>> {
    let mut packet = packet.to_vec();
    let header = DataHeader::parse(&packet, id.len()).ok()?;
    if header.connection_id() != *id {
        return None;
    }
    session.open(now, &header, &mut packet).ok().map(|opened| opened.payload.to_vec())
}
