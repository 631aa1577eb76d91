//! Packets altered on their way: every bit, every length, trailing bytes.

use super::*;
use crate::limits::MAX_FAILED_READS;

/// Every packet that differs from this one in a bit or is cut somewhere or goes on for a byte.
fn alterations(packet: &[u8]) -> Vec<Vec<u8>> {
    let flips = (0..packet.len() * 8).map(|bit| {
        let mut altered = packet.to_vec();
        altered[bit / 8] ^= 1 << (bit % 8);
        altered
    });
    let cuts = (0..packet.len()).map(|len| packet[..len].to_vec());
    let more = (0..=255).step_by(51).map(|byte| [packet, &[byte]].concat());
    flips.chain(cuts).chain(more).collect()
}

#[test]
fn altered_hello_is_not_answered() {
    //= SPEC.md#hello
    //= type=test
    //# A backend MUST NOT answer a Hello whose MAC does not verify.
    let world = World::new();
    for case in Case::all() {
        let hello = Exchange::of(&world, &case.initiator(&world), case.psk()).hello;
        for altered in alterations(&hello) {
            let error = world.responder.check_hello(&altered).unwrap_err();
            assert!(matches!(error, HandshakeError::HelloMac | HandshakeError::Malformed), "{error}");
        }
    }
}

#[test]
fn altered_hello_with_a_new_mac_leads_to_no_session() {
    // Whoever knows the anchor, which is no secret, can make the MAC again.
    let world = World::new();
    for case in Case::all() {
        let initiator = case.initiator(&world);
        let Exchange { mut waiting, hello, .. } = Exchange::of(&world, &initiator, case.psk());
        let covered = &hello[..hello.len() - 16];
        let anchor = if case.is_ik() { BACKEND_KEY.0 } else { world.authority.public_key().0 };
        let key = by_hand::hello_key(&anchor);
        let mut answered = 0;
        for altered in alterations(covered) {
            let altered = by_hand::with_mac(&key, &altered);
            let Ok((_, reply)) = answer(&world.responder, &altered, case.psk()) else { continue };
            answered += 1;
            // A Reply that matched the altered Hello does not match the true one.
            match waiting.read_reply(&initiator, TIME, &reply) {
                Ok(_) => panic!("an altered Hello led to a session"),
                Err(ReplyFailure::Pending(state, _)) => waiting = state,
                Err(ReplyFailure::Dead(_)) => waiting = Exchange::of(&world, &initiator, case.psk()).waiting,
            }
        }
        // In XX and XXpsk3 the first message carries no proof, in IK and IKpsk2 everything in it is authenticated.
        assert_eq!(answered == 0, case != Case::Xx, "{case:?}: {answered}");
    }
}

#[test]
fn altered_reply_leaves_the_handshake_pending_and_the_genuine_one_completes_it() {
    //= SPEC.md#handshake-errors
    //= type=test
    //# Nothing from a Noise message MUST be used before the whole message has been read successfully.
    let world = World::new();
    for case in Case::all() {
        let initiator = case.initiator(&world);
        let len = Exchange::of(&world, &initiator, case.psk()).reply.len();
        let count = alterations(&vec![0; len]).len();
        for start in (0..count).step_by(usize::from(MAX_FAILED_READS)) {
            let Exchange { mut waiting, reply, written, .. } = Exchange::of(&world, &initiator, case.psk());
            for altered in alterations(&reply).iter().skip(start).take(usize::from(MAX_FAILED_READS)) {
                let Err(ReplyFailure::Pending(state, error)) = waiting.read_reply(&initiator, TIME, altered)
                else {
                    panic!("{case:?}: an altered Reply is a failed read")
                };
                assert!(matches!(error, HandshakeError::Noise | HandshakeError::Malformed), "{error}");
                waiting = state;
            }
            let (device, backend, _) = complete(&world, &initiator, waiting, &reply, written).unwrap();
            assert_agree(&device, &backend);
        }
    }
}

