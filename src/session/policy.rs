//! When to rekey and when to stop.

use crate::error::CallError;
use crate::limits;
use crate::time::Duration;

/// When a session rekeys and when it stops: the maxima of SPEC.md ("Rekey", "Hard stops"), or less.
///
/// ```
/// use vitalwire::session::RekeyPolicy;
/// use vitalwire::{CallError, Duration};
/// let policy = RekeyPolicy::default().hash_after_packets(1000)?.dh_after(Duration::from_secs(3600))?;
/// assert!(policy.hash_after_packets(2000).is_err()); // a policy only ever gets stricter
/// # Ok::<(), CallError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RekeyPolicy {
    hash_packets: u32,
    hash_age_ms: u32,
    dh_packets: u32,
    dh_age_ms: u32,
    dh_interval_ms: u32,
    epoch_packets: u32,
    session_age_ms: u32,
    failed_opens: u64,
}

// Every maximum fits the width that it is kept in; so does, then, everything below it.
const _: () = {
    let maxima = [
        limits::HASH_RATCHET_PACKETS,
        limits::HASH_RATCHET_AGE.as_millis(),
        limits::DH_RATCHET_PACKETS,
        limits::DH_RATCHET_AGE.as_millis(),
        limits::DH_RATCHET_INTERVAL.as_millis(),
        limits::MAX_PACKETS_PER_EPOCH,
        limits::MAX_SESSION_AGE.as_millis(),
    ];
    let mut rest = maxima.as_slice();
    while let [first, tail @ ..] = rest {
        assert!(*first <= u32::MAX as u64);
        rest = tail;
    }
};

impl Default for RekeyPolicy {
    /// Returns the maxima.
    fn default() -> Self {
        Self {
            hash_packets: limits::HASH_RATCHET_PACKETS as u32,
            hash_age_ms: limits::HASH_RATCHET_AGE.as_millis() as u32,
            dh_packets: limits::DH_RATCHET_PACKETS as u32,
            dh_age_ms: limits::DH_RATCHET_AGE.as_millis() as u32,
            dh_interval_ms: limits::DH_RATCHET_INTERVAL.as_millis() as u32,
            epoch_packets: limits::MAX_PACKETS_PER_EPOCH as u32,
            session_age_ms: limits::MAX_SESSION_AGE.as_millis() as u32,
            failed_opens: limits::MAX_FAILED_OPENS,
        }
    }
}

/// Takes `wanted` if it is at least `least` and does not raise `current`.
fn lower(current: u32, wanted: u64, least: u64, what: &'static str) -> Result<u32, CallError> {
    match u32::try_from(wanted) {
        Ok(value) if wanted >= least && value <= current => Ok(value),
        _ => Err(CallError::InvalidConfig(what)),
    }
}

/// The methods lower one value each. Setting the value that stands is allowed and changes nothing.
///
/// # Errors
/// Each of them gives [`CallError::InvalidConfig`] for a value above the one that stands, and for zero (but
/// [`dh_interval`](Self::dh_interval) may be zero).
impl RekeyPolicy {
    /// Packets sent, or received, in an epoch after which the hash ratchet moves. At most and by default 2^16.
    ///
    /// # Errors
    /// See [above](#impl-RekeyPolicy).
    pub fn hash_after_packets(mut self, packets: u64) -> Result<Self, CallError> {
        self.hash_packets = lower(self.hash_packets, packets, 1, "hash ratchet packets")?;
        Ok(self)
    }

    /// Time in an epoch after which the hash ratchet moves. At most and by default 15 minutes.
    ///
    /// # Errors
    /// See [above](#impl-RekeyPolicy).
    pub fn hash_after(mut self, age: Duration) -> Result<Self, CallError> {
        self.hash_age_ms = lower(self.hash_age_ms, age.as_millis(), 1, "hash ratchet age")?;
        Ok(self)
    }

    /// Packets sent, or received, since the last DH ratchet after which the next one is wanted. At most and by default 2^20.
    ///
    /// # Errors
    /// See [above](#impl-RekeyPolicy).
    pub fn dh_after_packets(mut self, packets: u64) -> Result<Self, CallError> {
        self.dh_packets = lower(self.dh_packets, packets, 1, "DH ratchet packets")?;
        Ok(self)
    }

    /// Time since the last DH ratchet after which the next one is wanted. At most and by default 12 hours.
    ///
    /// # Errors
    /// See [above](#impl-RekeyPolicy).
    pub fn dh_after(mut self, age: Duration) -> Result<Self, CallError> {
        self.dh_age_ms = lower(self.dh_age_ms, age.as_millis(), 1, "DH ratchet age")?;
        Ok(self)
    }

    /// The shortest time between two DH ratchets: a backend answers none earlier, a device asks for none earlier.
    /// At most and by default 60 s.
    ///
    /// # Errors
    /// See [above](#impl-RekeyPolicy).
    pub fn dh_interval(mut self, interval: Duration) -> Result<Self, CallError> {
        self.dh_interval_ms = lower(self.dh_interval_ms, interval.as_millis(), 0, "DH ratchet interval")?;
        Ok(self)
    }

