//! The tables, and how a file becomes a store.

use crate::{Store, StoreError};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The version of the tables, in SQLite's `user_version`.
pub(crate) const VERSION: i64 = 1;
/// Marks a file as a store, in SQLite's `application_id`: "vwst".
const APPLICATION: i64 = 0x7677_7374;

/// Numbers of 64 bits (sequence, time, fence) are kept as SQLite's signed ones, bit by bit.
const TABLES: &str = "
CREATE TABLE devices (
    device INTEGER PRIMARY KEY,
    issuer BLOB NOT NULL,
    subject BLOB NOT NULL,
    fence INTEGER NOT NULL,      -- of the session that owns the row; only grows
    owner BLOB NOT NULL,         -- the run of a node that has this session
    ledger BLOB NOT NULL,        -- vitalwire::delivery::Ledger, in postcard
    UNIQUE (issuer, subject)
) STRICT;
CREATE TABLE descriptor_sets (
    set_hash BLOB PRIMARY KEY,
    descriptors BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE boots (
    device INTEGER NOT NULL REFERENCES devices,
    boot INTEGER NOT NULL,
    tag BLOB NOT NULL,
    set_hash BLOB NOT NULL REFERENCES descriptor_sets,  -- the largest set of the boot
    PRIMARY KEY (device, boot, tag)
) STRICT, WITHOUT ROWID;
CREATE TABLE records (
    id INTEGER PRIMARY KEY,      -- the order in which they were stored
    device INTEGER NOT NULL REFERENCES devices,
    boot INTEGER NOT NULL,
    tag BLOB NOT NULL,
    lane INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    time INTEGER NOT NULL,       -- milliseconds since the device's boot
    set_hash BLOB NOT NULL REFERENCES descriptor_sets,
    record TEXT NOT NULL,        -- JSON
    UNIQUE (device, boot, tag, lane, sequence)
) STRICT;
CREATE TABLE claims (
    ticket BLOB PRIMARY KEY,
    hello BLOB NOT NULL,
    expires INTEGER NOT NULL     -- seconds since 1970
) STRICT, WITHOUT ROWID;
CREATE TABLE void_tickets (
    issuer BLOB NOT NULL,
    subject BLOB NOT NULL,
    origin INTEGER NOT NULL,     -- tickets of this one and earlier ones are void, seconds since 1970
    expires INTEGER NOT NULL,
    told INTEGER NOT NULL,       -- the device knows
    PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX claims_by_expiry ON claims (expires);
";

/// Makes the tables in a new file, or checks those that are there.
///
/// SQLite does not wait where two connections would block each other, as when several make the file and change its journal
/// mode at once: it says busy, whatever the time-out. So it is tried again.
pub(crate) fn prepare(connection: &mut Connection) -> Result<(), StoreError> {
    let deadline = Instant::now() + Store::BUSY_TIMEOUT;
    loop {
        match try_prepare(connection) {
            Err(StoreError::Busy) if Instant::now() < deadline => sleep(Duration::from_millis(5)),
            other => return other,
        }
    }
}

fn try_prepare(connection: &mut Connection) -> Result<(), StoreError> {
    connection.busy_timeout(Store::BUSY_TIMEOUT)?;
    let number = |tx: &Transaction<'_>, sql: &str| tx.query_row(sql, [], |row| row.get::<_, i64>(0));
    // Looked at first: nothing of another application's database is changed, not even its journal mode.
    let tx = Transaction::new(connection, TransactionBehavior::Immediate)?;
    let application = number(&tx, "PRAGMA application_id")?;
    let found = number(&tx, "PRAGMA user_version")?;
    let tables = number(&tx, "SELECT count(*) FROM sqlite_schema")?;
    match (application, found, tables) {
        (APPLICATION, VERSION, _) => {}
        (APPLICATION, found, _) => return Err(StoreError::Version { found, known: VERSION }),
        (0, 0, 0) => {
            tx.execute_batch(TABLES)?;
            tx.pragma_update(None, "application_id", APPLICATION)?;
            tx.pragma_update(None, "user_version", VERSION)?;
        }
        _ => return Err(StoreError::Foreign),
    }
    tx.commit()?;
    // A commit is on the disk when it returns; readers and the writer do not wait for each other.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(())
}
