//! Devices whose random source fails: they say so, go on with what needs none, and lose nothing.

use crate::kit::*;
use crate::link::To;
use crate::world::{Setup, World};
use vitalwire::device::*;
use vitalwire::framing::Lane;
use vitalwire::limits::STORAGE_RETRY;
use vitalwire::storage::{Item, MemoryStorage, StorageKey};
use vitalwire::{CallError, Entropy, EntropyError};

const FAILED: CallError = CallError::Entropy(EntropyError);

#[test]
fn a_device_that_cannot_connect_for_want_of_randomness_says_so_and_keeps_its_records() {
    let mut world = Setup::new(1).build();
    let number = world.add(|_| {});
    world.record(number, Lane::Alarm, &alarm(1)).unwrap();
    let (now, mut out) = (world.now, [0; 1500]);
    let device = &mut world.nodes[number].device;
    device.connect(now);
    for _ in 0..3 {
        assert_eq!(device.poll_transmit(now, &mut Broken, &mut out), Err(FAILED));
    }
    world.record(number, Lane::Event, &event(2)).unwrap();
    world.connect(number);
    world.wait_all_drained_and_check(secs(60));
}

/// A device whose session stands, and which has nothing but an alarm to send.
fn an_alarm_to_send(seed: u64) -> (World, usize) {
    let mut world = Setup::new(seed).build();
    let number = world.add(|_| {});
    world.connect(number);
    world.run_to_connected(number);
    world.drain(secs(60));
    world.record(number, Lane::Alarm, &alarm(1)).unwrap();
    (world, number)
}

#[test]
fn a_session_goes_on_while_no_handshake_can_be_made() {
    let (mut world, number) = an_alarm_to_send(2);
    let (now, mut out) = (world.now, [0; 1500]);
    let path = world.nodes[number].path;
    let device = &mut world.nodes[number].device;
    // A new session is wanted beside this one.
    device.connect(now);
    let packet = device.poll_transmit(now, &mut Broken, &mut out).unwrap().expect("the alarm").to_vec();
    assert_eq!(
        device.poll_transmit(now, &mut Broken, &mut out),
        Err(FAILED),
        "then nothing else can be sent"
    );
    assert!(device.is_connected());
    world.deliver(To::Backend(path), packet);
    world.wait_all_drained_and_check(secs(60));
}

#[test]
fn data_goes_on_while_no_ratchet_can_be_made() {
    let (mut world, number) = an_alarm_to_send(3);
    let (now, mut out) = (world.now, [0; 1500]);
    let path = world.nodes[number].path;
    let device = &mut world.nodes[number].device;
    let before = device.ratchets();
    device.rekey();
    let packet = device.poll_transmit(now, &mut Broken, &mut out).unwrap().expect("the alarm").to_vec();
    assert_eq!(device.poll_transmit(now, &mut Broken, &mut out), Err(FAILED), "the ratchet is still owed");
    world.deliver(To::Backend(path), packet);
    world.wait_all_drained_and_check(secs(60));
    // The new epoch begins with the next record.
    world.run(secs(1));
    world.record(number, Lane::Trend, &rate(70)).unwrap();
    world.wait_all_drained_and_check(secs(60));
    assert_eq!(world.nodes[number].device.ratchets().1, before.1 + 1, "it is made up for");
}

/// Fails from the draw with this number on, until it is repaired.
struct Failing {
    rng: Rng,
    left: u32,
}

impl Entropy for Failing {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.left = self.left.checked_sub(1).ok_or(EntropyError)?;
        self.rng.fill(out)
    }
}

fn serve(flash: &mut MemoryStorage, now: vitalwire::Instant, device: &mut Device<'_>, rng: &mut dyn Entropy) {
    while let Some(request) = device.poll_storage(now, rng) {
        let reply = flash.serve(request);
        device.handle_storage(now, reply);
    }
}

