//! The audit log: what a node did that an auditor may ask for, in a form that shows whether it was altered.
//!
//! Owns the typed events, the queue in which they wait, the chained and signed log, a file for it, and its verifier.
//! Knows nothing of sessions and packets: a [`Backend`](crate::backend::Backend) notes its events in its queue by itself, and the
//! application adds those that only it knows. SPEC.md, "Audit log", has the format and says what it proves.
//!
//! # The way of an event
//! ```text
//! Backend ── notes ──▶ AuditQueue ── AuditLog::run ──▶ AuditSink (AuditFile) ──▶ verify
//! application ──────▶    bounded,      chained,           appended                by anybody
//!                     losses counted  checkpoints signed
//! ```
//! Once in a turn of the run loop:
//!
//! ```
//! # #[cfg(feature = "std")] {
//! use vitalwire::audit::{AuditEvent, AuditLog, AuditQueue, AuditSink, NodeId, SinkFailed, verify};
//! use vitalwire::{Instant, OsEntropy};
//!
//! struct Memory(Vec<u8>);
//! impl AuditSink for Memory {
//!     fn append(&mut self, bytes: &[u8]) -> Result<(), SinkFailed> {
//!         self.0.extend_from_slice(bytes);
//!         Ok(())
//!     }
//! }
//!
//! let now = Instant::ZERO;
//! let mut sink = Memory(Vec::new());
//! let mut log = AuditLog::new(NodeId(*b"ward-7-a"), &mut OsEntropy)?;
//! let mut queue = AuditQueue::default(); // of a backend: `backend.audit(now)`
//! queue.note(now, AuditEvent::Started { version: env!("CARGO_PKG_VERSION").into() });
//! queue.note(now, AuditEvent::Stopped {});
//! log.run(now, &mut queue, &mut sink, &mut OsEntropy)?;
//! log.checkpoint(now, &mut sink, &mut OsEntropy)?;
//!
//! let report = verify(&mut sink.0.as_slice(), None)?;
//! assert_eq!((report.entries, report.unsigned), (3, 0));
//! let word = sink.0.windows(8).position(|word| word == b"ward-7-a").unwrap();
//! sink.0[word] = b'W';
//! assert!(verify(&mut sink.0.as_slice(), None).is_err());
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Files
//! An [`AuditFile`] is closed, with a checkpoint, before it is longer than
//! [`AUDIT_FILE_LEN`](crate::limits::AUDIT_FILE_LEN), and the log goes on in another one, which begins with the last hash of the one
//! before. [`read_log`] and [`read_next`] verify them one behind the other, and so does `cargo run --example audit`.
//!
//! # What an auditor can verify
//! With the key in the first header, noted when the log was begun, or with a later one or a hash that the node told
//! somebody: that all entries up to the last checkpoint are as the node wrote them, in this order, and that no file
//! among them is missing, cut, replaced or out of its place.
//!
//! What he cannot see: that the end was cut off, at a checkpoint or behind it, and what was done to the entries behind the last
//! checkpoint. Who knows a later [`LogState::head`] from elsewhere sees that the end is missing. Nor does a log prove that the node
//! told the truth, or that its clock was right.
//!
//! # Privacy
//! No record, no value, no key and no network address is ever noted. A device stands there as its issuer and subject
//! id: a pseudonym of the device, and so, for who knows which patient wears it, of the patient. Treat a log as such data.
//! Operators stand there as numbers of the service, and what they did and why as codes of it: commands by their kind,
//! the reason of a break-glass by its code. There is no field for what people write, which might name a patient.

mod entry;
mod event;
mod fields;
#[cfg(feature = "std")]
mod file;
mod log;
mod queue;
mod show;
#[cfg(all(test, feature = "std"))]
mod tests;
mod verifier;

pub use entry::{Entry, Header, Kind, NodeId};
pub use event::AuditEvent;
pub use fields::{Count, Name, OperatorId};
#[cfg(feature = "std")]
pub use file::{AuditFile, FileError, SyncPolicy};
pub use log::{AuditError, AuditLog, AuditSink, LogState, SinkFailed, SyncPoint};
pub use queue::{AuditQueue, Noted};
pub use verifier::{Broken, Report, Step, Verifier, Why};
#[cfg(feature = "std")]
pub use verifier::{VerifyError, read_log, read_next, verify};
