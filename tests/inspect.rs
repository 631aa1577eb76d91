//! The inspector of `examples/inspect`, on the vectors and on sessions that are made here.

#![allow(
    unreachable_pub,
    reason = "the modules of a program are private: `pub` says what the others may use"
)]

#[path = "../examples/inspect/inspector/mod.rs"]
mod inspector;

use inspector::{Format, Inspector, Tally};
use serde_json::{Value as Json, json};
use std::io::{self, ErrorKind, Write};
use vitalwire::crypto::{EphemeralSecret, SessionSecrets, hazmat};
use vitalwire::framing::*;
use vitalwire::session::{RekeyPolicy, Session, Side};
use vitalwire::wire::{ConnectionId, DataHeader};
use vitalwire::{Duration, Instant};

/// Inspects a capture: what there was, what was printed, what was complained of.
fn inspect(format: Format, capture: &str) -> (Tally, String, String) {
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let mut inspector = Inspector::new(format).unwrap();
    let tally = inspector.read_all(&mut capture.as_bytes(), &mut out, &mut errors).unwrap().unwrap();
    (tally, String::from_utf8(out).unwrap(), String::from_utf8(errors).unwrap())
}

fn json_lines(text: &str) -> Vec<Json> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn prints_every_record_of_the_vectors() {
    let file = include_str!("vectors/records.json");
    let (tally, out, errors) = inspect(Format::Json, file);
    let vectors: Json = serde_json::from_str(file).unwrap();
    let expected: Vec<&Json> =
        vectors["records"].as_array().unwrap().iter().map(|case| &case["record"]).collect();
    let printed = json_lines(&out);
    assert_eq!(printed.iter().map(|line| &line["record"]).collect::<Vec<_>>(), expected);
    assert_eq!((tally.records, tally.problems, errors.as_str()), (expected.len() as u64, 0, ""));

    let (_, out, _) = inspect(Format::Text, file);
    assert_eq!(out.lines().count(), expected.len());
    assert!(out.contains("absent (SensorOff)"), "{out}");
    assert!(out.contains("from 108000, MDC 266418: -0.120 -0.125"), "digits are kept: {out}");
}

#[test]
fn opens_every_packet_of_the_vectors() {
    let file = include_str!("vectors/packets.json");
    let (tally, out, errors) = inspect(Format::Json, file);
    assert_eq!((tally.packets, tally.problems, errors.as_str()), (8, 0, ""));
    let vectors: Json = serde_json::from_str(file).unwrap();
    for (line, packet) in json_lines(&out).iter().zip(vectors["data"].as_array().unwrap()) {
        for field in ["from", "epoch", "counter"] {
            assert_eq!(line["packet"][field], packet[field], "{line}");
        }
    }
}

/// A descriptor set with a heart rate on channel 1.
fn set() -> Vec<u8> {
    let rate = [Component::new(147_842, 264_864)];
    let channel = ChannelDescriptor::new(1, ChannelKind::Numeric, 147_842, (&rate).into());
    let mut out = vec![0; 64];
    let len = encode_descriptors(&[channel], &mut out).unwrap();
    out.truncate(len);
    out
}

/// The body of a Records frame with one heart rate.
fn batch(sequence: u64, rate: i32) -> Vec<u8> {
    let set = set();
    let record = Record::Measurement(Measurement::new(1, Values::valid(&[rate]).unwrap()));
    let (mut bytes, mut body) = ([0; 16], [0; 64]);
    let len = encode_record(&record, &DescriptorSet::parse(&set).unwrap(), &mut bytes).unwrap();
    let mut batch = BatchWriter::new(&mut body, 3, sequence);
    batch.push(Instant::from_millis(sequence * 1000), &bytes[..len]).unwrap();
    batch.finish().to_vec()
}

/// Two ends that speak, and the capture of it.
struct Conversation {
    device: Session<2>,
    backend: Session<2>,
    now: Instant,
    lines: Vec<Json>,
    sent: u64,
}

