use super::{mdc, private};
use crate::framing::{
    Alarm, AlarmKind, ChannelDescriptor, ChannelKind, Component, Components, Decimal, Phase, Priority, Rate,
    WaveformBlock,
};
use crate::limits::MAX_WAVEFORM_COMPONENTS;

/// A lead of the ECG.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lead {
    /// Not said: a patch or a wrist band.
    Unspecified,
    /// Lead I.
    I,
    /// Lead II.
    II,
    /// Lead III.
    III,
    /// Lead aVR.
    AVR,
    /// Lead aVL.
    AVL,
    /// Lead aVF.
    AVF,
    /// Lead V1.
    V1,
    /// Lead V2.
    V2,
    /// Lead V3.
    V3,
    /// Lead V4.
    V4,
    /// Lead V5.
    V5,
    /// Lead V6.
    V6,
}

impl Lead {
    /// The twelve leads of a standard ECG, in their usual order.
    pub const TWELVE: [Self; 12] = [
        Self::I,
        Self::II,
        Self::III,
        Self::AVR,
        Self::AVL,
        Self::AVF,
        Self::V1,
        Self::V2,
        Self::V3,
        Self::V4,
        Self::V5,
        Self::V6,
    ];

    /// Returns the code of its signal.
    ///
    /// ```
    /// use vitalwire::clinical::{Lead, mdc};
    /// assert_eq!(Lead::V6.metric(), mdc::ECG_ELEC_POTL_V6);
    /// ```
    pub const fn metric(self) -> u32 {
        match self {
            Self::Unspecified => mdc::ECG_ELEC_POTL,
            Self::I => mdc::ECG_ELEC_POTL_I,
            Self::II => mdc::ECG_ELEC_POTL_II,
            Self::III => mdc::ECG_ELEC_POTL_III,
            Self::AVR => mdc::ECG_ELEC_POTL_AVR,
            Self::AVL => mdc::ECG_ELEC_POTL_AVL,
            Self::AVF => mdc::ECG_ELEC_POTL_AVF,
            Self::V1 => mdc::ECG_ELEC_POTL_V1,
            Self::V2 => mdc::ECG_ELEC_POTL_V2,
            Self::V3 => mdc::ECG_ELEC_POTL_V3,
            Self::V4 => mdc::ECG_ELEC_POTL_V4,
            Self::V5 => mdc::ECG_ELEC_POTL_V5,
            Self::V6 => mdc::ECG_ELEC_POTL_V6,
        }
    }
}

/// How a converter's counts become the quantity: offset + factor · count, in the unit of the channel.
///
/// Counts travel as they are: that takes fewer bits than any other form, and loses nothing.
///
/// ```
/// use vitalwire::clinical::Scale;
/// use vitalwire::framing::Decimal;
/// // 200 counts are 1 mV, and 1024 is its zero
/// let scale = Scale::new(Decimal::new(5, -3)).offset(Decimal::new(-5120, -3));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scale {
    factor: Decimal,
    offset: Decimal,
}

impl Scale {
    /// One count is one unit.
    pub const ONE: Self = Self::new(Decimal::ONE);

    /// Takes what one count is worth; not zero.
    pub const fn new(factor: Decimal) -> Self {
        Self { factor, offset: Decimal::ZERO }
    }

    /// Says which value count 0 has.
    pub const fn offset(self, offset: Decimal) -> Self {
        Self { offset, ..self }
    }

    const fn component(self, metric: u32, unit: u32) -> Component {
        Component { metric, unit, scale: self.factor, offset: self.offset }
    }
}

/// A waveform channel with `N` signals that are sampled together.
///
/// Signals that are not sampled together, or that come and go, have channels of their own.
///
/// ```
/// use vitalwire::clinical::{Lead, Scale, WaveformChannel};
/// use vitalwire::framing::{Decimal, Rate, Record};
/// const SCALE: Scale = Scale::new(Decimal::new(5, -3));
/// static ECG: WaveformChannel<1> = WaveformChannel::ecg(4, Lead::II, Rate::per_second(250), SCALE);
/// let channels = [ECG.descriptor()];
/// let record = Record::from(ECG.block(0, &[12, 14, 11, 9]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaveformChannel<const N: usize> {
    number: u8,
    metric: u32,
    site: u32,
    rate: Rate,
    components: [Component; N],
}

impl WaveformChannel<1> {
    /// Makes a channel of one lead of the ECG; the scale is in mV.
    pub const fn ecg(number: u8, lead: Lead, rate: Rate, scale: Scale) -> Self {
        Self::one(number, lead.metric(), mdc::unit::MILLI_VOLT, rate, scale)
    }

    /// Makes a channel of a plethysmogram, which has no unit.
    pub const fn plethysmogram(number: u8, rate: Rate, scale: Scale) -> Self {
        Self::one(number, mdc::PULS_OXIM_PLETH, mdc::unit::DIMLESS, rate, scale)
    }

