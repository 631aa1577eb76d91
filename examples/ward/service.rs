//! The service: the run loop of `vitalwire::backend::Backend`, a thread that computes handshakes, and one that stores.

use crate::TODAY;
use crate::capture::Capture;
use crate::clock::Clock;
use crate::device::is_time_out;
use crate::relay::Dice;
use crate::signals::Fact;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration as Wall;
use vitalwire::backend::{
    Backend, BackendConfig, BackendEvent, BatchRef, ClaimOutcome, Claims, Grant, HandshakeDone, HandshakeJob,
    Inbound, OwnedBatch, Received, TicketClaim,
};
use vitalwire::crypto::{ServiceKey, TicketKey};
use vitalwire::delivery::Ledger;
use vitalwire::framing::{Lane, encode_record};
use vitalwire::handshake::TicketKeys;
use vitalwire::identity::{Identity, Scopes};
use vitalwire::limits::MAX_RECORD;
use vitalwire::wire::Pattern;
use vitalwire::{
    CallError, CloseReason, Discard, Discards, Duration, Entropy, EntropyError, Instant, OsEntropy,
};

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
            stored: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }
}

impl Charts {
    /// One transaction: is the ticket used for the first time?
    fn claim(&self, claim: &TicketClaim) -> ClaimOutcome {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner).claim(TODAY, claim)
    }

    /// A thread that panicked while it stored has stored nothing: the chart is whole.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Identity, Chart>> {
        self.charts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known to be stored of a device, to be handed to the backend when it lets the device in.
    fn ledger(&self, identity: &Identity) -> Ledger {
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

/// Computes handshakes, so that they never stall data.
pub fn handshakes(jobs: &Receiver<OfLife<HandshakeJob>>, done: &Sender<OfLife<HandshakeDone>>) {
    while let Ok((life, job)) = jobs.recv() {
        if done.send((life, job.run(&mut OsEntropy))).is_err() {
            return;
        }
    }
}

/// What the backend has to tell at the end.
#[derive(Debug, Default)]
pub struct Summary {
    /// Sessions that were proved, of devices of the ward.
    pub sessions: Vec<Pattern>,
    /// Sessions and batches of anybody else.
    pub strangers: u64,
    pub handshakes_refused: u64,
    /// Handshakes that had run out of time when the application decided.
    pub expired: u64,
    pub scope_refused: u64,
    pub tag_conflicts: u64,
    /// Tickets that were used already.
    pub tickets_refused: u64,
    pub packets_sent: u64,
    pub bytes_sent: BTreeMap<SocketAddr, u64>,
    /// What the backends discarded, in each of their lives.
    pub discards: Vec<Discards>,
}

impl Summary {
    /// How often packets were discarded for this reason.
    pub fn discarded(&self, reason: Discard) -> u64 {
        self.discards.iter().map(|discards| u64::from(discards.of(reason))).sum()
    }
}

/// The ends of the channels to the other threads of the service.
pub struct Threads {
    pub jobs: Sender<OfLife<HandshakeJob>>,
    pub done: Receiver<OfLife<HandshakeDone>>,
    pub batches: Sender<OfLife<OwnedBatch>>,
    pub verdicts: Receiver<OfLife<Verdict>>,
}

/// The keys of the service's tickets: the next backend must open what its predecessor gave.
pub struct Tickets {
    pub service: [u8; 32],
    pub key: [u8; 32],
}

impl Tickets {
    pub fn generate() -> Result<Self, EntropyError> {
        let mut tickets = Self { service: [0; 32], key: [0; 32] };
        OsEntropy.fill(&mut tickets.service)?;
        OsEntropy.fill(&mut tickets.key)?;
        Ok(tickets)
    }

    fn keys(&self) -> TicketKeys {
        TicketKeys::new(ServiceKey::from_bytes(self.service), TicketKey::from_bytes(self.key), None)
    }
}

/// Serves until `stop`. At `dies_at` the backend dies, with all that it knows: what is left is what was stored. Another one
/// takes its place a second later.
pub fn run(
    config: impl Fn() -> Result<BackendConfig, CallError>,
    tickets: &Tickets,
    socket: &UdpSocket,
    (ward, charts): (&BTreeSet<Identity>, &Charts),
    (clock, dies_at): (Clock, Instant),
    threads: &Threads,
    stop: &AtomicBool,
) -> Result<Summary, String> {
    let make = || {
        let mut backend = Backend::new(config()?)?;
        backend.set_ticket_keys(tickets.keys());
        Ok::<_, CallError>(backend)
    };
    let backend = make().map_err(text)?;
    let mut node = Node { backend, life: 0, ward, charts, threads, summary: Summary::default() };
    while !stop.load(Ordering::Relaxed) {
        if node.life == 0 && dies_at <= clock.now() {
            let dead = std::mem::replace(&mut node.backend, make().map_err(text)?);
            node.life += 1;
            node.summary.discards.push(dead.discards().clone());
            // What comes while nobody listens is lost: the socket keeps little, and not for long.
            let mut buffer = [0u8; 2048];
            while clock.now() < dies_at + Duration::from_secs(1) {
                std::thread::sleep(Wall::from_millis(1));
            }
            socket.set_nonblocking(true).map_err(text)?;
            while socket.recv_from(&mut buffer).is_ok() {}
            socket.set_nonblocking(false).map_err(text)?;
        }
        node.receive(socket, clock)?;
        let now = clock.now();
        node.handshake(now);
        node.decide(now);
        node.settle(now);
        node.transmit(now, socket)?;
    }
    node.summary.discards.push(node.backend.discards().clone());
    Ok(node.summary)
}

/// Packets that are taken from the socket at once, at the most.
const BATCH: usize = 64;

struct Node<'a> {
    backend: Backend<SocketAddr>,
    life: u32,
    ward: &'a BTreeSet<Identity>,
    charts: &'a Charts,
    threads: &'a Threads,
    summary: Summary,
}

