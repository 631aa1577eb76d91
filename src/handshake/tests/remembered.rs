//! A responder that remembers which credentials it has verified refuses what any other refuses.

use super::*;

/// Reads an IK Hello of the world's device, made anew, at this time.
fn read(world: &World, responder: &Responder, time: Time) -> Result<VerifiedCredential, HandshakeError> {
    let mut out = [0u8; MAX_HELLO];
    let (_, len) = Case::Ik.initiator(world).start(b"", &mut OsEntropy, &mut out)?;
    let (hello, _) = responder.check_hello(&out[..len])?;
    let read = responder.read_hello(&hello, None, time, &mut OsEntropy)?;
    Ok(*read.peer().unwrap())
}

#[test]
fn who_came_before_is_checked_again() {
    let mut world = World::new();
    let responder = world.responder.clone().remembering(64);
    let first = read(&world, &responder, TIME).unwrap();
    assert_eq!(read(&world, &responder, TIME), Ok(first), "as good as the first time");
    assert_eq!(read(&world, &world.responder, TIME), Ok(first));
    assert_eq!((responder.remembered(), world.responder.remembered()), ((1, 64), (0, 0)));

    let late = Time::known(UnixSeconds(NOW.0 + 1001));
    let refused = |error| Err(HandshakeError::Credential(error));
    assert_eq!(read(&world, &responder, late), refused(CredentialError::Expired));
    let others = Authority::new(SigningKey::from_bytes([0xa2; 32]));
    let trusting = responder.trusting(TrustAnchors::new(&[others.public_key()]).unwrap());
    assert_eq!(read(&world, &trusting, TIME), refused(CredentialError::UnknownIssuer));
    let again = trusting.trusting(world.anchors);
    assert_eq!(read(&world, &again, TIME), Ok(first));
    assert_eq!(again.remembered(), (1, 64));

    // Somebody else's key under the same credential, and the same key under a credential for the other end.
    let genuine = *world.device.credential();
    let stranger = identity(&others, [0xd2; 32], &request(1, Role::Device));
    world.device = LocalIdentity::new(stranger.static_dh().clone(), stranger.public_key(), genuine);
    assert_eq!(read(&world, &responder, TIME), refused(CredentialError::BadSignature));
    world.device = identity(&world.authority, world.device_secret, &request(1, Role::Backend));
    assert_eq!(read(&world, &responder, TIME), refused(CredentialError::WrongRole));
}
