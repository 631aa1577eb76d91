//! Accepting records: scope, descriptor, splitting what is too long.

use super::Device;
use crate::delivery::Accepted;
use crate::error::CallError;
use crate::framing::{DescriptorSet, EncodeError, Lane, Record, WaveformBlock, encode_waveform};
use crate::framing::{encode_plain_record, encode_trend_record};
use crate::limits::MAX_CHANNELS;
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

/// Writes one record to the front of a space and returns its length.
type Encoder = fn(&Record<'_>, &DescriptorSet<'_>, &mut [u8]) -> Result<usize, EncodeError>;

/// How a record becomes bytes.
#[derive(Clone, Copy)]
enum Encoding {
    Whole(Encoder),
    /// As many samples as fit, and again.
    Split(for<'b> fn(&mut WaveformBlock<'b>, &DescriptorSet<'_>, &mut [u8]) -> Result<usize, EncodeError>),
}

/// Writes the first samples of a block, and leaves the rest.
fn encode_first(
    block: &mut WaveformBlock<'_>,
    set: &DescriptorSet<'_>,
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    let encoded = encode_waveform(block, set, out)?;
    *block = block.rest(encoded.taken);
    Ok(encoded.bytes)
}

impl Device<'_> {
    /// Accepts a record that happened now; see [`Device::record_at`].
    ///
    /// # Errors
    /// As [`Device::record_at`].
    #[inline(always)]
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
    /// not permit it, [`CallError::QuotaExceeded`] and [`CallError::Thinned`] as the configuration says,
    /// [`CallError::LaneFull`], [`CallError::RecordTooLong`]. Nothing was accepted then; but a lane that drops its oldest
    /// may have made room. With storage that still takes records of the lane, nothing is dropped: serve
    /// [`Device::poll_storage`] after [`CallError::LaneFull`], and try again.
    // Inlined, as the caller knows which kind of record it gives: firmware that never gives a trend or a waveform is
    // linked without their codec (`examples/firmware/footprint --parts`).
    #[inline(always)]
    pub fn record_at(
        &mut self,
        now: Instant,
        lane: Lane,
        time: Instant,
        record: &Record<'_>,
    ) -> Result<Accepted, CallError> {
        let encoding = match record {
            Record::Trend(_) => Encoding::Whole(encode_trend_record),
            Record::Waveform(_) => Encoding::Split(encode_first),
            _ => Encoding::Whole(encode_plain_record),
        };
        self.take_record(now, lane, time, record, encoding)
    }

    fn take_record(
        &mut self,
        now: Instant,
        lane: Lane,
        time: Instant,
        record: &Record<'_>,
        encoding: Encoding,
    ) -> Result<Accepted, CallError> {
        if !permits(self.scopes, record) {
            return Err(CallError::OutOfScope);
        }
        self.admit(lane, record)?;
        self.review_spilling(lane);
        let accepted = self.accept(now, lane, time, record, encoding);
        if let (Err(CallError::LaneFull), Some(store)) = (&accepted, &mut self.store) {
            store.region_mut(lane).pressed = true;
        }
        accepted
    }

    fn accept(
        &mut self,
        now: Instant,
        lane: Lane,
        time: Instant,
        record: &Record<'_>,
        encoding: Encoding,
    ) -> Result<Accepted, CallError> {
        let limit = self.config.record_limit();
        let (block, encode) = match (record, encoding) {
            (Record::Waveform(block), Encoding::Split(encode)) => (block, encode),
            (_, Encoding::Whole(encode)) => {
                let mut tx = self.outbox.begin(now, lane);
                tx.append(time, |space| {
                    let len = space.len().min(limit);
                    Ok(encode(record, &self.set, space.get_mut(..len).unwrap_or_default())?)
                })?;
                let accepted = tx.commit();
                if lane == Lane::Alarm {
                    self.hurry_alarm(now);
                }
                return Ok(accepted);
            }
            (_, Encoding::Split(_)) => return Err(CallError::BadRecord),
        };
        let rate = self.set.channel(block.channel).and_then(|channel| channel.rate);
        let mut tx = self.outbox.begin(now, lane);
        let mut rest = *block;
        loop {
            let before = rest.first_sample.saturating_sub(block.first_sample);
            let at = time + rate.map_or(Duration::ZERO, |rate| rate.span(before));
            let whole = rest;
            tx.append(at, |space| {
                let len = space.len().min(limit);
                rest = whole; // it may be asked twice
                Ok(encode(&mut rest, &self.set, space.get_mut(..len).unwrap_or_default())?)
            })?;
            if rest.is_empty() {
                return Ok(tx.commit());
            }
        }
    }
}

/// Counts the records of each channel in its place in the descriptor set.
pub(super) struct Thinner([u8; MAX_CHANNELS]);

impl Default for Thinner {
    fn default() -> Self {
        Self([0; MAX_CHANNELS])
    }
}

impl Device<'_> {
    /// Holds a channel to its share of the lane, and thins out where the lane does so.
    fn admit(&mut self, lane: Lane, record: &Record<'_>) -> Result<(), CallError> {
        let (channel, series) = match record {
            Record::Measurement(measurement) => (measurement.channel, true),
            Record::Trend(block) => (block.channel, true),
            Record::Waveform(block) => (block.channel, true),
            Record::Event(event) => (event.channel, false),
            Record::Alarm(alarm) => (alarm.channel, false),
            _ => return Ok(()),
        };
        let [alarm, event, trend, waveform] = self.config.quotas;
        let percent = match lane {
            Lane::Alarm => alarm,
            Lane::Event => event,
            Lane::Trend => trend,
            Lane::Waveform => waveform,
        };
        let share = self.outbox.fill(lane).capacity.saturating_mul(percent.into()) / 100;
        if percent < 100 && self.outbox.held_by(lane, channel, share) >= share {
            return Err(CallError::QuotaExceeded);
        }
        let one_of = self.outbox.thinning(lane);
        if !series || one_of == 1 {
            return Ok(());
        }
        let place = self.set.channels().position(|known| known.number == channel);
        let Some(turn) = place.and_then(|place| self.thinner.0.get_mut(place)) else { return Ok(()) };
        let taken = turn.is_multiple_of(one_of);
        *turn = turn.wrapping_add(1);
        if taken { Ok(()) } else { Err(CallError::Thinned) }
    }
}
