//! Descriptor sets: known, asked for, forgotten, and growing while records are on their way.

use crate::app::Policy;
use crate::facing::*;
use crate::kit::*;
use crate::link::{Faults, To, Verdict};
use crate::world::{Setup, World};
use vitalwire::device::DeviceEvent;
use vitalwire::framing::*;
use vitalwire::{CallError, CloseReason, Discard};

/// Nothing was refused, and what the application has stored it can read: with the set of the batch, and alike with any
/// larger set of the device.
#[track_caller]
fn assert_understood(world: &World, number: usize, last: &[u8]) {
    let refused = |event: &&DeviceEvent| matches!(event, DeviceEvent::RecordsRefused { .. });
    assert_eq!(world.nodes[number].events.iter().find(refused), None);
    assert_eq!(world.backend.discards().of(Discard::MalformedRecords), 0);
    let last = DescriptorSet::parse(last).unwrap();
    for ((device, ..), hash) in &world.app.store.set_of {
        let set = DescriptorSet::parse(&world.app.store.sets[hash]).unwrap();
        assert!(*device != number || last.extends(&set));
    }
}

fn sent_by(world: &World, number: usize) -> u64 {
    world.bytes[&world.nodes[number].path].0
}

#[test]
fn a_known_set_is_never_sent() {
    let set = descriptors(60);
    let mut world = Setup::new(1).build();
    for number in 0..3 {
        world.add_with_set(set.clone(), |_| {});
        world.connect(number);
        world.record(number, Lane::Trend, &rate(1)).unwrap();
        world.wait_all_drained_and_check(secs(5));
    }
    assert!(sent_by(&world, 0) > set.len() as u64);
    for number in 1..3 {
        assert!(sent_by(&world, number) < 500, "{} bytes", sent_by(&world, number));
    }
    assert_eq!(world.backend.descriptor_sets().count(), 1, "one copy for all");
}

#[test]
fn a_preloaded_set_is_never_sent() {
    let set = descriptors(60);
    let mut world = Setup::new(2).build();
    let hash = world.backend.preload_descriptors(&set).unwrap();
    assert_eq!(hash, hash_of(&set));
    world.add_with_set(set.clone(), |_| {});
    world.connect(0);
    world.record(0, Lane::Trend, &rate(1)).unwrap();
    world.wait_all_drained_and_check(secs(5));
    assert!(sent_by(&world, 0) < 500, "{} bytes", sent_by(&world, 0));
    // A new process gets from the application what was stored with the records.
    world.restart_backend();
    for stored in world.app.store.sets.values() {
        assert_eq!(world.backend.preload_descriptors(stored), Ok(hash_of(stored)));
    }
    assert_eq!(world.backend.descriptors(hash).unwrap().as_bytes(), set);
    let before = sent_by(&world, 0);
    world.record(0, Lane::Trend, &rate(2)).unwrap();
    world.wait_all_drained_and_check(secs(5));
    assert!(sent_by(&world, 0) - before < 700, "{} bytes", sent_by(&world, 0) - before);
    assert_eq!(world.backend.preload_descriptors(&[2]), Err(CallError::BadDescriptors));
}

#[test]
fn a_set_that_was_forgotten_is_asked_for() {
    let mut setup = Setup::new(3);
    setup.backend = |config| (config.max_sets, config.max_set_bytes) = (1, 2048);
    let mut world = setup.build();
    for number in 0..2 {
        world.add_with_set(descriptors(20 + number), |_| {});
    }
    for round in 0..6 {
        for number in 0..2 {
            // Its session ends, and the other one's set drives out its own.
            world.connect(number);
            world.run(secs(1));
            world.record(number, Lane::Event, &event(round)).unwrap();
            world.record(number, Lane::Trend, &further(19, round as i32)).unwrap();
            world.wait_all_drained_and_check(secs(10));
            assert_eq!(world.backend.descriptor_sets().count(), 1);
        }
    }
    for number in 0..2 {
        assert!(sent_by(&world, number) > 6 * descriptors(20).len() as u64, "once in each session");
    }
}

