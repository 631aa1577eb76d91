use super::bits::{BitReader, BitWriter};
use super::record_codec::{KIND_WAVEFORM, head_len, write_head};
use super::row::{Absences, Row};
use super::series::{self, BlockHead, EncodedSeries, Numbers};
use super::{Absence, ChannelDescriptor, ChannelKind, DescriptorSet, EncodeError, Encoded, Status};
use crate::codec::{BufferTooSmall, DecodeError, Reader, Writer, varint_len};
use crate::limits::{MAX_BLOCK_SAMPLES, MAX_RECORD};

/// A run of samples of a waveform channel: listed by who encodes, or still encoded and checked.
///
/// A channel with several components (the leads of an ECG, the axes of an accelerometer) has a sample of each at the
/// same times: a *row*.
///
/// ```
/// use vitalwire::framing::{Absence, WaveformBlock};
/// let samples = [1024, 1025, 1023];
/// let block = WaveformBlock::new(3, 0, &samples);
/// assert_eq!(block.len(), 3);
/// assert!(block.samples().eq(samples));
///
/// // x, y, z of an accelerometer, two rows
/// let block = WaveformBlock::interleaved(4, 0, 3, &[10, -3, 981, 12, -3, 980]);
/// assert_eq!(block.len(), 2);
/// assert!(block.component(2).eq([981, 980]));
/// // nothing came from y
/// let block = block.without(1, Absence::SensorOff);
/// assert_eq!(block.absence(1), Some(Absence::SensorOff));
/// assert_eq!(block.component(1).next(), None);
/// ```
#[derive(Clone, Copy)]
pub struct WaveformBlock<'a> {
    /// The channel's number.
    pub channel: u8,
    /// The index of the first row, counted since boot.
    pub first_sample: u64,
    /// What holds for every sample that is there.
    pub status: Status,
    samples: Samples<'a>,
}

#[derive(Clone, Copy)]
enum Samples<'a> {
    Listed { samples: &'a [i32], components: usize, absences: Absences },
    Encoded { series: EncodedSeries<'a>, bytes: &'a [u8] },
}

impl<'a> WaveformBlock<'a> {
    /// Makes a block of real and valid samples of one component to be encoded.
    pub const fn new(channel: u8, first_sample: u64, samples: &'a [i32]) -> Self {
        Self::interleaved(channel, first_sample, 1, samples)
    }

    /// Makes a block of real and valid samples to be encoded, row by row: the samples of all components at one time, then
    /// those at the next.
    ///
    /// A number of samples that is no multiple of `components` is refused when it is encoded.
    pub const fn interleaved(channel: u8, first_sample: u64, components: usize, samples: &'a [i32]) -> Self {
        let samples = Samples::Listed { samples, components, absences: Absences::NONE };
        Self { channel, first_sample, status: Status::REAL, samples }
    }

    /// Marks a component as absent in the whole block: what is listed of it is not looked at.
    ///
    /// Changes nothing in a block that was decoded, or where there is no such component.
    #[must_use]
    pub fn without(mut self, component: usize, reason: Absence) -> Self {
        if let Samples::Listed { components, absences, .. } = &mut self.samples
            && component < *components
        {
            absences.set(component, reason);
        }
        self
    }

    /// Returns how many rows of samples there are.
    pub fn len(&self) -> usize {
        match &self.samples {
            Samples::Listed { samples, components, .. } => {
                samples.len().checked_div(*components).unwrap_or(0)
            }
            Samples::Encoded { series, .. } => series.rows(),
        }
    }

    /// Tells whether there are none, which cannot be encoded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many components each row has, absent ones included.
    pub const fn components(&self) -> usize {
        match &self.samples {
            Samples::Listed { components, .. } => *components,
            Samples::Encoded { series, .. } => series.components(),
        }
    }

    /// Tells why a component has no samples in this block; `None` if it has.
    pub fn absence(&self, component: usize) -> Option<Absence> {
        match &self.samples {
            Samples::Listed { absences, .. } => absences.get(component),
            Samples::Encoded { series, .. } => series.read().absence(component),
        }
    }

