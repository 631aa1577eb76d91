//! The serial line: a device file, or a TCP connection that an emulator has to its UART. COBS on it, and noise if asked for.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;
use vitalwire::limits::MAX_HELLO;
use vitalwire::wire::link::{CobsDecoder, cobs_len, write_cobs};

use crate::Failure;

/// The longest packet in either direction.
const LONGEST: usize = MAX_HELLO;

/// The far end of the line.
pub struct Line {
    out: Box<dyn Write>,
    bytes: Receiver<Vec<u8>>,
    decoder: CobsDecoder<LONGEST>,
    noise: Option<Noise>,
    /// Nobody is there: what comes is lost, and nothing is sent.
    pub deaf: bool,
    pub closed: bool,
}

impl Line {
    /// Opens a serial line that was set up before: `stty -F PATH 115200 raw -echo`.
    pub fn open(path: &str) -> Result<Self, Failure> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self::over(file.try_clone()?, file))
    }

    /// Waits for an emulator to connect.
    pub fn accept(listener: &TcpListener) -> Result<Self, Failure> {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream.try_clone()?, stream))
    }

    /// Connects to an emulator that listens, or to a server of serial lines.
    pub fn connect(address: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream.try_clone()?, stream))
    }

    fn over(mut input: impl Read + Send + 'static, out: impl Write + 'static) -> Self {
        let (sender, bytes) = channel();
        // A thread, as a serial line has no time-out for reading; it ends with the line, or with the process.
        thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(len @ 1..) = input.read(&mut part) {
                if sender.send(part[..len].to_vec()).is_err() {
                    return;
                }
            }
        });
        let decoder = CobsDecoder::new();
        Self { out: Box::new(out), bytes, decoder, noise: None, deaf: false, closed: false }
    }

    /// Makes the line noisy in both directions: about one byte of so many is hit.
    pub fn disturb(&mut self, seed: u64, one_of: u32) {
        self.noise = Some(Noise { state: seed, one_of, hits: 0 });
    }

    /// Returns how many bytes the noise has hit.
    pub fn hits(&self) -> u32 {
        self.noise.as_ref().map_or(0, |noise| noise.hits)
    }

    /// Waits that long for bytes, and hands each packet in them to `take`.
    pub fn receive(&mut self, wait: Duration, mut take: impl FnMut(&mut [u8])) {
        let part = match self.bytes.recv_timeout(wait) {
            Ok(part) => part,
            Err(RecvTimeoutError::Timeout) => return,
            Err(RecvTimeoutError::Disconnected) => {
                self.closed = true;
                return thread::sleep(wait);
            }
        };
        if self.deaf {
            return;
        }
        let part = match &mut self.noise {
            Some(noise) => noise.mangle(&part),
            None => part,
        };
        let mut part = part.as_slice();
        while let Some(packet) = self.decoder.next(&mut part) {
            take(packet);
        }
    }

    /// Sends a packet. A line that is closed loses it, as an unplugged one does.
    pub fn send(&mut self, packet: &[u8]) -> Result<(), Failure> {
        if self.deaf {
            return Ok(());
        }
        let mut out = vec![0; cobs_len(packet.len())];
        let bytes = write_cobs(packet, &mut out)?;
        let mangled = self.noise.as_mut().map(|noise| noise.mangle(bytes));
        if self.out.write_all(mangled.as_deref().unwrap_or(bytes)).and_then(|()| self.out.flush()).is_err() {
            self.closed = true;
        }
        Ok(())
    }
}

/// Flips, drops and inserts bytes; the same for the same seed and bytes.
struct Noise {
    state: u64,
    one_of: u32,
    hits: u32,
}

impl Noise {
    fn next(&mut self) -> u32 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) as u32
    }

    fn mangle(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() + 4);
        for &byte in bytes {
            if !self.next().is_multiple_of(self.one_of) {
                out.push(byte);
                continue;
            }
            self.hits += 1;
            let random = self.next();
            match random % 3 {
                0 => out.push(byte ^ 1 << (random >> 8 & 7)),
                1 => {}
                _ => out.extend([byte, (random >> 8) as u8]),
            }
        }
        out
    }
}
