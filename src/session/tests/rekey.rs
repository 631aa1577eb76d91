use super::*;
use crate::crypto::{EphemeralSecret, PublicKey};
use crate::limits::*;
use crate::session::rekey::{Exchange, NextEpoch};

fn secret(byte: u8) -> EphemeralSecret {
    EphemeralSecret::from_bytes([byte; 32])
}

/// A confirmed pair whose device has asked; returns the request.
fn requested() -> (Device, Backend, PublicKey) {
    let (mut device, mut backend) = pair();
    pass(&mut backend, &mut device, at(0));
    device.request_rekey();
    assert!(device.wants_dh(at(0)));
    let request = device.start_dh(secret(1)).unwrap();
    (device, backend, request)
}

/// Both ends through one DH ratchet.
fn dh_ratchet(device: &mut Device, backend: &mut Backend, now: Instant) {
    let epoch = device.epoch();
    device.request_rekey();
    assert!(device.wants_dh(now));
    let request = device.start_dh(secret(1)).unwrap();
    assert_eq!(backend.handle_rekey_request(now, epoch, request), Ok(RekeyAnswer::NeedsEphemeral));
    let accept = backend.answer_dh(now, secret(2)).unwrap();
    pass(backend, device, now);
    device.handle_rekey_accept(now, epoch, accept).unwrap();
    assert!(pass(device, backend, now).advanced);
    pass(backend, device, now);
    assert_eq!((device.epoch(), backend.epoch()), (epoch + 1, epoch + 1));
}

#[test]
fn hash_ratchet_comes_after_2_pow_16_packets_or_15_minutes() {
    let moves = |prepare: &dyn Fn(&mut Device), now: u64| {
        let (mut device, mut backend) = pair();
        pass(&mut backend, &mut device, at(0));
        prepare(&mut device);
        seal(&mut device, at(now));
        device.epoch() == 1
    };
    let limit = HASH_RATCHET_PACKETS;
    for (packets, expected) in [(limit - 1, false), (limit, true), (limit + 1, true)] {
        let sent = |device: &mut Device| device.sending.next = packets;
        let opened = |device: &mut Device| device.opened = packets as u32;
        assert_eq!(moves(&sent, 0), expected);
        assert_eq!(moves(&opened, 0), expected);
    }
    let age = HASH_RATCHET_AGE.as_millis();
    for (now, expected) in [(age - 1, false), (age, true), (age + 1, true)] {
        assert_eq!(moves(&|_| {}, now), expected);
    }
}

#[test]
fn dh_ratchet_is_wanted_after_2_pow_20_packets_or_12_hours_or_on_demand() {
    let wants = |prepare: &dyn Fn(&mut Device), now: u64| {
        let (mut device, _) = pair();
        prepare(&mut device);
        device.wants_dh(at(now))
    };
    let limit = DH_RATCHET_PACKETS;
    for (packets, expected) in [(limit - 1, false), (limit, true), (limit + 1, true)] {
        assert_eq!(wants(&|device| device.sending.next = packets, 0), expected);
        assert_eq!(wants(&|device| device.keep.driver.opened_in_all = packets, 0), expected);
    }
    let age = DH_RATCHET_AGE.as_millis();
    for (now, expected) in [(age - 1, false), (age, true), (age + 1, true)] {
        assert_eq!(wants(&|_| {}, now), expected);
    }
    assert!(wants(&Device::request_rekey, 0));

    // The timer fires once and does not fire again until something has changed.
    let (mut device, mut backend) = pair();
    assert_eq!(device.poll_timeout(), Some(at(age)));
    device.handle_timeout(at(age));
    assert!(device.wants_dh(at(age)) && device.wants_dh(at(0)));
    assert_eq!(device.poll_timeout(), Some(at(MAX_SESSION_AGE.as_millis())));
    // A backend never asks.
    backend.request_rekey();
    assert!(!backend.wants_dh(at(age)));
    assert_eq!(backend.start_dh(secret(1)), None);
    assert_eq!(backend.poll_timeout(), Some(at(MAX_SESSION_AGE.as_millis())));
}

