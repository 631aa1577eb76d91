//! Who may have a handshake computed, and who is refused for next to nothing (SPEC.md, "Admission").
//!
//! What a Hello meets, the cheapest first: its header and length; the rate of Hellos in all; its MAC; whether it is a
//! copy; its cookie, if it has one; the rates and the load; the cap of half-open handshakes. Only then is there a job.
//! The rate of Hellos stands before the MAC, so that a flood of garbage leaves the processor to the data packets. All
//! that is counted per path stands behind it: scanners cannot use up anybody's rate. Who knows the Hello key can, with a
//! path that is not his; so what is counted for a Hello without a valid cookie is worth no more than the demand of one.

use super::config::Path;
use super::event::{BackendEvent, SlotRef};
use super::halfopen::{HalfOpen, Stage};
use super::rate::{Bucket, Places, Rate, Sketch};
use super::{Backend, MAX_OUTGOING};
use crate::codec::Writer;
use crate::crypto::TAG_LEN;
use crate::entropy::Entropy;
use crate::error::{CallError, Discard};
use crate::handshake::{HelloKey, TicketId};
use crate::identity::Identity;
use crate::limits::{HALF_OPEN_GRACE, LIMIT_REPORT_INTERVAL};
use crate::time::Instant;
use crate::wire::{ConnectionId, RetryHeader};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// How many handshakes a shard lets strangers ask for.
///
/// The usual values are for one core that has little else to do, with 100 000 devices. What is refused is counted in
/// [`Backend::discards`], and told by [`BackendEvent::LimitReached`].
///
/// ```
/// use vitalwire::backend::{AdmissionLimits, Rate};
/// let limits = AdmissionLimits { handshakes: Rate::per_second(8000, 4000), ..AdmissionLimits::NODE };
/// assert_eq!(limits.per_path, Rate::per_minute(30, 8));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Handshakes that are computed, in all. The lower half of the burst is for Hellos with a valid cookie and for
    /// tickets, the lowest quarter for Hellos with a cookie alone; Hellos without one are asked for it then.
    pub handshakes: Rate,
    /// Hellos whose MAC is checked, in all: those beyond are discarded unread.
    pub hellos: Rate,
    /// Retries that are sent, in all.
    pub retries: Rate,
    /// Handshakes of one path, to the millisecond: so many without a cookie before it is asked for one, so many with
    /// one, and so many resumptions. More than 60 000 a minute is no limit.
    pub per_path: Rate,
    /// Handshakes with a cookie of all paths with one prefix ([`Path::with_prefix_bytes`]), like `per_path`: who has
    /// many addresses can prove them all.
    pub per_prefix: Rate,
    /// Resumptions that the store of claims is asked about, to the millisecond: so many of one device with tickets that
    /// are new, and so many of one ticket that was claimed before. Below two a second, many devices at once may have to
    /// wait for each other.
    pub claims: Rate,
}

impl AdmissionLimits {
    /// The usual limits: 2 000 handshakes, 100 000 Hellos and 20 000 Retries a second; 8 handshakes at once from one path
    /// and one every 2 s; 2 000 at once from one prefix and 200 a second; 8 claims at once for one device or ticket and two a
    /// second.
    pub const NODE: Self = Self {
        handshakes: Rate::per_second(2_000, 2_000),
        hellos: Rate::per_second(100_000, 100_000),
        retries: Rate::per_second(20_000, 20_000),
        per_path: Rate::per_minute(30, 8),
        per_prefix: Rate::per_second(200, 2_000),
        claims: Rate::per_second(2, 8),
    };
    /// No rate is limited: for measurements, and where something in front of the shard does this. The caps of
    /// handshakes hold.
    pub const UNLIMITED: Self = Self {
        handshakes: Rate::UNLIMITED,
        hellos: Rate::UNLIMITED,
        retries: Rate::UNLIMITED,
        per_path: Rate::UNLIMITED,
        per_prefix: Rate::UNLIMITED,
        claims: Rate::UNLIMITED,
    };

