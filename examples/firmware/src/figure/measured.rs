//! The device's operations, counted where they happen: in the image that talks to the backend, with its own packets.

use crate::heap::HEAP;
use crate::page::{PAGE_LEN, Page};
use crate::telemetry::{BLOCK, ECG_CHANNEL};
use crate::board;
use core::hint::black_box;
use firmware_measure::{Meter, Tally, figure};
use vitalwire::crypto::{PublicKey, SessionSecrets, SignatureKey};
use vitalwire::device::Device;
use vitalwire::identity::{Role, Time, TrustAnchors};
use vitalwire::session::{RekeyPolicy, Session};
use vitalwire::wire::{ConnectionId, DataHeader, Hello, PacketKind, Pattern, Side};
use vitalwire::{Instant, UnixSeconds};

/// A packet of data that takes more has done a Diffie-Hellman operation: sealing 256 bytes takes 20 000.
const DH_INSTRUCTIONS: u64 = 1_000_000;
/// Blocks of a second.
const SECOND: u32 = 360 / BLOCK as u32;
const _: () = assert!(ECG_CHANNEL == 1 && SECOND * BLOCK as u32 == 360);

/// The names of an operation's figures.
#[derive(Clone, Copy)]
struct Names {
    instructions: &'static str,
    stack: &'static str,
    heap: &'static str,
    wire: &'static str,
}

const XX: Names = Names { instructions: "xx", stack: "xx.stack", heap: "xx.heap", wire: "wire.xx" };
const IK: Names = Names { instructions: "ik", stack: "ik.stack", heap: "ik.heap", wire: "wire.ik" };
const RESUME: Names =
    Names { instructions: "resume", stack: "resume.stack", heap: "resume.heap", wire: "wire.resume" };
const REKEY: Names =
    Names { instructions: "rekey", stack: "rekey.stack", heap: "rekey.heap", wire: "wire.rekey" };
const ECG: Names =
    Names { instructions: "ecg.second", stack: "ecg.second.stack", heap: "ecg.second.heap", wire: "" };

/// An operation of several calls.
#[derive(Clone, Copy)]
struct Sum {
    names: Names,
    instructions: u64,
    stack: usize,
    heap: usize,
    bytes: usize,
    calls: u32,
}

impl Sum {
    const fn new(names: Names) -> Self {
        Self { names, instructions: 0, stack: 0, heap: 0, bytes: 0, calls: 0 }
    }

    fn add(&mut self, tally: &Tally, bytes: usize) {
        self.instructions += tally.instructions;
        self.stack = self.stack.max(tally.stack);
        self.heap = self.heap.max(tally.heap);
        self.bytes += bytes;
        self.calls += 1;
    }

    fn tell(&self) {
        figure(self.names.instructions, self.instructions, "instructions");
        figure(self.names.stack, self.stack as u64, "bytes");
        figure(self.names.heap, self.heap as u64, "bytes");
        if !self.names.wire.is_empty() {
            figure(self.names.wire, self.bytes as u64, "bytes");
        }
    }
}

/// Measures, and prints.
pub struct Figures {
    meter: Meter,
    handshake: Option<Sum>,
    rekey: Sum,
    dh_ratchets: u32,
    second: Sum,
}

