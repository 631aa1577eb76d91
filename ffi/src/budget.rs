//! What a device may take from the heap.

/// A device's share of the heap, in bytes, storage included: twice what it takes at the most, as a heap gets holes.
pub const VW_HEAP_PER_DEVICE: usize = 18432;

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
