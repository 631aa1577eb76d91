//! The kinds of event channels, and the equipment as a source of alarms.

use super::scaled::Field;
use super::{Happening, Kind, Scaled, Thousandths, mdc, private};
use crate::framing::{ChannelKind, Component};

/// The device itself, as a source of alarms and nothing else.
///
/// ```
/// use vitalwire::clinical::{Channel, Equipment, mdc};
/// use vitalwire::framing::Priority;
/// const EQUIPMENT: Channel<Equipment> = Channel::new(20);
/// let alarm = EQUIPMENT.technical(Priority::Medium, mdc::EVT_COMM_LOST);
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Equipment {}

impl Kind for Equipment {
    const KIND: ChannelKind = ChannelKind::Alarm;
    const METRIC: u32 = private::DEVICE_STATUS;
    const COMPONENTS: &'static [Component] = &[];
}

/// Kinds with one event, and with a value or without.
macro_rules! one_event {
    ($($(#[$doc:meta])* $name:ident: $codes:ident::$code:ident $(, $value:ident in $unit:ident)?;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $name {}

        impl Kind for $name {
            const KIND: ChannelKind = ChannelKind::Event;
            const METRIC: u32 = $codes::$code;
            const COMPONENTS: &'static [Component] =
                &[$(Component::scaled($codes::$code, mdc::unit::$unit, <$value as Field>::EXPONENT))?];
        }

        impl Happening for $name {
            one_event!(@codes $codes::$code $(, $value)?);
        }
    )*};
    (@codes $codes:ident::$code:ident) => {
        type Event = ();

        fn to_code((): ()) -> (u32, Option<i32>) {
            ($codes::$code, None)
        }

        fn from_code(code: u32, value: Option<i32>) -> Option<()> {
            (code == $codes::$code && value.is_none()).then_some(())
        }
    };
    (@codes $codes:ident::$code:ident, $value:ident) => {
        type Event = $value;

        fn to_code(value: $value) -> (u32, Option<i32>) {
            ($codes::$code, Some(value.raw()))
        }

        fn from_code(code: u32, value: Option<i32>) -> Option<$value> {
            value.filter(|_| code == $codes::$code).map(Scaled::from_raw)
        }
    };
}

one_event! {
    /// A fall.
    ///
    /// ```
    /// use vitalwire::clinical::{Channel, Fall, mdc};
    /// use vitalwire::framing::Priority;
    /// const FALL: Channel<Fall> = Channel::new(1);
    /// let event = FALL.occurred();
    /// let alarm = FALL.physiological(Priority::High, mdc::AI_TYPE_SENSOR_FALL);
    /// ```
    Fall: mdc::AI_TYPE_SENSOR_FALL;
    /// Somebody pressed the button of a personal alarm; example at [`Fall`].
    PersonalAlarm: mdc::AI_TYPE_SENSOR_PERS;
    /// The patient marked a symptom; example at [`Fall`].
    PatientMark: private::EVT_PATIENT_MARK;
    /// An inhaler was actuated: the number of the dose. Example at [`InsulinBolus`].
    InhalerActuation: private::EVT_INHALER_ACTUATION, i32 in DIMLESS;
    /// An insulin bolus was delivered, in thousandths of an international unit. One source only:
    /// [`mdc::INS_BOLUS`].
    ///
    /// ```
    /// use vitalwire::clinical::{Channel, InsulinBolus, Thousandths};
    /// const BOLUS: Channel<InsulinBolus> = Channel::new(2);
    /// let event = BOLUS.happened(Thousandths(1500)); // 1.5 units
    /// assert_eq!(BOLUS.read_event(&event), Some(Thousandths(1500)));
    /// ```
    InsulinBolus: mdc::INS_BOLUS, Thousandths in INTL_UNIT;
    /// A glucose sensor was calibrated to this glucose, in mg/dL. One source only: [`mdc::CGM_SENSOR_CALIBRATION`].
    /// Example at [`InsulinBolus`].
    GlucoseCalibration: mdc::CGM_SENSOR_CALIBRATION, i32 in MILLI_G_PER_DL;
}

/// Kinds with several events, each with its code.
macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $metric:path, $(#[$event_doc:meta])* $event:ident {
        $($(#[$variant_doc:meta])* $variant:ident = $code:path;)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $name {}

        $(#[$event_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        pub enum $event {
            $($(#[$variant_doc])* $variant,)*
        }

        impl Kind for $name {
            const KIND: ChannelKind = ChannelKind::Event;
            const METRIC: u32 = $metric;
            const COMPONENTS: &'static [Component] = &[];
        }

        impl Happening for $name {
            type Event = $event;

            fn to_code(event: $event) -> (u32, Option<i32>) {
                match event {
                    $($event::$variant => ($code, None),)*
                }
            }

            fn from_code(code: u32, value: Option<i32>) -> Option<$event> {
                match (code, value) {
                    $(($code, None) => Some($event::$variant),)*
                    _ => None,
                }
            }
        }
    )*};
}

events! {
    /// What happens to the device: start, tests, sensor, power, link.
    ///
    /// ```
    /// use vitalwire::clinical::{Channel, DeviceEvent, DeviceStatus};
    /// const STATUS: Channel<DeviceStatus> = Channel::new(5);
    /// let event = STATUS.happened(DeviceEvent::SensorRemoved);
    /// assert_eq!(STATUS.read_event(&event), Some(DeviceEvent::SensorRemoved));
    /// ```
    DeviceStatus = private::DEVICE_STATUS,
    /// What can happen to a device; an event of [`DeviceStatus`].
    DeviceEvent {
        /// It has started.
        Started = private::EVT_DEVICE_STARTED;
        /// It has tested itself, and works.
        SelfTestPassed = private::EVT_SELF_TEST_PASSED;
        /// It has tested itself, and does not work.
        SelfTestFailed = private::EVT_SELF_TEST_FAILED;
        /// The device, or its sensor, was calibrated.
        Calibrated = private::EVT_CALIBRATION;
        /// The sensor was put on.
        SensorApplied = private::EVT_SENSOR_APPLIED;
        /// The sensor was taken off.
        SensorRemoved = private::EVT_SENSOR_REMOVED;
        /// A lead is off. One source only: [`mdc::EVT_LEAD_OFF`].
        LeadOff = mdc::EVT_LEAD_OFF;
        /// The sensor is not connected to the device. One source only: [`mdc::EVT_SENSOR_DISCONN`].
        SensorDisconnected = mdc::EVT_SENSOR_DISCONN;
        /// The link was lost. One source only: [`mdc::EVT_COMM_LOST`].
        CommunicationLost = mdc::EVT_COMM_LOST;
        /// The battery is low.
        BatteryLow = mdc::EVT_BATT_LO;
        /// The battery is being charged.
        ChargingStarted = private::EVT_CHARGING_STARTED;
        /// The battery is not being charged any more.
        ChargingEnded = private::EVT_CHARGING_ENDED;
    }
}

/// What an infusion pump does; example at [`PumpEvent`].
#[derive(Clone, Copy, Debug)]
pub enum Pump {}

/// What a pump can do; an event of [`Pump`].
///
/// ```
/// use vitalwire::clinical::{Channel, Pump, PumpEvent, PumpStatus};
/// const PUMP: Channel<Pump> = Channel::new(3);
/// let event = PUMP.happened(PumpEvent::Status(PumpStatus::Paused));
/// assert_eq!(PUMP.read_event(&event), Some(PumpEvent::Status(PumpStatus::Paused)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PumpEvent {
    /// Delivery has started.
    Started,
    /// Delivery has stopped. One source only: [`mdc::EVT_PUMP_DELIV_STOP`].
    Stopped,
    /// Delivery is nearly complete. One source only: [`mdc::EVT_VOL_INFUS_NEAR_COMP`].
    NearlyComplete,
    /// Delivery is complete. One source only: [`mdc::EVT_PUMP_DELIV_COMP`].
    Complete,
    /// The flow is obstructed. One source only: [`mdc::EVT_FLOW_OBSTRUC`].
    Obstructed,
    /// Whether it infuses has changed, or is told anew.
    Status(PumpStatus),
}

/// Whether a pump infuses; example at [`PumpEvent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PumpStatus {
    /// It does not.
    NotInfusing = 0,
    /// It does.
    Infusing = 1,
    /// It is paused, and will go on.
    Paused = 2,
}

impl Kind for Pump {
    const KIND: ChannelKind = ChannelKind::Event;
    const METRIC: u32 = mdc::PUMP_INFUSING_STATUS;
    const COMPONENTS: &'static [Component] = &[Component::new(mdc::PUMP_INFUSING_STATUS, mdc::unit::DIMLESS)];
}

impl Happening for Pump {
    type Event = PumpEvent;

    fn to_code(event: PumpEvent) -> (u32, Option<i32>) {
        match event {
            PumpEvent::Started => (mdc::EVT_PUMP_DELIV_START, None),
            PumpEvent::Stopped => (mdc::EVT_PUMP_DELIV_STOP, None),
            PumpEvent::NearlyComplete => (mdc::EVT_VOL_INFUS_NEAR_COMP, None),
            PumpEvent::Complete => (mdc::EVT_PUMP_DELIV_COMP, None),
            PumpEvent::Obstructed => (mdc::EVT_FLOW_OBSTRUC, None),
            PumpEvent::Status(status) => (mdc::PUMP_INFUSING_STATUS, Some(status as i32)),
        }
    }

    fn from_code(code: u32, value: Option<i32>) -> Option<PumpEvent> {
        Some(match (code, value) {
            (mdc::EVT_PUMP_DELIV_START, None) => PumpEvent::Started,
            (mdc::EVT_PUMP_DELIV_STOP, None) => PumpEvent::Stopped,
            (mdc::EVT_VOL_INFUS_NEAR_COMP, None) => PumpEvent::NearlyComplete,
            (mdc::EVT_PUMP_DELIV_COMP, None) => PumpEvent::Complete,
            (mdc::EVT_FLOW_OBSTRUC, None) => PumpEvent::Obstructed,
            (mdc::PUMP_INFUSING_STATUS, Some(0)) => PumpEvent::Status(PumpStatus::NotInfusing),
            (mdc::PUMP_INFUSING_STATUS, Some(1)) => PumpEvent::Status(PumpStatus::Infusing),
            (mdc::PUMP_INFUSING_STATUS, Some(2)) => PumpEvent::Status(PumpStatus::Paused),
            _ => return None,
        })
    }
}

/// In which room or zone the device is, by numbers that the service knows; example at [`ZoneEvent`].
#[derive(Clone, Copy, Debug)]
pub enum Zone {}

/// A zone was entered or left; an event of [`Zone`].
///
/// ```
/// use vitalwire::clinical::{Channel, Zone, ZoneEvent};
/// const ZONE: Channel<Zone> = Channel::new(6);
/// let event = ZONE.happened(ZoneEvent::Entered(17));
/// assert_eq!(ZONE.read_event(&event), Some(ZoneEvent::Entered(17)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ZoneEvent {
    /// This zone was entered.
    Entered(i32),
    /// This zone was left.
    Left(i32),
}

impl Kind for Zone {
    const KIND: ChannelKind = ChannelKind::Event;
    const METRIC: u32 = private::LOCATION_ZONE;
    const COMPONENTS: &'static [Component] = &[Component::new(private::LOCATION_ZONE, mdc::unit::DIMLESS)];
}

impl Happening for Zone {
    type Event = ZoneEvent;

    fn to_code(event: ZoneEvent) -> (u32, Option<i32>) {
        match event {
            ZoneEvent::Entered(zone) => (private::EVT_ZONE_ENTERED, Some(zone)),
            ZoneEvent::Left(zone) => (private::EVT_ZONE_LEFT, Some(zone)),
        }
    }

    fn from_code(code: u32, value: Option<i32>) -> Option<ZoneEvent> {
        match code {
            private::EVT_ZONE_ENTERED => value.map(ZoneEvent::Entered),
            private::EVT_ZONE_LEFT => value.map(ZoneEvent::Left),
            _ => None,
        }
    }
}
