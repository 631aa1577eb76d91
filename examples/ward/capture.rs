//! Writes what was stored to a file that `examples/inspect` reads: descriptor sets and batches, without any keys.

use crate::report::lane_name;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use vitalwire::backend::Batch;
use vitalwire::crypto::hazmat;
use vitalwire::framing::{BatchWriter, SetHash, encode_record};
use vitalwire::limits::{MAX_BATCH_RECORDS, MAX_RECORD};

/// The file, and the sets that are in it already.
pub struct Capture {
    file: BufWriter<File>,
    sets: BTreeSet<Vec<u8>>,
}

impl Capture {
    pub fn create(path: &Path) -> Result<Self, String> {
        let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { file: BufWriter::new(file), sets: BTreeSet::new() })
    }

    /// Appends the records of a batch as one line, or several where some of its records had come before.
    pub fn write(&mut self, batch: &Batch<'_>) -> Result<(), String> {
        let descriptors = batch.descriptors().set();
        let hash = hex(&SetHash::from_digest(hazmat::blake2s(descriptors.as_bytes())).0);
        if self.sets.insert(descriptors.as_bytes().to_vec()) {
            self.line(&json!({ "set": hex(descriptors.as_bytes()) }))?;
        }
        let stream = batch.stream();
        let (identity, subject) = (batch.identity().to_string(), batch.identity().subject.0);
        let device = String::from_utf8_lossy(&subject);
        let mut records = batch.records().peekable();
        while let Some(mut record) = records.next() {
            let mut body = vec![0; MAX_BATCH_RECORDS * (MAX_RECORD + 16)];
            let mut run = BatchWriter::new(&mut body, 0, record.sequence);
            loop {
                let mut bytes = [0; MAX_RECORD];
                let len = encode_record(&record.record, &descriptors, &mut bytes).map_err(text)?;
                run.push(record.time, &bytes[..len]).map_err(text)?;
                let next = record.sequence + 1;
                match records.next_if(|following| following.sequence == next) {
                    Some(following) => record = following,
                    None => break,
                }
            }
            let (batch, lane) = (hex(run.finish()), lane_name(stream.lane));
            self.line(&json!({
                "batch": batch, "hash": hash, "device": device.trim_end(),
                "identity": identity, "boot": stream.boot, "tag": hex(&stream.tag.0), "lane": lane,
            }))?;
        }
        Ok(())
    }

    fn line(&mut self, line: &serde_json::Value) -> Result<(), String> {
        writeln!(self.file, "{line}").map_err(text)
    }

    /// Ends the file.
    pub fn finish(mut self) -> Result<(), String> {
        self.file.flush().map_err(text)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(error: impl std::fmt::Display) -> String {
    format!("the capture: {error}")
}
