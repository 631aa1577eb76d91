//! Payloads: accepted ⇒ encoding the frames again gives the same bytes, but for two liberties of the format.
//!
//! These are: the last frame may carry a length, which the writer leaves out; and an unknown close reason, which
//! becomes 255. The bodies of Ack and Streams are also rebuilt from their items.
//!
//! Input: payload.

use vitalwire::CloseReason;
use vitalwire::codec::Reader;
use vitalwire::framing::*;

pub fn run(data: &[u8]) {
    let Ok(frames) = Frames::parse(data) else { return };
    let frames: Vec<Frame<'_>> = frames.collect();
    let mut out = vec![0u8; data.len() + 16];
    let mut writer = FrameWriter::new(&mut out);
    for frame in &frames {
        writer.push(frame).expect("the writer needs no more bytes than the payload had");
        check_items(frame);
        let _ = (frame.allowed_from(Sender::Device), frame.allowed_from(Sender::Backend));
    }
    let again = writer.finish();
    assert_eq!(again, canonical(data));
    assert!(Frames::parse(again).expect("the writer's frames parse").eq(frames));
}

/// The one form that the writer gives: walks the payload on its own.
fn canonical(payload: &[u8]) -> Vec<u8> {
    let mut reader = Reader::new(payload);
    let mut out = Vec::new();
    while !reader.is_empty() {
        let head = reader.u8().expect("not empty");
        let start = payload.len() - reader.remaining();
        let body = if head & 0x80 != 0 {
            reader.prefixed(usize::MAX).expect("parsed before")
        } else {
            reader.rest()
        };
        let end = payload.len() - reader.remaining();
        let mut body = body.to_vec();
        if head & 0x7f == FrameKind::Close as u8 {
            body[0] = CloseReason::from_code(body[0]).code();
        }
        if reader.is_empty() {
            out.push(head & 0x7f);
        } else {
            out.push(head);
            out.extend_from_slice(&payload[start..end - body.len()]);
        }
        out.extend_from_slice(&body);
    }
    out
}

/// Rebuilds a body from its items, where it has some.
fn check_items(frame: &Frame<'_>) {
    let mut buffer = vec![0u8; 4096];
    let mut direct = vec![0u8; 4096];
    let mut writer = FrameWriter::new(&mut direct);
    if writer.push(frame).is_err() {
        return; // longer than any packet
    }
    let body = &writer.finish()[1..];
    match frame {
        Frame::Ack(ack) => {
            let mut writer = AckWriter::new(&mut buffer, ack.packet).expect("room");
            for stream in ack.streams() {
                writer.push(&stream).expect("an accepted stream can be written");
                assert!(!stream.settles(stream.cumulative));
            }
            let len = writer.finish();
            assert_eq!(buffer[..len], *body);
        }
        Frame::Streams(streams) => {
            let mut writer = StreamsWriter::new(&mut buffer, streams.complete).expect("room");
            for boot in streams.boots() {
                let entries: Vec<StreamEntry> = boot.streams().collect();
                writer
                    .push(boot.boot, boot.tag, boot.set, &entries)
                    .expect("an accepted boot can be written");
            }
            let len = writer.finish();
            assert_eq!(buffer[..len], *body);
        }
        Frame::Records(records) => assert_eq!(RecordsFrame::parse(body).as_ref(), Ok(records)),
        _ => {}
    }
}
