//! The items: small values by name, in two halves of which one is in use.
//!
//! A value is appended; the last one of a name counts. When the half is full, or a value is to be erased, what counts is copied to
//! the other half, whose head is written last and makes it the one in use; then the old half is erased.

use crate::medium::{Area, Failed, Head, Kind, Medium, Slot, UNIT_BITS};
use embedded_storage_async::nor_flash::NorFlash;
use vitalwire::storage::Item;

/// An item's name as it is stored.
pub(crate) type Name = [u8; 2];

/// Returns the stored name, or `None` for an item that this version does not know.
pub(crate) fn name(item: Item) -> Option<Name> {
    match item {
        Item::Boots => Some([1, 0]),
        Item::Ticket => Some([2, 0]),
        Item::Pin => Some([3, 0]),
        Item::Descriptors(boot) => Some([4, boot]),
        _ => None,
    }
}

/// What is known of the items in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Items {
    /// The half in use.
    seq: u64,
    /// Its first unit that may be written.
    pos: u32,
    /// Damage was found in it: what was cut there may be part of any value.
    damaged: bool,
    /// The other half was erased since the start, so that it need not be erased again.
    clean: bool,
}

/// What became of a put or a delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Done,
    Full,
}

impl Items {
    /// Finds the half in use, and erases what a power cut has left in the other.
    pub(crate) async fn mount<F: NorFlash>(medium: &mut Medium<F>, area: &Area) -> Result<Self, Failed> {
        let mut youngest = None;
        for place in 0..area.pages {
            match medium.head(area, place).await? {
                Head::Page { seq, .. } => youngest = youngest.max(Some(seq)),
                Head::Damaged => medium.counters.damaged = medium.counters.damaged.saturating_add(1),
                Head::Blank => {}
            }
        }
        let Some(seq) = youngest else {
            let (pages, pos) = (u64::from(area.pages), Medium::<F>::units(area));
            return Ok(Self { seq: pages.saturating_sub(1), pos, damaged: true, clean: false });
        };
        let (pos, _, damaged) = medium.survey(area, seq).await?;
        let clean = !medium.is_blank(area, seq + 1).await && medium.erase(area, seq + 1).await.is_ok();
        Ok(Self { seq, pos, damaged, clean })
    }

    /// Finds the last value of a name from a unit on; its bytes go to `out`, as many as fit. Returns its number and length.
    async fn last<F: NorFlash>(
        &self,
        medium: &mut Medium<F>,
        area: &Area,
        from: u32,
        wanted: Name,
        out: &mut [u8],
    ) -> Result<Option<(u64, usize)>, Failed> {
        let (mut unit, mut last) = (from, None);
        while unit < self.pos {
            let at = (self.seq << UNIT_BITS) + u64::from(unit);
            // Most records are of other names or older: what is found is read again at the end.
            match medium.slot(area, at, &mut []).await? {
                Slot::Record { kind: Kind::Item, name, extent, .. } => {
                    if name == wanted {
                        last = Some(at);
                    }
                    unit += extent;
                }
                Slot::Record { extent, .. } => unit += extent,
                _ => unit += 1,
            }
        }
        let Some(at) = last else { return Ok(None) };
        match medium.slot(area, at, out).await? {
            Slot::Record { len, .. } => Ok(Some((at, len))),
            // It was there a moment ago.
            _ => Err(Failed),
        }
    }

    /// Reads a value.
    pub(crate) async fn read<F: NorFlash>(
        &self,
        medium: &mut Medium<F>,
        area: &Area,
        name: Name,
        out: &mut [u8],
    ) -> Result<Option<usize>, Failed> {
        let found = self.last(medium, area, Medium::<F>::HEAD, name, out).await?;
        Ok(found.map(|(_, len)| len))
    }

    /// Keeps a value, or erases what a name has had.
    pub(crate) async fn change<F: NorFlash>(
        &mut self,
        medium: &mut Medium<F>,
        area: &Area,
        name: Name,
        value: Option<&[u8]>,
        scratch: &mut [u8],
    ) -> Result<Change, Failed> {
        match value {
            Some(value) => self.put(medium, area, name, value, scratch).await,
            None => self.delete(medium, area, name, scratch).await,
        }
    }

