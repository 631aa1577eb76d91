//! The ward's clock: what everybody in it calls now.

use std::time::{Duration as Wall, Instant as WallInstant};
use vitalwire::Instant;

/// Runs faster than the clock on the wall. The library never reads a clock: to it, this one is as good as any.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: WallInstant,
    speed: u64,
}

impl Clock {
    pub fn start(speed: u64) -> Self {
        Self { start: WallInstant::now(), speed }
    }

    pub fn now(&self) -> Instant {
        let micros = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        Instant::from_millis(micros.saturating_mul(self.speed) / 1000)
    }

    /// How long it takes on the wall until `at`, between `least` and `most`: what a blocking call may wait.
    pub fn wait(&self, at: Option<Instant>, least: Wall, most: Wall) -> Wall {
        let Some(at) = at else { return most };
        let micros = at.since(self.now()).as_millis().saturating_mul(1000) / self.speed;
        Wall::from_micros(micros).clamp(least, most)
    }

    /// How long the ward has been running, by the clock on the wall.
    pub fn elapsed(&self) -> Wall {
        self.start.elapsed()
    }
}
