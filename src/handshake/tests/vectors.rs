//! tests/vectors/handshake.json: whole handshakes with fixed secrets, which another language can repeat.
//!
//! Everything in the file is computed by hand (see `by_hand`), and this crate must send and derive the same bytes.
//! `VITALWIRE_BLESS=1 cargo test --lib vectors` writes the files anew; without it they are compared.

use super::by_hand::{Key, Message, Pair, Run, derive, extract, hello_key, hex, with_mac};
use super::*;
use crate::crypto::{SessionSecrets, hazmat};
use serde_json::{Map, Value, json};

/// A generator that gives these 32 bytes, once.
pub(super) struct Once(pub(super) Option<Key>);

impl Entropy for Once {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        out.copy_from_slice(&self.0.take().ok_or(EntropyError)?);
        Ok(())
    }
}

pub(super) const ATTEMPT: &[u8] = b"boot 1, attempt 1";
pub(super) const DEVICE_RANDOM: Key = [0xde; 32];
pub(super) const BACKEND_RANDOM: Key = [0xba; 32];

pub(super) fn ephemeral(static_secret: &Key, random: &Key, context: &[u8]) -> Key {
    let hedge = derive(&extract(&[0; 32], static_secret), "hedge", b"");
    derive(&extract(&hedge, random), "ephemeral", context)
}

pub(super) fn device_context(header: &[u8]) -> Key {
    hazmat::blake2s(&[&(ATTEMPT.len() as u64).to_le_bytes(), ATTEMPT, header].concat())
}

