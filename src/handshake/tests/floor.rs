//! No downgrade: what each end insists on.

use super::*;

#[test]
fn refuses_a_backend_that_is_not_the_expected_one() {
    //= SPEC.md#no-downgrade
    //= type=test
    //# A device MUST refuse a backend that is not the expected one.
    let world = World::new();
    for case in Case::all() {
        let mut initiator = case.initiator(&world);
        initiator.expected = world.backend.identity();
        assert!(run(&world, &initiator, case.psk()).is_ok());
        let other = Identity { subject: SubjectId([3; 16]), ..world.backend.identity().unwrap() };
        let elsewhere = Identity { issuer: IssuerId([0; 8]), ..world.backend.identity().unwrap() };
        for expected in [other, elsewhere] {
            initiator.expected = Some(expected);
            let Exchange { waiting, reply, .. } = Exchange::of(&world, &initiator, case.psk());
            let (state, error) = failed(waiting.read_reply(&initiator, TIME, &reply).err().unwrap());
            assert_eq!(error, HandshakeError::BelowFloor);
            assert_eq!(state.is_none(), case.is_ik());
        }
    }
}

#[test]
fn backend_insists_on_the_psk_that_is_registered() {
    //= SPEC.md#no-downgrade
    //= type=test
    //# A backend MUST refuse an identity for which its application registered a psk, in a pattern without one.
    let world = World::new();
    let read = |case: Case, early: Option<&Psk>| {
        let mut out = [0u8; MAX_HELLO];
        let (_, len) = case.initiator(&world).start(b"", &mut OsEntropy, &mut out).unwrap();
        let (hello, _) = world.responder.check_hello(&out[..len]).unwrap();
        world.responder.read_hello(&hello, early, TIME, &mut OsEntropy)
    };
    let write = |read: HelloRead, late: Option<&Psk>| {
        read.write_reply(&world.responder, *BACKEND_ID, late, &mut [0; MAX_REPLY]).err()
    };
    let below = Some(HandshakeError::BelowFloor);
    assert_eq!(write(read(Case::Ik, None).unwrap(), Some(&PSK)), below);
    assert_eq!(write(read(Case::IkPsk2, None).unwrap(), None), below);
    assert_eq!(read(Case::XxPsk3, None).err(), below);
    for case in [Case::Xx, Case::Ik, Case::IkPsk2] {
        assert_eq!(read(case, Some(&PSK)).err(), below, "{case:?}");
    }
}

#[test]
fn wrong_psk_leads_to_no_session() {
    let world = World::new();
    let other = Psk::from_bytes([8; 32]);
    for case in [Case::XxPsk3, Case::IkPsk2] {
        let result = run(&world, &case.initiator(&world), Some(&other));
        assert_eq!(result.err(), Some(HandshakeError::Noise), "{case:?}");
    }
    // In IKpsk2 it is the device that notices; the handshake stays pending, as after a forgery.
    let initiator = Case::IkPsk2.initiator(&world);
    let Exchange { waiting, hello, reply, .. } = Exchange::of(&world, &initiator, Some(&other));
    let (state, _) = failed(waiting.read_reply(&initiator, TIME, &reply).err().unwrap());
    let (written, reply) = answer(&world.responder, &hello, Some(&PSK)).unwrap();
    assert!(complete(&world, &initiator, state.unwrap(), &reply, written).is_ok());
}

#[test]
fn psk_of_one_pattern_does_not_open_the_other() {
    // One key for XXpsk3 and IKpsk2 gives unrelated secrets: the protocol name is in the hash from the start.
    let world = World::new();
    let secrets = [Case::XxPsk3, Case::IkPsk2].map(|case| {
        let (device, ..) = run(&world, &case.initiator(&world), case.psk()).unwrap();
        device.secrets.handshake_hash
    });
    assert_ne!(secrets[0], secrets[1]);
}

#[test]
fn enrolment_psk_is_for_the_identity_that_it_was_registered_for() {
    //= SPEC.md#no-downgrade
    //= type=test
    //# In XXpsk3 and IKpsk2 a backend MUST refuse a credential that does not name the identity for which the psk was registered.
    let world = World::new();
    let own = world.device.identity().unwrap();
    let other = Identity { subject: SubjectId([5; 16]), ..own };
    for registered in [None, Some(other), Some(own)] {
        let initiator = Case::XxPsk3.initiator(&world);
        let Exchange { waiting, reply, written, .. } = Exchange::of(&world, &initiator, Some(&PSK));
        let (Ok(ReplyOutcome::Finish(finish)), ReplyWritten::AwaitingFinish(awaiting)) =
            (waiting.read_reply(&initiator, TIME, &reply), written)
        else {
            panic!("XX has a Finish")
        };
        assert_eq!(awaiting.psk_id(), Some(PSK_ID));
        let mut out = [0u8; MAX_HELLO];
        let (_, len) = finish.write_finish(&world.device, &mut out).unwrap();
        let noise = Finish::parse(&out[..len], BACKEND_ID.len()).unwrap().noise;
        match awaiting.read_finish(&world.responder, registered, TIME, noise) {
            Ok(established) => assert_eq!(registered, Some(established.peer.identity())),
            Err(FinishFailure::Dead(error)) => {
                assert_eq!(error, HandshakeError::BelowFloor);
                assert_ne!(registered, Some(own));
            }
            Err(FinishFailure::Pending(..)) => panic!("a genuine Finish that is refused is the end"),
        }
    }
}

#[test]
fn ik_is_for_the_pinned_key_alone() {
    let world = World::new();
    let other = StaticSecret::from_bytes([0x99; 32]).public_key();
    for case in [Case::Ik, Case::IkPsk2] {
        let mut initiator = case.initiator(&world);
        initiator.backend_key = Some(&other);
        let result = Exchange::with(&world.responder, &initiator, case.psk());
        assert_eq!(result.err(), Some(HandshakeError::HelloMac));
        // With a MAC that suits the backend the Noise message still does not.
        let mut out = [0u8; MAX_HELLO];
        let (_, len) = initiator.start(b"", &mut OsEntropy, &mut out).unwrap();
        let hello = by_hand::with_mac(&by_hand::hello_key(&BACKEND_KEY.0), &out[..len - 16]);
        assert_eq!(answer(&world.responder, &hello, case.psk()).err(), Some(HandshakeError::Noise));
    }
}

#[test]
fn pattern_follows_from_the_settings() {
    let world = World::new();
    let patterns = Case::all().map(|case| case.initiator(&world).pattern());
    assert_eq!(patterns, [Pattern::Xx, Pattern::Ik, Pattern::XxPsk3(PSK_ID), Pattern::IkPsk2]);
}
