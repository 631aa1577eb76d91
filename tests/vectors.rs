//! Our own vectors for packets, frames and records: made anew in memory and compared with the files, which another
//! language can read. `VITALWIRE_BLESS=1 cargo test --test vectors` writes the files.
//!
//! What is in them is also read back and decoded here, so that a file that was blessed with a mistake in it must at
//! least agree with the decoder; that it agrees with SPEC.md is for an independent implementation to show.

use serde_json::{Value as Json, json};
use vitalwire::codec::Writer;
use vitalwire::crypto::{PublicKey, SessionSecrets};
use vitalwire::framing::*;
use vitalwire::handshake::HelloKey;
use vitalwire::session::{RekeyPolicy, Session, Side};
use vitalwire::wire::{ConnectionId, Cookie, DataHeader, Reset, Retry, RetryHeader};
use vitalwire::{CloseReason, Duration, Instant, UnixSeconds};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &Json) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Compares with the file, or writes it.
fn hold(name: &str, made: &Json) {
    let path = format!("{}/tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("VITALWIRE_BLESS").is_some() {
        let text = serde_json::to_string_pretty(made).unwrap() + "\n";
        std::fs::write(&path, text).unwrap();
    }
    let file: Json = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert!(file == *made, "{path} differs from what the code makes: see this file's first lines");
}

const HASH: [u8; 32] = [0x11; 32];
const SPLIT: [u8; 64] = [0x22; 64];

fn session<const WORDS: usize>(side: Side, policy: RekeyPolicy) -> Session<WORDS> {
    Session::new(Instant::ZERO, side, SessionSecrets::new(HASH, &SPLIT), 128, policy)
}

/// Seals `payload` and describes the packet.
fn sealed<const W: usize>(
    session: &mut Session<W>,
    now: Instant,
    id: &ConnectionId,
    payload: &[u8],
) -> (Vec<u8>, Json) {
    let counter = session.next_counter();
    let mut out = [0u8; 256];
    let head = session.header_len(id);
    out[head..head + payload.len()].copy_from_slice(payload);
    let packet = session.seal(now, id, &mut out, payload.len()).unwrap().to_vec();
    let from = if session.side() == Side::Device { "device" } else { "backend" };
    let described = json!({
        "from": from, "epoch": session.epoch(), "counter": counter, "connection_id": hex(id.as_bytes()),
        "payload": hex(payload), "packet": hex(&packet),
    });
    (packet, described)
}

#[test]
fn packets() {
    let policy = RekeyPolicy::default().hash_after_packets(70).unwrap();
    let mut device: Session<2> = session(Side::Device, policy);
    let mut backend: Session<2> = session(Side::Backend, policy);
    let (to_backend, to_device) = (ConnectionId::new(b"ward7").unwrap(), ConnectionId::EMPTY);
    let mut packets = Vec::new();
    let mut now = Instant::ZERO;
    let mut exchange = |now: Instant, from_device: bool, keep: bool, payload: &[u8]| {
        let (mut packet, described) = if from_device {
            sealed(&mut device, now, &to_backend, payload)
        } else {
            sealed(&mut backend, now, &to_device, payload)
        };
        if keep {
            packets.push(described);
        }
        let (receiver, len) = if from_device { (&mut backend, 5) } else { (&mut device, 0) };
        let header = DataHeader::parse(&packet, len).unwrap();
        assert_eq!(receiver.open(now, &header, &mut packet).unwrap().payload, payload);
    };
    exchange(now, true, true, &[0x81, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0]);
    exchange(now, false, true, &[2, 1, 2, 3, 4, 5, 6, 7, 8]);
    // Nothing is acknowledged: at counter 64 the counter takes two bytes.
    for n in 1..=64u8 {
        exchange(now, true, n >= 63, &[0, 0]);
    }
    // The hash ratchet: two minutes after the handshake everything of it is old enough.
    now = now + Duration::from_secs(121);
    for _ in 0..8 {
        exchange(now, true, false, &[]);
    }
    exchange(now, true, true, b"\x00\x00");
    exchange(now, false, true, b"\x03\x49");
    assert_eq!((device.epoch(), backend.epoch()), (1, 1));

    let key = HelloKey::from_authority(&vitalwire::crypto::SignatureKey([0x33; 32]));
    let backend_key = HelloKey::from_backend(&PublicKey([0x33; 32]));
    let hello_mac = [0x44; 16];
    let header =
        RetryHeader { connection_id: ConnectionId::new(&[1, 2]).unwrap(), cookie: Cookie([0x55; 16]) };
    let mut out = [0u8; 64];
    let mut writer = Writer::new(&mut out);
    header.write(&mut writer).unwrap();
    let mac = key.retry_mac(writer.written(), &hello_mac);
    assert_eq!(
        mac,
        backend_key.retry_mac(writer.written(), &hello_mac),
        "the anchor's bytes are what counts"
    );
    writer.bytes(&mac).unwrap();
    let retry = writer.into_written();
    assert_eq!(Retry::parse(retry, 2).unwrap().header, header);
    let reset = Reset { tag: [0x66; 16] };
    hold(
        "packets",
        &json!({
            "about": "Data packets of one session in the order in which they are sealed, then a Retry and a Reset. Bytes are in hex.",
            "handshake_hash": hex(&HASH),
            "split_keys": hex(&SPLIT),
            "data": packets,
            "retry": {
                "anchor": hex(&[0x33; 32]), "hello_mac": hex(&hello_mac), "connection_id": "0102",
                "cookie": hex(&[0x55; 16]), "packet": hex(retry),
            },
            "reset": { "tag": hex(&[0x66; 16]), "packet": hex(&reset.to_bytes()) },
        }),
    );
}