/// One handshake: by hand, and held against this crate.
fn vector(world: &World, case: Case, name: &str, cookie: Option<Cookie>, offer: bool) -> Value {
    let device_id = [0xd0, 0xd1, 0xd2, 0xd3];
    let pattern_byte = Case::all().iter().position(|other| *other == case).unwrap() as u8 + 1;
    let flags = 4 | if cookie.is_some() { 0x10 } else { 0 } | if case == Case::XxPsk3 { 0x20 } else { 0 };
    let mut header = vec![0x11, pattern_byte, flags];
    header.extend(device_id);
    if case == Case::XxPsk3 {
        header.extend(PSK_ID.0);
    }
    header.extend(cookie.iter().flat_map(|cookie| cookie.0));

    // Payloads.
    let mut hello_items = world.hello_items(case.is_ik());
    if offer {
        hello_items.extend([4, 16]);
        hello_items.extend(world.backend.credential().hash().0);
    }
    let overhead = match case {
        Case::Xx => 32 + 16,
        Case::XxPsk3 => 32 + 16 + 16,
        Case::Ik | Case::IkPsk2 => 32 + 48 + 16 + 16,
    };
    let short = 96usize.saturating_sub(header.len() + overhead + hello_items.len());
    if short > 0 {
        let zeros = short.saturating_sub(2);
        hello_items.extend([63, zeros as u8]);
        hello_items.resize(hello_items.len() + zeros, 0);
    }
    let mut reply_items = vec![1, 5, 9, 9, 9, 9, 9, 2, 6, 0xdc, 0x0b, 0x80, 0x08, 0xa0, 0x38];
    if offer {
        reply_items.extend([4, 16]);
        reply_items.extend(world.backend.credential().hash().0);
    } else {
        reply_items.extend(credential_item(world.backend.credential()));
    }
    let finish_items = credential_item(world.device.credential());

    // Packets.
    let device_ephemeral = ephemeral(&world.device_secret, &DEVICE_RANDOM, &device_context(&header));
    let mut keys = [
        Pair::of(device_ephemeral),
        Pair::of(world.device_secret),
        Pair::of([0; 32]),
        Pair::of(world.backend_secret),
    ];
    let first = Run::new(case, &header, keys, *PSK.bytes()).next(Message::Write(&hello_items));
    let anchor = if case.is_ik() { BACKEND_KEY.0 } else { world.authority.public_key().0 };
    let hello = with_mac(&hello_key(&anchor), &[&header[..], &first].concat());
    let backend_ephemeral = ephemeral(&world.backend_secret, &BACKEND_RANDOM, &hello[hello.len() - 16..]);
    keys[2] = Pair::of(backend_ephemeral);
    let mut run = Run::new(case, &header, keys, *PSK.bytes());
    run.next(Message::Write(&hello_items));
    let reply = [&[0x12][..], &device_id, &run.next(Message::Write(&reply_items))].concat();
    let finish = (!case.is_ik()).then(|| {
        let noise = run.next(Message::Write(&finish_items));
        [&[0x13][..], BACKEND_ID.as_bytes(), &noise].concat()
    });

    // Secrets.
    let handshake_hash = run.noise.hash;
    let split = run.noise.split().concat();
    let chain = extract(&handshake_hash, &split);
    let exporter = derive(&chain, "exporter", b"");
    let (label, context) = ("ward", b"bed 7");
    let export = derive(&exporter, "export", &[&hazmat::blake2s(label.as_bytes())[..], context].concat());

    // This crate does the same.
    let initiator = Initiator {
        connection_id: ConnectionId::new(&device_id).unwrap(),
        cookie,
        backend_credential: offer.then(|| world.backend.credential()),
        ..case.initiator(world)
    };
    let mut out = [0u8; MAX_HELLO];
    let (waiting, len) = initiator.start(ATTEMPT, &mut Once(Some(DEVICE_RANDOM)), &mut out).unwrap();
    assert_eq!(hex(&out[..len]), hex(&hello), "{name}");
    let (early, late) = case.backend_psks();
    let (authentic, _) = world.responder.check_hello(&hello).unwrap();
    let read = world.responder.read_hello(&authentic, early, TIME, &mut Once(Some(BACKEND_RANDOM))).unwrap();
    let mut out = [0u8; MAX_REPLY];
    let (written, len) = read.write_reply(&world.responder, *BACKEND_ID, late, &mut out).unwrap();
    assert_eq!(hex(&out[..len]), hex(&reply), "{name}");
    let outcome = waiting.read_reply(&initiator, TIME, &reply).map_err(|failure| failed(failure).1);
    let (device, backend) = match (outcome.unwrap(), written) {
        (ReplyOutcome::Established(device), ReplyWritten::Established(backend)) => (device, backend),
        (ReplyOutcome::Finish(state), ReplyWritten::AwaitingFinish(awaiting)) => {
            let mut out = [0u8; MAX_HELLO];
            let (device, len) = state.write_finish(&world.device, &mut out).unwrap();
            assert_eq!(Some(hex(&out[..len])), finish.as_deref().map(hex), "{name}");
            let noise = Finish::parse(&out[..len], BACKEND_ID.len()).unwrap().noise;
            match awaiting.read_finish(&world.responder, world.device.identity(), TIME, noise) {
                Ok(backend) => (device, backend),
                Err(_) => panic!("the genuine Finish is read"),
            }
        }
        _ => panic!("the ends disagree about the pattern"),
    };
    assert_agree(&device, &backend);
    for end in [&device, &backend] {
        assert_eq!(end.secrets.handshake_hash, handshake_hash);
        assert_eq!(*end.secrets.chain.exporter().export::<32>(label, context), export);
    }
    let again = SessionSecrets::new(handshake_hash, &split.clone().try_into().unwrap());
    assert_eq!(*again.chain.exporter().export::<32>(label, context), export);

    let mut vector = Map::new();
    let mut put = |key: &str, value: Value| vector.insert(key.into(), value);
    put("name", json!(name));
    put("pattern_byte", json!(pattern_byte));
    put("device_static_secret", json!(hex(&world.device_secret)));
    put("device_static_public", json!(hex(&world.device.public_key().0)));
    put("device_credential", json!(hex(world.device.credential().as_bytes())));
    put("device_random", json!(hex(&DEVICE_RANDOM)));
    put("device_attempt", json!(hex(ATTEMPT)));
    put("device_ephemeral_secret", json!(hex(&device_ephemeral)));
    put("device_connection_id", json!(hex(&device_id)));
    put("backend_static_secret", json!(hex(&world.backend_secret)));
    put("backend_static_public", json!(hex(&world.backend.public_key().0)));
    put("backend_credential", json!(hex(world.backend.credential().as_bytes())));
    put("backend_random", json!(hex(&BACKEND_RANDOM)));
    put("backend_ephemeral_secret", json!(hex(&backend_ephemeral)));
    put("backend_connection_id", json!(hex(BACKEND_ID.as_bytes())));
    put("authority_public", json!(hex(&world.authority.public_key().0)));
    put("verified_at", json!(NOW.0));
    put("psk_id", json!((case == Case::XxPsk3).then(|| hex(&PSK_ID.0))));
    put("psk", json!(case.psk().map(|psk| hex(psk.bytes()))));
    put("cookie", json!(cookie.map(|cookie| hex(&cookie.0))));
    put("hello_key", json!(hex(&hello_key(&anchor))));
    put("hello_header", json!(hex(&header)));
    put("prologue", json!(hex(&[b"vitalwire/1 25519 ChaChaPoly BLAKE2s", &header[..]].concat())));
    put("hello_payload", json!(hex(&hello_items)));
    put("reply_payload", json!(hex(&reply_items)));
    put("finish_payload", json!(finish.as_ref().map(|_| hex(&finish_items))));
    put("hello", json!(hex(&hello)));
    put("reply", json!(hex(&reply)));
    put("finish", json!(finish.as_deref().map(hex)));
    put("handshake_hash", json!(hex(&handshake_hash)));
    put("split_keys", json!(hex(&split)));
    put(
        "epoch_0",
        json!({
            "chain": hex(&chain),
            "device_to_backend": hex(&derive(&chain, "d2b", b"")),
            "backend_to_device": hex(&derive(&chain, "b2d", b"")),
            "resume": hex(&derive(&chain, "resume", b"")),
            "next": hex(&derive(&chain, "next", b"")),
        }),
    );
    put("exporter", json!(hex(&exporter)));
    put("export", json!({ "label": label, "context": hex(context), "bytes": hex(&export) }));
    Value::Object(vector)
}

#[test]
fn handshakes_are_those_of_the_vectors() {
    let world = World::new();
    let cookie = Some(Cookie(core::array::from_fn(|i| 0xc0 + i as u8)));
    let vectors = [
        vector(&world, Case::Xx, "XX", None, false),
        vector(&world, Case::Ik, "IK", None, false),
        vector(&world, Case::XxPsk3, "XXpsk3", None, false),
        vector(&world, Case::IkPsk2, "IKpsk2", None, false),
        vector(&world, Case::Xx, "XX with a cookie", cookie, false),
        vector(&world, Case::XxPsk3, "XXpsk3 with a cookie", cookie, false),
        vector(&world, Case::Ik, "IK with a cookie and a known credential", cookie, true),
        vector(&world, Case::IkPsk2, "IKpsk2 with a cookie and a known credential", cookie, true),
    ];
    let origin = "src/handshake/tests/vectors.rs, by hand and without snow; all byte strings in hex";
    crate::test_vectors::compare_or_bless(
        "handshake.json",
        &json!({ "origin": origin, "handshakes": vectors }),
    );
}
