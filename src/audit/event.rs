use super::fields::{Count, Field, Name, OperatorId};
use crate::codec::{DecodeError, Reader};
use crate::error::{CloseReason, Discard};
use crate::framing::{BootTag, Lane};
use crate::identity::{Identity, IssuerId, Scopes};
use crate::time::UnixSeconds;
use crate::wire::{Pattern, PskId};
use alloc::string::String;
use alloc::vec::Vec;

/// Whether an event may be crowded out by others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    Usual,
    /// There is room in the queue that only these may take.
    Essential,
}

//= SPEC.md#audit-log
//# A log MUST NOT have records, their values, keys or network addresses in it.
// No field has a type for any of these.
macro_rules! events {
    ($($(#[$doc:meta])* $code:literal $weight:ident $name:ident $text:literal {
        $($(#[$field_doc:meta])* $field:ident: $ty:ty,)*
    })*) => {
        /// Something that an auditor may ask for. Fit for a log: no patient data, no keys.
        ///
        /// Most are noted by the [`Backend`](crate::backend::Backend) itself. Those of which only the application knows it
        /// notes with [`AuditQueue::note`](super::AuditQueue::note).
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum AuditEvent {
            $($(#[$doc])* $name { $($(#[$field_doc])* $field: $ty,)* },)*
        }

        impl AuditEvent {
            /// Every kind: its code in a log, and its name.
            pub const KINDS: &'static [(u8, &'static str)] = &[$(($code, $text)),*];

            /// Returns the code of its kind (SPEC.md, "Audit log").
            pub const fn code(&self) -> u8 {
                match self { $(Self::$name { .. } => $code,)* }
            }

            /// Returns the name of its kind.
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$name { .. } => $text,)* }
            }

            const fn weight(&self) -> Weight {
                match self { $(Self::$name { .. } => Weight::$weight,)* }
            }

            /// Appends the fields, in order.
            pub(super) fn put(&self, out: &mut Vec<u8>) {
                match self { $(Self::$name { $($field),* } => { $(Field::put($field, out);)* let _ = &out; })* }
            }

            /// Reads the fields of an event of this code; `None` if this version does not know it.
            pub(super) fn take(code: u8, reader: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
                let _ = &reader;
                Ok(Some(match code {
                    $($code => Self::$name { $($field: Field::take(reader)?),* },)*
                    _ => return Ok(None),
                }))
            }

            /// Lists the fields: name, and value in words.
            pub fn fields(&self) -> Vec<(&'static str, String)> {
                match self {
                    $(Self::$name { $($field),* } => alloc::vec![$((stringify!($field), Field::show($field))),*],)*
                }
            }
        }
    };
}

