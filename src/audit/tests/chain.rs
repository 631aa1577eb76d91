//! What a log shows of its alterations, and what it cannot show.

use super::*;
use crate::audit::entry::{checkpoint_body, event_body, framed, hash_of};
use crate::crypto::SigningKey;
use crate::limits::{AUDIT_CHECKPOINT_ENTRIES, AUDIT_INTERVAL};

/// A log of three checkpoints with entries between, and two unsigned ones at the end.
fn sample() -> (AuditLog, Memory) {
    let mut log = AuditLog::new(NODE, &mut Counting(0)).unwrap();
    let (mut queue, mut sink, mut rng) = (AuditQueue::new(0), Memory::default(), Counting(40));
    for round in 0..3u8 {
        for number in 0..3 {
            queue.note(
                at(u64::from(round)),
                AuditEvent::Rekeyed { identity: identity(round), ratchets: number },
            );
        }
        log.run(at(1), &mut queue, &mut sink, &mut rng).unwrap();
        log.checkpoint(at(1), &mut sink, &mut rng).unwrap();
    }
    queue.note(at(9), AuditEvent::Stopped {});
    queue.note(at(9), AuditEvent::Stopped {});
    log.run(at(9), &mut queue, &mut sink, &mut rng).unwrap();
    (log, sink)
}

/// The entries as they stand in the log, each with its length and hash.
fn frames(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = &bytes[Header::LEN..];
    let mut out = Vec::new();
    while let Some((len, _)) = rest.split_first_chunk::<2>() {
        let (frame, tail) = rest.split_at(34 + usize::from(u16::from_le_bytes(*len)));
        out.push(frame.to_vec());
        rest = tail;
    }
    out
}

fn joined(header: &[u8], frames: &[Vec<u8>]) -> Vec<u8> {
    [header, &frames.concat()].concat()
}

fn why(bytes: &[u8]) -> Option<Why> {
    match verify(&mut &bytes[..], None) {
        Ok(report) => (report.torn > 0).then_some(Why::TooLong), // some fault
        Err(VerifyError::Broken(broken)) => Some(broken.why),
        Err(VerifyError::Read(error)) => panic!("{error}"),
    }
}

#[test]
fn a_log_verifies_and_tells_where_it_stands() {
    let (log, sink) = sample();
    let report = verify(&mut sink.bytes.as_slice(), None).unwrap();
    assert_eq!((report.entries, report.checkpoints, report.unsigned, report.torn), (14, 3, 2, 0));
    assert_eq!((report.head, report.entries), (log.state().head, log.state().sequence));
    let key = report.header.key;
    assert!(verify(&mut sink.bytes.as_slice(), Some(&key)).is_ok());
    let other = SigningKey::from_bytes([9; 32]).public_key();
    let broken = verify(&mut sink.bytes.as_slice(), Some(&other)).unwrap_err();
    assert_eq!(
        broken.to_string(),
        "broken at byte 0, entry 0: the log does not begin with the key that was noted"
    );
}

#[test]
fn an_altered_byte_anywhere_is_found() {
    //= SPEC.md#audit-log
    //= type=test
    //# A verifier MUST refuse an entry whose hash, sequence or signature does not follow from what stands before it.
    let (_, sink) = sample();
    for at in 0..sink.bytes.len() {
        let mut altered = sink.bytes.clone();
        altered[at] ^= 0x10;
        assert!(why(&altered).is_some(), "byte {at}");
    }
}

#[test]
fn entries_removed_repeated_or_moved_are_found() {
    let (_, sink) = sample();
    let (header, entries) = (&sink.bytes[..Header::LEN], frames(&sink.bytes));
    for at in 0..entries.len() - 1 {
        let without = [&entries[..at], &entries[at + 1..]].concat();
        assert_eq!(why(&joined(header, &without)), Some(Why::HashMismatch), "without {at}");
        let twice = [&entries[..=at], &entries[at..]].concat();
        assert_eq!(why(&joined(header, &twice)), Some(Why::HashMismatch), "{at} twice");
        let mut swapped = entries.clone();
        swapped.swap(at, at + 1);
        assert_eq!(why(&joined(header, &swapped)), Some(Why::HashMismatch), "{at} swapped");
    }
}

