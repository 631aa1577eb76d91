//! Two ends of a session over a link that loses, repeats, reorders, delays and corrupts, with rekeys of both kinds.
//!
//! Held: what opens was sealed by the other end, opens once and unaltered; a genuine packet within the reorder depth
//! that is at most a minute old opens (no rekey loses it); a packet that does not open changes nothing; after
//! healing both ends are in one epoch and every packet opens.
//!
//! Input: policy (3 bytes) ‖ operations.

use crate::input::Input;
use crate::world::SeedRng;
use std::collections::BTreeSet;
use vitalwire::crypto::{EphemeralSecret, HedgeKey, PublicKey, SessionSecrets};
use vitalwire::session::{RekeyPolicy, SealError, Session, Side};
use vitalwire::wire::{ConnectionId, DataHeader};
use vitalwire::{CloseReason, Discard, Duration, Instant};

/// How late a packet may be to be sure to open (the previous key lives for 120 s).
const FRESH: Duration = Duration::from_secs(60);
/// How far from the expected counter a packet may be to be sure to open.
const DEPTH: u64 = 100;

struct Sent {
    packet: Vec<u8>,
    counter: u64,
    at: Instant,
}

struct Pair {
    now: Instant,
    device: Session<2>,
    backend: Session<16>,
    rng: SeedRng,
    /// What each end has sent, and which of its counters the other one has opened.
    sent: [Vec<Sent>; 2],
    opened: [BTreeSet<u64>; 2],
}

/// Both ends have different types.
macro_rules! on {
    ($pair:expr, $side:expr, $end:ident => $body:expr) => {
        match $side {
            Side::Device => {
                let $end = &mut $pair.device;
                $body
            }
            Side::Backend => {
                let $end = &mut $pair.backend;
                $body
            }
        }
    };
}

