//! The backend's application: decides, stores, commits, and knows what every record must be.

use crate::kit::{Rng, number_of};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use vitalwire::backend::*;
use vitalwire::delivery::{Ledger, Mark, StreamKey};
use vitalwire::framing::{Lane, Record, SetHash};
use vitalwire::identity::{Identity, Scopes};
use vitalwire::{CloseReason, Instant, UnixSeconds};

/// How the application behaves; delays in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) accept: Answer,
    pub(crate) accept_delay: (u64, u64),
    pub(crate) commit_delay: (u64, u64),
    pub(crate) commits: bool,
    /// Whether it commits anything but alarms.
    pub(crate) bulk: bool,
    /// Share of the batches that fail to be stored.
    pub(crate) release: f64,
    pub(crate) scopes: Scopes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Accept,
    Refuse,
    Never,
}

impl Policy {
    pub(crate) const PROMPT: Self = Self {
        accept: Answer::Accept,
        accept_delay: (0, 0),
        commit_delay: (0, 0),
        commits: true,
        bulk: true,
        release: 0.0,
        scopes: Scopes::PUBLISH,
    };
    pub(crate) const SLOW: Self =
        Self { accept_delay: (0, 400), commit_delay: (0, 500), release: 0.02, ..Self::PROMPT };
}

pub(crate) type RecordId = (usize, StreamKey, u64);

/// What the devices have accepted and the application has stored.
#[derive(Default)]
pub(crate) struct Store {
    /// Content of every accepted record, by device, lane and sequence.
    pub(crate) expected: BTreeMap<(usize, Lane, u64), String>,
    /// How many samples every device has accepted.
    pub(crate) samples: BTreeMap<usize, u64>,
    /// What gap records that were stored name, by device and lane.
    pub(crate) gaps: Vec<(usize, Lane, Range<u64>)>,
    pub(crate) stored: BTreeMap<RecordId, String>,
    outstanding: BTreeSet<RecordId>,
    pub(crate) ledgers: BTreeMap<Identity, Ledger>,
    /// The descriptor sets that came with the batches, and which set each batch of a device had.
    pub(crate) sets: BTreeMap<SetHash, Vec<u8>>,
    pub(crate) set_of: BTreeMap<RecordId, SetHash>,
    /// Records delivered that were stored or outstanding already.
    pub(crate) repeats: usize,
}

/// Work that the application does later.
#[derive(Debug)]
pub(crate) enum Task {
    Accept(PendingId, Identity),
    Claim(PendingId, TicketClaim),
    Commit(BatchRef, Mark, Vec<(u64, String)>, usize),
    Release(BatchRef, Mark, usize),
}

impl Task {
    /// Whose batch it is about.
    pub(crate) const fn device(&self) -> Option<usize> {
        match self {
            Self::Accept(..) | Self::Claim(..) => None,
            Self::Commit(.., number) | Self::Release(.., number) => Some(*number),
        }
    }
}

pub(crate) struct App {
    pub(crate) policy: Policy,
    pub(crate) store: Store,
    pub(crate) tasks: Vec<(Instant, Task)>,
    pub(crate) psks: BTreeMap<usize, u8>,
    /// The claims that all nodes share.
    pub(crate) claims: Claims,
    pub(crate) claims_down: bool,
    pub(crate) claimed: Vec<(TicketClaim, ClaimOutcome)>,
    pub(crate) clock: UnixSeconds,
    /// Batches that came in Hellos.
    pub(crate) early: usize,
    /// Streams that came as closed with a batch.
    pub(crate) closed: Vec<vitalwire::delivery::StreamKey>,
    rng: Rng,
}

impl App {
    pub(crate) fn new(seed: u64, policy: Policy) -> Self {
        let rng = Rng::new(seed ^ 0xa99);
        Self {
            policy,
            store: Store::default(),
            tasks: Vec::new(),
            psks: BTreeMap::new(),
            claims: Claims::new(10_000),
            claims_down: false,
            claimed: Vec::new(),
            clock: crate::kit::CLOCK,
            early: 0,
            closed: Vec::new(),
            rng,
        }
    }

    pub(crate) fn resuming(&mut self, now: Instant, pending: PendingId, claim: TicketClaim) {
        if self.policy.accept != Answer::Never {
            let due = now + self.rng.between(self.policy.accept_delay);
            self.tasks.push((due, Task::Claim(pending, claim)));
        }
    }

