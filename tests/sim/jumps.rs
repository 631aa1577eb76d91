//! Clocks of a backend that jump: the one that people set, and the one that should only go on.

use crate::amplification::{exchange, puppet};
use crate::kit::*;
use crate::resume::{assert_whole, patterns};
use crate::revocation::is_pending;
use crate::world::{Setup, World};
use vitalwire::backend::{BackendEvent, Inbound};
use vitalwire::framing::{Frame, Frames, Lane};
use vitalwire::identity::{CredentialRequest, LocalIdentity};
use vitalwire::wire::Pattern;
use vitalwire::{Discard, Instant, UnixSeconds};

const YEAR: u64 = 365 * 86_400;

fn set(world: &mut World, clock: u64) {
    world.backend.set_wall_clock(UnixSeconds(clock));
}

#[test]
fn a_wall_clock_that_jumps_ends_no_session_and_lets_in_nobody_that_it_should_not() {
    for clock in [0, CLOCK.0 - 10 * YEAR, CLOCK.0 + 10 * YEAR, u64::MAX] {
        let mut world = Setup { ticket_key: Some(1), ..Setup::new(1) }.build();
        let mut identity: Option<LocalIdentity> = None;
        world.add(|config| identity = Some(config.identity.clone()));
        world.add(|_| {});
        for number in [0, 1] {
            world.connect(number);
            world.run_to_connected(number);
        }
        world.run(secs(2));
        let connected = |world: &World| world.count(|event| matches!(event, BackendEvent::Connected { .. }));
        let floor = world.pki.renewed(&identity.unwrap(), |_: &mut CredentialRequest| {});
        // A renewal is under way, the other device has gone away with a ticket.
        let (now, id) = (world.now, world.identity(0));
        world.backend.renew(now, &id, &floor).unwrap();
        world.node(1).device.disconnect();
        world.run(ms(1));
        set(&mut world, clock);
        let (before, asked) = (connected(&world), world.count(is_pending));
        for round in 0..20 {
            world.record(0, Lane::Alarm, &alarm(round)).unwrap();
            world.run(secs(30));
        }
        assert_eq!(world.app.store.stored.len(), 20, "{clock}: its session goes on");
        assert!(world.nodes[0].device.is_connected());
        let renewed = |event: &BackendEvent| {
            use vitalwire::backend::RenewalOutcome;
            matches!(event, BackendEvent::RenewalEnded { outcome: RenewalOutcome::Taken, .. })
        };
        assert_eq!(world.count(renewed), 1, "{clock}: its own clock is right");
        // No ticket is good at this time. Ahead, no credential is, either. Behind, the time is that of the floor: who was
        // let in by then is let in now.
        world.record(1, Lane::Alarm, &alarm(1)).unwrap();
        world.connect(1);
        world.run(secs(300));
        let behind = usize::from(clock < CLOCK.0);
        assert_eq!(
            (connected(&world), world.count(is_pending)),
            (before + behind, asked + behind),
            "{clock}"
        );
        assert_eq!(world.backend.discards().of(Discard::BadCredential) > 0, behind == 0, "{clock}");
        let tickets = [Discard::BadTicket, Discard::ExpiredTicket];
        assert!(tickets.iter().any(|reason| world.backend.discards().of(*reason) > 0), "{clock}");
        // Nothing of the wrong time remains: no floor that locks everybody out.
        set(&mut world, CLOCK.0);
        world.run_to_connected(1);
        world.node(0).device.disconnect();
        world.run(secs(2));
        world.connect(0);
        world.run_to_connected(0);
        assert_eq!(patterns(&world).last(), Some(&Pattern::Ik), "{clock}: with its new credential");
        assert_whole(world);
    }
}

#[test]
fn a_clock_that_goes_back_a_little_keeps_tickets_and_sessions() {
    // As when it is put right by some minutes.
    for step in [-299i64, -60, 60, 3600] {
        let mut world = Setup { ticket_key: Some(1), ..Setup::new(2) }.connected();
        world.run(secs(2));
        world.node(0).device.disconnect();
        world.run(secs(2));
        set(&mut world, CLOCK.0.wrapping_add_signed(step));
        world.connect(0);
        world.run_to_connected(0);
        assert_eq!(patterns(&world), [Pattern::Xx, Pattern::Resume], "{step}");
    }
}

/// Sends a Ping at this time; tells whether the Pong comes.
fn answers(world: &mut World, puppet: &mut crate::puppet::PuppetDevice, now: Instant, number: u64) -> bool {
    let token = number.to_le_bytes();
    let mut packet = puppet.frames(world.now, &[Frame::Ping(token)]);
    world.backend.handle_timeout(now);
    world.backend.handle_packets(now, &mut [Inbound { path: 5, packet: &mut packet }], &mut |_| {});
    world.backend.handle_timeout(now);
    let mut out = [0; 1500];
    let mut heard = false;
    while let Some(sent) = world.backend.poll_transmit(now, &mut world.rng, &mut out).unwrap() {
        // A Reset, if the session is gone.
        let Some(payload) = puppet.open(world.now, sent.packet) else { continue };
        heard |=
            Frames::parse(&payload).unwrap().any(|frame| matches!(frame, Frame::Pong(echo) if echo == token));
    }
    heard
}

#[test]
fn a_monotonic_clock_that_stands_still_or_goes_back_ends_nothing() {
    let mut world = Setup { ticket_key: Some(1), ..Setup::new(3) }.build();
    world.now = at(10_000_000);
    let mut puppet = puppet(&mut world, false);
    let hello = puppet.hello();
    let reply = exchange(&mut world, 5, &hello).remove(0).1;
    let finish = puppet.reply(world.now, &reply).unwrap();
    for (_, packet) in exchange(&mut world, 5, &finish) {
        puppet.open(world.now, &packet).unwrap();
    }
    let start = world.now;
    let late = |millis| start + ms(millis);
    let a_little = [0, 0, 5_000, 4_000, 1].map(late);
    let far = [at(9_999_999), at(5), at(0), at(0)];
    // Right again, when the timers of a young session are due.
    let again = [60_000, 59_999, 0].map(late);
    for (number, now) in a_little.into_iter().chain(far).chain(again).chain([start; 200]).enumerate() {
        assert!(answers(&mut world, &mut puppet, now, number as u64), "packet {number} at {now:?}");
    }
    assert_eq!(world.backend.counters().sessions, 1);
    // Handshakes get through while it stands still, as far as the burst goes.
    let mut stranger = crate::amplification::puppet(&mut world, false);
    stranger.rng = Rng::new(8);
    world.now = at(77);
    for path in 100..140 {
        let hello = stranger.hello();
        assert_eq!(exchange(&mut world, path, &hello)[0].1[0], 0x12, "path {path}");
    }
    // The end of all times: what is over ends, and nothing panics.
    let end = Instant::from_millis(u64::MAX);
    world.backend.handle_timeout(end);
    assert!(!answers(&mut world, &mut puppet, end, 9));
    world.backend.handle_timeout(at(0));
    assert_eq!(world.backend.counters().sessions, 0);
    assert_eq!((world.backend.counters().half_open, world.backend.admission(end).known_hellos), (0, 0));
}