const HASH: [u8; 32] = [5; 32];
const SPLIT: [u8; 64] = [6; 64];

impl Conversation {
    fn new() -> Self {
        let policy = RekeyPolicy::default().hash_after_packets(3).unwrap();
        let session =
            |side| Session::new(Instant::ZERO, side, SessionSecrets::new(HASH, &SPLIT), 128, policy);
        Self {
            device: session(Side::Device),
            backend: session(Side::Backend),
            now: Instant::ZERO,
            lines: Vec::new(),
            sent: 0,
        }
    }

    /// Sends frames from one end to the other.
    fn send(&mut self, from: Side, frames: &[Frame<'_>]) {
        let id = ConnectionId::new(if from == Side::Device { &b"ward7"[..] } else { &[] }).unwrap();
        let (sender, receiver) = match from {
            Side::Device => (&mut self.device, &mut self.backend),
            Side::Backend => (&mut self.backend, &mut self.device),
        };
        let mut out = [0; 512];
        let head = sender.header_len(&id);
        let mut writer = FrameWriter::new(&mut out[head..]);
        frames.iter().for_each(|frame| writer.push(frame).unwrap());
        let len = writer.finish().len();
        let mut packet = sender.seal(self.now, &id, &mut out, len).unwrap().to_vec();
        self.lines.push(json!({ "packet": hex(&packet) }));
        let header = DataHeader::parse(&packet, id.len()).unwrap();
        receiver.open(self.now, &header, &mut packet).unwrap();
    }

    /// Sends a heart rate, and an answer.
    fn heart_rate(&mut self) {
        let body = batch(self.sent, 60 + self.sent as i32);
        self.sent += 1;
        self.send(Side::Device, &[Frame::Records(RecordsFrame::parse(&body).unwrap())]);
        self.send(Side::Backend, &[Frame::Credit(8)]);
    }

    /// Sends heart rates until the epoch has changed.
    fn next_epoch(&mut self) {
        let epoch = self.device.epoch();
        self.now = self.now + Duration::from_secs(121);
        while self.device.epoch() == epoch {
            self.heart_rate();
        }
    }

    /// Does a DH ratchet with these secrets.
    fn dh_ratchet(&mut self, device: [u8; 32], backend: [u8; 32]) {
        let request = self.device.start_dh(EphemeralSecret::from_bytes(device)).unwrap();
        self.send(Side::Device, &[Frame::RekeyRequest(request.0)]);
        self.backend.handle_rekey_request(self.now, self.backend.epoch(), request).unwrap();
        let accept = self.backend.answer_dh(self.now, EphemeralSecret::from_bytes(backend)).unwrap();
        self.send(Side::Backend, &[Frame::RekeyAccept(accept.0)]);
        self.device.handle_rekey_accept(self.now, self.device.epoch(), accept).unwrap();
        self.next_epoch();
        assert_eq!(self.device.dh_ratchets(), 1);
    }

    /// The capture, with keys in front.
    fn capture(&self, ephemeral: &[[u8; 32]]) -> String {
        let ephemeral: Vec<String> = ephemeral.iter().map(|secret| hex(secret)).collect();
        let keys = json!({ "handshake_hash": hex(&HASH), "split_keys": hex(&SPLIT), "ephemeral": ephemeral });
        let first = json!({ "keys": keys });
        std::iter::once(&first).chain(&self.lines).map(|line| format!("{line}\n")).collect()
    }
}

const DEVICE_SECRET: [u8; 32] = [7; 32];
const BACKEND_SECRET: [u8; 32] = [8; 32];

/// A session with streams, a descriptor set in two pieces, and both ratchets.
fn session() -> Conversation {
    let mut session = Conversation::new();
    let set = set();
    let hash = SetHash(std::array::from_fn(|index| hazmat::blake2s(&set)[index]));
    let mut body = [0; 64];
    let mut streams = StreamsWriter::new(&mut body, true).unwrap();
    let entry = StreamEntry { index: 3, lane: Lane::Trend, oldest: 0 };
    streams.push(9, BootTag([1, 2, 3, 4]), hash, &[entry]).unwrap();
    let len = streams.finish();
    let mut payload = [0; 128];
    let mut writer = FrameWriter::new(&mut payload);
    writer.frame_with(FrameKind::Streams, |space| {
        space[..len].copy_from_slice(&body[..len]);
        Some(len)
    });
    let frame = Frames::parse(writer.finish()).unwrap().next().unwrap();
    let (front, back) = set.split_at(7);
    let total = set.len() as u16;
    let piece = |offset, bytes| Frame::Descriptors(DescriptorsFrame { hash, total, offset, bytes });
    session.send(Side::Device, &[frame, piece(7, back)]);
    session.send(Side::Device, &[piece(0, front)]);
    session.heart_rate();
    session.next_epoch();
    session.dh_ratchet(DEVICE_SECRET, BACKEND_SECRET);
    session.next_epoch();
    assert_eq!((session.device.hash_ratchets(), session.device.dh_ratchets()), (2, 1));
    session
}

#[test]
fn follows_streams_sets_and_both_ratchets_of_a_session() {
    let session = session();
    for secret in [DEVICE_SECRET, BACKEND_SECRET] {
        let (tally, out, errors) = inspect(Format::Json, &session.capture(&[[1; 32], secret]));
        assert_eq!((tally.records, tally.problems, errors.as_str()), (session.sent, 0, ""));
        let records: Vec<Json> =
            json_lines(&out).into_iter().filter(|line| line.get("record").is_some()).collect();
        for (n, line) in records.iter().enumerate() {
            assert_eq!(
                (&line["sequence"], &line["boot"], &line["lane"]),
                (&json!(n), &json!(9), &json!("trend"))
            );
            assert_eq!(line["record"]["values"], json!([{ "state": 0, "raw": 60 + n }]));
        }
    }
}

#[test]
fn says_where_the_secret_of_a_dh_ratchet_is_missing() {
    let session = session();
    let (tally, out, errors) = inspect(Format::Text, &session.capture(&[]));
    assert!(tally.records > 0 && tally.records < session.sent, "{tally}");
    assert!(tally.problems > 0 && errors.contains("epoch 2 may follow from a DH ratchet"), "{errors}");
    assert!(out.contains("RekeyAccept"), "{out}");
}

#[test]
fn goes_on_behind_a_packet_that_does_not_open() {
    let mut session = session();
    let altered = session.lines[0]["packet"].as_str().unwrap().replace("77617264", "77617265");
    session.lines.insert(0, json!({ "packet": altered, "from": "device" }));
    session.lines.insert(1, json!({ "packet": "80" }));
    session.lines.push(session.lines[4].clone());
    let (tally, out, errors) = inspect(Format::Json, &session.capture(&[DEVICE_SECRET]));
    assert_eq!((tally.problems, tally.packets), (2, session.lines.len() as u64), "{errors}");
    assert!(errors.starts_with("inspect: line 2: it does not open with these keys\n"), "{errors}");
    assert!(errors.contains("line 3: "), "{errors}");
    let lines = json_lines(&out);
    let repeated: Vec<_> = lines.iter().filter(|line| line["packet"]["repeated"] == true).collect();
    assert_eq!(repeated.len(), 1, "a copy is opened, and marked");
}

#[test]
fn shows_headers_without_keys() {
    let session = session();
    let capture = session.capture(&[]).lines().skip(1).map(|line| format!("{line}\n")).collect::<String>();
    let (tally, out, errors) = inspect(Format::Text, &capture);
    assert_eq!((tally.problems, tally.records, errors.as_str()), (0, 0, ""));
    let first = out.lines().next().unwrap();
    assert!(first.contains("epoch mod 4 = 0, counter of 1 bytes; not opened: there are no keys"), "{first}");
    assert!(out.contains("epoch mod 4 = 3"), "{out}");
}

#[test]
fn takes_keys_from_a_file_of_their_own() {
    let session = session();
    let capture = session.capture(&[DEVICE_SECRET]);
    let (keys, packets) = capture.split_once('\n').unwrap();
    let mut inspector = Inspector::new(Format::Json).unwrap();
    inspector.take_keys(&format!("# of the test\n{keys}\n")).unwrap();
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let tally = inspector.read_all(&mut packets.as_bytes(), &mut out, &mut errors).unwrap().unwrap();
    assert_eq!((tally.records, tally.problems), (session.sent, 0));
    assert!(inspector.take_keys("# nothing").unwrap_err().contains("no keys"));
    assert!(
        inspector
            .take_keys(r#"{"keys":{"handshake_hash":"00"}}"#)
            .unwrap_err()
            .contains("1 bytes instead of 32")
    );
}

#[test]
fn names_the_line_of_what_it_cannot_read() {
    let good = hex(&batch(70, 72));
    let hash = hex(&hazmat::blake2s(&set())[..8]);
    let capture = format!(
        "{good}\n# a comment\n\n{{\"set\":\"{}\"}}\n{good}\n12x4\n{{\"batch\":\"0\"}}\n{{\"batch\":1}}\n{{\"b\":1}}\n{{\"set\":\"02\"}}\n\
         {{\"batch\":\"{good}00\",\"hash\":\"{hash}\"}}\n{{\"batch\":\"{good}\",\"hash\":\"0000000000000000\"}}\n\
         {{\"batch\":\"{good}\",\"hash\":\"{hash}\",\"device\":\"bed 4\",\"lane\":\"trend\"}}\n{{\"record\":\"019001\"}}\n{{\"record\":\"0190\"}}\n{{",
        hex(&set())
    );
    let (tally, out, errors) = inspect(Format::Text, &capture);
    let expected = [
        (1, "there is no descriptor set yet"),
        (6, "no hex digit at 3"),
        (7, "`batch`: an odd number of hex digits, 1"),
        (8, "`batch`: not a text"),
        (9, "neither a set, a batch, a record, a packet nor keys"),
        (10, "no descriptor set"),
        (11, "behind the last record: bytes were left over"),
        (12, "the descriptor set 0000000000000000 is not known yet"),
        (15, "record 1 of 1, sequence 0: the input ended inside a value"),
        (16, "not JSON"),
    ];
    assert_eq!(errors.lines().count(), expected.len(), "{errors}");
    for (line, (number, what)) in errors.lines().zip(expected) {
        assert!(line.starts_with(&format!("inspect: line {number}: ")) && line.contains(what), "{line}");
    }
    assert_eq!((tally.records, tally.problems), (4, expected.len() as u64), "{out}");
    assert!(out.contains("bed 4             trend          70       70.000 s  measurement"), "{out}");
}

#[test]
fn refuses_what_is_not_text_and_reads_on() {
    let capture = [
        &b"\xff\xfe\n"[..],
        format!("{{\"set\":\"{}\"}}\n", hex(&set())).as_bytes(),
        b"{\"record\":\"019001\"}",
    ]
    .concat();
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let mut inspector = Inspector::new(Format::Text).unwrap();
    let tally = inspector.read_all(&mut capture.as_slice(), &mut out, &mut errors).unwrap().unwrap();
    assert_eq!((tally.records, tally.problems), (1, 1));
    assert!(errors.starts_with(b"inspect: line 1: not text"));
}

/// A pipe whose reader has gone.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn hands_a_broken_pipe_to_its_caller() {
    let file = include_str!("vectors/records.json");
    let mut inspector = Inspector::new(Format::Text).unwrap();
    let result = inspector.read_all(&mut file.as_bytes(), &mut Closed, &mut Vec::new());
    assert_eq!(result.unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn says_that_it_was_built_without_fhir() {
    assert!(Inspector::new(Format::Fhir).is_err_and(|error| error.contains("without the feature `fhir`")));
}