    pub(crate) fn pending(&mut self, now: Instant, pending: PendingId, identity: Identity) {
        if self.policy.accept != Answer::Never {
            let due = now + self.rng.between(self.policy.accept_delay);
            self.tasks.push((due, Task::Accept(pending, identity)));
        }
    }

    /// Takes a batch from the sink: checks that it is fresh and that every record is what its device accepted.
    pub(crate) fn batch(&mut self, now: Instant, batch: &Batch<'_>) {
        let (number, mark) = (number_of(&batch.identity()), batch.mark());
        let mut records = Vec::new();
        for record in batch.records() {
            let id = (number, mark.stream, record.sequence);
            let content = content(number, record.time, &record.record);
            let expected = self.store.expected.get(&(number, mark.stream.lane, record.sequence));
            let gap = matches!(record.record, Record::Gap(_));
            assert!(expected.is_some() || gap, "foreign: {id:?}");
            let expected = expected.unwrap_or(&content);
            assert!(
                *expected == content || expected == "wave" && content.starts_with("wave"),
                "altered: {id:?}"
            );
            if !self.store.outstanding.insert(id) || self.store.stored.contains_key(&id) {
                self.store.repeats += 1;
            }
            self.store.set_of.insert(id, batch.descriptors().hash());
            records.push((record.sequence, content));
        }
        self.closed.extend(batch.closed().iter().map(|closed| closed.stream));
        let set = batch.descriptors();
        self.store.sets.entry(set.hash()).or_insert_with(|| set.as_bytes().to_vec());
        assert!(!records.is_empty(), "an empty batch was delivered");
        let owned = batch.to_owned();
        assert!(owned.as_batch().records().eq(batch.records()), "a copied batch differs");
        if !self.policy.commits || !self.policy.bulk && mark.stream.lane != Lane::Alarm {
            return;
        }
        let due = now + self.rng.between(self.policy.commit_delay);
        let task = if self.rng.chance(self.policy.release) {
            Task::Release(batch.handle(), mark, number)
        } else {
            Task::Commit(batch.handle(), mark, records, number)
        };
        self.tasks.push((due, task));
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.tasks.iter().map(|(due, _)| *due).min()
    }

    /// Does what is due, not in the order in which it came.
    pub(crate) fn run(&mut self, now: Instant, backend: &mut Backend<u64>) {
        while let Some(at) = self.tasks.iter().rposition(|(due, _)| *due <= now) {
            match self.tasks.swap_remove(at).1 {
                Task::Accept(pending, identity) => self.decide(now, pending, identity, backend),
                Task::Claim(pending, claim) => self.claim(now, pending, claim, backend),
                Task::Commit(batch, mark, records, number) => {
                    self.store(mark, records, number);
                    let _: Committed = backend.commit(now, batch);
                }
                Task::Release(batch, mark, number) => {
                    for sequence in sequences(&mark) {
                        self.store.outstanding.remove(&(number, mark.stream, sequence));
                    }
                    backend.release(now, batch);
                }
            }
        }
    }

    fn decide(&mut self, now: Instant, pending: PendingId, identity: Identity, backend: &mut Backend<u64>) {
        if self.policy.accept == Answer::Refuse {
            let _ = backend.refuse(now, pending, CloseReason::Refused);
            return;
        }
        let grant = self.grant(identity);
        let _ = backend.accept(now, pending, grant);
    }

    fn grant(&self, identity: Identity) -> Grant {
        Grant {
            scopes: self.policy.scopes,
            ledger: self.store.ledgers.get(&identity).cloned().unwrap_or_default(),
            psk: self.psks.get(&number_of(&identity)).map(|&number| crate::kit::psk(number)),
            ticket_misused: self.claims.is_misused(&identity),
            ..Grant::default()
        }
    }

    fn claim(&mut self, now: Instant, pending: PendingId, claim: TicketClaim, backend: &mut Backend<u64>) {
        if self.policy.accept == Answer::Refuse {
            let _ = backend.refuse(now, pending, CloseReason::Refused);
            return;
        }
        let outcome = match self.claims_down {
            true => ClaimOutcome::Unavailable,
            false => self.claims.claim(self.clock, &claim),
        };
        self.claimed.push((claim, outcome));
        let grant = self.grant(claim.identity);
        let _ = backend.claimed(now, pending, outcome, grant);
    }

