//! A backend's end of a handshake with real keys.
//!
//! Held: a Hello that is not genuine fails at its MAC; with a valid MAC, it fails in Noise unless the pattern has
//! no secret in it yet (XX); a Finish is accepted exactly if it is the genuine one; a failure that leaves the
//! handshake pending happens at most 16 times, and the genuine Finish still passes then, unless an altered copy came
//! before in which its static key still decrypts.
//!
//! Input: pattern and mode ‖ what the mode needs, see [`run`].

use crate::input::Input;
use crate::world::{PSK_ID, SeedRng, Shape, World, anchor, hello_mac, psk, time, world};
use std::sync::LazyLock;
use vitalwire::codec::Writer;
use vitalwire::handshake::*;
use vitalwire::limits::{MAX_FAILED_READS, MAX_HELLO, MAX_REPLY};
use vitalwire::wire::{ConnectionId, Cookie, Finish, Hello, HelloHeader, Pattern};

/// The encrypted static key, with its tag, at the front of a Finish's Noise message.
const STATIC_LEN: usize = 32 + 16;

/// A genuine handshake of one pattern. Both ends' generators are fixed, so that it always comes out the same.
pub struct Genuine {
    pub hello: Vec<u8>,
    pub reply: Vec<u8>,
    /// Empty in IK and IKpsk2.
    pub finish: Vec<u8>,
}

pub fn connection_id() -> ConnectionId {
    ConnectionId::new(&[7; 5]).expect("5 bytes")
}

/// Reads a Hello and writes a Reply, as a backend does that knows the psk.
pub fn respond(world: &World, hello: &[u8]) -> Result<(ReplyWritten, Vec<u8>), HandshakeError> {
    let (authentic, _) = world.responder.check_hello(hello)?;
    let psk = psk();
    let early = authentic.psk_id().is_some().then_some(&psk);
    let read = world.responder.read_hello(&authentic, early, time(), &mut SeedRng(22))?;
    let late = (read.pattern() == Pattern::IkPsk2).then_some(&psk);
    let mut out = [0u8; MAX_REPLY];
    let (next, len) = read.write_reply(&world.responder, connection_id(), late, &mut out)?;
    Ok((next, out[..len].to_vec()))
}

pub fn genuine(shape: Shape) -> &'static Genuine {
    static ALL: LazyLock<[Genuine; 4]> = LazyLock::new(|| Shape::ALL.map(make));
    &ALL[shape as usize]
}

fn make(shape: Shape) -> Genuine {
    let world = world();
    let (psk, key) = (psk(), world.backend.public_key());
    let initiator = world.initiator(0, shape, &psk, &key);
    let mut hello = [0u8; MAX_HELLO];
    let (waiting, len) =
        initiator.start(b"1", &mut SeedRng(11), &mut hello).expect("the buffer is large enough");
    let hello = hello[..len].to_vec();
    let (_, reply) = respond(world, &hello).expect("a genuine Hello");
    let finish = match waiting.read_reply(&initiator, time(), &reply) {
        Ok(ReplyOutcome::Finish(read)) => {
            let mut out = [0u8; MAX_HELLO];
            let (_, len) =
                read.write_finish(&world.devices[0], &mut out).expect("the buffer is large enough");
            out[..len].to_vec()
        }
        Ok(ReplyOutcome::Established(_)) => Vec::new(),
        Err(_) => panic!("a genuine Reply"),
    };
    Genuine { hello, reply, finish }
}

