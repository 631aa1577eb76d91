//! Packets into fragments.

use super::LinkError;
use crate::codec::BufferTooSmall;
use crate::limits::{MAX_FRAGMENTS, MIN_LINK_PACKET};

/// Length of a fragment's header, in bytes.
pub(super) const HEADER_LEN: usize = 2;
/// Packets are numbered modulo this: 6 bits.
pub(super) const IDS: u8 = 64;

/// The header of a fragment: `0000 iiii` ‖ `ii L nnnnn` (SPEC.md, "Fragments").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FragmentHeader {
    /// The packet's number modulo 64.
    pub(super) id: u8,
    /// Whether it is the packet's last fragment.
    pub(super) last: bool,
    /// Its place in the packet: 0 to 31.
    pub(super) index: u8,
}

impl FragmentHeader {
    /// Tells whether bytes that begin like this are a fragment, and no whole packet.
    pub(super) const fn begins(first: u8) -> bool {
        first >> 4 == 0
    }

    pub(super) const fn to_bytes(self) -> [u8; HEADER_LEN] {
        let last = if self.last { 0x20 } else { 0 };
        [self.id >> 2 & 0x0f, self.id << 6 | last | self.index & 0x1f]
    }

    /// Every two bytes of which the first [begins](Self::begins) a fragment are a header.
    pub(super) const fn of_bytes([first, second]: [u8; HEADER_LEN]) -> Self {
        Self { id: (first << 2 | second >> 6) & (IDS - 1), last: second & 0x20 != 0, index: second & 0x1f }
    }
}

/// Cuts packets so that they fit a small link.
///
/// A packet that fits travels as it is; the others are cut into fragments, each with a header of 2 bytes. One packet
/// after the other: if another one is cut while an [`Outgoing`] one is half sent, that one begins anew. Packets that fit
/// may go in between. The [module](super) says how it goes together with a device.
///
/// ```
/// use vitalwire::Instant;
/// use vitalwire::wire::link::{Fragmenter, Reassembler};
/// let (mut fragmenter, mut reassembler) = (Fragmenter::new(20)?, Reassembler::<512>::new());
/// let packet = [0x80; 64];
/// let mut arrived = 0;
/// let mut buffer = [0; 20];
/// let mut outgoing = fragmenter.split(&packet)?;
/// while let Some(fragment) = fragmenter.next(&mut outgoing, &mut buffer)? {
///     // ... over the radio, and at the other end:
///     if let Some(whole) = reassembler.handle(Instant::ZERO, fragment) {
///         assert_eq!(whole, packet);
///         arrived += 1;
///     }
/// }
/// assert_eq!(arrived, 1);
/// # Ok::<(), vitalwire::wire::link::LinkError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Fragmenter {
    max_packet: usize,
    next_id: u8,
}

/// A packet on its way through a [`Fragmenter`]: `P` is its bytes, borrowed or owned.
///
/// See [`Fragmenter`] for an example.
#[derive(Clone, Debug)]
pub struct Outgoing<P> {
    packet: P,
    /// How many of its bytes have been handed out.
    sent: usize,
    /// Since its first fragment.
    cut: Option<Cut>,
}

/// How a packet is cut.
#[derive(Clone, Copy, Debug)]
struct Cut {
    id: u8,
    index: u8,
    /// Bytes of payload of every fragment but the last.
    size: usize,
}

impl<P> Outgoing<P> {
    /// Returns the packet: its buffer, once it is sent.
    pub fn into_packet(self) -> P {
        self.packet
    }
}

impl Fragmenter {
    /// Makes a fragmenter for a link that carries `max_packet` bytes in a piece: on BLE the ATT MTU less 3.
    ///
    /// # Errors
    /// [`LinkError::LinkTooSmall`] below 20 bytes.
    pub fn new(max_packet: u16) -> Result<Self, LinkError> {
        Ok(Self { max_packet: check(max_packet)?, next_id: 0 })
    }

    /// Tells it what the link carries from now on.
    ///
    /// A packet in the middle goes on as it is if the link has grown, and begins anew if it has shrunk.
    ///
    /// # Errors
    /// [`LinkError::LinkTooSmall`] below 20 bytes; nothing has changed then.
    ///
    /// ```
    /// use vitalwire::wire::link::Fragmenter;
    /// let mut fragmenter = Fragmenter::new(20)?;
    /// fragmenter.set_max_packet(185 - 3)?; // the phone has asked for an ATT MTU of 185
    /// assert_eq!(fragmenter.longest(), 32 * 180);
    /// # Ok::<(), vitalwire::wire::link::LinkError>(())
    /// ```
    pub fn set_max_packet(&mut self, max_packet: u16) -> Result<(), LinkError> {
        self.max_packet = check(max_packet)?;
        Ok(())
    }

