//! One backend, its application, and devices, joined by a [`Link`] in virtual time.

use crate::app::{App, Policy, content};
use crate::kit::*;
use crate::link::{Faults, Link, To};
use std::collections::BTreeMap;
use vitalwire::backend::*;
use vitalwire::device::*;
use vitalwire::framing::{Lane, Record, WaveformBlock};
use vitalwire::identity::{Identity, LocalIdentity};
use vitalwire::{CallError, Instant, UnixSeconds};

pub(crate) struct Node {
    pub(crate) device: Device<'static>,
    pub(crate) events: Vec<DeviceEvent>,
    /// The path that the backend sees its packets come from.
    pub(crate) path: u64,
    /// Another path at which it hears, too; every other packet goes from there.
    pub(crate) also: Option<u64>,
    /// Its radio is off: nothing is received, and nobody calls the device.
    pub(crate) asleep: bool,
    pub(crate) samples: u64,
    /// The commands that its application was given.
    pub(crate) commands: Vec<Given>,
    touched: bool,
}

/// A command as a device's application gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) id: vitalwire::device::CommandId,
    pub(crate) kind: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) deadline: Instant,
}

/// Takes a command from a device's sink.
pub(crate) fn given(received: DeviceReceived<'_>) -> Option<Given> {
    let DeviceReceived::Command { id, kind, body, deadline } = received else { return None };
    Some(Given { id, kind, body: body.to_vec(), deadline })
}

/// How to set up a world; every part can be changed before [`World::new`].
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) faults: Faults,
    pub(crate) policy: Policy,
    /// Milliseconds that a handshake job takes.
    pub(crate) job_delay: (u64, u64),
    pub(crate) max_packet: u16,
    /// Devices get tickets, sealed under the key with this number.
    pub(crate) ticket_key: Option<u8>,
    pub(crate) backend: fn(&mut BackendConfig),
}

impl Setup {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            faults: Faults::NONE,
            policy: Policy::PROMPT,
            job_delay: (0, 0),
            max_packet: 1200,
            ticket_key: None,
            backend: |_| {},
        }
    }

    pub(crate) fn build(self) -> World {
        World::new(self)
    }

    /// Builds a world with one device, which has a session.
    #[track_caller]
    pub(crate) fn connected(self) -> World {
        let mut world = self.build();
        world.add(|_| {});
        world.connect(0);
        world.run_to_connected(0);
        world
    }
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) pki: Pki,
    pub(crate) backend: Backend<u64>,
    pub(crate) backend_identity: LocalIdentity,
    pub(crate) backend_events: Vec<BackendEvent>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) link: Link,
    pub(crate) app: App,
    pub(crate) rng: Rng,
    setup: Setup,
    jobs: Vec<(Instant, HandshakeDone)>,
    /// Bytes that the backend received from and sent to every path.
    pub(crate) bytes: BTreeMap<u64, (u64, u64)>,
    pub(crate) out_len: usize,
    /// What devices said about commands that they have done.
    pub(crate) done: Vec<Vec<u8>>,
    /// Handshake jobs that can be run in a millisecond, if not any number.
    pub(crate) capacity: Option<usize>,
    /// When jobs were run the last time, and how many then.
    worked: (Instant, usize),
    /// What is sent to paths where no device is, if wanted.
    pub(crate) elsewhere: Option<Vec<(u64, Vec<u8>)>>,
}

