//! Fragments into packets.

use super::fragment::{FragmentHeader, HEADER_LEN, IDS};
use super::{LinkDiscard, LinkDiscards};
use crate::limits::{FRAGMENT_LIFE, STALE_PACKETS};
use crate::time::{Duration, Instant};

/// Puts packets together again at a small link's other end, in one buffer of `N` bytes.
///
/// `N` is the longest packet that may come; 512 does for handshakes, and a device needs no more than the largest packet
/// that it announces, if that is more. Fragments of a packet may come in any order and more than once. A newer
/// packet displaces a half one; whole packets pass through at any time. It needs no timer: a half packet that is too
/// old is dropped when the next fragment comes. See [`Fragmenter`](super::Fragmenter) for an example.
#[derive(Clone, Debug)]
pub struct Reassembler<const N: usize = 512> {
    buffer: [u8; N],
    life: Duration,
    newest: Option<Newest>,
    discards: LinkDiscards,
}

/// The packet that a fragment was accepted of last.
#[derive(Clone, Copy, Debug)]
struct Newest {
    id: u8,
    heard: Instant,
    /// Until it is whole.
    half: Option<Half>,
}

/// Half a packet. In the buffer, fragment n of the given size is at n times that size; the last one, whose place is
/// not known before another has come, is at the buffer's end.
#[derive(Clone, Copy, Debug, Default)]
struct Half {
    /// Bit n: fragment n is there.
    received: u32,
    /// Length of every fragment but the last.
    size: Option<usize>,
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    index: u8,
    len: usize,
}

impl Half {
    /// Checks that a fragment fits the others and the buffer, and tells what is there with it.
    fn with(mut self, header: FragmentHeader, len: usize, buffer: usize) -> Result<Self, LinkDiscard> {
        let bit = 1u32.checked_shl(header.index.into()).ok_or(LinkDiscard::Mismatched)?;
        if self.received & bit != 0 {
            return Err(LinkDiscard::Repeated);
        }
        if header.last {
            // Nothing may be behind the last one, and there is only one.
            if self.last.is_some() || self.received >= bit {
                return Err(LinkDiscard::Mismatched);
            }
            self.last = Some(Last { index: header.index, len });
        } else {
            if self.size.is_some_and(|size| size != len)
                || self.last.is_some_and(|last| last.index < header.index)
            {
                return Err(LinkDiscard::Mismatched);
            }
            self.size = Some(len);
        }
        self.received |= bit;
        //= SPEC.md#fragments
        //# A receiver MUST discard a fragment that does not fit the ones before it, or its buffer.
        if let (Some(size), Some(last)) = (self.size, self.last)
            && last.len > size
        {
            return Err(LinkDiscard::Mismatched);
        }
        if self.end(header.index, len) > buffer || self.whole_len() > buffer {
            return Err(LinkDiscard::TooLong);
        }
        Ok(self)
    }

    /// Where fragment `index` ends, as far as that is known.
    fn end(&self, index: u8, len: usize) -> usize {
        self.size.unwrap_or(0).saturating_mul(index.into()).saturating_add(len)
    }

    /// The length of the packet, as far as that is known.
    fn whole_len(&self) -> usize {
        self.last.map_or(0, |last| self.end(last.index, last.len))
    }

    fn is_whole(&self) -> bool {
        let all = |last: Last| u32::MAX.checked_shr(31u32.saturating_sub(last.index.into()));
        self.last.and_then(all) == Some(self.received)
    }
}

impl<const N: usize> Default for Reassembler<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Reassembler<N> {
    /// Makes a reassembler that keeps half a packet for 10 s.
    pub const fn new() -> Self {
        Self::with_life(FRAGMENT_LIFE)
    }

    /// Makes one that keeps half a packet for `life` after its latest fragment.
    ///
    /// Longer than 10 s is for links that are that slow: on LoRa, a duty cycle of 1 % may put minutes between two
    /// fragments. Both ends need not agree.
    pub const fn with_life(life: Duration) -> Self {
        Self { buffer: [0; N], life, newest: None, discards: LinkDiscards::NONE }
    }

