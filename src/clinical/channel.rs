use core::marker::PhantomData;

use super::{Reading, Scaled, mdc, read, read_event, read_rated, read_trend};
use crate::codec::BufferTooSmall;
use crate::framing::{
    Absence, Alarm, AlarmKind, AlarmLimits, ChannelDescriptor, ChannelKind, Component, Components,
    EncodeError, Event, Measurement, Mode, Phase, Priority, Quality, Rate, TrendBlock, Value, Values,
};
use crate::time::Duration;

/// What the channels of one kind have in common; the types that are listed in [`clinical`](super) implement it.
///
/// An application can add its own: `METRIC` and the components say what it is, in codes of [`mdc`](super::mdc),
/// [`private`](super::private) or its own.
///
/// ```
/// use vitalwire::clinical::{Channel, Hundredths, Kind, Quantity, Scaled, mdc};
/// use vitalwire::framing::{ChannelKind, Component, Value, Values};
/// /// Skin temperature, in hundredths of a degree; the code is one of the device's own.
/// struct SkinTemperature;
/// impl Kind for SkinTemperature {
///     const KIND: ChannelKind = ChannelKind::Numeric;
///     const METRIC: u32 = 0x0002_f001;
///     const COMPONENTS: &'static [Component] = &[Component::scaled(0x0002_f001, mdc::unit::DEGC, -2)];
/// }
/// impl Quantity for SkinTemperature {
///     type Value = Hundredths;
///     type First = Hundredths;
///     fn to_values(value: Hundredths) -> Values {
///         Values::from([Value::Present(value.raw(), Default::default())])
///     }
///     fn from_values(values: &[Value]) -> Option<Hundredths> {
///         values.first()?.valid().map(Hundredths)
///     }
/// }
/// const SKIN: Channel<SkinTemperature> = Channel::new(9);
/// assert_eq!(SKIN.read(&SKIN.measured(Hundredths(3310))), Some(Hundredths(3310)));
/// ```
pub trait Kind {
    /// What kind of records its channels have.
    const KIND: ChannelKind;
    /// What they are as a whole.
    const METRIC: u32;
    /// Their quantities, with unit and scale.
    const COMPONENTS: &'static [Component];
}

/// A kind of numeric channel; example at [`Kind`].
pub trait Quantity: Kind {
    /// What one measurement says.
    type Value: Copy;
    /// The scale of the first component, in which alarms and their limits are.
    type First: Scaled;

    /// Returns the components of a value.
    fn to_values(value: Self::Value) -> Values;

    /// Reads the components; `None` unless all that have to be there are valid.
    fn from_values(values: &[Value]) -> Option<Self::Value>;
}

/// A kind of event channel: see [`Fall`](super::Fall) and its like.
pub trait Happening: Kind {
    /// What can happen.
    type Event: Copy;

    /// Returns code and value of what happened.
    fn to_code(event: Self::Event) -> (u32, Option<i32>);

    /// Reads code and value; `None` if they are not of this kind.
    fn from_code(code: u32, value: Option<i32>) -> Option<Self::Event>;
}

/// A channel of a known kind: its descriptor, and records that fit it by construction.
///
/// A value in another scale or of another quantity does not compile:
///
/// ```
/// use vitalwire::clinical::{BodyTemperature, Channel, HeartRate, Hundredths, NonInvasivePressure, Pressure};
/// use vitalwire::framing::{Absence, ChannelDescriptor, Priority, Record};
/// const HEART_RATE: Channel<HeartRate> = Channel::new(1);
/// const PRESSURE: Channel<NonInvasivePressure> = Channel::new(2);
/// const TEMPERATURE: Channel<BodyTemperature> = Channel::new(3);
/// const CHANNELS: [ChannelDescriptor<'static>; 3] =
///     [HEART_RATE.descriptor(), PRESSURE.descriptor(), TEMPERATURE.descriptor()];
///
/// let record = Record::from(HEART_RATE.measured(72));
/// let record = Record::from(HEART_RATE.absent(Absence::SensorOff));
/// let pressure = Pressure { systolic: 120, diastolic: 80, mean: Some(93), pulse: None };
/// let record = Record::from(PRESSURE.measured(pressure));
/// assert_eq!(PRESSURE.read(&PRESSURE.measured(pressure)), Some(pressure));
/// let record = Record::from(TEMPERATURE.measured(Hundredths(3684)));
/// let record = Record::from(HEART_RATE.too_high(Priority::High, 162, 150));
/// ```
///
/// ```compile_fail
/// use vitalwire::clinical::{BodyTemperature, Channel, Thousandths};
/// const TEMPERATURE: Channel<BodyTemperature> = Channel::new(3);
/// TEMPERATURE.measured(Thousandths(36_840)); // the channel has hundredths
/// ```
pub struct Channel<K> {
    number: u8,
    site: u32,
    rate: Option<Rate>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Channel<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Channel<K> {}

impl<K> core::fmt::Debug for Channel<K> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Channel").field("number", &self.number).finish_non_exhaustive()
    }
}