#[test]
fn dh_ratchet_moves_both_ends_to_the_same_keys() {
    let (mut device, mut backend) = pair();
    let mut hashed = device.clone();
    dh_ratchet(&mut device, &mut backend, at(0));
    assert_eq!((device.dh_ratchets(), backend.dh_ratchets()), (1, 1));
    assert_eq!((device.hash_ratchets(), backend.hash_ratchets()), (0, 0));
    // Who has only the old state, and did not see the ephemeral secrets, cannot follow.
    hashed.advance(at(0));
    hashed.sending.next = 50;
    let guess = seal(&mut hashed, at(0));
    assert_eq!(open(&mut backend, at(0), &guess), Err(Discard::Forged));
    pass(&mut device, &mut backend, at(0));
}

#[test]
fn rekey_frames_of_other_epochs_are_ignored() {
    //= SPEC.md#rekey
    //= type=test
    //# A RekeyRequest or RekeyAccept MUST be ignored unless its packet's epoch is the current one.
    let (mut device, mut backend) = pair();
    ratchet(&mut device, &mut backend, at(0));
    device.request_rekey();
    let request = device.start_dh(secret(1)).unwrap();
    for epoch in [0, 2, 5, u64::MAX] {
        assert_eq!(backend.handle_rekey_request(at(0), epoch, request), Err(Discard::UntimelyRekey));
        assert!(!backend.needs_ephemeral());
    }
    backend.handle_rekey_request(at(0), 1, request).unwrap();
    let accept = backend.answer_dh(at(0), secret(2)).unwrap();
    for epoch in [0, 2, 5, u64::MAX] {
        assert_eq!(device.handle_rekey_accept(at(0), epoch, accept), Err(Discard::UntimelyRekey));
        assert_eq!(device.rekey_request(), Some(request));
    }
    // A delayed copy of the request arrives after the commit.
    device.handle_rekey_accept(at(0), 1, accept).unwrap();
    assert!(pass(&mut device, &mut backend, at(200_000)).advanced);
    assert_eq!(backend.handle_rekey_request(at(200_000), 1, request), Err(Discard::UntimelyRekey));
    assert_eq!(device.handle_rekey_accept(at(200_000), 1, accept), Err(Discard::UntimelyRekey));
}

#[test]
fn the_accept_is_repeated_for_every_copy_of_the_request() {
    //= SPEC.md#rekey
    //= type=test
    //# A backend MUST answer the first RekeyRequest of an epoch and repeat the same RekeyAccept for every copy of it.
    let (mut device, mut backend, request) = requested();
    assert_eq!(backend.rekey_accept(), None);
    assert_eq!(backend.answer_dh(at(0), secret(2)), Err(Discard::UntimelyRekey));
    for _ in 0..2 {
        assert_eq!(backend.handle_rekey_request(at(0), 0, request), Ok(RekeyAnswer::NeedsEphemeral));
        assert!(backend.needs_ephemeral());
    }
    let accept = backend.answer_dh(at(0), secret(2)).unwrap();
    for now in [0, 1, 1_000_000] {
        assert_eq!(backend.handle_rekey_request(at(now), 0, request), Ok(RekeyAnswer::Repeat(accept)));
        assert_eq!(backend.answer_dh(at(now), secret(3)), Err(Discard::UntimelyRekey));
        assert_eq!(backend.rekey_accept(), Some(accept));
    }
    // The device takes one; a copy, or an accept that answers nothing, is ignored.
    device.handle_rekey_accept(at(0), 0, accept).unwrap();
    assert_eq!(device.handle_rekey_accept(at(0), 0, accept), Err(Discard::UntimelyRekey));
    assert!(pass(&mut device, &mut backend, at(0)).advanced);
    assert_eq!(backend.rekey_accept(), None);
    assert_eq!(device.handle_rekey_accept(at(0), 1, accept), Err(Discard::UntimelyRekey));
}

