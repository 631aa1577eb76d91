//! Objects in the caller's memory: what stands before them tells whether there is one.

use crate::status::*;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, Ordering};
use zeroize::Zeroize;

/// A Rust value that lives in opaque storage of C.
pub(crate) trait Object: Sized {
    /// What C declares: its size and alignment are enough for a [`Slot`] of this.
    type Storage;
    /// Marks storage that has such a value.
    const MAGIC: u32;
    /// Holds when [`Slot::fits`] was evaluated.
    const FITS: () = Slot::<Self>::fits();
}

/// Nobody is in a call.
const IDLE: u32 = 0;
/// Somebody is.
const IN_CALL: u32 = 1;
/// A call has panicked: nothing but destruction is left.
const BROKEN: u32 = 2;

/// What stands before the value.
#[repr(C)]
struct Head {
    magic: AtomicU32,
    state: AtomicU32,
    /// Where the slot is: a copy of the memory is none.
    address: usize,
}

#[repr(C)]
pub(crate) struct Slot<T> {
    head: Head,
    value: MaybeUninit<T>,
}

impl<T: Object> Slot<T> {
    const fn fits() {
        assert!(size_of::<Self>() <= size_of::<T::Storage>(), "the storage in the header is too small");
        assert!(align_of::<Self>() <= align_of::<T::Storage>(), "the storage in the header is misaligned");
    }
}

/// Returns where the slot is, if the pointer can be one.
fn place<T: Object>(object: *mut T::Storage) -> Result<*mut Slot<T>, vw_status> {
    const { T::FITS };
    if object.is_null() {
        return Err(VW_ERROR_NULL);
    }
    if object.is_aligned() { Ok(object.cast()) } else { Err(VW_ERROR_MISALIGNED) }
}

/// Returns the head of a slot that has a value.
///
/// # Safety
/// If `object` is not null, the caller has the storage there.
unsafe fn head<'a, T: Object>(slot: *mut Slot<T>) -> Result<&'a Head, vw_status> {
    // SAFETY: aligned and inside the caller's storage. Its bytes are integers, whatever they are.
    let head = unsafe { &(*slot).head };
    if head.magic.load(Ordering::Relaxed) != T::MAGIC {
        return Err(VW_ERROR_NOT_INITIALISED);
    }
    if head.address == slot.addr() { Ok(head) } else { Err(VW_ERROR_MOVED) }
}

/// Makes a value in the storage. What was there is forgotten, not dropped: after a warm start nobody owns it.
///
/// # Safety
/// The caller has the storage there, and nobody else uses it.
pub(crate) unsafe fn make<T: Object>(
    object: *mut T::Storage,
    value: impl FnOnce() -> Result<T, vw_status>,
) -> vw_status {
    let write = |place: *mut T| {
        let value = value()?;
        // SAFETY: what `make_at` gives.
        unsafe { place.write(value) };
        Ok(VW_OK)
    };
    // SAFETY: passed on.
    unsafe { make_at(object, write) }
}

/// As [`make`], for a value that is large: `write` writes it where it is told, which is aligned and large enough, and the
/// stack never has it more often than needed.
///
/// # Safety
/// As for [`make`]; and `write` has written a value if it returns no error.
pub(crate) unsafe fn make_at<T: Object>(
    object: *mut T::Storage,
    write: impl FnOnce(*mut T) -> Outcome,
) -> vw_status {
    let slot = match place::<T>(object) {
        Ok(slot) => slot,
        Err(error) => return error,
    };
    // SAFETY: aligned, large enough (`FITS`), and the caller's to give.
    let made = caught(|| write(unsafe { (&raw mut (*slot).value).cast::<T>() }));
    if made == VW_OK {
        let head =
            Head { magic: AtomicU32::new(T::MAGIC), state: AtomicU32::new(IDLE), address: slot.addr() };
        // SAFETY: as above.
        unsafe { (&raw mut (*slot).head).write(head) };
    }
    made
}

/// Works with the value, unless somebody does already.
///
/// # Safety
/// If `object` is not null, the caller has the storage there.
pub(crate) unsafe fn with<T: Object>(
    object: *mut T::Storage,
    work: impl FnOnce(&mut T) -> Outcome,
) -> vw_status {
    let entered = place::<T>(object).and_then(|slot| {
        // SAFETY: passed on.
        let head = unsafe { head(slot) }?;
        match head.state.compare_exchange(IDLE, IN_CALL, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Ok((slot, head)),
            Err(BROKEN) => Err(VW_ERROR_INTERNAL),
            Err(_) => Err(VW_ERROR_BUSY),
        }
    });
    let (slot, head) = match entered {
        Ok(entered) => entered,
        Err(error) => return error,
    };
    // SAFETY: the head says that there is a value, and that nobody else is at it until the state changes below.
    let value = unsafe { &mut *(&raw mut (*slot).value).cast::<T>() };
    let status = caught(|| work(value));
    let state = if status == VW_ERROR_INTERNAL { BROKEN } else { IDLE };
    head.state.store(state, Ordering::Release);
    status
}