    /// Packets sealed, or opened, in an epoch at which the session closes. At most and by default 2^24.
    ///
    /// # Errors
    /// See [above](#impl-RekeyPolicy).
    pub fn epoch_packets(mut self, packets: u64) -> Result<Self, CallError> {
        self.epoch_packets = lower(self.epoch_packets, packets, 1, "packets per epoch")?;
        Ok(self)
    }

    /// Age at which the session closes. At most and by default 24 hours; a resumed session gets what its full
    /// handshake has left.
    ///
    /// # Errors
    /// See [above](#impl-RekeyPolicy).
    pub fn session_age(mut self, age: Duration) -> Result<Self, CallError> {
        self.session_age_ms = lower(self.session_age_ms, age.as_millis(), 1, "session age")?;
        Ok(self)
    }

    /// Failed opens at which the session closes. At most and by default 2^36.
    ///
    /// # Errors
    /// See [above](#impl-RekeyPolicy).
    pub fn failed_opens(mut self, packets: u64) -> Result<Self, CallError> {
        if packets == 0 || packets > self.failed_opens {
            return Err(CallError::InvalidConfig("failed opens"));
        }
        self.failed_opens = packets;
        Ok(self)
    }
}

/// What resumptions need.
impl RekeyPolicy {
    /// Returns the age at which a session closes.
    pub const fn longest_session(&self) -> Duration {
        Duration::from_millis(self.session_age_ms as u64)
    }

    /// Returns the policy of a session that descends from a full handshake `age` ago: it gets what that has left, or
    /// `None` if nothing is.
    ///
    /// ```
    /// use vitalwire::{Duration, session::RekeyPolicy};
    /// let hour = Duration::from_secs(3600);
    /// let rest = RekeyPolicy::default().resumed_after(hour).expect("a session lives for 24 hours");
    /// assert_eq!(rest.longest_session(), Duration::from_secs(23 * 3600));
    /// assert_eq!(rest.resumed_after(hour.saturating_mul(23)), None);
    /// ```
    pub fn resumed_after(self, age: Duration) -> Option<Self> {
        let left = self.longest_session().as_millis().checked_sub(age.as_millis())?;
        self.session_age(Duration::from_millis(left)).ok()
    }
}

/// What the session reads.
impl RekeyPolicy {
    pub(super) const fn hash_packets(&self) -> u64 {
        self.hash_packets as u64
    }
    pub(super) const fn hash_age(&self) -> Duration {
        Duration::from_millis(self.hash_age_ms as u64)
    }
    pub(super) const fn dh_packets(&self) -> u64 {
        self.dh_packets as u64
    }
    pub(super) const fn dh_age(&self) -> Duration {
        Duration::from_millis(self.dh_age_ms as u64)
    }
    pub(super) const fn interval(&self) -> Duration {
        Duration::from_millis(self.dh_interval_ms as u64)
    }
    pub(super) const fn packet_limit(&self) -> u32 {
        self.epoch_packets
    }
    pub(super) const fn age_limit(&self) -> Duration {
        Duration::from_millis(self.session_age_ms as u64)
    }
    pub(super) const fn failure_limit(&self) -> u64 {
        self.failed_opens
    }
}

/// The exploration makes every trigger an action of its own.
#[cfg(test)]
impl RekeyPolicy {
    pub(super) const fn disable_age_triggers(&mut self) {
        (self.hash_age_ms, self.dh_age_ms, self.session_age_ms) = (u32::MAX, u32::MAX, u32::MAX);
    }
    pub(super) const fn set_hash_packets(&mut self, packets: u32) {
        self.hash_packets = packets;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowers_and_never_raises() {
        type Set = fn(RekeyPolicy, u64) -> Result<RekeyPolicy, CallError>;
        type Read = fn(&RekeyPolicy) -> u64;
        let cases: [(Set, Read, u64, u64); 8] = [
            (RekeyPolicy::hash_after_packets, RekeyPolicy::hash_packets, 1 << 16, 1),
            (|p, v| p.hash_after(Duration::from_millis(v)), |p| p.hash_age().as_millis(), 900_000, 1),
            (RekeyPolicy::dh_after_packets, RekeyPolicy::dh_packets, 1 << 20, 1),
            (|p, v| p.dh_after(Duration::from_millis(v)), |p| p.dh_age().as_millis(), 43_200_000, 1),
            (|p, v| p.dh_interval(Duration::from_millis(v)), |p| p.interval().as_millis(), 60_000, 0),
            (RekeyPolicy::epoch_packets, |p| p.packet_limit().into(), 1 << 24, 1),
            (|p, v| p.session_age(Duration::from_millis(v)), |p| p.age_limit().as_millis(), 86_400_000, 1),
            (RekeyPolicy::failed_opens, RekeyPolicy::failure_limit, 1 << 36, 1),
        ];
        for (set, read, maximum, least) in cases {
            let policy = RekeyPolicy::default();
            assert_eq!(read(&policy), maximum);
            assert!(set(policy, maximum + 1).is_err());
            assert!(set(policy, u64::MAX).is_err());
            assert_eq!(set(policy, maximum), Ok(policy));
            let lower = set(policy, maximum - 1).unwrap();
            assert_eq!(read(&lower), maximum - 1);
            assert!(set(lower, maximum).is_err());
            assert_eq!(set(policy, least).map(|policy| read(&policy)), Ok(least));
            if least > 0 {
                assert!(set(policy, 0).is_err());
            }
        }
    }
}
