use super::packet;
use crate::wire::link::{
    CobsDecoder, DelimitedDecoder, LinkDiscard, LinkError, cobs_len, write_cobs, write_delimited,
};
use proptest::prelude::*;
use proptest::sample::Index;

fn delimited(packet: &[u8]) -> Vec<u8> {
    write_delimited(packet, &mut vec![0; packet.len() + 2]).unwrap().to_vec()
}

fn cobs(packet: &[u8]) -> Vec<u8> {
    write_cobs(packet, &mut vec![0; cobs_len(packet.len())]).unwrap().to_vec()
}

/// The bytes in parts, cut anywhere.
fn parts<'b>(bytes: &'b [u8], cuts: &[Index]) -> Vec<&'b [u8]> {
    let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.sort();
    at.insert(0, 0);
    at.push(bytes.len());
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

fn read_delimited<const N: usize>(
    decoder: &mut DelimitedDecoder<N>,
    parts: &[&[u8]],
) -> Result<Vec<Vec<u8>>, LinkError> {
    let mut packets = Vec::new();
    for mut part in parts.iter().copied() {
        while let Some(packet) = decoder.next(&mut part)? {
            packets.push(packet.to_vec());
        }
        assert!(part.is_empty());
    }
    Ok(packets)
}

fn read_cobs<const N: usize>(decoder: &mut CobsDecoder<N>, parts: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for mut part in parts.iter().copied() {
        while let Some(packet) = decoder.next(&mut part) {
            packets.push(packet.to_vec());
        }
        assert!(part.is_empty());
    }
    packets
}

#[test]
fn closes_a_stream_that_is_out_of_sync() {
    //= SPEC.md#streams-of-bytes
    //= type=test
    //# A receiver MUST close a stream in which a length is 0 or above the longest packet that it accepts.
    for (len, fits) in [(0u16, false), (1, true), (99, true), (100, true), (101, false), (65_535, false)] {
        let mut decoder = DelimitedDecoder::<100>::new();
        let mut part = &len.to_le_bytes()[..];
        assert_eq!(decoder.next(&mut part), if fits { Ok(None) } else { Err(LinkError::OutOfSync) });
        if !fits {
            let good = delimited(&[1]);
            assert_eq!(read_delimited(&mut decoder, &[&good]), Err(LinkError::OutOfSync), "for good");
        }
    }
}

#[test]
fn delimits_packets_of_every_length() {
    assert_eq!(write_delimited(&[], &mut [0; 9]), Err(LinkError::EmptyPacket));
    assert!(write_delimited(&[7; 8], &mut [0; 9]).is_err());
    assert!(write_delimited(&[7; 8], &mut [0; 10]).is_ok());
    let too_long = Err(LinkError::PacketTooLong { longest: 65_535 });
    assert_eq!(write_delimited(&vec![1; 65_536], &mut vec![0; 70_000]), too_long);
    assert_eq!(write_cobs(&vec![1; 65_536], &mut vec![0; 70_000]), too_long);
    let longest = packet(1, 65_535);
    let mut decoder = Box::new(DelimitedDecoder::<65_535>::default());
    assert_eq!(read_delimited(&mut decoder, &[&delimited(&longest)]), Ok(vec![longest]));
    let mut part = &delimited(&[1, 2])[..3];
    assert!(!decoder.is_inside());
    assert_eq!(decoder.next(&mut part), Ok(None));
    assert!(decoder.is_inside());
}

#[test]
fn sends_a_zero_before_and_after_each_packet() {
    //= SPEC.md#serial-lines
    //= type=test
    //# A sender MUST send a zero before and after each packet.
    for byte in [0, 1, 255] {
        for len in 1..=1100 {
            let sent = vec![byte; len];
            let bytes = cobs(&sent);
            assert!(bytes.len() <= cobs_len(len));
            assert_eq!((bytes[0], bytes[bytes.len() - 1]), (0, 0));
            assert!(!bytes[1..bytes.len() - 1].contains(&0));
            assert_eq!(read_cobs(&mut CobsDecoder::<1100>::default(), &[&bytes]), [sent]);
        }
    }
    assert_eq!(write_cobs(&[], &mut [0; 9]), Err(LinkError::EmptyPacket));
    assert!(write_cobs(&[7; 8], &mut [0; 10]).is_err());
    assert!(write_cobs(&[7; 8], &mut [0; 11]).is_ok());
}

#[test]
fn begins_anew_after_every_zero() {
    //= SPEC.md#serial-lines
    //= type=test
    //# A receiver MUST begin with a new packet after every zero.
    let good = cobs(&[5, 6]);
    let garbage: &[&[u8]] = &[&[], &[0, 0, 0], &[9], &[9, 1], &[255; 300], &[0, 9, 0], &[1], &[2; 1000]];
    for garbage in garbage {
        let mut decoder = CobsDecoder::<100>::new();
        let packets = read_cobs(&mut decoder, &[&good, garbage, &good]);
        assert_eq!((&packets[0], packets.last()), (&vec![5, 6], Some(&vec![5, 6])));
    }
    // Half a packet, then the next one.
    let mut decoder = CobsDecoder::<100>::new();
    assert_eq!(read_cobs(&mut decoder, &[&good[..3], &good]), [[5, 6]]);
}

