use super::*;
use crate::codec::BufferTooSmall;
use crate::crypto::hazmat;
use crate::limits::MAX_PACKET;
use proptest::prelude::*;
use std::collections::BTreeSet;

#[test]
fn failed_opens_change_nothing_but_their_count() {
    //= SPEC.md#packets
    //= type=test
    //# A discarded packet MUST change nothing but a counter of discards.
    //= SPEC.md#replay-window
    //= type=test
    //# A receiver MUST mark a counter only after the packet has authenticated.
    let (mut device, mut backend) = pair();
    pass(&mut device, &mut backend, at(0));
    let packet = seal(&mut device, at(0));
    let before = format!("{backend:?}");
    for bit in 0..packet.len() * 8 {
        let mut forged = packet.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let failed = backend.receiving.failed;
        assert!(open(&mut backend, at(0), &forged).is_err());
        assert!(backend.receiving.failed <= failed + 1);
        backend.receiving.failed = 0;
        assert_eq!(format!("{backend:?}"), before);
    }
    for len in 0..packet.len() {
        assert!(open(&mut backend, at(0), &packet[..len]).is_err());
    }
    assert_eq!(backend.highest_received(), 0);
    assert_eq!(open(&mut backend, at(0), &packet).unwrap().counter, 1);
    assert_eq!(open(&mut backend, at(0), &packet), Err(Discard::Replayed));
}

#[test]
fn packets_of_another_session_or_direction_are_forged() {
    let (mut device, mut backend) = pair();
    let packet = seal(&mut device, at(0));
    assert_eq!(open(&mut device, at(0), &packet), Err(Discard::Forged));
    let mut other = Session::<2>::new(
        at(0),
        Side::Backend,
        SessionSecrets::new([1; 32], &[3; 64]),
        128,
        RekeyPolicy::default(),
    );
    assert_eq!(open(&mut other, at(0), &packet), Err(Discard::Forged));
    assert_eq!((device.failed_opens(), other.failed_opens()), (1, 1));
    assert!(open(&mut backend, at(0), &packet).is_ok());
}

#[test]
fn no_counter_is_used_twice() {
    //= SPEC.md#packet-counter
    //= type=test
    //# A sender MUST NOT seal two packets of a session with the same counter.
    let (mut device, mut backend) = pair();
    let mut counters = BTreeSet::new();
    for round in 0..6u64 {
        let now = at(round * 200_000);
        device.keep.driver.policy = RekeyPolicy::default();
        for _ in 0..50 {
            let _ = device.seal(now, &ConnectionId::EMPTY, &mut [0; 8], 8);
            assert!(counters.insert(pass(&mut device, &mut backend, now).counter));
        }
        ratchet(&mut device, &mut backend, now);
        assert!(counters.insert(device.next_counter() - 1));
    }
    assert_eq!(device.epoch(), 6);
    assert_eq!(counters.len() as u64, device.next_counter());
}

#[test]
fn too_small_a_buffer_seals_nothing() {
    let (mut device, _) = pair();
    make_hash_due(&mut device);
    let before = format!("{device:?}");
    let id = ConnectionId::new(&[1, 2, 3, 4, 5]).unwrap();
    let needed = 30 + device.overhead(&id);
    assert_eq!(needed, 30 + 23);
    let mut out = [0u8; 100];
    let error = device.seal(at(5), &id, &mut out[..needed - 1], 30).unwrap_err();
    assert_eq!(error, SealError::BufferTooSmall(BufferTooSmall { needed }));
    assert_eq!(format!("{device:?}"), before);
    assert_eq!(device.seal(at(5), &id, &mut out[..needed], 30).unwrap().len(), needed);
    assert_eq!(device.seal(at(5), &id, &mut out, 30).unwrap().len(), needed);
    assert_eq!(device.next_counter(), 2);
}

#[test]
fn no_packet_is_longer_than_the_limit() {
    let (mut device, mut backend) = pair();
    let mut out = vec![0u8; MAX_PACKET + 10];
    let most = MAX_PACKET - 18;
    assert_eq!(device.seal(at(0), &ConnectionId::EMPTY, &mut out, most + 1), Err(SealError::PacketTooLong));
    assert_eq!(device.seal(at(0), &ConnectionId::EMPTY, &mut out, usize::MAX), Err(SealError::PacketTooLong));
    for len in [most - 1, most] {
        let packet = device.seal(at(0), &ConnectionId::EMPTY, &mut out, len).unwrap();
        let header = DataHeader::parse(packet, 0).unwrap();
        assert_eq!(backend.open(at(0), &header, packet).unwrap().payload.len(), len);
    }
}