    /// Returns the longest packet that the link can carry, in bytes: 32 fragments; 576 or more.
    pub fn longest(&self) -> usize {
        self.payload().saturating_mul(MAX_FRAGMENTS)
    }

    /// Begins with a packet.
    ///
    /// # Errors
    /// [`LinkError::EmptyPacket`]; [`LinkError::PacketTooLong`] above [`Fragmenter::longest`].
    pub fn split<P: AsRef<[u8]>>(&self, packet: P) -> Result<Outgoing<P>, LinkError> {
        let len = packet.as_ref().len();
        if len == 0 {
            return Err(LinkError::EmptyPacket);
        }
        self.check_len(len)?;
        Ok(Outgoing { packet, sent: 0, cut: None })
    }

    /// Writes the next piece for the link to the front of `out` and returns it, or `None` if all were handed out.
    ///
    /// A link that does not take it now gets the same bytes again later.
    ///
    /// # Errors
    /// [`LinkError::BufferTooSmall`]: nothing has changed; as many bytes as the link carries always do.
    /// [`LinkError::PacketTooLong`] if the link has shrunk so far that the packet does not fit any more.
    pub fn next<'o, P: AsRef<[u8]>>(
        &mut self,
        outgoing: &mut Outgoing<P>,
        out: &'o mut [u8],
    ) -> Result<Option<&'o mut [u8]>, LinkError> {
        let packet = outgoing.packet.as_ref();
        if outgoing.sent >= packet.len() {
            return Ok(None);
        }
        let whole = packet.len() <= self.max_packet
            && packet.first().is_some_and(|first| !FragmentHeader::begins(*first));
        if outgoing.cut.is_none() && whole {
            let out = front(out, packet.len())?;
            out.copy_from_slice(packet);
            outgoing.sent = packet.len();
            return Ok(Some(out));
        }
        //= SPEC.md#fragments
        //# A sender MUST begin a packet anew, with a new number, if the link does not carry its fragments any more.
        let payload = self.payload();
        let going_on = outgoing.cut.filter(|cut| cut.size <= payload && self.is_latest(cut.id));
        let (cut, sent) = match going_on {
            Some(cut) => (cut, outgoing.sent),
            None => {
                self.check_len(packet.len())?;
                (Cut { id: self.next_id, index: 0, size: payload }, 0)
            }
        };
        let end = sent.saturating_add(cut.size).min(packet.len());
        let piece = packet.get(sent..end).unwrap_or_default();
        let last = end == packet.len();
        let out = front(out, HEADER_LEN.saturating_add(piece.len()))?;
        let header = FragmentHeader { id: cut.id, last, index: cut.index };
        if let Some((head, body)) = out.split_first_chunk_mut::<HEADER_LEN>() {
            *head = header.to_bytes();
            body.copy_from_slice(piece);
        }
        //= SPEC.md#fragments
        //# A sender MUST number the packets that it cuts one after the other.
        if going_on.is_none() {
            self.next_id = self.next_id.wrapping_add(1) % IDS;
        }
        outgoing.sent = end;
        outgoing.cut = Some(Cut { index: cut.index.saturating_add(1), ..cut });
        Ok(Some(out))
    }

    //= SPEC.md#fragments
    //# A sender MUST NOT go on with a packet after it has sent a fragment of a later one.
    fn is_latest(&self, id: u8) -> bool {
        id.wrapping_add(1) % IDS == self.next_id
    }

    /// Bytes of payload of a fragment.
    fn payload(&self) -> usize {
        self.max_packet.saturating_sub(HEADER_LEN)
    }

    fn check_len(&self, len: usize) -> Result<(), LinkError> {
        let longest = self.longest();
        if len > longest { Err(LinkError::PacketTooLong { longest }) } else { Ok(()) }
    }
}

fn check(max_packet: u16) -> Result<usize, LinkError> {
    let max_packet = usize::from(max_packet);
    if max_packet < MIN_LINK_PACKET { Err(LinkError::LinkTooSmall) } else { Ok(max_packet) }
}

fn front(out: &mut [u8], needed: usize) -> Result<&mut [u8], BufferTooSmall> {
    out.get_mut(..needed).ok_or(BufferTooSmall { needed })
}
