//! Tickets and resumption: what opens, what expires, what an altered byte does; and tests/vectors/tickets.json.

use super::by_hand::{Key, Pair, Symmetric, derive, extract, hello_key, hex, lax_dh, with_mac};
use super::vectors::{ATTEMPT, BACKEND_RANDOM, DEVICE_RANDOM, Once, device_context, ephemeral};
use super::*;
use crate::codec::Writer;
use crate::crypto::{ResumeSecret, ServiceKey, SessionSecrets, TicketKey, hazmat};
use crate::limits::{MAX_FAILED_READS, MAX_TICKET_AGE, TICKET_LEN};
use crate::time::Duration;
use crate::wire::RetryHeader;
use serde_json::json;

const SERVICE: Key = [0x5e; 32];
const TICKET_KEY: Key = [0x7c; 32];
pub(super) const ID: TicketId = TicketId([0x1d; 16]);

pub(super) fn service() -> ServiceKey {
    ServiceKey::from_bytes(SERVICE)
}

pub(super) fn keys() -> TicketKeys {
    TicketKeys::new(service(), TicketKey::from_bytes(TICKET_KEY), None)
}

/// `resume_0` of some session, which both ends have.
pub(super) fn resume() -> ResumeSecret {
    SessionSecrets::new([0x11; 32], &[0x22; 64]).chain.into_keys().resume
}

pub(super) fn contents() -> TicketContents {
    TicketContents {
        identity: Identity { issuer: IssuerId([0x15; 8]), subject: SubjectId([1; 16]) },
        serial: 0x0102_0304,
        scopes: Scopes::PUBLISH,
        not_after: UnixSeconds(NOW.0 + 1000),
        revocation: 0,
        origin: UnixSeconds(NOW.0 - 500),
        psk_proved: false,
    }
}

pub(super) fn ticket() -> [u8; TICKET_LEN] {
    keys().seal(ID, &contents(), &resume())
}

/// A resumption up to its genuine Reply.
struct Try {
    waiting: AwaitingResume,
    hello: Vec<u8>,
}

fn start(world: &World, ticket: &[u8; TICKET_LEN], psk: &Psk, early: &[u8]) -> Try {
    let resumption = Resumption {
        local: &world.device,
        ticket,
        psk,
        service: &service(),
        connection_id: ConnectionId::new(&[6; 4]).unwrap(),
        limits: Limits::DEVICE,
        early,
    };
    let mut out = [0u8; MAX_HELLO];
    let (waiting, len) = resumption.start(b"1", &mut OsEntropy, &mut out).unwrap();
    Try { waiting, hello: out[..len].to_vec() }
}

fn read(world: &World, hello: &[u8]) -> Result<ResumeRead, HandshakeError> {
    let keys = keys();
    let hello = keys.check_hello(hello)?;
    let opened = hello.open(&keys, NOW)?;
    world.responder.read_resume(&hello, &opened, &mut OsEntropy)
}

fn answer_resume(world: &World, hello: &[u8]) -> Result<(Resumed, Vec<u8>), HandshakeError> {
    let read = read(world, hello)?;
    let mut out = [0u8; MAX_REPLY];
    let (resumed, len) =
        read.write_reply(&world.responder, *BACKEND_ID, Duration::from_secs(500), &mut out)?;
    Ok((resumed, out[..len].to_vec()))
}

pub(super) fn psk() -> Psk {
    resume().ticket_psk(&ID.0)
}

fn error_of(failure: ResumeFailure) -> HandshakeError {
    match failure {
        ResumeFailure::Pending(_, error) | ResumeFailure::Dead(error) => error,
    }
}

