//! Table 2: opening packets of many sessions, in random order.

use crate::aead::{self, TAG};
use crate::common::{Walk, key_of};
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

fn buffers() -> Vec<[u8; BUFFER]> {
    vec![[0x55; BUFFER]; CALL]
}

fn raw(count: usize) -> Contender<'static> {
    let keys: Vec<[u8; 32]> = (0..count).map(key_of).collect();
    let (mut walk, mut buffers) = (Walk::new(count, 1), buffers());
    Contender::new(aead::provider(), move |items| {
        opening(
            items,
            &mut buffers,
            |buffer| {
                let next = walk.next();
                // The key is made anew, so that the table's is not in the cache because of this.
                aead::seal(&key_of(next), 1, &mut buffer[..LEN + TAG]);
                (next, LEN + TAG)
            },
            |next, packet| aead::open(&keys[next], 1, packet),
        )
    })
}

fn kept(count: usize) -> Contender<'static> {
    let keys: Vec<_> = (0..count).map(|number| aead::ring::Key::new(&key_of(number))).collect();
    let (mut walk, mut buffers) = (Walk::new(count, 2), buffers());
    Contender::new(aead::RING, move |items| {
        opening(
            items,
            &mut buffers,
            |buffer| {
                let next = walk.next();
                aead::ring::Key::new(&key_of(next)).seal(1, &mut buffer[..LEN + TAG]);
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
