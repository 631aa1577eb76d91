use crate::limits::{INITIAL_RTO, MAX_RTO, MIN_RTO};
use crate::time::{Duration, Instant};

/// How often the wait of one record doubles while the link as a whole still yields measurements.
const RECORD_DOUBLINGS: u8 = 2;

/// The retransmission time-out of RFC 6298: SRTT, RTTVAR, and the doubling which lasts until a fresh sample.
///
/// A sample is the time from sending a batch to hearing that it is settled, so it includes the time that the
/// application takes to commit.
#[derive(Clone, Copy, Debug)]
pub(super) struct RttEstimator {
    /// SRTT × 8 and RTTVAR × 4, in milliseconds, once there was a sample.
    smoothed: Option<(u64, u64)>,
    /// How often the time-out has been doubled since the last sample.
    doublings: u8,
    doubled_at: Option<Instant>,
}

impl RttEstimator {
    pub(super) const fn new() -> Self {
        Self { smoothed: None, doublings: 0, doubled_at: None }
    }

    /// Takes a sample (RFC 6298, section 2.2 and 2.3).
    pub(super) fn sample(&mut self, rtt: Duration) {
        // Bounded, so that the sums below cannot overflow.
        let rtt = rtt.as_millis().min(MAX_RTO.saturating_mul(4).as_millis());
        self.smoothed = Some(match self.smoothed {
            None => (rtt.saturating_mul(8), rtt.saturating_mul(2)),
            Some((srtt8, rttvar4)) => {
                let error = (srtt8 / 8).abs_diff(rtt);
                let rttvar4 = rttvar4.saturating_sub(rttvar4 / 4).saturating_add(error);
                (srtt8.saturating_sub(srtt8 / 8).saturating_add(rtt), rttvar4)
            }
        });
        self.doublings = 0;
        self.doubled_at = None;
    }

    /// Doubles the time-out (section 5.5), once for all that was sent before the last doubling.
    pub(super) fn expired(&mut self, now: Instant, sent_at: Instant) {
        if self.doubled_at.is_none_or(|at| sent_at >= at) {
            self.doublings = self.doublings.saturating_add(1).min(16);
            self.doubled_at = Some(now);
        }
    }

    /// A session begins, so the link works again: what was doubled before says nothing of it.
    pub(super) const fn restart(&mut self) {
        (self.doublings, self.doubled_at) = (0, None);
    }

    /// Returns the smoothed round-trip time, once there was a sample.
    pub(super) fn srtt(&self) -> Option<Duration> {
        self.smoothed.map(|(srtt8, _)| Duration::from_millis(srtt8 / 8))
    }

    /// Returns how much later a batch may be acknowledged than one that was sent after it (RFC 8985, section 6.2,
    /// step 4: a quarter of the round trip; or its variation, as applications commit when they like).
    pub(super) fn reorder(&self) -> Option<Duration> {
        self.smoothed.map(|(srtt8, rttvar4)| Duration::from_millis((srtt8 / 32).max(rttvar4 / 4)))
    }

    /// Returns the time-out without any doubling.
    pub(super) fn undoubled(&self) -> Duration {
        let base = match self.smoothed {
            None => INITIAL_RTO,
            Some((srtt8, rttvar4)) => Duration::from_millis((srtt8 / 8).saturating_add(rttvar4.max(1))),
        };
        base.max(MIN_RTO).min(MAX_RTO)
    }

    /// Returns the time-out of something that is sent for the `sends`-th time now, without jitter.
    pub(super) fn time_out(&self, sends: u8) -> Duration {
        let doublings = self.doublings.max(sends.saturating_sub(1).min(RECORD_DOUBLINGS)).min(16);
        self.undoubled().saturating_mul(1u64.wrapping_shl(doublings.into())).min(MAX_RTO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    //= SPEC.md#retransmission
    //= type=test
    //# A device MUST wait at least the time-out of RFC 6298, between 200 ms and 60 s, before it sends a record again in the same session, unless the backend has asked for its descriptor set since.
    #[test]
    fn time_out_follows_rfc_6298() {
        let mut rtt = RttEstimator::new();
        assert_eq!(rtt.time_out(1), INITIAL_RTO);
        rtt.sample(ms(400));
        // SRTT = R, RTTVAR = R / 2
        assert_eq!((rtt.srtt(), rtt.time_out(1)), (Some(ms(400)), ms(400 + 4 * 200)));
        rtt.sample(ms(800));
        // RTTVAR = 3/4 · 200 + 1/4 · 400, SRTT = 7/8 · 400 + 1/8 · 800
        assert_eq!((rtt.srtt(), rtt.time_out(1)), (Some(ms(450)), ms(450 + 4 * 250)));
        for _ in 0..200 {
            rtt.sample(ms(1));
        }
        assert_eq!(rtt.time_out(1), MIN_RTO);
        rtt.sample(ms(u64::MAX));
        assert_eq!(rtt.time_out(1), MAX_RTO);
    }

    #[test]
    fn time_out_doubles_until_a_sample_and_at_most_to_its_maximum() {
        let mut rtt = RttEstimator::new();
        assert_eq!(rtt.time_out(3), ms(4000));
        rtt.expired(Instant::from_millis(1000), Instant::ZERO);
        rtt.expired(Instant::from_millis(1000), Instant::from_millis(10));
        assert_eq!(rtt.time_out(1), ms(2000), "one doubling for one burst");
        for step in 1..40 {
            rtt.expired(Instant::from_millis(1000 + step), Instant::from_millis(1000 + step));
        }
        assert_eq!((rtt.time_out(1), rtt.time_out(255)), (MAX_RTO, MAX_RTO));
        rtt.sample(ms(100));
        assert_eq!(rtt.time_out(1), ms(300));
        assert_eq!((rtt.time_out(2), rtt.time_out(3), rtt.time_out(9)), (ms(600), ms(1200), ms(1200)));
    }

    #[test]
    fn a_new_session_begins_without_doublings() {
        let mut rtt = RttEstimator::new();
        rtt.sample(ms(400));
        let before = rtt.time_out(1);
        for second in 0..5 {
            rtt.expired(Instant::from_millis(1000 * second), Instant::from_millis(1000 * second));
        }
        assert_eq!(rtt.time_out(1), before.saturating_mul(32));
        rtt.restart();
        assert_eq!(rtt.time_out(1), before, "what was measured stays");
    }
}
