//! What needs a heap says so where that has no room, and aborts nothing. A program of its own, as the allocator is the
//! whole process's: one test after the other, and nothing else runs beside them.

use cap::Cap;
use std::alloc::System;
use std::sync::Arc;
use vitalwire::crypto::{SigningKey, StaticSecret};
use vitalwire::device::{Device, DeviceConfig, DeviceMemory, Link, StorageConfig};
use vitalwire::framing::{ChannelDescriptor, ChannelKind, Component, encode_descriptors};
use vitalwire::handshake::{HandshakeError, Limits, ReplyWritten, Responder};
use vitalwire::identity::{
    Authority, CredentialRequest, LocalIdentity, Role, Scopes, SubjectId, Time, TrustAnchors,
};
use vitalwire::limits::{HANDSHAKE_HEAP, HANDSHAKE_RTO, MAX_HELLO, MAX_REPLY};
use vitalwire::storage::StorageKey;
use vitalwire::wire::{ConnectionId, PacketKind, Side};
use vitalwire::{CallError, Instant, OsEntropy, UnixSeconds};

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

const NOW: UnixSeconds = UnixSeconds(1_750_000_000);

/// Runs `work` on a heap that has so many bytes left.
fn with_heap<T>(left: usize, work: impl FnOnce() -> T) -> T {
    HEAP.set_limit(HEAP.allocated() + left).expect("the limit is above what is in use");
    let result = work();
    HEAP.set_limit(usize::MAX).expect("no limit");
    result
}

fn identity(authority: &Authority, secret: u8, role: Role) -> LocalIdentity {
    let secret = StaticSecret::from_bytes([secret; 32]);
    let public = secret.public_key();
    let request = CredentialRequest {
        serial: 1,
        subject: SubjectId([role as u8; 16]),
        role,
        scopes: Scopes::PUBLISH,
        issued: NOW,
        not_before: NOW,
        not_after: NOW,
    };
    LocalIdentity::new(Arc::new(secret), public, authority.issue(&public, &request).unwrap())
}

fn kind(packet: &[u8]) -> PacketKind {
    PacketKind::parse(packet, Side::Device).unwrap()
}

fn main() {
    a_handshake_without_heap_says_so_and_succeeds_later();
    println!("a handshake without heap says so and succeeds later: ok");
    a_device_without_heap_for_its_storage_says_so();
    println!("a device without heap for its storage says so: ok");
}

fn a_device_without_heap_for_its_storage_says_so() {
    let authority = Authority::new(SigningKey::from_bytes([1; 32]));
    let anchors = TrustAnchors::new(&[authority.public_key()]).unwrap();
    let own = identity(&authority, 2, Role::Device);
    let (mut refused, mut made) = (0, 0);
    for left in (0..16_384).step_by(24) {
        let (mut outbox, mut backlog) = ([0; 1024], [0; 8192]);
        let memory = DeviceMemory { outbox: &mut outbox, descriptors: &[1], backlog: &mut backlog };
        let mut config = DeviceConfig::new(own.clone(), anchors, Time::known(NOW), 1, 1024);
        config.storage = Some(StorageConfig::new(StorageKey::from_bytes([4; 32]), 8192));
        match with_heap(left, || Device::new(config, memory).map(drop)) {
            Ok(()) => made += 1,
            Err(error) => {
                assert_eq!((error, made), (CallError::OutOfMemory, 0), "{left}");
                refused += 1;
            }
        }
    }
    assert!(refused > 10 && made > 10, "{refused} refused, {made} made");
}

fn a_handshake_without_heap_says_so_and_succeeds_later() {
    let authority = Authority::new(SigningKey::from_bytes([1; 32]));
    let anchors = TrustAnchors::new(&[authority.public_key()]).unwrap();
    let own = identity(&authority, 2, Role::Device);
    let responder = Responder::new(identity(&authority, 3, Role::Backend), anchors, Limits::BACKEND);
    let rate = [Component::new(147_842, 264_864)];
    let mut set = [0; 64];
    let channel = ChannelDescriptor::new(1, ChannelKind::Numeric, 147_842, (&rate).into());
    let len = encode_descriptors(&[channel], &mut set).unwrap();
    let (mut refused, mut done) = (0, 0);
    // From a heap that has nothing to one that has more than enough, in steps below any allocation.
    for left in (0..2 * HANDSHAKE_HEAP).step_by(24) {
        let mut outbox = [0; 1024];
        let memory = DeviceMemory { outbox: &mut outbox, descriptors: &set[..len], backlog: &mut [] };
        let config = DeviceConfig::new(own.clone(), anchors, Time::known(NOW), 1, 1024);
        let mut device = Device::new(config, memory).unwrap();
        device.handle_link(Instant::ZERO, Link::Up { max_packet: 1232 });
        let (mut hello, mut reply, mut finish) = ([0; MAX_HELLO], [0; MAX_REPLY], [0; MAX_HELLO]);
        let mut now = Instant::ZERO;

        // The Hello.
        let sent = with_heap(left, || {
            device.connect(now);
            device.poll_transmit(now, &mut OsEntropy, &mut hello).map(|packet| packet.map(<[u8]>::len))
        });
        let hello_len = match sent {
            Ok(Some(len)) => len,
            Ok(None) => panic!("{left}: the device is silent, and does not say why"),
            Err(error) => {
                assert_eq!(error, CallError::OutOfMemory, "{left}");
                refused += 1;
                assert!(device.poll_timeout().is_some_and(|due| due > now), "{left}: it would spin");
                now = now + HANDSHAKE_RTO;
                device
                    .poll_transmit(now, &mut OsEntropy, &mut hello)
                    .unwrap()
                    .expect("there is room now")
                    .len()
            }
        };
        assert_eq!(kind(&hello[..hello_len]), PacketKind::Hello);

        // The Reply, and the Finish; then the end of all that the handshake has allocated.
        let (authentic, _) = responder.check_hello(&hello[..hello_len]).unwrap();
        let read =
            with_heap(left, || responder.read_hello(&authentic, None, Time::known(NOW), &mut OsEntropy));
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                assert_eq!(error, HandshakeError::OutOfMemory, "{left}");
                responder.read_hello(&authentic, None, Time::known(NOW), &mut OsEntropy).unwrap()
            }
        };
        let (written, reply_len) =
            read.write_reply(&responder, ConnectionId::EMPTY, None, &mut reply).unwrap();
        let ReplyWritten::AwaitingFinish(waiting) = written else { panic!("this is XX") };
        let sent = with_heap(left, || {
            device.handle_packet(now, &mut reply[..reply_len], &mut |_| {});
            device.poll_transmit(now, &mut OsEntropy, &mut finish).map(|packet| packet.map(<[u8]>::len))
        });
        let finish_len = match sent {
            Ok(Some(len)) => len,
            Ok(None) => panic!("{left}: the device is silent, and does not say why"),
            Err(error) => {
                assert_eq!(error, CallError::OutOfMemory, "{left}");
                now = now + HANDSHAKE_RTO;
                device
                    .poll_transmit(now, &mut OsEntropy, &mut finish)
                    .unwrap()
                    .expect("there is room now")
                    .len()
            }
        };
        assert_eq!(kind(&finish[..finish_len]), PacketKind::Finish);
        done += 1;
        with_heap(0, || drop((device, waiting)));
    }
    assert!(refused > 20 && done - refused > 20, "{refused} of {done}");
}
