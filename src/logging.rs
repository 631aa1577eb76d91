//! How types look in a `defmt` log where the derived form would show too much, or read badly.
//!
//! Errors, events, discards and states derive their form beside their declaration. Here are ids, which are shown in
//! hexadecimal, packets' and commands' bodies, of which the length is shown, and counters. Secret types have their form
//! where they are declared, in `crypto`: a name, and nothing of the key.

use crate::crypto::{PublicKey, SignatureKey};
use crate::error::Discards;
use crate::identity::{Credential, IssuerId, SubjectId};
use crate::storage::{StorageReply, StorageRequest};
use crate::time::{Duration, Instant, UnixSeconds};
use crate::wire::ConnectionId;
use crate::wire::link::{LinkDiscard, LinkDiscards};
use defmt::{Format, Formatter, write};

impl Format for Instant {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "Instant({=u64} ms)", self.as_millis());
    }
}

impl Format for Duration {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{=u64} ms", self.as_millis());
    }
}

impl Format for UnixSeconds {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "UnixSeconds({=u64})", self.0);
    }
}

/// As long as in `Debug`: enough to tell keys apart.
impl Format for PublicKey {
    fn format(&self, f: Formatter<'_>) {
        let [a, b, c, d, ..] = self.0;
        write!(f, "PublicKey({=u8:02x}{=u8:02x}{=u8:02x}{=u8:02x}..)", a, b, c, d);
    }
}

impl Format for SignatureKey {
    fn format(&self, f: Formatter<'_>) {
        let [a, b, c, d, ..] = self.0;
        write!(f, "SignatureKey({=u8:02x}{=u8:02x}{=u8:02x}{=u8:02x}..)", a, b, c, d);
    }
}

impl Format for IssuerId {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "IssuerId({=[u8]:02x})", self.0);
    }
}

impl Format for SubjectId {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "SubjectId({=[u8]:02x})", self.0);
    }
}

impl Format for ConnectionId {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "ConnectionId({=[u8]:02x})", self.as_bytes());
    }
}

impl Format for Credential {
    fn format(&self, f: Formatter<'_>) {
        match self.claimed_identity() {
            Some(identity) => write!(f, "Credential(unverified, {})", identity),
            None => write!(f, "Credential(malformed)"),
        }
    }
}

/// Shows what has happened at all.
impl Format for Discards {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "Discards(");
        for (discard, count) in self.iter().filter(|(_, count)| *count > 0) {
            write!(f, " {}: {=u32}", discard, count);
        }
        write!(f, " )");
    }
}

impl Format for LinkDiscards {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "LinkDiscards(");
        for discard in LinkDiscard::ALL {
            if self.of(discard) > 0 {
                write!(f, " {}: {=u32}", discard, self.of(discard));
            }
        }
        write!(f, " )");
    }
}

/// What is stored is sealed, but long.
impl Format for StorageRequest<'_> {
    fn format(&self, f: Formatter<'_>) {
        match self {
            Self::Append { region, entry } => write!(f, "Append({}, {=usize} bytes)", region, entry.len()),
            Self::Read { region, after } => write!(f, "Read({}, after {})", region, after),
            Self::Trim { region, through } => write!(f, "Trim({}, through {=u64})", region, through),
            Self::Put { item, value } => write!(f, "Put({}, {=usize} bytes)", item, value.len()),
            Self::Get { item } => write!(f, "Get({})", item),
            Self::Delete { item } => write!(f, "Delete({})", item),
        }
    }
}

impl Format for StorageReply<'_> {
    fn format(&self, f: Formatter<'_>) {
        match self {
            Self::Done => write!(f, "Done"),
            Self::Appended { number, free } => {
                write!(f, "Appended(number {=u64}, {=u32} bytes free)", number, free);
            }
            Self::Entry { number, bytes } => {
                write!(f, "Entry(number {=u64}, {=usize} bytes)", number, bytes.len());
            }
            Self::End => write!(f, "End"),
            Self::Value(Some(value)) => write!(f, "Value({=usize} bytes)", value.len()),
            Self::Value(None) => write!(f, "Value(None)"),
            Self::Full => write!(f, "Full"),
            Self::Failed => write!(f, "Failed"),
        }
    }
}

#[cfg(feature = "handshake")]
mod handshakes {
    use crate::handshake::{FinishFailure, ReplyFailure, ResumeFailure, TicketId};
    use defmt::{Format, Formatter, write};

    impl Format for TicketId {
        fn format(&self, f: Formatter<'_>) {
            write!(f, "TicketId({=[u8]:02x})", self.0);
        }
    }

    /// A handshake that can go on holds keys: of it, only the error is shown.
    macro_rules! failures {
        ($($name:ident),+) => {$(
            impl Format for $name {
                fn format(&self, f: Formatter<'_>) {
                    match self {
                        Self::Pending(_, error) => write!(f, "Pending({})", error),
                        Self::Dead(error) => write!(f, "Dead({})", error),
                    }
                }
            }
        )+};
    }

    failures!(FinishFailure, ReplyFailure, ResumeFailure);
}

/// A command's body is the application's, and may be about a patient.
#[cfg(feature = "pinned-device")]
impl Format for crate::device::DeviceReceived<'_> {
    fn format(&self, f: Formatter<'_>) {
        match self {
            Self::Command { id, kind, body, deadline } => {
                write!(
                    f,
                    "Command({}, kind {=u16}, {=usize} bytes, until {})",
                    id,
                    kind,
                    body.len(),
                    deadline
                );
            }
            Self::Extension { kind, body } => {
                write!(f, "Extension(kind {=u8}, {=usize} bytes)", kind, body.len());
            }
        }
    }
}

#[cfg(feature = "backend")]
impl Format for crate::backend::Received<'_> {
    fn format(&self, f: Formatter<'_>) {
        match self {
            Self::Batch(batch) => {
                write!(f, "Batch({}, {}, {})", batch.handle(), batch.identity(), batch.stream());
            }
            Self::CommandDone { identity, id, body } => {
                write!(f, "CommandDone({}, {}, {=usize} bytes)", identity, id, body.len());
            }
            Self::Extension { identity, kind, body } => {
                write!(f, "Extension({}, kind {=u8}, {=usize} bytes)", identity, kind, body.len());
            }
        }
    }
}

/// What the JSON parser says of a resource may quote it.
#[cfg(feature = "fhir")]
impl Format for crate::interop::fhir::FhirError {
    fn format(&self, f: Formatter<'_>) {
        match self {
            Self::Json(error) => {
                write!(f, "Json(line {=usize}, column {=usize})", error.line(), error.column())
            }
            other => write!(f, "{}", defmt::Display2Format(other)),
        }
    }
}

/// Its kind: what it says is for the log of its own.
#[cfg(feature = "backend")]
impl Format for crate::audit::AuditEvent {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{=str}", self.name());
    }
}
