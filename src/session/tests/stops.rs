use super::*;
use crate::limits::{MAX_FAILED_OPENS, MAX_PACKETS_PER_EPOCH, MAX_SESSION_AGE};

/// A device that cannot move on, for want of an answer, and has sent this many packets in epoch 0.
fn device_after(sent: u64) -> (Device, Backend) {
    let (mut device, backend) = pair();
    device.sending.next = sent;
    device.sending.acked = sent.saturating_sub(1);
    (device, backend)
}

#[test]
fn seals_at_most_2_pow_24_packets_in_an_epoch() {
    //= SPEC.md#hard-stops
    //= type=test
    //# An end MUST close a session rather than seal or open more than 2^24 packets in an epoch, counted for each direction.
    let limit = MAX_PACKETS_PER_EPOCH;
    for (sent, sealed) in [(limit - 2, true), (limit - 1, true), (limit, false), (limit + 1, false)] {
        let (mut device, _) = device_after(sent);
        match try_seal(&mut device, at(0)) {
            Ok(_) => assert!(sealed, "{sent}"),
            Err(error) => {
                assert!(!sealed, "{sent}");
                assert_eq!(error, SealError::Closed(CloseReason::PacketLimit));
                assert_eq!(device.next_counter(), sent);
                // It stays closed.
                device.sending.epoch_start = sent;
                assert_eq!(try_seal(&mut device, at(0)), Err(SealError::Closed(CloseReason::PacketLimit)));
                assert_eq!(device.poll_timeout(), None);
            }
        }
    }
}

#[test]
fn a_device_at_the_packet_limit_moves_if_it_may() {
    let (mut device, mut backend) = device_after(MAX_PACKETS_PER_EPOCH);
    pass(&mut backend, &mut device, at(0));
    seal(&mut device, at(0));
    assert_eq!(device.epoch(), 1);
}

#[test]
fn opens_at_most_2_pow_24_packets_in_an_epoch() {
    //= SPEC.md#hard-stops
    //= type=test
    //# An end MUST close a session rather than seal or open more than 2^24 packets in an epoch, counted for each direction.
    let limit = MAX_PACKETS_PER_EPOCH;
    for (opened, opens) in [(limit - 2, true), (limit - 1, true), (limit, false), (limit + 1, false)] {
        let (mut device, mut backend) = pair();
        let packet = seal(&mut device, at(0));
        backend.opened = opened as u32;
        // A forged packet does not close the session.
        let mut forged = packet.clone();
        forged[5] ^= 1;
        assert_eq!(open(&mut backend, at(0), &forged), Err(Discard::Forged));
        assert_eq!(backend.closed(), None);
        let result = open(&mut backend, at(0), &packet);
        assert_eq!(result.is_ok(), opens, "{opened}");
        if !opens {
            assert_eq!(result, Err(Discard::SessionClosed));
            assert_eq!(backend.closed(), Some(CloseReason::PacketLimit));
            assert_eq!(open(&mut backend, at(0), &packet), Err(Discard::SessionClosed));
        }
    }
}

#[test]
fn late_packets_count_for_their_own_epoch() {
    let (mut device, mut backend) = pair();
    let late = seal(&mut device, at(0));
    let too_late = seal(&mut device, at(0));
    ratchet(&mut device, &mut backend, at(0));
    backend.keep.rare.previous.as_mut().unwrap().opened = MAX_PACKETS_PER_EPOCH as u32 - 1;
    assert!(open(&mut backend, at(0), &late).is_ok());
    assert_eq!(open(&mut backend, at(0), &too_late), Err(Discard::SessionClosed));
}

#[test]
fn closes_after_2_pow_36_failed_opens() {
    //= SPEC.md#hard-stops
    //= type=test
    //# An end MUST close a session after 2^36 failed opens.
    let (mut device, mut backend) = pair();
    let mut forged = seal(&mut device, at(0));
    forged[5] ^= 1;
    backend.receiving.failed = MAX_FAILED_OPENS - 2;
    assert_eq!(open(&mut backend, at(0), &forged), Err(Discard::Forged));
    assert_eq!(backend.closed(), None);
    pass(&mut device, &mut backend, at(0));
    assert_eq!(open(&mut backend, at(0), &forged), Err(Discard::Forged));
    assert_eq!(backend.failed_opens(), MAX_FAILED_OPENS);
    assert_eq!(backend.closed(), Some(CloseReason::ForgeryLimit));
    let genuine = seal(&mut device, at(0));
    assert_eq!(open(&mut backend, at(0), &genuine), Err(Discard::SessionClosed));
    assert_eq!(try_seal(&mut backend, at(0)), Err(SealError::Closed(CloseReason::ForgeryLimit)));
}

#[test]
fn closes_24_hours_after_its_start() {
    //= SPEC.md#hard-stops
    //= type=test
    //# An end MUST close a session 24 hours after its full handshake, counted through all resumptions.
    let age = MAX_SESSION_AGE.as_millis();
    let (mut device, mut backend) = pair();
    assert!(device.poll_timeout().unwrap() <= at(age));
    pass(&mut device, &mut backend, at(age - 1));
    let mut sealing = device.clone();
    assert_eq!(try_seal(&mut sealing, at(age)), Err(SealError::Closed(CloseReason::SessionAge)));
    let packet = seal(&mut device, at(age - 1));
    let mut opening = backend.clone();
    assert_eq!(open(&mut opening, at(age), &packet), Err(Discard::SessionClosed));
    backend.handle_timeout(at(age - 1));
    assert_eq!(backend.closed(), None);
    backend.handle_timeout(at(age + 1));
    assert_eq!(backend.closed(), Some(CloseReason::SessionAge));
    // A resumed session has what is left.
    let policy = RekeyPolicy::default().session_age(Duration::from_secs(10)).unwrap();
    let (mut device, _) = pair_with(policy);
    seal(&mut device, at(9_999));
    assert_eq!(try_seal(&mut device, at(10_000)), Err(SealError::Closed(CloseReason::SessionAge)));
}

#[test]
fn time_that_steps_backward_is_harmless() {
    let (mut device, mut backend) = pair();
    ratchet(&mut device, &mut backend, at(50_000_000));
    for now in [40_000_000, 0, 50_000_001, 50_000_000] {
        device.handle_timeout(at(now));
        backend.handle_timeout(at(now));
        pass(&mut device, &mut backend, at(now));
        pass(&mut backend, &mut device, at(now));
        assert_eq!(device.epoch(), 1);
        assert!(device.keep.rare.previous.is_some());
        assert_eq!(device.closed(), None);
    }
}
