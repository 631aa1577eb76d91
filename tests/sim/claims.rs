//! How often a store of claims is asked: by a hospital behind one address, by a device that resumes without end, by
//! somebody who sends again what he has seen.

use crate::amplification::exchange;
use crate::kit::*;
use crate::link::To;
use crate::puppet::PuppetDevice;
use crate::resume::{hellos, patterns, with_ticket};
use crate::world::Setup;
use std::net::SocketAddr;
use vitalwire::backend::*;
use vitalwire::crypto::ServiceKey;
use vitalwire::framing::{Frame, FrameWriter};
use vitalwire::handshake::{AwaitingResume, Limits, Resumed, Resumption, TicketContents, TicketId};
use vitalwire::identity::{Identity, LocalIdentity, Scopes};
use vitalwire::session::{RekeyPolicy, Session, Side};
use vitalwire::wire::{ConnectionId, Pattern};
use vitalwire::{Discard, Instant, UnixSeconds};

/// A backend that sees addresses, and tickets of as many devices as are wanted.
struct Hospital {
    backend: Backend<SocketAddr>,
    claims: Claims,
    asked: usize,
    /// Whoever seals tickets has had a session.
    session: Session<2>,
    local: LocalIdentity,
    rng: Rng,
}

impl Hospital {
    fn new(change: impl FnOnce(&mut BackendConfig)) -> Self {
        let mut world = Setup::new(1).build();
        let local = world.pki.device(0);
        let mut puppet = PuppetDevice::new(local.clone(), world.pki.anchors(), None);
        let hello = puppet.hello();
        let reply = exchange(&mut world, 5, &hello).remove(0).1;
        puppet.reply(world.now, &reply).unwrap();
        let (session, _) = puppet.session.take().unwrap();
        let mut config =
            BackendConfig::new(world.backend_identity.clone(), world.pki.anchors(), world.pki.time());
        change(&mut config);
        let mut backend = Backend::new(config).unwrap();
        backend.set_ticket_keys(ticket_keys(1));
        Self { backend, claims: Claims::new(10_000), asked: 0, session, local, rng: Rng::new(3) }
    }

    /// A Hello with a ticket of its own, of this device.
    fn hello(&mut self, device: usize) -> Vec<u8> {
        self.start(device).1
    }

    fn start(&mut self, device: usize) -> (AwaitingResume, Vec<u8>) {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.rng.next().to_le_bytes());
        let resume = self.session.resume_secret(0).unwrap();
        let issuer = self.local.identity().unwrap().issuer;
        let contents = TicketContents {
            identity: Identity { issuer, subject: subject(device) },
            serial: 2,
            scopes: Scopes::PUBLISH,
            not_after: UnixSeconds(CLOCK.0 + 100_000),
            revocation: 0,
            origin: CLOCK,
            psk_proved: false,
        };
        let ticket = ticket_keys(1).seal(TicketId(id), &contents, resume);
        let resumption = Resumption {
            local: &self.local,
            ticket: &ticket,
            psk: &resume.ticket_psk(&id),
            service: &ServiceKey::from_bytes([0x5e; 32]),
            connection_id: ConnectionId::EMPTY,
            limits: Limits::DEVICE,
            early: &[],
        };
        let mut out = [0; 512];
        let (state, len) = resumption.start(b"hospital", &mut self.rng, &mut out).unwrap();
        (state, out[..len].to_vec())
    }

    /// The kind of the answer to a Hello, or 0.
    fn answer(&mut self, now: Instant, port: u16, hello: &[u8]) -> u8 {
        self.exchange(now, port, hello).map_or(0, |packet| packet[0])
    }

    /// Resumes with a new ticket, and proves the session; tells whether it was let in.
    fn resume(&mut self, now: Instant, port: u16, device: usize) -> bool {
        let (state, hello) = self.start(device);
        let Some(reply) = self.exchange(now, port, &hello).filter(|packet| packet[0] == REPLY) else {
            return false;
        };
        let Ok(Resumed { secrets, peer_connection_id, peer_limits, .. }) = state.read_reply(&reply) else {
            panic!("a Reply");
        };
        let policy = RekeyPolicy::default();
        let mut session: Session<2> = Session::new(now, Side::Device, secrets, peer_limits.window(), policy);
        let (mut out, head) = ([0; 200], session.header_len(&peer_connection_id));
        let mut writer = FrameWriter::new(&mut out[head..]);
        writer.push(&Frame::Ping([1; 8])).unwrap();
        let len = writer.len();
        let packet = session.seal(now, &peer_connection_id, &mut out, len).unwrap().to_vec();
        self.exchange(now, port, &packet).is_some_and(|packet| packet[0] & 0x80 != 0)
    }

    /// Hands a packet in and does all that is to be done; returns what is sent at last.
    fn exchange(&mut self, now: Instant, port: u16, hello: &[u8]) -> Option<Vec<u8>> {
        let (path, mut packet) = (SocketAddr::from(([198, 51, 100, 7], port)), hello.to_vec());
        self.backend.handle_packets(now, &mut [Inbound { path, packet: &mut packet }], &mut |_| {});
        let mut out = [0; 1500];
        let mut last = None;
        loop {
            if let Some(job) = self.backend.poll_handshake() {
                let done = job.run(&mut self.rng);
                self.backend.handle_handshake(now, done);
            } else if let Some(event) = self.backend.poll_event() {
                if let BackendEvent::Resuming { pending, claim } = event {
                    self.asked += 1;
                    let outcome = self.claims.claim(CLOCK, &claim);
                    self.backend.claimed(now, pending, outcome, Grant::default()).unwrap();
                }
            } else if let Some(sent) = self.backend.poll_transmit(now, &mut self.rng, &mut out).unwrap() {
                last = Some(sent.packet.to_vec());
            } else {
                return last;
            }
        }
    }
}

