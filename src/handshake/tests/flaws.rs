//! What reading the code brought to light; each of these failed once.

use super::*;
use crate::codec::BufferTooSmall;
use crate::crypto::{DhError, HedgeKey, SharedSecret, StaticDh};
use by_hand::{Message, Pair, Run, lax_dh, low_order_points, public, with_mac};

/// A key store that computes X25519 and leaves the check for zeros to others.
struct LaxStore([u8; 32]);

impl StaticDh for LaxStore {
    fn diffie_hellman(&self, public: &PublicKey) -> Result<SharedSecret, DhError> {
        Ok(SharedSecret::from_bytes(lax_dh(&self.0, &public.0)))
    }
    fn hedge_key(&self) -> HedgeKey {
        HedgeKey::from_bytes([0; 32])
    }
}

/// A key store whose hardware does not answer, or answers with zeros.
struct BrokenStore {
    zeros: bool,
}

impl StaticDh for BrokenStore {
    fn diffie_hellman(&self, _: &PublicKey) -> Result<SharedSecret, DhError> {
        if self.zeros { Ok(SharedSecret::from_bytes([0; 32])) } else { Err(DhError) }
    }
    fn hedge_key(&self) -> HedgeKey {
        HedgeKey::from_bytes([0; 32])
    }
}

#[test]
fn zeros_from_a_lax_key_store_are_refused() {
    //= SPEC.md#handshake
    //= type=test
    //# An end MUST reject an all-zero Diffie-Hellman result.
    let mut world = World::new();
    let secret = [0x55; 32];
    let key = PublicKey(public(&secret));
    let credential = world.authority.issue(&key, &request(2, Role::Backend)).unwrap();
    world.backend = LocalIdentity::new(Arc::new(LaxStore(secret)), key, credential);
    world.responder = Responder::new(world.backend.clone(), world.anchors, Limits::BACKEND);
    for point in low_order_points() {
        // es = 0, ss is right, and the credential is genuine.
        let header = [0x11, 2, 0];
        let keys = [Pair::only(point), Pair::of(world.device_secret), Pair::only([0; 32]), Pair::only(key.0)];
        let mut run = Run::new(Case::Ik, &header, keys, [0; 32]);
        let message = run.next(Message::Write(&world.hello_items(true)));
        let hello = [&header[..], &message].concat();
        let hello = with_mac(&by_hand::hello_key(&key.0), &hello);
        let (authentic, _) = world.responder.check_hello(&hello).unwrap();
        let result = world.responder.read_hello(&authentic, None, TIME, &mut OsEntropy);
        assert_eq!(result.err(), Some(HandshakeError::Noise), "{point:02x?}");
    }
}

#[test]
fn a_broken_key_store_is_told_apart_from_a_forgery() {
    for zeros in [false, true] {
        let world = World::new();
        let key = world.backend.public_key();
        let broken = LocalIdentity::new(
            Arc::new(BrokenStore { zeros }),
            world.device.public_key(),
            *world.device.credential(),
        );
        // IK needs the static key in the Hello.
        let mut initiator = Initiator { local: &broken, ..world.initiator() };
        initiator.backend_key = Some(&key);
        let mut out = [0u8; MAX_HELLO];
        assert_eq!(initiator.start(b"", &mut OsEntropy, &mut out).err(), Some(HandshakeError::KeyStore));
        // XX needs it in the Finish.
        initiator.backend_key = None;
        let exchange = Exchange::of(&world, &initiator, None);
        let finish = exchange.waiting.read_reply(&initiator, TIME, &exchange.reply);
        let Ok(ReplyOutcome::Finish(finish)) = finish else { panic!("a Finish comes next") };
        assert_eq!(finish.write_finish(&broken, &mut out).err(), Some(HandshakeError::KeyStore));
        // The backend needs it to read an IK Hello, and to answer an XX Hello.
        let backend = LocalIdentity::new(Arc::new(BrokenStore { zeros }), key, *world.backend.credential());
        let responder = Responder::new(backend, world.anchors, Limits::BACKEND);
        for backend_key in [None, Some(&key)] {
            let initiator = Initiator { backend_key, ..world.initiator() };
            let (_, len) = initiator.start(b"", &mut OsEntropy, &mut out).unwrap();
            let (hello, _) = responder.check_hello(&out[..len]).unwrap();
            let read = responder.read_hello(&hello, None, TIME, &mut OsEntropy);
            let error = match read {
                Err(error) => error,
                Ok(read) => {
                    read.write_reply(&responder, *BACKEND_ID, None, &mut [0; MAX_REPLY]).err().unwrap()
                }
            };
            assert_eq!(error, HandshakeError::KeyStore);
        }
    }
}

