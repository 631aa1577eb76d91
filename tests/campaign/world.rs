//! Devices, nodes, their shared store and the link between them, in virtual time.

use crate::kit::*;
use crate::link::{Faults, Link, To};
use crate::orders::Orders;
use crate::plan::{Action, NODES, Plan};
use crate::store::{Due, Pending, Store};
use crate::unit::{Air, BACKLOG, Memory, Unit};
use std::collections::BTreeSet;
use vitalwire::backend::*;
use vitalwire::crypto::{ServiceKey, TicketKey};
use vitalwire::delivery::Ledger;
use vitalwire::device::Device;
use vitalwire::handshake::TicketKeys;
use vitalwire::identity::{Identity, LocalIdentity, Scopes};
use vitalwire::{CallError, CloseReason, Discard, Duration, Instant};

/// One node of the service: all of it but the store is gone when it dies.
struct Node {
    backend: Option<Backend<u64>>,
    back_at: Instant,
    jobs: Vec<(Instant, HandshakeDone)>,
    tasks: Vec<(Instant, Task)>,
    online: BTreeSet<Identity>,
}

enum Task {
    Accept(PendingId, Identity, (Ledger, u64)),
    Claim(PendingId, TicketClaim, (Ledger, u64)),
    /// One transaction of the store, and then the word to the backend, unless the node dies in between.
    Store(BatchRef, Box<Pending>),
    Commit(BatchRef),
    Release(BatchRef),
}

pub(crate) struct World<'m> {
    now: Instant,
    plan: &'m Plan,
    pki: Pki,
    service: LocalIdentity,
    units: Vec<Unit<'m>>,
    nodes: Vec<Node>,
    link: Link,
    pub(crate) store: Store,
    orders: Orders,
    /// How often the ticket key was changed.
    ticket_key: u8,
    rng: Rng,
    slow: (Instant, Duration, f64),
    connects: Vec<usize>,
    /// Batches that came in Hellos.
    early: usize,
}

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) accepted: usize,
    pub(crate) stored: usize,
    pub(crate) repeats: usize,
    /// Records that devices gave up, and gap records that came.
    pub(crate) dropped: usize,
    pub(crate) gaps: usize,
    pub(crate) boots: u32,
    pub(crate) sessions: usize,
    /// Tickets that were used, and batches that came in Hellos.
    pub(crate) resumed: usize,
    pub(crate) early: usize,
    /// Commands, and those of them that were done.
    pub(crate) commands: [usize; 2],
    /// Of alarms under a bound: before one had come through, and after.
    pub(crate) alarm_waits: [Vec<Duration>; 2],
    pub(crate) air: Air,
}

/// The devices' memory for a whole run.
pub(crate) fn memory(plan: &Plan) -> Vec<Memory> {
    let of = |unit: usize| {
        let cuts = plan
            .actions
            .iter()
            .filter(|(_, action)| matches!(action, Action::PowerCut(cut, _) | Action::Mishap(cut, ..) if *cut == unit));
        let outbox = plan.units[unit].outbox;
        let backlog = if plan.units[unit].storage { BACKLOG } else { 0 };
        Memory {
            outboxes: (0..2 + cuts.count()).map(|_| (vec![0; outbox], vec![0; backlog])).collect(),
            set: descriptors(plan.units[unit].channels),
        }
    };
    (0..plan.units.len()).map(of).collect()
}

fn grant(unit: &Unit<'_>, (ledger, fence): (Ledger, u64)) -> Grant {
    let psk = unit.plan.psk.then(|| psk(unit.number as u8));
    Grant { scopes: Scopes::PUBLISH | Scopes::COMMANDS, ledger, psk, fence, ..Grant::default() }
}

/// What the application does with a batch, and when.
fn take_batch(
    now: Instant,
    batch: &Batch<'_>,
    slow: (Instant, Duration, f64),
    plan: &Plan,
    rng: &mut Rng,
    store: &mut Store,
) -> (Instant, Task) {
    let pending = Box::new(store.read(batch));
    let is_slow = now < slow.0;
    let delay = if is_slow { ms(rng.below(slow.1.as_millis())) } else { rng.between(plan.commit_delay) };
    let fails = is_slow && rng.chance(slow.2);
    let handle = batch.handle();
    (now + delay, if fails { Task::Release(handle) } else { Task::Store(handle, pending) })
}

