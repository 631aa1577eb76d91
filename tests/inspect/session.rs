//! Sessions that are made here, and what is found in their packets.

use super::*;

/// Two ends that speak, and the capture of it.
pub struct Conversation {
    device: Session<2>,
    backend: Session<2>,
    now: Instant,
    lines: Vec<Json>,
    pub sent: u64,
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

    /// Gives the trend stream of boot 9 this index and this set.
    fn name_stream(&mut self, index: u8, set: &[u8]) {
        let mut body = [0; 64];
        let mut streams = StreamsWriter::new(&mut body, true).unwrap();
        let entry = StreamEntry { index, lane: Lane::Trend, oldest: 0 };
        streams.push(9, BootTag([1, 2, 3, 4]), hash_of(set), &[entry]).unwrap();
        let len = streams.finish();
        let mut payload = [0; 128];
        let mut writer = FrameWriter::new(&mut payload);
        writer.frame_with(FrameKind::Streams, |space| {
            space[..len].copy_from_slice(&body[..len]);
            Some(len)
        });
        let frame = Frames::parse(writer.finish()).unwrap().next().unwrap();
        self.send(Side::Device, &[frame]);
    }

    /// Sends a record of its own.
    fn send_batch(&mut self, body: &[u8]) {
        self.send(Side::Device, &[Frame::Records(RecordsFrame::parse(body).unwrap())]);
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
        let request = self.device.start_dh(hazmat::ephemeral_secret(device)).unwrap();
        self.send(Side::Device, &[Frame::RekeyRequest(request.0)]);
        self.backend.handle_rekey_request(self.now, self.backend.epoch(), request).unwrap();
        let accept = self.backend.answer_dh(self.now, hazmat::ephemeral_secret(backend)).unwrap();
        self.send(Side::Backend, &[Frame::RekeyAccept(accept.0)]);
        self.device.handle_rekey_accept(self.now, self.device.epoch(), accept).unwrap();
        self.next_epoch();
        assert_eq!(self.device.dh_ratchets(), 1);
    }

    /// The capture, with keys in front.
    pub fn capture(&self, ephemeral: &[[u8; 32]]) -> String {
        let ephemeral: Vec<String> = ephemeral.iter().map(|secret| hex(secret)).collect();
        let keys = json!({ "handshake_hash": hex(&HASH), "split_keys": hex(&SPLIT), "ephemeral": ephemeral });
        let first = json!({ "keys": keys });
        std::iter::once(&first).chain(&self.lines).map(|line| format!("{line}\n")).collect()
    }
}

pub const DEVICE_SECRET: [u8; 32] = [7; 32];
const BACKEND_SECRET: [u8; 32] = [8; 32];

/// A piece of a set from this offset on.
fn piece<'a>(stream: u8, set: &[u8], offset: u16, bytes: &'a [u8]) -> Frame<'a> {
    Frame::Descriptors(DescriptorsFrame { stream, total: set.len() as u16, offset, bytes })
}

/// A session with streams, a descriptor set in two pieces, and both ratchets.
pub fn session() -> Conversation {
    let mut session = Conversation::new();
    let set = set();
    session.name_stream(3, &set);
    let (front, back) = set.split_at(7);
    session.send(Side::Device, &[piece(3, &set, 7, back)]);
    session.send(Side::Device, &[piece(3, &set, 0, front)]);
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
            assert_eq!(line["record"]["measurement"]["values"], json!([{ "present": [60 + n, "valid"] }]));
        }
    }
}

#[test]
fn follows_a_set_that_grows_during_a_session() {
    let (old, new) = (grown(1), grown(2));
    let mut session = Conversation::new();
    session.name_stream(3, &old);
    session.send(Side::Device, &[piece(3, &old, 0, &old)]);
    session.send_batch(&batch_of(3, 1, 0, 60));
    session.name_stream(4, &new);
    session.send_batch(&batch_of(4, 1, 1, 61)); // the old set can read it
    session.send_batch(&batch_of(4, 2, 2, 62)); // only the new one can, which is not there yet
    session.send(Side::Backend, &[Frame::DescriptorsRequest(4)]);
    session.send(Side::Device, &[piece(4, &new, 0, &new)]);
    session.send_batch(&batch_of(4, 2, 2, 62));
    session.send_batch(&batch_of(3, 1, 3, 63)); // the old index keeps its meaning
    let (tally, out, errors) = inspect(Format::Json, &session.capture(&[]));
    assert_eq!((tally.records, tally.problems), (4, 1), "{errors}");
    assert!(
        errors.contains(&format!("line 7: the descriptor set {} is not known yet", hex(&hash_of(&new).0))),
        "{errors}"
    );
    let records = json_lines(&out).into_iter().filter(|line| line.get("record").is_some());
    let found: Vec<_> = records
        .map(|line| (line["sequence"].clone(), line["record"]["measurement"]["channel"].clone()))
        .collect();
    assert_eq!(found, [(0, 1), (1, 1), (2, 2), (3, 1)].map(|(n, channel)| (json!(n), json!(channel))));
    let (_, out, _) = inspect(Format::Text, &session.capture(&[]));
    assert!(out.contains("DescriptorsRequest for stream 4"), "{out}");
}

#[test]
fn refuses_an_index_with_another_meaning() {
    let mut session = Conversation::new();
    session.name_stream(3, &grown(1));
    session.name_stream(3, &grown(2));
    session.send(Side::Device, &[piece(5, &grown(1), 0, &grown(1))]);
    session.send_batch(&batch_of(6, 1, 0, 60));
    let (tally, _, errors) = inspect(Format::Text, &session.capture(&[]));
    let expected = [
        "line 3: stream 3 has another meaning than before, trend of boot 9",
        "line 4: a piece of the set of stream 5, which is not known yet",
        "line 5: stream 6 is not known yet",
    ];
    assert_eq!((tally.problems, errors.lines().count()), (3, 3), "{errors}");
    assert!(errors.lines().zip(expected).all(|(line, what)| line.contains(what)), "{errors}");
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
