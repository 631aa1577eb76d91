//! Devices that trust no authority, but the key that they are pinned to.

use super::*;
use crate::limits::MAX_UNIX_SECONDS;

const NOBODY: TrustAnchors = TrustAnchors::NONE;

fn pinned<'w>(case: Case, world: &'w World) -> Initiator<'w> {
    Initiator {
        anchors: &NOBODY,
        backend_credential: Some(world.backend.credential()),
        ..case.initiator(world)
    }
}

/// The backend of the world with its own key, and this credential from anybody.
fn renewed(world: &World, authority: &Authority, request: &CredentialRequest) -> Responder {
    let local = identity(authority, world.backend_secret, request);
    Responder::new(local, world.anchors, Limits::BACKEND)
}

/// What a device makes of a backend with another credential than the pinned one.
fn meet(world: &World, responder: &Responder) -> Result<VerifiedCredential, HandshakeError> {
    meet_at(TIME, world, responder)
}

fn meet_at(time: Time, world: &World, responder: &Responder) -> Result<VerifiedCredential, HandshakeError> {
    let initiator = pinned(Case::Ik, world);
    let Exchange { waiting, reply, .. } = Exchange::with(responder, &initiator, None).unwrap();
    match waiting.read_reply(&initiator, time, &reply).map_err(|failure| failed(failure).1)? {
        ReplyOutcome::Established(device) => Ok(device.peer),
        ReplyOutcome::Finish(_) => panic!("IK has two messages"),
    }
}

#[test]
fn the_pinned_backend_is_met_without_authorities() {
    let world = World::new();
    for case in [Case::Ik, Case::IkPsk2] {
        let (device, backend, _) = run(&world, &pinned(case, &world), case.psk()).unwrap();
        assert_agree(&device, &backend);
        let signed = world.backend.credential().claimed_scopes();
        assert_eq!((device.peer.scopes(), device.peer.static_key()), (signed, world.backend.public_key()));
    }
}

#[test]
fn xx_is_not_started_without_authorities() {
    //= SPEC.md#pinned-trust
    //= type=test
    //# A device without authorities MUST NOT start XX or XXpsk3.
    let world = World::new();
    for case in [Case::Xx, Case::XxPsk3] {
        let started = pinned(case, &world).start(b"", &mut OsEntropy, &mut [0; MAX_HELLO]);
        assert_eq!(started.err(), Some(HandshakeError::BelowFloor), "{case:?}");
    }
}

#[test]
fn another_credential_of_the_pinned_key_grants_no_more() {
    //= SPEC.md#pinned-trust
    //= type=test
    //# A device without authorities MUST refuse a credential that names another issuer or subject than the pinned one, and grant no scope that the pinned one lacks.
    let world = World::new();
    let usual = request(2, Role::Backend);
    let wider = CredentialRequest { serial: 9, scopes: Scopes::from_bits(u32::MAX), ..usual };
    let met = meet(&world, &renewed(&world, &world.authority, &wider)).unwrap();
    assert_eq!((met.serial(), met.scopes()), (9, usual.scopes));
    let narrower = CredentialRequest { scopes: Scopes::ALARMS, ..usual };
    let met = meet(&world, &renewed(&world, &world.authority, &narrower)).unwrap();
    assert_eq!(met.scopes(), Scopes::ALARMS);

    let refused = |authority: &Authority, request: CredentialRequest| {
        meet(&world, &renewed(&world, authority, &request)).err()
    };
    let stranger = Authority::new(SigningKey::from_bytes([0xa2; 32]));
    let (unknown, role) = (CredentialError::UnknownIssuer.into(), CredentialError::WrongRole.into());
    assert_eq!(refused(&stranger, usual), Some(unknown));
    assert_eq!(refused(&world.authority, request(3, Role::Backend)), Some(unknown));
    assert_eq!(refused(&world.authority, request(2, Role::Device)), Some(role));
    let past = CredentialRequest { not_after: UnixSeconds(NOW.0 - 1), ..usual };
    assert_eq!(refused(&world.authority, past), Some(CredentialError::Expired.into()));
}

#[test]
fn another_credential_of_the_pinned_key_raises_no_floor() {
    //= SPEC.md#pinned-trust
    //= type=test
    //# A device without authorities MUST NOT raise its floor above the `issued` of the pinned credential.
    let world = World::new();
    let usual = request(2, Role::Backend);
    // No authority has signed this, and a floor there would be above the validity of everybody, for good.
    let last = UnixSeconds(MAX_UNIX_SECONDS - 1);
    let stolen = CredentialRequest { serial: 9, issued: last, not_after: last, ..usual };
    let met = meet_at(Time::floor_only(NOW), &world, &renewed(&world, &world.authority, &stolen)).unwrap();
    let mut time = Time::floor_only(UnixSeconds(0));
    time.raise_floor(&met);
    assert_eq!((met.serial(), time.floor()), (9, usual.issued));
    let older = CredentialRequest { issued: UnixSeconds(usual.issued.0 - 1), ..usual };
    let met = meet(&world, &renewed(&world, &world.authority, &older)).unwrap();
    assert_eq!(met.issued(), older.issued);
}

#[test]
fn without_the_pinned_credential_nobody_is_met() {
    let world = World::new();
    let initiator = Initiator { backend_credential: None, ..pinned(Case::Ik, &world) };
    let Exchange { waiting, reply, .. } = Exchange::of(&world, &initiator, None);
    let (state, error) = failed(waiting.read_reply(&initiator, TIME, &reply).err().unwrap());
    assert_eq!((state.is_none(), error), (true, HandshakeError::BelowFloor));
}
