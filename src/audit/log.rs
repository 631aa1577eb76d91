use super::entry::{Header, NodeId, checkpoint_body, event_body, framed, hash_of};
use super::event::AuditEvent;
use super::queue::{AuditQueue, Noted};
use crate::crypto::SigningKey;
use crate::entropy::{Entropy, EntropyError};
use crate::framing::WallReading;
use crate::limits::{AUDIT_CHECKPOINT_ENTRIES, AUDIT_INTERVAL};
use crate::time::Instant;
use alloc::vec::Vec;

/// The sink could not take it; nothing of it was kept, or it will be cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit sink failed")]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SinkFailed;

/// Why a run has not done all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum AuditError {
    /// The sink failed: what waits is kept, as far as there is room.
    #[error(transparent)]
    Sink(#[from] SinkFailed),
    /// The random source failed: no checkpoint could be made. Entries were written.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// When a sink is asked to see to it that what it took survives a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPoint {
    /// All that was there is written.
    Run,
    /// A checkpoint is written: the key that signed it is erased next.
    Checkpoint,
}

/// Where a log goes: a file, a log server, a tape.
///
/// A sink takes all of what it is given or says that it failed; then it is given the same bytes again. The node waits for
/// it: one that may be slow hands the bytes to a thread of its own, through a queue of bounded length, and fails while
/// that is full.
///
/// ```
/// use std::sync::mpsc::SyncSender;
/// use vitalwire::audit::{AuditSink, SinkFailed};
/// struct Forward(SyncSender<Vec<u8>>);
/// impl AuditSink for Forward {
///     fn append(&mut self, bytes: &[u8]) -> Result<(), SinkFailed> {
///         self.0.try_send(bytes.to_vec()).map_err(|_| SinkFailed)
///     }
/// }
/// ```
pub trait AuditSink {
    /// Appends bytes: the header, or one entry.
    ///
    /// # Errors
    /// [`SinkFailed`]: the same bytes come again.
    fn append(&mut self, bytes: &[u8]) -> Result<(), SinkFailed>;

    /// Sees to it that what was appended survives a power cut.
    ///
    /// # Errors
    /// [`SinkFailed`]: it is asked again.
    fn sync(&mut self, at: SyncPoint) -> Result<(), SinkFailed> {
        let _ = at;
        Ok(())
    }

    /// Tells whether the log is to go on in another file; it is asked before each entry. By default it never is.
    fn is_full(&self) -> bool {
        false
    }

    /// Closes the file, which ends with a checkpoint, and begins the next one with these bytes, its header.
    ///
    /// # Errors
    /// [`SinkFailed`]: the same bytes come again, and nothing else before them.
    fn begin(&mut self, header: &[u8]) -> Result<(), SinkFailed> {
        self.append(header)
    }

    /// Keeps the keys that the log goes on with after a restart, in the place of earlier ones, which it erases: `present`
    /// signs the next checkpoint, and while that is written, `next` the one after it. A sink that keeps none begins a
    /// new log after a restart.
    ///
    /// # Errors
    /// [`SinkFailed`]: it is asked again.
    fn keep_keys(&mut self, present: &SigningKey, next: Option<&SigningKey>) -> Result<(), SinkFailed> {
        let _ = (present, next);
        Ok(())
    }
}

/// Where a log stands: what it goes on from after a restart, with the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogState {
    /// Which node's log it is.
    pub node: NodeId,
    /// The sequence of the next entry.
    pub sequence: u64,
    /// The hash of the last entry, or of the header of a file that has none yet.
    pub head: [u8; 32],
    /// Entries since the last checkpoint.
    pub unsigned: u64,
}

impl LogState {
    /// Returns the header of a file that begins here; `key` signs its first checkpoint.
    pub(super) fn next_header(&self, key: &SigningKey) -> Header {
        Header { node: self.node, first: self.sequence, previous: self.head, key: key.public_key() }
    }
}

/// What a step of a log needs.
struct Turn<'a> {
    now: Instant,
    sink: &'a mut dyn AuditSink,
    rng: &'a mut dyn Entropy,
}

