//! Records through a bad link: complete, once, unaltered.

use crate::app::Policy;
use crate::kit::*;
use crate::link::Faults;
use crate::world::{Setup, World};
use vitalwire::framing::Lane;

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
            world.add(|config| if number == 1 { pinned(config) });
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
        setup.faults = Faults { duplicate: 0.1, reorder: 0.1, ..Faults::loss(0.2 + 0.025 * (seed % 13) as f64) };
        setup.policy = Policy::SLOW;
        let mut world = setup.build();
        world.add(|_| {});
        world.connect(0);
        workload(&mut world, 1, 60);
        world.wait_all_drained_and_check(secs(1800));
    }
}
