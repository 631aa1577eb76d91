//! What a service reads: typed values, from whatever scale and order a device has chosen.

use super::{Happening, Quantity};
use crate::framing::{
    Absence, ChannelDescriptor, Component, Event, Measurement, Mode, Quality, TrendBlock, Value,
};
use crate::limits::MAX_COMPONENTS;
use crate::time::Duration;

/// Reads a measurement as a quantity, whatever scale and order its device has chosen for the components.
///
/// `None` if the channel is of another quantity or unit, if the measurement is not of that channel, if it is a test or a
/// demonstration, if a value that has to be there is not valid, if the channel has one of the components twice, or if a
/// value does not fit the scale exactly.
///
/// ```
/// use vitalwire::clinical::{BodyTemperature, Hundredths, mdc, read};
/// use vitalwire::framing::{ChannelDescriptor, ChannelKind, Component, Measurement, Values};
/// // a device of another make has tenths
/// let tenths = [Component::scaled(mdc::TEMP_BODY, mdc::unit::DEGC, -1)];
/// let channel = ChannelDescriptor::new(1, ChannelKind::Numeric, mdc::TEMP_BODY, (&tenths).into());
/// let measurement = Measurement::new(1, Values::valid(&[368])?);
/// assert_eq!(read::<BodyTemperature>(&channel, &measurement), Some(Hundredths(3680)));
/// # Ok::<(), vitalwire::framing::EncodeError>(())
/// ```
pub fn read<Q: Quantity>(channel: &ChannelDescriptor<'_>, measurement: &Measurement) -> Option<Q::Value> {
    if measurement.mode != Mode::Real {
        return None;
    }
    Q::from_values(components::<Q>(channel, measurement)?.get(..Q::COMPONENTS.len())?)
}

/// A value that may be a doubtful one, or none of a patient: [`read_rated`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reading<V> {
    /// The value.
    pub value: V,
    /// The worst quality of all its components that are there.
    pub quality: Quality,
    /// How it came to be.
    pub mode: Mode,
}

/// Reads a measurement as a quantity, whatever its quality and mode, and says what they are.
///
/// `None` like [`read`], but for that. For displays that show what is doubtful as doubtful, and for tests of a device:
/// whoever takes the value has to look at quality and mode.
///
/// ```
/// use vitalwire::clinical::{Channel, HeartRate};
/// use vitalwire::framing::{Absence, Mode, Quality};
/// const HEART_RATE: Channel<HeartRate> = Channel::new(1);
/// let moving = HEART_RATE.questionable(143);
/// assert_eq!(HEART_RATE.read(&moving), None);
/// let reading = HEART_RATE.read_rated(&moving).unwrap();
/// assert_eq!((reading.value, reading.quality, reading.mode), (143, Quality::Questionable, Mode::Real));
/// assert_eq!(HEART_RATE.read_rated(&HEART_RATE.absent(Absence::SensorOff)), None);
/// ```
pub fn read_rated<Q: Quantity>(
    channel: &ChannelDescriptor<'_>,
    measurement: &Measurement,
) -> Option<Reading<Q::Value>> {
    let mut values = components::<Q>(channel, measurement)?;
    let mut worst = Quality::Valid;
    for value in &mut values {
        if let Value::Present(_, quality) = value {
            if *quality as u8 > worst as u8 {
                worst = *quality;
            }
            *quality = Quality::Valid;
        }
    }
    let value = Q::from_values(values.get(..Q::COMPONENTS.len())?)?;
    Some(Reading { value, quality: worst, mode: measurement.mode })
}

/// Reads a trend as a quantity: each point's time since the record's, with what [`read`] returns for a measurement.
///
/// ```
/// use vitalwire::Duration;
/// use vitalwire::clinical::{HeartRate, Channel, read_trend};
/// use vitalwire::framing::{Quality, TrendBlock, TrendPoint};
/// const HEART_RATE: Channel<HeartRate> = Channel::new(1);
/// let points = [TrendPoint { offset: Duration::ZERO, raw: 72 }];
/// let mut block = TrendBlock::new(1, &points);
/// let read = |block| read_trend::<HeartRate>(HEART_RATE.descriptor(), &block).next();
/// assert_eq!(read(block), Some((Duration::ZERO, Some(72))));
/// block.status.quality = Quality::Questionable;
/// assert_eq!(read(block), Some((Duration::ZERO, None)));
/// ```
pub fn read_trend<'a, Q: Quantity + 'a>(
    channel: ChannelDescriptor<'a>,
    block: &'a TrendBlock<'_>,
) -> impl Iterator<Item = (Duration, Option<Q::Value>)> + 'a {
    block.measurements().map(move |(offset, point)| (offset, read::<Q>(&channel, &point)))
}

/// Finds the components of a quantity in a measurement, and turns them into its scales.
fn components<Q: Quantity>(
    channel: &ChannelDescriptor<'_>,
    measurement: &Measurement,
) -> Option<[Value; MAX_COMPONENTS]> {
    if (channel.number, channel.kind, channel.metric) != (measurement.channel, Q::KIND, Q::METRIC)
        || channel.components.len() != measurement.values.len()
    {
        return None;
    }
    let mut values = [Value::Absent(Absence::NotMeasured); MAX_COMPONENTS];
    for (place, wanted) in values.iter_mut().zip(Q::COMPONENTS) {
        let mut found = channel
            .components
            .iter()
            .zip(measurement.values.iter())
            .filter(|(component, _)| (component.metric, component.unit) == (wanted.metric, wanted.unit));
        let first = found.next();
        // two of a kind, such as two probes: nothing says which one is meant
        if found.next().is_some() {
            return None;
        }
        *place = match first {
            Some((component, Value::Present(raw, quality))) => {
                Value::Present(in_scale(*raw, &component, wanted)?, *quality)
            }
            Some((_, absent)) => *absent,
            None => Value::Absent(Absence::NotMeasured),
        };
    }
    Some(values)
}

/// Reads an event, whatever scale its device has chosen for the value.
///
/// `None` if the channel or the code is of another kind, or the event is a test or a demonstration.
///
/// ```
/// use vitalwire::clinical::{Channel, InsulinBolus, Thousandths, read_event};
/// const BOLUS: Channel<InsulinBolus> = Channel::new(4);
/// let event = BOLUS.happened(Thousandths(1500));
/// assert_eq!(read_event::<InsulinBolus>(&BOLUS.descriptor(), &event), Some(Thousandths(1500)));
/// ```
pub fn read_event<H: Happening>(channel: &ChannelDescriptor<'_>, event: &Event) -> Option<H::Event> {
    if (channel.number, channel.kind, channel.metric) != (event.channel, H::KIND, H::METRIC)
        || event.mode != Mode::Real
    {
        return None;
    }
    let value = match event.value {
        None => None,
        Some(raw) => {
            let (component, wanted) = (channel.components.iter().next()?, H::COMPONENTS.first()?);
            let same = (component.metric, component.unit) == (wanted.metric, wanted.unit);
            Some(in_scale(raw, &component, wanted).filter(|_| same)?)
        }
    };
    H::from_code(event.code, value)
}

/// Turns a value of one component into the scale of another one.
fn in_scale(raw: i32, from: &Component, to: &Component) -> Option<i32> {
    if (from.scale, from.offset) == (to.scale, to.offset) {
        return Some(raw);
    }
    to.raw(from.physical(raw)?)
}
