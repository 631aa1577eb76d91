//! Bytes of people who hold no keys, against both front ends with live sessions: counted, and nothing changes.

use crate::kit::*;
use crate::link::To;
use crate::world::{Setup, World, discards};
use vitalwire::framing::Lane;
use vitalwire::{Discard, Discards};

/// A world with a live session, and one good packet of every kind in every direction that has not arrived.
struct Target {
    world: World,
    /// Packets on the way that would be accepted: to the backend, to the device.
    fresh: Vec<(To, Vec<u8>)>,
    /// Everything that was accepted before.
    past: Vec<(To, Vec<u8>)>,
}

fn target(seed: u64) -> Target {
    let mut world = Setup::new(seed).build();
    world.add(|_| {});
    world.add(|_| {});
    world.link.log = Some(Vec::new());
    world.connect(0);
    world.run_to_connected(0);
    world.record(0, Lane::Trend, &rate(1)).unwrap();
    world.drain(secs(5));
    let past: Vec<_> =
        world.link.log.take().unwrap().into_iter().map(|(_, to, packet)| (to, packet)).collect();
    // A packet of the device that stays in the air, and one of the backend.
    world.link.log = Some(Vec::new());
    world.record(0, Lane::Trend, &rate(2)).unwrap();
    world.settle();
    world.link.clear();
    let identity = world.identity(0);
    world.backend.hint_rekey(&identity).unwrap();
    world.settle();
    world.link.clear();
    let fresh: Vec<_> =
        world.link.log.take().unwrap().into_iter().map(|(_, to, packet)| (to, packet)).collect();
    assert!(fresh.iter().any(|(to, _)| matches!(to, To::Backend(_))));
    assert!(fresh.iter().any(|(to, _)| matches!(to, To::Device(_))));
    Target { world, fresh, past }
}

/// What can be seen of both ends, but the discards.
fn state(world: &World) -> String {
    let node = &world.nodes[0].device;
    let fills: Vec<_> = Lane::ALL.iter().map(|&lane| node.fill(lane)).collect();
    format!(
        "{fills:?} {:?} {:?} {:?} {:?} {:?}",
        node.poll_timeout(),
        node.is_connected(),
        node.ratchets(),
        world.backend.poll_timeout(),
        world.backend.devices()
    )
}

fn counted(world: &World) -> u64 {
    world.nodes[0].device.discards().total() + world.backend.discards().total()
}

impl Target {
    /// Hands bytes in: they are counted once, nothing else changes, and nothing is said to `to` but a Reset.
    #[track_caller]
    fn throw(&mut self, to: To, packet: &[u8]) {
        let world = &mut self.world;
        let (before, count) = (state(world), counted(world));
        world.deliver(to, packet.to_vec());
        assert_eq!(state(world), before, "{to:?} {packet:02x?}");
        assert_eq!(counted(world), count + 1, "{to:?} {packet:02x?}");
        assert!(world.backend.poll_event().is_none());
        let (now, mut out) = (world.now, [0; 1500]);
        while let Some(answer) = world.backend.poll_transmit(now, &mut world.rng, &mut out).unwrap() {
            assert_eq!(answer.packet[0], 0x15, "only a Reset answers {packet:02x?}");
            assert!(answer.packet.len() < packet.len());
        }
        assert!(world.nodes[0].device.poll_transmit(now, &mut world.rng, &mut out).unwrap().is_none());
        assert!(world.nodes[0].device.poll_event().is_none());
    }

    /// The session goes on, and so do the packets that were held back.
    #[track_caller]
    fn finish(mut self) {
        for (to, packet) in std::mem::take(&mut self.fresh) {
            let before = counted(&self.world);
            self.world.deliver(to, packet);
            assert_eq!(counted(&self.world), before, "the genuine packet still counts");
        }
        self.world.record(0, Lane::Alarm, &alarm(1)).unwrap();
        self.world.wait_all_drained_and_check(secs(10));
        let events = &self.world.nodes[0].events;
        assert_eq!(events.len(), 1, "{events:?}");
    }
}

