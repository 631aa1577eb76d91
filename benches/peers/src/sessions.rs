//! Table 2: opening packets of many sessions, in random order.

use crate::aead::{self, TAG};
use crate::fleet::{BUFFER, CALL, Contents, Fleet};
use crate::measure::{Contender, Effort, Figures, print_aim, print_columns};
use crate::own;
use crate::records::measurement;
use std::cell::RefCell;
use std::time::{Duration, Instant};
use vitalwire::backend::Inbound;

const LEN: usize = 64;
const SESSION: &str = "vitalwire, Session::open";
const NOTHING: &str = "vitalwire, Backend, padding";
const DELIVERED: &str = "vitalwire, Backend, a record";
const COMMITTED: &str = "vitalwire, Backend, a record committed";

/// A random permutation, gone through again and again.
struct Walk {
    order: Vec<u32>,
    at: usize,
}

impl Walk {
    fn new(count: usize, mut seed: u64) -> Self {
        let mut order: Vec<u32> = (0..u32::try_from(count).expect("fewer than 2^32 sessions")).collect();
        for at in (1..count).rev() {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            order.swap(at, (seed >> 33) as usize % (at + 1));
        }
        Self { order, at: 0 }
    }

    fn next(&mut self) -> usize {
        self.at = (self.at + 1) % self.order.len();
        self.order[self.at] as usize
    }
}

/// Seals packets outside the clock, and times their opening: `seal` says which session's packet it has written, and how
/// long that is.
fn opening(
    items: u64,
    buffers: &mut [[u8; BUFFER]],
    mut seal: impl FnMut(&mut [u8; BUFFER]) -> (usize, usize),
    mut open: impl FnMut(usize, &mut [u8]),
) -> Duration {
    let (mut took, mut left) = (Duration::ZERO, items as usize);
    while left > 0 {
        let count = left.min(CALL);
        left -= count;
        let sealed: Vec<_> = buffers[..count].iter_mut().map(&mut seal).collect();
        let start = Instant::now();
        for ((session, len), buffer) in sealed.into_iter().zip(buffers.iter_mut()) {
            open(session, &mut buffer[..len]);
        }
        took += start.elapsed();
    }
    took
}

fn key(number: usize) -> [u8; 32] {
    let bytes = number.to_le_bytes();
    std::array::from_fn(|at| bytes[at % bytes.len()] ^ at as u8)
}

fn buffers() -> Vec<[u8; BUFFER]> {
    vec![[0x55; BUFFER]; CALL]
}

fn raw(count: usize) -> Contender<'static> {
    let keys: Vec<[u8; 32]> = (0..count).map(key).collect();
    let (mut walk, mut buffers) = (Walk::new(count, 1), buffers());
    Contender::new(aead::provider(), move |items| {
        opening(
            items,
            &mut buffers,
            |buffer| {
                let next = walk.next();
                // The key is made anew, so that the table's is not in the cache because of this.
                aead::seal(&key(next), 1, &mut buffer[..LEN + TAG]);
                (next, LEN + TAG)
            },
            |next, packet| aead::open(&keys[next], 1, packet),
        )
    })
}

fn kept(count: usize) -> Contender<'static> {
    let keys: Vec<_> = (0..count).map(|number| aead::ring::Key::new(&key(number))).collect();
    let (mut walk, mut buffers) = (Walk::new(count, 2), buffers());
    Contender::new(aead::RING, move |items| {
        opening(
            items,
            &mut buffers,
            |buffer| {
                let next = walk.next();
                aead::ring::Key::new(&key(next)).seal(1, &mut buffer[..LEN + TAG]);
                (next, LEN + TAG)
            },
            |next, packet| keys[next].open(1, packet),
        )
    })
}

fn session(count: usize) -> Contender<'static> {
    let (mut senders, mut receivers): (Vec<_>, Vec<_>) = (0..count as u64).map(own::session).unzip();
    let (mut walk, mut buffers) = (Walk::new(count, 3), buffers());
    Contender::new(SESSION, move |items| {
        opening(
            items,
            &mut buffers,
            |buffer| {
                let next = walk.next();
                (next, senders[next].seal(buffer, LEN))
            },
            |next, packet| receivers[next].open(packet),
        )
    })
}

/// What of a backend's work on a packet is inside the clock.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Nothing,
    Delivery,
    Commit,
}

fn backend<'f>(name: &'static str, fleet: &'f RefCell<Fleet>, part: Part, seed: u64) -> Contender<'f> {
    let mut walk = Walk::new(fleet.borrow().devices.len(), seed);
    let (mut buffers, record) = (buffers(), measurement());
    Contender::new(name, move |items| {
        let fleet = &mut *fleet.borrow_mut();
        let contents =
            if part == Part::Nothing { Contents::Padding } else { Contents::Records(0, &record, 1) };
        let (mut took, mut left) = (Duration::ZERO, items as usize);
        while left > 0 {
            let count = left.min(CALL);
            left -= count;
            let mut inbound: Vec<_> = buffers[..count]
                .iter_mut()
                .map(|buffer| {
                    let device = &mut fleet.devices[walk.next()];
                    let sealed = device.packet(fleet.now, contents, LEN, buffer);
                    Inbound { path: device.path, packet: &mut buffer[..sealed] }
                })
                .collect();
            let start = Instant::now();
            let values = fleet.receive(&mut inbound);
            if part == Part::Commit {
                fleet.commit();
            }
            took += start.elapsed();
            assert_eq!(values, if part == Part::Nothing { 0 } else { count });
            fleet.settle();
        }
        took
    })
}

pub(crate) fn print(effort: Effort) {
    println!("open of a 64-byte packet, of sessions in random order: time, and ratio to our provider's open");
    let mut columns = Vec::new();
    for count in effort.of([1, 10_000, 100_000], [1, 10, 100]) {
        let fleet = RefCell::new(Fleet::new(count));
        let contenders = vec![
            raw(count),
            kept(count),
            session(count),
            backend(NOTHING, &fleet, Part::Nothing, 4),
            backend(DELIVERED, &fleet, Part::Delivery, 5),
            backend(COMMITTED, &fleet, Part::Commit, 6),
        ];
        columns.push((format!("{count} sessions"), Figures::in_turn(effort, effort.of(256, 32), contenders)));
    }
    let reference = aead::provider();
    print_columns(&columns, &reference);
    for own in [SESSION, NOTHING, DELIVERED] {
        let ratios: Vec<f64> = columns.iter().map(|(_, figures)| figures.ratio(own, &reference)).collect();
        let shown: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}x")).collect();
        let what = format!("{own}, at most 1.25x");
        print_aim(&what, &shown.join(" "), ratios.iter().all(|ratio| *ratio <= 1.25));
    }
}
