//! What the fuzz targets of `fuzz/` have found, one test each.

#![cfg(all(feature = "std", feature = "device"))]

use std::collections::BTreeMap;
use vitalwire::crypto::{SigningKey, StaticSecret, StorageKey};
use vitalwire::device::{Device, DeviceConfig, DeviceMemory, Link, StorageConfig};
use vitalwire::framing::DescriptorSet;
use vitalwire::identity::*;
use vitalwire::storage::{Item, StorageReply, StorageRequest};
use vitalwire::{Duration, Instant, OsEntropy, UnixSeconds};

fn identity(subject: u8, role: Role) -> (LocalIdentity, TrustAnchors) {
    let authority = Authority::new(SigningKey::from_bytes([1; 32]));
    let anchors = TrustAnchors::new(&[authority.public_key()]).unwrap();
    let (name, from, until) = (SubjectId([subject; 16]), UnixSeconds(1_000), UnixSeconds(9_000));
    let request = CredentialRequest::new(subject.into(), name, role, Scopes::PUBLISH, from, until);
    let secret = StaticSecret::from_bytes([1 + subject; 32]);
    (LocalIdentity::issue(&authority, secret, &request).unwrap(), anchors)
}

fn config(outbox_len: usize) -> DeviceConfig {
    let (identity, anchors) = identity(1, Role::Device);
    DeviceConfig::new(identity, anchors, Time::known(UnixSeconds(2_000)), 1, outbox_len)
}

/// Target `device`: who slept through the pause between two attempts, polled until `None` and looked at the timer found
/// it due, as the pause was drawn only when the attempt should have begun already.
#[test]
fn a_pause_that_is_over_starts_its_attempt_with_the_next_poll() {
    let mut outbox = [0u8; 1024];
    let memory =
        DeviceMemory { outbox: &mut outbox, descriptors: DescriptorSet::EMPTY.as_bytes(), backlog: &mut [] };
    let mut device = Device::new(config(1024), memory).unwrap();
    let mut now = Instant::from_millis(1_000);
    device.handle_link(now, Link::Up { max_packet: 512 });
    device.connect(now);
    let mut out = [0u8; 512];
    for step in [0, 10, 10, 10] {
        now = now + Duration::from_secs(step);
        assert!(device.poll_transmit(now, &mut OsEntropy, &mut out).unwrap().is_some(), "a Hello");
    }
    // The attempt is given up while nobody polls, and its pause passes.
    now = now + Duration::from_secs(60);
    device.handle_timeout(now);
    now = now + Duration::from_secs(600);
    device.handle_timeout(now);
    assert!(
        device.poll_transmit(now, &mut OsEntropy, &mut out).unwrap().is_some(),
        "the next attempt's Hello"
    );
    assert!(device.poll_transmit(now, &mut OsEntropy, &mut out).unwrap().is_none());
    assert!(device.poll_timeout().unwrap() > now);
}

/// Items in memory; nobody stores an entry.
fn serve(now: Instant, device: &mut Device<'_>, items: &mut BTreeMap<Item, Vec<u8>>) {
    while let Some(request) = device.poll_storage(now, &mut OsEntropy) {
        let mut value = None;
        let reply = match request {
            StorageRequest::Get { item } => {
                value = items.get(&item).cloned();
                StorageReply::Value(value.as_deref())
            }
            StorageRequest::Put { item, value } => {
                items.insert(item, value.to_vec());
                StorageReply::Done
            }
            StorageRequest::Delete { item } => {
                items.remove(&item);
                StorageReply::Done
            }
            StorageRequest::Read { .. } => StorageReply::End,
            _ => StorageReply::Failed,
        };
        device.handle_storage(now, reply);
        drop(value);
    }
}

/// Target `device`: an attempt to connect wants the stored ticket erased, which comes up in `poll_transmit`, after the turn's
/// requests to the storage; `poll_timeout` let the loop sleep for the two seconds that an attempt waits for the storage.
#[cfg(feature = "backend")]
#[test]
fn who_wants_to_resume_does_not_sleep_before_its_ticket_is_erased() {
    use vitalwire::backend::{Backend, BackendConfig, BackendEvent, Grant, Inbound};
    use vitalwire::crypto::{ServiceKey, TicketKey};
    use vitalwire::handshake::TicketKeys;
    let (mut outbox, mut backlog) = ([0u8; 4096], [0u8; 8192]);
    let mut config = config(4096);
    config.smallest_packet = 128;
    config.storage = Some(StorageConfig::new(StorageKey::from_bytes([7; 32]), 8192));
    let descriptors = DescriptorSet::EMPTY.as_bytes();
    let memory = DeviceMemory { outbox: &mut outbox, descriptors, backlog: &mut backlog };
    let mut device = Device::new(config, memory).unwrap();
    let (local, anchors) = identity(9, Role::Backend);
    let config = BackendConfig::new(local, anchors, Time::known(UnixSeconds(2_000)));
    let mut backend: Backend<()> = Backend::new(config).unwrap();
    let service = ServiceKey::from_bytes([1; 32]);
    backend.set_ticket_keys(TicketKeys::new(service, TicketKey::from_bytes([2; 32]), None));
    let (now, mut items) = (Instant::from_millis(1_000), BTreeMap::new());
    device.handle_link(now, Link::Up { max_packet: 512 });
    device.connect(now);
    let mut out = [0u8; 1500];
    for _ in 0..8 {
        serve(now, &mut device, &mut items);
        while let Some(packet) = device.poll_transmit(now, &mut OsEntropy, &mut out).unwrap() {
            let packet = &mut packet.to_vec()[..];
            backend.handle_packets(now, &mut [Inbound { path: (), packet }], &mut |_| {});
        }
        for _ in 0..2 {
            while let Some(job) = backend.poll_handshake() {
                backend.handle_handshake(now, job.run(&mut OsEntropy));
            }
            while let Some(event) = backend.poll_event() {
                if let BackendEvent::Pending { pending, .. } = event {
                    backend.accept(now, pending, Grant::default()).unwrap();
                }
            }
        }
        while let Some(sent) = backend.poll_transmit(now, &mut OsEntropy, &mut out).unwrap() {
            device.handle_packet(now, &mut sent.packet.to_vec(), &mut |_| {});
        }
    }
    serve(now, &mut device, &mut items);
    assert!(device.is_connected() && items.contains_key(&Item::Ticket));
    device.disconnect();
    while device.poll_transmit(now, &mut OsEntropy, &mut out).unwrap().is_some() {}
    device.connect(now);
    // A turn of the loop.
    serve(now, &mut device, &mut items);
    assert!(
        device.poll_transmit(now, &mut OsEntropy, &mut out).unwrap().is_none(),
        "it waits for the storage"
    );
    assert!(device.poll_timeout().is_some_and(|at| at <= now), "the next turn follows at once");
    serve(now, &mut device, &mut items);
    assert!(!items.contains_key(&Item::Ticket));
    let hello = device.poll_transmit(now, &mut OsEntropy, &mut out).unwrap().unwrap();
    assert_eq!(hello[..2], [0x11, 5], "a Hello with the ticket");
    assert!(device.poll_timeout().unwrap() > now);
}
