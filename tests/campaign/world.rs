//! Devices, nodes, their shared store and the link between them, in virtual time.

mod nodes;

use crate::kit::*;
use crate::link::{Faults, Link};
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
use vitalwire::identity::{Identity, LocalIdentity};
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
