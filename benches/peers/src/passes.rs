//! Table 1: seal at one end, open at the other.

use crate::common::SIZES;
use crate::fleet::{BUFFER, CALL, Contents, Fleet};
use crate::measure::{Contender, Effort, Figures, print_aim, print_columns};
use crate::records::measurement;
use crate::{aead, noise, own, tls, wireguard};
use std::hint::black_box;
use std::time::{Duration, Instant};
use vitalwire::backend::Inbound;

const SESSION: &str = "vitalwire, Session";
const BACKEND: &str = "vitalwire, Backend, bytes handed over";
const DELIVERED: &str = "vitalwire, Backend, a record committed";

fn session(len: usize) -> Contender<'static> {
    let (mut sender, mut receiver) = own::session(1);
    let mut buffer = vec![0x55u8; len + 64];
    Contender::each(SESSION, move || {
        let sealed = sender.seal(&mut buffer, len);
        receiver.open(black_box(&mut buffer[..sealed]));
    })
}

/// One device and its backend, 32 packets a call; with a record, which is read and committed, or bytes that the backend hands over.
fn backend(name: &'static str, len: usize, delivers: bool) -> Contender<'static> {
    let mut fleet = Fleet::new(1);
    let record = measurement();
    let mut buffers = vec![[0u8; BUFFER]; CALL];
    Contender::new(name, move |items| {
        let contents = if delivers { Contents::Records(0, &record, 1) } else { Contents::Bytes };
        let (mut took, mut left) = (Duration::ZERO, items as usize);
        while left > 0 {
            let count = left.min(CALL);
            left -= count;
            let start = Instant::now();
            let (now, device) = (fleet.now, &mut fleet.devices[0]);
            let mut inbound: Vec<_> = buffers[..count]
                .iter_mut()
                .map(|buffer| {
                    let sealed = device.packet(now, contents, len, buffer);
                    Inbound { path: device.path, packet: &mut buffer[..sealed] }
                })
                .collect();
            let values = fleet.receive(black_box(&mut inbound));
            fleet.commit();
            took += start.elapsed();
            assert_eq!(values, count);
            fleet.settle();
        }
        took
    })
}

pub(crate) fn print(effort: Effort) {
    println!("time per message, and ratio to ring");
    let mut columns = Vec::new();
    for len in SIZES {
        let mut contenders: Vec<Contender<'_>> = aead::passes(len).into();
        contenders.push(session(len));
        contenders.push(backend(BACKEND, len, false));
        contenders.push(backend(DELIVERED, len, true));
        contenders.push(wireguard::passes(len));
        contenders.extend(tls::passes(len));
        contenders.extend(noise::passes(len));
        columns.push((format!("{len} bytes"), Figures::in_turn(effort, effort.of(256, 32), contenders)));
    }
    print_columns(&columns, aead::RING);
    for own in [SESSION, BACKEND] {
        for peer in [wireguard::NAME, "rustls on ring, record layer", "rustls on AWS-LC, record layer"] {
            let ratios: Vec<f64> = columns.iter().map(|(_, figures)| figures.ratio(own, peer)).collect();
            let shown: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}x")).collect();
            let (what, measured) = (format!("{own}, ahead of {peer}"), shown.join(" "));
            print_aim(&what, &measured, ratios.iter().all(|ratio| *ratio < 1.0));
        }
    }
}
