//! Pages and records on a flash: what is written once, checked, and found again.
//!
//! A page starts with a head, which says how young the page is. Records follow, each in whole *units* of 8 bytes, or of one word
//! where a word is longer. No unit is ever written twice between two erases.

use crate::Counters;
use embedded_storage_async::nor_flash::NorFlash;

/// The hardware has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An entry of a region.
    Entry = 1,
    /// The number below which a region is trimmed.
    Trim = 2,
    /// An item: its name in two bytes, then its value.
    Item = 3,
}

/// What is found at a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Every bit is one.
    Blank,
    /// No record starts here.
    Garbage,
    /// A record's head, without the rest: a write was cut. Its units cannot be written.
    Torn { extent: u32 },
    /// A whole record. `len` is the length of what was handed out, `name` the first two bytes.
    Record { kind: Kind, len: usize, name: [u8; 2], extent: u32 },
}

/// What is found at the start of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    Blank,
    Damaged,
    Page { seq: u64, first: u64 },
}

/// Pages of equal length, used in turn: page number `seq` is in place `seq % pages`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Area {
    pub(crate) start: u32,
    pub(crate) page_len: u32,
    pub(crate) pages: u32,
}

impl Area {
    fn base(&self, seq: u64) -> u32 {
        // Less than `pages`, and the layout's check says that all of them are within u32.
        let place = seq.checked_rem(u64::from(self.pages)).unwrap_or(0) as u32;
        self.start + place * self.page_len
    }
}

/// Bits of a record's number that are its unit in the page; the rest is the page's number.
pub(crate) const UNIT_BITS: u32 = 16;
/// The highest number of a page that is believed.
const SEQ_MAX: u64 = 1 << 40;
const MAGIC: [u8; 4] = *b"VWf1";
/// Bytes of a page's head: magic, number, watermark, CRC-32.
const HEAD_LEN: usize = 24;
/// Bytes of a record's head: length, kind, check, CRC-32.
const RECORD_HEAD: usize = 8;
/// The most bytes that are read or written at once, in a buffer on the stack.
const CHUNK: usize = 256;
/// How often a read is tried.
const READ_TRIES: u32 = 3;

/// Some drivers transfer by DMA, from and to aligned memory only.
#[repr(align(32))]
struct Chunk([u8; CHUNK]);

/// The flash, and the wear that is counted.
#[derive(Clone)]
pub(crate) struct Medium<F> {
    pub(crate) flash: F,
    pub(crate) counters: Counters,
}

impl<F: NorFlash> Medium<F> {
    /// Bytes of a unit.
    pub(crate) const UNIT: u32 = {
        assert!(F::WRITE_SIZE.is_power_of_two() && F::WRITE_SIZE <= CHUNK, "no such word size");
        let unit = if F::WRITE_SIZE > RECORD_HEAD { F::WRITE_SIZE } else { RECORD_HEAD };
        assert!(unit.is_multiple_of(F::READ_SIZE), "reads are larger than 8 bytes and a word");
        assert!(F::ERASE_SIZE.is_multiple_of(unit) && F::ERASE_SIZE / unit >= 16, "pages are too small");
        assert!(F::ERASE_SIZE / unit <= 1 << UNIT_BITS, "pages are too large");
        unit as u32
    };
    /// Units of a page's head.
    pub(crate) const HEAD: u32 = (HEAD_LEN as u32).div_ceil(Self::UNIT);

    /// Returns the units of a record with so many bytes. None is shorter than a trim's.
    pub(crate) const fn extent(len: u32) -> u32 {
        let len = if len < 8 { 8 } else { len };
        (RECORD_HEAD as u32).saturating_add(len).div_ceil(Self::UNIT)
    }

    /// Returns the units of a page.
    pub(crate) const fn units(area: &Area) -> u32 {
        area.page_len / Self::UNIT
    }

    async fn read(&mut self, address: u32, out: &mut [u8]) -> Result<(), Failed> {
        for _ in 0..READ_TRIES {
            if self.flash.read(address, out).await.is_ok() {
                return Ok(());
            }
        }
        Err(Failed)
    }

