//! The device for an asynchronous executor: the same parts, and the same turns, as in `main.rs`.
//!
//! Where that asks and sleeps, this one awaits: bytes from anything that reads and writes by `embedded-io-async`, a flash
//! by `embedded-storage-async` (here a blocking one, in `Blocking`), and time by `embassy-time`.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use embassy_executor::Spawner;
use embassy_futures::select::{Either, select};
use embassy_time::Timer;
use embedded_io_async::{Read, Write};
use vitalwire::Instant;
use vitalwire::device::Link;
use vitalwire::wire::link::{CobsDecoder, cobs_len, write_cobs};
use vitalwire_firmware::asynchronous::run;
use vitalwire_firmware::clock::Clock;
use vitalwire_firmware::config::{self, MAX_PACKET, STORAGE_BUFFER};
use vitalwire_firmware::entropy::HostEntropy;
use vitalwire_firmware::line::LONGEST;
use vitalwire_firmware::monitor::{Ending, Monitor};
use vitalwire_firmware::uart::Uart;
use vitalwire_firmware::watchdog::Watchdog;
use vitalwire_firmware::{Failure, board, flash, say};

#[entry]
fn main() -> ! {
    let Some(core) = cortex_m::Peripherals::take() else { board::end(Err("the processor's peripherals")) };
    let clock = Clock::start(core.SYST);
    run(|spawner| spawn(spawner, clock))
}

fn spawn(spawner: Spawner, clock: Clock) {
    match device(clock) {
        Ok(task) => spawner.spawn(task),
        Err(_) => board::end(Err("the device's task")),
    }
}

#[embassy_executor::task]
async fn device(clock: Clock) {
    say!("device: started, asynchronous");
    let outcome = serve(&clock, Uart::start(115_200)).await;
    if outcome == Ok(Ending::Reboot) {
        board::reset();
    }
    board::end(outcome.map(drop));
}

/// Runs the device on a line, until the monitor decides to end it.
async fn serve<L: Read + Write>(clock: &Clock, mut line: L) -> Result<Ending, Failure> {
    let mut watchdog = Watchdog::start();
    let mut entropy = HostEntropy::open().map_err(|_| "the random generator")?;
    let mut flash = flash::open()?;
    let device = config::device()?;
    let mut monitor = Monitor::new(clock.now());
    let mut decoder = CobsDecoder::<LONGEST>::new();
    device.handle_link(clock.now(), Link::Up { max_packet: MAX_PACKET });
    device.connect(clock.now());
    let (mut out, mut wire, mut bytes) = ([0; LONGEST], [0; cobs_len(LONGEST)], [0; 64]);
    let mut buffer = [0; STORAGE_BUFFER];
    loop {
        let now = clock.now();
        device.handle_timeout(now);
        monitor.turn(now, device);
        while let Some(request) = device.poll_storage(now, &mut entropy) {
            let reply = flash.serve(request, &mut buffer).await;
            device.handle_storage(now, reply);
        }
        loop {
            match device.poll_transmit(now, &mut entropy, &mut out) {
                Ok(Some(packet)) => {
                    let frame =
                        write_cobs(packet, &mut wire).map_err(|_| "a packet is too long for the line")?;
                    line.write_all(frame).await.map_err(|_| "the line")?;
                }
                Ok(None) => break,
                Err(_error) => {
                    say!("device: nothing sent: {}", _error);
                    break;
                }
            }
        }
        while let Some(event) = device.poll_event() {
            monitor.event(event);
        }
        if let Some(ending) = monitor.ending(now, device) {
            line.flush().await.map_err(|_| "the line")?;
            return Ok(ending);
        }
        let due = device.poll_timeout().unwrap_or(Instant::FAR_FUTURE).min(monitor.due(now));
        watchdog.feed(clock.now(), due);
        let wait = due.since(clock.now()).as_millis().min(1000);
        match select(line.read(&mut bytes), Timer::after_millis(wait)).await {
            Either::First(Ok(len)) => {
                let (now, mut part) = (clock.now(), &bytes[..len]);
                while let Some(packet) = decoder.next(&mut part) {
                    device.handle_packet(now, packet, &mut |received| monitor.receive(received));
                }
            }
            Either::First(Err(_)) => return Err("the line"),
            Either::Second(()) => {}
        }
    }
}
