//! The sealed form of what a device stores (SPEC.md, "Storage").

use crate::codec::{Reader, Writer};
use crate::crypto::{AeadKey, Forged, StorageKey, TAG_LEN};
use crate::framing::{BootTag, Lane};

/// The version of all that is stored.
const VERSION: u8 = 1;
/// Version, lane, boot number, boot tag, counter, first sequence, number of records.
const ENTRY_HEADER: usize = 1 + 1 + 4 + 4 + 4 + 8 + 1;
/// What an entry takes besides its records, in bytes.
pub const ENTRY_OVERHEAD: usize = ENTRY_HEADER + TAG_LEN;
const SALT_LEN: usize = 32;
/// Version and salt.
const ITEM_HEADER: usize = 1 + SALT_LEN;
/// What a sealed item takes besides its content, in bytes.
pub const ITEM_OVERHEAD: usize = ITEM_HEADER + TAG_LEN;

/// What stands in clear in front of an entry, authenticated with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHeader {
    /// The lane of the records.
    pub lane: Lane,
    /// The boot that accepted them.
    pub boot: u32,
    /// Its tag.
    pub tag: BootTag,
    /// How many entries of all lanes that boot had sealed before: never used twice.
    pub counter: u32,
    /// The first record's sequence.
    pub first: u64,
    /// How many records, 1 to 64.
    pub count: u8,
}

/// The key of what one boot stores, wiped on drop.
#[derive(Debug)]
pub struct SegmentKey(AeadKey);

impl SegmentKey {
    /// Derives the key of a boot: `Derive(Extract(salt, storage key), "storage segment", "")`.
    pub fn new(key: &StorageKey, salt: &[u8; 32]) -> Self {
        Self(key.derive(salt, "storage segment"))
    }
}

impl EntryHeader {
    /// Reads the header of an entry, which may be anything: nothing is authenticated here.
    pub fn parse(entry: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(entry);
        let header = Self::read(&mut reader)?;
        (reader.remaining() > TAG_LEN && (1..=64).contains(&header.count)).then_some(header)
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        if reader.u8().ok()? != VERSION {
            return None;
        }
        Some(Self {
            lane: Lane::from_code(reader.u8().ok()?)?,
            boot: reader.u32().ok()?,
            tag: BootTag(reader.array().ok()?),
            counter: reader.u32().ok()?,
            first: u64::from_le_bytes(reader.array().ok()?),
            count: reader.u8().ok()?,
        })
    }

    fn write(&self, out: &mut Writer<'_>) -> Option<()> {
        out.u8(VERSION).ok()?;
        out.u8(self.lane.code()).ok()?;
        out.u32(self.boot).ok()?;
        out.bytes(&self.tag.0).ok()?;
        out.u32(self.counter).ok()?;
        out.bytes(&self.first.to_le_bytes()).ok()?;
        out.u8(self.count).ok()
    }

