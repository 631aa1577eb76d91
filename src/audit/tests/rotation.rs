//! Logs in several files: where one ends and the next begins, what is found if one is missing, cut or moved, and sinks that
//! fail and power that goes in between.

use super::files::{Cut, Place};
use super::*;
use crate::limits::AUDIT_MIN_FILE_LEN;
use std::fs;

/// A log in files of about 600 bytes.
fn sample() -> (AuditLog, Vec<Vec<u8>>) {
    let mut log = AuditLog::new(NODE, &mut Counting(0)).unwrap();
    let mut sink = Memory { most: Some(600), ..Memory::default() };
    let (mut queue, mut rng) = (AuditQueue::default(), Counting(40));
    for number in 0..40 {
        queue.note(at(1), AuditEvent::Rekeyed { identity: identity(1), ratchets: number });
    }
    log.run(at(1), &mut queue, &mut sink, &mut rng).unwrap();
    let mut files = core::mem::take(&mut sink.closed);
    files.push(sink.bytes);
    (log, files)
}

fn verified(files: &[Vec<u8>]) -> Result<Report, (usize, Why)> {
    let mut done = None;
    for (number, file) in files.iter().enumerate() {
        let mut reader = file.as_slice();
        let read = match done {
            None => read_log(&mut reader, None, &mut |_, _| {}),
            Some(before) => read_next(before, &mut reader, &mut |_, _| {}),
        };
        done = Some(read.map_err(|error| match error {
            VerifyError::Broken(broken) => (number, broken.why),
            VerifyError::Read(error) => panic!("{error}"),
        })?);
    }
    let (verifier, left) = done.unwrap();
    Ok(verifier.finish(left))
}

#[test]
fn each_file_ends_with_a_checkpoint_and_the_next_one_follows() {
    //= SPEC.md#audit-log
    //= type=test
    //# A node MUST end a file with a checkpoint before it begins the next one.
    let (log, files) = sample();
    assert!(files.len() > 4);
    let report = verified(&files).unwrap();
    assert_eq!((report.files, report.header.first), (files.len() as u64, 0));
    assert_eq!((report.entries, report.head), (log.state().sequence, log.state().head));
    assert_eq!(report.checkpoints, files.len() as u64 - 1, "one for each closed file");
    for file in &files[..files.len() - 1] {
        let alone = verify(&mut file.as_slice(), None).unwrap();
        assert_eq!((alone.unsigned, alone.torn), (0, 0), "each closed file also verifies alone");
    }
    // Old ones were put away: the rest begins later.
    let rest = verified(&files[2..]).unwrap();
    assert_eq!(rest.header.first + rest.entries, report.entries);
    assert!(rest.header.first > 0 && rest.header.previous != [0; 32]);
}

#[test]
fn a_file_that_is_missing_moved_cut_replaced_or_altered_is_found() {
    //= SPEC.md#audit-log
    //= type=test
    //# A verifier MUST refuse a file that does not follow from the one before it, and one before it that no checkpoint ends.
    let (_, files) = sample();
    for missing in 1..files.len() - 1 {
        let rest = [&files[..missing], &files[missing + 1..]].concat();
        assert_eq!(verified(&rest), Err((missing, Why::FileGap)), "without {missing}");
    }
    for at in 0..files.len() - 1 {
        let mut swapped = files.clone();
        swapped.swap(at, at + 1);
        assert!(verified(&swapped).is_err(), "{at} swapped");
        let twice = [&files[..=at], &files[at..]].concat();
        assert_eq!(verified(&twice), Err((at + 1, Why::FileGap)), "{at} twice");
    }
    let mut swapped = files.clone();
    swapped.swap(1, 2);
    assert_eq!(verified(&swapped), Err((1, Why::FileGap)));
    // Cut anywhere, between entries or in them.
    for len in Header::LEN..files[1].len() {
        let mut cut = files.clone();
        cut[1].truncate(len);
        let found = verified(&cut).unwrap_err();
        assert!(found.0 == 2 && matches!(found.1, Why::NotClosed | Why::FileGap), "{len}: {found:?}");
    }
    for byte in 0..files[1].len() {
        let mut altered = files.clone();
        altered[1][byte] ^= 4;
        assert!(verified(&altered).is_err(), "byte {byte}");
    }
    // Another log of the same node and length, with other keys.
    let mut other = AuditLog::new(NODE, &mut Counting(90)).unwrap();
    let mut sink = Memory { most: Some(600), ..Memory::default() };
    let (mut queue, mut rng) = (AuditQueue::default(), Counting(120));
    for number in 0..40 {
        queue.note(at(1), AuditEvent::Rekeyed { identity: identity(1), ratchets: number });
    }
    other.run(at(1), &mut queue, &mut sink, &mut rng).unwrap();
    let mut replaced = files.clone();
    replaced[1] = sink.closed[1].clone();
    assert_eq!(verified(&replaced), Err((1, Why::OtherFile)));
    let mut foreign = Header::parse(files[1].first_chunk().unwrap()).unwrap();
    foreign.node = NodeId([7; 8]);
    replaced[1][..Header::LEN].copy_from_slice(&foreign.to_bytes());
    assert_eq!(verified(&replaced), Err((1, Why::OtherNode)));
    // The end cannot be seen to be cut, but by who knows more.
    let cut = verified(&files[..3]).unwrap();
    assert!(cut.entries < verified(&files).unwrap().entries);
}

