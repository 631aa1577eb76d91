//! A complete device on the board MPS2 with the FPGA image AN386: a Cortex-M4, here in an emulator.
//!
//! `main.rs` is the run loop, as firmware would copy it. What it stands on is here, one file for each part of the
//! hardware; `monitor.rs` is the application.
#![no_std]

#[cfg(feature = "pinned")]
extern crate alloc;

#[cfg(feature = "asynchronous")]
pub mod asynchronous;
pub mod board;
#[cfg(feature = "pinned")]
pub mod clock;
#[cfg(feature = "pinned")]
pub mod config;
#[cfg(feature = "pinned")]
pub mod entropy;
#[cfg(feature = "pinned")]
pub mod figure;
#[cfg(feature = "pinned")]
pub mod flash;
#[cfg(feature = "pinned")]
pub mod heap;
#[cfg(feature = "pinned")]
pub mod line;
#[cfg(feature = "pinned")]
pub mod monitor;
#[cfg(feature = "pinned")]
#[path = "../../serial_backend/page.rs"]
pub mod page;
#[cfg(feature = "pinned")]
#[path = "../../serial_backend/telemetry.rs"]
pub mod telemetry;
#[cfg(feature = "pinned")]
pub mod uart;
#[cfg(feature = "pinned")]
pub mod watchdog;

/// What was expected and did not happen.
pub type Failure = &'static str;
