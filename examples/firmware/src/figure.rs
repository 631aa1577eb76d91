//! What the device's operations take, as lines `figure <name> <value> <unit>`, with the feature `figures`; without it
//! nothing is measured, and nothing of this is in the image.
//!
//! Handshakes are measured as they happen on the line, all of the device's own calls and nothing of the waiting. What
//! every packet costs is measured before the line is opened, with the library's parts and with packets of known sizes.

#[cfg(feature = "figures")]
mod parts;

#[cfg(not(feature = "figures"))]
mod off {
    use vitalwire::device::DeviceEvent;

    /// Measures nothing.
    pub struct Figures(());

    impl Figures {
        #[inline(always)]
        pub fn start() -> Result<Self, crate::Failure> {
            Ok(Self(()))
        }

        #[inline(always)]
        pub fn receive(&mut self, packet: &mut [u8], work: impl FnOnce(&mut [u8])) {
            work(packet);
        }

        #[inline(always)]
        pub fn transmit<T>(&mut self, work: impl FnOnce() -> T) -> T {
            work()
        }

        #[inline(always)]
        pub fn event(&mut self, _: &DeviceEvent) {}

        #[inline(always)]
        pub fn end(&mut self) {}
    }
}
#[cfg(not(feature = "figures"))]
pub use off::Figures;

#[cfg(feature = "figures")]
mod on {
    use super::parts;
    use crate::Failure;
    use crate::heap::HEAP;
    use firmware_measure::{Meter, Tally, figure};
    use vitalwire::device::{Device, DeviceEvent};
    use vitalwire::wire::{Hello, PacketKind, Pattern, Side};

    /// Measures the device's operations.
    pub struct Figures {
        meter: Meter,
        attempt: Option<Attempt>,
        /// Whether a handshake was told: only the first of a boot, when nothing waits yet.
        told: bool,
    }

    /// A handshake so far: what its packets took, each counted once, however often it was sent.
    struct Attempt {
        pattern: Pattern,
        tally: Tally,
        on_link: usize,
        seen: [Option<PacketKind>; 3],
    }

    impl Attempt {
        /// Notes a packet of the handshake; tells whether it is the first of its kind.
        fn note(&mut self, kind: PacketKind, len: usize) -> bool {
            let place = self.seen.iter_mut().find(|place| place.is_none_or(|seen| seen == kind));
            match place {
                Some(place @ None) => {
                    *place = Some(kind);
                    self.on_link += len;
                    true
                }
                _ => false,
            }
        }
    }

    impl Figures {
        /// Measures the library's parts, and is ready for the line.
        #[inline(never)]
        pub fn start() -> Result<Self, Failure> {
            let mut meter = Meter::new().with_heap(&HEAP);
            parts::measure(&mut meter)?;
            figure("device.size", size_of::<Device<'_>>() as u64, "bytes");
            Ok(Self { meter, attempt: None, told: false })
        }

        /// Measures how a packet is taken.
        pub fn receive(&mut self, packet: &mut [u8], work: impl FnOnce(&mut [u8])) {
            let (kind, len) = (PacketKind::parse(packet, Side::Backend), packet.len());
            let (Ok(kind @ PacketKind::Reply), Some(attempt)) = (kind, &mut self.attempt) else {
                return work(packet);
            };
            let mut operation = self.meter.resume("handshake", attempt.tally);
            operation.run(|| work(packet));
            let tally = operation.tally();
            if attempt.note(kind, len) {
                attempt.tally = tally;
            }
        }

        /// Measures how a packet is made.
        pub fn transmit<'o, E>(
            &mut self,
            work: impl FnOnce() -> Result<Option<&'o [u8]>, E>,
        ) -> Result<Option<&'o [u8]>, E> {
            let before = self.attempt.as_ref().map_or(Tally::default(), |attempt| attempt.tally);
            let mut operation = self.meter.resume("handshake", before);
            let packet = operation.run(work)?;
            let mut tally = operation.tally();
            let Some(packet) = packet else { return Ok(packet) };
            let Ok(kind @ (PacketKind::Hello | PacketKind::Finish)) = PacketKind::parse(packet, Side::Device)
            else {
                return Ok(Some(packet));
            };
            if let Ok(hello) = Hello::parse(packet) {
                let pattern = hello.header.pattern;
                if self.attempt.as_ref().is_none_or(|attempt| attempt.pattern != pattern) {
                    // This is the first of its packets: what came before was another handshake's.
                    tally.instructions -= before.instructions;
                    self.attempt = Some(Attempt { pattern, tally, on_link: 0, seen: [None; 3] });
                }
            }
            if let Some(attempt) = &mut self.attempt
                && attempt.note(kind, packet.len())
            {
                attempt.tally = tally;
            }
            Ok(Some(packet))
        }

        /// Tells what the first handshake of this boot took, when it has succeeded.
        #[inline(never)]
        pub fn event(&mut self, event: &DeviceEvent) {
            let DeviceEvent::Connected { pattern, .. } = event else { return };
            let first = !core::mem::replace(&mut self.told, true);
            let Some(attempt) = self.attempt.take_if(|attempt| first && attempt.pattern == *pattern) else {
                return;
            };
            let (name, on_link) = match pattern {
                Pattern::Xx => ("xx", "wire.xx"),
                Pattern::Ik => ("ik", "wire.ik"),
                Pattern::Resume => ("resume", "wire.resume"),
                _ => return,
            };
            self.meter.resume(name, attempt.tally).tell();
            figure(on_link, attempt.on_link as u64, "bytes");
        }

        /// Tells the peaks of this boot.
        #[inline(never)]
        pub fn end(&mut self) {
            self.meter.tell_peaks();
        }
    }
}
#[cfg(feature = "figures")]
pub use on::Figures;
