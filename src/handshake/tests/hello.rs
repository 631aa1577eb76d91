//! The Hello's MAC, lengths of all packets, and where randomness fails.

use super::*;
use crate::limits::{MAX_UNIX_SECONDS, MIN_HELLO};
use crate::time::Duration;
use by_hand::{hello_key, with_mac};

#[test]
fn mac_key_follows_from_the_anchor_of_the_pattern() {
    //= SPEC.md#hello
    //= type=test
    //# A backend MUST NOT answer a Hello whose MAC does not verify.
    let world = World::new();
    let anchors = [world.authority.public_key().0, BACKEND_KEY.0, world.device.public_key().0, [0; 32]];
    for case in Case::all() {
        let hello = Exchange::of(&world, &case.initiator(&world), case.psk()).hello;
        for (index, anchor) in anchors.iter().enumerate() {
            let again = with_mac(&hello_key(anchor), &hello[..hello.len() - 16]);
            let right = index == usize::from(case.is_ik());
            assert_eq!(again == hello, right);
            assert_eq!(world.responder.check_hello(&again).is_ok(), right, "{case:?} {index}");
        }
    }
}

#[test]
fn backend_is_silent_to_strangers() {
    //= SPEC.md#hello
    //= type=test
    //# A backend MUST NOT answer a Hello whose MAC does not verify.
    let world = World::new();
    let stranger = Authority::new(SigningKey::from_bytes([0x66; 32]));
    let anchors = TrustAnchors::new(&[stranger.public_key()]).unwrap();
    for case in [Case::Xx, Case::XxPsk3] {
        let initiator = Initiator { anchors: &anchors, ..case.initiator(&world) };
        let result = Exchange::with(&world.responder, &initiator, case.psk());
        assert_eq!(result.err(), Some(HandshakeError::HelloMac));
    }
}

#[test]
fn every_authority_of_both_ends_is_found() {
    let world = World::new();
    let second = Authority::new(SigningKey::from_bytes([0x22; 32]));
    let both = TrustAnchors::new(&[second.public_key(), world.authority.public_key()]).unwrap();
    // The device trusts two and tries them in turn; this backend knows the second only.
    let results: Vec<_> = (0..4)
        .map(|anchor_index| {
            let initiator = Initiator { anchors: &both, anchor_index, ..world.initiator() };
            run(&world, &initiator, None).map(|_| ())
        })
        .collect();
    let (silent, fine) = (Err(HandshakeError::HelloMac), Ok(()));
    assert_eq!(results, [silent, fine, silent, fine]);
    // A backend that trusts both answers either.
    let responder = Responder::new(world.backend.clone(), both, Limits::BACKEND);
    for anchor_index in [0, 1] {
        let initiator = Initiator { anchors: &both, anchor_index, ..world.initiator() };
        assert!(Exchange::with(&responder, &initiator, None).is_ok());
    }
}

#[test]
fn hello_of_96_to_512_bytes_is_looked_at() {
    //= SPEC.md#hello
    //= type=test
    //# A Hello MUST be at least 96 and at most 512 bytes long.
    let world = World::new();
    let key = hello_key(&world.authority.public_key().0);
    for (len, fine) in [(95, false), (96, true), (97, true), (511, true), (512, true), (513, false)] {
        let mut hello = vec![0x11, 1, 0];
        hello.resize(len - 16, 0x5a);
        let result = world.responder.check_hello(&with_mac(&key, &hello)).map(|_| ());
        assert_eq!(result, if fine { Ok(()) } else { Err(HandshakeError::Malformed) }, "{len}");
    }
}

#[test]
fn short_hello_is_padded() {
    //= SPEC.md#handshake-payload
    //= type=test
    //# A device MUST pad a Hello that would be shorter than 96 bytes.
    let world = World::new();
    for len in 0..=8 {
        for cookie in [None, Some(Cookie([1; 16]))] {
            for psk in [None, Some((PSK_ID, &PSK))] {
                let connection_id = ConnectionId::new(&[1; 8][..len]).unwrap();
                let initiator = Initiator { connection_id, cookie, psk, ..world.initiator() };
                let (.., lens) = run_with_empty_id(&world, &initiator, psk.map(|(_, psk)| psk));
                assert!(lens[0] >= MIN_HELLO, "{len} {cookie:?}");
                assert!(lens[0] <= MIN_HELLO + 11 || cookie.is_some() || psk.is_some(), "{lens:?}");
            }
        }
    }
}

fn run_with_empty_id(
    world: &World,
    initiator: &Initiator<'_>,
    psk: Option<&Psk>,
) -> (Established, Established, [usize; 3]) {
    run(world, initiator, psk).unwrap()
}

