//! Records through a bad link: complete, once, unaltered.

use crate::app::Policy;
use crate::kit::*;
use crate::link::{Faults, Verdict};
use crate::world::{Setup, World};
use vitalwire::backend::BackendEvent;
use vitalwire::device::DeviceEvent;
use vitalwire::framing::{Lane, RefusedReason};
use vitalwire::handshake::Limits;
use vitalwire::identity::{Role, Scopes};
use vitalwire::{CallError, Discard};

/// A device's day in a few seconds: records of every lane, a few at a time.
pub(crate) fn workload(world: &mut World, devices: usize, rounds: u32) {
    for round in 0..rounds {
        for number in 0..devices {
            let _ = world.record(number, Lane::Trend, &rate(60 + round as i32 % 50));
            if round % 5 == 1 {
                let _ = world.record(number, Lane::Event, &event(round));
            }
            if round % 7 == 2 {
                let _ = world.record(number, Lane::Alarm, &alarm(round));
            }
            if round % 2 == 0 {
                let _ = world.wave(number, 90);
            }
        }
        world.run(ms(250));
    }
}

#[test]
fn drains_a_good_link() {
    let mut world = Setup::new(1).build();
    for _ in 0..2 {
        let number = world.add(|_| {});
        world.connect(number);
    }
    workload(&mut world, 2, 40);
    world.wait_all_drained_and_check(secs(10));
    assert!(world.app.store.stored.len() > 100);
}

#[test]
fn delivers_once_through_a_hostile_link_for_many_seeds() {
    for seed in seeds(200) {
        let mut setup = Setup::new(seed);
        setup.faults = Faults::HOSTILE;
        setup.policy = Policy::SLOW;
        setup.job_delay = (0, 50);
        let mut world = setup.build();
        let pinned = world.pinned();
        for number in 0..2 {
            world.add(|config| {
                if number == 1 {
                    pinned(config)
                }
            });
            world.connect(number);
        }
        workload(&mut world, 2, 12);
        world.link.faults = Faults::NONE;
        world.wait_all_drained_and_check(secs(400));
    }
}

#[test]
fn heavy_loss_only_delays() {
    for seed in seeds(12) {
        let mut setup = Setup::new(seed);
        setup.faults =
            Faults { duplicate: 0.1, reorder: 0.1, ..Faults::loss(0.2 + 0.025 * (seed % 13) as f64) };
        setup.policy = Policy::SLOW;
        let mut world = setup.build();
        world.add(|_| {});
        world.connect(0);
        workload(&mut world, 1, 60);
        world.wait_all_drained_and_check(secs(1800));
    }
}

#[test]
fn small_packets_carry_everything() {
    for seed in seeds(3) {
        for max_packet in [64, 100, 247] {
            let mut setup = Setup::new(seed);
            setup.max_packet = max_packet;
            setup.faults = Faults { reorder: 0.1, ..Faults::loss(0.1) };
            setup.policy = Policy { commit_delay: (0, 100), ..Policy::PROMPT };
            let mut world = setup.build();
            // 43 channels: dozens of packets for the descriptors alone.
            world.add_with_set(descriptors(40), |config| {
                config.limits = Limits::new(max_packet, 128, secs(7200)).unwrap();
                config.boot = u32::MAX;
            });
            world.connect(0);
            workload(&mut world, 1, 30);
            world.link.faults = Faults::NONE;
            world.wait_all_drained_and_check(secs(600));
        }
    }
}

