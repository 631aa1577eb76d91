//! The heap: a fixed region, with its high-water mark. The device takes its part once, when it is made; otherwise it is
//! used only while a handshake runs.

use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicUsize, Ordering};
use firmware_measure::{Heap, HeapGauge};

/// The size of the region, in bytes: the 2 KB that the library asks for in one piece, the boxes that it keeps, and a
/// Hello.
const LEN: usize = 10 * 1024;

/// The heap.
#[global_allocator]
pub static HEAP: Shared = Shared { heap: Heap::new(), taken: AtomicUsize::new(0) };

/// A heap of which another part of the firmware may have some.
pub struct Shared {
    heap: Heap<LEN>,
    taken: AtomicUsize,
}

impl Shared {
    /// Keeps so many bytes from everybody, as if another part of the firmware had them; 0 gives them back.
    pub fn take(&self, bytes: usize) {
        self.taken.store(bytes, Ordering::Relaxed);
    }
}

impl HeapGauge for Shared {
    fn used(&self) -> usize {
        self.heap.used()
    }

    fn peak(&self) -> usize {
        self.heap.peak()
    }

    fn mark(&self) {
        self.heap.mark();
    }

    fn since_mark(&self) -> usize {
        self.heap.since_mark()
    }

    fn region(&self) -> usize {
        self.heap.region()
    }
}

// SAFETY: passes everything on, or refuses, which the contract allows.
unsafe impl GlobalAlloc for Shared {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if self.used() + layout.size() + self.taken.load(Ordering::Relaxed) > LEN {
            return core::ptr::null_mut();
        }
        // SAFETY: the caller keeps to the contract of `GlobalAlloc`.
        unsafe { self.heap.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the contract of `GlobalAlloc`.
        unsafe { self.heap.dealloc(block, layout) }
    }
}
