//! The service: the run loop of `vitalwire::backend::Backend`, a thread that computes handshakes, and one that stores.

use crate::auditor::{Auditor, Logged, Term};
use crate::cast::TODAY;
use crate::charts::{Charts, OfLife, Verdict};
use crate::clock::Clock;
use crate::device::is_time_out;
use crate::relay::HELLO;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration as Wall;
use vitalwire::backend::{
    AdmissionLimits, Backend, BackendConfig, BackendEvent, ClaimOutcome, Command, Duty, Grant, HandshakeDone,
    HandshakeJob, Inbound, OwnedBatch, Policy, Rate, Received, Rules, SenderId,
};
use vitalwire::crypto::{ServiceKey, TicketKey};
use vitalwire::handshake::TicketKeys;
use vitalwire::identity::{Identity, RevocationError, Scopes, Time, TrustAnchors};
use vitalwire::wire::Pattern;
use vitalwire::{
    CallError, CloseReason, Discard, Discards, Duration, Entropy, EntropyError, Instant, OsEntropy,
};

/// Computes handshakes, so that they never stall data.
pub fn handshakes(jobs: &Receiver<OfLife<HandshakeJob>>, done: &Sender<OfLife<HandshakeDone>>) {
    while let Ok((life, job)) = jobs.recv() {
        if done.send((life, job.run(&mut OsEntropy))).is_err() {
            return;
        }
    }
}

/// Whom the service knows, and what befalls it.
pub struct Plan {
    /// The devices of the ward.
    pub ward: BTreeSet<Identity>,
    /// One that is let in until it is revoked, and one whose scopes are narrow.
    pub revoked: Identity,
    pub narrowed: Identity,
    /// The list that revokes, and an older one that does not.
    pub lists: [Vec<u8>; 2],
    pub anchors: TrustAnchors,
    /// The ports of the strangers.
    pub strangers: BTreeSet<SocketAddr>,
    pub revokes_at: Instant,
    pub dies_at: Instant,
}

impl Plan {
    fn lets_in(&self, identity: &Identity) -> bool {
        self.ward.contains(identity) || [self.revoked, self.narrowed].contains(identity)
    }
}

/// The usual rates of a node are too high to be reached here, and the ward's clock is fast: these hold by the clock on
/// the wall, but for those of single paths.
pub fn admission(speed: u64) -> AdmissionLimits {
    let rate = |per_second: u64| {
        Rate::per_minute((per_second * 60 / speed).max(1) as u32, per_second.min(2000) as u32)
    };
    AdmissionLimits {
        handshakes: rate(400),
        hellos: rate(100_000),
        retries: rate(20_000),
        ..AdmissionLimits::NODE
    }
}

/// What the backend has to tell at the end.
#[derive(Debug, Default)]
pub struct Summary {
    /// Sessions that were proved, of devices of the ward.
    pub sessions: Vec<Pattern>,
    /// Sessions and batches of anybody else, and credentials that were shown to the application.
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
    pub flood: Flooded,
    pub revocation: Revocation,
    pub narrowed: Narrowed,
    /// What the backends counted, in each of their lives, and what they logged.
    pub terms: Vec<Term>,
    pub logged: Option<Logged>,
}

/// What the backend did with packets from the strangers' ports.
#[derive(Debug, Default)]
pub struct Flooded {
    pub packets: u64,
    /// Bytes that came from each.
    pub bytes: BTreeMap<SocketAddr, u64>,
    /// Discards of these packets.
    pub discards: BTreeMap<Discard, u64>,
    /// Those that were taken and are no Hellos, and batches that came in any.
    pub taken: u64,
    pub batches: u64,
}

/// What became of the device that is revoked.
#[derive(Debug, Default)]
pub struct Revocation {
    /// When the list was put in force, while the device had a session; and when that ended.
    pub at: Option<Instant>,
    pub ended: Option<Instant>,
    /// The next backend has put the list in force, too.
    pub kept: bool,
    /// The older list was refused.
    pub rollback_refused: bool,
    pub sessions_before: u64,
    pub sessions_after: u64,
    pub batches_after: u64,
}

/// What became of the device whose scopes are narrow.
#[derive(Debug, Default)]
pub struct Narrowed {
    pub sessions: u64,
    /// Records that were refused as out of its scopes; copies count again.
    pub refused: u64,
    /// Commands for it that were refused, and those that were taken.
    pub denied: u64,
    pub commanded: u64,
}

impl Summary {
    /// A batch came in.
    fn delivered(&mut self, plan: &Plan, identity: &Identity) {
        self.strangers += u64::from(!plan.lets_in(identity));
        let revoked = *identity == plan.revoked && self.revocation.at.is_some();
        self.revocation.batches_after += u64::from(revoked);
    }