#[test]
fn buffers_of_the_exact_size_are_enough_and_one_byte_less_is_told() {
    //= SPEC.md#handshake-errors
    //= type=test
    //# A failed write, or a failed read of a Hello, MUST destroy the handshake state.
    // A failed write has taken the state by value, and a failed read of a Hello gives none: the signatures say so.
    let world = World::new();
    for case in Case::all() {
        let initiator = case.initiator(&world);
        let usual = Exchange::of(&world, &initiator, case.psk());
        let mut out = vec![0u8; usual.hello.len()];
        let needed = out.len();
        let short = initiator.start(b"", &mut OsEntropy, &mut out[..needed - 1]);
        assert_eq!(short.err(), Some(HandshakeError::BufferTooSmall(BufferTooSmall { needed })));
        assert!(out.iter().all(|&byte| byte == 0), "nothing is written");
        let (waiting, len) = initiator.start(b"", &mut OsEntropy, &mut out).unwrap();
        assert_eq!(len, needed);

        let (early, late) = case.backend_psks();
        let read = || {
            let (hello, _) = world.responder.check_hello(&out).unwrap();
            world.responder.read_hello(&hello, early, TIME, &mut OsEntropy).unwrap()
        };
        let needed = read().reply_len(&world.responder, *BACKEND_ID);
        assert_eq!(needed, usual.reply.len());
        let mut reply = vec![0u8; needed];
        let short = read().write_reply(&world.responder, *BACKEND_ID, late, &mut reply[..needed - 1]);
        assert_eq!(short.err(), Some(HandshakeError::BufferTooSmall(BufferTooSmall { needed })));
        let (_, len) = read().write_reply(&world.responder, *BACKEND_ID, late, &mut reply).unwrap();
        assert_eq!(len, needed);

        let read = |waiting: AwaitingReply| match waiting.read_reply(&initiator, TIME, &reply) {
            Ok(ReplyOutcome::Finish(finish)) => Some(finish),
            Ok(ReplyOutcome::Established(_)) => None,
            Err(_) => panic!("the genuine Reply is read"),
        };
        let Some(finish) = read(waiting) else { continue };
        let needed = finish.finish_len(&world.device);
        let mut packet = vec![0u8; needed];
        assert_eq!(finish.write_finish(&world.device, &mut packet).unwrap().1, needed);
        let Ok(ReplyOutcome::Finish(finish)) = usual.waiting.read_reply(&initiator, TIME, &usual.reply)
        else {
            panic!("the genuine Reply is read")
        };
        let short = finish.write_finish(&world.device, &mut packet[..needed - 1]);
        assert_eq!(short.err(), Some(HandshakeError::BufferTooSmall(BufferTooSmall { needed })));
    }
}

#[test]
fn known_credential_counts_only_if_the_hello_offered_it() {
    //= SPEC.md#handshake-payload
    //= type=test
    //# A reader MUST refuse a message that lacks an item which the table requires in it (KnownCredential may stand for Credential only in an IK Reply, and only if the Hello offered that hash).
    let world = World::new();
    let key = world.backend.public_key();
    let mut initiator = world.initiator();
    initiator.backend_key = Some(&key);
    // The backend says "the one that you hold" although nothing was offered; the device has got it meanwhile.
    let mut out = [0u8; MAX_HELLO];
    let (waiting, len) = initiator.start(b"", &mut OsEntropy, &mut out).unwrap();
    let (hello, _) = world.responder.check_hello(&out[..len]).unwrap();
    let mut read = world.responder.read_hello(&hello, None, TIME, &mut OsEntropy).unwrap();
    read.pretend_offered(world.backend.credential().hash());
    let mut reply = [0u8; MAX_REPLY];
    let (_, len) = read.write_reply(&world.responder, *BACKEND_ID, None, &mut reply).unwrap();
    initiator.backend_credential = Some(world.backend.credential());
    let result = waiting.read_reply(&initiator, TIME, &reply[..len]);
    assert!(matches!(result, Err(ReplyFailure::Dead(HandshakeError::Malformed))));
}

#[test]
fn the_same_attempt_with_another_cookie_has_another_ephemeral_key() {
    let world = World::new();
    let ephemeral = |cookie: Option<Cookie>, context: &[u8]| {
        let mut out = [0u8; MAX_HELLO];
        let initiator = Initiator { cookie, ..world.initiator() };
        let (_, len) = initiator.start(context, &mut Constant(9), &mut out).unwrap();
        Hello::parse(&out[..len]).unwrap().noise[..32].to_vec()
    };
    let first = ephemeral(None, b"1");
    assert_ne!(first, ephemeral(Some(Cookie([1; 16])), b"1"));
    assert_ne!(first, ephemeral(None, b"2"));
    // Nothing else distinguishes them: then the ephemeral key rests on the generator alone, and this one is broken.
    assert_eq!(first, ephemeral(None, b"1"));
}
