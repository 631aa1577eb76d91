//! Both ends in memory. The submodules hold one kind of attack each.

use super::*;
use crate::crypto::{Psk, PublicKey, SigningKey, StaticSecret};
use crate::entropy::{Entropy, EntropyError, OsEntropy};
use crate::identity::*;
use crate::limits::{MAX_HELLO, MAX_REPLY};
use crate::time::UnixSeconds;
use crate::wire::{Cookie, Finish, Hello, PskId};
use alloc::sync::Arc;

mod altered;
mod by_hand;
mod flaws;
mod floor;
mod forged;
mod hello;
mod low_order;
mod pinned;
#[cfg(feature = "aws-lc-rs")]
mod providers;
#[cfg(all(feature = "std", feature = "backend"))]
mod remembered;
mod retry;
mod tickets;
mod vectors;

const NOW: UnixSeconds = UnixSeconds(1_750_000_000);
const TIME: Time = Time::known(NOW);
static PSK: Psk = Psk::from_bytes([7; 32]);
const PSK_ID: PskId = PskId([1; 8]);
static BACKEND_ID: std::sync::LazyLock<ConnectionId> =
    std::sync::LazyLock::new(|| ConnectionId::new(&[9; 5]).unwrap());

/// A generator that always gives the same byte.
struct Constant(u8);

impl Entropy for Constant {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        out.fill(self.0);
        Ok(())
    }
}

/// One authority, one device, one backend.
struct World {
    authority: Authority,
    anchors: TrustAnchors,
    device: LocalIdentity,
    device_secret: [u8; 32],
    backend: LocalIdentity,
    backend_secret: [u8; 32],
    responder: Responder,
}

fn request(subject: u8, role: Role) -> CredentialRequest {
    CredentialRequest {
        serial: u32::from(subject),
        subject: SubjectId([subject; 16]),
        role,
        scopes: Scopes::PUBLISH,
        issued: UnixSeconds(NOW.0 - 1000),
        not_before: UnixSeconds(NOW.0 - 1000),
        not_after: UnixSeconds(NOW.0 + 1000),
    }
}

fn identity(authority: &Authority, secret: [u8; 32], request: &CredentialRequest) -> LocalIdentity {
    let secret = StaticSecret::from_bytes(secret);
    let public = secret.public_key();
    let credential = authority.issue(&public, request).unwrap();
    LocalIdentity::new(Arc::new(secret), public, credential)
}

impl World {
    fn new() -> Self {
        let authority = Authority::new(SigningKey::from_bytes([0xa1; 32]));
        let anchors = TrustAnchors::new(&[authority.public_key()]).unwrap();
        let (device_secret, backend_secret) = ([0xd1; 32], [0xb1; 32]);
        let device = identity(&authority, device_secret, &request(1, Role::Device));
        let backend = identity(&authority, backend_secret, &request(2, Role::Backend));
        let responder = Responder::new(backend.clone(), anchors, Limits::BACKEND);
        Self { authority, anchors, device, device_secret, backend, backend_secret, responder }
    }

    fn initiator(&self) -> Initiator<'_> {
        Initiator::new(&self.device, &self.anchors)
    }

    /// The payload of a Hello, by hand: Limits, and in IK the device's credential.
    fn hello_items(&self, ik: bool) -> Vec<u8> {
        let mut items = vec![2, 6, 0xd0, 0x09, 0x80, 0x01, 0xa0, 0x38];
        if ik {
            items.extend(credential_item(self.device.credential()));
        }
        items
    }
}

/// A Credential item, by hand.
fn credential_item(credential: &Credential) -> Vec<u8> {
    let bytes = credential.as_bytes();
    assert!(bytes.len() < 128);
    [&[3, bytes.len() as u8], bytes].concat()
}

/// One of the four patterns, with what the ends bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Xx,
    Ik,
    XxPsk3,
    IkPsk2,
}

static BACKEND_KEY: std::sync::LazyLock<PublicKey> =
    std::sync::LazyLock::new(|| World::new().backend.public_key());

impl Case {
    const fn all() -> [Self; 4] {
        [Self::Xx, Self::Ik, Self::XxPsk3, Self::IkPsk2]
    }

    fn initiator<'w>(self, world: &'w World) -> Initiator<'w> {
        Initiator {
            backend_key: self.is_ik().then_some(&*BACKEND_KEY),
            psk: self.psk().map(|psk| (PSK_ID, psk)),
            connection_id: ConnectionId::new(&[6; 4]).unwrap(),
            ..world.initiator()
        }
    }

    fn is_ik(self) -> bool {
        matches!(self, Self::Ik | Self::IkPsk2)
    }

    fn psk(self) -> Option<&'static Psk> {
        matches!(self, Self::XxPsk3 | Self::IkPsk2).then_some(&PSK)
    }

    /// The psk that the backend needs for the Hello, and the one for the Reply.
    fn backend_psks(self) -> (Option<&'static Psk>, Option<&'static Psk>) {
        if self.is_ik() { (None, self.psk()) } else { (self.psk(), None) }
    }
}

