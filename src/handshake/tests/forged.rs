//! A man in the middle who answers with a Noise message of his own, and what his credential is worth.

use super::*;
use crate::limits::MAX_FAILED_READS;
use by_hand::{Message, Pair, Run};

/// Backends that hold a static key but not what it takes.
fn impostors(world: &World) -> Vec<(&'static str, LocalIdentity, CredentialError)> {
    let secret = [0xee; 32];
    let stranger = Authority::new(SigningKey::from_bytes([0x66; 32]));
    let expired = CredentialRequest { not_after: UnixSeconds(NOW.0 - 1), ..request(2, Role::Backend) };
    let key = StaticSecret::from_bytes(secret).public_key();
    let borrowed =
        LocalIdentity::new(Arc::new(StaticSecret::from_bytes(secret)), key, *world.backend.credential());
    // Signed by the stranger, in the name of the trusted authority.
    let mut renamed = stranger.issue(&key, &request(2, Role::Backend)).unwrap().as_bytes().to_vec();
    renamed[1..9].copy_from_slice(&world.authority.issuer().0);
    let renamed = LocalIdentity::new(
        Arc::new(StaticSecret::from_bytes(secret)),
        key,
        Credential::from_bytes(&renamed).unwrap(),
    );
    vec![
        (
            "a device of the same authority",
            identity(&world.authority, secret, &request(3, Role::Device)),
            CredentialError::WrongRole,
        ),
        (
            "a stranger's authority",
            identity(&stranger, secret, &request(2, Role::Backend)),
            CredentialError::UnknownIssuer,
        ),
        ("a forged signature", renamed, CredentialError::BadSignature),
        ("the true credential with another key", borrowed, CredentialError::BadSignature),
        ("an expired credential", identity(&world.authority, secret, &expired), CredentialError::Expired),
    ]
}

#[test]
fn xx_reply_with_a_bad_credential_leaves_the_handshake_pending() {
    //= SPEC.md#handshake-errors
    //= type=test
    //# A device MUST treat an XX or XXpsk3 Reply whose payload or credential does not pass like one that failed to read.
    let world = World::new();
    for case in [Case::Xx, Case::XxPsk3] {
        let initiator = case.initiator(&world);
        let Exchange { mut waiting, hello, reply, written } = Exchange::of(&world, &initiator, case.psk());
        for (name, local, expected) in impostors(&world) {
            let responder = Responder::new(local, world.anchors, Limits::BACKEND);
            let (_, forged) = answer(&responder, &hello, case.psk()).unwrap();
            let (state, error) = failed(waiting.read_reply(&initiator, TIME, &forged).err().unwrap());
            assert_eq!(error, HandshakeError::Credential(expected), "{name}");
            waiting = state.expect(name);
        }
        let (device, backend, _) = complete(&world, &initiator, waiting, &reply, written).unwrap();
        assert_agree(&device, &backend);
    }
}

#[test]
fn refused_credentials_count_as_failed_reads() {
    //= SPEC.md#handshake-errors
    //= type=test
    //# A failed read of a Reply or Finish MUST leave the handshake pending, at most 16 times.
    let world = World::new();
    let initiator = Case::Xx.initiator(&world);
    let Exchange { mut waiting, hello, .. } = Exchange::of(&world, &initiator, None);
    let (_, local, _) = impostors(&world).remove(0);
    let responder = Responder::new(local, world.anchors, Limits::BACKEND);
    for _ in 0..MAX_FAILED_READS {
        let (_, forged) = answer(&responder, &hello, None).unwrap();
        waiting = failed(waiting.read_reply(&initiator, TIME, &forged).err().unwrap()).0.unwrap();
    }
    let (_, forged) = answer(&responder, &hello, None).unwrap();
    assert!(matches!(waiting.read_reply(&initiator, TIME, &forged), Err(ReplyFailure::Dead(_))));
}

/// A Reply by hand with any payload, from the backend's true key or another.
fn reply_by_hand(world: &World, case: Case, hello: &[u8], secret: [u8; 32], items: &[u8]) -> Vec<u8> {
    let hello = Hello::parse(hello).unwrap();
    let device = Pair::only(hello.noise[..32].try_into().unwrap());
    let keys = [device, Pair::of(world.device_secret), Pair::of([0x77; 32]), Pair::of(secret)];
    let mut run = Run::new(case, hello.header_bytes, keys, *PSK.bytes());
    run.next(Message::Read(hello.noise));
    let noise = run.next(Message::Write(items));
    [&[0x12][..], hello.header.connection_id.as_bytes(), &noise].concat()
}

