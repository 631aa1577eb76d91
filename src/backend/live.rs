//! One session of a backend: what is kept of it, the hot part apart from the rest.

use super::Path;
use super::commands::Downlink;
use super::descriptors::{Assembly, SetSlot};
use super::devices::Seat;
use super::halfopen::Origin;
use super::paths::{PathState, Spare, Trial};
use super::resume::{Descent, Lineage, TicketSent};
use crate::crypto::SessionSecrets;
use crate::delivery::{StreamKey, StreamTable};
use crate::error::CloseReason;
use crate::framing::RefusedFrame;
use crate::handshake::Limits;
use crate::identity::{Identity, Scopes};
use crate::limits::{HALF_OPEN_LIFE, INITIAL_CREDIT};
use crate::session::{self, Driver, Keep, RekeyPolicy, Session, Side};
use crate::time::{Duration, Instant};
use crate::wire::{ConnectionId, Pattern};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

/// What a handshake gives to a session: a full one, or a resumption.
pub(super) struct Joined {
    pub(super) secrets: SessionSecrets,
    pub(super) identity: Identity,
    pub(super) scopes: Scopes,
    /// The serial number of the credential that the full handshake showed.
    pub(super) serial: u32,
    pub(super) peer_connection_id: ConnectionId,
    pub(super) peer_limits: Limits,
    pub(super) pattern: Pattern,
    /// With the session age that is left.
    pub(super) rekey: RekeyPolicy,
    pub(super) lineage: Lineage,
}

/// One session: what a data packet touches. It lies in its slot; the rest is [`Cold`], and read through this.
///
/// In this order, what every packet touches lies together: all before the session's window.
#[repr(C)]
pub(super) struct Live<P> {
    pub(super) path: P,
    pub(super) last_heard: Instant,
    /// Its device's entry, or [`NO_DEVICE`].
    pub(super) device: u32,
    /// Stream indices that an Ack must name, as bits.
    pub(super) dirty: u16,
    pub(super) told_credit: u16,
    pub(super) unreported: u8,
    pub(super) closing: Option<CloseReason>,
    pub(super) proved: bool,
    pub(super) validated: bool,
    pub(super) owes_packet: bool,
    /// The slot is in the queue of those that have something to send.
    pub(super) queued: bool,
    /// There is a [`Rare`].
    has_rare: bool,
    pub(super) session: Session<16, Box<Cold<P>>>,
}

/// What a session has besides.
///
/// In this order, what a delivery looks at lies together: all up to the scopes.
#[repr(C)]
pub(super) struct Cold<P> {
    /// The stream indices, and the descriptor sets as far as they are known.
    pub(super) streams: StreamTable<SetSlot>,
    /// The application's own number for this session.
    pub(super) fence: u64,
    /// What it may do now: of what its credential permits, what is granted.
    pub(super) scopes: Scopes,
    idle_secs: u32,
    /// For how many milliseconds the device listens after each of its packets; zero: always.
    pub(super) listen: u32,
    /// The largest packet that the device takes, in bytes.
    pub(super) max_packet: u16,
    pub(super) peer_connection_id: ConnectionId,
    session: session::Cold,
    ratchet: Option<Box<session::Rare>>,
    policy: Arc<RekeyPolicy>,
    rare: Option<Box<Rare<P>>>,
    pub(super) descent: Descent,
}

/// What a session has at times: when it is young, changes its path, or has more to say than an Ack.
pub(super) struct Rare<P> {
    pub(super) youth: Option<Box<Youth>>,
    pub(super) spare: Option<Box<Spare<P>>>,
    pub(super) trial: Option<Trial>,
    pub(super) ticket: Option<TicketSent>,
    pub(super) assembly: Option<Box<Assembly>>,
    /// Commands and stamps, if there ever were any.
    pub(super) downlink: Option<Box<Downlink>>,
    pub(super) refused: Vec<RefusedFrame>,
    pub(super) pong: Option<[u8; 8]>,
    /// The stream index whose descriptor set the device is to send.
    pub(super) wanted_set: Option<u8>,
    pub(super) owes_accept: bool,
    pub(super) hint: bool,
    /// Whose session it is, if it is no longer, or never was, that of a device here.
    pub(super) outcast: Option<Identity>,
    /// What the operator grants, where break-glass grants more.
    granted: Option<Scopes>,
}

/// No device has so high a place.
pub(super) const NO_DEVICE: u32 = u32::MAX;

