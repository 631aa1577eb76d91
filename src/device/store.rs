//! What a device knows of its storage.

use super::StorageConfig;
use super::pin::{PinCopy, StoredPin};
use super::region::{Earlier, Region};
use super::tickets::TicketWant;
use crate::crypto::hash_parts;
use crate::delivery::{Outbox, StoredRun};
use crate::entropy::Entropy;
use crate::framing::{BootTag, DescriptorSet, Lane, SetHash};
use crate::storage::{
    BootTable, EntryHeader, Item, SegmentKey, StorageRequest, StoredBoot, seal_descriptors,
};
use crate::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How far this boot has come with its storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The table of boots is to be read.
    Get,
    /// This boot's number is to be written.
    Put,
    /// And read back.
    Check,
    /// The backend's pin is to be read.
    Pin,
    Ready,
    /// Storage has failed: this boot runs from RAM.
    Off,
}

/// The request that waits for its reply.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pending {
    GetBoots,
    PutBoots,
    GetPin,
    PutPin(StoredPin),
    DeletePin,
    PutDescriptors { place: u8, set: SetHash },
    GetDescriptors { place: u8, boot: u32, tag: BootTag },
    Ticket(TicketWant),
    Append(StoredRun),
    Read { lane: Lane, after: Option<u64>, own: bool },
    Trim { lane: Lane, through: u64 },
}

pub(super) struct Store<'m> {
    pub(super) config: StorageConfig,
    /// An entry or the table of boots, while it is written or read.
    pub(super) buffer: &'m mut [u8],
    /// How much of it the pending request has.
    pub(super) len: usize,
    /// A descriptor set, likewise; and then the set of an earlier boot.
    pub(super) set_space: &'m mut [u8],
    pub(super) set_len: usize,
    /// Whose set that is.
    pub(super) set_of: Option<(u32, BootTag)>,
    /// Whose set the backend wants.
    pub(super) set_wanted: Option<(u32, BootTag)>,
    pub(super) phase: Phase,
    /// How often the table was read in vain, at the start.
    pub(super) table_reads: u8,
    pub(super) table: BootTable,
    pub(super) pin: PinCopy,
    /// The firmware's configuration has a pin: it counts before the stored one.
    pub(super) brought_pin: bool,
    /// The table differs from what is stored.
    pub(super) table_dirty: bool,
    /// The salt of this boot.
    pub(super) salt: [u8; 32],
    /// The key of this boot's entries, once it may store any.
    pub(super) key: Option<SegmentKey>,
    /// This boot is in the table, and the table is stored.
    pub(super) listed: bool,
    /// The descriptor set that is stored for this boot.
    pub(super) set_stored: Option<SetHash>,
    counter: u32,
    /// How many salts this boot has drawn.
    salts: u32,
    pub(super) pending: Option<Pending>,
    pub(super) regions: [Region; 4],
    /// Every record is to be stored at once.
    pub(super) hurry: bool,
    pub(super) retry_at: Option<Instant>,
    /// The latest request failed.
    pub(super) failing: bool,
    /// What was reported already.
    pub(super) reported_full: bool,
    pub(super) reported_corrupt: bool,
    /// What the latest draw of randomness came to, since it was last looked at.
    pub(super) drawn: Option<bool>,
    /// The generator has failed: until then what needs it can wait.
    pub(super) starved: Option<Instant>,
}

impl<'m> Store<'m> {
    #[inline(always)] // called once: made where it is boxed
    pub(super) fn new(
        config: StorageConfig,
        buffer: &'m mut [u8],
        set_space: &'m mut [u8],
        boot: u32,
        brought_pin: bool,
    ) -> Self {
        Self {
            config,
            buffer,
            len: 0,
            set_space,
            set_len: 0,
            set_of: None,
            set_wanted: None,
            phase: Phase::Get,
            table_reads: 0,
            table: BootTable::new(boot, BootTag([0; 4])),
            pin: PinCopy::Unread { reads: 0, due: Instant::ZERO },
            brought_pin,
            table_dirty: false,
            salt: [0; 32],
            key: None,
            listed: false,
            set_stored: None,
            counter: 0,
            salts: 0,
            pending: None,
            regions: [const { Region::NEW }; 4],
            hurry: false,
            retry_at: None,
            failing: false,
            reported_full: false,
            reported_corrupt: false,
            drawn: None,
            starved: None,
        }
    }

