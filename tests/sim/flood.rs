//! Strangers at many times the capacity of a node, and real devices behind them.

use crate::kit::*;
use crate::link::To;
use crate::puppet::PuppetDevice;
use crate::world::{Setup, World};
use std::collections::BTreeMap;
use vitalwire::Discard;
use vitalwire::backend::{Inbound, Rate};
use vitalwire::device::DeviceEvent;
use vitalwire::framing::Lane;
use vitalwire::wire::{Cookie, Pattern};

/// Handshake computations that the node manages in a second; a full handshake has two.
const CAPACITY: u64 = 1_000;
const DEVICES: usize = 50;
/// What strangers send in a second.
const FLOOD: u64 = 20_000;
/// Somebody's own path, and the first of those with valid cookies.
const OWN: u64 = 7;
const PROVEN: u64 = 500_000;

/// All that strangers have to send.
struct Flood {
    rng: Rng,
    /// Hellos with the right MAC.
    genuine: Vec<Vec<u8>>,
    /// Hellos of devices, of all patterns.
    recorded: Vec<Vec<u8>>,
    /// Hellos with a valid cookie, for its path.
    proven: Vec<(u64, Vec<u8>)>,
    sent: u64,
    /// Hellos from paths of their own that have a cookie, in 1000.
    share_proven: u64,
}

impl Flood {
    fn new(world: &mut World) -> Self {
        let mut maker = PuppetDevice::new(world.pki.device(900), world.pki.anchors(), None);
        let genuine = (0..2_000).map(|_| maker.hello()).collect();
        let (recorded, proven) = (Vec::new(), Vec::new());
        Self { rng: Rng::new(5), genuine, recorded, proven, sent: 0, share_proven: 0 }
    }

    fn pick(rng: &mut Rng, from: &[Vec<u8>]) -> Vec<u8> {
        from[rng.below(from.len() as u64) as usize].clone()
    }

    /// The next packet, and the path that it comes from, or says so.
    fn next(&mut self) -> (u64, Vec<u8>) {
        self.sent += 1;
        let rng = &mut self.rng;
        if rng.below(1000) < self.share_proven {
            return self.proven[rng.below(self.proven.len() as u64) as usize].clone();
        }
        let anywhere = 100_000 + rng.below(50_000);
        let device = 1000 + rng.below(DEVICES as u64);
        match rng.below(20) {
            0..=5 => (anywhere, Self::pick(rng, &self.genuine)),
            6..=8 => (OWN, Self::pick(rng, &self.genuine)),
            9..=12 => (device, Self::pick(rng, &self.genuine)),
            13..=15 if !self.recorded.is_empty() => {
                let path = [anywhere, OWN, device][rng.below(3) as usize];
                (path, Self::pick(rng, &self.recorded))
            }
            16..=17 if !self.proven.is_empty() => {
                // A cookie of another path.
                let (_, hello) = &self.proven[rng.below(self.proven.len() as u64) as usize];
                (anywhere, hello.clone())
            }
            _ => {
                let mut garbage = Self::pick(rng, &self.genuine);
                let at = rng.below(garbage.len() as u64) as usize;
                garbage[at] ^= 1 << rng.below(8);
                (anywhere, garbage)
            }
        }
    }
}

/// The most of what the backend holds.
#[derive(Clone, Copy, Debug, Default)]
struct Peaks {
    half_open: u32,
    jobs: usize,
    known: usize,
    pending: usize,
}

struct Siege {
    world: World,
    flood: Flood,
    peaks: Peaks,
    /// Bytes received from and sent to paths where no device is.
    bytes: BTreeMap<u64, (u64, u64)>,
}

impl Siege {
    fn new(seed: u64) -> Self {
        let mut setup = Setup { ticket_key: Some(1), ..Setup::new(seed) };
        setup.backend = |config| {
            config.admission.handshakes = Rate::per_second(CAPACITY as u32 / 2, CAPACITY as u32 / 2);
        };
        let mut world = setup.build();
        let pin = world.pinned();
        for number in 0..DEVICES {
            world.add(|config| {
                if number % 2 == 1 {
                    pin(config)
                }
            });
        }
        world.capacity = Some((CAPACITY / 1000) as usize);
        world.elsewhere = Some(Vec::new());
        world.link.log = Some(Vec::new());
        world.run(ms(1));
        let flood = Flood::new(&mut world);
        Self { world, flood, peaks: Peaks::default(), bytes: BTreeMap::new() }
    }

    /// One millisecond of the flood.
    fn step(&mut self) {
        let world = &mut self.world;
        for _ in 0..FLOOD / 1000 {
            let (path, mut packet) = self.flood.next();
            self.bytes.entry(path).or_default().0 += packet.len() as u64;
            let mut inbound = [Inbound { path, packet: &mut packet }];
            world.backend.handle_packets(world.now, &mut inbound, &mut |_| panic!("delivered by strangers"));
        }
        let status = world.backend.admission(world.now);
        let peaks = &mut self.peaks;
        peaks.half_open = peaks.half_open.max(status.half_open);
        peaks.jobs = peaks.jobs.max(status.jobs);
        peaks.known = peaks.known.max(status.known_hellos);
        peaks.pending = peaks.pending.max(status.pending_identities);
        world.run(ms(1));
        for (path, packet) in world.elsewhere.replace(Vec::new()).unwrap() {
            self.bytes.entry(path).or_default().1 += packet.len() as u64;
        }
        world.backend_events.clear();
    }

    fn steps(&mut self, millis: u64) {
        (0..millis).for_each(|_| self.step());
    }

