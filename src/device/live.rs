//! One session of a device: what it owes to the backend, and when it is over.

use super::attempt::copy_packet;
use super::commands::CommandTable;
use super::connect::{doubled, prolonged, prolonged_by};
use super::listen::Listening;
use super::region::StreamName;
use super::tickets::Peer;
use super::time_sync::Stamps;
use super::{BackendPin, Device, DeviceConfig, DeviceEvent, DeviceSession};
use crate::crypto::SessionSecrets;
use crate::entropy::Entropy;
use crate::error::{CallError, CloseReason};
use crate::framing::Lane;
use crate::handshake::{Established, Limits};
use crate::identity::Scopes;
use crate::limits::{
    ALARM_PROBE, DEAD_BACKEND, DEAD_BACKEND_ALARM, HALF_OPEN_LIFE, HANDSHAKE_RTO, HANDSHAKE_SENDS, MAX_RTO,
    MAX_STREAMS, PENDING_LIFE,
};
use crate::session::{RekeyPolicy, Side};
use crate::time::{Duration, Instant};
use crate::wire::{ConnectionId, Pattern};
use alloc::vec::Vec;

/// A Finish that is repeated until a session packet authenticates.
pub(super) struct FinishRepeat {
    pub(super) packet: Vec<u8>,
    pub(super) sends: u8,
    pub(super) due: Instant,
}

/// What a handshake gives to a session: a full one, or a resumption.
pub(super) struct Joined {
    pub(super) secrets: SessionSecrets,
    pub(super) peer: Peer,
    pub(super) peer_connection_id: ConnectionId,
    pub(super) peer_limits: Limits,
    pub(super) pattern: Pattern,
    /// The full handshake proved a psk.
    pub(super) psk_proved: bool,
    /// With the session age that is left.
    pub(super) rekey: RekeyPolicy,
}

impl Joined {
    pub(super) fn new(established: Established, rekey: RekeyPolicy) -> Self {
        let Established { secrets, peer, peer_connection_id, peer_limits, pattern } = established;
        let psk_proved = matches!(pattern, Pattern::XxPsk3(_) | Pattern::IkPsk2);
        Self { secrets, peer: Peer::from(&peer), peer_connection_id, peer_limits, pattern, psk_proved, rekey }
    }
}

/// One session and what is to be sent in it.
pub(super) struct Live {
    pub(super) session: DeviceSession,
    pub(super) peer_connection_id: ConnectionId,
    pub(super) peer_limits: Limits,
    pub(super) peer: Peer,
    pattern: Pattern,
    /// The full handshake proved a psk.
    pub(super) psk_proved: bool,
    /// How old the session may get.
    longest: Duration,
    /// The DH ratchets that the tickets have seen.
    pub(super) dh_seen: u32,
    /// The application was told that a ticket was misused.
    pub(super) misuse_told: bool,
    /// The backend is to hear which credential the device has.
    pub(super) renewal_owed: bool,
    /// The device has another credential now than it showed in the handshake.
    pub(super) renewed: bool,
    pub(super) finish: Option<FinishRepeat>,
    /// A packet of the backend has authenticated.
    pub(super) confirmed: bool,
    born: Instant,
    last_heard: Instant,
    owed: Option<Owed>,
    /// Backend packets authenticated since the last Ack that this end sent.
    pub(super) unreported: u32,
    pub(super) pong: Option<[u8; 8]>,
    /// When to send a packet only to learn that the session is there: after IK, and after a Reset.
    pub(super) prove: Option<Repeat>,
    /// When to send the RekeyRequest again.
    pub(super) rekey: Repeat,
    /// How many descriptor sets the streams had before the present one in this session: each has indices of its own.
    pub(super) generation: u8,
    /// A Streams frame with the present indices was sent.
    pub(super) named: bool,
    /// The streams of earlier boots that have an index: the first one the last index, and so on.
    earlier: [Option<StreamName>; MAX_STREAMS - LANES as usize],
    /// The backend has asked for the descriptor set of this index, and not shown yet that it has it.
    pub(super) set_wanted: Option<u8>,
    /// From which offset the set is to be sent.
    pub(super) descriptors_from: Option<usize>,
    /// When it may be sent from the front, if it is wanted.
    pub(super) descriptors: Repeat,
    pub(super) closing: Option<CloseReason>,
    pub(super) commands: CommandTable,
    pub(super) stamps: Stamps,
    pub(super) listening: Listening,
}