    /// This boot's number and tag.
    pub(super) const fn boot(&self) -> (u32, BootTag) {
        (self.table.latest, self.table.latest_tag)
    }

    pub(super) const fn region(&self, lane: Lane) -> &Region {
        let [alarm, event, trend, waveform] = &self.regions;
        match lane {
            Lane::Alarm => alarm,
            Lane::Event => event,
            Lane::Trend => trend,
            Lane::Waveform => waveform,
        }
    }

    pub(super) const fn region_mut(&mut self, lane: Lane) -> &mut Region {
        let [alarm, event, trend, waveform] = &mut self.regions;
        match lane {
            Lane::Alarm => alarm,
            Lane::Event => event,
            Lane::Trend => trend,
            Lane::Waveform => waveform,
        }
    }

    /// Tells whether this boot may send and store.
    pub(super) const fn is_settled(&self) -> bool {
        matches!(self.phase, Phase::Ready | Phase::Off)
    }

    /// Tells whether no stream of an earlier boot can be in storage any more.
    pub(super) fn is_earlier_gone(&self) -> bool {
        self.phase == Phase::Ready && self.regions.iter().all(|region| region.earlier == Earlier::Gone)
    }

    /// Tells whether nothing is stored, as far as this boot can know.
    pub(super) fn is_empty(&self) -> bool {
        match self.phase {
            Phase::Ready => self.regions.iter().all(Region::is_empty),
            Phase::Off => true,
            Phase::Get | Phase::Put | Phase::Check | Phase::Pin => false,
        }
    }

    /// Returns the stored set of an earlier boot, once it was read.
    pub(super) fn set_of(&self, boot: u32, tag: BootTag) -> Option<&[u8]> {
        self.set_of.filter(|of| *of == (boot, tag)).and_then(|_| self.set_space.get(..self.set_len))
    }

