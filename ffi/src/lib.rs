//! The C API of vitalwire's device end: a thin layer over [`vitalwire::device::Device`].
//!
//! `include/vitalwire.h` is made of this crate, and README.md has a table of the calls.
//!
//! # One contract for all calls
//! What Rust cannot check is the caller's, as with any C library:
//! - a pointer with a length points to so many bytes that nobody else changes during the call; a pointer to a struct
//!   points to one;
//! - memory that a device was given (`outbox`, `backlog`, `descriptors`, `opaque` storage) is left alone until
//!   `vw_device_destroy`.
//!
//! What can be told is told, before anything is touched: null pointers, misaligned structs, lengths that no memory
//! has, buffers that overlap the device's own, codes that name nothing, an object that was never made, was destroyed
//! or was moved, a call out of a callback or beside another one on the same object. Each has an error code.
//!
//! # Panics
//! None crosses the border. The library denies whatever panics on purpose; what is left is memory that runs out. With
//! `std` a panic becomes [`vw_status::VW_ERROR_INTERNAL`], and its object can only be destroyed. Without, it ends in
//! `vw_panic`.
#![cfg_attr(not(feature = "std"), no_std)]
// As in the library. Tests may.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::panic
    )
)]
// The names are C's.
#![allow(non_camel_case_types)]
// The contract is one, and stands above.
#![allow(clippy::missing_safety_doc)]

extern crate alloc;

mod budget;
mod config;
mod descriptors;
mod device;
mod entropy;
mod event;
mod export;
mod health;
#[cfg(all(feature = "heap", not(feature = "std")))]
mod heap;
#[cfg(all(feature = "heap-hooks", not(feature = "heap"), not(feature = "std")))]
mod hooks;
mod key_store;
mod link;
mod memory;
mod names;
#[cfg(all(feature = "panic-handler", not(feature = "std")))]
mod panicking;
mod recording;
mod records;
mod rekey;
mod settings;
mod slot;
mod status;
mod storage;

pub use budget::*;
pub use config::*;
pub use descriptors::*;
pub use device::*;
pub use entropy::*;
pub use event::*;
pub use export::*;
pub use health::*;
#[cfg(all(feature = "heap", not(feature = "std")))]
pub use heap::*;
pub use key_store::*;
pub use link::*;
pub use names::*;
pub use recording::*;
pub use records::*;
pub use rekey::*;
pub use status::*;
pub use storage::*;