#[test]
fn packets_stay_within_their_limits_with_everything_at_its_longest() {
    //= SPEC.md#reply-finish
    //= type=test
    //# A Reply MUST NOT be longer than 288 bytes, three times the shortest Hello.
    let mut world = World::new();
    let last = UnixSeconds(MAX_UNIX_SECONDS - 1);
    let longest = |subject, role| CredentialRequest {
        serial: u32::MAX,
        scopes: Scopes::from_bits(u32::MAX),
        issued: last,
        not_before: last,
        not_after: last,
        ..request(subject, role)
    };
    let time = Time::floor_only(last);
    world.device = identity(&world.authority, world.device_secret, &longest(1, Role::Device));
    world.backend = identity(&world.authority, world.backend_secret, &longest(2, Role::Backend));
    assert_eq!(world.backend.credential().as_bytes().len(), 115);
    let limits = Limits::new(u16::MAX, 8192, Duration::from_secs(604_800)).unwrap();
    world.responder = Responder::new(world.backend.clone(), world.anchors, limits);
    let id = ConnectionId::new(&[0xff; 8]).unwrap();
    for case in Case::all() {
        for offer in [false, true] {
            let initiator = Initiator {
                connection_id: id,
                cookie: Some(Cookie([0xff; 16])),
                limits,
                backend_credential: offer.then(|| world.backend.credential()),
                ..case.initiator(&world)
            };
            let (early, late) = case.backend_psks();
            let (mut hello, mut reply, mut finish) = ([0; MAX_HELLO], [0; MAX_REPLY], [0; MAX_HELLO]);
            let (waiting, hello_len) = initiator.start(b"", &mut OsEntropy, &mut hello).unwrap();
            let (authentic, _) = world.responder.check_hello(&hello[..hello_len]).unwrap();
            let read = world.responder.read_hello(&authentic, early, time, &mut OsEntropy).unwrap();
            let (_, reply_len) = read.write_reply(&world.responder, id, late, &mut reply).unwrap();
            let finish_len = match waiting.read_reply(&initiator, time, &reply[..reply_len]) {
                Ok(ReplyOutcome::Finish(read)) => read.write_finish(&world.device, &mut finish).unwrap().1,
                Ok(ReplyOutcome::Established(_)) => 0,
                Err(_) => panic!("the genuine Reply is read"),
            };
            println!("longest {case:?}, credential offered {offer}: {hello_len} {reply_len} {finish_len}");
            assert!((MIN_HELLO..=MAX_HELLO).contains(&hello_len));
            assert!(reply_len <= MAX_REPLY && reply_len <= 3 * MIN_HELLO);
            assert!(finish_len <= MAX_HELLO);
        }
    }
}

/// A generator that fails.
struct Failing;

impl Entropy for Failing {
    fn fill(&mut self, _: &mut [u8]) -> Result<(), EntropyError> {
        Err(EntropyError)
    }
}

#[test]
fn nothing_is_sent_without_randomness() {
    let world = World::new();
    for case in Case::all() {
        let mut out = [0u8; MAX_HELLO];
        let initiator = case.initiator(&world);
        let error = Some(HandshakeError::Entropy(EntropyError));
        assert_eq!(initiator.start(b"", &mut Failing, &mut out).err(), error);
        assert_eq!(out, [0; MAX_HELLO]);
        let hello = Exchange::of(&world, &initiator, case.psk()).hello;
        let (authentic, _) = world.responder.check_hello(&hello).unwrap();
        let (early, _) = case.backend_psks();
        assert_eq!(world.responder.read_hello(&authentic, early, TIME, &mut Failing).err(), error);
    }
}

#[test]
fn ephemeral_keys_differ_even_with_a_constant_generator() {
    let world = World::new();
    let hello = |case: Case, context: &[u8]| {
        let mut out = [0u8; MAX_HELLO];
        let (_, len) = case.initiator(&world).start(context, &mut Constant(0), &mut out).unwrap();
        out[..len].to_vec()
    };
    let ephemeral = |hello: &[u8]| Hello::parse(hello).unwrap().noise[..32].to_vec();
    let mut seen = std::collections::BTreeSet::new();
    for case in Case::all() {
        for context in [&b""[..], b"1", b"2", b"11"] {
            assert!(seen.insert(ephemeral(&hello(case, context))), "{case:?} {context:?}");
        }
    }
    // Another static key, all else equal.
    let mut other = World::new();
    other.device = identity(&other.authority, [0xd2; 32], &request(1, Role::Device));
    let mut out = [0u8; MAX_HELLO];
    let (_, len) = Case::Xx.initiator(&other).start(b"", &mut Constant(0), &mut out).unwrap();
    assert!(seen.insert(ephemeral(&out[..len])));

    // The backend's key differs for every Hello; the same Hello, after the backend forgot it, gets the same one again.
    let reply = |hello: &[u8]| {
        let (authentic, _) = world.responder.check_hello(hello).unwrap();
        let read = world.responder.read_hello(&authentic, None, TIME, &mut Constant(0)).unwrap();
        let mut out = [0u8; MAX_REPLY];
        let (_, _len) = read.write_reply(&world.responder, *BACKEND_ID, None, &mut out).unwrap();
        out[5..37].to_vec()
    };
    let (first, second) = (hello(Case::Xx, b"1"), hello(Case::Xx, b"2"));
    assert_ne!(reply(&first), reply(&second));
    assert_eq!(reply(&first), reply(&first));
}
