//! Every order of calls is legal, at any time, forward and backward.

use crate::kit::{Broken, Pki, Rng, alarm, at, descriptors, event, ms, rate, sample, secs};
use proptest::prelude::*;
use vitalwire::backend::*;
use vitalwire::device::*;
use vitalwire::framing::Lane;
use vitalwire::{CloseReason, Instant};

#[derive(Clone, Debug)]
enum Call {
    Time(i64),
    Link(bool),
    Connect,
    Disconnect,
    Record(u8),
    Wave,
    DeviceTransmit(u16, bool),
    BackendTransmit(u16, bool),
    DeviceTimeout,
    BackendTimeout,
    DeviceEvent,
    BackendEvent,
    Deliver(u8),
    Drop,
    RunJob,
    HandBack(u8),
    LoseJob,
    Accept(u8),
    Refuse(u8),
    Commit(u8),
    Release(u8),
    Rekey,
    Hint,
    End,
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => (-3_000i64..60_000).prop_map(Call::Time),
        4 => (0i64..300).prop_map(Call::Time),
        1 => any::<bool>().prop_map(Call::Link),
        1 => Just(Call::Connect),
        1 => prop_oneof![9 => Just(Call::Connect), 1 => Just(Call::Disconnect)],
        5 => any::<u8>().prop_map(Call::Record),
        2 => Just(Call::Wave),
        10 => (any::<u16>(), any::<bool>()).prop_map(|(len, broken)| Call::DeviceTransmit(len, broken)),
        10 => (any::<u16>(), any::<bool>()).prop_map(|(len, broken)| Call::BackendTransmit(len, broken)),
        1 => Just(Call::DeviceTimeout),
        1 => Just(Call::BackendTimeout),
        2 => Just(Call::DeviceEvent),
        4 => Just(Call::BackendEvent),
        20 => any::<u8>().prop_map(Call::Deliver),
        1 => Just(Call::Drop),
        6 => Just(Call::RunJob),
        6 => any::<u8>().prop_map(Call::HandBack),
        1 => Just(Call::LoseJob),
        6 => any::<u8>().prop_map(Call::Accept),
        1 => any::<u8>().prop_map(Call::Refuse),
        6 => any::<u8>().prop_map(Call::Commit),
        2 => any::<u8>().prop_map(Call::Release),
        1 => Just(Call::Rekey),
        1 => Just(Call::Hint),
        1 => Just(Call::End),
    ]
}

struct Bench {
    now: Instant,
    device: Device<'static>,
    backend: Backend<u64>,
    rng: Rng,
    /// (for the backend, packet)
    air: Vec<(bool, Vec<u8>)>,
    jobs: Vec<HandshakeDone>,
    pending: Vec<PendingId>,
    batches: Vec<OwnedBatch>,
    ledger: vitalwire::delivery::Ledger,
    stored: std::collections::BTreeSet<(vitalwire::delivery::StreamKey, u64)>,
    accepted: u64,
    samples: u64,
    identity: Option<vitalwire::identity::Identity>,
}

impl Bench {
    fn new() -> Self {
        let mut pki = Pki::new(1);
        let backend = pki.backend();
        let identity = pki.device(0);
        let id = identity.identity();
        let mut config = DeviceConfig::new(identity, pki.anchors(), pki.time(), 1, 8192);
        config.rekey = config.rekey.hash_after_packets(5).unwrap().dh_after_packets(11).unwrap();
        config.rekey = config.rekey.dh_interval(ms(100)).unwrap().session_age(secs(900)).unwrap();
        let memory = DeviceMemory {
            outbox: vec![0; 8192].leak(),
            descriptors: descriptors(0).leak(),
            backlog: &mut [],
        };
        let device = Device::new(config, memory).unwrap();
        let backend = Backend::new(BackendConfig::new(backend, pki.anchors(), pki.time())).unwrap();
        Self {
            now: at(5_000),
            device,
            backend,
            rng: Rng::new(3),
            air: Vec::new(),
            jobs: Vec::new(),
            pending: Vec::new(),
            batches: Vec::new(),
            ledger: Default::default(),
            stored: Default::default(),
            accepted: 0,
            samples: 0,
            identity: id,
        }
    }

