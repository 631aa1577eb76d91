use serde::{Deserialize, Serialize};

use super::{Decimal, EncodeError};
use crate::codec::{BufferTooSmall, DecodeError, Reader, Writer, varint_len};
use crate::limits::{MAX_CHANNELS, MAX_COMPONENTS, MAX_DESCRIPTOR_SET, MAX_WAVEFORM_COMPONENTS};
use crate::time::Duration;

/// The first byte of an encoded set: the version of the encoding.
const FORMAT: u8 = 1;

/// What kind of records a channel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ChannelKind {
    /// Measurements and trends.
    Numeric = 1,
    /// Waveforms, of all its components at once.
    Waveform = 2,
    /// Events.
    Event = 3,
    /// Nothing but alarms, as every channel may be the source of alarms.
    Alarm = 4,
}

/// How often a channel is sampled: `numerator / denominator` per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Rate {
    /// Samples.
    pub numerator: u32,
    /// In so many seconds.
    pub denominator: u32,
}

impl Rate {
    /// Makes a rate of so many samples per second.
    pub const fn per_second(samples: u32) -> Self {
        Self { numerator: samples, denominator: 1 }
    }

    /// Returns how long so many samples take, rounded down to milliseconds; zero for a rate of 0.
    ///
    /// ```
    /// use vitalwire::{Duration, framing::Rate};
    /// assert_eq!(Rate::per_second(360).span(256), Duration::from_millis(711));
    /// ```
    pub fn span(self, samples: u64) -> Duration {
        let millis = u128::from(samples).saturating_mul(u128::from(self.denominator).saturating_mul(1000));
        let span = millis.checked_div(self.numerator.into()).unwrap_or(0);
        Duration::from_millis(u64::try_from(span).unwrap_or(u64::MAX))
    }

    /// Returns the time between two samples, in milliseconds, if it is a whole number that fits.
    ///
    /// ```
    /// use vitalwire::framing::Rate;
    /// assert_eq!(Rate::per_second(250).period_ms(), Some(4));
    /// assert_eq!(Rate::per_second(360).period_ms(), None);
    /// ```
    pub fn period_ms(self) -> Option<u32> {
        let millis = u64::from(self.denominator).saturating_mul(1000);
        let numerator = u64::from(self.numerator);
        if millis.checked_rem(numerator)? != 0 {
            return None;
        }
        u32::try_from(millis.checked_div(numerator)?).ok()
    }
}

/// One quantity of a channel, and how to turn its integers into it: physical = offset + scale · raw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Component {
    /// What it is: an ISO/IEEE 11073-10101 code, partition · 65536 + term.
    pub metric: u32,
    /// Its unit: an ISO/IEEE 11073-10101 code, partition · 65536 + term.
    pub unit: u32,
    /// The factor, not zero; its mantissa fits 32 bits.
    pub scale: Decimal,
    /// What is added; its mantissa fits 32 bits.
    pub offset: Decimal,
}

impl Component {
    /// Makes a component whose integers are the quantity.
    pub const fn new(metric: u32, unit: u32) -> Self {
        Self { metric, unit, scale: Decimal::ONE, offset: Decimal::ZERO }
    }

    /// Makes a component whose integers are the quantity times 10^−exponent: −1 for tenths.
    pub const fn scaled(metric: u32, unit: u32, exponent: i8) -> Self {
        Self { metric, unit, scale: Decimal::new(1, exponent), offset: Decimal::ZERO }
    }

    /// Returns the physical value of `raw`, exactly, or `None` if it does not fit a [`Decimal`].
    ///
    /// ```
    /// use vitalwire::framing::{Component, Decimal};
    /// let temperature = Component::scaled(150_364, 268_192, -1);
    /// assert_eq!(temperature.physical(368), Some(Decimal::new(368, -1)));
    /// ```
    pub fn physical(&self, raw: i32) -> Option<Decimal> {
        let scaled =
            Decimal { mantissa: self.scale.mantissa.checked_mul(raw.into())?, exponent: self.scale.exponent };
        if self.offset.mantissa == 0 {
            return Some(scaled);
        }
        let exponent = scaled.exponent.min(self.offset.exponent);
        let mantissa = scaled.rescaled(exponent)?.checked_add(self.offset.rescaled(exponent)?)?;
        Some(Decimal { mantissa, exponent })
    }

