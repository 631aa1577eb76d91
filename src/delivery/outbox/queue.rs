use super::lane::LaneQueue;
use super::{LaneShares, Outbox};
use crate::error::CallError;
use crate::framing::Lane;
use crate::limits::MAX_RECORD;
use crate::time::Instant;

/// One of the two queues of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    /// What was accepted since the device has started, as far as it is in memory.
    Live(Lane),
    /// What was read back from storage: of an earlier boot, or older than what is live.
    Backlog(Lane),
}

impl Queue {
    /// Every queue, in the order in which they are sent.
    ///
    /// Within a lane, what happens now goes before what happened before the last power cut: it matters more to the
    /// patient, and is bounded in rate, so that the backlog takes what the link has left.
    pub const ALL: [Self; 8] = [
        Self::Live(Lane::Alarm),
        Self::Backlog(Lane::Alarm),
        Self::Live(Lane::Event),
        Self::Backlog(Lane::Event),
        Self::Live(Lane::Trend),
        Self::Backlog(Lane::Trend),
        Self::Live(Lane::Waveform),
        Self::Backlog(Lane::Waveform),
    ];

    /// Returns its lane.
    pub const fn lane(self) -> Lane {
        match self {
            Self::Live(lane) | Self::Backlog(lane) => lane,
        }
    }
}

impl From<Lane> for Queue {
    fn from(lane: Lane) -> Self {
        Self::Live(lane)
    }
}

/// Whose records a lane's backlog holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backlog {
    /// Nobody's: it is empty.
    Unbound,
    /// An earlier boot's: a stream of its own.
    Earlier,
    /// Of the present boot's stream, older than what is live.
    Own,
}

/// A run of records that was written to be stored; [`Outbox::note_stored`] makes it count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it does not count as stored before `note_stored`"]
pub struct StoredRun {
    /// The lane.
    pub lane: Lane,
    /// The first record's sequence.
    pub first: u64,
    /// How many records, 1 to 64.
    pub count: u8,
    /// The length of the run, in bytes.
    pub len: usize,
}

impl StoredRun {
    /// One above the last record's sequence.
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.count.into())
    }
}

/// Why a record was not read back into a backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LoadRefusal {
    /// There is no room, until records of the backlog have been settled.
    NoRoom,
    /// It would not fit the empty backlog.
    TooLong,
    /// It does not follow the last one: the backlog has to be empty first.
    NotNext,
}

/// What concerns storage: the outbox says what is to be stored and takes back what was. It does not know how.
impl<'m> Outbox<'m> {
    /// Gives the lanes memory for what is read back from storage.
    ///
    /// # Errors
    /// [`CallError::InvalidConfig`] if the shares are more than the memory.
    pub fn with_backlog(mut self, memory: &'m mut [u8], shares: LaneShares) -> Result<Self, CallError> {
        self.backlogs = super::Lanes::empty();
        self.give_backlog(memory, shares)?;
        Ok(self)
    }

    /// Gives the lanes, which must be empty, memory for what is read back.
    pub(crate) fn give_backlog(&mut self, memory: &'m mut [u8], shares: LaneShares) -> Result<(), CallError> {
        self.backlogs.give(memory, shares)
    }

    /// Writes the oldest run of records of a lane that is not stored yet to the front of `out`.
    pub fn unstored(&self, lane: Lane, out: &mut [u8]) -> Option<StoredRun> {
        let cut = self.lanes.of(lane).copy_unstored(out)?;
        Some(StoredRun { lane, first: cut.first, count: cut.count, len: cut.len })
    }

    /// Returns the time of a lane's oldest record that is neither stored nor settled.
    pub fn oldest_unstored(&self, lane: Lane) -> Option<Instant> {
        self.lanes.of(lane).next_unstored().map(|(_, entry)| entry.time)
    }

    /// Returns how many bytes of a lane neither are stored nor settled.
    pub fn unstored_bytes(&self, lane: Lane) -> usize {
        self.lanes.of(lane).unstored_bytes()
    }

    /// Takes note that a run survives a power cut from now on.
    pub fn note_stored(&mut self, run: StoredRun) {
        self.lanes.of_mut(run.lane).note_stored(run.end());
    }

    /// Returns the sequence below which all records of the present boot are stored or settled.
    pub fn stored_end(&self, lane: Lane) -> u64 {
        self.lanes.of(lane).stored_end()
    }

    /// Tells whether each record of a lane is stored or settled, or was given up and is named by such a gap record.
    pub fn is_all_stored(&self, lane: Lane) -> bool {
        let queue = self.lanes.of(lane);
        queue.stored_end() == queue.ring().end()
    }

