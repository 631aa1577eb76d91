//! A device with storage, whose power is cut: what it said was stored is delivered, once.

use crate::kit::*;
use crate::storage::Mishap;
use crate::ward::*;
use vitalwire::device::*;
use vitalwire::framing::Lane;
use vitalwire::identity::{Identity, IssuerId, SubjectId, Time};
use vitalwire::storage::Item;
use vitalwire::wire::Pattern;
use vitalwire::{Discard, UnixSeconds};

#[test]
fn what_was_stored_is_delivered_by_the_next_boot() {
    //= SPEC.md#stored-boots
    //= type=test
    //# A device MUST give each boot a number that is one above the latest one that its storage knows.
    let mut ward = Ward::new();
    story(&mut ward);
    assert_eq!(ward.promised.len(), 13, "alarms at once, the others after 5 s: {:?}", ward.promised);
    let before = ward.delivered.len();
    assert_eq!(before, 4);
    aftermath(&mut ward);
    assert_eq!(ward.delivered.len(), 4 + 9 + 2);
    assert_eq!(ward.troubles(), []);
    assert_eq!(ward.storage.entries(), 0, "all trimmed");
    ward.record(Lane::Trend);
    ward.drain();
    assert!(ward.ledger.streams().len() <= 4, "earlier streams are closed: {:?}", ward.ledger);
    assert_eq!((ward.table().latest, ward.table().boots().count()), (2, 1));
}

#[test]
fn a_mishap_at_any_request_loses_nothing_that_was_stored() {
    //= SPEC.md#stored-entries
    //= type=test
    //# A device MUST NOT seal two entries of a boot with the same counter.
    //= SPEC.md#earlier-boots
    //= type=test
    //# A device MUST NOT trim an entry that it can open before each of its records is settled, or is in the RAM of the boot that sealed the entry.
    //= SPEC.md#earlier-boots
    //= type=test
    //# A device MUST NOT send a complete Streams frame that does not name a stream of which an entry may be stored.
    let mut plain = Ward::new();
    story(&mut plain);
    let first = plain.storage.requests;
    aftermath(&mut plain);
    let all = plain.storage.requests;
    println!("{first} requests in the first boot, {all} in all");
    assert!(first > 10 && all > first + 20);
    for at in 0..all {
        for mishap in Mishap::ALL {
            println!("{mishap:?} at {at}");
            let mut ward = Ward::new();
            ward.storage.mishap = Some((at, mishap));
            story(&mut ward);
            ward.boot();
            ward.record(Lane::Event);
            ward.run(secs(20));
            if ward.device.is_none() {
                ward.boot();
                ward.run(secs(20));
            }
            aftermath(&mut ward);
        }
    }
}

#[test]
fn hours_without_a_link_go_to_storage_and_come_back() {
    let mut ward = Ward::new();
    ward.outbox = 3000;
    ward.boot();
    ward.set_linked(false);
    for round in 0..1500 {
        assert!(ward.record(Lane::Trend), "round {round}");
        if round % 50 == 0 {
            assert!(ward.record(Lane::Alarm));
        }
        ward.run(secs(1));
    }
    let stored = ward.stored[&Lane::Trend];
    assert!(stored > 1400, "{stored}");
    let entries = ward.storage.memory.entries(Lane::Trend).count();
    assert!(entries < 400, "{entries} entries: several records share one");
    ward.set_linked(true);
    ward.drain();
    assert_eq!(ward.delivered.len(), 1530);
    assert_eq!(ward.backend.discards().of(Discard::OutsideLedger), 0);
    assert_eq!(ward.storage.entries(), 0);
    ward.check();

    // And with a power cut before the link comes back, and another in the middle of delivering.
    ward.set_linked(false);
    for _ in 0..1000 {
        assert!(ward.record(Lane::Trend));
        ward.run(secs(1));
    }
    ward.cut();
    ward.boot();
    ward.set_linked(false);
    for _ in 0..1000 {
        assert!(ward.record(Lane::Trend));
        ward.run(secs(1));
    }
    ward.set_linked(true);
    ward.run(ms(20));
    ward.cut();
    assert!(ward.promised.len() > 1900);
    ward.boot();
    ward.drain();
    ward.check();
    assert_eq!(ward.storage.entries(), 0);
}

#[test]
fn an_earlier_boots_records_are_read_with_its_own_set() {
    for known in [false, true] {
        let mut ward = Ward::new();
        if known {
            ward.boot();
            ward.record(Lane::Trend);
            ward.drain();
        }
        story(&mut ward);
        // Another firmware, with another set.
        ward.set = descriptors(3);
        aftermath(&mut ward);
        assert_eq!(ward.sets.len(), 2);
        assert_eq!(ward.troubles(), []);
    }
    // The backend has forgotten the old set: it has to come from storage.
    let mut ward = Ward::new();
    ward.linked = false;
    ward.boot();
    for lane in Lane::ALL {
        ward.record(lane);
    }
    ward.run(secs(7));
    ward.cut();
    ward.set = descriptors(3);
    ward.linked = true;
    aftermath(&mut ward);
    assert_eq!(ward.sets.len(), 2);
    assert_eq!(ward.delivered.len(), 6);
}

