//! Entries in words.

use super::entry::{Entry, Kind, NodeId};
use crate::framing::ClockQuality;
use alloc::string::String;
use core::fmt;

/// Writes a time as ISO 8601 in UTC. The date is by Howard Hinnant's `civil_from_days`, for years from 1970 on.
pub(super) fn utc(unix_millis: u64) -> String {
    let (days, millis) = (unix_millis / 86_400_000, unix_millis % 86_400_000);
    // Far below overflow: the years that do not fit four digits are cut off.
    let days = days.min(2_932_896).wrapping_add(719_468);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        of_era.wrapping_sub(of_era / 1460).wrapping_add(of_era / 36_524).wrapping_sub(of_era / 146_096) / 365;
    let leaps = (year_of_era / 4).wrapping_sub(year_of_era / 100);
    let of_year = of_era.wrapping_sub(year_of_era.wrapping_mul(365).wrapping_add(leaps));
    let month = of_year.wrapping_mul(5).wrapping_add(2) / 153;
    let day = of_year.wrapping_sub(month.wrapping_mul(153).wrapping_add(2) / 5).wrapping_add(1);
    let month = if month < 10 { month.wrapping_add(3) } else { month.wrapping_sub(9) };
    let year = era.wrapping_mul(400).wrapping_add(year_of_era).wrapping_add(u64::from(month <= 2));
    let (hour, minute) = (millis / 3_600_000, millis / 60_000 % 60);
    let (second, millis) = (millis / 1000 % 60, millis % 1000);
    alloc::format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

impl fmt::Display for NodeId {
    /// As text if it is, else in hex.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match core::str::from_utf8(&self.0) {
            Ok(text) if text.chars().all(|c| c.is_ascii_graphic()) => f.write_str(text),
            _ => self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sequence, at, unix_millis, quality, shard, kind } = self;
        write!(f, "{sequence} ")?;
        match unix_millis {
            Some(millis) => f.write_str(&utc(*millis))?,
            None => f.write_str("no-wall-time")?,
        }
        let quality = match (unix_millis, quality) {
            (None, _) => "",
            (_, ClockQuality::Unknown) => " (doubtful)",
            (_, ClockQuality::SetByHand) => " (set by hand)",
            (_, ClockQuality::Estimated) => " (estimated)",
            (_, ClockQuality::Synchronised) => "",
        };
        let up = at.as_millis();
        write!(f, "{quality} up {}.{:03}s shard {shard}: {kind}", up / 1000, up % 1000)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint { .. } => f.write_str("checkpoint, signed"),
            Self::Unknown { code, len } => write!(f, "event of unknown kind {code}, {len} bytes"),
            Self::Event(event) => {
                f.write_str(event.name())?;
                event.fields().iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
            }
        }
    }
}
