//! Records and frames in words and as JSON.

use serde_json::{Value as Json, json};
use vitalwire::framing::*;

/// Names an ISO/IEEE 11073-10101 term: its number, until the library has names for it.
fn term(code: u32) -> String {
    format!("MDC {code}")
}

/// Names a unit of measurement.
fn unit(code: u32) -> String {
    format!("MDC {code}")
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names a lane.
pub const fn lane(lane: Lane) -> &'static str {
    match lane {
        Lane::Alarm => "alarm",
        Lane::Event => "event",
        Lane::Trend => "trend",
        Lane::Waveform => "waveform",
    }
}

/// Writes a decimal with all its digits: 2, 2.0 and 2.00 differ.
pub fn decimal(number: Decimal) -> String {
    let digits = number.mantissa.unsigned_abs().to_string();
    let sign = if number.mantissa < 0 { "-" } else { "" };
    let places = usize::from(number.exponent.unsigned_abs());
    match number.exponent {
        0 => format!("{sign}{digits}"),
        1.. if number.mantissa == 0 => digits,
        1..=18 => format!("{sign}{digits}{}", "0".repeat(places)),
        -18..0 => {
            let padded = format!("{digits:0>width$}", width = places + 1);
            let (whole, part) = padded.split_at(padded.len() - places);
            format!("{sign}{whole}.{part}")
        }
        exponent => format!("{sign}{digits}e{exponent}"),
    }
}

/// Writes a raw value as what it stands for in a component, or as it is without one.
fn physical(component: Option<&Component>, raw: i32) -> String {
    match component.and_then(|component| component.physical(raw)) {
        Some(value) => decimal(value),
        None => format!("raw {raw}"),
    }
}

/// The channel's components; none if the set does not have it.
fn components(set: &DescriptorSet<'_>, channel: u8) -> Vec<Component> {
    set.channel(channel).map(|channel| channel.components.iter().collect()).unwrap_or_default()
}

fn status(mode: Mode, quality: Quality) -> String {
    let mut text = String::new();
    if mode != Mode::Real {
        text += &format!("  [{mode:?}]");
    }
    if quality != Quality::Valid {
        text += &format!("  [{quality:?}]");
    }
    text
}

fn list(values: impl Iterator<Item = String>) -> String {
    values.collect::<Vec<_>>().join(" ")
}

/// Says a record in words, on one line.
pub fn text(record: &Record<'_>, set: &DescriptorSet<'_>) -> String {
    let heading = |kind: &str, channel: u8| {
        let metric = set.channel(channel).map_or(String::new(), |channel| term(channel.metric));
        format!("{kind:<11} channel {channel:<3} {metric}:")
    };
    let in_unit =
        |components: &[Component]| components.first().map_or(String::new(), |component| unit(component.unit));
    match record {
        Record::Measurement(m) => {
            let components = components(set, m.channel);
            let values = m.values.iter().enumerate().map(|(index, value)| match value {
                Value::Present(raw, quality) => {
                    let component = components.get(index);
                    let unit = component.map_or(String::new(), |component| unit(component.unit));
                    format!("{} {unit}{}", physical(component, *raw), status(Mode::Real, *quality))
                }
                Value::Absent(absence) => format!("absent ({absence:?})"),
            });
            let values = values.collect::<Vec<_>>().join(", ");
            format!("{} {values}{}", heading("measurement", m.channel), status(m.mode, Quality::Valid))
        }
        Record::Trend(t) => {
            let components = components(set, t.channel);
            let last = t.points().last().map_or(0, |point| point.offset.as_millis());
            let values = list(t.points().map(|point| physical(components.first(), point.raw)));
            let heading = heading("trend", t.channel);
            let (points, status) = (t.len(), status(t.status.mode, t.status.quality));
            format!("{heading} {points} points over {last} ms, {}: {values}{status}", in_unit(&components))
        }
        Record::Waveform(w) => {
            let components = components(set, w.channel);
            let values = list(w.samples().map(|raw| physical(components.first(), raw)));
            let heading = heading("waveform", w.channel);
            let (samples, status) = (w.len(), status(w.status.mode, w.status.quality));
            let first = w.first_sample;
            format!("{heading} {samples} samples from {first}, {}: {values}{status}", in_unit(&components))
        }
        Record::Event(e) => {
            let components = components(set, e.channel);
            let value = e.value.map(|raw| format!(", {}", physical(components.first(), raw)));
            let unit = e.value.map(|_| format!(" {}", in_unit(&components)));
            let heading = heading("event", e.channel);
            let code = term(e.code);
            format!(
                "{heading} {code}{}{}{}",
                value.unwrap_or_default(),
                unit.unwrap_or_default(),
                status(e.mode, Quality::Valid)
            )
        }
        Record::Alarm(a) => {
            let components = components(set, a.channel);
            let part = |name: &str, raw: Option<i32>| {
                raw.map_or(String::new(), |raw| format!(", {name} {}", physical(components.first(), raw)))
            };
            format!(
                "{} {:?} {:?} {:?}: {}{}{}{}{}",
                heading("alarm", a.channel),
                a.kind,
                a.priority,
                a.phase,
                term(a.code),
                part("value", a.value),
                part("low limit", a.low_limit),
                part("high limit", a.high_limit),
                status(a.mode, Quality::Valid)
            )
        }
        Record::Gap(g) => {
            let of = g.lane.map_or("this stream", lane);
            format!("gap         {} records of {of} from {} on: {:?}", g.count, g.first, g.reason)
        }
        Record::Extension(e) => format!("extension   kind {}: {}", e.kind, hex(e.bytes)),
        other => format!("{other:?}"),
    }
}

