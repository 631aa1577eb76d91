//! Records, ledgers and owners, in one transaction.

use crate::{StoreError, schema};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::path::Path;
use std::time::Duration;
use vitalwire::Instant;
use vitalwire::backend::Batch;
use vitalwire::delivery::{Ledger, StreamKey};
use vitalwire::framing::{BootTag, DescriptorSet, Lane, RecordBuf, SetHash};
use vitalwire::identity::Identity;

/// The durable half of a backend: one per [`Backend`](vitalwire::backend::Backend), that is per shard and process.
///
/// Several may have one file open, in one process or in several of one machine.
pub struct Store {
    pub(crate) connection: Connection,
    /// Names this run of this node.
    node: [u8; 16],
}

/// What a session starts with: both go into the [`Grant`](vitalwire::backend::Grant).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What is stored of this device.
    pub ledger: Ledger,
    /// The session's number: its first stored batch makes it the owner of the device's records.
    pub fence: u64,
}

/// What became of the records of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Records that were stored now.
    pub new: u32,
    /// Records that the ledger had already.
    pub repeats: u32,
    /// Records that the ledger did not have and the table did. The earlier one is kept. Never seen unless a device gives
    /// one id twice, or somebody writes to the tables.
    pub collisions: u32,
    /// The batch came with a descriptor set that contradicts an earlier one of the same boot: each record is stored
    /// with its own set, but the device is at fault and somebody should look at it.
    pub contradicting_set: bool,
}

/// A record as it was stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRecord {
    /// Counts up in the order in which records were stored, over all devices.
    pub id: i64,
    /// Its stream.
    pub stream: StreamKey,
    /// Its sequence there.
    pub sequence: u64,
    /// Its time, since the device's boot.
    pub time: Instant,
    /// What its channels mean: [`Store::descriptors`] has the set.
    pub set: SetHash,
    /// What it says.
    pub record: RecordBuf,
}

/// A device's row.
struct Row {
    device: i64,
    fence: u64,
    owner: Vec<u8>,
    ledger: Ledger,
}

impl Store {
    /// How long a call waits for another process that has the database.
    pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

