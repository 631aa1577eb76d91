//! What the device tells of its clock, and what it learns of the backend's.

use super::Device;
use super::live::{Live, Repeat};
use crate::error::{CallError, Discard};
use crate::framing::{BootTag, ClockQuality, Frame, FrameWriter, TimeEcho, TimeSyncFrame, WallReading};
use crate::limits::{CLOCK_DRIFT_PPM, MAX_TIME_ASKS, MAX_UNIX_MILLIS};
use crate::time::{Duration, Instant};

/// What a session owes in stamps, and asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stamps {
    /// The backend has asked for a stamp.
    owed: bool,
    /// The backend's latest frame: its stamp, and when it came.
    latest: Option<(Instant, Instant)>,
    /// The backend is to be asked; how often it was.
    ask: Option<(Repeat, u32)>,
    /// The first stamp that was sent: there is no echo of an earlier one.
    first: Option<Instant>,
}

/// What a packet carries of it.
#[derive(Clone, Copy, Default)]
pub(super) struct StampSent {
    stamp: bool,
    ask: bool,
}

/// A wall-clock time that the backend has told, and when that was.
#[derive(Clone, Copy, Debug)]
pub(super) struct LearnedClock {
    at: Instant,
    wall: WallReading,
}

impl LearnedClock {
    /// Returns what the wall clock says now: the error grows with the drift of the own clock.
    fn read(&self, now: Instant) -> WallReading {
        let elapsed = now.since(self.at).as_millis();
        let drift = elapsed.saturating_mul(CLOCK_DRIFT_PPM).div_ceil(1_000_000);
        WallReading {
            unix_millis: self.wall.unix_millis.saturating_add(elapsed),
            quality: self.wall.quality.min(ClockQuality::Estimated),
            error: self.wall.error + Duration::from_millis(drift),
        }
    }

    /// Takes a newer reading, unless what is known is better. One that contradicts it takes its place, with an error
    /// that covers both: one of the clocks was set, and nobody knows which was right.
    fn learn(&mut self, new: Self) {
        let known = self.read(new.at);
        let apart = known.unix_millis.abs_diff(new.wall.unix_millis);
        let covered = known.error.as_millis().saturating_add(new.wall.error.as_millis());
        let better = new.wall.error <= known.error || new.wall.quality > self.wall.quality;
        if apart > covered {
            let error = Duration::from_millis(apart.saturating_add(known.error.as_millis()));
            *self = Self { wall: WallReading { error, ..new.wall }, ..new };
        } else if better {
            *self = new;
        }
    }
}

impl Stamps {
    pub(super) const fn is_owed(&self) -> bool {
        self.owed
    }

    /// When the backend is to be asked.
    pub(super) fn ask_due(&self) -> Option<Instant> {
        self.ask.map(|(repeat, _)| repeat.due)
    }

    pub(super) fn sent(&mut self, now: Instant, sent: StampSent, time_out: Duration) {
        self.owed &= !sent.stamp;
        if sent.stamp {
            self.first.get_or_insert(now);
        }
        if let (true, Some((repeat, asked))) = (sent.ask, &mut self.ask) {
            repeat.sent(now, time_out);
            *asked = asked.saturating_add(1);
        }
    }
}

impl Device<'_> {
    /// Asks the backend for the wall-clock time: [`Device::wall_time`] has it once the answer came. It is repeated
    /// three times at the most.
    ///
    /// # Errors
    /// [`CallError::NoSession`] without a confirmed session.
    pub fn sync_time(&mut self, now: Instant) -> Result<(), CallError> {
        let live = self.live.as_mut().filter(|live| live.confirmed).ok_or(CallError::NoSession)?;
        live.stamps.ask = Some((Repeat::now(now), 0));
        Ok(())
    }

    /// Returns the wall-clock time as the backend has told it, with the bound of its error; `None` if it has not in
    /// this boot. For displays and files.
    ///
    /// # Security
    /// It judges no credential: who has the backend's key would thereby bring expired ones back to life. See
    /// [`Device::set_wall_clock`] for a clock of the device's own.
    ///
    /// ```
    /// use vitalwire::{Instant, device::Device};
    /// fn clock_face(device: &Device<'_>, now: Instant) -> String {
    ///     let Some(wall) = device.wall_time(now) else { return "--:--".into() };
    ///     let minutes = wall.unix_millis / 60_000;
    ///     format!("{:02}:{:02} UTC", minutes / 60 % 24, minutes % 60)
    /// }
    /// ```
    pub fn wall_time(&self, now: Instant) -> Option<WallReading> {
        self.learned_clock.as_ref().map(|clock| clock.read(now))
    }

    #[inline(never)]
    pub(super) fn handle_time_sync(&mut self, now: Instant, frame: &TimeSyncFrame) {
        let Some(live) = &mut self.live else { return };
        live.stamps.latest = Some((frame.sent, now));
        live.stamps.owed |= frame.ask;
        let Some(echo) = frame.echo else { return };
        //= SPEC.md#time
        //# An end MUST ignore an echo of a frame that it has not sent, or that was held longer than it was away.
        let away = now.since(echo.sent);
        let sent = live.stamps.first.is_some_and(|first| first <= echo.sent) && echo.sent <= now;
        if !sent || echo.held > away {
            return self.discards.count(Discard::ImplausibleTime);
        }
        live.stamps.ask = None;
        let Some(wall) = frame.wall else { return };
        // It was written between the sending of the question and now.
        let round_trip = away.as_millis().saturating_sub(echo.held.as_millis());
        let half = round_trip.div_ceil(2);
        let learned = LearnedClock {
            at: now,
            wall: WallReading {
                unix_millis: wall.unix_millis.saturating_add(half).min(MAX_UNIX_MILLIS.saturating_sub(1)),
                error: wall.error + Duration::from_millis(half),
                ..wall
            },
        };
        match &mut self.learned_clock {
            Some(known) => known.learn(learned),
            None => self.learned_clock = Some(learned),
        }
    }

    /// Gives up asking where no answer comes.
    #[inline(never)]
    pub(super) fn tend_stamps(&mut self, now: Instant) {
        if let Some(live) = &mut self.live {
            live.stamps.ask.take_if(|(repeat, asked)| *asked >= MAX_TIME_ASKS && repeat.due <= now);
        }
    }

    /// Writes a stamp if one is owed, or the backend is to be asked.
    //= SPEC.md#time
    //# A device MUST answer a TimeSync frame that asks, with the next packet.
    #[inline(never)]
    pub(super) fn write_stamp(
        &self,
        live: &Live,
        now: Instant,
        tag: BootTag,
        writer: &mut FrameWriter<'_>,
    ) -> StampSent {
        let ask = live.stamps.ask_due().is_some_and(|due| due <= now);
        if !live.stamps.owed && !ask {
            return StampSent::default();
        }
        let latest = live.stamps.latest;
        let echo = latest.map(|(sent, arrived)| TimeEcho { sent, held: now.since(arrived) });
        let boot = Some((self.boot, tag));
        let frame = TimeSyncFrame { ask, boot, echo, ..TimeSyncFrame::stamp(now) };
        let stamp = writer.push(&Frame::TimeSync(frame)).is_ok();
        StampSent { stamp, ask: ask && stamp }
    }
}
