//! Writes `seeds/`: run it after a change of the wire format or of a target's input.
//!
//! ```sh
//! cargo run --manifest-path fuzz/Cargo.toml --example seeds
//! ```

use std::fs;
use std::path::Path;
use vitalwire::framing::*;
use vitalwire::interop::fhir;
use vitalwire_fuzz::responder::genuine;
use vitalwire_fuzz::world::{Shape, world};

fn save(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&folder).expect("the folder can be made");
    fs::write(folder.join(name), bytes).expect("the seed can be written");
}

fn main() {
    handshakes();
    links();
    payloads();
    operations();
    stored();
    flash();
    blocks();
    floats();
    serialised();
}

fn links() {
    let order: Vec<u8> = (0..60).chain(20..40).rev().flat_map(|n| [0, n]).collect();
    let packets = [&[0, 0, 2, 0, 200, 0x80][..], &[0; 13], &[1, 99, 0x11]].concat();
    save("links", "genuine", &[packets.as_slice(), &[0; 30], order.as_slice()].concat());
    let piece = |head: [u8; 2], len: u8| [&[3, len + 2][..], &head, &vec![9; len.into()]].concat();
    let forged = [piece([1, 0x40], 18), piece([1, 0x62], 5), piece([1, 0x41], 18), piece([2, 0], 18)];
    save("links", "raw", &[&[1, 4][..], &forged.concat()].concat());
    save("links", "delimited", &[2, 5, 3, 0, 7, 8, 9, 4, 1, 0, 5, 2, 1, 0]);
    save("links", "serial", &[3, 6, 0, 2, 0x80, 2, 7, 0, 3, 9, 0, 255, 4, 1, 0, 1, 1]);
}

fn handshakes() {
    for shape in Shape::ALL {
        let (name, genuine) = (format!("{shape:?}").to_lowercase(), genuine(shape));
        let number = shape as u8;
        let header = |packet: &[u8]| [&[0], packet].concat();
        save("headers", &format!("hello-{name}"), &header(&genuine.hello));
        save("headers", &format!("reply-{name}"), &header(&genuine.reply));
        save("responder", &format!("hello-{name}"), &[&[number], genuine.hello.as_slice()].concat());
        save("responder", &format!("altered-{name}"), &[number | 4, 0, 1, 0, 40, 0]);
        save("responder", &format!("sealed-{name}"), &[number | 8, 0, 1, 0, 40, 0]);
        let noise = &genuine.hello[if shape == Shape::XxPsk3 { 11 } else { 3 }..genuine.hello.len() - 16];
        save("responder", &format!("noise-{name}"), &[&[number | 12, 0], noise].concat());
        if !genuine.finish.is_empty() {
            save("headers", &format!("finish-{name}"), &[&[5], genuine.finish.as_slice()].concat());
            let noise = &genuine.finish[6..];
            let len = (noise.len() as u16).to_be_bytes();
            save("responder", &format!("finish-{name}"), &[&[number | 16, 1], &len[..], noise].concat());
            save(
                "responder",
                &format!("finish-altered-{name}"),
                &[number | 16, 0, 0, 1, 0, 60, 0, 1, 0, 3, 1, 2, 3],
            );
        }
        let noise = &genuine.reply[1..];
        let len = (noise.len() as u16).to_be_bytes();
        save("initiator", &format!("reply-{name}"), &[&[number, 1], &len[..], noise].concat());
        save("initiator", &format!("altered-{name}"), &[number, 0, 0, 1, 0, 60, 0, 2, 0, 1, 0, 3, 0, 3]);
    }
    save("headers", "data", &[&[5, 0xa8, 1, 2, 3, 4, 5, 6, 7][..], &[0; 20]].concat());
    save("headers", "retry", &[&[2, 0x14][..], &[7; 34]].concat());
    save("headers", "reset", &[&[0, 0x15][..], &[7; 16]].concat());
    let credential = world().devices[0].credential();
    save("credential", "genuine", &[&[1], credential.as_bytes()].concat());
    save("credential", "altered", &[0, 0, 1, 0, 20, 3]);
}

