use crate::status::*;
use vitalwire::delivery::LanePolicy;
use vitalwire::session::RekeyPolicy;
use vitalwire::{CallError, Duration, limits};

/// When sessions rekey and end. `vw_config_init` sets the protocol's maxima; a value is only ever lowered, and none but
/// `dh_interval_ms` may be 0.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct vw_rekey_policy {
    /// Packets after which the hash ratchet moves; at most 65536.
    pub hash_after_packets: u64,
    /// Time after which it does; at most 15 minutes.
    pub hash_after_ms: u64,
    /// Packets after which the DH ratchet moves; at most 2^20.
    pub dh_after_packets: u64,
    /// Time after which it does; at most 12 hours.
    pub dh_after_ms: u64,
    /// The shortest time between two DH ratchets; at most 60 s. The backend has one too.
    pub dh_interval_ms: u64,
    /// Packets of an epoch; at most 2^24.
    pub epoch_packets: u64,
    /// The longest life of a session; at most 24 hours.
    pub session_age_ms: u64,
    /// Packets that failed to authenticate, after which a session ends; at most 2^36.
    pub failed_opens: u64,
}

impl vw_rekey_policy {
    pub(crate) const MAXIMA: Self = Self {
        hash_after_packets: limits::HASH_RATCHET_PACKETS,
        hash_after_ms: limits::HASH_RATCHET_AGE.as_millis(),
        dh_after_packets: limits::DH_RATCHET_PACKETS,
        dh_after_ms: limits::DH_RATCHET_AGE.as_millis(),
        dh_interval_ms: limits::DH_RATCHET_INTERVAL.as_millis(),
        epoch_packets: limits::MAX_PACKETS_PER_EPOCH,
        session_age_ms: limits::MAX_SESSION_AGE.as_millis(),
        failed_opens: limits::MAX_FAILED_OPENS,
    };

    pub(crate) fn policy(&self) -> Result<RekeyPolicy, CallError> {
        let millis = Duration::from_millis;
        RekeyPolicy::default()
            .hash_after_packets(self.hash_after_packets)?
            .hash_after(millis(self.hash_after_ms))?
            .dh_after_packets(self.dh_after_packets)?
            .dh_after(millis(self.dh_after_ms))?
            .dh_interval(millis(self.dh_interval_ms))?
            .epoch_packets(self.epoch_packets)?
            .session_age(millis(self.session_age_ms))?
            .failed_opens(self.failed_opens)
    }
}

/// Reads the code of a policy for full lanes.
pub(crate) fn lane_policy(code: u8) -> Result<LanePolicy, vw_status> {
    match code {
        crate::VW_POLICY_REFUSE => Ok(LanePolicy::Refuse),
        crate::VW_POLICY_DROP_OLDEST => Ok(LanePolicy::DropOldest),
        crate::VW_POLICY_THIN => Ok(LanePolicy::Thin),
        _ => Err(VW_ERROR_BAD_VALUE),
    }
}
