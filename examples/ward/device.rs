//! One device: a thread, a socket, and the run loop of `vitalwire::device::Device`.

use crate::clock::Clock;
use crate::signals::{Fact, Patient};
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration as Wall;
use vitalwire::delivery::{Accepted, LanePolicy};
use vitalwire::device::{BackendPin, Device, DeviceConfig, DeviceEvent, DeviceMemory, Link, StorageConfig};
use vitalwire::framing::Lane;
use vitalwire::handshake::Limits;
use vitalwire::storage::{MemoryStorage, StorageKey};
use vitalwire::wire::Pattern;
use vitalwire::{CallError, CloseReason, Discards, Duration, Instant, OsEntropy};

/// Bytes of RAM for records: a minute of ECG, roughly.
pub const OUTBOX: usize = 32 * 1024;
/// Bytes of entries that the region of each lane takes, and bytes of items.
const REGION: usize = 256 * 1024;

/// How a device lives, so that every kind of trouble is in the ward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It stays where it is, awake.
    Stays,
    /// It changes between two networks.
    Roams,
    /// Its radio and processor sleep most of the time.
    Sleeps,
    /// It has storage, and boots three times: its power fails, and then it is updated.
    Reboots,
    /// It comes again and again, though it is told that it is revoked.
    Insists,
    /// It is off line at first, and stores; then it reboots with another credential, and sends what it has stored.
    Narrows,
}

impl Life {
    /// The life of the n-th device.
    pub const fn of(device: usize) -> Self {
        match device % 4 {
            1 => Self::Roams,
            2 => Self::Reboots,
            3 => Self::Sleeps,
            _ => Self::Stays,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Stays => "stays",
            Self::Roams => "roams",
            Self::Sleeps => "sleeps",
            Self::Reboots => "reboots",
            Self::Insists => "insists",
            Self::Narrows => "narrows",
        }
    }

    /// When a boot ends before its time, the n-th from 1, and how.
    fn next_mishap(self, boot: usize, patient: &Patient) -> Option<(Instant, Mishap)> {
        let part = |percent| Instant::from_millis(patient.measured.as_millis() * percent / 100);
        match (self, boot) {
            (Self::Reboots, 1) => Some((part(30), Mishap::PowerFailure)),
            (Self::Reboots, 2) => Some((part(65), Mishap::Update)),
            (Self::Narrows, 1) => Some((part(20).min(OFF_LINE), Mishap::Update)),
            _ => None,
        }
    }

    const fn has_storage(self) -> bool {
        matches!(self, Self::Reboots | Self::Narrows)
    }

    /// It is off line in this boot, the n-th from 1.
    const fn is_off_line(self, boot: usize) -> bool {
        matches!(self, Self::Narrows) && boot == 1
    }

    /// Until when it sleeps at this instant, if it does.
    fn asleep_until(self, now: Instant) -> Option<Instant> {
        let phase = now.as_millis() % (AWAKE + ASLEEP).as_millis();
        let rest = (AWAKE + ASLEEP).as_millis() - phase;
        (self == Self::Sleeps && phase >= AWAKE.as_millis()).then(|| now + Duration::from_millis(rest))
    }
}

/// Why a device reboots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    /// At any moment: what was in RAM only is lost.
    PowerFailure,
    /// When all is stored.
    Update,
}

/// One that sleeps is awake so long, by the ward's clock,
const AWAKE: Duration = Duration::from_secs(10);
/// and asleep so long.
const ASLEEP: Duration = Duration::from_secs(15);

/// One that narrows is off line for no longer than this, so that its storage has room.
const OFF_LINE: Instant = Instant::from_millis(120_000);
/// One that insists waits so long before it comes again.
const INSISTS: Duration = Duration::from_secs(1);

/// Bytes of RAM of a device with storage, besides the outbox: for what is stored and read back.
const BACKLOG: usize = 8 * 1024;

/// What a device has to tell when it is done.
#[derive(Debug, Default)]
pub struct Logbook {
    pub accepted: Vec<Given>,
    /// The boots, one after the other.
    pub boots: Vec<Boot>,
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
    /// Facts that the device did not take, as its own credential does not permit them.
    pub out_of_scope: u32,
    /// How often it was told that it is revoked.
    pub revoked: u32,
    /// Of each boot.
    pub discards: Vec<Discards>,
}

/// A fact that was accepted.
#[derive(Debug)]
pub struct Given {
    pub ids: Accepted,
    /// Its boot's place in [`Logbook::boots`].
    pub boot: usize,
    /// When, by the ward's clock.
    pub at: Instant,
    /// The fact's place among the patient's facts.
    pub fact: usize,
    /// How many waveforms waited to be acknowledged.
    pub behind: u32,
}

/// One boot of a device.
#[derive(Clone, Copy, Debug)]
pub struct Boot {
    pub number: u32,
    /// What the device's clock counts from, by the ward's clock.
    pub from: Instant,
    /// If its power failed: what was stored or settled in each lane by then. The rest was in RAM only.
    pub safe: Option<[Option<u64>; 4]>,
}

