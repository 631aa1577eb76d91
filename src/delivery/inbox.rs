use alloc::boxed::Box;
use alloc::vec::Vec;

use super::table::{NamedStream, named_streams};
use super::{ClosedStream, Ledger, LedgerError, Mark, StreamKey, low_bits};
use crate::framing::{BootTag, Lane, StreamAck, StreamsFrame};
use crate::limits::{ALARM_BATCHES, MAX_BATCH_RECORDS, MAX_LEDGER_STREAMS, MAX_OUTSTANDING_BATCHES};

/// Decides for each batch of one device what is to be delivered, and remembers what is delivered and what committed.
///
/// One per identity, across its sessions. It owns the [`Ledger`] of this node and the outstanding batches
/// (delivered to the application, neither committed nor released). It never sees a record.
#[derive(Debug)]
pub struct Inbox {
    ledger: Ledger,
    /// What a device has that is not idle.
    pending: Option<Box<Pending>>,
    generation: u32,
    session: u32,
    next: u64,
}

/// What waits for the application.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    outstanding: Vec<Outstanding>,
    /// Streams that the device has closed and the application's ledger may still have, oldest first, each with a
    /// number of its own.
    closed: Vec<(u64, ClosedStream)>,
    /// How many were closed since there was anything here.
    closings: u64,
    /// Of each lane, a sequence above those of all outstanding batches.
    ends: [u64; Lane::ALL.len()],
}

impl Pending {
    /// Returns which of the 64 sequences from `first` on are delivered and wait for their commit.
    fn awaiting(&self, stream: &StreamKey, first: u64) -> u64 {
        if self.ends.get(stream.lane.index()).is_some_and(|end| first >= *end) {
            return 0; // as mostly, when they come in order
        }
        let same_stream = self.outstanding.iter().filter(|batch| batch.mark.stream == *stream);
        same_stream.fold(0, |mask, batch| mask | batch.mark.seen_from(first))
    }
}

/// For so many batches an idle [`Pending`] keeps room.
#[cfg(feature = "backend")]
const IDLE_ROOM: usize = 8;

/// Names an outstanding batch of one [`Inbox`]; never given twice, so a stale one is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BatchNumber {
    generation: u32,
    number: u64,
}

#[derive(Clone, Copy, Debug)]
struct Outstanding {
    number: u64,
    session: u32,
    mark: Mark,
    /// It was delivered with all closed streams whose number is below this.
    closings: u64,
}

/// What is to be done with a batch that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Offer {
    /// Deliver those records whose bit is in `fresh`, and only those; it is never 0.
    Deliver {
        /// What to commit or release.
        batch: BatchNumber,
        /// Bit i stands for record `first + i`.
        fresh: u64,
    },
    /// All records are settled already: acknowledge again.
    Repeated,
    /// What is not settled of it was delivered, and waits for its commit: neither deliver nor acknowledge.
    Awaiting,
    /// Its stream was not named.
    Unnamed,
    /// A record is too far above the stream's first unsettled one.
    Outside,
    /// Too many batches are outstanding: the device sends it again.
    Full,
}

/// What became of a Streams frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Named {
    /// A boot number that came with a tag other than the one known before.
    pub conflict: Option<TagConflict>,
    /// How many of the streams found no room in the ledger: their records will be [`Offer::Unnamed`].
    pub refused: usize,
}

/// One boot number with two boot tags: a copied device, or one whose storage was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TagConflict {
    /// The boot number.
    pub boot: u32,
    /// The tag that the ledger knew.
    pub known: BootTag,
    /// The tag that the device named.
    pub named: BootTag,
}

impl Inbox {
    /// Starts from the ledger that the application keeps for this identity.
    ///
    /// `generation` tells the batch numbers of this inbox from those of earlier ones for the same handle: count up.
    pub const fn new(ledger: Ledger, generation: u32) -> Self {
        Self { ledger, pending: None, generation, session: 0, next: 0 }
    }

    /// Reads a little of what a batch needs; with `deep` of what lies behind that.
    #[cfg(feature = "backend")]
    pub(crate) fn touch(&self, deep: bool) -> u64 {
        if deep { self.ledger.touch() } else { self.next ^ u64::from(self.generation) }
    }

    /// Takes away the room for what waits, if nothing does: another inbox may have it.
    #[cfg(feature = "backend")]
    pub(crate) fn reclaim(&mut self) -> Option<Box<Pending>> {
        let mut idle =
            self.pending.take_if(|pending| pending.outstanding.is_empty() && pending.closed.is_empty())?;
        idle.outstanding.shrink_to(IDLE_ROOM);
        idle.closed.shrink_to(0);
        idle.closings = 0;
        idle.ends = [0; _];
        Some(idle)
    }

    /// Gives room for what waits, if there is none.
    #[cfg(feature = "backend")]
    pub(crate) fn lend(&mut self, room: impl FnOnce() -> Option<Box<Pending>>) {
        if self.pending.is_none() {
            self.pending = room();
        }
    }