    /// Tells a word that cannot be read, as torn words of flash with ECC, from a flash that does not answer.
    async fn answers(&mut self, area: &Area) -> Result<(), Failed> {
        for seq in 0..u64::from(area.pages.min(4)) {
            let mut unit = Chunk([0; CHUNK]);
            let Some(out) = unit.0.get_mut(..Self::UNIT as usize) else { continue };
            if self.read(area.base(seq), out).await.is_ok() {
                return Ok(());
            }
        }
        self.counters.failures = self.counters.failures.saturating_add(1);
        Err(Failed)
    }

    async fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Failed> {
        self.counters.bytes_written += bytes.len() as u64;
        match self.flash.write(address, bytes).await {
            Ok(()) => Ok(()),
            Err(_) => {
                self.counters.failures = self.counters.failures.saturating_add(1);
                Err(Failed)
            }
        }
    }

    /// Erases a page.
    pub(crate) async fn erase(&mut self, area: &Area, seq: u64) -> Result<(), Failed> {
        let base = area.base(seq);
        self.counters.pages_erased += u64::from(area.page_len / F::ERASE_SIZE as u32);
        match self.flash.erase(base, base + area.page_len).await {
            Ok(()) => Ok(()),
            Err(_) => {
                self.counters.failures = self.counters.failures.saturating_add(1);
                Err(Failed)
            }
        }
    }

    /// Returns whether every bit of a page reads as one.
    pub(crate) async fn is_blank(&mut self, area: &Area, seq: u64) -> bool {
        let mut chunk = Chunk([0; CHUNK]);
        for offset in (0..area.page_len).step_by(Self::UNIT as usize) {
            let Some(out) = chunk.0.get_mut(..Self::UNIT as usize) else { return false };
            if self.read(area.base(seq) + offset, out).await.is_err() || out.iter().any(|b| *b != 0xFF) {
                return false;
            }
        }
        true
    }

    /// Reads the head of a page.
    pub(crate) async fn head(&mut self, area: &Area, place: u32) -> Result<Head, Failed> {
        let mut chunk = Chunk([0; CHUNK]);
        let Some(out) = chunk.0.get_mut(..(Self::HEAD * Self::UNIT) as usize) else { return Err(Failed) };
        if self.read(area.base(u64::from(place)), out).await.is_err() {
            self.answers(area).await?;
            return Ok(Head::Damaged);
        }
        if out.iter().all(|b| *b == 0xFF) {
            return Ok(Head::Blank);
        }
        let Some(head) = out.first_chunk::<HEAD_LEN>() else { return Err(Failed) };
        let (fields, crc) = head.split_at(HEAD_LEN - 4);
        let seq = number(fields, 4);
        let known = fields.starts_with(&MAGIC)
            && crc == Crc::new().with(fields).0.to_le_bytes()
            && (u64::from(area.pages)..SEQ_MAX).contains(&seq)
            && seq.checked_rem(u64::from(area.pages)) == Some(u64::from(place));
        // Whoever opens a page has trimmed what is before it at the most.
        let first = number(fields, 12);
        let known = known && first <= seq << UNIT_BITS;
        Ok(if known { Head::Page { seq, first } } else { Head::Damaged })
    }

    /// Writes the head of a page, and reads it back.
    pub(crate) async fn write_head(&mut self, area: &Area, seq: u64, first: u64) -> Result<(), Failed> {
        let mut chunk = Chunk([0xFF; CHUNK]);
        let crc = Crc::new().with(&MAGIC).with(&seq.to_le_bytes()).with(&first.to_le_bytes()).0;
        let parts: [&[u8]; 4] = [&MAGIC, &seq.to_le_bytes(), &first.to_le_bytes(), &crc.to_le_bytes()];
        for (slot, byte) in chunk.0.iter_mut().zip(parts.into_iter().flatten()) {
            *slot = *byte;
        }
        let Some(bytes) = chunk.0.get(..(Self::HEAD * Self::UNIT) as usize) else { return Err(Failed) };
        self.write(area.base(seq), bytes).await?;
        let place = seq.checked_rem(u64::from(area.pages)).unwrap_or(0) as u32;
        if self.head(area, place).await? == (Head::Page { seq, first }) {
            return Ok(());
        }
        self.counters.failures = self.counters.failures.saturating_add(1);
        Err(Failed)
    }