#[test]
fn both_ends_agree_and_early_records_arrive() {
    let world = World::new();
    for early in [&b""[..], b"x", &[7; 280]] {
        let Try { waiting, hello } = start(&world, &ticket(), &psk(), early);
        let mut seen = read(&world, &hello).unwrap();
        assert_eq!(*seen.contents(), contents());
        assert_eq!(seen.take_early(), early);
        let (backend, reply) = answer_resume(&world, &hello).unwrap();
        println!(
            "resumption: Hello {} bytes, of these {} early; Reply {}",
            hello.len(),
            early.len(),
            reply.len()
        );
        assert!(reply.len() < hello.len(), "nothing is amplified");
        let device = waiting.read_reply(&reply).map_err(error_of).unwrap();
        let export = |resumed: &Resumed| *resumed.secrets.chain.exporter().export::<32>("t", b"");
        assert_eq!(export(&device), export(&backend));
        assert_eq!(device.age, Duration::from_secs(500));
        assert_eq!((device.peer_limits, backend.peer_limits), (Limits::BACKEND, Limits::DEVICE));
        assert_eq!(device.peer_connection_id, *BACKEND_ID);
    }
}

#[test]
fn early_records_fill_a_hello_to_its_limit_and_not_beyond() {
    let world = World::new();
    for id_len in [0, 4, 8] {
        let room = Resumption::early_room(id_len);
        let (psk, service, ticket) = (psk(), service(), ticket());
        let early = vec![1; room + 40];
        let resumption = |len| Resumption {
            local: &world.device,
            ticket: &ticket,
            psk: &psk,
            service: &service,
            connection_id: ConnectionId::new(&vec![3; id_len]).unwrap(),
            limits: Limits::new(65_535, 8192, Duration::from_secs(604_800)).unwrap(),
            early: &early[..len],
        };
        let mut out = [0u8; 2 * MAX_HELLO];
        let (_, len) = resumption(room).start(b"1", &mut OsEntropy, &mut out).unwrap();
        assert_eq!(len, MAX_HELLO);
        assert!(resumption(room + 40).start(b"1", &mut OsEntropy, &mut out).is_err());
        let (_, least) = resumption(0).start(b"1", &mut OsEntropy, &mut out).unwrap();
        let mut short = vec![0u8; least - 1];
        let error = resumption(0).start(b"1", &mut Constant(1), &mut short).err();
        assert_eq!(error, Some(BufferTooSmall { needed: least }.into()));
        assert!(short.iter().all(|&byte| byte == 0));
    }
}

#[test]
fn a_ticket_opens_under_the_present_key_and_the_one_before() {
    let ticket = ticket();
    let mut keys = keys();
    assert_eq!(keys.open(&ticket, NOW).unwrap().contents, contents());
    keys.rotate(TicketKey::from_bytes([1; 32]));
    assert_eq!(keys.open(&ticket, NOW).unwrap().contents, contents());
    let second = keys.seal(TicketId([2; 16]), &contents(), &resume());
    assert_ne!(second[16..], ticket[16..]);
    keys.rotate(TicketKey::from_bytes([2; 32]));
    assert_eq!(keys.open(&ticket, NOW).unwrap_err(), HandshakeError::BadTicket, "its key is gone");
    assert_eq!(keys.open(&second, NOW).unwrap().contents, contents());
    let other_fleet = TicketKeys::new(service(), TicketKey::from_bytes([9; 32]), None);
    assert_eq!(other_fleet.open(&ticket, NOW).unwrap_err(), HandshakeError::BadTicket);
}

#[test]
fn a_ticket_dies_at_its_time() {
    //= SPEC.md#tickets
    //= type=test
    //# A backend MUST refuse a ticket after its credential's `not after`, 7 days after its origin, or when a session of that origin would have reached its greatest age.
    let (keys, week) = (keys(), MAX_TICKET_AGE.as_secs());
    let long = TicketContents { not_after: UnixSeconds(NOW.0 + 10 * week), ..contents() };
    let short = contents();
    for (contents, last) in [(long, long.origin.0 + week), (short, short.not_after.0)] {
        let ticket = keys.seal(ID, &contents, &resume());
        assert_eq!(contents.expires(), UnixSeconds(last));
        assert!(keys.open(&ticket, UnixSeconds(last - 1)).is_ok());
        assert!(keys.open(&ticket, UnixSeconds(last)).is_ok());
        assert_eq!(keys.open(&ticket, UnixSeconds(last + 1)).unwrap_err(), HandshakeError::ExpiredTicket);
        assert_eq!(keys.open(&ticket, UnixSeconds(u64::MAX)).unwrap_err(), HandshakeError::ExpiredTicket);
    }
    // From the future: another node's clock may be a little ahead, no more.
    let ticket = ticket();
    assert!(keys.open(&ticket, UnixSeconds(NOW.0 - 500 - 300)).is_ok());
    assert_eq!(keys.open(&ticket, UnixSeconds(NOW.0 - 500 - 301)).unwrap_err(), HandshakeError::BadTicket);
}

