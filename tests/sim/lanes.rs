//! Full lanes: alarms go first, what is given up is named, and one channel does not take everything.

use crate::app::Policy;
use crate::kit::*;
use crate::link::{Faults, To, Verdict};
use crate::world::{Setup, World};
use vitalwire::delivery::LanePolicy;
use vitalwire::device::{Device, DeviceConfig, DeviceEvent, DeviceMemory};
use vitalwire::framing::{Lane, Record};
use vitalwire::{CallError, Discard, Instant};

const DROP: [LanePolicy; 4] = LanePolicy::USUAL;

/// Fills every lane but that of alarms.
fn fill(world: &mut World) {
    for round in 0..2000 {
        let trend = world.record(0, Lane::Trend, &rate(round % 200));
        let event = world.record(0, Lane::Event, &event(round as u32));
        let wave = world.wave(0, 200);
        if trend.is_err() && event.is_err() && wave.is_err() {
            return;
        }
    }
    panic!("the lanes do not fill");
}

fn stored_alarms(world: &World) -> usize {
    world.app.store.stored.keys().filter(|(_, stream, _)| stream.lane == Lane::Alarm).count()
}

/// Records frames that the backend could not take, or had already.
fn in_vain(world: &World) -> u32 {
    let discards = world.backend.discards();
    discards.of(Discard::Backpressure) + discards.of(Discard::AwaitingCommit)
}

/// One packet of the device goes to the backend, whose application does its work.
fn one_packet(world: &mut World) -> bool {
    let (now, mut out) = (world.now, [0; 1500]);
    let packet = world.nodes[0].device.poll_transmit(now, &mut Rng::new(5), &mut out).unwrap();
    let Some(packet) = packet.map(<[u8]>::to_vec) else { return false };
    world.deliver(To::Backend(1000), packet);
    world.app.run(now, &mut world.backend);
    true
}

//= SPEC.md#batches
//= type=test
//# A device MUST prefer an alarm that is ready to any other record, an event to a trend, and a trend to a waveform.
#[test]
fn an_alarm_waits_for_at_most_one_packet_when_every_lane_is_full() {
    let mut world = Setup::new(1).connected();
    world.record(0, Lane::Alarm, &alarm(0)).unwrap();
    world.drain(secs(5));
    for round in 1..100 {
        fill(&mut world);
        // One bulk packet is on its way when the alarm comes; the next one has it.
        let bulk = one_packet(&mut world);
        world.record(0, Lane::Alarm, &alarm(round)).expect("no other lane takes the alarms' space");
        assert!(one_packet(&mut world), "round {round}: after {bulk}");
        assert_eq!(stored_alarms(&world), 1 + round as usize, "the alarm was in the next packet");
        world.now = world.now + ms(100);
        let now = world.now;
        let wait = world.nodes[0].device.longest_wait(now, Lane::Waveform).unwrap();
        assert!(wait >= ms(100), "the longest wait can be read: {wait:?}");
        let mut out = [0; 1500];
        while let Some(transmit) = world.backend.poll_transmit(now, &mut world.rng, &mut out).unwrap() {
            let mut packet = transmit.packet.to_vec();
            world.nodes[0].device.handle_packet(now, &mut packet, &mut |_| {});
        }
        assert_eq!(world.nodes[0].device.longest_wait(now, Lane::Alarm), None);
    }
    world.wait_all_drained_and_check(secs(60));
}

#[test]
fn an_application_that_stores_no_bulk_slows_bulk_and_no_alarm() {
    let mut setup = Setup::new(2);
    setup.policy = Policy { bulk: false, ..Policy::PROMPT };
    let mut world = setup.build();
    world.add(|config| config.policies = DROP);
    world.connect(0);
    world.run_to_connected(0);
    let (mut worst, mut sent, mut refused) = (ms(0), 0, 0);
    for round in 0..240u32 {
        if round == 40 {
            // What is outstanding takes away from a new session's credit: it is 0.
            world.connect(0);
            world.run(secs(3));
            refused = in_vain(&world);
        }
        for _ in 0..4 {
            let _ = world.record(0, Lane::Trend, &rate(round as i32 % 200));
            let _ = world.record(0, Lane::Event, &event(round));
            let _ = world.wave(0, 90);
        }
        if round % 3 == 0 {
            world.record(0, Lane::Alarm, &alarm(round)).unwrap();
            sent += 1;
            let raised = world.now;
            assert!(world.run_until(raised + secs(5), |world| stored_alarms(world) == sent), "round {round}");
            worst = worst.max(world.now.since(raised));
        }
        world.run(ms(250));
    }
    assert!(worst <= ms(200), "an alarm took {worst:?}");
    let now = world.now;
    assert!(world.nodes[0].device.longest_wait(now, Lane::Event).unwrap() > secs(50));
    // Of other lanes, one frame at a time goes out, at the pace of the retransmission timer.
    let refused = in_vain(&world) - refused;
    assert!((1..=55 * 5).contains(&refused), "{refused} frames were sent in vain");
    world.app.policy = Policy::PROMPT;
    world.restart_backend();
    world.drain(secs(300));
    world.app.store.assert_accounted(0..1);
    assert!(!world.app.store.gaps.is_empty(), "the waveform lane overflowed");
}

