//! The process of the devices: as many as a thread can drive, on sockets that some of them share.

use crate::Failure;
use crate::link::{self, Clock, DEVICE_ID, Orders, TODAY, Tally};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{Ipv4Addr, UdpSocket};
use std::ops::Range;
use std::time::Duration as Wall;
use vitalwire::crypto::StaticSecret;
use vitalwire::device::{BackendPin, Device, DeviceConfig, DeviceEvent, DeviceMemory, Link};
use vitalwire::framing::{Lane, Measurement, Record, Values};
use vitalwire::identity::{Identity, LocalIdentity, Role, Time, TrustAnchors};
use vitalwire::wire::ConnectionId;
use vitalwire::{CallError, Entropy, OsEntropy};

/// The memory of a device for its records.
const OUTBOX: usize = 4096;
/// How long the devices may take, after the last measurement, until everything is committed.
const DRAIN: u64 = 60_000_000;
/// The longest packet.
const LONGEST: usize = 1500;

/// Reads what to do from the standard input, and does it.
pub fn run() -> Result<(), Failure> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let orders = Orders::parse(&line)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(orders.args.devices);
    let share = orders.args.devices.div_ceil(threads);
    let parts = (0..threads).map(|part| (part * share).min(orders.args.devices)).map(|first| {
        let end = (first + share).min(orders.args.devices);
        first..end
    });
    let tallies = std::thread::scope(|scope| {
        let orders = &orders;
        let threads: Vec<_> = parts.map(|part| scope.spawn(move || drive(orders, part))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a thread panicked")?)
            .collect::<Result<Vec<_>, Failure>>()
    })?;
    for tally in tallies.into_iter().flatten() {
        println!("{}", tally.to_line());
    }
    Ok(())
}

struct Bed<'m> {
    device: Device<'m>,
    socket: usize,
    /// When the first, and when the next measurement is due, in microseconds.
    begins: u64,
    next: u64,
    /// When the next entry of the heap is, if there is one.
    due: u64,
    tally: Tally,
}

fn configure(
    orders: &Orders,
    anchors: TrustAnchors,
    number: usize,
    identity: LocalIdentity,
) -> Result<DeviceConfig, Failure> {
    let own = identity.identity().ok_or("its credential is malformed")?;
    let backend = Identity { issuer: own.issuer, subject: link::subject(Role::Backend, 0) };
    let mut config = DeviceConfig::new(identity, anchors, Time::floor_only(TODAY), 1, OUTBOX);
    // They were here before: IK, two messages.
    config.pin = Some(BackendPin { key: orders.backend, identity: backend, credential: None });
    let id = (number as u32).to_le_bytes();
    config.connection_id = ConnectionId::new(&id[..DEVICE_ID]).ok_or("too long")?;
    Ok(config)
}

/// Drives the devices of a part until all of them are drained.
fn drive(orders: &Orders, part: Range<usize>) -> Result<Vec<Tally>, Failure> {
    let clock = orders.clock;
    let (first, count) = (part.start, part.len());
    let sockets = (0..count.div_ceil(orders.args.per_socket))
        .map(|_| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect(orders.server)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })
        .collect::<Result<Vec<_>, Failure>>()
        .map_err(|error| format!("{error}: take fewer sockets with --socket"))?;
    let descriptors = link::descriptors()?;
    let mut outboxes = vec![0u8; count * OUTBOX];
    let authority = link::signer(orders);
    let anchors = TrustAnchors::new(&[authority.public_key()])?;
    let mut beds = Vec::with_capacity(count);
    for (number, outbox) in part.zip(outboxes.chunks_mut(OUTBOX)) {
        let secret = StaticSecret::generate(&mut OsEntropy)?;
        let identity = LocalIdentity::issue(&authority, secret, &link::request(Role::Device, number))?;
        let memory = DeviceMemory { outbox, descriptors: &descriptors, backlog: &mut [] };
        let device = Device::new(configure(orders, anchors, number, identity)?, memory)?;
        let socket = (number - first) / orders.args.per_socket;
        let tally = Tally { device: number, ..Tally::default() };
        beds.push(Bed { device, socket, begins: 0, next: 0, due: u64::MAX, tally });
    }
    Ward { orders, clock, first, sockets, beds, heap: BinaryHeap::new(), end: 0 }.run()
}

struct Ward<'m> {
    orders: &'m Orders,
    clock: Clock,
    /// The number of the first device.
    first: usize,
    sockets: Vec<UdpSocket>,
    beds: Vec<Bed<'m>>,
    heap: BinaryHeap<Reverse<(u64, usize)>>,
    /// When the last measurement has been made.
    end: u64,
}

