//! What every run loop of a backend does.

use crate::kit::Rng;
use vitalwire::Instant;
use vitalwire::backend::{Backend, Inbound, OwnedBatch, Received};

/// Runs the handshakes that wait; tells whether there were any.
pub(crate) fn run_handshakes(backend: &mut Backend<u64>, now: Instant, rng: &mut Rng) -> bool {
    let mut any = false;
    while let Some(job) = backend.poll_handshake() {
        backend.handle_handshake(now, job.run(rng));
        any = true;
    }
    any
}

/// Hands a packet to the backend; returns the batches that it delivers.
pub(crate) fn hand_over(
    backend: &mut Backend<u64>,
    now: Instant,
    path: u64,
    mut packet: Vec<u8>,
) -> Vec<OwnedBatch> {
    let mut batches = Vec::new();
    let mut inbound = [Inbound { path, packet: &mut packet }];
    backend.handle_packets(now, &mut inbound, &mut |received| {
        if let Received::Batch(batch) = received {
            batches.push(batch.to_owned());
        }
    });
    batches
}