/// Describes a record as `tests/vectors/records.json` does.
pub fn record(record: &Record<'_>) -> Json {
    match record {
        Record::Measurement(m) => {
            let value = |value: &Value| match value {
                Value::Present(raw, quality) => json!({ "state": *quality as u8, "raw": raw }),
                Value::Absent(absence) => json!({ "state": *absence as u8 }),
            };
            let values: Vec<Json> = m.values.iter().map(value).collect();
            json!({ "kind": "measurement", "channel": m.channel, "mode": m.mode as u8, "values": values })
        }
        Record::Trend(t) => {
            let points: Vec<Json> =
                t.points().map(|point| json!([point.offset.as_millis(), point.raw])).collect();
            json!({
                "kind": "trend", "channel": t.channel, "mode": t.status.mode as u8,
                "quality": t.status.quality as u8, "points": points,
            })
        }
        Record::Waveform(w) => json!({
            "kind": "waveform", "channel": w.channel, "first_sample": w.first_sample,
            "mode": w.status.mode as u8, "quality": w.status.quality as u8,
            "samples": w.samples().collect::<Vec<_>>(),
        }),
        Record::Event(e) => json!({
            "kind": "event", "channel": e.channel, "mode": e.mode as u8, "code": e.code, "value": e.value,
        }),
        Record::Alarm(a) => json!({
            "kind": "alarm", "channel": a.channel, "mode": a.mode as u8, "alarm_kind": a.kind as u8,
            "priority": a.priority as u8, "phase": a.phase as u8, "code": a.code, "value": a.value,
            "low_limit": a.low_limit, "high_limit": a.high_limit,
        }),
        Record::Gap(g) => json!({
            "kind": "gap", "lane": g.lane.map(Lane::code), "first": g.first, "count": g.count,
            "reason": g.reason as u8,
        }),
        Record::Extension(e) => json!({ "kind": "extension", "type": e.kind, "bytes": hex(e.bytes) }),
        other => json!({ "kind": "other", "text": format!("{other:?}") }),
    }
}

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
            let end = usize::from(piece.offset) + piece.bytes.len();
            format!("Descriptors {}: bytes {} to {end} of {}", hex(&piece.hash.0), piece.offset, piece.total)
        }
        Frame::DescriptorsRequest(hash) => format!("DescriptorsRequest {}", hex(&hash.0)),
        Frame::RekeyRequest(key) => format!("RekeyRequest {}", hex(key)),
        Frame::RekeyAccept(key) => format!("RekeyAccept {}", hex(key)),
        Frame::RekeyHint => "RekeyHint".into(),
        Frame::Refused(refused) => {
            let RefusedFrame { stream, first, count, reason } = refused;
            format!("Refused: {count} of stream {stream} from {first}, {reason:?}")
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
