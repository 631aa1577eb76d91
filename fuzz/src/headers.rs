//! Packet headers: accepted ⇒ writing what was parsed gives the same bytes, and the parsers agree on the kind.
//!
//! Input: length of connection ids ‖ packet.

use crate::input::Input;
use vitalwire::codec::Writer;
use vitalwire::wire::*;

fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = [0u8; 1024];
    let mut writer = Writer::new(&mut out);
    write(&mut writer);
    writer.written().to_vec()
}

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let id_len = input.below(12);
    let packet = input.rest();
    let kinds = [Side::Device, Side::Backend].map(|side| PacketKind::parse(packet, side));
    let is = |kind| kinds.contains(&Ok(kind));
    for kind in kinds.into_iter().flatten() {
        if let Some(first) = kind.first_byte() {
            assert_eq!(packet.first(), Some(&first));
        }
    }
    if let Ok(header) = DataHeader::parse(packet, id_len) {
        assert!(is(PacketKind::Data));
        let mut out = [0u8; DataHeader::MAX_LEN];
        assert_eq!(header.write(&mut out), Ok(header.header_len()));
        assert_eq!(out[..header.header_len()], packet[..header.header_len()]);
        assert_eq!(header.connection_id().len(), id_len);
        let expected = u64::from(header.truncated()).wrapping_mul(0x1_0001);
        let counter = reconstruct(expected, header.truncated(), header.counter_len());
        assert_eq!(counter as u32 & low_mask(header.counter_len()), header.truncated());
    }
    if let Ok(hello) = Hello::parse(packet) {
        assert!(is(PacketKind::Hello));
        let mut header = written(|out| hello.header.write(out).expect("a header fits"));
        header.extend(hello.ticket.into_iter().flatten());
        assert_eq!(header, hello.header_bytes);
        assert_eq!([hello.header_bytes, hello.noise, hello.mac].concat(), packet);
        assert_eq!([hello.covered, hello.mac].concat(), packet);
    }
    if let Ok(reply) = Reply::parse(packet, id_len) {
        assert!(is(PacketKind::Reply));
        assert_eq!(written(|out| reply.write(out).expect("it came from a packet")), packet);
    }
    if let Ok(finish) = Finish::parse(packet, id_len) {
        assert!(is(PacketKind::Finish));
        assert_eq!(written(|out| finish.write(out).expect("it came from a packet")), packet);
    }
    if let Ok(retry) = Retry::parse(packet, id_len) {
        assert!(is(PacketKind::Retry));
        let mut again = written(|out| retry.header.write(out).expect("it came from a packet"));
        assert_eq!(again, retry.covered);
        again.extend_from_slice(retry.mac);
        assert_eq!(again, packet);
    }
    if let Ok(reset) = Reset::parse(packet) {
        assert!(is(PacketKind::Reset));
        assert_eq!(reset.to_bytes()[..], *packet);
    }
    let _ = vitalwire::backend::shard_of(packet);
}

fn low_mask(len: CounterLen) -> u32 {
    (len.reach() * 2 - 1) as u32
}
