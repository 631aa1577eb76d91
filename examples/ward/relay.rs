//! A relay that does its worst: it drops, duplicates, reorders, corrupts, replays, splices and forges.
//!
//! Every device has a link of its own: one socket towards it, one towards the backend. The fate of the n-th packet
//! of a link's direction depends on the seed alone, not on what the threads do meanwhile.

use crate::args::Args;
use crate::clock::Clock;
use crate::flood::Recorded;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration as Wall;
use vitalwire::wire::Side;
use vitalwire::{Duration, Instant};

/// What the relay did, in packets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deeds {
    pub received: u64,
    pub sent: u64,
    pub dropped: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub corrupted: u64,
    pub replayed: u64,
    pub spliced: u64,
    pub forged: u64,
}

/// SplitMix64: what a simulation needs, and nothing for secrets.
pub struct Dice(u64);

impl Dice {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// One direction of one link: its dice, and what it has seen.
struct Way {
    dice: Dice,
    /// The first packets, which are those of the handshake, and the latest.
    first: Vec<Vec<u8>>,
    latest: VecDeque<Vec<u8>>,
}

/// The first byte of a Hello.
pub const HELLO: u8 = 0x11;
const KEPT_FIRST: usize = 8;
const KEPT_LATEST: usize = 400;

/// How long a device that roams stays in one network, by the ward's clock.
const STAY: Duration = Duration::from_secs(30);

impl Way {
    fn remember(&mut self, packet: &[u8]) {
        if self.first.len() < KEPT_FIRST {
            self.first.push(packet.to_vec());
        }
        if self.latest.len() == KEPT_LATEST {
            self.latest.pop_front();
        }
        self.latest.push_back(packet.to_vec());
    }

    fn old_packet(&self, choice: u64, handshake: bool) -> Option<&Vec<u8>> {
        let pick = |len: usize| (choice % len.max(1) as u64) as usize;
        if handshake {
            self.first.get(pick(self.first.len()))
        } else {
            self.latest.get(pick(self.latest.len()))
        }
    }
}

struct Link {
    near: UdpSocket,
    /// Towards the backend: the network that the device is in, and for one that roams another one.
    far: Vec<UdpSocket>,
    /// Where the device is; known once it has sent something.
    device: Option<SocketAddr>,
    to_backend: Way,
    to_device: Way,
}

impl Link {
    /// The network that the device is in now.
    fn network(&self, now: Instant) -> &UdpSocket {
        let turn = now.as_millis() / STAY.as_millis();
        &self.far[usize::try_from(turn).unwrap_or(0) % self.far.len()]
    }

    fn way(&mut self, from: Side) -> &mut Way {
        match from {
            Side::Device => &mut self.to_backend,
            Side::Backend => &mut self.to_device,
        }
    }
}

/// A packet on its way. The order is that of a heap which gives the earliest first.
#[derive(PartialEq, Eq)]
struct Held {
    due: Instant,
    number: u64,
    link: usize,
    from: Side,
    packet: Vec<u8>,
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.due, other.number).cmp(&(self.due, self.number))
    }
}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

pub struct Relay {
    args: Args,
    clock: Clock,
    links: Vec<Link>,
    backend: SocketAddr,
    held: BinaryHeap<Held>,
    number: u64,
    deeds: Deeds,
    /// What it has overheard for the strangers.
    recorded: Arc<Recorded>,
}