fn payloads() {
    let (set, hash) = (&world().set, SetHash([5; 16]));
    save("descriptors", "world", set);
    save("descriptors", "empty", &[1]);
    let mut settled = Settled::NONE;
    [0, 3, 200].into_iter().for_each(|bit| settled.insert(bit));
    let body = batch();
    let records = RecordsFrame::parse(&body).expect("well-formed");
    let mut payload = [0u8; 1400];
    let mut writer = FrameWriter::new(&mut payload);
    writer.frame_with(FrameKind::Ack, |body| {
        let mut ack = AckWriter::new(body, 300).ok()?;
        ack.push(&StreamAck { stream: 1, cumulative: 7, settled }).ok()?;
        ack.push(&StreamAck { stream: 3, cumulative: 1 << 40, settled: Settled::NONE }).ok()?;
        Some(ack.finish())
    });
    writer.frame_with(FrameKind::Streams, |body| {
        let mut streams = StreamsWriter::new(body, true).ok()?;
        let entries = Lane::ALL.map(|lane| StreamEntry { index: lane.code(), lane, oldest: 9 });
        streams.push(7, BootTag([1; 4]), hash, &entries).ok()?;
        Some(streams.finish())
    });
    let refused = RefusedFrame { stream: 2, first: 9, count: 64, reason: RefusedReason::OutOfScope };
    let now = vitalwire::Instant::from_millis(80_000);
    let echo = Some(TimeEcho { sent: now, held: vitalwire::Duration::from_millis(40) });
    let error = vitalwire::Duration::from_millis(20);
    let wall = WallReading { unix_millis: 1_780_000_000_000, quality: ClockQuality::Synchronised, error };
    let stamp = TimeSyncFrame {
        ask: true,
        boot: Some((7, BootTag([1; 4]))),
        echo,
        wall: Some(wall),
        ..TimeSyncFrame::stamp(now)
    };
    let ticket = TicketFrame {
        misused: true,
        ticket: &[6; vitalwire::limits::TICKET_LEN],
        service_key: &[7; 32],
        expires: vitalwire::UnixSeconds(1_780_000_000),
    };
    let command =
        CommandFrame { id: 3, boot: 7, tag: BootTag([1; 4]), deadline: now, kind: 1, body: b"stop" };
    let frames = [
        Frame::Descriptors(DescriptorsFrame { stream: 1, total: 2048, offset: 40, bytes: &set[..20] }),
        Frame::Ping([1; 8]),
        Frame::Pong([2; 8]),
        Frame::Credit(300),
        Frame::DescriptorsRequest(1),
        Frame::RekeyRequest([9; 32]),
        Frame::RekeyAccept([8; 32]),
        Frame::RekeyHint,
        Frame::Refused(refused),
        Frame::TimeSync(stamp),
        Frame::Command(command),
        Frame::CommandResult(CommandResultFrame { id: 3, result: CommandResult::Done(b"done") }),
        Frame::CommandResult(CommandResultFrame { id: 4, result: CommandResult::Failed(300) }),
        Frame::Listen(vitalwire::Duration::from_millis(200)),
        Frame::Ticket(ticket),
        Frame::Extension { kind: 100, body: b"later" },
        Frame::Close(vitalwire::CloseReason::Idle),
        Frame::Padding(3),
        Frame::Records(records),
    ];
    for (index, frame) in frames.iter().enumerate() {
        writer.push(frame).expect("room");
        let mut one = [0u8; 400];
        let mut single = FrameWriter::new(&mut one);
        single.push(frame).expect("room");
        save("frames", &format!("{index}"), single.finish());
    }
    save("frames", "all", writer.finish());
    save("records", "world", &[&[0], body.as_slice()].concat());
    save("fhir", "records", &[&[1], body.as_slice()].concat());
    let context = vitalwire_fuzz::fhir::context();
    let written = records.records(&context.set).filter_map(|record| context.observations(&record.ok()?).ok());
    let bundle = fhir::Bundle::transaction(None, written.flatten());
    let text = fhir::to_json(&bundle).expect("it can be written");
    save("fhir", "bundle", &[&[0], text.as_bytes()].concat());
    let len = (set.len() as u16).to_be_bytes();
    save("records", "own-set", &[&[1], &len[..], set.as_slice(), body.as_slice()].concat());
}

