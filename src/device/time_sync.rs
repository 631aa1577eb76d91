//! What the device tells of its clock, and what it learns of the backend's.

use super::Device;
use super::live::Live;
use crate::framing::{BootTag, Frame, FrameWriter, TimeEcho, TimeSyncFrame};
use crate::time::Instant;

/// What a session owes in stamps.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stamps {
    /// The backend has asked for a stamp.
    pub(super) owed: bool,
    /// The backend's latest frame: its stamp, and when it came.
    latest: Option<(Instant, Instant)>,
}

impl Device<'_> {
    pub(super) fn handle_time_sync(&mut self, now: Instant, frame: &TimeSyncFrame) {
        let Some(live) = &mut self.live else { return };
        live.stamps.latest = Some((frame.sent, now));
        live.stamps.owed |= frame.ask;
    }

    /// Writes the stamp that is owed; tells whether it did.
    //= SPEC.md#time
    //# A device MUST answer a TimeSync frame that asks, with the next packet.
    pub(super) fn write_stamp(
        &self,
        live: &Live,
        now: Instant,
        tag: BootTag,
        writer: &mut FrameWriter<'_>,
    ) -> bool {
        if !live.stamps.owed {
            return false;
        }
        let latest = live.stamps.latest;
        let echo = latest.map(|(sent, arrived)| TimeEcho { sent, held: now.since(arrived) });
        let boot = Some((self.config.boot, tag));
        let frame = TimeSyncFrame { boot, echo, ..TimeSyncFrame::stamp(now) };
        writer.push(&Frame::TimeSync(frame)).is_ok()
    }
}
