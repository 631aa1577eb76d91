//! What a session knows of its device's clock.

use super::event::SlotRef;
use super::{Backend, Path};
use crate::error::Discard;
use crate::framing::{BootTag, Frame, FrameWriter, TimeEcho, TimeSyncFrame};
use crate::limits::{CLOCK_DRIFT_PPM, INITIAL_RTO, MAX_RTO};
use crate::time::{Duration, Instant};

/// A reading of the device's clock, and when it came in.
#[derive(Clone, Copy)]
struct Stamp {
    device: Instant,
    arrived: Instant,
}

impl Stamp {
    /// Returns what the device's clock at least says now: it runs too slow by so much at most.
    fn at_least(&self, now: Instant) -> Instant {
        let elapsed = now.since(self.arrived).as_millis();
        let drift = elapsed.saturating_mul(CLOCK_DRIFT_PPM).div_ceil(1_000_000);
        self.device + Duration::from_millis(elapsed.saturating_sub(drift))
    }
}

/// The device's clock, as far as this session knows it.
#[derive(Default)]
pub(super) struct SessionClock {
    boot: Option<(u32, BootTag)>,
    stamp: Option<Stamp>,
    /// The device's latest frame: its stamp, and when it came.
    latest: Option<(Instant, Instant)>,
    /// When the device is to be asked next, and how often it was without an answer.
    ask: Option<(Instant, u32)>,
    /// It is to be asked now.
    ready: bool,
    /// It has asked.
    owed: bool,
}

impl SessionClock {
    /// Returns the device's boot, and what its clock at least says now.
    pub(super) fn device_now(&self, now: Instant) -> Option<((u32, BootTag), Instant)> {
        Some((self.boot?, self.stamp?.at_least(now)))
    }

    /// When the device is to be asked next; what is due already waits for its packet.
    pub(super) fn next_timer(&self, now: Instant) -> Option<Instant> {
        self.ask.map(|(due, _)| due).filter(|due| *due > now)
    }

    /// Asks for a stamp as long as one is wanted.
    pub(super) fn refresh(&mut self, now: Instant, wanted: bool) {
        if wanted {
            self.ask.get_or_insert((now, 0));
        } else {
            self.ask = None;
        }
        self.ready = self.ask.is_some_and(|(due, _)| due <= now);
    }

    pub(super) const fn is_ready(&self) -> bool {
        self.ready || self.owed
    }

    /// Writes a TimeSync frame if one is to be sent; tells whether it did.
    pub(super) fn write(&self, now: Instant, writer: &mut FrameWriter<'_>) -> bool {
        if !self.is_ready() {
            return false;
        }
        let echo = self.latest.map(|(sent, arrived)| TimeEcho { sent, held: now.since(arrived) });
        let frame = TimeSyncFrame { ask: self.ready, echo, ..TimeSyncFrame::stamp(now) };
        writer.push(&Frame::TimeSync(frame)).is_ok()
    }

    /// Takes note of a sealed packet, with the frame or without room for it.
    pub(super) fn sent(&mut self, now: Instant) {
        if let Some((due, asked)) = &mut self.ask
            && *due <= now
        {
            *due = now + INITIAL_RTO.saturating_mul(1u64.wrapping_shl((*asked).min(6))).min(MAX_RTO);
            *asked = asked.saturating_add(1);
        }
        (self.ready, self.owed) = (false, false);
    }

    /// Takes a device's stamp; tells whether it fits the session.
    //= SPEC.md#time
    //# A backend MUST ignore a stamp of another boot than that of the session's first one.
    fn take(&mut self, now: Instant, boot: (u32, BootTag), frame: &TimeSyncFrame) -> bool {
        if *self.boot.get_or_insert(boot) != boot {
            return false;
        }
        let stamp = Stamp { device: frame.sent, arrived: now };
        // Each says what the clock at least shows; the one that says most is the best.
        if self.stamp.is_none_or(|known| known.at_least(now) <= stamp.at_least(now)) {
            self.stamp = Some(stamp);
        }
        self.latest = Some((frame.sent, now));
        self.owed |= frame.ask;
        self.ask = None;
        true
    }
}

impl<P: Path> Backend<P> {
    pub(super) fn handle_time_sync(&mut self, now: Instant, at: SlotRef, frame: &TimeSyncFrame) {
        let Some(live) = self.slots.live_mut(at) else { return };
        let Some(boot) = frame.boot else { return };
        if !live.downlink_mut().clock.take(now, boot, frame) {
            return self.discards.count(Discard::ImplausibleTime);
        }
        self.tend_downlink(now, at);
    }
}
