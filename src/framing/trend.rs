use super::bits::{BitReader, BitWriter};
use super::record_codec::{KIND_TREND, head_len, write_head};
use super::rice::{RiceReader, RiceSize, RiceWriter, first_parameter};
use super::row::{Absences, Row};
use super::series::{self, BlockHead, EncodedSeries, Numbers};
use super::timing::{Intervals, MAX_STEP, Steps, Timing, step};
use super::{Absence, ChannelDescriptor, ChannelKind, DescriptorSet, EncodeError, Encoded, Status};
use crate::codec::{BufferTooSmall, DecodeError, Reader, Writer};
use crate::limits::{MAX_BLOCK_SAMPLES, MAX_RECORD};
use crate::time::Duration;

/// One point of a trend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TrendPoint {
    /// Its time, since the time of the record.
    pub offset: Duration,
    /// The value, in the scale of the channel's component.
    pub raw: i32,
}

/// A series of values of a numeric channel: listed by who encodes, or still encoded and checked.
///
/// What is missing has no point; a measurement record can say why. A component that is missing in the whole block is
/// absent, with the reason.
///
/// ```
/// use vitalwire::Duration;
/// use vitalwire::framing::{Absence, TrendBlock, TrendPoint};
/// let points = [72, 73, 71].map(|raw| TrendPoint { offset: Duration::ZERO, raw });
/// assert_eq!(TrendBlock::new(1, &points).points().count(), 3);
///
/// // oxygen saturation, pulse rate and perfusion index, which this sensor does not tell now
/// let offsets = [Duration::ZERO, Duration::from_secs(1)];
/// let block = TrendBlock::compound(2, 3, &offsets, &[98, 72, 0, 97, 73, 0]).without(2, Absence::NotMeasured);
/// let (offset, row) = block.rows().last().unwrap();
/// assert_eq!((offset, row.get(0), row.get(2)), (offsets[1], Some(97), None));
/// ```
#[derive(Clone, Copy)]
pub struct TrendBlock<'a> {
    /// The channel's number.
    pub channel: u8,
    /// What holds for every value that is there.
    pub status: Status,
    points: Points<'a>,
}

#[derive(Clone, Copy)]
enum Points<'a> {
    Listed { list: List<'a>, absences: Absences },
    Encoded { steps: Steps<'a>, series: EncodedSeries<'a>, bytes: &'a [u8] },
}

/// What is listed by who encodes.
#[derive(Clone, Copy)]
pub(super) enum List<'a> {
    Simple(&'a [TrendPoint]),
    Compound { components: usize, offsets: &'a [Duration], values: &'a [i32] },
}

impl List<'_> {
    const fn len(&self) -> usize {
        match self {
            Self::Simple(points) => points.len(),
            Self::Compound { offsets, .. } => offsets.len(),
        }
    }

    const fn components(&self) -> usize {
        match self {
            Self::Simple(_) => 1,
            Self::Compound { components, .. } => *components,
        }
    }

    /// Tells whether each point has a value of each component.
    fn is_complete(&self) -> bool {
        match self {
            Self::Simple(_) => true,
            Self::Compound { components, offsets, values } => {
                offsets.len().checked_mul(*components) == Some(values.len())
            }
        }
    }

    fn offset(&self, row: usize) -> Duration {
        match self {
            Self::Simple(points) => points.get(row).map(|point| point.offset),
            Self::Compound { offsets, .. } => offsets.get(row).copied(),
        }
        .unwrap_or(Duration::ZERO)
    }

    fn value(&self, row: usize, component: usize) -> i32 {
        match self {
            Self::Simple(points) => points.get(row).map(|point| point.raw),
            Self::Compound { components, values, .. } => {
                values.get(row.saturating_mul(*components).saturating_add(component)).copied()
            }
        }
        .unwrap_or(0)
    }

    /// Returns the time from a point to the next one, if it is in range.
    fn step(&self, row: usize) -> Option<u32> {
        step(self.offset(row), self.offset(row.saturating_add(1)))
    }

    /// Lists the steps of time between the first `rows` points; those out of range count as zero.
    pub(super) fn steps(self, rows: usize) -> impl Iterator<Item = u32> + Clone {
        (0..rows.saturating_sub(1)).map(move |row| self.step(row).unwrap_or(0))
    }

    /// Lists the changes of the steps, folded.
    fn changes(self, rows: usize) -> impl Iterator<Item = u32> + Clone {
        // steps have 31 bits, so that their differences folded have 32
        self.steps(rows)
            .zip(self.steps(rows).skip(1))
            .map(|(a, b)| crate::codec::zigzag(i64::from(b).saturating_sub(a.into())) as u32)
    }

    /// Tells whether the times are what the values of the first component add up to.
    pub(super) fn is_intervals(self, rows: usize, intervals: Intervals) -> bool {
        let mut intervals = intervals;
        (1..rows)
            .all(|row| intervals.next(self.value(row, 0)) == i64::try_from(self.offset(row).as_millis()).ok())
    }
}