impl Pair {
    /// Seals what a front end would: the highest counter heard, the rekey frame that is due, the own counter.
    fn send(&mut self, side: Side) {
        if side == Side::Device && self.device.wants_dh(self.now) {
            let secret = self.ephemeral();
            self.device.start_dh(secret);
        }
        let rekey = match side {
            Side::Device => self.device.rekey_request(),
            Side::Backend => self.backend.rekey_accept(),
        };
        let counter = on!(self, side, end => end.next_counter());
        let highest = on!(self, side, end => end.highest_received());
        let mut payload = [highest.to_le_bytes(), counter.to_le_bytes()].concat();
        payload.extend(rekey.iter().flat_map(|key| key.0));
        let id = ConnectionId::EMPTY;
        let mut out = vec![0u8; 128];
        let head = on!(self, side, end => end.header_len(&id));
        out[head..head + payload.len()].copy_from_slice(&payload);
        let now = self.now;
        match on!(self, side, end => end.seal(now, &id, &mut out, payload.len())) {
            Ok(packet) => {
                let packet = packet.to_vec();
                self.sent[side as usize].push(Sent { packet, counter, at: now });
                assert_eq!(on!(self, side, end => end.next_counter()), counter + 1);
            }
            Err(SealError::Closed(reason)) => {
                assert_eq!(on!(self, side, end => end.closed()), Some(reason));
                assert_eq!(on!(self, side, end => end.next_counter()), counter);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn ephemeral(&mut self) -> EphemeralSecret {
        EphemeralSecret::generate_hedged(&mut self.rng, &HedgeKey::from_bytes([1; 32]), b"")
            .expect("never fails")
    }

    /// Hands a packet to an end; returns whether it opened.
    fn deliver(&mut self, to: Side, mut packet: Vec<u8>) -> Result<u64, Discard> {
        let Ok(header) = DataHeader::parse(&packet, 0) else { return Err(Discard::MalformedHeader) };
        let before = on!(self, to, end => (end.epoch(), end.highest_received(), end.next_counter()));
        let now = self.now;
        let copy = packet.clone();
        let opened = on!(self, to, end => end.open(now, &header, &mut packet))
            .map(|opened| (opened.payload.to_vec(), opened.counter, opened.epoch));
        let (payload, counter, epoch) = match opened {
            Ok(opened) => opened,
            Err(discard) => {
                let after = on!(self, to, end => (end.epoch(), end.highest_received(), end.next_counter()));
                assert_eq!(after, before, "a discarded packet changed something");
                assert_eq!(packet, copy, "a discarded packet was altered");
                return Err(discard);
            }
        };
        let original = self.sent[to.peer() as usize].iter().find(|sent| sent.counter == counter);
        assert_eq!(original.map(|sent| &sent.packet), Some(&copy), "only what was sealed opens");
        assert!(self.opened[to as usize].insert(counter), "a packet opened twice");
        self.take(to, epoch, &payload, counter);
        Ok(counter)
    }

    fn take(&mut self, to: Side, epoch: u64, payload: &[u8], counter: u64) {
        let (highest, rest) = payload.split_first_chunk::<8>().expect("16 bytes at least");
        let (own, key) = rest.split_first_chunk::<8>().expect("16 bytes at least");
        assert_eq!(u64::from_le_bytes(*own), counter);
        let now = self.now;
        on!(self, to, end => end.peer_acked(u64::from_le_bytes(*highest)));
        let Some(key) = key.first_chunk::<32>().map(|key| PublicKey(*key)) else { return };
        match to {
            Side::Device => drop(self.device.handle_rekey_accept(now, epoch, key)),
            Side::Backend => {
                if self.backend.handle_rekey_request(now, epoch, key).is_ok()
                    && self.backend.needs_ephemeral()
                {
                    let secret = self.ephemeral();
                    self.backend.answer_dh(now, secret).expect("honest keys are no low-order points");
                }
            }
        }
    }

    fn deliver_genuine(&mut self, to: Side, index: usize) {
        let sent = &self.sent[to.peer() as usize][index];
        let (packet, counter, at) = (sent.packet.clone(), sent.counter, sent.at);
        let expected = on!(self, to, end => end.highest_received()) + 1;
        let again = self.opened[to as usize].contains(&counter);
        let result = self.deliver(to, packet);
        let closed = on!(self, to, end => end.closed()).is_some();
        if again {
            assert!(result.is_err(), "a replay opened");
        } else if self.now.since(at) <= FRESH && counter.abs_diff(expected) <= DEPTH && !closed {
            assert_eq!(result, Ok(counter), "a packet within the reorder depth was lost");
        }
    }

    fn is_closed(&self) -> Option<CloseReason> {
        self.device.closed().or(self.backend.closed())
    }

    fn heal(&mut self) {
        let mut before = 0;
        for ratchets in 0..3 {
            // A ratchet waits for the interval of 60 s, and for the previous epoch's packets, at most 120 s.
            for round in 0..60 {
                for side in [Side::Device, Side::Backend] {
                    self.send(side);
                    if self.is_closed().is_some() {
                        return;
                    }
                    let index = self.sent[side as usize].len() - 1;
                    let counter = self.sent[side as usize][index].counter;
                    let packet = self.sent[side as usize][index].packet.clone();
                    let result = self.deliver(side.peer(), packet);
                    if self.is_closed().is_some() {
                        return;
                    }
                    assert_eq!(result, Ok(counter), "round {round} of healing");
                }
                assert_eq!(self.device.epoch(), self.backend.epoch());
                if ratchets > 0 && self.device.dh_ratchets() > before {
                    break;
                }
                self.now = self.now + Duration::from_secs(10);
            }
            before = self.device.dh_ratchets();
            self.device.request_rekey();
        }
        let ratchets = (self.device.hash_ratchets(), self.device.dh_ratchets());
        assert_eq!(ratchets, (self.backend.hash_ratchets(), self.backend.dh_ratchets()));
        assert!(ratchets.1 > 1, "two DH ratchets were asked for");
    }
}

fn policy(input: &mut Input<'_>) -> RekeyPolicy {
    let [hash, dh, flags] = [input.u8(), input.u8(), input.u8()];
    let mut policy = RekeyPolicy::default();
    policy = policy.hash_after_packets(1 + u64::from(hash) * 4).expect("low");
    policy = policy.dh_after_packets(1 + u64::from(dh) * 8).expect("low");
    if flags & 1 != 0 {
        policy = policy.dh_interval(Duration::ZERO).expect("low");
    }
    if flags & 2 != 0 {
        policy = policy.hash_after(Duration::from_secs(30)).expect("low");
    }
    if flags & 4 != 0 {
        policy = policy.epoch_packets(300 + u64::from(hash) * 8).expect("low");
    }
    policy
}

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let policy = policy(&mut input);
    let secrets = || SessionSecrets::new([1; 32], &[2; 64]);
    let now = Instant::from_millis(1000);
    let mut pair = Pair {
        now,
        device: Session::new(now, Side::Device, secrets(), 1024, policy),
        backend: Session::new(now, Side::Backend, secrets(), 128, policy),
        rng: SeedRng(1),
        sent: [Vec::new(), Vec::new()],
        opened: [BTreeSet::new(), BTreeSet::new()],
    };
    for _ in 0..300 {
        if input.is_empty() {
            break;
        }
        let op = input.u8();
        let side = if op & 1 == 0 { Side::Device } else { Side::Backend };
        let queue = pair.sent[side.peer() as usize].len();
        match op >> 1 & 7 {
            // The newest packet is lost unless it is delivered later.
            0 => (0..1 + input.below(40)).for_each(|_| pair.send(side)),
            1 | 2 if queue > 0 => {
                let back = input.below(queue.min(120));
                pair.deliver_genuine(side, queue - 1 - back);
            }
            3 if queue > 0 => {
                for index in queue.saturating_sub(input.below(64))..queue {
                    pair.deliver_genuine(side, index);
                }
            }
            4 if queue > 0 => {
                let mut packet =
                    pair.sent[side.peer() as usize][queue - 1 - input.below(queue)].packet.clone();
                if input.mutate(&mut packet) {
                    assert!(pair.deliver(side, packet).is_err(), "a forgery opened");
                }
            }
            5 => {
                // A packet of the own direction, reflected.
                if let Some(sent) = pair.sent[side as usize].last() {
                    let packet = sent.packet.clone();
                    assert!(pair.deliver(side, packet).is_err(), "a reflected packet opened");
                }
            }
            6 => {
                let millis = u64::from(input.u16()) << if op & 0x10 == 0 { 0 } else { 6 };
                pair.now = pair.now + Duration::from_millis(millis);
                pair.device.handle_timeout(pair.now);
                pair.backend.handle_timeout(pair.now);
                for at in [pair.device.poll_timeout(), pair.backend.poll_timeout()].into_iter().flatten() {
                    assert!(at > pair.now, "a timer that was handled is still due");
                }
            }
            7 => pair.device.request_rekey(),
            _ => {}
        }
    }
    pair.heal();
}
