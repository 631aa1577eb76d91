//! The audit log of the run: written in each turn of the backend, verified and counted at its end.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use vitalwire::audit::{
    AuditEvent, AuditFile, AuditLog, Entry, Kind, NodeId, Report, SyncPolicy, Verifier, read_log,
};
use vitalwire::backend::{Backend, Counters};
use vitalwire::crypto::SignatureKey;
use vitalwire::identity::Identity;
use vitalwire::{CloseReason, Discards, Instant, OsEntropy};

/// What one backend has counted, for comparison with what it has logged.
#[derive(Debug)]
pub struct Term {
    pub counters: Counters,
    /// The discards that the log must have: of one that died, those up to its last count, which is made every minute.
    pub told: Discards,
    /// It stopped in order: nothing may be missing.
    pub stopped: bool,
}

/// Writes the log.
pub struct Auditor {
    files: Files,
    sink: AuditFile,
    log: AuditLog,
    /// The key with which the log begins, noted when it was begun.
    key: Option<SignatureKey>,
    /// The discards at the last count, and when the next one is.
    told: Discards,
    next_counts: Option<Instant>,
}

/// The log and its keys; removed at the end, unless somebody wants them.
struct Files {
    log: PathBuf,
    wanted: bool,
}

impl Files {
    fn keys(&self) -> PathBuf {
        let mut path = self.log.clone().into_os_string();
        path.push(".key");
        path.into()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if !self.wanted {
            let _ = (fs::remove_file(&self.log), fs::remove_file(self.keys()));
        }
    }
}

impl Auditor {
    /// Begins a log, in `file` or in one that is removed at the end.
    pub fn begin(file: Option<&Path>) -> Result<Self, String> {
        let temporary = || std::env::temp_dir().join(format!("ward-{}.audit", std::process::id()));
        let files = Files { log: file.map_or_else(temporary, Path::to_owned), wanted: file.is_some() };
        if files.log.exists() || files.keys().exists() {
            let log = files.log.display().to_string();
            // What is there is not ours to remove.
            std::mem::forget(files);
            return Err(format!("{log}, or its key: is there already; the audit log of a run is a new one"));
        }
        let at = |error: &dyn std::fmt::Display| format!("audit log {}: {error}", files.log.display());
        // At checkpoints only: a disk that takes its time must not hold up the ward's fast clock.
        let opened =
            AuditFile::open(&files.log, NodeId(*b"the-ward"), SyncPolicy::Checkpoints, &mut OsEntropy);
        let (sink, log) = opened.map_err(|error| at(&error))?;
        Ok(Self { files, sink, log, key: None, told: Discards::default(), next_counts: None })
    }

    /// A backend begins.
    pub fn started(&mut self, now: Instant, backend: &mut Backend<SocketAddr>) {
        (self.told, self.next_counts) = (Discards::default(), None);
        backend.audit(now).note(now, AuditEvent::Started { version: env!("CARGO_PKG_VERSION").into() });
    }

    /// Writes what there is to write: once in a turn of the run loop.
    pub fn run(&mut self, now: Instant, backend: &mut Backend<SocketAddr>) -> Result<(), String> {
        let discards = backend.discards().clone();
        let queue = backend.audit(now);
        if self.next_counts.replace(queue.next_counts()) != Some(queue.next_counts()) {
            self.told = discards;
        }
        self.log.run(now, queue, &mut self.sink, &mut OsEntropy).map_err(text)?;
        if self.key.is_none() {
            let header = |path| read_log(&mut File::open(path)?, None, &mut |_, _| {});
            let (verifier, _) = header(&self.files.log).map_err(text)?;
            self.key = Some(verifier.report().header.key);
        }
        Ok(())
    }

    /// A backend died, with what it had not logged.
    pub fn died(&self, backend: &Backend<SocketAddr>) -> Term {
        Term { counters: backend.counters(), told: self.told.clone(), stopped: false }
    }

