//! Reading back what was stored: which entry comes next, and what of it goes into the backlog.

use super::Device;
use super::region::{Earlier, Region, StreamName, Wait};
use super::store::{Pending, Store};
use crate::delivery::{Backlog, LoadRefusal, Outbox};
use crate::framing::{Lane, RunReader};
use crate::storage::{EntryHeader, SegmentKey};

/// What became of an entry.
enum Loaded {
    /// All of it is in the backlog, or is not wanted.
    Whole,
    /// The rest has to wait.
    Waits(Wait),
    /// It is damaged, or nobody's.
    Corrupt,
}

impl Device<'_> {
    /// Returns what is to be read of a lane's region, if there is room for it.
    pub(super) fn next_read(&self, lane: Lane) -> Option<Pending> {
        let (region, outbox) = (self.store.as_ref()?.region(lane), &self.outbox);
        let span = outbox.backlog_span(lane);
        if region.waits(span) || !outbox.backlog_has_room(lane) {
            return None;
        }
        let reading = region.earlier == Earlier::Reading;
        let own_missing = |from: u64| from < outbox.live_first(lane);
        let own = match outbox.backlog(lane) {
            Backlog::Own => own_missing(span.1).then_some(true),
            Backlog::Earlier if span.0 != span.1 => reading.then_some(false),
            // What this boot had to put away goes before earlier boots' alarms: they are older. In other lanes it
            // comes after them, as a region is freed from its old end only.
            Backlog::Earlier | Backlog::Unbound if own_missing(outbox.base(lane)) => {
                Some(lane == Lane::Alarm || !reading)
            }
            Backlog::Earlier | Backlog::Unbound => reading.then_some(false),
        }?;
        let after = if own { region.own_start() } else { region.after };
        Some(Pending::Read { lane, after, own })
    }

    pub(super) fn handle_entry(&mut self, lane: Lane, own: bool, number: u64, bytes: &[u8]) {
        let Some(store) = self.store.as_mut() else { return };
        let first_own = store.region(lane).own_first;
        if !own && first_own.is_some_and(|first| number >= first) {
            store.region_mut(lane).earlier = Earlier::Read;
            return;
        }
        let loaded = if own {
            load_own(store, &mut self.outbox, lane, bytes)
        } else {
            load_earlier(store, &mut self.outbox, lane, number, bytes)
        };
        let region = store.region_mut(lane);
        region.wait = Wait::Nothing;
        match loaded {
            Loaded::Waits(wait) => region.wait = wait,
            Loaded::Whole if own => region.own_after = Some(number),
            Loaded::Whole => region.after = Some(number),
            //= SPEC.md#stored-entries
            //# A device MUST skip and count an entry that it cannot open.
            Loaded::Corrupt => {
                if own {
                    region.own_after = Some(number);
                } else {
                    region.skip(number);
                }
                self.corrupt();
            }
        }
    }

    /// There is nothing more to read.
    pub(super) fn handle_end(&mut self, lane: Lane, own: bool) {
        let Some(store) = self.store.as_mut() else { return };
        let region = store.region_mut(lane);
        if !own {
            region.earlier = Earlier::Read;
            return;
        }
        // What is missing before the live records is lost: entries were damaged.
        let (first, end) = self.outbox.backlog_span(lane);
        if first == end {
            self.outbox.end_own_backlog(lane);
        } else {
            region.wait = Wait::Empty;
        }
    }
}

impl Region {
    /// After which entry reading goes on, of the present boot.
    fn own_start(&self) -> Option<u64> {
        self.own_after.or_else(|| self.own_first.and_then(|first| first.checked_sub(1)))
    }
}

