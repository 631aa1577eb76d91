//! Stolen tickets, copied and altered Hellos, and a device that breaks the rules of a resumption.

use crate::kit::*;
use crate::link::{To, Verdict};
use crate::puppet::PuppetDevice;
use crate::resume::{assert_whole, hellos, patterns, with_ticket, with_ticket_and};
use crate::world::{Setup, World};
use vitalwire::backend::{BackendEvent, ClaimOutcome};
use vitalwire::crypto::{Psk, ServiceKey};
use vitalwire::device::DeviceEvent;
use vitalwire::framing::{Frame, FrameKind, FrameWriter, Frames, Lane};
use vitalwire::handshake::{Limits, Resumed, Resumption, TicketId};
use vitalwire::session::{RekeyPolicy, Session, Side};
use vitalwire::wire::{ConnectionId, DataHeader, Pattern};
use vitalwire::{CloseReason, Discard, Instant};

#[test]
fn altered_hellos_are_counted_and_change_nothing() {
    let mut world = with_ticket(19);
    world.link.filter = Some(Box::new(|_, _| Verdict::Drop));
    world.record(0, Lane::Alarm, &alarm(1)).unwrap();
    world.connect(0);
    world.settle();
    let (_, hello) = hellos(&world).remove(0);
    let sent = world.link.log.as_ref().unwrap().len();
    for at in 0..hello.len() {
        for bit in [0, 3, 7] {
            let mut altered = hello.clone();
            altered[at] ^= 1 << bit;
            let before = world.backend.discards().total();
            world.deliver(To::Backend(5), altered);
            world.settle();
            assert_eq!(world.backend.discards().total(), before + 1, "byte {at}");
        }
    }
    for len in 0..hello.len() {
        world.deliver(To::Backend(5), hello[..len].to_vec());
        world.settle();
    }
    assert_eq!(world.link.log.as_ref().unwrap().len(), sent, "no answer");
    assert!(world.app.claimed.is_empty(), "nothing was claimed");
    world.link.filter = None;
    world.run_to_connected(0);
    assert_eq!(patterns(&world)[1], Pattern::Resume);
    world.wait_all_drained_and_check(secs(10));
    assert_whole(world);
}

#[test]
fn under_load_copies_need_a_cookie_and_new_tickets_do_not() {
    let mut world = with_ticket_and(20, |setup| setup.backend = |config| config.max_half_open = 4, |_| {});
    world.connect(0);
    world.run_to_connected(0);
    let (_, hello) = hellos(&world).remove(0);
    world.run(secs(25));
    // Two strangers are half open: above a quarter of four.
    let anchors = world.pki.anchors();
    for number in [600, 601] {
        let identity = world.pki.device(number);
        let mut stranger = PuppetDevice::new(identity, anchors, None);
        stranger.rng = Rng::new(number as u64);
        let first = stranger.hello();
        world.deliver(To::Backend(number as u64), first);
        world.settle();
    }
    let before = world.link.log.as_ref().unwrap().len();
    world.deliver(To::Backend(77), hello);
    world.settle();
    let answers: Vec<u8> =
        world.link.log.as_ref().unwrap()[before..].iter().map(|(_, _, packet)| packet[0]).collect();
    assert_eq!(answers, [0x14], "no Diffie-Hellman operation for a copy");
    world.node(0).device.disconnect();
    world.settle();
    world.connect(0);
    world.run_to_connected(0);
    assert_eq!(patterns(&world)[1..], [Pattern::Resume; 2]);
    assert_whole(world);
}

/// Somebody with a ticket and its psk: a device, or who has read its memory.
struct Holder {
    identity: vitalwire::identity::LocalIdentity,
    ticket: [u8; 122],
    psk: [Psk; 1],
    service: ServiceKey,
    misused: bool,
}

const PATH: u64 = 4;

