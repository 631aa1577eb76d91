//! A service that is killed with SIGKILL before and after every statement of its store, one after the other.
//!
//! The child runs a device, a backend and a store; SQLite itself tells when a statement begins and when it has ended,
//! so no statement is left out. At the step that it is told to, the child kills itself. Then the parent looks into the
//! file, and lets a second child finish: the device is in the same boot, and sends again all that it ever had, as if no
//! acknowledgement had reached it. Every record must be there once, and what was acknowledged must have been there before.

mod common;

use common::*;
use rustix::process::{Signal, getpid, kill_process};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use vitalwire::Instant;
use vitalwire::framing::Lane;
use vitalwire::identity::Identity;
use vitalwire_sqlite::Store;
use vitalwire_sqlite::rusqlite::trace::{TraceEvent, TraceEventCodes};

const SEED: u64 = 77;
const BOOTS: u32 = 3;
const RECORDS: usize = 12;

/// (boot, lane, sequence)
type Id = (u32, u8, u64);

fn main() {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some("--child") {
        let file = words.next().unwrap();
        let mut number = || words.next().unwrap().parse::<usize>().unwrap();
        return child(Path::new(&file), number() as u32, number());
    }
    // What Cargo passes on is of no use here.
    killed_between_any_two_statements_nothing_is_lost_or_doubled();
    println!("test killed_between_any_two_statements_nothing_is_lost_or_doubled ... ok");
}

fn patch(pki: &mut Pki, now: Instant) -> Patch {
    Patch::new(pki, 1, now)
}

/// Serves one device from this boot to its last; kills itself at the given step, 0: never.
fn child(file: &Path, first_boot: u32, kill_at: usize) {
    let (mut pki, mut now) = (Pki::new(SEED), Instant::from_millis(1_000));
    let mut patch = patch(&mut pki, now);
    for _ in 1..first_boot {
        (0..RECORDS).for_each(|_| patch.record(now));
        patch.reboot(now);
    }
    let mut node = Node::start(&pki, file);
    let steps = Arc::new(Mutex::new(Vec::<String>::new()));
    let traced = steps.clone();
    let step = move |event: TraceEvent<'_>| {
        let text = match event {
            TraceEvent::Stmt(_, sql) => format!("before {sql}"),
            TraceEvent::Profile(statement, _) => format!("after {}", statement.sql()),
            _ => return,
        };
        let mut steps = traced.lock().unwrap();
        steps.push(text.split_whitespace().take(4).collect::<Vec<_>>().join(" "));
        if steps.len() == kill_at {
            kill_process(getpid(), Signal::KILL).unwrap();
            unreachable!("it is dead");
        }
    };
    let codes = TraceEventCodes::SQLITE_TRACE_STMT | TraceEventCodes::SQLITE_TRACE_PROFILE;
    node.store.connection().trace_v2(codes, Some(move |event: TraceEvent<'_>| step(event))).unwrap();
    for boot in first_boot..=BOOTS {
        println!("boot {boot}");
        // One transaction for each batch, and one for all that wait, in turn.
        node.groups = boot % 2 == 0;
        // The boot tag is drawn first: a boot that is served by another child has the same.
        let mut rng = Rng(SEED + u64::from(boot));
        (0..RECORDS).for_each(|_| patch.record(now));
        let mut seen = |batch: &vitalwire::backend::Batch<'_>, outcome: &Outcome| {
            let stored = outcome.as_ref().unwrap();
            println!("batch {} {} {}", stored.new, stored.repeats, stored.collisions);
            for sequence in sequences(batch) {
                let stream = batch.stream();
                println!("acknowledged {} {} {sequence}", stream.boot, stream.lane.code());
            }
        };
        run(&mut now, &mut patch, &mut node, &mut rng, &mut seen, &mut |patch, _| patch.device.is_drained());
        if boot < BOOTS {
            patch.reboot(now);
        }
    }
    for step in steps.lock().unwrap().iter() {
        println!("step {step}");
    }
}

fn start(file: &Path, first_boot: u32, kill_at: usize) -> (Output, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--child").arg(file).arg(first_boot.to_string()).arg(kill_at.to_string());
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (output, text)
}

fn acknowledged(output: &str) -> BTreeSet<Id> {
    let ids = output.lines().filter_map(|line| line.strip_prefix("acknowledged ")).map(|ids| {
        let ids: Vec<u64> = ids.split(' ').map(|id| id.parse().unwrap()).collect();
        (ids[0] as u32, ids[1] as u8, ids[2])
    });
    ids.collect()
}