    /// Returns the raw value of a physical one, or `None` unless it is exactly a whole number of 32 bits.
    ///
    /// ```
    /// use vitalwire::framing::{Component, Decimal};
    /// let temperature = Component::scaled(150_364, 268_192, -1);
    /// assert_eq!(temperature.raw(Decimal::new(3680, -2)), Some(368));
    /// assert_eq!(temperature.raw(Decimal::new(3684, -2)), None);
    /// ```
    pub fn raw(&self, physical: Decimal) -> Option<i32> {
        physical.raw(self.scale, self.offset)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let component = Self {
            metric: reader.varint_as()?,
            unit: reader.varint_as()?,
            scale: Decimal::read(reader)?,
            offset: Decimal::read(reader)?,
        };
        if component.scale.mantissa == 0 { Err(DecodeError::OutOfRange) } else { Ok(component) }
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), BufferTooSmall> {
        out.varint(self.metric.into())?;
        out.varint(self.unit.into())?;
        self.scale.write(out)?;
        self.offset.write(out)
    }
}

/// The components of a channel: listed by who encodes, or still encoded.
#[derive(Clone, Copy)]
pub struct Components<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Listed(&'a [Component]),
    Encoded { bytes: &'a [u8], count: u8 },
}

impl<'a> Components<'a> {
    /// Takes them as they are listed; also in a constant.
    ///
    /// ```
    /// use vitalwire::clinical::mdc;
    /// use vitalwire::framing::{Component, Components};
    /// const PULSE: Component = Component::new(mdc::PULS_OXIM_PULS_RATE, mdc::unit::BEAT_PER_MIN);
    /// const COMPONENTS: Components<'static> = Components::listed(&[PULSE]);
    /// assert_eq!(COMPONENTS.len(), 1);
    /// ```
    pub const fn listed(list: &'a [Component]) -> Self {
        Self(Source::Listed(list))
    }

    /// Returns how many there are.
    pub const fn len(&self) -> usize {
        match self.0 {
            Source::Listed(list) => list.len(),
            Source::Encoded { count, .. } => count as usize,
        }
    }

    /// Tells whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lists them in order.
    pub fn iter(&self) -> impl Iterator<Item = Component> + 'a {
        let (list, bytes) = match self.0 {
            Source::Listed(list) => (list, &[][..]),
            Source::Encoded { bytes, .. } => (&[][..], bytes),
        };
        let mut reader = Reader::new(bytes);
        list.iter().copied().chain(core::iter::from_fn(move || Component::read(&mut reader).ok()))
    }
}

impl<'a> From<&'a [Component]> for Components<'a> {
    fn from(list: &'a [Component]) -> Self {
        Self(Source::Listed(list))
    }
}

impl<'a, const N: usize> From<&'a [Component; N]> for Components<'a> {
    fn from(list: &'a [Component; N]) -> Self {
        Self(Source::Listed(list))
    }
}

impl PartialEq for Components<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Components<'_> {}

impl core::fmt::Debug for Components<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// What a channel's records mean.
///
/// ```
/// use vitalwire::framing::{ChannelDescriptor, ChannelKind, Component, DescriptorSet, Rate, encode_descriptors};
/// let rate = [Component::new(147_842, 264_864)]; // MDC_ECG_HEART_RATE, MDC_DIM_BEAT_PER_MIN
/// let mut channel = ChannelDescriptor::new(1, ChannelKind::Numeric, 147_842, (&rate).into());
/// channel.rate = Some(Rate::per_second(1));
/// let mut bytes = [0u8; 64];
/// let len = encode_descriptors(&[channel], &mut bytes)?;
/// let set = DescriptorSet::parse(&bytes[..len])?;
/// assert_eq!(set.channel(1), Some(channel));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ChannelDescriptor<'a> {
    /// The number that its records name it by.
    pub number: u8,
    /// What kind of records it has.
    pub kind: ChannelKind,
    /// What it is as a whole: an ISO/IEEE 11073-10101 code, partition · 65536 + term.
    pub metric: u32,
    /// Where on the body: an ISO/IEEE 11073-10101 code, 0 if it is not said.
    pub site: u32,
    /// How often it is sampled; a waveform needs it.
    pub rate: Option<Rate>,
    /// Its quantities: 1 to 8 if numeric, 1 to 12 for a waveform, at most 1 for an event, at most 8 for an alarm source.
    pub components: Components<'a>,
    /// Further fields: each a varint type and prefixed bytes, in strictly ascending order of type.
    #[serde(serialize_with = "super::data::bytes::serialize")]
    pub extensions: &'a [u8],
}

