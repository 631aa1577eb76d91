//! Tickets: what a backend opens, and what a device takes out of its storage.
//!
//! The first byte chooses. 0: [`TicketKeys::open`] on a genuine ticket, altered or not, at any time, and on any bytes. 1: a
//! Hello with a genuine or an altered ticket, or with any bytes behind any ticket, and its MAC right, against a backend.
//! 2: a stored ticket with any content, sealed as the device's own. Otherwise: reboots and claims, see [`crate::rig`].

use crate::input::Input;
use crate::rig;
use crate::world::{CLOCK, SeedRng, time, world};
use std::sync::LazyLock;
use vitalwire::backend::*;
use vitalwire::crypto::{Psk, ServiceKey, SessionSecrets, TicketKey};
use vitalwire::device::*;
use vitalwire::handshake::{Limits, Resumption, TicketContents, TicketId, TicketKeys};
use vitalwire::identity::Scopes;
use vitalwire::limits::{MAX_HELLO, TICKET_LEN};
use vitalwire::session::{RekeyPolicy, Session, Side};
use vitalwire::storage::{Item, MemoryStorage, StorageReply, StorageRequest, seal_ticket};
use vitalwire::wire::{ConnectionId, Hello};
use vitalwire::{Instant, UnixSeconds};

/// A day.
const DAY: u64 = 86_400;

struct Genuine {
    ticket: [u8; TICKET_LEN],
    psk: Psk,
    contents: TicketContents,
}

fn keys() -> TicketKeys {
    TicketKeys::new(ServiceKey::from_bytes([1; 32]), TicketKey::from_bytes([2; 32]), None)
}

fn genuine() -> &'static Genuine {
    static GENUINE: LazyLock<Genuine> = LazyLock::new(|| {
        let secrets = SessionSecrets::new([1; 32], &[2; 64]);
        let session = Session::<2>::new(Instant::ZERO, Side::Backend, secrets, 64, RekeyPolicy::default());
        let resume = session.resume_secret(0).expect("the present epoch");
        let contents = TicketContents {
            identity: world().devices[0].identity().expect("a genuine credential"),
            serial: 1,
            scopes: Scopes::PUBLISH,
            not_after: UnixSeconds(CLOCK.0 + 10 * DAY),
            revocation: 0,
            origin: CLOCK,
            psk_proved: false,
        };
        let id = TicketId([8; 16]);
        Genuine { ticket: keys().seal(id, &contents, resume), psk: resume.ticket_psk(&id.0), contents }
    });
    &GENUINE
}

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.u8();
    match choice & 7 {
        0 => open(&mut input),
        1 => hello(&mut input),
        2 => stored(&mut input),
        _ => rig::run(&mut input, choice >> 3 | 1),
    }
}

fn open(input: &mut Input<'_>) {
    let genuine = genuine();
    let clock = UnixSeconds((CLOCK.0 - DAY) + u64::from(input.u16()) * 20);
    let mut ticket = genuine.ticket.to_vec();
    let altered = if input.u8() & 1 == 0 {
        input.mutate(&mut ticket)
    } else {
        ticket = input.rest().to_vec();
        ticket != genuine.ticket
    };
    ticket.resize(TICKET_LEN, 0);
    let altered = altered && ticket != genuine.ticket;
    let ticket: &[u8; TICKET_LEN] = ticket.first_chunk().expect("resized");
    let opened = keys().open(ticket, clock);
    if altered {
        return assert!(opened.is_err(), "an altered ticket was opened");
    }
    let age = clock.0 as i64 - CLOCK.0 as i64;
    let opened = opened.map(|opened| opened.contents);
    if (0..=7 * DAY as i64).contains(&age) {
        assert_eq!(opened.ok(), Some(genuine.contents));
    } else if age > 7 * DAY as i64 {
        assert!(opened.is_err(), "older than 7 days");
    }
}

