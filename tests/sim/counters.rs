//! What a backend counts agrees with what has happened.

use crate::delivery::workload;
use crate::kit::*;
use crate::link::Faults;
use crate::world::Setup;
use std::collections::{BTreeMap, BTreeSet};
use vitalwire::backend::{Counters, MetricKind};
use vitalwire::framing::Lane;
use vitalwire::{Discard, Duration};

fn by_name(counters: &Counters) -> BTreeMap<(&'static str, Option<&'static str>), u64> {
    counters
        .metrics()
        .map(|metric| ((metric.name, metric.label.map(|(_, value)| value)), metric.value))
        .collect()
}

#[test]
fn every_discard_and_every_field_is_listed_once() {
    let world = Setup::new(1).build();
    let counters = world.backend.counters();
    let metrics: Vec<_> = counters.metrics().collect();
    let reasons: Vec<_> = metrics
        .iter()
        .filter(|metric| metric.name == "vitalwire_discards_total")
        .map(|metric| metric.label.unwrap())
        .collect();
    let all: Vec<_> = Discard::ALL.iter().map(|discard| ("reason", discard.name())).collect();
    assert_eq!(reasons, all);
    let names: BTreeSet<_> = metrics.iter().map(|metric| (metric.name, metric.label)).collect();
    assert_eq!(names.len(), metrics.len(), "a name with its label stands for one value");
    let mut kinds = BTreeMap::new();
    for metric in &metrics {
        let known = *kinds.entry(metric.name).or_insert((metric.kind, metric.help));
        assert_eq!(known, (metric.kind, metric.help), "{}", metric.name);
        assert_eq!(metric.name.ends_with("_total"), metric.kind == MetricKind::Counter, "{}", metric.name);
        assert!(metric.help.ends_with('.') && metric.name.starts_with("vitalwire_"), "{}", metric.name);
    }
    // Every field of the snapshot is in the list, under a name of its own.
    let pretty = format!("{counters:#?}");
    let fields =
        pretty.lines().filter(|line| line.starts_with("    ") && line.as_bytes()[4].is_ascii_lowercase());
    assert_eq!(kinds.len(), fields.count());
}

#[test]
fn the_counts_agree_with_what_happened() {
    let mut setup = Setup { ticket_key: Some(1), ..Setup::new(2) };
    setup.faults = Faults::HOSTILE;
    setup.policy = crate::app::Policy::SLOW;
    let mut world = setup.build();
    for number in 0..3 {
        world.add(|_| {});
        world.connect(number);
    }
    workload(&mut world, 3, 60);
    world.link.faults = Faults::NONE;
    world.wait_all_drained_and_check(secs(300));
    let counters = world.backend.counters();
    let sum = |received| world.bytes.values().map(|(a, b)| if received { a } else { b }).sum::<u64>();
    assert_eq!((counters.bytes_received, counters.bytes_sent), (sum(true), sum(false)));
    assert_eq!(counters.records_committed, world.app.store.stored.len() as u64);
    assert!(counters.batches_released > 0, "the application is told to fail now and then");
    assert_eq!(
        (counters.batches_delivered, counters.outstanding_batches),
        (counters.batches_committed + counters.batches_released, 0)
    );
    assert_eq!(
        (counters.sessions, counters.devices, counters.half_open, counters.sessions_unproved),
        (3, 3, 0, 0)
    );
    assert!(counters.tickets_given >= 3 && counters.descriptor_sets == 1 && counters.descriptor_bytes > 0);
    assert!(counters.accepted.iter().sum::<u64>() >= 3);
    assert_eq!(counters.discards.total(), world.backend.discards().total());
    let listed = by_name(&counters);
    assert_eq!(listed[&("vitalwire_sessions", None)], 3);
    assert_eq!(listed[&("vitalwire_records_committed_total", None)], counters.records_committed);

    let now = world.now;
    world.backend.drain(now, Duration::ZERO);
    world.run(secs(1));
    let drained = world.backend.counters();
    assert_eq!((drained.sessions, drained.devices, drained.draining), (0, 0, 1));
    assert_eq!(drained.disconnects - counters.disconnects, 3);
}