    fn outstandings(&self) -> &[Outstanding] {
        self.pending.as_ref().map_or(&[], |pending| &pending.outstanding)
    }

    /// Returns what is settled, as far as this node knows.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Takes over what another node has settled meanwhile.
    ///
    /// # Errors
    /// [`LedgerError::Full`].
    pub fn merge(&mut self, ledger: &Ledger) -> Result<(), LedgerError> {
        self.ledger.merge(ledger)
    }

    /// Takes note that a new session of the device begins; what is outstanding stays so.
    pub fn handle_session(&mut self) {
        self.session = self.session.wrapping_add(1);
    }

    /// Takes a Streams frame: settles what is below the oldest sequence of each stream and, if the frame is
    /// complete, forgets the streams of those boots that it does not name.
    ///
    /// Hand in the frames of a session in their order, and none that was overtaken:
    /// [`StreamTable`](super::StreamTable) sees to that.
    pub fn handle_streams(&mut self, frame: &StreamsFrame<'_>) -> Named {
        let streams = named_streams(frame);
        let conflict = |ledger: &Ledger, key: StreamKey| {
            let known = ledger.other_tag(key.boot, key.tag)?;
            Some(TagConflict { boot: key.boot, known, named: key.tag })
        };
        let known = streams.iter().find_map(|named| conflict(&self.ledger, named.stream.key));
        let mut named = Named { conflict: known, refused: 0 };
        if frame.complete {
            self.close_others(streams.iter().map(|named| named.stream.key));
        }
        for NamedStream { stream, oldest } in streams {
            //= SPEC.md#stream-names
            //# A backend MUST take every sequence below the oldest one that a Streams frame names as settled.
            if self.ledger.settle_below(stream.key, oldest).is_err() {
                named.refused = named.refused.saturating_add(1);
            }
            named.conflict = named.conflict.or_else(|| conflict(&self.ledger, stream.key));
        }
        named
    }

    /// Forgets the boots of which no stream is in `named`: the device has closed them. A stream that is missing of a boot
    /// which is there stays: a frame that rode in a Hello may be older than it.
    //= SPEC.md#stream-names
    //# A backend MUST keep the ledger state of a stream until a complete Streams frame names no stream of its boot.
    pub fn close_others(&mut self, named: impl Iterator<Item = StreamKey> + Clone) {
        let is_named =
            |known: &StreamKey| named.clone().any(|named| (named.boot, named.tag) == (known.boot, known.tag));
        for (key, state) in self.ledger.streams().filter(|(key, _)| !is_named(key)) {
            let Pending { closed, closings, .. } = &mut **self.pending.get_or_insert_default();
            closed.retain(|(_, older)| older.stream != key);
            // One for which there is no room stays in the application's ledger until the next session.
            if closed.len() < MAX_LEDGER_STREAMS {
                closed.push((*closings, ClosedStream { stream: key, end: state.end() }));
                *closings = closings.saturating_add(1);
            }
        }
        self.ledger.retain(is_named);
    }

    /// Decides about a batch: `count` records (1 to 64) from `first` on.
    pub fn offer(&mut self, stream: StreamKey, first: u64, count: u8) -> Offer {
        let Some(state) = self.ledger.stream(&stream) else {
            return Offer::Unnamed;
        };
        let count = u64::from(count).min(MAX_BATCH_RECORDS as u64);
        let all = low_bits(count);
        //= SPEC.md#ledger
        //# A backend MUST discard a Records frame with a sequence that is 256 or more above the cumulative one of its stream.
        if first.checked_add(count.saturating_sub(1)).is_none_or(|last| state.is_beyond_window(last)) {
            return Offer::Outside;
        }
        //= SPEC.md#commit
        //# A backend MUST NOT deliver a record that is settled.
        //= SPEC.md#acknowledgement
        //# A backend MUST acknowledge a settled record again when it comes again.
        let unsettled = all & !state.mask(first);
        if unsettled == 0 {
            return Offer::Repeated;
        }
        //= SPEC.md#commit
        //# A backend MUST NOT deliver a record again while an earlier delivery of it is neither committed nor released.
        let awaiting = self.pending.as_ref().map_or(0, |pending| pending.awaiting(&stream, first));
        let fresh = unsettled & !awaiting;
        if fresh == 0 {
            return Offer::Awaiting;
        }
        // With so few there is room in every lane.
        if self.outstanding() >= BULK_BATCHES && self.room(stream.lane) == 0 {
            return Offer::Full;
        }
        let mark = Mark { stream, settled_below: state.cumulative(), first, mask: fresh };
        let number = self.next;
        self.next = number.saturating_add(1);
        let session = self.session;
        let pending = self.pending.get_or_insert_default();
        let closings = pending.closings;
        if let Some(end) = pending.ends.get_mut(stream.lane.index()) {
            *end = first.saturating_add(count).max(*end);
        }
        pending.outstanding.push(Outstanding { number, session, mark, closings });
        Offer::Deliver { batch: BatchNumber { generation: self.generation, number }, fresh }
    }

