//! A node sends its devices away: each at a time of its own (SPEC.md, "Draining").

use super::event::{BackendEvent, SlotRef};
use super::slots::Use;
use super::{Backend, Path};
use crate::audit::AuditEvent;
use crate::error::CloseReason;
use crate::time::{Duration, Instant};
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

/// A drain that is under way, or over.
pub(super) struct Drain {
    until: Instant,
    /// When each slot that was in use at the beginning is looked at; none is added later.
    schedule: BinaryHeap<Reverse<(Instant, SlotRef)>>,
    /// The time is over, and Closes that waited have been woken.
    forced: bool,
    reported: bool,
}

/// Spreads its input over all 64 bits (the finaliser of SplitMix64). No secret comes of it.
const fn mixed(input: u64) -> u64 {
    let input = input.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let input = (input ^ (input >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let input = (input ^ (input >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    input ^ (input >> 31)
}

/// Returns the place of the `index`-th of `count`: `random` says where in its own part of `span`.
fn place(span: Duration, index: usize, count: usize, random: u64) -> Duration {
    let span = u128::from(span.as_millis());
    let part = (u128::from(random >> 32).saturating_mul(span)) >> 32;
    let sum = (index as u128).saturating_mul(span).saturating_add(part);
    let millis = sum.checked_div(count as u128).unwrap_or(0);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

impl<P: Path> Backend<P> {
    /// Sends all devices away within this time, to another node of the service: before this one stops.
    ///
    /// Each session gets its Close, with [`CloseReason::Draining`], at a time of its own: the sessions, in random order,
    /// are spread evenly over `within`, so that the other nodes see a stream of devices and no storm. A device comes
    /// back 0.5 to 1 s after its Close, with its ticket if it has one. The Close waits, no longer than `within`, until
    /// the device's batches are committed or released, and until it listens; meanwhile nothing more is taken from that
    /// device, and what it sends comes again at the next node. Hellos are not answered from now on
    /// ([`Discard::Draining`](crate::Discard::Draining)): their devices repeat them, byte for byte, and whichever node gets a copy
    /// answers it. Handshakes under way are completed. So first see to it that new handshakes reach other nodes, then
    /// call this; packets of sessions that have ended are answered with a Reset as ever, for devices whose Close was lost.
    ///
    /// The end is [`BackendEvent::Drained`]. Go on with the run loop until then; a batch that is not committed by then
    /// can still be. Another call begins anew with what is left. There is no way back but a new `Backend`.
    pub fn drain(&mut self, now: Instant, within: Duration) {
        // Nobody has chosen the connection ids: their order is none of arrival, identity or place.
        let mut order: Vec<(u64, SlotRef)> = (self.slots.in_use())
            .map(|at| (mixed(now.as_millis() ^ mixed(self.slots.number(at))), at))
            .collect();
        order.sort_unstable();
        let count = order.len();
        //= SPEC.md#draining
        //# A backend that drains MUST spread its Closes evenly over the given time, in random order.
        let places = order.iter().enumerate().map(|(index, (random, at))| {
            Reverse((now + place(within, index, count, random.rotate_left(32)), *at))
        });
        let schedule = places.collect();
        self.audit.note(now, AuditEvent::Draining { within: within.as_millis() });
        self.drain = Some(Drain { until: now + within, schedule, forced: false, reported: false });
        self.tend_drain(now);
    }

    /// Tells whether [`Backend::drain`] was called: no new device is let in.
    pub const fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// When the drain needs attention.
    pub(super) fn drain_timer(&self) -> Option<Instant> {
        let drain = self.drain.as_ref()?;
        if !self.events.is_empty() {
            return Some(Instant::ZERO);
        }
        let next = drain.schedule.peek().map(|Reverse((at, _))| *at);
        next.or((!drain.forced).then_some(drain.until))
    }

    /// Sends away whose time has come.
    pub(super) fn tend_drain(&mut self, now: Instant) {
        while let Some(drain) = &mut self.drain
            && drain.schedule.peek().is_some_and(|Reverse((at, _))| *at <= now)
            && let Some(Reverse((_, at))) = drain.schedule.pop()
        {
            let left = drain.until.since(now);
            match self.slots.get(at) {
                Some(Use::Live(live)) if live.proved => self.close(at, CloseReason::Draining),
                Some(Use::Live(_) | Use::HalfOpen(_)) if left > Duration::ZERO => {
                    // It may be proved meanwhile.
                    let later = Duration::from_millis(left.as_millis().div_ceil(2));
                    drain.schedule.push(Reverse((now + later, at)));
                }
                // Nothing can be said to it; it tries elsewhere.
                Some(Use::Live(_)) => self.end_session(at, CloseReason::Draining),
                Some(Use::HalfOpen(_)) => self.drop_half_open(at),
                Some(Use::Free) | None => {}
            }
        }
        if let Some(drain) = &mut self.drain
            && !drain.forced
            && drain.until <= now
        {
            drain.forced = true;
            let left: Vec<SlotRef> = self.slots.in_use().collect();
            left.into_iter().for_each(|at| self.wake(at));
        }
        self.report_drained();
    }

    /// Reports the end of the drain, once.
    pub(super) fn report_drained(&mut self) {
        let Some(drain) = self.drain.as_mut().filter(|drain| !drain.reported) else { return };
        if self.slots.used() > 0 || (!drain.forced && self.devices.len() > 0) {
            return;
        }
        drain.reported = true;
        let uncommitted = self.devices.outstanding();
        self.push_event(BackendEvent::Drained { uncommitted });
    }

    /// Tells whether the Close of a session that is sent away has to wait.
    pub(super) fn holds_close(&mut self, now: Instant, at: SlotRef) -> bool {
        let running = self.drain.as_ref().is_some_and(|drain| now < drain.until);
        let Some(live) = self.slots.live_mut(at).filter(|_| running) else { return false };
        if live.closing != Some(CloseReason::Draining) {
            return false;
        }
        let device = live.device.and_then(|device| self.devices.get(device));
        let outstanding = device.is_some_and(|device| device.inbox.outstanding() > 0);
        //= SPEC.md#draining
        //# A backend that drains MUST hold a Close back while a batch of its device is neither committed nor released, while a commit is not acknowledged, and while the device does not listen, but not beyond the given time.
        outstanding || live.dirty != 0 || !live.is_listening(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_spread_evenly_and_none_is_outside() {
        for (span, count) in [(1000, 7), (20_000, 10_000), (3, 10), (0, 5), (u64::MAX, 3)] {
            let span = Duration::from_millis(span);
            let mut last = Duration::ZERO;
            for index in 0..count {
                for random in [0, u64::MAX, mixed(index as u64)] {
                    let at = place(span, index, count, random);
                    let of =
                        |index: usize| (index as u128 * u128::from(span.as_millis()) / count as u128) as u64;
                    assert!(at <= span && (of(index)..=of(index + 1)).contains(&at.as_millis()));
                    last = last.max(at);
                }
            }
            assert!(last.as_millis() >= span.as_millis() / 2);
        }
        assert_eq!(place(Duration::from_secs(1), 0, 0, 1), Duration::ZERO);
    }
}