    /// How often packets were discarded for this reason.
    pub fn discarded(&self, reason: Discard) -> u64 {
        self.discards().map(|discards| u64::from(discards.of(reason))).sum()
    }

    /// What was discarded, in each of the backend's lives.
    pub fn discards(&self) -> impl Iterator<Item = &Discards> {
        self.terms.iter().map(|term| &term.counters.discards)
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

/// Serves until `stop`. Half way the backend dies, with all that it knows: what is left is what was stored. Another one
/// takes its place a second later.
pub fn run(
    config: impl Fn() -> Result<BackendConfig, CallError>,
    (tickets, auditor): (&Tickets, Auditor),
    socket: &UdpSocket,
    (plan, charts): (&Plan, &Charts),
    clock: Clock,
    threads: &Threads,
    stop: &AtomicBool,
) -> Result<Summary, String> {
    let make = || Backend::new(config()?);
    let backend = make().map_err(text)?;
    let summary = Summary::default();
    let mut node =
        Node { backend, life: 0, plan, charts, tickets, threads, auditor, policy: policy()?, summary };
    node.start(clock.now())?;
    while !stop.load(Ordering::Relaxed) {
        if node.life == 0 && plan.dies_at <= clock.now() {
            let dead = std::mem::replace(&mut node.backend, make().map_err(text)?);
            node.life += 1;
            node.summary.terms.push(node.auditor.died(&dead));
            // What comes while nobody listens is lost: the socket keeps little, and not for long.
            let mut buffer = [0u8; 2048];
            while clock.now() < plan.dies_at + Duration::from_secs(1) {
                std::thread::sleep(Wall::from_millis(1));
            }
            socket.set_nonblocking(true).map_err(text)?;
            while clock.now() < plan.dies_at + Duration::from_secs(2) && socket.recv_from(&mut buffer).is_ok()
            {
            }
            socket.set_nonblocking(false).map_err(text)?;
            node.start(clock.now())?;
        }
        node.receive(socket, clock)?;
        let now = clock.now();
        node.handshake(now);
        node.decide(now);
        node.settle(now);
        node.revoke(now)?;
        node.transmit(now, socket)?;
        node.auditor.run(now, &mut node.backend)?;
    }
    let Node { mut backend, auditor, mut summary, .. } = node;
    let (term, logged) = auditor.stop(clock.now(), &mut backend)?;
    summary.terms.push(term);
    summary.logged = Some(logged);
    Ok(summary)
}

/// Who may command, and what: the nurse, a bolus.
const NURSE: SenderId = SenderId(1);
const BOLUS: u16 = 1;

fn policy() -> Result<Rules, String> {
    let mut rules = Rules::new(10);
    rules.allow_devices(Scopes::PUBLISH | Scopes::COMMANDS);
    rules.allow_commands(Duty(1), BOLUS..=BOLUS).map_err(text)?;
    rules.assign(NURSE, Duty(1)).map_err(text)?;
    Ok(rules)
}

/// Packets that are taken from the socket at once, at the most.
const BATCH: usize = 64;

struct Node<'a> {
    backend: Backend<SocketAddr>,
    life: u32,
    plan: &'a Plan,
    charts: &'a Charts,
    tickets: &'a Tickets,
    threads: &'a Threads,
    auditor: Auditor,
    policy: Rules,
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
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for (path, packet) in &mut packets {
            let of_stranger = self.plan.strangers.contains(path);
            let inbound = Inbound { path: *path, packet };
            if of_stranger { &mut theirs } else { &mut ours }.push(inbound);
        }
        let life = self.life;
        let mut store_is_gone = false;
        self.backend.handle_packets(now, &mut ours, &mut |received| {
            if let Received::Batch(batch) = received {
                self.summary.delivered(self.plan, &batch.identity());
                store_is_gone |= self.threads.batches.send((life, batch.to_owned())).is_err();
            }
        });
        self.receive_flood(now, theirs);
        if store_is_gone { Err("the store has ended".to_owned()) } else { Ok(()) }
    }

