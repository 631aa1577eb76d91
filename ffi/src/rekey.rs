use crate::status::*;
use vitalwire::Duration;
use vitalwire::session::RekeyPolicy;

/// When sessions rekey and end; each value only ever lowers the protocol's maximum. 0: the maximum.
#[derive(Clone, Copy, Default)]
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
    /// Packets of an epoch; at most 2^24.
    pub epoch_packets: u64,
    /// The longest life of a session; at most 24 hours.
    pub session_age_ms: u64,
    /// Packets that failed to authenticate, after which a session ends; at most 2^36.
    pub failed_opens: u64,
}

impl vw_rekey_policy {
    pub(crate) fn policy(&self) -> Result<RekeyPolicy, vitalwire::CallError> {
        let mut policy = RekeyPolicy::default();
        let millis = Duration::from_millis;
        if self.hash_after_packets != 0 {
            policy = policy.hash_after_packets(self.hash_after_packets)?;
        }
        if self.hash_after_ms != 0 {
            policy = policy.hash_after(millis(self.hash_after_ms))?;
        }
        if self.dh_after_packets != 0 {
            policy = policy.dh_after_packets(self.dh_after_packets)?;
        }
        if self.dh_after_ms != 0 {
            policy = policy.dh_after(millis(self.dh_after_ms))?;
        }
        if self.epoch_packets != 0 {
            policy = policy.epoch_packets(self.epoch_packets)?;
        }
        if self.session_age_ms != 0 {
            policy = policy.session_age(millis(self.session_age_ms))?;
        }
        if self.failed_opens != 0 {
            policy = policy.failed_opens(self.failed_opens)?;
        }
        Ok(policy)
    }
}

/// Reads the code of a policy for full lanes.
pub(crate) fn lane_policy(code: u8) -> Result<vitalwire::delivery::LanePolicy, vw_status> {
    use vitalwire::delivery::LanePolicy;
    match code {
        crate::VW_POLICY_REFUSE => Ok(LanePolicy::Refuse),
        crate::VW_POLICY_DROP_OLDEST => Ok(LanePolicy::DropOldest),
        crate::VW_POLICY_THIN => Ok(LanePolicy::Thin),
        _ => Err(VW_ERROR_BAD_VALUE),
    }
}
