//! Accepting records: scope, descriptor, splitting what is too long.

use super::Device;
use crate::delivery::Accepted;
use crate::error::CallError;
use crate::framing::{EncodeError, Lane, Record, encode_record, encode_waveform};
use crate::permission::permits;
use crate::time::{Duration, Instant};

impl From<EncodeError> for CallError {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::BufferTooSmall(error) => Self::BufferTooSmall(error),
            _ => Self::BadRecord,
        }
    }
}

impl Device<'_> {
    /// Accepts a record that happened now; see [`Device::record_at`].
    ///
    /// # Errors
    /// As [`Device::record_at`].
    pub fn record(&mut self, now: Instant, lane: Lane, record: &Record<'_>) -> Result<Accepted, CallError> {
        self.record_at(now, lane, now, record)
    }

    /// Accepts a record into the outbox, all or nothing, and returns its ids. `time` is the record's own, by the
    /// device's clock.
    ///
    /// A waveform that is too long for a packet is split into several records, each with the time of its first
    /// sample. From here on the record is sent until the backend's application has committed it.
    ///
    /// # Errors
    /// [`CallError::BadRecord`] if it does not fit its channel, [`CallError::OutOfScope`] if the own credential does
    /// not permit it, [`CallError::LaneFull`], [`CallError::RecordTooLong`]. Nothing has changed then.
    pub fn record_at(
        &mut self,
        now: Instant,
        lane: Lane,
        time: Instant,
        record: &Record<'_>,
    ) -> Result<Accepted, CallError> {
        if !permits(self.scopes, record) {
            return Err(CallError::OutOfScope);
        }
        loop {
            match self.accept(now, lane, time, record) {
                // What is stored may leave the memory.
                Err(CallError::LaneFull) if self.outbox.evict(lane) > 0 => {}
                accepted => return accepted,
            }
        }
    }

    fn accept(
        &mut self,
        now: Instant,
        lane: Lane,
        time: Instant,
        record: &Record<'_>,
    ) -> Result<Accepted, CallError> {
        let limit = self.config.record_limit();
        let Record::Waveform(block) = record else {
            let mut tx = self.outbox.begin(now, lane);
            tx.append(time, |space| {
                let len = space.len().min(limit);
                Ok(encode_record(record, &self.set, space.get_mut(..len).unwrap_or_default())?)
            })?;
            let accepted = tx.commit();
            if lane == Lane::Alarm {
                self.hurry_alarm(now);
            }
            return Ok(accepted);
        };
        let rate = self.set.channel(block.channel).and_then(|channel| channel.rate);
        let mut tx = self.outbox.begin(now, lane);
        let mut rest = *block;
        loop {
            let before = rest.first_sample.saturating_sub(block.first_sample);
            let at = time + rate.map_or(Duration::ZERO, |rate| rate.span(before));
            let mut taken = 0;
            tx.append(at, |space| {
                let len = space.len().min(limit);
                let encoded = encode_waveform(&rest, &self.set, space.get_mut(..len).unwrap_or_default())?;
                taken = encoded.taken;
                Ok(encoded.bytes)
            })?;
            rest = rest.rest(taken);
            if rest.is_empty() {
                return Ok(tx.commit());
            }
        }
    }
}