#[test]
fn long_lived_streams_are_named_on_the_smallest_packets() {
    // Four streams with long sequences do not fit one Streams frame in 64 bytes.
    let mut setup = Setup::new(1);
    setup.max_packet = 64;
    let mut world = setup.build();
    world.add(|config| {
        config.limits = Limits::new(64, 128, secs(7200)).unwrap();
        config.boot = u32::MAX;
    });
    world.connect(0);
    let lanes = [(Lane::Trend, rate(1)), (Lane::Event, event(1)), (Lane::Alarm, alarm(1))];
    for _ in 0..300 {
        for _ in 0..60 {
            for (lane, record) in &lanes {
                let _ = world.record(0, *lane, record);
            }
        }
        world.run(ms(900));
    }
    world.drain(secs(100));
    world.wave(0, 400).unwrap();
    world.drain(secs(100));
    world.restart_backend();
    for (lane, record) in &lanes {
        world.record(0, *lane, record).unwrap();
    }
    world.wave(0, 400).unwrap();
    world.wait_all_drained_and_check(secs(100));
    assert!(world.app.store.stored.len() > 40_000);
}

#[test]
fn a_long_descriptor_set_arrives_in_any_order() {
    //= SPEC.md#descriptors-frame
    //= type=test
    //# A device MUST send its descriptor set when the backend asks for it, and repeat it from the front until an Ack names a stream with it.
    for seed in seeds(10) {
        let mut setup = Setup::new(seed);
        setup.max_packet = 64;
        setup.faults = Faults { reorder: 0.5, duplicate: 0.2, ..Faults::loss(0.3) };
        let mut world = setup.build();
        world.add_with_set(descriptors(60), |_| {});
        world.connect(0);
        world.record(0, Lane::Event, &event(1)).unwrap();
        world.wait_all_drained_and_check(secs(1200));
    }
}

#[test]
fn a_backend_that_forgot_the_descriptors_asks_for_them() {
    let mut world = Setup::new(1).build();
    world.link.log = Some(Vec::new());
    for number in 0..3 {
        world.add(|_| {});
        world.connect(number);
        world.record(number, Lane::Trend, &rate(1)).unwrap();
        world.drain(secs(5));
    }
    world.restart_backend();
    for number in 0..3 {
        world.record(number, Lane::Trend, &rate(2)).unwrap();
    }
    world.wait_all_drained_and_check(secs(10));
    assert!(world.backend.discards().of(Discard::UnknownDescriptors) > 0);
}

#[test]
fn records_out_of_scope_are_refused_and_reported_and_hold_up_nobody() {
    let mut setup = Setup::new(1);
    // The application grants less than the credential says.
    setup.policy = Policy { scopes: Scopes::MEASUREMENTS | Scopes::ALARMS, ..Policy::PROMPT };
    let mut world = setup.build();
    world.add(|_| {});
    world.connect(0);
    for round in 0..20 {
        world.record(0, Lane::Trend, &rate(round)).unwrap();
        if round % 3 == 0 {
            world.record(0, Lane::Trend, &event(round as u32)).unwrap();
            world.record(0, Lane::Trend, &event(round as u32 + 1)).unwrap();
        }
        world.record(0, Lane::Event, &event(round as u32)).unwrap();
        world.record(0, Lane::Alarm, &alarm(round as u32)).unwrap();
        world.run(ms(150));
    }
    world.drain(secs(30));
    let stored = world.app.store.stored.len();
    assert_eq!(stored, 40, "the rates and the alarms");
    assert_eq!(world.app.store.repeats, 0);
    let reported: u32 = world.nodes[0]
        .events
        .iter()
        .map(|event| match event {
            DeviceEvent::RecordsRefused { count, reason: RefusedReason::OutOfScope, .. } => *count,
            _ => 0,
        })
        .sum();
    assert_eq!(reported, 20 + 14);
    assert!(world.backend_events.iter().any(|event| matches!(event, BackendEvent::ScopeRefused { .. })));
    assert_eq!(world.backend.discards().of(Discard::MalformedFrames), 0);
    // The ledger moved past them.
    let identity = world.identity(0);
    world.run(secs(2));
    world.record(0, Lane::Trend, &rate(1)).unwrap();
    world.drain(secs(5));
    let ledger = &world.app.store.ledgers[&identity];
    let trend = ledger.streams().find(|(key, _)| key.lane == Lane::Trend).unwrap();
    assert_eq!(trend.1.cumulative(), 20 + 14 + 1);
}