    pub(super) fn check(&self) -> Result<(), CallError> {
        let Self { handshakes, hellos, retries, per_path, per_prefix, claims } = *self;
        let rates = [handshakes, hellos, retries, per_path, per_prefix, claims];
        match rates.into_iter().all(Rate::is_valid) {
            true => Ok(()),
            false => Err(CallError::InvalidConfig("a rate of admission is 0")),
        }
    }
}

/// A limit of the admission, as [`BackendEvent::LimitReached`] names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum AdmissionLimit {
    /// [`AdmissionLimits::hellos`]: Hellos were discarded unread.
    Hellos,
    /// [`AdmissionLimits::retries`]: Hellos were discarded instead of being asked for a cookie.
    Retries,
    /// [`AdmissionLimits::handshakes`]: Hellos with a cookie or a ticket were discarded.
    Handshakes,
    /// [`AdmissionLimits::per_path`]: the same, for their path.
    Path,
    /// [`AdmissionLimits::per_prefix`]: the same, for their path's prefix.
    Prefix,
    /// [`BackendConfig::max_half_open`](super::BackendConfig::max_half_open): Hellos with a cookie or a ticket found no
    /// place.
    HalfOpen,
    /// Handshakes of one identity: its places were taken.
    Identity,
    /// A cookie was asked for: under load, or as a path had used up what it may without one.
    Cookie,
    /// [`AdmissionLimits::claims`]: Hellos with a ticket were discarded.
    Claims,
}

impl AdmissionLimit {
    /// Every value, in order.
    pub const ALL: [Self; 9] = [
        Self::Hellos,
        Self::Retries,
        Self::Handshakes,
        Self::Path,
        Self::Prefix,
        Self::HalfOpen,
        Self::Identity,
        Self::Cookie,
        Self::Claims,
    ];
}

/// How far a shard is from its limits: for whoever watches the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdmissionStatus {
    /// Handshakes under way, those that wait for the application included.
    pub half_open: u32,
    /// Computations that nobody has taken yet.
    pub jobs: usize,
    /// Handshake packets that wait to be sent.
    pub answers: usize,
    /// Copies of Hellos that would be recognised.
    pub known_hellos: usize,
    /// Identities with a handshake that waits for the application, or with a session that is not proved.
    pub pending_identities: usize,
    /// Handshakes that may be computed at once.
    pub handshakes_left: u32,
    /// Every Hello of a full handshake is asked for a cookie.
    pub under_load: bool,
}

/// What was refused for one reason and not told yet.
#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    count: u32,
    told: Option<Instant>,
}

/// What the admission remembers: 544 KiB, whoever comes.
pub(super) struct Admission {
    limits: AdmissionLimits,
    /// So that nobody can choose paths that share their places. Until it is drawn nothing was sent.
    salt: Option<[u8; 32]>,
    hellos: Bucket,
    handshakes: Bucket,
    retries: Bucket,
    unproven: Sketch,
    resuming: Sketch,
    proven: Sketch,
    prefixes: Sketch,
    /// By device and by ticket.
    claims: Sketch,
    reached: [Reached; AdmissionLimit::ALL.len()],
    /// Handshakes of XX, in the order of their Replies, with when these were written; stale ones among them.
    awaiting: VecDeque<(Instant, SlotRef)>,
}

/// What becomes of a Hello of a full handshake.
pub(super) enum Admitted {
    Yes,
    /// It needs a cookie.
    Prove,
    No(AdmissionLimit),
}

impl Admission {
    pub(super) fn new(limits: AdmissionLimits) -> Self {
        Self {
            limits,
            salt: None,
            hellos: Bucket::new(limits.hellos),
            handshakes: Bucket::new(limits.handshakes),
            retries: Bucket::new(limits.retries),
            unproven: Sketch::new(limits.per_path),
            resuming: Sketch::new(limits.per_path),
            proven: Sketch::new(limits.per_path),
            prefixes: Sketch::new(limits.per_prefix),
            claims: Sketch::small(limits.claims),
            reached: [Reached::default(); AdmissionLimit::ALL.len()],
            awaiting: VecDeque::new(),
        }
    }

