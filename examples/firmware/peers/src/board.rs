//! What every peer's image has: how a run ends, and the names of its figures.
#![allow(dead_code, reason = "`meter` needs only the first half")]

use cortex_m_rt::{ExceptionFrame, exception};
use firmware_measure::{fail, say, succeed};

/// Runs the image to its end.
pub fn run(session: impl FnOnce() -> Result<(), &'static str>) -> ! {
    match session() {
        Ok(()) => {
            say("firmware: everything is as it should be");
            succeed()
        }
        Err(what) => fail(what),
    }
}

/// The figures of one size of record.
pub struct Names {
    pub seal: &'static str,
    pub open: &'static str,
    pub wire: &'static str,
}

/// Names the figures of records with `len` bytes.
pub fn names(len: usize) -> Option<Names> {
    let (seal, open, wire) = match len {
        16 => ("seal.16", "open.16", "wire.record.16"),
        48 => ("seal.48", "open.48", "wire.record.48"),
        64 => ("seal.64", "open.64", "wire.record.64"),
        256 => ("seal.256", "open.256", "wire.record.256"),
        _ => return None,
    };
    Some(Names { seal, open, wire })
}

/// Holds what the device said against what the far end has accepted.
pub fn same(said: Option<&[u8]>, accepted: &[u8]) -> Result<(), &'static str> {
    (said == Some(accepted)).then_some(()).ok_or("a message is not the one that the far end had")
}

/// Adds up the lengths of messages.
pub fn total(messages: &[&[u8]]) -> u64 {
    messages.iter().map(|message| message.len() as u64).sum()
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    fail("a panic")
}

#[exception]
unsafe fn HardFault(_: &ExceptionFrame) -> ! {
    fail("a hard fault")
}
