//! The device's one ticket: in RAM, and in storage if there is any (SPEC.md, "Tickets").
//!
//! A ticket is used once. So what is stored is erased, and the storage has said so, before the Hello is sent:
//! [`Tickets::prepare`] tells whether that is so. Without storage there is nothing to wait for.

use super::DeviceConfig;
use crate::codec::Reader;
use crate::crypto::{Psk, PublicKey, ServiceKey};
use crate::identity::{CredentialHash, Identity, IssuerId, Scopes, SubjectId, VerifiedCredential};
use crate::limits::{MAX_UNIX_SECONDS, TICKET_LEN};
use crate::storage::StorageReply;
use crate::time::{Instant, UnixSeconds};
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const PSK_PROVED: u8 = 1;
/// Version, flags, ticket, psk, service key, backend's key, issuer, subject, scopes, last second, hash of the own
/// credential.
const STORED_TICKET: usize = 1 + 1 + TICKET_LEN + 32 + 32 + 32 + 8 + 16 + 4 + 8 + 16;

/// Who the backend of a session is: verified in the full handshake, and kept with each ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) key: PublicKey,
    pub(super) identity: Identity,
    pub(super) scopes: Scopes,
    /// The last second of its credential's validity.
    pub(super) not_after: UnixSeconds,
}

impl From<&VerifiedCredential> for Peer {
    fn from(credential: &VerifiedCredential) -> Self {
        Self {
            key: credential.static_key(),
            identity: credential.identity(),
            scopes: credential.scopes(),
            not_after: credential.not_after(),
        }
    }
}

/// All that a resumption needs.
pub(super) struct Ticket {
    pub(super) ticket: [u8; TICKET_LEN],
    pub(super) psk: Psk,
    pub(super) service: ServiceKey,
    pub(super) peer: Peer,
    /// The last second in which it may be used, by the wall clock or the time floor.
    pub(super) expires: UnixSeconds,
    /// When its session's age is over, by this boot's clock; unknown after a restart.
    pub(super) dies: Option<Instant>,
    /// The full handshake proved a psk.
    pub(super) psk_proved: bool,
    /// The device's own credential, which the full handshake showed.
    pub(super) own: CredentialHash,
}

impl Ticket {
    /// Tells whether it may be used, by the floor and the time of today.
    //= SPEC.md#resumption
    //# A device MUST NOT use a ticket of another backend than the expected or pinned one, of another credential than its present one, beyond its time, or, with a psk floor, one whose full handshake proved no psk.
    fn is_usable(&self, now: Instant, config: &DeviceConfig) -> bool {
        config.expected_backend().is_none_or(|expected| expected == self.peer.identity)
            && config.pin.is_none_or(|pin| pin.key == self.peer.key)
            && (config.psk.is_none() || self.psk_proved)
            && self.own == config.identity.credential().hash()
            && config.time.now() <= self.expires.min(self.peer.not_after)
            && self.dies.is_none_or(|dies| now < dies)
    }

    /// Writes what is stored, in the clear: whoever stores it seals it.
    fn encode(&self) -> Zeroizing<[u8; STORED_TICKET]> {
        let mut out = Zeroizing::new([0u8; STORED_TICKET]);
        let expires = self.expires.min(self.peer.not_after);
        let parts: [&[u8]; 10] = [
            &[VERSION, if self.psk_proved { PSK_PROVED } else { 0 }],
            &self.ticket,
            self.psk.bytes(),
            self.service.bytes(),
            &self.peer.key.0,
            &self.peer.identity.issuer.0,
            &self.peer.identity.subject.0,
            &self.peer.scopes.bits().to_le_bytes(),
            &expires.0.to_le_bytes(),
            &self.own.0,
        ];
        for (to, from) in out.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        out
    }

    /// Reads what was stored, strictly.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let (version, flags) = (reader.u8().ok()?, reader.u8().ok()?);
        let ticket = reader.array().ok()?;
        let (psk, service) = (reader.array().ok()?, reader.array().ok()?);
        let key = PublicKey(reader.array().ok()?);
        let identity =
            Identity { issuer: IssuerId(reader.array().ok()?), subject: SubjectId(reader.array().ok()?) };
        let scopes = Scopes::from_bits(reader.u32().ok()?);
        let not_after = UnixSeconds(u64::from_le_bytes(reader.array().ok()?));
        let own = CredentialHash(reader.array().ok()?);
        reader.finish().ok()?;
        let good = version == VERSION && flags & !PSK_PROVED == 0 && not_after.0 < MAX_UNIX_SECONDS;
        good.then(|| Self {
            ticket,
            psk: Psk::from_bytes(psk),
            service: ServiceKey::from_bytes(service),
            peer: Peer { key, identity, scopes, not_after },
            expires: not_after,
            dies: None,
            psk_proved: flags & PSK_PROVED != 0,
            own,
        })
    }
}

/// What is known of the storage's copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    /// There is no storage.
    Absent,
    /// It was not read yet.
    Unread,
    /// Nothing is there.
    Clean,
    /// Something may be there.
    Dirty,
}

