//! Frames and the bodies that are not records.

use super::*;
use crate::CloseReason;
use crate::codec::{DecodeError, Writer};
use crate::time::{Duration, Instant};
use proptest::prelude::*;

fn any_streams() -> impl Strategy<Value = Vec<u8>> {
    let boot = (any::<u32>(), any::<[u8; 4]>(), any::<[u8; 16]>(), 1..16u8, any::<u64>());
    (any::<bool>(), proptest::collection::vec(boot, 0..4)).prop_map(|(complete, boots)| {
        let mut body = [0; 512];
        let mut writer = StreamsWriter::new(&mut body, complete).unwrap();
        for (index, (boot, tag, set, lanes, oldest)) in boots.into_iter().enumerate() {
            let streams: Vec<_> = Lane::ALL
                .into_iter()
                .filter(|lane| lanes >> lane.index() & 1 == 1)
                .map(|lane| StreamEntry { index: index as u8 * 4 + lane.code(), lane, oldest })
                .collect();
            writer.push(boot, BootTag(tag), SetHash(set), &streams).unwrap();
        }
        let len = writer.finish();
        body[..len].to_vec()
    })
}

fn any_acks() -> impl Strategy<Value = Vec<u8>> {
    let stream = (any::<u64>(), proptest::collection::vec(any::<u8>(), 0..20));
    (any::<u64>(), proptest::collection::btree_map(0..16u8, stream, 0..16)).prop_map(|(packet, streams)| {
        let mut body = [0; 1024];
        let mut writer = AckWriter::new(&mut body, packet).unwrap();
        for (stream, (cumulative, bits)) in streams {
            let mut settled = Settled::NONE;
            bits.into_iter().for_each(|bit| settled.insert(bit));
            writer.push(&StreamAck { stream, cumulative, settled }).unwrap();
        }
        let len = writer.finish();
        body[..len].to_vec()
    })
}

fn body_of(frame: &Frame<'_>) -> Vec<u8> {
    let mut out = [0; 512];
    let mut writer = Writer::new(&mut out);
    frame.write_body(&mut writer).unwrap();
    writer.written().to_vec()
}

fn any_time_sync() -> impl Strategy<Value = Vec<u8>> {
    let boot = proptest::option::of((any::<u32>(), any::<[u8; 4]>().prop_map(BootTag)));
    let echo = proptest::option::of((any::<u64>(), any::<u64>()));
    let wall = proptest::option::of((0..1u64 << 45, 0..4usize, any::<u32>()));
    (any::<bool>(), any::<u64>(), boot, echo, wall).prop_map(|(ask, sent, boot, echo, wall)| {
        let echo = echo.map(|(sent, held)| TimeEcho {
            sent: Instant::from_millis(sent),
            held: Duration::from_millis(held),
        });
        let qualities = [
            ClockQuality::Unknown,
            ClockQuality::SetByHand,
            ClockQuality::Estimated,
            ClockQuality::Synchronised,
        ];
        let wall = wall.map(|(unix_millis, quality, error)| WallReading {
            unix_millis,
            quality: qualities[quality],
            error: Duration::from_millis(error.into()),
        });
        let frame = TimeSyncFrame { ask, sent: Instant::from_millis(sent), boot, echo, wall };
        body_of(&Frame::TimeSync(frame))
    })
}

//= SPEC.md#time
//= type=test
//# A reader MUST refuse a TimeSync frame with reserved flags, a wall clock of 2^45 ms or more, or an unknown quality.
#[test]
fn rejects_stamps_out_of_range() {
    let wall = |millis: u64, quality| {
        let mut out = [0; 16];
        let mut writer = Writer::new(&mut out);
        writer.varint(millis).unwrap();
        let body = [&[8, 5], writer.written(), &[quality, 0]].concat();
        Frame::parse(15, &body).map(|_| ())
    };
    assert_eq!(wall((1 << 45) - 1, 3), Ok(()));
    assert_eq!(wall(1 << 45, 3), Err(DecodeError::OutOfRange));
    assert_eq!(wall(1, 4), Err(DecodeError::OutOfRange));
    for bit in 4..8 {
        assert_eq!(Frame::parse(15, &[1 << bit, 5]), Err(DecodeError::OutOfRange));
    }
    assert!(Frame::parse(15, &[0, 5]).is_ok());
}