fn hello(input: &mut Input<'_>) {
    let (world, genuine) = (world(), genuine());
    let mut ticket = genuine.ticket.to_vec();
    let altered = input.u8() & 1 == 1 && {
        input.mutate(&mut ticket);
        ticket.resize(TICKET_LEN, 0);
        ticket != genuine.ticket
    };
    let early = input.short();
    let service = ServiceKey::from_bytes([1; 32]);
    let resumption = Resumption {
        local: &world.devices[0],
        ticket: ticket.first_chunk().expect("resized"),
        psk: &genuine.psk,
        service: &service,
        connection_id: ConnectionId::EMPTY,
        limits: Limits::DEVICE,
        early: &early[..early.len().min(Resumption::early_room(0))],
    };
    let mut packet = [0u8; MAX_HELLO];
    let (waiting, len) =
        resumption.start(b"1", &mut SeedRng(11), &mut packet).expect("the buffer is large enough");
    let packet = &packet[..len];
    assert!(Hello::parse(packet).is_ok_and(|hello| hello.ticket.is_some()));
    let mut backend: Backend<u64> = Backend::new(world.backend_config()).expect("the configuration is valid");
    backend.set_ticket_keys(keys());
    let mut claims = Claims::new(3);
    let (now, mut rng, mut answered, mut waiting) =
        (Instant::from_millis(1000), SeedRng(5), 0, Some(waiting));
    for round in 0..4u64 {
        let mut copy = packet.to_vec();
        let mutated = round > 0 && input.u8() & 1 == 1 && input.mutate(&mut copy);
        let mut inbound = [Inbound { path: round, packet: &mut copy }];
        backend.handle_packets(now, &mut inbound, &mut |_| panic!("delivered out of a Hello"));
        while let Some(job) = backend.poll_handshake() {
            backend.handle_handshake(now, job.run(&mut rng));
        }
        assert!(backend.poll_early().is_none(), "delivered before the claim");
        while let Some(event) = backend.poll_event() {
            let BackendEvent::Resuming { pending, claim } = event else { continue };
            assert!(!altered && !mutated, "an altered ticket or Hello was taken");
            assert_eq!(claim.identity, genuine.contents.identity);
            use ClaimOutcome::{Other, Same, Unavailable};
            let said = [None, Some(Same), Some(Other), Some(Unavailable)][input.below(4)];
            let outcome = said.unwrap_or_else(|| claims.claim(CLOCK, &claim));
            let grant = Grant { scopes: Scopes::PUBLISH, ..Grant::default() };
            backend.claimed(now, pending, outcome, grant).expect("it is pending");
            while let Some(job) = backend.poll_handshake() {
                backend.handle_handshake(now, job.run(&mut rng));
            }
            let mut count = 0;
            while let Some(batch) = backend.poll_early() {
                assert_eq!(outcome, ClaimOutcome::New, "delivered without a claim");
                assert_eq!(batch.as_batch().identity(), genuine.contents.identity);
                count += 1;
            }
            assert!(count < 100);
            let mut out = [0u8; 1500];
            while let Some(sent) = backend.poll_transmit(now, &mut rng, &mut out).expect("a large buffer") {
                if sent.packet[0] != 0x12 {
                    continue;
                }
                assert!(matches!(outcome, ClaimOutcome::New | ClaimOutcome::Same), "a Reply without a claim");
                answered += 1;
                if let Some(waiting) = waiting.take() {
                    assert!(waiting.read_reply(sent.packet).is_ok(), "the genuine Reply");
                }
            }
        }
        let mut out = [0u8; 1500];
        while backend.poll_transmit(now, &mut rng, &mut out).expect("a large buffer").is_some() {}
    }
    assert!(answered <= 4);
}

