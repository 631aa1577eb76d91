//! What the example backends share: the wall clock, handshakes computed at once, and a store in the process's memory.

#![allow(unreachable_pub, reason = "a part of programs")]

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};
use vitalwire::backend::{Backend, Batch, ClaimOutcome, Claims, Grant, Path, TicketClaim};
use vitalwire::crypto::Psk;
use vitalwire::delivery::Ledger;
use vitalwire::framing::{ClockQuality, WallReading};
use vitalwire::identity::{Identity, Scopes};
use vitalwire::{Duration, Instant, OsEntropy, UnixSeconds};

type Failure = Box<dyn std::error::Error>;

pub fn unix_seconds() -> Result<UnixSeconds, Failure> {
    Ok(UnixSeconds(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs()))
}

/// Reads the system's clock, and takes it for synchronised to 50 ms.
fn wall_time() -> Result<WallReading, Failure> {
    let unix_millis = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis().try_into()?;
    Ok(WallReading { unix_millis, quality: ClockQuality::Synchronised, error: Duration::from_millis(50) })
}

/// Tells the backend what time it is.
pub fn set_clocks<P: Path>(now: Instant, backend: &mut Backend<P>) -> Result<(), Failure> {
    backend.set_wall_clock(unix_seconds()?);
    backend.set_wall_time(now, wall_time()?);
    Ok(())
}

/// Computes the handshakes that are due. A service gives them to other threads.
pub fn run_handshakes<P: Path>(now: Instant, backend: &mut Backend<P>, rng: &mut OsEntropy) {
    while let Some(job) = backend.poll_handshake() {
        let done = job.run(rng);
        backend.handle_handshake(now, done);
    }
}

/// What a real service has in its database.
pub struct Store {
    ledgers: BTreeMap<Identity, Ledger>,
    claims: Claims,
}

impl Default for Store {
    fn default() -> Self {
        Self { ledgers: BTreeMap::new(), claims: Claims::new(1000) }
    }
}

impl Store {
    /// Lets a device in that the backend has authenticated.
    pub fn grant(&mut self, identity: Identity, psk: Option<Psk>) -> Grant {
        Grant {
            scopes: Scopes::PUBLISH | Scopes::COMMANDS,
            ledger: self.ledgers.entry(identity).or_default().clone(),
            psk,
            ticket_misused: self.claims.is_misused(&identity),
            ..Grant::default()
        }
    }

    pub fn claim(&mut self, claim: &TicketClaim) -> Result<ClaimOutcome, Failure> {
        Ok(self.claims.claim(unix_seconds()?, claim))
    }

    /// Applies a batch to its device's ledger. Bit n of what it returns stands for the n-th sequence of the batch: it was
    /// not there before. `None`: the batch is not to be committed.
    pub fn apply(&mut self, batch: &Batch<'_>) -> Option<u64> {
        let ledger = self.ledgers.entry(batch.identity()).or_default();
        for closed in batch.closed() {
            ledger.close(closed);
        }
        ledger.apply(&batch.mark()).ok()
    }
}
