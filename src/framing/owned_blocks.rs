//! Blocks that own their numbers.

use alloc::vec::Vec;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::timing::step;
use super::{Absence, Row, Status, TrendBlock, WaveformBlock};
use crate::limits::{MAX_BLOCK_SAMPLES, MAX_COMPONENTS, MAX_WAVEFORM_COMPONENTS};
use crate::time::Duration;

/// The numbers of one component, or why there are none.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Series {
    Present(Vec<i32>),
    Absent(Absence),
}

/// Rows of numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rows {
    /// Row by row; any number where absent.
    values: Vec<i32>,
    /// One for each component.
    absences: Vec<Option<Absence>>,
}

impl Rows {
    fn collect(rows: impl Iterator<Item = Row>, absences: Vec<Option<Absence>>) -> Self {
        let mut values = Vec::new();
        for row in rows {
            values.extend(row.iter().map(|value| value.unwrap_or(0)));
        }
        Self { values, absences }
    }

    /// Joins components of `count` numbers each, at most `most` of them; `None` if they do not go together.
    fn join(components: &[Series], count: usize, most: usize) -> Option<Self> {
        let fits = |series: &Series| match series {
            Series::Present(numbers) => numbers.len() == count,
            Series::Absent(_) => true,
        };
        let in_range = (1..=most).contains(&components.len()) && (1..=MAX_BLOCK_SAMPLES).contains(&count);
        if !in_range || !components.iter().all(fits) {
            return None;
        }
        let number = |row: usize, series: &Series| match series {
            Series::Present(numbers) => numbers.get(row).copied().unwrap_or(0),
            Series::Absent(_) => 0,
        };
        let values =
            (0..count).flat_map(|row| components.iter().map(move |series| number(row, series))).collect();
        let absence = |series: &Series| match series {
            Series::Present(_) => None,
            Series::Absent(reason) => Some(*reason),
        };
        Some(Self { values, absences: components.iter().map(absence).collect() })
    }

    /// Lists which components are absent, and why.
    fn absent(&self) -> impl Iterator<Item = (usize, Absence)> + '_ {
        self.absences.iter().enumerate().filter_map(|(component, reason)| Some((component, (*reason)?)))
    }
}

/// A [`TrendBlock`] that owns its points; example at [`RecordBuf`](super::RecordBuf).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrendBuf {
    /// The channel's number.
    pub channel: u8,
    /// What holds for every value that is there.
    pub status: Status,
    offsets: Vec<Duration>,
    rows: Rows,
}

impl TrendBuf {
    /// Borrows it as a block.
    pub fn as_block(&self) -> TrendBlock<'_> {
        let components = self.rows.absences.len();
        let mut block = TrendBlock::compound(self.channel, components, &self.offsets, &self.rows.values);
        block.status = self.status;
        self.rows.absent().fold(block, |block, (component, reason)| block.without(component, reason))
    }
}

impl From<&TrendBlock<'_>> for TrendBuf {
    fn from(block: &TrendBlock<'_>) -> Self {
        let absences = (0..block.components()).map(|component| block.absence(component)).collect();
        Self {
            channel: block.channel,
            status: block.status,
            offsets: block.rows().map(|(offset, _)| offset).collect(),
            rows: Rows::collect(block.rows().map(|(_, row)| row), absences),
        }
    }
}

impl Serialize for TrendBuf {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_block().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TrendBuf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Trend {
            channel: u8,
            status: Status,
            offsets: Vec<Duration>,
            components: Vec<Series>,
        }

        let Trend { channel, status, offsets, components } = Trend::deserialize(deserializer)?;
        let ascends = offsets.windows(2).all(|pair| match pair {
            [one, next] => step(*one, *next).is_some(),
            _ => true,
        });
        let starts = offsets.first() == Some(&Duration::ZERO);
        let rows = Rows::join(&components, offsets.len(), MAX_COMPONENTS).filter(|_| ascends && starts);
        let rows = rows.ok_or_else(|| {
            de::Error::custom(
                "no points, more than 1024, times that descend, jump by 2^31 ms or do not start at zero, or components that do not go with them",
            )
        })?;
        Ok(Self { channel, status, offsets, rows })
    }
}

/// A [`WaveformBlock`] that owns its samples; example at [`RecordBuf`](super::RecordBuf).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaveformBuf {
    /// The channel's number.
    pub channel: u8,
    /// The index of the first row, counted since boot.
    pub first_sample: u64,
    /// What holds for every sample that is there.
    pub status: Status,
    rows: Rows,
}

impl WaveformBuf {
    /// Borrows it as a block.
    pub fn as_block(&self) -> WaveformBlock<'_> {
        let components = self.rows.absences.len();
        let mut block =
            WaveformBlock::interleaved(self.channel, self.first_sample, components, &self.rows.values);
        block.status = self.status;
        self.rows.absent().fold(block, |block, (component, reason)| block.without(component, reason))
    }
}

impl From<&WaveformBlock<'_>> for WaveformBuf {
    fn from(block: &WaveformBlock<'_>) -> Self {
        let absences = (0..block.components()).map(|component| block.absence(component)).collect();
        Self {
            channel: block.channel,
            first_sample: block.first_sample,
            status: block.status,
            rows: Rows::collect(block.rows(), absences),
        }
    }
}

impl Serialize for WaveformBuf {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_block().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for WaveformBuf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Waveform {
            channel: u8,
            first_sample: u64,
            status: Status,
            /// How many rows there are, which no component tells where all are absent.
            rows: usize,
            components: Vec<Series>,
        }

        let Waveform { channel, first_sample, status, rows: count, components } =
            Waveform::deserialize(deserializer)?;
        let ends = first_sample.checked_add(count as u64).is_some();
        let rows = Rows::join(&components, count, MAX_WAVEFORM_COMPONENTS).filter(|_| ends);
        let rows = rows.ok_or_else(|| {
            de::Error::custom(
                "no samples, more than 1024 rows, beyond the last index, or components that do not go together",
            )
        })?;
        Ok(Self { channel, first_sample, status, rows })
    }
}