/// Writes the log of one node: chains entries, and signs checkpoints.
///
/// Each checkpoint is signed with a key that is used for it alone, names the key of the next one, and has its own key
/// erased afterwards. So whoever takes the node over later cannot write anew what stands before the last checkpoint.
pub struct AuditLog {
    state: LogState,
    key: SigningKey,
    next: Option<SigningKey>,
    /// An entry or header that the sink has not taken yet.
    pending: Vec<u8>,
    /// `pending` is a checkpoint, or one was appended and its key is not erased yet.
    signing: bool,
    /// `key` is to be kept, alone.
    keep: bool,
    /// The file in which the log goes on, while the sink has not begun it.
    opening: Option<Header>,
    /// The present file has no entry yet.
    fresh: bool,
    unsigned_since: Option<Instant>,
    failures: u32,
    /// Bytes that were cut off, to be told.
    torn: u64,
    wall: Option<(Instant, WallReading)>,
}

impl AuditLog {
    /// Begins a new log.
    ///
    /// # Errors
    /// [`EntropyError`] if the generator is not ready.
    pub fn new(node: NodeId, rng: &mut dyn Entropy) -> Result<Self, EntropyError> {
        let key = SigningKey::generate(rng)?;
        let header = Header { node, first: 0, previous: [0; 32], key: key.public_key() };
        let state = LogState { node, sequence: 0, head: header.hash(), unsigned: 0 };
        Ok(Self { pending: header.to_bytes(), fresh: true, ..Self::resume(state, key) })
    }

    /// Goes on with a log that was written before, with the key that [`AuditSink::keep_keys`] kept.
    pub const fn resume(state: LogState, key: SigningKey) -> Self {
        Self {
            state,
            key,
            next: None,
            pending: Vec::new(),
            signing: false,
            keep: true,
            opening: None,
            fresh: false,
            unsigned_since: None,
            failures: 0,
            torn: 0,
            wall: None,
        }
    }

    /// Says that so many bytes of half an entry were cut off.
    #[cfg(feature = "std")]
    pub(super) const fn recovered(&mut self, bytes: u64) {
        self.torn = bytes;
    }

    /// Returns where the log stands. What [`LogState::head`] is should be told to somebody outside once in a while: it proves
    /// that nothing was cut off later.
    pub const fn state(&self) -> &LogState {
        &self.state
    }

    /// Writes what waits in the queue, and a checkpoint if one is due.
    ///
    /// # Errors
    /// [`AuditError::Sink`]: the rest waits; call again later. [`AuditError::Entropy`]: a checkpoint is missing.
    pub fn run(
        &mut self,
        now: Instant,
        queue: &mut AuditQueue,
        sink: &mut dyn AuditSink,
        rng: &mut dyn Entropy,
    ) -> Result<(), AuditError> {
        let result = self.write(queue, &mut Turn { now, sink, rng });
        self.counted(result)
    }

    /// Writes a checkpoint now, if there is anything to sign: before the node stops.
    ///
    /// # Errors
    /// As [`AuditLog::run`].
    pub fn checkpoint(
        &mut self,
        now: Instant,
        sink: &mut dyn AuditSink,
        rng: &mut dyn Entropy,
    ) -> Result<(), AuditError> {
        let result = self.sign(&mut Turn { now, sink, rng });
        self.counted(result)
    }

    /// Counts failures of the sink: the log tells of them when it works again.
    fn counted(&mut self, result: Result<(), AuditError>) -> Result<(), AuditError> {
        if matches!(result, Err(AuditError::Sink(_))) {
            self.failures = self.failures.saturating_add(1);
        }
        result
    }

    fn write(&mut self, queue: &mut AuditQueue, turn: &mut Turn<'_>) -> Result<(), AuditError> {
        let before = self.state.sequence;
        let mut signed = Ok(());
        self.flush(turn.sink)?;
        if self.state.unsigned > 0 {
            // After a restart there are unsigned entries of before.
            self.unsigned_since.get_or_insert(turn.now);
        }
        while self.has_own() || !queue.is_empty() {
            // Without randomness there is no checkpoint; entries go on.
            if signed.is_ok() && !self.fresh && turn.sink.is_full() {
                signed = starved(self.next_file(turn))?;
            }
            let Some(noted) = self.take_own(turn.now).or_else(|| queue.pop()) else { break };
            self.wall = noted.wall.map(|wall| (noted.at, wall)).or(self.wall);
            self.append(turn, &noted)?;
            if signed.is_ok() && self.state.unsigned >= AUDIT_CHECKPOINT_ENTRIES {
                signed = starved(self.sign(turn))?;
            }
        }
        if signed.is_ok() && self.unsigned_since.is_some_and(|since| turn.now.since(since) >= AUDIT_INTERVAL)
        {
            signed = starved(self.sign(turn))?;
        }
        if self.state.sequence != before {
            turn.sink.sync(SyncPoint::Run)?;
        }
        Ok(signed?)
    }

