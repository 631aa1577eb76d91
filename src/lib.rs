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
#[cfg(all(test, not(feature = "std")))]
extern crate std;

pub mod codec;
pub mod crypto;
pub mod delivery;
mod entropy;
mod error;
#[cfg(feature = "handshake")]
pub mod handshake;
pub mod identity;
pub mod framing;
pub mod limits;
pub mod session;
mod time;
pub mod wire;

#[cfg(feature = "std")]
pub use entropy::OsEntropy;
pub use entropy::{Entropy, EntropyError};
pub use error::{CallError, CloseReason, Discard, Discards};
pub use time::{Duration, Instant, UnixSeconds};
