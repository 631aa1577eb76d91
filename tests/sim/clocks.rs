//! What device stamps mean in wall-clock time.

use crate::facing::*;
use crate::kit::*;
use crate::link::{Faults, To, Verdict};
use crate::world::{Setup, World};
use vitalwire::backend::BackendEvent;
use vitalwire::delivery::{ClockMap, ClockReading, Mapped, Observed};
use vitalwire::framing::*;
use vitalwire::{CallError, Discard, Instant};

const EPOCH: u64 = 1_780_000_000_000;
const TAG: BootTag = BootTag([7; 4]);

fn wall(unix_millis: u64) -> WallReading {
    WallReading { unix_millis, quality: ClockQuality::Synchronised, error: ms(5) }
}

/// A reading of boot 3: at `device`, the backend's wall clock said `arrived` up to `round_trip` later.
fn reading(device: u64, arrived: u64, round_trip: u64) -> ClockReading {
    ClockReading { boot: 3, tag: TAG, device: at(device), arrived: wall(arrived), round_trip: ms(round_trip) }
}

fn mapped(clock: &ClockMap, device: u64) -> Mapped {
    clock.wall_time(3, TAG, at(device)).unwrap()
}

#[track_caller]
fn assert_holds(mapped: Mapped, truth: u64) {
    let off = mapped.unix_millis.abs_diff(truth);
    assert!(off <= mapped.error.as_millis(), "{mapped:?} is {off} ms off {truth}");
}

#[test]
fn drifting_clocks_and_late_packets_never_move_the_time_out_of_its_bound() {
    for seed in seeds(40) {
        let mut rng = Rng::new(seed);
        // The device's clock is wrong by up to 400 ppm, and by 20 more or less from hour to hour.
        let ppm = rng.below(801) as i64 - 400;
        let mut clock = ClockMap::default();
        let (mut device, mut truth) = (rng.below(1 << 40), EPOCH);
        let mut told = Vec::new();
        let mut measured = false;
        for _ in 0..60 {
            let step = 1 + rng.below(3_600_000);
            let change = rng.below(41) as i64 - 20;
            truth += step;
            device += (step as i64 + step as i64 * (ppm + change) / 1_000_000) as u64;
            told.push((device, truth));
            if rng.chance(0.6) {
                let (up, down) = (rng.below(4_000), rng.below(4_000));
                let off = rng.below(11);
                let observed = clock.observe(&reading(device, truth + up + off - 5, up + down));
                assert!(!matches!(observed, Observed::Jump(_)), "{observed:?}");
                measured = true;
            }
            if measured {
                told.iter().for_each(|(device, truth)| assert_holds(mapped(&clock, *device), *truth));
            }
        }
        let bytes = serde_json::to_vec(&clock).unwrap();
        assert!(bytes.len() < 2_000);
        assert_eq!(serde_json::from_slice::<ClockMap>(&bytes).unwrap(), clock);
    }
}

#[test]
fn a_measured_drift_keeps_the_bound_small() {
    let mut clock = ClockMap::default();
    // 200 ppm slow: an hour apart, with round trips of 40 ms.
    let device = |truth: u64| truth - truth * 200 / 1_000_000;
    clock.observe(&reading(device(0), EPOCH + 20, 40));
    let day = 24 * 3_600_000;
    let assumed = mapped(&clock, device(day));
    assert_holds(assumed, EPOCH + day);
    assert!(assumed.error > secs(43), "half a thousandth of a day");
    for hour in 1..5 {
        let truth = hour * 3_600_000;
        assert_eq!(clock.observe(&reading(device(truth), EPOCH + truth + 20, 40)), Observed::New);
    }
    let measured = mapped(&clock, device(day));
    assert_holds(measured, EPOCH + day);
    assert!(measured.error < secs(6), "{measured:?}");
    assert_eq!(measured.quality, ClockQuality::Estimated);
    // The drift changes by 45 ppm after it was measured well: the bound allows for that.
    let mut exact = ClockMap::default();
    for hour in 0..5 {
        exact.observe(&reading(hour * 3_600_000, EPOCH + hour * 3_600_000 + 1, 2));
    }
    let last = 4 * 3_600_000;
    assert_holds(mapped(&exact, last + day), EPOCH + last + day + day * 45 / 1_000_000);
    // What is known better is not stored again.
    assert_eq!(
        clock.observe(&reading(device(4 * 3_600_000) + 10, EPOCH + 4 * 3_600_000 + 500, 900)),
        Observed::Known
    );
}