    /// One transaction: the records, and the mark.
    fn store(&mut self, mark: Mark, records: Vec<(u64, String)>, number: usize) {
        let identity = self.store.ledgers.keys().find(|id| number_of(id) == number).copied();
        let issuer = identity.map_or(vitalwire::identity::IssuerId([0; 8]), |id| id.issuer);
        let identity = identity.unwrap_or(Identity { issuer, subject: crate::kit::subject(number) });
        let ledger = self.store.ledgers.entry(identity).or_default();
        let fresh = ledger.apply(&mark).unwrap();
        for (sequence, content) in records {
            let id = (number, mark.stream, sequence);
            self.store.outstanding.remove(&id);
            if fresh >> (sequence - mark.first) & 1 == 1 {
                if let Some(range) = content.strip_prefix("gap ") {
                    let (first, end) = range.split_once(' ').unwrap();
                    let range = first.parse().unwrap()..end.parse().unwrap();
                    self.store.gaps.push((number, mark.stream.lane, range));
                }
                self.store.stored.insert(id, content);
            } else if self.store.stored.contains_key(&id) {
                self.store.repeats += 1;
            }
        }
    }

    /// Forgets what was delivered and not committed, as a crash does.
    pub(crate) fn crash(&mut self) {
        self.tasks.clear();
        self.store.outstanding.clear();
    }
}

impl Store {
    /// Makes the ledger of a device known under its full identity.
    pub(crate) fn register(&mut self, identity: Identity) {
        self.ledgers.entry(identity).or_default();
    }

    /// Asserts that every accepted record of these devices was stored, or is named by a gap record, and none was
    /// delivered twice.
    pub(crate) fn assert_accounted(&self, devices: Range<usize>) {
        assert_eq!(self.repeats, 0, "delivered twice");
        let stored: BTreeSet<_> =
            self.stored.keys().map(|(n, stream, seq)| (*n, stream.lane, *seq)).collect();
        for id in self.expected.keys().filter(|(n, ..)| devices.contains(n)) {
            let named =
                self.gaps.iter().any(|(n, lane, range)| (*n, *lane) == (id.0, id.1) && range.contains(&id.2));
            assert!(stored.contains(id) || named, "{id:?} is neither stored nor named");
        }
    }

    /// Asserts that every accepted record of these devices was stored, and each was delivered once.
    pub(crate) fn assert_complete(&self, devices: Range<usize>) {
        assert_eq!(self.repeats, 0, "delivered twice");
        let stored: BTreeSet<_> =
            self.stored.keys().map(|(n, stream, seq)| (*n, stream.lane, *seq)).collect();
        assert_eq!(stored.len(), self.stored.len(), "two streams of one lane");
        let missing: Vec<_> = self
            .expected
            .keys()
            .filter(|(n, ..)| devices.contains(n))
            .filter(|id| !stored.contains(id))
            .collect();
        assert!(missing.is_empty(), "{} records were lost: {:?}", missing.len(), missing.first());
        for (number, samples) in self.samples.iter().filter(|(n, _)| devices.contains(n)) {
            let blocks =
                self.stored.iter().filter(|((n, ..), content)| n == number && content.starts_with("wave"));
            let total: u64 =
                blocks.map(|(_, content)| content.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
            assert_eq!(total, *samples, "samples of device {number}");
        }
    }
}

pub(crate) fn content(number: usize, time: Instant, record: &Record<'_>) -> String {
    match record {
        Record::Waveform(block) => {
            let expected = (block.first_sample..).map(|index| crate::kit::sample(number, index));
            assert!(block.samples().zip(expected).all(|(a, b)| a == b), "altered samples");
            format!("wave {} {}", block.first_sample, block.len())
        }
        // What the device writes of itself: an application's own gap names another lane.
        Record::Gap(gap) if gap.lane.is_none() => format!("gap {} {}", gap.first, gap.first + gap.count),
        record => format!("{time:?} {record:?}"),
    }
}

fn sequences(mark: &Mark) -> impl Iterator<Item = u64> + use<> {
    let (first, mask) = (mark.first, mark.mask);
    (0..64).filter(move |bit| mask >> bit & 1 == 1).map(move |bit| first + bit)
}
