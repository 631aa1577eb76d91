use super::{AdmissionLimit, CommandId, CommandOutcome, RenewalOutcome, SenderId, SharedSet, TicketClaim};
use crate::delivery::{BatchNumber, ClockReading, ClosedStream, Mark, StreamKey, TagConflict};
use crate::error::{CloseReason, Discard};
use crate::framing::{BatchRecord, RecordsFrame};
use crate::handshake::TicketId;
use crate::identity::{Identity, IssuerId, Scopes, VerifiedCredential};
use crate::time::{Duration, Instant, UnixSeconds};
use crate::wire::Pattern;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A handshake that waits for the application. A stale one is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PendingId(pub(super) SlotRef);

/// A slot at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct SlotRef {
    pub(super) slot: u32,
    pub(super) uses: u32,
}

/// A batch that was delivered: to be committed or released, once. A stale one is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BatchRef {
    pub(super) shard: u8,
    pub(super) device: u32,
    pub(super) number: BatchNumber,
}

impl BatchRef {
    /// Returns the shard that delivered it: give it back there.
    pub const fn shard(&self) -> u8 {
        self.shard
    }
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Committed {
    /// The records are settled, and will be acknowledged.
    Settled(Mark),
    /// The handle was stale; nothing has changed.
    Stale,
}

/// Something that the service should know. Fit for a log: no patient data, no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum BackendEvent {
    /// A device has authenticated itself: call [`Backend::accept`](super::Backend::accept) or
    /// [`Backend::refuse`](super::Backend::refuse), within 30 s.
    Pending {
        /// What to accept or refuse.
        pending: PendingId,
        /// Who it is, and what its credential permits.
        credential: VerifiedCredential,
        /// The pattern that was run.
        pattern: Pattern,
    },
    /// A device wants to resume with a ticket: claim it in the store that the nodes share, and tell the outcome to
    /// [`Backend::claimed`](super::Backend::claimed), within 30 s.
    Resuming {
        /// What to decide about.
        pending: PendingId,
        /// What to claim.
        claim: TicketClaim,
    },
    /// A ticket was used by two, or is void because another of its origin was: an incident. The sessions on this shard
    /// that were resumed from this origin have ended; on others, end them with
    /// [`Backend::disconnect`](super::Backend::disconnect) and [`CloseReason::TicketConflict`]. The device comes back with a full
    /// handshake.
    TicketConflict {
        /// Whose.
        identity: Identity,
        /// The time of the full handshake from which the ticket descends.
        origin: UnixSeconds,
        /// The ticket that was used again.
        id: TicketId,
    },
    /// A session is proved: the device is online.
    Connected {
        /// Who.
        identity: Identity,
        /// What it may do.
        scopes: Scopes,
        /// The pattern that was run.
        pattern: Pattern,
    },
    /// The device's session has ended.
    Disconnected {
        /// Who.
        identity: Identity,
        /// Why.
        reason: CloseReason,
    },
    /// A handshake of somebody who knew the Hello key was refused; [`Discard::NotAccepted`]: the application has not
    /// decided within 30 s.
    HandshakeRefused(Discard),
    /// A device sent records outside its scopes; they were refused.
    ScopeRefused {
        /// Who.
        identity: Identity,
        /// Of which stream.
        stream: StreamKey,
        /// The first record's sequence.
        first: u64,
        /// How many.
        count: u8,
    },
    /// One boot number came with two boot tags: a copied device, or one whose storage was reset.
    TagConflict {
        /// Who.
        identity: Identity,
        /// Which boot and tags.
        conflict: TagConflict,
    },
    /// A command has come to its end: this comes once for each that was taken.
    CommandEnded {
        /// Whose.
        identity: Identity,
        /// Which.
        id: CommandId,
        /// What became of it.
        outcome: CommandOutcome,
    },
    /// Clocks were compared with a device: give it to the identity's
    /// [`ClockMap`](crate::delivery::ClockMap).
    Clock {
        /// Whose.
        identity: Identity,
        /// What it said.
        reading: ClockReading,
    },
    /// Handshakes were refused, or a cookie was asked for, as a limit was reached: at most once a second for each.
    LimitReached {
        /// Which.
        limit: AdmissionLimit,
        /// How often, since the event before.
        count: u32,
    },
    /// A revocation list is in force.
    RevocationList {
        /// Whose.
        issuer: IssuerId,
        /// Its number.
        number: u64,
    },
    /// A credential is revoked: its handshake was refused, or its session is being ended.
    Revoked {
        /// Whose.
        identity: Identity,
        /// The credential's serial number.
        serial: u32,
    },
    /// A renewal has come to its end: this comes once for each that was begun.
    RenewalEnded {
        /// Whose.
        identity: Identity,
        /// The serial number of the new credential.
        serial: u32,
        /// What became of it.
        outcome: RenewalOutcome,
    },
    /// What a device may do in its session has changed.
    ScopesChanged {
        /// Who.
        identity: Identity,
        /// What it was allowed before.
        before: Scopes,
        /// What it is allowed now.
        scopes: Scopes,
    },
    /// A device may do more than the operator's policy says: an emergency. This is never lost.
    BreakGlassUsed {
        /// Which device.
        identity: Identity,
        /// Who asked for it.
        by: SenderId,
        /// Why: the service's own code.
        reason: u16,
        /// What was granted, of which only that counts which the credential permits.
        scopes: Scopes,
        /// For how long.
        life: Duration,
    },
    /// A break-glass grant has ended. This is never lost.
    BreakGlassEnded {
        /// Which device.
        identity: Identity,
        /// Who had asked for it.
        by: SenderId,
        /// Why.
        reason: u16,
    },
    /// Somebody of the service has given a device a command.
    Commanded {
        /// Which device.
        identity: Identity,
        /// Who.
        sender: SenderId,
        /// What kind of command.
        kind: u16,
        /// Which one: [`BackendEvent::CommandEnded`] will name it.
        id: CommandId,
    },
    /// Somebody of the service wanted to give a device a command that policy, credential or grant do not permit.
    CommandDenied {
        /// Which device.
        identity: Identity,
        /// Who.
        sender: SenderId,
        /// What kind of command.
        kind: u16,
    },
    /// The drain is over ([`Backend::drain`](super::Backend::drain)): no session is left here.
    Drained {
        /// Batches that were delivered and are neither committed nor released: above 0 only if the time was over.
        uncommitted: u32,
    },
    /// More events came than fit; so many were lost.
    EventsLost(u32),
}

