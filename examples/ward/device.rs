//! One device: a thread, a socket, and the run loop of `vitalwire::device::Device`.

use crate::clock::Clock;
use crate::signals::{Fact, Patient};
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration as Wall;
use vitalwire::delivery::Accepted;
use vitalwire::device::{Device, DeviceConfig, DeviceEvent, DeviceMemory, Link};
use vitalwire::handshake::Limits;
use vitalwire::wire::Pattern;
use vitalwire::{CallError, Discards, Duration, Instant, OsEntropy};

/// Bytes of RAM for records: a minute of ECG, roughly.
pub const OUTBOX: usize = 32 * 1024;

/// How a device lives, so that every kind of trouble is in the ward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It stays where it is, awake.
    Stays,
    /// It changes between two networks.
    Roams,
    /// Its radio and processor sleep most of the time.
    Sleeps,
}

impl Life {
    /// The life of the n-th device.
    pub const fn of(device: usize) -> Self {
        match device % 4 {
            1 => Self::Roams,
            2 => Self::Sleeps,
            _ => Self::Stays,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Stays => "stays",
            Self::Roams => "roams",
            Self::Sleeps => "sleeps",
        }
    }

    /// Until when it sleeps at this instant, if it does.
    fn asleep_until(self, now: Instant) -> Option<Instant> {
        let phase = now.as_millis() % (AWAKE + ASLEEP).as_millis();
        let rest = (AWAKE + ASLEEP).as_millis() - phase;
        (self == Self::Sleeps && phase >= AWAKE.as_millis()).then(|| now + Duration::from_millis(rest))
    }
}

/// One that sleeps is awake so long, by the ward's clock,
const AWAKE: Duration = Duration::from_secs(10);
/// and asleep so long.
const ASLEEP: Duration = Duration::from_secs(15);

/// What a device has to tell when it is done.
#[derive(Debug)]
pub struct Logbook {
    /// Every record that was accepted, and when.
    pub accepted: Vec<(Accepted, Instant)>,
    /// Everything was given to the outbox, and the backend's application has committed it.
    pub drained: bool,
    pub sessions: Vec<Pattern>,
    pub attempts_failed: u32,
    pub hash_ratchets: u32,
    pub dh_ratchets: u32,
    pub packets_sent: u64,
    pub bytes_sent: u64,
    /// How often a lane of the outbox was full, so that a record had to wait.
    pub full: u32,
    /// Records that the backend refused for good.
    pub refused: u32,
    pub discards: Discards,
}

/// What everybody can see while it runs.
#[derive(Debug, Default)]
pub struct Shown {
    pub accepted: AtomicU64,
    pub hash_ratchets: AtomicU64,
    pub dh_ratchets: AtomicU64,
}

/// Plays the patient's signals until they are over and everything is committed, or until `stop`.
pub fn run(
    patient: &Patient,
    config: DeviceConfig,
    relay: SocketAddr,
    clock: Clock,
    shown: &Shown,
    stop: &AtomicBool,
) -> Result<Logbook, String> {
    let descriptors = patient.descriptors()?;
    let mut outbox = vec![0u8; OUTBOX];
    let memory = DeviceMemory { outbox: &mut outbox, descriptors: &descriptors, backlog: &mut [] };
    let device = Device::new(limited(config, patient.max_packet)?, memory).map_err(text)?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(text)?;
    let log = Logbook {
        accepted: Vec::new(),
        drained: false,
        sessions: Vec::new(),
        attempts_failed: 0,
        hash_ratchets: 0,
        dh_ratchets: 0,
        packets_sent: 0,
        bytes_sent: 0,
        full: 0,
        refused: 0,
        discards: Discards::default(),
    };
    Bedside { device, socket, relay, clock, log, ratchets: (0, 0), shown }.run(patient, stop)
}

/// The settings of a link whose packets are at most so long, in both directions.
fn limited(mut config: DeviceConfig, max_packet: u16) -> Result<DeviceConfig, String> {
    let idle = config.limits.idle_timeout();
    config.limits = Limits::new(max_packet, config.limits.window(), idle).ok_or("bad limits")?;
    config.smallest_packet = max_packet;
    Ok(config)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

struct Bedside<'m> {
    device: Device<'m>,
    socket: UdpSocket,
    relay: SocketAddr,
    clock: Clock,
    log: Logbook,
    /// Those of the present session that are in the log already.
    ratchets: (u32, u32),
    shown: &'m Shown,
}

