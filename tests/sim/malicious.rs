//! Peers that authenticate and then misbehave.

use crate::facing::*;
use crate::kit::*;
use vitalwire::device::{DeviceEvent, DeviceReceived, Link};
use vitalwire::framing::*;
use vitalwire::{CloseReason, Discard};

#[test]
fn malformed_frames_close_the_session_and_nothing_of_the_packet_counts() {
    //= SPEC.md#frames
    //= type=test
    //# A receiver MUST check all frames of a packet before it acts on any.
    //= SPEC.md#frames
    //= type=test
    //# A receiver MUST close the session with reason 2 on a malformed frame or an unknown type below 64.
    let ping = [0x81, 8, 1, 2, 3, 4, 5, 6, 7, 8];
    let malformed: [&[u8]; 11] = [
        &[1, 2, 3],                         // a short Ping
        &[0, 0, 1],                         // Padding that is not zero
        &[14],                              // reserved
        &[13, 1, 2, 3],                     // a renewal of a device that is no hash
        &[63, 1],                           // unknown, mandatory
        &[18],                              // Close without reason
        &[3],                               // Ack without counter
        &[3, 0x80, 0],                      // a varint that is too long
        &[6, 1, 0, 0, 0],                   // no records
        &[0x81, 9, 1, 2, 3, 4, 5, 6, 7, 8], // a length beyond the payload
        &[9; 30],                           // a short RekeyRequest
    ];
    for tail in malformed {
        let mut against = Against::new(1);
        let frames = against.send(&[&ping, tail].concat());
        assert_eq!(against.world.backend.discards().of(Discard::MalformedFrames), 1, "{tail:?}");
        against.assert_closed(&frames, CloseReason::ProtocolViolation);
    }
}

#[test]
fn frames_of_the_wrong_side_close_the_session() {
    //= SPEC.md#frames
    //= type=test
    //# A receiver MUST treat a frame that only its own side may send, and a device's Ack that names streams, as malformed.
    let refused = RefusedFrame { stream: 0, first: 0, count: 1, reason: RefusedReason::OutOfScope };
    for frame in [
        Frame::Credit(1),
        Frame::DescriptorsRequest(0),
        Frame::RekeyAccept([9; 32]),
        Frame::RekeyHint,
        Frame::Refused(refused),
        Frame::Ticket(TicketFrame {
            misused: false,
            ticket: &[1; 122],
            service_key: &[2; 32],
            expires: vitalwire::UnixSeconds(5),
        }),
    ] {
        let mut against = Against::new(2);
        let frames = against.frames(&[frame]);
        against.assert_closed(&frames, CloseReason::ProtocolViolation);
    }
    let mut against = Against::new(2);
    let frames = against.send(&[3, 0, 1, 0, 0]); // an Ack of stream 1
    against.assert_closed(&frames, CloseReason::ProtocolViolation);
}