    /// Packets of strangers, handed in apart: so what becomes of them is known. Nothing but a Hello may be taken, and a
    /// Hello alone makes no session.
    fn receive_flood(&mut self, now: Instant, mut packets: Vec<Inbound<'_, SocketAddr>>) {
        let flood = &mut self.summary.flood;
        for Inbound { path, packet } in &packets {
            flood.packets += 1;
            *flood.bytes.entry(*path).or_default() += packet.len() as u64;
        }
        packets.sort_by_key(|inbound| inbound.packet.first() == Some(&HELLO));
        let hellos = packets.partition_point(|inbound| inbound.packet.first() != Some(&HELLO));
        let (others, hellos) = packets.split_at_mut(hellos);
        for (part, are_hellos) in [(others, false), (hellos, true)] {
            let before = self.backend.discards().clone();
            self.backend.handle_packets(now, part, &mut |_| flood.batches += 1);
            let discards = self.backend.discards();
            for (discard, count) in discards.iter().filter(|(of, n)| *n > before.of(*of)) {
                *flood.discards.entry(discard).or_default() += u64::from(count - before.of(discard));
            }
            if !are_hellos {
                flood.taken += (part.len() as u64).saturating_sub(discards.total() - before.total());
            }
        }
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
            self.summary.delivered(self.plan, &batch.as_batch().identity());
            // If the store has ended, the next batch says so.
            let _ = self.threads.batches.send((life, batch));
        }
    }

    /// A backend begins, with the list that is in force: its audit log first.
    fn start(&mut self, now: Instant) -> Result<(), String> {
        self.auditor.started(now, &mut self.backend);
        self.backend.set_ticket_keys(self.tickets.keys());
        if let Some(list) = self.charts.list() {
            self.put_in_force(now, &list).map_err(text)?;
            self.summary.revocation.kept = true;
        }
        Ok(())
    }

    fn put_in_force(&mut self, now: Instant, list: &[u8]) -> Result<(), RevocationError> {
        let list = self.plan.anchors.verify_revocations(list, Time::known(TODAY))?;
        self.backend.revoke(now, &list).map(drop)
    }

    /// Revokes a device, once it is time and it has a session: keeps the list, then puts it in force. Somebody who brings
    /// an older list later is refused.
    fn revoke(&mut self, now: Instant) -> Result<(), String> {
        let revocation = &self.summary.revocation;
        if revocation.at.is_some() || now < self.plan.revokes_at || revocation.sessions_before == 0 {
            return Ok(());
        }
        let [list, old] = &self.plan.lists;
        self.charts.keep_list(list);
        self.put_in_force(now, list).map_err(text)?;
        let rolled_back = self.put_in_force(now, old);
        let revocation = &mut self.summary.revocation;
        revocation.at = Some(now);
        revocation.rollback_refused = matches!(rolled_back, Err(RevocationError::Rollback { .. }));
        Ok(())
    }

    /// What a device may do, and what is stored of it. The library narrows it to what the device's credential permits.
    fn grant(&self, identity: &Identity) -> Grant {
        let scopes = self.policy.scopes(identity, Scopes::from_bits(u32::MAX));
        Grant { scopes, ledger: self.charts.ledger(identity), ..Grant::default() }
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
                    let decided = if self.plan.lets_in(&identity) {
                        let grant = self.grant(&identity);
                        self.backend.accept(now, pending, grant)
                    } else {
                        self.summary.strangers += 1;
                        self.backend.refuse(now, pending, CloseReason::Refused)
                    };
                    // It may have expired meanwhile: then the device tries again.
                    self.summary.expired += u64::from(decided.is_err());
                }
                BackendEvent::Connected { identity, pattern, .. } => self.connected(now, identity, pattern),
                BackendEvent::Disconnected { identity, reason: CloseReason::Revoked }
                    if identity == self.plan.revoked =>
                {
                    self.summary.revocation.ended.get_or_insert(now);
                }
                BackendEvent::HandshakeRefused(_) => self.summary.handshakes_refused += 1,
                BackendEvent::ScopeRefused { identity, count, .. } if identity == self.plan.narrowed => {
                    self.summary.narrowed.refused += u64::from(count);
                }
                BackendEvent::ScopeRefused { .. } => self.summary.scope_refused += 1,
                BackendEvent::CommandDenied { identity, .. } if identity == self.plan.narrowed => {
                    self.summary.narrowed.denied += 1;
                }
                BackendEvent::TagConflict { .. } => self.summary.tag_conflicts += 1,
                _ => {}
            }
        }
    }

    /// A device is online. Who has a narrow credential is commanded at once: that must not work.
    fn connected(&mut self, now: Instant, identity: Identity, pattern: Pattern) {
        let summary = &mut self.summary;
        if self.plan.ward.contains(&identity) {
            summary.sessions.push(pattern);
        } else if identity == self.plan.revoked {
            let revocation = &mut summary.revocation;
            let since =
                revocation.at.map_or(&mut revocation.sessions_before, |_| &mut revocation.sessions_after);
            *since += 1;
        } else if identity == self.plan.narrowed {
            summary.narrowed.sessions += 1;
            let bolus = Command { kind: BOLUS, body: &[1], ttl: Duration::from_secs(10) };
            let given = self.backend.command_by(now, &self.policy, NURSE, &identity, bolus);
            summary.narrowed.commanded += u64::from(given.is_ok());
        } else {
            summary.strangers += 1;
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