/// One record of each kind.
fn batch() -> Vec<u8> {
    let samples: Vec<i32> = (0..60).map(|n| n * n % 71).collect();
    let millis = vitalwire::Duration::from_millis;
    let points: Vec<TrendPoint> =
        (0..20).map(|n| TrendPoint { offset: millis(n * 900 + n % 3), raw: 60 + n as i32 }).collect();
    let mut alarm = Alarm::new(0, AlarmKind::Physiological, Priority::High, Phase::Start, 5);
    (alarm.value, alarm.high_limit) = (Some(162), Some(150));
    let qualified =
        Values::new(&[Value::Present(97, Quality::Questionable), Value::Absent(Absence::SensorOff)]);
    let annotation =
        Annotation { channel: Some(3), span: millis(12_000), text: "électrodes", ..Annotation::new(9) };
    let limits = AlarmLimits { low: Some(50), high: Some(120), ..AlarmLimits::new(0) };
    let records = [
        Record::Measurement(Measurement::new(0, Values::valid(&[72]).expect("one value"))),
        Record::Measurement(Measurement {
            channel: 1,
            mode: Mode::Test,
            values: qualified.expect("two values"),
        }),
        Record::Trend(TrendBlock::new(0, &points)),
        Record::Waveform(WaveformBlock::new(3, 900, &samples)),
        Record::Event(Event { channel: 4, mode: Mode::Real, code: 70_000, value: Some(-3) }),
        Record::Alarm(alarm),
        Record::Gap(Gap { lane: Some(Lane::Trend), first: 4, count: 9, reason: GapReason::OutboxFull }),
        Record::Extension(ExtensionRecord { kind: 77, bytes: b"later" }),
        Record::Annotation(annotation),
        Record::AlarmLimits(limits),
    ];
    let mut body = [0u8; 1024];
    let mut batch = BatchWriter::new(&mut body, 2, 1000);
    for (index, record) in records.iter().enumerate() {
        let mut out = [0u8; 512];
        let len = encode_record(record, &world().channels(), &mut out).expect("it fits its channel");
        batch.push(vitalwire::Instant::from_millis(5000 + index as u64 * 37), &out[..len]).expect("room");
    }
    batch.finish().to_vec()
}

/// Numbers of series, and encoded blocks.
fn blocks() {
    let sine: Vec<u8> = (0..200)
        .flat_map(|n: i32| (((f64::from(n) / 9.0).sin() * 900.0).round() as i16).to_be_bytes())
        .collect();
    let letters = b"HIHHJKLLLMMNNOPQQRRSSTTUUVV";
    // what, components less one, flags, limit, absent components
    let shape = |bytes: u8, components: u8, flags: u8, limit: u8, absent: u8| {
        vec![bytes, components, flags, 1, limit, 0, absent]
    };
    let index = [0, 0, 0, 0, 0, 0, 3, 132, 0];
    save("waveform", "one", &[&shape(0, 0, 0x10, 0, 0)[..], &index[..], &sine].concat());
    save("waveform", "three", &[&shape(0, 2, 0x95, 200, 2)[..], &index[..], &sine].concat());
    save("waveform", "twelve", &[&shape(0, 11, 0x40, 40, 0)[..], &index[..], letters, &sine].concat());
    let steps = [1, 255, 1, 127, 128, 3, 0, 0, 0, 0, 90];
    save("waveform", "steps", &[&shape(0, 0, 0x40, 0, 0)[..], &index[..], &steps].concat());
    let block = [5, 0, 4, 0xcc, 0xc8, 0x52];
    save("waveform", "bytes", &[&shape(1, 0, 0, 0, 0)[..], &index[..], &block].concat());
    for timing in [0u8, 1, 3, 4, 9, 0x0c, 0x10, 0x14, 0x1c, 0x50, 0x6d] {
        let name = format!("timing-{timing:02x}");
        save("trend", &name, &[&shape(0, 0, 0, 0, 0)[..], &[timing], &letters[..]].concat());
        save(
            "trend",
            &format!("{name}-compound"),
            &[&shape(0, 2, 0x90, 0, 4)[..], &[timing], &sine[..]].concat(),
        );
    }
    for (name, points) in [("listed", [0, 812, 1640, 2431, 3270]), ("regular", [0, 1000, 2000, 3000, 4000])] {
        let mut last = 0;
        let points = points.map(|at| {
            let raw = (at - core::mem::replace(&mut last, at)) as i32;
            TrendPoint { offset: vitalwire::Duration::from_millis(at), raw }
        });
        let mut out = [0u8; 128];
        let block = TrendBlock::new(0, &points);
        let len = encode_trend(&block, &world().channels(), &mut out).expect("it fits its channel").bytes;
        save("trend", &format!("bytes-{name}"), &[&shape(1, 0, 0, 0, 0)[..], &[1], &out[1..len]].concat());
    }
}