impl<'m> World<'m> {
    pub(crate) fn new(plan: &'m Plan, memory: &'m mut [Memory]) -> Self {
        let mut pki = Pki::new(plan.seed);
        let service = pki.backend();
        let mut units = Vec::new();
        for (number, (unit, memory)) in plan.units.iter().zip(memory).enumerate() {
            let mut made = Unit::new(number, unit.clone(), memory, &mut pki);
            if unit.pinned {
                made.pin(pin_of(&service));
            }
            units.push(made);
        }
        let mut world = Self {
            now: Instant::ZERO,
            plan,
            connects: vec![0; units.len()],
            units,
            nodes: Vec::new(),
            link: Link::new(plan.seed, Faults::NONE),
            store: Store::new(),
            orders: Orders::default(),
            ticket_key: 0,
            rng: Rng::new(plan.seed ^ 0x77),
            slow: (Instant::ZERO, ms(0), 0.0),
            early: 0,
            pki,
            service,
        };
        for _ in 0..NODES {
            let backend = Some(world.make_backend());
            let (jobs, tasks) = (Vec::new(), Vec::new());
            world.nodes.push(Node { backend, back_at: Instant::ZERO, jobs, tasks, online: BTreeSet::new() });
        }
        world
    }

    fn make_backend(&self) -> Backend<u64> {
        let config = BackendConfig::new(self.service.clone(), self.pki.anchors(), self.pki.time());
        let mut backend = Backend::new(config).unwrap();
        for unit in self.units.iter().filter(|unit| unit.plan.psk) {
            backend.enrol(unit.psk_id(), psk(unit.number as u8), unit.identity());
        }
        if self.plan.tickets {
            backend.set_ticket_keys(self.ticket_keys());
        }
        backend
    }

    /// What all nodes have.
    fn ticket_keys(&self) -> TicketKeys {
        let key = |number| TicketKey::from_bytes([number; 32]);
        let previous = self.ticket_key.checked_sub(1).map(key);
        TicketKeys::new(ServiceKey::from_bytes([0x5e; 32]), key(self.ticket_key), previous)
    }

    /// Runs the plan, and then as long as it takes to deliver everything.
    pub(crate) fn run(mut self) -> Outcome {
        let plan = self.plan;
        for (at, action) in &plan.actions {
            self.run_until(*at, |_| false);
            self.act(*action);
        }
        self.run_until(plan.end, |_| false);
        let drained = |world: &Self| world.units.iter().all(Unit::is_drained);
        for last in [false, true] {
            if !self.run_until(self.now + secs(1200), drained) {
                self.print();
                panic!("not drained, {} records are missing", self.store.missing().len());
            }
            if !last {
                // A boot in which the storage failed leaves to the next one what is in there.
                self.units.iter_mut().for_each(|unit| unit.restart(&mut self.store));
            }
        }
        if self.now < self.orders.settled_by() {
            self.run_until(self.orders.settled_by(), |_| false);
        }
        self.check()
    }

    fn check(&self) -> Outcome {
        let missing = self.store.missing();
        assert!(missing.is_empty(), "{} records were lost: {:?}", missing.len(), missing.first());
        let dropped = self.store.check_gaps();
        self.store.check_streams();
        let mut outcome = Outcome {
            accepted: self.store.accepted.len(),
            stored: self.store.stored(),
            dropped,
            gaps: self.store.gaps.len(),
            repeats: self.store.repeats,
            alarm_waits: self.store.alarm_waits.clone(),
            resumed: self.store.resumed,
            early: self.early,
            commands: self.orders.check(),
            ..Outcome::default()
        };
        for (unit, connects) in self.units.iter().zip(&self.connects) {
            unit.check_freed(&self.store);
            // A session of each node needs a Hello of its own that the device has made.
            assert!(*connects <= unit.hellos(), "device {}: {connects} sessions", unit.number);
            outcome.sessions += connects;
            outcome.boots += unit.boot;
            for way in 0..2 {
                outcome.air.packets[way] += unit.air.packets[way];
                outcome.air.bytes[way] += unit.air.bytes[way];
            }
        }
        for node in self.nodes.iter().filter_map(|node| node.backend.as_ref()) {
            assert_eq!(node.discards().of(Discard::MalformedFrames), 0);
        }
        outcome
    }