#[test]
fn a_set_that_grows_is_stored_before_records_that_need_it() {
    //= SPEC.md#stored-boots
    //= type=test
    //# A device MUST NOT append an entry before the table of boots that names its boot, and that boot's descriptor set, are stored.
    let mut ward = Ward::new();
    ward.linked = false;
    ward.boot();
    ward.record(Lane::Alarm);
    ward.run(secs(1));
    let now = ward.now;
    let device = ward.device.as_mut().unwrap();
    device.extend_descriptors(now, descriptors(2).leak()).unwrap();
    let record = further(1, 77);
    let ids = device.record(now, Lane::Alarm, &record).unwrap();
    let content = format!("{now:?} {record:?}");
    ward.present.insert((Lane::Alarm, ids.first), content.clone());
    ward.accepted.insert(content, (Lane::Alarm, ids.first));
    ward.run(secs(1));
    ward.cut();
    assert_eq!(ward.promised.len(), 2);
    ward.linked = true;
    aftermath(&mut ward);
}

#[test]
fn a_live_alarm_goes_before_an_earlier_boots() {
    let mut ward = Ward::new();
    ward.linked = false;
    ward.boot();
    for _ in 0..100 {
        ward.record(Lane::Alarm);
        ward.run(ms(10));
    }
    ward.cut();
    ward.boot();
    ward.record(Lane::Alarm);
    let mut order = Vec::new();
    ward.set_linked(true);
    let mut before = 0;
    for _ in 0..2000 {
        ward.run(ms(1));
        if ward.delivered.len() > before {
            before = ward.delivered.len();
            order.push(ward.delivered.keys().any(|(stream, _)| stream.boot == 2));
        }
    }
    assert_eq!(order.first(), Some(&true));
    ward.drain();
    ward.check();
    assert_eq!(ward.delivered.len(), 101);
}

#[test]
fn anything_may_happen_and_nothing_that_was_stored_is_lost() {
    for seed in seeds(60) {
        let mut ward = Ward::new();
        let mut rng = Rng::new(seed);
        ward.rng = Rng::new(seed ^ 0xabc);
        ward.outbox = 1500 + rng.below(4000) as usize;
        ward.loss = [0.0, 0.1, 0.3][rng.below(3) as usize];
        ward.fails = [0.0, 0.2][rng.below(2) as usize];
        if rng.chance(0.3) {
            for (lane, capacity) in Lane::ALL.into_iter().zip([1500, 1500, 3000, 3000]) {
                ward.storage.memory.set_capacity(lane, capacity);
            }
        }
        for _ in 0..120 {
            if ward.device.is_none() {
                ward.storage.mishap = None;
                ward.boot();
            }
            match rng.below(16) {
                0 => ward.cut(),
                1 | 2 => {
                    let mishap = Mishap::ALL[rng.below(4) as usize];
                    ward.storage.mishap = Some((ward.storage.requests + rng.below(12), mishap));
                }
                3 | 4 => {
                    let linked = !ward.linked;
                    ward.set_linked(linked);
                }
                5 => ward.set = descriptors(rng.below(3) as u8),
                6..=8 => ward.run(ms(rng.below(20_000))),
                9 | 10 => ward.run(ms(rng.below(100))),
                11 => ward.commits = rng.chance(0.7),
                _ => {
                    let lane = Lane::ALL[rng.below(4) as usize];
                    for _ in 0..rng.below(80) {
                        ward.record(lane);
                        ward.run(ms(1));
                    }
                }
            }
        }
        (ward.commits, ward.loss, ward.fails) = (true, 0.05, 0.0);
        ward.set_linked(true);
        aftermath(&mut ward);
        ward.record(Lane::Alarm);
        ward.drain();
        assert_eq!(ward.storage.entries(), 0);
        let discards = [&ward.backend.discards().of(Discard::OutsideLedger)];
        assert_eq!(discards, [&0]);
        assert!(ward.ledger.streams().len() < 100);
    }
}

#[test]
fn a_planned_reboot_loses_nothing() {
    let mut ward = Ward::new();
    // Waveforms are never stored, but for this.
    ward.change = |config| {
        if let Some(storage) = &mut config.storage {
            storage.spill_after = [None; 4];
        }
    };
    ward.boot();
    ward.commits = false;
    for lane in Lane::ALL {
        ward.record(lane);
    }
    ward.run(secs(20));
    assert_eq!(ward.storage.entries(), 0);
    assert!(!ward.device.as_ref().unwrap().is_all_stored());
    ward.device.as_mut().unwrap().store_all();
    ward.record(Lane::Waveform);
    ward.run(ms(0));
    assert!(ward.device.as_ref().unwrap().is_all_stored());
    ward.cut();
    assert_eq!(ward.promised.len(), 5);
    ward.commits = true;
    aftermath(&mut ward);
}