    /// Opens a store, and makes it if there is no such file.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Foreign`] or [`StoreError::Version`] if the file is not a store of this
    /// version; and those of the file system.
    ///
    /// ```
    /// use vitalwire::identity::{Identity, IssuerId, SubjectId};
    /// use vitalwire_sqlite::Store;
    /// # let dir = tempfile::tempdir()?;
    /// let mut store = Store::open(dir.path().join("store.db"))?;
    /// let device = Identity { issuer: IssuerId([1; 8]), subject: SubjectId([2; 16]) };
    /// let opened = store.open_session(&device)?;
    /// assert_eq!(opened.ledger.streams().len(), 0, "nothing is known of it");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let mut node = [0u8; 16];
        getrandom::fill(&mut node).map_err(StoreError::Random)?;
        let mut connection = Connection::open(path)?;
        schema::prepare(&mut connection)?;
        Ok(Self { connection, node })
    }

    /// Reads what a session of this device starts with, for
    /// [`Backend::accept`](vitalwire::backend::Backend::accept). Changes nothing: whoever replays a device's Hello
    /// takes nothing away from its session.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the stored ledger is none; and those of the database. Refuse the device then.
    pub fn open_session(&mut self, identity: &Identity) -> Result<Opened, StoreError> {
        let row = find(&self.connection, identity)?;
        let (fence, ledger) = row.map_or((0, Ledger::default()), |row| (row.fence, row.ledger));
        Ok(Opened { ledger, fence: fence.saturating_add(1) })
    }

    /// Stores those records of a batch that are new, and the mark, in one transaction.
    ///
    /// When it returns `Ok`, records and mark are on the disk: commit the batch. Otherwise nothing has changed: release
    /// it. One exception remains with any database: a commit of which no word comes back. The records may be there then,
    /// and are recognised when they come again.
    ///
    /// # Errors
    /// [`StoreError::NotOwner`] if the batch's session has lost the device to another one: call
    /// [`Backend::disown`](vitalwire::backend::Backend::disown) instead of `release`.
    /// [`StoreError::Full`], [`StoreError::Busy`], and others of the database. [`StoreError::Ledger`].
    pub fn store(&mut self, batch: &Batch<'_>) -> Result<Stored, StoreError> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let stored = store_in(&tx, &self.node, batch)?;
        tx.commit()?;
        Ok(stored)
    }

    /// Stores several batches in one transaction: one wait for the disk, where [`Store::store`] has one for each.
    ///
    /// Returns what became of each, in their order. A batch that is refused by itself is the only one that is not
    /// stored.
    ///
    /// # Errors
    /// Those of the database; none is stored then. What concerns one batch only, [`StoreError::NotOwner`],
    /// [`StoreError::Ledger`] or [`StoreError::Json`], is in its place in the list.
    pub fn store_all(
        &mut self,
        batches: &[Batch<'_>],
    ) -> Result<Vec<Result<Stored, StoreError>>, StoreError> {
        let mut tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut all = Vec::with_capacity(batches.len());
        for batch in batches {
            let savepoint = tx.savepoint()?;
            match store_in(&savepoint, &self.node, batch) {
                Ok(stored) => {
                    savepoint.commit()?;
                    all.push(Ok(stored));
                }
                Err(error @ (StoreError::NotOwner | StoreError::Ledger(_) | StoreError::Json(_))) => {
                    savepoint.finish()?;
                    all.push(Err(error));
                }
                Err(error) => return Err(error),
            }
        }
        tx.commit()?;
        Ok(all)
    }

    /// Lists up to `limit` records of a device that were stored after the one with the id `after`; from the beginning
    /// with 0.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if what is stored is no record; and those of the database.
    pub fn records(
        &mut self,
        identity: &Identity,
        after: i64,
        limit: u32,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, boot, tag, lane, sequence, time, set_hash, record
             FROM records JOIN devices USING (device)
             WHERE issuer = ?1 AND subject = ?2 AND id > ?3 ORDER BY id LIMIT ?4",
        )?;
        let rows =
            statement.query_map(params![identity.issuer.0, identity.subject.0, after, limit], |row| {
                let key = (row.get(1)?, row.get(2)?, row.get(3)?);
                let (sequence, time): (i64, i64) = (row.get(4)?, row.get(5)?);
                Ok((row.get(0)?, key, sequence, time, SetHash(row.get(6)?), row.get::<_, String>(7)?))
            })?;
        let mut records = Vec::new();
        for row in rows {
            let (id, (boot, tag, lane), sequence, time, set, json) = row?;
            let lane = Lane::from_code(lane).ok_or_else(|| damaged("a record has no such lane"))?;
            let record =
                serde_json::from_str(&json).map_err(|error| StoreError::Corrupt(error.to_string()))?;
            let stream = StreamKey { boot, tag: BootTag(tag), lane };
            let time = Instant::from_millis(time.cast_unsigned());
            records.push(StoredRecord { id, stream, sequence: sequence.cast_unsigned(), time, set, record });
        }
        Ok(records)
    }

    /// Returns an encoded descriptor set, for [`DescriptorSet::parse`].
    ///
    /// # Errors
    /// Those of the database.
    pub fn descriptors(&mut self, set: SetHash) -> Result<Option<Vec<u8>>, StoreError> {
        descriptors(&self.connection, set)
    }

    /// Lists all descriptor sets: a backend that is given them with
    /// [`Backend::preload_descriptors`](vitalwire::backend::Backend::preload_descriptors) when it starts never asks a
    /// device for them again.
    ///
    /// # Errors
    /// Those of the database.
    pub fn descriptor_sets(&mut self) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut statement = self.connection.prepare("SELECT descriptors FROM descriptor_sets")?;
        Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
    }

    /// Lends the connection, for SQL of your own: other questions, other tables in the same file, a backup, limits.
    ///
    /// Records may be deleted as retention wants it: the ledger alone tells what was stored. What stands in `devices`
    /// is not to be touched.
    pub const fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

fn damaged(what: &str) -> StoreError {
    StoreError::Corrupt(what.into())
}

fn encode(ledger: &Ledger) -> Result<Vec<u8>, StoreError> {
    postcard::to_allocvec(ledger).map_err(|_| damaged("a ledger cannot be encoded"))
}

fn find(connection: &Connection, identity: &Identity) -> Result<Option<Row>, StoreError> {
    let row = connection
        .prepare_cached(
            "SELECT device, fence, owner, ledger FROM devices WHERE issuer = ?1 AND subject = ?2",
        )?
        .query_row(params![identity.issuer.0, identity.subject.0], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get(2)?, row.get::<_, Vec<u8>>(3)?))
        })
        .optional()?;
    let Some((device, fence, owner, ledger)) = row else { return Ok(None) };
    match postcard::take_from_bytes(&ledger) {
        Ok((ledger, [])) => Ok(Some(Row { device, fence: fence.cast_unsigned(), owner, ledger })),
        _ => Err(damaged("a stored ledger is none")),
    }
}

