//! What a backend seals for itself and gives a device to resume with (SPEC.md, "Tickets").

use super::{HandshakeError, HelloKey};
use crate::codec::Reader;
use crate::crypto::{Psk, ResumeSecret, ServiceKey, TAG_LEN, TicketKey};
use crate::identity::{Identity, IssuerId, Scopes, SubjectId};
use crate::limits::{CLOCK_TOLERANCE_SECS, MAX_TICKET_AGE, MAX_UNIX_SECONDS, TICKET_LEN};
use crate::time::UnixSeconds;
use core::fmt;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
/// The one bit of a ticket's flags: its full handshake proved a psk.
const PSK_PROVED: u8 = 1;
const ID_LEN: usize = 16;
/// What is sealed: version, flags, issuer, subject, serial, scopes, three 64-bit numbers and the psk.
const PLAIN_LEN: usize = 1 + 1 + 8 + 16 + 4 + 4 + 3 * 8 + 32;
const _: () = assert!(TICKET_LEN == ID_LEN + PLAIN_LEN + TAG_LEN);

/// Names a ticket: 16 random bytes, in the clear at its front.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId(pub [u8; ID_LEN]);

impl TicketId {
    /// Reads the id of a ticket.
    pub const fn of(ticket: &[u8; TICKET_LEN]) -> Self {
        match ticket.first_chunk() {
            Some(id) => Self(*id),
            None => Self([0; ID_LEN]),
        }
    }
}

impl fmt::Debug for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketId(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// Whom a ticket is for: what the full handshake before it has verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketContents {
    /// The device.
    pub identity: Identity,
    /// The serial number of its credential.
    pub serial: u32,
    /// What its credential permits.
    pub scopes: Scopes,
    /// The last second of its credential's validity.
    pub not_after: UnixSeconds,
    /// The number of the revocation list of the issuer that the full handshake was checked against; 0 if there was none.
    pub revocation: u64,
    /// When the full handshake was. Resuming never renews it.
    pub origin: UnixSeconds,
    /// The full handshake proved a psk, so whoever demands one may take the ticket.
    pub psk_proved: bool,
}

/// A ticket that was opened, and is within its time.
#[derive(Debug)]
pub struct OpenedTicket {
    /// What it says.
    pub contents: TicketContents,
    pub(super) psk: Psk,
}

impl TicketContents {
    /// Returns the last second of the ticket's life.
    pub fn expires(&self) -> UnixSeconds {
        let by_age = self.origin.0.saturating_add(MAX_TICKET_AGE.as_secs());
        UnixSeconds(by_age.min(self.not_after.0))
    }

    fn parse(plain: &[u8; PLAIN_LEN]) -> Result<(Self, Psk), HandshakeError> {
        let mut reader = Reader::new(plain);
        let (version, flags) = (reader.u8()?, reader.u8()?);
        if version != VERSION || flags & !PSK_PROVED != 0 {
            return Err(HandshakeError::BadTicket);
        }
        let identity = Identity { issuer: IssuerId(reader.array()?), subject: SubjectId(reader.array()?) };
        let (serial, scopes) = (reader.u32()?, Scopes::from_bits(reader.u32()?));
        let mut number = || reader.array().map(u64::from_le_bytes);
        let (not_after, revocation, origin) = (UnixSeconds(number()?), number()?, UnixSeconds(number()?));
        let psk = Psk::from_bytes(reader.array()?);
        if not_after.0 >= MAX_UNIX_SECONDS || origin.0 >= MAX_UNIX_SECONDS {
            return Err(HandshakeError::BadTicket);
        }
        let psk_proved = flags & PSK_PROVED != 0;
        Ok((Self { identity, serial, scopes, not_after, revocation, origin, psk_proved }, psk))
    }

    fn write(&self, psk: &Psk) -> Zeroizing<[u8; PLAIN_LEN]> {
        let mut plain = Zeroizing::new([0u8; PLAIN_LEN]);
        let flags = if self.psk_proved { PSK_PROVED } else { 0 };
        let parts: [&[u8]; 9] = [
            &[VERSION, flags],
            &self.identity.issuer.0,
            &self.identity.subject.0,
            &self.serial.to_le_bytes(),
            &self.scopes.bits().to_le_bytes(),
            &self.not_after.0.to_le_bytes(),
            &self.revocation.to_le_bytes(),
            &self.origin.0.to_le_bytes(),
            psk.bytes(),
        ];
        for (to, from) in plain.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        plain
    }
}

