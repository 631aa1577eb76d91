//! Has the memory that several packets need fetched at once.
//!
//! With many sessions nearly every packet is for one that is in no cache, and each packet would wait for its own lines
//! one after the other. So a first pass over a group of packets reads a little of each line that they will need: the
//! processor fetches the lines of all of them at the same time. It changes nothing, and reads no key.

use super::live::Live;
use super::{Backend, Inbound, Path};
use core::hint::black_box;

/// Packets at a time: what is fetched for them stays in the first cache until it is used.
pub(super) const GROUP: usize = 16;

impl<P: Path> Backend<P> {
    pub(super) fn warm(&self, packets: &[Inbound<'_, P>]) {
        if packets.len() < 2 {
            return;
        }
        let live = || packets.iter().filter_map(|inbound| self.slots.peek(inbound.packet));
        // Each pass has the addresses that the one before has fetched.
        let sum = live().fold(0, |sum, live| sum ^ live.touch());
        let sum = live().fold(sum, |sum, live| sum ^ live.touch_cold() ^ self.device_of(live, false));
        let sum = live().fold(sum, |sum, live| sum ^ live.streams.touch() ^ self.device_of(live, true));
        black_box(sum);
    }

    fn device_of(&self, live: &Live<P>, deep: bool) -> u64 {
        let inbox = live.device.and_then(|at| self.devices.get(at)).map(|device| &device.inbox);
        inbox.map_or(0, |inbox| inbox.touch(deep))
    }
}