fn exchange(world: &mut World, path: u64, packet: Vec<u8>) -> Vec<Vec<u8>> {
    world.link.log.as_mut().unwrap().clear();
    world.deliver(To::Backend(path), packet);
    world.settle();
    let log = world.link.log.as_ref().unwrap();
    log.iter().map(|(.., packet)| packet.clone()).collect()
}

/// Runs a full handshake by hand and keeps the ticket, as often as a thief has read the memory.
fn full(world: &mut World, puppet: &mut PuppetDevice) -> Holder {
    let hello = puppet.hello();
    let reply = exchange(world, PATH, hello).remove(0);
    let finish = puppet.reply(world.now, &reply).unwrap();
    let packet = exchange(world, PATH, finish).remove(0);
    let payload = puppet.open(world.now, &packet).unwrap();
    let frame = Frames::parse(&payload).unwrap().find_map(|frame| match frame {
        Frame::Ticket(ticket) => Some(ticket),
        _ => None,
    });
    let frame = frame.expect("the first packet of a session has a ticket");
    let session = &puppet.session.as_ref().unwrap().0;
    Holder {
        identity: puppet.identity.clone(),
        ticket: *frame.ticket,
        psk: [session.resume_secret(0).unwrap().ticket_psk(&TicketId::of(frame.ticket).0)],
        service: ServiceKey::from_bytes(*frame.service_key),
        misused: frame.misused,
    }
}

struct Joined {
    session: Session<2>,
    id: ConnectionId,
}

impl Holder {
    fn hello(&self, seed: u64, early: &[u8]) -> (vitalwire::handshake::AwaitingResume, Vec<u8>) {
        let resumption = Resumption {
            local: &self.identity,
            ticket: &self.ticket,
            psk: &self.psk[0],
            service: &self.service,
            connection_id: ConnectionId::EMPTY,
            limits: Limits::DEVICE,
            early,
        };
        let mut out = [0; 512];
        let (state, len) = resumption.start(b"holder", &mut Rng::new(seed), &mut out).unwrap();
        (state, out[..len].to_vec())
    }

    /// Resumes from `path`: the session, or `None` if refused.
    fn resume(&self, world: &mut World, seed: u64, path: u64) -> Option<Joined> {
        let (state, hello) = self.hello(seed, &[]);
        let answer = exchange(world, path, hello).remove(0);
        if answer[0] == 0x14 {
            assert!(state.refused(&answer).is_some(), "the Retry is genuine");
            return None;
        }
        let Ok(Resumed { secrets, peer_connection_id, peer_limits, .. }) = state.read_reply(&answer) else {
            panic!("a Reply");
        };
        let policy = RekeyPolicy::default();
        let session = Session::new(world.now, Side::Device, secrets, peer_limits.window(), policy);
        Some(Joined { session, id: peer_connection_id })
    }
}

impl Joined {
    /// Sends a Ping and returns the kinds of frames that come back.
    fn ping(&mut self, world: &mut World, path: u64) -> Vec<String> {
        let mut out = [0; 200];
        let head = self.session.header_len(&self.id);
        let mut writer = FrameWriter::new(&mut out[head..]);
        writer.push(&Frame::Ping([1; 8])).unwrap();
        let len = writer.len();
        let packet = self.session.seal(world.now, &self.id, &mut out, len).unwrap().to_vec();
        let mut frames = Vec::new();
        for answer in exchange(world, path, packet) {
            frames.extend(self.open(world.now, answer));
        }
        frames
    }

    fn open(&mut self, now: Instant, mut packet: Vec<u8>) -> Vec<String> {
        let Ok(header) = DataHeader::parse(&packet, 0) else { return Vec::new() };
        let Ok(opened) = self.session.open(now, &header, &mut packet) else { return Vec::new() };
        Frames::parse(opened.payload).unwrap().map(|frame| format!("{frame:?}")).collect()
    }
}

fn puppet_world(seed: u64) -> (World, PuppetDevice) {
    let mut world = Setup { ticket_key: Some(1), ..Setup::new(seed) }.build();
    let identity = world.pki.device(500);
    world.app.store.register(identity.identity().unwrap());
    world.link.log = Some(Vec::new());
    let puppet = PuppetDevice::new(identity, world.pki.anchors(), None);
    (world, puppet)
}

