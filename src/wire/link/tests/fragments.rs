use super::packet;
use crate::codec::BufferTooSmall;
use crate::limits::{FRAGMENT_LIFE, MAX_HELLO, MIN_LINK_PACKET};
use crate::time::{Duration, Instant};
use crate::wire::link::fragment::FragmentHeader;
use crate::wire::link::{Fragmenter, LinkDiscard, LinkError, Reassembler};
use proptest::prelude::*;

const T0: Instant = Instant::from_millis(1000);

/// All pieces of a packet.
fn cut(fragmenter: &mut Fragmenter, packet: &[u8]) -> Vec<Vec<u8>> {
    let mut outgoing = fragmenter.split(packet).unwrap();
    let mut buffer = [0; 600];
    std::iter::from_fn(|| fragmenter.next(&mut outgoing, &mut buffer).unwrap().map(|piece| piece.to_vec()))
        .collect()
}

fn take<const N: usize>(reassembler: &mut Reassembler<N>, now: Instant, pieces: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut pieces = pieces.to_vec();
    let whole = |piece: &mut Vec<u8>| reassembler.handle(now, piece).map(|whole| whole.to_vec());
    pieces.iter_mut().filter_map(whole).collect()
}

fn header(id: u8, last: bool, index: u8) -> [u8; 2] {
    FragmentHeader { id, last, index }.to_bytes()
}

fn piece(id: u8, last: bool, index: u8, len: usize) -> Vec<u8> {
    [&header(id, last, index)[..], &packet(index, len)].concat()
}

#[test]
fn headers_of_all_bits_round_trip() {
    for bits in 0..1u16 << 12 {
        let bytes = bits.to_be_bytes();
        assert!(FragmentHeader::begins(bytes[0]));
        assert_eq!(FragmentHeader::of_bytes(bytes).to_bytes(), bytes);
    }
    assert_eq!(header(0b10_1101, true, 3), [0b1011, 0b0110_0011]);
    assert!((0x10..=0xff).all(|first| !FragmentHeader::begins(first)));
}

#[test]
fn every_handshake_length_crosses_every_link() {
    for link in 20..=247 {
        let mut fragmenter = Fragmenter::new(link).unwrap();
        let mut reassembler = Reassembler::<MAX_HELLO>::new();
        for len in (1..=MAX_HELLO).step_by(if link < 30 { 1 } else { 37 }).chain([MAX_HELLO]) {
            let sent = packet(link as u8, len);
            let pieces = cut(&mut fragmenter, &sent);
            assert!(pieces.iter().all(|piece| piece.len() <= link.into()));
            let whole = len <= link.into();
            let expected = if whole { 1 } else { len.div_ceil(usize::from(link) - 2) };
            assert_eq!(pieces.len(), expected);
            let bytes: usize = pieces.iter().map(Vec::len).sum();
            assert_eq!(bytes, if whole { len } else { len + 2 * pieces.len() });
            assert_eq!(take(&mut reassembler, T0, &pieces), [sent]);
        }
        assert_eq!(reassembler.discards().total(), 0);
    }
}

#[test]
fn limits_are_minus_one_exact_and_plus_one() {
    assert_eq!(Fragmenter::new(MIN_LINK_PACKET as u16 - 1).unwrap_err(), LinkError::LinkTooSmall);
    assert!(Fragmenter::new(MIN_LINK_PACKET as u16 + 1).is_ok());
    let mut fragmenter = Fragmenter::new(20).unwrap();
    assert_eq!(fragmenter.set_max_packet(19), Err(LinkError::LinkTooSmall));
    assert_eq!(fragmenter.longest(), 576);
    assert_eq!(fragmenter.split(&[][..]).err(), Some(LinkError::EmptyPacket));
    assert_eq!(cut(&mut fragmenter, &packet(1, 575)).len(), 32);
    let pieces = cut(&mut fragmenter, &packet(1, 576));
    assert_eq!(pieces.len(), 32);
    let too_long = Some(LinkError::PacketTooLong { longest: 576 });
    assert_eq!(fragmenter.split(packet(1, 577)).err(), too_long);
    assert_eq!(take(&mut Reassembler::<577>::new(), T0, &pieces), [packet(1, 576)]);
    assert_eq!(take(&mut Reassembler::<576>::new(), T0, &pieces), [packet(1, 576)]);
    let mut small = Reassembler::<575>::new();
    assert!(take(&mut small, T0, &pieces).is_empty());
    assert_eq!(small.discards().of(LinkDiscard::TooLong), 1);
}

