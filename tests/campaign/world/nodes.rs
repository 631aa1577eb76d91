//! The nodes of the service: what arrives there, what their application does, and what they send.

use super::{Node, Task, World};
use crate::kit::*;
use crate::link::To;
use crate::plan::Plan;
use crate::store::Store;
use crate::unit::Unit;
use vitalwire::backend::*;
use vitalwire::delivery::Ledger;
use vitalwire::identity::Scopes;
use vitalwire::{Duration, Instant};

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

impl World<'_> {
    pub(super) fn kill(&mut self, node: usize) {
        self.orders.node_died(node);
        let node = &mut self.nodes[node];
        node.backend = None;
        node.jobs.clear();
        node.tasks.clear();
        node.online.clear();
    }

    pub(super) fn next_event(&self) -> Option<Instant> {
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

    pub(super) fn deliver(&mut self, to: To, mut packet: Vec<u8>) {
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
    pub(super) fn take_early(&mut self, node: usize) {
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

    pub(super) fn settle_node(&mut self, number: usize) -> usize {
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
}
