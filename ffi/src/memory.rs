//! Pointers of C, looked at before they are used.

use crate::status::*;

/// Plain data: every pattern of bits is a value, so that what C has written can be read.
///
/// # Safety
/// The type consists of integers, pointers and nullable function pointers only.
pub(crate) unsafe trait Plain: Copy {}

// SAFETY: integers.
unsafe impl Plain for u8 {}
// SAFETY: integers.
unsafe impl Plain for i32 {}
// SAFETY: integers.
unsafe impl Plain for u64 {}
// SAFETY: integers.
unsafe impl Plain for [u8; 32] {}
// SAFETY: integers.
unsafe impl Plain for [u8; 8] {}

/// Checks that memory of this length can be there.
fn check<T>(pointer: *const T, count: usize) -> Result<(), vw_status> {
    if pointer.is_null() {
        return Err(VW_ERROR_NULL);
    }
    if !pointer.is_aligned() {
        return Err(VW_ERROR_MISALIGNED);
    }
    let bytes = count.checked_mul(size_of::<T>()).filter(|bytes| *bytes <= isize::MAX as usize);
    let end = bytes.and_then(|bytes| pointer.addr().checked_add(bytes));
    if end.is_some() { Ok(()) } else { Err(VW_ERROR_BAD_LENGTH) }
}

/// Takes a list; of no items, whatever the pointer.
///
/// # Safety
/// The caller of the C API has so many items there, and leaves them alone for `'a`.
pub(crate) unsafe fn list<'a, T: Plain>(pointer: *const T, count: usize) -> Result<&'a [T], vw_status> {
    if count == 0 {
        return Ok(&[]);
    }
    check(pointer, count)?;
    // SAFETY: not null, aligned, no longer than memory; the rest is the caller's promise, and `T` takes any bits.
    Ok(unsafe { core::slice::from_raw_parts(pointer, count) })
}

/// Takes a buffer; none, whatever the pointer.
///
/// # Safety
/// The caller has so many bytes there, and neither reads nor writes them for `'a`. They may be uninitialised as far as C
/// is concerned: memory that came over a border has some value.
pub(crate) unsafe fn buffer<'a>(pointer: *mut u8, len: usize) -> Result<&'a mut [u8], vw_status> {
    if len == 0 {
        return Ok(&mut []);
    }
    check(pointer, len)?;
    // SAFETY: as in `list`, and nobody else has it.
    Ok(unsafe { core::slice::from_raw_parts_mut(pointer, len) })
}

/// Reads a value.
///
/// # Safety
/// The caller has one there.
pub(crate) unsafe fn read<T: Plain>(pointer: *const T) -> Result<T, vw_status> {
    check(pointer, 1)?;
    // SAFETY: not null and aligned; the caller has one there, and `T` takes any bits.
    Ok(unsafe { pointer.read() })
}

/// Reads a value that may be left out.
///
/// # Safety
/// As for [`read`], unless it is null.
pub(crate) unsafe fn read_if<T: Plain>(pointer: *const T) -> Result<Option<T>, vw_status> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: passed on.
    unsafe { read(pointer) }.map(Some)
}

/// Checks that a value can be written there.
pub(crate) fn check_out<T>(pointer: *mut T) -> Result<(), vw_status> {
    check(pointer, 1)
}

/// Writes a value.
///
/// # Safety
/// The caller has room for one there.
pub(crate) unsafe fn write<T>(pointer: *mut T, value: T) -> Result<(), vw_status> {
    check_out(pointer)?;
    // SAFETY: not null and aligned, and the caller has room; what was there has no destructor that Rust knows of.
    unsafe { pointer.write(value) };
    Ok(())
}

/// Some memory, as addresses only.
#[derive(Clone, Copy, Default)]
pub(crate) struct Region {
    start: usize,
    len: usize,
}

impl Region {
    pub(crate) fn new<T>(pointer: *const T, len: usize) -> Self {
        Self { start: pointer.addr(), len }
    }

    /// Tells whether the two share a byte.
    pub(crate) const fn overlaps(self, other: Self) -> bool {
        let (end, other_end) = (self.start.saturating_add(self.len), other.start.saturating_add(other.len));
        self.len > 0 && other.len > 0 && self.start < other_end && other.start < end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_pointers_that_cannot_be_right() {
        let words = [1i32, 2];
        let odd = words.as_ptr().cast::<u8>().wrapping_add(1).cast::<i32>();
        // SAFETY: what is there is read at most; the others are refused before.
        unsafe {
            assert_eq!(read(words.as_ptr()), Ok(1));
            assert_eq!(read(core::ptr::null::<i32>()), Err(VW_ERROR_NULL));
            assert_eq!(read(odd), Err(VW_ERROR_MISALIGNED));
            assert_eq!(list(words.as_ptr(), 2).map(<[i32]>::len), Ok(2));
            assert_eq!(list(words.as_ptr(), usize::MAX), Err(VW_ERROR_BAD_LENGTH));
            assert_eq!(list(words.as_ptr(), isize::MAX as usize), Err(VW_ERROR_BAD_LENGTH));
            assert_eq!(list(core::ptr::null::<i32>(), 0), Ok(&[][..]));
            assert_eq!(list(odd, 0), Ok(&[][..]));
            assert_eq!(list(core::ptr::null::<u8>(), 1), Err(VW_ERROR_NULL));
            let last = core::ptr::without_provenance::<u8>(usize::MAX);
            assert_eq!(list(last, 2), Err(VW_ERROR_BAD_LENGTH));
        }
    }

    #[test]
    fn regions_overlap_if_they_share_a_byte() {
        let region = |start, len| Region { start, len };
        assert!(region(10, 5).overlaps(region(14, 1)));
        assert!(!region(10, 5).overlaps(region(15, 1)));
        assert!(!region(10, 5).overlaps(region(5, 5)));
        assert!(region(10, 5).overlaps(region(9, 50)));
        assert!(!region(10, 5).overlaps(region(12, 0)));
    }
}
