//! How deep the stack goes, by painting what is below it.

use core::arch::asm;
use core::ptr;
use cortex_m::register::msp;

const PAINT: u32 = 0xa5a5_5a5a;
/// How much is painted, in bytes; an operation that needs more is told as needing this much.
const LEN: usize = 128 * 1024;

unsafe extern "C" {
    // Where cortex-m-rt lets the stack begin, and where the statics end: their addresses matter, not what is there.
    static _stack_start: u32;
    static __euninit: u32;
}

/// The painted stack below a mark.
pub struct Stack {
    mark: usize,
    /// The lowest address that was ever found touched.
    lowest: usize,
}

impl Stack {
    /// Paints the unused stack.
    pub fn paint() -> Self {
        let mut stack = Self { mark: msp::read() as usize, lowest: msp::read() as usize };
        paint(stack.mark);
        stack.mark();
        stack
    }

    /// Paints anew what is below the caller.
    #[inline(never)]
    pub fn mark(&mut self) {
        self.lowest = self.lowest.min(touched(self.mark));
        self.mark = msp::read() as usize;
        paint(self.mark);
    }

    /// Returns how far below the mark the stack went, in bytes.
    pub fn since_mark(&self) -> usize {
        self.mark.saturating_sub(touched(self.mark))
    }

    /// Returns how deep the stack ever was since it was first painted, in bytes from its very beginning.
    pub fn peak(&mut self) -> usize {
        self.lowest = self.lowest.min(touched(self.mark));
        (&raw const _stack_start as usize).saturating_sub(self.lowest)
    }
}

/// The lowest address to paint below this mark.
fn bottom(mark: usize) -> usize {
    let statics = (&raw const __euninit as usize).next_multiple_of(4);
    mark.saturating_sub(LEN).max(statics) & !3
}

/// Paints downward from the stack pointer, in a loop that itself needs no stack.
#[inline(never)]
fn paint(mark: usize) {
    // SAFETY: writes between the end of the statics and the stack pointer. Nothing lives there: this target has no red
    // zone, and an interrupt that comes meanwhile is done when the loop goes on.
    unsafe {
        asm!(
            "mov {at}, sp",
            "2:",
            "cmp {at}, {bottom}",
            "bls 3f",
            "subs {at}, #4",
            "str {paint}, [{at}]",
            "b 2b",
            "3:",
            at = out(reg) _,
            bottom = in(reg) bottom(mark),
            paint = in(reg) PAINT,
            options(nostack),
        );
    }
}

/// The lowest address below the mark that has been written since it was painted.
fn touched(mark: usize) -> usize {
    let mut at = bottom(mark);
    // SAFETY: aligned RAM that is only read.
    while at < mark && unsafe { ptr::read_volatile(at as *const u32) } == PAINT {
        at += 4;
    }
    at
}