/// A packet that is sent again and again until it is answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeat {
    pub(super) due: Instant,
    sends: u32,
}

impl Repeat {
    pub(super) const fn now(now: Instant) -> Self {
        Self { due: now, sends: 0 }
    }

    pub(super) fn sent(&mut self, now: Instant, time_out: Duration) {
        self.due = now + doubled(time_out, self.sends).min(MAX_RTO);
        self.sends = self.sends.saturating_add(1);
    }
}

/// An answer that the backend owes.
#[derive(Clone, Copy)]
struct Owed {
    since: Instant,
    /// Packets that ask for an answer, each at least a time-out after the one before; counted up to [`PROBES`].
    probes: u8,
    last_probe: Instant,
    time_out: Duration,
    /// How long to wait for it: devices that asked at the same time do not come back at the same time.
    patience: Duration,
    /// When to ask only to learn whether the session is there.
    ask: Option<Instant>,
}

/// What waits for the answer that a packet asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    Usual,
    /// An alarm waits, and the device listens all the time.
    Alarm,
}

/// A backend that is owed an answer seems dead only after so many packets that ask for one: a device that sleeps most
/// of the time has hardly asked.
const PROBES: u8 = 4;

/// As many indices belong to one descriptor set.
const LANES: u8 = Lane::ALL.len() as u8;
const LAST_INDEX: u8 = MAX_STREAMS as u8 - 1;

/// What a stream index stands for in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Indexed {
    /// The present boot's stream of a lane, and whether the index is its present one.
    Live(Lane, bool),
    /// An earlier boot's stream.
    Earlier(StreamName),
}

/// After so many unreported packets an Ack rides on the next packet, so that the backend's counters stay short.
pub(super) const REPORT_AFTER: u32 = 16;
/// After so many, a packet is sent for it alone.
pub(super) const REPORT_AT_ONCE: u32 = 32;

impl Live {
    pub(super) fn new(now: Instant, joined: Joined, finish: Option<FinishRepeat>) -> Self {
        let Joined { secrets, peer, peer_connection_id, peer_limits, pattern, psk_proved, rekey } = joined;
        Self {
            session: DeviceSession::new(now, Side::Device, secrets, peer_limits.window(), rekey),
            peer_connection_id,
            peer_limits,
            peer,
            pattern,
            psk_proved,
            longest: rekey.longest_session(),
            dh_seen: 0,
            misuse_told: false,
            renewal_owed: false,
            renewed: false,
            confirmed: false,
            born: now,
            last_heard: now,
            owed: None,
            unreported: 0,
            pong: None,
            prove: finish.is_none().then_some(Repeat::now(now)),
            finish,
            rekey: Repeat::now(now),
            generation: 0,
            named: false,
            earlier: [None; _],
            set_wanted: None,
            descriptors_from: None,
            descriptors: Repeat::now(now),
            closing: None,
            commands: CommandTable::default(),
            stamps: Stamps::default(),
            listening: Listening::default(),
        }
    }

    /// Returns the index of the present boot's stream of a lane.
    pub(super) fn index_of(&self, lane: Lane) -> u8 {
        self.generation.saturating_mul(LANES).saturating_add(lane.code())
    }

    /// Returns the stream that has or had this index.
    pub(super) fn stream_of(&self, index: u8) -> Option<Indexed> {
        let generation = index / LANES;
        if generation <= self.generation {
            let lane = Lane::from_code(index % LANES)?;
            return Some(Indexed::Live(lane, generation == self.generation));
        }
        let place = LAST_INDEX.checked_sub(index)?;
        self.earlier.get(usize::from(place)).copied().flatten().map(Indexed::Earlier)
    }