/// What is kept of the handshake until copies of its packets can hardly come any more.
pub(super) struct Youth {
    pub(super) origin: Origin,
    pub(super) born: Instant,
    pub(super) pattern: Pattern,
    /// Which of its device's sessions it is.
    pub(super) number: u32,
    /// The Streams frame that rode in the Hello is complete.
    pub(super) names_all: bool,
}

impl<P> Rare<P> {
    const fn new() -> Self {
        Self {
            youth: None,
            spare: None,
            trial: None,
            ticket: None,
            assembly: None,
            downlink: None,
            refused: Vec::new(),
            pong: None,
            wanted_set: None,
            owes_accept: false,
            hint: false,
            outcast: None,
            granted: None,
        }
    }

    fn is_empty(&self) -> bool {
        let Self { youth, spare, trial, ticket, assembly, downlink, refused, pong, wanted_set, .. } = self;
        let Self { owes_accept, hint, outcast, granted, .. } = self;
        let boxes = youth.is_none() && spare.is_none() && assembly.is_none() && downlink.is_none();
        boxes
            && trial.is_none()
            && ticket.is_none()
            && refused.is_empty()
            && pong.is_none()
            && wanted_set.is_none()
            && !owes_accept
            && !hint
            && outcast.is_none()
            && granted.is_none()
    }
}

impl<P> Keep for Box<Cold<P>> {
    fn cold(&self) -> &session::Cold {
        &self.session
    }
    fn cold_mut(&mut self) -> &mut session::Cold {
        &mut self.session
    }
    fn rare(&self) -> Option<&session::Rare> {
        self.ratchet.as_deref()
    }
    fn rare_mut(&mut self) -> Option<&mut session::Rare> {
        self.ratchet.as_deref_mut()
    }
    fn make_rare(&mut self) -> &mut session::Rare {
        self.ratchet.get_or_insert_with(|| Box::new(session::Rare::new()))
    }
    fn clear_rare(&mut self) {
        self.ratchet = None;
    }
    // The device drives.
    fn driver(&self) -> Option<&Driver> {
        None
    }
    fn driver_mut(&mut self) -> Option<&mut Driver> {
        None
    }
    fn policy(&self) -> &RekeyPolicy {
        &self.policy
    }
}

impl<P> Deref for Live<P> {
    type Target = Cold<P>;

    fn deref(&self) -> &Cold<P> {
        &self.session.keep
    }
}

impl<P> DerefMut for Live<P> {
    fn deref_mut(&mut self) -> &mut Cold<P> {
        &mut self.session.keep
    }
}

/// What a session starts with, besides the handshake's own.
pub(super) struct Start<P> {
    pub(super) path: P,
    pub(super) path_state: PathState,
    pub(super) granted: Scopes,
    pub(super) seat: Option<Seat>,
    pub(super) fence: u64,
    pub(super) origin: Origin,
    pub(super) closing: Option<CloseReason>,
    /// A ticket of the device was misused.
    pub(super) misused: bool,
    /// The policy of all sessions, whatever age is left to this one.
    pub(super) policy: Arc<RekeyPolicy>,
}

/// Refusals that wait to be sent, at the most; more come again with the records.
const MAX_REFUSED: usize = 8;

impl<P: Path> Live<P> {
    pub(super) fn new(now: Instant, joined: Joined, start: Start<P>) -> Self {
        let Joined {
            secrets,
            identity,
            scopes,
            serial,
            peer_connection_id,
            peer_limits,
            pattern,
            rekey,
            lineage,
        } = joined;
        let Start { path, path_state, granted, seat, fence, origin, closing, misused, policy } = start;
        let keep = |session| {
            Box::new(Cold {
                session,
                ratchet: None,
                policy,
                rare: None,
                peer_connection_id,
                max_packet: peer_limits.max_packet(),
                // At most a week.
                idle_secs: peer_limits.idle_timeout().as_secs() as u32,
                scopes: scopes & granted,
                fence,
                streams: StreamTable::empty(),
                descent: Descent::new(lineage, serial, scopes, misused),
                listen: 0,
            })
        };
        let mut live = Self {
            session: Session::with_keep(now, Side::Backend, secrets, rekey, keep),
            path,
            last_heard: now,
            device: seat.map_or(NO_DEVICE, |seat| seat.at),
            dirty: 0,
            told_credit: INITIAL_CREDIT,
            unreported: 0,
            closing,
            proved: false,
            validated: true,
            owes_packet: true,
            queued: false,
            has_rare: false,
        };
        live.set_path_state(path_state);
        if seat.is_none() {
            live.make_rare().outcast = Some(identity);
        }
        let number = seat.map_or(0, |seat| seat.number);
        live.make_rare().youth =
            Some(Box::new(Youth { origin, born: now, pattern, number, names_all: false }));
        live
    }

