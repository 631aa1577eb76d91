//! What a flood of strangers takes from the heap: nothing more, however long it lasts and however many paths it names.
//! A binary of its own: the allocator counts for the whole process.

use peak_alloc::PeakAlloc;
use vitalwire::backend::{Backend, BackendConfig, Inbound};
use vitalwire::crypto::{SigningKey, StaticSecret};
use vitalwire::handshake::Initiator;
use vitalwire::identity::{
    Authority, CredentialRequest, LocalIdentity, Role, Scopes, SubjectId, Time, TrustAnchors,
};
use vitalwire::limits::MAX_HELLO;
use vitalwire::{Instant, OsEntropy, UnixSeconds};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const NOW: UnixSeconds = UnixSeconds(1_750_000_000);
/// Hellos in a millisecond, and handshake jobs that are run in it.
const HELLOS: u64 = 20;
const JOBS: usize = 1;
/// What the flood may take beside what it has taken in its first 45 s, in bytes.
const SLACK: usize = 4096;

fn identity(authority: &Authority, secret: u8, role: Role) -> LocalIdentity {
    let subject = SubjectId([role as u8; 16]);
    let request = CredentialRequest::new(1, subject, role, Scopes::PUBLISH, NOW, NOW);
    LocalIdentity::issue(authority, StaticSecret::from_bytes([secret; 32]), &request).unwrap()
}

#[test]
fn a_flood_from_ever_new_paths_takes_no_more_heap() {
    let authority = Authority::new(SigningKey::from_bytes([1; 32]));
    let anchors = TrustAnchors::new(&[authority.public_key()]).unwrap();
    let (local, stranger) = (identity(&authority, 2, Role::Backend), identity(&authority, 3, Role::Device));
    let initiator = Initiator::new(&stranger, &anchors);
    let hellos: Vec<Vec<u8>> = (0..4000)
        .map(|_| {
            let mut out = [0; MAX_HELLO];
            let (_, len) = initiator.start(b"flood", &mut OsEntropy, &mut out).unwrap();
            out[..len].to_vec()
        })
        .collect();

    let before = HEAP.current_usage();
    let mut config = BackendConfig::new(local, anchors, Time::known(NOW));
    // The table of slots takes up those never used first, until it has its size: here that is soon.
    config.max_sessions = 300;
    let mut backend: Backend<u64> = Backend::new(config).unwrap();
    let made = HEAP.current_usage() - before;
    let mut number = 0u64;
    let mut run = |seconds: std::ops::Range<u64>| {
        HEAP.reset_peak_usage();
        let mut out = [0; 1500];
        for millis in seconds.start * 1000..seconds.end * 1000 {
            let now = Instant::from_millis(millis);
            for _ in 0..HELLOS {
                number += 1;
                let hello = &hellos[number as usize % hellos.len()];
                let mut packet = [0; MAX_HELLO];
                let packet = &mut packet[..hello.len()];
                packet.copy_from_slice(hello);
                packet[50] ^= u8::from(number.is_multiple_of(7));
                let mut inbound = [Inbound { path: number, packet }];
                backend.handle_packets(now, &mut inbound, &mut |_| {});
            }
            for _ in 0..JOBS {
                let Some(job) = backend.poll_handshake() else { break };
                let done = job.run(&mut OsEntropy);
                backend.handle_handshake(now, done);
            }
            while backend.poll_event().is_some() {}
            while backend.poll_transmit(now, &mut OsEntropy, &mut out).unwrap().is_some() {}
        }
        HEAP.peak_usage() - before
    };
    // Two lives of a half-open handshake, and then two more.
    let first = run(1..45);
    let second = run(45..90);
    println!(
        "{made} bytes without anybody, {first} in the first 45 s of the flood, {second} after, {number} Hellos"
    );
    assert!(second <= first + SLACK, "{second} after {first}");
    assert!(made < 1 << 20, "what is remembered of paths is there from the start: {made}");
}
