//! Prints what things take: memory of states and sessions, heap of handshakes, bytes on the wire, lines of code.
//! All figures are measured here and now.
//!
//! ```sh
//! cargo run --release --example sizes
//! ```

use peak_alloc::PeakAlloc;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use vitalwire::backend::{AdmissionLimits, Backend, BackendConfig, BackendEvent, Grant, Inbound};
use vitalwire::crypto::{Psk, PublicKey, SessionSecrets, SigningKey, StaticSecret, StorageKey};
use vitalwire::device::{Device, DeviceConfig, DeviceMemory, StorageConfig};
use vitalwire::framing::encode_descriptors;
use vitalwire::handshake::*;
use vitalwire::identity::*;
use vitalwire::limits::{HALF_OPEN_LIFE, MAX_HELLO, MAX_REPLY};
use vitalwire::session::{RekeyPolicy, Session, Side};
use vitalwire::wire::{ConnectionId, Finish, Pattern, PskId};
use vitalwire::{Instant, OsEntropy, UnixSeconds};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const NOW: UnixSeconds = UnixSeconds(1_750_000_000);

struct World {
    authority: Authority,
    anchors: TrustAnchors,
    device: LocalIdentity,
    backend: LocalIdentity,
    key: PublicKey,
    psk: Psk,
}

fn identity(authority: &Authority, subject: u32, role: Role) -> LocalIdentity {
    let secret = StaticSecret::generate(&mut OsEntropy).expect("the system's generator works");
    let mut name = [0u8; 16];
    name[..4].copy_from_slice(&subject.to_le_bytes());
    let (name, not_after) = (SubjectId(name), UnixSeconds(NOW.0 + 1000));
    let request = CredentialRequest::new(subject, name, role, Scopes::PUBLISH, NOW, not_after);
    LocalIdentity::issue(authority, secret, &request).expect("the times are in range")
}

impl World {
    fn new() -> Self {
        let authority = Authority::new(SigningKey::generate(&mut OsEntropy).expect("it works"));
        let anchors = TrustAnchors::new(&[authority.public_key()]).expect("one anchor");
        let device = identity(&authority, 1, Role::Device);
        let backend = identity(&authority, 2, Role::Backend);
        let key = backend.public_key();
        Self { authority, anchors, device, backend, key, psk: Psk::from_bytes([7; 32]) }
    }

    fn initiator<'a>(&'a self, local: &'a LocalIdentity, ik: bool, psk: bool, known: bool) -> Initiator<'a> {
        Initiator {
            backend_key: ik.then_some(&self.key),
            backend_credential: known.then(|| self.backend.credential()),
            psk: psk.then_some((PskId([1; 8]), &self.psk)),
            ..Initiator::new(local, &self.anchors)
        }
    }

    /// Runs a handshake; returns the lengths of its packets, and how far the heap rose for the device and the backend.
    fn handshake(&self, ik: bool, psk: bool, known: bool) -> ([usize; 3], [usize; 2]) {
        let time = Time::known(NOW);
        let responder = Responder::new(self.backend.clone(), self.anchors, Limits::BACKEND);
        let initiator = self.initiator(&self.device, ik, psk, known);
        let (mut hello, mut reply, mut finish) = ([0u8; MAX_HELLO], [0u8; MAX_REPLY], [0u8; MAX_HELLO]);
        let (mut device, mut backend) = (Heap::default(), Heap::default());

        let (waiting, hello_len) =
            device.step(|| initiator.start(b"1", &mut OsEntropy, &mut hello)).expect("room");
        let (authentic, _) = responder.check_hello(&hello[..hello_len]).expect("genuine");
        let early = authentic.psk_id().is_some().then_some(&self.psk);
        let read =
            backend.step(|| responder.read_hello(&authentic, early, time, &mut OsEntropy)).expect("genuine");
        let late = (read.pattern() == Pattern::IkPsk2).then_some(&self.psk);
        let id = ConnectionId::new(&[9; 5]).expect("5 bytes");
        let (written, reply_len) =
            backend.step(|| read.write_reply(&responder, id, late, &mut reply)).expect("room");
        let read = || waiting.read_reply(&initiator, time, &reply[..reply_len]).ok();
        let finish_len = match device.step(read).expect("a genuine Reply") {
            ReplyOutcome::Finish(next) => {
                device.step(|| next.write_finish(&self.device, &mut finish)).expect("room").1
            }
            ReplyOutcome::Established(_) => 0,
        };
        if let ReplyWritten::AwaitingFinish(waiting) = written {
            let finish = Finish::parse(&finish[..finish_len], 5).expect("genuine");
            let identity = self.device.identity();
            let read = || waiting.read_finish(&responder, identity, time, finish.noise).is_ok();
            assert!(backend.step(read));
        }
        ([hello_len, reply_len, finish_len], [device.peak, backend.peak])
    }