impl<'a> ChannelDescriptor<'a> {
    /// Describes a channel without site, rate and extensions.
    pub const fn new(number: u8, kind: ChannelKind, metric: u32, components: Components<'a>) -> Self {
        Self { number, kind, metric, site: 0, rate: None, components, extensions: &[] }
    }

    /// Tells whether kind, rate and components go together.
    fn is_consistent(&self) -> bool {
        let components = match self.kind {
            ChannelKind::Numeric => 1..=MAX_COMPONENTS,
            ChannelKind::Waveform => 1..=MAX_WAVEFORM_COMPONENTS,
            ChannelKind::Event => 0..=1,
            ChannelKind::Alarm => 0..=MAX_COMPONENTS,
        };
        components.contains(&self.components.len())
            && (self.kind != ChannelKind::Waveform || self.rate.is_some())
    }

    /// Reads the content of a channel's field.
    fn read(number: u8, content: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(content);
        let kind = match reader.u8()? {
            1 => ChannelKind::Numeric,
            2 => ChannelKind::Waveform,
            3 => ChannelKind::Event,
            4 => ChannelKind::Alarm,
            _ => return Err(DecodeError::OutOfRange),
        };
        let metric = reader.varint_as()?;
        let site = reader.varint_as()?;
        let rate = match reader.varint_as()? {
            0 => None,
            numerator => Some(Rate { numerator, denominator: reader.varint_as()? }),
        };
        let count = reader.u8()?;
        if usize::from(count) > MAX_WAVEFORM_COMPONENTS || rate.is_some_and(|rate| rate.denominator == 0) {
            return Err(DecodeError::OutOfRange);
        }
        let mut ahead = reader.clone();
        for _ in 0..count {
            Component::read(&mut ahead)?;
        }
        let bytes = reader.bytes(reader.remaining().saturating_sub(ahead.remaining()))?;
        let components = Components(Source::Encoded { bytes, count });
        let extensions = reader.rest();
        check_extensions(extensions)?;
        let channel = Self { number, kind, metric, site, rate, components, extensions };
        //= SPEC.md#descriptors
        //# A reader MUST refuse a channel whose kind, rate and number of components do not go together as the table says.
        if channel.is_consistent() { Ok(channel) } else { Err(DecodeError::OutOfRange) }
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), BufferTooSmall> {
        out.u8(self.kind as u8)?;
        out.varint(self.metric.into())?;
        out.varint(self.site.into())?;
        match self.rate {
            None => out.u8(0)?,
            Some(rate) => {
                out.varint(rate.numerator.into())?;
                out.varint(rate.denominator.into())?;
            }
        }
        out.u8(self.components.len() as u8)?;
        for component in self.components.iter() {
            component.write(out)?;
        }
        out.bytes(self.extensions)
    }
}

/// Tells whether a set may have this channel, but for its length.
#[cfg(feature = "alloc")]
pub(super) fn is_well_formed(channel: &ChannelDescriptor<'_>) -> bool {
    let numerator = channel.rate.is_none_or(|rate| rate.numerator != 0);
    numerator && channel.is_consistent() && check_extensions(channel.extensions).is_ok()
}

