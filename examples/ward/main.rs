//! A backend and a ward of devices on UDP sockets, with a hostile relay between them: `--help` says more.
//!
//! Read `device.rs` for how firmware drives a device, `service.rs` for how a service drives a backend and commits
//! what it has stored. `relay.rs` is the enemy, `oracle.rs` the judge.

#![allow(
    unreachable_pub,
    reason = "the modules of a program are private: `pub` says what the others may use"
)]

mod args;
mod auditor;
mod capture;
mod cast;
mod charts;
mod clock;
mod device;
mod flood;
mod oracle;
mod plain;
mod relay;
mod report;
mod security;
mod service;
mod signals;

use args::{Args, Asked, HELP};
use auditor::Auditor;
use capture::Capture;
use cast::{Cast, Provisioned, TODAY, device_name};
use charts::Charts;
use clock::Clock;
use device::{Life, Shown};
use flood::Flood;
use relay::{Deeds, Relay};
use report::{DeviceReport, KindBytes, Report};
use security::Guests;
use service::{Plan, Threads, Tickets};
use signals::Patient;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration as Wall, Instant as WallInstant};
use vitalwire::Instant;
use vitalwire::backend::BackendConfig;
use vitalwire::identity::{Identity, Time};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// How long the devices may take, after the last measurement, until everything is committed.
const DRAIN: Wall = Wall::from_secs(60);
/// How long threads may take to end when they are told to.
const FAREWELL: Wall = Wall::from_secs(5);

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(Asked::Run(args)) => args,
        Ok(Asked::Help) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(Asked::Provider) => {
            println!("{}", args::provider());
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

fn run(args: Args) -> Result<Report, Error> {
    println!("{}", args::provider());
    let auditor = Auditor::begin(args.audit.as_deref())?;
    let clock = Clock::start(args.speed);
    let Cast { anchors, service, ward, impostors, revoked, lists, narrowed, stranger } =
        Cast::new(args.devices)?;
    let identities = ward.iter().map(Provisioned::identity).collect::<Result<Vec<Identity>, _>>()?;

    // The links: those of the ward's devices, then those of the guests.
    let first_guest = args.devices;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let backend_address = socket.local_addr()?;
    let links = args.devices + impostors.len() + 2;
    let roams = |link| link < first_guest && Life::of(link) == Life::Roams;
    let recorded = Arc::new(flood::Recorded::default());
    let relay = Relay::bind(args.clone(), clock, links, (backend_address, recorded.clone()), roams)?;
    let near = (0..links).map(|link| relay.near(link)).collect::<Result<Vec<_>, _>>()?;
    let far = (0..links).map(|link| relay.far(link)).collect::<Result<Vec<_>, _>>()?;
    let flood = Flood::bind(backend_address, stranger, anchors, service.public_key(), args.seed)?;
    let at_part = |part| Instant::from_millis(args.measured().as_millis() * part / 100);
    let plan = Plan {
        ward: identities.iter().copied().collect(),
        revoked: revoked.identity()?,
        narrowed: narrowed.identity()?,
        lists,
        anchors,
        strangers: flood.ports()?.into_iter().collect(),
        revokes_at: at_part(25),
        dies_at: at_part(50),
    };
    let (revoked_identity, narrowed_identity) = (plan.revoked, plan.narrowed);

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
        spawn("store", move || charts::store(&charts, clock, seed, capture, &batches, &send_verdicts))?
    };
    let backend = {
        let (stop, charts) = (stop.clone(), charts.clone());
        let admission = service::admission(args.speed);
        let config = move || {
            let mut config = BackendConfig::new(service.clone(), anchors, Time::known(TODAY));
            config.rekey = cast::rekey_policy()?;
            config.admission = admission;
            Ok(config)
        };
        let tickets = Tickets::generate()?;
        let threads = Threads { jobs: send_jobs, done, batches: send_batches, verdicts };
        spawn("backend", move || {
            service::run(config, (&tickets, auditor), &socket, (&plan, &charts), clock, &threads, &stop)
        })?
    };

    let measured = args.measured();
    let spawn_device = |link: usize, life: Life, patient: Patient, device: Provisioned, shown: Arc<Shown>| {
        let (stop, near) = (stop_devices.clone(), near[link]);
        spawn("device", move || {
            device::run((&patient, life), |boot| device.configure(boot), near, clock, &shown, &stop)
        })
    };
    let mut devices = Vec::new();
    for (link, device) in ward.into_iter().enumerate() {
        let patient = Patient::of(link, measured);
        devices.push(spawn_device(link, Life::of(link), patient, device, shown.clone())?);
    }
    let mut strangers = Vec::new();
    for (link, device) in (first_guest..).zip(impostors) {
        let patient = Patient::of(link, measured);
        strangers.push(spawn_device(link, Life::of(link), patient, device, Arc::default())?);
    }
    let [revoked, narrowed] = [(Life::Insists, revoked), (Life::Narrows, narrowed)].map(|(life, device)| {
        let link = first_guest + 2 + usize::from(life == Life::Narrows);
        spawn_device(link, life, security::monitor(link, measured), device, Arc::default())
    });
    let (revoked, narrowed) = (revoked?, narrowed?);
    let flood = {
        let (stop, shown, times) = (stop_devices.clone(), shown.clone(), args.strangers);
        spawn("flood", move || flood.run(times, &shown.packets, &recorded, &stop))?
    };

    // Watch until the devices are done, at most for so long, and only while there is a service.
    let deadline = WallInstant::now() + args.playing() + DRAIN;
    let mut next_line = Wall::from_secs(1);
    let serves = || !(relay.is_done() || backend.is_done() || handshakes.is_done() || store.is_done());
    let work = || devices.iter().chain([&narrowed]).filter(|device| !device.is_done()).count();
    while work() > 0 && WallInstant::now() < deadline && serves() {
        sleep(Wall::from_millis(20));
        if clock.elapsed() >= next_line {
            next_line += Wall::from_secs(1);
            let deeds = *deeds.lock().unwrap_or_else(PoisonError::into_inner);
            print_progress(clock, &shown, &charts, &deeds, work());
        }
    }
    let served = serves();
    stop_devices.store(true, Ordering::Relaxed);
    let logs = devices.into_iter().map(Worker::join).collect::<Result<Vec<_>, _>>()?;
    let impostors = strangers.into_iter().map(Worker::join).collect::<Result<Vec<_>, _>>()?;
    let (flood, revoked, narrowed) = (flood.join()?, revoked.join()?, narrowed.join()?);
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
    let guests = Guests::judge(
        (security::monitor(first_guest + 2, measured), charts.remove(&revoked_identity), revoked),
        (security::monitor(first_guest + 3, measured), charts.remove(&narrowed_identity), narrowed),
        [revoked_identity, narrowed_identity],
    );
    Ok(Report {
        args,
        wall_seconds,
        devices,
        impostors,
        guests,
        flood,
        service,
        stores_failed,
        foreign_charts: charts.len(),
        relay,
    })
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
