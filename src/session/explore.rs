//! Explores the rekey state machine exhaustively: two real sessions, and a link that loses, duplicates, reorders and
//! delays whatever it likes.
//!
//! Breadth first over all sequences of actions. Two worlds count as the same if nothing that a session decides by
//! differs: epochs relative to each other, what is pending, which keys live, and for each packet in flight its order
//! relative to the window, the epochs and the other packets. That is exact while fewer than 64 single packets are sent
//! on a path (the window's size), so up to that depth; where no new world is left before, it is exhaustive at any depth.

use super::rekey::{Exchange, NextEpoch};
use super::*;
use crate::Duration;
use crate::crypto::{EphemeralSecret, PublicKey};
use crate::error::Discard;
use crate::limits::DH_RATCHET_INTERVAL;
use crate::wire::{ConnectionId, DataHeader};
use std::collections::HashSet;

const WINDOW: u16 = 64;
const TICK: Duration = PREVIOUS_KEY_LIFE;
/// A burst of packets that are all lost; far more than the window, so `counter / BURST` counts the bursts before it.
const BURST: u64 = 1024;
const PAYLOAD: usize = 1 + 32 + 8;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
    DeviceSends,
    /// Sends with the hash trigger reached.
    DeviceSendsHashDue,
    BackendSends,
    DeviceStartsDh,
    Deliver(usize),
    Duplicate(usize),
    Drop(usize),
    Tick,
    DeviceBurstLost,
    BackendBurstLost,
}

/// A rule broken on purpose, to see that the exploration notices.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// The device moves without having heard anything in its epoch.
    MovesUnconfirmed,
    /// The device moves while the previous epoch's key lives.
    MovesTooSoon,
    /// The previous key dies at once.
    ForgetsPrevious,
    /// The window is not marked.
    NeverMarks,
    /// The device starts a hash ratchet while its RekeyRequest is unanswered.
    HashWhilePending,
    /// The backend never repeats a RekeyAccept.
    AnswersOnce,
}

#[derive(Clone)]
struct InFlight {
    to: Side,
    bytes: Vec<u8>,
    epoch: u64,
    counter: u64,
    sent: Instant,
    /// It carries a RekeyRequest or RekeyAccept.
    carries_key: bool,
    /// It has been opened once.
    opened: bool,
}

#[derive(Clone)]
struct World {
    device: Session<1>,
    backend: Session<1>,
    now: Instant,
    flight: Vec<InFlight>,
    owes_accept: bool,
    ephemerals: u8,
    fault: Fault,
}

#[derive(Clone, Copy)]
struct Bounds {
    depth: u32,
    in_flight: usize,
    bursts: u64,
}

impl World {
    fn new(fault: Fault) -> Self {
        let secrets = || SessionSecrets::new([1; 32], &[2; 64]);
        let mut policy = RekeyPolicy::default();
        policy.disable_age_triggers(); // ratchets are actions here
        let new = |side| Session::<1>::new(Instant::ZERO, side, secrets(), WINDOW, policy);
        Self {
            device: new(Side::Device),
            backend: new(Side::Backend),
            now: Instant::ZERO,
            flight: Vec::new(),
            owes_accept: false,
            ephemerals: 0,
            fault,
        }
    }

    fn ephemeral(&mut self) -> EphemeralSecret {
        self.ephemerals += 1;
        EphemeralSecret::from_bytes([self.ephemerals; 32])
    }

    /// Every action that makes sense here.
    fn actions(&self, bounds: &Bounds) -> Vec<Action> {
        let mut actions = vec![Action::Tick];
        for index in 0..self.flight.len() {
            actions.extend([Action::Deliver(index), Action::Drop(index)]);
            if !self.flight[index].opened {
                actions.push(Action::Duplicate(index));
            }
        }
        if self.flight.len() < bounds.in_flight {
            actions.extend([Action::DeviceSends, Action::DeviceSendsHashDue, Action::BackendSends]);
        }
        let mut device = self.device.clone();
        device.request_rekey();
        if device.wants_dh(self.now) {
            actions.push(Action::DeviceStartsDh);
        }
        if self.device.sending.next / BURST < bounds.bursts {
            actions.push(Action::DeviceBurstLost);
        }
        if self.backend.sending.next / BURST < bounds.bursts {
            actions.push(Action::BackendBurstLost);
        }
        actions
    }

