//! What a handshake takes from the heap, and that it gives everything back. A binary of its own: the allocator counts
//! for the whole process, so nothing else runs beside it: not even the usual harness, whose thread takes some at its start.

use peak_alloc::PeakAlloc;
use vitalwire::crypto::{Psk, PublicKey, SigningKey, StaticSecret};
use vitalwire::handshake::{
    FinishFailure, Initiator, Limits, ReplyFailure, ReplyOutcome, ReplyWritten, Responder,
};
use vitalwire::identity::{
    Authority, CredentialRequest, LocalIdentity, Role, Scopes, SubjectId, Time, TrustAnchors,
};
use vitalwire::limits::{MAX_HELLO, MAX_REPLY};
use vitalwire::wire::{ConnectionId, Finish, PskId};
use vitalwire::{OsEntropy, UnixSeconds};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// What src/handshake/mod.rs promises, in bytes, for one end; of AWS-LC's own memory there is no promise.
const PROMISED: usize = if cfg!(feature = "aws-lc-rs") { 2304 } else { 2048 };
const NOW: UnixSeconds = UnixSeconds(1_750_000_000);
const TIME: Time = Time::known(NOW);

/// Runs `step` and returns what it returned, how far the heap rose above where it stood, and what it kept.
fn measured<T>(step: impl FnOnce() -> T) -> (T, usize, usize) {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let result = step();
    let peak = HEAP.peak_usage().saturating_sub(before);
    (result, peak, HEAP.current_usage().saturating_sub(before))
}

fn identity(authority: &Authority, secret: u8, role: Role) -> LocalIdentity {
    let subject = SubjectId([role as u8; 16]);
    let request = CredentialRequest::new(1, subject, role, Scopes::PUBLISH, NOW, NOW);
    LocalIdentity::issue(authority, StaticSecret::from_bytes([secret; 32]), &request).unwrap()
}

struct Peaks {
    device: usize,
    backend: usize,
}

/// Runs one handshake. The peak of an end's second step is counted on top of what it kept from its first.
fn peaks(
    device: &LocalIdentity,
    responder: &Responder,
    anchors: &TrustAnchors,
    backend_key: Option<&PublicKey>,
    psk: Option<&Psk>,
) -> Peaks {
    let id = ConnectionId::new(&[9; 5]).unwrap();
    let initiator = Initiator {
        backend_key,
        psk: psk.map(|psk| (PskId([1; 8]), psk)),
        connection_id: id,
        ..Initiator::new(device, anchors)
    };
    let (early, late) = if backend_key.is_some() { (None, psk) } else { (psk, None) };
    let (mut hello, mut reply, mut finish) = ([0u8; MAX_HELLO], [0u8; MAX_REPLY], [0u8; MAX_HELLO]);
    let start = HEAP.current_usage();
    let ((waiting, len), device_first, device_kept) =
        measured(|| initiator.start(b"1", &mut OsEntropy, &mut hello).unwrap());
    let ((written, len), backend_first, backend_kept) = measured(|| {
        let (authentic, _) = responder.check_hello(&hello[..len]).unwrap();
        let read = responder.read_hello(&authentic, early, TIME, &mut OsEntropy).unwrap();
        read.write_reply(responder, id, late, &mut reply).unwrap()
    });
    let ((device_end, len), device_second, _) =
        measured(|| match waiting.read_reply(&initiator, TIME, &reply[..len]) {
            Ok(ReplyOutcome::Established(established)) => (established, 0),
            Ok(ReplyOutcome::Finish(read)) => read.write_finish(device, &mut finish).unwrap(),
            Err(_) => panic!("the genuine Reply is read"),
        });
    let (backend_end, backend_second, _) = measured(|| match written {
        ReplyWritten::Established(established) => established,
        ReplyWritten::AwaitingFinish(waiting) => {
            let noise = Finish::parse(&finish[..len], 5).unwrap().noise;
            match waiting.read_finish(responder, device.identity(), TIME, noise) {
                Ok(established) => established,
                Err(FinishFailure::Pending(..) | FinishFailure::Dead(_)) => {
                    panic!("the genuine Finish is read")
                }
            }
        }
    });
    assert_eq!(device_end.pattern, backend_end.pattern);
    // Both results are still alive here: what they hold is on the stack.
    assert_eq!(HEAP.current_usage(), start, "something of the handshake is left on the heap");
    Peaks {
        device: device_first.max(device_second.saturating_add(device_kept)),
        backend: backend_first.max(backend_second.saturating_add(backend_kept)),
    }
}

/// The peak of a device that refuses a Reply: the forger holds a device's credential of the same authority.
fn peak_of_refusal(device: &LocalIdentity, forger: &Responder, anchors: &TrustAnchors) -> usize {
    let initiator = Initiator::new(device, anchors);
    let (mut hello, mut reply) = ([0u8; MAX_HELLO], [0u8; MAX_REPLY]);
    let ((waiting, len), first, kept) =
        measured(|| initiator.start(b"1", &mut OsEntropy, &mut hello).unwrap());
    let (authentic, _) = forger.check_hello(&hello[..len]).unwrap();
    let read = forger.read_hello(&authentic, None, TIME, &mut OsEntropy).unwrap();
    let (_, len) = read.write_reply(forger, ConnectionId::EMPTY, None, &mut reply).unwrap();
    let (pending, second, _) = measured(|| {
        matches!(waiting.read_reply(&initiator, TIME, &reply[..len]), Err(ReplyFailure::Pending(..)))
    });
    assert!(pending);
    first.max(second.saturating_add(kept))
}

/// A handshake takes at most two kilobytes, and gives them back.
fn main() {
    let authority = Authority::new(SigningKey::from_bytes([1; 32]));
    let anchors = TrustAnchors::new(&[authority.public_key()]).unwrap();
    let device = identity(&authority, 2, Role::Device);
    let backend = identity(&authority, 3, Role::Backend);
    let key = backend.public_key();
    let responder = Responder::new(backend, anchors, Limits::BACKEND);
    let psk = Psk::from_bytes([4; 32]);
    let forger = Responder::new(device.clone(), anchors, Limits::BACKEND);
    let refusal = peak_of_refusal(&device, &forger, &anchors);
    println!("XX, a forged Reply refused: peak heap of the device {refusal} bytes");
    assert!(refusal <= PROMISED, "{refusal}");
    let mut report = Vec::with_capacity(4);
    for (name, backend_key, psk) in [
        ("XX", None, None),
        ("IK", Some(&key), None),
        ("XXpsk3", None, Some(&psk)),
        ("IKpsk2", Some(&key), Some(&psk)),
    ] {
        report.push((name, peaks(&device, &responder, &anchors, backend_key, psk)));
    }
    for (name, Peaks { device, backend }) in report {
        println!("{name}: peak heap of the device {device} bytes, of the backend {backend} bytes");
        assert!(device.max(backend) <= PROMISED, "{name}: {device} {backend}");
    }
}
