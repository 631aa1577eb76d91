//! What it costs to refuse one stranger, by what it has, and how many that is per second and core.
//!
//! Each packet is another one, from another path. The packets' copying into a buffer, as a socket does it, is outside
//! the clock; what is sent in answer is polled inside it.

mod common;

use common::{authority, identity, is_test, time};
use std::hint::black_box;
use std::time::{Duration, Instant as Clock};
use vitalwire::backend::{AdmissionLimits, Backend, BackendConfig, Inbound, Rate};
use vitalwire::handshake::{AwaitingReply, Initiator};
use vitalwire::identity::{LocalIdentity, Role, TrustAnchors};
use vitalwire::limits::MAX_HELLO;
use vitalwire::wire::Cookie;
use vitalwire::{Instant, OsEntropy};

const NOW: Instant = Instant::from_millis(100_000);
/// Different Hellos; what is measured goes through them in turn.
const HELLOS: usize = 1024;
/// Packets per measurement.
const PACKETS: usize = 65_536;

struct Bench {
    local: LocalIdentity,
    anchors: TrustAnchors,
    stranger: LocalIdentity,
}

impl Bench {
    fn new() -> Self {
        let authority = authority();
        let anchors = TrustAnchors::new(&[authority.public_key()]).expect("one key");
        let local = identity(&authority, 1, Role::Backend);
        Self { local, anchors, stranger: identity(&authority, 2, Role::Device) }
    }

    fn backend(&self, admission: AdmissionLimits, max_half_open: u32) -> Backend<u64> {
        let mut config = BackendConfig::new(self.local.clone(), self.anchors, time());
        (config.admission, config.max_half_open) = (admission, max_half_open);
        let mut backend = Backend::new(config).expect("the configuration is valid");
        send(&mut backend);
        backend
    }

    fn hello(&self, cookie: Option<Cookie>) -> (AwaitingReply, Vec<u8>) {
        let initiator = Initiator { cookie, ..Initiator::new(&self.stranger, &self.anchors) };
        let mut out = [0u8; MAX_HELLO];
        let (awaiting, len) = initiator.start(b"bench", &mut OsEntropy, &mut out).expect("room");
        (awaiting, out[..len].to_vec())
    }

    fn hellos(&self, cookie: Option<Cookie>) -> Vec<Vec<u8>> {
        (0..HELLOS).map(|_| self.hello(cookie).1).collect()
    }
}

/// Polls what is to be sent; returns how much.
fn send(backend: &mut Backend<u64>) -> usize {
    let mut out = [0u8; 1500];
    let mut sent = 0;
    while let Ok(Some(transmit)) = backend.poll_transmit(NOW, &mut OsEntropy, &mut out) {
        sent += transmit.packet.len();
    }
    sent
}

/// Hands packets in, 32 a call, each from the path that `path` says; prints what one costs.
fn refuse(what: &str, backend: &mut Backend<u64>, hellos: &[Vec<u8>], path: impl Fn(u64) -> u64) {
    let turns = if is_test() { 1 } else { 21 };
    let packets = if is_test() { 256 } else { PACKETS };
    let before = backend.discards().total();
    let jobs = backend.admission(NOW).jobs;
    let mut times = Vec::new();
    let mut number = 0u64;
    for _ in 0..turns {
        let mut took = Duration::ZERO;
        let mut left = packets;
        while left > 0 {
            let mut buffers: Vec<(u64, Vec<u8>)> = (0..32)
                .map(|_| {
                    number += 1;
                    (path(number), hellos[number as usize % hellos.len()].clone())
                })
                .collect();
            let mut inbound: Vec<Inbound<'_, u64>> =
                buffers.iter_mut().map(|(path, packet)| Inbound { path: *path, packet }).collect();
            let start = Clock::now();
            backend.handle_packets(NOW, &mut inbound, &mut |_| {});
            black_box(send(backend));
            took += start.elapsed();
            left -= 32;
        }
        times.push(took.as_secs_f64() / packets as f64);
    }
    times.sort_by(f64::total_cmp);
    let time = times[times.len() / 4];
    println!("{what:<44}{:>8.0} ns{:>14.0} per second", time * 1e9, 1.0 / time);
    let refused = backend.discards().total() - before;
    assert_eq!(refused, number, "{what}: all of them are refused");
    assert_eq!(backend.admission(NOW).jobs, jobs, "{what}: nothing is computed");
}

fn main() {
    let bench = Bench::new();
    let free = AdmissionLimits::UNLIMITED;
    let hellos = bench.hellos(None);
    println!("{:<44}{:>11}{:>25}", "one packet of a stranger, refused", "takes", "so many per core");

    let garbage: Vec<Vec<u8>> = hellos.iter().map(|hello| [&[0x1f], &hello[1..]].concat()).collect();
    refuse("no header", &mut bench.backend(free, 1024), &garbage, |number| number);

    let limits = AdmissionLimits { hellos: Rate::per_minute(1, 1), ..free };
    let mut backend = bench.backend(limits, 1024);
    backend.handle_packets(NOW, &mut [Inbound { path: 0, packet: &mut hellos[0].clone() }], &mut |_| {});
    refuse("above the rate of all Hellos", &mut backend, &hellos, |number| number);

    let wrong: Vec<Vec<u8>> = hellos.iter().map(|hello| [&hello[..hello.len() - 1], &[0]].concat()).collect();
    let wrong: Vec<Vec<u8>> = wrong
        .into_iter()
        .zip(&hellos)
        .filter(|(wrong, hello)| wrong != *hello)
        .map(|(wrong, _)| wrong)
        .collect();
    refuse("wrong MAC", &mut bench.backend(free, 1024), &wrong, |number| number);

    // One handshake is half open: above a quarter of three.
    let mut loaded = bench.backend(free, 3);
    let (_, mut first) = bench.hello(None);
    loaded.handle_packets(NOW, &mut [Inbound { path: 0, packet: &mut first }], &mut |_| {});
    refuse("no cookie, under load: a Retry", &mut loaded, &hellos, |number| number);

    let with_cookie = bench.hellos(Some(Cookie([7; 16])));
    refuse("wrong cookie, under load: a Retry", &mut loaded, &with_cookie, |number| number);

    let limits = AdmissionLimits { retries: Rate::per_minute(1, 1), ..free };
    let mut silent = bench.backend(limits, 3);
    for hello in &hellos[..2] {
        silent.handle_packets(NOW, &mut [Inbound { path: 0, packet: &mut hello.clone() }], &mut |_| {});
    }
    send(&mut silent);
    refuse("no cookie, above the rate of Retries", &mut silent, &hellos[2..], |number| number);

    // A path with a valid cookie, and no handshake left.
    let (awaiting, mut hello) = bench.hello(None);
    let limits = AdmissionLimits { per_path: Rate::per_minute(1, 1), ..free };
    let mut limited = bench.backend(limits, 3);
    limited.handle_packets(NOW, &mut [Inbound { path: 0, packet: &mut first }], &mut |_| {});
    limited.handle_packets(NOW, &mut [Inbound { path: 9, packet: &mut hello }], &mut |_| {});
    let mut out = [0u8; 1500];
    let retry = limited.poll_transmit(NOW, &mut OsEntropy, &mut out).expect("the generator works");
    let cookie = retry.and_then(|retry| awaiting.follow_retry(retry.packet)).expect("a Retry");
    let mut proven = bench.hello(Some(cookie)).1;
    limited.handle_packets(NOW, &mut [Inbound { path: 9, packet: &mut proven }], &mut |_| {});
    refuse("valid cookie, above its path's rate", &mut limited, &bench.hellos(Some(cookie)), |_| 9);
}
