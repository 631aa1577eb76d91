//! Which path a session has, and how far that may be trusted (SPEC.md, "Paths" and "Admission").

use super::Path;
use super::live::Live;
use crate::limits::{AMPLIFICATION, MIN_MAX_PACKET, PATH_MEMORY};
use crate::time::Instant;
use alloc::boxed::Box;

/// How far a path may be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathState {
    Validated,
    Unvalidated(Trial),
}

/// Received from and sent to a path that is not validated, in bytes, and the token whose echo validates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trial {
    received: u64,
    sent: u64,
    pub(super) token: Option<[u8; 8]>,
}

impl Trial {
    const fn received(&mut self, len: u64) {
        self.received = self.received.saturating_add(len);
    }

    pub(super) const fn sent(&mut self, len: u64) {
        self.sent = self.sent.saturating_add(len);
    }
}

impl PathState {
    /// A path from which `received` bytes have come, and to which nothing has gone.
    pub(super) const fn unvalidated(received: u64) -> Self {
        Self::Unvalidated(Trial { received, sent: 0, token: None })
    }

    const fn received(&mut self, len: u64) {
        if let Self::Unvalidated(trial) = self {
            trial.received(len);
        }
    }

    /// Takes an echo; it counts for the path to which its token went.
    fn echoed(&mut self, echo: [u8; 8]) {
        if matches!(self, Self::Unvalidated(Trial { token: Some(token), .. }) if *token == echo) {
            *self = Self::Validated;
        }
    }
}

/// The path that a session had before the present one: a device may use both by turns.
pub(super) struct Spare<P> {
    path: P,
    state: PathState,
    last_heard: Instant,
}

impl<P: Path> Live<P> {
    /// Tells whether the device is known to be where its packets come from.
    pub(super) const fn is_validated(&self) -> bool {
        self.validated
    }

    /// Returns what was received from and sent to the present path, if it is not validated.
    pub(super) fn trial(&self) -> Option<&Trial> {
        if self.validated { None } else { self.rare()?.trial.as_ref() }
    }

    pub(super) fn trial_mut(&mut self) -> Option<&mut Trial> {
        if self.validated { None } else { self.rare_mut()?.trial.as_mut() }
    }

    fn path_state(&self) -> PathState {
        match (self.validated, self.trial()) {
            (true, _) => PathState::Validated,
            (false, Some(trial)) => PathState::Unvalidated(*trial),
            (false, None) => PathState::unvalidated(0),
        }
    }

    pub(super) fn set_path_state(&mut self, state: PathState) {
        self.validated = state == PathState::Validated;
        match state {
            PathState::Unvalidated(trial) => self.make_rare().trial = Some(trial),
            PathState::Validated => {
                if let Some(rare) = self.rare_mut() {
                    rare.trial = None;
                }
            }
        }
    }

    /// How many bytes may go to the present path now.
    //= SPEC.md#admission
    //# A backend MUST NOT send more than three times the bytes that it received on a path before that path is validated.
    pub(super) fn budget(&self) -> u64 {
        match self.path_state() {
            PathState::Validated => u64::MAX,
            PathState::Unvalidated(Trial { received, sent, .. }) => {
                let budget = received.saturating_mul(AMPLIFICATION).saturating_sub(sent);
                // What is too little for any frame waits until more comes from there.
                if budget < MIN_MAX_PACKET as u64 { 0 } else { budget }
            }
        }
    }

    /// Takes note of an authentic packet of `len` bytes from `path`; `first`: of this session.
    pub(super) fn follow(&mut self, now: Instant, path: &P, len: u64, newest: bool, first: bool) {
        // A clock that has gone back must not make the session seem idle when it is right again.
        let heard = self.last_heard.max(now);
        let last_heard = core::mem::replace(&mut self.last_heard, heard);
        if self.path == *path {
            //= SPEC.md#admission
            //# A backend MUST NOT take a path as validated by a Finish or a first packet from there if the Reply went to another path as well.
            if first && self.youth().is_some_and(|youth| youth.origin.sole_path) {
                // The device has read the Reply that was sent to this path.
                self.set_path_state(PathState::Validated);
            }
            if let Some(trial) = self.trial_mut() {
                trial.received(len);
            }
            return;
        }
        let (mut state, mut news) = (self.path_state(), false);
        let mut other = self.make_rare().spare.take();
        if let Some(spare) = other.as_mut().filter(|spare| spare.path == *path) {
            spare.state.received(len);
            //= SPEC.md#paths
            //# A backend MUST take a path that a session has left as unvalidated again once nothing has authenticated from there for 10 minutes.
            if now.since(spare.last_heard) >= PATH_MEMORY {
                spare.state = PathState::unvalidated(len);
                news = newest;
            }
            spare.last_heard = now;
            if newest {
                core::mem::swap(&mut self.path, &mut spare.path);
                core::mem::swap(&mut state, &mut spare.state);
                spare.last_heard = last_heard;
            }
        } else if newest {
            let path = core::mem::replace(&mut self.path, path.clone());
            let former = Spare { path, state, last_heard };
            news = true;
            match &mut other {
                // Nobody who sends copies from many paths takes the place of a validated one.
                Some(spare) if spare.state == PathState::Validated && state != PathState::Validated => {}
                Some(spare) => **spare = former,
                None => other = Some(Box::new(former)),
            }
            state = PathState::unvalidated(len);
        }
        self.set_path_state(state);
        self.make_rare().spare = other;
        self.owes_packet |= news;
    }

    /// Takes a Pong.
    pub(super) fn echoed(&mut self, echo: [u8; 8]) {
        let mut state = self.path_state();
        state.echoed(echo);
        self.set_path_state(state);
        if let Some(spare) = self.rare_mut().and_then(|rare| rare.spare.as_mut()) {
            spare.state.echoed(echo);
        }
    }
}