#[test]
fn small_buffer_changes_nothing() {
    let mut fragmenter = Fragmenter::new(20).unwrap();
    let sent = packet(1, 30);
    let mut outgoing = fragmenter.split(&sent).unwrap();
    let mut out = [0; 20];
    let needed = LinkError::BufferTooSmall(BufferTooSmall { needed: 20 });
    assert_eq!(fragmenter.next(&mut outgoing, &mut out[..19]), Err(needed));
    assert_eq!(fragmenter.next(&mut outgoing, &mut out).unwrap().unwrap()[..2], header(0, false, 0));
    let needed = LinkError::BufferTooSmall(BufferTooSmall { needed: 14 });
    assert_eq!(fragmenter.next(&mut outgoing, &mut out[..13]), Err(needed));
    assert_eq!(fragmenter.next(&mut outgoing, &mut out[..14]).unwrap().unwrap()[..2], header(0, true, 1));
    assert_eq!(fragmenter.next(&mut outgoing, &mut []), Ok(None));
    assert_eq!(outgoing.into_packet(), &sent);
    let mut whole = fragmenter.split([0x80; 20]).unwrap();
    assert!(fragmenter.next(&mut whole, &mut out[..19]).is_err());
    assert_eq!(fragmenter.next(&mut whole, &mut out).unwrap().unwrap(), [0x80; 20]);
}

#[test]
fn numbers_packets_that_it_cuts() {
    //= SPEC.md#fragments
    //= type=test
    //# A sender MUST number the packets that it cuts one after the other.
    let mut fragmenter = Fragmenter::new(20).unwrap();
    for number in (0..64).chain([0]) {
        for (index, piece) in cut(&mut fragmenter, &packet(1, 40)).iter().enumerate() {
            assert_eq!(piece[..2], header(number, index == 2, index as u8));
        }
        assert_eq!(cut(&mut fragmenter, &packet(1, 20)), [packet(1, 20)]);
    }
}

#[test]
fn bytes_that_look_like_a_fragment_travel_as_one() {
    let mut fragmenter = Fragmenter::new(20).unwrap();
    for first in [0x00, 0x0f] {
        let pieces = cut(&mut fragmenter, &[first, 7]);
        assert_eq!(pieces[0].len(), 4);
        assert_eq!(take(&mut Reassembler::<64>::new(), T0, &pieces), [[first, 7]]);
    }
}

#[test]
fn begins_anew_after_a_later_packet() {
    //= SPEC.md#fragments
    //= type=test
    //# A sender MUST NOT go on with a packet after it has sent a fragment of a later one.
    let mut fragmenter = Fragmenter::new(20).unwrap();
    let mut reassembler = Reassembler::<512>::new();
    let (slow, alarm) = (packet(1, 50), packet(2, 60));
    let mut out = [0; 20];
    let mut outgoing = fragmenter.split(&slow).unwrap();
    let first = fragmenter.next(&mut outgoing, &mut out).unwrap().unwrap().to_vec();
    assert!(take(&mut reassembler, T0, &[first]).is_empty());
    assert_eq!(take(&mut reassembler, T0, &cut(&mut fragmenter, &alarm)), [alarm]);
    let mut pieces = Vec::new();
    while let Some(piece) = fragmenter.next(&mut outgoing, &mut out).unwrap() {
        pieces.push(piece.to_vec());
    }
    assert_eq!(pieces[0][..2], header(2, false, 0));
    assert_eq!(take(&mut reassembler, T0, &pieces), [slow]);
}

#[test]
fn begins_anew_if_the_link_shrinks_in_the_middle() {
    //= SPEC.md#fragments
    //= type=test
    //# A sender MUST begin a packet anew, with a new number, if the link does not carry its fragments any more.
    for before in 0..5 {
        let mut fragmenter = Fragmenter::new(50).unwrap();
        let mut reassembler = Reassembler::<512>::new();
        let sent = packet(1, 200);
        let mut outgoing = fragmenter.split(&sent).unwrap();
        let (mut out, mut pieces) = ([0; 100], Vec::new());
        for _ in 0..before {
            pieces.push(fragmenter.next(&mut outgoing, &mut out).unwrap().unwrap().to_vec());
        }
        let after = if before == 2 { 100 } else { 20 }; // a larger link changes nothing
        fragmenter.set_max_packet(after).unwrap();
        let middle = pieces.len();
        while let Some(piece) = fragmenter.next(&mut outgoing, &mut out).unwrap() {
            assert!(piece.len() <= after.into());
            pieces.push(piece.to_vec());
        }
        let expected = match before {
            2 | 5 => 5,
            _ => middle + 200usize.div_ceil(18),
        };
        assert_eq!(pieces.len(), expected);
        assert_eq!(take(&mut reassembler, T0, &pieces), [sent]);
    }
}

