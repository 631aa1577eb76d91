//! Packets on the serial line: COBS (SPEC.md, "Serial lines").

use crate::uart::Uart;
use vitalwire::limits::MAX_HELLO;
use vitalwire::wire::link::{CobsDecoder, LinkDiscard, cobs_len, write_cobs};

/// The longest packet in either direction: that of a handshake, and what `Limits::SMALL_LINK` announces.
pub const LONGEST: usize = MAX_HELLO;
/// Bytes that are looked at in one turn, so that a babbling line cannot keep the loop from its other duties.
const BYTES_PER_TURN: usize = 2048;

/// One line, with one backend at its other end.
pub struct Line {
    pub uart: Uart,
    decoder: CobsDecoder<LONGEST>,
}

impl Line {
    pub const fn new(uart: Uart) -> Self {
        Self { uart, decoder: CobsDecoder::new() }
    }

    /// Hands each packet that has come in to `take`.
    pub fn receive(&mut self, mut take: impl FnMut(&mut [u8])) {
        let mut bytes = [0; 64];
        for _ in 0..BYTES_PER_TURN / bytes.len() {
            let mut part = self.uart.read(&mut bytes);
            if part.is_empty() {
                return;
            }
            while let Some(packet) = self.decoder.next(&mut part) {
                take(packet);
            }
        }
    }

    /// Tells whether `send` takes a packet of any length now.
    pub fn has_room(&self) -> bool {
        self.uart.room() >= cobs_len(LONGEST)
    }

    /// Sends a packet, if [`Line::has_room`].
    #[inline(never)]
    pub fn send(&mut self, packet: &[u8]) {
        let mut out = [0; cobs_len(LONGEST)];
        if let Ok(bytes) = write_cobs(packet, &mut out) {
            self.uart.write(bytes);
        }
    }

    /// Returns how many pieces of noise were discarded, and how many bytes were lost.
    pub fn trouble(&self) -> (u32, u32) {
        let discards = self.decoder.discards();
        let kinds = [LinkDiscard::TooShort, LinkDiscard::TooLong, LinkDiscard::Garbled];
        (kinds.into_iter().map(|kind| discards.of(kind)).sum(), self.uart.lost())
    }
}