#[test]
fn sessions_are_counted_by_their_states() {
    let mut world = Setup::new(3).build();
    world.app.policy.accept = crate::app::Answer::Never;
    world.add(|_| {});
    world.connect(0);
    world.run(ms(500));
    let counters = world.backend.counters();
    assert_eq!((counters.half_open, counters.pending_identities, counters.sessions), (1, 1, 0));
    // IK: accepted, and its first packet is lost.
    let mut world = Setup::new(3).build();
    let pinned = world.pinned();
    world.add(pinned);
    world.record(0, Lane::Event, &rate(1)).unwrap();
    world.link.filter = Some(Box::new(|to, packet| match to {
        crate::link::To::Backend(_) if packet[0] & 0x80 != 0 => crate::link::Verdict::Drop,
        _ => crate::link::Verdict::Pass,
    }));
    world.connect(0);
    world.run(ms(500));
    let counters = world.backend.counters();
    assert_eq!(
        (counters.half_open, counters.sessions_unproved, counters.sessions, counters.devices),
        (0, 1, 0, 1)
    );
    world.link.filter = None;
    world.run(secs(3));
    let counters = world.backend.counters();
    assert_eq!((counters.sessions_unproved, counters.sessions, counters.accepted[1]), (0, 1, 1));
}

#[test]
fn gauges_show_what_is_left_what_waits_and_what_is_in_force() {
    let mut setup = Setup::new(4);
    setup.backend = |config| config.max_half_open = 8;
    let mut world = setup.connected();
    let identity = world.identity(0);
    let before = world.backend.counters();
    assert_eq!((before.pending_accepts, before.under_load, before.break_glass), (0, 0, 0));
    assert!(before.hello_tokens > 0 && before.handshake_tokens > 0 && before.retry_tokens > 0);
    // Two handshakes that nobody decides about; the third one needs a cookie, which it brings.
    world.app.policy.accept = crate::app::Answer::Never;
    for number in 1..4 {
        world.add(|_| {});
        world.connect(number);
        world.run(ms(1));
        let counters = world.backend.counters();
        assert!(counters.pending_accepts <= counters.half_open);
    }
    world.run(ms(300));
    let counters = world.backend.counters();
    assert_eq!((counters.pending_accepts, counters.half_open, counters.under_load), (3, 3, 1));
    let glass = vitalwire::backend::BreakGlass {
        scopes: vitalwire::identity::Scopes::COMMANDS,
        by: vitalwire::backend::SenderId(1),
        reason: 1,
        life: secs(5),
    };
    let now = world.now;
    world.backend.break_glass(now, &identity, glass).unwrap();
    let counters = world.backend.counters();
    assert_eq!((counters.break_glass, counters.renewals, counters.revocation_lists), (1, 0, 0));
    assert!(
        counters.audit_waiting > counters.audit_essential_waiting && counters.audit_essential_waiting >= 2
    );
    let list = world.pki.list(1, &[]);
    let list = world.pki.anchors().verify_revocations(&list, world.pki.time()).unwrap();
    world.backend.revoke(now, &list).unwrap();
    world.run(secs(6));
    let counters = world.backend.counters();
    assert_eq!((counters.break_glass, counters.revocation_lists), (0, 1));
    // Handshakes use tokens up, one each.
    let mut setup = Setup::new(5);
    setup.backend = |config| config.admission.handshakes = vitalwire::backend::Rate::per_minute(1, 50);
    let mut world = setup.build();
    let full = world.backend.counters().handshake_tokens;
    assert_eq!(full, 50);
    for number in 0..3 {
        world.add(|_| {});
        world.connect(number);
    }
    world.run(ms(500));
    assert_eq!(world.backend.counters().handshake_tokens, full - 3);
}
