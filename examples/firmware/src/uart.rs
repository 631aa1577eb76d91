//! The board's UART 0: interrupts move bytes to and from rings, so that nobody waits for it.

#[cfg(feature = "asynchronous")]
mod asynchronous;

use crate::board::{self, CLOCK, Irq, Register, UART0};
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};

const DATA: Register = Register::at(UART0, 0x0);
const STATE: Register = Register::at(UART0, 0x4);
const CONTROL: Register = Register::at(UART0, 0x8);
const CLEAR: Register = Register::at(UART0, 0xc);
const BAUD_DIVIDER: Register = Register::at(UART0, 0x10);
/// Of `STATE`.
const TX_FULL: u32 = 1;
const RX_FULL: u32 = 2;
/// Both directions, with an interrupt each.
const ENABLE: u32 = 0b1111;

/// What has come in and nobody has read. The longest packet and then some.
static RX: Ring<1024> = Ring::new();
/// What is to go out.
static TX: Ring<1024> = Ring::new();

/// The UART, for the run loop.
pub struct Uart(());

impl Uart {
    /// Starts it.
    pub fn start(baud: u32) -> Self {
        BAUD_DIVIDER.write(CLOCK / baud);
        CONTROL.write(ENABLE);
        board::unmask(Irq::UartRx);
        board::unmask(Irq::UartTx);
        Self(())
    }

    /// Moves what has come in to `out`, and returns it.
    pub fn read<'o>(&mut self, out: &'o mut [u8]) -> &'o [u8] {
        let mut count = 0;
        for (place, byte) in out.iter_mut().zip(core::iter::from_fn(|| RX.pop())) {
            *place = byte;
            count += 1;
        }
        &out[..count]
    }

    /// Tells whether something has come in.
    pub fn has_input(&self) -> bool {
        !RX.is_empty()
    }

    /// Returns how many bytes `write` would take.
    pub fn room(&self) -> usize {
        TX.room()
    }

    /// Sends bytes: all of them, or none if there is no room now.
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        if TX.room() < bytes.len() {
            return false;
        }
        for &byte in bytes {
            TX.push(byte);
        }
        // The interrupt comes when a byte has gone out: the first one is ours.
        cortex_m::interrupt::free(|_| send_next());
        true
    }

    /// Tells whether all has gone out.
    pub fn is_flushed(&self) -> bool {
        TX.is_empty() && STATE.read() & TX_FULL == 0
    }

    /// Returns how many bytes came while the ring was full.
    pub fn lost(&self) -> u32 {
        RX.lost.load(Ordering::Relaxed)
    }
}

fn send_next() {
    if STATE.read() & TX_FULL == 0
        && let Some(byte) = TX.pop()
    {
        DATA.write(byte.into());
    }
}

pub(crate) fn handle_tx() {
    CLEAR.write(1);
    send_next();
    #[cfg(feature = "asynchronous")]
    asynchronous::SENT.wake();
}

pub(crate) fn handle_rx() {
    CLEAR.write(2);
    while STATE.read() & RX_FULL != 0 {
        RX.push(DATA.read() as u8);
    }
    #[cfg(feature = "asynchronous")]
    asynchronous::RECEIVED.wake();
}

/// A queue of bytes for one that writes and one that reads.
struct Ring<const N: usize> {
    bytes: [AtomicU8; N],
    /// Bytes ever written and read, modulo 2^32; `N` is a power of two.
    written: AtomicUsize,
    read: AtomicUsize,
    lost: AtomicU32,
}

impl<const N: usize> Ring<N> {
    const fn new() -> Self {
        assert!(N.is_power_of_two());
        Self {
            bytes: [const { AtomicU8::new(0) }; N],
            written: AtomicUsize::new(0),
            read: AtomicUsize::new(0),
            lost: AtomicU32::new(0),
        }
    }

    fn len(&self) -> usize {
        self.written.load(Ordering::Acquire).wrapping_sub(self.read.load(Ordering::Acquire))
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn room(&self) -> usize {
        N - self.len()
    }

    fn push(&self, byte: u8) {
        if self.room() == 0 {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let at = self.written.load(Ordering::Relaxed);
        self.bytes[at % N].store(byte, Ordering::Relaxed);
        self.written.store(at.wrapping_add(1), Ordering::Release);
    }

    fn pop(&self) -> Option<u8> {
        if self.is_empty() {
            return None;
        }
        let at = self.read.load(Ordering::Relaxed);
        let byte = self.bytes[at % N].load(Ordering::Relaxed);
        self.read.store(at.wrapping_add(1), Ordering::Release);
        Some(byte)
    }
}
