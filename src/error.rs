//! Errors of callers, discards of packets, and why sessions end.
//!
//! A caller's mistake is a [`CallError`] that changes nothing. Hostile input is never an error: it is a
//! [`Discard`], counted by reason in [`Discards`]. The end of a session is one event with a [`CloseReason`].

use crate::codec::BufferTooSmall;
use crate::entropy::EntropyError;

/// A mistake of the caller; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CallError {
    /// The caller's buffer is too small.
    #[error(transparent)]
    BufferTooSmall(#[from] BufferTooSmall),
    /// The random source failed or is not ready.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The heap has too little room for a handshake to begin
    /// ([`HANDSHAKE_HEAP`](crate::limits::HANDSHAKE_HEAP) in one piece): a session that there is goes on, and it is tried
    /// again after a second. Or it has too little for a device to be made.
    #[error("not enough heap")]
    OutOfMemory,
    /// A value in the configuration is outside its range.
    #[error("the configuration is invalid: {0}")]
    InvalidConfig(&'static str),
    /// The lane has no space: commit what is in flight, or wait for acknowledgements.
    #[error("the lane has no space left")]
    LaneFull,
    /// The record was left out, as the lane is rather full and thins out its records
    /// ([`LanePolicy::Thin`](crate::delivery::LanePolicy::Thin)).
    #[error("the record was left out, as its lane thins out")]
    Thinned,
    /// The record's channel holds its share of the lane already.
    #[error("the channel holds its share of the lane already")]
    QuotaExceeded,
    /// The record would never fit into a packet or its lane.
    #[error("the record is too long")]
    RecordTooLong,
    /// The record names a channel that the descriptor set does not have, or does not fit its descriptor.
    #[error("the record does not fit a channel of the descriptor set")]
    BadRecord,
    /// The descriptor set is malformed, or it lacks a channel of the present one, or has it changed.
    #[error("the descriptor set is malformed or does not extend the present one")]
    BadDescriptors,
    /// The credential, or the other end's, does not have the scope that this needs.
    #[error("this is outside the credentials' scopes")]
    OutOfScope,
    /// The handle belongs to something that has ended.
    #[error("the handle is stale")]
    StaleHandle,
    /// The command, or its result, is invalid: nothing was sent.
    #[error("the command is invalid: {0}")]
    BadCommand(&'static str),
    /// Too many commands are under way in this session: wait for a result.
    #[error("too many commands are under way")]
    TooManyCommands,
    /// There is no session for this.
    #[error("there is no session")]
    NoSession,
    /// The grant is invalid: nothing was granted.
    #[error("the grant is invalid: {0}")]
    BadGrant(&'static str),
    /// Events that must not be lost wait for the application, as many as there is room for: poll them first.
    #[error("too many events that must not be lost wait to be polled")]
    AuditBacklog,
}

/// Declares a C-like enum with a name per value, so that it can be counted.
macro_rules! counted {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
        #[non_exhaustive]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        pub enum $name {
            $($(#[$vdoc])* #[error($text)] $variant,)*
        }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the name of the value, as it is in the source.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)* }
            }
        }
    };
}