    /// Draws the salt, once.
    pub(super) fn seed(&mut self, rng: &mut dyn Entropy) {
        if self.salt.is_none() {
            let mut salt = [0u8; 32];
            self.salt = rng.fill(&mut salt).is_ok().then_some(salt);
        }
    }

    fn places<P: Path>(&self, path: &P) -> Places {
        let salt = self.salt.unwrap_or_default();
        path.with_bytes(|bytes| Places::of(&salt, bytes))
    }

    fn prefix<P: Path>(&self, path: &P) -> Option<Places> {
        let salt = self.salt.unwrap_or_default();
        path.with_prefix_bytes(|bytes| Places::of(&salt, bytes))
    }

    fn reserve(&self, parts: u32) -> u32 {
        self.limits.handshakes.burst.checked_div(parts).unwrap_or(0)
    }

    /// Decides about a full handshake, and charges what it may use; `proven`: its cookie is valid.
    //= SPEC.md#admission
    //# A backend MUST limit the handshakes that it computes, in all and for each path.
    fn full<P: Path>(&mut self, now: Instant, path: &P, proven: bool, loaded: bool) -> Admitted {
        //= SPEC.md#admission
        //# What was counted for Hellos without a valid cookie MUST NOT keep out one that has it.
        if proven {
            // A path pays for what is then refused for all, too: who comes often falls behind who comes seldom.
            let places = self.places(path);
            if !self.proven.has(now, &places) {
                return Admitted::No(AdmissionLimit::Path);
            }
            self.proven.charge(now, &places);
            if let Some(prefix) = self.prefix(path) {
                if !self.prefixes.has(now, &prefix) {
                    return Admitted::No(AdmissionLimit::Prefix);
                }
                self.prefixes.charge(now, &prefix);
            }
            if !self.handshakes.take(now) {
                return Admitted::No(AdmissionLimit::Handshakes);
            }
        } else {
            if loaded || !self.handshakes.has_beyond(now, self.reserve(2)) {
                return Admitted::Prove;
            }
            let places = self.places(path);
            if !self.unproven.has(now, &places) {
                return Admitted::Prove;
            }
            self.unproven.charge(now, &places);
            self.handshakes.take(now);
        }
        Admitted::Yes
    }

    fn of_device(&self, device: &Identity) -> Places {
        Places::of(&self.salt.unwrap_or_default(), &[device.issuer.0.as_slice(), &device.subject.0].concat())
    }

    fn of_ticket(&self, id: &TicketId) -> Places {
        Places::of(&self.salt.unwrap_or_default(), &id.0)
    }

    // The path of a resumption is not proved, so nothing is counted for its prefix: who has recorded one Hello could use
    // up the rate of a whole hospital. What is dear is the claim; so that is limited for who is named in the ticket.
    fn resume<P: Path>(
        &mut self,
        now: Instant,
        path: &P,
        device: &Identity,
        id: &TicketId,
    ) -> Result<(), AdmissionLimit> {
        let (of_device, of_ticket) = (self.of_device(device), self.of_ticket(id));
        if !self.claims.has(now, &of_ticket) || !self.claims.has(now, &of_device) {
            return Err(AdmissionLimit::Claims);
        }
        let places = self.places(path);
        if !self.resuming.has(now, &places) {
            return Err(AdmissionLimit::Path);
        }
        self.resuming.charge(now, &places);
        self.handshakes.take(now);
        Ok(())
    }
}

impl Admission {
    /// Returns what is left of the rates in all: of Hellos, handshakes and Retries.
    pub(super) fn tokens(&self, now: Instant) -> [u32; 3] {
        [&self.hellos, &self.handshakes, &self.retries].map(|bucket| bucket.tokens(now))
    }
}

