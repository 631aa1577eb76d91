use super::bits::{BitReader, BitWriter};
use super::record_codec::{KIND_TREND, head_len, write_head};
use super::series::{self, BlockHead, Rice, SeriesReader, read_sized, sized_len, write_sized};
use super::{ChannelDescriptor, ChannelKind, DescriptorSet, EncodeError, Encoded, Status};
use crate::codec::{BufferTooSmall, DecodeError, Reader, Writer};
use crate::limits::{MAX_BLOCK_SAMPLES, MAX_RECORD};
use crate::time::Duration;

/// The longest time between two points, in milliseconds.
const MAX_STEP: u64 = i32::MAX as u64;

/// One point of a trend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TrendPoint {
    /// Its time, since the time of the record.
    pub offset: Duration,
    /// The value, in the scale of the channel's component.
    pub raw: i32,
}

/// A series of values of a numeric channel with one component: listed by who encodes, or still encoded and checked.
///
/// What is missing has no point; a measurement record can say why.
///
/// ```
/// use vitalwire::Duration;
/// use vitalwire::framing::{TrendBlock, TrendPoint};
/// let points = [72, 73, 71].map(|raw| TrendPoint { offset: Duration::ZERO, raw });
/// assert_eq!(TrendBlock::new(1, &points).points().count(), 3);
/// ```
#[derive(Clone, Copy)]
pub struct TrendBlock<'a> {
    /// The channel's number.
    pub channel: u8,
    /// What holds for every point.
    pub status: Status,
    points: Points<'a>,
}

#[derive(Clone, Copy)]
enum Points<'a> {
    Listed(&'a [TrendPoint]),
    Encoded { steps: Steps<'a>, values: SeriesReader<'a>, bytes: &'a [u8] },
}

/// Where the times of the points come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timing {
    /// The channel's own period.
    Nominal,
    /// A period, in milliseconds.
    Regular(u32),
    /// A list that starts with this step, in milliseconds.
    Listed(u32),
}

impl Timing {
    const fn code(self) -> u8 {
        match self {
            Self::Nominal => 0,
            Self::Regular(_) => 1,
            Self::Listed(_) => 2,
        }
    }

    /// Finds the shortest way to write these steps.
    fn of(mut steps: impl Iterator<Item = u32>, nominal: Option<u32>) -> Self {
        match steps.next() {
            None => Self::Nominal,
            Some(first) if steps.any(|step| step != first) => Self::Listed(first),
            Some(first) if Some(first) == nominal => Self::Nominal,
            Some(first) => Self::Regular(first),
        }
    }

    /// Returns how many bits it takes, without the list.
    fn bits(self) -> u64 {
        match self {
            Self::Nominal => 2,
            Self::Regular(step) | Self::Listed(step) => sized_len(step as i32).saturating_add(2),
        }
    }

    fn write(self, out: &mut BitWriter<'_>) -> Result<(), BufferTooSmall> {
        out.bits(self.code().into(), 2)?;
        match self {
            Self::Nominal => Ok(()),
            // steps have 31 bits
            Self::Regular(step) | Self::Listed(step) => write_sized(step as i32, out),
        }
    }

    fn read(bits: &mut BitReader<'_>, count: usize, nominal: Option<u32>) -> Result<Self, DecodeError> {
        let step =
            |bits: &mut BitReader<'_>| u32::try_from(read_sized(bits)?).map_err(|_| DecodeError::OutOfRange);
        //= SPEC.md#trend
        //# A reader MUST refuse a timing that is not the first one in the table that fits the points.
        let timing = match bits.bits(2)? {
            0 if count == 1 || nominal.is_some() => Self::Nominal,
            1 if count > 1 => Self::Regular(step(bits)?),
            2 if count > 2 => Self::Listed(step(bits)?),
            _ => return Err(DecodeError::OutOfRange),
        };
        match timing {
            Self::Regular(step) if Some(step) == nominal => Err(DecodeError::NonCanonical),
            timing => Ok(timing),
        }
    }
}

/// The steps of time of an encoded block.
#[derive(Clone, Copy, Debug)]
enum Steps<'a> {
    Period(u32),
    Listed { rice: Rice, bits: BitReader<'a>, step: u32, first: bool },
}

