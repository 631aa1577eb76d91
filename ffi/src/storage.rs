//! What the device asks of its storage.

use crate::config::{Inner, vw_device};
use crate::device::{at, with};
use crate::memory::{self, Plain};
use crate::names::{VW_NEVER, lane};
use crate::status::*;
use vitalwire::storage::{Item, StorageReply, StorageRequest};

/// There is nothing to ask.
pub const VW_STORAGE_NONE: u8 = 0;
/// Append `data` to the region of `lane`. Answer with APPENDED, FULL or FAILED.
pub const VW_STORAGE_APPEND: u8 = 1;
/// Hand out the oldest entry of `lane`'s region whose number is above `number`, or, unless `has_number`, the oldest of all.
/// Answer with ENTRY, END or FAILED.
pub const VW_STORAGE_READ: u8 = 2;
/// The entries of `lane`'s region up to `number`, and it too, are not needed any more. Answer with DONE or FAILED.
pub const VW_STORAGE_TRIM: u8 = 3;
/// Keep `data` under `item`, in the place of what was there. Answer with DONE, FULL or FAILED.
pub const VW_STORAGE_PUT: u8 = 4;
/// Hand out what is kept under `item`. Answer with VALUE, NO_VALUE or FAILED.
pub const VW_STORAGE_GET: u8 = 5;
/// Erase what is kept under `item`, in the hardware where that can be done. Answer with DONE or FAILED.
pub const VW_STORAGE_DELETE: u8 = 6;
/// A request that this header does not know. Answer with FAILED.
pub const VW_STORAGE_OTHER: u8 = 255;

/// The item of the boots of which entries may be stored.
pub const VW_ITEM_BOOTS: u8 = 0;
/// The item of the ticket for the next resumption.
pub const VW_ITEM_TICKET: u8 = 1;
/// The item of the backend's pin and the time floor.
pub const VW_ITEM_PIN: u8 = 2;
/// The first of the items of descriptor sets: `VW_ITEMS` - 3 of them.
pub const VW_ITEM_DESCRIPTORS: u8 = 3;
/// How many items there are: their numbers go from 0 up.
pub const VW_ITEMS: u8 = 19;

/// It is done, and survives a power cut.
pub const VW_REPLY_DONE: u8 = 1;
/// The entry is stored under `number`, above that of every earlier one of the region, also over power cuts; the region
/// will still take `free` bytes, 2^32 - 1 if nobody knows.
pub const VW_REPLY_APPENDED: u8 = 2;
/// The entry `number`: `data`.
pub const VW_REPLY_ENTRY: u8 = 3;
/// There is no such entry.
pub const VW_REPLY_END: u8 = 4;
/// The value: `data`.
pub const VW_REPLY_VALUE: u8 = 5;
/// There is no value.
pub const VW_REPLY_NO_VALUE: u8 = 6;
/// There is no room; nothing has changed.
pub const VW_REPLY_FULL: u8 = 7;
/// The hardware has failed; what was asked may be done or not.
pub const VW_REPLY_FAILED: u8 = 8;

/// What the device asks of its storage. All of it is sealed already.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct vw_storage_request {
    /// `VW_STORAGE_…`.
    pub kind: u8,
    /// `VW_LANE_…`: which region.
    pub lane: u8,
    /// `VW_ITEM_…`: which item, 0 to `VW_ITEMS` - 1.
    pub item: u8,
    /// Whether `number` counts, 0 or 1.
    pub has_number: u8,
    /// The number of an entry.
    pub number: u64,
    /// What to store, in `backlog`: valid until the next call with this device.
    pub data: *const u8,
    /// Its length.
    pub len: usize,
}

/// What the storage answers.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct vw_storage_reply {
    /// `VW_REPLY_…`.
    pub kind: u8,
    /// How many bytes the region will still take.
    pub free: u32,
    /// The number of an entry.
    pub number: u64,
    /// What was read. Not in the device's own memory.
    pub data: *const u8,
    /// Its length.
    pub len: usize,
}

// SAFETY: integers and pointers.
unsafe impl Plain for vw_storage_reply {}

impl vw_storage_request {
    const NONE: Self = Self {
        kind: VW_STORAGE_NONE,
        lane: 0,
        item: 0,
        has_number: 0,
        number: 0,
        data: core::ptr::null(),
        len: 0,
    };

    fn new(request: &StorageRequest<'_>) -> Self {
        let data = |bytes: &[u8]| Self { data: bytes.as_ptr(), len: bytes.len(), ..Self::NONE };
        let known = match request {
            StorageRequest::Append { region, entry } => {
                Some(Self { kind: VW_STORAGE_APPEND, lane: region.code(), ..data(entry) })
            }
            StorageRequest::Read { region, after } => Some(Self {
                kind: VW_STORAGE_READ,
                lane: region.code(),
                has_number: after.is_some().into(),
                number: after.unwrap_or(0),
                ..Self::NONE
            }),
            StorageRequest::Trim { region, through } => Some(Self {
                kind: VW_STORAGE_TRIM,
                lane: region.code(),
                has_number: 1,
                number: *through,
                ..Self::NONE
            }),
            StorageRequest::Put { item, value } => {
                code(*item).map(|item| Self { kind: VW_STORAGE_PUT, item, ..data(value) })
            }
            StorageRequest::Get { item } => {
                code(*item).map(|item| Self { kind: VW_STORAGE_GET, item, ..Self::NONE })
            }
            StorageRequest::Delete { item } => {
                code(*item).map(|item| Self { kind: VW_STORAGE_DELETE, item, ..Self::NONE })
            }
            _ => None,
        };
        known.unwrap_or(Self { kind: VW_STORAGE_OTHER, ..Self::NONE })
    }
}

