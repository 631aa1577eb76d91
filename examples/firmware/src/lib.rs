//! A complete device on the board MPS2 with the FPGA image AN386: a Cortex-M4, here in an emulator.
//!
//! `main.rs` is the run loop, as firmware would copy it. What it stands on is here, one file for each part of the
//! hardware; `monitor.rs` is the application.
#![no_std]

#[cfg(feature = "handshake")]
extern crate alloc;

#[cfg(feature = "asynchronous")]
pub mod asynchronous;
pub mod board;
#[cfg(feature = "device")]
pub mod clock;
#[cfg(feature = "device")]
pub mod config;
#[cfg(feature = "device")]
pub mod entropy;
#[cfg(feature = "device")]
pub mod figure;
#[cfg(feature = "device")]
pub mod flash;
#[cfg(feature = "handshake")]
pub mod heap;
#[cfg(feature = "device")]
pub mod line;
pub mod measure;
#[cfg(feature = "device")]
pub mod monitor;
#[cfg(feature = "device")]
#[path = "../../serial_backend/page.rs"]
pub mod page;
#[cfg(feature = "device")]
#[path = "../../serial_backend/telemetry.rs"]
pub mod telemetry;
#[cfg(feature = "device")]
pub mod uart;
#[cfg(feature = "device")]
pub mod watchdog;

/// What was expected and did not happen.
pub type Failure = &'static str;