    /// Plays one action; `Err` names the broken invariant.
    fn play(&mut self, action: Action, bounds: &Bounds) -> Result<(), String> {
        match action {
            Action::DeviceSends => self.send(Side::Device, false, bounds),
            Action::DeviceSendsHashDue => self.send(Side::Device, true, bounds),
            Action::BackendSends => self.send(Side::Backend, false, bounds),
            Action::DeviceStartsDh => {
                self.device.request_rekey();
                let secret = self.ephemeral();
                self.device.start_dh(secret).ok_or("DH was wanted and did not start")?;
                Ok(())
            }
            Action::Deliver(index) => {
                let packet = self.flight.remove(index);
                self.deliver(&packet, bounds)
            }
            Action::Duplicate(index) => {
                let packet = self.flight[index].clone();
                self.flight[index].opened = true;
                self.deliver(&packet, bounds)
            }
            Action::Drop(index) => {
                self.flight.remove(index);
                Ok(())
            }
            Action::Tick => {
                self.now = self.now + TICK;
                self.device.handle_timeout(self.now);
                self.backend.handle_timeout(self.now);
                Ok(())
            }
            Action::DeviceBurstLost => {
                self.device.sending.next += BURST;
                Ok(())
            }
            Action::BackendBurstLost => {
                self.backend.sending.next += BURST;
                Ok(())
            }
        }?;
        let (device, backend) = (self.device.epoch(), self.backend.epoch());
        if device != backend && device != backend + 1 {
            return Err(format!("epochs {device} and {backend}"));
        }
        if self.device.closed.is_some() || self.backend.closed.is_some() {
            return Err("closed".into());
        }
        Ok(())
    }

    fn send(&mut self, side: Side, hash_due: bool, bounds: &Bounds) -> Result<(), String> {
        let (now, fault) = (self.now, self.fault);
        let mut out = [0u8; 64];
        let start = self.device.header_len(&ConnectionId::EMPTY);
        let (bytes, counter, epoch, carries_key) = match side {
            Side::Device => {
                let device = &mut self.device;
                device.keep.driver.policy.set_hash_packets(if hash_due { 0 } else { u32::MAX });
                let real = device.clone();
                plant(device, fault, hash_due, now);
                let moved = device.must_move(now);
                if !moved {
                    *device = real;
                }
                write(&mut out[start..], device.rekey_request(), device.highest_received());
                let counter = device.sending.next;
                let packet = device.seal(now, &ConnectionId::EMPTY, &mut out, PAYLOAD).unwrap().to_vec();
                device.keep.driver.policy.set_hash_packets(u32::MAX);
                if moved && fault == Fault::ForgetsPrevious {
                    device.keep.rare.previous = None;
                }
                (packet, counter, device.epoch(), device.rekey_request().is_some())
            }
            Side::Backend => {
                let start = self.backend.header_len(&ConnectionId::EMPTY);
                let accept = self.backend.rekey_accept().filter(|_| self.owes_accept);
                self.owes_accept = false;
                write(&mut out[start..], accept, self.backend.highest_received());
                let counter = self.backend.sending.next;
                let packet = self.backend.seal(now, &ConnectionId::EMPTY, &mut out, PAYLOAD).unwrap();
                (packet.to_vec(), counter, self.backend.epoch(), accept.is_some())
            }
        };
        // What does not fit is lost: one of the things that a link may do anyway.
        if self.flight.len() < bounds.in_flight {
            let (to, sent) = (side.peer(), now);
            self.flight.push(InFlight { to, bytes, epoch, counter, sent, carries_key, opened: false });
        }
        Ok(())
    }

    fn deliver(&mut self, packet: &InFlight, bounds: &Bounds) -> Result<(), String> {
        let now = self.now;
        let header = DataHeader::parse(&packet.bytes, 0).map_err(|discard| discard.to_string())?;
        let mut bytes = packet.bytes.clone();
        let (in_window, result) = match packet.to {
            Side::Device => {
                let window = self.device.receiving.window.clone();
                let result = self.device.open(now, &header, &mut bytes);
                if self.fault == Fault::NeverMarks {
                    self.device.receiving.window = window.clone();
                }
                (window.check(packet.counter), result)
            }
            Side::Backend => {
                let window = self.backend.receiving.window.clone();
                (window.check(packet.counter), self.backend.open(now, &header, &mut bytes))
            }
        };
        let opened = match result {
            Ok(_) if packet.opened => return Err(format!("opened twice: {}", packet.counter)),
            Err(discard) if !packet.opened && in_window.is_ok() && packet.sent == now => {
                return Err(format!("lost within the reorder depth: {} ({discard})", packet.counter));
            }
            Err(_) => return Ok(()),
            Ok(opened) => opened,
        };
        if (opened.counter, opened.epoch) != (packet.counter, packet.epoch) {
            return Err(format!("took {} for {}", packet.counter, opened.counter));
        }
        let (advanced, epoch) = (opened.epoch_advanced, opened.epoch);
        let (key, acked) = read(opened.payload);
        match packet.to {
            Side::Device => {
                self.device.peer_acked(acked);
                if let Some(key) = key {
                    let _: Result<(), Discard> = self.device.handle_rekey_accept(now, epoch, key);
                }
            }
            Side::Backend => {
                self.backend.peer_acked(acked);
                if let Some(key) = key {
                    self.handle_request(epoch, key);
                }
                if advanced {
                    self.send(Side::Backend, false, bounds)?;
                }
            }
        }
        Ok(())
    }

