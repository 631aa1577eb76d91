//! Serves vitalwire's [storage requests](vitalwire::storage) on NOR flash.
//!
//! [`FlashStore`] takes any driver of the `embedded-storage-async` traits, or a blocking one in [`Blocking`]. It holds the
//! contract of [`vitalwire::storage`] on every kind of NOR flash, because it asks for the least: **no word is written twice between
//! two erases**. So it works on flash with ECC, on flash whose words may be written again, and with words of 1 to 256 bytes.
//!
//! # Example
//! ```
//! use vitalwire::framing::Lane;
//! use vitalwire::storage::{Item, StorageReply, StorageRequest};
//! use vitalwire_flash::{Blocking, FlashStore, Layout, model::Nor};
//!
//! // 64 KB in pages of 4 KB, words of 8 bytes.
//! let flash = Nor::<8, 4096>::new(16, 1);
//! let layout = Layout {
//!     items: 0..0x2000,
//!     regions: [0x2000..0x4000, 0x4000..0x6000, 0x6000..0x8000, 0x8000..0x10000],
//! };
//! let mut store = FlashStore::new(Blocking(flash), layout)?;
//! let mut buf = [0; 1024];
//!
//! let request = StorageRequest::Append { region: Lane::Alarm, entry: b"sealed" };
//! let StorageReply::Appended { number, .. } = store.serve_blocking(request, &mut buf) else { panic!() };
//! let request = StorageRequest::Read { region: Lane::Alarm, after: None };
//! assert_eq!(store.serve_blocking(request, &mut buf), StorageReply::Entry { number, bytes: b"sealed" });
//! let request = StorageRequest::Get { item: Item::Ticket };
//! assert_eq!(store.serve_blocking(request, &mut buf), StorageReply::Value(None));
//! # Ok::<(), vitalwire_flash::LayoutError>(())
//! ```
//!
//! # What is where
//! A **region** is a log over its pages, used in turn. An entry takes a head of 8 bytes and is never split between pages. What is
//! trimmed stays in the memory, sealed, until its page is erased: when the next page is needed, so one append in a page's worth
//! waits for an erase. Room comes back a page at a time. A little room is kept, so that a full region can still be trimmed.
//!
//! The **items** have two halves of their range, of which one is in use. Deleting an item copies the others to the other half and
//! erases this one, old values of the item and all: one erase of the half. A value that another put replaced stays readable until
//! then, or until the half is full.
//!
//! # Power cuts and damage
//! Every record and page head carries a CRC, and is read back when it was written. What is found damaged is skipped and counted
//! ([`Counters::damaged`]). A page is erased immediately before it is used. After a start, 8 bytes (a
//! word, if it is longer) are left out behind the last thing found, because a word that was cut may read as blank. A word that cannot be read, as flash with ECC has
//! them after a cut, counts as damaged if the flash answers elsewhere.
//!
//! A request whose write fails is tried again, further on and then on another page. A page that fails is passed over, and tried again in the next round;
//! entries that it still shows stay readable. A region works on while it has two good pages. The items have no page to spare: when the half in use is full and the other fails, a
//! change answers `Failed`.
//!
//! It relies on this: what was written whole reads the same for ever, and what was cut reads the same each time.
//!
//! # Memory
//! A few words per region, and a buffer of 256 bytes on the stack or in the future. Dropping the future of [`FlashStore::serve`]
//! is like a power cut: what was asked is done or not, and the region is read again at the next request.
#![cfg_attr(not(any(feature = "model", test)), no_std)]
#![deny(missing_docs)]
// Numbers read from flash are bounded where they are parsed (`medium`), so that sums of them cannot overflow.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod blocking;
mod items;
mod log;
mod medium;
#[cfg(feature = "model")]
pub mod model;
#[cfg(feature = "model")]
pub mod owned;

pub use blocking::Blocking;

use core::ops::Range;
use embedded_storage_async::nor_flash::NorFlash;
use items::{Change, Items};
use log::{Appended, Log};
use medium::{Area, Failed, Medium};
use vitalwire::framing::Lane;
use vitalwire::storage::{StorageReply, StorageRequest};

/// How often a request is tried: at its place, behind it, on another page.
const TRIES: u32 = 3;

/// Where on the flash what is kept: offsets in bytes, whole pages (the driver's `ERASE_SIZE`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The items: an even number of pages.
    pub items: Range<u32>,
    /// The regions, in the order of [`Lane::ALL`]: at least two pages each. A lane whose range is empty is always full.
    pub regions: [Range<u32>; 4],
}

/// What is wrong with a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayoutError {
    /// A range does not start and end with a page.
    NotAligned,
    /// A range ends before it starts, or behind the end of the flash.
    OutOfBounds,
    /// Two ranges have pages in common.
    Overlap,
    /// A region has one page only, or the items have an odd number of them.
    Pages,
}

impl core::fmt::Display for LayoutError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NotAligned => "a range does not start and end with a page",
            Self::OutOfBounds => "a range is not within the flash",
            Self::Overlap => "two ranges overlap",
            Self::Pages => "a region has one page only, or the items an odd number",
        })
    }
}