    /// Returns the record ids of an outstanding batch, for the application's own transaction.
    pub fn mark(&self, batch: BatchNumber) -> Option<Mark> {
        self.find(batch).and_then(|at| self.outstandings().get(at)).map(|outstanding| outstanding.mark)
    }

    /// Lists the streams that the device has closed and that no committed batch came with: the application's ledger is
    /// to forget them in the transaction that stores the next batch. At most
    /// [`MAX_LEDGER_STREAMS`](crate::limits::MAX_LEDGER_STREAMS).
    pub fn closed(&self) -> impl ExactSizeIterator<Item = ClosedStream> + '_ {
        let closed = self.pending.as_ref().map_or(&[][..], |pending| &pending.closed);
        closed.iter().map(|(_, closed)| *closed)
    }

    /// Tells whether a batch is outstanding and came in the present session.
    pub fn is_current(&self, batch: BatchNumber) -> bool {
        let outstanding = self.find(batch).and_then(|at| self.outstandings().get(at));
        outstanding.is_some_and(|outstanding| outstanding.session == self.session)
    }

    /// Settles an outstanding batch, now that the application has it stored, and returns its record ids.
    ///
    /// `None` for a stale number: nothing has changed.
    pub fn commit(&mut self, batch: BatchNumber) -> Option<Mark> {
        let Outstanding { mark, closings, .. } = self.take(batch)?;
        //= SPEC.md#ledger
        //# A backend MUST hand out a closed stream with every batch that it delivers until one of these is committed.
        if let Some(pending) = &mut self.pending {
            pending.closed.retain(|(number, _)| *number >= closings);
        }
        // A stream that the device closed meanwhile stays closed.
        if self.ledger.stream(&mark.stream).is_some() {
            let _ = self.ledger.apply(&mark);
        }
        Some(mark)
    }

    /// Gives up an outstanding batch that the application failed to store, and returns its record ids: they are
    /// delivered again when they come again. `None` for a stale number: nothing has changed.
    pub fn release(&mut self, batch: BatchNumber) -> Option<Mark> {
        self.take(batch).map(|outstanding| outstanding.mark)
    }

    /// Returns what an Ack frame says of a stream, under its index in the session.
    pub fn ack_for(&self, stream: &StreamKey, index: u8) -> Option<StreamAck> {
        //= SPEC.md#acknowledgement
        //# A backend MUST NOT acknowledge a record before its application has committed it.
        self.ledger.stream(stream).map(|state| state.to_ack(index))
    }

    /// Returns the content of a Credit frame: how many Records frames of this session this may hold, alarms not
    /// counted.
    pub fn credit(&self) -> u16 {
        let carried = self.bulk().filter(|batch| batch.session != self.session).count();
        u16::try_from(BULK_BATCHES.saturating_sub(carried)).unwrap_or(u16::MAX)
    }

    /// Returns how many more batches of a lane can be delivered now.
    pub fn room(&self, lane: Lane) -> usize {
        //= SPEC.md#commit
        //# A backend MUST keep room for at least 16 batches of the alarm lane that no other lane takes.
        let room = MAX_OUTSTANDING_BATCHES.saturating_sub(self.outstanding());
        if lane == Lane::Alarm { room } else { room.min(BULK_BATCHES.saturating_sub(self.bulk().count())) }
    }

    /// Returns how many batches are outstanding.
    pub fn outstanding(&self) -> usize {
        self.outstandings().len()
    }

    fn bulk(&self) -> impl Iterator<Item = &Outstanding> {
        self.outstandings().iter().filter(|batch| batch.mark.stream.lane != Lane::Alarm)
    }

    fn find(&self, batch: BatchNumber) -> Option<usize> {
        let number = (batch.generation == self.generation).then_some(batch.number)?;
        let all = self.outstandings();
        // The one that came last is looked for at once.
        let last =
            all.len().checked_sub(1).filter(|last| all.get(*last).is_some_and(|it| it.number == number));
        last.or_else(|| all.iter().position(|outstanding| outstanding.number == number))
    }

    fn take(&mut self, batch: BatchNumber) -> Option<Outstanding> {
        let at = self.find(batch)?;
        // `find` says that it is there
        let outstanding = &mut self.pending.as_mut()?.outstanding;
        (at < outstanding.len()).then(|| outstanding.swap_remove(at))
    }
}

/// Outstanding batches of the lanes other than alarm, at the most.
const BULK_BATCHES: usize = MAX_OUTSTANDING_BATCHES.saturating_sub(ALARM_BATCHES);

impl Mark {
    /// Returns which of the 64 sequences from `first` on are in this mark.
    fn seen_from(&self, first: u64) -> u64 {
        let (up, down) = (self.first.saturating_sub(first), first.saturating_sub(self.first));
        let shift = |by: u64| u32::try_from(by).unwrap_or(u32::MAX);
        let raised = self.mask.checked_shl(shift(up)).unwrap_or(0);
        raised.checked_shr(shift(down)).unwrap_or(0)
    }
}
