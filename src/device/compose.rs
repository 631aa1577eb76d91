//! What goes into the next data packet.

use super::Device;
use super::commands::ResultsSent;
use super::live::{Indexed, Live, REPORT_AFTER, REPORT_AT_ONCE, Repeat, Urgency};
use super::region::StreamName;
use super::time_sync::StampSent;
use crate::codec::{BufferTooSmall, varint_len};
use crate::crypto::EphemeralSecret;
use crate::delivery::{Backlog, CutBatch, Queue};
use crate::entropy::Entropy;
use crate::error::{CallError, CloseReason};
use crate::framing::{
    AckFrame, BootTag, DescriptorsFrame, Frame, FrameKind, FrameWriter, Lane, StreamEntry, StreamsWriter,
};
use crate::limits::{MAX_PACKET, MIN_MAX_PACKET};
use crate::session::SealError;
use crate::time::Instant;
use crate::wire::TAG_LEN;

/// The fewest bytes of a descriptor set that are worth a frame.
const MIN_DESCRIPTOR_CHUNK: usize = 16;
/// Stream index, total length, offset.
const DESCRIPTORS_OVERHEAD: usize = 1 + 2 + 2;
/// Of a Streams frame: type, length, flags, boot tag, hash, number of streams.
const STREAMS_OVERHEAD: usize = 1 + 1 + 1 + 4 + 16 + 1;
/// At most this many batches share a packet: one per queue.
const MAX_BATCHES: usize = Queue::ALL.len();

/// What a packet carries that must be booked once it is sealed.
#[derive(Default)]
struct Manifest {
    batches: [Option<CutBatch>; MAX_BATCHES],
    /// The queues whose streams its Streams frame names.
    named: [Option<Queue>; MAX_BATCHES],
    rekey: bool,
    report: bool,
    pong: bool,
    renewal: bool,
    closing: bool,
    stamp: StampSent,
    listen: bool,
    results: ResultsSent,
    descriptors_to: Option<Option<usize>>,
    /// The backend must answer it.
    eliciting: bool,
}

