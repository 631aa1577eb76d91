//! Instructions, counted to the last one by a timer that ticks only every 40.
//!
//! Under `qemu -icount shift=0` one instruction is one nanosecond, and the board's timers tick at 25 MHz. To find out
//! where between two ticks a call began and ended, the timer is read every 41 instructions: when it has moved by two,
//! the later reading was made right at a tick. And interrupts are held back while a call is counted. So a figure does
//! not depend on what happens beside it, such as the bytes of a line.

use core::arch::asm;
use core::hint::black_box;
use core::ptr;
use cortex_m::interrupt;

/// Instructions per tick.
const TICK: u64 = 40;
/// Instructions from one reading of `find_tick` to the next.
const STEP: u64 = 41;

/// The second of the board's two simple timers (Arm's application note DAI0386): 32 bits, counting down. SysTick and
/// the first timer are left to the firmware.
const TIMER1: usize = 0x4000_1000;
const CONTROL: *mut u32 = TIMER1 as *mut u32;
const VALUE: *mut u32 = (TIMER1 + 0x4) as *mut u32;
const RELOAD: *mut u32 = (TIMER1 + 0x8) as *mut u32;
const ENABLE: u32 = 1;

/// Counts instructions by the board's timer 1, up to 171 thousand million in one call.
pub struct Counter {
    /// What counting itself takes.
    overhead: u64,
}

impl Counter {
    /// Starts the timer.
    #[expect(clippy::new_without_default, reason = "it does something")]
    pub fn new() -> Self {
        // SAFETY: registers of the board's timer, which nothing else of an image uses.
        unsafe {
            ptr::write_volatile(RELOAD, u32::MAX);
            ptr::write_volatile(VALUE, u32::MAX);
            ptr::write_volatile(CONTROL, ENABLE);
        }
        let mut counter = Self { overhead: 0 };
        counter.overhead = counter.count(|| black_box(())).1;
        counter
    }

    /// Runs `work` with interrupts held back; returns its result and the instructions that it took.
    #[inline(never)]
    pub fn count<T>(&mut self, work: impl FnOnce() -> T) -> (T, u64) {
        let (result, ticks, steps) = interrupt::free(|_| {
            let (begin, _) = find_tick();
            let result = work();
            let (end, steps) = find_tick();
            (result, begin.wrapping_sub(end), steps)
        });
        let instructions = u64::from(ticks) * TICK;
        (result, instructions.saturating_sub(u64::from(steps) * STEP).saturating_sub(self.overhead))
    }
}

/// Reads the timer every 41 instructions until it has moved by two ticks; returns that reading and its number.
#[inline(never)]
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
            "mov {previous}, {current}",
            "adds {steps}, #1",
            "cmp {moved}, #2", // 5
            "beq 3f",
            ".rept 34",
            "nop",
            ".endr",
            "b 2b", // 41
            "3:",
            timer = in(reg) VALUE,
            previous = out(reg) _,
            current = out(reg) current,
            moved = out(reg) _,
            steps = inout(reg) 0u32 => steps,
            options(nostack, readonly),
        );
    }
    (current, steps)
}
