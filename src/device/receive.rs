//! What a packet from the backend does.

use super::live::{Indexed, Repeat};
use super::{Device, DeviceEvent, DeviceReceived};
use crate::delivery::{AckOutcome, Queue};
use crate::error::{CloseReason, Discard};
use crate::framing::{AckFrame, Frame, Frames, Lane, RefusedFrame, Sender};
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

    #[inline(never)]
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
        self.connector.heard();
        if live.closing.is_some() {
            return Err(Discard::SessionClosed);
        }
        //= SPEC.md#frames
        //# A receiver MUST check all frames of a packet before it acts on any.
        let frames = Frames::parse_if(payload, |frame| frame.allowed_from(Sender::Backend));
        let Ok(frames) = frames else {
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

    #[inline(never)]
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
            Frame::DescriptorsRequest(index) => self.handle_descriptors_request(now, index),
            Frame::RekeyAccept(key) => {
                if let Err(discard) =
                    live.session.handle_rekey_accept(now, epoch, crate::crypto::PublicKey(key))
                {
                    self.discards.count(discard);
                }
            }
            Frame::RekeyHint => live.session.request_rekey(),
            Frame::Refused(refused) => self.handle_refused(refused),
            Frame::TimeSync(frame) => self.handle_time_sync(now, &frame),
            Frame::Command(command) => self.handle_command(now, command, sink),
            #[cfg(any(feature = "credentials", test))]
            Frame::CredentialRenewal(bytes) => self.handle_renewal(bytes),
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

    #[inline(never)]
    fn handle_ack(&mut self, now: Instant, ack: &AckFrame<'_>) {
        if let Some(live) = &mut self.live {
            live.session.peer_acked(ack.packet);
            live.listening.acked(ack.packet);
        }
        for stream in ack.streams() {
            let Some(indexed) = self.live.as_ref().and_then(|live| live.stream_of(stream.stream)) else {
                continue;
            };
            let outcome = match indexed {
                Indexed::Live(lane, true) => self.outbox.handle_ack(now, lane, &stream),
                Indexed::Live(lane, false) => self.outbox.handle_former_ack(now, lane, &stream),
                Indexed::Earlier(name) if self.earlier_stream(name.lane) == Some(name) => {
                    self.outbox.handle_ack(now, Queue::Backlog(name.lane), &stream)
                }
                Indexed::Earlier(_) => continue,
            };
            match outcome {
                AckOutcome::Settled(_) => self.handle_set_known(indexed),
                AckOutcome::Contradiction => self.discards.count(Discard::OutsideLedger),
            }
        }
    }

    /// The backend asks for the descriptor set of an index.
    fn handle_descriptors_request(&mut self, now: Instant, index: u8) {
        // A set that storage does not give out must not stand in the way of others.
        let sends = self.live.as_ref().is_some_and(|live| self.wanted_set(live).is_some());
        let Some(live) = &mut self.live else { return };
        let index = match live.stream_of(index) {
            // All of the present boot have one set.
            Some(Indexed::Live(_, true)) => live.index_of(Lane::Alarm),
            Some(Indexed::Earlier(_)) => index,
            _ => return,
        };
        // One after the other: the backend asks again for what it still lacks.
        if live.set_wanted.is_some_and(|wanted| wanted != index) {
            if sends && live.descriptors_from.is_some() {
                return;
            }
            (live.descriptors, live.descriptors_from) = (Repeat::now(now), None);
        }
        live.set_wanted = Some(index);
        if let Some(Indexed::Earlier(name)) = live.stream_of(index)
            && name.set != self.set_hash
            && let Some(store) = self.store.as_mut()
        {
            store.set_wanted = Some((name.boot, name.tag));
        }
    }

    /// The backend has the set of this stream.
    fn handle_set_known(&mut self, indexed: Indexed) {
        let Some(live) = &mut self.live else { return };
        let hash = |indexed| match indexed {
            Indexed::Live(_, true) => Some(self.set_hash),
            Indexed::Live(_, false) => None,
            Indexed::Earlier(name) => Some(name.set),
        };
        let known = hash(indexed);
        let wanted = live.set_wanted.and_then(|index| live.stream_of(index)).and_then(hash);
        if known.is_some() && known == wanted {
            (live.set_wanted, live.descriptors_from) = (None, None);
            // The next one is another set: it need not wait as a repetition does.
            live.descriptors = Repeat::now(Instant::ZERO);
        }
    }

    #[inline(never)]
    fn handle_refused(&mut self, refused: RefusedFrame) {
        let Some(live) = &self.live else { return };
        let (queue, boot) = match live.stream_of(refused.stream) {
            Some(Indexed::Live(lane, _)) => (Queue::Live(lane), self.boot),
            Some(Indexed::Earlier(name)) if self.earlier_stream(name.lane) == Some(name) => {
                (Queue::Backlog(name.lane), name.boot)
            }
            _ => return,
        };
        let count = self.outbox.handle_refused(queue, refused.first, refused.count);
        if count > 0 {
            let (lane, RefusedFrame { first, reason, .. }) = (queue.lane(), refused);
            self.events.push(DeviceEvent::RecordsRefused { boot, lane, first, count, reason });
        }
    }
}