    /// Returns the index of an earlier boot's stream, if it has one.
    pub(super) fn index_of_earlier(&self, name: StreamName) -> Option<u8> {
        let place = self.earlier.iter().position(|known| *known == Some(name))?;
        LAST_INDEX.checked_sub(u8::try_from(place).ok()?)
    }

    /// Gives an earlier boot's stream an index, from the upper end; `false` if none is left.
    pub(super) fn give_index(&mut self, name: StreamName) -> bool {
        if self.index_of_earlier(name).is_some() {
            return true;
        }
        let present = usize::from(self.generation).saturating_add(1).saturating_mul(LANES.into());
        let free = MAX_STREAMS.saturating_sub(present);
        let slot = self.earlier.iter_mut().take(free).find(|slot| slot.is_none());
        slot.map(|slot| *slot = Some(name)).is_some()
    }

    /// Gives the streams new indices, as they have another descriptor set now; `false` if none are left.
    pub(super) fn renew_indices(&mut self, now: Instant) -> bool {
        if core::mem::take(&mut self.named) {
            self.generation = self.generation.saturating_add(1);
        }
        (self.set_wanted, self.descriptors_from, self.descriptors) = (None, None, Repeat::now(now));
        let earlier = self.earlier.iter().flatten().count();
        let present = usize::from(self.generation).saturating_add(1).saturating_mul(LANES.into());
        present.saturating_add(earlier) <= MAX_STREAMS
    }

    /// Tells whether data packets may be sent: after IK at once, after XX when the backend has shown the session.
    pub(super) const fn may_send(&self) -> bool {
        self.confirmed || self.finish.is_none()
    }

    /// Takes note of an authenticated packet; tells whether it is the first one.
    pub(super) fn heard(&mut self, now: Instant) -> bool {
        self.last_heard = now;
        self.owed = None;
        self.unreported = self.unreported.saturating_add(1);
        self.prove = None;
        self.finish = None;
        !core::mem::replace(&mut self.confirmed, true)
    }

    /// Returns what the application should hear of a confirmed session.
    pub(super) fn connected(&self, config: &DeviceConfig) -> DeviceEvent {
        let credential = config.pin.and_then(|pin| pin.credential);
        let backend = BackendPin { key: self.peer.key, identity: self.peer.identity, credential };
        DeviceEvent::Connected { backend, pattern: self.pattern, time_floor: config.time.floor() }
    }

    /// Returns until when an answer to the Finish, or to the first packet after IK, is waited for.
    pub(super) fn answer_due(&self) -> Option<Instant> {
        let finish = self.finish.as_ref().map(|finish| finish.due);
        finish.or(self.prove.map(|prove| prove.due))
    }

    /// Returns what the backend may do.
    pub(super) const fn peer_scopes(&self) -> Scopes {
        self.peer.scopes
    }

    /// Returns when the session's age is over.
    pub(super) fn ends(&self) -> Instant {
        self.born + self.longest
    }