    /// When a checkpoint is due, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.unsigned_since.map(|since| since + AUDIT_INTERVAL)
    }

    /// Tells whether the log has something to say of itself.
    const fn has_own(&self) -> bool {
        self.failures > 0 || self.torn > 0
    }

    fn take_own(&mut self, now: Instant) -> Option<Noted> {
        let event = if self.failures > 0 {
            AuditEvent::SinkFailed { times: core::mem::take(&mut self.failures) }
        } else if self.torn > 0 {
            AuditEvent::Recovered { bytes: core::mem::take(&mut self.torn) }
        } else {
            return None;
        };
        Some(Noted { at: now, wall: self.wall_at(now), shard: 0, event })
    }

    fn wall_at(&self, now: Instant) -> Option<WallReading> {
        let (since, wall) = self.wall?;
        let elapsed = now.since(since).as_millis();
        Some(WallReading { unix_millis: wall.unix_millis.saturating_add(elapsed), ..wall })
    }

    fn append(&mut self, turn: &mut Turn<'_>, noted: &Noted) -> Result<(), SinkFailed> {
        let body = event_body(self.state.sequence, noted);
        self.chain(&body);
        self.state.unsigned = self.state.unsigned.saturating_add(1);
        self.unsigned_since.get_or_insert(turn.now);
        self.flush(turn.sink)
    }

    /// Signs what is not signed yet.
    fn sign(&mut self, turn: &mut Turn<'_>) -> Result<(), AuditError> {
        self.flush(turn.sink)?;
        if self.state.unsigned == 0 {
            return Ok(());
        }
        let next = match self.next.take() {
            Some(next) => next,
            None => SigningKey::generate(turn.rng)?,
        };
        let public = next.public_key();
        let next = self.next.insert(next);
        // First, so that whatever is appended, its key is there after a power cut.
        turn.sink.keep_keys(&self.key, Some(next))?;
        let LogState { sequence, head, .. } = self.state;
        let wall = self.wall_at(turn.now).map(|wall| (wall.unix_millis, wall.quality));
        let body = checkpoint_body(sequence, turn.now, wall, &head, &self.key, &public);
        self.chain(&body);
        self.state.unsigned = 0;
        self.unsigned_since = None;
        self.signing = true;
        Ok(self.flush(turn.sink)?)
    }

    /// Goes on in another file.
    //= SPEC.md#audit-log
    //# A node MUST end a file with a checkpoint before it begins the next one.
    fn next_file(&mut self, turn: &mut Turn<'_>) -> Result<(), AuditError> {
        self.sign(turn)?;
        self.opening = Some(self.state.next_header(&self.key));
        Ok(self.flush(turn.sink)?)
    }

    /// Binds an entry to the one before; it then waits for the sink.
    fn chain(&mut self, body: &[u8]) {
        self.state.head = hash_of(&self.state.head, body);
        self.state.sequence = self.state.sequence.saturating_add(1);
        self.pending = framed(body, &self.state.head);
        self.fresh = false;
    }

    fn flush(&mut self, sink: &mut dyn AuditSink) -> Result<(), SinkFailed> {
        if core::mem::take(&mut self.keep) {
            sink.keep_keys(&self.key, None).inspect_err(|_| self.keep = true)?;
        }
        if !self.pending.is_empty() {
            sink.append(&self.pending)?;
            self.pending.clear();
        }
        if self.signing {
            sink.sync(SyncPoint::Checkpoint)?;
            //= SPEC.md#audit-log
            //# A node MUST erase the key of a checkpoint once that is written, and use it for no other.
            if let Some(next) = self.next.take() {
                self.key = next;
            }
            self.signing = false;
            sink.keep_keys(&self.key, None).inspect_err(|_| self.keep = true)?;
        }
        if let Some(header) = self.opening {
            sink.begin(&header.to_bytes())?;
            self.opening = None;
            self.state.head = header.hash();
            self.fresh = true;
        }
        Ok(())
    }
}

/// Sorts out a generator that is not ready: that is told in the end.
const fn starved(result: Result<(), AuditError>) -> Result<Result<(), EntropyError>, SinkFailed> {
    match result {
        Ok(()) => Ok(Ok(())),
        Err(AuditError::Entropy(error)) => Ok(Err(error)),
        Err(AuditError::Sink(error)) => Err(error),
    }
}
