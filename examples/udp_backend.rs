//! A backend over UDP that prints what it stores, one JSON object per line: the other end of `tests/interop`.
//!
//! A line with a `lane` is a record. One with an `event` says what else happened: `command` (one has ended), `clock` (a
//! device's clock was compared), `closed` (a stream that the device has closed) or `ticket_conflict`.
//!
//! It makes an authority, a backend and one device, writes what the device needs to know to a file, and serves until
//! the device closes. The "store" is the process's memory, so nothing survives it, and the device's secret key is in
//! the file: a tool for tests and for trying the protocol, not a service.

#[path = "service/mod.rs"]
mod service;

use service::{Store, run_handshakes, set_clocks, unix_seconds};
use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant as Clock;
use vitalwire::backend::{
    Backend, BackendConfig, BackendEvent, Batch, BatchRef, Command, Grant, Inbound, Received,
};
use vitalwire::crypto::{Psk, ServiceKey, SigningKey, StaticSecret, TicketKey};
use vitalwire::framing::{BatchRecord, Quality, Record, Row, Value};
use vitalwire::handshake::TicketKeys;
use vitalwire::identity::{
    Authority, Credential, CredentialRequest, Identity, LocalIdentity, Role, Scopes, SubjectId, Time,
    TrustAnchors,
};
use vitalwire::wire::PskId;
use vitalwire::{CloseReason, Duration, Entropy, Instant, OsEntropy, UnixSeconds};

const HELP: &str = "usage: udp_backend --provision FILE [options]

Serves one device over UDP and prints each of its records as one line of JSON.
Ends when the device closes (exit code 0) or the time is over (1).

  --provision FILE     where to write the address and the device's keys and credential (JSON)
  --listen ADDRESS     default 127.0.0.1:0
  --seconds N          how long to serve at the most, default 60
  --psk                registers a pre-shared key for the device, and so requires it
  --max-half-open N    handshakes at once; above a quarter of it, Hellos need a cookie
  --tickets            gives the device tickets, and lets it resume with them
  --command TEXT       has the device do a command of kind 1 with this body, once in each session
  --help               this text";

type Failure = Box<dyn std::error::Error>;

struct Options {
    provision: String,
    listen: SocketAddr,
    seconds: u64,
    psk: bool,
    max_half_open: Option<u32>,
    tickets: bool,
    command: Option<String>,
}

impl Options {
    fn parse() -> Result<Self, Failure> {
        let mut options = Self {
            provision: String::new(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            seconds: 60,
            psk: false,
            max_half_open: None,
            tickets: false,
            command: None,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--provision" => options.provision = value()?,
                "--listen" => options.listen = value()?.parse()?,
                "--seconds" => options.seconds = value()?.parse()?,
                "--max-half-open" => options.max_half_open = Some(value()?.parse()?),
                "--psk" => options.psk = true,
                "--tickets" => options.tickets = true,
                "--command" => options.command = Some(value()?),
                _ => return Err(format!("unknown option {word}; --help lists them").into()),
            }
        }
        if options.provision.is_empty() { Err("--provision is needed".into()) } else { Ok(options) }
    }
}

