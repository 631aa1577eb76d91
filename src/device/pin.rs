//! The backend's pin and the time floor, kept over reboots (SPEC.md, "Stored pin").

use super::{BackendPin, Device};
use crate::codec::Reader;
use crate::crypto::PublicKey;
use crate::identity::{Identity, IssuerId, SubjectId};
use crate::limits::MAX_UNIX_SECONDS;
use crate::storage::open_pin;
use crate::time::UnixSeconds;

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

impl StoredPin {
    pub(super) fn encode(&self) -> [u8; STORED_PIN] {
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
    /// Returns what is to be stored.
    pub(super) fn pin_to_store(&self) -> Option<StoredPin> {
        let BackendPin { key, identity, .. } = self.config.pin?;
        Some(StoredPin { key, identity, floor: self.config.time.floor() })
    }

    /// Takes what was stored, before the first attempt to connect.
    pub(super) fn handle_stored_pin(&mut self, value: &[u8]) {
        let Some(store) = self.store.as_mut() else { return };
        let copy = store.buffer.get_mut(..value.len());
        let stored = copy.and_then(|copy| {
            copy.copy_from_slice(value);
            StoredPin::decode(open_pin(&store.config.key, copy).ok()?)
        });
        let Some(stored) = stored else { return self.corrupt() };
        store.pin = Some(stored);
        self.config.time = self.config.time.with_floor(stored.floor);
        // What the firmware says comes first.
        //= SPEC.md#stored-pin
        //# A device MUST NOT use a stored pin of another identity than the expected one.
        if self.config.expected_backend().is_none_or(|expected| expected == stored.identity) {
            let pin = BackendPin { key: stored.key, identity: stored.identity, credential: None };
            self.config.pin.get_or_insert(pin);
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
        }
        self.tickets.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{SigningKey, StaticSecret};
    use crate::device::{DeviceConfig, DeviceMemory, Link};
    use crate::entropy::OsEntropy;
    use crate::error::CallError;
    use crate::identity::{Authority, CredentialRequest, LocalIdentity, Role, Scopes, Time, TrustAnchors};
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