const REPLY: u8 = 0x12;
const RETRY: u8 = 0x14;

#[test]
fn a_hospital_behind_one_address_resumes_at_once() {
    // A prefix that is allowed next to nothing, for it has no say here.
    let mut hospital = Hospital::new(|config| config.admission.per_prefix = Rate::per_minute(1, 1));
    let now = at(5_000);
    for device in 0..600 {
        let hello = hospital.hello(device);
        let kind = hospital.answer(now, device as u16, &hello);
        assert_eq!(kind, REPLY, "device {device}");
    }
    assert_eq!(hospital.asked, 600);
}

#[test]
fn a_device_that_resumes_without_end_has_its_own_rate() {
    //= SPEC.md#admission
    //= type=test
    //# A backend MUST limit how often it has tickets claimed for one device and for one ticket, and MUST NOT count for the device what a copy of a Hello brings about.
    let mut hospital = Hospital::new(|config| config.admission.claims = Rate::per_minute(30, 8));
    // Each session gives it another ticket; each time it comes from a port that nobody has used.
    let mut now = at(5_000);
    let mut answered = 0;
    for port in 0..400 {
        now = now + ms(250);
        hospital.backend.handle_timeout(now);
        answered += usize::from(hospital.resume(now, port, 7));
    }
    assert!((50..=8 + 100 / 2).contains(&hospital.asked), "{} claims in 100 s", hospital.asked);
    assert_eq!(answered, hospital.asked);
    assert_eq!(hospital.backend.discards().of(Discard::RateLimited) as usize, 400 - answered, "in silence");
    let other = hospital.hello(8);
    assert_eq!(hospital.answer(now, 401, &other), REPLY, "another device at the same address");
}

#[test]
fn copies_of_a_hello_reach_the_store_seldom_and_cost_their_device_nothing() {
    let mut hospital = Hospital::new(|_| {});
    let mut now = at(5_000);
    let recorded = hospital.hello(7);
    assert_eq!(hospital.answer(now, 1, &recorded), REPLY);
    now = now + secs(30);
    hospital.backend.handle_timeout(now);
    // The ticket is void since two have used it: each copy is refused, and its place free again at once.
    hospital.claims.claim(CLOCK, &misuse(&hospital, &recorded));
    let before = hospital.asked;
    let kinds: Vec<u8> = (0..2000).map(|copy| hospital.answer(now, 2 + copy, &recorded)).collect();
    assert_eq!(hospital.asked - before, 8);
    assert_eq!(kinds, [[RETRY; 8].as_slice(), &[0; 1992]].concat(), "then in silence");
    let status = hospital.backend.admission(now);
    assert!(status.half_open <= 2, "{status:?}");
    let fresh = hospital.hello(7);
    let asked = hospital.asked;
    hospital.answer(now, 60_000, &fresh);
    assert_eq!(hospital.asked, asked + 1, "the device's next ticket is claimed");
}

/// A claim of the recorded ticket with another Hello, as if it were two devices'.
fn misuse(hospital: &Hospital, hello: &[u8]) -> TicketClaim {
    let mut id = [0; 16];
    id.copy_from_slice(&hello[3..19]);
    let issuer = hospital.local.identity().unwrap().issuer;
    TicketClaim {
        identity: Identity { issuer, subject: subject(7) },
        id: TicketId(id),
        hello: [9; 32],
        origin: CLOCK,
        expires: UnixSeconds(CLOCK.0 + 100_000),
        serial: 2,
        revocation: 0,
    }
}

#[test]
fn a_device_whose_hello_is_sent_again_without_end_resumes_with_its_next_ticket() {
    let mut world = with_ticket(4);
    world.connect(0);
    world.run_to_connected(0);
    let (_, recorded) = hellos(&world).remove(0);
    world.run(secs(25));
    world.node(0).device.disconnect();
    world.run(secs(1));
    // The store is down, so each copy is refused, and its place free again at once.
    world.app.claims_down = true;
    let asked = world.app.claimed.len();
    for path in 0..500 {
        world.deliver(To::Backend(5_000 + path), recorded.clone());
        world.settle();
    }
    assert_eq!(world.app.claimed.len() - asked, 8);
    world.app.claims_down = false;
    let refused = world.backend.discards().of(Discard::RateLimited);
    assert_eq!(refused, 492);
    world.connect(0);
    world.run_to_connected(0);
    assert_eq!(patterns(&world), [Pattern::Xx, Pattern::Resume, Pattern::Resume]);
    assert_eq!(world.backend.discards().of(Discard::RateLimited), refused, "its next ticket is another one");
}