    /// How much heap one more session takes of a backend, all of it counted, over `count` sessions by IK, once the copies of
    /// their handshakes can come no more.
    fn per_session(&self, count: u32) -> usize {
        let config = BackendConfig::new(self.backend.clone(), self.anchors, Time::known(NOW));
        let config = BackendConfig { admission: AdmissionLimits::UNLIMITED, ..config };
        let mut backend: Backend<SocketAddr> = Backend::new(config).expect("the configuration is valid");
        let before = HEAP.current_usage();
        let now = Instant::from_millis(1);
        let mut out = [0u8; 1500];
        for number in 0..count {
            let path = SocketAddr::from((std::net::Ipv4Addr::from(number), 9));
            let local = identity(&self.authority, 100 + number, Role::Device);
            let initiator = self.initiator(&local, true, false, false);
            let mut hello = [0u8; MAX_HELLO];
            let (waiting, len) = initiator.start(b"1", &mut OsEntropy, &mut hello).expect("room");
            deliver(&mut backend, now, path, &mut hello[..len]);
            run_jobs(&mut backend, now);
            while let Some(event) = backend.poll_event() {
                if let BackendEvent::Pending { pending, .. } = event {
                    let grant = Grant { scopes: Scopes::PUBLISH, ..Grant::default() };
                    backend.accept(now, pending, grant).expect("it is pending");
                }
            }
            run_jobs(&mut backend, now);
            let sent = backend.poll_transmit(now, &mut OsEntropy, &mut out).expect("room").expect("a Reply");
            let Ok(ReplyOutcome::Established(done)) =
                waiting.read_reply(&initiator, Time::known(NOW), sent.packet)
            else {
                panic!("a genuine Reply")
            };
            // The first packet proves the session.
            let id = done.peer_connection_id;
            let mut session =
                Session::<2>::new(now, Side::Device, done.secrets, 1024, RekeyPolicy::default());
            let mut packet = [0u8; 64];
            let head = session.header_len(&id);
            packet[head] = 1; // a Ping
            let packet = session.seal(now, &id, &mut packet, 9).expect("a new session");
            deliver(&mut backend, now, path, packet);
            while backend.poll_transmit(now, &mut OsEntropy, &mut out).expect("room").is_some() {}
            while backend.poll_event().is_some() {}
        }
        assert_eq!(backend.devices(), count as usize);
        backend.handle_timeout(now + HALF_OPEN_LIFE);
        (HEAP.current_usage() - before) / count as usize
    }

    /// How much heap a device keeps for its life, besides handshakes.
    fn device_heap(&self, storage: bool) -> usize {
        let (mut outbox, mut backlog, mut descriptors) = (vec![0; 16_384], vec![0; 16_384], [0; 8]);
        let len = encode_descriptors(&[], &mut descriptors).expect("room for none");
        let (anchors, time) = (self.anchors, Time::known(NOW));
        let mut config = DeviceConfig::new(self.device.clone(), anchors, time, 1, outbox.len());
        config.storage = storage.then(|| StorageConfig::new(StorageKey::from_bytes([7; 32]), backlog.len()));
        let descriptors = &descriptors[..len];
        let memory = DeviceMemory { outbox: &mut outbox, descriptors, backlog: &mut backlog };
        let before = HEAP.current_usage();
        let device = Device::new(config, memory).expect("the configuration is valid");
        let kept = HEAP.current_usage() - before;
        drop(device);
        kept
    }
}

fn deliver(backend: &mut Backend<SocketAddr>, now: Instant, path: SocketAddr, packet: &mut [u8]) {
    backend.handle_packets(now, &mut [Inbound { path, packet }], &mut |_| {});
}

fn run_jobs(backend: &mut Backend<SocketAddr>, now: Instant) {
    while let Some(job) = backend.poll_handshake() {
        let done = job.run(&mut OsEntropy);
        backend.handle_handshake(now, done);
    }
}

/// What one end of a handshake keeps on the heap, and the most that it ever had there.
#[derive(Default)]
struct Heap {
    kept: isize,
    peak: usize,
}

