//! A NOR flash in memory, as unkind as the real ones are.
//!
//! - Bits are only cleared by a write, and only set by an erase of a whole page.
//! - [`Ecc::Yes`]: a write to a word that was not erased is an error, and so is a read of a word that was cut, if asked for.
//! - Power can be cut at any write or erase: words that were being written, and the page that was being erased, then hold
//!   anything. They may also look untouched or finished, and yet count as written.
//! - A page can wear out: loudly or silently.

// It is for tests, on a host: a wrong page number may end them.
#![allow(clippy::indexing_slicing)]

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};
use std::vec::Vec;

/// Whether the flash keeps a check code with each word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ecc {
    /// No: a second write to a word clears more bits.
    No,
    /// Yes: a second write to a word is an error.
    Yes,
    /// As `Yes`, and a word that was cut cannot be read until it is erased.
    UnreadableWhenCut,
}

/// How a page is worn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Writes and erases answer with an error, and do nothing.
    Loud,
    /// Writes and erases answer with success, and do nothing.
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Erased,
    Written,
    /// Power went during a write or an erase of it.
    Cut,
}

/// A flash with words of `W` bytes and pages of `E` bytes.
///
/// The crate's documentation has an example.
#[derive(Clone, Debug)]
pub struct Nor<const W: usize, const E: usize> {
    bytes: Vec<u8>,
    words: Vec<Word>,
    faults: Vec<Option<Fault>>,
    /// How often each page was erased.
    pub wear: Vec<u64>,
    /// How often a word was written that was not erased.
    pub second_writes: u64,
    /// Writes and erases so far.
    pub operations: u64,
    /// Bytes read so far.
    pub bytes_read: u64,
    ecc: Ecc,
    cut_at: Option<u64>,
    off: bool,
    random: u64,
}

impl<const W: usize, const E: usize> Nor<W, E> {
    /// Makes an erased flash of so many pages, without ECC.
    pub fn new(pages: usize, seed: u64) -> Self {
        Self {
            bytes: vec![0xFF; pages * E],
            words: vec![Word::Erased; pages * E / W],
            faults: vec![None; pages],
            wear: vec![0; pages],
            second_writes: 0,
            operations: 0,
            bytes_read: 0,
            ecc: Ecc::No,
            cut_at: None,
            off: false,
            random: seed,
        }
    }

    /// Sets what the flash does about second writes.
    pub fn with_ecc(mut self, ecc: Ecc) -> Self {
        self.ecc = ecc;
        self
    }

    /// Fills all of it with random bits, as written words.
    pub fn with_garbage(mut self) -> Self {
        for place in 0..self.bytes.len() {
            self.bytes[place] = self.draw() as u8;
        }
        self.words.fill(Word::Written);
        self
    }

    /// Cuts power at a write or erase: at the next one for 0. From then on everything is an error.
    pub fn cut_after(&mut self, operations: u64) {
        self.cut_at = Some(self.operations + operations);
    }

    /// Returns whether power is off.
    pub fn is_off(&self) -> bool {
        self.off
    }

    /// Turns power on again.
    pub fn turn_on(&mut self) {
        (self.off, self.cut_at) = (false, None);
    }

    /// Turns power off, or the bus to the flash.
    pub fn turn_off(&mut self) {
        self.off = true;
    }

    /// Wears a page out.
    pub fn wear_out(&mut self, page: usize, fault: Fault) {
        self.faults[page] = Some(fault);
    }

    /// Changes what the cuts leave.
    pub fn reseed(&mut self, seed: u64) {
        self.random = seed;
    }

    /// Returns what the memory holds.
    pub fn image(&self) -> &[u8] {
        &self.bytes
    }

    /// Flips bits of a byte, as age does.
    pub fn flip(&mut self, offset: usize, bits: u8) {
        self.bytes[offset] ^= bits;
    }

    /// SplitMix64 (Steele, Lea, Flood, 2014).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Counts an operation, and returns whether power goes during it.
    fn operation(&mut self) -> bool {
        let cut = self.cut_at == Some(self.operations);
        self.operations += 1;
        self.off |= cut;
        cut
    }

    fn write_word(&mut self, word: usize, bytes: &[u8]) {
        for (place, byte) in self.bytes[word * W..].iter_mut().zip(bytes) {
            *place &= byte;
        }
        self.words[word] = Word::Written;
    }