    /// One above the last record's sequence.
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.count.into())
    }

    /// A counter is used once under its boot's key, whichever the lane; the lane is in it all the same.
    fn nonce(&self) -> u64 {
        u64::from(self.counter) << 2 | u64::from(self.lane.code())
    }

    /// Returns the part of `buffer` where the records of an entry go, before [`EntryHeader::seal`].
    pub fn body(buffer: &mut [u8]) -> &mut [u8] {
        let end = buffer.len().saturating_sub(TAG_LEN);
        buffer.get_mut(ENTRY_HEADER..end).unwrap_or_default()
    }

    /// Seals the first `len` bytes of [`EntryHeader::body`] and returns the length of the entry, at the front of
    /// `buffer`; `None` if it does not fit.
    ///
    /// # Security
    /// The counter must never be used twice under this key.
    //= SPEC.md#stored-entries
    //# A device MUST NOT seal two entries of a boot with the same counter.
    pub fn seal(&self, key: &SegmentKey, buffer: &mut [u8], len: usize) -> Option<usize> {
        let (head, rest) = buffer.split_at_mut_checked(ENTRY_HEADER)?;
        self.write(&mut Writer::new(head))?;
        let (body, rest) = rest.split_at_mut_checked(len)?;
        let tag_space = rest.first_chunk_mut::<TAG_LEN>()?;
        *tag_space = key.0.seal(self.nonce(), head, body)?;
        len.checked_add(ENTRY_OVERHEAD)
    }

    /// Opens an entry in place and returns its records, to be read with
    /// [`RunReader`](crate::framing::RunReader).
    ///
    /// # Errors
    /// [`Forged`], whatever was wrong.
    pub fn open<'e>(&self, key: &SegmentKey, entry: &'e mut [u8]) -> Result<&'e [u8], Forged> {
        let (head, rest) = entry.split_at_mut_checked(ENTRY_HEADER).ok_or(Forged)?;
        let len = rest.len().checked_sub(TAG_LEN).ok_or(Forged)?;
        let (body, tag) = rest.split_at_mut_checked(len).ok_or(Forged)?;
        let tag = tag.first_chunk::<TAG_LEN>().ok_or(Forged)?;
        key.0.open(self.nonce(), head, body, tag)?;
        Ok(body)
    }
}

/// Which item a sealed value belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Boots,
    Descriptors(u32, BootTag),
}

impl Purpose {
    const fn label(self) -> &'static str {
        match self {
            Self::Boots => "storage boots",
            Self::Descriptors(..) => "storage descriptors",
        }
    }

    /// Version, then the boot for descriptors.
    fn aad(self) -> [u8; 9] {
        let (boot, tag) = match self {
            Self::Boots => (0, BootTag([0; 4])),
            Self::Descriptors(boot, tag) => (boot, tag),
        };
        let ([a, b, c, d], [e, f, g, h]) = (boot.to_le_bytes(), tag.0);
        [VERSION, a, b, c, d, e, f, g, h]
    }
}

/// Where an item's content goes before it is sealed.
pub(super) fn item_body(buffer: &mut [u8]) -> &mut [u8] {
    let end = buffer.len().saturating_sub(TAG_LEN);
    buffer.get_mut(ITEM_HEADER..end).unwrap_or_default()
}

/// Seals the first `len` bytes of [`item_body`]; `salt` must be fresh random bytes each time.
pub(super) fn seal_item(
    key: &StorageKey,
    purpose: Purpose,
    salt: [u8; SALT_LEN],
    buffer: &mut [u8],
    len: usize,
) -> Option<usize> {
    let sealing = key.derive(&salt, purpose.label());
    let (head, rest) = buffer.split_at_mut_checked(ITEM_HEADER)?;
    let mut writer = Writer::new(head);
    writer.u8(VERSION).ok()?;
    writer.bytes(&salt).ok()?;
    let (body, rest) = rest.split_at_mut_checked(len)?;
    let tag_space = rest.first_chunk_mut::<TAG_LEN>()?;
    *tag_space = sealing.seal(0, &purpose.aad(), body)?;
    len.checked_add(ITEM_OVERHEAD)
}

/// Opens an item in place and returns its content.
pub(super) fn open_item<'i>(
    key: &StorageKey,
    purpose: Purpose,
    item: &'i mut [u8],
) -> Result<&'i [u8], Forged> {
    let (head, rest) = item.split_at_mut_checked(ITEM_HEADER).ok_or(Forged)?;
    let (version, salt) = head.split_first().ok_or(Forged)?;
    let salt = salt.first_chunk::<SALT_LEN>().filter(|_| *version == VERSION).ok_or(Forged)?;
    let len = rest.len().checked_sub(TAG_LEN).ok_or(Forged)?;
    let (body, tag) = rest.split_at_mut_checked(len).ok_or(Forged)?;
    let tag = tag.first_chunk::<TAG_LEN>().ok_or(Forged)?;
    key.derive(salt, purpose.label()).open(0, &purpose.aad(), body, tag)?;
    Ok(body)
}
