//! What a device asks of its storage, and when.

use super::pin::StoredPin;
use super::region::{Earlier, Region, StreamName};
use super::tickets::{TicketWant, Tickets};
use super::{Device, DeviceEvent, StorageConfig, StorageTrouble};
use crate::crypto::hash_parts;
use crate::delivery::{Backlog, Outbox, StoredRun};
use crate::entropy::Entropy;
use crate::error::Discard;
use crate::framing::{BootTag, DescriptorSet, Lane, SetHash};
use crate::limits::STORAGE_RETRY;
use crate::storage::{
    BootTable, EntryHeader, Item, SegmentKey, StorageReply, StorageRequest, StoredBoot, open_descriptors,
    open_ticket, seal_descriptors, seal_pin, seal_ticket,
};
use crate::time::{Duration, Instant};
use zeroize::{Zeroize, Zeroizing};

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
    len: usize,
    /// A descriptor set, likewise; and then the set of an earlier boot.
    set_space: &'m mut [u8],
    set_len: usize,
    /// Whose set that is.
    set_of: Option<(u32, BootTag)>,
    /// Whose set the backend wants.
    pub(super) set_wanted: Option<(u32, BootTag)>,
    pub(super) phase: Phase,
    pub(super) table: BootTable,
    /// The pin that is stored.
    pub(super) pin: Option<StoredPin>,
    /// The table differs from what is stored.
    table_dirty: bool,
    /// The salt of this boot.
    salt: [u8; 32],
    /// The key of this boot's entries, once it may store any.
    pub(super) key: Option<SegmentKey>,
    /// This boot is in the table, and the table is stored.
    listed: bool,
    /// The descriptor set that is stored for this boot.
    set_stored: Option<SetHash>,
    counter: u32,
    /// How many salts this boot has drawn.
    salts: u32,
    pub(super) pending: Option<Pending>,
    pub(super) regions: [Region; 4],
    /// Every record is to be stored at once.
    hurry: bool,
    retry_at: Option<Instant>,
    /// The latest request failed.
    failing: bool,
    /// What was reported already.
    reported_full: bool,
    pub(super) reported_corrupt: bool,
}