#[test]
fn a_packet_too_long_for_the_shrunken_link_is_an_error() {
    let mut fragmenter = Fragmenter::new(100).unwrap();
    let mut outgoing = fragmenter.split(packet(1, 577)).unwrap();
    let mut out = [0; 100];
    fragmenter.next(&mut outgoing, &mut out).unwrap();
    fragmenter.set_max_packet(20).unwrap();
    let too_long = LinkError::PacketTooLong { longest: 576 };
    assert_eq!(fragmenter.next(&mut outgoing, &mut out), Err(too_long));
}

#[test]
fn hands_on_unread_what_is_no_fragment() {
    //= SPEC.md#fragments
    //= type=test
    //# A receiver MUST hand on unread what does not begin like a fragment.
    let mut reassembler = Reassembler::<40>::new();
    assert!(take(&mut reassembler, T0, &[piece(1, false, 0, 18)]).is_empty());
    for first in 0x10..=0xff {
        let mut bytes = vec![first; 1 + usize::from(first)]; // longer than the buffer, too
        assert_eq!(reassembler.handle(T0, &mut bytes), Some(&mut vec![first; 1 + usize::from(first)][..]));
    }
    assert_eq!(take(&mut reassembler, T0, &[piece(1, true, 1, 3)]).len(), 1, "half a packet stays");
    assert_eq!(reassembler.discards().total(), 0);
}

#[test]
fn discards_fragments_that_do_not_fit() {
    //= SPEC.md#fragments
    //= type=test
    //# A receiver MUST discard a fragment that does not fit the ones before it, or its buffer.
    use LinkDiscard::*;
    type Piece = (bool, u8, usize); // whether it is the last one, its number, its length
    let cases: &[(&[Piece], LinkDiscard)] = &[
        (&[(false, 0, 18), (false, 0, 18)], Repeated),
        (&[(true, 2, 5), (true, 2, 5)], Repeated),
        (&[(false, 0, 18), (true, 0, 18)], Repeated),
        (&[(true, 0, 18), (true, 0, 18)], Repeated), // of a whole packet
        (&[(true, 0, 18), (false, 1, 18)], Repeated),
        (&[(false, 0, 18), (false, 1, 17)], Mismatched),
        (&[(false, 0, 18), (false, 1, 19)], Mismatched),
        (&[(false, 0, 18), (true, 1, 19)], Mismatched),
        (&[(true, 1, 19), (false, 0, 18)], Mismatched),
        (&[(true, 2, 5), (true, 3, 5)], Mismatched),
        (&[(true, 2, 5), (true, 1, 5)], Mismatched),
        (&[(true, 2, 5), (false, 3, 18)], Mismatched),
        (&[(false, 3, 18), (true, 2, 5)], Mismatched),
        (&[(true, 0, 101)], TooLong),
        (&[(false, 0, 101)], TooLong),
        (&[(false, 1, 51)], TooLong),
        (&[(false, 31, 18)], TooLong),
        (&[(false, 0, 33), (true, 3, 2)], TooLong),
        (&[(true, 3, 2), (false, 0, 33)], TooLong),
        (&[(true, 0, 0)], TooShort),
        (&[(false, 0, 0)], TooShort),
    ];
    for (pieces, reason) in cases {
        let mut reassembler = Reassembler::<100>::new();
        let pieces: Vec<_> = pieces.iter().map(|(last, index, len)| piece(9, *last, *index, *len)).collect();
        take(&mut reassembler, T0, &pieces);
        assert_eq!(reassembler.discards().of(*reason), 1, "{pieces:?}");
        assert_eq!(reassembler.discards().total(), 1, "{pieces:?}");
    }
    let mut reassembler = Reassembler::<100>::new();
    assert_eq!(reassembler.handle(T0, &mut [3]), None);
    assert_eq!(reassembler.discards().of(TooShort), 1);
    // At the buffer's end exactly.
    let whole = [(false, 0, 33), (true, 3, 1), (false, 2, 33), (false, 1, 33)];
    let whole = whole.map(|(last, index, len)| piece(9, last, index, len));
    assert_eq!(take(&mut reassembler, T0, &whole)[0].len(), 100);
}

