//! The library without a heap: a driver of one's own may use sessions, packets and records so. Counts instructions, and
//! says over semihosting whether everything came back as it went in.
#![no_std]
#![no_main]

mod session;

use core::hint::black_box;
use cortex_m_rt::entry;
use firmware_measure::Meter;
use vitalwire::codec::{Reader, Writer};
use vitalwire::crypto::{StaticSecret, hazmat};
use vitalwire_firmware::{Failure, board};

#[entry]
fn main() -> ! {
    let mut meter = Meter::new();
    let outcome = run(&mut meter);
    meter.tell_peaks();
    board::end(outcome)
}

fn run(meter: &mut Meter) -> Result<(), Failure> {
    let mut record = [0u8; 48];
    values(meter, &mut record)?;
    packets(meter, &record)?;
    agreement(meter)?;
    session::packets(meter)?;
    session::waveform(meter)?;
    Ok(())
}

/// Runs one operation and prints what it took.
fn report<T>(meter: &mut Meter, name: &'static str, work: impl FnOnce() -> T) -> T {
    let mut operation = meter.operation(name);
    let result = operation.run(work);
    operation.tell();
    result
}

/// Writes a few values and reads them back.
fn values(meter: &mut Meter, record: &mut [u8; 48]) -> Result<(), Failure> {
    fn write(out: &mut [u8]) -> Result<(), vitalwire::codec::BufferTooSmall> {
        let mut writer = Writer::new(out);
        writer.varint(1_234_567)?;
        writer.signed(-75)?;
        writer.prefixed(b"heart rate, measured by a patch")
    }
    fn read(bytes: &[u8]) -> Result<(u64, i64, &[u8]), vitalwire::codec::DecodeError> {
        let mut reader = Reader::new(bytes);
        Ok((reader.varint()?, reader.signed()?, reader.prefixed(40)?))
    }
    report(meter, "values.write", || write(black_box(record))).map_err(|_| "writing")?;
    let read_back = report(meter, "values.read", || read(black_box(record))).map_err(|_| "reading")?;
    (read_back == (1_234_567, -75, b"heart rate, measured by a patch"))
        .then_some(())
        .ok_or("values came back changed")
}

/// Derives a key, seals a record and opens it; a changed one is refused.
fn packets(meter: &mut Meter, record: &[u8; 48]) -> Result<(), Failure> {
    let mut key = [0u8; 32];
    let derived = report(meter, "hkdf", || hazmat::hkdf(&[7; 32], b"secret", b"firmware", &mut key));
    derived.then_some(()).ok_or("HKDF")?;

    let mut body = *record;
    let header = [0x80, 1];
    let tag = report(meter, "aead.seal.48", || hazmat::seal(&key, 1, &header, &mut body)).ok_or("sealing")?;
    (body != *record).then_some(()).ok_or("sealing left the plaintext")?;

    let mut forged = body;
    forged[0] ^= 1;
    let refused =
        report(meter, "aead.refuse.48", || hazmat::open(&key, 1, &header, &mut forged, &tag)).is_err();
    refused.then_some(()).ok_or("a forged packet was opened")?;

    report(meter, "aead.open.48", || hazmat::open(&key, 1, &header, &mut body, &tag))
        .map_err(|_| "opening")?;
    (body == *record).then_some(()).ok_or("the packet came back changed")
}

/// Both ends of an x25519.exchange, as a DH ratchet does it.
fn agreement(meter: &mut Meter) -> Result<(), Failure> {
    let ours = StaticSecret::from_bytes([1; 32]);
    let public = report(meter, "x25519.public", || ours.public_key());
    report(meter, "x25519.exchange", || ours.diffie_hellman(&public)).map(drop).map_err(|_| "X25519")
}