#[test]
fn a_stolen_ticket_is_found_out_whoever_uses_it_first() {
    //= SPEC.md#resumption
    //= type=test
    //# After other a backend MUST close the sessions that were resumed from the ticket's origin.
    let close = format!("{:?}", Frame::Close(CloseReason::TicketConflict));
    for proved in [true, false] {
        let (mut world, mut puppet) = puppet_world(22);
        let holder = full(&mut world, &mut puppet);
        assert!(!holder.misused);
        let mut first = holder.resume(&mut world, 1, PATH).expect("a new ticket");
        if proved {
            assert!(!first.ping(&mut world, PATH).is_empty());
        }
        // The other one comes, from elsewhere and with a Hello of his own.
        assert!(holder.resume(&mut world, 2, 66).is_none());
        assert_eq!(world.app.claimed.last().unwrap().1, ClaimOutcome::Other);
        let conflict = |event: &BackendEvent| matches!(event, BackendEvent::TicketConflict { .. });
        assert!(world.backend_events.iter().any(conflict));
        assert!(world.backend.discards().of(Discard::TicketReused) == 1);
        if proved {
            // The session ended with a Close in the very exchange that told.
            let told: Vec<Vec<u8>> =
                world.link.log.as_ref().unwrap().iter().map(|(.., packet)| packet.clone()).collect();
            let frames: Vec<String> =
                told.into_iter().flat_map(|packet| first.open(world.now, packet)).collect();
            assert!(frames.contains(&close), "{frames:?}");
        }
        let answers = first.ping(&mut world, PATH);
        assert!(answers.is_empty(), "the first one is out: {answers:?}");
        // Nobody has a ticket of this origin that is good for anything; nor is a copy of the first one's own Hello,
        // long after: the thief may have been the first.
        assert!(holder.resume(&mut world, 3, 66).is_none());
        world.run(secs(30));
        assert!(holder.resume(&mut world, 1, PATH).is_none());
        // Its owner shows its credential, and is told.
        world.run(secs(1));
        world.set_clock(1);
        let next = full(&mut world, &mut puppet);
        assert!(next.misused);
        assert!(next.resume(&mut world, 4, PATH).is_some());
        let again = full(&mut world, &mut puppet);
        assert!(!again.misused, "once it has shown that it knows");
    }
}

#[test]
fn a_device_is_told_that_its_ticket_was_misused() {
    let mut world = with_ticket(23);
    world.connect(0);
    world.run_to_connected(0);
    let (claim, _) = world.app.claimed[0];
    // A thief has come to another node.
    let theft = vitalwire::backend::TicketClaim { hello: [9; 32], ..claim };
    assert_eq!(world.app.claims.claim(world.app.clock, &theft), ClaimOutcome::Other);
    let identity = world.identity(0);
    world.backend.disconnect(&identity, CloseReason::TicketConflict).unwrap();
    world.run(secs(1));
    world.set_clock(1);
    world.run_to_connected(0);
    world.run(secs(2));
    assert_eq!(patterns(&world)[1..], [Pattern::Resume, Pattern::Ik]);
    assert!(world.nodes[0].events.contains(&DeviceEvent::Disconnected(CloseReason::TicketConflict)));
    assert!(world.nodes[0].events.contains(&DeviceEvent::TicketMisused));
    assert_whole(world);
}

