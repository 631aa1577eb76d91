//! Table 5: a reconnect storm, end to end at the backend.

use crate::fleet::{Arrival, Coming, Cores, Fleet};

pub(crate) fn print(devices: usize) {
    println!(
        "{devices} devices come at once: Hello, handshake job, claim or accept, Reply, first packet with a record, commit, Ack;"
    );
    println!("processor time of the backend's thread; what the devices do is outside the clock");
    for (name, coming) in [("resumption", Coming::Resume), ("IK", Coming::Ik)] {
        let mut fleet = Fleet::empty(devices);
        let took = fleet.admit(devices, coming, Cores::One);
        let total = took.total().as_secs_f64();
        println!(
            "{name:<12}{:>10.0} sessions/s per core  {:>6.1} us each  handshake jobs (crypto) {:>4.1} %",
            devices as f64 / total,
            total * 1e6 / devices as f64,
            took.jobs.as_secs_f64() / total * 100.0
        );
        let Arrival { hellos, jobs, decisions, replies, data, acks } = took;
        let parts = [
            ("Hellos taken", hellos),
            ("jobs", jobs),
            ("claims and grants", decisions),
            ("Replies handed out", replies),
            ("first packets and commits", data),
            ("Acks and tickets", acks),
        ];
        for (part, time) in parts {
            println!("    {part:<28}{:>8.2} us", time.as_secs_f64() * 1e6 / devices as f64);
        }
    }
}