    /// Leaves a word half-written: each bit that is to be cleared may be, and with ECC any bit that was set.
    fn cut_word(&mut self, word: usize, bytes: &[u8]) {
        self.words[word] = Word::Cut;
        if self.draw().is_multiple_of(4) {
            return;
        }
        for (i, byte) in bytes.iter().enumerate() {
            let kept = self.draw() as u8;
            self.bytes[word * W + i] &= if self.ecc == Ecc::No { byte | kept } else { kept };
        }
    }

    fn cut_write(&mut self, offset: usize, bytes: &[u8]) {
        let way = self.draw() % 4;
        let prefix = self.draw() as usize % (bytes.len() / W).max(1);
        for (i, bytes) in bytes.chunks(W).enumerate() {
            let word = offset / W + i;
            let part = match way {
                0 => 0,
                1 if i < prefix => 1,
                1 if i == prefix => 2,
                1 => 0,
                2 => self.draw() % 3,
                _ => 1,
            };
            match part {
                0 => {}
                1 => self.write_word(word, bytes),
                _ => self.cut_word(word, bytes),
            }
        }
    }

    fn cut_erase(&mut self, page: usize) {
        let way = self.draw() % 6;
        let prefix = self.draw() as usize % E;
        for i in 0..E {
            let place = page * E + i;
            let (old, random) = (self.bytes[place], self.draw() as u8);
            self.bytes[place] = match way {
                0 => old,
                1 => random,
                2 => old | random,
                3 if i < prefix => 0xFF,
                3 => old | (random & 0x11),
                _ => 0xFF,
            };
        }
        match way {
            0 => {}
            5 => self.words[page * E / W..(page + 1) * E / W].fill(Word::Erased),
            _ => self.words[page * E / W..(page + 1) * E / W].fill(Word::Cut),
        }
    }
}

impl<const W: usize, const E: usize> ErrorType for Nor<W, E> {
    type Error = NorFlashErrorKind;
}

impl<const W: usize, const E: usize> ReadNorFlash for Nor<W, E> {
    const READ_SIZE: usize = if W < 4 { W } else { 4 };

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        check_read(self, offset, bytes.len())?;
        let from = offset as usize;
        let words = from / W..(from + bytes.len()).div_ceil(W);
        let unreadable = self.ecc == Ecc::UnreadableWhenCut && self.words[words].contains(&Word::Cut);
        if self.off || unreadable {
            return Err(NorFlashErrorKind::Other);
        }
        self.bytes_read += bytes.len() as u64;
        bytes.copy_from_slice(&self.bytes[from..from + bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const W: usize, const E: usize> NorFlash for Nor<W, E> {
    const WRITE_SIZE: usize = W;
    const ERASE_SIZE: usize = E;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        check_erase(self, from, to)?;
        for page in from as usize / E..to as usize / E {
            if self.off {
                return Err(NorFlashErrorKind::Other);
            }
            if self.operation() {
                self.cut_erase(page);
                return Err(NorFlashErrorKind::Other);
            }
            match self.faults[page] {
                Some(Fault::Loud) => return Err(NorFlashErrorKind::Other),
                Some(Fault::Silent) => continue,
                None => {}
            }
            self.wear[page] += 1;
            self.bytes[page * E..(page + 1) * E].fill(0xFF);
            self.words[page * E / W..(page + 1) * E / W].fill(Word::Erased);
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        check_write(self, offset, bytes.len())?;
        let from = offset as usize;
        if self.off {
            return Err(NorFlashErrorKind::Other);
        }
        let words = from / W..(from + bytes.len()) / W;
        if self.words[words].iter().any(|word| *word != Word::Erased) {
            self.second_writes += 1;
            if self.ecc != Ecc::No {
                return Err(NorFlashErrorKind::Other);
            }
        }
        if self.operation() {
            self.cut_write(from, bytes);
            return Err(NorFlashErrorKind::Other);
        }
        match self.faults[from / E] {
            Some(Fault::Loud) => return Err(NorFlashErrorKind::Other),
            Some(Fault::Silent) => return Ok(()),
            None => {}
        }
        for (i, bytes) in bytes.chunks(W).enumerate() {
            self.write_word(from / W + i, bytes);
        }
        Ok(())
    }
}