impl<K: Kind> Channel<K> {
    /// Makes a channel whose records name it by `number`.
    pub const fn new(number: u8) -> Self {
        Self { number, site: 0, rate: None, kind: PhantomData }
    }

    /// Says where on the body it measures: a code such as [`mdc::UPEXT_FINGER`].
    pub const fn at(self, site: u32) -> Self {
        Self { site, ..self }
    }

    /// Says how often it measures, so that regular trends need not.
    pub const fn sampled(self, rate: Rate) -> Self {
        Self { rate: Some(rate), ..self }
    }

    /// Returns the number.
    pub const fn number(self) -> u8 {
        self.number
    }

    /// Describes it.
    pub const fn descriptor(self) -> ChannelDescriptor<'static> {
        let components = Components::listed(K::COMPONENTS);
        let mut descriptor = ChannelDescriptor::new(self.number, K::KIND, K::METRIC, components);
        descriptor.site = self.site;
        descriptor.rate = self.rate;
        descriptor
    }

    /// Makes an alarm about the patient that begins, without value and limits: `code` says which.
    ///
    /// When it goes on, is acknowledged or ends, the same alarm is told with another `phase`.
    pub const fn physiological(self, priority: Priority, code: u32) -> Alarm {
        Alarm::new(self.number, AlarmKind::Physiological, priority, Phase::Start, code)
    }

    /// Makes an alarm about the equipment that begins, without value and limits: `code` says which.
    pub const fn technical(self, priority: Priority, code: u32) -> Alarm {
        Alarm::new(self.number, AlarmKind::Technical, priority, Phase::Start, code)
    }

    /// Makes the alarm that a lead or the sensor is off; the code rests on one source, see [`mdc::EVT_LEAD_OFF`].
    pub const fn lead_off(self, priority: Priority) -> Alarm {
        self.technical(priority, mdc::EVT_LEAD_OFF)
    }
}

impl<Q: Quantity> Channel<Q> {
    /// Makes a measurement on the patient, all of it valid.
    pub fn measured(self, value: Q::Value) -> Measurement {
        Measurement::new(self.number, Q::to_values(value))
    }

    /// Makes a measurement on the patient that is to be doubted: motion, a weak signal.
    pub fn questionable(self, value: Q::Value) -> Measurement {
        self.rated(value, Quality::Questionable)
    }

    /// Makes a measurement on the patient, and says how far its values can be trusted.
    pub fn rated(self, value: Q::Value, quality: Quality) -> Measurement {
        let mut all = [Value::Absent(Absence::Unknown); crate::limits::MAX_COMPONENTS];
        let values = Q::to_values(value);
        for (place, value) in all.iter_mut().zip(values.iter()) {
            *place = match *value {
                Value::Present(raw, _) => Value::Present(raw, quality),
                absent @ Value::Absent(_) => absent,
            };
        }
        let rated = all.get(..values.len()).and_then(|rated| Values::new(rated).ok());
        Measurement::new(self.number, rated.unwrap_or(values))
    }

    /// Says that there is no value, and why.
    pub fn absent(self, why: Absence) -> Measurement {
        let all = [Value::Absent(why); crate::limits::MAX_COMPONENTS];
        let values = all.get(..Q::COMPONENTS.len()).and_then(|values| Values::new(values).ok());
        Measurement::new(self.number, values.unwrap_or(Value::Absent(why).into()))
    }

