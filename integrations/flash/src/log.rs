//! A region: a log over pages that are used in turn.
//!
//! An entry's number is where it is: the page's number, then the unit in the page. Numbers therefore ascend whatever happens,
//! and a read finds the next entry without an index.
//!
//! The watermark `first` is the number below which everything is trimmed. It is appended to the youngest page, and stands in the
//! head of each page that is opened: so it is never on a page that may be erased.

use crate::medium::{Area, Failed, Head, Kind, Medium, Slot, UNIT_BITS};
use embedded_storage_async::nor_flash::NorFlash;

/// Room for so many watermarks is kept beyond what is needed: power cuts leave torn ones.
const SPARE_TRIMS: u32 = 4;
/// How many pages that cannot be erased or written are passed over in one request.
const BAD_PAGES: usize = 3;

/// What is known of a region in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log {
    /// The youngest page.
    head: u64,
    /// Its first unit that may be written.
    pos: u32,
    /// The number below which everything is trimmed.
    first: u64,
    /// The last write has failed.
    failing: bool,
}

/// What became of an append.
pub(crate) enum Appended {
    At { number: u64, free: u32 },
    Full,
}

impl Log {
    /// Finds the youngest page, its end and the watermark.
    pub(crate) async fn mount<F: NorFlash>(medium: &mut Medium<F>, area: &Area) -> Result<Self, Failed> {
        let mut youngest = None;
        for place in 0..area.pages {
            match medium.head(area, place).await? {
                Head::Page { seq, first } => youngest = youngest.max(Some((seq, first))),
                Head::Damaged => medium.counters.damaged = medium.counters.damaged.saturating_add(1),
                Head::Blank => {}
            }
        }
        let pages = u64::from(area.pages);
        let Some((head, first)) = youngest else {
            // Nothing is there. The first page to be opened is in place 0.
            let (head, pos) = (pages.saturating_sub(1), Medium::<F>::units(area));
            return Ok(Self { head, pos, first: pages << UNIT_BITS, failing: false });
        };
        let (pos, trimmed, _) = medium.survey(area, head).await?;
        let mut log = Self { head, pos, first, failing: false };
        let oldest = (head + 1).saturating_sub(pages) << UNIT_BITS;
        log.first = first.max(trimmed.unwrap_or(0)).max(oldest).min(log.end());
        Ok(log)
    }

    /// Returns the number that the next record has if it fits the page.
    fn end(&self) -> u64 {
        (self.head << UNIT_BITS) + u64::from(self.pos)
    }

    /// Returns how many pages may be erased.
    fn free_pages(&self, area: &Area) -> u64 {
        let used = (self.head + 1).saturating_sub(self.first >> UNIT_BITS);
        u64::from(area.pages).saturating_sub(used)
    }

    /// Finds the oldest entry from a number on; its bytes go to `out`, as many as fit.
    pub(crate) async fn find<F: NorFlash>(
        &self,
        medium: &mut Medium<F>,
        area: &Area,
        from: u64,
        out: &mut [u8],
    ) -> Result<Option<(u64, usize)>, Failed> {
        let mut at = from.max(self.first);
        while at < self.end() {
            let unit = at as u32 & 0xFFFF;
            if unit < Medium::<F>::HEAD {
                at += u64::from(Medium::<F>::HEAD - unit);
            } else if unit >= Medium::<F>::units(area) {
                at = ((at >> UNIT_BITS) + 1) << UNIT_BITS;
            } else {
                match medium.slot(area, at, out).await? {
                    Slot::Record { kind: Kind::Entry, len, .. } => return Ok(Some((at, len))),
                    Slot::Record { extent, .. } => at += u64::from(extent),
                    Slot::Torn { .. } => {
                        medium.counters.damaged = medium.counters.damaged.saturating_add(1);
                        at += 1;
                    }
                    Slot::Blank | Slot::Garbage => at += 1,
                }
            }
        }
        Ok(None)
    }

    /// Counts the live entries of the oldest page that has any, and moves the watermark in memory up to the first of them.
    async fn oldest<F: NorFlash>(&mut self, medium: &mut Medium<F>, area: &Area) -> Result<u32, Failed> {
        let mut count = 0;
        let mut at = self.first;
        while let Some((number, _)) = self.find(medium, area, at, &mut []).await? {
            if count == 0 {
                self.first = number;
            } else if number >> UNIT_BITS != self.first >> UNIT_BITS {
                break;
            }
            count += 1;
            at = number + 1;
        }
        if count == 0 {
            self.first = self.end();
        }
        Ok(count)
    }