    fn act(&mut self, action: Action) {
        let now = self.now;
        trace!("{now:?} {action:?}");
        match action {
            Action::Records(unit) => self.units[unit].records(now, &mut self.rng, &mut self.store),
            Action::Alarm(unit) => {
                let due = self.due(unit);
                self.units[unit].alarm(now, due, &mut self.store);
            }
            Action::Link(unit, faults, span) => {
                self.units[unit].faults = (faults, now + span);
                // What was late in it.
                self.units[unit].note(now + span + ms(faults.late.1));
            }
            Action::Resize(unit, size) => {
                self.units[unit].resize(now, size);
                self.units[unit].note(now);
            }
            Action::Down(unit, span) => {
                self.units[unit].down_until = now + span;
                self.units[unit].set_link(now);
                self.units[unit].note(now + span);
            }
            Action::Sleep(unit, span) => {
                self.units[unit].asleep_until = now + span;
                self.units[unit].note(now + span);
            }
            Action::PowerCut(unit, span) => {
                self.units[unit].power_cut(&mut self.store);
                self.units[unit].off_until = now + span;
                self.units[unit].note(now + span);
            }
            Action::Mishap(unit, after, mishap) => {
                let storage = &mut self.units[unit].storage;
                storage.mishap = Some((storage.requests + after, mishap));
            }
            Action::Roam(unit) => {
                let base = 1000 * (unit as u64 + 1);
                self.units[unit].path = base + self.rng.below(5);
                self.units[unit].note(now);
            }
            Action::TwoPaths(unit, span) => {
                let base = 1000 * (unit as u64 + 1);
                self.units[unit].also = (Some(base + 5 + self.rng.below(2)), now + span);
                self.units[unit].note(now + span);
            }
            Action::Rekey(unit) => drop(self.units[unit].with_device(now, |device, _| device.rekey())),
            Action::Reconnect(unit) => {
                self.units[unit].with_device(now, Device::connect);
                self.units[unit].note(now);
            }
            Action::Restart(node, span) => {
                self.kill(node);
                self.nodes[node].back_at = now + span;
                self.note_all(now + span);
            }
            Action::Switch(unit, node) => {
                self.units[unit].node = node;
                self.units[unit].note(now);
            }
            Action::Hint(unit) | Action::Disconnect(unit) => {
                let identity = self.units[unit].identity();
                for node in self.nodes.iter_mut().filter_map(|node| node.backend.as_mut()) {
                    let _ = match action {
                        Action::Hint(_) => node.hint_rekey(&identity),
                        _ => node.disconnect(&identity, CloseReason::Application),
                    };
                }
                self.units[unit].note(now);
            }
            Action::Slow(span, share) => {
                self.slow = (now + span, ms(3_000), share);
                self.note_all(now + span + secs(3));
            }
            Action::NoClaims(span) => self.store.no_claims = now + span,
            Action::RotateTickets => {
                self.ticket_key = self.ticket_key.wrapping_add(1);
                if self.plan.tickets {
                    let keys = [(); NODES].map(|()| self.ticket_keys());
                    for (node, keys) in self.nodes.iter_mut().zip(keys) {
                        if let Some(backend) = &mut node.backend {
                            backend.set_ticket_keys(keys);
                        }
                    }
                }
            }
            Action::Command(unit, ttl, delay) => self.command(unit, ttl, delay),
            Action::Heal => {
                self.store.no_claims = now;
                self.slow.0 = now;
                self.units.iter_mut().for_each(|unit| unit.heal(now));
                for node in &mut self.nodes {
                    node.back_at = node.back_at.min(now);
                }
            }
        }
    }

    /// Has each node that knows the device have it do something.
    fn command(&mut self, unit: usize, ttl: Duration, delay: Duration) {
        let (now, identity) = (self.now, self.units[unit].identity());
        for (number, node) in self.nodes.iter_mut().enumerate() {
            let Some(backend) = &mut node.backend else { continue };
            let body = self.orders.next().to_le_bytes();
            match backend.command(now, &identity, Command { kind: 7, body: &body, ttl }) {
                Ok(id) => self.orders.sent(number, id, now + ttl, delay),
                Err(error) => {
                    assert!(matches!(error, CallError::NoSession | CallError::TooManyCommands), "{error}");
                }
            }
        }
    }

    fn note_all(&mut self, until: Instant) {
        self.units.iter_mut().for_each(|unit| unit.note(until));
    }

    fn kill(&mut self, node: usize) {
        self.orders.node_died(node);
        let node = &mut self.nodes[node];
        node.backend = None;
        node.jobs.clear();
        node.tasks.clear();
        node.online.clear();
    }