/// What everybody can see while it runs.
#[derive(Debug, Default)]
pub struct Shown {
    pub accepted: AtomicU64,
    pub packets: AtomicU64,
    pub hash_ratchets: AtomicU64,
    pub dh_ratchets: AtomicU64,
}

/// Plays the patient's signals until they are over and everything is committed, or until `stop`.
pub fn run(
    (patient, life): (&Patient, Life),
    config: impl Fn(usize) -> Result<DeviceConfig, CallError>,
    relay: SocketAddr,
    clock: Clock,
    shown: &Shown,
    stop: &AtomicBool,
) -> Result<Logbook, String> {
    let descriptors = patient.descriptors()?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(text)?;
    let mut sensor = Sensor::new(patient);
    // A map in memory that outlives the device. `integrations/flash` has a real driver.
    let (mut flash, mut pin) = (MemoryStorage::new([REGION; 4], REGION), None);
    let mut log = Logbook::default();
    loop {
        // What outlives a boot: the flash, and the pin in it.
        let (mut outbox, mut backlog) = (vec![0u8; OUTBOX], Vec::new());
        let mut config = limited(config(log.boots.len()).map_err(text)?, patient.max_packet)?;
        config.pin = config.pin.or(pin);
        if life.has_storage() {
            backlog.resize(BACKLOG, 0);
            config.storage = Some(StorageConfig::new(StorageKey::from_bytes([7; 32]), BACKLOG));
        }
        let memory = DeviceMemory { outbox: &mut outbox, descriptors: &descriptors, backlog: &mut backlog };
        let device = Device::new(config, memory).map_err(text)?;
        // The sensor keeps what it has not given away yet: the clock begins no later than that.
        let from = if log.boots.is_empty() { Instant::ZERO } else { sensor.oldest().min(clock.now()) };
        log.boots.push(Boot { number: 0, from, safe: None });
        let bedside = Bedside {
            device,
            life,
            again: None,
            socket: &socket,
            relay,
            clock,
            from,
            flash: &mut flash,
            pin: &mut pin,
            log: &mut log,
            ratchets: (0, 0),
            shown,
        };
        if bedside.run(patient, &mut sensor, stop)? == End::Done {
            return Ok(log);
        }
    }
}

/// Why a boot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Done,
    Reboot,
}

/// What is measured and not given to the outbox yet. It has a battery of its own.
struct Sensor {
    /// One queue per lane: a lane that is full holds up no other. When it is there, its number, the fact.
    facts: [VecDeque<(Instant, usize, Fact)>; 4],
}

impl Sensor {
    fn new(patient: &Patient) -> Self {
        let mut facts: [VecDeque<_>; 4] = Default::default();
        for (number, (ready, fact)) in patient.facts().into_iter().enumerate() {
            facts[fact.lane.index()].push_back((ready, number, fact));
        }
        Self { facts }
    }

    fn is_empty(&self) -> bool {
        self.facts.iter().all(VecDeque::is_empty)
    }

    fn next(&self) -> Option<Instant> {
        self.facts.iter().filter_map(|queue| queue.front()).map(|(ready, ..)| *ready).min()
    }

    /// The time of the oldest fact: a block is queued when it is whole, behind what was measured while it grew.
    fn oldest(&self) -> Instant {
        let times = self.facts.iter().flatten().map(|(_, _, fact)| fact.time);
        times.min().unwrap_or(Instant::ZERO)
    }
}

/// The settings of a link whose packets are at most so long, in both directions.
fn limited(mut config: DeviceConfig, max_packet: u16) -> Result<DeviceConfig, String> {
    let idle = config.limits.idle_timeout();
    config.limits = Limits::new(max_packet, config.limits.window(), idle).ok_or("bad limits")?;
    config.policies = [LanePolicy::Refuse; 4];
    config.smallest_packet = max_packet;
    Ok(config)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

struct Bedside<'m> {
    device: Device<'m>,
    life: Life,
    /// When it comes again, against what it was told.
    again: Option<Instant>,
    socket: &'m UdpSocket,
    relay: SocketAddr,
    clock: Clock,
    /// What the device's clock counts from.
    from: Instant,
    flash: &'m mut MemoryStorage,
    pin: &'m mut Option<BackendPin>,
    log: &'m mut Logbook,
    /// Those of the present session that are in the log already.
    ratchets: (u32, u32),
    shown: &'m Shown,
}