/// Checks that the further fields are well-formed and ascend.
fn check_extensions(bytes: &[u8]) -> Result<(), DecodeError> {
    let mut reader = Reader::new(bytes);
    let mut previous = None;
    //= SPEC.md#descriptors
    //# A reader MUST skip further fields of types that it does not know, and refuse fields whose types do not ascend strictly.
    while !reader.is_empty() {
        let field = reader.varint()?;
        reader.prefixed(MAX_DESCRIPTOR_SET)?;
        if previous >= Some(field) {
            return Err(DecodeError::NonCanonical);
        }
        previous = Some(field);
    }
    Ok(())
}

/// What of a channel says how most of its records are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    number: u8,
    pub(super) kind: ChannelKind,
    /// How many components it has.
    pub(super) components: u8,
}

impl Shape {
    const fn of(channel: &ChannelDescriptor<'_>) -> Self {
        // At most 12.
        let components = channel.components.len() as u8;
        Self { number: channel.number, kind: channel.kind, components }
    }
}

/// The channels of a device: a view of an encoded set that was checked once.
#[derive(Clone, Copy)]
pub struct DescriptorSet<'a> {
    bytes: &'a [u8],
    /// Those of all channels in the same order, or none: then they are read from the bytes.
    #[cfg(feature = "backend")]
    shapes: &'a [Shape],
}

impl PartialEq for DescriptorSet<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for DescriptorSet<'_> {}

impl core::fmt::Debug for DescriptorSet<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("DescriptorSet").field("bytes", &self.bytes).finish()
    }
}

impl<'a> DescriptorSet<'a> {
    /// The set without channels.
    pub const EMPTY: DescriptorSet<'static> = DescriptorSet::of_bytes(&[FORMAT]);

    const fn of_bytes(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            #[cfg(feature = "backend")]
            shapes: &[],
        }
    }

    /// Checks an encoded set.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        //= SPEC.md#descriptors
        //# A reader MUST refuse a set of more than 2048 bytes or 64 channels, or whose channel numbers do not ascend strictly.
        if bytes.len() > MAX_DESCRIPTOR_SET {
            return Err(DecodeError::OutOfRange);
        }
        let mut reader = Reader::new(bytes);
        if reader.u8()? != FORMAT {
            return Err(DecodeError::UnknownMandatory);
        }
        let mut previous = None;
        let mut channels = 0usize;
        while !reader.is_empty() {
            let channel = read_channel(&mut reader)?;
            channels = channels.saturating_add(1);
            if previous >= Some(channel.number) {
                return Err(DecodeError::NonCanonical);
            }
            if channels > MAX_CHANNELS {
                return Err(DecodeError::OutOfRange);
            }
            previous = Some(channel.number);
        }
        Ok(Self::of_bytes(bytes))
    }

    /// Lists the shapes of the channels, to be kept beside the bytes.
    #[cfg(feature = "backend")]
    pub(crate) fn shapes(&self) -> alloc::boxed::Box<[Shape]> {
        self.channels().map(|channel| Shape::of(&channel)).collect()
    }

    /// Takes a set that [`DescriptorSet::parse`] has accepted before, and its shapes: of other bytes, channels would be
    /// missing.
    #[cfg(feature = "backend")]
    pub(crate) const fn checked_before(bytes: &'a [u8], shapes: &'a [Shape]) -> Self {
        Self { bytes, shapes }
    }

    /// Finds what says how most records of a channel are read.
    #[cfg_attr(feature = "backend", inline)]
    pub(super) fn shape(&self, number: u8) -> Option<Shape> {
        #[cfg(feature = "backend")]
        if !self.shapes.is_empty() {
            let at = self.shapes.binary_search_by_key(&number, |shape| shape.number).ok()?;
            return self.shapes.get(at).copied();
        }
        self.channel(number).map(|channel| Shape::of(&channel))
    }

    /// Tells whether this set has every channel of `older`, unchanged byte for byte: what was encoded with that one
    /// then decodes alike with this one.
    ///
    /// ```
    /// use vitalwire::framing::{ChannelDescriptor, ChannelKind, Component, DescriptorSet, encode_descriptors};
    /// let quantity = [Component::new(147_842, 264_864)];
    /// let channel = |number| ChannelDescriptor::new(number, ChannelKind::Numeric, 147_842, (&quantity).into());
    /// let (mut one, mut two) = ([0; 64], [0; 64]);
    /// let one_len = encode_descriptors(&[channel(5)], &mut one)?;
    /// let two_len = encode_descriptors(&[channel(1), channel(5)], &mut two)?;
    /// let (one, two) = (DescriptorSet::parse(&one[..one_len])?, DescriptorSet::parse(&two[..two_len])?);
    /// assert!(two.extends(&one) && !one.extends(&two));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn extends(&self, older: &DescriptorSet<'_>) -> bool {
        let mut own = self.fields();
        // both ascend, so one pass finds them all
        older.fields().all(|channel| own.any(|here| here == channel))
    }

    /// Lists the channels as number and content.
    fn fields(&self) -> impl Iterator<Item = (u8, &'a [u8])> + 'a {
        let mut reader = Reader::new(self.bytes.get(1..).unwrap_or_default());
        core::iter::from_fn(move || {
            let number = reader.varint_as().ok()?;
            Some((number, reader.prefixed(MAX_DESCRIPTOR_SET).ok()?))
        })
    }

    /// Returns the encoded set: what its hash is computed over.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Lists the channels in ascending order of their numbers.
    pub fn channels(&self) -> impl Iterator<Item = ChannelDescriptor<'a>> + 'a {
        let mut reader = Reader::new(self.bytes.get(1..).unwrap_or_default());
        core::iter::from_fn(move || read_channel(&mut reader).ok())
    }

    /// Finds a channel.
    pub fn channel(&self, number: u8) -> Option<ChannelDescriptor<'a>> {
        let mut reader = Reader::new(self.bytes.get(1..)?);
        loop {
            let found = reader.varint_as::<u8>().ok()?;
            let content = reader.prefixed(MAX_DESCRIPTOR_SET).ok()?;
            match found.cmp(&number) {
                core::cmp::Ordering::Less => {}
                core::cmp::Ordering::Equal => return ChannelDescriptor::read(number, content).ok(),
                core::cmp::Ordering::Greater => return None,
            }
        }
    }
}

