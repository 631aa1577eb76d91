//! Sealing and opening.

use super::{Heard, Keep, Session, Side};
use crate::codec::BufferTooSmall;
use crate::crypto;
use crate::error::{CloseReason, Discard};
use crate::limits::MAX_PACKET;
use crate::time::Instant;
use crate::wire::{ConnectionId, CounterLen, DataHeader, EpochBits, TAG_LEN, counter_len_for, reconstruct};

const _: () = assert!(TAG_LEN == crypto::TAG_LEN);

/// Why no packet was sealed. No counter was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SealError {
    /// The packet does not fit the caller's buffer.
    #[error(transparent)]
    BufferTooSmall(#[from] BufferTooSmall),
    /// The packet would be longer than [`MAX_PACKET`].
    #[error("the packet would be too long")]
    PacketTooLong,
    /// The session has stopped.
    #[error("the session is closed: {0}")]
    Closed(CloseReason),
}

/// A packet that has authenticated.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened<'p> {
    /// The plaintext, in the packet's own bytes.
    pub payload: &'p mut [u8],
    /// The packet's counter.
    pub counter: u64,
    /// The packet's epoch: rekey frames belong to it.
    pub epoch: u64,
    /// Whether it is the newest packet so far, and of the current epoch: the backend answers to its path.
    pub newest: bool,
    /// Whether it has moved this backend to the next epoch: at least one packet must be sent at once.
    pub epoch_advanced: bool,
}

/// The epoch of an incoming packet, by what this end has a key for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    Previous,
    Current,
    Next,
}

impl<const WORDS: usize, K: Keep> Session<WORDS, K> {
    /// Returns where the payload of the next packet begins.
    pub fn header_len(&self, connection_id: &ConnectionId) -> usize {
        let len = counter_len_for(self.sending.next, self.sending.acked).unwrap_or(CounterLen::Four);
        DataHeader::new(self.epoch(), self.sending.next, len, *connection_id).header_len()
    }

    /// Returns how much longer than its payload the next packet is: 18 to 29 bytes.
    pub fn overhead(&self, connection_id: &ConnectionId) -> usize {
        self.header_len(connection_id).saturating_add(TAG_LEN)
    }

