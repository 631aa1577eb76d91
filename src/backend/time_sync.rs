//! What a session knows of its device's clock.

use super::event::{BackendEvent, SlotRef};
use super::{Backend, Path};
use crate::delivery::ClockReading;
use crate::error::{CallError, Discard};
use crate::framing::{BootTag, Frame, FrameWriter, TimeEcho, TimeSyncFrame, WallReading};
use crate::identity::Identity;
use crate::limits::{CLOCK_DRIFT_PPM, INITIAL_RTO, MAX_RTO, MAX_TIME_ASKS};
use crate::time::{Duration, Instant};

/// By how much a clock may go wrong in so many milliseconds.
const fn drift_of(elapsed: u64) -> u64 {
    elapsed.saturating_mul(CLOCK_DRIFT_PPM).div_ceil(1_000_000)
}

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
        self.device + Duration::from_millis(elapsed.saturating_sub(drift_of(elapsed)))
    }
}

/// The device's clock, as far as this session knows it.
#[derive(Default)]
pub(super) struct SessionClock {
    boot: Option<(u32, BootTag)>,
    stamp: Option<Stamp>,
    /// The device's latest frame: its stamp, and when it came.
    latest: Option<(Instant, Instant)>,
    /// The first stamp of this end's: there is no echo of an earlier one.
    first: Option<Instant>,
    /// The latest stamp of this end's whose echo was taken: one gives one reading.
    echoed: Option<Instant>,
    /// When the device is to be asked next, and how often it was without an answer.
    ask: Option<(Instant, u32)>,
    /// An exchange is wanted, whatever commands want.
    sync: bool,
    /// When the last exchange was.
    exchanged_at: Option<Instant>,
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
        let given_up = |(due, asked): (Instant, u32)| asked >= MAX_TIME_ASKS && due <= now;
        self.sync &= !self.ask.is_some_and(given_up);
        if wanted || self.sync {
            self.ask.get_or_insert((now, 0));
        } else {
            self.ask = None;
        }
        self.ready = self.ask.is_some_and(|(due, _)| due <= now);
    }

    pub(super) const fn is_ready(&self) -> bool {
        self.ready || self.owed
    }

    /// Writes a TimeSync frame if one is to be sent.
    pub(super) fn write(&self, now: Instant, wall: Option<WallReading>, writer: &mut FrameWriter<'_>) {
        if self.is_ready() {
            let echo = self.latest.map(|(sent, arrived)| TimeEcho { sent, held: now.since(arrived) });
            let frame = TimeSyncFrame { ask: self.ready, echo, wall, ..TimeSyncFrame::stamp(now) };
            // What does not fit is asked for again.
            let _ = writer.push(&Frame::TimeSync(frame));
        }
    }

    /// Takes note of a sealed packet, with the frame or without room for it.
    pub(super) fn sent(&mut self, now: Instant) {
        if let Some((due, asked)) = &mut self.ask
            && *due <= now
        {
            *due = now + INITIAL_RTO.saturating_mul(1u64.wrapping_shl((*asked).min(6))).min(MAX_RTO);
            *asked = asked.saturating_add(1);
        }
        if self.is_ready() {
            self.first.get_or_insert(now);
        }
        (self.ready, self.owed) = (false, false);
    }

    /// Takes a device's stamp; `None` if it does not fit the session. Returns the round trip, if there is an echo.
    fn take(
        &mut self,
        now: Instant,
        boot: (u32, BootTag),
        frame: &TimeSyncFrame,
    ) -> Option<Option<Duration>> {
        //= SPEC.md#time
        //# A backend MUST ignore a stamp of another boot than that of the session's first one.
        if *self.boot.get_or_insert(boot) != boot {
            return None;
        }
        let round_trip = match frame.echo {
            None => None,
            Some(echo) => Some(self.round_trip(now, echo)?).filter(|_| self.echoed < Some(echo.sent)),
        };
        if let (Some(_), Some(echo)) = (round_trip, frame.echo) {
            self.echoed = Some(echo.sent);
        }
        let stamp = Stamp { device: frame.sent, arrived: now };
        // Each says what the clock at least shows; the one that says most is the best.
        if self.stamp.is_none_or(|known| known.at_least(now) <= stamp.at_least(now)) {
            self.stamp = Some(stamp);
        }
        self.latest = Some((frame.sent, now));
        self.owed |= frame.ask;
        self.ask = None;
        Some(round_trip)
    }

    /// Returns for how long a frame was on its way, there and back.
    fn round_trip(&self, now: Instant, echo: TimeEcho) -> Option<Duration> {
        //= SPEC.md#time
        //# An end MUST ignore an echo of a frame that it has not sent, or that was held longer than it was away.
        let away = now.since(echo.sent).as_millis();
        let sent = self.first.is_some_and(|first| first <= echo.sent) && echo.sent <= now;
        let drift = drift_of(echo.held.as_millis());
        let held = echo.held.as_millis().saturating_sub(drift);
        (sent && held <= away).then(|| Duration::from_millis(away.saturating_sub(held)))
    }
}