    /// Makes a value that a test of the device produced, not a patient.
    pub fn test(self, value: Q::Value) -> Measurement {
        Measurement { mode: Mode::Test, ..self.measured(value) }
    }

    /// Makes a value for a demonstration.
    pub fn demonstration(self, value: Q::Value) -> Measurement {
        Measurement { mode: Mode::Demonstration, ..self.measured(value) }
    }

    /// Makes the alarm that the first component is above its limit.
    pub fn too_high(self, priority: Priority, value: Q::First, limit: Q::First) -> Alarm {
        let alarm = self.physiological(priority, mdc::EVT_HI);
        Alarm { value: Some(value.raw()), high_limit: Some(limit.raw()), ..alarm }
    }

    /// Makes the alarm that the first component is below its limit.
    pub fn too_low(self, priority: Priority, value: Q::First, limit: Q::First) -> Alarm {
        let alarm = self.physiological(priority, mdc::EVT_LO);
        Alarm { value: Some(value.raw()), low_limit: Some(limit.raw()), ..alarm }
    }

    /// Tells the limits that are set for the first component; `None`: there is none.
    pub fn limits(self, low: Option<Q::First>, high: Option<Q::First>) -> AlarmLimits {
        let (low, high) = (low.map(Scaled::raw), high.map(Scaled::raw));
        AlarmLimits { low, high, ..AlarmLimits::new(self.number) }
    }

    /// Tells the limits that are set for a component, which is named by its code; `None`: there is none.
    ///
    /// Returns `None` if the channel does not have the component exactly once, or has it in another scale than `S`.
    ///
    /// ```
    /// use vitalwire::clinical::{Channel, Hundredths, NonInvasivePressure, mdc};
    /// const CUFF: Channel<NonInvasivePressure> = Channel::new(1);
    /// let diastolic = CUFF.limits_of(mdc::PRESS_BLD_NONINV_DIA, Some(50), Some(110)).unwrap();
    /// assert_eq!((diastolic.component, diastolic.low, diastolic.high), (1, Some(50), Some(110)));
    /// assert_eq!(CUFF.limits_of(mdc::ECG_HEART_RATE, Some(50), None), None);
    /// assert_eq!(CUFF.limits_of(mdc::PRESS_BLD_NONINV_DIA, Some(Hundredths(5000)), None), None);
    /// ```
    pub fn limits_of<S: Scaled>(self, metric: u32, low: Option<S>, high: Option<S>) -> Option<AlarmLimits> {
        let mut found = (0u8..).zip(Q::COMPONENTS).filter(|(_, component)| component.metric == metric);
        let (component, described) = found.next()?;
        let same = *described == Component::scaled(metric, described.unit, S::EXPONENT);
        let (low, high) = (low.map(Scaled::raw), high.map(Scaled::raw));
        let limits = AlarmLimits { component, low, high, ..AlarmLimits::new(self.number) };
        (same && found.next().is_none()).then_some(limits)
    }

