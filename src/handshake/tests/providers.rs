//! Every pattern and both rekeys, with each end on either provider: the same packets go over the link, byte for byte.

use super::tickets::{ID, contents, keys, psk, resume, service};
use super::vectors::{ATTEMPT, BACKEND_RANDOM, DEVICE_RANDOM, Once};
use super::*;
use crate::crypto::{EphemeralSecret, Provider, SessionSecrets, take_calls, with_provider};
use crate::session::{RekeyAnswer, RekeyPolicy, Session, Side};
use crate::time::{Duration, Instant};
use crate::wire::DataHeader;
use std::collections::BTreeMap;

/// A provider for the device and one for the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends {
    device: Provider,
    backend: Provider,
}

const MATRIX: [Ends; 4] = [
    Ends { device: Provider::Pure, backend: Provider::Pure },
    Ends { device: Provider::Pure, backend: Provider::AwsLc },
    Ends { device: Provider::AwsLc, backend: Provider::Pure },
    Ends { device: Provider::AwsLc, backend: Provider::AwsLc },
];

/// What went over the link and what both ends derived, in order; and how often each provider was asked, by end.
#[derive(Default)]
struct Transcript {
    entries: Vec<(&'static str, Vec<u8>)>,
    calls: BTreeMap<&'static str, [usize; 2]>,
}

impl Transcript {
    fn note(&mut self, what: &'static str, bytes: &[u8]) {
        self.entries.push((what, bytes.to_vec()));
    }

    fn run<T>(&mut self, end: &'static str, provider: Provider, work: impl FnOnce() -> T) -> T {
        take_calls();
        let result = with_provider(provider, work);
        let counts = self.calls.entry(end).or_default();
        for (count, more) in counts.iter_mut().zip(take_calls()) {
            *count += more;
        }
        result
    }

    /// Does a step of the device.
    fn device<T>(&mut self, ends: Ends, work: impl FnOnce() -> T) -> T {
        self.run("device", ends.device, work)
    }