#[test]
fn other_requests_and_hasty_ones_are_ignored() {
    //= SPEC.md#rekey
    //= type=test
    //# A backend MUST ignore another RekeyRequest in the same epoch, and one that comes within 60 s of the last one that it answered (a policy may lower this).
    let (mut device, mut backend, request) = requested();
    let other = secret(9).public_key();
    backend.handle_rekey_request(at(0), 0, request).unwrap();
    assert_eq!(backend.handle_rekey_request(at(0), 0, other), Err(Discard::UntimelyRekey));
    let accept = backend.answer_dh(at(0), secret(2)).unwrap();
    assert_eq!(backend.handle_rekey_request(at(1_000_000), 0, other), Err(Discard::UntimelyRekey));
    assert_eq!(backend.rekey_accept(), Some(accept));

    device.handle_rekey_accept(at(0), 0, accept).unwrap();
    pass(&mut device, &mut backend, at(0));
    pass(&mut backend, &mut device, at(0));
    let interval = DH_RATCHET_INTERVAL.as_millis();
    // The device does not ask earlier either, even on demand.
    device.request_rekey();
    assert!(!device.wants_dh(at(interval - 1)) && device.wants_dh(at(interval)));
    let request = device.start_dh(secret(3)).unwrap();
    assert_eq!(backend.handle_rekey_request(at(interval - 1), 1, request), Err(Discard::UntimelyRekey));
    assert!(!backend.needs_ephemeral());
    // The refused copy is forgotten: a later one counts as the first.
    let mut later = backend.clone();
    assert_eq!(backend.handle_rekey_request(at(interval), 1, request), Ok(RekeyAnswer::NeedsEphemeral));
    assert_eq!(later.handle_rekey_request(at(interval + 1), 1, request), Ok(RekeyAnswer::NeedsEphemeral));
}

#[test]
fn hash_triggers_wait_for_the_answer() {
    //= SPEC.md#rekey
    //= type=test
    //# A device MUST NOT start a hash ratchet while its RekeyRequest is unanswered.
    let (mut device, mut backend, request) = requested();
    make_hash_due(&mut device);
    for now in [1_000, 10_000_000] {
        pass(&mut device, &mut backend, at(now));
        assert_eq!(device.epoch(), 0);
    }
    // Even at the packet limit: the backend may have answered, and then no hash variant is left.
    let mut at_limit = device.clone();
    at_limit.sending.next = MAX_PACKETS_PER_EPOCH;
    assert_eq!(try_seal(&mut at_limit, at(0)), Err(SealError::Closed(CloseReason::PacketLimit)));
    backend.handle_rekey_request(at(0), 0, request).unwrap();
    let accept = backend.answer_dh(at(0), secret(2)).unwrap();
    device.handle_rekey_accept(at(0), 0, accept).unwrap();
    pass(&mut device, &mut backend, at(0));
    assert_eq!((device.hash_ratchets(), device.dh_ratchets()), (0, 1));
}

#[test]
fn ephemerals_and_n_e_are_erased_once_the_next_chain_key_exists() {
    //= SPEC.md#rekey
    //= type=test
    //# Once c_(e+1) exists, both ends MUST erase the ephemeral secret and n_e, a hash ratchet's n_e when it commits.
    //= SPEC.md#key-schedule
    //= type=test
    //# An end MUST erase c_e as soon as the epoch's keys are derived, and n_e as soon as c_(e+1) is; where c_(e+1) is n_e itself, when the ratchet commits.
    // The types hold one or the other, overwritten in place, and wipe what they drop.
    let (mut device, mut backend, request) = requested();
    let NextEpoch::Hash(n_e) = device.keep.cold.next.clone() else { panic!() };
    backend.handle_rekey_request(at(0), 0, request).unwrap();
    let accept = backend.answer_dh(at(0), secret(2)).unwrap();
    assert!(matches!(backend.keep.cold.next, NextEpoch::Dh(_)));
    assert!(matches!(backend.keep.rare.exchange, Exchange::Answered { .. }));
    device.handle_rekey_accept(at(0), 0, accept).unwrap();
    assert!(matches!(device.keep.cold.next, NextEpoch::Dh(_)));
    assert!(matches!(device.keep.rare.exchange, Exchange::Idle));
    // The backend no longer accepts the hash variant of the next epoch.
    let mut hashed = device.clone();
    hashed.keep.cold.next = NextEpoch::Hash(n_e);
    hashed.advance(at(0));
    let packet = seal(&mut hashed, at(0));
    assert_eq!(open(&mut backend, at(0), &packet), Err(Discard::Forged));
    assert!(pass(&mut device, &mut backend, at(0)).advanced);
    assert!(matches!(device.keep.cold.next, NextEpoch::Hash(_)));
    assert!(matches!(backend.keep.cold.next, NextEpoch::Hash(_)));
}