    /// Returns what is left to encode after the first `taken` rows; nothing, of a block that was decoded.
    pub fn rest(&self, taken: usize) -> Self {
        let samples = match self.samples {
            Samples::Listed { samples, components, absences } => {
                let samples = samples.get(taken.saturating_mul(components)..).unwrap_or_default();
                Samples::Listed { samples, components, absences }
            }
            Samples::Encoded { series, .. } => {
                let components = series.components();
                Samples::Listed { samples: &[], components, absences: Absences::NONE }
            }
        };
        let first_sample = self.first_sample.saturating_add(taken as u64);
        Self { first_sample, samples, ..*self }
    }

    /// Lists the samples of the first component: of the only one, mostly.
    pub fn samples(&self) -> impl Iterator<Item = i32> + Clone + 'a {
        self.component(0)
    }

    /// Lists the samples of a component; none if it is absent or there is no such component.
    pub fn component(&self, component: usize) -> impl Iterator<Item = i32> + Clone + 'a {
        let (list, step, mut series) = match self.samples {
            Samples::Listed { samples, components, absences } => {
                let known = component < components && absences.get(component).is_none();
                let list = samples.get(component..).filter(|_| known).unwrap_or_default();
                (list, components, None)
            }
            Samples::Encoded { series, .. } => (&[][..], 1, Some(series.read())),
        };
        let listed = list.iter().copied().step_by(step.max(1));
        listed.chain(core::iter::from_fn(move || series.as_mut()?.component(component)))
    }

    /// Lists the rows.
    pub fn rows(&self) -> impl Iterator<Item = Row> + Clone + 'a {
        let (list, components, absences, mut series) = match self.samples {
            Samples::Listed { samples, components, absences } => (samples, components, absences, None),
            Samples::Encoded { series, .. } => (&[][..], 1, Absences::NONE, Some(series.read())),
        };
        let listed = list.chunks_exact(components.max(1)).map(move |samples| {
            let mut row = Row::new(components as u8);
            for (component, sample) in samples.iter().enumerate() {
                if absences.get(component).is_none() {
                    row.set(component as u8, *sample);
                }
            }
            row
        });
        listed.chain(core::iter::from_fn(move || series.as_mut()?.row()))
    }

    /// Reads what follows the head, and checks every sample.
    pub(super) fn read(
        channel: u8,
        reader: &mut Reader<'a>,
        set: &DescriptorSet<'_>,
    ) -> Result<Self, DecodeError> {
        let components =
            set.channel(channel).and_then(|channel| fits(&channel)).ok_or(DecodeError::OutOfRange)?;
        let mut start = reader.clone();
        let first_sample = reader.varint()?;
        let mut bits = BitReader::new(reader.clone().rest());
        let head = BlockHead::read(&mut bits)?;
        first_sample.checked_add(head.count as u64).ok_or(DecodeError::OutOfRange)?;
        let (series, bits) = EncodedSeries::check(bits, head.count, components)?;
        //= SPEC.md#blocks
        //# A reader MUST refuse a block whose last byte is not filled with zero bits.
        reader.bytes(bits.finish()?)?;
        let bytes = start.bytes(start.remaining().saturating_sub(reader.remaining()))?;
        Ok(Self { channel, first_sample, status: head.status, samples: Samples::Encoded { series, bytes } })
    }
}

impl PartialEq for WaveformBlock<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.channel, self.first_sample, self.status, self.components())
            == (other.channel, other.first_sample, other.status, other.components())
            && (0..self.components()).all(|component| self.absence(component) == other.absence(component))
            && self.rows().eq(other.rows())
    }
}

impl core::fmt::Debug for WaveformBlock<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("WaveformBlock")
            .field("channel", &self.channel)
            .field("first_sample", &self.first_sample)
            .field("status", &self.status)
            .field("components", &self.components())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Returns how many components a block of the channel has, if it may have waveforms.