#[test]
fn records_of_new_channels_arrive_as_soon_as_the_set() {
    let mut world = Setup::new(4).build();
    world.add(|_| {});
    world.connect(0);
    world.record(0, Lane::Trend, &rate(1)).unwrap();
    world.wait_all_drained_and_check(secs(5));
    assert_eq!(world.record(0, Lane::Trend, &further(0, 7)), Err(CallError::BadRecord));
    for more in 1..=3 {
        world.grow(0, descriptors(more)).unwrap();
        for (lane, record) in
            [(Lane::Trend, further(more - 1, 7)), (Lane::Alarm, alarm(1)), (Lane::Trend, rate(2))]
        {
            world.record(0, lane, &record).unwrap();
        }
        // Two round trips, as the set is asked for; no time-out is waited for.
        world.wait_all_drained_and_check(ms(4 * 21));
        assert_understood(&world, 0, &descriptors(more));
    }
    let connects = |world: &World| {
        world.nodes[0].events.iter().filter(|event| matches!(event, DeviceEvent::Connected { .. })).count()
    };
    assert_eq!(connects(&world), 1);
    // No index is left: a new session.
    world.grow(0, descriptors(4)).unwrap();
    world.record(0, Lane::Trend, &further(3, 7)).unwrap();
    world.wait_all_drained_and_check(secs(1));
    assert_eq!(connects(&world), 2);
    assert!(world.nodes[0].events.contains(&DeviceEvent::Disconnected(CloseReason::Application)));
    assert_understood(&world, 0, &descriptors(4));
}

#[test]
fn a_device_without_a_session_grows_without_end() {
    let mut world = Setup::new(5).build();
    world.add(|_| {});
    for more in 1..=60 {
        world.record(0, Lane::Trend, &rate(more.into())).unwrap();
        world.grow(0, descriptors(more)).unwrap();
        world.record(0, Lane::Trend, &further(more - 1, 7)).unwrap();
    }
    assert!(world.nodes[0].events.is_empty());
    world.connect(0);
    world.wait_all_drained_and_check(secs(5));
    assert_understood(&world, 0, &descriptors(60));
}

#[test]
fn a_set_that_does_not_extend_the_present_one_is_not_taken() {
    //= SPEC.md#growing-sets
    //= type=test
    //# A device MUST NOT give a boot a set that lacks a channel of an earlier set of that boot, or has it changed.
    let mut world = Setup::new(6).build();
    world.add_with_set(descriptors(2), |_| {});
    world.connect(0);
    world.record(0, Lane::Trend, &further(1, 7)).unwrap();
    world.drain(secs(5));
    let before = sent_by(&world, 0);
    let mut changed = descriptors(3);
    *changed.iter_mut().rfind(|byte| **byte == 11).unwrap() = 9; // a number becomes one that does not ascend
    let quantity = [Component::scaled(147_842, 264_864, -1)];
    let mut other = [0; 64];
    let channel = ChannelDescriptor::new(1, ChannelKind::Numeric, 147_842, (&quantity).into());
    let len = encode_descriptors(&[channel], &mut other).unwrap();
    for bad in [descriptors(1), other[..len].to_vec(), vec![1], vec![], changed] {
        assert_eq!(world.grow(0, bad), Err(CallError::BadDescriptors));
    }
    // The same one again is nothing new.
    world.grow(0, descriptors(2)).unwrap();
    world.run(secs(10));
    assert_eq!(sent_by(&world, 0), before);
    world.record(0, Lane::Trend, &further(1, 7)).unwrap();
    world.wait_all_drained_and_check(secs(5));
}

#[test]
fn grows_through_anything_and_every_record_is_read_right() {
    for seed in seeds(150) {
        let mut setup = Setup::new(seed);
        setup.faults = Faults::HOSTILE;
        setup.policy = Policy::SLOW;
        setup.job_delay = (0, 50);
        setup.max_packet = [1200, 64, 150][seed as usize % 3];
        // Two models, and room for one set.
        setup.backend = |config| (config.max_sets, config.max_set_bytes) = (1, 2048);
        let mut world = setup.build();
        let pinned = world.pinned();
        world.add(pinned);
        world.add_with_set(descriptors(60), |_| {});
        let mut more = 0;
        for number in 0..2 {
            world.connect(number);
        }
        for round in 0..60 {
            let what = world.rng.below(100);
            match what {
                0..8 if more < 40 => {
                    more += 1 + world.rng.below(3) as u8;
                    world.grow(0, descriptors(more)).unwrap();
                }
                8..11 => world.connect(0),
                11..13 => world.connect(1),
                13..15 => world.restart_backend(),
                _ => {}
            }
            for _ in 0..world.rng.below(3) {
                let number = world.rng.below(u64::from(more) + 1) as u8;
                let record = if number == 0 { rate(round) } else { further(number - 1, round) };
                let lane = Lane::ALL[world.rng.below(3) as usize];
                let _ = world.record(0, lane, &record);
            }
            if world.rng.chance(0.1) {
                let _ = world.wave(0, 40);
            }
            let _ = world.record(1, Lane::Trend, &further(59, round));
            world.run(ms(80));
        }
        world.link.faults = Faults::NONE;
        world.wait_all_drained_and_check(secs(900));
        assert_understood(&world, 0, &descriptors(more));
        assert_understood(&world, 1, &descriptors(60));
    }
}

