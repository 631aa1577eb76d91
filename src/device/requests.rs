//! What a device asks of its storage, one request at a time, and what it makes of the answers.

use super::pin::PinCopy;
use super::store::{Pending, Phase};
use super::tickets::TicketWant;
use super::{Device, DeviceEvent, StorageTrouble};
use crate::entropy::Entropy;
use crate::error::Discard;
use crate::framing::{BootTag, DescriptorSet, Lane};
use crate::limits::{STORAGE_RETRY, TABLE_READS};
use crate::storage::{
    BootTable, SegmentKey, StorageReply, StorageRequest, open_descriptors, open_ticket, seal_ticket,
};
use crate::time::Instant;
use zeroize::Zeroize;

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
            let next = self.next_pending(now, rng);
            self.review_generator(now, next.is_none());
            self.store.as_mut()?.pending = Some(next?);
        }
        self.store.as_ref()?.request()
    }

    /// Takes note of whether the generator works, and reports it where it has begun to fail.
    fn review_generator(&mut self, now: Instant, idle: bool) {
        let Some(store) = self.store.as_mut() else { return };
        let known = store.starved.is_some();
        match store.drawn.take() {
            Some(false) => store.starved = Some(now + STORAGE_RETRY),
            Some(true) => store.starved = None,
            // Nothing needs it any more.
            None if idle => store.starved = None,
            None => {}
        }
        if store.starved.is_some() && !known {
            self.events.push(DeviceEvent::StorageTrouble(StorageTrouble::NoEntropy));
        }
    }

    /// Until when what needs randomness for the storage can wait, as the generator has failed.
    pub(super) fn starved_until(&self) -> Option<Instant> {
        self.store.as_ref().and_then(|store| store.starved)
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
        // What can be done without a generator that has failed does not wait for what cannot.
        if let Some(want) = self.tickets.wants()
            && let Some(pending) = self.next_ticket(want, rng)
        {
            return Some(pending);
        }
        if let Some(pending) = self.next_pin(now, rng) {
            return Some(pending);
        }
        let store = self.store.as_mut()?;
        if let Some(trim) = store.next_trim() {
            return Some(trim);
        }
        if store.table_dirty
            && let Some(pending) = store.put_boots(rng)
        {
            return Some(pending);
        }
        for lane in Lane::ALL {
            let store = self.store.as_ref()?;
            if store.is_append_due(now, lane, &self.outbox)
                && let Some(pending) = self.next_append(lane, rng)
            {
                return Some(pending);
            }
        }
        let set = self.store.as_ref()?.next_set();
        set.or_else(|| Lane::ALL.into_iter().find_map(|lane| self.next_read(lane)))
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
        if store.is_listed(self.set_hash) {
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
                if !self.handle_pin(now, reply) {
                    self.storage_failed(now, failing);
                }
            }
            (Pending::PutPin(pin), StorageReply::Done) => store.pin = PinCopy::Known(Some(pin)),
            (Pending::DeletePin, StorageReply::Done) => store.pin = PinCopy::Known(None),
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
            _ => self.storage_failed(now, failing),
        }
        self.note_settled();
    }

    /// Leaves the storage alone for a while, and reports it if the request before has not failed, too.
    fn storage_failed(&mut self, now: Instant, failing: bool) {
        let Some(store) = self.store.as_mut() else { return };
        store.retry_at = Some(now + STORAGE_RETRY);
        store.failing = true;
        if !failing {
            self.events.push(DeviceEvent::StorageTrouble(StorageTrouble::Failed));
        }
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
                self.discards.count(Discard::CorruptStorage);
                //= SPEC.md#stored-boots
                //# A device MUST NOT overwrite a table of boots that it cannot open before it has read it 4 times.
                store.table_reads = store.table_reads.saturating_add(1);
                if store.table_reads < TABLE_READS {
                    return;
                }
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

    /// Tells whether something is due in storage that came up after this turn's requests: a packet has settled an entry,
    /// which is to be trimmed, or made room to read another one, or an attempt to connect wants the stored ticket erased.
    pub(super) fn has_request(&self) -> bool {
        let Some(store) = self.store.as_ref().filter(|store| store.is_idle()) else { return false };
        let starved = store.starved.is_some();
        self.tickets.wants().is_some_and(|want| want != TicketWant::Store || !starved)
            || store.next_trim().is_some()
            || store.next_set().is_some()
            || Lane::ALL.into_iter().any(|lane| self.next_read(lane).is_some())
    }
}