fn floats() {
    let decimal = [0xfe, 0, 0, 0, 0, 0, 0, 0x0e, 0x64];
    save("floats", "temperature", &[&[0xfe, 0, 0x0e, 0x64], &decimal[..], b"36.84"].concat());
    save(
        "floats",
        "special",
        &[&[0, 0x7f, 0xff, 0xff], &[7, 0x7f, 0xff, 0xff, 0xff][..], b"-1.50E+3"].concat(),
    );
    save("floats", "sfloat", &[&[0, 0x80, 0xe0, 0xc8], &[0x80, 0x80, 0, 0, 0][..], b"0.000"].concat());
}

fn serialised() {
    let body = batch();
    let set = world().channels();
    save("serialised", "world", &[&[2, 0], body.as_slice()].concat());
    for (index, record) in RecordsFrame::parse(&body).expect("well-formed").records(&set).enumerate() {
        let record = record.expect("well-formed").record;
        let name = format!("record-{index}");
        let text = serde_json::to_string(&record).expect("it can be written");
        save("serialised", &name, &[&[0], text.as_bytes()].concat());
    }
    for channel in set.channels() {
        let text = serde_json::to_string(&channel).expect("it can be written");
        save("serialised", &format!("channel-{}", channel.number), &[&[1], text.as_bytes()].concat());
    }
}

