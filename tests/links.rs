//! A device and a backend over a bad small link and over a bad serial line, in virtual time: every record arrives once.
//!
//! Faults and keys come from a seed, which a failure names.

use std::collections::{BTreeMap, VecDeque};
use vitalwire::backend::{Backend, BackendConfig, BackendEvent, Grant, Inbound, Received};
use vitalwire::crypto::{SigningKey, StaticSecret};
use vitalwire::device::{Device, DeviceConfig, DeviceMemory, Link};
use vitalwire::framing::*;
use vitalwire::handshake::Limits;
use vitalwire::identity::*;
use vitalwire::wire::link::*;
use vitalwire::{Duration, Entropy, EntropyError, Instant, UnixSeconds};

const TODAY: UnixSeconds = UnixSeconds(1_750_000_000);
/// The link takes one piece, or some bytes, in each direction per turn.
const TURN: Duration = Duration::from_millis(10);
const RECORDS: u32 = 100;

/// xorshift64*: faults and, as this is a test, keys.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}

impl Entropy for Rng {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        out.fill_with(|| self.next() as u8);
        Ok(())
    }
}

/// One direction of a link.
trait Way {
    /// Has the link take a packet, when there is room again.
    fn send(&mut self, packet: &[u8]);
    fn has_room(&self) -> bool;
    /// One turn: returns the packets that arrive.
    fn turn(&mut self, now: Instant, rng: &mut Rng) -> Vec<Vec<u8>>;
}

/// Loses 3 % of the pieces, repeats 5 %, delays 10 % by up to three turns, and changes its size now and then.
struct Pieces {
    fragmenter: Fragmenter,
    outgoing: VecDeque<Outgoing<Vec<u8>>>,
    air: Vec<(Instant, Vec<u8>)>,
    reassembler: Reassembler<512>,
}

impl Pieces {
    fn new(link: u16) -> Self {
        let fragmenter = Fragmenter::new(link).unwrap();
        Self { fragmenter, outgoing: VecDeque::new(), air: Vec::new(), reassembler: Reassembler::new() }
    }
}

impl Way for Pieces {
    fn send(&mut self, packet: &[u8]) {
        let owned = packet.to_vec();
        self.outgoing.push_back(self.fragmenter.split(owned).unwrap());
    }

    fn has_room(&self) -> bool {
        self.outgoing.len() < 2
    }

    fn turn(&mut self, now: Instant, rng: &mut Rng) -> Vec<Vec<u8>> {
        if rng.percent(1) {
            self.fragmenter.set_max_packet(20 + rng.next() as u16 % 60).unwrap();
        }
        let mut out = [0; 80];
        while let Some(outgoing) = self.outgoing.front_mut() {
            let Some(piece) = self.fragmenter.next(outgoing, &mut out).unwrap() else {
                self.outgoing.pop_front();
                continue;
            };
            for percent in [97, 5] {
                if rng.percent(percent) {
                    let delay = if rng.percent(10) { rng.next() % 4 } else { 0 };
                    self.air.push((now + TURN.saturating_mul(delay), piece.to_vec()));
                }
            }
            break;
        }
        let due: Vec<_> = self.air.extract_if(.., |(at, _)| *at <= now).collect();
        let whole = |(_, mut piece): (_, Vec<u8>)| {
            self.reassembler.handle(now, &mut piece).map(|whole| whole.to_vec())
        };
        due.into_iter().filter_map(whole).collect()
    }
}

/// Alters one byte in a thousand, loses as many, and has bursts of noise.
struct Serial {
    bytes: VecDeque<u8>,
    decoder: CobsDecoder<512>,
}

impl Way for Serial {
    fn send(&mut self, packet: &[u8]) {
        let mut out = vec![0; cobs_len(packet.len())];
        self.bytes.extend(&*write_cobs(packet, &mut out).unwrap());
    }

    fn has_room(&self) -> bool {
        self.bytes.len() < 600
    }

    fn turn(&mut self, _: Instant, rng: &mut Rng) -> Vec<Vec<u8>> {
        let mut part = Vec::new();
        if rng.percent(2) {
            part.extend((0..rng.next() % 40).map(|_| rng.next() as u8));
        }
        for byte in self.bytes.drain(..self.bytes.len().min(100)) {
            match rng.next() % 1000 {
                0 => part.push(rng.next() as u8),
                1 => {}
                _ => part.push(byte),
            }
        }
        let (mut rest, mut packets) = (&part[..], Vec::new());
        while let Some(packet) = self.decoder.next(&mut rest) {
            packets.push(packet.to_vec());
        }
        packets
    }
}

fn identity(authority: &Authority, rng: &mut Rng, subject: u8, role: Role) -> LocalIdentity {
    let (name, not_after) = (SubjectId([subject; 16]), UnixSeconds(TODAY.0 + 86_400));
    let request = CredentialRequest::new(subject.into(), name, role, Scopes::PUBLISH, TODAY, not_after);
    LocalIdentity::issue(authority, StaticSecret::generate(rng).unwrap(), &request).unwrap()
}