#[test]
fn low_order_points_are_ignored() {
    //= SPEC.md#rekey
    //= type=test
    //# A RekeyRequest or RekeyAccept with a low-order point MUST be ignored.
    let mut one = [0; 32];
    one[0] = 1;
    for low_order in [PublicKey([0; 32]), PublicKey(one)] {
        let (mut device, mut backend, request) = requested();
        backend.handle_rekey_request(at(0), 0, low_order).unwrap();
        assert_eq!(backend.answer_dh(at(0), secret(2)), Err(Discard::UntimelyRekey));
        assert!(!backend.needs_ephemeral() && backend.rekey_accept().is_none());
        assert_eq!(device.handle_rekey_accept(at(0), 0, low_order), Err(Discard::UntimelyRekey));
        assert_eq!(device.rekey_request(), Some(request));
        // The genuine exchange still goes through.
        backend.handle_rekey_request(at(0), 0, request).unwrap();
        let accept = backend.answer_dh(at(0), secret(2)).unwrap();
        device.handle_rekey_accept(at(0), 0, accept).unwrap();
        assert!(pass(&mut device, &mut backend, at(0)).advanced);
    }
}

#[test]
fn a_move_after_the_accept_waits_for_the_previous_key() {
    let (mut device, mut backend) = pair();
    ratchet(&mut device, &mut backend, at(0));
    device.request_rekey();
    let request = device.start_dh(secret(1)).unwrap();
    assert!(device.start_dh(secret(5)).is_none());
    backend.handle_rekey_request(at(0), 1, request).unwrap();
    let accept = backend.answer_dh(at(0), secret(2)).unwrap();
    device.handle_rekey_accept(at(0), 1, accept).unwrap();
    assert!(!device.wants_dh(at(0)));
    let life = PREVIOUS_KEY_LIFE.as_millis();
    assert!(!pass(&mut device, &mut backend, at(life - 1)).advanced);
    assert!(pass(&mut device, &mut backend, at(life)).advanced);
    assert_eq!(device.dh_ratchets(), 1);
}

#[test]
fn lost_requests_and_accepts_are_sent_again() {
    let (mut device, mut backend, request) = requested();
    // The first request is lost, and the accept of the second.
    assert_eq!(device.rekey_request(), Some(request));
    seal(&mut device, at(0));
    pass(&mut device, &mut backend, at(1_000));
    backend.handle_rekey_request(at(1_000), 0, request).unwrap();
    let accept = backend.answer_dh(at(1_000), secret(2)).unwrap();
    seal(&mut backend, at(1_000));
    // The third is answered with the same accept, twenty minutes later.
    assert_eq!(device.rekey_request(), Some(request));
    pass(&mut device, &mut backend, at(1_200_000));
    let again = backend.handle_rekey_request(at(1_200_000), 0, request);
    assert_eq!(again, Ok(RekeyAnswer::Repeat(accept)));
    pass(&mut backend, &mut device, at(1_200_000));
    device.handle_rekey_accept(at(1_200_000), 0, accept).unwrap();
    assert_eq!(device.rekey_request(), None);
    assert!(pass(&mut device, &mut backend, at(1_200_000)).advanced);
}

#[test]
fn both_ratchets_go_on_for_a_day() {
    let (mut device, mut backend) = pair();
    for hour in 1..24u64 {
        dh_ratchet(&mut device, &mut backend, at(hour * 3_600_000));
        device.keep.driver.policy = RekeyPolicy::default();
        ratchet(&mut device, &mut backend, at(hour * 3_600_000 + 1_800_000));
        device.keep.driver.policy = RekeyPolicy::default();
    }
    assert_eq!((device.hash_ratchets(), device.dh_ratchets()), (23, 23));
    assert_eq!(device.exporter().export::<16>("x", b""), backend.exporter().export::<16>("x", b""));
}
