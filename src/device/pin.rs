//! The backend's pin and the time floor, kept over reboots (SPEC.md, "Stored pin").

use super::attempt::Stage;
use super::store::Pending;
use super::{BackendPin, Device, DeviceEvent, StorageTrouble};
use crate::codec::Reader;
use crate::crypto::PublicKey;
use crate::entropy::Entropy;
use crate::error::CloseReason;
use crate::identity::{Identity, IssuerId, SubjectId};
use crate::limits::{MAX_UNIX_SECONDS, PIN_READS, STORAGE_RETRY};
use crate::storage::{StorageReply, open_pin, seal_pin};
use crate::time::{Instant, UnixSeconds};

const VERSION: u8 = 1;
/// Version, static key, issuer, subject, floor.
const STORED_PIN: usize = 1 + 32 + 8 + 16 + 8;

/// What is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredPin {
    key: PublicKey,
    identity: Identity,
    floor: UnixSeconds,
}

/// What is known of the storage's copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PinCopy {
    /// It was not read yet; so many reads were in vain, and the next one is due then.
    Unread { reads: u8, due: Instant },
    /// It cannot be read: it stays as it is.
    Unreadable,
    /// This is there, or nothing of use.
    Known(Option<StoredPin>),
    /// The backend was forgotten: whatever is there is to go.
    Stale,
}

impl StoredPin {
    fn encode(&self) -> [u8; STORED_PIN] {
        let mut out = [0; STORED_PIN];
        let floor = self.floor.0.to_le_bytes();
        let parts: [&[u8]; 5] =
            [&[VERSION], &self.key.0, &self.identity.issuer.0, &self.identity.subject.0, &floor];
        for (to, from) in out.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8().ok()?;
        let key = PublicKey(reader.array().ok()?);
        let identity =
            Identity { issuer: IssuerId(reader.array().ok()?), subject: SubjectId(reader.array().ok()?) };
        let floor = UnixSeconds(u64::from_le_bytes(reader.array().ok()?));
        reader.finish().ok()?;
        (version == VERSION && floor.0 < MAX_UNIX_SECONDS).then_some(Self { key, identity, floor })
    }
}