/// A handshake up to its genuine Reply.
struct Exchange {
    waiting: AwaitingReply,
    hello: Vec<u8>,
    reply: Vec<u8>,
    written: ReplyWritten,
}

impl Exchange {
    fn of(world: &World, initiator: &Initiator<'_>, psk: Option<&Psk>) -> Self {
        Self::with(&world.responder, initiator, psk).unwrap()
    }

    fn with(
        responder: &Responder,
        initiator: &Initiator<'_>,
        psk: Option<&Psk>,
    ) -> Result<Self, HandshakeError> {
        let mut out = [0u8; MAX_HELLO];
        let (waiting, len) = initiator.start(b"1", &mut OsEntropy, &mut out)?;
        let hello = out[..len].to_vec();
        let (written, reply) = answer(responder, &hello, psk)?;
        Ok(Self { waiting, hello, reply, written })
    }
}

/// Answers a Hello as a backend does that has registered this psk for everybody.
fn answer(
    responder: &Responder,
    hello: &[u8],
    psk: Option<&Psk>,
) -> Result<(ReplyWritten, Vec<u8>), HandshakeError> {
    let (authentic, _) = responder.check_hello(hello)?;
    let early = psk.filter(|_| authentic.psk_id().is_some());
    let read = responder.read_hello(&authentic, early, TIME, &mut OsEntropy)?;
    let late = psk.filter(|_| authentic.psk_id().is_none());
    let mut out = [0u8; MAX_REPLY];
    let (written, len) = read.write_reply(responder, *BACKEND_ID, late, &mut out)?;
    Ok((written, out[..len].to_vec()))
}

/// Takes an error out of a failure, with the state if there is one.
fn failed(failure: ReplyFailure) -> (Option<AwaitingReply>, HandshakeError) {
    match failure {
        ReplyFailure::Pending(state, error) => (Some(state), error),
        ReplyFailure::Dead(error) => (None, error),
    }
}

/// Ends a handshake from a genuine Reply on.
fn complete(
    world: &World,
    initiator: &Initiator<'_>,
    waiting: AwaitingReply,
    reply: &[u8],
    written: ReplyWritten,
) -> Result<(Established, Established, usize), HandshakeError> {
    let outcome = waiting.read_reply(initiator, TIME, reply).map_err(|failure| failed(failure).1)?;
    match (outcome, written) {
        (ReplyOutcome::Established(device), ReplyWritten::Established(backend)) => Ok((device, backend, 0)),
        (ReplyOutcome::Finish(finish), ReplyWritten::AwaitingFinish(waiting)) => {
            let mut packet = [0u8; MAX_HELLO];
            let (device, len) = finish.write_finish(initiator.local, &mut packet)?;
            let parsed = Finish::parse(&packet[..len], BACKEND_ID.len()).unwrap();
            assert_eq!(parsed.connection_id, *BACKEND_ID);
            match waiting.read_finish(&world.responder, world.device.identity(), TIME, parsed.noise) {
                Ok(backend) => Ok((device, backend, len)),
                Err(FinishFailure::Pending(_, error) | FinishFailure::Dead(error)) => Err(error),
            }
        }
        _ => panic!("the ends disagree about the pattern"),
    }
}

/// Runs a handshake to its end and returns both results with the packet lengths.
fn run(
    world: &World,
    initiator: &Initiator<'_>,
    psk: Option<&Psk>,
) -> Result<(Established, Established, [usize; 3]), HandshakeError> {
    let Exchange { waiting, hello, reply, written } = Exchange::with(&world.responder, initiator, psk)?;
    let (device, backend, finish) = complete(world, initiator, waiting, &reply, written)?;
    Ok((device, backend, [hello.len(), reply.len(), finish]))
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
    assert_eq!(device.pattern, backend.pattern);
}

#[test]
fn every_pattern_establishes_the_same_secrets() {
    let world = World::new();
    for case in Case::all() {
        let (device, backend, lens) = run(&world, &case.initiator(&world), case.psk()).unwrap();
        assert_agree(&device, &backend);
        println!("{case:?}: {lens:?} bytes");
        assert!(lens[1] <= 3 * lens[0]);
    }
}

#[test]
fn a_known_credential_is_not_sent_again() {
    let world = World::new();
    let mut initiator = Case::Ik.initiator(&world);
    let (_, _, long) = run(&world, &initiator, None).unwrap();
    initiator.backend_credential = Some(world.backend.credential());
    let (device, backend, short) = run(&world, &initiator, None).unwrap();
    assert_agree(&device, &backend);
    assert!(short[1] + 90 < long[1], "{short:?} {long:?}");
}
