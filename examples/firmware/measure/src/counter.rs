//! Instructions, counted to the last one by a timer that ticks only every 40.
//!
//! Under `qemu -icount shift=0` one instruction is one nanosecond, and the board's SysTick ticks at 25 MHz. To find
//! out where between two ticks a call began and ended, the timer is read every 41 instructions: when it has moved by
//! two, the later reading was made right at a tick. So a figure does not depend on what ran before, such as a wait
//! for the other end of a line.

use core::arch::asm;
use core::hint::black_box;
use core::sync::atomic::{AtomicU32, Ordering};
use cortex_m::interrupt;
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;

/// Instructions per tick.
const TICK: u64 = 40;
/// Instructions from one reading of `find_tick` to the next.
const STEP: u64 = 41;
/// The timer has 24 bits, and counts down.
const MASK: u32 = 0x00ff_ffff;

/// How often the timer came around.
static ROUNDS: AtomicU32 = AtomicU32::new(0);

#[exception]
fn SysTick() {
    // One core, and nothing else writes: no need for a read-modify-write instruction.
    ROUNDS.store(ROUNDS.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// Counts instructions by the SysTick timer, which it owns, with its exception.
///
/// An interrupt that comes during a call is counted with it. Interrupts must not stay masked for longer than 670
/// million instructions, or a round of the timer is missed.
pub struct Counter {
    /// What counting itself takes.
    overhead: u64,
}

impl Counter {
    /// Takes the timer; `None` if the core's peripherals are taken.
    pub fn new() -> Option<Self> {
        let mut timer = cortex_m::Peripherals::take()?.SYST;
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(MASK);
        timer.clear_current();
        timer.enable_interrupt();
        timer.enable_counter();
        let mut counter = Self { overhead: 0 };
        counter.overhead = counter.count(|| black_box(())).1;
        Some(counter)
    }

    /// Runs `work`; returns its result and the instructions that it took.
    #[inline(never)]
    pub fn count<T>(&mut self, work: impl FnOnce() -> T) -> (T, u64) {
        let (begin, _) = tick_after();
        let result = work();
        let (end, steps) = tick_after();
        let between = (end - begin) * TICK;
        (result, between.saturating_sub(steps * STEP).saturating_sub(self.overhead))
    }

    /// Returns the instructions since the counter was made, to the nearest [`TICK`]; in nanoseconds of the emulated
    /// board it is the time, too.
    pub fn now() -> u64 {
        ticks() * TICK
    }
}

/// The ticks since the timer was set up.
fn ticks() -> u64 {
    loop {
        let before = ROUNDS.load(Ordering::Relaxed);
        let current = SYST::get_current() & MASK;
        if ROUNDS.load(Ordering::Relaxed) == before {
            return u64::from(before) << 24 | u64::from(MASK - current);
        }
    }
}

/// Waits for a reading right at a tick; returns that tick, and how many steps after the first reading it came.
#[inline(never)]
fn tick_after() -> (u64, u64) {
    let (current, steps) = interrupt::free(|_| find_tick());
    let now = ticks();
    // The low bits are those of the reading, a little before `now`.
    let since = (now as u32).wrapping_sub(MASK - current) & MASK;
    (now - u64::from(since), u64::from(steps))
}

/// Reads the timer every 41 instructions until it has moved by two ticks; returns that reading and its number.
#[inline(always)]
fn find_tick() -> (u32, u32) {
    let current: u32;
    let steps: u32;
    // SAFETY: reads a register of the timer, which reading does not change.
    unsafe {
        asm!(
            "ldr {previous}, [{timer}]",
            ".rept 40",
            "nop",
            ".endr",
            "2:",
            "ldr {current}, [{timer}]", // 1
            "subs {moved}, {previous}, {current}",
            "bic {moved}, {moved}, #0xff000000",
            "mov {previous}, {current}",
            "adds {steps}, #1", // 5
            "cmp {moved}, #2",
            "beq 3f", // 7
            ".rept 33",
            "nop",
            ".endr",
            "b 2b", // 41
            "3:",
            timer = in(reg) (SYST::PTR as *const u32).wrapping_add(2), // SYST_CVR
            previous = out(reg) _,
            current = out(reg) current,
            moved = out(reg) _,
            steps = inout(reg) 0u32 => steps,
            options(nostack, readonly),
        );
    }
    (current & MASK, steps)
}
