//! Reads a capture line by line and prints what is in it.

mod entry;
mod fhir;
mod keys;
mod show;

use entry::{Entry, Labels};
use keys::{Opened, Opener};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, Write};
use vitalwire::Instant;
use vitalwire::crypto::hazmat;
use vitalwire::framing::{
    BatchRecord, BatchWriter, DescriptorSet, DescriptorsFrame, Frame, Frames, RecordsFrame,
};
use vitalwire::wire::Side;

/// How records are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Text,
    Json,
    Fhir,
}

/// What there was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub records: u64,
    pub packets: u64,
    pub problems: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, packets, problems } = self;
        write!(f, "{records} records, {packets} packets, {problems} problems")
    }
}

/// The first bytes of the hash of an encoded descriptor set.
type Hash = [u8; 8];

/// What a stream of a session stands for.
#[derive(Clone)]
struct Stream {
    hash: Hash,
    labels: Labels,
}

/// Reads a capture and remembers what later lines need.
pub struct Inspector {
    format: Format,
    sets: BTreeMap<Hash, Vec<u8>>,
    /// The set that stood last in the capture.
    latest: Option<Hash>,
    opener: Option<Opener>,
    streams: BTreeMap<u8, Stream>,
    /// Pieces of sets: each byte, as far as it came.
    pieces: BTreeMap<Hash, Vec<Option<u8>>>,
    tally: Tally,
    /// The number of the line.
    line: u64,
}

/// Where the output goes; what goes wrong with an entry is said there, and the next one is read.
struct Output<'o> {
    out: &'o mut dyn Write,
    errors: &'o mut dyn Write,
}

impl Inspector {
    /// Starts.
    pub fn new(format: Format) -> Result<Self, String> {
        if format == Format::Fhir {
            fhir::check()?;
        }
        Ok(Self {
            format,
            sets: BTreeMap::new(),
            latest: None,
            opener: None,
            streams: BTreeMap::new(),
            pieces: BTreeMap::new(),
            tally: Tally::default(),
            line: 0,
        })
    }

    /// Takes the session keys that a file of their own holds: the first entry of keys in it.
    pub fn take_keys(&mut self, text: &str) -> Result<(), String> {
        for line in text.lines() {
            if let Some(Entry::Keys(keys)) = entry::parse_line(line)? {
                self.opener = Some(Opener::new(keys));
                return Ok(());
            }
        }
        Err("there are no keys in it".into())
    }