//= SPEC.md#commands
//= type=test
//# A reader MUST refuse a Command or CommandResult frame whose id is 0, whose body is longer than 256 or 64 bytes, or whose status or reason is unknown.
#[test]
fn rejects_commands_and_results_out_of_range() {
    let command =
        |id, len| Frame::parse(16, &[&[id, 0, 1, 2, 3, 4, 9, 1][..], &vec![0; len]].concat()).map(|_| ());
    let result = |id, len| Frame::parse(17, &[&[id, 0][..], &vec![0; len]].concat()).map(|_| ());
    assert_eq!((command(1, 256), result(1, 64)), (Ok(()), Ok(())));
    let out_of_range = Err(DecodeError::OutOfRange);
    assert_eq!((command(0, 0), command(1, 257)), (out_of_range, out_of_range));
    assert_eq!((result(0, 0), result(1, 65)), (out_of_range, out_of_range));
    for body in [&[1, 3][..], &[1, 2, 0], &[1, 2, 5], &[1, 1, 0x80, 0x80, 4]] {
        assert_eq!(Frame::parse(17, body), Err(DecodeError::OutOfRange), "{body:?}");
    }
}

/// A type and a body that is accepted.
fn any_body() -> impl Strategy<Value = (u8, Vec<u8>)> {
    prop_oneof![
        (0..300usize).prop_map(|len| (0, vec![0; len])),
        any::<[u8; 8]>().prop_map(|token| (1, token.to_vec())),
        any::<[u8; 8]>().prop_map(|token| (2, token.to_vec())),
        any_acks().prop_map(|body| (3, body)),
        any_streams().prop_map(|body| (5, body)),
        Just((6, batch(&[[1, 0], [1, 2]]))),
        (1..2048usize).prop_map(|len| { (7, [&[15, 0x80, 0x10, 0][..], &vec![9; len]].concat()) }),
        (0..16u8).prop_map(|index| (8, vec![index])),
        any::<[u8; 32]>().prop_map(|key| (9, key.to_vec())),
        any::<[u8; 32]>().prop_map(|key| (10, key.to_vec())),
        Just((11, vec![])),
        (0..2u8, any::<u8>()).prop_map(|(flags, byte)| (12, [&[flags][..], &[byte; 154], &[5]].concat())),
        any_time_sync().prop_map(|body| (15, body)),
        (1..u64::MAX, any::<u32>(), any::<[u8; 4]>(), any::<u64>(), any::<u16>(), 0..=256usize).prop_map(
            |(id, boot, tag, deadline, kind, len)| {
                let deadline = Instant::from_millis(deadline);
                let frame = CommandFrame { id, boot, tag: BootTag(tag), deadline, kind, body: &vec![7; len] };
                (16, body_of(&Frame::Command(frame)))
            }
        ),
        (0..=64usize).prop_map(|len| (17, [&[9, 0][..], &vec![8; len]].concat())),
        any::<u16>().prop_map(|code| {
            let result = CommandResult::Failed(code);
            (17, body_of(&Frame::CommandResult(CommandResultFrame { id: 300, result })))
        }),
        (1..=4u8).prop_map(|reason| (17, vec![9, 2, reason])),
        any::<u32>().prop_map(|window| (20, body_of(&Frame::Listen(Duration::from_millis(window.into()))))),
        (1..=10u8).prop_map(|reason| (18, vec![reason])),
        Just((19, vec![3, 70, 2, 1])),
        (64..128u8, proptest::collection::vec(any::<u8>(), 0..200)),
    ]
}