    /// Makes a channel of respiration from thoracic impedance, without a unit. One source only:
    /// [`mdc::IMPED_TTHOR`].
    pub const fn respiration(number: u8, rate: Rate, scale: Scale) -> Self {
        Self::one(number, mdc::IMPED_TTHOR, mdc::unit::DIMLESS, rate, scale)
    }

    /// Makes a channel of the arterial blood pressure as a curve; the scale is in mmHg.
    pub const fn arterial_pressure(number: u8, rate: Rate, scale: Scale) -> Self {
        Self::one(number, mdc::PRESS_BLD_ART, mdc::unit::MMHG, rate, scale)
    }

    /// Makes a channel of any other signal.
    pub const fn one(number: u8, metric: u32, unit: u32, rate: Rate, scale: Scale) -> Self {
        Self { number, metric, site: 0, rate, components: [scale.component(metric, unit)] }
    }
}

impl WaveformChannel<3> {
    /// Makes a channel of the acceleration along x, y and z, interleaved; the scale is in m/s². One source only:
    /// [`mdc::HF_3D_ACC_X`] and its like, and their unit.
    pub const fn acceleration(number: u8, rate: Rate, scale: Scale) -> Self {
        let unit = mdc::unit::M_PER_SEC_SQ;
        let components = [
            scale.component(mdc::HF_3D_ACC_X, unit),
            scale.component(mdc::HF_3D_ACC_Y, unit),
            scale.component(mdc::HF_3D_ACC_Z, unit),
        ];
        Self { number, metric: private::ACCELERATION, site: 0, rate, components }
    }
}

impl<const N: usize> WaveformChannel<N> {
    /// Makes a channel of several leads that are sampled together; the scale is in mV for all of them.
    ///
    /// ```
    /// use vitalwire::clinical::{Lead, Scale, WaveformChannel};
    /// use vitalwire::framing::Rate;
    /// let ecg = WaveformChannel::leads(4, Lead::TWELVE, Rate::per_second(500), Scale::ONE);
    /// assert_eq!(ecg.descriptor().components.len(), 12);
    /// ```
    pub fn leads(number: u8, leads: [Lead; N], rate: Rate, scale: Scale) -> Self {
        const { assert!(N > 0 && N <= MAX_WAVEFORM_COMPONENTS) }
        let components = leads.map(|lead| scale.component(lead.metric(), mdc::unit::MILLI_VOLT));
        Self { number, metric: mdc::ECG_ELEC_POTL, site: 0, rate, components }
    }

    /// Says where on the body it measures: a code such as [`mdc::UPEXT_WRIST`].
    pub const fn at(self, site: u32) -> Self {
        Self { site, ..self }
    }

    /// Returns the number.
    pub const fn number(&self) -> u8 {
        self.number
    }

    /// Describes it.
    pub const fn descriptor(&self) -> ChannelDescriptor<'_> {
        let components = Components::listed(&self.components);
        let mut descriptor =
            ChannelDescriptor::new(self.number, ChannelKind::Waveform, self.metric, components);
        descriptor.site = self.site;
        descriptor.rate = Some(self.rate);
        descriptor
    }

    /// Makes a block of real and valid samples: row by row, the samples of all signals of one time together.
    ///
    /// `first_sample` is the index of the first row, counted on this channel since boot. Mode and quality of the block are
    /// its `status`; a signal that is absent in it, as with an electrode off, is told by [`WaveformBlock::without`].
    pub const fn block<'a>(&self, first_sample: u64, samples: &'a [i32]) -> WaveformBlock<'a> {
        WaveformBlock::interleaved(self.number, first_sample, N, samples)
    }

    /// Makes a block of rows, each with the samples of all signals; the rest as with [`block`](Self::block).
    ///
    /// ```
    /// use vitalwire::clinical::{Lead, Scale, WaveformChannel};
    /// use vitalwire::framing::{Absence, Decimal, Rate, Record};
    /// let scale = Scale::new(Decimal::new(5, -3));
    /// let ecg = WaveformChannel::leads(4, [Lead::I, Lead::II], Rate::per_second(250), scale);
    /// let block = ecg.rows(0, &[[12, 0], [13, 0], [11, 0]]).without(1, Absence::SensorOff); // the electrode of II
    /// assert_eq!((block.len(), block.absence(1)), (3, Some(Absence::SensorOff)));
    /// let record = Record::from(block);
    /// ```
    pub const fn rows<'a>(&self, first_sample: u64, rows: &'a [[i32; N]]) -> WaveformBlock<'a> {
        self.block(first_sample, rows.as_flattened())
    }

    /// Makes the alarm that a lead is off, without value and limits; [`mdc::EVT_LEAD_OFF`] rests on one source.
    pub const fn lead_off(&self, priority: Priority) -> Alarm {
        Alarm::new(self.number, AlarmKind::Technical, priority, Phase::Start, mdc::EVT_LEAD_OFF)
    }
}
