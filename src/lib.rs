//! Secure telemetry for connected medical devices, for both ends: firmware and service.
//!
//! A device and a backend authenticate each other with a Noise handshake and compact credentials, exchange clinical
//! records in packets that only they can read, rekey by themselves, and lose nothing on a bad link. A device may sleep,
//! keep its records in flash over a power cut, and come back with a ticket, in two messages. The protocol is SPEC.md in
//! the repository; SECURITY.md says what it withstands.
//!
//! The library is sans-IO: it opens no socket, reads no clock and keeps no generator. Time comes in as an
//! [`Instant`], randomness through [`Entropy`], packets through your buffers.
//!
//! # Where to start
//! - Firmware: [`device::Device`]. Its documentation states the run loop; [`storage`], what it asks of a flash driver;
//!   [`wire::link`], how packets cross a link of 20 bytes, a TCP stream or a serial line. The chapter for authors of
//!   firmware is [`guide::firmware`]; what to do on each error and event is in [`guide::answers`].
//! - Randomness on firmware: [`Entropy`] states the contract, [`health::HealthTested`] keeps it.
//! - Services: [`backend::Backend`]. The same; [`delivery::Ledger`], what it stores with the records; [`audit`], what it can
//!   show to an auditor; [`backend::Counters`], to whoever watches it.
//! - Who may speak: [`identity`]. What is said: [`framing`]; what it means: [`clinical`].
//! - A driver of your own: [`session`], [`delivery`], [`handshake`] and [`wire`] stand by themselves.
//!
//! README.md shows a turn of both run loops; the examples `loopback` and `ward` in the repository are complete.
//!
//! # The data path
//! ```text
//! device                                                              backend
//! Record ─ framing ─► Outbox (delivery)                               Batch ─► application ─► commit
//!                        │ batches, cut per packet                      ▲                        │
//!                        ▼                                            Inbox (delivery) ◄─────────┘
//!                     frames (framing)                                  ▲            │ Ack
//!                        ▼                                            frames         ▼
//!                     Session::seal ── wire header ─► packet ─► link ─► Session::open
//! ```
//! The sessions' keys come from a [`handshake`], in which each side shows a credential ([`identity`]), or the device a
//! ticket of an earlier session. With storage, what waits in the outbox is sealed and written beside this path, and read
//! back after a restart.
//!
//! # Errors
//! A mistake of the caller is a [`CallError`], and nothing has changed. Hostile input is never an error: it is
//! counted by reason in [`Discards`], and nothing else has changed. The end of a session is one event with a
//! [`CloseReason`].
//!
//! # Features
//! | feature | adds | implies |
//! |---|---|---|
//! | `std` (default) | [`OsEntropy`] | `alloc` |
//! | `device` (default) | the firmware front end in full: a device that trusts authorities | `pinned-device`, `credentials` |
//! | `pinned-device` | the same front end without Ed25519: a device that trusts one pinned backend | `handshake` |
//! | `backend` (default) | the service front end, with precomputed curve tables | `handshake`, `intermediates` |
//! | `handshake` | Noise handshakes; a heap of 2 KB while one runs | `alloc` |
//! | `credentials` | Ed25519: authorities, and the verification of what they sign | |
//! | `intermediates` | certificates of intermediate authorities are verified | `credentials` |
//! | `alloc` | what is kept in vectors | |
//! | `defmt` | `defmt::Format` for what firmware logs; no secret | |
//! | `aws-lc-rs` | AEAD, X25519 and Ed25519 by AWS-LC, for services: [below](#the-crypto-provider) | `std` |
//! | `fhir` | `interop`, for services that hand records on to a hospital | `std` |
//!
//! Without `alloc` nothing here needs a heap. Features add items, they never change behaviour.
//!
//! # The crypto provider
//! By default the cipher and the curves are crates in pure Rust, of RustCrypto and dalek: `no_std`, for every target, no
//! compiler but Rust's. With `aws-lc-rs` they are AWS-LC's, in C and assembly. The bytes are the same, what is refused is
//! the same, and the two ends need not have the same provider; [`crypto::PROVIDER`] names the one of this build.
//!
//! Take `aws-lc-rs` for a service on x86-64 or AArch64 that may have a C compiler where it is built: packets and
//! handshakes then take a fraction of the time. Stay with the default on a device, on other processors, where code
//! outside Rust is not wanted, or where AWS-LC's memory is no place for keys (SPEC.md, "Secrets in memory").
//!
//! A service that stays with the default on x86-64 is built for its processor, `RUSTFLAGS="-C target-cpu=native"` or
//! `x86-64-v3`: without it the code that Poly1305 chooses at run time cannot be inlined, and small packets take several
//! times as long. No library can set that for its users. `cargo bench --features aws-lc-rs --bench provider` shows both
//! providers on your machine.
//!
//! # Small images
//! What firmware does not use is not linked, where the linker can see it: storage if
//! [`DeviceConfig::storage`](device::DeviceConfig::storage) stays `None` and `poll_storage` is not called; the codec of
//! blocks if no trend or waveform is ever given to [`Device::record`](device::Device::record); Ed25519 and SHA-512 with
//! `pinned-device` in the place of `device`.
//!
//! The rest is the profile, and what other crates unroll: `examples/firmware` in the repository has it in its `Cargo.toml` and
//! `.cargo/config.toml`. `examples/firmware/footprint` prints what an image takes, and with `--parts` what each choice saves.
//!
//! ```toml
//! # Cargo.toml of the firmware; `size_opt` has BLAKE2s as a loop
//! [profile.release]
//! opt-level = "s"
//! lto = "fat"
//! codegen-units = 1
//! panic = "abort"
//! [dependencies]
//! blake2 = { version = "0.11", default-features = false, features = ["size_opt"] }
//! ```
//! ```toml
//! # .cargo/config.toml: SHA-512 as a loop; functions of the same code once (with LLD)
//! [target.'cfg(all(target_arch = "arm", target_os = "none"))']
//! rustflags = ["--cfg", 'sha2_backend_soft="compact"', "-C", "link-arg=--icf=all"]
//! ```
// Unit tests have std, whatever the features.
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![deny(missing_docs)]
// Network bytes never reach a panic. Tests may.
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

#[cfg(any(feature = "alloc", test))]
extern crate alloc;

#[cfg(feature = "backend")]
pub mod audit;
#[cfg(feature = "backend")]
pub mod backend;
pub mod clinical;
pub mod codec;
pub mod crypto;
pub mod delivery;
#[cfg(feature = "pinned-device")]
pub mod device;
mod entropy;
mod error;
pub mod framing;
#[cfg(feature = "pinned-device")]
pub mod guide;
#[cfg(feature = "handshake")]
pub mod handshake;
pub mod health;
pub mod identity;
#[cfg(feature = "fhir")]
pub mod interop;
pub mod limits;
#[cfg(feature = "defmt")]
mod logging;
#[cfg(any(feature = "pinned-device", feature = "backend"))]
mod permission;
pub mod session;
pub mod storage;
#[cfg(test)]
mod test_vectors;
mod time;
pub mod wire;

#[cfg(any(feature = "std", test))]
pub use entropy::OsEntropy;
pub use entropy::{Entropy, EntropyError};
pub use error::{CallError, CloseReason, Discard, Discards};
pub use time::{Duration, Instant, UnixSeconds};

/// README's code is a doc test.
#[cfg(all(doctest, feature = "std", feature = "device", feature = "backend"))]
#[doc = include_str!("../README.md")]
struct Readme;
