//! Handshakes of every pattern, each side by itself, with credentials and all; beside them snow's bare XX and IK on
//! the same primitives (no credentials, no Hello MAC, no padding).

mod common;

use common::{authority, identity, side_by_side, snow_builder, time};
use criterion::Criterion;
use std::hint::black_box;
use std::time::{Duration, Instant};
use vitalwire::OsEntropy;
use vitalwire::crypto::{Psk, PublicKey};
use vitalwire::handshake::*;
use vitalwire::identity::{LocalIdentity, Role, TrustAnchors};
use vitalwire::limits::{MAX_HELLO, MAX_REPLY};
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
            local: &self.device,
            anchors: &self.anchors,
            expected: None,
            backend_key: ik.then_some(&self.backend),
            backend_credential: None,
            psk: psk.then_some((PskId([1; 8]), &secret)),
            connection_id: ConnectionId::EMPTY,
            limits: Limits::DEVICE,
            cookie: None,
            anchor_index: 0,
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
    criterion.final_summary();
    println!("time of each, and ratio to bare snow, measured in turn");
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
}