    fn handle_request(&mut self, epoch: u64, key: PublicKey) {
        match self.backend.handle_rekey_request(self.now, epoch, key) {
            Ok(RekeyAnswer::NeedsEphemeral) => {
                let secret = self.ephemeral();
                self.backend.answer_dh(self.now, secret).unwrap();
                self.owes_accept = true;
            }
            Ok(RekeyAnswer::Repeat(_)) => self.owes_accept = self.fault != Fault::AnswersOnce,
            Err(_) => {}
        }
    }

    /// Once the link works, both ends talk, finish what is pending, and can do both ratchets again.
    fn heals(&self) -> Result<(), String> {
        let mut world = self.clone();
        let bounds = Bounds { depth: 0, in_flight: 8, bursts: 0 };
        world.flight.clear();
        for ratchet in [false, true] {
            let before = world.device.epoch();
            for round in 0.. {
                let settled = matches!(world.device.keep.rare.exchange, Exchange::Idle)
                    && matches!(world.device.keep.cold.next, NextEpoch::Hash(_))
                    && matches!(world.backend.keep.rare.exchange, Exchange::Idle)
                    && world.device.epoch() == world.backend.epoch()
                    && (!ratchet || world.device.epoch() > before);
                if settled && round > 0 {
                    break;
                }
                if round > 5 {
                    return Err("does not heal".into());
                }
                for side in [Side::Device, Side::Backend] {
                    world.send(side, ratchet, &bounds)?;
                    while !world.flight.is_empty() {
                        let packet = world.flight.remove(0);
                        world.deliver(&packet, &bounds).map_err(|why| format!("after healing: {why}"))?;
                    }
                }
                world.play(Action::Tick, &bounds)?;
            }
        }
        Ok(())
    }

    /// All that decides what happens next, and nothing else.
    fn key(&self) -> Vec<u8> {
        let mut key = vec![
            u8::from(self.device.epoch() == 0),
            (self.device.epoch() - self.backend.epoch()) as u8,
            u8::from(self.owes_accept),
            u8::from(self.device.keep.cold.answerable == self.now + DH_RATCHET_INTERVAL),
            u8::from(self.backend.keep.cold.answerable == self.now + DH_RATCHET_INTERVAL),
            u8::from(self.device.sent_in_epoch() >= u64::from(WINDOW)),
        ];
        for (receiver, sender) in [(&self.device, &self.backend), (&self.backend, &self.device)] {
            key.push(match receiver.keep.rare.exchange {
                Exchange::Idle => 0,
                Exchange::Requested { .. } => 1,
                Exchange::Asked { .. } => 2,
                Exchange::Answered { .. } => 3,
            });
            key.push(u8::from(matches!(receiver.keep.cold.next, NextEpoch::Dh(_))));
            key.push(u8::from(receiver.keep.rare.previous.is_some()));
            let bursts = sender.sending.next / BURST;
            let place = |counter: Option<u64>| counter.map_or(9, |counter| (bursts - counter / BURST) as u8);
            let heard = receiver.keep.rare.heard;
            key.push(place(receiver.receiving.window.highest()));
            key.push(place(heard.map(|heard| heard.lowest)));
            key.push(heard.map_or(0, |heard| 1 + u8::from(heard.since == self.now)));
            let mut flight: Vec<_> = self.flight.iter().filter(|packet| packet.to == receiver.side).collect();
            flight.sort_by_key(|packet| (packet.counter, packet.opened));
            key.push(flight.len() as u8);
            let mut last = None;
            for packet in flight {
                let behind = receiver.epoch() + 1 - packet.epoch.min(receiver.epoch() + 1);
                let order = |other: Option<u64>| other.map_or(9, |other| packet.counter.cmp(&other) as u8);
                key.extend([
                    if behind > 2 { 3 + (behind % 4) as u8 } else { behind as u8 },
                    place(Some(packet.counter)),
                    order(receiver.receiving.window.highest()),
                    order(heard.map(|heard| heard.lowest)),
                    order(last),
                    match receiver.receiving.window.check(packet.counter) {
                        Ok(()) => 0,
                        Err(Discard::Replayed) => 1,
                        Err(_) => 2,
                    },
                    u8::from(packet.opened),
                    u8::from(packet.sent == self.now),
                    u8::from(packet.carries_key),
                ]);
                last = Some(packet.counter);
            }
        }
        key
    }
}

