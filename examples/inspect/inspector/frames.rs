//! Frames and headers in words.

use super::names::{hex, lane, words};
use vitalwire::framing::*;

/// Says a frame that carries no records in words.
pub fn frame(frame: &Frame<'_>) -> String {
    match frame {
        Frame::Padding(len) => format!("Padding of {len} bytes"),
        Frame::Ping(token) => format!("Ping {}", hex(token)),
        Frame::Pong(token) => format!("Pong {}", hex(token)),
        Frame::Ack(ack) => {
            let streams = ack.streams().map(|s| format!(", stream {} below {}", s.stream, s.cumulative));
            format!("Ack of packet {}{}", ack.packet, streams.collect::<String>())
        }
        Frame::Credit(credit) => format!("Credit {credit}"),
        Frame::Streams(streams) => {
            let boots = streams.boots().map(|boot| {
                let lanes: Vec<String> = boot
                    .streams()
                    .map(|entry| format!("{} {} from {}", entry.index, lane(entry.lane), entry.oldest))
                    .collect();
                let set = hex(&boot.set.0);
                format!(" boot {} ({}), set {set}: {}", boot.boot, hex(&boot.tag.0), lanes.join(", "))
            });
            let complete = if streams.complete { ", complete" } else { "" };
            format!("Streams{complete}:{}", boots.collect::<Vec<_>>().join(";"))
        }
        Frame::Records(records) => {
            let (count, stream, first) = (records.count, records.stream, records.first);
            format!("Records: {count} of stream {stream} from {first}")
        }
        Frame::Descriptors(piece) => {
            let DescriptorsFrame { stream, total, offset, bytes } = piece;
            let end = usize::from(*offset) + bytes.len();
            format!("Descriptors of stream {stream}: bytes {offset} to {end} of {total}")
        }
        Frame::DescriptorsRequest(stream) => format!("DescriptorsRequest for stream {stream}"),
        Frame::RekeyRequest(key) => format!("RekeyRequest {}", hex(key)),
        Frame::RekeyAccept(key) => format!("RekeyAccept {}", hex(key)),
        Frame::RekeyHint => "RekeyHint".into(),
        Frame::Ticket(ticket) => {
            let misused = if ticket.misused { "; an earlier one was misused" } else { "" };
            let id: [u8; 16] = core::array::from_fn(|at| ticket.ticket[at]);
            format!("Ticket {} until {}{misused}", hex(&id), ticket.expires.0)
        }
        Frame::Refused(refused) => {
            let RefusedFrame { stream, first, count, reason } = refused;
            format!("Refused: {count} of stream {stream} from {first}, {}", words(reason))
        }
        Frame::Close(reason) => format!("Close: {reason}"),
        Frame::Extension { kind, body } => format!("extension {kind}: {}", hex(body)),
        other => format!("{other:?}"),
    }
}

/// Says what the header of a packet shows to everybody.
pub fn header(packet: &[u8]) -> String {
    let len = packet.len();
    let Some(&first) = packet.first() else { return "an empty packet".into() };
    if first & 0x80 != 0 {
        let reserved = if first & 7 == 0 { "" } else { ", reserved bits set" };
        let (epoch, counter) = (first >> 5 & 3, (first >> 3 & 3) + 1);
        return format!("data, {len} bytes, epoch mod 4 = {epoch}, counter of {counter} bytes{reserved}");
    }
    let name = match first & 15 {
        _ if first >> 4 == 0 => return format!("fragment, {len} bytes"),
        1 => "Hello",
        2 => "Reply",
        3 => "Finish",
        4 => "Retry",
        5 => "Reset",
        _ => "unknown type",
    };
    format!("{name}, {len} bytes, version {}", first >> 4)
}
