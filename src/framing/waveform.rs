use super::bits::{BitReader, BitWriter};
use super::record_codec::{KIND_WAVEFORM, head_len, write_head};
use super::series::{self, BlockHead, SeriesReader};
use super::{ChannelKind, DescriptorSet, EncodeError, Encoded, Status};
use crate::codec::{BufferTooSmall, DecodeError, Reader, Writer, varint_len};
use crate::limits::{MAX_BLOCK_SAMPLES, MAX_RECORD};

/// A run of samples of a waveform channel: listed by who encodes, or still encoded and checked.
///
/// ```
/// use vitalwire::framing::WaveformBlock;
/// let samples = [1024, 1025, 1023];
/// let block = WaveformBlock::new(3, 0, &samples);
/// assert_eq!(block.len(), 3);
/// assert!(block.samples().eq(samples));
/// ```
#[derive(Clone, Copy)]
pub struct WaveformBlock<'a> {
    /// The channel's number.
    pub channel: u8,
    /// The index of the first sample, counted since boot.
    pub first_sample: u64,
    /// What holds for every sample.
    pub status: Status,
    samples: Samples<'a>,
}

#[derive(Clone, Copy)]
enum Samples<'a> {
    Listed(&'a [i32]),
    Encoded { series: SeriesReader<'a>, bytes: &'a [u8] },
}

impl<'a> WaveformBlock<'a> {
    /// Makes a block of real and valid samples to be encoded.
    pub const fn new(channel: u8, first_sample: u64, samples: &'a [i32]) -> Self {
        Self { channel, first_sample, status: Status::REAL, samples: Samples::Listed(samples) }
    }

    /// Returns how many samples there are.
    pub const fn len(&self) -> usize {
        match &self.samples {
            Samples::Listed(list) => list.len(),
            Samples::Encoded { series, .. } => series.left(),
        }
    }

    /// Returns what is left to encode after the first `taken` samples; nothing, of a block that was decoded.
    pub fn rest(&self, taken: usize) -> Self {
        let samples = match self.samples {
            Samples::Listed(list) => list.get(taken..).unwrap_or_default(),
            Samples::Encoded { .. } => &[],
        };
        let first_sample = self.first_sample.saturating_add(taken as u64);
        Self { first_sample, samples: Samples::Listed(samples), ..*self }
    }

    /// Tells whether there are none, which cannot be encoded.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lists the samples.
    pub fn samples(&self) -> impl Iterator<Item = i32> + Clone + 'a {
        let (list, mut series) = match self.samples {
            Samples::Listed(list) => (list, None),
            Samples::Encoded { series, .. } => (&[][..], Some(series)),
        };
        list.iter().copied().chain(core::iter::from_fn(move || series.as_mut()?.read().ok()?))
    }

    /// Reads what follows the head, and checks every sample.
    pub(super) fn read(
        channel: u8,
        reader: &mut Reader<'a>,
        set: &DescriptorSet<'_>,
    ) -> Result<Self, DecodeError> {
        if set.channel(channel).is_none_or(|channel| channel.kind != ChannelKind::Waveform) {
            return Err(DecodeError::OutOfRange);
        }
        let mut start = reader.clone();
        let first_sample = reader.varint()?;
        let mut bits = BitReader::new(reader.clone().rest());
        let head = BlockHead::read(&mut bits)?;
        first_sample.checked_add(head.count as u64).ok_or(DecodeError::OutOfRange)?;
        let series = SeriesReader::new(bits, head.coding, head.count)?;
        //= SPEC.md#blocks
        //# A reader MUST refuse a block whose last byte is not filled with zero bits.
        reader.bytes(series.check()?.finish()?)?;
        let bytes = start.bytes(start.remaining().saturating_sub(reader.remaining()))?;
        Ok(Self { channel, first_sample, status: head.status, samples: Samples::Encoded { series, bytes } })
    }
}

impl PartialEq for WaveformBlock<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.channel, self.first_sample, self.status) == (other.channel, other.first_sample, other.status)
            && self.samples().eq(other.samples())
    }
}

impl core::fmt::Debug for WaveformBlock<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("WaveformBlock")
            .field("channel", &self.channel)
            .field("first_sample", &self.first_sample)
            .field("status", &self.status)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Encodes as many samples of a block as fit `out`, at most 1024 of them and 1024 bytes, and says how many.
///
/// The rest goes into a further block, with [`WaveformBlock::first_sample`] moved on.
/// A block that was decoded is copied whole.
///
/// # Errors
/// [`EncodeError::BufferTooSmall`] if not even one sample fits; [`EncodeError::UnknownChannel`],
/// [`EncodeError::WrongKind`]; [`EncodeError::OutOfRange`] without samples or if their index exceeds 64 bits.
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
/// let (mut first, mut blocks) = (0, 0);
/// while first < samples.len() {
///     let block = WaveformBlock::new(3, first as u64, &samples[first..]);
///     first += encode_waveform(&block, &set, &mut out)?.taken;
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
    if channel.kind != ChannelKind::Waveform {
        return Err(EncodeError::WrongKind);
    }
    let limit = out.len().min(MAX_RECORD);
    let mut writer = Writer::new(out.get_mut(..limit).unwrap_or_default());
    let samples = match block.samples {
        Samples::Listed(samples) => samples.get(..MAX_BLOCK_SAMPLES).unwrap_or(samples),
        Samples::Encoded { bytes, .. } => {
            write_head(KIND_WAVEFORM, block.channel, &mut writer)?;
            writer.bytes(bytes)?;
            return Ok(Encoded { bytes: writer.len(), taken: block.len() });
        }
    };
    if samples.is_empty() || block.first_sample.checked_add(samples.len() as u64).is_none() {
        return Err(EncodeError::OutOfRange);
    }
    let fixed = head_len(block.channel).saturating_add(varint_len(block.first_sample)) as u64;
    let others = fixed.saturating_mul(8).saturating_add(BlockHead::BITS);
    let values = samples.iter().copied();
    let plan = series::plan(values.clone(), 3, limit, |_| others)
        .ok_or(BufferTooSmall { needed: limit.saturating_add(1) })?;

    write_head(KIND_WAVEFORM, block.channel, &mut writer)?;
    writer.varint(block.first_sample)?;
    let start = writer.len();
    let mut bits = BitWriter::new(writer.reserve(limit.saturating_sub(start))?);
    BlockHead { status: block.status, coding: plan.coding, count: plan.taken }.write(&mut bits)?;
    series::write(values, &plan, &mut bits)?;
    Ok(Encoded { bytes: start.saturating_add(bits.finish()?), taken: plan.taken })
}