#[test]
fn what_a_full_lane_gives_up_is_named_through_a_hostile_link() {
    for seed in seeds(40) {
        let mut setup = Setup::new(seed);
        setup.faults = Faults::HOSTILE;
        setup.policy = Policy::SLOW;
        let mut world = setup.build();
        world.add(|config| config.policies = [DROP[0], LanePolicy::DropOldest, DROP[2], DROP[3]]);
        world.connect(0);
        for round in 0..40 {
            // Out of reach for most of the time.
            world.link.filter = match round % 10 {
                0..=2 => None,
                _ => Some(Box::new(|_, _| Verdict::Drop)),
            };
            for step in 0..30 {
                world.record(0, Lane::Trend, &rate(step)).unwrap();
                world.record(0, Lane::Event, &event(round)).unwrap();
                world.wave(0, 150).unwrap();
                if step == 0 {
                    world.record(0, Lane::Alarm, &alarm(round)).unwrap();
                }
                world.run(ms(200));
            }
        }
        (world.link.filter, world.link.faults) = (None, Faults::NONE);
        world.drain(secs(600));
        world.app.store.assert_accounted(0..1);
        let told = |lane| {
            let drops = world.nodes[0].events.iter().filter_map(move |event| match event {
                DeviceEvent::RecordsDropped { lane: of, count, .. } if *of == lane => Some(u64::from(*count)),
                _ => None,
            });
            drops.sum::<u64>()
        };
        for lane in Lane::ALL {
            let fill = world.nodes[0].device.fill(lane);
            assert_eq!(told(lane), fill.dropped, "{lane:?}");
            assert_eq!((fill.records, fill.gaps), (0, 0));
        }
        assert!(told(Lane::Waveform) > 100 && told(Lane::Alarm) == 0);
        let gaps = world.app.store.gaps.len();
        assert!(gaps < 120, "{gaps} gap records");
        for event in [DeviceEvent::LaneNearlyFull(Lane::Waveform), DeviceEvent::LaneEased(Lane::Waveform)] {
            assert!(world.nodes[0].events.contains(&event), "{event:?}");
        }
    }
}

/// A device of its own with nothing but lanes.
fn device(change: impl FnOnce(&mut DeviceConfig)) -> Result<Device<'static>, CallError> {
    let mut pki = Pki::new(1);
    let mut config = DeviceConfig::new(pki.device(0), pki.anchors(), pki.time(), 1, 8192);
    change(&mut config);
    let memory =
        DeviceMemory { outbox: vec![0; 8192].leak(), descriptors: descriptors(2).leak(), backlog: &mut [] };
    Device::new(config, memory)
}

#[test]
fn policies_and_quotas_are_checked() {
    let thin = [LanePolicy::Refuse, LanePolicy::Refuse, LanePolicy::Thin, LanePolicy::Thin];
    assert!(device(|config| config.policies = thin).is_ok());
    let invalid = |change: fn(&mut DeviceConfig)| match device(change) {
        Err(CallError::InvalidConfig(_)) => {}
        other => panic!("{:?}", other.map(|_| ())),
    };
    invalid(|config| config.policies[0] = LanePolicy::DropOldest);
    invalid(|config| config.policies[1] = LanePolicy::Thin);
    invalid(|config| config.quotas[3] = 0);
    invalid(|config| config.quotas[0] = 101);
}

#[test]
fn a_channel_that_holds_its_share_leaves_room_for_the_others() {
    let mut device = device(|config| {
        config.quotas = [100, 100, 25, 100];
        config.policies[2] = LanePolicy::Refuse;
    })
    .unwrap();
    let now = Instant::from_millis(1);
    let mut take = |record: &Record<'_>| {
        (0..1000).find_map(|count| Some((count, device.record(now, Lane::Trend, record).err()?))).unwrap()
    };
    // 2048 bytes, a quarter of it for each channel; a record takes 8 + 3 or 8 + 2 bytes
    assert_eq!(take(&rate(100)), (512u32.div_ceil(11), CallError::QuotaExceeded));
    assert_eq!(take(&further(0, 1)), (512u32.div_ceil(10), CallError::QuotaExceeded));
    assert_eq!(take(&rate(100)), (0, CallError::QuotaExceeded));
    assert_eq!(take(&event(1)).1, CallError::QuotaExceeded);
    assert_eq!(take(&further(1, 1)).1, CallError::LaneFull);
    assert!(device.record(now, Lane::Event, &rate(100)).is_ok(), "each lane by itself");
}

#[test]
fn a_thinning_lane_takes_each_channel_less_often() {
    let mut device = device(|config| config.policies[2] = LanePolicy::Thin).unwrap();
    let now = Instant::from_millis(1);
    let mut taken = Vec::new();
    for _ in 0..1000 {
        let results = [rate(100), further(0, 1)].map(|record| device.record(now, Lane::Trend, &record));
        for result in results {
            assert!(result.is_ok() || result == Err(CallError::Thinned));
        }
        assert!(device.record(now, Lane::Trend, &event(1)).is_ok(), "an event is no series");
        taken.push(results.map(|result| result.is_ok()));
    }
    let ok = |from: usize, to: usize, which: usize| taken[from..to].iter().filter(|pair| pair[which]).count();
    assert_eq!((ok(0, 30, 0), ok(0, 30, 1)), (30, 30));
    // full: one of eight, of each channel alike
    assert_eq!((ok(936, 1000, 0), ok(936, 1000, 1)), (8, 8));
    assert!(device.fill(Lane::Trend).dropped > 0);
}
