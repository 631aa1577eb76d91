//! An SQLite store for services that speak [`vitalwire`]: each record exactly once, over crashes, restarts, reboots of
//! devices and several nodes.
//!
//! The library hands a service batches of records, and a mark with each. [`Store`] keeps records and mark in one
//! transaction, and with them who serves the device. It knows nothing of packets and sessions.
//!
//! ```text
//! BackendEvent::Pending ─► Store::open_session ─ ledger, fence ─► Grant ─► Backend::accept
//! Received::Batch ───────► Store::store ─ Ok ──────────────────► Backend::commit     (the device hears of it)
//!                                       └ Err ─────────────────► Backend::release    (it comes again)
//!                                       └ Err(NotOwner) ───────► Backend::disown      (and its session ends)
//! ```
//!
//! `examples/loopback.rs` has this loop in full. README.md says what is exactly once and what is not.

mod claims;
mod error;
mod schema;
mod store;

pub use error::StoreError;
pub use store::{Opened, Store, Stored, StoredRecord};

/// The SQLite binding whose connection [`Store::connection`] lends.
pub use rusqlite;