/// Sequences of operations that get each simulation to where it delivers records.
fn operations() {
    for settings in [0, 1, 2, 3, 6, 8, 10, 16, 24, 26, 32, 64, 72, 96, 128, 192] {
        // records, exchanges, some time, losses, a replay, a commit and a release
        let ops = [
            8, 3, 0x28, 9, 7, 7, 7, 11, 0, 0x1b, 0, 10, 1, 0, 7, 0x59, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
            13, 14, 15, 16, 17, 18, 19, 20, 7, 6, 1, 0, 1, 0, 0x2c, 3, 0x3c, 2, 0x0c, 0, 0, 1, 0, 9, 1, 7,
            0x2d, 7, 0x3d, 7, 0x5d, 2, 8, 5, 7, 10, 9, 0,
            7, // and a set that grows, in a session and without
            0x8e, 8, 3, 8, 3, 7, 7, 11, 0, 0x8e, 0x8e, 8, 3, 8, 3, 14, 0x8e, 8, 3, 15, 7, 7, 7,
            // clocks, commands, and a storage that fails
            0x3e, 7, 7, 0x1e, 0x40, 0, 0, 7, 7, 0x2e, 7, 0x1e, 1, 0, 0, 7, 14, 7, 15, 8, 9, 7, 7, 0x4e, 7, 7,
            0x5e,
        ];
        save("pair", &format!("{settings}"), &[&[settings], &ops[..]].concat());
        let ops = [
            2, 3, 0x22, 9, 0, 4, 0, 0, 4, 0, 10, 4, 0, 0, 10, 4, 0, 3, 5, 1, 2, 3, 4, 5, 0, 10, 4, 0, 7, 0,
            6, 0, 0, 1, 0, 3, 1, 11, 4, 0, 0, 9, 0, 9, 1, 1, 2, 3, 4, 5, 6, 7, 8, 4, 0, 0, 15, 0, 0, 4, 0, 0,
            10, 4, 0, 0, 13, 4, 0, 0, // a command, a stamp, a ticket, and storage
            15, 1, 3, 80, 4, 4, 0, 0x7c, 9, 0, 15, 1, 0, 0, 5, 4, 0, 0, 15, 2, 0, 0, 3, 4, 0, 0x2c, 0x6c, 0,
            0xfc, 4, 1, 3, 1, 2, 3, 0,
        ];
        save("device", &format!("{settings}"), &[&[settings], &ops[..]].concat());
    }
    for (name, settings, shape) in
        [("xx", 0, 0), ("ik", 0, 0x20), ("xxpsk3", 4, 0x40), ("ikpsk2", 2, 0x60), ("few", 1, 0)]
    {
        let decide = if name.ends_with("psk3") || name.ends_with("psk2") { 0x86 } else { 6 };
        let ops = [
            shape, 2, 0, 5, decide, 0, 5, 7, 0, 2, 0, 5, decide, 0, 7, 0, 8, 9, 3, 0, 0x29, 5, 0, 1, 11, 0,
            12, 0, 7, 0, 9, 4, 3, 2, 0, 4, 1, 3, 0, 0, 1, 0, 8, 9, 1, 7, 0, 13, 1, 0, 0x0e, 1, 9, 2, 0, 1, 7,
            0, 0x5e, 7, 0, 0x2e, 7, 0,
        ];
        save("backend", name, &[&[settings], &ops[..]].concat());
    }
    save(
        "session",
        "orderly",
        &[2, 4, 3, 0, 5, 1, 5, 6, 20, 7, 20, 14, 0, 1, 6, 1, 7, 1, 12, 3, 200, 0, 9, 6, 9, 7, 9],
    );
    save(
        "session",
        "losses",
        &[
            0, 1, 3, 0, 39, 1, 39, 2, 7, 3, 9, 4, 30, 5, 2, 8, 3, 0, 1, 0, 5, 7, 10, 11, 14, 0, 0, 6, 63, 7,
            63,
        ],
    );
    save(
        "session",
        "sleepy",
        &[9, 9, 7, 0, 2, 6, 9, 0x1c, 80, 0, 0, 3, 6, 9, 1, 2, 7, 9, 0x1c, 255, 0, 14, 0, 1, 6, 4, 1, 1, 7, 4],
    );
}

