//! The heap, which is used only while a handshake runs: a fixed region, with its high-water mark.

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use embedded_alloc::LlffHeap;

/// The size of the region, in bytes. `parts` has both ends of a handshake and an authority in it; a device alone needs
/// the 2 KB that the library asks for, and the boxes that it keeps.
const LEN: usize = if cfg!(feature = "device") { 6 * 1024 } else { 16 * 1024 };

#[global_allocator]
static HEAP: Counted = Counted {
    heap: LlffHeap::empty(),
    ready: AtomicBool::new(false),
    peak: AtomicUsize::new(0),
    taken: AtomicUsize::new(0),
};

static mut REGION: [u64; LEN / 8] = [0; LEN / 8];

struct Counted {
    heap: LlffHeap,
    ready: AtomicBool,
    peak: AtomicUsize,
    /// What is kept from everybody, to see what happens.
    taken: AtomicUsize,
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

/// Keeps so many bytes from everybody, as if another part of the firmware had them; 0 gives them back.
pub fn take(bytes: usize) {
    HEAP.taken.store(bytes, Ordering::Relaxed);
}

// SAFETY: passes everything on to a heap that is set up before its first use.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !self.ready.swap(true, Ordering::Relaxed) {
            // SAFETY: done once, before the first allocation; nothing else touches the region, and there is one core
            // and no interrupt that allocates.
            unsafe { self.heap.init(&raw mut REGION as usize, LEN) };
        }
        if self.heap.used() + layout.size() + self.taken.load(Ordering::Relaxed) > LEN {
            return core::ptr::null_mut();
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
