use super::*;
use crate::limits::PREVIOUS_KEY_LIFE;
use proptest::prelude::*;

const LIFE: u64 = PREVIOUS_KEY_LIFE.as_millis();

#[test]
fn a_device_moves_only_once_confirmed() {
    //= SPEC.md#epochs
    //= type=test
    //# A device MUST NOT move to the next epoch before it has authenticated a backend packet of the current one.
    let (mut device, mut backend) = pair();
    make_hash_due(&mut device);
    for now in [0, 1_000, 40_000_000] {
        pass(&mut device, &mut backend, at(now));
        assert_eq!(device.epoch(), 0);
    }
    pass(&mut backend, &mut device, at(40_000_000));
    assert_eq!(device.epoch(), 0, "the move is made with a packet");
    pass(&mut device, &mut backend, at(40_000_000));
    assert_eq!(device.epoch(), 1);
    // All answers are lost: it stays where it is, whatever time passes.
    for now in [50_000_000, 60_000_000] {
        seal(&mut backend, at(now));
        pass(&mut device, &mut backend, at(now));
        assert_eq!(device.epoch(), 1);
    }
}

#[test]
fn only_a_backend_accepts_the_next_epoch() {
    //= SPEC.md#epochs
    //= type=test
    //# Only a backend MUST accept a packet of the next epoch, and it derives that key once, not once per packet.
    let (mut device, mut backend) = pair();
    let mut ahead = backend.clone();
    ahead.advance(at(0));
    let packet = seal(&mut ahead, at(0));
    assert_eq!(open(&mut device, at(0), &packet), Err(Discard::UnknownEpoch));
    assert_eq!(device.failed_opens(), 0);

    // The backend has the key at hand before the first such packet, and forgeries leave it alone.
    let mut ahead = device.clone();
    ahead.advance(at(0));
    let packet = seal(&mut ahead, at(0));
    let key = backend.keep.cold.next_key.clone().unwrap();
    let mut forged = packet.clone();
    forged[9] ^= 1;
    for _ in 0..100 {
        assert_eq!(open(&mut backend, at(0), &forged), Err(Discard::Forged));
    }
    let same = backend.keep.cold.next_key.as_ref().unwrap();
    assert_eq!(key.seal(1, &[], &mut [1]), same.seal(1, &[], &mut [1]));
    assert_eq!(backend.epoch(), 0);
    assert!(open(&mut backend, at(0), &packet).unwrap().advanced);
}

#[test]
fn a_backend_follows_in_both_directions() {
    //= SPEC.md#epochs
    //= type=test
    //# A backend MUST follow to the next epoch, receiving and sending, when the first packet of it authenticates, and at once send at least one packet in it.
    let (mut device, mut backend) = pair();
    make_hash_due(&mut device);
    pass(&mut backend, &mut device, at(5));
    let got = pass(&mut device, &mut backend, at(5));
    assert_eq!(got, Got { counter: 0, epoch: 1, newest: true, advanced: true });
    assert_eq!(backend.epoch(), 1);
    assert_eq!(pass(&mut backend, &mut device, at(5)).epoch, 1);
    assert!(!pass(&mut device, &mut backend, at(5)).advanced);
    assert_eq!((device.hash_ratchets(), backend.hash_ratchets()), (1, 1));
}

#[test]
fn previous_packets_are_below_the_current_ones() {
    //= SPEC.md#epochs
    //= type=test
    //# A packet of the previous epoch MUST have a counter below the lowest one authenticated in the current epoch.
    let (mut device, mut backend) = pair();
    pass(&mut backend, &mut device, at(0));
    let below = seal(&mut device, at(0));
    // A device that breaks the rule sends on in epoch 0.
    let mut wrong = device.clone();
    make_hash_due(&mut device);
    let first = seal(&mut device, at(0));
    let _equal = seal(&mut wrong, at(0));
    let above = seal(&mut wrong, at(0));
    assert!(open(&mut backend, at(0), &first).unwrap().advanced);
    assert_eq!(open(&mut backend, at(0), &above), Err(Discard::EpochOrder));
    assert_eq!(
        open(&mut backend, at(0), &below).unwrap(),
        Got { counter: 0, epoch: 0, newest: false, advanced: false }
    );
}