#[test]
fn discards_packets_cut_at_every_length() {
    //= SPEC.md#packets
    //= type=test
    //# A discarded packet MUST change nothing but a counter of discards.
    let mut target = target(1);
    for (to, packet) in target.fresh.clone().into_iter().chain(target.past.clone()) {
        for len in 0..packet.len() {
            target.throw(to, &packet[..len]);
        }
    }
    target.finish();
}

#[test]
fn discards_packets_with_any_bit_flipped() {
    let mut target = target(2);
    for (to, packet) in target.fresh.clone() {
        for bit in 0..packet.len() * 8 {
            let mut flipped = packet.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            target.throw(to, &flipped);
        }
    }
    target.finish();
}

#[test]
fn discards_old_handshake_packets_with_any_bit_flipped() {
    let mut target = target(3);
    let handshake = target.past.clone().into_iter().filter(|(_, packet)| packet[0] & 0x80 == 0);
    for (to, packet) in handshake {
        for bit in 0..packet.len() * 8 {
            let mut flipped = packet.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // A flipped bit may turn one kind into another, but never into one that is accepted.
            target.throw(to, &flipped);
        }
    }
    target.finish();
}

#[test]
fn discards_trailing_bytes_and_oversize() {
    let mut target = target(4);
    for (to, packet) in target.fresh.clone().into_iter().chain(target.past.clone()) {
        for more in [1, 16, 512, 65_535, 65_536] {
            let mut longer = packet.clone();
            longer.resize(packet.len() + more, 0);
            target.throw(to, &longer);
        }
    }
    let device = &target.world.nodes[0].device;
    assert!(
        device.discards().of(Discard::TooLong) > 0
            && target.world.backend.discards().of(Discard::TooLong) > 0
    );
    target.finish();
}

#[test]
fn discards_everything_of_the_past() {
    let mut target = target(5);
    for _ in 0..3 {
        for (to, packet) in target.past.clone() {
            target.throw(to, &packet);
        }
    }
    let replayed = target.world.backend.discards().of(Discard::Replayed);
    assert!(replayed >= 3, "{replayed}");
    target.finish();
}

#[test]
fn discards_its_own_packets_sent_back() {
    let mut target = target(6);
    for (to, packet) in target.past.clone().into_iter().chain(target.fresh.clone()) {
        let back = match to {
            To::Backend(_) => To::Device(0),
            To::Device(_) => To::Backend(1000),
        };
        target.throw(back, &packet);
    }
    target.finish();
}

#[test]
fn discards_every_first_byte() {
    let mut target = target(7);
    for (to, packet) in target.fresh.clone() {
        for first in 0..=255u8 {
            if first == packet[0] {
                continue;
            }
            let mut other = packet.clone();
            other[0] = first;
            target.throw(to, &other);
            target.throw(to, &[first]);
        }
    }
    for wrong in
        [Discard::UnknownVersion, Discard::UnknownType, Discard::WrongDirection, Discard::MalformedHeader]
    {
        assert!(target.world.backend.discards().of(wrong) > 0, "{wrong:?}");
        assert!(target.world.nodes[0].device.discards().of(wrong) > 0, "{wrong:?}");
    }
    target.finish();
}

#[test]
fn discards_packets_of_another_backend_and_of_another_session() {
    let mut target = target(8);
    let other = self::target(9);
    for (to, packet) in other.past.iter().chain(&other.fresh) {
        target.throw(*to, packet);
    }
    // Another session of the same backend: its packets under this one's connection id.
    let world = &mut target.world;
    world.link.log = Some(Vec::new());
    world.connect(1);
    world.run_to_connected(1);
    world.record(1, Lane::Trend, &rate(7)).unwrap();
    world.drain(secs(5));
    world.settle();
    let log = world.link.log.take().unwrap();
    let id = target.fresh.iter().find(|(to, _)| matches!(to, To::Backend(_))).unwrap().1[1..6].to_vec();
    let foreign = log
        .into_iter()
        .filter(|(_, to, packet)| packet[0] & 0x80 != 0 && matches!(to, To::Backend(1001) | To::Device(1)));
    for (_, to, mut packet) in foreign.collect::<Vec<_>>() {
        match to {
            To::Backend(_) => {
                packet[1..6].copy_from_slice(&id);
                target.throw(To::Backend(1000), &packet);
            }
            To::Device(_) => target.throw(To::Device(0), &packet),
        }
    }
    // They were sent again meanwhile.
    target.fresh.clear();
    target.finish();
}

