//! Lanes that are full in RAM and in storage: what is stored stays, and what is given up is named, whenever the power goes.

use crate::kit::*;
use crate::storage::Mishap;
use crate::ward::Ward;
use std::collections::BTreeSet;
use vitalwire::delivery::LanePolicy;
use vitalwire::device::DeviceEvent;
use vitalwire::framing::Lane;

/// Minutes without a link, in which every lane but that of alarms fills RAM and region; a link for a while; and again.
fn story(ward: &mut Ward) {
    ward.outbox = 4096;
    for lane in [Lane::Event, Lane::Trend, Lane::Waveform] {
        ward.storage.memory.set_capacity(lane, 500);
    }
    ward.boot();
    for round in 0..3 {
        ward.set_linked(false);
        for turn in 0..60 {
            for _ in 0..3 {
                ward.record(Lane::Trend);
                ward.record(Lane::Event);
            }
            if turn % 10 == round {
                ward.record(Lane::Alarm);
            }
            ward.run(secs(2));
        }
        ward.set_linked(true);
        ward.run(ms(300));
        if ward.device.is_none() {
            return;
        }
    }
}

/// How many records the device said that it has given up.
fn dropped(ward: &Ward) -> u32 {
    let count = |event: &DeviceEvent| match event {
        DeviceEvent::RecordsDropped { lane, count, .. } => {
            assert_ne!(*lane, Lane::Alarm);
            *count
        }
        _ => 0,
    };
    ward.events.iter().map(count).sum()
}

/// Another boot, unless the power is still there, delivers what is left.
fn aftermath(ward: &mut Ward) {
    ward.storage.mishap = None;
    ward.set_linked(true);
    if ward.device.is_none() {
        ward.boot();
    }
    ward.drain();
    ward.check();
}

#[test]
fn what_a_full_lane_with_a_full_region_gives_up_is_named_and_nothing_else_is_lost() {
    for policy in [LanePolicy::DropOldest, LanePolicy::Refuse] {
        let mut ward = Ward::new();
        if policy == LanePolicy::DropOldest {
            ward.change = |config| config.policies = LanePolicy::USUAL;
        }
        story(&mut ward);
        aftermath(&mut ward);
        let arrived: BTreeSet<_> = ward.delivered.values().collect();
        let missing: Vec<_> = ward.accepted.keys().filter(|content| !arrived.contains(content)).collect();
        assert!(missing.iter().all(|content| ward.is_named(content)), "{missing:?}");
        let all = ward.accepted.len();
        println!("{policy:?}: {all} accepted, {} missing, {} gaps", missing.len(), ward.gaps.len());
        assert_eq!(missing.is_empty(), policy == LanePolicy::Refuse);
        assert_eq!(dropped(&ward) > 0, policy == LanePolicy::DropOldest);
    }
}

#[test]
fn what_was_said_to_be_stored_comes_after_a_power_cut_or_its_gap_does() {
    //= SPEC.md#full-lanes
    //= type=test
    //# A device MUST NOT report a record as stored before each record below it that it has given up is named by a gap record that is stored or settled.
    let mut plain = Ward::new();
    plain.change = |config| config.policies = LanePolicy::USUAL;
    story(&mut plain);
    let requests = plain.storage.requests;
    let (mut named, mut promised) = (0, 0);
    for at in (5..requests).step_by(usize::try_from(requests / 30).unwrap().max(1)) {
        for mishap in [Mishap::CutBefore, Mishap::CutAfter] {
            let mut ward = Ward::new();
            ward.change = |config| config.policies = LanePolicy::USUAL;
            ward.storage.mishap = Some((at, mishap));
            story(&mut ward);
            assert!(ward.device.is_none(), "the power goes at {at} of {requests}");
            aftermath(&mut ward);
            dropped(&ward);
            promised += ward.promised.len();
            named += ward.promised.iter().filter(|content| ward.is_named(content)).count();
        }
    }
    println!("{requests} requests; {promised} promised, {named} of them as gaps");
    assert!(promised > 0 && named > 0);
}