impl<'a> TrendBlock<'a> {
    /// Makes a block of real and valid points of one component to be encoded; the first one's offset is zero, the others
    /// do not descend.
    pub const fn new(channel: u8, points: &'a [TrendPoint]) -> Self {
        Self::listed(channel, List::Simple(points))
    }

    /// Makes a block of real and valid points of several components to be encoded: the time of each point since the first,
    /// and the values point by point, all components of one together.
    ///
    /// A number of values that does not go with the number of points is refused when it is encoded.
    pub const fn compound(
        channel: u8,
        components: usize,
        offsets: &'a [Duration],
        values: &'a [i32],
    ) -> Self {
        Self::listed(channel, List::Compound { components, offsets, values })
    }

    const fn listed(channel: u8, list: List<'a>) -> Self {
        Self { channel, status: Status::REAL, points: Points::Listed { list, absences: Absences::NONE } }
    }

    /// Marks a component as absent in the whole block: what is listed of it is not looked at.
    ///
    /// Changes nothing in a block that was decoded, or where there is no such component.
    #[must_use]
    pub fn without(mut self, component: usize, reason: Absence) -> Self {
        if let Points::Listed { list, absences } = &mut self.points
            && component < list.components()
        {
            absences.set(component, reason);
        }
        self
    }

    /// Returns how many points there are.
    pub const fn len(&self) -> usize {
        match &self.points {
            Points::Listed { list, .. } => list.len(),
            Points::Encoded { series, .. } => series.rows(),
        }
    }

    /// Tells whether there are none, which cannot be encoded.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many components each point has, absent ones included.
    pub const fn components(&self) -> usize {
        match &self.points {
            Points::Listed { list, .. } => list.components(),
            Points::Encoded { series, .. } => series.components(),
        }
    }

    /// Tells why a component has no values in this block; `None` if it has.
    pub fn absence(&self, component: usize) -> Option<Absence> {
        match &self.points {
            Points::Listed { absences, .. } => absences.get(component),
            Points::Encoded { series, .. } => series.read().absence(component),
        }
    }