    /// Makes a trend of real and valid values, each with its time since the first one, in these two spaces.
    ///
    /// The spaces need a place for each time, and one for each component of each value. The record's time is that of the
    /// first value. What the status and [`TrendBlock::without`] say holds for the whole block.
    ///
    /// # Errors
    /// [`EncodeError::BufferTooSmall`] says how many places the space that is too small needs;
    /// [`EncodeError::OutOfRange`] without values, and if a component is there in some values and missing in others:
    /// these belong into blocks of their own. Times that do not ascend from zero are refused when it is encoded.
    ///
    /// ```
    /// use vitalwire::Duration;
    /// use vitalwire::clinical::{BodyTemperature, Channel, Hundredths, Oximetry, PulseOximetry};
    /// use vitalwire::framing::Record;
    /// const TEMPERATURE: Channel<BodyTemperature> = Channel::new(1);
    /// const OXIMETRY: Channel<PulseOximetry> = Channel::new(2);
    /// let (mut times, mut space) = ([Duration::ZERO; 2], [0; 4]);
    /// let minute = Duration::from_secs(60);
    ///
    /// let night = [(Duration::ZERO, Hundredths(3684)), (minute, Hundredths(3685))];
    /// let block = TEMPERATURE.trend(&night, &mut times, &mut space)?;
    /// assert_eq!(TEMPERATURE.read_trend(&block).last(), Some((minute, Some(Hundredths(3685)))));
    /// let record = Record::from(block);
    ///
    /// let oximetry = |saturation, pulse| Oximetry { saturation, pulse };
    /// let night = [(Duration::ZERO, oximetry(97, Some(61))), (minute, oximetry(96, Some(62)))];
    /// let record = Record::from(OXIMETRY.trend(&night, &mut times, &mut space)?);
    ///
    /// // a pulse that is there for a while only is never a zero
    /// let gaps = [(Duration::ZERO, oximetry(97, Some(61))), (minute, oximetry(96, None))];
    /// assert!(OXIMETRY.trend(&gaps, &mut times, &mut space).is_err());
    /// # Ok::<(), vitalwire::framing::EncodeError>(())
    /// ```
    pub fn trend<'a>(
        self,
        points: &[(Duration, Q::Value)],
        offsets: &'a mut [Duration],
        raw: &'a mut [i32],
    ) -> Result<TrendBlock<'a>, EncodeError> {
        let components = Q::COMPONENTS.len();
        let needed = points.len().saturating_mul(components);
        let offsets = offsets.get_mut(..points.len()).ok_or(BufferTooSmall { needed: points.len() })?;
        let raw = raw.get_mut(..needed).ok_or(BufferTooSmall { needed })?;
        let (_, first) = *points.first().ok_or(EncodeError::OutOfRange)?;
        let first = Q::to_values(first);
        let rows = raw.chunks_exact_mut(components.max(1));
        for ((place, row), &(offset, value)) in offsets.iter_mut().zip(rows).zip(points) {
            *place = offset;
            for ((place, value), head) in row.iter_mut().zip(Q::to_values(value).iter()).zip(first.iter()) {
                *place = match (*value, *head) {
                    (Value::Present(raw, Quality::Valid), Value::Present(..)) => raw,
                    (Value::Absent(reason), Value::Absent(same)) if reason == same => 0,
                    _ => return Err(EncodeError::OutOfRange),
                };
            }
        }
        let block = TrendBlock::compound(self.number, components, offsets, raw);
        Ok(first.iter().enumerate().fold(block, |block, (component, value)| match *value {
            Value::Present(..) => block,
            Value::Absent(reason) => block.without(component, reason),
        }))
    }

    /// Reads a measurement of this very channel: what [`read`] returns.
    pub fn read(self, measurement: &Measurement) -> Option<Q::Value> {
        read::<Q>(&self.descriptor(), measurement)
    }

    /// Reads a measurement of this very channel, whatever its quality: what [`read_rated`] returns.
    pub fn read_rated(self, measurement: &Measurement) -> Option<Reading<Q::Value>> {
        read_rated::<Q>(&self.descriptor(), measurement)
    }

    /// Reads a trend of this very channel: what [`read_trend`] returns.
    pub fn read_trend<'a>(
        self,
        block: &'a TrendBlock<'_>,
    ) -> impl Iterator<Item = (Duration, Option<Q::Value>)> + 'a
    where
        Q: 'a,
    {
        read_trend::<Q>(self.descriptor(), block)
    }
}

impl<H: Happening> Channel<H> {
    /// Makes a real event.
    pub fn happened(self, event: H::Event) -> Event {
        let (code, value) = H::to_code(event);
        Event { channel: self.number, mode: Mode::Real, code, value }
    }

    /// Reads an event of this very channel: what [`read_event`] returns.
    pub fn read_event(self, event: &Event) -> Option<H::Event> {
        read_event::<H>(&self.descriptor(), event)
    }
}

impl<H: Happening<Event = ()>> Channel<H> {
    /// Makes the one real event that this kind of channel has.
    pub fn occurred(self) -> Event {
        self.happened(())
    }
}
