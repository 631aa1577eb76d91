//! A heap in memory that the firmware gives.

use crate::budget::VW_HEAP_PER_DEVICE;
use crate::memory;
use crate::slot;
use crate::status::*;
use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
#[cfg(all(target_arch = "arm", target_os = "none"))]
use cortex_m as _; // has the lock that embedded-alloc asks for
use embedded_alloc::LlffHeap;

#[global_allocator]
static HEAP: Counted = Counted {
    heap: LlffHeap::empty(),
    len: AtomicUsize::new(0),
    peak: AtomicUsize::new(0),
    devices: AtomicU32::new(0),
};

struct Counted {
    heap: LlffHeap,
    /// Of the memory; 0 before there is any.
    len: AtomicUsize,
    peak: AtomicUsize,
    /// Those that have their share of the memory.
    devices: AtomicU32,
}

// SAFETY: passes everything on to a heap that hands out nothing before it has memory.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps to the contract of `GlobalAlloc`.
        let block = unsafe { self.heap.alloc(layout) };
        self.peak.fetch_max(self.heap.used(), Ordering::Relaxed);
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the contract of `GlobalAlloc`.
        unsafe { self.heap.dealloc(block, layout) }
    }
}

/// Gives the library its heap, once, before the first device: `VW_HEAP_PER_DEVICE` bytes for each device that lives at
/// the same time. The memory is the library's for good. A second call returns `VW_ERROR_BUSY`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vw_heap_init(memory: *mut u8, len: usize) -> vw_status {
    slot::caught(|| {
        if len < VW_HEAP_PER_DEVICE {
            return Err(VW_ERROR_OUT_OF_MEMORY);
        }
        // SAFETY: the caller's memory, by contract.
        let memory = unsafe { memory::buffer(memory, len) }?;
        if HEAP.len.compare_exchange(0, len, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return Err(VW_ERROR_BUSY);
        }
        // SAFETY: once, as the exchange says, and the memory is the heap's for good, by contract.
        unsafe { HEAP.heap.init(memory.as_mut_ptr() as usize, len) };
        Ok(VW_OK)
    })
}

/// Returns how many bytes of the heap are in use.
#[unsafe(no_mangle)]
pub extern "C" fn vw_heap_used() -> usize {
    HEAP.heap.used()
}

/// Returns how many bytes of the heap were in use at the most.
#[unsafe(no_mangle)]
pub extern "C" fn vw_heap_peak() -> usize {
    HEAP.peak.load(Ordering::Relaxed)
}

/// Takes a device's share.
pub(crate) fn reserve() -> vw_status {
    let shares = HEAP.len.load(Ordering::Relaxed).checked_div(VW_HEAP_PER_DEVICE).unwrap_or(0);
    let taken = HEAP.devices.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |devices| {
        let next = devices.checked_add(1)?;
        (next as usize <= shares).then_some(next)
    });
    if taken.is_ok() { VW_OK } else { VW_ERROR_OUT_OF_MEMORY }
}

/// Gives it back.
pub(crate) fn release() {
    // Nothing to take back is nothing to do.
    let _ = HEAP.devices.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |devices| devices.checked_sub(1));
}