    /// The pending request.
    pub(super) fn request(&self) -> Option<StorageRequest<'_>> {
        let value = self.buffer.get(..self.len).unwrap_or_default();
        Some(match self.pending? {
            Pending::GetBoots => StorageRequest::Get { item: Item::Boots },
            Pending::PutBoots => StorageRequest::Put { item: Item::Boots, value },
            Pending::PutDescriptors { place, .. } => {
                let value = self.set_space.get(..self.set_len).unwrap_or_default();
                StorageRequest::Put { item: Item::Descriptors(place), value }
            }
            Pending::GetDescriptors { place, .. } => StorageRequest::Get { item: Item::Descriptors(place) },
            Pending::GetPin => StorageRequest::Get { item: Item::Pin },
            Pending::PutPin(_) => StorageRequest::Put { item: Item::Pin, value },
            Pending::DeletePin => StorageRequest::Delete { item: Item::Pin },
            Pending::Ticket(TicketWant::Load) => StorageRequest::Get { item: Item::Ticket },
            Pending::Ticket(TicketWant::Store) => StorageRequest::Put { item: Item::Ticket, value },
            //= SPEC.md#stored-ticket
            //# A device MUST have its storage confirm that a stored ticket is deleted before it sends the Hello.
            Pending::Ticket(TicketWant::Erase) => StorageRequest::Delete { item: Item::Ticket },
            Pending::Append(run) => StorageRequest::Append { region: run.lane, entry: value },
            Pending::Read { lane, after, .. } => StorageRequest::Read { region: lane, after },
            Pending::Trim { lane, through } => StorageRequest::Trim { region: lane, through },
        })
    }

    /// Draws a salt, hedged so that none comes twice where the generator repeats itself at each start: the boot number
    /// does not, nor the number of salts that the boot has drawn.
    //= SPEC.md#stored-entries
    //# A device MUST NOT use a salt twice, also where its generator gives the same bytes after each start.
    pub(super) fn draw_salt(&mut self, rng: &mut dyn Entropy) -> Option<[u8; 32]> {
        let mut fresh = Zeroizing::new([0u8; 32]);
        let filled = rng.fill(&mut *fresh);
        self.drawn = Some(filled.is_ok());
        filled.ok()?;
        let (number, tag) = self.boot();
        let drawn = self.salts;
        self.salts = drawn.checked_add(1)?;
        let parts: [&[u8]; 6] = [
            b"vitalwire storage salt",
            self.config.key.expose(),
            &*fresh,
            &number.to_le_bytes(),
            &tag.0,
            &drawn.to_le_bytes(),
        ];
        Some(hash_parts(&parts))
    }

    pub(super) fn put_boots(&mut self, rng: &mut dyn Entropy) -> Option<Pending> {
        let salt = self.draw_salt(rng)?;
        self.len = self.table.seal(&self.config.key, salt, self.buffer)?;
        Some(Pending::PutBoots)
    }

    /// Draws this boot's tag and salt.
    pub(super) fn draw(&mut self, rng: &mut dyn Entropy) -> Option<()> {
        let filled = rng.fill(&mut self.table.latest_tag.0);
        self.drawn = Some(filled.is_ok());
        filled.ok()?;
        self.salt = self.draw_salt(rng)?;
        Some(())
    }

    /// Puts this boot into the table, first its descriptors.
    pub(super) fn list_boot(
        &mut self,
        set: &DescriptorSet<'_>,
        hash: SetHash,
        rng: &mut dyn Entropy,
    ) -> Option<Pending> {
        let (number, tag) = self.boot();
        if self.table.find(number, tag).is_none() {
            let boot = StoredBoot { number, tag, place: 0, set: hash, salt: self.salt };
            if !self.table.push(boot) {
                return None;
            }
            self.table_dirty = true;
        }
        let (_, own) = self.table.find(number, tag)?;
        let place = own.place;
        if self.set_stored == Some(hash) {
            return self.put_boots(rng);
        }
        let salt = self.draw_salt(rng)?;
        self.set_of = None;
        self.set_len =
            seal_descriptors(&self.config.key, (number, tag), salt, set.as_bytes(), self.set_space)?;
        Some(Pending::PutDescriptors { place, set: hash })
    }

    /// Seals the oldest records of a lane that are not stored.
    pub(super) fn append(&mut self, lane: Lane, outbox: &Outbox<'_>) -> Option<Pending> {
        let (boot, tag) = self.boot();
        let counter = self.counter;
        let run = outbox.unstored(lane, EntryHeader::body(self.buffer))?;
        let header = EntryHeader { lane, boot, tag, counter, first: run.first, count: run.count };
        // The last number is not used: the count stops there.
        self.counter = counter.checked_add(1)?;
        self.len = header.seal(self.key.as_ref()?, self.buffer, run.len)?;
        Some(Pending::Append(run))
    }

    /// Tells whether records of a lane are to be stored now.
    pub(super) fn is_append_due(&self, now: Instant, lane: Lane, outbox: &Outbox<'_>) -> bool {
        if self.region(lane).full {
            return false;
        }
        if self.append_due(lane, outbox).is_some_and(|at| at <= now) {
            return true;
        }
        let Some(_) = self.config.spill_after(lane) else { return false };
        if self.region(lane).pressed {
            return true;
        }
        let (fill, unstored) = (outbox.fill(lane), outbox.unstored_bytes(lane));
        let much = fill.capacity.saturating_sub(fill.capacity / 4);
        unstored >= much || fill.used >= much && unstored >= self.buffer.len()
    }

    /// When the oldest record of a lane has waited long enough to be stored.
    fn append_due(&self, lane: Lane, outbox: &Outbox<'_>) -> Option<Instant> {
        let after = if self.hurry { Some(Duration::ZERO) } else { self.config.spill_after(lane) };
        let after = after.filter(|_| !self.region(lane).full)?;
        outbox
            .oldest_unstored(lane)
            .map(|time| if after == Duration::ZERO { Instant::ZERO } else { time + after })
    }

    /// Tells whether the boot is noted, and the storage has answered and may be asked again.
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Ready && self.pending.is_none() && self.retry_at.is_none()
    }

    /// Returns the request to trim what is settled.
    pub(super) fn next_trim(&self) -> Option<Pending> {
        Lane::ALL.iter().copied().find_map(|lane| {
            let through = self.region(lane).to_trim()?;
            Some(Pending::Trim { lane, through })
        })
    }

    /// Returns the request for the set of an earlier boot, if the backend wants it and it was not read yet.
    pub(super) fn next_set(&self) -> Option<Pending> {
        let (boot, tag) = self.set_wanted.filter(|wanted| self.set_of != Some(*wanted))?;
        let (_, stored) = self.table.find(boot, tag)?;
        Some(Pending::GetDescriptors { place: stored.place, boot, tag })
    }

    /// When storage is to be asked again, if nothing else happens.
    pub(super) fn poll_timeout(&self, outbox: &Outbox<'_>, set: SetHash) -> Option<Instant> {
        if self.pending.is_some() || self.phase == Phase::Off {
            return None;
        }
        if self.retry_at.is_some() {
            return self.retry_at;
        }
        let pin = match self.pin {
            PinCopy::Unread { due, .. } if self.phase == Phase::Ready => Some(due),
            _ => None,
        };
        // Who cannot draw a salt can append to what is listed, and nothing else.
        let may_append = if self.starved.is_none() { self.can_list() } else { self.is_listed(set) };
        let appends = Lane::ALL.iter().copied().filter_map(|lane| self.append_due(lane, outbox));
        appends.filter(|_| may_append).chain(pin).chain(self.starved).min()
    }

    /// Tells whether this boot is in the stored table, with this descriptor set.
    pub(super) fn is_listed(&self, set: SetHash) -> bool {
        self.listed && self.set_stored == Some(set) && !self.table_dirty
    }

    /// Tells whether the storage will take records of a lane when they have to leave the memory.
    pub(super) fn spills(&self, lane: Lane) -> bool {
        match self.phase {
            Phase::Get | Phase::Put | Phase::Check | Phase::Pin => true,
            Phase::Off => false,
            Phase::Ready => {
                let wanted = self.hurry || self.config.spill_after(lane).is_some();
                wanted && self.can_list() && !self.failing && !self.region(lane).full
            }
        }
    }

    /// Tells whether this boot is in the table, or can be.
    fn can_list(&self) -> bool {
        let (number, tag) = self.boot();
        self.table.find(number, tag).is_some() || !self.table.is_full()
    }

    /// Forgets the boots of which nothing is stored any more.
    pub(super) fn drop_drained(&mut self) {
        if self.regions.iter().any(|region| region.to_trim().is_some()) {
            return;
        }
        let oldest = |region: &Region| match (region.earlier, region.bound) {
            (Earlier::Gone, _) => usize::MAX,
            (_, Some(name)) => self.table.find(name.boot, name.tag).map_or(0, |(place, _)| place),
            (_, None) => 0,
        };
        let oldest = self.regions.iter().map(oldest).min().unwrap_or(0);
        let own = self.boot();
        let mut place = 0usize;
        let before = self.table.boots().count();
        self.table.retain(|boot| {
            let keep = place >= oldest || (boot.number, boot.tag) == own;
            place = place.saturating_add(1);
            keep
        });
        if self.table.boots().count() != before {
            self.table_dirty = true;
            self.reported_full = false;
        }
    }
}
