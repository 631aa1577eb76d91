//! TLS 1.3 as the client: embedded-tls with a pre-shared key and ECDHE on P-256, AES-128-GCM, and the smallest buffers.
//!
//! It needs an ordered link without loss, such as TCP, whose cost is not in the figures.
#![no_std]
#![no_main]

mod board;
mod fixed;
mod tls_device;

mod transcript {
    include!(concat!(env!("OUT_DIR"), "/tls.rs"));
}

use cortex_m_rt::entry;
use embedded_io::{ErrorKind, ErrorType, Read, Write};
use embedded_tls::blocking::TlsConnection;
use firmware_measure::{Meter, figure};
use tls_device::{BUFFER, RECORDS, config, context};

#[entry]
fn main() -> ! {
    board::run(|| session(Meter::new()))
}

/// The far end as it was: what it said, and what it has accepted.
struct Recorded<'t> {
    to_read: &'t [&'t [u8]],
    /// How much of the first of `to_read` is read.
    read: usize,
    accepted: &'t [&'t [u8]],
    /// How much of the first of `accepted` is written.
    written: usize,
}

impl Recorded<'_> {
    fn is_done(&self) -> bool {
        self.to_read.is_empty() && self.accepted.is_empty()
    }
}

impl ErrorType for Recorded<'_> {
    type Error = ErrorKind;
}

impl Read for Recorded<'_> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, ErrorKind> {
        let (record, rest) = self.to_read.split_first().ok_or(ErrorKind::TimedOut)?;
        let left = record.get(self.read..).ok_or(ErrorKind::Other)?;
        let len = left.len().min(out.len());
        out.iter_mut().zip(left).for_each(|(to, from)| *to = *from);
        self.read += len;
        if self.read == record.len() {
            (self.to_read, self.read) = (rest, 0);
        }
        Ok(len)
    }
}

impl Write for Recorded<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        let (record, rest) = self.accepted.split_first().ok_or(ErrorKind::Other)?;
        let left = record.get(self.written..).ok_or(ErrorKind::Other)?;
        let len = left.len().min(bytes.len());
        if bytes.get(..len) != left.get(..len) {
            return Err(ErrorKind::InvalidData);
        }
        self.written += len;
        if self.written == record.len() {
            (self.accepted, self.written) = (rest, 0);
        }
        Ok(len)
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

fn session(mut meter: Meter) -> Result<(), &'static str> {
    let (mut incoming, mut outgoing) = ([0; BUFFER], [0; BUFFER]);
    const HANDSHAKE: (usize, usize) = (transcript::SENT.len(), transcript::RECEIVED.len());
    const RECORDS_EACH: usize = RECORDS.len();
    let mut accepted = [&[] as &[u8]; HANDSHAKE.0 + RECORDS_EACH];
    let mut to_read = [&[] as &[u8]; HANDSHAKE.1 + RECORDS_EACH];
    let all = transcript::SENT.into_iter().chain(transcript::RECORDS_SENT);
    accepted.iter_mut().zip(all).for_each(|(to, from)| *to = from);
    let all = transcript::RECEIVED.into_iter().chain(transcript::RECORDS_RECEIVED);
    to_read.iter_mut().zip(all).for_each(|(to, from)| *to = from);
    let mut link = Recorded { to_read: &to_read, read: 0, accepted: &accepted, written: 0 };

    let config = config();
    let mut device = TlsConnection::new(&mut link, &mut incoming, &mut outgoing);
    let mut handshake = meter.operation("handshake");
    handshake.run(|| device.open(context(&config))).map_err(|_| "the handshake")?;
    handshake.tell();
    figure("wire.handshake", board::total(&transcript::SENT) + board::total(&transcript::RECEIVED), "bytes");

    for (len, sent) in RECORDS.into_iter().zip(transcript::RECORDS_SENT) {
        let names = board::names(len).ok_or("a record of no such size")?;
        let record = [0x5a; 256];
        let record = record.get(..len).ok_or("a record that is too long")?;
        let mut seal = meter.operation(names.seal);
        seal.run(|| device.write(record).and_then(|_| device.flush())).map_err(|_| "sealing")?;
        seal.tell();
        figure(names.wire, sent.len() as u64, "bytes");

        let mut opened = [0; 256];
        let mut open = meter.operation(names.open);
        let len = open.run(|| device.read(&mut opened)).map_err(|_| "opening")?;
        open.tell();
        board::same(opened.get(..len), &[0xa5; 256][..record.len()])?;
    }
    drop(device);
    link.is_done().then_some(()).ok_or("the far end had more to say or to hear")?;
    meter.tell_peaks();
    Ok(())
}
