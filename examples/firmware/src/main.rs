//! The device: its run loop, as firmware would copy it.
//!
//! Nothing in it waits: bytes come and go by interrupts, storage answers at once, and between the turns the processor
//! sleeps until something is due.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use vitalwire::device::{Device, Link};
use vitalwire::{CallError, Instant};
use vitalwire_firmware::board::{self, Bench};
use vitalwire_firmware::clock::Clock;
use vitalwire_firmware::config::{self, MAX_PACKET, STORAGE_BUFFER};
use vitalwire_firmware::entropy::HostEntropy;
use vitalwire_firmware::figure::Figures;
use vitalwire_firmware::heap::HEAP;
use vitalwire_firmware::line::{LONGEST, Line};
use vitalwire_firmware::monitor::{Ending, Monitor};
use vitalwire_firmware::uart::Uart;
use vitalwire_firmware::watchdog::Watchdog;
use vitalwire_firmware::{Failure, flash, say};

#[entry]
fn main() -> ! {
    let outcome = start();
    board::end(outcome)
}

/// Makes the device before the run loop has anything on the stack: the one is gone when the other begins.
fn start() -> Result<(), Failure> {
    say!("device: started");
    let mut figures = Figures::start()?;
    run(config::device()?, &mut figures)
}

#[inline(never)]
fn run(device: &mut Device<'_>, figures: &mut Figures) -> Result<(), Failure> {
    let core = cortex_m::Peripherals::take().ok_or("the processor's peripherals")?;
    let clock = Clock::start(core.SYST);
    let mut watchdog = Watchdog::start();
    let mut entropy = HostEntropy::open().map_err(|_| "the random generator")?;
    let mut flash = flash::open()?;
    let mut line = Line::new(Uart::start(115_200));
    let mut monitor = Monitor::new(clock.now());
    let bench = Bench::read();
    HEAP.take(bench.heap_taken as usize);
    let mut complaints = 0;

    device.handle_link(clock.now(), Link::Up { max_packet: MAX_PACKET });
    device.connect(clock.now());
    loop {
        let now = clock.now();
        // 1. What came in, and what time has brought.
        line.receive(|packet| {
            figures.receive(packet, |packet| {
                device.handle_packet(now, packet, &mut |received| monitor.receive(received));
            });
        });
        device.handle_timeout(now);
        // 2. Records and commands.
        monitor.turn(now, device);
        // 3. Storage.
        store(now, device, &mut entropy, &mut flash);
        // 4. What goes out, as far as the line takes it.
        if let Err(error) = send(now, device, &mut entropy, &mut line, figures) {
            complaints += 1;
            complain(error, complaints);
        }
        // 5. What the application should know.
        tell(device, figures, &mut monitor);
        match monitor.ending(now, device) {
            Some(ending) if line.uart.is_flushed() => {
                figures.end();
                return end(ending, &line, &flash);
            }
            _ => {}
        }
        // 6. Sleep. A line that is full wakes us as it drains.
        let full = if line.has_room() { Instant::ZERO } else { Instant::FAR_FUTURE };
        let due = device.poll_timeout().unwrap_or(Instant::FAR_FUTURE).min(monitor.due(now)).max(full);
        if bench.hang_after > 0 && now.as_millis() > bench.hang_after.into() {
            hang();
        }
        watchdog.feed(clock.now(), due);
        clock.sleep(due, || line.uart.has_input());
    }
}

// The parts of a turn with buffers of their own: so the stack has them only while they are needed, and none of them where
// it is deepest, in `handle_packet` of a handshake's Reply.

#[inline(never)]
fn store(now: Instant, device: &mut Device<'_>, entropy: &mut HostEntropy, flash: &mut flash::Store) {
    let mut buffer = [0; STORAGE_BUFFER];
    while !cfg!(feature = "without-storage")
        && let Some(request) = device.poll_storage(now, entropy)
    {
        let reply = flash.serve_blocking(request, &mut buffer);
        device.handle_storage(now, reply);
    }
}

#[inline(never)]
fn send(
    now: Instant,
    device: &mut Device<'_>,
    entropy: &mut HostEntropy,
    line: &mut Line,
    figures: &mut Figures,
) -> Result<(), CallError> {
    let mut out = [0; LONGEST];
    while line.has_room() {
        match figures.transmit(|| device.poll_transmit(now, entropy, &mut out))? {
            Some(packet) => line.send(packet),
            None => break,
        }
    }
    Ok(())
}

#[inline(never)]
fn tell(device: &mut Device<'_>, figures: &mut Figures, monitor: &mut Monitor) {
    while let Some(event) = device.poll_event() {
        figures.event(&event);
        monitor.event(event);
    }
}

/// Says what went wrong. Nothing was lost: the device tries again at its next timer.
fn complain(_error: CallError, complaints: u32) {
    say!("device: nothing sent: {}", _error);
    if complaints == 2 {
        // What a firmware can do: give up what it can do without. Here the test bench's share.
        HEAP.take(0);
    }
}

fn end(ending: Ending, line: &Line, flash: &flash::Store) -> Result<(), Failure> {
    let ((_noise, _lost), _flash) = (line.trouble(), flash.counters());
    say!(
        "device: noise discarded {} times, {} bytes lost; flash: {} places damaged",
        _noise,
        _lost,
        _flash.damaged
    );
    match ending {
        Ending::Reboot => board::reset(),
        Ending::Finish => Ok(()),
    }
}

/// What the watchdog is for: a driver, say, that waits for an interrupt which never comes.
fn hang() -> ! {
    say!("device: hangs on purpose");
    loop {
        cortex_m::asm::wfi();
    }
}