    /// Returns how old the session is.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.since(self.born)
    }

    /// Takes note that a packet went out which the backend must answer.
    pub(super) fn owes_answer(&mut self, now: Instant, time_out: Duration, urgency: Urgency, random: u32) {
        let (patience, time_out) = match urgency {
            Urgency::Usual => (DEAD_BACKEND, time_out),
            Urgency::Alarm => (DEAD_BACKEND_ALARM, time_out.min(ALARM_PROBE)),
        };
        let patience = prolonged_by(patience, random);
        let fresh = Owed { since: now, probes: 1, last_probe: now, time_out, patience, ask: None };
        let owed = self.owed.get_or_insert(fresh);
        if urgency == Urgency::Alarm && owed.patience >= DEAD_BACKEND {
            (owed.patience, owed.time_out) = (patience, owed.time_out.min(time_out));
        }
        if owed.probes < PROBES && now.since(owed.last_probe) >= owed.time_out {
            *owed = Owed { probes: owed.probes.saturating_add(1), last_probe: now, time_out, ..*owed };
        }
        let asks = urgency == Urgency::Alarm && owed.probes < PROBES;
        owed.ask = asks.then(|| owed.last_probe + ALARM_PROBE);
    }

    /// Returns when a Ping is due, to learn whether the session is there.
    pub(super) fn ask_due(&self) -> Option<Instant> {
        let ask = self.owed.and_then(|owed| owed.ask);
        self.prove.map(|prove| prove.due).into_iter().chain(ask).min()
    }

    /// Returns when the backend seems to have lost the session, as it owes an answer.
    //= SPEC.md#liveness
    //# A device MUST NOT take a session for lost before it has sent four packets that ask for an answer, each at least a retransmission time-out after the one before, and has waited a time-out after the last one; where it asks for an alarm, 4 s count as a time-out that is longer.
    pub(super) fn seems_dead_at(&self) -> Option<Instant> {
        let owed = self.owed.filter(|owed| owed.probes >= PROBES)?;
        Some((owed.since + owed.patience).max(owed.last_probe + owed.time_out))
    }

    /// Tells whether the session is over, and why.
    pub(super) fn ended(&self, now: Instant, own: Limits) -> Option<CloseReason> {
        if let Some(reason) = self.session.closed() {
            return Some(reason);
        }
        if now.since(self.last_heard) >= self.idle_timeout(own) {
            return Some(CloseReason::Idle);
        }
        let finish = self.finish.as_ref()?;
        let spent = finish.sends >= HANDSHAKE_SENDS && finish.due <= now;
        (spent || self.is_forgotten(now)).then_some(CloseReason::Idle)
    }

    /// Tells whether the Finish is so old, as the device has slept, that no backend knows its handshake any more.
    fn is_forgotten(&self, now: Instant) -> bool {
        self.age(now) >= HALF_OPEN_LIFE + PENDING_LIFE
    }

    /// When the session, which no packet of the backend has confirmed, was to be given up.
    pub(super) fn failed_at(&self, now: Instant, own: Limits) -> Instant {
        let idle = self.last_heard + self.idle_timeout(own);
        self.finish.as_ref().map_or(idle, |finish| finish.due).min(now)
    }

    fn idle_timeout(&self, own: Limits) -> Duration {
        own.idle_timeout().min(self.peer_limits.idle_timeout())
    }

    /// Writes the Finish again if it is due.
    #[inline(never)]
    pub(super) fn repeat_finish(
        &mut self,
        now: Instant,
        rng: &mut dyn Entropy,
        out: &mut [u8],
    ) -> Result<Option<usize>, CallError> {
        let Some(finish) = self.finish.as_mut().filter(|finish| finish.due <= now) else { return Ok(None) };
        let len = copy_packet(&finish.packet, out)?;
        let wait = doubled(HANDSHAKE_RTO, finish.sends.into());
        finish.sends = finish.sends.saturating_add(1);
        finish.due = now + prolonged(wait, rng);
        Ok(Some(len))
    }
}

impl Device<'_> {
    /// When the session needs attention.
    #[inline(never)]
    pub(super) fn live_timeout(&self, live: &Live, up: bool) -> Option<Instant> {
        let idle = live.last_heard + live.idle_timeout(self.config.limits);
        // Without a link, nothing comes of the others.
        let dead = live.seems_dead_at().filter(|_| up && self.connector.is_resting());
        let finish = live.finish.as_ref().map(|finish| finish.due).filter(|_| up);
        let flights = self.outbox.poll_timeout().filter(|_| up);
        let sending = if up && live.may_send() { self.next_send(live) } else { None };
        Instant::earliest(&[Some(idle), live.session.poll_timeout(), dead, finish, flights, sending])
    }
}