#[test]
fn skips_and_reports_extension_frames() {
    //= SPEC.md#frames
    //= type=test
    //# A receiver MUST skip and count an unknown frame of type 64 or above.
    let mut against = Against::new(3);
    let answer = against.send(&[0x80 | 64, 3, 9, 9, 9, 1, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(answer.contains(&format!("{:?}", Frame::Pong([1, 2, 3, 4, 5, 6, 7, 8]))));
    assert_eq!(against.world.backend.discards().of(Discard::UnknownExtension), 1);
    against.assert_unharmed();
}

#[test]
fn contradictory_stream_names_close_the_session() {
    let set = descriptors(0);
    for second in [
        StreamEntry { index: 2, lane: Lane::Alarm, oldest: 0 },
        StreamEntry { index: 5, lane: Lane::Trend, oldest: 0 },
    ] {
        let mut against = Against::new(4);
        against.named(&set, &[TREND], 1);
        let frames = against.named(&set, &[second], 1);
        against.assert_closed(&frames, CloseReason::ProtocolViolation);
    }
}

#[test]
fn descriptors_that_do_not_match_their_hash_close_the_session() {
    //= SPEC.md#descriptors-frame
    //= type=test
    //# A backend MUST take the pieces of a set in any order, and close the session with reason 2 where the whole does not have the hash or is no descriptor set.
    let set = descriptors(0);
    let mut against = Against::new(5);
    against.named(&set, &[TREND], 1);
    let mut other = set.clone();
    *other.last_mut().unwrap() ^= 1;
    let frame = DescriptorsFrame { stream: 2, total: set.len() as u16, offset: 0, bytes: &other };
    let frames = against.frames(&[Frame::Descriptors(frame)]);
    against.assert_closed(&frames, CloseReason::ProtocolViolation);
    // A set that is none.
    let mut against = Against::new(5);
    against.named(b"nonsense", &[TREND], 1);
    let frames = against.described(b"nonsense");
    against.assert_closed(&frames, CloseReason::ProtocolViolation);
}

#[test]
fn descriptors_that_nobody_named_are_not_kept() {
    let mut against = Against::new(6);
    for more in 0..20 {
        assert!(against.described(&descriptors(more)).is_empty());
    }
    against.named(&descriptors(7), &[TREND], 1);
    let answer = against.send(&records(2, 0, &[rate(1)]));
    assert!(answer.iter().any(|frame| frame.starts_with("DescriptorsRequest")), "{answer:?}");
    against.assert_unharmed();
}

#[test]
fn pieces_that_contradict_each_other_only_start_anew() {
    let set = descriptors(20);
    let mut against = Against::new(7);
    against.named(&set, &[TREND], 1);
    let piece = |total: u16, offset: usize, bytes| DescriptorsFrame {
        stream: 2,
        total,
        offset: offset as u16,
        bytes,
    };
    against.frames(&[Frame::Descriptors(piece(2048, 2000, &[1; 48]))]);
    against.frames(&[Frame::Descriptors(piece(set.len() as u16, 0, &set[..100]))]);
    against.frames(&[Frame::Descriptors(piece(1, 0, &[1]))]);
    let mut against = Against::new(7);
    against.named(&set, &[TREND], 1);
    against.frames(&[Frame::Descriptors(piece(2048, 2000, &[1; 48]))]);
    let half = set.len() / 2;
    let total = set.len() as u16;
    against.frames(&[Frame::Descriptors(piece(total, half, &set[half..]))]);
    let answer = against.frames(&[Frame::Descriptors(piece(total, 0, &set[..half]))]);
    assert!(answer.iter().any(|frame| frame.starts_with("Ack")), "{answer:?}");
    against.assert_unharmed();
}

#[test]
fn records_of_unnamed_streams_far_sequences_and_bad_bytes_reach_nobody() {
    let set = descriptors(0);
    let mut against = Against::new(8);
    let delivered = against.world.app.store.stored.len();
    against.send(&records(3, 0, &[rate(1)]));
    assert_eq!(against.world.backend.discards().of(Discard::UnknownStream), 1);
    against.named(&set, &[TREND], 1);
    against.described(&set);
    for first in [256, 1 << 40, u64::MAX - 1] {
        let answer = against.send(&records(2, first, &[rate(1)]));
        assert!(answer.iter().any(|frame| frame.starts_with("Ack")), "the device hears where it stands");
    }
    assert_eq!(against.world.backend.discards().of(Discard::OutsideLedger), 3);
    // An unknown channel, bytes behind the last record, a truncated record.
    let good = records(2, 0, &[rate(1)]);
    let mut unknown = good.clone();
    let head = unknown.len() - 2;
    unknown[head] = 9;
    let behind = [&good[..], &[0]].concat();
    let short = &good[..good.len() - 1];
    for (number, bytes) in [&unknown[..], &behind, short].into_iter().enumerate() {
        let answer = against.send(bytes);
        let refused = RefusedFrame { stream: 2, first: 0, count: 1, reason: RefusedReason::Undecodable };
        assert!(answer.contains(&format!("{:?}", Frame::Refused(refused))), "{number}: {answer:?}");
    }
    assert_eq!(against.world.backend.discards().of(Discard::MalformedRecords), 3);
    assert_eq!(against.world.app.store.stored.len(), delivered);
    against.assert_unharmed();
}

#[test]
fn a_device_cannot_speak_for_another() {
    // The puppet names the very stream of device 0: its records are its own all the same.
    let mut against = Against::new(9);
    let identity = against.world.identity(0);
    against.world.record(0, Lane::Trend, &rate(1)).unwrap();
    against.world.drain(secs(5));
    let key = *against.world.app.store.ledgers[&identity].streams().next().unwrap().0;
    let set = descriptors(0);
    let mut out = [0; 256];
    let mut writer = FrameWriter::new(&mut out);
    writer.frame_with(FrameKind::Streams, |body| {
        let mut streams = StreamsWriter::new(body, true).ok()?;
        let entry = StreamEntry { oldest: 1_000_000, ..TREND };
        streams.push(key.boot, key.tag, hash_of(&set), &[entry]).ok()?;
        Some(streams.finish())
    });
    let payload = writer.finish().to_vec();
    against.send(&payload);
    against.assert_unharmed();
}

#[test]
fn lying_acks_do_no_harm() {
    let mut against = Against::new(10);
    for counter in [0, 5, u64::MAX, 1 << 40] {
        against.frames(&[Frame::Ack(AckFrame::of_packet(counter)), Frame::Ping([1; 8])]);
    }
    against.assert_unharmed();
}

#[test]
fn low_order_and_repeated_rekey_requests_are_harmless() {
    let mut against = Against::new(11);
    for key in [[0; 32], [1; 32]] {
        against.frames(&[Frame::RekeyRequest(key)]);
        against.frames(&[Frame::RekeyRequest(key)]);
    }
    for key in 2..40 {
        against.frames(&[Frame::RekeyRequest([key; 32]), Frame::Ping([1; 8])]);
    }
    assert!(against.world.backend.discards().of(Discard::UntimelyRekey) > 30);
    against.assert_unharmed();
}

#[test]
fn many_boots_and_sets_stay_bounded() {
    let mut against = Against::new(12);
    for boot in 0..200u32 {
        let set = descriptors((boot % 60) as u8);
        let entry = StreamEntry { index: (boot % 16) as u8, ..TREND };
        let frames = against.named(&set, &[entry], boot);
        if boot >= 16 {
            against.assert_closed(&frames, CloseReason::ProtocolViolation);
            return;
        }
        against.frames(&[Frame::Descriptors(DescriptorsFrame {
            stream: entry.index,
            total: set.len() as u16,
            offset: 0,
            bytes: &set,
        })]);
    }
}

#[test]
fn an_ack_is_cut_where_its_bitmap_does_not_fit() {
    // The smallest packets, the longest connection id, long sequences.
    let mut against = Against::with(13, |puppet| {
        puppet.connection_id = vitalwire::wire::ConnectionId::new(&[3; 8]).unwrap();
        puppet.limits = vitalwire::handshake::Limits::new(64, 128, secs(60)).unwrap();
    });
    let (set, oldest) = (descriptors(0), 1 << 45);
    against.named(&set, &[StreamEntry { oldest, ..TREND }], 1);
    against.described(&set);
    against.world.app.policy.commit_delay = (3_600_000, 3_600_000);
    let lane = (500, Lane::Trend);
    let content = crate::app::content(500, at(5), &rate(1));
    for offset in 0..250 {
        let sequence = oldest + offset;
        against.world.app.store.expected.insert((lane.0, lane.1, sequence), content.clone());
        if offset == 1 {
            against.world.app.policy.commit_delay = (0, 0);
        }
        let answer = against.send(&records(2, sequence, &[rate(1)]));
        assert!(answer.iter().filter(|frame| frame.starts_with("Ack")).count() <= 1, "{answer:?}");
    }
    against.world.app.store.expected.retain(|(number, ..), _| *number != 500);
    against.assert_unharmed();
}

#[test]
fn a_device_closes_on_malformed_frames_and_frames_of_its_own_side() {
    let key = [9; 32];
    let piece = DescriptorsFrame { stream: 0, total: 1, offset: 0, bytes: &[1] };
    let cases: [Vec<u8>; 6] = [
        vec![12],
        vec![1, 2],
        [&[9][..], &key].concat(),
        records(1, 0, &[rate(1)]),
        {
            let mut out = [0; 64];
            let mut writer = FrameWriter::new(&mut out);
            writer.push(&Frame::Descriptors(piece)).unwrap();
            writer.finish().to_vec()
        },
        vec![3, 0, 1, 0, 0, 1, 0, 0],
    ];
    for payload in cases {
        let mut facing = Facing::connected();
        let packet = facing.puppet.payload(facing.now, &payload);
        facing.give(&packet);
        assert_eq!(facing.device.discards().of(Discard::MalformedFrames), 1, "{payload:?}");
        assert_eq!(facing.said()[0], format!("{:?}", Frame::Close(CloseReason::ProtocolViolation)));
        let ended = DeviceEvent::Disconnected(CloseReason::ProtocolViolation);
        assert_eq!(facing.device.poll_event(), Some(ended));
        assert!(!facing.device.is_connected());
    }
}

#[test]
fn a_device_ignores_acks_of_what_it_never_sent() {
    let mut facing = Facing::connected();
    facing.device.record(facing.now, Lane::Trend, &rate(1)).unwrap();
    assert!(!facing.said().is_empty());
    for (cumulative, bit) in [(2, None), (0, Some(0)), (u64::MAX, None), (u64::MAX, Some(255))] {
        let mut settled = Settled::NONE;
        bit.into_iter().for_each(|bit| settled.insert(bit));
        let mut body = [0; 100];
        let mut ack = AckWriter::new(&mut body, 1 << 50).unwrap();
        ack.push(&StreamAck { stream: Lane::Trend.code(), cumulative, settled }).unwrap();
        let len = ack.finish();
        let packet = facing.puppet.payload(facing.now, &[&[3][..], &body[..len]].concat());
        facing.give(&packet);
        assert!(!facing.device.is_drained(), "nothing was acknowledged");
    }
    assert_eq!(facing.device.discards().of(Discard::OutsideLedger), 4);
    let refused = RefusedFrame { stream: 2, first: 1, count: 64, reason: RefusedReason::OutOfScope };
    facing.frames(&[Frame::Refused(refused), Frame::Refused(RefusedFrame { stream: 9, ..refused })]);
    assert!(!facing.device.is_drained());
    assert!(facing.device.is_connected());
}

#[test]
fn a_device_answers_pings_and_requests_without_end_or_loop() {
    let mut facing = Facing::connected();
    facing.device.record(facing.now, Lane::Trend, &rate(1)).unwrap();
    facing.said();
    for round in 0..100u8 {
        facing.frames(&[
            Frame::Ping([round; 8]),
            Frame::DescriptorsRequest(Lane::Trend.code()),
            Frame::DescriptorsRequest(round % 16),
            Frame::RekeyAccept([round; 32]),
            Frame::Credit(0),
        ]);
        let said = facing.said();
        assert!(said.contains(&format!("{:?}", Frame::Pong([round; 8]))));
        assert!(said.len() < 8, "{said:?}");
        facing.now = facing.now + ms(10);
    }
    assert!(facing.device.is_connected());
}

#[test]
fn a_device_reports_extensions() {
    let mut facing = Facing::connected();
    let mut packet = facing.puppet.payload(facing.now, &[64 | 0x80, 2, 7, 8, 0]);
    let mut seen = Vec::new();
    facing.device.handle_packet(facing.now, &mut packet, &mut |received| {
        if let DeviceReceived::Extension { kind, body } = received {
            seen.push((kind, body.to_vec()));
        }
    });
    assert_eq!(seen, [(64, vec![7, 8])]);
    assert!(facing.device.is_connected());
}

#[test]
fn a_device_sends_no_data_after_a_finish_until_a_packet_authenticates() {
    let mut facing = Facing::new(false);
    facing.device.record(facing.now, Lane::Alarm, &alarm(1)).unwrap();
    facing.device.connect(facing.now);
    let hello = facing.poll().unwrap();
    let reply = facing.puppet.reply(facing.now, &hello, None);
    facing.give(&reply);
    let finish = facing.poll().unwrap();
    let mut finishes = 0;
    for _ in 0..100 {
        while let Some(packet) = facing.poll() {
            assert_eq!(packet, finish);
            finishes += 1;
        }
        facing.now = facing.now + ms(100);
    }
    assert!((2..=3).contains(&finishes));
    facing.puppet.finish(facing.now, &finish);
    facing.frames(&[Frame::Ack(AckFrame::of_packet(0))]);
    assert!(facing.said().iter().any(|frame| frame.starts_with("Records")));
}

#[test]
fn a_device_proves_an_ik_session_at_once_and_again_with_patience() {
    let mut facing = Facing::new(true);
    facing.device.connect(facing.now);
    let hello = facing.poll().unwrap();
    let reply = facing.puppet.reply(facing.now, &hello, None);
    facing.give(&reply);
    let mut packets = 0;
    for _ in 0..3600 {
        while let Some(packet) = facing.poll() {
            packets += usize::from(packet[0] & 0x80 != 0);
        }
        facing.now = facing.now + secs(1);
    }
    assert!((5..80).contains(&packets), "{packets} in an hour");
    facing.frames(&[Frame::Ack(AckFrame::of_packet(0))]);
    assert!(facing.device.is_connected());
}

#[test]
fn a_device_keeps_to_the_credit_over_all_lanes_of_a_packet() {
    for credit in [0, 1, 2, 3] {
        let mut facing = Facing::connected();
        facing.frames(&[Frame::Credit(credit)]);
        for (lane, record) in [(Lane::Event, event(1)), (Lane::Trend, rate(1)), (Lane::Waveform, rate(2))] {
            facing.device.record(facing.now, lane, &record).unwrap();
        }
        facing.device.record(facing.now, Lane::Alarm, &alarm(1)).unwrap();
        let said = facing.said();
        let frames = said.iter().filter(|frame| frame.starts_with("Records")).count();
        assert_eq!(frames, 1 + usize::from(credit.max(1)), "{said:?}");
    }
}

#[test]
fn a_device_names_in_parts_what_does_not_fit_one_packet() {
    let mut facing = Facing::connected();
    let lanes =
        [(Lane::Alarm, alarm(1)), (Lane::Event, event(1)), (Lane::Trend, rate(1)), (Lane::Waveform, rate(1))];
    let mut sequences = [0u64; 4];
    while sequences.iter().any(|&sequence| sequence < 17_000) {
        for ((lane, record), sequence) in lanes.iter().zip(&mut sequences) {
            while let Ok(accepted) = facing.device.record(facing.now, *lane, record) {
                *sequence = accepted.first;
            }
        }
        facing.now = facing.now + ms(1);
        facing.take_and_acknowledge();
    }
    facing.take_and_acknowledge();
    // Sequences of three bytes, a connection id of eight, and the smallest packets.
    facing.device.handle_link(facing.now, Link::Up { max_packet: 64 });
    facing.device.connect(facing.now);
    let hello = facing.poll().unwrap();
    let reply = facing.puppet.reply(facing.now, &hello, None);
    facing.give(&reply);
    for (lane, record) in &lanes {
        facing.device.record(facing.now, *lane, record).unwrap();
    }
    let said = facing.said();
    let named = said.iter().filter(|frame| frame.starts_with("Streams")).count();
    assert_eq!(named, 2, "{said:?}");
    assert!(said.iter().all(|frame| !frame.contains("complete: true")));
    assert_eq!(said.iter().filter(|frame| frame.starts_with("Records")).count(), 4);
    assert!(facing.device.poll_timeout() > Some(facing.now));
}