#[test]
fn a_sink_that_fails_between_two_files_is_asked_again() {
    for fails in 1..6 {
        let mut log = AuditLog::new(NODE, &mut Counting(0)).unwrap();
        let mut sink = Memory { most: Some(600), ..Memory::default() };
        let (mut queue, mut rng) = (AuditQueue::default(), Counting(40));
        let (mut noted, mut armed) = (0, 0);
        while sink.closed.len() < 3 {
            if sink.bytes.len() >= 600 && armed <= sink.closed.len() {
                (sink.fails, armed) = (fails, sink.closed.len() + 1);
            }
            queue.note(at(1), AuditEvent::Rekeyed { identity: identity(1), ratchets: noted });
            noted += 1;
            let _ = log.run(at(1), &mut queue, &mut sink, &mut rng);
        }
        sink.fails = 0;
        log.run(at(1), &mut queue, &mut sink, &mut rng).unwrap();
        sink.closed.push(core::mem::take(&mut sink.bytes));
        let report = verified(&sink.closed).unwrap();
        assert_eq!((report.files, report.entries), (4, log.state().sequence), "{fails}");
        let mut ratchets = Vec::new();
        let mut done = None;
        for file in &sink.closed {
            let each = &mut |_: &Verifier, entry: Entry| {
                if let Kind::Event(AuditEvent::Rekeyed { ratchets: number, .. }) = entry.kind {
                    ratchets.push(number);
                }
            };
            let mut reader = file.as_slice();
            done = Some(match done {
                None => read_log(&mut reader, None, each).unwrap(),
                Some(before) => read_next(before, &mut reader, each).unwrap(),
            });
        }
        assert_eq!(ratchets, (0..noted).collect::<Vec<_>>(), "nothing is lost or told twice");
    }
}

#[test]
fn without_randomness_a_full_file_goes_on() {
    struct Never;
    impl Entropy for Never {
        fn fill(&mut self, _: &mut [u8]) -> Result<(), EntropyError> {
            Err(EntropyError)
        }
    }
    let mut log = AuditLog::new(NODE, &mut Counting(0)).unwrap();
    let mut sink = Memory { most: Some(600), ..Memory::default() };
    let mut queue = AuditQueue::default();
    for number in 0..1_000 {
        queue.note(at(1), AuditEvent::Rekeyed { identity: identity(1), ratchets: number });
    }
    let ran = log.run(at(1), &mut queue, &mut sink, &mut Never);
    assert_eq!((ran, queue.len(), sink.closed.len()), (Err(AuditError::Entropy(EntropyError)), 0, 0));
    queue.note(at(2), AuditEvent::Stopped {});
    log.run(at(2), &mut queue, &mut sink, &mut Counting(1)).unwrap();
    assert_eq!(sink.closed.len(), 1);
    assert_eq!(verified(&[sink.closed[0].clone(), sink.bytes.clone()]).unwrap().entries, 1_002);
}

#[test]
fn a_sink_that_is_always_full_gets_a_file_for_each_entry_and_none_for_nothing() {
    let mut log = AuditLog::new(NODE, &mut Counting(0)).unwrap();
    let mut sink = Memory { most: Some(0), ..Memory::default() };
    let (mut queue, mut rng) = (AuditQueue::default(), Counting(40));
    for _ in 0..3 {
        queue.note(at(1), AuditEvent::Stopped {});
        log.run(at(1), &mut queue, &mut sink, &mut rng).unwrap();
        log.run(at(1), &mut queue, &mut sink, &mut rng).unwrap();
    }
    assert_eq!(sink.closed.len(), 2);
    assert_eq!(verified(&[&sink.closed[..], &[sink.bytes]].concat()).unwrap().entries, 5);
}