#[test]
fn records_outside_the_own_credential_are_not_accepted() {
    let mut world = Setup::new(2).build();
    let identity = world.pki.identity(subject(0), Role::Device, Scopes::MEASUREMENTS);
    world.add(|config| config.identity = identity);
    assert_eq!(world.record(0, Lane::Alarm, &alarm(1)), Err(CallError::OutOfScope));
    assert_eq!(world.record(0, Lane::Event, &event(1)), Err(CallError::OutOfScope));
    assert_eq!(world.record(0, Lane::Trend, &rate(1)), Ok(()));
}

#[test]
fn an_empty_grant_permits_nothing() {
    let mut setup = Setup::new(3);
    setup.policy = Policy { scopes: Scopes::NONE, ..Policy::PROMPT };
    let mut world = setup.build();
    world.add(|_| {});
    world.connect(0);
    world.record(0, Lane::Trend, &rate(1)).unwrap();
    world.record(0, Lane::Alarm, &alarm(1)).unwrap();
    world.drain(secs(10));
    assert!(world.app.store.stored.is_empty());
}

#[test]
fn bulk_in_flight_never_exceeds_the_credit() {
    // Uncommitted batches of a session that was replaced take away from the next one's credit, but not the alarms'.
    let mut setup = Setup::new(4);
    setup.policy = Policy { commits: false, ..Policy::PROMPT };
    let mut world = setup.build();
    world.add(|config| config.linger = [ms(0); 4]);
    world.connect(0);
    world.run_to_connected(0);
    for round in 0..120 {
        let _ = world.record(0, Lane::Trend, &rate(round));
        let _ = world.record(0, Lane::Event, &event(round as u32));
        let _ = world.wave(0, 20);
        world.run(ms(30));
    }
    let full = world.backend.discards().of(Discard::Backpressure);
    assert!(full <= 400, "{full} frames were sent for nothing");
}

#[test]
fn a_lost_credit_is_told_again() {
    let mut world = Setup::new(5).build();
    world.add(|_| {});
    world.link.log = Some(Vec::new());
    // The first packets of the backend in the session are lost, and the credit with them.
    let mut lost = 0;
    world.link.filter = Some(Box::new(move |to, packet| {
        let data = matches!(to, crate::link::To::Device(_)) && packet[0] & 0x80 != 0;
        lost += usize::from(data);
        if data && lost == 1 { Verdict::Drop } else { Verdict::Pass }
    }));
    world.connect(0);
    world.run_to_connected(0);
    for round in 0..10 {
        world.record(0, Lane::Trend, &rate(round)).unwrap();
        world.run(secs(1));
    }
    // 24 batches may be in flight now, not 8: nothing is acknowledged any more.
    world.link.filter =
        Some(Box::new(
            |to, _| {
                if matches!(to, crate::link::To::Device(_)) { Verdict::Drop } else { Verdict::Pass }
            },
        ));
    let log = world.link.log.as_mut().unwrap();
    log.clear();
    for round in 0..20 {
        world.record(0, Lane::Trend, &rate(round)).unwrap();
        world.run(ms(5));
    }
    let up = |to: &crate::link::To| matches!(to, crate::link::To::Backend(_));
    assert!(world.link.log.as_ref().unwrap().iter().filter(|(_, to, _)| up(to)).count() > 12);
    world.link.filter = None;
    world.wait_all_drained_and_check(secs(100));
}