    /// Lists the points with the value of the first component: of the only one, mostly. None if it is absent.
    pub fn points(&self) -> impl Iterator<Item = TrendPoint> + Clone + 'a {
        self.rows().filter_map(|(offset, row)| Some(TrendPoint { offset, raw: row.get(0)? }))
    }

    /// Lists the points, each with its time since the time of the record and the values of all components.
    pub fn rows(&self) -> impl Iterator<Item = (Duration, Row)> + Clone + 'a {
        let (list, absences, mut encoded) = match self.points {
            Points::Listed { list, absences } => (list, absences, None),
            Points::Encoded { steps, series, .. } => {
                (List::Simple(&[]), Absences::NONE, Some((steps, series.read())))
            }
        };
        let listed = (0..list.len()).map(move |index| {
            let mut row = Row::new(list.components() as u8);
            for component in (0..list.components()).filter(|&component| absences.get(component).is_none()) {
                row.set(component as u8, list.value(index, component));
            }
            (list.offset(index), row)
        });
        let mut last: Option<Duration> = None;
        listed.chain(core::iter::from_fn(move || {
            let (steps, series) = encoded.as_mut()?;
            let row = series.row()?;
            let offset = match last {
                None => Duration::ZERO,
                Some(last) => {
                    let step = steps.read(row.get(0)).ok()?;
                    Duration::from_millis(last.as_millis().saturating_add(step.into()))
                }
            };
            last = Some(offset);
            Some((offset, row))
        }))
    }

    /// Reads what follows the head, and checks every point.
    pub(super) fn read(
        channel: u8,
        reader: &mut Reader<'a>,
        set: &DescriptorSet<'_>,
    ) -> Result<Self, DecodeError> {
        let (nominal, components, intervals) =
            set.channel(channel).and_then(|channel| fits(&channel)).ok_or(DecodeError::OutOfRange)?;
        let mut start = reader.clone();
        let mut bits = BitReader::new(reader.clone().rest());
        let head = BlockHead::read(&mut bits)?;
        let (steps, bits) = match Timing::read(&mut bits, head.count, nominal)? {
            Timing::Nominal => (Steps::Period(nominal.unwrap_or(0)), bits),
            Timing::Regular(step) => (Steps::Period(step), bits),
            Timing::Listed(step) => Self::check_steps(step, head.count, bits)?,
            Timing::Intervals => {
                //= SPEC.md#trend
                //# A reader MUST refuse timing 3 where the exponent of component 0's scale is beyond −9 to 9.
                let sum = intervals.ok_or(DecodeError::OutOfRange)?;
                (Steps::Intervals { sum, offset: 0 }, bits)
            }
        };
        let (series, bits) = EncodedSeries::check(bits, head.count, components)?;
        if let Steps::Intervals { .. } = steps {
            Self::check_intervals(steps, series)?;
        }
        reader.bytes(bits.finish()?)?;
        let bytes = start.bytes(start.remaining().saturating_sub(reader.remaining()))?;
        Ok(Self { channel, status: head.status, points: Points::Encoded { steps, series, bytes } })
    }

    /// Checks a list of steps; returns it and the bits behind it.
    fn check_steps(
        first: u32,
        count: usize,
        mut bits: BitReader<'a>,
    ) -> Result<(Steps<'a>, BitReader<'a>), DecodeError> {
        // the first step stands apart
        let rice = RiceReader::new(bits.bits(5)?, count.saturating_sub(2) as u32);
        let steps = Steps::Listed { rice, bits, step: first, first: true };
        let mut ahead = steps;
        let mut regular = true;
        for _ in 1..count {
            regular &= ahead.read(None)? == first;
        }
        match ahead {
            Steps::Listed { bits, .. } if !regular => Ok((steps, bits)),
            _ => Err(DecodeError::NonCanonical),
        }
    }

    /// Checks that the values of the first component are steps, and not all alike.
    fn check_intervals(mut steps: Steps<'_>, series: EncodedSeries<'_>) -> Result<(), DecodeError> {
        let mut reader = series.read();
        let mut first = None;
        let mut regular = true;
        reader.row();
        while let Some(row) = reader.row() {
            let step = steps.read(row.get(0))?;
            regular &= *first.get_or_insert(step) == step;
        }
        if regular { Err(DecodeError::NonCanonical) } else { Ok(()) }
    }
}

impl PartialEq for TrendBlock<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.channel, self.status, self.components()) == (other.channel, other.status, other.components())
            && (0..self.components()).all(|component| self.absence(component) == other.absence(component))
            && self.rows().eq(other.rows())
    }
}

impl core::fmt::Debug for TrendBlock<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TrendBlock")
            .field("channel", &self.channel)
            .field("status", &self.status)
            .field("components", &self.components())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Returns, if a channel may have trends, its period if it has one, how many components a block of it has, and how the
/// first one's values count as intervals.
fn fits(channel: &ChannelDescriptor<'_>) -> Option<(Option<u32>, usize, Option<Intervals>)> {
    let period =
        channel.rate.and_then(super::Rate::period_ms).filter(|&period| u64::from(period) <= MAX_STEP);
    let intervals = channel.components.iter().next().and_then(|component| Intervals::of(component.scale));
    (channel.kind == ChannelKind::Numeric).then_some((period, channel.components.len(), intervals))
}