fn fits(channel: &ChannelDescriptor<'_>) -> Option<usize> {
    (channel.kind == ChannelKind::Waveform).then_some(channel.components.len())
}

/// Encodes as many rows of a block as fit `out`, at most 1024 of them and 1024 bytes, and says how many.
///
/// The rest goes into a further block, with [`WaveformBlock::first_sample`] moved on: [`WaveformBlock::rest`].
/// A block that was decoded is copied whole.
///
/// # Errors
/// [`EncodeError::BufferTooSmall`] if not even one row fits; [`EncodeError::UnknownChannel`];
/// [`EncodeError::WrongKind`], also if the channel has another number of components; [`EncodeError::OutOfRange`]
/// without samples, with an incomplete row, or if their index exceeds 64 bits.
///
/// ```
/// use vitalwire::framing::*;
/// let ecg = [Component::new(131_329, 266_418)]; // MDC_ECG_ELEC_POTL_I, MDC_DIM_MILLI_VOLT
/// let mut channel = ChannelDescriptor::new(3, ChannelKind::Waveform, 131_329, (&ecg).into());
/// channel.rate = Some(Rate::per_second(360));
/// let mut set = [0u8; 64];
/// let len = encode_descriptors(&[channel], &mut set)?;
/// let set = DescriptorSet::parse(&set[..len])?;
///
/// let samples: Vec<i32> = (0..500).map(|n| n * n % 71).collect();
/// let mut out = [0u8; 200];
/// let (mut block, mut blocks) = (WaveformBlock::new(3, 0, &samples), 0);
/// while !block.is_empty() {
///     block = block.rest(encode_waveform(&block, &set, &mut out)?.taken);
///     blocks += 1;
/// }
/// assert!(blocks > 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn encode_waveform(
    block: &WaveformBlock<'_>,
    set: &DescriptorSet<'_>,
    out: &mut [u8],
) -> Result<Encoded, EncodeError> {
    let channel = set.channel(block.channel).ok_or(EncodeError::UnknownChannel)?;
    if fits(&channel) != Some(block.components()) {
        return Err(EncodeError::WrongKind);
    }
    let limit = out.len().min(MAX_RECORD);
    let mut writer = Writer::new(out.get_mut(..limit).unwrap_or_default());
    let (samples, components, absences) = match block.samples {
        Samples::Listed { samples, components, absences } => (samples, components, absences),
        Samples::Encoded { bytes, .. } => {
            write_head(KIND_WAVEFORM, block.channel, &mut writer)?;
            writer.bytes(bytes)?;
            return Ok(Encoded { bytes: writer.len(), taken: block.len() });
        }
    };
    let rows = block.len().min(MAX_BLOCK_SAMPLES);
    let complete = samples.len().checked_rem(components) == Some(0);
    if rows == 0 || !complete || block.first_sample.checked_add(rows as u64).is_none() {
        return Err(EncodeError::OutOfRange);
    }
    let value = |row: usize, component: usize| {
        let index = row.saturating_mul(components).saturating_add(component);
        samples.get(index).copied().unwrap_or(0)
    };
    let numbers = Numbers { rows, components, absences, value: &value };
    let fixed = head_len(block.channel).saturating_add(varint_len(block.first_sample)) as u64;
    let others = fixed.saturating_mul(8).saturating_add(BlockHead::BITS);
    let plan = series::plan(&numbers, limit, &mut |_| others)
        .ok_or(BufferTooSmall { needed: limit.saturating_add(1) })?;

    write_head(KIND_WAVEFORM, block.channel, &mut writer)?;
    writer.varint(block.first_sample)?;
    let start = writer.len();
    let mut bits = BitWriter::new(writer.reserve(limit.saturating_sub(start))?);
    BlockHead { status: block.status, count: plan.taken }.write(&mut bits)?;
    series::write(&numbers, &plan, &mut bits)?;
    Ok(Encoded { bytes: start.saturating_add(bits.finish()?), taken: plan.taken })
}