    /// Writes a record at a number, and reads it back. The head goes first: a cut leaves it doubtful, or everything after it.
    pub(crate) async fn write_record(
        &mut self,
        area: &Area,
        at: u64,
        kind: Kind,
        parts: [&[u8]; 2],
    ) -> Result<(), Failed> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let len = u16::try_from(len).map_err(|_| Failed)?;
        let [low, high] = len.to_le_bytes();
        let about = [low, high, kind as u8];
        let check = Crc::new().with(&at.to_le_bytes()).with(&about);
        let crc = parts.iter().fold(check, |crc, part| crc.with(part)).0.to_le_bytes();
        let total = Self::extent(u32::from(len)) * Self::UNIT;
        let base = area.base(at >> UNIT_BITS) + (at as u32 & 0xFFFF) * Self::UNIT;
        let mut offset = 0;
        while offset < total {
            let size = Self::step(offset, total);
            let mut chunk = Chunk([0xFF; CHUNK]);
            let stream: [&[u8]; 5] = [&about, &[check.short()], &crc, parts[0], parts[1]];
            let bytes = stream.into_iter().flatten().skip(offset as usize);
            for (slot, byte) in chunk.0.iter_mut().zip(bytes) {
                *slot = *byte;
            }
            self.write(base + offset, chunk.0.get(..size as usize).unwrap_or_default()).await?;
            offset += size;
        }
        match self.slot(area, at, &mut []).await? {
            Slot::Record { .. } => Ok(()),
            _ => {
                self.counters.failures = self.counters.failures.saturating_add(1);
                Err(Failed)
            }
        }
    }

    /// Returns how many bytes of a record are read or written at once: its first unit, then as many as fit a chunk.
    const fn step(offset: u32, total: u32) -> u32 {
        let most = CHUNK as u32 / Self::UNIT * Self::UNIT;
        let left = total - offset;
        if offset == 0 {
            Self::UNIT
        } else if left < most {
            left
        } else {
            most
        }
    }

    /// Reads what is at a number. As much of the payload as fits goes to `out`: of an item without its name.
    pub(crate) async fn slot(&mut self, area: &Area, at: u64, out: &mut [u8]) -> Result<Slot, Failed> {
        let unit = at as u32 & 0xFFFF;
        let base = area.base(at >> UNIT_BITS) + unit * Self::UNIT;
        let mut chunk = Chunk([0; CHUNK]);
        let Some(first) = chunk.0.get_mut(..Self::UNIT as usize) else { return Err(Failed) };
        if self.read(base, first).await.is_err() {
            self.answers(area).await?;
            return Ok(Slot::Garbage);
        }
        if first.iter().all(|b| *b == 0xFF) {
            return Ok(Slot::Blank);
        }
        let &mut [low, high, kind, short, c0, c1, c2, c3, ..] = first else { return Err(Failed) };
        let kind_code = kind;
        let Some(kind) = [Kind::Entry, Kind::Trim, Kind::Item].into_iter().find(|k| *k as u8 == kind) else {
            return Ok(Slot::Garbage);
        };
        let len = u16::from_le_bytes([low, high]);
        let extent = Self::extent(u32::from(len));
        let mut crc = Crc::new().with(&at.to_le_bytes()).with(&[low, high, kind_code]);
        if crc.short() != short || extent > Self::units(area).saturating_sub(unit) {
            return Ok(Slot::Garbage);
        }
        let skipped = if kind == Kind::Item { 2 } else { 0 };
        let mut name = [0; 2];
        // The payload, and where of it the chunk starts.
        let (end, mut offset) = (RECORD_HEAD + usize::from(len), 0);
        let total = extent * Self::UNIT;
        while offset < total {
            let size = Self::step(offset, total);
            let Some(part) = chunk.0.get_mut(..size as usize) else { return Err(Failed) };
            if offset > 0 && self.read(base + offset, part).await.is_err() {
                self.answers(area).await?;
                return Ok(Slot::Torn { extent });
            }
            let from = RECORD_HEAD.saturating_sub(offset as usize);
            let to = end.saturating_sub(offset as usize).min(size as usize);
            let payload = part.get(from..to).unwrap_or_default();
            let at = (offset as usize).saturating_sub(RECORD_HEAD);
            crc = crc.with(payload);
            for (slot, byte) in name.iter_mut().skip(at).zip(payload) {
                *slot = *byte;
            }
            let wanted = payload.iter().skip(usize::saturating_sub(skipped, at));
            for (slot, byte) in out.iter_mut().skip(at.saturating_sub(skipped)).zip(wanted) {
                *slot = *byte;
            }
            offset += size;
        }
        if crc.0.to_le_bytes() != [c0, c1, c2, c3] {
            return Ok(Slot::Torn { extent });
        }
        Ok(Slot::Record { kind, len: usize::from(len).saturating_sub(skipped), name, extent })
    }

    /// Reads a page's records to the end: returns the first unit that may be written, the last watermark, and whether
    /// damage was found.
    ///
    /// A head that was cut may read as blank and yet not be so. One unit is therefore left behind what is found. If power goes in
    /// the next unit too, at the next start, the one after that writes there again: it fails, and goes to another page.
    pub(crate) async fn survey(&mut self, area: &Area, seq: u64) -> Result<(u32, Option<u64>, bool), Failed> {
        let units = Self::units(area);
        let (mut unit, mut used, mut trimmed, mut damaged) = (Self::HEAD, Self::HEAD, None, false);
        while unit < units {
            let mut payload = [0; 8];
            let at = (seq << UNIT_BITS) + u64::from(unit);
            match self.slot(area, at, &mut payload).await? {
                Slot::Blank => unit += 1,
                Slot::Record { kind, extent, .. } => {
                    if kind == Kind::Trim {
                        // A watermark ahead of itself would trim what is still to come.
                        let first = Some(u64::from_le_bytes(payload));
                        trimmed = trimmed.max(first.filter(|first| *first <= at));
                    }
                    unit += extent;
                    used = used.max(unit);
                }
                found => {
                    // What is inside a torn record is not damage of its own.
                    if unit >= used {
                        damaged = true;
                        self.counters.damaged = self.counters.damaged.saturating_add(1);
                    }
                    used = used.max(unit + if let Slot::Torn { extent } = found { extent } else { 1 });
                    unit += 1;
                }
            }
        }
        Ok((used.saturating_add(1).min(units), trimmed, damaged))
    }
}