impl Steps<'_> {
    fn read(&mut self) -> Result<u32, DecodeError> {
        match self {
            Self::Period(period) => Ok(*period),
            Self::Listed { rice, bits, step, first } => {
                if !core::mem::take(first) {
                    let change = crate::codec::unzigzag(rice.read(bits)?.into());
                    let next = i64::from(*step).saturating_add(change);
                    //= SPEC.md#trend
                    //# A reader MUST refuse a step of time below 0 or above 2^31 − 1 milliseconds.
                    *step = i32::try_from(next)
                        .ok()
                        .and_then(|step| u32::try_from(step).ok())
                        .ok_or(DecodeError::OutOfRange)?;
                }
                Ok(*step)
            }
        }
    }
}

impl<'a> TrendBlock<'a> {
    /// Makes a block of real and valid points to be encoded; the first one's offset is zero, the others do not descend.
    pub const fn new(channel: u8, points: &'a [TrendPoint]) -> Self {
        Self { channel, status: Status::REAL, points: Points::Listed(points) }
    }

    /// Returns how many points there are.
    pub const fn len(&self) -> usize {
        match &self.points {
            Points::Listed(list) => list.len(),
            Points::Encoded { values, .. } => values.left(),
        }
    }

    /// Tells whether there are none, which cannot be encoded.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lists the points.
    pub fn points(&self) -> impl Iterator<Item = TrendPoint> + Clone + 'a {
        let (list, mut encoded) = match self.points {
            Points::Listed(list) => (list, None),
            Points::Encoded { steps, values, .. } => (&[][..], Some((steps, values))),
        };
        let mut last: Option<Duration> = None;
        list.iter().copied().chain(core::iter::from_fn(move || {
            let (steps, values) = encoded.as_mut()?;
            let raw = values.read().ok()??;
            let offset = match last {
                None => Duration::ZERO,
                Some(last) => {
                    Duration::from_millis(last.as_millis().saturating_add(steps.read().ok()?.into()))
                }
            };
            last = Some(offset);
            Some(TrendPoint { offset, raw })
        }))
    }

    /// Reads what follows the head, and checks every point.
    pub(super) fn read(
        channel: u8,
        reader: &mut Reader<'a>,
        set: &DescriptorSet<'_>,
    ) -> Result<Self, DecodeError> {
        let nominal =
            set.channel(channel).and_then(|channel| fits(&channel)).ok_or(DecodeError::OutOfRange)?;
        let mut start = reader.clone();
        let mut bits = BitReader::new(reader.clone().rest());
        let head = BlockHead::read(&mut bits)?;
        let (steps, bits) = match Timing::read(&mut bits, head.count, nominal)? {
            Timing::Nominal => (Steps::Period(nominal.unwrap_or(0)), bits),
            Timing::Regular(step) => (Steps::Period(step), bits),
            Timing::Listed(step) => Self::check_steps(step, head.count, bits)?,
        };
        let values = SeriesReader::new(bits, head.coding, head.count)?;
        reader.bytes(values.check()?.finish()?)?;
        let bytes = start.bytes(start.remaining().saturating_sub(reader.remaining()))?;
        Ok(Self { channel, status: head.status, points: Points::Encoded { steps, values, bytes } })
    }

    /// Checks a list of steps; returns it and the bits behind it.
    fn check_steps(
        first: u32,
        count: usize,
        mut bits: BitReader<'a>,
    ) -> Result<(Steps<'a>, BitReader<'a>), DecodeError> {
        let rice = Rice::new(bits.bits(5)?);
        let steps = Steps::Listed { rice, bits, step: first, first: true };
        let mut ahead = steps;
        let mut regular = true;
        for _ in 1..count {
            regular &= ahead.read()? == first;
        }
        match ahead {
            Steps::Listed { bits, .. } if !regular => Ok((steps, bits)),
            _ => Err(DecodeError::NonCanonical),
        }
    }
}

impl PartialEq for TrendBlock<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.channel, self.status) == (other.channel, other.status) && self.points().eq(other.points())
    }
}

impl core::fmt::Debug for TrendBlock<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TrendBlock")
            .field("channel", &self.channel)
            .field("status", &self.status)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Returns the channel's period, if it has one, if it may have trends.
fn fits(channel: &ChannelDescriptor<'_>) -> Option<Option<u32>> {
    let numeric = channel.kind == ChannelKind::Numeric && channel.components.len() == 1;
    let period =
        channel.rate.and_then(super::Rate::period_ms).filter(|&period| u64::from(period) <= MAX_STEP);
    numeric.then_some(period)
}