fn payload(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut out = [0u8; 512];
    let mut writer = FrameWriter::new(&mut out);
    for frame in frames {
        writer.push(frame).unwrap();
    }
    let bytes = writer.finish().to_vec();
    assert!(Frames::parse(&bytes).unwrap().eq(frames.iter().cloned()));
    bytes
}

#[test]
fn frames() {
    let mut cases = Vec::new();
    let mut case = |name: &str, fields: Json, frame: Frame<'_>| {
        let alone = payload(std::slice::from_ref(&frame));
        let followed = payload(&[frame, Frame::RekeyHint]);
        cases.push(json!({
            "frame": name, "fields": fields, "alone": hex(&alone), "followed_by_rekey_hint": hex(&followed),
        }));
    };
    let token = [1, 2, 3, 4, 5, 6, 7, 8];
    case("Padding", json!({ "length": 3 }), Frame::Padding(3));
    case("Ping", json!({ "token": hex(&token) }), Frame::Ping(token));
    case("Pong", json!({ "token": hex(&token) }), Frame::Pong(token));
    case("Credit", json!({ "credit": 300 }), Frame::Credit(300));
    case("DescriptorsRequest", json!({ "stream": 6 }), Frame::DescriptorsRequest(6));
    case("RekeyRequest", json!({ "key": hex(&[9; 32]) }), Frame::RekeyRequest([9; 32]));
    case("RekeyAccept", json!({ "key": hex(&[9; 32]) }), Frame::RekeyAccept([9; 32]));
    case("RekeyHint", json!({}), Frame::RekeyHint);
    let ticket = TicketFrame {
        misused: true,
        ticket: &[0x7c; 122],
        service_key: &[0x5e; 32],
        expires: UnixSeconds(1_750_000_000),
    };
    let fields = json!({
        "misused": true, "ticket": hex(ticket.ticket), "service_key": hex(ticket.service_key), "expires": 1_750_000_000,
    });
    case("Ticket", fields, Frame::Ticket(ticket));
    case("Close", json!({ "reason": 9 }), Frame::Close(CloseReason::Draining));
    let refused = RefusedFrame { stream: 2, first: 1000, count: 3, reason: RefusedReason::OutOfScope };
    case("Refused", json!({ "stream": 2, "first": 1000, "count": 3, "reason": 1 }), Frame::Refused(refused));
    let stamp = TimeSyncFrame::stamp(Instant::from_millis(70_000));
    case(
        "TimeSync",
        json!({ "sent": 70_000, "ask": true }),
        Frame::TimeSync(TimeSyncFrame { ask: true, ..stamp }),
    );
    let echo = TimeEcho { sent: Instant::from_millis(1_000_000), held: Duration::from_millis(40) };
    let wall = WallReading {
        unix_millis: 1_780_000_000_250,
        quality: ClockQuality::Estimated,
        error: Duration::from_millis(300),
    };
    let boot = Some((7, BootTag([1, 2, 3, 4])));
    let fields = json!({ "sent": 70_000, "ask": false, "boot": 7, "tag": "01020304",
        "echo": { "sent": 1_000_000, "held": 40 },
        "wall": { "unix_millis": 1_780_000_000_250u64, "quality": 2, "error": 300 } });
    case(
        "TimeSync",
        fields,
        Frame::TimeSync(TimeSyncFrame { boot, echo: Some(echo), wall: Some(wall), ..stamp }),
    );
    let command = CommandFrame {
        id: 3,
        boot: 7,
        tag: BootTag([1, 2, 3, 4]),
        deadline: Instant::from_millis(80_000),
        kind: 0x8001,
        body: &[0xaa, 0xbb],
    };
    let fields =
        json!({ "id": 3, "boot": 7, "tag": "01020304", "deadline": 80_000, "kind": 0x8001, "body": "aabb" });
    case("Command", fields, Frame::Command(command));
    for (fields, result) in [
        (json!({ "id": 3, "status": 0, "body": "cc" }), CommandResult::Done(&[0xcc])),
        (json!({ "id": 3, "status": 1, "code": 300 }), CommandResult::Failed(300)),
        (json!({ "id": 3, "status": 2, "reason": 3 }), CommandResult::Refused(CommandRefusal::TooLate)),
    ] {
        case("CommandResult", fields, Frame::CommandResult(CommandResultFrame { id: 3, result }));
    }
    let credential = hex(&[0xc5; 90]);
    case("CredentialRenewal", json!({ "credential": credential }), Frame::CredentialRenewal(&[0xc5; 90]));
    case("CredentialRenewal", json!({ "hash": hex(&[0xc6; 16]) }), Frame::CredentialRenewal(&[0xc6; 16]));
    case("Listen", json!({ "window": 200 }), Frame::Listen(Duration::from_millis(200)));
    let piece = DescriptorsFrame { stream: 6, total: 300, offset: 200, bytes: &[7; 4] };
    let fields = json!({ "stream": 6, "total": 300, "offset": 200, "bytes": "07070707" });
    case("Descriptors", fields, Frame::Descriptors(piece));
    let extension = Frame::Extension { kind: 77, body: &[1, 2] };
    case("extension 77", json!({ "body": "0102" }), extension);

    let mut body = [0u8; 64];
    let mut ack = AckWriter::new(&mut body, 300).unwrap();
    let mut settled = Settled::NONE;
    settled.insert(0);
    settled.insert(9);
    ack.push(&StreamAck { stream: 2, cumulative: 1000, settled }).unwrap();
    let len = ack.finish();
    let parsed = one(FrameKind::Ack, &body[..len]);
    let streams = json!([{ "index": 2, "cumulative": 1000, "settled_beyond": [1001, 1010] }]);
    case("Ack", json!({ "packet": 300, "streams": streams }), frame_of(&parsed));

    let mut body = [0u8; 64];
    let mut streams = StreamsWriter::new(&mut body, true).unwrap();
    let entries = [
        StreamEntry { index: 0, lane: Lane::Alarm, oldest: 0 },
        StreamEntry { index: 3, lane: Lane::Waveform, oldest: 1000 },
    ];
    let set = SetHash([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    streams.push(7, BootTag([1, 2, 3, 4]), set, &entries).unwrap();
    let len = streams.finish();
    let parsed = one(FrameKind::Streams, &body[..len]);
    let fields = json!({ "complete": true, "boots": [{
        "boot": 7, "tag": "01020304", "set": hex(&set.0),
        "streams": [{ "index": 0, "lane": 0, "oldest": 0 }, { "index": 3, "lane": 3, "oldest": 1000 }],
    }]});
    case("Streams", fields, frame_of(&parsed));

    let mut body = [0u8; 64];
    let mut batch = BatchWriter::new(&mut body, 1, 300);
    batch.push(Instant::from_millis(100_000), &[0xaa]).unwrap();
    batch.push(Instant::from_millis(101_000), &[0xbb]).unwrap();
    batch.push(Instant::from_millis(100_999), &[0xcc]).unwrap();
    let body = batch.finish().to_vec();
    let parsed = one(FrameKind::Records, &body);
    let fields = json!({ "stream": 1, "first": 300, "records": [
        { "time": 100_000, "bytes": "aa" }, { "time": 101_000, "bytes": "bb" }, { "time": 100_999, "bytes": "cc" },
    ]});
    case("Records", fields, frame_of(&parsed));
    hold(
        "frames",
        &json!({
            "about": "Payloads of one frame, and of that frame followed by a RekeyHint. The records of the Records frame are not real ones. Bytes are in hex.",
            "cases": cases,
        }),
    );
}

/// A payload of one frame with this type and body.
fn one(kind: FrameKind, body: &[u8]) -> Vec<u8> {
    [&[kind as u8], body].concat()
}

fn frame_of(payload: &[u8]) -> Frame<'_> {
    Frames::parse(payload).unwrap().next().unwrap()
}