/// The device takes it or not, and connects with any backend that is genuine.
fn stored(input: &mut Input<'_>) {
    let world = world();
    let (mut outbox, mut backlog) = (vec![0u8; 3072], vec![0u8; 2 * 1088 + 4 * 400]);
    let mut config = world.device_config(0, outbox.len());
    config.smallest_packet = 128;
    config.storage = Some(StorageConfig::new(rig::storage_key(), backlog.len()));
    // The layout is `device/tickets.rs`'s; what the ticket is for may be right.
    let mut plain = vec![1, 0];
    let genuine = genuine();
    let backend = world.backend.identity().expect("a genuine credential");
    plain.extend_from_slice(&genuine.ticket);
    plain.extend_from_slice(&[3; 64]);
    plain.extend_from_slice(&world.backend.public_key().0);
    plain.extend_from_slice(&backend.issuer.0);
    plain.extend_from_slice(&backend.subject.0);
    plain.extend_from_slice(&Scopes::PUBLISH.bits().to_le_bytes());
    plain.extend_from_slice(&(CLOCK.0 + 500).to_le_bytes());
    plain.extend_from_slice(&world.devices[0].credential().hash().0);
    let choice = input.u8();
    match choice & 3 {
        0 => {}
        1 | 2 => drop(input.mutate(&mut plain)),
        _ => plain = input.long().to_vec(),
    }
    let mut item = vec![0; plain.len() + 100];
    let len = seal_ticket(&rig::storage_key(), [6; 32], &plain, &mut item).expect("room");
    item.truncate(len);
    if choice & 4 != 0 {
        input.mutate(&mut item);
    }
    let memory = DeviceMemory { outbox: &mut outbox, descriptors: &world.set, backlog: &mut backlog };
    let mut device = Device::new(config, memory).expect("the configuration is valid");
    let mut disk = MemoryStorage::default();
    disk.set_item(Item::Ticket, Some(&item));
    let (mut now, mut rng) = (Instant::from_millis(1000), SeedRng(3));
    device.handle_link(now, Link::Up { max_packet: 512 });
    device.connect(now);
    let mut backend: Backend<u64> = Backend::new(world.backend_config()).expect("the configuration is valid");
    backend.set_ticket_keys(keys());
    let mut resumed = 0;
    for round in 0.. {
        assert!(round < 100, "it does not connect");
        while let Some(request) = device.poll_storage(now, &mut rng) {
            let stuck = choice & 8 != 0 && matches!(request, StorageRequest::Delete { .. });
            let reply = disk.serve(request);
            device.handle_storage(now, if stuck { StorageReply::Failed } else { reply });
        }
        let mut out = [0u8; 1500];
        while let Some(packet) = device.poll_transmit(now, &mut rng, &mut out).expect("a large buffer") {
            if Hello::parse(packet).is_ok_and(|hello| hello.ticket.is_some()) {
                assert!(disk.item(Item::Ticket).is_none() && choice & 8 == 0, "it is still stored");
                resumed += 1;
            }
            let mut copy = packet.to_vec();
            backend.handle_packets(now, &mut [Inbound { path: 1, packet: &mut copy }], &mut |_| {});
        }
        settle(now, &mut backend, &mut rng);
        while let Some(sent) = backend.poll_transmit(now, &mut rng, &mut out).expect("a large buffer") {
            let mut copy = sent.packet.to_vec();
            device.handle_packet(now, &mut copy, &mut |_| {});
        }
        if device.is_connected() {
            break;
        }
        let due = [device.poll_timeout(), backend.poll_timeout()].into_iter().flatten().min();
        now = due.expect("an attempt is under way").max(now + vitalwire::Duration::from_millis(1));
        device.handle_timeout(now);
        backend.handle_timeout(now);
    }
    assert!(choice & 0x0f != 0 || resumed > 0, "a good ticket was not used");
    assert!(time().clock().is_some());
}

fn settle(now: Instant, backend: &mut Backend<u64>, rng: &mut SeedRng) {
    for _ in 0..3 {
        while let Some(job) = backend.poll_handshake() {
            backend.handle_handshake(now, job.run(rng));
        }
        while let Some(event) = backend.poll_event() {
            let grant = Grant { scopes: Scopes::PUBLISH, ..Grant::default() };
            match event {
                BackendEvent::Pending { pending, .. } => {
                    backend.accept(now, pending, grant).expect("pending")
                }
                BackendEvent::Resuming { pending, .. } => {
                    backend.claimed(now, pending, ClaimOutcome::New, grant).expect("pending");
                }
                _ => {}
            }
        }
    }
}
