//! Files: torn, broken, of others, without keys; and restarts at every step.

use super::*;
use std::fs;
use std::path::PathBuf;

/// A directory of its own for a test, removed at its end.
pub(super) struct Place(PathBuf);

impl Place {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(std::format!("vitalwire-audit-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join("audit.log")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.0.join("audit.log.key")
    }

    /// Randomness that goes on where the keys are.
    pub(super) fn rng(&self) -> Counting {
        Counting(fs::read(self.key()).map_or(1, |bytes| bytes[0]))
    }

    pub(super) fn open(&self) -> Result<(AuditFile, AuditLog), FileError> {
        let seed = fs::read(self.key()).map_or(0, |bytes| bytes[0]);
        AuditFile::open(&self.log(), NODE, SyncPolicy::EveryRun, &mut Counting(seed))
    }

    /// Opens, notes so many events, and writes them; with a checkpoint, or without.
    fn write(&self, count: u32, checkpoint: bool) {
        let (mut file, mut log) = self.open().unwrap();
        let mut queue = AuditQueue::default();
        for number in 0..count {
            queue.note(at(1), AuditEvent::Rekeyed { identity: identity(1), ratchets: number });
        }
        let mut rng = self.rng();
        log.run(at(1), &mut queue, &mut file, &mut rng).unwrap();
        if checkpoint {
            log.checkpoint(at(1), &mut file, &mut rng).unwrap();
        }
    }

    fn read(&self) -> Vec<u8> {
        fs::read(self.log()).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_restart_goes_on_with_the_chain() {
    let place = Place::new("restart");
    for (round, checkpoint) in [(1, true), (2, false), (3, true), (4, true)] {
        place.write(round, checkpoint);
        let (entries, report) = read_back(&place.read());
        let sequences: Vec<_> = entries.iter().map(|entry| entry.sequence).collect();
        assert_eq!(sequences, (0..entries.len() as u64).collect::<Vec<_>>());
        assert_eq!((report.unsigned > 0, report.torn), (!checkpoint, 0));
    }
    assert_eq!(read_back(&place.read()).1.checkpoints, 3);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(place.key()).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn what_was_not_signed_before_a_restart_is_signed_within_the_interval_after_it() {
    let place = Place::new("unsigned");
    place.write(2, false);
    let (mut file, mut log) = place.open().unwrap();
    let (mut queue, mut rng) = (AuditQueue::default(), place.rng());
    let start = at(7);
    log.run(start, &mut queue, &mut file, &mut rng).unwrap();
    let due = start + crate::limits::AUDIT_INTERVAL;
    assert_eq!((log.poll_timeout(), log.state().unsigned), (Some(due), 2));
    log.run(due, &mut queue, &mut file, &mut rng).unwrap();
    assert_eq!(read_back(&place.read()).1.unsigned, 0);
}

#[test]
fn half_an_entry_at_the_end_is_cut_off_and_told_wherever_it_ends() {
    let place = Place::new("torn");
    place.write(3, true);
    let whole = place.read();
    place.write(1, false);
    let longer = place.read();
    for len in whole.len() + 1..longer.len() {
        fs::write(place.log(), &longer[..len]).unwrap();
        place.write(1, false);
        let found = events(&place.read());
        let bytes = (len - whole.len()) as u64;
        assert_eq!(found[3..4], [AuditEvent::Recovered { bytes }], "{len}");
        assert_eq!(read_back(&place.read()).1.torn, 0);
    }
    // Its blocks may have come in another order: the end is there, and what stands before it is not.
    let mut zeroed = longer.clone();
    zeroed[whole.len() + 2..whole.len() + 12].fill(0);
    fs::write(place.log(), &zeroed).unwrap();
    place.write(1, false);
    assert!(matches!(events(&place.read())[3], AuditEvent::Recovered { .. }));
    // Half a header is none.
    fs::write(place.log(), &longer[..40]).unwrap();
    place.write(1, true);
    assert_eq!(read_back(&place.read()).1.entries, 2);
}

#[test]
fn a_file_that_is_broken_or_of_another_node_or_cut_is_left_alone() {
    let place = Place::new("broken");
    place.write(3, true);
    place.write(3, true);
    let whole = place.read();
    let mut altered = whole.clone();
    altered[Header::LEN + 5] ^= 1;
    fs::write(place.log(), &altered).unwrap();
    assert!(matches!(
        place.open(),
        Err(FileError::Broken(Broken { why: Why::HashMismatch, sequence: 0, .. }))
    ));
    assert_eq!(place.read(), altered);
    fs::write(place.log(), &whole).unwrap();
    let other = AuditFile::open(&place.log(), NodeId([7; 8]), SyncPolicy::EveryRun, &mut Counting(0));
    assert!(matches!(other, Err(FileError::OtherNode(NODE))));
    // Cut behind the first checkpoint: the key of the second one is gone.
    let mut cut = 0;
    read_log(&mut whole.as_slice(), None, &mut |verifier, entry| {
        if matches!(entry.kind, Kind::Checkpoint { .. }) && cut == 0 {
            cut = verifier.offset() as usize;
        }
    })
    .unwrap();
    fs::write(place.log(), &whole[..cut]).unwrap();
    assert!(matches!(place.open(), Err(FileError::KeyLost)));
    fs::write(place.log(), &whole).unwrap();
    assert!(place.open().is_ok());
    fs::remove_file(place.key()).unwrap();
    assert!(matches!(place.open(), Err(FileError::KeyLost)));
    fs::write(
        place.log(),
        b"something else that is long enough to be taken for a header of a log, but it is none at all",
    )
    .unwrap();
    assert!(matches!(place.open(), Err(FileError::Broken(Broken { why: Why::NotALog, .. }))));
}

/// Stops after so many calls, as a power cut does; what a call does is whole or not done.
pub(super) struct Cut<'a> {
    pub(super) file: &'a mut AuditFile,
    pub(super) left: u32,
}

impl Cut<'_> {
    fn step(&mut self) -> Result<&mut AuditFile, SinkFailed> {
        self.left = self.left.checked_sub(1).ok_or(SinkFailed)?;
        Ok(self.file)
    }
}

impl AuditSink for Cut<'_> {
    fn append(&mut self, bytes: &[u8]) -> Result<(), SinkFailed> {
        self.step()?.append(bytes)
    }
    fn sync(&mut self, at: SyncPoint) -> Result<(), SinkFailed> {
        self.step()?.sync(at)
    }
    fn is_full(&self) -> bool {
        self.file.is_full()
    }
    fn begin(&mut self, header: &[u8]) -> Result<(), SinkFailed> {
        self.step()?.begin(header)
    }
    fn keep_keys(
        &mut self,
        present: &crate::crypto::SigningKey,
        next: Option<&crate::crypto::SigningKey>,
    ) -> Result<(), SinkFailed> {
        self.step()?.keep_keys(present, next)
    }
}

#[test]
fn a_power_cut_at_any_step_of_a_checkpoint_leaves_a_log_that_goes_on() {
    let mut ended = false;
    for left in 0..40 {
        let place = Place::new(&std::format!("power-{left}"));
        {
            let (mut file, mut log) = place.open().unwrap();
            let mut sink = Cut { file: &mut file, left };
            let (mut queue, mut rng) = (AuditQueue::default(), Counting(100));
            let mut whole = true;
            for _ in 0..2 {
                queue.note(at(1), AuditEvent::Stopped {});
                whole &= log.run(at(1), &mut queue, &mut sink, &mut rng).is_ok()
                    && log.checkpoint(at(1), &mut sink, &mut rng).is_ok();
                if !whole {
                    break;
                }
            }
            ended = whole;
        }
        place.write(2, true);
        let report = read_back(&place.read()).1;
        assert_eq!((report.unsigned, report.torn), (0, 0), "after {left} steps");
        if ended {
            break;
        }
    }
    assert!(ended, "there are more steps");
}
