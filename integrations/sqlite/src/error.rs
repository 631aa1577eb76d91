use rusqlite::ErrorCode;
use vitalwire::delivery::LedgerError;

/// Why the store did not do something; it has changed nothing then.
///
/// A batch that could not be stored is to be released: [`Backend::release`](vitalwire::backend::Backend::release). The
/// device keeps its records and sends them again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another session has become the owner of this device's records: disown the batch.
    #[error("another session owns this device's records")]
    NotOwner,
    /// The device's ledger cannot take the batch. Only a device that breaks the protocol comes to this.
    #[error("the device's ledger does not take the batch: {0}")]
    Ledger(#[from] LedgerError),
    /// The disk, or the space that the database may take, is full.
    #[error("there is no space for the database to grow")]
    Full,
    /// Another process held the database for more than [`Store::BUSY_TIMEOUT`](crate::Store::BUSY_TIMEOUT).
    #[error("the database is busy")]
    Busy,
    /// The file is damaged, or is no database.
    #[error("the database is damaged: {0}")]
    Corrupt(String),
    /// The file is the database of another application.
    #[error("the file is the database of another application")]
    Foreign,
    /// The file was written by another version of this crate.
    #[error("the database has the schema version {found}, and this program knows {known}")]
    Version {
        /// What the file has.
        found: i64,
        /// What this version knows.
        known: i64,
    },
    /// A ticket is to be claimed that has expired.
    #[error("the ticket has expired")]
    Expired,
    /// A record could not be written as JSON.
    #[error("a record could not be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The operating system gave no random bytes.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
    /// Whatever else SQLite says: an unreadable directory, a disk that fails.
    #[error("SQLite: {0}")]
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt(error.to_string()),
            _ => Self::Sqlite(error),
        }
    }
}
