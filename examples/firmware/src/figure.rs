//! Instructions and stack of the device's operations, printed as lines `figure <name> <value> <unit>` with the feature
//! `figures`; without it nothing is measured.

use vitalwire::wire::{PacketKind, Side};

/// What a packet is called in the figures: its kind, and the length of a data packet.
#[derive(Clone, Copy)]
pub struct Name {
    pub verb: &'static str,
    pub kind: &'static str,
    pub len: usize,
}

impl Name {
    /// Names what is done with a packet of this side.
    pub fn of(verb: &'static str, packet: &[u8], sender: Side) -> Self {
        let kind = match PacketKind::parse(packet, sender) {
            Ok(PacketKind::Data) => "data",
            Ok(PacketKind::Hello) => "hello",
            Ok(PacketKind::Reply) => "reply",
            Ok(PacketKind::Finish) => "finish",
            _ => "other",
        };
        Self { verb, kind, len: packet.len() }
    }
}

#[cfg(not(feature = "figures"))]
mod off {
    /// Does the work.
    #[inline(always)]
    pub fn measured<T>(_: impl FnOnce(&T) -> Option<super::Name>, work: impl FnOnce() -> T) -> T {
        work()
    }
}
#[cfg(not(feature = "figures"))]
pub use off::measured;
