//! The ward's database: what is stored of each device, and the thread that stores.

use crate::capture::Capture;
use crate::cast::TODAY;
use crate::clock::Clock;
use crate::relay::Dice;
use crate::signals::Fact;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration as Wall;
use vitalwire::backend::{BatchRef, ClaimOutcome, Claims, OwnedBatch, TicketClaim};
use vitalwire::delivery::Ledger;
use vitalwire::framing::{Lane, encode_record};
use vitalwire::identity::Identity;
use vitalwire::limits::MAX_RECORD;
use vitalwire::{Duration, Instant};

/// What is stored of one device: records, and in the same transaction the marks that make it exactly once.
#[derive(Debug, Default)]
pub struct Chart {
    ledger: Ledger,
    pub stored: Vec<Stored>,
    /// Records that came again though they were stored.
    pub repeats: u64,
}

/// One record, as it was stored.
#[derive(Clone, Debug)]
pub struct Stored {
    pub boot: u32,
    pub lane: Lane,
    pub sequence: u64,
    pub at: Instant,
    pub fact: Fact,
    /// What the record takes in a batch, without the difference of its time.
    pub bytes: u64,
}

/// The database of the ward.
#[derive(Debug)]
pub struct Charts {
    charts: Mutex<BTreeMap<Identity, Chart>>,
    /// The tickets that were used.
    claims: Mutex<Claims>,
    /// The revocation list in force, for the next backend.
    list: Mutex<Option<Vec<u8>>>,
    pub stored: AtomicU64,
    pub failed: AtomicU64,
}

/// Claims that are kept, at the most.
const CLAIMS: usize = 100_000;

impl Default for Charts {
    fn default() -> Self {
        Self {
            charts: Mutex::default(),
            claims: Mutex::new(Claims::new(CLAIMS)),
            list: Mutex::default(),
            stored: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }
}

impl Charts {
    /// One transaction: is the ticket used for the first time?
    pub fn claim(&self, claim: &TicketClaim) -> ClaimOutcome {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner).claim(TODAY, claim)
    }

    /// A thread that panicked while it stored has stored nothing: the chart is whole.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Identity, Chart>> {
        self.charts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known to be stored of a device, to be handed to the backend when it lets the device in.
    pub fn ledger(&self, identity: &Identity) -> Ledger {
        self.lock().get(identity).map(|chart| chart.ledger.clone()).unwrap_or_default()
    }

    /// One transaction: the records that are new, and the mark.
    fn store(&self, now: Instant, batch: &OwnedBatch) -> Result<(), String> {
        let batch = batch.as_batch();
        let mark = batch.mark();
        let mut charts = self.lock();
        let chart = charts.entry(batch.identity()).or_default();
        batch.closed().iter().for_each(|closed| chart.ledger.close(closed));
        let new = chart.ledger.apply(&mark).map_err(text)?;
        let set = batch.descriptors().set();
        for record in batch.records() {
            let lane = mark.stream.lane;
            if new >> (record.sequence - mark.first) & 1 == 0 {
                chart.repeats += 1;
                continue;
            }
            let fact = Fact::of(lane, record.time, &record.record);
            // a block that was decoded is copied as it came, so this is what lay in the packet
            let mut bytes = [0; MAX_RECORD];
            let bytes = encode_record(&record.record, &set, &mut bytes).map_err(text)? as u64;
            chart.stored.push(Stored {
                boot: mark.stream.boot,
                lane,
                sequence: record.sequence,
                at: now,
                fact,
                bytes,
            });
            self.stored.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Keeps a revocation list, in the place of the one before.
    pub fn keep_list(&self, list: &[u8]) {
        *self.list.lock().unwrap_or_else(PoisonError::into_inner) = Some(list.to_vec());
    }

    /// Returns the revocation list that was kept.
    pub fn list(&self) -> Option<Vec<u8>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Hands out everything at the end.
    pub fn take(&self) -> BTreeMap<Identity, Chart> {
        std::mem::take(&mut *self.lock())
    }
}

/// What belongs to one life of the backend: what it asked for before it died is of no use to the next one.
pub type OfLife<T> = (u32, T);

/// What the store tells the backend.
#[derive(Clone, Copy, Debug)]
pub enum Verdict {
    Stored(BatchRef),
    Failed(BatchRef),
}

/// Stores after up to 500 ms, hence not in the order of arrival, and fails in one case of a hundred.
pub fn store(
    charts: &Charts,
    clock: Clock,
    seed: u64,
    mut capture: Option<Capture>,
    batches: &Receiver<OfLife<OwnedBatch>>,
    verdicts: &Sender<OfLife<Verdict>>,
) -> Result<(), String> {
    let mut dice = Dice::new(seed ^ 0x5707_a9e5);
    let mut waiting: BTreeMap<(Instant, u64), OfLife<OwnedBatch>> = BTreeMap::new();
    let mut number = 0;
    loop {
        let due = waiting.keys().next().map(|(due, _)| *due);
        match batches.recv_timeout(clock.wait(due, Wall::ZERO, Wall::from_millis(50))) {
            Ok(batch) => {
                number += 1;
                let due = clock.now() + Duration::from_millis(dice.below(500));
                waiting.insert((due, number), batch);
            }
            Err(RecvTimeoutError::Timeout) => {}
            // The backend has ended: so has this.
            Err(RecvTimeoutError::Disconnected) => return capture.map_or(Ok(()), Capture::finish),
        }
        let now = clock.now();
        while let Some(entry) = waiting.first_entry().filter(|entry| entry.key().0 <= now) {
            let (life, batch) = entry.remove();
            let verdict = if dice.percent(1) {
                charts.failed.fetch_add(1, Ordering::Relaxed);
                Verdict::Failed(batch.handle())
            } else {
                charts.store(now, &batch)?;
                if let Some(capture) = &mut capture {
                    capture.write(&batch.as_batch())?;
                }
                Verdict::Stored(batch.handle())
            };
            if verdicts.send((life, verdict)).is_err() {
                return capture.map_or(Ok(()), Capture::finish);
            }
        }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