/// Reads the files at a place: the closed ones, and the present one.
fn read_files(place: &Place) -> Vec<Vec<u8>> {
    let closed = AuditFile::closed(&place.log()).unwrap();
    closed.into_iter().chain([place.log()]).map(|path| fs::read(path).unwrap()).collect()
}

/// Writes so many events, in files of the least length.
fn fill(place: &Place, count: u32) -> Result<AuditLog, AuditError> {
    let (mut file, mut log) = place.open().unwrap();
    file.set_max_len(0);
    let (mut queue, mut rng) = (AuditQueue::default(), place.rng());
    for number in 0..count {
        queue.note(at(1), AuditEvent::Rekeyed { identity: identity(1), ratchets: number });
    }
    log.run(at(1), &mut queue, &mut file, &mut rng).map(|()| log)
}

#[test]
fn files_are_bounded_named_in_order_and_go_on_after_a_restart() {
    let place = Place::new("rotation");
    let mut sequence = 0;
    for round in 0..6 {
        let log = fill(&place, 100).unwrap();
        let files = read_files(&place);
        let report = verified(&files).unwrap();
        assert_eq!((report.head, report.entries), (log.state().head, log.state().sequence), "{round}");
        assert!(log.state().sequence >= sequence + 100);
        sequence = log.state().sequence;
        for file in &files {
            assert!(file.len() as u64 <= AUDIT_MIN_FILE_LEN);
        }
    }
    let closed = AuditFile::closed(&place.log()).unwrap();
    assert!(closed.len() > 5, "{closed:?}");
    let name = closed[0].file_name().unwrap().to_str().unwrap();
    assert_eq!(name, "audit.log.00000000000000000000");
    // Files with other names are none of them.
    fs::write(place.log().with_file_name("audit.log.0000000000000000000x"), b"").unwrap();
    fs::write(place.log().with_file_name("audit.log.1"), b"").unwrap();
    assert_eq!(AuditFile::closed(&place.log()).unwrap(), closed);
}

#[test]
fn a_node_that_stopped_between_two_files_goes_on_behind_the_last_one() {
    let place = Place::new("between");
    while AuditFile::closed(&place.log()).unwrap().is_empty() {
        fill(&place, 30).unwrap();
    }
    let before = read_files(&place);
    // The present file goes back to where it was not there: only its header is, or half of it, or nothing.
    let keys = fs::read(place.key()).unwrap();
    for kept in [None, Some(0), Some(40), Some(Header::LEN)] {
        match kept {
            None => fs::remove_file(place.log()).unwrap(),
            Some(len) => fs::write(place.log(), &before[1][..len]).unwrap(),
        }
        fs::write(place.key(), &keys).unwrap();
        let log = fill(&place, 1).unwrap();
        let files = read_files(&place);
        assert_eq!((files.len(), &files[0]), (2, &before[0]), "{kept:?}");
        let report = verified(&files).unwrap();
        assert_eq!((report.entries, report.head), (log.state().sequence, log.state().head));
    }
    // A closed file that was cut is no place to go on from.
    fs::remove_file(place.log()).unwrap();
    let closed = AuditFile::closed(&place.log()).unwrap().pop().unwrap();
    fs::write(&closed, &before[0][..before[0].len() - 1]).unwrap();
    assert!(matches!(place.open(), Err(FileError::Broken(Broken { why: Why::NotClosed, .. }))));
}

#[test]
fn a_power_cut_at_any_step_between_two_files_leaves_a_log_that_goes_on() {
    let mut rotated = 0;
    for left in 0.. {
        let place = Place::new(&std::format!("cut-{left}"));
        fill(&place, 50).unwrap();
        let ended = {
            let (mut file, mut log) = place.open().unwrap();
            file.set_max_len(0);
            let mut sink = Cut { file: &mut file, left };
            let (mut queue, mut rng) = (AuditQueue::default(), place.rng());
            for number in 0..10 {
                queue.note(at(1), AuditEvent::Rekeyed { identity: identity(1), ratchets: number });
            }
            log.run(at(1), &mut queue, &mut sink, &mut rng).is_ok()
        };
        rotated += u32::from(read_files(&place).len() == 2);
        let log = fill(&place, 20).unwrap();
        let files = read_files(&place);
        let report = verified(&files).unwrap();
        assert_eq!((files.len(), report.torn), (2, 0), "after {left} steps");
        assert_eq!((report.head, report.entries), (log.state().head, log.state().sequence));
        if ended {
            break;
        }
        assert!(left < 100, "there are more steps");
    }
    assert!(rotated > 2, "the file was full in between");
}

