//! Links that are no datagrams.

use crate::device::at;
use crate::memory::{self, Region};
use crate::slot::{self, Object};
use crate::status::*;
use vitalwire::wire::link::{CobsDecoder, Fragmenter, Outgoing, Reassembler, cobs_len, write_cobs};

/// The longest packet that `vw_cobs` and `vw_reassembler` take: set `vw_config.max_packet` to no more.
pub const VW_LINK_PACKET_MAX: usize = 512;

/// The size of a `vw_cobs`, in words of 64 bits.
pub const VW_COBS_WORDS: usize = 80;
/// The size of a `vw_fragmenter`, in words of 64 bits.
pub const VW_FRAGMENTER_WORDS: usize = 16;
/// The size of a `vw_reassembler`, in words of 64 bits.
pub const VW_REASSEMBLER_WORDS: usize = 88;

/// Takes packets from a serial line: opaque, in the caller's memory, and never moved.
#[repr(C)]
pub struct vw_cobs {
    /// Not for use.
    pub opaque: [u64; VW_COBS_WORDS],
}

/// Cuts packets so that they fit a small link: opaque, in the caller's memory, and never moved.
#[repr(C)]
pub struct vw_fragmenter {
    /// Not for use.
    pub opaque: [u64; VW_FRAGMENTER_WORDS],
}

/// Puts packets together again: opaque, in the caller's memory, and never moved.
#[repr(C)]
pub struct vw_reassembler {
    /// Not for use.
    pub opaque: [u64; VW_REASSEMBLER_WORDS],
}

type Decoder = CobsDecoder<VW_LINK_PACKET_MAX>;
type Whole = Reassembler<VW_LINK_PACKET_MAX>;

impl Object for Decoder {
    type Storage = vw_cobs;
    const MAGIC: u32 = 0x7677_6443;
}

/// A fragmenter and the packet that is on its way.
struct Cutter {
    fragmenter: Fragmenter,
    outgoing: Option<Outgoing<&'static [u8]>>,
    /// Where the packet is.
    region: Region,
}

impl Object for Cutter {
    type Storage = vw_fragmenter;
    const MAGIC: u32 = 0x7677_6446;
}

impl Object for Whole {
    type Storage = vw_reassembler;
    const MAGIC: u32 = 0x7677_6452;
}

/// Returns the most bytes that `vw_cobs_write` makes of a packet of `len` bytes.
#[unsafe(no_mangle)]
pub extern "C" fn vw_cobs_len(len: usize) -> usize {
    cobs_len(len)
}

/// Writes a packet as a serial line carries it, with a zero before and after it, and its length.
/// `VW_ERROR_BUFFER_TOO_SMALL` below `vw_cobs_len` bytes at the latest.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_cobs_write(
    packet: *const u8,
    packet_len: usize,
    out: *mut u8,
    out_len: usize,
    len: *mut usize,
) -> vw_status {
    slot::caught(|| {
        if Region::new(packet, packet_len).overlaps(Region::new(out, out_len)) {
            return Err(VW_ERROR_OVERLAP);
        }
        // SAFETY: the caller's memory, by contract; apart, as just checked.
        let (packet, out) = unsafe { (memory::list(packet, packet_len)?, memory::buffer(out, out_len)?) };
        memory::check_out(len)?;
        let written = write_cobs(packet, out)?.len();
        // SAFETY: the caller has room for one, by contract.
        unsafe { memory::write(len, written) }?;
        Ok(VW_OK)
    })
}

/// Makes a decoder in `decoder`, of `size` bytes: `sizeof (vw_cobs)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_cobs_init(decoder: *mut vw_cobs, size: usize) -> vw_status {
    let make = || {
        if size == size_of::<vw_cobs>() { Ok(Decoder::new()) } else { Err(VW_ERROR_BAD_LENGTH) }
    };
    // SAFETY: the caller's storage, by contract.
    unsafe { slot::make(decoder, make) }
}

/// Takes bytes of the line until a packet is whole: `taken` says how many it took, `packet` and `packet_len` where the
/// packet is, until the next call; of length 0 if there is none. Call it again with the rest.
///
/// Garbage is no error. The packet is the decoder's memory, to be given to `vw_handle_packet` as it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_cobs_next(
    decoder: *mut vw_cobs,
    bytes: *const u8,
    len: usize,
    taken: *mut usize,
    packet: *mut *mut u8,
    packet_len: *mut usize,
) -> vw_status {
    let storage = Region::new(decoder, size_of::<vw_cobs>());
    let work = |decoder: &mut Decoder| {
        if storage.overlaps(Region::new(bytes, len)) {
            return Err(VW_ERROR_OVERLAP);
        }
        memory::check_out(taken)?;
        memory::check_out(packet)?;
        memory::check_out(packet_len)?;
        // SAFETY: the caller's bytes, by contract.
        let all = unsafe { memory::list(bytes, len) }?;
        let mut rest = all;
        let found = decoder.next(&mut rest);
        let (place, found) =
            found.map_or((core::ptr::null_mut(), 0), |found| (found.as_mut_ptr(), found.len()));
        // SAFETY: the caller has room for them, by contract.
        unsafe {
            memory::write(taken, all.len().saturating_sub(rest.len()))?;
            memory::write(packet, place)?;
            memory::write(packet_len, found)?;
        }
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { slot::with::<Decoder>(decoder, work) }
}

/// Makes a fragmenter for a link that carries `max_packet` bytes in a piece, 20 or more: on BLE the ATT MTU less 3.
/// `size` is `sizeof (vw_fragmenter)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_fragmenter_init(
    fragmenter: *mut vw_fragmenter,
    size: usize,
    max_packet: u16,
) -> vw_status {
    let make = || {
        if size != size_of::<vw_fragmenter>() {
            return Err(VW_ERROR_BAD_LENGTH);
        }
        Ok(Cutter { fragmenter: Fragmenter::new(max_packet)?, outgoing: None, region: Region::default() })
    };
    // SAFETY: the caller's storage, by contract.
    unsafe { slot::make(fragmenter, make) }
}