/// Lives of a device with storage: the first byte is the target's choice.
fn stored() {
    let sequences: [(&str, &[u8]); 6] = [
        // It connects, records, is cut off, stores, loses power, connects again.
        (
            "orderly",
            &[
                15, 3, 5, 15, 8, 0x13, 9, 3, 3, 10, 1, 5, 15, 15, 0x23, 4, 15, 4, 0x20, 0, 15, 12, 15, 15,
                0x1c,
            ],
        ),
        ("full", &[15, 8, 3, 23, 3, 23, 1, 3, 23, 3, 23, 10, 1, 4, 20, 0, 1, 5, 15, 4, 20, 0, 15, 15]),
        (
            "failing",
            &[15, 8, 3, 9, 10, 2, 5, 4, 0, 6, 0, 4, 20, 0, 2, 0, 0, 0x17, 15, 3, 4, 2, 5, 15, 4, 20, 0, 15],
        ),
        (
            "damaged",
            &[15, 8, 0x33, 9, 3, 9, 10, 1, 6, 0xc5, 0, 0, 1, 0, 30, 3, 6, 1, 0, 1, 5, 15, 15, 6, 8, 5, 15],
        ),
        ("put-back", &[15, 8, 3, 9, 10, 1, 7, 0x18, 15, 15, 0x17, 15, 15, 3, 4, 0x17, 15, 6, 0x38, 0, 5, 15]),
        (
            "lies",
            &[15, 8, 3, 9, 10, 2, 12, 0, 1, 0, 9, 3, 5, 2, 9, 0, 3, 1, 2, 3, 11, 4, 0, 0, 8, 1, 2, 5, 5, 15],
        ),
    ];
    for (name, ops) in sequences {
        for settings in [0u8, 1, 2, 9, 16] {
            save("storage", &format!("{name}-{settings}"), &[&[settings << 1], ops].concat());
        }
    }
    // Trends until storage and memory are full, then a link: what was given up is named.
    let fill = [0x23, 23, 1].repeat(10);
    let drain = [4, 20, 0, 15].repeat(6);
    save("storage", "gap", &[&[4, 15, 15, 8], &fill[..], &[0x18, 15], &drain[..]].concat());
    save("storage", "boots", &[1, 0, 0, 0, 0, 40, 1]);
    save("storage", "entry", &[3, 0, 0, 1, 0, 30, 1]);
    save("storage", "items", &[5, 3, 3, 0]);
    save("storage", "records", &[7, 0xd0, 0x0f, 3, 1, 2, 3, 0x13, 1, 9]);
    let resumes: [(&str, &[u8]); 4] = [
        ("again", &[15, 3, 5, 15, 0x09, 15, 3, 7, 0x19, 15, 15, 9, 0x19, 15, 5, 15, 15, 5, 3, 2, 15, 15]),
        ("replayed", &[15, 15, 9, 15, 3, 7, 0x19, 1, 0x10, 14, 2, 14, 3, 0x1e, 2, 0, 0, 1, 0, 9, 3, 15, 15]),
        (
            "claims",
            &[15, 15, 9, 15, 0x2d, 3, 3, 0x19, 15, 15, 13, 9, 15, 0x1d, 0x19, 15, 13, 9, 0x3d, 0x19, 15, 15],
        ),
        (
            "kept",
            &[
                15, 15, 5, 2, 0, 0, 0, 0, 5, 15, 9, 0x19, 2, 4, 4, 4, 15, 7, 15, 0x17, 15, 0x3b, 7, 9, 0x19,
                15,
            ],
        ),
    ];
    for (name, ops) in resumes {
        for settings in [0u8, 2, 4, 8] {
            save("tickets", &format!("{name}-{settings}"), &[&[settings << 3 | 3], ops].concat());
        }
    }
    save("tickets", "open", &[0, 0x20, 0, 0, 0, 1, 0, 30, 1]);
    save("tickets", "hello", &[1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2]);
    save("tickets", "stored", &[2, 0]);
    save("tickets", "stored-altered", &[2, 1, 0, 1, 0, 200, 3]);
    save("tickets", "stuck", &[2, 8]);
    // Early records behind a ticket.
    let mut body = [0u8; 128];
    let mut streams = StreamsWriter::new(&mut body, true).expect("room");
    let hash = SetHash::from_digest(vitalwire::crypto::hazmat::blake2s(&world().set));
    let entries = Lane::ALL.map(|lane| StreamEntry { index: lane.code(), lane, oldest: 0 });
    streams.push(1, BootTag([1; 4]), hash, &entries).expect("room");
    let len = streams.finish();
    let streams = [&[0x80 | FrameKind::Streams as u8, len as u8], &body[..len]].concat();
    let mut batch = [0u8; 64];
    let mut writer = BatchWriter::new(&mut batch, 2, 0);
    let values = Values::valid(&[72]).expect("one value");
    let mut record = [0u8; 16];
    let len =
        encode_record(&Record::Measurement(Measurement::new(0, values)), &world().channels(), &mut record)
            .expect("it fits its channel");
    writer.push(vitalwire::Instant::from_millis(80), &record[..len]).expect("room");
    let early = [&streams[..], &[FrameKind::Records as u8], writer.finish()].concat();
    save("tickets", "early", &[&[1, 0, early.len() as u8], &early[..], &[0, 0, 0, 0, 0, 0, 0]].concat());
}

/// Garbage or a page head, then requests and a restart.
fn flash() {
    let requests = [0, 7, 30, 0, 0x10, 7, 40, 15, 8, 0, 10, 3, 9, 0, 13, 0, 6, 0, 0, 14, 0];
    for size in 0..5 {
        let pieces = [size, 2, 3, 0, 2, 1, 4, 2, 1, 3, 5, 1, 2, 3, 4, 5, 0, 9, 5];
        save("flash", &format!("pieces-{size}"), &[&pieces[..], &requests[..]].concat());
        save("flash", &format!("garbage-{size}"), &[&[size, 1, 1, 0, 9, 3][..], &requests[..]].concat());
    }
}
