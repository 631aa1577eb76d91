//! What the numbers mean to a hospital: codes, units and typed channels.
//!
//! [`framing`](crate::framing) carries integers; this module knows what they are. Knows nothing of packets and
//! sessions, and nothing about patients: whose values they are is not on the wire.
//!
//! A firmware author lists the device's channels as constants. Each gives the descriptor, and makes records whose unit,
//! scale and count of components are right, or it does not compile. What is not here is made with
//! [`ChannelDescriptor`](crate::framing::ChannelDescriptor) and [`Component`](crate::framing::Component), or with a
//! [`Kind`] of one's own.
//!
//! | channels | kinds |
//! |---|---|
//! | heart, pulse | [`HeartRate`], [`PulseRate`], [`CuffPulseRate`], [`RrInterval`] |
//! | oximetry | [`OxygenSaturation`], [`PulseOximetry`], [`PerfusionIndex`] |
//! | blood pressure | [`NonInvasivePressure`], [`ArterialPressure`] |
//! | temperature, respiration | [`BodyTemperature`], [`CoreTemperature`], [`RespirationRate`], [`ThoracicRespirationRate`], [`CapnographicRespirationRate`], [`EndTidalCo2`] |
//! | glucose, insulin | [`InterstitialGlucose`], [`CapillaryGlucose`], [`GlucoseCalibration`], [`InsulinBasal`], [`InsulinBolus`] |
//! | infusion, inhaler | [`Infusion`], [`Pump`], [`InhalerActuation`] |
//! | body, motion | [`Weight`], [`Steps`], [`Acceleration`], [`Fall`], [`PersonalAlarm`], [`PatientMark`] |
//! | place, device | [`Location`], [`Zone`], [`DeviceStatus`], [`Battery`], [`Equipment`] |
//! | waveforms | [`WaveformChannel`]: ECG leads, plethysmogram, respiration, pressure, acceleration |
//!
//! # Some devices
//! A chest patch: heart rate with limits and alarms, one lead, a button for symptoms.
//! ```
//! use vitalwire::clinical::*;
//! use vitalwire::framing::{Absence, Decimal, Priority, Rate, Record};
//! const RATE: Channel<HeartRate> = Channel::new(1).at(mdc::TRUNK_BREAST);
//! const BUTTON: Channel<PatientMark> = Channel::new(2);
//! static ECG: WaveformChannel<1> = // 12 bits over 10 mV
//!     WaveformChannel::ecg(3, Lead::Unspecified, Rate::per_second(250), Scale::new(Decimal::new(244, -5)));
//! let set = [RATE.descriptor(), BUTTON.descriptor(), ECG.descriptor()];
//! let records: [Record<'_>; 5] = [
//!     RATE.measured(72).into(),
//!     RATE.absent(Absence::SensorOff).into(), // and never a zero
//!     RATE.limits(Some(50), Some(120)).into(),
//!     RATE.too_high(Priority::High, 162, 150).into(),
//!     BUTTON.occurred().into(),
//! ];
//! ```
//! A cuff:
//! ```
//! use vitalwire::clinical::*;
//! use vitalwire::framing::Absence;
//! const CUFF: Channel<NonInvasivePressure> = Channel::new(1).at(mdc::UPEXT_ARM_UPPER);
//! let good = CUFF.measured(Pressure { systolic: 120, diastolic: 80, mean: None, pulse: Some(66) });
//! let moved = CUFF.absent(Absence::Failed);
//! ```
//! A glucose sensor, and the insulin pump that follows it:
//! ```
//! use vitalwire::clinical::*;
//! use vitalwire::framing::Priority;
//! const GLUCOSE: Channel<InterstitialGlucose> = Channel::new(1);
//! const CALIBRATION: Channel<GlucoseCalibration> = Channel::new(2);
//! const BASAL: Channel<InsulinBasal> = Channel::new(3);
//! const BOLUS: Channel<InsulinBolus> = Channel::new(4);
//! let low = GLUCOSE.too_low(Priority::High, 62, 70);
//! let calibrated = CALIBRATION.happened(108);
//! let basal = BASAL.measured(Thousandths(850)); // 0.85 units per hour
//! let bolus = BOLUS.happened(Thousandths(1500)); // 1.5 units
//! ```
//! An infusion pump:
//! ```
//! use vitalwire::clinical::*;
//! use vitalwire::framing::Priority;
//! const INFUSION: Channel<Infusion> = Channel::new(1);
//! const PUMP: Channel<Pump> = Channel::new(2);
//! let started = PUMP.happened(PumpEvent::Started);
//! let state = InfusionState {
//!     rate: Hundredths(1250), // 12.5 mL/h
//!     to_be_infused: Some(Hundredths(5000)),
//!     remaining: Some(Hundredths(4980)),
//!     total: None,
//! };
//! let running = INFUSION.measured(state);
//! let blocked = PUMP.technical(Priority::High, mdc::EVT_FLOW_OBSTRUC);
//! ```
//! An inhaler:
//! ```
//! use vitalwire::clinical::*;
//! const DOSE: Channel<InhalerActuation> = Channel::new(1);
//! let thirty_first = DOSE.happened(31);
//! ```
//! A tracker that sees falls:
//! ```
//! use vitalwire::clinical::*;
//! use vitalwire::framing::Priority;
//! const PLACE: Channel<Location> = Channel::new(1);
//! const FALL: Channel<Fall> = Channel::new(2);
//! const BATTERY: Channel<Battery> = Channel::new(3);
//! let position = Position {
//!     latitude: TenMillionths(473_769_000),
//!     longitude: TenMillionths(85_417_000),
//!     altitude: None,
//!     accuracy: Some(12),
//! };
//! let here = PLACE.measured(position);
//! let fell = FALL.physiological(Priority::High, mdc::AI_TYPE_SENSOR_FALL);
//! let empty = BATTERY.battery_low(Priority::Low, 9, 10);
//! ```
//! A service reads records with what their channel says, from whatever device they come: [`read`], [`read_event`].

mod channel;
mod events;
mod float;
pub mod mdc;
mod nomenclature;
pub mod private;
mod quantities;
mod reading;
mod scaled;
mod table;
#[cfg(test)]
mod tests;
mod wall_time;
mod waveform;

pub use channel::{Channel, Happening, Kind, Quantity};
pub use events::{
    DeviceEvent, DeviceStatus, Equipment, Fall, GlucoseCalibration, InhalerActuation, InsulinBolus,
    PatientMark, PersonalAlarm, Pump, PumpEvent, PumpStatus, Zone, ZoneEvent,
};
pub use float::{DoesNotFit, Float, Number, SFloat, Special};
pub use nomenclature::{Evidence, Term, Unit, code, term, terms, unit, units};
pub use quantities::{
    Acceleration, ArterialPressure, Axes, Battery, BodyTemperature, CapillaryGlucose,
    CapnographicRespirationRate, CoreTemperature, CuffPulseRate, EndTidalCo2, HeartRate, Infusion,
    InfusionState, InsulinBasal, InterstitialGlucose, InvasivePressure, Location, NonInvasivePressure,
    Oximetry, OxygenSaturation, PerfusionIndex, Position, Pressure, PulseOximetry, PulseRate,
    RespirationRate, RrInterval, Steps, ThoracicRespirationRate, Weight,
};
pub use reading::{Reading, read, read_event, read_rated, read_trend};
pub use scaled::{Hundredths, Scaled, TenMillionths, Thousandths};
pub use wall_time::{TimeQuality, WallTime};
pub use waveform::{Lead, Scale, WaveformChannel};