fn stored_device(pki: &mut Pki) -> Device<'static> {
    const MEMORY: usize = 8192;
    let (identity, pin) = (pki.device(0), pin_of(&pki.backend()));
    let mut config = DeviceConfig::new(identity, pki.anchors(), pki.time(), 1, MEMORY);
    config.pin = Some(pin);
    config.storage = Some(StorageConfig::new(StorageKey::from_bytes([1; 32]), MEMORY));
    let memory = DeviceMemory {
        outbox: vec![0; MEMORY].leak(),
        descriptors: descriptors(0).leak(),
        backlog: vec![0; MEMORY].leak(),
    };
    let mut device = Device::new(config, memory).unwrap();
    device.handle_link(at(0), Link::Up { max_packet: 1200 });
    device.connect(at(0));
    device
}

fn troubles(device: &mut Device<'_>) -> Vec<StorageTrouble> {
    let events = core::iter::from_fn(|| device.poll_event());
    let trouble = |event| if let DeviceEvent::StorageTrouble(trouble) = event { Some(trouble) } else { None };
    events.filter_map(trouble).collect()
}

#[test]
fn a_start_with_storage_that_lacks_randomness_is_told_and_made_up_for() {
    let mut device = stored_device(&mut Pki::new(4));
    let (now, mut flash, mut out) = (at(1_000), MemoryStorage::default(), [0; 1500]);
    device.record(now, Lane::Alarm, &alarm(1)).unwrap();
    for _ in 0..3 {
        serve(&mut flash, now, &mut device, &mut Broken);
        assert_eq!(device.poll_transmit(now, &mut Broken, &mut out), Err(FAILED));
        assert_eq!(device.poll_timeout(), Some(now + STORAGE_RETRY), "it does not sleep for ever, nor spin");
    }
    assert_eq!(troubles(&mut device), [StorageTrouble::NoEntropy], "once");
    assert!(flash.items().next().is_none() && !device.is_all_stored());

    let later = now + STORAGE_RETRY;
    let mut rng = Rng::new(4);
    serve(&mut flash, later, &mut device, &mut rng);
    assert!(device.is_all_stored() && device.boot() == Some(1));
    assert!(device.poll_transmit(later, &mut rng, &mut out).unwrap().is_some());
    assert_eq!(troubles(&mut device), []);
}

#[test]
fn whatever_draw_fails_first_nothing_is_lost_and_what_needs_none_is_stored() {
    let mut kept_on = 0;
    for left in 0..12 {
        let mut device = stored_device(&mut Pki::new(5));
        let (now, mut flash) = (at(1_000), MemoryStorage::default());
        // So that only the storage has anything to do.
        device.handle_link(now, Link::Down);
        let mut rng = Failing { rng: Rng::new(5), left };
        device.record(now, Lane::Alarm, &alarm(1)).unwrap();
        serve(&mut flash, now, &mut device, &mut rng);
        let listed = flash.used(Lane::Alarm) > 0;
        let starved = troubles(&mut device);
        assert!(starved.is_empty() || starved == [StorageTrouble::NoEntropy], "{left}: {starved:?}");

        // The generator still fails: an entry takes no salt, once its boot is in the table.
        let now = now + secs(6);
        device.record(now, Lane::Alarm, &alarm(2)).unwrap();
        device.record(now, Lane::Trend, &rate(70)).unwrap();
        let now = now + secs(6);
        serve(&mut flash, now, &mut device, &mut rng);
        assert_eq!(troubles(&mut device), [], "{left}: reported once");
        if listed {
            assert!(device.is_all_stored(), "{left}: stored without randomness");
            kept_on += u32::from(starved == [StorageTrouble::NoEntropy]);
        }
        if !starved.is_empty() {
            let due = device.poll_timeout();
            assert!(due.is_some_and(|due| due > now), "{left}: {due:?} would have the device spin");
        }

        // Repaired.
        rng.left = u32::MAX;
        serve(&mut flash, now + STORAGE_RETRY, &mut device, &mut rng);
        assert!(device.is_all_stored(), "{left}");
        assert!(flash.item(Item::Boots).is_some() && flash.item(Item::Pin).is_some(), "{left}");
        assert_eq!(flash.entries(Lane::Alarm).count(), if listed { 2 } else { 1 });
    }
    assert!(kept_on > 0, "the pin's salt failed after the boot was listed");
}
