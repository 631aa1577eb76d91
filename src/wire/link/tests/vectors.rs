use super::packet;
use crate::test_vectors::compare_or_bless;
use crate::time::Instant;
use crate::wire::link::{
    CobsDecoder, DelimitedDecoder, Fragmenter, Reassembler, cobs_len, write_cobs, write_delimited,
};
use serde_json::{Value, json};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hexes(list: &[Vec<u8>]) -> Vec<String> {
    list.iter().map(|bytes| hex(bytes)).collect()
}

fn cut(link: u16, number: u8, packet: &[u8]) -> Vec<Vec<u8>> {
    let mut fragmenter = Fragmenter::new(link).unwrap();
    let mut out = [0; 600];
    for _ in 0..number {
        let mut passed = fragmenter.split([0; 1]).unwrap();
        fragmenter.next(&mut passed, &mut out).unwrap();
    }
    let mut outgoing = fragmenter.split(packet).unwrap();
    let mut pieces = Vec::new();
    while let Some(piece) = fragmenter.next(&mut outgoing, &mut out).unwrap() {
        pieces.push(piece.to_vec());
    }
    pieces
}

fn fragments() -> Vec<Value> {
    let like_a_fragment = vec![0x0f, 0xff];
    let cases = [
        (20, 0, packet(1, 20)),
        (20, 0, packet(2, 21)),
        (20, 37, packet(3, 64)),
        (20, 63, packet(4, 36)),
        (20, 1, packet(5, 576)),
        (50, 2, packet(6, 96)),
        (244, 3, packet(7, 512)),
        (20, 4, like_a_fragment),
    ];
    let cases = cases.map(|(link, number, packet)| {
        let pieces = cut(link, number, &packet);
        json!({ "link": link, "number": number, "packet": hex(&packet), "pieces": hexes(&pieces) })
    });
    cases.to_vec()
}

fn reassembly() -> Vec<Value> {
    let (a, b, c) = (cut(20, 5, &packet(1, 60)), cut(20, 6, &packet(2, 50)), cut(20, 10, &packet(3, 100)));
    let whole = vec![packet(4, 18)];
    let pick = |pieces: &[Vec<u8>], order: &[usize]| -> Vec<Vec<u8>> {
        order.iter().map(|at| pieces[*at].clone()).collect()
    };
    let cases = [
        ("in order", [a.clone(), b.clone()].concat()),
        ("backwards", pick(&a, &[3, 2, 1, 0])),
        ("copies, also of a packet that is whole", pick(&a, &[0, 0, 2, 1, 1, 3, 3, 0])),
        ("a whole packet in between", [&a[..2], &whole, &a[2..]].concat()),
        ("one lost, the next packet arrives", [&a[..3], &b].concat()),
        ("late fragments of the packet before", [&a[..2], &b[..1], &a[2..], &b[1..]].concat()),
        ("late fragments of the fifth packet before displace the newest", [&c[..2], &a, &c[2..]].concat()),
        ("longer than the buffer", [cut(20, 7, &packet(5, 101)), b.clone()].concat()),
        ("as long as the buffer, backwards", pick(&c, &[5, 4, 3, 2, 1, 0])),
        ("a last fragment that is too long, and one too many", {
            let bad = [&[0x01, 0x61][..], &[9; 19]].concat();
            let behind = [&[0x01, 0x44][..], &[9; 18]].concat();
            [&a[..1], &[bad], &a[3..], &[behind], &a[1..3]].concat()
        }),
        ("headers alone", vec![vec![], vec![0x01], vec![0x01, 0x40]]),
    ];
    let cases = cases.map(|(name, pieces)| {
        let mut reassembler = Reassembler::<100>::new();
        let mut packets = Vec::new();
        for mut piece in pieces.clone() {
            packets.extend(reassembler.handle(Instant::ZERO, &mut piece).map(|whole| whole.to_vec()));
        }
        json!({ "name": name, "longest": 100, "pieces": hexes(&pieces), "packets": hexes(&packets) })
    });
    cases.to_vec()
}

fn stream() -> Value {
    let packets = [packet(1, 1), packet(2, 300), packet(3, 18)];
    let mut bytes = Vec::new();
    for packet in &packets {
        bytes.extend_from_slice(write_delimited(packet, &mut [0; 400]).unwrap());
    }
    let (mut decoder, mut rest, mut found) = (DelimitedDecoder::<300>::new(), &bytes[..], Vec::new());
    while let Some(packet) = decoder.next(&mut rest).unwrap() {
        found.push(packet.to_vec());
    }
    assert_eq!(found, packets);
    json!({ "packets": hexes(&packets), "bytes": hex(&bytes) })
}

fn serial() -> Vec<Value> {
    let full: Vec<u8> = (1..=255).collect();
    let cases = [
        vec![0],
        vec![0, 0],
        vec![1],
        vec![0x80, 0, 7, 0],
        packet(1, 64),
        full[..253].to_vec(),
        full[..254].to_vec(),
        full.clone(),
        [&full[..254], &[0]].concat(),
        [&full[..254], &[0, 1]].concat(),
        packet(2, 512),
    ];
    let cases = cases.map(|packet| {
        let mut out = vec![0; cobs_len(packet.len())];
        json!({ "packet": hex(&packet), "bytes": hex(write_cobs(&packet, &mut out).unwrap()) })
    });
    cases.to_vec()
}

fn line() -> Vec<Value> {
    let good = |bytes: &[u8]| write_cobs(bytes, &mut [0; 300]).unwrap().to_vec();
    let cases = [
        ("no packet", vec![0, 0, 0]),
        ("two packets with one zero between them", vec![0, 2, 7, 0, 3, 8, 9, 0]),
        ("a greeting", [b"Loader 1.0\r\n".to_vec(), good(&[7])].concat()),
        ("half a packet", [&good(&[1, 2, 3])[..3], &good(&[7])].concat()),
        ("empty", [&[0, 1][..], &good(&[7])].concat()),
        ("longer than accepted", [good(&[9; 101]), good(&[8; 100])].concat()),
        ("254 bytes and the code behind them", [&[0, 255][..], &[5; 254], &[1, 0]].concat()),
    ];
    let cases = cases.map(|(name, bytes)| {
        let longest = if name.starts_with("254") { 254 } else { 100 };
        let (mut short, mut long) = (CobsDecoder::<100>::new(), CobsDecoder::<254>::new());
        let (mut rest, mut packets) = (&bytes[..], Vec::new());
        let mut next = |rest: &mut _| match longest {
            100 => short.next(rest).map(|packet| packet.to_vec()),
            _ => long.next(rest).map(|packet| packet.to_vec()),
        };
        while let Some(packet) = next(&mut rest) {
            packets.push(packet);
        }
        json!({ "name": name, "longest": longest, "bytes": hex(&bytes), "packets": hexes(&packets) })
    });
    cases.to_vec()
}

#[test]
fn vectors_of_links() {
    let all = json!({
        "fragments": fragments(), "reassembly": reassembly(), "stream": stream(), "serial": serial(), "line": line(),
    });
    compare_or_bless("links.json", &all);
}