/// Works with the value a last time, drops it and wipes the storage. One that has panicked is wiped only.
///
/// # Safety
/// If `object` is not null, the caller has the storage there.
pub(crate) unsafe fn destroy<T: Object>(
    object: *mut T::Storage,
    last: impl FnOnce(&mut T) -> Outcome,
) -> vw_status {
    // SAFETY: passed on.
    let status = unsafe { with::<T>(object, last) };
    if !matches!(status, VW_OK | VW_ERROR_INTERNAL) {
        return status;
    }
    if status == VW_OK {
        let slot = object.cast::<Slot<T>>();
        // SAFETY: `with` has just worked with it.
        let state = unsafe { &(*slot).head.state };
        if state.compare_exchange(IDLE, IN_CALL, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return VW_ERROR_BUSY;
        }
        caught(|| {
            // SAFETY: there is a value, `with` has just worked with it; below, the storage says that there is none.
            unsafe { (&raw mut (*slot).value).cast::<T>().drop_in_place() };
            Ok(VW_OK)
        });
    }
    // SAFETY: the whole storage is the caller's, and nothing lives in it any more.
    let storage =
        unsafe { core::slice::from_raw_parts_mut(object.cast::<MaybeUninit<u8>>(), size_of::<T::Storage>()) };
    storage.zeroize();
    VW_OK
}

/// Runs `work` so that no panic gets out.
#[cfg(feature = "std")]
pub(crate) fn caught(work: impl FnOnce() -> Outcome) -> vw_status {
    // What `work` changes is given up after a panic: `BROKEN`.
    let result = std::panic::catch_unwind(core::panic::AssertUnwindSafe(work));
    result.unwrap_or(Err(VW_ERROR_INTERNAL)).unwrap_or_else(|error| error)
}

/// Runs `work`. Nothing unwinds without `std`: a panic ends in the handler.
#[cfg(not(feature = "std"))]
pub(crate) fn caught(work: impl FnOnce() -> Outcome) -> vw_status {
    work().unwrap_or_else(|error| error)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counter(u32);

    #[repr(C, align(8))]
    struct Storage([u64; 8]);

    impl Object for Counter {
        type Storage = Storage;
        const MAGIC: u32 = 0x1234_5678;
    }

    #[test]
    fn a_panic_becomes_an_error_and_breaks_the_object() {
        let mut storage = Storage([0; 8]);
        let object = &raw mut storage;
        // SAFETY: the storage is there, and only this thread uses it.
        unsafe {
            assert_eq!(make(object, || Ok(Counter(7))), VW_OK);
            assert_eq!(with(object, |counter: &mut Counter| yes_if(counter.0 == 7)), VW_YES);
            assert_eq!(with(object, |_: &mut Counter| panic!("for the test")), VW_ERROR_INTERNAL);
            assert_eq!(with(object, |_: &mut Counter| Ok(VW_OK)), VW_ERROR_INTERNAL);
            assert_eq!(destroy(object, |_: &mut Counter| Ok(VW_OK)), VW_OK);
            assert_eq!(with(object, |_: &mut Counter| Ok(VW_OK)), VW_ERROR_NOT_INITIALISED);
        }
        assert_eq!(storage.0, [0; 8]);
    }

    #[test]
    fn a_call_inside_a_call_and_a_copy_are_refused() {
        let mut storage = Storage([0; 8]);
        let object = &raw mut storage;
        // SAFETY: as above; the inner call stops at the head.
        unsafe {
            assert_eq!(make(object, || Ok(Counter(7))), VW_OK);
            let inner = |_: &mut Counter| Ok(with(object, |_: &mut Counter| Ok(VW_OK)));
            assert_eq!(with(object, inner), VW_ERROR_BUSY);
            let mut copy = Storage(object.read().0);
            assert_eq!(with(&raw mut copy, |_: &mut Counter| Ok(VW_OK)), VW_ERROR_MOVED);
            assert_eq!(with(object, |_: &mut Counter| Ok(VW_OK)), VW_OK);
        }
    }
}