#[test]
fn a_ticket_with_any_bit_flipped_is_refused() {
    let (keys, ticket) = (keys(), ticket());
    for bit in 0..8 * TICKET_LEN {
        let mut altered = ticket;
        altered[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(keys.open(&altered, NOW).unwrap_err(), HandshakeError::BadTicket, "bit {bit}");
    }
}

#[test]
fn an_altered_or_cut_hello_is_refused_before_anything_is_claimed() {
    let world = World::new();
    let hello = start(&world, &ticket(), &psk(), b"early").hello;
    let covered = &hello[..hello.len() - 16];
    let key = hello_key(&SERVICE);
    for bit in 0..8 * hello.len() {
        let mut altered = hello.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let error = keys().check_hello(&altered).map(|_| ()).unwrap_err();
        assert!(matches!(error, HandshakeError::HelloMac | HandshakeError::Malformed), "bit {bit}");
    }
    // Every device of the service can make the MAC again.
    for bit in 0..8 * covered.len() {
        let mut altered = covered.to_vec();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&world, &with_mac(&key, &altered)).is_err(), "bit {bit}");
    }
    for len in 0..covered.len() {
        assert!(read(&world, &with_mac(&key, &covered[..len])).is_err(), "cut to {len}");
    }
    assert!(read(&world, &with_mac(&key, &[covered, &[0]].concat())).is_err());
    assert!(read(&world, &hello).is_ok());
    // The other patterns' door is shut for it, and this one for them.
    assert_eq!(world.responder.check_hello(&hello).map(|_| ()).unwrap_err(), HandshakeError::HelloMac);
    let ik = Exchange::of(&world, &Case::Ik.initiator(&world), None).hello;
    assert_eq!(keys().check_hello(&ik).map(|_| ()).unwrap_err(), HandshakeError::Malformed);
}

#[test]
fn a_ticket_without_its_psk_is_of_no_use() {
    let world = World::new();
    let hello = start(&world, &ticket(), &Psk::from_bytes([1; 32]), b"").hello;
    assert_eq!(read(&world, &hello).map(|_| ()).unwrap_err(), HandshakeError::Noise);
    // Nor is the psk of another ticket.
    let other = resume().ticket_psk(&[2; 16]);
    let hello = start(&world, &ticket(), &other, b"").hello;
    assert_eq!(read(&world, &hello).map(|_| ()).unwrap_err(), HandshakeError::Noise);
}

#[test]
fn forged_replies_do_not_kill_a_resumption_until_there_are_too_many() {
    let world = World::new();
    let Try { mut waiting, hello } = start(&world, &ticket(), &psk(), b"");
    let (_, reply) = answer_resume(&world, &hello).unwrap();
    for number in 0..MAX_FAILED_READS {
        let mut forged = reply.clone();
        forged[6 + usize::from(number)] ^= 1;
        waiting = match waiting.read_reply(&forged) {
            Err(ResumeFailure::Pending(state, HandshakeError::Noise)) => state,
            _ => panic!("forgery {number} is survived"),
        };
    }
    // What is no Reply at all does not count.
    for other in [&reply[..4], &[0x12; 300][..], &[]] {
        waiting = match waiting.read_reply(other) {
            Err(ResumeFailure::Pending(state, _)) => state,
            _ => panic!("not a Reply"),
        };
    }
    assert!(waiting.read_reply(&reply).is_ok());

    let Try { mut waiting, .. } = start(&world, &ticket(), &psk(), b"");
    for _ in 0..MAX_FAILED_READS {
        let Err(ResumeFailure::Pending(state, _)) = waiting.read_reply(&reply) else { panic!("survived") };
        waiting = state;
    }
    assert!(matches!(waiting.read_reply(&reply), Err(ResumeFailure::Dead(_))));
}

