//! The one ticket, over storages that work, fail and lose power.

use super::*;
use crate::crypto::{SigningKey, StaticSecret};
use crate::identity::{Authority, CredentialRequest, LocalIdentity, Role, Time, TrustAnchors};
use alloc::sync::Arc;
use std::vec::Vec;

const NOW: Instant = Instant::from_millis(50_000);
const CLOCK: UnixSeconds = UnixSeconds(1_750_000_000);

fn config() -> DeviceConfig {
    let authority = Authority::new(SigningKey::from_bytes([1; 32]));
    let secret = StaticSecret::from_bytes([2; 32]);
    let public = secret.public_key();
    let request = CredentialRequest {
        serial: 1,
        subject: SubjectId([3; 16]),
        role: Role::Device,
        scopes: Scopes::PUBLISH,
        issued: UnixSeconds(1),
        not_before: UnixSeconds(1),
        not_after: UnixSeconds(1_800_000_000),
    };
    let credential = authority.issue(&public, &request).unwrap();
    let identity = LocalIdentity::new(Arc::new(secret), public, credential);
    let anchors = TrustAnchors::new(&[authority.public_key()]).unwrap();
    DeviceConfig::new(identity, anchors, Time::known(CLOCK), 1, 4096)
}

fn peer() -> Peer {
    Peer {
        key: PublicKey([4; 32]),
        identity: Identity { issuer: IssuerId([5; 8]), subject: SubjectId([6; 16]) },
        scopes: Scopes::from_bits(0x30),
        not_after: UnixSeconds(CLOCK.0 + 5000),
    }
}

fn ticket(number: u8) -> Ticket {
    Ticket {
        ticket: [number; TICKET_LEN],
        psk: Psk::from_bytes([8; 32]),
        service: ServiceKey::from_bytes([9; 32]),
        peer: peer(),
        expires: UnixSeconds(CLOCK.0 + 100),
        dies: Some(NOW + crate::time::Duration::from_secs(60)),
        psk_proved: false,
        own: config().identity.credential().hash(),
    }
}

/// A storage of one item, which survives power cuts and fails when it is told to.
#[derive(Default)]
struct Store {
    value: Option<Vec<u8>>,
    fails: bool,
    erased: usize,
}

impl Store {
    /// Answers one request, if there is one.
    fn serve(&mut self, tickets: &mut Tickets) -> bool {
        let Some(want) = tickets.wants() else { return false };
        tickets.asked();
        assert_eq!(tickets.wants(), Some(want), "repeated until it is answered");
        let found = self.value.clone();
        let reply = match want {
            _ if self.fails => StorageReply::Failed,
            TicketWant::Load => StorageReply::Value(found.as_deref()),
            TicketWant::Store => {
                self.value = Some(tickets.value().unwrap().to_vec());
                StorageReply::Done
            }
            TicketWant::Erase => {
                self.value = None;
                self.erased += 1;
                StorageReply::Done
            }
        };
        tickets.done(&reply);
        true
    }

    fn serve_all(&mut self, tickets: &mut Tickets) {
        for _ in 0..10 {
            if !self.serve(tickets) {
                return;
            }
        }
        panic!("it asks without end");
    }
}

fn loaded(store: &mut Store) -> Tickets {
    let mut tickets = Tickets::new(true);
    store.serve_all(&mut tickets);
    tickets
}

#[test]
fn without_storage_a_ticket_is_ready_at_once_and_gone_when_taken() {
    let mut tickets = Tickets::new(false);
    assert_eq!(tickets.prepare(NOW, &config()), Prepared::No);
    tickets.keep(ticket(1));
    tickets.keep(ticket(2));
    assert_eq!(tickets.wants(), None);
    assert_eq!(tickets.prepare(NOW, &config()), Prepared::Ready);
    assert_eq!(tickets.take().unwrap().ticket, [2; TICKET_LEN]);
    assert_eq!(tickets.prepare(NOW, &config()), Prepared::No);
}

#[test]
fn a_stored_ticket_is_erased_before_it_is_used() {
    //= SPEC.md#tickets
    //= type=test
    //# A device MUST use a ticket once, and have it erased wherever it is stored before the Hello is sent.
    let mut store = Store::default();
    let mut tickets = loaded(&mut store);
    tickets.keep(ticket(1));
    store.serve_all(&mut tickets);
    assert!(store.value.is_some());
    assert_eq!(tickets.prepare(NOW, &config()), Prepared::Wait);
    assert_eq!(tickets.wants(), Some(TicketWant::Erase));
    tickets.asked();
    assert_eq!(tickets.prepare(NOW, &config()), Prepared::Wait, "not before the storage has answered");
    store.value = None;
    tickets.done(&StorageReply::Done);
    assert_eq!(tickets.prepare(NOW, &config()), Prepared::Ready);
    assert!(tickets.take().is_some());
    assert_eq!(tickets.wants(), None);
}