#[test]
fn counter_length_follows_the_acks_and_ends_the_session_when_none_fits() {
    //= SPEC.md#packet-counter
    //= type=test
    //# A sender MUST choose a counter length L of 1 to 4 such that next − A < 2^(8L−2), and close the session where there is none.
    for (ahead, len) in [
        (63, Some(10)),
        (64, Some(11)),
        ((1 << 14) - 1, Some(11)),
        (1 << 14, Some(12)),
        ((1 << 22) - 1, Some(12)),
        (1 << 22, Some(13)),
        ((1 << 30) - 1, Some(13)),
        (1 << 30, None),
        ((1 << 30) + 1, None),
    ] {
        let (mut device, mut backend) = pair();
        for _ in 0..6 {
            pass(&mut device, &mut backend, at(0));
        }
        device.peer_acked(backend.highest_received());
        // All of these are lost.
        device.sending.next = 5 + ahead;
        device.sending.epoch_start = 5 + ahead;
        let sealed = try_seal(&mut device, at(0));
        assert_eq!(sealed.as_ref().ok().map(Vec::len), len.map(|len| len + 16));
        match sealed {
            Ok(packet) => assert_eq!(open(&mut backend, at(0), &packet).unwrap().counter, 5 + ahead),
            Err(error) => {
                assert_eq!(error, SealError::Closed(CloseReason::PacketLimit));
                assert_eq!(device.closed(), Some(CloseReason::PacketLimit));
            }
        }
    }
}

#[test]
fn a_lying_peer_cannot_acknowledge_the_future() {
    let (mut device, _) = pair();
    for _ in 0..200 {
        seal(&mut device, at(0));
    }
    device.peer_acked(200);
    device.peer_acked(u64::MAX);
    assert_eq!(device.sending.acked, 0);
    device.peer_acked(199);
    device.peer_acked(3);
    assert_eq!(device.sending.acked, 199);
}

#[test]
fn newest_is_told_apart_from_late() {
    let (mut device, mut backend) = pair();
    let (first, second) = (seal(&mut device, at(0)), seal(&mut device, at(0)));
    assert!(open(&mut backend, at(0), &second).unwrap().newest);
    assert!(!open(&mut backend, at(0), &first).unwrap().newest);
    assert_eq!(backend.highest_received(), 1);
}

#[test]
fn sessions_use_the_keys_of_the_vectors() {
    let text = include_str!("../../../tests/vectors/key_schedule.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    let bytes = |value: &serde_json::Value| -> Vec<u8> {
        let hex = value.as_str().unwrap();
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    let key = |value: &serde_json::Value| -> [u8; 32] { bytes(value).try_into().unwrap() };
    let secrets = || {
        SessionSecrets::new(
            key(&vectors["handshake_hash"]),
            bytes(&vectors["split_keys"]).as_slice().try_into().unwrap(),
        )
    };
    let mut device = Device::new(at(0), Side::Device, secrets(), 1024, RekeyPolicy::default());
    let mut backend = Backend::new(at(0), Side::Backend, secrets(), 128, RekeyPolicy::default());
    for (epoch, keys) in vectors["epochs"].as_array().unwrap().iter().enumerate() {
        let now = at(epoch as u64 * 200_000);
        match keys["ratchet"].as_str().unwrap() {
            "hash" => ratchet(&mut device, &mut backend, now),
            "dh" => {
                let secret = |name: &str| {
                    crate::crypto::EphemeralSecret::from_bytes(key(&vectors["dh_ratchet"][name]))
                };
                let request = device.start_dh(secret("device_secret")).unwrap();
                backend.handle_rekey_request(now, 1, request).unwrap();
                let accept = backend.answer_dh(now, secret("backend_secret")).unwrap();
                device.handle_rekey_accept(now, 1, accept).unwrap();
                assert!(pass(&mut device, &mut backend, now).advanced);
            }
            _ => {}
        }
        for (packet, key_bytes, counter) in [
            (seal(&mut device, now), key(&keys["device_to_backend"]), device.next_counter() - 1),
            (seal(&mut backend, now), key(&keys["backend_to_device"]), backend.next_counter() - 1),
        ] {
            assert_eq!(packet[0], 0x80 | (epoch as u8) << 5);
            let mut body = counter.to_le_bytes();
            let tag = hazmat::seal(&key_bytes, counter, &packet[..2], &mut body).unwrap();
            assert_eq!(packet, [&packet[..2], &body, &tag].concat());
        }
    }
    assert_eq!((device.hash_ratchets(), device.dh_ratchets()), (1, 1));
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic_and_never_open(bytes in proptest::collection::vec(any::<u8>(), 0..80), now: u64) {
        let (mut device, mut backend) = pair();
        ratchet(&mut device, &mut backend, at(0));
        let now = at(now % 86_000_000);
        prop_assert!(open(&mut device, now, &bytes).is_err());
        prop_assert!(open(&mut backend, now, &bytes).is_err());
        // A header that does not belong to the packet is no reason to panic either.
        let header = DataHeader::new(now.as_millis(), now.as_millis(), crate::wire::CounterLen::Four, ConnectionId::new(&[0; 8]).unwrap());
        let mut bytes = bytes;
        prop_assert!(backend.open(now, &header, &mut bytes).is_err());
    }
}