#[test]
fn no_file_is_written_over() {
    let place = Place::new("over");
    let name = place.log().with_file_name("audit.log.00000000000000000000");
    let (mut file, mut log) = place.open().unwrap();
    fs::write(&name, b"somebody else's").unwrap();
    file.set_max_len(0);
    let (mut queue, mut rng) = (AuditQueue::default(), place.rng());
    for number in 0..300 {
        queue.note(at(1), AuditEvent::Rekeyed { identity: identity(1), ratchets: number });
    }
    assert_eq!(log.run(at(1), &mut queue, &mut file, &mut rng), Err(AuditError::Sink(SinkFailed)));
    assert_eq!(fs::read(&name).unwrap(), b"somebody else's");
    fs::remove_file(&name).unwrap();
    log.run(at(1), &mut queue, &mut file, &mut rng).unwrap();
    assert!(verified(&read_files(&place)).unwrap().entries > 300);
}

/// A disk without room.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_and_no_more() {
    let place = Place::new("full-disk");
    std::os::unix::fs::symlink("/dev/full", place.log()).unwrap();
    let (mut file, mut log) = place.open().unwrap();
    let (mut queue, mut rng) = (AuditQueue::default(), place.rng());
    for number in 0..5_000 {
        queue.note(at(1), AuditEvent::Rekeyed { identity: identity(1), ratchets: number });
        let ran = log.run(at(1), &mut queue, &mut file, &mut rng);
        assert_eq!(ran, Err(AuditError::Sink(SinkFailed)));
    }
    assert_eq!((queue.len(), queue.lost()), (crate::limits::AUDIT_QUEUE, 5_000 - 4_096));
    // The operator gives it another disk: what waited is there, with what is missing.
    let mut sink = Memory::default();
    log.run(at(2), &mut queue, &mut sink, &mut rng).unwrap();
    let found = events(&sink.bytes);
    assert_eq!(found[0], AuditEvent::SinkFailed { times: 5_000 });
    assert_eq!(found.last(), Some(&AuditEvent::Lost { usual: 5_000 - 4_096, essential: 0 }));
}

#[test]
fn a_slow_sink_on_its_own_thread_holds_nobody_up_and_loses_nothing_that_finds_room() {
    struct Forward(std::sync::mpsc::SyncSender<Vec<u8>>);
    impl AuditSink for Forward {
        fn append(&mut self, bytes: &[u8]) -> Result<(), SinkFailed> {
            self.0.try_send(bytes.to_vec()).map_err(|_| SinkFailed)
        }
    }
    let (sender, receiver) = std::sync::mpsc::sync_channel(8);
    let (mut log, mut sink) = (AuditLog::new(NODE, &mut Counting(0)).unwrap(), Forward(sender));
    let (mut queue, mut rng) = (AuditQueue::default(), Counting(40));
    let (mut bytes, mut failed) = (Vec::new(), 0);
    for number in 0..200 {
        queue.note(at(1), AuditEvent::Rekeyed { identity: identity(1), ratchets: number });
        failed += u32::from(log.run(at(1), &mut queue, &mut sink, &mut rng).is_err());
        // The thread writes two in the time in which three come.
        (0..2)
            .filter(|_| number % 3 == 0)
            .for_each(|_| bytes.extend(receiver.try_recv().into_iter().flatten()));
    }
    assert!(failed > 50, "it was behind");
    while !queue.is_empty() || log.run(at(2), &mut queue, &mut sink, &mut rng).is_err() {
        let _ = log.run(at(2), &mut queue, &mut sink, &mut rng);
        bytes.extend(receiver.try_iter().flatten());
    }
    bytes.extend(receiver.try_iter().flatten());
    let found = events(&bytes);
    let told: u32 =
        found.iter().map(|event| if let AuditEvent::SinkFailed { times } = event { *times } else { 0 }).sum();
    assert!(told >= failed);
    let rekeyed = found.iter().filter(|event| matches!(event, AuditEvent::Rekeyed { .. })).count();
    assert_eq!(rekeyed, 200);
}