impl core::error::Error for LayoutError {}

/// Wear and damage since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes written, heads and padding counted.
    pub bytes_written: u64,
    /// Pages erased.
    pub pages_erased: u64,
    /// Places that were found damaged and skipped. The same place counts each time that it is met.
    pub damaged: u32,
    /// Erases and writes that failed, or did not read back, and times at which the flash did not answer.
    pub failures: u32,
}

/// A device's storage on NOR flash.
///
/// See the [crate's documentation](crate) for an example.
#[derive(Clone)]
pub struct FlashStore<F> {
    medium: Medium<F>,
    areas: [Area; 4],
    items_area: Area,
    // `None` until the first request, and again when a request was dropped half-way.
    logs: [Option<Log>; 4],
    items: Option<Items>,
}

impl<F: NorFlash> FlashStore<F> {
    /// Makes a store. Nothing is read before the first request.
    ///
    /// # Errors
    /// [`LayoutError`] if the layout does not suit the flash.
    pub fn new(flash: F, layout: Layout) -> Result<Self, LayoutError> {
        let Layout { items, regions: [alarm, event, trend, waveform] } = layout;
        let ranges = [&items, &alarm, &event, &trend, &waveform];
        for (i, range) in ranges.iter().enumerate() {
            let ends = [range.start, range.end];
            if !ends.iter().all(|end| (*end as usize).is_multiple_of(F::ERASE_SIZE)) {
                return Err(LayoutError::NotAligned);
            }
            if range.start > range.end || range.end as usize > flash.capacity() {
                return Err(LayoutError::OutOfBounds);
            }
            if range.end as usize - range.start as usize == F::ERASE_SIZE {
                return Err(LayoutError::Pages);
            }
            if ranges.iter().skip(i + 1).any(|other| range.start < other.end && other.start < range.end) {
                return Err(LayoutError::Overlap);
            }
        }
        let page_len = F::ERASE_SIZE as u32;
        let items_len = items.end - items.start;
        if !items_len.is_multiple_of(2 * page_len) || items_len / 2 / Medium::<F>::UNIT > 1 << 16 {
            return Err(LayoutError::Pages);
        }
        let area = |range: Range<u32>| Area {
            start: range.start,
            page_len,
            pages: (range.end - range.start) / page_len,
        };
        Ok(Self {
            medium: Medium { flash, counters: Counters::default() },
            areas: [area(alarm), area(event), area(trend), area(waveform)],
            items_area: Area {
                start: items.start,
                page_len: items_len / 2,
                pages: if items_len == 0 { 0 } else { 2 },
            },
            logs: [None; 4],
            items: None,
        })
    }

    /// Serves a request. `buf` takes what is read: it must hold the longest entry and the longest item, else the reply is
    /// `Failed`. A change of the items needs it too.
    ///
    /// An entry or a value that is longer than a page, or half of the items' range, has never room: the reply is `Full`.
    pub async fn serve<'b>(&mut self, request: StorageRequest<'_>, buf: &'b mut [u8]) -> StorageReply<'b> {
        let done = match request {
            StorageRequest::Append { region, entry } => self.append(region, entry).await,
            StorageRequest::Read { region, after } => return self.read(region, after, buf).await,
            StorageRequest::Trim { region, through } => self.trim(region, through).await,
            StorageRequest::Get { item } => {
                let Some(name) = items::name(item) else { return StorageReply::Failed };
                return self.get(name, buf).await;
            }
            StorageRequest::Put { item, value } => {
                let Some(name) = items::name(item) else { return StorageReply::Failed };
                self.change(name, Some(value), buf).await
            }
            StorageRequest::Delete { item } => {
                let Some(name) = items::name(item) else { return StorageReply::Failed };
                self.change(name, None, buf).await
            }
            _ => Err(Failed),
        };
        done.unwrap_or(StorageReply::Failed)
    }

    /// Erases everything that the layout names. Numbers of entries start again.
    ///
    /// # Errors
    /// The driver's, if a page cannot be erased; those behind it are as they were.
    pub async fn format(&mut self) -> Result<(), F::Error> {
        (self.logs, self.items) = ([None; 4], None);
        for area in [self.items_area].into_iter().chain(self.areas) {
            let end = area.start + area.pages * area.page_len;
            self.medium.counters.pages_erased += u64::from((end - area.start) / F::ERASE_SIZE as u32);
            self.medium.flash.erase(area.start, end).await?;
        }
        Ok(())
    }

    /// Returns the wear and damage since the start.
    pub const fn counters(&self) -> Counters {
        self.medium.counters
    }

    /// Returns how many entries of so many bytes a page holds. A region holds that times its pages, less the room that is kept
    /// for watermarks: 16 bytes for each entry of a page and three more.
    pub const fn entries_per_page(entry_len: u16) -> u32 {
        let units = F::ERASE_SIZE as u32 / Medium::<F>::UNIT;
        (units - Medium::<F>::HEAD) / Medium::<F>::extent(entry_len as u32)
    }

    /// Returns the driver, to do something else with it in between. Writing to what the layout names is damage.
    pub const fn flash_mut(&mut self) -> &mut F {
        &mut self.medium.flash
    }

