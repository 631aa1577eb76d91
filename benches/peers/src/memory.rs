//! Table 4: what a finished session takes of a service's memory, heap and all.

use crate::fleet::Fleet;
use crate::measure::{Effort, print_aim};
use crate::{noise, own, tls, wireguard};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// What is freed when so many of these go, by the piece.
fn each<T>(name: &str, count: usize, make: impl FnMut(usize) -> T) -> usize {
    let all: Vec<T> = (0..count).map(make).collect();
    row(name, count, all)
}

fn row<T>(name: &str, count: usize, all: T) -> usize {
    let before = HEAP.current_usage();
    drop(all);
    let freed = (before - HEAP.current_usage()) / count;
    println!("{name:<44}{freed:>10} bytes");
    freed
}

pub(crate) fn print(effort: Effort) {
    println!("bytes per session at the responder's end, counted as the heap shrinks when they are dropped");
    let count = effort.of(200, 20);
    each("vitalwire, Session", count, |number| own::session(number as u64).1);
    let mut shard = 0;
    for many in effort.of([1_000, 100_000], [10, 100]) {
        let Fleet { backend, devices, .. } = Fleet::new(many);
        drop(devices);
        shard = row(&format!("vitalwire, Backend, all of it, {many} sessions"), many, backend);
    }
    each("boringtun, Tunn", count, |_| {
        let mut tunnel = wireguard::Tunnel::new();
        tunnel.shake();
        let [_, responder] = tunnel.ends;
        responder
    });
    for (name, provider) in tls::PROVIDERS {
        let ends = tls::Ends::new(provider, false);
        each(&format!("{name}, ServerConnection"), count, |_| ends.shake().0.server);
    }
    let keys = noise::SnowKeys::new();
    each("snow, TransportState", count, |_| {
        let ([_, responder], _) = keys.run("IK");
        responder
    });
    let keys = noise::clatter_keys();
    each("clatter, TransportState", count, |_| {
        let ([_, responder], _) = noise::clatter(&keys, "IK");
        responder
    });
    let what = "vitalwire, Backend, at most 800 bytes a session";
    print_aim(what, &format!("{shard} bytes"), shard <= 800);
}