/// The keys that the nodes of a service share for tickets: the present one, and the one before, which still opens.
///
/// Rotate as often as tickets may live, or more often: a ticket whose key is gone costs its device a full handshake.
///
/// ```
/// use vitalwire::crypto::{ServiceKey, TicketKey};
/// use vitalwire::handshake::TicketKeys;
/// let mut keys = TicketKeys::new(ServiceKey::from_bytes([1; 32]), TicketKey::from_bytes([2; 32]), None);
/// keys.rotate(TicketKey::from_bytes([3; 32]));
/// ```
pub struct TicketKeys {
    service: ServiceKey,
    hello_key: HelloKey,
    current: TicketKey,
    previous: Option<TicketKey>,
}

impl TicketKeys {
    /// Puts the keys together. `service` is one for the life of the service.
    pub fn new(service: ServiceKey, current: TicketKey, previous: Option<TicketKey>) -> Self {
        let hello_key = HelloKey::from_service(&service);
        Self { service, hello_key, current, previous }
    }

    /// Makes `next` the key that seals; the present one still opens, and the one before it is wiped.
    pub fn rotate(&mut self, next: TicketKey) {
        self.previous = Some(core::mem::replace(&mut self.current, next));
    }

    /// Returns the key that comes with each ticket.
    pub const fn service_key(&self) -> &ServiceKey {
        &self.service
    }

    pub(crate) const fn hello_key(&self) -> &HelloKey {
        &self.hello_key
    }

    /// Seals a ticket under a fresh random id, from the resumption secret of the epoch whose packet will carry it.
    pub fn seal(&self, id: TicketId, contents: &TicketContents, resume: &ResumeSecret) -> [u8; TICKET_LEN] {
        let mut plain = contents.write(&resume.ticket_psk(&id.0));
        // The id is random and the key its own, so this is the only message under it.
        let mut ticket = [0u8; TICKET_LEN];
        let Some(tag) = self.current.of_ticket(&id.0).seal(0, &[], &mut *plain) else {
            return ticket; // too long for the cipher, which it is not: never the psk in clear
        };
        for (to, from) in ticket.iter_mut().zip(id.0.iter().chain(plain.iter()).chain(&tag)) {
            *to = *from;
        }
        ticket
    }

    /// Opens a ticket; `clock` is the wall clock.
    ///
    /// # Errors
    /// [`HandshakeError::BadTicket`] if it was not sealed under one of the keys, or comes from the future;
    /// [`HandshakeError::ExpiredTicket`].
    pub fn open(
        &self,
        ticket: &[u8; TICKET_LEN],
        clock: UnixSeconds,
    ) -> Result<OpenedTicket, HandshakeError> {
        let id = TicketId::of(ticket);
        let mut keys = [Some(&self.current), self.previous.as_ref()].into_iter().flatten();
        let plain = keys.find_map(|key| open_under(key, &id, ticket)).ok_or(HandshakeError::BadTicket)?;
        let (contents, psk) = TicketContents::parse(&plain)?;
        //= SPEC.md#tickets
        //# A backend MUST refuse a ticket after its credential's `not after`, 7 days after its origin, or when a session of that origin would have reached its greatest age.
        if contents.expires() < clock {
            return Err(HandshakeError::ExpiredTicket);
        }
        if contents.origin.0 > clock.0.saturating_add(CLOCK_TOLERANCE_SECS) {
            return Err(HandshakeError::BadTicket);
        }
        Ok(OpenedTicket { contents, psk })
    }
}

fn open_under(
    key: &TicketKey,
    id: &TicketId,
    ticket: &[u8; TICKET_LEN],
) -> Option<Zeroizing<[u8; PLAIN_LEN]>> {
    let (sealed, tag) = ticket.get(ID_LEN..)?.split_last_chunk::<TAG_LEN>()?;
    let mut plain = Zeroizing::new([0u8; PLAIN_LEN]);
    plain.copy_from_slice(sealed.first_chunk::<PLAIN_LEN>()?);
    key.of_ticket(&id.0).open(0, &[], &mut *plain, tag).ok()?;
    Some(plain)
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKeys(…)")
    }
}
