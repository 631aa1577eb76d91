//! boringtun: two tunnels joined in memory.

use crate::measure::Contender;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vitalwire::{Entropy, OsEntropy};

/// The least that an IPv4 packet may have: a tunnel carries nothing else.
const LEAST: usize = 20;

/// Two ends that know each other's static key.
pub(crate) struct Tunnel {
    pub(crate) ends: [Tunn; 2],
    buffer: [Vec<u8>; 2],
}

fn secret() -> StaticSecret {
    let mut bytes = [0u8; 32];
    OsEntropy.fill(&mut bytes).expect("the system's generator works");
    bytes.into()
}

fn packet(result: TunnResult<'_>) -> usize {
    match result {
        TunnResult::WriteToNetwork(packet) => packet.len(),
        other => panic!("no packet: {other:?}"),
    }
}

/// An IPv4 packet of this length, or of the least that there is.
fn ip(len: usize) -> Vec<u8> {
    let mut packet = vec![0x55; len.max(LEAST)];
    packet[0] = 0x45;
    let total = u16::try_from(packet.len()).expect("a small packet");
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet
}

impl Tunnel {
    pub(crate) fn new() -> Self {
        let secrets = [secret(), secret()];
        let [first, second] = secrets.each_ref().map(PublicKey::from);
        // They never count as under load.
        let limiter = |key| Some(Arc::new(RateLimiter::new(key, u64::MAX)));
        let [own, peer] = secrets;
        let ends = [
            Tunn::new(own, second, None, None, 1, limiter(&first)),
            Tunn::new(peer, first, None, None, 2, limiter(&second)),
        ];
        Self { ends, buffer: [vec![0; 2048], vec![0; 2048]] }
    }

    /// Runs a handshake, to the packet that confirms it; returns what it took of each end.
    pub(crate) fn shake(&mut self) -> [Duration; 2] {
        let Self { ends: [first, second], buffer: [out, back] } = self;
        let start = Instant::now();
        let hello = packet(first.format_handshake_initiation(out, true));
        let mut initiator = start.elapsed();
        let start = Instant::now();
        let reply = packet(second.decapsulate(None, &out[..hello], back));
        let mut responder = start.elapsed();
        let start = Instant::now();
        let confirmed = packet(first.decapsulate(None, &back[..reply], out));
        initiator += start.elapsed();
        let start = Instant::now();
        assert!(matches!(second.decapsulate(None, &out[..confirmed], back), TunnResult::Done));
        responder += start.elapsed();
        [initiator, responder]
    }
}

/// Seal and open of so many bytes.
pub(crate) fn passes(len: usize) -> Contender<'static> {
    let mut tunnel = Tunnel::new();
    tunnel.shake();
    let inner = ip(len);
    Contender::each(NAME, move || {
        let Tunnel { ends: [first, second], buffer: [out, back] } = &mut tunnel;
        let sealed = packet(first.encapsulate(&inner, out));
        match second.decapsulate(None, &out[..sealed], back) {
            TunnResult::WriteToTunnelV4(opened, _) => assert_eq!(black_box(opened).len(), inner.len()),
            other => panic!("not opened: {other:?}"),
        }
    })
}

pub(crate) const NAME: &str = "boringtun, Tunn";
