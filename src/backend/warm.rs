//! Has the memory that several packets need fetched at once.
//!
//! With many sessions nearly every packet is for one that is in no cache, and would wait for each of its lines in turn.
//! So a first pass over a group of packets reads a little of each line that they will need, and the processor fetches
//! the lines of all of them at the same time. It changes nothing, and reads no key.

use super::slots::Slot;
use super::{Backend, Inbound, Path};
use core::hint::black_box;

/// Packets at a time: what is fetched for them stays in the first cache until it is used.
pub(super) const GROUP: usize = 32;
/// So many sessions are in a cache anyway. The tests have fewer.
const FEW: u32 = if cfg!(test) { 1 } else { 512 };

impl<P: Path> Backend<P> {
    pub(super) fn warm(&self, packets: &[Inbound<'_, P>]) {
        if packets.len() < 2 || self.slots.used() < FEW {
            return;
        }
        let mut sum = 0;
        let mut slots = [None; GROUP];
        for (to, inbound) in slots.iter_mut().zip(packets) {
            *to = self.slots.peek(inbound.packet);
            sum ^= to.map_or(0, Slot::touch);
        }
        // Each pass has the addresses that the one before has fetched.
        let mut devices = [None; GROUP];
        let lives = || slots.iter().flatten().filter_map(|slot| slot.live_here());
        for (to, live) in devices.iter_mut().zip(lives()) {
            *to = live.device().and_then(|at| self.devices.get(at));
            sum ^= live.touch_cold() ^ to.map_or(0, |device| device.touch(false));
        }
        for (device, live) in devices.iter().zip(lives()) {
            sum ^= live.streams.touch_groups() ^ device.map_or(0, |device| device.touch(true));
        }
        black_box(sum);
    }
}