pub fn run(data: &[u8]) {
    let world = world();
    let mut input = Input::new(data);
    let selector = input.u8();
    let shape = Shape::ALL[usize::from(selector & 3)];
    let genuine = genuine(shape);
    match selector >> 2 & 7 {
        // Raw bytes.
        0 => {
            let packet = input.rest();
            let right = Hello::parse(packet).is_ok_and(|hello| {
                let shape = if matches!(hello.header.pattern, Pattern::Ik | Pattern::IkPsk2) {
                    Shape::Ik
                } else {
                    Shape::Xx
                };
                *hello.mac == hello_mac(&anchor(shape), hello.covered)
            });
            assert_eq!(world.responder.check_hello(packet).is_ok(), right);
        }
        // An altered Hello.
        1 => {
            let mut hello = genuine.hello.clone();
            let altered = input.mutate(&mut hello);
            assert_eq!(world.responder.check_hello(&hello).is_ok(), !altered);
        }
        // An altered Hello with a MAC that is right.
        2 => {
            let mut hello = genuine.hello.clone();
            hello.truncate(hello.len() - 16);
            input.mutate(&mut hello);
            sealed(world, shape, hello);
        }
        // Any Noise message behind any header, with a MAC that is right.
        3 => {
            let pattern = match shape {
                Shape::Xx => Pattern::Xx,
                Shape::Ik => Pattern::Ik,
                Shape::XxPsk3 => Pattern::XxPsk3(PSK_ID),
                Shape::IkPsk2 => Pattern::IkPsk2,
            };
            let connection_id =
                ConnectionId::new(input.take(usize::from(selector >> 5))).expect("7 bytes at most");
            let cookie = (input.u8() & 1 == 1).then_some(Cookie([3; 16]));
            let mut hello = vec![0u8; 64];
            let mut writer = Writer::new(&mut hello);
            HelloHeader { pattern, connection_id, cookie }.write(&mut writer).expect("35 bytes at most");
            let len = writer.len();
            hello.truncate(len);
            hello.extend_from_slice(input.rest());
            sealed(world, shape, hello);
        }
        // Altered Finishes, then the genuine one.
        _ => finishes(world, genuine, &mut input),
    }
}

fn sealed(world: &World, shape: Shape, mut hello: Vec<u8>) {
    hello.extend_from_slice(&hello_mac(&anchor(shape), &hello));
    let altered = hello != genuine(shape).hello;
    let result = respond(world, &hello);
    if !altered {
        assert!(result.is_ok());
    }
    if let Ok((written, reply)) = result {
        assert!(reply.len() <= 3 * hello.len());
        // Without a secret in the first message, nothing but its form can be wrong.
        let proves = matches!(written, ReplyWritten::Established(_));
        assert!(!altered || !proves, "an altered Hello was taken for the device's");
    }
}

fn finishes(world: &World, genuine: &Genuine, input: &mut Input<'_>) {
    let Ok((ReplyWritten::AwaitingFinish(mut state), reply)) = respond(world, &genuine.hello) else { return };
    assert_eq!(reply, genuine.reply, "the handshake is deterministic");
    let id_len = connection_id().len();
    let registered = world.devices[0].identity();
    let (mut failures, mut spoiled) = (0, false);
    while !input.is_empty() {
        let mut finish = genuine.finish.clone();
        let mutate = input.u8() & 1 == 0;
        if mutate {
            input.mutate(&mut finish);
        } else {
            finish.truncate(1 + id_len);
            finish.extend_from_slice(input.long());
        }
        let Ok(parsed) = Finish::parse(&finish, id_len) else { continue };
        let expected = &genuine.finish[1 + id_len..];
        let same = parsed.noise == expected;
        // An altered copy in which the static key still decrypts costs a new Hello (SPEC.md, "Handshake errors").
        spoiled |= !same && parsed.noise.starts_with(&expected[..STATIC_LEN]);
        match state.read_finish(&world.responder, registered, time(), parsed.noise) {
            Ok(_) => {
                assert!(same, "an altered Finish was accepted");
                return;
            }
            Err(FinishFailure::Pending(pending, _)) => {
                assert!(!same || spoiled, "the genuine Finish failed");
                failures += 1;
                assert!(failures <= u32::from(MAX_FAILED_READS));
                state = pending;
            }
            Err(FinishFailure::Dead(_)) => return assert!(!same || spoiled, "the genuine Finish failed"),
        }
    }
    let parsed = Finish::parse(&genuine.finish, id_len).expect("it is genuine");
    let done = state.read_finish(&world.responder, registered, time(), parsed.noise);
    assert!(done.is_ok() || spoiled, "the genuine Finish failed after forgeries");
}
