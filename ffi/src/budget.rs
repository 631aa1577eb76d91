//! What a device may take from the heap.

/// A device's share of the heap, in bytes, storage included: what it takes at the most, and as much again for the holes of
/// a heap.
#[cfg(target_pointer_width = "64")]
pub const VW_HEAP_PER_DEVICE: usize = 12288;
/// A device's share of the heap, in bytes, storage included: what it takes at the most, and as much again for the holes of
/// a heap.
#[cfg(target_pointer_width = "32")]
pub const VW_HEAP_PER_DEVICE: usize = 8192;

#[cfg(all(feature = "heap", not(feature = "std")))]
pub(crate) use crate::heap::{release, reserve};

#[cfg(all(feature = "heap-hooks", not(feature = "heap"), not(feature = "std")))]
pub(crate) use crate::hooks::{release, reserve};

/// The system's heap does not run out at these sizes.
#[cfg(any(feature = "std", not(any(feature = "heap", feature = "heap-hooks"))))]
pub(crate) const fn reserve() -> crate::vw_status {
    crate::vw_status::VW_OK
}

/// There is nothing to give back.
#[cfg(any(feature = "std", not(any(feature = "heap", feature = "heap-hooks"))))]
pub(crate) const fn release() {}