#[test]
fn a_refusal_is_believed_from_the_service_alone() {
    let world = World::new();
    let Try { waiting, hello } = start(&world, &ticket(), &psk(), b"");
    let retry = |service: &ServiceKey, id: &[u8], mac: &[u8]| {
        let header =
            RetryHeader { connection_id: ConnectionId::new(id).unwrap(), cookie: Cookie([0xc0; 16]) };
        let mut out = [0u8; 64];
        let mut writer = Writer::new(&mut out);
        header.write(&mut writer).unwrap();
        let mac = HelloKey::from_service(service).retry_mac(writer.written(), mac.try_into().unwrap());
        writer.bytes(&mac).unwrap();
        writer.written().to_vec()
    };
    let mac = &hello[hello.len() - 16..];
    let genuine = retry(&service(), &[6; 4], mac);
    assert_eq!(waiting.refused(&genuine), Some(Cookie([0xc0; 16])));
    assert_eq!(waiting.refused(&retry(&ServiceKey::from_bytes([1; 32]), &[6; 4], mac)), None);
    assert_eq!(waiting.refused(&retry(&service(), &[7; 4], mac)), None);
    assert_eq!(waiting.refused(&retry(&service(), &[6; 4], &[0; 16])), None);
    for bit in 0..genuine.len() * 8 {
        let mut altered = genuine.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(waiting.refused(&altered), None, "bit {bit}");
    }
}