/// Takes an entry of an earlier boot.
fn load_earlier(
    store: &mut Store<'_>,
    outbox: &mut Outbox<'_>,
    lane: Lane,
    number: u64,
    bytes: &[u8],
) -> Loaded {
    let Some(header) = EntryHeader::parse(bytes).filter(|header| header.lane == lane) else {
        return Loaded::Corrupt;
    };
    if (header.boot, header.tag) == store.boot() {
        // It was stored although the storage said that it had failed. Its records are in memory, or settled.
        store.region_mut(lane).skip(number);
        return Loaded::Whole;
    }
    let Some((_, boot)) = store.table.find(header.boot, header.tag) else { return Loaded::Corrupt };
    let name = StreamName { boot: boot.number, tag: boot.tag, lane, set: boot.set };
    let key = SegmentKey::new(&store.config.key, &boot.salt);
    let bound = store.region(lane).bound.filter(|_| outbox.backlog(lane) == Backlog::Earlier);
    let same = bound.is_some_and(|bound| (bound.boot, bound.tag) == (name.boot, name.tag));
    let (first, end) = outbox.backlog_span(lane);
    if !same && first != end {
        return Loaded::Waits(Wait::Empty);
    }
    let Some(copy) = store.buffer.get_mut(..bytes.len()) else { return Loaded::Corrupt };
    copy.copy_from_slice(bytes);
    let Ok(records) = header.open(&key, copy) else { return Loaded::Corrupt };
    if !same {
        outbox.bind_backlog(lane, Backlog::Unbound, 0);
        outbox.bind_backlog(lane, Backlog::Earlier, header.first);
    }
    let loaded = load(outbox, lane, Backlog::Earlier, &header, records, u64::MAX);
    let region = store.region_mut(lane);
    if !same {
        region.bound = Some(name);
    }
    if matches!(loaded, Loaded::Whole) {
        region.loaded.push(number, header.end());
    }
    loaded
}

/// Takes an entry of the present boot, as far as its records are not in memory.
fn load_own(store: &mut Store<'_>, outbox: &mut Outbox<'_>, lane: Lane, bytes: &[u8]) -> Loaded {
    let Some(header) = EntryHeader::parse(bytes)
        .filter(|header| (header.boot, header.tag) == store.boot() && header.lane == lane)
    else {
        return Loaded::Corrupt;
    };
    let (base, live) = (outbox.base(lane), outbox.live_first(lane));
    if header.end() <= base {
        return Loaded::Whole;
    }
    let Some(copy) = store.buffer.get_mut(..bytes.len()) else { return Loaded::Corrupt };
    copy.copy_from_slice(bytes);
    let Some(key) = store.key.as_ref() else { return Loaded::Corrupt };
    let Ok(records) = header.open(key, copy) else { return Loaded::Corrupt };
    if outbox.backlog(lane) != Backlog::Own {
        outbox.bind_backlog(lane, Backlog::Own, header.first.max(base).min(live));
    }
    load(outbox, lane, Backlog::Own, &header, records, live)
}

/// Loads the records of an entry that are not loaded yet, up to `limit`.
fn load(
    outbox: &mut Outbox<'_>,
    lane: Lane,
    backlog: Backlog,
    header: &EntryHeader,
    records: &[u8],
    limit: u64,
) -> Loaded {
    for (sequence, record) in (header.first..header.end()).zip(RunReader::new(records)) {
        let Ok((time, record)) = record else { break };
        let (first, end) = outbox.backlog_span(lane);
        if sequence < end {
            continue;
        }
        let empty = first == end;
        if sequence >= limit {
            // What is missing up to there was settled without being stored, or is lost.
            return match (end < limit, empty) {
                (true, false) => Loaded::Waits(Wait::Empty),
                (true, true) => {
                    outbox.end_own_backlog(lane);
                    Loaded::Waits(Wait::Nothing)
                }
                (false, _) => Loaded::Waits(Wait::Nothing),
            };
        }
        if sequence > end {
            // Those between were settled without being stored, or are lost.
            if !empty {
                return Loaded::Waits(Wait::Empty);
            }
            outbox.bind_backlog(lane, backlog, sequence);
        }
        match outbox.load(lane, sequence, time, record) {
            Ok(()) => {}
            // A record that an earlier firmware made longer than this one's memory: lost.
            Err(LoadRefusal::TooLong) if empty => {
                outbox.bind_backlog(lane, backlog, sequence.saturating_add(1))
            }
            Err(LoadRefusal::NoRoom) => return Loaded::Waits(Wait::Move(first)),
            Err(_) => return Loaded::Waits(Wait::Empty),
        }
    }
    Loaded::Whole
}
