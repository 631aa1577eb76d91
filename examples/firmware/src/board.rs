//! The board: where its parts are, and how a run ends. Addresses and interrupts are from Arm's application note DAI0386.

use core::ptr;
use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;
use cortex_m_rt::{ExceptionFrame, exception};
use cortex_m_semihosting::debug::{self, EXIT_FAILURE, EXIT_SUCCESS};
use cortex_m_semihosting::hio;

/// The clock of processor and peripherals, in hertz.
pub const CLOCK: u32 = 25_000_000;

pub const TIMER0: usize = 0x4000_0000;
pub const UART0: usize = 0x4000_4000;
pub const WATCHDOG: usize = 0x4000_8000;
/// Where the flash is that `flash.rs` models: RAM, which survives a reset.
pub const FLASH: usize = 0x2100_0000;
/// The page that was written when the device was made.
pub const PAGE: usize = 0x2110_0000;
/// What the test bench asks for: see `Bench`.
const BENCH: usize = 0x2120_0000;

/// The numbers of the interrupts that are used.
#[derive(Clone, Copy)]
#[repr(u16)]
pub enum Irq {
    UartRx = 0,
    UartTx = 1,
    Timer0 = 8,
}

// SAFETY: these are their numbers on this board.
unsafe impl InterruptNumber for Irq {
    fn number(self) -> u16 {
        self as u16
    }
}

/// Lets an interrupt come.
pub fn unmask(irq: Irq) {
    // SAFETY: no critical section of this firmware relies on a masked interrupt.
    unsafe { NVIC::unmask(irq) };
}

/// A register of a peripheral of this board.
#[derive(Clone, Copy)]
pub struct Register(usize);

impl Register {
    pub(crate) const fn at(peripheral: usize, offset: usize) -> Self {
        Self(peripheral + offset)
    }

    pub fn read(self) -> u32 {
        // SAFETY: made from the constants of this file only: a register of 32 bits, aligned.
        unsafe { ptr::read_volatile(self.0 as *const u32) }
    }

    pub fn write(self, value: u32) {
        // SAFETY: as in `read`; none of these registers changes memory.
        unsafe { ptr::write_volatile(self.0 as *mut u32, value) };
    }
}

/// Returns the bytes of the page that the device got when it was made.
pub fn page(len: usize) -> &'static [u8] {
    // SAFETY: RAM of the board that nothing writes to while the firmware runs; 1 MB of it, which `len` is below.
    unsafe { core::slice::from_raw_parts(PAGE as *const u8, len.min(4096)) }
}

/// What the test bench asks for; in a device that is not tested all of it is zero.
pub struct Bench {
    /// Bytes of heap that another part of the firmware holds, until the device has complained about it twice.
    pub heap_taken: u32,
    /// The firmware hangs on purpose when it has run for so many milliseconds, once.
    pub hang_after: u32,
}

impl Bench {
    pub fn read() -> Self {
        let word = |index: usize| Register::at(BENCH, 4 * index).read();
        Self { heap_taken: word(0), hang_after: word(1) }
    }
}

/// Starts the processor again, by the reset that software can ask for.
pub fn reset() -> ! {
    cortex_m::peripheral::SCB::sys_reset()
}

/// Ends the run, in an emulator. The process's exit code says whether all went well.
pub fn end(outcome: Result<(), crate::Failure>) -> ! {
    match outcome {
        Ok(()) => debug::exit(EXIT_SUCCESS),
        Err(failure) => {
            if let Ok(mut host) = hio::hstdout() {
                for text in ["firmware: FAILED: ", failure, "\n"] {
                    let _ = host.write_all(text.as_bytes());
                }
            }
            debug::exit(EXIT_FAILURE);
        }
    }
    loop {
        cortex_m::asm::wfi();
    }
}

/// Tells the host something, if the firmware was built with `verbose`: formatting takes flash.
#[macro_export]
macro_rules! say {
    ($($words:tt)*) => {
        if cfg!(feature = "verbose") {
            cortex_m_semihosting::hprintln!($($words)*);
        }
    };
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    say!("firmware: {}", _info);
    end(Err("panic"))
}

#[exception]
unsafe fn HardFault(_frame: &ExceptionFrame) -> ! {
    say!("firmware: hard fault at {:#010x}", _frame.pc());
    end(Err("hard fault"))
}

/// The watchdog's first time-out: last words, and the reset. Should even this not run, its second one resets.
#[cfg(feature = "pinned")]
#[exception]
unsafe fn NonMaskableInt() -> ! {
    say!("device: the watchdog was not fed");
    reset()
}

/// Interrupts, which have no names of their own without a crate for this chip.
#[cfg(feature = "pinned")]
#[exception]
unsafe fn DefaultHandler(number: i16) {
    match number {
        0 => crate::uart::handle_rx(),
        1 => crate::uart::handle_tx(),
        8 => crate::clock::handle_timer(),
        _ => end(Err("an interrupt that nobody asked for")),
    }
}
