//! How the data model serialises: the same shape in every format, names in snake case, bytes as hex where people
//! read. What could not be encoded is refused.

use core::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::ser::{SerializeSeq, SerializeStruct};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    Absence, AlarmLimits, BootTag, Component, Components, DescriptorSet, Gap, Rate, SetHash, TrendBlock,
    TrendPoint, Value, Values, WaveformBlock,
};
use crate::limits::{MAX_COMPONENTS, MAX_WAVEFORM_COMPONENTS};
use crate::time::Duration;

/// Serialises and deserialises by what `#[serde(remote = "Self")]` derives, and refuses what does not hold.
macro_rules! checked {
    ($name:ident, $what:literal, |$this:ident| $holds:expr) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let $this = Self::deserialize(deserializer)?;
                if $holds { Ok($this) } else { Err(serde::de::Error::custom($what)) }
            }
        }
    };
}
#[cfg(feature = "alloc")]
pub(super) use checked;

checked!(Rate, "a rate of so many samples in no time", |rate| rate.denominator != 0);
checked!(Component, "a scale of zero, or a mantissa of more than 32 bits", |component| {
    let fits = |decimal: super::Decimal| i32::try_from(decimal.mantissa).is_ok();
    component.scale.mantissa != 0 && fits(component.scale) && fits(component.offset)
});
checked!(Gap, "a gap of no sequences, or beyond the last one", |gap| {
    gap.count != 0 && gap.first.checked_add(gap.count).is_some()
});
// which limit is above the other one depends on the sign of the channel's scale
checked!(AlarmLimits, "limits of no component", |limits| {
    usize::from(limits.component) < MAX_WAVEFORM_COMPONENTS
});

/// An iterator as a sequence of known length, which some formats need.
struct Sequence<I>(usize, I);

impl<T: Serialize, I: Iterator<Item = T> + Clone> Serialize for Sequence<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.0))?;
        self.1.clone().try_for_each(|item| sequence.serialize_element(&item))?;
        sequence.end()
    }
}

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Values;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("1 to 8 values")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Values, A::Error> {
                let mut all = [Value::Absent(Absence::Unknown); MAX_COMPONENTS];
                let mut len = 0usize;
                while let Some(value) = values.next_element()? {
                    let place = all.get_mut(len).ok_or_else(|| de::Error::invalid_length(len, &self))?;
                    *place = value;
                    len = len.saturating_add(1);
                }
                let all = all.get(..len).unwrap_or_default();
                Values::new(all).map_err(|_| de::Error::invalid_length(len, &self))
            }
        }

        deserializer.deserialize_seq(Read)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "TrendPoint")]
struct PointData {
    offset: Duration,
    raw: i32,
}

impl Serialize for TrendPoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        PointData { offset: self.offset, raw: self.raw }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TrendPoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        PointData::deserialize(deserializer).map(|point| Self { offset: point.offset, raw: point.raw })
    }
}

/// The numbers of one component of a block, or why there are none.
struct Series<I>(usize, Result<I, Absence>);

impl<I: Iterator<Item = i32> + Clone> Serialize for Series<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.1 {
            Ok(numbers) => {
                let numbers = Sequence(self.0, numbers.clone());
                serializer.serialize_newtype_variant("Series", 0, "present", &numbers)
            }
            Err(absence) => serializer.serialize_newtype_variant("Series", 1, "absent", absence),
        }
    }
}

impl Serialize for TrendBlock<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let series = |component| {
            let numbers = self.rows().filter_map(move |(_, row)| row.get(component));
            Series(self.len(), self.absence(component).map_or(Ok(numbers), Err))
        };
        let mut block = serializer.serialize_struct("Trend", 4)?;
        block.serialize_field("channel", &self.channel)?;
        block.serialize_field("status", &self.status)?;
        block.serialize_field("offsets", &Sequence(self.len(), self.rows().map(|(offset, _)| offset)))?;
        block.serialize_field(
            "components",
            &Sequence(self.components(), (0..self.components()).map(series)),
        )?;
        block.end()
    }
}

impl Serialize for WaveformBlock<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let series = |component| {
            Series(self.len(), self.absence(component).map_or_else(|| Ok(self.component(component)), Err))
        };
        let mut block = serializer.serialize_struct("Waveform", 5)?;
        block.serialize_field("channel", &self.channel)?;
        block.serialize_field("first_sample", &self.first_sample)?;
        block.serialize_field("status", &self.status)?;
        block.serialize_field("rows", &self.len())?;
        block.serialize_field(
            "components",
            &Sequence(self.components(), (0..self.components()).map(series)),
        )?;
        block.end()
    }
}

impl Serialize for Components<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut components = serializer.serialize_seq(Some(self.len()))?;
        self.iter().try_for_each(|component| components.serialize_element(&component))?;
        components.end()
    }
}

/// As the sequence of its channels.
impl Serialize for DescriptorSet<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut channels = serializer.serialize_seq(Some(self.channels().count()))?;
        self.channels().try_for_each(|channel| channels.serialize_element(&channel))?;
        channels.end()
    }
}

/// Bytes as hex.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Reads hex, two digits a byte; ends with `None` where it is not hex.
fn unhex(text: &str) -> impl Iterator<Item = Option<u8>> + '_ {
    let digit = |c: u8| char::from(c).to_digit(16).filter(|_| !c.is_ascii_uppercase());
    text.as_bytes().chunks(2).map(move |pair| match pair {
        [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    })
}

/// Bytes: hex where people read, and else as they are.
pub(super) mod bytes {
    use super::Hex;
    use serde::Serializer;

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
    pub(in crate::framing) fn serialize<S: Serializer>(
        bytes: impl AsRef<[u8]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(&Hex(bytes.as_ref()));
        }
        serializer.serialize_bytes(bytes.as_ref())
    }

    #[cfg(feature = "alloc")]
    pub(in crate::framing) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<alloc::vec::Vec<u8>, D::Error> {
        struct Read;

        impl<'de> serde::de::Visitor<'de> for Read {
            type Value = alloc::vec::Vec<u8>;

            fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str("bytes, or hex digits")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(bytes.to_vec())
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                let bytes = super::unhex(text).collect::<Option<_>>();
                bytes.ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }

        if deserializer.is_human_readable() {
            return deserializer.deserialize_str(Read);
        }
        deserializer.deserialize_byte_buf(Read)
    }
}

/// Identifiers of a few bytes: hex where people read, and else an array.
macro_rules! identifiers {
    ($($name:ident: $len:literal),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    return serializer.collect_str(&Hex(&self.0));
                }
                self.0.serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Read;

                impl Visitor<'_> for Read {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!($len, " bytes in hex"))
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        let wrong = || E::invalid_value(de::Unexpected::Str(text), &self);
                        let mut id = [0u8; $len];
                        let mut bytes = unhex(text);
                        for place in &mut id {
                            *place = bytes.next().flatten().ok_or_else(wrong)?;
                        }
                        if bytes.next().is_none() { Ok($name(id)) } else { Err(wrong()) }
                    }
                }

                if deserializer.is_human_readable() {
                    return deserializer.deserialize_str(Read);
                }
                Deserialize::deserialize(deserializer).map(Self)
            }
        }
    )*};
}

identifiers!(BootTag: 4, SetHash: 16);