/// A ticket and a resumption with it, by hand and without snow.
#[test]
fn resumption_is_that_of_the_vectors() {
    let world = World::new();
    let contents = TicketContents { psk_proved: true, revocation: 7, ..contents() };
    let chain = extract(&[0x11; 32], &[0x22; 64]);
    let resume_secret = derive(&chain, "resume", b"");
    let psk = derive(&resume_secret, "ticket psk", &ID.0);
    let mut sealed = [
        &[1, 1][..],
        &contents.identity.issuer.0,
        &contents.identity.subject.0,
        &contents.serial.to_le_bytes(),
        &contents.scopes.bits().to_le_bytes(),
        &contents.not_after.0.to_le_bytes(),
        &contents.revocation.to_le_bytes(),
        &contents.origin.0.to_le_bytes(),
        &psk,
    ]
    .concat();
    let plain = hex(&sealed);
    let sealing_key = derive(&TICKET_KEY, "ticket", &ID.0);
    let tag = hazmat::seal(&sealing_key, 0, &[], &mut sealed).unwrap();
    let ticket: [u8; TICKET_LEN] = [&ID.0[..], &sealed, &tag].concat().try_into().unwrap();
    assert_eq!(hex(&keys().seal(ID, &contents, &resume())), hex(&ticket));
    assert_eq!(keys().open(&ticket, NOW).unwrap().contents, contents);

    let device_id = [0xd0, 0xd1, 0xd2, 0xd3];
    let header = [&[0x11, 5, 4][..], &device_id, &ticket].concat();
    // A Ping with its length, then Padding: what stands in an early item are frames.
    let early = [&[0x81, 8][..], &[9; 8], &[0, 0]].concat();
    let hello_items = [world.hello_items(false), vec![5, early.len() as u8], early.clone()].concat();
    let reply_items = vec![1, 5, 9, 9, 9, 9, 9, 2, 6, 0xdc, 0x0b, 0x80, 0x08, 0xa0, 0x38, 6, 2, 0xf4, 0x03];
    let device_ephemeral = ephemeral(&world.device_secret, &DEVICE_RANDOM, &device_context(&header));
    let mut noise = Symmetric::new("Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s", &header);
    noise.mix_psk(&psk);
    let device_public = Pair::of(device_ephemeral).public;
    noise.mix_ephemeral(&device_public, true);
    let first = [&device_public[..], &noise.encrypt(&hello_items)].concat();
    let hello = with_mac(&hello_key(&SERVICE), &[&header[..], &first].concat());
    let backend_ephemeral = ephemeral(&world.backend_secret, &BACKEND_RANDOM, &hello[hello.len() - 16..]);
    let backend_public = Pair::of(backend_ephemeral).public;
    noise.mix_ephemeral(&backend_public, true);
    noise.mix_key(&lax_dh(&device_ephemeral, &backend_public));
    let reply = [&[0x12][..], &device_id, &backend_public, &noise.encrypt(&reply_items)].concat();
    let (handshake_hash, split) = (noise.hash, noise.split().concat());

    // This crate does the same.
    let typed = Psk::from_bytes(psk);
    let resumption = Resumption {
        local: &world.device,
        ticket: &ticket,
        psk: &typed,
        service: &service(),
        connection_id: ConnectionId::new(&device_id).unwrap(),
        limits: Limits::DEVICE,
        early: &early,
    };
    let mut out = [0u8; MAX_HELLO];
    let (waiting, len) = resumption.start(ATTEMPT, &mut Once(Some(DEVICE_RANDOM)), &mut out).unwrap();
    assert_eq!(hex(&out[..len]), hex(&hello));
    let keys = keys();
    let authentic = keys.check_hello(&hello).unwrap();
    assert_eq!((authentic.id(), authentic.hash()), (ID, hazmat::blake2s(&hello)));
    let opened = authentic.open(&keys, NOW).unwrap();
    let read = world.responder.read_resume(&authentic, &opened, &mut Once(Some(BACKEND_RANDOM))).unwrap();
    let mut out = [0u8; MAX_REPLY];
    let age = Duration::from_secs(500);
    let (backend, len) = read.write_reply(&world.responder, *BACKEND_ID, age, &mut out).unwrap();
    assert_eq!(hex(&out[..len]), hex(&reply));
    let device = waiting.read_reply(&reply).map_err(error_of).unwrap();
    let again = SessionSecrets::new(handshake_hash, &split.clone().try_into().unwrap());
    let export = |secrets: &SessionSecrets| *secrets.chain.exporter().export::<32>("t", b"");
    assert_eq!(export(&device.secrets), export(&again));
    assert_eq!(export(&backend.secrets), export(&again));

    crate::test_vectors::compare_or_bless(
        "tickets.json",
        &json!({
            "origin": "src/handshake/tests/tickets.rs, by hand and without snow; all byte strings in hex",
            "ticket_key": hex(&TICKET_KEY),
            "service_key": hex(&SERVICE),
            "resume_secret": hex(&resume_secret),
            "id": hex(&ID.0),
            "psk": hex(&psk),
            "sealing_key": hex(&sealing_key),
            "contents": {
                "psk_proved": contents.psk_proved,
                "issuer": hex(&contents.identity.issuer.0),
                "subject": hex(&contents.identity.subject.0),
                "serial": contents.serial,
                "scopes": contents.scopes.bits(),
                "not_after": contents.not_after.0,
                "revocation": contents.revocation,
                "origin": contents.origin.0,
            },
            "plain": plain,
            "ticket": hex(&ticket),
            "opened_at": NOW.0,
            "hello_key": hex(&hello_key(&SERVICE)),
            "device_ephemeral_secret": hex(&device_ephemeral),
            "device_connection_id": hex(&device_id),
            "backend_ephemeral_secret": hex(&backend_ephemeral),
            "backend_connection_id": hex(BACKEND_ID.as_bytes()),
            "prologue": hex(&[b"vitalwire/1 25519 ChaChaPoly BLAKE2s", &header[..]].concat()),
            "early": hex(&early),
            "hello_payload": hex(&hello_items),
            "reply_payload": hex(&reply_items),
            "hello": hex(&hello),
            "claim": hex(&hazmat::blake2s(&hello)),
            "reply": hex(&reply),
            "handshake_hash": hex(&handshake_hash),
            "split_keys": hex(&split),
        }),
    );
}
