use super::FhirError;
use super::systems::{DEVICE, RECORD};
use super::types::Identifier;
use crate::framing::{BootTag, Lane};
use crate::identity::{Identity, IssuerId, SubjectId};
use core::fmt;
use core::str::FromStr;

/// Which record an Observation is: its identifier, the same whenever it is written again.
///
/// The text is `issuer/device/boot-tag/lane/sequence`, for a point of a trend `…/index`: issuer, device and tag in
/// lower-case hexadecimal, the numbers in decimal, the lane by name. It names a device, never a patient.
///
/// ```
/// use vitalwire::framing::Lane;
/// use vitalwire::interop::fhir::RecordId;
/// let text = "0011223344556677/000102030405060708090a0b0c0d0e0f/7-c0ffee01/trend/41/3";
/// let id: RecordId = text.parse()?;
/// assert_eq!((id.boot, id.lane, id.sequence, id.index), (7, Lane::Trend, 41, Some(3)));
/// assert_eq!(id.to_string(), text);
/// assert!("7/trend/41".parse::<RecordId>().is_err());
/// # Ok::<(), vitalwire::interop::fhir::FhirError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// The device.
    pub device: Identity,
    /// The boot number.
    pub boot: u32,
    /// The boot's tag.
    pub tag: BootTag,
    /// The lane.
    pub lane: Lane,
    /// The record's sequence in its stream.
    pub sequence: u64,
    /// Which point of a trend, from 0 on.
    pub index: Option<u32>,
}

impl RecordId {
    pub(super) fn identifier(&self) -> Identifier {
        Identifier { system: Some(RECORD.into()), value: Some(self.to_string()) }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let issuer = IssuerId(unhex(parts.next()?)?);
        let subject = SubjectId(unhex(parts.next()?)?);
        let (boot, tag) = parts.next()?.split_once('-')?;
        let lane = parts.next()?;
        let lane = Lane::ALL.into_iter().find(|found| lane_name(*found) == lane)?;
        let sequence = parts.next()?.parse().ok()?;
        let index = parts.next().map(str::parse).transpose().ok()?;
        let device = Identity { issuer, subject };
        let id = Self { device, boot: boot.parse().ok()?, tag: BootTag(unhex(tag)?), lane, sequence, index };
        // one text for each record: no leading zeros or signs, no capitals, nothing behind
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_device(&self.device, f)?;
        write!(f, "/{}-", self.boot)?;
        write_hex(&self.tag.0, f)?;
        write!(f, "/{}/{}", lane_name(self.lane), self.sequence)?;
        match self.index {
            Some(index) => write!(f, "/{index}"),
            None => Ok(()),
        }
    }
}

impl FromStr for RecordId {
    type Err = FhirError;

    fn from_str(text: &str) -> Result<Self, FhirError> {
        Self::parse(text).ok_or(FhirError::Unexpected("identifier"))
    }
}

/// Returns the identifier of a device.
pub(super) fn device_identifier(device: &Identity) -> Identifier {
    struct Text<'a>(&'a Identity);
    impl fmt::Display for Text<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_device(self.0, f)
        }
    }
    Identifier { system: Some(DEVICE.into()), value: Some(Text(device).to_string()) }
}

fn write_device(device: &Identity, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write_hex(&device.issuer.0, f)?;
    f.write_str("/")?;
    write_hex(&device.subject.0, f)
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let mut digits = text.chars().map(|digit| digit.to_digit(16));
    for byte in &mut bytes {
        *byte = u8::try_from(digits.next()?? << 4 | digits.next()??).ok()?;
    }
    digits.next().is_none().then_some(bytes)
}

/// Returns the name of a lane in identifiers.
pub(super) const fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Alarm => "alarm",
        Lane::Event => "event",
        Lane::Trend => "trend",
        Lane::Waveform => "waveform",
    }
}
