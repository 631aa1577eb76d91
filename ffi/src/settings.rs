//! A configuration of C, as the library wants it.

use crate::config::{VW_LANES, VW_SPILL_NEVER, vw_config};
use crate::event::vw_identity;
use crate::key_store::KeyStore;
use crate::memory;
use crate::rekey::lane_policy;
use crate::status::*;
use alloc::sync::Arc;
use vitalwire::crypto::{Psk, PublicKey, StaticDh, StaticSecret};
use vitalwire::delivery::LaneShares;
use vitalwire::device::{BackendPin, DeviceConfig, StorageConfig};
use vitalwire::handshake::Limits;
use vitalwire::identity::{Credential, LocalIdentity, Time, TrustAnchors};
use vitalwire::limits::MAX_AUTHORITIES;
use vitalwire::storage::StorageKey;
use vitalwire::wire::{ConnectionId, PskId};
use vitalwire::{CallError, Duration, UnixSeconds};
use zeroize::Zeroizing;

/// Why no device was made.
pub(crate) enum Failure {
    Status(vw_status),
    Call(CallError),
}

impl Failure {
    pub(crate) fn status(&self) -> vw_status {
        match self {
            Self::Status(status) => *status,
            Self::Call(error) => (*error).into(),
        }
    }
}

impl From<vw_status> for Failure {
    fn from(status: vw_status) -> Self {
        Self::Status(status)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

const fn wrong(what: &'static str) -> Failure {
    Failure::Call(CallError::InvalidConfig(what))
}

fn shares([alarm, event, trend, waveform]: [usize; VW_LANES]) -> LaneShares {
    LaneShares { alarm, event, trend, waveform }
}

/// Reads the settings.
///
/// # Safety
/// Everything that `config` points to is there.
pub(crate) unsafe fn settings(config: &vw_config) -> Result<DeviceConfig, Failure> {
    // SAFETY: what this function asks of its caller.
    let (identity, anchors, storage) =
        unsafe { (local_identity(config)?, anchors(config)?, storage(config)?) };
    let clock = (config.wall_clock != 0).then_some(UnixSeconds(config.wall_clock));
    let mut time = Time::floor_only(UnixSeconds(config.time_floor));
    time.set_clock(clock);
    let mut settings = DeviceConfig::new(identity, anchors, time, config.boot, config.outbox_len);
    // SAFETY: what this function asks of its caller.
    unsafe {
        settings.expected = memory::read_if(config.expected)?.map(vw_identity::identity);
        settings.pin = match memory::read_if(config.pin)? {
            Some(pin) => Some(BackendPin::try_from(&pin)?),
            None => None,
        };
        settings.psk = match memory::read_if(config.psk.cast::<[u8; 32]>())? {
            Some(psk) => {
                let psk = Zeroizing::new(psk);
                let id = memory::read(config.psk_id.cast::<[u8; 8]>())?;
                Some((PskId(id), Psk::from_bytes(*psk)))
            }
            None => None,
        };
        let id = memory::list(config.connection_id, config.connection_id_len)?;
        settings.connection_id =
            ConnectionId::new(id).ok_or(wrong("the connection id is longer than 8 bytes"))?;
    }
    let idle = Duration::from_secs(config.idle_seconds.into());
    settings.limits = Limits::new(config.max_packet, config.window, idle)
        .ok_or(wrong("max_packet, window or idle_seconds is out of range"))?;
    settings.rekey = config.rekey.policy()?;
    settings.smallest_packet = config.smallest_packet;
    if config.lane_bytes != [0; VW_LANES] {
        settings.shares = shares(config.lane_bytes);
    }
    settings.linger = config.linger_ms.map(|ms| Duration::from_millis(ms.into()));
    for (policy, code) in settings.policies.iter_mut().zip(config.policies) {
        *policy = lane_policy(code)?;
    }
    settings.quotas = config.quotas;
    settings.listen = (config.listen_ms != 0).then(|| Duration::from_millis(config.listen_ms.into()));
    settings.storage = storage;
    Ok(settings)
}

/// # Safety
/// As for [`settings`].
unsafe fn local_identity(config: &vw_config) -> Result<LocalIdentity, Failure> {
    // SAFETY: what this function asks of its caller.
    let (secret, public, credential) = unsafe {
        (
            memory::read_if(config.secret_key.cast::<[u8; 32]>())?.map(Zeroizing::new),
            memory::read_if(config.public_key.cast::<[u8; 32]>())?.map(PublicKey),
            memory::list(config.credential, config.credential_len)?,
        )
    };
    let credential = Credential::from_bytes(credential).map_err(vw_status::from)?;
    let (key, public): (Arc<dyn StaticDh>, PublicKey) = match (secret, config.key_store.diffie_hellman) {
        (Some(secret), _) => {
            let secret = StaticSecret::from_bytes(*secret);
            let public = public.unwrap_or_else(|| secret.public_key());
            (Arc::new(secret), public)
        }
        (None, Some(exchange)) => {
            // SAFETY: what this function asks of its caller.
            let hedge = unsafe { memory::read_if(config.key_store.hedge_key.cast::<[u8; 32]>()) }?;
            let hedge_key = Zeroizing::new(hedge.unwrap_or([0; 32]));
            let store = KeyStore { exchange, context: config.key_store.context, hedge_key };
            (Arc::new(store), public.ok_or(VW_ERROR_NULL)?)
        }
        (None, None) => return Err(VW_ERROR_NULL.into()),
    };
    Ok(LocalIdentity::new(key, public, credential))
}

/// # Safety
/// As for [`settings`].
unsafe fn anchors(config: &vw_config) -> Result<TrustAnchors, Failure> {
    if config.authority_count > MAX_AUTHORITIES {
        return Err(VW_ERROR_BAD_ANCHORS.into());
    }
    // SAFETY: what this function asks of its caller.
    let keys: &[[u8; 32]] = unsafe { memory::list(config.authorities.cast(), config.authority_count) }?;
    if keys.is_empty() {
        return Ok(TrustAnchors::NONE);
    }
    trusted(keys)
}

#[cfg(not(feature = "authorities"))]
fn trusted(_: &[[u8; 32]]) -> Result<TrustAnchors, Failure> {
    Err(wrong("this library is built without the feature authorities"))
}

#[cfg(feature = "authorities")]
fn trusted(keys: &[[u8; 32]]) -> Result<TrustAnchors, Failure> {
    let mut all = [vitalwire::crypto::SignatureKey([0; 32]); MAX_AUTHORITIES];
    for (to, from) in all.iter_mut().zip(keys) {
        to.0 = *from;
    }
    let all = all.get(..keys.len()).unwrap_or_default();
    TrustAnchors::new(all).map_err(|error| vw_status::from(error).into())
}

/// # Safety
/// As for [`settings`].
unsafe fn storage(config: &vw_config) -> Result<Option<StorageConfig>, Failure> {
    // SAFETY: what this function asks of its caller.
    let Some(key) = unsafe { memory::read_if(config.storage_key.cast::<[u8; 32]>()) }? else {
        return Ok(None);
    };
    let key = Zeroizing::new(key);
    let mut storage = StorageConfig::new(StorageKey::from_bytes(*key), config.backlog_len);
    if config.entry_len != 0 {
        storage.entry_len = config.entry_len;
    }
    if config.set_len != 0 {
        storage.set_len = config.set_len;
    }
    if config.backlog_bytes != [0; VW_LANES] {
        storage.backlog = shares(config.backlog_bytes);
    }
    storage.spill_after =
        config.spill_after_ms.map(|ms| (ms != VW_SPILL_NEVER).then(|| Duration::from_millis(ms.into())));
    Ok(Some(storage))
}
