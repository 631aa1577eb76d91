//! A device's end of a handshake with real keys.
//!
//! Held: a Reply is accepted exactly if it is the genuine one; a Retry is followed exactly if its MAC is right;
//! failures leave the handshake pending at most 16 times, and then the genuine Reply still passes.
//!
//! Input: pattern (2 bits) ‖ operations: 0 altered Reply, 1 raw Noise message, 2 altered Retry, 3 the genuine Reply,
//! 4 raw packet.

use crate::input::Input;
use crate::responder::genuine;
use crate::world::{SeedRng, Shape, anchor, psk, time, world};
use vitalwire::crypto::{PublicKey, SignatureKey};
use vitalwire::handshake::*;
use vitalwire::limits::{MAX_FAILED_READS, MAX_HELLO};

/// The genuine Retry to a Hello.
pub fn retry(shape: Shape, hello: &[u8]) -> Vec<u8> {
    let key = if shape.ik() {
        HelloKey::from_backend(&PublicKey(anchor(shape)))
    } else {
        HelloKey::from_authority(&SignatureKey(anchor(shape)))
    };
    let mut packet = [[0x14].as_slice(), &[0xcc; 16]].concat();
    let mac = key.retry_mac(&packet, hello.last_chunk().expect("it ends in a MAC"));
    packet.extend_from_slice(&mac);
    packet
}

pub fn run(data: &[u8]) {
    let world = world();
    let mut input = Input::new(data);
    let shape = Shape::ALL[input.below(4)];
    let genuine = genuine(shape);
    let (psk, key) = (psk(), world.backend.public_key());
    let initiator = world.initiator(0, shape, &psk, &key);
    let mut hello = [0u8; MAX_HELLO];
    let (mut state, len) =
        initiator.start(b"1", &mut SeedRng(11), &mut hello).expect("the buffer is large enough");
    assert_eq!(hello[..len], genuine.hello, "the handshake is deterministic");
    let retry = retry(shape, &genuine.hello);
    let mut failures = 0u32;
    loop {
        let mut packet = genuine.reply.clone();
        let op = if input.is_empty() { 3 } else { input.below(5) };
        match op {
            0 => drop(input.mutate(&mut packet)),
            1 => {
                packet.truncate(1);
                packet.extend_from_slice(input.long());
            }
            2 => {
                let mut packet = retry.clone();
                let altered = input.mutate(&mut packet);
                assert_eq!(state.follow_retry(&packet).is_some(), !altered);
                continue;
            }
            4 => packet = input.long().to_vec(),
            _ => {}
        }
        let same = packet == genuine.reply;
        match state.read_reply(&initiator, time(), &packet) {
            Ok(outcome) => {
                assert!(same, "an altered Reply was accepted");
                finish(outcome, &genuine.finish);
                return;
            }
            Err(ReplyFailure::Pending(pending, _)) => {
                assert!(!same, "the genuine Reply failed");
                state = pending;
            }
            Err(ReplyFailure::Dead(_)) => {
                assert!(!same, "the genuine Reply failed");
                assert!(
                    failures >= u32::from(MAX_FAILED_READS),
                    "only the backend's own hand ends a handshake at once"
                );
                return;
            }
        }
        failures += 1;
    }
}

fn finish(outcome: ReplyOutcome, expected: &[u8]) {
    match outcome {
        ReplyOutcome::Established(_) => assert!(expected.is_empty()),
        ReplyOutcome::Finish(read) => {
            let mut out = [0u8; MAX_HELLO];
            let (_, len) =
                read.write_finish(&world().devices[0], &mut out).expect("the buffer is large enough");
            assert_eq!(out[..len], *expected);
        }
    }
}
