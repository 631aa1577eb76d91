//! Devices and nodes joined in memory: the library's own two ends, and a store behind each node.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::path::Path;
use vitalwire::backend::{Backend, BackendConfig, BackendEvent, Batch, Grant, Inbound, OwnedBatch, Received};
use vitalwire::crypto::{SigningKey, StaticSecret};
use vitalwire::delivery::StreamKey;
use vitalwire::device::{Device, DeviceConfig, DeviceMemory, Link};
use vitalwire::framing::*;
use vitalwire::identity::*;
use vitalwire::{Entropy, EntropyError, Instant, UnixSeconds};
use vitalwire_sqlite::{Store, StoreError, Stored};

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

impl Entropy for Rng {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

const CLOCK: UnixSeconds = UnixSeconds(1_750_000_000);

/// Who trusts whom.
pub(crate) struct Pki {
    authority: Authority,
    pub(crate) service: LocalIdentity,
    rng: Rng,
}

impl Pki {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let authority = Authority::new(SigningKey::generate(&mut rng).unwrap());
        let service = issue(&authority, &mut rng, [0xbe; 16], Role::Backend);
        Self { authority, service, rng }
    }

    fn anchors(&self) -> TrustAnchors {
        TrustAnchors::new(&[self.authority.public_key()]).unwrap()
    }

    pub(crate) fn device(&mut self, number: u8) -> LocalIdentity {
        issue(&self.authority, &mut self.rng, [number; 16], Role::Device)
    }
}

fn issue(authority: &Authority, rng: &mut Rng, subject: [u8; 16], role: Role) -> LocalIdentity {
    let (issued, not_after) = (UnixSeconds(1_700_000_000), UnixSeconds(1_800_000_000));
    let subject = SubjectId(subject);
    let request = CredentialRequest::new(1, subject, role, Scopes::PUBLISH, issued, not_after);
    LocalIdentity::issue(authority, StaticSecret::generate(rng).unwrap(), &request).unwrap()
}

/// Channel 1 heart rate (of metric `metric`), 2 key presses.
pub(crate) fn descriptors(metric: u32) -> Vec<u8> {
    let rate = [Component::new(metric, 264_864)];
    let channels = [
        ChannelDescriptor::new(1, ChannelKind::Numeric, metric, (&rate).into()),
        ChannelDescriptor::new(2, ChannelKind::Event, 66_000, (&[]).into()),
    ];
    let mut bytes = [0; 256];
    let len = encode_descriptors(&channels, &mut bytes).unwrap();
    bytes[..len].to_vec()
}

/// What a device is to record as its `n`th thing.
pub(crate) fn record(n: u64) -> (Lane, Record<'static>) {
    let alarm = Alarm::new(1, AlarmKind::Physiological, Priority::High, Phase::Start, n as u32);
    match n % 4 {
        0 => (Lane::Alarm, Record::Alarm(alarm)),
        1 => {
            (Lane::Event, Record::Event(Event { channel: 2, mode: Mode::Real, code: n as u32, value: None }))
        }
        _ => (Lane::Trend, Record::Measurement(Measurement::new(1, Values::valid(&[n as i32]).unwrap()))),
    }
}

/// A device with nothing but RAM, and what it has accepted in the present boot.
pub(crate) struct Patch {
    pub(crate) local: LocalIdentity,
    pub(crate) path: u64,
    anchors: TrustAnchors,
    pub(crate) boot: u32,
    pub(crate) device: Device<'static>,
    pub(crate) accepted: BTreeMap<(Lane, u64), String>,
    count: u64,
}

impl Patch {
    pub(crate) fn new(pki: &mut Pki, number: u8, now: Instant) -> Self {
        let (local, anchors) = (pki.device(number), pki.anchors());
        let device = boot(&local, anchors, 1, now);
        let (accepted, path) = (BTreeMap::new(), number.into());
        Self { local, path, anchors, boot: 1, device, accepted, count: 0 }
    }

    pub(crate) fn identity(&self) -> Identity {
        self.local.identity().unwrap()
    }

    /// The power goes and comes back: all that was in RAM is lost.
    pub(crate) fn reboot(&mut self, now: Instant) {
        self.boot += 1;
        self.device = boot(&self.local, self.anchors, self.boot, now);
        self.accepted.clear();
    }

    /// Records one more thing, if there is room for it.
    pub(crate) fn record(&mut self, now: Instant) {
        let (lane, record) = record(self.count);
        if let Ok(accepted) = self.device.record(now, lane, &record) {
            self.accepted.insert((lane, accepted.first), format!("{record:?}"));
            self.count += 1;
        }
    }
}

fn boot(local: &LocalIdentity, anchors: TrustAnchors, number: u32, now: Instant) -> Device<'static> {
    // As on a device: it is never given back.
    let outbox = Box::leak(Box::new([0u8; 8192]));
    let descriptors = Box::leak(descriptors(147_842).into_boxed_slice());
    let config = DeviceConfig::new(local.clone(), anchors, Time::known(CLOCK), number, outbox.len());
    let mut device = Device::new(config, DeviceMemory { outbox, descriptors, backlog: &mut [] }).unwrap();
    device.handle_link(now, Link::Up { max_packet: 128 });
    device.connect(now);
    device
}

/// What became of a batch.
pub(crate) type Outcome = Result<Stored, StoreError>;

/// One process of the service.
pub(crate) struct Node {
    pub(crate) backend: Backend<u64>,
    pub(crate) store: Store,
    /// What is delivered and waits to be stored.
    pub(crate) queue: Vec<OwnedBatch>,
    /// Whether its application hands in the fence, as it should.
    pub(crate) fences: bool,
    /// Whether [`run`] stores what waits together in one transaction.
    pub(crate) groups: bool,
}

