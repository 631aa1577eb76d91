use super::{BackendPin, CommandId};
use crate::delivery::LaneNotice;
use crate::error::{CloseReason, Discard};
use crate::framing::{CommandRefusal, Lane, RefusedReason};
use crate::time::{Instant, UnixSeconds};
use crate::wire::Pattern;

/// Something that the firmware should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DeviceEvent {
    /// A session is confirmed. Store `backend` (a pin makes the next handshake shorter) and `time_floor`; with
    /// [`DeviceConfig::storage`](super::DeviceConfig::storage) the device does.
    Connected {
        /// The backend, verified.
        backend: BackendPin,
        /// The pattern that was run.
        pattern: Pattern,
        /// The time floor: store it, never lower it.
        time_floor: UnixSeconds,
    },
    /// The session has ended. What was in flight is sent again in the next one.
    Disconnected(CloseReason),
    /// An attempt to connect has failed: for this reason, or because nothing answered. The next one follows after a
    /// pause.
    ConnectFailed(Option<Discard>),
    /// The backend refused records for good: they are not sent again.
    RecordsRefused {
        /// The boot that accepted them.
        boot: u32,
        /// Their lane.
        lane: Lane,
        /// The first one's sequence.
        first: u64,
        /// How many were still in the outbox.
        count: u32,
        /// Why.
        reason: RefusedReason,
    },
    /// Three quarters of a lane are in use.
    LaneNearlyFull(Lane),
    /// No more than half of a lane that was nearly full is in use again.
    LaneEased(Lane),
    /// A full lane has given up records, as its policy says; gap records tell the backend.
    RecordsDropped {
        /// Their lane.
        lane: Lane,
        /// The lowest sequence among them.
        first: u64,
        /// How many since the last event of that; not always neighbours.
        count: u32,
    },
    /// All records of a lane up to this one, of the present boot, survive a power cut now, or are settled.
    Stored {
        /// The lane.
        lane: Lane,
        /// The last one's sequence.
        through: u64,
    },
    /// Something is wrong with the storage. What is in memory is not touched by it.
    StorageTrouble(StorageTrouble),
    /// A command of the backend was refused: the application has not seen it.
    CommandRefused {
        /// What it was: the application's own code.
        kind: u16,
        /// Why.
        reason: CommandRefusal,
    },
    /// The backend says that a ticket of this device was used by two: somebody has read its memory, or copied it.
    TicketMisused,
    /// The device has another credential, by which it connects from now on: store
    /// [`Device::credential`](super::Device::credential) in the place of the one before.
    CredentialRenewed,
    /// More events came than fit; so many were lost.
    EventsLost(u32),
}

/// What is wrong with the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StorageTrouble {
    /// It failed while the boot was noted: this boot keeps its records in RAM only, under a tag of its own.
    Unavailable,
    /// The table of boots could not be opened, at [`TABLE_READS`](crate::limits::TABLE_READS) reads: it is damaged, or another key
    /// sealed it. What earlier boots stored is lost.
    Unreadable,
    /// Entries of as many boots as there may be are stored: this boot stores nothing before one of them is drained.
    TooManyBoots,
    /// A lane's region takes no more: its records stay in RAM until something was trimmed.
    Full(Lane),
    /// A request failed: it is asked again after [`STORAGE_RETRY`](crate::limits::STORAGE_RETRY).
    Failed,
    /// The stored pin could not be read, as often as it may be tried ([`PIN_READS`](crate::limits::PIN_READS)): this boot
    /// goes on with what its configuration demands of a backend, and leaves the pin to the next one.
    PinUnreadable,
    /// The random source failed. What needs a fresh salt is not stored before it works again, at the start nothing is;
    /// it is asked again after [`STORAGE_RETRY`](crate::limits::STORAGE_RETRY). Reported once, until it has worked.
    NoEntropy,
    /// An entry or a descriptor set is damaged and was skipped; reported once,
    /// [`Discard::CorruptStorage`] counts them.
    Corrupt,
}

/// What came in a packet for the application.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceReceived<'b> {
    /// Something to do, once: the backend may have it done, and it is not too late. Answer with
    /// [`Device::command_result`](super::Device::command_result).
    Command {
        /// What to answer.
        id: CommandId,
        /// What to do: the application's own code.
        kind: u16,
        /// How, at most 256 bytes.
        body: &'b [u8],
        /// From when on it must not be begun any more, in this device's time. Who does not act at once looks again.
        deadline: Instant,
    },
    /// A frame of a type that this version does not know.
    Extension {
        /// Its type, 64 to 127.
        kind: u8,
        /// Its body.
        body: &'b [u8],
    },
}

