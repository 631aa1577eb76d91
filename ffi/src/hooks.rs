//! A heap of the firmware's own.

use crate::budget::VW_HEAP_PER_DEVICE;
use crate::status::*;
use core::alloc::{GlobalAlloc, Layout};
use core::ffi::c_void;

unsafe extern "C" {
    /// The firmware defines this: hands out `size` bytes at a multiple of `align` (a power of two, at most 16), or NULL.
    fn vw_malloc(size: usize, align: usize) -> *mut c_void;
    /// The firmware defines this: takes back what `vw_malloc` has handed out, with the same size and alignment.
    fn vw_free(block: *mut c_void, size: usize, align: usize);
}

#[global_allocator]
static HEAP: Hooks = Hooks;

struct Hooks;

// SAFETY: the firmware's functions keep to the contract, as the header asks of them.
unsafe impl GlobalAlloc for Hooks {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the firmware has it; any size and alignment may be asked for.
        unsafe { vw_malloc(layout.size(), layout.align()) }.cast()
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: a block of `vw_malloc` with its size and alignment.
        unsafe { vw_free(block.cast(), layout.size(), layout.align()) }
    }
}

/// Looks whether the firmware's heap has a device's share now. It is not kept: what else takes from the heap may leave less.
pub(crate) fn reserve() -> vw_status {
    // SAFETY: given back at once, with the same size and alignment.
    unsafe {
        let block = vw_malloc(VW_HEAP_PER_DEVICE, align_of::<u64>());
        if block.is_null() {
            return VW_ERROR_OUT_OF_MEMORY;
        }
        vw_free(block, VW_HEAP_PER_DEVICE, align_of::<u64>());
    }
    VW_OK
}

/// There is nothing to give back.
pub(crate) fn release() {}
