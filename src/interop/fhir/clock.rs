use super::FhirError;
use crate::clinical::{TimeQuality, WallTime};
use crate::time::Instant;

/// When the device booted, in wall-clock time: what turns the times of its records into dates.
///
/// ```
/// use vitalwire::{Duration, Instant, clinical::TimeQuality, interop::fhir::Clock};
/// let quality = TimeQuality::Synchronised { error: Duration::from_millis(250) };
/// let clock = Clock::new(1_795_324_399_000).with_quality(quality);
/// assert_eq!(clock.date_time(Instant::from_millis(1_500))?, "2026-11-22T05:13:20.500Z");
/// # Ok::<(), vitalwire::interop::fhir::FhirError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Clock(WallTime);

const DAY: u64 = 24 * 3600 * 1000;
/// The year 10000 begins, in milliseconds since 1970.
const END: u64 = 253_402_300_800_000;

impl Clock {
    /// Takes the time of the boot, in milliseconds since 1970-01-01T00:00:00Z without leap seconds, of unknown quality.
    pub const fn new(boot_unix_millis: u64) -> Self {
        Self(WallTime::from_unix_millis(boot_unix_millis, TimeQuality::Unknown))
    }

    /// Says where the time comes from, and how far it may be wrong: every Observation tells it.
    pub const fn with_quality(self, quality: TimeQuality) -> Self {
        Self(WallTime { quality, ..self.0 })
    }

    /// Returns where the time comes from, and how far it may be wrong.
    pub const fn quality(&self) -> TimeQuality {
        self.0.quality
    }

    /// Returns the date of a record's time as FHIR writes it: UTC, with milliseconds.
    ///
    /// # Errors
    /// [`FhirError::Time`] from the year 10000 on.
    pub fn date_time(&self, time: Instant) -> Result<String, FhirError> {
        let millis = self.0.unix_millis.checked_add(time.as_millis()).filter(|&millis| millis < END);
        let millis = millis.ok_or(FhirError::Time)?;
        let (year, month, day) = date(millis / DAY);
        let (hour, minute) = (millis / 3_600_000 % 24, millis / 60_000 % 60);
        let (second, millis) = (millis / 1000 % 60, millis % 1000);
        Ok(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"))
    }
}

/// Takes the time of the boot; example at [`Clock`].
impl From<WallTime> for Clock {
    fn from(boot: WallTime) -> Self {
        Self(boot)
    }
}

/// Returns the code of where a time comes from.
pub(super) const fn quality_code(quality: TimeQuality) -> &'static str {
    match quality {
        TimeQuality::Unknown => "unknown",
        TimeQuality::SetByHand => "set-by-hand",
        TimeQuality::Estimated { .. } => "estimated",
        TimeQuality::Synchronised { .. } => "synchronised",
    }
}

/// Returns year, month and day of a day counted from 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    // whole cycles of 400 years first, so that at most 400 steps are left
    let cycles = days / 146_097;
    let mut days = days % 146_097;
    let mut year = 1970u64.saturating_add(cycles.saturating_mul(400));
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days = days.saturating_sub(length);
        year = year.saturating_add(1);
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1u64;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days = days.saturating_sub(length);
        month = month.saturating_add(1);
    }
    (year, month, days.saturating_add(1))
}
