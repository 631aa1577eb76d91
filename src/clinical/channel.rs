use core::marker::PhantomData;

use super::{Scaled, mdc};
use crate::framing::{
    Absence, Alarm, AlarmKind, AlarmLimits, ChannelDescriptor, ChannelKind, Component, Components, Event,
    Measurement, Mode, Phase, Priority, Quality, Rate, Value, Values,
};

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

    /// Reads a measurement of this very channel: what [`read`] returns.
    pub fn read(self, measurement: &Measurement) -> Option<Q::Value> {
        read::<Q>(&self.descriptor(), measurement)
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

/// Reads a measurement as a quantity, whatever scale and order its device has chosen for the components.
///
/// `None` if the channel is of another quantity or unit, if the measurement is not of that channel, if it is a test or a
/// demonstration, if a value that has to be there is not valid, or if it does not fit the scale exactly.
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
    if (channel.number, channel.kind, channel.metric) != (measurement.channel, Q::KIND, Q::METRIC)
        || measurement.mode != Mode::Real
        || channel.components.len() != measurement.values.len()
    {
        return None;
    }
    let mut values = [Value::Absent(Absence::NotMeasured); crate::limits::MAX_COMPONENTS];
    for (place, wanted) in values.iter_mut().zip(Q::COMPONENTS) {
        let found = channel
            .components
            .iter()
            .zip(measurement.values.iter())
            .find(|(component, _)| (component.metric, component.unit) == (wanted.metric, wanted.unit));
        *place = match found {
            Some((component, Value::Present(raw, quality))) => {
                Value::Present(in_scale(*raw, &component, wanted)?, *quality)
            }
            Some((_, absent)) => *absent,
            None => Value::Absent(Absence::NotMeasured),
        };
    }
    Q::from_values(values.get(..Q::COMPONENTS.len())?)
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

/// Turns a value of one component into the scale of another one, which has no offset.
fn in_scale(raw: i32, from: &Component, to: &Component) -> Option<i32> {
    if (from.scale, from.offset) == (to.scale, to.offset) {
        return Some(raw);
    }
    i32::try_from(from.physical(raw)?.with_exponent(to.scale.exponent)?.mantissa).ok()
}