#[test]
fn a_discarded_fragment_changes_nothing() {
    let mut reassembler = Reassembler::<100>::new();
    let sent = packet(5, 60);
    let pieces = cut(&mut Fragmenter::new(20).unwrap(), &sent);
    take(&mut reassembler, T0, &pieces[..2]);
    // Of this packet, of a newer one and of an older one.
    let bad = [piece(0, false, 0, 18), piece(0, false, 3, 17), piece(1, true, 0, 101), piece(63, true, 0, 4)];
    assert!(take(&mut reassembler, T0, &bad).is_empty());
    assert_eq!(reassembler.discards().total(), 4);
    assert_eq!(take(&mut reassembler, T0, &pieces[2..]), [sent]);
}

#[test]
fn discards_fragments_of_packets_just_before() {
    //= SPEC.md#fragments
    //= type=test
    //# A receiver MUST discard a fragment of one of the 4 packets before the newest one.
    for (behind, stale) in [(0u8, false), (1, true), (4, true), (5, false), (63, false)] {
        for newest in [2u8, 40] {
            let mut reassembler = Reassembler::<100>::new();
            take(&mut reassembler, T0, &[piece(newest, false, 0, 18)]);
            let late = piece(newest.wrapping_sub(behind) % 64, true, 1, 9);
            take(&mut reassembler, T0, &[late]);
            let discards = *reassembler.discards();
            assert_eq!(discards.of(LinkDiscard::Stale), u32::from(stale), "{behind}");
            assert_eq!(discards.of(LinkDiscard::Displaced), u32::from(!stale && behind != 0), "{behind}");
        }
    }
}

#[test]
fn a_newer_packet_displaces_half_a_packet() {
    //= SPEC.md#fragments
    //= type=test
    //# A receiver MUST drop a half packet when it accepts a fragment of a newer one.
    let mut fragmenter = Fragmenter::new(20).unwrap();
    let (lost, sent) = (packet(1, 60), packet(2, 60));
    let (first, second) = (cut(&mut fragmenter, &lost), cut(&mut fragmenter, &sent));
    let mut reassembler = Reassembler::<100>::new();
    let pieces = [&first[..3], &second[..1], &first[3..], &second[1..]].concat();
    assert_eq!(take(&mut reassembler, T0, &pieces), [sent]);
    assert_eq!(reassembler.discards().of(LinkDiscard::Displaced), 1);
    assert_eq!(reassembler.discards().of(LinkDiscard::Stale), 1);
    assert_eq!(reassembler.discards().total(), 2);
}

#[test]
fn half_a_packet_lives_for_ten_seconds_after_its_latest_fragment() {
    //= SPEC.md#fragments
    //= type=test
    //# A receiver MUST drop a half packet of which no fragment was accepted for 10 s, or as long as its link needs.
    let sent = packet(1, 50);
    let pieces = cut(&mut Fragmenter::new(20).unwrap(), &sent);
    let slow = Duration::from_secs(300);
    for (life, mut reassembler) in
        [(FRAGMENT_LIFE, Reassembler::<100>::default()), (slow, Reassembler::with_life(slow))]
    {
        for (wait, arrives) in [(life.as_millis() - 1, true), (life.as_millis(), false)] {
            reassembler.reset();
            let wait = Duration::from_millis(wait);
            assert!(take(&mut reassembler, T0, &pieces[..1]).is_empty());
            assert!(take(&mut reassembler, T0, &pieces[..1]).is_empty()); // a copy prolongs nothing
            assert!(take(&mut reassembler, T0 + wait, &pieces[1..2]).is_empty());
            assert_eq!(take(&mut reassembler, T0 + wait + wait, &pieces[2..]).len(), usize::from(arrives));
        }
        assert_eq!(reassembler.discards().of(LinkDiscard::TimedOut), 2, "after each wait");
    }
}

#[test]
fn a_reset_or_time_forgets_which_packets_came() {
    let pieces = cut(&mut Fragmenter::new(20).unwrap(), &packet(1, 50)); // a reboot, number 0 again
    let mut reassembler = Reassembler::<100>::new();
    assert_eq!(take(&mut reassembler, T0, &pieces).len(), 1);
    assert_eq!(take(&mut reassembler, T0, &pieces).len(), 0);
    reassembler.reset();
    assert_eq!(take(&mut reassembler, T0, &pieces).len(), 1);
    assert_eq!(take(&mut reassembler, T0 + FRAGMENT_LIFE, &pieces).len(), 1);
    // A clock that steps back is harmless.
    assert_eq!(take(&mut reassembler, T0, &pieces).len(), 0);
    assert_eq!(reassembler.discards().of(LinkDiscard::TimedOut), 0);
}