impl Bedside<'_> {
    fn run(mut self, patient: &Patient, stop: &AtomicBool) -> Result<Logbook, String> {
        // One queue per lane: a lane that is full holds up no other.
        let mut facts: [VecDeque<_>; 4] = Default::default();
        for (ready, fact) in patient.facts() {
            facts[fact.lane.index()].push_back((ready, fact));
        }
        let life = Life::of(patient.device);
        let now = self.clock.now();
        self.device.handle_link(now, Link::Up { max_packet: patient.max_packet });
        self.device.connect(now);
        loop {
            if let Some(until) = life.asleep_until(self.clock.now()) {
                self.sleep(until)?;
            }
            let now = self.clock.now();
            // 2. give records; one that finds no space is given again later
            for queue in &mut facts {
                while queue.front().is_some_and(|(ready, _)| *ready <= now) && self.give(now, &queue[0].1)? {
                    queue.pop_front();
                }
            }
            self.transmit(now)?;
            self.look_at_events();
            if facts.iter().all(VecDeque::is_empty) && self.device.is_drained() {
                self.log.drained = true;
                break;
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let next = facts.iter().filter_map(|queue| queue.front()).map(|(ready, _)| *ready);
            self.wait(self.device.poll_timeout().into_iter().chain(next).min())?;
        }
        self.device.disconnect();
        self.transmit(self.clock.now())?;
        self.look_at_events();
        self.log.discards = self.device.discards().clone();
        Ok(self.log)
    }

    /// Gives one record; tells whether there was space for it.
    fn give(&mut self, now: Instant, fact: &Fact) -> Result<bool, String> {
        let given = fact.with_record(|record| self.device.record_at(now, fact.lane, fact.time, record));
        match given {
            Some(Ok(accepted)) => {
                self.log.accepted.push((accepted, now));
                self.shown.accepted.fetch_add(accepted.count.into(), Ordering::Relaxed);
                Ok(true)
            }
            Some(Err(CallError::LaneFull)) => {
                self.log.full += 1;
                Ok(false)
            }
            Some(Err(error)) => Err(format!("a record was not accepted: {error}")),
            None => Ok(true),
        }
    }

    /// 5. sleep until a packet comes or something is due, and 1. take what came in.
    fn wait(&mut self, until: Option<Instant>) -> Result<(), String> {
        let wait = self.clock.wait(until, Wall::from_millis(1), Wall::from_millis(50));
        self.socket.set_read_timeout(Some(wait)).map_err(text)?;
        let mut buffer = [0u8; 2048];
        match self.socket.recv_from(&mut buffer) {
            Ok((len, _)) => self.device.handle_packet(self.clock.now(), &mut buffer[..len], &mut |_| {}),
            Err(error) if is_time_out(&error) => self.device.handle_timeout(self.clock.now()),
            Err(error) => return Err(text(error)),
        }
        Ok(())
    }

    /// The sensor goes on and keeps what it measures; the radio hears nothing.
    fn sleep(&mut self, until: Instant) -> Result<(), String> {
        std::thread::sleep(self.clock.wait(Some(until), Wall::ZERO, Wall::from_secs(60)));
        self.socket.set_nonblocking(true).map_err(text)?;
        let mut buffer = [0u8; 2048];
        while self.socket.recv_from(&mut buffer).is_ok() {}
        self.socket.set_nonblocking(false).map_err(text)
    }

    /// 3. send.
    fn transmit(&mut self, now: Instant) -> Result<(), String> {
        let mut out = [0u8; 1500];
        while let Some(packet) = self.device.poll_transmit(now, &mut OsEntropy, &mut out).map_err(text)? {
            self.log.packets_sent += 1;
            self.log.bytes_sent += packet.len() as u64;
            self.socket.send_to(packet, self.relay).map_err(text)?;
        }
        Ok(())
    }

    /// 4. look at the events, and count the ratchets: a new session begins without any.
    fn look_at_events(&mut self) {
        while let Some(event) = self.device.poll_event() {
            match event {
                DeviceEvent::Connected { pattern, .. } => self.log.sessions.push(pattern),
                DeviceEvent::ConnectFailed(_) => self.log.attempts_failed += 1,
                DeviceEvent::RecordsRefused { count, .. } => self.log.refused += count,
                _ => {}
            }
        }
        let (hash, dh) = self.device.ratchets();
        if hash < self.ratchets.0 || dh < self.ratchets.1 {
            self.ratchets = (0, 0);
        }
        let (more_hash, more_dh) = (hash - self.ratchets.0, dh - self.ratchets.1);
        self.ratchets = (hash, dh);
        self.log.hash_ratchets += more_hash;
        self.log.dh_ratchets += more_dh;
        self.shown.hash_ratchets.fetch_add(more_hash.into(), Ordering::Relaxed);
        self.shown.dh_ratchets.fetch_add(more_dh.into(), Ordering::Relaxed);
    }
}

/// A read that found nothing in its time.
pub fn is_time_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