impl Heap {
    fn step<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let before = HEAP.current_usage();
        HEAP.reset_peak_usage();
        let result = work();
        let rose = HEAP.peak_usage().saturating_sub(before);
        self.peak = self.peak.max(rose.saturating_add_signed(self.kept));
        self.kept += HEAP.current_usage() as isize - before as isize;
        result
    }
}

/// How much longer than its payload a packet is, in the course of a session whose Acks arrive.
fn overhead(id: &[u8]) -> usize {
    let secrets = SessionSecrets::new([1; 32], &[2; 64]);
    let now = Instant::from_millis(1);
    let mut session = Session::<2>::new(now, Side::Device, secrets, 1024, RekeyPolicy::default());
    let id = ConnectionId::new(id).expect("8 bytes at most");
    let mut out = [0u8; 128];
    let start = session.header_len(&id);
    assert!(start < 16);
    session.seal(now, &id, &mut out, 48).expect("a new session").len() - 48
}

/// Lines of each module of `src/`: of code with its documentation, and of tests.
fn lines(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        println!("  (src/ is not here)");
        return;
    };
    let mut modules: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    modules.sort();
    let mut total = [0, 0];
    for path in modules {
        let [code, tests] = count_lines(&path);
        total = [total[0] + code, total[1] + tests];
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        println!("  {name:<14} {code:>6} {tests:>6}");
    }
    println!("  {:<14} {:>6} {:>6}", "all", total[0], total[1]);
}

fn count_lines(path: &Path) -> [usize; 2] {
    let is_test =
        path.file_stem().is_some_and(|name| name == "tests" || name == "explore" || name == "test_vectors");
    if let Ok(entries) = fs::read_dir(path) {
        let parts = entries.filter_map(Result::ok).map(|entry| count_lines(&entry.path()));
        let [code, tests] = parts.fold([0, 0], |sum, part| [sum[0] + part[0], sum[1] + part[1]]);
        return if is_test { [0, code + tests] } else { [code, tests] };
    }
    let text = fs::read_to_string(path).unwrap_or_default();
    let code = text.lines().take_while(|line| !line.starts_with("mod tests {")).count();
    let all = text.lines().count();
    if is_test { [0, all] } else { [code, all - code] }
}

fn main() {
    println!("memory, in bytes");
    let sizes = [
        ("Device (its session included)", size_of::<Device<'_>>()),
        ("Session<2>, window 128: a device's", size_of::<Session<2>>()),
        ("Session<16>, window 1024: a backend's", size_of::<Session<16>>()),
        ("Backend<SocketAddr>, empty", size_of::<Backend<SocketAddr>>()),
        ("AwaitingReply, on the stack", size_of::<AwaitingReply>()),
        ("ReplyRead, on the stack", size_of::<ReplyRead>()),
        ("HelloRead, on the stack", size_of::<HelloRead>()),
        ("AwaitingFinish, on the stack", size_of::<AwaitingFinish>()),
        ("Established", size_of::<Established>()),
        ("credential, at the most", vitalwire::limits::MAX_CREDENTIAL),
    ];
    for (what, size) in sizes {
        println!("  {what:<46} {size:>6}");
    }
    let world = World::new();
    println!("  {:<46} {:>6}", "credential of these identities", world.device.credential().as_bytes().len());
    println!("  {:<46} {:>6}", "backend's heap per proved session", world.per_session(2000));
    println!("  {:<46} {:>6}", "Device's heap without storage", world.device_heap(false));
    println!("  {:<46} {:>6}", "Device's heap with storage", world.device_heap(true));

    println!("bytes that a packet has besides its payload");
    println!("  {:<46} {:>6}", "to a device on a link of its own", overhead(&[]));
    println!("  {:<46} {:>6}", "to a backend (connection id of 5 bytes)", overhead(&[1; 5]));

    println!("handshakes, in bytes              Hello  Reply Finish    all    heap: device backend");
    let patterns = [
        ("XX", false, false, false),
        ("XXpsk3", false, true, false),
        ("IK", true, false, false),
        ("IK, credential known", true, false, true),
        ("IKpsk2", true, true, false),
        ("IKpsk2, credential known", true, true, true),
    ];
    for (name, ik, psk, known) in patterns {
        let ([hello, reply, finish], [device, backend]) = world.handshake(ik, psk, known);
        let all = hello + reply + finish;
        println!("  {name:<28} {hello:>8} {reply:>6} {finish:>6} {all:>6} {device:>15} {backend:>7}");
    }

    println!("lines of src/        code  tests");
    lines(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
}