#[test]
fn a_jump_makes_the_time_between_wide_and_nothing_else_wrong() {
    let hour = 3_600_000;
    // The device's clock stood still for ten minutes; or the backend's was set back by ten minutes.
    for skew in [600_000i64, -600_000, 1_500, -1_500] {
        let mut clock = ClockMap::default();
        let at_wall = |device: u64, jumped: bool| {
            (EPOCH + device).checked_add_signed(if jumped { skew } else { 0 }).unwrap()
        };
        for n in 0..4 {
            clock.observe(&reading(n * hour, at_wall(n * hour, false) + 20, 40));
        }
        let before = mapped(&clock, 2 * hour + hour / 2);
        let observed = clock.observe(&reading(5 * hour, at_wall(5 * hour, true) + 20, 40));
        let Observed::Jump(by) = observed else { panic!("{observed:?}") };
        let most = skew.unsigned_abs();
        assert!((most - 1_000..=most).contains(&by.as_millis()), "{by:?}");
        clock.observe(&reading(6 * hour, at_wall(6 * hour, true) + 20, 40));
        assert_eq!(mapped(&clock, 2 * hour + hour / 2), before, "what was known stays");
        assert!(before.error < secs(1));
        let between = mapped(&clock, 4 * hour);
        assert_holds(between, at_wall(4 * hour, false));
        assert_holds(between, at_wall(4 * hour, true));
        let after = mapped(&clock, 5 * hour + hour / 2);
        assert_holds(after, at_wall(5 * hour + hour / 2, true));
        assert!(after.error < secs(2), "{after:?}");
        // No drift is measured over the jump: long after it the bound still holds.
        assert_holds(mapped(&clock, 30 * hour), at_wall(30 * hour, true));
        // A late reading of before the jump still finds its place.
        assert_eq!(clock.observe(&reading(hour + 1, at_wall(hour + 1, false) + 1, 2)), Observed::New);
    }
}

#[test]
fn a_boot_without_a_reading_has_no_time_but_lies_between_others() {
    let mut clock = ClockMap::default();
    assert_eq!((clock.wall_time(3, TAG, at(1)), clock.bounds(3)), (None, (None, None)));
    clock.observe(&reading(60_000, EPOCH, 40));
    assert_eq!(clock.wall_time(3, BootTag([8; 4]), at(60_000)), None, "another tag is another boot");
    assert_eq!(clock.wall_time(2, TAG, at(60_000)), None);
    let later = ClockReading { boot: 6, ..reading(10_000, EPOCH + 900_000, 40) };
    clock.observe(&later);
    let (after, before) = clock.bounds(4);
    assert_eq!(after, Some(EPOCH - 45));
    assert_eq!(before, Some(EPOCH + 900_000 + 5 - 10_000 + 5));
    assert_eq!(clock.bounds(7), (Some(EPOCH + 900_000 - 45), None));
    // Bounded in boots and readings, and what is damaged is refused.
    for boot in 10..30 {
        for n in 0..40 {
            clock.observe(&ClockReading { boot, ..reading(n * 7_200_000, EPOCH + n * 7_200_000, n) });
        }
    }
    assert!(clock.wall_time(21, TAG, at(1)).is_none() && clock.wall_time(22, TAG, at(1)).is_some());
    let json = serde_json::to_string(&clock).unwrap();
    assert_eq!(json.matches("device").count(), 8 * 16);
    let twice =
        json.replacen("[{\"boot\":22", "[{\"boot\":9,\"tag\":[0,0,0,0],\"anchors\":[]},{\"boot\":22", 1);
    assert!(twice != json && serde_json::from_str::<ClockMap>(&twice).is_err());
}