#[test]
fn a_pin_and_a_time_floor_survive_a_power_cut() {
    let mut ward = Ward::new();
    ward.boot();
    ward.run(secs(2));
    let floor = ward.device.as_ref().unwrap().time().floor();
    assert!(floor > UnixSeconds(0));
    ward.cut();
    let pattern = |ward: &Ward, from: usize| {
        let connected = |event: &DeviceEvent| match event {
            DeviceEvent::Connected { pattern, .. } => Some(*pattern),
            _ => None,
        };
        ward.events[from..].iter().find_map(connected)
    };
    // Without its ticket it still knows the backend, and what time it is at least.
    ward.storage.memory.set_item(Item::Ticket, None);
    let from = ward.events.len();
    ward.change = |config| config.time = Time::floor_only(UnixSeconds(0));
    ward.boot();
    ward.run(ms(0));
    assert_eq!(ward.device.as_ref().unwrap().time().floor(), floor);
    ward.run(secs(2));
    assert_eq!(pattern(&ward, from), Some(Pattern::Ik));
    // Forgotten on request, for good.
    ward.device.as_mut().unwrap().forget_backend();
    ward.run(secs(1));
    assert!(ward.storage.memory.items().all(|(item, _)| item != Item::Pin && item != Item::Ticket));
    ward.cut();
    let from = ward.events.len();
    ward.boot();
    ward.run(secs(2));
    assert_eq!(pattern(&ward, from), Some(Pattern::Xx));
    //= SPEC.md#stored-pin
    //= type=test
    //# A device MUST NOT use a stored pin of another identity than the expected one.
    ward.cut();
    ward.storage.memory.set_item(Item::Ticket, None);
    ward.change = |config| {
        let other = Identity { issuer: IssuerId([9; 8]), subject: SubjectId([9; 16]) };
        config.expected = Some(other);
    };
    let from = ward.events.len();
    ward.boot();
    ward.run(secs(5));
    assert_eq!(pattern(&ward, from), None, "an XX that the floor refuses");
    assert!(ward.storage.memory.item(Item::Pin).is_none(), "it is of no use any more");
}

#[test]
fn a_ticket_survives_a_power_cut_and_is_used_once() {
    let mut ward = Ward::new();
    ward.boot();
    ward.record(Lane::Event);
    ward.run(secs(2));
    assert!(ward.storage.memory.item(Item::Ticket).is_some());
    //= SPEC.md#stored-ticket
    //= type=test
    //# A device MUST have its storage confirm that a stored ticket is deleted before it sends the Hello.
    for round in 0..5 {
        let copy = ward.storage.memory.item(Item::Ticket).unwrap().to_vec();
        ward.cut();
        ward.boot();
        ward.record(Lane::Alarm);
        ward.run(secs(2));
        let resumed =
            |event: &&DeviceEvent| matches!(event, DeviceEvent::Connected { pattern: Pattern::Resume, .. });
        assert_eq!(ward.events.iter().filter(resumed).count(), round + 1);
        assert_ne!(ward.storage.memory.item(Item::Ticket), Some(&copy[..]), "another one by now");
    }
    ward.drain();
    ward.check();
    // Without an answer to the deletion, nothing is resumed.
    ward.cut();
    ward.storage.stuck = Some(Item::Ticket);
    ward.boot();
    let before = ward.events.len();
    ward.record(Lane::Alarm);
    ward.run(secs(10));
    let patterns: Vec<_> =
        ward.events[before..].iter().filter(|event| matches!(event, DeviceEvent::Connected { .. })).collect();
    assert!(matches!(patterns[..], [DeviceEvent::Connected { pattern: Pattern::Ik, .. }]), "{patterns:?}");
    ward.storage.stuck = None;
    ward.drain();
    ward.check();
}

#[test]
fn several_earlier_boots_have_sets_of_their_own() {
    // The n-th boot stores records of these lanes only.
    let one: [&[Lane]; 3] = [&[Lane::Trend]; 3];
    let apart: [&[Lane]; 3] = [&[Lane::Event], &[Lane::Trend], &[Lane::Alarm]];
    for lanes in [[&Lane::ALL[..]; 3], apart, one] {
        for lost in [0.0, 0.3] {
            let mut ward = Ward::new();
            ward.linked = false;
            let mut accepted = 0;
            for (boot, lanes) in lanes.iter().enumerate() {
                ward.set = descriptors(boot as u8);
                ward.boot();
                for lane in *lanes {
                    assert!(ward.record(*lane));
                    accepted += 1;
                }
                ward.run(secs(7));
                ward.cut();
            }
            ward.set = descriptors(9);
            ward.linked = true;
            ward.loss = lost;
            ward.boot();
            ward.record(Lane::Trend);
            ward.run(secs(300));
            ward.loss = 0.0;
            // What was lost comes again after a minute, three sets one after the other.
            ward.run(secs(300));
            ward.drain();
            ward.check();
            assert_eq!(ward.delivered.len(), accepted + 1);
            assert_eq!(ward.sets.len(), 4);
        }
    }
}