/// More packets than this from one end at one instant is a loop.
const BURST: usize = 3000;

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
        let mut pki = Pki::new(setup.seed);
        let backend_identity = pki.backend();
        let backend = Self::make_backend(&setup, &pki, &backend_identity);
        Self {
            now: at(1_000),
            backend,
            backend_identity,
            backend_events: Vec::new(),
            nodes: Vec::new(),
            link: Link::new(setup.seed, setup.faults),
            app: App::new(setup.seed, setup.policy),
            rng: Rng::new(setup.seed ^ 0x77),
            pki,
            setup,
            jobs: Vec::new(),
            bytes: BTreeMap::new(),
            out_len: 1500,
            done: Vec::new(),
            capacity: None,
            worked: (at(0), 0),
            elsewhere: None,
        }
    }

    fn make_backend(setup: &Setup, pki: &Pki, identity: &LocalIdentity) -> Backend<u64> {
        let mut config = BackendConfig::new(identity.clone(), pki.anchors(), pki.time());
        // What a node remembers of signatures must let nobody in.
        config.remembered_credentials = 64;
        (setup.backend)(&mut config);
        let mut backend = Backend::new(config).unwrap();
        if let Some(number) = setup.ticket_key {
            backend.set_ticket_keys(ticket_keys(number));
        }
        backend
    }

    /// Makes another node of the service, which has the keys and no session.
    pub(crate) fn another_node(&self) -> Backend<u64> {
        Self::make_backend(&self.setup, &self.pki, &self.backend_identity)
    }

    /// So much later by the wall clock of the service, while nothing else happens.
    pub(crate) fn set_clock(&mut self, later: u64) {
        self.app.clock = UnixSeconds(CLOCK.0 + later);
        self.backend.set_wall_clock(self.app.clock);
    }

    /// Adds a device; `change` may change its configuration.
    pub(crate) fn add(&mut self, change: impl FnOnce(&mut DeviceConfig)) -> usize {
        self.add_with_set(descriptors(0), change)
    }

    pub(crate) fn add_with_set(&mut self, set: Vec<u8>, change: impl FnOnce(&mut DeviceConfig)) -> usize {
        const OUTBOX: usize = 16_384;
        let number = self.nodes.len();
        let identity = self.pki.device(number);
        self.app.store.register(identity.identity().unwrap());
        let mut config = DeviceConfig::new(identity, self.pki.anchors(), self.pki.time(), 7, OUTBOX);
        config.smallest_packet = self.setup.max_packet;
        config.policies = [vitalwire::delivery::LanePolicy::Refuse; 4];
        change(&mut config);
        let memory =
            DeviceMemory { outbox: vec![0; OUTBOX].leak(), descriptors: set.leak(), backlog: &mut [] };
        let mut device = Device::new(config, memory).unwrap();
        device.handle_link(self.now, self.up());
        let path = 1000 + number as u64;
        let (events, samples, also) = (Vec::new(), 0, None);
        let commands = Vec::new();
        self.nodes.push(Node { device, events, path, also, asleep: false, samples, commands, touched: true });
        number
    }

    pub(crate) fn pinned(&self) -> impl Fn(&mut DeviceConfig) + use<> {
        let pin = pin_of(&self.backend_identity);
        move |config| config.pin = Some(pin)
    }

    /// Adds a device that has the backend's pin, or has not.
    pub(crate) fn add_pinned_if(&mut self, pinned: bool) -> usize {
        let pin = self.pinned();
        self.add(|config| {
            if pinned {
                pin(config)
            }
        })
    }

    pub(crate) fn up(&self) -> vitalwire::device::Link {
        vitalwire::device::Link::Up { max_packet: self.setup.max_packet }
    }

    pub(crate) fn connect(&mut self, number: usize) {
        let now = self.now;
        self.node(number).device.connect(now);
    }

    pub(crate) fn node(&mut self, number: usize) -> &mut Node {
        self.nodes[number].touched = true;
        &mut self.nodes[number]
    }

    pub(crate) fn identity(&self, number: usize) -> Identity {
        let ids = self.app.store.ledgers.keys();
        *ids.into_iter().find(|id| number_of(id) == number).unwrap()
    }

    /// Lets a device accept a record and notes what must arrive.
    pub(crate) fn record(&mut self, number: usize, lane: Lane, record: &Record<'_>) -> Result<(), CallError> {
        let now = self.now;
        let accepted = self.node(number).device.record(now, lane, record)?;
        assert_eq!((accepted.lane, accepted.count), (lane, 1));
        let content = content(number, now, record);
        assert!(self.app.store.expected.insert((number, lane, accepted.first), content).is_none());
        Ok(())
    }

    /// Gives a device a larger descriptor set.
    pub(crate) fn grow(&mut self, number: usize, set: Vec<u8>) -> Result<(), CallError> {
        let now = self.now;
        self.node(number).device.extend_descriptors(now, set.leak())
    }

    /// Lets a device accept `count` further samples of its ECG.
    pub(crate) fn wave(&mut self, number: usize, count: u64) -> Result<(), CallError> {
        let now = self.now;
        let first = self.nodes[number].samples;
        let samples: Vec<i32> = (first..first + count).map(|index| sample(number, index)).collect();
        let block = Record::Waveform(WaveformBlock::new(3, first, &samples));
        let accepted = self.node(number).device.record(now, Lane::Waveform, &block)?;
        self.nodes[number].samples += count;
        *self.app.store.samples.entry(number).or_default() += count;
        for sequence in accepted.first..accepted.first + u64::from(accepted.count) {
            self.app.store.expected.insert((number, Lane::Waveform, sequence), "wave".into());
        }
        Ok(())
    }

    /// Runs for `span`.
    pub(crate) fn run(&mut self, span: vitalwire::Duration) {
        let end = self.now + span;
        self.run_until(end, |_| false);
    }

    /// Runs until `done`, at most until `end`; tells whether it was.
    pub(crate) fn run_until(&mut self, end: Instant, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        loop {
            self.settle();
            if done(self) {
                return true;
            }
            match self.next_event() {
                Some(next) if next <= end => self.now = self.now.max(next),
                _ => {
                    self.now = end;
                    return false;
                }
            }
            self.arrive();
        }
    }

    /// Runs until every device is drained.
    #[track_caller]
    pub(crate) fn drain(&mut self, within: vitalwire::Duration) {
        let end = self.now + within;
        let done = self.run_until(end, |world| world.nodes.iter().all(|node| node.device.is_drained()));
        if !done {
            self.print();
        }
        assert!(done, "not drained by {end:?}");
    }

    #[track_caller]
    pub(crate) fn run_to_connected(&mut self, number: usize) {
        let end = self.now + secs(120);
        let done = self.run_until(end, |world| world.nodes[number].device.is_connected());
        if !done {
            self.print();
        }
        assert!(done, "not connected by {end:?}");
    }

    pub(crate) fn print(&self) {
        println!("now {:?}", self.now);
        for (number, node) in self.nodes.iter().enumerate() {
            let fills: Vec<_> = Lane::ALL.iter().map(|&lane| node.device.fill(lane)).collect();
            println!("device {number}: connected {} {fills:?}", node.device.is_connected());
            println!("  events {:?}", &node.events[node.events.len().saturating_sub(12)..]);
            println!("  {:?}", discards(node.device.discards()));
        }
        println!("backend {:?}", discards(self.backend.discards()));
        println!("  events {:?}", &self.backend_events[self.backend_events.len().saturating_sub(12)..]);
    }

    fn next_event(&mut self) -> Option<Instant> {
        let now = self.now;
        let devices =
            self.nodes.iter().enumerate().filter(|(_, node)| !node.asleep).filter_map(|(n, node)| {
                let due = node.device.poll_timeout()?;
                assert!(due > now, "device {n} spins at {now:?}: {due:?}");
                Some(due)
            });
        let backend = self.backend.poll_timeout();
        assert!(backend.is_none_or(|due| due > now), "the backend spins at {now:?}: {backend:?}");
        let jobs = self.jobs.iter().map(|(due, _)| *due);
        devices.chain(backend).chain(jobs).chain(self.link.next_due()).chain(self.app.next_due()).min()
    }

    /// Lets packets arrive and jobs end.
    fn arrive(&mut self) {
        while let Some((to, packet)) = self.link.pop_due(self.now) {
            self.deliver(to, packet);
        }
        for node in &mut self.nodes {
            node.touched |= node.device.poll_timeout().is_some_and(|due| due <= self.now);
        }
    }

    pub(crate) fn deliver(&mut self, to: To, mut packet: Vec<u8>) {
        let now = self.now;
        match to {
            To::Backend(path) => {
                self.bytes.entry(path).or_default().0 += packet.len() as u64;
                let mut inbound = [Inbound { path, packet: &mut packet }];
                let (app, done) = (&mut self.app, &mut self.done);
                self.backend.handle_packets(now, &mut inbound, &mut |received| match received {
                    Received::Batch(batch) => app.batch(now, &batch),
                    Received::CommandDone { body, .. } => done.push(body.to_vec()),
                    _ => {}
                });
            }
            To::Device(number) => {
                let Some(node) = self.nodes.get_mut(number).filter(|node| !node.asleep) else { return };
                node.touched = true;
                let commands = &mut node.commands;
                node.device.handle_packet(now, &mut packet, &mut |received| commands.extend(given(received)));
            }
        }
    }

    /// Lets everybody do what is to be done now, until nobody has anything left to do.
    pub(crate) fn settle(&mut self) {
        loop {
            let moved = self.settle_backend() + self.settle_devices();
            if moved == 0 {
                return;
            }
        }
    }

    fn settle_backend(&mut self) -> usize {
        let now = self.now;
        let mut moved = 0;
        self.backend.handle_timeout(now);
        while self.can_work()
            && let Some(job) = self.backend.poll_handshake()
        {
            self.worked.1 += 1;
            let done = job.run(&mut self.rng);
            self.jobs.push((now + self.link.rng.between(self.setup.job_delay), done));
        }
        while let Some(at) = self.jobs.iter().position(|(due, _)| *due <= now) {
            self.backend.handle_handshake(now, self.jobs.remove(at).1);
            moved += 1;
        }
        while let Some(event) = self.backend.poll_event() {
            if let BackendEvent::Pending { pending, credential, .. } = event {
                self.app.pending(now, pending, credential.identity());
            }
            if let BackendEvent::Resuming { pending, claim } = event {
                self.app.resuming(now, pending, claim);
            }
            self.backend_events.push(event);
            moved += 1;
        }
        while let Some(batch) = self.backend.poll_early() {
            self.app.batch(now, &batch.as_batch());
            self.app.early += 1;
        }
        self.app.run(now, &mut self.backend);
        let mut out = vec![0; self.out_len];
        while let Some(transmit) = self.backend.poll_transmit(now, &mut self.rng, &mut out).unwrap() {
            let (path, packet) = (transmit.path, transmit.packet.to_vec());
            assert!(packet.len() <= 1500);
            self.bytes.entry(path).or_default().1 += packet.len() as u64;
            let node = self.nodes.iter().position(|node| node.path == path || node.also == Some(path));
            if node.is_none()
                && let Some(elsewhere) = &mut self.elsewhere
            {
                elsewhere.push((path, packet));
                continue;
            }
            self.link.send(now, To::Device(node.unwrap_or(usize::MAX)), packet);
            moved += 1;
            assert!(moved < BURST + 20 * self.nodes.len(), "the backend talks without end");
        }
        moved
    }

    /// Tells whether another job can be run at this time.
    fn can_work(&mut self) -> bool {
        if self.worked.0 != self.now {
            self.worked = (self.now, 0);
        }
        self.capacity.is_none_or(|capacity| self.worked.1 < capacity)
    }

    fn settle_devices(&mut self) -> usize {
        let now = self.now;
        let mut out = vec![0; self.out_len];
        let mut moved = 0;
        for node in self.nodes.iter_mut().filter(|node| node.touched && !node.asleep) {
            node.touched = false;
            let mut burst = 0;
            node.device.handle_timeout(now);
            while let Some(packet) = node.device.poll_transmit(now, &mut self.rng, &mut out).unwrap() {
                let handshake = packet[0] & 0x80 == 0;
                let most = if handshake { 512 } else { usize::from(self.setup.max_packet) };
                assert!(packet.len() <= most, "{} bytes", packet.len());
                self.link.send(now, To::Backend(node.path), packet.to_vec());
                if let Some(also) = &mut node.also {
                    std::mem::swap(also, &mut node.path);
                }
                burst += 1;
                assert!(burst < BURST, "a device talks without end");
            }
            moved += burst;
            while let Some(event) = node.device.poll_event() {
                node.events.push(event);
            }
        }
        moved
    }

    /// The backend process dies and starts again; what was committed is on disk.
    pub(crate) fn restart_backend(&mut self) {
        self.backend = Self::make_backend(&self.setup, &self.pki, &self.backend_identity);
        self.backend_events.clear();
        self.jobs.clear();
        self.app.crash();
    }

    pub(crate) fn wait_all_drained_and_check(&mut self, within: vitalwire::Duration) {
        self.drain(within);
        self.app.store.assert_complete(0..self.nodes.len());
    }
}

pub(crate) fn discards(discards: &vitalwire::Discards) -> Vec<(vitalwire::Discard, u32)> {
    discards.iter().filter(|(_, count)| *count > 0).collect()
}