fn code(item: Item) -> Option<u8> {
    let code = match item {
        Item::Boots => VW_ITEM_BOOTS,
        Item::Ticket => VW_ITEM_TICKET,
        Item::Pin => VW_ITEM_PIN,
        Item::Descriptors(place) => place.checked_add(VW_ITEM_DESCRIPTORS)?,
        _ => return None,
    };
    (code < VW_ITEMS).then_some(code)
}

/// Writes what is to be asked of the storage now, the same again until `vw_handle_storage` has the answer; of kind
/// `VW_STORAGE_NONE` if there is nothing to ask. Serve it until then: after a start, nothing is sent before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_poll_storage(
    device: *mut vw_device,
    now: u64,
    request: *mut vw_storage_request,
) -> vw_status {
    let work = |inner: &mut Inner| {
        inner.check_out(request)?;
        let asked = inner.device.poll_storage(at(now), &mut inner.entropy);
        let out = asked.as_ref().map_or(vw_storage_request::NONE, vw_storage_request::new);
        // SAFETY: the caller has room for one, by contract.
        unsafe { inner.write(request, out) }?;
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Takes the storage's answer to the last request. One that nobody asked for is counted, and changes nothing else; one of
/// the wrong kind counts as `VW_REPLY_FAILED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_handle_storage(
    device: *mut vw_device,
    now: u64,
    reply: *const vw_storage_reply,
) -> vw_status {
    let work = |inner: &mut Inner| {
        // SAFETY: the caller has one there, by contract.
        let reply = unsafe { memory::read(reply) }?;
        let has_data = matches!(reply.kind, VW_REPLY_ENTRY | VW_REPLY_VALUE);
        let len = if has_data { reply.len } else { 0 };
        // SAFETY: the caller's bytes, by contract.
        let bytes = unsafe { inner.list(reply.data, len) }?;
        let number = reply.number;
        let answer = match reply.kind {
            VW_REPLY_DONE => StorageReply::Done,
            VW_REPLY_APPENDED => StorageReply::Appended { number, free: reply.free },
            VW_REPLY_ENTRY => StorageReply::Entry { number, bytes },
            VW_REPLY_END => StorageReply::End,
            VW_REPLY_VALUE => StorageReply::Value(Some(bytes)),
            VW_REPLY_NO_VALUE => StorageReply::Value(None),
            VW_REPLY_FULL => StorageReply::Full,
            VW_REPLY_FAILED => StorageReply::Failed,
            _ => return Err(VW_ERROR_BAD_VALUE),
        };
        inner.device.handle_storage(at(now), answer);
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Stores every record at once from now on: before a reboot or a power-off. Serve `vw_poll_storage` until
/// `vw_is_all_stored`. Does nothing without storage.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_store_all(device: *mut vw_device) -> vw_status {
    let work = |inner: &mut Inner| {
        inner.device.store_all();
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

/// Asks: does every record that is not committed survive a power cut?
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_is_all_stored(device: *mut vw_device) -> vw_status {
    // SAFETY: the contract of all calls.
    unsafe { with(device, |inner| yes_if(inner.device.is_all_stored())) }
}

/// Tells the highest sequence of this boot such that this record of the lane and all before it survive a power cut, or are
/// committed; `VW_NEVER` if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_stored_through(
    device: *mut vw_device,
    code: u8,
    sequence: *mut u64,
) -> vw_status {
    let work = |inner: &mut Inner| {
        let through = inner.device.stored_through(lane(code)?).unwrap_or(VW_NEVER);
        // SAFETY: the caller has room for one, by contract.
        unsafe { inner.write(sequence, through) }?;
        Ok(VW_OK)
    };
    // SAFETY: the contract of all calls.
    unsafe { with(device, work) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vitalwire::limits::MAX_STORED_BOOTS;

    #[test]
    fn items_have_numbers_of_their_own() {
        let places = u8::try_from(MAX_STORED_BOOTS).unwrap_or(0);
        let items =
            [Item::Boots, Item::Ticket, Item::Pin].into_iter().chain((0..places).map(Item::Descriptors));
        let codes: Vec<_> = items.map(code).collect();
        assert_eq!(codes, (0..VW_ITEMS).map(Some).collect::<Vec<_>>());
        assert_eq!(code(Item::Descriptors(places)), None);
        assert_eq!(code(Item::Descriptors(255)), None);
    }
}