/// A handshake whose Finish is on its way: the backend's state, and the Noise message of the Finish.
fn finished(world: &World, case: Case) -> (AwaitingFinish, Vec<u8>) {
    let initiator = case.initiator(world);
    let Exchange { waiting, reply, written, .. } = Exchange::of(world, &initiator, case.psk());
    let (Ok(ReplyOutcome::Finish(finish)), ReplyWritten::AwaitingFinish(awaiting)) =
        (waiting.read_reply(&initiator, TIME, &reply), written)
    else {
        panic!("XX has a Finish")
    };
    let mut packet = [0u8; MAX_HELLO];
    let (_, len) = finish.write_finish(&world.device, &mut packet).unwrap();
    (awaiting, Finish::parse(&packet[..len], BACKEND_ID.len()).unwrap().noise.to_vec())
}

#[test]
fn altered_finish_leaves_the_handshake_pending() {
    //= SPEC.md#handshake-errors
    //= type=test
    //# Nothing from a Noise message MUST be used before the whole message has been read successfully.
    let world = World::new();
    let registered = world.device.identity();
    for case in [Case::Xx, Case::XxPsk3] {
        let (_, finish) = finished(&world, case);
        for index in 0..alterations(&finish).len() {
            let (awaiting, finish) = finished(&world, case);
            let altered = &alterations(&finish)[index];
            let Err(FinishFailure::Pending(awaiting, error)) =
                awaiting.read_finish(&world.responder, registered, TIME, altered)
            else {
                panic!("{case:?}: an altered Finish is a failed read")
            };
            assert_eq!(error, HandshakeError::Noise);
            // The static key stands in the first 48 bytes; as long as it does not decrypt, nothing is lost.
            let kept = altered.len() < 48 || altered[..48] != finish[..48];
            let result = awaiting.read_finish(&world.responder, registered, TIME, &finish);
            match result {
                Ok(established) => assert!(kept && Some(established.peer.identity()) == registered),
                Err(FinishFailure::Pending(_, error)) => {
                    assert_eq!((kept, error), (false, HandshakeError::Noise), "a new Hello is needed");
                }
                Err(FinishFailure::Dead(_)) => panic!("the state stays until its timer"),
            }
        }
    }
}

#[test]
fn sixteen_failed_reads_are_survived_and_the_next_one_kills() {
    //= SPEC.md#handshake-errors
    //= type=test
    //# A failed read of a Reply or Finish MUST leave the handshake pending, at most 16 times.
    assert_eq!(MAX_FAILED_READS, 16);
    let world = World::new();
    for case in Case::all() {
        for failures in [15, 16, 17] {
            let initiator = case.initiator(&world);
            let Exchange { mut waiting, reply, written, .. } = Exchange::of(&world, &initiator, case.psk());
            let mut forged = reply.clone();
            *forged.last_mut().unwrap() ^= 1;
            // What another connection's Reply or no Reply at all looks like costs nothing and does not count.
            let mut elsewhere = reply.clone();
            elsewhere[1] ^= 1;
            for number in 1..=failures {
                for unrelated in [&elsewhere[..], &[], &[0x12], &[0x13; 64], &[0x12; 289]] {
                    let Err(ReplyFailure::Pending(state, HandshakeError::Malformed)) =
                        waiting.read_reply(&initiator, TIME, unrelated)
                    else {
                        panic!("it is none of this handshake's business")
                    };
                    waiting = state;
                }
                match waiting.read_reply(&initiator, TIME, &forged) {
                    Err(ReplyFailure::Pending(state, _)) if number <= 16 => waiting = state,
                    Err(ReplyFailure::Dead(HandshakeError::Noise)) if number == 17 => {
                        // Only a new attempt goes on from here.
                        waiting = Exchange::of(&world, &initiator, case.psk()).waiting;
                    }
                    _ => panic!("{case:?}: failure {number}"),
                }
            }
            let completed = complete(&world, &initiator, waiting, &reply, written).is_ok();
            assert_eq!(completed, failures <= 16);
        }
    }
    for case in [Case::Xx, Case::XxPsk3] {
        for failures in [15, 16, 17] {
            let (mut awaiting, finish) = finished(&world, case);
            let mut forged = finish.clone();
            forged[0] ^= 1;
            let too_long = vec![0; MAX_HELLO + 1];
            let mut alive = true;
            for number in 1..=failures {
                let packet = if number % 2 == 0 { &forged } else { &too_long };
                match awaiting.read_finish(&world.responder, world.device.identity(), TIME, packet) {
                    Err(FinishFailure::Pending(state, _)) if number <= 16 => awaiting = state,
                    Err(FinishFailure::Dead(_)) if number == 17 => {
                        alive = false;
                        break;
                    }
                    _ => panic!("{case:?}: failure {number}"),
                }
                if number == failures {
                    let registered = world.device.identity();
                    assert!(awaiting.read_finish(&world.responder, registered, TIME, &finish).is_ok());
                    break;
                }
            }
            assert_eq!(alive, failures <= 16);
        }
    }
}