    /// Returns the oldest sequence of the present boot's stream that is not settled, wherever the record is.
    pub fn base(&self, lane: Lane) -> u64 {
        self.lanes.of(lane).base()
    }

    /// Returns the oldest sequence that is in memory and live.
    pub fn live_first(&self, lane: Lane) -> u64 {
        self.lanes.of(lane).ring().first()
    }

    /// Frees memory of a lane: its oldest records, as far as they are stored, up to a quarter of its bytes. Returns how
    /// many; they are to be read back ([`Outbox::load`]).
    pub fn evict(&mut self, lane: Lane) -> u32 {
        let queue = self.lanes.of_mut(lane);
        let mut stage = queue.stage();
        queue.evict(&mut stage)
    }

    /// Says whether the storage still takes records of a lane: it then refuses ([`CallError::LaneFull`]) instead of
    /// giving up any, whatever its policy is, and is not called nearly full. At first, none does.
    pub const fn set_spilling(&mut self, lane: Lane, spills: bool) {
        self.lanes.of_mut(lane).given_up.spills = spills;
    }

    /// Tells whose records a lane's backlog holds.
    pub const fn backlog(&self, lane: Lane) -> Backlog {
        self.backlogs.of(lane).binding()
    }

    /// Binds an empty backlog to a stream whose first record to be read back is `first`. For the present boot's, records
    /// between its oldest one and `first` count as lost.
    pub fn bind_backlog(&mut self, lane: Lane, backlog: Backlog, first: u64) {
        let queue = self.backlogs.of_mut(lane);
        queue.bind(backlog, first);
        if backlog == Backlog::Own {
            let live = self.lanes.of_mut(lane);
            live.skip_to(first);
            queue.sent_end = live.sent_end;
        }
    }

    /// Returns the sequences that a backlog holds: the oldest one, and the next one to be loaded.
    pub fn backlog_span(&self, lane: Lane) -> (u64, u64) {
        let ring = self.backlogs.of(lane).ring();
        (ring.first(), ring.end())
    }

    /// Tells whether a backlog is at most half full.
    pub fn backlog_has_room(&self, lane: Lane) -> bool {
        let ring = self.backlogs.of(lane).ring();
        ring.used() <= ring.capacity() / 2
    }

    /// Returns the longest record that an empty backlog takes.
    pub fn longest_backlog_record(&self, lane: Lane) -> usize {
        self.backlogs.of(lane).ring().longest_record().min(MAX_RECORD)
    }

    /// Takes back a record that was stored.
    ///
    /// # Errors
    /// [`LoadRefusal`]; nothing has changed.
    pub fn load(
        &mut self,
        lane: Lane,
        sequence: u64,
        time: Instant,
        record: &[u8],
    ) -> Result<(), LoadRefusal> {
        self.backlogs.of_mut(lane).load(sequence, time, record)
    }

    /// Says that no more of the present boot's stored records are to come up to what is live: those between count as lost.
    pub fn end_own_backlog(&mut self, lane: Lane) {
        let live = self.lanes.of_mut(lane);
        live.skip_to(live.ring().first());
        if self.backlogs.of(lane).binding() == Backlog::Own {
            self.backlogs.of_mut(lane).bind(Backlog::Unbound, 0);
        }
    }

    /// Lists the backlogs that hold a stream of their own, with the oldest sequence of each that is not settled.
    pub fn earlier_streams(&self) -> impl Iterator<Item = (Lane, u64)> + '_ {
        let open = |lane: &Lane| self.backlogs.of(*lane).binding() == Backlog::Earlier;
        let listed = Lane::ALL.iter().copied().filter(open);
        listed.map(|lane| (lane, self.backlogs.of(lane).ring().first()))
    }

    /// Moves the present boot's oldest sequence up with its backlog.
    pub(super) fn follow_backlog(&mut self, lane: Lane) {
        let backlog = self.backlogs.of(lane);
        if backlog.binding() == Backlog::Own {
            let first = backlog.ring().first();
            self.lanes.of_mut(lane).raise_floor(first);
        }
    }

    pub(super) const fn queue(&self, queue: Queue) -> &LaneQueue<'m> {
        match queue {
            Queue::Live(lane) => self.lanes.of(lane),
            Queue::Backlog(lane) => self.backlogs.of(lane),
        }
    }

    pub(super) const fn queue_mut(&mut self, queue: Queue) -> &mut LaneQueue<'m> {
        match queue {
            Queue::Live(lane) => self.lanes.of_mut(lane),
            Queue::Backlog(lane) => self.backlogs.of_mut(lane),
        }
    }
}