/// Lists the steps of time between the points; those out of range count as zero.
fn steps(points: &[TrendPoint]) -> impl Iterator<Item = u32> + Clone + '_ {
    points.windows(2).map(|pair| match pair {
        [a, b] => b.offset.as_millis().saturating_sub(a.offset.as_millis()) as u32,
        _ => 0,
    })
}

/// Lists the changes of the steps.
fn changes(points: &[TrendPoint]) -> impl Iterator<Item = u32> + Clone + '_ {
    // steps have 31 bits, so that their differences folded have 32
    steps(points)
        .zip(steps(points).skip(1))
        .map(|(a, b)| crate::codec::zigzag(i64::from(b).saturating_sub(a.into())) as u32)
}

/// Encodes as many points of a block as fit `out`, at most 1024 of them and 1024 bytes, and says how many.
///
/// The rest goes into a further record with its own time. A block that was decoded is copied whole.
///
/// # Errors
/// [`EncodeError::BufferTooSmall`] if not even one point fits; [`EncodeError::UnknownChannel`],
/// [`EncodeError::WrongKind`]; [`EncodeError::OutOfRange`] without points, or if their offsets do not start at
/// zero, descend, or have a step of 2^31 ms or more.
pub fn encode_trend(
    block: &TrendBlock<'_>,
    set: &DescriptorSet<'_>,
    out: &mut [u8],
) -> Result<Encoded, EncodeError> {
    let channel = set.channel(block.channel).ok_or(EncodeError::UnknownChannel)?;
    let nominal = fits(&channel).ok_or(EncodeError::WrongKind)?;
    let limit = out.len().min(MAX_RECORD);
    let mut writer = Writer::new(out.get_mut(..limit).unwrap_or_default());
    let points = match block.points {
        Points::Listed(points) => points.get(..MAX_BLOCK_SAMPLES).unwrap_or(points),
        Points::Encoded { bytes, .. } => {
            write_head(KIND_TREND, block.channel, &mut writer)?;
            writer.bytes(bytes)?;
            return Ok(Encoded { bytes: writer.len(), taken: block.len() });
        }
    };
    let first = *points.first().ok_or(EncodeError::OutOfRange)?;
    let in_order = points.windows(2).all(|pair| match pair {
        [a, b] => {
            a.offset <= b.offset && b.offset.as_millis().saturating_sub(a.offset.as_millis()) <= MAX_STEP
        }
        _ => true,
    });
    if first.offset != Duration::ZERO || !in_order {
        return Err(EncodeError::OutOfRange);
    }

    let timing = Timing::of(steps(points), nominal);
    let parameter = series::first_parameter(changes(points));
    let (mut rice, mut changes_left) = (Rice::new(parameter), changes(points));
    let mut step_bits = if matches!(timing, Timing::Listed(_)) { 5u64 } else { 0 };
    let fixed = (head_len(block.channel) as u64)
        .saturating_mul(8)
        .saturating_add(BlockHead::BITS)
        .saturating_add(timing.bits());
    let others = |count: usize| {
        if count > 2 && matches!(timing, Timing::Listed(_)) {
            step_bits = step_bits.saturating_add(changes_left.next().map_or(0, |change| rice.cost(change)));
        }
        fixed.saturating_add(step_bits)
    };
    let values = points.iter().map(|point| point.raw);
    let plan = series::plan(values.clone(), 2, limit, others)
        .ok_or(BufferTooSmall { needed: limit.saturating_add(1) })?;

    let points = points.get(..plan.taken).unwrap_or(points);
    // what was taken may be regular although the rest is not
    let timing = Timing::of(steps(points), nominal);
    write_head(KIND_TREND, block.channel, &mut writer)?;
    let start = writer.len();
    let mut bits = BitWriter::new(writer.reserve(limit.saturating_sub(start))?);
    BlockHead { status: block.status, coding: plan.coding, count: plan.taken }.write(&mut bits)?;
    timing.write(&mut bits)?;
    if let Timing::Listed(_) = timing {
        bits.bits(parameter, 5)?;
        let mut rice = Rice::new(parameter);
        for change in changes(points) {
            rice.write(change, &mut bits)?;
        }
    }
    series::write(values, &plan, &mut bits)?;
    Ok(Encoded { bytes: start.saturating_add(bits.finish()?), taken: plan.taken })
}
