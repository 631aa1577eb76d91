//! A bare Noise session: snow's XX handshake as the initiator, and its `TransportState`.
//!
//! This is what a protocol on top of snow begins with: no credentials, no loss, no replay, no storage, no rekey.
#![no_std]
#![no_main]

mod board;
mod snow_device;

mod transcript {
    include!(concat!(env!("OUT_DIR"), "/snow.rs"));
}

use cortex_m_rt::entry;
use firmware_measure::{Heap, Meter, figure};
use snow_device::{RECORDS, builder};

#[global_allocator]
static HEAP: Heap<4096> = Heap::new();

#[entry]
fn main() -> ! {
    board::run(|| session(Meter::new().with_heap(&HEAP)))
}

fn session(mut meter: Meter) -> Result<(), &'static str> {
    let mut out = [0u8; 300];
    let mut payload = [0u8; 300];
    let mut handshake = meter.operation("handshake");
    let mut noise = handshake.run(|| builder(1)?.build_initiator()).map_err(|_| "building the initiator")?;
    let mut received = transcript::RECEIVED.into_iter();
    for sent in transcript::SENT {
        let len = handshake.run(|| noise.write_message(&[], &mut out)).map_err(|_| "writing a message")?;
        board::same(out.get(..len), sent)?;
        if let Some(reply) = received.next() {
            handshake.run(|| noise.read_message(reply, &mut payload)).map_err(|_| "reading a message")?;
        }
    }
    let mut noise = handshake.run(|| noise.into_transport_mode()).map_err(|_| "the handshake is not done")?;
    handshake.tell();
    figure("wire.handshake", board::total(&transcript::SENT) + board::total(&transcript::RECEIVED), "bytes");

    let records = RECORDS.into_iter().zip(transcript::RECORDS_SENT).zip(transcript::RECORDS_RECEIVED);
    for ((len, sent), received) in records {
        let names = board::names(len).ok_or("a record of no such size")?;
        let record = [0x5a; 256];
        let record = record.get(..len).ok_or("a record that is too long")?;
        let mut seal = meter.operation(names.seal);
        let sealed = seal.run(|| noise.write_message(record, &mut out)).map_err(|_| "sealing")?;
        seal.tell();
        board::same(out.get(..sealed), sent)?;
        figure(names.wire, sealed as u64, "bytes");

        let mut open = meter.operation(names.open);
        let opened = open.run(|| noise.read_message(received, &mut payload)).map_err(|_| "opening")?;
        open.tell();
        board::same(payload.get(..opened), &[0xa5; 256][..len])?;
    }
    meter.tell_peaks();
    Ok(())
}
