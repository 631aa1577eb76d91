//! The link helpers, as C uses them.
#![allow(clippy::undocumented_unsafe_blocks)] // each block hands over memory of this test

use core::ptr::{null, null_mut};
use vitalwire_c::vw_status::*;
use vitalwire_c::*;

#[test]
fn cobs_brings_a_packet_over_a_noisy_line() {
    let packet: Vec<u8> = (0..300).map(|n| (n % 7) as u8).collect();
    let mut line = vec![0; vw_cobs_len(packet.len())];
    let mut decoder = Box::new(vw_cobs { opaque: [0; VW_COBS_WORDS] });
    let (mut len, mut taken, mut whole, mut whole_len) = (0, 0, null_mut(), 0);
    unsafe {
        let short = line.len() - 3;
        let status = vw_cobs_write(packet.as_ptr(), packet.len(), line.as_mut_ptr(), short, &mut len);
        assert_eq!(status, VW_ERROR_BUFFER_TOO_SMALL);
        let status = vw_cobs_write(packet.as_ptr(), packet.len(), line.as_mut_ptr(), line.len(), &mut len);
        assert_eq!(status, VW_OK);
        assert_eq!(vw_cobs_write(null(), 0, line.as_mut_ptr(), line.len(), &mut len), VW_ERROR_EMPTY_PACKET);
        assert_eq!(
            vw_cobs_next(&mut *decoder, null(), 0, &mut taken, &mut whole, &mut whole_len),
            VW_ERROR_NOT_INITIALISED
        );
        assert_eq!(vw_cobs_init(&mut *decoder, 8), VW_ERROR_BAD_LENGTH);
        assert_eq!(vw_cobs_init(&mut *decoder, size_of::<vw_cobs>()), VW_OK);
    }
    let mut noisy = vec![0x55, 0x66];
    noisy.extend_from_slice(&line);
    noisy.extend_from_slice(&line);
    let (mut found, mut rest) = (0, noisy.as_slice());
    loop {
        let status = unsafe {
            vw_cobs_next(&mut *decoder, rest.as_ptr(), rest.len(), &mut taken, &mut whole, &mut whole_len)
        };
        assert_eq!(status, VW_OK);
        rest = &rest[taken..];
        if whole_len == 0 {
            break;
        }
        assert_eq!(unsafe { core::slice::from_raw_parts(whole, whole_len) }, packet);
        found += 1;
    }
    assert_eq!((found, rest.len()), (2, 0));
}

#[test]
fn fragments_become_the_packet_again() {
    let mut packet = [0x80; 200];
    packet[100] = 7;
    let mut fragmenter = Box::new(vw_fragmenter { opaque: [0; VW_FRAGMENTER_WORDS] });
    let mut reassembler = Box::new(vw_reassembler { opaque: [0; VW_REASSEMBLER_WORDS] });
    let (mut len, mut whole, mut whole_len, mut pieces) = (0, null_mut(), 0, 0);
    unsafe {
        let size = size_of::<vw_fragmenter>();
        assert_eq!(vw_fragmenter_init(&mut *fragmenter, size, 19), VW_ERROR_LINK_TOO_SMALL);
        assert_eq!(vw_fragmenter_init(&mut *fragmenter, size, 20), VW_OK);
        assert_eq!(vw_reassembler_init(&mut *reassembler, size_of::<vw_reassembler>()), VW_OK);
        let long = [0x80; 2000];
        assert_eq!(
            vw_fragmenter_split(&mut *fragmenter, long.as_ptr(), long.len()),
            VW_ERROR_PACKET_TOO_LONG
        );
        assert_eq!(vw_fragmenter_split(&mut *fragmenter, packet.as_ptr(), packet.len()), VW_OK);
        loop {
            let mut piece = [0; 20];
            assert_eq!(vw_fragmenter_next(&mut *fragmenter, piece.as_mut_ptr(), 20, &mut len), VW_OK);
            if len == 0 {
                break;
            }
            pieces += 1;
            let status = vw_reassembler_handle(
                &mut *reassembler,
                0,
                piece.as_mut_ptr(),
                len,
                &mut whole,
                &mut whole_len,
            );
            assert_eq!(status, VW_OK);
            if whole_len != 0 {
                assert_eq!(core::slice::from_raw_parts(whole, whole_len), packet);
            }
        }
    }
    assert_eq!((pieces, whole_len), (12, packet.len()));
}