    /// The last backend stops in order; the log is signed, and verified.
    pub fn stop(mut self, now: Instant, backend: &mut Backend<SocketAddr>) -> Result<(Term, Logged), String> {
        let queue = backend.audit_stop(now);
        self.log.run(now, queue, &mut self.sink, &mut OsEntropy).map_err(text)?;
        self.log.checkpoint(now, &mut self.sink, &mut OsEntropy).map_err(text)?;
        let term = Term { counters: backend.counters(), told: backend.discards().clone(), stopped: true };
        let mut logged = Logged { terms: Vec::new(), events: BTreeMap::new(), verified: None, kept: None };
        let file = File::open(&self.files.log).map_err(text)?;
        let mut take = |_: &Verifier, entry| logged.take(entry);
        let (verifier, left) = read_log(&mut BufReader::new(file), self.key.as_ref(), &mut take)
            .map_err(|error| format!("the audit log does not verify: {error}"))?;
        let report = verifier.finish(left);
        logged.verified = Some((report, report.head == self.log.state().head));
        logged.kept = self.files.wanted.then(|| self.files.log.clone());
        Ok((term, logged))
    }
}

/// What the log says.
#[derive(Debug)]
pub struct Logged {
    /// Of each backend, in order.
    pub terms: Vec<LoggedTerm>,
    /// Events by the name of their kind.
    pub events: BTreeMap<&'static str, u64>,
    /// What the verifier says, and whether the last entry is the one that the node wrote last.
    pub verified: Option<(Report, bool)>,
    /// Where it is, if it is kept.
    pub kept: Option<PathBuf>,
}

/// What the log says of one backend.
#[derive(Debug, Default)]
pub struct LoggedTerm {
    pub accepted: u64,
    /// Handshakes refused, and scopes refused: those that were only counted included.
    pub refused: u64,
    pub scope_refused: u64,
    pub lists: u64,
    /// Discards by their names.
    pub discards: BTreeMap<String, u64>,
    pub revoked: BTreeMap<Identity, u64>,
    /// Sessions that were ended by a revocation.
    pub ended_by_revocation: BTreeMap<Identity, u64>,
    /// Whose records were refused as out of scope, as far as the events say it.
    pub out_of_scope: BTreeMap<Identity, u64>,
    /// Events that found no room, and failures of the sink.
    pub lost: u64,
    pub stopped: bool,
}

impl Logged {
    fn take(&mut self, entry: Entry) {
        let Kind::Event(event) = entry.kind else { return };
        *self.events.entry(event.name()).or_default() += 1;
        if matches!(event, AuditEvent::Started { .. }) || self.terms.is_empty() {
            self.terms.push(LoggedTerm::default());
        }
        if let Some(term) = self.terms.last_mut() {
            term.take(event);
        }
    }
}

impl LoggedTerm {
    fn take(&mut self, event: AuditEvent) {
        match event {
            AuditEvent::Accepted { .. } => self.accepted += 1,
            AuditEvent::Refused { .. } => self.refused += 1,
            AuditEvent::ScopeRefused { identity, .. } => {
                self.scope_refused += 1;
                *self.out_of_scope.entry(identity).or_default() += 1;
            }
            AuditEvent::Suppressed { kind, count } => match named(kind) {
                "handshake refused" => self.refused += count,
                "scope refused" => self.scope_refused += count,
                _ => {}
            },
            AuditEvent::Strangers { counts }
            | AuditEvent::Tampering { counts }
            | AuditEvent::LimitsReached { counts } => {
                for count in counts {
                    *self.discards.entry(count.name.to_string()).or_default() += count.count;
                }
            }
            AuditEvent::Revoked { identity, .. } => *self.revoked.entry(identity).or_default() += 1,
            AuditEvent::Ended { identity, reason: CloseReason::Revoked } => {
                *self.ended_by_revocation.entry(identity).or_default() += 1;
            }
            AuditEvent::RevocationList { .. } => self.lists += 1,
            AuditEvent::Lost { usual, essential } => self.lost += usual + essential,
            AuditEvent::SinkFailed { times } => self.lost += u64::from(times),
            AuditEvent::Stopped { .. } => self.stopped = true,
            _ => {}
        }
    }
}

/// The name of a kind of event.
fn named(kind: u8) -> &'static str {
    AuditEvent::KINDS.iter().find(|(code, _)| *code == kind).map_or("", |(_, name)| name)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