impl Device<'_> {
    /// When the session has something to send next.
    pub(super) fn next_send(&self, live: &Live) -> Option<Instant> {
        let at_once = live.closing.is_some()
            || live.pong.is_some()
            || live.renewal_owed
            || live.stamps.is_owed()
            || live.commands.is_due(self.space(live))
            || live.unreported >= REPORT_AT_ONCE
            || live.descriptors_from.is_some() && self.wanted_set(live).is_some();
        let descriptors = self.wanted_set(live).map(|_| live.descriptors.due);
        let rekey = live.session.rekey_request().is_some().then_some(live.rekey.due);
        let timers = [
            at_once.then_some(Instant::ZERO),
            live.ask_due(),
            rekey,
            descriptors,
            live.stamps.ask_due(),
            self.outbox.poll_ready(self.space(live)),
            self.outbox.poll_streams(),
        ];
        Instant::earliest(&timers)
    }

    /// Returns the descriptor set that the backend wants, as far as it is in memory, and the index of its stream.
    pub(super) fn wanted_set(&self, live: &Live) -> Option<(u8, &[u8])> {
        let index = live.set_wanted?;
        match live.stream_of(index)? {
            Indexed::Earlier(name) if name.set != self.set_hash => {
                Some((index, self.store.as_ref()?.set_of(name.boot, name.tag)?))
            }
            Indexed::Earlier(_) => Some((index, self.set.as_bytes())),
            Indexed::Live(..) => {
                let (lane, _) = self.outbox.streams().next()?;
                Some((live.index_of(lane), self.set.as_bytes()))
            }
        }
    }

    /// Returns the index of a queue's stream, if it has one.
    fn index_of(&self, live: &Live, queue: Queue) -> Option<u8> {
        match queue {
            Queue::Backlog(lane) if self.outbox.backlog(lane) != Backlog::Own => {
                live.index_of_earlier(self.earlier_stream(lane)?)
            }
            Queue::Live(lane) | Queue::Backlog(lane) => Some(live.index_of(lane)),
        }
    }

    /// Gives indices to the earlier boots' streams in the backlogs; `false` if the session has none left.
    fn give_indices(&mut self) -> bool {
        Lane::ALL.iter().copied().all(|lane| {
            let Some(name) = self.earlier_stream(lane) else { return true };
            self.live.as_mut().is_none_or(|live| live.give_index(name))
        })
    }

    /// How long the body of a Records frame may be in a packet that carries nothing else.
    fn space(&self, live: &Live) -> usize {
        let max = match self.link {
            super::Link::Up { max_packet } => {
                usize::from(max_packet).max(MIN_MAX_PACKET).min(live.peer_limits.max_packet().into())
            }
            super::Link::Down => 0,
        };
        let header = live.session.header_len(&live.peer_connection_id);
        max.saturating_sub(header).saturating_sub(TAG_LEN).saturating_sub(1)
    }

    /// Writes the next data packet, if there is something to say.
    #[inline(never)]
    pub(super) fn transmit_session(
        &mut self,
        now: Instant,
        tag: BootTag,
        max_packet: usize,
        rng: &mut dyn Entropy,
        out: &mut [u8],
    ) -> Result<Option<usize>, CallError> {
        if self.live.as_ref().is_some_and(|live| live.may_send() && live.closing.is_none())
            && !self.give_indices()
        {
            //= SPEC.md#earlier-boots
            //# A device MUST begin a new session where it has no stream index left for a stream of an earlier boot.
            self.end_session(now, CloseReason::Application);
            self.connector.want(now);
            return Ok(None);
        }
        let Some(live) = self.live.as_mut().filter(|live| live.may_send()) else { return Ok(None) };
        //= SPEC.md#descriptors-frame
        //# A device MUST send its descriptor set when the backend asks for it, and repeat it from the front until an Ack names a stream with it.
        if live.set_wanted.is_some() && live.descriptors.due <= now {
            live.descriptors_from.get_or_insert(0);
        }
        let mut idle = Ok(None);
        if live.session.wants_dh(now) {
            let hedge = self.config.identity.static_dh().hedge_key();
            match EphemeralSecret::generate_hedged(rng, &hedge, &tag.0) {
                Ok(secret) => {
                    live.session.start_dh(secret);
                    live.rekey = Repeat::now(now);
                }
                // Data goes on without it.
                Err(error) => idle = Err(error.into()),
            }
        }
        let Some(live) = self.live.as_ref() else { return Ok(None) };
        if self.next_send(live).is_none_or(|at| at > now) {
            return idle;
        }
        let max = max_packet.min(live.peer_limits.max_packet().into()).min(MAX_PACKET);
        if out.len() < max.min(MIN_MAX_PACKET) {
            return Err(BufferTooSmall { needed: max.min(MIN_MAX_PACKET) }.into());
        }
        let head = live.session.header_len(&live.peer_connection_id);
        let end = max.min(out.len()).saturating_sub(TAG_LEN);
        let mut random = [0u8; 8];
        if rng.fill(&mut random).is_err() {
            random = [0; 8]; // it is for jitter, and the token of a Ping to which nobody but the backend listens
        }
        let short = out.len() < max;
        let payload = out.get_mut(head..end).unwrap_or_default();
        let (len, manifest) = self.compose(live, now, tag, random, payload);
        match len {
            0 if short => Err(BufferTooSmall { needed: max }.into()),
            0 => Ok(None),
            len => self.seal(now, manifest, random, len, out),
        }
    }

    #[inline(never)]
    fn seal(
        &mut self,
        now: Instant,
        manifest: Manifest,
        random: [u8; 8],
        len: usize,
        out: &mut [u8],
    ) -> Result<Option<usize>, CallError> {
        let Some(live) = self.live.as_mut() else { return Ok(None) };
        let id = live.peer_connection_id;
        let counter = live.session.next_counter();
        let len = match live.session.seal(now, &id, out, len) {
            Ok(packet) => packet.len(),
            Err(SealError::BufferTooSmall(error)) => return Err(error.into()),
            Err(SealError::PacketTooLong) => return Ok(None),
            Err(SealError::Closed(reason)) => {
                self.end_session(now, reason);
                return Ok(None);
            }
        };
        live.listening.sent(now, counter, manifest.listen);
        self.check_ratchets();
        let Some(live) = self.live.as_mut() else { return Ok(None) };
        if manifest.report {
            live.unreported = 0;
        }
        if manifest.pong {
            live.pong = None;
        }
        live.renewal_owed &= !manifest.renewal;
        live.stamps.sent(now, manifest.stamp, self.outbox.time_out());
        live.commands.sent(manifest.results);
        let wait = self.outbox.time_out();
        // Who sleeps after each packet would wake only to ask.
        let urgency = match self.config.listen {
            None if self.outbox.has_alarm() => Urgency::Alarm,
            _ => Urgency::Usual,
        };
        if let Some(rest) = manifest.descriptors_to {
            live.descriptors_from = rest;
            if rest.is_none() {
                live.descriptors.sent(now, wait);
                // What came before the set was of no use.
                self.outbox.handle_discarded();
            }
        }
        if manifest.rekey {
            live.rekey.sent(now, wait);
        }
        if let Some(prove) = &mut live.prove {
            prove.sent(now, wait);
        }
        if manifest.eliciting {
            let [.., a, b, c, d] = random;
            live.owes_answer(now, wait, urgency, u32::from_le_bytes([a, b, c, d]));
        }
        if manifest.named.iter().flatten().next().is_some() {
            self.outbox.streams_sent(now, manifest.named.into_iter().flatten());
            if let Some(live) = &mut self.live {
                live.named = true;
            }
        }
        let [a, b, c, d, ..] = random;
        for batch in manifest.batches.into_iter().flatten() {
            self.outbox.book(now, batch, u32::from_le_bytes([a, b, c, d]));
        }
        if manifest.closing
            && let Some(reason) = self.live.as_mut().and_then(|live| live.closing.take())
        {
            self.end_session(now, reason);
        }
        Ok(Some(len))
    }

    /// Writes the frames; changes nothing.
    #[inline(never)]
    fn compose(
        &self,
        live: &Live,
        now: Instant,
        tag: BootTag,
        random: [u8; 8],
        payload: &mut [u8],
    ) -> (usize, Manifest) {
        let mut manifest = Manifest::default();
        let mut writer = FrameWriter::new(payload);
        if let Some(reason) = live.closing {
            manifest.closing = writer.push(&Frame::Close(reason)).is_ok();
            return (writer.len(), manifest);
        }
        if let Some(key) = live.session.rekey_request()
            && live.rekey.due <= now
        {
            manifest.rekey = writer.push(&Frame::RekeyRequest(key.0)).is_ok();
            manifest.eliciting |= manifest.rekey;
        }
        if let Some(token) = live.pong {
            manifest.pong = writer.push(&Frame::Pong(token)).is_ok();
        }
        if cfg!(any(feature = "credentials", test)) && live.renewal_owed {
            let hash = self.config.identity.credential().hash();
            manifest.renewal = writer.push(&Frame::CredentialRenewal(&hash.0)).is_ok();
        }
        manifest.results = live.commands.write(&mut writer);
        manifest.stamp = self.write_stamp(live, now, tag, &mut writer);
        if live.unreported >= REPORT_AFTER {
            let ack = AckFrame::of_packet(live.session.highest_received());
            manifest.report = writer.push(&Frame::Ack(ack)).is_ok();
        }
        if self.outbox.streams_due(now) || self.repeats_streams(now, &writer) {
            self.write_streams(live, now, tag, &mut writer, &mut manifest);
        }
        self.write_descriptors(live, &mut writer, &mut manifest);
        self.write_batches(live, now, &mut writer, &mut manifest);
        if writer.is_empty() && live.ask_due().is_some_and(|due| due <= now) {
            manifest.eliciting = writer.push(&Frame::Ping(random)).is_ok();
        }
        manifest.listen = self.write_listen(live, &mut writer);
        (writer.len(), manifest)
    }

    /// Tells whether the packet will have records of a stream that the backend may not know yet, and room for a Streams
    /// frame before them: without it they would be of no use if the one before is lost.
    //= SPEC.md#stream-names
    //# Until then, a device MUST put a Streams frame into each packet with Records frames of that stream which has room for both, before them.
    #[inline(never)]
    fn repeats_streams(&self, now: Instant, writer: &FrameWriter<'_>) -> bool {
        let boot = STREAMS_OVERHEAD.saturating_add(varint_len(self.boot.into()));
        let live = self.outbox.streams().map(|(_, oldest)| varint_len(oldest).saturating_add(2));
        let earlier = self.outbox.earlier_streams().map(|(_, oldest)| {
            varint_len(oldest).saturating_add(2).saturating_add(STREAMS_OVERHEAD).saturating_add(5)
        });
        let len = live.chain(earlier).fold(boot, usize::saturating_add);
        let space = writer.remaining().unwrap_or(0).saturating_sub(len);
        Queue::ALL.iter().copied().any(|queue| {
            !self.outbox.is_named(queue)
                && self.outbox.room(queue.lane()) > 0
                && self.outbox.is_ready(now, queue, space)
        })
    }

    /// Tells whether a Streams frame that names what is in the outbox is a complete one.
    //= SPEC.md#earlier-boots
    //# A device MUST NOT send a complete Streams frame that does not name a stream of which an entry may be stored.
    pub(super) fn names_all_streams(&self) -> bool {
        self.store.as_ref().is_none_or(|store| store.is_earlier_gone())
    }

    /// Names all streams that are in memory; where that does not fit, as many as fit of those that must be named now.
    #[inline(never)]
    fn write_streams(
        &self,
        live: &Live,
        now: Instant,
        tag: BootTag,
        writer: &mut FrameWriter<'_>,
        manifest: &mut Manifest,
    ) {
        let listed = || {
            let present = self.outbox.streams().map(|(lane, oldest)| (Queue::Live(lane), oldest));
            let earlier = self.outbox.earlier_streams().map(|(lane, oldest)| (Queue::Backlog(lane), oldest));
            present.chain(earlier)
        };
        let complete = self.names_all_streams();
        for all in [true, false] {
            let mut queues = [None; MAX_BATCHES];
            let chosen =
                listed().filter(|(queue, _)| all || self.outbox.unnamed(now).any(|due| due == *queue));
            let mut count = 0usize;
            for (slot, queue) in queues.iter_mut().zip(chosen) {
                *slot = Some(queue);
                count = count.saturating_add(1);
            }
            let fewest = if all { count } else { 1 };
            for count in (fewest.max(1)..=count).rev() {
                let queues = queues.get(..count).unwrap_or_default();
                let written = writer.frame_with(FrameKind::Streams, |body| {
                    self.write_boots(live, tag, complete && all, queues, body)
                });
                if written {
                    for (named, queue) in manifest.named.iter_mut().zip(queues.iter().flatten()) {
                        *named = Some(queue.0);
                    }
                    manifest.eliciting = true;
                    return;
                }
            }
        }
    }

    /// Writes the body of a Streams frame with the streams of these queues, the present boot's first.
    #[inline(never)]
    fn write_boots(
        &self,
        live: &Live,
        tag: BootTag,
        complete: bool,
        queues: &[Option<(Queue, u64)>],
        body: &mut [u8],
    ) -> Option<usize> {
        let mut streams = StreamsWriter::new(body, complete).ok()?;
        let boot_of = |queue| match queue {
            Queue::Live(_) => Some((self.boot, tag, self.set_hash)),
            Queue::Backlog(lane) => {
                let StreamName { boot, tag, set, .. } = self.earlier_stream(lane)?;
                Some((boot, tag, set))
            }
        };
        let listed = || queues.iter().flatten().copied();
        for (at, (queue, _)) in listed().enumerate() {
            let (boot, tag, set) = boot_of(queue)?;
            if listed().take(at).any(|(before, _)| boot_of(before) == Some((boot, tag, set))) {
                continue;
            }
            let mut entries = [StreamEntry { index: 0, lane: Lane::Alarm, oldest: 0 }; Lane::ALL.len()];
            let mut count = 0usize;
            let of_boot = listed().filter(|(other, _)| boot_of(*other) == Some((boot, tag, set)));
            for (entry, (queue, oldest)) in entries.iter_mut().zip(of_boot) {
                *entry = StreamEntry { index: self.index_of(live, queue)?, lane: queue.lane(), oldest };
                count = count.saturating_add(1);
            }
            streams.push(boot, tag, set, entries.get(..count)?).ok()?;
        }
        Some(streams.finish())
    }

    #[inline(never)]
    fn write_descriptors(&self, live: &Live, writer: &mut FrameWriter<'_>, manifest: &mut Manifest) {
        let Some((offset, (stream, set))) = live.descriptors_from.zip(self.wanted_set(live)) else { return };
        let rest = set.get(offset..).unwrap_or_default();
        let space = writer.remaining().unwrap_or(0).saturating_sub(DESCRIPTORS_OVERHEAD);
        if space < MIN_DESCRIPTOR_CHUNK.min(rest.len()) {
            return;
        }
        let (chunk, rest) = rest.split_at(space.min(rest.len()));
        let frame = DescriptorsFrame { stream, total: set.len() as u16, offset: offset as u16, bytes: chunk };
        if writer.push(&Frame::Descriptors(frame)).is_ok() {
            let next = offset.saturating_add(chunk.len());
            manifest.descriptors_to = Some((!rest.is_empty()).then_some(next));
            manifest.eliciting = true;
        }
    }

    /// Writes one batch per queue, the most urgent one first, while they fit.
    #[inline(never)]
    fn write_batches(
        &self,
        live: &Live,
        now: Instant,
        writer: &mut FrameWriter<'_>,
        manifest: &mut Manifest,
    ) {
        let mut slots = manifest.batches.iter_mut();
        let mut written = 0usize;
        //= SPEC.md#batches
        //# A device MUST prefer an alarm that is ready to any other record, an event to a trend, and a trend to a waveform.
        for &queue in &Queue::ALL {
            let space = writer.remaining().unwrap_or(0);
            if self.outbox.room(queue.lane()) <= written || !self.outbox.is_ready(now, queue, space) {
                continue;
            }
            let Some(index) = self.index_of(live, queue) else { continue };
            let mut cut = None;
            writer.frame_with(FrameKind::Records, |body| {
                cut = self.outbox.next_batch(queue, index, body);
                cut.map(|batch| batch.len)
            });
            if let (Some(batch), Some(slot)) = (cut, slots.next()) {
                *slot = Some(batch);
                written = written.saturating_add(1);
                manifest.eliciting = true;
            }
        }
    }
}
