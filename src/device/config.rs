use super::StorageConfig;
use crate::crypto::{Psk, PublicKey};
use crate::delivery::{LanePolicy, LaneShares};
use crate::error::CallError;
use crate::handshake::Limits;
use crate::identity::{Credential, Identity, LocalIdentity, Scopes, Time, TrustAnchors};
use crate::limits::{MAX_RECORD, MIN_MAX_PACKET};
use crate::session::RekeyPolicy;
use crate::time::Duration;
use crate::wire::{ConnectionId, PskId};

/// The caller's memory, for the life of the device.
#[derive(Debug)]
pub struct DeviceMemory<'m> {
    /// Where records wait until they are committed; split by [`DeviceConfig::shares`].
    pub outbox: &'m mut [u8],
    /// The encoded descriptor set, from [`encode_descriptors`](crate::framing::encode_descriptors);
    /// [`Device::extend_descriptors`](super::Device::extend_descriptors) brings a larger one.
    pub descriptors: &'m [u8],
    /// For what is written to and read back from storage, as [`StorageConfig`] splits it; empty without storage.
    pub backlog: &'m mut [u8],
}

/// The state of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Link {
    /// Nothing can be sent.
    Down,
    /// Packets can be sent.
    Up {
        /// How large data packets may be built now, in bytes. Handshake packets may be up to 512 bytes long, whatever
        /// this says.
        ///
        /// It is what the link carries, where it carries whole packets of 64 bytes or more. With fragments
        /// ([`wire::link`](crate::wire::link)) it is the firmware's choice, and larger: that page says what
        /// to choose. Below 64 counts as 64.
        max_packet: u16,
    },
}

/// A backend that the device knows: its key makes the handshake two messages long, and it must be this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BackendPin {
    /// Its static key.
    pub key: PublicKey,
    /// Whom its credential names.
    pub identity: Identity,
    /// Its credential, if stored: saves about 100 bytes in each handshake.
    pub credential: Option<Credential>,
}

/// What a device needs to know.
///
/// `expected`, `pin` and `psk` make the floor that neither loss nor an attacker can lower.
#[derive(Debug)]
pub struct DeviceConfig {
    /// The device's own identity.
    pub identity: LocalIdentity,
    /// Whom it trusts.
    pub anchors: TrustAnchors,
    /// What it knows of the time.
    pub time: Time,
    /// The number of this boot: one more than at the boot before, kept by the firmware. With `storage` it counts only
    /// where that knows of no boot before.
    pub boot: u32,
    /// The backend that must answer, if only one may. A pin implies its identity.
    pub expected: Option<Identity>,
    /// The backend, if it is known from an earlier session ([`DeviceEvent::Connected`](super::DeviceEvent::Connected)).
    pub pin: Option<BackendPin>,
    /// A pre-shared key: every handshake must prove it then.
    pub psk: Option<(PskId, Psk)>,
    /// The connection id to receive on: none on a link of one's own.
    pub connection_id: ConnectionId,
    /// What the device accepts.
    pub limits: Limits,
    /// When to rekey.
    pub rekey: RekeyPolicy,
    /// The smallest `max_packet` that any link of this device will have: no record is made longer than fits it.
    pub smallest_packet: u16,
    /// How the outbox is shared among the lanes.
    pub shares: LaneShares,
    /// How long a lane's records may wait for more of them to share a packet: alarm, event, trend, waveform.
    pub linger: [Duration; 4],
    /// What happens when a lane is full: alarm (which always refuses), event, trend, waveform.
    pub policies: [LanePolicy; 4],
    /// How much of a lane the unsettled records of one channel may take, in percent: alarm, event, trend, waveform. A
    /// channel that holds its share gets no further record in ([`CallError::QuotaExceeded`]).
    pub quotas: [u8; 4],
    /// What is to survive a power cut; `None` keeps records in RAM only.
    pub storage: Option<StorageConfig>,
    /// For how long the device listens after each of its packets, if its radio is off otherwise: the backend then
    /// sends in the first half of it, so it is at least twice the round trip, with the time for a commit. `None`: it
    /// always listens. See [`Device::radio`](super::Device::radio).
    pub listen: Option<Duration>,
}

impl DeviceConfig {
    /// The usual settings of a device on an IP link, without pin or psk, for an outbox of `outbox_len` bytes.
    pub fn new(
        identity: LocalIdentity,
        anchors: TrustAnchors,
        time: Time,
        boot: u32,
        outbox_len: usize,
    ) -> Self {
        Self {
            identity,
            anchors,
            time,
            boot,
            expected: None,
            pin: None,
            psk: None,
            connection_id: ConnectionId::EMPTY,
            limits: Limits::DEVICE,
            rekey: RekeyPolicy::default(),
            smallest_packet: Limits::DEVICE.max_packet(),
            shares: LaneShares::of_total(outbox_len),
            linger: [Duration::ZERO; 4],
            policies: LanePolicy::USUAL,
            quotas: [100; 4],
            storage: None,
            listen: None,
        }
    }

    pub(super) fn check(&self) -> Result<(), CallError> {
        if usize::from(self.smallest_packet) < MIN_MAX_PACKET {
            return Err(CallError::InvalidConfig("smallest_packet is below 64"));
        }
        if self.quotas.iter().any(|percent| !(1..=100).contains(percent)) {
            return Err(CallError::InvalidConfig("a quota is not between 1 and 100 percent"));
        }
        if let (Some(pin), Some(expected)) = (&self.pin, &self.expected)
            && pin.identity != *expected
        {
            return Err(CallError::InvalidConfig("the pinned backend is not the expected one"));
        }
        let named = self.pin.and_then(|pin| Some(pin.credential?.claimed_identity()? == pin.identity));
        if self.anchors.is_empty() && named != Some(true) {
            return Err(CallError::InvalidConfig("without authorities a pin with its credential is needed"));
        }
        if self.listen.is_some_and(|window| window == Duration::ZERO || window.as_millis() > u32::MAX.into())
        {
            return Err(CallError::InvalidConfig("listen is zero or above 2^32 ms"));
        }
        Ok(())
    }

    /// Whom the floor demands.
    pub(super) fn expected_backend(&self) -> Option<Identity> {
        self.pin.map(|pin| pin.identity).or(self.expected)
    }

    /// What a ticket that was given for these scopes allows the backend: without authorities no more than the pin does.
    pub(super) fn granted(&self, scopes: Scopes) -> Scopes {
        if !self.anchors.is_empty() {
            return scopes;
        }
        let pinned = self.pin.and_then(|pin| pin.credential);
        scopes & pinned.map_or(Scopes::NONE, |credential| credential.claimed_scopes())
    }

    /// How many bytes of frames fit a packet of `smallest_packet` bytes.
    pub(super) fn packet_room(&self) -> usize {
        usize::from(self.smallest_packet).saturating_sub(PACKET_OVERHEAD_MAX)
    }

    /// How long a record may be so that a packet of `smallest_packet` bytes always takes it.
    pub(super) fn record_limit(&self) -> usize {
        self.packet_room().saturating_sub(RECORDS_OVERHEAD_MAX).min(MAX_RECORD)
    }
}

/// Header with the longest connection id and counter, and the tag.
const PACKET_OVERHEAD_MAX: usize = 1 + 8 + 4 + 16;
/// Type byte, stream index, first sequence below 2^35, number, time below 2^49 ms.
const RECORDS_OVERHEAD_MAX: usize = 1 + 1 + 5 + 1 + 7;