events! {
    /// The node started.
    1 Essential Started "node started" {
        /// The version of its software.
        version: Name,
    }
    /// The node stopped, in order.
    2 Essential Stopped "node stopped" {}
    /// A handshake was accepted, and its session is proved.
    3 Usual Accepted "handshake accepted" {
        /// Whose.
        identity: Identity,
        /// The serial of its credential; unknown on a node without a clock.
        serial: Option<u32>,
        /// The pattern that was run.
        pattern: Pattern,
        /// What it may do.
        scopes: Scopes,
    }
    /// A device that is known was turned away by the application.
    4 Usual TurnedAway "device turned away" {
        /// Whose.
        identity: Identity,
        /// What it was told.
        reason: CloseReason,
    }
    /// A handshake of somebody who knew the Hello key was refused.
    5 Usual Refused "handshake refused" {
        /// Why: the name of a [`Discard`].
        reason: Name,
    }
    /// A session has ended.
    6 Usual Ended "session ended" {
        /// Whose.
        identity: Identity,
        /// Why.
        reason: CloseReason,
    }
    /// Packets of strangers, since the event before.
    7 Usual Strangers "packets of strangers" {
        /// How many, by [`Discard`].
        counts: Vec<Count>,
    }
    /// Packets that were replayed, forged or late, since the event before.
    8 Usual Tampering "packets replayed or forged" {
        /// How many, by [`Discard`].
        counts: Vec<Count>,
    }
    /// Limits that were reached, since the event before.
    9 Usual LimitsReached "limits reached" {
        /// How often, by [`Discard`], or `EventsLost`.
        counts: Vec<Count>,
    }
    /// A device sent records outside its scopes; they were refused.
    10 Usual ScopeRefused "scope refused" {
        /// Whose.
        identity: Identity,
        /// Of which boot.
        boot: u32,
        /// Of which boot tag.
        tag: BootTag,
        /// Of which lane.
        lane: Lane,
        /// The first record's sequence.
        first: u64,
        /// How many.
        count: u8,
    }
    /// One boot number came with two boot tags: a copied device, or one whose storage was reset.
    11 Essential TagConflict "boot tag conflict" {
        /// Whose.
        identity: Identity,
        /// The boot.
        boot: u32,
        /// The tag that was known.
        known: BootTag,
        /// The tag that came.
        named: BootTag,
    }
    /// A ticket was used by two.
    12 Essential TicketConflict "ticket conflict" {
        /// Whose.
        identity: Identity,
        /// The time of the full handshake from which it descends.
        origin: UnixSeconds,
    }
    /// A session has new keys, by a DH ratchet. Hash ratchets are only counted.
    13 Usual Rekeyed "session rekeyed" {
        /// Whose.
        identity: Identity,
        /// How many there were in the session.
        ratchets: u32,
    }
    /// A command has come to its end, in a log of before there were numbers: [`AuditEvent::CommandSettled`] is noted now.
    14 Usual CommandEnded "command ended" {
        /// Whose.
        identity: Identity,
        /// How.
        outcome: Name,
    }
    /// A device got a new credential in its session.
    15 Usual Renewed "credential renewed" {
        /// Whose.
        identity: Identity,
        /// The new serial.
        serial: u32,
    }
    /// An identity, or one credential of it, was revoked.
    16 Essential Revoked "revoked" {
        /// Whose.
        identity: Identity,
        /// Up to which serial, or altogether.
        serial: Option<u32>,
    }
    /// A revocation list was taken.
    17 Essential RevocationList "revocation list taken" {
        /// Whose list.
        issuer: IssuerId,
        /// Its number.
        number: u64,
    }
    /// What a device may do was changed while it was connected.
    18 Essential PolicyChanged "policy changed" {
        /// Whose.
        identity: Identity,
        /// What it may do now.
        scopes: Scopes,
    }
    /// Somebody was given rights in an emergency; [`AuditEvent::BreakGlassAsked`], just before, says why.
    19 Essential BreakGlassGranted "break-glass granted" {
        /// Over which device.
        identity: Identity,
        /// Which rights.
        scopes: Scopes,
        /// To whom, or by whom.
        operator: OperatorId,
        /// Until when, in seconds.
        seconds: u64,
    }
    /// A command was given that only rights of an emergency permit.
    20 Essential BreakGlassUsed "break-glass used" {
        /// On which device.
        identity: Identity,
        /// Which rights.
        scopes: Scopes,
        /// By whom.
        operator: OperatorId,
    }
    /// Rights given in an emergency have ended.
    21 Essential BreakGlassEnded "break-glass ended" {
        /// Over which device.
        identity: Identity,
        /// Whose.
        operator: OperatorId,
    }
    /// The clock by which credentials are judged was set, by more than passed since it was set before.
    22 Essential ClockSet "clock set" {
        /// What it showed, if it was known.
        before: Option<UnixSeconds>,
        /// What it shows.
        after: UnixSeconds,
    }
    /// The wall clock has jumped.
    23 Essential ClockJumped "clock jumped" {
        /// By so many milliseconds.
        millis: i64,
    }
    /// The ticket keys were set or rotated.
    24 Essential TicketKeysSet "ticket keys set" {}
    /// A factory secret was registered.
    25 Essential Enrolled "enrolment registered" {
        /// Its id.
        psk: PskId,
        /// Whose.
        identity: Identity,
    }
    /// A factory secret was forgotten.
    26 Essential EnrolmentForgotten "enrolment forgotten" {
        /// Its id.
        psk: PskId,
    }
    /// The node began to send its devices away.
    27 Essential Draining "drain begun" {
        /// Within so many milliseconds.
        within: u64,
    }
    /// The node has sent its devices away.
    28 Essential Drained "drained" {
        /// Batches that were not settled.
        uncommitted: u32,
    }
    /// The sink failed for a while; nothing but what [`AuditEvent::Lost`] says was lost.
    29 Essential SinkFailed "sink failed" {
        /// How often.
        times: u32,
    }
    /// Events found no room in the queue: they are not in this log.
    30 Essential Lost "events lost" {
        /// How many usual ones.
        usual: u64,
        /// How many essential ones.
        essential: u64,
    }
    /// Events of one kind came so often that the rest of them are only counted.
    31 Usual Suppressed "events suppressed" {
        /// The code of the kind.
        kind: u8,
        /// How many.
        count: u64,
    }
    /// Half an entry was found at the end of the file and cut off: the node had stopped while it wrote.
    32 Essential Recovered "torn entry cut off" {
        /// How many bytes.
        bytes: u64,
    }
    /// A device was given a command. What the command says is not told: it may be part of a treatment.
    33 Usual Commanded "command given" {
        /// Which device.
        identity: Identity,
        /// Who gave it; none if the application named nobody.
        operator: Option<OperatorId>,
        /// What kind of command: the application's own code.
        command: u16,
        /// Its number in the device's session.
        number: u64,
    }
    /// Somebody wanted to give a command that policy, credential or grant do not permit.
    34 Usual CommandDenied "command denied" {
        /// Which device.
        identity: Identity,
        /// Who; none if the application named nobody.
        operator: Option<OperatorId>,
        /// What kind of command.
        command: u16,
    }
    /// A command has come to its end.
    35 Usual CommandSettled "command settled" {
        /// Whose.
        identity: Identity,
        /// Its number in the device's session, as [`AuditEvent::Commanded`] said.
        number: u64,
        /// How.
        outcome: Name,
    }
    /// Somebody asked for rights in an emergency: they were granted or refused.
    36 Essential BreakGlassAsked "break-glass asked for" {
        /// Over which device.
        identity: Identity,
        /// Which rights.
        scopes: Scopes,
        /// Who.
        operator: OperatorId,
        /// Why: a code of the service. No text, which might name a patient.
        reason: u16,
        /// `Granted`, or the name of the [`CallError`](crate::CallError).
        outcome: Name,
    }
    /// A device did not take a new credential in its session, as far as is known.
    37 Usual RenewalFailed "renewal failed" {
        /// Whose.
        identity: Identity,
        /// The serial of the new credential.
        serial: u32,
        /// `Refused` or `Unanswered`.
        outcome: Name,
    }
    /// A revocation list was refused: one from the past, or one of two with the same number.
    38 Essential RevocationListRefused "revocation list refused" {
        /// Whose list.
        issuer: IssuerId,
        /// Its number.
        number: u64,
        /// The name of the [`RevocationError`](crate::identity::RevocationError).
        reason: Name,
    }
    /// The operator's policy was asked anew about all sessions; what changed in each is an event of its own.
    39 Essential PolicyApplied "policy applied" {
        /// About how many devices it was asked.
        asked: u32,
        /// How many of them may do something else now.
        changed: u32,
    }
    /// It was changed whom the node trusts.
    40 Essential AnchorsSet "trust anchors set" {
        /// The authorities, intermediate ones included.
        issuers: Vec<IssuerId>,
    }
}