    /// Returns what the session has at times. Most sessions have nothing there, and look nowhere for it.
    pub(super) fn rare(&self) -> Option<&Rare<P>> {
        if self.has_rare { self.session.keep.rare.as_deref() } else { None }
    }

    pub(super) fn rare_mut(&mut self) -> Option<&mut Rare<P>> {
        if self.has_rare { self.session.keep.rare.as_deref_mut() } else { None }
    }

    pub(super) fn make_rare(&mut self) -> &mut Rare<P> {
        self.has_rare = true;
        self.session.keep.rare.get_or_insert_with(|| Box::new(Rare::new()))
    }

    /// Gives up the room for what a session has at times, if it is empty.
    pub(super) fn tidy(&mut self) {
        if self.rare().is_some_and(Rare::is_empty) {
            self.session.keep.rare = None;
            self.has_rare = false;
        }
    }

    /// Reads a little of each line of memory that opening a packet needs.
    pub(super) const fn touch(&self) -> u64 {
        self.last_heard.as_millis() ^ self.device as u64 ^ self.session.touch()
    }

    /// The same of what lies behind that, by now: the word of the window, and what a delivery needs.
    pub(super) fn touch_cold(&self) -> u64 {
        self.session.touch_window() ^ self.fence ^ self.streams.touch()
    }

    /// Returns the entry of its device, unless it is there only to be closed.
    pub(super) fn device(&self) -> Option<u32> {
        (self.device != NO_DEVICE).then_some(self.device)
    }

    /// Returns what the operator grants, of what the credential permits.
    pub(super) fn granted(&self) -> Scopes {
        self.rare().and_then(|rare| rare.granted).unwrap_or(self.scopes)
    }

    /// Sets what it may do: what the operator grants and, for a while, `besides`, of what its credential permits.
    pub(super) fn grant(&mut self, granted: Scopes, besides: Scopes) {
        let allowed = self.descent.scopes();
        self.scopes = allowed & (granted | besides);
        let granted = allowed & granted;
        if granted != self.scopes {
            self.make_rare().granted = Some(granted);
        } else if let Some(rare) = self.rare_mut() {
            rare.granted = None;
        }
    }

    pub(super) fn youth(&self) -> Option<&Youth> {
        self.rare()?.youth.as_deref()
    }

    pub(super) fn youth_mut(&mut self) -> Option<&mut Youth> {
        self.rare_mut()?.youth.as_deref_mut()
    }

    /// When the session ends if nothing more is heard.
    pub(super) fn idle_at(&self, own: Limits) -> Instant {
        if !self.proved {
            //= SPEC.md#handshake-timers
            //# A backend MUST forget a session that is not proved 20 s after its Reply.
            return self.youth().map_or(self.last_heard, |youth| youth.born) + HALF_OPEN_LIFE;
        }
        self.last_heard + own.idle_timeout().min(Duration::from_secs(self.idle_secs.into()))
    }

    /// Tells whether the device listens: what is sent after the first half of its window may come too late.
    //= SPEC.md#listening
    //# A backend MUST NOT send to a device that has told a window, but within half of the window after it has heard it; a Close excepted.
    pub(super) fn is_listening(&self, now: Instant) -> bool {
        let half = u64::from(self.listen / 2);
        self.listen == 0 || now.since(self.last_heard).as_millis() <= half
    }

    /// What is kept of the handshake for a device that has not heard of the session is of no use now.
    pub(super) fn confirmed(&mut self) {
        if let Some(youth) = self.youth_mut() {
            youth.origin.finish_answers = 0;
            youth.origin.reply = Vec::new();
        }
    }

    /// An Ack for this stream is due, under the latest of its indices that an Ack may name.
    pub(super) fn mark_stream(&mut self, stream: &StreamKey) {
        //= SPEC.md#descriptors-frame
        //# A backend MUST NOT name a stream index in an Ack while it lacks the set of that index.
        let may_name = |index: &u8| matches!(self.streams.find(*index), Some((key, set)) if key == *stream && set.known().is_some());
        if let Some(index) = self.streams.indices().rev().find(may_name) {
            self.mark_dirty(index);
        }
    }

    pub(super) fn mark_dirty(&mut self, index: u8) {
        self.dirty |= 1u16.checked_shl(index.into()).unwrap_or(0);
    }

    pub(super) fn refuse(&mut self, refused: RefusedFrame) {
        let waiting = &mut self.make_rare().refused;
        if waiting.len() < MAX_REFUSED {
            waiting.push(refused);
        }
    }
}