#[test]
fn packets_of_another_handshake_are_failed_reads() {
    let world = World::new();
    for case in Case::all() {
        let initiator = case.initiator(&world);
        let other = Exchange::of(&world, &initiator, case.psk());
        let Exchange { waiting, reply, written, .. } = Exchange::of(&world, &initiator, case.psk());
        let Err(ReplyFailure::Pending(waiting, HandshakeError::Noise)) =
            waiting.read_reply(&initiator, TIME, &other.reply)
        else {
            panic!("a Reply to another Hello is a failed read")
        };
        assert!(complete(&world, &initiator, waiting, &reply, written).is_ok());
    }
    let (awaiting, _) = finished(&world, Case::Xx);
    let (_, finish) = finished(&world, Case::Xx);
    let result = awaiting.read_finish(&world.responder, None, TIME, &finish);
    assert!(matches!(result, Err(FinishFailure::Pending(_, HandshakeError::Noise))));
}

#[test]
fn header_fields_are_bound_by_the_prologue() {
    let world = World::new();
    for case in Case::all() {
        let mut initiator = case.initiator(&world);
        initiator.cookie = Some(Cookie([0xc0; 16]));
        let Exchange { waiting, hello, .. } = Exchange::of(&world, &initiator, case.psk());
        let parsed = Hello::parse(&hello).unwrap();
        let anchor = if case.is_ik() { BACKEND_KEY.0 } else { world.authority.public_key().0 };
        let key = by_hand::hello_key(&anchor);
        let swapped = match parsed.header.pattern {
            Pattern::Xx => Pattern::XxPsk3(PSK_ID),
            Pattern::XxPsk3(_) => Pattern::Xx,
            Pattern::Ik => Pattern::IkPsk2,
            Pattern::IkPsk2 | Pattern::Resume => Pattern::Ik,
        };
        let mut headers = vec![
            crate::wire::HelloHeader { pattern: swapped, ..parsed.header },
            crate::wire::HelloHeader { connection_id: ConnectionId::EMPTY, ..parsed.header },
            crate::wire::HelloHeader { connection_id: ConnectionId::new(&[7; 4]).unwrap(), ..parsed.header },
            crate::wire::HelloHeader { cookie: None, ..parsed.header },
            crate::wire::HelloHeader { cookie: Some(Cookie([0xc1; 16])), ..parsed.header },
        ];
        if case == Case::XxPsk3 {
            let pattern = Pattern::XxPsk3(PskId([2; 8]));
            headers.push(crate::wire::HelloHeader { pattern, ..parsed.header });
        }
        let mut waiting = Some(waiting);
        for header in headers {
            let mut out = [0u8; MAX_HELLO];
            let mut writer = crate::codec::Writer::new(&mut out);
            header.write(&mut writer).unwrap();
            writer.bytes(parsed.noise).unwrap();
            let forged = by_hand::with_mac(&key, writer.written());
            let psk = matches!(header.pattern, Pattern::XxPsk3(_) | Pattern::IkPsk2).then_some(&PSK);
            let Ok((_, reply)) = answer(&world.responder, &forged, psk) else { continue };
            assert_eq!(case, Case::Xx, "only XX answers before anything is proved: {header:?}");
            // The relay also repairs the Reply's connection id.
            let parsed_reply = crate::wire::Reply::parse(&reply, header.connection_id.len()).unwrap();
            let repaired = [&[0x12][..], initiator.connection_id.as_bytes(), parsed_reply.noise].concat();
            let failure = waiting.take().unwrap().read_reply(&initiator, TIME, &repaired).err().unwrap();
            let (state, error) = failed(failure);
            assert_eq!(error, HandshakeError::Noise, "{header:?}");
            waiting = state;
        }
    }
}