/// What is in the file, having checked that ledger and records say the same.
fn read(file: &Path, identity: &Identity) -> BTreeMap<Id, String> {
    let mut store = Store::open(file).unwrap();
    let check: String = store.connection().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let records = stored(&mut store, identity);
    let ledger = store.open_session(identity).unwrap().ledger;
    for (stream, state) in ledger.streams() {
        for sequence in 0..RECORDS as u64 + 1 {
            let is_there = records.contains_key(&(stream, sequence));
            assert_eq!(
                state.contains(sequence),
                is_there,
                "{stream:?} {sequence}: ledger and records differ"
            );
        }
    }
    let count = records.len();
    let ids = records.into_iter().map(|((s, sequence), text)| ((s.boot, s.lane.code(), sequence), text));
    let ids: BTreeMap<Id, String> = ids.collect();
    assert_eq!(ids.len(), count, "one boot with two tags");
    ids
}

/// What the device accepts, by a naive count.
fn model() -> BTreeMap<Id, String> {
    let (mut all, mut n) = (BTreeMap::new(), 0);
    for boot in 1..=BOOTS {
        let mut next = BTreeMap::<Lane, u64>::new();
        for _ in 0..RECORDS {
            let (lane, record) = record(n);
            let sequence = next.entry(lane).or_default();
            all.insert((boot, lane.code(), *sequence), format!("{record:?}"));
            *sequence += 1;
            n += 1;
        }
    }
    all
}

fn killed_between_any_two_statements_nothing_is_lost_or_doubled() {
    let (dir, model) = (tempfile::tempdir().unwrap(), model());
    let identity = patch(&mut Pki::new(SEED), Instant::ZERO).identity();
    let whole = dir.path().join("whole.db");
    let (output, text) = start(&whole, 1, 0);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(read(&whole, &identity), model);
    let steps: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("step ")).collect();
    let batches = text.lines().filter(|line| line.starts_with("batch ")).count();
    let savepoints = steps.iter().filter(|step| step.starts_with("before SAVEPOINT")).count();
    assert!(savepoints > 1, "nothing was stored in groups");
    let grouped = savepoints - 1; // one transaction less for each, at the most
    for (word, at_least) in [
        ("before BEGIN IMMEDIATE", batches - grouped),
        ("before SELECT device", batches),
        ("before INSERT INTO records", model.len()),
        ("after INSERT INTO records", model.len()),
        ("before UPDATE devices", batches),
        ("before COMMIT", batches - grouped),
        ("after COMMIT", batches - grouped),
        ("before SAVEPOINT", grouped + 1),
        ("after RELEASE", grouped + 1),
    ] {
        let count = steps.iter().filter(|step| step.starts_with(word)).count();
        assert!(count >= at_least, "{word}: {count} of {at_least}");
    }
    let (mut killed, mut early, mut in_doubt) = (0, 0, 0);
    for step in 1..=steps.len() {
        let file = dir.path().join(format!("{step}.db"));
        let (output, text) = start(&file, 1, step);
        assert_eq!(output.status.signal(), Some(9), "step {step} of {}", steps.len());
        killed += 1;
        // After the kill: each record at most once and as it was, and all that was acknowledged.
        let (there, told) = (read(&file, &identity), acknowledged(&text));
        assert!(there.iter().all(|(id, text)| model.get(id) == Some(text)), "step {step}: {there:?}");
        assert!(told.iter().all(|id| there.contains_key(id)), "step {step}: acknowledged and lost");
        early += usize::from(there.len() < model.len());
        in_doubt += usize::from(there.len() > told.len());
        // After the restart: everything, and once. The device repeats all that it ever sent.
        let boot = text.lines().rev().find_map(|line| line.strip_prefix("boot ")).unwrap();
        let (output, text) = start(&file, boot.parse().unwrap(), 0);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(read(&file, &identity), model, "step {step}: {}", steps[step - 1]);
        let mut new = there.len();
        for line in text.lines().filter_map(|line| line.strip_prefix("batch ")) {
            let counts: Vec<usize> = line.split(' ').map(|count| count.parse().unwrap()).collect();
            new += counts[0];
            assert_eq!(counts[2], 0, "step {step}: only the table knew of a record");
        }
        assert_eq!(new, model.len(), "step {step}");
    }
    println!(
        "{killed} kills, at each of {} steps of {batches} batches; {early} with records outstanding, {in_doubt} after a commit of which nobody was told",
        steps.len()
    );
    assert!(killed == steps.len() && early > 0 && in_doubt > 0);
}
