//! Reads a capture line by line and prints what is in it.

mod entry;
mod fhir;
mod frames;
mod keys;
mod names;
mod show;
mod streams;

use entry::{Entry, Labels};
use keys::{Opened, Opener};
use serde_json::{Value as Json, json};
use std::fmt;
use std::io::{self, BufRead, Write};
use streams::Streams;
use vitalwire::Instant;
use vitalwire::framing::{BatchRecord, BatchWriter, DescriptorSet, Frame, Frames, RecordsFrame};
use vitalwire::identity::Identity;
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

/// Reads a capture and remembers what later lines need.
pub struct Inspector {
    format: Format,
    opener: Option<Opener>,
    streams: Streams,
    /// Whose the records are of which the capture does not say it.
    identity: Option<Identity>,
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
            opener: None,
            streams: Streams::default(),
            identity: None,
            tally: Tally::default(),
            line: 0,
        })
    }

    /// Takes the session keys that a file of their own holds: the first entry of keys in it.
    pub fn take_keys(&mut self, text: &str) -> Result<(), String> {
        for line in text.lines() {
            if let Some(Entry::Keys(keys, identity)) = entry::parse_line(line)? {
                self.opener = Some(Opener::new(keys));
                self.streams.begin_session(identity);
                return Ok(());
            }
        }
        Err("there are no keys in it".into())
    }

    /// Takes the identity of the device, `issuer/subject` in hex, for records of which the capture does not say it.
    pub fn take_identity(&mut self, text: &str) -> Result<(), String> {
        self.identity = Some(entry::identity(text)?);
        Ok(())
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
            Entry::Set(bytes) => {
                if let Err(error) = self.streams.take_set(bytes) {
                    return self.problem(output, &error);
                }
            }
            Entry::Keys(keys, identity) => {
                self.opener = Some(Opener::new(keys));
                self.streams.begin_session(identity);
            }
            Entry::Batch { body, hash, labels } => {
                let set = self.streams.set(hash);
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
                return match (self.streams.set(None), RecordsFrame::parse(body)) {
                    (Err(error), _) => self.problem(output, &error),
                    (_, Err(error)) => self.problem(output, &format!("no record: {error}")),
                    (Ok(set), Ok(frame)) => self.records(&frame, &set, &Labels::default(), output),
                };
            }
            Entry::Packet(packet) => return self.packet(&packet, output),
        }
        Ok(())
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
        let labels = &Labels { identity: labels.identity.or(self.identity), ..labels.clone() };
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
        match self.format {
            Format::Text => {
                let millis = time.as_millis();
                let time = format!("{}.{:03} s", millis / 1000, millis % 1000);
                let lane = labels.lane.map_or("", names::lane);
                let text = show::text(content, set);
                // a name could have anything in it
                let device = labels.device.as_deref().unwrap_or("").escape_debug().to_string();
                let origin = if device.is_empty() { String::new() } else { format!("{device:<17} ") };
                writeln!(output.out, "{origin}{lane:<9}{sequence:>8} {time:>14}  {text}")
            }
            Format::Json => {
                let mut line = json!({
                    "line": self.line, "sequence": sequence, "time_ms": time.as_millis(),
                    "record": content, "meaning": show::meaning(content, set),
                });
                let Labels { device, identity, boot, tag, lane } = labels;
                let origin: [(&str, Option<Json>); 5] = [
                    ("device", device.as_deref().map(Json::from)),
                    ("identity", identity.map(|identity| identity.to_string().into())),
                    ("boot", boot.map(Json::from)),
                    ("tag", tag.map(|tag| names::hex(&tag.0).into())),
                    ("lane", lane.map(|lane| names::lane(lane).into())),
                ];
                for (name, value) in origin {
                    if let Some(value) = value {
                        line[name] = value;
                    }
                }
                writeln!(output.out, "{line}")
            }
            Format::Fhir => match fhir::lines(record, set, labels) {
                Ok(lines) => lines.iter().try_for_each(|line| writeln!(output.out, "{line}")),
                Err(error) => self.problem(output, &format!("sequence {sequence}: {error}")),
            },
        }
    }

    /// Prints a packet: its header, and what is in it if there are keys.
    fn packet(&mut self, packet: &entry::Packet, output: &mut Output<'_>) -> io::Result<()> {
        self.tally.packets += 1;
        let header = frames::header(&packet.bytes);
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
        let frames: Vec<String> = frames.clone().map(|frame| frames::frame(&frame)).collect();
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
            Frame::Streams(frame) => {
                let error = self.streams.name(frame).err();
                error.map_or(Ok(()), |error| self.problem(output, &error))
            }
            Frame::Descriptors(piece) => {
                let error = self.streams.take_piece(piece).err();
                error.map_or(Ok(()), |error| self.problem(output, &error))
            }
            Frame::Records(frame) => match self.streams.read_with(frame) {
                Ok((set, labels)) => self.records(frame, &set, &labels, output),
                Err(error) => self.problem(output, &error),
            },
            _ => Ok(()),
        }
    }
}

const fn side(side: Side) -> &'static str {
    match side {
        Side::Device => "device",
        Side::Backend => "backend",
    }
}
