//! What the fuzz targets of `fuzz/` have found, one test each.

#![cfg(all(feature = "std", feature = "device"))]

use std::sync::Arc;
use vitalwire::crypto::{SigningKey, StaticSecret};
use vitalwire::device::{Device, DeviceConfig, DeviceMemory, Link};
use vitalwire::framing::DescriptorSet;
use vitalwire::identity::*;
use vitalwire::{Duration, Instant, OsEntropy, UnixSeconds};

fn config(outbox_len: usize) -> DeviceConfig {
    let authority = Authority::new(SigningKey::from_bytes([1; 32]));
    let anchors = TrustAnchors::new(&[authority.public_key()]).unwrap();
    let secret = StaticSecret::from_bytes([2; 32]);
    let public = secret.public_key();
    let request = CredentialRequest {
        serial: 1,
        subject: SubjectId([1; 16]),
        role: Role::Device,
        scopes: Scopes::PUBLISH,
        issued: UnixSeconds(1_000),
        not_before: UnixSeconds(1_000),
        not_after: UnixSeconds(9_000),
    };
    let credential = authority.issue(&public, &request).unwrap();
    let identity = LocalIdentity::new(Arc::new(secret), public, credential);
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