#[test]
fn discards_packets_that_are_empty_too_long_or_cut_off() {
    //= SPEC.md#serial-lines
    //= type=test
    //# A receiver MUST discard a packet that is empty, longer than it accepts, or ends inside a block.
    let cases: &[(&[u8], Option<LinkDiscard>)] = &[
        (&[0, 0, 0, 0], None),
        (&[1, 0], Some(LinkDiscard::TooShort)),
        (&[5, 1, 2, 3, 4, 0], None),
        (&[6, 1, 2, 3, 4, 5, 0], Some(LinkDiscard::TooLong)),
        (&[1, 1, 1, 1, 1, 0], None),
        (&[1, 1, 1, 1, 1, 1, 1, 1, 1, 0], Some(LinkDiscard::TooLong)),
        (&[6, 1, 2, 3, 4, 0], Some(LinkDiscard::Garbled)),
        (&[255, 1, 0], Some(LinkDiscard::Garbled)),
    ];
    for (bytes, discard) in cases {
        let mut decoder = CobsDecoder::<4>::new();
        let packets = read_cobs(&mut decoder, &[bytes]);
        assert_eq!(decoder.discards().total(), u64::from(discard.is_some()), "{bytes:?}");
        if let Some(discard) = discard {
            assert_eq!((packets.len(), decoder.discards().of(*discard)), (0, 1), "{bytes:?}");
        }
        assert_eq!(read_cobs(&mut decoder, &[&[0, 2, 9, 0]]), [[9]]);
    }
    // A block of 254 bytes at the end, with and without the code behind it.
    for end in [&[1, 0][..], &[0]] {
        let bytes = [&[255][..], &[7; 254], end].concat();
        assert_eq!(read_cobs(&mut CobsDecoder::<254>::new(), &[&bytes]), [[7; 254]]);
    }
}

fn packets(least: usize) -> impl Strategy<Value = Vec<Vec<u8>>> {
    let byte = prop_oneof![3 => any::<u8>(), 1 => Just(0)];
    let packet = prop_oneof![
        proptest::collection::vec(byte, 1..600),
        proptest::collection::vec(1u8.., 250..=600), // blocks without a zero
    ];
    proptest::collection::vec(packet, least..8)
}

proptest! {
    #[test]
    fn delimited_packets_arrive_in_any_parts(packets in packets(0), cuts: Vec<Index>) {
        let bytes: Vec<u8> = packets.iter().flat_map(|packet| delimited(packet)).collect();
        let mut decoder = DelimitedDecoder::<600>::new();
        prop_assert_eq!(read_delimited(&mut decoder, &parts(&bytes, &cuts)), Ok(packets));
        prop_assert!(!decoder.is_inside());
    }

    #[test]
    fn a_stream_of_garbage_ends_or_is_cut_into_packets(bytes: Vec<u8>, cuts: Vec<Index>) {
        let mut decoder = DelimitedDecoder::<64>::new();
        if let Ok(packets) = read_delimited(&mut decoder, &parts(&bytes, &cuts)) {
            let again: Vec<u8> = packets.iter().flat_map(|packet| delimited(packet)).collect();
            prop_assert_eq!(&again[..], &bytes[..again.len()]);
        }
    }

    #[test]
    fn serial_packets_arrive_in_any_parts(packets in packets(0), cuts: Vec<Index>) {
        let bytes: Vec<u8> = packets.iter().flat_map(|packet| cobs(packet)).collect();
        let mut decoder = CobsDecoder::<600>::new();
        prop_assert_eq!(read_cobs(&mut decoder, &parts(&bytes, &cuts)), packets);
        prop_assert_eq!(decoder.discards().total(), 0);
    }

    #[test]
    fn a_packet_arrives_after_any_garbage(packets in packets(1), garbage: Vec<Vec<u8>>, cuts: Vec<Index>) {
        let none = Vec::new();
        let garbage = garbage.iter().chain(std::iter::repeat(&none));
        let bytes: Vec<u8> = packets.iter().zip(garbage)
            .flat_map(|(packet, garbage)| [garbage.clone(), cobs(packet)].concat()).collect();
        let arrived = read_cobs(&mut CobsDecoder::<600>::new(), &parts(&bytes, &cuts));
        let mut rest = arrived.iter();
        for packet in &packets {
            prop_assert!(rest.any(|whole| whole == packet)); // in order; forgeries between them
        }
    }

    /// Damage to one packet's bytes, zeros left out, reaches no other packet.
    #[test]
    fn damage_reaches_no_other_packet(packets in packets(3), at: Index, with in 1u8.., lost: bool) {
        let mut frames: Vec<_> = packets.iter().map(|packet| cobs(packet)).collect();
        let middle = &mut frames[1];
        let at = 1 + at.index(middle.len() - 2);
        if lost { middle.truncate(at) } else { middle[at] = with };
        let arrived = read_cobs(&mut CobsDecoder::<600>::new(), &[&frames.concat()]);
        prop_assert_eq!(&arrived[0], &packets[0]);
        prop_assert!(arrived.ends_with(&packets[2..]));
        prop_assert!(arrived.len() <= packets.len());
    }
}