impl From<LaneNotice> for DeviceEvent {
    fn from(notice: LaneNotice) -> Self {
        match notice {
            LaneNotice::NearlyFull(lane) => Self::LaneNearlyFull(lane),
            LaneNotice::Eased(lane) => Self::LaneEased(lane),
            LaneNotice::Dropped { lane, first, count } => Self::RecordsDropped { lane, first, count },
        }
    }
}

const CAPACITY: usize = 8;

/// A short queue without heap. What does not fit is counted, never silently gone.
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    events: [Option<Queued>; CAPACITY],
    /// The backend of the latest `Connected`: too large to stand in each place. Where two of them wait, the first one
    /// names the second one's, too; what the firmware stores is the same.
    backend: Option<BackendPin>,
    head: usize,
    len: usize,
    lost: u32,
}

/// An event that waits. Of `Connected`, the backend is kept once.
#[derive(Clone, Copy, Debug)]
enum Queued {
    Connected { pattern: Pattern, time_floor: UnixSeconds },
    Disconnected(CloseReason),
    ConnectFailed(Option<Discard>),
    RecordsRefused { boot: u32, lane: Lane, first: u64, count: u32, reason: RefusedReason },
    StorageTrouble(StorageTrouble),
    CommandRefused { kind: u16, reason: CommandRefusal },
    TicketMisused,
    CredentialRenewed,
}

// A place takes no more than a run of refused records does.
const _: () = assert!(size_of::<Option<Queued>>() <= 32);

impl EventQueue {
    pub(super) fn push(&mut self, event: DeviceEvent) {
        let event = match event {
            DeviceEvent::Connected { backend, pattern, time_floor } => {
                self.backend = Some(backend);
                Queued::Connected { pattern, time_floor }
            }
            DeviceEvent::Disconnected(reason) => Queued::Disconnected(reason),
            DeviceEvent::ConnectFailed(reason) => Queued::ConnectFailed(reason),
            DeviceEvent::RecordsRefused { boot, lane, first, count, reason } => {
                Queued::RecordsRefused { boot, lane, first, count, reason }
            }
            DeviceEvent::StorageTrouble(trouble) => Queued::StorageTrouble(trouble),
            DeviceEvent::CommandRefused { kind, reason } => Queued::CommandRefused { kind, reason },
            DeviceEvent::TicketMisused => Queued::TicketMisused,
            DeviceEvent::CredentialRenewed => Queued::CredentialRenewed,
            // Made when they are asked for.
            DeviceEvent::LaneNearlyFull(_)
            | DeviceEvent::LaneEased(_)
            | DeviceEvent::RecordsDropped { .. }
            | DeviceEvent::Stored { .. }
            | DeviceEvent::EventsLost(_) => return,
        };
        let tail = self.head.wrapping_add(self.len) % CAPACITY;
        match self.events.get_mut(tail) {
            Some(slot) if self.len < CAPACITY => {
                *slot = Some(event);
                self.len = self.len.saturating_add(1);
            }
            _ => self.lost = self.lost.saturating_add(1),
        }
    }

    pub(super) fn pop(&mut self) -> Option<DeviceEvent> {
        if self.len == 0 {
            return (self.lost > 0).then(|| DeviceEvent::EventsLost(core::mem::take(&mut self.lost)));
        }
        let event = self.events.get_mut(self.head)?.take()?;
        self.head = self.head.wrapping_add(1) % CAPACITY;
        self.len = self.len.saturating_sub(1);
        Some(match event {
            Queued::Connected { pattern, time_floor } => {
                DeviceEvent::Connected { backend: self.backend?, pattern, time_floor }
            }
            Queued::Disconnected(reason) => DeviceEvent::Disconnected(reason),
            Queued::ConnectFailed(reason) => DeviceEvent::ConnectFailed(reason),
            Queued::RecordsRefused { boot, lane, first, count, reason } => {
                DeviceEvent::RecordsRefused { boot, lane, first, count, reason }
            }
            Queued::StorageTrouble(trouble) => DeviceEvent::StorageTrouble(trouble),
            Queued::CommandRefused { kind, reason } => DeviceEvent::CommandRefused { kind, reason },
            Queued::TicketMisused => DeviceEvent::TicketMisused,
            Queued::CredentialRenewed => DeviceEvent::CredentialRenewed,
        })
    }
}