impl Ward<'_> {
    fn run(mut self) -> Result<Vec<Tally>, Failure> {
        let args = self.orders.args;
        let (ramp, period) = (args.ramp * 1_000_000, 1_000_000 / args.rate);
        // All are ready before the first one comes.
        let start = self.clock.micros();
        for index in 0..self.beds.len() {
            let bed = &mut self.beds[index];
            bed.begins = start + random_below(ramp)?;
            bed.next = start + ramp + random_below(period)?;
            bed.due = bed.begins;
            self.heap.push(Reverse((bed.due, index)));
        }
        let end = start + ramp + args.seconds * 1_000_000;
        self.end = end;
        let mut left = self.beds.len();
        while left > 0 && self.clock.micros() < end + DRAIN {
            let received = self.receive()?;
            let mut worked = received > 0;
            while let Some(&Reverse((due, index))) = self.heap.peek()
                && due <= self.clock.micros()
            {
                self.heap.pop();
                if self.beds[index].due == due {
                    self.beds[index].due = u64::MAX;
                    left -= usize::from(self.tend(index, end, period)?);
                    worked = true;
                }
            }
            if !worked {
                std::thread::sleep(Wall::from_millis(1));
            }
        }
        Ok(self.beds.iter().map(|bed| bed.tally).collect())
    }

    /// Takes what has arrived; returns how much.
    fn receive(&mut self) -> Result<usize, Failure> {
        let mut buffer = [0u8; LONGEST];
        let mut count = 0;
        for at in 0..self.sockets.len() {
            while let Ok(len) = self.sockets[at].recv(&mut buffer) {
                count += 1;
                // A Reset has no connection id; the devices of this program need none.
                let Some(id) = buffer.get(1..=DEVICE_ID).filter(|_| buffer[0] != 0x15) else { continue };
                let number = id.iter().rev().fold(0usize, |number, byte| number << 8 | usize::from(*byte));
                let Some(index) = number.checked_sub(self.first).filter(|index| *index < self.beds.len())
                else {
                    continue;
                };
                let now = self.clock.now();
                self.beds[index].device.handle_packet(now, &mut buffer[..len], &mut |_| {});
                self.transmit(index)?;
                self.schedule(index);
            }
        }
        Ok(count)
    }

    /// Does what is due for a device; tells whether it has just ended.
    fn tend(&mut self, index: usize, end: u64, period: u64) -> Result<bool, Failure> {
        let (micros, now) = (self.clock.micros(), self.clock.now());
        let bed = &mut self.beds[index];
        if bed.begins != 0 && bed.begins <= micros {
            bed.begins = 0;
            bed.device.handle_link(now, Link::Up { max_packet: 1232 });
            bed.device.connect(now);
        }
        bed.device.handle_timeout(now);
        while bed.next <= micros && bed.next < end {
            bed.next += period;
            let values = [micros as i32, bed.tally.recorded as i32, 72];
            let record = Record::Measurement(Measurement::new(1, Values::valid(&values)?));
            match bed.device.record(now, Lane::Event, &record) {
                Ok(accepted) => bed.tally.recorded += u64::from(accepted.count),
                Err(CallError::LaneFull) => bed.tally.refused += 1,
                Err(error) => return Err(error.into()),
            }
        }
        let over = bed.begins == 0 && bed.next >= end && bed.device.is_drained() && !bed.tally.drained;
        if over {
            bed.tally.drained = true;
            bed.device.disconnect();
        }
        self.transmit(index)?;
        if !over {
            self.schedule(index);
        }
        Ok(over)
    }

    fn transmit(&mut self, index: usize) -> Result<(), Failure> {
        let bed = &mut self.beds[index];
        let mut out = [0u8; LONGEST];
        let now = self.clock.now();
        while let Some(packet) = bed.device.poll_transmit(now, &mut OsEntropy, &mut out)? {
            // A socket that has no room loses the packet, as a link does.
            let _ = self.sockets[bed.socket].send(packet);
        }
        while let Some(event) = bed.device.poll_event() {
            bed.tally.sessions += u32::from(matches!(event, DeviceEvent::Connected { .. }));
        }
        Ok(())
    }

    /// Sees to it that the device is looked at in time.
    fn schedule(&mut self, index: usize) {
        let now = self.clock.micros();
        let bed = &mut self.beds[index];
        if bed.tally.drained {
            return;
        }
        let timer = bed.device.poll_timeout().map(|at| at.as_millis().saturating_mul(1000));
        let begins = (bed.begins != 0).then_some(bed.begins);
        let measures = bed.begins == 0 && bed.next < self.end;
        // Between the last measurement and the last commit the device is asked ten times a second.
        let next = if measures { bed.next } else { now + 100_000 };
        // Never at once, so that packets are read in between.
        let due = timer.into_iter().chain(begins).chain([next]).min().unwrap_or(next).max(now + 1000);
        if due < bed.due {
            bed.due = due;
            self.heap.push(Reverse((due, index)));
        }
    }
}

fn random_below(limit: u64) -> Result<u64, Failure> {
    let mut bytes = [0u8; 8];
    OsEntropy.fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes) % limit.max(1))
}
