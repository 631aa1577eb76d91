//! What a session has said of the streams: their names, and whether the backend has heard them.

use super::lane::Naming;
use super::{Backlog, Outbox, Queue};
use crate::framing::Lane;
use crate::time::Instant;

impl Outbox<'_> {
    /// Lists what a Streams frame names of the present boot: each lane that ever held a record, with the oldest sequence
    /// that is not settled (or the next one, if there is none). [`Outbox::earlier_streams`] are the others.
    pub fn streams(&self) -> impl Iterator<Item = (Lane, u64)> + '_ {
        let open = Lane::ALL.iter().copied().filter(|&lane| self.lanes.of(lane).is_open());
        open.map(|lane| (lane, self.lanes.of(lane).oldest()))
    }

    /// Tells whether a Streams frame is to go in front of the next Records frame: a stream was not named yet in
    /// this session, or moved past refused records, or was named a while ago and no Ack shows that this was heard.
    pub fn streams_due(&self, now: Instant) -> bool {
        //= SPEC.md#stream-names
        //# A device MUST send a Streams frame before the first Records frame of a stream in a session, and repeat it until an Ack of that session names the stream.
        self.unnamed(now).next().is_some()
    }

    /// Lists the queues for whose streams a Streams frame is due ([`Outbox::streams_due`]).
    pub fn unnamed(&self, now: Instant) -> impl Iterator<Item = Queue> + '_ {
        let unheard = now.since(self.named_at) >= self.rtt.time_out(1) || now < self.named_at;
        Queue::ALL.iter().copied().filter(move |queue| match self.queue(*queue).naming() {
            Naming::Known => false,
            Naming::Unconfirmed => unheard,
            Naming::Due => true,
        })
    }

    /// Returns when a Streams frame is due ([`Outbox::streams_due`]), if one is at all.
    #[inline(never)]
    pub fn poll_streams(&self) -> Option<Instant> {
        let due = |queue| match self.queue(queue).naming() {
            Naming::Known => None,
            Naming::Unconfirmed => Some(self.named_at + self.rtt.time_out(1)),
            Naming::Due => Some(Instant::ZERO),
        };
        Queue::ALL.iter().copied().filter_map(due).min()
    }

    /// Takes note that a Streams frame was sent which names the streams of these queues as [`Outbox::streams`] and
    /// [`Outbox::earlier_streams`] list them.
    pub fn streams_sent<Q: Into<Queue>>(&mut self, now: Instant, named: impl IntoIterator<Item = Q>) {
        self.named_at = now;
        for queue in named {
            self.queue_mut(queue.into()).note_named();
        }
    }

    /// Takes note that the present boot's streams have new indices in the session, or are to be named again for another
    /// reason. What is in flight stays so.
    pub fn handle_renamed(&mut self) {
        for &lane in &Lane::ALL {
            self.lanes.of_mut(lane).forget_name();
        }
    }

    /// Tells whether the backend has shown in this session that it knows where the queue's stream begins.
    pub fn is_named(&self, queue: impl Into<Queue>) -> bool {
        let queue = match queue.into() {
            Queue::Backlog(lane) if self.backlog(lane) == Backlog::Own => Queue::Live(lane),
            queue => queue,
        };
        self.queue(queue).naming() == Naming::Known
    }
}
