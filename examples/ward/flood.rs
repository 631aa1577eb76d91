//! Strangers: many packets from many ports, far more than the devices send. Some of them know what anybody may know: the
//! format, the public keys of the authority and of the backend, and what went over the air.

use crate::relay::Dice;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration as Wall, Instant as WallInstant};
use vitalwire::OsEntropy;
use vitalwire::crypto::PublicKey;
use vitalwire::handshake::{AwaitingReply, Initiator};
use vitalwire::identity::{LocalIdentity, TrustAnchors};
use vitalwire::limits::MAX_HELLO;
use vitalwire::wire::Cookie;

/// Ports that the strangers send from.
const PORTS: usize = 64;
/// How many of them come back with the cookie that they are sent, and after how long with another Hello.
const PROVERS: usize = 4;
const PROVE_AGAIN: Wall = Wall::from_millis(50);
/// After how long they ask for another cookie: shorter than one is good for at the fastest clock.
const COOKIE_LIFE: Wall = Wall::from_secs(1);
/// Hellos of each pattern that are made beforehand.
const HELLOS: usize = 200;
/// Hellos of devices that are remembered: the latest.
const RECORDED: usize = 512;
/// Packets that are sent at once, and in a second, at the most.
const BURST: u64 = 100;
const MOST: u64 = 40_000;

/// What strangers send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Noise,
    WrongMac,
    Foreign,
    Proven,
    Unfinished,
    Replayed,
}

impl Kind {
    pub const ALL: [Self; 6] =
        [Self::Noise, Self::WrongMac, Self::Foreign, Self::Proven, Self::Unfinished, Self::Replayed];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Noise => "random bytes",
            Self::WrongMac => "Hellos with a wrong MAC",
            Self::Foreign => "Hellos of IK, the credential of another authority",
            Self::Proven => "  the same with a cookie for the sender's port",
            Self::Unfinished => "Hellos of XX that nobody goes on with",
            Self::Replayed => "Hellos of the ward's devices, replayed",
        }
    }
}

/// What the relay has overheard: Hellos of the ward's devices.
#[derive(Debug, Default)]
pub struct Recorded(Mutex<VecDeque<Vec<u8>>>);

impl Recorded {
    pub fn add(&self, hello: &[u8]) {
        let mut hellos = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if hellos.len() == RECORDED {
            hellos.pop_front();
        }
        hellos.push_back(hello.to_vec());
    }

    fn pick(&self, dice: &mut Dice) -> Option<Vec<u8>> {
        let hellos = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hellos.get(dice.below(hellos.len() as u64) as usize).cloned()
    }
}

/// What the strangers did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// Packets, in the order of [`Kind::ALL`].
    pub packets: [u64; Kind::ALL.len()],
    pub answers: u64,
}

/// A stranger that gets itself a cookie.
#[derive(Default)]
struct Prover {
    asked: Option<(AwaitingReply, WallInstant)>,
    cookie: Option<(Cookie, WallInstant)>,
}

pub struct Flood {
    sockets: Vec<UdpSocket>,
    provers: Vec<Prover>,
    backend: SocketAddr,
    identity: LocalIdentity,
    anchors: TrustAnchors,
    key: PublicKey,
    /// Of IK and of XX.
    hellos: [Vec<Vec<u8>>; 2],
    dice: Dice,
    sent: Sent,
}

