//! Table 6: from sealed packets to typed records, read to the last value.

use crate::aead::{self, TAG};
use crate::fleet::{BUFFER, CALL, Contents, Fleet};
use crate::measure::{Contender, Effort, Figures};
use crate::records::{measurement, trend, waveform};
use std::cell::RefCell;
use std::time::{Duration, Instant};
use vitalwire::backend::Inbound;

/// A kind of packet: its stream, its record, how many of it, and the values in all of them.
struct Kind {
    name: &'static str,
    stream: u8,
    record: Vec<u8>,
    count: usize,
    values: usize,
}

fn backend<'f>(fleet: &'f RefCell<Fleet>, kind: &'f Kind) -> Contender<'f> {
    let mut buffers = vec![[0u8; BUFFER]; CALL];
    let mut turn = 0;
    Contender::new(kind.name, move |items| {
        let fleet = &mut *fleet.borrow_mut();
        let contents = Contents::Records(kind.stream, &kind.record, kind.count);
        let (mut took, mut left) = (Duration::ZERO, items as usize);
        while left > 0 {
            let count = left.min(CALL);
            left -= count;
            let mut inbound = Vec::new();
            for buffer in &mut buffers[..count] {
                turn = (turn + 1) % fleet.devices.len();
                let device = &mut fleet.devices[turn];
                let len = device.packet(fleet.now, contents, 0, buffer);
                inbound.push(Inbound { path: device.path, packet: &mut buffer[..len] });
            }
            let start = Instant::now();
            let values = fleet.receive(&mut inbound);
            fleet.commit();
            took += start.elapsed();
            assert_eq!(values, count * kind.values);
            fleet.settle();
        }
        took
    })
}

/// The open alone of a packet as long.
fn raw<'k>(kind: &'k Kind, len: usize) -> Contender<'k> {
    let (key, mut packet) = ([7; 32], vec![0x55; len + TAG]);
    Contender::new(format!("{}, open", kind.name), move |items| {
        let mut took = Duration::ZERO;
        for counter in 0..items {
            aead::seal(&key, counter, &mut packet);
            let start = Instant::now();
            aead::open(&key, counter, &mut packet);
            took += start.elapsed();
        }
        took
    })
}

pub(crate) fn print(effort: Effort) {
    println!("per packet, on one core: opened, decoded, every value read, committed");
    let fleet = RefCell::new(Fleet::new(effort.of(1000, 10)));
    let kinds = [
        Kind { name: "64 heart rates", stream: 0, record: measurement(), count: 64, values: 64 },
        Kind { name: "1 heart rate", stream: 0, record: measurement(), count: 1, values: 1 },
        Kind { name: "trend of 60 heart rates", stream: 0, record: trend(), count: 1, values: 60 },
        Kind { name: "10 trends of 60 heart rates", stream: 0, record: trend(), count: 10, values: 600 },
        Kind { name: "ECG block of 256 samples", stream: 1, record: waveform(), count: 1, values: 256 },
        Kind { name: "4 ECG blocks of 256 samples", stream: 1, record: waveform(), count: 4, values: 1024 },
    ];
    let lens: Vec<usize> = kinds
        .iter()
        .map(|kind| {
            let mut buffer = [0u8; BUFFER];
            let contents = Contents::Records(kind.stream, &kind.record, kind.count);
            let fleet = &mut *fleet.borrow_mut();
            let len = fleet.devices[0].packet(fleet.now, contents, 0, &mut buffer);
            fleet.receive(&mut [Inbound { path: fleet.devices[0].path, packet: &mut buffer[..len] }]);
            fleet.settle();
            len
        })
        .collect();
    let mut contenders: Vec<Contender<'_>> = Vec::new();
    for (kind, len) in kinds.iter().zip(&lens) {
        contenders.push(backend(&fleet, kind));
        contenders.push(raw(kind, *len));
    }
    // Short stretches, so that hardly any is interrupted.
    let figures = Figures::in_turn(effort, CALL as u64, contenders);
    println!(
        "{:<32}{:>8}{:>12}{:>16}{:>16}{:>18}",
        "", "bytes", "ns/packet", "records/s", "values/s", "share of open"
    );
    for (kind, len) in kinds.iter().zip(&lens) {
        let time = figures.median(kind.name);
        let share = figures.ratio(&format!("{}, open", kind.name), kind.name) * 100.0;
        let rate = |items: usize| items as f64 * 1e9 / time;
        println!(
            "{:<32}{len:>8}{time:>12.0}{:>16.0}{:>16.0}{share:>16.0} %",
            kind.name,
            rate(kind.count),
            rate(kind.values)
        );
    }
}