impl Relay {
    /// Binds the sockets of `links` links; the devices on those for which `roams` holds change between two networks.
    pub fn bind(
        args: Args,
        clock: Clock,
        links: usize,
        (backend, recorded): (SocketAddr, Arc<Recorded>),
        roams: impl Fn(usize) -> bool,
    ) -> io::Result<Self> {
        let socket = || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.set_nonblocking(true)?;
            Ok::<_, io::Error>(socket)
        };
        let way = |link: u64, side: u64| {
            let mut seed = Dice::new(args.seed.wrapping_mul(0x1000).wrapping_add(link * 2 + side));
            Way { dice: Dice::new(seed.next()), first: Vec::new(), latest: VecDeque::new() }
        };
        let link = |n: usize| {
            let networks = if roams(n) { 2 } else { 1 };
            let n = n as u64;
            Ok(Link {
                near: socket()?,
                far: (0..networks).map(|_| socket()).collect::<io::Result<_>>()?,
                device: None,
                to_backend: way(n, 0),
                to_device: way(n, 1),
            })
        };
        let links = (0..links).map(link).collect::<io::Result<_>>()?;
        let (held, deeds) = (BinaryHeap::new(), Deeds::default());
        Ok(Self { args, clock, links, backend, held, number: 0, deeds, recorded })
    }

    /// Where a device sends to.
    pub fn near(&self, link: usize) -> io::Result<SocketAddr> {
        self.links[link].near.local_addr()
    }

    /// Where the backend hears a device from.
    pub fn far(&self, link: usize) -> io::Result<Vec<SocketAddr>> {
        self.links[link].far.iter().map(UdpSocket::local_addr).collect()
    }

    /// Relays until `stop`. A packet that a socket does not take is one more that is lost.
    pub fn run(mut self, stop: &AtomicBool, tell: impl Fn(Deeds)) -> Deeds {
        let mut buffer = [0u8; 2048];
        while !stop.load(Ordering::Relaxed) {
            let before = self.deeds.received;
            for link in 0..self.links.len() {
                while let Ok((len, from)) = self.links[link].near.recv_from(&mut buffer) {
                    self.links[link].device = Some(from);
                    self.handle(link, Side::Device, &buffer[..len]);
                }
                for network in 0..self.links[link].far.len() {
                    while let Ok((len, from)) = self.links[link].far[network].recv_from(&mut buffer) {
                        if from == self.backend {
                            self.handle(link, Side::Backend, &buffer[..len]);
                        }
                    }
                }
            }
            self.deliver();
            tell(self.deeds);
            if self.deeds.received == before {
                std::thread::sleep(Wall::from_micros(500));
            }
        }
        self.deeds
    }

    fn deliver(&mut self) {
        let now = self.clock.now();
        while self.held.peek().is_some_and(|held| held.due <= now) {
            let Some(Held { link, from, packet, .. }) = self.held.pop() else { return };
            let link = &self.links[link];
            let sent = match (from, link.device) {
                (Side::Device, _) => link.network(now).send_to(&packet, self.backend),
                (Side::Backend, Some(device)) => link.near.send_to(&packet, device),
                (Side::Backend, None) => continue,
            };
            self.deeds.sent += u64::from(sent.is_ok());
        }
    }

    fn hold(&mut self, link: usize, from: Side, after_ms: u64, packet: Vec<u8>) {
        self.number += 1;
        let due = self.clock.now() + Duration::from_millis(after_ms);
        self.held.push(Held { due, number: self.number, link, from, packet });
    }

    /// Decides what becomes of a packet. The dice are thrown the same number of times for each.
    fn handle(&mut self, link: usize, from: Side, packet: &[u8]) {
        self.deeds.received += 1;
        if from == Side::Device && link < self.args.devices && packet.first() == Some(&HELLO) {
            self.recorded.add(packet);
        }
        let Args { loss, duplicate, reorder, attack, .. } = self.args;
        let links = self.links.len() as u64;
        let way = self.links[link].way(from);
        way.remember(packet);
        let dice = &mut way.dice;
        let dropped = dice.percent(loss);
        let (doubled, copies) = (dice.percent(duplicate), 1 + dice.below(3));
        let reordered = dice.percent(reorder);
        let delays: [u64; 4] =
            std::array::from_fn(|_| 10 + dice.below(30) + if reordered { dice.below(500) } else { 0 });
        let [corrupted, replayed, spliced, forged] = std::array::from_fn(|_| dice.percent(attack));
        let (bit, old, other, variant) = (dice.next(), dice.next(), dice.below(links), dice.next());

        if dropped {
            self.deeds.dropped += 1;
        } else {
            let copies = if doubled { copies } else { 0 };
            self.deeds.reordered += u64::from(reordered);
            self.deeds.duplicated += copies;
            let mut packet = packet.to_vec();
            if corrupted {
                self.deeds.corrupted += 1;
                corrupt(&mut packet, bit);
            }
            for delay in &delays[..=copies as usize] {
                self.hold(link, from, *delay, packet.clone());
            }
        }
        if replayed && let Some(old) = self.links[link].way(from).old_packet(old, variant & 3 == 0).cloned() {
            self.deeds.replayed += 1;
            self.hold(link, from, delays[0] + 5, old);
        }
        if spliced {
            self.splice(link, other as usize, from, packet, variant, delays[1]);
        }
        if forged {
            let forgery = self.forge(link, from, packet, old, variant);
            self.deeds.forged += 1;
            self.hold(link, from, delays[2], forgery);
        }
    }

    /// Brings packets of two sessions together: a whole one on the other's path, or one's header on the other's body.
    fn splice(&mut self, link: usize, other: usize, from: Side, packet: &[u8], variant: u64, delay: u64) {
        if other == link {
            return;
        }
        let Some(theirs) = self.links[other].way(from).latest.back().cloned() else { return };
        self.deeds.spliced += 1;
        let cut = (1 + variant as usize % 24).min(packet.len()).min(theirs.len());
        match variant % 3 {
            0 => self.hold(other, from, delay, packet.to_vec()),
            1 => self.hold(link, from, delay, [&packet[..cut], &theirs[cut..]].concat()),
            _ => self.hold(other, from, delay, [&theirs[..cut], &packet[cut..]].concat()),
        }
    }

    /// Makes a packet that nobody sent.
    fn forge(&mut self, link: usize, from: Side, packet: &[u8], choice: u64, variant: u64) -> Vec<u8> {
        let mut dice = Dice::new(choice);
        let way = self.links[link].way(from);
        match variant % 6 {
            // noise
            0 => (0..dice.below(300)).map(|_| dice.next() as u8).collect(),
            // the right header, and noise behind it; mostly a later counter, or the next epoch
            1 | 2 => {
                let mut forgery = packet.to_vec();
                for byte in forgery.iter_mut().skip(6 + variant as usize % 4) {
                    *byte = dice.next() as u8;
                }
                if variant % 6 == 2
                    && let Some(first) = forgery.first_mut()
                {
                    *first ^= 0b0010_0000;
                }
                forgery
            }
            // every type of handshake packet, and noise
            3 => {
                let kind = 0x10 | (1 + dice.below(6)) as u8;
                std::iter::once(kind).chain((0..95 + dice.below(150)).map(|_| dice.next() as u8)).collect()
            }
            // an old Hello, Finish or Reply, as it was or with one bit altered
            4 => way.old_packet(choice, true).cloned().unwrap_or_default(),
            _ => {
                let mut forgery = way.old_packet(choice, true).cloned().unwrap_or_default();
                corrupt(&mut forgery, dice.next());
                forgery
            }
        }
    }
}

fn corrupt(packet: &mut [u8], bit: u64) {
    if let Some(at) = (bit / 8).checked_rem(packet.len() as u64) {
        packet[at as usize] ^= 1 << (bit % 8);
    }
}
