//! Handshakes with each message lost, repeated or delayed, one by one and in pairs.

use crate::kit::*;
use crate::link::Verdict;
use crate::puppet::PuppetDevice;
use crate::world::{Setup, World};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use vitalwire::backend::{BackendEvent, Inbound};
use vitalwire::framing::Lane;
use vitalwire::wire::PskId;

#[derive(Clone, Copy, Debug)]
struct Case {
    pinned: bool,
    psk: bool,
    /// The backend is under load: it asks for a cookie.
    load: bool,
    /// The device has a session of which a restarted backend knows nothing.
    restart: bool,
}

const FAULTS: [Verdict; 4] = [Verdict::Drop, Verdict::Twice, Verdict::Late(1_500), Verdict::Late(25_000)];

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        (0..16u8).map(|bits| Self {
            pinned: bits & 1 != 0,
            psk: bits & 2 != 0,
            load: bits & 4 != 0,
            restart: bits & 8 != 0,
        })
    }

    /// Runs it with these faults at these packets, as they are sent; returns the kinds of packets that were sent: the
    /// first byte of a handshake packet, 0x80 or 0x81 for data of the device or the backend.
    fn run(self, faults: &[(usize, Verdict)]) -> Vec<u8> {
        let mut setup = Setup::new(7);
        if self.load {
            setup.backend = |config| config.max_half_open = 3;
        }
        let mut world = setup.build();
        let pin = world.pinned();
        let id = PskId([3; 8]);
        world.add(|config| {
            if self.pinned {
                pin(config);
            }
            if self.psk {
                config.psk = Some((id, psk(5)));
            }
        });
        let identity = world.identity(0);
        if self.psk {
            world.app.psks.insert(0, 5);
            world.backend.enrol(id, psk(5), identity);
        }
        if self.restart {
            world.connect(0);
            world.record(0, Lane::Trend, &rate(1)).unwrap();
            world.drain(secs(5));
            world.run(secs(2));
            world.restart_backend();
            if self.psk {
                world.backend.enrol(id, psk(5), identity);
            }
        }
        if self.load {
            let mut flood = PuppetDevice::new(world.pki.device(900), world.pki.anchors(), None);
            let (now, mut hello) = (world.now, flood.hello());
            world.backend.handle_packets(now, &mut [Inbound { path: 50, packet: &mut hello }], &mut |_| {});
        }
        let kinds = Rc::new(RefCell::new(Vec::new()));
        let (noted, faults_too) = (kinds.clone(), faults.to_vec());
        world.link.filter = Some(Box::new(move |to, packet| {
            let mut noted = noted.borrow_mut();
            if to == crate::link::To::Device(usize::MAX) {
                return Verdict::Pass; // to the flood
            }
            let data = 0x80 | u8::from(matches!(to, crate::link::To::Device(_)));
            noted.push(if packet[0] & 0x80 == 0 { packet[0] } else { data });
            let at = noted.len() - 1;
            faults_too.iter().find(|(position, _)| *position == at).map_or(Verdict::Pass, |(_, fault)| *fault)
        }));
        world.record(0, Lane::Alarm, &alarm(1)).unwrap();
        if !self.restart {
            world.connect(0);
        }
        let told = format!("{self:?} {faults:?}");
        world.drain(secs(120));
        world.run(secs(60));
        self.check(&mut world, &told);
        let kinds = kinds.borrow().clone();
        kinds
    }

    fn check(self, world: &mut World, told: &str) {
        world.app.store.assert_complete(0..1);
        assert!(world.nodes[0].device.is_connected(), "{told}");
        let online = |event: &&BackendEvent| matches!(event, BackendEvent::Connected { .. });
        let sessions = world.backend_events.iter().filter(online).count();
        assert_eq!(sessions, 1, "{told}");
        let gone = |event: &BackendEvent| matches!(event, BackendEvent::Disconnected { .. });
        assert!(!world.backend_events.iter().any(gone), "{told}");
        assert_eq!(world.backend.devices(), 1, "{told}");
        // It is one session of both: a further record needs no handshake.
        world.link.filter = None;
        world.link.log = Some(Vec::new());
        world.record(0, Lane::Alarm, &alarm(2)).unwrap();
        world.wait_all_drained_and_check(secs(5));
        let log = world.link.log.take().unwrap();
        assert!(log.iter().all(|(_, _, packet)| packet[0] & 0x80 != 0), "{told}");
    }
}

#[test]
fn one_fault_at_every_message_of_every_handshake() {
    let mut seen = BTreeSet::new();
    for case in Case::all() {
        let kinds = case.run(&[]);
        seen.extend(kinds.iter().copied());
        for position in 0..kinds.len() {
            for fault in FAULTS {
                case.run(&[(position, fault)]);
            }
        }
    }
    let every = [0x11, 0x12, 0x13, 0x14, 0x15, 0x80, 0x81];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), every, "Hello to Reset, data of both");
}

#[test]
fn two_faults_at_every_pair_of_messages_of_every_handshake() {
    for case in Case::all() {
        // What follows upon a first fault can meet the second one, too.
        let positions = case.run(&[]).len() + 2;
        for second in 1..positions {
            for first in 0..second {
                for fault in [Verdict::Drop, Verdict::Twice, Verdict::Late(1_500)] {
                    for other in [Verdict::Drop, Verdict::Late(1_500)] {
                        case.run(&[(first, fault), (second, other)]);
                    }
                }
            }
        }
    }
}