#[test]
fn discards_random_bytes() {
    for seed in seeds(20) {
        let mut target = target(100 + seed);
        let mut rng = Rng::new(seed);
        let good: Vec<_> = target.fresh.iter().chain(&target.past).cloned().collect();
        for _ in 0..500 {
            let (to, mut packet) = good[rng.below(good.len() as u64) as usize].clone();
            let kept = rng.below(packet.len() as u64) as usize;
            let len = rng.below(300) as usize;
            packet.truncate(kept);
            packet.extend((0..len).map(|_| rng.next() as u8));
            target.throw(to, &packet);
        }
        target.finish();
    }
}

#[test]
fn strangers_hear_nothing() {
    //= SPEC.md#hello
    //= type=test
    //# A backend MUST NOT answer a Hello whose MAC does not verify.
    let mut target = target(10);
    let hello = target.past[0].1.clone();
    assert_eq!(hello[0], 0x11);
    let mut pki = Pki::new(4242);
    let mut stranger = crate::puppet::PuppetDevice::new(pki.device(0), pki.anchors(), None);
    for _ in 0..20 {
        let hello = stranger.hello();
        target.throw(To::Backend(9), &hello);
    }
    assert_eq!(target.world.backend.discards().of(Discard::BadHelloMac), 20);
    assert!(target.world.backend.poll_handshake().is_none());
    assert!(!target.world.bytes.contains_key(&9) || target.world.bytes[&9].1 == 0);
    target.finish();
}

#[test]
fn forged_replies_and_finishes_do_not_kill_a_handshake() {
    for at in 0..3 {
        let mut world = Setup::new(11).build();
        world.add(|_| {});
        world.connect(0);
        let mut rng = Rng::new(at);
        let end = world.now + secs(5);
        let mut seen = 0;
        // Every packet is preceded by a few forgeries of it.
        world.link.log = Some(Vec::new());
        world.run_until(end, |world| {
            let log = world.link.log.as_mut().unwrap();
            for (now, to, packet) in log.split_off(seen).into_iter() {
                for _ in 0..5 {
                    let mut forged = packet.clone();
                    let byte = 6 + rng.below(packet.len() as u64 - 6) as usize;
                    forged[byte] ^= 1 << rng.below(8);
                    // A Finish that is altered behind its static key costs the attempt: SPEC.md says so.
                    if packet[0] != 0x13 || byte < 54 {
                        world.link.push(now, to, forged, (0, 0));
                    }
                }
                world.link.log.as_mut().unwrap().push((now, to, packet));
                seen += 1;
            }
            world.nodes[0].device.is_connected()
        });
        assert!(world.nodes[0].device.is_connected(), "{:?}", discards(world.backend.discards()));
        let hellos = world.link.log.as_ref().unwrap().iter().filter(|(_, _, packet)| packet[0] == 0x11);
        assert_eq!(hellos.count(), 1, "at the first attempt");
    }
}

#[test]
fn discards_are_counted_by_reason() {
    let before = Discards::default();
    assert_eq!(before.total(), 0);
    let mut target = target(12);
    target.throw(To::Backend(1), &[]);
    assert_eq!(target.world.backend.discards().of(Discard::TooShort), 1);
    target.throw(To::Device(0), &[]);
    assert_eq!(target.world.nodes[0].device.discards().of(Discard::TooShort), 1);
    target.finish();
}