impl Device<'_> {
    /// Returns what the storage is to be asked about the pin.
    pub(super) fn next_pin(&mut self, now: Instant, rng: &mut dyn Entropy) -> Option<Pending> {
        let wanted = self.pin_to_store();
        let store = self.store.as_mut()?;
        match (store.pin, wanted) {
            (PinCopy::Unread { due, .. }, _) => (due <= now).then_some(Pending::GetPin),
            //= SPEC.md#stored-pin
            //# A device MUST NOT overwrite or delete a stored pin before it has read it, but to forget the backend.
            (PinCopy::Unreadable, _) => None,
            (PinCopy::Known(stored), _) if stored == wanted => None,
            (_, None) => Some(Pending::DeletePin),
            (_, Some(pin)) => {
                let salt = store.draw_salt(rng)?;
                store.len = seal_pin(&store.config.key, salt, &pin.encode(), store.buffer)?;
                Some(Pending::PutPin(pin))
            }
        }
    }

    fn pin_to_store(&self) -> Option<StoredPin> {
        let BackendPin { key, identity, .. } = self.config.pin?;
        Some(StoredPin { key, identity, floor: self.config.time.floor() })
    }

    /// Takes the answer to a read; `false` if it failed.
    pub(super) fn handle_pin(&mut self, now: Instant, reply: StorageReply<'_>) -> bool {
        let Some(store) = self.store.as_mut() else { return true };
        let answered = matches!(reply, StorageReply::Value(_));
        let PinCopy::Unread { reads, .. } = store.pin else { return answered };
        let stored = match reply {
            StorageReply::Value(None) => {
                store.pin = PinCopy::Known(None);
                return true;
            }
            StorageReply::Value(Some(value)) => store.buffer.get_mut(..value.len()).and_then(|copy| {
                copy.copy_from_slice(value);
                StoredPin::decode(open_pin(&store.config.key, copy).ok()?)
            }),
            _ => None,
        };
        if let Some(stored) = stored {
            store.pin = PinCopy::Known(Some(stored));
            self.enforce_pin(now, stored);
            return true;
        }
        let reads = reads.saturating_add(1);
        store.pin = match answered {
            _ if reads < PIN_READS => PinCopy::Unread { reads, due: now + STORAGE_RETRY },
            true => PinCopy::Known(None),
            false => PinCopy::Unreadable,
        };
        if store.pin == PinCopy::Unreadable {
            self.events.push(DeviceEvent::StorageTrouble(StorageTrouble::PinUnreadable));
        }
        if answered {
            self.corrupt();
        }
        answered
    }

    /// Puts what was stored in force: before the first attempt to connect, or later, if it could not be read before.
    fn enforce_pin(&mut self, now: Instant, stored: StoredPin) {
        let Some(store) = &self.store else { return };
        self.config.time = self.config.time.with_floor(stored.floor);
        // What the firmware says comes first. What a session has shown meanwhile does not.
        let own = if store.brought_pin { self.config.expected_backend() } else { self.config.expected };
        //= SPEC.md#stored-pin
        //# A device MUST NOT use a stored pin of another identity than the expected one.
        if own.is_some_and(|expected| expected != stored.identity) {
            return;
        }
        // A session that has met the same backend may know a newer key.
        if self.config.pin.is_none_or(|pin| pin.identity != stored.identity) {
            self.config.pin =
                Some(BackendPin { key: stored.key, identity: stored.identity, credential: None });
        }
        if let Some(attempt) = &mut self.connector.attempt
            && matches!(attempt.stage, Stage::Reply(_) | Stage::Resume(_))
        {
            // Who answers was not held against this pin.
            attempt.fall_back(now, None);
        }
        //= SPEC.md#stored-pin
        //# A device that reads its pin later than at its start MUST end a session that the pin or its time floor would not have allowed.
        let floor = self.config.time.floor();
        if let Some(live) = &self.live
            && (live.peer.identity != stored.identity || live.peer.not_after < floor)
        {
            self.end_session(now, CloseReason::Application);
        }
    }

    /// Forgets the backend that the device is pinned to, and its ticket: for a device that moves to another service,
    /// under an authority that it trusts. What configuration demands as `expected` stays, and so does the pin of a device
    /// that trusts no authority.
    ///
    /// The present session goes on; the next full handshake pins whom it meets.
    ///
    /// # Security
    /// Until then the device takes any backend of its authorities: do this where somebody has physical access only, or by
    /// an authorised command.
    pub fn forget_backend(&mut self) {
        if !self.config.anchors.is_empty() {
            self.config.pin = None;
            if let Some(store) = &mut self.store {
                store.pin = PinCopy::Stale;
            }
        }
        self.tickets.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::super::tickets::{Peer, Ticket};
    use super::*;
    use crate::crypto::{Psk, ServiceKey, SigningKey, StaticSecret};
    use crate::device::{DeviceConfig, DeviceMemory, Link};
    use crate::entropy::OsEntropy;
    use crate::error::CallError;
    use crate::identity::{Authority, CredentialRequest, LocalIdentity, Role, Scopes, Time, TrustAnchors};
    use crate::limits::TICKET_LEN;
    use crate::time::{Duration, Instant};
    use crate::wire::{Hello, Pattern};
    use alloc::sync::Arc;

    fn local(authority: &Authority, seed: u8, role: Role) -> LocalIdentity {
        let secret = StaticSecret::from_bytes([seed; 32]);
        let public = secret.public_key();
        let time = UnixSeconds(1_750_000_000);
        let request = CredentialRequest {
            serial: 1,
            subject: SubjectId([seed; 16]),
            role,
            scopes: Scopes::PUBLISH,
            issued: time,
            not_before: time,
            not_after: UnixSeconds(time.0 + 1000),
        };
        let credential = authority.issue(&public, &request).unwrap();
        LocalIdentity::new(Arc::new(secret), public, credential)
    }

    fn config() -> DeviceConfig {
        let authority = Authority::new(SigningKey::from_bytes([1; 32]));
        let backend = local(&authority, 2, Role::Backend);
        let time = Time::floor_only(UnixSeconds(0));
        let device = local(&authority, 3, Role::Device);
        let mut config = DeviceConfig::new(device, TrustAnchors::NONE, time, 1, 512);
        config.pin = Some(BackendPin {
            key: backend.public_key(),
            identity: backend.identity().unwrap(),
            credential: Some(*backend.credential()),
        });
        config
    }

    fn device(config: DeviceConfig, outbox: &mut [u8]) -> Result<Device<'_>, CallError> {
        Device::new(config, DeviceMemory { outbox, descriptors: &[1], backlog: &mut [] })
    }

    #[test]
    fn a_device_without_authorities_needs_a_pin_with_its_credential() {
        assert!(device(config(), &mut [0; 512]).is_ok());
        let refused = |change: &dyn Fn(&mut DeviceConfig)| {
            let mut config = config();
            change(&mut config);
            matches!(device(config, &mut [0; 512]), Err(CallError::InvalidConfig(_)))
        };
        assert!(refused(&|config| config.pin = None));
        assert!(refused(&|config| config.pin.as_mut().unwrap().credential = None));
        assert!(refused(&|config| config.pin.as_mut().unwrap().identity.subject = SubjectId([9; 16])));
    }

    /// A ticket of the pinned backend, from when it was allowed this.
    fn ticket(config: &DeviceConfig, scopes: Scopes) -> Ticket {
        let pin = config.pin.unwrap();
        Ticket {
            ticket: [7; TICKET_LEN],
            psk: Psk::from_bytes([8; 32]),
            service: ServiceKey::from_bytes([9; 32]),
            peer: Peer {
                key: pin.key,
                identity: pin.identity,
                scopes,
                not_after: UnixSeconds(2_000_000_000),
            },
            expires: UnixSeconds(2_000_000_000),
            dies: None,
            psk_proved: false,
            own: config.identity.credential().hash(),
        }
    }

    #[test]
    fn a_ticket_from_before_the_pin_grants_no_more_than_the_pinned_credential() {
        let everything = Scopes::from_bits(u32::MAX);
        let granted = |change: &dyn Fn(&mut DeviceConfig)| {
            let (mut memory, mut out) = ([0; 512], [0; 512]);
            let mut config = config();
            change(&mut config);
            let ticket = ticket(&config, everything);
            let mut device = device(config, &mut memory).unwrap();
            device.tickets.keep(ticket);
            let now = Instant::from_millis(1);
            device.handle_link(now, Link::Up { max_packet: 512 });
            device.connect(now);
            let packet = device.poll_transmit(now, &mut OsEntropy, &mut out).unwrap().unwrap();
            assert_eq!(Hello::parse(packet).unwrap().header.pattern, Pattern::Resume);
            let attempt = device.connector.attempt.as_ref().unwrap();
            attempt.resuming.as_ref().unwrap().peer.scopes
        };
        assert_eq!(granted(&|_| ()), Scopes::PUBLISH);
        // The authority of a device that has one said so in the full handshake.
        let authority = Authority::new(SigningKey::from_bytes([1; 32])).public_key();
        assert_eq!(granted(&|config| config.anchors = TrustAnchors::new(&[authority]).unwrap()), everything);
    }

    #[test]
    fn a_device_without_authorities_never_leaves_its_pin() {
        let (mut memory, mut out) = ([0; 512], [0; 512]);
        let mut device = device(config(), &mut memory).unwrap();
        let mut now = Instant::from_millis(1);
        device.handle_link(now, Link::Up { max_packet: 512 });
        device.connect(now);
        device.forget_backend();
        let mut hellos = 0;
        // Nobody answers: of four attempts in a row, the last one would be XX.
        while hellos < 24 {
            while let Some(packet) = device.poll_transmit(now, &mut OsEntropy, &mut out).unwrap() {
                assert_eq!(Hello::parse(packet).unwrap().header.pattern, Pattern::Ik);
                hellos += 1;
            }
            now = device.poll_timeout().unwrap().max(now + Duration::from_millis(1));
        }
    }
}
