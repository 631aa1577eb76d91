//! Resumption tickets, each used once on all nodes together.

use crate::{Store, StoreError};
use rusqlite::{OptionalExtension, TransactionBehavior, params};
use vitalwire::UnixSeconds;

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// Nobody has used the ticket before: go on.
    New,
    /// The same Hello has claimed it, on this node or another: answer it afresh.
    Same,
    /// Another Hello has claimed it: the ticket was stolen, or used twice. Refuse.
    Other,
}

impl Store {
    /// Claims a ticket for a Hello, in one step for all nodes.
    ///
    /// `ticket` is its id of 16 bytes, `hello` the hash of the Hello, `now` this node's clock, `expires` when the ticket
    /// dies: from then on the claim may be forgotten, so a ticket that has expired is refused here too.
    ///
    /// # Errors
    /// [`StoreError::Expired`]; [`StoreError::Busy`] and the others mean that nothing is known of the ticket: refuse it.
    ///
    /// ```
    /// use vitalwire::UnixSeconds;
    /// use vitalwire_sqlite::{Claim, Store};
    /// # let dir = tempfile::tempdir()?;
    /// let path = dir.path().join("store.db");
    /// let (mut store, now, expires) = (Store::open(path)?, UnixSeconds(1_000), UnixSeconds(2_000));
    /// assert_eq!(store.claim_ticket(&[7; 16], &[1; 32], now, expires)?, Claim::New);
    /// assert_eq!(store.claim_ticket(&[7; 16], &[1; 32], now, expires)?, Claim::Same);
    /// assert_eq!(store.claim_ticket(&[7; 16], &[2; 32], now, expires)?, Claim::Other);
    /// assert!(store.claim_ticket(&[7; 16], &[1; 32], expires, expires).is_err(), "it has expired");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn claim_ticket(
        &mut self,
        ticket: &[u8; 16],
        hello: &[u8; 32],
        now: UnixSeconds,
        expires: UnixSeconds,
    ) -> Result<Claim, StoreError> {
        if expires.0 <= now.0 {
            return Err(StoreError::Expired);
        }
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let known = tx
            .prepare_cached("SELECT hello FROM claims WHERE ticket = ?1")?
            .query_row([ticket], |row| row.get::<_, Vec<u8>>(0))
            .optional()?;
        if let Some(known) = known {
            return Ok(if known == hello { Claim::Same } else { Claim::Other });
        }
        tx.prepare_cached("INSERT INTO claims (ticket, hello, expires) VALUES (?1, ?2, ?3)")?
            .execute(params![ticket, hello, expires.0.cast_signed()])?;
        tx.commit()?;
        Ok(Claim::New)
    }

    /// Forgets the claims of tickets that have expired, and returns how many these were. `now` is the clock by which
    /// tickets are judged; give it some minutes less where the clocks of the nodes differ.
    ///
    /// # Errors
    /// Those of the database.
    pub fn forget_expired(&mut self, now: UnixSeconds) -> Result<usize, StoreError> {
        Ok(self.connection.execute("DELETE FROM claims WHERE expires <= ?1", [now.0.cast_signed()])?)
    }
}