/// Reads a number of eight bytes at an offset.
fn number(bytes: &[u8], offset: usize) -> u64 {
    bytes.get(offset..).and_then(|rest| rest.first_chunk()).map_or(0, |number| u64::from_le_bytes(*number))
}

/// CRC-32 (ISO 3309), four bits at a time. It finds damage, not forgery: entries are sealed.
#[derive(Clone, Copy)]
struct Crc(u32);

impl Crc {
    const fn new() -> Self {
        Self(0)
    }

    fn with(self, bytes: &[u8]) -> Self {
        // Built by the compiler, which stops at an index that is not there.
        #[allow(clippy::indexing_slicing)]
        const TABLE: [u32; 16] = {
            let mut table = [0; 16];
            let mut i = 0;
            while i < 16 {
                let (mut value, mut bit) = (i as u32, 0);
                while bit < 4 {
                    value = if value & 1 == 1 { (value >> 1) ^ 0xEDB8_8320 } else { value >> 1 };
                    bit += 1;
                }
                table[i] = value;
                i += 1;
            }
            table
        };
        let mut crc = !self.0;
        for byte in bytes {
            crc ^= u32::from(*byte);
            for _ in 0..2 {
                crc = (crc >> 4) ^ TABLE.get(crc as usize & 0xF).copied().unwrap_or(0);
            }
        }
        Self(!crc)
    }

    /// Returns eight bits of it, which spare most of the reading where no record is.
    const fn short(self) -> u8 {
        (self.0 >> 24) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::Crc;

    /// The check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms.
    #[test]
    fn crc_has_its_check_value() {
        assert_eq!(Crc::new().with(b"1234").with(b"56789").0, 0xCBF4_3926);
    }
}