proptest! {
    #[test]
    fn frames_round_trip(bodies in proptest::collection::vec(any_body(), 0..12)) {
        let frames: Vec<_> = bodies.iter().map(|(kind, body)| Frame::parse(*kind, body).unwrap()).collect();
        let mut payload = [0; 30_000];
        let mut writer = FrameWriter::new(&mut payload);
        for frame in &frames {
            writer.push(frame).unwrap();
        }
        let payload = writer.finish();
        prop_assert_eq!(&Frames::parse(payload).unwrap().collect::<Vec<_>>(), &frames);
        // a buffer of exactly that length is enough, and one byte less is not
        let mut exact = vec![0; payload.len()];
        let mut writer = FrameWriter::new(&mut exact);
        prop_assert!(frames.iter().all(|frame| writer.push(frame).is_ok()));
        if let Some(short) = payload.len().checked_sub(1) {
            let mut exact = vec![0; short];
            let mut writer = FrameWriter::new(&mut exact);
            prop_assert!(!frames.iter().all(|frame| writer.push(frame).is_ok()));
        }
    }

    #[test]
    fn accepted_bodies_are_canonical((kind, body) in any_body(), change in any::<(prop::sample::Index, u8)>()) {
        let mut altered = body.clone();
        if !altered.is_empty() {
            let at = change.0.index(altered.len());
            altered[at] ^= change.1;
        }
        for body in [body, altered] {
            if let Ok(frame) = Frame::parse(kind, &body)
                && frame != Frame::Close(CloseReason::Unknown)
            {
                let mut out = [0; 4096];
                let mut writer = Writer::new(&mut out);
                frame.write_body(&mut writer).unwrap();
                prop_assert_eq!(writer.written(), &body);
                prop_assert_eq!(frame.code(), kind);
            }
        }
    }

    #[test]
    fn any_payload_never_panics(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(frames) = Frames::parse(&payload) {
            prop_assert!(frames.count() <= payload.len());
        }
    }

    #[test]
    fn acks_keep_what_is_settled(bits in proptest::collection::btree_set(any::<u8>(), 0..40)) {
        let mut settled = Settled::NONE;
        bits.iter().for_each(|&bit| settled.insert(bit));
        let mut body = [0; 64];
        let mut writer = AckWriter::new(&mut body, 9).unwrap();
        writer.push(&StreamAck { stream: 15, cumulative: 1 << 40, settled }).unwrap();
        let len = writer.finish();
        let ack = AckFrame::parse(&body[..len]).unwrap().streams().next().unwrap();
        prop_assert!(ack.settled.iter().eq(bits.iter().copied()));
        for bit in 0..=255 {
            prop_assert_eq!(ack.settles((1 << 40) + 1 + u64::from(bit)), bits.contains(&bit));
        }
        prop_assert!(ack.settles((1 << 40) - 1) && !ack.settles(1 << 40) && !ack.settles(u64::MAX));
    }
}

//= SPEC.md#frames
//= type=test
//# A receiver MUST check all frames of a packet before it acts on any.
#[test]
fn a_malformed_last_frame_spoils_the_packet() {
    let good = [0x81, 8, 1, 2, 3, 4, 5, 6, 7, 8, 4, 3];
    assert_eq!(Frames::parse(&good).map(Iterator::count), Ok(2));
    for len in 1..good.len() {
        // what is cut off ends in the middle of a frame, unless a whole frame went
        assert_eq!(Frames::parse(&good[..len]).is_ok(), len == 10, "{len}");
    }
    let mut long = good.to_vec();
    long.push(0);
    assert_eq!(Frames::parse(&long).err(), Some(DecodeError::TrailingBytes));
}

//= SPEC.md#frames
//= type=test
//# A receiver MUST skip and count an unknown frame of type 64 or above.
#[test]
fn unknown_types_are_refused_below_64_and_skipped_from_there() {
    for kind in 0..128u8 {
        let payload = [kind | 0x80, 0, 11];
        let frame = Frames::parse(&payload).map(|mut frames| frames.next().unwrap());
        match kind {
            14 | 21..=63 => assert_eq!(frame, Err(DecodeError::UnknownMandatory)),
            64.. => assert_eq!(frame, Ok(Frame::Extension { kind, body: &[] })),
            _ => assert_ne!(frame, Err(DecodeError::UnknownMandatory)),
        }
    }
}

//= SPEC.md#frames
//= type=test
//# A receiver MUST treat a frame that only its own side may send, and a device's Ack that names streams, as malformed.
#[test]
fn frames_come_from_the_right_side_only() {
    let body = [0, 0];
    let (device, backend): (Vec<u8>, Vec<u8>) = (vec![5, 6, 7, 9, 17, 20], vec![4, 8, 10, 11, 16, 19]);
    for (kind, body) in [
        (0, &[][..]),
        (1, &[0; 8]),
        (2, &[0; 8]),
        (3, &[7]),
        (4, &[3]),
        (5, &[0]),
        (6, &[0, 0, 1, 0, 1, 0]),
        (7, &[0, 1, 0, 1]),
        (8, &[0]),
        (9, &[0; 32]),
        (10, &[0; 32]),
        (11, &[]),
        (16, &[1, 0, 1, 2, 3, 4, 9, 1]),
        (17, &[1, 0]),
        (20, &[5]),
        (18, &[1]),
        (19, &[0, 0, 1, 1]),
        (64, &body),
    ] {
        let frame = Frame::parse(kind, body).unwrap();
        assert_eq!(frame.allowed_from(Sender::Device), !backend.contains(&kind), "{frame:?}");
        assert_eq!(frame.allowed_from(Sender::Backend), !device.contains(&kind), "{frame:?}");
    }
    for (flags, device) in [(0, false), (1, false), (2, true), (3, true)] {
        let body = [&[flags, 5][..], if device { &[0, 1, 2, 3, 4] } else { &[] }].concat();
        let frame = Frame::parse(15, &body).unwrap();
        assert_eq!(frame.allowed_from(Sender::Device), device);
        assert_eq!(frame.allowed_from(Sender::Backend), !device);
    }
    let with_streams = Frame::parse(3, &[7, 0, 9, 0]).unwrap();
    assert!(with_streams.allowed_from(Sender::Backend) && !with_streams.allowed_from(Sender::Device));
    assert!(Frame::Ack(AckFrame::of_packet(7)).allowed_from(Sender::Device));
}