#[test]
fn alarms_do_not_wait_for_a_long_set() {
    let mut setup = Setup::new(7);
    setup.max_packet = 64;
    let mut world = setup.build();
    world.add(|_| {});
    world.connect(0);
    world.record(0, Lane::Alarm, &alarm(0)).unwrap();
    world.record(0, Lane::Trend, &rate(1)).unwrap();
    world.wait_all_drained_and_check(secs(5));
    world.grow(0, descriptors(60)).unwrap();
    // No piece of the new set arrives: they fill their packets.
    world.link.filter = Some(Box::new(|to, packet| {
        if matches!(to, To::Backend(_)) && packet.len() >= 63 { Verdict::Drop } else { Verdict::Pass }
    }));
    world.record(0, Lane::Alarm, &alarm(1)).unwrap();
    world.record(0, Lane::Trend, &rate(2)).unwrap();
    world.wait_all_drained_and_check(secs(2));
    assert_eq!(world.backend.descriptor_sets().count(), 1, "the new set is not there yet");
    world.link.filter = None;
    world.record(0, Lane::Trend, &further(59, 7)).unwrap();
    world.wait_all_drained_and_check(secs(20));
    assert_eq!(world.backend.descriptor_sets().count(), 2);
    assert_understood(&world, 0, &descriptors(60));
}

/// The frames of a packet, those of which the test speaks: name and stream indices.
fn outline(payload: &[u8]) -> Vec<String> {
    let indices = |streams: StreamsFrame<'_>| {
        let entries = streams.boots().flat_map(|boot| boot.streams().collect::<Vec<_>>());
        entries.map(|entry| entry.index).collect::<Vec<_>>()
    };
    let name = |frame| match frame {
        Frame::Streams(streams) => Some(format!("Streams {:?}", indices(streams))),
        Frame::Descriptors(piece) => Some(format!("Descriptors {}", piece.stream)),
        Frame::Records(records) => Some(format!("Records {} {}", records.stream, records.first)),
        _ => None,
    };
    Frames::parse(payload).unwrap().filter_map(name).collect()
}

fn outlines(facing: &mut Facing) -> Vec<Vec<String>> {
    facing.payloads().iter().map(|payload| outline(payload)).collect()
}

#[test]
fn names_its_streams_in_each_packet_with_records_until_the_backend_knows_them() {
    //= SPEC.md#stream-names
    //= type=test
    //# Until then, a device MUST put a Streams frame into each packet with Records frames of that stream which has room for both, before them.
    let mut facing = Facing::connected();
    let record = |facing: &mut Facing, lane, record: &Record<'_>| {
        facing.device.record(facing.now, lane, record).unwrap();
        outlines(facing)
    };
    assert_eq!(record(&mut facing, Lane::Trend, &rate(1)), [["Streams [2]", "Records 2 0"]]);
    assert_eq!(record(&mut facing, Lane::Trend, &rate(2)), [["Streams [2]", "Records 2 1"]]);
    facing.ack(2, 0);
    assert_eq!(record(&mut facing, Lane::Trend, &rate(3)), [["Records 2 2"]]);
    assert_eq!(record(&mut facing, Lane::Alarm, &alarm(1)), [["Streams [0, 2]", "Records 0 0"]]);
    assert_eq!(record(&mut facing, Lane::Trend, &rate(4)), [["Records 2 3"]], "it is known itself");
    assert_eq!(record(&mut facing, Lane::Alarm, &alarm(2)), [["Streams [0, 2]", "Records 0 1"]]);
    facing.ack(0, 2);
    assert_eq!(record(&mut facing, Lane::Alarm, &alarm(2)), [["Records 0 2"]]);
    // Without room for both, the records go alone.
    facing.device.handle_link(facing.now, vitalwire::device::Link::Up { max_packet: 64 });
    assert_eq!(record(&mut facing, Lane::Event, &event(1)), [["Streams [0, 1, 2]"], ["Records 1 0"]]);
    assert_eq!(record(&mut facing, Lane::Event, &event(1)), [["Records 1 1"]]);
}

