//! The inspector of `examples/inspect`, on the vectors and on sessions that are made here.

#![allow(
    unreachable_pub,
    reason = "the modules of a program are private: `pub` says what the others may use"
)]

#[path = "../../examples/inspect/inspector/mod.rs"]
mod inspector;

#[cfg(feature = "fhir")]
mod fhir;
mod said;
mod session;

use inspector::{Format, Inspector, Tally};
use serde_json::{Value as Json, json};
use std::io::{self, ErrorKind, Write};
use vitalwire::clinical::{mdc, mdc::unit, private, term};
use vitalwire::crypto::{SessionSecrets, hazmat};
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

/// Decodes one record as a Records frame has it.
fn decoded(bytes: &[u8], set: &DescriptorSet<'_>) -> RecordBuf {
    let mut body = vec![0; bytes.len() + 16];
    let mut batch = BatchWriter::new(&mut body, 0, 0);
    batch.push(Instant::ZERO, bytes).unwrap();
    let frame = RecordsFrame::parse(batch.finish()).unwrap();
    let record = frame.records(set).next().unwrap().unwrap().record;
    RecordBuf::from(&record)
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn prints_every_record_of_the_vectors_in_the_form_that_reads_back() {
    let file = include_str!("../vectors/records.json");
    let (tally, out, errors) = inspect(Format::Json, file);
    let vectors: Json = serde_json::from_str(file).unwrap();
    let set = unhex(vectors["set"]["bytes"].as_str().unwrap());
    let set = DescriptorSet::parse(&set).unwrap();
    let cases = vectors["records"].as_array().unwrap();
    let printed = json_lines(&out);
    assert_eq!(printed.len(), cases.len());
    for (line, case) in printed.iter().zip(cases) {
        let record: RecordBuf = serde_json::from_value(line["record"].clone()).unwrap();
        assert_eq!(record, decoded(&unhex(case["bytes"].as_str().unwrap()), &set));
    }
    assert_eq!((tally.records, tally.problems, errors.as_str()), (cases.len() as u64, 0, ""));
    let (_, out, _) = inspect(Format::Text, file);
    assert_eq!(out.lines().count(), cases.len());
}

#[test]
fn opens_every_packet_of_the_vectors() {
    let file = include_str!("../vectors/packets.json");
    let (tally, out, errors) = inspect(Format::Json, file);
    assert_eq!((tally.packets, tally.problems, errors.as_str()), (8, 0, ""));
    let vectors: Json = serde_json::from_str(file).unwrap();
    for (line, packet) in json_lines(&out).iter().zip(vectors["data"].as_array().unwrap()) {
        for field in ["from", "epoch", "counter"] {
            assert_eq!(line["packet"][field], packet[field], "{line}");
        }
    }
}

/// A descriptor set with a heart rate on each of so many channels, from channel 1 on.
fn grown(channels: u8) -> Vec<u8> {
    let rate = [Component::new(mdc::ECG_HEART_RATE, unit::BEAT_PER_MIN)];
    let channels: Vec<_> = (1..=channels)
        .map(|n| ChannelDescriptor::new(n, ChannelKind::Numeric, mdc::ECG_HEART_RATE, (&rate).into()))
        .collect();
    let mut out = vec![0; 128];
    let len = encode_descriptors(&channels, &mut out).unwrap();
    out.truncate(len);
    out
}

/// A descriptor set with a heart rate on channel 1.
fn set() -> Vec<u8> {
    grown(1)
}

fn hash_of(set: &[u8]) -> SetHash {
    SetHash::from_digest(hazmat::blake2s(set))
}

/// The body of a Records frame with one heart rate.
fn batch(sequence: u64, rate: i32) -> Vec<u8> {
    batch_of(3, 1, sequence, rate)
}

/// The same under this stream index, of this channel.
fn batch_of(stream: u8, channel: u8, sequence: u64, rate: i32) -> Vec<u8> {
    let set = grown(channel);
    let record = Record::Measurement(Measurement::new(channel, Values::valid(&[rate]).unwrap()));
    let (mut bytes, mut body) = ([0; 16], [0; 64]);
    let len = encode_record(&record, &DescriptorSet::parse(&set).unwrap(), &mut bytes).unwrap();
    let mut batch = BatchWriter::new(&mut body, stream, sequence);
    batch.push(Instant::from_millis(sequence * 1000), &bytes[..len]).unwrap();
    batch.finish().to_vec()
}

#[test]
fn names_the_line_of_what_it_cannot_read() {
    let good = hex(&batch(70, 72));
    let hash = hex(&hash_of(&set()).0);
    let zeros = "00".repeat(16);
    let capture = format!(
        "{good}\n# a comment\n\n{{\"set\":\"{}\"}}\n{good}\n12x4\n{{\"batch\":\"0\"}}\n{{\"batch\":1}}\n{{\"b\":1}}\n{{\"set\":\"02\"}}\n\
         {{\"batch\":\"{good}00\",\"hash\":\"{hash}\"}}\n{{\"batch\":\"{good}\",\"hash\":\"{zeros}\"}}\n\
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
        (12, "the descriptor set 00000000000000000000000000000000 is not known yet"),
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
    let file = include_str!("../vectors/records.json");
    let mut inspector = Inspector::new(Format::Text).unwrap();
    let result = inspector.read_all(&mut file.as_bytes(), &mut Closed, &mut Vec::new());
    assert_eq!(result.unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[cfg(not(feature = "fhir"))]
#[test]
fn says_that_it_was_built_without_fhir() {
    assert!(Inspector::new(Format::Fhir).is_err_and(|error| error.contains("without the feature `fhir`")));
}

#[test]
fn says_whose_the_records_are_if_told() {
    let device = "0011223344556677/000102030405060708090a0b0c0d0e0f";
    let mut inspector = Inspector::new(Format::Json).unwrap();
    for wrong in ["", "00/00", "0011223344556677", "0011223344556677/000102030405060708090a0b0c0d0e0g"] {
        let error = inspector.take_identity(wrong).unwrap_err();
        assert!(error.contains("not of the form ISSUER/SUBJECT"), "{error}");
    }
    inspector.take_identity(device).unwrap();
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let capture = said::captured(&[Annotation::new(1).into()], &json!({ "lane": "event", "boot": 3 }));
    inspector.read_all(&mut capture.as_bytes(), &mut out, &mut errors).unwrap().unwrap();
    let line = &json_lines(std::str::from_utf8(&out).unwrap())[0];
    assert_eq!(
        (&line["identity"], &line["lane"], &line["boot"]),
        (&json!(device), &json!("event"), &json!(3))
    );
}