#[test]
fn a_short_output_buffer_uses_no_counter_and_loses_nothing() {
    let mut world = Setup::new(6).build();
    world.add(|_| {});
    world.connect(0);
    let short = |world: &mut World, len: usize| {
        let (now, mut rng) = (world.now, Rng::new(5));
        let mut out = vec![0; len];
        let error = world.nodes[0]
            .device
            .poll_transmit(now, &mut rng, &mut out)
            .map(|packet| packet.map(<[u8]>::len));
        assert!(matches!(error, Err(CallError::BufferTooSmall(_))), "{len}: {error:?}");
    };
    (0..96).step_by(19).for_each(|len| short(&mut world, len));
    world.run_to_connected(0);
    world.drain(secs(5));
    world.link.log = Some(Vec::new());
    for round in 0..3 {
        world.wave(0, 300).unwrap();
        // Once the stream is named, there is nothing shorter than the samples to send.
        let most = if round == 0 { 64 } else { 150 };
        (0..most).step_by(7).for_each(|len| short(&mut world, len));
        world.run(secs(1 + round));
    }
    world.wait_all_drained_and_check(secs(5));
    let log = world.link.log.take().unwrap();
    let counters: Vec<u8> = log
        .iter()
        .filter(|(_, to, _)| matches!(to, crate::link::To::Backend(_)))
        .map(|(_, _, p)| p[6])
        .collect();
    assert!(counters.windows(2).all(|pair| pair[1] == pair[0] + 1), "{counters:?}");
}

#[test]
fn a_short_buffer_of_the_backend_blocks_nobody() {
    let mut world = Setup::new(7).build();
    for number in 0..2 {
        world.add(|_| {});
        world.connect(number);
        world.run_to_connected(number);
    }
    for number in 0..2 {
        world.record(number, Lane::Trend, &rate(1)).unwrap();
    }
    world.settle();
    world.now = world.now + secs(1);
    while let Some((to, packet)) = world.link.pop_due(world.now) {
        world.deliver(to, packet);
    }
    let now = world.now;
    world.app.run(now, &mut world.backend);
    for len in 0..64 {
        let mut out = vec![0; len];
        assert!(world.backend.poll_transmit(now, &mut world.rng, &mut out).is_err(), "{len}");
    }
    for number in 0..2 {
        world.node(number);
    }
    world.wait_all_drained_and_check(secs(1));
    assert_eq!(world.nodes[0].device.discards().total(), 0);
}

#[test]
fn data_and_alarms_flow_without_randomness() {
    let mut world = Setup::new(8).build();
    world.add(|config| config.rekey = config.rekey.dh_after(secs(30)).unwrap());
    world.backend.preload_descriptors(&descriptors(0)).unwrap();
    world.connect(0);
    world.run_to_connected(0);
    for round in 0..100 {
        world.record(0, Lane::Alarm, &alarm(round)).unwrap();
        let (now, mut out) = (world.now, [0; 1500]);
        let mut sent = 0;
        // At first the link, then the device's generator fails.
        while let Ok(Some(packet)) = world.nodes[0].device.poll_transmit(now, &mut Broken, &mut out) {
            let packet = packet.to_vec();
            world.deliver(crate::link::To::Backend(1000), packet);
            sent += 1;
        }
        assert_eq!(sent, 1, "round {round}");
        world.now = world.now + secs(1);
        let now = world.now;
        world.app.run(now, &mut world.backend);
        while let Some(transmit) = world.backend.poll_transmit(now, &mut Broken, &mut out).unwrap() {
            let mut packet = transmit.packet.to_vec();
            world.nodes[0].device.handle_packet(now, &mut packet, &mut |_| {});
        }
        assert!(world.nodes[0].device.is_drained(), "round {round}");
    }
    assert_eq!(world.nodes[0].device.ratchets().1, 0);
    world.record(0, Lane::Alarm, &alarm(1)).unwrap();
    world.wait_all_drained_and_check(secs(5));
    world.run(secs(1));
    world.record(0, Lane::Alarm, &alarm(1)).unwrap();
    world.wait_all_drained_and_check(secs(5));
    assert_eq!(world.nodes[0].device.ratchets().1, 1);
}
