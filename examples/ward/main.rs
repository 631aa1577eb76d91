//! A backend and a ward of devices on UDP sockets, with a hostile relay between them: `--help` says more.
//!
//! Read `device.rs` for how firmware drives a device, `service.rs` for how a service drives a backend and commits
//! what it has stored. `relay.rs` is the enemy, `oracle.rs` the judge.

#![allow(
    unreachable_pub,
    reason = "the modules of a program are private: `pub` says what the others may use"
)]

mod args;
mod capture;
mod clock;
mod device;
mod oracle;
mod plain;
mod relay;
mod report;
mod service;
mod signals;

use args::{Args, HELP};
use capture::Capture;
use clock::Clock;
use device::{Life, Shown};
use relay::{Deeds, Relay};
use report::{DeviceReport, KindBytes, Report};
use service::{Charts, Threads, Tickets};
use signals::Patient;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, UdpSocket};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration as Wall, Instant as WallInstant};
use vitalwire::backend::BackendConfig;
use vitalwire::crypto::{PublicKey, SigningKey, StaticSecret};
use vitalwire::device::{BackendPin, DeviceConfig};
use vitalwire::identity::{
    Authority, CredentialRequest, Identity, LocalIdentity, Role, Scopes, SubjectId, Time, TrustAnchors,
};
use vitalwire::session::RekeyPolicy;
use vitalwire::{CallError, Duration, Instant, OsEntropy, UnixSeconds};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// How long the devices may take, after the last measurement, until everything is committed.
const DRAIN: Wall = Wall::from_secs(60);
/// How long threads may take to end when they are told to.
const FAREWELL: Wall = Wall::from_secs(5);
/// The wall clock of credentials: fixed, so that nothing here expires.
const TODAY: UnixSeconds = UnixSeconds(1_750_000_000);

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("ward: {error}; --help lists the options");
            return ExitCode::from(2);
        }
    };
    let (failures, unstored) = match run(args) {
        Ok(report) => {
            report.print();
            (report.failures(), report.unstored())
        }
        Err(error) => (vec![error.to_string()], 0),
    };
    if failures.is_empty() {
        let but = match unstored {
            0 => String::new(),
            count => format!(" but for the {count} that went with a device's power"),
        };
        println!("\nPASSED: every record arrived once and unaltered{but}, and nothing else was accepted");
        return ExitCode::SUCCESS;
    }
    println!("\nFAILED");
    for failure in &failures {
        println!("  {failure}");
    }
    // Threads that hang end with the process.
    ExitCode::FAILURE
}

/// Low enough that a few minutes see several rekeys of both kinds. What else holds a rekey back holds here too: a
/// device moves on only when the previous epoch's packets are out of both ends' windows, after 128 packets or more each
/// way. So the DH ratchet is given more than one such epoch, and the hash ratchet gets its turn.
fn rekey_policy() -> Result<RekeyPolicy, CallError> {
    RekeyPolicy::default().hash_after_packets(40)?.dh_after_packets(180)?.dh_interval(Duration::from_secs(10))
}

/// The authority's credential for a fresh key.
fn identity(authority: &Authority, subject: SubjectId, role: Role) -> Result<LocalIdentity, Error> {
    let not_after = UnixSeconds(TODAY.0 + 365 * 86_400);
    let request = CredentialRequest::new(1, subject, role, Scopes::PUBLISH, TODAY, not_after);
    Ok(LocalIdentity::issue(authority, StaticSecret::generate(&mut OsEntropy)?, &request)?)
}

fn device_name(device: usize) -> String {
    format!("ward-device-{device:04}")
}

fn subject(name: &str) -> SubjectId {
    let mut subject = [b' '; 16];
    for (to, from) in subject.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    SubjectId(subject)
}

/// What a device has in its read-only memory.
#[derive(Clone)]
struct Provisioned {
    identity: LocalIdentity,
    anchors: TrustAnchors,
    pin: Option<BackendPin>,
}

impl Provisioned {
    /// The configuration of each boot; no clock.
    fn configure(&self) -> Result<DeviceConfig, CallError> {
        let floor = Time::floor_only(TODAY);
        let mut config = DeviceConfig::new(self.identity.clone(), self.anchors, floor, 1, device::OUTBOX);
        config.rekey = rekey_policy()?;
        config.pin = self.pin;
        Ok(config)
    }
}