#[test]
fn extreme_stamps_are_harmless() {
    let mut clock = ClockMap::default();
    for device in [0, 1, u64::MAX, u64::MAX / 2, 1 << 63] {
        for arrived in [0, 1, (1 << 45) - 1] {
            for round_trip in [0, u64::MAX] {
                clock.observe(&reading(device, arrived, round_trip));
                for stamp in [0, 1, u64::MAX, 1 << 62] {
                    clock.wall_time(3, TAG, at(stamp));
                }
            }
        }
    }
    clock.bounds(9);
}

fn readings(world: &World) -> Vec<ClockReading> {
    let readings = world.backend_events.iter().filter_map(|event| match event {
        BackendEvent::Clock { reading, .. } => Some(*reading),
        _ => None,
    });
    readings.collect()
}

#[test]
fn both_ends_learn_the_time_over_a_slow_and_lopsided_link() {
    let faults = Faults { delay: (300, 300), ..Faults::NONE };
    let mut world = Setup { faults, ..Setup::new(1) }.build();
    world.add(|_| {});
    let identity = world.identity(0);
    assert_eq!(world.backend.sync_time(world.now, &identity), Err(CallError::NoSession));
    let now = world.now;
    assert_eq!(world.node(0).device.sync_time(now), Err(CallError::NoSession));
    world.connect(0);
    world.run_to_connected(0);
    // The same clock on both sides makes the truth plain: wall = EPOCH + now.
    let truth = |now: Instant| EPOCH + now.as_millis();
    world.link.filter = Some(Box::new(|to, _| match to {
        To::Backend(_) => Verdict::Late(1_500),
        To::Device(_) => Verdict::Pass,
    }));
    world.backend.set_wall_time(world.now, wall(truth(world.now)));
    world.backend.sync_time(world.now, &identity).unwrap();
    let now = world.now;
    world.node(0).device.sync_time(now).unwrap();
    let floor = world.nodes[0].device.time();
    world.run(secs(8));
    let readings = readings(&world);
    assert!(!readings.is_empty());
    let mut clock = ClockMap::default();
    for reading in &readings {
        assert!(reading.round_trip >= ms(1_800) && reading.round_trip < ms(1_900), "{reading:?}");
        clock.observe(reading);
    }
    let ClockReading { boot, tag, device, .. } = readings[0];
    assert_eq!(boot, 7);
    let mapped = clock.wall_time(boot, tag, device).unwrap();
    assert_holds(mapped, truth(device));
    let own = world.nodes[0].device.wall_time(world.now).unwrap();
    assert!(own.unix_millis.abs_diff(truth(world.now)) <= own.error.as_millis(), "{own:?}");
    assert!(own.error < ms(1_100));
    //= SPEC.md#time
    //= type=test
    //# A device MUST NOT judge a credential by the time of a TimeSync frame.
    assert_eq!(world.nodes[0].device.time(), floor);
    // Nobody asks on, and the device's clock widens with time.
    let sent = world.bytes[&1000];
    let later = world.now + secs(3600);
    world.run(secs(3600));
    assert_eq!(world.bytes[&1000], sent);
    assert_eq!(world.nodes[0].device.wall_time(later).unwrap().error, own.error + ms(1_800));
}

#[test]
fn clocks_are_compared_when_a_device_is_heard_anyway() {
    let every_hour = |config: &mut vitalwire::backend::BackendConfig| config.time_sync = Some(secs(3600));
    let mut world = Setup { backend: every_hour, ..Setup::new(2) }.build();
    world.add(|_| {});
    world.backend.set_wall_time(world.now, wall(EPOCH));
    world.connect(0);
    for _ in 0..200 {
        let _ = world.record(0, Lane::Trend, &rate(1));
        world.run(secs(60));
    }
    assert_eq!(readings(&world).len(), 4, "at the start, and with the first packet after each hour");
}