fn read_channel<'a>(reader: &mut Reader<'a>) -> Result<ChannelDescriptor<'a>, DecodeError> {
    let number = reader.varint_as()?;
    ChannelDescriptor::read(number, reader.prefixed(MAX_DESCRIPTOR_SET)?)
}

/// Encodes a set of channels to the front of `out` and returns its length.
///
/// # Errors
/// [`EncodeError::OutOfRange`] unless the numbers ascend strictly, there are at most 64 channels and 2048 bytes,
/// and each channel's kind, rate, components and extensions are as [`ChannelDescriptor`] says;
/// [`EncodeError::BufferTooSmall`].
pub fn encode_descriptors(channels: &[ChannelDescriptor<'_>], out: &mut [u8]) -> Result<usize, EncodeError> {
    let too_small = |needed| BufferTooSmall { needed };
    let mut len = 1;
    *out.first_mut().ok_or(too_small(len))? = FORMAT;
    for channel in channels {
        if channel.components.len() > MAX_WAVEFORM_COMPONENTS {
            return Err(EncodeError::OutOfRange);
        }
        // the content goes behind the longest prefix that it can have, and then up to its own prefix
        let start = len.saturating_add(varint_len(channel.number.into())).saturating_add(2);
        let space = out.get_mut(start..).ok_or(too_small(start))?;
        let mut content = Writer::new(space);
        channel.write(&mut content).map_err(|error| too_small(start.saturating_add(error.needed)))?;
        let content = content.len();
        let mut prefix = Writer::new(out.get_mut(len..start).unwrap_or_default());
        prefix.varint(channel.number.into())?;
        prefix.varint(content as u64).map_err(|_| EncodeError::OutOfRange)?;
        len = len.saturating_add(prefix.len());
        out.copy_within(start..start.saturating_add(content), len);
        len = len.saturating_add(content);
    }
    // one set of rules: what a reader would refuse is not written
    DescriptorSet::parse(out.get(..len).unwrap_or_default()).map_err(|_| EncodeError::OutOfRange)?;
    Ok(len)
}
