//! Links: fragments that are lost, repeated, reordered and forged, streams in any parts.
//!
//! The first byte chooses. 0: genuine pieces of a few packets, delivered in the input's order, with changes of the link's
//! size: what comes out went in. 1: raw pieces: nothing panics, and genuine packets arrive after them. 2: a length-delimited
//! stream. 3: a serial line: what is read and written again reads as the same, and a packet arrives after any garbage.

use crate::input::Input;
use vitalwire::Instant;
use vitalwire::wire::link::*;

const LONGEST: usize = 512;

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(4) {
        0 => genuine(&mut input),
        1 => raw(&mut input),
        2 => delimited(&mut input),
        _ => serial(&mut input),
    }
}

fn fragmenter(input: &mut Input) -> Fragmenter {
    Fragmenter::new(20 + u16::from(input.u8())).expect("20 or more")
}

/// Cuts a packet, while the link changes its size.
fn cut(input: &mut Input, fragmenter: &mut Fragmenter, packet: &[u8]) -> Vec<Vec<u8>> {
    let mut outgoing = fragmenter.split(packet).expect("every link takes 512 bytes");
    let (mut out, mut pieces) = ([0; 300], Vec::new());
    while let Some(piece) = fragmenter.next(&mut outgoing, &mut out).expect("room") {
        pieces.push(piece.to_vec());
        if pieces.len() < 20 && input.u8() & 7 == 7 {
            fragmenter.set_max_packet(20 + u16::from(input.u8())).expect("20 or more");
        }
    }
    pieces
}

fn take(reassembler: &mut Reassembler<LONGEST>, now: Instant, pieces: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut pieces = pieces.to_vec();
    pieces.iter_mut().filter_map(|piece| reassembler.handle(now, piece).map(|whole| whole.to_vec())).collect()
}

fn genuine(input: &mut Input) {
    let mut fragmenter = fragmenter(input);
    let (mut packets, mut pieces) = (Vec::new(), Vec::new());
    // A packet takes 20 numbers at the most (see `cut`), so that none of the 64 comes twice.
    for number in 0..1 + input.below(3) as u8 {
        let len = 1 + usize::from(input.u16()) % LONGEST;
        let mut packet: Vec<u8> = (0..len).map(|at| at as u8 ^ number).collect();
        packet[0] = input.u8();
        pieces.extend(cut(input, &mut fragmenter, &packet));
        packets.push(packet);
    }
    let mut reassembler = Reassembler::<LONGEST>::new();
    assert_eq!(take(&mut reassembler, Instant::ZERO, &pieces), packets, "without faults, all in order");
    reassembler.reset();
    while !input.is_empty() {
        let piece = &pieces[usize::from(input.u16()) % pieces.len()];
        for whole in take(&mut reassembler, Instant::ZERO, std::slice::from_ref(piece)) {
            assert!(packets.contains(&whole));
        }
    }
}

fn raw(input: &mut Input) {
    let mut fragmenter = fragmenter(input);
    let mut reassembler = Reassembler::<LONGEST>::new();
    let mut now = Instant::ZERO;
    while !input.is_empty() {
        now = Instant::from_millis(now.as_millis() + u64::from(input.u8()) * 60);
        let mut piece = input.short().to_vec();
        let fragment = piece.first().is_some_and(|first| first >> 4 == 0);
        let len = piece.len();
        if let Some(whole) = reassembler.handle(now, &mut piece) {
            assert!(!whole.is_empty() && (fragment && whole.len() <= LONGEST || whole.len() == len));
        }
    }
    let packet = [0x80; 500];
    let mut after = |_| {
        let pieces = cut(&mut Input::new(&[]), &mut fragmenter, &packet);
        take(&mut reassembler, now, &pieces) == [packet]
    };
    assert!((0..6).any(&mut after), "forged fragments may be ahead, by five packets at the most");
}

fn delimited(input: &mut Input) {
    let mut decoder = DelimitedDecoder::<LONGEST>::new();
    let (mut read, mut written, mut out) = (Vec::new(), Vec::new(), [0; LONGEST + 2]);
    let mut failed = false;
    while !input.is_empty() {
        let mut part = input.short();
        read.extend_from_slice(part);
        loop {
            match decoder.next(&mut part) {
                Ok(Some(packet)) if !failed => {
                    written.extend_from_slice(write_delimited(packet, &mut out).expect("room"));
                }
                Ok(None) if !failed => break,
                Err(error) => {
                    assert_eq!(error, LinkError::OutOfSync);
                    failed = true;
                    break;
                }
                Ok(_) => panic!("it goes on after an error"),
            }
        }
    }
    assert_eq!(written, read[..written.len()]);
}

fn serial(input: &mut Input) {
    let mut decoder = CobsDecoder::<LONGEST>::new();
    let mut again = CobsDecoder::<LONGEST>::new();
    let mut out = [0; cobs_len(LONGEST)];
    while !input.is_empty() {
        let mut part = input.short();
        while let Some(packet) = decoder.next(&mut part) {
            let mut line: &[u8] = write_cobs(packet, &mut out).expect("room");
            assert_eq!(again.next(&mut line), Some(packet));
            assert_eq!(again.next(&mut line), None);
        }
    }
    let mut line: &[u8] = write_cobs(b"after", &mut out).expect("room");
    let mut last = None;
    while let Some(packet) = decoder.next(&mut line) {
        last = Some(packet.to_vec());
    }
    assert_eq!(last.as_deref(), Some(&b"after"[..]));
}
