//! A heap in a fixed region, with its high-water marks.

use crate::HeapGauge;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use embedded_alloc::LlffHeap;

/// A counting heap of `LEN` bytes, for `#[global_allocator] static HEAP: Heap<4096> = Heap::new();`.
///
/// It counts bytes as the allocator hands them out, rounded up to its alignment. An allocation that does not fit is
/// refused, as the contract of `GlobalAlloc` wants it.
pub struct Heap<const LEN: usize> {
    heap: LlffHeap,
    ready: AtomicBool,
    peak: AtomicUsize,
    since_mark: AtomicUsize,
    region: Region<LEN>,
}

#[repr(align(8))]
struct Region<const LEN: usize>(UnsafeCell<MaybeUninit<[u8; LEN]>>);

// SAFETY: only the allocator, behind its critical section, touches the region.
unsafe impl<const LEN: usize> Sync for Region<LEN> {}

impl<const LEN: usize> Heap<LEN> {
    /// Makes a heap that sets itself up when it is first used.
    #[expect(clippy::new_without_default, reason = "a static wants a constant")]
    pub const fn new() -> Self {
        Self {
            heap: LlffHeap::empty(),
            ready: AtomicBool::new(false),
            peak: AtomicUsize::new(0),
            since_mark: AtomicUsize::new(0),
            region: Region(UnsafeCell::new(MaybeUninit::uninit())),
        }
    }
}

impl<const LEN: usize> HeapGauge for Heap<LEN> {
    fn used(&self) -> usize {
        if self.ready.load(Ordering::Relaxed) { self.heap.used() } else { 0 }
    }

    fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    fn mark(&self) {
        self.since_mark.store(self.used(), Ordering::Relaxed);
    }

    fn since_mark(&self) -> usize {
        self.since_mark.load(Ordering::Relaxed)
    }

    fn region(&self) -> usize {
        LEN
    }
}

// SAFETY: passes everything on to a heap that is set up before its first use.
unsafe impl<const LEN: usize> GlobalAlloc for Heap<LEN> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !self.ready.swap(true, Ordering::Relaxed) {
            // SAFETY: done once, before the first allocation. There is one core, and no interrupt allocates.
            unsafe { self.heap.init(self.region.0.get() as usize, LEN) };
        }
        // SAFETY: the caller keeps to the contract of `GlobalAlloc`.
        let block = unsafe { self.heap.alloc(layout) };
        let used = self.heap.used();
        self.peak.fetch_max(used, Ordering::Relaxed);
        self.since_mark.fetch_max(used, Ordering::Relaxed);
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the contract of `GlobalAlloc`.
        unsafe { self.heap.dealloc(block, layout) }
    }
}