/// Stores a batch inside a transaction, which is to be rolled back if this fails.
fn store_in(tx: &Connection, node: &[u8; 16], batch: &Batch<'_>) -> Result<Stored, StoreError> {
    let (identity, fence, mark) = (batch.identity(), batch.fence(), batch.mark());
    let mut row = match find(tx, &identity)? {
        Some(row) => row,
        None => insert_device(tx, &identity)?,
    };
    let owns = row.fence == fence && row.owner == node;
    let may_own = row.fence.checked_add(1) == Some(fence);
    if !owns && !may_own {
        return Err(StoreError::NotOwner);
    }
    for closed in batch.closed() {
        row.ledger.close(closed);
    }
    let new = row.ledger.apply(&mark)?;
    let mut stored = Stored { repeats: (mark.mask & !new).count_ones(), ..Stored::default() };
    if new != 0 {
        stored.contradicting_set = store_set(tx, row.device, batch)?;
        insert_records(tx, row.device, batch, new, &mut stored)?;
    }
    // Compare and swap: whoever read the row before this transaction has not missed anything.
    let changed = tx
        .prepare_cached(
            "UPDATE devices SET fence = ?1, owner = ?2, ledger = ?3 WHERE device = ?4 AND fence = ?5 AND owner = ?6",
        )?
        .execute(params![
            fence.cast_signed(),
            node,
            encode(&row.ledger)?,
            row.device,
            row.fence.cast_signed(),
            row.owner
        ])?;
    if changed == 1 { Ok(stored) } else { Err(StoreError::NotOwner) }
}

fn insert_device(tx: &Connection, identity: &Identity) -> Result<Row, StoreError> {
    let ledger = Ledger::default();
    tx.prepare_cached(
        "INSERT INTO devices (issuer, subject, fence, owner, ledger) VALUES (?1, ?2, 0, x'', ?3)",
    )?
    .execute(params![identity.issuer.0, identity.subject.0, encode(&ledger)?])?;
    Ok(Row { device: tx.last_insert_rowid(), fence: 0, owner: Vec::new(), ledger })
}

fn descriptors(connection: &Connection, set: SetHash) -> Result<Option<Vec<u8>>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT descriptors FROM descriptor_sets WHERE set_hash = ?1")?;
    Ok(statement.query_row([set.0], |row| row.get(0)).optional()?)
}

/// Stores the batch's descriptor set and notes it as its boot's, if it is larger than the one before; tells whether the
/// two contradict each other.
fn store_set(tx: &Connection, device: i64, batch: &Batch<'_>) -> Result<bool, StoreError> {
    let (stream, set) = (batch.stream(), batch.descriptors());
    let known = tx
        .prepare_cached("SELECT set_hash FROM boots WHERE device = ?1 AND boot = ?2 AND tag = ?3")?
        .query_row(params![device, stream.boot, stream.tag.0], |row| row.get(0).map(SetHash))
        .optional()?;
    if known == Some(set.hash()) {
        return Ok(false);
    }
    tx.prepare_cached("INSERT OR IGNORE INTO descriptor_sets (set_hash, descriptors) VALUES (?1, ?2)")?
        .execute(params![set.hash().0, set.as_bytes()])?;
    if let Some(known) = known {
        let bytes = descriptors(tx, known)?.ok_or_else(|| damaged("a descriptor set is missing"))?;
        let known = DescriptorSet::parse(&bytes).map_err(|_| damaged("a descriptor set is none"))?;
        if !set.set().extends(&known) {
            return Ok(!known.extends(&set.set()));
        }
    }
    tx.prepare_cached("INSERT OR REPLACE INTO boots (device, boot, tag, set_hash) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![device, stream.boot, stream.tag.0, set.hash().0])?;
    Ok(false)
}

/// Inserts those records whose bit is in `new`.
fn insert_records(
    tx: &Connection,
    device: i64,
    batch: &Batch<'_>,
    new: u64,
    stored: &mut Stored,
) -> Result<(), StoreError> {
    let (StreamKey { boot, tag, lane }, first) = (batch.stream(), batch.mark().first);
    let mut insert = tx.prepare_cached(
        "INSERT INTO records (device, boot, tag, lane, sequence, time, set_hash, record)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
    )?;
    let set = batch.descriptors().hash();
    for record in batch.records().filter(|record| new >> (record.sequence - first) & 1 == 1) {
        let json = serde_json::to_string(&record.record)?;
        let (sequence, time) = (record.sequence.cast_signed(), record.time.as_millis().cast_signed());
        let changed =
            insert.execute(params![device, boot, tag.0, lane.code(), sequence, time, set.0, json])?;
        if changed == 1 {
            stored.new += 1;
        } else {
            stored.collisions += 1;
        }
    }
    Ok(())
}