#[test]
fn early_frames_of_other_kinds_close_the_session() {
    //= SPEC.md#early-records
    //= type=test
    //# A backend MUST close a session with reason 2 whose early records hold another frame than Streams, Records, Descriptors and Padding, or a malformed one.
    let mut ping = [0; 16];
    let mut writer = FrameWriter::new(&mut ping);
    writer.push(&Frame::Ping([1; 8])).unwrap();
    let ping = writer.finish().to_vec();
    let close = format!("{:?}", Frame::Close(CloseReason::ProtocolViolation));
    for (early, bad) in [(&ping[..], true), (&[63, 1], true), (&[FrameKind::Padding as u8, 0, 0], false)] {
        let (mut world, mut puppet) = puppet_world(24);
        let holder = full(&mut world, &mut puppet);
        let (state, hello) = holder.hello(1, early);
        let reply = exchange(&mut world, PATH, hello).remove(0);
        let Ok(resumed) = state.read_reply(&reply) else { panic!("a Reply") };
        let session = Session::new(world.now, Side::Device, resumed.secrets, 1024, RekeyPolicy::default());
        let mut joined = Joined { session, id: resumed.peer_connection_id };
        assert_eq!(joined.ping(&mut world, PATH).contains(&close), bad, "{early:02x?}");
        assert!(world.backend.poll_early().is_none());
    }
}

#[test]
fn replayed_hellos_do_not_keep_their_device_out() {
    let mut world = Setup::new(34).build();
    let pin = world.pinned();
    world.add(pin);
    world.link.log = Some(Vec::new());
    for _ in 0..2 {
        world.connect(0);
        world.run_to_connected(0);
        world.node(0).device.disconnect();
        world.run(secs(30));
    }
    let old: Vec<Vec<u8>> = hellos(&world).into_iter().map(|(_, hello)| hello).collect();
    assert_eq!(old.len(), 2);
    assert!(old.iter().all(|hello| hello[1] == 2), "IK");

    // Somebody who has recorded them takes both places, whenever they are free.
    let come_in = |world: &mut World, recorded: &[(u64, Vec<u8>)]| {
        let flood = |world: &mut World| {
            recorded.iter().for_each(|(path, hello)| world.deliver(To::Backend(*path), hello.clone()));
        };
        flood(world);
        world.settle();
        world.connect(0);
        let start = world.now;
        while !world.nodes[0].device.is_connected() {
            flood(world);
            world.run(ms(500));
            assert!(world.now.since(start) < secs(200), "kept out");
        }
        let took = world.now.since(start);
        world.node(0).device.disconnect();
        world.run(secs(30));
        (took, *patterns(world).last().unwrap())
    };
    let mut recorded: Vec<_> = old.into_iter().map(|hello| (66, hello)).collect();
    for _ in 0..2 {
        //= SPEC.md#admission
        //= type=test
        //# A backend that has no place for a Hello of IK without a valid cookie, as others of its identity have them, MUST answer it with a Retry if it may send one.
        let (took, pattern) = come_in(&mut world, &recorded);
        assert!(took <= secs(1) && pattern == Pattern::Ik, "after {took:?} by {pattern:?}");
    }
    assert!(world.backend.discards().of(Discard::TooManyPending) > 0, "the attack works");

    // Nor does somebody who sends those with a cookie again, too, from the device's path while the cookie is valid.
    let (path, bare) = (world.nodes[0].path, recorded[0].1.len());
    let proven = hellos(&world).into_iter().filter(|(_, hello)| hello.len() > bare);
    recorded.extend(proven.map(|(_, hello)| (path, hello)));
    assert_eq!(recorded.len(), 4);
    let (took, pattern) = come_in(&mut world, &recorded);
    assert_eq!(pattern, Pattern::Xx, "after {took:?}");
    world.connect(0);
    world.run_to_connected(0);
    world.record(0, Lane::Alarm, &alarm(1)).unwrap();
    world.wait_all_drained_and_check(secs(20));
}

#[test]
fn no_ticket_id_comes_twice_where_the_generator_repeats_itself() {
    let (mut world, mut puppet) = puppet_world(35);
    full(&mut world, &mut puppet);
    let mut ids = [1, 2].map(|_| {
        // A copy of the machine goes on from the same state.
        world.rng = Rng::new(7);
        TicketId::of(&full(&mut world, &mut puppet).ticket)
    });
    ids.sort();
    assert_ne!(ids[0], ids[1]);
}
