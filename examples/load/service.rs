//! The service: one socket, a thread that routes packets, and a thread for each shard.

use crate::Failure;
use crate::args::Args;
use crate::histogram::Histogram;
use crate::link::{self, Clock, Orders, TODAY};
use crate::report::{Usage, usage};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{JoinHandle, sleep};
use std::time::Duration as Wall;
use vitalwire::backend::{
    AdmissionLimits, Backend, BackendConfig, BackendEvent, Batch, BatchRef, Grant, Inbound, Rate, Received,
    shard_of, shard_of_hello,
};
use vitalwire::crypto::{PublicKey, SigningKey, StaticSecret};
use vitalwire::delivery::Ledger;
use vitalwire::framing::Record;
use vitalwire::identity::{Authority, Identity, LocalIdentity, Role, Scopes, Time, TrustAnchors};
use vitalwire::{CloseReason, Discard, OsEntropy};

/// Packets that go to a shard at once, at the most, and parcels that wait for it. What comes above is dropped, as in a
/// router that is too slow: the devices send it again.
const PARCEL: usize = 64;
const WAITING: usize = 64;
/// The longest packet that is taken.
const LONGEST: usize = 1500;
/// Handshakes that a shard computes before it looks at packets again.
const HANDSHAKES: usize = 4;

/// Packets for one shard, one behind the other.
#[derive(Default)]
struct Parcel {
    bytes: Vec<u8>,
    packets: Vec<(SocketAddr, usize)>,
}

/// What the threads count while they work.
#[derive(Default)]
pub struct Shown {
    pub sessions: AtomicU64,
    pub records: AtomicU64,
    pub packets_in: AtomicU64,
    pub packets_out: AtomicU64,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    /// Packets for which a shard had no room.
    pub dropped: AtomicU64,
}

impl Shown {
    fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub fn of(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

/// What is stored of a device: not its records, but what tells that each came once.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    ledger: Ledger,
    pub stored: u64,
    /// The sum of the records' numbers.
    pub sum: u64,
    pub repeats: u64,
}

/// What one shard has to tell at the end.
#[derive(Default)]
pub struct ShardReport {
    pub charts: BTreeMap<Identity, Chart>,
    pub latency: Histogram,
    pub discards: Vec<(Discard, u32)>,
    pub lost_sessions: Vec<CloseReason>,
}

/// A moment in the run.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub micros: u64,
    pub sessions: u64,
    pub records: u64,
    pub packets_in: u64,
    pub packets_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub usage: Usage,
}

/// What the whole service has to tell.
pub struct Summary {
    pub shards: Vec<ShardReport>,
    pub moments: Vec<Moment>,
    pub dropped: u64,
}

pub struct Service {
    clock: Clock,
    address: SocketAddr,
    backend: PublicKey,
    authority: [u8; 32],
    devices: usize,
    shown: Arc<Shown>,
    stop: Arc<AtomicBool>,
    router: JoinHandle<Result<(), String>>,
    shards: Vec<JoinHandle<Result<ShardReport, String>>>,
    moments: std::cell::RefCell<Vec<Moment>>,
}

impl Service {
    pub fn start(args: &Args) -> Result<Self, Failure> {
        let clock = Clock::start()?;
        let key = SigningKey::generate(&mut OsEntropy)?;
        let authority = *key.expose();
        let signer = Authority::new(key);
        let secret = StaticSecret::generate(&mut OsEntropy)?;
        let identity = LocalIdentity::issue(&signer, secret, &link::request(Role::Backend, 0))?;
        let anchors = TrustAnchors::new(&[signer.public_key()])?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (shown, stop) = (Arc::new(Shown::default()), Arc::new(AtomicBool::new(false)));
        let (mut senders, mut shards) = (Vec::new(), Vec::new());
        for shard in 0..args.shards {
            let (sender, parcels) = sync_channel(WAITING);
            senders.push(sender);
            let mut config = BackendConfig::new(identity.clone(), anchors, Time::known(TODAY));
            config.shard = shard as u8;
            // They all come from one address, and many from one port: here the rates of a path would be theirs together.
            config.admission = AdmissionLimits {
                per_path: Rate::UNLIMITED,
                per_prefix: Rate::UNLIMITED,
                ..AdmissionLimits::NODE
            };
            let worker = Shard {
                clock,
                backend: Backend::new(config)?,
                socket: socket.try_clone()?,
                shown: shown.clone(),
                report: ShardReport::default(),
            };
            shards.push(std::thread::spawn(move || worker.run(&parcels).map_err(|error| error.to_string())));
        }
        let (address, backend) = (socket.local_addr()?, identity.public_key());
        let router = {
            let (shown, stop) = (shown.clone(), stop.clone());
            std::thread::spawn(move || route(&socket, &senders, &shown, &stop).map_err(|e| e.to_string()))
        };
        let moments = std::cell::RefCell::new(vec![Self::moment(clock, &shown)]);
        let devices = args.devices;
        Ok(Self { clock, address, backend, authority, devices, shown, stop, router, shards, moments })
    }