impl Node {
    pub(crate) fn start(pki: &Pki, file: &Path) -> Self {
        let config = BackendConfig::new(pki.service.clone(), pki.anchors(), Time::known(CLOCK));
        let mut store = Store::open(file).unwrap();
        let mut backend = Backend::new(config).unwrap();
        for set in store.descriptor_sets().unwrap() {
            backend.preload_descriptors(&set).unwrap();
        }
        Self { backend, store, queue: Vec::new(), fences: true, groups: false }
    }

    /// Takes a packet, and does all but storing.
    pub(crate) fn handle(&mut self, now: Instant, path: u64, packet: &[u8], rng: &mut Rng) {
        let (mut packet, queue) = (packet.to_vec(), &mut self.queue);
        let inbound = Inbound { path, packet: &mut packet };
        self.backend.handle_packets(now, &mut [inbound], &mut |received| {
            if let Received::Batch(batch) = received {
                queue.push(batch.to_owned());
            }
        });
        self.turn(now, rng);
    }

    pub(crate) fn turn(&mut self, now: Instant, rng: &mut Rng) {
        self.backend.handle_timeout(now);
        while let Some(job) = self.backend.poll_handshake() {
            self.backend.handle_handshake(now, job.run(rng));
        }
        while let Some(event) = self.backend.poll_event() {
            if let BackendEvent::Pending { pending, credential, .. } = event {
                let opened = self.store.open_session(&credential.identity()).unwrap();
                let (scopes, ledger) = (credential.scopes(), opened.ledger);
                let fence = if self.fences { opened.fence } else { 0 };
                let grant = Grant { scopes, ledger, fence, ..Grant::default() };
                let _ = self.backend.accept(now, pending, grant);
            }
        }
    }

    /// Stores one of the batches that wait, and tells the backend.
    pub(crate) fn store_at(&mut self, now: Instant, at: usize) -> (OwnedBatch, Outcome) {
        let batch = self.queue.remove(at);
        let outcome = self.store.store(&batch.as_batch());
        self.tell(now, &batch, &outcome);
        (batch, outcome)
    }

    /// Stores all batches that wait in one transaction, and tells the backend; one error is that of all.
    pub(crate) fn store_all(&mut self, now: Instant) -> Result<Vec<(OwnedBatch, Outcome)>, StoreError> {
        let queue = std::mem::take(&mut self.queue);
        let batches: Vec<Batch<'_>> = queue.iter().map(OwnedBatch::as_batch).collect();
        match self.store.store_all(&batches) {
            Ok(outcomes) => {
                let all: Vec<_> = queue.iter().cloned().zip(outcomes).collect();
                all.iter().for_each(|(batch, outcome)| self.tell(now, batch, outcome));
                Ok(all)
            }
            Err(error) => {
                queue.iter().for_each(|batch| self.backend.release(now, batch.handle()));
                Err(error)
            }
        }
    }

    fn tell(&mut self, now: Instant, batch: &OwnedBatch, outcome: &Outcome) {
        match outcome {
            Ok(_) => drop(self.backend.commit(now, batch.handle())),
            Err(StoreError::NotOwner) => self.backend.disown(now, batch.handle()),
            Err(_) => self.backend.release(now, batch.handle()),
        }
    }

    pub(crate) fn transmit(&mut self, now: Instant, rng: &mut Rng) -> Vec<(u64, Vec<u8>)> {
        let (mut out, mut packets) = ([0u8; 1500], Vec::new());
        while let Some(transmit) = self.backend.poll_transmit(now, rng, &mut out).unwrap() {
            packets.push((transmit.path, transmit.packet.to_vec()));
        }
        packets
    }
}

/// Exchanges packets without loss until `done`, and stores at once; each batch is shown to `seen`.
pub(crate) fn run(
    now: &mut Instant,
    patch: &mut Patch,
    node: &mut Node,
    rng: &mut Rng,
    seen: &mut dyn FnMut(&Batch<'_>, &Outcome),
    done: &mut dyn FnMut(&mut Patch, &Node) -> bool,
) {
    for _ in 0..100_000 {
        if done(patch, node) {
            return;
        }
        let mut out = [0u8; 1500];
        while let Some(packet) = patch.device.poll_transmit(*now, rng, &mut out).unwrap() {
            node.handle(*now, patch.path, packet, rng);
        }
        node.turn(*now, rng);
        if node.queue.len() > 1 && node.groups {
            for (batch, outcome) in node.store_all(*now).unwrap() {
                seen(&batch.as_batch(), &outcome);
            }
        }
        while !node.queue.is_empty() {
            let (batch, outcome) = node.store_at(*now, 0);
            seen(&batch.as_batch(), &outcome);
        }
        for (_, packet) in node.transmit(*now, rng) {
            patch.device.handle_packet(*now, &mut packet.clone(), &mut |_| {});
        }
        *now = *now + vitalwire::Duration::from_millis(20);
    }
    panic!("it takes too long");
}

/// All records of a device in the store, by id; none may be there twice.
pub(crate) fn stored(store: &mut Store, identity: &Identity) -> BTreeMap<(StreamKey, u64), String> {
    let (mut all, mut after) = (BTreeMap::new(), 0);
    loop {
        let page = store.records(identity, after, 100).unwrap();
        let Some(last) = page.last() else { return all };
        after = last.id;
        for record in page {
            let content = format!("{:?}", record.record.as_record());
            assert_eq!(all.insert((record.stream, record.sequence), content), None, "twice in the table");
        }
    }
}

/// The sequences of a mark.
pub(crate) fn sequences(batch: &Batch<'_>) -> Vec<u64> {
    batch.records().map(|record| record.sequence).collect()
}