#[test]
fn a_power_cut_around_the_erasure_never_leaves_a_used_ticket() {
    // Before the erasure: the ticket is there and was not used. After it: it is gone, used or not.
    for erased in [false, true] {
        let mut store = Store::default();
        let mut tickets = loaded(&mut store);
        tickets.keep(ticket(1));
        store.serve_all(&mut tickets);
        assert_eq!(tickets.prepare(NOW, &config()), Prepared::Wait);
        if erased {
            store.serve_all(&mut tickets);
            assert_eq!(tickets.prepare(NOW, &config()), Prepared::Ready);
        }
        drop(tickets);
        let mut after = loaded(&mut store);
        let expected = if erased { Prepared::No } else { Prepared::Wait };
        assert_eq!(after.prepare(NOW, &config()), expected);
    }
}

#[test]
fn comes_back_after_a_restart_and_is_checked_strictly() {
    let mut store = Store::default();
    let mut tickets = loaded(&mut store);
    tickets.keep(ticket(7));
    store.serve_all(&mut tickets);
    let image = store.value.clone().unwrap();
    assert_eq!(image.len(), STORED_TICKET);
    let mut again = loaded(&mut Store { value: Some(image.clone()), ..Store::default() });
    let held = again.held.take().unwrap();
    let first = ticket(7);
    assert_eq!((held.ticket, held.peer.identity, held.peer.key), (first.ticket, peer().identity, peer().key));
    assert_eq!((held.psk.bytes(), held.service.bytes()), (first.psk.bytes(), first.service.bytes()));
    assert_eq!((held.peer.scopes, held.expires, held.dies), (peer().scopes, first.expires, None));
    assert_eq!(held.own, first.own);

    let mut wrong_version = image.clone();
    wrong_version[0] = 2;
    let mut wrong_flags = image.clone();
    wrong_flags[1] = 2;
    let mut far = image.clone();
    far[STORED_TICKET - 17] = 1;
    let cut = (0..STORED_TICKET).map(|len| image[..len].to_vec());
    let longer = [&image[..], &[0]].concat();
    for bad in cut.chain([wrong_version, wrong_flags, far, longer]) {
        let mut store = Store { value: Some(bad), ..Store::default() };
        let mut tickets = loaded(&mut store);
        assert_eq!(tickets.prepare(NOW, &config()), Prepared::No);
        assert_eq!((store.value, store.erased), (None, 1), "what is no ticket is erased");
    }
}

/// The layout in tests/vectors/storage.json, which `storage::tests` writes field by field, is the one that is kept.
#[test]
fn keeps_what_the_vector_says() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/storage.json");
    let file: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let text = file["ticket"]["content"].as_str().unwrap();
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    let held = Ticket::decode(&bytes(text)).unwrap();
    assert_eq!(held.encode().to_vec(), bytes(text));
    let field = |name: &str| bytes(file["ticket"]["ticket"][name].as_str().unwrap());
    assert_eq!((held.ticket.to_vec(), held.psk.bytes().to_vec()), (field("ticket"), field("psk")));
    assert_eq!(held.service.bytes().to_vec(), field("service_key"));
    assert_eq!(held.peer.key.0.to_vec(), field("backend_key"));
    assert_eq!(held.peer.identity.issuer.0.to_vec(), field("issuer"));
    assert_eq!(held.peer.identity.subject.0.to_vec(), field("subject"));
    assert_eq!(held.own.0.to_vec(), field("own_hash"));
    assert_eq!((held.peer.scopes.bits(), held.expires), (0x0102_0304, UnixSeconds(1_750_000_000)));
    assert!(held.psk_proved);
}

