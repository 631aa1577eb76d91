//! What an executor needs of this board: the time driver of `embassy-time`, and a way to sleep.

use crate::clock::{self, TICKS_PER_MS};
use core::cell::RefCell;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;
use critical_section::Mutex;
use embassy_executor::{Spawner, raw};
use embassy_time_driver::{Driver, TICK_HZ};
use embassy_time_queue_utils::Queue;

/// Ticks of the board's clock in one of `embassy-time`: 25 in a microsecond.
const TICKS: u64 = TICKS_PER_MS * 1000 / TICK_HZ;
/// The longest alarm at once, in ticks of `embassy-time`: behind it the queue is looked at again.
const LONGEST: u64 = TICK_HZ;

struct Board {
    queue: Mutex<RefCell<Queue>>,
}

embassy_time_driver::time_driver_impl!(static DRIVER: Board = Board { queue: Mutex::new(RefCell::new(Queue::new())) });

impl Driver for Board {
    fn now(&self) -> u64 {
        clock::ticks() / TICKS
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|token| {
            let mut queue = self.queue.borrow(token).borrow_mut();
            if queue.schedule_wake(at, waker) {
                self.set_alarm(&mut queue);
            }
        });
    }
}

impl Board {
    /// Wakes whom it is time for, and has the next alarm come.
    fn set_alarm(&self, queue: &mut Queue) {
        let now = self.now();
        let next = queue.next_expiration(now);
        let wait = next.saturating_sub(now).clamp(1, LONGEST);
        if next != u64::MAX {
            clock::set_alarm((wait * TICKS) as u32);
        }
    }
}

/// The timer's interrupt.
pub(crate) fn handle_alarm() {
    critical_section::with(|token| DRIVER.set_alarm(&mut DRIVER.queue.borrow(token).borrow_mut()));
}

/// A task has something to do.
static PENDING: AtomicBool = AtomicBool::new(false);

#[unsafe(export_name = "__pender")]
fn pend(_: *mut ()) {
    PENDING.store(true, Ordering::Release);
}

/// Runs tasks, and sleeps by WFI while none has anything to do. (The executor of `embassy-executor`'s platform waits by
/// WFE, which this emulator does not wait at.)
pub fn run(spawn: impl FnOnce(Spawner)) -> ! {
    let executor = cortex_m::singleton!(: raw::Executor = raw::Executor::new(core::ptr::null_mut()));
    let Some(executor) = executor else { crate::board::end(Err("the executor runs twice")) };
    let executor: &'static raw::Executor = executor;
    spawn(executor.spawner());
    loop {
        // SAFETY: this executor is polled here only, and the pender does not poll it.
        unsafe { executor.poll() };
        cortex_m::interrupt::free(|_| {
            // An interrupt that pends something from here on ends the sleep, and comes when it has ended.
            if !PENDING.swap(false, Ordering::AcqRel) {
                cortex_m::asm::wfi();
            }
        });
    }
}