    fn call(&mut self, call: Call) {
        let now = self.now;
        match call {
            Call::Time(by) => self.now = Instant::from_millis(now.as_millis().saturating_add_signed(by)),
            Call::Link(true) => self.device.handle_link(now, Link::Up { max_packet: 300 }),
            Call::Link(false) => self.device.handle_link(now, Link::Down),
            Call::Connect => self.device.connect(now),
            Call::Disconnect => self.device.disconnect(),
            Call::Record(n) => {
                let lanes = [(Lane::Alarm, alarm(1)), (Lane::Event, event(2)), (Lane::Trend, rate(3))];
                let (lane, record) = &lanes[usize::from(n) % 3];
                self.accepted += u64::from(self.device.record(now, *lane, record).map_or(0, |ids| ids.count));
            }
            Call::Wave => {
                let samples: Vec<i32> = (self.samples..self.samples + 100).map(|n| sample(0, n)).collect();
                let block = vitalwire::framing::WaveformBlock::new(3, self.samples, &samples);
                let record = vitalwire::framing::Record::Waveform(block);
                if let Ok(ids) = self.device.record(now, Lane::Waveform, &record) {
                    self.accepted += u64::from(ids.count);
                    self.samples += 100;
                }
            }
            Call::DeviceTransmit(len, broken) => self.device_transmit(usize::from(len) % 1500, broken),
            Call::BackendTransmit(len, broken) => self.backend_transmit(usize::from(len) % 1500, broken),
            Call::DeviceTimeout => self.device.handle_timeout(now),
            Call::BackendTimeout => self.backend.handle_timeout(now),
            Call::DeviceEvent => drop(self.device.poll_event()),
            Call::BackendEvent => self.backend_event(),
            Call::Deliver(n) => self.deliver(n.into()),
            Call::Drop => drop(self.air.pop()),
            Call::RunJob => {
                if let Some(job) = self.backend.poll_handshake() {
                    self.jobs.push(job.run(&mut self.rng));
                }
            }
            Call::HandBack(n) if !self.jobs.is_empty() => {
                let done = self.jobs.remove(usize::from(n) % self.jobs.len());
                self.backend.handle_handshake(now, done);
            }
            Call::LoseJob => drop(self.backend.poll_handshake()),
            Call::Accept(n) if !self.pending.is_empty() => {
                let pending = self.pending[usize::from(n) % self.pending.len()];
                let scopes = vitalwire::identity::Scopes::PUBLISH;
                let grant = Grant { scopes, ledger: self.ledger.clone(), ..Grant::default() };
                let _ = self.backend.accept(now, pending, grant);
            }
            Call::Refuse(n) if !self.pending.is_empty() => {
                let pending = self.pending[usize::from(n) % self.pending.len()];
                let _ = self.backend.refuse(now, pending, CloseReason::Refused);
            }
            Call::Commit(n) if !self.batches.is_empty() => self.commit(usize::from(n)),
            Call::Release(n) if !self.batches.is_empty() => {
                let batch = self.batches.remove(usize::from(n) % self.batches.len());
                self.backend.release(now, batch.handle());
                self.backend.release(now, batch.handle());
            }
            Call::Rekey => self.device.rekey(),
            Call::Hint => drop(self.backend.hint_rekey(&self.identity.unwrap())),
            Call::End => drop(self.backend.disconnect(&self.identity.unwrap(), CloseReason::Draining)),
            _ => {}
        }
        let _ = (self.device.poll_timeout(), self.backend.poll_timeout(), self.device.is_drained());
    }

    fn commit(&mut self, n: usize) {
        let batch = self.batches.remove(n % self.batches.len());
        let mark = batch.as_batch().mark();
        let fresh = self.ledger.apply(&mark).unwrap();
        assert_eq!(fresh, mark.mask, "delivered twice");
        for record in batch.as_batch().records() {
            assert!(self.stored.insert((mark.stream, record.sequence)));
        }
        self.backend.commit(self.now, batch.handle());
        assert_eq!(self.backend.commit(self.now, batch.handle()), Committed::Stale);
    }

    fn device_transmit(&mut self, len: usize, broken: bool) {
        let mut out = vec![0; len];
        let rng: &mut dyn vitalwire::Entropy = if broken { &mut Broken } else { &mut self.rng };
        if let Ok(Some(packet)) = self.device.poll_transmit(self.now, rng, &mut out) {
            self.air.push((true, packet.to_vec()));
        }
    }