//= SPEC.md#ack
//= type=test
//# A reader MUST refuse an Ack whose stream indices do not ascend strictly or whose bitmap ends in a zero byte.
#[test]
fn rejects_acks_out_of_order_or_with_long_bitmaps() {
    assert!(Frame::parse(3, &[7, 1, 9, 0, 2, 9, 1, 1]).is_ok());
    assert_eq!(Frame::parse(3, &[7, 2, 9, 0, 2, 9, 0]), Err(DecodeError::NonCanonical));
    assert_eq!(Frame::parse(3, &[7, 2, 9, 0, 1, 9, 0]), Err(DecodeError::NonCanonical));
    assert_eq!(Frame::parse(3, &[7, 2, 9, 2, 1, 0]), Err(DecodeError::NonCanonical));
    for (len, good) in [(31, true), (32, true), (33, false)] {
        let body = [&[7, 2, 9, len][..], &vec![1; len.into()]].concat();
        assert_eq!(Frame::parse(3, &body).is_ok(), good);
    }
    assert_eq!(Frame::parse(3, &[7, 16, 9, 0]), Err(DecodeError::OutOfRange));
}

//= SPEC.md#conventions
//= type=test
//# A reader MUST refuse a value outside the range that its field allows.
#[test]
fn rejects_values_outside_their_range() {
    let boot = [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let (no_streams, lane_four) = ([&boot[..], &[0]].concat(), [&boot[..], &[1, 0, 4, 0]].concat());
    // a stream index, a lane, a reason, flags, a number of streams
    for (kind, body) in [
        (19, &[16, 0, 1, 1][..]),
        (19, &[0, 0, 0, 1]),
        (19, &[0, 0, 65, 1]),
        (19, &[0, 0, 1, 3]),
        (4, &[0x80, 0x80, 0x04]),
        (5, &[2]),
        (5, &no_streams),
        (5, &lane_four),
        (7, &[16, 1, 0, 1]),
        (8, &[16]),
    ] {
        assert_eq!(Frame::parse(kind, body), Err(DecodeError::OutOfRange), "{kind} {body:?}");
    }
    assert_eq!(Frame::parse(0, &[0, 0, 1]), Err(DecodeError::NonCanonical));
}

//= SPEC.md#streams
//= type=test
//# A reader MUST refuse a Streams frame in which the lanes of a boot do not ascend strictly or a stream index occurs twice.
#[test]
fn rejects_streams_out_of_order_or_twice() {
    let mut boot = [0; 1 + 4 + 16];
    boot[0] = 1;
    let frame = |boots: &[&[u8]]| {
        let mut body = vec![1];
        for streams in boots {
            body.extend(boot);
            body.extend(*streams);
        }
        Frame::parse(5, &body).map(|_| ())
    };
    assert_eq!(frame(&[&[2, 0, 1, 9, 1, 2, 9], &[1, 2, 1, 9]]), Ok(()));
    assert_eq!(frame(&[&[2, 0, 1, 9, 1, 1, 9]]), Err(DecodeError::NonCanonical));
    assert_eq!(frame(&[&[2, 0, 2, 9, 1, 1, 9]]), Err(DecodeError::NonCanonical));
    assert_eq!(frame(&[&[2, 0, 1, 9, 0, 2, 9]]), Err(DecodeError::NonCanonical));
    assert_eq!(frame(&[&[1, 0, 1, 9], &[1, 0, 1, 9]]), Err(DecodeError::NonCanonical));
}

//= SPEC.md#ticket
//= type=test
//# A reader MUST refuse a Ticket frame with unknown flags or a time of 2^35 or above.
#[test]
fn rejects_tickets_of_other_lengths_flags_and_times() {
    let good = [&[1][..], &[7; 122], &[8; 32], &[0xff, 0xff, 0xff, 0xff, 0x7f]].concat();
    let Ok(Frame::Ticket(ticket)) = Frame::parse(12, &good) else { panic!("a Ticket frame") };
    assert_eq!((ticket.misused, ticket.expires.0), (true, (1 << 35) - 1));
    assert_eq!((ticket.ticket, ticket.service_key), (&[7; 122], &[8; 32]));
    assert!(!format!("{ticket:?}").contains("8, 8"), "no key in a log");
    for len in 0..good.len() {
        assert!(Frame::parse(12, &good[..len]).is_err(), "{len}");
    }
    assert!(Frame::parse(12, &[&good[..], &[0]].concat()).is_err());
    let mut flags = good.clone();
    flags[0] = 2;
    assert_eq!(Frame::parse(12, &flags), Err(DecodeError::OutOfRange));
    let late = [&good[..155], &[0x80, 0x80, 0x80, 0x80, 0x80, 0x01]].concat();
    assert_eq!(Frame::parse(12, &late), Err(DecodeError::OutOfRange));
    assert!(!Frame::Ticket(ticket).allowed_from(Sender::Device));
}

#[test]
fn the_streams_writer_refuses_what_a_reader_would() {
    let mut body = [0; 56];
    let mut writer = StreamsWriter::new(&mut body, false).unwrap();
    let entry = |index, lane| StreamEntry { index, lane, oldest: 0 };
    let mut push = |streams: &[StreamEntry]| writer.push(1, BootTag([0; 4]), SetHash([0; 16]), streams);
    assert_eq!(push(&[]), Err(EncodeError::OutOfRange));
    assert_eq!(push(&[entry(16, Lane::Alarm)]), Err(EncodeError::OutOfRange));
    assert_eq!(push(&[entry(0, Lane::Event), entry(1, Lane::Alarm)]), Err(EncodeError::OutOfRange));
    assert_eq!(push(&[entry(0, Lane::Alarm), entry(0, Lane::Event)]), Err(EncodeError::OutOfRange));
    assert_eq!(push(&[entry(0, Lane::Alarm)]), Ok(()));
    assert_eq!(push(&[entry(0, Lane::Alarm)]), Err(EncodeError::OutOfRange));
    assert_eq!(push(&[entry(1, Lane::Alarm)]), Ok(()));
    assert!(matches!(push(&[entry(2, Lane::Alarm)]), Err(EncodeError::BufferTooSmall(_))));
    let len = writer.finish();
    assert_eq!(StreamsFrame::parse(&body[..len]).unwrap().boots().count(), 2);
}

//= SPEC.md#descriptors-frame
//= type=test
//# A reader MUST refuse a Descriptors frame without bytes, or whose bytes reach beyond the total length.
#[test]
fn rejects_parts_beyond_the_set() {
    let part = |total: u16, offset: u16, len: usize| {
        let bytes = vec![7; len];
        let frame = Frame::Descriptors(DescriptorsFrame { stream: 3, total, offset, bytes: &bytes });
        let mut out = [0; 4096];
        let mut writer = Writer::new(&mut out);
        frame.write_body(&mut writer).unwrap();
        Frame::parse(7, writer.written()).map(|_| ())
    };
    assert_eq!(part(2048, 2047, 1), Ok(()));
    assert_eq!(part(2048, 2047, 2), Err(DecodeError::OutOfRange));
    assert_eq!(part(2048, 2048, 0), Err(DecodeError::OutOfRange));
    assert_eq!(part(2049, 0, 1), Err(DecodeError::OutOfRange));
}

#[test]
fn a_frame_that_does_not_fit_leaves_the_payload_as_it_was() {
    let mut payload = [0; 20];
    let mut writer = FrameWriter::new(&mut payload);
    writer.push(&Frame::Ping([1; 8])).unwrap();
    assert_eq!(writer.remaining(), Some(9));
    assert_eq!(writer.push(&Frame::RekeyRequest([1; 32])).unwrap_err().needed, 43);
    assert!(!writer.frame_with(FrameKind::Padding, |body| {
        body.fill(9);
        None
    }));
    writer.push(&Frame::Pong([2; 8])).unwrap();
    assert_eq!(writer.remaining(), None);
    assert!(writer.push(&Frame::RekeyHint).is_err());
    let payload = writer.finish();
    assert_eq!(
        Frames::parse(payload).unwrap().collect::<Vec<_>>(),
        [Frame::Ping([1; 8]), Frame::Pong([2; 8])]
    );
}

#[test]
fn padding_fills_up_to_the_length_asked_for() {
    for len in 0..24 {
        let mut payload = [0xff; 20];
        let mut writer = FrameWriter::new(&mut payload);
        writer.push(&Frame::Credit(3)).unwrap();
        writer.pad_to(len);
        let payload = writer.finish();
        assert_eq!(payload.len(), if (4..=20).contains(&len) { len } else { 2 });
        assert_eq!(Frames::parse(payload).unwrap().next(), Some(Frame::Credit(3)));
    }
}
