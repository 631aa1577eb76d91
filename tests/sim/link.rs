//! A link that loses, repeats, reorders, delays, corrupts, replays old packets and splices them between sessions.

use crate::kit::{Rng, ms};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use vitalwire::Instant;

/// What the link does to packets: each a share of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    pub(crate) loss: f64,
    pub(crate) duplicate: f64,
    pub(crate) reorder: f64,
    pub(crate) corrupt: f64,
    /// Sends an old packet again, to where it went.
    pub(crate) replay: f64,
    /// Sends an old packet to somebody else.
    pub(crate) splice: f64,
    /// Delay in milliseconds.
    pub(crate) delay: (u64, u64),
    /// Delay of those that are reordered.
    pub(crate) late: (u64, u64),
}

impl Faults {
    pub(crate) const NONE: Self = Self {
        loss: 0.0,
        duplicate: 0.0,
        reorder: 0.0,
        corrupt: 0.0,
        replay: 0.0,
        splice: 0.0,
        delay: (20, 20),
        late: (100, 900),
    };
    pub(crate) const HOSTILE: Self = Self {
        loss: 0.2,
        duplicate: 0.2,
        reorder: 0.2,
        corrupt: 0.05,
        replay: 0.05,
        splice: 0.05,
        delay: (5, 60),
        ..Self::NONE
    };

    pub(crate) fn loss(share: f64) -> Self {
        Self { loss: share, ..Self::NONE }
    }
}

/// Whom a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum To {
    /// The backend, from this path.
    Backend(u64),
    Device(usize),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flying {
    due: Instant,
    order: u64,
    to: To,
    packet: Vec<u8>,
}

type Filter = Box<dyn FnMut(To, &[u8]) -> Verdict>;

pub(crate) struct Link {
    pub(crate) faults: Faults,
    pub(crate) rng: Rng,
    flying: BinaryHeap<Reverse<Flying>>,
    order: u64,
    old: Vec<(To, Vec<u8>)>,
    /// Every packet that was handed to the link, in order, if wanted.
    pub(crate) log: Option<Vec<(Instant, To, Vec<u8>)>>,
    /// Drops what it says, before chance does.
    pub(crate) filter: Option<Filter>,
}

/// What a filter makes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    Drop,
    Twice,
    /// Held back so long, in milliseconds.
    Late(u64),
    /// With this bit flipped.
    Flip(usize),
}

const OLD: usize = 400;

impl Link {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        Self {
            faults,
            rng: Rng::new(seed),
            flying: BinaryHeap::new(),
            order: 0,
            old: Vec::new(),
            log: None,
            filter: None,
        }
    }

    /// Does this to the packet that is sent after so many others, and nothing to the rest.
    pub(crate) fn fault_at(&mut self, position: usize, verdict: Verdict) {
        let mut packets = 0..;
        self.filter = Some(Box::new(
            move |_, _| {
                if packets.next() == Some(position) { verdict } else { Verdict::Pass }
            },
        ));
    }

    pub(crate) fn send(&mut self, now: Instant, to: To, packet: Vec<u8>) {
        if let Some(log) = &mut self.log {
            log.push((now, to, packet.clone()));
        }
        let faults = self.faults;
        match self.filter.as_mut().map_or(Verdict::Pass, |filter| filter(to, &packet)) {
            Verdict::Pass => {}
            Verdict::Drop => return,
            Verdict::Twice => self.push(now, to, packet.clone(), (700, 700)),
            Verdict::Late(by) => return self.push(now, to, packet, (by, by)),
            Verdict::Flip(bit) => {
                let mut packet = packet;
                packet[bit / 8] ^= 1 << (bit % 8);
                return self.push(now, to, packet, faults.delay);
            }
        }
        if faults.replay + faults.splice > 0.0 {
            self.keep(to, &packet);
        }
        if self.rng.chance(faults.replay)
            && let Some((to, packet)) = self.any_old()
        {
            self.push(now, to, packet, faults.late);
        }
        if self.rng.chance(faults.splice)
            && let (Some((_, packet)), Some((to, _))) = (self.any_old(), self.any_old())
        {
            self.push(now, to, packet, faults.late);
        }
        if self.rng.chance(faults.loss) {
            return;
        }
        if self.rng.chance(faults.duplicate) {
            self.push(now, to, packet.clone(), faults.late);
        }
        let mut packet = packet;
        if self.rng.chance(faults.corrupt) {
            let bit = self.rng.below(packet.len() as u64 * 8) as usize;
            packet[bit / 8] ^= 1 << (bit % 8);
        }
        let span = if self.rng.chance(faults.reorder) { faults.late } else { faults.delay };
        self.push(now, to, packet, span);
    }

    /// Puts a packet into the air as it is.
    pub(crate) fn push(&mut self, now: Instant, to: To, packet: Vec<u8>, span: (u64, u64)) {
        self.order += 1;
        let due = now + self.rng.between(span) + ms(1);
        self.flying.push(Reverse(Flying { due, order: self.order, to, packet }));
    }

    fn keep(&mut self, to: To, packet: &[u8]) {
        if self.old.len() < OLD {
            self.old.push((to, packet.to_vec()));
        } else {
            let at = self.rng.below(OLD as u64) as usize;
            self.old[at] = (to, packet.to_vec());
        }
    }

    fn any_old(&mut self) -> Option<(To, Vec<u8>)> {
        let at = self.rng.below(self.old.len() as u64) as usize;
        self.old.get(at).cloned()
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.flying.peek().map(|Reverse(flying)| flying.due)
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(To, Vec<u8>)> {
        if self.next_due()? > now {
            return None;
        }
        self.flying.pop().map(|Reverse(Flying { to, packet, .. })| (to, packet))
    }

    /// Loses all that is in the air.
    pub(crate) fn clear(&mut self) {
        self.flying.clear();
    }
}
