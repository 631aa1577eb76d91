//! What a packet from the backend does.

use super::{Device, DeviceEvent, DeviceReceived};
use crate::delivery::AckOutcome;
use crate::error::{CloseReason, Discard};
use crate::framing::{AckFrame, Frame, Frames, RefusedFrame, Sender};
use crate::time::Instant;
use crate::wire::{DataHeader, PacketKind, Side};

impl Device<'_> {
    pub(super) fn receive<'b>(
        &mut self,
        now: Instant,
        packet: &'b mut [u8],
        sink: &mut dyn FnMut(DeviceReceived<'b>),
    ) -> Result<(), Discard> {
        match PacketKind::parse(packet, Side::Backend)? {
            PacketKind::Data => self.handle_data(now, packet, sink),
            PacketKind::Reply => self.handle_reply(now, packet),
            PacketKind::Retry => self.handle_retry(now, packet),
            PacketKind::Reset => self.handle_reset(now, packet),
            PacketKind::Hello | PacketKind::Finish => Err(Discard::WrongDirection),
            PacketKind::Fragment => Err(Discard::UnknownType),
        }
    }

    fn handle_data<'b>(
        &mut self,
        now: Instant,
        packet: &'b mut [u8],
        sink: &mut dyn FnMut(DeviceReceived<'b>),
    ) -> Result<(), Discard> {
        let header = DataHeader::parse(packet, self.config.connection_id.len())?;
        if header.connection_id() != self.config.connection_id {
            return Err(Discard::UnknownConnection);
        }
        let live = self.live.as_mut().ok_or(Discard::UnknownConnection)?;
        let opened = match live.session.open(now, &header, packet) {
            Ok(opened) => opened,
            Err(discard) => {
                if let Some(reason) = live.session.closed() {
                    self.end_session(now, reason);
                }
                return Err(discard);
            }
        };
        let epoch = opened.epoch;
        let payload: &'b [u8] = opened.payload;
        let first = live.heard(now);
        if live.closing.is_some() {
            return Err(Discard::SessionClosed);
        }
        //= SPEC.md#frames
        //# A receiver MUST check all frames of a packet before it acts on any.
        let frames = Frames::parse(payload)
            .ok()
            .filter(|frames| frames.clone().all(|frame| frame.allowed_from(Sender::Backend)));
        let Some(frames) = frames else {
            //= SPEC.md#frames
            //# A receiver MUST close the session with reason 2 on a malformed frame or an unknown type below 64.
            if let Some(live) = &mut self.live {
                live.closing = Some(CloseReason::ProtocolViolation);
            }
            return Err(Discard::MalformedFrames);
        };
        // A session that begins with a Close never was one for the application.
        if first && !frames.clone().any(|frame| matches!(frame, Frame::Close(_))) {
            self.connected();
        }
        for frame in frames {
            self.handle_frame(now, epoch, frame, sink);
        }
        Ok(())
    }

    fn handle_frame<'b>(
        &mut self,
        now: Instant,
        epoch: u64,
        frame: Frame<'b>,
        sink: &mut dyn FnMut(DeviceReceived<'b>),
    ) {
        let Some(live) = &mut self.live else { return };
        match frame {
            Frame::Ping(token) => live.pong = Some(token),
            Frame::Ack(ack) => self.handle_ack(now, &ack),
            Frame::Credit(frames) => self.outbox.handle_credit(frames),
            Frame::DescriptorsRequest(index) if matches!(live.lane_of(index), Some((_, true))) => {
                live.set_wanted = true;
            }
            Frame::RekeyAccept(key) => {
                if let Err(discard) =
                    live.session.handle_rekey_accept(now, epoch, crate::crypto::PublicKey(key))
                {
                    self.discards.count(discard);
                }
            }
            Frame::RekeyHint => live.session.request_rekey(),
            Frame::Refused(refused) => self.handle_refused(refused),
            Frame::Ticket(ticket) => self.handle_ticket(epoch, &ticket),
            Frame::Close(reason) => {
                self.forget_ticket_after(reason);
                self.end_session(now, reason);
            }
            //= SPEC.md#frames
            //# A receiver MUST skip and count an unknown frame of type 64 or above.
            Frame::Extension { kind, body } => {
                self.discards.count(Discard::UnknownExtension);
                sink(DeviceReceived::Extension { kind, body });
            }
            _ => {}
        }
    }

    fn handle_ack(&mut self, now: Instant, ack: &AckFrame<'_>) {
        if let Some(live) = &mut self.live {
            live.session.peer_acked(ack.packet);
        }
        for stream in ack.streams() {
            let Some(live) = &mut self.live else { continue };
            let Some((lane, present)) = live.lane_of(stream.stream) else { continue };
            let outcome = if present {
                self.outbox.handle_ack(now, lane, &stream)
            } else {
                self.outbox.handle_former_ack(now, lane, &stream)
            };
            match outcome {
                AckOutcome::Settled(_) if present => {
                    (live.set_wanted, live.descriptors_from) = (false, None);
                }
                AckOutcome::Settled(_) => {}
                AckOutcome::Contradiction => self.discards.count(Discard::OutsideLedger),
            }
        }
    }

    fn handle_refused(&mut self, refused: RefusedFrame) {
        let lane = self.live.as_ref().and_then(|live| live.lane_of(refused.stream));
        let Some((lane, _)) = lane else { return };
        let count = self.outbox.handle_refused(lane, refused.first, refused.count);
        if count > 0 {
            let RefusedFrame { first, reason, .. } = refused;
            self.events.push(DeviceEvent::RecordsRefused { lane, first, count, reason });
        }
    }
}