    /// Reads everything. The outer error is of writing, the inner one of reading.
    pub fn read_all(
        &mut self,
        input: &mut dyn BufRead,
        out: &mut dyn Write,
        errors: &mut dyn Write,
    ) -> io::Result<Result<Tally, String>> {
        let mut output = Output { out, errors };
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            match input.read_until(b'\n', &mut bytes) {
                Ok(0) => return Ok(Ok(self.tally)),
                Ok(_) => self.line += 1,
                Err(error) => return Ok(Err(error.to_string())),
            }
            // a document, over many lines, begins with a brace alone
            if bytes.trim_ascii() == b"{"
                && let Err(error) = input.read_to_end(&mut bytes)
            {
                return Ok(Err(error.to_string()));
            }
            let Ok(text) = std::str::from_utf8(&bytes) else {
                self.problem(&mut output, "not text in UTF-8")?;
                continue;
            };
            let entries = match text.trim_end().lines().count() {
                0 | 1 => entry::parse_line(text).map(|entry| entry.into_iter().collect()),
                _ => entry::parse_document(text),
            };
            match entries {
                Ok(entries) => {
                    for entry in entries {
                        self.take(entry, &mut output)?;
                    }
                }
                Err(error) => self.problem(&mut output, &error)?,
            }
        }
    }

    /// Says what is wrong with the line.
    fn problem(&mut self, output: &mut Output<'_>, error: &str) -> io::Result<()> {
        self.tally.problems += 1;
        writeln!(output.errors, "inspect: line {}: {error}", self.line)
    }

    fn take(&mut self, entry: Entry, output: &mut Output<'_>) -> io::Result<()> {
        match entry {
            Entry::Set(bytes) => match self.learn(bytes) {
                Ok(hash) => self.latest = Some(hash),
                Err(error) => return self.problem(output, &error),
            },
            Entry::Keys(keys) => {
                self.opener = Some(Opener::new(keys));
                self.streams.clear();
            }
            Entry::Batch { body, hash, labels } => {
                let set = self.set(hash);
                return match (set, RecordsFrame::parse(&body)) {
                    (Err(error), _) => self.problem(output, &error),
                    (_, Err(error)) => self.problem(output, &format!("no body of a Records frame: {error}")),
                    (Ok(set), Ok(frame)) => self.records(&frame, &set, &labels, output),
                };
            }
            Entry::Record(bytes) => {
                let mut body = vec![0; bytes.len() + 16];
                let mut batch = BatchWriter::new(&mut body, 0, 0);
                // there is room, and an empty record is refused when it is read
                let _ = batch.push(Instant::ZERO, &bytes);
                let body = batch.finish();
                return match (self.set(None), RecordsFrame::parse(body)) {
                    (Err(error), _) => self.problem(output, &error),
                    (_, Err(error)) => self.problem(output, &format!("no record: {error}")),
                    (Ok(set), Ok(frame)) => self.records(&frame, &set, &Labels::default(), output),
                };
            }
            Entry::Packet(packet) => return self.packet(&packet, output),
        }
        Ok(())
    }

    /// Remembers a descriptor set.
    fn learn(&mut self, bytes: Vec<u8>) -> Result<Hash, String> {
        DescriptorSet::parse(&bytes).map_err(|error| format!("no descriptor set: {error}"))?;
        let hash = hash_of(&bytes);
        self.sets.insert(hash, bytes);
        Ok(hash)
    }

    /// Finds the set with this hash, or else the latest.
    fn set(&self, hash: Option<Hash>) -> Result<Vec<u8>, String> {
        let Some(hash) = hash.or(self.latest) else { return Err("there is no descriptor set yet".into()) };
        let set = self.sets.get(&hash).cloned();
        set.ok_or_else(|| format!("the descriptor set {} is not known yet", show::hex(&hash)))
    }

    /// Prints the records of a batch.
    fn records(
        &mut self,
        frame: &RecordsFrame<'_>,
        set: &[u8],
        labels: &Labels,
        output: &mut Output<'_>,
    ) -> io::Result<()> {
        let set = DescriptorSet::parse(set).unwrap_or(DescriptorSet::EMPTY);
        for (index, item) in frame.records(&set).enumerate() {
            match item {
                Ok(record) => {
                    self.tally.records += 1;
                    self.record(&record, &set, labels, output)?;
                }
                Err(error) => {
                    let (sequence, count) = (frame.first.saturating_add(index as u64), frame.count);
                    let which = match index < usize::from(count) {
                        true => format!("record {} of {count}, sequence {sequence}", index + 1),
                        false => "behind the last record".into(),
                    };
                    self.problem(output, &format!("{which}: {error}"))?;
                }
            }
        }
        Ok(())
    }

    fn record(
        &mut self,
        record: &BatchRecord<'_>,
        set: &DescriptorSet<'_>,
        labels: &Labels,
        output: &mut Output<'_>,
    ) -> io::Result<()> {
        let BatchRecord { sequence, time, record: content } = record;
        let device = labels.device.as_deref().unwrap_or("");
        match self.format {
            Format::Text => {
                let millis = time.as_millis();
                let time = format!("{}.{:03} s", millis / 1000, millis % 1000);
                let lane = labels.lane.as_deref().unwrap_or("");
                let text = show::text(content, set);
                let origin = if device.is_empty() { String::new() } else { format!("{device:<17} ") };
                writeln!(output.out, "{origin}{lane:<9}{sequence:>8} {time:>14}  {text}")
            }
            Format::Json => {
                let mut line = json!({
                    "line": self.line, "sequence": sequence, "time_ms": time.as_millis(),
                    "record": show::record(content),
                });
                let origin: [(&str, Option<Json>); 3] = [
                    ("device", labels.device.as_deref().map(Json::from)),
                    ("boot", labels.boot.map(Json::from)),
                    ("lane", labels.lane.as_deref().map(Json::from)),
                ];
                for (name, value) in origin {
                    if let Some(value) = value {
                        line[name] = value;
                    }
                }
                writeln!(output.out, "{line}")
            }
            Format::Fhir => match fhir::lines(record, set, device) {
                Ok(lines) => lines.iter().try_for_each(|line| writeln!(output.out, "{line}")),
                Err(error) => self.problem(output, &error),
            },
        }
    }

    /// Prints a packet: its header, and what is in it if there are keys.
    fn packet(&mut self, packet: &entry::Packet, output: &mut Output<'_>) -> io::Result<()> {
        self.tally.packets += 1;
        let header = show::header(&packet.bytes);
        let is_data = packet.bytes.first().is_some_and(|first| first & 0x80 != 0);
        let Some(opener) = self.opener.as_mut().filter(|_| is_data) else {
            let why = if is_data { "not opened: there are no keys" } else { "a handshake packet" };
            return self.say(output, &header, why, packet.from);
        };
        let opened = match opener.open(packet) {
            Ok(opened) => opened,
            Err(error) => {
                self.say(output, &header, &error, packet.from)?;
                return self.problem(output, &error);
            }
        };
        let frames = match Frames::parse(&opened.payload) {
            Ok(frames) => frames,
            Err(error) => {
                let (epoch, counter) = (opened.epoch, opened.counter);
                let why = format!("epoch {epoch}, counter {counter}: its frames are malformed: {error}");
                self.say(output, &header, &why, Some(opened.from))?;
                return self.problem(output, &why);
            }
        };
        self.opened(&opened, &header, &frames, output)?;
        for frame in frames {
            self.frame(&frame, &opened, output)?;
        }
        Ok(())
    }

    /// Prints what is known of a packet that is not opened.
    fn say(&self, output: &mut Output<'_>, header: &str, why: &str, from: Option<Side>) -> io::Result<()> {
        let from = from.map(side);
        match self.format {
            Format::Text => {
                writeln!(
                    output.out,
                    "packet{}: {header}; {why}",
                    from.map_or(String::new(), |from| format!(" of the {from}"))
                )
            }
            Format::Json => {
                let line =
                    json!({ "line": self.line, "packet": { "from": from, "header": header, "closed": why } });
                writeln!(output.out, "{line}")
            }
            Format::Fhir => Ok(()),
        }
    }

    /// Prints what is known of a packet that is open.
    fn opened(
        &self,
        opened: &Opened,
        header: &str,
        frames: &Frames<'_>,
        output: &mut Output<'_>,
    ) -> io::Result<()> {
        let Opened { from, epoch, counter, repeated, .. } = opened;
        let from = side(*from);
        let frames: Vec<String> = frames.clone().map(|frame| show::frame(&frame)).collect();
        match self.format {
            Format::Text => {
                let again = if *repeated { ", again" } else { "" };
                let frames = frames.join("; ");
                writeln!(
                    output.out,
                    "packet of the {from}: {header}; epoch {epoch}, counter {counter}{again}: {frames}"
                )
            }
            Format::Json => {
                let packet = json!({
                    "from": from, "header": header, "epoch": epoch, "counter": counter, "repeated": repeated,
                    "frames": frames,
                });
                writeln!(output.out, "{}", json!({ "line": self.line, "packet": packet }))
            }
            Format::Fhir => Ok(()),
        }
    }

    /// Learns from a frame, and prints its records.
    fn frame(&mut self, frame: &Frame<'_>, opened: &Opened, output: &mut Output<'_>) -> io::Result<()> {
        match frame {
            Frame::RekeyRequest(key) | Frame::RekeyAccept(key) => {
                if let Some(opener) = &mut self.opener {
                    opener.rekey(opened.from, opened.epoch, *key);
                }
                Ok(())
            }
            Frame::Streams(streams) => {
                for boot in streams.boots() {
                    for entry in boot.streams() {
                        let labels = Labels {
                            device: None,
                            boot: Some(boot.boot.into()),
                            lane: Some(show::lane(entry.lane).into()),
                        };
                        self.streams.insert(entry.index, Stream { hash: boot.set.0, labels });
                    }
                }
                Ok(())
            }
            Frame::Descriptors(piece) => {
                let error = self.piece(piece).err();
                error.map_or(Ok(()), |error| self.problem(output, &error))
            }
            Frame::Records(frame) => {
                let stream = self.streams.get(&frame.stream).cloned();
                let labels = stream.as_ref().map(|stream| stream.labels.clone()).unwrap_or_default();
                match self.set(stream.map(|stream| stream.hash)) {
                    Ok(set) => self.records(frame, &set, &labels, output),
                    Err(error) => self.problem(output, &error),
                }
            }
            _ => Ok(()),
        }
    }

    /// Puts a piece of a descriptor set to the others.
    fn piece(&mut self, piece: &DescriptorsFrame<'_>) -> Result<(), String> {
        let hash = piece.hash.0;
        let total = usize::from(piece.total);
        let whole = self.pieces.entry(hash).or_default();
        whole.resize(total, None);
        let start = usize::from(piece.offset);
        for (to, from) in whole.iter_mut().skip(start).zip(piece.bytes) {
            *to = Some(*from);
        }
        let Some(bytes) = whole.iter().copied().collect::<Option<Vec<u8>>>() else { return Ok(()) };
        self.pieces.remove(&hash);
        if hash_of(&bytes) != hash {
            return Err(format!("the descriptor set {} does not have that hash", show::hex(&hash)));
        }
        self.learn(bytes).map(|_| ())
    }
}

fn hash_of(set: &[u8]) -> Hash {
    let [a, b, c, d, e, f, g, h, ..] = hazmat::blake2s(set);
    [a, b, c, d, e, f, g, h]
}

const fn side(side: Side) -> &'static str {
    match side {
        Side::Device => "device",
        Side::Backend => "backend",
    }
}
