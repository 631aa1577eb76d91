//! Vitalwire.
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(missing_docs)]
// Network bytes never reach a panic: SPEC.md, "Robustness". Tests may.
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

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod codec;
pub mod crypto;
pub mod delivery;
mod entropy;
mod error;
pub mod framing;
pub mod limits;
mod time;

#[cfg(feature = "std")]
pub use entropy::OsEntropy;
pub use entropy::{Entropy, EntropyError};
pub use error::{CallError, CloseReason, Discard, Discards};
pub use time::{Duration, Instant, UnixSeconds};
