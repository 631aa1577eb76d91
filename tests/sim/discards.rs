//! Every reason for a discard is counted by some test.

use crate::facing::{Against, PATH};
use crate::kit::*;
use crate::link::{To, Verdict};
use crate::puppet::PuppetDevice;
use crate::world::Setup;
use std::collections::BTreeSet;
use vitalwire::Discard;
use vitalwire::framing::Lane;

#[test]
fn handshakes_of_authenticated_strangers_are_discarded_for_what_they_lack() {
    let mut world = Setup::new(1).connected();
    let identity = world.pki.device(500);
    world.app.store.register(identity.identity().unwrap());
    let mut puppet = PuppetDevice::new(identity, world.pki.anchors(), None);
    world.link.log = Some(Vec::new());
    let hello = puppet.hello();
    let of = |world: &crate::world::World, discard| world.backend.discards().of(discard);
    world.deliver(To::Backend(PATH), hello[..90].to_vec());
    assert_eq!(of(&world, Discard::ShortHello), 1);
    let reply = Against::exchange(&mut world, hello).remove(0);
    let finish = puppet.reply(world.now, &reply).unwrap();
    // Data before the Finish has come; and a Finish that was forged.
    let early = puppet.payload(world.now, &[]);
    world.deliver(To::Backend(PATH), early);
    assert_eq!(of(&world, Discard::NotAccepted), 1);
    let mut forged = finish.clone();
    forged[20] ^= 1;
    assert!(Against::exchange(&mut world, forged).is_empty());
    assert_eq!(of(&world, Discard::HandshakeFailed), 1);
    assert_eq!(Against::exchange(&mut world, finish).len(), 1, "the handshake has survived it all");
    assert_eq!(world.backend.discards().total(), 3);
}

#[test]
fn packets_of_sessions_that_are_elsewhere_are_of_an_unknown_connection() {
    let mut world = Setup::new(2).connected();
    world.backend = world.another_node();
    world.record(0, Lane::Event, &event(1)).unwrap();
    world.run(ms(50));
    assert_eq!(world.backend.discards().of(Discard::UnknownConnection), 1);
}

#[test]
fn records_that_come_again_are_counted_and_not_delivered() {
    let mut world = Setup::new(3).connected();
    world.record(0, Lane::Event, &event(0)).unwrap();
    world.drain(secs(5));
    world.link.filter = Some(Box::new(|to, _| match to {
        To::Backend(_) => Verdict::Pass,
        _ => Verdict::Drop,
    }));
    world.record(0, Lane::Event, &event(1)).unwrap();
    world.run(secs(10));
    assert!(world.backend.discards().of(Discard::RepeatedRecords) > 0);
    assert_eq!((world.app.store.stored.len(), world.app.store.repeats), (2, 0));
}

#[test]
fn each_discard_is_counted_by_some_test() {
    // By name only: that it looks at the count, who reads the test sees. A malformed payload is seen where it is read, in
    // src/handshake/tests, as HandshakeError::Malformed.
    let elsewhere = [Discard::MalformedPayload];
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["tests/sim", "src/session/tests"]
        .into_iter()
        .flat_map(|folder| std::fs::read_dir(root.join(folder)).unwrap().map(|file| file.unwrap().path()));
    let sources: String = files.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let named: BTreeSet<&str> = sources
        .split("Discard::")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric()).next())
        .collect();
    let missing: Vec<_> = Discard::ALL
        .iter()
        .filter(|discard| !elsewhere.contains(discard) && !named.contains(discard.name()))
        .collect();
    assert!(missing.is_empty(), "no test counts {missing:?}");
}