fn value(value: &Value) -> Json {
    match value {
        Value::Present(raw, quality) => json!({ "raw": raw, "state": *quality as u8 }),
        Value::Absent(absence) => json!({ "state": *absence as u8 }),
    }
}

/// The numbers of a row, null where absent.
fn numbers(row: &Row) -> Json {
    row.iter().collect::<Vec<_>>().into()
}

fn describe(record: &Record<'_>) -> Json {
    match record {
        Record::Measurement(m) => json!({ "kind": "measurement", "channel": m.channel, "mode": m.mode as u8,
            "values": m.values.iter().map(value).collect::<Vec<_>>() }),
        Record::Trend(t) => json!({ "kind": "trend", "channel": t.channel, "mode": t.status.mode as u8,
            "quality": t.status.quality as u8,
            "absent": (0..t.components()).map(|c| t.absence(c).map(|reason| reason as u8)).collect::<Vec<_>>(),
            "points": t.rows().map(|(offset, row)| json!([offset.as_millis(), numbers(&row)])).collect::<Vec<_>>() }),
        Record::Waveform(w) => {
            json!({ "kind": "waveform", "channel": w.channel, "first_sample": w.first_sample,
            "mode": w.status.mode as u8, "quality": w.status.quality as u8,
            "absent": (0..w.components()).map(|c| w.absence(c).map(|reason| reason as u8)).collect::<Vec<_>>(),
            "rows": w.rows().map(|row| numbers(&row)).collect::<Vec<_>>() })
        }
        Record::Event(e) => {
            json!({ "kind": "event", "channel": e.channel, "mode": e.mode as u8, "code": e.code,
            "value": e.value })
        }
        Record::Alarm(a) => json!({ "kind": "alarm", "channel": a.channel, "mode": a.mode as u8,
            "alarm_kind": a.kind as u8, "priority": a.priority as u8, "phase": a.phase as u8, "code": a.code,
            "value": a.value, "low_limit": a.low_limit, "high_limit": a.high_limit }),
        Record::Gap(g) => json!({ "kind": "gap", "lane": g.lane.map(Lane::code), "first": g.first,
            "count": g.count, "reason": g.reason as u8 }),
        Record::Annotation(a) => json!({ "kind": "annotation", "channel": a.channel, "mode": a.mode as u8,
            "code": a.code, "span": a.span.as_millis(), "text": a.text }),
        Record::AlarmLimits(l) => json!({ "kind": "alarm_limits", "channel": l.channel, "mode": l.mode as u8,
            "component": l.component, "low": l.low, "high": l.high }),
        Record::Extension(e) => json!({ "kind": "extension", "type": e.kind, "bytes": hex(e.bytes) }),
        _ => panic!("a kind without a vector"),
    }
}

