//! Time since the reset, and sleeping.
//!
//! SysTick runs freely and says what time it is; the board's timer 0 wakes the processor. On a device that sleeps
//! deeply, a low-power timer does both.

use crate::board::{self, CLOCK, Irq, Register, TIMER0};
use core::sync::atomic::{AtomicU32, Ordering};
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::peripheral::{SCB, SYST};
use cortex_m_rt::exception;
use vitalwire::Instant;

pub(crate) const TICKS_PER_MS: u64 = CLOCK as u64 / 1000;
const MASK: u32 = 0x00ff_ffff;
/// How often SysTick has come around: every 0.67 s.
static ROUNDS: AtomicU32 = AtomicU32::new(0);

const CONTROL: Register = Register::at(TIMER0, 0x0);
const VALUE: Register = Register::at(TIMER0, 0x4);
const RELOAD: Register = Register::at(TIMER0, 0x8);
const CLEAR: Register = Register::at(TIMER0, 0xc);
const ENABLE: u32 = 1 | 8;

/// The time since the reset.
pub struct Clock(());

impl Clock {
    /// Starts the timers.
    pub fn start(mut timer: SYST) -> Self {
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(MASK);
        timer.clear_current();
        timer.enable_counter();
        timer.enable_interrupt();
        CLEAR.write(1);
        board::unmask(Irq::Timer0);
        Self(())
    }

    /// Returns the time since the reset.
    pub fn now(&self) -> Instant {
        Instant::from_millis(ticks() / TICKS_PER_MS)
    }

    /// Sleeps until `wake`, at most a second, or until an interrupt that `has_work` then tells of.
    pub fn sleep(&self, wake: Instant, has_work: impl FnOnce() -> bool) {
        let wait = wake.since(self.now()).as_millis().min(1000);
        if wait == 0 {
            return;
        }
        set_alarm(wait as u32 * TICKS_PER_MS as u32);
        // With interrupts held back, one that comes between the question and the sleep still ends the sleep.
        cortex_m::interrupt::free(|_| {
            if !has_work() {
                cortex_m::asm::wfi();
            }
        });
        CONTROL.write(0);
    }
}

/// Returns the ticks of [`CLOCK`] since the reset.
pub fn ticks() -> u64 {
    cortex_m::interrupt::free(|_| {
        let (mut rounds, mut value) = (ROUNDS.load(Ordering::Relaxed), SYST::get_current());
        if SCB::is_pendst_pending() {
            // It has come around, and its interrupt waits for us.
            (rounds, value) = (rounds.wrapping_add(1), SYST::get_current());
        }
        u64::from(rounds) << 24 | u64::from(MASK - value)
    })
}

/// Has an interrupt come after so many ticks.
pub fn set_alarm(ticks: u32) {
    CONTROL.write(0);
    RELOAD.write(ticks);
    VALUE.write(ticks);
    CONTROL.write(ENABLE);
}

pub(crate) fn handle_timer() {
    CONTROL.write(0);
    CLEAR.write(1);
    #[cfg(feature = "asynchronous")]
    crate::asynchronous::handle_alarm();
}

#[exception]
fn SysTick() {
    ROUNDS.fetch_add(1, Ordering::Relaxed);
}