fn main() -> ExitCode {
    if std::env::args().any(|word| word == "--help") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match Options::parse().and_then(|options| serve(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("udp_backend: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What a real service has in its database.
struct Stored {
    store: Store,
    psk: Option<[u8; 32]>,
}

/// Serves; tells whether the device has closed by itself.
fn serve(options: &Options) -> Result<bool, Failure> {
    let socket = UdpSocket::bind(options.listen)?;
    let (mut backend, psk) = provision(options, socket.local_addr()?)?;
    let mut stored = Stored { store: Store::default(), psk };
    let mut rng = OsEntropy;
    let started = Clock::now();
    let (mut packet, mut out) = ([0u8; 65_535], [0u8; 1500]);
    loop {
        let elapsed = started.elapsed();
        if elapsed.as_secs() >= options.seconds {
            return Ok(false);
        }
        let now = Instant::from_millis(elapsed.as_millis().try_into()?);
        let wait = backend.poll_timeout().map_or(50, |timer| timer.since(now).as_millis().clamp(1, 50));
        socket.set_read_timeout(Some(std::time::Duration::from_millis(wait)))?;
        let received = socket.recv_from(&mut packet).ok();

        let now = Instant::from_millis(started.elapsed().as_millis().try_into()?);
        set_clocks(now, &mut backend)?;
        let mut batches = Vec::new();
        if let Some((len, path)) = received {
            let packet = packet.get_mut(..len).unwrap_or_default();
            backend.handle_packets(now, &mut [Inbound { path, packet }], &mut |received| match received {
                Received::Batch(batch) => batches.extend(store(&mut stored.store, &batch)),
                Received::CommandDone { body, .. } => {
                    println!("{{\"event\": \"result\", \"body\": \"{}\"}}", hex(body));
                }
                _ => {}
            });
        }
        backend.handle_timeout(now);
        run_handshakes(now, &mut backend, &mut rng);
        let mut closed = false;
        while let Some(event) = backend.poll_event() {
            eprintln!("{event:?}");
            closed |= matches!(event, BackendEvent::Disconnected { reason: CloseReason::Application, .. });
            handle_event(now, &mut backend, &mut stored, options, event)?;
        }
        run_handshakes(now, &mut backend, &mut rng);
        while let Some(early) = backend.poll_early() {
            batches.extend(store(&mut stored.store, &early.as_batch()));
        }
        for batch in batches {
            backend.commit(now, batch);
        }
        while let Some(transmit) = backend.poll_transmit(now, &mut rng, &mut out)? {
            socket.send_to(transmit.packet, transmit.path)?;
        }
        if closed {
            eprintln!(
                "discards: {:?}",
                backend.discards().iter().filter(|(_, n)| *n > 0).collect::<Vec<_>>()
            );
            return Ok(true);
        }
    }
}

/// Lets everybody in whom the backend has authenticated, claims tickets, and gives each session its command.
fn handle_event(
    now: Instant,
    backend: &mut Backend<SocketAddr>,
    stored: &mut Stored,
    options: &Options,
    event: BackendEvent,
) -> Result<(), Failure> {
    match event {
        BackendEvent::Pending { pending, credential, .. } => {
            let grant = stored.grant(credential.identity());
            backend.accept(now, pending, grant)?;
        }
        BackendEvent::Resuming { pending, claim } => {
            let outcome = stored.store.claim(&claim)?;
            let grant = stored.grant(claim.identity);
            backend.claimed(now, pending, outcome, grant)?;
        }
        BackendEvent::Connected { identity, .. } => {
            if let Some(body) = &options.command {
                let ttl = Duration::from_secs(30);
                backend.command(now, &identity, Command { kind: 1, body: body.as_bytes(), ttl })?;
            }
        }
        BackendEvent::CommandEnded { outcome, .. } => {
            println!("{{\"event\": \"command\", \"outcome\": \"{outcome:?}\"}}");
        }
        BackendEvent::Clock { reading, .. } => println!(
            "{{\"event\": \"clock\", \"boot\": {}, \"device\": {}, \"unix_millis\": {}, \"round_trip\": {}}}",
            reading.boot,
            reading.device.as_millis(),
            reading.arrived.unix_millis,
            reading.round_trip.as_millis()
        ),
        BackendEvent::TicketConflict { .. } => println!("{{\"event\": \"ticket_conflict\"}}"),
        _ => {}
    }
    Ok(())
}

impl Stored {
    fn grant(&mut self, identity: Identity) -> Grant {
        self.store.grant(identity, self.psk.map(Psk::from_bytes))
    }
}

/// Makes all keys and credentials, writes the device's share of them to the file, and returns the backend.
fn provision(
    options: &Options,
    address: SocketAddr,
) -> Result<(Backend<SocketAddr>, Option<[u8; 32]>), Failure> {
    let mut rng = OsEntropy;
    let mut random = |bytes: &mut [u8]| rng.fill(bytes);
    let (mut seed, mut device, mut service) = ([0u8; 32], [0u8; 32], [0u8; 32]);
    let (mut psk, mut psk_id) = ([0u8; 32], [0u8; 8]);
    let (mut device_subject, mut service_subject) = ([0u8; 16], [0u8; 16]);
    random(&mut seed)?;
    random(&mut device)?;
    random(&mut service)?;
    random(&mut psk)?;
    random(&mut psk_id)?;
    random(&mut device_subject)?;
    random(&mut service_subject)?;

    let authority = Authority::new(SigningKey::from_bytes(seed));
    let clock = unix_seconds()?.0;
    let issue = |secret: &StaticSecret, serial, subject, role| -> Result<Credential, Failure> {
        let request = CredentialRequest {
            serial,
            subject: SubjectId(subject),
            role,
            scopes: Scopes::PUBLISH | Scopes::COMMANDS,
            issued: UnixSeconds(clock),
            not_before: UnixSeconds(clock),
            not_after: UnixSeconds(clock + 24 * 3600),
        };
        Ok(authority.issue(&secret.public_key(), &request)?)
    };
    let credential = issue(&StaticSecret::from_bytes(device), 1, device_subject, Role::Device)?;
    let secret = StaticSecret::from_bytes(service);
    let own = issue(&secret, 2, service_subject, Role::Backend)?;
    let public = secret.public_key();
    let anchors = TrustAnchors::new(&[authority.public_key()])?;
    let backend_credential = own;
    let identity = LocalIdentity::new(Arc::new(secret), public, own);
    let mut config = BackendConfig::new(identity, anchors, Time::known(UnixSeconds(clock)));
    config.max_half_open = options.max_half_open.unwrap_or(config.max_half_open);
    config.rekey = config.rekey.dh_interval(Duration::ZERO)?;
    let mut backend = Backend::new(config)?;
    if options.psk {
        let identity = Identity { issuer: authority.issuer(), subject: SubjectId(device_subject) };
        backend.enrol(PskId(psk_id), Psk::from_bytes(psk), identity);
    }
    if options.tickets {
        // Fresh keys for each run, as the claims do not survive it either. The nodes of a service share theirs.
        let (mut service_key, mut ticket_key) = ([0u8; 32], [0u8; 32]);
        random(&mut service_key)?;
        random(&mut ticket_key)?;
        let (service, present) = (ServiceKey::from_bytes(service_key), TicketKey::from_bytes(ticket_key));
        backend.set_ticket_keys(TicketKeys::new(service, present, None));
    }

    let mut file = format!("{{\n \"address\": \"{address}\"");
    for (name, bytes) in [
        ("authority", &authority.public_key().0[..]),
        ("backend_subject", &service_subject),
        ("backend_key", &public.0),
        ("backend_credential", backend_credential.as_bytes()),
        ("device_secret", &device),
        ("device_credential", credential.as_bytes()),
        ("psk_id", &psk_id),
        ("psk", &psk),
    ] {
        write!(file, ",\n \"{name}\": \"{}\"", hex(bytes))?;
    }
    // First under another name: who waits for the file never reads half of it.
    let draft = format!("{}.draft", options.provision);
    fs::write(&draft, file + "\n}\n")?;
    fs::rename(&draft, &options.provision)?;
    Ok((backend, options.psk.then_some(psk)))
}

/// Stores a batch: prints the records that the ledger does not have yet. Returns what to commit.
fn store(store: &mut Store, batch: &Batch<'_>) -> Option<BatchRef> {
    let mark = batch.mark();
    for closed in batch.closed() {
        let (stream, end) = (closed.stream, closed.end);
        let (boot, lane) = (stream.boot, stream.lane.code());
        println!("{{\"event\": \"closed\", \"boot\": {boot}, \"of_lane\": {lane}, \"end\": {end}}}");
    }
    let new = store.apply(batch)?;
    for record in batch.records() {
        if new >> (record.sequence - mark.first) & 1 == 1 {
            println!("{}", json(batch, &record));
        }
    }
    Some(batch.handle())
}

/// Rows of numbers; what is absent is null.
fn rows(rows: impl Iterator<Item = Row>) -> String {
    let row = |row: Row| row.iter().map(optional).collect::<Vec<_>>().join(", ");
    let rows: Vec<_> = rows.map(|numbers| format!("[{}]", row(numbers))).collect();
    format!("[{}]", rows.join(", "))
}

fn json(batch: &Batch<'_>, record: &BatchRecord<'_>) -> String {
    let mut text = format!(
        "{{\"boot\": {}, \"lane\": {}, \"sequence\": {}, \"time\": {}, ",
        batch.stream().boot,
        batch.stream().lane.code(),
        record.sequence,
        record.time.as_millis()
    );
    text += &match &record.record {
        Record::Measurement(m) => {
            let (states, values) =
                m.values.iter().fold((vec![], vec![]), |(mut states, mut values), value| {
                    match value {
                        Value::Present(raw, quality) => {
                            states.push(*quality as u8);
                            values.push(*raw);
                        }
                        Value::Absent(absence) => states.push(*absence as u8),
                    }
                    (states, values)
                });
            let plain =
                m.mode as u8 == 0 && m.values.iter().all(|v| matches!(v, Value::Present(_, Quality::Valid)));
            if plain {
                format!("\"kind\": \"measurement\", \"channel\": {}, \"values\": {values:?}", m.channel)
            } else {
                format!(
                    "\"kind\": \"qualified\", \"channel\": {}, \"mode\": {}, \"states\": {states:?}, \"values\": {values:?}",
                    m.channel, m.mode as u8
                )
            }
        }
        Record::Trend(t) => {
            let times: Vec<u64> = t.rows().map(|(offset, _)| offset.as_millis()).collect();
            let steps: Vec<u64> = times.iter().zip(times.iter().skip(1)).map(|(a, b)| b - a).collect();
            format!(
                "\"kind\": \"trend\", \"channel\": {}, \"mode\": {}, \"quality\": {}, \"steps\": {steps:?}, \"rows\": {}",
                t.channel,
                t.status.mode as u8,
                t.status.quality as u8,
                rows(t.rows().map(|(_, row)| row))
            )
        }
        Record::Waveform(w) => format!(
            "\"kind\": \"waveform\", \"channel\": {}, \"mode\": {}, \"quality\": {}, \"index\": {}, \"rows\": {}",
            w.channel,
            w.status.mode as u8,
            w.status.quality as u8,
            w.first_sample,
            rows(w.rows())
        ),
        Record::Event(e) => format!(
            "\"kind\": \"event\", \"channel\": {}, \"mode\": {}, \"code\": {}, \"value\": {}",
            e.channel,
            e.mode as u8,
            e.code,
            optional(e.value)
        ),
        Record::Alarm(a) => format!(
            "\"kind\": \"alarm\", \"channel\": {}, \"mode\": {}, \"phase\": {}, \"priority\": {}, \"technical\": {}, \"code\": {}, \"limits\": [{}, {}, {}]",
            a.channel,
            a.mode as u8,
            a.phase as u8,
            a.priority as u8,
            a.kind as u8 == 1,
            a.code,
            optional(a.value),
            optional(a.low_limit),
            optional(a.high_limit)
        ),
        Record::Gap(g) => format!(
            "\"kind\": \"gap\", \"number\": {}, \"first\": {}, \"count\": {}, \"reason\": {}",
            g.lane.map_or(0, |lane| lane.code() + 1),
            g.first,
            g.count,
            g.reason as u8
        ),
        Record::Annotation(a) => format!(
            "\"kind\": \"annotation\", \"channel\": {}, \"mode\": {}, \"code\": {}, \"span\": {}, \"text\": {}",
            optional(a.channel.map(Into::into)),
            a.mode as u8,
            a.code,
            a.span.as_millis(),
            serde_json::Value::from(a.text)
        ),
        Record::AlarmLimits(l) => format!(
            "\"kind\": \"alarm_limits\", \"channel\": {}, \"mode\": {}, \"component\": {}, \"limits\": [{}, {}]",
            l.channel,
            l.mode as u8,
            l.component,
            optional(l.low),
            optional(l.high)
        ),
        Record::Extension(e) => {
            format!("\"kind\": \"extension\", \"number\": {}, \"bytes\": \"{}\"", e.kind, hex(e.bytes))
        }
        _ => "\"kind\": \"unknown\"".into(),
    };
    text + "}"
}

fn optional(value: Option<i32>) -> String {
    value.map_or("null".into(), |value| value.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