    /// By when an alarm of now must be stored, if the link of this device works.
    ///
    /// T is the time that the link takes for the longest packet, d its delay, c what the application takes to commit. In
    /// a session that works, as an alarm of the same quiet time has come through it, the bound is 2 T + d + c: the alarm
    /// waits for one packet at the most. Before that, the device may have to find out that its session is lost, where
    /// Resets do not help as three of them have in three minutes: within 23 s, in which it asks four times; or the alarm
    /// waits for a retransmission of 90 s, which the faults before have made so long.
    fn due(&self, unit: usize) -> Option<Due> {
        let (plan, unit) = (self.plan, &self.units[unit]);
        let faults = unit.faults.0;
        let shares =
            [faults.loss, faults.duplicate, faults.reorder, faults.corrupt, faults.replay, faults.splice];
        if self.now < unit.disturbed_until || shares.iter().sum::<f64>() > 0.0 {
            return None;
        }
        let works = self.store.works.get(&unit.number) == Some(&unit.disturbed);
        // A millisecond more, as times are whole ones.
        let usual = unit.serial(600).saturating_mul(2) + ms(faults.delay.1 + 1 + plan.commit_delay.1);
        let bound = if works { usual } else { usual + secs(120) };
        Some(Due { by: self.now + bound, disturbed: unit.disturbed, works })
    }

    /// Runs until `done`, at most until `end`; tells whether it was.
    fn run_until(&mut self, end: Instant, done: impl Fn(&Self) -> bool) -> bool {
        loop {
            self.settle();
            if done(self) {
                return true;
            }
            match self.next_event() {
                Some(next) if next <= end => self.now = next,
                _ => {
                    self.now = end;
                    return false;
                }
            }
            while let Some((to, packet)) = self.link.pop_due(self.now) {
                self.deliver(to, packet);
            }
        }
    }

    fn next_event(&self) -> Option<Instant> {
        let now = self.now;
        let units = self.units.iter().filter_map(|unit| unit.poll_timeout(now));
        let nodes = self.nodes.iter().filter_map(|node| {
            let Some(backend) = &node.backend else { return Some(node.back_at) };
            let timer = backend.poll_timeout();
            assert!(timer.is_none_or(|due| due > now), "a node spins at {now:?}: {timer:?}");
            let later = node.jobs.iter().map(|(due, _)| *due).chain(node.tasks.iter().map(|(due, _)| *due));
            later.chain(timer).min()
        });
        units.chain(nodes).chain(self.link.next_due()).min()
    }

    fn deliver(&mut self, to: To, mut packet: Vec<u8>) {
        let now = self.now;
        match to {
            To::Device(unit) => self.units[unit].hear(now, packet, &mut self.orders),
            To::Backend(path) => {
                let Some(unit) = self.units.get_mut((path / 1000) as usize - 1) else { return };
                let packet = if unit.plan.piece.is_some() {
                    let Some(packet) = unit.relay.handle(now, &mut packet) else { return };
                    packet
                } else {
                    &mut packet[..]
                };
                let node = &mut self.nodes[unit.node];
                let Some(backend) = &mut node.backend else { return };
                let (mut inbound, store) = ([Inbound { path, packet }], &mut self.store);
                let (slow, plan, rng) = (self.slow, self.plan, &mut self.rng);
                backend.handle_packets(now, &mut inbound, &mut |received| {
                    let Received::Batch(batch) = received else { return };
                    node.tasks.push(take_batch(now, &batch, slow, plan, rng, store));
                });
            }
        }
    }

    /// Takes the batches that came in the Hellos of resumptions.
    fn take_early(&mut self, node: usize) {
        let Node { backend: Some(backend), tasks, .. } = &mut self.nodes[node] else { return };
        while let Some(early) = backend.poll_early() {
            self.early += 1;
            let (slow, plan, rng, store) = (self.slow, self.plan, &mut self.rng, &mut self.store);
            let mut task = take_batch(self.now, &early.as_batch(), slow, plan, rng, store);
            if let Task::Store(_, pending) = &mut task.1 {
                pending.early = true;
            }
            tasks.push(task);
        }
    }

    /// Lets everybody do what is to be done now, until nobody has anything left to do.
    fn settle(&mut self) {
        loop {
            let nodes: usize = (0..NODES).map(|node| self.settle_node(node)).sum();
            let (now, rng, link, store) = (self.now, &mut self.rng, &mut self.link, &mut self.store);
            let orders = &mut self.orders;
            let units: usize =
                self.units.iter_mut().map(|unit| unit.settle(now, rng, link, store, orders)).sum();
            if nodes + units == 0 {
                return;
            }
        }
    }