    /// Seals the payload that lies at `out[header_len..][..payload_len]` and returns the packet, from the front of `out`.
    ///
    /// The header is written in front of the payload and the tag behind it. A device moves to the next epoch here, if
    /// that is due and allowed.
    ///
    /// # Errors
    /// [`SealError`]; no counter is used then. After [`SealError::Closed`] nothing will ever be sealed again.
    #[inline(never)]
    pub fn seal<'o>(
        &mut self,
        now: Instant,
        connection_id: &ConnectionId,
        out: &'o mut [u8],
        payload_len: usize,
    ) -> Result<&'o mut [u8], SealError> {
        self.handle_timeout(now);
        if let Some(reason) = self.closed {
            return Err(SealError::Closed(reason));
        }
        let counter = self.sending.next;
        //= SPEC.md#packet-counter
        //# A sender MUST choose a counter length L of 1 to 4 such that next − A < 2^(8L−2), and close the session where there is none.
        let (Some(counter_len), Some(after)) =
            (counter_len_for(counter, self.sending.acked), counter.checked_add(1))
        else {
            return Err(SealError::Closed(self.close(CloseReason::PacketLimit)));
        };
        let header_len = self.header_len(connection_id);
        let needed = header_len.saturating_add(payload_len).saturating_add(TAG_LEN);
        if needed > MAX_PACKET {
            return Err(SealError::PacketTooLong);
        }
        let packet = out.get_mut(..needed).ok_or(BufferTooSmall { needed })?;
        if self.must_move(now) {
            self.advance(now);
        }
        //= SPEC.md#hard-stops
        //# An end MUST close a session rather than seal or open more than 2^24 packets in an epoch, counted for each direction.
        if self.sent_in_epoch() >= self.packet_limit.into() {
            return Err(SealError::Closed(self.close(CloseReason::PacketLimit)));
        }
        DataHeader::new(self.epoch(), counter, counter_len, *connection_id).write(packet)?;
        let (header, rest) = packet.split_at_mut_checked(header_len).ok_or(BufferTooSmall { needed })?;
        let (body, tag) = rest.split_last_chunk_mut::<TAG_LEN>().ok_or(BufferTooSmall { needed })?;
        //= SPEC.md#packet-counter
        //# A sender MUST NOT seal two packets of a session with the same counter.
        self.sending.next = after;
        if let Some(driver) = self.keep.driver_mut() {
            driver.longest = driver.longest.max(counter_len);
        }
        *tag = self.sending.key.seal(counter, header, body).ok_or(SealError::PacketTooLong)?;
        Ok(packet)
    }

    /// Opens a packet in place, whose header the caller has parsed to find this session.
    ///
    /// # Errors
    /// [`Discard`]; the packet's bytes are as they were and nothing has changed but the count of failed opens.
    /// ([`Discard::SessionClosed`] may also mean that this packet was authentic and reached a hard stop.)
    #[inline(never)]
    pub fn open<'p>(
        &mut self,
        now: Instant,
        header: &DataHeader,
        packet: &'p mut [u8],
    ) -> Result<Opened<'p>, Discard> {
        self.handle_timeout(now);
        if self.closed.is_some() {
            return Err(Discard::SessionClosed);
        }
        let highest = self.receiving.window.highest();
        let expected = highest.map_or(0, |highest| highest.saturating_add(1));
        let counter = reconstruct(expected, header.truncated(), header.counter_len());
        self.receiving.window.check(counter)?;
        let slot = self.slot(header.epoch(), counter)?;

        let (header, rest) = packet.split_at_mut_checked(header.header_len()).ok_or(Discard::TooShort)?;
        let (body, tag) = rest.split_last_chunk_mut::<TAG_LEN>().ok_or(Discard::TooShort)?;
        let key = match slot {
            Slot::Current => &self.receiving.key,
            Slot::Previous => &self.previous().ok_or(Discard::UnknownEpoch)?.key,
            Slot::Next => self.keep.cold().next_key.as_ref().ok_or(Discard::UnknownEpoch)?,
        };
        //= SPEC.md#packets
        //# A discarded packet MUST change nothing but a counter of discards.
        if key.open(counter, header, body, tag).is_err() {
            self.count_failed_open();
            return Err(Discard::Forged);
        }
        // The packet is authentic from here on.
        self.count_open(slot)?;
        //= SPEC.md#replay-window
        //# A receiver MUST mark a counter only after the packet has authenticated.
        self.receiving.window.mark(counter);
        if slot == Slot::Next {
            //= SPEC.md#epochs
            //# A backend MUST follow to the next epoch, receiving and sending, when the first packet of it authenticates, and at once send at least one packet in it.
            self.advance(now);
            self.opened = 1;
        }
        // A backend needs this only while there is a previous epoch, and looks elsewhere for it only then.
        if slot != Slot::Previous
            && (self.previous_lives || self.side == Side::Device)
            && let Some(rare) = self.keep.rare_mut()
        {
            let heard = rare.heard.get_or_insert(Heard { since: now, lowest: counter });
            heard.lowest = heard.lowest.min(counter);
        }
        self.drop_previous_outside_window();
        let epoch = self.epoch().saturating_sub((slot == Slot::Previous).into());
        let newest = slot != Slot::Previous && highest.is_none_or(|highest| counter > highest);
        Ok(Opened { payload: body, counter, epoch, newest, epoch_advanced: slot == Slot::Next })
    }

    /// Finds the epoch of a packet, which must agree with its counter.
    fn slot(&self, bits: EpochBits, counter: u64) -> Result<Slot, Discard> {
        let receiving = &self.receiving;
        if bits == EpochBits::of(self.epoch()) {
            return Ok(Slot::Current);
        }
        //= SPEC.md#epochs
        //# Only a backend MUST accept a packet of the next epoch, and it derives that key once, not once per packet.
        if self.side == Side::Backend && bits == EpochBits::of(self.epoch().wrapping_add(1)) {
            //= SPEC.md#epochs
            //# A packet of the next epoch MUST have a counter above the highest one authenticated so far.
            return match receiving.window.highest() {
                Some(highest) if counter <= highest => Err(Discard::EpochOrder),
                _ => Ok(Slot::Next),
            };
        }
        if self.previous().is_some() && bits == EpochBits::of(self.epoch().wrapping_sub(1)) {
            //= SPEC.md#epochs
            //# A packet of the previous epoch MUST have a counter below the lowest one authenticated in the current epoch.
            return match self.heard() {
                Some(heard) if counter >= heard.lowest => Err(Discard::EpochOrder),
                _ => Ok(Slot::Previous),
            };
        }
        Err(Discard::UnknownEpoch)
    }

    fn count_failed_open(&mut self) {
        self.receiving.failed = self.receiving.failed.saturating_add(1);
        //= SPEC.md#hard-stops
        //# An end MUST close a session after 2^36 failed opens.
        if self.receiving.failed >= self.keep.policy().failure_limit() {
            self.close(CloseReason::ForgeryLimit);
        }
    }

    /// Counts an authentic packet, unless its epoch is full. A forged packet never gets here, so it cannot close.
    fn count_open(&mut self, slot: Slot) -> Result<(), Discard> {
        let mut first = 0;
        let opened = match slot {
            Slot::Current => &mut self.opened,
            Slot::Previous => match self.keep.rare_mut().and_then(|rare| rare.previous.as_mut()) {
                Some(previous) => &mut previous.opened,
                None => &mut first,
            },
            Slot::Next => &mut first,
        };
        //= SPEC.md#hard-stops
        //# An end MUST close a session rather than seal or open more than 2^24 packets in an epoch, counted for each direction.
        if *opened >= self.packet_limit {
            self.close(CloseReason::PacketLimit);
            return Err(Discard::SessionClosed);
        }
        *opened = opened.saturating_add(1);
        if let Some(driver) = self.keep.driver_mut() {
            driver.opened_in_all = driver.opened_in_all.saturating_add(1);
        }
        Ok(())
    }

    /// Erases the previous epoch's key once none of its counters can pass the window.
    fn drop_previous_outside_window(&mut self) {
        if self.previous().is_none() {
            return;
        }
        if let (Some(heard), Some(highest)) = (self.heard(), self.receiving.window.highest()) {
            let oldest = highest.saturating_sub(super::ReplayWindow::<WORDS>::SIZE.wrapping_sub(1));
            if heard.lowest <= oldest {
                //= SPEC.md#epochs
                //# An end MUST erase the previous epoch's receive key at that point.
                self.drop_previous();
            }
        }
    }
}
