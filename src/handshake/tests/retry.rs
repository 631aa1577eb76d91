//! Retry: whom the device believes, and how often.

use super::*;
use crate::codec::Writer;
use crate::wire::RetryHeader;

const COOKIE: Cookie = Cookie([0xc0; 16]);

fn retry(world: &World, hello: &[u8], connection_id: ConnectionId) -> Vec<u8> {
    let (authentic, key) = world.responder.check_hello(hello).unwrap();
    let mut out = [0u8; 64];
    let mut writer = Writer::new(&mut out);
    RetryHeader { connection_id, cookie: COOKIE }.write(&mut writer).unwrap();
    let mac = key.retry_mac(writer.written(), &authentic.mac());
    writer.bytes(&mac).unwrap();
    writer.written().to_vec()
}

#[test]
fn is_followed_once_per_attempt() {
    //= SPEC.md#retry
    //= type=test
    //# A device MUST follow at most one Retry per attempt, and none after a valid Reply.
    let world = World::new();
    for case in Case::all() {
        let initiator = case.initiator(&world);
        let Exchange { waiting, hello, .. } = Exchange::of(&world, &initiator, case.psk());
        let packet = retry(&world, &hello, initiator.connection_id);
        let cookie = waiting.follow_retry(&packet);
        assert_eq!(cookie, Some(COOKIE));
        // The new Hello has a new ephemeral key and carries the cookie, and the handshake goes through.
        let again = Initiator { cookie, ..initiator };
        let Exchange { waiting, hello: second, reply, written } = Exchange::of(&world, &again, case.psk());
        assert_ne!(Hello::parse(&second).unwrap().noise[..32], Hello::parse(&hello).unwrap().noise[..32]);
        assert_eq!(Hello::parse(&second).unwrap().header.cookie, Some(COOKIE));
        let another = retry(&world, &second, initiator.connection_id);
        assert_eq!(waiting.follow_retry(&another), None);
        // "None after a valid Reply" needs no check: the state that could follow one is gone by then.
        let (device, backend, _) = complete(&world, &again, waiting, &reply, written).unwrap();
        assert_agree(&device, &backend);
    }
}

#[test]
fn is_ignored_unless_its_mac_is_for_the_latest_hello() {
    //= SPEC.md#retry
    //= type=test
    //# A device MUST ignore a Retry whose MAC does not verify for its own latest Hello.
    let world = World::new();
    for case in Case::all() {
        let initiator = case.initiator(&world);
        let Exchange { waiting, hello, .. } = Exchange::of(&world, &initiator, case.psk());
        let genuine = retry(&world, &hello, initiator.connection_id);
        let other = Exchange::of(&world, &initiator, case.psk()).hello;
        assert_eq!(waiting.follow_retry(&retry(&world, &other, initiator.connection_id)), None);
        assert_eq!(waiting.follow_retry(&retry(&world, &hello, ConnectionId::new(&[5; 4]).unwrap())), None);
        for bit in 0..genuine.len() * 8 {
            let mut altered = genuine.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(waiting.follow_retry(&altered), None, "bit {bit}");
        }
        for len in 0..genuine.len() {
            assert_eq!(waiting.follow_retry(&genuine[..len]), None);
        }
        assert_eq!(waiting.follow_retry(&[&genuine[..], &[0]].concat()), None);
        // A MAC under the key of the other anchor.
        let anchor = if case.is_ik() { world.authority.public_key().0 } else { BACKEND_KEY.0 };
        let covered = &genuine[..genuine.len() - 16];
        let hello_mac = &hello[hello.len() - 16..];
        let mac =
            crate::crypto::hazmat::hmac_blake2s(&by_hand::hello_key(&anchor), &[covered, hello_mac].concat());
        assert_eq!(waiting.follow_retry(&[covered, &mac[..16]].concat()), None);
        assert_eq!(waiting.follow_retry(&genuine), Some(COOKIE), "none of this has changed anything");
    }
}

#[test]
fn mac_of_a_hello_is_not_the_mac_of_a_retry() {
    // Both are made with one key; the first byte keeps them apart, and a Retry goes on with 16 bytes more.
    let key = HelloKey::from_backend(&BACKEND_KEY);
    let mac = key.hello_mac(&[0x14; 48]);
    assert_eq!(key.retry_mac(&[0x14; 32], &[0x14; 16]), mac, "the MAC is over the plain concatenation");
    let world = World::new();
    assert!(matches!(
        world.responder.check_hello(&[&[0x14; 96][..], &mac].concat()),
        Err(HandshakeError::Malformed)
    ));
}