fn run(args: Args) -> Result<Report, Error> {
    let clock = Clock::start(args.speed);
    let authority = Authority::new(SigningKey::generate(&mut OsEntropy)?);
    let anchors = TrustAnchors::new(&[authority.public_key()])?;
    let service = identity(&authority, subject("ward-backend"), Role::Backend)?;
    let service_identity = service.identity().ok_or("the backend's credential is malformed")?;
    let pin = BackendPin { key: service.public_key(), identity: service_identity, credential: None };

    // The devices of the ward. Every third one has been here before: it knows the backend.
    let mut configs = Vec::new();
    for device in 0..args.devices {
        let identity = identity(&authority, subject(&device_name(device)), Role::Device)?;
        configs.push(Provisioned { identity, anchors, pin: (device % 3 == 2).then_some(pin) });
    }
    let identities: Vec<Identity> = configs.iter().filter_map(|config| config.identity.identity()).collect();
    let ward: BTreeSet<Identity> = identities.iter().copied().collect();
    let impostors = impostors(&configs[0].identity, anchors)?;

    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let links = args.devices + impostors.len();
    let roams = |link| link < args.devices && Life::of(link) == Life::Roams;
    let relay = Relay::bind(args.clone(), clock, links, socket.local_addr()?, roams)?;
    let near = (0..links).map(|link| relay.near(link)).collect::<Result<Vec<_>, _>>()?;
    let far = (0..links).map(|link| relay.far(link)).collect::<Result<Vec<_>, _>>()?;

    let stop = Arc::new(AtomicBool::new(false));
    let stop_devices = Arc::new(AtomicBool::new(false));
    let shown = Arc::new(Shown::default());
    let charts = Arc::new(Charts::default());
    let deeds = Arc::new(Mutex::new(Deeds::default()));

    let relay = {
        let (stop, deeds) = (stop.clone(), deeds.clone());
        let tell = move |now| *deeds.lock().unwrap_or_else(PoisonError::into_inner) = now;
        spawn("relay", move || Ok(relay.run(&stop, tell)))?
    };
    let (send_jobs, jobs) = channel();
    let (send_done, done) = channel();
    let (send_batches, batches) = channel();
    let (send_verdicts, verdicts) = channel();
    let handshakes = spawn("handshakes", move || {
        service::handshakes(&jobs, &send_done);
        Ok(())
    })?;
    let store = {
        let (charts, seed) = (charts.clone(), args.seed);
        let capture = args.capture.as_deref().map(Capture::create).transpose()?;
        spawn("store", move || service::store(&charts, clock, seed, capture, &batches, &send_verdicts))?
    };
    let backend = {
        let (stop, charts) = (stop.clone(), charts.clone());
        let config = move || {
            let mut config = BackendConfig::new(service.clone(), anchors, Time::known(TODAY));
            config.rekey = rekey_policy()?;
            Ok(config)
        };
        let tickets = Tickets::generate()?;
        let dies_at = Instant::from_millis(args.measured().as_millis() / 2);
        let threads = Threads { jobs: send_jobs, done, batches: send_batches, verdicts };
        spawn("backend", move || {
            service::run(config, &tickets, &socket, (&ward, &charts), (clock, dies_at), &threads, &stop)
        })?
    };

    let spawn_device = |link: usize, device: Provisioned, shown: Arc<Shown>| {
        let (stop, near) = (stop_devices.clone(), near[link]);
        let patient = Patient::of(link, args.measured());
        spawn("device", move || device::run(&patient, || device.configure(), near, clock, &shown, &stop))
    };
    let mut devices = Vec::new();
    for (link, config) in configs.into_iter().enumerate() {
        devices.push(spawn_device(link, config, shown.clone())?);
    }
    let mut strangers = Vec::new();
    for (link, config) in (args.devices..).zip(impostors) {
        strangers.push(spawn_device(link, config, Arc::default())?);
    }

    // Watch until the devices are done, at most for so long, and only while there is a service.
    let deadline = WallInstant::now() + args.playing() + DRAIN;
    let mut next_line = Wall::from_secs(1);
    let serves = || !(relay.is_done() || backend.is_done() || handshakes.is_done() || store.is_done());
    while devices.iter().any(|device| !device.is_done()) && WallInstant::now() < deadline && serves() {
        sleep(Wall::from_millis(20));
        if clock.elapsed() >= next_line {
            next_line += Wall::from_secs(1);
            let deeds = *deeds.lock().unwrap_or_else(PoisonError::into_inner);
            let left = devices.iter().filter(|device| !device.is_done()).count();
            print_progress(clock, &shown, &charts, &deeds, left);
        }
    }
    let served = serves();
    stop_devices.store(true, Ordering::Relaxed);
    let logs = devices.into_iter().map(Worker::join).collect::<Result<Vec<_>, _>>()?;
    let impostors = strangers.into_iter().map(Worker::join).collect::<Result<Vec<_>, _>>()?;
    let wall_seconds = clock.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    // The other threads of the service end when the backend does; the first to fail is the one to name.
    let (relay, store, handshakes, backend) = (relay.join(), store.join(), handshakes.join(), backend.join());
    store?;
    handshakes?;
    let (relay, service) = (relay?, backend?);
    if !served {
        return Err("a part of the service ended before its time".into());
    }

    let stores_failed = charts.failed.load(Ordering::Relaxed);
    let mut charts = charts.take();
    let mut devices = Vec::new();
    for (n, (log, identity)) in logs.into_iter().zip(&identities).enumerate() {
        let chart = charts.remove(identity).unwrap_or_default();
        let name = device_name(n);
        let mut kinds = BTreeMap::new();
        for stored in &chart.stored {
            let (json, cbor) = plain::encoded(&name, stored.sequence, &stored.fact)?;
            let one = KindBytes { records: 1, bytes: stored.bytes, json, cbor };
            kinds.entry(stored.fact.kind()).or_insert_with(KindBytes::default).add(&one);
        }
        let verdict = oracle::judge(&Patient::of(n, args.measured()), &chart, &log);
        let bytes_from_backend = far[n].iter().filter_map(|path| service.bytes_sent.get(path)).sum();
        devices.push(DeviceReport { name, verdict, log, bytes_from_backend, kinds });
    }
    Ok(Report {
        args,
        wall_seconds,
        devices,
        impostors,
        service,
        stores_failed,
        foreign_charts: charts.len(),
        relay,
    })
}

