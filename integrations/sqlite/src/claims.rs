//! Resumption tickets, each used once on all nodes together.

use crate::{Store, StoreError};
use rusqlite::{OptionalExtension, TransactionBehavior, params};
use vitalwire::UnixSeconds;
use vitalwire::backend::{ClaimOutcome, TicketClaim};
use vitalwire::identity::Identity;

impl Store {
    /// Claims a ticket for a Hello, in one step for all nodes: hand the outcome to `Backend::claimed`. `now` is this
    /// node's clock.
    ///
    /// Once a ticket was claimed with two Hellos, every ticket of the device with its origin or an earlier one is
    /// [`ClaimOutcome::Other`], also the one that came first: that may have been the thief's.
    ///
    /// # Errors
    /// [`StoreError::Expired`]: the claim may be forgotten by now. [`StoreError::Busy`] and the others mean that nothing is
    /// known of the ticket. All are [`ClaimOutcome::Unavailable`] to the backend.
    ///
    /// ```
    /// use vitalwire::UnixSeconds;
    /// use vitalwire::backend::{ClaimOutcome, TicketClaim};
    /// use vitalwire::handshake::TicketId;
    /// use vitalwire::identity::{Identity, IssuerId, SubjectId};
    /// use vitalwire_sqlite::Store;
    /// # let dir = tempfile::tempdir()?;
    /// let path = dir.path().join("store.db");
    /// let (mut store, now) = (Store::open(path)?, UnixSeconds(1_000));
    /// let claim = TicketClaim {
    ///     identity: Identity { issuer: IssuerId([1; 8]), subject: SubjectId([2; 16]) },
    ///     id: TicketId([7; 16]),
    ///     hello: [1; 32],
    ///     origin: UnixSeconds(900),
    ///     expires: UnixSeconds(2_000),
    ///     serial: 1,
    ///     revocation: 0,
    /// };
    /// assert_eq!(store.claim_ticket(&claim, now)?, ClaimOutcome::New);
    /// assert_eq!(store.claim_ticket(&claim, now)?, ClaimOutcome::Same);
    /// assert_eq!(store.claim_ticket(&TicketClaim { hello: [2; 32], ..claim }, now)?, ClaimOutcome::Other);
    /// assert_eq!(store.claim_ticket(&claim, now)?, ClaimOutcome::Other);
    /// assert!(store.is_ticket_misused(&claim.identity)?);
    /// assert!(store.claim_ticket(&claim, claim.expires).is_err(), "it has expired");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn claim_ticket(
        &mut self,
        claim: &TicketClaim,
        now: UnixSeconds,
    ) -> Result<ClaimOutcome, StoreError> {
        if claim.expires.0 <= now.0 {
            return Err(StoreError::Expired);
        }
        let (issuer, subject) = (claim.identity.issuer.0, claim.identity.subject.0);
        let (origin, expires) = (claim.origin.0.cast_signed(), claim.expires.0.cast_signed());
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let void = tx
            .prepare_cached("SELECT 1 FROM void_tickets WHERE issuer = ?1 AND subject = ?2 AND origin >= ?3")?
            .exists(params![issuer, subject, origin])?;
        let known = tx
            .prepare_cached("SELECT hello FROM claims WHERE ticket = ?1")?
            .query_row([claim.id.0], |row| row.get::<_, Vec<u8>>(0))
            .optional()?;
        let outcome = match known {
            _ if void => ClaimOutcome::Other,
            Some(known) if known == claim.hello => ClaimOutcome::Same,
            Some(_) => ClaimOutcome::Other,
            None => ClaimOutcome::New,
        };
        if outcome == ClaimOutcome::New {
            tx.prepare_cached("INSERT INTO claims (ticket, hello, expires) VALUES (?1, ?2, ?3)")?
                .execute(params![claim.id.0, claim.hello, expires])?;
            // It has a ticket of a later origin, so it has read what came with that.
            tx.prepare_cached("UPDATE void_tickets SET told = 1 WHERE issuer = ?1 AND subject = ?2")?
                .execute(params![issuer, subject])?;
        } else if outcome == ClaimOutcome::Other && !void {
            tx.prepare_cached(
                "INSERT INTO void_tickets (issuer, subject, origin, expires, told) VALUES (?1, ?2, ?3, ?4, 0)
                 ON CONFLICT DO UPDATE SET origin = ?3, expires = max(expires, ?4), told = 0",
            )?
            .execute(params![issuer, subject, origin, expires])?;
        }
        tx.commit()?;
        Ok(outcome)
    }

    /// Tells whether a ticket of the device was misused, and it has not shown yet that it knows: for
    /// `Grant::ticket_misused`.
    ///
    /// # Errors
    /// Those of the database.
    pub fn is_ticket_misused(&mut self, identity: &Identity) -> Result<bool, StoreError> {
        let mut query = self
            .connection
            .prepare_cached("SELECT 1 FROM void_tickets WHERE issuer = ?1 AND subject = ?2 AND told = 0")?;
        Ok(query.exists(params![identity.issuer.0, identity.subject.0])?)
    }

    /// Forgets the claims of tickets that have expired, and returns how many these were. `now` is the clock by which
    /// tickets are judged; a claim's end allows already for the nodes' clocks to differ by 300 s.
    ///
    /// # Errors
    /// Those of the database.
    pub fn forget_expired(&mut self, now: UnixSeconds) -> Result<usize, StoreError> {
        let now = now.0.cast_signed();
        self.connection.execute("DELETE FROM void_tickets WHERE expires <= ?1 AND told = 1", [now])?;
        Ok(self.connection.execute("DELETE FROM claims WHERE expires <= ?1", [now])?)
    }
}