impl Figures {
    /// Paints the stack, and measures what needs no backend.
    pub fn start() -> Self {
        let mut meter = Meter::new().with_heap(&HEAP);
        figure("device.size", size_of::<Device<'static>>() as u64, "bytes");
        packets(&mut meter);
        credential(&mut meter);
        Self { meter, handshake: None, rekey: Sum::new(REKEY), dh_ratchets: 0, second: Sum::new(ECG) }
    }

    fn run<T>(&mut self, work: impl FnOnce() -> T) -> (T, Tally) {
        let mut operation = self.meter.operation("");
        let result = operation.run(work);
        (result, operation.tally())
    }

    /// Runs what makes a packet.
    pub fn transmit<'o, E>(
        &mut self,
        work: impl FnOnce() -> Result<Option<&'o [u8]>, E>,
    ) -> Result<Option<&'o [u8]>, E> {
        let (result, tally) = self.run(work);
        let Ok(Some(packet)) = result else { return result };
        match PacketKind::parse(packet, Side::Device) {
            Ok(PacketKind::Hello) => {
                let names = Hello::parse(packet).map(|hello| match hello.header.pattern {
                    Pattern::Resume => RESUME,
                    Pattern::Ik | Pattern::IkPsk2 => IK,
                    _ => XX,
                });
                self.handshake = names.ok().map(Sum::new);
                self.continued(&tally, packet.len());
            }
            Ok(PacketKind::Finish) if self.continued(&tally, packet.len()) == 3 => self.done(),
            Ok(PacketKind::Data) => self.data(&tally, packet.len()),
            _ => {}
        }
        Ok(Some(packet))
    }

    /// Runs what takes a packet.
    pub fn receive(&mut self, packet: &mut [u8], work: impl FnOnce(&mut [u8])) {
        let (kind, len) = (PacketKind::parse(packet, Side::Backend), packet.len());
        let ((), tally) = self.run(|| work(packet));
        match kind {
            Ok(PacketKind::Reply) => {
                self.continued(&tally, len);
                if self.handshake.is_some_and(|sum| sum.names.instructions != XX.instructions) {
                    self.done();
                }
            }
            Ok(PacketKind::Data) => self.data(&tally, len),
            _ => {}
        }
    }

    /// Goes on with the handshake under way, and returns how many calls of it there were.
    fn continued(&mut self, tally: &Tally, bytes: usize) -> u32 {
        match &mut self.handshake {
            Some(sum) => {
                sum.add(tally, bytes);
                sum.calls
            }
            None => 0,
        }
    }

    fn done(&mut self) {
        if let Some(sum) = self.handshake.take() {
            sum.tell();
        }
    }

    fn data(&mut self, tally: &Tally, bytes: usize) {
        if tally.instructions >= DH_INSTRUCTIONS {
            self.rekey.add(tally, bytes);
        }
    }

    /// Runs what accepts a block of the ECG.
    pub fn block<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (result, tally) = self.run(work);
        if self.second.calls < SECOND {
            self.second.add(&tally, 0);
            if self.second.calls == SECOND {
                self.second.tell();
            }
        }
        result
    }

    /// Takes note of how often the session has been rekeyed.
    pub fn ratchets(&mut self, (_, dh): (u32, u32)) {
        if dh > self.dh_ratchets {
            self.rekey.tell();
            self.rekey = Sum::new(REKEY);
        }
        self.dh_ratchets = dh;
    }

    /// Prints the peaks of the whole run.
    pub fn end(&mut self) {
        self.meter.tell_peaks();
    }
}

/// Seals and opens packets of the sizes that telemetry has, in a session of its own.
fn packets(meter: &mut Meter) {
    let (now, id) = (Instant::ZERO, ConnectionId::EMPTY);
    let end = |side| -> Session<2> {
        Session::new(now, side, SessionSecrets::new([1; 32], &[2; 64]), 128, RekeyPolicy::default())
    };
    let (mut device, mut backend) = (end(Side::Device), end(Side::Backend));
    for (seal, open, wire, len) in [
        ("seal.16", "open.16", "wire.record.16", 16),
        ("seal.48", "open.48", "wire.record.48", 48),
        ("seal.64", "open.64", "wire.record.64", 64),
        ("seal.256", "open.256", "wire.record.256", 256),
    ] {
        let mut out = [0x5a; 300];
        // What the device does: seal its own, and open the backend's.
        let mut operation = meter.operation(seal);
        let sealed = operation.run(|| device.seal(now, &id, black_box(&mut out), len).map(|packet| packet.len()));
        operation.tell();
        figure(wire, sealed.unwrap_or(0) as u64, "bytes");
        let Ok(packet) = backend.seal(now, &id, &mut out, len) else { continue };
        let mut operation = meter.operation(open);
        let opened = operation.run(|| {
            let header = DataHeader::parse(packet, 0).ok()?;
            device.open(now, &header, packet).ok().map(|opened| opened.payload.len())
        });
        operation.tell();
        if opened != Some(len) {
            board::end(Err("a packet did not open"));
        }
    }
}

/// Verifies a credential: the device's own, as a backend's takes the same.
fn credential(meter: &mut Meter) {
    let Some(page) = Page::parse(board::page(PAGE_LEN)) else { return };
    let Ok(anchors) = TrustAnchors::new(&[SignatureKey(page.authority)]) else { return };
    let mut operation = meter.operation("credential.verify");
    let time = Time::known(UnixSeconds(page.made));
    let verified =
        operation.run(|| anchors.verify(black_box(page.credential), &PublicKey(page.public), Role::Device, time));
    operation.tell();
    if verified.is_err() {
        board::end(Err("the device's credential does not verify"));
    }
}