#[test]
fn next_packets_are_above_all_others() {
    //= SPEC.md#epochs
    //= type=test
    //# A packet of the next epoch MUST have a counter above the highest one authenticated so far.
    let (mut device, mut backend) = pair();
    pass(&mut backend, &mut device, at(0));
    let mut wrong = device.clone();
    make_hash_due(&mut device);
    let next = seal(&mut device, at(0));
    seal(&mut wrong, at(0));
    pass(&mut wrong, &mut backend, at(0));
    assert_eq!(open(&mut backend, at(0), &next), Err(Discard::EpochOrder));
    seal(&mut device, at(0));
    assert!(pass(&mut device, &mut backend, at(0)).advanced);
}

#[test]
fn other_epochs_are_unknown() {
    let (mut device, mut backend) = pair();
    for epoch in 0..4u64 {
        let header = DataHeader::new(epoch, 0, crate::wire::CounterLen::One, ConnectionId::EMPTY);
        let mut packet = [0u8; 20];
        let mut discard = |session: &mut Backend| session.open(at(0), &header, &mut packet).unwrap_err();
        let expected = if epoch < 2 { Discard::Forged } else { Discard::UnknownEpoch };
        assert_eq!(discard(&mut backend), expected, "{epoch}");
        let expected = if epoch < 1 { Discard::Forged } else { Discard::UnknownEpoch };
        assert_eq!(device.open(at(0), &header, &mut packet).unwrap_err(), expected, "{epoch}");
    }
}

#[test]
fn the_previous_key_dies_after_120_seconds() {
    //= SPEC.md#epochs
    //= type=test
    //# An end MUST erase the previous epoch's receive key at that point.
    let (mut device, mut backend) = pair();
    let late = [seal(&mut device, at(0)), seal(&mut device, at(0))];
    let late_back = [seal(&mut backend, at(0)), seal(&mut backend, at(0))];
    ratchet(&mut device, &mut backend, at(1000));
    assert_eq!(device.poll_timeout(), Some(at(1000 + LIFE)));
    assert_eq!(backend.poll_timeout(), Some(at(1000 + LIFE)));
    assert!(open(&mut backend, at(1000 + LIFE - 1), &late[0]).is_ok());
    assert!(open(&mut device, at(1000 + LIFE - 1), &late_back[0]).is_ok());
    assert!(device.resume_secret(0).is_some() && device.resume_secret(1).is_some());
    assert_eq!(open(&mut backend, at(1000 + LIFE), &late[1]), Err(Discard::UnknownEpoch));
    assert_eq!(open(&mut device, at(1000 + LIFE), &late_back[1]), Err(Discard::UnknownEpoch));
    assert!(device.keep.rare.previous.is_none() && backend.keep.rare.previous.is_none());
    assert!(device.resume_secret(0).is_none() && device.resume_secret(1).is_some());
    assert_ne!(device.poll_timeout(), Some(at(1000 + LIFE)));
}

#[test]
fn the_previous_key_dies_with_its_window() {
    //= SPEC.md#epochs
    //= type=test
    //# An end MUST erase the previous epoch's receive key at that point.
    let (mut device, mut backend) = pair();
    seal(&mut device, at(0));
    ratchet(&mut device, &mut backend, at(0));
    // The current epoch began at counter 1; 0 leaves the window when 1024 arrives.
    while device.next_counter() < 1024 {
        pass(&mut device, &mut backend, at(0));
        device.peer_acked(backend.highest_received());
    }
    assert!(backend.keep.rare.previous.is_some());
    pass(&mut device, &mut backend, at(0));
    assert!(backend.keep.rare.previous.is_none());
    assert_eq!(backend.highest_received(), 1024);
}