#[test]
fn echoes_of_what_was_never_sent_are_ignored() {
    //= SPEC.md#time
    //= type=test
    //# An end MUST ignore an echo of a frame that it has not sent, or that was held longer than it was away.
    let mut against = Against::new(3);
    against.world.backend.set_wall_time(against.world.now, wall(EPOCH));
    let boot = Some((3, TAG));
    let plain = TimeSyncFrame { ask: true, boot, ..TimeSyncFrame::stamp(at(5)) };
    let now = against.world.now;
    let echoing = |sent: Instant, held| {
        Frame::TimeSync(TimeSyncFrame { echo: Some(TimeEcho { sent, held: ms(held) }), ..plain })
    };
    against.frames(&[echoing(now, 0)]);
    assert_eq!(against.world.backend.discards().of(Discard::ImplausibleTime), 1, "nothing was sent yet");
    assert!(against.frames(&[Frame::TimeSync(plain)]).iter().any(|frame| frame.starts_with("TimeSync")));
    against.world.run(ms(500));
    for (sent, held) in [(at(now.as_millis() - 1), 0), (now + ms(501), 0), (now, 502), (now, u64::MAX)] {
        against.frames(&[echoing(sent, held)]);
    }
    assert_eq!(against.world.backend.discards().of(Discard::ImplausibleTime), 5);
    assert!(readings(&against.world).is_empty());
    against.frames(&[echoing(now, 400)]);
    let readings = readings(&against.world);
    assert_eq!((readings.len(), readings[0].round_trip), (1, ms(101)));
    // And on the device's side.
    let mut facing = Facing::connected();
    facing.device.sync_time(facing.now).unwrap();
    let asked = facing.now;
    assert!(facing.said()[0].starts_with("TimeSync"));
    facing.now = facing.now + ms(100);
    let answer = |sent, held| {
        let echo = Some(TimeEcho { sent, held: ms(held) });
        Frame::TimeSync(TimeSyncFrame { echo, wall: Some(wall(EPOCH)), ..TimeSyncFrame::stamp(at(9)) })
    };
    for (sent, held) in [(at(0), 0), (asked + ms(101), 0), (asked, 101)] {
        facing.frames(&[answer(sent, held)]);
    }
    assert_eq!(facing.device.discards().of(Discard::ImplausibleTime), 3);
    assert_eq!(facing.device.wall_time(facing.now), None);
    facing.frames(&[answer(asked, 60)]);
    let told = WallReading { quality: ClockQuality::Estimated, error: ms(25), ..wall(EPOCH + 20) };
    assert_eq!(facing.device.wall_time(facing.now), Some(told));
    // A later one that contradicts it takes over, and its bound says that it may be wrong.
    facing.device.sync_time(facing.now).unwrap();
    let asked = facing.now;
    facing.said();
    let jumped = Some(wall(EPOCH + 90_000));
    let echo = Some(TimeEcho { sent: asked, held: ms(0) });
    facing.frames(&[Frame::TimeSync(TimeSyncFrame { echo, wall: jumped, ..TimeSyncFrame::stamp(at(9)) })]);
    let now = facing.device.wall_time(facing.now).unwrap();
    assert!(now.unix_millis == EPOCH + 90_000 && now.error >= secs(89), "{now:?}");
}

#[test]
fn a_device_cannot_flood_the_application_with_readings() {
    let mut against = Against::new(40);
    let identity = against.puppet.identity.identity().unwrap();
    let now = against.world.now;
    against.world.backend.set_wall_time(now, wall(EPOCH));
    against.world.backend.sync_time(now, &identity).unwrap();
    against.world.settle();
    let echo = Some(TimeEcho { sent: now, held: ms(0) });
    let frame = TimeSyncFrame { boot: Some((1, TAG)), echo, ..TimeSyncFrame::stamp(at(5)) };
    against.frames(&[Frame::TimeSync(frame); 30]);
    let readings = |against: &Against| {
        let clock = |event: &&BackendEvent| matches!(event, BackendEvent::Clock { identity: of, .. } if *of == identity);
        against.world.backend_events.iter().filter(clock).count()
    };
    assert_eq!(readings(&against), 1, "one question, one reading");
    against.world.run(secs(1));
    let now = against.world.now;
    against.world.backend.sync_time(now, &identity).unwrap();
    against.world.settle();
    let echo = Some(TimeEcho { sent: now, held: ms(0) });
    against.frames(&[Frame::TimeSync(TimeSyncFrame { echo, ..frame })]);
    assert_eq!(readings(&against), 2);
}
