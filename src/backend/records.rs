//! What becomes of a Records frame.

use super::event::{BackendEvent, Batch, BatchRef, Received, SlotRef};
use super::{Backend, Path};
use crate::delivery::{Offer, StreamKey};
use crate::error::Discard;
use crate::framing::{DescriptorSet, Record, RecordsFrame, RefusedFrame, RefusedReason};
use crate::identity::{Identity, Scopes};
use crate::permission::{permits, permits_measurement};

impl<P: Path> Backend<P> {
    pub(super) fn handle_records<'b>(
        &mut self,
        at: SlotRef,
        frame: RecordsFrame<'b>,
        sink: &mut dyn FnMut(Received<'b>),
    ) -> Result<(), Discard> {
        let live = self.slots.live_mut(at).ok_or(Discard::UnknownConnection)?;
        if live.closing.is_some() {
            return Err(Discard::SessionClosed);
        }
        let (stream, set) = live.streams.find(frame.stream).ok_or(Discard::UnknownStream)?;
        let own = set.known().cloned();
        let lacking = own.is_none();
        if lacking {
            live.make_rare().wanted_set = Some(frame.stream);
        }
        // Sets only grow: what another one of the boot reads, it reads as the right one will.
        let set = own.or_else(|| live.sister_set(&stream)).ok_or(Discard::UnknownDescriptors)?;
        let index = live.device().ok_or(Discard::NotAccepted)?;
        let (identity, inbox) = self.devices.receiving(index).ok_or(Discard::NotAccepted)?;
        if let Some(refused) = check_records(&frame, &set.set(), live.scopes) {
            //= SPEC.md#growing-sets
            //# A backend MUST NOT refuse a record as undecodable that it has read with another set than that of the record's stream index.
            if lacking && refused.reason == RefusedReason::Undecodable {
                return Err(Discard::UnknownDescriptors);
            }
            live.refuse(refused);
            return Err(self.refused(identity, stream, refused));
        }
        let offer = inbox.offer(stream, frame.first, frame.count);
        let Offer::Deliver { batch: number, .. } = offer else {
            // The device has to hear how far its stream has come, and that somebody is there.
            live.mark_stream(&stream);
            return Err(match offer {
                Offer::Repeated => Discard::RepeatedRecords,
                Offer::Awaiting => Discard::AwaitingCommit,
                Offer::Outside => Discard::OutsideLedger,
                Offer::Full => Discard::Backpressure,
                Offer::Unnamed | Offer::Deliver { .. } => Discard::UnknownStream,
            });
        };
        let mark = inbox.mark(number).ok_or(Discard::Backpressure)?;
        let batch = BatchRef { shard: self.config.shard, device: index, number };
        //= SPEC.md#ledger
        //# A backend MUST hand out a closed stream with every batch that it delivers until one of these is committed.
        let closed = inbox.closed().collect();
        let fence = live.fence;
        self.totals.delivered(&mark);
        sink(Received::Batch(Batch { batch, identity, mark, closed, fence, frame, set }));
        Ok(())
    }

    /// Reports a refusal; a malformed record is a discard only, as it may be a mistake of the firmware.
    fn refused(&mut self, identity: Identity, stream: StreamKey, refused: RefusedFrame) -> Discard {
        let RefusedFrame { first, count, reason, .. } = refused;
        if reason != RefusedReason::OutOfScope {
            return Discard::MalformedRecords;
        }
        self.push_event(BackendEvent::ScopeRefused { identity, stream, first, count });
        Discard::ScopeRefused
    }
}

/// Decodes every record and checks its scope; returns the first run that must be refused.
fn check_records(frame: &RecordsFrame<'_>, set: &DescriptorSet<'_>, scopes: Scopes) -> Option<RefusedFrame> {
    let mut run: Option<RefusedFrame> = None;
    let (mut records, mut next) = (frame.records(set), 0u8);
    let may = |other: Option<&Record<'_>>| match other {
        None => permits_measurement(scopes),
        Some(record) => permits(scopes, record),
    };
    while let Some(permitted) = records.check_next(may) {
        let offset = next;
        // There are at most 64, and one error.
        next = next.saturating_add(1);
        let reason = match permitted {
            Ok(true) => None,
            Ok(false) => Some(RefusedReason::OutOfScope),
            Err(_) => Some(RefusedReason::Undecodable),
        };
        let RecordsFrame { stream, first, count, .. } = *frame;
        match (reason, &mut run) {
            // Bytes follow the last record: none of them can be trusted.
            (Some(reason), None) if offset >= count => {
                run = Some(RefusedFrame { stream, first, count, reason })
            }
            (Some(reason), None) => {
                run = Some(RefusedFrame {
                    stream,
                    first: first.saturating_add(offset.into()),
                    count: 1,
                    reason,
                });
            }
            (Some(reason), Some(run)) if run.reason == reason => run.count = run.count.saturating_add(1),
            (None, None) => {}
            (_, Some(_)) => break,
        }
    }
    run
}
