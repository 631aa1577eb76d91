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
//! An oximeter, which sends a minute at once, and a thermometer:
//! ```
//! use vitalwire::Duration;
//! use vitalwire::clinical::*;
//! use vitalwire::framing::{Rate, Record};
//! const OXIMETRY: Channel<PulseOximetry> = Channel::new(1).at(mdc::UPEXT_FINGER).sampled(Rate::per_second(1));
//! const PERFUSION: Channel<PerfusionIndex> = Channel::new(2).at(mdc::UPEXT_FINGER);
//! const TEMPERATURE: Channel<BodyTemperature> = Channel::new(3).at(mdc::HEAD_EAR);
//! let minute: Vec<_> = (0..60)
//!     .map(|second| (Duration::from_secs(second), Oximetry { saturation: 97, pulse: Some(61) }))
//!     .collect();
//! let (mut times, mut space) = ([Duration::ZERO; 60], [0; 120]);
//! let trend = Record::from(OXIMETRY.trend(&minute, &mut times, &mut space)?);
//! let perfusion = PERFUSION.questionable(Hundredths(42)); // 0.42 %, and the hand moves
//! let fever = TEMPERATURE.measured(Hundredths(3884));
//! # Ok::<(), vitalwire::framing::EncodeError>(())
//! ```
//! A bedside monitor: eight leads, from which the other four follow, pressure, respiration and CO2.
//! ```
//! use vitalwire::clinical::*;
//! use vitalwire::framing::{Absence, Decimal, Phase, Priority, Rate};
//! use Lead::*;
//! let microvolts = Scale::new(Decimal::new(1, -3));
//! let ecg = WaveformChannel::leads(1, [I, II, V1, V2, V3, V4, V5, V6], Rate::per_second(500), microvolts);
//! static CURVE: WaveformChannel<1> =
//!     WaveformChannel::arterial_pressure(2, Rate::per_second(125), Scale::new(Decimal::new(1, -1)));
//! const ARTERY: Channel<ArterialPressure> = Channel::new(3);
//! const BREATHS: Channel<ThoracicRespirationRate> = Channel::new(4);
//! const CO2: Channel<EndTidalCo2> = Channel::new(5);
//! let block = ecg.rows(0, &[[12, 31, -4, 9, 22, 30, 18, 11]]).without(7, Absence::SensorOff);
//! let pulse_wave = CURVE.block(0, &[781, 790, 812]);
//! let pressure = ARTERY.measured(InvasivePressure { systolic: 121, diastolic: 74, mean: Some(90) });
//! let limits = ARTERY.limits_of(mdc::PRESS_BLD_ART_MEAN, Some(60), Some(110)).unwrap();
//! let mut apnoea = BREATHS.physiological(Priority::High, mdc::EVT_APNEA);
//! apnoea.phase = Phase::End; // it breathes again
//! let carbon_dioxide = CO2.measured(38);
//! ```
//! A bed that weighs, a scale, and a wrist band:
//! ```
//! use vitalwire::clinical::*;
//! use vitalwire::framing::{Decimal, Rate};
//! const BREATHS: Channel<RespirationRate> = Channel::new(1);
//! const WEIGHT: Channel<Weight> = Channel::new(2);
//! const ZONE: Channel<Zone> = Channel::new(3);
//! const STATUS: Channel<DeviceStatus> = Channel::new(4);
//! const HELP: Channel<PersonalAlarm> = Channel::new(5);
//! const STEPS: Channel<Steps> = Channel::new(6);
//! static MOTION: WaveformChannel<3> = // three axes in one channel
//!     WaveformChannel::acceleration(7, Rate::per_second(50), Scale::new(Decimal::new(958, -5))).at(mdc::UPEXT_WRIST);
//! static VERTICAL: WaveformChannel<1> = // or each in its own
//!     WaveformChannel::one(8, mdc::HF_3D_ACC_Z, mdc::unit::M_PER_SEC_SQ, Rate::per_second(50), Scale::ONE);
//! let breaths = BREATHS.measured(14);
//! let weight = WEIGHT.measured(Hundredths(7250)); // 72.50 kg
//! let moved = ZONE.happened(ZoneEvent::Entered(17));
//! let left = STATUS.happened(DeviceEvent::SensorRemoved);
//! let help = HELP.occurred();
//! let steps = STEPS.measured(10_432);
//! let motion = MOTION.rows(0, &[[1, -3, 1024], [2, -3, 1019]]);
//! let vertical = VERTICAL.block(0, &[10, 10, 9]);
//! ```
//!
//! # How far a value can be trusted
//! | | said by | to a service | in FHIR |
//! |---|---|---|---|
//! | valid | [`Channel::measured`] | [`read`] | the value |
//! | questionable, calibrating | [`Channel::questionable`], [`Channel::rated`]; `status` of a block | [`read_rated`] only | the value with an `interpretation` |
//! | invalid | [`Channel::rated`] | [`read_rated`] only | no value: `dataAbsentReason` |
//! | absent, with the reason | [`Channel::absent`]; `None` or [`Measurement::without`] for a component, [`TrendBlock::without`], [`WaveformBlock::without`] | nothing | no value: `dataAbsentReason` |
//! | test, demonstration | [`Channel::test`], [`Channel::demonstration`]; `mode` of any other record | [`read_rated`] only | label `HTEST`, no subject |
//! | calibrated | [`GlucoseCalibration`], [`DeviceEvent::Calibrated`] | [`read_event`] | an Observation of the event |
//! | time | [`TimeQuality`], by the service that sets the clock | [`WallTime`] | `clock-quality`, `clock-error` of the date |
//!
//! A service reads records with what their channel says, from whatever device they come: [`read`], [`read_rated`],
//! [`read_trend`], [`read_event`]. Values of alarms and limits are in the scale of their component:
//! [`Component::physical`] turns them into numbers.
//!
//! [`Measurement::without`]: crate::framing::Measurement::without
//! [`TrendBlock::without`]: crate::framing::TrendBlock::without
//! [`WaveformBlock::without`]: crate::framing::WaveformBlock::without
//! [`Component::physical`]: crate::framing::Component::physical

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
#[cfg(all(test, feature = "alloc"))]
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
