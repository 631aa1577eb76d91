use super::clock::{Clock, quality_code};
use super::device::{Device, DeviceName, DeviceProperty};
use super::id::{RecordId, device_identifier};
use super::subject::Subject;
use super::systems::{ABSENT_ELEMENT, CATEGORY, CHANNEL, CLOCK_ERROR, CLOCK_QUALITY, KIND, UPTIME};
use super::terms::{self, VitalSign};
use super::types::{CodeableConcept, Coding, Element, Extension, Period, Quantity, Reference};
use super::value::{mark, own};
use super::{FhirError, Kind, Observation};
use crate::clinical::mdc;
use crate::framing::{BatchRecord, BootTag, ChannelDescriptor, DescriptorSet, Lane, Mode, Record};
use crate::identity::Identity;
use crate::time::Instant;

/// What a record does not say itself: whose it is, when, and what its channel means.
///
/// The application fills it in: device, stream and descriptor set come with every batch; the subject and the clock
/// are its own knowledge.
///
/// ```
/// use vitalwire::Instant;
/// use vitalwire::framing::*;
/// use vitalwire::identity::{Identity, IssuerId, SubjectId};
/// use vitalwire::interop::fhir::{self, Bundle, Clock, Context, DeviceInfo, Pseudonym, Subject};
///
/// let rate = [Component::new(147_842, 264_864)]; // MDC_ECG_HEART_RATE, MDC_DIM_BEAT_PER_MIN
/// let channel = ChannelDescriptor::new(1, ChannelKind::Numeric, 147_842, (&rate).into());
/// let mut bytes = [0; 64];
/// let len = encode_descriptors(&[channel], &mut bytes)?;
///
/// let context = Context {
///     device: Identity { issuer: IssuerId([1; 8]), subject: SubjectId([2; 16]) },
///     boot: 7,
///     tag: BootTag([0xc0, 0xff, 0xee, 1]),
///     lane: Lane::Event,
///     set: DescriptorSet::parse(&bytes[..len])?,
///     subject: Some(Subject::patient(Pseudonym::new("9d4e4f508a617b2c")?)),
///     clock: Some(Clock::new(1_795_324_399_000)),
/// };
/// let record = Record::Measurement(Measurement::new(1, Values::valid(&[72])?));
/// let record = BatchRecord { sequence: 41, time: Instant::from_millis(1_500), record };
///
/// let observations = context.observations(&record)?;
/// let heart_rate = &observations[0];
/// assert_eq!(heart_rate.code.code_in("http://loinc.org"), Some("8867-4"));
/// assert_eq!(heart_rate.effective_date_time.as_deref(), Some("2026-11-22T05:13:20.500Z"));
/// let value = heart_rate.value_quantity.as_ref().unwrap();
/// assert_eq!((value.value.as_ref().unwrap().as_str(), value.code.as_deref()), ("72", Some("/min")));
///
/// // back again
/// let parsed = fhir::parse(heart_rate, &context.set)?;
/// assert_eq!((parsed.id.sequence, parsed.time), (record.sequence, record.time));
/// assert_eq!(parsed.content.record(), Some(record.record));
///
/// // to the hospital; sent twice, it is stored once
/// let device = context.device_resource(&DeviceInfo::default());
/// let upload = fhir::to_json(&Bundle::transaction(Some(device), observations))?;
/// assert!(upload.contains(r#""ifNoneExist":"identifier=urn:vitalwire:record|0101010101010101/"#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// The device, as its credential names it.
    pub device: Identity,
    /// The number of the boot that the records are of.
    pub boot: u32,
    /// That boot's tag.
    pub tag: BootTag,
    /// The lane that the records came on.
    pub lane: Lane,
    /// The boot's descriptor set.
    pub set: DescriptorSet<'a>,
    /// Whom the records are about, if the application knows; profiles of vital signs need it.
    pub subject: Option<Subject>,
    /// When the device booted, if the application knows; without it the Observations say how long after the boot.
    pub clock: Option<Clock>,
}