    pub fn orders(&self, args: &Args) -> Orders {
        Orders {
            args: *args,
            clock: self.clock,
            server: self.address,
            backend: self.backend,
            authority: SigningKey::from_bytes(self.authority),
        }
    }

    fn moment(clock: Clock, shown: &Shown) -> Moment {
        Moment {
            micros: clock.micros(),
            sessions: Shown::of(&shown.sessions),
            records: Shown::of(&shown.records),
            packets_in: Shown::of(&shown.packets_in),
            packets_out: Shown::of(&shown.packets_out),
            bytes_in: Shown::of(&shown.bytes_in),
            bytes_out: Shown::of(&shown.bytes_out),
            usage: usage(),
        }
    }

    /// Looks on, and prints a line a second, until the devices have ended.
    pub fn watch(&self, child: &mut Child) -> Result<(), Failure> {
        loop {
            sleep(Wall::from_secs(1));
            let now = Self::moment(self.clock, &self.shown);
            let before = self.moments.borrow().last().copied().unwrap_or(now);
            let seconds = (now.micros - before.micros) as f64 / 1e6;
            let rate = |now: u64, before: u64| (now - before) as f64 / seconds;
            println!(
                "{:>4} s  {:>6} of {} sessions  {:>7.0} records/s  {:>7.0} packets/s in {:>7.0} out  {:>4} MB",
                now.micros / 1_000_000,
                now.sessions,
                self.devices,
                rate(now.records, before.records),
                rate(now.packets_in, before.packets_in),
                rate(now.packets_out, before.packets_out),
                now.usage.resident.unwrap_or(0) / 1_000_000,
            );
            self.moments.borrow_mut().push(now);
            if let Some(status) = child.try_wait()? {
                return if status.success() { Ok(()) } else { Err("the devices' process failed".into()) };
            }
            if self.router.is_finished() || self.shards.iter().any(JoinHandle::is_finished) {
                child.kill()?;
                return Err("a part of the service ended before its time".into());
            }
        }
    }

    pub fn stop(self) -> Result<Summary, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        self.router.join().map_err(|_| "the router panicked")??;
        let mut shards = Vec::new();
        for shard in self.shards {
            shards.push(shard.join().map_err(|_| "a shard panicked")??);
        }
        let dropped = Shown::of(&self.shown.dropped);
        Ok(Summary { shards, moments: self.moments.into_inner(), dropped })
    }
}

/// Reads the socket and gives each packet to its shard, which the packet itself tells. A Hello belongs to none: it goes
/// where its path leads, so that copies of it meet. A connection id of a shard that there is not was given by nobody.
fn route(
    socket: &UdpSocket,
    shards: &[SyncSender<Parcel>],
    shown: &Shown,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let mut buffer = [0u8; LONGEST];
    let mut parcels: Vec<Parcel> = shards.iter().map(|_| Parcel::default()).collect();
    socket.set_read_timeout(Some(Wall::from_millis(50)))?;
    while !stop.load(Ordering::Relaxed) {
        // The first one is waited for; what is there already comes along.
        let mut waits = true;
        for _ in 0..PARCEL * shards.len() {
            let received = socket.recv_from(&mut buffer);
            if waits {
                socket.set_nonblocking(true)?;
                waits = false;
            }
            let (len, path) = match received {
                Ok(received) => received,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                // A port that is closed again says so here.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error.into()),
            };
            let of_path = || shard_of_hello(&path, shards.len() as u8);
            let shard = shard_of(&buffer[..len]).unwrap_or_else(of_path);
            let Some(parcel) = parcels.get_mut(usize::from(shard)) else {
                Shown::add(&shown.dropped, 1);
                continue;
            };
            parcel.bytes.extend_from_slice(&buffer[..len]);
            parcel.packets.push((path, len));
            Shown::add(&shown.packets_in, 1);
            Shown::add(&shown.bytes_in, len);
        }
        socket.set_nonblocking(false)?;
        for (parcel, shard) in parcels.iter_mut().zip(shards) {
            let parcel = std::mem::take(parcel);
            let count = parcel.packets.len();
            if count > 0 && shard.try_send(parcel).is_err() {
                Shown::add(&shown.dropped, count);
            }
        }
    }
    Ok(())
}

