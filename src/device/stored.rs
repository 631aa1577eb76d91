//! What has become of the records: which of them are settled, which would survive a power cut.

use super::region::{Earlier, StreamName};
use super::store::Phase;
use super::{Device, DeviceEvent};
use crate::delivery::Backlog;
use crate::framing::Lane;

impl Device<'_> {
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