    fn backend_transmit(&mut self, len: usize, broken: bool) {
        let mut out = vec![0; len];
        let rng: &mut dyn vitalwire::Entropy = if broken { &mut Broken } else { &mut self.rng };
        if let Ok(Some(transmit)) = self.backend.poll_transmit(self.now, rng, &mut out) {
            self.air.push((false, transmit.packet.to_vec()));
        }
    }

    fn backend_event(&mut self) {
        if let Some(BackendEvent::Pending { pending, .. }) = self.backend.poll_event() {
            self.pending.push(pending);
        }
    }

    fn deliver(&mut self, n: usize) {
        if self.air.is_empty() {
            return;
        }
        let at = if n.is_multiple_of(3) { n % self.air.len() } else { 0 };
        // Now and then a packet stays in the air, to come again.
        let (up, mut packet) = if n.is_multiple_of(11) { self.air[at].clone() } else { self.air.remove(at) };
        if !up {
            return self.device.handle_packet(self.now, &mut packet, &mut |_| {});
        }
        let batches = &mut self.batches;
        let mut inbound = [Inbound { path: (n % 2) as u64, packet: &mut packet }];
        self.backend.handle_packets(self.now, &mut inbound, &mut |received| {
            if let Received::Batch(batch) = received {
                batches.push(batch.to_owned());
            }
        });
    }

    /// In the end everybody behaves, and nothing is lost.
    fn settle(&mut self) {
        self.device.handle_link(self.now, Link::Up { max_packet: 1200 });
        self.device.connect(self.now);
        for _ in 0..4000 {
            for _ in 0..40 {
                let before = self.air.len();
                self.device_transmit(1500, false);
                self.backend_transmit(1500, false);
                if self.air.len() == before {
                    break;
                }
            }
            while let Some(job) = self.backend.poll_handshake() {
                self.jobs.push(job.run(&mut self.rng));
            }
            (0..self.jobs.len()).for_each(|_| self.call(Call::HandBack(0)));
            for _ in 0..4 {
                self.backend_event();
                let _ = self.device.poll_event();
            }
            (0..self.pending.len()).for_each(|n| self.call(Call::Accept(n as u8)));
            self.pending.clear();
            while !self.batches.is_empty() {
                self.commit(0);
            }
            (0..self.air.len()).for_each(|_| self.deliver(1));
            if self.device.is_drained() {
                break;
            }
            self.now = self.now + ms(250);
        }
        assert!(self.device.is_drained());
        assert_eq!(self.stored.len() as u64, self.accepted);
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(80)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn any_order_of_calls_is_legal_and_loses_nothing(
        begun in 0u8..5,
        calls in proptest::collection::vec(call(), 0..600),
    ) {
        let mut bench = Bench::new();
        // Random calls hardly ever get through a handshake: most runs begin behind one.
        if begun > 0 {
            bench.call(Call::Record(0));
            bench.settle();
        }
        for call in calls {
            bench.call(call);
        }
        bench.settle();
    }
}

#[test]
fn time_that_steps_backward_is_harmless() {
    let mut bench = Bench::new();
    bench.device.handle_link(bench.now, Link::Up { max_packet: 1200 });
    bench.device.connect(bench.now);
    for round in 0..200u64 {
        bench.call(Call::Record(round as u8));
        let mut sent = 0;
        while sent < 20 {
            let before = bench.air.len();
            bench.device_transmit(1500, false);
            bench.backend_transmit(1500, false);
            if bench.air.len() == before {
                break;
            }
            sent += 1;
        }
        assert!(sent < 20, "a loop at {:?}", bench.now);
        bench.call(Call::RunJob);
        bench.call(Call::HandBack(0));
        bench.backend_event();
        bench.call(Call::Accept(0));
        (0..bench.air.len()).for_each(|_| bench.deliver(1));
        while !bench.batches.is_empty() {
            bench.commit(0);
        }
        // Half of the steps go back, up to an hour.
        bench.now = if round % 2 == 0 { at(3_600_000 + round) } else { at(5_000 + 10 * round) };
    }
    bench.settle();
}