/// White noise with a deviation of about 18: the sum of four numbers of 5 bits.
fn bell(n: u32) -> i32 {
    let mut state = n.wrapping_mul(0x9e37_79b9);
    for _ in 0..3 {
        state = (state ^ state >> 16).wrapping_mul(0x7feb_352d);
    }
    (0..4).map(|term| (state >> (5 * term) & 31) as i32 - 16).sum()
}

/// The weights of SPEC.md, "Blocks".
const CURVES: [[i32; 3]; 13] = [
    [0, 0, 0],
    [8, 0, 0],
    [16, -8, 0],
    [12, -6, 0],
    [8, -2, 0],
    [15, -10, 2],
    [9, 0, -2],
    [2, -2, 0],
    [8, -4, 0],
    [6, -2, 0],
    [10, -8, 2],
    [17, -14, 4],
    [4, 4, 0],
];

#[test]
fn records() {
    let rate = [Component::new(147_842, 264_864)];
    let pressure = [
        Component::new(150_021, 266_016),
        Component::new(150_022, 266_016),
        Component::new(149_546, 264_864),
    ];
    let volt = [Component {
        scale: Decimal::new(5, -3),
        offset: Decimal::new(-512, -2),
        ..Component::new(131_329, 266_418)
    }];
    let mut ecg = ChannelDescriptor::new(40, ChannelKind::Waveform, 131_329, (&volt).into());
    ecg.rate = Some(Rate::per_second(360));
    let axes = [8_456_155, 8_456_156, 8_456_157].map(|metric| Component::scaled(metric, 268_768, -2));
    let mut motion = ChannelDescriptor::new(41, ChannelKind::Waveform, 8_456_155, (&axes).into());
    motion.rate = Some(Rate { numerator: 25, denominator: 2 });
    let interval = [Component::new(147_240, 264_338)];
    let ticks = [Component { scale: Decimal::new(9_765_625, -7), ..interval[0] }];
    let channels = [
        ChannelDescriptor::new(1, ChannelKind::Numeric, 147_842, (&rate).into()),
        ChannelDescriptor::new(2, ChannelKind::Numeric, 150_020, (&pressure).into()),
        ChannelDescriptor::new(3, ChannelKind::Event, 8_519_681, Components::from(&[])),
        ChannelDescriptor::new(4, ChannelKind::Numeric, 147_240, (&interval).into()),
        ChannelDescriptor::new(5, ChannelKind::Numeric, 147_240, (&ticks).into()),
        ecg,
        motion,
    ];
    let mut bytes = [0u8; 256];
    let len = encode_descriptors(&channels, &mut bytes).unwrap();
    let set = DescriptorSet::parse(&bytes[..len]).unwrap();
    let described: Vec<Json> = channels
        .iter()
        .map(|c| {
            json!({
                "number": c.number, "kind": c.kind as u8, "metric": c.metric, "site": c.site,
                "rate": c.rate.map(|rate| [rate.numerator, rate.denominator]),
                "components": c.components.iter().map(|c| json!({
                    "metric": c.metric, "unit": c.unit,
                    "scale": [c.scale.mantissa, i64::from(c.scale.exponent)],
                    "offset": [c.offset.mantissa, i64::from(c.offset.exponent)],
                })).collect::<Vec<_>>(),
            })
        })
        .collect();

    let mut alarm = Alarm::new(1, AlarmKind::Physiological, Priority::High, Phase::Start, 196_648);
    alarm.value = Some(162);
    alarm.high_limit = Some(150);
    let points: Vec<TrendPoint> = [71, 72, 72, 75, 74, 70]
        .iter()
        .zip(0..)
        .map(|(&raw, n)| TrendPoint { offset: Duration::from_millis(1000 * n + n % 2), raw })
        .collect();
    let smooth: Vec<i32> = (0..40).map(|n| 1000 + n * n / 3 - n % 3).collect();
    let noise: Vec<i32> = (0..16u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 16) as i32 - 32_768).collect();
    let extremes = [i32::MIN, i32::MAX, 0, -1];
    let doubtful = Values::new(&[
        Value::Present(120, Quality::Questionable),
        Value::Absent(Absence::Failed),
        Value::Present(-1, Quality::Valid),
    ]);
    let beats: Vec<TrendPoint> = [0, 812, 1_640, 2_431, 3_270]
        .into_iter()
        .zip([799, 812, 828, 791, 839])
        .map(|(offset, raw)| TrendPoint { offset: Duration::from_millis(offset), raw })
        .collect();
    // the same in 1/1024 s: 831, 1678, 2488, 3347 of them since the first beat
    let ticks: Vec<TrendPoint> = [0, 812, 1_639, 2_430, 3_269]
        .into_iter()
        .zip([818, 831, 847, 810, 859])
        .map(|(offset, raw)| TrendPoint { offset: Duration::from_millis(offset), raw })
        .collect();
    let offsets = [0, 60_000, 120_000].map(Duration::from_millis);
    let pressures = TrendBlock::compound(2, 3, &offsets, &[120, 80, 0, 118, 79, 0, 121, 83, 0]);
    let swing = |n: i32, width: i32| (f64::from(n) * 0.4).sin() * f64::from(width);
    let moved: Vec<i32> =
        (0..40).flat_map(|n| [swing(n, 300) as i32, swing(n + 2, 900) as i32, 981 - n * n % 7]).collect();
    let moved = WaveformBlock::interleaved(41, 25, 3, &moved);
    // a block for each predictor: its own extrapolation, disturbed a little, and kicked now and then; and white noise
    let disturbed = CURVES.iter().zip(core::iter::repeat(3000)).chain([(&[17, -14, 4], 0)]);
    let curves: Vec<Vec<i32>> = disturbed
        .map(|([a, b, c], kick)| {
            let mut samples = vec![400, 500, 300, 260];
            for n in 4..60i32 {
                let at = |back: usize| samples[samples.len() - back] - samples[samples.len() - back - 1];
                let kick = if n % 13 == 0 { kick * (n % 2) - kick / 2 } else { n * n % 5 - 2 };
                let next = (a * at(1) + b * at(2) + c * at(3) + 4).div_euclid(8) + kick;
                samples.push(samples[samples.len() - 1] + next);
            }
            samples
        })
        .chain([(0..60).map(bell).collect()])
        .collect();
    // runs of zeros: one that a number ends, an outlier, one up to the end
    let plateau: Vec<i32> = (0..90).map(|n| if n == 50 { 60_000 } else { 97 - n / 33 }).collect();
    let mut records = vec![
        Record::Measurement(Measurement::new(1, Values::valid(&[72]).unwrap())),
        Record::Measurement(Measurement::new(2, Values::valid(&[120, 80, 66]).unwrap())),
        Record::Measurement(Measurement { mode: Mode::Test, ..Measurement::new(2, doubtful.unwrap()) }),
        Record::Measurement(Measurement::new(1, Value::Absent(Absence::SensorOff).into())),
        Record::Trend(TrendBlock::new(1, &points)),
        Record::Waveform(WaveformBlock::new(40, 108_000, &smooth)),
        Record::Waveform(WaveformBlock::new(40, 0, &noise)),
        Record::Waveform(WaveformBlock::new(40, 0, &extremes)),
        Record::Event(Event { channel: 3, mode: Mode::Real, code: 8_519_681, value: None }),
        Record::Alarm(alarm),
        Record::Alarm(Alarm::new(1, AlarmKind::Technical, Priority::Low, Phase::End, 196_680)),
        Record::Gap(Gap { lane: None, first: 1000, count: 64, reason: GapReason::OutboxFull }),
        Record::Annotation(Annotation {
            channel: Some(40),
            span: Duration::from_secs(12),
            text: "électrodes",
            ..Annotation::new(67_109_132)
        }),
        Record::Annotation(Annotation { mode: Mode::Demonstration, ..Annotation::new(0) }),
        Record::AlarmLimits(AlarmLimits { low: Some(50), high: Some(120), ..AlarmLimits::new(1) }),
        Record::AlarmLimits(AlarmLimits { component: 1, high: Some(-3), ..AlarmLimits::new(2) }),
        Record::Extension(ExtensionRecord { kind: 200, bytes: &[1, 2, 3] }),
        Record::Trend(TrendBlock::new(4, &beats)),
        Record::Trend(TrendBlock::new(5, &ticks)),
        Record::Trend(pressures.without(2, Absence::NotMeasured)),
        Record::Waveform(WaveformBlock::new(40, 7, &plateau)),
        Record::Waveform(moved),
        Record::Waveform(moved.without(0, Absence::SensorOff)),
    ];
    records.extend(curves.iter().map(|samples| Record::Waveform(WaveformBlock::new(40, 1, samples))));
    let cases: Vec<Json> = records
        .iter()
        .map(|record| {
            let mut out = [0u8; 512];
            let len = encode_record(record, &set, &mut out).unwrap();
            let mut body = [0u8; 600];
            let mut batch = BatchWriter::new(&mut body, 0, 0);
            batch.push(Instant::ZERO, &out[..len]).unwrap();
            let frame = RecordsFrame::parse(batch.finish()).unwrap();
            let decoded: Vec<_> = frame.records(&set).collect::<Result<_, _>>().unwrap();
            assert_eq!(describe(&decoded[0].record), describe(record));
            json!({ "record": describe(record), "bytes": hex(&out[..len]) })
        })
        .collect();
    let made = json!({
        "about": "A descriptor set, and records of its channels without the time that stands before them in a batch. Blocks may be encoded otherwise by another encoder: a decoder must read these. Bytes are in hex.",
        "set": { "channels": described, "bytes": hex(set.as_bytes()) },
        "records": cases,
    });
    assert_eq!(unhex(&made["set"]["bytes"]), set.as_bytes());
    hold("records", &made);
}