/// Says that the link carries pieces of another size now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_fragmenter_resize(fragmenter: *mut vw_fragmenter, max_packet: u16) -> vw_status {
    let work = |cutter: &mut Cutter| {
        cutter.fragmenter.set_max_packet(max_packet)?;
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { slot::with::<Cutter>(fragmenter, work) }
}

/// Begins with a packet, in the place of one that was on its way. It stays in use until `vw_fragmenter_next` has
/// nothing more of it; NULL with length 0 gives up the one that is on its way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_fragmenter_split(
    fragmenter: *mut vw_fragmenter,
    packet: *const u8,
    len: usize,
) -> vw_status {
    let work = |cutter: &mut Cutter| {
        cutter.outgoing = None;
        if packet.is_null() && len == 0 {
            return Ok(VW_OK);
        }
        // SAFETY: the caller leaves it alone until all pieces are handed out, by contract.
        let packet: &'static [u8] = unsafe { memory::list(packet, len) }?;
        cutter.outgoing = Some(cutter.fragmenter.split(packet)?);
        cutter.region = Region::new(packet.as_ptr(), packet.len());
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { slot::with::<Cutter>(fragmenter, work) }
}

/// Writes the next piece for the link, and its length: 0 if all were handed out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_fragmenter_next(
    fragmenter: *mut vw_fragmenter,
    out: *mut u8,
    out_len: usize,
    len: *mut usize,
) -> vw_status {
    let storage = Region::new(fragmenter, size_of::<vw_fragmenter>());
    let work = |cutter: &mut Cutter| {
        memory::check_out(len)?;
        let space = Region::new(out, out_len);
        if storage.overlaps(space) || (cutter.outgoing.is_some() && cutter.region.overlaps(space)) {
            return Err(VW_ERROR_OVERLAP);
        }
        // SAFETY: the caller's buffer, by contract.
        let out = unsafe { memory::buffer(out, out_len) }?;
        let mut written = 0;
        if let Some(outgoing) = &mut cutter.outgoing {
            match cutter.fragmenter.next(outgoing, out)? {
                Some(piece) => written = piece.len(),
                None => cutter.outgoing = None,
            }
        }
        // SAFETY: the caller has room for one, by contract.
        unsafe { memory::write(len, written) }?;
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { slot::with::<Cutter>(fragmenter, work) }
}

/// Makes a reassembler in `reassembler`, of `size` bytes: `sizeof (vw_reassembler)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_reassembler_init(reassembler: *mut vw_reassembler, size: usize) -> vw_status {
    let make = || {
        if size == size_of::<vw_reassembler>() { Ok(Whole::new()) } else { Err(VW_ERROR_BAD_LENGTH) }
    };
    // SAFETY: the caller's storage, by contract.
    unsafe { slot::make(reassembler, make) }
}

/// Takes what came over the link in one piece: `packet` and `packet_len` say where a packet is that is whole now, in
/// `bytes` or in the reassembler, until the next call; of length 0 if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_reassembler_handle(
    reassembler: *mut vw_reassembler,
    now: u64,
    bytes: *mut u8,
    len: usize,
    packet: *mut *mut u8,
    packet_len: *mut usize,
) -> vw_status {
    let storage = Region::new(reassembler, size_of::<vw_reassembler>());
    let work = |whole: &mut Whole| {
        memory::check_out(packet)?;
        memory::check_out(packet_len)?;
        if storage.overlaps(Region::new(bytes, len)) {
            return Err(VW_ERROR_OVERLAP);
        }
        // SAFETY: the caller's bytes, by contract; apart, as just checked.
        let bytes = unsafe { memory::buffer(bytes, len) }?;
        let found = whole.handle(at(now), bytes);
        let (place, found) =
            found.map_or((core::ptr::null_mut(), 0), |found| (found.as_mut_ptr(), found.len()));
        // SAFETY: the caller has room for them, by contract.
        unsafe {
            memory::write(packet, place)?;
            memory::write(packet_len, found)?;
        }
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { slot::with::<Whole>(reassembler, work) }
}

/// Forgets half a packet: for a link that was made anew.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_reassembler_reset(reassembler: *mut vw_reassembler) -> vw_status {
    let work = |whole: &mut Whole| {
        whole.reset();
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { slot::with::<Whole>(reassembler, work) }
}
