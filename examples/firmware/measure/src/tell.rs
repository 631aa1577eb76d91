//! Lines over semihosting, and the end of the run.

use cortex_m_semihosting::debug::{self, EXIT_FAILURE, EXIT_SUCCESS};
use cortex_m_semihosting::syscall1;

/// Prints `figure <name> <value> <unit>`. Name and unit are one word each.
pub fn figure(name: &str, value: u64, unit: &str) {
    figure_of(name, "", value, unit);
}

/// Prints a figure whose name has two parts.
pub(crate) fn figure_of(name: &str, part: &str, value: u64, unit: &str) {
    // u64::MAX has 20 digits. Division by a constant would bring in more code than this.
    let mut digits = [0u8; 20];
    let mut rest = value;
    let mut at = digits.len();
    loop {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
        if rest == 0 || at == 0 {
            break;
        }
    }
    let digits = digits.get(at..).and_then(|digits| core::str::from_utf8(digits).ok()).unwrap_or("?");
    line(&["figure ", name, part, " ", digits, " ", unit]);
}

/// Prints a line.
pub fn say(text: &str) {
    line(&[text]);
}

/// Ends the run: the emulator exits with 0.
pub fn succeed() -> ! {
    end(EXIT_SUCCESS)
}

/// Prints `FAILED: …` and ends the run: the emulator exits with 1.
pub fn fail(what: &str) -> ! {
    line(&["FAILED: ", what]);
    end(EXIT_FAILURE)
}

fn end(status: debug::ExitStatus) -> ! {
    debug::exit(status);
    // Only without an emulator.
    loop {
        cortex_m::asm::wfi();
    }
}

/// Prints the parts as one line, in one call: lines of the other end do not come in between. What is longer than the
/// buffer is cut.
fn line(parts: &[&str]) {
    let mut buffer = [0u8; 120];
    let room = buffer.len() - 2; // for the end of the line and of the text
    let mut at = 0;
    for &byte in parts.iter().flat_map(|part| part.as_bytes()).take(room) {
        if let Some(slot) = buffer.get_mut(at) {
            *slot = byte;
            at += 1;
        }
    }
    if let Some(slot) = buffer.get_mut(at) {
        *slot = b'\n';
    }
    // SAFETY: WRITE0 reads up to the zero that the buffer ends with.
    unsafe { syscall1!(WRITE0, buffer.as_ptr()) };
}
