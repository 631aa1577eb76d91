//! Handshakes of every pattern, each side by itself, with credentials and all; beside them snow's bare XX and IK on the
//! pure Rust primitives (no credentials, no Hello MAC, no padding).

mod common;

use common::{authority, identity, side_by_side, snow_builder, time};
use criterion::Criterion;
use std::hint::black_box;
use std::time::{Duration, Instant};
use vitalwire::OsEntropy;
use vitalwire::crypto::{PROVIDER, Psk, PublicKey, ResumeSecret, ServiceKey, SessionSecrets, TicketKey};
use vitalwire::handshake::*;
use vitalwire::identity::{LocalIdentity, Role, Scopes, TrustAnchors};
use vitalwire::limits::{MAX_HELLO, MAX_REPLY, TICKET_LEN};
use vitalwire::session::{RekeyPolicy, Session, Side};
use vitalwire::wire::{ConnectionId, Finish, Pattern, PskId};

struct World {
    anchors: TrustAnchors,
    device: LocalIdentity,
    backend: PublicKey,
    responder: Responder,
}

impl World {
    fn new() -> Self {
        let authority = authority();
        let anchors = TrustAnchors::new(&[authority.public_key()]).expect("one anchor");
        let device = identity(&authority, 1, Role::Device);
        let backend = identity(&authority, 2, Role::Backend);
        let key = backend.public_key();
        Self { anchors, device, backend: key, responder: Responder::new(backend, anchors, Limits::BACKEND) }
    }

    /// Runs one handshake and returns what it took of the device and of the backend.
    fn run(&self, ik: bool, psk: bool) -> [Duration; 2] {
        let rng = &mut OsEntropy;
        let secret = Psk::from_bytes([7; 32]);
        let initiator = Initiator {
            backend_key: ik.then_some(&self.backend),
            psk: psk.then_some((PskId([1; 8]), &secret)),
            ..Initiator::new(&self.device, &self.anchors)
        };
        let id = ConnectionId::new(&[9; 5]).expect("5 bytes");
        let (mut hello, mut reply, mut finish) = ([0u8; MAX_HELLO], [0u8; MAX_REPLY], [0u8; MAX_HELLO]);
        let mut took = [Duration::ZERO; 2];

        let start = Instant::now();
        let (waiting, len) = initiator.start(b"1", rng, &mut hello).expect("room");
        took[0] += start.elapsed();

        let start = Instant::now();
        let (authentic, _) = self.responder.check_hello(&hello[..len]).expect("genuine");
        let early = authentic.psk_id().is_some().then_some(&secret);
        let read = self.responder.read_hello(&authentic, early, time(), rng).expect("genuine");
        let late = (read.pattern() == Pattern::IkPsk2).then_some(&secret);
        let (written, len) = read.write_reply(&self.responder, id, late, &mut reply).expect("room");
        took[1] += start.elapsed();

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
        took[0] += start.elapsed();

        if let ReplyWritten::AwaitingFinish(waiting) = written {
            let start = Instant::now();
            let finish = Finish::parse(&finish[..len], 5).expect("genuine");
            let registered = self.device.identity();
            let done = waiting.read_finish(&self.responder, registered, time(), finish.noise);
            assert!(done.is_ok());
            took[1] += start.elapsed();
        }
        took
    }

    fn total(&self, iterations: u64, ik: bool, psk: bool, side: usize) -> Duration {
        (0..iterations).map(|_| self.run(ik, psk)[side]).sum()
    }
}

/// A ticket, and what both ends have of it.
struct Ticketed {
    keys: TicketKeys,
    service: ServiceKey,
    ticket: [u8; TICKET_LEN],
    psk: Psk,
}

impl Ticketed {
    fn new(world: &World) -> Self {
        let secrets = SessionSecrets::new([1; 32], &[2; 64]);
        let now = vitalwire::Instant::ZERO;
        let session = Session::<2>::new(now, Side::Device, secrets, 1024, RekeyPolicy::default());
        let resume: &ResumeSecret = session.resume_secret(0).expect("the present epoch");
        let service = || ServiceKey::from_bytes([3; 32]);
        let keys = TicketKeys::new(service(), TicketKey::from_bytes([4; 32]), None);
        let clock = time().now();
        let contents = TicketContents {
            identity: world.device.identity().expect("it has one"),
            serial: 1,
            scopes: Scopes::PUBLISH,
            not_after: clock,
            revocation: 0,
            origin: clock,
            psk_proved: false,
        };
        let id = TicketId([5; 16]);
        Self {
            ticket: keys.seal(id, &contents, resume),
            psk: resume.ticket_psk(&id.0),
            keys,
            service: service(),
        }
    }

