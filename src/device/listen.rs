//! When the device listens: what it tells the backend, and what firmware is told of the radio.

use super::live::Live;
use super::{Device, Link};
use crate::framing::{Frame, FrameWriter};
use crate::time::{Duration, Instant};

/// What the radio has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Radio {
    /// Nothing can come that anybody waits for: it may be off until the next packet is sent.
    Off,
    /// Something may come.
    Listen {
        /// Until then; `None`: as long as nothing else is said.
        until: Option<Instant>,
    },
}

/// How far the backend knows for how long the device listens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Listening {
    /// Each packet from this counter on has told it.
    first: Option<u64>,
    known: bool,
    last_sent: Option<Instant>,
}

impl Listening {
    /// Takes note of a sealed packet with this counter.
    pub(super) fn sent(&mut self, now: Instant, counter: u64, told: bool) {
        self.last_sent = Some(now);
        self.first = if told { self.first.or(Some(counter)) } else { None };
    }

    /// Takes the highest counter that the backend has authenticated.
    pub(super) fn acked(&mut self, counter: u64) {
        // An Ack of 0 may say that nothing was heard.
        self.known |= self.first.is_some_and(|first| counter >= first.max(1));
    }

    /// Returns when the window after the latest packet closes.
    fn closes(&self, window: Duration) -> Option<Instant> {
        self.last_sent.map(|sent| sent + window)
    }
}

impl Device<'_> {
    /// Tells what the radio has to do, so that firmware can switch it off: ask after `poll_transmit` has returned
    /// `None`, and again when `until` has come.
    ///
    /// Without [`DeviceConfig::listen`](super::DeviceConfig::listen) a session always listens. A handshake listens
    /// until its next repetition, in any case. [`Device::poll_timeout`] tells when to wake; what is given to
    /// [`Device::record`] before anything else is called then goes first.
    ///
    /// ```
    /// use vitalwire::{Instant, device::{Device, Radio}};
    /// fn power(device: &Device<'_>, now: Instant) -> bool {
    ///     match device.radio(now) {
    ///         Radio::Off => false,
    ///         Radio::Listen { until } => until.is_none_or(|until| now < until),
    ///     }
    /// }
    /// ```
    //= SPEC.md#listening
    //# A device that has told a window MUST listen for that long after each of its packets.
    pub fn radio(&self, now: Instant) -> Radio {
        if self.link == Link::Down {
            return Radio::Off;
        }
        let handshake = self.connector.answer_due();
        let session = match (&self.live, self.config.listen) {
            (None, _) => None,
            (Some(_), None) => return Radio::Listen { until: None },
            (Some(live), Some(window)) => {
                let unconfirmed = live.answer_due().filter(|_| !live.confirmed);
                unconfirmed.max(live.listening.closes(window))
            }
        };
        match handshake.max(session).filter(|until| *until > now) {
            Some(until) => Radio::Listen { until: Some(until) },
            None => Radio::Off,
        }
    }

    /// Writes for how long the device listens, until the backend knows it; only beside other frames. Tells whether it
    /// did.
    pub(super) fn write_listen(&self, live: &Live, writer: &mut FrameWriter<'_>) -> bool {
        let window = self.config.listen.filter(|_| !live.listening.known && !writer.is_empty());
        window.is_some_and(|window| writer.push(&Frame::Listen(window)).is_ok())
    }

    /// An acknowledgement may have waited for the device to speak. As it is about to, what it has not heard while the
    /// radio was off is not lost yet.
    pub(super) fn excuse_silence(&mut self, now: Instant) {
        let (Some(window), Some(live)) = (self.config.listen, &self.live) else { return };
        let deaf = live.listening.closes(window).is_some_and(|closes| closes < now);
        if deaf && self.outbox.has_fresh() {
            self.outbox.excuse(now, window);
        }
    }
}
