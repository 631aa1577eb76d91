//! The heap of a handshake: a fixed region, with its high-water mark. Both ends of the handshake share it here, and
//! the authority's work too, which no device does; a device alone needs about a third.

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use embedded_alloc::LlffHeap;

/// The size of the region, in bytes.
const LEN: usize = 16 * 1024;

#[global_allocator]
static HEAP: Counted =
    Counted { heap: LlffHeap::empty(), ready: AtomicBool::new(false), peak: AtomicUsize::new(0) };

static mut REGION: [u64; LEN / 8] = [0; LEN / 8];

struct Counted {
    heap: LlffHeap,
    ready: AtomicBool,
    peak: AtomicUsize,
}

/// Returns the most that was ever in use, in bytes.
pub fn peak() -> usize {
    HEAP.peak.load(Ordering::Relaxed)
}

/// Returns what is in use now, in bytes.
pub fn used() -> usize {
    HEAP.heap.used()
}

/// Forgets the peak so far.
pub fn restart_peak() {
    HEAP.peak.store(used(), Ordering::Relaxed);
}

// SAFETY: passes everything on to a heap that is set up before its first use.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !self.ready.swap(true, Ordering::Relaxed) {
            // SAFETY: done once, before the first allocation; nothing else touches the region, and there is one core
            // and no interrupt that allocates.
            unsafe { self.heap.init(&raw mut REGION as usize, LEN) };
        }
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