    /// Lets all devices connect at the same time and deliver a record each; returns how long the last one took.
    #[track_caller]
    fn all_connect(&mut self, within: vitalwire::Duration, round: u32) -> u64 {
        let start = self.world.now;
        for number in 0..DEVICES {
            self.world.node(number).device.connect(start);
            self.world.record(number, Lane::Alarm, &alarm(round)).unwrap();
        }
        let done = |world: &World| {
            world.nodes.iter().all(|node| node.device.is_connected() && node.device.is_drained())
        };
        while !done(&self.world) {
            assert!(self.world.now.since(start) < within, "kept out, round {round}");
            self.step();
        }
        self.world.now.since(start).as_millis()
    }

    fn all_disconnect(&mut self) {
        for number in 0..DEVICES {
            self.world.node(number).device.disconnect();
        }
        self.steps(500);
    }

    /// Takes note of the Hellos that devices have sent.
    fn record_hellos(&mut self) {
        let log = self.world.link.log.replace(Vec::new()).unwrap();
        let hellos =
            log.into_iter().filter(|(_, to, packet)| matches!(to, To::Backend(_)) && packet[0] == 0x11);
        self.flood.recorded.extend(hellos.map(|(.., hello)| hello));
    }

    fn patterns(&self) -> Vec<Pattern> {
        let connected = |event: &DeviceEvent| match event {
            DeviceEvent::Connected { pattern, .. } => Some(*pattern),
            _ => None,
        };
        self.world.nodes.iter().filter_map(|node| node.events.iter().rev().find_map(connected)).collect()
    }

    fn assert_flat(&self) {
        println!("{:?}, {} Hellos of strangers", self.peaks, self.flood.sent);
        let Peaks { half_open, jobs, known, pending } = self.peaks;
        assert!(half_open <= 1024 && jobs <= 1024 && known <= 1024 + DEVICES && pending <= 2 * DEVICES);
        for (path, (received, sent)) in &self.bytes {
            let device = (1000..1000 + DEVICES as u64).contains(path);
            assert!(device || *sent <= 3 * received, "path {path}: {sent} for {received}");
        }
    }
}

/// Gets a cookie for each path, and then some Hellos with it.
fn prove(siege: &mut Siege, paths: u64, hellos: usize) {
    for path in PROVEN..PROVEN + paths {
        let mut bot = PuppetDevice::new(siege.world.pki.device(901), siege.world.pki.anchors(), None);
        bot.rng = Rng::new(path);
        let cookie: Option<Cookie> = (0..20).find_map(|_| {
            let (now, mut hello) = (siege.world.now, bot.hello());
            siege.bytes.entry(path).or_default().0 += hello.len() as u64;
            let mut inbound = [Inbound { path, packet: &mut hello }];
            siege.world.backend.handle_packets(now, &mut inbound, &mut |_| {});
            siege.world.settle();
            let sent = siege.world.elsewhere.replace(Vec::new()).unwrap();
            let to_bot = sent.into_iter().filter(|(to, _)| *to == path);
            to_bot.into_iter().find_map(|(_, packet)| {
                siege.bytes.entry(path).or_default().1 += packet.len() as u64;
                (packet[0] == 0x14 && bot.follow_retry(&packet)).then_some(bot.cookie?)
            })
        });
        assert!(cookie.is_some(), "no Retry");
        siege.flood.proven.extend((0..hellos).map(|_| (path, bot.hello())));
    }
}

#[test]
fn devices_get_in_through_twenty_times_the_capacity() {
    //= SPEC.md#admission
    //= type=test
    //# What a backend remembers of paths MUST NOT grow with their number, and who brings many MUST NOT be able to have another one forgotten.
    let mut siege = Siege::new(1);
    siege.steps(1_000);
    assert!(siege.world.backend.admission(siege.world.now).under_load, "the attack works");
    prove(&mut siege, 20, 20);
    // XX, and IK for those that have the backend's key. Nobody has heard of the devices before.
    let first = siege.all_connect(secs(3), 1);
    let patterns = siege.patterns();
    assert_eq!(patterns.len(), DEVICES);
    assert!([Pattern::Xx, Pattern::Ik].iter().all(|pattern| patterns.contains(pattern)));
    siege.record_hellos();
    siege.steps(1_000);
    siege.all_disconnect();
    // With tickets, which are asked for no cookie; the strangers have recorded Hellos by now.
    let second = siege.all_connect(secs(12), 2);
    let resumed = siege.patterns().iter().filter(|pattern| **pattern == Pattern::Resume).count();
    siege.record_hellos();
    siege.steps(1_000);
    siege.all_disconnect();
    let third = siege.all_connect(secs(12), 3);
    println!("the last of {DEVICES} devices after {first} ms, {second} ms ({resumed} resumed), {third} ms");
    assert!(resumed > DEVICES / 2, "tickets are taken: {resumed}");
    siege.steps(1_000);
    siege.world.app.store.assert_complete(0..DEVICES);
    siege.assert_flat();
    let discards = siege.world.backend.discards();
    for reason in [Discard::BadHelloMac, Discard::CookieRequired, Discard::DuplicateHello] {
        assert!(discards.of(reason) > 0, "{reason:?}");
    }
}

#[test]
fn devices_get_in_beside_strangers_who_prove_their_paths() {
    // 400 hosts of one attacker: each answers Retries, and goes on with as many Hellos as it can.
    let mut siege = Siege::new(2);
    siege.steps(500);
    prove(&mut siege, 400, 25);
    siege.flood.share_proven = 500;
    siege.steps(2_000);
    let took = siege.all_connect(secs(60), 1);
    println!("the last of {DEVICES} devices after {took} ms");
    siege.steps(500);
    siege.world.app.store.assert_complete(0..DEVICES);
    siege.assert_flat();
    assert!(siege.world.backend.discards().of(Discard::RateLimited) > 0, "the attack works");
}