impl Node<'_> {
    /// Waits for packets, or until something is due, and takes in what came: steps 7 and 1 of the run loop.
    fn receive(&mut self, socket: &UdpSocket, clock: Clock) -> Result<(), String> {
        // Verdicts and handshakes come through channels that cannot wake this thread: it looks at them often.
        let wait = clock.wait(self.backend.poll_timeout(), Wall::from_millis(1), Wall::from_millis(2));
        socket.set_read_timeout(Some(wait)).map_err(text)?;
        let mut packets: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
        let mut buffer = [0u8; 2048];
        while packets.len() < BATCH {
            match socket.recv_from(&mut buffer) {
                Ok((len, path)) => packets.push((path, buffer[..len].to_vec())),
                Err(error) if is_time_out(&error) => break,
                Err(error) => return Err(text(error)),
            }
            // Only the first read waits.
            socket.set_nonblocking(true).map_err(text)?;
        }
        socket.set_nonblocking(false).map_err(text)?;
        let now = clock.now();
        self.backend.handle_timeout(now);
        let mut inbound: Vec<_> =
            packets.iter_mut().map(|(path, packet)| Inbound { path: *path, packet }).collect();
        let (ward, life) = (self.ward, self.life);
        let (summary, batches) = (&mut self.summary, &self.threads.batches);
        let mut store_is_gone = false;
        self.backend.handle_packets(now, &mut inbound, &mut |received| {
            if let Received::Batch(batch) = received {
                summary.strangers += u64::from(!ward.contains(&batch.identity()));
                store_is_gone |= batches.send((life, batch.to_owned())).is_err();
            }
        });
        if store_is_gone { Err("the store has ended".to_owned()) } else { Ok(()) }
    }

    /// Hands out handshake jobs and takes what became of them: step 2.
    fn handshake(&mut self, now: Instant) {
        while let Some(job) = self.backend.poll_handshake() {
            // If the other thread has ended, the handshake runs out of time.
            let _ = self.threads.jobs.send((self.life, job));
        }
        let life = self.life;
        for (_, done) in self.threads.done.try_iter().filter(|(of, _)| *of == life) {
            self.backend.handle_handshake(now, done);
        }
        // What rode in a resumption's Hello.
        while let Some(batch) = self.backend.poll_early() {
            self.summary.strangers += u64::from(!self.ward.contains(&batch.as_batch().identity()));
            // If the store has ended, the next batch says so.
            let _ = self.threads.batches.send((life, batch));
        }
    }

    /// What a device of the ward may do, and what is stored of it.
    fn grant(&self, identity: &Identity) -> Grant {
        Grant { scopes: Scopes::PUBLISH, ledger: self.charts.ledger(identity), ..Grant::default() }
    }

    /// Looks at the events and decides who may come in: step 3.
    fn decide(&mut self, now: Instant) {
        while let Some(event) = self.backend.poll_event() {
            match event {
                BackendEvent::Resuming { pending, claim } => {
                    let outcome = self.charts.claim(&claim);
                    self.summary.tickets_refused +=
                        u64::from(!matches!(outcome, ClaimOutcome::New | ClaimOutcome::Same));
                    let grant = self.grant(&claim.identity);
                    self.summary.expired +=
                        u64::from(self.backend.claimed(now, pending, outcome, grant).is_err());
                }
                BackendEvent::Pending { pending, credential, .. } => {
                    let identity = credential.identity();
                    let decided = if self.ward.contains(&identity) {
                        let grant = self.grant(&identity);
                        self.backend.accept(now, pending, grant)
                    } else {
                        self.backend.refuse(now, pending, CloseReason::Refused)
                    };
                    // It may have expired meanwhile: then the device tries again.
                    self.summary.expired += u64::from(decided.is_err());
                }
                BackendEvent::Connected { identity, pattern, .. } => {
                    if self.ward.contains(&identity) {
                        self.summary.sessions.push(pattern);
                    } else {
                        self.summary.strangers += 1;
                    }
                }
                BackendEvent::HandshakeRefused(_) => self.summary.handshakes_refused += 1,
                BackendEvent::ScopeRefused { .. } => self.summary.scope_refused += 1,
                BackendEvent::TagConflict { .. } => self.summary.tag_conflicts += 1,
                _ => {}
            }
        }
    }

    /// Commits what is stored and releases what is not: step 4.
    fn settle(&mut self, now: Instant) {
        let life = self.life;
        for (_, verdict) in self.threads.verdicts.try_iter().filter(|(of, _)| *of == life) {
            match verdict {
                Verdict::Stored(batch) => {
                    self.backend.commit(now, batch);
                }
                Verdict::Failed(batch) => self.backend.release(now, batch),
            }
        }
    }

    /// Sends: step 5.
    fn transmit(&mut self, now: Instant, socket: &UdpSocket) -> Result<(), String> {
        let mut out = [0u8; 1500];
        while let Some(transmit) = self.backend.poll_transmit(now, &mut OsEntropy, &mut out).map_err(text)? {
            self.summary.packets_sent += 1;
            *self.summary.bytes_sent.entry(transmit.path).or_default() += transmit.packet.len() as u64;
            socket.send_to(transmit.packet, transmit.path).map_err(text)?;
        }
        Ok(())
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