impl Flood {
    /// Binds the ports and makes Hellos. `key`: the backend's, which is no secret.
    pub fn bind(
        backend: SocketAddr,
        identity: LocalIdentity,
        anchors: TrustAnchors,
        key: PublicKey,
        seed: u64,
    ) -> Result<Self, crate::Error> {
        let bind = |_| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.set_nonblocking(true)?;
            Ok::<_, crate::Error>(socket)
        };
        let sockets = (0..PORTS).map(bind).collect::<Result<_, _>>()?;
        let provers = (0..PROVERS).map(|_| Prover::default()).collect();
        let dice = Dice::new(seed ^ 0xf100_d000);
        let sent = Sent::default();
        let hellos = [const { Vec::new() }; 2];
        let mut flood = Self { sockets, provers, backend, identity, anchors, key, hellos, dice, sent };
        for known in [true, false] {
            for _ in 0..HELLOS {
                let (_, hello) = flood.hello(known, None)?;
                flood.hellos[usize::from(!known)].push(hello);
            }
        }
        Ok(flood)
    }

    pub fn ports(&self) -> Result<Vec<SocketAddr>, crate::Error> {
        Ok(self.sockets.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>()?)
    }

    /// Sends `times` as many packets as the devices have sent by then, until `stop`.
    pub fn run(
        mut self,
        times: u64,
        devices: &AtomicU64,
        recorded: &Recorded,
        stop: &AtomicBool,
    ) -> Result<Sent, String> {
        let start = WallInstant::now();
        let (mut count, mut turn) = (0, 0);
        while times > 0 && !stop.load(Ordering::Relaxed) {
            let most = start.elapsed().as_millis() as u64 * MOST / 1000;
            let due = (times * devices.load(Ordering::Relaxed)).min(most);
            for _ in 0..due.saturating_sub(count).min(BURST) {
                count += 1;
                self.send_any(recorded);
            }
            self.prove().map_err(|error| error.to_string())?;
            self.listen(turn);
            turn += 1;
            std::thread::sleep(Wall::from_millis(1));
        }
        Ok(self.sent)
    }

    fn hello(&self, known: bool, cookie: Option<Cookie>) -> Result<(AwaitingReply, Vec<u8>), crate::Error> {
        let backend_key = known.then_some(&self.key);
        let initiator = Initiator { backend_key, cookie, ..Initiator::new(&self.identity, &self.anchors) };
        let mut out = [0; MAX_HELLO];
        let (state, len) = initiator.start(b"stranger", &mut OsEntropy, &mut out)?;
        Ok((state, out[..len].to_vec()))
    }

    fn send(&mut self, kind: Kind, port: usize, packet: &[u8]) {
        // A socket that has no room loses the packet.
        if self.sockets[port].send_to(packet, self.backend).is_ok() {
            self.sent.packets[kind as usize] += 1;
        }
    }

    fn send_any(&mut self, recorded: &Recorded) {
        let (choice, port) = (self.dice.below(20), self.dice.below(PORTS as u64) as usize);
        let made = self.dice.below(HELLOS as u64) as usize;
        let (kind, packet) = match choice {
            0..=7 => {
                let len = self.dice.below(300);
                (Kind::Noise, (0..len).map(|_| self.dice.next() as u8).collect())
            }
            8..=12 => {
                let mut hello = self.hellos[choice as usize % 2][made].clone();
                let bit = self.dice.below(128) as usize;
                let at = hello.len() - 1 - bit / 8;
                hello[at] ^= 1 << (bit % 8);
                (Kind::WrongMac, hello)
            }
            13..=15 => (Kind::Foreign, self.hellos[0][made].clone()),
            16 => (Kind::Unfinished, self.hellos[1][made].clone()),
            _ => match recorded.pick(&mut self.dice) {
                Some(hello) => (Kind::Replayed, hello),
                None => return,
            },
        };
        self.send(kind, port, &packet);
    }

    /// Shows the credential again from the ports that can have a cookie, with it or to get it.
    fn prove(&mut self) -> Result<(), crate::Error> {
        let now = WallInstant::now();
        for port in 0..PROVERS {
            let prover = &mut self.provers[port];
            if prover.asked.as_ref().is_some_and(|(_, since)| now - *since < PROVE_AGAIN) {
                continue;
            }
            prover.cookie = prover.cookie.filter(|(_, since)| now - *since < COOKIE_LIFE);
            let cookie = prover.cookie.map(|(cookie, _)| cookie);
            let (state, hello) = self.hello(true, cookie)?;
            self.provers[port].asked = Some((state, now));
            self.send(if cookie.is_some() { Kind::Proven } else { Kind::Foreign }, port, &hello);
        }
        Ok(())
    }

    /// Takes what is answered, and cookies from it; most ports have their turn now and then only.
    fn listen(&mut self, turn: usize) {
        let mut buffer = [0; 2048];
        let has_turn = |port: usize| port < PROVERS || (port + turn).is_multiple_of(8);
        for (port, socket) in self.sockets.iter().enumerate().filter(|(port, _)| has_turn(*port)) {
            while let Ok((len, _)) = socket.recv_from(&mut buffer) {
                self.sent.answers += 1;
                let Some(prover) = self.provers.get_mut(port) else { continue };
                let asked = prover.asked.as_ref();
                if let Some(cookie) = asked.and_then(|(state, _)| state.follow_retry(&buffer[..len])) {
                    prover.cookie = Some((cookie, WallInstant::now()));
                }
            }
        }
    }
}
