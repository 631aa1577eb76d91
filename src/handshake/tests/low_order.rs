//! Low-order points as ephemeral and static keys. The forger knows what follows from zeros and goes on with that, so
//! that each of these would go through if the check were not there.

use super::*;
use by_hand::{Message, Pair, Run, hello_key, low_order_points, with_mac};

const NOBODY: Pair = Pair::only([0; 32]);

fn backend_items(world: &World) -> Vec<u8> {
    let fixed = [1, 5, 9, 9, 9, 9, 9, 2, 6, 0xdc, 0x0b, 0x80, 0x08, 0xa0, 0x38];
    [&fixed[..], &credential_item(world.backend.credential())].concat()
}

#[test]
fn there_are_enough_points() {
    let points = low_order_points();
    let distinct: std::collections::BTreeSet<_> = points.iter().collect();
    assert_eq!(distinct.len(), 14);
    for point in points {
        assert_eq!(by_hand::lax_dh(&[0x33; 32], &point), [0; 32]);
    }
}

#[test]
fn backend_refuses_them_in_a_hello() {
    //= SPEC.md#handshake
    //= type=test
    //# An end MUST reject an all-zero Diffie-Hellman result.
    let world = World::new();
    for point in low_order_points() {
        // XX: read without any exchange, and not answered.
        let header = [0x11, 1, 0];
        let mut items = world.hello_items(false);
        items.extend([63, 40]);
        items.extend([0; 40]);
        let mut run = Run::new(Case::Xx, &header, [Pair::only(point), NOBODY, NOBODY, NOBODY], [0; 32]);
        let message = run.next(Message::Write(&items));
        let key = hello_key(&world.authority.public_key().0);
        let hello = with_mac(&key, &[&header[..], &message].concat());
        assert_eq!(answer(&world.responder, &hello, None).err(), Some(HandshakeError::Noise));

        // IK, as ephemeral key, with the keys and the credential of a true device.
        let header = [0x11, 2, 0];
        let key = hello_key(&BACKEND_KEY.0);
        let device = Pair::of(world.device_secret);
        let backend = Pair::only(BACKEND_KEY.0);
        // IK, as static key.
        for keys in [
            [Pair::only(point), device, NOBODY, backend],
            [Pair::of([0x44; 32]), Pair::only(point), NOBODY, backend],
        ] {
            let mut run = Run::new(Case::Ik, &header, keys, [0; 32]);
            let message = run.next(Message::Write(&world.hello_items(true)));
            let hello = with_mac(&key, &[&header[..], &message].concat());
            let (authentic, _) = world.responder.check_hello(&hello).unwrap();
            let result = world.responder.read_hello(&authentic, None, TIME, &mut OsEntropy);
            assert_eq!(result.err(), Some(HandshakeError::Noise));
        }
    }
}

#[test]
fn backend_refuses_them_in_a_finish() {
    //= SPEC.md#handshake
    //= type=test
    //# An end MUST reject an all-zero Diffie-Hellman result.
    let world = World::new();
    for (case, point) in
        low_order_points().into_iter().flat_map(|point| [(Case::Xx, point), (Case::XxPsk3, point)])
    {
        let header = match case {
            Case::Xx => vec![0x11, 1, 0],
            _ => [&[0x11, 3, 0x20][..], &PSK_ID.0].concat(),
        };
        let mut items = world.hello_items(false);
        items.extend([63, 40]);
        items.extend([0; 40]);
        let keys = [Pair::of([0x44; 32]), Pair::only(point), NOBODY, NOBODY];
        let mut run = Run::new(case, &header, keys, *PSK.bytes());
        let message = run.next(Message::Write(&items));
        let key = hello_key(&world.authority.public_key().0);
        let hello = with_mac(&key, &[&header[..], &message].concat());
        let (written, reply) = answer(&world.responder, &hello, case.psk()).unwrap();
        let ReplyWritten::AwaitingFinish(awaiting) = written else { panic!("XX has a Finish") };
        run.next(Message::Read(&reply[1..]));
        let finish = run.next(Message::Write(&credential_item(world.device.credential())));
        let result = awaiting.read_finish(&world.responder, world.device.identity(), TIME, &finish);
        assert!(matches!(result, Err(FinishFailure::Pending(_, HandshakeError::Noise))));
    }
}

#[test]
fn device_refuses_them_in_a_reply() {
    //= SPEC.md#handshake
    //= type=test
    //# An end MUST reject an all-zero Diffie-Hellman result.
    let world = World::new();
    for case in Case::all() {
        for point in low_order_points() {
            let initiator = case.initiator(&world);
            let Exchange { mut waiting, hello, reply, written } =
                Exchange::of(&world, &initiator, case.psk());
            let parsed = Hello::parse(&hello).unwrap();
            let device = Pair::only(parsed.noise[..32].try_into().unwrap());
            let low = Pair::only(point);
            let backend = Pair::of(world.backend_secret);
            let as_ephemeral = [device, NOBODY, low, backend];
            let as_static = [device, NOBODY, Pair::of([0x77; 32]), low];
            let forgeries = if case.is_ik() { vec![as_ephemeral] } else { vec![as_ephemeral, as_static] };
            for keys in forgeries {
                let mut run = Run::new(case, parsed.header_bytes, keys, *PSK.bytes());
                run.next(Message::Read(parsed.noise));
                let noise = run.next(Message::Write(&backend_items(&world)));
                let forged = [&[0x12][..], initiator.connection_id.as_bytes(), &noise].concat();
                let (state, error) = failed(waiting.read_reply(&initiator, TIME, &forged).err().unwrap());
                assert_eq!(error, HandshakeError::Noise, "{case:?}");
                waiting = state.unwrap();
            }
            assert!(complete(&world, &initiator, waiting, &reply, written).is_ok());
        }
    }
}

#[test]
fn device_refuses_to_start_with_one_as_the_pinned_key() {
    let world = World::new();
    for point in low_order_points() {
        let key = PublicKey(point);
        let initiator = Initiator { backend_key: Some(&key), ..world.initiator() };
        let result = initiator.start(b"", &mut OsEntropy, &mut [0; MAX_HELLO]);
        assert_eq!(result.err(), Some(HandshakeError::Noise));
    }
}