impl<P: Path> Backend<P> {
    /// Tells how far this shard is from its limits.
    pub fn admission(&self, now: Instant) -> AdmissionStatus {
        AdmissionStatus {
            half_open: self.half_open,
            jobs: self.jobs.len(),
            answers: self.outgoing.len(),
            known_hellos: self.by_hello.len(),
            pending_identities: self.pending_of.len(),
            handshakes_left: self.admission.handshakes.tokens(now),
            under_load: self.is_loaded(now),
        }
    }

    /// Tells whether Hellos need a cookie.
    pub(super) fn is_loaded(&self, now: Instant) -> bool {
        let admission = &self.admission;
        self.half_open.saturating_mul(4) > self.config.max_half_open
            || !admission.handshakes.has_beyond(now, admission.reserve(2))
    }

    /// A limit was reached: counts it, and tells the application once in a while.
    pub(super) fn limited(&mut self, now: Instant, limit: AdmissionLimit) -> Discard {
        if let Some(reached) = self.admission.reached.get_mut(limit as usize) {
            reached.count = reached.count.saturating_add(1);
        }
        self.tell_limit(now, limit);
        match limit {
            AdmissionLimit::HalfOpen | AdmissionLimit::Identity => Discard::TooManyPending,
            AdmissionLimit::Cookie => Discard::CookieRequired,
            _ => Discard::RateLimited,
        }
    }

    fn tell_limit(&mut self, now: Instant, limit: AdmissionLimit) {
        let Some(reached) = self.admission.reached.get_mut(limit as usize) else { return };
        let early = reached.told.is_some_and(|told| now.since(told) < LIMIT_REPORT_INTERVAL);
        if reached.count > 0 && !early {
            reached.told = Some(now);
            let count = core::mem::take(&mut reached.count);
            self.push_event(BackendEvent::LimitReached { limit, count });
        }
    }

    /// Tells what was held back, once its time has come.
    pub(super) fn tell_limits(&mut self, now: Instant) {
        for limit in AdmissionLimit::ALL {
            self.tell_limit(now, limit);
        }
    }

    /// Lets a Hello's MAC be checked.
    pub(super) fn admit_hello(&mut self, now: Instant) -> Result<(), Discard> {
        if self.admission.hellos.take(now) { Ok(()) } else { Err(self.limited(now, AdmissionLimit::Hellos)) }
    }

    /// Decides about a full handshake.
    pub(super) fn admit_full(&mut self, now: Instant, path: &P, proven: bool) -> Admitted {
        let loaded = self.is_loaded(now);
        self.admission.full(now, path, proven, loaded)
    }

    /// Lets a resumption's ticket be opened: it has a MAC that only the service's devices can write.
    pub(super) fn may_resume(&mut self, now: Instant) -> Result<(), Discard> {
        let reserve = self.admission.reserve(4);
        match self.admission.handshakes.has_beyond(now, reserve) {
            true => Ok(()),
            false => Err(self.limited(now, AdmissionLimit::Handshakes)),
        }
    }

    /// Decides about a resumption whose ticket has opened.
    // In silence: the device repeats its Hello, and has its ticket until it goes on with a full handshake.
    //= SPEC.md#admission
    //# A backend MUST NOT refuse a ticket because a limit is reached.
    pub(super) fn admit_resume(
        &mut self,
        now: Instant,
        path: &P,
        device: &Identity,
        id: &TicketId,
    ) -> Result<(), Discard> {
        match self.admission.resume(now, path, device, id) {
            Ok(()) => self.make_room(now),
            Err(limit) => Err(self.limited(now, limit)),
        }
    }

    /// Takes note of a claim. `new`: only who has the ticket's psk can make it, so the device pays; others may have sent a
    /// Hello again that they have seen, so that ticket does.
    //= SPEC.md#admission
    //# A backend MUST limit how often it has tickets claimed for one device and for one ticket, and MUST NOT count for the device what a copy of a Hello brings about.
    pub(super) fn charge_claim(&mut self, now: Instant, device: &Identity, id: &TicketId, new: bool) {
        let admission = &mut self.admission;
        let places = if new { admission.of_device(device) } else { admission.of_ticket(id) };
        admission.claims.charge(now, &places);
    }

