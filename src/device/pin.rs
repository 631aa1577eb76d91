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
    /// under an authority that it trusts. What configuration demands as `expected` stays.
    ///
    /// The present session goes on; the next full handshake pins whom it meets.
    ///
    /// # Security
    /// Until then the device takes any backend of its authorities: do this where somebody has physical access only, or by
    /// an authorised command.
    pub fn forget_backend(&mut self) {
        self.config.pin = None;
        self.tickets.forget();
    }
}