/// What came in for the application.
#[derive(Debug)]
#[non_exhaustive]
pub enum Received<'b> {
    /// Records, to be stored and then committed, or released.
    Batch(Batch<'b>),
    /// A device has done a command; [`BackendEvent::CommandEnded`] says so, too.
    CommandDone {
        /// From whom.
        identity: Identity,
        /// Which.
        id: CommandId,
        /// What the device says about it, at most 64 bytes.
        body: &'b [u8],
    },
    /// A frame of a type that this version does not know.
    Extension {
        /// From whom.
        identity: Identity,
        /// Its type, 64 to 127.
        kind: u8,
        /// Its body.
        body: &'b [u8],
    },
}

/// Records of one stream, delivered and not yet committed. It borrows the packet: [`Batch::to_owned`] keeps it.
#[derive(Clone, Debug)]
pub struct Batch<'b> {
    pub(super) batch: BatchRef,
    pub(super) identity: Identity,
    pub(super) mark: Mark,
    pub(super) closed: Vec<ClosedStream>,
    pub(super) fence: u64,
    pub(super) frame: RecordsFrame<'b>,
    pub(super) set: Arc<SharedSet>,
}

/// A batch with bytes of its own, for storing it elsewhere or later.
#[derive(Clone, Debug)]
pub struct OwnedBatch {
    batch: BatchRef,
    identity: Identity,
    mark: Mark,
    closed: Vec<ClosedStream>,
    fence: u64,
    first: u64,
    count: u8,
    base: Instant,
    stream: u8,
    bytes: Vec<u8>,
    set: Arc<SharedSet>,
}

impl<'b> Batch<'b> {
    /// Returns the handle to commit or release.
    pub const fn handle(&self) -> BatchRef {
        self.batch
    }

    /// Returns whose records these are.
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// Returns the stream: boot number, boot tag, lane.
    pub const fn stream(&self) -> StreamKey {
        self.mark.stream
    }

    /// Returns the record ids, to be stored with the records in one transaction: that makes it exactly once.
    pub const fn mark(&self) -> Mark {
        self.mark
    }

    /// Returns the streams that the device has closed: in the same transaction, before the mark is applied, the stored
    /// ledger is to forget them with [`Ledger::close`](crate::delivery::Ledger::close). Mostly there are none.
    pub fn closed(&self) -> &[ClosedStream] {
        &self.closed
    }

    /// Returns [`Grant::fence`](super::Grant::fence) of the session that the batch came in.
    pub const fn fence(&self) -> u64 {
        self.fence
    }

    /// Returns the descriptors of the records' channels: store the set with the records, which mean nothing without
    /// it, under its hash.
    ///
    /// A boot's set may grow, so two batches of it may come with different sets. Each has all that its own records
    /// need, and what a larger set of the same boot says of them is the same.
    pub const fn descriptors(&self) -> &Arc<SharedSet> {
        &self.set
    }

    /// Lists the records, decoded; those only that were not delivered before.
    ///
    /// Their times are the device's, since its boot: [`ClockMap::wall_time_of`](crate::delivery::ClockMap::wall_time_of)
    /// gives them a meaning.
    pub fn records(&self) -> impl Iterator<Item = BatchRecord<'b>> + '_ {
        let (first, mask) = (self.mark.first, self.mark.mask);
        // Every record was decoded before the batch was delivered, so none is passed over here.
        let decoded = self.frame.records(&self.set.set()).filter_map(Result::ok);
        decoded.filter(move |record| {
            let bit = record.sequence.checked_sub(first).and_then(|bit| u32::try_from(bit).ok());
            bit.is_some_and(|bit| mask.checked_shr(bit).unwrap_or(0) & 1 == 1)
        })
    }

    /// Copies the batch.
    pub fn to_owned(&self) -> OwnedBatch {
        let RecordsFrame { stream, first, count, base, bytes } = self.frame;
        OwnedBatch {
            batch: self.batch,
            identity: self.identity,
            mark: self.mark,
            closed: self.closed.clone(),
            fence: self.fence,
            first,
            count,
            base,
            stream,
            bytes: bytes.to_vec(),
            set: self.set.clone(),
        }
    }
}

impl OwnedBatch {
    /// Borrows it as a [`Batch`].
    pub fn as_batch(&self) -> Batch<'_> {
        let frame = RecordsFrame {
            stream: self.stream,
            first: self.first,
            count: self.count,
            base: self.base,
            bytes: &self.bytes,
        };
        Batch {
            batch: self.batch,
            identity: self.identity,
            mark: self.mark,
            closed: self.closed.clone(),
            fence: self.fence,
            frame,
            set: self.set.clone(),
        }
    }

    /// Returns the handle to commit or release.
    pub const fn handle(&self) -> BatchRef {
        self.batch
    }
}
