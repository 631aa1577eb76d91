//! A device's end of the link: what it sends and hears, whole or in pieces, and how the link changes.

use super::Unit;
use crate::kit::*;
use crate::link::{Link, To};
use crate::orders::{Order, Orders};
use crate::plan::quiet;
use crate::store::Store;
use vitalwire::device::{Device, DeviceReceived, Radio};
use vitalwire::wire::link::Outgoing;
use vitalwire::{Duration, Instant};

impl Unit<'_> {
    pub(crate) fn set_link(&mut self, now: Instant) {
        self.is_down = self.down_until > now;
        let link = if self.is_down {
            vitalwire::device::Link::Down
        } else {
            vitalwire::device::Link::Up { max_packet: self.plan.max_packet }
        };
        let local = self.local(now);
        if let Some(device) = &mut self.device {
            device.handle_link(local, link);
        }
    }

    pub(crate) fn resize(&mut self, now: Instant, size: u16) {
        if let (Some(up), Some(down)) = (&mut self.up, &mut self.down) {
            up.set_max_packet(size).unwrap();
            down.set_max_packet(size).unwrap();
        } else {
            self.plan.max_packet = size;
            self.set_link(now);
        }
    }

    /// How long the link takes for so many bytes.
    pub(crate) fn serial(&self, bytes: usize) -> Duration {
        ms(bytes as u64 / self.plan.speed)
    }

    /// Does what is to be done now; tells how many packets went out.
    pub(crate) fn settle(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        link: &mut Link,
        store: &mut Store,
        orders: &mut Orders,
    ) -> usize {
        if self.device.is_none() && self.off_until <= now {
            self.start(now);
        }
        if self.faults.1 <= now {
            self.faults = (self.plan.faults, Instant::FAR_FUTURE);
        }
        if self.also.1 <= now {
            self.also.0 = None;
        }
        if !self.is_awake(now) {
            return 0;
        }
        if self.is_down && self.down_until <= now {
            self.set_link(now);
        }
        let local = self.local(now);
        // What the storage has answered may have something sent.
        let (mut moved, asked) = (0, self.storage.requests);
        let mut out = [0; 1500];
        self.with_device(now, Device::handle_timeout);
        self.obey(now, orders);
        if !self.serve(now, rng, store) {
            return 1;
        }
        while self.busy_until <= now {
            let piece = match (&mut self.sending, &mut self.up) {
                (Some(outgoing), Some(up)) => match up.next(outgoing, &mut out) {
                    Ok(Some(piece)) => Some(piece.to_vec()),
                    Ok(None) => None,
                    // The link does not carry its pieces any more.
                    Err(_) => {
                        let packet = self.sending.take().map(Outgoing::into_packet);
                        self.sending = packet.map(|packet| up.split(packet).unwrap());
                        continue;
                    }
                },
                _ => None,
            };
            if let Some(piece) = piece {
                self.send(now, piece, link);
                moved += 1;
                continue;
            }
            self.sending = None;
            let Some(device) = &mut self.device else { break };
            let Some(packet) = device.poll_transmit(local, rng, &mut out).unwrap() else { break };
            let packet = packet.to_vec();
            trace!("{now:?} device {} sends {} bytes: {:02x?}", self.number, packet.len(), &packet[..8]);
            let handshake = packet[0] & 0x80 == 0;
            assert!(packet.len() <= if handshake { 512 } else { self.plan.max_packet.into() });
            if packet[0] == 0x11 {
                self.hellos.insert(packet.clone());
            }
            moved += 1;
            assert!(moved < 2000, "device {} talks without end", self.number);
            match &self.up {
                Some(up) => self.sending = Some(up.split(packet).unwrap()),
                None => self.send(now, packet, link),
            }
        }
        if !self.serve(now, rng, store) {
            return 1;
        }
        moved + (self.storage.requests - asked) as usize
    }

    pub(super) fn send(&mut self, now: Instant, packet: Vec<u8>, link: &mut Link) {
        self.air.packets[0] += 1;
        self.air.bytes[0] += packet.len() as u64;
        let time = self.serial(packet.len());
        self.busy_until = now + time;
        link.faults = self.faults.0;
        if self.down_until <= now {
            link.send(self.busy_until, To::Backend(self.path), packet);
        }
        if let (Some(also), _) = &mut self.also {
            std::mem::swap(also, &mut self.path);
        }
    }

    /// Sends a packet down to the device, in pieces if its link wants them.
    pub(crate) fn send_down(&mut self, now: Instant, packet: Vec<u8>, link: &mut Link) {
        let mut pieces = Vec::new();
        match &mut self.down {
            None => pieces.push(packet),
            Some(down) => {
                let (mut outgoing, mut out) = (down.split(packet).unwrap(), [0; 512]);
                while let Some(piece) = down.next(&mut outgoing, &mut out).unwrap() {
                    pieces.push(piece.to_vec());
                }
            }
        }
        link.faults = self.faults.0;
        for piece in pieces {
            self.air.packets[1] += 1;
            self.air.bytes[1] += piece.len() as u64;
            link.send(now, To::Device(self.number), piece);
        }
    }

    /// Takes a packet, or a piece of one, from the link.
    pub(crate) fn hear(&mut self, now: Instant, mut packet: Vec<u8>, orders: &mut Orders) {
        let local = self.local(now);
        let off = self.device.as_ref().is_none_or(|device| device.radio(local) == Radio::Off);
        if !self.is_awake(now) || self.down_until > now || off && self.sending.is_none() {
            return;
        }
        trace!("{now:?} device {} hears {} bytes: {:02x?}", self.number, packet.len(), packet.get(..8));
        let Some(device) = &mut self.device else { return };
        let packet = match self.down {
            None => Some(&mut packet[..]),
            Some(_) => self.radio.handle(now, &mut packet),
        };
        let Some(packet) = packet else { return };
        let (started, given) = (self.started, &mut self.orders);
        device.handle_packet(local, packet, &mut |received| {
            if let DeviceReceived::Command { id, body, deadline, .. } = received {
                let deadline = started + deadline.since(Instant::ZERO);
                let number = u32::from_le_bytes(body.try_into().unwrap());
                given.push((now + orders.given(now, number, deadline), Order { id, number, deadline }));
            }
        });
    }

    /// Nothing is wrong with it any more.
    pub(crate) fn heal(&mut self, now: Instant) {
        self.plan.faults = quiet(self.plan.faults, self.up.is_some());
        self.faults = (self.plan.faults, Instant::FAR_FUTURE);
        self.off_until = self.off_until.min(now);
        self.asleep_until = self.asleep_until.min(now);
        if self.down_until > now {
            self.down_until = now;
            self.set_link(now);
        }
        self.disturbed += 1;
        self.disturbed_until = now;
    }
}