#[test]
fn reply_with_a_bad_payload_is_pending_in_xx_and_the_end_in_ik() {
    //= SPEC.md#handshake-errors
    //= type=test
    //# A device MUST treat an XX or XXpsk3 Reply whose payload or credential does not pass like one that failed to read.
    //= SPEC.md#handshake-payload
    //= type=test
    //# A reader MUST refuse an item of unknown type below 64, an item that does not belong into its message, and items out of order.
    //= SPEC.md#handshake-payload
    //= type=test
    //# A reader MUST refuse a message that lacks an item which the table requires in it (KnownCredential may stand for Credential only in an IK Reply, and only if the Hello offered that hash).
    let world = World::new();
    let id = [&[1, 5][..], &[9; 5]].concat();
    let limits = vec![2, 6, 0xdc, 0x0b, 0x80, 0x08, 0xa0, 0x38];
    let credential = credential_item(world.backend.credential());
    let known = [&[4, 16][..], &world.backend.credential().hash().0].concat();
    let concat = |items: &[&Vec<u8>]| items.iter().flat_map(|item| item.iter().copied()).collect::<Vec<u8>>();
    let zeros = vec![63, 3, 0, 0, 0];
    let extension = vec![64, 2, 1, 2];
    let good = [
        concat(&[&id, &limits, &credential]),
        concat(&[&id, &limits, &credential, &zeros]),
        concat(&[&id, &limits, &credential, &zeros, &extension, &vec![0x80, 0x01, 0]]),
    ];
    let bad = [
        ("empty", vec![]),
        ("no id", concat(&[&limits, &credential])),
        ("no limits", concat(&[&id, &credential])),
        ("no credential", concat(&[&id, &limits])),
        ("a hash that was not offered", concat(&[&id, &limits, &known])),
        ("both", concat(&[&id, &limits, &credential, &known])),
        ("out of order", concat(&[&limits, &id, &credential])),
        ("twice", concat(&[&id, &id, &limits, &credential])),
        ("type 0", concat(&[&vec![0, 0], &id, &limits, &credential])),
        ("reserved", concat(&[&id, &limits, &credential, &vec![5, 0]])),
        ("unknown below 64", concat(&[&id, &limits, &credential, &vec![62, 0]])),
        ("padding that is not zero", concat(&[&id, &limits, &credential, &vec![63, 2, 0, 1]])),
        ("extension before padding", concat(&[&id, &limits, &credential, &extension, &zeros])),
        ("a long varint", concat(&[&id, &limits, &credential, &vec![0xbf, 0x00, 0]])),
        ("cut", concat(&[&id, &limits, &credential, &vec![63, 4, 0, 0, 0]])),
        ("id of nine bytes", concat(&[&[&[1, 9][..], &[9; 9]].concat(), &limits, &credential])),
        (
            "limits with a byte more",
            concat(&[&id, &vec![2, 7, 0xdc, 0x0b, 0x80, 0x08, 0xa0, 0x38, 0], &credential]),
        ),
        ("packets of 63 bytes", concat(&[&id, &vec![2, 5, 63, 0x80, 0x08, 0xa0, 0x38], &credential])),
        ("a window of 63", concat(&[&id, &vec![2, 5, 0xdc, 0x0b, 63, 0xa0, 0x38], &credential])),
        ("a window of 8193", concat(&[&id, &vec![2, 6, 0xdc, 0x0b, 0x81, 0x40, 0xa0, 0x38], &credential])),
        ("no idle time", concat(&[&id, &vec![2, 5, 0xdc, 0x0b, 0x80, 0x08, 0], &credential])),
        ("a hash too short", concat(&[&id, &limits, &vec![4, 1, 7]])),
    ];
    for case in Case::all() {
        let initiator = case.initiator(&world);
        let start = || {
            let mut out = [0u8; MAX_HELLO];
            let (waiting, len) = initiator.start(b"", &mut OsEntropy, &mut out).unwrap();
            (waiting, out[..len].to_vec())
        };
        let by_hand = |hello: &[u8], items: &[u8]| {
            if case.is_ik() {
                // Nobody but the device can compute what stands in its IK Hello; so the backend's keys do it here.
                let hello = Hello::parse(hello).unwrap();
                let device = Pair::only(hello.noise[..32].try_into().unwrap());
                let keys =
                    [device, Pair::only([0; 32]), Pair::of([0x77; 32]), Pair::of(world.backend_secret)];
                let mut run = Run::new(case, hello.header_bytes, keys, *PSK.bytes());
                run.next(Message::Read(hello.noise));
                let noise = run.next(Message::Write(items));
                [&[0x12][..], hello.header.connection_id.as_bytes(), &noise].concat()
            } else {
                reply_by_hand(&world, case, hello, world.backend_secret, items)
            }
        };
        for items in &good {
            let (waiting, hello) = start();
            assert!(waiting.read_reply(&initiator, TIME, &by_hand(&hello, items)).is_ok());
        }
        for (name, items) in &bad {
            let (waiting, hello) = start();
            match waiting.read_reply(&initiator, TIME, &by_hand(&hello, items)) {
                Err(ReplyFailure::Dead(error)) if case.is_ik() => {
                    assert_eq!(error, HandshakeError::Malformed)
                }
                Err(ReplyFailure::Pending(state, error)) if !case.is_ik() => {
                    assert_eq!(error, HandshakeError::Malformed);
                    assert!(state.read_reply(&initiator, TIME, &by_hand(&hello, &good[0])).is_ok());
                }
                _ => panic!("{case:?}: {name}"),
            }
        }
    }
}