/// What kind of trouble a discard is a sign of, for an auditor; `None`: of none, or it is reported otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    Strangers,
    Tampering,
    Limits,
}

impl Trouble {
    pub(super) const ALL: [Self; 3] = [Self::Strangers, Self::Tampering, Self::Limits];

    /// Sorts discards. A new one does not compile before it has found its place here.
    pub(super) const fn of(discard: Discard) -> Option<Self> {
        Some(match discard {
            Discard::TooShort
            | Discard::TooLong
            | Discard::MalformedHeader
            | Discard::UnknownVersion
            | Discard::UnknownType
            | Discard::WrongDirection
            | Discard::UnknownConnection
            | Discard::ShortHello
            | Discard::BadHelloMac => Self::Strangers,
            Discard::UnknownEpoch
            | Discard::EpochOrder
            | Discard::StaleCounter
            | Discard::Replayed
            | Discard::Forged
            | Discard::MalformedFrames
            | Discard::DuplicateHello
            | Discard::HandshakeFailed
            | Discard::MalformedPayload
            | Discard::BadCredential
            | Discard::Revoked
            | Discard::BelowFloor
            | Discard::BadTicket
            | Discard::ExpiredTicket
            | Discard::TicketReused
            | Discard::MalformedRecords
            | Discard::UntimelyRekey
            | Discard::ImplausibleTime => Self::Tampering,
            Discard::TooManyPending
            | Discard::RateLimited
            | Discard::CookieRequired
            | Discard::TicketUnclaimed
            | Discard::OutsideLedger
            | Discard::Backpressure => Self::Limits,
            Discard::Unsolicited
            | Discard::Draining
            | Discard::NotAccepted
            | Discard::UnknownStream
            | Discard::UnknownDescriptors
            | Discard::AwaitingCommit
            | Discard::RepeatedRecords
            | Discard::ScopeRefused
            | Discard::UnknownExtension
            | Discard::CommandRefused
            | Discard::RepeatedCommand
            | Discard::SessionClosed
            | Discard::CorruptStorage
            | Discard::UnaskedReply => return None,
        })
    }

    pub(super) const fn event(self, counts: Vec<Count>) -> AuditEvent {
        match self {
            Self::Strangers => AuditEvent::Strangers { counts },
            Self::Tampering => AuditEvent::Tampering { counts },
            Self::Limits => AuditEvent::LimitsReached { counts },
        }
    }
}

impl AuditEvent {
    /// Tells whether there is room in the queue for it that usual events cannot take.
    pub const fn is_essential(&self) -> bool {
        matches!(self.weight(), Weight::Essential)
    }

    /// Tells whether whoever is outside, or one device, can cause as many of them as he likes.
    pub(super) const fn is_cheap(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. }
                | Self::ScopeRefused { .. }
                | Self::TurnedAway { .. }
                | Self::CommandDenied { .. }
                | Self::RevocationListRefused { .. }
        )
    }
}