#[test]
fn a_device_waits_for_the_late_packets_of_both_directions() {
    //= SPEC.md#epochs
    //= type=test
    //# A device MUST NOT move to the next epoch while the previous epoch's receive key lives, or while packets of the previous epoch that it sent may still be inside the backend's reorder depth.
    // The previous key lives: 120 s after the first packet of the current epoch.
    let (mut device, mut backend) = pair();
    ratchet(&mut device, &mut backend, at(1000));
    pass(&mut device, &mut backend, at(1000 + LIFE - 1));
    assert_eq!(device.epoch(), 1);
    pass(&mut device, &mut backend, at(1000 + LIFE));
    assert_eq!(device.epoch(), 2);

    // It dies early because the backend is talkative; then the device's own packets count: min(1024, 2^7).
    let (mut device, mut backend) = pair();
    seal(&mut device, at(0));
    ratchet(&mut device, &mut backend, at(0));
    let talk = |device: &mut Device, backend: &mut Backend| {
        pass(backend, device, at(0));
        backend.peer_acked(device.highest_received());
    };
    for _ in 0..140 {
        talk(&mut device, &mut backend);
    }
    assert!(device.keep.rare.previous.is_none());
    while device.sent_in_epoch() < 128 {
        pass(&mut device, &mut backend, at(0));
        device.peer_acked(backend.highest_received());
        assert_eq!(device.epoch(), 1);
    }
    pass(&mut device, &mut backend, at(0));
    assert_eq!(device.epoch(), 2);

    // Where longer counters were used before, the backend's whole window counts.
    talk(&mut device, &mut backend);
    device.keep.driver.longest_before = CounterLen::Two;
    device.keep.rare.previous = None;
    device.sending.next += 2000;
    device.sending.epoch_start = device.sending.next - 1023;
    pass(&mut device, &mut backend, at(0));
    assert_eq!((device.epoch(), device.sent_in_epoch()), (2, 1024));
    seal(&mut device, at(0));
    assert_eq!(device.epoch(), 3);
}

#[test]
fn a_device_that_wakes_every_twenty_minutes_ratchets_each_time() {
    let (mut device, mut backend) = pair();
    for wake in 1..=70u64 {
        let now = at(wake * 1_200_000);
        device.handle_timeout(now);
        let got = pass(&mut device, &mut backend, now);
        // Every third answer is lost: then there is no ratchet at the next wake.
        let answer = seal(&mut backend, now);
        if wake % 3 != 0 {
            open(&mut device, now, &answer).unwrap();
        }
        assert_eq!(got.advanced, wake > 1 && wake % 3 != 1, "{wake}");
    }
    assert_eq!(device.epoch(), backend.epoch());
    assert_eq!(device.epoch(), 46);
}

#[test]
fn losses_of_any_length_are_survived() {
    for lost in [1u64, 63, 64, 127, 128, 129, 1023, 1024, 1025, 1 << 15, 1 << 16, 1 << 23, (1 << 24) - 300] {
        let (mut device, mut backend) = pair();
        ratchet(&mut device, &mut backend, at(0));
        device.sending.next += lost;
        backend.sending.next += lost;
        for now in [200_000, 400_000] {
            pass(&mut device, &mut backend, at(now));
            pass(&mut backend, &mut device, at(now));
            device.peer_acked(backend.highest_received());
            backend.peer_acked(device.highest_received());
        }
        assert!(device.epoch() >= 1 && device.epoch() == backend.epoch(), "{lost}");
    }
}

proptest! {
    /// Packets arrive displaced by less than the reorder depth, while ratchets go on: every one opens, once.
    #[test]
    fn rekey_loses_nothing_within_the_reorder_depth(delays in proptest::collection::vec(0u64..100, 600), seed: u8) {
        let (mut device, mut backend) = pair();
        device.keep.driver.policy = device.keep.driver.policy.hash_after_packets(1 + u64::from(seed % 8)).unwrap();
        let mut flight = Vec::new();
        let (mut opened, mut time) = (0, 0);
        let mut delays_of = delays.iter().cycle();
        for step in 0..600u64 {
            time += 17; // a delay of up to 100 steps is far below 120 s
            let now = at(time);
            flight.push((step + delays_of.next().unwrap(), Side::Backend, seal(&mut device, now)));
            flight.push((step + delays_of.next().unwrap() / 2, Side::Device, seal(&mut backend, now)));
            while let Some(index) = flight.iter().position(|(due, ..)| *due <= step) {
                let (_, to, packet) = flight.swap_remove(index);
                let got = match to {
                    Side::Backend => open(&mut backend, now, &packet),
                    Side::Device => open(&mut device, now, &packet),
                };
                prop_assert!(got.is_ok(), "{:?} {:?}", to, got);
                let again = match to {
                    Side::Backend => open(&mut backend, now, &packet),
                    Side::Device => open(&mut device, now, &packet),
                };
                prop_assert!(again.is_err());
                opened += 1;
            }
            device.peer_acked(backend.highest_received());
            backend.peer_acked(device.highest_received());
        }
        prop_assert!(opened > 900);
        prop_assert!(device.epoch() >= 2, "{}", device.epoch());
    }
}