/// What the storage is asked for, under [`Item::Ticket`](crate::storage::Item::Ticket).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TicketWant {
    /// Get.
    Load,
    /// Put [`Tickets::value`], sealed.
    Store,
    /// Delete.
    Erase,
}

/// Whether there is a ticket to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prepared {
    /// No.
    No,
    /// Yes, once the storage has erased its copy, or said whether it has one.
    Wait,
    /// Yes: take it.
    Ready,
}

/// The ticket, and the state machine of its copy in storage.
///
/// [`Tickets::wants`] says what the storage is to be asked for, [`Tickets::asked`] that it was, [`Tickets::done`] takes
/// the answer. One request at a time; what is asked stays the same until it is answered.
pub(super) struct Tickets {
    held: Option<Ticket>,
    disk: Disk,
    /// The ticket that is held is not in storage yet.
    unsaved: bool,
    /// The copy is to be erased, as the ticket is about to be used.
    erase: bool,
    /// The last erasure failed: it is not asked for again before something happens.
    failed: bool,
    asked: Option<TicketWant>,
}

impl Tickets {
    /// Starts without a ticket. With `storage`, an earlier one is loaded first.
    pub(super) const fn new(storage: bool) -> Self {
        let disk = if storage { Disk::Unread } else { Disk::Absent };
        Self { held: None, disk, unsaved: false, erase: false, failed: false, asked: None }
    }

    /// There is no storage after all: tickets live in RAM, and what may be stored is not used.
    pub(super) fn without_storage(&mut self) {
        (self.disk, self.asked) = (Disk::Absent, None);
    }

    /// Keeps a ticket in the place of an earlier one.
    pub(super) fn keep(&mut self, ticket: Ticket) {
        self.held = Some(ticket);
        self.unsaved = self.disk != Disk::Absent;
        (self.erase, self.failed) = (false, false);
    }

    /// Forgets the ticket, and has its copy erased.
    pub(super) fn forget(&mut self) {
        self.held = None;
        (self.unsaved, self.erase, self.failed) = (false, false, false);
    }

    /// Tells whether a ticket can be used now. What may not be used is forgotten.
    //= SPEC.md#tickets
    //# A device MUST use a ticket once, and have it erased wherever it is stored before the Hello is sent.
    pub(super) fn prepare(&mut self, now: Instant, config: &DeviceConfig) -> Prepared {
        if self.disk == Disk::Unread {
            return Prepared::Wait;
        }
        if self.held.as_ref().is_some_and(|held| !held.is_usable(now, config)) {
            self.forget();
        }
        match (&self.held, self.disk) {
            (None, _) => Prepared::No,
            (Some(_), Disk::Absent | Disk::Clean) if self.asked.is_none() => Prepared::Ready,
            (Some(_), _) => {
                // Not stored any more: it would have to be erased at once.
                self.unsaved = false;
                self.erase = true;
                self.failed = false;
                Prepared::Wait
            }
        }
    }

    /// Takes the ticket out, to use it: after [`Prepared::Ready`] only.
    pub(super) fn take(&mut self) -> Option<Ticket> {
        self.unsaved = false;
        self.held.take()
    }

    /// Returns what the storage is to be asked for.
    pub(super) fn wants(&self) -> Option<TicketWant> {
        if self.asked.is_some() {
            return self.asked;
        }
        match self.disk {
            Disk::Unread => Some(TicketWant::Load),
            Disk::Dirty if (self.erase || self.held.is_none()) && !self.failed => Some(TicketWant::Erase),
            Disk::Clean | Disk::Dirty if self.unsaved && self.held.is_some() => Some(TicketWant::Store),
            _ => None,
        }
    }

    /// Returns what is to be stored, if [`TicketWant::Store`] is wanted: secret, to be sealed.
    pub(super) fn value(&self) -> Option<Zeroizing<[u8; STORED_TICKET]>> {
        self.held.as_ref().map(Ticket::encode)
    }

    /// Takes note that the storage was asked for what [`Tickets::wants`] says.
    pub(super) fn asked(&mut self) {
        self.asked = self.wants();
        if self.asked == Some(TicketWant::Store) {
            // A later one sets this again. And who is asked to store may do it, whatever the answer.
            self.unsaved = false;
            self.disk = Disk::Dirty;
        }
    }

    /// Takes the storage's answer to what was asked; a value unsealed, or as `Failed` if it cannot be.
    pub(super) fn done(&mut self, reply: &StorageReply<'_>) {
        match (self.asked.take(), reply) {
            (Some(TicketWant::Load), StorageReply::Value(None)) => self.disk = Disk::Clean,
            (Some(TicketWant::Load), StorageReply::Value(Some(bytes))) => {
                self.disk = Disk::Dirty;
                if self.held.is_none() {
                    // What is no ticket is erased.
                    self.held = Ticket::decode(bytes);
                }
            }
            (Some(TicketWant::Load), _) => self.disk = Disk::Dirty,
            (Some(TicketWant::Erase), StorageReply::Done) => {
                (self.disk, self.erase) = (Disk::Clean, false);
            }
            (Some(TicketWant::Erase), _) => {
                // What cannot be erased is not used: somebody may find it there.
                if self.erase {
                    self.held = None;
                }
                (self.erase, self.failed) = (false, true);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
