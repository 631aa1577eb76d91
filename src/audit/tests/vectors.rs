//! tests/vectors/audit.json: a log of two files with fixed keys, and what is in it.
//!
//! `VITALWIRE_BLESS=1 cargo test --lib audit` writes the file anew; without it it is compared.

use super::*;
use serde_json::{Value, json};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| std::format!("{byte:02x}")).collect()
}

/// A file of the log: its header, each entry as it stands there and in words, and the last hash.
fn described(file: &[u8], before: Option<(Verifier, u64)>) -> (Value, (Verifier, u64)) {
    let mut entries = Vec::new();
    let (mut from, mut last) = (Header::LEN, [0; 32]);
    let mut each = |verifier: &Verifier, entry: Entry| {
        let offset = verifier.offset() as usize;
        let bytes = &file[from..offset];
        last = *bytes.last_chunk().unwrap();
        from = offset;
        let mut object = json!({
            "sequence": entry.sequence,
            "at": entry.at.as_millis(),
            "unix_millis": entry.unix_millis,
            "quality": entry.quality as u8,
            "shard": entry.shard,
            "body": hex(&bytes[2..bytes.len() - 32]),
            "hash": hex(&last),
        });
        let said = match entry.kind {
            Kind::Event(event) => {
                let fields =
                    event.fields().into_iter().map(|(name, value)| (name.into(), Value::from(value)));
                json!({ "code": event.code(), "name": event.name(), "fields": Value::Object(fields.collect()) })
            }
            Kind::Checkpoint { next } => json!({ "code": 0, "name": "checkpoint", "next_key": hex(&next.0) }),
            Kind::Unknown { .. } => unreachable!(),
        };
        object.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
        entries.push(object);
    };
    let mut reader = file;
    let done = match before {
        None => read_log(&mut reader, None, &mut each),
        Some(before) => read_next(before, &mut reader, &mut each),
    };
    let value = json!({ "header": hex(&file[..Header::LEN]), "entries": entries, "head": hex(&last) });
    (value, done.unwrap())
}

#[test]
fn the_vectors_are_what_this_crate_writes() {
    let mut log = AuditLog::new(NODE, &mut Counting(0)).unwrap();
    let (mut queue, mut sink, mut rng) = (AuditQueue::new(3), Memory::default(), Counting(1));
    let mut sample = one_of_each().into_iter();
    for event in sample.by_ref().take(2) {
        queue.note(at(500), event);
    }
    queue.set_wall_time(at(1_000), wall(1_763_800_000_000));
    for event in sample.by_ref().take(30) {
        queue.note(at(1_250), event);
    }
    log.run(at(2_000), &mut queue, &mut sink, &mut rng).unwrap();
    log.checkpoint(at(2_000), &mut sink, &mut rng).unwrap();
    queue.note(at(3_000), AuditEvent::Stopped {});
    log.run(at(3_000), &mut queue, &mut sink, &mut rng).unwrap();
    log.checkpoint(at(3_000), &mut sink, &mut rng).unwrap();
    // The kinds that came later stand in the second file: the first one stays as it is.
    sink.most = Some(sink.bytes.len());
    for event in sample {
        queue.note(at(4_000), event);
    }
    log.run(at(4_000), &mut queue, &mut sink, &mut rng).unwrap();
    log.checkpoint(at(4_000), &mut sink, &mut rng).unwrap();
    let [first] = &sink.closed[..] else { panic!("{} files are closed", sink.closed.len()) };
    let (mut value, before) = described(first, None);
    let (second, _) = described(&sink.bytes, Some(before));
    let seeds: Vec<_> = [1u8, 2, 3, 4].iter().map(|byte| hex(&[*byte; 32])).collect();
    let more = json!({ "node": hex(&NODE.0), "checkpoint_seeds": seeds, "next_file": second });
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    crate::test_vectors::compare_or_bless("audit.json", &value);
}