#[test]
fn ik_reply_with_a_bad_credential_is_the_end() {
    let world = World::new();
    for case in [Case::Ik, Case::IkPsk2] {
        for role in [Role::Device, Role::Backend] {
            let not_after = UnixSeconds(if role == Role::Backend { NOW.0 - 1 } else { NOW.0 });
            let bad = CredentialRequest { not_after, ..request(2, role) };
            let local = identity(&world.authority, world.backend_secret, &bad);
            let responder = Responder::new(local, world.anchors, Limits::BACKEND);
            let initiator = case.initiator(&world);
            let exchange = Exchange::with(&responder, &initiator, case.psk()).unwrap();
            let result = exchange.waiting.read_reply(&initiator, TIME, &exchange.reply);
            assert!(matches!(result, Err(ReplyFailure::Dead(HandshakeError::Credential(_)))));
        }
    }
}

#[test]
fn true_credential_without_its_key_does_not_even_read() {
    // The credential and the static public key are known to everybody who once connected.
    let world = World::new();
    let initiator = Case::Xx.initiator(&world);
    let Exchange { waiting, hello, reply, written } = Exchange::of(&world, &initiator, None);
    let parsed = Hello::parse(&hello).unwrap();
    let device = Pair::only(parsed.noise[..32].try_into().unwrap());
    let keys = [device, Pair::only([0; 32]), Pair::of([0x77; 32]), Pair::only(BACKEND_KEY.0)];
    let mut run = Run::new(Case::Xx, parsed.header_bytes, keys, [0; 32]);
    run.next(Message::Read(parsed.noise));
    let items = [
        &[1, 5, 9, 9, 9, 9, 9, 2, 6, 0xdc, 0x0b, 0x80, 0x08, 0xa0, 0x38][..],
        &credential_item(world.backend.credential()),
    ];
    let noise = run.next(Message::Write(&items.concat()));
    let forged = [&[0x12][..], initiator.connection_id.as_bytes(), &noise].concat();
    // The static key in it decrypts, the payload does not; the genuine Reply still does.
    let (state, error) = failed(waiting.read_reply(&initiator, TIME, &forged).err().unwrap());
    assert_eq!(error, HandshakeError::Noise);
    let (device, backend, _) = complete(&world, &initiator, state.unwrap(), &reply, written).unwrap();
    assert_agree(&device, &backend);
}

#[test]
fn device_with_a_bad_credential_is_refused_and_ends_the_handshake() {
    let world = World::new();
    for (name, local, expected) in impostors(&world) {
        if expected == CredentialError::WrongRole {
            continue;
        }
        // The same impostors, as devices.
        let expected =
            if expected == CredentialError::BadSignature { CredentialError::WrongRole } else { expected };
        for case in Case::all() {
            let initiator = Initiator { local: &local, ..case.initiator(&world) };
            let error = match Exchange::with(&world.responder, &initiator, case.psk()) {
                Err(error) => {
                    assert!(case.is_ik(), "in XX nothing is known yet");
                    error
                }
                Ok(Exchange { waiting, reply, written, .. }) => {
                    complete(&world, &initiator, waiting, &reply, written).err().unwrap()
                }
            };
            let refused = matches!(error, HandshakeError::Credential(error) if error == expected || error == CredentialError::WrongRole);
            assert!(refused, "{name} {case:?}: {error}");
        }
    }
}

#[test]
fn stolen_device_key_does_not_let_anyone_play_the_backend() {
    // Key compromise impersonation: the forger knows the device's static key, the pinned backend's public key, and all
    // credentials, but not the backend's secret key.
    let world = World::new();
    let initiator = Case::Ik.initiator(&world);
    let Exchange { waiting, hello, reply, written } = Exchange::of(&world, &initiator, None);
    let parsed = Hello::parse(&hello).unwrap();
    let device = Pair::only(parsed.noise[..32].try_into().unwrap());
    // es is out of reach; zero is as good a guess as any.
    let keys = [device, Pair::of(world.device_secret), Pair::of([0x77; 32]), Pair::only(BACKEND_KEY.0)];
    let mut run = Run::new(Case::Ik, parsed.header_bytes, keys, [0; 32]);
    run.next(Message::Write(&world.hello_items(true)));
    let items = [
        &[1, 5, 9, 9, 9, 9, 9, 2, 6, 0xdc, 0x0b, 0x80, 0x08, 0xa0, 0x38][..],
        &credential_item(world.backend.credential()),
    ];
    let noise = run.next(Message::Write(&items.concat()));
    let forged = [&[0x12][..], initiator.connection_id.as_bytes(), &noise].concat();
    let (state, error) = failed(waiting.read_reply(&initiator, TIME, &forged).err().unwrap());
    assert_eq!(error, HandshakeError::Noise);
    assert!(complete(&world, &initiator, state.unwrap(), &reply, written).is_ok());
}