#[test]
fn streams_get_new_indices_with_a_new_set() {
    //= SPEC.md#growing-sets
    //= type=test
    //# A device whose set has grown MUST give its streams new indices in a session in which it has named them with the old set, or begin a new session.
    let mut facing = Facing::connected();
    // Before anything was named, there is nothing to rename.
    facing.device.extend_descriptors(facing.now, descriptors(1).leak()).unwrap();
    facing.device.record(facing.now, Lane::Trend, &rate(1)).unwrap();
    assert_eq!(outlines(&mut facing), [["Streams [2]", "Records 2 0"]]);
    facing.ack(2, 1);
    facing.device.record(facing.now, Lane::Trend, &rate(2)).unwrap();
    assert_eq!(outlines(&mut facing), [["Records 2 1"]]);
    facing.device.extend_descriptors(facing.now, descriptors(2).leak()).unwrap();
    facing.device.record(facing.now, Lane::Trend, &further(1, 5)).unwrap();
    assert_eq!(outlines(&mut facing), [["Streams [6]", "Records 6 2"]]);
    // An Ack under the old index settles and says nothing of the new one.
    facing.ack(2, 2);
    facing.device.record(facing.now, Lane::Trend, &rate(3)).unwrap();
    assert_eq!(outlines(&mut facing), [["Streams [6]", "Records 6 3"]]);
    // An index that no stream has yet says nothing at all.
    facing.ack(10, 4);
    assert!(!facing.device.is_drained());
    facing.frames(&[Frame::DescriptorsRequest(2), Frame::DescriptorsRequest(10)]);
    assert!(outlines(&mut facing).is_empty(), "no Descriptors under another index");
    facing.frames(&[Frame::DescriptorsRequest(7)]);
    // What was sent before the backend had the set comes again.
    assert_eq!(outlines(&mut facing), [vec!["Descriptors 6"], vec!["Streams [6]", "Records 6 2"]]);
    facing.frames(&[Frame::DescriptorsRequest(6)]);
    assert!(outlines(&mut facing).is_empty(), "not again at once");
    facing.ack(6, 4);
    assert!(facing.device.is_drained());
    facing.device.record(facing.now, Lane::Trend, &rate(4)).unwrap();
    assert_eq!(outlines(&mut facing), [["Records 6 4"]]);
    // A refusal under the old index is one of the stream.
    let refused = RefusedFrame { stream: 2, first: 4, count: 1, reason: RefusedReason::OutOfScope };
    facing.frames(&[Frame::Refused(refused)]);
    assert!(facing.device.is_drained());
}

/// A Records frame in the stream with this index.
fn frame_of(stream: u8, first: u64, more: u8, record: &Record<'_>) -> Vec<u8> {
    let set = descriptors(more);
    let (mut encoded, mut out) = ([0; 100], [0; 200]);
    let len = encode_record(record, &DescriptorSet::parse(&set).unwrap(), &mut encoded).unwrap();
    let mut batch = BatchWriter::new(&mut out, stream, first);
    batch.push(at(5), &encoded[..len]).unwrap();
    [&[FrameKind::Records as u8][..], batch.finish()].concat()
}

