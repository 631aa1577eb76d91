//! vitalwire's sessions and handshakes by themselves.

use crate::common::{authority, identity, time};
use std::hint::black_box;
use std::time::{Duration, Instant};
use vitalwire::crypto::{Psk, PublicKey, ServiceKey, SessionSecrets, TicketKey};
use vitalwire::handshake::*;
use vitalwire::identity::{LocalIdentity, Role, Scopes, TrustAnchors};
use vitalwire::limits::{MAX_HELLO, MAX_REPLY, TICKET_LEN};
use vitalwire::session::{RekeyPolicy, Session, Side};
use vitalwire::wire::{ConnectionId, DataHeader, Finish};
use vitalwire::{OsEntropy, UnixSeconds};

const NOW: vitalwire::Instant = vitalwire::Instant::from_millis(1000);

fn connection_id() -> ConnectionId {
    ConnectionId::new(&[9; 5]).expect("5 bytes")
}

/// The device's end of a session.
pub(crate) struct Sender(Session<2>);
/// The backend's end.
pub(crate) struct Receiver(Session<16>);

/// Two ends with keys of their own.
pub(crate) fn session(number: u64) -> (Sender, Receiver) {
    let secrets = || {
        let mut chain = [1u8; 32];
        chain[..8].copy_from_slice(&number.to_le_bytes());
        SessionSecrets::new(chain, &[2; 64])
    };
    let policy = RekeyPolicy::default();
    let sender = Session::new(NOW, Side::Device, secrets(), 1024, policy);
    (Sender(sender), Receiver(Session::new(NOW, Side::Backend, secrets(), 128, policy)))
}

impl Sender {
    /// Seals a payload of `len` bytes that lies where it belongs; returns the packet's length.
    pub(crate) fn seal(&mut self, out: &mut [u8], len: usize) -> usize {
        let len = self.0.seal(NOW, &connection_id(), out, len).expect("far from the limits").len();
        // As an Ack from time to time does.
        self.0.peer_acked(self.0.next_counter().saturating_sub(1));
        len
    }
}

impl Receiver {
    pub(crate) fn open(&mut self, packet: &mut [u8]) {
        let header = DataHeader::parse(packet, 5).expect("it was sealed here");
        black_box(self.0.open(NOW, &header, packet).expect("it was sealed here"));
    }
}

/// Who takes part in a handshake.
pub(crate) struct World {
    anchors: TrustAnchors,
    device: LocalIdentity,
    key: PublicKey,
    responder: Responder,
    /// The same, which remembers whose credential it has verified.
    remembering: Responder,
    tickets: TicketKeys,
    ticket: [u8; TICKET_LEN],
    psk: Psk,
    service: ServiceKey,
}

impl World {
    pub(crate) fn new() -> Self {
        let authority = authority();
        let anchors = TrustAnchors::new(&[authority.public_key()]).expect("one anchor");
        let device = identity(&authority, 1, Role::Device);
        let backend = identity(&authority, 2, Role::Backend);
        let key = backend.public_key();
        let service = || ServiceKey::from_bytes([3; 32]);
        let tickets = TicketKeys::new(service(), TicketKey::from_bytes([4; 32]), None);
        let clock = time().now();
        let contents = TicketContents {
            identity: device.identity().expect("it has one"),
            serial: 1,
            scopes: Scopes::PUBLISH,
            not_after: UnixSeconds(clock.0 + 1000),
            revocation: 0,
            origin: clock,
            psk_proved: false,
        };
        let responder = Responder::new(backend, anchors, Limits::BACKEND);
        let (earlier, id) = (session(0).0, TicketId([5; 16]));
        let resume = earlier.0.resume_secret(0).expect("the present epoch");
        Self {
            key,
            remembering: responder.clone().remembering(1024),
            responder,
            ticket: tickets.seal(id, &contents, resume),
            psk: resume.ticket_psk(&id.0),
            service: service(),
            tickets,
            anchors,
            device,
        }
    }

    /// Runs XX or IK, to both ends' secrets; returns what it took of each. `known`: the backend has verified the device's
    /// credential before, and remembers it.
    pub(crate) fn full(&self, ik: bool, known: bool) -> [Duration; 2] {
        let responder = if known { &self.remembering } else { &self.responder };
        let rng = &mut OsEntropy;
        let initiator =
            Initiator { backend_key: ik.then_some(&self.key), ..Initiator::new(&self.device, &self.anchors) };
        let (mut hello, mut reply, mut finish) = ([0u8; MAX_HELLO], [0u8; MAX_REPLY], [0u8; MAX_HELLO]);
        let start = Instant::now();
        let (waiting, len) = initiator.start(b"1", rng, &mut hello).expect("room");
        let mut device = start.elapsed();
        let start = Instant::now();
        let (authentic, _) = responder.check_hello(&hello[..len]).expect("genuine");
        let read = responder.read_hello(&authentic, None, time(), rng).expect("genuine");
        let (written, len) = read.write_reply(responder, connection_id(), None, &mut reply).expect("room");
        let mut backend = start.elapsed();
        let start = Instant::now();
        let Ok(outcome) = waiting.read_reply(&initiator, time(), &reply[..len]) else { panic!("genuine") };
        let len = match outcome {
            ReplyOutcome::Established(done) => {
                black_box(&done);
                0
            }
            ReplyOutcome::Finish(next) => {
                let (done, len) = next.write_finish(&self.device, &mut finish).expect("room");
                black_box(&done);
                len
            }
        };
        device += start.elapsed();
        if let ReplyWritten::AwaitingFinish(waiting) = written {
            let start = Instant::now();
            let finish = Finish::parse(&finish[..len], 5).expect("genuine");
            let done = waiting.read_finish(responder, self.device.identity(), time(), finish.noise);
            assert!(done.is_ok());
            backend += start.elapsed();
        }
        [device, backend]
    }

    /// Runs a resumption; the claim is the store's, and not in it.
    pub(crate) fn resume(&self) -> [Duration; 2] {
        let rng = &mut OsEntropy;
        let resumption = Resumption {
            local: &self.device,
            ticket: &self.ticket,
            psk: &self.psk,
            service: &self.service,
            connection_id: ConnectionId::EMPTY,
            limits: Limits::DEVICE,
            early: &[],
        };
        let (mut hello, mut reply) = ([0u8; MAX_HELLO], [0u8; MAX_REPLY]);
        let start = Instant::now();
        let (waiting, len) = resumption.start(b"1", rng, &mut hello).expect("room");
        let mut device = start.elapsed();
        let start = Instant::now();
        let authentic = self.tickets.check_hello(&hello[..len]).expect("genuine");
        let opened = authentic.open(&self.tickets, time().now()).expect("sealed here");
        let read = self.responder.read_resume(&authentic, &opened, rng).expect("genuine");
        // What the claim needs.
        black_box(authentic.hash());
        let age = vitalwire::Duration::ZERO;
        let (resumed, len) =
            read.write_reply(&self.responder, connection_id(), age, &mut reply).expect("room");
        black_box(&resumed);
        let backend = start.elapsed();
        let start = Instant::now();
        let Ok(resumed) = waiting.read_reply(&reply[..len]) else { panic!("genuine") };
        black_box(&resumed);
        device += start.elapsed();
        [device, backend]
    }
}