    /// Forgets half a packet, and which ones came: for a link that was made anew.
    pub fn reset(&mut self) {
        self.newest = None;
    }

    /// Takes what came over the link, and returns a packet when it is whole, ready for `Device::handle_packet` or for
    /// the relay's other link.
    ///
    /// Bad input is never an error: it is counted in [`Reassembler::discards`] and changes nothing else.
    pub fn handle<'a>(&'a mut self, now: Instant, bytes: &'a mut [u8]) -> Option<&'a mut [u8]> {
        let Some(first) = bytes.first() else {
            self.discards.count(LinkDiscard::TooShort);
            return None;
        };
        //= SPEC.md#fragments
        //# A receiver MUST hand on unread what does not begin like a fragment.
        if !FragmentHeader::begins(*first) {
            return Some(bytes);
        }
        match self.accept(now, bytes) {
            Ok(whole) => self.buffer.get_mut(..whole?),
            Err(discard) => {
                self.discards.count(discard);
                None
            }
        }
    }

    /// Returns how often each kind of fragment was discarded.
    pub const fn discards(&self) -> &LinkDiscards {
        &self.discards
    }

    /// Takes a fragment, and returns the length of the packet that it makes whole.
    fn accept(&mut self, now: Instant, fragment: &[u8]) -> Result<Option<usize>, LinkDiscard> {
        let (header, payload) = fragment.split_first_chunk::<HEADER_LEN>().ok_or(LinkDiscard::TooShort)?;
        if payload.is_empty() {
            return Err(LinkDiscard::TooShort);
        }
        let header = FragmentHeader::of_bytes(*header);
        self.drop_old(now);
        let half = match self.newest {
            Some(newest) if newest.id == header.id => newest.half.ok_or(LinkDiscard::Repeated)?,
            //= SPEC.md#fragments
            //# A receiver MUST discard a fragment of one of the 4 packets before the newest one.
            Some(newest) if newest.id.wrapping_sub(header.id) % IDS <= STALE_PACKETS => {
                return Err(LinkDiscard::Stale);
            }
            _ => Half::default(),
        };
        let half = half.with(header, payload.len(), N)?;
        let at = if header.last { N.saturating_sub(payload.len()) } else { half.end(header.index, 0) };
        let place = self.buffer.get_mut(at..at.saturating_add(payload.len())).ok_or(LinkDiscard::TooLong)?;
        place.copy_from_slice(payload);
        //= SPEC.md#fragments
        //# A receiver MUST drop a half packet when it accepts a fragment of a newer one.
        if self.newest.is_some_and(|newest| newest.id != header.id && newest.half.is_some()) {
            self.discards.count(LinkDiscard::Displaced);
        }
        let whole = half.is_whole();
        self.newest = Some(Newest { id: header.id, heard: now, half: (!whole).then_some(half) });
        Ok(whole.then(|| self.close_up(&half)))
    }

    /// Brings the last fragment to its place, and returns the packet's length.
    fn close_up(&mut self, half: &Half) -> usize {
        let (whole, last) = (half.whole_len(), half.last.map_or(0, |last| last.len));
        // Checked by `Half::with`: the packet is no longer than the buffer.
        if whole <= N && last <= whole {
            self.buffer.copy_within(N.saturating_sub(last).., whole.saturating_sub(last));
        }
        whole
    }

    //= SPEC.md#fragments
    //# A receiver MUST drop a half packet of which no fragment was accepted for 10 s, or as long as its link needs.
    fn drop_old(&mut self, now: Instant) {
        if let Some(old) = self.newest.take_if(|newest| now.since(newest.heard) >= self.life)
            && old.half.is_some()
        {
            self.discards.count(LinkDiscard::TimedOut);
        }
    }
}
