//! The Ticket frame: what a device needs for its next resumption.

use crate::codec::{BufferTooSmall, DecodeError, Reader, Writer};
use crate::limits::{MAX_UNIX_SECONDS, TICKET_LEN};
use crate::time::UnixSeconds;
use core::fmt;

/// The one bit of the flags: a ticket of the device was used twice.
const MISUSED: u8 = 1;

/// A ticket, with what belongs to it and is not secret from the device (SPEC.md, "Ticket").
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TicketFrame<'a> {
    /// An earlier ticket of the device was used by two: the device should tell its owner.
    pub misused: bool,
    /// The ticket: opaque to the device, but for its id, the first 16 bytes.
    pub ticket: &'a [u8; TICKET_LEN],
    /// The service's key for the Hello's MAC.
    pub service_key: &'a [u8; 32],
    /// The last second of the ticket's life, since 1970; below 2^35.
    pub expires: UnixSeconds,
}

impl<'a> TicketFrame<'a> {
    /// The longest body, in bytes.
    pub const MAX_LEN: usize = 1 + TICKET_LEN + 32 + 5;

    pub(super) fn parse(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let flags = reader.u8()?;
        let ticket = reader.bytes(TICKET_LEN)?.first_chunk().ok_or(DecodeError::OutOfRange)?;
        let service_key = reader.bytes(32)?.first_chunk().ok_or(DecodeError::OutOfRange)?;
        let expires = UnixSeconds(reader.varint()?);
        reader.finish()?;
        //= SPEC.md#ticket
        //# A reader MUST refuse a Ticket frame with unknown flags or a time of 2^35 or above.
        if flags & !MISUSED != 0 || expires.0 >= MAX_UNIX_SECONDS {
            return Err(DecodeError::OutOfRange);
        }
        Ok(Self { misused: flags & MISUSED != 0, ticket, service_key, expires })
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), BufferTooSmall> {
        out.u8(if self.misused { MISUSED } else { 0 })?;
        out.bytes(self.ticket)?;
        out.bytes(self.service_key)?;
        out.varint(self.expires.0)
    }
}

impl fmt::Debug for TicketFrame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { misused, expires, .. } = self;
        f.debug_struct("TicketFrame")
            .field("misused", misused)
            .field("expires", expires)
            .finish_non_exhaustive()
    }
}
