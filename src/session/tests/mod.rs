//! Two sessions and a link in virtual time.

mod epochs;
mod packets;
mod rekey;
mod stops;

use super::*;
use crate::error::Discard;
use crate::time::Duration;
use crate::wire::{ConnectionId, DataHeader};

pub(super) const DEVICE_WORDS: usize = 2;
pub(super) const BACKEND_WORDS: usize = 16;
pub(super) type Device = Session<DEVICE_WORDS>;
pub(super) type Backend = Session<BACKEND_WORDS>;

pub(super) fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

pub(super) fn pair_with(policy: RekeyPolicy) -> (Device, Backend) {
    let secrets = || SessionSecrets::new([1; 32], &[2; 64]);
    (
        Session::new(at(0), Side::Device, secrets(), 1024, policy),
        Session::new(at(0), Side::Backend, secrets(), 128, policy),
    )
}

pub(super) fn pair() -> (Device, Backend) {
    pair_with(RekeyPolicy::default())
}

pub(super) fn try_seal<const W: usize>(from: &mut Session<W>, now: Instant) -> Result<Vec<u8>, SealError> {
    let mut out = [0u8; 64];
    let start = from.header_len(&ConnectionId::EMPTY);
    out[start..start + 8].copy_from_slice(&from.next_counter().to_le_bytes());
    from.seal(now, &ConnectionId::EMPTY, &mut out, 8).map(|packet| packet.to_vec())
}

pub(super) fn seal<const W: usize>(from: &mut Session<W>, now: Instant) -> Vec<u8> {
    try_seal(from, now).unwrap()
}

/// What is left of [`Opened`] without its borrow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Got {
    pub(super) counter: u64,
    pub(super) epoch: u64,
    pub(super) newest: bool,
    pub(super) advanced: bool,
}

pub(super) fn open<const W: usize>(to: &mut Session<W>, now: Instant, packet: &[u8]) -> Result<Got, Discard> {
    let mut bytes = packet.to_vec();
    let header = DataHeader::parse(&bytes, 0)?;
    let opened = match to.open(now, &header, &mut bytes) {
        Ok(opened) => opened,
        Err(discard) => {
            if discard != Discard::SessionClosed {
                assert_eq!(bytes, packet, "a discarded packet's bytes stay as they were");
            }
            return Err(discard);
        }
    };
    assert_eq!(*opened.payload, opened.counter.to_le_bytes());
    let (newest, advanced) = (opened.newest, opened.epoch_advanced);
    Ok(Got { counter: opened.counter, epoch: opened.epoch, newest, advanced })
}

/// Sends one packet that arrives.
pub(super) fn pass<const A: usize, const B: usize>(
    from: &mut Session<A>,
    to: &mut Session<B>,
    now: Instant,
) -> Got {
    open(to, now, &seal(from, now)).unwrap()
}

/// Lets the device reach the hash trigger with each packet.
pub(super) fn make_hash_due(device: &mut Device) {
    device.keep.driver.policy.set_hash_packets(0);
}

/// Moves both ends to the next epoch, confirmed, at `now`.
pub(super) fn ratchet(device: &mut Device, backend: &mut Backend, now: Instant) {
    make_hash_due(device);
    pass(backend, device, now);
    assert!(pass(device, backend, now).advanced);
    pass(backend, device, now);
    assert_eq!(device.epoch(), backend.epoch());
}

#[test]
fn sizes_stay_small() {
    let (device, backend) = (size_of::<Device>(), size_of::<Backend>());
    println!("Session<2> {device} bytes, Session<16> {backend} bytes");
    let hot = size_of::<Sending>() + size_of::<Receiving<16>>();
    println!("of Session<16>, packets touch {hot} bytes");
    assert!(device <= 704 && backend <= 800 && hot <= 480);
}