    fn settle_node(&mut self, number: usize) -> usize {
        let now = self.now;
        if self.nodes[number].backend.is_none() && self.nodes[number].back_at <= now {
            self.nodes[number].backend = Some(self.make_backend());
        }
        let Node { backend: Some(backend), jobs, .. } = &mut self.nodes[number] else {
            return 0;
        };
        backend.handle_timeout(now);
        let mut moved = 0;
        while let Some(job) = backend.poll_handshake() {
            let delay = self.rng.between(self.plan.job_delay);
            jobs.push((now + delay, job.run(&mut self.rng)));
        }
        while let Some(at) = jobs.iter().position(|(due, _)| *due <= now) {
            backend.handle_handshake(now, jobs.swap_remove(at).1);
            moved += 1;
        }
        self.take_early(number);
        let Node { backend: Some(backend), tasks, online, .. } = &mut self.nodes[number] else {
            return moved;
        };
        while let Some(event) = backend.poll_event() {
            match event {
                BackendEvent::Pending { pending, credential, .. } => {
                    let identity = credential.identity();
                    let ledger = self.store.open(&identity);
                    let due = now + self.rng.between(self.plan.accept_delay);
                    tasks.push((due, Task::Accept(pending, identity, ledger)));
                }
                BackendEvent::Resuming { pending, claim } => {
                    let ledger = self.store.open(&claim.identity);
                    let due = now + self.rng.between(self.plan.accept_delay);
                    tasks.push((due, Task::Claim(pending, claim, ledger)));
                }
                BackendEvent::CommandEnded { id, outcome, .. } => {
                    self.orders.ended(now, number, id, outcome);
                }
                BackendEvent::Connected { identity, .. } => {
                    assert!(online.insert(identity), "two sessions of one device");
                    self.connects[number_of(&identity)] += 1;
                }
                BackendEvent::Disconnected { identity, .. } => {
                    assert!(online.remove(&identity), "a session that was never there has ended");
                }
                _ => {}
            }
            moved += 1;
        }
        while let Some(at) = tasks.iter().position(|(due, _)| *due <= now) {
            moved += 1;
            match tasks.swap_remove(at).1 {
                Task::Accept(pending, identity, opened) => {
                    let grant = grant(&self.units[number_of(&identity)], opened);
                    let _ = backend.accept(now, pending, grant);
                }
                Task::Claim(pending, claim, opened) => {
                    let outcome = self.store.claim(now, &claim);
                    let grant = grant(&self.units[number_of(&claim.identity)], opened);
                    let _ = backend.claimed(now, pending, outcome, grant);
                }
                Task::Store(batch, pending) => {
                    let disturbed = self.units[pending.unit].disturbed;
                    trace!("{now:?} node {number} stores {pending:?}");
                    if !self.store.transaction(now, number, *pending, disturbed) {
                        trace!("{now:?} node {number} has lost the device");
                        backend.disown(now, batch);
                        continue;
                    }
                    let gap = self.rng.below(4).saturating_sub(2) * 10;
                    tasks.push((now + ms(gap), Task::Commit(batch)));
                }
                Task::Commit(batch) => drop(backend.commit(now, batch)),
                Task::Release(batch) => backend.release(now, batch),
            }
        }
        let mut out = [0; 1500];
        let mut sent = 0;
        while let Some(transmit) = backend.poll_transmit(now, &mut self.rng, &mut out).unwrap() {
            sent += 1;
            assert!(sent < 2000, "a node talks without end");
            let packet = transmit.packet.to_vec();
            let Some(unit) = self.units.get_mut((transmit.path / 1000) as usize - 1) else { continue };
            if transmit.path == unit.path || unit.also.0 == Some(transmit.path) {
                unit.send_down(now, packet, &mut self.link);
            }
        }
        moved + sent
    }

    fn print(&self) {
        println!("now {:?}, calm since {:?}", self.now, self.plan.calm);
        self.units.iter().for_each(Unit::print);
        for (number, node) in self.nodes.iter().enumerate() {
            let Some(backend) = &node.backend else { continue };
            let discards: Vec<_> = backend.discards().iter().filter(|(_, count)| *count > 0).collect();
            println!(
                "node {number}: {} devices, {} tasks, {discards:?}",
                backend.devices(),
                node.tasks.len()
            );
        }
    }
}