    /// Runs one resumption, the unsealing of the ticket included, and returns what it took of each end. The claim is the
    /// store's, and not in it.
    fn run(&self, world: &World) -> [Duration; 2] {
        let rng = &mut OsEntropy;
        let resumption = Resumption {
            local: &world.device,
            ticket: &self.ticket,
            psk: &self.psk,
            service: &self.service,
            connection_id: ConnectionId::EMPTY,
            limits: Limits::DEVICE,
            early: &[],
        };
        let id = ConnectionId::new(&[9; 5]).expect("5 bytes");
        let (mut hello, mut reply) = ([0u8; MAX_HELLO], [0u8; MAX_REPLY]);
        let start = Instant::now();
        let (waiting, len) = resumption.start(b"1", rng, &mut hello).expect("room");
        let mut device = start.elapsed();

        let start = Instant::now();
        let authentic = self.keys.check_hello(&hello[..len]).expect("genuine");
        let opened = authentic.open(&self.keys, time().now()).expect("sealed here");
        let read = world.responder.read_resume(&authentic, &opened, rng).expect("genuine");
        let age = vitalwire::Duration::ZERO;
        let (resumed, len) = read.write_reply(&world.responder, id, age, &mut reply).expect("room");
        black_box(&resumed);
        let backend = start.elapsed();

        let start = Instant::now();
        let Ok(resumed) = waiting.read_reply(&reply[..len]) else { panic!("genuine") };
        black_box(&resumed);
        device += start.elapsed();
        [device, backend]
    }

    fn total(&self, world: &World, iterations: u64, side: usize) -> Duration {
        (0..iterations).map(|_| self.run(world)[side]).sum()
    }
}

/// The same, of snow alone.
fn snow(pattern: &str) -> [Duration; 2] {
    let (device, backend) = ([3u8; 32], [4u8; 32]);
    let public = x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from(backend)).to_bytes();
    let mut took = [Duration::ZERO; 2];
    let (mut message, mut payload) = ([0u8; 512], [0u8; 512]);
    let start = Instant::now();
    let mut builder = snow_builder(pattern).local_private_key(&device).expect("32 bytes");
    if pattern == "IK" {
        builder = builder.remote_public_key(&public).expect("32 bytes");
    }
    let mut initiator = builder.build_initiator().expect("all keys are there");
    took[0] += start.elapsed();
    let start = Instant::now();
    let builder = snow_builder(pattern).local_private_key(&backend).expect("32 bytes");
    let mut responder = builder.build_responder().expect("all keys are there");
    took[1] += start.elapsed();
    for turn in 0.. {
        if initiator.is_handshake_finished() && responder.is_handshake_finished() {
            break;
        }
        let (from, to) =
            if turn % 2 == 0 { (&mut initiator, &mut responder) } else { (&mut responder, &mut initiator) };
        let start = Instant::now();
        let len = from.write_message(&[], &mut message).expect("room");
        took[turn % 2] += start.elapsed();
        let start = Instant::now();
        to.read_message(&message[..len], &mut payload).expect("genuine");
        took[1 - turn % 2] += start.elapsed();
    }
    took
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let world = World::new();
    let patterns =
        [("XX", false, false), ("IK", true, false), ("XXpsk3", false, true), ("IKpsk2", true, true)];
    for (name, ik, psk) in patterns {
        let mut group = criterion.benchmark_group(name);
        for (side, end) in ["device", "backend"].into_iter().enumerate() {
            group.bench_function(end, |bencher| bencher.iter_custom(|n| world.total(n, ik, psk, side)));
        }
        if !psk {
            for (side, end) in ["snow initiator", "snow responder"].into_iter().enumerate() {
                group.bench_function(end, |bencher| {
                    bencher.iter_custom(|n| (0..n).map(|_| snow(name)[side]).sum());
                });
            }
        }
    }
    let ticketed = Ticketed::new(&world);
    let mut group = criterion.benchmark_group("resumption");
    for (side, end) in ["device", "backend"].into_iter().enumerate() {
        group.bench_function(end, |bencher| bencher.iter_custom(|n| ticketed.total(&world, n, side)));
    }
    group.finish();
    criterion.final_summary();
    println!("vitalwire on {PROVIDER}; time of each, and ratio to bare snow, measured in turn");
    for (name, ik, psk) in patterns {
        for (side, end) in ["device", "backend"].into_iter().enumerate() {
            let bare = if ik { "IK" } else { "XX" };
            side_by_side(
                &format!("{name} {end}"),
                5,
                &mut [
                    ("snow", &mut |n| (0..n).map(|_| snow(bare)[side]).sum()),
                    ("vitalwire", &mut |n| world.total(n, ik, psk, side)),
                ],
            );
        }
    }
    println!("resumption beside IK, measured in turn");
    for (side, end) in ["device", "backend"].into_iter().enumerate() {
        side_by_side(
            end,
            5,
            &mut [
                ("IK", &mut |n| world.total(n, true, false, side)),
                ("resumption", &mut |n| ticketed.total(&world, n, side)),
                ("snow IK", &mut |n| (0..n).map(|_| snow("IK")[side]).sum()),
            ],
        );
    }
}