impl<P: Path> Backend<P> {
    /// Tells the wall-clock time: it goes to devices that ask, and gives their stamps a meaning
    /// ([`BackendEvent::Clock`]). Without it there is neither. Tell it every minute or so: the backend goes on from
    /// here by its own `now`, of which it expects a drift of 500 ppm at the most.
    ///
    /// It judges no credential: that is [`Backend::set_wall_clock`].
    pub fn set_wall_time(&mut self, now: Instant, wall: WallReading) {
        self.audit.set_wall_time(now, wall);
        self.wall = Some((now, wall));
    }

    /// Asks a device for the time on its clock; [`BackendEvent::Clock`] comes once it has answered. With
    /// [`BackendConfig::time_sync`](super::BackendConfig::time_sync) this is done by itself.
    ///
    /// # Errors
    /// [`CallError::NoSession`] if it has no proved session here.
    pub fn sync_time(&mut self, now: Instant, identity: &Identity) -> Result<(), CallError> {
        let at = self.devices.session_of(identity).ok_or(CallError::NoSession)?;
        let live = self.slots.live_mut(at).ok_or(CallError::NoSession)?;
        live.downlink_mut().clock.sync = true;
        self.tend_downlink(now, at);
        Ok(())
    }

    /// Asks the device that has just been heard, if it is time to.
    pub(super) fn sync_if_due(&mut self, now: Instant, at: SlotRef) {
        let Some(every) = self.config.time_sync.filter(|_| self.wall.is_some()) else { return };
        let Some(live) = self.slots.live_mut(at).filter(|live| live.proved) else { return };
        let clock = &mut live.downlink_mut().clock;
        let due = clock.exchanged_at.is_none_or(|last| now.since(last) >= every);
        if due && !clock.sync {
            clock.sync = true;
            // One that is silent is not asked again at each packet.
            clock.exchanged_at = Some(now);
            self.tend_downlink(now, at);
        }
    }

    /// Returns the wall-clock time now.
    pub(super) fn wall_reading(&self, now: Instant) -> Option<WallReading> {
        let (since, wall) = self.wall?;
        let elapsed = now.since(since).as_millis();
        Some(WallReading {
            unix_millis: wall.unix_millis.saturating_add(elapsed),
            error: wall.error + Duration::from_millis(drift_of(elapsed)),
            ..wall
        })
    }

    pub(super) fn handle_time_sync(&mut self, now: Instant, at: SlotRef, frame: &TimeSyncFrame) {
        let Some(live) = self.slots.live_mut(at) else { return };
        let (identity, Some((boot, tag))) = (live.identity, frame.boot) else { return };
        let clock = &mut live.downlink_mut().clock;
        let Some(round_trip) = clock.take(now, (boot, tag), frame) else {
            return self.discards.count(Discard::ImplausibleTime);
        };
        if round_trip.is_some() {
            (clock.sync, clock.exchanged_at) = (false, Some(now));
        }
        if let (Some(round_trip), Some(arrived)) = (round_trip, self.wall_reading(now)) {
            let reading = ClockReading { boot, tag, device: frame.sent, arrived, round_trip };
            self.push_event(BackendEvent::Clock { identity, reading });
        }
        self.tend_downlink(now, at);
    }
}
