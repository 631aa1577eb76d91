//! Holds the measuring code against work whose cost is known.
#![no_std]
#![no_main]

mod board;

use core::arch::asm;
use core::hint::black_box;
use cortex_m_rt::entry;
use firmware_measure::{Counter, Heap, HeapGauge, Stack, figure};

#[global_allocator]
static HEAP: Heap<4096> = Heap::new();

#[entry]
fn main() -> ! {
    board::run(check)
}

fn check() -> Result<(), &'static str> {
    let mut counter = Counter::new();
    // Every phase of a tick: what ran before must not matter.
    for wait in 0..100 {
        turns(wait);
        (counter.count(hundred).1 == 100).then_some(()).ok_or("100 instructions were not counted as such")?;
    }
    let thousand = loop_of(&mut counter, 1000);
    let twice = loop_of(&mut counter, 2000);
    // A turn is two instructions, and the call around them costs the same each time.
    (twice - thousand == 2000)
        .then_some(())
        .ok_or("1000 turns of a loop were not counted as 2000 instructions")?;
    // As many as a handshake of a slow kind, and many more.
    for count in [10_000, 10_000_000, 350_000_000] {
        let instructions = loop_of(&mut counter, count);
        let expected = thousand + 2 * u64::from(count - 1000);
        (instructions == expected).then_some(()).ok_or("a long loop was counted wrong")?;
        figure("counted", instructions, "instructions");
    }

    let mut stack = Stack::paint();
    let little = depth(&mut stack, shallow);
    let much = depth(&mut stack, deep);
    (much - little == 2000).then_some(()).ok_or("2000 bytes on the stack were not seen")?;
    (depth(&mut stack, shallow) == little).then_some(()).ok_or("the stack was not painted anew")?;
    (stack.peak() >= much).then_some(()).ok_or("the peak of the stack was forgotten")?;

    let kept = alloc::vec![0u8; 200];
    HEAP.mark();
    let used = HEAP.used();
    drop(black_box(alloc::vec![0u8; 1000]));
    (HEAP.used() == used && HEAP.since_mark() - used == 1000)
        .then_some(())
        .ok_or("1000 bytes of heap were not seen")?;
    HEAP.mark();
    (HEAP.since_mark() == used && HEAP.peak() == used + 1000)
        .then_some(())
        .ok_or("the heap's mark is wrong")?;
    drop(kept);
    (HEAP.used() == 0).then_some(()).ok_or("the heap did not become empty")?;
    Ok(())
}

extern crate alloc;

fn depth(stack: &mut Stack, work: fn()) -> usize {
    stack.mark();
    black_box(work)();
    stack.since_mark()
}

fn shallow() {
    // SAFETY: writes a word 200 bytes down: deeper than the frames of `Stack` itself, whatever the compiler makes of them.
    unsafe { asm!("sub sp, #200", "push {{r0}}", "add sp, #204") };
}

fn deep() {
    // SAFETY: writes a word 2000 bytes further down than `shallow` does.
    unsafe { asm!("sub sp, #2200", "push {{r0}}", "add sp, #2204") };
}

#[inline(never)]
fn loop_of(counter: &mut Counter, count: u32) -> u64 {
    counter.count(|| turns(count)).1
}

#[inline(never)]
fn turns(count: u32) {
    // SAFETY: counts a register down.
    unsafe { asm!("2:", "subs {0}, #1", "bhi 2b", inout(reg) count => _, options(nostack, nomem)) };
}

#[inline(always)]
fn hundred() {
    // SAFETY: does nothing.
    unsafe { asm!(".rept 100", "nop", ".endr", options(nostack, nomem, preserves_flags)) };
}