/// Encodes as many points of a block as fit `out`, at most 1024 of them and 1024 bytes, and says how many.
///
/// The rest goes into a further record with its own time. A block that was decoded is copied whole.
///
/// # Errors
/// [`EncodeError::BufferTooSmall`] if not even one point fits; [`EncodeError::UnknownChannel`];
/// [`EncodeError::WrongKind`], also if the channel has another number of components, or another period or scale than
/// the one that a decoded block was coded with; [`EncodeError::OutOfRange`] without points or with values that do not go with them, or if the offsets do not start at zero, descend, or have a
/// step of 2^31 ms or more.
pub fn encode_trend(
    block: &TrendBlock<'_>,
    set: &DescriptorSet<'_>,
    out: &mut [u8],
) -> Result<Encoded, EncodeError> {
    let channel = set.channel(block.channel).ok_or(EncodeError::UnknownChannel)?;
    let (nominal, components, intervals) = fits(&channel).ok_or(EncodeError::WrongKind)?;
    if components != block.components() {
        return Err(EncodeError::WrongKind);
    }
    let limit = out.len().min(MAX_RECORD);
    let mut writer = Writer::new(out.get_mut(..limit).unwrap_or_default());
    let (list, absences) = match block.points {
        Points::Listed { list, absences } => (list, absences),
        Points::Encoded { steps, bytes, .. } => {
            if block.len() > 1 && !steps.stand_in(bytes, nominal, intervals) {
                return Err(EncodeError::WrongKind);
            }
            write_head(KIND_TREND, block.channel, &mut writer)?;
            writer.bytes(bytes)?;
            return Ok(Encoded { bytes: writer.len(), taken: block.len() });
        }
    };
    let rows = list.len().min(MAX_BLOCK_SAMPLES);
    let in_order = (1..rows).all(|row| list.step(row.saturating_sub(1)).is_some());
    if rows == 0 || !list.is_complete() || list.offset(0) != Duration::ZERO || !in_order {
        return Err(EncodeError::OutOfRange);
    }

    let intervals = intervals.filter(|_| absences.get(0).is_none());
    let timing = Timing::of(list, rows, nominal, intervals);
    // the first points may be regular although all are not
    let regular = Timing::of(list, rows.min(2), nominal, intervals);
    let parameter = first_parameter(list.changes(rows));
    let (mut size, mut changes_left) = (RiceSize::new(parameter), list.changes(rows));
    let fixed = (head_len(block.channel) as u64).saturating_mul(8).saturating_add(BlockHead::BITS);
    let mut steps = list.steps(rows);
    let first_step = steps.next().unwrap_or(0);
    let alike = steps.take_while(|&step| step == first_step).count().saturating_add(2);
    let mut others = |count: usize| {
        if count > 2 {
            size.push(changes_left.next().unwrap_or(0));
        }
        let timing = match count {
            1 => Timing::Nominal,
            _ if count <= alike => regular,
            _ => timing,
        };
        let list = if matches!(timing, Timing::Listed(_)) { size.bits().saturating_add(5) } else { 0 };
        fixed.saturating_add(timing.bits()).saturating_add(list)
    };
    let value = |row: usize, component: usize| list.value(row, component);
    let numbers = Numbers { rows, components, absences, value: &value };
    let plan = series::plan(&numbers, limit, &mut others)
        .ok_or(BufferTooSmall { needed: limit.saturating_add(1) })?;

    // what was taken may have a shorter timing although the rest has not
    let timing = Timing::of(list, plan.taken, nominal, intervals);
    write_head(KIND_TREND, block.channel, &mut writer)?;
    let start = writer.len();
    let mut bits = BitWriter::new(writer.reserve(limit.saturating_sub(start))?);
    BlockHead { status: block.status, count: plan.taken }.write(&mut bits)?;
    timing.write(&mut bits)?;
    if let Timing::Listed(_) = timing {
        bits.bits(parameter, 5)?;
        let mut rice = RiceWriter::new(parameter);
        let mut changes = list.changes(plan.taken);
        loop {
            let ahead = changes.clone();
            let Some(change) = changes.next() else { break };
            rice.write(change, || ahead, &mut bits)?;
        }
    }
    series::write(&numbers, &plan, &mut bits)?;
    Ok(Encoded { bytes: start.saturating_add(bits.finish()?), taken: plan.taken })
}
