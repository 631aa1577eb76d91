//! Table 3: handshakes, each end's share apart.

use crate::measure::{Effort, Figures, print_aim};
use crate::{noise, own, tls, wireguard};
use std::time::Duration;

const REFERENCE: &str = "snow IK";
const IK: &str = "vitalwire IK";
const KNOWN_IK: &str = "vitalwire IK, credential remembered";
const RESUME: &str = "vitalwire resumption";

/// Runs one handshake: what it took of the initiator and of the responder.
type Shake = Box<dyn FnMut() -> [Duration; 2]>;

fn tls(provider: usize, resume: bool) -> (String, Shake) {
    let (name, provider) = tls::PROVIDERS[provider];
    let ends = tls::Ends::new(provider, resume);
    if resume {
        // Leaves a ticket for the next one, as each does.
        ends.shake();
    }
    let run = move || {
        let (joined, took) = ends.shake();
        assert_eq!(joined.is_resumed(), resume);
        took
    };
    (format!("{name}, {}", if resume { "PSK resumption" } else { "raw public keys" }), Box::new(run))
}

fn contenders() -> Vec<(String, Shake)> {
    let world = std::rc::Rc::new(own::World::new());
    let [first, second, third, fourth] = [(); 4].map(|()| world.clone());
    let keys = std::rc::Rc::new(noise::SnowKeys::new());
    let also = keys.clone();
    let clatter = std::rc::Rc::new(noise::clatter_keys());
    let clatter_too = clatter.clone();
    let mut tunnel = wireguard::Tunnel::new();
    vec![
        (REFERENCE.into(), Box::new(move || keys.run("IK").1)),
        ("snow XX".into(), Box::new(move || also.run("XX").1)),
        (IK.into(), Box::new(move || first.full(true, false))),
        (KNOWN_IK.into(), Box::new(move || fourth.full(true, true))),
        ("vitalwire XX".into(), Box::new(move || second.full(false, false))),
        (RESUME.into(), Box::new(move || third.resume())),
        ("boringtun".into(), Box::new(move || tunnel.shake())),
        tls(0, false),
        tls(1, false),
        tls(0, true),
        tls(1, true),
        ("clatter IK".into(), Box::new(move || noise::clatter(&clatter, "IK").1)),
        ("clatter XX".into(), Box::new(move || noise::clatter(&clatter_too, "XX").1)),
    ]
}

pub(crate) fn print(effort: Effort) {
    println!("per handshake and end; rate of a service's core; ratios to snow's IK, below 1 is faster");
    let (mut initiator, mut responder, mut both) = Default::default();
    let mut contenders = contenders();
    let per_round = effort.of(4, 1);
    for round in 0..=effort.rounds() {
        for (name, shake) in &mut contenders {
            let mut took = [Duration::ZERO; 2];
            for _ in 0..per_round {
                let [own, peer] = shake();
                took[0] += own;
                took[1] += peer;
            }
            if round == 0 {
                continue;
            }
            let [own, peer] = took.map(|took| took.as_secs_f64() * 1e9 / f64::from(per_round));
            let tables: [(&mut Figures, f64); 3] =
                [(&mut initiator, own), (&mut responder, peer), (&mut both, own + peer)];
            tables.into_iter().for_each(|(figures, time)| figures.add(name, time));
        }
    }
    println!(
        "{:<36}{:>14}{:>14}{:>16}{:>12}{:>12}",
        "", "initiator", "responder", "responder", "responder", "both ends"
    );
    for name in responder.names() {
        let (own, peer) = (initiator.median(name) / 1e3, responder.median(name) / 1e3);
        let (ratio, sum) = (responder.ratio(name, REFERENCE), both.ratio(name, REFERENCE));
        println!("{name:<36}{own:>11.0} us{peer:>11.0} us{:>14.0}/s{ratio:>11.2}x{sum:>11.2}x", 1e6 / peer);
    }
    for (own, aim) in [(IK, 2.0), (KNOWN_IK, 2.0), (RESUME, 6.0)] {
        // The rate of one core is the inverse of its time.
        let rate = responder.ratio(REFERENCE, own);
        let all = both.ratio(REFERENCE, own);
        let what =
            format!("{own}, a responder's rate at least {aim} times that of {REFERENCE} (with aws-lc-rs)");
        print_aim(&what, &format!("{rate:.2} times (both ends: {all:.2})"), rate >= aim);
    }
}