/// What a Device resource says beside what the descriptors say; the default says nothing.
///
/// ```
/// use vitalwire::interop::fhir::DeviceInfo;
/// let info = DeviceInfo { manufacturer: Some("Example Corp."), model: Some("X1"), ..DeviceInfo::default() };
/// assert_eq!(info.name, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceInfo<'a> {
    /// What users call it. Not the patient's name.
    pub name: Option<&'a str>,
    /// Who made it.
    pub manufacturer: Option<&'a str>,
    /// Its model.
    pub model: Option<&'a str>,
    /// What it is: an ISO/IEEE 11073-10101 code.
    pub kind: Option<u32>,
}

impl Context<'_> {
    /// Writes a record: one Observation, but for a trend, which has one for each point.
    ///
    /// # Errors
    /// [`FhirError::NoForm`] for an extension record; [`FhirError::UnknownChannel`] and [`FhirError::WrongKind`] if it
    /// does not fit the descriptor set; [`FhirError::Time`] and [`FhirError::Number`] for a time or a value that has no
    /// decimal form.
    pub fn observations(&self, record: &BatchRecord<'_>) -> Result<Vec<Observation>, FhirError> {
        match &record.record {
            Record::Measurement(measurement) => Ok(vec![self.measurement(record, measurement)?]),
            Record::Trend(block) => self.trend(record, block),
            Record::Waveform(block) => Ok(vec![self.waveform(record, block)?]),
            Record::Event(event) => Ok(vec![self.event(record, event)?]),
            Record::Alarm(alarm) => Ok(vec![self.alarm(record, alarm)?]),
            Record::Gap(gap) => Ok(vec![self.gap(record, gap)?]),
            Record::Annotation(annotation) => Ok(vec![self.annotation(record, annotation)?]),
            Record::AlarmLimits(limits) => Ok(vec![self.alarm_limits(record, limits)?]),
            Record::Extension(_) => Err(FhirError::NoForm),
        }
    }

    /// Writes the device, with what its descriptor set says that it can tell.
    ///
    /// ```
    /// # use vitalwire::framing::*;
    /// # use vitalwire::identity::{Identity, IssuerId, SubjectId};
    /// # use vitalwire::interop::fhir::{Context, DeviceInfo};
    /// # let device = Identity { issuer: IssuerId([1; 8]), subject: SubjectId([2; 16]) };
    /// # let (boot, tag, lane, set) = (7, BootTag([0; 4]), Lane::Event, DescriptorSet::EMPTY);
    /// let context = Context { device, boot, tag, lane, set, subject: None, clock: None };
    /// let device = context.device_resource(&DeviceInfo { model: Some("X1"), ..DeviceInfo::default() });
    /// assert_eq!(device.model_number.as_deref(), Some("X1"));
    /// assert_eq!(device.identifier[0].system.as_deref(), Some("urn:vitalwire:device"));
    /// ```
    pub fn device_resource(&self, info: &DeviceInfo<'_>) -> Device {
        let named = |name: &str, kind: &str| DeviceName { name: name.to_owned(), kind: kind.to_owned() };
        let mut property: Vec<DeviceProperty> = Vec::new();
        for channel in self.set.channels() {
            for component in channel.components.iter() {
                let found = DeviceProperty {
                    kind: terms::concept(component.metric, Some(component.unit)),
                    value_code: terms::unit_concept(component.unit).into_iter().collect(),
                };
                if !property.contains(&found) {
                    property.push(found);
                }
            }
        }
        Device {
            identifier: vec![device_identifier(&self.device)],
            status: Some("active".to_owned()),
            manufacturer: info.manufacturer.map(str::to_owned),
            device_name: info.name.map(|name| named(name, "user-friendly-name")).into_iter().collect(),
            model_number: info.model.map(str::to_owned),
            kind: info.kind.map(|code| terms::concept(code, None)),
            property,
            ..Device::default()
        }
    }

    /// Writes what every Observation has.
    pub(super) fn base(
        &self,
        record: &BatchRecord<'_>,
        index: Option<u32>,
        kind: Kind,
        mode: Mode,
        code: CodeableConcept,
    ) -> Observation {
        let Self { device, boot, tag, lane, .. } = *self;
        let id = RecordId { device, boot, tag, lane, sequence: record.sequence, index };
        let mut observation = Observation {
            identifier: vec![id.identifier()],
            category: vec![own(KIND, kind.name())],
            code,
            // no test and no demonstration may get into a patient's record, whoever overlooks the label
            subject: self.subject.as_ref().filter(|_| mode == Mode::Real).map(Subject::reference),
            device: Some(Reference {
                reference: None,
                kind: Some("Device".to_owned()),
                identifier: Some(device_identifier(&device)),
            }),
            ..Observation::default()
        };
        mark(&mut observation.meta, mode);
        observation
    }

    /// Says when: at one time, or from one to another.
    pub(super) fn set_time(
        &self,
        observation: &mut Observation,
        start: Instant,
        end: Option<Instant>,
    ) -> Result<(), FhirError> {
        let date = |time| self.clock.map(|clock| clock.date_time(time)).transpose();
        let mut uptime = Extension::new(UPTIME);
        uptime.value_decimal = Some(start.as_millis().into());
        let mut extension = vec![uptime];
        match self.clock {
            None => {
                let mut absent = Extension::new(ABSENT_ELEMENT);
                absent.value_code = Some("unknown".to_owned());
                extension.push(absent);
            }
            Some(clock) => {
                let mut quality = Extension::new(CLOCK_QUALITY);
                quality.value_code = Some(quality_code(clock.quality()).to_owned());
                extension.push(quality);
                extension.extend(clock.quality().error().map(|error| {
                    let mut found = Extension::new(CLOCK_ERROR);
                    let value = Some(error.as_millis().into());
                    found.value_quantity = Some(Quantity { value, ..terms::with_unit(mdc::unit::MILLI_SEC) });
                    found
                }));
            }
        }
        match end {
            None => {
                observation.effective_date_time = date(start)?;
                observation.effective_date_time_element = Some(Element { extension });
            }
            Some(end) => {
                let (start, end) = (date(start)?, date(end)?);
                observation.effective_period = Some(Period { extension, start, end });
            }
        }
        Ok(())
    }

    /// Says where, and which channel, if its code does not tell.
    pub(super) fn set_channel(
        &self,
        observation: &mut Observation,
        kind: Kind,
        from: &ChannelDescriptor<'_>,
    ) {
        observation.body_site = (from.site != 0).then(|| terms::concept(from.site, None));
        if candidates(&self.set, kind, from.metric, from.site).count() > 1 {
            let mut extension = Extension::new(CHANNEL);
            extension.value_unsigned_int = Some(from.number.into());
            observation.extension.push(extension);
        }
    }

    /// Names the profile of a vital sign, if the Observation is as it asks: with a patient and a day.
    pub(super) fn set_profile(&self, observation: &mut Observation, channel: &ChannelDescriptor<'_>) {
        let Some(sign) = VitalSign::of_channel(channel) else { return };
        observation.category.insert(0, Coding::new(CATEGORY, "vital-signs").into());
        if observation.subject.is_some() && self.clock.is_some() {
            observation.meta.profile.push(sign.profile.to_owned());
        }
    }

    pub(super) fn channel(&self, number: u8, kind: Kind) -> Result<ChannelDescriptor<'_>, FhirError> {
        let channel = self.set.channel(number).ok_or(FhirError::UnknownChannel(number))?;
        if kind.fits(&channel) { Ok(channel) } else { Err(FhirError::WrongKind) }
    }
}

/// Lists the channels that an Observation of this kind, code and site can be of.
pub(super) fn candidates<'s>(
    set: &DescriptorSet<'s>,
    kind: Kind,
    metric: u32,
    site: u32,
) -> impl Iterator<Item = ChannelDescriptor<'s>> {
    set.channels().filter(move |found| kind.fits(found) && found.metric == metric && found.site == site)
}
