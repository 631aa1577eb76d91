//! Instructions and stack, counted.

use core::ptr;
use cortex_m::Peripherals;
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::register::msp;
use cortex_m_semihosting::hprintln;

/// Counts instructions by the SysTick timer of an emulator that runs at one instruction per nanosecond
/// (`qemu -icount shift=0`); the board's timer runs at 25 MHz.
pub struct Counter {
    _timer: SYST,
}

impl Counter {
    /// Instructions per tick.
    pub const RESOLUTION: u32 = 40;
    const MASK: u32 = 0x00ff_ffff;

    /// Takes the timer; once.
    pub fn new() -> Option<Self> {
        let mut timer = Peripherals::take()?.SYST;
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(Self::MASK);
        timer.clear_current();
        timer.enable_counter();
        Some(Self { _timer: timer })
    }

    /// Runs `work` and prints what it took. Right below 600 million instructions, where the timer comes around.
    pub fn report<T>(&mut self, name: &str, work: impl FnOnce() -> T) -> T {
        let before = SYST::get_current();
        let result = work();
        let ticks = before.wrapping_sub(SYST::get_current()) & Self::MASK; // it counts down
        hprintln!("  {:<18} {:>9}", name, ticks.wrapping_mul(Self::RESOLUTION));
        result
    }
}

/// The stack below the point where it was painted.
pub struct Stack {
    top: usize,
    bottom: usize,
}

impl Stack {
    const PAINT: u32 = 0xa5a5_5a5a;
    const LEN: usize = 64 * 1024;
    /// What `paint` itself may be using.
    const MARGIN: usize = 256;

    /// Fills the unused stack with a pattern.
    #[inline(never)]
    pub fn paint() -> Self {
        let top = (msp::read() as usize - Self::MARGIN) & !3;
        let stack = Self { top, bottom: top - Self::LEN };
        for address in (stack.bottom..stack.top).step_by(4) {
            // SAFETY: aligned RAM below the stack pointer; memory.x leaves megabytes between there and the statics.
            unsafe { ptr::write_volatile(address as *mut u32, Self::PAINT) };
        }
        stack
    }

    /// Returns how far down the stack has been, in bytes from where it was painted.
    pub fn peak(&self) -> usize {
        let untouched = (self.bottom..self.top).step_by(4).take_while(|address| {
            // SAFETY: as in `paint`.
            unsafe { ptr::read_volatile(*address as *const u32) == Self::PAINT }
        });
        self.top - (self.bottom + untouched.count() * 4) + Self::MARGIN
    }
}
