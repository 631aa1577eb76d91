//! The parts of the library, one by one: runs what it does without a heap, counts instructions, and says over semihosting whether everything came back as it went in.
//!
//! With the feature `handshake` it also brings a heap and a complete device, which makes its first session.
#![no_std]
#![no_main]

#[cfg(feature = "handshake")]
mod device;
mod session;

use core::hint::black_box;
use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;
use vitalwire::codec::{Reader, Writer};
use vitalwire::crypto::{StaticSecret, hazmat};
use vitalwire_firmware::measure::{Counter, Stack};
use vitalwire_firmware::{Failure, board};

#[entry]
fn main() -> ! {
    let stack = Stack::paint();
    let outcome = Counter::new().ok_or("no SysTick").and_then(|mut counter| run(&mut counter));
    hprintln!("peak stack           {:>9} bytes", stack.peak());
    if outcome.is_ok() {
        hprintln!("firmware: everything round-trips");
    }
    board::end(outcome)
}

fn run(counter: &mut Counter) -> Result<(), Failure> {
    hprintln!("instructions, to the nearest {}:", Counter::RESOLUTION);
    let mut record = [0u8; 48];
    values(counter, &mut record)?;
    packets(counter, &record)?;
    agreement(counter)?;
    session::packets(counter)?;
    session::waveform(counter)?;
    #[cfg(feature = "handshake")]
    {
        signatures(counter)?;
        device::first_session(counter)?;
    }
    Ok(())
}

/// Writes a few values and reads them back.
fn values(counter: &mut Counter, record: &mut [u8; 48]) -> Result<(), Failure> {
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
    counter.report("write 3 values", || write(black_box(record))).map_err(|_| "writing")?;
    let read_back = counter.report("read 3 values", || read(black_box(record))).map_err(|_| "reading")?;
    (read_back == (1_234_567, -75, b"heart rate, measured by a patch"))
        .then_some(())
        .ok_or("values came back changed")
}

/// Derives a key, seals a record and opens it; a changed one is refused.
fn packets(counter: &mut Counter, record: &[u8; 48]) -> Result<(), Failure> {
    let mut key = [0u8; 32];
    let derived = counter.report("HKDF", || hazmat::hkdf(&[7; 32], b"secret", b"firmware", &mut key));
    derived.then_some(()).ok_or("HKDF")?;

    let mut body = *record;
    let header = [0x80, 1];
    let tag =
        counter.report("seal 48 bytes", || hazmat::seal(&key, 1, &header, &mut body)).ok_or("sealing")?;
    (body != *record).then_some(()).ok_or("sealing left the plaintext")?;

    let mut forged = body;
    forged[0] ^= 1;
    let refused =
        counter.report("refuse 48 bytes", || hazmat::open(&key, 1, &header, &mut forged, &tag)).is_err();
    refused.then_some(()).ok_or("a forged packet was opened")?;

    counter
        .report("open 48 bytes", || hazmat::open(&key, 1, &header, &mut body, &tag))
        .map_err(|_| "opening")?;
    (body == *record).then_some(()).ok_or("the packet came back changed")
}

/// Both ends of an X25519 exchange, as a DH ratchet does it.
fn agreement(counter: &mut Counter) -> Result<(), Failure> {
    let ours = StaticSecret::from_bytes([1; 32]);
    let public = counter.report("X25519 public key", || ours.public_key());
    counter.report("X25519 exchange", || ours.diffie_hellman(&public)).map(drop).map_err(|_| "X25519")
}

#[cfg(feature = "handshake")]
fn signatures(counter: &mut Counter) -> Result<(), Failure> {
    let authority = vitalwire::crypto::SigningKey::from_bytes([2; 32]);
    let public = authority.public_key();
    let signature = authority.sign(b"credential");
    let verified = counter.report("Ed25519 verify", || public.verify(b"credential", &signature));
    verified.map_err(|_| "a good signature was refused")?;
    public.verify(b"Credential", &signature).err().map(drop).ok_or("a forged signature was accepted")
}