    /// Returns the driver.
    pub fn into_inner(self) -> F {
        self.medium.flash
    }

    /// Takes out what is known of a region, reading it from the flash if nothing is.
    async fn log(&mut self, region: Lane) -> Result<(Log, Area), Failed> {
        let area = *self.areas.get(region.index()).ok_or(Failed)?;
        match self.logs.get_mut(region.index()).and_then(Option::take) {
            Some(log) => Ok((log, area)),
            None => Ok((Log::mount(&mut self.medium, &area).await?, area)),
        }
    }

    fn keep(&mut self, region: Lane, log: Log) {
        if let Some(place) = self.logs.get_mut(region.index()) {
            *place = Some(log);
        }
    }

    fn has_pages(&self, region: Lane) -> bool {
        self.areas.get(region.index()).is_some_and(|area| area.pages > 0)
    }

    async fn append(&mut self, region: Lane, entry: &[u8]) -> Result<StorageReply<'static>, Failed> {
        if !self.has_pages(region) {
            return Ok(StorageReply::Full);
        }
        let (mut log, area) = self.log(region).await?;
        let mut appended = Err(Failed);
        for _ in 0..TRIES {
            appended = log.append(&mut self.medium, &area, entry).await;
            if appended.is_ok() {
                break;
            }
        }
        self.keep(region, log);
        Ok(match appended? {
            Appended::At { number, free } => StorageReply::Appended { number, free },
            Appended::Full => StorageReply::Full,
        })
    }

    async fn trim(&mut self, region: Lane, through: u64) -> Result<StorageReply<'static>, Failed> {
        if !self.has_pages(region) {
            return Ok(StorageReply::Done);
        }
        let (mut log, area) = self.log(region).await?;
        let mut trimmed = Err(Failed);
        for _ in 0..TRIES {
            trimmed = log.trim(&mut self.medium, &area, through).await;
            if trimmed.is_ok() {
                break;
            }
        }
        self.keep(region, log);
        if trimmed? { Ok(StorageReply::Done) } else { Err(Failed) }
    }

    async fn read<'b>(&mut self, region: Lane, after: Option<u64>, buf: &'b mut [u8]) -> StorageReply<'b> {
        if !self.has_pages(region) {
            return StorageReply::End;
        }
        let Ok((log, area)) = self.log(region).await else { return StorageReply::Failed };
        let from = after.map_or(0, |after| after.saturating_add(1));
        let found = log.find(&mut self.medium, &area, from, buf).await;
        self.keep(region, log);
        match found {
            Ok(None) => StorageReply::End,
            Ok(Some((number, len))) => {
                buf.get(..len).map_or(StorageReply::Failed, |bytes| StorageReply::Entry { number, bytes })
            }
            Err(Failed) => StorageReply::Failed,
        }
    }

    async fn items(&mut self) -> Result<Items, Failed> {
        match self.items.take() {
            Some(items) => Ok(items),
            None => Items::mount(&mut self.medium, &self.items_area).await,
        }
    }

    async fn get<'b>(&mut self, name: items::Name, buf: &'b mut [u8]) -> StorageReply<'b> {
        if self.items_area.pages == 0 {
            return StorageReply::Value(None);
        }
        let Ok(items) = self.items().await else { return StorageReply::Failed };
        let found = items.read(&mut self.medium, &self.items_area, name, buf).await;
        self.items = Some(items);
        match found {
            Ok(None) => StorageReply::Value(None),
            Ok(Some(len)) => {
                buf.get(..len).map_or(StorageReply::Failed, |value| StorageReply::Value(Some(value)))
            }
            Err(Failed) => StorageReply::Failed,
        }
    }

    async fn change(
        &mut self,
        name: items::Name,
        value: Option<&[u8]>,
        buf: &mut [u8],
    ) -> Result<StorageReply<'static>, Failed> {
        if self.items_area.pages == 0 {
            return Ok(if value.is_some() { StorageReply::Full } else { StorageReply::Done });
        }
        let (mut items, area) = (self.items().await?, self.items_area);
        let mut changed = Err(Failed);
        for _ in 0..TRIES {
            changed = items.change(&mut self.medium, &area, name, value, buf).await;
            if changed.is_ok() {
                break;
            }
        }
        self.items = Some(items);
        Ok(if changed? == Change::Full { StorageReply::Full } else { StorageReply::Done })
    }
}

impl<F: embedded_storage::nor_flash::NorFlash> FlashStore<Blocking<F>> {
    /// Serves a request on a blocking driver: [`FlashStore::serve`] without an executor.
    pub fn serve_blocking<'b>(&mut self, request: StorageRequest<'_>, buf: &'b mut [u8]) -> StorageReply<'b> {
        blocking::now(self.serve(request, buf)).unwrap_or(StorageReply::Failed)
    }

    /// Erases everything on a blocking driver: [`FlashStore::format`] without an executor.
    ///
    /// # Errors
    /// The driver's.
    pub fn format_blocking(&mut self) -> Result<(), F::Error> {
        blocking::now(self.format()).unwrap_or(Ok(()))
    }
}