    /// Appends an entry. Room for the watermarks that may come before a page is free again stays.
    pub(crate) async fn append<F: NorFlash>(
        &mut self,
        medium: &mut Medium<F>,
        area: &Area,
        entry: &[u8],
    ) -> Result<Appended, Failed> {
        let units = Medium::<F>::units(area);
        let extent = u32::try_from(entry.len()).map_or(u32::MAX, Medium::<F>::extent);
        if entry.len() > usize::from(u16::MAX) || extent > units - Medium::<F>::HEAD {
            return Ok(Appended::Full);
        }
        let opens = self.pos + extent > units;
        if self.free_pages(area) <= u64::from(opens) {
            let live = self.oldest(medium, area).await?;
            let free = self.free_pages(area);
            let from = if opens { Medium::<F>::HEAD } else { self.pos };
            let room = units - from - extent.min(units - from);
            if free < u64::from(opens) || free == u64::from(opens) && room < Self::reserve::<F>(live) {
                return Ok(Appended::Full);
            }
        }
        if opens && !self.open(medium, area, self.first).await? {
            return Ok(Appended::Full);
        }
        let number = self.end();
        self.write(medium, area, Kind::Entry, entry, extent).await?;
        let free = u64::from(units - self.pos) + self.free_pages(area) * u64::from(units - Medium::<F>::HEAD);
        let free = free.saturating_sub(u64::from(Self::reserve::<F>(0))) * u64::from(Medium::<F>::UNIT);
        Ok(Appended::At { number, free: u32::try_from(free).unwrap_or(u32::MAX) })
    }

    /// Returns the units that are kept for watermarks when no page is free. The one that frees the page needs no room.
    const fn reserve<F: NorFlash>(live: u32) -> u32 {
        Medium::<F>::extent(8) * (live.saturating_sub(1) + SPARE_TRIMS)
    }

    /// Trims what is numbered up to `through`. Returns whether the watermark has found room.
    pub(crate) async fn trim<F: NorFlash>(
        &mut self,
        medium: &mut Medium<F>,
        area: &Area,
        through: u64,
    ) -> Result<bool, Failed> {
        match self.find(medium, area, 0, &mut []).await? {
            Some((number, _)) if number <= through => {}
            // Nothing of it is there: nothing needs to be written.
            _ => return Ok(true),
        }
        let next = self.find(medium, area, through.saturating_add(1), &mut []).await?;
        let first = next.map_or(self.end(), |(number, _)| number);
        let extent = Medium::<F>::extent(8);
        if self.pos + extent > Medium::<F>::units(area) {
            return self.open(medium, area, first).await;
        }
        self.write(medium, area, Kind::Trim, &first.to_le_bytes(), extent).await?;
        self.first = first;
        Ok(true)
    }

    /// Writes a record at the end of the youngest page. When that fails, the next one goes behind what was touched; when two fail
    /// in a row, to another page.
    async fn write<F: NorFlash>(
        &mut self,
        medium: &mut Medium<F>,
        area: &Area,
        kind: Kind,
        payload: &[u8],
        extent: u32,
    ) -> Result<(), Failed> {
        let written = medium.write_record(area, self.end(), kind, [payload, &[]]).await;
        self.pos = if written.is_ok() {
            self.pos + extent
        } else if self.failing {
            Medium::<F>::units(area)
        } else {
            let touched = medium.survey(area, self.head).await;
            touched.map_or(Medium::<F>::units(area), |(pos, ..)| pos.max(self.pos + 1))
        };
        self.failing = written.is_err();
        written
    }

    /// Erases the next page and makes it the youngest, with a watermark. Returns whether there was a page.
    ///
    /// The page is always erased, also if it looks so: an erase that was cut may leave bits that do not last.
    async fn open<F: NorFlash>(
        &mut self,
        medium: &mut Medium<F>,
        area: &Area,
        first: u64,
    ) -> Result<bool, Failed> {
        let pages = u64::from(area.pages);
        let (mut result, empty) = (Ok(false), first >= self.end());
        // The youngest page holds the watermark. Before the first page is opened there is none.
        let most = pages - u64::from(self.head >= pages);
        for seq in (self.head + 1..=self.head + most).take(1 + BAD_PAGES) {
            let first = if empty { seq << UNIT_BITS } else { first };
            if seq >= (first >> UNIT_BITS) + pages {
                break;
            }
            let mut opened = medium.erase(area, seq).await;
            if opened.is_ok() {
                opened = medium.write_head(area, seq, first).await;
            }
            if opened.is_ok() {
                (self.head, self.pos, self.first) = (seq, Medium::<F>::HEAD, first);
                return Ok(true);
            }
            result = Err(Failed);
        }
        result
    }
}
