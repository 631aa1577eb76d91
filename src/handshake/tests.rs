use super::*;
use crate::crypto::{Psk, PublicKey, SigningKey, StaticSecret};
use crate::entropy::{Entropy, OsEntropy};
use crate::identity::*;
use crate::limits::{MAX_HELLO, MAX_REPLY};
use crate::time::UnixSeconds;
use crate::wire::{Finish, PskId};
use alloc::sync::Arc;

const NOW: UnixSeconds = UnixSeconds(1_750_000_000);

pub(super) struct World {
    pub(super) anchors: TrustAnchors,
    pub(super) device: LocalIdentity,
    pub(super) backend: LocalIdentity,
    pub(super) responder: Responder,
}

pub(super) fn identity(authority: &Authority, subject: u8, role: Role) -> LocalIdentity {
    let mut rng = OsEntropy;
    let secret = StaticSecret::generate(&mut rng).unwrap();
    let public = secret.public_key();
    let request = CredentialRequest {
        serial: u32::from(subject),
        subject: SubjectId([subject; 16]),
        role,
        scopes: Scopes::PUBLISH,
        issued: UnixSeconds(NOW.0 - 1000),
        not_before: UnixSeconds(NOW.0 - 1000),
        not_after: UnixSeconds(NOW.0 + 1000),
    };
    let credential = authority.issue(&public, &request).unwrap();
    LocalIdentity::new(Arc::new(secret), public, credential)
}

impl World {
    pub(super) fn new() -> Self {
        let authority = Authority::new(SigningKey::generate(&mut OsEntropy).unwrap());
        let anchors = TrustAnchors::new(&[authority.public_key()]).unwrap();
        let device = identity(&authority, 1, Role::Device);
        let backend = identity(&authority, 2, Role::Backend);
        let responder = Responder::new(backend.clone(), anchors, Limits::BACKEND);
        Self { anchors, device, backend, responder }
    }

    pub(super) fn initiator(&self) -> Initiator<'_> {
        Initiator {
            local: &self.device,
            anchors: &self.anchors,
            expected: None,
            backend_key: None,
            backend_credential: None,
            psk: None,
            connection_id: ConnectionId::EMPTY,
            limits: Limits::DEVICE,
            cookie: None,
            anchor_index: 0,
        }
    }
}

/// Runs a handshake to its end and returns both results with the packet lengths.
fn run(
    world: &World,
    initiator: &Initiator<'_>,
    psk: Option<&Psk>,
) -> Result<(Established, Established, [usize; 3]), HandshakeError> {
    let rng: &mut dyn Entropy = &mut OsEntropy;
    let time = Time::known(NOW);
    let mut hello = [0u8; MAX_HELLO];
    let (waiting, hello_len) = initiator.start(b"1", rng, &mut hello)?;
    let (authentic, _) = world.responder.check_hello(&hello[..hello_len])?;
    let early = psk.filter(|_| authentic.psk_id().is_some());
    let read = world.responder.read_hello(&authentic, early, time, rng)?;
    let mut reply = [0u8; MAX_REPLY];
    let id = ConnectionId::new(&[9; 5]).unwrap();
    let late = psk.filter(|_| authentic.psk_id().is_none());
    let (written, reply_len) = read.write_reply(&world.responder, id, late, &mut reply)?;
    let outcome = match waiting.read_reply(initiator, time, &reply[..reply_len]) {
        Ok(outcome) => outcome,
        Err(ReplyFailure::Pending(_, error) | ReplyFailure::Dead(error)) => return Err(error),
    };
    match (outcome, written) {
        (ReplyOutcome::Established(device), ReplyWritten::Established(backend)) => {
            Ok((device, backend, [hello_len, reply_len, 0]))
        }
        (ReplyOutcome::Finish(finish), ReplyWritten::AwaitingFinish(waiting)) => {
            let mut packet = [0u8; MAX_HELLO];
            let (device, len) = finish.write_finish(initiator.local, &mut packet)?;
            let parsed = Finish::parse(&packet[..len], 5).unwrap();
            let registered = world.device.identity();
            match waiting.read_finish(&world.responder, registered, time, parsed.noise) {
                Ok(backend) => Ok((device, backend, [hello_len, reply_len, len])),
                Err(FinishFailure::Pending(_, error) | FinishFailure::Dead(error)) => Err(error),
            }
        }
        _ => panic!("the ends disagree about the pattern"),
    }
}

fn assert_agree(device: &Established, backend: &Established) {
    assert_eq!(device.secrets.handshake_hash, backend.secrets.handshake_hash);
    assert_eq!(
        *device.secrets.chain.exporter().export::<32>("t", b""),
        *backend.secrets.chain.exporter().export::<32>("t", b"")
    );
    assert_eq!(device.peer.identity().subject, SubjectId([2; 16]));
    assert_eq!(backend.peer.identity().subject, SubjectId([1; 16]));
    assert_eq!(device.peer_limits, Limits::BACKEND);
    assert_eq!(backend.peer_limits, Limits::DEVICE);
}

#[test]
fn every_pattern_establishes_the_same_secrets() {
    let world = World::new();
    let key: PublicKey = world.backend.public_key();
    let psk = Psk::from_bytes([7; 32]);
    let id = PskId([1; 8]);
    for (backend_key, psk) in [(None, None), (Some(&key), None), (None, Some(&psk)), (Some(&key), Some(&psk))]
    {
        let mut initiator = world.initiator();
        initiator.backend_key = backend_key;
        initiator.psk = psk.map(|psk| (id, psk));
        let (device, backend, lens) = run(&world, &initiator, psk).unwrap();
        assert_agree(&device, &backend);
        println!("{:?}: {lens:?} bytes", device.pattern);
        assert!(lens[1] <= 3 * lens[0]);
    }
}

#[test]
fn a_known_credential_is_not_sent_again() {
    let world = World::new();
    let key = world.backend.public_key();
    let mut initiator = world.initiator();
    initiator.backend_key = Some(&key);
    let (_, _, long) = run(&world, &initiator, None).unwrap();
    initiator.backend_credential = Some(world.backend.credential());
    let (device, backend, short) = run(&world, &initiator, None).unwrap();
    assert_agree(&device, &backend);
    assert!(short[1] + 90 < long[1], "{short:?} {long:?}");
}