#[test]
fn who_takes_the_node_over_cannot_write_the_past_anew() {
    //= SPEC.md#audit-log
    //= type=test
    //# A node MUST erase the key of a checkpoint once that is written, and use it for no other.
    let (log, sink) = sample();
    let used = sink.keys.iter().map(|key| *key.expose()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(used.len(), 4, "one of each checkpoint, and the next one's");
    // The intruder has the whole log and the key of today, and leaves one entry out, with the chain made right.
    let now = sink.keys.last().unwrap();
    let report = verify(&mut sink.bytes.as_slice(), None).unwrap();
    assert_eq!(now.public_key(), report.next_key);
    let header = report.header;
    let (mut head, mut out) = (header.hash(), header.to_bytes());
    for (sequence, frame) in (0u64..).zip(frames(&sink.bytes).into_iter().skip(1)) {
        let body = &frame[2..frame.len() - 32];
        let entry = Entry::parse(body).unwrap();
        let body = match entry.kind {
            // Signed anew with what there is.
            Kind::Checkpoint { next } => checkpoint_body(sequence, entry.at, None, &head, now, &next),
            Kind::Event(event) => {
                event_body(sequence, &Noted { at: entry.at, wall: None, shard: entry.shard, event })
            }
            Kind::Unknown { .. } => unreachable!(),
        };
        head = hash_of(&head, &body);
        out.extend(framed(&body, &head));
    }
    assert_eq!(why(&out), Some(Why::BadSignature), "the keys of before are gone");
    // What is not signed yet he can write as he likes: it is told how many those are.
    assert_eq!(report.unsigned, 2);
    let mut cut = sink.bytes.clone();
    cut.truncate(sink.bytes.len() - frames(&sink.bytes).last().unwrap().len());
    let cut = verify(&mut cut.as_slice(), None).unwrap();
    assert!(
        cut.head != log.state().head && cut.entries < log.state().sequence,
        "only who knows the head sees it"
    );
}

#[test]
fn a_log_that_was_cut_and_goes_on_is_found() {
    let (mut log, sink) = sample();
    // Cut behind the first checkpoint; the node does not know, and goes on in a new chain of that state.
    let kept = frames(&sink.bytes)[..4].to_vec();
    let mut cut = Memory { bytes: joined(&sink.bytes[..Header::LEN], &kept), ..Memory::default() };
    let state =
        LogState { sequence: 4, head: verify(&mut cut.bytes.as_slice(), None).unwrap().head, ..*log.state() };
    let key = SigningKey::from_bytes(*sink.keys.last().unwrap().expose());
    let mut forged = AuditLog::resume(state, key);
    let mut queue = AuditQueue::default();
    queue.note(at(20), AuditEvent::Stopped {});
    forged.run(at(20), &mut queue, &mut cut, &mut Counting(77)).unwrap();
    assert!(why(&cut.bytes).is_none(), "up to the next checkpoint it looks well");
    forged.checkpoint(at(20), &mut cut, &mut Counting(77)).unwrap();
    assert_eq!(why(&cut.bytes), Some(Why::BadSignature));
    // And appended to the cut file by the node itself, the chain does not fit.
    let mut cut = Memory { bytes: joined(&sink.bytes[..Header::LEN], &kept), ..Memory::default() };
    queue.note(at(30), AuditEvent::Stopped {});
    log.run(at(30), &mut queue, &mut cut, &mut Counting(78)).unwrap();
    assert_eq!(why(&cut.bytes), Some(Why::HashMismatch));
}

#[test]
fn checkpoints_come_after_so_many_entries_and_so_much_time() {
    let mut log = AuditLog::new(NODE, &mut Counting(0)).unwrap();
    let (mut queue, mut sink, mut rng) = (AuditQueue::new(0), Memory::default(), Counting(40));
    for _ in 1..AUDIT_CHECKPOINT_ENTRIES {
        queue.note(
            at(0),
            AuditEvent::TagConflict {
                identity: identity(1),
                boot: 1,
                known: BootTag([1; 4]),
                named: BootTag([2; 4]),
            },
        );
    }
    log.run(at(0), &mut queue, &mut sink, &mut rng).unwrap();
    let checkpoints = |sink: &Memory| read_back(&sink.bytes).1.checkpoints;
    assert_eq!(checkpoints(&sink), 0);
    queue.note(at(0), AuditEvent::Stopped {});
    log.run(at(0), &mut queue, &mut sink, &mut rng).unwrap();
    assert_eq!(checkpoints(&sink), 1);
    assert_eq!(log.poll_timeout(), None, "nothing is unsigned");
    queue.note(at(5), AuditEvent::Stopped {});
    log.run(at(5), &mut queue, &mut sink, &mut rng).unwrap();
    let due = at(5) + AUDIT_INTERVAL;
    assert_eq!(log.poll_timeout(), Some(due));
    log.run(due - Duration::from_millis(1), &mut queue, &mut sink, &mut rng).unwrap();
    assert_eq!(checkpoints(&sink), 1);
    log.run(due, &mut queue, &mut sink, &mut rng).unwrap();
    assert_eq!((checkpoints(&sink), log.poll_timeout()), (2, None));
    // Equal and earlier times are harmless.
    log.run(at(0), &mut queue, &mut sink, &mut rng).unwrap();
    assert_eq!(checkpoints(&sink), 2);
}