struct Shard {
    clock: Clock,
    backend: Backend<SocketAddr>,
    socket: UdpSocket,
    shown: Arc<Shown>,
    report: ShardReport,
}

impl Shard {
    /// Serves until nobody routes any more.
    fn run(mut self, parcels: &Receiver<Parcel>) -> Result<ShardReport, Failure> {
        let mut rng = OsEntropy;
        let mut work_left = false;
        loop {
            let now = self.clock.now();
            let timer = self.backend.poll_timeout().map_or(50, |at| at.since(now).as_millis().min(50));
            let wait = if work_left { 0 } else { timer.max(1) };
            match parcels.recv_timeout(Wall::from_millis(wait)) {
                Ok(parcel) => self.take(parcel),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = self.clock.now();
            self.backend.handle_timeout(now);
            work_left = false;
            for turn in 0.. {
                let Some(job) = self.backend.poll_handshake() else { break };
                let done = job.run(&mut rng);
                self.backend.handle_handshake(now, done);
                if turn == HANDSHAKES {
                    work_left = true;
                    break;
                }
            }
            self.handle_events()?;
            self.transmit(&mut rng)?;
        }
        let discards = self.backend.discards();
        self.report.discards = discards.iter().filter(|(_, count)| *count > 0).collect();
        Ok(self.report)
    }

    fn take(&mut self, mut parcel: Parcel) {
        let now = self.clock.now();
        let mut rest = parcel.bytes.as_mut_slice();
        let mut inbound = Vec::with_capacity(parcel.packets.len());
        for (path, len) in parcel.packets {
            let (packet, behind) = rest.split_at_mut(len);
            rest = behind;
            inbound.push(Inbound { path, packet });
        }
        let (clock, shown, report) = (self.clock, &self.shown, &mut self.report);
        let mut stored: Vec<BatchRef> = Vec::new();
        self.backend.handle_packets(now, &mut inbound, &mut |received| {
            if let Received::Batch(batch) = received
                && store(report, clock, shown, &batch)
            {
                stored.push(batch.handle());
            }
        });
        for batch in stored {
            self.backend.commit(now, batch);
        }
    }

    fn handle_events(&mut self) -> Result<(), Failure> {
        let now = self.clock.now();
        while let Some(event) = self.backend.poll_event() {
            match event {
                BackendEvent::Pending { pending, credential, .. } => {
                    let chart = self.report.charts.entry(credential.identity()).or_default();
                    let grant =
                        Grant { scopes: Scopes::PUBLISH, ledger: chart.ledger.clone(), ..Grant::default() };
                    // One that has expired meanwhile comes again.
                    let _ = self.backend.accept(now, pending, grant);
                }
                BackendEvent::Connected { .. } => Shown::add(&self.shown.sessions, 1),
                BackendEvent::Disconnected { reason, .. } if reason != CloseReason::Application => {
                    self.report.lost_sessions.push(reason);
                }
                BackendEvent::EventsLost(count) => return Err(format!("{count} events were lost").into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn transmit(&mut self, rng: &mut OsEntropy) -> Result<(), Failure> {
        let mut out = [0u8; LONGEST];
        let now = self.clock.now();
        while let Some(transmit) = self.backend.poll_transmit(now, rng, &mut out)? {
            Shown::add(&self.shown.packets_out, 1);
            Shown::add(&self.shown.bytes_out, transmit.packet.len());
            // A socket that has no room loses the packet, as a link does.
            let _ = self.socket.send_to(transmit.packet, transmit.path);
        }
        Ok(())
    }
}

/// Takes note of a batch's records: one transaction of the ledger and what stands for the records.
fn store(report: &mut ShardReport, clock: Clock, shown: &Shown, batch: &Batch<'_>) -> bool {
    let chart = report.charts.entry(batch.identity()).or_default();
    batch.closed().iter().for_each(|closed| chart.ledger.close(closed));
    let mark = batch.mark();
    let Ok(new) = chart.ledger.apply(&mark) else { return false };
    let micros = clock.micros();
    for record in batch.records() {
        let Record::Measurement(measurement) = &record.record else { return false };
        let [Some(at), Some(number), _] = [0, 1, 2].map(|index| measurement.values.get(index)?.valid())
        else {
            return false;
        };
        if new >> (record.sequence - mark.first) & 1 == 0 {
            chart.repeats += 1;
            continue;
        }
        chart.stored += 1;
        chart.sum += number as u64;
        report.latency.add(micros.saturating_sub(at as u64));
        Shown::add(&shown.records, 1);
    }
    true
}
