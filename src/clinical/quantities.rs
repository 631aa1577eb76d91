//! The kinds of numeric channels.

use serde::{Deserialize, Serialize};

use super::scaled::Field;
use super::{Channel, Hundredths, Kind, Quantity, TenMillionths, Thousandths, mdc, private};
use crate::framing::{Alarm, ChannelKind, Component, Priority, Value, Values};

/// Kinds of one component, which say the same as the whole.
macro_rules! single {
    ($($(#[$doc:meta])* $name:ident: $value:ty = $codes:ident::$metric:ident in $unit:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $name {}

        impl Kind for $name {
            const KIND: ChannelKind = ChannelKind::Numeric;
            const METRIC: u32 = $codes::$metric;
            const COMPONENTS: &'static [Component] =
                &[Component::scaled($codes::$metric, mdc::unit::$unit, <$value as Field>::EXPONENT)];
        }

        impl Quantity for $name {
            type Value = $value;
            type First = $value;

            fn to_values(value: $value) -> Values {
                Values::from([value.value()])
            }

            fn from_values(values: &[Value]) -> Option<$value> {
                Field::from_value(*values.first()?)
            }
        }
    )*};
}

single! {
    /// Heart rate from the ECG, in beats per minute.
    HeartRate: i32 = mdc::ECG_HEART_RATE in BEAT_PER_MIN;
    /// Pulse rate from an oximeter, in beats per minute.
    PulseRate: i32 = mdc::PULS_OXIM_PULS_RATE in BEAT_PER_MIN;
    /// Pulse rate from a cuff, in beats per minute.
    CuffPulseRate: i32 = mdc::PULS_RATE_NON_INV in BEAT_PER_MIN;
    /// The time between two R waves, in milliseconds.
    RrInterval: i32 = mdc::ECG_TIME_PD_RR_GL in MILLI_SEC;
    /// Oxygen saturation from an oximeter, in percent. With the pulse rate: [`PulseOximetry`].
    OxygenSaturation: i32 = mdc::PULS_OXIM_SAT_O2 in PERCENT;
    /// Perfusion index, in hundredths of a percent.
    PerfusionIndex: Hundredths = mdc::PULS_OXIM_PERF_REL in PERCENT;
    /// Body temperature, in hundredths of a degree Celsius.
    BodyTemperature: Hundredths = mdc::TEMP_BODY in DEGC;
    /// Core temperature, in hundredths of a degree Celsius.
    CoreTemperature: Hundredths = mdc::TEMP_CORE in DEGC;
    /// Respiration rate, in breaths per minute.
    RespirationRate: i32 = mdc::RESP_RATE in RESP_PER_MIN;
    /// Respiration rate from thoracic impedance, in breaths per minute.
    ThoracicRespirationRate: i32 = mdc::TTHOR_RESP_RATE in RESP_PER_MIN;
    /// Respiration rate from CO2, in breaths per minute.
    CapnographicRespirationRate: i32 = mdc::CO2_RESP_RATE in RESP_PER_MIN;
    /// End-tidal CO2, in mmHg.
    EndTidalCo2: i32 = mdc::CONC_AWAY_CO2_ET in MMHG;
    /// Glucose in interstitial fluid, from a continuous sensor, in mg/dL.
    InterstitialGlucose: i32 = mdc::CONC_GLU_ISF in MILLI_G_PER_DL;
    /// Glucose in capillary whole blood, from a strip, in mg/dL.
    CapillaryGlucose: i32 = mdc::CONC_GLU_CAPILLARY_WHOLEBLOOD in MILLI_G_PER_DL;
    /// Body weight, in hundredths of a kilogram.
    Weight: Hundredths = mdc::MASS_BODY_ACTUAL in KILO_G;
    /// Steps since the count began. No code of the standard was found: [`private::STEP_COUNT`].
    Steps: i32 = private::STEP_COUNT in STEP;
    /// Battery charge of the device, in percent.
    Battery: i32 = mdc::ATTR_VAL_BATT_CHARGE in PERCENT;
    /// Basal insulin, in thousandths of an international unit per hour. One source only: [`mdc::INS_BASAL`].
    InsulinBasal: Thousandths = mdc::INS_BASAL in INTL_UNIT_PER_HR;
}

impl Channel<Battery> {
    /// Makes the alarm that the battery is low.
    ///
    /// ```
    /// use vitalwire::clinical::{Battery, Channel, mdc};
    /// use vitalwire::framing::Priority;
    /// const BATTERY: Channel<Battery> = Channel::new(9);
    /// assert_eq!(BATTERY.battery_low(Priority::Low, 9, 10).code, mdc::EVT_BATT_LO);
    /// ```
    pub const fn battery_low(self, priority: Priority, charge: i32, limit: i32) -> Alarm {
        let mut alarm = self.technical(priority, mdc::EVT_BATT_LO);
        alarm.value = Some(charge);
        alarm.low_limit = Some(limit);
        alarm
    }
}

/// Kinds of several components, with the structure that holds them. What is an `Option` may be missing.
macro_rules! compound {
    ($($(#[$doc:meta])* $name:ident = $whole:path, $(#[$value_doc:meta])* $value:ident {
        $($(#[$field_doc:meta])* $field:ident: $type:ty = $metric:path, $unit:ident;)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $name {}

        $(#[$value_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub struct $value {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl Kind for $name {
            const KIND: ChannelKind = ChannelKind::Numeric;
            const METRIC: u32 = $whole;
            const COMPONENTS: &'static [Component] =
                &[$(Component::scaled($metric, mdc::unit::$unit, <$type as Field>::EXPONENT),)*];
        }

        impl Quantity for $name {
            type Value = $value;
            type First = compound!(@first $($type,)*);

            fn to_values(value: $value) -> Values {
                Values::from([$(value.$field.value(),)*])
            }

            fn from_values(values: &[Value]) -> Option<$value> {
                let mut values = values.iter();
                Some($value { $($field: Field::from_value(*values.next()?)?,)* })
            }
        }
    )*};
    (@first $first:ty, $($rest:ty,)*) => { $first };
}

compound! {
    /// Oxygen saturation with the pulse rate, as an oximeter measures them.
    PulseOximetry = private::PULSE_OXIMETRY,
    /// What an oximeter measures; a value of [`PulseOximetry`].
    Oximetry {
        /// Oxygen saturation, in percent.
        saturation: i32 = mdc::PULS_OXIM_SAT_O2, PERCENT;
        /// Pulse rate, in beats per minute.
        pulse: Option<i32> = mdc::PULS_OXIM_PULS_RATE, BEAT_PER_MIN;
    }
    /// Blood pressure from a cuff, with the pulse rate.
    NonInvasivePressure = mdc::PRESS_BLD_NONINV,
    /// What a cuff measures; a value of [`NonInvasivePressure`].
    Pressure {
        /// Systolic pressure, in mmHg.
        systolic: i32 = mdc::PRESS_BLD_NONINV_SYS, MMHG;
        /// Diastolic pressure, in mmHg.
        diastolic: i32 = mdc::PRESS_BLD_NONINV_DIA, MMHG;
        /// Mean pressure, in mmHg.
        mean: Option<i32> = mdc::PRESS_BLD_NONINV_MEAN, MMHG;
        /// Pulse rate, in beats per minute.
        pulse: Option<i32> = mdc::PULS_RATE_NON_INV, BEAT_PER_MIN;
    }
    /// Invasive arterial blood pressure.
    ArterialPressure = mdc::PRESS_BLD_ART,
    /// What a catheter measures; a value of [`ArterialPressure`].
    InvasivePressure {
        /// Systolic pressure, in mmHg.
        systolic: i32 = mdc::PRESS_BLD_ART_SYS, MMHG;
        /// Diastolic pressure, in mmHg.
        diastolic: i32 = mdc::PRESS_BLD_ART_DIA, MMHG;
        /// Mean pressure, in mmHg.
        mean: Option<i32> = mdc::PRESS_BLD_ART_MEAN, MMHG;
    }
    /// Acceleration along three axes. One source only: [`mdc::HF_3D_ACC_X`] and its like, and their unit.
    Acceleration = private::ACCELERATION,
    /// An acceleration, in hundredths of m/s²; a value of [`Acceleration`].
    Axes {
        /// Along x.
        x: Hundredths = mdc::HF_3D_ACC_X, M_PER_SEC_SQ;
        /// Along y.
        y: Hundredths = mdc::HF_3D_ACC_Y, M_PER_SEC_SQ;
        /// Along z.
        z: Hundredths = mdc::HF_3D_ACC_Z, M_PER_SEC_SQ;
    }
    /// An infusion: rate and volumes.
    Infusion = private::INFUSION,
    /// How an infusion goes; a value of [`Infusion`].
    InfusionState {
        /// The rate at present, in hundredths of mL/h.
        rate: Hundredths = mdc::FLOW_FLUID_PUMP_CURRENT, MILLI_L_PER_HR;
        /// The volume to be infused, in hundredths of mL.
        to_be_infused: Option<Hundredths> = mdc::VOL_FLUID_TBI, MILLI_L;
        /// What remains of it, in hundredths of mL.
        remaining: Option<Hundredths> = mdc::VOL_FLUID_TBI_REMAIN, MILLI_L;
        /// The volume infused in all, in hundredths of mL.
        total: Option<Hundredths> = mdc::VOL_FLUID_DELIV_TOTAL, MILLI_L;
    }
    /// Where the device is, in WGS 84. A room or zone: [`Zone`](super::Zone).
    Location = private::LOCATION,
    /// A position; a value of [`Location`].
    Position {
        /// Latitude, in ten-millionths of a degree, north positive.
        latitude: TenMillionths = mdc::HF_LATITUDE, ANG_DEG;
        /// Longitude, in ten-millionths of a degree, east positive.
        longitude: TenMillionths = mdc::HF_LONGITUDE, ANG_DEG;
        /// Altitude, in metres.
        altitude: Option<i32> = mdc::HF_ALT, X_M;
        /// The radius in which it is with a probability of 95 %, in metres.
        accuracy: Option<i32> = private::LOCATION_ACCURACY, X_M;
    }
}