counted! {
    /// Why a packet, or a part of one, was discarded. Nothing changed but a counter.
    Discard {
        /// Shorter than its header, or empty.
        TooShort => "too short",
        /// Longer than anything that this end accepts.
        TooLong => "too long",
        /// Reserved bits were set, or a length was out of range.
        MalformedHeader => "malformed header",
        /// A handshake packet of another protocol version.
        UnknownVersion => "unknown version",
        /// A handshake packet of an unknown type, or a pattern that this end does not speak.
        UnknownType => "unknown type",
        /// A packet that only this end's own side may send.
        WrongDirection => "wrong direction",
        /// A connection id that this end did not give out, or no longer knows.
        UnknownConnection => "unknown connection",
        /// An epoch that is neither current, previous nor (on a backend) next.
        UnknownEpoch => "unknown epoch",
        /// A counter that contradicts the order of the epochs.
        EpochOrder => "counter contradicts the epochs' order",
        /// A counter older than the replay window.
        StaleCounter => "counter older than the window",
        /// A counter that was authenticated before.
        Replayed => "replayed",
        /// The tag did not verify.
        Forged => "forged",
        /// Authenticated, but its frames are malformed: the session is closed.
        MalformedFrames => "malformed frames",
        /// A Hello that is too short to be answered.
        ShortHello => "short Hello",
        /// A Hello whose MAC does not verify: a stranger.
        BadHelloMac => "bad Hello MAC",
        /// A copy of a Hello that is being worked on, or was answered already (the answer is repeated).
        DuplicateHello => "duplicate Hello",
        /// A Noise message could not be read.
        HandshakeFailed => "Noise message could not be read",
        /// A handshake payload was malformed or lacked an item.
        MalformedPayload => "malformed handshake payload",
        /// A credential was malformed, forged, of a stranger, expired, or of the wrong role.
        BadCredential => "bad credential",
        /// The peer or the pattern is below the configured floor.
        BelowFloor => "below the configured floor",
        /// An answer to no question of this end.
        Unsolicited => "unsolicited",
        /// A ticket that this service did not seal, or whose key is gone.
        BadTicket => "bad ticket",
        /// A ticket whose time is over.
        ExpiredTicket => "expired ticket",
        /// A ticket that was used before, in another Hello.
        TicketReused => "ticket used before",
        /// A ticket that could not be claimed, as the store is down.
        TicketUnclaimed => "ticket could not be claimed",
        /// A credential that its authority has revoked.
        Revoked => "revoked",
        /// Too many handshakes are pending.
        TooManyPending => "too many pending handshakes",
        /// A Hello above a rate: of all, or of its path.
        RateLimited => "above a rate limit",
        /// The sender was asked for a cookie instead.
        CookieRequired => "cookie required",
        /// A Hello, while this node sends its devices away: another node will answer it.
        Draining => "the node is draining",
        /// The application has not accepted this session yet, or has not decided about its handshake in time.
        NotAccepted => "not accepted yet",
        /// Records of a stream that was not named yet.
        UnknownStream => "unknown stream",
        /// Records whose descriptors are not known yet.
        UnknownDescriptors => "unknown descriptors",
        /// Records that are delivered already and wait for their commit.
        AwaitingCommit => "awaiting commit",
        /// Records that the application has committed already.
        RepeatedRecords => "repeated records",
        /// Records outside the ledger's window.
        OutsideLedger => "outside the ledger's window",
        /// More uncommitted batches than this end holds.
        Backpressure => "too many uncommitted batches",
        /// Records outside the granted scopes.
        ScopeRefused => "outside the granted scopes",
        /// Records that could not be decoded.
        MalformedRecords => "malformed records",
        /// A rekey frame of another epoch, a second one, or one too early.
        UntimelyRekey => "untimely rekey frame",
        /// An extension that this version does not know, skipped.
        UnknownExtension => "unknown extension",
        /// A command that this device refused.
        CommandRefused => "command refused",
        /// A copy of a command that this device has seen already.
        RepeatedCommand => "repeated command",
        /// A stamp of another boot, or an echo of what was never sent.
        ImplausibleTime => "implausible time",
        /// The session has reached a limit and is closed.
        SessionClosed => "session closed",
        /// Something in the device's storage is damaged, of no known boot, or sealed with another key.
        CorruptStorage => "corrupt in storage",
        /// An answer of the storage that nobody asked for.
        UnaskedReply => "unasked answer of the storage",
    }
}

/// How often each [`Discard`] happened.
///
/// ```
/// use vitalwire::{Discard, Discards};
/// let mut discards = Discards::default();
/// discards.count(Discard::Forged);
/// assert_eq!(discards.of(Discard::Forged), 1);
/// assert_eq!(discards.iter().filter(|(_, count)| *count > 0).count(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discards([u32; Discard::ALL.len()]);

impl Default for Discards {
    fn default() -> Self {
        Self([0; Discard::ALL.len()])
    }
}

impl Discards {
    /// Counts one, saturating.
    pub fn count(&mut self, discard: Discard) {
        if let Some(count) = self.0.get_mut(discard as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// Returns how often `discard` happened.
    pub fn of(&self, discard: Discard) -> u32 {
        self.0.get(discard as usize).copied().unwrap_or(0)
    }

    /// Returns the sum over all reasons, saturating.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|&count| u64::from(count)).sum()
    }

    /// Lists every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Discard, u32)> + '_ {
        Discard::ALL.iter().map(|&discard| (discard, self.of(discard)))
    }
}

/// Why a session ended, with its code on the wire (SPEC.md, "Close").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
#[repr(u8)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CloseReason {
    /// The application ended it.
    #[error("the application ended the session")]
    Application = 1,
    /// The other end sent frames that this version does not understand.
    #[error("the frames of the other end were malformed")]
    ProtocolViolation = 2,
    /// The application refused the device.
    #[error("the application refused the device")]
    Refused = 3,
    /// A newer session of the same identity was proved.
    #[error("a newer session of the same identity was proved")]
    Replaced = 4,
    /// Nothing authenticated for the idle time-out.
    #[error("idle for too long")]
    Idle = 5,
    /// The session reached its greatest age.
    #[error("the session reached its greatest age")]
    SessionAge = 6,
    /// A packet limit was reached and no rekey came in time.
    #[error("a packet limit was reached")]
    PacketLimit = 7,
    /// Too many packets failed to authenticate.
    #[error("too many packets failed to authenticate")]
    ForgeryLimit = 8,
    /// The backend sends its devices away to another node.
    #[error("the backend is draining")]
    Draining = 9,
    /// The identity was revoked.
    #[error("the identity was revoked")]
    Revoked = 10,
    /// A ticket of the identity was used twice: one of the users is not the device.
    #[error("a ticket was used twice")]
    TicketConflict = 11,
    /// A code that this version does not know.
    #[error("a reason that this version does not know")]
    Unknown = 255,
}

impl CloseReason {
    /// Returns the code on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Reads a code; what is not known becomes [`CloseReason::Unknown`].
    pub const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Application,
            2 => Self::ProtocolViolation,
            3 => Self::Refused,
            4 => Self::Replaced,
            5 => Self::Idle,
            6 => Self::SessionAge,
            7 => Self::PacketLimit,
            8 => Self::ForgeryLimit,
            9 => Self::Draining,
            10 => Self::Revoked,
            11 => Self::TicketConflict,
            _ => Self::Unknown,
        }
    }
}