impl<'m> Store<'m> {
    pub(super) fn new(
        config: StorageConfig,
        buffer: &'m mut [u8],
        set_space: &'m mut [u8],
        boot: u32,
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
            table: BootTable::new(boot, BootTag([0; 4])),
            pin: None,
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
    fn request(&self) -> Option<StorageRequest<'_>> {
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
    fn draw_salt(&mut self, rng: &mut dyn Entropy) -> Option<[u8; 32]> {
        let mut fresh = Zeroizing::new([0u8; 32]);
        rng.fill(&mut *fresh).ok()?;
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

    fn put_boots(&mut self, rng: &mut dyn Entropy) -> Option<Pending> {
        let salt = self.draw_salt(rng)?;
        self.len = self.table.seal(&self.config.key, salt, self.buffer)?;
        Some(Pending::PutBoots)
    }

    /// Draws this boot's tag and salt.
    fn draw(&mut self, rng: &mut dyn Entropy) -> Option<()> {
        rng.fill(&mut self.table.latest_tag.0).ok()?;
        self.salt = self.draw_salt(rng)?;
        Some(())
    }

    /// Puts this boot into the table, first its descriptors.
    fn list_boot(
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
    fn append(&mut self, lane: Lane, outbox: &Outbox<'_>) -> Option<Pending> {
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
    fn is_append_due(&self, now: Instant, lane: Lane, outbox: &Outbox<'_>) -> bool {
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

    /// When storage is to be asked again, if nothing else happens.
    pub(super) fn poll_timeout(&self, outbox: &Outbox<'_>, tickets: &Tickets) -> Option<Instant> {
        if self.pending.is_some() || self.phase == Phase::Off {
            return None;
        }
        if self.retry_at.is_some() {
            return self.retry_at;
        }
        // An attempt to connect wants the stored ticket erased: it comes up after this turn's requests.
        if self.phase == Phase::Ready && tickets.wants().is_some() {
            return Some(Instant::ZERO);
        }
        if !self.can_list() {
            return None;
        }
        Lane::ALL.iter().copied().filter_map(|lane| self.append_due(lane, outbox)).min()
    }

    /// Tells whether the storage will take records of a lane when they have to leave the memory.
    fn spills(&self, lane: Lane) -> bool {
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
    fn drop_drained(&mut self) {
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

impl Device<'_> {
    /// Returns what is to be asked of the storage now, the same again until [`Device::handle_storage`] has its answer;
    /// `None` if there is nothing to ask, or no [`DeviceConfig::storage`](super::DeviceConfig::storage).
    ///
    /// Carry it out and hand in the answer, as often as it returns something. Until the first few are answered after a
    /// start, nothing is sent.
    ///
    /// ```
    /// use vitalwire::{Entropy, Instant, device::Device, storage::{StorageReply, StorageRequest}};
    /// /// Does what the device asks of a driver.
    /// fn serve(
    ///     now: Instant,
    ///     device: &mut Device<'_>,
    ///     rng: &mut dyn Entropy,
    ///     mut driver: impl FnMut(&StorageRequest<'_>) -> StorageReply<'static>,
    /// ) {
    ///     while let Some(request) = device.poll_storage(now, rng) {
    ///         let reply = driver(&request);
    ///         device.handle_storage(now, reply);
    ///     }
    /// }
    /// ```
    pub fn poll_storage(&mut self, now: Instant, rng: &mut dyn Entropy) -> Option<StorageRequest<'_>> {
        if self.store.as_ref()?.pending.is_none() {
            let next = self.next_pending(now, rng)?;
            self.store.as_mut()?.pending = Some(next);
        }
        self.store.as_ref()?.request()
    }

    fn next_pending(&mut self, now: Instant, rng: &mut dyn Entropy) -> Option<Pending> {
        self.note_settled();
        let store = self.store.as_mut()?;
        match store.phase {
            Phase::Get | Phase::Check => return Some(Pending::GetBoots),
            Phase::Put => {
                store.draw(rng)?;
                return store.put_boots(rng);
            }
            Phase::Pin => return Some(Pending::GetPin),
            Phase::Off => return None,
            Phase::Ready => {}
        }
        if store.retry_at.is_some_and(|at| now < at) {
            return None;
        }
        store.retry_at = None;
        let alarm = store.is_append_due(now, Lane::Alarm, &self.outbox);
        if alarm && let Some(pending) = self.next_append(Lane::Alarm, rng) {
            return Some(pending);
        }
        if let Some(want) = self.tickets.wants() {
            return self.next_ticket(want, rng);
        }
        let wanted = self.pin_to_store();
        let store = self.store.as_mut()?;
        match wanted {
            Some(pin) if store.pin != wanted => {
                let salt = store.draw_salt(rng)?;
                store.len = seal_pin(&store.config.key, salt, &pin.encode(), store.buffer)?;
                return Some(Pending::PutPin(pin));
            }
            None if store.pin.is_some() => return Some(Pending::DeletePin),
            _ => {}
        }
        if let Some((lane, through)) =
            Lane::ALL.iter().copied().find_map(|lane| Some((lane, store.region(lane).to_trim()?)))
        {
            return Some(Pending::Trim { lane, through });
        }
        if store.table_dirty {
            return store.put_boots(rng);
        }
        for &lane in &Lane::ALL {
            let store = self.store.as_ref()?;
            if store.is_append_due(now, lane, &self.outbox)
                && let Some(pending) = self.next_append(lane, rng)
            {
                return Some(pending);
            }
        }
        let store = self.store.as_mut()?;
        if let Some((boot, tag)) = store.set_wanted.filter(|wanted| store.set_of != Some(*wanted))
            && let Some((_, stored)) = store.table.find(boot, tag)
        {
            return Some(Pending::GetDescriptors { place: stored.place, boot, tag });
        }
        Lane::ALL.iter().copied().find_map(|lane| self.next_read(lane))
    }

    fn next_ticket(&mut self, want: TicketWant, rng: &mut dyn Entropy) -> Option<Pending> {
        let store = self.store.as_mut()?;
        if want == TicketWant::Store {
            let salt = store.draw_salt(rng)?;
            let value = self.tickets.value()?;
            store.len = seal_ticket(&store.config.key, salt, value.as_slice(), store.buffer)?;
        }
        self.tickets.asked();
        Some(Pending::Ticket(want))
    }

    /// Takes the answer to a request about the ticket. What fails here costs a full handshake, and nothing else.
    fn handle_stored_ticket(&mut self, now: Instant, reply: StorageReply<'_>) {
        let Some(store) = self.store.as_mut() else { return };
        let StorageReply::Value(Some(value)) = reply else {
            self.tickets.done(&reply);
            return self.connector.storage_answered(now);
        };
        let copy = store.buffer.get_mut(..value.len());
        let opened = copy.and_then(|copy| {
            copy.copy_from_slice(value);
            open_ticket(&store.config.key, copy).ok()
        });
        match opened {
            Some(ticket) => self.tickets.done(&StorageReply::Value(Some(ticket))),
            None => {
                self.tickets.done(&StorageReply::Failed);
                self.corrupt();
            }
        }
        if let Some(store) = self.store.as_mut() {
            store.buffer.zeroize();
        }
        self.connector.storage_answered(now);
    }

    fn next_append(&mut self, lane: Lane, rng: &mut dyn Entropy) -> Option<Pending> {
        let store = self.store.as_mut()?;
        if store.listed && store.set_stored == Some(self.set_hash) && !store.table_dirty {
            return store.append(lane, &self.outbox);
        }
        //= SPEC.md#stored-boots
        //# A device MUST NOT append an entry before the table of boots that names its boot, and that boot's descriptor set, are stored.
        let pending = store.list_boot(&self.set, self.set_hash, rng);
        if pending.is_none() && store.table.is_full() && !core::mem::replace(&mut store.reported_full, true) {
            self.events.push(DeviceEvent::StorageTrouble(StorageTrouble::TooManyBoots));
        }
        pending
    }

    /// Takes the storage's answer to the request that [`Device::poll_storage`] gave out.
    ///
    /// An answer that nobody asked for is counted in [`Device::discards`] and changes nothing else; one of the wrong
    /// kind counts as [`StorageReply::Failed`].
    pub fn handle_storage(&mut self, now: Instant, reply: StorageReply<'_>) {
        let Some((store, pending)) =
            self.store.as_mut().and_then(|store| store.pending.take().map(|pending| (store, pending)))
        else {
            return self.discards.count(Discard::UnaskedReply);
        };
        if let Pending::Ticket(_) = pending {
            return self.handle_stored_ticket(now, reply);
        }
        let failing = core::mem::replace(&mut store.failing, reply == StorageReply::Failed);
        match (pending, reply) {
            (Pending::GetBoots, reply) => self.handle_boots(reply),
            (Pending::PutBoots, reply) if store.phase == Phase::Put => match reply {
                StorageReply::Done => store.phase = Phase::Check,
                _ => self.storage_off(),
            },
            (Pending::PutBoots, StorageReply::Done) => {
                let (number, tag) = store.boot();
                store.table_dirty = false;
                store.listed = store.table.find(number, tag).is_some();
            }
            (Pending::GetPin, reply) => {
                store.phase = Phase::Ready;
                match reply {
                    StorageReply::Value(None) => {}
                    StorageReply::Value(Some(value)) => self.handle_stored_pin(value),
                    _ => self.events.push(DeviceEvent::StorageTrouble(StorageTrouble::Failed)),
                }
            }
            (Pending::PutPin(pin), StorageReply::Done) => store.pin = Some(pin),
            (Pending::DeletePin, StorageReply::Done) => store.pin = None,
            (Pending::PutDescriptors { set, .. }, StorageReply::Done) => {
                let (number, tag) = store.boot();
                store.set_stored = Some(set);
                store.table.set_hash(number, tag, set);
                store.table_dirty = true;
            }
            (Pending::GetDescriptors { boot, tag, .. }, StorageReply::Value(value)) => {
                self.handle_descriptors(boot, tag, value.unwrap_or_default());
            }
            (Pending::Append(run), StorageReply::Appended { number, .. }) => {
                self.outbox.note_stored(run);
                let region = store.region_mut(run.lane);
                region.own_first.get_or_insert(number);
                region.own.push(number, run.end());
                region.report = true;
                region.pressed = false;
            }
            (Pending::Append(run), StorageReply::Full) => {
                store.region_mut(run.lane).full = true;
                self.events.push(DeviceEvent::StorageTrouble(StorageTrouble::Full(run.lane)));
            }
            (Pending::Read { lane, own, .. }, StorageReply::Entry { number, bytes }) => {
                self.handle_entry(lane, own, number, bytes);
            }
            (Pending::Read { lane, own, .. }, StorageReply::End) => self.handle_end(lane, own),
            (Pending::Trim { lane, through }, StorageReply::Done) => {
                let region = store.region_mut(lane);
                region.trimmed = region.trimmed.max(Some(through));
                region.full = false;
            }
            _ => {
                store.retry_at = Some(now + STORAGE_RETRY);
                store.failing = true;
                if !failing {
                    self.events.push(DeviceEvent::StorageTrouble(StorageTrouble::Failed));
                }
            }
        }
        self.note_settled();
    }

    /// Takes the table of boots, at the start or as it is read back.
    fn handle_boots(&mut self, reply: StorageReply<'_>) {
        let Some(store) = self.store.as_mut() else { return };
        let StorageReply::Value(value) = reply else { return self.storage_off() };
        let table = value.and_then(|value| {
            let copy = store.buffer.get_mut(..value.len())?;
            copy.copy_from_slice(value);
            BootTable::open(&store.config.key, copy).ok()
        });
        if store.phase == Phase::Check {
            //= SPEC.md#stored-boots
            //# A device with storage MUST NOT send or store anything of a boot before it has read back that boot's number and tag.
            if table.as_ref() != Some(&store.table) {
                return self.storage_off();
            }
            store.phase = Phase::Pin;
            store.key = Some(SegmentKey::new(&store.config.key, &store.salt));
            (self.boot, self.boot_tag) = (store.table.latest, Some(store.table.latest_tag));
            return;
        }
        match table {
            Some(mut table) => {
                //= SPEC.md#stored-boots
                //# A device MUST give each boot a number that is one above the latest one that its storage knows.
                table.latest = table.latest.saturating_add(1);
                store.table = table;
            }
            None if value.is_some() => {
                self.events.push(DeviceEvent::StorageTrouble(StorageTrouble::Unreadable));
            }
            None => {}
        }
        store.phase = Phase::Put;
    }

    //= SPEC.md#stored-boots
    //# A device whose storage fails before that MUST draw a fresh tag for the boot, and keep its records in RAM only.
    fn storage_off(&mut self) {
        let Some(store) = self.store.as_mut() else { return };
        store.phase = Phase::Off;
        self.tickets.without_storage();
        (self.boot, self.boot_tag) = (store.table.latest, None);
        self.events.push(DeviceEvent::StorageTrouble(StorageTrouble::Unavailable));
    }

    /// Takes the descriptor set of an earlier boot.
    fn handle_descriptors(&mut self, boot: u32, tag: BootTag, value: &[u8]) {
        let Some(store) = self.store.as_mut() else { return };
        store.set_wanted = store.set_wanted.filter(|wanted| *wanted != (boot, tag));
        let set = store.set_space.get_mut(..value.len()).and_then(|copy| {
            copy.copy_from_slice(value);
            let set = open_descriptors(&store.config.key, (boot, tag), copy).ok()?;
            DescriptorSet::parse(set).ok().map(|set| (set.as_bytes().len(), super::hash_of(set)))
        });
        let Some((len, hash)) = set else { return self.corrupt() };
        // To the front, where it is sent from.
        let start = value.len().saturating_sub(len).saturating_sub(crate::crypto::TAG_LEN);
        store.set_space.copy_within(start..start.saturating_add(len), 0);
        (store.set_len, store.set_of) = (len, Some((boot, tag)));
        for region in &mut store.regions {
            if let Some(name) = region.bound.as_mut().filter(|name| (name.boot, name.tag) == (boot, tag)) {
                // The power went between the larger set and the table: it reads all records of the boot, too.
                name.set = hash;
            }
        }
    }

    /// Counts what is damaged in storage, and reports it once.
    pub(super) fn corrupt(&mut self) {
        self.discards.count(Discard::CorruptStorage);
        if let Some(store) = self.store.as_mut()
            && !core::mem::replace(&mut store.reported_corrupt, true)
        {
            self.events.push(DeviceEvent::StorageTrouble(StorageTrouble::Corrupt));
        }
    }

    /// Tells whether a packet that came has made something due in storage: an entry is to be trimmed, or another one can
    /// be read.
    pub(super) fn has_request(&self) -> bool {
        let Some(store) = self.store.as_ref() else { return false };
        if store.phase != Phase::Ready || store.pending.is_some() || store.retry_at.is_some() {
            return false;
        }
        let unread = |(boot, tag)| store.set_of != Some((boot, tag)) && store.table.find(boot, tag).is_some();
        store.regions.iter().any(|region| region.to_trim().is_some())
            || store.set_wanted.is_some_and(unread)
            || Lane::ALL.iter().copied().any(|lane| self.next_read(lane).is_some())
    }

    /// Takes note of what the backend has settled.
    pub(super) fn note_settled(&mut self) {
        let Some(store) = self.store.as_mut().filter(|store| store.phase == Phase::Ready) else { return };
        let gone = store.is_earlier_gone();
        for &lane in &Lane::ALL {
            let (backlog, end) = match self.outbox.backlog(lane) {
                Backlog::Earlier => self.outbox.backlog_span(lane),
                // What was read of an earlier boot is settled before another stream is.
                Backlog::Own | Backlog::Unbound => (u64::MAX, u64::MAX),
            };
            let own_done = self.outbox.base(lane) == self.outbox.live_first(lane);
            if self.outbox.backlog(lane) == Backlog::Own && own_done {
                self.outbox.end_own_backlog(lane);
            }
            let base = self.outbox.base(lane);
            let region = store.region_mut(lane);
            region.note_settled(backlog, base);
            if region.earlier == Earlier::Gone && region.bound.is_some() && backlog == end {
                region.bound = None;
                if self.outbox.backlog(lane) == Backlog::Earlier {
                    self.outbox.bind_backlog(lane, Backlog::Unbound, 0);
                }
            }
        }
        store.drop_drained();
        if !gone && store.is_earlier_gone() && self.live.is_some() {
            // The backend may forget the others now: a complete Streams frame says so.
            self.outbox.handle_renamed();
        }
    }

    /// The stream of an earlier boot that is in a lane's backlog.
    pub(super) fn earlier_stream(&self, lane: Lane) -> Option<StreamName> {
        let store = self.store.as_ref()?;
        store.region(lane).bound.filter(|_| self.outbox.backlog(lane) == Backlog::Earlier)
    }

    /// Takes note of whether a lane gives up records or has them stored.
    pub(super) fn review_spilling(&mut self, lane: Lane) {
        if let Some(store) = &self.store {
            self.outbox.set_spilling(lane, store.spills(lane));
        }
    }

    /// Returns the highest sequence of the present boot such that this record and all before it survive a power cut, or
    /// are settled; `None` if there is none.
    pub fn stored_through(&self, lane: Lane) -> Option<u64> {
        self.store.as_ref().filter(|store| store.phase == Phase::Ready)?;
        self.outbox.stored_end(lane).checked_sub(1)
    }

    /// Stores from now on every record at once: before a planned reboot, an update, or a power-off by the user.
    ///
    /// Go on to serve [`Device::poll_storage`] until [`Device::is_all_stored`]: then nothing is lost with the power.
    /// It stays so until the reboot. Does nothing without storage.
    pub fn store_all(&mut self) {
        if let Some(store) = &mut self.store {
            store.hurry = true;
        }
    }

    /// Tells whether every record that is not settled survives a power cut.
    pub fn is_all_stored(&self) -> bool {
        let ready = self.store.as_ref().is_some_and(|store| store.phase == Phase::Ready);
        let mut lanes = Lane::ALL.iter().copied();
        lanes.all(|lane| if ready { self.outbox.is_all_stored(lane) } else { self.outbox.is_empty() })
    }

    /// Returns the next event about what was stored.
    pub(super) fn stored_event(&mut self) -> Option<DeviceEvent> {
        let store = self.store.as_mut()?;
        Lane::ALL.iter().copied().find_map(|lane| {
            let report = core::mem::take(&mut store.region_mut(lane).report);
            let through = report.then(|| self.outbox.stored_end(lane))?.checked_sub(1)?;
            Some(DeviceEvent::Stored { lane, through })
        })
    }
}
