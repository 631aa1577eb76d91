//! A NOR flash in RAM that survives a reset: 64 KB in pages of 4 KB and words of 8 bytes, with ECC, as in an STM32L4.
//!
//! On a board with a flash, its driver takes the place of [`Nor`]; the rest stays.

use crate::board::FLASH;
use core::ops::Range;
use core::ptr;
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};
use vitalwire_flash::{Blocking, FlashStore, Layout};

const LEN: usize = 64 * 1024;
const PAGE: u32 = 4096;
const WORD: usize = 8;

/// Items: 2 pages; alarms and events: 2 each; trends: 2; waveforms: 8.
fn layout() -> Layout {
    let pages = |range: Range<u32>| range.start * PAGE..range.end * PAGE;
    Layout { items: pages(0..2), regions: [pages(2..4), pages(4..6), pages(6..8), pages(8..16)] }
}

/// The device's storage.
pub type Store = FlashStore<Blocking<Nor>>;

/// Opens the storage, whatever is in it.
pub fn open() -> Result<Store, crate::Failure> {
    FlashStore::new(Blocking(Nor(())), layout()).map_err(|_| "the flash's layout")
}

/// The flash.
///
/// Its RAM holds the complement of each byte: so RAM that starts as zeros is a flash that comes erased from the factory.
pub struct Nor(());

/// A word was written twice between two erases, or the request was outside the flash.
#[derive(Clone, Copy, Debug)]
pub struct NorError(NorFlashErrorKind);

impl NorFlashError for NorError {
    fn kind(&self) -> NorFlashErrorKind {
        self.0
    }
}

impl ErrorType for Nor {
    type Error = NorError;
}

fn byte(offset: usize) -> *mut u8 {
    (FLASH + offset) as *mut u8
}

fn get(offset: usize) -> u8 {
    // SAFETY: `offset` was checked to be below LEN: RAM of the board that no other code uses.
    !unsafe { ptr::read_volatile(byte(offset)) }
}

fn set(offset: usize, value: u8) {
    // SAFETY: as in `get`.
    unsafe { ptr::write_volatile(byte(offset), !value) };
}

impl ReadNorFlash for Nor {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorError> {
        check_read(self, offset, bytes.len()).map_err(NorError)?;
        for (at, to) in (offset as usize..).zip(bytes) {
            *to = get(at);
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        LEN
    }
}

impl NorFlash for Nor {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE as usize;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorError> {
        check_erase(self, from, to).map_err(NorError)?;
        for at in from as usize..to as usize {
            set(at, 0xff);
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorError> {
        check_write(self, offset, bytes.len()).map_err(NorError)?;
        // ECC: nothing is written that was not erased.
        if (offset as usize..).take(bytes.len()).any(|at| get(at) != 0xff) {
            return Err(NorError(NorFlashErrorKind::Other));
        }
        for (at, &from) in (offset as usize..).zip(bytes) {
            set(at, from);
        }
        Ok(())
    }
}