/// Two that do not belong here: one made itself an authority, the other has copied a credential, but not the key.
fn impostors(victim: &LocalIdentity, anchors: TrustAnchors) -> Result<Vec<Provisioned>, Error> {
    let own = Authority::new(SigningKey::generate(&mut OsEntropy)?);
    let upstart = identity(&own, subject(&device_name(0)), Role::Device)?;
    let secret = StaticSecret::generate(&mut OsEntropy)?;
    let public: PublicKey = secret.public_key();
    let thief = LocalIdentity::new(Arc::new(secret), public, *victim.credential());
    Ok([upstart, thief].map(|identity| Provisioned { identity, anchors, pin: None }).to_vec())
}

fn print_progress(clock: Clock, shown: &Shown, charts: &Charts, deeds: &Deeds, left: usize) {
    let ward = clock.now().as_millis() / 1000;
    let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "{:>3} s  ward {:>2}:{:02}  accepted {:>6}  stored {:>6}  rekeys {:>3} hash {:>3} DH  relay {:>7} in {:>7} out  {} devices at work",
        clock.elapsed().as_secs(),
        ward / 60,
        ward % 60,
        of(&shown.accepted),
        of(&charts.stored),
        of(&shown.hash_ratchets),
        of(&shown.dh_ratchets),
        deeds.received,
        deeds.sent,
        left
    );
}

/// A thread that gives its result, or hangs: then nobody waits for it for ever.
struct Worker<T> {
    name: &'static str,
    result: Receiver<Result<T, String>>,
    thread: JoinHandle<()>,
}

fn spawn<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<Worker<T>, Error> {
    let (send, result) = channel();
    let work = move || {
        // The other end is gone only if nobody wants the result any more.
        let _ = send.send(work());
    };
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
    Ok(Worker { name, result, thread })
}

impl<T> Worker<T> {
    fn is_done(&self) -> bool {
        self.thread.is_finished()
    }

    fn join(self) -> Result<T, Error> {
        match self.result.recv_timeout(FAREWELL) {
            Ok(result) => result.map_err(|error| format!("{}: {error}", self.name).into()),
            Err(RecvTimeoutError::Timeout) => Err(format!("{}: the thread hangs", self.name).into()),
            Err(RecvTimeoutError::Disconnected) => Err(format!("{}: the thread panicked", self.name).into()),
        }
    }
}
