//! What the fields of events are on disk: each type has one encoding.

use crate::codec::{DecodeError, Reader, varint_len, zigzag};
use crate::error::{CloseReason, Discard};
use crate::framing::{BootTag, Lane};
use crate::identity::{Identity, IssuerId, Scopes, SubjectId};
use crate::time::UnixSeconds;
use crate::wire::{Pattern, PskId};
use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// The longest [`Name`], in bytes.
const MAX_NAME: usize = 32;
/// The longest list of one event.
const MAX_LIST: usize = 64;

/// A short word, such as the name of a [`Discard`]: an old log can be read where the word is not known any more.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Cow<'static, str>);

impl Name {
    /// Returns the word.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The variant of an error, without what it carries.
    pub(crate) fn of_variant(error: &dyn fmt::Debug) -> Self {
        let text = alloc::format!("{error:?}");
        Self::from(text.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default())
    }
}

/// Keeps the first 32 bytes that are graphic ASCII.
impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self(Cow::Owned(text.chars().filter(char::is_ascii_graphic).take(MAX_NAME).collect()))
    }
}

impl From<Discard> for Name {
    fn from(discard: Discard) -> Self {
        Self(Cow::Borrowed(discard.name()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How often something happened, by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Count {
    /// What.
    pub name: Name,
    /// How often.
    pub count: u64,
}

/// Names a person or service that acted, in the operator's own registry; a pseudonym, never a name in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OperatorId(pub [u8; 16]);

/// One field of an event.
pub(super) trait Field: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;
    /// As `show` prints it.
    fn show(&self) -> String;
}

pub(super) fn put_varint(value: u64, out: &mut Vec<u8>) {
    let len = varint_len(value);
    let bytes = (0..len).map(|index| {
        let low = (value.checked_shr(7u32.saturating_mul(index as u32)).unwrap_or(0) & 0x7f) as u8;
        if index.saturating_add(1) < len { low | 0x80 } else { low }
    });
    out.extend(bytes);
}

macro_rules! numbers {
    ($($ty:ty),*) => {$(
        impl Field for $ty {
            fn put(&self, out: &mut Vec<u8>) {
                put_varint(u64::from(*self), out);
            }
            fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                reader.varint_as()
            }
            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
numbers!(u8, u16, u32, u64);

impl Field for i64 {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(zigzag(*self), out);
    }
    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.signed()
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| alloc::format!("{byte:02x}")).collect()
}

macro_rules! byte_arrays {
    ($($ty:ident [$len:literal]),*) => {$(
        impl Field for $ty {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0);
            }
            fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(Self(reader.array::<$len>()?))
            }
            fn show(&self) -> String {
                hex(&self.0)
            }
        }
    )*};
}
byte_arrays!(IssuerId[8], SubjectId[16], OperatorId[16], BootTag[4], PskId[8]);

impl Field for Identity {
    fn put(&self, out: &mut Vec<u8>) {
        self.issuer.put(out);
        self.subject.put(out);
    }
    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { issuer: Field::take(reader)?, subject: Field::take(reader)? })
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Field for Scopes {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.bits().into(), out);
    }
    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.varint_as().map(Self::from_bits)
    }
    fn show(&self) -> String {
        alloc::format!("{:#x}", self.bits())
    }
}

impl Field for UnixSeconds {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.0, out);
    }
    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.varint().map(Self)
    }
    fn show(&self) -> String {
        super::show::utc(self.0.saturating_mul(1000))
    }
}

impl Field for CloseReason {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(self.code());
    }
    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = reader.u8()?;
        let reason = Self::from_code(code);
        // So that what was read is written again as it was.
        if reason.code() == code { Ok(reason) } else { Err(DecodeError::OutOfRange) }
    }
    fn show(&self) -> String {
        alloc::format!("{self:?}")
    }
}

impl Field for Lane {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(self.code());
    }
    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::from_code(reader.u8()?).ok_or(DecodeError::OutOfRange)
    }
    fn show(&self) -> String {
        alloc::format!("{self:?}")
    }
}

impl Field for Pattern {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(self.byte());
        if let Self::XxPsk3(id) = self {
            id.put(out);
        }
    }
    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            1 => Self::Xx,
            2 => Self::Ik,
            3 => Self::XxPsk3(Field::take(reader)?),
            4 => Self::IkPsk2,
            5 => Self::Resume,
            _ => return Err(DecodeError::OutOfRange),
        })
    }
    fn show(&self) -> String {
        match self {
            Self::XxPsk3(id) => alloc::format!("XxPsk3({})", id.show()),
            other => alloc::format!("{other:?}"),
        }
    }
}

impl Field for Name {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.0.len() as u64, out);
        out.extend_from_slice(self.0.as_bytes());
    }
    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let text = core::str::from_utf8(reader.prefixed(MAX_NAME)?).map_err(|_| DecodeError::OutOfRange)?;
        let name = Self::from(text);
        if name.0 == text { Ok(name) } else { Err(DecodeError::OutOfRange) }
    }
    fn show(&self) -> String {
        self.0.clone().into_owned()
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(None),
            1 => T::take(reader).map(Some),
            _ => Err(DecodeError::OutOfRange),
        }
    }
    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "none".into(), Field::show)
    }
}

impl Field for Count {
    fn put(&self, out: &mut Vec<u8>) {
        self.name.put(out);
        put_varint(self.count, out);
    }
    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { name: Field::take(reader)?, count: reader.varint()? })
    }
    fn show(&self) -> String {
        alloc::format!("{} {}", self.name, self.count)
    }
}

/// What is above the bound is cut off: no event has so many.
impl<T: Field> Field for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(self.len().min(MAX_LIST) as u64, out);
        self.iter().take(MAX_LIST).for_each(|one| one.put(out));
    }
    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len: usize = reader.varint_as()?;
        if len > MAX_LIST {
            return Err(DecodeError::OutOfRange);
        }
        (0..len).map(|_| T::take(reader)).collect()
    }
    fn show(&self) -> String {
        self.iter().map(Field::show).collect::<Vec<_>>().join(", ")
    }
}

/// One more than the discards: `EventsLost` is counted with them.
const _: () = assert!(Discard::ALL.len() < MAX_LIST);