#[test]
fn a_storage_that_fails_costs_the_ticket_and_nothing_else() {
    let mut store = Store::default();
    let mut tickets = loaded(&mut store);
    tickets.keep(ticket(1));
    store.serve_all(&mut tickets);
    store.fails = true;
    assert_eq!(tickets.prepare(NOW, &config()), Prepared::Wait);
    store.serve_all(&mut tickets);
    assert_eq!(tickets.prepare(NOW, &config()), Prepared::No, "what cannot be erased is not used");
    // One that cannot be stored may be there all the same, so it has to be erased, too.
    tickets.keep(ticket(2));
    store.serve_all(&mut tickets);
    assert_eq!(tickets.prepare(NOW, &config()), Prepared::Wait);
    store.fails = false;
    store.serve_all(&mut tickets);
    assert_eq!(tickets.prepare(NOW, &config()), Prepared::Ready);
    assert_eq!(store.value, None);

    let mut unreadable = Store { fails: true, value: Some(vec![1; STORED_TICKET]), ..Store::default() };
    let mut tickets = loaded(&mut unreadable);
    assert_eq!(tickets.prepare(NOW, &config()), Prepared::No);
}

#[test]
fn a_ticket_that_comes_while_another_is_stored_is_stored_after_it() {
    let mut store = Store::default();
    let mut tickets = loaded(&mut store);
    tickets.keep(ticket(1));
    tickets.asked();
    tickets.keep(ticket(2));
    tickets.done(&StorageReply::Done);
    assert_eq!(tickets.wants(), Some(TicketWant::Store));
    store.serve_all(&mut tickets);
    assert_eq!(store.value.as_ref().unwrap()[2..2 + TICKET_LEN], [2; TICKET_LEN]);
    tickets.forget();
    store.serve_all(&mut tickets);
    assert_eq!(store.value, None);
    // One that is to be used while it is being stored is erased first.
    tickets.keep(ticket(3));
    tickets.asked();
    assert_eq!(tickets.prepare(NOW, &config()), Prepared::Wait);
    store.value = Some(vec![0]);
    tickets.done(&StorageReply::Done);
    store.serve_all(&mut tickets);
    assert_eq!((tickets.prepare(NOW, &config()), &store.value), (Prepared::Ready, &None));
}

#[test]
fn is_used_only_within_the_floor() {
    //= SPEC.md#resumption
    //= type=test
    //# A device MUST NOT use a ticket of another backend than the expected or pinned one, of another credential than its present one, beyond its time, or, with a psk floor, one whose full handshake proved no psk.
    let usable = |change: &dyn Fn(&mut DeviceConfig, &mut Ticket), now| {
        let (mut config, mut ticket) = (config(), ticket(1));
        change(&mut config, &mut ticket);
        ticket.is_usable(now, &config)
    };
    let pin = super::super::BackendPin { key: peer().key, identity: peer().identity, credential: None };
    let other = Identity { subject: SubjectId([0; 16]), ..peer().identity };
    let psk = || Some((crate::wire::PskId([1; 8]), Psk::from_bytes([1; 32])));
    assert!(usable(&|_, _| {}, NOW));
    assert!(usable(&|config, _| config.expected = Some(peer().identity), NOW));
    assert!(!usable(&|config, _| config.expected = Some(other), NOW));
    assert!(usable(&|config, _| config.pin = Some(pin), NOW));
    assert!(!usable(
        &|config, _| config.pin = Some(super::super::BackendPin { key: PublicKey([0; 32]), ..pin }),
        NOW
    ));
    assert!(!usable(&|config, _| config.psk = psk(), NOW));
    let proved = |config: &mut DeviceConfig, ticket: &mut Ticket| {
        config.psk = psk();
        ticket.psk_proved = true;
    };
    assert!(usable(&proved, NOW));
    assert!(!usable(&|_, ticket| ticket.own = CredentialHash([0; 16]), NOW));
    for (clock, good) in [(99, true), (100, true), (101, false)] {
        let at = UnixSeconds(CLOCK.0 + clock);
        assert_eq!(usable(&|config, _| config.time = Time::known(at), NOW), good);
        assert_eq!(usable(&|config, _| config.time = Time::floor_only(at), NOW), good);
        let late = |config: &mut DeviceConfig, ticket: &mut Ticket| {
            config.time = Time::known(at);
            (ticket.expires, ticket.peer.not_after) = (UnixSeconds(u64::MAX), UnixSeconds(CLOCK.0 + 100));
        };
        assert_eq!(usable(&late, NOW), good, "nor longer than the backend's credential");
    }
    let second = crate::time::Duration::from_secs(60);
    assert!(!usable(&|_, _| {}, NOW + second));
    assert!(usable(&|_, ticket| ticket.dies = None, NOW + second));
}
