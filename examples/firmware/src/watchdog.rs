//! The watchdog: resets a device whose run loop makes no progress.

use crate::board::{CLOCK, Register, WATCHDOG};
use vitalwire::Instant;

const LOAD: Register = Register::at(WATCHDOG, 0x0);
const CONTROL: Register = Register::at(WATCHDOG, 0x8);
const CLEAR: Register = Register::at(WATCHDOG, 0xc);
const LOCK: Register = Register::at(WATCHDOG, 0xc00);
const KEY: u32 = 0x1acc_e551;
/// Interrupt and reset.
const ENABLE: u32 = 3;
/// Its first time-out asks by an NMI, its second one resets: so this is half of what it grants.
const SECONDS: u32 = 4;

/// The watchdog. Once started it cannot be stopped.
pub struct Watchdog(());

impl Watchdog {
    pub fn start() -> Self {
        LOCK.write(KEY);
        LOAD.write(CLOCK * SECONDS);
        CONTROL.write(ENABLE);
        LOCK.write(0);
        Self(())
    }

    /// Feeds it, if the loop has done what was due. `due` is the earliest instant at which anything is to be done: while
    /// that stays in the past, turn after turn, the loop turns and does nothing, and the watchdog goes hungry.
    pub fn feed(&mut self, now: Instant, due: Instant) {
        if due > now {
            LOCK.write(KEY);
            CLEAR.write(1);
            LOCK.write(0);
        }
    }
}