/// Runs until the device knows that all records are stored; returns how often each arrived.
fn deliver(seed: u64, max_packet: u16, up: &mut dyn Way, down: &mut dyn Way) -> BTreeMap<i32, u32> {
    let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let authority = Authority::new(SigningKey::generate(&mut rng).unwrap());
    let anchors = TrustAnchors::new(&[authority.public_key()]).unwrap();
    let patch = identity(&authority, &mut rng, 1, Role::Device);
    let service = identity(&authority, &mut rng, 2, Role::Backend);
    let component = [Component::new(147_842, 264_864)];
    let channel = ChannelDescriptor::new(1, ChannelKind::Numeric, 147_842, (&component).into());
    let mut descriptors = [0u8; 64];
    let len = encode_descriptors(&[channel], &mut descriptors).unwrap();

    let mut outbox = [0u8; 32_768];
    let mut config = DeviceConfig::new(patch, anchors, Time::floor_only(TODAY), 1, outbox.len());
    config.smallest_packet = max_packet;
    config.limits = Limits::new(512, 128, Duration::from_secs(7200)).unwrap();
    let memory = DeviceMemory { outbox: &mut outbox, descriptors: &descriptors[..len], backlog: &mut [] };
    let mut device = Device::new(config, memory).unwrap();
    let config = BackendConfig::new(service, anchors, Time::known(TODAY));
    let mut backend = Backend::<()>::new(config).unwrap();

    let (mut now, mut stored, mut out) = (Instant::ZERO, BTreeMap::new(), [0u8; 1500]);
    device.handle_link(now, Link::Up { max_packet });
    device.connect(now);
    for value in 0..RECORDS {
        let rate = Measurement::new(1, Values::valid(&[value as i32]).unwrap());
        device.record(now, Lane::Event, &Record::Measurement(rate)).unwrap();
    }
    while !device.is_drained() {
        assert!(now < Instant::from_millis(3_600_000), "seed {seed}: {} of {RECORDS}", stored.len());
        now = now + TURN;
        device.handle_timeout(now);
        while up.has_room() {
            let Some(packet) = device.poll_transmit(now, &mut rng, &mut out).unwrap() else { break };
            up.send(packet);
        }
        for mut packet in up.turn(now, &mut rng) {
            let mut batches = Vec::new();
            let inbound = Inbound { path: (), packet: &mut packet };
            backend.handle_packets(now, &mut [inbound], &mut |received| {
                let Received::Batch(batch) = received else { return };
                for record in batch.records() {
                    let Record::Measurement(rate) = record.record else { panic!("seed {seed}: {record:?}") };
                    let Some(Value::Present(raw, _)) = rate.values.iter().next() else {
                        panic!("seed {seed}")
                    };
                    *stored.entry(*raw).or_default() += 1;
                }
                batches.push(batch.handle());
            });
            for batch in batches {
                backend.commit(now, batch);
            }
        }
        while let Some(job) = backend.poll_handshake() {
            backend.handle_handshake(now, job.run(&mut rng));
        }
        while let Some(event) = backend.poll_event() {
            if let BackendEvent::Pending { pending, credential, .. } = event {
                let grant = Grant { scopes: credential.scopes(), ..Grant::default() };
                backend.accept(now, pending, grant).unwrap();
            }
        }
        backend.handle_timeout(now);
        while down.has_room() {
            let Some(sent) = backend.poll_transmit(now, &mut rng, &mut out).unwrap() else { break };
            down.send(sent.packet);
        }
        for mut packet in down.turn(now, &mut rng) {
            device.handle_packet(now, &mut packet, &mut |_| {});
        }
    }
    stored
}

fn once() -> BTreeMap<i32, u32> {
    (0..RECORDS as i32).map(|value| (value, 1)).collect()
}

#[test]
fn every_record_crosses_a_bad_small_link_once() {
    let mut discards = 0;
    for seed in 1..=100 {
        let (link, max_packet) = [(20, 64), (20, 200), (50, 64), (50, 150)][seed as usize % 4];
        let (mut up, mut down) = (Pieces::new(link), Pieces::new(link));
        assert_eq!(deliver(seed, max_packet, &mut up, &mut down), once(), "seed {seed}");
        discards += up.reassembler.discards().total();
    }
    assert!(discards > 0, "the link was good");
}

#[test]
fn every_record_crosses_a_bad_serial_line_once() {
    let mut discards = 0;
    for seed in 1..=100 {
        let way = || Serial { bytes: VecDeque::new(), decoder: CobsDecoder::new() };
        let (mut up, mut down) = (way(), way());
        assert_eq!(deliver(seed, 200, &mut up, &mut down), once(), "seed {seed}");
        discards += up.decoder.discards().total();
    }
    assert!(discards > 0, "the line was good");
}