#[test]
fn what_an_older_set_cannot_read_waits_for_the_right_one() {
    //= SPEC.md#growing-sets
    //= type=test
    //# A backend MUST NOT refuse a record as undecodable that it has read with another set than that of the record's stream index.
    //= SPEC.md#descriptors-frame
    //= type=test
    //# A backend MUST ask for the set of an index that it lacks whenever a Streams frame names the index or a Records frame comes under it.
    //# A backend MUST NOT name a stream index in an Ack while it lacks the set of that index.
    let mut against = Against::new(8);
    let expect = |against: &mut Against, sequence, record: &Record<'_>| {
        let content = crate::app::content(500, at(5), record);
        against.world.app.store.expected.insert((500, Lane::Trend, sequence), content);
    };
    let asked = |answer: &[String], index| {
        answer.iter().any(|frame| *frame == format!("{:?}", Frame::DescriptorsRequest(index)))
    };
    let answer = against.named(&descriptors(0), &[TREND], 1);
    assert!(asked(&answer, 2), "{answer:?}");
    against.described(&descriptors(0));
    let grown = StreamEntry { index: 6, ..TREND };
    let answer = against.named(&descriptors(1), &[grown], 1);
    assert!(asked(&answer, 6), "{answer:?}");
    assert!(
        !answer.iter().any(|frame| frame.starts_with("Ack") && !frame.contains("streams: []")),
        "{answer:?}"
    );
    // A channel that both sets have: read, stored, acknowledged under the index whose set is known.
    expect(&mut against, 0, &rate(1));
    let answer = against.send(&frame_of(6, 0, 1, &rate(1)));
    assert!(answer.iter().any(|frame| frame.contains("streams: [2, 1, 0]")), "{answer:?}");
    assert!(asked(&answer, 6), "{answer:?}");
    let again = against.send(&frame_of(6, 0, 1, &rate(1)));
    assert!(again.iter().any(|frame| frame.contains("streams: [2, 1, 0]")), "{again:?}");
    // A new channel: neither read nor refused.
    let answer = against.send(&frame_of(6, 1, 1, &further(0, 3)));
    assert!(!answer.iter().any(|frame| frame.starts_with("Refused")), "{answer:?}");
    assert_eq!(against.world.backend.discards().of(Discard::UnknownDescriptors), 1);
    assert_eq!(against.world.backend.discards().of(Discard::MalformedRecords), 0);
    let answer = against.described_as(6, &descriptors(1));
    assert!(answer.iter().any(|frame| frame.contains("streams: [6, 1, 0]")), "{answer:?}");
    expect(&mut against, 1, &further(0, 3));
    let answer = against.send(&frame_of(6, 1, 1, &further(0, 3)));
    assert!(answer.iter().any(|frame| frame.contains("streams: [6, 2, 0]")), "{answer:?}");
    // With the right set, a record that is wrong is refused. The old index is as good as ever.
    let answer = against.send(&frame_of(6, 2, 2, &further(1, 3)));
    assert!(answer.iter().any(|frame| frame.starts_with("Refused")), "{answer:?}");
    expect(&mut against, 3, &rate(2));
    against.send(&frame_of(2, 3, 0, &rate(2)));
    assert!(
        against.world.app.store.stored.keys().any(|(number, _, sequence)| (*number, *sequence) == (500, 3))
    );
    against.world.app.store.expected.retain(|(number, ..), _| *number != 500);
    against.assert_unharmed();
}

#[test]
fn sets_of_a_boot_that_do_not_grow_close_the_session() {
    //= SPEC.md#growing-sets
    //= type=test
    //# A backend MUST close the session with reason 2 where it knows two sets of a boot and neither has every channel of the other unchanged.
    let quantity = [Component::scaled(147_842, 264_864, -1)];
    let mut other = [0; 64];
    let channel = ChannelDescriptor::new(1, ChannelKind::Numeric, 147_842, (&quantity).into());
    let len = encode_descriptors(&[channel], &mut other).unwrap();
    let other = &other[..len];
    let second = StreamEntry { index: 6, ..TREND };
    // As the second set arrives.
    let mut against = Against::new(9);
    against.named(&descriptors(0), &[TREND], 1);
    against.described(&descriptors(0));
    against.named(other, &[second], 1);
    let frames = against.described_as(6, other);
    against.assert_closed(&frames, CloseReason::ProtocolViolation);
    // As the first one arrives, after the second.
    let mut against = Against::new(9);
    against.named(&descriptors(0), &[TREND], 1);
    against.named(other, &[second], 1);
    against.described_as(6, other);
    let frames = against.described(&descriptors(0));
    against.assert_closed(&frames, CloseReason::ProtocolViolation);
    // As it is named, both being known.
    let mut against = Against::new(9);
    against.world.backend.preload_descriptors(other).unwrap();
    against.world.backend.preload_descriptors(&descriptors(0)).unwrap();
    against.named(&descriptors(0), &[TREND], 1);
    let frames = against.named(other, &[second], 1);
    against.assert_closed(&frames, CloseReason::ProtocolViolation);
    // Another boot, or an older set that is named later, is no fault.
    let mut against = Against::new(9);
    for set in [other, &descriptors(0), &descriptors(1)] {
        against.world.backend.preload_descriptors(set).unwrap();
    }
    against.named(&descriptors(1), &[TREND], 1);
    against.named(&descriptors(0), &[second], 1);
    against.named(other, &[StreamEntry { index: 7, ..TREND }], 2);
    against.assert_unharmed();
}
