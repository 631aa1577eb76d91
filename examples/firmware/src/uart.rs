//! The board's UART 0: interrupts move bytes to and from rings, so that nobody waits for it.

#[cfg(feature = "asynchronous")]
mod asynchronous;

use crate::board::{self, CLOCK, Irq, Register, UART0};
use crate::line::LONGEST;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use vitalwire::wire::link::cobs_len;

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

/// What has come in and nobody has read: 22 ms of the line. The turns of the loop are shorter, but for those of a
/// handshake, in which the backend sends nothing; and what is lost is sent again.
static RX: Ring<256> = Ring::new();
/// What is to go out: the longest packet.
static TX: Ring<{ cobs_len(LONGEST) }> = Ring::new();

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
    /// Bytes ever written and read, modulo `2 * N`: so a full ring differs from an empty one.
    written: AtomicUsize,
    read: AtomicUsize,
    lost: AtomicU32,
}

impl<const N: usize> Ring<N> {
    const fn new() -> Self {
        Self {
            bytes: [const { AtomicU8::new(0) }; N],
            written: AtomicUsize::new(0),
            read: AtomicUsize::new(0),
            lost: AtomicU32::new(0),
        }
    }

    fn len(&self) -> usize {
        let (written, read) = (self.written.load(Ordering::Acquire), self.read.load(Ordering::Acquire));
        if written >= read { written - read } else { written + 2 * N - read }
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn room(&self) -> usize {
        N - self.len()
    }

    /// Returns where a byte is, and what comes behind its number.
    fn place(number: usize) -> (usize, usize) {
        (if number < N { number } else { number - N }, if number + 1 < 2 * N { number + 1 } else { 0 })
    }

    fn push(&self, byte: u8) {
        if self.room() == 0 {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let (at, next) = Self::place(self.written.load(Ordering::Relaxed));
        self.bytes[at].store(byte, Ordering::Relaxed);
        self.written.store(next, Ordering::Release);
    }

    fn pop(&self) -> Option<u8> {
        if self.is_empty() {
            return None;
        }
        let (at, next) = Self::place(self.read.load(Ordering::Relaxed));
        let byte = self.bytes[at].load(Ordering::Relaxed);
        self.read.store(next, Ordering::Release);
        Some(byte)
    }
}