fn write(out: &mut [u8], key: Option<PublicKey>, acked: u64) {
    out[0] = u8::from(key.is_some());
    out[1..33].copy_from_slice(&key.map_or([0; 32], |key| key.0));
    out[33..PAYLOAD].copy_from_slice(&acked.to_le_bytes());
}

fn read(payload: &[u8]) -> (Option<PublicKey>, u64) {
    let key = (payload[0] == 1).then(|| PublicKey(payload[1..33].try_into().unwrap()));
    (key, u64::from_le_bytes(payload[33..PAYLOAD].try_into().unwrap()))
}

/// Breaks a rule in a device that is about to send.
fn plant(device: &mut Session<1>, fault: Fault, hash_due: bool, now: Instant) {
    match fault {
        Fault::MovesUnconfirmed if device.keep.rare.heard.is_none() => {
            device.keep.rare.heard = Some(Heard { since: Instant::ZERO, lowest: 0 });
            device.keep.rare.previous = None;
        }
        Fault::MovesTooSoon if device.keep.rare.heard.is_some() => {
            device.keep.rare.previous = None;
            device.keep.driver.peer_window = 0;
        }
        Fault::HashWhilePending
            if hash_due && device.rekey_request().is_some() && device.may_move(now, &device.keep.driver) =>
        {
            device.keep.rare.exchange = Exchange::Idle;
        }
        _ => {}
    }
}

struct Explored {
    worlds: usize,
    steps: usize,
    depth: u32,
    complete: bool,
}

fn explore(fault: Fault, bounds: &Bounds) -> Result<Explored, String> {
    let start = World::new(fault);
    let mut known = HashSet::from([start.key()]);
    let mut frontier = vec![(start, Vec::new())];
    let mut steps = 0;
    for depth in 0..bounds.depth {
        let mut next = Vec::new();
        for (world, path) in &frontier {
            for action in world.actions(bounds) {
                let mut after = world.clone();
                let path = [&path[..], &[action]].concat();
                steps += 1;
                after.play(action, bounds).map_err(|why| format!("{why}: {path:?}"))?;
                if known.insert(after.key()) {
                    after.heals().map_err(|why| format!("{why}: {path:?}"))?;
                    next.push((after, path));
                }
            }
        }
        frontier = next;
        if frontier.is_empty() {
            return Ok(Explored { worlds: known.len(), steps, depth, complete: true });
        }
    }
    Ok(Explored { worlds: known.len(), steps, depth: bounds.depth, complete: false })
}

fn report(name: &str, explored: &Explored) {
    let Explored { worlds, steps, depth, complete } = explored;
    println!("{name}: {worlds} worlds, {steps} steps, depth {depth}, complete: {complete}");
}

#[test]
fn rekey_holds_in_every_order_of_events() {
    let explored = explore(Fault::None, &Bounds { depth: 60, in_flight: 2, bursts: 0 }).unwrap();
    report("2 packets in flight", &explored);
    assert!(explored.complete);
    // To the end of these it takes a minute: `VITALWIRE_EXPLORE=full cargo test --lib explore`.
    let full = std::env::var("VITALWIRE_EXPLORE").is_ok_and(|how| how == "full");
    let depth = if full { 60 } else { 12 };
    let explored = explore(Fault::None, &Bounds { depth, in_flight: 2, bursts: 1 }).unwrap();
    report("2 packets in flight, a lost burst each way", &explored);
    assert_eq!(explored.complete, full);
    let explored = explore(Fault::None, &Bounds { depth: 7, in_flight: 4, bursts: 0 }).unwrap();
    report("4 packets in flight", &explored);
}

#[test]
fn exploration_notices_broken_rules() {
    for fault in [
        Fault::MovesUnconfirmed,
        Fault::MovesTooSoon,
        Fault::ForgetsPrevious,
        Fault::NeverMarks,
        Fault::HashWhilePending,
        Fault::AnswersOnce,
    ] {
        let found = explore(fault, &Bounds { depth: 14, in_flight: 2, bursts: 0 }).err();
        println!("{fault:?}: {found:?}");
        assert!(found.is_some(), "{fault:?} went unnoticed");
    }
}