impl Bedside<'_> {
    /// The device's own clock.
    fn now(&self) -> Instant {
        Instant::ZERO + self.clock.now().since(self.from)
    }

    fn run(mut self, patient: &Patient, sensor: &mut Sensor, stop: &AtomicBool) -> Result<End, String> {
        let (life, boot) = (self.life, self.log.boots.len());
        let mishap = life.next_mishap(boot, patient);
        let now = self.now();
        if !life.is_off_line(boot) {
            self.device.handle_link(now, Link::Up { max_packet: patient.max_packet });
            self.device.connect(now);
        }
        let mut end = End::Done;
        loop {
            if let Some(until) = life.asleep_until(self.clock.now()) {
                self.sleep(until)?;
            }
            // 2. give records, the alarm last, so that it has to overtake; one that finds no space is given again later
            for queue in sensor.facts.iter_mut().rev() {
                while let Some((ready, number, fact)) = queue.front()
                    && *ready <= self.clock.now()
                    && self.give(*number, fact)?
                {
                    queue.pop_front();
                }
            }
            self.serve_storage();
            if self.again.is_some_and(|at| at <= self.now()) {
                self.again = None;
                self.device.connect(self.now());
            }
            self.transmit()?;
            self.look_at_events();
            if sensor.is_empty() && self.device.is_drained() {
                self.log.drained = true;
                break;
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
            if let Some((at, mishap)) = mishap
                && at <= self.clock.now()
            {
                if mishap == Mishap::Update && !self.device.is_all_stored() {
                    self.device.store_all();
                    continue;
                }
                end = End::Reboot;
                break;
            }
            let next = sensor.next().map(|at| Instant::ZERO + at.since(self.from));
            self.wait(self.device.poll_timeout().into_iter().chain(next).chain(self.again).min())?;
        }
        if end == End::Done {
            self.device.disconnect();
            self.transmit()?;
            self.look_at_events();
        }
        let safe = Lane::ALL.map(|lane| self.device.stored_through(lane));
        if let Some(boot) = self.log.boots.last_mut() {
            boot.number = self.device.boot().ok_or("the storage never answered")?;
            boot.safe = (end == End::Reboot).then_some(safe);
        }
        self.log.discards.push(self.device.discards().clone());
        Ok(end)
    }

    /// Gives one record; tells whether there was space for it.
    fn give(&mut self, number: usize, fact: &Fact) -> Result<bool, String> {
        let (now, time) = (self.now(), Instant::ZERO + fact.time.since(self.from));
        let behind = self.device.fill(Lane::Waveform).records;
        let given = fact.with_record(|record| self.device.record_at(now, fact.lane, time, record));
        match given {
            Some(Ok(ids)) => {
                self.shown.accepted.fetch_add(ids.count.into(), Ordering::Relaxed);
                let (at, boot) = (self.clock.now(), self.log.boots.len() - 1);
                self.log.accepted.push(Given { ids, boot, at, fact: number, behind });
                Ok(true)
            }
            Some(Err(CallError::LaneFull)) => {
                self.log.full += 1;
                Ok(false)
            }
            Some(Err(CallError::OutOfScope)) => {
                self.log.out_of_scope += 1;
                Ok(true)
            }
            Some(Err(error)) => Err(format!("a record was not accepted: {error}")),
            None => Ok(true),
        }
    }

    /// Does what the device asks of its flash.
    fn serve_storage(&mut self) {
        let now = self.now();
        while let Some(request) = self.device.poll_storage(now, &mut OsEntropy) {
            let reply = self.flash.serve(request);
            self.device.handle_storage(now, reply);
        }
    }

    /// 5. sleep until a packet comes or something is due, and 1. take what came in.
    fn wait(&mut self, until: Option<Instant>) -> Result<(), String> {
        let until = until.map(|until| self.from + until.since(Instant::ZERO));
        let wait = self.clock.wait(until, Wall::from_millis(1), Wall::from_millis(50));
        self.socket.set_read_timeout(Some(wait)).map_err(text)?;
        let mut buffer = [0u8; 2048];
        match self.socket.recv_from(&mut buffer) {
            Ok((len, _)) => self.device.handle_packet(self.now(), &mut buffer[..len], &mut |_| {}),
            Err(error) if is_time_out(&error) => self.device.handle_timeout(self.now()),
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
    fn transmit(&mut self) -> Result<(), String> {
        let now = self.now();
        let mut out = [0u8; 1500];
        while let Some(packet) = self.device.poll_transmit(now, &mut OsEntropy, &mut out).map_err(text)? {
            self.log.packets_sent += 1;
            self.shown.packets.fetch_add(1, Ordering::Relaxed);
            self.log.bytes_sent += packet.len() as u64;
            self.socket.send_to(packet, self.relay).map_err(text)?;
        }
        Ok(())
    }

    /// 4. look at the events, and count the ratchets: a new session begins without any.
    fn look_at_events(&mut self) {
        while let Some(event) = self.device.poll_event() {
            match event {
                DeviceEvent::Connected { backend, pattern, .. } => {
                    *self.pin = Some(backend);
                    self.log.sessions.push(pattern);
                }
                DeviceEvent::ConnectFailed(_) => self.log.attempts_failed += 1,
                DeviceEvent::Disconnected(CloseReason::Revoked) => {
                    self.log.revoked += 1;
                    self.again = (self.life == Life::Insists).then(|| self.now() + INSISTS);
                }
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