    /// Asks for a cookie, or refuses a ticket, if there is room for another Retry.
    pub(super) fn send_retry(
        &mut self,
        now: Instant,
        path: P,
        key: &HelloKey,
        connection_id: ConnectionId,
        hello_mac: [u8; TAG_LEN],
    ) -> Result<(), Discard> {
        if !self.has_spare_answers() || !self.admission.retries.take(now) {
            return Err(self.limited(now, AdmissionLimit::Retries));
        }
        let cookie = self.cookies.make(&path).ok_or(Discard::TooManyPending)?;
        let mut out = [0u8; 64];
        let mut writer = Writer::new(&mut out);
        let written = RetryHeader { connection_id, cookie }.write(&mut writer).and_then(|()| {
            let mac = key.retry_mac(writer.written(), &hello_mac);
            writer.bytes(&mac)
        });
        if written.is_ok() {
            let retry: Vec<u8> = writer.written().to_vec();
            self.send_raw(path, retry);
        }
        Ok(())
    }

    /// Tells whether answers that anybody can ask for may be queued: the rest of the queue is for those that were
    /// computed.
    pub(super) fn has_spare_answers(&self) -> bool {
        self.outgoing.len() < MAX_OUTGOING / 2
    }

    /// A Reply of XX was written: the handshake waits for its Finish.
    pub(super) fn note_awaiting(&mut self, now: Instant, at: SlotRef) {
        let (slots, awaiting) = (&self.slots, &mut self.admission.awaiting);
        let is_over = |at| slots.half_open(at).is_none();
        while awaiting.front().is_some_and(|&(_, at)| is_over(at)) {
            awaiting.pop_front();
        }
        let most = (self.config.max_half_open as usize).saturating_mul(2).saturating_add(64);
        if awaiting.len() >= most {
            awaiting.retain(|&(_, at)| !is_over(at));
        }
        awaiting.push_back((now, at));
    }

    /// Finds a place for another handshake: at the cap, that of the one that has waited for its Finish the longest.
    //
    // Those who never send a Finish thus take a place for as long as it takes to fill all of them, and not for 20 s; who
    // is at the other end of a slow link has its time all the same.
    //= SPEC.md#admission
    //# A backend MUST keep at most two half-open handshakes per identity for a Hello that may be a replay, four for one of IK with a valid cookie, six in all, and a capped number of all identities.
    pub(super) fn make_room(&mut self, now: Instant) -> Result<(), Discard> {
        if self.half_open < self.config.max_half_open {
            return Ok(());
        }
        // Few: those whose Finish is being read go to the end.
        const LOOKS: usize = 8;
        let mut left = LOOKS;
        while let Some(&(since, at)) = self.admission.awaiting.front() {
            let half = self.slots.half_open(at).filter(|half| is_waiting_for_finish(half));
            let stage = half.map(|half| &half.stage);
            match stage {
                None => drop(self.admission.awaiting.pop_front()),
                Some(_) if now.since(since) < HALF_OPEN_GRACE || left == 0 => break,
                Some(Stage::AwaitingFinish(_)) => {
                    self.admission.awaiting.pop_front();
                    self.drop_half_open(at);
                    let discard = self.limited(now, AdmissionLimit::HalfOpen);
                    self.discards.count(discard);
                    return Ok(());
                }
                Some(_) => {
                    left = left.saturating_sub(1);
                    self.admission.awaiting.rotate_left(1);
                }
            }
        }
        Err(self.limited(now, AdmissionLimit::HalfOpen))
    }
}

/// Tells whether a handshake is XX's and its Finish is awaited, or being read.
fn is_waiting_for_finish<P>(half: &HalfOpen<P>) -> bool {
    match half.stage {
        Stage::AwaitingFinish(_) => true,
        Stage::Working => half.is_answered() && half.verdict.is_none(),
        _ => false,
    }
}

const _: () = assert!(MAX_OUTGOING >= 2);