    /// Keeps a value. The old one stays readable in the memory until the next delete, or until the half is full.
    async fn put<F: NorFlash>(
        &mut self,
        medium: &mut Medium<F>,
        area: &Area,
        name: Name,
        value: &[u8],
        scratch: &mut [u8],
    ) -> Result<Change, Failed> {
        if value.len() > usize::from(u16::MAX) - name.len() {
            return Ok(Change::Full);
        }
        let extent = Medium::<F>::extent((name.len() + value.len()) as u32);
        if self.pos.saturating_add(extent) > Medium::<F>::units(area) {
            return self.move_over(medium, area, name, Some(value), scratch).await;
        }
        let at = (self.seq << UNIT_BITS) + u64::from(self.pos);
        let written = medium.write_record(area, at, Kind::Item, [&name, value]).await;
        self.damaged |= written.is_err();
        self.pos = if written.is_ok() { self.pos + extent } else { Medium::<F>::units(area) };
        written.map(|()| Change::Done)
    }

    /// Erases every value that a name has had.
    async fn delete<F: NorFlash>(
        &mut self,
        medium: &mut Medium<F>,
        area: &Area,
        name: Name,
        scratch: &mut [u8],
    ) -> Result<Change, Failed> {
        let absent = self.last(medium, area, Medium::<F>::HEAD, name, &mut []).await?.is_none();
        if absent && !self.damaged {
            return if self.clean || medium.is_blank(area, self.seq + 1).await {
                Ok(Change::Done)
            } else {
                medium.erase(area, self.seq + 1).await?;
                self.clean = true;
                Ok(Change::Done)
            };
        }
        self.move_over(medium, area, name, None, scratch).await?;
        if self.clean { Ok(Change::Done) } else { Err(Failed) }
    }

    /// Copies what counts to the other half, but for the values of `name`, and adds `value` under it; then erases this half.
    async fn move_over<F: NorFlash>(
        &mut self,
        medium: &mut Medium<F>,
        area: &Area,
        name: Name,
        value: Option<&[u8]>,
        scratch: &mut [u8],
    ) -> Result<Change, Failed> {
        let seq = self.seq + 1;
        let added = value.map_or(0, |value| Medium::<F>::extent((name.len() + value.len()) as u32));
        if Medium::<F>::HEAD + self.copy(medium, area, name, None, scratch).await? + added
            > Medium::<F>::units(area)
        {
            return Ok(Change::Full);
        }
        if !core::mem::take(&mut self.clean) {
            medium.erase(area, seq).await?;
        }
        let mut pos = Medium::<F>::HEAD + self.copy(medium, area, name, Some(seq), scratch).await?;
        if let Some(value) = value {
            let at = (seq << UNIT_BITS) + u64::from(pos);
            medium.write_record(area, at, Kind::Item, [&name, value]).await?;
            pos += added;
        }
        medium.write_head(area, seq, 0).await?;
        let old = self.seq;
        (self.seq, self.pos, self.damaged) = (seq, pos, false);
        self.clean = medium.erase(area, old).await.is_ok();
        Ok(Change::Done)
    }

    /// Copies what counts but for one name to the half `to`; without that, only returns how many units it takes.
    async fn copy<F: NorFlash>(
        &self,
        medium: &mut Medium<F>,
        area: &Area,
        without: Name,
        to: Option<u64>,
        scratch: &mut [u8],
    ) -> Result<u32, Failed> {
        let (mut unit, mut taken) = (Medium::<F>::HEAD, 0);
        while unit < self.pos {
            let at = (self.seq << UNIT_BITS) + u64::from(unit);
            let Slot::Record { kind: Kind::Item, len, name, extent } = medium.slot(area, at, scratch).await?
            else {
                unit += 1;
                continue;
            };
            unit += extent;
            if name == without || self.last(medium, area, unit, name, &mut []).await?.is_some() {
                continue;
            }
            if let Some(seq) = to {
                let value = scratch.get(..len).ok_or(Failed)?;
                let at = (seq << UNIT_BITS) + u64::from(Medium::<F>::HEAD + taken);
                medium.write_record(area, at, Kind::Item, [&name, value]).await?;
            }
            taken += extent;
        }
        Ok(taken)
    }
}
