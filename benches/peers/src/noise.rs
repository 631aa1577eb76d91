//! snow with its default resolver, and clatter: both Noise with X25519, ChaCha20-Poly1305 and BLAKE2s.

use crate::measure::Contender;
use clatter::crypto::cipher::ChaChaPoly;
use clatter::crypto::dh::X25519;
use clatter::crypto::hash::Blake2s;
use clatter::handshakepattern::{HandshakePattern, noise_ik, noise_xx};
use clatter::traits::{Dh, Handshaker};
use clatter::{KeyPair, NqHandshake};
use std::hint::black_box;
use std::time::{Duration, Instant};

pub(crate) type Snow = snow::TransportState;
pub(crate) type Clatter = clatter::transportstate::TransportState<ChaChaPoly, Blake2s>;
type ClatterKeys = KeyPair<[u8; 32], <X25519 as Dh>::PrivateKey>;

/// The static keys of two ends.
pub(crate) struct SnowKeys([snow::Keypair; 2]);

fn builder(pattern: &str) -> snow::Builder<'static> {
    let name = format!("Noise_{pattern}_25519_ChaChaPoly_BLAKE2s");
    snow::Builder::new(name.parse().expect("a Noise protocol name"))
}

impl SnowKeys {
    pub(crate) fn new() -> Self {
        Self([(); 2].map(|()| builder("XX").generate_keypair().expect("the generator works")))
    }

    /// Runs XX or IK; returns both ends, and what it took of each.
    pub(crate) fn run(&self, pattern: &str) -> ([Snow; 2], [Duration; 2]) {
        let Self([device, service]) = self;
        let (mut message, mut payload) = ([0u8; 512], [0u8; 512]);
        let mut took = [Duration::ZERO; 2];
        let start = Instant::now();
        let mut builder_ = builder(pattern).local_private_key(&device.private).expect("32 bytes");
        if pattern == "IK" {
            builder_ = builder_.remote_public_key(&service.public).expect("32 bytes");
        }
        let mut initiator = builder_.build_initiator().expect("all keys are there");
        took[0] += start.elapsed();
        let start = Instant::now();
        let responder = builder(pattern).local_private_key(&service.private).expect("32 bytes");
        let mut responder = responder.build_responder().expect("all keys are there");
        took[1] += start.elapsed();
        for turn in 0.. {
            if initiator.is_handshake_finished() && responder.is_handshake_finished() {
                break;
            }
            let (from, to) = if turn % 2 == 0 {
                (&mut initiator, &mut responder)
            } else {
                (&mut responder, &mut initiator)
            };
            let start = Instant::now();
            let len = from.write_message(&[], &mut message).expect("room");
            took[turn % 2] += start.elapsed();
            let start = Instant::now();
            to.read_message(&message[..len], &mut payload).expect("genuine");
            took[1 - turn % 2] += start.elapsed();
        }
        let mut ends = Vec::new();
        for (end, took) in [initiator, responder].into_iter().zip(&mut took) {
            let start = Instant::now();
            ends.push(end.into_transport_mode().expect("the handshake is finished"));
            *took += start.elapsed();
        }
        (ends.try_into().unwrap_or_else(|_| unreachable!("two ends")), took)
    }
}

pub(crate) fn clatter_keys() -> [ClatterKeys; 2] {
    [(); 2].map(|()| X25519::genkey().expect("the generator works"))
}

/// Runs IK, or XX, of clatter; returns both ends, and what it took of each.
pub(crate) fn clatter(keys: &[ClatterKeys; 2], pattern: &str) -> ([Clatter; 2], [Duration; 2]) {
    let known = pattern == "IK";
    let end = |pattern: HandshakePattern, initiator: bool| {
        let own = keys[usize::from(!initiator)].clone();
        let peer = (known && initiator).then_some(keys[1].public);
        NqHandshake::<X25519, ChaChaPoly, Blake2s>::new(pattern, &[], initiator, Some(own), None, peer, None)
            .expect("all keys are there")
    };
    let pattern = || if known { noise_ik() } else { noise_xx() };
    let (mut message, mut payload) = ([0u8; 512], [0u8; 512]);
    let mut took = [Duration::ZERO; 2];
    let start = Instant::now();
    let mut initiator = end(pattern(), true);
    took[0] += start.elapsed();
    let start = Instant::now();
    let mut responder = end(pattern(), false);
    took[1] += start.elapsed();
    for turn in 0.. {
        if initiator.is_finished() && responder.is_finished() {
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
    let start = Instant::now();
    let first = initiator.finalize().expect("finished");
    took[0] += start.elapsed();
    let start = Instant::now();
    let second = responder.finalize().expect("finished");
    took[1] += start.elapsed();
    ([first, second], took)
}

/// Seal and open of so many bytes.
pub(crate) fn passes(len: usize) -> [Contender<'static>; 2] {
    let ([mut sender, mut receiver], _) = SnowKeys::new().run("IK");
    let ([mut first, mut second], _) = clatter(&clatter_keys(), "IK");
    let plaintext = vec![0x55u8; len];
    let also = plaintext.clone();
    let [mut packet, mut opened, mut packet2, mut opened2] = std::array::from_fn(|_| vec![0u8; len + 64]);
    [
        Contender::each("snow, TransportState", move || {
            let sealed = sender.write_message(&plaintext, &mut packet).expect("room");
            black_box(receiver.read_message(&packet[..sealed], &mut opened).expect("genuine"));
        }),
        Contender::each("clatter, TransportState", move || {
            let sealed = first.send(&also, &mut packet2).expect("room");
            black_box(second.receive(&packet2[..sealed], &mut opened2).expect("genuine"));
        }),
    ]
}