#[test]
fn a_reboot_costs_five_packets_at_the_most() {
    for newest in 0..64 {
        let mut reassembler = Reassembler::<100>::new();
        take(&mut reassembler, T0, &[piece(newest, true, 0, 9)]);
        let mut fragmenter = Fragmenter::new(20).unwrap();
        let lost =
            (0..20).filter(|_| take(&mut reassembler, T0, &cut(&mut fragmenter, &packet(1, 30))).is_empty());
        assert!(lost.count() <= 5);
    }
}

fn packets() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let first = prop_oneof![Just(0x80u8), Just(0x11), Just(0x13), any::<u8>()];
    let packet = (first, proptest::collection::vec(any::<u8>(), 0..=511));
    proptest::collection::vec(packet.prop_map(|(first, rest)| [&[first], &rest[..]].concat()), 1..12)
}

proptest! {
    #[test]
    fn without_faults_all_packets_arrive_in_order(packets in packets(), links in proptest::collection::vec(20u16..=247, 40)) {
        let mut fragmenter = Fragmenter::new(links[0]).unwrap();
        let mut reassembler = Reassembler::<512>::new();
        let (mut turn, mut arrived) = (0, Vec::new());
        for packet in &packets {
            let mut outgoing = fragmenter.split(packet).unwrap();
            let mut out = [0; 247];
            while let Some(piece) = fragmenter.next(&mut outgoing, &mut out).unwrap() {
                arrived.extend(reassembler.handle(T0, piece).map(|whole| whole.to_vec()));
                turn += 1;
                // The link's size changes every few pieces.
                if turn % 5 == 0 && turn / 5 < links.len() {
                    fragmenter.set_max_packet(links[turn / 5]).unwrap();
                }
            }
        }
        prop_assert_eq!(&arrived, &packets);
    }

    #[test]
    fn any_order_within_a_packet_will_do(len in 1usize..=512, link in 20u16..=247, keys in proptest::collection::vec(any::<(u32, bool)>(), 32)) {
        let sent = packet(3, len);
        let pieces = cut(&mut Fragmenter::new(link).unwrap(), &sent);
        // In any order, some of them twice.
        let twice = pieces.iter().zip(&keys).flat_map(|(piece, (key, twice))| {
            [Some((key, piece)), (*twice && pieces.len() > 1).then_some((key, piece))].into_iter().flatten()
        });
        let mut twice: Vec<_> = twice.collect();
        twice.sort();
        let shuffled: Vec<_> = twice.into_iter().map(|(_, piece)| piece.clone()).collect();
        prop_assert_eq!(take(&mut Reassembler::<512>::new(), T0, &shuffled), [sent]);
    }

    /// What comes out went in, whole, whatever is lost, repeated and reordered; and then the next packet arrives.
    #[test]
    fn what_comes_out_went_in(packets in packets(), link in 20u16..=60, order in proptest::collection::vec(any::<proptest::sample::Index>(), 0..400), near in 1usize..40) {
        let mut fragmenter = Fragmenter::new(link).unwrap();
        let pieces: Vec<_> = packets.iter().flat_map(|packet| cut(&mut fragmenter, packet)).collect();
        let mut reassembler = Reassembler::<512>::new();
        for (step, index) in order.iter().enumerate() {
            // Mostly forward, from a window of so many pieces.
            let window = &pieces[step.min(pieces.len() - 1)..pieces.len().min(step + near).max(1)];
            let piece = if window.is_empty() { index.get(&pieces) } else { index.get(window) };
            for whole in take(&mut reassembler, T0, std::slice::from_ref(piece)) {
                prop_assert!(packets.contains(&whole));
            }
        }
        let next = packet(9, 512);
        prop_assert_eq!(take(&mut reassembler, T0, &cut(&mut fragmenter, &next)), [next]);
    }

    #[test]
    fn garbage_never_panics_and_costs_at_most_one_buffer(pieces in proptest::collection::vec((0u64..20_000, proptest::collection::vec(any::<u8>(), 0..80)), 0..200)) {
        let mut reassembler = Reassembler::<128>::new();
        for (at, mut piece) in pieces {
            let fragment = piece.first().is_some_and(|first| first >> 4 == 0);
            if let Some(whole) = reassembler.handle(Instant::from_millis(at), &mut piece) {
                prop_assert!(!whole.is_empty() && (!fragment || whole.len() <= 128));
            }
        }
        // Forged fragments may be ahead of the genuine ones: five packets at the most are lost.
        let mut fragmenter = Fragmenter::new(20).unwrap();
        let arrived = (0..6).filter(|_| !take(&mut reassembler, Instant::from_millis(20_000), &cut(&mut fragmenter, &packet(1, 100))).is_empty());
        prop_assert!(arrived.count() >= 1);
    }
}