    /// Does a step of the backend.
    fn backend<T>(&mut self, ends: Ends, work: impl FnOnce() -> T) -> T {
        self.run("backend", ends.backend, work)
    }
}

/// Runs a handshake and a session after it.
fn full_handshake(case: Case, ends: Ends) -> Transcript {
    let world = World::new();
    let mut seen = Transcript::default();
    let initiator = case.initiator(&world);
    let (mut out, mut finish) = ([0u8; MAX_HELLO], [0u8; MAX_HELLO]);
    let (waiting, len) =
        seen.device(ends, || initiator.start(ATTEMPT, &mut Once(Some(DEVICE_RANDOM)), &mut out)).unwrap();
    let hello = out[..len].to_vec();
    seen.note("Hello", &hello);

    let (early, late) = case.backend_psks();
    let mut out = [0u8; MAX_REPLY];
    let (written, len) = seen
        .backend(ends, || {
            let (authentic, _) = world.responder.check_hello(&hello)?;
            let rng = &mut Once(Some(BACKEND_RANDOM));
            let read = world.responder.read_hello(&authentic, early, TIME, rng)?;
            read.write_reply(&world.responder, *BACKEND_ID, late, &mut out)
        })
        .unwrap();
    let reply = &out[..len];
    seen.note("Reply", reply);

    let outcome = seen.device(ends, || waiting.read_reply(&initiator, TIME, reply).map_err(|f| failed(f).1));
    let (device, backend) = match (outcome.unwrap(), written) {
        (ReplyOutcome::Established(device), ReplyWritten::Established(backend)) => (device, backend),
        (ReplyOutcome::Finish(state), ReplyWritten::AwaitingFinish(awaiting)) => {
            let (device, len) = seen.device(ends, || state.write_finish(&world.device, &mut finish)).unwrap();
            seen.note("Finish", &finish[..len]);
            let noise = Finish::parse(&finish[..len], BACKEND_ID.len()).unwrap().noise;
            let registered = world.device.identity();
            let Ok(backend) =
                seen.backend(ends, || awaiting.read_finish(&world.responder, registered, TIME, noise))
            else {
                panic!("the genuine Finish is read")
            };
            (device, backend)
        }
        _ => panic!("the ends disagree about the pattern"),
    };
    assert_agree(&device, &backend);
    data(&mut seen, ends, device.secrets, backend.secrets);
    seen
}

/// Resumes with a ticket (NNpsk0), and runs a session after it.
fn resumption(ends: Ends) -> Transcript {
    let world = World::new();
    let mut seen = Transcript::default();
    let (ticket, psk, service) = seen.backend(ends, || {
        let ticket = keys().seal(ID, &contents(), &resume());
        assert_eq!(ticket, super::tickets::ticket());
        (ticket, psk(), service())
    });
    seen.note("Ticket", &ticket);
    let attempt = Resumption {
        local: &world.device,
        ticket: &ticket,
        psk: &psk,
        service: &service,
        connection_id: ConnectionId::new(&[6; 4]).unwrap(),
        limits: Limits::DEVICE,
        early: b"early records",
    };
    let (mut hello, mut reply) = ([0u8; MAX_HELLO], [0u8; MAX_REPLY]);
    let (waiting, len) =
        seen.device(ends, || attempt.start(ATTEMPT, &mut Once(Some(DEVICE_RANDOM)), &mut hello)).unwrap();
    let hello = &hello[..len];
    seen.note("Hello", hello);
    let (backend, len) = seen
        .backend(ends, || {
            let keys = keys();
            let authentic = keys.check_hello(hello)?;
            let opened = authentic.open(&keys, NOW)?;
            let mut read =
                world.responder.read_resume(&authentic, &opened, &mut Once(Some(BACKEND_RANDOM)))?;
            assert_eq!(read.take_early(), b"early records");
            read.write_reply(&world.responder, *BACKEND_ID, Duration::from_secs(500), &mut reply)
        })
        .unwrap();
    seen.note("Reply", &reply[..len]);
    let Some(device) = seen.device(ends, || waiting.read_reply(&reply[..len]).ok()) else {
        panic!("the genuine Reply is read")
    };
    data(&mut seen, ends, device.secrets, backend.secrets);
    seen
}

/// Seals one packet at an end, of a length of its own.
fn seal<const W: usize>(from: &mut Session<W>, now: Instant) -> Vec<u8> {
    let mut out = [0u8; 3000];
    let start = from.header_len(&BACKEND_ID);
    let counter = from.next_counter();
    let len = [0, 1, 64, 200, 1000, 2500][(counter % 6) as usize];
    out[start..start + len].fill(counter as u8);
    from.seal(now, &BACKEND_ID, &mut out, len).unwrap().to_vec()
}

/// Opens it at the other end, after an altered copy of it, which changes nothing.
fn open<const W: usize>(to: &mut Session<W>, now: Instant, packet: &[u8]) -> (Vec<u8>, bool) {
    let header = DataHeader::parse(packet, BACKEND_ID.len()).unwrap();
    let mut altered = packet.to_vec();
    *altered.last_mut().unwrap() ^= 1;
    let forged = altered.clone();
    assert!(to.open(now, &header, &mut altered).is_err());
    assert_eq!(altered, forged);
    let mut packet = packet.to_vec();
    let opened = to.open(now, &header, &mut packet).unwrap();
    let advanced = opened.epoch_advanced;
    (opened.payload.to_vec(), advanced)
}

/// A session through a hash ratchet and a DH ratchet, packets both ways all along.
fn data(seen: &mut Transcript, ends: Ends, device: SessionSecrets, backend: SessionSecrets) {
    let policy = RekeyPolicy::default().hash_after_packets(20).unwrap();
    let mut device = Session::<2>::new(Instant::ZERO, Side::Device, device, 1024, policy);
    let mut backend = Session::<16>::new(Instant::ZERO, Side::Backend, backend, 128, policy);
    let exported = [device.exporter(), backend.exporter()].map(|exporter| *exporter.export::<32>("t", b""));
    assert_eq!(exported[0], exported[1]);
    seen.note("exported", &exported[0]);

    let mut advances = 0;
    for round in 0..60 {
        let now = Instant::from_millis(10_000 * round);
        let packet = seen.backend(ends, || seal(&mut backend, now));
        seen.device(ends, || open(&mut device, now, &packet));
        seen.note("to the device", &packet);
        if round == 30 {
            let epoch = device.epoch();
            device.request_rekey();
            let secret = EphemeralSecret::from_bytes([0x1d; 32]);
            let request = seen.device(ends, || device.start_dh(secret)).unwrap();
            seen.note("RekeyRequest", &request.0);
            let answer = backend.handle_rekey_request(now, epoch, request);
            assert_eq!(answer, Ok(RekeyAnswer::NeedsEphemeral));
            let secret = EphemeralSecret::from_bytes([0x1b; 32]);
            let accept = seen.backend(ends, || backend.answer_dh(now, secret)).unwrap();
            seen.note("RekeyAccept", &accept.0);
            seen.device(ends, || device.handle_rekey_accept(now, epoch, accept)).unwrap();
        }
        let packet = seen.device(ends, || seal(&mut device, now));
        let (_, advanced) = seen.backend(ends, || open(&mut backend, now, &packet));
        advances += u32::from(advanced);
        seen.note("to the backend", &packet);
    }
    for ratchets in [device.hash_ratchets(), backend.hash_ratchets()] {
        assert_eq!(ratchets, advances - 1);
        assert!(ratchets >= 2, "before and after the DH ratchet");
    }
    assert_eq!((device.dh_ratchets(), backend.dh_ratchets()), (1, 1));
}

fn assert_same(what: &str, run: impl Fn(Ends) -> Transcript) {
    let reference = run(MATRIX[0]);
    assert!(reference.entries.len() > 100);
    for ends in MATRIX {
        let seen = run(ends);
        for ((name, expected), (_, bytes)) in reference.entries.iter().zip(&seen.entries) {
            assert_eq!(bytes, expected, "{what}, {ends:?}: {name}");
        }
        assert_eq!(seen.entries.len(), reference.entries.len());
        // Each end was where it should have been, and nowhere else.
        for (end, provider) in [("device", ends.device), ("backend", ends.backend)] {
            let calls = seen.calls[end];
            let [own, other] = if provider == Provider::Pure { [0, 1] } else { [1, 0] };
            assert!(calls[own] > 100 && calls[other] == 0, "{what}, {ends:?}: {end} {calls:?}");
        }
    }
}

#[test]
fn every_handshake_is_the_same_between_all_providers() {
    for case in Case::all() {
        assert_same(&format!("{case:?}"), |ends| full_handshake(case, ends));
    }
}

#[test]
fn a_resumption_is_the_same_between_all_providers() {
    assert_same("NNpsk0", resumption);
}
